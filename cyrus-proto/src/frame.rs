//! Cuts the stream of an IMAP-like client into complete commands: lines plus literals, with limits.
//!
//! The framer knows nothing of grammar. It finds line ends, sees a literal announced at the end of a line
//! (`{n}`, `{n+}`, `{n-}`, `~{n}`: RFC 3501 section 4.3, RFC 7888, RFC 3516) and asks its session what to do with it
//! before a single octet of it is taken: keep it in memory, stream it into a [`Sink`], or refuse it. A finished
//! [`Command`] is one contiguous text for `nom`'s complete parsers; a literal that went to a sink is an empty
//! place in it.
//!
//! ```text
//!   Line --"{n}" at the end--> Decide --accept_in_memory--> Memory --n octets--> Line
//!    |                           |  \---accept_into-------> Sink ----n octets--> Line
//!    LF                        refuse --> skip the rest of the command --> Line
//!    v
//!   Command
//! ```

use std::io;

pub use self::lines::{DataEvent, LineEvent, LineFramer, Piece};

mod lines;

/// Where literals too large for memory go.
pub trait Sink: Send {
    /// Takes the next octets of the literal.
    ///
    /// # Errors
    /// The rest of the literal is then read and dropped, and the error is part of the [`Command`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        (**self).write(bytes)
    }
}

/// For sessions that keep every literal in memory.
impl Sink for std::convert::Infallible {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<()> {
        match *self {}
    }
}

/// How much of a command a framer holds in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets in one line, without its end and without literals.
    pub line: usize,
    /// Octets of a whole command: lines and the literals kept in memory.
    pub command: usize,
    /// Literals in one command.
    pub literals: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 64 * 1024,
            command: 1024 * 1024,
            literals: 1024,
        }
    }
}

/// A literal announced at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Octets that follow.
    pub size: u64,
    /// Whether the client waits for a continuation request (`{n}`), or sends on at once (`{n+}`, `{n-}`).
    pub synchronising: bool,
    /// Written `{n-}` (RFC 7888's LITERAL-), good for at most 4096 octets.
    pub minus: bool,
    /// Announced as `~{n}` (literal8).
    pub binary: bool,
    /// Whether [`Framer::accept_in_memory`] would keep the command below [`Limits::command`].
    pub fits_in_memory: bool,
}

/// What [`Framer::next`] found.
#[derive(Debug)]
pub enum Event<S> {
    /// Everything pushed so far is used up.
    NeedInput,
    /// Answer with `accept_in_memory`, `accept_into` or `refuse`; [`Framer::so_far`] is the command up to here.
    ///
    /// After accepting a synchronising one, send the continuation request (`+ go ahead`).
    Literal(Announced),
    /// A whole command.
    Command(Command<S>),
    /// A command past the limits; the framer drops the rest of it by itself.
    Refused(Refused),
}

/// A complete command.
#[derive(Debug)]
pub struct Command<S> {
    /// The text without its final line end. A literal is `{n}` as the client wrote it, CRLF, and `n` octets; those of a
    /// literal that went to a sink are left out (see [`Command::staged`]).
    pub text: Vec<u8>,
    /// The literals that went to sinks, in order.
    pub staged: Vec<Staged<S>>,
}

impl<S> Command<S> {
    /// The index in `staged` of the literal whose octets would start at `offset` in `text`.
    ///
    /// A grammar function that just read `{n}` CRLF computes `offset` as `text.len() - rest.len()`.
    pub fn staged_at(&self, offset: usize) -> Option<usize> {
        self.staged.iter().position(|literal| literal.at == offset)
    }
}

/// A literal that went to a sink.
#[derive(Debug)]
pub struct Staged<S> {
    /// Where in [`Command::text`] its octets would start.
    pub at: usize,
    /// Octets received.
    pub size: u64,
    /// The sink, or why it failed.
    pub sink: io::Result<S>,
}

/// Why a command was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A line is longer than [`Limits::line`].
    LineTooLong,
    /// Lines and literals are more than [`Limits::command`].
    CommandTooLong,
    /// More literals than [`Limits::literals`].
    TooManyLiterals,
    /// A literal's size is no number that fits 64 bits.
    LiteralSize,
}

impl Reason {
    /// A short text for the reply.
    pub fn text(self) -> &'static str {
        match self {
            Self::LineTooLong => "line too long",
            Self::CommandTooLong => "command too long",
            Self::TooManyLiterals => "too many literals",
            Self::LiteralSize => "invalid literal size",
        }
    }
}

/// A command dropped for its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its first octets (at most [`Refused::START`]), where the tag is.
    pub start: Vec<u8>,
    /// Which limit it broke.
    pub reason: Reason,
}

impl Refused {
    /// Octets of the command kept for the reply.
    pub const START: usize = 256;
}

/// Cuts bytes into commands. Holds no memory between commands.
#[derive(Debug)]
pub struct Framer<S> {
    limits: Limits,
    /// Pushed and not yet looked at: `pending[at..]`.
    pending: Vec<u8>,
    at: usize,
    /// The command so far.
    text: Vec<u8>,
    /// Where the current line starts in `text`.
    line_start: usize,
    literals: usize,
    staged: Vec<Staged<S>>,
    state: State<S>,
}

#[derive(Debug)]
enum State<S> {
    Line,
    Decide(Announced),
    Memory {
        left: u64,
    },
    Sink {
        left: u64,
        size: u64,
        sink: io::Result<S>,
    },
    SkipLiteral {
        left: u64,
    },
    /// Dropping a line; its last octets are kept, for they may announce a literal that must be dropped as well.
    SkipLine {
        tail: Vec<u8>,
    },
}

impl<S: Sink> Framer<S> {
    /// A framer at the start of a command.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            pending: Vec::new(),
            at: 0,
            text: Vec::new(),
            line_start: 0,
            literals: 0,
            staged: Vec::new(),
            state: State::Line,
        }
    }

    /// Puts other limits in place, for the commands to come.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Adds what the client sent.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Forgets all input, finished or not: the transport below has changed.
    pub fn clear(&mut self) {
        self.pending = Vec::new();
        self.at = 0;
        self.restart();
    }

    /// The pushed bytes that were not looked at, which are taken away: what comes now means something else.
    pub fn take_pending(&mut self) -> Vec<u8> {
        let rest = self.pending.get(self.at..).unwrap_or_default().to_vec();
        self.pending = Vec::new();
        self.at = 0;
        rest
    }

    /// Whether pushed bytes wait to be looked at.
    pub fn has_pending(&self) -> bool {
        self.at < self.pending.len()
    }

    /// The command up to the literal just announced, including its `{n}` and CRLF.
    pub fn so_far(&self) -> &[u8] {
        &self.text
    }

    /// Which of the command's literals that went to sinks has its place at `offset` of the command so far.
    pub fn staged_at(&self, offset: usize) -> Option<usize> {
        self.staged.iter().position(|literal| literal.at == offset)
    }

    /// How many literals of the command so far went to sinks.
    pub fn staged_so_far(&self) -> usize {
        self.staged.len()
    }

    /// Goes on to the next event. A literal that was announced is announced again until it is decided on.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Event<S> {
        loop {
            if let State::Decide(announced) = self.state {
                return Event::Literal(announced);
            }
            if !self.literal_is_complete() {
                return self.starve();
            }
            let (part, ended) = self.take_line();
            if part.is_empty() && !ended {
                return self.starve();
            }
            if let Some(event) = self.line(part, ended) {
                return event;
            }
        }
    }

    /// Goes on to the end of the next line, in which nothing announces a literal: for the answers that a client gives
    /// in the middle of AUTHENTICATE or IDLE. Ask only between commands.
    ///
    /// `None` means that more input is needed. A line past the limit is a [`Refused`].
    pub fn next_line(&mut self) -> Option<Result<Vec<u8>, Refused>> {
        loop {
            if !matches!(self.state, State::Line) {
                return match self.next() {
                    Event::Refused(refused) => Some(Err(refused)),
                    Event::Command(command) => Some(Ok(command.text)),
                    Event::NeedInput | Event::Literal(_) => None,
                };
            }
            let (part, ended) = self.take_line();
            if part.is_empty() && !ended {
                self.starve();
                return None;
            }
            let bytes = self.pending.get(part).unwrap_or_default();
            if self.text.len() + bytes.len() > self.limits.line {
                self.text
                    .extend_from_slice(bytes.get(..Refused::START).unwrap_or(bytes));
                let refused = self.give_up(Reason::LineTooLong);
                if ended {
                    self.restart();
                }
                return Some(Err(refused));
            }
            self.text.extend_from_slice(bytes);
            if ended {
                let mut text = std::mem::take(&mut self.text);
                if text.last() == Some(&b'\r') {
                    text.pop();
                }
                self.restart();
                return Some(Ok(text));
            }
        }
    }

    /// Takes the announced literal into the command's text.
    ///
    /// If it does not fit (see [`Announced::fits_in_memory`]) it is refused, and dropped when the client sends on.
    pub fn accept_in_memory(&mut self) {
        if let State::Decide(announced) = self.state {
            if announced.fits_in_memory {
                self.state = State::Memory { left: announced.size };
            } else {
                self.refuse();
            }
        }
    }

    /// Streams the announced literal into `sink`.
    pub fn accept_into(&mut self, sink: S) {
        if let State::Decide(announced) = self.state {
            self.state = State::Sink {
                left: announced.size,
                size: announced.size,
                sink: Ok(sink),
            };
        }
    }

    /// Drops the command: the session answers `NO` or `BAD` to what [`so_far`](Self::so_far) shows (look before).
    ///
    /// After a synchronising literal the next line is a new command; otherwise the literal, and all that belongs to the
    /// command after it, is read and dropped.
    pub fn refuse(&mut self) {
        if let State::Decide(announced) = self.state {
            self.restart();
            if !announced.synchronising {
                self.state = State::SkipLiteral { left: announced.size };
            }
        }
    }

    /// Moves pending octets into the literal at hand; whether it has them all (true when there is none).
    fn literal_is_complete(&mut self) -> bool {
        let have = self.pending.get(self.at..).unwrap_or_default();
        let left = match &mut self.state {
            State::Memory { left } | State::Sink { left, .. } | State::SkipLiteral { left } => left,
            State::Line | State::Decide(_) | State::SkipLine { .. } => return true,
        };
        let take = usize::try_from(*left).unwrap_or(usize::MAX).min(have.len());
        *left -= take as u64;
        let complete = *left == 0;
        let part = have.get(..take).unwrap_or_default();
        match &mut self.state {
            State::Memory { .. } => self.text.extend_from_slice(part),
            State::Sink { sink, .. } => {
                if let Ok(open) = sink
                    && let Err(error) = open.write(part)
                {
                    *sink = Err(error);
                }
            }
            State::Line | State::Decide(_) | State::SkipLiteral { .. } | State::SkipLine { .. } => {}
        }
        self.at += take;
        if complete {
            self.line_start = self.text.len();
            match std::mem::replace(&mut self.state, State::Line) {
                State::Sink { size, sink, .. } => {
                    self.staged.push(Staged {
                        at: self.text.len(),
                        size,
                        sink,
                    });
                }
                State::SkipLiteral { .. } => self.state = State::SkipLine { tail: Vec::new() },
                State::Line | State::Decide(_) | State::Memory { .. } | State::SkipLine { .. } => {}
            }
        }
        complete
    }

    /// The next part of the line at hand, as a range of `pending` without LF, and whether LF ended it.
    fn take_line(&mut self) -> (std::ops::Range<usize>, bool) {
        let start = self.at;
        let have = self.pending.get(start..).unwrap_or_default();
        match memchr::memchr(b'\n', have) {
            Some(length) => {
                self.at = start + length + 1;
                (start..start + length, true)
            }
            None => {
                self.at = self.pending.len();
                (start..self.at, false)
            }
        }
    }

    fn line(&mut self, part: std::ops::Range<usize>, ended: bool) -> Option<Event<S>> {
        let bytes = self.pending.get(part).unwrap_or_default();
        if let State::SkipLine { tail } = &mut self.state {
            keep_tail(tail, bytes);
            if ended {
                let tail = std::mem::take(tail);
                self.after_skipped_line(&tail);
            }
            return None;
        }
        // Whichever limit the octets reach first, so that the answer does not depend on how they were cut.
        let line_room = self.limits.line.saturating_sub(self.text.len() - self.line_start);
        let command_room = self.limits.command.saturating_sub(self.text.len());
        let reason = if bytes.len() <= line_room.min(command_room) {
            None
        } else if line_room <= command_room {
            Some(Reason::LineTooLong)
        } else {
            Some(Reason::CommandTooLong)
        };
        if let Some(reason) = reason {
            let mut tail = Vec::new();
            keep_tail(&mut tail, self.text.get(self.line_start..).unwrap_or_default());
            keep_tail(&mut tail, bytes);
            self.text
                .extend_from_slice(bytes.get(..Refused::START).unwrap_or(bytes));
            let refused = self.give_up(reason);
            if ended {
                self.after_skipped_line(&tail);
            } else {
                self.state = State::SkipLine { tail };
            }
            return Some(Event::Refused(refused));
        }
        self.text.extend_from_slice(bytes);
        if !ended {
            return None;
        }
        if self.text.len() > self.line_start && self.text.last() == Some(&b'\r') {
            self.text.pop();
        }
        match announced(self.text.get(self.line_start..).unwrap_or_default()) {
            Suffix::None => {
                let text = std::mem::take(&mut self.text);
                let staged = std::mem::take(&mut self.staged);
                self.restart();
                Some(Event::Command(Command { text, staged }))
            }
            Suffix::TooLarge => {
                Some(Event::Refused(self.give_up(Reason::LiteralSize))).inspect(|_| self.restart())
            }
            Suffix::Literal(mut literal) => {
                self.literals += 1;
                self.text.extend_from_slice(b"\r\n");
                if self.literals > self.limits.literals {
                    let refused = self.give_up(Reason::TooManyLiterals);
                    self.skip_literal(&literal);
                    return Some(Event::Refused(refused));
                }
                // What follows a literal needs room, too: after many small ones comes a staged one, not a command too long.
                let room = (self.limits.command - self.limits.command / 8).saturating_sub(self.text.len());
                literal.fits_in_memory = literal.size <= room as u64;
                self.state = State::Decide(literal);
                None
            }
        }
    }

    fn after_skipped_line(&mut self, tail: &[u8]) {
        let tail = tail.strip_suffix(b"\r").unwrap_or(tail);
        self.restart();
        if let Suffix::Literal(literal) = announced(tail) {
            self.skip_literal(&literal);
        }
    }

    fn skip_literal(&mut self, literal: &Announced) {
        self.restart();
        if !literal.synchronising {
            self.state = State::SkipLiteral { left: literal.size };
        }
    }

    /// Forgets the command, keeping its start for the reply; the rest of its line is to be skipped.
    fn give_up(&mut self, reason: Reason) -> Refused {
        let mut start = std::mem::take(&mut self.text);
        start.truncate(Refused::START.min(self.limits.line));
        self.restart();
        self.state = State::SkipLine { tail: Vec::new() };
        Refused { start, reason }
    }

    fn restart(&mut self) {
        self.text = Vec::new();
        self.staged = Vec::new();
        self.line_start = 0;
        self.literals = 0;
        self.state = State::Line;
    }

    /// All pending bytes are used up: gives their memory back.
    fn starve(&mut self) -> Event<S> {
        self.pending = Vec::new();
        self.at = 0;
        Event::NeedInput
    }
}

enum Suffix {
    None,
    Literal(Announced),
    TooLarge,
}

/// The literal announced at the end of a line: `["~"] "{" number ["+" / "-"] "}"`, at its start or after SP or `(`.
fn announced(line: &[u8]) -> Suffix {
    let Some(inner) = line.strip_suffix(b"}") else {
        return Suffix::None;
    };
    let (inner, sign) = match inner.split_last() {
        Some((sign @ (b'+' | b'-'), rest)) => (rest, Some(*sign)),
        _ => (inner, None),
    };
    let Some(open) = memchr::memrchr(b'{', inner) else {
        return Suffix::None;
    };
    let digits = inner.get(open + 1..).unwrap_or_default();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Suffix::None;
    }
    let before = inner.get(..open).unwrap_or_default();
    let (before, binary) = match before.strip_suffix(b"~") {
        Some(rest) => (rest, true),
        None => (before, false),
    };
    if !matches!(before.last(), None | Some(b' ' | b'(')) {
        return Suffix::None;
    }
    let size = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok());
    match size {
        Some(size) => Suffix::Literal(Announced {
            size,
            synchronising: sign.is_none(),
            minus: sign == Some(b'-'),
            binary,
            fits_in_memory: false,
        }),
        None => Suffix::TooLarge,
    }
}

/// Octets of a skipped line that are kept: enough for ` ~{18446744073709551615+}` CR.
const TAIL: usize = 32;

fn keep_tail(tail: &mut Vec<u8>, more: &[u8]) {
    tail.extend_from_slice(more.get(more.len().saturating_sub(TAIL)..).unwrap_or_default());
    let excess = tail.len().saturating_sub(TAIL);
    tail.drain(..excess);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Keep(Vec<u8>);

    impl Sink for Keep {
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }

    const LIMITS: Limits = Limits {
        line: 100,
        command: 300,
        literals: 3,
    };

    /// Runs everything through a framer that stages literals above 10 octets and refuses those above 1000.
    fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut framer = Framer::<Keep>::new(LIMITS);
        let mut log = Vec::new();
        for piece in pieces {
            framer.push(piece);
            loop {
                match framer.next() {
                    Event::NeedInput => break,
                    Event::Literal(literal) if literal.size > 1000 => {
                        log.push(format!("refuse {}", String::from_utf8_lossy(framer.so_far())));
                        framer.refuse();
                    }
                    Event::Literal(literal) if literal.size > 10 => framer.accept_into(Keep(Vec::new())),
                    Event::Literal(literal) => {
                        log.push(if literal.synchronising {
                            "+".to_owned()
                        } else {
                            "(+)".to_owned()
                        });
                        framer.accept_in_memory();
                    }
                    Event::Command(command) => {
                        let staged: Vec<_> = command
                            .staged
                            .iter()
                            .map(|s| {
                                (
                                    s.at,
                                    s.size,
                                    String::from_utf8_lossy(&s.sink.as_ref().unwrap().0).into_owned(),
                                )
                            })
                            .collect();
                        log.push(format!("{:?} {staged:?}", String::from_utf8_lossy(&command.text)));
                    }
                    Event::Refused(refused) => {
                        let start = String::from_utf8_lossy(&refused.start).into_owned();
                        log.push(format!(
                            "{:?} {}",
                            refused.reason,
                            start.get(..2).unwrap_or(&start)
                        ));
                    }
                }
            }
        }
        assert!(!framer.has_pending());
        log
    }

    #[test]
    fn lines_end_with_crlf_or_lf() {
        assert_eq!(
            run([&b"a NOOP\r\nb NOOP\n\r\n"[..]]),
            ["\"a NOOP\" []", "\"b NOOP\" []", "\"\" []"]
        );
    }

    #[test]
    fn literals_are_part_of_the_text() {
        assert_eq!(
            run([&b"a LOGIN {3}\r\nfre {4+}\r\np\r\nw\r\n"[..]]),
            ["+", "(+)", "\"a LOGIN {3}\\r\\nfre {4+}\\r\\np\\r\\nw\" []"]
        );
    }

    #[test]
    fn a_staged_literal_is_an_empty_place_in_the_text() {
        let log = run([&b"a APPEND x {12+}\r\n0123456789ab ~{11+}\r\n0123456789a\r\n"[..]]);
        assert_eq!(
            log,
            [
                "\"a APPEND x {12+}\\r\\n ~{11+}\\r\\n\" [(18, 12, \"0123456789ab\"), (27, 11, \"0123456789a\")]"
            ]
        );
    }

    #[test]
    fn a_brace_that_is_no_literal_is_text() {
        for line in ["a X foo{3}", "a X {3", "a X {}", "a X {x}", "a X 3}", "a X ~~{3}"] {
            assert_eq!(run([format!("{line}\r\n").as_bytes()]), [format!("{line:?} []")]);
        }
    }

    #[test]
    fn a_refused_literal_is_skipped_only_if_it_was_sent_anyway() {
        assert_eq!(
            run([&b"a X {1001}\r\nb NOOP\r\n"[..]]),
            ["refuse a X {1001}\r\n", "\"b NOOP\" []"]
        );
        let mut sent = b"a X {1001+}\r\n".to_vec();
        sent.extend_from_slice(&[b'\n'; 1001]);
        sent.extend_from_slice(b" {3+}\r\nc N\r\nb NOOP\r\n");
        // The literal after the refused one belongs to the same command.
        assert_eq!(
            run([&sent[..]]),
            ["refuse a X {1001+}\r\n", "\"b NOOP\" []"].map(str::to_owned)
        );
    }

    #[test]
    fn a_line_too_long_is_dropped_with_the_literal_at_its_end() {
        let mut sent = b"a ".to_vec();
        sent.extend_from_slice(&[b'x'; 200]);
        sent.extend_from_slice(b" {4+}\r\nb Y\n\r\nc NOOP\r\n");
        assert_eq!(run([&sent[..]]), ["LineTooLong a ", "\"c NOOP\" []"]);
    }

    #[test]
    fn mad_sizes_and_too_many_literals_are_refused() {
        assert_eq!(
            run([&b"a X {99999999999999999999}\r\nb NOOP\r\n"[..]]),
            ["LiteralSize a ", "\"b NOOP\" []"]
        );
        assert_eq!(
            run([&b"a {1+}\r\nx {1+}\r\nx {1+}\r\nx {1+}\r\nx\r\nb NOOP\r\n"[..]]),
            ["(+)", "(+)", "(+)", "TooManyLiterals a ", "\"b NOOP\" []"]
        );
    }

    #[test]
    fn a_bare_line_ignores_literals_and_counts_its_length() {
        let mut framer = Framer::<Keep>::new(LIMITS);
        framer.push(b"dXNl {3}\r\nDO");
        assert_eq!(framer.next_line().unwrap().unwrap(), b"dXNl {3}");
        assert!(framer.next_line().is_none());
        framer.push(b"NE\r\nc NOOP\r\n");
        assert_eq!(framer.next_line().unwrap().unwrap(), b"DONE");
        assert!(matches!(framer.next(), Event::Command(c) if c.text == b"c NOOP"));
        framer.push(&[b'x'; 150]);
        framer.push(b"yyy\r\nok\r\n");
        assert_eq!(
            framer.next_line().unwrap().unwrap_err().reason,
            Reason::LineTooLong
        );
        assert_eq!(framer.next_line().unwrap().unwrap(), b"ok");
    }

    #[test]
    fn a_failing_sink_is_reported_with_the_command() {
        struct Full;
        impl Sink for Full {
            fn write(&mut self, _bytes: &[u8]) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let mut framer = Framer::<Full>::new(LIMITS);
        framer.push(b"a {3+}\r\nabc\r\n");
        assert!(matches!(framer.next(), Event::Literal(_)));
        framer.accept_into(Full);
        let Event::Command(command) = framer.next() else {
            panic!("the command is complete")
        };
        assert_eq!(command.staged_at(8), Some(0));
        assert!(command.staged[0].sink.is_err());
    }

    #[test]
    fn nothing_is_held_between_commands() {
        let mut framer = Framer::<Keep>::new(LIMITS);
        framer.push(b"a NOOP\r\n");
        assert!(matches!(framer.next(), Event::Command(_)));
        assert!(matches!(framer.next(), Event::NeedInput));
        assert_eq!(
            (
                framer.pending.capacity(),
                framer.text.capacity(),
                framer.staged.capacity()
            ),
            (0, 0, 0)
        );
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(
            parts in proptest::collection::vec(
                prop_oneof![
                    "[a-c{}+~0-9\r\n ]{0,12}".prop_map(String::into_bytes),
                    (0..1200u64).prop_map(|n| format!("a X {{{n}+}}\r\n").into_bytes()),
                    (0..20u64).prop_map(|n| format!("a X {{{n}}}\r\n").into_bytes()),
                    proptest::collection::vec(any::<u8>(), 0..150),
                ], 0..20),
            cut in 1..40usize,
        ) {
            let all = parts.concat();
            prop_assert_eq!(run([&all[..]]), run(all.chunks(cut)));
        }
    }
}
