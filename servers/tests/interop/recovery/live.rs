//! Our repair tools beside a server at work: nothing that was acknowledged is lost, and no session is turned away.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::filled;
use crate::rig::audit::complaints;
use crate::rig::programs::Programs;

/// A session appends, flags and expunges while mailboxes are rebuilt, and the store is checked.
fn beside(server_of: Option<Programs>) {
    let (Some(real), Some(ours), Some(server_of)) = (Programs::real(), Programs::ours(), server_of) else {
        return;
    };
    let (site, folder) = filled(&real);
    let server = site.start(&server_of);
    let end = AtomicBool::new(false);
    let appended = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let session = scope.spawn(|| {
            let mut alice = server.imap("alice");
            alice.ok("SELECT Box");
            let mut number = 0;
            while !end.load(Ordering::Relaxed) {
                number += 1;
                let message = format!("Subject: live {number}\r\n\r\nBody {number}.\r\n");
                let reply = alice
                    .append("Box", "(\\Draft) ", message.as_bytes())
                    .expect("APPEND");
                assert!(reply.is_ok(), "{}", reply.status);
                appended.fetch_add(1, Ordering::Relaxed);
                alice.ok("UID STORE 1:3 +FLAGS (\\Answered)");
                alice.ok("UID STORE 1:3 -FLAGS (\\Answered)");
                if number % 7 == 0 {
                    alice.ok("UID FETCH 1:* (FLAGS BODY.PEEK[])");
                }
            }
            alice.ok("LOGOUT");
            number
        });
        for round in 0..4 {
            // What is lost meanwhile comes back under the session.
            if round == 1 {
                std::fs::remove_file(folder.join("cyrus.cache")).expect("cyrus.cache");
            }
            site.tool_ok(&ours, "reconstruct", &["-G", "-r", "-q", "user/alice"]);
            site.tool_ok(&ours, "reconstruct", &["--everything", "-q"]);
            let verified = site.tool(&ours, "cyr_verify", &["-q"]);
            assert!(
                verified.status.success(),
                "round {round}: {}",
                String::from_utf8_lossy(&verified.stdout)
            );
        }
        end.store(true, Ordering::Relaxed);
        session.join().expect("the session has lost nothing");
    });
    let mut alice = server.imap("alice");
    alice.ok("EXAMINE Box");
    let reply = alice.ok("UID SEARCH SUBJECT live");
    let found = reply.data("SEARCH").next().map_or(0, <[_]>::len);
    let appended = appended.load(Ordering::Relaxed);
    assert!(appended > 3, "{appended}");
    assert_eq!(found as u32, appended, "what was acknowledged is there");
    alice.ok("LOGOUT");
    server.stop();
    let left = complaints(&site, &real);
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn we_serve_while_our_tools_repair() {
    beside(Programs::ours());
}

#[test]
fn real_cyrus_serves_while_our_tools_repair() {
    beside(Programs::real());
}
