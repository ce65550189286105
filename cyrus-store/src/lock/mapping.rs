//! Mappings of locked files that cannot be read without the lock.

use std::sync::atomic::{AtomicU64, Ordering};

use super::DataLock;
use crate::sys::{DiskError, DiskResult, Identity, Map};

/// A mapping of a file of data, kept from one lock to the next but readable only under a lock.
///
/// The system calls for a mapping are made again only if the file was replaced or has outgrown the room
/// that was mapped.
#[derive(Debug, Default)]
pub struct Mapping {
    mapped: Option<Mapped>,
}

#[derive(Debug)]
struct Mapped {
    map: Map,
    identity: Identity,
    serial: u64,
}

impl Mapping {
    /// The content of the locked file as it is now.
    pub fn refresh<'a>(&'a mut self, lock: &'a DataLock) -> DiskResult<&'a [u8]> {
        let stat = lock.stat();
        let length = usize::try_from(stat.size)
            .map_err(|_| DiskError::new("mmap", lock.path(), std::io::ErrorKind::FileTooLarge))?;
        let reused = self
            .mapped
            .take()
            .filter(|old| old.identity == stat.identity())
            .and_then(|old| old.map.resized(length));
        let map = match reused {
            Some(map) => map,
            None => lock.file().map(length, (length / 4).max(LEAST_RESERVE))?,
        };
        let serial = lock.serial();
        let mapped = self.mapped.insert(Mapped {
            map,
            identity: stat.identity(),
            serial,
        });
        Ok(&mapped.map)
    }

    /// The content as of the last [`refresh`](Self::refresh) under this lock; nothing if there was none, or
    /// if the file was written by this lock's holder since.
    pub fn held<'a>(&'a self, lock: &'a DataLock) -> &'a [u8] {
        match &self.mapped {
            Some(mapped) if mapped.serial == lock.serial() => &mapped.map,
            _ => &[],
        }
    }
}

/// A number for one state of one lock: gained, or written under.
pub(super) fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Room mapped past the end of a file, so that it can grow without being mapped again.
const LEAST_RESERVE: usize = 64 * 1024;
