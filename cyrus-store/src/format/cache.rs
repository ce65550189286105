//! `cyrus.cache`: what clients ask of a message most, ten items a message, at the offsets that the index gives.

use super::{Damage, Fault, be32, crc32};

/// The ten items of a cache record, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheItem {
    /// IMAP ENVELOPE.
    Envelope,
    /// IMAP BODYSTRUCTURE.
    BodyStructure,
    /// IMAP BODY, without extension data.
    Body,
    /// Offsets and sizes of the sections, binary.
    Section,
    /// Selected header fields, as they stand in the message.
    Headers,
    /// Decoded From: addresses.
    From,
    /// Decoded To: addresses.
    To,
    /// Decoded Cc: addresses.
    Cc,
    /// Decoded Bcc: addresses.
    Bcc,
    /// Decoded subject as an IMAP string.
    Subject,
}

/// How many items a record has.
pub const ITEMS: usize = 10;

/// Octets before the first record: the generation.
pub const FIRST_OFFSET: u64 = 4;

/// The largest cache record that is read. A message of many thousand parts has a few megabytes.
pub const MAX_RECORD: usize = 256 << 20;

/// A cache record in the file, its items found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheView<'a> {
    items: [&'a [u8]; ITEMS],
    bytes: &'a [u8],
}

impl<'a> CacheView<'a> {
    /// The record that begins at `offset` of `file`.
    ///
    /// # Errors
    /// The file ends within the record, or the offset is zero.
    pub fn parse(file: &'a [u8], offset: u64) -> Result<Self, Fault> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        if offset < FIRST_OFFSET {
            return Err(Fault {
                at: offset,
                damage: Damage::Impossible("cache offset"),
            });
        }
        let mut at = start;
        let mut items = [&file[..0]; ITEMS];
        for item in &mut items {
            let truncated = Fault::new(at.min(file.len()), Damage::Truncated);
            let length = be32(file, at).ok_or(truncated.clone())? as usize;
            if length > MAX_RECORD {
                return Err(Fault::new(at, Damage::Impossible("length of a cache item")));
            }
            let padded = length.next_multiple_of(4);
            let data = at
                .checked_add(4)
                .and_then(|from| file.get(from..from.checked_add(padded)?));
            let data = data.ok_or(truncated)?;
            *item = &data[..length];
            at += 4 + padded;
        }
        Ok(Self {
            items,
            bytes: &file[start..at],
        })
    }

    /// The item.
    pub fn item(&self, item: CacheItem) -> &'a [u8] {
        self.items[item as usize]
    }

    /// All items.
    pub fn items(&self) -> &[&'a [u8]; ITEMS] {
        &self.items
    }

    /// The whole record, lengths and padding included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The CRC that the index record must have.
    pub fn crc(&self) -> u32 {
        crc32(self.bytes)
    }
}

/// The bytes of a record of these items.
pub fn record_bytes(items: &[&[u8]; ITEMS]) -> Vec<u8> {
    let size: usize = items.iter().map(|item| 4 + item.len().next_multiple_of(4)).sum();
    let mut out = Vec::with_capacity(size);
    for item in items {
        out.extend_from_slice(&(item.len() as u32).to_be_bytes());
        out.extend_from_slice(item);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// The generation at the start of a cache file.
pub fn generation(file: &[u8]) -> Option<u32> {
    be32(file, 0)
}

/// Reads noise; for the fuzz target of the same name.
pub(crate) fn fuzz(data: &[u8]) {
    for offset in 0..data.len().min(40) as u64 {
        if let Ok(view) = CacheView::parse(data, offset) {
            let bytes = record_bytes(view.items());
            assert_eq!(bytes.len(), view.bytes().len(), "only padding may differ");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_file_is_truncated() {
        let bytes = record_bytes(&[b"abcde"; ITEMS]);
        let file = [&[0, 0, 0, 1][..], &bytes].concat();
        assert_eq!(
            CacheView::parse(&file[..file.len() - 1], 4).unwrap_err().damage,
            Damage::Truncated
        );
        assert!(CacheView::parse(&file, 0).is_err());
        assert!(CacheView::parse(&file, u64::MAX).is_err());
        assert_eq!(generation(&file), Some(1));
    }

    proptest! {
        #[test]
        fn records_round_trip(items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), ITEMS), before in 1..5_usize) {
            let refs: Vec<&[u8]> = items.iter().map(Vec::as_slice).collect();
            let refs: [&[u8]; ITEMS] = refs.try_into().unwrap();
            let bytes = record_bytes(&refs);
            let file = [vec![0; before * 4], bytes.clone(), vec![7; 9]].concat();
            let view = CacheView::parse(&file, before as u64 * 4).unwrap();
            prop_assert_eq!(view.items(), &refs);
            prop_assert_eq!(view.bytes(), &bytes[..]);
            prop_assert_eq!(view.crc(), crc32(&bytes));
        }

        #[test]
        fn noise_is_no_trouble(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz(&noise);
        }
    }
}
