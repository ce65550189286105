//! How the sessions of this process learn that a mailbox changed.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::ident::MailboxId;
use crate::store::Store;
use crate::uid::ModSeq;

/// News of a mailbox: it has reached this modification sequence. A hint may come twice or not at all; the index is
/// the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The mailbox.
    pub id: MailboxId,
    /// Its highest modification sequence by now.
    pub modseq: ModSeq,
}

type Callback = Arc<dyn Fn(Hint) + Send + Sync>;

/// Who wants to hear of which mailbox.
#[derive(Default)]
pub(crate) struct Watchers(Arc<Table>);

#[derive(Default)]
struct Table {
    next: AtomicU64,
    by_mailbox: Mutex<HashMap<MailboxId, Vec<(u64, Callback)>>>,
}

/// A subscription to hints; dropping it ends it.
#[must_use = "dropping it ends the subscription"]
pub struct Watch {
    table: Weak<Table>,
    id: MailboxId,
    number: u64,
}

impl Store {
    /// Calls `callback` after each commit that changes a mailbox, on the thread that committed: it must be quick and must
    /// not call the store.
    pub fn watch(&self, id: &MailboxId, callback: Arc<dyn Fn(Hint) + Send + Sync>) -> Watch {
        let table = &self.watchers().0;
        let number = table.next.fetch_add(1, Ordering::Relaxed);
        let mut by_mailbox = table.by_mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        by_mailbox.entry(id.clone()).or_default().push((number, callback));
        Watch {
            table: Arc::downgrade(table),
            id: id.clone(),
            number,
        }
    }

    /// Tells the watchers of a mailbox that it changed.
    pub(crate) fn publish(&self, id: &MailboxId, modseq: ModSeq) {
        let callbacks: Vec<Callback> = {
            let by_mailbox = self
                .watchers()
                .0
                .by_mailbox
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            by_mailbox
                .get(id)
                .into_iter()
                .flatten()
                .map(|(_, callback)| callback.clone())
                .collect()
        };
        for callback in callbacks {
            callback(Hint {
                id: id.clone(),
                modseq,
            });
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(table) = self.table.upgrade() else { return };
        let mut by_mailbox = table.by_mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watchers) = by_mailbox.get_mut(&self.id) {
            watchers.retain(|(number, _)| *number != self.number);
            if watchers.is_empty() {
                by_mailbox.remove(&self.id);
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
