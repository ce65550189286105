//! The double-byte sets of East Asian mail, read as ICU reads the code pages 936, 943, 949, 950 and 970.
//!
//! `encoding_rs` has the characters; ICU differs in what it does with bytes that belong to no pair, and in the areas
//! for characters of one's own, which it maps to private use.

use std::ops::RangeInclusive;

use encoding_rs::{BIG5, EUC_JP, EUC_KR, Encoding, GBK, SHIFT_JIS};

use super::push;

/// One of the sets.
pub(super) struct DoubleByte {
    encoding: &'static Encoding,
    leads: &'static [RangeInclusive<u8>],
    /// Whether a trail byte makes a pair with a lead byte, assigned or not.
    pairs: fn(u8, u8) -> bool,
    /// A lead byte that two trail bytes follow.
    triple: Option<u8>,
    /// What a byte below 80 stands for.
    ascii: fn(u8) -> u8,
    /// What a byte from 80 on stands for alone.
    single: fn(u8) -> Option<char>,
    /// What any other byte stands for that belongs to no pair.
    stray: char,
    private: &'static [Area],
    /// Pairs that `encoding_rs` reads otherwise.
    other: fn(u8, u8) -> Option<char>,
}

/// Pairs for private use: lead bytes, trail bytes, code point of the first pair; the others follow row by row.
struct Area(RangeInclusive<u8>, &'static [RangeInclusive<u8>], u32);

/// Decodes `text` and appends it to `out`.
pub(super) fn decode(set: &DoubleByte, text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((&lead, after)) = rest.split_first() {
        let here = rest;
        rest = after;
        if lead.is_ascii() {
            out.push((set.ascii)(lead));
        } else if set.triple == Some(lead) {
            match after.split_first_chunk::<2>() {
                Some((&[0xA1..=0xFE, 0xA1..=0xFE], after)) => {
                    push(one_character(set, here.get(..3).unwrap_or_default()), out);
                    rest = after;
                }
                _ if matches!(after, [0xA0 | 0xFF, ..] | [0xA1..=0xFE]) => {
                    push(char::REPLACEMENT_CHARACTER, out);
                    rest = after.get(1..).unwrap_or_default();
                }
                _ => push(set.stray, out),
            }
        } else if let Some(char) = (set.single)(lead) {
            push(char, out);
        } else if !set.leads.iter().any(|range| range.contains(&lead)) {
            push(set.stray, out);
        } else {
            match after.split_first() {
                Some((&trail, after)) if (set.pairs)(lead, trail) => {
                    push(pair(set, lead, trail), out);
                    rest = after;
                }
                _ => push(set.stray, out),
            }
        }
    }
}

fn pair(set: &DoubleByte, lead: u8, trail: u8) -> char {
    let own = set
        .private
        .iter()
        .find_map(|area| area.get(lead, trail))
        .or_else(|| (set.other)(lead, trail));
    if let Some(own) = own {
        return own;
    }
    one_character(set, &[lead, trail])
}

/// The character that `bytes` are in the set's encoding.
fn one_character(set: &DoubleByte, bytes: &[u8]) -> char {
    let mut decoded = [0; 16];
    let mut decoder = set.encoding.new_decoder_without_bom_handling();
    let (_, _, len, _) = decoder.decode_to_utf8(bytes, &mut decoded, true);
    let decoded = decoded
        .get(..len)
        .and_then(|text| std::str::from_utf8(text).ok())
        .unwrap_or_default();
    let mut chars = decoded.chars();
    chars
        .next()
        .filter(|_| chars.next().is_none())
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

impl Area {
    fn get(&self, lead: u8, trail: u8) -> Option<char> {
        let Self(leads, trails, first) = self;
        if !leads.contains(&lead) {
            return None;
        }
        let size = |range: &RangeInclusive<u8>| u32::from(range.end() - range.start()) + 1;
        let width: u32 = trails.iter().map(size).sum();
        let mut column = 0;
        for range in *trails {
            if range.contains(&trail) {
                let row = u32::from(lead - leads.start());
                return char::from_u32(first + row * width + column + u32::from(trail - range.start()));
            }
            column += size(range);
        }
        None
    }
}

const HIGH: &[RangeInclusive<u8>] = &[0xA1..=0xFE];
const LOW: &[RangeInclusive<u8>] = &[0x40..=0x7E, 0x80..=0xA0];
const BIG5_TRAILS: &[RangeInclusive<u8>] = &[0x40..=0x7E, 0xA1..=0xFE];

const SJIS_TRAILS: &[RangeInclusive<u8>] = &[0x40..=0x7E, 0x80..=0xFC];
const WINDOWS_LEADS: &[RangeInclusive<u8>] = &[0x81..=0xFE];

/// Code page 936.
pub(super) static GBK_936: DoubleByte = DoubleByte {
    encoding: GBK,
    leads: WINDOWS_LEADS,
    pairs: |_, trail| matches!(trail, 0x40..=0x7E | 0x80..=0xFE),
    triple: None,
    ascii: |byte| byte,
    single: |byte| match byte {
        0x80 => Some('€'),
        0xFF => Some('\u{F8F5}'),
        _ => None,
    },
    stray: char::REPLACEMENT_CHARACTER,
    private: &[
        Area(0xAA..=0xAF, HIGH, 0xE000),
        Area(0xF8..=0xFE, HIGH, 0xE234),
        Area(0xA1..=0xA7, LOW, 0xE4C6),
        // Characters of GB 18030 that code page 936 does not have yet.
        Area(0xA2..=0xA2, &[0xE3..=0xE3], 0xE76C),
        Area(0xA6..=0xA6, &[0xD9..=0xDF, 0xEC..=0xED, 0xF3..=0xF3], 0xE78D),
        Area(0xA8..=0xA8, &[0xBC..=0xBC, 0xBF..=0xBF], 0xE7C7),
        Area(0xA9..=0xA9, &[0x89..=0x95], 0xE7E7),
        Area(0xFE..=0xFE, &[0x50..=0x7E, 0x80..=0xA0], 0xE815),
    ],
    other: |_, _| None,
};

/// Code page 949.
pub(super) static KOREAN_949: DoubleByte = DoubleByte {
    encoding: EUC_KR,
    leads: WINDOWS_LEADS,
    pairs: |_, trail| matches!(trail, 0x40..=0x7E | 0x80..=0xFE),
    triple: None,
    ascii: |byte| byte,
    single: |byte| match byte {
        0x80 => Some('\u{80}'),
        0xFF => Some('\u{F8F7}'),
        _ => None,
    },
    stray: char::REPLACEMENT_CHARACTER,
    private: &[Area(0xC9..=0xC9, HIGH, 0xE000), Area(0xFE..=0xFE, HIGH, 0xE05E)],
    other: |_, _| None,
};

/// Code page 950.
pub(super) static BIG5_950: DoubleByte = DoubleByte {
    encoding: BIG5,
    leads: WINDOWS_LEADS,
    pairs: |_, trail| matches!(trail, 0x40..=0x7E | 0x80..=0xFE),
    triple: None,
    ascii: |byte| byte,
    single: |byte| match byte {
        0x80 => Some('\u{80}'),
        0xFF => Some('\u{F8F8}'),
        _ => None,
    },
    stray: char::REPLACEMENT_CHARACTER,
    private: &[
        Area(0xFA..=0xFE, BIG5_TRAILS, 0xE000),
        Area(0x8E..=0xA0, BIG5_TRAILS, 0xE311),
        Area(0x81..=0x8D, BIG5_TRAILS, 0xEEB8),
        Area(0xC6..=0xC6, HIGH, 0xF6B1),
        Area(0xC7..=0xC8, BIG5_TRAILS, 0xF70F),
    ],
    other: |lead, trail| match (lead, trail) {
        (0xA3, 0xC0..=0xE0) => Some(char::REPLACEMENT_CHARACTER),
        (0xF9, 0xFE) => Some('▓'),
        _ => None,
    },
};

/// EUC-KR without the additions of code page 949.
pub(super) static EUC_KR_970: DoubleByte = DoubleByte {
    encoding: EUC_KR,
    leads: &[0xA1..=0xFE],
    pairs: |_, trail| trail >= 0xA0,
    triple: None,
    ascii: |byte| byte,
    single: c1_control,
    stray: SUBSTITUTE,
    private: &[Area(0xC9..=0xC9, HIGH, 0xE000), Area(0xFE..=0xFE, HIGH, 0xE05E)],
    other: |lead, trail| {
        matches!((lead, trail), (_, 0xA0 | 0xFF) | (0xA2, 0xE6 | 0xE7)).then_some(char::REPLACEMENT_CHARACTER)
    },
};

/// EUC-JP as code page 33722.
pub(super) static EUC_JP_33722: DoubleByte = DoubleByte {
    encoding: EUC_JP,
    leads: &[0x8E..=0x8E, 0xA1..=0xFE],
    pairs: |lead, trail| trail >= 0xA0 && !(lead == 0x8E && matches!(trail, 0xE5..=0xFE)),
    triple: Some(0x8F),
    ascii: |byte| byte,
    single: c1_control,
    stray: SUBSTITUTE,
    private: &[],
    other: |lead, trail| match (lead, trail) {
        (_, 0xA0 | 0xFF) => Some(char::REPLACEMENT_CHARACTER),
        (0x8E, 0xE0) => Some('¢'),
        (0x8E, 0xE1) => Some('£'),
        (0x8E, 0xE2) => Some('¬'),
        _ => None,
    },
};

/// Shift_JIS as code page 943.
pub(super) static SHIFT_JIS_943: DoubleByte = DoubleByte {
    encoding: SHIFT_JIS,
    leads: &[0x81..=0x9F, 0xE0..=0xFC],
    pairs: |_, trail| matches!(trail, 0x40..=0x7E | 0x80..=0xFC),
    triple: None,
    // The PC order of three control characters.
    ascii: |byte| match byte {
        0x1A => 0x1C,
        0x1C => 0x7F,
        0x7F => 0x1A,
        byte => byte,
    },
    single: |byte| {
        (0xA1..=0xDF)
            .contains(&byte)
            .then(|| char::from_u32(0xFEC0 + u32::from(byte)))?
    },
    stray: SUBSTITUTE,
    private: &[Area(0xF0..=0xF9, SJIS_TRAILS, 0xE000)],
    other: |_, _| None,
};

fn c1_control(byte: u8) -> Option<char> {
    matches!(byte, 0x80..=0x8D | 0x90..=0x9F).then(|| char::from(byte))
}

/// What the converters of IBM put for a byte that cannot be there.
const SUBSTITUTE: char = '\u{1A}';

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(set: &DoubleByte, text: &[u8]) -> String {
        let mut out = Vec::new();
        decode(set, text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pairs_private_use_and_stray_bytes() {
        assert_eq!(
            decoded(&BIG5_950, b"\xA4\xA4a\xFA\x40\xFE\xFE\xA4\x20\xFF\xA4"),
            "中a\u{E000}\u{E310}\u{FFFD} \u{F8F8}\u{FFFD}"
        );
        assert_eq!(
            decoded(&BIG5_950, b"\xC6\xA1\xC8\xFE\x81\x40\xA0\xFE"),
            "\u{F6B1}\u{F848}\u{EEB8}\u{EEB7}"
        );
        assert_eq!(
            decoded(&GBK_936, b"\xD6\xD0\x80\xAA\xA1\xA1\x40"),
            "中€\u{E000}\u{E4C6}"
        );
        assert_eq!(
            decoded(&SHIFT_JIS_943, b"\x93\xFA\xB1\xF0\x40\xFF\x93"),
            "日ｱ\u{E000}\u{1A}\u{1A}"
        );
        assert_eq!(
            decoded(&EUC_JP_33722, b"\xC6\xFC\x8E\xB1\x8F\xB0\xA1\x8Fa\x85"),
            "日ｱ丂\u{1A}a\u{85}"
        );
        assert_eq!(decoded(&EUC_KR_970, b"\xC7\xD1\xC7\x41"), "한\u{1A}A");
        assert_eq!(decoded(&KOREAN_949, b"\xC7\xD1\xC9\xA1"), "한\u{E000}");
    }
}
