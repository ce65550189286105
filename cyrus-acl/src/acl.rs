//! Access control lists: ordered entries, their text form, and changes to them.

use std::fmt;

use crate::identifier::IdentifierError;
use crate::{DeleteRight, Identifier, Rights};

/// The list of one mailbox: who may do what.
///
/// Entries keep the order in which they came, because that is how they are stored; the order has no influence on
/// anybody's rights. A changed entry keeps its place, and an entry without rights goes away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    entries: Vec<(Identifier, Rights)>,
}

/// What a change does with the rights that an entry already has (RFC 4314, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModifyMode {
    /// Replaces them.
    Set,
    /// `+`: adds to them.
    Add,
    /// `-`: takes from them.
    Remove,
}

impl ModifyMode {
    /// Splits the rights argument of SETACL: a first `+` or `-` is the mode, the rest are the letters.
    pub fn split(argument: &str) -> (Self, &str) {
        if let Some(letters) = argument.strip_prefix('+') {
            (Self::Add, letters)
        } else if let Some(letters) = argument.strip_prefix('-') {
            (Self::Remove, letters)
        } else {
            (Self::Set, argument)
        }
    }
}

impl Acl {
    /// A list without entries.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// A list of these entries, in this order; those without rights are left out.
    pub fn from_entries(entries: impl IntoIterator<Item = (Identifier, Rights)>) -> Self {
        Self {
            entries: entries
                .into_iter()
                .filter(|(_, rights)| !rights.is_empty())
                .collect(),
        }
    }

    /// Reads the text form: `identifier TAB rights TAB`, again and again. The last TAB may be missing.
    ///
    /// Letters that are no right are skipped; an entry whose letters all are is kept, without rights.
    ///
    /// # Errors
    /// An entry has no identifier, or no rights.
    pub fn parse(text: &str) -> Result<Self, AclError> {
        Self::parse_with(text, DeleteRight::default())
    }

    /// [`Acl::parse`] for a site that has changed `deleteright`.
    ///
    /// # Errors
    /// As [`Acl::parse`].
    pub fn parse_with(text: &str, deleteright: DeleteRight) -> Result<Self, AclError> {
        let mut entries = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            let (identifier, after) = rest.split_once('\t').ok_or(AclError::NoRights { at })?;
            let identifier =
                Identifier::stored(identifier).map_err(|source| AclError::Identifier { at, source })?;
            let (rights, after) = after.split_once('\t').unwrap_or((after, ""));
            entries.push((identifier, Rights::parse_stored_with(rights, deleteright)));
            rest = after;
        }
        Ok(Self { entries })
    }

    /// The text form, with its last TAB: what `cyrus.header` and mailbox list dumps hold.
    pub fn to_text(&self) -> String {
        self.to_text_with(DeleteRight::default())
    }

    /// [`Acl::to_text`] for a site that has changed `deleteright`.
    pub fn to_text_with(&self, deleteright: DeleteRight) -> String {
        self.entries
            .iter()
            .map(|(identifier, rights)| format!("{identifier}\t{}\t", rights.to_text(deleteright)))
            .collect()
    }

    /// The entries in their order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&Identifier, Rights)> {
        self.entries
            .iter()
            .map(|(identifier, rights)| (identifier, *rights))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The rights of this very identifier's entry; none if it has no entry.
    pub fn rights_of(&self, identifier: &Identifier) -> Rights {
        self.entries()
            .filter(|&(known, _)| known == identifier)
            .fold(Rights::NONE, |sum, (_, rights)| sum | rights)
    }

    /// Gives `identifier` exactly these rights. An empty set removes the entry.
    pub fn set(&mut self, identifier: Identifier, rights: Rights) {
        if rights.is_empty() {
            self.delete(&identifier);
            return;
        }
        let mut place = None;
        let mut index = 0;
        // A list written by others may name an identifier twice; one entry must remain, or the old rights stay.
        self.entries.retain_mut(|(known, held)| {
            let keep = *known != identifier || place.is_none();
            if *known == identifier && place.is_none() {
                place = Some(index);
                *held = rights;
            }
            index += 1;
            keep
        });
        if place.is_none() {
            self.entries.push((identifier, rights));
        }
    }

    /// Sets, adds or removes rights of `identifier`. Adding or removing nothing changes nothing.
    pub fn modify(&mut self, identifier: Identifier, mode: ModifyMode, rights: Rights) {
        let held = self.rights_of(&identifier);
        let wanted = match mode {
            ModifyMode::Set => rights,
            ModifyMode::Add => held | rights,
            ModifyMode::Remove => held - rights,
        };
        self.set(identifier, wanted);
    }

    /// Removes the entry of `identifier`, if there is one.
    pub fn delete(&mut self, identifier: &Identifier) {
        self.entries.retain(|(known, _)| known != identifier);
    }

    /// [`Acl::modify`] on a mailbox of a user's own tree, where the owner's implicit rights are kept.
    ///
    /// The owner's own entry always gets them back, whoever changes it. His negative entry never holds them when
    /// he writes it himself; an administrator may write it in full, without effect on the implicit rights.
    ///
    /// # Errors
    /// [`AclError::OwnAdmin`] if anybody but an administrator asks to take `a` from the owner.
    pub fn modify_owned(
        &mut self,
        identifier: Identifier,
        mode: ModifyMode,
        rights: Rights,
        rule: &OwnerRule<'_>,
    ) -> Result<(), AclError> {
        let own = identifier.subject() == rule.owner;
        if own && !identifier.is_negative() {
            let gives_up_admin = match mode {
                ModifyMode::Set => !rights.contains(Rights::ADMIN),
                ModifyMode::Add => false,
                ModifyMode::Remove => rights.contains(Rights::ADMIN),
            };
            if !rule.by_admin && gives_up_admin {
                return Err(AclError::OwnAdmin);
            }
            self.modify(identifier.clone(), mode, rights);
            self.modify(identifier, ModifyMode::Add, rule.implicit);
        } else if own && rule.by_owner {
            self.modify(identifier.clone(), mode, rights);
            self.modify(identifier, ModifyMode::Remove, rule.implicit);
        } else {
            self.modify(identifier, mode, rights);
        }
        Ok(())
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// Whose mailbox a list belongs to, and who changes it; for [`Acl::modify_owned`].
#[derive(Clone, Copy, Debug)]
pub struct OwnerRule<'a> {
    /// The owner's canonical userid.
    pub owner: &'a str,
    /// imapd.conf's `implicit_owner_rights`.
    pub implicit: Rights,
    /// Whether the owner makes the change, and not as an administrator.
    pub by_owner: bool,
    /// Whether an administrator makes it.
    pub by_admin: bool,
}

/// Why a list cannot be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AclError {
    /// The text ends within an entry.
    #[error("the access control list ends after the identifier at byte {at}")]
    NoRights {
        /// Where the entry begins.
        at: usize,
    },
    /// An identifier cannot be one.
    #[error("bad identifier at byte {at} of the access control list: {source}")]
    Identifier {
        /// Where the entry begins.
        at: usize,
        /// What is wrong with it.
        source: IdentifierError,
    },
    /// An owner would lock himself out.
    #[error("nobody but an administrator can take the right to administer a mailbox from its owner")]
    OwnAdmin,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> Identifier {
        Identifier::stored(text).unwrap()
    }

    fn rights(text: &str) -> Rights {
        Rights::parse(text, DeleteRight::default()).unwrap()
    }

    /// Applies SETACL's third argument.
    fn change(acl: &mut Acl, identifier: &str, argument: &str) {
        let (mode, letters) = ModifyMode::split(argument);
        acl.modify(id(identifier), mode, rights(letters));
    }

    #[test]
    fn s040_the_text_form_is_identifier_tab_rights_tab() {
        let mut acl = Acl::new();
        change(&mut acl, "anyone", "lrs");
        change(&mut acl, "-dave", "lrswipkxtecda");
        assert_eq!(acl.to_text(), "anyone\tlrs\t-dave\tlrswipkxtecda\t");
        assert_eq!(Acl::parse("anyone\tlrs\t-dave\tlrswipkxtecda"), Ok(acl));
        assert_eq!(Acl::parse(""), Ok(Acl::new()));
    }

    #[test]
    fn a_changed_entry_keeps_its_place_and_an_empty_one_goes() {
        let mut acl = Acl::parse("anyone\tlrs\tbob\tlr\tcarol\tl\t").unwrap();
        change(&mut acl, "anyone", "lr");
        change(&mut acl, "bob", "");
        assert_eq!(acl.to_text(), "anyone\tlr\tcarol\tl\t");
        change(&mut acl, "bob", "+");
        change(&mut acl, "bob", "-l");
        assert_eq!(acl.to_text(), "anyone\tlr\tcarol\tl\t");
        change(&mut acl, "bob", "r");
        assert_eq!(acl.to_text(), "anyone\tlr\tcarol\tl\tbob\tr\t");
    }

    /// The dialogue with Cyrus 3.6.1, request by request: what GETACL showed for bob.
    #[test]
    fn s077_plus_and_minus_change_an_entry_as_cyrus_does() {
        let mut acl = Acl::new();
        for (argument, shown) in [
            ("lr", "lr"),
            ("+s", "lrs"),
            ("-l", "rs"),
            ("+c", "rskxc"),
            ("-x", "rskc"),
            ("lrd", "lrted"),
            ("-d", "lr"),
            ("lrte", "lrted"),
            ("-dt", "lred"),
            ("+", "lred"),
            ("-", "lred"),
        ] {
            change(&mut acl, "bob", argument);
            assert_eq!(acl.rights_of(&id("bob")).to_string(), shown, "{argument}");
        }
    }

    #[test]
    fn a_damaged_list_is_refused_with_the_place() {
        assert_eq!(Acl::parse("anyone\tlrs\tbob"), Err(AclError::NoRights { at: 11 }));
        let error = Acl::parse("anyone\tlrs\t\tlr\t").unwrap_err();
        assert_eq!(
            error,
            AclError::Identifier {
                at: 11,
                source: IdentifierError::Empty
            }
        );
    }

    #[test]
    fn setting_an_identifier_that_is_listed_twice_leaves_one_entry() {
        let mut acl = Acl::parse("bob\tl\tcarol\tr\tbob\ts\t").unwrap();
        assert_eq!(acl.rights_of(&id("bob")).to_string(), "ls");
        change(&mut acl, "bob", "-s");
        assert_eq!(acl.to_text(), "bob\tl\tcarol\tr\t");
    }

    /// Each line is a SETACL or DELETEACL (empty argument) that Cyrus 3.6.1 was sent on `user/user8`, the answer, and
    /// the entry of the identifier afterwards.
    #[test]
    fn s071_the_owner_keeps_the_implicit_rights() {
        let implicit = rights("lkxan");
        let mut acl = Acl::parse("user8\tlrswipkxtecdan\t").unwrap();
        for (by_owner, identifier, argument, ok, left) in [
            (true, "user8", "-r", true, "lswipkxtecdan"),
            (true, "user8", "-a", false, "lswipkxtecdan"),
            (true, "user8", "lrswipkxtecdan", true, "lrswipkxtecdan"),
            (true, "user8", "lra", true, "lrkxcan"),
            (true, "user8", "lr", false, "lrkxcan"),
            (true, "user8", "a", true, "lkxcan"),
            (true, "user8", "", false, "lkxcan"),
            (true, "user8", "-", true, "lkxcan"),
            (true, "user8", "-l", true, "lkxcan"),
            (true, "user8", "+0", true, "lkxcan0"),
            (false, "user8", "", true, "lkxcan"),
            (false, "user8", "lrs", true, "lrskxcan"),
            (false, "-user8", "lrs", true, "lrs"),
            (true, "-user8", "lrs", true, "rs"),
            (true, "-user8", "+wla", true, "rsw"),
            (true, "-user8", "la", true, ""),
            (true, "bob", "l", true, "l"),
        ] {
            let (mode, letters) = ModifyMode::split(argument);
            let rule = OwnerRule {
                owner: "user8",
                implicit,
                by_owner,
                by_admin: !by_owner,
            };
            let result = acl.modify_owned(id(identifier), mode, rights(letters), &rule);
            assert_eq!(result.is_ok(), ok, "{identifier} {argument}");
            assert_eq!(
                acl.rights_of(&id(identifier)).to_string(),
                left,
                "{identifier} {argument}"
            );
        }
    }

    proptest! {
        #[test]
        fn text_and_list_convert_into_each_other(
            entries in prop::collection::vec(("-?[ -~]{1,12}", 1u32..0x40_0000), 0..8),
        ) {
            let acl = Acl::from_entries(entries.iter().map(|(text, bits)| (id(text), Rights::from_bits(*bits))));
            prop_assert_eq!(acl.len(), entries.len());
            prop_assert_eq!(Acl::parse(&acl.to_text()), Ok(acl));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-c\\t-]{0,30}|.{0,40}") {
            if let Ok(acl) = Acl::parse(&text) {
                prop_assert_eq!(Acl::parse(&acl.to_text()), Ok(acl));
            }
        }
    }
}
