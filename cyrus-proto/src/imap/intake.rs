//! What an appended message must be: checked, and its header made ASCII, while it streams in.
//!
//! Unlike mail that comes in by LMTP, a message of a client is otherwise kept octet by octet. Two machines look at the
//! header. One finds its end, an empty line, and with it the octets that the rule about 8-bit headers concerns; a line of
//! carriage returns is empty, too. The other checks the names of fields up to the first line that starts with a carriage
//! return, as Cyrus does.

use std::borrow::Cow;

use crate::eight_bit::EightBitHeaders;

/// Why a message cannot be appended; of several reasons the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    InvalidHeader,
    EightBitHeader,
    BareNewline,
    Nul,
}

impl Fault {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::InvalidHeader => "Message contains invalid header",
            Self::EightBitHeader => "Message contains non-ASCII characters in headers",
            Self::BareNewline => "Message contains bare newlines",
            Self::Nul => "Message contains NUL characters",
        }
    }
}

/// A message on its way in.
#[derive(Debug)]
pub(super) struct Intake {
    eight_bit: EightBitHeaders,
    fault: Option<Fault>,
    /// The octet before the next one is a carriage return.
    after_cr: bool,
    in_header: bool,
    /// The header line at hand holds nothing but carriage returns so far.
    empty_line: bool,
    fields: Fields,
}

/// Where the check of fields is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fields {
    LineStart,
    /// So many octets into a line, all before its colon; `from` while they begin `From `.
    Name {
        length: usize,
        from: bool,
    },
    /// In the rest of a line.
    Value,
    /// Past the header.
    Done,
}

/// A separator of mbox files, which Cyrus lets pass among the fields.
const FROM: &[u8] = b"From ";

/// Cyrus reads lines in pieces of this size, and looks at no more of a line than its first.
const CHECKED: usize = 4_096;

impl Intake {
    pub(super) fn new(eight_bit: EightBitHeaders) -> Self {
        Self {
            eight_bit,
            fault: None,
            after_cr: false,
            in_header: true,
            empty_line: true,
            fields: Fields::LineStart,
        }
    }

    /// Takes the next part of the message: as it is to be kept.
    ///
    /// What comes of a message with a fault is of no use.
    pub(super) fn take<'p>(&mut self, part: &'p [u8]) -> Cow<'p, [u8]> {
        if memchr::memchr(0, part).is_some() {
            self.fail(Fault::Nul);
        }
        for at in memchr::memchr_iter(b'\n', part) {
            let before = at.checked_sub(1).map(|before| part.get(before) == Some(&b'\r'));
            if !before.unwrap_or(self.after_cr) {
                self.fail(Fault::BareNewline);
                break;
            }
        }
        self.after_cr = part.last().map_or(self.after_cr, |&last| last == b'\r');
        if !self.in_header {
            return Cow::Borrowed(part);
        }
        let header_length = self.header(part);
        let (header, body) = part.split_at_checked(header_length).unwrap_or((part, &[]));
        match self.eight_bit.apply(header) {
            Some(Cow::Borrowed(_)) => Cow::Borrowed(part),
            Some(Cow::Owned(mut munged)) => {
                munged.extend_from_slice(body);
                Cow::Owned(munged)
            }
            None => {
                self.fail(Fault::EightBitHeader);
                Cow::Borrowed(part)
            }
        }
    }

    /// Whether nothing is wrong with what came so far.
    pub(super) fn is_sound(&self) -> bool {
        self.fault.is_none()
    }

    /// The message is complete.
    pub(super) fn finish(mut self) -> Result<(), Fault> {
        if !matches!(self.fields, Fields::Done | Fields::LineStart) {
            // The last line of the header has no end.
            self.fail(Fault::InvalidHeader);
        }
        self.fault.map_or(Ok(()), Err)
    }

    /// How many octets of `part` belong to the header.
    fn header(&mut self, part: &[u8]) -> usize {
        for (at, &octet) in part.iter().enumerate() {
            self.field(octet);
            match octet {
                b'\n' if self.empty_line => {
                    self.in_header = false;
                    return at + 1;
                }
                b'\n' => self.empty_line = true,
                b'\r' => {}
                _ => self.empty_line = false,
            }
        }
        part.len()
    }

    fn field(&mut self, octet: u8) {
        self.fields = match (self.fields, octet) {
            (Fields::Done, _) | (Fields::LineStart, b'\r') => Fields::Done,
            (Fields::Value, b'\n') => Fields::LineStart,
            (Fields::Value, _) | (Fields::LineStart, b' ' | b'\t') => Fields::Value,
            (Fields::LineStart, b':' | ..=b' ') => return self.fail(Fault::InvalidHeader),
            (Fields::LineStart, _) => Fields::Name {
                length: 1,
                from: FROM.first() == Some(&octet),
            },
            (Fields::Name { .. }, b':') => Fields::Value,
            (Fields::Name { length, from }, _) => {
                let from = from && FROM.get(length) == Some(&octet);
                if octet <= b' ' && !from {
                    return self.fail(Fault::InvalidHeader);
                }
                match length + 1 {
                    CHECKED => Fields::Value,
                    length if from && length == FROM.len() => Fields::Value,
                    length => Fields::Name { length, from },
                }
            }
        };
    }

    fn fail(&mut self, fault: Fault) {
        if fault == Fault::InvalidHeader {
            // One is enough.
            self.fields = Fields::Done;
        }
        self.fault = self.fault.max(Some(fault));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{EightBitHeaders, Fault, Intake};

    fn appended(message: &[u8], eight_bit: EightBitHeaders) -> Result<Vec<u8>, Fault> {
        let mut intake = Intake::new(eight_bit);
        let kept = intake.take(message).into_owned();
        intake.finish().map(|()| kept)
    }

    /// Messages and what Cyrus 3.6.1 made of them with its defaults.
    const KEPT: [&[u8]; 18] = [
        b"Subject: a\r\n\r\nb\rx\r\n",
        b"Subject: a\r\n\r\nb\r",
        b"Subject: a\rb\r\n\r\nb\r\n",
        b"Subject: a\r\r\n\r\nb\r\n",
        b"Subject: a\r\n\r\nb",
        b" x\r\nSubject: a\r\n\r\nb\r\n",
        b"\tx: y\r\nSubject: a\r\n\r\nb\r\n",
        b"\r\nbody\xe9\r\n",
        b"\r\n",
        b"\r",
        b"From foo@bar Mon\r\nSubject: a\r\n\r\nb\r\n",
        b"A: b\r\nFrom x y\r\nC: d\r\n\r\nb",
        b"Subject: \x01a\r\n\r\nb\r\n",
        b"Sub\x7fject: a\r\n\r\nb\r\n",
        b"Subject: a\r\n\r\n\x01b\r\n",
        b"Subject: a\r\n\r\r\n\xe9\r\n\r\nb",
        b"A: b\r\n\rnope x\r\nnope y\r\n\r\n\xe9",
        b"A: b\r\n\r\nnope x\r\n",
    ];
    const REFUSED: [(&[u8], Fault); 23] = [
        (b"Subject: caf\xe9", Fault::InvalidHeader),
        (b"no colon here\r\nSubject: a\r\n\r\nb\r\n", Fault::InvalidHeader),
        (b"Subject: a\r\nno colon here\r\n\r\nb\r\n", Fault::InvalidHeader),
        (b"hello", Fault::InvalidHeader),
        (b"hello\r\n", Fault::InvalidHeader),
        (b">From foo@bar Mon\r\nA: a\r\n\r\nb\r\n", Fault::InvalidHeader),
        (b"Subject : a\r\n\r\nb\r\n", Fault::InvalidHeader),
        (b"Subject\t: a\r\n\r\nb\r\n", Fault::InvalidHeader),
        (b": a\r\n\r\nb\r\n", Fault::InvalidHeader),
        (b"Sub\x01ject: a\r\n\r\nb\r\n", Fault::InvalidHeader),
        (b"From\r\nC: d\r\n\r\nb", Fault::InvalidHeader),
        (b"From x", Fault::InvalidHeader),
        (b"A: b\r", Fault::InvalidHeader),
        (b"A: b\r\nC: d", Fault::InvalidHeader),
        (b" ", Fault::InvalidHeader),
        (b"A\rB: c\r\n\r\nx", Fault::InvalidHeader),
        (b"Subject: a\r\n\r\nb\nx\r\n", Fault::BareNewline),
        (b"\nSubject: a\r\n\r\nb\r\n", Fault::BareNewline),
        (b"nope\r\n\r\nb\n\r\n", Fault::BareNewline),
        (b"Subject: a\r\n\r\nb\0\r\n", Fault::Nul),
        (b"Subject: a\nb\0\r\nb\r\n", Fault::Nul),
        (b"nope\r\n\r\nb\0\r\n", Fault::Nul),
        (b"Subject: a\0\n\r\nb\r\n", Fault::Nul),
    ];

    #[test]
    fn what_cyrus_keeps_is_kept_as_it_is() {
        for message in KEPT {
            let kept = appended(message, EightBitHeaders::Munge);
            assert_eq!(kept.as_deref(), Ok(message), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn what_cyrus_refuses_is_refused_for_the_same_reason() {
        for (message, fault) in REFUSED {
            let refused = appended(message, EightBitHeaders::Munge);
            assert_eq!(refused, Err(fault), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn eight_bit_octets_of_the_header_alone_are_replaced_refused_or_kept() {
        let cases: [(&[u8], &[u8]); 4] = [
            (
                b"Sub\xe9ject: \xc3\xa9\r\n \xe9\r\n\r\n\xe9",
                b"SubXject: XX\r\n X\r\n\r\n\xe9",
            ),
            (b"Subject: \xe9\r\n", b"Subject: X\r\n"),
            (
                b"A: a\r\xe9b\r\n\xe9x: y\r\n\r\n\xe9\r\n",
                b"A: a\rXb\r\nXx: y\r\n\r\n\xe9\r\n",
            ),
            (b"\r\xe9\r\n\r\n\xe9", b"\rX\r\n\r\n\xe9"),
        ];
        for (message, munged) in cases {
            assert_eq!(appended(message, EightBitHeaders::Munge).as_deref(), Ok(munged));
            assert_eq!(appended(message, EightBitHeaders::Keep).as_deref(), Ok(message));
            let refused = appended(message, EightBitHeaders::Reject);
            assert_eq!(refused, Err(Fault::EightBitHeader));
        }
        let both = b"nope\r\nX: \xe9\r\n\r\nb";
        assert_eq!(
            appended(both, EightBitHeaders::Reject),
            Err(Fault::EightBitHeader)
        );
        assert_eq!(appended(both, EightBitHeaders::Munge), Err(Fault::InvalidHeader));
    }

    #[test]
    fn a_name_is_checked_as_far_as_cyrus_reads_it() {
        let mut message = vec![b'S'; 4_095];
        message.extend_from_slice(b" : a\r\n\r\nb");
        assert_eq!(
            appended(&message, EightBitHeaders::Munge),
            Err(Fault::InvalidHeader)
        );
        message.insert(0, b'S');
        assert!(appended(&message, EightBitHeaders::Munge).is_ok());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_a_message_is_cut(
            message in proptest::collection::vec(prop_oneof![
                Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), Just(b'A'), Just(0xe9_u8), any::<u8>()
            ], 0..60),
            cut in 0_usize..60,
        ) {
            let (first, second) = message.split_at(cut.min(message.len()));
            let mut intake = Intake::new(EightBitHeaders::Munge);
            let mut kept = intake.take(first).into_owned();
            kept.extend_from_slice(&intake.take(second));
            let cut = intake.finish().map(|()| kept);
            prop_assert_eq!(cut, appended(&message, EightBitHeaders::Munge));
        }
    }
}
