//! postfix's load generator speaks LMTP to the socket.

use std::process::Command;

use super::served;
use crate::rig::programs::{Programs, run};

fn smtp_source_delivers(programs: Option<Programs>) {
    let Some((site, server)) = served("smtp-source", programs) else {
        return;
    };
    let socket = format!("unix:{}", server.lmtp_socket.display());
    // Over four sessions at once, 2 KiB each.
    run(Command::new("/usr/sbin/smtp-source")
        .args([
            "-L",
            "-m",
            "400",
            "-s",
            "4",
            "-l",
            "2048",
            "-f",
            "sender@rig.example",
            "-t",
            "alice",
        ])
        .arg(socket)
        .current_dir(site.root()));
    let reply = server.imap("alice").ok("STATUS INBOX (MESSAGES UIDNEXT)");
    let data: Vec<String> = reply
        .data("STATUS")
        .flatten()
        .map(|value| value.json().to_string())
        .collect();
    assert_eq!(data, ["\"INBOX\"", r#"["MESSAGES","400","UIDNEXT","401"]"#]);
    server.stop();
}

#[test]
fn smtp_source_delivers_to_real_cyrus() {
    smtp_source_delivers(Programs::real());
}

#[test]
fn smtp_source_delivers_to_us() {
    smtp_source_delivers(Programs::ours());
}
