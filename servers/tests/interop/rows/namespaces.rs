//! The sixteen namespaces: separator, alternate namespace, virtual domains, and whether one administers.

use super::stage::{Client, Options, Row, row};

/// What one of two kinds of people sees in one of eight configurations.
struct Namespace {
    options: Options,
    user: &'static str,
    /// The answer to NAMESPACE.
    reply: &'static str,
    /// Internal names, and how they are called here, in the order of LIST.
    names: &'static [(&'static str, &'static str)],
    /// A name to create, and what it makes.
    new: (&'static str, &'static str),
    /// Names that mean nothing here.
    none: &'static [&'static str],
}

/// The options of the eight configurations.
const fn options(slash: bool, alternate: bool, domains: bool) -> Options {
    match (slash, alternate, domains) {
        (false, false, false) => &[("unixhierarchysep", "no"), ("altnamespace", "no")],
        (false, false, true) => &[
            ("unixhierarchysep", "no"),
            ("altnamespace", "no"),
            ("virtdomains", "userid"),
            ("defaultdomain", "example.test"),
        ],
        (false, true, false) => &[("unixhierarchysep", "no"), ("altnamespace", "yes")],
        (false, true, true) => &[
            ("unixhierarchysep", "no"),
            ("altnamespace", "yes"),
            ("virtdomains", "userid"),
            ("defaultdomain", "example.test"),
        ],
        (true, false, false) => &[("unixhierarchysep", "yes"), ("altnamespace", "no")],
        (true, false, true) => &[
            ("unixhierarchysep", "yes"),
            ("altnamespace", "no"),
            ("virtdomains", "userid"),
            ("defaultdomain", "example.test"),
        ],
        (true, true, false) => &[("unixhierarchysep", "yes"), ("altnamespace", "yes")],
        (true, true, true) => &[
            ("unixhierarchysep", "yes"),
            ("altnamespace", "yes"),
            ("virtdomains", "userid"),
            ("defaultdomain", "example.test"),
        ],
    }
}

/// The sixteen, by separator, layout, domains and person.
const NAMESPACES: [Namespace; 16] = [
    // Dots, one's own mailboxes below INBOX.
    Namespace {
        options: options(false, false, false),
        user: "admin",
        reply: r#"NIL (("user." ".")) (("" "."))"#,
        names: &[
            ("user.bovik", "user.bovik"),
            ("user.bovik.work", "user.bovik.work"),
            ("user.fred", "user.fred"),
            ("user.fred.pub", "user.fred.pub"),
            ("bboard", "bboard"),
            ("bboard.a^b", "bboard.a^b"),
        ],
        new: ("user.fred.new", "user.fred.new"),
        none: &[
            "INBOX",
            "Other Users.bovik",
            "user/bovik",
            "user.bovik@example.test",
        ],
    },
    Namespace {
        options: options(false, false, false),
        user: "bovik",
        reply: r#"(("INBOX." ".")) (("user." ".")) (("" "."))"#,
        names: &[
            ("user.bovik", "INBOX"),
            ("user.bovik.work", "INBOX.work"),
            ("user.fred.pub", "user.fred.pub"),
            ("bboard", "bboard"),
            ("bboard.a^b", "bboard.a^b"),
        ],
        new: ("INBOX.work.new", "user.bovik.work.new"),
        none: &["work", "user.fred", "Other Users.fred.pub", "INBOX/work"],
    },
    Namespace {
        options: options(false, false, true),
        user: "admin",
        reply: r#"NIL (("user." ".")) (("" "."))"#,
        names: &[
            ("other.test!user.carol", "user.carol@other.test"),
            ("user.bovik", "user.bovik"),
            ("user.bovik.work", "user.bovik.work"),
            ("user.fred", "user.fred"),
            ("user.fred.pub", "user.fred.pub"),
            ("bboard", "bboard"),
            ("bboard.a^b", "bboard.a^b"),
            ("other.test!bboard", "bboard@other.test"),
        ],
        new: ("user.carol.new@other.test", "other.test!user.carol.new"),
        none: &["INBOX", "user.carol", "user.bovik@other.test"],
    },
    Namespace {
        options: options(false, false, true),
        user: "bovik",
        reply: r#"(("INBOX." ".")) (("user." ".")) (("" "."))"#,
        names: &[
            ("user.bovik", "INBOX"),
            ("user.bovik.work", "INBOX.work"),
            ("user.fred.pub", "user.fred.pub"),
            ("bboard", "bboard"),
            ("bboard.a^b", "bboard.a^b"),
        ],
        new: ("INBOX.work.new", "user.bovik.work.new"),
        none: &["bboard@other.test", "user.carol@other.test", "work"],
    },
    // Dots, one's own mailboxes beside INBOX.
    Namespace {
        options: options(false, true, false),
        user: "admin",
        reply: r#"NIL (("user." ".")) (("" "."))"#,
        names: &[
            ("user.bovik", "user.bovik"),
            ("user.bovik.work", "user.bovik.work"),
            ("user.fred", "user.fred"),
            ("user.fred.pub", "user.fred.pub"),
            ("bboard", "bboard"),
            ("bboard.a^b", "bboard.a^b"),
        ],
        new: ("user.fred.new", "user.fred.new"),
        none: &["INBOX", "Shared Folders.bboard", "Other Users.bovik"],
    },
    Namespace {
        options: options(false, true, false),
        user: "bovik",
        reply: r#"(("" ".")) (("Other Users." ".")) (("Shared Folders." "."))"#,
        names: &[
            ("user.bovik", "INBOX"),
            ("user.bovik.work", "work"),
            ("user.fred.pub", "Other Users.fred.pub"),
            ("bboard", "Shared Folders.bboard"),
            ("bboard.a^b", "Shared Folders.bboard.a^b"),
        ],
        new: ("work.new", "user.bovik.work.new"),
        none: &[
            "INBOX.work",
            "user.fred.pub",
            "bboard",
            "Other Users",
            "Shared Folders",
        ],
    },
    Namespace {
        options: options(false, true, true),
        user: "admin",
        reply: r#"NIL (("user." ".")) (("" "."))"#,
        names: &[
            ("other.test!user.carol", "user.carol@other.test"),
            ("user.bovik", "user.bovik"),
            ("user.bovik.work", "user.bovik.work"),
            ("user.fred", "user.fred"),
            ("user.fred.pub", "user.fred.pub"),
            ("bboard", "bboard"),
            ("bboard.a^b", "bboard.a^b"),
            ("other.test!bboard", "bboard@other.test"),
        ],
        new: ("bboard.new@other.test", "other.test!bboard.new"),
        none: &["INBOX", "user.carol", "Shared Folders.bboard"],
    },
    Namespace {
        options: options(false, true, true),
        user: "bovik",
        reply: r#"(("" ".")) (("Other Users." ".")) (("Shared Folders." "."))"#,
        names: &[
            ("user.bovik", "INBOX"),
            ("user.bovik.work", "work"),
            ("user.fred.pub", "Other Users.fred.pub"),
            ("bboard", "Shared Folders.bboard"),
            ("bboard.a^b", "Shared Folders.bboard.a^b"),
        ],
        new: ("work.new", "user.bovik.work.new"),
        none: &[
            "INBOX.work",
            "Other Users.carol@other.test",
            "Shared Folders.bboard@other.test",
        ],
    },
    // Slashes, one's own mailboxes below INBOX.
    Namespace {
        options: options(true, false, false),
        user: "admin",
        reply: r#"NIL (("user/" "/")) (("" "/"))"#,
        names: &[
            ("user.bovik", "user/bovik"),
            ("user.bovik.work", "user/bovik/work"),
            ("user.fred", "user/fred"),
            ("user.fred.pub", "user/fred/pub"),
            ("bboard", "bboard"),
            ("bboard.a^b", "bboard/a.b"),
        ],
        new: ("user/fred/new.er", "user.fred.new^er"),
        none: &["INBOX", "user.bovik", "bboard/a^b"],
    },
    Namespace {
        options: options(true, false, false),
        user: "bovik",
        reply: r#"(("INBOX/" "/")) (("user/" "/")) (("" "/"))"#,
        names: &[
            ("user.bovik", "INBOX"),
            ("user.bovik.work", "INBOX/work"),
            ("user.fred.pub", "user/fred/pub"),
            ("bboard", "bboard"),
            ("bboard.a^b", "bboard/a.b"),
        ],
        new: ("INBOX/work/new.er", "user.bovik.work.new^er"),
        none: &["INBOX.work", "work", "bboard/a^b"],
    },
    Namespace {
        options: options(true, false, true),
        user: "admin",
        reply: r#"NIL (("user/" "/")) (("" "/"))"#,
        names: &[
            ("other.test!user.carol", "user/carol@other.test"),
            ("user.bovik", "user/bovik"),
            ("user.bovik.work", "user/bovik/work"),
            ("user.fred", "user/fred"),
            ("user.fred.pub", "user/fred/pub"),
            ("bboard", "bboard"),
            ("bboard.a^b", "bboard/a.b"),
            ("other.test!bboard", "bboard@other.test"),
        ],
        new: ("user/carol/new@other.test", "other.test!user.carol.new"),
        none: &["INBOX", "user/carol"],
    },
    Namespace {
        options: options(true, false, true),
        user: "bovik",
        reply: r#"(("INBOX/" "/")) (("user/" "/")) (("" "/"))"#,
        names: &[
            ("user.bovik", "INBOX"),
            ("user.bovik.work", "INBOX/work"),
            ("user.fred.pub", "user/fred/pub"),
            ("bboard", "bboard"),
            ("bboard.a^b", "bboard/a.b"),
        ],
        new: ("INBOX/work/new", "user.bovik.work.new"),
        none: &["bboard@other.test", "user/carol@other.test"],
    },
    // Slashes, one's own mailboxes beside INBOX: the defaults of Cyrus 3.6.
    Namespace {
        options: options(true, true, false),
        user: "admin",
        reply: r#"NIL (("user/" "/")) (("" "/"))"#,
        names: &[
            ("user.bovik", "user/bovik"),
            ("user.bovik.work", "user/bovik/work"),
            ("user.fred", "user/fred"),
            ("user.fred.pub", "user/fred/pub"),
            ("bboard", "bboard"),
            ("bboard.a^b", "bboard/a.b"),
        ],
        new: ("user/fred/new.er", "user.fred.new^er"),
        none: &["INBOX", "Other Users/bovik", "Shared Folders/bboard"],
    },
    Namespace {
        options: options(true, true, false),
        user: "bovik",
        reply: r#"(("" "/")) (("Other Users/" "/")) (("Shared Folders/" "/"))"#,
        names: &[
            ("user.bovik", "INBOX"),
            ("user.bovik.work", "work"),
            ("user.fred.pub", "Other Users/fred/pub"),
            ("bboard", "Shared Folders/bboard"),
            ("bboard.a^b", "Shared Folders/bboard/a.b"),
        ],
        new: ("work/new.er", "user.bovik.work.new^er"),
        none: &["INBOX/work", "user/fred/pub", "bboard", "Other Users"],
    },
    Namespace {
        options: options(true, true, true),
        user: "admin",
        reply: r#"NIL (("user/" "/")) (("" "/"))"#,
        names: &[
            ("other.test!user.carol", "user/carol@other.test"),
            ("user.bovik", "user/bovik"),
            ("user.bovik.work", "user/bovik/work"),
            ("user.fred", "user/fred"),
            ("user.fred.pub", "user/fred/pub"),
            ("bboard", "bboard"),
            ("bboard.a^b", "bboard/a.b"),
            ("other.test!bboard", "bboard@other.test"),
        ],
        new: ("bboard/new@other.test", "other.test!bboard.new"),
        none: &["INBOX", "user/carol", "bboard/team@other.test"],
    },
    Namespace {
        options: options(true, true, true),
        user: "bovik",
        reply: r#"(("" "/")) (("Other Users/" "/")) (("Shared Folders/" "/"))"#,
        names: &[
            ("user.bovik", "INBOX"),
            ("user.bovik.work", "work"),
            ("user.fred.pub", "Other Users/fred/pub"),
            ("bboard", "Shared Folders/bboard"),
            ("bboard.a^b", "Shared Folders/bboard/a.b"),
        ],
        new: ("work/new", "user.bovik.work.new"),
        none: &["Other Users/carol@other.test", "Shared Folders/bboard@other.test"],
    },
];

/// Makes the mailboxes of a configuration, unless the other of its two rows did.
fn prepare(row: &Row, options: Options) {
    let separator = match options.first() {
        Some((_, "no")) => '.',
        _ => '/',
    };
    let spelt = |internal: &str| match separator {
        '/' => internal.replace('.', "/").replace('^', "."),
        _ => internal.to_owned(),
    };
    let mut admin = row.admin();
    if !row.names().is_empty() {
        return;
    }
    for name in [
        "user.bovik",
        "user.bovik.work",
        "user.fred",
        "user.fred.pub",
        "bboard",
        "bboard.a^b",
    ] {
        admin.ok(&format!("CREATE {}", spelt(name)));
    }
    admin.ok(&format!("SETACL {} anyone lrs", spelt("user.fred.pub")));
    admin.ok(&format!("SETACL {} anyone lrsk", spelt("bboard")));
    if options.len() > 2 {
        admin.ok(&format!("CREATE {}@other.test", spelt("user.carol")));
        admin.ok("CREATE bboard@other.test");
    }
}

/// The unique id of a mailbox.
fn id_of(client: &mut Client<'_>, name: &str) -> String {
    client
        .raw(&format!("STATUS \"{name}\" (MAILBOXID)"))
        .swap_remove(0)
}

impl Namespace {
    fn holds(&self, row: &Row) {
        prepare(row, self.options);
        let mut client = row.login(self.user);
        assert_eq!(client.ok("NAMESPACE"), [format!("* NAMESPACE {}", self.reply)]);
        let shown: Vec<&str> = self.names.iter().map(|(_, client)| *client).collect();
        assert_eq!(client.list("*"), shown);
        let mut ids = std::collections::BTreeSet::new();
        for (internal, name) in self.names {
            let said = id_of(&mut client, name);
            // Administrators may look up everything and read nothing.
            let administers = self.user == "admin";
            assert!(
                administers || said.starts_with("* STATUS"),
                "{internal} as {name}: {said}"
            );
            let id = said.rsplit('(').next().unwrap_or_default().to_owned();
            assert!(administers || ids.insert(id), "{internal} as {name}: {said}");
        }
        for name in self.none {
            let listed = client.ok(&format!("LIST \"\" \"{name}\""));
            assert!(
                listed.iter().all(|line| line.contains("\\Noselect")),
                "{name}: {listed:?}"
            );
            assert!(
                client.no(&format!("EXAMINE \"{name}\"")).starts_with("NO"),
                "{name}"
            );
        }
        let (new, internal) = self.new;
        client.ok(&format!("CREATE \"{new}\""));
        assert!(
            row.names().contains(&internal.to_owned()),
            "{new}: {:?}",
            row.names()
        );
        assert_eq!(client.list(&format!("\"{new}\"")), [new]);
        if self.user == "admin" {
            client.ok(&format!("SETACL \"{new}\" admin x"));
        }
        client.ok(&format!("DELETE \"{new}\""));
    }
}

#[test]
fn s010_s018_s020_s032_all_sixteen_namespaces() {
    for namespace in &NAMESPACES {
        row("S900", namespace.options, |row| {
            eprintln!("{:?} as {}", namespace.options, namespace.user);
            namespace.holds(row);
        });
    }
}
