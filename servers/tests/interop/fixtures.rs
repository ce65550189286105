//! Spools that real Cyrus 3.6.1 wrote, served again: every answer equals what real Cyrus said.
//!
//! Real Cyrus itself is held to the same manifests, which proves the comparison.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::rig::programs::Programs;
use crate::rig::site::{Site, fixtures};
use crate::rig::snapshot::{Comparison, View};

/// Serves a fixture by one implementation and compares every user's view with the manifest.
fn served_as_recorded(fixture: &str, programs: Option<Programs>) {
    let Some(programs) = programs else { return };
    let text =
        std::fs::read_to_string(fixtures().join(format!("{fixture}.manifest.json"))).expect("the manifest");
    let manifest: Json = serde_json::from_str(&text).expect("the manifest is JSON");
    let users = manifest["users"].as_object().expect("the manifest names users");
    let logins: Vec<&str> = users.keys().map(String::as_str).collect();
    let site = Site::fixture(fixture, &logins);
    let server = site.start(&programs);
    let mut comparison = Comparison::default();
    for (login, wanted) in users {
        View::new(server.imap(login)).compare(login, wanted, &mut comparison);
    }
    server.stop();
    println!(
        "{fixture} by {}: {} values equal",
        programs.name, comparison.equal
    );
    comparison.assert_equal(fixture);
    assert!(comparison.equal > 100, "the comparison saw next to nothing");
}

#[test]
fn real_cyrus_serves_default_uuid_as_recorded() {
    served_as_recorded("default-uuid", Programs::real());
}

#[test]
fn real_cyrus_serves_legacy_virtdomains_conversations_as_recorded() {
    served_as_recorded("legacy-virtdomains-conversations", Programs::real());
}

#[test]
fn real_cyrus_serves_uuid_altbackends_as_recorded() {
    served_as_recorded("uuid-altbackends", Programs::real());
}

#[test]
fn real_cyrus_serves_killed_mid_write_as_recorded() {
    served_as_recorded("killed-mid-write", Programs::real());
}

#[test]
fn real_cyrus_serves_killed_mid_repack_as_recorded() {
    served_as_recorded("killed-mid-repack", Programs::real());
}

#[test]
fn we_serve_default_uuid_as_recorded() {
    served_as_recorded("default-uuid", Programs::ours());
}

#[test]
fn we_serve_legacy_virtdomains_conversations_as_recorded() {
    served_as_recorded("legacy-virtdomains-conversations", Programs::ours());
}

#[test]
fn we_serve_uuid_altbackends_as_recorded() {
    served_as_recorded("uuid-altbackends", Programs::ours());
}

#[test]
fn we_serve_killed_mid_write_as_recorded() {
    served_as_recorded("killed-mid-write", Programs::ours());
}

#[test]
fn we_serve_killed_mid_repack_as_recorded() {
    served_as_recorded("killed-mid-repack", Programs::ours());
}

#[test]
fn we_refuse_to_write_where_conversations_are_on() {
    let Some(ours) = Programs::ours() else { return };
    let site = Site::fixture("legacy-virtdomains-conversations", &["alice"]);
    let server = site.start(&ours);
    let mut alice = server.imap("alice");
    // Recovery at the start may write; what follows must not.
    let before = files(&site.root().join("spool"));
    alice.ok("SELECT INBOX");
    let message = b"Subject: refused\r\n\r\nx\r\n";
    let mut refusals = vec![("APPEND", alice.append("INBOX", "", message).expect("an answer"))];
    for command in [
        "STORE 1 +FLAGS (\\Flagged)",
        "STORE 1 +FLAGS (another-keyword)",
        "COPY 1 INBOX.Drafts",
        "MOVE 1 INBOX.Drafts",
        "CREATE INBOX.New",
        "DELETE INBOX.Junk",
        "RENAME INBOX.Junk INBOX.Junk2",
    ] {
        refusals.push((command, alice.command(command).expect("an answer")));
    }
    for (command, reply) in refusals {
        let status = reply.status.to_lowercase();
        assert!(
            status.starts_with("no") && status.contains("conversations"),
            "{command}: {}",
            reply.status
        );
    }
    let replies = server.lmtp().deliver(&["alice"], message).expect("an answer");
    assert!(
        replies.iter().all(|reply| reply.starts_with(['4', '5'])),
        "{replies:?}"
    );
    drop(alice);
    server.stop();
    assert_eq!(before, files(&site.root().join("spool")));
}

/// The contents of every file under a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the site").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.components().any(|part| part.as_os_str() == "stage.") {
            found.insert(path.clone(), std::fs::read(&path).expect("a file of the site"));
        }
    }
    found
}
