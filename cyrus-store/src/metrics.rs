//! Counters of what happens in this process: one atomic addition each, whatever reads them.
//!
//! They are of the process, not of one store: a process serves one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Something that only goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// At zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts so many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// What was counted.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long something took, by classes.
#[derive(Debug)]
pub struct Histogram {
    /// How many took no longer than each bound and longer than the one before; the last are those longer than all.
    classes: [Counter; Self::BOUNDS_MICROS.len() + 1],
    nanoseconds: Counter,
}

impl Histogram {
    /// Upper bounds of the classes, in microseconds.
    pub const BOUNDS_MICROS: [u64; 11] = [
        100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 30_000_000,
    ];

    /// Without anything in it.
    pub const fn new() -> Self {
        Self {
            classes: [const { Counter::new() }; Self::BOUNDS_MICROS.len() + 1],
            nanoseconds: Counter::new(),
        }
    }

    /// Counts something that took this long.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = Self::BOUNDS_MICROS.partition_point(|&bound| bound < micros);
        if let Some(class) = self.classes.get(class) {
            class.add(1);
        }
        self.nanoseconds
            .add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many took no longer than each bound, and how many there are in all.
    pub fn cumulative(&self) -> [u64; Self::BOUNDS_MICROS.len() + 1] {
        let mut sum = 0;
        std::array::from_fn(|at| {
            sum += self.classes.get(at).map_or(0, Counter::get);
            sum
        })
    }

    /// How long all of them took together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.get())
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// What the store counts.
#[derive(Debug)]
pub struct StoreMetrics {
    /// Messages that came into mailboxes, by whatever way.
    pub appended: Counter,
    /// Their octets.
    pub appended_octets: Counter,
    /// Messages delivered to mailboxes.
    pub delivered: Counter,
    /// Deliveries that were left out because the mailbox had the message.
    pub duplicates: Counter,
    /// Deliveries that failed.
    pub undelivered: Counter,
    /// Messages expunged.
    pub expunged: Counter,
    /// Cache records that were read where they are.
    pub cache_hits: Counter,
    /// Messages that were parsed because the cache was wrong or not there.
    pub cache_misses: Counter,
    /// Locks of files, by how long they were waited for.
    pub locks: Histogram,
    /// Calls that wait until something is on stable storage.
    pub syncs: Histogram,
}

/// The counters of this process.
pub static STORE: StoreMetrics = StoreMetrics {
    appended: Counter::new(),
    appended_octets: Counter::new(),
    delivered: Counter::new(),
    duplicates: Counter::new(),
    undelivered: Counter::new(),
    expunged: Counter::new(),
    cache_hits: Counter::new(),
    cache_misses: Counter::new(),
    locks: Histogram::new(),
    syncs: Histogram::new(),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_as_long_as_a_bound_belongs_to_its_class() {
        let histogram = Histogram::new();
        for micros in [0, 100, 101, 500, 40_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        assert_eq!(histogram.cumulative(), [2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5]);
        assert_eq!(histogram.sum(), Duration::from_micros(40_000_701));
    }
}
