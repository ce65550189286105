//! A user's counters of modification sequences and UIDVALIDITYs: one small file, replaced at each change.
//!
//! Cyrus keeps it only while conversations are on.

use super::{Damage, Fault, be32, be64, crc32};

/// The content of a counters file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Goes up by one at each write.
    pub generation: u32,
    /// The values, in the order of the file: the highest of all first, then mail; see `docs/FORMATS.md`.
    pub values: [u64; VALUES],
    /// The last UIDVALIDITY given.
    pub uidvalidity: u32,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            generation: 0,
            values: [0; VALUES],
            uidvalidity: 0,
        }
    }
}

impl Counters {
    /// The version that is written.
    pub const VERSION: u32 = NEWEST;

    /// Reads a file; an empty one is all zeros.
    ///
    /// # Errors
    /// A version other than 9 (the present one), or a wrong size or checksum.
    pub fn parse(file: &[u8]) -> Result<Self, Fault> {
        if file.is_empty() {
            return Ok(Self::default());
        }
        let truncated = || Fault::new(file.len(), Damage::Truncated);
        let version = be32(file, VERSION).ok_or_else(truncated)?;
        if version != NEWEST {
            return Err(Fault::new(VERSION, Damage::Version(version)));
        }
        let bytes = file.first_chunk::<SIZE>().ok_or_else(truncated)?;
        if be32(bytes, CRC) != Some(crc32(&bytes[..CRC])) {
            return Err(Fault::new(CRC, Damage::Crc("counters file")));
        }
        let mut counters = Self {
            generation: be32(bytes, GENERATION).unwrap_or_default(),
            uidvalidity: be32(bytes, UIDVALIDITY).unwrap_or_default(),
            ..Self::default()
        };
        for (value, at) in counters.values.iter_mut().zip((FIRST_VALUE..).step_by(8)) {
            *value = be64(bytes, at).unwrap_or_default();
        }
        Ok(counters)
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[GENERATION..][..4].copy_from_slice(&self.generation.to_be_bytes());
        bytes[VERSION..][..4].copy_from_slice(&NEWEST.to_be_bytes());
        for (value, at) in self.values.iter().zip((FIRST_VALUE..).step_by(8)) {
            bytes[at..at + 8].copy_from_slice(&value.to_be_bytes());
        }
        bytes[UIDVALIDITY..][..4].copy_from_slice(&self.uidvalidity.to_be_bytes());
        let crc = crc32(&bytes[..CRC]);
        bytes[CRC..][..4].copy_from_slice(&crc.to_be_bytes());
        bytes
    }
}

/// How many modification sequences the file holds.
pub const VALUES: usize = 35;

const GENERATION: usize = 0;
const VERSION: usize = 4;
const FIRST_VALUE: usize = 8;
const UIDVALIDITY: usize = 288;
const CRC: usize = 292;
const SIZE: usize = 296;
const NEWEST: u32 = 9;

/// Reads noise; for the fuzz target of the same name.
pub(crate) fn fuzz(data: &[u8]) {
    if let Ok(counters) = Counters::parse(data) {
        assert_eq!(
            Counters::parse(&counters.to_bytes()).as_ref(),
            Ok(&counters),
            "what was written reads back"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counters_round_trip(generation in any::<u32>(), first in any::<u64>(), last in any::<u64>(), uidvalidity in any::<u32>()) {
            let mut counters = Counters { generation, uidvalidity, ..Counters::default() };
            counters.values[0] = first;
            counters.values[VALUES - 1] = last;
            prop_assert_eq!(Counters::parse(&counters.to_bytes()), Ok(counters));
        }

        #[test]
        fn a_flipped_bit_is_noticed(bit in 0..SIZE * 8) {
            let mut bytes = Counters::default().to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Counters::parse(&bytes).is_err());
            fuzz(&bytes);
        }
    }
}
