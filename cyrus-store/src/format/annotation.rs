//! Keys and values of `annotations.db` and `cyrus.annotations`.

use super::{Damage, Fault, be32, be64};

/// The user part of a key that stands for the mailbox's owner.
pub const OWNER_TOKEN: &str = "[.OwNeR.]";

/// The key of an annotation: `scope` is a mailbox's unique id, a decimal UID, or empty for the server;
/// `userid` is empty for a shared value.
pub fn key(scope: &str, entry: &str, userid: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(scope.len() + entry.len() + userid.len() + 3);
    for part in [scope, entry, userid] {
        key.extend_from_slice(part.as_bytes());
        key.push(0);
    }
    key
}

/// Takes a key apart into scope, entry and userid.
pub fn split_key(key: &[u8]) -> Option<(&str, &str, &str)> {
    let mut parts = key
        .split(|&byte| byte == 0)
        .map(|part| std::str::from_utf8(part).ok());
    Some((
        parts.next()??,
        parts.next()??,
        parts.next().flatten().unwrap_or_default(),
    ))
}

/// The value of an annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnotationValue {
    /// The value itself.
    pub value: Vec<u8>,
    /// Modification sequence; 0 for server and mailbox annotations.
    pub modseq: u64,
    /// Removed; the row stays so that changes can be told.
    pub deleted: bool,
}

impl AnnotationValue {
    /// Reads a row's value; all after the value proper may be missing.
    ///
    /// # Errors
    /// The row ends within the value.
    pub fn parse(row: &[u8]) -> Result<Self, Fault> {
        let truncated = || Fault::new(row.len(), Damage::Truncated);
        let length = be32(row, 0).ok_or_else(truncated)? as usize;
        let value = row
            .get(LENGTH_SIZE..LENGTH_SIZE.saturating_add(length))
            .ok_or_else(truncated)?;
        let rest = row.get(LENGTH_SIZE + length + 1..).unwrap_or_default();
        let after_type = rest
            .iter()
            .position(|&byte| byte == 0)
            .and_then(|end| rest.get(end + 1 + TYPE_PADDING..));
        let after_type = after_type.unwrap_or_default();
        Ok(Self {
            value: value.to_vec(),
            modseq: be64(after_type, 0).unwrap_or_default(),
            deleted: after_type.get(8).is_some_and(|flags| flags & FLAG_DELETED != 0),
        })
    }

    /// The bytes of the row's value.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(self.value.len() + 40);
        row.extend_from_slice(&(self.value.len() as u32).to_be_bytes());
        row.extend_from_slice(&[0; LENGTH_SIZE - 4]);
        row.extend_from_slice(&self.value);
        row.extend_from_slice(b"\0text/plain\0");
        row.extend_from_slice(&[0; TYPE_PADDING]);
        row.extend_from_slice(&self.modseq.to_be_bytes());
        row.push(if self.deleted { FLAG_DELETED } else { 0 });
        row
    }
}

/// Octets of the length: a 32-bit number in the room that a 64-bit host gave it.
const LENGTH_SIZE: usize = 8;
const TYPE_PADDING: usize = 8;
const FLAG_DELETED: u8 = 1;

/// Reads noise; for the fuzz target of the same name.
pub(crate) fn fuzz(data: &[u8]) {
    split_key(data);
    if let Ok(value) = AnnotationValue::parse(data) {
        assert_eq!(
            AnnotationValue::parse(&value.to_bytes()).as_ref(),
            Ok(&value),
            "what was written reads back"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_three_strings_each_ended_by_zero() {
        let bytes = key("abc", "/comment", OWNER_TOKEN);
        assert_eq!(bytes, b"abc\0/comment\0[.OwNeR.]\0");
        assert_eq!(split_key(&bytes), Some(("abc", "/comment", OWNER_TOKEN)));
    }

    #[test]
    fn a_row_that_ends_after_the_value_is_read() {
        let value = AnnotationValue::parse(b"\0\0\0\x02\0\0\0\0hi").unwrap();
        assert_eq!(value.value, b"hi");
        assert!(AnnotationValue::parse(b"\0\0\0\x03\0\0\0\0hi").is_err());
    }

    proptest! {
        #[test]
        fn rows_round_trip(value in prop::collection::vec(any::<u8>(), 0..50), modseq in any::<u64>(), deleted in any::<bool>()) {
            let row = AnnotationValue { value, modseq, deleted };
            prop_assert_eq!(AnnotationValue::parse(&row.to_bytes()), Ok(row));
        }

        #[test]
        fn noise_is_no_trouble(noise in prop::collection::vec(any::<u8>(), 0..60)) {
            fuzz(&noise);
        }
    }
}
