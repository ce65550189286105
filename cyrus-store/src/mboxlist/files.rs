//! The files of a mailbox as a whole: copied to another place, or removed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::MailboxError;
use crate::format::index::Record;
use crate::lock::Wait;
use crate::mailbox::{IndexWrite, new_path};
use crate::paths::MailboxPaths;
use crate::store::Store;
use crate::sys::{DiskError, DiskResult, FileKind, Mode, Open, Stat};

impl Store {
    /// Copies the messages of a mailbox to other directories while nothing is locked and others may change it.
    ///
    /// What it returns is for [`Store::copy_mailbox_files`], which copies what came since. On an error, nothing is left.
    pub(crate) fn copy_messages_early(
        &self,
        from: &MailboxPaths,
        to: &MailboxPaths,
    ) -> Result<EarlyCopies, MailboxError> {
        let mut copies = EarlyCopies::default();
        match self.copy_messages(from, to, &mut copies) {
            Ok(()) => Ok(copies),
            Err(error) => {
                self.remove_mailbox_files(to);
                Err(error)
            }
        }
    }

    /// Copies the messages that are not copied yet, durably, and removes copies of those that are gone.
    fn copy_messages(
        &self,
        from: &MailboxPaths,
        to: &MailboxPaths,
        copies: &mut EarlyCopies,
    ) -> Result<(), MailboxError> {
        let disk = self.disk();
        for pair in message_directories(from, to) {
            let (from, to) = &pair;
            disk.make_dirs(to)?;
            let mut copied = Vec::new();
            let mut gone = copies.0.remove(&pair).unwrap_or_default();
            let mut kept = BTreeMap::new();
            for entry in self.entries_of(from)? {
                if entry.kind != FileKind::File || !is_message(&entry.name) {
                    continue;
                }
                let source = from.join(&entry.name);
                // Looked at before it is copied: a file that grows meanwhile is another one next time.
                let Some(stat) = disk.try_stat(&source)? else {
                    continue;
                };
                let known = gone.remove(&entry.name);
                if known.is_none_or(|known| !is_same(&known, &stat)) {
                    let target = to.join(&entry.name);
                    disk.unlink_if_exists(&target)?;
                    match self.link_or_copy(&source, &target) {
                        Ok(copy) => copied.extend(copy),
                        // Removed meanwhile, where nothing is locked.
                        Err(error) if error.is_not_found() => continue,
                        Err(error) => return Err(error.into()),
                    }
                    if copied.len() >= MAX_OPEN {
                        disk.sync_many(&copied.iter().collect::<Vec<_>>())?;
                        copied.clear();
                    }
                }
                kept.insert(entry.name, stat);
            }
            for name in gone.keys() {
                disk.unlink_if_exists(&to.join(name))?;
            }
            disk.sync_many(&copied.iter().collect::<Vec<_>>())?;
            copies.0.insert(pair, kept);
        }
        Ok(())
    }

    /// Copies a locked mailbox to other directories, as it is before the change in hand: messages as hard links where
    /// that can be, all else as files of their own. All is durable on return.
    ///
    /// Messages that were copied early are there already. The index and the header are left to [`Store::place_index`].
    pub(crate) fn copy_mailbox_files(
        &self,
        from: &MailboxPaths,
        to: &MailboxPaths,
        early: Option<&EarlyCopies>,
    ) -> Result<(), MailboxError> {
        let disk = self.disk();
        for (_, to) in directories(from, to) {
            disk.make_dirs(&to)?;
        }
        self.copy_messages(from, to, &mut early.cloned().unwrap_or_default())?;
        let mut copied = Vec::new();
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

    /// Puts archived messages where they belong after a move from a partition that has no archive.
    pub(crate) fn place_archived(
        &self,
        write: &IndexWrite,
        from: &MailboxPaths,
        to: &MailboxPaths,
    ) -> Result<(), MailboxError> {
        if from.archive != from.data || to.archive == to.data {
            return Ok(());
        }
        for number in 0..write.records() {
            let Some(view) = write.view(number) else { break };
            if view.flags() & Record::ARCHIVED == 0 {
                continue;
            }
            let (here, there) = (to.message(view.uid(), false), to.message(view.uid(), true));
            if self.disk().try_stat(&here)?.is_some() {
                self.disk().unlink_if_exists(&there)?;
                if let Some(copy) = self.link_or_copy(&here, &there)? {
                    copy.sync()?;
                }
                self.disk().unlink(&here)?;
            }
        }
        Ok(self.disk().sync_dir(&to.archive)?)
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

    /// Gives a message file a second name, or makes a copy of it where that cannot be. Returns the copy, to be synced.
    pub(crate) fn link_or_copy(&self, from: &Path, to: &Path) -> DiskResult<Option<crate::sys::File>> {
        match self.disk().link(from, to) {
            Ok(()) => Ok(None),
            Err(error) if is_refused_link(&error) => self.copy_file(from, to).map(Some),
            Err(error) => Err(error),
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

/// The directories of messages, with those that they become.
fn message_directories(from: &MailboxPaths, to: &MailboxPaths) -> BTreeSet<(PathBuf, PathBuf)> {
    let mut pairs = BTreeSet::from([(from.data.clone(), to.data.clone())]);
    if from.archive != from.data {
        pairs.insert((from.archive.clone(), to.archive.clone()));
    }
    pairs
}

/// Messages that were copied while the mailbox was not locked: by old and new directory, the names, and what the files were
/// then.
#[derive(Clone, Debug, Default)]
pub(crate) struct EarlyCopies(BTreeMap<(PathBuf, PathBuf), BTreeMap<OsString, Stat>>);

/// Whether a file is still the one that it was; those of messages do not change once they are whole.
fn is_same(then: &Stat, now: &Stat) -> bool {
    then.identity() == now.identity() && then.size == now.size && then.modified == now.modified
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

/// Copies of messages that are open at once.
const MAX_OPEN: usize = 256;

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
