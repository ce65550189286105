//! Repair of what lies beside mailboxes: databases, files of users, quota roots, and files in the wrong directory.
//!
//! With [`Store::adopt`](crate::Store::adopt) for the mailbox list and [`Store::reconstruct`](crate::Store::reconstruct) for
//! the mailboxes, in the order of `docs/RECOVERY.md`, they bring back a store of which any derived file was lost or
//! damaged. Whatever is replaced is kept beside its successor, as `NAME.damaged.NUMBER`.

mod databases;
mod quotas;
mod rows;
mod strays;
mod users;

use std::fmt;
use std::path::PathBuf;

pub(crate) use self::databases::{IsRow, Worth, is_annotation, is_list_row, shown};
pub use self::rows::SameId;
pub(crate) use self::users::is_seen_row;

/// Something that was put right; in a dry run, something that would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The file.
    pub path: PathBuf,
    /// What was wrong with it, and what was done.
    pub what: String,
    /// What became of what was in it.
    pub outcome: Outcome,
}

/// What became of the content of a file that was repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// All of it is there.
    Kept,
    /// It was made anew from other files.
    Rebuilt,
    /// Some of it, or all, is gone.
    Lost,
}

/// What is called with each repair.
pub(crate) type Tell<'t> = &'t mut dyn FnMut(&Repair);

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}
