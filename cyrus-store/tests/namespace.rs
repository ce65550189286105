//! The names of mailboxes in every namespace, compared with what Cyrus 3.6.1 answered.

use std::collections::BTreeSet;

use cyrus_store::{MailboxName, NameError, Namespace, Separator, VirtualDomains};
use proptest::prelude::*;

const GOLDEN: &str = include_str!("golden/namespace-3.6.1.txt");

/// One user of one configuration.
struct Case {
    namespace: Namespace,
    user: String,
}

impl Case {
    /// The fields of a `config` line.
    fn parse(fields: &[&str]) -> Self {
        let &[separator, layout, virtdomains, user] = fields else {
            panic!("bad config line {fields:?}")
        };
        let namespace = Namespace {
            separator: if separator == "/" {
                Separator::Slash
            } else {
                Separator::Dot
            },
            altnamespace: layout == "alt",
            virtdomains: if virtdomains == "userid" {
                VirtualDomains::On
            } else {
                VirtualDomains::Off
            },
            defaultdomain: (virtdomains == "userid").then(|| "example.test".into()),
            ..Namespace::default()
        };
        Self {
            namespace,
            user: user.into(),
        }
    }

    fn admin(&self) -> bool {
        self.user.starts_with("admin")
    }

    fn to_internal(&self, client: &str) -> Result<MailboxName, NameError> {
        self.namespace.to_internal(client, Some(&self.user), self.admin())
    }

    fn to_client(&self, name: &MailboxName) -> String {
        self.namespace.to_client(name, Some(&self.user), self.admin())
    }
}

/// Calls `each` for every line that belongs to a configuration, with its mark and its two fields.
fn for_each_line(mut each: impl FnMut(&Case, char, &str, &str)) {
    let mut case = None;
    for line in GOLDEN.lines().filter(|line| !line.starts_with(['#', 'm'])) {
        let fields: Vec<&str> = line.split('\t').collect();
        if let [head, rest @ ..] = fields.as_slice()
            && *head == "config"
        {
            case = Some(Case::parse(rest));
            continue;
        }
        let case = case.as_ref().expect("a config line comes first");
        let (mark, text) = line.split_at(2);
        let (first, second) = text.split_once('\t').unwrap_or((text, ""));
        each(
            case,
            mark.chars().next().expect("split_at gave two bytes"),
            first,
            second,
        );
    }
}

fn mailboxes() -> BTreeSet<MailboxName> {
    GOLDEN
        .lines()
        .filter_map(|line| line.strip_prefix("mailbox\t"))
        .map(|name| MailboxName::parse(name).expect("the golden file has internal names"))
        .collect()
}

#[test]
fn s018_s019_s020_s032_s033_each_name_means_the_mailbox_that_it_means_to_cyrus() {
    let mailboxes = mailboxes();
    let mut asked = 0;
    for_each_line(|case, mark, client, internal| {
        if mark != '>' {
            return;
        }
        asked += 1;
        let config = &case.namespace;
        let found = case.to_internal(client).ok();
        let found = found.filter(|name| config.in_reach(name, Some(&case.user), case.admin()));
        let found = found.filter(|name| mailboxes.contains(name));
        let found = found.as_ref().map_or("-", MailboxName::as_str);
        assert_eq!(found, internal, "{client:?} for {} with {config:?}", case.user);
    });
    assert!(asked > 3000, "{asked}");
}

#[test]
fn s021_s027_s034_s035_each_mailbox_is_shown_under_the_name_that_cyrus_shows() {
    let mut asked = 0;
    for_each_line(|case, mark, internal, client| {
        if mark != '<' {
            return;
        }
        asked += 1;
        let name = MailboxName::parse(internal).unwrap();
        assert!(
            case.namespace.in_reach(&name, Some(&case.user), case.admin()),
            "{name} for {}",
            case.user
        );
        assert_eq!(
            case.to_client(&name),
            client,
            "{name} for {} with {:?}",
            case.user,
            case.namespace
        );
    });
    assert!(asked > 500, "{asked}");
}

#[test]
fn each_shown_name_leads_back_to_its_mailbox_and_is_found_where_it_is_looked_for() {
    let mailboxes = mailboxes();
    for_each_line(|case, mark, _, _| {
        if mark != '=' {
            return;
        }
        let (config, user) = (&case.namespace, Some(case.user.as_str()));
        for name in mailboxes
            .iter()
            .filter(|name| config.in_reach(name, user, case.admin()))
        {
            let shown = case.to_client(name);
            assert_eq!(
                case.to_internal(&shown).as_ref(),
                Ok(name),
                "{shown} for {} with {config:?}",
                case.user
            );
            let dbname = name.to_dbname();
            for end in 0..=shown.len() {
                let prefixes = config.scan_prefixes(&shown[..end], user, case.admin());
                assert!(
                    prefixes.iter().any(|prefix| dbname.starts_with(prefix.as_str())),
                    "{name}, shown as {shown}, is not below {prefixes:?} for {:?}",
                    &shown[..end]
                );
            }
        }
    });
}

#[test]
fn s010_s031_the_namespace_reply_is_that_of_cyrus() {
    for_each_line(|case, mark, reply, _| {
        if mark != '=' {
            return;
        }
        let classes = case
            .namespace
            .namespace_response(case.user != "fred", case.admin());
        let class = |prefix: Option<String>| match prefix {
            Some(prefix) => format!("((\"{prefix}\" \"{}\"))", classes.separator),
            None => "NIL".into(),
        };
        let shown = [
            classes.personal.clone(),
            classes.other.clone(),
            classes.shared.clone(),
        ]
        .map(class)
        .join(" ");
        assert_eq!(shown, reply.trim(), "{} with {:?}", case.user, case.namespace);
    });
}

/// An administrator of a domain, asked of Cyrus 3.6.1 as `admin@other.test`: names without a domain are in his.
#[test]
fn an_administrator_of_a_domain_means_his_own_domain() {
    let namespace = Namespace {
        virtdomains: VirtualDomains::On,
        defaultdomain: Some("example.test".into()),
        ..Namespace::default()
    };
    let user = Some("admin@other.test");
    for (client, internal) in [
        ("user/bovik", "other.test!user.bovik"),
        ("user/bovik@other.test", "other.test!user.bovik"),
        ("shared@other.test", "other.test!shared"),
        ("user/bovik@example.test", "user.bovik"),
        ("shared@foo.test", "foo.test!shared"),
        ("user/jo.smith", "other.test!user.jo^smith"),
        ("INBOX", "other.test!user.admin"),
    ] {
        let name = namespace.to_internal(client, user, true).unwrap();
        assert_eq!(name.as_str(), internal, "{client}");
        assert_eq!(
            namespace.to_internal(&namespace.to_client(&name, user, true), user, true),
            Ok(name)
        );
    }
    let bovik = MailboxName::parse("other.test!user.bovik").unwrap();
    assert_eq!(namespace.to_client(&bovik, user, true), "user/bovik@other.test");
}

/// Names that Cyrus 3.6.1 created, and the mailboxes that it made, for administrators and for bovik; `-` for
/// `NO Invalid mailbox name`.
#[test]
fn s012_s013_s014_s016_names_to_create() {
    let slash = Namespace::default();
    let dot = Namespace {
        separator: Separator::Dot,
        ..Namespace::default()
    };
    let standard = Namespace {
        altnamespace: false,
        ..Namespace::default()
    };
    for (namespace, user, client, internal) in [
        (&slash, "admin", "", "-"),
        (&slash, "admin", "/", "-"),
        (&slash, "admin", "ox2/", "ox2"),
        (&slash, "admin", ".ox4", "^ox4"),
        (&slash, "admin", "ox5..y", "ox5^^y"),
        (&slash, "admin", "@other.test", "@other^test"),
        (&slash, "admin", "user", "-"),
        (&slash, "admin", "user/zed", "user.zed"),
        (&slash, "admin", "user/anyone", "-"),
        (&slash, "admin", "user/anonymous", "-"),
        (&slash, "admin", "$x", "-"),
        (&slash, "admin", "user/$x", "user.$x"),
        (&slash, "admin", "user/%", "-"),
        (&slash, "admin", "DELETED", "-"),
        (&slash, "admin", "DELETED/x", "-"),
        (&slash, "admin", "~q", "-"),
        (&slash, "admin", "x/~q", "x.~q"),
        (&slash, "admin", "INBOX/~q", "user.admin.~q"),
        (&slash, "admin", "x^y", "-"),
        (&slash, "admin", "ab!c", "-"),
        (&slash, "admin", "user/INBOX", "user.INBOX"),
        (&dot, "admin", ".", "-"),
        (&dot, "admin", "ox6.", "ox6"),
        (&slash, "bovik", "we@ird", "user.bovik.we@ird"),
        (&slash, "bovik", "Other Users", "-"),
        (&slash, "bovik", "Other Users/", "-"),
        (&slash, "bovik", "Shared Folders", "-"),
        (&slash, "bovik", "user", "user.bovik.user"),
        (&slash, "bovik", "user/anyone", "user.bovik.user.anyone"),
        (&slash, "bovik", "$x", "user.bovik.$x"),
        (&slash, "bovik", "~q", "user.bovik.~q"),
        (&slash, "bovik", "DELETED", "user.bovik.DELETED"),
        (&slash, "bovik", "INBOX/z", "user.bovik.INBOX.z"),
        (&slash, "bovik", "a%b", "-"),
        (&slash, "bovik", "*", "user.bovik.*"),
        (&slash, "bovik", "user.zed.x", "user.bovik.user^zed^x"),
        (&dot, "bovik", "x^y", "user.bovik.x^y"),
        (&dot, "bovik", "@other.test", "user.bovik.@other.test"),
        (&standard, "bovik", "INBOX/z", "user.bovik.z"),
        (&standard, "bovik", "user", "-"),
        (&standard, "bovik", "~q", "-"),
        (&standard, "bovik", "x/$y", "x.$y"),
    ] {
        let name = namespace.to_internal_new(client, Some(user), user == "admin", "DELETED");
        assert_eq!(
            name.as_ref().map_or("-", MailboxName::as_str),
            internal,
            "{client} by {user}: {name:?}"
        );
    }
}

/// Where Cyrus 3.6.1 leaves empty components out, creating is refused, and only looking up is as tolerant.
#[test]
fn s012_s014_an_empty_component_is_refused_in_a_new_name_only() {
    let dot = Namespace {
        separator: Separator::Dot,
        ..Namespace::default()
    };
    for (client, at) in [(".x", 0), ("a..b", 2), ("a..", 2)] {
        let error = dot
            .to_internal_new(client, Some("bovik"), false, "DELETED")
            .unwrap_err();
        assert_eq!(error, NameError::EmptyComponent { at }, "{client}");
    }
    assert_eq!(
        dot.to_internal("a..b.", Some("bovik"), false).unwrap().as_str(),
        "user.bovik.a.b"
    );
}

#[test]
fn s025_a_dotted_userid_is_a_full_user_with_slashes_only() {
    let inbox = MailboxName::parse("user.jo^smith").unwrap();
    let slash = Namespace::default();
    let dot = Namespace {
        separator: Separator::Dot,
        ..Namespace::default()
    };
    assert_eq!(slash.to_client(&inbox, Some("jo.smith"), false), "INBOX");
    assert_eq!(
        dot.to_client(&inbox, Some("jo.smith"), false),
        "Other Users.jo^smith"
    );
    let deeper = dot.to_internal("user.jo.smith", Some("admin"), true).unwrap();
    assert_eq!(deeper.owner().as_deref(), Some("jo"));
}

#[test]
fn s022_the_inbox_of_a_userid_depends_on_whether_userids_have_domains() {
    let plain = Namespace::default();
    let domains = Namespace {
        virtdomains: VirtualDomains::On,
        defaultdomain: Some("example.test".into()),
        ..Namespace::default()
    };
    for (namespace, userid, inbox) in [
        (&plain, "jo.smith", "user.jo^smith"),
        (&plain, "a@b.test", "user.a@b^test"),
        (&domains, "a@b.test", "b.test!user.a"),
        (&domains, "a@example.test", "user.a"),
    ] {
        assert_eq!(namespace.inbox(userid).unwrap().as_str(), inbox, "{userid}");
        assert_eq!(
            namespace.to_internal("INBOX", Some(userid), false),
            namespace.inbox(userid)
        );
    }
}

#[test]
fn tools_that_act_for_nobody_use_the_names_of_administrators() {
    let slash = Namespace::default();
    let name = slash.to_internal("user/jo.smith/x", None, true).unwrap();
    assert_eq!(name.as_str(), "user.jo^smith.x");
    assert_eq!(slash.to_client(&name, None, true), "user/jo.smith/x");
}

#[test]
fn s033_prefixes_are_as_configured_with_or_without_a_separator_at_the_end() {
    let namespace = Namespace {
        userprefix: "People/".into(),
        sharedprefix: "Public".into(),
        ..Namespace::default()
    };
    for (internal, client) in [("user.fred.x", "People/fred/x"), ("team", "Public/team")] {
        let name = namespace.to_internal(client, Some("bovik"), false).unwrap();
        assert_eq!(name.as_str(), internal);
        assert_eq!(namespace.to_client(&name, Some("bovik"), false), client);
    }
    let classes = namespace.namespace_response(true, false);
    assert_eq!(
        (classes.other.as_deref(), classes.shared.as_deref()),
        (Some("People/"), Some("Public/"))
    );
}

#[test]
fn the_default_domain_is_left_out_at_login() {
    let namespace = Namespace {
        virtdomains: VirtualDomains::On,
        defaultdomain: Some("example.test".into()),
        ..Namespace::default()
    };
    assert_eq!(namespace.login_userid("bovik@example.test"), "bovik");
    assert_eq!(namespace.login_userid("bovik@other.test"), "bovik@other.test");
    assert_eq!(
        Namespace::default().login_userid("bovik@example.test"),
        "bovik@example.test"
    );
}

proptest! {
    #[test]
    fn whatever_a_client_types_is_refused_or_shown_under_a_name_that_means_the_same(
        client in "(INBOX|inbox|user|Other Users|Shared Folders|Alt Folders|[a-cA-C.^@&/ -]{1,6}|.)([/.][a-cIN@.^-]{1,5}){0,3}",
        dots: bool,
        altnamespace: bool,
        domains: bool,
        admin: bool,
    ) {
        let namespace = Namespace {
            separator: if dots { Separator::Dot } else { Separator::Slash },
            altnamespace,
            virtdomains: if domains { VirtualDomains::On } else { VirtualDomains::Off },
            ..Namespace::default()
        };
        let user = Some("bovik");
        if let Ok(name) = namespace.to_internal(&client, user, admin) {
            let shown = namespace.to_client(&name, user, admin);
            prop_assert_eq!(namespace.to_internal(&shown, user, admin), Ok(name), "{} for {}", shown, client);
        }
    }
}
