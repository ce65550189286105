//! This project's cyradm beside Debian's: the same script at the same server, whoever's that is, prints the same.

use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;

use super::served;
use crate::rig::programs::{Programs, both};
use crate::rig::server::Server;
use crate::rig::site::Site;

const SCRIPT: &str = include_str!("our_cyradm.script");

fn cyradm(program: &std::ffi::OsStr, server: &Server, arguments: &[&str], input: Stdio) -> Output {
    let mut cyradm = Command::new(program);
    cyradm
        .args(["--user", "admin", "--password", "pass"])
        .args(["--server", "127.0.0.1", "--port", &server.imap_port.to_string()])
        .args(arguments)
        .env("HOME", "/nonexistent")
        .stdin(input);
    cyradm.output().expect("cyradm can be run")
}

fn ours() -> Option<std::path::PathBuf> {
    Programs::ours().map(|programs| programs.path("cyradm"))
}

/// What a cyradm prints for the script at a server of its own, sorted, without what is never equal.
fn printed(program: &std::ffi::OsStr, daemons: Option<Programs>) -> Option<Vec<String>> {
    let (site, server) = served("cyradm", daemons)?;
    let script = site.root().join("cyradm.script");
    std::fs::write(&script, SCRIPT).expect("the script can be written");
    let input = std::fs::File::open(&script).expect("it was written");
    let said = cyradm(program, &server, &["--auth", "PLAIN"], input.into());
    server.stop();
    let said = String::from_utf8_lossy(&said.stdout)
        .replace("127.0.0.1> ", "")
        .replace("cyradm> ", "");
    let mut lines: Vec<String> = said.lines().map(mask).filter(|line| !line.is_empty()).collect();
    // Debian's prints hashes, whose order is any.
    lines.sort();
    Some(lines)
}

fn mask(line: &str) -> String {
    let volatile = [
        "uniqueid:",
        "lastupdate:",
        "freespace:",
        "most:",
        "total:",
        "foldermodseq:",
    ];
    match volatile
        .iter()
        .find(|known| line.trim_start().starts_with(**known))
    {
        Some(known) => format!("{known} <masked>"),
        None => line.trim_end().to_owned(),
    }
}

#[test]
fn our_cyradm_prints_what_that_of_debian_prints_at_either_server() {
    let Some(program) = ours() else { return };
    for daemons in [Programs::real, Programs::ours] {
        let Some(debian) = printed("cyradm".as_ref(), daemons()) else {
            return;
        };
        assert!(
            debian.iter().any(|line| line.contains("STORAGE 0/1000")),
            "{debian:?}"
        );
        let ours = printed(program.as_os_str(), daemons()).expect("it is installed");
        let only_in = |one: &[String], other: &[String]| {
            let mut left = one.to_vec();
            for line in other {
                if let Some(at) = left.iter().position(|known| known == line) {
                    left.remove(at);
                }
            }
            left
        };
        let nothing: Vec<String> = Vec::new();
        assert_eq!(
            (only_in(&ours, &debian), only_in(&debian, &ours)),
            (nothing.clone(), nothing)
        );
    }
}

#[test]
fn s146_partitions_are_chosen_and_changed_through_our_cyradm() {
    let (Some(ours), Some(our_programs)) = (ours(), Programs::ours()) else {
        return;
    };
    for daemons in [Programs::real, Programs::ours] {
        let Some(programs) = daemons() else { return };
        let site = Site::new(&[], &[]);
        let part2 = site.root().join("part2");
        std::fs::create_dir(&part2).expect("a partition");
        site.own(&part2);
        site.configure(&format!("partition-part2: {}\n", part2.display()));
        let server = site.start(&programs);
        let script = site.root().join("script");
        let lines = "cm shared part2\ncm moved\nrenm moved moved part2\ncm --partition default back\n\
                     renm --partition part2 back back\n";
        std::fs::write(&script, lines).expect("a script");
        let input = std::fs::File::open(&script).expect("it was written");
        let said = cyradm(ours.as_os_str(), &server, &["--auth", "PLAIN"], input.into());
        assert!(said.stderr.is_empty(), "{}", both(&said));
        for name in ["shared", "moved", "back"] {
            let path = site.tool_ok(&our_programs, "mbpath", &[name]);
            assert!(path.starts_with(&part2.display().to_string()), "{name}: {path}");
        }
        server.stop();
    }
}

/// The objects that `--json` prints, one a command.
fn objects(output: &Output) -> Vec<Json> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

#[test]
fn our_cyradm_serves_programs_at_either_server() {
    let Some(program) = ours() else { return };
    for daemons in [Programs::real, Programs::ours] {
        let Some((site, server)) = served("cyradm", daemons()) else {
            return;
        };
        let run = |arguments: &[&str]| {
            let arguments: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
            cyradm(program.as_os_str(), &server, &arguments, Stdio::null())
        };
        let done = run(&[
            "-e",
            "cm user/alice/work; sam user/alice/work anyone read",
            "-e",
            "lam user/alice/work",
            "-e",
            "sq user/alice STORAGE 1000 MESSAGE 50",
            "-e",
            "lq user/alice",
            "-e",
            "lm user/%",
        ]);
        assert_eq!(done.status.code(), Some(0), "{}", both(&done));
        let said = objects(&done);
        assert_eq!(said.len(), 6, "{said:?}");
        assert_eq!(said[2]["result"]["anyone"], "lrs");
        assert_eq!(said[4]["result"]["MESSAGE"]["limit"], 50);
        assert_eq!(said[5]["result"][0]["name"], "user/alice");
        // The first command that fails ends a run, with its reason.
        let failed = run(&["-e", "dm user/nosuch", "-e", "lm"]);
        assert_eq!(failed.status.code(), Some(1));
        let said = objects(&failed);
        assert_eq!(said.len(), 1);
        assert_eq!(said[0]["errors"][0], "Mailbox does not exist");
        assert_eq!(
            objects(&run(&["--keep-going", "-e", "dm nosuch", "-e", "lm"])).len(),
            2
        );
        // Many mailboxes at once, each with its own result.
        let many = objects(&run(&["-e", "sam user/alice* bob lr"]));
        assert_eq!(many[0]["result"].as_array().map(Vec::len), Some(2));
        // A script in a file, and a shared tree that goes as a whole.
        let script = site.root().join("script");
        let lines =
            "cm tree; cm tree/a; cm tree/a/b\nsam tree* admin x\ndm --recursive tree\nlm tree*\nexit 7\n";
        std::fs::write(&script, lines).expect("a script");
        let path = script.display().to_string();
        let ran = run(&["--file", &path]);
        assert_eq!(ran.status.code(), Some(7), "{}", both(&ran));
        assert_eq!(objects(&ran)[5]["result"], serde_json::json!([]));
        server.stop();
    }
}

#[test]
fn our_cyradm_logs_in_by_every_way_that_it_has() {
    let Some(program) = ours() else { return };
    for daemons in [Programs::real, Programs::ours] {
        let Some((site, server)) = served("cyradm", daemons()) else {
            return;
        };
        let certificate = site.root().join("cert.pem").display().to_string();
        let imaps = server.imaps_port.to_string();
        for arguments in [
            &["--auth", "PLAIN"][..],
            &["--auth", "LOGIN"],
            &["--notls"],
            &["--imaps", "--port", &imaps],
            &["--server", "localhost", "--cafile", &certificate],
            &["--authz", "admin"],
        ] {
            let mut all = arguments.to_vec();
            all.extend(["-e", "server"]);
            let output = cyradm_at(program.as_os_str(), &server, &all);
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", both(&output));
        }
        for (arguments, reason) in [
            (&["--password", "wrong"][..], "authentication failure"),
            (&["--auth", "NOSUCH"], "no way to log in"),
            (&["--port", "1"], "refused"),
            (&["--server", "127.0.0.1", "--cafile", "/nosuch"], "/nosuch"),
        ] {
            let mut all = arguments.to_vec();
            all.extend(["-e", "server"]);
            let output = cyradm_at(program.as_os_str(), &server, &all);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
            assert!(both(&output).contains(reason), "{arguments:?}: {}", both(&output));
        }
        server.stop();
    }
}

/// The same with a server, a port and a password that the arguments may change.
fn cyradm_at(program: &std::ffi::OsStr, server: &Server, arguments: &[&str]) -> Output {
    let port = server.imap_port.to_string();
    let mut all = vec!["--user", "admin"];
    for (option, value) in [
        ("--password", "pass"),
        ("--server", "127.0.0.1"),
        ("--port", &port),
    ] {
        if !arguments.contains(&option) {
            all.extend([option, value]);
        }
    }
    all.extend(arguments);
    let mut cyradm = Command::new(program);
    cyradm.args(all).env("HOME", "/nonexistent").stdin(Stdio::null());
    cyradm.output().expect("cyradm can be run")
}
