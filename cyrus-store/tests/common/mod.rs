//! Spools of real Cyrus for the tests of this crate.

use std::path::{Path, PathBuf};
use std::process::Command;

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
