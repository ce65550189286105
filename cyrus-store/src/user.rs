//! Files of one user: subscriptions, seen state and the like.

use std::path::{Path, PathBuf};

use crate::error::MailboxError;
use crate::mboxlist::MailboxEntry;
use crate::name::MailboxName;
use crate::store::Store;
use crate::sys::DiskResult;

/// Where the files of a user are.
#[derive(Debug)]
pub(crate) struct UserFiles {
    files: Vec<PathBuf>,
    /// The directory that is his alone, in the layout by unique id.
    directory: Option<PathBuf>,
    /// The directory of his scripts, where scripts are kept.
    scripts: Option<PathBuf>,
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
            scripts: self.options().sieve_path(&owner, id),
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
        if let Some(directory) = &of.scripts {
            done = done.and(self.remove_scripts(directory));
        }
        if let Err(error) = done {
            self.report("files of a deleted user are left", &error.into());
        }
    }

    /// Removes a directory of scripts and what is in it, which are files and links.
    fn remove_scripts(&self, directory: &Path) -> DiskResult<()> {
        let disk = self.disk();
        let scripts = match disk.read_dir(directory) {
            Err(error) if error.is_not_found() => return Ok(()),
            scripts => scripts?,
        };
        for script in scripts {
            disk.unlink_if_exists(&directory.join(&script.name))?;
        }
        disk.remove_dir(directory)
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
        match (&from.scripts, &to.scripts) {
            (Some(old), Some(new)) if old != new && disk.try_stat(old)?.is_some() => {
                // What a user of that name may have left is not this one's.
                self.remove_scripts(new)?;
                if let Some(directory) = new.parent() {
                    disk.make_dirs(directory)?;
                    disk.rename(old, new)?;
                    disk.sync_dir(directory)?;
                }
            }
            _ => {}
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
