//! APPEND of messages of 4 KiB, one by one with LITERAL+ and twenty at a time.

use std::io;

use super::{add_rate, fresh_mailbox, messages, rounds};
use crate::paired::arguments::Arguments;
use crate::paired::mail::Pool;
use crate::paired::meter::rate;
use crate::paired::report::Report;
use crate::paired::target::Target;
use crate::paired::wire::Imap;

pub(super) fn run(targets: &[Target], arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let pool = Pool::new(4096);
    for (case, at_once) in [
        ("APPEND 4 KiB, LITERAL+", 1_u64),
        ("MULTIAPPEND of 20, 4 KiB", 20),
    ] {
        rounds(targets, arguments.rounds, |round, target| {
            fresh_mailbox(&mut Imap::login(target, "user41")?, "Appended")?;
            let cost = rate(target, 1, arguments.seconds, |_| {
                let (mut imap, mut buffer, pool) = (Imap::login(target, "user41")?, Vec::new(), &pool);
                Ok(move || {
                    let mut command = b"APPEND Appended".to_vec();
                    for _ in 0..at_once {
                        let message = pool.fresh(&mut buffer);
                        command.extend_from_slice(format!(" (\\Seen) {{{}+}}\r\n", message.len()).as_bytes());
                        command.extend_from_slice(message);
                    }
                    imap.command(&command).map(|_| at_once)
                })
            })?;
            let there = messages(&mut Imap::login(target, "user41")?, "Appended")?;
            if there != cost.count {
                report.fault(format!(
                    "{}: {case}: {} were acknowledged and {there} are there",
                    target.name, cost.count
                ));
            }
            add_rate(report, round, target, case, "message/s", &cost);
            Ok(())
        })?;
    }
    Ok(())
}
