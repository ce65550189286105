//! Replacing a database by a new file.

use std::path::Path;

use super::DbError;
use crate::lock::DataLock;
use crate::sys::{Disk, DiskResult, File, Open};

/// A new file beside the old one, complete and durable, but without the name.
pub(super) struct Staged(File);

impl Staged {
    /// Has `fill` write a new file beside the one at `path`, with `mode` less the umask.
    pub(super) fn write(
        disk: &dyn Disk,
        path: &Path,
        mode: u32,
        fill: impl FnOnce(&File) -> DiskResult<()>,
    ) -> Result<Self, DbError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".NEW");
        let new = disk.open(name.as_ref(), Open::replace().mode(mode))?;
        let done = fill(&new).and_then(|()| new.sync());
        if done.is_err() {
            // What is wrong is reported; a leftover would only be overwritten by the next attempt.
            let _ = disk.unlink(name.as_ref());
        }
        done?;
        Ok(Self(new))
    }

    /// Replaces the locked file. On return the lock is on the new file, which has the name for good; a
    /// process that finds the old file notices the change once it has locked it.
    pub(super) fn install(self, disk: &dyn Disk, lock: &mut DataLock) -> Result<File, DbError> {
        let old = lock.replace(disk, self.0)?;
        if let Some(directory) = lock.path().parent() {
            disk.sync_dir(directory)?;
        }
        Ok(old)
    }
}
