//! Python's imaplib runs a long session in the clear, through STARTTLS and over implicit TLS.

use std::process::Command;

use super::served;
use crate::rig::programs::{Programs, run};

fn imaplib_is_content(programs: Option<Programs>) {
    let Some((site, server)) = served("python3", programs) else {
        return;
    };
    server.imap("admin").ok("SETQUOTA user/alice (STORAGE 10000)");
    run(Command::new("python3")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/interop/clients/session.py"
        ))
        .args([server.imap_port.to_string(), server.imaps_port.to_string()])
        .arg(site.root().join("cert.pem")));
    server.stop();
}

#[test]
fn imaplib_is_content_with_real_cyrus() {
    imaplib_is_content(Programs::real());
}

#[test]
fn imaplib_is_content_with_us() {
    imaplib_is_content(Programs::ours());
}
