//! EVENTS: which are due.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::process::Program;
use crate::cyrus_conf::{Event, Schedule};
use crate::sys;

/// The events of cyrus.conf with the time of their next run.
pub(super) struct Events {
    events: Vec<Planned>,
    /// The last minute (since 1970) whose cron events have been run.
    minute: u64,
}

struct Planned {
    program: Program,
    schedule: Schedule,
    next: Option<Instant>,
}

impl Events {
    /// Events of a period, and those without any time, are due at once.
    pub(super) fn new(events: &[Event], now: Instant) -> Self {
        let events = events.iter().map(|event| Planned {
            program: Program::of(&event.command),
            schedule: event.schedule.clone(),
            next: (!matches!(event.schedule, Schedule::Cron { .. })).then_some(now),
        });
        Self {
            events: events.collect(),
            minute: minutes(SystemTime::now()),
        }
    }

    /// Takes over what `old` knows about events that are still there, so that a SIGHUP runs nothing twice.
    pub(super) fn carry_over(&mut self, old: &Self) {
        self.minute = old.minute;
        for planned in &mut self.events {
            let same = |other: &&Planned| {
                other.program.name == planned.program.name && other.schedule == planned.schedule
            };
            if let Some(known) = old.events.iter().find(same) {
                planned.next = known.next;
            }
        }
    }

    /// The programs to run now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Program> {
        let time = SystemTime::now();
        let minute = minutes(time);
        let moment = if minute == self.minute {
            None
        } else {
            sys::local_minute(time)
        };
        self.minute = minute;
        let mut due = Vec::new();
        for planned in &mut self.events {
            let run = match planned.next {
                Some(next) => next <= now,
                None => moment.is_some_and(|moment| planned.schedule.matches(moment)),
            };
            if !run {
                continue;
            }
            planned.next = match planned.schedule {
                Schedule::Period { minutes } => Some(now + Duration::from_secs(minutes.saturating_mul(60))),
                Schedule::Once | Schedule::Cron { .. } => None,
            };
            due.push(planned.program.clone());
        }
        due
    }

    /// How long nothing is due.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let period = self.events.iter().filter_map(|planned| planned.next).min();
        let period = period.map(|next| next.saturating_duration_since(now));
        let cron = self
            .events
            .iter()
            .any(|planned| matches!(planned.schedule, Schedule::Cron { .. }))
            .then(|| {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Duration::from_secs(60) - Duration::from_secs(since.as_secs() % 60)
            });
        [period, cron].into_iter().flatten().min()
    }
}

fn minutes(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 60
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cyrus_conf::Command;

    fn event(name: &str, schedule: Schedule) -> Event {
        Event {
            command: Command {
                name: name.into(),
                argv: vec!["/bin/true".into()],
            },
            schedule,
        }
    }

    #[test]
    fn a_period_begins_at_the_start_and_survives_a_reload() {
        let now = Instant::now();
        let config = [
            event("checkpoint", Schedule::Period { minutes: 30 }),
            event("once", Schedule::Once),
        ];
        let mut events = Events::new(&config, now);
        assert_eq!(events.due(now).len(), 2);
        assert_eq!(events.due(now).len(), 0);
        let mut reloaded = Events::new(&config, now);
        reloaded.carry_over(&events);
        assert_eq!(reloaded.due(now).len(), 0);
        assert_eq!(reloaded.wait(now), Some(Duration::from_secs(1800)));
        assert_eq!(reloaded.due(now + Duration::from_secs(1800)).len(), 1);
    }
}
