//! Files of one user: subscriptions, seen state and the like.

use std::path::PathBuf;

use crate::error::MailboxError;
use crate::mboxlist::MailboxEntry;
use crate::name::MailboxName;
use crate::store::Store;

/// Where the files of a user are.
#[derive(Debug)]
pub(crate) struct UserFiles {
    files: Vec<PathBuf>,
    /// The directory that is his alone, in the layout by unique id.
    directory: Option<PathBuf>,
}

impl Store {
    /// The files of the user with this INBOX.
    pub(crate) fn files_of_user(&self, inbox: &MailboxName, entry: &MailboxEntry) -> UserFiles {
        let owner = inbox.owner().unwrap_or_default();
        let id = entry.id.as_ref().filter(|_| !entry.mbtype.legacy_dirs);
        let files: Vec<PathBuf> = KINDS
            .iter()
            .map(|kind| self.options().user_file(&owner, id, kind))
            .collect();
        let directory = files
            .first()
            .filter(|_| id.is_some())
            .and_then(|file| file.parent());
        UserFiles {
            directory: directory.map(PathBuf::from),
            files,
        }
    }

    /// Removes the files of a user who is no more. What cannot be removed is logged and left.
    pub(crate) fn remove_user_files(&self, of: &UserFiles) {
        let mut done = Ok(());
        for file in &of.files {
            done = done.and(self.disk().unlink_if_exists(file));
        }
        if let Some(directory) = &of.directory {
            match self.disk().remove_dir(directory) {
                Err(error) if !error.is_not_found() => done = done.and(Err(error)),
                _ => {}
            }
        }
        if let Err(error) = done {
            self.report("files of a deleted user are left", &error.into());
        }
    }

    /// Moves the files of a user to where they belong under his new name.
    pub(crate) fn rename_user_files(&self, from: &UserFiles, to: &UserFiles) -> Result<(), MailboxError> {
        let disk = self.disk();
        for (old, new) in from.files.iter().zip(&to.files) {
            if old == new || disk.try_stat(old)?.is_none() {
                continue;
            }
            if let Some(directory) = new.parent() {
                disk.make_dirs(directory)?;
                disk.rename(old, new)?;
                disk.sync_dir(directory)?;
            }
        }
        Ok(())
    }
}

/// The kinds of file that a user has.
const KINDS: [&str; 7] = [
    "sub",
    "seen",
    "mboxkey",
    "counters",
    "conversations",
    "dav",
    "xapianactive",
];
