//! Mailboxes that moved to another partition before messages came.

use std::sync::Arc;

use super::{Outcome, Target, Waiting};
use crate::error::MailboxError;
use crate::store::Store;

/// Sends requests after a mailbox that is in another place since they were made.
pub(super) fn follow(store: &Store, requests: Waiting) {
    for (mut request, slot) in requests {
        match request.target.follow(store) {
            Ok(()) => slot.fill(Outcome::Contended(request)),
            Err(error) => slot.fill(Outcome::Done(Err(error))),
        }
    }
}

impl Target {
    /// Finds the mailbox where it is now.
    fn follow(&mut self, store: &Store) -> Result<(), MailboxError> {
        store.forget(&self.hot);
        let entry = store.lookup_id(&self.id)?.ok_or(MailboxError::Deleted)?;
        let paths = store.paths_of(&entry)?;
        if entry.name.is_deleted(&store.options().deleted_prefix) || paths.index == self.hot.paths.index {
            return Err(MailboxError::Deleted);
        }
        self.hot = store.hot(paths);
        self.owner = entry.name.owner().map(Arc::from);
        self.name = entry.name.clone();
        Ok(())
    }
}
