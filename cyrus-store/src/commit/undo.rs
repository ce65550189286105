//! A batch that fails is taken back: what was written for it goes away, so that nothing is stored by halves.
//!
//! A disk that is full says so at the first thing that needs room. What there is to take back needs none: files are removed, and
//! values of the same place written again.

use super::steps::{Linked, fail};
use crate::error::MailboxError;
use crate::quota::QuotaCharges;
use crate::store::Store;
use crate::uid::{Uid, UidSet};

/// What a step could not do, with all that was done until then; the mailboxes are still locked.
pub(super) struct Failed {
    error: MailboxError,
    work: Vec<Linked>,
}

impl Failed {
    pub(super) fn of(error: MailboxError, work: Vec<Linked>) -> Box<Self> {
        Box::new(Self { error, work })
    }

    /// Takes what the mailboxes were to be charged out of what is to be charged, before any of that is written.
    pub(super) fn uncharge(&self, charges: &mut QuotaCharges) {
        for mailbox in &self.work {
            if let Some(root) = &mailbox.write.names().header.quota_root {
                for accepted in &mailbox.appends {
                    charges.charge(root, accepted.usage.negated());
                }
            }
        }
    }

    /// Brings the mailboxes back to where they were, and tells who waits for them.
    pub(super) fn undo(self, store: &Store) {
        let Self { error, work } = self;
        let mut slots = Vec::new();
        for mut mailbox in work {
            // Should that fail, the messages may be there after all, and need their files.
            match mailbox.write.restore_header() {
                Ok(()) => remove_files(store, &mailbox),
                Err(error) => store.report(
                    &format!(
                        "{}: a change that failed could not be taken back",
                        mailbox.target.name
                    ),
                    &error,
                ),
            }
            slots.extend(mailbox.appends.into_iter().map(|accepted| accepted.slot));
        }
        fail(slots, error);
    }
}

/// Removes the files and annotations of messages that did not come to be.
fn remove_files(store: &Store, mailbox: &Linked) {
    let mut uids = UidSet::new();
    for accepted in &mailbox.appends {
        accepted.unlink(store);
        uids.extend(accepted.records.iter().filter_map(|record| Uid::new(record.uid)));
    }
    if let Err(error) = crate::mailbox::remove_annotations(store, &mailbox.target.hot, &uids) {
        let what = format!("{}: annotations of no message are left", mailbox.target.name);
        store.report(&what, &error);
    }
}
