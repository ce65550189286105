//! Small requests and replies in turn: the time of each, where a stalled packet would show.

use std::io;
use std::time::{Duration, Instant};

use super::{fresh_mailbox, rounds};
use crate::paired::arguments::Arguments;
use crate::paired::mail::Pool;
use crate::paired::report::{Better, Report};
use crate::paired::target::Target;
use crate::paired::wire::Imap;

const COMMANDS: [&str; 4] = [
    "NOOP",
    "FETCH 1:10 (FLAGS)",
    "FETCH 3 (BODY.PEEK[])",
    "STATUS INBOX (MESSAGES)",
];
/// A reply this late was held back; no server works as long on any of these commands.
const STALL: Duration = Duration::from_millis(30);

pub(super) fn run(targets: &[Target], arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let pool = Pool::new(4096);
    for target in targets {
        let mut imap = Imap::login(target, "user42")?;
        fresh_mailbox(&mut imap, "Ping")?;
        let mut buffer = Vec::new();
        for _ in 0..20 {
            let message = pool.fresh(&mut buffer);
            let head = format!("APPEND Ping {{{}+}}\r\n", message.len());
            imap.command(&[head.as_bytes(), message].concat())?;
        }
    }
    for command in COMMANDS {
        rounds(targets, arguments.rounds, |round, target| {
            let mut imap = Imap::login(target, "user42")?;
            imap.command(b"SELECT Ping")?;
            let mut times = Vec::new();
            for _ in 0..400 {
                let begin = Instant::now();
                imap.command(command.as_bytes())?;
                times.push(begin.elapsed());
            }
            times.sort();
            let middle = times.get(times.len() / 2).copied().unwrap_or_default();
            let stalls = times.iter().filter(|&&time| time > STALL).count();
            if round > 0 {
                report.add(
                    target,
                    &format!("{command}: round trip"),
                    "µs",
                    Better::Lower,
                    middle.as_secs_f64() * 1e6,
                );
                let share = stalls as f64 / times.len() as f64 * 100.0;
                report.add(
                    target,
                    &format!("{command}: replies over 30 ms"),
                    "%",
                    Better::Lower,
                    share,
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}
