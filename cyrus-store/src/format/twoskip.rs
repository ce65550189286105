//! The twoskip database format: a skip list in an append-only file, every part under a CRC.
//!
//! A file is a 64-octet header, the dummy record that starts every list, and records in the order they were
//! written. A record of level L is in the lists 0 to L-1. The lowest list has two pointers a record, so that
//! the one that was valid at the last commit survives while a transaction writes the other.

use std::fmt;

/// What is wrong with a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Fewer octets than the part needs.
    Short,
    /// Not the magic of the format.
    Magic,
    /// A version nobody wrote yet.
    Version(u32),
    /// The header's CRC does not match.
    HeaderCrc,
    /// A field of the header that cannot be.
    HeaderField(&'static str),
    /// A record of unknown type.
    Kind(u8),
    /// A record in more lists than there are.
    Level(u8),
    /// The CRC of a record's head does not match.
    HeadCrc,
    /// The CRC of a record's key and value does not match.
    TailCrc,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the file ends inside a record"),
            Self::Magic => f.write_str("not a twoskip file"),
            Self::Version(version) => write!(f, "twoskip version {version} is unknown"),
            Self::HeaderCrc => f.write_str("wrong checksum of the header"),
            Self::HeaderField(field) => write!(f, "impossible {field} in the header"),
            Self::Kind(kind) => write!(f, "no record starts here (type {kind:#04x})"),
            Self::Level(level) => write!(f, "record of level {level}"),
            Self::HeadCrc => f.write_str("wrong checksum of a record's head"),
            Self::TailCrc => f.write_str("wrong checksum of a key and value"),
        }
    }
}

/// The header of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// 1 in a new file, one more after each checkpoint.
    pub(crate) generation: u64,
    /// Keys in the database.
    pub(crate) records: u64,
    /// `current_size` right after the last checkpoint, less its commit record.
    pub(crate) repack_size: u64,
    /// Where the last commit ends.
    pub(crate) current_size: u64,
    /// A transaction is being written, or was when its writer died.
    pub(crate) dirty: bool,
}

impl Header {
    pub(crate) fn parse(file: &[u8]) -> Result<Self, Damage> {
        let bytes: &[u8; HEADER_SIZE] = file.first_chunk().ok_or(Damage::Short)?;
        if bytes[..MAGIC.len()] != MAGIC[..] {
            return Err(Damage::Magic);
        }
        if crc32fast::hash(&bytes[..HEADER_CRC]) != be32(bytes, HEADER_CRC) {
            return Err(Damage::HeaderCrc);
        }
        let version = be32(bytes, VERSION);
        if version != 1 {
            return Err(Damage::Version(version));
        }
        let header = Self {
            generation: be64(bytes, GENERATION),
            records: be64(bytes, RECORDS),
            repack_size: be64(bytes, REPACK_SIZE),
            current_size: be64(bytes, CURRENT_SIZE),
            dirty: be32(bytes, FLAGS) & DIRTY != 0,
        };
        if header.current_size < EMPTY_SIZE || !header.current_size.is_multiple_of(8) {
            return Err(Damage::HeaderField("current_size"));
        }
        Ok(header)
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes[VERSION..GENERATION].copy_from_slice(&1u32.to_be_bytes());
        bytes[GENERATION..RECORDS].copy_from_slice(&self.generation.to_be_bytes());
        bytes[RECORDS..REPACK_SIZE].copy_from_slice(&self.records.to_be_bytes());
        bytes[REPACK_SIZE..CURRENT_SIZE].copy_from_slice(&self.repack_size.to_be_bytes());
        bytes[CURRENT_SIZE..FLAGS].copy_from_slice(&self.current_size.to_be_bytes());
        let flags = if self.dirty { DIRTY } else { 0 };
        bytes[FLAGS..HEADER_CRC].copy_from_slice(&flags.to_be_bytes());
        let crc = crc32fast::hash(&bytes[..HEADER_CRC]);
        bytes[HEADER_CRC..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }
}

/// The types of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Starts every list; the first record of a file.
    Dummy,
    /// A key and its value.
    Live,
    /// A key is no more; the only pointer is to the next live record.
    Delete,
    /// The end of a transaction; the only pointer is to where it began.
    Commit,
}

impl Kind {
    fn of(byte: u8) -> Result<Self, Damage> {
        match byte {
            b'=' => Ok(Self::Dummy),
            b'+' => Ok(Self::Live),
            b'-' => Ok(Self::Delete),
            b'$' => Ok(Self::Commit),
            other => Err(Damage::Kind(other)),
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Dummy => b'=',
            Self::Live => b'+',
            Self::Delete => b'-',
            Self::Commit => b'$',
        }
    }
}

/// One record. Holding one from [`parse`](Self::parse) proves that the CRC of its head matched; that of key and
/// value is the matter of [`check_tail`](Self::check_tail).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) level: u8,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) tail_crc: u32,
    pointers: &'a [u8],
    tail: &'a [u8],
    head_size: usize,
}

impl<'a> Record<'a> {
    /// Reads the record at the start of `bytes`, which go to the end of what may be trusted.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Damage> {
        let (record, head_crc) = Self::read(bytes)?;
        let head = bytes.get(..record.head_size - 8).ok_or(Damage::Short)?;
        if crc32fast::hash(head) == head_crc {
            Ok(record)
        } else {
            Err(Damage::HeadCrc)
        }
    }

    /// Reads the record at the start of `bytes` for its key and value alone: the lengths of a live record and
    /// what they span are written once and have a CRC of their own, so a head that was torn when its
    /// pointers were rewritten does not matter. Of the other kinds the whole record must be intact.
    pub(crate) fn salvage(bytes: &'a [u8]) -> Result<Self, Damage> {
        let (record, _) = Self::read(bytes)?;
        if record.kind != Kind::Live {
            return Self::parse(bytes);
        }
        record.check_tail().map(|()| record)
    }

    /// The record at the start of `bytes` and the CRC that its head should have.
    fn read(bytes: &'a [u8]) -> Result<(Self, u32), Damage> {
        let fixed: &[u8; FIXED_SIZE] = bytes.first_chunk().ok_or(Damage::Short)?;
        let kind = Kind::of(fixed[0])?;
        let level = fixed[1];
        if level > MAX_LEVEL {
            return Err(Damage::Level(level));
        }
        let mut at = FIXED_SIZE;
        let mut key_size = u64::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if key_size == SHORT_KEYS {
            key_size = u64_at(bytes, at)?;
            at += 8;
        }
        let mut value_size = u64::from(be32(fixed, 4));
        if value_size == SHORT_VALUES {
            value_size = u64_at(bytes, at)?;
            at += 8;
        }
        let pointers_end = at + 8 * (usize::from(level) + 1);
        let pointers = bytes.get(at..pointers_end).ok_or(Damage::Short)?;
        let crcs: &[u8; 8] = bytes
            .get(pointers_end..)
            .and_then(<[u8]>::first_chunk)
            .ok_or(Damage::Short)?;
        let head_size = pointers_end + 8;
        let rest = bytes.get(head_size..).ok_or(Damage::Short)?;
        let split = |bytes: &'a [u8], size: u64| {
            usize::try_from(size)
                .ok()
                .and_then(|size| bytes.split_at_checked(size))
                .ok_or(Damage::Short)
        };
        let (key, after) = split(rest, key_size)?;
        let (value, _) = split(after, value_size)?;
        let tail_size = (key.len() + value.len()).next_multiple_of(8);
        let tail = rest.get(..tail_size).ok_or(Damage::Short)?;
        let record = Self {
            kind,
            level,
            key,
            value,
            tail_crc: be32(crcs, 4),
            pointers,
            tail,
            head_size,
        };
        Ok((record, be32(crcs, 0)))
    }

    /// The CRC that key and value should have.
    pub(crate) fn right_tail_crc(&self) -> u32 {
        crc32fast::hash(self.tail)
    }

    /// Checks the CRC of key and value.
    pub(crate) fn check_tail(&self) -> Result<(), Damage> {
        if self.right_tail_crc() == self.tail_crc {
            Ok(())
        } else {
            Err(Damage::TailCrc)
        }
    }

    /// The pointer of this index; 0, the end of a list, for one that the record does not have.
    pub(crate) fn pointer(&self, index: usize) -> u64 {
        self.pointers
            .chunks_exact(8)
            .nth(index)
            .map_or(0, |bytes| be64(bytes, 0))
    }

    /// All pointers.
    pub(crate) fn pointers(&self) -> Vec<u64> {
        self.pointers
            .chunks_exact(8)
            .map(|bytes| be64(bytes, 0))
            .collect()
    }

    /// Octets of the whole record.
    pub(crate) fn size(&self) -> usize {
        self.head_size + self.tail.len()
    }

    /// The head of this record with other pointers.
    pub(crate) fn head_with(&self, pointers: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.head_size);
        put_head(
            &mut bytes,
            self.kind,
            self.level,
            (self.key.len(), self.value.len()),
            pointers,
            self.tail_crc,
        );
        bytes
    }
}

/// Of a record whose head is of the right form, the CRC it has and the CRC it should have.
pub(crate) fn head_checksums(bytes: &[u8]) -> Option<(u32, u32)> {
    let (record, stored) = Record::read(bytes).ok()?;
    let head = bytes.get(..record.head_size - 8)?;
    Some((stored, crc32fast::hash(head)))
}

/// Appends a record to a piece of file that starts at `start`, after the padding that keeps all of its head
/// that may be rewritten (everything past the lengths) inside one sector. Returns its offset in the file.
///
/// There is one pointer more than `level`.
pub(crate) fn put_record(
    piece: &mut Vec<u8>,
    start: u64,
    kind: Kind,
    pointers: &[u64],
    key: &[u8],
    value: &[u8],
) -> u64 {
    let level = pointers.len().saturating_sub(1) as u8;
    let mut tail = Vec::with_capacity((key.len() + value.len()).next_multiple_of(8));
    tail.extend_from_slice(key);
    tail.extend_from_slice(value);
    tail.resize(tail.len().next_multiple_of(8), 0);
    let mut head = Vec::with_capacity(FIXED_SIZE + 16 + 8 * pointers.len() + 8);
    put_head(
        &mut head,
        kind,
        level,
        (key.len(), value.len()),
        pointers,
        crc32fast::hash(&tail),
    );
    let offset = place(start + piece.len() as u64, head.len() as u64);
    while start + (piece.len() as u64) < offset {
        piece.extend_from_slice(BLANK);
    }
    piece.extend_from_slice(&head);
    piece.extend_from_slice(&tail);
    offset
}

/// Where a record goes whose head has `head_size` octets, when the file ends at `end`.
fn place(mut end: u64, head_size: u64) -> u64 {
    if head_size <= SECTOR - 8 {
        while (end + 8) % SECTOR > (end - 8 + head_size) % SECTOR {
            end += 8;
        }
    }
    end
}

/// Where a live record of this level goes when the file ends at `end`, and where it ends.
pub(crate) fn extent(end: u64, level: u8, key: &[u8], value: &[u8]) -> (u64, u64) {
    let (key_size, value_size) = (key.len() as u64, value.len() as u64);
    let long = u64::from(key_size >= SHORT_KEYS) + u64::from(value_size >= SHORT_VALUES);
    let head_size = FIXED_SIZE as u64 + 8 * long + 8 * (u64::from(level) + 1) + 8;
    let offset = place(end, head_size);
    (
        offset,
        offset + head_size + (key_size + value_size).next_multiple_of(8),
    )
}

fn put_head(
    out: &mut Vec<u8>,
    kind: Kind,
    level: u8,
    (key_size, value_size): (usize, usize),
    pointers: &[u64],
    tail_crc: u32,
) {
    let start = out.len();
    let (key_size, value_size) = (key_size as u64, value_size as u64);
    let short_key = key_size.min(SHORT_KEYS);
    let short_value = value_size.min(SHORT_VALUES);
    out.extend_from_slice(&[kind.byte(), level]);
    out.extend_from_slice(&(short_key as u16).to_be_bytes());
    out.extend_from_slice(&(short_value as u32).to_be_bytes());
    if short_key == SHORT_KEYS {
        out.extend_from_slice(&key_size.to_be_bytes());
    }
    if short_value == SHORT_VALUES {
        out.extend_from_slice(&value_size.to_be_bytes());
    }
    for pointer in pointers {
        out.extend_from_slice(&pointer.to_be_bytes());
    }
    let crc = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&crc.to_be_bytes());
    out.extend_from_slice(&tail_crc.to_be_bytes());
}

/// A file without keys, of this generation.
pub(crate) fn empty_file(generation: u64) -> Vec<u8> {
    let header = Header {
        generation,
        records: 0,
        repack_size: EMPTY_SIZE,
        current_size: EMPTY_SIZE,
        dirty: false,
    };
    let mut bytes = header.encode().to_vec();
    put_record(&mut bytes, 0, Kind::Dummy, &[0; MAX_LEVEL as usize + 1], b"", b"");
    bytes
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |chunk| u32::from_be_bytes(*chunk))
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |chunk| u64::from_be_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Damage> {
    let chunk = bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .ok_or(Damage::Short)?;
    Ok(u64::from_be_bytes(*chunk))
}

/// The first octets of every twoskip file.
pub(crate) const MAGIC: &[u8; 20] = b"\xa1\x02\x8b\x0dtwoskip file\0\0\0\0";
/// Fills the end of a sector that the next record's head would straddle.
pub(crate) const BLANK: &[u8; 8] = b" BLANK\x07\xa0";
/// Lists in a file; the level of the dummy record, and the highest of any.
pub(crate) const MAX_LEVEL: u8 = 31;
/// Where the dummy record is.
pub(crate) const DUMMY: u64 = HEADER_SIZE as u64;
/// Octets of a file without keys.
pub(crate) const EMPTY_SIZE: u64 = DUMMY + 272;

const VERSION: usize = 20;
const GENERATION: usize = 24;
const RECORDS: usize = 32;
const REPACK_SIZE: usize = 40;
const CURRENT_SIZE: usize = 48;
const FLAGS: usize = 56;
const HEADER_CRC: usize = 60; // CRC32 of octets 0..60
const HEADER_SIZE: usize = 64;
const DIRTY: u32 = 1;

const FIXED_SIZE: usize = 8; // type, level, 16-bit key length, 32-bit value length
const SHORT_KEYS: u64 = 0xffff; // this and longer lengths have 8 octets of their own
const SHORT_VALUES: u64 = 0xffff_ffff;
const SECTOR: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn header_round_trips(generation: u64, records: u64, repack_size: u64, size in 42u64..1 << 60, dirty: bool) {
            let header = Header { generation, records, repack_size, current_size: size * 8, dirty };
            prop_assert_eq!(Header::parse(&header.encode()), Ok(header));
        }

        #[test]
        fn record_round_trips(
            key in prop::collection::vec(any::<u8>(), 0..70_000),
            value in prop::collection::vec(any::<u8>(), 0..300),
            pointers in prop::collection::vec(any::<u64>(), 2..=32),
            start in (0u64..1 << 30).prop_map(|n| n * 8 + 336),
        ) {
            let mut piece = Vec::new();
            let offset = put_record(&mut piece, start, Kind::Live, &pointers, &key, &value);
            let at = (offset - start) as usize;
            let level = pointers.len() as u8 - 1;
            prop_assert_eq!(extent(start, level, &key, &value), (offset, start + piece.len() as u64));
            prop_assert!(piece[..at].chunks(8).all(|unit| unit == BLANK));
            let record = Record::parse(&piece[at..]).unwrap();
            prop_assert_eq!((record.key, record.value), (&key[..], &value[..]));
            prop_assert_eq!(record.pointers(), pointers);
            prop_assert_eq!(at + record.size(), piece.len());
            prop_assert_eq!(record.check_tail(), Ok(()));
            if record.head_size <= 504 {
                let (first, last) = (offset + 8, offset + record.head_size as u64 - 1);
                prop_assert_eq!(first / 512, last / 512, "what is rewritten lies in one sector");
            }
        }

        #[test]
        fn noise_is_never_a_panic(noise in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Header::parse(&noise);
            let _ = Record::parse(&noise).map(|record| record.check_tail());
        }
    }

    #[test]
    fn empty_file_is_what_cyrus_writes() {
        let bytes = empty_file(1);
        assert_eq!(bytes.len() as u64, EMPTY_SIZE);
        let dummy = Record::parse(&bytes[DUMMY as usize..]).unwrap();
        assert_eq!((dummy.kind, dummy.level, dummy.tail_crc), (Kind::Dummy, 31, 0));
    }
}
