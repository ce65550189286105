//! The offsets of each index version, and nothing else.

use super::IndexHeader;

/// Where one version of the index keeps its fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// The version number.
    pub minor: u32,
    /// Octets of the header: the offset of the first record.
    pub header_size: usize,
    /// Octets of a record.
    pub record_size: usize,
    /// The offset of the header's CRC, which covers all before it.
    pub(super) header_crc: Option<usize>,
    /// Whether expunged messages keep their record, with `exists` counting those that are left.
    pub(super) counts_expunged: bool,
    pub(super) header32: &'static [(usize, Field<u32>)],
    pub(super) header64: &'static [(usize, Field<u64>)],
    pub(super) record: RecordLayout,
}

/// A field of the decoded header.
pub(super) type Field<T> = fn(&mut IndexHeader) -> &mut T;

/// Where a record keeps the fields that not every version has, or not in the same place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RecordLayout {
    pub(super) guid: Option<usize>,
    pub(super) modseq: Option<usize>,
    pub(super) gmtime: Option<usize>,
    pub(super) savedate: Option<usize>,
    pub(super) cid: Option<usize>,
    pub(super) createdmodseq: Option<usize>,
    pub(super) cache_crc: Option<usize>,
    pub(super) crc: Option<usize>,
}

impl Layout {
    /// The offsets of this version, if it can be read.
    pub fn of_version(minor: u32) -> Option<&'static Self> {
        ALL.iter().find(|layout| layout.minor == minor)
    }

    /// The version that new mailboxes get.
    pub const NEWEST: &'static Self = &ALL[10];

    /// Whether mailboxes of this version can be written: from 12 on, records carry CRCs, the owner's `\Seen` is in
    /// the index, and expunged messages keep their records.
    pub fn is_writable(&self) -> bool {
        self.counts_expunged
    }

    /// Whether records have a conversation.
    pub fn has_conversations(&self) -> bool {
        self.record.cid.is_some()
    }
}

// The same in every version.
pub(super) const GENERATION: usize = 0;
pub(super) const FORMAT: usize = 4;
pub(super) const MINOR: usize = 8;
pub(super) const START_OFFSET: usize = 12;
pub(super) const RECORD_SIZE: usize = 16;
pub(super) const NUM_RECORDS: usize = 20;

pub(super) const UID: usize = 0;
pub(super) const INTERNALDATE: usize = 4;
pub(super) const SENTDATE: usize = 8;
pub(super) const SIZE: usize = 12;
pub(super) const HEADER_SIZE: usize = 16;
pub(super) const CACHE_OFFSET: usize = 24;
pub(super) const LAST_UPDATED: usize = 28;
pub(super) const FLAGS: usize = 32;
pub(super) const USER_FLAGS: usize = 36;
pub(super) const CACHE_VERSION: usize = 56;

static ALL: [Layout; 11] = [
    Layout {
        minor: 6,
        header_size: 76,
        record_size: 60,
        header_crc: None,
        counts_expunged: false,
        header32: HEADER_10,
        header64: HEADER64_6,
        record: RECORD_6,
    },
    Layout {
        minor: 7,
        header_size: 76,
        record_size: 72,
        header_crc: None,
        counts_expunged: false,
        header32: HEADER_10,
        header64: HEADER64_6,
        record: RECORD_6,
    },
    Layout {
        minor: 8,
        header_size: 92,
        record_size: 80,
        header_crc: None,
        counts_expunged: false,
        header32: HEADER_10,
        header64: HEADER64_10,
        record: RECORD_8,
    },
    Layout {
        minor: 9,
        header_size: 96,
        record_size: 80,
        header_crc: None,
        counts_expunged: false,
        header32: HEADER_10,
        header64: HEADER64_10,
        record: RECORD_8,
    },
    Layout {
        minor: 10,
        header_size: 96,
        record_size: 88,
        header_crc: None,
        counts_expunged: false,
        header32: HEADER_10,
        header64: HEADER64_10,
        record: RecordLayout {
            guid: Some(60),
            modseq: Some(80),
            gmtime: None,
            savedate: None,
            cid: None,
            createdmodseq: None,
            cache_crc: None,
            crc: None,
        },
    },
    Layout {
        minor: 12,
        header_size: 128,
        record_size: 96,
        header_crc: Some(124),
        counts_expunged: true,
        header32: HEADER_12,
        header64: HEADER64_12,
        record: RecordLayout {
            guid: Some(60),
            modseq: Some(80),
            gmtime: Some(20),
            savedate: None,
            cid: None,
            createdmodseq: None,
            cache_crc: Some(88),
            crc: Some(92),
        },
    },
    Layout {
        minor: 13,
        header_size: 128,
        record_size: 104,
        header_crc: Some(124),
        counts_expunged: true,
        header32: HEADER_13,
        header64: HEADER64_12,
        record: RECORD_13,
    },
    Layout {
        minor: 14,
        header_size: 160,
        record_size: 104,
        header_crc: Some(156),
        counts_expunged: true,
        header32: HEADER_14,
        header64: HEADER64_12,
        record: RECORD_13,
    },
    Layout {
        minor: 15,
        header_size: 160,
        record_size: 104,
        header_crc: Some(156),
        counts_expunged: true,
        header32: HEADER_14,
        header64: HEADER64_12,
        record: RecordLayout {
            savedate: Some(52),
            ..RECORD_13
        },
    },
    Layout {
        minor: 16,
        header_size: 160,
        record_size: 112,
        header_crc: Some(156),
        counts_expunged: true,
        header32: HEADER_14,
        header64: HEADER64_16,
        record: RECORD_16,
    },
    Layout {
        minor: 17,
        header_size: 160,
        record_size: 112,
        header_crc: Some(156),
        counts_expunged: true,
        header32: HEADER_17,
        header64: HEADER64_16,
        record: RECORD_16,
    },
];

const RECORD_6: RecordLayout = RecordLayout {
    guid: None,
    modseq: None,
    gmtime: None,
    savedate: None,
    cid: None,
    createdmodseq: None,
    cache_crc: None,
    crc: None,
};

const RECORD_8: RecordLayout = RecordLayout {
    modseq: Some(72),
    ..RECORD_6
};

const RECORD_13: RecordLayout = RecordLayout {
    guid: Some(60),
    modseq: Some(80),
    gmtime: Some(20),
    savedate: None,
    cid: Some(88),
    createdmodseq: None,
    cache_crc: Some(96),
    crc: Some(100),
};

const RECORD_16: RecordLayout = RecordLayout {
    guid: Some(60),
    modseq: Some(80),
    gmtime: Some(20),
    savedate: Some(52),
    cid: Some(88),
    createdmodseq: Some(96),
    cache_crc: Some(104),
    crc: Some(108),
};

const HEADER64_6: &[(usize, Field<u64>)] = &[(32, |h| &mut h.quota_mailbox_used)];
const HEADER64_10: &[(usize, Field<u64>)] = &[
    (32, |h| &mut h.quota_mailbox_used),
    (68, |h| &mut h.highestmodseq),
];
const HEADER64_12: &[(usize, Field<u64>)] = &[
    (32, |h| &mut h.quota_mailbox_used),
    (68, |h| &mut h.highestmodseq),
    (76, |h| &mut h.deletedmodseq),
];
const HEADER64_16: &[(usize, Field<u64>)] = &[
    (32, |h| &mut h.quota_mailbox_used),
    (68, |h| &mut h.highestmodseq),
    (76, |h| &mut h.deletedmodseq),
    (128, |h| &mut h.createdmodseq),
];

/// The 32-bit fields of versions up to 10, of 12, 13, 14 to 16, and 17: each list is the beginning of the next.
const FIELDS: [(usize, Field<u32>); 21] = [
    (24, |h| &mut h.last_appenddate),
    (28, |h| &mut h.last_uid),
    (40, |h| &mut h.pop3_last_login),
    (44, |h| &mut h.uidvalidity),
    (48, |h| &mut h.deleted),
    (52, |h| &mut h.answered),
    (56, |h| &mut h.flagged),
    (60, |h| &mut h.options),
    (64, |h| &mut h.leaked_cache_records),
    // since 12
    (84, |h| &mut h.exists),
    (88, |h| &mut h.first_expunged),
    (92, |h| &mut h.last_repack_time),
    (96, |h| &mut h.header_file_crc),
    (100, |h| &mut h.sync_basic),
    (104, |h| &mut h.recentuid),
    (108, |h| &mut h.recenttime),
    // since 13
    (112, |h| &mut h.pop3_show_after),
    (116, |h| &mut h.quota_annot_used),
    (120, |h| &mut h.sync_annot),
    // since 14
    (124, |h| &mut h.unseen),
    // since 17
    (136, |h| &mut h.changes_epoch),
];

const HEADER_10: &[(usize, Field<u32>)] = FIELDS.split_at(9).0;
const HEADER_12: &[(usize, Field<u32>)] = FIELDS.split_at(16).0;
const HEADER_13: &[(usize, Field<u32>)] = FIELDS.split_at(19).0;
const HEADER_14: &[(usize, Field<u32>)] = FIELDS.split_at(20).0;
const HEADER_17: &[(usize, Field<u32>)] = &FIELDS;
