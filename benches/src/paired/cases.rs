//! The workloads.

mod append;
mod big;
mod idle;
mod lmtp;
mod login;
mod mixed;
mod ping;
mod syncs;

use std::io;

use super::Error;
use super::arguments::Arguments;
use super::meter::Cost;
use super::report::{Better, Report};
use super::start::USERS;
use super::target::Target;
use super::wire::{Imap, text};

/// All cases, in the order in which they run.
pub(super) const NAMES: [&str; 8] = ["lmtp", "append", "login", "ping", "mixed", "big", "idle", "syncs"];

/// Runs one case on every server.
pub(super) fn run(
    case: &str,
    targets: &[Target],
    arguments: &Arguments,
    report: &mut Report,
) -> Result<(), Error> {
    let outcome = match case {
        "lmtp" => lmtp::run(targets, arguments, report),
        "append" => append::run(targets, arguments, report),
        "login" => login::run(targets, arguments, report),
        "ping" => ping::run(targets, arguments, report),
        "mixed" => mixed::run(targets, arguments, report),
        "big" => big::run(targets, arguments, report),
        "idle" => idle::run(targets, arguments, report),
        "syncs" => syncs::run(targets, report),
        _ => return Err(format!("there is no case {case}; there are {}", NAMES.join(", ")).into()),
    };
    outcome.map_err(|error| format!("{case}: {error}").into())
}

/// Calls `measure(round, target)` for every server in every round, in an order that rotates; round 0 is to warm up.
fn rounds(
    targets: &[Target],
    count: u32,
    mut measure: impl FnMut(u32, &Target) -> io::Result<()>,
) -> io::Result<()> {
    for round in 0..=count {
        let first = usize::try_from(round).unwrap_or(0) % targets.len().max(1);
        for target in targets.iter().cycle().skip(first).take(targets.len()) {
            measure(round, target).map_err(|error| io::Error::other(format!("{}: {error}", target.name)))?;
        }
    }
    Ok(())
}

/// A rate and what it cost the server, unless it was the round to warm up.
fn add_rate(report: &mut Report, round: u32, target: &Target, case: &str, unit: &'static str, cost: &Cost) {
    if round > 0 {
        report.add(target, case, unit, Better::Higher, cost.rate());
        report.add(
            target,
            &format!("{case}: server CPU"),
            "ms/operation",
            Better::Lower,
            cost.cpu_per_operation(),
        );
    }
}

/// A user's name, by a number that wraps around.
fn user(number: usize) -> String {
    format!("user{}", number % USERS + 1)
}

/// Gives a fresh mailbox to a user, in place of one that is there.
fn fresh_mailbox(imap: &mut Imap, name: &str) -> io::Result<()> {
    // It need not exist.
    let _ = imap.command(format!("DELETE {name}").as_bytes());
    imap.command(format!("CREATE {name}").as_bytes()).map(drop)
}

/// How many messages a mailbox holds.
fn messages(imap: &mut Imap, name: &str) -> io::Result<u64> {
    let answer = imap.answer(&format!("STATUS {name} (MESSAGES)"))?;
    let answer = text(&answer);
    let number = answer
        .split_once("(MESSAGES ")
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(number, _)| number.parse());
    number
        .and_then(Result::ok)
        .ok_or_else(|| io::Error::other(format!("STATUS said {answer}")))
}

/// Empties a user's INBOX.
fn empty_inbox(target: &Target, user: &str) -> io::Result<()> {
    let mut imap = Imap::login(target, user)?;
    if messages(&mut imap, "INBOX")? > 0 {
        imap.command(b"SELECT INBOX")?;
        imap.command(b"STORE 1:* +FLAGS.SILENT (\\Deleted)")?;
        imap.command(b"EXPUNGE")?;
    }
    Ok(())
}
