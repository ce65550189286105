//! Synchronizing system calls of an operation, to see that the servers promise the same durability.

use std::io;

use super::fresh_mailbox;
use crate::paired::mail::Pool;
use crate::paired::report::{Better, Report};
use crate::paired::syncs::per_operation;
use crate::paired::target::Target;
use crate::paired::wire::{Imap, Lmtp};

const COUNT: u32 = 50;

pub(super) fn run(targets: &[Target], report: &mut Report) -> io::Result<()> {
    let pool = Pool::new(4096);
    for target in targets {
        let mut buffer = Vec::new();
        let mut add = |case: &str, counted: io::Result<(f64, String)>| match counted {
            Ok((each, names)) => {
                eprintln!("{}: {case}: {names}", target.name);
                report.add(target, &format!("{case}: syncs"), "each", Better::Lower, each);
            }
            // Tracing needs rights and a program that may be missing; the other cases stand without it.
            Err(error) => report.lacks(target, &format!("{case}: syncs"), &error.to_string()),
        };

        let mut lmtp = Lmtp::connect(target)?;
        for count in [1, 10] {
            let names: Vec<String> = (0..count).map(super::user).collect();
            let counted = per_operation(target, COUNT, || lmtp.deliver(&names, pool.fresh(&mut buffer)));
            add(&format!("LMTP delivery, {count} recipients"), counted);
        }
        let mut imap = Imap::login(target, "user43")?;
        fresh_mailbox(&mut imap, "Synced")?;
        imap.command(b"SELECT Synced")?;
        let counted = per_operation(target, COUNT, || {
            let message = pool.fresh(&mut buffer);
            let head = format!("APPEND Synced {{{}+}}\r\n", message.len());
            imap.command(&[head.as_bytes(), message].concat()).map(drop)
        });
        add("APPEND", counted);
        let mut set = false;
        let counted = per_operation(target, COUNT, || {
            set = !set;
            imap.command(
                format!(
                    "STORE 1:10 {}FLAGS.SILENT (\\Flagged)",
                    if set { '+' } else { '-' }
                )
                .as_bytes(),
            )
            .map(drop)
        });
        add("STORE of a flag", counted);
        let counted = per_operation(target, COUNT, || {
            imap.command(b"STORE 1 +FLAGS.SILENT (\\Deleted)")?;
            imap.command(b"EXPUNGE").map(drop)
        });
        add("STORE \\Deleted and EXPUNGE", counted);
        let mut number = 0;
        let counted = per_operation(target, COUNT, || {
            number += 1;
            imap.command(format!("CREATE Synced/{number}").as_bytes())
                .map(drop)
        });
        add("CREATE", counted);
        for number in 1..=number {
            imap.command(format!("DELETE Synced/{number}").as_bytes())?;
        }
    }
    Ok(())
}
