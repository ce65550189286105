//! The counters and replication CRCs that the header keeps over all records.

use super::{IndexHeader, Layout, Record, crc32};
use crate::flags::{KeywordBits, SystemFlags};

/// The annotation CRC of a mailbox without annotations.
pub const SYNC_ANNOT_EMPTY: u32 = 12_345_678;

/// The CRC of each flag's name, computed once a mailbox.
#[derive(Clone, Debug)]
pub struct FlagCrcs {
    system: [(SystemFlags, u32); 5],
    keywords: Vec<u32>,
}

impl FlagCrcs {
    /// The CRCs of the system flags and of the keywords in slot order; free slots are `None`.
    pub fn new<'a>(keywords: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let of = |name: &str| crc32(name.to_ascii_lowercase().as_bytes());
        Self {
            system: SystemFlags::NAMES.map(|(flag, name)| (flag, of(name))),
            keywords: keywords.into_iter().map(|name| name.map_or(0, of)).collect(),
        }
    }

    fn of(&self, system: SystemFlags, keywords: KeywordBits) -> u32 {
        let mut crc = 0;
        for (flag, name_crc) in self.system {
            if system.contains(flag) {
                crc ^= name_crc;
            }
        }
        if !keywords.is_empty() {
            for slot in keywords.slots() {
                crc ^= self.keywords.get(slot).copied().unwrap_or_default();
            }
        }
        crc
    }
}

impl IndexHeader {
    /// Counts a record in: called with every new record, and with the new state of a changed one.
    pub fn count_in(&mut self, record: &Record, crcs: &FlagCrcs) {
        self.count(record, crcs, u32::wrapping_add, u64::wrapping_add);
    }

    /// Counts a record out: called with the old state of a record about to change.
    pub fn count_out(&mut self, record: &Record, crcs: &FlagCrcs) {
        self.count(record, crcs, u32::saturating_sub, u64::saturating_sub);
    }

    /// Counts the difference between the two states of a changed record.
    pub fn count_change(&mut self, old: &Record, new: &Record, crcs: &FlagCrcs) {
        let same_virtual = (old.uid, old.savedate, old.cid, old.createdmodseq)
            == (new.uid, new.savedate, new.cid, new.createdmodseq);
        let before = self.sync_annot;
        let (visible_before, visible_after) = (!old.is_expunged(), !new.is_expunged());
        self.count_flags(old, crcs, u32::saturating_sub, u64::saturating_sub);
        self.count_flags(new, crcs, u32::wrapping_add, u64::wrapping_add);
        if !(visible_before && visible_after && same_virtual) {
            self.sync_annot = before
                ^ if visible_before {
                    old.sync_virtual(self.layout)
                } else {
                    0
                }
                ^ if visible_after {
                    new.sync_virtual(self.layout)
                } else {
                    0
                };
        }
    }

    fn count(
        &mut self,
        record: &Record,
        crcs: &FlagCrcs,
        op: fn(u32, u32) -> u32,
        op64: fn(u64, u64) -> u64,
    ) {
        if !record.is_expunged() {
            self.sync_annot ^= record.sync_virtual(self.layout);
        }
        self.count_flags(record, crcs, op, op64);
    }

    fn count_flags(
        &mut self,
        record: &Record,
        crcs: &FlagCrcs,
        op: fn(u32, u32) -> u32,
        op64: fn(u64, u64) -> u64,
    ) {
        if record.is_expunged() {
            return;
        }
        let flags = record.system_flags();
        self.exists = op(self.exists, 1);
        self.quota_mailbox_used = op64(self.quota_mailbox_used, u64::from(record.size));
        self.answered = op(self.answered, u32::from(flags.contains(SystemFlags::ANSWERED)));
        self.flagged = op(self.flagged, u32::from(flags.contains(SystemFlags::FLAGGED)));
        self.deleted = op(self.deleted, u32::from(flags.contains(SystemFlags::DELETED)));
        self.unseen = op(self.unseen, u32::from(!flags.contains(SystemFlags::SEEN)));
        self.sync_basic ^= record.sync_basic(crcs);
    }
}

impl Record {
    /// What a visible record adds to [`IndexHeader::sync_basic`].
    fn sync_basic(&self, crcs: &FlagCrcs) -> u32 {
        let mut text = Text::default();
        text.number(u64::from(self.uid));
        text.push(b' ');
        text.number(self.modseq);
        text.push(b' ');
        text.number(u64::from(self.last_updated));
        text.push(b' ');
        text.push(b'(');
        text.number(u64::from(crcs.of(self.system_flags(), self.keywords)));
        text.push(b')');
        text.push(b' ');
        text.number(u64::from(self.internaldate));
        text.push(b' ');
        let mut guid = [0; 40];
        for (digits, byte) in guid.as_chunks_mut().0.iter_mut().zip(self.guid.0) {
            *digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        }
        text.extend(&guid);
        crc32(text.bytes())
    }

    /// What a visible record adds to [`IndexHeader::sync_annot`] for the values that older versions kept as
    /// annotations, as far as records of this version have them.
    fn sync_virtual(&self, layout: &Layout) -> u32 {
        let mut crc = 0;
        let mut add = |at: Option<usize>, entry: &[u8], value: u64, hexadecimal: bool| {
            if at.is_none() || value == 0 {
                return;
            }
            let mut text = Text::default();
            text.number(u64::from(self.uid));
            text.extend(entry);
            if hexadecimal {
                text.hexadecimal(value);
            } else {
                text.number(value);
            }
            crc ^= crc32(text.bytes());
        };
        add(
            layout.record.cid,
            b" /vendor/cmu/cyrus-imapd/thrid  ",
            self.cid,
            true,
        );
        add(
            layout.record.savedate,
            b" /vendor/cmu/cyrus-imapd/savedate  ",
            u64::from(self.savedate),
            false,
        );
        add(
            layout.record.createdmodseq,
            b" /vendor/cmu/cyrus-imapd/createdmodseq  ",
            self.createdmodseq,
            false,
        );
        crc
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A short text on the stack: the CRC of a hundred thousand records should not ask for memory.
struct Text {
    bytes: [u8; 160],
    len: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            bytes: [0; 160],
            len: 0,
        }
    }
}

impl Text {
    fn push(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    fn extend(&mut self, bytes: &[u8]) {
        let rest = self.bytes.get_mut(self.len..).unwrap_or_default();
        if let Some(place) = rest.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    fn number(&mut self, mut number: u64) {
        let mut digits = [0_u8; 20];
        let mut start = digits.len();
        // By a constant, the compiler divides without a division: this is half the work of a change of many flags.
        while number >= 10 {
            start -= 1;
            digits[start] = HEX[(number % 10) as usize];
            number /= 10;
        }
        start -= 1;
        digits[start] = HEX[number as usize];
        self.extend(&digits[start..]);
    }

    fn hexadecimal(&mut self, number: u64) {
        let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
        for place in (0..digits).rev() {
            self.push(HEX[(number >> (4 * place)) as usize & 15]);
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_basic_crc_is_that_of_the_documented_text() {
        let record = Record {
            uid: 7,
            modseq: 9,
            last_updated: 11,
            flags: 16 | 1,
            internaldate: 13,
            ..Record::default()
        };
        let flag_crc = crc32(b"\\seen") ^ crc32(b"\\answered");
        let text = format!("7 9 11 ({flag_crc}) 13 {}", "0".repeat(40));
        assert_eq!(record.sync_basic(&FlagCrcs::new([])), crc32(text.as_bytes()));
    }

    #[test]
    fn keywords_count_by_their_lower_case_names() {
        let mut record = Record {
            uid: 1,
            ..Record::default()
        };
        record.keywords.insert(2);
        let one = record.sync_basic(&FlagCrcs::new([None, None, Some("$MDNSent")]));
        let other = record.sync_basic(&FlagCrcs::new([None, None, Some("$mdnsent")]));
        assert_eq!(one, other);
    }

    #[test]
    fn values_once_kept_as_annotations_count_as_such() {
        let record = Record {
            uid: 3,
            savedate: 5,
            createdmodseq: 6,
            cid: 0xab,
            ..Record::default()
        };
        let prefix = "3 /vendor/cmu/cyrus-imapd/";
        let expected = crc32(format!("{prefix}thrid  ab").as_bytes())
            ^ crc32(format!("{prefix}savedate  5").as_bytes())
            ^ crc32(format!("{prefix}createdmodseq  6").as_bytes());
        assert_eq!(record.sync_virtual(Layout::NEWEST), expected);
        let thread_alone = crc32(format!("{prefix}thrid  ab").as_bytes());
        let old = Layout::of_version(13).unwrap();
        assert_eq!(record.sync_virtual(old), thread_alone);
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_everywhere(number in any::<u64>(), shift in 0_u32..64) {
            let number = number >> shift;
            let mut text = Text::default();
            text.number(number);
            text.push(b' ');
            text.hexadecimal(number);
            let expected = format!("{number} {number:x}");
            prop_assert_eq!(text.bytes(), expected.as_bytes());
        }

        #[test]
        fn a_change_is_counting_out_and_in(flags in any::<[u32; 2]>(), modseq in any::<u64>(), created in any::<bool>()) {
            let crcs = FlagCrcs::new([Some("a")]);
            let old = Record { uid: 5, flags: flags[0], size: 9, savedate: 3, createdmodseq: 2, ..Record::default() };
            let new = Record { flags: flags[1], modseq, createdmodseq: 2 + u64::from(created), ..old.clone() };
            let mut start = IndexHeader::new(1, 1, 1);
            start.count_in(&old, &crcs);
            let mut one = start.clone();
            one.count_change(&old, &new, &crcs);
            start.count_out(&old, &crcs);
            start.count_in(&new, &crcs);
            prop_assert_eq!(one, start);
        }

        #[test]
        fn counting_out_undoes_counting_in(flags in any::<u32>(), uid in 1..u32::MAX, size in any::<u32>()) {
            let crcs = FlagCrcs::new([Some("a")]);
            let record = Record { uid, flags, size, ..Record::default() };
            let empty = IndexHeader::new(1, 1, 1);
            let mut header = empty.clone();
            header.count_in(&record, &crcs);
            prop_assert_eq!(header.exists, u32::from(!record.is_expunged()));
            header.count_out(&record, &crcs);
            prop_assert_eq!(header, empty);
        }
    }
}
