//! Expunging messages: at once out of sight, off the disk when the expunge mode says so.

use cyrus_acl::Rights;

use super::{IndexWrite, Mailbox, annotations};
use crate::error::MailboxError;
use crate::flags::SystemFlags;
use crate::format::index::{Record, options};
use crate::options::ExpungeMode;
use crate::sys::Mode;
use crate::uid::{Uid, UidSet};

/// Which messages to expunge.
#[derive(Clone, Copy, Debug)]
pub enum Expunge<'a> {
    /// All that have `\Deleted`.
    AllDeleted,
    /// Those among these UIDs that have `\Deleted`.
    Uids(&'a UidSet),
    /// Those with these UIDs, whatever flags they have; takes the right to set `\Deleted`, too.
    Replaced(&'a UidSet),
}

impl Mailbox {
    /// Expunges messages and returns their UIDs. On return they are gone for everybody, on stable storage.
    ///
    /// # Errors
    /// The user may not, or the system failed.
    pub fn expunge(&mut self, which: Expunge<'_>) -> Result<UidSet, MailboxError> {
        self.refresh_entry()?;
        self.require(Rights::EXPUNGE)?;
        let whole = UidSet::from(Uid::MIN..=Uid::MAX);
        let uids = match which {
            Expunge::AllDeleted => &whole,
            Expunge::Uids(uids) => uids,
            Expunge::Replaced(uids) => {
                self.require(Rights::DELETE_MESSAGES)?;
                return self.expunge_where(uids, SystemFlags::DELETED, |_| true);
            }
        };
        self.expunge_where(uids, SystemFlags::DELETED, |record| {
            record.system_flags().contains(SystemFlags::DELETED)
        })
    }

    /// Expunges those messages among `uids` that `wanted` picks, and gives them these flags.
    pub(super) fn expunge_where(
        &mut self,
        uids: &UidSet,
        flags: SystemFlags,
        wanted: impl Fn(&Record) -> bool,
    ) -> Result<UidSet, MailboxError> {
        let locks = self.lock(Mode::Exclusive)?;
        let mut write = IndexWrite::begin(&self.store, &self.hot, locks)?;
        let expunged = self.mark_expunged(&mut write, uids, flags, wanted)?;
        write.commit(&self.entry.name, &self.id)?;
        crate::metrics::STORE.expunged.add(expunged.len());
        Ok(expunged)
    }

    /// Marks records as expunged, in a change that the caller commits. They get these flags, too: as in Cyrus, those that were
    /// moved are `\\Deleted` then, and those that expired are not.
    pub(super) fn mark_expunged(
        &self,
        write: &mut IndexWrite,
        uids: &UidSet,
        marked: SystemFlags,
        wanted: impl Fn(&Record) -> bool,
    ) -> Result<UidSet, MailboxError> {
        let mode = self.store.options().expunge_mode;
        let mut expunged = UidSet::new();
        let flags = match mode {
            ExpungeMode::Delayed => Record::EXPUNGED,
            ExpungeMode::SemiDelayed | ExpungeMode::Immediate => {
                Record::EXPUNGED | Record::UNLINKED | Record::NEEDS_CLEANUP
            }
        };
        let mut messages = write.visible_in(uids);
        while let Some((number, uid, old)) = messages.next(write)? {
            if wanted(&old) {
                let mut new = old.clone();
                new.flags |= flags | marked.bits();
                write.change(number, &old, new);
                expunged.insert(uid);
            }
        }
        if expunged.is_empty() {
            return Ok(expunged);
        }
        let annotated = annotations::of_messages(&self.store, &self.hot, self.owner.as_deref(), &expunged)?;
        let now = write.now();
        let header = &mut write.header;
        for annotated in annotated.values() {
            header.quota_annot_used = header.quota_annot_used.saturating_sub(annotated.octets);
            header.sync_annot ^= annotated.sync;
        }
        header.first_expunged = if header.first_expunged == 0 {
            now
        } else {
            header.first_expunged.min(now)
        };
        header.options |= match mode {
            ExpungeMode::Delayed => 0,
            ExpungeMode::SemiDelayed => options::NEEDS_UNLINK,
            ExpungeMode::Immediate => options::NEEDS_UNLINK | options::NEEDS_REPACK,
        };
        Ok(expunged)
    }
}
