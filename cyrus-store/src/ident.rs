//! Identities: message GUIDs, mailbox unique ids, partitions.

use std::fmt;
use std::sync::Arc;

/// The SHA-1 of a message file: what makes two messages the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 20]);

impl Guid {
    /// The GUID of these octets.
    pub fn of(message: &[u8]) -> Self {
        use sha1::Digest;
        Self(sha1::Sha1::digest(message).into())
    }

    /// The IMAP EMAILID (RFC 8474): `M` and the first 24 hexadecimal digits.
    pub fn email_id(&self) -> String {
        let mut id = String::with_capacity(25);
        id.push('M');
        for byte in &self.0[..12] {
            push_hex(&mut id, *byte);
        }
        id
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = String::with_capacity(40);
        self.0.iter().for_each(|byte| push_hex(&mut hex, *byte));
        f.write_str(&hex)
    }
}

fn push_hex(out: &mut String, byte: u8) {
    for digit in [byte >> 4, byte & 15] {
        out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
    }
}

/// A mailbox's unique id: given at creation, kept through every rename; also its IMAP MAILBOXID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId(Arc<str>);

impl MailboxId {
    /// The id with this text; `None` unless it is 2 to 255 ASCII letters, digits, `-` and `_`.
    pub fn new(text: &str) -> Option<Self> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        ((2..=255).contains(&text.len()) && text.bytes().all(good)).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a partition: ASCII letters and digits, as in `partition-NAME` of `imapd.conf`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(Arc<str>);

impl Partition {
    /// The partition of this name; `None` unless it is 1 to 80 letters, digits, `-`, `_` or `.`.
    pub fn new(name: &str) -> Option<Self> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        ((1..=80).contains(&name.len()) && name.bytes().all(good)).then(|| Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_the_sha1_of_the_message() {
        let guid = Guid::of(b"abc");
        assert_eq!(guid.to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(guid.email_id(), "Ma9993e364706816aba3e2571");
    }

    #[test]
    fn ids_cannot_leave_their_directory() {
        for bad in ["", "a", "../x", "a/b", "a b", "..", "a\0b"] {
            assert_eq!(MailboxId::new(bad), None, "{bad:?}");
        }
        assert!(MailboxId::new("lcf58ovflp5izrxhuots5ego").is_some());
        assert!(MailboxId::new("67b8a5d8-1d54-4a19-9d0e-3cd3b1e6f0aa").is_some());
    }
}
