//! S180 to S199: what is on the disk, and what is rebuilt from what.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use cyrus_store::format::cache::{self, CacheView};
use cyrus_store::format::header::MailboxHeader;
use cyrus_store::format::index::IndexHeader;
use cyrus_store::format::seen::SeenState;

use super::shared_site::{Group, Shared};
use crate::rig::imap::Imap;
use crate::rig::programs::Programs;
use crate::rig::site::Site;

static SERVED: Group = Group {
    options: &[("partition-second", "@ROOT@/second")],
    users: &[
        "u180", "u181", "u186", "v186", "u187", "u189", "u190", "u194", "u195", "u198",
    ],
    running: Mutex::new([std::sync::Weak::new(), std::sync::Weak::new()]),
    turn: Mutex::new(()),
};

/// A user with an INBOX, logged in, and its directory.
fn inbox(served: &Shared, user: &str) -> (Imap, PathBuf) {
    served.server().imap("admin").ok(&format!("CREATE user/{user}"));
    (
        served.server().imap(user),
        directory(served, &format!("user/{user}")),
    )
}

fn directory(served: &Shared, mailbox: &str) -> PathBuf {
    PathBuf::from(served.site.tool_ok(&served.programs, "mbpath", &[mailbox]).trim())
}

fn append(imap: &mut Imap, options: &str, subject: &str) {
    let text = format!("Subject: {subject}\r\n\r\nBody of {subject}.\r\n");
    let reply = imap.append("INBOX", options, text.as_bytes()).expect("an answer");
    assert!(reply.is_ok(), "{}", reply.status);
}

fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).expect("the directory of the mailbox");
    entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

fn words(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four octets"))
}

#[test]
fn s180_s182_s183_s184_s185_a_mailbox_is_its_messages_and_three_files_of_known_form() {
    SERVED.each(|served| {
        let (mut imap, folder) = inbox(served, "u180");
        append(
            &mut imap,
            "(\\Seen \\Flagged keyword) \"05-Feb-2001 10:20:30 +0000\" ",
            "one",
        );
        append(&mut imap, "", "two");
        imap.ok("LOGOUT");
        let names = names_in(&folder);
        for name in ["1.", "2.", "cyrus.header", "cyrus.index", "cyrus.cache"] {
            assert!(names.contains(name), "{name}: {names:?}");
        }
        let message = fs::read(folder.join("1.")).expect("a message file");
        assert_eq!(message, b"Subject: one\r\n\r\nBody of one.\r\n");

        let header = fs::read(folder.join("cyrus.header")).expect("cyrus.header");
        assert!(header.starts_with(b"\xa1\x02\x8b\x0dCyrus mailbox header\n"));
        let parsed = MailboxHeader::parse(&header).expect("a header file");
        assert_eq!(parsed.name, "user.u180");
        assert_eq!(parsed.acl[0].0, "u180");
        assert_eq!(
            parsed.keywords[0].as_ref().map(|keyword| keyword.as_str()),
            Some("keyword")
        );
        let shown = String::from_utf8_lossy(&header).into_owned();
        assert!(shown.contains("U (keyword)"), "{shown}");

        let index = fs::read(folder.join("cyrus.index")).expect("cyrus.index");
        let parsed = IndexHeader::parse(&index).expect("an index");
        assert_eq!(
            (words(&index, 8), words(&index, 12), words(&index, 16)),
            (17, 160, 112)
        );
        assert_eq!((words(&index, 20), parsed.last_uid, parsed.exists), (2, 2, 2));
        assert_eq!(
            words(&index, 156),
            crc32fast(&index[..156]),
            "the checksum of the header"
        );
        assert_eq!(
            words(&index, 160 + 108),
            crc32fast(&index[160..160 + 108]),
            "that of a record"
        );
        let records = parsed.records(&index).expect("records");
        let record = records.iter().next().expect("a record").record().expect("intact");
        assert_eq!((record.uid, record.size as usize), (1, message.len()));
        assert_eq!(record.internaldate, 981_368_430);
        assert_eq!(record.flags & 0x12, 0x12, "\\Flagged and the owner's \\Seen");

        let file = fs::read(folder.join("cyrus.cache")).expect("cyrus.cache");
        assert_eq!(cache::generation(&file), Some(parsed.generation));
        let view = CacheView::parse(&file, record.cache_offset).expect("a cache record");
        assert_eq!(view.items().len(), 10);
        assert_eq!(view.crc(), record.cache_crc);
        assert!(view.items()[0].starts_with(b"(NIL \"one\" "), "the envelope");
    });
}

fn crc32fast(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[test]
fn s181_messages_have_crlf_only_and_no_nul() {
    SERVED.each(|served| {
        let (mut imap, folder) = inbox(served, "u181");
        let replies = served
            .server()
            .lmtp()
            .deliver(&["u181"], b"Subject: bare\n\nline feeds\nonly\n")
            .expect("an answer");
        assert!(replies[0].starts_with("250"), "{replies:?}");
        let file = fs::read(folder.join("1.")).expect("the message");
        let bare = (0..file.len()).any(|at| file[at] == b'\n' && (at == 0 || file[at - 1] != b'\r'));
        assert!(
            !bare && file.windows(20).any(|part| part == b"\r\n\r\nline feeds\r\nonly"),
            "{}",
            String::from_utf8_lossy(&file)
        );
        for wrong in [
            &b"Subject: x\r\n\r\nnul \0 here\r\n"[..],
            b"Subject: x\r\n\r\nbare\nfeed\r\n",
        ] {
            let reply = imap.append("INBOX", "", wrong).expect("an answer");
            assert!(!reply.is_ok(), "{}", reply.status);
        }
        assert!(!folder.join("2.").exists());
    });
}

#[test]
fn s186_what_others_have_seen_is_in_their_own_database_by_unique_id() {
    SERVED.each(|served| {
        let (mut imap, folder) = inbox(served, "u186");
        append(&mut imap, "", "one");
        append(&mut imap, "", "two");
        served.server().imap("admin").ok("CREATE user/v186");
        imap.ok("SETACL INBOX v186 lrs");
        let mut other = served.server().imap("v186");
        other.ok("SELECT \"Other Users/u186\"");
        other.ok("STORE 2 +FLAGS (\\Seen)");
        other.ok("LOGOUT");
        let header = fs::read(folder.join("cyrus.header")).expect("cyrus.header");
        let id = MailboxHeader::parse(&header).expect("a header").id;
        let own = directory(served, "user/v186");
        let own = own
            .file_name()
            .expect("a directory")
            .to_str()
            .expect("an id")
            .to_owned();
        let seen = format!("conf/user/uuid/{}/{}/{own}/seen.db", &own[..1], &own[1..2]);
        let path = served.site.root().join(seen);
        let shown = served.site.tool_ok(
            &served.programs,
            "cyr_dbtool",
            &[path.to_str().expect("a path"), "twoskip", "get", id.as_str()],
        );
        let state = SeenState::parse(shown.trim().as_bytes()).expect("the state of a reader");
        assert_eq!(
            (state.seen.to_string().as_str(), state.lastuid),
            ("2", 2),
            "{shown}"
        );
        // The owner has seen none of them, and his flag is in the index.
        let index = fs::read(folder.join("cyrus.index")).expect("cyrus.index");
        assert_eq!(IndexHeader::parse(&index).expect("an index").unseen, 2);
    });
}

#[test]
fn s187_s188_reconstruct_keeps_what_is_not_derivable_and_derives_the_rest() {
    SERVED.each(|served| {
        let (mut imap, folder) = inbox(served, "u187");
        for number in 1..5 {
            let options = format!("(\\Answered word{number}) \"0{number}-Mar-2002 10:20:30 +0000\" ");
            append(&mut imap, &options, &format!("number {number}"));
        }
        let look = |imap: &mut Imap| -> Vec<String> {
            imap.ok("EXAMINE INBOX");
            let reply = imap.ok("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)");
            imap.ok("UNSELECT");
            reply
                .fetched()
                .map(|message| format!("{:?}", message.items))
                .collect()
        };
        let before = look(&mut imap);
        fs::remove_file(folder.join("cyrus.cache")).expect("cyrus.cache");
        let index = fs::read(folder.join("cyrus.index")).expect("cyrus.index");
        served
            .site
            .tool_ok(&served.programs, "reconstruct", &["user/u187"]);
        assert_eq!(look(&mut imap), before, "without its cache");
        assert_ne!(fs::read(folder.join("cyrus.index")).expect("cyrus.index"), index);
        imap.ok("LOGOUT");

        for name in ["cyrus.cache", "cyrus.index"] {
            fs::remove_file(folder.join(name)).expect(name);
        }
        served
            .site
            .tool_ok(&served.programs, "reconstruct", &["user/u187"]);
        let after = look(&mut served.server().imap("u187"));
        assert_eq!(after.len(), 4, "all messages are there");
        for (before, after) in before.iter().zip(&after) {
            let part = |text: &str, item: &str| {
                text.split(item)
                    .nth(1)
                    .map(|rest| rest[..40.min(rest.len())].to_owned())
            };
            for item in ["RFC822.SIZE", "ENVELOPE"] {
                assert_eq!(part(before, item), part(after, item));
            }
        }
    });
}

#[test]
fn s189_messages_copied_back_from_a_backup_reappear_with_flags_and_dates() {
    SERVED.each(|served| {
        let (mut imap, folder) = inbox(served, "u189");
        append(
            &mut imap,
            "(\\Flagged kept) \"07-Apr-2003 10:20:30 +0000\" ",
            "precious",
        );
        append(&mut imap, "", "other");
        imap.ok("LOGOUT");
        let file = folder.join("1.");
        let backup = fs::read(&file).expect("a message");
        fs::remove_file(&file).expect("a message");
        let reconstruct = || {
            served
                .site
                .tool_ok(&served.programs, "reconstruct", &["user/u189"])
        };
        let told = reconstruct();
        assert!(told.contains("uid 1 not found"), "{told}");
        fs::write(&file, &backup).expect("the backup");
        served.site.own(&file);
        let told = reconstruct();
        assert!(told.contains("uid 1 rediscovered - appending"), "{told}");
        let mut imap = served.server().imap("u189");
        imap.ok("SELECT INBOX");
        let reply = imap.ok("FETCH 2 (UID FLAGS INTERNALDATE BODY.PEEK[HEADER])");
        let shown = reply
            .fetched()
            .map(|message| format!("{:?}", message.items))
            .next()
            .expect("a message");
        assert!(
            shown.contains("precious") && shown.contains(" 7-Apr-2003") || !served.is_ours(),
            "{shown}"
        );
        if served.is_ours() {
            assert!(shown.contains("Flagged") && shown.contains("kept"), "{shown}");
            // Under any number it is known by what is in it.
            imap.ok("STORE 1:* +FLAGS (\\Deleted)");
            imap.ok("EXPUNGE");
            imap.ok("LOGOUT");
            for name in names_in(&folder).iter().filter(|name| name.ends_with('.')) {
                fs::remove_file(folder.join(name)).expect("a message");
            }
            reconstruct();
            let elsewhere = folder.join("700.");
            fs::write(&elsewhere, &backup).expect("the backup");
            served.site.own(&elsewhere);
            reconstruct();
            let mut imap = served.server().imap("u189");
            imap.ok("SELECT INBOX");
            let reply = imap.ok("UID FETCH 700 (FLAGS INTERNALDATE)");
            let shown: Vec<String> = reply
                .fetched()
                .map(|message| format!("{:?}", message.items))
                .collect();
            assert!(
                shown[0].contains("kept") && shown[0].contains(" 7-Apr-2003"),
                "{shown:?}"
            );
        }
    });
}

#[test]
fn s190_a_sound_mailbox_leaves_its_quota_root_alone() {
    SERVED.each(|served| {
        let (mut imap, _) = inbox(served, "u190");
        served
            .server()
            .imap("admin")
            .ok("SETQUOTA user/u190 (STORAGE 1000)");
        append(&mut imap, "", "one");
        imap.ok("LOGOUT");
        let path = served.site.root().join("conf/quota/u/user.u190");
        let wrong = fs::read_to_string(&path)
            .expect("the quota root")
            .replacen("S (", "S (7", 1);
        fs::write(&path, &wrong).expect("the quota root");
        served
            .site
            .tool_ok(&served.programs, "reconstruct", &["-G", "user/u190"]);
        assert_eq!(fs::read_to_string(&path).expect("the quota root"), wrong);
        served
            .site
            .tool_ok(&served.programs, "quota", &["-f", "user/u190"]);
        assert_ne!(fs::read_to_string(&path).expect("the quota root"), wrong);
    });
}

#[test]
fn s194_the_header_file_has_a_copy_of_the_rights() {
    SERVED.each(|served| {
        let (mut imap, folder) = inbox(served, "u194");
        imap.ok("SETACL INBOX u195 lrswi");
        imap.ok("SETACL INBOX -u198 w");
        let header = fs::read(folder.join("cyrus.header")).expect("cyrus.header");
        let mut copied = MailboxHeader::parse(&header).expect("a header").acl;
        copied.sort();
        let listed = served.site.tool_ok(&served.programs, "ctl_mboxlist", &["-d"]);
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("a dump");
        let listed = listed["user.u194"]["acl"].as_object().expect("rights");
        let mut listed: Vec<(String, String)> = listed
            .iter()
            .map(|(who, rights)| (who.clone(), rights.as_str().expect("rights").to_owned()))
            .collect();
        listed.sort();
        assert_eq!(copied, listed);
        assert!(
            copied.contains(&("u195".to_owned(), "lrswi".to_owned())),
            "{copied:?}"
        );
    });
}

#[test]
fn s195_s196_s197_quota_roots_are_files_that_quota_f_corrects_and_never_removes() {
    SERVED.each(|served| {
        let (mut imap, _) = inbox(served, "u195");
        let mut admin = served.server().imap("admin");
        admin.ok("CREATE user/u195/Below");
        admin.ok("SETQUOTA user/u195 (STORAGE 1000)");
        admin.ok("SETQUOTA user/u195/Below (STORAGE 500)");
        append(&mut imap, "", "one");
        let text = b"Subject: below\r\n\r\nx\r\n";
        assert!(
            imap.append("INBOX/Below", "", text).expect("an answer").is_ok()
                || imap.append("Below", "", text).expect("an answer").is_ok()
        );
        imap.ok("LOGOUT");
        let file = |root: &str| served.site.root().join("conf/quota/u").join(root);
        let above = fs::read_to_string(file("user.u195")).expect("a quota root");
        assert!(above.starts_with("%(S (30 1000) M (1) "), "{above}");
        let below = fs::read_to_string(file("user.u195.Below")).expect("a quota root");
        assert!(below.starts_with("%(S (21 500) M (1) "), "{below}");

        let fix = || {
            served
                .site
                .tool_ok(&served.programs, "quota", &["-f", "user/u195"])
        };
        fs::write(file("user.u195"), above.replacen("30 1000", "99 1000", 1)).expect("a quota root");
        fix();
        let usage = |text: &str| text.split(" MODSEQ").next().map(str::to_owned);
        let fixed = fs::read_to_string(file("user.u195")).expect("a quota root");
        assert_eq!(usage(&fixed), usage(&above));
        fix();
        assert_eq!(
            usage(&fs::read_to_string(file("user.u195")).expect("a quota root")),
            usage(&above)
        );
        // A root that counts nothing stays; one whose file is removed is gone, and the next one up counts.
        fs::remove_file(file("user.u195.Below")).expect("a quota root");
        fix();
        let both = fs::read_to_string(file("user.u195")).expect("a quota root");
        assert!(both.starts_with("%(S (51 1000) M (2) "), "{both}");
        assert!(!file("user.u195.Below").exists());
    });
}

#[test]
fn s191_s192_s193_the_mailbox_list_comes_back_from_what_is_left_and_from_all_partitions() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let site = Site::new(&[], &["alice"]);
    site.configure(&format!("partition-second: {}/second\n", site.root().display()));
    fs::create_dir(site.root().join("second")).expect("a partition");
    site.own(&site.root().join("second"));
    {
        let server = site.start(&real);
        let mut admin = server.imap("admin");
        for command in [
            "CREATE user/alice",
            "CREATE user/alice/Two second",
            "CREATE shared second",
            "CREATE zebra",
        ] {
            admin.ok(command);
        }
        admin.ok("SETACL shared anyone lr");
        admin.ok("SETQUOTA user/alice (STORAGE 1000)");
        drop(admin);
        server.stop();
    }
    let dump = || {
        let dump = site.tool_ok(&real, "ctl_mboxlist", &["-d"]);
        let mut dump: serde_json::Value = serde_json::from_str(&dump).expect("a dump");
        for entry in dump.as_object_mut().expect("mailboxes").values_mut() {
            for volatile in ["mtime", "foldermodseq", "createdmodseq"] {
                entry.as_object_mut().expect("an entry").remove(volatile);
            }
        }
        dump
    };
    let before = dump();
    let names: Vec<&String> = before.as_object().expect("mailboxes").keys().collect();
    assert_eq!(
        names,
        ["shared", "user.alice", "user.alice.Two", "zebra"],
        "sorted by name"
    );
    let list = site.root().join("conf/mailboxes.db");
    let whole = fs::read(&list).expect("the list");
    // What would be done is told, and not done.
    fs::remove_file(&list).expect("the list");
    let told = site.tool_ok(&ours, "reconstruct", &["-m", "-n"]);
    assert!(told.contains("mailbox list: 0 kept, 4 rebuilt, 0 lost"), "{told}");
    assert!(!list.exists() || fs::metadata(&list).expect("the list").len() == 0);
    let told = site.tool_ok(&ours, "reconstruct", &["-m"]);
    assert!(
        told.ends_with("mailbox list: 0 kept, 4 rebuilt, 0 lost\n"),
        "{told}"
    );
    assert_eq!(dump(), before);
    // With a hole in it: what can be read is kept, the rest comes from the partitions.
    let mut holed = whole.clone();
    let middle = whole.len() / 2;
    holed[middle..middle + 120].fill(0x55);
    fs::write(&list, &holed).expect("the list");
    let told = site.tool_ok(&ours, "reconstruct", &["-m"]);
    assert!(told.contains("salvaged") && told.ends_with(" 0 lost\n"), "{told}");
    assert_eq!(dump(), before);
    // Too little to be a database at all.
    fs::write(&list, &whole[..30]).expect("the list");
    let told = site.tool_ok(&ours, "reconstruct", &["-m"]);
    assert!(told.ends_with("0 kept, 4 rebuilt, 0 lost\n"), "{told}");
    assert_eq!(dump(), before);
    let server = site.start(&real);
    server.imap("alice").ok("SELECT Two");
    server.stop();
}

#[test]
fn s198_s199_subscriptions_are_lines_and_bad_ones_are_dropped() {
    SERVED.each(|served| {
        let (mut imap, folder) = inbox(served, "u198");
        for command in ["CREATE One", "SUBSCRIBE One", "SUBSCRIBE INBOX"] {
            imap.ok(command);
        }
        let id = folder
            .file_name()
            .expect("a directory")
            .to_str()
            .expect("an id")
            .to_owned();
        let path = format!("conf/user/uuid/{}/{}/{id}/sub.db", &id[..1], &id[1..2]);
        let path = served.site.root().join(path);
        let text = fs::read(&path).expect("the subscriptions");
        assert!(
            text.ends_with(b"\n") && text.windows(10).any(|line| line == b"NINBOX\x1fOne"),
            "{}",
            text.escape_ascii()
        );
        if !served.is_ours() {
            // No tool of Cyrus repairs them.
            return;
        }
        let lsub = |imap: &mut Imap| format!("{:?}", imap.ok("LSUB \"\" *").data("LSUB").collect::<Vec<_>>());
        let before = lsub(&mut imap);
        imap.ok("LOGOUT");
        let broken = [b"no tab in this line\n", &text[..], b"N\x02\xff\tx\nNcut of"].concat();
        fs::write(&path, broken).expect("the subscriptions");
        let run = served
            .site
            .tool(&served.programs, "reconstruct", &["--everything", "-q"]);
        let told = String::from_utf8_lossy(&run.stdout).into_owned();
        let errors = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success() && told.contains("sub.db"), "{told}{errors}");
        assert_eq!(lsub(&mut served.server().imap("u198")), before);
    });
}
