//! How sessions learn that a mailbox changed, and how others learn what this process changed.
//!
//! A commit of this process tells the watchers of its mailbox at once. Commits of other processes are seen by the kernel's
//! file notification, where there is one; elsewhere, and past its limits, a session has to look from time to time.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::ident::MailboxId;
use crate::log::{Level, Log};
use crate::mailbox::Mailbox;
use crate::name::MailboxName;
use crate::store::Store;
use crate::uid::ModSeq;

#[cfg(target_os = "linux")]
use self::inotify::IndexWatch;
#[cfg(not(target_os = "linux"))]
use self::nothing::IndexWatch;

#[cfg(target_os = "linux")]
mod inotify;
#[cfg(not(target_os = "linux"))]
mod nothing;

/// News of a mailbox. A hint may come twice or not at all; the index is the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The mailbox.
    pub id: MailboxId,
    /// Its highest modification sequence by now; `None` when another process changed it, and nobody has looked yet.
    pub modseq: Option<ModSeq>,
}

type Callback = Arc<dyn Fn(Hint) + Send + Sync>;

/// Is told of each commit of this process: for those who carry the news to other programs.
pub trait Announcer: Send + Sync {
    /// The mailbox of this name changed. Called on the thread that committed: be quick, and do not call the store.
    fn changed(&self, name: &MailboxName);
}

/// Who wants to hear of which mailbox.
#[derive(Default)]
pub(crate) struct Watchers(Arc<Table>);

#[derive(Default)]
struct Table {
    next: AtomicU64,
    by_mailbox: Mutex<HashMap<MailboxId, Vec<(u64, Callback)>>>,
    /// What sees the commits of other processes, once somebody watches; `None` when it cannot be had.
    others: OnceLock<Option<IndexWatch>>,
    /// A mailbox could not be watched, and this was said.
    reported: OnceLock<()>,
}

/// A subscription to hints; dropping it ends it.
#[must_use = "dropping it ends the subscription"]
pub struct Watch {
    table: Weak<Table>,
    id: MailboxId,
    number: u64,
}

impl Store {
    /// Calls `callback` after each commit of this process that changes a mailbox, on the thread that committed: it must
    /// be quick and must not call the store.
    pub fn watch(&self, id: &MailboxId, callback: Arc<dyn Fn(Hint) + Send + Sync>) -> Watch {
        self.watchers().0.add(id, callback)
    }

    /// Tells the watchers of a mailbox, and whoever carries news to other programs, that it changed.
    pub(crate) fn publish(&self, name: &MailboxName, id: &MailboxId, modseq: ModSeq) {
        self.watchers().0.tell(&Hint {
            id: id.clone(),
            modseq: Some(modseq),
        });
        if let Some(announcer) = &self.options().announcer {
            announcer.changed(name);
        }
    }
}

impl Mailbox {
    /// Like [`Store::watch`], and of what other processes commit, too, as far as the system can tell.
    ///
    /// Nothing is promised about other processes: look every minute or so all the same.
    pub fn watch(&self, callback: Arc<dyn Fn(Hint) + Send + Sync>) -> Watch {
        let store = self.store();
        let table = &store.watchers().0;
        let watch = table.add(self.id(), callback);
        table.follow(self.id(), self.index_path(), store.options().log.as_ref());
        watch
    }
}

impl Table {
    fn by_mailbox(&self) -> MutexGuard<'_, HashMap<MailboxId, Vec<(u64, Callback)>>> {
        self.by_mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(self: &Arc<Self>, id: &MailboxId, callback: Callback) -> Watch {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.by_mailbox()
            .entry(id.clone())
            .or_default()
            .push((number, callback));
        Watch {
            table: Arc::downgrade(self),
            id: id.clone(),
            number,
        }
    }

    fn follow(self: &Arc<Self>, id: &MailboxId, index: &Path, log: &dyn Log) {
        // Held, so that nobody stops watching this mailbox meanwhile and takes the file's watch along.
        let _by_mailbox = self.by_mailbox();
        let started = self.others.get_or_init(|| {
            let table = Arc::downgrade(self);
            let tell = move |id: &MailboxId| {
                if let Some(table) = table.upgrade() {
                    table.tell(&Hint {
                        id: id.clone(),
                        modseq: None,
                    });
                }
            };
            match IndexWatch::start(tell) {
                Ok(others) => Some(others),
                Err(error) => {
                    self.report(log, &error);
                    None
                }
            }
        });
        if let Some(Err(error)) = started.as_ref().map(|others| others.follow(id, index)) {
            self.report(log, &error);
        }
    }

    /// Says, once, that changes of other processes are noticed late.
    fn report(&self, log: &dyn Log, error: &std::io::Error) {
        if self.reported.set(()).is_ok() {
            log.record(
                Level::Notice,
                format_args!(
                    "not every mailbox can be watched for changes of other processes ({error}): idle sessions see those \
                     late; raise fs.inotify.max_user_watches and fs.inotify.max_user_instances"
                ),
            );
        }
    }

    fn tell(&self, hint: &Hint) {
        let callbacks: Vec<Callback> = self
            .by_mailbox()
            .get(&hint.id)
            .into_iter()
            .flatten()
            .map(|(_, callback)| callback.clone())
            .collect();
        for callback in callbacks {
            callback(hint.clone());
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(table) = self.table.upgrade() else { return };
        let mut by_mailbox = table.by_mailbox();
        if let Some(watchers) = by_mailbox.get_mut(&self.id) {
            watchers.retain(|(number, _)| *number != self.number);
            if watchers.is_empty() {
                by_mailbox.remove(&self.id);
                if let Some(Some(others)) = table.others.get() {
                    others.forget(&self.id);
                }
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
