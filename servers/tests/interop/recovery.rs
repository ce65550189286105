//! Sites of real Cyrus are damaged and repaired by our tools: real Cyrus's tools find nothing left to repair, its imapd reads
//! the same as before, and both `reconstruct`s see the same damage.

mod live;
mod versions;

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
    assert!(told.contains("the damaged file is kept as"), "{told}");
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

#[test]
fn expunged_messages_are_listed_as_real_cyrus_lists_them_and_come_back() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let (site, _) = filled(&real);
    let before = seen_by(&site, &real);
    let list = ["-l", "user/alice/Box"];
    let listed = site.tool_ok(&real, "unexpunge", &list);
    assert!(listed.contains("UID: 8\n"), "{listed}");
    assert_eq!(site.tool_ok(&ours, "unexpunge", &list), listed);
    let told = site.tool_ok(
        &ours,
        "unexpunge",
        &["-a", "-d", "-v", "-f", "Found", "user/alice/Box"],
    );
    assert_eq!(
        told,
        "restoring all expunged messages in mailbox 'user/alice/Box'\nUnexpunged user/alice/Box: 8 => 9\n\
         restored 1 expunged messages\n"
    );
    assert_eq!(site.tool_ok(&real, "unexpunge", &list), "");
    // Records of messages without files stay until the next repack, as in Cyrus, and that is told.
    let mut complained = complaints(&site, &real);
    complained.retain(|complaint| !complaint.starts_with("mbexamine -c"));
    assert_eq!(complained, [""; 0]);
    let after = seen_by(&site, &real);
    assert_eq!(after[..before.len()], before);
    let back = after.last().expect("the restored message");
    assert!(back.contains("Body 7.") && back.contains(" 8-Jan-2001"), "{back}");
    assert!(back.contains("Found") && !back.contains("Deleted"), "{back}");
}

#[test]
fn what_is_past_its_time_is_expired() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let (site, folder) = filled(&real);
    {
        let server = site.start(&real);
        let mut alice = server.imap("alice");
        let recent = b"Subject: recent\r\n\r\nNew.\r\n";
        alice.append("Box", "", recent).expect("APPEND");
        alice.ok("CREATE Box/Below");
        alice
            .append("Box/Below", "\"01-Jan-2001 10:20:30 +0000\" ", recent)
            .expect("APPEND");
        alice.ok("CREATE Gone");
        alice.ok("DELETE Gone");
        alice.ok("STATUS Box (MESSAGES)");
        let mut admin = server.imap("admin");
        admin.ok("SETMETADATA user/alice/Box (/shared/vendor/cmu/cyrus-imapd/expire \"3\")");
        server.stop();
    }
    let told = site.tool_ok(
        &ours,
        "cyr_expire",
        &["-v", "-E", "3", "-X", "0", "-D", "0", "-t"],
    );
    for line in [
        "expiring messages in user.alice.Box older than 3.00 days",
        "expiring messages in user.alice.Box.Below older than 3.00 days",
        "Expunging userflag 0 ($Label) from user.alice.Box",
        "Expired 8 and expunged 9 out of ",
        "Removed 1 deleted mailboxes",
    ] {
        assert!(told.contains(line), "{line} is not in:\n{told}");
    }
    assert!(!folder.join("8.").exists() && !folder.join("1.").exists());
    assert_sound(&site, &real);
    let list = site.tool_ok(&real, "ctl_mboxlist", &["-d"]);
    let traces = list.lines().filter(|line| line.starts_with("\"DELETED"));
    assert!(
        traces.into_iter().all(|line| line.contains("\"mbtype\": \"ed\"")),
        "{list}"
    );
    let left = seen_by(&site, &real);
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].contains("New."));
    for wrong in [&[][..], &["-E", "x"], &["-v"]] {
        assert_eq!(
            site.tool(&ours, "cyr_expire", wrong).status.code(),
            Some(64),
            "{wrong:?}"
        );
    }
}

#[test]
fn quotas_are_reported_and_corrected_as_by_real_cyrus() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let (site, folder) = filled(&real);
    let server = site.start(&real);
    let mut admin = server.imap("admin");
    admin.ok("SETQUOTA user/alice/Box (STORAGE 4 MESSAGE 100)");
    admin.ok("SETQUOTA shared (X-NUM-FOLDERS 3)");
    server.stop();
    for arguments in [
        &[][..],
        &["user/alice"],
        &["-u", "alice"],
        &["-J"],
        &["nosuch"],
        &["-f"],
    ] {
        let expected = site.tool_ok(&real, "quota", arguments);
        assert_eq!(site.tool_ok(&ours, "quota", arguments), expected, "{arguments:?}");
    }
    let root = site.root().join("conf/quota/a/user.alice.Box");
    let text = fs::read_to_string(&root).expect("the quota file");
    // Seven messages of 51 octets.
    assert!(text.contains("357"), "{text}");
    fs::write(&root, text.replacen("357", "77777", 1)).expect("the quota file");
    let lines = |programs: &Programs, arguments: &[&str]| site.tool_ok(programs, "quota", arguments);
    let dry = lines(&real, &["-f", "-n", "-q"]);
    assert!(dry.contains("77777"), "{dry}");
    assert_eq!(lines(&ours, &["-f", "-n", "-q"]), dry);
    lines(&ours, &["-f", "-q"]);
    assert_eq!(lines(&real, &["-f", "-n", "-q"]), "");
    // Real Cyrus raises the modification sequence even with -n.
    let usage = |text: &str| text.split(" MODSEQ").next().map(str::to_owned);
    let corrected = fs::read_to_string(&root).expect("the quota file");
    assert_eq!(usage(&corrected), usage(&text));

    let header = folder.join("cyrus.header");
    let right = fs::read(&header).expect("the header file");
    let wrong = String::from_utf8_lossy(&right).into_owned();
    assert!(wrong.contains("Q user.alice.Box "), "{wrong}");
    let wrong: Vec<u8> = replaced(&right, b"Q user.alice.Box ", b"Q user.alice ");
    fs::write(&header, wrong).expect("the header file");
    let told = lines(&ours, &["-f", "-q"]);
    assert_eq!(told, "user.alice.Box: quota root user.alice --> user.alice.Box\n");
    assert_eq!(fs::read(&header).expect("the header file"), right);
    assert_sound(&site, &real);
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes
        .windows(from.len())
        .position(|window| window == from)
        .expect("the text is there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}
