//! Deadlines, earliest first.
//!
//! Moving a deadline later costs nothing: the old entry stays, and when it comes up the owner is asked again. So a
//! connection that is busy all day has one entry, an idle one is never looked at before its time, and there is no scan.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// A heap of deadlines for owners named by `T`.
#[derive(Debug)]
pub(super) struct Timers<T> {
    heap: BinaryHeap<Reverse<(Instant, T)>>,
}

impl<T: Ord + Copy> Timers<T> {
    pub(super) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
        }
    }

    pub(super) fn add(&mut self, at: Instant, owner: T) {
        self.heap.push(Reverse((at, owner)));
    }

    /// How long until the earliest entry; zero if it is due.
    pub(super) fn until_next(&self, now: Instant) -> Option<Duration> {
        self.heap
            .peek()
            .map(|Reverse((at, _))| at.saturating_duration_since(now))
    }

    /// Removes the earliest entry if it is due, with the moment it was set for.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, T)> {
        if self.heap.peek()?.0.0 > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_up_in_order_and_only_when_due() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut timers = Timers::new();
        timers.add(at(30), 3);
        timers.add(at(10), 1);
        timers.add(at(20), 2);
        assert_eq!(timers.until_next(start), Some(Duration::from_millis(10)));
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!(timers.pop_due(at(25)), Some((at(10), 1)));
        assert_eq!(timers.until_next(at(25)), Some(Duration::ZERO));
        assert_eq!(timers.pop_due(at(25)), Some((at(20), 2)));
        assert_eq!(timers.pop_due(at(25)), None);
        assert_eq!(timers.len(), 1);
    }
}
