//! Which messages a mailbox has got already: `deliver.db`.
//!
//! Marks are written by a thread of their own, those of a moment ([`LINGER`]) at once: nobody waits for their syncs, and
//! these do not compete with the syncs of the messages. What is not yet written is known in memory; a crash loses at
//! most the suppression of a later duplicate.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::commit::Target;
use crate::db::{Create, DbError};
use crate::error::MailboxError;
use crate::format::duplicate::{Mark, key};
use crate::format::index::{IndexHeader, options};
use crate::message::{CacheRecord, Envelope};
use crate::staging::Staged;
use crate::store::Store;
use crate::sys::Mode;
use crate::uid::Uid;

/// Marks on their way into the database.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    state: Mutex<Pending>,
    /// The writer is to write now: somebody waits for it, or there is much to write.
    hurried: Condvar,
    /// The writer has ended.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    waiting: HashMap<Vec<u8>, Mark>,
    being_written: HashMap<Vec<u8>, Mark>,
    writer: bool,
    /// How many wait for the writer to end.
    flushing: usize,
}

impl Pending {
    fn is_urgent(&self) -> bool {
        self.flushing > 0 || self.waiting.len() >= MANY
    }
}

impl Marks {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// The key of a message for a mailbox; none if duplicates are not suppressed, or it has no Message-ID.
    pub(super) fn duplicate_key(&self, message: &Staged, target: &Target) -> Option<Vec<u8>> {
        if !self.options().duplicatesuppression {
            return None;
        }
        let record = CacheRecord::parse(message.cache_record()).ok()?;
        let (date, message_id) = date_and_id(record.envelope())?;
        key(&message_id, target.id.as_str().as_bytes(), &date)
    }

    /// Whether the mailbox has got the message, and does not want everything twice.
    pub(super) fn is_duplicate(&self, key: &[u8], target: &Target) -> bool {
        let known = {
            let pending = self.marks().lock();
            pending.waiting.contains_key(key) || pending.being_written.contains_key(key)
        };
        let known = known
            || self.is_marked(key).unwrap_or_else(|error| {
                self.report("duplicates are not noticed", &error);
                false
            });
        known && !self.takes_duplicates(target)
    }

    fn is_marked(&self, key: &[u8]) -> Result<bool, MailboxError> {
        let options = self.options();
        let path = options.database_path(options.databases.duplicate_path.as_ref(), "deliver.db");
        match self
            .databases()
            .open(&path, options.databases.duplicate, Create::No)
        {
            Ok(mut db) => Ok(db.get(key)?.is_some()),
            Err(DbError::Missing { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the option of the mailbox says that duplicates are welcome.
    fn takes_duplicates(&self, target: &Target) -> bool {
        let Ok(locks) = target
            .hot
            .lock(self, target.owner.as_deref(), Mode::Shared, self.wait())
        else {
            return false;
        };
        let mut mapping = target.hot.borrow_mapping();
        let header = mapping
            .refresh(&locks.index)
            .ok()
            .and_then(|file| IndexHeader::parse(file).ok());
        target.hot.return_mapping(mapping);
        header.is_some_and(|header| header.options & options::DUPDELIVER != 0)
    }

    /// Notes deliveries that were made.
    pub(super) fn mark_delivered(&self, marks: Vec<(Vec<u8>, Uid)>, time: u32) {
        if marks.is_empty() {
            return;
        }
        let mut pending = self.marks().lock();
        for (key, uid) in marks {
            pending.waiting.insert(
                key,
                Mark {
                    time: time.into(),
                    uid: uid.get().into(),
                },
            );
        }
        if pending.writer {
            if pending.is_urgent() {
                self.marks().hurried.notify_one();
            }
            return;
        }
        pending.writer = true;
        drop(pending);
        let store = self.clone();
        let writer = std::thread::Builder::new().name("deliver.db".to_owned());
        if writer.spawn(move || store.write_marks(LINGER)).is_err() {
            self.write_marks(Duration::ZERO);
        }
    }

    /// Waits until all deliveries made so far are in the database of duplicates. To be called before the process ends.
    pub fn flush_deliveries(&self) {
        let mut pending = self.marks().lock();
        pending.flushing += 1;
        self.marks().hurried.notify_one();
        while pending.writer {
            pending = self
                .marks()
                .written
                .wait(pending)
                .unwrap_or_else(PoisonError::into_inner);
        }
        pending.flushing -= 1;
    }

    /// Writes marks, each time those of `linger`, until none come any more.
    fn write_marks(&self, linger: Duration) {
        loop {
            let batch = {
                let mut pending = self.marks().lock();
                pending.being_written.clear();
                if !linger.is_zero() {
                    pending = self
                        .marks()
                        .hurried
                        .wait_timeout_while(pending, linger, |pending| !pending.is_urgent())
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
                if pending.waiting.is_empty() {
                    pending.writer = false;
                    self.marks().written.notify_all();
                    return;
                }
                pending.being_written = std::mem::take(&mut pending.waiting);
                pending.being_written.clone()
            };
            if let Err(error) = self.put_marks(&batch) {
                self.report(
                    "deliveries are not noted, so that duplicates of them will not be noticed",
                    &error,
                );
            }
        }
    }

    fn put_marks(&self, batch: &HashMap<Vec<u8>, Mark>) -> Result<(), MailboxError> {
        let options = self.options();
        let path = options.database_path(options.databases.duplicate_path.as_ref(), "deliver.db");
        let mut db = self
            .databases()
            .open(&path, options.databases.duplicate, Create::Yes)?;
        let mut txn = db.begin()?;
        for (key, mark) in batch {
            txn.put(key, &mark.to_bytes())?;
        }
        Ok(txn.commit()?)
    }

    /// Every delivery in the database: message-id, recipient and date, and when it was made.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn each_delivery(&self, each: &mut dyn FnMut(&[u8], Mark)) -> Result<(), MailboxError> {
        let options = self.options();
        let path = options.database_path(options.databases.duplicate_path.as_ref(), "deliver.db");
        let mut db = match self
            .databases()
            .open(&path, options.databases.duplicate, Create::No)
        {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        db.scan(b"", &mut |key, value| {
            if let Some(mark) = Mark::parse(value) {
                each(key, mark);
            }
            ControlFlow::Continue(())
        })?;
        Ok(())
    }
}

impl Store {
    /// Forgets the deliveries that are `stale`, a thousand at a time so that deliveries can go on; how many there were, and
    /// how many are forgotten.
    ///
    /// # Errors
    /// The database cannot be read or written.
    pub fn forget_deliveries(
        &self,
        stale: &dyn Fn(&[u8], Mark) -> bool,
    ) -> Result<(usize, usize), MailboxError> {
        let mut total = 0;
        let mut old = Vec::new();
        self.each_delivery(&mut |key, mark| {
            total += 1;
            if stale(key, mark) {
                old.push(key.to_vec());
            }
        })?;
        let options = self.options();
        let path = options.database_path(options.databases.duplicate_path.as_ref(), "deliver.db");
        for some in old.chunks(MANY) {
            let mut db = self
                .databases()
                .open(&path, options.databases.duplicate, Create::No)?;
            let mut txn = db.begin()?;
            for key in some {
                txn.remove(key)?;
            }
            txn.commit()?;
        }
        Ok((total, old.len()))
    }
}

/// How long marks may wait for others before they are written.
const LINGER: Duration = Duration::from_millis(100);

/// How many marks are written without waiting for others.
const MANY: usize = 1000;

/// The Date and the Message-ID of an envelope; nothing without the latter.
fn date_and_id(envelope: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let envelope = Envelope::parse(envelope);
    let message_id = envelope.message_id();
    (!message_id.is_empty()).then(|| (envelope.date().to_vec(), message_id.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s225_date_and_message_id_come_from_the_envelope() {
        let envelope = b"(\"Mon, 1 Jan\" \"s\" NIL NIL NIL NIL NIL NIL NIL \"<1@x>\")";
        assert_eq!(
            date_and_id(envelope),
            Some((b"Mon, 1 Jan".to_vec(), b"<1@x>".to_vec()))
        );
        assert_eq!(date_and_id(b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"), None);
        let literal = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL {5}\r\n<\"@x>)";
        assert_eq!(date_and_id(literal), Some((Vec::new(), b"<\"@x>".to_vec())));
    }
}
