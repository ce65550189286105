//! Access control lists, subscriptions and annotations of mailboxes through the public API.

#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

#[path = "common/fresh.rs"]
mod fresh;

use cyrus_acl::{AuthState, ModifyMode, Rights};
use cyrus_store::{AnnotationScope, Audience, MailboxError, QuotaRoot, Resource};
use fresh::{admin, create, id_of, name, new_store, rows, store_with, user};

#[test]
fn s024_what_one_subscribes_to_must_be_there_to_see() {
    let (dir, store) = store_with(&["user.bovik", "user.bovik.x", "user.fred", "shared"]);
    let bovik = user("bovik");
    for mailbox in ["user.bovik", "user.bovik.x", "shared"] {
        store.subscribe(&name(mailbox), &bovik).unwrap();
        store.subscribe(&name(mailbox), &bovik).unwrap();
    }
    for hidden in ["user.fred", "user.bovik.none"] {
        assert!(
            matches!(
                store.subscribe(&name(hidden), &bovik),
                Err(MailboxError::NotFound)
            ),
            "{hidden}"
        );
    }
    let id = id_of(&store, "user.bovik");
    let path = dir
        .path()
        .join(format!("conf/user/uuid/{}/{}/{id}/sub.db", &id[..1], &id[1..2]));
    assert_eq!(
        std::fs::read(path).unwrap(),
        b"\x1fVER\x1f\t2\nNINBOX\t\nNINBOX\x1fx\t\nNshared\t\n"
    );
    store.unsubscribe(&name("shared"), &bovik).unwrap();
    store.unsubscribe(&name("user.fred"), &bovik).unwrap();
    assert_eq!(
        store.subscriptions(&bovik).unwrap(),
        [name("user.bovik"), name("user.bovik.x")]
    );
    assert_eq!(store.subscriptions(&user("nobody")).unwrap(), []);
}

#[test]
fn subscriptions_without_version_are_read_and_brought_up_to_date() {
    let (dir, store) = store_with(&["user.bovik", "user.bovik.x"]);
    let id = id_of(&store, "user.bovik");
    let path = dir
        .path()
        .join(format!("conf/user/uuid/{}/{}/{id}/sub.db", &id[..1], &id[1..2]));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, b"shared.team\t\nuser.bovik.jo^smith\t\n").unwrap();
    let bovik = user("bovik");
    assert_eq!(
        store.subscriptions(&bovik).unwrap(),
        [name("shared.team"), name("user.bovik.jo^smith")]
    );
    store.subscribe(&name("user.bovik.x"), &bovik).unwrap();
    let expected = b"\x1fVER\x1f\t2\nNINBOX\x1fjo.smith\t\nNINBOX\x1fx\t\nNshared\x1fteam\t\n";
    assert_eq!(std::fs::read(path).unwrap(), expected);
}

#[test]
fn s070_an_administrator_may_change_lists_that_do_not_name_him() {
    let (_dir, store) = store_with(&["user.bovik"]);
    let inbox = name("user.bovik");
    assert_eq!(store.my_rights(&inbox, &admin()).unwrap().to_string(), "la");
    store
        .set_acl(&inbox, "fred", ModifyMode::Set, "lrs", &admin())
        .unwrap();
    assert_eq!(
        store.acl(&inbox, &admin()).unwrap().to_text(),
        "bovik\tlrswipkxtecdan\tfred\tlrs\t"
    );
}

#[test]
fn s041_s049_a_list_is_shown_and_changed_with_the_right_a_alone() {
    let (_dir, store) = store_with(&["user.bovik"]);
    let (inbox, fred) = (name("user.bovik"), user("fred"));
    let change = |auth| store.set_acl(&inbox, "carol", ModifyMode::Add, "l", auth);
    // No right at all: no mailbox.
    assert!(matches!(change(&fred), Err(MailboxError::NotFound)));
    assert!(matches!(store.acl(&inbox, &fred), Err(MailboxError::NotFound)));
    assert!(matches!(
        store.my_rights(&inbox, &fred),
        Err(MailboxError::NotFound)
    ));
    assert!(matches!(
        store.list_rights(&inbox, "carol", &fred),
        Err(MailboxError::NotFound)
    ));
    store
        .set_acl(&inbox, "fred", ModifyMode::Set, "l", &user("bovik"))
        .unwrap();
    assert!(matches!(change(&fred), Err(MailboxError::PermissionDenied)));
    assert!(matches!(
        store.acl(&inbox, &fred),
        Err(MailboxError::PermissionDenied)
    ));
    store
        .set_acl(&inbox, "fred", ModifyMode::Set, "sw", &user("bovik"))
        .unwrap();
    assert!(matches!(
        store.my_rights(&inbox, &fred),
        Err(MailboxError::NotFound)
    ));
    store
        .set_acl(&inbox, "fred", ModifyMode::Set, "a", &user("bovik"))
        .unwrap();
    change(&fred).unwrap();
    assert_eq!(
        store.acl(&inbox, &fred).unwrap().to_text(),
        "bovik\tlrswipkxtecdan\tfred\ta\tcarol\tl\t"
    );
}

#[test]
fn s071_s076_an_owner_cannot_lock_himself_out() {
    let (_dir, store) = store_with(&["user.bovik", "user.bovik.x"]);
    let (mailbox, bovik) = (name("user.bovik.x"), user("bovik"));
    for rights in ["", "lrs"] {
        let refused = store.set_acl(&mailbox, "bovik", ModifyMode::Set, rights, &bovik);
        assert!(matches!(refused, Err(MailboxError::PermissionDenied)), "{rights}");
    }
    assert!(matches!(
        store.delete_acl(&mailbox, "bovik", &bovik),
        Err(MailboxError::PermissionDenied)
    ));
    store
        .set_acl(&mailbox, "bovik", ModifyMode::Set, "", &admin())
        .unwrap();
    assert_eq!(store.acl(&mailbox, &bovik).unwrap().to_text(), "bovik\tlkxcan\t");
}

#[test]
fn s072_s074_rights_come_from_above_or_from_the_configuration() {
    let (_dir, store) = store_with(&["a", "user.bovik"]);
    let acl = |internal: &str| store.lookup(&name(internal)).unwrap().unwrap().acl.to_text();
    assert_eq!(acl("a"), "anyone\tlrs\t");
    assert_eq!(acl("user.bovik"), "bovik\tlrswipkxtecdan\t");
    store
        .set_acl(&name("a"), "-fred", ModifyMode::Set, "s", &admin())
        .unwrap();
    create(&store, "a.b.c", &admin()).unwrap();
    assert_eq!(acl("a.b.c"), "anyone\tlrs\t-fred\ts\t");
    store
        .set_acl(&name("user.bovik"), "fred", ModifyMode::Set, "lk", &user("bovik"))
        .unwrap();
    create(&store, "user.bovik.x", &user("fred")).unwrap();
    assert_eq!(acl("user.bovik.x"), "bovik\tlrswipkxtecdan\tfred\tlkc\t");
}

#[test]
fn s075_everybody_can_post_to_a_users_mailbox() {
    let (_dir, store) = store_with(&["user.bovik", "a"]);
    let grantable = store
        .list_rights(&name("user.bovik"), "fred", &user("bovik"))
        .unwrap();
    assert_eq!(grantable.required, Rights::POST);
    assert_eq!(
        store.list_rights(&name("a"), "fred", &admin()).unwrap().required,
        Rights::NONE
    );
}

#[test]
fn s077_bad_letters_and_identifiers_are_told_apart() {
    let (_dir, store) = store_with(&["user.bovik"]);
    let set = |id: &str, rights: &str| {
        store.set_acl(&name("user.bovik"), id, ModifyMode::Set, rights, &user("bovik"))
    };
    assert!(matches!(set("anyone", "lrz"), Err(MailboxError::InvalidRights(letter)) if letter == "z"));
    assert!(matches!(
        set("nos%uch", "lrs"),
        Err(MailboxError::InvalidIdentifier)
    ));
    // Of somebody who is gone, the entry can be removed.
    set("nos%uch", "").unwrap();
}

#[test]
fn sites_may_keep_users_from_changing_lists() {
    let (_dir, store) = new_store(|options| options.anyoneuseracl = false);
    create(&store, "user.bovik", &admin()).unwrap();
    let set = |id: &str, auth: &AuthState| store.set_acl(&name("user.bovik"), id, ModifyMode::Set, "l", auth);
    assert!(matches!(
        set("anyone", &user("bovik")),
        Err(MailboxError::PermissionDenied)
    ));
    // To take rights away is no harm (asked of Cyrus 3.6.1).
    set("-anyone", &user("bovik")).unwrap();
    set("fred", &user("bovik")).unwrap();
    set("anyone", &admin()).unwrap();
    let (_dir, store) = new_store(|options| options.allowsetacl = false);
    create(&store, "user.bovik", &admin()).unwrap();
    let refused = store.set_acl(&name("user.bovik"), "fred", ModifyMode::Set, "l", &user("bovik"));
    assert!(matches!(refused, Err(MailboxError::PermissionDenied)));
}

#[test]
fn annotations_are_shared_or_private_and_counted() {
    let (_dir, store) = store_with(&["user.bovik"]);
    let inbox = name("user.bovik");
    let (bovik, fred) = (user("bovik"), user("fred"));
    let root = QuotaRoot::parse("user.bovik").unwrap();
    store
        .set_quota(&root, &[(Resource::AnnotationStorage, Some(1))], &admin())
        .unwrap();
    store
        .set_acl(&inbox, "fred", ModifyMode::Set, "lr", &bovik)
        .unwrap();
    let scope = AnnotationScope::Mailbox(&inbox);
    let set = |audience, value: Option<&[u8]>, auth: &AuthState| {
        store.set_annotation(scope, "/comment", audience, value, auth)
    };
    set(Audience::Shared, Some(b"for all"), &bovik).unwrap();
    set(Audience::Private, Some(b"mine"), &bovik).unwrap();
    set(Audience::Private, Some(b"fred's"), &fred).unwrap();
    assert!(matches!(
        set(Audience::Shared, None, &fred),
        Err(MailboxError::PermissionDenied)
    ));
    assert!(matches!(
        set(Audience::Shared, None, &user("carol")),
        Err(MailboxError::NotFound)
    ));
    let of = |audience, auth: &AuthState| store.annotation(scope, "/comment", audience, auth).unwrap();
    assert_eq!(of(Audience::Shared, &fred).as_deref(), Some(&b"for all"[..]));
    assert_eq!(of(Audience::Private, &fred).as_deref(), Some(&b"fred's"[..]));
    assert_eq!(of(Audience::Private, &bovik).as_deref(), Some(&b"mine"[..]));
    assert_eq!(
        store
            .quota(&root)
            .unwrap()
            .unwrap()
            .used(Resource::AnnotationStorage),
        17
    );
    assert!(matches!(
        set(Audience::Shared, Some(&[b'x'; 2000]), &bovik),
        Err(MailboxError::OverQuota { .. })
    ));
    set(Audience::Shared, None, &bovik).unwrap();
    assert_eq!(
        store
            .quota(&root)
            .unwrap()
            .unwrap()
            .used(Resource::AnnotationStorage),
        10
    );
    let shared_seen = "/vendor/cmu/cyrus-imapd/sharedseen";
    assert_eq!(
        store
            .annotation(scope, shared_seen, Audience::Shared, &bovik)
            .unwrap()
            .as_deref(),
        Some(&b"false"[..])
    );
    store
        .set_annotation(scope, shared_seen, Audience::Shared, Some(b"true"), &bovik)
        .unwrap();
    assert_eq!(
        store
            .annotation(scope, shared_seen, Audience::Shared, &fred)
            .unwrap()
            .as_deref(),
        Some(&b"true"[..])
    );
    let server = AnnotationScope::Server;
    assert!(matches!(
        store.set_annotation(server, "/comment", Audience::Shared, Some(b"x"), &bovik),
        Err(MailboxError::PermissionDenied)
    ));
    store
        .set_annotation(server, "/comment", Audience::Shared, Some(b"x"), &admin())
        .unwrap();
    assert_eq!(
        store
            .annotation(server, "/comment", Audience::Shared, &bovik)
            .unwrap()
            .as_deref(),
        Some(&b"x"[..])
    );
}

#[test]
fn some_annotations_are_computed() {
    let (_dir, store) = new_store(|_| {});
    create(&store, "user.bovik", &admin()).unwrap();
    let (inbox, bovik) = (name("user.bovik"), user("bovik"));
    let shared = |scope, entry: &str| {
        let entry = format!("/vendor/cmu/cyrus-imapd/{entry}");
        let value = store.annotation(scope, &entry, Audience::Shared, &bovik).unwrap();
        value.map(|value| String::from_utf8(value).unwrap())
    };
    let of_inbox = |entry| shared(AnnotationScope::Mailbox(&inbox), entry);
    let id = store.lookup(&inbox).unwrap().unwrap().id.clone().unwrap();
    assert_eq!(of_inbox("uniqueid").as_deref(), Some(id.as_str()));
    assert_eq!(of_inbox("partition").as_deref(), Some("default"));
    assert_eq!(of_inbox("duplicatedeliver").as_deref(), Some("false"));
    assert_eq!(shared(AnnotationScope::Server, "uniqueid"), None);
    let server = |audience, entry: &str| {
        let value = store.annotation(AnnotationScope::Server, entry, audience, &bovik);
        value.unwrap().map(|value| String::from_utf8(value).unwrap())
    };
    let counters = server(Audience::Private, "/vendor/cmu/cyrus-imapd/usercounters");
    assert_eq!(counters.as_deref(), Some("0 0 0 0 0 0 0 0 0 0 0 0 0"));
    assert_eq!(server(Audience::Shared, "/motd"), None);
    let messages = store.options().config_dir.join("msg");
    std::fs::create_dir_all(&messages).unwrap();
    std::fs::write(messages.join("motd"), "all is well\r\nnot shown\n").unwrap();
    std::fs::write(messages.join("shutdown"), "\n").unwrap();
    assert_eq!(server(Audience::Shared, "/motd").as_deref(), Some("all is well"));
    assert_eq!(shared(AnnotationScope::Server, "shutdown"), None);
}

#[test]
fn the_index_of_rights_follows_lists_and_names() {
    let (_dir, store) = new_store(|options| options.reverseacls = true);
    create(&store, "user.bovik", &admin()).unwrap();
    create(&store, "user.bovik.x", &user("bovik")).unwrap();
    let x = name("user.bovik.x");
    for (identifier, rights) in [("fred", "r"), ("-carol", "l"), ("dave", "wip")] {
        store
            .set_acl(&x, identifier, ModifyMode::Set, rights, &user("bovik"))
            .unwrap();
    }
    let index = || {
        let keys: Vec<String> = rows(&store)
            .into_keys()
            .filter(|key| key.starts_with('A'))
            .collect();
        keys.into_iter()
            .map(|key| key.replace('\u{1e}', "^"))
            .collect::<Vec<_>>()
    };
    assert_eq!(index(), ["AS^", "AU^-carol^user|bovik|x", "AU^fred^user|bovik|x"]);
    store
        .rename(&x, &name("user.bovik.y"), None, &user("bovik"))
        .unwrap();
    store
        .delete_acl(&name("user.bovik.y"), "-carol", &user("bovik"))
        .unwrap();
    assert_eq!(index(), ["AS^", "AU^fred^user|bovik|y"]);
    store.delete(&name("user.bovik.y"), &user("bovik")).unwrap();
    assert!(index()[1].starts_with("AU^fred^DELETED|user|bovik|y|"));
}

#[test]
fn who_is_denied_is_told_why() {
    let (dir, store) = store_with(&[]);
    std::fs::create_dir_all(dir.path().join("conf")).unwrap();
    assert_eq!(store.user_denied("bovik", "imap").unwrap(), None);
    std::fs::write(
        dir.path().join("conf/user_deny.db"),
        b"bovik\t2\timap,pop3\tgo away\n",
    )
    .unwrap();
    assert_eq!(
        store.user_denied("bovik", "imap").unwrap().as_deref(),
        Some("go away")
    );
    assert_eq!(store.user_denied("bovik", "lmtp").unwrap(), None);
    assert_eq!(store.user_denied("fred", "imap").unwrap(), None);
}
