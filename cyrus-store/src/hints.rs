//! How sessions learn that a mailbox, the list of mailboxes or something beside them changed, and how others learn what this
//! process changed.
//!
//! A commit of this process tells the watchers of its mailbox at once. Commits of other processes are seen by the kernel's
//! file notification, where there is one; elsewhere, and past its limits, a session has to look from time to time.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use cyrus_acl::AuthState;

use crate::error::MailboxError;
use crate::ident::MailboxId;
use crate::log::{Level, Log};
use crate::mailbox::Mailbox;
use crate::mboxlist::MailboxEntry;
use crate::name::MailboxName;
use crate::store::Store;
use crate::sync_log::News;
use crate::uid::ModSeq;

#[cfg(target_os = "linux")]
use self::inotify::FileWatch;
#[cfg(not(target_os = "linux"))]
use self::nothing::FileWatch;

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

/// What can be watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// The messages of a mailbox.
    Mailbox(MailboxId),
    /// Which mailboxes there are, and who may see them.
    List,
    /// What a user is subscribed to.
    Subscriptions(Arc<str>),
    /// Annotations of mailboxes and of the server.
    Annotations,
    /// Messages of the server to all, which are annotations, too.
    Messages,
}

#[derive(Clone)]
enum Callback {
    Hint(Arc<dyn Fn(Hint) + Send + Sync>),
    Plain(Arc<dyn Fn() + Send + Sync>),
}

impl Callback {
    fn call(&self, subject: &Subject, modseq: Option<ModSeq>) {
        match (self, subject) {
            (Self::Hint(callback), Subject::Mailbox(id)) => callback(Hint {
                id: id.clone(),
                modseq,
            }),
            (Self::Hint(_), _) => {}
            (Self::Plain(callback), _) => callback(),
        }
    }
}

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
    by_subject: Mutex<HashMap<Subject, Vec<(u64, Callback)>>>,
    /// What sees the commits of other processes, once somebody watches; `None` when it cannot be had.
    others: OnceLock<Option<FileWatch>>,
    /// A mailbox could not be watched, and this was said.
    reported: OnceLock<()>,
}

/// A subscription to hints; dropping it ends it.
#[must_use = "dropping it ends the subscription"]
pub struct Watch {
    table: Weak<Table>,
    subject: Subject,
    number: u64,
}

impl Store {
    /// Calls `callback` after each commit of this process that changes a mailbox, on the thread that committed: it must
    /// be quick and must not call the store.
    pub fn watch(&self, id: &MailboxId, callback: Arc<dyn Fn(Hint) + Send + Sync>) -> Watch {
        let subject = Subject::Mailbox(id.clone());
        self.watchers().0.add(subject, Callback::Hint(callback))
    }

    /// As [`Mailbox::watch`], for a mailbox that is not open: `None` if it is none that has messages.
    ///
    /// # Errors
    /// Its partition is not known.
    pub fn watch_mailbox(
        &self,
        entry: &MailboxEntry,
        callback: Arc<dyn Fn(Hint) + Send + Sync>,
    ) -> Result<Option<Watch>, MailboxError> {
        let Some(id) = &entry.id else { return Ok(None) };
        let paths = self.paths_of(entry)?;
        let table = &self.watchers().0;
        let watch = table.add(Subject::Mailbox(id.clone()), Callback::Hint(callback));
        table.follow(&watch.subject, &paths.index, self.log());
        Ok(Some(watch))
    }

    /// Calls `callback` after each change of the mailbox list, whoever made it, as far as the system can tell: it must be
    /// quick and must not call the store. Look from time to time all the same.
    pub fn watch_list(&self, callback: Arc<dyn Fn() + Send + Sync>) -> Watch {
        self.watch_file(Subject::List, &self.mboxlist_path(), callback)
    }

    /// As [`Store::watch_list`], of a user's subscriptions.
    ///
    /// # Errors
    /// Where they are cannot be found out.
    pub fn watch_subscriptions(
        &self,
        auth: &AuthState,
        callback: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Watch, MailboxError> {
        let path = self.user_file(auth.userid(), "sub")?;
        let subject = Subject::Subscriptions(auth.userid().into());
        Ok(self.watch_file(subject, &path, callback))
    }

    /// As [`Store::watch_list`], of the annotations of mailboxes and of the server, some of which are in files of their own.
    pub fn watch_annotations(&self, callback: Arc<dyn Fn() + Send + Sync>) -> [Watch; 2] {
        let messages = self.options().config_dir.join("msg");
        [
            self.watch_file(Subject::Annotations, &self.annotations_path(), callback.clone()),
            self.watch_file(Subject::Messages, &messages, callback),
        ]
    }

    fn watch_file(&self, subject: Subject, path: &Path, callback: Arc<dyn Fn() + Send + Sync>) -> Watch {
        let table = &self.watchers().0;
        let watch = table.add(subject, Callback::Plain(callback));
        table.follow(&watch.subject, path, self.log());
        watch
    }

    /// Whether hints come of what other processes commit, too: the system can tell of it, and no watch was refused.
    pub fn sees_other_processes(&self) -> bool {
        let table = &self.watchers().0;
        cfg!(target_os = "linux")
            && table.reported.get().is_none()
            && table.others.get().is_none_or(Option::is_some)
    }

    /// Lets the watchers of a mailbox hear of what is done to its index in another place.
    pub(crate) fn watch_moved(&self, id: &MailboxId, index: &Path) {
        let table = &self.watchers().0;
        let subject = Subject::Mailbox(id.clone());
        if table.by_subject().contains_key(&subject) {
            table.follow(&subject, index, self.log());
        }
    }

    /// Tells the watchers of a mailbox, and whoever carries news to other programs, that it changed.
    pub(crate) fn publish(&self, name: &MailboxName, id: &MailboxId, modseq: ModSeq, news: News) {
        self.watchers()
            .0
            .tell(&Subject::Mailbox(id.clone()), Some(modseq));
        if let Some(announcer) = &self.options().announcer {
            announcer.changed(name);
        }
        self.log_news(name, news);
    }
}

impl Mailbox {
    /// Like [`Store::watch`], and of what other processes commit, too, as far as the system can tell.
    ///
    /// Nothing is promised about other processes: look every minute or so all the same.
    pub fn watch(&self, callback: Arc<dyn Fn(Hint) + Send + Sync>) -> Watch {
        let store = self.store();
        let table = &store.watchers().0;
        let subject = Subject::Mailbox(self.id().clone());
        let watch = table.add(subject, Callback::Hint(callback));
        table.follow(&watch.subject, self.index_path(), store.log());
        watch
    }
}

impl Table {
    fn by_subject(&self) -> MutexGuard<'_, HashMap<Subject, Vec<(u64, Callback)>>> {
        self.by_subject.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(self: &Arc<Self>, subject: Subject, callback: Callback) -> Watch {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.by_subject()
            .entry(subject.clone())
            .or_default()
            .push((number, callback));
        Watch {
            table: Arc::downgrade(self),
            subject,
            number,
        }
    }

    fn follow(self: &Arc<Self>, subject: &Subject, file: &Path, log: &dyn Log) {
        // Held, so that nobody stops watching this meanwhile and takes the file's watch along.
        let _by_subject = self.by_subject();
        let started = self.others.get_or_init(|| {
            let table = Arc::downgrade(self);
            let tell = move |subject: &Subject| {
                if let Some(table) = table.upgrade() {
                    table.tell(subject, None);
                }
            };
            match FileWatch::start(tell) {
                Ok(others) => Some(others),
                Err(error) => {
                    self.report(log, &error);
                    None
                }
            }
        });
        if let Some(Err(error)) = started.as_ref().map(|others| others.follow(subject, file)) {
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

    fn tell(&self, subject: &Subject, modseq: Option<ModSeq>) {
        let callbacks: Vec<Callback> = self
            .by_subject()
            .get(subject)
            .into_iter()
            .flatten()
            .map(|(_, callback)| callback.clone())
            .collect();
        for callback in callbacks {
            callback.call(subject, modseq);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(table) = self.table.upgrade() else { return };
        let mut by_subject = table.by_subject();
        if let Some(watchers) = by_subject.get_mut(&self.subject) {
            watchers.retain(|(number, _)| *number != self.number);
            if watchers.is_empty() {
                by_subject.remove(&self.subject);
                if let Some(Some(others)) = table.others.get() {
                    others.forget(&self.subject);
                }
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}
