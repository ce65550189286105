//! Renaming an INBOX, which moves its messages and not the mailbox.

use cyrus_acl::AuthState;

use crate::error::MailboxError;
use crate::mailbox::CopyMode;
use crate::name::MailboxName;
use crate::store::Store;
use crate::uid::UidSet;

impl Store {
    /// Moves the messages of an INBOX to a new mailbox and leaves the INBOX empty (RFC 3501, section 6.3.5). Mailboxes
    /// below the INBOX stay.
    ///
    /// The new mailbox is created as by [`Store::create`], whose errors this has; if the messages cannot be moved, it is
    /// there, empty. No message is ever in neither of the two.
    pub(crate) fn rename_inbox(
        &self,
        from: &MailboxName,
        to: &MailboxName,
        auth: &AuthState,
    ) -> Result<Vec<(MailboxName, MailboxName)>, MailboxError> {
        self.create(to, auth)?;
        let mut inbox = self.open_mailbox(from, auth)?;
        let uids: UidSet = UidSet::from_ranges(inbox.read()?.uids().ranges());
        if !uids.is_empty() {
            inbox.copy(&uids, to, CopyMode::Move)?;
        }
        Ok(vec![(from.clone(), to.clone())])
    }
}
