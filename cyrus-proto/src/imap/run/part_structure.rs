//! BODYPARTSTRUCTURE: the BODYSTRUCTURE of one part (RFC 5524, section 3.2).

use cyrus_store::{CachedRecord, MessageFile};

use crate::imap::command::{Section, SectionText};
use crate::imap::response::{put_number, put_string};

/// Appends the structure of what `section` names; with `decoded`, of its content in so many octets without encoding.
pub(super) fn part_structure(
    section: &Section,
    cached: &CachedRecord,
    file: &MessageFile,
    decoded: Option<usize>,
    out: &mut Vec<u8>,
) {
    let whole = cached.bodystructure();
    if section.text != SectionText::Whole {
        // Headers and texts of messages are no parts: what they are is said all the same.
        let kind: &[u8] = match section.text {
            SectionText::Text => b"PLAIN",
            _ => b"RFC822-HEADERS",
        };
        out.extend_from_slice(b"(\"TEXT\" ");
        put_string(out, kind);
        out.extend_from_slice(b" NIL NIL NIL \"8BIT\" 0 0 NIL NIL NIL NIL)");
        return;
    }
    if section.part.is_empty() {
        let lines = memchr::memchr_iter(b'\n', file).count();
        out.extend_from_slice(b"(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" ");
        put_number(out, file.len() as u64);
        out.push(b' ');
        out.extend_from_slice(cached.envelope());
        out.push(b' ');
        out.extend_from_slice(whole);
        out.push(b' ');
        put_number(out, lines as u64);
        out.extend_from_slice(b" NIL NIL NIL NIL)");
        return;
    }
    let Some(part) = descend(whole, &section.part) else {
        out.extend_from_slice(b"NIL");
        return;
    };
    let Some(decoded) = decoded else {
        out.extend_from_slice(part);
        return;
    };
    // type, subtype, parameters, id, description; then encoding and size.
    let mut rest = part.get(1..).unwrap_or_default();
    for _ in 0..5 {
        rest = after_item(rest).unwrap_or_default();
    }
    let before = part.len() - rest.len();
    let after = after_item(rest).and_then(after_item);
    match after {
        Some(after) if part.first() == Some(&b'(') => {
            out.extend_from_slice(part.get(..before).unwrap_or_default());
            out.extend_from_slice(b" \"BINARY\" ");
            put_number(out, decoded as u64);
            out.extend_from_slice(after);
        }
        _ => out.extend_from_slice(part),
    }
}

/// The structure of the part at `path` within that of a message.
fn descend<'s>(whole: &'s [u8], path: &[u32]) -> Option<&'s [u8]> {
    let mut here = whole;
    let mut of_message = true;
    for &number in path {
        if !of_message {
            // Into a message that is a part: its structure follows size and envelope.
            if !is_multipart(here) {
                here = enclosed(here)?;
            }
        }
        of_message = false;
        if !is_multipart(here) {
            if number != 1 {
                return None;
            }
            continue; // the one part of a message that is none
        }
        let mut rest = here.get(1..)?;
        for _ in 1..number {
            rest = after_item(rest)?;
        }
        let after = after_item(rest)?;
        here = rest.get(..rest.len() - after.len())?;
        if here.first() != Some(&b'(') {
            return None;
        }
    }
    Some(here)
}

fn is_multipart(structure: &[u8]) -> bool {
    structure.starts_with(b"((")
}

/// The structure of the message that a part is.
fn enclosed(part: &[u8]) -> Option<&[u8]> {
    let is_message = part
        .get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"(\"MESSAGE\""));
    if !is_message {
        return None;
    }
    let mut rest = part.get(1..)?;
    for _ in 0..8 {
        rest = after_item(rest)?;
    }
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let after = after_item(rest)?;
    rest.get(..rest.len() - after.len())
}

/// What follows the next item: a word, a string, or a list of items.
fn after_item(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b" ").unwrap_or(text);
    let mut depth = 0_usize;
    loop {
        let (&c, after) = rest.split_first()?;
        rest = match c {
            b'(' => {
                depth += 1;
                after
            }
            b')' => {
                depth = depth.checked_sub(1)?;
                after
            }
            b' ' => after,
            b'"' => {
                let mut after = after;
                loop {
                    after = match after {
                        [b'\\', _, after @ ..] => after,
                        [b'"', after @ ..] => break after,
                        [_, after @ ..] => after,
                        [] => return None,
                    };
                }
            }
            b'{' => {
                let end = memchr::memchr(b'}', after)?;
                let size = std::str::from_utf8(after.get(..end)?).ok()?;
                let size: usize = size.trim_end_matches('+').parse().ok()?;
                after.get(end + 1..)?.strip_prefix(b"\r\n")?.get(size..)?
            }
            _ => {
                let end = after.iter().position(|c| matches!(c, b' ' | b'(' | b')'));
                after.get(end.unwrap_or(after.len())..)?
            }
        };
        if depth == 0 && c != b' ' {
            return Some(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use cyrus_store::message::MessageParser;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_structure_of_each_part_is_found() {
        let message: &[u8] = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
            Content-Type: text/plain; x=\"a\\\"(b\"\r\n\r\nplain\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\
            Subject: inner {5}\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c\r\n\
            Content-Type: text/html\r\n\r\ny\r\n--c--\r\n--b--\r\n";
        let parsed = MessageParser::parse(message).unwrap();
        let find = |path: &[u32]| {
            descend(parsed.bodystructure(), path).map(|part| String::from_utf8_lossy(part).into_owned())
        };
        assert!(find(&[1]).unwrap().starts_with("(\"TEXT\" \"PLAIN\" ("));
        assert!(find(&[2]).unwrap().starts_with("(\"MESSAGE\" \"RFC822\""));
        assert!(find(&[2, 1]).unwrap().starts_with("(\"TEXT\" \"PLAIN\""));
        assert!(find(&[2, 2]).unwrap().starts_with("(\"TEXT\" \"HTML\""));
        for none in [&[3][..], &[1, 2], &[2, 3], &[2, 1, 2]] {
            assert_eq!(find(none), None, "{none:?}");
        }
        let simple = MessageParser::parse(b"\r\nx").unwrap();
        assert_eq!(
            descend(simple.bodystructure(), &[1]),
            Some(simple.bodystructure())
        );
        assert_eq!(descend(simple.bodystructure(), &[2]), None);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "[()\"\\\\{}0-9 a\r\n]{0,60}", path in proptest::collection::vec(0_u32..4, 1..4)) {
            descend(text.as_bytes(), &path);
        }
    }
}
