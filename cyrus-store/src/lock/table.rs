//! The table of files in use and the queue of threads at each.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::{LockError, Wait};
use crate::log::{Level, Log};
use crate::sys::{Disk, File, Mode};

/// All the locks of one store in this process; clones share them.
///
/// One process must use one table for a store: locks are taken for the table, so two tables exclude each
/// other like two processes, and a thread that has a lock of one waits for ever for the other.
#[derive(Clone)]
pub struct LockTable(Arc<Shared>);

struct Shared {
    disk: Arc<dyn Disk>,
    /// Who hears of a lock that was long in coming, and how long that is.
    patience: Option<(Duration, Arc<dyn Log>)>,
    entries: Mutex<HashMap<Arc<Path>, Arc<Entry>>>,
}

impl LockTable {
    /// An empty table for the files of `disk`.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self::with_patience(disk, None)
    }

    /// An empty table that notes each lock which is waited for longer than this.
    pub fn with_patience(disk: Arc<dyn Disk>, patience: Option<(Duration, Arc<dyn Log>)>) -> Self {
        Self(Arc::new(Shared {
            disk,
            patience,
            entries: Mutex::default(),
        }))
    }

    /// The disk its files are on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.0.disk
    }

    /// How many files are locked, waited for or kept open by a handle.
    pub fn len(&self) -> usize {
        lock(&self.0.entries).len()
    }

    /// Whether no file is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps the entry of `path` in the table.
    pub(super) fn pin(&self, path: &Path) -> Pin {
        let mut entries = lock(&self.0.entries);
        let entry = match entries.get(path) {
            Some(entry) => entry.clone(),
            None => {
                let path: Arc<Path> = path.into();
                let entry = Arc::new(Entry::new(path.clone()));
                entries.insert(path, entry.clone());
                entry
            }
        };
        entry.pins.fetch_add(1, Ordering::Relaxed);
        Pin {
            table: self.clone(),
            entry,
        }
    }
}

impl fmt::Debug for LockTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockTable").field("files", &self.len()).finish()
    }
}

/// One file of the table.
struct Entry {
    path: Arc<Path>,
    /// How many [`Pin`]s there are; the first is made and the last is dropped under the table's mutex.
    pins: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Entry {
    fn new(path: Arc<Path>) -> Self {
        Self {
            path,
            pins: AtomicUsize::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }
}

#[derive(Default)]
struct State {
    /// The one descriptor; open while locked, and longer if a handle is kept.
    file: Option<File>,
    shared: u32,
    exclusive: bool,
    /// The thread at the front is asking the system for the record lock.
    acquiring: bool,
    next_ticket: u64,
    queue: VecDeque<u64>,
    /// When the process got the lock that it shares now.
    since: Option<Instant>,
    /// The threads that hold the lock, in debug builds.
    holders: Vec<ThreadId>,
}

impl State {
    fn admits(&self, mode: Mode) -> bool {
        !self.acquiring
            && !self.exclusive
            && (self.shared == 0 || (mode == Mode::Shared && self.may_be_joined()))
    }

    /// In debug builds, notes that this thread holds the lock: it must not ask for it again.
    fn note_holder(&mut self) -> Option<ThreadId> {
        let holder = cfg!(debug_assertions).then(|| thread::current().id());
        self.holders.extend(holder);
        holder
    }

    fn forget_holder(&mut self, holder: Option<ThreadId>) {
        if let Some(at) = self.holders.iter().position(|known| Some(*known) == holder) {
            self.holders.swap_remove(at);
        }
    }

    /// Whether further threads may share the lock that the process has. Not for ever: one after the other, they would
    /// keep another process out that wants it for itself.
    fn may_be_joined(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() < SHARED_SPELL)
    }
}

/// Keeps an entry, and the descriptor in it, in the table.
pub(super) struct Pin {
    table: LockTable,
    entry: Arc<Entry>,
}

impl Pin {
    pub(super) fn path(&self) -> &Path {
        &self.entry.path
    }

    pub(super) fn table(&self) -> LockTable {
        self.table.clone()
    }

    /// Gains the lock. `locked` opens the file unless it is given it, takes the record lock and returns the
    /// file; it is called when no other thread of the process holds the lock or is about to.
    pub(super) fn acquire(
        &self,
        mode: Mode,
        wait: Wait,
        locked: impl FnOnce(Option<File>) -> Result<File, LockError>,
    ) -> Result<Held, LockError> {
        let Some((limit, log)) = &self.table.0.patience else {
            return self.acquire_now(mode, wait, locked);
        };
        let started = Instant::now();
        let held = self.acquire_now(mode, wait, locked);
        let waited = started.elapsed();
        if waited > *limit {
            let (path, seconds) = (self.path().display(), waited.as_secs_f64());
            log.record(Level::Notice, format_args!("locktimer: {path} ({seconds:.6}s)"));
        }
        held
    }

    fn acquire_now(
        &self,
        mode: Mode,
        wait: Wait,
        locked: impl FnOnce(Option<File>) -> Result<File, LockError>,
    ) -> Result<Held, LockError> {
        let pin = self.clone();
        let begun = Instant::now();
        let kept = match self.turn(mode, wait)? {
            Turn::Joined(file, holder) => {
                crate::metrics::STORE.locks.observe(begun.elapsed());
                return Ok(Held {
                    pin,
                    mode,
                    file,
                    holder,
                });
            }
            Turn::First(kept) => kept,
        };
        let result = locked(kept);
        crate::metrics::STORE.locks.observe(begun.elapsed());
        let mut state = lock(&self.entry.state);
        state.acquiring = false;
        self.entry.changed.notify_all();
        let file = result?;
        state.file = Some(file.clone());
        match mode {
            Mode::Shared => {
                state.shared = 1;
                state.since = Some(Instant::now());
            }
            Mode::Exclusive => state.exclusive = true,
        }
        let holder = state.note_holder();
        drop(state);
        Ok(Held {
            pin,
            mode,
            file,
            holder,
        })
    }

    /// Waits in the queue until this thread may hold the lock.
    fn turn(&self, mode: Mode, wait: Wait) -> Result<Turn, LockError> {
        let mut state = lock(&self.entry.state);
        if !state.holders.is_empty() && state.holders.contains(&thread::current().id()) {
            return Err(LockError::Reentrant {
                path: self.path().to_owned(),
            });
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.queue.push_back(ticket);
        while state.queue.front() != Some(&ticket) || !state.admits(mode) {
            let left = match wait {
                Wait::Forever => None,
                Wait::Never => Some(Duration::ZERO),
                Wait::Until(deadline) => Some(deadline.saturating_duration_since(Instant::now())),
            };
            state = match left {
                None => self
                    .entry
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => {
                    state.queue.retain(|waiting| *waiting != ticket);
                    self.entry.changed.notify_all();
                    return Err(LockError::Busy {
                        path: self.path().to_owned(),
                    });
                }
                Some(left) => {
                    self.entry
                        .changed
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        state.queue.pop_front();
        if let (Mode::Shared, 1.., Some(file)) = (mode, state.shared, state.file.clone()) {
            state.shared += 1;
            let holder = state.note_holder();
            // The next in the queue may be a shared one, too.
            self.entry.changed.notify_all();
            return Ok(Turn::Joined(file, holder));
        }
        state.acquiring = true;
        Ok(Turn::First(state.file.clone()))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pin").field(&self.entry.path).finish()
    }
}

impl Clone for Pin {
    fn clone(&self) -> Self {
        self.entry.pins.fetch_add(1, Ordering::Relaxed);
        Self {
            table: self.table.clone(),
            entry: self.entry.clone(),
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut entries = lock(&self.table.0.entries);
        if self.entry.pins.fetch_sub(1, Ordering::Relaxed) == 1 {
            entries.remove(&self.entry.path);
        }
    }
}

enum Turn {
    /// The process has the record lock and shares it.
    Joined(File, Option<ThreadId>),
    /// The record lock is to be taken, on this file if it is open.
    First(Option<File>),
}

/// A lock that is held; dropping it releases it.
#[derive(Debug)]
pub(super) struct Held {
    pin: Pin,
    mode: Mode,
    file: File,
    /// The thread that gained it, in debug builds.
    holder: Option<ThreadId>,
}

impl Held {
    pub(super) fn path(&self) -> &Path {
        self.pin.path()
    }

    pub(super) fn table(&self) -> LockTable {
        self.pin.table()
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Puts a file that is locked, and has the entry's name by now, in the place of the old one.
    pub(super) fn swap_file(&mut self, new: File) -> File {
        lock(&self.pin.entry.state).file = Some(new.clone());
        std::mem::replace(&mut self.file, new)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = lock(&self.pin.entry.state);
        match self.mode {
            Mode::Shared => state.shared = state.shared.saturating_sub(1),
            Mode::Exclusive => state.exclusive = false,
        }
        state.forget_holder(self.holder);
        if state.shared == 0 && !state.exclusive && self.file.unlock().is_err() {
            // Closing the descriptor releases the lock for certain; the next to come opens another.
            state.file = None;
        }
        self.pin.entry.changed.notify_all();
    }
}

/// How long threads of one process may go on joining each other in a shared lock.
const SHARED_SPELL: Duration = Duration::from_millis(100);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
