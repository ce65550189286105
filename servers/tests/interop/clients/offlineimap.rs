//! offlineimap keeps a Maildir and the server the same, over compressed connections.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::{mail, served};
use crate::rig::imap::Imap;
use crate::rig::programs::{Programs, run};

const MESSAGES: u32 = 200;

fn offlineimap_keeps_both_sides_the_same(programs: Option<Programs>) {
    let Some((site, server)) = served("offlineimap", programs) else {
        return;
    };
    let mut imap = server.imap("alice");
    imap.ok("CREATE Lists");
    for number in 0..MESSAGES {
        let mailbox = if number % 10 == 0 { "Lists" } else { "INBOX" };
        let flags = if number % 3 == 0 { "(\\Seen) " } else { "" };
        let reply = imap.append(mailbox, flags, &mail(number, "server"));
        assert!(reply.expect("append").is_ok());
    }
    let root = site.root().join("offlineimap");
    let maildir = root.join("mail");
    std::fs::create_dir_all(&root).expect("a folder for offlineimap");
    let settings = format!(
        "[general]\nmetadata = {root}/state\naccounts = rig\nui = quiet\nfsync = False\n\n\
         [Account rig]\nlocalrepository = near\nremoterepository = far\n\n\
         [Repository near]\ntype = Maildir\nlocalfolders = {maildir}\n\n\
         [Repository far]\ntype = IMAP\nremotehost = 127.0.0.1\nremoteport = {}\nremoteuser = alice\nremotepass = pass\n\
         ssl = no\nstarttls = no\nauth_mechanisms = PLAIN\nusecompression = yes\nmaxconnections = 3\n",
        server.imap_port,
        root = root.display(),
        maildir = maildir.display(),
    );
    std::fs::write(root.join("rc"), settings).expect("offlineimap's settings");
    let sync = || {
        run(Command::new("offlineimap")
            .arg("-c")
            .arg(root.join("rc"))
            .arg("-o")
            .env("HOME", &root))
    };

    sync();
    assert_same(&mut imap, &maildir);
    assert_eq!(
        far_side(&mut imap, "INBOX").len() + far_side(&mut imap, "Lists").len(),
        200
    );

    // Both sides change: flags, removals, new mail.
    imap.ok("SELECT INBOX");
    imap.ok("UID STORE 1:20 +FLAGS (\\Flagged \\Answered)");
    imap.ok("UID STORE 21:40 +FLAGS.SILENT (\\Deleted)");
    imap.ok("EXPUNGE");
    assert!(
        imap.append("INBOX", "", &mail(1, "late"))
            .expect("append")
            .is_ok()
    );
    let late =
        |path: &&String| path.contains("INBOX/new/") && number_of(path).is_some_and(|number| number > 150);
    let unread: Vec<String> = near_files(&maildir.join("INBOX"))
        .into_iter()
        .filter(|path| late(&path))
        .collect();
    assert!(unread.len() > 10, "{unread:?}");
    for path in &unread[..5] {
        let seen = format!("{}S", path.replace("/new/", "/cur/"));
        std::fs::rename(path, seen).expect("marking a message of the Maildir");
    }
    for path in &unread[5..8] {
        std::fs::remove_file(path).expect("removing a message of the Maildir");
    }
    for number in 0..10 {
        let text = String::from_utf8(mail(number, "near")).expect("it is text");
        let text = text.replace("\r\n", "\n");
        std::fs::write(maildir.join(format!("INBOX/new/1700000000.{number}.rig")), text)
            .expect("a new message");
    }
    sync();
    assert_same(&mut imap, &maildir);
    assert_eq!(far_side(&mut imap, "INBOX").len(), 180 - 20 + 1 - 3 + 10);
    sync();
    assert_same(&mut imap, &maildir);
    server.stop();
}

/// Panics unless each mailbox holds the same messages with the same flags on both sides.
fn assert_same(imap: &mut Imap, maildir: &Path) {
    for mailbox in ["INBOX", "Lists"] {
        assert_eq!(
            far_side(imap, mailbox),
            near_side(&maildir.join(mailbox)),
            "{mailbox}"
        );
    }
}

/// The flags of every message in Maildir's letters, by Message-ID.
fn far_side(imap: &mut Imap, mailbox: &str) -> BTreeMap<String, String> {
    imap.ok(&format!("SELECT {mailbox}"));
    let reply = imap.ok("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])");
    let messages = reply.fetched().map(|message| {
        let flags = message
            .item("FLAGS")
            .map(|flags| flags.list().to_vec())
            .unwrap_or_default();
        let mut letters: Vec<&str> = (flags.iter())
            .filter_map(|flag| match flag.text().as_str() {
                "\\Seen" => Some("S"),
                "\\Flagged" => Some("F"),
                "\\Answered" => Some("R"),
                "\\Deleted" => Some("T"),
                "\\Draft" => Some("D"),
                _ => None,
            })
            .collect();
        letters.sort_unstable();
        let header = message.items.iter().find(|(item, _)| item.starts_with("BODY["));
        let header = header.map(|(_, value)| value.text()).unwrap_or_default();
        (header.trim().to_owned(), letters.concat())
    });
    messages.collect()
}

fn near_side(maildir: &Path) -> BTreeMap<String, String> {
    let messages = near_files(maildir).into_iter().map(|path| {
        let text = std::fs::read(&path).expect("a message of the Maildir");
        let text = String::from_utf8_lossy(&text);
        let id = text.lines().find(|line| line.starts_with("Message-ID:"));
        let letters = path.split_once(":2,").map_or("", |(_, letters)| letters);
        (id.unwrap_or_default().to_owned(), letters.to_owned())
    });
    messages.collect()
}

/// The number of the message that the server had first.
fn number_of(path: &str) -> Option<u32> {
    let text = std::fs::read_to_string(path).ok()?;
    let (_, rest) = text.split_once("<server.")?;
    rest.split_once('@')?.0.parse().ok()
}

fn near_files(maildir: &Path) -> Vec<String> {
    let folders = ["cur", "new"].into_iter();
    let files = folders.flat_map(|folder| std::fs::read_dir(maildir.join(folder)).into_iter().flatten());
    files
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .collect()
}

#[test]
fn offlineimap_keeps_both_sides_the_same_with_real_cyrus() {
    offlineimap_keeps_both_sides_the_same(Programs::real());
}

#[test]
fn offlineimap_keeps_both_sides_the_same_with_us() {
    offlineimap_keeps_both_sides_the_same(Programs::ours());
}
