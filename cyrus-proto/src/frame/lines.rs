//! Lines and dot-stuffed message data, for LMTP and POP3.
//!
//! A [`LineFramer`] is in one of two modes: it cuts lines with a limit, or it streams the data of a message
//! (RFC 5321, section 4.5.2) through a caller's function with dots removed, line by line in pieces, until the lone
//! dot. It holds at most one read buffer plus one short line.

/// What [`LineFramer::next`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineEvent {
    /// Everything pushed so far is used up.
    NeedInput,
    /// A line without its end (CRLF or LF).
    Line(Vec<u8>),
    /// A line longer than the limit; it was, or will be, dropped whole. Its first octets are kept.
    TooLong(Vec<u8>),
}

/// A piece of message data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text in which CR and LF occur only together.
    Text(&'a [u8]),
    /// A CR that no LF follows.
    BareCr,
}

impl<'a> Piece<'a> {
    /// The octets as the client sent them.
    pub fn octets(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text,
            Self::BareCr => b"\r",
        }
    }
}

/// What [`LineFramer::next_data`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataEvent {
    /// Everything pushed so far is used up.
    NeedInput,
    /// The lone dot came; the framer is back in line mode.
    End,
}

/// Cuts bytes into lines, or into message data. Holds no memory between lines.
#[derive(Debug)]
pub struct LineFramer {
    limit: usize,
    pending: Vec<u8>,
    at: usize,
    line: Vec<u8>,
    skipping: bool,
    data: Data,
}

/// Where in a line of message data the last octet left us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    /// At the start of a line.
    Start,
    /// A dot came first.
    Dot,
    /// A dot came first, then CR.
    DotCr,
    /// Inside a line, after anything but CR.
    Inside,
    /// Inside a line, after CR (held back).
    Cr,
}

impl LineFramer {
    /// Octets of a line past the limit that are kept for the reply.
    pub const START: usize = 64;

    /// A framer for lines of at most `limit` octets, their end not counted.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            pending: Vec::new(),
            at: 0,
            line: Vec::new(),
            skipping: false,
            data: Data::Start,
        }
    }

    /// Adds what the client sent.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Forgets all input, finished or not: the transport below has changed.
    pub fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Whether pushed bytes wait to be looked at.
    pub fn has_pending(&self) -> bool {
        self.at < self.pending.len()
    }

    /// Goes on to the next line.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> LineEvent {
        loop {
            let have = self.pending.get(self.at..).unwrap_or_default();
            if have.is_empty() {
                self.pending = Vec::new();
                self.at = 0;
                return LineEvent::NeedInput;
            }
            let end = memchr::memchr(b'\n', have);
            let part = have.get(..end.unwrap_or(have.len())).unwrap_or_default();
            self.at += part.len() + usize::from(end.is_some());
            if self.skipping {
                self.skipping = end.is_none();
                continue;
            }
            // One octet of grace for the CR, which is cut below.
            if self.line.len() + part.len() > self.limit + 1 {
                self.line
                    .extend_from_slice(part.get(..Self::START).unwrap_or(part));
                self.skipping = end.is_none();
                return LineEvent::TooLong(self.start());
            }
            self.line.extend_from_slice(part);
            if end.is_some() {
                if self.line.last() == Some(&b'\r') {
                    self.line.pop();
                }
                if self.line.len() > self.limit {
                    return LineEvent::TooLong(self.start());
                }
                return LineEvent::Line(std::mem::take(&mut self.line));
            }
        }
    }

    fn start(&mut self) -> Vec<u8> {
        let mut start = std::mem::take(&mut self.line);
        start.truncate(Self::START.min(self.limit));
        start
    }

    /// Passes message data to `each` in pieces, dots removed, until the lone dot.
    ///
    /// Line ends come out as CRLF whether they came in as CRLF or as LF, and CR and LF of one are always in the same
    /// piece. A dot line ends the data after LF as well as after CRLF.
    pub fn next_data(&mut self, each: &mut dyn FnMut(Piece<'_>)) -> DataEvent {
        while let Some(&byte) = self.pending.get(self.at) {
            match (self.data, byte) {
                (Data::Start, b'.') => self.go(Data::Dot),
                (Data::Dot, b'\r') => self.go(Data::DotCr),
                (Data::Dot | Data::DotCr, b'\n') => {
                    self.go(Data::Start);
                    return DataEvent::End;
                }
                (Data::DotCr, _) => {
                    each(Piece::BareCr);
                    self.data = Data::Inside;
                }
                (Data::Dot, _) => self.data = Data::Inside,
                (Data::Start | Data::Inside | Data::Cr, b'\n') => {
                    each(Piece::Text(b"\r\n"));
                    self.go(Data::Start);
                }
                (Data::Cr, b'\r') => {
                    each(Piece::BareCr);
                    self.at += 1;
                }
                (Data::Cr, _) => {
                    each(Piece::BareCr);
                    self.data = Data::Inside;
                }
                (Data::Start | Data::Inside, b'\r') => self.go(Data::Cr),
                (Data::Start | Data::Inside, _) => self.pass(each),
            }
        }
        self.pending = Vec::new();
        self.at = 0;
        DataEvent::NeedInput
    }

    fn go(&mut self, data: Data) {
        self.data = data;
        self.at += 1;
    }

    /// Passes on whole lines that need no change in one piece, then the rest of the line at hand.
    fn pass(&mut self, each: &mut dyn FnMut(Piece<'_>)) {
        let have = self.pending.get(self.at..).unwrap_or_default();
        let mut plain = 0;
        let mut data = Data::Inside;
        loop {
            let rest = have.get(plain..).unwrap_or_default();
            if data == Data::Start && rest.first() == Some(&b'.') {
                break;
            }
            match memchr::memchr2(b'\r', b'\n', rest) {
                Some(end) if rest.get(end..end + 2) == Some(b"\r\n") => {
                    plain += end + 2;
                    data = Data::Start;
                }
                Some(end) => {
                    plain += end;
                    // Nothing before it on this line: we are still where the last line end left us.
                    if end > 0 {
                        data = Data::Inside;
                    }
                    break;
                }
                None => {
                    if !rest.is_empty() {
                        data = Data::Inside;
                    }
                    plain += rest.len();
                    break;
                }
            }
        }
        each(Piece::Text(have.get(..plain).unwrap_or_default()));
        self.at += plain;
        self.data = data;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<LineEvent> {
        let mut framer = LineFramer::new(limit);
        let mut log = Vec::new();
        for piece in pieces {
            framer.push(piece);
            loop {
                match framer.next() {
                    LineEvent::NeedInput => break,
                    event => log.push(event),
                }
            }
        }
        log
    }

    fn data<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, bool, Vec<u8>) {
        let mut framer = LineFramer::new(100);
        let (mut body, mut ended) = (Vec::new(), false);
        for piece in pieces {
            framer.push(piece);
            if !ended {
                ended =
                    framer.next_data(&mut |piece| body.extend_from_slice(piece.octets())) == DataEvent::End;
            }
        }
        let rest = framer.pending.get(framer.at..).unwrap_or_default().to_vec();
        (body, ended, rest)
    }

    /// What `data` should make of its input, said differently: line by line.
    fn oracle(input: &[u8]) -> (Vec<u8>, bool, Vec<u8>) {
        let (mut body, mut rest) = (Vec::new(), input);
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            let text = &line[..end];
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if text == b"." {
                return (body, true, rest.to_vec());
            }
            body.extend_from_slice(text.strip_prefix(b".").unwrap_or(text));
            body.extend_from_slice(b"\r\n");
        }
        let held = rest.strip_suffix(b"\r").unwrap_or(rest);
        body.extend_from_slice(held.strip_prefix(b".").unwrap_or(held));
        (body, false, Vec::new())
    }

    #[test]
    fn long_lines_are_dropped_whole() {
        let got = lines(5, [&b"12345\r\n123456\r\nab\n123456789\r\nok\r\n"[..]]);
        let expected = [
            LineEvent::Line(b"12345".to_vec()),
            LineEvent::TooLong(b"12345".to_vec()),
            LineEvent::Line(b"ab".to_vec()),
            LineEvent::TooLong(b"12345".to_vec()),
            LineEvent::Line(b"ok".to_vec()),
        ];
        assert_eq!(got, expected);
    }

    #[test]
    fn dots_are_removed_and_the_lone_one_ends() {
        let (body, ended, rest) = data([&b"a\r\n..b\r\n.c\nd.\r\r\n\r\n.\r\nQUIT\r\n"[..]]);
        assert_eq!(body, b"a\r\n.b\r\nc\r\nd.\r\r\n\r\n");
        assert!(ended);
        assert_eq!(rest, b"QUIT\r\n");
    }

    #[test]
    fn an_empty_message_is_a_dot_alone() {
        assert_eq!(data([&b".\r\n"[..]]), (Vec::new(), true, Vec::new()));
    }

    proptest! {
        #[test]
        fn data_agrees_with_a_line_by_line_reading(
            input in proptest::collection::vec(proptest::sample::select(b"a.\r\n".to_vec()), 0..60),
            cut in 1..20usize,
        ) {
            let expected = oracle(&input);
            prop_assert_eq!(&data([&input[..]]), &expected);
            prop_assert_eq!(&data(input.chunks(cut)), &expected);
        }

        #[test]
        fn chunking_lines_changes_nothing(
            input in proptest::collection::vec(proptest::sample::select(b"ab\r\n".to_vec()), 0..80),
            cut in 1..20usize,
        ) {
            let kinds = |events: Vec<LineEvent>| events.into_iter().map(|event| match event {
                LineEvent::TooLong(_) => None,
                LineEvent::Line(line) => Some(line),
                LineEvent::NeedInput => unreachable!(),
            }).collect::<Vec<_>>();
            prop_assert_eq!(kinds(lines(5, [&input[..]])), kinds(lines(5, input.chunks(cut))));
        }
    }
}
