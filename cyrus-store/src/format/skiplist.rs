//! The skiplist database format: a skip list rewritten now and then, with a log of changes after it.
//!
//! A file is a 48-octet header, the dummy record that starts every list, the records of the last checkpoint in
//! order, and the log: additions, deletions and commits. The pointers of all records, in the log too, are kept
//! up to date in place. Every field is of 4 octets.

use std::cmp::Ordering;
use std::fmt;

/// What is wrong with a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Fewer octets than the part needs.
    Short,
    /// Not the magic of the format.
    Magic,
    /// A version nobody wrote yet.
    Version(u32, u32),
    /// A field of the header that cannot be.
    HeaderField(&'static str),
    /// A record of unknown type.
    Kind(u32),
    /// More pointers than there are lists.
    Level,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the file ends inside a record"),
            Self::Magic => f.write_str("not a skiplist file"),
            Self::Version(major, minor) => write!(f, "skiplist version {major}.{minor} is unknown"),
            Self::HeaderField(field) => write!(f, "impossible {field} in the header"),
            Self::Kind(kind) => write!(f, "no record starts here (type {kind:#x})"),
            Self::Level => f.write_str("a record with too many pointers"),
        }
    }
}

/// The header of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Lists in the file.
    pub(crate) max_level: u32,
    /// Lists that are not empty.
    pub(crate) level: u32,
    /// Keys at the last checkpoint.
    pub(crate) list_size: u32,
    /// Where the log begins: the file's size at the last checkpoint.
    pub(crate) log_start: u32,
    /// When the file was last recovered, in Unix time.
    pub(crate) last_recovery: u32,
}

impl Header {
    pub(crate) fn parse(file: &[u8]) -> Result<Self, Damage> {
        let bytes: &[u8; HEADER_SIZE] = file.first_chunk().ok_or(Damage::Short)?;
        if bytes[..MAGIC.len()] != MAGIC[..] {
            return Err(Damage::Magic);
        }
        let field = |at| be32(bytes, at).ok_or(Damage::Short);
        let (major, minor) = (field(VERSION)?, field(MINOR)?);
        if major != 1 {
            return Err(Damage::Version(major, minor));
        }
        let header = Self {
            max_level: field(MAX_LEVEL)?,
            level: field(LEVEL)?,
            list_size: field(LIST_SIZE)?,
            log_start: field(LOG_START)?,
            last_recovery: field(LAST_RECOVERY)?,
        };
        if header.max_level == 0 || header.max_level as usize > LISTS {
            return Err(Damage::HeaderField("maxlevel"));
        }
        if header.level > header.max_level {
            return Err(Damage::HeaderField("curlevel"));
        }
        Ok(header)
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        let fields = [
            1,
            2,
            self.max_level,
            self.level,
            self.list_size,
            self.log_start,
            self.last_recovery,
        ];
        for (place, field) in bytes[VERSION..].chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&u32::to_be_bytes(field));
        }
        bytes
    }
}

/// The types of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Starts every list; the first record of a file.
    Dummy,
    /// A key of the last checkpoint.
    InOrder,
    /// A key added later.
    Add,
    /// A record is no longer in the lists; `target` is where it is.
    Delete,
    /// The end of a transaction.
    Commit,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    /// The record that a deletion removes.
    pub(crate) target: u32,
    pointers: &'a [u8],
    /// Octets of the whole record.
    pub(crate) size: usize,
}

impl<'a> Record<'a> {
    /// Reads the record at the start of `bytes`.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Damage> {
        let bare = |kind, target, size| Self {
            kind,
            key: &[],
            value: &[],
            target,
            pointers: &[],
            size,
        };
        let kind = match be32(bytes, 0).ok_or(Damage::Short)? {
            DUMMY_TYPE => Kind::Dummy,
            IN_ORDER_TYPE => Kind::InOrder,
            ADD_TYPE => Kind::Add,
            DELETE_TYPE => {
                return Ok(bare(Kind::Delete, be32(bytes, 4).ok_or(Damage::Short)?, 8));
            }
            COMMIT_TYPE => return Ok(bare(Kind::Commit, 0, 4)),
            other => return Err(Damage::Kind(other)),
        };
        let (key, at) = sized(bytes, 4)?;
        let (value, at) = sized(bytes, at)?;
        let pointers = bytes.get(at..).ok_or(Damage::Short)?;
        let level = pointers
            .chunks_exact(4)
            .take(LISTS + 1)
            .position(|word| word == END_OF_POINTERS)
            .ok_or(if pointers.len() / 4 > LISTS {
                Damage::Level
            } else {
                Damage::Short
            })?;
        let pointers = pointers.get(..4 * level).ok_or(Damage::Short)?;
        Ok(Self {
            kind,
            key,
            value,
            target: 0,
            pointers,
            size: at + 4 * level + 4,
        })
    }

    /// In how many lists the record is.
    pub(crate) fn level(&self) -> usize {
        self.pointers.len() / 4
    }

    /// Where the record's pointer for a list is, from its start.
    pub(crate) fn pointer_at(&self, list: usize) -> usize {
        self.size - 4 - self.pointers.len() + 4 * list
    }

    pub(crate) fn pointers(&self) -> Vec<u32> {
        self.pointers
            .chunks_exact(4)
            .filter_map(|word| be32(word, 0))
            .collect()
    }

    pub(crate) fn pointer(&self, list: usize) -> u32 {
        be32(self.pointers, 4 * list).unwrap_or(0)
    }
}

/// A length and as many octets, padded to a multiple of 4; returns where the next field is, too.
fn sized(bytes: &[u8], at: usize) -> Result<(&[u8], usize), Damage> {
    let size = be32(bytes, at).ok_or(Damage::Short)? as usize;
    let start = at + 4;
    let content = start
        .checked_add(size)
        .and_then(|end| bytes.get(start..end))
        .ok_or(Damage::Short)?;
    Ok((content, start + size.next_multiple_of(4)))
}

/// Appends a record with a key.
pub(crate) fn put_record(out: &mut Vec<u8>, kind: Kind, key: &[u8], value: &[u8], pointers: &[u32]) {
    let kind = match kind {
        Kind::Dummy => DUMMY_TYPE,
        Kind::InOrder => IN_ORDER_TYPE,
        Kind::Add | Kind::Delete | Kind::Commit => ADD_TYPE,
    };
    out.extend_from_slice(&kind.to_be_bytes());
    for part in [key, value] {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    for pointer in pointers {
        out.extend_from_slice(&pointer.to_be_bytes());
    }
    out.extend_from_slice(END_OF_POINTERS);
}

/// Octets of a record with a key.
pub(crate) fn size_of_record(key: &[u8], value: &[u8], level: usize) -> u64 {
    let padded = |part: &[u8]| part.len().next_multiple_of(4) as u64;
    16 + padded(key) + padded(value) + 4 * level as u64
}

/// Appends the record of a deletion.
pub(crate) fn put_delete(out: &mut Vec<u8>, target: u32) {
    out.extend_from_slice(&DELETE_TYPE.to_be_bytes());
    out.extend_from_slice(&target.to_be_bytes());
}

/// Appends the end of a transaction.
pub(crate) fn put_commit(out: &mut Vec<u8>) {
    out.extend_from_slice(&COMMIT_TYPE.to_be_bytes());
}

/// Whether the file ends as the last commit or checkpoint left it, judged by its last words.
pub(crate) fn ends_in_commit(file: &[u8], header: &Header) -> bool {
    if !file.len().is_multiple_of(4) {
        return false;
    }
    let word = |back: usize| {
        file.len()
            .checked_sub(4 * back)
            .and_then(|at| file.get(at..at + 4))
    };
    if file.len() == header.log_start as usize {
        return word(1) == Some(END_OF_POINTERS);
    }
    word(1) == Some(COMMIT) && (word(2) == Some(END_OF_POINTERS) || word(3) == Some(DELETE))
}

/// The order of keys: octets as signed numbers, a shorter key first.
pub(crate) fn compare(one: &[u8], two: &[u8]) -> Ordering {
    let signed = |byte: &u8| byte.cast_signed();
    one.iter().map(signed).cmp(two.iter().map(signed))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|chunk| u32::from_be_bytes(*chunk))
}

/// The first octets of every skiplist file.
pub(crate) const MAGIC: &[u8; 20] = b"\xa1\x02\x8b\x0dskiplist file\0\0\0";
/// Where the dummy record is.
pub(crate) const DUMMY: u32 = HEADER_SIZE as u32;
/// Lists in a file made here, and the most that are read.
pub(crate) const LISTS: usize = 20;
/// The word after the pointers of a record.
pub(crate) const END_OF_POINTERS: &[u8] = b"\xff\xff\xff\xff";
/// The word that starts a deletion.
pub(crate) const DELETE: &[u8] = &DELETE_TYPE.to_be_bytes();
/// The word that is a commit.
pub(crate) const COMMIT: &[u8] = &COMMIT_TYPE.to_be_bytes();

const VERSION: usize = 20;
const MINOR: usize = 24;
const MAX_LEVEL: usize = 28;
const LEVEL: usize = 32;
const LIST_SIZE: usize = 36;
const LOG_START: usize = 40;
const LAST_RECOVERY: usize = 44;
const HEADER_SIZE: usize = 48;

const IN_ORDER_TYPE: u32 = 1;
const ADD_TYPE: u32 = 2;
const DELETE_TYPE: u32 = 4;
const COMMIT_TYPE: u32 = 255;
const DUMMY_TYPE: u32 = 257;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn header_round_trips(level in 0u32..=20, list_size: u32, log_start: u32, last_recovery: u32) {
            let header = Header { max_level: 20, level, list_size, log_start, last_recovery };
            prop_assert_eq!(Header::parse(&header.encode()), Ok(header));
        }

        #[test]
        fn record_round_trips(
            key in prop::collection::vec(any::<u8>(), 0..50),
            value in prop::collection::vec(any::<u8>(), 0..300),
            pointers in prop::collection::vec(0..u32::MAX, 1..=20),
        ) {
            let mut bytes = Vec::new();
            put_record(&mut bytes, Kind::Add, &key, &value, &pointers);
            let record = Record::parse(&bytes).unwrap();
            prop_assert_eq!((record.kind, record.key, record.value), (Kind::Add, &key[..], &value[..]));
            prop_assert_eq!(record.pointers(), pointers);
            prop_assert_eq!(record.size, bytes.len());
            prop_assert_eq!(size_of_record(&key, &value, record.level()), bytes.len() as u64);
        }

        #[test]
        fn noise_is_never_a_panic(mut noise in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..6) {
            if let Some(word) = noise.get_mut(..4) {
                word.copy_from_slice(&[0, 0, 0, kind]);
            }
            let _ = Header::parse(&noise);
            let _ = Record::parse(&noise);
        }
    }

    #[test]
    fn octets_above_127_sort_before_the_others() {
        let sorted: [&[u8]; 5] = [b"\x80", b"\xff", b"\x00", b"a", b"ab"];
        assert!(sorted.is_sorted_by(|one, two| compare(one, two).is_lt()));
    }
}
