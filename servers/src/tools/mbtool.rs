//! `mbtool`: sets internal dates right by the messages' own (`-t`), or gives mailboxes new unique ids (`-r`).

use std::ffi::OsString;
use std::io::Write;

use cyrus_acl::AuthState;
use cyrus_store::{MailboxEntry, MailboxError, Namespace, Store};

use super::{BAD_USAGE, TEMPORARY, enter, fatal, matching, open_store, time};
use crate::getopt;
use crate::settings;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:rt") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("mbtool: {bad}");
            return usage();
        }
    };
    let work: Work = match (line.has('r'), line.has('t')) {
        (true, false) => renew,
        (false, true) => redate,
        _ => return usage(),
    };
    if line.arguments.is_empty() {
        return usage();
    }
    let config = match enter(line.argument('C'), "mbtool") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let namespace = settings::namespace(&config);
    let mut code = 0;
    for pattern in &line.arguments {
        let found = match matching::mailboxes(&store, &namespace, pattern) {
            Ok(found) => found,
            Err(error) => return fatal(&error, TEMPORARY),
        };
        for entry in &found {
            if let Err(error) = work(&store, &namespace, entry, out) {
                eprintln!("mbtool: {}: {error}", entry.name);
                code = TEMPORARY;
            }
            store.forget_idle();
        }
    }
    let _ = out.flush();
    code
}

type Work = fn(&Store, &Namespace, &MailboxEntry, &mut dyn Write) -> Result<(), MailboxError>;

fn redate(
    store: &Store,
    namespace: &Namespace,
    entry: &MailboxEntry,
    out: &mut dyn Write,
) -> Result<(), MailboxError> {
    let shown = namespace.to_client(&entry.name, None, true);
    let _ = writeln!(out, "Working on {shown}...");
    let mut mailbox = store.open_mailbox(&entry.name, &AuthState::system())?;
    for change in mailbox.normalize_internal_dates()? {
        let (was, now) = (time::rfc5322(change.was.into()), time::rfc5322(change.now.into()));
        let _ = writeln!(out, "  {}: {was} => {now}", change.uid);
    }
    Ok(())
}

fn renew(
    store: &Store,
    namespace: &Namespace,
    entry: &MailboxEntry,
    out: &mut dyn Write,
) -> Result<(), MailboxError> {
    let shown = namespace.to_client(&entry.name, None, true);
    let _ = writeln!(out, "Working on {shown}...");
    if !entry.mbtype.legacy_dirs {
        let _ = writeln!(out, "Non-legacy mailbox, cannot reid: {shown}");
        return Ok(());
    }
    store.renew_id(&entry.name).map(drop)
}

fn usage() -> u8 {
    eprint!("{TEXT}");
    BAD_USAGE
}

const TEXT: &str = "\
Usage:
    mbtool [options] {-r|-t} mailbox...

Commands:
    -r    create new unique IDs for specified mailboxes
    -t    normalise internaldates in specified mailboxes

Options:
    -C alt_config  use alternate imapd.conf file
";
