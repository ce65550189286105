//! The directory of one index, as tantivy wants it: its files are checked files of the store's disk, its locks are those of
//! the store's lock table, which exclude other processes.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tantivy::HasLen;
use tantivy::directory::error::{DeleteError, LockError as TantivyLockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, Directory, DirectoryLock, FileHandle, Lock, OwnedBytes, TerminatingWrite, WatchCallback,
    WatchHandle, WritePtr,
};

use super::checked::{Reader, Writer};
use crate::lock::{Guard, LockError, LockTable, Wait};
use crate::sys::{Disk, DiskError, Mode};

/// The directory of an index.
#[derive(Clone)]
pub(super) struct IndexDirectory {
    path: PathBuf,
    locks: LockTable,
}

impl IndexDirectory {
    pub(super) fn new(path: &Path, locks: &LockTable) -> Self {
        Self {
            path: path.to_owned(),
            locks: locks.clone(),
        }
    }

    fn disk(&self) -> &dyn Disk {
        &**self.locks.disk()
    }

    fn place(&self, path: &Path) -> PathBuf {
        self.path.join(path)
    }

    fn reader(&self, path: &Path) -> Result<Reader, OpenReadError> {
        Reader::open(self.disk(), &self.place(path)).map_err(|error| match error.is_not_found() {
            true => OpenReadError::FileDoesNotExist(path.to_owned()),
            false => OpenReadError::wrap_io_error(input_output(error), path.to_owned()),
        })
    }
}

impl fmt::Debug for IndexDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IndexDirectory").field(&self.path).finish()
    }
}

impl Directory for IndexDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        Ok(Arc::new(Handle(self.reader(path)?)))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.disk()
            .unlink(&self.place(path))
            .map_err(|error| match error.is_not_found() {
                true => DeleteError::FileDoesNotExist(path.to_owned()),
                false => DeleteError::IoError {
                    io_error: Arc::new(input_output(error)),
                    filepath: path.to_owned(),
                },
            })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        let found = self.disk().try_stat(&self.place(path));
        found
            .map(|stat| stat.is_some())
            .map_err(|error| OpenReadError::wrap_io_error(input_output(error), path.to_owned()))
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let writer = Writer::create(self.disk(), &self.place(path), true);
        let writer = writer.map_err(|error| match error.is_already_exists() {
            true => OpenWriteError::FileAlreadyExists(path.to_owned()),
            false => OpenWriteError::wrap_io_error(input_output(error), path.to_owned()),
        })?;
        Ok(BufWriter::new(Box::new(Output(writer))))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let reader = self.reader(path)?;
        reader
            .read(0..reader.len())
            .map_err(|error| OpenReadError::wrap_io_error(input_output(error), path.to_owned()))
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let path = self.place(path);
        let new = crate::mailbox::new_path(&path);
        let write = || {
            let mut writer = Writer::create(self.disk(), &new, false)?;
            writer.write(data)?;
            writer.finish()?;
            self.disk().rename(&new, &path)?;
            self.disk().sync_dir(&self.path)
        };
        write().map_err(input_output)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.disk().sync_dir(&self.path).map_err(input_output)
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, TantivyLockError> {
        let wait = match lock.is_blocking {
            true => Wait::Forever.no_longer_than(PATIENCE),
            false => Wait::Never,
        };
        match self
            .locks
            .lock_file(&self.place(&lock.filepath), Mode::Exclusive, wait)
        {
            Ok(guard) => Ok(DirectoryLock::from(Box::new(Held { _guard: guard }))),
            Err(LockError::Busy { .. } | LockError::Reentrant { .. }) => Err(TantivyLockError::LockBusy),
            Err(LockError::Disk(error)) => Err(TantivyLockError::wrap_io_error(input_output(error))),
        }
    }

    fn watch(&self, _callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        // Whoever reads looks himself whether there is something new.
        Ok(WatchHandle::empty())
    }
}

/// A lock for as long as tantivy keeps it.
struct Held {
    _guard: Guard,
}

impl Drop for Held {
    fn drop(&mut self) {}
}

#[derive(Debug)]
struct Handle(Reader);

impl HasLen for Handle {
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl FileHandle for Handle {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        self.0.read(range).map(OwnedBytes::new).map_err(input_output)
    }
}

struct Output(Writer);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(input_output)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TerminatingWrite for Output {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.0.finish().map_err(input_output)
    }
}

/// The error with what was tried and where, of the kind that it was.
fn input_output(error: DiskError) -> io::Error {
    io::Error::new(error.source.kind(), error)
}

/// How long to wait for those who open the index, or remove files that it does not need any more.
const PATIENCE: Duration = Duration::from_secs(5);
