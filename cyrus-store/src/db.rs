//! The databases of a store: sorted maps of octet strings in single files.
//!
//! [`Db`] is the one interface; [`Engine`] names the formats. [`open`] looks at an existing file to see what it
//! is, so the configured engine only decides what a new file becomes.
//!
//! Every call takes the file's lock for as long as it lasts (a [`Txn`] until it ends) and sees what other
//! processes have committed by then. What a commit returns from is on stable storage.

mod error;
mod exercise;
mod flat;
mod maintain;
mod pool;
mod quotalegacy;
mod report;
mod salvage;
mod skiplist;
mod staged;
mod twoskip;

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::lock::{DataFile, DataLock, LockTable, Recheck, Wait};
use crate::sys::{Mode, Open};

pub use crate::sys::Create;
pub use error::DbError;
pub use exercise::exercise;
pub use maintain::{archive, check, checkpoint, dump, recover, stamp_recovery};
pub use pool::{DbPool, Pooled};
pub use quotalegacy::{QuotaFiles, QuotaLock, StagedQuota};
pub use report::{Problem, Recovered, Report};
pub(crate) use salvage::put_aside;
pub use salvage::{Salvage, salvage};

/// A key and its value.
pub(crate) type Entry<'a> = (&'a [u8], &'a [u8]);

/// What is called with each key and value of a scan; it may stop the scan.
///
/// The database is locked meanwhile: the callee must not open a transaction on it, nor take a lock that
/// ranks before databases.
pub type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// What is called with each line of a dump; it may stop the dump. The database is locked meanwhile.
pub type Line<'a> = &'a mut dyn FnMut(&[u8]) -> ControlFlow<()>;

/// A database: a sorted map of octet strings.
///
/// The order of keys is the engine's: plain octets in twoskip, signed octets in skiplist, an order of its own
/// in flat files.
pub trait Db: Send {
    /// The file.
    fn path(&self) -> &Path;

    /// The engine the file is read and written by.
    fn engine(&self) -> Engine;

    /// The value of a key.
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, DbError>;

    /// Calls `each` for every key that starts with `prefix`, in order.
    fn scan(&mut self, prefix: &[u8], each: Each<'_>) -> Result<(), DbError>;

    /// Calls `each` for every key from the first that is not before `start`, in order.
    fn scan_from(&mut self, start: &[u8], each: Each<'_>) -> Result<(), DbError>;

    /// Starts a transaction, alone on the database. Dropping it leaves everything as it was.
    fn begin(&mut self) -> Result<Box<dyn Txn + '_>, DbError>;

    /// Reads the whole file and tells what is wrong with it, changing nothing.
    fn check(&mut self) -> Result<Report, DbError>;

    /// Mends the file as far as can be done without guessing, or fails and leaves it alone.
    fn recover(&mut self) -> Result<Recovered, DbError>;

    /// Shows how the file is built, a line at a time, as `cyr_dbtool dump` does: every record with its offset and
    /// its pointers, in the order of the file. Changes nothing, and shows damage where it meets it.
    fn dump(&mut self, line: Line<'_>) -> Result<(), DbError>;

    /// Writes the file anew without what deletions and replacements left in it.
    fn checkpoint(&mut self) -> Result<(), DbError>;

    /// Sets the value of one key, in a transaction of its own.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), DbError> {
        let mut txn = self.begin()?;
        txn.put(key, value)?;
        txn.commit()
    }

    /// Removes one key, in a transaction of its own; says if it was there.
    fn remove(&mut self, key: &[u8]) -> Result<bool, DbError> {
        let mut txn = self.begin()?;
        let removed = txn.remove(key)?;
        txn.commit()?;
        Ok(removed)
    }
}

/// A transaction: changes that become visible and durable together, or not at all.
pub trait Txn {
    /// The value of a key, with the changes made so far.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DbError>;

    /// As [`Db::scan`], with the changes made so far.
    fn scan(&self, prefix: &[u8], each: Each<'_>) -> Result<(), DbError>;

    /// As [`Db::scan_from`], with the changes made so far.
    fn scan_from(&self, start: &[u8], each: Each<'_>) -> Result<(), DbError>;

    /// Sets the value of a key.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), DbError>;

    /// Removes a key; says if it was there.
    fn remove(&mut self, key: &[u8]) -> Result<bool, DbError>;

    /// Makes the changes durable and visible to others. Any number of them costs the same syncs.
    fn commit(self: Box<Self>) -> Result<(), DbError>;

    /// Writes all that [`commit`](Self::commit) would but the last step, the one that makes it count: what is left
    /// is what a process leaves that dies then, and whoever comes next undoes it. For those who try recovery.
    fn break_off(self: Box<Self>) -> Result<(), DbError>;
}

/// The formats of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// A skip list under CRCs; the usual format.
    Twoskip,
    /// The older skip list; conversations databases.
    Skiplist,
    /// A sorted text file; subscriptions.
    Flat,
    /// A directory of one small file a key; quota roots.
    QuotaLegacy,
}

impl Engine {
    /// The name used in `imapd.conf`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Twoskip => "twoskip",
            Self::Skiplist => "skiplist",
            Self::Flat => "flat",
            Self::QuotaLegacy => "quotalegacy",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        [Self::Twoskip, Self::Skiplist, Self::Flat, Self::QuotaLegacy]
            .into_iter()
            .find(|engine| engine.name() == name)
            .ok_or_else(|| UnknownEngine(name.to_owned()))
    }
}

/// A name that is no database format this crate reads.
#[derive(Debug, thiserror::Error)]
#[error("unknown database format {0:?}; there are twoskip, skiplist, flat and quotalegacy")]
pub struct UnknownEngine(String);

/// What the databases of one store have in common.
#[derive(Clone, Debug)]
pub struct DbContext {
    /// The store's locks, and through them its disk.
    pub locks: LockTable,
    /// How long to wait for a database that another session or process is writing.
    pub wait: DbWait,
    /// `<config>/db/skipstamp`: skiplist files that were not recovered since the time in it are recovered
    /// when they are opened. Without a path, none is.
    pub skipstamp: Option<PathBuf>,
    /// The directories of quota files are named by the full hash (option `fulldirhash`).
    pub full_dir_hash: bool,
}

/// How long a database call may wait for the file's lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DbWait {
    /// Without limit, as Cyrus does.
    #[default]
    Forever,
    /// This long for each lock.
    AtMost(std::time::Duration),
}

impl DbWait {
    fn starting_now(self) -> Wait {
        match self {
            Self::Forever => Wait::Forever,
            Self::AtMost(limit) => std::time::Instant::now()
                .checked_add(limit)
                .map_or(Wait::Forever, Wait::Until),
        }
    }
}

impl DbContext {
    /// Databases locked by `locks`, without limits and without a skipstamp.
    pub fn new(locks: LockTable) -> Self {
        Self {
            locks,
            wait: DbWait::Forever,
            skipstamp: None,
            full_dir_hash: false,
        }
    }
}

/// Opens a database.
///
/// An existing file is opened by the engine that its first octets name, if they name one, else by
/// `configured`. For [`Engine::QuotaLegacy`] `path` names no file; the directory that it is in is the
/// configuration directory, under which the quota files are. A missing file is made if `create` allows, with its directories, and empty.
///
/// # Errors
/// [`DbError::Missing`] if there is no file and `create` is [`Create::No`].
pub fn open(
    context: &DbContext,
    path: &Path,
    configured: Engine,
    create: Create,
) -> Result<Box<dyn Db>, DbError> {
    Ok(match engine_of(context, path, configured)? {
        Engine::Twoskip => Box::new(twoskip::Twoskip::open(context, path, create)?),
        Engine::Skiplist => Box::new(skiplist::Skiplist::open(context, path, create)?),
        Engine::Flat => Box::new(flat::Flat::open(context, path, create)?),
        Engine::QuotaLegacy => Box::new(quotalegacy::QuotaLegacy::open(context, path)),
    })
}

/// Locks a database file, on the file that has the name.
fn lock_data(context: &DbContext, file: &DataFile, mode: Mode, how: Open) -> Result<DataLock, DbError> {
    file.lock(mode, context.wait.starting_now(), how, Recheck::Replaced)
        .map_err(|error| {
            if DbError::is_missing_file(&error) {
                DbError::Missing {
                    path: file.path().to_owned(),
                }
            } else {
                error.into()
            }
        })
}

/// The engine that an existing file's first octets tell, else the configured one.
fn engine_of(context: &DbContext, path: &Path, configured: Engine) -> Result<Engine, DbError> {
    if configured == Engine::QuotaLegacy {
        return Ok(configured);
    }
    // Read under the lock, on the one descriptor that the lock table opens: another could not be closed
    // again without dropping the lock where locks belong to the process.
    let file = context.locks.data_file(path);
    let locked = match file.lock(
        Mode::Shared,
        context.wait.starting_now(),
        Open::write(),
        Recheck::Replaced,
    ) {
        Ok(locked) => locked,
        Err(error) if DbError::is_missing_file(&error) => return Ok(configured),
        Err(error) => return Err(error.into()),
    };
    let mut magic = [0; 20];
    let count = locked.file().read_at(&mut magic, 0)?;
    Ok(match magic.get(..count) {
        Some(magic) if magic == crate::format::twoskip::MAGIC => Engine::Twoskip,
        Some(magic) if magic == crate::format::skiplist::MAGIC => Engine::Skiplist,
        _ => configured,
    })
}
