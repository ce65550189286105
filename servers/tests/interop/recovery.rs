//! Sites of real Cyrus are damaged and repaired by our tools: real Cyrus's tools find nothing left to repair, its imapd reads
//! the same as before, and both `reconstruct`s see the same damage.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::rig::audit::{assert_sound, complaints};
use crate::rig::programs::Programs;
use crate::rig::server::Server;
use crate::rig::site::Site;

/// A site that real Cyrus filled; the directory of one of its mailboxes.
fn filled(real: &Programs) -> (Site, PathBuf) {
    let site = Site::new(&[], &["alice"]);
    let server = site.start(real);
    let mut admin = server.imap("admin");
    for command in ["CREATE user/alice", "CREATE user/alice/Box", "CREATE shared"] {
        admin.ok(command);
    }
    admin.ok("SETACL shared anyone lr");
    admin.ok("SETQUOTA user/alice (STORAGE 100000)");
    let mut alice = server.imap("alice");
    for number in 0..8 {
        let flags = match number % 3 {
            0 => "(\\Seen \\Flagged) ",
            1 => "($Label) ",
            _ => "",
        };
        let message = format!("From: a@rig.example\r\nSubject: number {number}\r\n\r\nBody {number}.\r\n");
        let options = format!("{flags}\"0{}-Jan-2001 10:20:30 +0000\" ", number + 1);
        alice.append("Box", &options, message.as_bytes()).expect("APPEND");
    }
    alice.ok("SELECT Box");
    alice.ok("STORE 8 +FLAGS (\\Deleted)");
    alice.ok("EXPUNGE");
    alice.ok("LOGOUT");
    server.stop();
    let path = site.tool_ok(real, "mbpath", &["user/alice/Box"]);
    (site, PathBuf::from(path.trim()))
}

/// What alice sees of her mailbox.
fn look(server: &Server) -> Vec<String> {
    let mut alice = server.imap("alice");
    alice.ok("EXAMINE Box");
    let reply = alice.ok("UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY.PEEK[])");
    reply
        .fetched()
        .map(|message| format!("{:?}", message.items))
        .collect()
}

fn seen_by(site: &Site, programs: &Programs) -> Vec<String> {
    let server = site.start(programs);
    let seen = look(&server);
    server.stop();
    seen
}

#[test]
fn both_see_the_same_damage_and_what_we_repair_is_sound() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let (site, folder) = filled(&real);
    let file = |name: &str| folder.join(name);
    let before = seen_by(&site, &real);
    assert_eq!(before.len(), 7);
    fs::remove_file(file("2.")).expect("message 2");
    fs::copy(file("1."), file("40.")).expect("a new message");
    fs::write(file("notes"), "odd").expect("an odd file");
    let longer = [fs::read(file("3.")).expect("message 3"), b"more\r\n".to_vec()].concat();
    fs::write(file("3."), longer).expect("message 3");
    for name in ["40.", "notes"] {
        site.own(&file(name));
    }
    let lines = |programs: &Programs| -> BTreeSet<String> {
        site.tool_ok(programs, "reconstruct", &["-n", "user/alice/Box"])
            .lines()
            // Advice that follows, worded for one's own switches.
            .filter(|line| !line.starts_with("run reconstruct"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(lines(&ours), lines(&real));
    let told = site.tool_ok(&ours, "reconstruct", &["-O", "-U", "user/alice/Box"]);
    assert!(told.contains("uid 3 unlinking as requested with -U"), "{told}");
    assert!(!file("notes").exists());
    // Records of messages that are gone stay for a while, as a trace; this one tool looks for their files.
    let left = complaints(&site, &real);
    let left: Vec<&String> = left
        .iter()
        .filter(|line| !line.starts_with("mbexamine -c"))
        .collect();
    assert!(left.is_empty(), "{left:#?}");
    let after = seen_by(&site, &real);
    assert_eq!(after.len(), before.len() - 2 + 1);
    let kept: Vec<&String> = before.iter().filter(|seen| after.contains(seen)).collect();
    assert_eq!(kept.len(), before.len() - 2, "nothing else changed");
}

#[test]
fn derived_files_can_go_and_one_command_brings_them_back() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let (site, folder) = filled(&real);
    let before = seen_by(&site, &real);
    let list = site.tool_ok(&real, "ctl_mboxlist", &["-d"]);
    fs::remove_file(folder.join("cyrus.cache")).expect("the cache");
    let told = site.tool_ok(&ours, "reconstruct", &["-r", "user/alice"]);
    assert!(told.contains("rewrote cache for 1"), "{told}");
    assert_sound(&site, &real);
    assert_eq!(seen_by(&site, &real), before, "without its cache");

    fs::remove_file(site.root().join("conf/mailboxes.db")).expect("the mailbox list");
    let told = site.tool_ok(&ours, "reconstruct", &["-m"]);
    assert!(told.ends_with("0 lost\n"), "{told}");
    assert_eq!(
        names_and_rights(&list),
        names_and_rights(&site.tool_ok(&real, "ctl_mboxlist", &["-d"]))
    );
    assert_sound(&site, &real);
    assert_eq!(seen_by(&site, &real), before, "without the mailbox list");

    // A list of rubbish is put aside.
    let list_file = site.root().join("conf/mailboxes.db");
    fs::write(&list_file, [0x5a; 5000]).expect("the mailbox list");
    let told = site.tool_ok(&ours, "reconstruct", &["-m"]);
    assert!(told.contains("put aside as"), "{told}");
    assert_eq!(seen_by(&site, &real), before, "with a damaged mailbox list");

    fs::remove_file(folder.join("cyrus.index")).expect("the index");
    site.tool_ok(&ours, "reconstruct", &["user/alice/Box"]);
    let after = seen_by(&site, &real);
    let dates = |seen: &[String]| -> BTreeSet<String> {
        let date = |seen: &String| seen.split("INTERNALDATE").nth(1).map(str::to_owned);
        seen.iter().filter_map(date).collect()
    };
    assert!(dates(&after).is_superset(&dates(&before)), "{after:#?}");
}

/// The parts of a dump that a lost list must come back with.
fn names_and_rights(dump: &str) -> Vec<String> {
    let dump: serde_json::Value = serde_json::from_str(dump).expect("a dump is JSON");
    let entries = dump.as_object().into_iter().flatten();
    entries
        .map(|(name, entry)| {
            format!(
                "{name} {} {} {} {}",
                entry["acl"], entry["uniqueid"], entry["partition"], entry["uidvalidity"]
            )
        })
        .collect()
}

#[test]
fn header_files_alone_are_enough_to_be_listed() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let (site, folder) = filled(&real);
    fs::remove_file(site.root().join("conf/mailboxes.db")).expect("the mailbox list");
    let header: &Path = &folder.join("cyrus.header");
    let told = site.tool_ok(&ours, "reconstruct", &["-P", &header.display().to_string()]);
    assert!(told.starts_with("created mbentry for user.alice.Box "), "{told}");
    let told = site.tool_ok(&ours, "reconstruct", &["-r", "-f", "user/alice"]);
    assert!(told.contains("discovered user/alice\n"), "{told}");
    assert!(!told.contains("shared"), "{told}");
}
