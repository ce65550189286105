//! Changing flags.

use cyrus_acl::Rights;

use super::{IndexWrite, Mailbox};
use crate::error::MailboxError;
use crate::flags::{FlagNames, KeywordBits, SystemFlags};
use crate::format::index::{Record, RecordView};
use crate::sys::Mode;
use crate::uid::{ModSeq, UidSet};

/// A change of flags, as a client asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagChange {
    /// What to do with the flags.
    pub mode: FlagMode,
    /// The flags.
    pub flags: FlagNames,
}

/// What a change does with the flags that a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagMode {
    /// Replaces them.
    Set,
    /// Adds to them.
    Add,
    /// Takes from them.
    Remove,
}

/// What became of a change of flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagsStored {
    /// Messages of which a flag is other than before.
    pub changed: UidSet,
    /// Messages that were left alone, because they had changed since the client looked.
    pub modified: UidSet,
    /// The highest modification sequence that a changed message had before: one whom it is news to has to be told what else
    /// changed.
    pub before: ModSeq,
    /// The mailbox's highest modification sequence after the change: what has a higher one was changed since by others.
    pub after: ModSeq,
}

/// The flags that a user may change.
struct Scope {
    system: SystemFlags,
    keywords: bool,
}

impl Mailbox {
    /// Changes flags of messages; UIDs that do not exist are passed over.
    ///
    /// With `unchanged_since`, messages with a higher modification sequence are left alone and returned as modified. Flags
    /// that the user may not change stay as they are. On return the change is on stable storage.
    ///
    /// # Errors
    /// The user may change none of the flags, there is no room for a new keyword, or the system failed.
    pub fn store_flags(
        &mut self,
        uids: &UidSet,
        change: &FlagChange,
        unchanged_since: Option<ModSeq>,
    ) -> Result<FlagsStored, MailboxError> {
        self.refresh_entry()?;
        let scope = self.scope(change)?;
        self.change_flags(uids, change, unchanged_since, &scope)
    }

    /// Marks messages as seen by this user, where he may: what reading a message does.
    ///
    /// # Errors
    /// The system failed.
    pub fn mark_seen(&mut self, uids: &UidSet) -> Result<FlagsStored, MailboxError> {
        self.refresh_entry()?;
        if !self.rights.contains(Rights::SEEN) {
            return Ok(FlagsStored::default());
        }
        let change = FlagChange {
            mode: FlagMode::Add,
            flags: SystemFlags::SEEN.into(),
        };
        let scope = Scope {
            system: SystemFlags::SEEN,
            keywords: false,
        };
        self.change_flags(uids, &change, None, &scope)
    }

    /// Which flags the user may change.
    ///
    /// # Errors
    /// None of those that the change is about (RFC 4314, section 4).
    fn scope(&self, change: &FlagChange) -> Result<Scope, MailboxError> {
        let mut system = SystemFlags::NONE;
        if self.rights.contains(Rights::SEEN) {
            system |= SystemFlags::SEEN;
        }
        if self.rights.contains(Rights::DELETE_MESSAGES) {
            system |= SystemFlags::DELETED;
        }
        let keywords = self.rights.contains(Rights::WRITE);
        if keywords {
            system |= SystemFlags::ANSWERED | SystemFlags::FLAGGED | SystemFlags::DRAFT;
        }
        let flags = &change.flags;
        let possible = match change.mode {
            FlagMode::Set => !system.is_empty(),
            FlagMode::Add | FlagMode::Remove => {
                flags.is_empty()
                    || (keywords && !flags.keywords.is_empty())
                    || !flags.system.only(system).is_empty()
            }
        };
        if !possible {
            self.require(Rights::READ)?;
            return Err(MailboxError::PermissionDenied);
        }
        Ok(Scope { system, keywords })
    }

    fn change_flags(
        &mut self,
        uids: &UidSet,
        change: &FlagChange,
        unchanged_since: Option<ModSeq>,
        scope: &Scope,
    ) -> Result<FlagsStored, MailboxError> {
        let locks = self.lock(Mode::Exclusive)?;
        let mut write = IndexWrite::begin(&self.store, &self.hot, locks)?;
        let in_index = self.seen_is_in_index(write.header.options);
        let keywords = if !scope.keywords {
            KeywordBits::default()
        } else if change.mode == FlagMode::Remove || !any_to_change(&write, uids, unchanged_since) {
            write.known_keyword_bits(&change.flags)
        } else {
            write.keyword_bits(&change.flags)?
        };
        let seen = if in_index {
            None
        } else {
            Some(self.store.seen_state(self.auth.userid(), &self.id)?.seen)
        };
        let mut stored = FlagsStored::default();
        let mut now_seen = UidSet::new();
        let mut now_unseen = UidSet::new();
        let mut messages = write.visible_in(uids);
        while let Some((number, uid, old)) = messages.next(&write)? {
            if unchanged_since.is_some_and(|since| old.modseq > since.0) {
                stored.modified.insert(uid);
                continue;
            }
            let new = changed(&old, change, keywords, scope, in_index);
            if new != old {
                stored.before = stored.before.max(ModSeq(old.modseq));
                write.change(number, &old, new);
                stored.changed.insert(uid);
            }
            if let Some(seen) = &seen {
                match (seen.contains(uid), wants_seen(seen.contains(uid), change, scope)) {
                    (false, true) => now_seen.insert(uid),
                    (true, false) => now_unseen.insert(uid),
                    (true, true) | (false, false) => continue,
                }
                stored.changed.insert(uid);
            }
        }
        if !now_seen.is_empty() || !now_unseen.is_empty() {
            self.store.change_seen(self.auth.userid(), &self.id, |state| {
                state.seen.extend_from(&now_seen);
                state.seen.remove_all(&now_unseen);
                state.lastread = write.now();
                state.lastchange = write.header.last_appenddate;
            })?;
            if !write.is_changed() {
                // The records stay as they are, but other sessions of the user should look.
                write.next_modseq();
            }
        }
        stored.after = ModSeq(write.header.highestmodseq);
        write.commit(&self.entry.name, &self.id)?;
        Ok(stored)
    }
}

/// Whether a change reaches any message; where it does not, it adds no keyword to the mailbox either.
fn any_to_change(write: &IndexWrite, uids: &UidSet, unchanged_since: Option<ModSeq>) -> bool {
    let reached = |view: RecordView<'_>| {
        !view.is_expunged() && unchanged_since.is_none_or(|since| view.modseq() <= since.0)
    };
    uids.ranges().any(|range| {
        (write.find(range.start().get())..)
            .map_while(|number| write.view(number))
            .take_while(|view| view.uid() <= range.end().get())
            .any(reached)
    })
}

/// A record after a change, as far as it is the record's business.
fn changed(
    old: &Record,
    change: &FlagChange,
    keywords: KeywordBits,
    scope: &Scope,
    in_index: bool,
) -> Record {
    let system_scope = if in_index {
        scope.system
    } else {
        scope.system.without(SystemFlags::SEEN)
    };
    let before = old.system_flags();
    let wanted = change.flags.system.only(system_scope);
    let mut new = old.clone();
    match change.mode {
        FlagMode::Set => {
            new.set_system_flags(before.without(system_scope) | wanted);
            if scope.keywords {
                new.keywords = keywords;
            }
        }
        FlagMode::Add => {
            new.set_system_flags(before | wanted);
            new.keywords = old.keywords.with(keywords);
        }
        FlagMode::Remove => {
            new.set_system_flags(before.without(wanted));
            new.keywords = old.keywords.without(keywords);
        }
    }
    new
}

/// Whether the user has seen a message after a change.
fn wants_seen(before: bool, change: &FlagChange, scope: &Scope) -> bool {
    if !scope.system.contains(SystemFlags::SEEN) {
        return before;
    }
    let named = change.flags.system.contains(SystemFlags::SEEN);
    match change.mode {
        FlagMode::Set => named,
        FlagMode::Add => before || named,
        FlagMode::Remove => before && !named,
    }
}
