//! The pid file, which keeps a second master away, and the ready file, which tells scripts that the server is up.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};

use super::Fatal;
use crate::syslog::{Level, log};

/// The locked pid file. The lock goes with the process.
pub(super) struct PidFile {
    _file: File,
}

impl PidFile {
    /// Locks `path` and writes this process's id into it.
    pub(super) fn lock(path: &Path) -> Result<Self, Fatal> {
        let failed = |op: &str, error: std::io::Error| {
            Fatal::system(format!("can't {op} pidfile {}: {error}", path.display()))
        };
        let mut open = OpenOptions::new();
        open.read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644);
        let mut file = open.open(path).map_err(|error| failed("open", error))?;
        if fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let path = path.display();
            return Err(Fatal::system(format!(
                "cannot get exclusive lock on pidfile {path} (is another master still running?)"
            )));
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .and_then(|()| file.sync_all());
        written.map_err(|error| failed("write", error))?;
        // Scripts of other users read it, whatever the umask.
        let _ = fs::set_permissions(path, Permissions::from_mode(0o644));
        Ok(Self { _file: file })
    }
}

/// The ready file: there while every listener is up.
pub(super) struct ReadyFile {
    path: PathBuf,
}

impl ReadyFile {
    /// Removes what an earlier master may have left.
    pub(super) fn absent(path: PathBuf) -> Self {
        let _ = fs::remove_file(&path);
        Self { path }
    }

    pub(super) fn appear(&self) {
        if let Err(error) = fs::write(&self.path, format!("{}\n", std::process::id())) {
            log(
                Level::Error,
                &format!("can't write ready file {}: {error}", self.path.display()),
            );
        }
    }

    pub(super) fn vanish(&self) {
        let _ = fs::remove_file(&self.path);
    }
}
