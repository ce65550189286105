//! Skiplist databases: locking, transactions, recovery and checkpoints.
//!
//! A transaction collects its changes in memory and writes them in three steps, each synced before the next:
//! the records at the end of the log, the changed pointers, the commit record. A file that does not end in
//! a commit was left by a writer that died; the log tells what was committed, and whoever locks the file next
//! writes it anew from that.

mod dump;
mod log;
mod txn;
mod view;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::staged::Staged;
use super::{Create, Db, DbContext, DbError, Each, Engine, Entry, Line, Problem, Recovered, Report, Txn};
use crate::format::skiplist::{self as format, Header, Kind, LISTS};
use crate::lock::{DataFile, DataLock, Mapping};
use crate::sys::{Mode, Open};

use txn::SkiplistTxn;
use view::{Patches, View};

/// A skiplist file.
pub(super) struct Skiplist {
    context: DbContext,
    file: DataFile,
    map: Mapping,
    how: Open,
    levels: Levels,
}

impl Skiplist {
    /// A handle for a file that may be missing or damaged.
    pub(super) fn new(context: &DbContext, path: &Path, create: Create) -> Self {
        let how = Open {
            create,
            ..Open::create().mode(0o644)
        };
        let file = context.locks.data_file(path);
        Self {
            context: context.clone(),
            file,
            map: Mapping::default(),
            how,
            levels: Levels::new(),
        }
    }

    pub(super) fn open(context: &DbContext, path: &Path, create: Create) -> Result<Self, DbError> {
        let mut db = Self::new(context, path, create);
        let (lock, header) = db.read_lock()?;
        drop(lock);
        if db.is_older_than_skipstamp(&header)? {
            db.recover()?;
        }
        Ok(db)
    }

    /// Whether the file was not recovered since the system as a whole was. Without a stamp nothing is known
    /// of the system, so every file has to be recovered.
    fn is_older_than_skipstamp(&self, header: &Header) -> Result<bool, DbError> {
        let Some(path) = &self.context.skipstamp else {
            return Ok(false);
        };
        let stamp = match self.context.locks.disk().try_open(path, Open::read())? {
            Some(file) => file.read_all()?,
            None => Vec::new(),
        };
        let stamp = stamp.first_chunk().map_or(0, |word| u32::from_be_bytes(*word));
        Ok(stamp == 0 || header.last_recovery < stamp)
    }

    fn lock(&self, mode: Mode) -> Result<DataLock, DbError> {
        super::lock_data(&self.context, &self.file, mode, self.how)
    }

    /// A shared lock on a file that ends in a commit, and its header.
    fn read_lock(&mut self) -> Result<(DataLock, Header), DbError> {
        loop {
            let lock = self.lock(Mode::Shared)?;
            let bytes = self.map.refresh(&lock)?;
            if !bytes.is_empty() {
                let header = header_of(self.file.path(), bytes)?;
                if format::ends_in_commit(bytes, &header) {
                    return Ok((lock, header));
                }
            }
            drop(lock);
            drop(self.write_lock()?);
        }
    }

    /// The exclusive lock on a file that ends in a commit, and its header.
    fn write_lock(&mut self) -> Result<(DataLock, Header), DbError> {
        let mut lock = self.lock(Mode::Exclusive)?;
        let bytes = self.map.refresh(&lock)?;
        if bytes.is_empty() {
            self.write_anew(&mut lock, &[])?;
        } else {
            let header = header_of(self.file.path(), bytes)?;
            if format::ends_in_commit(bytes, &header) {
                return Ok((lock, header));
            }
            self.rebuild(&mut lock)?;
        }
        let header = header_of(self.file.path(), self.map.refresh(&lock)?)?;
        Ok((lock, header))
    }

    /// Writes the file anew from its log, so far as that is committed.
    fn rebuild(&mut self, lock: &mut DataLock) -> Result<u64, DbError> {
        // The content is copied since the lock passes to the new file while the old one is read.
        let bytes = self.map.refresh(lock)?.to_vec();
        let replayed = log::replay(self.file.path(), &bytes)?;
        self.write_anew(lock, &replayed.entries())?;
        Ok(replayed.len() as u64)
    }

    /// Replaces the file by one with these keys, which are in order, and an empty log.
    fn write_anew(
        &mut self,
        lock: &mut DataLock,
        entries: &[(Entry<'_>, Option<usize>)],
    ) -> Result<(), DbError> {
        let path = self.file.path();
        let levels: Vec<usize> = entries
            .iter()
            .map(|(_, level)| level.unwrap_or_else(|| self.levels.draw()))
            .collect();
        let dummy_size = format::size_of_record(b"", b"", LISTS);
        let mut end = u64::from(format::DUMMY) + dummy_size;
        let mut places = Vec::with_capacity(entries.len());
        for (((key, value), _), level) in entries.iter().zip(&levels) {
            places.push(u32::try_from(end).map_err(|_| too_large(path))?);
            end += format::size_of_record(key, value, *level);
        }
        let log_start = u32::try_from(end).map_err(|_| too_large(path))?;
        let mut links = [0; LISTS];
        let mut pointers: Vec<Vec<u32>> = Vec::with_capacity(entries.len());
        for (place, level) in places.iter().zip(&levels).rev() {
            pointers.push(links.iter().copied().take(*level).collect());
            links.iter_mut().take(*level).for_each(|link| *link = *place);
        }
        let header = Header {
            max_level: LISTS as u32,
            level: levels.iter().copied().max().unwrap_or(1) as u32,
            list_size: entries.len() as u32,
            log_start,
            last_recovery: now(),
        };
        let disk = self.context.locks.disk().clone();
        let new = Staged::write(&*disk, path, 0o644, |new| {
            let mut piece = header.encode().to_vec();
            let mut start = 0;
            format::put_record(&mut piece, Kind::Dummy, b"", b"", &links);
            for (((key, value), _), pointers) in entries.iter().zip(pointers.into_iter().rev()) {
                format::put_record(&mut piece, Kind::InOrder, key, value, &pointers);
                if piece.len() >= PIECE {
                    new.write_at(&piece, start)?;
                    start += piece.len() as u64;
                    piece.clear();
                }
            }
            new.write_at(&piece, start)
        })?;
        // The old file keeps its content: readers elsewhere may have it mapped until they lock it again.
        new.install(&*disk, lock)?;
        Ok(())
    }

    /// Does something that reads, and if it meets damage once more after writing the file anew from its log:
    /// the pointers are not under a checksum, and after a power failure may be newer than the log.
    fn reading<T>(&mut self, mut read: impl FnMut(&View<'_>) -> Result<T, DbError>) -> Result<T, DbError> {
        let (lock, header) = self.read_lock()?;
        let patches = Patches::new();
        let view = View::new(self.file.path(), self.map.held(&lock), &[], &header, &patches);
        match read(&view) {
            Err(DbError::Damaged { .. }) => {}
            done => return done,
        }
        drop(lock);
        let (mut lock, _) = self.write_lock()?;
        self.rebuild(&mut lock)?;
        drop(lock);
        let (lock, header) = self.read_lock()?;
        read(&View::new(
            self.file.path(),
            self.map.held(&lock),
            &[],
            &header,
            &patches,
        ))
    }
}

impl Db for Skiplist {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn engine(&self) -> Engine {
        Engine::Skiplist
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        self.reading(|view| view.get(key))
    }

    fn scan(&mut self, prefix: &[u8], each: Each<'_>) -> Result<(), DbError> {
        self.scan_from(prefix, &mut |key, value| {
            if key.starts_with(prefix) {
                each(key, value)
            } else {
                ControlFlow::Break(())
            }
        })
    }

    fn scan_from(&mut self, start: &[u8], each: Each<'_>) -> Result<(), DbError> {
        // If damage is met on the way, the scan goes on in the new file after the last key it has shown.
        let mut last: Option<Vec<u8>> = None;
        self.reading(|view| {
            let resume = last.clone();
            view.scan_from(resume.as_deref().unwrap_or(start), &mut |key, value| {
                if resume.as_deref() == Some(key) {
                    return ControlFlow::Continue(());
                }
                last = Some(key.to_vec());
                each(key, value)
            })
        })
    }

    fn begin(&mut self) -> Result<Box<dyn Txn + '_>, DbError> {
        let (lock, header) = self.write_lock()?;
        Ok(Box::new(SkiplistTxn::new(self, lock, header)))
    }

    fn check(&mut self) -> Result<Report, DbError> {
        let lock = self.lock(Mode::Shared)?;
        let bytes = self.map.refresh(&lock)?;
        let size = bytes.len() as u64;
        let mut report = Report {
            engine: Engine::Skiplist,
            records: 0,
            size,
            clean: true,
            problems: Vec::new(),
        };
        if let Err(error) = log::check(self.file.path(), bytes, &mut report) {
            report.problems.push(match error {
                DbError::Damaged { at, what, .. } => Problem { at, what },
                other => return Err(other),
            });
        }
        Ok(report)
    }

    fn recover(&mut self) -> Result<Recovered, DbError> {
        let report = self.check()?;
        let mut lock = self.lock(Mode::Exclusive)?;
        let records = self.rebuild(&mut lock)?;
        Ok(if report.clean && report.is_consistent() {
            Recovered::Clean { records }
        } else {
            Recovered::Rebuilt { records }
        })
    }

    fn dump(&mut self, line: Line<'_>) -> Result<(), DbError> {
        let lock = self.lock(Mode::Shared)?;
        dump::dump(self.file.path(), self.map.refresh(&lock)?, line)
    }

    fn checkpoint(&mut self) -> Result<(), DbError> {
        let (mut lock, _) = self.write_lock()?;
        self.rebuild(&mut lock)?;
        Ok(())
    }
}

fn header_of(path: &Path, bytes: &[u8]) -> Result<Header, DbError> {
    Header::parse(bytes).map_err(|damage| DbError::foreign(path, damage.to_string()))
}

fn too_large(path: &Path) -> DbError {
    let what = "a skiplist file cannot grow past 4 GiB; convert it with cvt_cyrusdb to twoskip";
    DbError::Unsuitable {
        path: path.to_owned(),
        what,
    }
}

/// The time as skiplist files tell it.
pub(super) fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Draws the levels of new records: 1, and one more as long as a coin falls heads.
#[derive(Debug)]
struct Levels(u64);

impl Levels {
    fn new() -> Self {
        Self(RandomState::new().build_hasher().finish() | 1)
    }

    fn draw(&mut self) -> usize {
        // xorshift64: cheap, and nothing but the balance of the lists depends on it.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (1 + (self.0 >> 32).trailing_ones() as usize).min(LISTS)
    }
}

/// How much is written at a time.
const PIECE: usize = 1 << 20;
