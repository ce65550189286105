//! Where messages lie: the archive partition, metadata partitions, and mailboxes that move while clients work in them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::rig::audit::complaints;
use crate::rig::imap::Imap;
use crate::rig::programs::Programs;
use crate::rig::site::Site;

/// A message of so many octets at least.
fn message(subject: &str, octets: usize) -> Vec<u8> {
    let line = "a line of some words that says nothing\r\n";
    let body = line.repeat(octets / line.len() + 1);
    format!("From: rig@rig.example\r\nSubject: {subject}\r\n\r\n{body}").into_bytes()
}

fn append(imap: &mut Imap, mailbox: &str, options: &str, text: &[u8]) {
    let reply = imap.append(mailbox, options, text).expect("an answer");
    assert!(reply.is_ok(), "{}", reply.status);
}

/// The files of messages below a folder, by the numbers in their names.
fn message_files(root: &Path, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![root.join(folder)];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(entry.path());
            } else if name
                .strip_suffix('.')
                .is_some_and(|uid| uid.parse::<u32>().is_ok())
            {
                found.push(name);
            }
        }
    }
    found.sort();
    found
}

/// A site with partitions of all kinds.
fn site(more: &[(&str, &str)]) -> Site {
    let site = Site::new(more, &["alice", "bob"]);
    let root = site.root().display();
    site.configure(&format!(
        "partition-second: {root}/second\narchivepartition-default: {root}/archive\n\
         archivepartition-second: {root}/archive2\n"
    ));
    site
}

/// Everything that a client can see of a mailbox's messages.
fn all_of(imap: &mut Imap, mailbox: &str) -> Vec<String> {
    imap.ok(&format!("EXAMINE {mailbox}"));
    let fetched = imap.ok("FETCH 1:* (UID INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])");
    let seen = fetched.fetched().map(|message| format!("{:?}", message.items));
    let seen = seen.collect();
    imap.ok("UNSELECT");
    seen
}

/// What real Cyrus's tools find wrong. Its `mbexamine -c` looks for archived messages, its own among them, where others are.
fn assert_sound_but_for_archived(site: &Site, real: &Programs) {
    let mut found = complaints(site, real);
    found.retain(|complaint| !complaint.starts_with("mbexamine -c"));
    assert_eq!(found, [""; 0]);
}

#[test]
fn what_either_archives_the_other_serves() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    for meta in [
        "",
        "header index cache annotations",
        "header index cache annotations archivecache",
    ] {
        // New messages are not archived at once, however old they are.
        let site = site(&[("archive_enabled", "yes"), ("archive_after", "20000d")]);
        if !meta.is_empty() {
            let root = site.root().display();
            site.configure(&format!(
                "metapartition-default: {root}/meta\nmetapartition_files: {meta}\n"
            ));
        }
        let one = site.start(&ours);
        let two = site.start_beside(&real);
        one.imap("admin").ok("CREATE user/alice");
        let (mut here, mut there) = (one.imap("alice"), two.imap("alice"));
        for (number, subject) in (1..).zip(["one", "two", "three", "four", "five", "six"]) {
            let date = "\"01-Feb-2020 03:04:05 +0000\" ";
            let (date, flags) = match number {
                3 => (date, "(\\Flagged) "),
                4 => ("", ""),
                _ => (date, ""),
            };
            append(
                &mut here,
                "INBOX",
                &format!("{flags}{date}"),
                &message(subject, 300),
            );
        }
        here.ok("SELECT INBOX");
        here.ok("STORE 6 +FLAGS (\\Deleted)");
        here.ok("EXPUNGE");
        here.ok("UNSELECT");
        let before = all_of(&mut here, "INBOX");
        assert_eq!(before.len(), 5);
        assert_eq!(message_files(site.root(), "archive"), [""; 0]);

        // The first half by one, the other by the other: only what is old, and each time the same.
        let expire = |programs: &Programs| {
            site.tool_ok(programs, "cyr_expire", &["-A", "30d", "-p", "user/alice"]);
        };
        expire(&ours);
        assert_eq!(
            message_files(site.root(), "archive"),
            ["1.", "2.", "3.", "5."],
            "{meta}"
        );
        assert_eq!(message_files(site.root(), "spool"), ["4.", "6."], "{meta}");
        assert_eq!(all_of(&mut here, "INBOX"), before);
        assert_eq!(all_of(&mut there, "INBOX"), before, "{meta}");
        append(
            &mut there,
            "INBOX",
            "\"01-Feb-2020 03:04:05 +0000\" ",
            &message("seven", 300),
        );
        expire(&real);
        assert_eq!(
            message_files(site.root(), "archive"),
            ["1.", "2.", "3.", "5.", "7."],
            "{meta}"
        );
        let after = all_of(&mut there, "INBOX");
        assert_eq!(after.len(), 6);
        assert_eq!(all_of(&mut here, "INBOX"), after, "{meta}");

        // Searching, copying, flags, and expunging with all that follows.
        here.ok("SELECT INBOX");
        let found = here.ok("SEARCH BODY \"some words\" SUBJECT five");
        let found: Vec<String> = found.data("SEARCH").flatten().map(|one| one.text()).collect();
        assert_eq!(found, ["5"]);
        here.ok("CREATE Copies");
        here.ok("COPY 1:* Copies");
        here.ok("STORE 1 +FLAGS (\\Deleted kept)");
        here.ok("EXPUNGE");
        here.ok("UNSELECT");
        assert_eq!(all_of(&mut there, "Copies").len(), 6);
        for programs in [&ours, &real] {
            site.tool_ok(programs, "cyr_expire", &["-X", "0", "-p", "user/alice"]);
            let at = all_of(&mut here, "INBOX");
            assert_eq!(at, after[1..], "{}: {meta}", programs.name);
            there.ok("SELECT INBOX");
            there.ok("STORE 1 +FLAGS (\\Seen)");
            there.ok("UNSELECT");
        }
        assert!(!message_files(site.root(), "archive").contains(&"1.".to_owned()));
        one.stop();
        two.stop();
        assert_sound_but_for_archived(&site, &real);
        let told = site.tool_ok(&ours, "reconstruct", &["-n", "-G", "user/alice"]);
        assert!(told.lines().all(|line| line.starts_with("user/alice")), "{told}");
    }
}

#[test]
fn large_and_old_messages_go_to_the_archive_at_once() {
    for programs in [Programs::ours(), Programs::real()].into_iter().flatten() {
        let site = site(&[("archive_enabled", "yes"), ("archive_maxsize", "4")]);
        let server = site.start(&programs);
        server.imap("admin").ok("CREATE user/alice");
        let mut alice = server.imap("alice");
        append(&mut alice, "INBOX", "", &message("small", 300));
        append(&mut alice, "INBOX", "", &message("large", 5000));
        append(
            &mut alice,
            "INBOX",
            "\"01-Feb-2020 03:04:05 +0000\" ",
            &message("old", 300),
        );
        let mut lmtp = server.lmtp();
        for octets in [300, 300_000] {
            let said = lmtp
                .deliver(&["alice"], &message("sent", octets))
                .expect("a delivery");
            assert!(said[0].starts_with("250"), "{said:?}");
        }
        assert_eq!(
            message_files(site.root(), "spool"),
            ["1.", "4."],
            "{}",
            programs.name
        );
        assert_eq!(
            message_files(site.root(), "archive"),
            ["2.", "3.", "5."],
            "{}",
            programs.name
        );
        assert_eq!(all_of(&mut alice, "INBOX").len(), 5);
        server.stop();
    }
}

#[test]
fn a_message_is_archived_under_a_client_that_reads_it() {
    let Some(ours) = Programs::ours() else { return };
    let site = site(&[("archive_enabled", "yes"), ("archive_after", "20000d")]);
    let server = site.start(&ours);
    server.imap("admin").ok("CREATE user/alice");
    let mut alice = server.imap("alice");
    for _ in 0..50 {
        append(
            &mut alice,
            "INBOX",
            "\"01-Feb-2020 03:04:05 +0000\" ",
            &message("one of many", 2000),
        );
    }
    alice.ok("SELECT INBOX");
    let before: Vec<_> = fetch_all(&mut alice);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut reader = server.imap("alice");
            reader.ok("SELECT INBOX");
            while !done.load(Ordering::Relaxed) {
                assert_eq!(fetch_all(&mut reader), before);
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        site.tool_ok(&ours, "cyr_expire", &["-A", "0"]);
        std::thread::sleep(Duration::from_millis(200));
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(fetch_all(&mut alice), before);
    assert_eq!(message_files(site.root(), "archive").len(), 50);
    alice.ok("UNSELECT");
    // Whoever closes the mailbox last, or looks after it next, takes the first files away.
    site.tool_ok(&ours, "cyr_expire", &["-A", "0"]);
    assert_eq!(message_files(site.root(), "spool"), [""; 0]);
    server.stop();
}

fn fetch_all(imap: &mut Imap) -> Vec<String> {
    let fetched = imap.ok("FETCH 1:* (UID BODY.PEEK[])");
    fetched
        .fetched()
        .map(|message| format!("{:?}", message.items))
        .collect()
}

/// An administrator moves a mailbox to and fro while clients deliver, append, flag, copy and read in it, one of them idle:
/// they wait at most, and miss nothing.
#[test]
fn a_mailbox_moves_to_another_partition_under_clients_that_work_in_it() {
    let Some(ours) = Programs::ours() else { return };
    let site = site(&[("archive_enabled", "yes"), ("archive_maxsize", "4")]);
    let server = site.start(&ours);
    let mut admin = server.imap("admin");
    admin.ok("CREATE user/alice");
    let mut alice = server.imap("alice");
    alice.ok("CREATE work");
    alice.ok("CREATE copies");
    alice.ok("SETACL work anyone p");
    for octets in [300, 5000].repeat(20) {
        append(&mut alice, "work", "", &message("first", octets));
    }
    let mut idle = server.imap("alice");
    idle.ok("SELECT work");
    idle.idle().expect("IDLE");
    let done = AtomicBool::new(false);
    let (appended, delivered) = std::thread::scope(|scope| {
        let appender = scope.spawn(|| {
            let mut imap = server.imap("alice");
            imap.ok("SELECT work");
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                count += 1;
                append(&mut imap, "work", "(mine) ", &message("mine", 300));
                imap.ok("UID STORE 1:* +FLAGS.SILENT (touched)");
                imap.ok("NOOP");
            }
            count
        });
        let deliverer = scope.spawn(|| {
            let mut lmtp = server.lmtp();
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                count += 1;
                let text = message(&format!("delivered {count}"), 5000);
                let said = lmtp.deliver(&["alice+work"], &text).expect("a delivery");
                assert!(said[0].starts_with("250"), "{said:?}");
            }
            count
        });
        scope.spawn(|| {
            let mut imap = server.imap("alice");
            imap.ok("SELECT work");
            while !done.load(Ordering::Relaxed) {
                imap.ok("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER])");
                imap.ok("UID COPY 1:3 copies");
                imap.ok("STATUS work (MESSAGES UIDNEXT)");
            }
        });
        for _ in 0..5 {
            for partition in ["second", "default"] {
                admin.ok(&format!("RENAME user/alice/work user/alice/work {partition}"));
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        admin.ok("RENAME user/alice/work user/alice/work second");
        done.store(true, Ordering::Relaxed);
        (
            appender.join().expect("the appender"),
            deliverer.join().expect("the deliverer"),
        )
    });
    let expected = 40 + appended + delivered;
    let mut looks = server.imap("alice");
    looks.ok("SELECT work");
    let fetched = looks.ok("FETCH 1:* (UID BODY.PEEK[])");
    let uids: BTreeSet<u32> = fetched.fetched().map(|message| message.uid).collect();
    assert_eq!(uids.len(), expected);
    println!("{appended} appended, {delivered} delivered");
    // What comes from now on is told, too, wherever the files are.
    idle.hear(&format!("* {expected} EXISTS"), Duration::from_secs(20))
        .expect("news while idling");
    append(&mut looks, "work", "", &message("last", 300));
    idle.hear(&format!("* {} EXISTS", expected + 1), Duration::from_secs(20))
        .expect("news after the move");
    assert!(idle.done().expect("DONE").is_ok());
    for (folder, holds) in [("second", true), ("archive2", true)] {
        assert_eq!(!message_files(site.root(), folder).is_empty(), holds, "{folder}");
    }
    server.stop();
    if let Some(real) = Programs::real() {
        assert_sound_but_for_archived(&site, &real);
    }
}
