//! Who may be whom: realms, rights on an INBOX, proxies, administrators.

use super::wire::Wire;
use super::{b64, implementations, serve, serve_with, site};
use crate::rig::programs::Programs;
use crate::rig::server::{Start, free_port};

/// Whether PLAIN lets `who` in with the password `pass`, as `whom` if that is not empty.
fn plain(port: u16, whom: &str, who: &str) -> bool {
    let message = b64(format!("{whom}\0{who}\0pass"));
    let reply = Wire::connect(port).say(&format!("a AUTHENTICATE PLAIN {message}"));
    assert!(
        reply.contains("a OK") || reply.contains("a NO"),
        "{whom} {who}: {reply}"
    );
    reply.contains("a OK")
}

fn login(port: u16, who: &str) -> bool {
    Wire::connect(port)
        .say(&format!("a LOGIN {who} pass"))
        .contains("a OK")
}

#[test]
fn s088_users_of_the_local_realm_and_of_listed_realms_may_log_in() {
    let users = ["alice", "bob@other.example", "bob@evil.example"];
    for programs in implementations() {
        let name = programs.name;
        let listed = site(&[("loginrealms", "third.example other.example")], &users);
        let server = serve(&listed, &programs, &[]);
        for (who, may) in [
            ("alice", true),
            ("bob@other.example", true),
            ("bob@OTHER.EXAMPLE", true),
            ("bob@evil.example", false),
            ("bob", false),
        ] {
            assert_eq!(login(server.imap_port, who), may, "{name} LOGIN {who}");
            assert_eq!(plain(server.imap_port, "", who), may, "{name} PLAIN {who}");
        }
        if name == "ours" {
            // Cyrus takes the server's own name for a foreign realm.
            assert!(login(server.imap_port, "alice@localhost"), "{name}");
        }
        drop(server);
        let none = site(&[], &users);
        let server = serve(&none, &programs, &[]);
        assert!(!login(server.imap_port, "bob@other.example"), "{name}");
        drop(server);
        // With virtual domains a list is still a list, and without one every domain is a realm of its own.
        let domains = site(&[("virtdomains", "userid")], &users);
        let server = serve(&domains, &programs, &[]);
        assert!(login(server.imap_port, "bob@evil.example"), "{name}");
        drop(server);
        domains.configure("loginrealms: other.example\n");
        let server = serve(&domains, &programs, &[]);
        assert!(login(server.imap_port, "bob@other.example"), "{name}");
        assert!(!login(server.imap_port, "bob@evil.example"), "{name}");
    }
}

#[test]
fn s090_who_administers_an_inbox_may_log_in_as_its_owner_where_that_is_allowed() {
    for programs in implementations() {
        let name = programs.name;
        for allowed in [false, true] {
            let value = if allowed { "yes" } else { "no" };
            let site = site(&[("loginuseacl", value)], &["alice", "fred", "greg"]);
            let server = serve(&site, &programs, &["alice", "fred", "greg"]);
            let mut admin = Wire::connect(server.imap_port);
            admin.say("a LOGIN admin pass");
            for (who, rights) in [("fred", "lra"), ("greg", "lrswipkxte")] {
                let reply = admin.say(&format!("s SETACL user/alice {who} {rights}"));
                assert!(reply.contains("s OK"), "{reply}");
            }
            assert_eq!(plain(server.imap_port, "alice", "fred"), allowed, "{name}");
            assert!(!plain(server.imap_port, "alice", "greg"), "{name}");
            assert!(!plain(server.imap_port, "greg", "fred"), "{name}");
            assert!(!plain(server.imap_port, "nobody", "fred"), "{name}");
            assert!(plain(server.imap_port, "fred", "fred"), "{name}");
        }
    }
}

#[test]
fn proxyservers_and_admins_may_act_for_everybody_and_users_for_nobody() {
    for programs in implementations() {
        let name = programs.name;
        let site = site(
            &[("proxyservers", "front"), ("admins", "admin")],
            &["alice", "fred", "front"],
        );
        let server = serve(&site, &programs, &["alice"]);
        for (who, may) in [("front", true), ("admin", true), ("fred", false)] {
            assert_eq!(plain(server.imap_port, "alice", who), may, "{name} {who}");
        }
        // Whoever acts as another has that one's rights, not his own.
        let mut front = Wire::connect(server.imap_port);
        let reply = front.say(&format!("a AUTHENTICATE PLAIN {}", b64("alice\0admin\0pass")));
        assert!(reply.contains("a OK"), "{name}: {reply}");
        let reply = front.say("b SETQUOTA INBOX (STORAGE 1)");
        assert!(reply.contains("b NO"), "{name}: {reply}");
        let reply = front.say("c LIST \"\" *");
        assert!(
            reply.contains("INBOX") && !reply.contains("user/"),
            "{name}: {reply}"
        );
    }
}

#[test]
fn s092_admins_are_listed_with_spaces_and_a_service_may_have_its_own() {
    for programs in implementations() {
        let name = programs.name;
        let service = format!("{name}imap_admins");
        for (options, admin, other) in [
            (vec![("admins", "alice admin")], "alice", "fred"),
            (
                vec![("admins", "alice admin"), (service.as_str(), "fred")],
                "fred",
                "alice",
            ),
        ] {
            let site = site(&options, &["alice", "fred"]);
            let server = serve(&site, &programs, &[]);
            for (who, may) in [(admin, "b OK"), (other, "b NO")] {
                let mut wire = Wire::connect(server.imap_port);
                wire.say(&format!("a LOGIN {who} pass"));
                let reply = wire.say(&format!("b CREATE user/new{who}"));
                assert!(reply.contains(may), "{name} {who}: {reply}");
            }
        }
    }
}

#[test]
fn user_names_are_lower_case_unless_the_site_says_otherwise() {
    for programs in implementations() {
        let name = programs.name;
        for (value, may) in [("yes", true), ("no", false)] {
            let site = site(&[("username_tolower", value)], &["alice"]);
            let server = serve(&site, &programs, &[]);
            assert_eq!(login(server.imap_port, "Alice"), may, "{name} {value}");
            assert!(login(server.imap_port, "alice"), "{name} {value}");
        }
    }
}

#[test]
fn s080_imap_and_lmtp_ask_the_same_layer() {
    for programs in implementations() {
        let name = programs.name;
        let site = site(&[("lmtp_admins", "postman")], &["alice", "postman"]);
        let lmtp = free_port();
        let server = serve_with(
            &site,
            &programs,
            &["alice"],
            Start {
                lmtp: Some(lmtp),
                ..Start::default()
            },
        );
        assert!(login(server.imap_port, "alice"), "{name}");
        assert!(plain(server.imap_port, "", "alice"), "{name}");
        let mut wire = Wire::connect(lmtp);
        let reply = wire.say("LHLO there");
        assert!(
            reply.contains("AUTH ") && reply.contains("PLAIN"),
            "{name}: {reply}"
        );
        let refused = wire.say("MAIL FROM:<a@b>");
        assert!(
            refused.starts_with("430") || refused.starts_with("530"),
            "{name}: {refused}"
        );
        let reply = wire.say(&format!("AUTH PLAIN {}", b64("\0postman\0wrong")));
        assert!(reply.starts_with("501"), "{name}: {reply}");
        let reply = wire.say(&format!("AUTH PLAIN {}", b64("\0postman\0pass")));
        // The service's own name decides whose admins count.
        let own = format!("{name}lmtptcp_admins: postman\n");
        if reply.starts_with("235") {
            continue;
        }
        assert!(reply.starts_with("501"), "{name}: {reply}");
        drop(server);
        site.configure(&own);
        let lmtp = free_port();
        let server = serve_with(
            &site,
            &programs,
            &[],
            Start {
                lmtp: Some(lmtp),
                ..Start::default()
            },
        );
        let mut wire = Wire::connect(lmtp);
        wire.say("LHLO there");
        let reply = wire.say(&format!("AUTH PLAIN {}", b64("\0postman\0pass")));
        assert!(reply.starts_with("235"), "{name}: {reply}");
        let reply = wire.say("MAIL FROM:<a@b>");
        assert!(reply.starts_with("250"), "{name}: {reply}");
        let mut stranger = Wire::connect(lmtp);
        stranger.say("LHLO there");
        let reply = stranger.say(&format!("AUTH PLAIN {}", b64("\0postman\0wrong")));
        assert!(reply.starts_with("501"), "{name}: {reply}");
        if name == "ours" {
            let log = server.log();
            let failed = "[127.0.0.1] PLAIN (postman) [SASL(-13): authentication failure: ";
            assert!(log.contains("badlogin: ") && log.contains(failed), "{log}");
            assert!(log.contains("[127.0.0.1] postman PLAIN User logged in"), "{log}");
        }
    }
}

#[test]
fn maxlogins_count_users_and_hosts() {
    for programs in implementations() {
        let name = programs.name;
        let site = site(&[("maxlogins_per_user", "2")], &["alice", "fred"]);
        let server = serve(&site, &programs, &[]);
        let mut inside = Vec::new();
        for _ in 0..2 {
            let mut wire = Wire::connect(server.imap_port);
            assert!(wire.say("a LOGIN alice pass").contains("a OK"), "{name}");
            inside.push(wire);
        }
        // Who is in is noted a moment later.
        std::thread::sleep(std::time::Duration::from_millis(200));
        let reply = Wire::connect(server.imap_port).say("a LOGIN alice pass");
        assert!(
            reply.contains("a NO") && reply.contains("open connections"),
            "{name}: {reply}"
        );
        assert!(login(server.imap_port, "fred"), "{name}");
    }
}

#[test]
fn a_group_may_be_trusted_as_a_whole() {
    // The user that the tests run as is in the file of groups on every system.
    let Some(programs) = Programs::ours() else { return };
    let site = site(
        &[("proxyservers", "group:daemon"), ("unix_group_enable", "yes")],
        &["alice", "daemon", "fred"],
    );
    let server = serve(&site, &programs, &["alice"]);
    assert!(plain(server.imap_port, "alice", "daemon"));
    assert!(!plain(server.imap_port, "alice", "fred"));
}
