//! `cvt_xlist_specialuse`: gives mailboxes the special uses that options `xlist-USE: NAME` of old configurations mean.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::ops::ControlFlow;

use cyrus_acl::AuthState;
use cyrus_store::{AnnotationScope, Audience, MailboxEntry, MailboxError, MailboxName, Store};

use super::{BAD_USAGE, TEMPORARY, enter, fatal, matching, open_store};
use crate::config::Config;
use crate::getopt;
use crate::settings;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:v") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("cvt_xlist_specialuse: {bad}");
            return usage();
        }
    };
    if line.arguments.is_empty() {
        return usage();
    }
    let config = match enter(line.argument('C'), "cvt_xlist_specialuse") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let uses = uses(&config);
    if uses.is_empty() {
        eprintln!("no xlist- settings in {}, nothing to do", config.path().display());
        return 0;
    }
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let verbose = line.has('v');
    if verbose {
        for (name, flag) in &uses {
            let _ = writeln!(out, "will set {flag} for folders named {name}");
        }
    }
    let namespace = settings::namespace(&config);
    let mut code = 0;
    for pattern in &line.arguments {
        let found = match matching::mailboxes(&store, &namespace, pattern) {
            Ok(found) => found,
            Err(error) => return fatal(&error, TEMPORARY),
        };
        for entry in &found {
            let Some(flag) = flag_for(entry, &uses) else {
                continue;
            };
            if let Err(error) = set(&store, &entry.name, flag, verbose, out) {
                let _ = out.flush();
                eprintln!("failed to set specialuse {flag} for {}: {error}", entry.name);
                code = TEMPORARY;
            }
        }
    }
    let _ = out.flush();
    code
}

/// Names of folders with the special use that they stand for.
fn uses(config: &Config) -> BTreeMap<String, String> {
    config
        .xlist()
        .map(|(flag, name)| (name.to_owned(), format!("\\{flag}")))
        .collect()
}

/// The use of a mailbox right below an INBOX, by its name.
fn flag_for<'a>(entry: &MailboxEntry, uses: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let inbox = entry.name.inbox()?;
    if entry.name.parent()? != inbox {
        return None;
    }
    let folder = entry.name.components().next_back()?;
    uses.get(folder).map(String::as_str)
}

fn set(
    store: &Store,
    name: &MailboxName,
    flag: &str,
    verbose: bool,
    out: &mut dyn Write,
) -> Result<(), MailboxError> {
    let Some(owner) = name.owner() else { return Ok(()) };
    let auth = store
        .auth(&owner)
        .map_err(|error| MailboxError::Refused(error.to_string()))?;
    let auth = auth.with_admin(true);
    if let Some(holder) = holder(store, name, flag)? {
        if verbose {
            let _ = writeln!(
                out,
                "not setting specialuse {flag} for {name}, already exists as {holder}"
            );
        }
        return Ok(());
    }
    if verbose {
        let _ = writeln!(out, "set specialuse {flag} for {name}");
    }
    let scope = AnnotationScope::Mailbox(name);
    store.set_annotation(
        scope,
        SPECIAL_USE,
        Audience::Private,
        Some(flag.as_bytes()),
        &auth,
    )
}

/// The mailbox of the same user that has the special use.
fn holder(store: &Store, name: &MailboxName, flag: &str) -> Result<Option<MailboxName>, MailboxError> {
    let Some(inbox) = name.inbox() else {
        return Ok(None);
    };
    let mut entries = Vec::new();
    store.list(&inbox.to_dbname(), &AuthState::system(), &mut |entry, _| {
        if inbox.is_ancestor_of(&entry.name) {
            entries.push(entry);
        }
        ControlFlow::Continue(())
    })?;
    for entry in entries {
        let uses = store.special_use(&entry)?;
        if uses.iter().any(|one| one.eq_ignore_ascii_case(flag)) {
            return Ok(Some(entry.name));
        }
    }
    Ok(None)
}

fn usage() -> u8 {
    eprint!("{TEXT}");
    BAD_USAGE
}

const SPECIAL_USE: &str = "/specialuse";

const TEXT: &str = "\
Usage:
    cvt_xlist_specialuse [options] mailbox...

Options:
    -C alt_config       # alternate config file
    -v                  # verbose
";
