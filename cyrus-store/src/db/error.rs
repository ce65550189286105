//! What can go wrong with a database.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::lock::LockError;
use crate::sys::DiskError;

/// A database call that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// There is no such database, and it was not to be made.
    #[error("{}: no such database", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file holds what its format forbids.
    #[error("{}: {what}, at octet {at}; {repair}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        at: u64,
        /// What was found there.
        what: Cow<'static, str>,
        /// What an administrator can do about it.
        repair: &'static str,
    },
    /// A key or value that the engine cannot hold.
    #[error("{}: {what}", path.display())]
    Unsuitable {
        /// The file.
        path: PathBuf,
        /// Why it cannot.
        what: &'static str,
    },
    /// The file is locked by somebody else for too long, or by this thread.
    #[error(transparent)]
    Lock(LockError),
    /// The system failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl DbError {
    /// Damage at an offset of a file that `recover` can be tried on.
    pub(super) fn damaged(path: &Path, at: u64, what: impl Into<Cow<'static, str>>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            at,
            what: what.into(),
            repair: "run ctl_cyrusdb -r, or `reconstruct --everything`, which salvages what can be read, or restore the file from a \
                     backup",
        }
    }

    /// A file that is no database of the engine: nothing in it can be recovered, and it is never replaced.
    pub(super) fn foreign(path: &Path, what: impl Into<Cow<'static, str>>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            at: 0,
            what: what.into(),
            repair: "restore the file from a backup, or run `reconstruct --everything`, which salvages what can be read",
        }
    }

    pub(super) fn is_missing_file(error: &LockError) -> bool {
        matches!(error, LockError::Disk(error) if error.is_not_found())
    }
}

impl From<LockError> for DbError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Disk(error) => Self::Disk(error),
            other => Self::Lock(other),
        }
    }
}
