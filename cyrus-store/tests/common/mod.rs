//! Spools of real Cyrus for the tests of this crate.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use cyrus_acl::AuthState;
use cyrus_store::{Level, Log, Mailbox, MailboxName, Store, StoreOptions};

/// Unpacks one of the archives of `tests/golden`.
pub(crate) fn spool(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory for the spool");
    let archive = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{name}.tar.xz"));
    let status = Command::new("tar")
        .arg("-xJf")
        .arg(&archive)
        .arg("-C")
        .arg(dir.path())
        .arg("--no-same-owner")
        .status();
    assert!(
        status.expect("tar and xz are installed").success(),
        "unpacking {}",
        archive.display()
    );
    dir
}

/// Every file of this name below `root`.
pub(crate) fn files_named(root: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).expect("a readable directory") {
            let entry = entry.expect("a readable directory");
            if entry.file_type().expect("a file type").is_dir() {
                left.push(entry.path());
            } else if entry.file_name() == name {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// The store of an unpacked spool with uuid directories and default databases.
pub(crate) fn store(root: &Path) -> Store {
    let mut options = StoreOptions::new(root.join("conf")).partition("default", root.join("spool"));
    options.log = Arc::new(StderrLog);
    Store::open(options).expect("the default partition is there")
}

struct StderrLog;

impl Log for StderrLog {
    fn record(&self, level: Level, what: std::fmt::Arguments<'_>) {
        eprintln!("{level:?}: {what}");
    }
}

/// The mailbox of this internal name.
pub(crate) fn name(internal: &str) -> MailboxName {
    MailboxName::parse(internal).expect("a mailbox name")
}

/// Opens a mailbox as this user.
pub(crate) fn open(store: &Store, internal: &str, userid: &str) -> Mailbox {
    let auth = AuthState::user(userid).expect("a userid");
    store
        .open_mailbox(&name(internal), &auth)
        .expect("a mailbox that the user can open")
}
