//! A crash at any moment leaves every mailbox as it was or as it was to be: each prefix of the operations on the disk is
//! replayed, with what was not synced kept, dropped or torn.
#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::path::Path;
use std::sync::Arc;

use cyrus_acl::AuthState;
use cyrus_store::db::{self, Create, DbContext, Engine};
use cyrus_store::format::header::MailboxHeader;
use cyrus_store::format::index::IndexHeader;
use cyrus_store::format::mboxentry::MailboxRow;
use cyrus_store::lock::LockTable;
use cyrus_store::options::ExpungeMode;
use cyrus_store::sys::{Disk, Open, SimDisk};
use cyrus_store::{
    CopyMode, DeliverOptions, Expunge, FlagChange, FlagMode, FlagNames, Guid, Keyword, Mailbox, MailboxError,
    MailboxId, MailboxName, MailboxType, NewMessage, Partition, Quota, QuotaRoot, Recipient, Resource, Store,
    StoreOptions, SystemFlags, Uid, UidSet,
};

const BOXES: [&str; 3] = ["user.a", "user.b", "user.c"];

fn options(disk: &SimDisk) -> StoreOptions {
    StoreOptions::new("/conf")
        .partition("default", "/spool")
        .disk(Arc::new(disk.clone()))
}

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap()
}

fn open(store: &Store, mailbox: &str) -> Mailbox {
    let owner = name(mailbox).owner().unwrap();
    store
        .open_mailbox(&name(mailbox), &AuthState::user(&owner).unwrap())
        .unwrap()
}

fn message(number: u32) -> Vec<u8> {
    let mut text = format!("From: a@b\r\nSubject: {number}\r\nMessage-ID: <{number}@x>\r\n\r\n").into_bytes();
    text.extend(std::iter::repeat_n(*b"x\r\n", 300 + number as usize).flatten());
    text
}

/// A store of three users with one quota root each and some messages, all of it durable.
fn disk_with_mailboxes(messages: u32) -> SimDisk {
    let sim = SimDisk::new();
    let options = options(&sim);
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let context = DbContext::new(LockTable::new(disk.clone()));
    let mut list = db::open(
        &context,
        Path::new("/conf/mailboxes.db"),
        Engine::Twoskip,
        Create::Yes,
    )
    .unwrap();
    for mailbox in BOXES {
        let mailbox = name(mailbox);
        let id = MailboxId::new(&format!("id{}", mailbox.as_str().replace('.', ""))).unwrap();
        let partition = Partition::new("default").unwrap();
        let paths = options.mailbox_paths(&partition, &id, &mailbox, false).unwrap();
        let acl = vec![
            (mailbox.owner().unwrap(), "lrswipkxtecdan".to_owned()),
            ("a".to_owned(), "lrswipkxte".to_owned()),
        ];
        let header = MailboxHeader {
            mbtype: "e".into(),
            name: mailbox.as_str().into(),
            id: id.clone(),
            quota_root: Some(mailbox.as_str().into()),
            acl: acl.clone(),
            keywords: Vec::new(),
        };
        let header = header.to_bytes();
        let index = IndexHeader {
            header_file_crc: crc32fast::hash(&header),
            ..IndexHeader::new(1000, 1, 999)
        };
        let write = |path: &Path, bytes: &[u8]| {
            disk.open_making_dirs(path, Open::replace())
                .unwrap()
                .write_at(bytes, 0)
                .unwrap();
        };
        write(&paths.header, &header);
        write(&paths.index, &index.to_bytes());
        write(&paths.cache, &[0; 4]);
        write(
            &options.quota_file(mailbox.as_str()),
            &[Quota::default().to_bytes(), b"\n".to_vec()].concat(),
        );
        let row = MailboxRow {
            mbtype: MailboxType::default(),
            id: Some(id.as_str().into()),
            partition: Some("default".into()),
            uidvalidity: 1000,
            acl,
            ..MailboxRow::default()
        };
        let key = [b"N", mailbox.to_dbname().as_bytes()].concat();
        list.put(&key, &row.name_value()).unwrap();
    }
    drop(list);
    let store = Store::open(options).unwrap();
    for mailbox in BOXES {
        open(&store, mailbox)
            .append((1..=messages).map(|n| NewMessage::from_bytes(message(n))))
            .unwrap();
    }
    drop(store);
    sim.settle();
    sim
}

/// What can be seen of a mailbox.
type Seen = Vec<(u32, Guid, u32)>;

/// Reads a mailbox whole; every message must have its file and a cache record.
fn look(store: &Store, mailbox: &str) -> Result<Seen, MailboxError> {
    let mut mailbox = open(store, mailbox);
    let read = mailbox.read()?;
    let mut seen = Vec::new();
    for message in read.messages() {
        let file = message.file()?;
        assert_eq!(Guid::of(&file), message.guid(), "the file is that of the record");
        assert!(message.cache()?.envelope().starts_with(b"("));
        seen.push((message.uid().get(), message.guid(), message.flags().system.bits()));
    }
    Ok(seen)
}

/// What a quota root may say. What is expunged may count until somebody counts anew, if a crash comes.
#[derive(Clone, Copy, PartialEq)]
enum Usage {
    NotTooLow,
    Exact,
}

/// Compares a quota root with the one mailbox that it counts.
fn check_usage(store: &Store, mailbox: &str, usage: Usage, story: &str) {
    let quota = store
        .quota(&QuotaRoot::at(&name(mailbox)))
        .unwrap_or_else(|error| panic!("{error}; {story}"))
        .unwrap_or_else(|| panic!("the quota root of {mailbox} is gone; {story}"));
    let mut opened = open(store, mailbox);
    let read = opened.read().unwrap();
    let sizes: u64 = read.messages().map(|message| u64::from(message.size())).sum();
    for (what, used, held) in [
        ("octets", quota.used(Resource::Storage), sizes),
        (
            "messages",
            quota.used(Resource::Message),
            u64::from(read.exists()),
        ),
    ] {
        assert!(used >= held, "{mailbox} holds {held} {what}, not {used}; {story}");
        assert!(
            usage == Usage::NotTooLow || used == held,
            "{mailbox} holds {held} {what}, not {used}"
        );
    }
}

/// Whether a torn record may be found: where records are replaced in place, it is noticed but cannot be undone.
#[derive(Clone, Copy, PartialEq)]
enum Torn {
    Never,
    Noticed,
}

/// Runs `change` on a store and looks at every state that a crash could leave.
///
/// Each mailbox must be as before or as after; after the change has returned, as after. New messages must be appendable,
/// and no UID that was promised may come again. No quota root may count less than there is.
fn crash_everywhere(sim: &SimDisk, options: StoreOptions, torn: Torn, change: impl FnOnce(&Store)) {
    let before: Vec<Seen> = {
        let store = Store::open(options.clone()).unwrap();
        BOXES
            .iter()
            .map(|mailbox| look(&store, mailbox).unwrap())
            .collect()
    };
    sim.settle();
    let store = Store::open(options.clone()).unwrap();
    change(&store);
    let done = sim.operations();
    let after: Vec<Seen> = BOXES
        .iter()
        .map(|mailbox| look(&store, mailbox).unwrap())
        .collect();
    for mailbox in BOXES {
        check_usage(&store, mailbox, Usage::Exact, "no crash");
    }
    drop(store);
    let mut states = 0;
    for crash in sim.crash_states(4000) {
        states += 1;
        let mut options = options.clone();
        options.disk = Arc::new(crash.disk);
        let store = Store::open(options).unwrap();
        for ((mailbox, before), after) in BOXES.iter().zip(&before).zip(&after) {
            let seen = match look(&store, mailbox) {
                Ok(seen) => seen,
                Err(MailboxError::Damaged { .. }) if torn == Torn::Noticed && crash.after < done => continue,
                Err(error) => panic!(
                    "{mailbox}: {error}; {}\n{}",
                    crash.story,
                    sim.journal().join("\n")
                ),
            };
            check_usage(&store, mailbox, Usage::NotTooLow, &crash.story);
            let is_after = seen == *after;
            let fits = match torn {
                Torn::Never => is_after || seen == *before,
                // Of records replaced in place, each is old or new by itself.
                Torn::Noticed => seen.iter().all(|one| before.contains(one) || after.contains(one)),
            };
            assert!(
                if crash.after >= done { is_after } else { fits },
                "{mailbox}: {seen:?}\nis neither {before:?}\nnor {after:?}; {}\n{}",
                crash.story,
                sim.journal().join("\n")
            );
            let promised = if crash.after >= done { after } else { before };
            let appended = open(&store, mailbox)
                .append(NewMessage::from_bytes(message(99)))
                .unwrap();
            let highest = promised.iter().map(|(uid, ..)| *uid).max().unwrap_or(0);
            assert!(
                appended.uids[0].get() > highest,
                "UID {} came again; {}",
                appended.uids[0],
                crash.story
            );
            assert_eq!(look(&store, mailbox).unwrap().len(), seen.len() + 1);
            check_usage(&store, mailbox, Usage::NotTooLow, &crash.story);
        }
    }
    assert!(states > 20, "{states} states");
}

fn flag(system: SystemFlags) -> FlagChange {
    FlagChange {
        mode: FlagMode::Add,
        flags: system.into(),
    }
}

fn all() -> UidSet {
    UidSet::from(Uid::MIN..=Uid::MAX)
}

#[test]
fn crash_during_append_leaves_the_message_whole_or_not_at_all() {
    let sim = disk_with_mailboxes(5);
    crash_everywhere(&sim, options(&sim), Torn::Never, |store| {
        let flags = FlagNames {
            system: SystemFlags::SEEN,
            keywords: vec![Keyword::new("$New").unwrap()],
        };
        open(store, "user.a")
            .append(NewMessage::from_bytes(message(50)).flags(flags))
            .unwrap();
    });
}

#[test]
fn crash_during_multiappend_leaves_all_messages_or_none() {
    let sim = disk_with_mailboxes(2);
    crash_everywhere(&sim, options(&sim), Torn::Never, |store| {
        open(store, "user.b")
            .append((50..56).map(|n| NewMessage::from_bytes(message(n))))
            .unwrap();
    });
}

#[test]
fn crash_during_delivery_leaves_each_mailbox_with_the_message_or_without() {
    let sim = disk_with_mailboxes(3);
    crash_everywhere(&sim, options(&sim), Torn::Never, |store| {
        let staged = store.staged(message(70)).unwrap();
        let recipients = BOXES.map(|mailbox| Recipient::new([name(mailbox)]));
        for outcome in store.deliver(&staged, DeliverOptions::default(), &recipients) {
            assert!(outcome.unwrap().uid.is_some());
        }
        store.flush_deliveries();
    });
}

#[test]
fn crash_during_copy_leaves_all_copies_or_none() {
    let sim = disk_with_mailboxes(4);
    crash_everywhere(&sim, options(&sim), Torn::Never, |store| {
        open(store, "user.a")
            .copy(&all(), &name("user.b"), CopyMode::Copy)
            .unwrap();
    });
}

#[test]
fn crash_during_move_loses_no_message() {
    let sim = disk_with_mailboxes(4);
    let guids = |seen: &Seen| seen.iter().map(|(_, guid, _)| *guid).collect::<Vec<_>>();
    let store = Store::open(options(&sim)).unwrap();
    let wanted = guids(&look(&store, "user.a").unwrap());
    sim.settle();
    open(&store, "user.a")
        .copy(&all(), &name("user.b"), CopyMode::Move)
        .unwrap();
    assert!(look(&store, "user.a").unwrap().is_empty());
    for crash in sim.crash_states(4000) {
        let store = Store::open(options(&crash.disk)).unwrap();
        check_usage(&store, "user.b", Usage::NotTooLow, &crash.story);
        let copies = guids(&look(&store, "user.b").unwrap());
        let Ok(originals) = look(&store, "user.a").map(|seen| guids(&seen)) else {
            assert!(wanted.iter().all(|guid| copies.contains(guid)), "{}", crash.story);
            continue;
        };
        let is_kept =
            |guid| originals.contains(guid) || copies.iter().filter(|copy| *copy == guid).count() == 2;
        assert!(wanted.iter().all(is_kept), "{}", crash.story);
    }
}

#[test]
fn crash_while_flags_change_leaves_each_message_old_or_new() {
    let sim = disk_with_mailboxes(12);
    crash_everywhere(&sim, options(&sim), Torn::Noticed, |store| {
        open(store, "user.a")
            .store_flags(&all(), &flag(SystemFlags::FLAGGED), None)
            .unwrap();
    });
}

#[test]
fn crash_during_expunge_leaves_each_message_there_or_gone() {
    let sim = disk_with_mailboxes(8);
    let store = Store::open(options(&sim)).unwrap();
    let some = [1, 3, 4, 8].into_iter().filter_map(Uid::new).collect();
    open(&store, "user.a")
        .store_flags(&some, &flag(SystemFlags::DELETED), None)
        .unwrap();
    drop(store);
    crash_everywhere(&sim, options(&sim), Torn::Noticed, |store| {
        assert_eq!(
            open(store, "user.a").expunge(Expunge::AllDeleted).unwrap().len(),
            4
        );
    });
}

#[test]
fn crash_during_repack_changes_nothing_that_can_be_seen() {
    let sim = disk_with_mailboxes(8);
    let immediate = || StoreOptions {
        expunge_mode: ExpungeMode::Immediate,
        ..options(&sim)
    };
    let store = Store::open(immediate()).unwrap();
    let some = [1, 3, 4, 7].into_iter().filter_map(Uid::new).collect();
    let mut mailbox = open(&store, "user.a");
    mailbox
        .store_flags(&some, &flag(SystemFlags::DELETED), None)
        .unwrap();
    mailbox.expunge(Expunge::AllDeleted).unwrap();
    drop((mailbox, store));
    crash_everywhere(&sim, immediate(), Torn::Never, |store| {
        open(store, "user.a").close().unwrap();
    });
}

#[cfg(feature = "search-index")]
#[test]
fn crash_while_an_index_is_written_leaves_the_old_one_or_the_new() {
    use cyrus_store::search::Pattern;
    use cyrus_store::search::index::{Indexing, Place, Wanted};

    let sim = disk_with_mailboxes(12);
    let options = |disk: &SimDisk| {
        let mut options = options(disk);
        options.search.engine = true;
        options
    };
    let how = Indexing {
        anew: false,
        compact: false,
        wait: true,
    };
    let store = Store::open(options(&sim)).unwrap();
    store.index_mailbox(&mut open(&store, "user.a"), how).unwrap();
    open(&store, "user.a")
        .append([
            NewMessage::from_bytes(message(100)),
            NewMessage::from_bytes(message(101)),
        ])
        .unwrap();
    open(&store, "user.a")
        .expunge(Expunge::Uids(&UidSet::from_iter(Uid::new(1))))
        .unwrap();
    sim.settle();
    store.index_mailbox(&mut open(&store, "user.a"), how).unwrap();
    let pattern = Pattern::new("<100@x>");
    let holder = Uid::new(13).unwrap();
    let mut states = (0, 0);
    for crash in sim.crash_states(80) {
        let store = Store::open(options(&crash.disk)).unwrap();
        let mut mailbox = open(&store, "user.a");
        let index = mailbox.search_index().unwrap();
        if let Some(index) = index {
            let narrowed = index.narrow(&Wanted::Holds(Place::Text, &pattern)).unwrap();
            assert!(narrowed.contains(holder), "{}", crash.story);
            assert!(!narrowed.contains(Uid::new(5).unwrap()), "{}", crash.story);
            // The old one does not know the last two messages.
            match index.unknown().contains(holder) {
                true => states.0 += 1,
                false => states.1 += 1,
            }
        } else {
            panic!("no index: {}\n{}", crash.story, sim.journal().join("\n"));
        }
        store.index_mailbox(&mut mailbox, how).unwrap();
        let index = mailbox.search_index().unwrap().unwrap();
        assert!(!index.unknown().contains(holder), "{}", crash.story);
    }
    assert!(states.0 > 5 && states.1 > 0, "{states:?}");
}
