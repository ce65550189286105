//! Conversations: what messages join, what is counted, and what a crash at any moment leaves.
#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::path::Path;
use std::sync::Arc;

use cyrus_acl::AuthState;
use cyrus_store::db;
use cyrus_store::format::conversations::{Conversation, EmailQuota, FolderStatus};
use cyrus_store::format::counters::Counters;
use cyrus_store::options::{DeleteMode, ExpungeMode};
use cyrus_store::sys::{Open, SimDisk};
use cyrus_store::{
    CopyMode, Expiry, Expunge, FlagChange, FlagMode, FlagNames, Mailbox, MailboxError, MailboxName,
    NewMessage, QuotaRoot, Reconstruct, Resource, Splitting, Store, StoreOptions, SystemFlags, Uid, UidSet,
};

fn options(disk: &SimDisk) -> StoreOptions {
    let mut options = StoreOptions::new("/conf")
        .partition("default", "/spool")
        .disk(Arc::new(disk.clone()));
    options.conversations = true;
    options.conversation_limits.counted_flags = "\\Draft \\Flagged".to_owned();
    options
}

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap()
}

fn admin() -> AuthState {
    AuthState::user("admin").unwrap().with_admin(true)
}

/// A store with these mailboxes.
fn store(mailboxes: &[&str], change: impl FnOnce(&mut StoreOptions)) -> Store {
    let mut options = options(&SimDisk::new());
    change(&mut options);
    let store = Store::open(options).unwrap();
    for mailbox in mailboxes {
        store.create(&name(mailbox), &admin()).unwrap();
    }
    store
}

fn open(store: &Store, mailbox: &str) -> Mailbox {
    let owner = name(mailbox).owner().unwrap();
    store
        .open_mailbox(&name(mailbox), &AuthState::user(&owner).unwrap())
        .unwrap()
}

fn message(id: &str, subject: &str, references: &str) -> NewMessage {
    let text = format!(
        "From: A B <a@b.example>\r\nSubject: {subject}\r\nMessage-ID: <{id}>\r\nReferences: {references}\r\n\r\n{id}\r\n"
    );
    NewMessage::from_bytes(text.into_bytes())
}

fn append(store: &Store, mailbox: &str, id: &str, subject: &str, references: &str) -> (Uid, u64) {
    let mut mailbox = open(store, mailbox);
    let uid = mailbox.append(message(id, subject, references)).unwrap().uids[0];
    let thread = mailbox.read().unwrap().get(uid).unwrap().thread_id();
    (uid, thread)
}

fn one(uid: Uid) -> UidSet {
    UidSet::from(uid..=uid)
}

fn add(flag: SystemFlags) -> FlagChange {
    FlagChange {
        mode: FlagMode::Add,
        flags: flag.into(),
    }
}

fn row(store: &Store, user: &str, wanted: &str) -> Option<Vec<u8>> {
    let mut found = None;
    store
        .dump_conversations(user, &mut |key, value| {
            if key == wanted.as_bytes() {
                found = Some(value.to_vec());
            }
        })
        .unwrap();
    found
}

fn conversation(store: &Store, user: &str, thread: u64) -> Option<Conversation> {
    let row = row(store, user, &format!("B{thread:016x}"))?;
    Some(Conversation::parse(&row).unwrap())
}

fn status(store: &Store, mailbox: &str) -> FolderStatus {
    let entry = store.lookup(&name(mailbox)).unwrap().unwrap();
    let id = entry.id.clone().unwrap();
    let owner = name(mailbox).owner().unwrap();
    FolderStatus::parse(&row(store, &owner, &format!("F{}", id.as_str())).unwrap()).unwrap()
}

fn counters(store: &Store, user: &str) -> Counters {
    let inbox = store
        .lookup(&MailboxName::inbox_of(user).unwrap())
        .unwrap()
        .unwrap();
    let path = store.options().user_file(user, inbox.id.as_ref(), "counters");
    let file = store.options().disk.open(&path, Open::read()).unwrap();
    Counters::parse(&file.read_all().unwrap()).unwrap()
}

fn assert_counted(store: &Store, user: &str) {
    let differences = store
        .audit_conversations(user, Some(Path::new("/audit")), &mut |_| {})
        .unwrap();
    assert!(differences.is_empty(), "{differences:?}");
}

#[test]
fn a_reply_with_the_same_subject_joins_and_another_subject_begins_anew() {
    let store = store(&["user.a", "user.a.Sent"], |_| {});
    let (_, first) = append(&store, "user.a", "1@x", "Hello", "");
    let (_, reply) = append(&store, "user.a.Sent", "2@x", "Re: [list] hello", "<1@x>");
    assert_ne!(first, reply, "subjects differ in case");
    let (_, reply) = append(&store, "user.a.Sent", "3@x", "Re: [list] Hello", "<1@x>");
    assert_eq!(first, reply);
    let (_, other) = append(&store, "user.a", "4@x", "Hello", "");
    assert_ne!(first, other, "nothing refers to it");
    assert_eq!(conversation(&store, "a", first).unwrap().exists, 2);
    assert_eq!(status(&store, "user.a").threadexists, 2);
    assert_counted(&store, "a");
}

#[test]
fn copies_are_counted_once_and_flags_of_each() {
    let store = store(&["user.a", "user.a.Box"], |_| {});
    let (uid, thread) = append(&store, "user.a", "1@x", "Hello", "");
    let mut inbox = open(&store, "user.a");
    inbox
        .store_flags(&one(uid), &add(SystemFlags::FLAGGED), None)
        .unwrap();
    inbox
        .copy(&one(uid), &name("user.a.Box"), CopyMode::Copy)
        .unwrap();
    let found = conversation(&store, "a", thread).unwrap();
    assert_eq!((found.num_records, found.exists, found.unseen), (1, 1, 1));
    assert_eq!(found.counts, [0, 2]);
    assert_eq!(found.folders.len(), 2);
    let quota = EmailQuota::parse(&row(&store, "a", "Q").unwrap()).unwrap();
    assert_eq!(quota.emails, 1);
    inbox
        .store_flags(&one(uid), &add(SystemFlags::SEEN), None)
        .unwrap();
    assert_eq!(
        status(&store, "user.a.Box").emailunseen,
        1,
        "the copy is still unseen"
    );
    assert_counted(&store, "a");
}

#[test]
fn modseqs_of_a_user_are_given_once_in_all_his_mailboxes() {
    let store = store(&["user.a", "user.a.Box", "user.b"], |_| {});
    let modseq = |mailbox: &str, uid| {
        let mut mailbox = open(&store, mailbox);
        let read = mailbox.read().unwrap();
        read.get(uid).unwrap().modseq()
    };
    let (first, _) = append(&store, "user.a", "1@x", "One", "");
    let (second, _) = append(&store, "user.a.Box", "2@x", "Two", "");
    let (other, _) = append(&store, "user.b", "3@x", "Three", "");
    assert!(modseq("user.a", first) < modseq("user.a.Box", second));
    assert!(modseq("user.b", other) < modseq("user.a.Box", second));
    assert_eq!(counters(&store, "a").values[0], modseq("user.a.Box", second).0);
}

#[test]
fn a_full_conversation_goes_on_in_another() {
    let store = store(&["user.a"], |options| options.conversation_limits.max_thread = 2);
    let threads: Vec<u64> = (0..5)
        .map(|n| append(&store, "user.a", &format!("{n}@x"), "Hello", "<0@x>").1)
        .collect();
    assert_eq!(threads[0], threads[1]);
    assert_ne!(threads[1], threads[2]);
    assert_eq!(threads[2], threads[3]);
    assert_ne!(threads[3], threads[4]);
    let split = store.lookup(&name("user.a.#splitconversations")).unwrap();
    assert!(split.is_some());
    assert_counted(&store, "a");
}

#[test]
fn identical_messages_are_refused_when_there_are_too_many() {
    let store = store(&["user.a"], |options| {
        options.conversation_limits.max_guid_in_folder = 2;
    });
    let mut inbox = open(&store, "user.a");
    for _ in 0..2 {
        inbox.append(message("1@x", "Hello", "")).unwrap();
    }
    let refused = inbox.append([message("2@x", "New", ""), message("1@x", "Hello", "")]);
    assert!(
        matches!(&refused, Err(MailboxError::Refused(why)) if why == "Too many identical emails"),
        "{refused:?}"
    );
    assert_eq!(inbox.read().unwrap().exists(), 2);
    assert_eq!(row(&store, "a", "<2@x>"), None, "all or none");
    assert_counted(&store, "a");
}

#[test]
fn deleted_mailboxes_and_expunged_messages_leave_conversations() {
    for (delete, expunge) in [
        (DeleteMode::Delayed, ExpungeMode::Delayed),
        (DeleteMode::Immediate, ExpungeMode::Immediate),
    ] {
        let store = store(&["user.a", "user.a.Box"], |options| {
            options.delete_mode = delete;
            options.expunge_mode = expunge;
        });
        let (_, gone) = append(&store, "user.a.Box", "1@x", "Hello", "");
        let (uid, thread) = append(&store, "user.a", "2@x", "World", "");
        store
            .delete(&name("user.a.Box"), &AuthState::user("a").unwrap())
            .unwrap();
        assert_eq!(conversation(&store, "a", gone), None);
        let mut inbox = open(&store, "user.a");
        inbox
            .store_flags(&one(uid), &add(SystemFlags::DELETED), None)
            .unwrap();
        assert_eq!(conversation(&store, "a", thread).unwrap().exists, 0);
        inbox.expunge(Expunge::AllDeleted).unwrap();
        let left = conversation(&store, "a", thread);
        assert_eq!(left.is_some(), expunge == ExpungeMode::Delayed);
        assert_counted(&store, "a");
    }
}

#[test]
fn a_mailbox_that_changes_hands_changes_conversations() {
    let store = store(&["user.a", "user.a.Box", "user.b"], |_| {});
    let (_, thread) = append(&store, "user.a.Box", "1@x", "Hello", "");
    store
        .rename(&name("user.a.Box"), &name("user.b.Box"), None, &admin())
        .unwrap();
    assert_eq!(conversation(&store, "a", thread), None);
    assert_eq!(conversation(&store, "b", thread).unwrap().exists, 1);
    for user in ["a", "b"] {
        assert_counted(&store, user);
    }
}

#[test]
fn a_renamed_user_keeps_his_conversations() {
    for legacy in [false, true] {
        let store = store(&["user.a", "user.a.Box"], |options| {
            options.allowusermoves = true;
            options.mailbox_legacy_dirs = legacy;
        });
        let (_, thread) = append(&store, "user.a.Box", "1@x", "Hello", "");
        store
            .rename(&name("user.a"), &name("user.z"), None, &admin())
            .unwrap();
        assert_eq!(conversation(&store, "z", thread).unwrap().exists, 1);
        let (_, reply) = append(&store, "user.z", "2@x", "Hello", "<1@x>");
        assert_eq!(reply, thread);
        assert_counted(&store, "z");
    }
}

#[test]
fn what_was_cleared_is_built_again() {
    let store = store(&["user.a", "user.a.Box"], |_| {});
    for n in 0..3 {
        append(&store, "user.a", &format!("{n}@x"), "Hello", "<0@x>");
        append(&store, "user.a.Box", &format!("b{n}@x"), "World", "<b0@x>");
    }
    let threads = |store: &Store| -> Vec<u64> {
        ["user.a", "user.a.Box"]
            .iter()
            .flat_map(|mailbox| {
                let mut mailbox = open(store, mailbox);
                let read = mailbox.read().unwrap();
                read.messages()
                    .map(|message| message.thread_id())
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    let before = threads(&store);
    store.clear_conversations("a").unwrap();
    assert!(threads(&store).iter().all(|thread| *thread == 0));
    assert_eq!(conversation(&store, "a", before[0]), None);
    assert_counted(&store, "a");
    store.build_conversations("a", Splitting::Forbidden).unwrap();
    assert_eq!(threads(&store), before);
    assert_counted(&store, "a");
    store.recount_conversations("a", &mut |_| {}).unwrap();
    assert_eq!(conversation(&store, "a", before[0]).unwrap().exists, 3);
}

#[test]
fn a_dump_restores_what_it_was_made_of() {
    let store = store(&["user.a"], |_| {});
    append(&store, "user.a", "1@x", "Hello", "");
    let rows = |store: &Store| {
        let mut rows = Vec::new();
        store
            .dump_conversations("a", &mut |key, value| rows.push((key.to_vec(), value.to_vec())))
            .unwrap();
        rows
    };
    let before = rows(&store);
    assert!(store.restore_conversations("a", Vec::new()).unwrap());
    assert!(rows(&store).is_empty());
    assert!(store.restore_conversations("a", before.clone()).unwrap());
    assert_eq!(rows(&store), before);
    assert!(!store.restore_conversations("nobody", Vec::new()).unwrap());
}

#[test]
fn an_audit_finds_what_is_counted_wrongly() {
    let store = store(&["user.a"], |_| {});
    let (_, thread) = append(&store, "user.a", "1@x", "Hello", "");
    let mut rows = Vec::new();
    store
        .dump_conversations("a", &mut |key, value| rows.push((key.to_vec(), value.to_vec())))
        .unwrap();
    for (key, value) in &mut rows {
        if key.starts_with(b"B") {
            let mut wrong = Conversation::parse(value).unwrap();
            wrong.exists = 7;
            *value = wrong.to_bytes();
        }
    }
    store.restore_conversations("a", rows).unwrap();
    let found = store.audit_conversations("a", None, &mut |_| {}).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].key, format!("B{thread:016x}").into_bytes());
    store.recount_conversations("a", &mut |_| {}).unwrap();
    assert_counted(&store, "a");
}

#[test]
fn quotas_count_each_message_once_where_they_are_told_to() {
    let store = store(&["user.a", "user.a.Box"], |options| {
        options.quota_use_conversations = true
    });
    let root = QuotaRoot::at(&name("user.a"));
    store
        .set_quota(
            &root,
            &[(Resource::Storage, Some(100)), (Resource::Message, Some(10))],
            &admin(),
        )
        .unwrap();
    let used = || store.quota(&root).unwrap().unwrap().used(Resource::Message);
    let (uid, _) = append(&store, "user.a", "1@x", "Hello", "");
    assert_eq!(used(), 1);
    let mut inbox = open(&store, "user.a");
    inbox
        .copy(&one(uid), &name("user.a.Box"), CopyMode::Copy)
        .unwrap();
    assert_eq!(used(), 1);
    inbox
        .store_flags(&one(uid), &add(SystemFlags::DELETED), None)
        .unwrap();
    inbox.expunge(Expunge::AllDeleted).unwrap();
    assert_eq!(used(), 1);
    store
        .delete(&name("user.a.Box"), &AuthState::user("a").unwrap())
        .unwrap();
    assert_eq!(used(), 0);
}

/// Runs `change` on a store and looks at every state that a crash could leave: the mailbox can be read, no modification
/// sequence was given that the counters do not know, and counting the conversations anew makes them true.
fn crash_everywhere(change: impl FnOnce(&Store)) {
    let sim = SimDisk::new();
    let store = Store::open(options(&sim)).unwrap();
    for mailbox in ["user.a", "user.a.Box"] {
        store.create(&name(mailbox), &admin()).unwrap();
    }
    for n in 0..2 {
        append(&store, "user.a", &format!("{n}@x"), "Hello", "<0@x>");
    }
    drop(store);
    sim.settle();
    let store = Store::open(options(&sim)).unwrap();
    change(&store);
    let done = sim.operations();
    drop(store);
    let mut states = 0;
    'states: for crash in sim.crash_states(1000) {
        states += 1;
        let mut options = options(&sim);
        options.disk = Arc::new(crash.disk);
        let store = Store::open(options).unwrap();
        db::stamp_recovery(store.databases().context()).unwrap();
        for mailbox in ["user.a", "user.a.Box"] {
            if store.lookup(&name(mailbox)).unwrap().is_none() {
                continue;
            }
            let mut opened = open(&store, mailbox);
            let highest = match opened.read() {
                Ok(read) => read.highest_modseq().0,
                // A record that is replaced in place may be torn.
                Err(MailboxError::Damaged { .. }) if crash.after < done => continue 'states,
                Err(error) => panic!("{mailbox}: {error}; {}", crash.story),
            };
            let known = counters(&store, "a").values[0];
            assert!(
                highest <= known,
                "{mailbox}: {highest} above {known}; {}",
                crash.story
            );
        }
        if crash.after < done {
            store
                .recount_conversations("a", &mut |_| {})
                .unwrap_or_else(|error| panic!("{error}; {}", crash.story));
        }
        assert_counted(&store, "a");
        let (_, thread) = append(&store, "user.a", "new@x", "Hello", "<0@x>");
        assert!(conversation(&store, "a", thread).unwrap().exists > 0);
        assert_counted(&store, "a");
    }
    assert!(states > 20, "{states} states");
}

#[test]
fn crash_during_an_append_leaves_conversations_that_can_be_counted() {
    crash_everywhere(|store| {
        append(store, "user.a", "9@x", "Hello", "<0@x>");
    });
}

#[test]
fn crash_during_a_change_of_flags_leaves_conversations_that_can_be_counted() {
    crash_everywhere(|store| {
        let mut inbox = open(store, "user.a");
        let all = UidSet::from(Uid::MIN..=Uid::MAX);
        inbox.store_flags(&all, &add(SystemFlags::SEEN), None).unwrap();
    });
}

#[test]
fn crash_during_a_move_leaves_conversations_that_can_be_counted() {
    crash_everywhere(|store| {
        let mut inbox = open(store, "user.a");
        let all = UidSet::from(Uid::MIN..=Uid::MAX);
        inbox.copy(&all, &name("user.a.Box"), CopyMode::Move).unwrap();
    });
}

#[test]
fn crash_during_a_deletion_leaves_conversations_that_can_be_counted() {
    crash_everywhere(|store| {
        append(store, "user.a.Box", "8@x", "Hello", "<0@x>");
        store
            .delete(&name("user.a.Box"), &AuthState::user("a").unwrap())
            .unwrap();
        store.create(&name("user.a.Box"), &admin()).unwrap();
    });
}

#[test]
fn a_reconstructed_mailbox_is_in_the_conversations_again() {
    let store = store(&["user.a", "user.a.Box"], |_| {});
    let (_, thread) = append(&store, "user.a", "1@x", "Hello", "");
    append(&store, "user.a.Box", "2@x", "Hello", "<1@x>");
    let entry = store.lookup(&name("user.a.Box")).unwrap().unwrap();
    let (id, partition) = (entry.id.clone().unwrap(), entry.partition.clone().unwrap());
    let paths = store
        .options()
        .mailbox_paths(&partition, &id, &entry.name, false)
        .unwrap();
    store.forget_idle();
    store.options().disk.unlink(&paths.index).unwrap();
    store
        .reconstruct(&entry.name, &Reconstruct::default(), &mut |_| {})
        .unwrap();
    let mut mailbox = open(&store, "user.a.Box");
    let read = mailbox.read().unwrap();
    let found: Vec<u64> = read.messages().map(|message| message.thread_id()).collect();
    assert_eq!(found, [thread]);
    drop(read);
    assert_eq!(conversation(&store, "a", thread).unwrap().exists, 2);
    assert_counted(&store, "a");
}

#[test]
fn messages_that_are_removed_for_good_leave_conversations() {
    let store = store(&["user.a"], |_| {});
    let (uid, thread) = append(&store, "user.a", "1@x", "Hello", "");
    let (back, other) = append(&store, "user.a", "2@x", "World", "");
    let mut inbox = open(&store, "user.a");
    let both: UidSet = [uid, back].into_iter().collect();
    inbox
        .store_flags(&both, &add(SystemFlags::DELETED), None)
        .unwrap();
    inbox.expunge(Expunge::AllDeleted).unwrap();
    assert_eq!(conversation(&store, "a", thread).unwrap().num_records, 1);
    let mut mailbox = store.open_mailbox(&name("user.a"), &AuthState::system()).unwrap();
    let undelete = |flags: &mut FlagNames| flags.system = flags.system.without(SystemFlags::DELETED);
    mailbox.unexpunge(&one(back), &undelete).unwrap();
    assert_eq!(conversation(&store, "a", other).unwrap().exists, 1);
    assert_counted(&store, "a");
    let how = Expiry {
        expunged_before: Some(u32::MAX),
        ..Expiry::default()
    };
    mailbox.expire(&how).unwrap();
    mailbox.close().unwrap();
    assert_eq!(conversation(&store, "a", thread), None);
    assert_counted(&store, "a");
}

#[test]
fn message_ids_are_forgotten_when_they_are_old_and_nothing_is_left_of_them() {
    let store = store(&["user.a"], |options| {
        options.expunge_mode = ExpungeMode::Immediate
    });
    let (uid, _) = append(&store, "user.a", "1@x", "Hello", "");
    append(&store, "user.a", "2@x", "World", "");
    let mut inbox = open(&store, "user.a");
    inbox
        .store_flags(&one(uid), &add(SystemFlags::DELETED), None)
        .unwrap();
    inbox.expunge(Expunge::AllDeleted).unwrap();
    let prune = |before, keep| {
        let pruned = store.prune_conversations("a", before, keep).unwrap();
        (pruned.seen, pruned.removed)
    };
    assert_eq!(prune(1, false), (2, 0), "they are new");
    assert_eq!(prune(u64::MAX, true), (2, 1));
    assert_eq!(row(&store, "a", "<1@x>"), None);
    assert!(row(&store, "a", "<2@x>").is_some());
    assert_eq!(prune(u64::MAX, false), (1, 1));
}
