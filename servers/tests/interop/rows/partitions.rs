//! S135 to S146: partitions.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::shared_site::{Group, Shared};
use crate::rig::imap::{Imap, Reply};
use crate::rig::programs::{Programs, both, has_client};
use crate::rig::site::Site;
use crate::rig::value::Value;

static SERVED: Group = Group {
    options: &[
        ("partition-second", "@ROOT@/second"),
        ("partition-third", "@ROOT@/third"),
    ],
    users: &[
        "u135", "u136", "u137", "u138", "u141", "u142", "u143", "u144", "u145", "u146",
    ],
    running: Mutex::new([std::sync::Weak::new(), std::sync::Weak::new()]),
    turn: Mutex::new(()),
};

fn with_inbox(served: &Shared, user: &str) -> (Imap, Imap) {
    let mut admin = served.server().imap("admin");
    admin.ok(&format!("CREATE user/{user}"));
    let user = served.server().imap(user);
    (admin, user)
}

fn append_ok(imap: &mut Imap, mailbox: &str, options: &str, subject: &str) {
    let text = format!("Subject: {subject}\r\n\r\nHello.\r\n");
    let reply = imap.append(mailbox, options, text.as_bytes()).expect("an answer");
    assert!(reply.is_ok(), "{}", reply.status);
}

/// The directory of a mailbox, relative to the site, or what `mbpath` says.
fn place(served: &Shared, mailbox: &str) -> PathBuf {
    let told = served.site.tool_ok(&served.programs, "mbpath", &[mailbox]);
    let path = PathBuf::from(told.trim());
    path.strip_prefix(served.site.root())
        .map_or_else(|_| path.clone(), PathBuf::from)
}

/// Whether the files of a mailbox are on a partition, with so many messages.
fn assert_on(served: &Shared, mailbox: &str, partition: &str, messages: usize) {
    let place = place(served, mailbox);
    let folder = if partition == "default" {
        "spool"
    } else {
        partition
    };
    let context = format!("{} {mailbox}: {}", served.programs.name, place.display());
    assert!(place.starts_with(folder), "{context}");
    let entries = std::fs::read_dir(served.site.root().join(&place)).expect("the directory of the mailbox");
    let names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert!(names.contains(&"cyrus.index".to_owned()), "{context}: {names:?}");
    let found = names.iter().filter(|name| name.ends_with('.')).count();
    assert_eq!(found, messages, "{context}: {names:?}");
}

/// UIDVALIDITY, and UID, flags and subject of each message.
fn contents(imap: &mut Imap, mailbox: &str) -> (String, Vec<String>) {
    let selected = imap.ok(&format!("EXAMINE {mailbox}"));
    let validity = selected.code("UIDVALIDITY").expect("UIDVALIDITY");
    let fetched = imap.ok("FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])");
    (validity, described(&fetched))
}

fn described(fetched: &Reply) -> Vec<String> {
    fetched
        .fetched()
        .map(|message| {
            let shown = |item: &str| {
                let value = message.item(item).cloned().unwrap_or(Value::Nil);
                match &value {
                    Value::List(flags) => {
                        let mut flags: Vec<String> = flags.iter().map(Value::text).collect();
                        flags.retain(|flag| flag != "\\Recent");
                        flags.sort();
                        flags.join(",")
                    }
                    other => other.text(),
                }
            };
            format!(
                "{} {} {} {}",
                message.uid,
                shown("FLAGS"),
                shown("INTERNALDATE"),
                shown("BODY[]")
            )
        })
        .collect()
}

#[test]
fn s135_mailboxes_are_below_the_path_of_their_partition() {
    SERVED.each(|served| {
        let (_, mut user) = with_inbox(served, "u135");
        append_ok(&mut user, "INBOX", "", "one");
        assert_on(served, "user/u135", "default", 1);
    });
    // Directories follow names where the site wants that.
    for programs in [Programs::ours(), Programs::real()].into_iter().flatten() {
        let site = Site::new(&[("mailbox_legacy_dirs", "yes")], &["u135"]);
        let server = site.start(&programs);
        server.imap("admin").ok("CREATE user/u135");
        append_ok(&mut server.imap("u135"), "INBOX", "", "one");
        assert!(
            site.root().join("spool/user/u135/1.").exists(),
            "{}",
            programs.name
        );
        server.stop();
    }
}

#[test]
fn s136_create_takes_a_partition() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u136");
        admin.ok("CREATE user/u136/far second");
        append_ok(&mut user, "far", "", "one");
        assert_on(served, "user/u136/far", "second", 1);
        // RFC 6154, with Cyrus's word for partitions.
        admin.ok("CREATE user/u136/farther (PARTITION third USE (\\Sent))");
        assert_on(served, "user/u136/farther", "third", 0);
    });
}

#[test]
fn s137_users_do_not_choose_partitions() {
    SERVED.each(|served| {
        let (_, mut user) = with_inbox(served, "u137");
        let refused = user.command("CREATE z second").expect("an answer");
        assert_eq!(refused.status, "NO Permission denied");
        assert_eq!(user.ok("LIST \"\" z").data("LIST").count(), 0);
    });
}

#[test]
fn s138_a_mailbox_goes_where_the_nearest_above_it_is() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u138");
        admin.ok("CREATE user/u138/far second");
        user.ok("CREATE far/below");
        user.ok("CREATE near");
        assert_on(served, "user/u138/far/below", "second", 0);
        assert_on(served, "user/u138/near", "default", 0);
    });
}

#[test]
fn s139_without_one_above_it_a_mailbox_goes_to_the_default_partition() {
    SERVED.each(|served| {
        let mut admin = served.server().imap("admin");
        admin.ok("CREATE s139");
        assert_on(served, "s139", "default", 0);
    });
    // Without a default, where the options `partition_select_*` say.
    for programs in [Programs::ours(), Programs::real()].into_iter().flatten() {
        for (excluded, other) in [("one", "two"), ("two", "one")] {
            let site = Site::new(&[("partition_select_exclude", excluded)], &[]);
            for option in ["defaultpartition", "partition-default"] {
                site.unset(option);
            }
            for partition in ["one", "two"] {
                let path = site.root().join(partition);
                std::fs::create_dir(&path).expect("a partition");
                site.own(&path);
                site.configure(&format!("partition-{partition}: {}\n", path.display()));
            }
            let server = site.start(&programs);
            server.imap("admin").ok("CREATE s139");
            let told = site.tool_ok(&programs, "mbpath", &["s139"]);
            let chosen = site.root().join(other);
            assert!(
                told.starts_with(&*chosen.to_string_lossy()),
                "{}: {told}",
                programs.name
            );
            server.stop();
        }
    }
}

#[test]
fn s140_an_unknown_partition_is_refused() {
    SERVED.each(|served| {
        let mut admin = served.server().imap("admin");
        let refused = admin.command("CREATE s140 nowhere").expect("an answer");
        assert_eq!(refused.status, "NO Unknown/invalid partition");
        admin.ok("CREATE s140");
        let refused = admin.command("RENAME s140 s140 nowhere").expect("an answer");
        match served.is_ours() {
            true => assert_eq!(refused.status, "NO Unknown/invalid partition"),
            // It takes the word for the name of a server.
            false => assert!(refused.status.starts_with("NO Server"), "{}", refused.status),
        }
        assert_on(served, "s140", "default", 0);
    });
}

#[test]
fn s141_rename_with_a_partition_moves_the_files_and_nothing_else() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u141");
        user.ok("CREATE x");
        let date = "(\\Seen \\Flagged kept) \"01-Feb-2020 03:04:05 +0000\" ";
        append_ok(&mut user, "x", date, "one");
        append_ok(&mut user, "x", "", "two");
        append_ok(&mut user, "x", "(\\Deleted) ", "three");
        user.ok("SELECT x");
        user.ok("EXPUNGE");
        user.ok("UNSELECT");
        let before = contents(&mut user, "x");
        user.ok("UNSELECT");
        admin.ok("RENAME user/u141/x user/u141/x second");
        // The expunged one comes along.
        assert_on(served, "user/u141/x", "second", 3);
        assert_eq!(contents(&mut user, "x"), before);
        user.ok("UNSELECT");
        append_ok(&mut user, "x", "", "four");
        assert_eq!(contents(&mut user, "x").1.len(), 3);
        user.ok("UNSELECT");
        // And back; the INBOX, too.
        admin.ok("RENAME user/u141/x user/u141/x default");
        assert_on(served, "user/u141/x", "default", 4);
        let left =
            std::fs::read_dir(served.site.root().join("second/uuid")).map_or(0, |entries| entries.count());
        assert!(left <= 3, "directories of others alone");
        append_ok(&mut user, "INBOX", "", "five");
        let before = contents(&mut user, "INBOX");
        user.ok("UNSELECT");
        admin.ok("RENAME user/u141 user/u141 third");
        assert_on(served, "user/u141", "third", 1);
        assert_eq!(contents(&mut user, "INBOX"), before);
    });
}

#[test]
fn s142_moving_to_another_partition_is_for_administrators() {
    SERVED.each(|served| {
        let (_, mut user) = with_inbox(served, "u142");
        user.ok("CREATE x");
        for command in ["RENAME x x second", "RENAME x y second"] {
            let refused = user.command(command).expect("an answer");
            assert!(refused.status.starts_with("NO"), "{}", refused.status);
        }
        assert_on(served, "user/u142/x", "default", 0);
    });
}

#[test]
fn s143_another_name_and_another_partition_are_two_commands() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u143");
        user.ok("CREATE x");
        let refused = admin
            .command("RENAME user/u143/x user/u143/y second")
            .expect("an answer");
        assert_eq!(
            refused.status,
            "NO Cross-server or cross-partition move w/rename not supported"
        );
        assert_on(served, "user/u143/x", "default", 0);
    });
}

#[test]
fn s144_rename_without_a_partition_leaves_a_mailbox_on_its_own() {
    SERVED.each(|served| {
        let (mut admin, mut user) = with_inbox(served, "u144");
        admin.ok("CREATE user/u144/x second");
        append_ok(&mut user, "x", "", "one");
        user.ok("RENAME x y");
        assert_on(served, "user/u144/y", "second", 1);
    });
}

#[test]
fn s145_renaming_the_inbox_moves_its_messages_by_the_rules_of_create() {
    SERVED.each(|served| {
        if !served.is_ours() {
            // Real Cyrus 3.6.1 closes the connection at this command, if there are messages.
            return;
        }
        let (mut admin, mut user) = with_inbox(served, "u145");
        admin.ok("CREATE user/u145/far second");
        append_ok(&mut user, "INBOX", "(\\Flagged) ", "one");
        append_ok(&mut user, "INBOX", "", "two");
        user.ok("RENAME INBOX far/old");
        let status = user.ok("STATUS INBOX (MESSAGES)");
        let messages = status
            .data("STATUS")
            .next()
            .and_then(|data| data.get(1)?.list().get(1)?.number());
        assert_eq!(messages, Some(0));
        assert_eq!(contents(&mut user, "far/old").1.len(), 2);
        assert_on(served, "user/u145/far/old", "second", 2);
    });
}

#[test]
fn s146_cyradm_chooses_and_changes_partitions() {
    if !has_client("cyradm") {
        return;
    }
    SERVED.each(|served| {
        let script = served.site.root().join("s146.script");
        std::fs::write(
            &script,
            "cm user/u146 second\nrenm user/u146 user/u146 third\nrenm user/u146 user/u146 nowhere\n",
        )
        .expect("the script can be written");
        let mut cyradm = Command::new("cyradm");
        cyradm
            .args(["--user", "admin", "--password", "pass", "--auth", "PLAIN"])
            .args([
                "--server",
                "127.0.0.1",
                "--port",
                &served.server().imap_port.to_string(),
            ])
            .stdin(Stdio::from(std::fs::File::open(&script).expect("it was written")));
        let said = both(&cyradm.output().expect("cyradm can be run"));
        let refusal = match served.is_ours() {
            true => "Unknown/invalid partition",
            false => "Server(s) unavailable",
        };
        assert!(said.contains(refusal), "{said}");
        assert_on(served, "user/u146", "third", 0);
    });
}
