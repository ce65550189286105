//! Mailboxes that follow their names on the disk: moved to directories by unique id, or given another unique id.

use super::rows::RowChange;
use super::{MailboxEntry, id_key};
use crate::db::Create;
use crate::error::MailboxError;
use crate::format::mboxentry::MailboxType;
use crate::ident::MailboxId;
use crate::name::MailboxName;
use crate::paths::MailboxPaths;
use crate::store::{Store, now};

/// What [`Store::relocate`] did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relocated {
    /// The mailbox is where its unique id says.
    Already,
    /// It was moved.
    Moved(Box<Moved>),
}

/// A mailbox's old and new place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where its files were.
    pub from: MailboxPaths,
    /// Where they are now.
    pub to: MailboxPaths,
}

impl Store {
    /// Moves a mailbox whose directory follows its name to the one that its unique id says, and with an INBOX the user's
    /// files. Sessions that have it open follow.
    ///
    /// The order is that of a move to another partition: a copy (of hard links) that nothing refers to, the row that says
    /// where the mailbox is, the old files. After a crash it is in one place or the other, with all its messages.
    ///
    /// # Errors
    /// [`MailboxError::NotFound`], or it holds no messages on this server, or the files could not be moved.
    pub fn relocate(&self, name: &MailboxName, dry_run: bool) -> Result<Relocated, MailboxError> {
        let _namespaces = self.lock_namespaces([name])?;
        let entry = self.lookup(name)?.ok_or(MailboxError::NotFound)?;
        entry.storage()?;
        if !entry.mbtype.legacy_dirs {
            return Ok(Relocated::Already);
        }
        let moved = MailboxEntry {
            mbtype: MailboxType {
                legacy_dirs: false,
                ..entry.mbtype
            },
            mtime: i64::from(now()),
            ..MailboxEntry::clone(&entry)
        };
        let (from, to) = (self.paths_of(&entry)?, self.paths_of(&moved)?);
        if dry_run {
            return Ok(Relocated::Moved(Box::new(Moved { from, to })));
        }
        let id = entry.id.clone().ok_or(MailboxError::NotFound)?;
        let mut write = self.hold(&entry)?;
        let mut header = write.names().header.clone();
        header.mbtype = moved.mbtype.to_string();
        write.set_names(header);
        let placed = self
            .copy_mailbox_files(&from, &to, None)
            .and_then(|()| self.place_index(&mut write, &to))
            .and_then(|()| self.commit_rows(&[RowChange::Update(&moved)]));
        if let Err(error) = placed {
            let is_moved = self
                .lookup_id(&id)?
                .is_some_and(|found| !found.mbtype.legacy_dirs);
            if !is_moved {
                self.remove_mailbox_files(&to);
            }
            return Err(error);
        }
        self.finish_old(write, name, &entry)?;
        if name.is_user_inbox() {
            let (old, new) = (self.files_of_user(name, &entry), self.files_of_user(name, &moved));
            self.rename_user_files(&old, &new)?;
        }
        self.forget_status([name.as_str(), name.as_str()]);
        self.remove_if_unused(&from);
        Ok(Relocated::Moved(Box::new(Moved { from, to })))
    }

    /// Gives a mailbox whose directory follows its name another unique id. Annotations go along; what other users have seen
    /// there is forgotten, as the id is what they know the mailbox by.
    ///
    /// # Errors
    /// [`MailboxError::NotFound`]; [`MailboxError::Refused`] if its directory follows the unique id.
    pub fn renew_id(&self, name: &MailboxName) -> Result<MailboxId, MailboxError> {
        let _namespaces = self.lock_namespaces([name])?;
        let entry = self.lookup(name)?.ok_or(MailboxError::NotFound)?;
        entry.storage()?;
        let old = entry.id.clone().ok_or(MailboxError::NotFound)?;
        if !entry.mbtype.legacy_dirs {
            return Err(MailboxError::Refused(
                "its directory follows the unique id".to_owned(),
            ));
        }
        let id = super::create::new_id()?;
        let mut write = self.hold(&entry)?;
        let mut header = write.names().header.clone();
        header.id = id.clone();
        write.set_names(header);
        let renewed = MailboxEntry {
            id: Some(id.clone()),
            mtime: i64::from(now()),
            ..MailboxEntry::clone(&entry)
        };
        self.move_annotations(&old, &id)?;
        self.commit_rows(&[RowChange::Update(&renewed)])?;
        write.commit(name, &id)?;
        self.forget_id(&old)?;
        Ok(id)
    }

    /// Removes the row of an id that no mailbox has any longer.
    fn forget_id(&self, id: &MailboxId) -> Result<(), MailboxError> {
        if let Some(mut db) = self.mboxlist(Create::No)? {
            let mut txn = db.begin()?;
            txn.remove(&id_key(id))?;
            txn.commit()?;
        }
        Ok(())
    }
}
