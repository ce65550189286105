//! Where the kernel tells nothing of changed files: whoever watches looks from time to time.

use std::io;
use std::path::Path;

use crate::ident::MailboxId;

/// Watches nothing.
pub(super) struct IndexWatch;

impl IndexWatch {
    pub(super) fn start(_changed: impl Fn(&MailboxId) + Send + 'static) -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) fn follow(&self, _id: &MailboxId, _index: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn forget(&self, _id: &MailboxId) {}
}
