//! mbsync keeps a Maildir and the server the same, in both directions, over several thousand messages.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::{mail, served};
use crate::rig::imap::Imap;
use crate::rig::programs::{Programs, run};

const MESSAGES: u32 = 3000;

fn mbsync_keeps_both_sides_the_same(programs: Option<Programs>) {
    let Some((site, server)) = served("mbsync", programs) else {
        return;
    };
    let mut imap = server.imap("alice");
    imap.ok("CREATE Lists");
    for number in 0..MESSAGES {
        let mailbox = if number % 10 == 0 { "Lists" } else { "INBOX" };
        let flags = if number % 3 == 0 { "(\\Seen) " } else { "" };
        assert!(
            imap.append(mailbox, flags, &mail(number, "server"))
                .expect("append")
                .is_ok()
        );
    }

    let root = site.root().join("mbsync");
    let maildir = root.join("mail");
    std::fs::create_dir_all(&maildir).expect("a folder for the Maildir");
    let settings = format!(
        "IMAPAccount rig\nHost 127.0.0.1\nPort {}\nUser alice\nPass pass\nSSLType None\nAuthMechs LOGIN\n\n\
         IMAPStore far\nAccount rig\n\nMaildirStore near\nPath {maildir}/\nInbox {maildir}/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSync All\nSyncState {root}/state-\n",
        server.imap_port,
        maildir = maildir.display(),
        root = root.display()
    );
    std::fs::write(root.join("mbsyncrc"), settings).expect("mbsync's settings");
    let sync = || {
        run(Command::new("mbsync")
            .arg("-c")
            .arg(root.join("mbsyncrc"))
            .arg("all")
            .current_dir(&root))
    };

    sync();
    assert_same(&mut imap, &maildir);
    assert_eq!(
        far_side(&mut imap, "INBOX").len() + far_side(&mut imap, "Lists").len(),
        3000
    );

    // Both sides change: flags, removals, new mail, a new mailbox.
    imap.ok("SELECT INBOX");
    imap.ok("UID STORE 1:50 +FLAGS (\\Flagged)");
    imap.ok("UID STORE 51:100 +FLAGS.SILENT (\\Deleted)");
    imap.ok("EXPUNGE");
    assert!(
        imap.append("INBOX", "", &mail(1, "late"))
            .expect("append")
            .is_ok()
    );
    let inbox = near_files(&maildir.join("INBOX"));
    for path in inbox
        .iter()
        .filter(|path| path.contains("/cur/") && is_late(path))
        .take(30)
    {
        let renamed = if path.contains(":2,") {
            format!("{path}T")
        } else {
            format!("{path}:2,ST")
        };
        std::fs::rename(path, renamed).expect("renaming a message of the Maildir");
    }
    for number in 0..40 {
        let text = String::from_utf8(mail(number, "near"))
            .expect("it is text")
            .replace("\r\n", "\n");
        std::fs::write(maildir.join(format!("INBOX/new/1700000000.{number}.rig")), text)
            .expect("a new message");
    }
    for folder in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(maildir.join("Fresh").join(folder)).expect("a new Maildir");
    }
    sync();
    assert_same(&mut imap, &maildir);
    assert_eq!(far_side(&mut imap, "INBOX").len(), 2700 - 50 - 30 + 1 + 40);
    imap.ok("SELECT Fresh");
    sync();
    assert_same(&mut imap, &maildir);
    server.stop();
}

/// Whether a message is one of the last thousand, of which the other side expunges none.
fn is_late(path: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.contains("<server.2"))
}

/// Panics unless each mailbox holds the same messages with the same flags on both sides.
fn assert_same(imap: &mut Imap, maildir: &Path) {
    for mailbox in ["INBOX", "Lists"] {
        let (far, near) = (far_side(imap, mailbox), near_side(&maildir.join(mailbox)));
        assert!(
            far == near,
            "{mailbox}: {:?}",
            far.symmetric_difference(&near).take(5).collect::<Vec<_>>()
        );
    }
}

/// Every message's Message-ID with its flags in Maildir's letters.
fn far_side(imap: &mut Imap, mailbox: &str) -> BTreeSet<String> {
    imap.ok(&format!("SELECT {mailbox}"));
    let reply = imap.ok("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])");
    let messages = reply.fetched().map(|message| {
        let flags = message
            .item("FLAGS")
            .map(|flags| flags.list().to_vec())
            .unwrap_or_default();
        let letters: BTreeSet<&str> = (flags.iter())
            .filter_map(|flag| match flag.text().as_str() {
                "\\Seen" => Some("S"),
                "\\Flagged" => Some("F"),
                "\\Answered" => Some("R"),
                "\\Deleted" => Some("T"),
                "\\Draft" => Some("D"),
                _ => None,
            })
            .collect();
        let header = message
            .items
            .iter()
            .find(|(item, _)| item.starts_with("BODY["))
            .map(|(_, value)| value.text());
        let header = header.unwrap_or_default();
        format!("{} {}", header.trim(), letters.into_iter().collect::<String>())
    });
    messages.collect()
}

fn near_side(maildir: &Path) -> BTreeSet<String> {
    let messages = near_files(maildir).into_iter().map(|path| {
        let text = std::fs::read(&path).expect("a message of the Maildir");
        let text = String::from_utf8_lossy(&text).into_owned();
        let id = text
            .lines()
            .find(|line| line.starts_with("Message-ID:"))
            .unwrap_or_default()
            .to_owned();
        let letters: BTreeSet<char> = path
            .split_once(":2,")
            .map_or("", |(_, letters)| letters)
            .chars()
            .collect();
        format!("{id} {}", letters.into_iter().collect::<String>())
    });
    messages.collect()
}

fn near_files(maildir: &Path) -> Vec<String> {
    let folders = ["cur", "new"]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(maildir.join(folder)).into_iter().flatten());
    folders
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .collect()
}

#[test]
fn mbsync_keeps_both_sides_the_same_with_real_cyrus() {
    mbsync_keeps_both_sides_the_same(Programs::real());
}

#[test]
fn mbsync_keeps_both_sides_the_same_with_us() {
    mbsync_keeps_both_sides_the_same(Programs::ours());
}
