//! `cyr_snapshot`: copies of the store as of one moment, which share message files with it, and mailboxes and messages out of
//! them.

use std::ffi::OsString;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use cyrus_acl::AuthState;
use cyrus_store::{MailboxError, MailboxName, Namespace, Store, Uid, UidSet};

use super::progress::Progress;
use super::{BAD_USAGE, TEMPORARY, enter, fatal, open_store};
use crate::getopt::{self, CommandLine};
use crate::settings;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:aqt:uU:w") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("cyr_snapshot: {bad}");
            return usage();
        }
    };
    let [action, directory, rest @ ..] = line.arguments.as_slice() else {
        return usage();
    };
    let config = match enter(line.argument('C'), "cyr_snapshot") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let mut tool = Tool {
        namespace: settings::namespace(&config),
        store,
        quiet: line.has('q'),
        out,
    };
    let directory = Path::new(directory);
    let done = match (action.as_str(), rest) {
        ("create", names) => tool.create(directory, names, &line),
        ("list", []) => tool.list(directory),
        ("restore", [_, ..]) => tool.restore(directory, rest, &line),
        ("restore", []) if line.has('a') => tool.restore(directory, rest, &line),
        _ => return usage(),
    };
    let _ = tool.out.flush();
    match done {
        Ok(()) => 0,
        Err(error) => fatal(&error, TEMPORARY),
    }
}

struct Tool<'o> {
    store: Store,
    namespace: Namespace,
    quiet: bool,
    out: &'o mut dyn Write,
}

impl Tool<'_> {
    fn names(&self, arguments: &[String], line: &CommandLine) -> Result<Vec<MailboxName>, MailboxError> {
        let name = |argument: &String| {
            let name = match line.has('u') {
                true => self.namespace.inbox(argument),
                false => self.namespace.to_internal(argument, None, true),
            };
            name.map_err(MailboxError::BadName)
        };
        arguments.iter().map(name).collect()
    }

    fn shown(&self, name: &MailboxName) -> String {
        self.namespace.to_client(name, None, true)
    }

    /// Makes a snapshot of the mailboxes named and those below them, or of all.
    fn create(&mut self, to: &Path, names: &[String], line: &CommandLine) -> Result<(), MailboxError> {
        let tops = self.names(names, line)?;
        let is_wanted = |name: &MailboxName| {
            tops.is_empty() || tops.iter().any(|top| name == top || top.is_ancestor_of(name))
        };
        let mut total = 0;
        self.store.list("", &AuthState::system(), &mut |entry, _| {
            total += u64::from(is_wanted(&entry.name));
            ControlFlow::Continue(())
        })?;
        let mut progress = Progress::of("mailboxes", total, self.quiet);
        let done = self
            .store
            .snapshot(to, line.has('w'), &is_wanted, &mut |_| progress.step())?;
        if !self.quiet {
            let _ = writeln!(
                self.out,
                "{}: {} mailboxes, {} messages, {} of them copied",
                to.display(),
                done.mailboxes,
                done.messages,
                done.copied
            );
        }
        Ok(())
    }

    /// Lists the mailboxes of a snapshot, with the number of their messages.
    fn list(&mut self, from: &Path) -> Result<(), MailboxError> {
        let snapshot = self.store.open_snapshot(from)?;
        for name in mailboxes(&snapshot, None)? {
            let exists = snapshot
                .open_mailbox(&name, &AuthState::system())
                .and_then(|mut mailbox| Ok(mailbox.read()?.exists()));
            let shown = self.shown(&name);
            match exists {
                Ok(exists) => {
                    let _ = writeln!(self.out, "{exists:8} {shown}");
                }
                Err(error) => eprintln!("{shown}: {error}"),
            }
            snapshot.forget_idle();
        }
        Ok(())
    }

    /// Restores mailboxes of a snapshot and those below them, or messages of one.
    fn restore(&mut self, from: &Path, names: &[String], line: &CommandLine) -> Result<(), MailboxError> {
        let snapshot = self.store.open_snapshot(from)?;
        let uids = match line.argument('U').map(uid_set) {
            None => None,
            Some(Some(uids)) => Some(uids),
            Some(None) => {
                return Err(MailboxError::Refused(
                    "-U: not a set of UIDs, such as 1,5:9".to_owned(),
                ));
            }
        };
        let target = match line.argument('t') {
            Some(target) => Some(
                self.namespace
                    .to_internal(target, None, true)
                    .map_err(MailboxError::BadName)?,
            ),
            None => None,
        };
        let tops = self.names(names, line)?;
        let one_only = uids.is_some() || target.is_some();
        let wanted = match (line.has('a'), one_only) {
            (true, _) => mailboxes(&snapshot, None)?,
            (false, true) => tops,
            (false, false) => mailboxes(&snapshot, Some(&tops))?,
        };
        if wanted.is_empty() {
            return Err(MailboxError::NotFound);
        }
        for name in wanted {
            let to = target.as_ref().unwrap_or(&name);
            let done = self.store.restore_messages(&snapshot, &name, uids.as_ref(), to)?;
            if !self.quiet {
                let made = if done.created { ", which was made" } else { "" };
                let _ = writeln!(
                    self.out,
                    "{}: {} messages restored to {}{made}, {} were there",
                    self.shown(&name),
                    done.messages,
                    self.shown(to),
                    done.present
                );
            }
            snapshot.forget_idle();
            self.store.forget_idle();
        }
        Ok(())
    }
}

/// The mailboxes of a snapshot at or below some names, or all.
fn mailboxes(snapshot: &Store, tops: Option<&[MailboxName]>) -> Result<Vec<MailboxName>, MailboxError> {
    let mut names = Vec::new();
    snapshot.list("", &AuthState::system(), &mut |entry, _| {
        let is_wanted = |tops: &[MailboxName]| {
            let name = &entry.name;
            tops.iter().any(|top| name == top || top.is_ancestor_of(name))
        };
        if tops.is_none_or(is_wanted) {
            names.push(entry.name);
        }
        ControlFlow::Continue(())
    })?;
    Ok(names)
}

/// A set of UIDs: `1,5:9`.
fn uid_set(text: &str) -> Option<UidSet> {
    let uid = |text: &str| text.parse().ok().and_then(Uid::new);
    let ranges = text.split(',').map(|range| match range.split_once(':') {
        Some((first, last)) => Some(uid(first)?..=uid(last)?),
        None => Some(uid(range)?..=uid(range)?),
    });
    let ranges: Option<Vec<_>> = ranges.collect();
    ranges.map(UidSet::from_ranges)
}

fn usage() -> u8 {
    eprint!("{USAGE}");
    BAD_USAGE
}

const USAGE: &str = "Usage: cyr_snapshot [-C <config-file>] [-q] create [-w] [-u] <directory> [mailbox...]
       cyr_snapshot [-C <config-file>] list <directory>
       cyr_snapshot [-C <config-file>] [-q] restore [-u] [-U <uids>] [-t <mailbox>] <directory> <mailbox...>
       cyr_snapshot [-C <config-file>] [-q] restore -a <directory>

create copies the store, or the mailboxes named and those below them, into a new directory; messages are hard links if it
is on the disk of their partition. The mailboxes of one user are as of one moment.
restore appends messages of a snapshot, with flags and dates, to the mailboxes that they were in; what is there is left out,
and mailboxes that are missing are made.

-C <config-file>   use <config-file> instead of config from imapd.conf
-w                 the whole as of one moment: nobody can change a mailbox until all are copied
-u                 give usernames instead of mailbox names
-U <uids>          these messages only, such as 1,5:9
-t <mailbox>       to another mailbox
-a                 all mailboxes of the snapshot
-q                 run quietly
";
