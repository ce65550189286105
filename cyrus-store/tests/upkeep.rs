//! What tools do to mailboxes: dates set right, seen state looked through, directories and ids changed, users shut out.

#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

#[path = "common/fresh.rs"]
mod fresh;

use cyrus_acl::AuthState;
use cyrus_store::{
    AnnotationScope, Audience, Denial, FlagMode, MailboxError, NewMessage, Relocated, Store, StoreOptions,
    Uid, UidSet,
};
use fresh::{admin, id_of, name, store_with, user};

fn message(date: &str) -> Vec<u8> {
    format!("Date: {date}\r\nFrom: a@b.example\r\nSubject: x\r\n\r\nx\r\n").into_bytes()
}

#[test]
fn internal_dates_a_day_off_become_those_of_the_messages() {
    let (_dir, store) = store_with(&["user.bovik"]);
    let dates = [
        ("Tue, 14 Mar 2023 12:00:00 +0000", 1_678_795_200 + 86_400),
        ("Tue, 14 Mar 2023 12:00:00 +0000", 1_678_795_200 + 86_401),
        ("no date", 1_600_000_000),
    ];
    let mut mailbox = store
        .open_mailbox(&name("user.bovik"), &AuthState::system())
        .unwrap();
    for (date, received) in dates {
        mailbox
            .append(NewMessage::from_bytes(message(date)).internal_date(received))
            .unwrap();
    }
    let before = mailbox.read().unwrap().highest_modseq();
    let done = mailbox.normalize_internal_dates().unwrap();
    assert_eq!(done.len(), 1);
    assert_eq!((done[0].uid, done[0].now), (Uid::new(2).unwrap(), 1_678_795_200));
    assert!(mailbox.normalize_internal_dates().unwrap().is_empty());
    let read = mailbox.read().unwrap();
    assert!(read.highest_modseq() > before);
    assert_eq!(read.get(done[0].uid).unwrap().internal_date(), 1_678_795_200);
    drop(read);
    let mut own = store.open_mailbox(&name("user.bovik"), &user("bovik")).unwrap();
    assert!(matches!(
        own.normalize_internal_dates(),
        Err(MailboxError::PermissionDenied)
    ));
}

#[test]
fn what_users_have_seen_can_be_looked_through_and_forgotten() {
    let (_dir, store) = store_with(&["user.bovik", "shared"]);
    store
        .set_acl(
            &name("shared"),
            "bovik",
            cyrus_acl::ModifyMode::Set,
            "lrs",
            &admin(),
        )
        .unwrap();
    let mut shared = store.open_mailbox(&name("shared"), &AuthState::system()).unwrap();
    shared.append(NewMessage::from_bytes(message("x"))).unwrap();
    let mut mailbox = store.open_mailbox(&name("shared"), &user("bovik")).unwrap();
    let first = UidSet::from(Uid::MIN..=Uid::MIN);
    mailbox.mark_seen(&first).unwrap();
    let states = store.seen_states("bovik").unwrap();
    assert_eq!(states.len(), 1);
    assert_eq!(states[0].0.as_str(), id_of(&store, "shared"));
    assert_eq!(states[0].1.seen, first);
    assert!(store.forget_seen("bovik", &states[0].0).unwrap());
    assert!(!store.forget_seen("bovik", &states[0].0).unwrap());
    assert!(store.seen_states("bovik").unwrap().is_empty());
    assert!(store.seen_states("nobody").unwrap().is_empty());
}

/// A store whose mailboxes lie in directories by name, reopened so that new ones would not.
fn legacy() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let options = |legacy| StoreOptions {
        mailbox_legacy_dirs: legacy,
        ..StoreOptions::new(dir.path().join("conf")).partition("default", dir.path().join("spool"))
    };
    let store = Store::open(options(true)).unwrap();
    for mailbox in ["user.bovik", "user.bovik.box"] {
        store.create(&name(mailbox), &AuthState::system()).unwrap();
    }
    store.subscribe(&name("user.bovik.box"), &user("bovik")).unwrap();
    let mut mailbox = store
        .open_mailbox(&name("user.bovik.box"), &user("bovik"))
        .unwrap();
    mailbox.append(NewMessage::from_bytes(message("x"))).unwrap();
    drop(mailbox);
    drop(store);
    let store = Store::open(options(false)).unwrap();
    (dir, store)
}

#[test]
fn a_mailbox_and_its_users_files_move_to_directories_by_id_under_open_sessions() {
    let (dir, store) = legacy();
    let mailbox_name = name("user.bovik.box");
    let mut session = store.open_mailbox(&mailbox_name, &user("bovik")).unwrap();
    assert_eq!(session.read().unwrap().exists(), 1);
    let place = store.relocate(&mailbox_name, true).unwrap();
    assert!(matches!(&place, Relocated::Moved(moved) if moved.from.data.is_dir() && !moved.to.data.exists()));
    let done = store.relocate(&mailbox_name, false).unwrap();
    assert!(
        matches!(&done, Relocated::Moved(moved) if !moved.from.index.exists() && moved.to.index.is_file())
    );
    assert_eq!(store.relocate(&mailbox_name, false).unwrap(), Relocated::Already);
    store.relocate(&name("user.bovik"), false).unwrap();
    assert!(!dir.path().join("spool/user").exists());
    assert!(!dir.path().join("conf/user/b/bovik.sub").exists());
    let subscribed = store.subscriptions(&user("bovik")).unwrap();
    assert!(subscribed.contains(&mailbox_name));
    // The session goes on where the mailbox is now.
    session.append(NewMessage::from_bytes(message("y"))).unwrap();
    let read = session.read().unwrap();
    assert_eq!(read.exists(), 2);
    assert!(read.messages().all(|message| message.file().is_ok()));
}

#[test]
fn a_new_id_keeps_the_annotations_and_is_for_mailboxes_by_name_alone() {
    let (_dir, store) = legacy();
    let mailbox = name("user.bovik.box");
    let scope = AnnotationScope::Mailbox(&mailbox);
    store
        .set_annotation(scope, "/comment", Audience::Shared, Some(b"kept"), &admin())
        .unwrap();
    let before = id_of(&store, "user.bovik.box");
    let id = store.renew_id(&mailbox).unwrap();
    assert_ne!(id.as_str(), before);
    assert_eq!(id_of(&store, "user.bovik.box"), id.as_str());
    let comment = store
        .annotation(scope, "/comment", Audience::Shared, &admin())
        .unwrap();
    assert_eq!(comment.as_deref(), Some(&b"kept"[..]));
    let mut opened = store.open_mailbox(&mailbox, &user("bovik")).unwrap();
    assert_eq!(opened.read().unwrap().exists(), 1);
    let flags = cyrus_store::FlagChange {
        mode: FlagMode::Add,
        flags: cyrus_store::FlagNames::default(),
    };
    opened
        .store_flags(&UidSet::from(Uid::MIN..=Uid::MIN), &flags, None)
        .unwrap();
    store.relocate(&mailbox, false).unwrap();
    assert!(matches!(store.renew_id(&mailbox), Err(MailboxError::Refused(_))));
}

#[test]
fn users_are_shut_out_and_let_in_again() {
    let (_dir, store) = store_with(&[]);
    assert!(store.denials().unwrap().is_empty());
    assert!(!store.allow_user("bovik").unwrap());
    let denial = Denial {
        services: "imap*,pop3".to_owned(),
        message: "Tabs\tand\nlines are spaces".to_owned(),
    };
    store.deny_user("bovik", &denial).unwrap();
    assert_eq!(
        store.user_denied("bovik", "imaps").unwrap().as_deref(),
        Some("Tabs and lines are spaces")
    );
    assert_eq!(store.user_denied("bovik", "nntp").unwrap(), None);
    assert_eq!(store.denials().unwrap().len(), 1);
    assert!(store.allow_user("bovik").unwrap());
    assert_eq!(store.user_denied("bovik", "imap").unwrap(), None);
}
