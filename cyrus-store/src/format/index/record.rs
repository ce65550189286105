//! One message's record, borrowed from the file for scanning or decoded for use.

use super::layout::{
    CACHE_OFFSET, CACHE_VERSION, FLAGS, HEADER_SIZE, INTERNALDATE, LAST_UPDATED, SENTDATE, SIZE, UID,
    USER_FLAGS,
};
use super::{Damage, Fault, Layout, be32, be64, crc32, put32, put64};
use crate::flags::{KeywordBits, SystemFlags};
use crate::ident::Guid;

/// A record, decoded; fields that a version lacks are zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// UID; ascending through the file.
    pub uid: u32,
    /// When the message was received, Unix seconds.
    pub internaldate: u32,
    /// The day of the Date: field, at midnight of the server's time zone.
    pub sentdate: u32,
    /// Octets of the message file.
    pub size: u32,
    /// Octets through the blank line.
    pub header_size: u32,
    /// The Date: field as Unix seconds.
    pub gmtime: u32,
    /// Offset of the record in the cache file; 0 for none.
    pub cache_offset: u64,
    /// When the record was last changed, Unix seconds.
    pub last_updated: u32,
    /// Client flags in the low and internal flags in the high 16 bits.
    pub flags: u32,
    /// Keywords.
    pub keywords: KeywordBits,
    /// When the message came into this mailbox, Unix seconds.
    pub savedate: u32,
    /// Version of the cache record.
    pub cache_version: u16,
    /// SHA-1 of the message file.
    pub guid: Guid,
    /// Modification sequence.
    pub modseq: u64,
    /// Conversation.
    pub cid: u64,
    /// Modification sequence when it was appended.
    pub createdmodseq: u64,
    /// CRC-32 of the cache record.
    pub cache_crc: u32,
}

impl Record {
    /// Deferred by the user until some time.
    pub const SNOOZED: u32 = 1 << 26;
    /// The conversation was split here.
    pub const SPLITCONVERSATION: u32 = 1 << 27;
    /// Something is left to be removed for an unlinked message.
    pub const NEEDS_CLEANUP: u32 = 1 << 28;
    /// The file is on the archive partition.
    pub const ARCHIVED: u32 = 1 << 29;
    /// The file is to be removed, or gone.
    pub const UNLINKED: u32 = 1 << 30;
    /// Not visible any more.
    pub const EXPUNGED: u32 = 1 << 31;

    /// The client flags, `\Seen` being the index's.
    pub fn system_flags(&self) -> SystemFlags {
        SystemFlags::from_bits(self.flags)
    }

    /// Replaces the client flags and keeps the internal ones.
    pub fn set_system_flags(&mut self, flags: SystemFlags) {
        self.flags = self.flags & !SystemFlags::ALL.bits() | flags.bits();
    }

    /// Whether the message is gone for clients.
    pub fn is_expunged(&self) -> bool {
        self.flags & Self::EXPUNGED != 0
    }

    /// Whether the message file is gone or about to.
    pub fn is_unlinked(&self) -> bool {
        self.flags & Self::UNLINKED != 0
    }

    /// Whether the message file is on the archive partition.
    pub fn is_archived(&self) -> bool {
        self.flags & Self::ARCHIVED != 0
    }

    /// Writes the fields and the CRC over `bytes`, which keep what no field of the version covers.
    pub fn write(&self, layout: &Layout, bytes: &mut [u8]) {
        let at = &layout.record;
        put32(bytes, UID, self.uid);
        put32(bytes, INTERNALDATE, self.internaldate);
        put32(bytes, SENTDATE, self.sentdate);
        put32(bytes, SIZE, self.size);
        put32(bytes, HEADER_SIZE, self.header_size);
        put32(bytes, CACHE_OFFSET, self.cache_offset as u32);
        put32(bytes, LAST_UPDATED, self.last_updated);
        put32(bytes, FLAGS, self.flags);
        for (word, slot) in self.keywords.0.iter().zip((USER_FLAGS..).step_by(4)) {
            put32(bytes, slot, *word);
        }
        let high_offset = (self.cache_offset >> 32) as u32;
        put32(
            bytes,
            CACHE_VERSION,
            high_offset << 16 | u32::from(self.cache_version),
        );
        if let Some(guid) = at.guid.and_then(|at| bytes.get_mut(at..at + 20)) {
            guid.copy_from_slice(&self.guid.0);
        }
        if let Some(at) = at.modseq {
            put64(bytes, at, self.modseq);
        }
        if let Some(at) = at.gmtime {
            put32(bytes, at, self.gmtime);
        }
        if let Some(at) = at.savedate {
            put32(bytes, at, self.savedate);
        }
        if let Some(at) = at.cid {
            put64(bytes, at, self.cid);
        }
        if let Some(at) = at.createdmodseq {
            put64(bytes, at, self.createdmodseq);
        }
        if let Some(at) = at.cache_crc {
            put32(bytes, at, self.cache_crc);
        }
        if let Some(at) = at.crc {
            let crc = crc32(bytes.get(..at).unwrap_or_default());
            put32(bytes, at, crc);
        }
    }

    /// The bytes of a new record.
    pub fn to_bytes(&self, layout: &Layout) -> Vec<u8> {
        let mut bytes = vec![0; layout.record_size];
        self.write(layout, &mut bytes);
        bytes
    }
}

/// A record in the file. The accessors read it as it stands, for scans; [`RecordView::record`] checks the CRC.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    bytes: &'a [u8],
    layout: &'static Layout,
}

impl<'a> RecordView<'a> {
    /// The record's bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// UID; zero in a damaged record.
    pub fn uid(&self) -> u32 {
        self.word(UID)
    }

    /// Flag word.
    pub fn flags(&self) -> u32 {
        self.word(FLAGS)
    }

    /// Modification sequence; one in versions without.
    pub fn modseq(&self) -> u64 {
        self.layout.record.modseq.map_or(1, |at| self.long(at))
    }

    /// Whether the message is gone for clients.
    pub fn is_expunged(&self) -> bool {
        self.flags() & Record::EXPUNGED != 0
    }

    /// Keywords.
    pub fn keywords(&self) -> KeywordBits {
        let word = |i: usize| self.word(USER_FLAGS + 4 * i);
        KeywordBits([word(0), word(1), word(2), word(3)])
    }

    /// Octets of the message file.
    pub fn size(&self) -> u32 {
        self.word(SIZE)
    }

    /// When the message was received, Unix seconds.
    pub fn internaldate(&self) -> u32 {
        self.word(INTERNALDATE)
    }

    /// The day of the Date: field, at midnight of the server's time zone.
    pub fn sentdate(&self) -> u32 {
        self.word(SENTDATE)
    }

    /// The Date: field as Unix seconds; the internal date in versions without.
    pub fn gmtime(&self) -> u32 {
        let at = self.layout.record.gmtime;
        at.map_or_else(|| self.internaldate(), |at| self.word(at))
    }

    /// When the message came into this mailbox, Unix seconds; zero in versions without.
    pub fn savedate(&self) -> u32 {
        self.layout.record.savedate.map_or(0, |at| self.word(at))
    }

    /// Conversation; zero in versions without.
    pub fn cid(&self) -> u64 {
        self.layout.record.cid.map_or(0, |at| self.long(at))
    }

    /// Modification sequence when the message was appended; zero in versions without.
    pub fn createdmodseq(&self) -> u64 {
        self.layout.record.createdmodseq.map_or(0, |at| self.long(at))
    }

    /// SHA-1 of the message file; zeros in versions without.
    pub fn guid(&self) -> Guid {
        let at = self.layout.record.guid;
        let guid = at.and_then(|at| self.bytes.get(at..)?.first_chunk::<20>());
        Guid(guid.copied().unwrap_or_default())
    }

    /// Octets through the blank line.
    pub fn header_size(&self) -> u32 {
        self.word(HEADER_SIZE)
    }

    /// Whether the message file is on the archive partition.
    pub fn is_archived(&self) -> bool {
        self.flags() & Record::ARCHIVED != 0
    }

    /// Offset of the record in the cache file; 0 for none.
    pub fn cache_offset(&self) -> u64 {
        u64::from(self.word(CACHE_VERSION) >> 16) << 32 | u64::from(self.word(CACHE_OFFSET))
    }

    /// Version of the cache record.
    pub fn cache_version(&self) -> u16 {
        self.word(CACHE_VERSION) as u16
    }

    /// CRC-32 of the cache record; zero in versions without.
    pub fn cache_crc(&self) -> u32 {
        self.layout.record.cache_crc.map_or(0, |at| self.word(at))
    }

    /// Whether the CRC matches; always so in versions without.
    pub fn is_intact(&self) -> bool {
        self.layout.record.crc.is_none_or(|at| {
            let covered = self.bytes.get(..at).unwrap_or_default();
            be32(self.bytes, at) == Some(crc32(covered))
        })
    }

    /// The decoded record.
    ///
    /// # Errors
    /// A wrong CRC, or UID zero; the fault's offset is that within the record.
    pub fn record(&self) -> Result<Record, Fault> {
        if !self.is_intact() {
            return Err(Fault::new(
                self.layout.record.crc.unwrap_or_default(),
                Damage::Crc("index record"),
            ));
        }
        if self.uid() == 0 {
            return Err(Fault::new(UID, Damage::Impossible("UID 0")));
        }
        Ok(self.decode())
    }

    /// The decoded record, whatever its CRC.
    fn decode(&self) -> Record {
        Record {
            uid: self.uid(),
            internaldate: self.internaldate(),
            sentdate: self.sentdate(),
            size: self.size(),
            header_size: self.header_size(),
            gmtime: self.gmtime(),
            cache_offset: self.cache_offset(),
            last_updated: self.word(LAST_UPDATED),
            flags: self.flags(),
            keywords: self.keywords(),
            savedate: self.savedate(),
            cache_version: self.cache_version(),
            guid: self.guid(),
            modseq: self.modseq(),
            cid: self.cid(),
            createdmodseq: self.createdmodseq(),
            cache_crc: self.cache_crc(),
        }
    }

    fn word(&self, at: usize) -> u32 {
        be32(self.bytes, at).unwrap_or_default()
    }

    fn long(&self, at: usize) -> u64 {
        be64(self.bytes, at).unwrap_or_default()
    }
}

/// All records that a header promises.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    layout: &'static Layout,
}

impl<'a> Records<'a> {
    pub(super) fn new(bytes: &'a [u8], layout: &'static Layout) -> Self {
        Self { bytes, layout }
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        (self.bytes.len() / self.layout.record_size) as u32
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Record `number`, from 0.
    pub fn get(&self, number: u32) -> Option<RecordView<'a>> {
        let start = (number as usize).checked_mul(self.layout.record_size)?;
        let bytes = self
            .bytes
            .get(start..start.checked_add(self.layout.record_size)?)?;
        Some(RecordView {
            bytes,
            layout: self.layout,
        })
    }

    /// All records, in the order of the file.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = RecordView<'a>> + ExactSizeIterator {
        self.from(0)
    }

    /// The records from number `first` on.
    pub fn from(self, first: u32) -> impl DoubleEndedIterator<Item = RecordView<'a>> + ExactSizeIterator {
        let start = (first as usize)
            .saturating_mul(self.layout.record_size)
            .min(self.bytes.len());
        self.bytes[start..]
            .chunks_exact(self.layout.record_size)
            .map(move |bytes| RecordView {
                bytes,
                layout: self.layout,
            })
    }

    /// The number of the first record whose UID is not below `uid`; records are in the order of their UIDs.
    pub fn find(&self, uid: u32) -> u32 {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle).is_some_and(|record| record.uid() < uid) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::super::IndexHeader;
    use super::*;
    use proptest::prelude::*;

    fn any_record() -> impl Strategy<Value = Record> {
        (
            prop::array::uniform10(any::<u32>()),
            any::<[u32; 4]>(),
            any::<[u8; 20]>(),
            any::<[u64; 4]>(),
            any::<u16>(),
        )
            .prop_map(|(w, keywords, guid, l, cache_version)| Record {
                uid: w[0].max(1),
                internaldate: w[1],
                sentdate: w[2],
                size: w[3],
                header_size: w[4],
                gmtime: w[5],
                cache_offset: l[3] >> 16,
                last_updated: w[6],
                flags: w[7],
                keywords: KeywordBits(keywords),
                savedate: w[8],
                cache_version,
                guid: Guid(guid),
                modseq: l[0],
                cid: l[1],
                createdmodseq: l[2],
                cache_crc: w[9],
            })
    }

    proptest! {
        #[test]
        fn records_of_every_version_round_trip(record in any_record(), minor in prop::sample::select(vec![10_u32, 12, 13, 14, 15, 16, 17])) {
            let layout = Layout::of_version(minor).unwrap();
            let bytes = record.to_bytes(layout);
            let view = RecordView { bytes: &bytes, layout };
            let read = view.record().unwrap();
            let mut expected = record;
            if minor < 12 { expected.gmtime = expected.internaldate; expected.cache_crc = 0; }
            if minor < 13 { expected.cid = 0; }
            if minor < 15 { expected.savedate = 0; }
            if minor < 16 { expected.createdmodseq = 0; }
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn a_flipped_bit_is_noticed(record in any_record(), bit in 0..112_usize * 8) {
            let layout = Layout::NEWEST;
            let mut bytes = record.to_bytes(layout);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let view = RecordView { bytes: &bytes, layout };
            prop_assert!(view.record().is_err());
        }

        #[test]
        fn records_are_found_by_uid(uids in prop::collection::btree_set(1..200_u32, 0..50), wanted in 0..210_u32) {
            let mut header = IndexHeader::new(1, 1, 1);
            header.num_records = uids.len() as u32;
            let mut file = header.to_bytes();
            for &uid in &uids {
                file.extend(Record { uid, ..Record::default() }.to_bytes(header.layout));
            }
            let records = header.records(&file).unwrap();
            prop_assert_eq!(records.find(wanted) as usize, uids.range(..wanted).count());
            prop_assert_eq!(records.iter().map(|r| r.uid()).collect::<Vec<_>>(), uids.into_iter().collect::<Vec<_>>());
        }
    }
}
