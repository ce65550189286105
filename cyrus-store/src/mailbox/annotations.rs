//! Annotations of messages (RFC 5257): `cyrus.annotations`, and what of it is counted in the index.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::UNIX_EPOCH;

use cyrus_acl::Rights;

use super::read::header_of;
use super::{FlagsStored, IndexWrite, Mailbox};
use crate::annotate::{AnnotationUpdate, Audience, DefinedScope};
use crate::conversations::BASE_ENTRY;
use crate::db::{Create, Db, DbError, Pooled};
use crate::error::MailboxError;
use crate::format::annotation::{AnnotationValue, OWNER_TOKEN, key, split_key};
use crate::format::crc32;
use crate::format::index::IndexHeader;
use crate::hot::Hot;
use crate::store::Store;
use crate::sys::Mode;
use crate::uid::{ModSeq, Uid, UidSet};

impl Mailbox {
    /// Octets of the value of an annotation of a message, at most.
    pub const MAX_ANNOTATION: usize = 65_536;

    /// Changes annotations of messages; UIDs that do not exist are passed over, as are messages that are so annotated
    /// already.
    ///
    /// With `unchanged_since`, messages with a higher modification sequence are left alone and returned as modified. On
    /// return the change is on stable storage. After a crash earlier than that some annotations may be changed without
    /// being counted, until the mailbox is reconstructed.
    ///
    /// # Errors
    /// [`MailboxError::PermissionDenied`]: shared annotations need the right `n`, private ones `r`, and there must be a
    /// definition. [`MailboxError::OverQuota`], [`MailboxError::AnnotationTooLong`], [`MailboxError::Refused`] for a value
    /// that the definition does not allow.
    pub fn annotate(
        &mut self,
        uids: &UidSet,
        changes: &[AnnotationUpdate],
        unchanged_since: Option<ModSeq>,
    ) -> Result<FlagsStored, MailboxError> {
        self.refresh_entry()?;
        let changes = self.checked_annotations(changes)?;
        let locks = self.lock(Mode::Exclusive)?;
        let mut write = IndexWrite::begin(&self.store, &self.hot, locks)?;
        let mut db = open(&self.store, &self.hot)?;
        let mut stored = FlagsStored::default();
        let mut rows = Vec::new();
        let mut more = 0_i64;
        let mut messages = write.visible_in(uids);
        while let Some((number, uid, record)) = messages.next(&write)? {
            if unchanged_since.is_some_and(|since| record.modseq > since.0) {
                stored.modified.insert(uid);
                continue;
            }
            let mut differing = Vec::new();
            for change in &changes {
                let (row, _) = change.row(record.uid, self.owner.as_deref(), 0);
                let old = value_of(db.as_deref_mut(), &row)?;
                if old.as_deref().unwrap_or_default() != change.value.as_slice() {
                    differing.push((change, old));
                }
            }
            if differing.is_empty() {
                continue;
            }
            write.change(number, &record, record.clone());
            stored.changed.insert(uid);
            for (change, old) in differing {
                let header = &mut write.header;
                if let Some(value) = old {
                    let old = Annotation {
                        value,
                        ..change.clone()
                    };
                    header.sync_annot ^= old.sync(record.uid);
                    more -= i64::from(old.octets());
                }
                if !change.value.is_empty() {
                    header.sync_annot ^= change.sync(record.uid);
                    more += i64::from(change.octets());
                }
                rows.push(change.row(record.uid, self.owner.as_deref(), header.highestmodseq));
            }
        }
        drop(db);
        if rows.is_empty() {
            return Ok(stored);
        }
        self.store.check_annotation_room(&write, more)?;
        let used = i64::from(write.header.quota_annot_used).saturating_add(more);
        write.header.quota_annot_used = u32::try_from(used.max(0)).unwrap_or(u32::MAX);
        self::write(&self.store, &self.hot, &rows)?;
        write.commit(&self.entry.name, &self.id)?;
        Ok(stored)
    }

    /// The messages with an annotation that is `wanted` by entry, audience and value: everybody's annotations and the
    /// user's own are looked at, in one pass over all of the mailbox.
    ///
    /// # Errors
    /// As [`Mailbox::read`].
    pub fn annotated(
        &mut self,
        wanted: &dyn Fn(&str, Audience, &[u8]) -> bool,
    ) -> Result<UidSet, MailboxError> {
        self.refresh_entry()?;
        self.require(Rights::READ)?;
        let mut found = UidSet::new();
        let owner = self.owner.as_deref();
        each_kept_row(&self.store, &self.hot, None, &mut |uid, entry, user, value| {
            let audience = match user {
                "" => Audience::Shared,
                OWNER_TOKEN if owner == Some(self.auth.userid()) => Audience::Private,
                user if user == self.auth.userid() => Audience::Private,
                _ => return,
            };
            if let Some(uid) = Uid::new(uid)
                && wanted(entry, audience, &value.value)
            {
                found.insert(uid);
            }
        })?;
        Ok(found)
    }

    /// Which entries of these messages changed after `since`, removed ones among them: shared ones and the user's own.
    ///
    /// # Errors
    /// As [`Mailbox::read`].
    pub fn annotations_changed(
        &mut self,
        since: ModSeq,
        uids: &UidSet,
    ) -> Result<BTreeMap<Uid, BTreeSet<String>>, MailboxError> {
        self.refresh_entry()?;
        self.require(Rights::READ)?;
        let mut found: BTreeMap<Uid, BTreeSet<String>> = BTreeMap::new();
        let (owner, own) = (self.owner.as_deref(), self.auth.userid());
        let mut note = |uid: u32, entry: &str, user: &str, value: AnnotationValue| {
            let is_seen = user.is_empty() || user == own || user == OWNER_TOKEN && owner == Some(own);
            if let Some(uid) = Uid::new(uid).filter(|&uid| uids.contains(uid))
                && is_seen
                && value.modseq > since.0
            {
                found.entry(uid).or_default().insert(entry.to_owned());
            }
        };
        match uids.len() <= SOUGHT_SINGLY {
            true => {
                for uid in uids.iter() {
                    each_row(&self.store, &self.hot, Some(uid), &mut note)?;
                }
            }
            false => each_row(&self.store, &self.hot, None, &mut note)?,
        }
        Ok(found)
    }

    /// Changes of annotations that the user may make, in the form in which they are kept; an empty value removes.
    pub(super) fn checked_annotations(
        &self,
        changes: &[AnnotationUpdate],
    ) -> Result<Vec<Annotation>, MailboxError> {
        let mut checked = Vec::with_capacity(changes.len());
        for change in changes {
            let definition = self
                .store
                .options()
                .annotations
                .find(DefinedScope::Message, &change.entry);
            let definition = definition.ok_or(MailboxError::PermissionDenied)?;
            let needed = match change.audience {
                Audience::Shared => Rights::ANNOTATE,
                Audience::Private => Rights::READ,
            };
            if !self.rights.contains(needed | definition.extra_rights) && !self.auth.is_system() {
                return Err(MailboxError::PermissionDenied);
            }
            let (_, value) =
                self.store
                    .checked_update(DefinedScope::Message, change, Self::MAX_ANNOTATION)?;
            checked.push(Annotation {
                entry: change.entry.clone(),
                userid: match change.audience {
                    Audience::Shared => String::new(),
                    Audience::Private => self.auth.userid().to_owned(),
                },
                value: value.unwrap_or_default(),
            });
        }
        Ok(checked)
    }

    /// The header of the index as of now, and when the file was last written, Unix seconds.
    pub(crate) fn index_header(&mut self) -> Result<(IndexHeader, i64), MailboxError> {
        let locks = self.lock(Mode::Shared)?;
        let mut mapping = self.hot.borrow_mapping();
        let file = mapping.refresh(&locks.index)?;
        let header = header_of(&self.hot, file);
        let written = locks.index.file().stat()?.modified;
        self.hot.return_mapping(mapping);
        let written = written.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok((header?, i64::try_from(written.as_secs()).unwrap_or(i64::MAX)))
    }
}

/// The value in a row, if there is one that is not removed.
fn value_of(db: Option<&mut (dyn Db + '_)>, row: &[u8]) -> Result<Option<Vec<u8>>, MailboxError> {
    let Some(found) = db.map(|db| db.get(row)).transpose()?.flatten() else {
        return Ok(None);
    };
    let value = AnnotationValue::parse(&found).ok();
    Ok(value.filter(|value| !value.deleted).map(|value| value.value))
}

/// What the annotations of one message add to the counts of its mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Annotated {
    /// Octets of all values.
    pub(super) octets: u32,
    /// The XOR of their checksums.
    pub(super) sync: u32,
}

/// An annotation on its way to a copy of its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Annotation {
    /// The entry, `/comment`.
    entry: String,
    /// Whose it is; empty for a shared one.
    userid: String,
    value: Vec<u8>,
}

impl Annotation {
    /// The one that names the conversation a message would belong to, had it not become too long.
    pub(crate) fn of_conversation(base: u64) -> Self {
        Self {
            entry: BASE_ENTRY.to_owned(),
            userid: String::new(),
            value: format!("{base:016x}").into_bytes(),
        }
    }

    pub(crate) fn is_of_conversation(&self) -> bool {
        self.entry == BASE_ENTRY
    }

    /// Octets of the value.
    pub(crate) fn octets(&self) -> u32 {
        u32::try_from(self.value.len()).unwrap_or(u32::MAX)
    }

    /// What it adds to the replication CRC as an annotation of this message.
    pub(crate) fn sync(&self, uid: u32) -> u32 {
        let mut text = format!("{uid} {} {} ", self.entry, self.userid).into_bytes();
        text.extend_from_slice(&self.value);
        crc32(&text)
    }

    /// Its row in the database of a mailbox of `owner`.
    pub(crate) fn row(&self, uid: u32, owner: Option<&str>, modseq: u64) -> (Vec<u8>, Vec<u8>) {
        let is_owner = !self.userid.is_empty() && owner == Some(self.userid.as_str());
        let user = if is_owner { OWNER_TOKEN } else { &self.userid };
        let value = AnnotationValue {
            value: self.value.clone(),
            modseq,
            deleted: self.value.is_empty(),
        };
        (key(&uid.to_string(), &self.entry, user), value.to_bytes())
    }
}

/// The annotations of these messages that a copy by this user takes along: the shared ones and his own.
pub(super) fn to_copy(
    store: &Store,
    hot: &Hot,
    owner: Option<&str>,
    userid: &str,
    uids: &UidSet,
) -> Result<BTreeMap<u32, Vec<Annotation>>, MailboxError> {
    let mut found: BTreeMap<u32, Vec<Annotation>> = BTreeMap::new();
    each(store, hot, uids, &mut |uid, entry, user, value| {
        let user = if user == OWNER_TOKEN {
            owner.unwrap_or_default()
        } else {
            user
        };
        if user.is_empty() || user == userid {
            let annotation = Annotation {
                entry: entry.to_owned(),
                userid: user.to_owned(),
                value: value.value,
            };
            found.entry(uid).or_default().push(annotation);
        }
    })?;
    Ok(found)
}

/// Writes annotations of new messages.
pub(crate) fn write(store: &Store, hot: &Hot, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<(), MailboxError> {
    let engine = store.options().databases.annotation;
    let mut db = store
        .databases()
        .open(&hot.paths.annotations, engine, Create::Yes)?;
    let mut txn = db.begin()?;
    for (key, value) in rows {
        txn.put(key, value)?;
    }
    Ok(txn.commit()?)
}

/// Calls `each` with UID, entry, user and value of every annotation of these messages.
fn each(
    store: &Store,
    hot: &Hot,
    uids: &UidSet,
    each: &mut dyn FnMut(u32, &str, &str, AnnotationValue),
) -> Result<(), MailboxError> {
    if uids.len() <= SOUGHT_SINGLY {
        for uid in uids.iter() {
            each_kept_row(store, hot, Some(uid), each)?;
        }
        return Ok(());
    }
    each_kept_row(store, hot, None, &mut |uid, entry, user, value| {
        if Uid::new(uid).is_some_and(|uid| uids.contains(uid)) {
            each(uid, entry, user, value);
        }
    })
}

/// [`each_row`] without those of removed annotations.
fn each_kept_row(
    store: &Store,
    hot: &Hot,
    uid: Option<Uid>,
    each: &mut dyn FnMut(u32, &str, &str, AnnotationValue),
) -> Result<(), MailboxError> {
    each_row(store, hot, uid, &mut |uid, entry, user, value| {
        if !value.deleted {
            each(uid, entry, user, value);
        }
    })
}

/// Calls `each` with UID, entry, user and value of every row, or of those of one message.
fn each_row(
    store: &Store,
    hot: &Hot,
    uid: Option<Uid>,
    each: &mut dyn FnMut(u32, &str, &str, AnnotationValue),
) -> Result<(), MailboxError> {
    let Some(mut db) = open(store, hot)? else {
        return Ok(());
    };
    let prefix = uid.map_or_else(Vec::new, |uid| format!("{uid}\0").into_bytes());
    db.scan(&prefix, &mut |key, row| {
        let parts = split_key(key).and_then(|(uid, entry, user)| Some((uid.parse().ok()?, entry, user)));
        if let Some((uid, entry, user)) = parts
            && let Ok(value) = AnnotationValue::parse(row)
        {
            each(uid, entry, user, value);
        }
        ControlFlow::Continue(())
    })?;
    Ok(())
}

/// So many messages are looked up one by one; for more, all of the database is read.
const SOUGHT_SINGLY: u64 = 16;

/// The annotations of these messages, by UID; messages without are left out.
pub(super) fn of_messages(
    store: &Store,
    hot: &Hot,
    owner: Option<&str>,
    uids: &UidSet,
) -> Result<BTreeMap<u32, Annotated>, MailboxError> {
    let mut found: BTreeMap<u32, Annotated> = BTreeMap::new();
    each(store, hot, uids, &mut |uid, entry, user, value| {
        let user = if user == OWNER_TOKEN {
            owner.unwrap_or_default()
        } else {
            user
        };
        let annotation = Annotation {
            entry: entry.to_owned(),
            userid: user.to_owned(),
            value: value.value,
        };
        let message = found.entry(uid).or_default();
        message.sync ^= annotation.sync(uid);
        message.octets = message.octets.saturating_add(annotation.octets());
    })?;
    Ok(found)
}

/// Removes the annotations of messages that are gone.
pub(crate) fn remove(store: &Store, hot: &Hot, uids: &UidSet) -> Result<(), MailboxError> {
    if uids.is_empty() {
        return Ok(());
    }
    let Some(mut db) = open(store, hot)? else {
        return Ok(());
    };
    let mut keys = Vec::new();
    db.scan(b"", &mut |key, _| {
        let uid = split_key(key)
            .and_then(|(uid, ..)| uid.parse().ok())
            .and_then(Uid::new);
        if uid.is_some_and(|uid| uids.contains(uid)) {
            keys.push(key.to_vec());
        }
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

fn open(store: &Store, hot: &Hot) -> Result<Option<Pooled>, MailboxError> {
    let engine = store.options().databases.annotation;
    match store.databases().open(&hot.paths.annotations, engine, Create::No) {
        Ok(db) => Ok(Some(db)),
        Err(DbError::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
