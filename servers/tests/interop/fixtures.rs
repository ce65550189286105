//! Spools that real Cyrus 3.6.1 wrote, served again: every answer equals what real Cyrus said.
//!
//! Real Cyrus itself is held to the same manifests, which proves the comparison.

use serde_json::Value as Json;

use crate::rig::audit::assert_conversations_sound;
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

/// Writes to a spool with conversations that real Cyrus left, by every kind of change; real Cyrus's audit of the
/// conversations finds nothing.
fn conversations_are_kept(programs: Option<Programs>) {
    let (Some(real), Some(programs)) = (Programs::real(), programs) else {
        return;
    };
    let site = Site::fixture("legacy-virtdomains-conversations", &["alice"]);
    assert_conversations_sound(&site, &real);
    let server = site.start(&programs);
    let mut alice = server.imap("alice");
    alice.ok("SELECT INBOX");
    let message = b"From: a@b\r\nSubject: Re: more\r\nMessage-ID: <more@example.com>\r\n\r\nx\r\n";
    let reply = alice.append("INBOX", "", message).expect("an answer");
    assert!(reply.status.starts_with("OK"), "{}", reply.status);
    for command in [
        "STORE 1 +FLAGS (\\Flagged)",
        "STORE 1 +FLAGS (another-keyword)",
        "COPY 1:2 INBOX.Drafts",
        "MOVE 2 INBOX.Drafts",
        "STORE 1 +FLAGS (\\Deleted)",
        "EXPUNGE",
        "CREATE INBOX.New",
        "COPY 1:* INBOX.New",
        "RENAME INBOX.New INBOX.Newer",
        "COPY 1:* INBOX.Newer",
        "DELETE INBOX.Newer",
    ] {
        alice.ok(command);
    }
    let replies = server.lmtp().deliver(&["alice"], message).expect("an answer");
    assert!(replies.iter().all(|reply| reply.starts_with('2')), "{replies:?}");
    drop(alice);
    server.stop();
    assert_conversations_sound(&site, &real);
}

#[test]
fn real_cyrus_keeps_the_conversations_of_a_fixture() {
    conversations_are_kept(Programs::real());
}

#[test]
fn we_keep_the_conversations_of_a_fixture() {
    conversations_are_kept(Programs::ours());
}
