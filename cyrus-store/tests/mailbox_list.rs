//! Making, deleting, renaming and listing mailboxes through the public API, with the rows that Cyrus 3.6.1 writes.

#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

#[path = "common/fresh.rs"]
mod fresh;

use cyrus_acl::{AuthState, ModifyMode, Rights};
use cyrus_store::db::{Create, DbContext, Engine};
use cyrus_store::options::{DeleteMode, MetaFiles};
use cyrus_store::{
    AnnotationScope, Audience, CreateOptions, MailboxError, ModSeq, QuotaRoot, Resource, Step, Store,
};
use fresh::{
    admin, append, create, exists, files, id_of, listed, name, new_store, partition, plain, quota_of, rows,
    store_with, user,
};

#[test]
fn s023_administrators_create_and_delete_users() {
    let (_dir, store) = store_with(&["user.bovik"]);
    assert!(matches!(
        create(&store, "user.fred", &user("bovik")),
        Err(MailboxError::PermissionDenied)
    ));
    assert!(matches!(
        create(&store, "user.bovik", &user("bovik")),
        Err(MailboxError::Exists)
    ));
    assert!(matches!(
        store.delete(&name("user.bovik"), &user("bovik")),
        Err(MailboxError::Refused(_))
    ));
    // Administrators have no `x` by themselves.
    assert!(matches!(
        store.delete(&name("user.bovik"), &admin()),
        Err(MailboxError::PermissionDenied)
    ));
    store
        .set_acl(&name("user.bovik"), "admin", ModifyMode::Set, "x", &admin())
        .unwrap();
    store.delete(&name("user.bovik"), &admin()).unwrap();
    assert_eq!(store.lookup(&name("user.bovik")).unwrap(), None);
}

#[test]
fn s026_deleting_an_inbox_deletes_all_that_is_the_users() {
    let (dir, store) = store_with(&["user.bovik", "user.bovik.a.b", "user.bovik2"]);
    let limit = [(Resource::Storage, Some(10))];
    store
        .set_quota(&QuotaRoot::parse("user.bovik").unwrap(), &limit, &admin())
        .unwrap();
    store
        .set_quota(&QuotaRoot::parse("user.bovik.a").unwrap(), &limit, &admin())
        .unwrap();
    store
        .set_quota(&QuotaRoot::parse("user.bovik2").unwrap(), &limit, &admin())
        .unwrap();
    store.subscribe(&name("user.bovik"), &user("bovik")).unwrap();
    append(&store, "user.bovik.a.b", 1);
    let id = id_of(&store, "user.bovik.a.b");
    store.delete(&name("user.bovik"), &AuthState::system()).unwrap();
    assert_eq!(listed(&store, &user("bovik")), Vec::<String>::new());
    let all = listed(&store, &admin());
    let deleted: Vec<&String> = all
        .iter()
        .filter(|name| name.starts_with("DELETED.user.bovik"))
        .collect();
    assert_eq!((deleted.len(), all.len()), (3, 4), "{all:?}");
    assert!(all.contains(&"user.bovik2".to_owned()));
    assert_eq!(files(&dir.path().join("conf/quota")), ["b/user.bovik2"]);
    assert_eq!(files(&dir.path().join("conf/user")), Vec::<String>::new());
    // The messages wait for their removal.
    assert!(
        dir.path()
            .join(format!("spool/uuid/{}/{}/{id}/1.", &id[..1], &id[1..2]))
            .exists()
    );
}

#[test]
fn s026_at_once_nothing_but_tombstones_is_left() {
    let (dir, store) = new_store(|options| {
        options.delete_mode = DeleteMode::Immediate;
        options.mailbox_legacy_dirs = true;
    });
    create(&store, "user.bovik", &admin()).unwrap();
    create(&store, "user.bovik.a", &admin()).unwrap();
    append(&store, "user.bovik.a", 2);
    let comment = Some(&b"x"[..]);
    let scope = AnnotationScope::Mailbox;
    let bovik = user("bovik");
    store
        .set_annotation(
            scope(&name("user.bovik.a")),
            "/comment",
            Audience::Private,
            comment,
            &bovik,
        )
        .unwrap();
    store.delete(&name("user.bovik"), &AuthState::system()).unwrap();
    assert_eq!(files(&dir.path().join("spool")), ["stage./"; 0]);
    assert!(!dir.path().join("spool/user").exists());
    let rows = rows(&store);
    assert_eq!(plain(&rows["Nuser|bovik|a"]), "%(T ed I _ V _ C 1 F 5 M _)");
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(rows.values().all(|row| row.starts_with("%(T ed ")), "{rows:?}");
}

/// The rows that Cyrus 3.6.1 wrote for the same requests.
#[test]
fn rows_are_those_of_cyrus() {
    let (_dir, store) = store_with(&["user.bovik"]);
    let bovik = user("bovik");
    create(&store, "user.bovik.INBOX.x.y", &bovik).unwrap();
    let acl = "A %(bovik lrswipkxtecdan)";
    let fresh = rows(&store);
    assert_eq!(fresh.len(), 6, "no row for the inner INBOX: {fresh:?}");
    let by_name = format!("%(T e I _ P default V _ C 1 F 1 M _ {acl})");
    assert_eq!(plain(&fresh["Nuser|bovik|INBOX|x|y"]), by_name);
    let id = format!("I{}", id_of(&store, "user.bovik.INBOX.x.y"));
    let by_id = format!("%(T e N user|bovik|INBOX|x|y P default V _ C 1 F 1 M _ {acl} H ())");
    assert_eq!(plain(&fresh[&id]), by_id);

    let done = store
        .rename(&name("user.bovik.INBOX.x"), &name("user.bovik.z"), None, &bovik)
        .unwrap();
    assert_eq!(
        done,
        [
            (name("user.bovik.INBOX.x"), name("user.bovik.z")),
            (name("user.bovik.INBOX.x.y"), name("user.bovik.z.y"))
        ]
    );
    let renamed = rows(&store);
    assert_eq!(
        plain(&renamed["Nuser|bovik|INBOX|x|y"]),
        "%(T ed I _ V _ C 1 F 2 M _)"
    );
    assert_eq!(
        plain(&renamed["Nuser|bovik|z|y"]),
        format!("%(T e I _ P default V _ C 1 F 2 M _ {acl})")
    );
    let history = "H (%(N user|bovik|INBOX|x|y M _ V _ C 1 F 2 T ed))";
    let by_id = format!("%(T e N user|bovik|z|y P default V _ C 1 F 2 M _ {acl} {history})");
    assert_eq!(plain(&renamed[&id]), by_id);

    store.delete(&name("user.bovik.z.y"), &bovik).unwrap();
    let deleted = rows(&store);
    assert_eq!(plain(&deleted["Nuser|bovik|z|y"]), "%(T ed I _ V _ C 1 F 3 M _)");
    let time = deleted[&id]
        .split("DELETED|user|bovik|z|y|")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert_eq!(
        plain(&deleted[&format!("NDELETED|user|bovik|z|y|{time}")]),
        format!("%(T e I _ P default V _ C 1 F 3 M _ {acl})")
    );
    assert!(
        deleted[&id].contains("H (%(N user|bovik|z|y M"),
        "{}",
        deleted[&id]
    );
    assert!(i64::from_str_radix(time, 16).is_ok());
}

#[test]
fn a_name_that_is_used_again_gets_a_higher_uidvalidity() {
    let (_dir, store) = store_with(&["user.bovik", "user.bovik.x"]);
    let uidvalidity = || store.lookup(&name("user.bovik.x")).unwrap().unwrap().uidvalidity;
    let mut last = uidvalidity();
    for _ in 0..3 {
        store.delete(&name("user.bovik.x"), &user("bovik")).unwrap();
        create(&store, "user.bovik.x", &user("bovik")).unwrap();
        assert!(uidvalidity() > last);
        last = uidvalidity();
    }
}

#[test]
fn mailboxes_with_children_are_not_deleted() {
    let (_dir, store) = store_with(&["user.bovik", "user.bovik.x", "user.bovik.x.y", "user.bovik.x2"]);
    let delete = |internal: &str| store.delete(&name(internal), &user("bovik"));
    assert!(matches!(delete("user.bovik.x"), Err(MailboxError::HasInferiors)));
    delete("user.bovik.x.y").unwrap();
    delete("user.bovik.x").unwrap();
    assert!(matches!(delete("user.bovik.x"), Err(MailboxError::NotFound)));
    assert_eq!(listed(&store, &user("bovik")), ["user.bovik", "user.bovik.x2"]);
}

#[test]
fn deleted_mailboxes_can_be_brought_back_or_removed() {
    let (dir, store) = store_with(&["user.bovik", "user.bovik.x"]);
    append(&store, "user.bovik.x", 3);
    store.delete(&name("user.bovik.x"), &user("bovik")).unwrap();
    let gone = |store: &Store| {
        listed(store, &admin())
            .into_iter()
            .find(|name| name.starts_with("DELETED."))
            .unwrap()
    };
    let deleted = name(&gone(&store));
    store
        .rename(&deleted, &name("user.bovik.back"), None, &admin())
        .unwrap();
    assert_eq!(exists(&store, "user.bovik.back"), 3);
    store.delete(&name("user.bovik.back"), &user("bovik")).unwrap();
    store.delete(&name(&gone(&store)), &AuthState::system()).unwrap();
    assert_eq!(listed(&store, &admin()), ["user.bovik"]);
    assert_eq!(
        files(&dir.path().join("spool/uuid")).len(),
        2,
        "index and header of the INBOX"
    );
}

#[test]
fn special_uses_are_for_mailboxes_right_below_the_own_inbox_and_protect_them() {
    let (_dir, store) = store_with(&["user.bovik", "user.bovik.x"]);
    let with = |mailbox: &str, special_use: &str| {
        let options = CreateOptions {
            special_use: vec![special_use.to_owned()],
            ..CreateOptions::default()
        };
        store.create_with(&name(mailbox), &options, &user("bovik"))
    };
    assert!(matches!(
        with("user.bovik.x.Sent", "\\Sent"),
        Err(MailboxError::Refused(_))
    ));
    assert!(matches!(
        with("user.bovik.Sent", "\\Bogus"),
        Err(MailboxError::Refused(_))
    ));
    with("user.bovik.Sent", "\\Sent").unwrap();
    let sent = name("user.bovik.Sent");
    let entry = store.lookup(&sent).unwrap().unwrap();
    assert_eq!(
        (store.special_use(&entry).unwrap(), entry.folder_modseq.0),
        (vec!["\\Sent".to_owned()], 2)
    );
    assert!(matches!(
        store.delete(&sent, &user("bovik")),
        Err(MailboxError::Refused(_))
    ));
    let below = store.rename(&sent, &name("user.bovik.x.Sent"), None, &user("bovik"));
    assert!(matches!(below, Err(MailboxError::Refused(_))));
    store
        .rename(&sent, &name("user.bovik.Out"), None, &user("bovik"))
        .unwrap();
    let out = name("user.bovik.Out");
    store
        .set_annotation(
            AnnotationScope::Mailbox(&out),
            "/specialuse",
            Audience::Private,
            None,
            &user("bovik"),
        )
        .unwrap();
    store.delete(&out, &user("bovik")).unwrap();
}

#[test]
fn renaming_needs_x_on_the_mailbox_and_k_where_it_goes() {
    let (_dir, store) = store_with(&["user.bovik", "shared", "shared.x", "user.fred"]);
    let bovik = user("bovik");
    let rename = |from: &str, to: &str, auth: &AuthState| store.rename(&name(from), &name(to), None, auth);
    assert!(matches!(
        rename("shared.x", "user.bovik.x", &bovik),
        Err(MailboxError::PermissionDenied)
    ));
    assert!(matches!(
        rename("user.fred", "user.bovik.x", &bovik),
        Err(MailboxError::NotFound)
    ));
    store
        .set_acl(&name("shared.x"), "bovik", ModifyMode::Set, "lrx", &admin())
        .unwrap();
    assert!(matches!(
        rename("shared.x", "shared.y", &bovik),
        Err(MailboxError::PermissionDenied)
    ));
    rename("shared.x", "user.bovik.x", &bovik).unwrap();
    assert!(matches!(
        rename("user.bovik.x", "user.bovik.x", &bovik),
        Err(MailboxError::PermissionDenied)
    ));
    assert!(matches!(
        rename("user.bovik.x", "user.bovik.x.y", &bovik),
        Err(MailboxError::Refused(_))
    ));
    assert!(matches!(
        rename("user.bovik.no", "user.bovik.y", &bovik),
        Err(MailboxError::NotFound)
    ));
    assert!(matches!(
        rename("user.bovik.x", "user.nobody.x", &admin()),
        Err(MailboxError::PermissionDenied)
    ));
    assert!(matches!(
        rename("user.bovik", "user.bovik2", &admin()),
        Err(MailboxError::Refused(_))
    ));
    create(&store, "user.bovik.y", &bovik).unwrap();
    assert!(matches!(
        rename("user.bovik.x", "user.bovik.y", &bovik),
        Err(MailboxError::Exists)
    ));
    // Mailboxes above the new name are made.
    rename("user.bovik.x", "user.bovik.p.q.x", &bovik).unwrap();
    let expected = [
        "user.bovik",
        "user.bovik.p",
        "user.bovik.p.q",
        "user.bovik.p.q.x",
        "user.bovik.y",
    ];
    assert_eq!(listed(&store, &bovik)[1..], expected);
}

#[test]
fn renaming_a_user_moves_his_lists_quota_and_files() {
    let (dir, store) = new_store(|options| {
        options.allowusermoves = true;
        options.mailbox_legacy_dirs = true;
    });
    create(&store, "user.bovik", &admin()).unwrap();
    create(&store, "user.bovik.x", &admin()).unwrap();
    append(&store, "user.bovik.x", 2);
    store
        .set_quota(
            &QuotaRoot::parse("user.bovik").unwrap(),
            &[(Resource::Storage, Some(5))],
            &admin(),
        )
        .unwrap();
    store
        .set_acl(
            &name("user.bovik.x"),
            "fred",
            ModifyMode::Set,
            "lr",
            &user("bovik"),
        )
        .unwrap();
    store.subscribe(&name("user.bovik.x"), &user("bovik")).unwrap();
    store
        .rename(&name("user.bovik"), &name("user.carol"), None, &admin())
        .unwrap();
    assert_eq!(listed(&store, &user("carol")), ["user.carol", "user.carol.x"]);
    let acl = store.acl(&name("user.carol.x"), &user("carol")).unwrap();
    assert_eq!(acl.to_text(), "fred\tlr\tcarol\tlrswipkxtecdan\t");
    assert_eq!(
        store.subscriptions(&user("carol")).unwrap(),
        [name("user.carol.x")]
    );
    assert_eq!(files(&dir.path().join("conf/user")), ["c/carol.sub"]);
    assert_eq!(files(&dir.path().join("conf/quota")), ["c/user.carol"]);
    assert!(quota_of(&store, "user.carol").starts_with("%(S (42 5) M (2) AS (0) NF (2) "));
    assert_eq!(exists(&store, "user.carol.x"), 2);
    assert!(!dir.path().join("spool/user/bovik").exists());
    assert!(dir.path().join("spool/user/carol/x/2.").exists());
}

#[test]
fn s135_s140_partitions_are_inherited_or_chosen_by_administrators() {
    let (dir, store) = store_with(&["user.bovik"]);
    let on = |partition_name: &str, mailbox: &str, auth: &AuthState| {
        let options = CreateOptions {
            partition: Some(partition(partition_name)),
            ..CreateOptions::default()
        };
        store.create_with(&name(mailbox), &options, auth)
    };
    assert!(matches!(
        on("news", "user.bovik.z", &user("bovik")),
        Err(MailboxError::PermissionDenied)
    ));
    assert!(matches!(
        on("none", "x", &admin()),
        Err(MailboxError::InvalidPartition)
    ));
    on("news", "x.y", &admin()).unwrap();
    create(&store, "x.y.z", &admin()).unwrap();
    let partition_of = |mailbox: &str| {
        store
            .lookup(&name(mailbox))
            .unwrap()
            .unwrap()
            .partition
            .clone()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        ["x", "x.y", "x.y.z", "user.bovik"].map(partition_of),
        ["news", "news", "news", "default"]
    );
    let id = id_of(&store, "x.y.z");
    assert!(
        dir.path()
            .join(format!("news/uuid/{}/{}/{id}/cyrus.index", &id[..1], &id[1..2]))
            .exists()
    );
}

#[test]
fn s141_s144_renaming_to_a_partition_moves_files_and_nothing_else() {
    let (dir, store) = store_with(&["user.bovik", "user.bovik.x", "user.bovik.x.y"]);
    append(&store, "user.bovik.x", 2);
    let x = name("user.bovik.x");
    let before = store.lookup(&x).unwrap().unwrap();
    let to = |to: &str, auth: &AuthState| store.rename(&x, &name(to), Some(partition("news")), auth);
    assert!(matches!(
        to("user.bovik.x", &user("bovik")),
        Err(MailboxError::PermissionDenied)
    ));
    assert!(matches!(
        to("user.bovik.q", &admin()),
        Err(MailboxError::Refused(_))
    ));
    assert_eq!(to("user.bovik.x", &admin()).unwrap().len(), 2);
    let after = store.lookup(&x).unwrap().unwrap();
    assert_eq!(
        (&after.id, after.uidvalidity, &after.acl),
        (&before.id, before.uidvalidity, &before.acl)
    );
    assert_eq!(
        (after.partition.clone(), exists(&store, "user.bovik.x")),
        (Some(partition("news")), 2)
    );
    let id = id_of(&store, "user.bovik.x");
    let sub = format!("uuid/{}/{}/{id}", &id[..1], &id[1..2]);
    assert!(
        dir.path().join("news").join(&sub).join("1.").exists()
            && !dir.path().join("spool").join(&sub).exists()
    );
    append(&store, "user.bovik.x", 1);
    assert_eq!(exists(&store, "user.bovik.x"), 3);
    // Without a partition it stays where it is.
    store
        .rename(&x, &name("user.bovik.q"), None, &user("bovik"))
        .unwrap();
    let renamed = store.lookup(&name("user.bovik.q")).unwrap().unwrap();
    assert_eq!(renamed.partition, Some(partition("news")));
    assert!(matches!(
        store.rename(
            &name("user.bovik.q"),
            &name("user.bovik.q"),
            Some(partition("news")),
            &admin()
        ),
        Err(MailboxError::Exists)
    ));
}

#[test]
fn s145_renaming_the_inbox_moves_its_messages() {
    let (_dir, store) = store_with(&["user.bovik", "user.bovik.child"]);
    append(&store, "user.bovik", 3);
    let id = id_of(&store, "user.bovik");
    store
        .rename(&name("user.bovik"), &name("user.bovik.old"), None, &user("bovik"))
        .unwrap();
    assert_eq!(
        (exists(&store, "user.bovik"), exists(&store, "user.bovik.old")),
        (0, 3)
    );
    assert_eq!(
        listed(&store, &user("bovik")),
        ["user.bovik", "user.bovik.child", "user.bovik.old"]
    );
    assert_eq!(id_of(&store, "user.bovik"), id);
    // With nothing to move, too.
    store
        .rename(
            &name("user.bovik"),
            &name("user.bovik.older"),
            None,
            &user("bovik"),
        )
        .unwrap();
    assert_eq!(exists(&store, "user.bovik.older"), 0);
}

#[test]
fn the_list_is_in_order_and_subtrees_can_be_left_out() {
    let (_dir, store) = store_with(&[
        "user.bovik",
        "user.bovik.a",
        "user.bovik.a.b",
        "user.bovik.a b",
        "user.bovik2",
        "shared",
    ]);
    let bovik = user("bovik");
    assert_eq!(
        listed(&store, &bovik),
        [
            "shared",
            "user.bovik",
            "user.bovik.a",
            "user.bovik.a.b",
            "user.bovik.a b"
        ]
    );
    let mut seen = Vec::new();
    store
        .walk("user\u{1f}bovik", &bovik, &mut |entry, rights| {
            assert!(rights.contains(Rights::LOOKUP));
            seen.push(entry.name.to_string());
            if entry.name.as_str() == "user.bovik.a" {
                Step::SkipChildren
            } else {
                Step::Next
            }
        })
        .unwrap();
    assert_eq!(seen, ["user.bovik", "user.bovik.a", "user.bovik.a b"]);
    let mut first = None;
    store
        .walk("", &admin(), &mut |entry, _| {
            first = Some(entry.name.to_string());
            Step::Stop
        })
        .unwrap();
    assert_eq!(first.as_deref(), Some("shared"));
}

#[test]
fn with_conversations_the_mailboxes_of_a_user_share_modseqs_and_uidvalidities() {
    let (_dir, store) = new_store(|options| options.conversations = true);
    let [inbox, first, second] = ["user.bovik", "user.bovik.A", "user.bovik.B"]
        .map(|mailbox| store.create(&name(mailbox), &admin()).unwrap());
    assert_eq!(inbox.created_modseq, ModSeq(1));
    assert_eq!(first.created_modseq, ModSeq(2));
    assert_eq!(second.created_modseq, ModSeq(3));
    assert!(inbox.uidvalidity < first.uidvalidity && first.uidvalidity < second.uidvalidity);
}

#[test]
fn names_that_nobody_may_have_are_refused() {
    let (_dir, store) = store_with(&["user.bovik"]);
    for bad in ["DELETED.x", "user.anyone", "~x", "user.bovik.a%b"] {
        let result = create(&store, bad, &AuthState::system());
        assert!(
            matches!(result, Err(MailboxError::BadName(_))),
            "{bad}: {result:?}"
        );
    }
    let orphan = create(&store, "user.nobody.sub", &admin());
    assert!(
        matches!(orphan, Err(MailboxError::PermissionDenied)),
        "{orphan:?}"
    );
}

#[test]
fn two_threads_creating_one_mailbox_make_one() {
    let (_dir, store) = store_with(&["user.bovik"]);
    let results: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| create(&store, "user.bovik.x", &user("bovik")).is_ok()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|made| **made).count(), 1);
    assert_eq!(listed(&store, &user("bovik")), ["user.bovik", "user.bovik.x"]);
}

#[test]
fn metadata_lives_and_moves_on_partitions_of_its_own() {
    let (dir, store) = new_store(|options| {
        let root = options.config_dir.parent().unwrap().to_owned();
        options.metapartition_files = MetaFiles::parse("header index cache annotations");
        for (partition, paths) in &mut options.partitions {
            paths.meta = Some(root.join(format!("meta-{partition}")));
        }
        options.mailbox_legacy_dirs = true;
    });
    create(&store, "user.bovik", &admin()).unwrap();
    create(&store, "user.bovik.x", &admin()).unwrap();
    append(&store, "user.bovik.x", 1);
    let below = |directory: &str| files(&dir.path().join(directory).join("user"));
    let meta = [
        "bovik/cyrus.header",
        "bovik/cyrus.index",
        "bovik/x/cyrus.cache",
        "bovik/x/cyrus.header",
        "bovik/x/cyrus.index",
    ];
    assert_eq!(below("meta-default"), meta);
    assert_eq!(below("spool"), ["bovik/x/1."]);
    store
        .rename(
            &name("user.bovik.x"),
            &name("user.bovik.x"),
            Some(partition("news")),
            &admin(),
        )
        .unwrap();
    assert_eq!(below("meta-default"), meta[..2]);
    assert_eq!(below("meta-news"), meta[2..]);
    assert_eq!(
        (below("spool"), below("news")),
        (vec![], vec!["bovik/x/1.".to_owned()])
    );
    store
        .rename(&name("user.bovik.x"), &name("user.bovik.y"), None, &user("bovik"))
        .unwrap();
    assert_eq!(exists(&store, "user.bovik.y"), 1);
    store.delete(&name("user.bovik.y"), &user("bovik")).unwrap();
    assert_eq!((below("news"), below("meta-news")), (vec![], vec![]));
}

#[test]
fn domains_have_mailboxes_and_quota_roots_of_their_own() {
    let (dir, store) = store_with(&["user.fred", "a.org!user.fred", "a.org!shared", "a.org!shared.x"]);
    let fred = user("fred@a.org");
    assert_eq!(
        listed(&store, &fred),
        ["shared", "a.org!shared", "a.org!shared.x", "a.org!user.fred"][1..]
    );
    create(&store, "a.org!user.fred.x", &fred).unwrap();
    let acl = store.acl(&name("a.org!user.fred.x"), &fred).unwrap();
    assert_eq!(acl.to_text(), "fred@a.org\tlrswipkxtecdan\t");
    let domain = QuotaRoot::parse("a.org!").unwrap();
    store
        .set_quota(&domain, &[(Resource::NumFolders, Some(4))], &admin())
        .unwrap();
    assert_eq!(
        quota_of(&store, "a.org!"),
        "%(S (0) M (0) AS (0) NF (4 4) MODSEQ 0)"
    );
    let over = create(&store, "a.org!user.fred.y", &fred);
    assert!(matches!(over, Err(MailboxError::OverQuota { .. })), "{over:?}");
    assert_eq!(store.quota_root(&name("user.fred")).unwrap(), None);
    assert!(dir.path().join("conf/domain/a/a.org/quota/root").exists());
    store.delete(&name("a.org!user.fred.x"), &fred).unwrap();
    let deleted = listed(&store, &admin());
    assert!(
        deleted
            .iter()
            .any(|name| name.starts_with("a.org!DELETED.user.fred.x.")),
        "{deleted:?}"
    );
    assert!(listed(&store, &fred).iter().all(|name| !name.contains("DELETED")));
}

#[test]
fn damaged_rows_are_left_out_of_the_list_and_nobody_else_suffers() {
    let (_dir, store) = store_with(&["user.bovik", "user.bovik.x", "user.bovik.y"]);
    let context = DbContext::new(store.locks().clone());
    let path = store.options().config_dir.join("mailboxes.db");
    let mut db = cyrus_store::db::open(&context, &path, Engine::Twoskip, Create::No).unwrap();
    db.put(b"Nuser\x1fbovik\x1fx", b"%(T e I").unwrap();
    db.put(b"Nuser\x1fbovik\x1f\xff", b"").unwrap();
    drop(db);
    assert_eq!(listed(&store, &user("bovik")), ["user.bovik", "user.bovik.y"]);
    assert!(matches!(
        store.lookup(&name("user.bovik.x")),
        Err(MailboxError::Damaged { .. })
    ));
    store
        .rename(&name("user.bovik.y"), &name("user.bovik.z"), None, &user("bovik"))
        .unwrap();
}

#[test]
fn a_mailbox_whose_files_are_damaged_can_be_deleted_at_once() {
    let (dir, store) = new_store(|options| options.delete_mode = DeleteMode::Immediate);
    create(&store, "user.bovik", &admin()).unwrap();
    create(&store, "user.bovik.x", &admin()).unwrap();
    let id = id_of(&store, "user.bovik.x");
    let directory = dir
        .path()
        .join(format!("spool/uuid/{}/{}/{id}", &id[..1], &id[1..2]));
    std::fs::write(directory.join("cyrus.index"), b"nonsense").unwrap();
    store.delete(&name("user.bovik.x"), &user("bovik")).unwrap();
    assert!(!directory.exists());
    assert_eq!(listed(&store, &user("bovik")), ["user.bovik"]);
}
