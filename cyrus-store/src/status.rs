//! What is known of a mailbox without opening it for long: IMAP's STATUS.

use cyrus_acl::{AuthState, Rights};

use crate::error::MailboxError;
use crate::ident::MailboxId;
use crate::name::MailboxName;
use crate::store::Store;
use crate::uid::{ModSeq, UidValidity};

/// Counts of a mailbox, as one user sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxStatus {
    /// Messages.
    pub messages: u32,
    /// Messages that no session of this user has been told of.
    pub recent: u32,
    /// Messages that this user has not seen.
    pub unseen: u32,
    /// Messages marked `\Deleted`.
    pub deleted: u32,
    /// The next message gets this UID or a higher one.
    pub uidnext: u32,
    /// The UIDs' validity.
    pub uidvalidity: UidValidity,
    /// The modification sequence of the last change.
    pub highestmodseq: ModSeq,
    /// Octets of all messages.
    pub size: u64,
    /// The mailbox's unique id.
    pub id: MailboxId,
}

impl Store {
    /// The counts of a mailbox. Costs nothing in proportion to its size for its owner; for other users, UNSEEN does.
    ///
    /// # Errors
    /// As [`Store::open_mailbox`]; [`MailboxError::PermissionDenied`] without the right `r`.
    pub fn status(&self, name: &MailboxName, auth: &AuthState) -> Result<MailboxStatus, MailboxError> {
        let mut mailbox = self.open_mailbox(name, auth)?;
        if !mailbox.rights().contains(Rights::READ) {
            return Err(MailboxError::PermissionDenied);
        }
        let id = mailbox.id().clone();
        let read = mailbox.read()?;
        Ok(MailboxStatus {
            messages: read.exists(),
            recent: read.recent()?,
            unseen: read.unseen()?,
            deleted: read.header().deleted,
            uidnext: read.uidnext(),
            uidvalidity: read.uidvalidity(),
            highestmodseq: read.highest_modseq(),
            size: read.size(),
            id,
        })
    }
}
