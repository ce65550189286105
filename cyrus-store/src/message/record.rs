//! A record of `cyrus.cache`: ten items, each a 32-bit big-endian length, the data, and zeros up to four bytes.

use super::headers::is_cached_header;
use super::section::Sections;
use super::subset::{Fields, select_fields};

/// Items in a record, in their order.
const ITEMS: usize = 10;

/// Why a cache record cannot be used; the message file must be parsed instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CacheDamage {
    /// The record ends inside an item.
    #[error("cache record ends inside item {item}")]
    Short {
        /// Number of the item, from 0.
        item: usize,
    },
    /// The SECTION item contradicts itself.
    #[error("cache record has a broken SECTION item")]
    Sections,
    /// The CRC is not that of the index record.
    #[error("cache record has another CRC than the index says")]
    Crc,
}

/// A cache record, borrowed from the mapped cache file.
#[derive(Clone, Copy, Debug)]
pub struct CacheRecord<'a> {
    bytes: &'a [u8],
    items: [&'a [u8]; ITEMS],
}

impl<'a> CacheRecord<'a> {
    /// Reads the record that `bytes` begin with; more may follow.
    ///
    /// # Errors
    /// [`CacheDamage::Short`] if an item does not fit in.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CacheDamage> {
        let mut items = [&[][..]; ITEMS];
        let mut rest = bytes;
        for (item, slot) in items.iter_mut().enumerate() {
            (*slot, rest) = split_item(rest).ok_or(CacheDamage::Short { item })?;
        }
        let size = bytes.len() - rest.len();
        Ok(Self {
            bytes: bytes.get(..size).unwrap_or_default(),
            items,
        })
    }

    /// Reads the record that `bytes` begin with, whose index record says it has the CRC `crc`.
    ///
    /// # Errors
    /// Those of [`CacheRecord::parse`], and [`CacheDamage::Crc`].
    pub fn parse_checked(bytes: &'a [u8], crc: u32) -> Result<Self, CacheDamage> {
        let record = Self::parse(bytes)?;
        if record.crc() != crc {
            return Err(CacheDamage::Crc);
        }
        Ok(record)
    }

    /// The record with its lengths and padding, as it is in the file.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// CRC32 of the record, as the index keeps it in `cache_crc`.
    pub fn crc(&self) -> u32 {
        crc32fast::hash(self.bytes)
    }

    /// ENVELOPE, ready for a FETCH response.
    pub fn envelope(&self) -> &'a [u8] {
        self.items[0]
    }

    /// BODYSTRUCTURE, ready for a FETCH response.
    pub fn bodystructure(&self) -> &'a [u8] {
        self.items[1]
    }

    /// BODY, ready for a FETCH response.
    pub fn body(&self) -> &'a [u8] {
        self.items[2]
    }

    /// Where the parts of the message are.
    ///
    /// # Errors
    /// [`CacheDamage::Sections`] if the item contradicts itself.
    pub fn sections(&self) -> Result<Sections<'a>, CacheDamage> {
        Sections::parse(self.items[3])
    }

    /// The header fields that the cache keeps, each with its CRLF, in the order of the message.
    pub fn headers(&self) -> &'a [u8] {
        self.items[4]
    }

    /// The decoded address list of From.
    pub fn from(&self) -> &'a [u8] {
        self.items[5]
    }

    /// The decoded address list of To.
    pub fn to(&self) -> &'a [u8] {
        self.items[6]
    }

    /// The decoded address list of Cc.
    pub fn cc(&self) -> &'a [u8] {
        self.items[7]
    }

    /// The decoded address list of Bcc.
    pub fn bcc(&self) -> &'a [u8] {
        self.items[8]
    }

    /// The decoded subject as an IMAP string, NIL if there is none.
    pub fn subject(&self) -> &'a [u8] {
        self.items[9]
    }

    /// The decoded subject itself; `None` if there is none or the item is no string.
    pub fn subject_text(&self) -> Option<&'a [u8]> {
        let (string, rest) = split_nstring(self.subject())?;
        string.filter(|_| rest.is_empty())
    }

    /// `BODY[HEADER.FIELDS (…)]` from the cache alone, with the empty line at its end.
    ///
    /// `None` if a record of `cache_version` does not hold all of `names`: then the message's header is needed.
    pub fn header_fields<N: AsRef<[u8]>>(&self, names: &[N], cache_version: u16) -> Option<Vec<u8>> {
        let cached = names
            .iter()
            .all(|name| is_cached_header(name.as_ref(), cache_version));
        cached.then(|| select_fields(self.headers(), Fields::Only(names)))
    }
}

/// Splits the item at the beginning of `bytes` off, with its padding.
fn split_item(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let padded = length.checked_next_multiple_of(4)?;
    Some((rest.get(..length)?, rest.get(padded..)?))
}

/// Appends `item` with its length and padding to a record.
pub(super) fn push_item(item: &[u8], record: &mut Vec<u8>) {
    record.extend_from_slice(&super::headers::clamp(item.len()).to_be_bytes());
    record.extend_from_slice(item);
    record.resize(record.len().next_multiple_of(4), 0);
}

/// Splits an IMAP `nstring` (NIL, quoted or literal) off the beginning of `text`; the first result is `None` for NIL.
///
/// Quoted strings are taken as Cyrus writes them into the cache, without any quoting inside. `None` if there is no
/// string.
pub fn split_nstring(text: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    if let Some(rest) = text.strip_prefix(b"NIL") {
        return Some((None, rest));
    }
    if let Some(rest) = text.strip_prefix(b"\"") {
        let (string, rest) = rest.split_at_checked(memchr::memchr(b'"', rest)?)?;
        return Some((Some(string), rest.get(1..)?));
    }
    let rest = text.strip_prefix(b"{")?;
    let (digits, rest) = rest.split_at_checked(memchr::memchr(b'}', rest)?)?;
    let size: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (string, rest) = rest.strip_prefix(b"}\r\n")?.split_at_checked(size)?;
    Some((Some(string), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nstrings_of_each_form_are_split_off() {
        assert_eq!(split_nstring(b"NIL x"), Some((None, &b" x"[..])));
        assert_eq!(split_nstring(b"\"a b\" x"), Some((Some(&b"a b"[..]), &b" x"[..])));
        assert_eq!(
            split_nstring(b"{3}\r\na\"b x"),
            Some((Some(&b"a\"b"[..]), &b" x"[..]))
        );
        for text in [&b"\"a"[..], b"{4}\r\nabc", b"{4}abcd", b"{-1}\r\n", b"x", b""] {
            assert_eq!(split_nstring(text), None);
        }
    }

    #[test]
    fn a_record_cut_short_names_the_item() {
        let mut bytes = Vec::new();
        for item in 0..10_u8 {
            push_item(&vec![item; usize::from(item)], &mut bytes);
        }
        let record = CacheRecord::parse(&bytes).unwrap();
        assert_eq!(
            (record.as_bytes().len(), record.subject()),
            (bytes.len(), &[9; 9][..])
        );
        assert_eq!(
            CacheRecord::parse(&bytes[..bytes.len() - 1]).unwrap_err(),
            CacheDamage::Short { item: 9 }
        );
        assert_eq!(
            CacheRecord::parse(&bytes[..5]).unwrap_err(),
            CacheDamage::Short { item: 1 }
        );
        assert_eq!(
            CacheRecord::parse_checked(&bytes, !record.crc()).unwrap_err(),
            CacheDamage::Crc
        );
    }
}
