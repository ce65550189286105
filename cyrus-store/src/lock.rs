//! Whole-file locks: threads of this process first, then the processes that share the store.
//!
//! A [`LockTable`] has one entry a file in use. Threads queue there, first come first served; the one at
//! the front takes the file's record lock for the process, on the one descriptor that the entry opened;
//! further shared holders join without asking the system, and the last holder gives the record lock back.
//!
//! There are two kinds of lock:
//! - [`LockTable::lock_file`] locks a file that exists only to be locked (`lock/*U*alice.lock`): it is made if
//!   missing, never written, never removed;
//! - [`DataFile::lock`] locks a file of data (a database, `cyrus.index`) on the descriptor through which the
//!   data are then read and written.

mod mapping;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sys::{Create, Disk, DiskError, DiskResult, File, Mode, Open, Stat};

pub use mapping::Mapping;
pub use table::LockTable;

use table::Held;

/// How long to wait for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until it is free.
    Forever,
    /// Until it is free or this moment has come.
    Until(Instant),
    /// Not at all.
    Never,
}

impl Wait {
    /// The same, for this time from now on at most.
    #[must_use]
    pub fn no_longer_than(self, limit: Duration) -> Self {
        match (self, Instant::now().checked_add(limit)) {
            (Self::Never, _) => self,
            (_, None) => self,
            (Self::Forever, Some(end)) => Self::Until(end),
            (Self::Until(moment), Some(end)) => Self::Until(moment.min(end)),
        }
    }
}

/// Why a lock was not gained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else has it, and waiting was not allowed or took too long.
    #[error("{} is locked by another session or process", path.display())]
    Busy {
        /// The file that is locked.
        path: PathBuf,
    },
    /// The thread has the file locked already and would wait for itself; a fault in the program.
    #[error("{} is already locked by this thread", path.display())]
    Reentrant {
        /// The file that is locked.
        path: PathBuf,
    },
    /// The file could not be opened or locked.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Whether [`DataFile::lock`] looks if the path still names the file it locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recheck {
    /// Look, and if the file was replaced by a rename, open the new one and lock that: the rule for
    /// databases, quota files and counters.
    Replaced,
    /// Keep to the file that was opened first: the rule for `cyrus.index`, whose replacement the mailbox
    /// lock excludes.
    Never,
}

/// A lock on a lock file; dropping it releases the lock.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct Guard(Held);

impl Guard {
    /// The lock file.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Shared or exclusive.
    pub fn mode(&self) -> Mode {
        self.0.mode()
    }

    /// Releases the lock and takes it anew in another mode; others may have held it in between.
    pub fn relock(self, mode: Mode, wait: Wait) -> Result<Self, LockError> {
        let (table, path) = (self.0.table(), self.path().to_owned());
        drop(self);
        table.lock_file(&path, mode, wait)
    }
}

impl LockTable {
    /// Locks a file that exists only to be locked, making it and its directories if missing.
    ///
    /// A new file gets mode 0666 less the umask. The file is neither written nor removed.
    pub fn lock_file(&self, path: &Path, mode: Mode, wait: Wait) -> Result<Guard, LockError> {
        let pin = self.pin(path);
        let held = pin.acquire(mode, wait, |kept| {
            let file = match kept {
                Some(file) => file,
                None => open(self.disk(), path, mode, Open::create())?,
            };
            lock_record(&file, path, mode, wait)?;
            Ok(file)
        })?;
        Ok(Guard(held))
    }

    /// A handle for locking a file of data; nothing is opened yet.
    pub fn data_file(&self, path: &Path) -> DataFile {
        DataFile { pin: self.pin(path) }
    }
}

/// A file of data that is locked to be read or written. The descriptor stays open while the handle lives.
#[derive(Debug)]
pub struct DataFile {
    pin: table::Pin,
}

impl DataFile {
    /// The file's path.
    pub fn path(&self) -> &Path {
        self.pin.path()
    }

    /// The lock table it belongs to.
    pub fn table(&self) -> LockTable {
        self.pin.table()
    }

    /// Locks the file, opening it first if need be: for reading and writing, or for reading alone if that is
    /// all the system allows and the lock is to be shared. `create` and `mode` of `how` say what happens
    /// to a missing file; its directories are made with it.
    pub fn lock(&self, mode: Mode, wait: Wait, how: Open, recheck: Recheck) -> Result<DataLock, LockError> {
        let table = self.pin.table();
        let disk = table.disk();
        let mut known = None;
        let held = self.pin.acquire(mode, wait, |mut kept| {
            loop {
                let file = match kept.take() {
                    Some(file) => file,
                    None => open(disk, self.path(), mode, how)?,
                };
                match lock_record(&file, self.path(), mode, wait) {
                    // Opened for a shared lock when only reading was allowed: try again from the start.
                    Err(LockError::Disk(error)) if error.source.raw_os_error() == Some(EBADF) => {
                        kept = Some(disk.open(self.path(), how)?);
                        continue;
                    }
                    done => done?,
                }
                if recheck == Recheck::Never {
                    return Ok(file);
                }
                match disk.try_stat(self.path())? {
                    Some(named) if named.identity() == file.identity()? => {
                        known = Some(named);
                        return Ok(file);
                    }
                    _ => file.unlock()?,
                }
            }
        })?;
        let stat = match known {
            Some(stat) => stat,
            None => held.file().stat()?,
        };
        Ok(DataLock {
            stat,
            serial: mapping::next_serial(),
            held,
        })
    }
}

/// A lock on a file of data, and the way to the data; dropping it releases the lock.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct DataLock {
    held: Held,
    stat: Stat,
    serial: u64,
}

impl DataLock {
    /// The file's path.
    pub fn path(&self) -> &Path {
        self.held.path()
    }

    /// Shared or exclusive.
    pub fn mode(&self) -> Mode {
        self.held.mode()
    }

    /// The locked descriptor. Write and truncate by the methods of this type where there are any: they
    /// know about mappings.
    pub fn file(&self) -> &File {
        self.held.file()
    }

    /// What the file was when the lock was gained, or when this handle last wrote it.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Writes `bytes` at `offset`. Mappings of the file have to be read anew afterwards.
    pub fn write_at(&mut self, bytes: &[u8], offset: u64) -> DiskResult<()> {
        self.serial = mapping::next_serial();
        self.held.file().write_at(bytes, offset)?;
        self.stat.size = self.stat.size.max(offset.saturating_add(bytes.len() as u64));
        Ok(())
    }

    /// Sets the length. Mappings of the file have to be read anew afterwards.
    pub fn truncate(&mut self, length: u64) -> DiskResult<()> {
        self.serial = mapping::next_serial();
        self.held.file().truncate(length)?;
        self.stat.size = length;
        Ok(())
    }

    /// Renames `new`, which was opened as `new.path()`, over the locked file, and holds the exclusive lock
    /// on it from before it has the name. Returns the file that was replaced, unlocked.
    ///
    /// The caller has synced `new` and syncs the directory afterwards.
    pub fn replace(&mut self, disk: &dyn Disk, new: File) -> Result<File, LockError> {
        if !new.try_lock(Mode::Exclusive)? {
            return Err(LockError::Busy {
                path: new.path().to_owned(),
            });
        }
        disk.rename(new.path(), self.path())?;
        self.serial = mapping::next_serial();
        self.stat = new.stat()?;
        let old = self.held.swap_file(new);
        old.unlock()?;
        Ok(old)
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }
}

/// Opens a file to be locked in `mode`.
fn open(disk: &Arc<dyn Disk>, path: &Path, mode: Mode, how: Open) -> DiskResult<File> {
    // An existing file is opened without asking for its creation: the usual case is then one plain open.
    match disk.open(
        path,
        Open {
            create: Create::No,
            ..how
        },
    ) {
        Err(error) if error.is_not_found() && how.create != Create::No => disk.open_making_dirs(path, how),
        Err(error) if mode == Mode::Shared && is_refused(&error) => disk.open(path, Open::read()),
        done => done,
    }
}

/// Takes the record lock of `file` for this process.
///
/// Waiting is asking again, never sleeping in the kernel's queue. Cyrus relies on the kernel to refuse one of its own
/// processes (`EDEADLK`) when two of them wait for each other, which they do at times; but a process that queues behind a
/// waiting open-file-description lock is not part of that search, and with one of ours in between both would wait for ever.
fn lock_record(file: &File, path: &Path, mode: Mode, wait: Wait) -> Result<(), LockError> {
    if file.try_lock(mode)? {
        return Ok(());
    }
    let start = Instant::now();
    loop {
        let pause = (start.elapsed() / PATIENCE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let left = match wait {
            Wait::Forever => pause,
            Wait::Never => Duration::ZERO,
            Wait::Until(deadline) => deadline.saturating_duration_since(Instant::now()),
        };
        if left.is_zero() {
            return Err(LockError::Busy {
                path: path.to_owned(),
            });
        }
        std::thread::sleep(pause.min(left));
        if file.try_lock(mode)? {
            return Ok(());
        }
    }
}

fn is_refused(error: &DiskError) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.source.kind(), PermissionDenied | ReadOnlyFilesystem)
}

/// The pauses between attempts to get a lock that another process has: this part of the time waited so far, within these
/// bounds. Others queue in the kernel and get the lock the moment it is free: who only asks must ask often.
const PATIENCE: u32 = 256;
const SHORTEST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// Exclusive lock on a descriptor that is not open for writing.
const EBADF: i32 = rustix::io::Errno::BADF.raw_os_error();
