//! Copying and moving messages between mailboxes: hard links, all or none.

use std::sync::Arc;

use cyrus_acl::Rights;

use super::{IndexRead, IndexWrite, Mailbox, annotations};
use crate::commit::{AppendRequest, Held, Incoming, Source};
use crate::error::MailboxError;
use crate::flags::{FlagNames, Flags, Keyword, SystemFlags};
use crate::hot::NameLocks;
use crate::name::MailboxName;
use crate::quota::QuotaPolicy;
use crate::sys::Mode;
use crate::uid::{Uid, UidSet, UidValidity};

/// Whether the originals stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyMode {
    /// They stay.
    Copy,
    /// They are expunged once the copies are safe (RFC 6851).
    Move,
}

/// Messages that were copied or moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// UIDVALIDITY of the mailbox that they are in now.
    pub uidvalidity: UidValidity,
    /// The UID of each original and of its copy, ascending.
    pub pairs: Vec<(Uid, Uid)>,
}

impl Copied {
    /// The UIDs of the originals.
    pub fn originals(&self) -> UidSet {
        self.pairs.iter().map(|&(original, _)| original).collect()
    }

    /// The UIDs of the copies.
    pub fn copies(&self) -> UidSet {
        self.pairs.iter().map(|&(_, copy)| copy).collect()
    }
}

/// The locks that a copy holds from reading the originals until it is done.
struct CopyLocks {
    source: NameLocks,
    held: Held,
}

impl Mailbox {
    /// Copies or moves messages to the end of a mailbox; UIDs that do not exist are passed over.
    ///
    /// On return the copies are on stable storage. A move that a crash interrupts leaves every message in one of the two
    /// mailboxes or in both.
    ///
    /// # Errors
    /// [`MailboxError::NotFound`] if there is no such target; the user may not; the quota has no room; the system failed.
    pub fn copy(&mut self, uids: &UidSet, to: &MailboxName, mode: CopyMode) -> Result<Copied, MailboxError> {
        self.refresh_entry()?;
        self.require(Rights::READ)?;
        if mode == CopyMode::Move {
            self.require(Rights::DELETE_MESSAGES | Rights::EXPUNGE)?;
        }
        let mut target = self.store.open_mailbox(to, &self.auth)?;
        target.require(Rights::INSERT)?;
        let mut locks = self.lock_for_copy(&target, mode)?;
        // Either may have moved to another partition before it was locked.
        let places = [self.hot.clone(), target.hot.clone()];
        self.refresh_entry()?;
        target.refresh_entry()?;
        if !Arc::ptr_eq(&places[0], &self.hot) || !Arc::ptr_eq(&places[1], &target.hot) {
            drop(locks);
            locks = self.lock_for_copy(&target, mode)?;
        }
        let (messages, originals, root) = self.originals(uids, &target, &locks.source)?;
        if originals.is_empty() {
            return Ok(Copied {
                uidvalidity: target.uidvalidity(),
                pairs: Vec::new(),
            });
        }
        // A move under one root changes nothing: it must work for one who is over his quota.
        let stays = mode == CopyMode::Move && root == self.store.nearest_quota(to)?.map(|(root, _)| root);
        let policy = if stays {
            QuotaPolicy::Ignore
        } else {
            QuotaPolicy::Store
        };
        let request = AppendRequest {
            target: target.target(),
            messages,
            policy,
        };
        let appends = self.store.append_under(request, locks.held.clone())?;
        if mode == CopyMode::Move {
            self.expunge_moved(&originals, &locks)?;
        }
        let pairs = originals.into_iter().zip(appends.uids).collect();
        Ok(Copied {
            uidvalidity: appends.uidvalidity,
            pairs,
        })
    }

    /// Takes the namespace locks of both mailboxes, in the order of their names, and the mailbox lock of this one.
    fn lock_for_copy(&self, target: &Self, mode: CopyMode) -> Result<CopyLocks, MailboxError> {
        let own_mode = if mode == CopyMode::Move {
            Mode::Exclusive
        } else {
            Mode::Shared
        };
        let mut wanted: Vec<(&MailboxName, &Arc<str>, Mode)> = Vec::new();
        wanted.extend(
            target
                .owner
                .as_ref()
                .map(|owner| (target.name(), owner, Mode::Exclusive)),
        );
        if self.owner != target.owner {
            wanted.extend(self.owner.as_ref().map(|owner| (self.name(), owner, own_mode)));
        }
        wanted.sort_by_key(|(name, ..)| *name);
        let mut guards = Vec::new();
        for (_, owner, mode) in wanted {
            let path = self.store.options().namespace_lock_path(Some(owner));
            let guard = Arc::new(self.store.locks().lock_file(&path, mode, self.store.wait())?);
            guards.push((owner.clone(), guard));
        }
        let own = self
            .owner
            .as_ref()
            .and_then(|owner| guards.iter().find(|(known, _)| known == owner));
        let own = own.map(|(_, guard)| guard.clone());
        let source = self.hot.lock_mailbox(
            &self.store,
            self.owner.clone(),
            own,
            Mode::Shared,
            self.store.wait(),
        )?;
        guards.retain(|(_, guard)| guard.mode() == Mode::Exclusive);
        Ok(CopyLocks {
            held: Held {
                namespaces: guards,
                // A mailbox may be copied into itself.
                mailbox: Some((self.hot.clone(), source.clone())),
            },
            source,
        })
    }

    /// The messages to copy, as they are to arrive in the target, and the quota root that they are under.
    ///
    /// The index lock is released again: the mailbox lock keeps the files in place.
    #[allow(
        clippy::type_complexity,
        reason = "three lists of one scan, taken apart at once"
    )]
    fn originals(
        &self,
        uids: &UidSet,
        target: &Self,
        names: &NameLocks,
    ) -> Result<(Vec<Incoming>, Vec<Uid>, Option<String>), MailboxError> {
        let locks = self
            .hot
            .lock_index(names.clone(), Mode::Shared, self.store.wait())?;
        let read = IndexRead::new(self, locks)?;
        read.load_seen()?;
        let (owner, userid) = (self.owner.as_deref(), self.auth.userid());
        let mut annotated = annotations::to_copy(&self.store, &self.hot, owner, userid, uids)?;
        let mut messages = Vec::new();
        let mut originals = Vec::new();
        // A conversation is one of a user.
        let is_same_user = self.owner == target.owner && self.store.options().conversations;
        for message in uids.ranges().flat_map(|range| read.range(range)) {
            let mut record = message.record()?;
            let mut annotations = annotated.remove(&record.uid).unwrap_or_default();
            if !is_same_user {
                record.cid = 0;
                annotations.retain(|annotation| !annotation.is_of_conversation());
            }
            messages.push(Incoming {
                flags: target.permitted(flag_names(message.flags(), read.keywords())),
                internal_date: record.internaldate,
                created_modseq: Some(record.createdmodseq),
                annotations,
                source: Source::Message {
                    path: self.hot.paths.message(record.uid, record.is_archived()),
                    cache: message.cache()?,
                    record,
                },
            });
            originals.push(message.uid());
        }
        Ok((messages, originals, read.quota_root().map(str::to_owned)))
    }

    fn expunge_moved(&self, originals: &[Uid], locks: &CopyLocks) -> Result<(), MailboxError> {
        let index = self
            .hot
            .lock_index(locks.source.clone(), Mode::Exclusive, self.store.wait())?;
        let mut write = IndexWrite::begin(&self.store, &self.hot, index)?;
        let uids: UidSet = originals.iter().copied().collect();
        self.mark_expunged(&mut write, &uids, SystemFlags::DELETED, |_| true)?;
        write.commit(&self.entry.name, &self.id)
    }
}

/// The names of a message's flags.
pub(crate) fn flag_names(flags: Flags, table: &[Option<Keyword>]) -> FlagNames {
    let mut names = FlagNames::from(flags.system);
    if !flags.keywords.is_empty() {
        let known = flags.keywords.slots().filter_map(|slot| table.get(slot)?.clone());
        names.keywords = known.collect();
    }
    names
}
