//! Connections that are logged in, have a mailbox selected and wait in IDLE: memory, and processor time while nothing
//! happens.

use std::io;
use std::time::Duration;

use super::{fresh_mailbox, user};
use crate::paired::arguments::Arguments;
use crate::paired::mail::Pool;
use crate::paired::report::{Better, Report};
use crate::paired::start::USERS;
use crate::paired::target::Target;
use crate::paired::wire::Imap;

pub(super) fn run(targets: &[Target], arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let pool = Pool::new(4096);
    for target in targets {
        let mut buffer = Vec::new();
        for number in 0..USERS {
            let mut imap = Imap::login(target, &user(number))?;
            fresh_mailbox(&mut imap, "Idle")?;
            let mut command = b"APPEND Idle".to_vec();
            for _ in 0..100 {
                let message = pool.fresh(&mut buffer);
                command.extend_from_slice(format!(" {{{}+}}\r\n", message.len()).as_bytes());
                command.extend_from_slice(message);
            }
            imap.command(&command)?;
        }
        std::thread::sleep(Duration::from_secs(1));
        let (before, _) = target.pss_kib();
        let mut connections = Vec::new();
        for number in 0..usize::try_from(arguments.idle).unwrap_or(1) {
            let mut imap = Imap::login(target, &user(number))?;
            imap.command(b"SELECT Idle")?;
            imap.start("IDLE")?;
            connections.push(imap);
        }
        std::thread::sleep(Duration::from_secs(2));
        let (after, processes) = target.pss_kib();
        let each = (after as f64 - before as f64) / connections.len() as f64;
        let case = format!("{} idle connections", connections.len());
        report.add(
            target,
            &format!("{case}: memory (PSS) of one"),
            "KiB",
            Better::Lower,
            each,
        );
        report.add(
            target,
            &format!("{case}: processes"),
            "",
            Better::Lower,
            processes as f64,
        );
        let cpu = target.cpu_ms();
        std::thread::sleep(Duration::from_secs(5));
        report.add(
            target,
            &format!("{case}: CPU in 5 s"),
            "ms",
            Better::Lower,
            target.cpu_ms() - cpu,
        );
        drop(connections);
        std::thread::sleep(Duration::from_secs(2));
    }
    Ok(())
}
