//! Twenty clients, two of each user, that log in, look around, read, flag, append, expunge and log out, over and over.

use std::io;

use super::{add_rate, fresh_mailbox, rounds, user};
use crate::paired::arguments::Arguments;
use crate::paired::mail::{Numbers, Pool};
use crate::paired::meter::rate;
use crate::paired::report::Report;
use crate::paired::target::Target;
use crate::paired::wire::Imap;

const CLIENTS: usize = 20;
const MAILBOX: &str = "Mixed";
/// Messages in the mailbox at first, and about as many later.
const MESSAGES: usize = 30;

pub(super) fn run(targets: &[Target], arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let pool = Pool::new(2048);
    rounds(targets, arguments.rounds, |round, target| {
        for number in 0..CLIENTS / 2 {
            let mut imap = Imap::login(target, &user(number))?;
            fresh_mailbox(&mut imap, MAILBOX)?;
            let mut buffer = Vec::new();
            for _ in 0..MESSAGES {
                append(&mut imap, &pool, &mut buffer)?;
            }
        }
        let cost = rate(target, CLIENTS, arguments.seconds, |index| {
            let (pool, user) = (&pool, user(index / 2));
            let mut numbers = Numbers::new(index as u64 + 1);
            let mut buffer = Vec::new();
            Ok(move || visit(target, &user, &mut numbers, pool, &mut buffer))
        })?;
        add_rate(
            report,
            round,
            target,
            &format!("mixed load, {CLIENTS} clients"),
            "commands/s",
            &cost,
        );
        Ok(())
    })
}

/// One session from login to logout; how many commands it sent.
fn visit(
    target: &Target,
    user: &str,
    numbers: &mut Numbers,
    pool: &Pool,
    buffer: &mut Vec<u8>,
) -> io::Result<u64> {
    let mut imap = Imap::login(target, user)?;
    let mut sent = 1;
    let mut is = |percent: usize| numbers.below(100) < percent;
    let mut run = |imap: &mut Imap, command: &str| {
        sent += 1;
        imap.command(command.as_bytes()).map(drop)
    };
    if is(50) {
        run(&mut imap, "LIST \"\" *")?;
    }
    if is(50) {
        run(&mut imap, &format!("STATUS {MAILBOX} (MESSAGES UNSEEN UIDNEXT)"))?;
    }
    run(&mut imap, &format!("SELECT {MAILBOX}"))?;
    // By UID: another session may have expunged any of them.
    run(
        &mut imap,
        "UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)",
    )?;
    if is(30) {
        run(&mut imap, "UID FETCH * (BODY.PEEK[])")?;
    }
    if is(30) {
        run(&mut imap, "SEARCH UNSEEN SUBJECT harbour")?;
    }
    if is(50) {
        run(&mut imap, "UID STORE * +FLAGS (\\Seen \\Flagged)")?;
    }
    // As many go as come, the oldest first.
    if is(60) {
        let found = imap.answer("UID SEARCH UNDELETED")?;
        let oldest = super::text(&found)
            .split_whitespace()
            .nth(2)
            .and_then(|uid| uid.parse::<u32>().ok());
        if let Some(uid) = oldest {
            run(&mut imap, &format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"))?;
        }
        run(&mut imap, "EXPUNGE")?;
        run(&mut imap, "NOOP")?;
    }
    if is(60) {
        append(&mut imap, pool, buffer)?;
        run(&mut imap, "NOOP")?;
    }
    run(&mut imap, "LOGOUT")?;
    Ok(sent)
}

fn append(imap: &mut Imap, pool: &Pool, buffer: &mut Vec<u8>) -> io::Result<()> {
    let message = pool.fresh(buffer);
    let head = format!("APPEND {MAILBOX} {{{}+}}\r\n", message.len());
    imap.command(&[head.as_bytes(), message].concat()).map(drop)
}
