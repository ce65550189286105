//! Content transfer encodings (RFC 2045, section 6) to octets.
//!
//! Decoding never fails: what is not valid in an encoding is passed over or kept as text, exactly as Cyrus does,
//! because the SHA-1 and the size of the decoded content are part of the cache.

use memchr::memchr;

/// A content transfer encoding, with the number that the cache knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `7bit`, `8bit`, `binary` or none.
    Identity,
    /// `quoted-printable`.
    QuotedPrintable,
    /// `base64`.
    Base64,
    /// `base64url`; Cyrus 3.6 reads it from records but never writes it.
    Base64Url,
    /// Any other: the content cannot be decoded.
    Unknown,
}

impl Encoding {
    /// The encoding that the low byte of a charset word in the SECTION item stands for.
    pub(super) fn from_cache(number: u8) -> Self {
        match number {
            0 => Self::Identity,
            1 => Self::QuotedPrintable,
            2 => Self::Base64,
            3 => Self::Base64Url,
            _ => Self::Unknown,
        }
    }

    pub(super) fn to_cache(self) -> u32 {
        match self {
            Self::Identity => 0,
            Self::QuotedPrintable => 1,
            Self::Base64 => 2,
            Self::Base64Url => 3,
            Self::Unknown => 0xFF,
        }
    }

    /// The encoding named by an upper-case Content-Transfer-Encoding.
    pub(super) fn from_name(name: &[u8]) -> Self {
        match name {
            b"7BIT" | b"8BIT" | b"BINARY" => Self::Identity,
            b"QUOTED-PRINTABLE" => Self::QuotedPrintable,
            b"BASE64" => Self::Base64,
            _ => Self::Unknown,
        }
    }
}

/// Decodes `content`, giving the octets to `sink` piece by piece; nothing for an unknown encoding.
pub fn decode(encoding: Encoding, content: &[u8], sink: &mut dyn FnMut(&[u8])) {
    match encoding {
        Encoding::Identity => sink(content),
        Encoding::QuotedPrintable => quoted_printable(content, false, sink),
        Encoding::Base64 => Base64::new(&STANDARD).feed(content, sink),
        Encoding::Base64Url => Base64::new(&URL_SAFE).feed(content, sink),
        Encoding::Unknown => {}
    }
}

/// Lines longer than this are decoded in pieces of this size.
const MAX_QP_LINE: usize = 999;

/// Decodes quoted-printable; with `header` set, the Q encoding of RFC 2047, where `_` is a space.
pub(super) fn quoted_printable(content: &[u8], header: bool, sink: &mut dyn FnMut(&[u8])) {
    let mut rest = content;
    let mut without_cr = Vec::new();
    while !rest.is_empty() {
        let (line, ended) = match memchr(b'\n', rest) {
            Some(lf) => {
                let (line, after) = rest.split_at(lf);
                rest = after.strip_prefix(b"\n").unwrap_or(after);
                (line, true)
            }
            None => (std::mem::take(&mut rest), false),
        };
        let mut line = line.strip_suffix(b"\r").unwrap_or(line);
        if memchr(b'\r', line).is_some() {
            without_cr.clear();
            without_cr.extend(line.iter().filter(|&&byte| byte != b'\r'));
            line = &without_cr;
        }
        while let Some((piece, after)) = line.split_at_checked(MAX_QP_LINE) {
            qp_piece(piece, header, sink);
            line = after;
        }
        let soft = qp_piece(line, header, sink);
        if ended && !soft {
            sink(b"\r\n");
        }
    }
}

/// One line or piece of a long one, without line break; true if it ends with a soft line break.
fn qp_piece(piece: &[u8], header: bool, sink: &mut dyn FnMut(&[u8])) -> bool {
    let blanks = piece
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    let mut rest = piece.get(..piece.len() - blanks).unwrap_or_default();
    loop {
        let special = if header {
            memchr::memchr2(b'=', b'_', rest)
        } else {
            memchr(b'=', rest)
        };
        let Some((text, at)) = special.and_then(|at| rest.split_at_checked(at)) else {
            sink(rest);
            return false;
        };
        sink(text);
        match *at {
            [b'=', high, low, ..] if hex(high).is_some() && hex(low).is_some() => {
                sink(&[hex(high).unwrap_or(0) << 4 | hex(low).unwrap_or(0)]);
                rest = at.get(3..).unwrap_or_default();
            }
            [b'='] => return true,
            [b'_', ..] => {
                sink(b" ");
                rest = at.get(1..).unwrap_or_default();
            }
            _ => {
                sink(b"=");
                rest = at.get(1..).unwrap_or_default();
            }
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// A base64 decoder that can be fed in pieces.
pub(super) struct Base64 {
    table: &'static [u8; 256],
    bits: u32,
    digits: u8,
}

impl Base64 {
    pub(super) fn new(table: &'static [u8; 256]) -> Self {
        Self {
            table,
            bits: 0,
            digits: 0,
        }
    }

    pub(super) fn standard() -> Self {
        Self::new(&STANDARD)
    }

    /// Decodes the next piece. Anything outside the alphabet is passed over; `=` begins a new group.
    pub(super) fn feed(&mut self, text: &[u8], sink: &mut dyn FnMut(&[u8])) {
        let mut octets = [0; 768];
        for piece in text.chunks(1024) {
            let mut len = 0;
            for &byte in piece {
                let value = self.table[usize::from(byte)];
                if value < 64 {
                    self.bits = self.bits << 6 | u32::from(value);
                    self.digits = (self.digits + 1) % 4;
                    // The second, third and fourth digit of a group complete an octet each.
                    let octet = match self.digits {
                        1 => continue,
                        2 => self.bits >> 4,
                        3 => self.bits >> 2,
                        _ => self.bits,
                    };
                    if let Some(slot) = octets.get_mut(len) {
                        *slot = (octet & 0xFF) as u8;
                        len += 1;
                    }
                } else if value == PADDING {
                    self.digits = 0;
                }
            }
            sink(octets.get(..len).unwrap_or_default());
        }
    }
}

const OTHER: u8 = 0xFF;
const PADDING: u8 = 0xFE;
static STANDARD: [u8; 256] = digits(b'+', b'/');
static URL_SAFE: [u8; 256] = digits(b'-', b'_');

/// The value of each byte as a base64 digit.
const fn digits(plus: u8, slash: u8) -> [u8; 256] {
    let mut table = [OTHER; 256];
    let mut value = 0;
    while value < 26 {
        table[(b'A' + value) as usize] = value;
        table[(b'a' + value) as usize] = value + 26;
        if value < 10 {
            table[(b'0' + value) as usize] = value + 52;
        }
        value += 1;
    }
    table[plus as usize] = 62;
    table[slash as usize] = 63;
    table[b'=' as usize] = PADDING;
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(encoding: Encoding, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        decode(encoding, content, &mut |piece| out.extend_from_slice(piece));
        out
    }

    #[test]
    fn quoted_printable_keeps_what_it_cannot_decode() {
        let text = b"a=3D=\r\nb =\r\nc=G1 = 3 \t\r\n=";
        assert_eq!(decoded(Encoding::QuotedPrintable, text), b"a=b c=G1 = 3\r\n");
    }

    #[test]
    fn base64_passes_over_noise_and_restarts_after_padding() {
        assert_eq!(decoded(Encoding::Base64, b"YWI=\r\nY*Q=="), b"aba");
    }

    proptest! {
        #[test]
        fn base64_gives_back_what_was_encoded(octets in prop::collection::vec(any::<u8>(), 0..5000)) {
            use base64::prelude::*;
            prop_assert_eq!(decoded(Encoding::Base64, BASE64_STANDARD.encode(&octets).as_bytes()), octets.clone());
            prop_assert_eq!(decoded(Encoding::Base64Url, BASE64_URL_SAFE.encode(&octets).as_bytes()), octets);
        }
    }
}
