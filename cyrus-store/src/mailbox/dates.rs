//! Internal dates that were lost, set right by the dates in the messages.

use super::{IndexWrite, Mailbox};
use crate::error::MailboxError;
use crate::sys::Mode;
use crate::uid::{Uid, UidSet};

/// A message whose internal date was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redated {
    /// Which one.
    pub uid: Uid,
    /// The internal date that it had, Unix seconds.
    pub was: u32,
    /// The one that it has now, that of its Date: field.
    pub now: u32,
}

impl Mailbox {
    /// Gives every message whose internal date is more than a day off its Date: field the latter's: for mailboxes that came
    /// out of a backup that forgot when messages arrived. Messages without a readable Date: stay as they are.
    ///
    /// # Errors
    /// The user is not the system itself, or that failed.
    pub fn normalize_internal_dates(&mut self) -> Result<Vec<Redated>, MailboxError> {
        self.refresh_entry()?;
        self.require_system()?;
        let locks = self.lock(Mode::Exclusive)?;
        let mut write = IndexWrite::begin(&self.store, &self.hot, locks)?;
        let whole = UidSet::from(Uid::MIN..=Uid::MAX);
        let mut messages = write.visible_in(&whole);
        let mut done = Vec::new();
        while let Some((number, uid, old)) = messages.next(&write)? {
            if old.gmtime == 0 || old.internaldate.abs_diff(old.gmtime) <= DAY {
                continue;
            }
            let mut new = old.clone();
            new.internaldate = old.gmtime;
            done.push(Redated {
                uid,
                was: old.internaldate,
                now: new.internaldate,
            });
            write.change(number, &old, new);
        }
        write.commit(&self.entry.name, &self.id)?;
        Ok(done)
    }
}

const DAY: u32 = 86_400;
