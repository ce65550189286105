//! The bytes of Cyrus's files: pure codecs that open nothing, hold no lock and know no clock.
//!
//! Each module turns the bytes of one file or value into checked values and back. All offsets and all CRCs of the
//! crate's mailbox files are in here; `docs/FORMATS.md` draws the pictures.

pub mod annotation;
pub mod cache;
pub mod conversations;
pub mod counters;
pub mod dlist;
pub mod duplicate;
pub(crate) mod flat;
pub mod header;
pub mod index;
pub mod mboxentry;
pub mod mboxkey;
pub mod ptscache;
pub mod quota;
pub mod seen;
pub(crate) mod skiplist;
pub mod statuscache;
pub(crate) mod twoskip;

use std::fmt;

/// What is wrong with the bytes of a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Offset of the wrong bytes, from the start of the file or value.
    pub at: u64,
    /// What is wrong with them.
    pub damage: Damage,
}

impl Fault {
    /// A fault at this offset.
    pub fn new(at: usize, damage: Damage) -> Self {
        Self {
            at: at as u64,
            damage,
        }
    }

    /// The same fault in a file where the decoded bytes begin at `offset`.
    #[must_use]
    pub fn shifted(self, offset: u64) -> Self {
        Self {
            at: self.at.saturating_add(offset),
            ..self
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.damage {
            Damage::Missing => write!(f, "{}", self.damage),
            _ => write!(f, "{} at byte {}", self.damage, self.at),
        }
    }
}

impl std::error::Error for Fault {}

/// The ways in which bytes on disk can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// There is no such file.
    #[error("the file is missing")]
    Missing,
    /// The file ends before what it promises.
    #[error("the file ends too early")]
    Truncated,
    /// The file does not begin with the text that marks its kind.
    #[error("this is not a {0}")]
    Magic(&'static str),
    /// A checksum disagrees with the bytes it covers.
    #[error("wrong checksum of the {0}")]
    Crc(&'static str),
    /// Something does not follow the grammar of the file.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A number or name has a value that cannot be.
    #[error("impossible {0}")]
    Impossible(&'static str),
    /// A version of the format that this program does not read.
    #[error("unknown version {0}")]
    Version(u32),
}

/// The CRC-32 that Cyrus uses everywhere (IEEE, as in zlib).
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The big-endian 32-bit number at `at`.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*word))
}

/// The big-endian 64-bit number at `at`.
pub(crate) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*word))
}

/// The decimal number that is all of `text`: digits only, no sign.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
