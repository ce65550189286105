//! The life of a mailbox and its messages: expired, expunged, brought back, deleted, undeleted, renamed with its user; what this
//! project's tools leave of a spool is what those of real Cyrus leave of the same spool.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use cyrus_store::format::index::IndexHeader;

use crate::rig::audit::{assert_sound, complaints};
use crate::rig::imap::Imap;
use crate::rig::programs::{Programs, both, run};
use crate::rig::site::Site;

fn append(imap: &mut Imap, mailbox: &str, options: &str, subject: &str, date: &str) {
    let text = format!("From: a@rig.example\r\nDate: {date}\r\nSubject: {subject}\r\n\r\nHello.\r\n");
    let reply = imap.append(mailbox, options, text.as_bytes()).expect("an answer");
    assert!(reply.is_ok(), "{}", reply.status);
}

const OLD: &str = "Wed, 3 Jan 2001 10:20:30 +0000";
const NEW: &str = "Tue, 24 Nov 2026 10:20:30 +0000";

/// A spool with something of everything that has its time.
fn filled(options: &[(&str, &str)]) -> Option<(Site, Programs, Programs)> {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return None;
    };
    let site = Site::new(options, &["alice", "alice2", "bob"]);
    let server = site.start(&real);
    let mut admin = server.imap("admin");
    for user in ["alice", "alice2", "bob"] {
        admin.ok(&format!("CREATE user/{user}"));
        admin.ok(&format!(
            "SETQUOTA user/{user} (STORAGE 1000 MESSAGE 100 X-NUM-FOLDERS 20)"
        ));
        let mut imap = server.imap(user);
        for mailbox in ["Trash", "Trash/Sub", "Kept", "Gone", "Gone2"] {
            imap.ok(&format!("CREATE {mailbox}"));
        }
        for mailbox in ["INBOX", "Trash", "Trash/Sub", "Kept", "Gone"] {
            append(
                &mut imap,
                mailbox,
                "(\\Flagged first) \"03-Jan-2001 10:20:30 +0000\" ",
                "old",
                OLD,
            );
            append(&mut imap, mailbox, "(unused) ", "expunged", OLD);
            append(&mut imap, mailbox, "(\\Seen) ", "new", NEW);
            append(
                &mut imap,
                mailbox,
                "(\\Seen first third) ",
                "expunged as well",
                NEW,
            );
            imap.ok(&format!("SELECT {mailbox}"));
            imap.ok("STORE 2,4 +FLAGS (\\Deleted)");
            imap.ok("EXPUNGE");
            imap.ok("UNSELECT");
        }
        imap.ok("SUBSCRIBE Kept");
        // Of each by itself: that mailboxes below inherit it is documented, but not so in real Cyrus 3.6.1.
        for (mailbox, entry, days) in [
            ("Trash", "expire", 3),
            ("Trash/Sub", "expire", 4),
            ("Gone2", "delete", 1),
        ] {
            // Real Cyrus 3.6.1 looks at no deleted mailbox after one that it keeps.
            if mailbox == "Gone2" && user != "bob" {
                continue;
            }
            admin.ok(&format!(
                "SETMETADATA user/{user}/{mailbox} (/shared/vendor/cmu/cyrus-imapd/{entry} \"{days}\")"
            ));
        }
        admin.ok(&format!(
            "SETMETADATA user/{user}/Kept (/shared/vendor/cmu/cyrus-imapd/expire \"0\")"
        ));
        imap.ok("DELETE Gone");
        imap.ok("DELETE Gone2");
        let said = server
            .lmtp()
            .deliver(
                &[user],
                b"Message-ID: <one@rig.example>\r\nSubject: x\r\n\r\nHello.\r\n",
            )
            .expect("a delivery");
        assert!(said[0].starts_with("250"), "{said:?}");
    }
    drop(admin);
    server.stop();
    Some((site, ours, real))
}

/// Keeps a spool to come back to.
struct Saved<'s> {
    site: &'s Site,
}

impl<'s> Saved<'s> {
    fn of(site: &'s Site) -> Self {
        run(Command::new("mkdir").arg(site.root().join("saved")));
        let saved = Self { site };
        saved.copy(site.root(), &site.root().join("saved"));
        saved
    }

    fn copy(&self, from: &Path, to: &Path) {
        for folder in ["conf", "spool"] {
            let _ = std::fs::remove_dir_all(to.join(folder));
            run(Command::new("cp")
                .arg("-a")
                .arg(from.join(folder))
                .arg(to.join(folder)));
        }
    }

    fn restore(&self) {
        self.copy(&self.site.root().join("saved"), self.site.root());
    }
}

/// What a spool holds: the files of messages, the indexes with all their records, and the lists, with times of the last hour
/// masked.
fn contents(site: &Site, real: &Programs) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![site.root().join("spool"), site.root().join("conf/quota")];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path
                .strip_prefix(site.root())
                .expect("it is below")
                .display()
                .to_string();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(path);
            } else if name.ends_with("cyrus.index") {
                found.insert(name, index(&path));
            } else if name.ends_with('.') {
                found.insert(name, String::new());
            } else if name.starts_with("conf/quota") {
                let text = std::fs::read_to_string(&path).expect("a quota root");
                // How often it was written is nobody's business.
                let text = text.split(" MODSEQ").next().unwrap_or_default().to_owned();
                found.insert(name, text);
            }
        }
    }
    let list = site.tool_ok(real, "ctl_mboxlist", &["-d"]);
    found.insert("the list".to_owned(), masked(&list));
    let db = site.root().join("conf/deliver.db").display().to_string();
    let marks = site.tool(real, "cyr_dbtool", &[&db, "twoskip", "show"]);
    let mut lines: Vec<String> = both(&marks)
        .lines()
        .map(|line| line.split('\t').next().unwrap_or_default().to_owned())
        .collect();
    lines.sort();
    found.insert("deliver.db".to_owned(), lines.join("\n"));
    found
}

/// An index without what the moment of its last change decides.
fn index(path: &Path) -> String {
    let bytes = std::fs::read(path).expect("an index");
    let header = IndexHeader::parse(&bytes).expect("an intact index");
    let records = header.records(&bytes).expect("its records");
    let mut text = format!(
        "generation {} exists {} last {} octets {} modseq {} deleted modseq {} options {} flags {:?}\n",
        header.generation,
        header.exists,
        header.last_uid,
        header.quota_mailbox_used,
        header.highestmodseq,
        header.deletedmodseq,
        header.options,
        (header.answered, header.deleted, header.flagged, header.unseen),
    );
    for view in records.iter() {
        let record = view.record().expect("an intact record");
        text.push_str(&format!(
            "  {} size {} dates {} {} modseq {} flags {:x} {:?} cache {}\n",
            record.uid,
            record.size,
            masked(&record.internaldate.to_string()),
            masked(&record.gmtime.to_string()),
            record.modseq,
            record.flags,
            record.keywords,
            record.cache_offset != 0,
        ));
    }
    let header_file = std::fs::read(path.with_file_name("cyrus.header")).expect("a header file");
    text.push_str(&String::from_utf8_lossy(&header_file));
    text
}

/// Numbers that are times of the last hour become a word.
fn masked(text: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let recent = |number: u64| number <= now + 60 && number + 3600 >= now;
    let mut out = String::new();
    let mut digits = String::new();
    for character in text.chars().chain([' ']) {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        match digits.parse() {
            Ok(number) if recent(number) => out.push_str("<now>"),
            _ => out.push_str(&digits),
        }
        digits.clear();
        out.push(character);
    }
    out.trim_end().to_owned()
}

/// The lines of records without their modification sequences.
fn without_modseqs(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(" modseq ") {
        Some((before, after)) if line.starts_with("  ") => {
            let rest = after.split_once(' ').map_or("", |(_, rest)| rest);
            format!("{before} {rest}")
        }
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The lines of records without keywords.
fn without_keywords(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(" KeywordBits") {
        Some((before, _)) => before,
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs a tool of each implementation on the same spool; what is printed, and what is left.
fn assert_same(
    saved: &Saved<'_>,
    ours: &Programs,
    real: &Programs,
    tool: &str,
    arguments: &[&str],
) -> String {
    let mut results = Vec::new();
    for programs in [real, ours] {
        saved.restore();
        let output = saved.site.tool(programs, tool, arguments);
        let said = format!("{}\n{}", output.status, both(&output));
        results.push((said, contents(saved.site, real)));
    }
    let [(said_by_real, left_by_real), (said, left)] = results.as_slice() else {
        unreachable!("there are two")
    };
    let context = format!("{tool} {arguments:?}");
    // Which of two changes of one commit comes first, nobody can see.
    let shown = |text: Option<&String>| match tool {
        "unexpunge" => text.map(|text| without_modseqs(text)),
        // Real Cyrus leaves expunged messages with flags that have no name any more, and may get another one.
        _ if arguments.contains(&"-t") => text.map(|text| without_keywords(text)),
        _ => text.cloned(),
    };
    assert_eq!(masked(said), masked(said_by_real), "{context}");
    let names: std::collections::BTreeSet<&String> = left.keys().chain(left_by_real.keys()).collect();
    for name in names {
        let (ours, real) = (shown(left.get(name)), shown(left_by_real.get(name)));
        assert_eq!(ours, real, "{context}: {name}\n{said}");
    }
    said.clone()
}

#[test]
fn cyr_expire_leaves_what_that_of_cyrus_leaves() {
    // Messages are not removed in the run in which they expire: whether they are depends on the second.
    let Some((site, ours, real)) = filled(&[]) else {
        return;
    };
    let saved = Saved::of(&site);
    for arguments in [
        &["-E", "3", "-x", "-c", "-v"][..],
        &["-E", "3", "-a", "-v"],
        &["-E", "0", "-X", "0", "-D", "0", "-a", "-v"],
        &["-X", "0", "-a", "-v"],
        &["-X", "0", "-a", "-t", "-v"],
        &["-t", "-v"],
        &["-D", "0", "-v"],
        &["-D", "0", "-a", "-v"],
        &["-D", "0", "-p", "user/alice", "-v"],
        &["-D", "0", "-u", "alice", "-v"],
        &["-X", "0", "-a", "-p", "user/alice/Trash", "-v"],
        &["-E", "3", "-X", "1h", "-u", "alice", "-v"],
        &["-E", "3", "-X", "1h", "-p", "user/alice/", "-v"],
    ] {
        assert_same(&saved, &ours, &real, "cyr_expire", arguments);
    }
    site.tool_ok(&ours, "cyr_expire", &["-E", "3", "-X", "0", "-D", "0", "-t"]);
    std::fs::remove_dir_all(site.root().join("saved")).expect("the saved spool");
    assert_sound(&site, &real);
}

#[test]
fn unexpunge_brings_back_what_that_of_cyrus_brings_back() {
    let Some((site, ours, real)) = filled(&[]) else {
        return;
    };
    let saved = Saved::of(&site);
    for arguments in [
        &["-l", "user/alice"][..],
        &["-l", "user/alice", "2"],
        &["-u", "user/alice", "2"],
        &["-u", "-v", "user/alice/Kept", "2", "4"],
        &["-u", "-d", "-v", "user/alice/Kept", "4", "9"],
        &["-a", "user/alice/Trash/Sub"],
        &["-a", "-d", "-v", "-f", "found", "user/alice/Trash/Sub"],
        &["-a", "-f", "\\Answered", "user/alice"],
        &["-t", "1h", "-v", "user/alice"],
        &["-t", "0s", "-v", "user/alice"],
        &["-t", "5d", "-d", "user/bob/Kept"],
    ] {
        assert_same(&saved, &ours, &real, "unexpunge", arguments);
    }
    site.tool_ok(&ours, "unexpunge", &["-a", "user/alice"]);
    std::fs::remove_dir_all(site.root().join("saved")).expect("the saved spool");
    // Records of messages without files stay until the next repack, and that is told.
    let mut found = complaints(&site, &real);
    found.retain(|complaint| !complaint.starts_with("mbexamine -c"));
    assert_eq!(found, [""; 0]);
}

/// The names below `DELETED`.
fn deleted(admin: &mut Imap) -> Vec<String> {
    let listed = admin.ok("LIST \"\" DELETED/*");
    listed
        .data("LIST")
        .filter_map(|data| Some(data.get(2)?.text()))
        .collect()
}

/// Where a deleted mailbox was.
fn before(name: &str) -> String {
    let path: PathBuf = name.strip_prefix("DELETED/").expect("a deleted name").into();
    path.parent().expect("a time at the end").display().to_string()
}

fn messages(imap: &mut Imap, mailbox: &str) -> Option<u64> {
    let status = imap
        .command(&format!("STATUS {mailbox} (MESSAGES)"))
        .expect("an answer");
    status.data("STATUS").next()?.get(1)?.list().get(1)?.number()
}

#[test]
fn deleted_mailboxes_and_users_come_back_by_renaming_them() {
    for programs in [Programs::ours(), Programs::real()].into_iter().flatten() {
        let site = Site::new(&[], &["alice", "bob"]);
        let server = site.start(&programs);
        let name = programs.name;
        let mut admin = server.imap("admin");
        admin.ok("CREATE user/alice");
        admin.ok("SETQUOTA user/alice (MESSAGE 100)");
        let mut alice = server.imap("alice");
        for mailbox in ["a", "a/b", "c"] {
            alice.ok(&format!("CREATE {mailbox}"));
        }
        for mailbox in ["INBOX", "a", "a/b", "c"] {
            append(&mut alice, mailbox, "(\\Flagged) ", "x", NEW);
        }
        alice.ok("SETACL c bob lrs");
        let quota = |admin: &mut Imap| format!("{:?}", admin.ok("GETQUOTA user/alice").untagged);
        let whole = quota(&mut admin);

        // A mailbox, at its place or another.
        alice.ok("DELETE c");
        assert_eq!(messages(&mut alice, "c"), None);
        assert!(quota(&mut admin).contains("\"3\""), "{name}");
        let gone = deleted(&mut admin);
        assert_eq!(gone.len(), 1, "{name}: {gone:?}");
        let (old, hex) = gone[0].rsplit_once('/').expect("a time at the end");
        assert_eq!(old, "DELETED/user/alice/c");
        assert!(
            hex.bytes()
                .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
        );
        let refused = alice
            .command(&format!("RENAME {} c", gone[0]))
            .expect("an answer");
        assert!(refused.status.starts_with("NO"), "{name}: {}", refused.status);
        let refused = admin
            .command(&format!("RENAME {} user/alice/a", gone[0]))
            .expect("an answer");
        assert_eq!(refused.status, "NO Mailbox already exists", "{name}");
        admin.ok(&format!("RENAME {} user/alice/c", gone[0]));
        assert_eq!(messages(&mut alice, "c"), Some(1), "{name}");
        assert_eq!(quota(&mut admin), whole, "{name}");
        let mut bob = server.imap("bob");
        assert_eq!(messages(&mut bob, "\"Other Users/alice/c\""), Some(1), "{name}");
        alice.ok("DELETE c");
        let gone = deleted(&mut admin);
        admin.ok(&format!("RENAME {} user/alice/a/d", gone[0]));
        assert_eq!(messages(&mut alice, "a/d"), Some(1), "{name}");
        assert_eq!(quota(&mut admin), whole, "{name}");

        // A user.
        admin.ok("SETACL user/alice admin lrswipkxtecda");
        admin.ok("DELETE user/alice");
        let gone = deleted(&mut admin);
        assert_eq!(gone.len(), 4, "{name}: {gone:?}");
        for mailbox in &gone {
            admin.ok(&format!("RENAME {mailbox} {}", before(mailbox)));
        }
        assert_eq!(deleted(&mut admin), [""; 0]);
        let mut alice = server.imap("alice");
        for mailbox in ["INBOX", "a", "a/b", "a/d"] {
            assert_eq!(messages(&mut alice, mailbox), Some(1), "{name}: {mailbox}");
        }
        drop((admin, alice, bob));
        server.stop();
        if let Some(real) = Programs::real() {
            assert_sound(&site, &real);
        }
    }
}

#[test]
fn a_renamed_user_takes_his_quota_roots_along() {
    for programs in [Programs::ours(), Programs::real()].into_iter().flatten() {
        let site = Site::new(&[("allowusermoves", "yes")], &["alice", "bella"]);
        let server = site.start(&programs);
        let mut admin = server.imap("admin");
        admin.ok("CREATE user/alice");
        let mut alice = server.imap("alice");
        alice.ok("CREATE inner");
        admin.ok("SETQUOTA user/alice (MESSAGE 100)");
        admin.ok("SETQUOTA user/alice/inner (MESSAGE 50)");
        append(&mut alice, "INBOX", "", "one", NEW);
        append(&mut alice, "inner", "", "two", NEW);
        append(&mut alice, "inner", "", "three", NEW);
        drop(alice);
        admin.ok("RENAME user/alice user/bella");
        let told = |admin: &mut Imap, root: &str| {
            format!(
                "{:?}",
                admin.command(&format!("GETQUOTA {root}")).expect("an answer")
            )
        };
        let name = programs.name;
        let outer = told(&mut admin, "user/bella");
        assert!(outer.contains("\"MESSAGE\",\"1\",\"100\""), "{name}: {outer}");
        let old = told(&mut admin, "user/alice");
        assert!(old.contains("NO "), "{name}: {old}");
        if programs.name == "ours" {
            // Those below, too, which real Cyrus leaves where nobody is.
            let inner = told(&mut admin, "user/bella/inner");
            assert!(inner.contains("\"MESSAGE\",\"2\",\"50\""), "{name}: {inner}");
        }
        assert_eq!(messages(&mut server.imap("bella"), "inner"), Some(2), "{name}");
        let found = both(&site.tool(&programs, "quota", &["-f"]));
        assert!(!found.contains("was") || name == "real", "{found}");
        server.stop();
    }
}
