//! The first pass: what there is, and what is to become of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use cyrus_acl::{Acl, Identifier, Rights};

use super::ahead::Ahead;
use super::finding::Finding;
use super::identity::{HeaderFile, is_foreign};
use super::salvage::Salvaged;
use super::{Mismatches, OddFiles, Reconstruct, Reconstructed, Spool, header_from_list};
use crate::commit::midnight;
use crate::error::MailboxError;
use crate::flags::{KeywordBits, SystemFlags};
use crate::format::cache::{self, CacheView};
use crate::format::crc32;
use crate::format::header::MailboxHeader;
use crate::format::index::{IndexHeader, Layout, Record};
use crate::format::{Damage, Fault};
use crate::ident::Guid;
use crate::mailbox::NewCache;
use crate::mboxlist::MailboxEntry;
use crate::name::MailboxName;
use crate::paths::MailboxPaths;
use crate::staging::Facts;
use crate::store::{Store, now};
use crate::sys::{FileKind, Map, Open};
use crate::uid::{Uid, UidSet};

/// What a mailbox is to become.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) salvaged: Salvaged,
    /// The new index header; its counts are made later.
    pub(super) header: IndexHeader,
    pub(super) names: MailboxHeader,
    /// The rights, if those of the mailbox list are wrong.
    pub(super) acl: Option<Acl>,
    /// The new records, in the order of their UIDs.
    pub(super) records: Vec<Planned>,
    pub(super) renames: Vec<(PathBuf, PathBuf)>,
    pub(super) removals: Vec<PathBuf>,
    pub(super) summary: Reconstructed,
    pub(super) caches: OldCaches,
}

/// A record of the new index.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) record: Record,
    cache: Cache,
}

/// Where the cache record of a message comes from.
#[derive(Debug)]
enum Cache {
    /// From the old cache file.
    Old,
    /// It was made from the message.
    Parsed(Vec<u8>),
    /// It is to be made from the message, which was too much to be kept.
    Parse,
    /// There is none: the message is gone.
    None,
}

/// A pass over a mailbox.
pub(super) struct Pass<'p> {
    pub(super) store: &'p Store,
    pub(super) name: &'p MailboxName,
    pub(super) paths: &'p MailboxPaths,
    pub(super) how: &'p Reconstruct,
    pub(super) tell: &'p mut dyn FnMut(&Finding),
    pub(super) plan: Plan,
    ahead: Ahead,
    /// What the owner has seen, where the old index could not tell.
    seen: UidSet,
    /// Octets of cache records kept in memory.
    kept: usize,
    /// Messages that get a new UID once the highest is known: the record, what its file says, and the file.
    late: Vec<(u32, Record, Facts, PathBuf, bool)>,
}

impl Plan {
    pub(super) fn make(
        store: &Store,
        entry: &MailboxEntry,
        paths: &MailboxPaths,
        how: &Reconstruct,
        ahead: Ahead,
        tell: &mut dyn FnMut(&Finding),
    ) -> Result<Self, MailboxError> {
        let bytes = read_if_there(store, &paths.index)?.unwrap_or_default();
        let mut salvaged = Salvaged::of(&bytes);
        drop(bytes);
        let spool = spool_of(store, paths)?;
        let header_file = HeaderFile::of(read_if_there(store, &paths.header)?.as_deref());
        if is_foreign(store, entry, &salvaged, &header_file, &spool)? {
            salvaged = Salvaged {
                fault: Some(Fault::new(0, Damage::Expected("the index of this mailbox"))),
                ..Salvaged::default()
            };
        }
        let mut header = new_header(entry, paths, &salvaged, how.version)?;
        let seen = seen_by_owner(store, entry, &salvaged, &mut header)?;
        let generation = salvaged.header.as_ref().map(|header| header.generation);
        let caches = OldCaches::open(store, paths, generation);
        let mut pass = Pass {
            store,
            name: &entry.name,
            paths,
            how,
            tell,
            ahead,
            seen,
            kept: 0,
            late: Vec::new(),
            plan: Self {
                salvaged,
                header,
                names: header_from_list(store, entry)?,
                acl: None,
                records: Vec::new(),
                renames: Vec::new(),
                removals: Vec::new(),
                summary: Reconstructed::default(),
                caches,
            },
        };
        pass.index(entry);
        pass.names(header_file)?;
        pass.odd_files(spool.odd)?;
        pass.messages(&spool.messages)?;
        pass.latecomers()?;
        let mut plan = pass.plan;
        plan.summary.messages = u32::try_from(
            plan.records
                .iter()
                .filter(|planned| !planned.record.is_expunged())
                .count(),
        )
        .unwrap_or(u32::MAX);
        Ok(plan)
    }
}

/// The cache files as they were: of the data partition, and of the archive.
#[derive(Debug, Default)]
pub(crate) struct OldCaches([Option<Map>; 2]);

impl OldCaches {
    pub(crate) fn open(store: &Store, paths: &MailboxPaths, generation: Option<u32>) -> Self {
        Self([&paths.cache, &paths.archive_cache].map(|path| {
            // What cannot be read is made anew from the messages.
            let map = map_file(store, path).ok()?;
            let wanted = generation.is_none_or(|generation| cache::generation(&map) == Some(generation));
            wanted.then_some(map)
        }))
    }

    /// The file of the data partition, or of the archive.
    pub(crate) fn map(&self, archived: bool) -> Option<&[u8]> {
        self.0[usize::from(archived)].as_deref()
    }

    /// The intact cache record of a message.
    pub(crate) fn record(&self, record: &Record) -> Option<&[u8]> {
        let map = self.0[usize::from(record.is_archived())].as_deref()?;
        let view = CacheView::parse(map, record.cache_offset).ok()?;
        (view.crc() == record.cache_crc).then(|| view.bytes())
    }
}

impl Planned {
    /// Writes the cache record, and notes in the index record where.
    pub(super) fn write_cache(
        &mut self,
        store: &Store,
        paths: &MailboxPaths,
        old: &OldCaches,
        cache: &mut NewCache,
    ) -> Result<(), MailboxError> {
        let record = &mut self.record;
        let bytes = match &mut self.cache {
            Cache::Old => old.record(record).map(<[u8]>::to_vec),
            Cache::Parsed(bytes) => Some(std::mem::take(bytes)),
            Cache::Parse => {
                let path = paths.message(record.uid, record.is_archived());
                Some(store.describe(&map_file(store, &path)?)?.cache)
            }
            Cache::None => None,
        };
        match bytes {
            Some(bytes) => {
                record.cache_crc = crc32(&bytes);
                record.cache_offset = cache.add(&bytes)?;
            }
            None => (record.cache_offset, record.cache_crc) = (0, 0),
        }
        Ok(())
    }
}

impl Pass<'_> {
    pub(super) fn found(&mut self, finding: Finding) {
        self.plan.summary.changed = true;
        (self.tell)(&finding);
    }

    fn odd_files(&mut self, odd: Vec<PathBuf>) -> Result<(), MailboxError> {
        for path in odd {
            match self.how.odd_files {
                OddFiles::Ignore => continue,
                OddFiles::Tell => {}
                OddFiles::Remove if self.how.dry_run => {}
                OddFiles::Remove => self.store.disk().unlink_if_exists(&path)?,
            }
            // Told of, but nothing that the mailbox has to be written anew for.
            (self.tell)(&Finding::Odd(self.name.clone(), path));
        }
        Ok(())
    }

    fn messages(&mut self, files: &BTreeMap<u32, (PathBuf, bool)>) -> Result<(), MailboxError> {
        let uids: BTreeSet<u32> = self
            .plan
            .salvaged
            .records
            .keys()
            .chain(files.keys())
            .copied()
            .collect();
        for uid in uids {
            let record = self.plan.salvaged.records.get(&uid).cloned();
            match (record, files.get(&uid)) {
                (Some(record), Some((path, archive))) => self.known(record, path, *archive)?,
                (Some(record), None) => self.without_file(record),
                (None, Some((path, archive))) => self.without_record(uid, path, *archive)?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// A record without a file.
    fn without_file(&mut self, mut record: Record) {
        if !record.is_expunged() {
            self.found(Finding::NotFound(self.name.clone(), record.uid));
            self.plan.summary.lost += 1;
            record.flags |= Record::EXPUNGED | Record::UNLINKED;
            self.touch(&mut record);
        } else if !record.is_unlinked() {
            self.plan.summary.changed = true;
            record.flags |= Record::UNLINKED;
        }
        self.keep(record, Cache::None);
    }

    /// A record and its file.
    fn known(&mut self, mut record: Record, path: &Path, archive: bool) -> Result<(), MailboxError> {
        let uid = record.uid;
        if Uid::new(uid).is_some_and(|uid| self.seen.contains(uid)) {
            record.flags |= SystemFlags::SEEN.bits();
        }
        if record.is_unlinked() {
            if record.flags & Record::NEEDS_CLEANUP == 0 {
                // Put back by somebody: the record still knows its flags and dates.
                self.found(Finding::Rediscovered(self.name.clone(), uid));
                let facts = self.describe(path)?;
                self.late
                    .push((uid, revived(&record), facts, path.to_owned(), archive));
            }
            self.keep(record, Cache::Old);
            return Ok(());
        }
        if record.is_archived() != archive {
            self.plan.summary.changed = true;
            record.flags ^= Record::ARCHIVED;
        }
        if record.is_expunged() {
            if record.guid == Guid::default() {
                let facts = self.describe(path)?;
                fill(&mut record, &facts);
            }
            let cache = self.cache_or_parse(&record);
            self.keep(record, cache);
            return Ok(());
        }
        let size = match self.how.trust_sizes {
            true => u64::from(record.size),
            false => self.store.disk().stat(path)?.size,
        };
        let cached = self.plan.caches.record(&record).is_some();
        // Indexes of long ago have no GUID.
        let is_known = record.guid != Guid::default();
        if cached && is_known && size == u64::from(record.size) && !self.how.parse_all {
            self.plan.summary.kept += 1;
            self.keep(record, Cache::Old);
            return Ok(());
        }
        let facts = self.describe(path)?;
        if facts.guid == record.guid || !is_known && size == u64::from(record.size) {
            if !cached {
                self.found(Finding::Cache(self.name.clone(), uid));
            }
            self.plan.summary.kept += 1;
            let before = record.clone();
            fill(&mut record, &facts);
            self.plan.summary.changed |= record != before;
            let cache = match cached && record == before {
                true => Cache::Old,
                false => self.parsed(facts),
            };
            self.keep(record, cache);
            return Ok(());
        }
        let name = self.name.clone();
        match self.how.mismatches {
            Mismatches::Tell => {
                // Nothing is changed: the file may come back from a backup.
                (self.tell)(&Finding::Mismatch(name, uid));
                let cache = if cached { Cache::Old } else { self.parsed(facts) };
                self.keep(record, cache);
            }
            Mismatches::Renumber => {
                self.plan.summary.changed = true;
                self.late
                    .push((uid, revived(&record), facts, path.to_owned(), archive));
                self.bury(record);
            }
            Mismatches::Remove => {
                self.found(Finding::Removed(name, uid));
                self.plan.summary.lost += 1;
                self.plan.removals.push(path.to_owned());
                self.bury(record);
            }
        }
        Ok(())
    }

    /// A file without a record.
    fn without_record(&mut self, uid: u32, path: &Path, archive: bool) -> Result<(), MailboxError> {
        let facts = self.describe(path)?;
        let received = self.store.disk().stat(path)?.modified;
        let received = received
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let mut record = Record {
            uid,
            internaldate: u32::try_from(received).unwrap_or_else(|_| now()),
            savedate: now(),
            flags: if archive { Record::ARCHIVED } else { 0 },
            ..Record::default()
        };
        record.gmtime = record.internaldate;
        record.sentdate = midnight(self.store, record.internaldate);
        if let Some(known) = self.trace_of(&facts) {
            // From a backup, under a number of its own: what the index knows of the message counts, not the file's date.
            record = Record { uid, ..known };
            record.flags = record.flags & !Record::ARCHIVED | if archive { Record::ARCHIVED } else { 0 };
        }
        let last = self.plan.header.last_uid;
        let lost = self.plan.salvaged.header.is_none() || self.plan.salvaged.may_have_had(uid);
        if uid > last || lost {
            self.found(Finding::Added(self.name.clone(), uid));
            self.plan.summary.added += 1;
            self.plan.header.last_uid = last.max(uid);
            fill(&mut record, &facts);
            self.touch(&mut record);
            record.createdmodseq = record.modseq;
            let cache = self.parsed(facts);
            self.keep(record, cache);
        } else {
            self.found(Finding::Rediscovered(self.name.clone(), uid));
            self.late.push((uid, record, facts, path.to_owned(), archive));
        }
        Ok(())
    }

    /// What is left of a message without file that was the same as this one.
    fn trace_of(&self, facts: &Facts) -> Option<Record> {
        let traces = self.plan.salvaged.records.values();
        let mut same = traces.filter(|record| record.is_unlinked() && record.guid == facts.guid);
        same.next_back().map(revived)
    }

    /// Gives new UIDs to messages whose own cannot be used any more.
    fn latecomers(&mut self) -> Result<(), MailboxError> {
        let renumber = self.how.mismatches == Mismatches::Renumber;
        for (old, mut record, facts, path, archive) in std::mem::take(&mut self.late) {
            let uid = self
                .plan
                .header
                .last_uid
                .checked_add(1)
                .filter(|&uid| uid < u32::MAX);
            let uid = uid.ok_or_else(|| MailboxError::Refused("Mailbox is out of UIDs".to_owned()))?;
            self.plan.header.last_uid = uid;
            let was_known = self
                .plan
                .salvaged
                .records
                .get(&old)
                .is_some_and(|known| !known.is_unlinked());
            if renumber && was_known {
                (self.tell)(&Finding::Renumbered(self.name.clone(), old, uid));
            }
            self.plan.summary.added += 1;
            record.uid = uid;
            fill(&mut record, &facts);
            self.touch(&mut record);
            record.createdmodseq = record.modseq;
            self.plan.renames.push((path, self.paths.message(uid, archive)));
            let cache = self.parsed(facts);
            self.keep(record, cache);
        }
        Ok(())
    }

    /// A message that is not the one of its record: the record stays as a trace.
    fn bury(&mut self, mut record: Record) {
        record.flags |= Record::EXPUNGED | Record::UNLINKED;
        self.touch(&mut record);
        self.keep(record, Cache::None);
    }

    /// Gives a record a modification sequence of its own.
    fn touch(&mut self, record: &mut Record) {
        self.plan.header.highestmodseq = self.plan.header.highestmodseq.saturating_add(1);
        record.modseq = self.plan.header.highestmodseq;
        record.last_updated = now();
    }

    fn keep(&mut self, mut record: Record, cache: Cache) {
        // Bits of keywords without a name would become those of the next keyword that gets the slot.
        let names = &self.plan.names.keywords;
        let nameless: Vec<usize> = (record.keywords.slots())
            .filter(|&slot| names.get(slot).is_none_or(Option::is_none))
            .collect();
        for slot in nameless {
            self.plan.summary.changed = true;
            let mut one = KeywordBits::default();
            one.insert(slot);
            record.keywords = record.keywords.without(one);
        }
        self.plan.records.push(Planned { record, cache });
    }

    fn cache_or_parse(&self, record: &Record) -> Cache {
        match self.plan.caches.record(record) {
            Some(_) => Cache::Old,
            None => Cache::Parse,
        }
    }

    fn parsed(&mut self, facts: Facts) -> Cache {
        if self.how.dry_run || self.kept > KEPT_CACHE || facts.cache.is_empty() {
            return Cache::Parse;
        }
        self.kept += facts.cache.len();
        Cache::Parsed(facts.cache)
    }

    fn describe(&mut self, path: &Path) -> Result<Facts, MailboxError> {
        match self.ahead.take(self.store, path)? {
            Some(facts) => Ok(facts),
            None => self.store.describe(&map_file(self.store, path)?),
        }
    }
}

/// Every file in the directories of a mailbox.
pub(crate) fn spool_of(store: &Store, paths: &MailboxPaths) -> Result<Spool, MailboxError> {
    let mut spool = Spool {
        messages: BTreeMap::new(),
        odd: Vec::new(),
    };
    for (directory, archive) in [(&paths.data, false), (&paths.archive, true)] {
        if archive && paths.archive == paths.data {
            continue;
        }
        let entries = match store.disk().read_dir(directory) {
            Err(error) if error.is_not_found() => continue,
            done => done?,
        };
        for entry in entries {
            if entry.kind == FileKind::Directory {
                continue;
            }
            let path = directory.join(&entry.name);
            let text = entry.name.to_str().unwrap_or_default();
            match uid_of(text) {
                Some(uid) => {
                    // With two, the one outside the archive is what archiving has left.
                    spool.messages.insert(uid, (path, archive));
                }
                None if text.starts_with("cyrus.") => {}
                None => spool.odd.push(path),
            }
        }
    }
    Ok(spool)
}

/// What a message that comes back keeps of its old record.
fn revived(record: &Record) -> Record {
    Record {
        flags: record.flags & !(Record::EXPUNGED | Record::UNLINKED | Record::NEEDS_CLEANUP),
        cid: 0,
        ..record.clone()
    }
}

/// What the file says of itself.
fn fill(record: &mut Record, facts: &Facts) {
    record.size = facts.size;
    record.header_size = facts.header_size;
    record.guid = facts.guid;
    record.cache_version = facts.cache_version;
    record.gmtime = facts.gm_date.unwrap_or(record.gmtime);
    record.sentdate = facts.sent_date.unwrap_or(record.sentdate);
}

/// The header of the new index, but for its counts.
fn new_header(
    entry: &MailboxEntry,
    paths: &MailboxPaths,
    salvaged: &Salvaged,
    version: Option<u32>,
) -> Result<IndexHeader, MailboxError> {
    let layout = |known: &'static Layout| {
        let wanted = version.unwrap_or(known.minor);
        Layout::of_version(wanted)
            .filter(|layout| layout.is_writable())
            .ok_or_else(|| MailboxError::UnsupportedVersion {
                path: paths.index.clone(),
                version: wanted,
                verb: "written",
            })
    };
    if let Some(header) = &salvaged.header {
        let mut header = header.clone();
        header.layout = layout(header.layout)?;
        header.generation = header.generation.wrapping_add(1);
        if salvaged.damaged > 0 {
            // Some of the damaged may have been traces of expunged messages.
            header.deletedmodseq = header.highestmodseq;
        }
        return Ok(header);
    }
    // The highest UID is not known for sure: under a new UIDVALIDITY none can be used twice.
    let uidvalidity = now().max(entry.uidvalidity.0.saturating_add(1));
    let records = || salvaged.records.values();
    let modseq = records().map(|record| record.modseq).max().unwrap_or_default();
    let modseq = modseq.max(entry.folder_modseq.0).saturating_add(1);
    let mut header = IndexHeader::new(uidvalidity, modseq, now());
    header.layout = layout(Layout::NEWEST)?;
    header.generation = now();
    header.createdmodseq = entry.created_modseq.0;
    header.deletedmodseq = modseq;
    header.last_uid = records().map(|record| record.uid).max().unwrap_or_default();
    header.last_appenddate = now();
    Ok(header)
}

/// What the owner of a mailbox has seen, if that is to come into the index, which it has not been in before version 12.
fn seen_by_owner(
    store: &Store,
    entry: &MailboxEntry,
    salvaged: &Salvaged,
    header: &mut IndexHeader,
) -> Result<UidSet, MailboxError> {
    let is_old = salvaged
        .header
        .as_ref()
        .is_some_and(|before| !before.layout.is_writable());
    let (Some(owner), Some(id), true) = (entry.name.owner(), &entry.id, is_old) else {
        return Ok(UidSet::new());
    };
    let state = store.seen_state(&owner, id)?;
    (header.recentuid, header.recenttime) = (state.lastuid, state.lastread);
    Ok(state.seen)
}

pub(super) fn stored_acl(store: &Store, pairs: &[(String, String)]) -> Acl {
    let deleteright = store.options().deleteright;
    Acl::from_entries(pairs.iter().filter_map(|(identifier, rights)| {
        Some((
            Identifier::stored(identifier).ok()?,
            Rights::parse_stored_with(rights, deleteright),
        ))
    }))
}

pub(crate) fn read_if_there(store: &Store, path: &Path) -> Result<Option<Vec<u8>>, MailboxError> {
    match store.disk().read(path) {
        Err(error) if error.is_not_found() => Ok(None),
        done => Ok(Some(done?)),
    }
}

pub(crate) fn map_file(store: &Store, path: &Path) -> Result<Map, MailboxError> {
    let file = store.disk().open(path, Open::read())?;
    let size = usize::try_from(file.stat()?.size).unwrap_or(usize::MAX);
    Ok(file.map(size, 0)?)
}

/// The UID of a message file: `12.`
pub(super) fn uid_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix('.')?;
    let uid: u32 = digits.parse().ok()?;
    (uid > 0 && uid < u32::MAX && uid.to_string() == digits).then_some(uid)
}

/// Cache records kept from the first pass for the second, in octets; others are made again.
const KEPT_CACHE: usize = 64 << 20;
