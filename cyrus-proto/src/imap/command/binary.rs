//! The FETCH items of RFC 3516 (BINARY), RFC 8970 (PREVIEW) and of times before RFC 2060 (`RFC822.HEADER.LINES`).

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::tag;

use super::fetch::{FetchAttributes, FetchItems, SectionText, header_list, partial};
use super::lex::{Parsed, expect, keyword, number, refuse};

/// `BINARY[part]<partial>`, `BINARY.PEEK[part]<partial>` or `BINARY.SIZE[part]` (RFC 3516, section 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinarySection {
    /// The part's number, `[1, 2]` for `1.2`; empty for the message itself.
    pub part: Vec<u32>,
    /// What of it.
    pub wanted: BinaryWanted,
}

/// What BINARY asks of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryWanted {
    /// `BINARY.SIZE`: how many octets it has, decoded.
    Size,
    /// `BINARY`, `BINARY.PEEK`: the octets.
    Octets {
        /// Whether `\Seen` stays as it is.
        peek: bool,
        /// First octet and count.
        partial: Option<(u64, u64)>,
    },
}

impl BinarySection {
    /// Whether fetching this sets `\Seen`.
    pub(super) fn marks_seen(&self) -> bool {
        matches!(self.wanted, BinaryWanted::Octets { peek: false, .. })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let name: &[u8] = match self.wanted {
            BinaryWanted::Size => b"BINARY.SIZE",
            BinaryWanted::Octets { peek: true, .. } => b"BINARY.PEEK",
            BinaryWanted::Octets { peek: false, .. } => b"BINARY",
        };
        out.extend_from_slice(name);
        self.write_part(out);
        if let BinaryWanted::Octets {
            partial: Some((start, count)),
            ..
        } = self.wanted
        {
            out.extend_from_slice(format!("<{start}.{count}>").as_bytes());
        }
    }

    /// Appends `[1.2]`.
    pub(crate) fn write_part(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (i, number) in self.part.iter().enumerate() {
            let dot = if i == 0 { "" } else { "." };
            out.extend_from_slice(format!("{dot}{number}").as_bytes());
        }
        out.push(b']');
    }
}

/// `section-binary` and what may follow it, after the item's name (RFC 3516, section 7).
pub(super) fn binary_section<'i>(name: &[u8], input: &'i [u8]) -> Option<Parsed<'i, BinarySection>> {
    let wanted = match name.to_ascii_uppercase().as_slice() {
        b"BINARY" => Some(false),
        b"BINARY.PEEK" => Some(true),
        b"BINARY.SIZE" => None,
        _ => return None,
    };
    Some(section_binary(input).and_then(|(rest, part)| {
        let Some(peek) = wanted else {
            let wanted = BinaryWanted::Size;
            return ended(rest, BinarySection { part, wanted });
        };
        let (rest, partial) = match rest.first() {
            Some(b'<') => {
                let (rest, partial) =
                    expect(partial, || Cow::Borrowed("Invalid body partial")).parse(rest)?;
                (rest, Some(partial))
            }
            _ => (rest, None),
        };
        let wanted = BinaryWanted::Octets { peek, partial };
        ended(rest, BinarySection { part, wanted })
    }))
}

/// `section-binary = "[" [section-part] "]"` (RFC 3516, section 7).
fn section_binary(input: &[u8]) -> Parsed<'_, Vec<u32>> {
    const INVALID: &str = "Invalid binary section";
    let (mut rest, _) = tag(&b"["[..]).parse(input)?;
    let mut part = Vec::new();
    if let Some(rest) = rest.strip_prefix(b"]") {
        return Ok((rest, part));
    }
    loop {
        let (after, number) = expect(number, || INVALID.into()).parse(rest)?;
        if number == 0 {
            return refuse(rest, INVALID);
        }
        if part.len() >= FetchAttributes::MAX_PART_DEPTH {
            return refuse(rest, "Binary section too deep");
        }
        part.push(number);
        match after.split_first() {
            Some((b']', after)) => return Ok((after, part)),
            Some((b'.', after)) => rest = after,
            _ => return refuse(after, INVALID),
        }
    }
}

fn ended(rest: &[u8], section: BinarySection) -> Parsed<'_, BinarySection> {
    match rest.first() {
        None | Some(b' ' | b')') => Ok((rest, section)),
        Some(_) => refuse(rest, "Junk after binary section"),
    }
}

/// `RFC822.HEADER.LINES (names)` and `RFC822.HEADER.LINES.NOT (names)` of RFC 1730, after the item's name.
pub(super) fn header_lines<'i>(name: &[u8], input: &'i [u8]) -> Option<Parsed<'i, SectionText>> {
    let upper = name.to_ascii_uppercase();
    let (item, not) = match upper.as_slice() {
        b"RFC822.HEADER.LINES" => ("RFC822.HEADER.LINES", false),
        b"RFC822.HEADER.LINES.NOT" => ("RFC822.HEADER.LINES.NOT", true),
        _ => return None,
    };
    if input.first() != Some(&b' ') {
        return Some(refuse(
            input,
            format!("Missing required argument to Fetch {item}"),
        ));
    }
    Some(header_list(input, item).map(|(rest, names)| match not {
        false => (rest, SectionText::HeaderFields(names)),
        true => (rest, SectionText::HeaderFieldsNot(names)),
    }))
}

/// `["(" "LAZY" ")"]` after `PREVIEW` (RFC 8970, section 6, `preview-mods`); with parentheses from their space on.
pub(super) fn preview_mods<'i>(input: &'i [u8], name: &str) -> Parsed<'i, FetchItems> {
    let Some(mut rest) = input.strip_prefix(b" (") else {
        return Ok((input, FetchItems::PREVIEW));
    };
    let name = name.to_ascii_uppercase();
    loop {
        let (after, word) = super::lex::word(rest)?;
        if keyword("LAZY")(word).is_err() || word.len() != b"LAZY".len() {
            let word = super::lex::printable(word);
            return refuse(rest, format!("{name} contains invalid preview modifier ({word})"));
        }
        match after.split_first() {
            Some((b')', after)) => return Ok((after, FetchItems::PREVIEW_LAZY)),
            Some((b' ', after)) => rest = after,
            _ => return refuse(after, "PREVIEW list not finished."),
        }
    }
}
