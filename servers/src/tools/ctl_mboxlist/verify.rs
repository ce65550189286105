//! `-v`: compares the list with the spool.
//!
//! A mailbox is there if the directory that belongs to it holds a `cyrus.header`, in the layout by unique id too;
//! tombstones, intermediate names and mailboxes on other servers have no directory and need none.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use cyrus_store::format::header::MailboxHeader;
use cyrus_store::format::mboxentry::MailboxRow;
use cyrus_store::{MailboxError, MailboxId, MailboxName, Partition, Store};

/// Prints what is in the list and not in the spool, and the other way round, in the order of the list.
pub(super) fn run(store: &Store, out: &mut dyn Write) -> Result<u8, MailboxError> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut known = BTreeSet::new();
    for (name, row) in store.rows()? {
        if !row.mbtype.is_usable() {
            continue;
        }
        let directory = directory(store, &name, &row);
        match directory.filter(|directory| has_header(directory)) {
            Some(directory) => {
                known.insert(directory);
            }
            None => {
                let partition = row.partition.as_deref().unwrap_or("(null)");
                found.push((
                    name.to_dbname(),
                    format!("'{name}' has a DB entry but no directory on partition '{partition}'"),
                ));
            }
        }
    }
    let options = store.options();
    for roots in options.partitions.values() {
        let meta = roots.meta.as_ref().filter(|_| options.metapartition_files.header);
        let root = meta.unwrap_or(&roots.data);
        for directory in mailbox_directories(root) {
            if known.contains(&directory) {
                continue;
            }
            let (order, name) = name_of(store, root, &directory);
            let shown = directory.display();
            found.push((
                order,
                format!("'{name}' has a directory '{shown}' but no DB entry"),
            ));
        }
    }
    found.sort();
    for (_, line) in found {
        let _ = writeln!(out, "{line}");
    }
    Ok(0)
}

/// Where the header of a mailbox is to be.
fn directory(store: &Store, name: &MailboxName, row: &MailboxRow) -> Option<PathBuf> {
    let partition = row.partition.as_deref().and_then(Partition::new)?;
    let id = match &row.id {
        Some(id) => MailboxId::new(id)?,
        // A row from an old dump, whose directory goes by its name.
        None => MailboxId::new("00")?,
    };
    let legacy = row.mbtype.legacy_dirs || row.id.is_none();
    let paths = store
        .options()
        .mailbox_paths(&partition, &id, name, legacy)
        .ok()?;
    paths.header.parent().map(Path::to_path_buf)
}

fn has_header(directory: &Path) -> bool {
    directory.join(HEADER).is_file()
}

/// The directories below a root that hold a header. Links are not followed.
fn mailbox_directories(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(directory) = left.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(entry.path());
            } else if entry.file_name() == HEADER {
                found.push(directory.clone());
            }
        }
    }
    found
}

/// What a directory would be called in the list, in the form that sorts and in the one that is shown.
fn name_of(store: &Store, root: &Path, directory: &Path) -> (String, String) {
    let sub = directory.strip_prefix(root).unwrap_or(directory);
    let header = || MailboxHeader::parse(&std::fs::read(directory.join(HEADER)).ok()?).ok();
    let name = if sub.starts_with("uuid") {
        header().and_then(|header| MailboxName::parse(&header.name).ok())
    } else {
        store.options().name_of_legacy_dir(sub)
    };
    match name {
        Some(name) => (name.to_dbname(), name.to_string()),
        None => {
            let last = sub.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (last.clone(), last)
        }
    }
}

const HEADER: &str = "cyrus.header";
