//! S100 to S119: quotas.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Mutex;

use super::shared_site::{Group, Shared};
use crate::rig::imap::{Imap, Reply, Untagged};
use crate::rig::programs::Programs;
use crate::rig::site::Site;
use crate::rig::value::Value;

static SERVED: Group = Group {
    options: &[
        ("partition-second", "@ROOT@/second"),
        ("annotation_allow_undefined", "yes"),
    ],
    users: &[
        "u100", "u101", "u102", "u103", "u105", "u106", "u107", "u108", "u109", "u110", "u111", "u112",
        "u113", "u114", "u115", "u115b", "u116", "u117", "u118", "u119", "u119b",
    ],
    running: Mutex::new([std::sync::Weak::new(), std::sync::Weak::new()]),
    turn: Mutex::new(()),
};

/// A message of so many octets.
fn message(octets: usize) -> Vec<u8> {
    let mut text = b"Subject: x\r\n\r\n".to_vec();
    while text.len() + 64 <= octets {
        text.extend_from_slice(&[b'x'; 62]);
        text.extend_from_slice(b"\r\n");
    }
    let left = octets.checked_sub(text.len() + 2).expect("room for a last line");
    text.extend(std::iter::repeat_n(b'y', left));
    text.extend_from_slice(b"\r\n");
    assert_eq!(text.len(), octets);
    text
}

/// The administrator, and a user with an INBOX.
fn with_inbox(served: &Shared, user: &str) -> (Imap, Imap) {
    let mut admin = served.server().imap("admin");
    admin.ok(&format!("CREATE user/{user}"));
    let user = served.server().imap(user);
    (admin, user)
}

fn append(imap: &mut Imap, mailbox: &str, octets: usize) -> String {
    let reply = imap.append(mailbox, "", &message(octets)).expect("an answer");
    reply.status
}

fn append_ok(imap: &mut Imap, mailbox: &str, octets: usize) {
    let status = append(imap, mailbox, octets);
    assert!(status.starts_with("OK"), "{status}");
}

/// The resources of the QUOTA responses for a root: `STORAGE 9 10`.
fn resources(reply: &Reply, root: &str) -> Vec<String> {
    let mut found = Vec::new();
    for quota in reply.data("QUOTA") {
        let [name, list] = quota else {
            panic!("not a root and a list: {quota:?}")
        };
        if name.text() != root {
            continue;
        }
        for resource in list.list().chunks(3) {
            let words: Vec<String> = resource.iter().map(Value::text).collect();
            found.push(words.join(" "));
        }
    }
    found
}

fn quota(admin: &mut Imap, root: &str) -> Vec<String> {
    resources(&admin.ok(&format!("GETQUOTA {root}")), root)
}

/// The quota roots that count a mailbox.
fn roots(admin: &mut Imap, mailbox: &str) -> Vec<String> {
    let reply = admin.ok(&format!("GETQUOTAROOT {mailbox}"));
    let of = reply.data("QUOTAROOT").next().expect("a QUOTAROOT response");
    of.iter().skip(1).map(Value::text).collect()
}

/// Octets, messages and mailboxes that a root counts, as `quota` tells.
fn usage(served: &Shared, root: &str) -> (u64, u64, u64) {
    let told = served.site.tool_ok(&served.programs, "quota", &["-J", root]);
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let of = |resource: &str| told[root][resource]["used"].as_u64().unwrap_or_default();
    (of("STORAGE"), of("MESSAGE"), of("X-NUM-FOLDERS"))
}

/// The files of messages of a mailbox.
fn files(served: &Shared, mailbox: &str) -> Vec<PathBuf> {
    let told = served.site.tool_ok(&served.programs, "mbpath", &[mailbox]);
    let entries = std::fs::read_dir(told.trim()).expect("the directory of the mailbox");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with('.'));
    files.sort();
    files
}

/// What SELECT says about quotas.
fn alerts(reply: &Reply) -> Vec<String> {
    let mut alerts = Vec::new();
    for response in &reply.untagged {
        if let Untagged::Status(line) = response
            && line.contains("[ALERT]")
        {
            alerts.push(line.clone());
        }
    }
    alerts
}

#[test]
fn s100_storage_counts_octets_of_messages_in_units_of_1024() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u100");
        admin.ok("SETQUOTA user/u100 (STORAGE 10)");
        for _ in 0..10 {
            append_ok(&mut user, "INBOX", 1000);
        }
        assert_eq!(quota(&mut admin, "user/u100"), ["STORAGE 9 10"]);
        admin.ok("SETQUOTA user/u100 (STORAGE 10 MESSAGE 20)");
        assert_eq!(quota(&mut admin, "user/u100"), ["STORAGE 9 10", "MESSAGE 10 20"]);
        assert!(admin.ok("CAPABILITY").is_ok());
        // The other two resources, and by their registered names, which Cyrus does not know.
        admin.ok("SETQUOTA user/u100 (X-NUM-FOLDERS 5 X-ANNOTATION-STORAGE 7)");
        let told = quota(&mut admin, "user/u100");
        assert!(told.contains(&"X-NUM-FOLDERS 1 5".to_owned()), "{told:?}");
        assert!(told.contains(&"X-ANNOTATION-STORAGE 0 7".to_owned()), "{told:?}");
        if served.is_ours() {
            admin.ok("SETQUOTA user/u100 (MAILBOX 6 ANNOTATION-STORAGE 8)");
            let told = quota(&mut admin, "user/u100");
            assert!(told.contains(&"MAILBOX 1 6".to_owned()), "{told:?}");
            assert!(told.contains(&"ANNOTATION-STORAGE 0 8".to_owned()), "{told:?}");
        }
    });
}

#[test]
fn s101_every_copy_counts_even_hard_links() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u101");
        admin.ok("SETQUOTA user/u101 (STORAGE 100)");
        append_ok(&mut user, "INBOX", 5000);
        user.ok("CREATE Copies");
        user.ok("SELECT INBOX");
        user.ok("COPY 1 Copies");
        assert_eq!(usage(served, "user/u101").0, 10_000);
        let [one, other] = ["user/u101", "user/u101/Copies"].map(|mailbox| {
            let files = files(served, mailbox);
            assert_eq!(files.len(), 1);
            std::fs::metadata(&files[0]).expect("a message file").ino()
        });
        assert_eq!(one, other, "the disk has one file");
    });
}

#[test]
fn s102_usage_is_the_sum_of_message_sizes_and_nothing_else() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u102");
        admin.ok("SETQUOTA user/u102 (STORAGE 1000)");
        let sizes = [100, 999, 1024, 4097];
        for octets in sizes {
            append_ok(&mut user, "INBOX", octets);
        }
        user.ok("SELECT INBOX");
        user.ok("STORE 1:* +FLAGS (one two three)");
        user.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE)");
        let sum: usize = sizes.iter().sum();
        assert_eq!(usage(served, "user/u102"), (sum as u64, 4, 1));
    });
}

#[test]
fn s103_a_quota_root_can_be_at_any_level() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u103");
        user.ok("CREATE a/b/c");
        for root in ["user/u103/a/b", "user/u103/a/b/c", "user/u103", "user/u103/a"] {
            admin.ok(&format!("SETQUOTA {root} (STORAGE 100)"));
            assert_eq!(quota(&mut admin, root), ["STORAGE 0 100"]);
        }
    });
}

#[test]
fn s104_a_root_need_not_be_a_mailbox() {
    SERVED.each(|served| {
        let mut admin = served.server().imap("admin");
        // Whoever writes the name of nothing by mistake is told.
        let refused = admin
            .command("SETQUOTA s104/nothing (STORAGE 5)")
            .expect("an answer");
        assert!(refused.status.starts_with("NO"), "{}", refused.status);
        admin.ok("SETQUOTA +s104/nothing (STORAGE 5)");
        assert_eq!(quota(&mut admin, "s104/nothing"), ["STORAGE 0 5"]);
        admin.ok("CREATE s104/nothing/below");
        assert_eq!(roots(&mut admin, "s104/nothing/below"), ["s104/nothing"]);
        // With a mailbox below, the name needs no mark.
        admin.ok("CREATE s104b/x/y");
        admin.ok("SETQUOTA s104b (STORAGE 5)");
        assert_eq!(roots(&mut admin, "s104b/x/y"), ["s104b"]);
    });
}

#[test]
fn s105_a_mailbox_is_limited_by_the_nearest_root_alone() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u105");
        user.ok("CREATE near/deep");
        assert_eq!(roots(&mut admin, "user/u105/near/deep"), [""; 0]);
        admin.ok("SETQUOTA user/u105 (STORAGE 1)");
        admin.ok("SETQUOTA user/u105/near (STORAGE 100)");
        assert_eq!(roots(&mut admin, "user/u105/near"), ["user/u105/near"]);
        assert_eq!(roots(&mut admin, "user/u105/near/deep"), ["user/u105/near"]);
        assert_eq!(roots(&mut admin, "user/u105"), ["user/u105"]);
        // More than the farther root would let pass.
        append_ok(&mut user, "near/deep", 5000);
        assert_eq!(usage(served, "user/u105").0, 0);
        assert_eq!(usage(served, "user/u105/near").0, 5000);
    });
}

#[test]
fn s106_three_roots_share_a_users_mailboxes_among_them() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u106");
        for mailbox in ["list/imap", "list/info-cyrus", "saved", "todo"] {
            user.ok(&format!("CREATE {mailbox}"));
        }
        for (mailbox, octets) in [
            ("INBOX", 100),
            ("list/imap", 200),
            ("list/info-cyrus", 400),
            ("saved", 800),
            ("todo", 1600),
        ] {
            append_ok(&mut user, mailbox, octets);
        }
        for root in ["user/u106", "user/u106/list", "user/u106/saved"] {
            admin.ok(&format!("SETQUOTA {root} (STORAGE 100)"));
        }
        let of = |admin: &mut Imap, mailbox: &str| roots(admin, mailbox).join(" ");
        for (mailbox, root) in [
            ("user/u106", "user/u106"),
            ("user/u106/todo", "user/u106"),
            ("user/u106/list", "user/u106/list"),
            ("user/u106/list/imap", "user/u106/list"),
            ("user/u106/list/info-cyrus", "user/u106/list"),
            ("user/u106/saved", "user/u106/saved"),
        ] {
            assert_eq!(of(&mut admin, mailbox), root, "{mailbox}");
        }
        let octets = ["user/u106", "user/u106/list", "user/u106/saved"].map(|root| usage(served, root).0);
        assert_eq!(octets, [1700, 600, 800]);
    });
}

#[test]
fn s107_a_root_is_made_by_setquota_and_counts_from_then_on_what_it_covers() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u107");
        user.ok("CREATE inner/most");
        append_ok(&mut user, "INBOX", 1000);
        append_ok(&mut user, "inner", 2000);
        append_ok(&mut user, "inner/most", 4000);
        admin.ok("SETQUOTA user/u107 (STORAGE 100 MESSAGE 100)");
        assert_eq!(usage(served, "user/u107"), (7000, 3, 3));
        // A nested root takes its mailboxes along.
        admin.ok("SETQUOTA user/u107/inner (STORAGE 100)");
        assert_eq!(usage(served, "user/u107"), (1000, 1, 1));
        assert_eq!(usage(served, "user/u107/inner"), (6000, 2, 2));
        admin.ok("SETQUOTA user/u107/inner/most (STORAGE 100)");
        assert_eq!(usage(served, "user/u107/inner"), (2000, 1, 1));
        assert_eq!(usage(served, "user/u107/inner/most"), (4000, 1, 1));
        // And a root between two takes nothing from the inner one.
        user.ok("RENAME inner/most inner/x/most");
        admin.ok("SETQUOTA user/u107/inner/x (STORAGE 100)");
        let told = served
            .site
            .tool_ok(&served.programs, "quota", &["-f", "user/u107"]);
        assert!(!told.contains("was"), "{told}");
    });
}

#[test]
fn s108_no_command_removes_a_root() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u108");
        admin.ok("SETQUOTA user/u108 (STORAGE 1)");
        admin.ok("SETQUOTA user/u108 ()");
        assert_eq!(roots(&mut admin, "user/u108"), ["user/u108"]);
        assert_eq!(quota(&mut admin, "user/u108"), [""; 0]);
        // It has no limit, and counts all the same.
        append_ok(&mut user, "INBOX", 5000);
        assert_eq!(usage(served, "user/u108").0, 5000);
    });
}

#[test]
fn s109_setquota_is_for_administrators() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u109");
        let refused = user.command("SETQUOTA INBOX (STORAGE 100)").expect("an answer");
        assert_eq!(refused.status, "NO Permission denied");
        assert_eq!(roots(&mut admin, "user/u109"), [""; 0]);
    });
}

#[test]
fn s110_what_would_exceed_the_limit_is_refused_and_nothing_is_stored() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u110");
        admin.ok("SETQUOTA user/u110 (STORAGE 10)");
        append_ok(&mut user, "INBOX", 6000);
        user.ok("SELECT INBOX");
        let refused = [
            append(&mut user, "INBOX", 5000),
            user.command("COPY 1 INBOX").expect("an answer").status,
        ];
        for status in refused {
            match served.is_ours() {
                // RFC 9208, section 4.3.1.
                true => assert_eq!(status, "NO [OVERQUOTA] Over quota"),
                false => assert!(status.ends_with("Over quota"), "{status}"),
            }
        }
        assert_eq!(usage(served, "user/u110"), (6000, 1, 1));
        assert_eq!(files(served, "user/u110").len(), 1);
        // To the last octet it fits.
        append_ok(&mut user, "INBOX", 4240);
        assert_eq!(quota(&mut admin, "user/u110"), ["STORAGE 10 10"]);
        let over = append(&mut user, "INBOX", 64);
        assert!(over.starts_with("NO"), "{over}");
    });
}

#[test]
fn s111_delivery_exceeds_the_limit_by_one_message() {
    SERVED.each(|served| {
        let (mut admin, _) = with_inbox(served, "u111");
        admin.ok("SETQUOTA user/u111 (STORAGE 10)");
        let mut lmtp = served.server().lmtp();
        let said = lmtp.deliver(&["u111"], &message(4000)).expect("a delivery");
        assert!(said[0].starts_with("250"), "{said:?}");
        let said = lmtp.deliver(&["u111"], &message(50_000)).expect("a delivery");
        assert!(said[0].starts_with("250"), "{said:?}");
        assert!(usage(served, "user/u111").0 > 54_000);
        let said = lmtp.deliver(&["u111"], &message(100)).expect("a delivery");
        assert!(said[0].starts_with("452 4.2.2"), "{said:?}");
    });
    // `lmtp_strict_quota` takes that back.
    for programs in [Programs::ours(), Programs::real()].into_iter().flatten() {
        let site = Site::new(&[("lmtp_strict_quota", "yes")], &["strict"]);
        let server = site.start(&programs);
        let mut admin = server.imap("admin");
        admin.ok("CREATE user/strict");
        admin.ok("SETQUOTA user/strict (STORAGE 10)");
        let mut lmtp = server.lmtp();
        for (octets, code) in [(4000, "250"), (50_000, "452"), (100, "250")] {
            let said = lmtp.deliver(&["strict"], &message(octets)).expect("a delivery");
            assert!(said[0].starts_with(code), "{}: {octets}: {said:?}", programs.name);
        }
        server.stop();
    }
}

#[test]
fn s112_over_the_limit_mail_is_refused_for_the_time_being() {
    let over = |served: &Site, server: &crate::rig::server::Server, user: &str| {
        let mut admin = server.imap("admin");
        admin.ok(&format!("CREATE user/{user}"));
        admin.ok(&format!("SETQUOTA user/{user} (STORAGE 1)"));
        let mut lmtp = server.lmtp();
        let said = lmtp.deliver(&[user], &message(3000)).expect("a delivery");
        assert!(said[0].starts_with("250"), "{said:?}");
        assert!(served.root().exists());
        lmtp.deliver(&[user], &message(100)).expect("a reply").remove(0)
    };
    SERVED.each(|served| {
        let said = over(&served.site, served.server(), "u112");
        assert!(said.starts_with("452 4.2.2 Over quota"), "{said}");
    });
    for programs in [Programs::ours(), Programs::real()].into_iter().flatten() {
        let site = Site::new(&[("lmtp_over_quota_perm_failure", "yes")], &["strict"]);
        let server = site.start(&programs);
        let said = over(&site, &server, "strict");
        assert!(
            said.starts_with("552 5.2.2 Over quota"),
            "{}: {said}",
            programs.name
        );
        server.stop();
    }
}

#[test]
fn s113_ignorequota_is_announced_and_obeyed() {
    SERVED.each(|served| {
        let (mut admin, _) = with_inbox(served, "u113");
        admin.ok("SETQUOTA user/u113 (STORAGE 1)");
        let mut lmtp = served.server().lmtp();
        let said = lmtp.deliver(&["u113"], &message(3000)).expect("a delivery");
        assert!(said[0].starts_with("250"), "{said:?}");
        let said = lmtp.deliver(&["u113"], &message(3100)).expect("a delivery");
        assert!(said[0].starts_with("452"), "{said:?}");
        let said = lmtp
            .deliver(&["u113> IGNOREQUOTA"], &message(3200))
            .expect("a delivery");
        assert!(said[0].starts_with("250"), "{said:?}");
        assert!(usage(served, "user/u113").0 > 6000);
        let announced = lmtp.lhlo().expect("an answer to LHLO");
        assert!(
            announced.iter().any(|line| line.ends_with("IGNOREQUOTA")),
            "{announced:?}"
        );
        // `deliver -q` says it to the server that `lmtpsocket` names.
        let socket = served.site.root().join("real.lmtp");
        if served.is_ours() {
            let _ = std::os::unix::fs::symlink(&served.server().lmtp_socket, &socket);
        }
        let deliver = |switches: &[&str], octets: usize| {
            use std::io::Write;
            let reachable = served.programs.reachable(&served.site.root().join("programs"));
            let mut child = crate::rig::programs::as_service_user(reachable.path("deliver"))
                .arg("-C")
                .arg(served.site.conf())
                .args(switches)
                .arg("u113")
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .expect("deliver starts");
            let mut stdin = child.stdin.take().expect("it was piped");
            stdin.write_all(&message(octets)).expect("deliver reads");
            drop(stdin);
            child.wait().expect("deliver ends").code()
        };
        let before = usage(served, "user/u113").1;
        assert_eq!(deliver(&[], 3300), Some(75), "{}", served.programs.name);
        assert_eq!(deliver(&["-q"], 3400), Some(0), "{}", served.programs.name);
        assert_eq!(usage(served, "user/u113").1, before + 1);
    });
}

#[test]
fn s114_select_warns_who_could_make_room() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u114");
        admin.ok("SETQUOTA user/u114 (STORAGE 100)");
        append_ok(&mut user, "INBOX", 97_300);
        let told = alerts(&user.ok("SELECT INBOX"));
        assert_eq!(told, ["NO [ALERT] Mailbox is at 95% of STORAGE quota"]);
        admin.ok("SETQUOTA user/u114 (STORAGE 90)");
        let mut user = served.server().imap("u114");
        let told = alerts(&user.ok("SELECT INBOX"));
        assert_eq!(told, ["NO [ALERT] Mailbox is over STORAGE quota"]);
        // Each resource by its name.
        admin.ok("SETQUOTA user/u114 (MESSAGE 1 STORAGE 1000)");
        let mut user = served.server().imap("u114");
        let told = alerts(&user.ok("SELECT INBOX"));
        assert_eq!(told, ["NO [ALERT] Mailbox is at 100% of MESSAGE quota"]);
    });
}

#[test]
fn s115_who_cannot_delete_is_not_warned() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u115");
        admin.ok("SETQUOTA user/u115 (STORAGE 10)");
        append_ok(&mut user, "INBOX", 10_200);
        admin.ok("SETACL user/u115 u115b lrs");
        let mut reader = served.server().imap("u115b");
        let told = alerts(&reader.ok("SELECT \"Other Users/u115\""));
        assert_eq!(told, [""; 0]);
        // In Cyrus's words: the right to expunge.
        admin.ok("SETACL user/u115 u115b lrste");
        let mut reader = served.server().imap("u115b");
        let told = alerts(&reader.ok("SELECT \"Other Users/u115\""));
        assert_eq!(told, ["NO [ALERT] Mailbox is at 99% of STORAGE quota"]);
    });
}

#[test]
fn s116_the_threshold_is_quotawarn() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u116");
        admin.ok("SETQUOTA user/u116 (STORAGE 100)");
        append_ok(&mut user, "INBOX", 92_160);
        assert_eq!(quota(&mut admin, "user/u116"), ["STORAGE 90 100"]);
        assert_eq!(alerts(&user.ok("SELECT INBOX")), [""; 0]);
        append_ok(&mut user, "INBOX", 1024);
        let told = alerts(&served.server().imap("u116").ok("SELECT INBOX"));
        assert_eq!(told, ["NO [ALERT] Mailbox is at 91% of STORAGE quota"]);
    });
    // How much room is so much that nobody need be warned.
    let options = [("quotawarn", "50"), ("quotawarnkb", "20"), ("quotawarnmsg", "3")];
    for programs in [Programs::ours(), Programs::real()].into_iter().flatten() {
        let site = Site::new(&options, &["warned"]);
        let server = site.start(&programs);
        let mut admin = server.imap("admin");
        admin.ok("CREATE user/warned");
        append_ok(&mut server.imap("warned"), "INBOX", 61_440);
        append_ok(&mut server.imap("warned"), "INBOX", 10_240);
        let mut told = BTreeMap::new();
        // A process of real Cyrus remembers for its next session what the last one was told.
        let mut sessions = Vec::new();
        for limits in [
            "STORAGE 100",
            "STORAGE 91",
            "STORAGE 90",
            "STORAGE 80",
            "MESSAGE 6",
            "MESSAGE 5",
            "MESSAGE 4",
            "MESSAGE 3",
            "MESSAGE 2",
        ] {
            admin.ok(&format!("SETQUOTA user/warned ({limits})"));
            let mut session = server.imap("warned");
            told.insert(limits, alerts(&session.ok("SELECT INBOX")).concat());
            sessions.push(session);
        }
        let expected = BTreeMap::from([
            ("STORAGE 100", ""),
            ("STORAGE 91", ""),
            ("STORAGE 90", ""),
            ("STORAGE 80", "NO [ALERT] Mailbox is at 87% of STORAGE quota"),
            ("MESSAGE 6", ""),
            ("MESSAGE 5", ""),
            ("MESSAGE 4", ""),
            ("MESSAGE 3", "NO [ALERT] Mailbox is at 66% of MESSAGE quota"),
            ("MESSAGE 2", "NO [ALERT] Mailbox is at 100% of MESSAGE quota"),
        ]);
        let expected = expected.into_iter().map(|(limit, text)| (limit, text.to_owned()));
        assert_eq!(told, expected.collect(), "{}", programs.name);
        server.stop();
    }
}

#[test]
fn s117_nobody_is_warned_of_one_root_again_and_again() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u117");
        user.ok("CREATE other");
        user.ok("CREATE apart");
        admin.ok("SETQUOTA user/u117 (STORAGE 10)");
        admin.ok("SETQUOTA user/u117/apart (STORAGE 10)");
        append_ok(&mut user, "INBOX", 10_200);
        append_ok(&mut user, "apart", 10_200);
        assert_eq!(alerts(&user.ok("SELECT INBOX")).len(), 1);
        assert_eq!(alerts(&user.ok("SELECT INBOX")).len(), 0);
        assert_eq!(alerts(&user.ok("SELECT other")).len(), 0);
        // Another root is another matter, and so is another session.
        assert_eq!(alerts(&user.ok("SELECT apart")).len(), 1);
        assert_eq!(alerts(&served.server().imap("u117").ok("SELECT INBOX")).len(), 1);
    });
}

#[test]
fn s118_a_root_counts_mailboxes_of_any_partition() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u118");
        admin.ok("SETQUOTA user/u118 (STORAGE 100)");
        admin.ok("CREATE user/u118/far second");
        append_ok(&mut user, "INBOX", 1000);
        append_ok(&mut user, "far", 2000);
        assert_eq!(usage(served, "user/u118"), (3000, 2, 2));
        let far = &files(served, "user/u118/far")[0];
        assert!(
            far.starts_with(served.site.root().join("second")),
            "{}",
            far.display()
        );
        // Moving messages and mailboxes over changes nothing.
        user.ok("SELECT INBOX");
        user.ok("MOVE 1 far");
        admin.ok("RENAME user/u118/far user/u118/far default");
        assert_eq!(usage(served, "user/u118"), (3000, 2, 2));
        let told = served
            .site
            .tool_ok(&served.programs, "quota", &["-f", "user/u118"]);
        assert!(!told.contains("was"), "{told}");
    });
}

#[test]
fn s119_getquotaroot_names_the_root_and_its_limits_to_who_may_read() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u119");
        user.ok("CREATE deep/er");
        admin.ok("SETQUOTA user/u119 (STORAGE 100 MESSAGE 50)");
        append_ok(&mut user, "INBOX", 2048);
        let told = user.ok("GETQUOTAROOT deep/er");
        let named: Vec<String> = told
            .data("QUOTAROOT")
            .next()
            .expect("a QUOTAROOT response")
            .iter()
            .map(Value::text)
            .collect();
        assert_eq!(named, ["deep/er", "INBOX"]);
        assert_eq!(resources(&told, "INBOX"), ["STORAGE 2 100", "MESSAGE 1 50"]);
        // Another user needs the right to read.
        let mut other = served.server().imap("u119b");
        let name = "\"Other Users/u119\"";
        let hidden = other.command(&format!("GETQUOTAROOT {name}")).expect("an answer");
        assert_eq!(hidden.status, "NO Mailbox does not exist");
        admin.ok("SETACL user/u119 u119b l");
        let refused = other.command(&format!("GETQUOTAROOT {name}")).expect("an answer");
        assert_eq!(refused.status, "NO Permission denied");
        admin.ok("SETACL user/u119 u119b lr");
        let told = other.ok(&format!("GETQUOTAROOT {name}"));
        assert_eq!(
            resources(&told, "Other Users/u119"),
            ["STORAGE 2 100", "MESSAGE 1 50"]
        );
        // An administrator always may.
        assert_eq!(roots(&mut admin, "user/u119/deep/er"), ["user/u119"]);
    });
}
