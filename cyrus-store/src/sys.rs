//! Every effect the store has on files goes through [`Disk`] and [`DiskFile`].
//!
//! [`RealDisk`] is the operating system; [`SimDisk`] is a disk in memory that can show what a crash at any
//! point would have left behind. What each call makes durable is said at the call, and a sync is always a
//! visible line in the code that needs it.
//!
//! This module owns the only `unsafe` of the crate: the memory maps in `sys/map.rs`.

mod map;
mod real;
mod sim;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use map::Map;
pub use real::RealDisk;
pub use sim::{CrashState, SimDisk};

/// A failed operation on a file: what was tried, where, and what the system said.
#[derive(Debug, thiserror::Error)]
#[error("{op} {}: {source}", path.display())]
pub struct DiskError {
    /// The operation, named after the system call: `open`, `fsync`, `rename`, ...
    pub op: &'static str,
    /// The file it was tried on.
    pub path: PathBuf,
    /// The system's reason.
    #[source]
    pub source: io::Error,
}

impl DiskError {
    /// An error of `op` on `path`.
    pub fn new(op: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self {
            op,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// Whether the file, or a directory on the way to it, does not exist.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether something of that name exists already.
    pub fn is_already_exists(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }

    /// Whether there is no room, on the disk or by a limit of its owner.
    pub fn is_out_of_space(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    /// Whether a hard link or rename was refused because the two names are on different file systems.
    pub fn is_cross_device(&self) -> bool {
        self.source.kind() == io::ErrorKind::CrossesDevices
    }
}

/// The result of a disk operation.
pub type DiskResult<T> = Result<T, DiskError>;

/// An open file; cloning shares the descriptor, dropping the last clone closes it.
pub type File = Arc<dyn DiskFile>;

/// How [`Disk::open`] opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Whether the file may be written.
    pub access: Access,
    /// What to do about a file that does not exist, or does.
    pub create: Create,
    /// Cut an existing file to nothing.
    pub truncate: bool,
    /// Permissions of a new file, before the umask.
    pub mode: u32,
}

impl Open {
    /// An existing file, to read.
    pub const fn read() -> Self {
        Self {
            access: Access::Read,
            create: Create::No,
            truncate: false,
            mode: 0o666,
        }
    }

    /// An existing file, to read and write.
    pub const fn write() -> Self {
        Self {
            access: Access::ReadWrite,
            create: Create::No,
            truncate: false,
            mode: 0o666,
        }
    }

    /// A file to read and write, made if missing with mode 0666 less the umask.
    pub const fn create() -> Self {
        Self {
            access: Access::ReadWrite,
            create: Create::Yes,
            truncate: false,
            mode: 0o666,
        }
    }

    /// A new and empty file to write, whatever had that name before.
    pub const fn replace() -> Self {
        Self {
            access: Access::ReadWrite,
            create: Create::Yes,
            truncate: true,
            mode: 0o666,
        }
    }

    /// A file that must not exist yet.
    pub const fn create_new() -> Self {
        Self {
            access: Access::ReadWrite,
            create: Create::New,
            truncate: false,
            mode: 0o666,
        }
    }

    /// The same with these permissions for a new file, before the umask.
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }
}

/// Whether an open file may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// Whether an open may make the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// Fail if it is missing.
    No,
    /// Make it if it is missing.
    Yes,
    /// Fail if it exists.
    New,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The file system.
    pub device: u64,
    /// The file's number there; the same number on the same device is the same file.
    pub inode: u64,
    /// Length in octets.
    pub size: u64,
    /// How many names it has.
    pub links: u64,
    /// When the content was last changed.
    pub modified: SystemTime,
    /// File, directory or other.
    pub kind: FileKind,
}

impl Stat {
    /// What tells this file from every other that exists at the same time.
    pub const fn identity(&self) -> Identity {
        Identity {
            device: self.device,
            inode: self.inode,
        }
    }
}

/// What tells a file from every other that exists at the same time, whatever their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The file system.
    pub device: u64,
    /// The file's number there.
    pub inode: u64,
}

/// The kinds of directory entry that matter to a mail store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, socket, device, ...
    Other,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without the directory.
    pub name: OsString,
    /// What it names.
    pub kind: FileKind,
}

/// Shared or exclusive, of a lock on a whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Any number of holders, none of them exclusive.
    Shared,
    /// One holder alone.
    Exclusive,
}

/// The room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Octets that ordinary users may still use.
    pub available: u64,
    /// Octets of the whole.
    pub total: u64,
}

/// A file system.
///
/// Names made or removed (`open` with creation, `link`, `rename`, `unlink`) are durable after [`sync_dir`]
/// of their directory, or, as on ext4 and XFS, once the file itself has been synced under a new name.
///
/// [`sync_dir`]: Disk::sync_dir
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file. The descriptor is not inherited by programs started later.
    fn open(&self, path: &Path, how: Open) -> DiskResult<File>;

    /// What the file of this name is, following symbolic links.
    fn stat(&self, path: &Path) -> DiskResult<Stat>;

    /// Gives a file a second name; fails if the name exists.
    fn link(&self, from: &Path, to: &Path) -> DiskResult<()>;

    /// Renames a file, replacing in one step what had the new name.
    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()>;

    /// Removes a name of a file.
    fn unlink(&self, path: &Path) -> DiskResult<()>;

    /// Makes a directory and its missing parents, with mode 0755 less the umask; content if it exists.
    fn make_dirs(&self, path: &Path) -> DiskResult<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> DiskResult<()>;

    /// The names in a directory, in no order, without `.` and `..`.
    fn read_dir(&self, path: &Path) -> DiskResult<Vec<DirEntry>>;

    /// Makes the names in a directory durable (`fsync` of the directory).
    fn sync_dir(&self, path: &Path) -> DiskResult<()>;

    /// One barrier for several files: on return the content and the size of each, and the names made so far
    /// for each, are on stable storage, as if [`DiskFile::sync`] had been called on every one.
    ///
    /// One or two files of a file system are synced one by one; three or more by one `syncfs`, which is
    /// three times faster for ten files but writes what others left dirty there, too. A sync that fails
    /// leaves it unknown which files are durable: the caller must treat none of them so.
    fn sync_many(&self, files: &[&File]) -> DiskResult<()>;

    /// How much room the file system of a directory has; nothing if this kind of disk cannot tell.
    fn space(&self, _path: &Path) -> DiskResult<Option<Space>> {
        Ok(None)
    }

    /// What the file is, or nothing if there is none.
    fn try_stat(&self, path: &Path) -> DiskResult<Option<Stat>> {
        match self.stat(path) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a file, or says that there is none.
    fn try_open(&self, path: &Path, how: Open) -> DiskResult<Option<File>> {
        match self.open(path, how) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a file for which the directories may be missing, too; makes them if so.
    fn open_making_dirs(&self, path: &Path, how: Open) -> DiskResult<File> {
        match self.open(path, how) {
            Err(error) if error.is_not_found() && how.create != Create::No => {
                if let Some(parent) = path.parent() {
                    self.make_dirs(parent)?;
                }
                self.open(path, how)
            }
            done => done,
        }
    }

    /// Removes a name if it is there.
    fn unlink_if_exists(&self, path: &Path) -> DiskResult<()> {
        match self.unlink(path) {
            Err(error) if error.is_not_found() => Ok(()),
            done => done,
        }
    }

    /// The whole content of a file.
    fn read(&self, path: &Path) -> DiskResult<Vec<u8>> {
        self.open(path, Open::read())?.read_all()
    }
}

/// An open file of a [`Disk`]. Reads and writes name their place; there is no file position.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// The path it was opened by; a later rename does not change it.
    fn path(&self) -> &Path;

    /// What the file is now.
    fn stat(&self) -> DiskResult<Stat>;

    /// Which file it is; that never changes while it is open.
    fn identity(&self) -> DiskResult<Identity> {
        Ok(self.stat()?.identity())
    }

    /// Reads up to `buffer.len()` octets from `offset`; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> DiskResult<usize>;

    /// Writes all of `bytes` at `offset`. Durable after a sync.
    fn write_at(&self, bytes: &[u8], offset: u64) -> DiskResult<()>;

    /// Sets the length. Durable after a sync.
    fn truncate(&self, length: u64) -> DiskResult<()>;

    /// On return content, length and times are on stable storage, and the name of a new file, too.
    fn sync(&self) -> DiskResult<()>;

    /// On return the content, and the length if it changed, are on stable storage.
    fn sync_data(&self) -> DiskResult<()>;

    /// Sets the time of last change.
    fn set_modified(&self, time: SystemTime) -> DiskResult<()>;

    /// Takes or changes the lock on the whole file if nobody is in the way; says whether it did.
    ///
    /// For [`crate::lock`], which every other module goes through.
    fn try_lock(&self, mode: Mode) -> DiskResult<bool>;

    /// Releases the lock on the whole file.
    fn unlock(&self) -> DiskResult<()>;

    /// Maps the first `length` octets to read, with room for `reserve` more should the file grow. The file
    /// has at least `length` octets. See [`Map`] for what keeps them still.
    fn map(&self, length: usize, reserve: usize) -> DiskResult<Map>;

    /// The descriptor, for `sendfile` and the like; a simulated file has none.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The length in octets.
    fn size(&self) -> DiskResult<u64> {
        Ok(self.stat()?.size)
    }

    /// Writes past the present end and returns where. The caller holds the lock that makes the end his.
    fn append(&self, bytes: &[u8]) -> DiskResult<u64> {
        let end = self.size()?;
        self.write_at(bytes, end)?;
        Ok(end)
    }

    /// Fills `buffer` from `offset`; a file that ends before is an `UnexpectedEof` error.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> DiskResult<()> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset.saturating_add(done as u64))? {
                0 => return Err(DiskError::new("read", self.path(), io::ErrorKind::UnexpectedEof)),
                count => done += count,
            }
        }
        Ok(())
    }

    /// The whole content.
    fn read_all(&self) -> DiskResult<Vec<u8>> {
        let size = usize::try_from(self.size()?)
            .map_err(|_| DiskError::new("read", self.path(), io::ErrorKind::FileTooLarge))?;
        let mut bytes = vec![0; size];
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, done as u64)? {
                0 => break,
                count => done += count,
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }
}
