//! The indexes that this process has open.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::IndexError;
use super::engine::{Opened, guarded};
use crate::log::Level;
use crate::store::Store;
use crate::sys::Identity;

/// The indexes that this process has open.
#[derive(Default)]
pub(crate) struct Indexes(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// Least recently used first.
    open: Vec<Entry>,
    /// Those that were complained of, each as it was then.
    refused: HashSet<(PathBuf, Version)>,
}

struct Entry {
    path: PathBuf,
    version: Version,
    opened: Arc<Opened>,
}

/// What tells one state of an index from the others: the file that names its parts is written anew each time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Version(Identity, u64, SystemTime);

impl Indexes {
    /// The index in a directory; `None` if there is none, or it is not as it should be.
    pub(super) fn open(&self, store: &Store, path: &Path) -> Option<Arc<Opened>> {
        let version = version(store, path)?;
        {
            let mut table = self.table();
            if let Some(place) = table.open.iter().position(|entry| entry.path == path) {
                let entry = table.open.remove(place);
                if entry.version == version {
                    let opened = entry.opened.clone();
                    table.open.push(entry);
                    return Some(opened);
                }
            }
            if table.refused.contains(&(path.to_owned(), version)) {
                return None;
            }
        }
        match guarded(|| Opened::open(path, store.locks())) {
            Ok(opened) => {
                let opened = Arc::new(opened);
                let mut table = self.table();
                table.open.retain(|entry| entry.path != path);
                if table.open.len() >= MAX_OPEN {
                    table.open.remove(0);
                }
                table.open.push(Entry {
                    path: path.to_owned(),
                    version,
                    opened: opened.clone(),
                });
                Some(opened)
            }
            Err(fault) => {
                self.complain(store, path, version, &fault.at(path));
                None
            }
        }
    }

    /// Notes that an index is not as it should be: it is left aside until it is written anew.
    pub(super) fn refuse(&self, store: &Store, path: &Path, error: &IndexError) {
        self.table().open.retain(|entry| entry.path != path);
        if let Some(version) = version(store, path) {
            self.complain(store, path, version, error);
        }
    }

    /// Forgets an index that is written anew.
    pub(super) fn forget(&self, path: &Path) {
        self.table().open.retain(|entry| entry.path != path);
    }

    /// Closes all of them.
    pub(crate) fn close(&self) {
        self.table().open.clear();
    }

    fn complain(&self, store: &Store, path: &Path, version: Version, error: &IndexError) {
        if let IndexError::Busy { .. } = error {
            // The next search tries again.
            return;
        }
        let fresh = {
            let mut table = self.table();
            if table.refused.len() >= MAX_REFUSED {
                table.refused.clear();
            }
            table.refused.insert((path.to_owned(), version))
        };
        if fresh {
            store.log().record(
                Level::Warning,
                format_args!("{error}; until then searches look at every message"),
            );
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version(store: &Store, path: &Path) -> Option<Version> {
    let stat = store.disk().try_stat(&path.join(META)).ok().flatten()?;
    Some(Version(stat.identity(), stat.size, stat.modified))
}

/// The file that names the parts of an index.
pub(super) const META: &str = "meta.json";

/// How many indexes are kept open: a few descriptors and a few hundred kilobytes each.
const MAX_OPEN: usize = 24;

/// How many indexes are remembered as being of no use.
const MAX_REFUSED: usize = 1024;
