//! What the threads of this process share about one mailbox: open files, mappings, keyword table, map of UIDs.
//!
//! Nothing in here is believed without the index lock: each lock looks whether the files are still the same, and what
//! was computed from the index is used again only while its header is the same.

use std::io::ErrorKind;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::error::MailboxError;
use crate::format::header::MailboxHeader;
use crate::format::index::{FlagCrcs, IndexHeader, Records};
use crate::format::{Damage, Fault, be32, cache, crc32};
use crate::lock::{DataFile, DataLock, Guard, LockTable, Mapping, Recheck, Wait};
use crate::log::Level;
use crate::paths::MailboxPaths;
use crate::store::Store;
use crate::sys::{File, Map, Mode, Open, Stat};
use crate::uid::{Uid, UidMap, UidSet};

pub(crate) use self::newest::Newest;

mod newest;

/// One mailbox in this process.
#[derive(Debug)]
pub(crate) struct Hot {
    pub(crate) paths: MailboxPaths,
    index: DataFile,
    /// Keeps the descriptor of the mailbox's lock file open between uses.
    _lock_file: DataFile,
    mappings: Mutex<Vec<Mapping>>,
    state: Mutex<State>,
    /// The index is known to be of a version that can be written.
    is_modern: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    names: Option<(Stat, Arc<Names>)>,
    caches: [Option<CacheFile>; 2],
    checked: Option<Checked>,
    /// The generation whose cache is known to be damaged.
    complained: Option<u32>,
}

/// The mailbox's header file, and what follows from it.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) header: MailboxHeader,
    pub(crate) crcs: FlagCrcs,
}

impl Names {
    pub(crate) fn new(header: MailboxHeader) -> Self {
        let keywords = header
            .keywords
            .iter()
            .map(|keyword| keyword.as_ref().map(|keyword| keyword.as_str()));
        Self {
            crcs: FlagCrcs::new(keywords),
            header,
        }
    }
}

#[derive(Debug)]
struct CacheFile {
    file: File,
    stat: Stat,
    map: Option<Map>,
}

/// The index as of which all records are known to be intact, and the UIDs that are visible in it, once asked for.
#[derive(Clone, Debug)]
struct Checked {
    header: IndexHeader,
    newest: Arc<Newest>,
    uids: Option<Arc<UidMap>>,
}

impl Checked {
    /// Whether the index with this header can be the checked one with records added or changed since.
    fn may_be_grown(&self, header: &IndexHeader) -> bool {
        self.header.generation == header.generation
            && self.header.uidvalidity == header.uidvalidity
            && self.header.num_records <= header.num_records
            && self.header.highestmodseq <= header.highestmodseq
    }

    /// Whether the index with this header has the very records that were checked.
    fn has_records_of(&self, header: &IndexHeader) -> bool {
        self.header.num_records == header.num_records && self.header.highestmodseq == header.highestmodseq
    }
}

/// The locks of one mailbox, in the order in which they are released.
#[derive(Debug)]
pub(crate) struct MailboxLocks {
    pub(crate) index: DataLock,
    /// The user whose mailbox it is.
    pub(crate) owner: Option<Arc<str>>,
    _mailbox: Arc<Guard>,
    _namespace: Option<Arc<Guard>>,
}

/// The name locks of one mailbox: enough to keep its files in place. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct NameLocks {
    owner: Option<Arc<str>>,
    mailbox: Arc<Guard>,
    namespace: Option<Arc<Guard>>,
}

impl Hot {
    pub(crate) fn new(locks: &LockTable, paths: MailboxPaths) -> Self {
        Self {
            index: locks.data_file(&paths.index),
            _lock_file: locks.data_file(&paths.lock),
            mappings: Mutex::default(),
            state: Mutex::default(),
            is_modern: AtomicBool::new(false),
            paths,
        }
    }

    /// The version of the index, unless it is known to be one that can be written, or somebody is changing it.
    pub(crate) fn version_if_new(&self, store: &Store) -> Option<u32> {
        if self.is_modern.load(Ordering::Relaxed) {
            return None;
        }
        let at_once = Wait::Until(Instant::now());
        let lock = self
            .index
            .lock(Mode::Shared, at_once, Open::write(), Recheck::Replaced);
        let mut start = [0; 12];
        match lock.ok()?.file().read_at(&mut start, 0) {
            Ok(12) => be32(&start, 8),
            Ok(_) => None,
            Err(error) => {
                store.report("the version of an index cannot be told", &error.into());
                None
            }
        }
    }

    /// From now on the index is of a version that can be written.
    pub(crate) fn note_version(&self) {
        self.is_modern.store(true, Ordering::Relaxed);
    }

    /// Takes the namespace lock of the owner in this mode, then the shared mailbox lock.
    ///
    /// Mailboxes without owner have no namespace lock.
    pub(crate) fn lock_name(
        &self,
        store: &Store,
        owner: Option<&str>,
        namespace: Mode,
        mailbox: Mode,
        wait: Wait,
    ) -> Result<NameLocks, MailboxError> {
        let namespace = match owner {
            Some(owner) => {
                let path = store.options().namespace_lock_path(Some(owner));
                Some(Arc::new(store.locks().lock_file(&path, namespace, wait)?))
            }
            None => None,
        };
        self.lock_mailbox(store, owner.map(Arc::from), namespace, mailbox, wait)
    }

    /// Takes the mailbox lock for a caller that has the namespace lock, if there is one.
    pub(crate) fn lock_mailbox(
        &self,
        store: &Store,
        owner: Option<Arc<str>>,
        namespace: Option<Arc<Guard>>,
        mode: Mode,
        wait: Wait,
    ) -> Result<NameLocks, MailboxError> {
        let mailbox = Arc::new(store.locks().lock_file(&self.paths.lock, mode, wait)?);
        Ok(NameLocks {
            owner,
            mailbox,
            namespace,
        })
    }

    /// Takes the index lock on top of the name locks.
    pub(crate) fn lock_index(
        &self,
        names: NameLocks,
        mode: Mode,
        wait: Wait,
    ) -> Result<MailboxLocks, MailboxError> {
        let index = self
            .index
            .lock(mode, wait, Open::write(), Recheck::Replaced)
            .map_err(MailboxError::gone_if_missing)?;
        Ok(MailboxLocks {
            index,
            owner: names.owner,
            _mailbox: names.mailbox,
            _namespace: names.namespace,
        })
    }

    /// Takes all the locks of an operation on messages: namespace and index in `mode`, the mailbox shared.
    pub(crate) fn lock(
        &self,
        store: &Store,
        owner: Option<&str>,
        mode: Mode,
        wait: Wait,
    ) -> Result<MailboxLocks, MailboxError> {
        let names = self.lock_name(store, owner, mode, Mode::Shared, wait)?;
        self.lock_index(names, mode, wait)
    }

    /// A mapping of the index, to be given back.
    pub(crate) fn borrow_mapping(&self) -> Mapping {
        unpoisoned(&self.mappings).pop().unwrap_or_default()
    }

    /// Takes a mapping back for the next reader.
    pub(crate) fn return_mapping(&self, mapping: Mapping) {
        let mut mappings = unpoisoned(&self.mappings);
        if mappings.len() < MAX_MAPPINGS {
            mappings.push(mapping);
        }
    }

    /// The header file under the index lock.
    pub(crate) fn names(&self, store: &Store, index: &IndexHeader) -> Result<Arc<Names>, MailboxError> {
        let path = &self.paths.header;
        let damaged = |fault: Fault| MailboxError::damaged(path, fault);
        let found = store.disk().try_stat(path)?;
        let stat = found.ok_or_else(|| damaged(Fault::new(0, Damage::Missing)))?;
        if let Some((then, names)) = &unpoisoned(&self.state).names
            && then.identity() == stat.identity()
            && then.size == stat.size
            && then.modified == stat.modified
        {
            return Ok(names.clone());
        }
        let bytes = store.disk().read(path)?;
        let header = MailboxHeader::parse(&bytes).map_err(damaged)?;
        if crc32(&bytes) != index.header_file_crc && index.layout.is_writable() {
            store.log().record(
                Level::Warning,
                format_args!(
                    "{}: not the header file that the index was written with",
                    path.display()
                ),
            );
        }
        let names = Arc::new(Names::new(header));
        unpoisoned(&self.state).names = Some((stat, names.clone()));
        Ok(names)
    }

    /// The UIDs that are visible, and how new the records are, after a check of every record that may have changed since the
    /// last check.
    ///
    /// # Errors
    /// A record is damaged, or UIDs do not ascend.
    pub(crate) fn uids(
        &self,
        header: &IndexHeader,
        records: Records<'_>,
    ) -> Result<(Arc<UidMap>, Arc<Newest>), MailboxError> {
        let known = {
            let state = unpoisoned(&self.state);
            match &state.checked {
                Some(Checked {
                    header: before,
                    newest,
                    uids: Some(uids),
                }) if before == header => return Ok((uids.clone(), newest.clone())),
                Some(checked) => checked.may_be_grown(header).then(|| checked.clone()),
                None => None,
            }
        };
        let newest = match &known {
            Some(before) if before.has_records_of(header) => before.newest.clone(),
            known => Arc::new(self.check(header, records, known.as_ref())?),
        };
        let uids = known.and_then(|before| moved_on(&before.header, before.uids?, header, records, &newest));
        let uids = match uids {
            Some(uids) => uids,
            None => Arc::new(visible(records, UidMap::default(), 0).ok_or_else(|| self.out_of_order())?),
        };
        unpoisoned(&self.state).checked = Some(Checked {
            header: header.clone(),
            newest: newest.clone(),
            uids: Some(uids.clone()),
        });
        Ok((uids, newest))
    }

    /// Notes that this process has just written the index: the records that it wrote need no check.
    pub(crate) fn wrote(
        &self,
        before: &IndexHeader,
        header: &IndexHeader,
        records: Records<'_>,
        written: &[Range<u32>],
    ) {
        let mut state = unpoisoned(&self.state);
        state.checked = match state.checked.take() {
            Some(mut checked) if checked.header == *before => {
                Arc::make_mut(&mut checked.newest).look_again(records, written);
                let newest = checked.newest;
                let uids = checked
                    .uids
                    .and_then(|uids| moved_on(before, uids, header, records, &newest));
                Some(Checked {
                    header: header.clone(),
                    newest,
                    uids,
                })
            }
            // Somebody else wrote in between: all that is newer than what was checked will be.
            other => other,
        };
    }

    /// Checks the records that were not there when others were checked, and those among the others that have changed.
    fn check(
        &self,
        header: &IndexHeader,
        records: Records<'_>,
        known: Option<&Checked>,
    ) -> Result<Newest, MailboxError> {
        let (known_records, known_modseq) = known.map_or((0, 0), |known| {
            (known.header.num_records, known.header.highestmodseq)
        });
        let mut newest = Newest::default();
        let mut last = 0;
        for (number, record) in (0_u32..).zip(records.iter()) {
            let is_known = number < known_records;
            let modseq = record.modseq();
            if (!is_known || modseq > known_modseq) && !record.is_intact() {
                return Err(self.damaged_record(header, number, Fault::new(0, Damage::Crc("index record"))));
            }
            if !is_known && record.uid() <= last {
                return Err(self.damaged_record(
                    header,
                    number,
                    Fault::new(0, Damage::Impossible("order of UIDs")),
                ));
            }
            last = record.uid();
            newest.note(number, modseq);
        }
        Ok(newest)
    }

    /// Damage in record `number`.
    pub(crate) fn damaged_record(&self, header: &IndexHeader, number: u32, fault: Fault) -> MailboxError {
        MailboxError::damaged(&self.paths.index, fault.shifted(header.offset_of(number)))
    }

    fn out_of_order(&self) -> MailboxError {
        MailboxError::damaged(
            &self.paths.index,
            Fault::new(0, Damage::Impossible("order of UIDs")),
        )
    }

    /// The content of the cache file, under the index lock; nothing if there is none of this generation.
    ///
    /// A cache file only ever grows, and is replaced by a rename: what is mapped of it stays as it is.
    pub(crate) fn cache_map(
        &self,
        store: &Store,
        archived: bool,
        generation: u32,
    ) -> Result<Option<Map>, MailboxError> {
        let mut state = unpoisoned(&self.state);
        let Some(cache) = self.cache_file(store, &mut state, archived)? else {
            return Ok(None);
        };
        let size = usize::try_from(cache.stat.size).unwrap_or(usize::MAX);
        let map = match cache.map.take().and_then(|map| map.resized(size)) {
            Some(map) => map,
            None => cache.file.map(size, (size / 4).max(CACHE_RESERVE))?,
        };
        cache.map = Some(map.clone());
        Ok((cache::generation(&map) == Some(generation)).then_some(map))
    }

    /// Whether damage to the cache of this generation has not been told of yet; it counts as told then.
    pub(crate) fn complains_of_cache(&self, generation: u32) -> bool {
        unpoisoned(&self.state).complained.replace(generation) != Some(generation)
    }

    /// Writes records to the end of the cache file, under the exclusive index lock, and tells the file and the offset of
    /// the first. Durable after a sync of the file. `None` if the cache belongs to another generation of the index:
    /// then it must be left alone until the next repack.
    ///
    /// Archived messages have a cache of their own, which may be the same file.
    pub(crate) fn append_cache<'a>(
        &self,
        store: &Store,
        archived: bool,
        generation: u32,
        records: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<(File, u64)>, MailboxError> {
        let mut state = unpoisoned(&self.state);
        let archived = archived && !self.paths.caches_are_one();
        if self.cache_file(store, &mut state, archived)?.is_none() {
            let path = self.paths.cache_of(archived);
            let file = store.disk().open_making_dirs(path, Open::create())?;
            let stat = file.stat()?;
            state.caches[usize::from(archived)] = Some(CacheFile {
                file,
                stat,
                map: None,
            });
        }
        let Some(cache) = &mut state.caches[usize::from(archived)] else {
            return Ok(None);
        };
        if cache.stat.size < cache::FIRST_OFFSET {
            cache.file.write_at(&generation.to_be_bytes(), 0)?;
            cache.stat.size = cache::FIRST_OFFSET;
        } else {
            let mut word = [0; 4];
            cache.file.read_exact_at(&mut word, 0)?;
            if u32::from_be_bytes(word) != generation {
                return Ok(None);
            }
        }
        let start = cache.stat.size.next_multiple_of(4);
        let mut end = start;
        let mut piece = Vec::new();
        let mut records = records.into_iter().peekable();
        while let Some(record) = records.next() {
            piece.extend_from_slice(record);
            if piece.len() >= CACHE_PIECE || records.peek().is_none() {
                cache.file.write_at(&piece, end)?;
                end += piece.len() as u64;
                piece.clear();
            }
        }
        cache.stat.size = end;
        Ok(Some((cache.file.clone(), start)))
    }

    /// The open cache file, if it is still the one of that name, else opened anew; its size is that of now.
    fn cache_file<'a>(
        &self,
        store: &Store,
        state: &'a mut State,
        archived: bool,
    ) -> Result<Option<&'a mut CacheFile>, MailboxError> {
        let path = self.paths.cache_of(archived);
        let slot = &mut state.caches[usize::from(archived)];
        let Some(now) = store.disk().try_stat(path)? else {
            *slot = None;
            return Ok(None);
        };
        match slot {
            Some(known) if known.stat.identity() == now.identity() => known.stat = now,
            _ => {
                let opened = match store.disk().try_open(path, Open::write()) {
                    // Enough for those who only read.
                    Err(error) if error.source.kind() == ErrorKind::PermissionDenied => {
                        store.disk().try_open(path, Open::read())?
                    }
                    done => done?,
                };
                let Some(file) = opened else { return Ok(None) };
                let stat = file.stat()?;
                *slot = Some(CacheFile {
                    file,
                    stat,
                    map: None,
                });
            }
        }
        Ok(slot.as_mut())
    }
}

/// The map of a mailbox after records were added and others changed, expunged among them; `None` if that cannot be told.
fn moved_on(
    before: &IndexHeader,
    uids: Arc<UidMap>,
    header: &IndexHeader,
    records: Records<'_>,
    newest: &Newest,
) -> Option<Arc<UidMap>> {
    let added = header.num_records.checked_sub(before.num_records)?;
    if before.generation != header.generation {
        return None;
    }
    let none_gone = header.exists.checked_sub(before.exists) == Some(added);
    if none_gone && added == 0 {
        return Some(uids);
    }
    let mut map = Arc::unwrap_or_clone(uids);
    if !none_gone {
        let changed = newest.since(records, before.highestmodseq);
        let gone = changed.filter(|(number, record)| *number < before.num_records && record.is_expunged());
        let gone: UidSet = gone.filter_map(|(_, record)| Uid::new(record.uid())).collect();
        map.remove_all(&gone);
    }
    let map = visible(records, map, before.num_records)?;
    (map.len() == header.exists).then(|| Arc::new(map))
}

/// Adds the visible UIDs from record number `first` on; `None` if they do not ascend.
fn visible(records: Records<'_>, mut map: UidMap, first: u32) -> Option<UidMap> {
    for record in records.from(first).filter(|record| !record.is_expunged()) {
        if !map.push(Uid::new(record.uid())?) {
            return None;
        }
    }
    Some(map)
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Mappings of an index that are kept for the next readers.
const MAX_MAPPINGS: usize = 4;
/// Room mapped past the end of a cache file, so that it can grow without being mapped again.
const CACHE_RESERVE: usize = 256 * 1024;
/// Cache records are written in pieces of about this size.
const CACHE_PIECE: usize = 1 << 20;
