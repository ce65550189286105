//! Perl's Mail::IMAPTalk and Mail::IMAPClient, as webmail and migration scripts use them; the latter compressed, too.

use std::process::Command;

use super::served_with;
use crate::rig::programs::{Programs, found_or_skip, run};

fn a_perl_client_is_content(module: &str, script: &str, programs: Option<Programs>) {
    // Real Cyrus has no idled here.
    let options = [("imapidlepoll", "2")];
    let Some((_site, server)) = served_with(&options, "perl", programs) else {
        return;
    };
    let found = Command::new("perl")
        .arg(format!("-M{module}"))
        .args(["-e", "1"])
        .output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found_or_skip(found, &format!("{module} is not installed")) {
        return;
    }
    server.imap("admin").ok("SETQUOTA user/alice (STORAGE 10000)");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/clients");
    run(Command::new("perl")
        .arg("-w")
        .arg(format!("{folder}/{script}"))
        .arg(server.imap_port.to_string()));
    server.stop();
}

#[test]
fn imaptalk_is_content_with_real_cyrus() {
    a_perl_client_is_content("Mail::IMAPTalk", "imaptalk.pl", Programs::real());
}

#[test]
fn imaptalk_is_content_with_us() {
    a_perl_client_is_content("Mail::IMAPTalk", "imaptalk.pl", Programs::ours());
}

#[test]
fn imapclient_is_content_with_real_cyrus() {
    a_perl_client_is_content("Mail::IMAPClient", "imapclient.pl", Programs::real());
}

#[test]
fn imapclient_is_content_with_us() {
    a_perl_client_is_content("Mail::IMAPClient", "imapclient.pl", Programs::ours());
}
