//! Who an entry of an access control list is about.

use std::fmt;

use crate::Mechanism;

/// The subject of one entry of a list: a userid, `group:x`, `anyone` or `anonymous`, perhaps with a `-` before it.
///
/// An identifier that starts with `-` takes rights away (RFC 4314, section 2). What the rest means is up to the
/// [`Mechanism`]; two identifiers are equal when their bytes are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier(Box<str>);

impl Identifier {
    /// Everybody, logged in or not.
    pub const ANYONE: &'static str = "anyone";
    /// The userid of a session that has not logged in, or that logged in as nobody in particular.
    pub const ANONYMOUS: &'static str = "anonymous";
    /// The longest userid, in bytes.
    pub const MAX_USERID: usize = 80;

    /// The identifier that a client wrote, in the spelling that `mechanism` stores.
    ///
    /// A leading `-` is put aside, and back before the canonical form. So `-bob` is negative, and `--bob` the
    /// negative of a user `-bob`.
    ///
    /// # Errors
    /// The text names no user or group of the mechanism.
    pub fn canonical(text: &str, mechanism: &dyn Mechanism) -> Result<Self, IdentifierError> {
        match text.strip_prefix('-') {
            // Cyrus accepts `-` alone; it is nobody, so the entry never applies.
            Some("") => Ok(Self("-".into())),
            Some(subject) => {
                let subject = mechanism.canonical(subject)?;
                Self::stored(&format!("-{subject}"))
            }
            None => Self::stored(&mechanism.canonical(text)?),
        }
    }

    /// An identifier as it lies in a stored list, taken as it is.
    ///
    /// # Errors
    /// It is empty or holds a byte that the text form of a list cannot carry: TAB, CR, LF or NUL.
    pub fn stored(text: &str) -> Result<Self, IdentifierError> {
        if text.is_empty() {
            return Err(IdentifierError::Empty);
        }
        match text
            .bytes()
            .position(|byte| matches!(byte, b'\t' | b'\r' | b'\n' | 0))
        {
            Some(at) => Err(bad_byte(text, at)),
            None => Ok(Self(text.into())),
        }
    }

    /// The text, with the `-` of a negative identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether entries of this identifier take rights away.
    pub fn is_negative(&self) -> bool {
        self.0.starts_with('-')
    }

    /// The user or group meant, without the `-` of a negative identifier.
    pub fn subject(&self) -> &str {
        self.0.strip_prefix('-').unwrap_or(&self.0)
    }

    /// The name of the group, if the subject is `group:name`.
    pub fn group(&self) -> Option<&str> {
        self.subject().strip_prefix(GROUP_PREFIX)
    }

    /// Whether the subject is everybody.
    pub fn is_anyone(&self) -> bool {
        self.subject() == Self::ANYONE
    }
}

impl AsRef<str> for Identifier {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifier({:?})", self.0)
    }
}

/// Why a text is no identifier. The texts are short enough to show to a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentifierError {
    /// Nothing was given.
    #[error("an identifier cannot be empty")]
    Empty,
    /// Longer than [`Identifier::MAX_USERID`] bytes.
    #[error(
        "identifier of {length} bytes; at most {} are allowed",
        Identifier::MAX_USERID
    )]
    TooLong {
        /// The length in bytes.
        length: usize,
    },
    /// A byte that no identifier of this kind may have.
    #[error("byte 0x{byte:02x} at position {at} is not allowed in an identifier")]
    BadByte {
        /// The byte.
        byte: u8,
        /// Its position, from 0.
        at: usize,
    },
    /// `group:` and a name that the group database does not have.
    #[error("there is no group {0:?}")]
    UnknownGroup(String),
    /// The group database could not be asked.
    #[error("cannot look up group {group:?}: {reason}")]
    GroupLookup {
        /// The group asked for.
        group: String,
        /// What the system said.
        reason: String,
    },
    /// The mechanism refuses the identifier for a reason of its own.
    #[error("{0}")]
    Refused(String),
}

/// Checks a userid: its length and its bytes, as the `unix` mechanism of Cyrus does. Case is left alone.
///
/// # Errors
/// It is empty, longer than [`Identifier::MAX_USERID`] bytes, or holds a control byte, an 8-bit byte, DEL, a
/// quote, a backslash or one of `% & * / : ?`.
pub(crate) fn check_userid(userid: &str) -> Result<(), IdentifierError> {
    if userid.is_empty() {
        return Err(IdentifierError::Empty);
    }
    if userid.len() > Identifier::MAX_USERID {
        return Err(IdentifierError::TooLong { length: userid.len() });
    }
    match userid.bytes().position(is_refused) {
        Some(at) => Err(bad_byte(userid, at)),
        None => Ok(()),
    }
}

/// Cyrus 3.6 answers `NO Invalid identifier` for all of these. For `"` and `\` it does so only after it has stored
/// the entry, and from then on refuses every change of that list; here they are refused before anything happens.
fn is_refused(byte: u8) -> bool {
    !matches!(byte, b' '..=b'~') || matches!(byte, b'%' | b'&' | b'*' | b'/' | b':' | b'?' | b'"' | b'\\')
}

fn bad_byte(text: &str, at: usize) -> IdentifierError {
    IdentifierError::BadByte {
        byte: text.as_bytes().get(at).copied().unwrap_or(0),
        at,
    }
}

pub(crate) const GROUP_PREFIX: &str = "group:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s067_a_leading_hyphen_makes_an_identifier_negative() {
        let id = Identifier::stored("-group:staff").unwrap();
        assert!(id.is_negative());
        assert_eq!(id.subject(), "group:staff");
        assert_eq!(id.group(), Some("staff"));
        assert_eq!(Identifier::stored("--bob").unwrap().subject(), "-bob");
        assert!(!Identifier::stored("bob").unwrap().is_negative());
    }

    #[test]
    fn stored_text_may_hold_what_a_client_could_not_set() {
        assert_eq!(Identifier::stored("a\"b").unwrap().as_str(), "a\"b");
        assert_eq!(
            Identifier::stored("a\tb"),
            Err(IdentifierError::BadByte { byte: b'\t', at: 1 })
        );
        assert_eq!(Identifier::stored(""), Err(IdentifierError::Empty));
    }

    /// Cyrus 3.6.1 refuses exactly these of the bytes 1 to 255 in SETACL and login.
    #[test]
    fn s062_a_userid_has_no_control_byte_no_8_bit_byte_and_no_reserved_character() {
        let allowed: String = (0..=127u8)
            .filter(|&byte| !is_refused(byte))
            .map(char::from)
            .collect();
        assert_eq!(
            allowed,
            " !#$'()+,-.0123456789;<=>@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~"
        );
        assert_eq!(
            check_userid("caf\u{e9}"),
            Err(IdentifierError::BadByte { byte: 0xc3, at: 3 })
        );
    }

    #[test]
    fn s062_a_userid_has_at_most_80_bytes() {
        assert_eq!(check_userid(&"x".repeat(80)), Ok(()));
        assert_eq!(
            check_userid(&"x".repeat(81)),
            Err(IdentifierError::TooLong { length: 81 })
        );
        assert_eq!(check_userid(""), Err(IdentifierError::Empty));
    }
}
