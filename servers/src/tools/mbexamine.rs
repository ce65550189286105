//! `mbexamine`: what the header, the index and the cache of mailboxes say.

mod compare;
mod print;

use std::ffi::OsString;
use std::io::Write;

use cyrus_acl::AuthState;
use cyrus_store::{Mailbox, MailboxError, MailboxName, Store};

use super::{BAD_USAGE, DATA_ERROR, TEMPORARY, enter, fatal, matching, open_store};
use crate::getopt;
use crate::settings;
use crate::syslog::{Level, log};

/// Runs with the arguments `args` (without the program's name): patterns as LIST has them; without any, all mailboxes.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:u:s:qc") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("mbexamine: {bad}");
            return usage();
        }
    };
    // As with Cyrus, 0 and what is no number choose nothing.
    let number = |letter| {
        let text = line.argument(letter).unwrap_or_default();
        let digits = text
            .split(|c: char| !c.is_ascii_digit())
            .next()
            .unwrap_or_default();
        digits.parse::<u32>().ok().filter(|number| *number != 0)
    };
    let wanted = match (number('u'), number('s')) {
        (Some(_), Some(_)) => return usage(),
        (Some(uid), None) => Wanted::Uid(uid),
        (None, Some(number)) => Wanted::Number(number),
        (None, None) => Wanted::All,
    };
    let what = match (line.has('c'), line.has('q')) {
        (true, _) => What::Compare,
        (false, true) => What::Quota,
        (false, false) => What::Print,
    };
    let config = match enter(line.argument('C'), "mbexamine") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let namespace = settings::namespace(&config);
    let all = ["*".to_owned()];
    let patterns = if line.arguments.is_empty() {
        all.as_slice()
    } else {
        &line.arguments
    };
    let mut code = 0;
    for pattern in patterns {
        let entries = match matching::mailboxes(&store, &namespace, pattern) {
            Ok(entries) => entries,
            Err(error) => return fatal(&error, TEMPORARY),
        };
        for name in entries.into_iter().map(|entry| entry.name) {
            let shown = namespace.to_client(&name, None, true);
            let _ = write!(out, "Examining {shown}...");
            if let Err(error) = examine(&store, &name, what, wanted, out) {
                let _ = writeln!(out).and_then(|()| out.flush());
                let text = format!("{shown}: {error}");
                log(Level::Error, &text);
                eprintln!("mbexamine: {text}");
                code = DATA_ERROR;
            }
        }
    }
    let _ = out.flush();
    code
}

#[derive(Clone, Copy)]
enum What {
    Print,
    Quota,
    Compare,
}

/// The messages that are asked for.
#[derive(Clone, Copy)]
enum Wanted {
    All,
    Uid(u32),
    Number(u32),
}

impl Wanted {
    fn includes(self, number: u32, uid: u32) -> bool {
        match self {
            Self::All => true,
            Self::Uid(wanted) => wanted == uid,
            Self::Number(wanted) => wanted == number,
        }
    }
}

fn examine(
    store: &Store,
    name: &MailboxName,
    what: What,
    wanted: Wanted,
    out: &mut dyn Write,
) -> Result<(), MailboxError> {
    let mut mailbox = store.open_mailbox(name, &AuthState::system())?;
    let entry = mailbox.entry().clone();
    match what {
        What::Print => print::run(&mut mailbox, &entry, wanted, out),
        What::Quota => quota(&mut mailbox, out),
        What::Compare => compare::run(&mut mailbox, &entry, wanted, out),
    }
}

/// Whether the sizes in the index are those of the files, and their sum that in its header.
fn quota(mailbox: &mut Mailbox, out: &mut dyn Write) -> Result<(), MailboxError> {
    let read = mailbox.read()?;
    let mut sum = 0;
    for message in read.messages() {
        match message.file() {
            Ok(_) => sum += u64::from(message.size()),
            Err(MailboxError::MessageGone | MailboxError::Damaged { .. }) => {
                let uid = message.uid();
                let _ = writeln!(out, "  Message {uid} has INCORRECT size in index record");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    let verdict = if sum == read.size() {
        "CORRECT"
    } else {
        "INCORRECT"
    };
    let _ = writeln!(out, "  Mailbox has {verdict} total quota usage");
    Ok(())
}

fn usage() -> u8 {
    eprintln!("{TEXT}");
    BAD_USAGE
}

const TEXT: &str = "\
usage: mbexamine [-C <alt_config>] [-s seqnum] mailbox...
       mbexamine [-C <alt_config>] [-u uid] mailbox...
       mbexamine [-C <alt_config>] -q mailbox...
       mbexamine [-C <alt_config>] -c mailbox...";
