//! `chk_cyrus`: which files of the mailboxes are missing, a list for whoever brings them back from a backup.

use std::ffi::OsString;
use std::io::Write;

use cyrus_acl::AuthState;
use cyrus_store::{MailboxEntry, MailboxError, MailboxName, Store};

use super::{TEMPORARY, USAGE, enter, fatal, matching, open_store};
use crate::getopt;

/// Runs with the arguments `args` (without the program's name): missing files to `out`, what is looked at to `err`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:P:M:") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("chk_cyrus: {bad}");
            return usage();
        }
    };
    let (partition, mailbox) = (line.argument('P'), line.argument('M'));
    if partition.is_some() && mailbox.is_some() {
        return usage();
    }
    let config = match enter(line.argument('C'), "chk_cyrus") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    match mailbox {
        Some(mailbox) => {
            let _ = writeln!(err, "Examining mailbox: {mailbox}");
        }
        None => {
            let shown = partition.unwrap_or("ALL PARTITIONS");
            let _ = writeln!(err, "Examining partition: {shown}");
        }
    }
    let entries = match wanted(&store, mailbox, partition) {
        Ok(entries) => entries,
        Err(error) => return fatal(&error, TEMPORARY),
    };
    let mut code = 0;
    for entry in entries {
        let _ = writeln!(err, "checking: {}", entry.name);
        if let Err(error) = check(&store, &entry, out) {
            let _ = out.flush();
            let _ = writeln!(err, "bad mailbox {} in chkmbox: {error}", entry.name);
            code = TEMPORARY;
        }
        store.forget_idle();
    }
    let _ = out.flush();
    code
}

/// The mailboxes that the switches mean.
fn wanted(
    store: &Store,
    mailbox: Option<&str>,
    partition: Option<&str>,
) -> Result<Vec<MailboxEntry>, MailboxError> {
    if let Some(mailbox) = mailbox {
        let name = MailboxName::parse(mailbox).map_err(MailboxError::BadName)?;
        let entry = store.lookup(&name)?.ok_or(MailboxError::NotFound)?;
        return Ok(vec![MailboxEntry::clone(&entry)]);
    }
    let mut found = matching::all(store)?;
    found.retain(|entry| {
        let here = entry.partition.as_ref().map(|partition| partition.as_str());
        entry.mbtype.is_usable() && partition.is_none_or(|wanted| here == Some(wanted))
    });
    Ok(found)
}

/// Prints what is missing of one mailbox.
fn check(store: &Store, entry: &MailboxEntry, out: &mut dyn Write) -> Result<(), MailboxError> {
    let (Some(id), Some(partition)) = (&entry.id, &entry.partition) else {
        return Ok(());
    };
    let name = &entry.name;
    let paths = store
        .options()
        .mailbox_paths(partition, id, name, entry.mbtype.legacy_dirs)?;
    for file in [&paths.header, &paths.index] {
        if !file.exists() {
            let _ = writeln!(out, "{name} {} not found", file.display());
            return Ok(());
        }
    }
    let mut mailbox = store.open_mailbox(name, &AuthState::system())?;
    let read = mailbox.read()?;
    for message in read.messages() {
        let record = message.record()?;
        if !paths.message(record.uid, record.is_archived()).exists() {
            let _ = writeln!(out, "{name} uid {} not found", record.uid);
        }
    }
    Ok(())
}

fn usage() -> u8 {
    eprintln!("chk_cyrus [-C <altconfig>] [-P partition | -M mailbox]");
    USAGE
}
