//! The names that clients see, and the mailboxes that they mean.
//!
//! Three settings shape them: the hierarchy separator, the alternate namespace, in which a user's mailboxes are beside
//! his INBOX, and virtual domains. Administrators always see the standard namespace.

use std::fmt;

use crate::name::{DB_DOMAIN, DB_SEPARATOR, MailboxName, NameError, USER, bad_byte, user_component};
use crate::utf7;

pub mod pattern;

pub use pattern::Pattern;

/// How mailbox names look to clients; the settings of imapd.conf, with Cyrus 3.6's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `unixhierarchysep`: `/`, or `.` when it is off.
    pub separator: Separator,
    /// `altnamespace`: a user's `INBOX/work` is just `work`, and everything else is below a prefix.
    pub altnamespace: bool,
    /// `userprefix`: the top of other users' mailboxes in the alternate namespace.
    pub userprefix: String,
    /// `sharedprefix`: the top of shared mailboxes in the alternate namespace.
    pub sharedprefix: String,
    /// `altprefix`: where a user finds those of his mailboxes whose names mean something else in the alternate
    /// namespace, such as one called `Other Users`.
    pub altprefix: String,
    /// `virtdomains`: whether names and users have domains.
    pub virtdomains: VirtualDomains,
    /// `defaultdomain`: the domain that is never written.
    pub defaultdomain: Option<String>,
    /// `ignorereference`: LIST's reference argument counts for nothing.
    pub ignorereference: bool,
    /// `disable_shared_namespace`: users are shown no shared mailboxes.
    pub hide_shared: bool,
    /// `disable_user_namespace`: users are shown nobody else's mailboxes.
    pub hide_other_users: bool,
}

/// What separates the components of a client's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Separator {
    /// `/`: components may hold a `.`, and no `^`.
    #[default]
    Slash,
    /// `.`, as in netnews.
    Dot,
}

impl Separator {
    /// The character.
    pub const fn as_char(self) -> char {
        match self {
            Self::Slash => '/',
            Self::Dot => '.',
        }
    }
}

impl fmt::Display for Separator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_char())
    }
}

/// imapd.conf's `virtdomains`, as far as names depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VirtualDomains {
    /// An `@` is a character like others.
    #[default]
    Off,
    /// Userids and the names of administrators may end in `@domain` (`userid` and `on`).
    On,
}

/// The answer to NAMESPACE (RFC 2342): one prefix a class, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceClasses {
    /// The prefix of the user's own mailboxes; none for a user without an INBOX.
    pub personal: Option<String>,
    /// The prefix of other users' mailboxes.
    pub other: Option<String>,
    /// The prefix of shared mailboxes.
    pub shared: Option<String>,
    /// The hierarchy separator of all three.
    pub separator: Separator,
}

/// A mailbox name as a client typed it, or sees it: `INBOX/work`. Not yet the name of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientName(Box<str>);

impl ClientName {
    /// The longest such name, in bytes.
    pub const MAX: usize = 1024;

    /// Takes what a client typed.
    ///
    /// # Errors
    /// It is longer than [`ClientName::MAX`], holds a control or 8-bit byte, or malformed modified UTF-7.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.len() > Self::MAX {
            return Err(NameError::TooLong {
                length: text.len(),
                limit: Self::MAX,
            });
        }
        if let Some(at) = text.bytes().position(|byte| !matches!(byte, b' '..=b'~')) {
            return Err(bad_byte(text, at));
        }
        utf7::validate(text).map_err(|error| NameError::BadUtf7 { at: error.at })?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The mailbox that this user means by the name.
    ///
    /// # Errors
    /// As [`Namespace::to_internal`].
    pub fn resolve(
        &self,
        namespace: &Namespace,
        user: Option<&str>,
        admin: bool,
    ) -> Result<MailboxName, NameError> {
        namespace.to_internal(&self.0, user, admin)
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self {
            separator: Separator::Slash,
            altnamespace: true,
            userprefix: "Other Users".into(),
            sharedprefix: "Shared Folders".into(),
            altprefix: "Alt Folders".into(),
            virtdomains: VirtualDomains::Off,
            defaultdomain: None,
            ignorereference: false,
            hide_shared: false,
            hide_other_users: false,
        }
    }
}

impl Namespace {
    /// The mailbox that `user` means by a name; `user` is canonical, and `None` for tools that act for nobody.
    ///
    /// Like Cyrus, this takes no offence at separators at the ends or in a row: `/work//` is `work`. For a name that a
    /// client wants to create, use [`Namespace::to_internal_new`].
    ///
    /// # Errors
    /// The name means no mailbox, whether one exists or not.
    pub fn to_internal(
        &self,
        client: &str,
        user: Option<&str>,
        admin: bool,
    ) -> Result<MailboxName, NameError> {
        let user = user.map(|user| self.split_user(user));
        let mut domain = user.and_then(|(_, domain)| domain);
        let mut text = client;
        if admin
            && self.virtdomains == VirtualDomains::On
            && let Some((local, suffix)) = client.rsplit_once('@')
        {
            (text, domain) = (local, Some(suffix).filter(|&suffix| !self.is_default(suffix)));
        }
        let components = self.split(text)?;
        let first = components.first().ok_or(NameError::Empty)?;
        let in_inbox = |rest: &[String]| {
            let (local, _) = user.ok_or(NameError::Empty)?;
            self.join(domain, &[USER.to_owned(), user_component(local)?], rest)
        };
        let is_inbox = first.eq_ignore_ascii_case(INBOX) && user.is_some();
        let rest = components.get(1..).unwrap_or_default();
        if admin || !self.altnamespace {
            return if is_inbox {
                in_inbox(rest)
            } else {
                self.join(domain, &[], &components)
            };
        }
        if is_inbox {
            // In this namespace INBOX/x is the mailbox x of a mailbox called INBOX, which only this spelling means.
            return if rest.is_empty() {
                in_inbox(&[])
            } else {
                in_inbox(&[&[INBOX.to_owned()], rest].concat())
            };
        }
        if let Some(rest) = self.below(&self.userprefix, &components) {
            return if rest.is_empty() {
                Err(NameError::NamespaceRoot(client.to_owned()))
            } else {
                self.join(domain, &[USER.to_owned()], rest)
            };
        }
        if let Some(rest) = self.below(&self.sharedprefix, &components) {
            return if rest.is_empty() {
                Err(NameError::NamespaceRoot(client.to_owned()))
            } else {
                self.join(domain, &[], rest)
            };
        }
        in_inbox(self.below(&self.altprefix, &components).unwrap_or(&components))
    }

    /// [`Namespace::to_internal`] for the new name of CREATE or RENAME, which must be one that may be created.
    ///
    /// One separator at the end is allowed: it says that mailboxes below will follow (RFC 3501, section 6.3.3).
    ///
    /// # Errors
    /// The name has an empty component (S012, S014), means no mailbox, or breaks [`MailboxName::check_policy`].
    pub fn to_internal_new(
        &self,
        client: &str,
        user: Option<&str>,
        admin: bool,
        deletedprefix: &str,
    ) -> Result<MailboxName, NameError> {
        let separator = self.separator.as_char();
        let text = client.strip_suffix(separator).unwrap_or(client);
        let mut at = 0;
        for component in text.split(separator) {
            if component.is_empty() {
                return Err(if text.is_empty() {
                    NameError::Empty
                } else {
                    NameError::EmptyComponent { at }
                });
            }
            at += component.len() + 1;
        }
        let name = self.to_internal(text, user, admin)?;
        name.check_policy(deletedprefix)?;
        Ok(name)
    }

    /// The name under which `user` sees a mailbox: what [`Namespace::to_internal`] turns back into it.
    ///
    /// A user without domain administration sees only mailboxes of his own domain (see [`Namespace::in_reach`]); others
    /// are shown with their domain.
    pub fn to_client(&self, name: &MailboxName, user: Option<&str>, admin: bool) -> String {
        let user = user.map(|user| self.split_user(user));
        let domain = user.and_then(|(_, domain)| domain);
        let mut components = name.components();
        // With dots as separators a dotted userid has no mailboxes of its own: user.jo.smith is a mailbox of jo.
        let own = user.filter(|(local, domain)| {
            let mut start = name.components();
            *domain == name.domain()
                && start.next() == Some(USER)
                && start.next()
                    == Some(*local)
                        .filter(|local| self.separator == Separator::Slash || !local.contains('.'))
                        .map(|local| local.replace('.', "^"))
                        .as_deref()
        });
        let mut path: Vec<String> = Vec::new();
        if own.is_some() {
            let rest: Vec<String> = components
                .skip(2)
                .map(|component| self.to_external(component))
                .collect();
            if admin || !self.altnamespace {
                path.push(INBOX.to_owned());
            } else if rest.is_empty() {
                return INBOX.to_owned();
            } else if self.needs_altprefix(&rest) {
                path.push(self.trimmed(&self.altprefix).to_owned());
            }
            path.extend(rest);
            return self.separated(&path);
        }
        if !admin && self.altnamespace {
            let mut start = components.clone();
            if start.next() == Some(USER) && start.clone().next().is_some() {
                path.push(self.trimmed(&self.userprefix).to_owned());
                components = start;
            } else {
                path.push(self.trimmed(&self.sharedprefix).to_owned());
            }
        }
        path.extend(components.map(|component| self.to_external(component)));
        let text = self.separated(&path);
        match (name.domain(), &self.defaultdomain) {
            (Some(suffix), _) if admin || Some(suffix) != domain => format!("{text}@{suffix}"),
            (None, Some(suffix)) if domain.is_some() => format!("{text}@{suffix}"),
            _ => text,
        }
    }

    /// [`Namespace::to_client`], as a type.
    pub fn client_name(&self, name: &MailboxName, user: Option<&str>, admin: bool) -> ClientName {
        ClientName(self.to_client(name, user, admin).into())
    }

    /// The INBOX of a user, whether it exists or not.
    ///
    /// # Errors
    /// The userid cannot be part of a mailbox name.
    pub fn inbox(&self, userid: &str) -> Result<MailboxName, NameError> {
        let (local, domain) = self.split_user(userid);
        self.join(domain, &[USER.to_owned(), user_component(local)?], &[])
    }

    /// Whether the user may be shown the mailbox at all: one of his own domain, or of any for an administrator without
    /// domain, and of a class that users are shown.
    pub fn in_reach(&self, name: &MailboxName, user: Option<&str>, admin: bool) -> bool {
        let hidden = match name.owner() {
            None => self.hide_shared,
            Some(owner) => self.hide_other_users && user.is_none_or(|user| owner != user),
        };
        if hidden && !admin {
            return false;
        }
        let own = user.and_then(|user| self.split_user(user).1);
        name.domain() == own || (admin && own.is_none() && self.virtdomains == VirtualDomains::On)
    }

    /// The answer to NAMESPACE for a user who has an INBOX, or not.
    pub fn namespace_response(&self, has_inbox: bool, admin: bool) -> NamespaceClasses {
        let separator = self.separator;
        let below = |prefix: &str| format!("{}{separator}", self.trimmed(prefix));
        let (personal, other, shared) = if admin || !self.altnamespace {
            (below(INBOX), below(USER), String::new())
        } else {
            (String::new(), below(&self.userprefix), below(&self.sharedprefix))
        };
        NamespaceClasses {
            personal: has_inbox.then_some(personal),
            other: (admin || !self.hide_other_users).then_some(other),
            shared: (admin || !self.hide_shared).then_some(shared),
            separator,
        }
    }

    /// Interprets LIST's two arguments: a pattern that begins with a separator is relative to the reference.
    ///
    /// `cmu.` and `.comp` make `cmu.comp`, as do `cmu` and `.comp`, or `cmu.` and `comp` (S029).
    pub fn interpret(&self, reference: &str, pattern: &str) -> String {
        if self.ignorereference {
            return pattern.to_owned();
        }
        let separator = self.separator.as_char();
        match pattern.strip_prefix(separator) {
            Some(relative) if reference.ends_with(separator) => format!("{reference}{relative}"),
            _ => format!("{reference}{pattern}"),
        }
    }

    /// The compiled pattern of LIST's two arguments.
    ///
    /// # Errors
    /// It is longer than [`Pattern::MAX`].
    pub fn pattern(&self, reference: &str, pattern: &str) -> Result<Pattern, NameError> {
        Pattern::compile(&self.interpret(reference, pattern), self.separator)
    }

    /// Where in the mailbox list the names can be that a user sees under names beginning with `literal`: prefixes of
    /// [`MailboxName::to_dbname`], none of them below another.
    ///
    /// They may hold more than that, never less; [`Pattern::matches`] decides.
    pub fn scan_prefixes(&self, literal: &str, user: Option<&str>, admin: bool) -> Vec<String> {
        let user = user.map(|user| self.split_user(user));
        if admin && self.virtdomains == VirtualDomains::On {
            return vec![String::new()];
        }
        let domain = user
            .and_then(|(_, domain)| domain)
            .map_or(String::new(), |domain| format!("{domain}{DB_DOMAIN}"));
        let own = user.map(|(local, _)| format!("{domain}{USER}{DB_SEPARATOR}{local}"));
        let mut prefixes = Vec::new();
        // Adds the names below the top `prefix`, which are at `at` in the list, if the literal can lead there.
        let mut below = |prefix: &str, at: &str| {
            if let Some(rest) = literal.strip_prefix(prefix) {
                prefixes.push(format!("{at}{}", self.db_prefix(rest)));
            } else if prefix.starts_with(literal) {
                prefixes.push(at.to_owned());
            }
        };
        if admin || !self.altnamespace {
            below("", &domain);
            if INBOX.starts_with(literal) || literal.starts_with(INBOX) {
                prefixes.extend(own);
            }
        } else {
            let separator = self.separator;
            below(
                &format!("{}{separator}", self.trimmed(&self.userprefix)),
                &format!("{domain}{USER}{DB_SEPARATOR}"),
            );
            below(
                &format!("{}{separator}", self.trimmed(&self.sharedprefix)),
                &domain,
            );
            // What the user knows by a name that cannot lead to `INBOX`, or to where names are shown that would be taken for
            // others, lies right below his INBOX.
            let alternate = self.trimmed(&self.altprefix);
            let leads_elsewhere = [INBOX, alternate]
                .into_iter()
                .any(|top| top.starts_with(literal) || literal.starts_with(top));
            prefixes.extend(own.map(|own| match leads_elsewhere {
                true => own,
                false => format!("{own}{DB_SEPARATOR}{}", self.db_prefix(literal)),
            }));
        }
        prefixes.sort();
        let mut kept: Vec<String> = Vec::new();
        for prefix in prefixes {
            if !kept.last().is_some_and(|last| prefix.starts_with(last.as_str())) {
                kept.push(prefix);
            }
        }
        kept
    }

    /// The userid that a login name stands for: the default domain is left out.
    pub fn login_userid<'a>(&self, userid: &'a str) -> &'a str {
        match userid.rsplit_once('@') {
            Some((local, domain)) if self.virtdomains == VirtualDomains::On && self.is_default(domain) => {
                local
            }
            _ => userid,
        }
    }

    /// A userid's local part, and its domain unless it is the default one.
    fn split_user<'a>(&self, userid: &'a str) -> (&'a str, Option<&'a str>) {
        match userid.rsplit_once('@') {
            Some((local, domain)) if self.virtdomains == VirtualDomains::On => {
                (local, Some(domain).filter(|domain| !self.is_default(domain)))
            }
            _ => (userid, None),
        }
    }

    fn is_default(&self, domain: &str) -> bool {
        self.defaultdomain
            .as_deref()
            .is_some_and(|default| default.eq_ignore_ascii_case(domain))
    }

    /// The components of a client's name, in their internal spelling; empty ones are left out.
    fn split(&self, client: &str) -> Result<Vec<String>, NameError> {
        let refused: &[char] = match self.separator {
            Separator::Slash => &['^', '!'],
            Separator::Dot => &['/', '!'],
        };
        if let Some(at) = client.find(refused) {
            return Err(bad_byte(client, at));
        }
        let components = client
            .split(self.separator.as_char())
            .filter(|component| !component.is_empty());
        Ok(components.map(|component| component.replace('.', "^")).collect())
    }

    /// An internal component as clients see it.
    fn to_external(&self, component: &str) -> String {
        match self.separator {
            Separator::Slash => component.replace('^', "."),
            Separator::Dot => component.to_owned(),
        }
    }

    fn separated(&self, path: &[String]) -> String {
        path.join(match self.separator {
            Separator::Slash => "/",
            Separator::Dot => ".",
        })
    }

    fn join(&self, domain: Option<&str>, top: &[String], rest: &[String]) -> Result<MailboxName, NameError> {
        let components: Vec<&str> = top.iter().chain(rest).map(String::as_str).collect();
        MailboxName::from_parts(domain, &components)
    }

    /// What is below a configured prefix, if the components begin with it.
    fn below<'a>(&self, prefix: &str, components: &'a [String]) -> Option<&'a [String]> {
        let prefix = self.split(prefix).ok().filter(|prefix| !prefix.is_empty())?;
        components.strip_prefix(prefix.as_slice())
    }

    /// Whether a mailbox of the user's own cannot be called by its plain name in the alternate namespace.
    fn needs_altprefix(&self, rest: &[String]) -> bool {
        let Some(first) = rest.first() else { return false };
        if first.eq_ignore_ascii_case(INBOX) {
            return first != INBOX || rest.len() == 1;
        }
        [&self.userprefix, &self.sharedprefix, &self.altprefix]
            .iter()
            .any(|prefix| {
                let prefix: Vec<&str> = prefix
                    .split(self.separator.as_char())
                    .filter(|component| !component.is_empty())
                    .collect();
                !prefix.is_empty()
                    && rest.len() >= prefix.len()
                    && rest.iter().zip(&prefix).all(|(a, b)| a == b)
            })
    }

    /// A configured prefix without separators at its end.
    fn trimmed<'a>(&self, prefix: &'a str) -> &'a str {
        prefix.trim_end_matches(self.separator.as_char())
    }

    /// The database spelling of the beginning of a client's name.
    fn db_prefix(&self, text: &str) -> String {
        match self.separator {
            Separator::Slash => text.replace('/', "\u{1f}"),
            Separator::Dot => text.replace('.', "\u{1f}").replace('^', "."),
        }
    }
}

/// The one name that every user's INBOX has, in any case of letters.
const INBOX: &str = "INBOX";
