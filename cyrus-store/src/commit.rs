//! Putting messages into mailboxes: many messages, many mailboxes, two barriers.
//!
//! Whoever has messages to append puts them into a queue; one thread takes what is in it and commits it all as one batch,
//! so that deliveries share syncs. The steps of a batch are types, each made by the one before:
//!
//! ```text
//! Locked -> Linked -> Cached -> Recorded -> (barrier) -> Charged -> Committed -> (barrier)
//! ```
//!
//! Up to the first barrier no message counts: files without a record, cache records that no index record names, index
//! records behind the last that the header promises, usage raised, or written beside the old. After it, all of that is on
//! stable storage; then usage is raised where it was not, and the index headers are written, each of which makes the
//! messages of one mailbox exist at once. A crash leaves each mailbox as it was or with all its messages, and at worst usage that is too high.

mod barrier;
mod follow;
mod steps;
mod undo;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::MailboxError;
use crate::flags::FlagNames;
use crate::hot::Hot;
use crate::ident::MailboxId;
use crate::lock::Wait;
use crate::mailbox::Annotation;
use crate::name::MailboxName;
use crate::quota::QuotaPolicy;
use crate::staging::Staged;
use crate::store::Store;
use crate::uid::{Uid, UidValidity};

pub(crate) use steps::{Held, Source, midnight};

/// Messages for one mailbox, all or none.
#[derive(Debug)]
pub(crate) struct AppendRequest {
    pub(crate) target: Target,
    pub(crate) messages: Vec<Incoming>,
    pub(crate) policy: QuotaPolicy,
}

/// The mailbox that messages are put into, and for whom.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) hot: Arc<Hot>,
    pub(crate) name: MailboxName,
    pub(crate) id: MailboxId,
    pub(crate) owner: Option<Arc<str>>,
    /// The user whose `\Seen` flags do not belong into the index, unless the mailbox shares them.
    pub(crate) seen_by: Option<String>,
}

/// One message for one mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) source: Source,
    pub(crate) flags: FlagNames,
    /// Unix seconds.
    pub(crate) internal_date: u32,
    /// Of a copy: the modification sequence at which the original was created.
    pub(crate) created_modseq: Option<u64>,
    /// Annotations to take along.
    pub(crate) annotations: Vec<Annotation>,
}

impl Incoming {
    /// A new message.
    pub(crate) fn new(message: Staged, flags: FlagNames, internal_date: u32) -> Self {
        Self {
            source: Source::Staged(message),
            flags,
            internal_date,
            created_modseq: None,
            annotations: Vec::new(),
        }
    }
}

/// What became of an [`AppendRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Appends {
    pub(crate) uidvalidity: UidValidity,
    pub(crate) uids: Vec<Uid>,
}

/// The queue of those who wait for a commit.
#[derive(Debug, Default)]
pub(crate) struct Committer {
    /// Held by the thread that commits for all.
    lead: Mutex<()>,
    waiting: Mutex<Waiting>,
}

/// Requests, and where their outcomes go.
type Waiting = Vec<(AppendRequest, Arc<Slot>)>;

/// Where the outcome of a request is put.
#[derive(Debug, Default)]
struct Slot(Mutex<Option<Outcome>>);

#[derive(Debug)]
enum Outcome {
    Done(Result<Appends, MailboxError>),
    /// Somebody else holds the mailbox, or it is in another place since: whoever wants it has to wait for it himself, so that
    /// nobody else has to.
    Contended(AppendRequest),
}

impl Slot {
    fn fill(&self, outcome: Outcome) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    fn take(&self) -> Option<Outcome> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is_filled(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Store {
    /// Appends messages to mailboxes, in one batch with whatever else waits to be appended. Returns what became of each
    /// request, in their order; on return the messages are on stable storage.
    pub(crate) fn append_all(&self, requests: Vec<AppendRequest>) -> Vec<Result<Appends, MailboxError>> {
        let slots: Vec<Arc<Slot>> = requests.iter().map(|_| Arc::default()).collect();
        let committer = self.committer();
        {
            let mut waiting = committer.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.extend(requests.into_iter().zip(slots.iter().cloned()));
        }
        {
            let _lead = committer.lead.lock().unwrap_or_else(PoisonError::into_inner);
            if slots.iter().any(|slot| !slot.is_filled()) {
                let batch =
                    std::mem::take(&mut *committer.waiting.lock().unwrap_or_else(PoisonError::into_inner));
                run(self, batch, Held::default(), Wait::Never);
            }
        }
        slots.iter().map(|slot| self.outcome(slot)).collect()
    }

    /// Appends messages to one mailbox under locks that the caller holds.
    pub(crate) fn append_under(&self, request: AppendRequest, held: Held) -> Result<Appends, MailboxError> {
        let slot = Arc::new(Slot::default());
        run(self, vec![(request, slot.clone())], held, self.wait());
        self.outcome(&slot)
    }

    fn outcome(&self, slot: &Arc<Slot>) -> Result<Appends, MailboxError> {
        loop {
            match slot.take() {
                Some(Outcome::Done(result)) => return result,
                Some(Outcome::Contended(request)) => {
                    run(self, vec![(request, slot.clone())], Held::default(), self.wait())
                }
                // The thread that led the batch died of a panic.
                None => {
                    return Err(MailboxError::internal(
                        "the thread that appended for all has died",
                    ));
                }
            }
        }
    }
}

/// Commits a batch. `wait` is how long to wait for the first mailbox; no lock is waited for while another is held.
fn run(store: &Store, batch: Waiting, held: Held, wait: Wait) {
    // Mailboxes are locked in the order of their names, like everywhere.
    let mut by_mailbox: BTreeMap<(String, String), Waiting> = BTreeMap::new();
    for (request, slot) in batch {
        let key = (
            request.target.name.as_str().to_owned(),
            request.target.hot.paths.index.display().to_string(),
        );
        by_mailbox.entry(key).or_default().push((request, slot));
    }
    steps::commit(store, by_mailbox.into_values().collect(), held, wait);
}
