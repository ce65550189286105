//! Rows S010 to S035: how mailboxes are called.

use super::stage::{NETNEWS, Options, Row, row, row_of_ours};

/// Cyrus 3.6's defaults: slashes, one's own mailboxes beside INBOX.
const DEFAULTS: Options = &[];
/// Dots, one's own mailboxes beside INBOX.
const ALTERNATE: Options = &[("unixhierarchysep", "no"), ("altnamespace", "yes")];

/// Makes the INBOXes of users.
fn users(row: &Row, names: &[&str]) {
    let mut admin = row.admin();
    for name in names {
        admin.ok(&format!("CREATE user.{name}"));
    }
}

#[test]
fn s010_the_separator_is_a_dot() {
    row("S010", NETNEWS, |row| {
        users(row, &["bovik"]);
        assert_eq!(
            row.login("bovik").ok("LIST \"\" \"\""),
            ["* LIST (\\Noselect) \".\" \"\""]
        );
    });
}

#[test]
fn s011_names_are_case_sensitive_but_inbox() {
    row("S011", NETNEWS, |row| {
        users(row, &["bovik"]);
        let mut bovik = row.login("bovik");
        bovik.ok("CREATE INBOX.foo");
        bovik.ok("CREATE INBOX.Foo");
        assert_eq!(bovik.list("*"), ["INBOX", "INBOX.Foo", "INBOX.foo"]);
        for inbox in ["inbox", "InBoX"] {
            bovik.ok(&format!("SELECT {inbox}"));
        }
        bovik.ok("STATUS inbox.foo (MESSAGES)");
        bovik.no("STATUS INBOX.FOO (MESSAGES)");
    });
}

#[test]
fn s012_a_name_does_not_begin_with_a_dot() {
    row("S012", NETNEWS, |row| {
        let mut admin = row.admin();
        admin.ok("CREATE bboard");
        // Cyrus 3.6 takes no offence at the dot; the mailbox is called without it.
        admin.ok("CREATE .bboard.x");
        admin.no("CREATE .bboard");
        admin.no("CREATE .");
        assert_eq!(row.names(), ["bboard", "bboard.x"]);
    });
}

#[test]
fn s013_a_name_does_not_end_in_a_dot() {
    row("S013", NETNEWS, |row| {
        let mut admin = row.admin();
        admin.ok("CREATE bboard.");
        admin.no("CREATE bboard");
        assert_eq!(row.names(), ["bboard"]);
    });
}

#[test]
fn s014_no_component_is_empty() {
    row("S014", NETNEWS, |row| {
        let mut admin = row.admin();
        admin.ok("CREATE bboard");
        let _ = admin.says("CREATE bboard..x");
        assert!(
            row.names().iter().all(|name| !name.contains("..")),
            "{:?}",
            row.names()
        );
        assert!(admin.list("bboard..*").is_empty());
    });
}

#[test]
fn s015_the_characters_of_a_name() {
    row("S015", NETNEWS, |row| {
        users(row, &["bovik"]);
        let mut bovik = row.login("bovik");
        for good in [
            "a b", "a+b", "a,b", "a-b", "a:b", "a=b", "a@b", "a_b", "a~b", "a#b", "a$b", "a'b", "a(b", "a)b",
            "a*b", "a?b", "a[b", "a]b", "a^b", "&AOk-", "x&AOk-y",
        ] {
            bovik.ok(&format!("CREATE \"INBOX.{good}\""));
        }
        for bad in [
            "a%b",
            "a/b",
            "a!b",
            "a\\\"b",
            "a\\\\b",
            "a;b",
            "a<b",
            "a>b",
            "a`b",
            "a{b",
            "a|b",
            "a}b",
            "a\tb",
            "&AOk",
            "&",
            "&AGE-",
            "&AOk-&AOk-",
        ] {
            let refused = bovik.no(&format!("CREATE \"INBOX.{bad}\""));
            assert!(
                refused.starts_with("NO Invalid mailbox name") || refused.starts_with("BAD"),
                "{bad}: {refused}"
            );
        }
    });
}

#[test]
fn s016_reserved_names_are_nobodys() {
    row("S016", NETNEWS, |row| {
        let mut admin = row.admin();
        let mut reserved = vec![
            "user",
            "user.anyone",
            "user.anonymous",
            "$bboard",
            "\"user.%\"",
            "DELETED",
        ];
        if !row.is_real() {
            // Real Cyrus takes the end of such a name for a time, and shows another name in lists.
            reserved.push("DELETED.bboard");
        }
        for reserved in reserved {
            let refused = admin.no(&format!("CREATE {reserved}"));
            assert!(refused.starts_with("NO"), "{reserved}: {refused}");
        }
        assert_eq!(row.names(), [""; 0]);
    });
}

#[test]
fn s017_a_name_may_have_490_octets() {
    row("S017", NETNEWS, |row| {
        users(row, &["bovik"]);
        let mut bovik = row.login("bovik");
        // `user.bovik017.` is in front of it, and `INBOX.` for the client.
        let rest = 490 - "user.bovik017.".len();
        bovik.no(&format!("CREATE INBOX.{}", "x".repeat(rest + 1)));
        bovik.ok(&format!("CREATE INBOX.{}", "x".repeat(rest)));
        bovik.ok(&format!("DELETE INBOX.{}", "x".repeat(rest)));
    });
}

#[test]
fn s018_the_unix_convention_has_slashes_and_dots_in_names() {
    row("S018", DEFAULTS, |row| {
        let mut admin = row.admin();
        admin.ok("CREATE user/bovik.jr");
        admin.ok("CREATE user/bovik.jr/v1.2/deep");
        let mut bovik = row.login("bovik.jr");
        assert_eq!(bovik.ok("LIST \"\" \"\""), ["* LIST (\\Noselect) \"/\" \"\""]);
        assert_eq!(bovik.list("*"), ["INBOX", "v1.2", "v1.2/deep"]);
        bovik.ok("SELECT v1.2");
        bovik.no("CREATE v1^2");
        assert_eq!(
            row.names(),
            ["user.bovik^jr", "user.bovik^jr.v1^2", "user.bovik^jr.v1^2.deep"]
        );
    });
}

#[test]
fn s019_the_mailboxes_of_bovik_are_user_bovik() {
    row("S019", NETNEWS, |row| {
        users(row, &["bovik"]);
        row.login("bovik").ok("CREATE INBOX.work");
        assert_eq!(row.admin().list("user.bovik.*"), ["user.bovik.work"]);
    });
}

#[test]
fn s020_the_owner_sees_them_below_inbox() {
    row("S020", NETNEWS, |row| {
        users(row, &["bovik"]);
        let mut bovik = row.login("bovik");
        bovik.ok("CREATE INBOX.work");
        assert_eq!(bovik.list("*"), ["INBOX", "INBOX.work"]);
        let one = bovik.ok("SELECT INBOX.work");
        let two = bovik.ok("SELECT user.bovik.work");
        let permanent = |lines: &[String]| {
            lines
                .iter()
                .filter(|line| line.contains("PERMANENTFLAGS"))
                .count()
        };
        assert_eq!((permanent(&one), permanent(&two)), (1, 1));
        assert_eq!(bovik.append("user.bovik.work").get(..2), Some("OK"));
        assert_eq!(
            bovik.ok("STATUS INBOX.work (MESSAGES)"),
            ["* STATUS INBOX.work (MESSAGES 1)"]
        );
    });
}

#[test]
fn s021_others_see_what_they_may_look_up() {
    row("S021", NETNEWS, |row| {
        users(row, &["bovik", "fred"]);
        let (mut bovik, mut fred) = (row.login("bovik"), row.login("fred"));
        bovik.ok("CREATE INBOX.work");
        assert_eq!(fred.list("*"), ["INBOX"]);
        bovik.ok("SETACL INBOX.work fred l");
        assert_eq!(fred.list("*"), ["INBOX", "user.bovik.work"]);
        bovik.ok("SETACL INBOX.work fred rs");
        assert_eq!(fred.list("*"), ["INBOX"]);
    });
}

#[test]
fn s022_mail_arrives_in_inbox() {
    row("S022", NETNEWS, |row| {
        users(row, &["bovik"]);
        let reply = row.deliver("bovik", "Subject: hello\r\n\r\nHello.\r\n");
        assert!(reply.starts_with("250"), "{reply}");
        assert_eq!(
            row.login("bovik").ok("STATUS INBOX (MESSAGES)"),
            ["* STATUS INBOX (MESSAGES 1)"]
        );
        let reply = row.deliver("fred", "Subject: hello\r\n\r\nHello.\r\n");
        assert!(reply.starts_with("550 5.1.1"), "{reply}");
    });
}

#[test]
fn s023_administrators_make_users_by_their_inbox() {
    row("S023", NETNEWS, |row| {
        users(row, &["bovik"]);
        let mut bovik = row.login("bovik");
        assert_eq!(bovik.no("CREATE user.fred"), "NO Permission denied");
        assert!(bovik.no("DELETE INBOX").starts_with("NO "));
        bovik.ok("SELECT INBOX");
        let mut admin = row.admin();
        assert_eq!(admin.no("DELETE user.bovik"), "NO Permission denied");
        admin.ok("SETACL user.bovik admin x");
        admin.ok("DELETE user.bovik");
        row.login("bovik").no("SELECT INBOX");
    });
}

#[test]
fn s024_one_subscribes_to_what_is_there() {
    row("S024", NETNEWS, |row| {
        users(row, &["bovik"]);
        let mut bovik = row.login("bovik");
        bovik.ok("CREATE INBOX.work");
        bovik.ok("SUBSCRIBE INBOX.work");
        bovik.ok("SUBSCRIBE INBOX.work");
        assert!(
            bovik
                .no("SUBSCRIBE INBOX.none")
                .contains("Mailbox does not exist")
        );
        assert_eq!(bovik.lsub("*"), ["INBOX.work"]);
    });
}

#[test]
fn s025_a_dotted_userid_needs_slashes() {
    row("S025", NETNEWS, |row| {
        users(row, &["bovik"]);
        row.admin().ok("CREATE user.bovik.jr");
        let mut junior = row.login("bovik.jr");
        assert!(junior.list("*").is_empty());
        assert!(junior.no("SELECT INBOX").starts_with("NO Mailbox does not exist"));
        let reply = row.deliver("bovik.jr", "Subject: hello\r\n\r\nHello.\r\n");
        assert!(reply.starts_with("550 5.1.1"), "{reply}");
        assert_eq!(row.names(), ["user.bovik", "user.bovik.jr"]);
    });
    row("S025", DEFAULTS, |row| {
        row.admin().ok("CREATE user/bovik.jr");
        let reply = row.deliver("bovik.jr", "Subject: hello\r\n\r\nHello.\r\n");
        assert!(reply.starts_with("250"), "{reply}");
        let mut junior = row.login("bovik.jr");
        assert_eq!(junior.list("*"), ["INBOX"]);
        assert_eq!(
            junior.ok("STATUS INBOX (MESSAGES)"),
            ["* STATUS INBOX (MESSAGES 1)"]
        );
    });
}

#[test]
fn s026_with_the_inbox_goes_all_of_a_user() {
    row("S026", NETNEWS, |row| {
        users(row, &["bovik", "bovikson"]);
        let mut bovik = row.login("bovik");
        bovik.ok("CREATE INBOX.work.deep");
        bovik.ok("SUBSCRIBE INBOX.work.deep");
        let mut admin = row.admin();
        admin.ok("SETACL user.bovik admin x");
        admin.ok("DELETE user.bovik");
        let left: Vec<String> = admin.list("user.*");
        assert!(
            left.iter().all(|name| !name.starts_with("user.bovik.")),
            "{left:?}"
        );
        assert!(left.contains(&"user.bovikson".to_owned()), "{left:?}");
        let deleted = admin.list("DELETED.user.bovik.*");
        assert_eq!(deleted.len(), 3, "{deleted:?}");
    });
}

#[test]
fn s027_names_but_inbox_are_the_same_for_everybody() {
    row("S027", NETNEWS, |row| {
        users(row, &["bovik", "fred"]);
        let mut admin = row.admin();
        admin.ok("CREATE bboard");
        admin.ok("SETACL bboard anyone lrswi");
        assert_eq!(row.login("bovik").append("bboard").get(..2), Some("OK"));
        for user in ["fred", "bovik", "admin"] {
            assert_eq!(
                row.login(user).ok("STATUS bboard (MESSAGES)"),
                ["* STATUS bboard (MESSAGES 1)"],
                "{user}"
            );
        }
        assert_eq!(row.login("bovik").append("INBOX").get(..2), Some("OK"));
        assert_eq!(
            row.login("fred").ok("STATUS INBOX (MESSAGES)"),
            ["* STATUS INBOX (MESSAGES 0)"]
        );
    });
}

#[test]
fn s028_lists_decide_who_uses_what() {
    row("S028", NETNEWS, |row| {
        users(row, &["bovik", "fred"]);
        let mut admin = row.admin();
        admin.ok("CREATE bboard");
        admin.ok("DELETEACL bboard anyone");
        admin.ok("SETACL bboard bovik lr");
        row.login("bovik").ok("SELECT bboard");
        assert!(
            row.login("fred")
                .no("SELECT bboard")
                .starts_with("NO Mailbox does not exist")
        );
        assert!(row.login("fred").list("bboard").is_empty());
    });
}

#[test]
fn s029_a_leading_dot_is_relative_to_the_reference() {
    row("S029", NETNEWS, |row| {
        users(row, &["bovik"]);
        let mut admin = row.admin();
        admin.ok("CREATE cmu");
        admin.ok("CREATE cmu.comp.infosystems.www");
        let mut bovik = row.login("bovik");
        let mut listed = |arguments: &str| {
            let lines = bovik.ok(&format!("LIST {arguments}"));
            lines
                .iter()
                .any(|line| line.ends_with("cmu.comp.infosystems.www"))
        };
        assert!(listed("cmu. .comp.infosystems.www"));
        assert!(listed("cmu .comp.infosystems.www"));
        assert!(listed("\"\" cmu.comp.infosystems.www"));
        assert!(!listed("\"\" comp.infosystems.www"));
    });
}

#[test]
fn s031_namespace_names_what_the_user_has() {
    row("S031", NETNEWS, |row| {
        users(row, &["bovik"]);
        assert_eq!(
            row.login("bovik").ok("NAMESPACE"),
            [r#"* NAMESPACE (("INBOX." ".")) (("user." ".")) (("" "."))"#]
        );
        // Without an INBOX there are no mailboxes of one's own.
        assert_eq!(
            row.login("fred").ok("NAMESPACE"),
            [r#"* NAMESPACE NIL (("user." ".")) (("" "."))"#]
        );
    });
}

#[test]
fn s032_ones_own_mailboxes_are_beside_inbox() {
    row("S032", ALTERNATE, |row| {
        users(row, &["bovik"]);
        let mut bovik = row.login("bovik");
        bovik.ok("CREATE work");
        assert_eq!(bovik.list("*"), ["INBOX", "work"]);
        bovik.no("SELECT INBOX.work");
    });
}

#[test]
fn s033_others_and_shared_mailboxes_have_prefixes() {
    row("S033", ALTERNATE, |row| {
        users(row, &["bovik", "fred"]);
        let mut admin = row.admin();
        admin.ok("CREATE bboard");
        row.login("fred").ok("SETACL INBOX bovik lr");
        let mut bovik = row.login("bovik");
        assert_eq!(
            bovik.ok("NAMESPACE"),
            [r#"* NAMESPACE (("" ".")) (("Other Users." ".")) (("Shared Folders." "."))"#]
        );
        assert_eq!(
            bovik.list("*"),
            ["INBOX", "Other Users.fred", "Shared Folders.bboard"]
        );
        bovik.ok("EXAMINE \"Other Users.fred\"");
        bovik.ok("EXAMINE \"Shared Folders.bboard\"");
        bovik.no("EXAMINE user.fred");
        // Administrators are shown the other names.
        assert_eq!(admin.list("user.bovik"), ["user.bovik"]);
    });
    const PREFIXES: Options = &[
        ("unixhierarchysep", "no"),
        ("altnamespace", "yes"),
        ("userprefix", "Colleagues"),
        ("sharedprefix", "Boards"),
        ("altprefix", "Mine"),
    ];
    row("S033", PREFIXES, |row| {
        users(row, &["bovik", "fred"]);
        row.admin().ok("CREATE bboard");
        row.login("fred").ok("SETACL INBOX bovik lr");
        let mut bovik = row.login("bovik");
        assert_eq!(
            bovik.ok("NAMESPACE"),
            [r#"* NAMESPACE (("" ".")) (("Colleagues." ".")) (("Boards." "."))"#]
        );
        // A mailbox of one's own that would be taken for the top of others has another name.
        row.admin().ok("CREATE user.bovik.Boards");
        assert_eq!(
            bovik.list("*"),
            ["INBOX", "Mine.Boards", "Colleagues.fred", "Boards.bboard"]
        );
        bovik.ok("SELECT Mine.Boards");
    });
}

#[test]
fn s034_two_users_may_call_mailboxes_alike() {
    row("S034", ALTERNATE, |row| {
        users(row, &["bovik", "fred"]);
        let (mut bovik, mut fred) = (row.login("bovik"), row.login("fred"));
        bovik.ok("CREATE work");
        fred.ok("CREATE work");
        assert_eq!(bovik.append("work").get(..2), Some("OK"));
        assert_eq!(fred.ok("STATUS work (MESSAGES)"), ["* STATUS work (MESSAGES 0)"]);
        assert_eq!(bovik.ok("STATUS work (MESSAGES)"), ["* STATUS work (MESSAGES 1)"]);
    });
}

#[test]
fn s035_the_internal_name_stays() {
    row("S035", ALTERNATE, |row| {
        users(row, &["bovik"]);
        let mut bovik = row.login("bovik");
        bovik.ok("CREATE work");
        assert_eq!(row.names(), ["user.bovik", "user.bovik.work"]);
        // Delivery to a folder wants the right to post there.
        bovik.ok("SETACL work anyone p");
        let reply = row.deliver("bovik+work", "Subject: hello\r\n\r\nHello.\r\n");
        assert!(reply.starts_with("250"), "{reply}");
        assert_eq!(bovik.ok("STATUS work (MESSAGES)"), ["* STATUS work (MESSAGES 1)"]);
    });
}

/// Names in UTF-8 and in modified UTF-7 are the same names (RFC 6855, section 3).
#[test]
fn s015_names_in_utf8_are_kept_in_modified_utf7() {
    row_of_ours("S015", DEFAULTS, |row| {
        row.admin().ok("CREATE user/bovik");
        let mut bovik = row.login("bovik");
        bovik.ok("ENABLE UTF8=ACCEPT");
        bovik.ok("CREATE \"Entw\u{fc}rfe\"");
        assert_eq!(row.names(), ["user.bovik", "user.bovik.Entw&APw-rfe"]);
        row.login("bovik").ok("SELECT Entw&APw-rfe");
    });
}

const DOMAINS: Options = &[
    ("virtdomains", "userid"),
    ("defaultdomain", "example.test"),
    ("realimap_admins", "admin chief@other.test"),
    ("oursimap_admins", "admin chief@other.test"),
];

/// Users and mailboxes of one domain, and of another.
fn domains(row: &Row) {
    let mut admin = row.admin();
    for name in [
        "user/bovik",
        "bboard",
        "user/bovik@other.test",
        "user/fred@other.test",
        "bboard@other.test",
    ] {
        admin.ok(&format!("CREATE {name}"));
    }
}

#[test]
fn s022_each_domain_has_users_and_mailboxes_of_its_own() {
    row("S0221", DOMAINS, |row| {
        domains(row);
        for (address, reply) in [
            ("bovik@other.test", "250"),
            ("bovik@OTHER.test", "250"),
            ("bovik@example.test", "250"),
            ("fred", "550 5.1.1"),
            ("fred@example.test", "550 5.1.1"),
            ("fred@third.test", "550 5.1.1"),
        ] {
            let said = row.deliver(address, &format!("Subject: for {address}\r\n\r\nHello.\r\n"));
            assert!(said.starts_with(reply), "{address}: {said}");
        }
        for (user, messages) in [("bovik", 1), ("bovik@example.test", 1), ("bovik@other.test", 2)] {
            assert_eq!(
                row.login(user).ok("STATUS INBOX (MESSAGES)"),
                [format!("* STATUS INBOX (MESSAGES {messages})")],
                "{user}"
            );
        }
        // Nobody sees into another domain.
        let mut fred = row.login("fred@other.test");
        fred.ok("SETACL INBOX anyone lrs");
        assert_eq!(fred.list("*"), ["INBOX", "Shared Folders/bboard"]);
        assert_eq!(
            row.login("bovik@other.test").list("*"),
            ["INBOX", "Other Users/fred", "Shared Folders/bboard"]
        );
        let mut bovik = row.login("bovik");
        assert_eq!(bovik.list("*"), ["INBOX", "Shared Folders/bboard"]);
        for other in [
            "Other Users/fred@other.test",
            "Shared Folders/bboard@other.test",
            "Other Users/fred",
        ] {
            assert!(
                bovik.no(&format!("SELECT \"{other}\"")).starts_with("NO"),
                "{other}"
            );
        }
    });
}

#[test]
fn s023_an_administrator_of_a_domain_has_that_domain() {
    row("S0233", DOMAINS, |row| {
        domains(row);
        let mut chief = row.login("chief@other.test");
        let mut listed = chief.list("*");
        // Real Cyrus lists some INBOXes of the default domain as well, which are not his.
        listed.retain(|name| !row.is_real() || name.contains('@'));
        assert_eq!(
            listed,
            [
                "user/bovik@other.test",
                "user/fred@other.test",
                "bboard@other.test"
            ]
        );
        chief.ok("CREATE user/carol");
        assert!(
            row.names().contains(&"other.test!user.carol".to_owned()),
            "{:?}",
            row.names()
        );
        assert_eq!(chief.my_rights("user/fred"), "la");
    });
}

#[test]
fn s062_an_identifier_of_another_domain_is_written_with_it() {
    row("S0621", DOMAINS, |row| {
        domains(row);
        let mut bovik = row.login("bovik@other.test");
        for identifier in ["fred@other.test", "carol", "carol@example.test", "bovik"] {
            bovik.ok(&format!("SETACL INBOX {identifier} lr"));
        }
        assert_eq!(
            bovik.ok("GETACL INBOX"),
            [
                "* ACL INBOX bovik@other.test lrswipkxtecdan fred@other.test lr carol lr carol@example.test lr bovik lr"
            ]
        );
        row.login("fred@other.test").ok("EXAMINE \"Other Users/bovik\"");
    });
}

#[test]
fn s025_where_domains_follow_addresses_a_name_without_one_is_of_the_default_domain() {
    const ON: Options = &[("virtdomains", "on"), ("defaultdomain", "example.test")];
    row("S0251", ON, |row| {
        // The address of the rig has a name without a domain.
        let mut admin = row.admin();
        admin.ok("CREATE user/bovik");
        admin.ok("CREATE user/fred@other.test");
        assert_eq!(row.login("bovik").list("*"), ["INBOX"]);
        assert_eq!(row.login("bovik@example.test").list("*"), ["INBOX"]);
        assert_eq!(row.login("fred@other.test").list("*"), ["INBOX"]);
        assert!(row.login("fred").list("*").is_empty());
    });
}

#[test]
fn s011_userids_have_small_letters_unless_the_site_says_otherwise() {
    row("S0111", DEFAULTS, |row| {
        row.admin().ok("CREATE user/bovik");
        // The words of a row are in small letters.
        let upper = format!("BOVIK{}", row.number());
        assert_eq!(row.login(&upper).list("*"), ["INBOX"]);
        assert!(
            row.deliver(&upper, "Subject: hello\r\n\r\nHello.\r\n")
                .starts_with("250")
        );
    });
    const AS_THEY_ARE: Options = &[("username_tolower", "no"), ("lmtp_downcase_rcpt", "no")];
    row("S0111", AS_THEY_ARE, |row| {
        row.admin().ok("CREATE user/bovik");
        let upper = format!("BOVIK{}", row.number());
        assert!(row.login(&upper).list("*").is_empty());
        let reply = row.deliver(&upper, "Subject: hello\r\n\r\nHello.\r\n");
        assert!(reply.starts_with("550 5.1.1"), "{reply}");
    });
}

#[test]
fn s026_a_deleted_mailbox_is_for_administrators_who_can_bring_it_back() {
    row("S0265", DEFAULTS, |row| {
        row.admin().ok("CREATE user/bovik");
        let mut bovik = row.login("bovik");
        bovik.ok("CREATE work");
        assert!(bovik.append("work").starts_with("OK"));
        bovik.ok("DELETE work");
        assert_eq!(bovik.list("*"), ["INBOX"]);
        let mut admin = row.admin();
        let deleted = admin.list("DELETED/user/bovik/*");
        let [deleted] = deleted.as_slice() else {
            panic!("{deleted:?}");
        };
        assert!(bovik.no(&format!("SELECT \"{deleted}\"")).starts_with("NO"));
        assert!(
            bovik
                .no(&format!("SELECT \"Shared Folders/{deleted}\""))
                .starts_with("NO")
        );
        admin.ok(&format!("SETACL {deleted} admin lrswipkxtea"));
        admin.ok(&format!("RENAME {deleted} user/bovik/again"));
        assert_eq!(
            bovik.ok("STATUS again (MESSAGES)"),
            ["* STATUS again (MESSAGES 1)"]
        );
        assert!(admin.list("DELETED/user/bovik/*").is_empty());
    });
}
