//! `relocate_by_id`: moves mailboxes whose directories follow their names to directories by unique id.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use cyrus_acl::AuthState;
use cyrus_store::{MailboxError, MailboxName, Namespace, Relocated, Store};

use super::{BAD_USAGE, TEMPORARY, enter, fatal, open_store};
use crate::getopt::{self, CommandLine};
use crate::settings;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:qnu") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("relocate_by_id: {bad}");
            return usage();
        }
    };
    if line.arguments.is_empty() {
        eprintln!("please specify a mailbox to recurse from");
        return usage();
    }
    let config = match enter(line.argument('C'), "relocate_by_id") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let namespace = settings::namespace(&config);
    let mut code = 0;
    for argument in &line.arguments {
        match tree(&store, &namespace, &line, argument) {
            Ok(names) if names.is_empty() => {
                let kind = if line.has('u') { "user" } else { "mailbox" };
                eprintln!("{argument}: {kind} not found");
            }
            Ok(names) => {
                let mut moved = false;
                // The INBOX last: files of the user are found by it.
                for name in names.iter().rev() {
                    match relocate(&store, name, &line, out) {
                        Ok(is_moved) => moved |= is_moved,
                        Err(error) => {
                            let _ = out.flush();
                            eprintln!("relocate_by_id: {name}: {error}");
                            moved = true;
                            code = TEMPORARY;
                        }
                    }
                    store.forget_idle();
                }
                if !moved && !line.has('q') {
                    let kind = if line.has('u') { "user" } else { "mailbox" };
                    eprintln!("{argument}: {kind} already relocated");
                }
            }
            Err(error) => return fatal(&error, TEMPORARY),
        }
    }
    let _ = out.flush();
    code
}

/// The mailbox that an argument means, and those below it, the deleted ones of a user too.
fn tree(
    store: &Store,
    namespace: &Namespace,
    line: &CommandLine,
    argument: &str,
) -> Result<Vec<MailboxName>, MailboxError> {
    let top = match line.has('u') {
        true => namespace.inbox(argument),
        false => namespace.to_internal(argument, None, true),
    };
    let top = top.map_err(MailboxError::BadName)?;
    let deleted_prefix = &store.options().deleted_prefix;
    let owner = top.owner().filter(|_| top.is_user_inbox());
    let mut names = Vec::new();
    store.list("", &AuthState::system(), &mut |entry, _| {
        let name = &entry.name;
        let of_user = owner.is_some() && name.owner_even_deleted(deleted_prefix) == owner;
        if *name == top || top.is_ancestor_of(name) || of_user {
            names.push(entry.name);
        }
        std::ops::ControlFlow::Continue(())
    })?;
    names.sort();
    Ok(names)
}

/// Says whether there was anything to be moved.
fn relocate(
    store: &Store,
    name: &MailboxName,
    line: &CommandLine,
    out: &mut dyn Write,
) -> Result<bool, MailboxError> {
    // What is there is known before it is moved.
    let Relocated::Moved(moved) = store.relocate(name, true)? else {
        return Ok(false);
    };
    let (from, to) = (&moved.from, &moved.to);
    let directory = |path: &Path| path.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut pairs = vec![(from.data.clone(), to.data.clone())];
    for pair in [
        (from.archive.clone(), to.archive.clone()),
        (directory(&from.header), directory(&to.header)),
        (directory(&from.index), directory(&to.index)),
        (directory(&from.cache), directory(&to.cache)),
    ] {
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    pairs.retain(|(from, _)| from.is_dir());
    if !line.has('q') {
        let _ = writeln!(out, "\nRelocating: {name}");
        for (from, to) in &pairs {
            let _ = writeln!(out, "\tRenaming: {}\t -> {}", from.display(), to.display());
        }
    }
    if !line.has('n') {
        store.relocate(name, false)?;
    }
    Ok(true)
}

fn usage() -> u8 {
    eprint!("{TEXT}");
    BAD_USAGE
}

const TEXT: &str = "\
Usage: relocate_by_id [OPTIONS] mailbox...
A tool to relocate mailbox trees by their ids.

-C <config-file>   use <config-file> instead of config from imapd.conf
-q                 run quietly
-n                 do not make changes
-u                 give usernames instead of mailbox prefixes
";
