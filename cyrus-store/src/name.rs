//! Mailbox names as the store keeps them: the internal form, the database form, owners, and names of deleted mailboxes.

use std::fmt;
use std::sync::Arc;

use crate::utf7;

pub mod layout;

/// The internal name of a mailbox: `user.fred.work`, or `example.org!user.fred.work` in another domain.
///
/// `.` separates the components and `^` stands for a `.` within one. A value is well formed: it has no empty component
/// and no byte that could not be part of a path. Whether a mailbox of this name may be *created* is another question:
/// see [`MailboxName::check_policy`].
///
/// Names sort as text, which is the order in which several mailboxes are locked. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(Arc<str>);

impl MailboxName {
    /// The longest internal name that can be created, domain included, in bytes.
    pub const MAX_CREATE: usize = 490;
    /// The longest internal name that there can be; a deleted mailbox has a longer name than it had before.
    pub const MAX: usize = 510;

    /// Reads an internal name.
    ///
    /// # Errors
    /// The text is empty, too long, has an empty component or domain, or a control byte, `/` or second `!`.
    pub fn parse(internal: &str) -> Result<Self, NameError> {
        if internal.len() > Self::MAX {
            return Err(NameError::TooLong {
                length: internal.len(),
                limit: Self::MAX,
            });
        }
        let (domain, local) = match internal.split_once('!') {
            Some((domain, local)) => (Some(domain), local),
            None => (None, internal),
        };
        if local.is_empty() || domain == Some("") {
            return Err(NameError::Empty);
        }
        let offset = internal.len() - local.len();
        let bad = |byte: u8| byte < b' ' || byte == 0x7f || matches!(byte, b'/' | b'!');
        if let Some(at) = local.bytes().position(bad) {
            return Err(bad_byte(internal, offset + at));
        }
        if let Some(at) = domain.and_then(|domain| domain.bytes().position(|byte| bad(byte) || byte == b'^'))
        {
            return Err(bad_byte(internal, at));
        }
        // A domain of dots would be a path out of the spool.
        if domain.is_some_and(|domain| domain.starts_with('.')) {
            return Err(bad_byte(internal, 0));
        }
        let mut at = offset;
        for component in local.split('.') {
            if component.is_empty() {
                return Err(NameError::EmptyComponent { at });
            }
            at += component.len() + 1;
        }
        Ok(Self(internal.into()))
    }

    /// The INBOX of a user, `fred` or `fred@example.org`, where userids have domains. `userid` must not name the default
    /// one. [`Namespace::inbox`](crate::Namespace::inbox) obeys the configuration.
    ///
    /// # Errors
    /// The userid cannot be part of a mailbox name.
    pub fn inbox_of(userid: &str) -> Result<Self, NameError> {
        let (local, domain) = match userid.rsplit_once('@') {
            Some((local, domain)) => (local, Some(domain)),
            None => (userid, None),
        };
        Self::from_parts(domain, &["user", &user_component(local)?])
    }

    /// The name with these internal components.
    ///
    /// # Errors
    /// As [`MailboxName::parse`]; also if a component holds a `.`.
    pub fn from_parts(domain: Option<&str>, components: &[&str]) -> Result<Self, NameError> {
        let local = components.join(".");
        if components.iter().any(|component| component.contains('.')) {
            return Err(NameError::BadByte {
                byte: b'.',
                at: local.find('.').unwrap_or(0),
            });
        }
        match domain {
            Some(domain) => Self::parse(&format!("{domain}!{local}")),
            None if local.contains('!') => Err(bad_byte(&local, local.find('!').unwrap_or(0))),
            None => Self::parse(&local),
        }
    }

    /// Reads a key of the mailbox list, after its `N`: components separated by 0x1F, a domain ended by 0x1D.
    ///
    /// # Errors
    /// As [`MailboxName::parse`]; also for bytes that are not UTF-8, and for `^`, which this form never has.
    pub fn from_dbname(dbname: &[u8]) -> Result<Self, NameError> {
        let text = std::str::from_utf8(dbname).map_err(|error| {
            let at = error.valid_up_to();
            NameError::BadByte {
                byte: dbname.get(at).copied().unwrap_or(0),
                at,
            }
        })?;
        if let Some(at) = text.bytes().position(|byte| matches!(byte, b'^' | b'!')) {
            return Err(bad_byte(text, at));
        }
        let (domain, local) = match text.split_once(DB_DOMAIN) {
            Some((domain, local)) => (Some(domain), local),
            None => (None, text),
        };
        let local = local.replace('.', "^").replace(DB_SEPARATOR, ".");
        match domain {
            Some(domain) => Self::parse(&format!("{domain}!{local}")),
            None => Self::parse(&local),
        }
    }

    /// The name as keys of the mailbox list and of subscriptions spell it.
    pub fn to_dbname(&self) -> String {
        let local = self.local().replace('.', "\u{1f}").replace('^', ".");
        match self.domain() {
            Some(domain) => format!("{domain}{DB_DOMAIN}{local}"),
            None => local,
        }
    }

    /// The internal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain, unless it is the default one.
    pub fn domain(&self) -> Option<&str> {
        self.0.split_once('!').map(|(domain, _)| domain)
    }

    /// The name without its domain.
    pub fn local(&self) -> &str {
        self.0.split_once('!').map_or(&self.0, |(_, local)| local)
    }

    /// The components, in their internal spelling.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.local().split('.')
    }

    /// The mailbox one level up, whether it exists or not; `user` is nobody's parent.
    pub fn parent(&self) -> Option<Self> {
        let (local, last) = self.local().rsplit_once('.')?;
        if local == USER {
            return None;
        }
        Self::parse(self.0.get(..self.0.len() - last.len() - 1)?).ok()
    }

    /// The mailbox of this name one level down; `component` is in its internal spelling.
    ///
    /// # Errors
    /// As [`MailboxName::parse`]; also if the component holds a `.`.
    pub fn child(&self, component: &str) -> Result<Self, NameError> {
        match component.find(['.', '!']) {
            Some(at) => Err(bad_byte(component, at)),
            None => Self::parse(&format!("{self}.{component}")),
        }
    }

    /// Whether `other` lies below this name, at any depth.
    pub fn is_ancestor_of(&self, other: &Self) -> bool {
        self.path_to(other).is_some_and(|path| !path.is_empty())
    }

    /// The same mailbox when the tree at `from` is moved to `to`; `None` if it is not in that tree.
    pub fn moved(&self, from: &Self, to: &Self) -> Option<Self> {
        Self::parse(&format!("{to}{}", from.path_to(self)?)).ok()
    }

    /// What follows this name in `other`, from the separator on; nothing if they are the same.
    fn path_to<'a>(&self, other: &'a Self) -> Option<&'a str> {
        let rest = other.local().strip_prefix(self.local())?;
        (self.domain() == other.domain() && (rest.is_empty() || rest.starts_with('.'))).then_some(rest)
    }

    /// The userid of the owner, if the mailbox is an INBOX or below one: `jo.smith`, or `jo.smith@example.org`.
    pub fn owner(&self) -> Option<String> {
        let mut components = self.components();
        if components.next() != Some(USER) {
            return None;
        }
        let local = components.next()?.replace('^', ".");
        Some(match self.domain() {
            Some(domain) => format!("{local}@{domain}"),
            None => local,
        })
    }

    /// [`MailboxName::owner`], also of a deleted mailbox, whose owner is still the same.
    pub fn owner_even_deleted(&self, deletedprefix: &str) -> Option<String> {
        match self.undeleted(deletedprefix) {
            Some((name, _)) => name.owner(),
            None => self.owner(),
        }
    }

    /// Whether this is the INBOX of some user.
    pub fn is_user_inbox(&self) -> bool {
        let mut components = self.components();
        components.next() == Some(USER) && components.next().is_some() && components.next().is_none()
    }

    /// The INBOX of the tree that the mailbox is in.
    pub fn inbox(&self) -> Option<Self> {
        let mut components = self.components();
        match (components.next(), components.next()) {
            (Some(USER), Some(local)) => Self::from_parts(self.domain(), &[USER, local]).ok(),
            _ => None,
        }
    }

    /// Whether the mailbox has been deleted and waits for removal (`delete_mode: delayed`).
    pub fn is_deleted(&self, deletedprefix: &str) -> bool {
        self.deleted_at(deletedprefix).is_some()
    }

    /// When the mailbox was deleted, in seconds since 1970; `None` if this is not the name of a deleted mailbox.
    ///
    /// Such a name is `DELETED.user.fred.work.6B05AB53`: the prefix, at least one component, and the time in hexadecimal.
    pub fn deleted_at(&self, deletedprefix: &str) -> Option<u64> {
        let rest = self.local().strip_prefix(deletedprefix)?.strip_prefix('.')?;
        let (_, time) = rest.rsplit_once('.')?;
        // from_str_radix would take a sign.
        if !time.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u64::from_str_radix(time, 16).ok()
    }

    /// What a deleted mailbox was called, and when it was deleted.
    pub fn undeleted(&self, deletedprefix: &str) -> Option<(Self, u64)> {
        let time = self.deleted_at(deletedprefix)?;
        let (rest, _) = self
            .local()
            .strip_prefix(deletedprefix)?
            .strip_prefix('.')?
            .rsplit_once('.')?;
        let name = match self.domain() {
            Some(domain) => Self::parse(&format!("{domain}!{rest}")),
            None => Self::parse(rest),
        };
        Some((name.ok()?, time))
    }

    /// What the mailbox is called once it is deleted at this time, in seconds since 1970.
    ///
    /// # Errors
    /// The prefix is no component, or the new name is longer than [`MailboxName::MAX`].
    pub fn deleted_name(&self, deletedprefix: &str, time: u64) -> Result<Self, NameError> {
        let local = self.local();
        match self.domain() {
            Some(domain) => Self::parse(&format!("{domain}!{deletedprefix}.{local}.{time:X}")),
            None => Self::parse(&format!("{deletedprefix}.{local}.{time:X}")),
        }
    }

    /// Checks whether a mailbox of this name may be created, by anybody.
    ///
    /// # Errors
    /// The name is longer than [`MailboxName::MAX_CREATE`], has characters other than
    /// ``space # $ ' ( ) * + , - . : = ? @ [ ] ^ _ ~``, letters, digits and well-formed modified UTF-7, or is
    /// reserved: `user`, `user.anyone`, `user.anonymous`, names that begin with `~` or `$`, and the tree of deleted
    /// mailboxes.
    pub fn check_policy(&self, deletedprefix: &str) -> Result<(), NameError> {
        if self.0.len() > Self::MAX_CREATE {
            return Err(NameError::TooLong {
                length: self.0.len(),
                limit: Self::MAX_CREATE,
            });
        }
        let local = self.local();
        let offset = self.0.len() - local.len();
        for component in self.components() {
            let at = component.as_ptr() as usize - self.0.as_ptr() as usize;
            utf7::validate(component).map_err(|error| NameError::BadUtf7 { at: at + error.at })?;
        }
        if let Some(at) = local.bytes().position(|byte| !is_allowed(byte)) {
            return Err(bad_byte(&self.0, offset + at));
        }
        let first = self.components().next().unwrap_or_default();
        let reserved = local.starts_with(['~', '$'])
            || first == deletedprefix
            || matches!(local, "user" | "user.anyone" | "user.anonymous");
        if reserved {
            Err(NameError::Reserved(local.to_owned()))
        } else {
            Ok(())
        }
    }
}

impl AsRef<str> for MailboxName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailboxName({:?})", &*self.0)
    }
}

/// Why a text is no name of a mailbox, or none that may be created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// No component is left.
    #[error("a mailbox name cannot be empty")]
    Empty,
    /// Two separators in a row, or one at an end.
    #[error("the mailbox name has an empty component at byte {at}")]
    EmptyComponent {
        /// Where it would begin.
        at: usize,
    },
    /// A byte that is not allowed there.
    #[error("byte 0x{byte:02x} at position {at} is not allowed in a mailbox name")]
    BadByte {
        /// The byte.
        byte: u8,
        /// Its position, from 0.
        at: usize,
    },
    /// A `&` that begins no well-formed modified UTF-7 (RFC 3501, section 5.1.3).
    #[error("malformed modified UTF-7 at position {at} of the mailbox name")]
    BadUtf7 {
        /// The position of the `&`, from 0.
        at: usize,
    },
    /// Too many bytes.
    #[error("mailbox name of {length} bytes; at most {limit} are allowed")]
    TooLong {
        /// The bytes that there are.
        length: usize,
        /// The bytes that are allowed.
        limit: usize,
    },
    /// The name is not for mailboxes of users.
    #[error("the mailbox name {0:?} is reserved")]
    Reserved(String),
    /// The name is one of the tops of the alternate namespace, under which mailboxes are, and no mailbox itself.
    #[error("{0:?} is the top of a namespace, not a mailbox")]
    NamespaceRoot(String),
    /// The userid cannot be part of a mailbox name.
    #[error("the user {0:?} cannot have mailboxes")]
    BadUser(String),
}

/// The internal component of the local part of a userid: `jo.smith` is `jo^smith`.
///
/// # Errors
/// It is empty, or holds `^`, under which two users would share their mailboxes.
pub(crate) fn user_component(local: &str) -> Result<String, NameError> {
    if local.is_empty() || local.contains(['^', '!', '/']) {
        return Err(NameError::BadUser(local.to_owned()));
    }
    Ok(local.replace('.', "^"))
}

pub(crate) fn bad_byte(text: &str, at: usize) -> NameError {
    NameError::BadByte {
        byte: text.as_bytes().get(at).copied().unwrap_or(0),
        at,
    }
}

/// What may stand in a name that is created, `.` as the separator and `&` for modified UTF-7 included.
fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" #$&'()*+,-.:=?@[]^_~".contains(&byte)
}

/// The first component of every personal mailbox.
pub(crate) const USER: &str = "user";
/// Between components of the database form.
pub(crate) const DB_SEPARATOR: char = '\u{1f}';
/// After the domain of the database form.
pub(crate) const DB_DOMAIN: char = '\u{1d}';

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(internal: &str) -> MailboxName {
        MailboxName::parse(internal).unwrap()
    }

    fn policy(internal: &str) -> Result<(), NameError> {
        name(internal).check_policy("DELETED")
    }

    #[test]
    fn the_three_spellings_belong_together() {
        for (internal, dbname, owner) in [
            ("user.jo^smith", "user\x1fjo.smith", Some("jo.smith")),
            (
                "user.jo^smith.a^b.c",
                "user\x1fjo.smith\x1fa.b\x1fc",
                Some("jo.smith"),
            ),
            (
                "other.test!user.bovik",
                "other.test\x1duser\x1fbovik",
                Some("bovik@other.test"),
            ),
            ("other.test!shared.team", "other.test\x1dshared\x1fteam", None),
            ("shared", "shared", None),
            ("user", "user", None),
            ("users.bovik", "users\x1fbovik", None),
        ] {
            assert_eq!(name(internal).to_dbname(), dbname);
            assert_eq!(MailboxName::from_dbname(dbname.as_bytes()), Ok(name(internal)));
            assert_eq!(name(internal).owner().as_deref(), owner);
        }
        assert!(MailboxName::from_dbname(b"a\x1f\x1fb").is_err());
        assert!(MailboxName::from_dbname(b"a^b").is_err());
        assert!(MailboxName::from_dbname(b"a\xffb").is_err());
    }

    #[test]
    fn s011_names_are_case_sensitive() {
        assert_ne!(name("foo"), name("Foo"));
    }

    #[test]
    fn s012_s013_s014_no_component_is_empty() {
        for bad in [".x", "x.", "a..b", ".", "dom!", "!x", ""] {
            assert!(MailboxName::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            MailboxName::parse("a..b"),
            Err(NameError::EmptyComponent { at: 2 })
        );
    }

    #[test]
    fn no_name_leads_out_of_the_spool() {
        for bad in ["a/b", "../x", "a\0b", "..!x", "x!y!z", "a/b!c", "a\tb"] {
            assert!(MailboxName::parse(bad).is_err(), "{bad}");
        }
    }

    /// Cyrus 3.6.1 created `b?x` for exactly these bytes in place of the `?`; it refuses `^` only where `/` separates,
    /// because there it could not be told from a `.`.
    #[test]
    fn s015_exactly_the_characters_of_cyrus_are_allowed() {
        let allowed: String = (b' '..0x7f)
            .map(char::from)
            .filter(|&c| c != '!')
            .filter(|&c| {
                MailboxName::parse(&format!("b{c}x")).is_ok_and(|name| name.check_policy("DELETED").is_ok())
            })
            .collect();
        assert_eq!(
            allowed,
            " #$'()*+,-.0123456789:=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_abcdefghijklmnopqrstuvwxyz~"
        );
        assert!(policy("caf\u{e9}").is_err());
        assert_eq!(policy("x.a&b"), Err(NameError::BadUtf7 { at: 3 }));
        assert_eq!(policy("Sent &AOk- x.&AOk-"), Ok(()));
    }

    #[test]
    fn s016_reserved_names_cannot_be_created() {
        for reserved in [
            "user",
            "user.anyone",
            "user.anonymous",
            "$x",
            "~q",
            "~",
            "DELETED",
            "DELETED.x",
        ] {
            assert_eq!(
                policy(reserved),
                Err(NameError::Reserved(reserved.into())),
                "{reserved}"
            );
        }
        assert!(policy("user.%").is_err());
        for free in [
            "user.$x",
            "x.$y",
            "x.~q",
            "-x",
            "*",
            "anyone",
            "user.bovik.DELETED",
            "user.INBOX",
            "other.test!x",
        ] {
            assert_eq!(policy(free), Ok(()), "{free}");
        }
    }

    #[test]
    fn s017_a_name_of_490_bytes_can_be_created_and_deleted() {
        let longest = format!("user.bovik.{}", "x".repeat(479));
        assert_eq!(policy(&longest), Ok(()));
        assert_eq!(
            policy(&format!("{longest}x")),
            Err(NameError::TooLong {
                length: 491,
                limit: 490
            })
        );
        assert!(
            name(&longest)
                .deleted_name("DELETED", u64::from(u32::MAX))
                .is_ok()
        );
        assert!(MailboxName::parse(&"x".repeat(511)).is_err());
    }

    #[test]
    fn the_parent_is_one_level_up() {
        assert_eq!(name("user.fred.a.b").parent(), Some(name("user.fred.a")));
        assert_eq!(name("dom!shared.x").parent(), Some(name("dom!shared")));
        assert_eq!(name("user.fred").parent(), None);
        assert_eq!(name("shared").parent(), None);
        assert_eq!(name("other.test!shared").parent(), None);
        assert!(name("user.fred").is_ancestor_of(&name("user.fred.a.b")));
        assert!(!name("user.fred").is_ancestor_of(&name("user.freddy")));
        assert!(!name("user.fred").is_ancestor_of(&name("user.fred")));
        assert!(!name("other").is_ancestor_of(&name("other.test!shared")));
        assert!(name("other.test!shared").is_ancestor_of(&name("other.test!shared.team")));
        assert_eq!(name("a.b.c").moved(&name("a.b"), &name("x")), Some(name("x.c")));
        assert_eq!(
            name("a.b").moved(&name("a.b"), &name("dom!x")),
            Some(name("dom!x"))
        );
        assert_eq!(name("a.bc").moved(&name("a.b"), &name("x")), None);
    }

    #[test]
    fn s026_a_deleted_mailbox_keeps_its_name_and_time() {
        let gone = name("user.alice.Gone")
            .deleted_name("DELETED", 0x6B05_AB53)
            .unwrap();
        assert_eq!(gone.as_str(), "DELETED.user.alice.Gone.6B05AB53");
        assert_eq!(gone.deleted_at("DELETED"), Some(0x6B05_AB53));
        assert_eq!(
            gone.undeleted("DELETED"),
            Some((name("user.alice.Gone"), 0x6B05_AB53))
        );
        assert_eq!(
            (gone.owner(), gone.owner_even_deleted("DELETED")),
            (None, Some("alice".into()))
        );
        let gone = name("other.test!user.x").deleted_name("DELETED", 255).unwrap();
        assert_eq!(gone.as_str(), "other.test!DELETED.user.x.FF");
        assert_eq!(gone.undeleted("DELETED").unwrap().0, name("other.test!user.x"));
        for live in [
            "DELETED.FF",
            "DELETED.user.x",
            "DELETED.x.+FF",
            "user.DELETED.x.FF",
            "DELETEDX.x.FF",
            "DELETED",
        ] {
            assert!(!name(live).is_deleted("DELETED"), "{live}");
        }
    }

    #[test]
    fn s022_the_inbox_of_a_user_is_found_from_his_userid_and_from_his_mailboxes() {
        assert_eq!(MailboxName::inbox_of("jo.smith"), Ok(name("user.jo^smith")));
        assert_eq!(
            MailboxName::inbox_of("bovik@other.test"),
            Ok(name("other.test!user.bovik"))
        );
        assert!(name("other.test!user.bovik").is_user_inbox());
        assert!(!name("user.bovik.x").is_user_inbox() && !name("user").is_user_inbox());
        assert_eq!(
            name("other.test!user.bovik.x.y").inbox(),
            Some(name("other.test!user.bovik"))
        );
        for bad in ["", "jo^smith", "a!b", "a/b", "@dom", "a@"] {
            assert!(MailboxName::inbox_of(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_name_survives_the_database(text in "([a-z.]{1,8}!)?[ -~]{1,12}(\\.[ -~]{1,5}){0,3}") {
            if let Ok(name) = MailboxName::parse(&text) {
                prop_assert_eq!(name.as_str(), &text);
                prop_assert_eq!(MailboxName::from_dbname(name.to_dbname().as_bytes()), Ok(name));
            }
        }

        #[test]
        fn any_bytes_are_a_key_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(name) = MailboxName::from_dbname(&bytes) {
                prop_assert_eq!(name.to_dbname().into_bytes(), bytes);
            }
        }

        #[test]
        fn a_deleted_name_leads_back(text in "[a-z]{1,5}(\\.[a-z]{1,5}){0,3}", time: u64) {
            let name = name(&text);
            let deleted = name.deleted_name("DELETED", time).unwrap();
            prop_assert_eq!(deleted.undeleted("DELETED"), Some((name, time)));
        }
    }
}
