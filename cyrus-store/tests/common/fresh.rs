//! New stores in temporary directories, for tests of what changes the mailbox list.

#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use cyrus_acl::AuthState;
use cyrus_store::db::{Create, DbContext, Engine};
use cyrus_store::options::PartitionPaths;
use cyrus_store::{MailboxError, MailboxName, NewMessage, Partition, QuotaRoot, Store, StoreOptions};
use tempfile::TempDir;

/// The mailbox of this internal name.
pub(crate) fn name(internal: &str) -> MailboxName {
    MailboxName::parse(internal).unwrap()
}

/// A new store with two partitions; `change` may change its options.
pub(crate) fn new_store(change: impl FnOnce(&mut StoreOptions)) -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let mut options = StoreOptions::new(root.join("conf")).partition("default", root.join("spool"));
    let news = PartitionPaths {
        data: root.join("news"),
        meta: None,
        archive: None,
    };
    options.partitions.insert(partition("news"), news);
    change(&mut options);
    let store = Store::open(options).unwrap();
    (dir, store)
}

pub(crate) fn partition(name: &str) -> Partition {
    Partition::new(name).unwrap()
}

pub(crate) fn user(userid: &str) -> AuthState {
    AuthState::user(userid).unwrap()
}

pub(crate) fn admin() -> AuthState {
    user("admin").with_admin(true)
}

pub(crate) fn create(store: &Store, internal: &str, auth: &AuthState) -> Result<(), MailboxError> {
    store.create(&name(internal), auth).map(drop)
}

/// A store in which these mailboxes have been created.
pub(crate) fn store_with(mailboxes: &[&str]) -> (TempDir, Store) {
    let (dir, store) = new_store(|_| {});
    for mailbox in mailboxes {
        create(&store, mailbox, &admin()).unwrap();
    }
    (dir, store)
}

pub(crate) fn append(store: &Store, internal: &str, count: usize) {
    let mut mailbox = store.open_mailbox(&name(internal), &AuthState::system()).unwrap();
    let message = || NewMessage::from_bytes(b"Subject: x\r\n\r\nhello\r\n".to_vec());
    let messages: Vec<NewMessage> = (0..count).map(|_| message()).collect();
    mailbox.append(messages).unwrap();
}

pub(crate) fn exists(store: &Store, internal: &str) -> u32 {
    let mut mailbox = store.open_mailbox(&name(internal), &AuthState::system()).unwrap();
    mailbox.read().unwrap().exists()
}

pub(crate) fn listed(store: &Store, auth: &AuthState) -> Vec<String> {
    let mut names = Vec::new();
    store
        .list("", auth, &mut |entry, _| {
            names.push(entry.name.to_string());
            ControlFlow::Continue(())
        })
        .unwrap();
    names
}

/// The rows of the mailbox list, with `|` between components and unique ids and times replaced by what they are.
pub(crate) fn rows(store: &Store) -> BTreeMap<String, String> {
    let context = DbContext::new(store.locks().clone());
    let path = store.options().config_dir.join("mailboxes.db");
    let mut db = cyrus_store::db::open(&context, &path, Engine::Twoskip, Create::No).unwrap();
    let mut rows = BTreeMap::new();
    db.scan(b"", &mut |key, value| {
        let text = |bytes| {
            String::from_utf8(Vec::from(bytes))
                .unwrap()
                .replace('\u{1f}', "|")
        };
        rows.insert(text(key), text(value));
        ControlFlow::Continue(())
    })
    .unwrap();
    rows
}

/// A row with its numbers for V and M and its unique id taken out.
pub(crate) fn plain(row: &str) -> String {
    let mut words: Vec<String> = row.split(' ').map(str::to_owned).collect();
    for at in 1..words.len() {
        if matches!(words[at - 1].trim_start_matches('('), "V" | "M" | "I") {
            let end = words[at].find(')').unwrap_or(words[at].len());
            words[at].replace_range(..end, "_");
        }
    }
    words.join(" ")
}

pub(crate) fn id_of(store: &Store, internal: &str) -> String {
    store
        .lookup(&name(internal))
        .unwrap()
        .unwrap()
        .id
        .clone()
        .unwrap()
        .to_string()
}

pub(crate) fn quota_of(store: &Store, root: &str) -> String {
    let quota = store.quota(&QuotaRoot::parse(root).unwrap()).unwrap().unwrap();
    String::from_utf8(quota.to_bytes()).unwrap()
}

/// Sizes of all files below a directory that are not directories, by path.
pub(crate) fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}
