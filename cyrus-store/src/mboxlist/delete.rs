//! Deleting mailboxes: at once, or by a name below `DELETED` until somebody expires them.

use std::sync::Arc;

use cyrus_acl::{AuthState, Rights};

use super::MailboxEntry;
use super::list::Step;
use super::rows::RowChange;
use crate::conversations::{CounterKind, Place};
use crate::error::MailboxError;
use crate::format::index::options;
use crate::format::quota::Usage;
use crate::mailbox::IndexWrite;
use crate::name::MailboxName;
use crate::options::DeleteMode;
use crate::store::{Store, now};
use crate::uid::ModSeq;

impl Store {
    /// Deletes a mailbox; with a user's INBOX go all his mailboxes, his subscriptions and seen state, and his quota
    /// roots.
    ///
    /// With `delete_mode: delayed`, mailboxes stay below `DELETED` until they are expired, or deleted there.
    ///
    /// # Errors
    /// [`MailboxError::PermissionDenied`] without the right `x`, which administrators do not have by themselves;
    /// [`MailboxError::HasInferiors`] if mailboxes are below it; [`MailboxError::Refused`] for one's own INBOX.
    pub fn delete(&self, name: &MailboxName, auth: &AuthState) -> Result<(), MailboxError> {
        let _namespaces = self.lock_namespaces([name])?;
        let (entry, rights) = self.visible(name, auth)?;
        if !rights.contains(Rights::DELETE_MAILBOX) {
            return Err(if rights.contains(Rights::LOOKUP) {
                MailboxError::PermissionDenied
            } else {
                MailboxError::NotFound
            });
        }
        if name.is_user_inbox() {
            if !auth.is_admin() {
                return Err(MailboxError::Refused(UNSUPPORTED.to_owned()));
            }
            return self.delete_user(name, &entry);
        }
        if self.has_children(name)? {
            return Err(MailboxError::HasInferiors);
        }
        if !auth.is_system() && self.is_protected(&entry)? {
            return Err(MailboxError::Refused(SPECIAL_USE_CONFLICT.to_owned()));
        }
        self.delete_one(&entry)
    }

    /// Deletes all mailboxes of a user, and what else there is of him.
    fn delete_user(&self, inbox: &MailboxName, entry: &MailboxEntry) -> Result<(), MailboxError> {
        let mailboxes = self.tree_below(inbox)?;
        // The INBOX last: as long as it is there, an interrupted deletion can be done again.
        for mailbox in mailboxes.iter().rev() {
            self.delete_one(mailbox)?;
        }
        let files = self.files_of_user(inbox, entry);
        self.delete_one(entry)?;
        self.remove_user_files(&files);
        self.remove_quota_roots(inbox)
    }

    /// Deletes one mailbox in the way that the configuration says.
    fn delete_one(&self, entry: &MailboxEntry) -> Result<(), MailboxError> {
        if !entry.mbtype.is_usable() {
            return self.commit_rows(&[RowChange::Bury(&MailboxEntry {
                mtime: i64::from(now()),
                ..entry.clone()
            })]);
        }
        let deleted_prefix = &self.options().deleted_prefix;
        let gone_already = entry.name.is_deleted(deleted_prefix);
        match self.options().delete_mode {
            DeleteMode::Delayed if !gone_already => {
                let mut time = u64::from(now());
                loop {
                    let name = entry.name.deleted_name(deleted_prefix, time)?;
                    if self.lookup(&name)?.is_none() {
                        return self.move_one(entry, &name, None, None).map(drop);
                    }
                    // Deleted twice within a second.
                    time += 1;
                }
            }
            _ => self.destroy(entry),
        }
    }

    /// Makes a mailbox and its files disappear.
    ///
    /// The rows go first: a crash after that leaves files that nothing refers to, and a quota root that counts too much.
    fn destroy(&self, entry: &MailboxEntry) -> Result<(), MailboxError> {
        let paths = self.paths_of(entry)?;
        let mut write = match self.hold(entry) {
            Ok(write) => write,
            // A mailbox without files, or with damaged ones, must go away, too.
            Err(
                MailboxError::Deleted
                | MailboxError::Damaged { .. }
                | MailboxError::UnsupportedVersion { .. },
            ) => {
                self.commit_rows(&[RowChange::Bury(&MailboxEntry {
                    mtime: i64::from(now()),
                    ..entry.clone()
                })])?;
                self.remove_if_unused(&paths);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let modseq = write.next_modseq();
        let usage = self.leave(&mut write, entry)?;
        let root = write.names().header.quota_root.clone();
        let quota_modseq = write.raise_counters(root.is_some())?;
        let buried = MailboxEntry {
            folder_modseq: ModSeq(modseq),
            mtime: i64::from(now()),
            ..entry.clone()
        };
        self.commit_rows(&[RowChange::Bury(&buried)])?;
        self.finish_old(write, &entry.name, entry)?;
        self.count_deleted(entry, modseq)?;
        if let Some(root) = root {
            self.charge_quota_at(&root, usage, quota_modseq)?;
        }
        if let Some(id) = &entry.id {
            self.remove_annotations(id)?;
        }
        self.remove_if_unused(&paths);
        Ok(())
    }

    /// Takes a mailbox that goes away out of its owner's conversations, in memory, and returns what its quota root has to
    /// be charged.
    pub(crate) fn leave(&self, write: &mut IndexWrite, entry: &MailboxEntry) -> Result<Usage, MailboxError> {
        let usage = whole_usage(write).negated();
        let (id, _) = entry.storage()?;
        let place = Place {
            id,
            name: &entry.name,
        };
        write.leave_conversations(&place)?;
        let modseq = write.header.highestmodseq;
        let root = write.names().header.quota_root.clone();
        match write.open_conversations()? {
            Some(conversations) => {
                conversations.touch(&place, modseq)?;
                conversations.usage_instead(root.as_deref(), usage)
            }
            None => Ok(usage),
        }
    }

    /// Lets the owner's counters know that a mailbox was deleted.
    pub(crate) fn count_deleted(&self, entry: &MailboxEntry, modseq: u64) -> Result<(), MailboxError> {
        match entry.name.owner() {
            Some(owner) if self.has_conversations(&owner)? => {
                self.raise_user_modseq(&owner, CounterKind::Deleted(entry.mbtype.kind), modseq)
            }
            _ => Ok(()),
        }
    }

    /// Marks the index of a mailbox whose files are no longer its own, so that sessions that have it open notice.
    pub(crate) fn finish_old(
        &self,
        mut write: IndexWrite,
        name: &MailboxName,
        entry: &MailboxEntry,
    ) -> Result<(), MailboxError> {
        write.header.options |= options::DELETED;
        write.write_header()?;
        write.index_file().sync_data()?;
        write.commit_conversations();
        let publication = write.finish();
        if let Some(id) = &entry.id {
            self.announce(name, id, publication);
        }
        Ok(())
    }

    /// Whether mailboxes exist below a name.
    pub(crate) fn has_children(&self, name: &MailboxName) -> Result<bool, MailboxError> {
        let mut found = false;
        self.walk_tree(name, &mut |entry| {
            found = entry.name != *name && !entry.mbtype.intermediate;
            if found { Step::Stop } else { Step::Next }
        })?;
        Ok(found)
    }

    /// The mailboxes below a name, in their order.
    pub(crate) fn tree_below(&self, name: &MailboxName) -> Result<Vec<Arc<MailboxEntry>>, MailboxError> {
        let mut mailboxes = Vec::new();
        self.walk_tree(name, &mut |entry| {
            if entry.name != *name {
                mailboxes.push(Arc::new(entry));
            }
            Step::Next
        })?;
        Ok(mailboxes)
    }
}

/// All that a mailbox adds to the usage of its quota root.
pub(crate) fn whole_usage(write: &IndexWrite) -> Usage {
    let header = &write.header;
    Usage([
        i64::try_from(header.quota_mailbox_used).unwrap_or(i64::MAX),
        i64::from(header.exists),
        i64::from(header.quota_annot_used),
        1,
    ])
}

/// What IMAP servers say to requests that make no sense for a mailbox.
pub(crate) const UNSUPPORTED: &str = "Operation is not supported on mailbox";
/// What Cyrus says when a special use forbids it.
pub(crate) const SPECIAL_USE_CONFLICT: &str = "SPECIAL-USE flag conflict";
