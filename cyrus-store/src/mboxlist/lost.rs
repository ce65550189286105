//! A mailbox list that was lost: new mailboxes would be made beside those that are on the disk, or over them.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::files::is_message;
use crate::db::Create;
use crate::error::MailboxError;
use crate::format::index::IndexHeader;
use crate::store::Store;
use crate::sys::{DiskError, FileKind, Open};

impl Store {
    /// Refuses to go on without the list of the mailboxes that there are.
    ///
    /// A list without any mailbox is that of a new server, and so is none at all; unless a partition holds mailboxes.
    /// Programs that serve a store call this at their start. Mailboxes are not made without such a look.
    ///
    /// # Errors
    /// [`MailboxError::ListLost`], or the list or a partition cannot be read.
    pub fn check_list(&self) -> Result<(), MailboxError> {
        let mut lists_any = false;
        if let Some(mut db) = self.mboxlist(Create::No)? {
            // A tombstone will do: then this list has seen mailboxes come and go.
            db.scan(b"N", &mut |_, _| {
                lists_any = true;
                ControlFlow::Break(())
            })?;
        }
        if lists_any {
            return Ok(());
        }
        let mut left = MOST_DIRECTORIES;
        for partition in self.options().partitions.values() {
            let roots = [
                Some(&partition.data),
                partition.meta.as_ref(),
                partition.archive.as_ref(),
            ];
            for root in roots.into_iter().flatten() {
                if let Some(found) = self.find_mailbox(root, DEEPEST, &mut left)? {
                    return Err(MailboxError::ListLost {
                        list: self.mboxlist_path(),
                        found,
                        backup: self.options().config_dir.join("db.backup1"),
                    });
                }
            }
        }
        Ok(())
    }

    /// A directory at or below this one that holds messages, or once did. A mailbox that never had one is not worth the
    /// name: a crash may have left it when the first one was made.
    fn find_mailbox(
        &self,
        directory: &Path,
        depth: usize,
        left: &mut usize,
    ) -> Result<Option<PathBuf>, MailboxError> {
        if depth == 0 || *left == 0 {
            return Ok(None);
        }
        *left -= 1;
        let entries = match self.disk().read_dir(directory) {
            Ok(entries) => entries,
            // `lost+found` is nobody's but root's.
            Err(error) if is_closed(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        for entry in &entries {
            let is_mailbox = match entry.kind {
                FileKind::File if entry.name == OsStr::new("cyrus.index") => {
                    self.had_messages(&directory.join(&entry.name))?
                }
                FileKind::File => is_message(&entry.name),
                _ => false,
            };
            if is_mailbox {
                return Ok(Some(directory.to_owned()));
            }
        }
        let below = entries.iter().filter(|entry| entry.kind == FileKind::Directory);
        for entry in below {
            if let Some(found) = self.find_mailbox(&directory.join(&entry.name), depth - 1, left)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn had_messages(&self, index: &Path) -> Result<bool, MailboxError> {
        let Some(file) = self.disk().try_open(index, Open::read())? else {
            return Ok(false);
        };
        let mut start = vec![0; INDEX_START];
        let length = file.read_at(&mut start, 0)?;
        start.truncate(length);
        Ok(IndexHeader::parse(&start).is_ok_and(|header| header.last_uid > 0))
    }

    /// Notes that there is a list: one that is missing later on has been lost.
    pub(super) fn note_list(&self) {
        self.row_cache().list_seen.store(true, Ordering::Relaxed);
    }

    /// Whether there was a list once.
    pub(super) fn has_seen_list(&self) -> bool {
        self.row_cache().list_seen.load(Ordering::Relaxed)
    }
}

fn is_closed(error: &DiskError) -> bool {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    matches!(error.source.kind(), NotFound | PermissionDenied)
}

/// Directories that are looked into before the search is given up.
const MOST_DIRECTORIES: usize = 100_000;
/// How deep mailboxes may lie: deeper than hash directories and the levels of a name together.
const DEEPEST: usize = 64;
/// Octets that hold the header of any index.
const INDEX_START: usize = 1024;
