//! Our tools beside those of real Cyrus: same switches, same output, same exit codes.
#![allow(clippy::unwrap_used)]

mod rig;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use cyrus_servers::procdir::{ProcDirectory, SessionLine};
use rig::real_cyrus;

/// What a program said and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    code: i32,
    output: String,
}

fn outcome(program: impl AsRef<Path>, args: &[&str], dir: &Path) -> Outcome {
    let mut command = Command::new(program.as_ref());
    let output = command
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
    }
}

/// A configuration with something of everything.
const IMAPD: &str = "\
configdirectory: CONF
foobar: 1
imap_timeout: 3h
imap_foo: x
imap_fooo: x
partition-default: /y
partition-x: /y
metapartition-x: /y
metapartition-none: /y
archivepartition-x: /y
archivepartition-none: /y
backuppartition-x: /y
sasl_mech_list: PLAIN
UMASK: 022
lmtp_admins: a
sync_foo: x
sync_authname: q
expunge_mode: immediate
virtdomains: userid
metapartition_files: index header
timeout: 1h
maxword: 5
maxliteral: 0x10
tls_cert_file: /x
tls_key_file: /old
tls_server_key: /new
archive_days: 3
autocreatequota: 5
createonpost: yes
tlscache_db: twoskip
foo_sync_host: z
foo_partition-x: z
foo_sasl_mech_list: z
foo_archive_days: 3
flushseenstate: no
rss_feeds: *
defaultacl: \\
  anyone \\
  lr
idlesocket: {configdirectory}/z
admins: {configdirectory}/zz # no comment
sync_log_channels: chan other
chan_sync_host: y
chan_sync_foo: y
third_sync_host: y
t1searchpartition-default: /y
t1searchpartition-q: /y
searchpartition-default: /y
poptimeout: 10m
popminpoll: 1h30m
event_groups: mailbox
mupdate_config: standard
serverinfo: 1
sql_engine: pgsql
";

const CYRUS: &str = "\
START {
 a-b cmd=x
}
SERVICES {
 imap cmd=\"imapd\" listen=1
 foo cmd=\"food\" listen=2
 foo cmd=\"twice\"
}
";

#[test]
fn cyr_info_lists_settings_as_cyrus_does() {
    let Some(bin) = real_cyrus("cyr_info_lists_settings_as_cyrus_does") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf");
    fs::create_dir_all(conf.join("proc")).unwrap();
    let text = IMAPD
        .replace("CONF", conf.to_str().unwrap())
        .replace("\\\\", "\\");
    fs::write(dir.path().join("i"), text).unwrap();
    fs::write(
        dir.path().join("plain"),
        format!("configdirectory: {}\nfoo: bar\n", conf.display()),
    )
    .unwrap();
    fs::write(dir.path().join("m"), CYRUS).unwrap();
    for (name, text) in [
        ("1", "imap\tlocalhost [127.0.0.1]\t\t\t\n"),
        ("2", "imap\tlocalhost [127.0.0.1]\tu\t\tIdle\nowner 1\n"),
        ("3", "imap\t\tu\tuser.a b\tFetch\n"),
        ("400001", "imap\th\tu\tm"),
        ("5", "imap"),
        ("6", ""),
        ("7", "\t\t\t\t\n"),
        ("8", "a\tb\tc\td\te\tf\n"),
        ("012", "a\tb\n"),
        ("x", "a\tb\n"),
        ("1-2", "a\tb\n"),
    ] {
        fs::write(conf.join("proc").join(name), text).unwrap();
    }
    let commands: &[&[&str]] = &[
        &["conf"],
        &["conf-all"],
        &["conf-default"],
        &["-M", "m", "conf-lint"],
        &["-M", "missing", "conf-lint"],
        &["-n", "imap", "conf"],
        &["-n", "imap", "conf-all"],
        &["-n", "foo", "conf"],
        &["-n", "lmtp", "-M", "m", "conf-lint"],
        &["-s", "3.0.0", "conf"],
        &["-s", "3.5.0", "conf-all"],
        &["-s", "2.5", "conf-default"],
        &["-s", "", "conf"],
        &["-s", "x", "conf"],
        &["-s", "300.1", "conf"],
        &["proc"],
        &["conf", "extra"],
        &["nonsense"],
        &[],
        &["-Z"],
    ];
    for args in commands {
        // Where an ENUM is set, Cyrus 3.6.1 shows its value among the defaults; ours shows the default.
        let file = if args.contains(&"conf-default") {
            "plain"
        } else {
            "i"
        };
        let args: Vec<&str> = ["-C", file].into_iter().chain(args.iter().copied()).collect();
        let theirs = outcome(format!("{bin}/cyr_info"), &args, dir.path());
        let ours = outcome(env!("CARGO_BIN_EXE_cyr_info"), &args, dir.path());
        assert_eq!(ours, theirs, "{args:?}");
    }
}

#[test]
fn cyr_info_refuses_what_cyrus_refuses() {
    let Some(bin) = real_cyrus("cyr_info_refuses_what_cyrus_refuses") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("more"), "postmaster: root\n").unwrap();
    for line in [
        "allowplaintext: maybe",
        "allowplaintext: ON",
        "allowplaintext: yesterday",
        "timeout: 3q",
        "timeout: 1h30",
        "timeout: 5dd",
        "maxheaderlines: 12x",
        "maxheaderlines: 012",
        "expunge_mode: never",
        "expunge_mode: off",
        "virtdomains: t",
        "metapartition_files: header,index",
        "metapartition_files: header  header",
        "mboxlist_db: berkeley",
        "no colon",
        "bad name: x",
        "empty:",
        "a: 1\na: 2",
        "A: 1\na: 2",
        "@include: missing",
        "@include: more",
        "@INCLUDE:more",
        "@include: i",
        "@other: x",
        "defaultpartition: a-b",
        "defaultpartition: AB",
        "  indented:x\t",
        "# comment\\\nallowplaintext: maybe",
        "postmaster: a \\\n  b",
        "imap_timeout: 3q",
    ] {
        for name in ["tool", "imap"] {
            let text = format!("configdirectory: {}\n{line}\n", dir.path().display());
            fs::write(dir.path().join("i"), text).unwrap();
            let args = ["-C", "i", "-n", name, "conf"];
            let theirs = outcome(format!("{bin}/cyr_info"), &args, dir.path());
            let ours = outcome(env!("CARGO_BIN_EXE_cyr_info"), &args, dir.path());
            assert_eq!(ours, theirs, "{line}");
        }
    }
}

#[test]
fn cyr_buildinfo_has_the_names_of_cyrus() {
    let Some(bin) = real_cyrus("cyr_buildinfo_has_the_names_of_cyrus") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let names = |program: &str, format: &str| {
        let outcome = outcome(program, &[format], dir.path());
        let facts = outcome.output.replace("true", "?").replace("false", "?");
        let facts = facts.replace("\"none\"", "?").replace("\"ngrams\"", "?");
        (outcome.code, facts)
    };
    for format in ["pretty", "dense", "unknown"] {
        let theirs = names(&format!("{bin}/cyr_buildinfo"), format);
        assert_eq!(names(env!("CARGO_BIN_EXE_cyr_buildinfo"), format), theirs);
    }
}

#[test]
fn the_cyr_info_of_cyrus_lists_every_session_of_a_process_of_ours() {
    let Some(bin) = real_cyrus("the_cyr_info_of_cyrus_lists_every_session_of_a_process_of_ours") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let text = format!("configdirectory: {}\n", dir.path().display());
    fs::write(dir.path().join("i"), text).unwrap();
    let proc = ProcDirectory::at(dir.path().join("proc")).unwrap();
    let session = |n: usize| {
        let line = SessionLine {
            service: "imap".to_owned(),
            client: "localhost [127.0.0.1]".to_owned(),
            user: format!("user{n}"),
            mailbox: "user.bovik".to_owned(),
            command: "Idle".to_owned(),
        };
        proc.session(&line).unwrap()
    };
    let sessions: Vec<_> = (0..150).map(session).collect();
    // Cyrus's tool becomes the Cyrus user, which in a real server owns the files.
    for entry in fs::read_dir(dir.path().join("proc")).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let listed = outcome(format!("{bin}/cyr_info"), &["-C", "i", "proc"], dir.path()).output;
    assert_eq!(listed.lines().count(), sessions.len());
    for (n, session) in sessions.iter().enumerate() {
        let line = format!(
            "{} imap localhost [127.0.0.1] user{n} user.bovik Idle\n",
            session.number()
        );
        assert!(listed.contains(&line), "{line} in {listed}");
    }
    assert_eq!(
        outcome(env!("CARGO_BIN_EXE_cyr_info"), &["-C", "i", "proc"], dir.path()).output,
        listed
    );
}
