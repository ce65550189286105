//! One mailbox: its files as of one moment, and then, without a lock, its messages.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Cure, Each, Pace, Verified, Verify, Wrong};
use crate::db::{self, Create, DbError};
use crate::error::MailboxError;
use crate::format::cache::CacheView;
use crate::format::header::MailboxHeader;
use crate::format::index::{FlagCrcs, IndexHeader, Record};
use crate::format::{Damage, Fault, crc32};
use crate::hot::Names;
use crate::lock::Recheck;
use crate::mboxlist::MailboxEntry;
use crate::name::MailboxName;
use crate::paths::MailboxPaths;
use crate::reconstruct::{OldCaches, map_file, read_if_there, spool_of};
use crate::repair::is_annotation;
use crate::store::Store;
use crate::sys::{Mode, Open};

/// A mailbox as it was at one moment.
struct Taken {
    entry: Arc<MailboxEntry>,
    paths: MailboxPaths,
    index: Option<Vec<u8>>,
    header: Option<Vec<u8>>,
    caches: OldCaches,
    files: BTreeMap<u32, (PathBuf, bool)>,
    odd: Vec<PathBuf>,
}

/// What is being looked at, and who hears of it.
struct Look<'l> {
    store: &'l Store,
    taken: &'l Taken,
    /// What is wrong with a message that may have been expunged since the index was copied.
    suspects: Vec<(u32, Wrong)>,
    each: Each<'l>,
}

impl Store {
    /// Checks one mailbox.
    ///
    /// # Errors
    /// [`MailboxError::NotFound`] if it is not in the list; a file cannot be read.
    pub fn verify_mailbox(
        &self,
        name: &MailboxName,
        how: &Verify,
        each: &mut dyn FnMut(Wrong),
    ) -> Result<Verified, MailboxError> {
        let taken = self.take(name)?;
        let mut look = Look {
            store: self,
            taken: &taken,
            suspects: Vec::new(),
            each,
        };
        let records = look.index_and_header()?;
        look.annotations()?;
        let verified = look.messages(&records, how)?;
        look.confirm()?;
        Ok(verified)
    }

    /// Copies what there is of a mailbox, under its shared locks.
    fn take(&self, name: &MailboxName) -> Result<Taken, MailboxError> {
        let entry = self.lookup(name)?.ok_or(MailboxError::NotFound)?;
        let paths = self.paths_of(&entry)?;
        let hot = self.hot(paths.clone());
        let owner = name.owner();
        let _names = hot.lock_name(self, owner.as_deref(), Mode::Shared, Mode::Shared, self.wait())?;
        let entry = self.lookup(name)?.ok_or(MailboxError::NotFound)?;
        let index = match self.disk().try_stat(&paths.index)? {
            None => None,
            Some(_) => {
                let file = self.locks().data_file(&paths.index);
                let lock = file.lock(Mode::Shared, self.wait(), Open::write(), Recheck::Replaced)?;
                Some(lock.file().read_all()?)
            }
        };
        let generation = index
            .as_ref()
            .and_then(|index| IndexHeader::parse(index).ok())
            .map(|header| header.generation);
        let spool = spool_of(self, &paths)?;
        Ok(Taken {
            entry,
            index,
            header: read_if_there(self, &paths.header)?,
            caches: OldCaches::open(self, &paths, generation),
            files: spool.messages,
            odd: spool.odd,
            paths,
        })
    }
}

impl Look<'_> {
    fn wrong(&mut self, path: &std::path::Path, at: Option<u64>, what: impl Into<String>, cure: Cure) {
        (self.each)(Wrong {
            mailbox: Some(self.taken.entry.name.clone()),
            path: path.to_owned(),
            at,
            what: what.into(),
            cure,
        });
    }

    fn fault(&mut self, path: &std::path::Path, fault: &Fault) {
        let at = (fault.damage != Damage::Missing).then_some(fault.at);
        self.wrong(path, at, fault.damage.to_string(), Cure::Reconstruct);
    }

    /// Checks both files, and gives the records that can be read.
    fn index_and_header(&mut self) -> Result<Vec<Record>, MailboxError> {
        let taken = self.taken;
        let names = match taken.header.as_deref().map(MailboxHeader::parse) {
            None => {
                self.fault(&taken.paths.header, &Fault::new(0, Damage::Missing));
                None
            }
            Some(Err(fault)) => {
                self.fault(&taken.paths.header, &fault);
                None
            }
            Some(Ok(header)) => {
                self.header(&header)?;
                Some(Names::new(header))
            }
        };
        let Some(bytes) = &taken.index else {
            self.fault(&taken.paths.index, &Fault::new(0, Damage::Missing));
            return Ok(Vec::new());
        };
        let header = match IndexHeader::parse(bytes) {
            Ok(header) => header,
            Err(fault) => {
                self.fault(&taken.paths.index, &fault);
                return Ok(Vec::new());
            }
        };
        let records = self.records(&header, bytes);
        if header.uidvalidity != taken.entry.uidvalidity.0 {
            let what = format!(
                "UIDVALIDITY {}, but the mailbox list has {}",
                header.uidvalidity, taken.entry.uidvalidity.0
            );
            self.wrong(&taken.paths.index, None, what, Cure::Reconstruct);
        }
        if let Some(names) = &names {
            if taken.header.as_deref().map(crc32) != Some(header.header_file_crc) {
                let what = "not the header file that the index was written with";
                self.wrong(&taken.paths.header, None, what, Cure::Reconstruct);
            }
            if records.len() == header.num_records as usize {
                self.counts(&header, &records, &names.crcs);
            }
        }
        Ok(records)
    }

    /// The header file against the mailbox list and the quota roots.
    fn header(&mut self, header: &MailboxHeader) -> Result<(), MailboxError> {
        let taken = self.taken;
        let (entry, path) = (&taken.entry, &taken.paths.header);
        if entry.id.as_ref() != Some(&header.id) {
            let what = format!("unique id {}, but the mailbox list has another", header.id);
            self.wrong(path, None, what, Cure::Everything);
        }
        // In the layout by name, Cyrus leaves the old name when it renames a mailbox.
        let named = header.name.is_empty() || header.name == entry.name.as_str();
        if !named && !entry.mbtype.legacy_dirs {
            let what = format!("name {}, but the mailbox list says {}", header.name, entry.name);
            self.wrong(path, None, what, Cure::Reconstruct);
        }
        let listed = self.store.acl_pairs(&entry.acl);
        if !header.acl.is_empty() && header.acl != listed {
            self.wrong(
                path,
                None,
                "other rights than the mailbox list",
                Cure::Reconstruct,
            );
        }
        let nearest = self.store.quota_root(&entry.name);
        match nearest {
            Ok(nearest) if nearest.as_ref().map(|root| root.as_str()) != header.quota_root.as_deref() => {
                let what = format!(
                    "quota root {}, but the nearest is {}",
                    header.quota_root.as_deref().unwrap_or("(none)"),
                    nearest.as_ref().map_or("(none)", |root| root.as_str())
                );
                self.wrong(path, None, what, Cure::Quota);
            }
            // Of the root itself others tell.
            _ => {}
        }
        Ok(())
    }

    fn records(&mut self, header: &IndexHeader, bytes: &[u8]) -> Vec<Record> {
        let path = &self.taken.paths.index;
        let views = match header.records(bytes) {
            Ok(views) => views,
            Err(fault) => {
                self.fault(path, &fault);
                return Vec::new();
            }
        };
        let mut records = Vec::new();
        let mut last = 0;
        for (number, view) in (0..).zip(views.iter()) {
            let at = header.offset_of(number);
            match view.record() {
                Ok(record) => {
                    if record.uid <= last || record.uid > header.last_uid {
                        let what = format!("UID {} is not where it can be", record.uid);
                        self.wrong(path, Some(at), what, Cure::Reconstruct);
                    }
                    last = record.uid;
                    records.push(record);
                }
                Err(fault) => {
                    let fault = fault.shifted(at);
                    self.wrong(path, Some(fault.at), fault.damage.to_string(), Cure::Reconstruct);
                }
            }
        }
        records
    }

    /// What the header counts, counted again.
    fn counts(&mut self, header: &IndexHeader, records: &[Record], crcs: &FlagCrcs) {
        let mut counted = header.clone();
        (counted.exists, counted.quota_mailbox_used) = (0, 0);
        (counted.answered, counted.flagged, counted.deleted, counted.unseen) = (0, 0, 0, 0);
        counted.sync_basic = 0;
        for record in records {
            counted.count_in(record, crcs);
        }
        let path = &self.taken.paths.index;
        // Fields that the version of the index lacks are not compared.
        let Ok(counted) = IndexHeader::parse(&counted.to_bytes()) else {
            return;
        };
        let pairs = [
            ("messages", u64::from(header.exists), u64::from(counted.exists)),
            ("octets", header.quota_mailbox_used, counted.quota_mailbox_used),
            (
                "answered",
                u64::from(header.answered),
                u64::from(counted.answered),
            ),
            ("flagged", u64::from(header.flagged), u64::from(counted.flagged)),
            ("deleted", u64::from(header.deleted), u64::from(counted.deleted)),
            ("unseen", u64::from(header.unseen), u64::from(counted.unseen)),
        ];
        for (what, said, is) in pairs.into_iter().filter(|(_, said, is)| said != is) {
            self.wrong(
                path,
                None,
                format!("counts {said} {what}, there are {is}"),
                Cure::Reconstruct,
            );
        }
        if header.sync_basic != counted.sync_basic {
            let what = "the checksum over all messages is wrong";
            self.wrong(path, None, what, Cure::Reconstruct);
        }
    }

    fn annotations(&mut self) -> Result<(), MailboxError> {
        let path = &self.taken.paths.annotations;
        if self.store.disk().try_stat(path)?.is_none() {
            return Ok(());
        }
        let engine = self.store.options().databases.annotation;
        let context = self.store.databases().context();
        let report = match db::check(context, path, engine) {
            Err(DbError::Missing { .. }) => return Ok(()),
            done => done?,
        };
        for problem in &report.problems {
            self.wrong(path, Some(problem.at), problem.what.clone(), Cure::Reconstruct);
        }
        if !report.is_consistent() {
            return Ok(());
        }
        let mut db = self.store.databases().open(path, engine, Create::No)?;
        let mut wrong = Vec::new();
        db.scan(b"", &mut |key, value| {
            wrong.extend(is_annotation(key, value).err());
            ControlFlow::Continue(())
        })?;
        for what in wrong {
            self.wrong(path, None, what, Cure::Everything);
        }
        Ok(())
    }

    /// Every message that exists: its file, its cache record, and if asked for, its content.
    fn messages(&mut self, records: &[Record], how: &Verify) -> Result<Verified, MailboxError> {
        let taken = self.taken;
        let mut pace = Pace::new(how.rate);
        let mut verified = Verified::default();
        let mut files = taken.files.clone();
        for record in records {
            let file = files.remove(&record.uid);
            if record.is_expunged() {
                continue;
            }
            verified.messages += 1;
            let Some((path, _)) = file else {
                self.missing(record);
                continue;
            };
            let cached = self.cache_record(record);
            let Some(stat) = self.store.disk().try_stat(&path)? else {
                self.missing(record);
                continue;
            };
            if stat.size != u64::from(record.size) {
                let what = format!("{} octets, but the index says {}", stat.size, record.size);
                self.wrong(
                    &path,
                    Some(stat.size.min(record.size.into())),
                    what,
                    Cure::ReconstructAll,
                );
            } else if how.content {
                let Ok(map) = map_file(self.store, &path) else {
                    continue;
                };
                verified.octets += stat.size;
                let facts = self.store.describe(&map)?;
                if facts.guid != record.guid {
                    let what = "not the message that the index describes";
                    self.wrong(&path, None, what, Cure::ReconstructAll);
                } else if facts.cache_version == record.cache_version
                    && cached.is_some_and(|cached| cached != facts.cache)
                {
                    let what = format!(
                        "the cache record of UID {} is not what the message says",
                        record.uid
                    );
                    self.wrong(
                        &taken.paths.cache,
                        Some(record.cache_offset),
                        what,
                        Cure::ReconstructAll,
                    );
                }
                pace.read(stat.size);
            }
        }
        // What came after the index was copied is none of it.
        let last = records.last().map_or(0, |record| record.uid);
        for (uid, (path, _)) in files.into_iter().filter(|(uid, _)| *uid <= last) {
            if self.store.disk().try_stat(&path)?.is_some() {
                let what = format!("a file of UID {uid}, which the index does not know");
                self.wrong(&path, None, what, Cure::Reconstruct);
            }
        }
        for path in &taken.odd {
            self.wrong(path, None, "a file that is none of a mailbox", Cure::Reconstruct);
        }
        Ok(verified)
    }

    /// The cache record of a message; what is wrong with it is told.
    fn cache_record(&mut self, record: &Record) -> Option<Vec<u8>> {
        let taken = self.taken;
        let path = match record.is_archived() {
            true => &taken.paths.archive_cache,
            false => &taken.paths.cache,
        };
        if let Some(bytes) = taken.caches.record(record) {
            return Some(bytes.to_vec());
        }
        let what = match taken.caches.map(record.is_archived()) {
            None => "the file is missing, or of another generation than the index".to_owned(),
            Some(map) => match CacheView::parse(map, record.cache_offset) {
                Err(fault) => fault.damage.to_string(),
                Ok(_) => format!("wrong checksum of the record of UID {}", record.uid),
            },
        };
        self.suspect(record.uid, path.clone(), Some(record.cache_offset), what);
        None
    }

    fn missing(&mut self, record: &Record) {
        let path = self.taken.paths.message(record.uid, record.is_archived());
        self.suspect(
            record.uid,
            path,
            None,
            "the file of the message is missing".to_owned(),
        );
    }

    fn suspect(&mut self, uid: u32, path: PathBuf, at: Option<u64>, what: String) {
        let wrong = Wrong {
            mailbox: Some(self.taken.entry.name.clone()),
            path,
            at,
            what,
            cure: Cure::Reconstruct,
        };
        self.suspects.push((uid, wrong));
    }

    /// Tells what is wrong with messages that still exist, in files that are still the same.
    fn confirm(&mut self) -> Result<(), MailboxError> {
        if self.suspects.is_empty() {
            return Ok(());
        }
        let now = match self.store.take(&self.taken.entry.name) {
            Err(MailboxError::NotFound) => return Ok(()),
            now => now?,
        };
        let Some(bytes) = &now.index else { return Ok(()) };
        let Ok(header) = IndexHeader::parse(bytes) else {
            return Ok(());
        };
        let Ok(records) = header.records(bytes) else {
            return Ok(());
        };
        let existing = records.iter().filter_map(|view| view.record().ok());
        let existing: BTreeMap<u32, Record> = existing
            .filter(|record| !record.is_expunged())
            .map(|record| (record.uid, record))
            .collect();
        for (uid, wrong) in std::mem::take(&mut self.suspects) {
            let Some(record) = existing.get(&uid) else {
                continue;
            };
            // Between the two renames of a repack by another process, index and cache are of different generations.
            let is_right = match wrong.at {
                Some(_) => now.caches.record(record).is_some(),
                None => now.files.contains_key(&uid),
            };
            if !is_right {
                (self.each)(wrong);
            }
        }
        Ok(())
    }
}
