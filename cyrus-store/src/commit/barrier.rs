//! What has to be on stable storage before a batch goes on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::store::Store;
use crate::sys::{DiskError, File};

/// What a barrier has to sync.
#[derive(Default)]
pub(super) struct Sync {
    pub(super) files: Vec<File>,
    pub(super) dirs: BTreeSet<PathBuf>,
}

impl Sync {
    /// Adds a file, unless it is there.
    pub(super) fn add(&mut self, file: File) {
        // The links of one message come one after the other.
        if !self.files.last().is_some_and(|last| Arc::ptr_eq(last, &file)) {
            self.files.push(file);
        }
    }

    /// Takes over what another has to sync.
    pub(super) fn merge(&mut self, other: &mut Self) {
        for file in other.files.drain(..) {
            if !self.files.iter().any(|known| Arc::ptr_eq(known, &file)) {
                self.files.push(file);
            }
        }
        self.dirs.append(&mut other.dirs);
    }

    pub(super) fn files_now(&mut self, store: &Store) -> Result<(), DiskError> {
        store.disk().sync_many(&self.files.iter().collect::<Vec<_>>())?;
        self.files.clear();
        Ok(())
    }

    pub(super) fn all_now(&mut self, store: &Store) -> Result<(), DiskError> {
        self.files_now(store)?;
        self.dirs.iter().try_for_each(|dir| store.disk().sync_dir(dir))
    }
}
