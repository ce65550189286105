//! The store: where everything begins.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cyrus_acl::{AuthError, AuthState};

use crate::commit::Committer;
use crate::db::{DbContext, DbPool};
use crate::deliver::Marks;
use crate::error::MailboxError;
use crate::hints::Watchers;
use crate::hot::Hot;
use crate::lock::{LockTable, Wait};
use crate::log::{Level, Log};
use crate::mboxlist::RowCache;
use crate::options::StoreOptions;
use crate::paths::MailboxPaths;
use crate::search::index::Indexes;
use crate::sys::Disk;

/// A Cyrus mail store: the mailbox list, the mailboxes, quota and everything about them.
///
/// Cloning is cheap and shares everything; a store can be used from any thread. One process should open a store once:
/// two `Store`s of the same directories exclude each other like two processes.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    options: StoreOptions,
    locks: LockTable,
    databases: DbPool,
    rows: RowCache,
    hot: Mutex<HashMap<PathBuf, Arc<Hot>>>,
    committer: Committer,
    watchers: Watchers,
    marks: Marks,
    zone: jiff::tz::TimeZone,
    indexes: Indexes,
    stage_number: AtomicU64,
}

impl Store {
    /// Opens the store that these options describe. Nothing is read or made yet.
    ///
    /// # Errors
    /// The default partition is not one of the partitions.
    pub fn open(options: StoreOptions) -> Result<Self, MailboxError> {
        if let Some(partition) = &options.default_partition {
            options.partition_paths(partition)?;
        }
        let patience = options.lock_debug_time.map(|limit| (limit, options.log.clone()));
        let locks = LockTable::with_patience(options.disk.clone(), patience);
        let mut context = DbContext::new(locks.clone());
        context.skipstamp = options
            .recover_old_databases
            .then(|| options.config_dir.join("db/skipstamp"));
        context.full_dir_hash = options.fulldirhash;
        Ok(Self(Arc::new(Inner {
            locks,
            databases: DbPool::new(context),
            rows: RowCache::default(),
            hot: Mutex::default(),
            committer: Committer::default(),
            watchers: Watchers::default(),
            marks: Marks::default(),
            zone: jiff::tz::TimeZone::system(),
            indexes: Indexes::default(),
            stage_number: AtomicU64::new(0),
            options,
        })))
    }

    /// The options that it was opened with.
    pub fn options(&self) -> &StoreOptions {
        &self.0.options
    }

    /// Who a user is, by the site's authorization mechanism. Whether he is an administrator is for the service to say.
    ///
    /// # Errors
    /// There can be no such user, or his groups could not be found out.
    pub fn auth(&self, userid: &str) -> Result<AuthState, AuthError> {
        self.options().mechanism.auth_state(userid)
    }

    /// The locks of the store in this process.
    pub fn locks(&self) -> &LockTable {
        &self.0.locks
    }

    /// The databases of the store.
    pub fn databases(&self) -> &DbPool {
        &self.0.databases
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.0.options.disk
    }

    pub(crate) fn row_cache(&self) -> &RowCache {
        &self.0.rows
    }

    pub(crate) fn committer(&self) -> &Committer {
        &self.0.committer
    }

    pub(crate) fn watchers(&self) -> &Watchers {
        &self.0.watchers
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.0.marks
    }

    pub(crate) fn indexes(&self) -> &Indexes {
        &self.0.indexes
    }

    pub(crate) fn log(&self) -> &dyn Log {
        &*self.0.options.log
    }

    /// Logs an error that the caller will not hear of.
    pub(crate) fn report(&self, what: &str, error: &MailboxError) {
        self.log().record(Level::Error, format_args!("{what}: {error}"));
    }

    /// What this process knows of the mailbox with these files.
    pub(crate) fn hot(&self, paths: MailboxPaths) -> Arc<Hot> {
        let mut hot = self.0.hot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hot.get(&paths.index) {
            // Another partition layout or metadata setting would be another store.
            return known.clone();
        }
        if hot.len() >= MAX_HOT {
            hot.retain(|_, known| Arc::strong_count(known) > 1);
        }
        let fresh = Arc::new(Hot::new(&self.0.locks, paths));
        hot.insert(fresh.paths.index.clone(), fresh.clone());
        fresh
    }

    /// Forgets a mailbox of which the files are gone, so that its descriptors do not keep them on the disk.
    pub(crate) fn forget(&self, gone: &Hot) {
        self.0
            .hot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&gone.paths.index);
    }

    /// Forgets what this process knows of mailboxes that nobody has open, and closes their files.
    pub fn forget_idle(&self) {
        self.0
            .hot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, known| Arc::strong_count(known) > 1);
        self.0.databases.close_idle();
        self.indexes().close();
    }

    /// How long to wait for a lock that is asked for now.
    pub(crate) fn wait(&self) -> Wait {
        let deadline = self
            .options()
            .lock_timeout
            .and_then(|limit| Instant::now().checked_add(limit));
        deadline.map_or(Wait::Forever, Wait::Until)
    }

    /// A name for a staging file that no other process or thread uses.
    pub(crate) fn stage_name(&self) -> String {
        let number = self.0.stage_number.fetch_add(1, Ordering::Relaxed);
        format!("{}-{}-{number}", std::process::id(), now())
    }

    /// Seconds east of UTC of the server's clock at a local time given as if it were UTC.
    pub(crate) fn local_offset(&self, local: i64) -> i64 {
        let offset_at = |instant| i64::from(self.utc_offset(instant));
        offset_at(local.saturating_sub(offset_at(local)))
    }

    /// The instant, Unix seconds, of a local time by the server's clock, given as if it were UTC.
    pub fn local_time(&self, local: i64) -> i64 {
        local.saturating_sub(self.local_offset(local))
    }

    /// Seconds east of UTC of the server's clock at an instant, Unix seconds.
    pub fn utc_offset(&self, instant: i64) -> i32 {
        let instant = jiff::Timestamp::from_second(instant).unwrap_or_default();
        self.0.zone.to_offset(instant).seconds()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.0.options).finish()
    }
}

/// The time, in Unix seconds as the files have it.
pub(crate) fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Mailboxes of which files are kept open though nobody has them open: three descriptors each.
const MAX_HOT: usize = 512;
