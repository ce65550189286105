//! What options say of new mailboxes, of how much they hold, and of locks that are long in coming.

#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

#[path = "common/fresh.rs"]
mod fresh;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cyrus_acl::AuthState;
use cyrus_store::format::index::{IndexHeader, options};
use cyrus_store::lock::{LockTable, Wait};
use cyrus_store::log::MemoryLog;
use cyrus_store::sys::{Mode, RealDisk};
use cyrus_store::{CopyMode, CreateOptions, Keyword, MailboxError, MailboxKind, NewMessage, Resource, Store};
use fresh::{admin, append, create, exists, name, new_store};

#[test]
fn a_new_mailbox_has_the_options_and_keywords_of_the_configuration() {
    let (_dir, store) = new_store(|options| {
        options.new_mailbox_options = options::SHAREDSEEN | options::DUPDELIVER | 1 << 20;
        options.new_mailbox_keywords = ["$Label1", "Spam", "$label1"]
            .map(|name| Keyword::new(name).unwrap())
            .to_vec();
    });
    create(&store, "user.bovik", &admin()).unwrap();
    let entry = store.lookup(&name("user.bovik")).unwrap().unwrap();
    let (id, partition) = (entry.id.as_ref().unwrap(), entry.partition.as_ref().unwrap());
    let paths = store
        .options()
        .mailbox_paths(partition, id, &entry.name, false)
        .unwrap();
    let header = IndexHeader::parse(&std::fs::read(&paths.index).unwrap()).unwrap();
    let wanted = options::SHAREDSEEN | options::DUPDELIVER;
    assert_eq!(header.options & wanted, wanted);
    assert_eq!(header.options >> 20 & 1, 0);
    let mut mailbox = store.open_mailbox(&entry.name, &AuthState::system()).unwrap();
    let read = mailbox.read().unwrap();
    let keywords = read.keywords().iter().flatten();
    assert_eq!(
        keywords.map(Keyword::as_str).collect::<Vec<_>>(),
        ["$Label1", "Spam"]
    );
}

fn put(store: &Store, internal: &str, count: usize) -> Result<(), MailboxError> {
    let mut mailbox = store.open_mailbox(&name(internal), &AuthState::system()).unwrap();
    let message = || NewMessage::from_bytes(b"Subject: x\r\n\r\nhello\r\n".to_vec());
    mailbox.append((0..count).map(|_| message())).map(drop)
}

#[test]
fn a_mailbox_holds_no_more_messages_than_its_kind_may() {
    let (_dir, store) = new_store(|options| {
        options.max_messages.insert(MailboxKind::Email, 3);
        options.max_messages.insert(MailboxKind::Calendar, 1);
    });
    create(&store, "user.bovik", &admin()).unwrap();
    create(&store, "user.bovik.other", &admin()).unwrap();
    let calendar = CreateOptions {
        kind: MailboxKind::Calendar,
        ..CreateOptions::default()
    };
    store
        .create_with(&name("user.bovik.calendar"), &calendar, &admin())
        .unwrap();
    append(&store, "user.bovik", 2);
    append(&store, "user.bovik.calendar", 1);
    for (mailbox, count) in [("user.bovik", 2), ("user.bovik.calendar", 1)] {
        let refused = put(&store, mailbox, count).unwrap_err();
        assert!(
            matches!(
                refused,
                MailboxError::OverQuota {
                    resource: Resource::Message,
                    ..
                }
            ),
            "{refused:?}"
        );
    }
    put(&store, "user.bovik", 1).unwrap();
    append(&store, "user.bovik.other", 1);
    let mut other = store
        .open_mailbox(&name("user.bovik.other"), &AuthState::system())
        .unwrap();
    let all = other.read().unwrap().uids().ranges().collect::<Vec<_>>();
    let all = all.into_iter().flat_map(|range| [*range.start()]).collect();
    for mode in [CopyMode::Copy, CopyMode::Move] {
        assert!(matches!(
            other.copy(&all, &name("user.bovik"), mode),
            Err(MailboxError::OverQuota { .. })
        ));
    }
    assert_eq!(
        (exists(&store, "user.bovik"), exists(&store, "user.bovik.other")),
        (3, 1)
    );
}

#[test]
fn a_lock_that_is_long_in_coming_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lock");
    let log = Arc::new(MemoryLog::default());
    let patience = Some((Duration::from_millis(30), log.clone() as Arc<_>));
    let table = LockTable::with_patience(Arc::new(RealDisk), patience);
    let held = table.lock_file(&path, Mode::Exclusive, Wait::Forever).unwrap();
    assert_eq!(log.events(), []);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| drop(table.lock_file(&path, Mode::Exclusive, Wait::Forever)));
        thread::sleep(Duration::from_millis(80));
        drop(held);
        waiting.join().unwrap();
    });
    let events = log.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].1.starts_with("locktimer: "), "{events:?}");
}
