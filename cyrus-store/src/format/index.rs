//! `cyrus.index`: one header and one fixed-size record a message, versions 10 and 12 to 17.
//!
//! [`Layout`] is the table of offsets of a version; everything else works on decoded [`IndexHeader`]s and
//! [`Record`]s. Versions are written as they are found; a new index is [`Layout::NEWEST`].

mod counts;
mod layout;
mod record;

pub use counts::{FlagCrcs, SYNC_ANNOT_EMPTY};
pub use layout::Layout;
pub use record::{Record, RecordView, Records};

use super::{Damage, Fault, be32, be64, crc32};
use layout::{FORMAT, GENERATION, MINOR, NUM_RECORDS, RECORD_SIZE, START_OFFSET};

/// The header of an index, decoded; fields that a version lacks are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexHeader {
    /// Goes up by one at each repack; the first word of the cache file must equal it.
    pub generation: u32,
    /// Slots in use, expunged messages included.
    pub num_records: u32,
    /// When the last message was appended, Unix seconds.
    pub last_appenddate: u32,
    /// The highest UID ever given; the next is one more.
    pub last_uid: u32,
    /// Octets of all visible messages.
    pub quota_mailbox_used: u64,
    /// When POP3 was last used, Unix seconds.
    pub pop3_last_login: u32,
    /// UIDVALIDITY.
    pub uidvalidity: u32,
    /// Visible messages with `\Deleted`.
    pub deleted: u32,
    /// Visible messages with `\Answered`.
    pub answered: u32,
    /// Visible messages with `\Flagged`.
    pub flagged: u32,
    /// Bits of [`options`].
    pub options: u32,
    /// Cache records that nothing refers to any more.
    pub leaked_cache_records: u32,
    /// The highest modification sequence.
    pub highestmodseq: u64,
    /// The highest modification sequence of any record dropped by a repack.
    pub deletedmodseq: u64,
    /// Visible messages.
    pub exists: u32,
    /// The least `last_updated` of expunged records; zero if there is none.
    pub first_expunged: u32,
    /// When the last repack was, Unix seconds.
    pub last_repack_time: u32,
    /// CRC-32 of `cyrus.header`.
    pub header_file_crc: u32,
    /// XOR over the visible records, for replication.
    pub sync_basic: u32,
    /// The highest UID told to the owner as `\Recent`.
    pub recentuid: u32,
    /// When that was, Unix seconds.
    pub recenttime: u32,
    /// POP3 shows only messages newer than this.
    pub pop3_show_after: u32,
    /// Octets of annotation values.
    pub quota_annot_used: u32,
    /// XOR over the annotations, for replication.
    pub sync_annot: u32,
    /// Visible messages without `\Seen` in the index.
    pub unseen: u32,
    /// Modification sequence at creation.
    pub createdmodseq: u64,
    /// Since when deletions can be computed, Unix seconds.
    pub changes_epoch: u32,
    /// The version's offsets.
    pub layout: &'static Layout,
}

/// Bits of [`IndexHeader::options`].
pub mod options {
    /// POP3 unique ids are `uidvalidity.uid`.
    pub const POP3_NEW_UIDL: u32 = 1;
    /// All users share the `\Seen` flags of the index.
    pub const SHAREDSEEN: u32 = 1 << 2;
    /// Duplicate suppression is off for deliveries to this mailbox.
    pub const DUPDELIVER: u32 = 1 << 3;
    /// Calendar alarms need looking after.
    pub const HAS_ALARMS: u32 = 1 << 4;
    /// Files of unlinked records are still to be removed.
    pub const NEEDS_UNLINK: u32 = 1 << 29;
    /// Unlinked records are still to be dropped by a repack.
    pub const NEEDS_REPACK: u32 = 1 << 30;
    /// The mailbox is going away: it must look as if it did not exist.
    pub const DELETED: u32 = 1 << 31;
    /// The bits that are written.
    pub const ALL: u32 =
        POP3_NEW_UIDL | SHAREDSEEN | DUPDELIVER | HAS_ALARMS | NEEDS_UNLINK | NEEDS_REPACK | DELETED;
}

impl IndexHeader {
    /// The header of a new and empty mailbox of the newest version.
    pub fn new(uidvalidity: u32, modseq: u64, now: u32) -> Self {
        Self {
            generation: 0,
            num_records: 0,
            last_appenddate: 0,
            last_uid: 0,
            quota_mailbox_used: 0,
            pop3_last_login: 0,
            uidvalidity,
            deleted: 0,
            answered: 0,
            flagged: 0,
            options: options::POP3_NEW_UIDL,
            leaked_cache_records: 0,
            highestmodseq: modseq,
            deletedmodseq: 0,
            exists: 0,
            first_expunged: 0,
            last_repack_time: 0,
            header_file_crc: 0,
            sync_basic: 0,
            recentuid: 0,
            recenttime: 0,
            pop3_show_after: 0,
            quota_annot_used: 0,
            sync_annot: SYNC_ANNOT_EMPTY,
            unseen: 0,
            createdmodseq: modseq,
            changes_epoch: now,
            layout: Layout::NEWEST,
        }
    }

    /// Reads the header at the start of `file`, checking its version, sizes and CRC.
    ///
    /// # Errors
    /// [`Damage::Version`] for a version that is not read here; other damage as found.
    pub fn parse(file: &[u8]) -> Result<Self, Fault> {
        let truncated = || Fault::new(file.len(), Damage::Truncated);
        let minor = be32(file, MINOR).ok_or_else(truncated)?;
        let layout = Layout::of_version(minor).ok_or(Fault::new(MINOR, Damage::Version(minor)))?;
        let bytes = file.get(..layout.header_size).ok_or_else(truncated)?;
        if let Some(at) = layout.header_crc
            && be32(bytes, at) != Some(crc32(&bytes[..at]))
        {
            return Err(Fault::new(at, Damage::Crc("index header")));
        }
        let word = |at: usize| be32(bytes, at).unwrap_or_default();
        if word(FORMAT) != 0 {
            return Err(Fault::new(FORMAT, Damage::Impossible("index format")));
        }
        if word(START_OFFSET) as usize != layout.header_size {
            return Err(Fault::new(
                START_OFFSET,
                Damage::Impossible("offset of the first record"),
            ));
        }
        if word(RECORD_SIZE) as usize != layout.record_size {
            return Err(Fault::new(RECORD_SIZE, Damage::Impossible("record size")));
        }
        let mut header = Self {
            layout,
            ..Self::new(0, 0, 0)
        };
        header.sync_annot = 0;
        header.generation = word(GENERATION);
        header.num_records = word(NUM_RECORDS);
        for &(at, field) in layout.header32 {
            *field(&mut header) = word(at);
        }
        for &(at, field) in layout.header64 {
            *field(&mut header) = be64(bytes, at).unwrap_or_default();
        }
        if !layout.counts_expunged {
            header.exists = header.num_records;
        }
        if header.exists == 0 {
            header.options |= options::POP3_NEW_UIDL;
        }
        header.highestmodseq = header.highestmodseq.max(1);
        Ok(header)
    }

    /// The bytes of the header, with its CRC.
    pub fn to_bytes(&self) -> Vec<u8> {
        let layout = self.layout;
        let mut bytes = vec![0; layout.header_size];
        let mut copy = self.clone();
        copy.options &= options::ALL;
        put32(&mut bytes, GENERATION, copy.generation);
        put32(&mut bytes, MINOR, layout.minor);
        put32(&mut bytes, START_OFFSET, layout.header_size as u32);
        put32(&mut bytes, RECORD_SIZE, layout.record_size as u32);
        put32(&mut bytes, NUM_RECORDS, copy.num_records);
        for &(at, field) in layout.header32 {
            put32(&mut bytes, at, *field(&mut copy));
        }
        for &(at, field) in layout.header64 {
            put64(&mut bytes, at, *field(&mut copy));
        }
        if let Some(at) = layout.header_crc {
            let crc = crc32(&bytes[..at]);
            put32(&mut bytes, at, crc);
        }
        bytes
    }

    /// Where record `number` (from 0) is in the file.
    pub fn offset_of(&self, number: u32) -> u64 {
        self.layout.header_size as u64 + u64::from(number) * self.layout.record_size as u64
    }

    /// The length of a file that holds just the promised records.
    pub fn file_size(&self) -> u64 {
        self.offset_of(self.num_records)
    }

    /// The records that the header promises, in `file`.
    ///
    /// # Errors
    /// The file is shorter than the header says.
    pub fn records<'a>(&self, file: &'a [u8]) -> Result<Records<'a>, Fault> {
        let end = usize::try_from(self.file_size()).unwrap_or(usize::MAX);
        match file.get(self.layout.header_size..end) {
            Some(bytes) => Ok(Records::new(bytes, self.layout)),
            None => Err(Fault::new(file.len(), Damage::Truncated)),
        }
    }
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(field) = bytes.get_mut(at..at + 4) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

fn put64(bytes: &mut [u8], at: usize, value: u64) {
    if let Some(field) = bytes.get_mut(at..at + 8) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

/// Reads noise; for the fuzz target of the same name.
pub(crate) fn fuzz(data: &[u8]) {
    let Ok(header) = IndexHeader::parse(data) else {
        return;
    };
    let again = IndexHeader::parse(&header.to_bytes());
    assert!(again.is_ok(), "a written header reads back");
    if let Ok(records) = header.records(data) {
        for view in records.iter() {
            if let Ok(record) = view.record() {
                let mut bytes = view.bytes().to_vec();
                record.write(header.layout, &mut bytes);
                assert_eq!(bytes, view.bytes(), "a valid record is written as it was");
            }
        }
        records.find(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_new_header_is_version_17_and_reads_back() {
        let header = IndexHeader::new(1_800_000_001, 3, 1_800_000_000);
        let bytes = header.to_bytes();
        assert_eq!(
            (bytes.len(), be32(&bytes, 8), be32(&bytes, 120)),
            (160, Some(17), Some(12_345_678))
        );
        assert_eq!(IndexHeader::parse(&bytes).unwrap(), header);
    }

    #[test]
    fn versions_not_described_are_refused_by_number() {
        for version in [0, 5, 11, 18, 19, 20, u32::MAX] {
            let mut bytes = IndexHeader::new(1, 1, 1).to_bytes();
            put32(&mut bytes, MINOR, version);
            assert_eq!(
                IndexHeader::parse(&bytes).unwrap_err().damage,
                Damage::Version(version)
            );
        }
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_noticed() {
        let good = IndexHeader::new(7, 7, 7).to_bytes();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(IndexHeader::parse(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_file_shorter_than_promised_is_truncated() {
        let mut header = IndexHeader::new(7, 7, 7);
        header.num_records = 2;
        let mut file = header.to_bytes();
        file.resize(160 + 112 + 111, 0);
        assert_eq!(header.records(&file).unwrap_err().damage, Damage::Truncated);
        assert!(IndexHeader::parse(&file[..100]).is_err());
    }

    proptest! {
        #[test]
        fn headers_of_every_version_round_trip(
            version in prop::sample::select(vec![10_u32, 12, 13, 14, 15, 16, 17]),
            words in prop::collection::vec(any::<u32>(), 64),
        ) {
            let layout = Layout::of_version(version).unwrap();
            let mut header = IndexHeader { layout, ..IndexHeader::new(0, 0, 0) };
            header.sync_annot = 0;
            header.changes_epoch = 0;
            let mut words = words.into_iter();
            for &(_, field) in layout.header32 { *field(&mut header) = words.next().unwrap(); }
            for &(_, field) in layout.header64 { *field(&mut header) = u64::from(words.next().unwrap()) << 9 | 1; }
            header.num_records = words.next().unwrap();
            if !layout.counts_expunged { header.exists = header.num_records; }
            header.options = header.options & options::ALL | options::POP3_NEW_UIDL;
            if layout.header64.len() < 3 { header.deletedmodseq = 0; }
            if version < 16 { header.createdmodseq = 0; }
            prop_assert_eq!(IndexHeader::parse(&header.to_bytes()).unwrap(), header);
        }

        #[test]
        fn noise_is_no_trouble(noise in prop::collection::vec(any::<u8>(), 0..600)) {
            fuzz(&noise);
        }
    }
}
