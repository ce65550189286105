//! `cyr_pwd`: the mailbox that the current directory belongs to.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use cyrus_store::{MailboxId, MailboxName, Store};

use super::{BAD_USAGE, TEMPORARY, enter, fatal, open_store};
use crate::getopt;
use crate::settings;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("cyr_pwd: {bad}");
            return usage();
        }
    };
    // Asked first: another user may not be able to.
    let here = match std::env::current_dir() {
        Ok(here) => here,
        Err(error) => return fatal(&error, TEMPORARY),
    };
    let config = match enter(line.argument('C'), "cyr_pwd") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    match name_at(&store, &here) {
        Ok(Some(name)) => {
            let shown = settings::namespace(&config).to_client(&name, None, true);
            let _ = writeln!(out, "{shown}");
        }
        Ok(None) => eprintln!("ERROR: not in Cyrus UUID mailbox directory"),
        Err(error) => return fatal(&error, TEMPORARY),
    }
    let _ = out.flush();
    0
}

/// The mailbox whose directory this is: by the unique id that it is called after, or by its place on a partition.
pub(super) fn name_at(store: &Store, path: &Path) -> Result<Option<MailboxName>, cyrus_store::MailboxError> {
    let id = path
        .file_name()
        .and_then(|id| id.to_str())
        .and_then(MailboxId::new);
    if let Some(id) = id
        && let Some(entry) = store.lookup_id(&id)?
    {
        return Ok(Some(entry.name.clone()));
    }
    let options = store.options();
    let roots = options.partitions.values().flat_map(|paths| {
        [Some(&paths.data), paths.meta.as_ref(), paths.archive.as_ref()]
            .into_iter()
            .flatten()
    });
    for root in roots {
        if let Ok(sub) = path.strip_prefix(root)
            && let Some(name) = options.name_of_legacy_dir(sub)
            && store.lookup(&name)?.is_some()
        {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn usage() -> u8 {
    eprintln!("usage: cyr_pwd [-C <alt_config>]");
    BAD_USAGE
}
