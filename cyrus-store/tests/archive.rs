//! The archive partition: which messages go there, and that nobody can tell but by the disk.
#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::path::Path;

use cyrus_acl::AuthState;
use cyrus_store::options::{ExpungeMode, PartitionPaths};
use cyrus_store::{
    Archive, Archived, Archiving, CopyMode, Expunge, FlagNames, Guid, Mailbox, MailboxName, NewMessage,
    Partition, Store, StoreOptions, SystemFlags, Uid, UidSet,
};

const ALL: Archive = Archive {
    received_before: u32::MAX,
};

fn options(root: &Path) -> StoreOptions {
    let mut options = StoreOptions::new(root.join("conf"));
    let partition = Partition::new("default").unwrap();
    options.default_partition = Some(partition.clone());
    options.partitions.insert(
        partition,
        PartitionPaths {
            data: root.join("spool"),
            meta: None,
            archive: Some(root.join("archive")),
        },
    );
    options
}

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap()
}

fn open(store: &Store, mailbox: &str) -> Mailbox {
    store.open_mailbox(&name(mailbox), &AuthState::system()).unwrap()
}

/// A store with a mailbox of five messages, received in the seconds 1000 to 5000.
fn store(change: impl FnOnce(&mut StoreOptions)) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    change(&mut options);
    let store = Store::open(options).unwrap();
    for mailbox in ["user.a", "user.a.sub"] {
        store.create(&name(mailbox), &AuthState::system()).unwrap();
    }
    let messages = (1..=5).map(|n| {
        let text = format!("Subject: {n}\r\n\r\n{}\r\n", "x".repeat(10 * n));
        let flags = FlagNames::from(match n {
            2 => SystemFlags::FLAGGED,
            _ => SystemFlags::default(),
        });
        NewMessage::from_bytes(text.into_bytes())
            .internal_date(n as i64 * 1000)
            .flags(flags)
    });
    open(&store, "user.a").append(messages).unwrap();
    (dir, store)
}

/// UID, flags, cached subject and content of every message; each must be what its record says.
fn look(store: &Store, mailbox: &str) -> Vec<String> {
    let mut mailbox = open(store, mailbox);
    let read = mailbox.read().unwrap();
    let shown = |message: cyrus_store::Message<'_>| {
        let file = message.file().unwrap();
        assert_eq!(Guid::of(&file), message.guid());
        let cached = message.cache().unwrap();
        let subject = String::from_utf8_lossy(cached.record().subject()).into_owned();
        format!(
            "{} {:?} {subject} {}",
            message.uid(),
            message.flags().system,
            file.len()
        )
    };
    read.messages().map(shown).collect()
}

/// The message files below a directory.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let entry = entry.unwrap();
            let file = entry.file_name().to_string_lossy().into_owned();
            match entry.file_type().unwrap().is_dir() {
                true => left.push(entry.path()),
                false if !file.starts_with("cyrus.") || file.starts_with("cyrus.archive") => found.push(file),
                false => {}
            }
        }
    }
    found.sort();
    found
}

#[test]
fn old_messages_move_and_nobody_can_tell() {
    let (dir, store) = store(|_| {});
    let before = look(&store, "user.a");
    let mut mailbox = open(&store, "user.a");
    let modseq = mailbox.peek_modseq().unwrap();
    let moved = mailbox
        .archive(&Archive {
            received_before: 3500,
        })
        .unwrap();
    assert_eq!(moved, Archived { seen: 5, moved: 3 });
    assert_eq!(
        mailbox.peek_modseq().unwrap(),
        modseq,
        "no client needs to hear of it"
    );
    assert_eq!(files(&dir.path().join("archive")), ["1.", "2.", "3."]);
    assert_eq!(look(&store, "user.a"), before);
    // The first files stay as long as somebody may be about to open them.
    assert_eq!(files(&dir.path().join("spool")).len(), 5);
    mailbox.close().unwrap();
    assert_eq!(files(&dir.path().join("spool")), ["4.", "5."]);
    assert_eq!(look(&store, "user.a"), before);
    let again = open(&store, "user.a")
        .archive(&Archive {
            received_before: 3500,
        })
        .unwrap();
    assert_eq!(again.moved, 0);
}

#[test]
fn what_is_flagged_stays_where_that_is_wanted_and_what_is_expunged_too() {
    let (dir, store) = store(|options| {
        options.archiving = Archiving {
            keep_flagged: true,
            ..Archiving::default()
        };
    });
    let gone: UidSet = Uid::new(4).into_iter().collect();
    let mut mailbox = open(&store, "user.a");
    mailbox.expunge(Expunge::Replaced(&gone)).unwrap();
    assert_eq!(mailbox.archive(&ALL).unwrap(), Archived { seen: 4, moved: 3 });
    mailbox.close().unwrap();
    assert_eq!(files(&dir.path().join("spool")), ["2.", "4."]);
    // What comes back is a new message.
    let mut mailbox = open(&store, "user.a");
    let back = mailbox.unexpunge(&gone, &|_| {}).unwrap();
    assert_eq!(back.len(), 1);
    assert_eq!(look(&store, "user.a").len(), 5);
}

#[test]
fn archived_messages_are_copied_expunged_and_repacked_like_others() {
    let (dir, store) = store(|options| options.expunge_mode = ExpungeMode::Immediate);
    let mut mailbox = open(&store, "user.a");
    mailbox
        .archive(&Archive {
            received_before: 3500,
        })
        .unwrap();
    mailbox.close().unwrap();
    let whole = look(&store, "user.a");
    let all = UidSet::from(Uid::MIN..=Uid::MAX);
    let mut mailbox = open(&store, "user.a");
    mailbox.copy(&all, &name("user.a.sub"), CopyMode::Copy).unwrap();
    assert_eq!(look(&store, "user.a.sub"), whole);
    let some: UidSet = [1, 4].into_iter().filter_map(Uid::new).collect();
    mailbox.expunge(Expunge::Replaced(&some)).unwrap();
    mailbox.close().unwrap();
    let left = look(&store, "user.a");
    assert_eq!(left, [&whole[1], &whole[2], &whole[4]].map(String::clone));
    assert_eq!(files(&dir.path().join("archive")), ["2.", "3."]);
    // The copies are new messages, and not large: none of them is archived.
    assert_eq!(
        files(&dir.path().join("spool")),
        ["1.", "2.", "3.", "4.", "5.", "5."]
    );
}

#[test]
fn new_messages_that_belong_there_go_to_the_archive_at_once() {
    let (dir, store) = store(|options| {
        options.archiving = Archiving {
            enabled: true,
            max_size: 60,
            ..Archiving::default()
        };
    });
    // By their dates, all of them.
    assert_eq!(files(&dir.path().join("archive")).len(), 5);
    assert_eq!(files(&dir.path().join("spool")), [""; 0]);
    let mut mailbox = open(&store, "user.a");
    let new = |octets: usize| {
        let text = format!("Subject: new\r\n\r\n{}\r\n", "x".repeat(octets));
        NewMessage::from_bytes(text.into_bytes())
    };
    mailbox.append([new(5), new(500), new(6)]).unwrap();
    assert_eq!(files(&dir.path().join("spool")), ["6.", "8."]);
    let whole = look(&store, "user.a");
    assert_eq!(whole.len(), 8);
    // A partition without an archive takes them all, and the way back puts them apart again.
    let all = UidSet::from(Uid::MIN..=Uid::MAX);
    mailbox.copy(&all, &name("user.a.sub"), CopyMode::Move).unwrap();
    assert_eq!(look(&store, "user.a.sub"), whole);
}

#[test]
fn an_archive_is_left_and_entered_by_moving_the_mailbox() {
    let (dir, store) = store(|options| {
        let plain = PartitionPaths {
            data: options.config_dir.with_file_name("plain"),
            meta: Some(options.config_dir.with_file_name("meta")),
            archive: None,
        };
        options.metapartition_files.index = true;
        options.metapartition_files.cache = true;
        options.partitions.insert(Partition::new("plain").unwrap(), plain);
    });
    open(&store, "user.a")
        .archive(&Archive {
            received_before: 3500,
        })
        .unwrap();
    let whole = look(&store, "user.a");
    let to = |partition: &str| {
        let (mailbox, partition) = (name("user.a.sub"), Partition::new(partition).unwrap());
        store
            .rename(&mailbox, &mailbox, Some(partition.clone()), &AuthState::system())
            .unwrap();
        let mailbox = name("user.a");
        store.rename(&mailbox, &mailbox, Some(partition), &AuthState::system())
    };
    to("plain").unwrap();
    assert_eq!(look(&store, "user.a"), whole);
    assert_eq!(files(&dir.path().join("plain")).len(), 5);
    assert_eq!(files(&dir.path().join("meta")), [""; 0]);
    assert_eq!(files(&dir.path().join("spool")), [""; 0]);
    assert_eq!(files(&dir.path().join("archive")), [""; 0]);
    to("default").unwrap();
    assert_eq!(look(&store, "user.a"), whole);
    assert_eq!(files(&dir.path().join("archive")), ["1.", "2.", "3."]);
    assert_eq!(files(&dir.path().join("spool")), ["4.", "5."]);
    assert_eq!(files(&dir.path().join("plain")), [""; 0]);
}

#[test]
fn where_there_is_no_archive_partition_archived_messages_stay_in_place() {
    let (dir, store) = store(|options| {
        for paths in options.partitions.values_mut() {
            paths.archive = None;
        }
    });
    let whole = look(&store, "user.a");
    let mut mailbox = open(&store, "user.a");
    assert_eq!(mailbox.archive(&ALL).unwrap().moved, 5);
    mailbox.close().unwrap();
    assert_eq!(look(&store, "user.a"), whole);
    assert_eq!(files(&dir.path().join("spool")).len(), 5);
}
