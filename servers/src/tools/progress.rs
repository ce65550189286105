//! How far a long job is: what is done, at what rate, and how long the rest will take.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Tells on standard error, now and then.
pub(super) struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    begun: Instant,
    told: Instant,
    /// How often; never, if nothing.
    every: Option<Duration>,
    on_terminal: bool,
}

impl Progress {
    /// Begins a job of so many pieces, `what` being their name.
    pub(super) fn of(what: &'static str, total: u64, quiet: bool) -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        let every = match (quiet, on_terminal) {
            (true, _) => None,
            (false, true) => Some(ON_TERMINAL),
            (false, false) => Some(ELSEWHERE),
        };
        let now = Instant::now();
        Self {
            what,
            total,
            done: 0,
            begun: now,
            told: now,
            every,
            on_terminal,
        }
    }

    /// One piece more is done.
    pub(super) fn step(&mut self) {
        self.done += 1;
        if self.every.is_none_or(|every| self.told.elapsed() < every) {
            return;
        }
        self.told = Instant::now();
        let text = text(self.what, self.done, self.total, self.begun.elapsed());
        let mut stderr = std::io::stderr().lock();
        // Standard error that is closed is no reason to stop.
        let _ = match self.on_terminal {
            true => write!(stderr, "\r{text}\x1b[K\r"),
            false => writeln!(stderr, "{text}"),
        };
        let _ = stderr.flush();
    }
}

fn text(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = done as f64 / seconds;
    let left = (total.saturating_sub(done) as f64 / rate.max(0.001)).ceil() as u64;
    let left = match left {
        0..60 => format!("{left} s"),
        60..3600 => format!("{} min {} s", left / 60, left % 60),
        _ => format!("{} h {} min", left / 3600, left % 3600 / 60),
    };
    format!("{done} of {total} {what}, {rate:.1} a second, {left} left")
}

const ON_TERMINAL: Duration = Duration::from_millis(500);
const ELSEWHERE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_remaining_time_are_told() {
        let told = text("mailboxes", 50, 250, Duration::from_secs(10));
        assert_eq!(told, "50 of 250 mailboxes, 5.0 a second, 40 s left");
        let told = text("mailboxes", 1, 1001, Duration::from_secs(4));
        assert_eq!(told, "1 of 1001 mailboxes, 0.2 a second, 1 h 6 min left");
    }
}
