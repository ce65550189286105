//! What STATUS tells of a mailbox that nobody has selected.

use cyrus_acl::{AuthState, Rights};

use super::read::header_of;
use super::{IndexRead, Mailbox};
use crate::error::MailboxError;
use crate::format::index::{IndexHeader, Records};
use crate::ident::MailboxId;
use crate::name::MailboxName;
use crate::store::Store;
use crate::sys::Mode;
use crate::uid::{ModSeq, UidValidity};

/// The counts of a mailbox at one moment, for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxStatus {
    /// Messages.
    pub messages: u32,
    /// Messages that no session of the user was told of.
    pub recent: u32,
    /// Messages that the user has not seen.
    pub unseen: u32,
    /// The UID that the next message will get, at least.
    pub uidnext: u32,
    /// UIDVALIDITY.
    pub uidvalidity: UidValidity,
    /// The highest modification sequence.
    pub highestmodseq: ModSeq,
    /// Octets of all messages.
    pub size: u64,
    /// Messages with `\Deleted`.
    pub deleted: u32,
    /// Unique id.
    pub id: MailboxId,
}

impl Store {
    /// The counts of a mailbox.
    ///
    /// # Errors
    /// As [`Mailbox::read`].
    pub fn status(&self, name: &MailboxName, auth: &AuthState) -> Result<MailboxStatus, MailboxError> {
        self.open_mailbox(name, auth)?.status()
    }
}

impl Mailbox {
    /// The counts of the mailbox as of now. Cheaper than [`Mailbox::read`] where the user's `\Seen` flags are in the index:
    /// its header has the counts.
    ///
    /// # Errors
    /// As [`Mailbox::read`].
    pub fn status(&mut self) -> Result<MailboxStatus, MailboxError> {
        self.refresh_entry()?;
        self.require(Rights::READ)?;
        let locks = self.lock(Mode::Shared)?;
        let mut mapping = self.hot.borrow_mapping();
        let file = mapping.refresh(&locks.index)?;
        let header = header_of(&self.hot, file)?;
        let counted = self.seen_is_in_index(header.options) && header.layout.minor >= 14;
        let recent = match header.records(file) {
            Ok(records) if counted => Some(recent(&header, records)),
            Ok(_) => None,
            Err(fault) => return Err(MailboxError::damaged(&self.hot.paths.index, fault)),
        };
        self.hot.return_mapping(mapping);
        let (messages, recent, unseen) = match recent {
            Some(recent) => (header.exists, recent, header.unseen),
            None => {
                let read = IndexRead::new(self, locks)?;
                (read.exists(), read.recent()?, read.unseen()?)
            }
        };
        Ok(MailboxStatus {
            messages,
            recent,
            unseen,
            uidnext: header.last_uid.saturating_add(1),
            uidvalidity: UidValidity(header.uidvalidity),
            highestmodseq: ModSeq(header.highestmodseq),
            size: header.quota_mailbox_used,
            deleted: header.deleted,
            id: self.id.clone(),
        })
    }
}

/// Visible messages that the owner was not told of.
fn recent(header: &IndexHeader, records: Records<'_>) -> u32 {
    let first = records.find(header.recentuid.saturating_add(1));
    u32::try_from(records.from(first).filter(|record| !record.is_expunged()).count()).unwrap_or(u32::MAX)
}
