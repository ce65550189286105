//! What a change of a mailbox means to the conversations and the counters of its owner.

use std::sync::Arc;

use super::IndexWrite;
use crate::conversations::{Conversations, CounterKind, Facts, Place, RaiseCounters, Splitting};
use crate::error::MailboxError;
use crate::flags::SystemFlags;
use crate::format::index::{IndexHeader, Record};
use crate::format::mboxentry::{MailboxKind, MailboxType};
use crate::format::quota::Usage;
use crate::hot::{MailboxLocks, Names};
use crate::ident::MailboxId;
use crate::mailbox::{Annotation, CachedRecord, write_annotations};
use crate::name::MailboxName;
use crate::store::Store;

/// A user whose conversations and counters follow the change.
#[derive(Debug)]
pub(super) struct UserChange {
    owner: Arc<str>,
    kind: MailboxKind,
    /// All that his mailboxes have been given.
    modseq: u64,
    /// What the counters are known to be raised to.
    raised: u64,
    state: Option<Conversations>,
    /// Records before and after the change, not counted yet.
    pending: Vec<(Option<Record>, Option<Record>)>,
}

/// What is called with each record and what is known of its message.
type EachRecord<'a> = &'a mut dyn FnMut(&Record, Option<&Facts<'_>>) -> Result<(), MailboxError>;

impl UserChange {
    /// The owner of a locked mailbox, if he has conversations and the version of its index can hold them.
    pub(super) fn begin(
        store: &Store,
        locks: &MailboxLocks,
        header: &IndexHeader,
        names: &Names,
    ) -> Result<Option<Self>, MailboxError> {
        let Some(owner) = &locks.owner else {
            return Ok(None);
        };
        if !header.layout.has_conversations() || !store.has_conversations(owner)? {
            return Ok(None);
        }
        Ok(Some(Self {
            owner: owner.clone(),
            kind: MailboxType::parse(&names.header.mbtype).unwrap_or_default().kind,
            modseq: store.user_modseq(owner)?,
            raised: 0,
            state: None,
            pending: Vec::new(),
        }))
    }

    /// All that the user's mailboxes have been given.
    pub(super) fn modseq(&self) -> u64 {
        self.modseq
    }

    /// Notes a record that changes.
    pub(super) fn note(&mut self, old: Record, new: Record) {
        self.pending.push((Some(old), Some(new)));
    }
}

impl IndexWrite {
    /// The user whose conversations follow this change.
    pub(crate) fn conversing_owner(&self) -> Option<&Arc<str>> {
        self.user.as_ref().map(|user| &user.owner)
    }

    /// Which of the user's counters count what this mailbox is given.
    pub(crate) fn counter_kind(&self) -> CounterKind {
        CounterKind::Messages(self.user.as_ref().map_or(MailboxKind::Email, |user| user.kind))
    }

    /// Lets modification sequences begin above this one.
    pub(crate) fn raise_modseq(&mut self, modseq: u64) {
        if let Some(user) = &mut self.user {
            user.modseq = user.modseq.max(modseq);
        }
    }

    /// Opens the conversations of the user now, because his files are about to go elsewhere.
    pub(crate) fn open_conversations(&mut self) -> Result<Option<&mut Conversations>, MailboxError> {
        let Some(user) = &mut self.user else {
            return Ok(None);
        };
        if user.state.is_none() {
            user.state = self.store.conversations(Some(&user.owner))?;
        }
        Ok(user.state.as_mut())
    }

    /// Whether a record has a flag, by its name.
    pub(crate) fn has_flag(&self, record: &Record, flag: &str) -> bool {
        if flag.starts_with('\\') {
            let known = SystemFlags::NAMES
                .iter()
                .find(|(_, name)| name.eq_ignore_ascii_case(flag));
            return known.is_some_and(|(known, _)| record.system_flags().contains(*known));
        }
        let keywords = self.names.header.keywords.iter();
        let slot = keywords.enumerate().find(|(_, known)| {
            known
                .as_ref()
                .is_some_and(|known| known.as_str().eq_ignore_ascii_case(flag))
        });
        slot.is_some_and(|(slot, _)| record.keywords.contains(slot))
    }

    /// What the cache says of a message; nothing if neither cache nor file can be read.
    pub(crate) fn cached(&self, record: &Record) -> Option<CachedRecord> {
        CachedRecord::find(&self.store, &self.hot, self.before.generation, record)
    }

    /// Takes all messages out of the user's conversations, because the mailbox goes away.
    pub(crate) fn leave_conversations(&mut self, place: &Place<'_>) -> Result<(), MailboxError> {
        self.open_conversations()?;
        let Some(mut user) = self.user.take() else {
            return Ok(());
        };
        let left = match &mut user.state {
            Some(state) => self.each_record(&mut |record, facts| {
                state.change(place, Some(record), None, facts, &|record, flag| {
                    self.has_flag(record, flag)
                })
            }),
            None => Ok(()),
        };
        if let Some(state) = &mut user.state {
            state.drop_folder(place);
        }
        self.user = Some(user);
        left
    }

    /// Puts all messages into the conversations of a user whose mailbox this becomes.
    pub(crate) fn join_conversations(
        &self,
        conversations: &mut Conversations,
        place: &Place<'_>,
    ) -> Result<(), MailboxError> {
        self.each_record(&mut |record, facts| {
            conversations.change(place, None, Some(record), facts, &|record, flag| {
                self.has_flag(record, flag)
            })
        })?;
        conversations.touch(place, self.header.highestmodseq)
    }

    /// Gives a conversation to every message that has none, and counts it there.
    pub(crate) fn build_conversations(
        &mut self,
        place: &Place<'_>,
        splitting: Splitting,
    ) -> Result<(), MailboxError> {
        self.open_conversations()?;
        let mut rows = Vec::new();
        for number in 0..self.records() {
            let Some(old) = self.record(number)? else { break };
            if old.cid != 0 || old.is_unlinked() {
                continue;
            }
            let Some(cached) = self.cached(&old) else { continue };
            let facts = Facts::new(cached.record());
            let Some(user) = &mut self.user else { break };
            let Some(state) = &mut user.state else { break };
            let mut new = old.clone();
            let (conversation, added) = state.assign(&mut new, &facts, splitting)?;
            self.change(number, &old, new);
            let Some(mut user) = self.user.take() else { break };
            let changed = user.pending.pop().and_then(|(_, new)| new);
            let counted = match (&mut user.state, &changed) {
                (Some(state), Some(new)) => {
                    state.move_to(place, conversation, &old, new, &facts, &|record, flag| {
                        self.has_flag(record, flag)
                    })
                }
                _ => Ok(()),
            };
            let owner = user.owner.clone();
            self.user = Some(user);
            counted?;
            if let (Some(base), Some(new)) = (added.split_from, changed) {
                let annotation = Annotation::of_conversation(base);
                let used = self.header.quota_annot_used;
                self.header.quota_annot_used = used.saturating_add(annotation.octets());
                self.header.sync_annot ^= annotation.sync(new.uid);
                rows.push(annotation.row(new.uid, Some(&owner), new.modseq));
            }
        }
        if !rows.is_empty() {
            write_annotations(&self.store, &self.hot, &rows)?;
        }
        Ok(())
    }

    /// Calls `each` with every record that has a conversation.
    pub(crate) fn each_record(&self, each: EachRecord<'_>) -> Result<(), MailboxError> {
        for number in 0..self.records() {
            let Some(record) = self.record(number)? else { break };
            if record.is_unlinked() || record.cid == 0 {
                continue;
            }
            let cached = self.cached(&record);
            let facts = cached.as_ref().map(|cached| Facts::new(cached.record()));
            each(&record, facts.as_ref())?;
        }
        Ok(())
    }

    /// Counts the changed records in the conversations of the user, in memory, and returns what the quota root has to be
    /// charged.
    pub(crate) fn settle(&mut self, name: &MailboxName, id: &MailboxId) -> Result<Usage, MailboxError> {
        let usage = self.usage();
        self.open_conversations()?;
        let Some(mut user) = self.user.take() else {
            return Ok(usage);
        };
        let pending = std::mem::take(&mut user.pending);
        let settled = match &mut user.state {
            Some(state) => self.settle_in(state, &Place { id, name }, &pending, usage),
            None => Ok(usage),
        };
        self.user = Some(user);
        settled
    }

    fn settle_in(
        &self,
        state: &mut Conversations,
        place: &Place<'_>,
        pending: &[(Option<Record>, Option<Record>)],
        usage: Usage,
    ) -> Result<Usage, MailboxError> {
        for (old, new) in pending {
            let Some(record) = new.as_ref().or(old.as_ref()) else {
                continue;
            };
            let cached = self.cached(record);
            let facts = cached.as_ref().map(|cached| Facts::new(cached.record()));
            state.change(
                place,
                old.as_ref(),
                new.as_ref(),
                facts.as_ref(),
                &|record, flag| self.has_flag(record, flag),
            )?;
        }
        if self.header.highestmodseq > self.before.highestmodseq {
            state.touch(place, self.header.highestmodseq)?;
        }
        state.usage_instead(self.names.header.quota_root.as_deref(), usage)
    }

    /// Raises the counters of the user, durably, to what the mailbox has given; if its quota root is to be charged, that
    /// gets the modification sequence that is returned.
    pub(crate) fn raise_counters(&mut self, next_quota: bool) -> Result<Option<u64>, MailboxError> {
        let kind = self.counter_kind();
        let highest = self.header.highestmodseq;
        let Some(user) = &mut self.user else {
            return Ok(None);
        };
        let is_new = highest > self.before.highestmodseq && highest > user.raised;
        if !is_new && !next_quota {
            return Ok(None);
        }
        let how = RaiseCounters {
            next_quota,
            messages: is_new.then_some((kind, highest)),
        };
        let staged = self.store.stage_counters(&user.owner, how)?;
        staged.file().sync_data()?;
        let quota = staged.quota;
        staged.publish(&self.store)?;
        user.raised = highest;
        Ok(next_quota.then_some(quota))
    }

    /// Writes the conversations of the user, once the index is on stable storage.
    pub(crate) fn commit_conversations(&mut self) {
        let Some(user) = &mut self.user else { return };
        let store = &self.store;
        if let Some(state) = user.state.take()
            && let Err(error) = state
                .commit()
                .and_then(|splits| store.note_splits(&user.owner, &splits))
        {
            let what = format!(
                "conversations of {0} are behind; run `ctl_conversationsdb -R {0}`",
                user.owner
            );
            self.store.report(&what, &error);
        }
    }
}
