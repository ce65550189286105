//! Rows S040 to S058 and S067 to S077: who may do what.

use super::stage::{Client, NETNEWS, Options, Row, row};

/// bovik, and fred who wants something, each with an INBOX, and bovik's folder `INBOX.work` with a message.
fn people(row: &Row) -> (Client<'_>, Client<'_>) {
    let mut admin = row.admin();
    admin.ok("CREATE user.bovik");
    admin.ok("CREATE user.fred");
    let mut bovik = row.login("bovik");
    bovik.ok("CREATE INBOX.work");
    assert!(bovik.append("INBOX.work").starts_with("OK"));
    (bovik, row.login("fred"))
}

/// fred with just these rights on `user.bovik.work`.
fn fred_with<'r>(row: &'r Row, rights: &str) -> Client<'r> {
    let (mut bovik, fred) = people(row);
    bovik.ok(&format!("SETACL INBOX.work fred {rights}"));
    fred
}

const NOT_THERE: &str = "NO Mailbox does not exist";
const DENIED: &str = "NO Permission denied";

#[test]
fn s040_a_list_is_identifiers_and_rights() {
    row("S040", NETNEWS, |row| {
        let (mut bovik, _) = people(row);
        bovik.ok("SETACL INBOX.work fred lr09");
        bovik.ok("SETACL INBOX.work anyone p");
        assert_eq!(
            bovik.ok("GETACL INBOX.work"),
            ["* ACL INBOX.work bovik lrswipkxtecdan fred lr09 anyone p"]
        );
    });
}

#[test]
fn s041_without_l_a_mailbox_is_not_there() {
    row("S041", NETNEWS, |row| {
        let (mut bovik, mut fred) = people(row);
        for command in ["SELECT user.bovik.work", "STATUS user.bovik.work (MESSAGES)"] {
            assert!(fred.no(command).starts_with(NOT_THERE), "{command}");
        }
        bovik.ok("SETACL INBOX.work fred l");
        assert_eq!(fred.list("user.bovik.work"), ["user.bovik.work"]);
        fred.ok("SUBSCRIBE user.bovik.work");
        assert_eq!(fred.lsub("*"), ["user.bovik.work"]);
        for command in ["SELECT user.bovik.work", "STATUS user.bovik.work (MESSAGES)"] {
            assert_eq!(fred.no(command), DENIED, "{command}");
        }
        bovik.ok("DELETEACL INBOX.work fred");
        assert!(fred.list("user.bovik.work").is_empty());
        assert!(fred.no("SELECT user.bovik.work").starts_with(NOT_THERE));
    });
}

#[test]
fn s042_r_is_to_read() {
    row("S042", NETNEWS, |row| {
        let mut fred = fred_with(row, "lr");
        fred.ok("SELECT user.bovik.work");
        assert_eq!(fred.ok("SEARCH ALL"), ["* SEARCH 1"]);
        assert_eq!(fred.ok("FETCH 1 RFC822.SIZE").len(), 1);
        fred.ok("COPY 1 INBOX");
        row.login("bovik").ok("SETACL INBOX.work fred lswite");
        assert_eq!(row.login("fred").no("SELECT user.bovik.work"), DENIED);
    });
}

#[test]
fn s043_s_keeps_what_was_seen() {
    row("S043", NETNEWS, |row| {
        let seen = |fred: &mut Client<'_>| fred.ok("STATUS user.bovik.work (UNSEEN)");
        let mut fred = fred_with(row, "lr");
        let opened = fred.ok("SELECT user.bovik.work");
        let permanent = opened.iter().find(|line| line.contains("PERMANENTFLAGS"));
        assert!(!permanent.expect("PERMANENTFLAGS").contains("\\Seen"));
        let _ = fred.says("STORE 1 +FLAGS (\\Seen)");
        fred.ok("FETCH 1 BODY[]");
        fred.ok("UNSELECT");
        assert_eq!(seen(&mut fred), ["* STATUS user.bovik.work (UNSEEN 1)"]);
        row.login("bovik").ok("SETACL INBOX.work fred lrs");
        let mut fred = row.login("fred");
        let opened = fred.ok("SELECT user.bovik.work");
        let permanent = opened.iter().find(|line| line.contains("PERMANENTFLAGS"));
        assert!(permanent.expect("PERMANENTFLAGS").contains("\\Seen"));
        fred.ok("FETCH 1 BODY[]");
        fred.ok("UNSELECT");
        assert_eq!(seen(&mut fred), ["* STATUS user.bovik.work (UNSEEN 0)"]);
        // His seen state is his alone.
        assert_eq!(
            row.login("bovik").ok("STATUS INBOX.work (UNSEEN)"),
            ["* STATUS INBOX.work (UNSEEN 1)"]
        );
    });
}

#[test]
fn s044_w_is_to_flag() {
    row("S044", NETNEWS, |row| {
        let mut fred = fred_with(row, "lrste");
        let opened = fred.ok("SELECT user.bovik.work");
        let permanent = opened.iter().find(|line| line.contains("PERMANENTFLAGS"));
        assert!(!permanent.expect("PERMANENTFLAGS").contains("\\Flagged"));
        assert_eq!(fred.no("STORE 1 +FLAGS (\\Flagged)"), DENIED);
        row.login("bovik").ok("SETACL INBOX.work fred lrw");
        let mut fred = row.login("fred");
        fred.ok("SELECT user.bovik.work");
        fred.ok("STORE 1 +FLAGS (\\Flagged Keyword)");
        assert_eq!(fred.no("STORE 1 +FLAGS (\\Deleted)"), DENIED);
    });
}

#[test]
fn s045_i_is_to_insert() {
    row("S045", NETNEWS, |row| {
        let mut fred = fred_with(row, "lrswpte");
        assert_eq!(fred.append("user.bovik.work"), DENIED);
        assert!(fred.append("INBOX").starts_with("OK"));
        fred.ok("SELECT INBOX");
        assert_eq!(fred.no("COPY 1 user.bovik.work"), DENIED);
        row.login("bovik").ok("SETACL INBOX.work fred li");
        assert!(fred.append("user.bovik.work").starts_with("OK"));
        fred.ok("COPY 1 user.bovik.work");
    });
}

#[test]
fn s046_p_is_to_post() {
    row("S046", NETNEWS, |row| {
        let (mut bovik, _) = people(row);
        let message = "Subject: posted\r\n\r\nHello.\r\n";
        // To a folder where nobody may post, mail goes to the INBOX instead.
        assert!(row.deliver("bovik+work", message).starts_with("250"));
        assert_eq!(
            bovik.ok("STATUS INBOX (MESSAGES)"),
            ["* STATUS INBOX (MESSAGES 1)"]
        );
        bovik.ok("SETACL INBOX.work anonymous p");
        assert!(row.deliver("bovik+work", message).starts_with("250"));
        bovik.ok("SELECT INBOX.work");
        let headers = bovik.ok("FETCH 1:2 BODY.PEEK[HEADER.FIELDS (Return-Path Received)]");
        let headers: Vec<&String> = headers
            .iter()
            .filter(|line| line.contains("HEADER.FIELDS"))
            .collect();
        assert_eq!(headers.len(), 2, "{headers:?}");
        // What was appended has no trace of a delivery; what was posted has.
        assert!(!headers[0].contains("Received: "), "{headers:?}");
        assert!(
            headers[1].contains("Return-Path: <sender@rig.example>"),
            "{headers:?}"
        );
        assert!(headers[1].contains("Received: "), "{headers:?}");
    });
    row("S046", NETNEWS, |row| {
        // On a shared mailbox there is no INBOX instead.
        let mut admin = row.admin();
        admin.ok("CREATE bboard");
        let message = "Subject: posted\r\n\r\nHello.\r\n";
        let reply = row.deliver("+bboard", message);
        assert!(reply.starts_with("550 5.7.1"), "{reply}");
        admin.ok("SETACL bboard anyone lrsp");
        assert!(row.deliver("+bboard", message).starts_with("250"));
    });
}

#[test]
fn s047_c_is_to_create_delete_and_rename() {
    row("S047", NETNEWS, |row| {
        let mut fred = fred_with(row, "lrswipdan");
        assert_eq!(fred.no("CREATE user.bovik.work.x"), DENIED);
        assert_eq!(fred.no("DELETE user.bovik.work"), DENIED);
        assert_eq!(fred.no("RENAME user.bovik.work user.fred.work"), DENIED);
        let mut bovik = row.login("bovik");
        // The right of RFC 2086, which stands for `k` and `x`.
        bovik.ok("SETACL INBOX.work fred lc");
        assert_eq!(fred.my_rights("user.bovik.work"), "lkxc");
        fred.ok("CREATE user.bovik.work.x");
        fred.ok("RENAME user.bovik.work.x user.bovik.work.y");
        fred.ok("DELETE user.bovik.work.y");
        bovik.ok("SETACL INBOX.work fred lk");
        fred.ok("CREATE user.bovik.work.z");
        assert_eq!(fred.no("DELETE user.bovik.work.z"), DENIED);
        bovik.ok("SETACL INBOX.work fred lx");
        assert_eq!(fred.no("CREATE user.bovik.work.q"), DENIED);
    });
}

#[test]
fn s048_d_is_to_delete_messages() {
    row("S048", NETNEWS, |row| {
        let mut fred = fred_with(row, "lrswipkxan");
        fred.ok("SELECT user.bovik.work");
        assert_eq!(fred.no("STORE 1 +FLAGS (\\Deleted)"), DENIED);
        assert_eq!(fred.no("EXPUNGE"), DENIED);
        let mut bovik = row.login("bovik");
        bovik.ok("SETACL INBOX.work fred lrt");
        let mut fred = row.login("fred");
        fred.ok("SELECT user.bovik.work");
        fred.ok("STORE 1 +FLAGS (\\Deleted)");
        assert_eq!(fred.no("EXPUNGE"), DENIED);
        bovik.ok("SETACL INBOX.work fred lrd");
        let mut fred = row.login("fred");
        assert_eq!(fred.my_rights("user.bovik.work"), "lrted");
        fred.ok("SELECT user.bovik.work");
        assert!(fred.ok("EXPUNGE").contains(&"* 1 EXPUNGE".to_owned()));
    });
}

#[test]
fn s049_a_is_to_administer() {
    row("S049", NETNEWS, |row| {
        let mut fred = fred_with(row, "lrswipkxten");
        for command in [
            "GETACL user.bovik.work",
            "SETACL user.bovik.work fred lrswipkxtecdan",
            "DELETEACL user.bovik.work bovik",
            "LISTRIGHTS user.bovik.work fred",
        ] {
            assert_eq!(fred.no(command), DENIED, "{command}");
        }
        row.login("bovik").ok("SETACL INBOX.work fred la");
        fred.ok("SETACL user.bovik.work carol lrs");
        assert_eq!(
            fred.ok("GETACL user.bovik.work"),
            ["* ACL user.bovik.work bovik lrswipkxtecdan fred la carol lrs"]
        );
    });
}

#[test]
fn s050_old_letters_are_macros() {
    row("S050", NETNEWS, |row| {
        let (mut bovik, _) = people(row);
        for (given, shown) in [
            ("c", "kxc"),
            ("d", "ted"),
            ("cd", "kxtecd"),
            ("ck", "kc"),
            ("dt", "td"),
            ("lrswipcda", "lrswipkxtecda"),
            ("x", "xc"),
            ("e", "ed"),
            ("n", "n"),
        ] {
            bovik.ok(&format!("SETACL INBOX.work fred {given}"));
            assert_eq!(
                bovik.ok("GETACL INBOX.work"),
                [format!("* ACL INBOX.work bovik lrswipkxtecdan fred {shown}")],
                "{given}"
            );
        }
        let capabilities = row.connect().ok("CAPABILITY");
        assert_eq!(capabilities.len(), 1);
    });
}

/// Rows S051 to S055: what the usual combinations are good for.
struct Combination {
    rights: &'static str,
    listed: bool,
    selected: Option<&'static str>,
    keeps_seen: bool,
    appends: bool,
    posts: bool,
}

impl Combination {
    fn holds(&self, row: &Row) {
        let mut fred = fred_with(row, self.rights);
        let what = self.rights;
        assert_eq!(!fred.list("user.bovik.work").is_empty(), self.listed, "{what}");
        let selected = fred.says("SELECT user.bovik.work").pop().unwrap_or_default();
        match self.selected {
            Some(code) => assert_eq!(selected, format!("OK [{code}] Completed"), "{what}"),
            None => assert!(selected.starts_with("NO"), "{what}: {selected}"),
        }
        if self.selected.is_some() {
            let _ = fred.says("FETCH 1 BODY[]");
            fred.ok("UNSELECT");
            let left = u32::from(!self.keeps_seen);
            assert_eq!(
                fred.ok("STATUS user.bovik.work (UNSEEN)"),
                [format!("* STATUS user.bovik.work (UNSEEN {left})")],
                "{what}"
            );
        }
        assert_eq!(
            fred.append("user.bovik.work").starts_with("OK"),
            self.appends,
            "{what}"
        );
        // Whose mail it is decides the sender; here it is everybody's.
        let mut bovik = row.login("bovik");
        bovik.ok(&format!("SETACL INBOX.work anonymous {what}"));
        let count = |bovik: &mut Client<'_>| bovik.ok("STATUS INBOX (MESSAGES)");
        let before = count(&mut bovik);
        assert!(
            row.deliver("bovik+work", &format!("Subject: {what}\r\n\r\nHello.\r\n"))
                .starts_with("250")
        );
        assert_eq!(count(&mut bovik) == before, self.posts, "{what}");
    }
}

#[test]
fn s051_lrs_is_to_read_and_remember() {
    row("S051", NETNEWS, |row| {
        Combination {
            rights: "lrs",
            listed: true,
            selected: Some("READ-WRITE"),
            keeps_seen: true,
            appends: false,
            posts: false,
        }
        .holds(row);
    });
}

#[test]
fn s052_lrsp_is_to_post_as_well() {
    row("S052", NETNEWS, |row| {
        Combination {
            rights: "lrsp",
            listed: true,
            selected: Some("READ-WRITE"),
            keeps_seen: true,
            appends: false,
            posts: true,
        }
        .holds(row);
    });
}

#[test]
fn s053_lr_is_to_read_without_a_trace() {
    row("S053", NETNEWS, |row| {
        Combination {
            rights: "lr",
            listed: true,
            selected: Some("READ-ONLY"),
            keeps_seen: false,
            appends: false,
            posts: false,
        }
        .holds(row);
    });
}

#[test]
fn s054_rs_is_to_read_what_one_must_know_of() {
    row("S054", NETNEWS, |row| {
        Combination {
            rights: "rs",
            listed: false,
            selected: Some("READ-WRITE"),
            keeps_seen: true,
            appends: false,
            posts: false,
        }
        .holds(row);
    });
}

#[test]
fn s055_lrsip_is_to_read_and_add() {
    row("S055", NETNEWS, |row| {
        Combination {
            rights: "lrsip",
            listed: true,
            selected: Some("READ-WRITE"),
            keeps_seen: true,
            appends: true,
            posts: true,
        }
        .holds(row);
    });
}

#[test]
fn s056_identifiers_are_those_of_the_mechanism_which_is_unix() {
    row("S056", NETNEWS, |row| {
        let (mut bovik, _) = people(row);
        bovik.ok("SETACL INBOX.work FRED lr");
        bovik.ok("SETACL INBOX.work group:daemon lr");
        assert_eq!(
            bovik.ok("GETACL INBOX.work"),
            ["* ACL INBOX.work bovik lrswipkxtecdan fred lr group:daemon lr"]
        );
        for unknown in ["a%b", "group:no-such-group", "a/b"] {
            let refused = bovik.no(&format!("SETACL INBOX.work {unknown} lr"));
            assert!(
                refused.starts_with("NO Invalid identifier"),
                "{unknown}: {refused}"
            );
        }
    });
}

/// Anonymous logins.
const ANONYMOUS: Options = &[
    ("unixhierarchysep", "no"),
    ("altnamespace", "no"),
    ("allowanonymouslogin", "yes"),
];

#[test]
fn s057_anonymous_is_who_gave_no_name() {
    row("S057", ANONYMOUS, |row| {
        let mut admin = row.admin();
        admin.ok("CREATE bboard");
        admin.ok("DELETEACL bboard anyone");
        admin.ok("CREATE user.bovik");
        let mut nobody = row.connect();
        nobody.ok("LOGIN anonymous me@example.org");
        assert!(nobody.no("SELECT bboard").starts_with(NOT_THERE));
        admin.ok("SETACL bboard anonymous lr");
        assert_eq!(nobody.my_rights("bboard"), "lr");
        nobody.ok("SELECT bboard");
        assert!(row.login("bovik").no("SELECT bboard").starts_with(NOT_THERE));
    });
}

#[test]
fn s058_anyone_is_everybody() {
    row("S058", ANONYMOUS, |row| {
        let mut admin = row.admin();
        admin.ok("CREATE bboard");
        admin.ok("SETACL bboard anyone lr");
        admin.ok("CREATE user.bovik");
        let mut nobody = row.connect();
        nobody.ok("LOGIN anonymous me@example.org");
        assert_eq!(nobody.my_rights("bboard"), "lr");
        assert_eq!(row.login("bovik").my_rights("bboard"), "lr");
    });
}

#[test]
fn s067_a_hyphen_takes_rights_away() {
    row("S067", NETNEWS, |row| {
        let (mut bovik, mut fred) = people(row);
        bovik.ok("SETACL INBOX.work -anonymous s");
        bovik.ok("SETACL INBOX.work anyone lrsw");
        bovik.ok("SETACL INBOX.work -fred sw");
        assert_eq!(
            bovik.ok("GETACL INBOX.work"),
            ["* ACL INBOX.work bovik lrswipkxtecdan -anonymous s anyone lrsw -fred sw"]
        );
        assert_eq!(fred.my_rights("user.bovik.work"), "lr");
        bovik.ok("DELETEACL INBOX.work -fred");
        assert_eq!(fred.my_rights("user.bovik.work"), "lrsw");
    });
}

#[test]
fn s068_what_is_granted_without_what_is_taken_in_any_order() {
    row("S068", NETNEWS, |row| {
        let (mut bovik, mut fred) = people(row);
        // A small generator of numbers, the same in each run.
        let mut state: u32 = 68;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        let letters = "lrswipkxten";
        for _ in 0..12 {
            for identifier in ["fred", "anyone", "-fred", "-anyone", "carol"] {
                bovik.ok(&format!("DELETEACL INBOX.work {identifier}"));
            }
            let mut granted = String::from("l");
            let mut taken = String::new();
            let mut entries = vec![("anyone", "l".to_owned())];
            for identifier in ["fred", "-fred", "carol"] {
                let rights: String = letters.chars().filter(|_| next(2) == 0).collect();
                match identifier {
                    "fred" => granted.push_str(&rights),
                    "-fred" => taken = rights.replace('l', ""),
                    _ => {}
                }
                let rights = if identifier == "-fred" {
                    rights.replace('l', "")
                } else {
                    rights
                };
                let at = next(u32::try_from(entries.len()).expect("a few") + 1) as usize;
                entries.insert(at, (identifier, rights));
            }
            for (identifier, rights) in entries.iter().filter(|(_, rights)| !rights.is_empty()) {
                bovik.ok(&format!("SETACL INBOX.work {identifier} {rights}"));
            }
            let has = |letter: char| granted.contains(letter) && !taken.contains(letter);
            let mut wanted: String = letters.chars().filter(|&letter| has(letter)).collect();
            // The macros of RFC 2086 come with any right that they stand for.
            let tail = wanted.find('n').map(|_| wanted.pop());
            if has('k') || has('x') {
                wanted.push('c');
            }
            if has('t') || has('e') {
                wanted.push('d');
            }
            if tail.is_some() {
                wanted.push('n');
            }
            assert_eq!(fred.my_rights("user.bovik.work"), wanted, "{entries:?}");
        }
    });
}

#[test]
fn s069_fred_and_anonymous() {
    row("S069", ANONYMOUS, |row| {
        let mut admin = row.admin();
        admin.ok("CREATE bboard");
        admin.ok("CREATE user.fred");
        for entry in ["anyone lrsp", "fred lwi", "-anonymous s"] {
            admin.ok(&format!("SETACL bboard {entry}"));
        }
        assert_eq!(row.login("fred").my_rights("bboard"), "lrswip");
        let mut nobody = row.connect();
        nobody.ok("LOGIN anonymous me@example.org");
        assert_eq!(nobody.my_rights("bboard"), "lrp");
    });
}

#[test]
fn s070_administrators_look_up_and_administer_everything() {
    row("S070", NETNEWS, |row| {
        let (mut bovik, _) = people(row);
        let mut admin = row.admin();
        assert_eq!(admin.my_rights("user.bovik.work"), "la");
        admin.ok("SETACL user.bovik.work fred lr");
        admin.ok("GETACL user.bovik.work");
        assert_eq!(admin.no("SELECT user.bovik.work"), DENIED);
        // Nobody takes that away.
        bovik.ok("SETACL INBOX.work -admin la");
        assert_eq!(admin.my_rights("user.bovik.work"), "la");
    });
}

/// The services of the rig are called `realimap` and `oursimap`.
const ADMINS: Options = &[
    ("unixhierarchysep", "no"),
    ("altnamespace", "no"),
    ("realimap_admins", "chief group:daemon"),
    ("oursimap_admins", "chief group:daemon"),
];

#[test]
fn s070_each_service_may_have_administrators_of_its_own_and_groups_of_them() {
    row("S070", ADMINS, |row| {
        let mut chief = row.login("chief");
        chief.ok("CREATE bboard");
        assert_eq!(chief.my_rights("bboard"), "lrsa");
        // Those of all services are none of this one.
        let mut admin = row.login("admin");
        assert_eq!(admin.no("CREATE bboard.x"), DENIED);
        // A member of the group; being in it by the passwd entry counts as well.
        row.login("daemon").ok("CREATE bboard.daemon");
    });
}

#[test]
fn s071_owners_cannot_be_locked_out() {
    row("S071", NETNEWS, |row| {
        let (mut bovik, _) = people(row);
        let mut admin = row.admin();
        admin.ok("SETACL user.bovik.work bovik \"\"");
        assert_eq!(bovik.my_rights("INBOX.work"), "lkxcan");
        admin.ok("DELETEACL user.bovik bovik");
        assert_eq!(bovik.my_rights("INBOX"), "lkxcan");
        assert!(bovik.no("SETACL INBOX bovik \"\"").starts_with("NO"));
        bovik.ok("SETACL INBOX bovik lrswipkxtea");
        assert_eq!(bovik.my_rights("INBOX"), "lrswipkxtecdan");
    });
    const FEWER: Options = &[
        ("unixhierarchysep", "no"),
        ("altnamespace", "no"),
        ("implicit_owner_rights", "la"),
    ];
    row("S071", FEWER, |row| {
        let (mut bovik, _) = people(row);
        row.admin().ok("SETACL user.bovik.work bovik \"\"");
        assert_eq!(bovik.my_rights("INBOX.work"), "la");
    });
}

#[test]
fn s072_a_new_mailbox_has_the_list_of_the_nearest_above() {
    row("S072", NETNEWS, |row| {
        let mut admin = row.admin();
        admin.ok("CREATE bboard");
        admin.ok("SETACL bboard fred lrswi");
        admin.ok("SETACL bboard -carol r");
        admin.ok("CREATE bboard.b.c");
        assert_eq!(
            admin.ok("GETACL bboard.b.c"),
            ["* ACL bboard.b.c anyone lrs fred lrswi -carol r"]
        );
        admin.ok("SETACL bboard fred \"\"");
        admin.ok("GETACL bboard.b.c");
    });
}

#[test]
fn s073_an_inbox_is_its_users() {
    row("S073", NETNEWS, |row| {
        let mut admin = row.admin();
        admin.ok("CREATE user.bovik");
        assert_eq!(
            admin.ok("GETACL user.bovik"),
            ["* ACL user.bovik bovik lrswipkxtecdan"]
        );
    });
}

#[test]
fn s074_a_shared_mailbox_has_the_configured_list() {
    row("S074", NETNEWS, |row| {
        let mut admin = row.admin();
        admin.ok("CREATE bboard");
        assert_eq!(admin.ok("GETACL bboard"), ["* ACL bboard anyone lrs"]);
    });
    const OWN_DEFAULT: Options = &[
        ("unixhierarchysep", "no"),
        ("altnamespace", "no"),
        ("defaultacl", "group:daemon lrswipcd anonymous p"),
    ];
    row("S074", OWN_DEFAULT, |row| {
        let mut admin = row.admin();
        admin.ok("CREATE bboard");
        assert_eq!(
            admin.ok("GETACL bboard"),
            ["* ACL bboard group:daemon lrswipkxtecd anonymous p"]
        );
    });
}

#[test]
fn s075_everybody_posts_to_an_inbox() {
    row("S075", NETNEWS, |row| {
        let (mut bovik, _) = people(row);
        bovik.ok("SETACL INBOX -anyone p");
        assert!(
            row.deliver("bovik", "Subject: hello\r\n\r\nHello.\r\n")
                .starts_with("250")
        );
        assert_eq!(
            bovik.ok("LISTRIGHTS INBOX fred"),
            ["* LISTRIGHTS INBOX fred p l r s w i k x t e c d a n 0 1 2 3 4 5 6 7 8 9"]
        );
    });
}

#[test]
fn s076_users_keep_rights_in_their_own_tree() {
    row("S076", NETNEWS, |row| {
        let (mut bovik, mut fred) = people(row);
        row.admin().ok("SETACL user.bovik -bovik lrswipkxtecdan");
        assert_eq!(bovik.my_rights("INBOX"), "lkxcan");
        bovik.ok("SETACL INBOX.work fred lrswipkxtea");
        // Somebody with all rights on it does not get them all.
        assert_eq!(fred.no("DELETEACL user.bovik.work bovik"), DENIED);
        assert_eq!(fred.no("SETACL user.bovik.work bovik lrs"), DENIED);
        fred.ok("SETACL user.bovik.work bovik a");
        assert_eq!(bovik.my_rights("INBOX.work"), "lkxcan");
        bovik.ok("CREATE INBOX.work.more");
    });
}

#[test]
fn s077_the_commands_and_their_answers() {
    row("S077", NETNEWS, |row| {
        let (mut bovik, mut fred) = people(row);
        bovik.ok("SETACL INBOX.work fred lr");
        bovik.ok("SETACL INBOX.work fred +swi");
        bovik.ok("SETACL INBOX.work fred -r");
        assert_eq!(
            bovik.ok("GETACL INBOX.work"),
            ["* ACL INBOX.work bovik lrswipkxtecdan fred lswi"]
        );
        assert_eq!(
            fred.ok("MYRIGHTS user.bovik.work"),
            ["* MYRIGHTS user.bovik.work lswi"]
        );
        assert_eq!(
            bovik.ok("LISTRIGHTS INBOX.work bovik"),
            ["* LISTRIGHTS INBOX.work bovik lkxcan r s w i p t e d 0 1 2 3 4 5 6 7 8 9"]
        );
        bovik.ok("DELETEACL INBOX.work fred");
        bovik.ok("DELETEACL INBOX.work fred");
        assert_eq!(
            bovik.ok("GETACL INBOX.work"),
            ["* ACL INBOX.work bovik lrswipkxtecdan"]
        );
        assert_eq!(
            bovik.no("SETACL INBOX.work fred lrz"),
            "BAD The z right is not supported"
        );
        assert!(bovik.no("SETACL INBOX.work fred").starts_with("BAD"));
        assert!(bovik.no("GETACL").starts_with("BAD"));
        assert!(bovik.no("MYRIGHTS INBOX.none").starts_with(NOT_THERE));
    });
}

/// Users may not give rights to everybody, with `anyoneuseracl: no`; nor to anybody with `allowsetacl: no`.
#[test]
fn s077_sites_may_keep_users_from_giving_rights() {
    const NOT_ANYONE: Options = &[
        ("unixhierarchysep", "no"),
        ("altnamespace", "no"),
        ("anyoneuseracl", "no"),
    ];
    row("S077", NOT_ANYONE, |row| {
        let (mut bovik, _) = people(row);
        assert_eq!(bovik.no("SETACL INBOX.work anyone lr"), DENIED);
        bovik.ok("SETACL INBOX.work -anyone w");
        bovik.ok("SETACL INBOX.work anonymous lr");
        row.admin().ok("SETACL user.bovik.work anyone lr");
    });
    const NOBODY: Options = &[
        ("unixhierarchysep", "no"),
        ("altnamespace", "no"),
        ("allowsetacl", "no"),
    ];
    row("S077", NOBODY, |row| {
        let (mut bovik, _) = people(row);
        assert_eq!(
            bovik.no("SETACL INBOX.work fred lr"),
            "NO Command is disabled by configuration"
        );
        assert_eq!(
            bovik.no("DELETEACL INBOX.work fred"),
            "NO Command is disabled by configuration"
        );
        bovik.ok("GETACL INBOX.work");
    });
}
