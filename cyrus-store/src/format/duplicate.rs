//! Keys and values of `deliver.db`, by which a message is known to have come before.
//!
//! Alone among Cyrus's files, the numbers are in the byte order of the host.

/// The key of a delivery: message-id, recipient (a mailbox's unique id, or a name of Sieve's that begins with a dot),
/// and the text of the Date: field, each ended by a zero. `None` if one of them contains a zero.
pub fn key(message_id: &[u8], recipient: &[u8], date: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(message_id.len() + recipient.len() + date.len() + 3);
    for part in [message_id, recipient, date] {
        if part.contains(&0) {
            return None;
        }
        key.extend_from_slice(part);
        key.push(0);
    }
    Some(key)
}

/// The recipient in a key.
pub fn recipient(key: &[u8]) -> Option<&[u8]> {
    key.split(|&byte| byte == 0).nth(1)
}

/// A delivery that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When, Unix seconds.
    pub time: u64,
    /// The UID that the message got.
    pub uid: u64,
}

impl Mark {
    /// Reads a row's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (time, rest) = value.split_first_chunk::<8>()?;
        let (uid, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            time: u64::from_ne_bytes(*time),
            uid: u64::from_ne_bytes(*uid),
        })
    }

    /// The bytes of the row's value.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.time.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.uid.to_ne_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_three_strings_each_ended_by_zero() {
        assert_eq!(key(b"<a@b>", b"abcd", b"today").unwrap(), b"<a@b>\0abcd\0today\0");
        assert_eq!(recipient(b"<a@b>\0abcd\0today\0"), Some(&b"abcd"[..]));
        assert_eq!(key(b"<a\0b>", b"abcd", b"today"), None);
    }

    proptest! {
        #[test]
        fn marks_round_trip(time in any::<u64>(), uid in any::<u64>()) {
            let mark = Mark { time, uid };
            prop_assert_eq!(Mark::parse(&mark.to_bytes()), Some(mark));
        }
    }
}
