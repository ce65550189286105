//! Encoded words in header fields (RFC 2047), to UTF-8 and, for one odd case, back.
//!
//! The result is what Cyrus caches for SEARCH and SORT: 8-bit text outside encoded words becomes replacement
//! characters, a word of an unknown character set becomes one such character, and neighbouring words of one set
//! and encoding are decoded as one, so that a character may be split between them.

use memchr::memchr;

use super::charset::{self, Charset, Decoder};
use super::decode::{Base64, quoted_printable};
use super::headers::until_nul;
use super::is_space;

/// Decodes the unfolded field value `value`. The result ends at the first NUL that decoding gave.
pub(super) fn decode(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 16);
    if memchr::memmem::find(value, b"=?").is_none() && memchr(b'\r', value).is_none() {
        charset::decode_ascii(value, &mut out);
        return out;
    }
    let mut plain = Plain::default();
    let mut chain: Option<Chain> = None;
    let (mut done, mut at) = (0, 0);
    let mut after_word = false;
    while let Some(equals) = value
        .get(at..)
        .and_then(|rest| memchr(b'=', rest))
        .map(|found| at + found)
    {
        let word = match Word::at(value, equals) {
            Ok(word) => word,
            Err(resume) => {
                at = resume;
                continue;
            }
        };
        let before = value.get(done..equals).unwrap_or_default();
        if !after_word || !before.iter().copied().all(is_space) {
            plain.feed(before, &mut out);
            chain = None;
        }
        match Charset::by_name(word.charset) {
            None => {
                charset::push(char::REPLACEMENT_CHARACTER, &mut out);
                chain = None;
            }
            Some(charset) => {
                let same = chain.take().filter(|chain| chain.continues(charset, word.quoted));
                let mut next = same.unwrap_or_else(|| Chain::new(charset, word.quoted));
                next.feed(word.text, &mut out);
                chain = Some(next);
            }
        }
        done = word.end;
        at = word.end;
        after_word = true;
    }
    plain.feed(value.get(done..).unwrap_or_default(), &mut out);
    out.truncate(until_nul(&out).len());
    out
}

/// One encoded word.
struct Word<'a> {
    charset: &'a [u8],
    quoted: bool,
    text: &'a [u8],
    end: usize,
}

impl<'a> Word<'a> {
    /// The word whose `=` is at `equals`, or where to look for the next one.
    fn at(value: &'a [u8], equals: usize) -> Result<Self, usize> {
        let byte = |at: usize| value.get(at).copied();
        let find = |from: usize, found: &dyn Fn(u8) -> bool| {
            let rest = value.get(from..).unwrap_or_default();
            from + rest.iter().position(|&byte| found(byte)).unwrap_or(rest.len())
        };
        if byte(equals + 1) != Some(b'?') {
            return Err(equals + 1);
        }
        let start = equals + 2;
        let mark = find(start, &|byte| matches!(byte, b'=' | b'?'));
        if byte(mark) != Some(b'?') {
            return Err(mark);
        }
        let quoted = match byte(mark + 1) {
            Some(b'q' | b'Q') => true,
            Some(b'b' | b'B') => false,
            _ => return Err(mark),
        };
        if byte(mark + 2) != Some(b'?') {
            return Err(mark);
        }
        let text = mark + 3;
        let mut close = text;
        loop {
            close = find(close, &|byte| matches!(byte, b'?' | b'='));
            match (byte(close), byte(close + 1), byte(close + 2)) {
                (Some(b'='), Some(b'?'), Some(b'=')) => close += 1,
                (Some(b'='), Some(b'?'), _) | (Some(b'?') | None, _, _) => break,
                _ => close += 1,
            }
        }
        if (byte(close), byte(close + 1)) != (Some(b'?'), Some(b'=')) {
            return Err(close);
        }
        let charset = value.get(start..mark).unwrap_or_default();
        Ok(Word {
            // A language may follow (RFC 2231, section 5).
            charset: charset.split(|&byte| byte == b'*').next().unwrap_or_default(),
            quoted,
            text: value.get(text..close).unwrap_or_default(),
            end: close + 2,
        })
    }
}

/// The decoding of neighbouring words.
struct Chain {
    charset: Decoder,
    base64: Option<Base64>,
}

impl Chain {
    fn new(charset: Charset, quoted: bool) -> Self {
        Self {
            charset: Decoder::new(charset),
            base64: (!quoted).then(Base64::standard),
        }
    }

    fn continues(&self, charset: Charset, quoted: bool) -> bool {
        self.charset.charset() == charset && self.base64.is_none() == quoted
    }

    fn feed(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let mut octets = Vec::with_capacity(text.len());
        let mut sink = |piece: &[u8]| octets.extend_from_slice(piece);
        match &mut self.base64 {
            Some(base64) => base64.feed(text, &mut sink),
            None => quoted_printable(text, true, &mut sink),
        }
        self.charset.feed(&octets, out);
    }
}

/// Text outside encoded words. A fold that is left in it is undone; a CR at the very end is lost.
#[derive(Default)]
struct Plain {
    held: Held,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Held {
    #[default]
    Nothing,
    Cr,
    CrLf,
}

impl Plain {
    fn feed(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if self.held == Held::Nothing && memchr(b'\r', text).is_none() {
            charset::decode_ascii(text, out);
            return;
        }
        let mut rest = text;
        while let Some(&byte) = rest.first() {
            if self.held == Held::Nothing {
                let (run, after) = rest.split_at(memchr(b'\r', rest).unwrap_or(rest.len()));
                charset::decode_ascii(run, out);
                rest = after.get(1..).unwrap_or_default();
                if !after.is_empty() {
                    self.held = Held::Cr;
                }
                continue;
            }
            rest = rest.get(1..).unwrap_or_default();
            match (self.held, byte) {
                (Held::Cr, b'\n') => {
                    self.held = Held::CrLf;
                    continue;
                }
                (Held::Cr, _) => out.push(b'\r'),
                (Held::CrLf, b' ' | b'\t') | (Held::Nothing, _) => {}
                (Held::CrLf, _) => out.extend_from_slice(b"\r\n"),
            }
            self.held = Held::Nothing;
            charset::decode_ascii(&[byte], out);
        }
    }
}

/// Encodes `text` as Q words of UTF-8, split before they get too long.
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    const MAX_LINE: usize = 72;
    let mut out = b"=?UTF-8?Q?".to_vec();
    let mut column = 10;
    for &byte in text {
        let room = match byte {
            0xC0..=0xDF => 3,
            0xE0..=0xEF => 6,
            0xF0..=0xF7 => 9,
            _ => 0,
        };
        if column + room >= MAX_LINE {
            out.extend_from_slice(b"?=\r\n =?UTF-8?Q?");
            column = 11;
        }
        match byte {
            b' ' => out.push(b'_'),
            b'!'..=b'~' if !matches!(byte, b'=' | b'?' | b'_') => out.push(byte),
            _ => {
                let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value & 0xF)];
                out.extend_from_slice(&[b'=', digit(byte >> 4), digit(byte)]);
                column += 2;
            }
        }
        column += 1;
    }
    out.extend_from_slice(b"?=");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(value: &str) -> String {
        String::from_utf8(decode(value.as_bytes())).unwrap()
    }

    #[test]
    fn white_space_between_words_is_dropped_and_elsewhere_kept() {
        assert_eq!(decoded("a =?utf-8?q?b_?= =?iso-8859-1?Q?c?= d"), "a b c d");
        assert_eq!(decoded("=?utf-8?q?a?= x =?utf-8?q?b?="), "a x b");
    }

    #[test]
    fn a_character_may_be_split_between_words_of_one_set_and_encoding() {
        assert_eq!(decoded("=?utf-8?q?h=C3?= =?UTF-8?q?=A4?="), "hä");
        assert_eq!(decoded("=?utf-8?b?w6Q=?= =?utf-8?b?w6Q?=x"), "ääx");
    }

    #[test]
    fn what_cannot_be_decoded_becomes_a_replacement_character() {
        assert_eq!(decoded("=?bogus?q?abc?= x"), "\u{FFFD} x");
        assert_eq!(decoded("ä"), "\u{FFFD}\u{FFFD}");
        assert_eq!(decoded("=?utf-8?x?abc?= =?"), "=?utf-8?x?abc?= =?");
    }
}
