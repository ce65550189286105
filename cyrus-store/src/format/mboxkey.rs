//! A row of a user's mboxkey database: the key with which he authorizes URLs of one mailbox (RFC 4467).
//!
//! The row's key is the internal name of the mailbox, its value a version in network order and 16 random octets.

use super::{Damage, Fault};

/// Octets of a key.
pub const KEY_LENGTH: usize = 16;
const VERSION: u16 = 1;

/// A key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u8; KEY_LENGTH]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)") // it is a secret
    }
}

impl Key {
    /// Reads the value of a row.
    ///
    /// # Errors
    /// Another version, or another size.
    pub fn parse(value: &[u8]) -> Result<Self, Fault> {
        let (version, key) = value
            .split_first_chunk::<2>()
            .ok_or_else(|| Fault::new(0, Damage::Expected("version of a mailbox key")))?;
        match u16::from_be_bytes(*version) {
            VERSION => {}
            version => return Err(Fault::new(0, Damage::Version(u32::from(version)))),
        }
        match <[u8; KEY_LENGTH]>::try_from(key) {
            Ok(key) => Ok(Self(key)),
            Err(_) => Err(Fault::new(2, Damage::Expected("16 octets of a mailbox key"))),
        }
    }

    /// The value of the row.
    pub fn to_bytes(self) -> [u8; KEY_LENGTH + 2] {
        let mut value = [0; KEY_LENGTH + 2];
        let (version, key) = value.split_at_mut(2);
        version.copy_from_slice(&VERSION.to_be_bytes());
        key.copy_from_slice(&self.0);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_versions_and_sizes_are_damage() {
        assert!(Key::parse(&[0, 1]).is_err() && Key::parse(b"").is_err());
        assert_eq!(Key::parse(&[0, 2, 3]), Err(Fault::new(0, Damage::Version(2))));
        assert!(Key::parse(&[0; 18]).is_err() && Key::parse(&[1; 19]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(octets in any::<[u8; KEY_LENGTH]>()) {
            prop_assert_eq!(Key::parse(&Key(octets).to_bytes()), Ok(Key(octets)));
        }

        #[test]
        fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..30)) {
            if let Ok(key) = Key::parse(&octets) {
                prop_assert_eq!(key.to_bytes().to_vec(), octets);
            }
        }
    }
}
