//! `cyr_userseen`: users' seen databases need not say what they have seen in mailboxes of their own, which the indexes
//! know; this finds such rows, and with `-d` removes them.

use std::ffi::OsString;
use std::io::Write;

use cyrus_acl::AuthState;
use cyrus_store::{MailboxEntry, MailboxError, Store};

use super::{BAD_USAGE, TEMPORARY, enter, fatal, open_store};
use crate::getopt;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:d") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("cyr_userseen: {bad}");
            return usage();
        }
    };
    let config = match enter(line.argument('C'), "cyr_userseen") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let mut entries = Vec::new();
    let listed = store.list("", &AuthState::system(), &mut |entry, _| {
        entries.push(entry);
        std::ops::ControlFlow::Continue(())
    });
    if let Err(error) = listed {
        return fatal(&error, TEMPORARY);
    }
    let mut code = 0;
    for entry in entries {
        if let Err(error) = look(&store, &entry, line.has('d'), out) {
            eprintln!("cyr_userseen: {}: {error}", entry.name);
            code = TEMPORARY;
        }
        store.forget_idle();
    }
    let _ = out.flush();
    code
}

fn look(store: &Store, entry: &MailboxEntry, remove: bool, out: &mut dyn Write) -> Result<(), MailboxError> {
    let owner = entry.name.owner_even_deleted(&store.options().deleted_prefix);
    let (Some(owner), Some(id)) = (owner, &entry.id) else {
        return Ok(());
    };
    let _ = writeln!(out, "removing seen for {owner} on {}", entry.name);
    if remove {
        store.forget_seen(&owner, id)?;
    }
    Ok(())
}

fn usage() -> u8 {
    eprintln!("cyr_userseen [-C <altconfig>] -d");
    BAD_USAGE
}
