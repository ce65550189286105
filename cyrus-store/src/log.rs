//! Where the store says what an administrator should know: libraries have no global logger.

use std::fmt;
use std::sync::Mutex;

/// How bad it is, after syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For whoever looks for a bug.
    Debug,
    /// Ordinary events: mailboxes opened, duplicates suppressed.
    Info,
    /// Events of note.
    Notice,
    /// Something is not as it should be, and was dealt with.
    Warning,
    /// An administrator should act.
    Error,
    /// The service cannot go on.
    Critical,
}

/// Takes the store's messages.
pub trait Log: Send + Sync {
    /// Notes one event.
    fn record(&self, level: Level, what: fmt::Arguments<'_>);
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl Log for NoLog {
    fn record(&self, _level: Level, _what: fmt::Arguments<'_>) {}
}

/// Keeps everything in memory: for tests.
#[derive(Debug, Default)]
pub struct MemoryLog {
    events: Mutex<Vec<(Level, String)>>,
}

impl MemoryLog {
    /// What was noted so far.
    pub fn events(&self) -> Vec<(Level, String)> {
        self.events
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }
}

impl Log for MemoryLog {
    fn record(&self, level: Level, what: fmt::Arguments<'_>) {
        self.events
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push((level, what.to_string()));
    }
}
