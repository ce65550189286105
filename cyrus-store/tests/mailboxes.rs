//! Mailboxes of real Cyrus are read and changed; what changed is read back from the files.
#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use std::fs;
use std::path::Path;

use common::{name, open, spool, store};
use cyrus_acl::AuthState;
use cyrus_store::format::cache::CacheView;
use cyrus_store::format::header::MailboxHeader;
use cyrus_store::format::index::{FlagCrcs, IndexHeader};
use cyrus_store::{
    CopyMode, DeliverOptions, Expunge, FlagChange, FlagMode, FlagNames, Guid, Keyword, Mailbox, MailboxError,
    NewMessage, Recipient, Store, SystemFlags, Uid, UidSet,
};

const MESSAGE: &[u8] = b"From: a@b\r\nSubject: hello\r\nMessage-ID: <1@x>\r\n\r\nHi.\r\n";

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

fn uids(numbers: &[u32]) -> UidSet {
    numbers.iter().map(|&number| uid(number)).collect()
}

fn add(flags: FlagNames) -> FlagChange {
    FlagChange {
        mode: FlagMode::Add,
        flags,
    }
}

/// Computes everything anew from the files of a mailbox: checksums, counts, caches, GUIDs.
fn check(store: &Store, internal: &str) -> IndexHeader {
    let entry = store.lookup(&name(internal)).unwrap().unwrap();
    let (id, partition) = (entry.id.as_ref().unwrap(), entry.partition.as_ref().unwrap());
    let paths = store
        .options()
        .mailbox_paths(partition, id, &entry.name, entry.mbtype.legacy_dirs)
        .unwrap();
    let file = fs::read(&paths.index).unwrap();
    let header = IndexHeader::parse(&file).unwrap();
    let names = fs::read(&paths.header).unwrap();
    assert_eq!(crc32fast::hash(&names), header.header_file_crc);
    let names = MailboxHeader::parse(&names).unwrap();
    let crcs = FlagCrcs::new(names.keywords.iter().map(|k| k.as_ref().map(|k| k.as_str())));
    let cache = fs::read(&paths.cache).unwrap_or_default();
    let mut counted = IndexHeader {
        exists: 0,
        unseen: 0,
        answered: 0,
        flagged: 0,
        deleted: 0,
        ..header.clone()
    };
    (counted.quota_mailbox_used, counted.sync_basic, counted.sync_annot) = (0, 0, 12_345_678);
    let mut last = 0;
    for view in header.records(&file).unwrap().iter() {
        let record = view.record().unwrap();
        assert!(record.uid > last && record.uid <= header.last_uid);
        assert!(record.modseq <= header.highestmodseq);
        last = record.uid;
        counted.count_in(&record, &crcs);
        if record.is_unlinked() {
            assert!(!paths.message(record.uid, false).exists() || header.options >> 29 & 1 == 1);
            continue;
        }
        let message = fs::read(paths.message(record.uid, record.is_archived())).unwrap();
        assert_eq!(
            (Guid::of(&message), message.len()),
            (record.guid, record.size as usize)
        );
        if record.cache_offset != 0 && !record.is_archived() {
            assert_eq!(
                CacheView::parse(&cache, record.cache_offset).unwrap().crc(),
                record.cache_crc
            );
        }
    }
    if fs::metadata(&paths.annotations).is_ok_and(|file| file.len() > 336) {
        // Annotations of messages count, too.
        counted.sync_annot = header.sync_annot;
    }
    assert_eq!(counted, header, "{internal}");
    header
}

#[test]
fn every_mailbox_of_a_user_is_read_as_real_cyrus_left_it() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let mut inbox = open(&store, "user.alice", "alice");
    let read = inbox.read().unwrap();
    assert!(read.exists() > 10);
    for (seqno, message) in (1..).zip(read.messages()) {
        assert_eq!(read.uids().seqno(message.uid()), Some(seqno));
        let file = message.file().unwrap();
        assert_eq!(Guid::of(&file), message.guid());
        assert!(message.cache().unwrap().envelope().starts_with(b"("));
    }
    assert_eq!(read.unseen().unwrap(), read.header().unseen);
    drop(read);
    let mut big = open(&store, "user.alice.Big", "alice");
    let read = big.read().unwrap();
    assert_eq!((read.exists(), read.messages().count()), (1980, 1980));
}

#[test]
fn s041_a_mailbox_without_rights_does_not_exist() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let erin = AuthState::user("erin").unwrap();
    for hidden in ["user.bob", "user.alice.Sent", "user.nobody", "no.such.mailbox"] {
        let error = store.open_mailbox(&name(hidden), &erin).unwrap_err();
        assert!(matches!(error, MailboxError::NotFound), "{hidden}: {error}");
    }
}

#[test]
fn an_appended_message_is_there_with_flags_date_cache_and_quota() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let before = check(&store, "user.alice");
    let mut inbox = open(&store, "user.alice", "alice");
    let flags = FlagNames {
        system: SystemFlags::FLAGGED | SystemFlags::SEEN,
        keywords: vec![Keyword::new("$New").unwrap()],
    };
    let message = NewMessage::from_bytes(MESSAGE)
        .flags(flags)
        .internal_date(1_700_000_000);
    let appended = inbox.append(message).unwrap();
    assert_eq!(appended.uids, [uid(before.last_uid + 1)]);
    let read = inbox.read().unwrap();
    let message = read.get(appended.uids[0]).unwrap();
    assert_eq!(&*message.file().unwrap(), MESSAGE);
    assert_eq!(message.internal_date(), 1_700_000_000);
    assert_eq!(message.flags().system, SystemFlags::FLAGGED | SystemFlags::SEEN);
    let slot = message.flags().keywords.slots().next().unwrap();
    assert_eq!(read.keywords()[slot], Keyword::new("$new"));
    assert!(message.cache().unwrap().envelope().ends_with(b"\"<1@x>\")"));
    drop(read);
    let after = check(&store, "user.alice");
    assert_eq!(after.exists, before.exists + 1);
    assert_eq!(after.highestmodseq, before.highestmodseq + 1);
}

#[test]
fn many_messages_are_appended_all_or_none() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let before = check(&store, "user.bob");
    let mut inbox = open(&store, "user.bob", "bob");
    let good = || NewMessage::from_bytes(MESSAGE);
    let error = inbox
        .append([good(), NewMessage::from_bytes(&b"bare\nnewline"[..])])
        .unwrap_err();
    assert!(matches!(error, MailboxError::ContainsBareNewline));
    assert_eq!(check(&store, "user.bob"), before);
    let appended = inbox.append([good(), good(), good()]).unwrap();
    assert_eq!(appended.uids.len(), 3);
    assert_eq!(check(&store, "user.bob").exists, before.exists + 3);
}

#[test]
fn flags_are_added_removed_and_replaced() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let mut inbox = open(&store, "user.alice.Big", "alice");
    let all = UidSet::from(Uid::MIN..=Uid::MAX);
    let stored = inbox
        .store_flags(&all, &add(SystemFlags::FLAGGED.into()), None)
        .unwrap();
    assert!(stored.changed.len() <= 1980 && !stored.changed.is_empty());
    assert_eq!(check(&store, "user.alice.Big").flagged, 1980);
    let again = inbox
        .store_flags(&all, &add(SystemFlags::FLAGGED.into()), None)
        .unwrap();
    assert!(again.changed.is_empty());
    let remove = FlagChange {
        mode: FlagMode::Remove,
        flags: SystemFlags::FLAGGED.into(),
    };
    inbox.store_flags(&uids(&[1, 2, 3, 700]), &remove, None).unwrap();
    assert_eq!(
        check(&store, "user.alice.Big").flagged,
        1980 - u32::try_from(4).unwrap() + missing(&mut inbox, &[1, 2, 3, 700])
    );
    let modseq = inbox.read().unwrap().highest_modseq();
    let set = FlagChange {
        mode: FlagMode::Set,
        flags: FlagNames {
            system: SystemFlags::DRAFT,
            keywords: vec![Keyword::new("x").unwrap()],
        },
    };
    let conflict = inbox
        .store_flags(&uids(&[1, 900]), &set, Some(cyrus_store::ModSeq(modseq.0 - 2)))
        .unwrap();
    assert!(!conflict.modified.contains(uid(900)) || conflict.modified.contains(uid(1)));
    check(&store, "user.alice.Big");
}

fn missing(mailbox: &mut Mailbox, numbers: &[u32]) -> u32 {
    let read = mailbox.read().unwrap();
    numbers
        .iter()
        .filter(|&&number| read.get(uid(number)).is_none())
        .count() as u32
}

#[test]
fn expunged_messages_are_gone_and_their_room_is_free() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let mut big = open(&store, "user.alice.Big", "alice");
    let modseq = big.read().unwrap().highest_modseq();
    let half: UidSet = (1..=2000).filter(|n| n % 2 == 0).map(uid).collect();
    big.store_flags(&half, &add(SystemFlags::DELETED.into()), None)
        .unwrap();
    let gone = big.expunge(Expunge::AllDeleted).unwrap();
    let read = big.read().unwrap();
    assert_eq!(u64::from(read.exists()) + gone.len(), 1980);
    assert!(gone.iter().all(|uid| read.get(uid).is_none()));
    let expunged = read
        .changed_since(modseq)
        .filter(|change| !change.visible)
        .count();
    assert_eq!(expunged as u64, gone.len());
    drop(read);
    let header = check(&store, "user.alice.Big");
    assert_ne!(header.first_expunged, 0);
}

#[test]
fn copies_are_links_and_moves_leave_nothing_behind() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let mut big = open(&store, "user.alice.Big", "alice");
    let copied = big
        .copy(&uids(&[500, 501, 502]), &name("user.alice"), CopyMode::Copy)
        .unwrap();
    assert!(!copied.pairs.is_empty());
    let mut inbox = open(&store, "user.alice", "alice");
    for &(original, copy) in &copied.pairs {
        let guid = big.read().unwrap().get(original).unwrap().guid();
        assert_eq!(inbox.read().unwrap().get(copy).unwrap().guid(), guid);
    }
    let before = check(&store, "user.alice.Big").exists;
    let moved = big
        .copy(&copied.originals(), &name("user.alice"), CopyMode::Move)
        .unwrap();
    assert_eq!(moved.originals(), copied.originals());
    assert_eq!(
        check(&store, "user.alice.Big").exists as usize,
        before as usize - moved.pairs.len()
    );
    check(&store, "user.alice");
    let error = big
        .copy(&uids(&[600]), &name("user.alice.None"), CopyMode::Copy)
        .unwrap_err();
    assert!(matches!(error, MailboxError::NotFound));
}

#[test]
fn s043_another_user_has_seen_state_of_his_own() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let shared = "shared.team";
    let mut as_alice = open(&store, shared, "alice");
    let before = as_alice.read().unwrap().unseen().unwrap();
    let read = as_alice.read().unwrap();
    let first = read.uids().first().unwrap();
    drop(read);
    as_alice.mark_seen(&UidSet::from(first..=first)).unwrap();
    assert!(
        as_alice
            .read()
            .unwrap()
            .get(first)
            .unwrap()
            .flags()
            .system
            .contains(SystemFlags::SEEN)
    );
    assert!(as_alice.read().unwrap().unseen().unwrap() <= before);
    check(&store, shared);
}

#[test]
fn a_damaged_record_is_named_and_hurts_no_other_mailbox() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let entry = store.lookup(&name("user.alice.Big")).unwrap().unwrap();
    let paths = store
        .options()
        .mailbox_paths(
            entry.partition.as_ref().unwrap(),
            entry.id.as_ref().unwrap(),
            &entry.name,
            false,
        )
        .unwrap();
    let mut bytes = fs::read(&paths.index).unwrap();
    bytes[160 + 112 * 7 + 12] ^= 1;
    fs::write(&paths.index, &bytes).unwrap();
    let error = open(&store, "user.alice.Big", "alice")
        .read()
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cyrus.index") && error.contains("reconstruct") && error.contains("944"),
        "{error}"
    );
    open(&store, "user.alice", "alice").read().unwrap();
    assert!(Path::new(&paths.index).exists());
}

#[test]
fn immediate_expunge_removes_files_and_records_at_close() {
    let dir = spool("default-uuid");
    let mut options = store(dir.path()).options().clone();
    options.expunge_mode = cyrus_store::options::ExpungeMode::Immediate;
    let store = Store::open(options).unwrap();
    let mut big = open(&store, "user.alice.Big", "alice");
    let before = check(&store, "user.alice.Big");
    big.store_flags(&uids(&[500, 501, 502]), &add(SystemFlags::DELETED.into()), None)
        .unwrap();
    let gone = big.expunge(Expunge::AllDeleted).unwrap();
    let second = open(&store, "user.alice.Big", "alice");
    big.close().unwrap();
    assert_eq!(check(&store, "user.alice.Big").generation, before.generation);
    second.close().unwrap();
    let after = check(&store, "user.alice.Big");
    assert_eq!(after.generation, before.generation + 1);
    assert_eq!(u64::from(before.num_records - after.num_records), gone.len());
    let mut big = open(&store, "user.alice.Big", "alice");
    let read = big.read().unwrap();
    assert!(read.messages().all(|message| message.cache().is_ok()));
}

#[test]
fn status_counts_what_reading_counts() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    for (mailbox, user) in [
        ("user.alice", "alice"),
        ("user.alice.Projects", "bob"),
        ("shared.team", "alice"),
    ] {
        let auth = AuthState::user(user).unwrap();
        let status = store.status(&name(mailbox), &auth).unwrap();
        let mut mailbox = store.open_mailbox(&name(mailbox), &auth).unwrap();
        let read = mailbox.read().unwrap();
        assert_eq!(
            (status.messages, status.unseen),
            (read.exists(), read.unseen().unwrap())
        );
        assert_eq!(
            (status.recent, status.uidnext),
            (read.recent().unwrap(), read.uidnext())
        );
        assert_eq!(
            (status.size, status.highestmodseq),
            (read.size(), read.highest_modseq())
        );
    }
}

#[test]
fn a_message_is_recent_in_one_session_only() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let mut first = open(&store, "user.alice", "alice");
    first.claim_recent().unwrap();
    let new = first.append(NewMessage::from_bytes(MESSAGE)).unwrap().uids[0];
    let mut second = open(&store, "user.alice", "alice");
    assert_eq!(second.claim_recent().unwrap(), UidSet::from(new..=new));
    assert!(second.read().unwrap().get(new).unwrap().is_recent());
    assert!(!first.read().unwrap().get(new).unwrap().is_recent());
    assert_eq!(second.read().unwrap().recent().unwrap(), 1);
    let mut third = open(&store, "user.alice", "alice");
    assert!(third.claim_recent().unwrap().is_empty());
    check(&store, "user.alice");
}

#[test]
fn watchers_hear_of_every_change() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let mut inbox = open(&store, "user.alice", "alice");
    let (sender, heard) = std::sync::mpsc::channel();
    let watch = store.watch(
        inbox.id(),
        std::sync::Arc::new(move |hint| sender.send(hint).unwrap()),
    );
    inbox.append(NewMessage::from_bytes(MESSAGE)).unwrap();
    let modseq = inbox.peek_modseq().unwrap();
    assert_eq!(heard.try_recv().unwrap().modseq, Some(modseq));
    inbox
        .store_flags(
            &UidSet::from(Uid::MIN..=Uid::MAX),
            &add(SystemFlags::DRAFT.into()),
            None,
        )
        .unwrap();
    assert!(heard.try_recv().unwrap().modseq > Some(modseq));
    drop(watch);
    inbox.append(NewMessage::from_bytes(MESSAGE)).unwrap();
    assert!(heard.try_recv().is_err());
}

#[test]
fn s110_what_exceeds_the_quota_is_refused_and_nothing_is_stored() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let path = store.options().quota_file("user.bob");
    let quota = cyrus_store::Quota {
        used: [900, 1, 0, 1],
        limit: [Some(1), None, None, None],
        ..Default::default()
    };
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, [quota.to_bytes(), b"\n".to_vec()].concat()).unwrap();
    set_quota_root(&store, "user.bob");
    let before = check(&store, "user.bob");
    let mut inbox = open(&store, "user.bob", "bob");
    let big = [b"Subject: x\r\n\r\n".to_vec(), vec![b'x'; 200]].concat();
    let error = inbox.append(NewMessage::from_bytes(big.clone())).unwrap_err();
    assert!(
        matches!(&error, MailboxError::OverQuota { root, .. } if root == "user.bob"),
        "{error}"
    );
    assert_eq!(check(&store, "user.bob"), before);
    inbox.append(NewMessage::from_bytes(MESSAGE)).unwrap();
    let read = || cyrus_store::Quota::parse(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(read().used, [900 + MESSAGE.len() as u64, 2, 0, 1]);
    // S111: delivery takes one message more while usage is not above the limit; S112: then no more.
    let staged = store.staged(big).unwrap();
    let recipient = || Recipient::new([name("user.bob")]);
    let deliver = || {
        store
            .deliver(&staged, DeliverOptions::default(), &[recipient()])
            .pop()
            .unwrap()
    };
    assert!(deliver().unwrap().uid.is_some());
    assert!(read().used[0] > 1024);
    let other = store.staged(&b"Subject: y\r\n\r\n"[..]).unwrap();
    let error = store
        .deliver(&other, DeliverOptions::default(), &[recipient()])
        .pop()
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, MailboxError::OverQuota { .. }));
    let ignoring = DeliverOptions { ignore_quota: true };
    assert!(
        store
            .deliver(&other, ignoring, &[recipient()])
            .pop()
            .unwrap()
            .is_ok()
    );
    // Expunging makes room again.
    inbox
        .store_flags(
            &UidSet::from(Uid::MIN..=Uid::MAX),
            &add(SystemFlags::DELETED.into()),
            None,
        )
        .unwrap();
    inbox.expunge(Expunge::AllDeleted).unwrap();
    assert!(read().used[0] < 900);
}

/// Notes a quota root in the header of a mailbox.
fn set_quota_root(store: &Store, internal: &str) {
    let entry = store.lookup(&name(internal)).unwrap().unwrap();
    let (id, partition) = (entry.id.as_ref().unwrap(), entry.partition.as_ref().unwrap());
    let paths = store
        .options()
        .mailbox_paths(partition, id, &entry.name, false)
        .unwrap();
    let mut header = MailboxHeader::parse(&fs::read(&paths.header).unwrap()).unwrap();
    header.quota_root = Some(internal.to_owned());
    fs::write(&paths.header, header.to_bytes()).unwrap();
    let mut file = fs::read(&paths.index).unwrap();
    let mut index = IndexHeader::parse(&file).unwrap();
    index.header_file_crc = crc32fast::hash(&header.to_bytes());
    file[..160].copy_from_slice(&index.to_bytes());
    fs::write(&paths.index, file).unwrap();
}

#[test]
fn s223_recipients_share_one_file_and_s225_duplicates_are_stored_once() {
    use std::os::unix::fs::MetadataExt;
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let message = b"From: a@b\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <once@x>\r\n\r\nHi.\r\n";
    let staged = store.staged(&message[..]).unwrap();
    let boxes = [
        "user.alice",
        "user.bob",
        "user.carol",
        "user.alice",
        "user.nobody",
    ];
    let recipients = boxes.map(|mailbox| Recipient::new([name(mailbox)]));
    let outcomes = store.deliver(&staged, DeliverOptions::default(), &recipients);
    let uids: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().map(|d| d.uid.map(|(_, uid)| uid)))
        .collect();
    assert!(uids[..3].iter().all(|uid| matches!(uid, Ok(Some(_)))));
    assert!(
        matches!(uids[3], Ok(None)),
        "the second copy for alice is a duplicate"
    );
    assert!(matches!(uids[4], Err(MailboxError::NotFound)));
    let entry = store.lookup(&name("user.alice")).unwrap().unwrap();
    let (id, partition) = (entry.id.as_ref().unwrap(), entry.partition.as_ref().unwrap());
    let paths = store
        .options()
        .mailbox_paths(partition, id, &entry.name, false)
        .unwrap();
    let uid = uids[0].as_ref().unwrap().unwrap();
    assert_eq!(fs::metadata(paths.message(uid.get(), false)).unwrap().nlink(), 3);
    let again = store
        .deliver(&staged, DeliverOptions::default(), &recipients[..1])
        .pop()
        .unwrap()
        .unwrap();
    assert_eq!(again.uid, None);
    store.flush_deliveries();
    let mut noted = 0;
    store
        .each_delivery(&mut |key, mark| noted += i32::from(key.starts_with(b"<once@x>\0") && mark.uid > 0))
        .unwrap();
    assert_eq!(noted, 3);
    let other = Store::open(store.options().clone()).unwrap();
    let again = other
        .deliver(&staged, DeliverOptions::default(), &recipients[..1])
        .pop()
        .unwrap()
        .unwrap();
    assert_eq!(again.uid, None);
    for mailbox in ["user.alice", "user.bob", "user.carol"] {
        check(&store, mailbox);
    }
}

#[test]
fn s221_mail_for_a_mailbox_where_nobody_may_post_goes_to_the_inbox() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let to = |first: &str| Recipient::new([name(first), name("user.alice")]);
    let go = |first: &str| {
        store
            .check_delivery(&to(first), DeliverOptions::default())
            .unwrap()
    };
    assert_eq!(go("user.alice.Drafts"), name("user.alice"));
    assert_eq!(go("user.alice.Big"), name("user.alice.Big"));
    assert_eq!(go("user.alice.None"), name("user.alice"));
    let shared = Recipient::new([name("shared")]);
    let error = store
        .check_delivery(&shared, DeliverOptions::default())
        .unwrap_err();
    assert!(matches!(error, MailboxError::PermissionDenied));
}

#[test]
fn many_threads_append_flag_and_read_one_mailbox() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let before = check(&store, "user.bob");
    let uids = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..6)
            .map(|_| {
                let store = &store;
                scope.spawn(move || {
                    let mut inbox = open(store, "user.bob", "bob");
                    let mut uids = Vec::new();
                    for _ in 0..15 {
                        uids.extend(inbox.append(NewMessage::from_bytes(MESSAGE)).unwrap().uids);
                        let one: UidSet = uids.last().copied().into_iter().collect();
                        inbox
                            .store_flags(&one, &add(SystemFlags::FLAGGED.into()), None)
                            .unwrap();
                        assert!(inbox.read().unwrap().get(uids[0]).is_some());
                    }
                    uids
                })
            })
            .collect();
        writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap())
            .collect::<UidSet>()
    });
    assert_eq!(uids.len(), 90, "no UID was given twice");
    let after = check(&store, "user.bob");
    assert_eq!(
        (after.exists, after.flagged),
        (before.exists + 90, before.flagged + 90)
    );
}

#[test]
fn copies_take_annotations_along() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let rows = |mailbox: &str| {
        let entry = store.lookup(&name(mailbox)).unwrap().unwrap();
        let (id, partition) = (entry.id.as_ref().unwrap(), entry.partition.as_ref().unwrap());
        let paths = store
            .options()
            .mailbox_paths(partition, id, &entry.name, false)
            .unwrap();
        let context = cyrus_store::db::DbContext::new(store.locks().clone());
        let (engine, create) = (cyrus_store::db::Engine::Twoskip, cyrus_store::db::Create::Yes);
        let mut db = cyrus_store::db::open(&context, &paths.annotations, engine, create).unwrap();
        let mut rows = Vec::new();
        db.scan(b"", &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        rows
    };
    let before = rows("user.alice");
    assert!(!before.is_empty(), "the golden spool has annotated messages");
    let annotations = |mailbox: &str| {
        let mut mailbox = open(&store, mailbox, "alice");
        let read = mailbox.read().unwrap();
        (read.header().quota_annot_used, read.header().sync_annot)
    };
    let (octets, _) = annotations("user.alice");
    let (sent_octets, sent_sync) = annotations("user.alice.Sent");
    let all = UidSet::from(Uid::MIN..=Uid::MAX);
    let copied = open(&store, "user.alice", "alice")
        .copy(&all, &name("user.alice.Sent"), CopyMode::Copy)
        .unwrap();
    assert!(copied.pairs.len() > 10);
    let copies = rows("user.alice.Sent");
    assert!(!copies.is_empty() && copies.len() <= before.len());
    assert!(annotations("user.alice.Sent").0 > sent_octets);
    assert!(annotations("user.alice.Sent").0 <= sent_octets + octets);
    // Expunging the copies takes them out of the counts again.
    let mut sent = open(&store, "user.alice.Sent", "alice");
    sent.store_flags(&copied.copies(), &add(SystemFlags::DELETED.into()), None)
        .unwrap();
    sent.expunge(Expunge::Uids(&copied.copies())).unwrap();
    assert_eq!(annotations("user.alice.Sent"), (sent_octets, sent_sync));
}
