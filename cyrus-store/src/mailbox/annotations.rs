//! Annotations of messages, as far as counts depend on them: `cyrus.annotations`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::conversations::BASE_ENTRY;
use crate::db::{Create, DbError, Pooled};
use crate::error::MailboxError;
use crate::format::annotation::{AnnotationValue, OWNER_TOKEN, key, split_key};
use crate::format::crc32;
use crate::hot::Hot;
use crate::store::Store;
use crate::uid::{Uid, UidSet};

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
            deleted: false,
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
    let Some(mut db) = open(store, hot)? else {
        return Ok(());
    };
    db.scan(b"", &mut |key, row| {
        let parts = split_key(key).and_then(|(uid, entry, user)| Some((uid.parse().ok()?, entry, user)));
        if let Some((uid, entry, user)) = parts
            && Uid::new(uid).is_some_and(|uid| uids.contains(uid))
            && let Ok(value) = AnnotationValue::parse(row)
            && !value.deleted
        {
            each(uid, entry, user, value);
        }
        ControlFlow::Continue(())
    })?;
    Ok(())
}

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
pub(super) fn remove(store: &Store, hot: &Hot, uids: &UidSet) -> Result<(), MailboxError> {
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
