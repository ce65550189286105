//! The flat database format: one line a key, `key TAB value LF`, sorted.
//!
//! NUL, TAB, LF and CR in a key or value are written as FF and the octet with its high bit set, FF as FF FF.

use std::cmp::Ordering;

/// Appends `plain` with its special octets escaped.
pub(crate) fn escape(plain: &[u8], out: &mut Vec<u8>) {
    for &byte in plain {
        match byte {
            0x00 | b'\t' | b'\n' | b'\r' => out.extend_from_slice(&[ESCAPE, byte | 0x80]),
            ESCAPE => out.extend_from_slice(&[ESCAPE, ESCAPE]),
            other => out.push(other),
        }
    }
}

/// What was escaped; an FF at the very end, which no writer leaves, stands for itself.
pub(crate) fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        match (byte, if byte == ESCAPE { bytes.next() } else { None }) {
            (ESCAPE, Some(&ESCAPE)) => plain.push(ESCAPE),
            (ESCAPE, Some(next)) => plain.push(next & 0x7f),
            (other, _) => plain.push(other),
        }
    }
    plain
}

/// The order of lines, by their escaped keys: a shorter key first, then `.`, then the other octets.
pub(crate) fn compare(one: &[u8], two: &[u8]) -> Ordering {
    let rank = |byte: &u8| match byte {
        b'.' => 2,
        1..=8 => byte + 2,
        other => *other,
    };
    one.iter().map(rank).cmp(two.iter().map(rank))
}

/// One line: its escaped key and value, and where the next one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) next: usize,
}

/// Why the octets at some place are no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("the last line has no end")]
    Unended,
    #[error("a line without TAB")]
    NoTab,
}

/// The line that starts at `at`; none at the end.
pub(crate) fn line(file: &[u8], at: usize) -> Result<Option<Line<'_>>, Damage> {
    let rest = file.get(at..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(None);
    }
    let end = rest
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(Damage::Unended)?;
    let (line, _) = rest.split_at_checked(end).ok_or(Damage::Unended)?;
    let tab = line.iter().position(|byte| *byte == b'\t').ok_or(Damage::NoTab)?;
    let (key, value) = line.split_at_checked(tab).ok_or(Damage::NoTab)?;
    Ok(Some(Line {
        key,
        value: value.get(1..).unwrap_or_default(),
        next: at + end + 1,
    }))
}

/// Where the first line starts whose key is not before `key` (escaped).
///
/// Damage is reported with the place of the line.
pub(crate) fn lower_bound(file: &[u8], key: &[u8]) -> Result<usize, (usize, Damage)> {
    // Lines before `low` are before the key; the line at `high` is not, or there is none.
    let (mut low, mut high) = (0, file.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let before = file.get(low..middle).unwrap_or_default();
        let start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(low, |at| low + at + 1);
        let Some(line) = line(file, start).map_err(|damage| (start, damage))? else {
            break;
        };
        if compare(line.key, key) == Ordering::Less {
            low = line.next;
        } else {
            high = start;
        }
    }
    Ok(low)
}

const ESCAPE: u8 = 0xff;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn escaping_round_trips(plain in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut escaped = Vec::new();
            escape(&plain, &mut escaped);
            prop_assert!(!escaped.iter().any(|byte| b"\0\t\n\r".contains(byte)));
            prop_assert_eq!(unescape(&escaped), plain);
        }

        #[test]
        fn every_line_is_found(keys in prop::collection::btree_set("[a-c.\\-]{1,4}", 0..40), probe in "[a-c.\\-]{0,4}") {
            let mut keys: Vec<Vec<u8>> = keys.into_iter().map(String::into_bytes).collect();
            keys.sort_by(|one, two| compare(one, two));
            let file: Vec<u8> = keys.iter().flat_map(|key| [&key[..], b"\tvalue\n"].concat()).collect();
            let at = lower_bound(&file, probe.as_bytes()).unwrap();
            let found = line(&file, at).unwrap().map(|line| line.key.to_vec());
            let expected = keys.into_iter().find(|key| compare(key, probe.as_bytes()).is_ge());
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn noise_is_never_a_panic(noise in prop::collection::vec(prop::sample::select(&b"a.\t\n\xff"[..]), 0..60)) {
            let _ = lower_bound(&noise, b"a");
            let _ = unescape(&noise);
        }
    }

    #[test]
    fn keys_sort_as_cyrus_sorts_them() {
        let sorted: [&[u8]; 14] = [
            b"\x01x", b"\x08x", b"\x0bx", b"-x", b"/x", b"A", b"B", b"a", b"a.b", b"a b", b"a!", b"a-b",
            b"ab", b"~",
        ];
        assert!(sorted.is_sorted_by(|one, two| compare(one, two).is_lt()));
    }
}
