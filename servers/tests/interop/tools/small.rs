//! `chk_cyrus`, `cyr_df`, `cyr_userseen`, `mbtool`, `ipurge`, `relocate_by_id`, `cvt_xlist_specialuse`, `ctl_deliver`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Pair;
use crate::rig::programs::as_service_user;

const LEGACY: &str = "legacy-virtdomains-conversations";
const BY_ID: &str = "default-uuid";

#[test]
fn wrong_switches_end_as_those_of_cyrus() {
    let Some(pair) = Pair::of_fixture(BY_ID) else {
        return;
    };
    for (program, arguments) in [
        ("chk_cyrus", &["-M", "user.alice", "-P", "default"][..]),
        ("ctl_deliver", &[]),
        ("cvt_xlist_specialuse", &[]),
        ("cyr_deny", &[]),
        ("cyr_deny", &["-a"]),
        ("cyr_df", &["-x"]),
        ("mbtool", &[]),
        ("mbtool", &["-t"]),
        ("mbtool", &["-r", "-t", "user/alice"]),
        ("relocate_by_id", &[]),
        ("arbitron", &["-d", "x"]),
        ("arbitron", &["-D", "1"]),
        ("ipurge", &["-h"]),
    ] {
        pair.same_code(program, arguments);
    }
}

#[test]
fn reports_are_those_of_cyrus() {
    let Some(pair) = Pair::of_fixture(LEGACY) else {
        return;
    };
    pair.same("chk_cyrus", &[]);
    pair.same("chk_cyrus", &["-P", "nosuch"]);
    let (real, ours) = pair.run("cyr_df", &[]);
    let names = |lines: &[String]| -> Vec<(Option<String>, Option<String>)> {
        let word = |text: Option<&str>| text.map(str::to_owned);
        lines
            .iter()
            .map(|line| {
                (
                    word(line.split_whitespace().next()),
                    word(line.split_whitespace().last()),
                )
            })
            .collect()
    };
    // How full a disk is changes while a test runs.
    assert_eq!((ours.code, names(&ours.out)), (real.code, names(&real.out)));
    pair.same_code("cyr_df", &["-m"]);
    pair.same("cyr_userseen", &[]);
    pair.same("cyr_userseen", &["-d"]);
    let deliveries = |line: &str| !line.starts_with("it is NOW");
    pair.same_lines("ctl_deliver", &["-d"], deliveries);
    // What is missing is told: message by message.
    for site in [&pair.real, &pair.ours] {
        let mut files = messages(&site.root().join("spool"));
        files.extend(messages(&site.root().join("archive")));
        files.sort();
        std::fs::remove_file(&files[3]).expect("a message file");
    }
    let missing = pair.same("chk_cyrus", &[]);
    assert_eq!(missing.len(), 1, "{missing:?}");
}

#[test]
fn s153_readers_and_subscribers_are_counted_as_cyrus_counts_readers() {
    let Some(pair) = Pair::of_fixture(LEGACY) else {
        return;
    };
    // Cyrus 3.6 cannot read the subscriptions that it writes, takes deleted mailboxes for shared ones, and those of users in
    // domains, too: what is left is equal.
    let wanted = |line: &str| !line.starts_with("DELETED") && !line.contains('@');
    let without_subscribers = pair.same_lines("arbitron", &["-o", "-u", "-d", "4000", "shared*"], wanted);
    assert!(!without_subscribers.is_empty());
    let (_, ours) = pair.run("arbitron", &["-u", "-d", "4000"]);
    assert!(
        ours.out.contains(&"shared.team 1:bob 1:bob".to_owned()),
        "{ours:?}"
    );
    assert_eq!(ours.err, ["Loading Mailboxes...Done", "Loading UsersDone"]);
    // Those who have not come back for a month are forgotten.
    let (_, pruned) = pair.run("arbitron", &["-p", "0", "-d", "0", "-o"]);
    assert!(pruned.out.iter().all(|line| line.ends_with(" 0")), "{pruned:?}");
}

#[test]
fn dates_are_set_right_as_by_cyrus() {
    let Some(pair) = Pair::of_fixture(BY_ID) else {
        return;
    };
    let said = pair.same("mbtool", &["-t", "*"]);
    assert!(said.iter().any(|line| line.contains(" => ")), "{said:?}");
    pair.same("mbtool", &["-t", "*"]);
    pair.same("mbtool", &["-t", "nosuch"]);
    pair.equal_for_cyrus("mbexamine", &[], without_times);
    pair.same("mbtool", &["-r", "user/alice"]);
}

#[test]
fn a_mailbox_gets_another_id_and_cyrus_finds_nothing_to_repair() {
    let Some(pair) = Pair::of_fixture(LEGACY) else {
        return;
    };
    pair.same("mbtool", &["-r", "user.bob", "user.carol"]);
    let ids = |programs, site: &crate::rig::site::Site| -> BTreeSet<String> {
        let dump = site.tool_ok(programs, "ctl_mboxlist", &["-d"]);
        let ids = dump.split("\"uniqueid\": \"").skip(1);
        ids.filter_map(|rest| rest.split('"').next().map(str::to_owned))
            .collect()
    };
    let (real, ours) = (
        ids(&pair.real_programs, &pair.real),
        ids(&pair.real_programs, &pair.ours),
    );
    assert_eq!(real.len(), ours.len());
    assert_eq!(real.intersection(&ours).count(), real.len() - 2);
    let checked = pair.ours.tool_ok(
        &pair.real_programs,
        "reconstruct",
        &["-n", "user.bob", "user.carol"],
    );
    let checked: Vec<&str> = checked
        .lines()
        .filter(|line| !line.starts_with("cyrus/"))
        .collect();
    assert_eq!(checked, ["user.bob", "user.carol"]);
}

#[test]
fn s153_messages_are_purged_as_by_cyrus() {
    let Some(pair) = Pair::of_fixture(BY_ID) else {
        return;
    };
    for arguments in [
        &["-n", "-d", "1"][..],
        &["-n", "-d", "1", "-f", "user/alice*"],
        &["-n", "-v", "-f", "-b", "600", "user/*"],
        &["-n", "-f", "-i", "-b", "300", "user/*"],
        &["-n", "-f", "-k", "1", "-s", "user/*"],
        &["-n", "-f", "-k", "1", "-o", "user/*"],
        &["-n", "-f", "-X", "-d", "100", "user/*"],
        &["-n", "-f", "-X", "-i", "-d", "100", "user/*"],
        &["-n", "-f", "-x", "-b", "316", "*"],
        &["-n", "-f", "-M", "-d", "1", "*"],
        &["-n", "-d", "1", "nosuch"],
        &["-v", "-f", "-d", "1", "-s", "user/bob*"],
        &["-f", "-b", "600", "user/alice*"],
    ] {
        pair.same("ipurge", arguments);
    }
    pair.equal_for_cyrus("mbexamine", &[], without_times);
}

#[test]
fn mailboxes_move_to_directories_by_id_as_by_cyrus() {
    let Some(pair) = Pair::of_fixture(LEGACY) else {
        return;
    };
    for arguments in [
        &["-q", "-n", "shared"][..],
        &["-q", "-u", "alice"],
        &["-q", "shared"],
        &["shared"],
        &["-u", "alice"],
        &["nosuch"],
    ] {
        pair.same("relocate_by_id", arguments);
    }
    let without_mtime = |line: &str| match line.split_once("\"mtime\": ") {
        Some((before, after)) => format!("{before}{}", after.split_once(',').map_or("", |(_, rest)| rest)),
        None => line.to_owned(),
    };
    pair.equal_for_cyrus("ctl_mboxlist", &["-d"], without_mtime);
    pair.equal_for_cyrus("mbexamine", &[], without_times);
    for part in ["spool", "meta", "archive", "conf/user"] {
        // A leftover of this fixture: messages of mailboxes that have gone, whose directories Cyrus moves along.
        let is_leftover = |path: &PathBuf| {
            ["Gone", "OldName"]
                .iter()
                .any(|name| path.to_string_lossy().contains(name))
        };
        let files = |root: &Path| -> BTreeSet<PathBuf> {
            let found = walk(&root.join(part)).into_iter();
            found
                .filter_map(|path| Some(path.strip_prefix(root).ok()?.to_path_buf()))
                .filter(|path| !is_leftover(path))
                .collect()
        };
        assert_eq!(files(pair.ours.root()), files(pair.real.root()), "{part}");
    }
    let server = pair.ours.start(&pair.real_programs);
    server.stop();
}

#[test]
fn special_uses_of_old_configurations_are_set_as_by_cyrus() {
    let Some(pair) = Pair::of_fixture(BY_ID) else {
        return;
    };
    pair.same("cvt_xlist_specialuse", &["user/*"]);
    for site in [&pair.real, &pair.ours] {
        site.configure("xlist-archive: Projects\nxlist-drafts: Nosuch\nxlist-junk: NewName\n");
    }
    pair.same_lines("cvt_xlist_specialuse", &["-v", "user/*"], |_| true);
    pair.same_lines("cvt_xlist_specialuse", &["-v", "user/*"], |_| true);
}

#[test]
fn the_current_directory_is_known_as_to_cyrus() {
    let Some(pair) = Pair::of_fixture(BY_ID) else {
        return;
    };
    pair.same("cyr_pwd", &[]);
    pair.same_code("cyr_pwd", &["x"]);
    for (site, programs) in [
        (&pair.real, &pair.real_programs),
        (&pair.ours, &pair.our_programs),
    ] {
        let path = site.tool_ok(programs, "mbpath", &["user/alice/Projects"]);
        let mut command = as_service_user(programs.reachable(&site.root().join("programs")).path("cyr_pwd"));
        command.arg("-C").arg(site.conf()).current_dir(path.trim());
        let output = command.output().expect("cyr_pwd can be run");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            "user/alice/Projects"
        );
    }
}

#[test]
fn tls_sessions_past_their_time_are_forgotten_as_by_cyrus() {
    let Some(pair) = Pair::of_fixture(BY_ID) else {
        return;
    };
    pair.same("tls_prune", &[]);
    pair.same_code("tls_prune", &["-x"]);
    let key = |letter: char| String::from(letter).repeat(32);
    for site in [&pair.real, &pair.ours] {
        // The time is eight octets in the order of the host: printable ones are long past, or far ahead.
        let (old, new) = ("AAAA\0\0\0\0", "zzzzzzz\0");
        let input = format!("{}\t{old}session\n{}\t{new}session\n", key('a'), key('b'));
        let (text, path) = (
            site.root().join("conf/sessions"),
            site.root().join("conf/tls_sessions.db"),
        );
        std::fs::write(&text, input).expect("a database");
        let (text, path) = (text.display().to_string(), path.display().to_string());
        site.own(Path::new(&text));
        site.tool_ok(
            &pair.our_programs,
            "cvt_cyrusdb",
            &[&text, "flat", &path, "twoskip"],
        );
    }
    pair.same("tls_prune", &[]);
    for site in [&pair.real, &pair.ours] {
        let path = site.root().join("conf/tls_sessions.db").display().to_string();
        let left = site.tool_ok(&pair.real_programs, "cyr_dbtool", &[&path, "twoskip", "show"]);
        assert!(left.contains(&key('b')) && !left.contains(&key('a')), "{left}");
    }
}

/// A line of mbexamine without the moments at which it was changed.
fn without_times(line: &str) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if let Some(at) = words.iter().position(|word| word.starts_with("LASTUPD")) {
        words.truncate(at);
    }
    words
        .into_iter()
        .filter(|word| !word.starts_with("SAVEDATE"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => found.extend(walk(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// The message files below a folder.
fn messages(folder: &Path) -> Vec<PathBuf> {
    let is_message = |path: &PathBuf| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        name.strip_suffix('.')
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    walk(folder).into_iter().filter(is_message).collect()
}
