//! Annotations of messages, as far as counts depend on them: `cyrus.annotations`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::db::{Create, DbError, Pooled};
use crate::error::MailboxError;
use crate::format::annotation::{AnnotationValue, OWNER_TOKEN, split_key};
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

/// The annotations of these messages, by UID; messages without are left out.
pub(super) fn of_messages(
    store: &Store,
    hot: &Hot,
    owner: Option<&str>,
    uids: &UidSet,
) -> Result<BTreeMap<u32, Annotated>, MailboxError> {
    let mut found: BTreeMap<u32, Annotated> = BTreeMap::new();
    let Some(mut db) = open(store, hot)? else {
        return Ok(found);
    };
    db.scan(b"", &mut |key, row| {
        let parts = split_key(key).and_then(|(uid, entry, user)| Some((uid.parse().ok()?, entry, user)));
        let Some((uid, entry, user)) = parts else {
            return ControlFlow::Continue(());
        };
        if Uid::new(uid).is_some_and(|uid| uids.contains(uid))
            && let Ok(value) = AnnotationValue::parse(row)
            && !value.deleted
        {
            let user = if user == OWNER_TOKEN {
                owner.unwrap_or_default()
            } else {
                user
            };
            let mut text = format!("{uid} {entry} {user} ").into_bytes();
            text.extend_from_slice(&value.value);
            let message = found.entry(uid).or_default();
            message.sync ^= crc32(&text);
            message.octets = message
                .octets
                .saturating_add(u32::try_from(value.value.len()).unwrap_or(u32::MAX));
        }
        ControlFlow::Continue(())
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
