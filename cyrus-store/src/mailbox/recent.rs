//! `\Recent`: each message is new to one session only, of the owner's or of each other user's.

use cyrus_acl::Rights;

use super::{IndexRead, IndexWrite, Mailbox};
use crate::error::MailboxError;
use crate::sys::Mode;
use crate::uid::{Uid, UidSet};

impl Mailbox {
    /// Claims the messages that no session of this user was told of before: they are recent in this session, and in no
    /// later one. Returns those that are new since the last claim.
    ///
    /// For a mailbox that is only looked at (EXAMINE) it is not called; then all such messages are recent there, and later
    /// again. A crash may make messages recent once more.
    ///
    /// # Errors
    /// The user may not read, or the system failed.
    pub fn claim_recent(&mut self) -> Result<UidSet, MailboxError> {
        let (floor, last, in_index) = {
            let read = self.read()?;
            (read.recent_floor()?, read.header.last_uid, read.seen_in_index())
        };
        if floor >= last {
            return Ok(UidSet::new());
        }
        let claimed = if in_index {
            self.claim_in_index()?
        } else {
            self.claim_in_seen(last)?
        };
        let fresh = claimed.map_or_else(UidSet::new, |(floor, last)| range_above(floor, last));
        self.recent.extend_from(&fresh);
        Ok(fresh)
    }

    fn claim_in_index(&mut self) -> Result<Option<(u32, u32)>, MailboxError> {
        let locks = self.lock(Mode::Exclusive)?;
        let mut write = IndexWrite::begin(&self.store, &self.hot, locks)?;
        let (floor, last) = (write.header.recentuid, write.header.last_uid);
        if floor >= last {
            return Ok(None);
        }
        write.header.recentuid = last;
        write.header.recenttime = write.now();
        // Not worth a sync: what a crash loses is that somebody was told.
        write.write_header()?;
        // Watchers need not hear of it: no message changed.
        let _ = write.finish();
        Ok(Some((floor, last)))
    }

    fn claim_in_seen(&self, last: u32) -> Result<Option<(u32, u32)>, MailboxError> {
        if !self.rights.contains(Rights::SEEN) {
            return Ok(None);
        }
        let mut claimed = None;
        self.store.change_seen(self.auth.userid(), &self.id, |state| {
            if state.lastuid < last {
                claimed = Some((state.lastuid, last));
                state.lastuid = last;
                state.lastread = crate::store::now();
            }
        })?;
        Ok(claimed)
    }
}

impl IndexRead<'_> {
    /// How many messages are recent in this session.
    ///
    /// # Errors
    /// The user's seen state cannot be read.
    pub fn recent(&self) -> Result<u32, MailboxError> {
        let floor = self.recent_floor()?;
        let through = |uid: u32| Uid::new(uid).map_or(0, |uid| self.uids().count_through(uid));
        let claimed: u32 = self
            .mailbox
            .recent
            .ranges()
            .map(|range| {
                through(range.end().get().min(floor)).saturating_sub(through(range.start().get() - 1))
            })
            .sum();
        Ok(claimed + (self.uids().len() - through(floor)))
    }

    /// The highest UID that a session of this user was told of.
    pub(super) fn recent_floor(&self) -> Result<u32, MailboxError> {
        if self.seen_in_index() {
            Ok(self.header.recentuid)
        } else {
            Ok(self.seen()?.lastuid)
        }
    }

    pub(super) fn is_recent(&self, uid: Uid) -> bool {
        self.mailbox.recent.contains(uid) || self.recent_floor().is_ok_and(|floor| uid.get() > floor)
    }
}

fn range_above(floor: u32, last: u32) -> UidSet {
    let first = floor.checked_add(1).and_then(Uid::new);
    match first.zip(Uid::new(last)) {
        Some((first, last)) if first <= last => UidSet::from(first..=last),
        _ => UidSet::new(),
    }
}
