//! Message flags: the five system flags, keywords, and the bits by which an index record holds them.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of the IMAP system flags that a client may set (RFC 9051, section 2.3.2).
///
/// The bits are those of an index record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SystemFlags(u32);

impl SystemFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// `\Answered`
    pub const ANSWERED: Self = Self(1);
    /// `\Flagged`
    pub const FLAGGED: Self = Self(2);
    /// `\Deleted`
    pub const DELETED: Self = Self(4);
    /// `\Draft`
    pub const DRAFT: Self = Self(8);
    /// `\Seen`
    pub const SEEN: Self = Self(16);
    /// All five.
    pub const ALL: Self = Self(31);

    /// Each flag with its IMAP spelling, in the order in which they are told to clients.
    pub const NAMES: [(Self, &'static str); 5] = [
        (Self::ANSWERED, "\\Answered"),
        (Self::FLAGGED, "\\Flagged"),
        (Self::DRAFT, "\\Draft"),
        (Self::DELETED, "\\Deleted"),
        (Self::SEEN, "\\Seen"),
    ];

    /// The flag of this name, with its backslash, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|&(flag, _)| flag)
    }

    /// The flags among the low bits of an index record's flag word.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The bits of an index record's flag word.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` are in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags without those of `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The flags that are also in `other`.
    pub const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The flags of both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for SystemFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

impl BitOrAssign for SystemFlags {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.with(other);
    }
}

impl fmt::Display for SystemFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for (flag, name) in Self::NAMES {
            if self.contains(flag) {
                write!(f, "{space}{name}")?;
                space = " ";
            }
        }
        Ok(())
    }
}

/// A keyword: a flag that a client made up (RFC 9051, section 2.3.2); an IMAP atom. Compares without regard to
/// ASCII case, prints as first spelt.
#[derive(Clone, Debug)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// The keyword of this name; `None` unless it is an atom of 1 to [`Keyword::MAX_LEN`] bytes.
    pub fn new(name: &str) -> Option<Self> {
        let fits = (1..=Self::MAX_LEN).contains(&name.len());
        (fits && name.bytes().all(is_atom_char)).then(|| Self(name.into()))
    }

    /// The name as first spelt.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The longest name.
    pub const MAX_LEN: usize = 1000;
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Keyword {}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// RFC 3501 `ATOM-CHAR`.
fn is_atom_char(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// The keywords of one message, as bits that refer to the mailbox's table of keywords.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeywordBits(pub [u32; 4]);

impl KeywordBits {
    /// How many keywords a mailbox can hold.
    pub const SLOTS: usize = 128;

    /// Whether the keyword in `slot` is set.
    pub fn contains(self, slot: usize) -> bool {
        self.0
            .get(slot / 32)
            .is_some_and(|word| word >> (slot % 32) & 1 == 1)
    }

    /// Sets the keyword in `slot`; a slot past the table is ignored.
    pub fn insert(&mut self, slot: usize) {
        if let Some(word) = self.0.get_mut(slot / 32) {
            *word |= 1 << (slot % 32);
        }
    }

    /// Whether none is set.
    pub fn is_empty(self) -> bool {
        self.0 == [0; 4]
    }

    /// The slots of the set keywords, ascending.
    pub fn slots(self) -> impl Iterator<Item = usize> {
        (0..Self::SLOTS).filter(move |&slot| self.contains(slot))
    }

    /// The keywords of both.
    pub fn with(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// The keywords without those of `other`.
    pub fn without(self, other: Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    fn zip(self, other: Self, op: impl Fn(u32, u32) -> u32) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([op(a, e), op(b, f), op(c, g), op(d, h)])
    }
}

/// The flags of one message; keyword names are found through the mailbox's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    /// System flags, `\Seen` being this user's.
    pub system: SystemFlags,
    /// Keywords.
    pub keywords: KeywordBits,
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.system.fmt(f)?;
        let mut space = if self.system.is_empty() { "" } else { " " };
        for slot in self.keywords.slots() {
            write!(f, "{space}keyword#{slot}")?;
            space = " ";
        }
        Ok(())
    }
}

/// Flags by name, as a client sends them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagNames {
    /// System flags.
    pub system: SystemFlags,
    /// Keywords.
    pub keywords: Vec<Keyword>,
}

impl FlagNames {
    /// Whether no flag is named.
    pub fn is_empty(&self) -> bool {
        self.system.is_empty() && self.keywords.is_empty()
    }
}

impl From<SystemFlags> for FlagNames {
    fn from(system: SystemFlags) -> Self {
        Self {
            system,
            keywords: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_flags_are_known_in_any_case() {
        assert_eq!(SystemFlags::parse("\\sEEN"), Some(SystemFlags::SEEN));
        assert_eq!(SystemFlags::parse("\\Recent"), None);
        assert_eq!(
            (SystemFlags::SEEN | SystemFlags::ANSWERED).to_string(),
            "\\Answered \\Seen"
        );
    }

    #[test]
    fn a_keyword_is_an_atom_and_ignores_case() {
        assert_eq!(Keyword::new("$Junk"), Keyword::new("$junk"));
        for bad in ["", "a b", "a]", "\\Foo", "gr\u{fc}n", "a{", "a\"", "(", "50%"] {
            assert_eq!(Keyword::new(bad), None, "{bad}");
        }
    }

    #[test]
    fn keyword_bits_are_words_of_thirty_two() {
        let mut bits = KeywordBits::default();
        bits.insert(0);
        bits.insert(33);
        bits.insert(127);
        bits.insert(128);
        assert_eq!(bits.0, [1, 2, 0, 1 << 31]);
        assert_eq!(bits.slots().collect::<Vec<_>>(), [0, 33, 127]);
    }
}
