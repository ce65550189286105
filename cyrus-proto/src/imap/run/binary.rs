//! FETCH BINARY: the content of parts without their content transfer encoding (RFC 3516).

use std::ops::Range;

use cyrus_store::message::{Encoding, decode_content};
use cyrus_store::{CachedRecord, MessageFile};

use crate::imap::command::{BinarySection, BinaryWanted};

/// What BINARY or BINARY.SIZE of a part is.
pub(super) enum Binary {
    /// There is no such part.
    Nil,
    /// Its encoding is unknown.
    Unknown,
    Size(u64),
    /// Octets of the file, which are not encoded.
    File(Range<usize>),
    Decoded(Vec<u8>),
}

impl Binary {
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// Looks for a part of a message of so many octets; without `file` only its size can be told.
    pub(super) fn of(
        section: &BinarySection,
        size: u32,
        file: Option<&MessageFile>,
        cached: Option<&CachedRecord>,
    ) -> Self {
        let is_size = section.wanted == BinaryWanted::Size;
        let length = file.map_or(size as usize, |file| file.len());
        if section.part.is_empty() {
            // The message is not encoded: its encoding, if it names one, is that of its body.
            return match is_size {
                true => Self::Size(length as u64),
                false => Self::File(cut(0..length, section)),
            };
        }
        let record = cached.map(CachedRecord::record);
        let sections = record.and_then(|record| record.sections().ok());
        let part = sections.and_then(|sections| sections.part(&section.part));
        let Some((part, content)) = part.and_then(|part| Some((part, part.content?))) else {
            return match is_size {
                true => Self::Size(0),
                false => Self::Nil,
            };
        };
        match part.encoding {
            Encoding::Unknown => Self::Unknown,
            Encoding::Identity if is_size => Self::Size(u64::from(content.size)),
            _ if is_size => Self::Size(u64::from(part.decoded_size)),
            Encoding::Identity => {
                let start = (content.offset as usize).min(length);
                let end = start.saturating_add(content.size as usize).min(length);
                Self::File(cut(start..end, section))
            }
            encoding => {
                let octets = content.of(file.map_or(&[], |file| file));
                Self::Decoded(decoded(encoding, octets, partial(section)))
            }
        }
    }
}

fn partial(section: &BinarySection) -> Option<(usize, usize)> {
    match section.wanted {
        BinaryWanted::Octets {
            partial: Some((start, count)),
            ..
        } => {
            let octets = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
            Some((octets(start), octets(count)))
        }
        _ => None,
    }
}

fn cut(range: Range<usize>, section: &BinarySection) -> Range<usize> {
    let Some((start, count)) = partial(section) else {
        return range;
    };
    let from = range.start.saturating_add(start).min(range.end);
    from..from.saturating_add(count).min(range.end)
}

/// Decodes content, keeping `count` octets from `start` on.
pub(super) fn decoded(encoding: Encoding, content: &[u8], partial: Option<(usize, usize)>) -> Vec<u8> {
    let (start, count) = partial.unwrap_or((0, usize::MAX));
    let mut skip = start;
    let mut kept = Vec::with_capacity(content.len().min(count));
    decode_content(encoding, content, &mut |piece| {
        let passed = skip.min(piece.len());
        skip -= passed;
        let piece = piece.get(passed..).unwrap_or_default();
        let room = count.saturating_sub(kept.len());
        kept.extend_from_slice(piece.get(..room).unwrap_or(piece));
    });
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_decoded_content_is_cut_out_of_it() {
        let content = b"aGVsbG8gd29ybGQ=";
        let all = decoded(Encoding::Base64, content, None);
        assert_eq!(all, b"hello world");
        for start in 0..13 {
            for count in 1..13 {
                let end = (start + count).min(all.len());
                let expected = all.get(start.min(end)..end).unwrap_or_default();
                assert_eq!(decoded(Encoding::Base64, content, Some((start, count))), expected);
            }
        }
    }
}
