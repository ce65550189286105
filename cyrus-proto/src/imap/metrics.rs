//! How often each command came, and how long those took that had to be worked on.

use std::time::Instant;

use cyrus_store::metrics::{Counter, Histogram};

use super::command::Verb;

/// The counters of one command.
#[derive(Debug)]
pub struct CommandMetrics {
    /// How often it came.
    pub count: Counter,
    /// How long it took, where it took work: what is answered at once is not in it.
    pub latency: Histogram,
}

impl CommandMetrics {
    const fn new() -> Self {
        Self {
            count: Counter::new(),
            latency: Histogram::new(),
        }
    }
}

/// The counters of all commands in this process, by name; the last is of those that are unknown.
pub fn commands() -> impl Iterator<Item = (&'static str, &'static CommandMetrics)> {
    let known = Verb::all()
        .zip(&COMMANDS)
        .map(|(verb, metrics)| (verb.name(), metrics));
    known.chain(std::iter::once(("unknown", &UNKNOWN)))
}

/// A command in hand.
#[derive(Debug)]
pub(super) struct Metered {
    metrics: &'static CommandMetrics,
    begun: Instant,
}

impl Metered {
    /// Counts a command that begins.
    pub(super) fn begin(verb: Option<Verb>, begun: Instant) -> Self {
        let metrics = verb
            .and_then(|verb| COMMANDS.get(verb as usize))
            .unwrap_or(&UNKNOWN);
        metrics.count.add(1);
        Self { metrics, begun }
    }

    /// Counts how long it took.
    pub(super) fn end(self, now: Instant) {
        self.metrics
            .latency
            .observe(now.saturating_duration_since(self.begun));
    }
}

static COMMANDS: [CommandMetrics; Verb::COUNT] = [const { CommandMetrics::new() }; Verb::COUNT];
static UNKNOWN: CommandMetrics = CommandMetrics::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_counters_from_the_beginning() {
        let names: Vec<&str> = commands().map(|(name, _)| name).collect();
        assert_eq!(names.len(), Verb::COUNT + 1);
        assert!(names.contains(&"Fetch") && names.contains(&"unknown"));
        for verb in Verb::all() {
            assert_eq!(names.get(verb as usize), Some(&verb.name()));
        }
    }
}
