//! Values of `mailboxes.db`: the rows by name (`N`) and by unique id (`I`).
//!
//! Names in here are in their database form: components joined by byte 1F, a domain ended by byte 1D.

use std::borrow::Cow;
use std::fmt;

use super::dlist::Dlist;
use super::{Damage, Fault};

/// The type of a mailbox row: one letter for the kind and one a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MailboxType {
    /// The kind of mailbox.
    pub kind: MailboxKind,
    /// Only a tombstone is left.
    pub deleted: bool,
    /// On the way to another server.
    pub moving: bool,
    /// On another server.
    pub remote: bool,
    /// The name is taken, the mailbox not there yet.
    pub reserved: bool,
    /// Not a mailbox: a name that exists because something is below it.
    pub intermediate: bool,
    /// Its directories follow its name instead of its unique id.
    pub legacy_dirs: bool,
}

/// Kinds of mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MailboxKind {
    /// Mail.
    #[default]
    Email,
    /// Netnews.
    News,
    /// DAV collection.
    Collection,
    /// Calendar.
    Calendar,
    /// Address book.
    AddressBook,
    /// Mail waiting to be sent.
    Submission,
    /// Push subscriptions.
    PushSubscription,
    /// Sieve scripts.
    Sieve,
}

impl MailboxKind {
    const LETTERS: [(Self, char); 8] = [
        (Self::Email, 'e'),
        (Self::News, 'n'),
        (Self::Collection, 'b'),
        (Self::Calendar, 'c'),
        (Self::AddressBook, 'a'),
        (Self::Submission, 's'),
        (Self::PushSubscription, 'p'),
        (Self::Sieve, 'f'),
    ];
}

impl MailboxType {
    /// A plain mailbox of this kind.
    pub const fn of(kind: MailboxKind) -> Self {
        Self {
            kind,
            deleted: false,
            moving: false,
            remote: false,
            reserved: false,
            intermediate: false,
            legacy_dirs: false,
        }
    }

    /// Reads the letters; an empty text is a mail mailbox, and an intermediate name has no kind.
    pub fn parse(letters: &str) -> Option<Self> {
        let mut parsed = Self::of(MailboxKind::Email);
        for letter in letters.chars() {
            match letter {
                'd' => parsed.deleted = true,
                'm' => parsed.moving = true,
                'r' => parsed.remote = true,
                'z' => parsed.reserved = true,
                'i' => parsed.intermediate = true,
                'l' => parsed.legacy_dirs = true,
                other => parsed.kind = MailboxKind::LETTERS.iter().find(|(_, known)| *known == other)?.0,
            }
        }
        if parsed.intermediate {
            parsed.kind = MailboxKind::Email;
        }
        Some(parsed)
    }

    /// Whether messages can be in it, on this server, now.
    pub const fn is_usable(&self) -> bool {
        !(self.deleted || self.moving || self.remote || self.reserved || self.intermediate)
    }
}

impl Default for MailboxType {
    fn default() -> Self {
        Self::of(MailboxKind::Email)
    }
}

impl fmt::Display for MailboxType {
    /// The letters, in the order in which Cyrus writes them; an intermediate name has no kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.intermediate {
            let letter = MailboxKind::LETTERS
                .iter()
                .find(|(kind, _)| *kind == self.kind)
                .map_or('e', |(_, c)| *c);
            write!(f, "{letter}")?;
        }
        let flags = [
            (self.deleted, 'd'),
            (self.moving, 'm'),
            (self.remote, 'r'),
            (self.reserved, 'z'),
            (self.intermediate, 'i'),
            (self.legacy_dirs, 'l'),
        ];
        flags
            .iter()
            .filter(|(set, _)| *set)
            .try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

/// The value of a row, by name or by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailboxRow {
    /// Kind and flags.
    pub mbtype: MailboxType,
    /// Unique id: in rows by name.
    pub id: Option<String>,
    /// Database name: in rows by id.
    pub name: Option<String>,
    /// Partition.
    pub partition: Option<String>,
    /// Server that has it, for remote mailboxes.
    pub server: Option<String>,
    /// UIDVALIDITY; 0 if unknown.
    pub uidvalidity: u32,
    /// Modification sequence at creation.
    pub createdmodseq: u64,
    /// Modification sequence of the last change of the row.
    pub foldermodseq: u64,
    /// When the row was written, Unix seconds.
    pub mtime: i64,
    /// Identifiers and rights, in order.
    pub acl: Vec<(String, String)>,
    /// Former names, newest first: in rows by id.
    pub history: Vec<FormerName>,
}

/// A name that a mailbox had before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormerName {
    /// Database name.
    pub name: String,
    /// When it got its next name, Unix seconds.
    pub mtime: i64,
    /// UIDVALIDITY then.
    pub uidvalidity: u32,
    /// Modification sequence at creation.
    pub createdmodseq: u64,
    /// Modification sequence of the row then.
    pub foldermodseq: u64,
    /// Kind and flags then.
    pub mbtype: MailboxType,
    /// Partition then.
    pub partition: Option<String>,
}

impl MailboxRow {
    /// Reads the value of a row.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn parse(value: &[u8]) -> Result<Self, Fault> {
        let map = Dlist::parse(value)?;
        if map.as_map().is_none() {
            return Err(Fault::new(
                0,
                Damage::Expected("a map as the value of a mailbox row"),
            ));
        }
        let mut acl = Vec::new();
        if let Some(map) = map.get("A") {
            for (identifier, rights) in map
                .as_map()
                .ok_or(Fault::new(0, Damage::Expected("a map of rights as A")))?
            {
                let pair = std::str::from_utf8(identifier).ok().zip(rights.as_str());
                let (identifier, rights) = pair.ok_or(Fault::new(0, Damage::Expected("text in the ACL")))?;
                acl.push((identifier.to_owned(), rights.to_owned()));
            }
        }
        let mut history = Vec::new();
        if let Some(list) = map.get("H") {
            for item in list
                .as_list()
                .ok_or(Fault::new(0, Damage::Expected("a list of former names as H")))?
            {
                history.push(FormerName {
                    name: text(item, "N").ok_or(Fault::new(0, Damage::Expected("a former name as N")))?,
                    mtime: signed(item, "M"),
                    uidvalidity: number(item, "V") as u32,
                    createdmodseq: number(item, "C"),
                    foldermodseq: number(item, "F"),
                    mbtype: mbtype(item)?,
                    partition: text(item, "P"),
                });
            }
        }
        Ok(Self {
            mbtype: mbtype(&map)?,
            id: text(&map, "I"),
            name: text(&map, "N"),
            partition: text(&map, "P"),
            server: text(&map, "S"),
            uidvalidity: number(&map, "V") as u32,
            createdmodseq: number(&map, "C"),
            foldermodseq: number(&map, "F"),
            mtime: signed(&map, "M"),
            acl,
            history,
        })
    }

    /// The value of the row under the mailbox's name.
    pub fn name_value(&self) -> Vec<u8> {
        let id = self.id.as_ref().map(|id| ("I", Dlist::atom(id)));
        self.value(id, false)
    }

    /// The value of the row under the mailbox's unique id.
    pub fn id_value(&self) -> Vec<u8> {
        let name = self.name.as_ref().map(|name| ("N", Dlist::atom(name)));
        self.value(name, true)
    }

    fn value<'a>(&'a self, identity: Option<(&'static str, Dlist<'a>)>, with_history: bool) -> Vec<u8> {
        let mut pairs: Vec<(&'static str, Dlist<'a>)> = vec![("T", atom(self.mbtype.to_string()))];
        pairs.extend(identity);
        pairs.extend(
            self.partition
                .as_ref()
                .map(|partition| ("P", Dlist::atom(partition))),
        );
        pairs.extend(self.server.as_ref().map(|server| ("S", Dlist::atom(server))));
        push_number(&mut pairs, "V", u64::from(self.uidvalidity));
        push_number(&mut pairs, "C", self.createdmodseq);
        push_number(&mut pairs, "F", self.foldermodseq);
        pairs.push(("M", atom(self.mtime.to_string())));
        if !self.acl.is_empty() {
            let acl = self
                .acl
                .iter()
                .map(|(identifier, rights)| (identifier.as_bytes().into(), Dlist::atom(rights)));
            pairs.push(("A", Dlist::Map(acl.collect())));
        }
        if with_history {
            pairs.push((
                "H",
                Dlist::List(self.history.iter().map(FormerName::to_dlist).collect()),
            ));
        }
        keyed(pairs).to_bytes()
    }
}

impl FormerName {
    fn to_dlist(&self) -> Dlist<'_> {
        let mut pairs: Vec<(&'static str, Dlist<'_>)> = vec![
            ("N", Dlist::atom(&self.name)),
            ("M", atom(self.mtime.to_string())),
        ];
        push_number(&mut pairs, "V", u64::from(self.uidvalidity));
        push_number(&mut pairs, "C", self.createdmodseq);
        push_number(&mut pairs, "F", self.foldermodseq);
        pairs.push(("T", atom(self.mbtype.to_string())));
        pairs.extend(
            self.partition
                .as_ref()
                .map(|partition| ("P", Dlist::atom(partition))),
        );
        keyed(pairs)
    }
}

fn keyed<'a>(pairs: Vec<(&'static str, Dlist<'a>)>) -> Dlist<'a> {
    Dlist::Map(
        pairs
            .into_iter()
            .map(|(key, value)| (Cow::Borrowed(key.as_bytes()), value))
            .collect(),
    )
}

fn atom(text: String) -> Dlist<'static> {
    Dlist::Atom(Cow::Owned(text.into_bytes()))
}

fn push_number(pairs: &mut Vec<(&'static str, Dlist<'_>)>, key: &'static str, number: u64) {
    if number != 0 {
        pairs.push((key, Dlist::number(number)));
    }
}

fn text(map: &Dlist<'_>, key: &str) -> Option<String> {
    map.get(key).and_then(Dlist::as_str).map(str::to_owned)
}

fn number(map: &Dlist<'_>, key: &str) -> u64 {
    map.get(key).and_then(Dlist::as_number).unwrap_or_default()
}

fn signed(map: &Dlist<'_>, key: &str) -> i64 {
    i64::try_from(number(map, key)).unwrap_or(i64::MAX)
}

fn mbtype(map: &Dlist<'_>) -> Result<MailboxType, Fault> {
    let letters = map.get("T").and_then(Dlist::as_str).unwrap_or_default();
    MailboxType::parse(letters).ok_or(Fault::new(0, Damage::Impossible("mailbox type")))
}

/// Reads noise; for the fuzz target of the same name.
pub(crate) fn fuzz(data: &[u8]) {
    if let Ok(row) = MailboxRow::parse(data) {
        let by_name = MailboxRow::parse(&row.name_value());
        assert!(by_name.is_ok_and(|read| read.acl == row.acl && read.partition == row.partition));
        let by_id = MailboxRow::parse(&row.id_value());
        assert!(by_id.is_ok_and(|read| read.history == row.history));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_are_spelt_as_cyrus_spells_them() {
        let by_name =
            b"%(T e I oyjgz P default V 1800000001 C 3 F 4 M 1800000000 A %(alice lrswipkxtecdan -dave lrs))";
        let row = MailboxRow::parse(by_name).unwrap();
        assert_eq!(row.name_value(), by_name);
        let by_id =
            b"%(T ed N user\x1falice\x1fX V 1 M 5 H (%(N user\x1falice\x1fOld M 4 V 1 C 1 F 2 T ed)))";
        let row = MailboxRow::parse(by_id).unwrap();
        assert!(row.mbtype.deleted && !row.mbtype.is_usable());
        assert_eq!(row.id_value(), by_id);
    }

    #[test]
    fn types_print_in_the_order_of_cyrus() {
        for letters in ["e", "el", "ed", "edl", "f", "i", "il", "n", "emr"] {
            assert_eq!(MailboxType::parse(letters).unwrap().to_string(), letters);
        }
        assert_eq!(MailboxType::parse("q"), None);
    }

    proptest! {
        #[test]
        fn noise_is_no_trouble(noise in "[%()TINPSVCFMAH a-z0-9\"{}+]{0,80}") {
            fuzz(noise.as_bytes());
        }
    }
}
