//! Every mailbox of every golden spool is opened through the store, with the configuration that Cyrus had, and all its
//! messages are read: file, cache record, flags.
#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use common::{name, spool};
use cyrus_acl::AuthState;
use cyrus_store::db::{self, Create, DbContext, Engine};
use cyrus_store::lock::LockTable;
use cyrus_store::log::MemoryLog;
use cyrus_store::options::MetaFiles;
use cyrus_store::{
    FlagChange, FlagMode, Guid, MailboxName, NewMessage, Partition, Store, StoreOptions, SystemFlags, UidSet,
};

fn options(name: &str, root: &Path) -> StoreOptions {
    let mut options = StoreOptions::new(root.join("conf")).partition("default", root.join("spool"));
    match name {
        "legacy-virtdomains-conversations" => {
            options.hashimapspool = true;
            options.fulldirhash = true;
            options.mailbox_legacy_dirs = true;
            options.conversations = true;
            options.metapartition_files = MetaFiles::parse("header index cache annotations archivecache");
            let default = options
                .partitions
                .get_mut(&Partition::new("default").unwrap())
                .unwrap();
            default.meta = Some(root.join("meta"));
            default.archive = Some(root.join("archive"));
        }
        "uuid-altbackends" => {
            options.hashimapspool = true;
            options.conversations = true;
            options.databases.mboxlist = Engine::Skiplist;
            options.databases.annotation = Engine::Skiplist;
            options.databases.duplicate = Engine::Skiplist;
            options.databases.statuscache = Engine::Skiplist;
            options.databases.seen = Engine::Flat;
            options.databases.subscription = Engine::Twoskip;
            options.databases.quota = Engine::Twoskip;
        }
        "killed-mid-write" | "killed-mid-repack" => options.conversations = true,
        _ => {}
    }
    options
}

fn names(options: &StoreOptions) -> Vec<MailboxName> {
    let context = DbContext::new(LockTable::new(options.disk.clone()));
    let path = options.config_dir.join("mailboxes.db");
    let mut list = db::open(&context, &path, options.databases.mboxlist, Create::No).unwrap();
    let mut names = Vec::new();
    list.scan(b"N", &mut |key, _| {
        names.push(MailboxName::from_dbname(&key[1..]).unwrap());
        ControlFlow::Continue(())
    })
    .unwrap();
    names
}

/// Reads all and returns how many mailboxes and messages there were.
fn read_all(spool_name: &str) -> (usize, usize) {
    let dir = spool(spool_name);
    let options = options(spool_name, dir.path());
    let names = names(&options);
    let store = Store::open(options).unwrap();
    let (mut mailboxes, mut messages) = (0, 0);
    for name in names {
        let Some(entry) = store.lookup(&name).unwrap() else {
            continue;
        };
        if entry.mbtype.intermediate {
            continue;
        }
        mailboxes += 1;
        let mut mailbox = store.open_mailbox(&name, &AuthState::system()).unwrap();
        let read = mailbox.read().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.exists(), read.header().exists, "{name}");
        for message in read.messages() {
            assert_eq!(
                Guid::of(&message.file().unwrap()),
                message.guid(),
                "{name} {}",
                message.uid()
            );
            let cached = message.cache().unwrap();
            let parsed = cyrus_store::message::MessageParser::parse(&message.file().unwrap()).unwrap();
            assert_eq!(cached.bytes(), parsed.cache_record(), "{name} {}", message.uid());
            messages += 1;
        }
    }
    (mailboxes, messages)
}

#[test]
fn default_uuid_is_read_whole() {
    let (mailboxes, messages) = read_all("default-uuid");
    assert!(mailboxes > 35 && messages > 2000, "{mailboxes} {messages}");
}

#[test]
fn legacy_directories_metadata_and_archive_partitions_are_read_whole() {
    let (mailboxes, messages) = read_all("legacy-virtdomains-conversations");
    assert!(mailboxes > 35 && messages > 300, "{mailboxes} {messages}");
}

#[test]
fn other_database_engines_are_read_whole() {
    let (mailboxes, messages) = read_all("uuid-altbackends");
    assert!(mailboxes > 30 && messages > 40, "{mailboxes} {messages}");
}

#[test]
fn what_killed_processes_left_is_read_whole() {
    let (mailboxes, messages) = read_all("killed-mid-write");
    assert!(mailboxes > 3 && messages > 10, "{mailboxes} {messages}");
}

#[test]
fn a_cache_of_another_generation_is_not_believed() {
    let dir = spool("killed-mid-repack");
    let mut options = options("killed-mid-repack", dir.path());
    let log = Arc::new(MemoryLog::default());
    options.log = log.clone();
    let store = Store::open(options).unwrap();
    let mut carol = store
        .open_mailbox(&name("user.carol"), &AuthState::user("carol").unwrap())
        .unwrap();
    let read = carol.read().unwrap();
    assert!(read.exists() > 0);
    for message in read.messages() {
        assert!(message.cache().unwrap().envelope().starts_with(b"("));
    }
    assert!(
        log.events()
            .iter()
            .any(|(_, what)| what.contains("cyrus.cache") && what.contains("generation"))
    );
}

#[test]
fn a_killed_spool_with_conversations_is_written_on() {
    let dir = spool("killed-mid-write");
    let store = Store::open(options("killed-mid-write", dir.path())).unwrap();
    let mut inbox = store
        .open_mailbox(&name("user.alice"), &AuthState::user("alice").unwrap())
        .unwrap();
    let before = inbox.read().unwrap().exists();
    let text = b"Subject: x\r\nMessage-ID: <new@example.com>\r\n\r\n";
    let appended = inbox.append(NewMessage::from_bytes(&text[..])).unwrap();
    let uid = appended.uids[0];
    let read = inbox.read().unwrap();
    assert_eq!(read.exists(), before + 1);
    assert_ne!(read.get(uid).unwrap().thread_id(), 0);
    let modseq = read.get(uid).unwrap().modseq();
    drop(read);
    let change = FlagChange {
        mode: FlagMode::Add,
        flags: SystemFlags::SEEN.into(),
    };
    let stored = inbox
        .store_flags(&UidSet::from(uid..=uid), &change, None)
        .unwrap();
    assert!(stored.changed.contains(uid));
    let read = inbox.read().unwrap();
    assert!(read.get(uid).unwrap().modseq() > modseq);
}

#[test]
fn seen_state_of_another_user_is_as_cyrus_said() {
    let dir = spool("default-uuid");
    let store = Store::open(options("default-uuid", dir.path())).unwrap();
    let mut projects = store
        .open_mailbox(&name("user.alice.Projects"), &AuthState::user("bob").unwrap())
        .unwrap();
    let read = projects.read().unwrap();
    let seen = read
        .messages()
        .filter(|message| message.flags().system.contains(SystemFlags::SEEN))
        .count();
    assert_eq!(read.exists() - read.unseen().unwrap(), seen as u32);
}

#[test]
fn conversations_of_a_legacy_spool_follow_copies() {
    let dir = spool("legacy-virtdomains-conversations");
    let store = Store::open(options("legacy-virtdomains-conversations", dir.path())).unwrap();
    let alice = AuthState::user("alice").unwrap();
    let mut inbox = store.open_mailbox(&name("user.alice"), &alice).unwrap();
    let (uids, threads): (Vec<_>, Vec<_>) = {
        let read = inbox.read().unwrap();
        let first = read.messages().take(2);
        first.map(|message| (message.uid(), message.thread_id())).unzip()
    };
    let uids: UidSet = uids.into_iter().collect();
    let drafts = name("user.alice.Drafts");
    let copied = inbox.copy(&uids, &drafts, cyrus_store::CopyMode::Copy).unwrap();
    let mut drafts = store.open_mailbox(&drafts, &alice).unwrap();
    let read = drafts.read().unwrap();
    let found: Vec<u64> = copied
        .pairs
        .iter()
        .map(|(_, copy)| read.get(*copy).unwrap().thread_id())
        .collect();
    assert_eq!(found, threads);
    assert!(found.iter().all(|thread| *thread != 0));
}
