//! [`Disk`] on the operating system's files.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::{
    Access, Create, DirEntry, Disk, DiskError, DiskFile, DiskResult, File, FileKind, Identity, Map, Mode,
    Open, Space, Stat,
};

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// Files of one file system beyond this number are synced together.
const SYNCED_SINGLY: usize = 2;

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> DiskResult<File> {
        let mut options = fs::OpenOptions::new();
        options
            .read(true)
            .write(how.access == Access::ReadWrite)
            .mode(how.mode)
            .truncate(how.truncate);
        match how.create {
            Create::No => {}
            Create::Yes => {
                options.create(true);
            }
            Create::New => {
                options.create_new(true);
            }
        }
        let file = options
            .open(path)
            .map_err(|error| DiskError::new("open", path, error))?;
        Ok(Arc::new(RealFile {
            file,
            path: path.to_owned(),
            identity: OnceLock::new(),
        }))
    }

    fn stat(&self, path: &Path) -> DiskResult<Stat> {
        fs::metadata(path)
            .and_then(|data| stat_of(&data))
            .map_err(|error| DiskError::new("stat", path, error))
    }

    fn space(&self, path: &Path) -> DiskResult<Option<Space>> {
        let found = rustix::fs::statvfs(path).map_err(|error| DiskError::new("statvfs", path, error))?;
        Ok(Some(Space {
            available: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
        }))
    }

    fn link(&self, from: &Path, to: &Path) -> DiskResult<()> {
        fs::hard_link(from, to).map_err(|error| DiskError::new("link", to, error))
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()> {
        fs::rename(from, to).map_err(|error| DiskError::new("rename", to, error))
    }

    fn unlink(&self, path: &Path) -> DiskResult<()> {
        fs::remove_file(path).map_err(|error| DiskError::new("unlink", path, error))
    }

    fn make_dirs(&self, path: &Path) -> DiskResult<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(|error| DiskError::new("mkdir", path, error))
    }

    fn remove_dir(&self, path: &Path) -> DiskResult<()> {
        fs::remove_dir(path).map_err(|error| DiskError::new("rmdir", path, error))
    }

    fn read_dir(&self, path: &Path) -> DiskResult<Vec<DirEntry>> {
        let failed = |error| DiskError::new("readdir", path, error);
        fs::read_dir(path)
            .map_err(failed)?
            .map(|entry| {
                let entry = entry.map_err(failed)?;
                let kind = kind_of(entry.file_type().map_err(failed)?);
                Ok(DirEntry {
                    name: entry.file_name(),
                    kind,
                })
            })
            .collect()
    }

    fn sync_dir(&self, path: &Path) -> DiskResult<()> {
        fs::File::open(path)
            .and_then(|dir| timed(|| dir.sync_all()))
            .map_err(|error| DiskError::new("fsync", path, error))
    }

    fn sync_many(&self, files: &[&File]) -> DiskResult<()> {
        let mut by_device: Vec<(u64, Vec<&File>)> = Vec::new();
        for &file in files {
            let device = if files.len() <= SYNCED_SINGLY {
                0
            } else {
                file.stat()?.device
            };
            match by_device.iter_mut().find(|(known, _)| *known == device) {
                Some((_, group)) => group.push(file),
                None => by_device.push((device, vec![file])),
            }
        }
        for (_, group) in by_device {
            match group
                .first()
                .and_then(|file| file.fd().map(|fd| (fd, file.path())))
            {
                Some((fd, path)) if group.len() > SYNCED_SINGLY => {
                    timed(|| rustix::fs::syncfs(fd))
                        .map_err(|error| DiskError::new("syncfs", path, error))?;
                }
                _ => group.iter().try_for_each(|file| file.sync())?,
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    path: PathBuf,
    identity: OnceLock<Identity>,
}

impl RealFile {
    fn failed(&self, op: &'static str) -> impl FnOnce(io::Error) -> DiskError {
        move |error| DiskError::new(op, &self.path, error)
    }
}

/// Takes the time of a call that waits for the disk.
fn timed<T>(sync: impl FnOnce() -> T) -> T {
    let begun = std::time::Instant::now();
    let done = sync();
    crate::metrics::STORE.syncs.observe(begun.elapsed());
    done
}

impl DiskFile for RealFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn stat(&self) -> DiskResult<Stat> {
        self.file
            .metadata()
            .and_then(|data| stat_of(&data))
            .map_err(self.failed("fstat"))
    }

    fn identity(&self) -> DiskResult<Identity> {
        match self.identity.get() {
            Some(identity) => Ok(*identity),
            None => {
                let identity = self.stat()?.identity();
                Ok(*self.identity.get_or_init(|| identity))
            }
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> DiskResult<usize> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done.map_err(self.failed("read")),
            }
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> DiskResult<()> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(self.failed("write"))
    }

    fn truncate(&self, length: u64) -> DiskResult<()> {
        self.file.set_len(length).map_err(self.failed("ftruncate"))
    }

    fn sync(&self) -> DiskResult<()> {
        timed(|| self.file.sync_all()).map_err(self.failed("fsync"))
    }

    fn sync_data(&self) -> DiskResult<()> {
        timed(|| self.file.sync_data()).map_err(self.failed("fdatasync"))
    }

    fn set_modified(&self, time: SystemTime) -> DiskResult<()> {
        self.file.set_modified(time).map_err(self.failed("utimens"))
    }

    fn try_lock(&self, mode: Mode) -> DiskResult<bool> {
        record_lock(&self.file, Some(mode)).map_err(self.failed("lock"))
    }

    fn unlock(&self) -> DiskResult<()> {
        record_lock(&self.file, None)
            .map(drop)
            .map_err(self.failed("unlock"))
    }

    fn map(&self, length: usize, reserve: usize) -> DiskResult<Map> {
        Map::of_file(&self.file, length, reserve).map_err(self.failed("mmap"))
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

/// A record lock on the whole file, or none; says whether it was granted.
///
/// The lock belongs to the open file description, not to the process. Towards other processes it is the
/// same lock as one by `F_SETLK`, but it is not dropped when some other descriptor of the file is closed
/// in this process, and it is not part of the kernel's deadlock search. The latter matters: the kernel
/// takes all threads of a process for one waiter, so it would see circles where there are none and answer
/// `EDEADLK`, to us or to a Cyrus process that waits for one of our threads. Nobody may queue for such a lock: whoever
/// queues behind, be it for a lock of the classic kind, is left out of the search, too.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn record_lock(file: &fs::File, mode: Option<Mode>) -> io::Result<bool> {
    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;

    let kind = match mode {
        Some(Mode::Shared) => libc::F_RDLCK,
        Some(Mode::Exclusive) => libc::F_WRLCK,
        None => libc::F_UNLCK,
    };
    let whole = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
            Ok(_) => return Ok(true),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN | Errno::EACCES) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A record lock on the whole file, or none; says whether it was granted.
///
/// The lock belongs to the process.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn record_lock(file: &fs::File, mode: Option<Mode>) -> io::Result<bool> {
    use rustix::fs::FlockOperation;
    use rustix::io::Errno;

    let request = match mode {
        Some(Mode::Shared) => FlockOperation::NonBlockingLockShared,
        Some(Mode::Exclusive) => FlockOperation::NonBlockingLockExclusive,
        None => FlockOperation::NonBlockingUnlock,
    };
    loop {
        match rustix::fs::fcntl_lock(file, request) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN | Errno::ACCESS) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

fn stat_of(data: &fs::Metadata) -> io::Result<Stat> {
    Ok(Stat {
        device: data.dev(),
        inode: data.ino(),
        size: data.size(),
        links: data.nlink(),
        modified: data.modified()?,
        kind: kind_of(data.file_type()),
    })
}

fn kind_of(kind: fs::FileType) -> FileKind {
    if kind.is_file() {
        FileKind::File
    } else if kind.is_dir() {
        FileKind::Directory
    } else {
        FileKind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_operation_and_the_path() {
        let error = RealDisk
            .open(Path::new("/nonexistent/file"), Open::read())
            .expect_err("no such directory");
        assert!(error.is_not_found());
        assert!(
            error.to_string().starts_with("open /nonexistent/file: "),
            "{error}"
        );
    }

    #[test]
    fn many_files_are_synced_by_one_barrier() {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<File> = (0..5)
            .map(|n| {
                RealDisk
                    .open(&dir.path().join(n.to_string()), Open::create())
                    .unwrap()
            })
            .collect();
        files.iter().for_each(|file| file.write_at(b"x", 0).unwrap());
        for count in [0, 1, 2, 5] {
            RealDisk
                .sync_many(&files.iter().take(count).collect::<Vec<_>>())
                .unwrap();
        }
    }

    #[test]
    fn locks_conflict_with_another_descriptor_of_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let one = RealDisk.open(&path, Open::create()).unwrap();
        let two = RealDisk.open(&path, Open::create()).unwrap();
        assert!(one.try_lock(Mode::Shared).unwrap());
        assert!(two.try_lock(Mode::Shared).unwrap());
        assert!(!one.try_lock(Mode::Exclusive).unwrap());
        two.unlock().unwrap();
        assert!(one.try_lock(Mode::Exclusive).unwrap());
        assert!(!two.try_lock(Mode::Shared).unwrap());
        drop(RealDisk.open(&path, Open::read()).unwrap());
        assert!(
            !two.try_lock(Mode::Shared).unwrap(),
            "closing another descriptor must not drop the lock"
        );
    }
}
