//! Debian's cyradm administers a server of ours as it does real Cyrus: the same script, the same output.

use std::process::{Command, Stdio};

use super::served;
use crate::rig::programs::{Programs, both};

/// What cyradm is told to do. Annotations of mailboxes that belong to no user are not among it: at a change of one, real Cyrus
/// 3.6.1 aborts.
const SCRIPT: &str = include_str!("cyradm.script");

/// What cyradm prints for the script, one part a command, with lines sorted: it prints hashes.
fn output(programs: Option<Programs>) -> Option<Vec<Vec<String>>> {
    let (site, server) = served("cyradm", programs)?;
    let script = site.root().join("cyradm.script");
    std::fs::write(&script, SCRIPT).expect("the script can be written");
    let mut cyradm = Command::new("cyradm");
    cyradm
        .args(["--user", "admin", "--password", "pass", "--auth", "PLAIN"])
        .args(["--server", "127.0.0.1", "--port", &server.imap_port.to_string()])
        .stdin(Stdio::from(std::fs::File::open(&script).expect("it was written")));
    let said = both(&cyradm.output().expect("cyradm can be run"));
    server.stop();
    let parts = said.split("127.0.0.1> ").map(|part| {
        let mut lines: Vec<String> = part.lines().map(mask).collect();
        lines.sort();
        lines
    });
    Some(parts.collect())
}

/// A line without what is never equal: times, ids and the room on the disk.
fn mask(line: &str) -> String {
    let volatile = ["uniqueid:", "lastupdate:", "freespace:", "most:", "total:"];
    let name = line.trim_start();
    match volatile.iter().find(|known| name.starts_with(**known)) {
        Some(known) => format!("{known} <masked>"),
        None => line.trim_end().to_owned(),
    }
}

#[test]
fn cyradm_prints_for_us_what_it_prints_for_real_cyrus() {
    let Some(real) = output(Programs::real()) else {
        return;
    };
    let Some(ours) = output(Programs::ours()) else {
        return;
    };
    for (number, (real, ours)) in (1..).zip(real.iter().zip(&ours)) {
        assert_eq!(ours, real, "part {number}");
    }
    assert_eq!(ours.len(), real.len(), "{ours:?}");
    let said: Vec<&String> = ours.iter().flatten().collect();
    assert!(
        said.iter().any(|line| line.contains("STORAGE 0/1000")),
        "{said:?}"
    );
    assert!(
        said.iter().any(|line| line.contains("comment: hello there")),
        "{said:?}"
    );
}
