//! The mailbox list is missing or empty while there are mailboxes: nothing is made beside or over them.

#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

#[path = "common/fresh.rs"]
mod fresh;

use std::fs;
use std::path::Path;

use cyrus_store::db::{self, DbContext, Engine};
use cyrus_store::lock::LockTable;
use cyrus_store::sys::RealDisk;
use cyrus_store::{ErrorClass, MailboxError, Store, StoreOptions};
use fresh::{admin, append, create, exists, files, name, new_store, store_with, user};

fn again(root: &Path, legacy: bool) -> Store {
    let mut options = StoreOptions::new(root.join("conf")).partition("default", root.join("spool"));
    options.mailbox_legacy_dirs = legacy;
    Store::open(options).unwrap()
}

/// An empty list, as whoever finds none makes it.
fn make_empty_list(root: &Path) {
    let context = DbContext::new(LockTable::new(std::sync::Arc::new(RealDisk)));
    let list = root.join("conf/mailboxes.db");
    db::open(&context, &list, Engine::Twoskip, db::Create::Yes).unwrap();
}

fn is_lost(error: &MailboxError, root: &Path) -> bool {
    let text = error.to_string();
    matches!(error, MailboxError::ListLost { .. })
        && error.class() == ErrorClass::Damaged
        && text.contains(&root.join("conf/mailboxes.db").display().to_string())
        && text.contains("ctl_cyrusdb -r")
        && text.contains("reconstruct")
}

#[test]
fn nothing_is_made_where_the_list_was_lost_until_it_is_back() {
    for legacy in [false, true] {
        for empty in [false, true] {
            let (dir, store) = new_store(|options| options.mailbox_legacy_dirs = legacy);
            let root = dir.path();
            store.check_list().unwrap();
            create(&store, "user.bovik", &admin()).unwrap();
            append(&store, "user.bovik", 2);
            store.check_list().unwrap();
            drop(store);
            let list = root.join("conf/mailboxes.db");
            let saved = fs::read(&list).unwrap();
            fs::remove_file(&list).unwrap();
            if empty {
                make_empty_list(root);
            }
            let before = files(&root.join("spool"));
            let store = again(root, legacy);
            let refused = store.check_list().unwrap_err();
            assert!(is_lost(&refused, root), "{refused}");
            let refused = create(&store, "user.bovik", &admin()).unwrap_err();
            assert!(is_lost(&refused, root), "{refused}");
            assert!(is_lost(&create(&store, "user.fred", &admin()).unwrap_err(), root));
            assert_eq!(files(&root.join("spool")), before);
            assert_eq!(list.exists(), empty);
            fs::write(&list, saved).unwrap();
            let store = again(root, legacy);
            create(&store, "user.fred", &admin()).unwrap();
            assert_eq!(exists(&store, "user.bovik"), 2);
        }
    }
}

#[test]
fn a_list_that_goes_away_while_it_is_used_is_an_error_and_not_an_answer() {
    let (dir, store) = store_with(&["user.bovik"]);
    append(&store, "user.bovik", 1);
    let list = dir.path().join("conf/mailboxes.db");
    fs::rename(&list, dir.path().join("away")).unwrap();
    for mailbox in ["user.bovik", "user.fred"] {
        let error = store.lookup(&name(mailbox)).unwrap_err();
        assert_eq!(error.class(), ErrorClass::System, "{error}");
        assert!(error.to_string().contains("mailboxes.db"), "{error}");
    }
    assert!(create(&store, "user.fred", &admin()).is_err());
    assert!(!list.exists());
    fs::rename(dir.path().join("away"), &list).unwrap();
    create(&store, "user.fred", &admin()).unwrap();
    assert!(store.open_mailbox(&name("user.bovik"), &user("bovik")).is_ok());
}

#[test]
fn directories_of_a_new_server_and_what_a_crash_left_of_the_first_mailbox_are_no_mailboxes() {
    let (dir, store) = new_store(|_| {});
    let root = dir.path();
    for directory in ["spool/stage.", "spool/lost+found", "news/stage."] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::write(root.join("spool/stage./123-456-0"), "Subject: x\r\n\r\n").unwrap();
    create(&store, "user.bovik", &admin()).unwrap();
    drop(store);
    fs::remove_file(root.join("conf/mailboxes.db")).unwrap();
    // Its row never came; it never had a message.
    let store = again(root, false);
    store.check_list().unwrap();
    create(&store, "user.bovik", &admin()).unwrap();
}
