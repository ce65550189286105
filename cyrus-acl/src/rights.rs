//! Access rights: a set of letters, read from and written as text.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

/// A set of access rights (RFC 4314, section 2.1), one bit per letter.
///
/// Parsing accepts the letters in any order; printing is always in the order `lrswipkxtecdan0123456789`, in which
/// `c` and `d` are the macros of RFC 2086: they are printed beside any right that they stand for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rights(u32);

impl Rights {
    /// No right at all.
    pub const NONE: Self = Self(0);
    /// `l`: the mailbox is seen by LIST, LSUB and SUBSCRIBE.
    pub const LOOKUP: Self = Self(0x1);
    /// `r`: SELECT, FETCH, SEARCH, STATUS, COPY from.
    pub const READ: Self = Self(0x2);
    /// `s`: keep `\Seen` across sessions.
    pub const SEEN: Self = Self(0x4);
    /// `w`: change flags and keywords other than `\Seen` and `\Deleted`.
    pub const WRITE: Self = Self(0x8);
    /// `i`: APPEND and COPY into the mailbox.
    pub const INSERT: Self = Self(0x10);
    /// `p`: send mail to the mailbox's submission address.
    pub const POST: Self = Self(0x20);
    /// `k`: create mailboxes below this one, or rename to there.
    pub const CREATE: Self = Self(0x40);
    /// `x`: delete or rename the mailbox itself.
    pub const DELETE_MAILBOX: Self = Self(0x80);
    /// `t`: set and clear `\Deleted`.
    pub const DELETE_MESSAGES: Self = Self(0x100);
    /// `e`: EXPUNGE, and expunge as part of CLOSE.
    pub const EXPUNGE: Self = Self(0x200);
    /// `a`: administer: SETACL, DELETEACL, GETACL, LISTRIGHTS.
    pub const ADMIN: Self = Self(0x400);
    /// `n`: write annotations (RFC 5257).
    pub const ANNOTATE: Self = Self(0x800);
    /// `1`: defined by the site, as are the other digits.
    pub const USER1: Self = Self(0x1000);
    /// `2`
    pub const USER2: Self = Self(0x2000);
    /// `3`
    pub const USER3: Self = Self(0x4000);
    /// `4`
    pub const USER4: Self = Self(0x8000);
    /// `5`
    pub const USER5: Self = Self(0x1_0000);
    /// `6`
    pub const USER6: Self = Self(0x2_0000);
    /// `7`
    pub const USER7: Self = Self(0x4_0000);
    /// `8`
    pub const USER8: Self = Self(0x8_0000);
    /// `9`
    pub const USER9: Self = Self(0x10_0000);
    /// `0`
    pub const USER0: Self = Self(0x20_0000);
    /// Every right with a meaning: `lrswipkxtecdan`, without the digits.
    pub const ALL: Self = Self(0xfff);

    /// Reads the letters of a client or of a configuration file, macros included.
    ///
    /// `c` stands for `k`, `d` for `t` and `e`, and the letter named by `deleteright` for `x` as well. A macro
    /// counts only when none of its members is spelled out (RFC 4314, section 2.1.1): `d` is `te`, `dt` is `t`.
    ///
    /// # Errors
    /// Names the first letter that is no right. Letters are case-sensitive.
    pub fn parse(text: &str, deleteright: DeleteRight) -> Result<Self, RightsError> {
        match read(text, deleteright) {
            (_, Some(letter)) => Err(RightsError { letter }),
            (rights, None) => Ok(rights),
        }
    }

    /// Reads the letters of a stored list, skipping those that are no right, with `deleteright` at its default.
    pub fn parse_stored(text: &str) -> Self {
        Self::parse_stored_with(text, DeleteRight::default())
    }

    /// Reads the letters of a stored list, skipping those that are no right.
    pub fn parse_stored_with(text: &str, deleteright: DeleteRight) -> Self {
        read(text, deleteright).0
    }

    /// The letters, as a server with this `deleteright` prints them; `Display` prints those of the default.
    ///
    /// `x` alone is `xc` by default and `xd` with `deleteright: d`.
    pub fn to_text(self, deleteright: DeleteRight) -> String {
        LETTERS
            .iter()
            .filter(|&&(_, kind)| self.intersects(kind.members(deleteright)))
            .map(|&(c, _)| c)
            .collect()
    }

    /// The bits, for indexes that store them as a number.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The set with these bits; bits that are no right are dropped.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0x3f_ffff)
    }

    /// Whether every right of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any right of `other` is in this set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The rights in either set.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The rights in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The rights left once the negative rights `denied` are taken away.
    pub const fn without(self, denied: Self) -> Self {
        Self(self.0 & !denied.0)
    }

    /// Whether no right is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_text(DeleteRight::default()))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({self})")
    }
}

impl BitOr for Rights {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Rights {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl BitAnd for Rights {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        self.intersection(other)
    }
}

impl Sub for Rights {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.without(other)
    }
}

/// imapd.conf's `deleteright`: the letter that older clients use for the right to delete a mailbox, `c` by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeleteRight(char);

impl DeleteRight {
    /// The letter that also grants `x`: `c` or `d` change what that macro stands for; any other letter adds `x`
    /// to itself.
    pub const fn new(letter: char) -> Self {
        Self(letter)
    }

    /// The letter itself.
    pub const fn letter(self) -> char {
        self.0
    }

    fn grants_x(self, letter: char) -> Rights {
        if self.0 == letter {
            Rights::DELETE_MAILBOX
        } else {
            Rights::NONE
        }
    }
}

impl Default for DeleteRight {
    fn default() -> Self {
        Self('c')
    }
}

/// A letter that is no right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The {letter} right is not supported")]
pub struct RightsError {
    /// The first such letter of the text.
    pub letter: char,
}

/// What a letter stands for.
#[derive(Clone, Copy)]
enum Kind {
    Right(Rights),
    /// A letter of RFC 2086, with the members that it has whatever `deleteright` says.
    Macro(char, Rights),
}

impl Kind {
    fn members(self, deleteright: DeleteRight) -> Rights {
        match self {
            Kind::Right(right) => right,
            Kind::Macro(letter, members) => members | deleteright.grants_x(letter),
        }
    }
}

/// Reads all letters; returns the rights and the first unknown letter.
fn read(text: &str, deleteright: DeleteRight) -> (Rights, Option<char>) {
    let mut spelled = Rights::NONE;
    let mut macros = [None; 2];
    let mut unknown = None;
    for letter in text.chars() {
        match LETTERS.iter().find(|&&(known, _)| known == letter) {
            Some(&(_, Kind::Right(right))) => spelled |= right | deleteright.grants_x(letter),
            Some(&(_, kind @ Kind::Macro(..))) => macros[usize::from(letter == 'd')] = Some(kind),
            None => unknown = unknown.or(Some(letter)),
        }
    }
    let implied = macros
        .into_iter()
        .flatten()
        .map(|kind| kind.members(deleteright))
        .filter(|&members| !spelled.intersects(members))
        .fold(Rights::NONE, Rights::union);
    (spelled | implied, unknown)
}

/// Every letter in the order in which it is printed.
const LETTERS: [(char, Kind); 24] = [
    ('l', Kind::Right(Rights::LOOKUP)),
    ('r', Kind::Right(Rights::READ)),
    ('s', Kind::Right(Rights::SEEN)),
    ('w', Kind::Right(Rights::WRITE)),
    ('i', Kind::Right(Rights::INSERT)),
    ('p', Kind::Right(Rights::POST)),
    ('k', Kind::Right(Rights::CREATE)),
    ('x', Kind::Right(Rights::DELETE_MAILBOX)),
    ('t', Kind::Right(Rights::DELETE_MESSAGES)),
    ('e', Kind::Right(Rights::EXPUNGE)),
    ('c', Kind::Macro('c', Rights::CREATE)),
    (
        'd',
        Kind::Macro('d', Rights::DELETE_MESSAGES.union(Rights::EXPUNGE)),
    ),
    ('a', Kind::Right(Rights::ADMIN)),
    ('n', Kind::Right(Rights::ANNOTATE)),
    ('0', Kind::Right(Rights::USER0)),
    ('1', Kind::Right(Rights::USER1)),
    ('2', Kind::Right(Rights::USER2)),
    ('3', Kind::Right(Rights::USER3)),
    ('4', Kind::Right(Rights::USER4)),
    ('5', Kind::Right(Rights::USER5)),
    ('6', Kind::Right(Rights::USER6)),
    ('7', Kind::Right(Rights::USER7)),
    ('8', Kind::Right(Rights::USER8)),
    ('9', Kind::Right(Rights::USER9)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What Cyrus 3.6.1 stores after SETACL with the left-hand letters, for both values of `deleteright`.
    #[test]
    fn s050_macros_are_read_and_printed_as_cyrus_does() {
        let asked = [
            ('c', "lrswit", "lrswitd"),
            ('c', "lrswipkxtecda", "lrswipkxtecda"),
            ('c', "c", "kxc"),
            ('c', "d", "ted"),
            ('c', "cd", "kxtecd"),
            ('c', "ck", "kc"),
            ('c', "dt", "td"),
            ('c', "dx", "xtecd"),
            ('c', "cx", "xc"),
            ('c', "kx", "kxc"),
            ('c', "x", "xc"),
            ('c', "te", "ted"),
            ('c', "t", "td"),
            ('c', "lrs0159", "lrs0159"),
            ('c', "987", "789"),
            ('c', "9l0", "l09"),
            ('c', "lll", "l"),
            ('c', "n", "n"),
            ('c', "", ""),
            ('d', "x", "xd"),
            ('d', "c", "kc"),
            ('d', "d", "xted"),
            ('d', "cd", "kxtecd"),
            ('d', "k", "kc"),
            ('d', "t", "td"),
            ('d', "kx", "kxcd"),
            ('d', "lrswipcda", "lrswipkxtecda"),
            ('d', "cx", "kxcd"),
            ('d', "dx", "xd"),
            ('d', "dt", "td"),
        ];
        for (deleteright, letters, stored) in asked {
            let deleteright = DeleteRight::new(deleteright);
            let rights = Rights::parse(letters, deleteright).unwrap();
            assert_eq!(
                rights.to_text(deleteright),
                stored,
                "{letters} with {deleteright:?}"
            );
        }
    }

    #[test]
    fn s040_the_letters_and_digits_have_the_bits_of_the_format_page() {
        for (index, letter) in "lrswipkxtean1234567890".chars().enumerate() {
            let rights = Rights::parse(&letter.to_string(), DeleteRight::default()).unwrap();
            assert_eq!(rights.bits(), 1 << index, "{letter}");
        }
        assert_eq!(Rights::ALL.to_string(), "lrswipkxtecdan");
    }

    #[test]
    fn s047_a_deleteright_that_is_no_macro_adds_x_to_itself() {
        let rights = Rights::parse("e", DeleteRight::new('e')).unwrap();
        assert_eq!(rights, Rights::EXPUNGE | Rights::DELETE_MAILBOX);
    }

    #[test]
    fn s077_an_unknown_letter_is_named() {
        let error = Rights::parse("lrqz", DeleteRight::default()).unwrap_err();
        assert_eq!(error.to_string(), "The q right is not supported");
        assert!(Rights::parse("L", DeleteRight::default()).is_err());
        assert!(Rights::parse("l r", DeleteRight::default()).is_err());
    }

    #[test]
    fn an_unknown_letter_of_a_stored_list_is_skipped() {
        assert_eq!(Rights::parse_stored("lqr\u{e9}"), Rights::LOOKUP | Rights::READ);
    }

    #[test]
    fn bits_that_are_no_right_are_dropped() {
        assert_eq!(
            Rights::from_bits(u32::MAX).to_string(),
            "lrswipkxtecdan0123456789"
        );
    }

    proptest! {
        #[test]
        fn printing_and_reading_gives_the_same_rights(bits: u32, deleteright in "[a-z]") {
            let rights = Rights::from_bits(bits);
            let macro_letter = deleteright.chars().next().filter(|c| "cdz".contains(*c)).unwrap_or('c');
            let deleteright = DeleteRight::new(macro_letter);
            prop_assert_eq!(Rights::parse(&rights.to_text(deleteright), deleteright), Ok(rights));
        }

        #[test]
        fn the_order_of_letters_does_not_matter(text in "[lrswipkxtecdan0-9]{0,12}") {
            let backwards: String = text.chars().rev().collect();
            prop_assert_eq!(Rights::parse_stored(&text), Rights::parse_stored(&backwards));
        }

        #[test]
        fn any_text_can_be_read_as_stored_rights(text in ".{0,40}") {
            let rights = Rights::parse_stored(&text);
            prop_assert_eq!(Rights::parse_stored(&rights.to_string()), rights);
        }
    }
}
