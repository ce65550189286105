//! The journal of a simulated disk, and the ways in which a crash can cut it short.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::Content;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Create {
        path: PathBuf,
        inode: u64,
    },
    MakeDir {
        path: PathBuf,
        inode: u64,
    },
    Link {
        to: PathBuf,
        inode: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        inode: u64,
    },
    Unlink {
        path: PathBuf,
        inode: u64,
    },
    Truncate {
        inode: u64,
        length: usize,
    },
    Write {
        inode: u64,
        offset: usize,
        bytes: Vec<u8>,
    },
    SetModified {
        inode: u64,
        time: SystemTime,
    },
    Sync {
        inode: u64,
    },
    SyncData {
        inode: u64,
    },
    SyncDir {
        path: PathBuf,
    },
    SyncAll,
}

impl Op {
    pub(super) fn is_sync(&self) -> bool {
        matches!(
            self,
            Self::Sync { .. } | Self::SyncData { .. } | Self::SyncDir { .. } | Self::SyncAll
        )
    }

    fn is_metadata(&self) -> bool {
        !self.is_sync() && !matches!(self, Self::Write { .. })
    }

    /// The inode a metadata change concerns.
    fn inode(&self) -> Option<u64> {
        match self {
            Self::Create { inode, .. }
            | Self::MakeDir { inode, .. }
            | Self::Link { inode, .. }
            | Self::Rename { inode, .. }
            | Self::Unlink { inode, .. }
            | Self::Truncate { inode, .. }
            | Self::Write { inode, .. }
            | Self::SetModified { inode, .. }
            | Self::Sync { inode }
            | Self::SyncData { inode } => Some(*inode),
            Self::SyncDir { .. } | Self::SyncAll => None,
        }
    }

    fn touches_dir(&self, dir: &Path) -> bool {
        match self {
            Self::Create { path, .. } | Self::MakeDir { path, .. } | Self::Unlink { path, .. } => {
                path.parent() == Some(dir)
            }
            Self::Link { to, .. } => to.parent() == Some(dir),
            Self::Rename { from, to, .. } => from.parent() == Some(dir) || to.parent() == Some(dir),
            _ => false,
        }
    }

    /// Whether this sync makes `earlier` certain.
    fn settles(&self, earlier: &Self) -> bool {
        match self {
            Self::SyncAll => true,
            Self::Sync { inode } => earlier.inode() == Some(*inode),
            Self::SyncData { inode } => {
                matches!(earlier, Self::Write { inode: of, .. } | Self::Truncate { inode: of, .. } if of == inode)
            }
            Self::SyncDir { path } => earlier.touches_dir(path),
            _ => false,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { path, inode } => write!(f, "create {} as {inode}", path.display()),
            Self::MakeDir { path, .. } => write!(f, "mkdir {}", path.display()),
            Self::Link { to, inode } => write!(f, "link {inode} to {}", to.display()),
            Self::Rename { from, to, .. } => write!(f, "rename {} to {}", from.display(), to.display()),
            Self::Unlink { path, .. } => write!(f, "unlink {}", path.display()),
            Self::Truncate { inode, length } => write!(f, "truncate {inode} to {length}"),
            Self::Write { inode, offset, bytes } => {
                write!(f, "write {inode} at {offset}, {} octets", bytes.len())
            }
            Self::SetModified { inode, .. } => write!(f, "set the time of {inode}"),
            Self::Sync { inode } => write!(f, "fsync {inode}"),
            Self::SyncData { inode } => write!(f, "fdatasync {inode}"),
            Self::SyncDir { path } => write!(f, "fsync {}", path.display()),
            Self::SyncAll => write!(f, "syncfs"),
        }
    }
}

/// What a crash leaves of one unsynced write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Dropped,
    FirstHalf,
    LastHalf,
    EverySecond,
    Zeros,
}

/// One way to crash.
#[derive(Debug)]
pub(super) struct Crash {
    pub(super) after: usize,
    metadata_until: usize,
    others: Fate,
    special: Option<(usize, Fate)>,
    certain: Arc<[bool]>,
}

impl Crash {
    pub(super) fn all_after(log: &[Op], after: usize) -> Vec<Self> {
        let done = log.get(..after).unwrap_or(log);
        let mut certain = vec![false; done.len()];
        let mut metadata_from = 0;
        for (at, op) in done.iter().enumerate().filter(|(_, op)| op.is_sync()) {
            for (index, earlier) in done.iter().enumerate().take(at) {
                if op.settles(earlier) {
                    if let Some(flag) = certain.get_mut(index) {
                        *flag = true;
                    }
                    if earlier.is_metadata() {
                        metadata_from = metadata_from.max(index + 1);
                    }
                }
            }
        }
        let mut metadata: Vec<usize> = done
            .iter()
            .enumerate()
            .skip(metadata_from)
            .filter(|(_, op)| op.is_metadata())
            .map(|(index, _)| index + 1)
            .collect();
        metadata.insert(0, metadata_from);
        let uncertain: Vec<usize> = done
            .iter()
            .zip(&certain)
            .enumerate()
            .filter(|(_, (op, certain))| matches!(op, Op::Write { .. }) && !**certain)
            .map(|(index, _)| index)
            .collect();

        let certain: Arc<[bool]> = certain.into();
        let mut fates = vec![(Fate::Kept, None)];
        if !uncertain.is_empty() {
            fates.push((Fate::Dropped, None));
            fates.push((Fate::EverySecond, None));
        }
        for &index in &uncertain {
            for special in [
                Fate::Dropped,
                Fate::FirstHalf,
                Fate::LastHalf,
                Fate::EverySecond,
                Fate::Zeros,
            ] {
                fates.push((Fate::Kept, Some((index, special))));
            }
            for special in [Fate::Kept, Fate::FirstHalf, Fate::LastHalf, Fate::Zeros] {
                fates.push((Fate::Dropped, Some((index, special))));
            }
        }
        metadata
            .iter()
            .flat_map(|&metadata_until| {
                let certain = certain.clone();
                fates.iter().map(move |&(others, special)| Self {
                    after,
                    metadata_until,
                    others,
                    special,
                    certain: certain.clone(),
                })
            })
            .collect()
    }

    pub(super) fn leave(&self, base: &Content, log: &[Op]) -> Content {
        let mut content = base.clone();
        for (index, (op, certain)) in log.iter().zip(self.certain.iter()).enumerate().take(self.after) {
            if op.is_metadata() {
                if index < self.metadata_until {
                    content.apply(op, Fate::Kept);
                }
                continue;
            }
            let fate = match self.special {
                _ if *certain => Fate::Kept,
                Some((special, fate)) if special == index => fate,
                _ => self.others,
            };
            content.apply(op, fate);
        }
        content
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "after operation {}, names and lengths up to {}, unsynced writes {:?}",
            self.after, self.metadata_until, self.others
        )?;
        match self.special {
            Some((index, fate)) => write!(f, ", but {index} {fate:?}"),
            None => Ok(()),
        }
    }
}
