//! Users who are made by themselves, and folders with special uses.

use super::stage::{Options, Row, row, row_of_ours};

const HELLO: &str = "Subject: hello\r\n\r\nHello.\r\n";

/// The lines of an answer in small letters: real Cyrus writes special uses as imapd.conf has them, which it reads so.
fn small(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| line.to_lowercase()).collect()
}

#[test]
fn s023_a_user_without_inbox_may_make_it() {
    row("S0231", &[], |row| {
        let mut bovik = row.login("bovik");
        assert!(bovik.list("*").is_empty());
        let refused = bovik.no("CREATE work");
        assert_eq!(refused, "NO Permission denied");
        assert_eq!(bovik.no("CREATE \"Other Users/fred\""), "NO Permission denied");
        bovik.ok("CREATE INBOX");
        bovik.ok("CREATE work");
        assert_eq!(bovik.list("*"), ["INBOX", "work"]);
        assert_eq!(bovik.ok("GETACL INBOX"), ["* ACL INBOX bovik lrswipkxtecdan"]);
        assert_eq!(bovik.no("CREATE INBOX"), "NO Mailbox already exists");
    });
}

/// First-run kindness; what the log says is tested with the daemons.
#[test]
fn a_user_without_inbox_is_told_so_and_what_makes_it() {
    row_of_ours("S0232", &[], |row| {
        let mut bovik = row.login("bovik");
        let told = "Mailbox does not exist: bovik has no INBOX yet; CREATE INBOX makes it";
        assert_eq!(bovik.no("SELECT INBOX"), format!("NO {told}"));
        assert_eq!(bovik.no("EXAMINE inbox"), format!("NO {told}"));
        assert_eq!(bovik.no("STATUS INBOX (MESSAGES)"), format!("NO {told}"));
        assert_eq!(bovik.append("INBOX"), format!("NO {told}"));
        // Of others' he hears nothing.
        assert_eq!(
            bovik.no("SELECT \"Other Users/fred\""),
            "NO Mailbox does not exist"
        );
        assert_eq!(row.admin().no("SELECT INBOX"), "NO Mailbox does not exist");
        bovik.ok("CREATE INBOX");
        bovik.ok("SELECT INBOX");
    });
}

const MADE: Options = &[
    ("autocreate_quota", "1000"),
    ("autocreate_quota_messages", "50"),
    ("autocreate_post", "yes"),
    ("autocreate_users", "bovik0281 bovik0282 carol0281 group:daemon"),
    ("autocreate_inbox_folders", "Sent | Lists.rust |  a/b |Plus|Trash"),
    ("autocreate_subscribe_folders", "Sent| a/b | Trash"),
    (
        "autocreate_subscribe_sharedfolders",
        "bboard0281.x|cmu0281|bboard0281/y",
    ),
    ("autocreate_acl", "Plus anyone p"),
    ("xlist-sent", "Sent"),
    ("xlist-trash", "Trash"),
];

fn shared_mailboxes(row: &Row) {
    let mut admin = row.admin();
    for name in ["bboard", "bboard/x", "bboard/y", "cmu"] {
        let _ = admin.says(&format!("CREATE {name}"));
    }
    admin.ok("SETACL cmu anyone rs");
}

#[test]
fn a_first_login_makes_the_inbox_and_folders() {
    row("S0281", MADE, |row| {
        shared_mailboxes(row);
        let mut bovik = row.login("bovik");
        assert_eq!(
            bovik.list("*"),
            [
                "INBOX",
                "Lists",
                "Lists/rust",
                "Plus",
                "Sent",
                "Trash",
                "Shared Folders/bboard",
                "Shared Folders/bboard/x",
                "Shared Folders/bboard/y"
            ]
        );
        assert_eq!(
            bovik.lsub("*"),
            ["INBOX", "Sent", "Trash", "Shared Folders/bboard/x"]
        );
        assert_eq!(
            bovik.ok("GETQUOTAROOT Lists/rust"),
            [
                "* QUOTAROOT Lists/rust INBOX",
                "* QUOTA INBOX (STORAGE 0 1000 MESSAGE 0 50)"
            ]
        );
        assert_eq!(
            bovik.ok("GETACL Plus"),
            ["* ACL Plus bovik lrswipkxtecdan anyone p"]
        );
        assert_eq!(bovik.ok("GETACL Sent"), ["* ACL Sent bovik lrswipkxtecdan"]);
        let special = bovik.ok("LIST (SPECIAL-USE) \"\" *");
        let special = small(&special);
        assert_eq!(special.len(), 2, "{special:?}");
        assert!(
            special[0].contains("\\sent") && special[0].ends_with("sent"),
            "{special:?}"
        );
        assert!(
            special[1].contains("\\trash") && special[1].ends_with("trash"),
            "{special:?}"
        );
        // Once is enough.
        row.admin().ok("SETACL user/bovik/Plus admin x");
        bovik.ok("DELETE Plus");
        assert!(row.login("bovik").list("Plus").is_empty());
        // It is not for everybody, and not for administrators.
        assert!(row.login("fred").list("INBOX").is_empty());
        assert!(row.admin().list("INBOX").is_empty());
        // A group may be among the users.
        assert_eq!(row.login("daemon").list("Sent"), ["Sent"]);
    });
}

#[test]
fn the_first_mail_makes_the_inbox_and_folders() {
    row("S0282", MADE, |row| {
        let reply = row.deliver("bovik+Plus", HELLO);
        assert!(reply.starts_with("250"), "{reply}");
        let mut admin = row.admin();
        assert_eq!(
            admin.list("user/bovik*"),
            [
                "user/bovik",
                "user/bovik/Lists",
                "user/bovik/Lists/rust",
                "user/bovik/Plus",
                "user/bovik/Sent",
                "user/bovik/Trash"
            ]
        );
        let mut bovik = row.login("bovik");
        assert_eq!(bovik.ok("STATUS Plus (MESSAGES)"), ["* STATUS Plus (MESSAGES 1)"]);
        for other in ["fred", "anonymous", "admin"] {
            let reply = row.deliver(other, HELLO);
            assert!(reply.starts_with("550 5.1.1"), "{other}: {reply}");
        }
    });
}

#[test]
fn new_users_are_subscribed_to_all_shared_mailboxes_and_have_no_limit() {
    const ALL: Options = &[
        ("unixhierarchysep", "no"),
        ("altnamespace", "no"),
        ("autocreate_quota", "0"),
        ("autocreate_subscribe_sharedfolders_all", "yes"),
    ];
    row("S0283", ALL, |row| {
        let mut admin = row.admin();
        for name in ["bboard", "bboard.x", "cmu", "user.carol"] {
            admin.ok(&format!("CREATE {name}"));
        }
        admin.ok("SETACL cmu anyone rs");
        admin.ok("SETACL user.carol anyone lrs");
        let mut bovik = row.login("bovik");
        assert_eq!(bovik.lsub("*"), ["INBOX", "bboard", "bboard.x"]);
        assert_eq!(
            bovik.ok("GETQUOTAROOT INBOX"),
            ["* QUOTAROOT INBOX INBOX", "* QUOTA INBOX ()"]
        );
        // Mail makes nobody without `autocreate_post`.
        assert!(row.deliver("fred", HELLO).starts_with("550"));
    });
}

#[test]
fn mail_makes_nobody_where_logins_do_not() {
    row("S0284", &[("autocreate_post", "yes")], |row| {
        assert!(row.deliver("bovik", HELLO).starts_with("550"));
        assert!(row.login("bovik").list("*").is_empty());
    });
}

#[test]
fn what_special_uses_mean_is_for_the_site_to_say() {
    const USES: Options = &[
        ("specialuse_protect", "\\Sent"),
        ("specialuse_extra", "\\XMemos"),
        ("specialuse_nochildren", "\\Junk"),
        ("specialusealways", "no"),
    ];
    row("S0285", USES, |row| {
        row.admin().ok("CREATE user/bovik");
        let mut bovik = row.login("bovik");
        bovik.ok("CREATE S (USE (\\Sent))");
        bovik.ok("CREATE J (USE (\\Junk))");
        bovik.ok("CREATE M (USE (\\XMemos))");
        bovik.no("CREATE N (USE (\\Nothing))");
        assert_eq!(
            bovik.ok("LIST \"\" %"),
            [
                "* LIST (\\HasNoChildren) \"/\" INBOX",
                "* LIST (\\HasNoChildren) \"/\" J",
                "* LIST (\\HasNoChildren) \"/\" M",
                "* LIST (\\HasNoChildren) \"/\" S"
            ]
        );
        assert_eq!(
            bovik.ok("LIST \"\" % RETURN (SPECIAL-USE)"),
            [
                "* LIST (\\HasNoChildren) \"/\" INBOX",
                "* LIST (\\HasNoChildren \\Junk) \"/\" J",
                "* LIST (\\HasNoChildren \\XMemos) \"/\" M",
                "* LIST (\\HasNoChildren \\Sent) \"/\" S"
            ]
        );
        assert!(bovik.no("CREATE J/x").starts_with("NO"));
        assert!(bovik.no("DELETE S").starts_with("NO"));
        bovik.ok("RENAME S T");
        bovik.ok("DELETE J");
        bovik.ok("DELETE M");
        // Without its use it can be deleted.
        bovik.ok("SETMETADATA T (/private/specialuse NIL)");
        bovik.ok("DELETE T");
    });
}
