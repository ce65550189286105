//! The header of a message or body part: where it ends, its lines, and which fields the cache keeps.
//!
//! Cyrus treats a header as text that a NUL ends, and counts lines by LF alone; both show in the cache, so both are
//! kept here. A header ends at a line that begins with CR LF (a bare LF is *not* a blank line), at a delimiter line
//! of an enclosing multipart, or at the end of the message.

use memchr::{memchr, memchr_iter};

use super::boundary::Boundaries;

/// Fields after this many header lines are neither parsed nor cached (`maxheaderlines`, default 1000).
pub(super) const MAX_HEADER_LINES: usize = 1000;

/// Field names of this many bytes or more are never cached.
const MAX_CACHED_NAME: usize = 32;

/// A header found in a message.
pub(super) struct Header<'a> {
    /// The header text with its blank line, cut at the first NUL.
    pub(super) text: &'a [u8],
    /// Size of the header in octets, as the cache records it.
    pub(super) size: u32,
    /// Number of lines, as the cache counts them (wraps below zero in one degenerate case).
    pub(super) lines: u32,
    /// Where the content begins.
    pub(super) content_offset: usize,
    /// Set if a delimiter line of an enclosing multipart ended the header: octets and lines of that delimiter.
    pub(super) delimiter: Option<(u32, u32)>,
}

/// Finds the header that begins at `offset`, ending `boundaries` as their delimiters are met.
pub(super) fn scan<'a>(message: &'a [u8], offset: usize, boundaries: &mut Boundaries) -> Header<'a> {
    let mut at = offset;
    let rest = |at: usize| message.get(at..).unwrap_or_default();
    while at < message.len() {
        let line = rest(at);
        let line = &line[..memchr(b'\n', line).map_or(line.len(), |lf| lf + 1)];
        let next = at + line.len();
        if line.starts_with(b"\r\n") {
            at = next;
            break;
        }
        if line.starts_with(b"--") && !boundaries.is_empty() {
            let visible = until_nul(line);
            if boundaries.ends_at(visible) {
                return delimited(message, offset, at, visible, next);
            }
        }
        at = next;
    }
    let text = until_nul(&rest(offset)[..at.saturating_sub(offset)]);
    Header {
        text,
        size: clamp(text.len()),
        lines: count_lines(text),
        content_offset: at,
        delimiter: None,
    }
}

/// The header `offset..line_at` that a delimiter line ended: the line break before the delimiter belongs to it.
fn delimited<'a>(message: &'a [u8], offset: usize, line_at: usize, line: &[u8], next: usize) -> Header<'a> {
    let before = message.get(offset..line_at).unwrap_or_default();
    let (octets, lines) = if before.is_empty() {
        (line.len(), 1)
    } else {
        (line.len() + 2, 2)
    };
    let delimiter = Some((clamp(octets), lines));
    if before == b"\n" {
        // One lone LF in front of the delimiter: Cyrus counts both as header, and minus one lines.
        let size = clamp(1 + line.len());
        return Header {
            text: b"",
            size,
            lines: u32::MAX,
            content_offset: next,
            delimiter,
        };
    }
    let text = until_nul(&before[..before.len().saturating_sub(2)]);
    Header {
        text,
        size: clamp(text.len()),
        lines: count_lines(text),
        content_offset: next,
        delimiter,
    }
}

/// The lines of a header that are looked at: each beginning with the text from there to the end of the header.
///
/// Continuation lines are among them; no field name begins with white space, so they match nothing.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::once(0)
        .chain(memchr_iter(b'\n', text).map(|lf| lf + 1))
        .take(MAX_HEADER_LINES + 1)
        .map(move |start| text.get(start..).unwrap_or_default())
}

/// Splits `line` at the colon after its field name; `None` if it is no field.
pub(super) fn split_name(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = line
        .iter()
        .position(|&byte| matches!(byte, b':' | b'\r' | b'\n'))?;
    let (name, value) = line.split_at_checked(end)?;
    value.strip_prefix(b":").map(|value| (name, value))
}

/// Where the field ends that `text` begins in: at the first LF that no blank follows, or at the end.
///
/// The search begins at the second byte, as in Cyrus: a LF right at the beginning ends nothing.
pub(super) fn field_end(text: &[u8]) -> usize {
    let mut from = 1;
    while let Some(lf) = text.get(from..).and_then(|rest| memchr(b'\n', rest)) {
        let lf = from + lf;
        if !matches!(text.get(lf + 1), Some(b' ' | b'\t')) {
            let before = lf.wrapping_sub(1);
            return if lf > 0 && text.get(before) == Some(&b'\r') {
                before
            } else {
                lf
            };
        }
        from = lf + 1;
    }
    text.len()
}

/// If the field at the start of `line` belongs into the cache, its text without the final line break.
pub(super) fn cached_field(line: &[u8]) -> Option<&[u8]> {
    if matches!(line.first(), None | Some(b' ' | b'\t')) {
        return None;
    }
    let mut name = [0; MAX_CACHED_NAME];
    for (index, &byte) in line.iter().take(MAX_CACHED_NAME).enumerate() {
        if byte == b':' {
            cached_since(&name[..index])?;
            return line.get(..field_end(line));
        }
        if matches!(byte, b'\r' | b'\n') {
            return None;
        }
        name[index] = byte.to_ascii_lowercase();
    }
    None
}

/// Whether a cache record of `cache_version` holds the field `name`, so that it may answer a FETCH of it.
///
/// The name is compared without regard to case. A record written by version 11 holds every field for which this
/// is true with 11.
pub fn is_cached_header(name: &[u8], cache_version: u16) -> bool {
    let mut lower = [0; MAX_CACHED_NAME];
    match lower.get_mut(..name.len()) {
        Some(lower) if name.len() < MAX_CACHED_NAME => {
            lower.copy_from_slice(name);
            lower.make_ascii_lowercase();
            cached_since(lower).is_some_and(|since| since <= cache_version)
        }
        _ => false,
    }
}

/// The first cache version that keeps the field `name` (in lower case), `None` if none does.
fn cached_since(name: &[u8]) -> Option<u16> {
    Some(match name {
        b"bcc" | b"cc" | b"date" | b"delivery-date" | b"envelope-to" | b"from" | b"in-reply-to"
        | b"mime-version" => {
            return None;
        }
        b"received" | b"return-path" | b"subject" | b"to" | b"message-id" => return None,
        b"dkim-signature" | b"domainkey-signature" | b"domainkey-x509" => return None,
        b"arc-seal" | b"arc-message-signature" | b"arc-authentication-results" => return None,
        b"authentication-results" | b"received-spf" | b"archived-at" => return None,
        b"listbox-message-date" | b"topicbox-message-uuid" | b"topicbox-policy-reasoning" => return None,
        b"x-mailer" | b"x-trace" => 1,
        b"x-ref" | b"x-priority" | b"x-msmail-priority" | b"x-msoesrec" => 2,
        b"x-spam-score" | b"x-resolved-to" | b"x-delivered-to" | b"x-mail-from" | b"x-truedomain-domain" => 3,
        b"x-me-message-id" | b"x-cyrus-session-id" => 4,
        b"x-universally-unique-identifier" | b"x-uniform-type-identifier" => 6,
        b"x-apple-base-url" | b"x-apple-mail-remote-attachments" => 6,
        b"reply-to" | b"sender" => 7,
        _ if name.starts_with(b"x-") => return None,
        _ => 0,
    })
}

/// `text` up to its first NUL.
pub(super) fn until_nul(text: &[u8]) -> &[u8] {
    memchr(0, text).and_then(|nul| text.get(..nul)).unwrap_or(text)
}

/// Number of LFs, as the 32-bit count of the cache.
pub(super) fn count_lines(text: &[u8]) -> u32 {
    clamp(memchr_iter(b'\n', text).count())
}

/// A size as the 32-bit number of the cache; a message of 4 GiB or more is refused before any parsing.
pub(super) fn clamp(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_lf_does_not_end_a_header() {
        let header = scan(b"A: b\n\nbody\r\n\r\nrest", 0, &mut Boundaries::default());
        assert_eq!((header.size, header.content_offset, header.lines), (14, 14, 4));
    }

    #[test]
    fn a_nul_ends_the_header_text_but_not_the_header() {
        let header = scan(b"A: b\0c\r\n\r\nrest", 0, &mut Boundaries::default());
        assert_eq!((header.text, header.content_offset), (&b"A: b"[..], 10));
    }

    #[test]
    fn a_field_goes_on_over_folded_lines_and_loses_its_line_break() {
        assert_eq!(
            cached_field(b"X-Mailer: a\r\n b\r\nTo: c\r\n"),
            Some(&b"X-Mailer: a\r\n b"[..])
        );
        assert_eq!(cached_field(b"X-Other: a\r\n"), None);
        assert_eq!(cached_field(b"To: a\r\n"), None);
        assert_eq!(
            cached_field(b"an-unknown-field: a"),
            Some(&b"an-unknown-field: a"[..])
        );
    }

    #[test]
    fn the_cache_version_decides_what_a_record_can_answer() {
        assert!(is_cached_header(b"Reply-To", 11) && !is_cached_header(b"reply-to", 6));
        assert!(!is_cached_header(b"Subject", 11) && !is_cached_header(b"X-Anything", 11));
        assert!(!is_cached_header(
            b"a-name-that-is-much-longer-than-the-cache-allows",
            11
        ));
    }
}
