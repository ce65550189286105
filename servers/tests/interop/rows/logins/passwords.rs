//! Anonymous and plaintext logins.

use super::wire::{Wire, tls};
use super::{b64, implementations, serve, serve_with, site};
use crate::rig::server::Start;

#[test]
fn s081_anonymous_logins_are_off_until_they_are_allowed() {
    for programs in implementations() {
        let name = programs.name;
        let off = site(&[("sasl_mech_list", "PLAIN ANONYMOUS")], &[]);
        let server = serve(&off, &programs, &[]);
        let mut wire = Wire::connect(server.imap_port);
        assert!(!wire.greeting.contains("ANONYMOUS"), "{name}: {}", wire.greeting);
        let reply = wire.say("a LOGIN anonymous x");
        assert_eq!(reply, "a NO Anonymous login is not permitted\n", "{name}");
        let reply = wire.say(&format!("b AUTHENTICATE ANONYMOUS {}", b64("me@here")));
        assert!(reply.contains("b NO"), "{name}: {reply}");
        drop(server);
        let on = site(
            &[
                ("sasl_mech_list", "PLAIN ANONYMOUS"),
                ("allowanonymouslogin", "yes"),
                // Passwords need TLS; whoever has none needs none.
                ("allowplaintext", "no"),
            ],
            &[],
        );
        let server = serve(&on, &programs, &[]);
        let mut wire = Wire::connect(server.imap_port);
        let list = wire.say("c CAPABILITY");
        assert!(list.contains("AUTH=ANONYMOUS"), "{name}: {list}");
        let reply = wire.say("a LOGIN Anonymous any-password");
        assert!(reply.contains("a OK"), "{name}: {reply}");
        let mut wire = Wire::connect(server.imap_port);
        let reply = wire.say(&format!("b AUTHENTICATE ANONYMOUS {}", b64("me@here")));
        assert!(reply.contains("b OK"), "{name}: {reply}");
        // An anonymous user has no INBOX and administers nothing.
        let reply = wire.say("d CREATE user/x");
        assert!(reply.contains("d NO"), "{name}: {reply}");
    }
}

#[test]
fn s082_passwords_go_under_tls_by_login_and_by_plain() {
    for programs in implementations() {
        let name = programs.name;
        let site = site(&[("allowplaintext", "no")], &["alice"]);
        site.enable_tls();
        let server = serve_with(
            &site,
            &programs,
            &[],
            Start {
                tls: true,
                ..Start::default()
            },
        );
        let started = || Wire::connect(server.imap_port).start_tls("t STARTTLS", tls());
        let implicit = || Wire::secure(server.imaps_port, "localhost", tls()).expect("implicit TLS");
        for (how, connect) in [
            ("STARTTLS", &started as &dyn Fn() -> Wire),
            ("implicit", &implicit),
        ] {
            let reply = connect().say("a LOGIN alice pass");
            assert!(reply.contains("a OK"), "{name} {how}: {reply}");
            let reply = connect().say(&format!("a AUTHENTICATE PLAIN {}", b64("\0alice\0pass")));
            assert!(reply.contains("a OK"), "{name} {how}: {reply}");
            assert!(
                reply.contains("Success (tls protection)"),
                "{name} {how}: {reply}"
            );
            let mut wire = connect();
            assert_eq!(
                wire.say("a AUTHENTICATE LOGIN"),
                "+ VXNlcm5hbWU6\n",
                "{name} {how}"
            );
            assert_eq!(wire.say(&b64("alice")), "+ UGFzc3dvcmQ6\n", "{name} {how}");
            wire.send(&format!("{}\r\n", b64("pass")));
            let reply = wire.hear("a");
            assert!(reply.contains("a OK"), "{name} {how}: {reply}");
        }
    }
}

#[test]
fn s085_without_allowplaintext_passwords_need_tls() {
    for programs in implementations() {
        let name = programs.name;
        let site = site(
            &[
                ("allowplaintext", "no"),
                ("sasl_mech_list", "PLAIN LOGIN SCRAM-SHA-256"),
            ],
            &["alice"],
        );
        site.enable_tls();
        let server = serve(&site, &programs, &[]);
        let mut wire = Wire::connect(server.imap_port);
        for list in [wire.greeting.clone(), wire.say("c CAPABILITY")] {
            assert!(list.contains("LOGINDISABLED"), "{name}: {list}");
            assert!(
                !list.contains("AUTH=PLAIN") && !list.contains("AUTH=LOGIN"),
                "{name}: {list}"
            );
            assert!(list.contains("AUTH=SCRAM-SHA-256"), "{name}: {list}");
        }
        let reply = wire.say("a LOGIN alice pass");
        assert_eq!(reply, "a NO Login only available under a layer\n", "{name}");
        let reply = wire.say(&format!("b AUTHENTICATE PLAIN {}", b64("\0alice\0pass")));
        assert!(reply.contains("b NO"), "{name}: {reply}");
        let mut wire = wire.start_tls("t STARTTLS", tls());
        let list = wire.say("c CAPABILITY");
        assert!(
            !list.contains("LOGINDISABLED") && list.contains("AUTH=PLAIN"),
            "{name}: {list}"
        );
        let reply = wire.say(&format!("b AUTHENTICATE PLAIN {}", b64("\0alice\0pass")));
        assert!(reply.contains("b OK"), "{name}: {reply}");
        drop(server);
        // With tls_required nothing at all goes before TLS.
        site.configure("tls_required: yes\n");
        let server = serve(&site, &programs, &[]);
        let mut wire = Wire::connect(server.imap_port);
        let list = wire.say("c CAPABILITY");
        assert!(
            list.contains("LOGINDISABLED") && !list.contains(" AUTH="),
            "{name}: {list}"
        );
        let reply = wire.say("b AUTHENTICATE SCRAM-SHA-256");
        assert!(reply.contains("b NO"), "{name}: {reply}");
    }
}

#[test]
fn s086_kerberos_4_is_gone_and_its_settings_say_so() {
    for programs in implementations() {
        let name = programs.name;
        let site = site(
            &[("srvtab", "/etc/srvtab"), ("sasl_mech_list", "PLAIN KERBEROS_V4")],
            &["alice"],
        );
        let server = serve(&site, &programs, &[]);
        let mut wire = Wire::connect(server.imap_port);
        let list = wire.say("c CAPABILITY");
        assert!(
            list.contains("AUTH=PLAIN") && !list.contains("KERBEROS"),
            "{name}: {list}"
        );
        let reply = wire.say("a AUTHENTICATE KERBEROS_V4");
        assert!(reply.contains("a NO"), "{name}: {reply}");
        if name == "ours" {
            let log = server.log();
            assert!(
                log.contains("sasl_keytab names the keytab of its successor, GSSAPI"),
                "{log}"
            );
            assert!(
                log.contains("KERBEROS_V4 cannot be used: Kerberos 4 is no more"),
                "{log}"
            );
            assert!(
                log.contains("oursimap: logins by PLAIN; passwords are verified by auxprop"),
                "{log}"
            );
        }
    }
}

#[test]
fn a_minimum_layer_keeps_those_out_who_have_none() {
    for programs in implementations() {
        let name = programs.name;
        let site = site(
            &[
                ("sasl_minimum_layer", "56"),
                ("sasl_mech_list", "PLAIN LOGIN SCRAM-SHA-256"),
            ],
            &["alice"],
        );
        site.enable_tls();
        let server = serve(&site, &programs, &[]);
        let mut wire = Wire::connect(server.imap_port);
        let list = wire.say("c CAPABILITY");
        assert!(!list.contains(" AUTH="), "{name}: {list}");
        let reply = wire.say(&format!("b AUTHENTICATE PLAIN {}", b64("\0alice\0pass")));
        assert!(reply.contains("b NO"), "{name}: {reply}");
        let mut wire = wire.start_tls("t STARTTLS", tls());
        let reply = wire.say(&format!("b AUTHENTICATE PLAIN {}", b64("\0alice\0pass")));
        assert!(reply.contains("b OK"), "{name}: {reply}");
    }
}

#[test]
fn plaintext_logins_are_made_to_wait_and_warned_where_the_site_wants_it() {
    for programs in implementations() {
        let name = programs.name;
        let site = site(
            &[
                ("plaintextloginpause", "1s"),
                ("plaintextloginalert", "use TLS, please"),
            ],
            &["alice"],
        );
        let server = serve(&site, &programs, &[]);
        let begin = std::time::Instant::now();
        let mut wire = Wire::connect(server.imap_port);
        let reply = wire.say("a LOGIN alice pass");
        assert!(reply.contains("a OK"), "{name}: {reply}");
        let took = begin.elapsed();
        assert!(took.as_millis() >= 990, "{name}: {took:?}");
        // Cyrus warns behind its answer, which is seen with the next one.
        let told = reply + &wire.say("b NOOP");
        assert!(told.contains("[ALERT] use TLS, please"), "{name}: {told}");
    }
}
