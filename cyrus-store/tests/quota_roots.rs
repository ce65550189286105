//! Quota roots through the public API: what they count, and who may set and see them.

#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

#[path = "common/fresh.rs"]
mod fresh;

use std::ops::ControlFlow;

use cyrus_acl::{AuthState, ModifyMode};
use cyrus_store::db::Engine;
use cyrus_store::{MailboxError, QuotaRoot, Resource};
use fresh::{admin, append, create, name, new_store, quota_of, store_with, user};

#[test]
fn s100_s102_usage_is_octets_of_messages_and_s101_every_copy_counts() {
    let (_dir, store) = store_with(&["user.bovik", "user.bovik.x"]);
    let root = QuotaRoot::parse("user.bovik").unwrap();
    store
        .set_quota(&root, &[(Resource::Storage, Some(10))], &admin())
        .unwrap();
    assert!(quota_of(&store, "user.bovik").starts_with("%(S (0 10) M (0) AS (0) NF (2) "));
    append(&store, "user.bovik", 4);
    let mut inbox = store.open_mailbox(&name("user.bovik"), &user("bovik")).unwrap();
    let all = cyrus_store::UidSet::from_ranges(inbox.read().unwrap().uids().ranges());
    inbox
        .copy(&all, &name("user.bovik.x"), cyrus_store::CopyMode::Copy)
        .unwrap();
    assert!(quota_of(&store, "user.bovik").starts_with("%(S (168 10) M (8) AS (0) NF (2) "));
    let quota = store.quota(&root).unwrap().unwrap();
    assert_eq!(quota.limit_in_use_units(Resource::Storage), Some(10 * 1024));
}

#[test]
fn s103_s106_the_nearest_root_counts_and_s107_a_nested_one_takes_its_mailboxes_along() {
    let mailboxes = [
        "user.bovik",
        "user.bovik.list.imap",
        "user.bovik.list.info-cyrus",
        "user.bovik.saved",
        "user.bovik.todo",
    ];
    let (_dir, store) = store_with(&mailboxes);
    for mailbox in mailboxes {
        append(&store, mailbox, 1);
    }
    for root in ["user.bovik", "user.bovik.list", "user.bovik.saved"] {
        store
            .set_quota(
                &QuotaRoot::parse(root).unwrap(),
                &[(Resource::Message, Some(9))],
                &admin(),
            )
            .unwrap();
    }
    let root = |internal: &str| store.quota_root(&name(internal)).unwrap().unwrap().to_string();
    assert_eq!(
        mailboxes.map(root),
        [
            "user.bovik",
            "user.bovik.list",
            "user.bovik.list",
            "user.bovik.saved",
            "user.bovik"
        ]
    );
    let counted = ["user.bovik", "user.bovik.list", "user.bovik.saved"].map(|root| {
        let quota = store.quota(&QuotaRoot::parse(root).unwrap()).unwrap().unwrap();
        (quota.used(Resource::Message), quota.used(Resource::NumFolders))
    });
    // user.bovik.list was made with the first mailbox below it.
    assert_eq!(counted, [(2, 2), (2, 3), (1, 1)]);
    // What moves away from a root is counted elsewhere.
    store
        .rename(
            &name("user.bovik.todo"),
            &name("user.bovik.list.todo"),
            None,
            &user("bovik"),
        )
        .unwrap();
    let used = |root: &str| {
        store
            .quota(&QuotaRoot::parse(root).unwrap())
            .unwrap()
            .unwrap()
            .used(Resource::Message)
    };
    assert_eq!((used("user.bovik"), used("user.bovik.list")), (1, 3));
    store
        .delete(&name("user.bovik.list.todo"), &user("bovik"))
        .unwrap();
    assert_eq!((used("user.bovik"), used("user.bovik.list")), (1, 2));
}

#[test]
fn s104_s107_a_root_needs_a_mailbox_below_unless_it_is_asked_for_by_name() {
    let (_dir, store) = store_with(&["x.y.z"]);
    let set = |root: &str| {
        store.set_quota(
            &QuotaRoot::parse(root).unwrap(),
            &[(Resource::Storage, Some(5))],
            &admin(),
        )
    };
    assert!(matches!(set("no.such"), Err(MailboxError::NotFound)));
    store.delete(&name("x.y.z"), &AuthState::system()).unwrap();
    store.delete(&name("x.y"), &AuthState::system()).unwrap();
    set("x").unwrap();
    let future = QuotaRoot::parse("no.such").unwrap();
    store
        .make_quota_root(&future, &[(Resource::Storage, Some(5))], &admin())
        .unwrap();
    assert_eq!(
        quota_of(&store, "no.such"),
        "%(S (0 5) M (0) AS (0) NF (0) MODSEQ 0)"
    );
    create(&store, "no.such.box", &admin()).unwrap();
    assert_eq!(
        quota_of(&store, "no.such"),
        "%(S (0 5) M (0) AS (0) NF (2) MODSEQ 0)"
    );
}

#[test]
fn s108_limits_are_replaced_as_a_whole_and_the_root_stays() {
    let (_dir, store) = store_with(&["user.bovik"]);
    let root = QuotaRoot::parse("user.bovik").unwrap();
    store
        .set_quota(
            &root,
            &[(Resource::Storage, Some(5)), (Resource::Message, Some(7))],
            &admin(),
        )
        .unwrap();
    store
        .set_quota(&root, &[(Resource::NumFolders, Some(9))], &admin())
        .unwrap();
    assert!(quota_of(&store, "user.bovik").starts_with("%(S (0) M (0) AS (0) NF (1 9) "));
    store.set_quota(&root, &[], &admin()).unwrap();
    assert!(quota_of(&store, "user.bovik").starts_with("%(S (0) M (0) AS (0) NF (1) "));
    assert_eq!(store.quota_root(&name("user.bovik.any")).unwrap(), Some(root));
}

#[test]
fn s109_limits_are_for_administrators_and_s119_usage_for_readers() {
    let (_dir, store) = store_with(&["user.bovik", "user.fred"]);
    let root = QuotaRoot::parse("user.bovik").unwrap();
    let refused = store.set_quota(&root, &[(Resource::Storage, Some(5))], &user("bovik"));
    assert!(matches!(refused, Err(MailboxError::PermissionDenied)));
    store
        .set_quota(&root, &[(Resource::Storage, Some(5))], &admin())
        .unwrap();
    assert!(store.quota_visible(&root, &user("bovik")).unwrap());
    assert!(store.quota_visible(&root, &admin()).unwrap());
    assert!(!store.quota_visible(&root, &user("fred")).unwrap());
    create(&store, "user.bovik.x", &user("bovik")).unwrap();
    store
        .set_acl(
            &name("user.bovik.x"),
            "fred",
            ModifyMode::Set,
            "r",
            &user("bovik"),
        )
        .unwrap();
    assert!(store.quota_visible(&root, &user("fred")).unwrap());
}

#[test]
fn a_limit_on_mailboxes_is_kept_by_create_and_rename() {
    let (_dir, store) = store_with(&["user.bovik", "shared", "shared.x"]);
    let root = QuotaRoot::parse("user.bovik").unwrap();
    store
        .set_quota(&root, &[(Resource::NumFolders, Some(2))], &admin())
        .unwrap();
    create(&store, "user.bovik.one", &user("bovik")).unwrap();
    let over = create(&store, "user.bovik.two", &user("bovik"));
    assert!(
        matches!(
            over,
            Err(MailboxError::OverQuota {
                resource: Resource::NumFolders,
                ..
            })
        ),
        "{over:?}"
    );
    let over = store.rename(&name("shared.x"), &name("user.bovik.two"), None, &admin());
    assert!(matches!(over, Err(MailboxError::OverQuota { .. })), "{over:?}");
    assert!(quota_of(&store, "user.bovik").contains("NF (2 2)"));
    store
        .rename(
            &name("user.bovik.one"),
            &name("user.bovik.two"),
            None,
            &user("bovik"),
        )
        .unwrap();
}

#[test]
fn quota_roots_can_be_a_database() {
    let (dir, store) = new_store(|options| options.databases.quota = Engine::Twoskip);
    create(&store, "user.bovik", &admin()).unwrap();
    store
        .set_quota(
            &QuotaRoot::parse("user.bovik").unwrap(),
            &[(Resource::Storage, Some(5))],
            &admin(),
        )
        .unwrap();
    create(&store, "user.bovik.x", &user("bovik")).unwrap();
    append(&store, "user.bovik.x", 1);
    assert_eq!(
        quota_of(&store, "user.bovik"),
        "%(S (21 5) M (1) AS (0) NF (2) MODSEQ 4)"
    );
    let mut roots = Vec::new();
    store
        .quota_roots("", &mut |root, quota| {
            roots.push((root.to_string(), quota.used));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(roots, [("user.bovik".to_owned(), [21, 1, 0, 2])]);
    assert!(dir.path().join("conf/quotas.db").exists() && !dir.path().join("conf/quota").exists());
}
