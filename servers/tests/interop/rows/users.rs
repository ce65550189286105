//! What becomes of users as a whole: deleted, renamed, made by themselves.

use std::cell::RefCell;

use super::stage::{Client, Options, Row, row};

const IDS: Options = &[("allowusermoves", "yes"), ("conversations", "yes")];
const IDS_AT_ONCE: Options = &[
    ("allowusermoves", "yes"),
    ("conversations", "yes"),
    ("delete_mode", "immediate"),
];
const NAMES: Options = &[
    ("allowusermoves", "yes"),
    ("conversations", "yes"),
    ("mailbox_legacy_dirs", "yes"),
];
const NAMES_AT_ONCE: Options = &[
    ("allowusermoves", "yes"),
    ("conversations", "yes"),
    ("mailbox_legacy_dirs", "yes"),
    ("delete_mode", "immediate"),
];

/// Takes times and the letters of ids out of paths.
fn masked(path: &str) -> String {
    let is_time = |part: &str| part.len() == 8 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts = path.split('/').map(|part| match part {
        part if is_time(part) || part.len() == 1 => "-",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The unique id of a mailbox, for somebody who may read it.
fn id_of(client: &mut Client<'_>, mailbox: &str) -> String {
    let line = client
        .raw(&format!("STATUS {mailbox} (MAILBOXID)"))
        .swap_remove(0);
    let id = line.rsplit('(').next().unwrap_or_default();
    id.trim_end_matches(')').to_owned()
}

/// Makes bovik with all that a user can have, and returns the id of his INBOX.
fn somebody(row: &Row, options: Options) -> String {
    let mut admin = row.admin();
    admin.ok("CREATE user/bovik");
    admin.ok("SETACL user/bovik admin lrswipkxtea");
    admin.ok("SETQUOTA user/bovik (STORAGE 1000)");
    let mut bovik = row.login("bovik");
    let id = id_of(&mut bovik, "INBOX");
    bovik.ok("CREATE work");
    bovik.ok("CREATE work/deep");
    admin.ok("SETQUOTA user/bovik/work (STORAGE 500)");
    bovik.ok("SUBSCRIBE INBOX");
    bovik.ok("SUBSCRIBE work/deep");
    assert!(bovik.append("INBOX").starts_with("OK"));
    assert!(bovik.append("work/deep").starts_with("OK"));
    bovik.ok("SELECT INBOX");
    bovik.ok("STORE 1 +FLAGS (\\Seen)");
    admin.ok("CREATE user/carol");
    admin.ok("SETACL user/carol anyone lrs");
    assert!(row.login("carol").append("INBOX").starts_with("OK"));
    bovik.ok("SELECT \"Other Users/carol\"");
    bovik.ok("STORE 1 +FLAGS (\\Seen)");
    let uid = format!(
        "imap://bovik{}@localhost/INBOX/;UID=1;URLAUTH=anonymous",
        row.number()
    );
    bovik.ok(&format!(
        "GENURLAUTH \"{}\" INTERNAL",
        uid.replace("bovik", "b%6fvik")
    ));
    bovik.ok("SETMETADATA work (/private/comment \"mine\")");
    bovik.ok("SETMETADATA work (/shared/comment \"ours\")");
    bovik.ok("LOGOUT");
    // What only other services write.
    let (files, sieve) = match options.contains(&("mailbox_legacy_dirs", "yes")) {
        true => {
            let user = format!("b/bovik{}", row.number());
            let files = ["dav", "xapianactive"].map(|kind| format!("user/{user}.{kind}"));
            (files, user)
        }
        false => {
            let user = format!("uuid/{}/{}/{id}", &id[..1], &id[1..2]);
            let files = ["dav", "xapianactive"].map(|kind| format!("user/{user}/{kind}.db"));
            (files, user)
        }
    };
    for file in files {
        row.write(&row.root().join("conf").join(file), "");
    }
    let sieve = row.root().join("sieve").join(sieve);
    row.write(&sieve.join("script.bc"), "x");
    row.write(&sieve.join("script.script"), "keep;\r\n");
    std::os::unix::fs::symlink("script.bc", sieve.join("defaultbc")).expect("a link");
    id
}

/// What is left on the disk of a deleted user is what real Cyrus leaves.
fn deleted(id: &str, options: Options) {
    let left_by_real: RefCell<Option<Vec<String>>> = RefCell::default();
    row(id, options, |row| {
        let inbox = somebody(row, options);
        let before = row.traces(&["bovik", &inbox]);
        assert!(before.len() > 10, "{before:#?}");
        let mut admin = row.admin();
        admin.ok("DELETE user/bovik");
        assert!(admin.list("user/bovik*").is_empty());
        let mut left = row.traces(&["bovik", &inbox]);
        // Empty files, which stay.
        left.retain(|path| !path.starts_with("conf/lock/") && !path.ends_with("/cyrus.annotations"));
        let mut left: Vec<String> = left.iter().map(|path| masked(path)).collect();
        println!("{left:#?}");
        if row.is_real() {
            // It forgets some: `xapianactive`, and with old paths conversations.
            left.retain(|path| path.starts_with("spool/"));
            left_by_real.replace(Some(left));
        } else if let Some(real) = left_by_real.take() {
            assert_eq!(left, real);
        }
        // A new user of the same name starts with nothing.
        admin.ok("CREATE user/bovik");
        let mut bovik = row.login("bovik");
        assert_eq!(bovik.list("*"), ["INBOX", "Other Users/carol"]);
        assert_eq!(
            bovik.ok("STATUS \"Other Users/carol\" (UNSEEN)"),
            ["* STATUS \"Other Users/carol\" (UNSEEN 1)"]
        );
        assert!(bovik.lsub("*").is_empty());
        assert_eq!(
            bovik.ok("STATUS INBOX (MESSAGES)"),
            ["* STATUS INBOX (MESSAGES 0)"]
        );
        assert_eq!(bovik.ok("GETQUOTAROOT INBOX"), ["* QUOTAROOT INBOX"]);
        bovik.ok("CREATE work");
        assert_eq!(
            bovik.ok("GETMETADATA work (/private/comment)"),
            ["* METADATA work (\"/private/comment\" NIL)"]
        );
    });
}

#[test]
fn s026_nothing_is_left_of_a_deleted_user() {
    deleted("S0261", IDS);
}

#[test]
fn s026_nothing_is_left_of_a_user_who_is_deleted_at_once() {
    deleted("S0262", IDS_AT_ONCE);
}

#[test]
fn s026_nothing_is_left_of_a_deleted_user_whose_files_have_his_name() {
    deleted("S0263", NAMES);
}

#[test]
fn s026_nothing_is_left_of_a_user_who_is_deleted_at_once_and_whose_files_have_his_name() {
    deleted("S0264", NAMES_AT_ONCE);
}

/// All that is a user's is the renamed user's.
fn renamed(id: &str, options: Options) {
    let found_at_real: RefCell<Option<Vec<String>>> = RefCell::default();
    row(id, options, |row| {
        let inbox = somebody(row, options);
        let mut admin = row.admin();
        admin.ok("SETACL user/carol bovik lr");
        let answer = admin.says("RENAME user/bovik user/fred");
        assert!(
            answer.last().is_some_and(|line| line.starts_with("OK")),
            "{answer:#?}"
        );
        assert!(admin.list("user/bovik*").is_empty());
        let mut fred = row.login("fred");
        assert_eq!(
            fred.list("*"),
            ["INBOX", "work", "work/deep", "Other Users/carol"]
        );
        assert_eq!(fred.lsub("*"), ["INBOX", "work/deep"]);
        assert_eq!(
            fred.ok("STATUS INBOX (MESSAGES UNSEEN)"),
            ["* STATUS INBOX (MESSAGES 1 UNSEEN 0)"]
        );
        assert_eq!(
            fred.ok("STATUS \"Other Users/carol\" (UNSEEN)"),
            ["* STATUS \"Other Users/carol\" (UNSEEN 0)"]
        );
        assert_eq!(
            fred.ok("GETMETADATA work (/shared/comment)"),
            ["* METADATA work (\"/shared/comment\" \"ours\")"]
        );
        assert_eq!(fred.my_rights("INBOX"), "lrswipkxtecdan");
        let quota = fred.ok("GETQUOTAROOT work/deep");
        assert_eq!(
            quota.first().map(String::as_str),
            Some("* QUOTAROOT work/deep work")
        );
        assert!(row.login("bovik").list("INBOX").is_empty());
        let left = row.traces(&["bovik"]);
        assert!(
            row.is_real() || left.iter().all(|path| path.starts_with("conf/lock/")),
            "{left:#?}"
        );
        let mut traces = row.traces(&["bovik", "fred", &inbox]);
        traces.retain(|path| !path.starts_with("conf/lock/") && !path.ends_with("/cyrus.annotations"));
        if options.contains(&("mailbox_legacy_dirs", "yes")) {
            // Real Cyrus leaves half of them under the old name.
            traces.retain(|path| !path.starts_with("conf/user/"));
        }
        let mut traces: Vec<String> = traces.iter().map(|path| masked(path)).collect();
        let acl = row.mailboxes();
        println!("{answer:#?} {traces:#?} {acl:#?}");
        traces.extend(answer);
        traces.extend(acl.into_iter().map(|(name, acl)| format!("{name} {acl}")));
        if row.is_real() {
            found_at_real.replace(Some(traces));
        } else if let Some(real) = found_at_real.take() {
            assert_eq!(traces, real);
        }
    });
}

#[test]
fn s026_a_renamed_user_takes_everything_along() {
    renamed("S0271", IDS);
}

#[test]
fn s026_a_renamed_user_takes_files_that_have_his_name_along() {
    renamed("S0272", NAMES);
}
