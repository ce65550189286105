//! A crash at any moment of a change of the mailbox list leaves each mailbox as it was or as it was to be, with all its
//! messages, and no quota root that counts too little; and the change can be made again.

#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use cyrus_acl::{AuthState, ModifyMode};
use cyrus_store::options::{DeleteMode, PartitionPaths};
use cyrus_store::sys::SimDisk;
use cyrus_store::{
    AnnotationScope, Audience, MailboxError, MailboxName, NewMessage, Partition, QuotaRoot, Resource, Store,
    StoreOptions,
};

/// States that are looked at for one change.
const STATES: usize = 250;

type Setting = fn(&mut StoreOptions);

fn open(disk: &SimDisk, setting: Setting) -> Store {
    let mut options = StoreOptions::new("/conf")
        .partition("default", "/spool")
        .disk(Arc::new(disk.clone()));
    let news = PartitionPaths {
        data: "/news".into(),
        meta: None,
        archive: None,
    };
    options.partitions.insert(Partition::new("news").unwrap(), news);
    options.allowusermoves = true;
    setting(&mut options);
    Store::open(options).unwrap()
}

fn name(internal: &str) -> MailboxName {
    MailboxName::parse(internal).unwrap()
}

fn system() -> AuthState {
    AuthState::system()
}

fn append(store: &Store, mailbox: &str) -> Result<(), MailboxError> {
    let mut mailbox = store.open_mailbox(&name(mailbox), &system())?;
    mailbox
        .append([NewMessage::from_bytes(b"Subject: x\r\n\r\nhello\r\n".to_vec())])
        .map(drop)
}

/// A store of one user with three mailboxes, two quota roots and a message in each, all of it durable.
fn filled(setting: Setting) -> SimDisk {
    let disk = SimDisk::new();
    let store = open(&disk, setting);
    for mailbox in ["user.a", "user.a.x", "user.a.x.y", "shared"] {
        store.create(&name(mailbox), &system()).unwrap();
        append(&store, mailbox).unwrap();
    }
    for root in ["user.a", "user.a.x.y"] {
        let limits = [(Resource::Storage, Some(50))];
        store
            .set_quota(&QuotaRoot::parse(root).unwrap(), &limits, &system())
            .unwrap();
    }
    store
        .subscribe(&name("user.a.x"), &AuthState::user("a").unwrap())
        .unwrap();
    disk.settle();
    disk
}

/// Name, messages and list of every mailbox, by unique id; each can be read, and none is counted less than it is.
fn mailboxes(store: &Store, story: &str) -> BTreeMap<String, (String, u32, String)> {
    let mut found = BTreeMap::new();
    let mut entries = Vec::new();
    store
        .list("", &system(), &mut |entry, _| {
            entries.push(entry);
            ControlFlow::Continue(())
        })
        .unwrap_or_else(|error| panic!("{error}: {story}"));
    let mut counted: BTreeMap<String, [u64; 4]> = BTreeMap::new();
    for entry in entries {
        let id = entry.id.clone().unwrap();
        let by_id = store
            .lookup_id(&id)
            .unwrap()
            .unwrap_or_else(|| panic!("{} has no row by id: {story}", entry.name));
        assert_eq!(by_id.name, entry.name, "{story}");
        let mut mailbox = store.open_mailbox(&entry.name, &system()).unwrap();
        let read = mailbox
            .read()
            .unwrap_or_else(|error| panic!("{}: {error}: {story}", entry.name));
        for message in read.messages() {
            assert_eq!(
                &message.file().unwrap()[..],
                b"Subject: x\r\n\r\nhello\r\n",
                "{story}"
            );
        }
        if let Some(root) = read.quota_root() {
            let used = counted.entry(root.to_owned()).or_default();
            used[0] += read.size();
            used[1] += u64::from(read.exists());
            used[3] += 1;
        }
        found.insert(
            id.to_string(),
            (entry.name.to_string(), read.exists(), entry.acl.to_text()),
        );
    }
    for (root, used) in counted {
        let Some(quota) = store.quota(&QuotaRoot::parse(&root).unwrap()).unwrap() else {
            continue;
        };
        for at in [0, 1, 3] {
            assert!(
                quota.used[at] >= used[at],
                "{root} counts {:?} of {used:?}: {story}",
                quota.used
            );
        }
    }
    found
}

/// Makes a change, and looks at what a crash at any moment of it would leave.
fn check(setting: Setting, change: impl Fn(&Store) -> Result<(), MailboxError>) {
    let disk = filled(setting);
    let store = open(&disk, setting);
    let before = mailboxes(&store, "before");
    change(&store).unwrap();
    let after = mailboxes(&store, "after");
    let mut states = 0;
    for state in disk.crash_states(STATES) {
        states += 1;
        let story = format!("after {}: {}", state.after, state.story);
        let store = open(&state.disk, setting);
        let now = mailboxes(&store, &story);
        for (id, mailbox) in &now {
            let old = before.get(id) == Some(mailbox);
            assert!(
                old || after.get(id).is_none_or(|new| new == mailbox),
                "{mailbox:?} is neither old nor new: {story}"
            );
        }
        for id in before.keys().filter(|id| after.contains_key(*id)) {
            assert!(now.contains_key(id), "{:?} is lost: {story}", before[id]);
        }
        match change(&store) {
            Ok(()) | Err(MailboxError::NotFound | MailboxError::Exists) => {}
            Err(error) => panic!("cannot be made again: {error}: {story}"),
        }
        mailboxes(&store, &story);
    }
    assert!(states > 10);
}

const DELAYED: Setting = |_| {};
const LEGACY: Setting = |options| options.mailbox_legacy_dirs = true;
const AT_ONCE: Setting = |options| options.delete_mode = DeleteMode::Immediate;
const LEGACY_AT_ONCE: Setting = |options| {
    options.mailbox_legacy_dirs = true;
    options.delete_mode = DeleteMode::Immediate;
};

#[test]
fn crash_while_creating() {
    for setting in [DELAYED, LEGACY] {
        check(setting, |store| {
            store.create(&name("user.a.new"), &system()).map(drop)
        });
    }
}

#[test]
fn crash_while_creating_with_parents_leaves_some_of_them() {
    check(DELAYED, |store| {
        let made = store.create(&name("user.a.p.q"), &system());
        made.map(drop)
    });
}

#[test]
fn crash_while_deleting() {
    for setting in [DELAYED, LEGACY, AT_ONCE, LEGACY_AT_ONCE] {
        check(setting, |store| store.delete(&name("user.a.x.y"), &system()));
    }
}

#[test]
fn crash_while_deleting_a_user() {
    for setting in [DELAYED, LEGACY_AT_ONCE] {
        check(setting, |store| store.delete(&name("user.a"), &system()));
    }
}

#[test]
fn crash_while_renaming() {
    for setting in [DELAYED, LEGACY] {
        check(setting, |store| {
            store
                .rename(&name("user.a.x.y"), &name("user.a.z"), None, &system())
                .map(drop)
        });
    }
}

#[test]
fn crash_while_renaming_a_tree() {
    check(DELAYED, |store| {
        store
            .rename(&name("user.a.x"), &name("user.a.z"), None, &system())
            .map(drop)
    });
}

#[test]
fn crash_while_moving_to_a_partition() {
    check(DELAYED, |store| {
        let news = Partition::new("news");
        store
            .rename(&name("user.a.x.y"), &name("user.a.x.y"), news, &system())
            .map(drop)
    });
}

#[test]
fn crash_while_renaming_a_user() {
    check(LEGACY, |store| {
        store
            .rename(&name("user.a"), &name("user.b"), None, &system())
            .map(drop)
    });
}

#[test]
fn crash_while_changing_a_list() {
    check(DELAYED, |store| {
        store.set_acl(&name("user.a.x"), "fred", ModifyMode::Set, "lrs", &system())
    });
}

#[test]
fn crash_while_making_a_quota_root() {
    check(DELAYED, |store| {
        let root = QuotaRoot::parse("user.a.x").unwrap();
        store.set_quota(&root, &[(Resource::Message, Some(9))], &system())
    });
}

#[test]
fn crash_while_annotating() {
    check(DELAYED, |store| {
        let mailbox = name("user.a.x");
        store.set_annotation(
            AnnotationScope::Mailbox(&mailbox),
            "/comment",
            Audience::Shared,
            Some(b"hello"),
            &system(),
        )
    });
}

#[test]
fn crash_while_subscribing_leaves_the_old_subscriptions_or_the_new() {
    let disk = filled(DELAYED);
    let a = AuthState::user("a").unwrap();
    open(&disk, DELAYED).subscribe(&name("user.a"), &a).unwrap();
    for state in disk.crash_states(STATES) {
        let found = open(&state.disk, DELAYED).subscriptions(&a).unwrap();
        let (old, new) = (vec![name("user.a.x")], vec![name("user.a"), name("user.a.x")]);
        assert!(found == old || found == new, "{found:?}: {}", state.story);
    }
}
