//! Taking out of a damaged database whatever can still be read, where [`recover`](super::recover) has to give up.
//!
//! Recovery never guesses; this does, and therefore only on demand. Every record that proves intact is kept, in the order
//! in which the file was written; what lies between is stepped over. The damaged file stays beside the new one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::maintain::recover;
use super::{Create, DbContext, DbError, Engine, Recovered, engine_of, lock_data, open};
use crate::format::{flat, skiplist, twoskip};
use crate::sys::{Mode, Open};

/// The result of [`salvage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Salvage {
    /// Nothing had to be guessed.
    Recovered(Recovered),
    /// The file was replaced by one with what could be read.
    Salvaged {
        /// Keys in the new file.
        records: u64,
        /// Places in the old one that could not be read.
        damaged: u64,
        /// Where the old file is now.
        aside: PathBuf,
    },
}

/// What can be read of a damaged database.
#[derive(Debug, Default)]
pub(super) struct Readable {
    pub(super) keys: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) damaged: u64,
}

/// Mends a database, and where that cannot be done without guessing, replaces it by one with every key of which the last
/// value can be read. The damaged file is kept beside it, as `NAME.damaged.NUMBER`.
///
/// `configured` is the engine of a file whose first octets do not tell. Quota files are not touched: each is a file of
/// its own.
///
/// # Errors
/// The file cannot be read, or the new one not be written.
pub fn salvage(context: &DbContext, path: &Path, configured: Engine) -> Result<Salvage, DbError> {
    match recover(context, path, configured) {
        Ok(recovered) => return Ok(Salvage::Recovered(recovered)),
        Err(DbError::Damaged { .. }) => {}
        Err(other) => return Err(other),
    }
    let engine = engine_of(context, path, configured)?;
    let file = context.locks.data_file(path);
    let mut lock = lock_data(context, &file, Mode::Exclusive, Open::write())?;
    let readable = readable(engine, &lock.file().read_all()?);
    let disk = context.locks.disk().clone();
    let mut name = path.as_os_str().to_owned();
    name.push(".SALVAGED");
    let beside = PathBuf::from(name);
    disk.unlink_if_exists(&beside)?;
    let mut new = open(context, &beside, engine, Create::Yes)?;
    let mut txn = new.begin()?;
    for (key, value) in &readable.keys {
        txn.put(key, value)?;
    }
    txn.commit()?;
    drop(new);
    let aside = put_aside(context, path)?;
    lock.replace(&*disk, disk.open(&beside, Open::write())?)?;
    if let Some(directory) = path.parent() {
        disk.sync_dir(directory)?;
    }
    Ok(Salvage::Salvaged {
        records: readable.keys.len() as u64,
        damaged: readable.damaged,
        aside,
    })
}

/// Gives a file a second name, `NAME.damaged.NUMBER`, under which it stays when another takes its place.
pub(crate) fn put_aside(context: &DbContext, path: &Path) -> Result<PathBuf, DbError> {
    let disk = context.locks.disk();
    let mut number = u64::from(super::skiplist::now());
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged.{number}"));
        let aside = PathBuf::from(name);
        match disk.link(path, &aside) {
            Ok(()) => return Ok(aside),
            Err(error) if error.is_already_exists() => number = number.saturating_add(1),
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) fn readable(engine: Engine, bytes: &[u8]) -> Readable {
    match engine {
        Engine::Twoskip => of_twoskip(bytes),
        Engine::Skiplist => of_skiplist(bytes),
        Engine::Flat => of_flat(bytes),
        Engine::QuotaLegacy => Readable::default(),
    }
}

/// The keys as they change while the records of a file are read in their order.
#[derive(Default)]
struct Replay {
    now: BTreeMap<Vec<u8>, Entry>,
    /// Changes since the last commit, to be taken back if it was the last.
    undo: Vec<(Vec<u8>, Option<Entry>)>,
    /// The keys of all records met, by their place.
    keys: BTreeMap<u64, Vec<u8>>,
}

#[derive(Clone)]
struct Entry {
    value: Vec<u8>,
    /// The records that may follow in the lowest list.
    next: [u64; 2],
}

impl Replay {
    fn add(&mut self, at: u64, key: &[u8], value: &[u8], next: [u64; 2]) {
        self.keys.insert(at, key.to_vec());
        let entry = Entry {
            value: value.to_vec(),
            next,
        };
        let before = self.now.insert(key.to_vec(), entry);
        self.undo.push((key.to_vec(), before));
    }

    fn remove(&mut self, key: Vec<u8>) {
        let before = self.now.remove(&key);
        self.undo.push((key, before));
    }

    /// The record before the one at `next` was deleted. Where records are missing it may not be the one that went: it is
    /// only if it led there itself.
    fn remove_before(&mut self, next: u64) {
        let gone = match next {
            0 => self.now.iter().next_back(),
            next => match self.keys.get(&next) {
                Some(key) => self.now.range::<Vec<u8>, _>(..key).next_back(),
                None => return,
            },
        };
        if let Some(key) = gone
            .filter(|(_, entry)| entry.next.contains(&next))
            .map(|(key, _)| key.clone())
        {
            self.remove(key);
        }
    }

    fn into_readable(mut self, keep_unfinished: bool, damaged: u64) -> Readable {
        while let Some((key, before)) = self.undo.pop().filter(|_| !keep_unfinished) {
            match before {
                Some(entry) => self.now.insert(key, entry),
                None => self.now.remove(&key),
            };
        }
        let keys = self.now.into_iter().map(|(key, entry)| (key, entry.value));
        Readable {
            keys: keys.collect(),
            damaged,
        }
    }
}

fn of_twoskip(bytes: &[u8]) -> Readable {
    use twoskip::{BLANK, DUMMY, Header, Kind, Record};
    let committed = Header::parse(bytes)
        .ok()
        .and_then(|header| usize::try_from(header.current_size).ok())
        .filter(|size| *size <= bytes.len());
    let bytes = bytes.get(..committed.unwrap_or(bytes.len())).unwrap_or(bytes);
    let mut replay = Replay::default();
    let mut gap = Gap::new(committed.is_none());
    let mut at = usize::try_from(DUMMY).unwrap_or(usize::MAX);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(BLANK) {
            at += BLANK.len();
            continue;
        }
        let place = at as u64;
        match Record::salvage(rest) {
            Ok(record) => {
                gap.ends();
                match record.kind {
                    Kind::Live => {
                        replay.add(
                            place,
                            record.key,
                            record.value,
                            [record.pointer(0), record.pointer(1)],
                        );
                    }
                    Kind::Delete => replay.remove_before(record.pointer(0)),
                    Kind::Commit => replay.undo.clear(),
                    Kind::Dummy => {}
                }
                at += record.size().max(8);
            }
            // The lengths have a checksum: what is wrong is the key or the value.
            Err(_) => match Record::parse(rest) {
                Ok(record) => {
                    gap.counts();
                    replay.keys.insert(place, record.key.to_vec());
                    at += record.size().max(8);
                }
                Err(_) => {
                    gap.goes_on();
                    at += 8;
                }
            },
        }
    }
    // Without a header nothing tells where the last commit was, and its own mark may be what is damaged.
    replay.into_readable(gap.damaged > 0, gap.damaged)
}

/// Skiplist files have no checksums: a record counts as intact if its lengths and pointers lead nowhere outside the file.
fn of_skiplist(bytes: &[u8]) -> Readable {
    use skiplist::{DUMMY, Kind, Record};
    let mut replay = Replay::default();
    let mut gap = Gap::new(skiplist::Header::parse(bytes).is_err());
    let mut at = DUMMY as usize;
    let mut in_gap = false;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let plausible = |record: &Record<'_>| match record.kind {
            Kind::InOrder | Kind::Add => {
                let leads_outside = |pointer: &u32| *pointer as usize >= bytes.len();
                record.level() > 0 && !record.key.is_empty() && !record.pointers().iter().any(leads_outside)
            }
            Kind::Dummy => at == DUMMY as usize,
            // Four or eight octets are too few to tell where the records go on.
            Kind::Delete | Kind::Commit => !in_gap,
        };
        let Some(record) = Record::parse(rest).ok().filter(plausible) else {
            in_gap = true;
            gap.goes_on();
            at += 4;
            continue;
        };
        in_gap = false;
        gap.ends();
        match record.kind {
            Kind::InOrder | Kind::Add => replay.add(at as u64, record.key, record.value, [0; 2]),
            Kind::Delete => {
                if let Some(key) = replay.keys.get(&u64::from(record.target)).cloned() {
                    replay.remove(key);
                }
            }
            Kind::Commit => replay.undo.clear(),
            Kind::Dummy => {}
        }
        at += record.size.max(4);
    }
    replay.into_readable(gap.damaged > 0, gap.damaged)
}

/// Whole lines with a key; of a key that is there twice, the last.
fn of_flat(bytes: &[u8]) -> Readable {
    let mut readable = Readable::default();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match flat::line(bytes, at) {
            Ok(Some(line)) if !line.key.is_empty() => {
                let before = (readable.keys).insert(flat::unescape(line.key), flat::unescape(line.value));
                readable.damaged += u64::from(before.is_some());
                at = line.next;
            }
            _ => {
                readable.damaged += 1;
                let end = rest.iter().position(|byte| *byte == b'\n');
                at = at.saturating_add(end.map_or(rest.len(), |end| end + 1));
            }
        }
    }
    readable
}

/// Counts stretches that cannot be read.
struct Gap {
    damaged: u64,
    open: bool,
}

impl Gap {
    fn new(damaged: bool) -> Self {
        Self {
            damaged: u64::from(damaged),
            open: false,
        }
    }

    fn goes_on(&mut self) {
        self.damaged += u64::from(!self.open);
        self.open = true;
    }

    fn counts(&mut self) {
        self.damaged += 1;
        self.open = false;
    }

    fn ends(&mut self) {
        self.open = false;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::lock::LockTable;
    use crate::sys::RealDisk;

    fn context() -> DbContext {
        DbContext::new(LockTable::new(Arc::new(RealDisk)))
    }

    /// A database of a hundred keys, a third of them replaced, a few deleted.
    fn filled(path: &Path, engine: Engine) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut db = open(&context(), path, engine, Create::Yes).unwrap();
        let mut keys = BTreeMap::new();
        for number in 0..100_u32 {
            let (key, value) = (format!("key {number:03}"), format!("value {number}"));
            db.put(key.as_bytes(), value.as_bytes()).unwrap();
            keys.insert(key.into_bytes(), value.into_bytes());
        }
        for number in (0..100).step_by(3) {
            let (key, value) = (format!("key {number:03}"), format!("newer value {number}"));
            db.put(key.as_bytes(), value.as_bytes()).unwrap();
            keys.insert(key.into_bytes(), value.into_bytes());
        }
        for number in (1..100).step_by(20) {
            let key = format!("key {number:03}");
            db.remove(key.as_bytes()).unwrap();
            keys.remove(key.as_bytes());
        }
        keys
    }

    #[test]
    fn all_of_an_intact_file_is_readable() {
        let dir = tempfile::tempdir().unwrap();
        for engine in [Engine::Twoskip, Engine::Skiplist, Engine::Flat] {
            let path = dir.path().join(format!("{engine}.db"));
            let keys = filled(&path, engine);
            let found = readable(engine, &std::fs::read(&path).unwrap());
            assert_eq!((found.keys, found.damaged), (keys, 0), "{engine}");
            let done = salvage(&context(), &path, engine).unwrap();
            assert!(
                matches!(done, Salvage::Recovered(Recovered::Clean { .. })),
                "{done:?}"
            );
        }
    }

    #[test]
    fn a_hole_costs_the_keys_in_it_and_the_damaged_file_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        for engine in [Engine::Twoskip, Engine::Skiplist] {
            let path = dir.path().join(format!("{engine}.db"));
            let keys = filled(&path, engine);
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle..middle + 200].fill(0xfe);
            std::fs::write(&path, &bytes).unwrap();
            let done = salvage(&context(), &path, engine).unwrap();
            let Salvage::Salvaged {
                records,
                damaged,
                aside,
            } = done
            else {
                panic!("{engine}: {done:?}");
            };
            assert!(
                damaged > 0 && records > 85,
                "{engine}: {records} records, {damaged} damaged"
            );
            assert_eq!(std::fs::read(&aside).unwrap(), bytes, "{engine}");
            let mut db = open(&context(), &path, engine, Create::No).unwrap();
            assert!(db.check().unwrap().is_consistent(), "{engine}");
            let mut same = 0;
            for (key, value) in &keys {
                same += u32::from(db.get(key).unwrap().as_ref() == Some(value));
            }
            assert!(same > 80, "{engine}: {same} of {} are as they were", keys.len());
        }
    }

    #[test]
    fn whole_lines_of_a_text_file_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bovik.sub");
        std::fs::write(&path, b"a\tone\nno tab\nb\ttwo\n\tno key\nc\tcut of").unwrap();
        let done = salvage(&context(), &path, Engine::Flat).unwrap();
        assert!(
            matches!(
                done,
                Salvage::Salvaged {
                    records: 2,
                    damaged: 3,
                    ..
                }
            ),
            "{done:?}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"a\tone\nb\ttwo\n");
    }

    proptest::proptest! {
        #[test]
        fn noise_is_no_trouble(noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000)) {
            for engine in [Engine::Twoskip, Engine::Skiplist, Engine::Flat] {
                readable(engine, &noise);
            }
        }
    }
}
