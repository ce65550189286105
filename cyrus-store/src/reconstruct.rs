//! Rebuilding a mailbox from what is left of it: the message files above all, and whatever of the index, the header and the
//! mailbox list can still be read.
//!
//! A first pass reads and plans, and tells what it finds; only if something is to be changed, a second one writes index
//! and cache anew and puts them in place, as a repack does. A crash in between leaves the old mailbox, or the new one with
//! a cache of the generation before, which is not believed.

mod adopt;
mod ahead;
mod carried;
mod finding;
mod identity;
mod plan;
mod salvage;

use std::path::PathBuf;

use self::ahead::Ahead;
use self::carried::Carried;
use self::plan::Plan;
use crate::conversations::{CounterKind, Splitting};
use crate::error::MailboxError;
use crate::format::crc32;
use crate::format::header::MailboxHeader;
use crate::format::index::{FlagCrcs, IndexHeader, Layout, SYNC_ANNOT_EMPTY};
use crate::format::quota::Usage;
use crate::hot::{Hot, Names};
use crate::lock::{DataLock, Recheck};
use crate::log::Level;
use crate::mailbox::{NewCache, Publication, new_path};
use crate::mboxlist::{MailboxEntry, RowChange};
use crate::name::MailboxName;
use crate::paths::MailboxPaths;
use crate::repair::Worth;
use crate::store::{Store, now};
use crate::sys::{Mode, Open};
use crate::uid::{ModSeq, UidValidity};

pub use self::adopt::{Adopted, Found};
pub use self::finding::Finding;
pub(crate) use self::plan::{OldCaches, map_file, read_if_there, spool_of};

/// How a mailbox is to be rebuilt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reconstruct {
    /// Tell what would be done, and do nothing.
    pub dry_run: bool,
    /// Believe the index about the sizes of files.
    pub trust_sizes: bool,
    /// Read every message, and so notice damage that leaves its size.
    pub parse_all: bool,
    /// What to do with files that are none of a mailbox.
    pub odd_files: OddFiles,
    /// What to do with messages that are not those which the index describes.
    pub mismatches: Mismatches,
    /// Where the header file and the mailbox list disagree on the rights, believe the list.
    pub prefer_list: bool,
    /// The caller counts the conversations of the owner when he is through with all his mailboxes
    /// ([`Store::count_conversations`]), some of which may not be readable before.
    pub count_later: bool,
    /// The minor version that the index is to get: 12 to 17. Fields that an older one lacks are lost.
    pub version: Option<u32>,
}

/// What happens to files that are none of a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OddFiles {
    /// They are told of.
    #[default]
    Tell,
    /// Nothing.
    Ignore,
    /// They are removed.
    Remove,
}

/// What happens to messages that are not those which the index describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mismatches {
    /// They are told of.
    #[default]
    Tell,
    /// They become new messages, with the old flags.
    Renumber,
    /// They are removed.
    Remove,
}

/// What became of a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconstructed {
    /// Visible messages now.
    pub messages: u32,
    /// Messages of which flags and dates were kept.
    pub kept: u32,
    /// Messages that got a new record.
    pub added: u32,
    /// Messages whose file is gone.
    pub lost: u32,
    /// Whether anything was changed, or would have been.
    pub changed: bool,
}

impl Store {
    /// Rebuilds one mailbox that the mailbox list knows. Messages are read before it is locked; from then on nobody else
    /// can use it until it is rebuilt, or until nothing is found that has to be.
    ///
    /// `tell` hears of everything that is not as it should be, as it is found.
    ///
    /// # Errors
    /// [`MailboxError::NotFound`] if the list does not have the mailbox; failures of the disk.
    pub fn reconstruct(
        &self,
        name: &MailboxName,
        how: &Reconstruct,
        tell: &mut dyn FnMut(&Finding),
    ) -> Result<Reconstructed, MailboxError> {
        let entry = self.lookup(name)?.ok_or(MailboxError::NotFound)?;
        let (id, partition) = entry.storage()?;
        let paths = self
            .options()
            .mailbox_paths(partition, id, name, entry.mbtype.legacy_dirs)?;
        let ahead = Ahead::read(self, &paths, how)?;
        let hot = self.hot(paths);
        let owner = name.owner();
        let mode = match how.dry_run {
            true => Mode::Shared,
            false => Mode::Exclusive,
        };
        let names = hot.lock_name(self, owner.as_deref(), mode, mode, self.wait())?;
        // Renamed or deleted while this waited for the locks.
        let entry = self.lookup(name)?.ok_or(MailboxError::NotFound)?;
        if entry.id.as_ref() != Some(id) {
            return Err(MailboxError::NotFound);
        }
        let paths = &hot.paths;
        let exists = self.disk().try_stat(&paths.index)?.is_some();
        let index = match how.dry_run && !exists {
            true => None,
            false => Some(self.locks().data_file(&paths.index).lock(
                mode,
                self.wait(),
                Open::create(),
                Recheck::Replaced,
            )?),
        };
        let mut plan = Plan::make(self, &entry, paths, how, ahead, tell)?;
        self.mend_annotations(name, paths, how.dry_run, &mut plan, tell)?;
        let summary = plan.summary;
        if how.dry_run || !summary.changed {
            return Ok(summary);
        }
        let Some(index) = index else { return Ok(summary) };
        let modseq = self.rebuild(&entry, paths, plan, index)?;
        drop(names);
        if let Some(owner) = owner {
            self.raise_user_modseq(&owner, CounterKind::Messages(entry.mbtype.kind), modseq.0)?;
            if !how.count_later {
                self.count_conversations(&owner)?;
            }
        }
        if let Some(id) = &entry.id {
            self.announce(name, id, Publication { modseq });
        }
        Ok(summary)
    }

    /// Converts an index of a version that cannot be written, from before version 12, when the mailbox is opened.
    pub(crate) fn modernize(&self, entry: &MailboxEntry, hot: &Hot) -> Result<(), MailboxError> {
        let Some(version) = hot.version_if_new(self) else {
            return Ok(());
        };
        if Layout::of_version(version).is_some_and(|layout| !layout.is_writable()) {
            let newest = Layout::NEWEST.minor;
            let path = hot.paths.index.display();
            self.log().record(
                Level::Notice,
                format_args!("{path}: converting index version {version} to {newest}"),
            );
            let how = Reconstruct {
                version: Some(newest),
                ..Reconstruct::default()
            };
            self.reconstruct(&entry.name, &how, &mut |_| {})?;
        }
        hot.note_version();
        Ok(())
    }

    /// Gives a conversation to messages of a user that have none, and counts all of them: which there were before a
    /// reconstruction cannot be told any more.
    ///
    /// # Errors
    /// A mailbox or the database cannot be read or written.
    pub fn count_conversations(&self, userid: &str) -> Result<(), MailboxError> {
        if self.has_conversations(userid)? {
            self.build_conversations(userid, Splitting::Allowed)?;
            self.recount_conversations(userid, &mut |_| {})?;
        }
        Ok(())
    }

    /// Mends the annotations of the messages. They are counted nowhere but in the header of the index, as they were.
    fn mend_annotations(
        &self,
        name: &MailboxName,
        paths: &MailboxPaths,
        dry_run: bool,
        plan: &mut Plan,
        tell: &mut dyn FnMut(&Finding),
    ) -> Result<(), MailboxError> {
        let engine = self.options().databases.annotation;
        self.repair_file(
            &paths.annotations,
            engine,
            Worth::Unique,
            dry_run,
            &mut |repair| {
                plan.summary.changed = true;
                tell(&Finding::Annotations(
                    name.clone(),
                    repair.path.clone(),
                    repair.what.clone(),
                ));
            },
        )
    }

    /// Carries out a plan, under the locks of the mailbox.
    fn rebuild(
        &self,
        entry: &MailboxEntry,
        paths: &MailboxPaths,
        mut plan: Plan,
        mut index: DataLock,
    ) -> Result<ModSeq, MailboxError> {
        let disk = self.disk();
        // A message gets its new name before the index knows of it: after a crash it is merely a new file.
        for (from, to) in &plan.renames {
            disk.rename(from, to)?;
        }
        let header_bytes = plan.names.to_bytes();
        let crcs = Names::new(plan.names.clone()).crcs;
        let from = plan.salvaged.header.as_ref().map(|before| before.layout);
        let carried = match from {
            Some(from) if from != plan.header.layout => Some(self.carry(entry, paths, from, &mut plan)?),
            _ => None,
        };
        let mut header = counted(&plan, &crcs, carried.as_ref());
        // What goes into annotations is there before the records are without it; what comes from them, afterwards.
        let goes_down = from.is_some_and(|from| from.minor > header.layout.minor);
        if let Some(carried) = carried.as_ref().filter(|_| goes_down) {
            self.write_carried(paths, carried)?;
        }
        header.header_file_crc = crc32(&header_bytes);
        let shared_cache = paths.archive_cache == paths.cache;
        let mut main = NewCache::create(self, &paths.cache, header.generation)?;
        let mut archive = None;
        let mut records = Vec::new();
        let old = std::mem::take(&mut plan.caches);
        for planned in &mut plan.records {
            let cache = match planned.record.is_archived() && !shared_cache {
                false => &mut main,
                true => match &mut archive {
                    Some(cache) => cache,
                    None => archive.insert(NewCache::create(self, &paths.archive_cache, header.generation)?),
                },
            };
            planned.write_cache(self, paths, &old, cache)?;
            records.extend_from_slice(&planned.record.to_bytes(header.layout));
        }
        let new_index = disk.open(&new_path(&paths.index), Open::replace())?;
        new_index.write_at(&header.to_bytes(), 0)?;
        new_index.write_at(&records, header.offset_of(0))?;
        main.flush()?;
        let new_header = disk.open(&new_path(&paths.header), Open::replace())?;
        new_header.write_at(&header_bytes, 0)?;
        let mut files = vec![&new_index, main.file(), &new_header];
        if let Some(archive) = &mut archive {
            archive.flush()?;
            files.push(archive.file());
        }
        disk.sync_many(&files)?;
        disk.rename(&new_path(&paths.header), &paths.header)?;
        index.replace(&**disk, new_index.clone())?;
        disk.rename(&new_path(&paths.cache), &paths.cache)?;
        if archive.is_some() {
            disk.rename(&new_path(&paths.archive_cache), &paths.archive_cache)?;
        }
        for file in [&paths.index, &paths.header, &paths.cache, &paths.archive_cache] {
            if let Some(directory) = file.parent() {
                disk.sync_dir(directory)?;
            }
        }
        for path in &plan.removals {
            disk.unlink_if_exists(path)?;
        }
        if let Some(carried) = carried.as_ref().filter(|_| !goes_down) {
            self.write_carried(paths, carried)?;
        }
        self.correct_row(entry, &header, &plan)?;
        let annotations = carried.map_or(0, |carried| {
            i64::from(carried.octets) - i64::from(carried.octets_before)
        });
        self.correct_usage(entry, &header, &plan, annotations);
        Ok(ModSeq(header.highestmodseq))
    }

    /// Brings the row of the mailbox list in line with the mailbox.
    fn correct_row(
        &self,
        entry: &MailboxEntry,
        header: &IndexHeader,
        plan: &Plan,
    ) -> Result<(), MailboxError> {
        let mut corrected = entry.clone();
        corrected.uidvalidity = UidValidity(header.uidvalidity);
        if let Some(acl) = &plan.acl {
            corrected.acl = acl.clone();
        }
        if corrected != *entry {
            corrected.mtime = i64::from(now());
            self.commit_rows(&[RowChange::Update(&corrected)])?;
        }
        Ok(())
    }

    /// Charges the quota root with what the mailbox holds more or less than its index said. Where the index was lost nobody
    /// knows what was charged: `quota -f` does.
    fn correct_usage(&self, entry: &MailboxEntry, header: &IndexHeader, plan: &Plan, annotations: i64) {
        let Some((root, before)) = plan.names.quota_root.as_ref().zip(plan.salvaged.header.as_ref()) else {
            return;
        };
        // Before version 12 expunged messages had files of their own, and where Cyrus left them in the index it counts them.
        let exists = match before.layout.is_writable() {
            true => before.exists,
            false => visible(plan),
        };
        let difference = |new: u64, old: u64| new.cast_signed().saturating_sub(old.cast_signed());
        let usage = Usage([
            difference(header.quota_mailbox_used, before.quota_mailbox_used),
            difference(header.exists.into(), exists.into()),
            annotations,
            0,
        ]);
        if !usage.is_zero()
            && let Err(error) = self.charge_quota(root, usage)
        {
            let name = &entry.name;
            self.report(
                &format!("quota root {root} was not charged for {name}; run quota -f"),
                &error,
            );
        }
    }
}

/// The messages that an old index has, without expunged ones.
fn visible(plan: &Plan) -> u32 {
    let records = plan.salvaged.records.values();
    u32::try_from(records.filter(|record| !record.is_expunged()).count()).unwrap_or(u32::MAX)
}

/// The header of the new index: what the old one knew that the records do not tell, and the records counted.
fn counted(plan: &Plan, crcs: &FlagCrcs, carried: Option<&Carried>) -> IndexHeader {
    let mut header = plan.header.clone();
    // The records' share of this checksum goes out as it came in; what is left is that of the annotations.
    if let Some(carried) = carried {
        header.sync_annot = SYNC_ANNOT_EMPTY ^ carried.sync;
        header.quota_annot_used = carried.octets;
    } else if let Some(before) = &plan.salvaged.header {
        header.sync_annot = before.sync_annot;
        for record in plan.salvaged.records.values() {
            header.count_in(record, crcs);
        }
    } else {
        header.sync_annot = SYNC_ANNOT_EMPTY;
    }
    (header.exists, header.quota_mailbox_used) = (0, 0);
    (header.answered, header.flagged, header.deleted, header.unseen) = (0, 0, 0, 0);
    (header.sync_basic, header.first_expunged, header.num_records) = (0, 0, 0);
    for planned in &plan.records {
        let record = &planned.record;
        if record.is_expunged() {
            let known = header.first_expunged;
            if known == 0 || record.last_updated < known {
                header.first_expunged = record.last_updated;
            }
        }
        header.count_in(record, crcs);
        header.num_records += 1;
    }
    header.leaked_cache_records = 0;
    header
}

/// The header file as the mailbox list knows it, for a mailbox that has none.
fn header_from_list(store: &Store, entry: &MailboxEntry) -> Result<MailboxHeader, MailboxError> {
    let root = store.nearest_quota(&entry.name)?.map(|(root, _)| root);
    store.header_of_entry(entry, root)
}

/// Message files found in the directories of a mailbox.
#[derive(Debug)]
pub(crate) struct Spool {
    /// By UID: where it is, and whether that is the archive.
    pub(crate) messages: std::collections::BTreeMap<u32, (PathBuf, bool)>,
    pub(crate) odd: Vec<PathBuf>,
}
