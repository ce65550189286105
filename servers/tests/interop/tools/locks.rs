//! `cyr_withlock_run`: while a command runs, nobody changes what it looks at.

use std::time::{Duration, Instant};

use crate::rig::programs::Programs;
use crate::rig::site::Site;

/// How long the command of the tests holds the locks.
const HELD: Duration = Duration::from_millis(1500);

fn waits(server_of: Programs, ours: &Programs, arguments: &[&str], busy: &str, free: Option<&str>) {
    let site = Site::new(&[], &["alice", "bob"]);
    let server = site.start(&server_of);
    let mut admin = server.imap("admin");
    admin.ok("CREATE user/alice");
    admin.ok("CREATE user/bob");
    let marker = site.root().join("conf/held");
    let script = format!("touch {}; sleep {}; exit 3", marker.display(), HELD.as_secs_f32());
    let arguments: Vec<&str> = arguments
        .iter()
        .copied()
        .chain(["/bin/sh", "-c", script.as_str()])
        .collect();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| site.tool(ours, "cyr_withlock_run", &arguments));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !marker.exists() {
            assert!(
                Instant::now() < deadline,
                "the command was not run: {:?}",
                held.join()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        let message = b"From: a@rig.example\r\nSubject: x\r\n\r\nx\r\n";
        if let Some(user) = free {
            let begin = Instant::now();
            server.imap(user).append("INBOX", "", message).expect("APPEND");
            assert!(begin.elapsed() < HELD / 2, "{user} had to wait");
        }
        server.imap(busy).append("INBOX", "", message).expect("APPEND");
        assert!(held.is_finished() || held.join().is_ok());
    });
    server.stop();
}

#[test]
fn changes_of_one_user_wait_for_the_command_and_those_of_others_do_not() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    waits(real, &ours, &["-u", "alice"], "alice", Some("bob"));
    waits(ours.clone(), &ours, &["-u", "alice"], "alice", Some("bob"));
}

#[test]
fn changes_of_anybody_wait_for_the_command() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    waits(real, &ours, &[], "bob", None);
    waits(ours.clone(), &ours, &[], "bob", None);
}

#[test]
fn the_exit_code_is_that_of_the_command() {
    let Some(ours) = Programs::ours() else { return };
    let site = Site::new(&[], &[]);
    let code = |arguments: &[&str]| site.tool(&ours, "cyr_withlock_run", arguments).status.code();
    assert_eq!(code(&["/bin/sh", "-c", "exit 3"]), Some(3));
    assert_eq!(code(&["-u", "nobody", "true"]), Some(0));
    assert_eq!(code(&["/nosuch"]), Some(127));
    assert_eq!(code(&[]), Some(64));
}
