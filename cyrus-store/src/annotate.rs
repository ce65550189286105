//! Annotations: of the server and of mailboxes in `annotations.db`, of messages in the mailbox's `cyrus.annotations`.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use cyrus_acl::{AuthState, Rights};

use crate::db::{Create, DbError, Engine};
use crate::error::MailboxError;
use crate::format::annotation::{AnnotationValue, OWNER_TOKEN, key, split_key};
use crate::format::quota::Usage;
use crate::ident::MailboxId;
use crate::mailbox::IndexWrite;
use crate::mboxlist::{MailboxEntry, RowChange};
use crate::name::MailboxName;
use crate::quota::{QuotaPolicy, check_room};
use crate::store::{Store, now};
use crate::uid::{ModSeq, Uid};

use self::computed::Facts;
use self::definitions::Kept;

pub use self::definitions::{DefinedScope, Definition, Definitions, ValueType};

mod computed;
mod definitions;
mod special_use;

/// What an annotation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationScope<'a> {
    /// The server.
    Server,
    /// A mailbox.
    Mailbox(&'a MailboxName),
    /// A message. These are changed through [`Mailbox::annotate`](crate::Mailbox::annotate).
    Message(&'a MailboxName, Uid),
}

impl AnnotationScope<'_> {
    fn defined(self) -> DefinedScope {
        match self {
            Self::Server => DefinedScope::Server,
            Self::Mailbox(_) => DefinedScope::Mailbox,
            Self::Message(..) => DefinedScope::Message,
        }
    }
}

/// Whose value an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    /// Everybody's: `/shared`.
    Shared,
    /// One user's own: `/private`.
    Private,
}

/// One annotation with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// The entry, such as `/comment`; `/shared` or `/private` is not part of it.
    pub entry: String,
    /// Whose value it is.
    pub audience: Audience,
    /// The value; `None` if none is set.
    pub value: Option<Vec<u8>>,
}

/// A change of one annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationUpdate {
    /// The entry, such as `/comment`.
    pub entry: String,
    /// Whose value it is.
    pub audience: Audience,
    /// The new value; none and an empty one remove it.
    pub value: Option<Vec<u8>>,
}

impl Annotation {
    /// The name as METADATA has it: `/shared/comment` (RFC 5464).
    pub fn metadata_name(&self) -> String {
        match self.audience {
            Audience::Shared => format!("/shared{}", self.entry),
            Audience::Private => format!("/private{}", self.entry),
        }
    }
}

impl Store {
    /// The value of an annotation.
    ///
    /// # Errors
    /// [`MailboxError::NotFound`] or [`MailboxError::PermissionDenied`] for a mailbox that the user may not read.
    pub fn annotation(
        &self,
        scope: AnnotationScope<'_>,
        entry: &str,
        audience: Audience,
        auth: &AuthState,
    ) -> Result<Option<Vec<u8>>, MailboxError> {
        let wanted = |name: &str, whose| name == entry && whose == audience;
        let found = self.find_annotations(scope, &wanted, auth)?;
        Ok(found.into_iter().find_map(|found| found.value))
    }

    /// The annotations that are `wanted`, shared ones and the user's own: those that are set, in the order of entries, then
    /// the others that are defined, without value or with one that is computed.
    ///
    /// # Errors
    /// As [`Store::annotation`].
    pub fn find_annotations(
        &self,
        scope: AnnotationScope<'_>,
        wanted: &dyn Fn(&str, Audience) -> bool,
        auth: &AuthState,
    ) -> Result<Vec<Annotation>, MailboxError> {
        let engine = self.options().databases.annotation;
        let (path, scope_key, mailbox) = match scope {
            AnnotationScope::Server => (self.annotations_path(), String::new(), None),
            AnnotationScope::Mailbox(name) => {
                let entry = self.readable(name, MAY_READ_METADATA, auth)?;
                let id = entry.storage()?.0.to_string();
                (self.annotations_path(), id, Some(entry))
            }
            AnnotationScope::Message(name, uid) => {
                let entry = self.readable(name, Rights::READ, auth)?;
                let paths = self.paths_of(&entry)?;
                (paths.annotations, uid.get().to_string(), Some(entry))
            }
        };
        let own = private_key(mailbox.as_deref(), auth);
        let mut found = self.scan_annotations(path, engine, &scope_key, wanted, &own)?;
        let set: HashSet<(String, Audience)> = found
            .iter()
            .map(|found| (found.entry.clone(), found.audience))
            .collect();
        let mut facts = Facts::new(self, mailbox.as_deref(), auth);
        for definition in self.options().annotations.of(scope.defined()) {
            for audience in [Audience::Private, Audience::Shared] {
                let is_set = || set.contains(&(definition.entry.to_string(), audience));
                if !definition.has(audience) || !wanted(&definition.entry, audience) || is_set() {
                    continue;
                }
                found.push(Annotation {
                    entry: definition.entry.to_string(),
                    audience,
                    value: facts.value(definition.kept)?,
                });
            }
        }
        Ok(found)
    }

    /// The annotations that somebody set, shared ones and the user's own: none that are computed.
    ///
    /// # Errors
    /// As [`Store::annotation`].
    pub fn stored_annotations(
        &self,
        scope: AnnotationScope<'_>,
        auth: &AuthState,
    ) -> Result<Vec<Annotation>, MailboxError> {
        let computed: HashSet<&str> = self
            .options()
            .annotations
            .of(scope.defined())
            .filter(|definition| matches!(definition.kept, Kept::Computed(_)))
            .map(|definition| &*definition.entry)
            .collect();
        let wanted = |entry: &str, _| !computed.contains(entry);
        let mut found = self.find_annotations(scope, &wanted, auth)?;
        found.retain(|found| found.value.is_some());
        Ok(found)
    }

    /// Sets the value of an annotation of the server or of a mailbox, or removes it: [`Store::set_annotations`] with one
    /// change.
    ///
    /// # Errors
    /// As [`Store::set_annotations`].
    pub fn set_annotation(
        &self,
        scope: AnnotationScope<'_>,
        entry: &str,
        audience: Audience,
        value: Option<&[u8]>,
        auth: &AuthState,
    ) -> Result<(), MailboxError> {
        let update = AnnotationUpdate {
            entry: entry.to_owned(),
            audience,
            value: value.map(<[u8]>::to_vec),
        };
        self.set_annotations(scope, &[update], auth)
    }

    /// Changes annotations of the server or of a mailbox, all or none.
    ///
    /// # Errors
    /// [`MailboxError::PermissionDenied`]: shared values of the server are for administrators, those of a mailbox need
    /// the right `w` and whatever else their definition says; and nobody sets what is not defined.
    /// [`MailboxError::OverQuota`]. [`MailboxError::AnnotationTooLong`], [`MailboxError::TooManyAnnotations`].
    /// [`MailboxError::Refused`] for values that the definition does not allow, and for messages, whose annotations are
    /// changed through their mailbox.
    pub fn set_annotations(
        &self,
        scope: AnnotationScope<'_>,
        changes: &[AnnotationUpdate],
        auth: &AuthState,
    ) -> Result<(), MailboxError> {
        match scope {
            AnnotationScope::Server => {
                let mut rows = Vec::with_capacity(changes.len());
                let mut files = Vec::new();
                for change in changes {
                    if change.audience == Audience::Shared && !auth.is_admin() {
                        return Err(MailboxError::PermissionDenied);
                    }
                    let (kept, value) = self.checked_update(DefinedScope::Server, change, MAX_VALUE)?;
                    match kept {
                        Kept::File(file) => files.push((file, value)),
                        _ => {
                            let userid = user_part(change.audience, None, auth);
                            rows.push((key("", &change.entry, &userid), value));
                        }
                    }
                }
                self.write_annotations("", &rows)?;
                files
                    .into_iter()
                    .try_for_each(|(file, line)| self.write_message_file(file, line.as_deref()))
            }
            AnnotationScope::Mailbox(name) => {
                let _namespaces = self.lock_namespaces([name])?;
                let mailbox = self.readable(name, Rights::LOOKUP | Rights::READ, auth)?;
                let mut checked = Vec::with_capacity(changes.len());
                for change in changes {
                    self.check_may_annotate(&mailbox, change, auth)?;
                    let (kept, mut value) = self.checked_update(DefinedScope::Mailbox, change, MAX_VALUE)?;
                    if let (Kept::SpecialUse, Some(uses)) = (kept, &value) {
                        let uses = self.checked_special_use(&mailbox, uses, auth)?;
                        value = Some(uses).filter(|uses| !uses.is_empty());
                    }
                    let userid = user_part(change.audience, Some(&mailbox), auth);
                    checked.push((change.entry.as_str(), userid, value));
                }
                let rows: Vec<_> = checked
                    .iter()
                    .map(|(entry, userid, value)| (*entry, userid.as_str(), value.as_deref()))
                    .collect();
                self.annotate_mailbox(&mailbox, &rows)
            }
            AnnotationScope::Message(..) => Err(MailboxError::Refused(
                "annotations of messages are changed through their mailbox".to_owned(),
            )),
        }
    }

    /// Where the value of a change is kept, and the value as it is kept; nothing if it is to be removed.
    pub(crate) fn checked_update(
        &self,
        scope: DefinedScope,
        change: &AnnotationUpdate,
        max_value: usize,
    ) -> Result<(Kept, Option<Vec<u8>>), MailboxError> {
        let entry = change.entry.as_str();
        let is_entry = entry.len() > 1 && entry.starts_with('/') && !entry.ends_with('/');
        let is_text = entry.bytes().all(|c| c.is_ascii_graphic() && !b"*%".contains(&c));
        if !is_entry || !is_text || entry.len() > MAX_ENTRY {
            return Err(MailboxError::PermissionDenied);
        }
        let definition = self.options().annotations.find(scope, entry);
        let definition = definition.ok_or(MailboxError::PermissionDenied)?;
        if !definition.may_set(change.audience) {
            return Err(match change.audience {
                Audience::Private if definition.shared => MailboxError::NoPrivateAnnotation,
                _ => MailboxError::PermissionDenied,
            });
        }
        let Some(value) = change.value.as_deref().filter(|value| !value.is_empty()) else {
            return Ok((definition.kept, None));
        };
        if value.len() > max_value {
            return Err(MailboxError::AnnotationTooLong { limit: max_value });
        }
        let invalid = || MailboxError::Refused("Invalid annotation value".to_owned());
        let value = definition.checked(value).ok_or_else(invalid)?;
        if definition.kept == Kept::Pop3ShowAfter && computed::parse_date(&value).is_none() {
            return Err(MailboxError::Refused("Syntax error in parameters".to_owned()));
        }
        Ok((definition.kept, Some(value)))
    }

    fn check_may_annotate(
        &self,
        mailbox: &MailboxEntry,
        change: &AnnotationUpdate,
        auth: &AuthState,
    ) -> Result<(), MailboxError> {
        if auth.is_admin() {
            return Ok(());
        }
        let definition = self
            .options()
            .annotations
            .find(DefinedScope::Mailbox, &change.entry);
        let extra = definition.map_or(Rights::NONE, |definition| definition.extra_rights);
        let needed = match change.audience {
            Audience::Shared => extra | Rights::WRITE,
            Audience::Private => extra,
        };
        match self.rights(mailbox, auth).contains(needed) {
            true => Ok(()),
            false => Err(MailboxError::PermissionDenied),
        }
    }

    /// Changes annotations of a mailbox, given as entry, user and value, under its namespace lock: the annotations, the
    /// rows, the usage in the index.
    ///
    /// A crash in between leaves the annotations changed and their octets uncounted until `quota -f` counts them.
    pub(crate) fn annotate_mailbox(
        &self,
        mailbox: &MailboxEntry,
        changes: &[(&str, &str, Option<&[u8]>)],
    ) -> Result<(), MailboxError> {
        let mut write = self.hold(mailbox)?;
        let id = mailbox.storage()?.0.clone();
        let before = (write.header.options, write.header.pop3_show_after);
        let mut rows: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        let mut more = 0_i64;
        for &(entry, userid, value) in changes {
            let definition = self.options().annotations.find(DefinedScope::Mailbox, entry);
            match definition.map(|definition| definition.kept) {
                Some(Kept::Option(bit)) if userid.is_empty() => match value {
                    Some(b"true") => write.header.options |= bit,
                    _ => write.header.options &= !bit,
                },
                Some(Kept::Pop3ShowAfter) if userid.is_empty() => {
                    let date = value.and_then(computed::parse_date).unwrap_or_default();
                    write.header.pop3_show_after = u32::try_from(date.max(0)).unwrap_or(u32::MAX);
                }
                _ => {
                    let row = key(id.as_str(), entry, userid);
                    let old = match rows.iter().rev().find(|(key, _)| *key == row) {
                        Some((_, value)) => value.clone(),
                        None => self.stored_annotation(&row)?,
                    };
                    if old.as_deref() == value {
                        continue;
                    }
                    let length = |value: Option<&[u8]>| {
                        i64::try_from(value.map_or(0, <[u8]>::len)).unwrap_or(i64::MAX)
                    };
                    more = more.saturating_add(length(value) - length(old.as_deref()));
                    rows.push((row, value.map(<[u8]>::to_vec)));
                }
            }
        }
        if rows.is_empty() && before == (write.header.options, write.header.pop3_show_after) {
            return Ok(());
        }
        self.check_annotation_room(&write, more)?;
        self.write_annotations(id.as_str(), &rows)?;
        let used = i64::from(write.header.quota_annot_used).saturating_add(more);
        write.header.quota_annot_used = u32::try_from(used.max(0)).unwrap_or(u32::MAX);
        let changed = MailboxEntry {
            folder_modseq: ModSeq(write.next_modseq()),
            mtime: i64::from(now()),
            ..mailbox.clone()
        };
        self.commit_rows(&[RowChange::Update(&changed)])?;
        write.commit(&changed.name, &id)
    }

    /// Whether so many octets of annotations more may be added to a mailbox.
    pub(crate) fn check_annotation_room(&self, write: &IndexWrite, more: i64) -> Result<(), MailboxError> {
        let Some(root) = write.names().header.quota_root.as_deref().filter(|_| more > 0) else {
            return Ok(());
        };
        let Some(quota) = self.read_quota(root)? else {
            return Ok(());
        };
        check_room(root, &quota, Usage([0, 0, more, 0]), QuotaPolicy::Store)
    }

    fn scan_annotations(
        &self,
        path: PathBuf,
        engine: Engine,
        scope: &str,
        wanted: &dyn Fn(&str, Audience) -> bool,
        own: &str,
    ) -> Result<Vec<Annotation>, MailboxError> {
        let mut db = match self.databases().open(&path, engine, Create::No) {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let start = [scope.as_bytes(), b"\0"].concat();
        let mut found = Vec::new();
        let mut damage = None;
        db.scan(&start, &mut |key, value| {
            let Some((_, entry, userid)) = split_key(key) else {
                return ControlFlow::Continue(());
            };
            let audience = match userid {
                "" => Audience::Shared,
                userid if userid == own => Audience::Private,
                _ => return ControlFlow::Continue(()),
            };
            if !wanted(entry, audience) {
                return ControlFlow::Continue(());
            }
            match AnnotationValue::parse(value) {
                Ok(value) if value.deleted || value.value.is_empty() => {}
                Ok(value) => found.push(Annotation {
                    entry: entry.to_owned(),
                    audience,
                    value: Some(value.value),
                }),
                Err(fault) => {
                    damage = Some(fault);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        match damage {
            Some(fault) => Err(MailboxError::damaged(&path, fault)),
            None => Ok(found),
        }
    }

    pub(crate) fn stored_annotation(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MailboxError> {
        let path = self.annotations_path();
        let mut db = match self
            .databases()
            .open(&path, self.options().databases.annotation, Create::No)
        {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(row) = db.get(key)? else { return Ok(None) };
        let value = AnnotationValue::parse(&row).map_err(|fault| MailboxError::damaged(&path, fault))?;
        Ok((!value.deleted).then_some(value.value))
    }

    /// Writes and removes rows of one scope, all at once.
    fn write_annotations(
        &self,
        scope: &str,
        rows: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<(), MailboxError> {
        if rows.is_empty() {
            return Ok(());
        }
        let path = self.annotations_path();
        let mut db = self
            .databases()
            .open(&path, self.options().databases.annotation, Create::Yes)?;
        let mut txn = db.begin()?;
        for (key, value) in rows {
            match value {
                Some(value) => {
                    let row = AnnotationValue {
                        value: value.clone(),
                        ..AnnotationValue::default()
                    };
                    txn.put(key, &row.to_bytes())?;
                }
                None => drop(txn.remove(key)?),
            }
        }
        if rows.iter().any(|(_, value)| value.is_some()) {
            let mut count = 0_usize;
            txn.scan(&[scope.as_bytes(), b"\0"].concat(), &mut |_, _| {
                count += 1;
                ControlFlow::Continue(())
            })?;
            if count > MAX_ANNOTATIONS {
                return Err(MailboxError::TooManyAnnotations);
            }
        }
        Ok(txn.commit()?)
    }

    /// Removes the annotations of a mailbox that is no more.
    pub(crate) fn remove_annotations(&self, id: &MailboxId) -> Result<(), MailboxError> {
        let path = self.annotations_path();
        let mut db = match self
            .databases()
            .open(&path, self.options().databases.annotation, Create::No)
        {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut keys = Vec::new();
        db.scan(&[id.as_str().as_bytes(), b"\0"].concat(), &mut |key, _| {
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })?;
        if keys.is_empty() {
            return Ok(());
        }
        let mut txn = db.begin()?;
        for key in &keys {
            txn.remove(key)?;
        }
        Ok(txn.commit()?)
    }

    /// Gives the annotations of a mailbox to another unique id.
    pub(crate) fn move_annotations(&self, from: &MailboxId, to: &MailboxId) -> Result<(), MailboxError> {
        let path = self.annotations_path();
        let mut db = match self
            .databases()
            .open(&path, self.options().databases.annotation, Create::No)
        {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut txn = db.begin()?;
        let mut rows = Vec::new();
        txn.scan(&[from.as_str().as_bytes(), b"\0"].concat(), &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        if rows.is_empty() {
            return Ok(());
        }
        for (old, value) in &rows {
            let rest = old.get(from.as_str().len()..).unwrap_or_default();
            txn.put(&[to.as_str().as_bytes(), rest].concat(), value)?;
            txn.remove(old)?;
        }
        Ok(txn.commit()?)
    }

    pub(crate) fn annotations_path(&self) -> PathBuf {
        let options = self.options();
        options.database_path(options.databases.annotation_path.as_ref(), "annotations.db")
    }

    /// A mailbox on which the user has one of these rights; administrators need none.
    fn readable(
        &self,
        name: &MailboxName,
        any_of: Rights,
        auth: &AuthState,
    ) -> Result<Arc<MailboxEntry>, MailboxError> {
        let (entry, rights) = self.visible(name, auth)?;
        if auth.is_admin() || rights.intersects(any_of) {
            Ok(entry)
        } else if rights.contains(Rights::LOOKUP) {
            Err(MailboxError::PermissionDenied)
        } else {
            Err(MailboxError::NotFound)
        }
    }
}

/// The user part of a key for a value of this audience.
fn user_part(audience: Audience, mailbox: Option<&MailboxEntry>, auth: &AuthState) -> String {
    match audience {
        Audience::Shared => String::new(),
        Audience::Private => private_key(mailbox, auth),
    }
}

/// The user part of the keys of a user's private values.
fn private_key(mailbox: Option<&MailboxEntry>, auth: &AuthState) -> String {
    match mailbox.and_then(|mailbox| mailbox.name.owner()) {
        Some(owner) if owner == auth.userid() || auth.is_system() => OWNER_TOKEN.to_owned(),
        _ => auth.userid().to_owned(),
    }
}

/// One of these rights lets a user read the annotations of a mailbox (RFC 5464, section 3.3).
const MAY_READ_METADATA: Rights = Rights::READ
    .union(Rights::SEEN)
    .union(Rights::WRITE)
    .union(Rights::INSERT)
    .union(Rights::POST);
/// Octets of the name of an entry.
const MAX_ENTRY: usize = 1024;
/// Octets of a value of the server or of a mailbox.
const MAX_VALUE: usize = 1 << 20;
/// Annotations of all users that one mailbox or the server has, at most.
const MAX_ANNOTATIONS: usize = 10_000;
