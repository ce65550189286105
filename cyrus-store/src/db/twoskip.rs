//! Twoskip databases: locking, transactions, recovery and checkpoints.
//!
//! A transaction collects its changes in memory and writes them in three steps, each synced before the next:
//! the header marked dirty; the appended records and the changed pointers; the clean header, which is the
//! commit. A file that is marked dirty, or longer than its header says, was left by a writer that died:
//! whoever locks it next undoes the unfinished part ([`recover`]).

mod anew;
mod dump;
mod recover;
mod txn;
mod view;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use super::staged::Staged;
use super::{Create, Db, DbContext, DbError, Each, Engine, Entry, Line, Recovered, Report, Txn};
use crate::format::twoskip::{self as format, Damage, Header};
use crate::lock::{DataFile, DataLock, Mapping};
use crate::sys::{Disk, Mode, Open};

use txn::TwoskipTxn;
use view::View;

/// A twoskip file.
pub(super) struct Twoskip {
    context: DbContext,
    file: DataFile,
    map: Mapping,
    how: Open,
    levels: Levels,
}

impl Twoskip {
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
        drop(db.read_lock()?);
        Ok(db)
    }

    fn disk(&self) -> Arc<dyn Disk> {
        self.context.locks.disk().clone()
    }

    fn lock(&self, mode: Mode) -> Result<DataLock, DbError> {
        super::lock_data(&self.context, &self.file, mode, self.how)
    }

    /// A shared lock on a clean file, and its header.
    fn read_lock(&mut self) -> Result<(DataLock, Header), DbError> {
        loop {
            let lock = self.lock(Mode::Shared)?;
            let bytes = self.map.refresh(&lock)?;
            if !bytes.is_empty() {
                let header = header_of(self.file.path(), bytes)?;
                if is_clean(&header, bytes) {
                    return Ok((lock, header));
                }
            }
            drop(lock);
            // Empty, or left unfinished: mend it alone, then look again.
            drop(self.write_lock()?);
        }
    }

    /// The exclusive lock on a clean file, and its header.
    fn write_lock(&mut self) -> Result<(DataLock, Header), DbError> {
        let mut lock = self.lock(Mode::Exclusive)?;
        let bytes = self.map.refresh(&lock)?;
        if bytes.is_empty() {
            self.fill_new(&mut lock)?;
            let bytes = self.map.refresh(&lock)?;
            let header = header_of(self.file.path(), bytes)?;
            return Ok((lock, header));
        }
        let header = header_of(self.file.path(), bytes)?;
        if is_clean(&header, bytes) {
            return Ok((lock, header));
        }
        let header = recover::mend(&mut lock, &mut self.map, &header)?;
        self.map.refresh(&lock)?;
        Ok((lock, header))
    }

    /// Gives an empty file its content, all at once.
    fn fill_new(&self, lock: &mut DataLock) -> Result<(), DbError> {
        let disk = self.disk();
        let new = Staged::write(&*disk, self.file.path(), 0o644, |new| {
            new.write_at(&format::empty_file(1), 0)
        })?;
        new.install(&*disk, lock)?;
        Ok(())
    }

    /// Replaces the file by one with the keys that its transactions, one after the other, have left.
    fn rebuild(&mut self, lock: &mut DataLock) -> Result<u64, DbError> {
        let disk = self.disk();
        let (keys, generation) = recover::replay(self.file.path(), self.map.refresh(lock)?)?;
        let entries: Vec<Entry<'_>> = keys
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_slice()))
            .collect();
        let generation = generation.saturating_add(1);
        let new = anew::write(&*disk, self.file.path(), &entries, generation, &mut self.levels)?;
        new.install(&*disk, lock)?;
        Ok(entries.len() as u64)
    }

    /// Replaces the file by one that holds the same keys and nothing else.
    fn rewrite(&mut self, lock: &mut DataLock, header: &Header) -> Result<(), DbError> {
        let disk = self.disk();
        let patches = Patches::new();
        let view = View::committed(self.file.path(), self.map.refresh(lock)?, header, &patches);
        let generation = header.generation.saturating_add(1);
        let new = anew::write(
            &*disk,
            self.file.path(),
            &view.entries()?,
            generation,
            &mut self.levels,
        )?;
        new.install(&*disk, lock)?;
        Ok(())
    }
}

impl Db for Twoskip {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn engine(&self) -> Engine {
        Engine::Twoskip
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        let (lock, header) = self.read_lock()?;
        View::committed(self.file.path(), self.map.held(&lock), &header, &Patches::new()).get(key)
    }

    fn scan(&mut self, prefix: &[u8], each: Each<'_>) -> Result<(), DbError> {
        let (lock, header) = self.read_lock()?;
        View::committed(self.file.path(), self.map.held(&lock), &header, &Patches::new()).scan(prefix, each)
    }

    fn scan_from(&mut self, start: &[u8], each: Each<'_>) -> Result<(), DbError> {
        let (lock, header) = self.read_lock()?;
        View::committed(self.file.path(), self.map.held(&lock), &header, &Patches::new())
            .scan_from(start, each)
    }

    fn begin(&mut self) -> Result<Box<dyn Txn + '_>, DbError> {
        let (lock, header) = self.write_lock()?;
        Ok(Box::new(TwoskipTxn::new(self, lock, header)))
    }

    fn check(&mut self) -> Result<Report, DbError> {
        let lock = self.lock(Mode::Shared)?;
        let bytes = self.map.refresh(&lock)?;
        Ok(recover::check(self.file.path(), bytes))
    }

    fn recover(&mut self) -> Result<Recovered, DbError> {
        let mut lock = self.lock(Mode::Exclusive)?;
        let bytes = self.map.refresh(&lock)?;
        if bytes.is_empty() {
            self.fill_new(&mut lock)?;
            return Ok(Recovered::Clean { records: 0 });
        }
        let report = recover::check(self.file.path(), bytes);
        if report.clean && report.is_consistent() {
            return Ok(Recovered::Clean {
                records: report.records,
            });
        }
        let mended = match Header::parse(bytes) {
            Ok(header) => recover::mend(&mut lock, &mut self.map, &header),
            Err(damage @ (Damage::Short | Damage::Magic | Damage::Version(_))) => {
                return Err(DbError::foreign(self.file.path(), damage.to_string()));
            }
            Err(damage) => Err(DbError::damaged(self.file.path(), 0, damage.to_string())),
        };
        match mended {
            Ok(header) if recover::check(self.file.path(), self.map.refresh(&lock)?).is_consistent() => {
                Ok(Recovered::Mended {
                    records: header.records,
                })
            }
            Ok(_) | Err(DbError::Damaged { .. }) => Ok(Recovered::Rebuilt {
                records: self.rebuild(&mut lock)?,
            }),
            Err(other) => Err(other),
        }
    }

    fn dump(&mut self, line: Line<'_>) -> Result<(), DbError> {
        let lock = self.lock(Mode::Shared)?;
        dump::dump(self.file.path(), self.map.refresh(&lock)?, line)
    }

    fn checkpoint(&mut self) -> Result<(), DbError> {
        let (mut lock, header) = self.write_lock()?;
        self.rewrite(&mut lock, &header)
    }
}

/// Pointers of records that differ from those in the file, by the record's offset.
type Patches = BTreeMap<u64, Vec<u64>>;

fn header_of(path: &Path, bytes: &[u8]) -> Result<Header, DbError> {
    Header::parse(bytes).map_err(|damage| match damage {
        Damage::Short | Damage::Magic | Damage::Version(_) => DbError::foreign(path, damage.to_string()),
        damage => DbError::damaged(path, 0, damage.to_string()),
    })
}

fn is_clean(header: &Header, bytes: &[u8]) -> bool {
    !header.dirty && header.current_size == bytes.len() as u64
}

/// Draws the levels of new records: 1, and one more as long as a coin falls heads.
#[derive(Debug)]
struct Levels(u64);

impl Levels {
    fn new() -> Self {
        Self(RandomState::new().build_hasher().finish() | 1)
    }

    fn draw(&mut self) -> u8 {
        // xorshift64: cheap, and nothing but the balance of the lists depends on it.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let heads = (self.0 >> 32).trailing_ones() as u8;
        (1 + heads).min(format::MAX_LEVEL)
    }
}
