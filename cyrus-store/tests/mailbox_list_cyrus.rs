//! Cyrus's own tools find nothing wrong with what changes of the mailbox list leave, and the same mailboxes.
//!
//! They run where Debian's Cyrus is installed and the test may become its user; elsewhere the test says so and passes.

#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

#[path = "common/fresh.rs"]
mod fresh;

use std::path::Path;
use std::process::Command;

use cyrus_acl::{AuthState, ModifyMode};
use cyrus_store::{AnnotationScope, Audience, CreateOptions, QuotaRoot, Resource, Store, StoreOptions};
use fresh::{admin, append, create, listed, name, new_store, partition, quota_of, user};

const TOOLS: &str = "/usr/lib/cyrus/bin";

/// A program run as the user of Cyrus.
fn as_cyrus(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "cyrus", "--regid", "mail", "--clear-groups", program]);
    command
}

/// Runs a tool of Cyrus on the store, and returns what it prints.
fn tool(root: &Path, words: &[&str]) -> String {
    let (tool, arguments) = words.split_first().unwrap();
    let mut command = as_cyrus(&format!("{TOOLS}/{tool}"));
    let output = command
        .arg("-C")
        .arg(root.join("imapd.conf"))
        .args(arguments)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{words:?}: {text:?}");
    text.concat()
}

/// Whether Cyrus is there and its user can be become.
fn can_ask_cyrus() -> bool {
    let installed = Path::new(TOOLS).join("ctl_mboxlist").exists();
    let can = installed
        && as_cyrus("true")
            .output()
            .is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("skipped: Debian's Cyrus is not installed, or its user cannot be become");
    }
    can
}

/// Changes of every kind, on a store with these options.
fn work(store: &Store) {
    let bovik = user("bovik");
    create(store, "user.bovik", &admin()).unwrap();
    create(store, "user.bovik.a.b", &bovik).unwrap();
    create(store, "user.fred", &admin()).unwrap();
    create(store, "shared.x", &admin()).unwrap();
    for mailbox in ["user.bovik", "user.bovik.a", "user.bovik.a.b", "shared.x"] {
        append(store, mailbox, 3);
    }
    let limits = [(Resource::Storage, Some(500)), (Resource::NumFolders, Some(20))];
    for root in ["user.bovik", "user.bovik.a", "shared"] {
        store
            .set_quota(&QuotaRoot::parse(root).unwrap(), &limits, &admin())
            .unwrap();
    }
    store
        .set_acl(&name("user.bovik.a"), "fred", ModifyMode::Set, "lrs", &bovik)
        .unwrap();
    store
        .set_acl(&name("user.bovik.a"), "-fred", ModifyMode::Set, "w", &bovik)
        .unwrap();
    store
        .rename(&name("user.bovik.a"), &name("user.bovik.c"), None, &bovik)
        .unwrap();
    store
        .rename(&name("shared.x"), &name("user.bovik.x"), None, &admin())
        .unwrap();
    store
        .rename(
            &name("user.bovik.c.b"),
            &name("user.bovik.c.b"),
            Some(partition("news")),
            &admin(),
        )
        .unwrap();
    store
        .rename(&name("user.bovik"), &name("user.bovik.old"), None, &bovik)
        .unwrap();
    let sent = CreateOptions {
        special_use: vec!["\\Sent".into()],
        ..CreateOptions::default()
    };
    store
        .create_with(&name("user.bovik.Sent"), &sent, &bovik)
        .unwrap();
    let scope = name("user.bovik.c");
    let set = |audience| {
        store.set_annotation(
            AnnotationScope::Mailbox(&scope),
            "/comment",
            audience,
            Some(b"hello"),
            &bovik,
        )
    };
    set(Audience::Shared).unwrap();
    set(Audience::Private).unwrap();
    create(store, "user.bovik.gone", &bovik).unwrap();
    append(store, "user.bovik.gone", 1);
    store.delete(&name("user.bovik.gone"), &bovik).unwrap();
    store.delete(&name("user.fred"), &AuthState::system()).unwrap();
}

fn ask_cyrus(change: impl FnOnce(&mut StoreOptions), settings: &str) {
    if !can_ask_cyrus() {
        return;
    }
    let (dir, store) = new_store(change);
    let root = dir.path();
    work(&store);
    let path = |name: &str| root.join(name).display().to_string();
    let config = format!(
        "configdirectory: {}\ndefaultpartition: default\npartition-default: {}\npartition-news: {}\nadmins: admin\n{settings}",
        path("conf"),
        path("spool"),
        path("news")
    );
    std::fs::write(root.join("imapd.conf"), config).unwrap();
    for directory in ["conf/db", "conf/proc", "conf/socket", "conf/lock", "conf/log"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    let owned = Command::new("chown")
        .arg("-R")
        .arg("cyrus:mail")
        .arg(root)
        .status()
        .unwrap();
    assert!(owned.success());

    let all = listed(&store, &admin());
    let dump = tool(root, &["ctl_mboxlist", "-d"]);
    for mailbox in &all {
        let entry = store.lookup(&name(mailbox)).unwrap().unwrap();
        let dbname = entry.name.to_dbname();
        let id = entry.id.clone().unwrap();
        let line = dump.split("}").find(|line| line.contains(id.as_str()));
        assert!(line.is_some(), "{dbname:?} {id}: {dump}");
    }
    let live: Vec<&String> = all
        .iter()
        .filter(|mailbox| !mailbox.starts_with("DELETED"))
        .collect();
    for mailbox in &live {
        let external = mailbox.replace('.', "/");
        let examined = tool(root, &["mbexamine", &external]);
        let entry = store.lookup(&name(mailbox)).unwrap().unwrap();
        assert!(
            examined.contains(&format!("Mailbox ACL: {}", entry.acl.to_text())),
            "{examined}"
        );
        assert!(
            examined.contains(&format!("UIDValidity: {}", entry.uidvalidity.0)),
            "{examined}"
        );
    }
    // One line a mailbox, and nothing else, says that nothing would be changed.
    let repairs = tool(root, &["reconstruct", "-n", "-r", "user/bovik"]);
    let complaint = repairs
        .lines()
        .find(|line| !live.contains(&&line.replace('/', ".")));
    assert_eq!(complaint, None, "{repairs}");
    // The tool raises the modification sequence even where it changes nothing.
    let usage = || {
        ["user.bovik", "user.bovik.a"]
            .map(|root| quota_of(&store, root).split(" MODSEQ").next().unwrap().to_owned())
    };
    let before = usage();
    let counted = tool(root, &["quota", "-n", "-f"]);
    let mended = counted
        .lines()
        .find(|line| line.contains(" was ") || line.contains("-->"));
    assert_eq!(mended, None, "{counted}");
    assert_eq!(before, usage());
}

#[test]
fn cyrus_finds_nothing_wrong_with_directories_by_id() {
    ask_cyrus(|_| {}, "");
}

#[test]
fn cyrus_finds_nothing_wrong_with_directories_by_name() {
    ask_cyrus(
        |options| options.mailbox_legacy_dirs = true,
        "mailbox_legacy_dirs: yes\n",
    );
}

#[test]
fn cyrus_finds_nothing_wrong_with_an_index_of_rights_and_a_quota_database() {
    ask_cyrus(
        |options| {
            options.reverseacls = true;
            options.databases.quota = cyrus_store::db::Engine::Twoskip;
        },
        "reverseacls: yes\nquota_db: twoskip\n",
    );
}
