//! Messages are read before the mailbox is locked, so that it is locked no longer than it takes to look at the names and
//! sizes of its files. What was read counts only if the file is still the same then.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Reconstruct;
use super::plan::{OldCaches, map_file, read_if_there, spool_of};
use super::salvage::Salvaged;
use crate::error::MailboxError;
use crate::ident::Guid;
use crate::paths::MailboxPaths;
use crate::staging::Facts;
use crate::store::Store;
use crate::sys::Stat;

/// What messages say of themselves, by file.
#[derive(Debug, Default)]
pub(super) struct Ahead(HashMap<PathBuf, (Stat, Facts)>);

impl Ahead {
    /// Reads the messages that a pass over the mailbox would have to, as it is now.
    pub(super) fn read(store: &Store, paths: &MailboxPaths, how: &Reconstruct) -> Result<Self, MailboxError> {
        let mut ahead = Self::default();
        // Somebody may be writing it: whatever comes of that is only a guess of what will be needed.
        let bytes = read_if_there(store, &paths.index)?.unwrap_or_default();
        let salvaged = Salvaged::of(&bytes);
        drop(bytes);
        let generation = salvaged.header.as_ref().map(|header| header.generation);
        let caches = OldCaches::open(store, paths, generation);
        let mut kept = 0;
        for (uid, (path, _)) in &spool_of(store, paths)?.messages {
            let Some(stat) = store.disk().try_stat(path)? else {
                continue;
            };
            let record = salvaged.records.get(uid);
            let is_needed = record.is_none_or(|record| {
                !record.is_expunged()
                    && (how.parse_all
                        || !how.trust_sizes && u64::from(record.size) != stat.size
                        || record.guid == Guid::default()
                        || caches.record(record).is_none())
            });
            if !is_needed {
                continue;
            }
            // One that goes away now is no longer needed.
            let Ok(map) = map_file(store, path) else { continue };
            let mut facts = store.describe(&map)?;
            kept += facts.cache.len();
            if kept > KEPT_CACHE {
                facts.cache = Vec::new();
            }
            ahead.0.insert(path.clone(), (stat, facts));
        }
        Ok(ahead)
    }

    /// What was read of a file, if it is still the same.
    pub(super) fn take(&mut self, store: &Store, path: &Path) -> Result<Option<Facts>, MailboxError> {
        let Some((before, facts)) = self.0.remove(path) else {
            return Ok(None);
        };
        let now = store.disk().stat(path)?;
        Ok((now == before
            || now.identity() == before.identity()
                && (now.size, now.modified) == (before.size, before.modified))
            .then_some(facts))
    }
}

/// Octets of cache records that are kept; for more messages they are made again.
const KEPT_CACHE: usize = 128 << 20;
