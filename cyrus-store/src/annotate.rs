//! Annotations: of the server and of mailboxes in `annotations.db`, of messages in the mailbox's `cyrus.annotations`.

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
use crate::mboxlist::{MailboxEntry, RowChange, SPECIAL_USE_CONFLICT};
use crate::name::MailboxName;
use crate::quota::{QuotaPolicy, check_room};
use crate::store::{Store, now};
use crate::uid::{ModSeq, Uid};

use self::computed::OPTION_ENTRIES;

mod computed;

/// What an annotation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationScope<'a> {
    /// The server.
    Server,
    /// A mailbox.
    Mailbox(&'a MailboxName),
    /// A message. These can be read only.
    Message(&'a MailboxName, Uid),
}

/// Whose value an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The value.
    pub value: Vec<u8>,
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
        let found = self.list_annotations(scope, entry, auth)?;
        let found = found
            .into_iter()
            .find(|found| found.audience == audience && found.entry == entry);
        Ok(found.map(|found| found.value))
    }

    /// The annotations whose entries begin with `prefix`, shared ones and the user's own, in the order of entries.
    ///
    /// Among them are some that are computed: a mailbox's unique id, partition and options; among those of the server, a
    /// user's counters and the messages of `motd` and `shutdown`.
    ///
    /// # Errors
    /// As [`Store::annotation`].
    pub fn list_annotations(
        &self,
        scope: AnnotationScope<'_>,
        prefix: &str,
        auth: &AuthState,
    ) -> Result<Vec<Annotation>, MailboxError> {
        let (path, engine, scope_key, mailbox) = match scope {
            AnnotationScope::Server => (
                self.annotations_path(),
                self.options().databases.annotation,
                String::new(),
                None,
            ),
            AnnotationScope::Mailbox(name) => {
                let entry = self.readable(name, Rights::LOOKUP | Rights::READ, auth)?;
                let id = entry.storage()?.0.to_string();
                (
                    self.annotations_path(),
                    self.options().databases.annotation,
                    id,
                    Some(entry),
                )
            }
            AnnotationScope::Message(name, uid) => {
                let entry = self.readable(name, Rights::READ, auth)?;
                let paths = self.paths_of(&entry)?;
                (
                    paths.annotations,
                    Engine::Twoskip,
                    uid.get().to_string(),
                    Some(entry),
                )
            }
        };
        let own = private_key(mailbox.as_deref(), auth);
        let mut found = self.scan_annotations(path, engine, &scope_key, prefix, &own)?;
        match (scope, &mailbox) {
            (AnnotationScope::Mailbox(_), Some(entry)) => {
                found.extend(self.computed_of_mailbox(entry, prefix)?)
            }
            (AnnotationScope::Server, _) => found.extend(self.computed_of_server(prefix, auth)?),
            _ => {}
        }
        found.sort_by(|a, b| (&a.entry, a.audience).cmp(&(&b.entry, b.audience)));
        Ok(found)
    }

    /// The annotations of the server or of a mailbox that somebody set, shared ones and the user's own; none that are computed.
    ///
    /// # Errors
    /// As [`Store::annotation`].
    pub fn stored_annotations(
        &self,
        scope: AnnotationScope<'_>,
        auth: &AuthState,
    ) -> Result<Vec<Annotation>, MailboxError> {
        let (id, mailbox) = match scope {
            AnnotationScope::Server | AnnotationScope::Message(..) => (String::new(), None),
            AnnotationScope::Mailbox(name) => {
                let entry = self.readable(name, Rights::LOOKUP | Rights::READ, auth)?;
                (entry.storage()?.0.to_string(), Some(entry))
            }
        };
        let own = private_key(mailbox.as_deref(), auth);
        let engine = self.options().databases.annotation;
        self.scan_annotations(self.annotations_path(), engine, &id, "", &own)
    }

    /// Sets the value of an annotation of the server or of a mailbox, or removes it.
    ///
    /// # Errors
    /// [`MailboxError::PermissionDenied`]: shared values of the server are for administrators, those of a mailbox need
    /// the right `w` and private ones `r`. [`MailboxError::OverQuota`]. [`MailboxError::Refused`] for messages, whose
    /// annotations are written with them.
    pub fn set_annotation(
        &self,
        scope: AnnotationScope<'_>,
        entry: &str,
        audience: Audience,
        value: Option<&[u8]>,
        auth: &AuthState,
    ) -> Result<(), MailboxError> {
        self.check_list_writable()?;
        if !entry.starts_with('/') || entry.contains('\0') || entry.len() > MAX_ENTRY {
            return Err(MailboxError::Refused(format!("{entry:?} is no annotation entry")));
        }
        if value.is_some_and(|value| value.len() > MAX_VALUE) {
            return Err(MailboxError::Refused(format!(
                "annotation values have at most {MAX_VALUE} octets"
            )));
        }
        match scope {
            AnnotationScope::Server => {
                if audience == Audience::Shared && !auth.is_admin() {
                    return Err(MailboxError::PermissionDenied);
                }
                let userid = user_part(audience, None, auth);
                self.write_annotation(&key("", entry, &userid), value).map(drop)
            }
            AnnotationScope::Mailbox(name) => {
                let _namespaces = self.lock_namespaces([name])?;
                let needed = match audience {
                    Audience::Shared => Rights::WRITE,
                    Audience::Private => Rights::READ,
                };
                let mailbox = self.readable(name, needed, auth)?;
                if entry == SPECIAL_USE {
                    let words = value.map(String::from_utf8_lossy).unwrap_or_default();
                    let uses: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
                    self.check_special_use(name, &uses, auth)?;
                }
                let userid = user_part(audience, Some(&mailbox), auth);
                self.annotate_mailbox(&mailbox, entry, &userid, value)
            }
            AnnotationScope::Message(..) => Err(MailboxError::Refused(
                "annotations of messages cannot be changed".to_owned(),
            )),
        }
    }

    /// Changes an annotation of a mailbox, under its namespace lock: the annotation, the rows, the usage in the index.
    ///
    /// A crash in between leaves the annotation changed and its octets uncounted until `quota -f` counts them.
    fn annotate_mailbox(
        &self,
        mailbox: &MailboxEntry,
        entry: &str,
        userid: &str,
        value: Option<&[u8]>,
    ) -> Result<(), MailboxError> {
        let mut write = self.hold(mailbox)?;
        let id = mailbox.storage()?.0.clone();
        match OPTION_ENTRIES.iter().find(|(name, _)| *name == entry) {
            Some((_, bit)) if userid.is_empty() => {
                let before = write.header.options;
                match value {
                    Some(b"true" | b"1" | b"on") => write.header.options |= bit,
                    _ => write.header.options &= !bit,
                }
                if write.header.options == before {
                    return Ok(());
                }
            }
            _ => {
                let row = key(id.as_str(), entry, userid);
                let old = self.stored_annotation(&row)?;
                if old.as_deref() == value {
                    return Ok(());
                }
                let lengths = [old.as_deref(), value].map(|value| value.map_or(0, <[u8]>::len));
                let [old_length, new_length] =
                    lengths.map(|length| i64::try_from(length).unwrap_or(i64::MAX));
                self.check_annotation_room(&write, new_length.saturating_sub(old_length))?;
                self.write_annotation(&row, value)?;
                let used = i64::from(write.header.quota_annot_used) + new_length - old_length;
                write.header.quota_annot_used = u32::try_from(used.max(0)).unwrap_or(u32::MAX);
            }
        }
        let changed = MailboxEntry {
            folder_modseq: ModSeq(write.next_modseq()),
            mtime: i64::from(now()),
            ..mailbox.clone()
        };
        self.commit_rows(&[RowChange::Update(&changed)])?;
        write.commit(&changed.name, &id)
    }

    fn check_annotation_room(&self, write: &IndexWrite, more: i64) -> Result<(), MailboxError> {
        let Some(root) = &write.names().header.quota_root else {
            return Ok(());
        };
        let Some(quota) = self.read_quota(root)? else {
            return Ok(());
        };
        check_room(root, &quota, Usage([0, 0, more, 0]), QuotaPolicy::Store)
    }

    /// Sets the special uses of a mailbox, for its owner.
    pub(crate) fn set_special_use(&self, name: &MailboxName, uses: &[String]) -> Result<(), MailboxError> {
        let entry = self.lookup(name)?.ok_or(MailboxError::NotFound)?;
        let value = uses.join(" ");
        self.annotate_mailbox(&entry, SPECIAL_USE, OWNER_TOKEN, Some(value.as_bytes()))
    }

    /// The special uses of a mailbox, as its owner has them.
    ///
    /// # Errors
    /// `annotations.db` cannot be read.
    pub fn special_use(&self, entry: &MailboxEntry) -> Result<Vec<String>, MailboxError> {
        let Some(id) = &entry.id else {
            return Ok(Vec::new());
        };
        let value = self
            .stored_annotation(&key(id.as_str(), SPECIAL_USE, OWNER_TOKEN))?
            .unwrap_or_default();
        Ok(String::from_utf8_lossy(&value)
            .split_whitespace()
            .map(str::to_owned)
            .collect())
    }

    /// Whether a mailbox of this name can have these special uses: they are known ones, and it is right below the INBOX
    /// of the user himself.
    pub(crate) fn check_special_use(
        &self,
        name: &MailboxName,
        uses: &[String],
        auth: &AuthState,
    ) -> Result<(), MailboxError> {
        let known = |wanted: &String| {
            SPECIAL_USES
                .iter()
                .any(|known| known.eq_ignore_ascii_case(wanted))
        };
        let own = name.owner().as_deref() == Some(auth.userid()) || auth.is_system();
        if uses.is_empty() || (uses.iter().all(known) && own && may_be_special(name)) {
            Ok(())
        } else {
            Err(MailboxError::Refused(SPECIAL_USE_CONFLICT.to_owned()))
        }
    }

    /// Whether a mailbox must not be deleted because of its special use.
    pub(crate) fn is_protected(&self, entry: &MailboxEntry) -> Result<bool, MailboxError> {
        let protected = &self.options().specialuse_protect;
        let uses = self.special_use(entry)?;
        Ok(uses
            .iter()
            .any(|used| protected.iter().any(|name| name.eq_ignore_ascii_case(used))))
    }

    /// Whether a mailbox under another name could have the special uses that it has.
    pub(crate) fn keeps_special_use(
        &self,
        entry: &MailboxEntry,
        to: &MailboxName,
    ) -> Result<bool, MailboxError> {
        let stays = may_be_special(to) && to.inbox() == entry.name.inbox();
        Ok(stays || !self.is_protected(entry)?)
    }

    fn scan_annotations(
        &self,
        path: PathBuf,
        engine: Engine,
        scope: &str,
        prefix: &str,
        own: &str,
    ) -> Result<Vec<Annotation>, MailboxError> {
        let mut db = match self.databases().open(&path, engine, Create::No) {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let start = [scope.as_bytes(), b"\0", prefix.as_bytes()].concat();
        let mut rows = Vec::new();
        db.scan(&start, &mut |key, value| {
            rows.push((key.to_vec(), AnnotationValue::parse(value)));
            ControlFlow::Continue(())
        })?;
        let mut found = Vec::new();
        for (key, value) in rows {
            let Some((_, entry, userid)) = split_key(&key) else {
                continue;
            };
            let audience = match userid {
                "" => Audience::Shared,
                userid if userid == own => Audience::Private,
                _ => continue,
            };
            let value = value.map_err(|fault| MailboxError::damaged(&path, fault))?;
            if !value.deleted {
                found.push(Annotation {
                    entry: entry.to_owned(),
                    audience,
                    value: value.value,
                });
            }
        }
        Ok(found)
    }

    fn stored_annotation(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MailboxError> {
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

    fn write_annotation(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), MailboxError> {
        let path = self.annotations_path();
        let mut db = self
            .databases()
            .open(&path, self.options().databases.annotation, Create::Yes)?;
        match value {
            Some(value) => {
                let row = AnnotationValue {
                    value: value.to_vec(),
                    ..AnnotationValue::default()
                };
                db.put(key, &row.to_bytes())?;
            }
            None => drop(db.remove(key)?),
        }
        Ok(())
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

/// Whether a mailbox of this name can have a special use: it is right below an INBOX.
fn may_be_special(name: &MailboxName) -> bool {
    name.owner().is_some() && name.components().count() == 3
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

/// The entry of special uses (RFC 6154).
const SPECIAL_USE: &str = "/specialuse";
/// The special uses that there are.
const SPECIAL_USES: [&str; 8] = [
    "\\Archive",
    "\\Drafts",
    "\\Flagged",
    "\\Important",
    "\\Junk",
    "\\Sent",
    "\\Snoozed",
    "\\Trash",
];
/// Octets of the name of an entry.
const MAX_ENTRY: usize = 1024;
/// Octets of a value.
const MAX_VALUE: usize = 1 << 20;
