//! The files of a mailbox as a whole: copied to another place, or removed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::MailboxError;
use crate::lock::Wait;
use crate::mailbox::{IndexWrite, new_path};
use crate::paths::MailboxPaths;
use crate::store::Store;
use crate::sys::{DiskError, DiskResult, FileKind, Mode, Open};

impl Store {
    /// Copies a locked mailbox to other directories, as it is before the change in hand: messages as hard links where
    /// that can be, all else as files of their own. All is durable on return.
    ///
    /// The index and the header are left to [`Store::place_index`].
    pub(crate) fn copy_mailbox_files(
        &self,
        from: &MailboxPaths,
        to: &MailboxPaths,
    ) -> Result<(), MailboxError> {
        let disk = self.disk();
        let mut copied = Vec::new();
        for (from, to) in directories(from, to) {
            disk.make_dirs(&to)?;
            for entry in self.entries_of(&from)? {
                if entry.kind != FileKind::File || !is_message(&entry.name) {
                    continue;
                }
                let target = to.join(&entry.name);
                disk.unlink_if_exists(&target)?;
                match disk.link(&from.join(&entry.name), &target) {
                    Err(error) if is_refused_link(&error) => {
                        copied.push(self.copy_file(&from.join(&entry.name), &target)?);
                    }
                    done => done?,
                }
            }
        }
        // The cache of archived messages may be the same file.
        let others = BTreeSet::from([
            (&from.cache, &to.cache),
            (&from.archive_cache, &to.archive_cache),
            (&from.annotations, &to.annotations),
        ]);
        for (from, to) in others {
            disk.unlink_if_exists(to)?;
            if disk.try_stat(from)?.is_some() {
                if let Some(directory) = to.parent() {
                    disk.make_dirs(directory)?;
                }
                copied.push(self.copy_file(from, to)?);
            }
        }
        disk.sync_many(&copied.iter().collect::<Vec<_>>())?;
        for (_, to) in directories(from, to) {
            disk.sync_dir(&to)?;
        }
        Ok(())
    }

    /// Writes index and header of a mailbox, as they are after the change in hand, to other directories, durably.
    pub(crate) fn place_index(&self, write: &mut IndexWrite, to: &MailboxPaths) -> Result<(), MailboxError> {
        let disk = self.disk();
        for file in [&to.index, &to.header] {
            if let Some(directory) = file.parent() {
                disk.make_dirs(directory)?;
            }
        }
        let bytes = write.names().header.to_bytes();
        let header = disk.open(&new_path(&to.header), Open::replace())?;
        header.write_at(&bytes, 0)?;
        header.sync()?;
        disk.rename(&new_path(&to.header), &to.header)?;
        write.header.header_file_crc = crate::format::crc32(&bytes);
        let mut index = write.index_file().read_all()?;
        let counts = write.header.to_bytes();
        if let Some(start) = index.get_mut(..counts.len()) {
            start.copy_from_slice(&counts);
        }
        let file = disk.open(&new_path(&to.index), Open::replace())?;
        file.write_at(&index, 0)?;
        file.sync()?;
        disk.rename(&new_path(&to.index), &to.index)?;
        for file in [&to.index, &to.header] {
            if let Some(directory) = file.parent() {
                disk.sync_dir(directory)?;
            }
        }
        Ok(())
    }

    /// Removes the files of a mailbox that is gone from the mailbox list, unless somebody still has it open: then it is
    /// to him to see that it is marked as deleted.
    pub(crate) fn remove_if_unused(&self, paths: &MailboxPaths) {
        match self.locks().lock_file(&paths.lock, Mode::Exclusive, Wait::Never) {
            Ok(_mailbox) => self.remove_mailbox_files(paths),
            Err(_) => {
                let what = format_args!("{}: deleted, but still in use", paths.data.display());
                self.log().record(crate::log::Level::Info, what);
            }
        }
    }

    /// Removes all files of a mailbox and its directories. What cannot be removed is logged and left.
    pub(crate) fn remove_mailbox_files(&self, paths: &MailboxPaths) {
        if let Err(error) = self.try_remove(paths) {
            self.report("files of a deleted mailbox are left", &error);
        }
    }

    fn try_remove(&self, paths: &MailboxPaths) -> Result<(), MailboxError> {
        let disk = self.disk();
        for directory in directories(paths, paths)
            .into_iter()
            .map(|(directory, _)| directory)
        {
            for entry in self.entries_of(&directory)? {
                // Mailboxes below this one have their directories in here in the legacy layout.
                if entry.kind != FileKind::Directory && is_ours(&entry.name) {
                    disk.unlink_if_exists(&directory.join(&entry.name))?;
                }
            }
            remove_dirs(&**disk, &directory, &self.roots());
        }
        Ok(())
    }

    /// Takes back what was made for a mailbox that could not be created.
    pub(crate) fn remove_empty_mailbox(&self, paths: &MailboxPaths) {
        let disk = self.disk();
        for file in [&paths.index, &paths.header, &new_path(&paths.header)] {
            if let Err(error) = disk.unlink_if_exists(file) {
                self.report("a mailbox that was not created leaves a file", &error.into());
            }
        }
        for (directory, _) in directories(paths, paths) {
            remove_dirs(&**disk, &directory, &self.roots());
        }
    }

    fn copy_file(&self, from: &Path, to: &Path) -> DiskResult<crate::sys::File> {
        let bytes = self.disk().read(from)?;
        let modified = self.disk().stat(from)?.modified;
        let file = self.disk().open(to, Open::replace())?;
        file.write_at(&bytes, 0)?;
        file.set_modified(modified)?;
        Ok(file)
    }

    fn entries_of(&self, directory: &Path) -> DiskResult<Vec<crate::sys::DirEntry>> {
        match self.disk().read_dir(directory) {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            done => done,
        }
    }

    /// The directories of partitions, which stay when they are empty.
    fn roots(&self) -> BTreeSet<PathBuf> {
        let partitions = self.options().partitions.values();
        partitions
            .flat_map(|paths| {
                [Some(&paths.data), paths.meta.as_ref(), paths.archive.as_ref()]
                    .into_iter()
                    .flatten()
            })
            .cloned()
            .collect()
    }
}

/// The directories of a mailbox, each once, with those that they become.
fn directories(from: &MailboxPaths, to: &MailboxPaths) -> BTreeSet<(PathBuf, PathBuf)> {
    let mut pairs = BTreeSet::from([
        (from.data.clone(), to.data.clone()),
        (from.archive.clone(), to.archive.clone()),
    ]);
    for (from, to) in [
        (&from.index, &to.index),
        (&from.header, &to.header),
        (&from.cache, &to.cache),
        (&from.annotations, &to.annotations),
    ] {
        if let Some((from, to)) = from.parent().zip(to.parent()) {
            pairs.insert((from.to_owned(), to.to_owned()));
        }
    }
    pairs
}

/// Removes a directory, and those above it that are empty then, up to a root.
fn remove_dirs(disk: &dyn crate::sys::Disk, directory: &Path, roots: &BTreeSet<PathBuf>) {
    let mut next = Some(directory);
    while let Some(directory) = next.filter(|directory| !roots.contains(*directory)) {
        match disk.remove_dir(directory) {
            Err(error) if !error.is_not_found() => return,
            _ => next = directory.parent(),
        }
    }
}

/// Whether a link failed because of what the file system is, so that a copy may succeed.
fn is_refused_link(error: &DiskError) -> bool {
    use std::io::ErrorKind::{PermissionDenied, TooManyLinks, Unsupported};
    error.is_cross_device() || matches!(error.source.kind(), PermissionDenied | TooManyLinks | Unsupported)
}

/// Whether a file of this name holds a message: `12.`
pub(super) fn is_message(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_suffix('.'));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a file of this name is one of a mailbox.
fn is_ours(name: &OsStr) -> bool {
    is_message(name) || name.to_str().is_some_and(|name| name.starts_with("cyrus."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_before_a_dot_are_a_message() {
        for (name, message, ours) in [
            ("1.", true, true),
            ("4294967295.", true, true),
            (".", false, false),
            ("1", false, false),
            ("1.NEW", false, false),
            ("cyrus.index", false, true),
            ("cyrus.header.NEW", false, true),
            ("Projects", false, false),
        ] {
            assert_eq!(is_message(OsStr::new(name)), message, "{name}");
            assert_eq!(is_ours(OsStr::new(name)), ours, "{name}");
        }
    }
}
