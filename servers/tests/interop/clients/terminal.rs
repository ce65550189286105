//! Programs for people, on a terminal: completion in cyradm, the live view of cyr_info.

use std::process::{Command, Output};

use crate::rig::programs::{Programs, both, has_client};
use crate::rig::server::Server;
use crate::rig::site::Site;

/// Runs a program of ours on a terminal and types.
fn typed(site: &Site, steps: &str, program: &str, arguments: &[&str]) -> Option<Output> {
    let ours = Programs::ours()?;
    let (script, plan) = (site.root().join("terminal.py"), site.root().join("steps"));
    std::fs::write(&script, include_str!("terminal.py")).expect("the script can be written");
    std::fs::write(&plan, steps).expect("the steps can be written");
    let mut python = Command::new("python3");
    python
        .arg(script)
        .arg(plan)
        .arg(ours.path(program))
        .args(arguments);
    python.env("HOME", "/nonexistent").env_remove("CYRADM_PASSWORD");
    Some(python.output().expect("python3 can be run"))
}

fn served(programs: Option<Programs>) -> Option<(Site, Server)> {
    let programs = programs?;
    if !has_client("python3") {
        return None;
    }
    let site = Site::new(&[], &["alice"]);
    let server = site.start(&programs);
    let mut admin = server.imap("admin");
    admin.ok("CREATE user/alice");
    admin.ok("CREATE \"user/alice/two words\"");
    Some((site, server))
}

#[test]
fn cyradm_asks_for_the_password_and_completes_commands_mailboxes_and_rights() {
    let Some((site, server)) = served(Programs::ours()) else {
        return;
    };
    let steps = "\
expect Password: 
type pass\\n
expect 127.0.0.1> 
type listm\\t
expect listmailbox 
type user/al\\t\\n
expect user/alice (\\\\HasChildren)
expect 127.0.0.1> 
type sam user/alice anyone re\\t\\n
expect read
expect 127.0.0.1> 
type lam user/alice/tw\\t\\n
expect alice lrswipkxtecdan
expect 127.0.0.1> 
type lam user/alice\\n
expect anyone lrs
expect 127.0.0.1> 
type exit 5\\n
";
    let port = server.imap_port.to_string();
    let arguments = ["--user", "admin", "--port", &port, "127.0.0.1"];
    let output = typed(&site, steps, "cyradm", &arguments).expect("it was built");
    assert_eq!(output.status.code(), Some(5), "{}", both(&output));
    // What was typed blindly was not shown.
    assert!(!both(&output).contains("Password: pass"), "{}", both(&output));
    server.stop();
}

#[test]
fn sessions_of_either_server_are_shown_live() {
    for programs in [Programs::ours, Programs::real] {
        let Some((site, server)) = served(programs()) else {
            return;
        };
        let mut alice = server.imap("alice");
        alice.ok("SELECT INBOX");
        let conf = site.conf().display().to_string();
        let steps =
            "expect COMMAND\nexpect alice\nexpect user.alice\ntype s\nexpect alice\nexpect q quit\ntype q\n";
        let output =
            typed(&site, steps, "cyr_info", &["-C", &conf, "-i", "0.3", "top"]).expect("it was built");
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
        let once = site.tool_ok(&Programs::ours().expect("it was built"), "cyr_info", &["top"]);
        assert!(once.contains("alice"), "{once}");
        assert!(once.contains("sessions 1  users 1"), "{once}");
        server.stop();
    }
}
