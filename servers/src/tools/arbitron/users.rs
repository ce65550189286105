//! Everybody who has a file of his own, with or without an INBOX here.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use cyrus_acl::AuthState;
use cyrus_store::{MailboxError, Store};

/// The userids: owners of INBOXes, and those whose files lie under their names.
pub(super) fn with_files(store: &Store) -> Result<BTreeSet<String>, MailboxError> {
    let mut users = BTreeSet::new();
    store.list("", &AuthState::system(), &mut |entry, _| {
        if entry.name.is_user_inbox() {
            users.extend(entry.name.owner());
        }
        ControlFlow::Continue(())
    })?;
    let base = &store.options().config_dir;
    named(&base.join("user"), None, &mut users);
    for letter in directories(&base.join("domain")) {
        for domain in directories(&letter) {
            let name = domain
                .file_name()
                .and_then(|name| name.to_str())
                .map(str::to_owned);
            if let Some(name) = name {
                named(&domain.join("user"), Some(&name), &mut users);
            }
        }
    }
    Ok(users)
}

/// The users whose files lie in hash directories.
fn named(base: &Path, domain: Option<&str>, users: &mut BTreeSet<String>) {
    for letter in directories(base) {
        if letter.file_name().is_some_and(|name| name.len() != 1) {
            continue;
        }
        for file in fs::read_dir(&letter).into_iter().flatten().flatten() {
            let name = file.file_name();
            let user = name
                .to_str()
                .and_then(|name| name.strip_suffix(".seen").or_else(|| name.strip_suffix(".sub")));
            if let Some(user) = user.filter(|user| !user.is_empty()) {
                users.insert(match domain {
                    Some(domain) => format!("{user}@{domain}"),
                    None => user.to_owned(),
                });
            }
        }
    }
}

fn directories(base: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
