//! Logins that fail: what is said, what is logged, and the patience with those who guess.

use std::process::Command;
use std::time::{Duration, Instant};

use super::wire::Wire;
use super::{b64, implementations, serve, site};
use crate::rig::programs::{Programs, both, has_client};
use crate::rig::site::Site;

#[test]
fn s093_a_failed_login_is_answered_late_and_without_saying_what_was_wrong() {
    for programs in implementations() {
        let name = programs.name;
        let site = site(&[("failedloginpause", "1s")], &["alice"]);
        let server = serve(&site, &programs, &[]);
        for (command, answer) in [
            ("LOGIN alice wrong", "a NO Login failed: authentication failure\n"),
            (
                "LOGIN nobody wrong",
                "a NO Login failed: authentication failure\n",
            ),
            (
                &format!("AUTHENTICATE PLAIN {}", b64("\0alice\0wrong")),
                "a NO authentication failure\n",
            ),
            (
                &format!("AUTHENTICATE PLAIN {}", b64("\0nobody\0wrong")),
                "a NO authentication failure\n",
            ),
            ("AUTHENTICATE FROB", "a NO no mechanism available\n"),
        ] {
            let mut wire = Wire::connect(server.imap_port);
            let begin = Instant::now();
            let reply = wire.say(&format!("a {command}"));
            assert_eq!(reply, answer, "{name}");
            assert!(begin.elapsed() >= Duration::from_millis(990), "{name} {command}");
            // The same connection may try again.
            let reply = wire.say("b LOGIN alice pass");
            assert!(reply.contains("b OK"), "{name}: {reply}");
        }
    }
}

/// The lines of the log about failures, as syslog would have written them.
fn failures(log: &str) -> Vec<String> {
    log.lines()
        .filter_map(|line| {
            let (ident, said) = line.split_once(": ")?;
            let said = said.trim_start_matches("notice: ");
            said.starts_with("badlogin: ")
                .then(|| format!("Nov 25 01:02:03 mail {ident}: {said}"))
        })
        .collect()
}

#[test]
fn s093_each_failure_is_one_line_that_the_filter_of_fail2ban_knows() {
    let Some(programs) = Programs::ours() else { return };
    if !has_client("fail2ban-regex") {
        return;
    }
    let site = site(&[], &["alice"]);
    // fail2ban knows the daemon by the name that syslog has: cyrus/imap.
    site.configure("syslog_prefix: cyrus\n");
    let server = serve(&site, &programs, &[]);
    let mut wire = Wire::connect(server.imap_port);
    let plain = b64("\0alice\0wrong");
    let proxy = b64("admin\0alice\0pass");
    for command in [
        "LOGIN alice wrong",
        "LOGIN nobody wrong",
        "LOGIN {11+}\r\nx) [SASL\r\ny wrong",
        &format!("AUTHENTICATE PLAIN {plain}"),
        &format!("AUTHENTICATE PLAIN {proxy}"),
    ] {
        let reply = wire.say(&format!("a {command}"));
        assert!(reply.contains("a NO"), "{command}: {reply}");
    }
    let log = server.log();
    let lines = failures(&log);
    assert_eq!(lines.len(), 5, "{log}");
    for (line, part) in lines.iter().zip([
        "[127.0.0.1] plaintext (alice) [SASL(-13): authentication failure: ",
        "[127.0.0.1] plaintext (nobody) [SASL(-13): ",
        "[127.0.0.1] plaintext (x? ?SASL??y) [SASL(-13): ",
        "[127.0.0.1] PLAIN (alice) [SASL(-13): authentication failure: ",
        "[127.0.0.1] PLAIN (alice) [SASL(-14): authorization failure: ",
    ]) {
        assert!(line.contains(part), "{line}\n{part}");
    }
    let path = site.root().join("mail.log");
    // The service is called oursimap here, and imap everywhere else.
    std::fs::write(&path, lines.join("\n").replace("/oursimap", "/imap") + "\n").unwrap();
    let output = Command::new("fail2ban-regex")
        .arg(&path)
        .arg("cyrus-imap")
        .output()
        .expect("fail2ban-regex");
    let said = both(&output);
    // What was right but not allowed is no guess.
    assert!(said.contains("4 matched, 1 missed"), "{said}");
}

fn backoff_site() -> Site {
    site(
        &[
            ("failedlogin_limit_per_user", "3"),
            ("failedlogin_limit_per_host", "5"),
            ("failedlogin_longest_wait", "2s"),
        ],
        &["alice", "bob"],
    )
}

#[test]
fn who_guesses_is_made_to_wait_and_who_waits_gets_in() {
    let Some(programs) = Programs::ours() else { return };
    let site = backoff_site();
    let server = serve(&site, &programs, &[]);
    let mut wire = Wire::connect(server.imap_port);
    for _ in 0..3 {
        assert!(
            wire.say("a LOGIN alice wrong")
                .contains("a NO Login failed: authentication failure")
        );
    }
    let reply = Wire::connect(server.imap_port).say("a LOGIN alice pass");
    let refused = "a NO [UNAVAILABLE] Login failed: too many failed logins; try again later\n";
    assert_eq!(reply, refused);
    // The name is what counts, whatever the mechanism; and others are let in.
    let reply = wire.say(&format!("a AUTHENTICATE PLAIN {}", b64("\0alice\0pass")));
    assert!(
        reply.starts_with("a NO [UNAVAILABLE] too many failed logins"),
        "{reply}"
    );
    assert!(
        Wire::connect(server.imap_port)
            .say("a LOGIN bob pass")
            .contains("a OK")
    );
    std::thread::sleep(Duration::from_millis(2200));
    assert!(
        Wire::connect(server.imap_port)
            .say("a LOGIN alice pass")
            .contains("a OK")
    );
    // The address that alice came in from is hers from now on: guesses there are held against the address alone.
    for _ in 0..2 {
        wire.say("a LOGIN alice wrong");
    }
    assert!(
        Wire::connect(server.imap_port)
            .say("a LOGIN alice pass")
            .contains("a OK")
    );
    for user in 0..6 {
        wire.say(&format!("a LOGIN nobody{user} wrong"));
    }
    assert_eq!(Wire::connect(server.imap_port).say("a LOGIN alice pass"), refused);
    let log = server.log();
    assert!(
        log.contains("too many failures in the name of this user; not verified for "),
        "{log}"
    );
    assert!(
        log.contains("too many failures of this address; not verified for "),
        "{log}"
    );
}

#[test]
fn a_stranger_cannot_fill_memory() {
    for programs in implementations() {
        let name = programs.name;
        let site = site(&[], &["alice"]);
        let server = serve(&site, &programs, &[]);
        let mut wire = Wire::connect(server.imap_port);
        wire.send(&"x".repeat(200_000));
        wire.send("\r\n");
        if name == "ours" {
            let reply = wire.line();
            assert!(
                reply.contains("BAD") && reply.contains("line too long"),
                "{reply}"
            );
            let mut wire = Wire::connect(server.imap_port);
            let reply = wire.say("a LOGIN {66000}");
            assert!(reply.contains("a NO [TOOBIG]"), "{reply}");
            let reply = wire.say("b LOGIN {40000}");
            assert!(reply.starts_with('+'), "{reply}");
            wire.send(&"y".repeat(40_000));
            wire.send(" {40000}\r\n");
            let reply = wire.hear("b");
            assert!(reply.contains("b NO [TOOBIG]"), "{reply}");
            // Nothing of it is held against whoever logs in properly.
            let reply = wire.say("c LOGIN alice pass");
            assert!(reply.contains("c OK"), "{reply}");
            let reply = wire.say(&format!("d CREATE {}", "z".repeat(60_000)));
            assert!(reply.contains("d NO") || reply.contains("d BAD"), "{reply}");
        }
        let reply = Wire::connect(server.imap_port).say("a LOGIN alice pass");
        assert!(reply.contains("a OK"), "{name}: {reply}");
    }
}

#[test]
fn what_is_malformed_is_answered_clearly() {
    let Some(programs) = Programs::ours() else { return };
    let site = site(
        &[("sasl_mech_list", "PLAIN CRAM-MD5 SCRAM-SHA-256 GSSAPI EXTERNAL")],
        &["alice"],
    );
    let server = serve(&site, &programs, &[]);
    let mut wire = Wire::connect(server.imap_port);
    for (command, answer) in [
        (
            "AUTHENTICATE PLAIN !!!",
            "a NO bad protocol / cancel\n".to_owned(),
        ),
        (
            "AUTHENTICATE PLAIN YWxpY2U=",
            "a NO bad protocol / cancel\n".to_owned(),
        ),
        (
            "AUTHENTICATE SCRAM-SHA-256 bm9uc2Vuc2U=",
            "a NO bad protocol / cancel\n".to_owned(),
        ),
        (
            "AUTHENTICATE EXTERNAL =",
            "a NO no mechanism available\n".to_owned(),
        ),
        (
            "AUTHENTICATE OAUTHBEARER =",
            "a NO no mechanism available\n".to_owned(),
        ),
    ] {
        assert_eq!(wire.say(&format!("a {command}")), answer, "{command}");
    }
    for (mechanism, lie) in [
        ("CRAM-MD5", b64("nonsense")),
        ("CRAM-MD5", b64("alice 00112233445566778899aabbccddeeff")),
        ("CRAM-MD5", "not base64".to_owned()),
    ] {
        assert!(wire.say(&format!("a AUTHENTICATE {mechanism}")).starts_with('+'));
        wire.send(&format!("{lie}\r\n"));
        let reply = wire.hear("a");
        assert!(reply.contains("a NO"), "{mechanism} {lie}: {reply}");
    }
    assert!(wire.say("a LOGIN alice pass").contains("a OK"));
}
