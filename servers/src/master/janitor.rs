//! Sweeping up after processes that are gone: their files in the proc directory.

use std::fs;
use std::path::Path;

use crate::procdir;
use crate::syslog::{Level, log};

/// Removes the proc files of processes that do not run.
pub(super) fn sweep(directory: &Path) {
    remove(directory, |owner| !procdir::is_alive(owner));
}

/// Removes the proc files of `pid`.
pub(super) fn after(directory: &Path, pid: u32) {
    remove(directory, |owner| owner == pid);
}

fn remove(directory: &Path, gone: impl Fn(u32) -> bool) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if procdir::owner_of(&path).is_some_and(&gone)
            && let Err(error) = fs::remove_file(&path)
        {
            log(
                Level::Notice,
                &format!("can't remove {}: {error}", path.display()),
            );
        }
    }
}
