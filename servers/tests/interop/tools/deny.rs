//! `cyr_deny`: whoever of the two shuts a user out, both keep him out, with the same words.

use std::time::Duration;

use crate::rig::imap::Imap;
use crate::rig::programs::Programs;
use crate::rig::server::Server;
use crate::rig::site::Site;

/// How servers of one implementation treat users whom a tool of the other, or their own, has denied.
fn treated(daemons: Option<Programs>, tools: Option<Programs>) -> Option<Vec<String>> {
    let (daemons, tools) = (daemons?, tools?);
    let site = Site::new(&[("failedloginpause", "0")], &["alice", "bob", "carol"]);
    let server = site.start(&daemons);
    let mut admin = server.imap("admin");
    for user in ["alice", "bob", "carol"] {
        admin.ok(&format!("CREATE user/{user}"));
    }
    let deny = |arguments: &[&str]| site.tool_ok(&tools, "cyr_deny", arguments);
    deny(&["-s", "*imap", "-m", "Pay your bill", "alice"]);
    deny(&["bob"]);
    deny(&["-s", "pop*,nntp", "carol"]);
    deny(&["-s", "*imap", "admin"]);
    let mut said = vec![deny(&["-l"])];
    said.extend(logins(&server));
    let mut lmtp = server.lmtp();
    let message = b"From: a@rig.example\r\nSubject: x\r\n\r\nx\r\n";
    let replies = lmtp
        .deliver(&["alice", "bob", "carol"], message)
        .expect("a delivery");
    said.extend(replies.into_iter().map(|reply| without_session(&reply)));
    deny(&["-a", "alice"]);
    deny(&["-a", "bob"]);
    deny(&["-a", "nobody"]);
    said.push(deny(&["-l"]));
    said.extend(logins(&server));
    server.stop();
    Some(said)
}

fn logins(server: &Server) -> Vec<String> {
    let users = ["alice", "bob", "carol", "admin"].into_iter();
    users
        .flat_map(|user| {
            let mut imap = Imap::connect(server.imap_port).expect("a connection");
            let plain = {
                let mut again = Imap::connect(server.imap_port).expect("a connection");
                let token = base64(&format!("\0{user}\0pass"));
                again
                    .command(&format!("AUTHENTICATE PLAIN {token}"))
                    .expect("an answer")
                    .status
            };
            let login = imap
                .command(&format!("LOGIN {user} pass"))
                .expect("an answer")
                .status;
            [login, plain].map(|status| without_session(&status))
        })
        .collect()
}

/// A reply without what is never equal.
fn without_session(reply: &str) -> String {
    match reply.starts_with("OK") {
        true => "OK".to_owned(),
        false => reply
            .split(" SESSIONID=")
            .next()
            .unwrap_or_default()
            .trim_end()
            .to_owned(),
    }
}

fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = three
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= three.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    out
}

#[test]
fn denied_users_are_kept_out_by_both_with_the_same_words() {
    let Some(real) = treated(Programs::real(), Programs::real()) else {
        return;
    };
    assert_eq!(real[1], "NO Login failed: authorization failure", "{real:?}");
    for (daemons, tools) in [
        (Programs::ours(), Programs::ours()),
        (Programs::ours(), Programs::real()),
        (Programs::real(), Programs::ours()),
    ] {
        assert_eq!(treated(daemons, tools).as_ref(), Some(&real));
    }
}

#[test]
fn a_session_ends_when_its_user_is_denied_and_others_go_on() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    for tools in [&ours, &real] {
        let site = Site::new(&[], &["alice", "bob"]);
        let server = site.start(&ours);
        let mut admin = server.imap("admin");
        admin.ok("CREATE user/alice");
        admin.ok("CREATE user/bob");
        let (mut alice, mut bob) = (server.imap("alice"), server.imap("bob"));
        let mut second = server.imap("alice");
        alice.ok("SELECT INBOX");
        alice.idle().expect("IDLE");
        // Cyrus's tool finds that it cannot kill sessions that are not processes, and says so.
        site.tool(tools, "cyr_deny", &["-m", "Go away", "alice"]);
        let heard = alice.hear("Go away", Duration::from_secs(10)).expect("news");
        assert!(
            heard.iter().any(|line| line.contains("* BYE [ALERT] Go away")),
            "{heard:?}"
        );
        assert!(second.command("NOOP").is_err() || second.command("NOOP").is_err());
        bob.ok("NOOP");
        admin.ok("NOOP");
        server.stop();
    }
}

#[test]
fn a_process_of_cyrus_that_serves_a_denied_user_is_ended_at_once() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let site = Site::new(&[], &["alice", "bob"]);
    let server = site.start(&real);
    let mut admin = server.imap("admin");
    admin.ok("CREATE user/alice");
    let (mut alice, mut bob) = (server.imap("alice"), server.imap("bob"));
    site.tool_ok(&ours, "cyr_deny", &["alice"]);
    assert!(alice.command("NOOP").is_err());
    bob.ok("NOOP");
    server.stop();
}
