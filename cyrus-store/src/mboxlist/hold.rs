//! What changes of the mailbox list have in common: the locks in their order, and one mailbox held to be changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{MailboxEntry, row_key};
use crate::db::Create;
use crate::error::MailboxError;
use crate::format::mboxentry::MailboxRow;
use crate::format::{Damage, Fault};
use crate::hot::Hot;
use crate::ident::MailboxId;
use crate::lock::Guard;
use crate::mailbox::IndexWrite;
use crate::name::MailboxName;
use crate::paths::MailboxPaths;
use crate::store::Store;
use crate::sys::Mode;

impl Store {
    /// Who owns a mailbox, or owned it before it was deleted.
    pub(crate) fn owner_of(&self, name: &MailboxName) -> Option<String> {
        name.owner_even_deleted(&self.options().deleted_prefix)
    }

    /// Locks the namespaces that these mailboxes are in: first that of mailboxes without owner, then those of users in
    /// the order of their names, as Cyrus does.
    pub(crate) fn lock_namespaces<'a>(
        &self,
        names: impl IntoIterator<Item = &'a MailboxName>,
    ) -> Result<Vec<Guard>, MailboxError> {
        let owners: BTreeSet<Option<String>> = names.into_iter().map(|name| self.owner_of(name)).collect();
        owners
            .iter()
            .map(|owner| {
                let path = self.options().namespace_lock_path(owner.as_deref());
                Ok(self.locks().lock_file(&path, Mode::Exclusive, self.wait())?)
            })
            .collect()
    }

    /// The files of a mailbox.
    pub(crate) fn paths_of(&self, entry: &MailboxEntry) -> Result<MailboxPaths, MailboxError> {
        let (id, partition) = entry.storage()?;
        self.options()
            .mailbox_paths(partition, id, &entry.name, entry.mbtype.legacy_dirs)
    }

    /// Locks a mailbox so that its header and index can be changed, for a caller who has its namespace lock: the
    /// mailbox shared, the index exclusively.
    pub(crate) fn hold(&self, entry: &MailboxEntry) -> Result<IndexWrite, MailboxError> {
        let hot = self.hot(self.paths_of(entry)?);
        let owner = entry.name.owner().map(Arc::from);
        let names = hot.lock_mailbox(self, owner, None, Mode::Shared, self.wait())?;
        let (id, _) = entry.storage()?;
        let locks = hot
            .lock_index(names, Mode::Exclusive, self.wait())
            .map_err(|error| self.deleted_or_damaged(error, id, &hot))?;
        IndexWrite::begin(self, &hot, locks)
    }

    /// What it means that an index could not be locked: a mailbox that is still in the list, with files that are to be
    /// where they are missing, was not deleted but has lost its index, or a disk is not mounted.
    pub(crate) fn deleted_or_damaged(&self, error: MailboxError, id: &MailboxId, hot: &Hot) -> MailboxError {
        if !matches!(error, MailboxError::Deleted) {
            return error;
        }
        let entry = match self.lookup_id(id) {
            Ok(Some(entry)) => entry,
            Ok(None) => return MailboxError::Deleted,
            Err(error) => return error,
        };
        let index = &hot.paths.index;
        let is_here = self.paths_of(&entry).is_ok_and(|paths| paths.index == *index);
        match self.disk().try_stat(index) {
            Ok(None) if is_here => MailboxError::damaged(index, Fault::new(0, Damage::Missing)),
            Ok(_) => MailboxError::Deleted,
            Err(error) => error.into(),
        }
    }

    /// The row under a name, whatever it is.
    pub(crate) fn row_of(&self, name: &MailboxName) -> Result<Option<MailboxRow>, MailboxError> {
        let Some(mut db) = self.mboxlist(Create::No)? else {
            return Ok(None);
        };
        let Some(value) = db.get(&row_key(name))? else {
            return Ok(None);
        };
        MailboxRow::parse(&value)
            .map(Some)
            .map_err(|fault| MailboxError::damaged(&self.mboxlist_path(), fault))
    }
}
