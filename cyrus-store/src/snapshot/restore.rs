//! Messages taken out of a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use cyrus_acl::AuthState;

use crate::annotate::{AnnotationUpdate, Audience};
use crate::db::{Create, DbError};
use crate::error::MailboxError;
use crate::format::annotation::{AnnotationValue, split_key};
use crate::ident::Guid;
use crate::mailbox::{NewMessage, flag_names};
use crate::mboxlist::{CreateOptions, RowChange};
use crate::name::MailboxName;
use crate::store::Store;
use crate::uid::{Uid, UidSet};

/// What was restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Messages that are new in the mailbox.
    pub messages: u64,
    /// Messages that it had already.
    pub present: u64,
    /// Whether the mailbox was made.
    pub created: bool,
}

impl Store {
    /// Appends messages of a mailbox of a snapshot to a mailbox of this store, with their flags, internal dates and shared
    /// annotations: those of these UIDs, or all. Messages that are there are left out. A mailbox that does not exist is
    /// made, with the rights that the one in the snapshot has.
    ///
    /// # Errors
    /// One of the mailboxes cannot be read or written, or there is no room.
    pub fn restore_messages(
        &self,
        snapshot: &Store,
        from: &MailboxName,
        uids: Option<&UidSet>,
        to: &MailboxName,
    ) -> Result<Restored, MailboxError> {
        let system = AuthState::system();
        let mut source = snapshot.open_mailbox(from, &system)?;
        let annotations = snapshot.shared_annotations(from)?;
        let mut restored = Restored::default();
        if self.lookup(to)?.is_none_or(|entry| entry.mbtype.intermediate) {
            self.make_like(snapshot, from, to)?;
            restored.created = true;
        }
        let mut target = self.open_mailbox(to, &system)?;
        let present: BTreeSet<Guid> = target.read()?.messages().map(|message| message.guid()).collect();
        let mut wanted: Vec<Uid> = Vec::new();
        for message in source.read()?.messages() {
            if uids.is_none_or(|uids| uids.contains(message.uid())) {
                match present.contains(&message.guid()) {
                    true => restored.present += 1,
                    false => wanted.push(message.uid()),
                }
            }
        }
        for some in wanted.chunks(AT_ONCE) {
            let mut messages = Vec::with_capacity(some.len());
            let read = source.read()?;
            for uid in some {
                let Some(message) = read.get(*uid) else { continue };
                let file = message.file()?;
                messages.push(
                    NewMessage::from_bytes(file.to_vec())
                        .flags(flag_names(message.flags(), read.keywords()))
                        .internal_date(message.internal_date())
                        .annotations(annotations.get(&uid.get()).cloned().unwrap_or_default()),
                );
            }
            drop(read);
            restored.messages += messages.len() as u64;
            target.append(messages)?;
        }
        Ok(restored)
    }

    /// Makes a mailbox with the rights that another has in a snapshot.
    fn make_like(&self, snapshot: &Store, from: &MailboxName, to: &MailboxName) -> Result<(), MailboxError> {
        let like = snapshot.lookup(from)?.ok_or(MailboxError::NotFound)?;
        let system = AuthState::system();
        let partition = like.partition.clone();
        let options = CreateOptions {
            partition: partition.filter(|partition| self.options().partitions.contains_key(partition)),
            ..CreateOptions::default()
        };
        let made = self.create_with(to, &options, &system)?;
        if made.acl == like.acl {
            return Ok(());
        }
        let mut entry = (*made).clone();
        entry.acl = like.acl.clone();
        let _namespaces = self.lock_namespaces([to])?;
        let mut write = self.hold(&entry)?;
        let mut header = write.names().header.clone();
        header.acl = self.acl_pairs(&entry.acl);
        write.set_names(header);
        let (id, _) = entry.storage()?;
        write.commit(to, id)?;
        self.commit_rows(&[RowChange::Update(&entry)])
    }

    /// Everybody's annotations of the messages of a mailbox, by UID.
    fn shared_annotations(
        &self,
        name: &MailboxName,
    ) -> Result<BTreeMap<u32, Vec<AnnotationUpdate>>, MailboxError> {
        let mut found: BTreeMap<u32, Vec<AnnotationUpdate>> = BTreeMap::new();
        let entry = self.lookup(name)?.ok_or(MailboxError::NotFound)?;
        let path = self.paths_of(&entry)?.annotations;
        let engine = self.options().databases.annotation;
        let mut db = match self.databases().open(&path, engine, Create::No) {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(found),
            Err(error) => return Err(error.into()),
        };
        db.scan(b"", &mut |key, value| {
            let parts = split_key(key).and_then(|(uid, entry, user)| Some((uid.parse().ok()?, entry, user)));
            if let (Some((uid, entry, "")), Ok(value)) = (parts, AnnotationValue::parse(value))
                && !value.deleted
            {
                found.entry(uid).or_default().push(AnnotationUpdate {
                    entry: entry.to_owned(),
                    audience: Audience::Shared,
                    value: Some(value.value),
                });
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }
}

/// Messages that are appended together, and are in memory meanwhile.
const AT_ONCE: usize = 32;
