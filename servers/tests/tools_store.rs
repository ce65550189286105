//! The tools that read and restore the mail store, beside those of real Cyrus on the same spools, and by themselves.
#![allow(clippy::unwrap_used)]

mod rig;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const OURS: [(&str, &str); 5] = [
    ("ctl_conversationsdb", env!("CARGO_BIN_EXE_ctl_conversationsdb")),
    ("ctl_mboxlist", env!("CARGO_BIN_EXE_ctl_mboxlist")),
    ("mbpath", env!("CARGO_BIN_EXE_mbpath")),
    ("mbexamine", env!("CARGO_BIN_EXE_mbexamine")),
    ("cyr_dbtool", env!("CARGO_BIN_EXE_cyr_dbtool")),
];

const FIXTURES: [&str; 5] = [
    "default-uuid",
    "legacy-virtdomains-conversations",
    "uuid-altbackends",
    "killed-mid-write",
    "killed-mid-repack",
];

/// The directory of Cyrus's programs; `None` with the reason printed, except in CI, which must have them.
fn oracle(test: &str) -> Option<&'static str> {
    let found = rig::real_cyrus(test);
    assert!(
        found.is_some() || std::env::var_os("CI").is_none(),
        "{test}: CI must have Cyrus"
    );
    found
}

/// A site in a directory of its own.
struct Site {
    dir: tempfile::TempDir,
}

/// What a program answered.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    code: i32,
    out: String,
}

impl Site {
    /// A spool that real Cyrus wrote, given to the user that its programs become.
    fn fixture(name: &str) -> Self {
        let site = Self::empty();
        let archive = format!("{}/tests/fixtures/{name}.tar.xz", env!("CARGO_MANIFEST_DIR"));
        let mut tar = Command::new("tar");
        assert!(
            tar.arg("-xJf")
                .arg(archive)
                .arg("-C")
                .arg(site.root())
                .status()
                .unwrap()
                .success()
        );
        let conf = fs::read_to_string(site.root().join("imapd.conf")).unwrap();
        site.configure(&conf.replace("@ROOT@", site.root().to_str().unwrap()));
        site
    }

    /// A site without a mailbox.
    fn new() -> Self {
        let site = Self::empty();
        for directory in ["conf", "spool"] {
            fs::create_dir(site.root().join(directory)).unwrap();
        }
        let root = site.root().display();
        site.configure(&format!(
            "configdirectory: {root}/conf\npartition-default: {root}/spool\nreverseacls: yes\n"
        ));
        site
    }

    fn empty() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("store-tools")
            .tempdir_in("/tmp")
            .unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn configure(&self, conf: &str) {
        // Without Cyrus's user the tests still run: as whoever runs them.
        let has_user = matches!(nix::unistd::User::from_name("cyrus"), Ok(Some(_)));
        let user = if has_user {
            "cyrus".to_owned()
        } else {
            rig::own_user()
        };
        fs::write(
            self.root().join("imapd.conf"),
            format!("{conf}cyrus_user: {user}\n"),
        )
        .unwrap();
        self.own();
    }

    fn own(&self) {
        if rig::is_root() && matches!(nix::unistd::User::from_name("cyrus"), Ok(Some(_))) {
            let mut chown = Command::new("chown");
            assert!(
                chown
                    .args(["-R", "cyrus:"])
                    .arg(self.root())
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn run(&self, program: &Path, args: &[&str], input: &[u8]) -> (Answer, String) {
        let mut child = Command::new(program)
            .arg("-C")
            .arg(self.root().join("imapd.conf"))
            .args(args)
            .env_remove("CYRUS_USER")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        let answer = Answer {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
        };
        (answer, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn ours_with(&self, tool: &str, args: &[&str], input: &str) -> (Answer, String) {
        let (_, program) = OURS.iter().find(|(name, _)| *name == tool).unwrap();
        self.run(Path::new(program), args, input.as_bytes())
    }

    fn ours(&self, tool: &str, args: &[&str]) -> Answer {
        self.ours_with(tool, args, "").0
    }

    fn theirs(&self, bin: &str, tool: &str, args: &[&str]) -> Answer {
        self.run(&Path::new(bin).join(tool), args, b"").0
    }

    fn same(&self, bin: &str, tool: &str, args: &[&str]) {
        assert_eq!(
            self.ours(tool, args),
            self.theirs(bin, tool, args),
            "{tool} {args:?}"
        );
    }

    /// The directory of a mailbox.
    fn mailbox(&self, name: &str) -> PathBuf {
        let answer = self.ours("mbpath", &[name]);
        assert_eq!(answer.code, 0, "{name}");
        PathBuf::from(answer.out.trim_end())
    }

    /// All rows of the mailbox list, without the times of writing.
    fn rows(&self) -> String {
        let file = self.root().join("conf/mailboxes.db");
        let answer = self.ours("cyr_dbtool", &[file.to_str().unwrap(), "twoskip", "show"]);
        without(&answer.out, " M ")
    }
}

/// A text without the words that follow `mark`.
fn without(text: &str, mark: &str) -> String {
    let mut pieces = text.split(mark);
    let mut left = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        left.push_str(piece.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    left
}

#[test]
fn the_dump_is_that_of_cyrus() {
    let Some(bin) = oracle("the_dump_is_that_of_cyrus") else {
        return;
    };
    for fixture in FIXTURES {
        let site = Site::fixture(fixture);
        for args in [
            &["-d"][..],
            &["-d", "-y"],
            &["-d", "-p", "default"],
            &["-d", "-p", "other"],
        ] {
            site.same(bin, "ctl_mboxlist", args);
        }
    }
    let site = Site::new();
    site.same(bin, "ctl_mboxlist", &["-d"]);
    site.same(bin, "ctl_mboxlist", &["-v"]);
}

#[test]
fn mbpath_answers_as_that_of_cyrus() {
    let Some(bin) = oracle("mbpath_answers_as_that_of_cyrus") else {
        return;
    };
    for fixture in FIXTURES {
        let site = Site::fixture(fixture);
        let dots = fixture.starts_with("legacy") || fixture.ends_with("backends");
        let names: Vec<String> = [
            "user/alice",
            "user/alice/Projects/Alpha",
            "shared/team",
            "user/jo.smith",
            "user/jo^smith",
            "nosuch",
            "user/nobody",
            "user/alice/Gone",
            "user/alice/Gr&APYA3w-e",
            "user//alice/",
            "INBOX",
            "",
            "user/frank@other.test",
        ]
        .iter()
        .map(|name| {
            if dots {
                name.replace('/', ".")
            } else {
                (*name).to_owned()
            }
        })
        .collect();
        let selectors = [
            "-D", "-a", "-j", "-A", "-M", "-m", "-S", "-U", "-l", "-7", "-q", "-s", "-lq", "-AD", "-up", "-Z",
        ];
        for selector in selectors {
            let mut args = vec![selector];
            args.extend(names.iter().map(String::as_str));
            site.same(bin, "mbpath", &args);
            site.same(
                bin,
                "mbpath",
                &[
                    selector,
                    "-u",
                    "alice",
                    "jo.smith",
                    "frank@other.test",
                    "nobody",
                    "alice",
                ],
            );
        }
        for name in &names {
            site.same(bin, "mbpath", &["-j", name]);
        }
        site.same(bin, "mbpath", &[]);
        let inbox = site.mailbox(&names[0]);
        if !fixture.starts_with("legacy") {
            site.same(bin, "mbpath", &["-p", inbox.to_str().unwrap(), "/nowhere"]);
        }
    }
}

/// Cyrus's own prints every message as number 1.
fn without_numbers(answer: Answer) -> Answer {
    let lines = answer
        .out
        .split_inclusive('\n')
        .map(|line| match line.split_once("> UID:") {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("N> UID:{rest}")
            }
            _ => line.to_owned(),
        });
    Answer {
        out: lines.collect(),
        ..answer
    }
}

#[test]
fn mbexamine_shows_what_that_of_cyrus_shows() {
    let Some(bin) = oracle("mbexamine_shows_what_that_of_cyrus_shows") else {
        return;
    };
    for fixture in FIXTURES {
        let site = Site::fixture(fixture);
        for args in [
            &[][..],
            &["-q"],
            &["-c"],
            &["-s", "1"],
            &["-u", "3"],
            &["-u", "999"],
            &["-u", "0"],
            &["-q", "-u", "3"],
            &["-s", "1", "-u", "1"],
            &["-Z"],
            &["user/alice/%", "nosuch", "user.alice*", "shared*"],
        ] {
            if args == ["-c"] && fixture.starts_with("legacy") {
                continue; // Cyrus's own does not look on the archive partition
            }
            let (ours, theirs) = (site.ours("mbexamine", args), site.theirs(bin, "mbexamine", args));
            let (ours, theirs) = (without_numbers(ours), without_numbers(theirs));
            if args == ["-c"] && fixture.starts_with("killed") {
                // Cyrus's own stops half-way through such a list, without a word and with 0.
                assert_eq!(ours.code, theirs.code);
                assert!(ours.out.starts_with(&theirs.out), "{fixture}");
                continue;
            }
            assert_eq!(ours, theirs, "{fixture}: mbexamine {args:?}");
        }
    }
}

#[test]
fn mbexamine_tells_differences_as_that_of_cyrus_does() {
    let Some(bin) = oracle("mbexamine_tells_differences_as_that_of_cyrus_does") else {
        return;
    };
    let site = Site::fixture("default-uuid");
    let inbox = site.mailbox("user/alice");
    let mut grown = fs::read(inbox.join("3.")).unwrap();
    grown.extend_from_slice(b"more\r\n");
    fs::write(inbox.join("3."), grown).unwrap();
    fs::remove_file(inbox.join("4.")).unwrap();
    fs::write(inbox.join("8."), format!("{:0228}", 1)).unwrap();
    fs::write(inbox.join("99."), "x\n").unwrap();
    fs::write(inbox.join("other"), "x\n").unwrap();
    site.own();
    site.same(bin, "mbexamine", &["-c", "user/alice"]);
    site.same(bin, "mbexamine", &["-q", "user/alice"]);
}

#[test]
fn verify_reports_what_cyrus_reports_and_no_false_alarms() {
    let Some(bin) = oracle("verify_reports_what_cyrus_reports_and_no_false_alarms") else {
        return;
    };
    // In the layout by name, Cyrus's own is wrong about tombstones only.
    let site = Site::fixture("legacy-virtdomains-conversations");
    let meta = site.root().join("meta");
    fs::create_dir_all(meta.join("L/user/alice/New")).unwrap();
    fs::write(meta.join("L/user/alice/New/cyrus.header"), "").unwrap();
    fs::create_dir_all(meta.join("L/user/alice/Empty")).unwrap();
    fs::remove_file(meta.join("L/user/alice/Projects/Alpha/cyrus.header")).unwrap();
    site.own();
    let theirs = site.theirs(bin, "ctl_mboxlist", &["-v"]);
    let true_lines = |line: &&str| !line.ends_with("on partition '(null)'");
    let wanted: Vec<&str> = theirs.out.lines().filter(true_lines).collect();
    let ours = site.ours("ctl_mboxlist", &["-v"]);
    assert_eq!(
        (ours.code, ours.out.lines().collect::<Vec<_>>()),
        (theirs.code, wanted)
    );
    assert_eq!(ours.out.lines().count(), 2);
    // In the layout by unique id, it misses every mailbox; ours knows where to look.
    let site = Site::fixture("default-uuid");
    assert_eq!(site.ours("ctl_mboxlist", &["-v"]).out, "");
    let archive = site.mailbox("user/alice/Archive");
    fs::remove_file(archive.join("cyrus.header")).unwrap();
    let row = site.ours("ctl_mboxlist", &["-v"]).out;
    assert_eq!(
        row,
        "'user.alice.Archive' has a DB entry but no directory on partition 'default'\n"
    );
    assert!(
        site.theirs(bin, "ctl_mboxlist", &["-v"])
            .out
            .contains(row.trim_end())
    );
}

#[test]
fn switches_that_do_not_fit_are_refused_as_by_cyrus() {
    let Some(bin) = oracle("switches_that_do_not_fit_are_refused_as_by_cyrus") else {
        return;
    };
    let site = Site::new();
    for args in [
        &[][..],
        &["-d", "-u"],
        &["-d", "-v"],
        &["-d", "-d"],
        &["-x"],
        &["-d", "-L"],
        &["-d", "-a"],
        &["-v", "-x"],
        &["-u", "-x"],
        &["-u", "-p", "default"],
        &["-v", "-y"],
        &["-m"],
        &["-Z"],
        &["-d", "extra"],
        &["-d", "-f", "/tmp"],
    ] {
        let (ours, theirs) = (
            site.ours("ctl_mboxlist", args),
            site.theirs(bin, "ctl_mboxlist", args),
        );
        assert_eq!(ours.code, theirs.code, "ctl_mboxlist {args:?}");
    }
}

#[test]
fn what_we_restore_cyrus_reads() {
    let Some(bin) = oracle("what_we_restore_cyrus_reads") else {
        return;
    };
    let dump = Site::fixture("default-uuid")
        .theirs(bin, "ctl_mboxlist", &["-d"])
        .out;
    let (by_us, by_them) = (Site::new(), Site::new());
    let (answer, said) = by_us.ours_with("ctl_mboxlist", &["-u"], &dump);
    assert_eq!((answer.code, said.as_str()), (0, ""));
    let read = by_us.theirs(bin, "ctl_mboxlist", &["-d"]).out;
    let times = "\"mtime\": \"";
    assert_eq!(
        without(&read, times),
        without(&dump, times),
        "all of it, tombstones too"
    );
    by_them.run(&Path::new(bin).join("ctl_mboxlist"), &["-u"], dump.as_bytes());
    let live = |site: &Site| -> Vec<String> {
        let rows = site.rows();
        let rows = rows
            .lines()
            .filter(|row| row.starts_with(['I', 'N']) && !row.contains("(T ed "));
        rows.map(str::to_owned).collect()
    };
    assert_eq!(live(&by_us), live(&by_them));
    by_us.same(bin, "mbpath", &["-j", "user/alice/Projects", "shared/team"]);
    let file = by_us.root().join("conf/mailboxes.db");
    let check = by_us.theirs(
        bin,
        "cyr_dbtool",
        &[file.to_str().unwrap(), "twoskip", "consistent"],
    );
    assert_eq!(check.out, "Yes, consistent\n");
}

fn entry(name: &str, id: &str, more: &str) -> String {
    format!(
        r#""{name}": {{"name": "{name}", "uidvalidity": "7", "createdmodseq": "1", "foldermodseq": "3",
"mbtype": "e", "partition": "default", "acl": {{"bob": "lrs", "anyone": "p"}}, "uniqueid": "{id}"{more}}}"#
    )
}

#[test]
fn a_dump_restored_twice_is_the_same_list() {
    let site = Site::new();
    let dump = format!(
        "{{{},\n{}}}",
        entry("user.a", "aaaa", ""),
        entry("shared", "bbbb", "")
    );
    for _ in 0..2 {
        assert_eq!(site.ours_with("ctl_mboxlist", &["-u"], &dump).0.code, 0);
        assert_eq!(
            site.rows(),
            "AS\u{1e}\t\n\
             AS\u{1e}bob\u{1e}shared\t\n\
             AU\u{1e}bob\u{1e}user\u{1f}a\t\n\
             Iaaaa\t%(T e N user\u{1f}a P default V 7 C 1 F 3 A %(bob lrs anyone p) H ())\n\
             Ibbbb\t%(T e N shared P default V 7 C 1 F 3 A %(bob lrs anyone p) H ())\n\
             Nshared\t%(T e I bbbb P default V 7 C 1 F 3 A %(bob lrs anyone p))\n\
             Nuser\u{1f}a\t%(T e I aaaa P default V 7 C 1 F 3 A %(bob lrs anyone p))\n"
        );
    }
    // What was removed with -x leaves nothing, not even in the index of rights.
    let dumped = site.ours("ctl_mboxlist", &["-d", "-x"]);
    assert_eq!(dumped.out.lines().count(), 4);
    assert_eq!(site.rows(), "AS\u{1e}\t\n");
    assert_eq!(site.ours("ctl_mboxlist", &["-d"]).out, "{\n\n}\n");
}

#[test]
fn a_unique_id_restored_under_another_name_has_one_owner() {
    let site = Site::new();
    let restore = |text: &str| {
        assert_eq!(
            site.ours_with("ctl_mboxlist", &["-u"], &format!("{{{text}}}"))
                .0
                .code,
            0
        );
    };
    restore(&entry("user.a", "aaaa", ""));
    restore(&entry("user.b", "aaaa", ""));
    let rows = site.rows();
    assert!(rows.contains("Iaaaa\t%(T e N user\u{1f}b "), "{rows}");
    assert!(
        rows.contains("H (%(N user\u{1f}a V 7 C 1 F 3 T e P default))"),
        "{rows}"
    );
    assert!(rows.contains("Nuser\u{1f}a\t%(T ed I aaaa V 7"), "{rows}");
    assert!(!rows.contains("bob\u{1e}user\u{1f}a\t"), "{rows}");
    // A name that gets another id leaves the old one to nobody.
    restore(&entry("user.b", "cccc", ""));
    assert!(!site.rows().contains("Iaaaa"), "{}", site.rows());
}

#[test]
fn bad_dumps_are_refused_with_their_lines() {
    let site = Site::new();
    let good = entry("user.a", "aaaa", "");
    for (text, line) in [
        (String::new(), 1),
        ("[1]".to_owned(), 1),
        (format!("{{{good},\n\"user.b\": x}}"), 3),
        (format!("{{{good}}}\ntrailing"), 3),
        (format!("{{{good}"), 2),
        ("{\n".repeat(100_000), 2),
    ] {
        let (answer, said) = site.ours_with("ctl_mboxlist", &["-u"], &text);
        assert_eq!(answer.code, 65, "{said}");
        assert!(
            said.starts_with("parse error at line "),
            "{line}: {}",
            said.lines().next().unwrap_or_default()
        );
        if text.len() < 1000 {
            assert!(said.contains(&format!("line {line}")), "{line}: {said}");
        }
        assert_eq!(site.rows(), "", "nothing is restored from what is no dump");
    }
    let (answer, said) = site.run(
        Path::new(env!("CARGO_BIN_EXE_ctl_mboxlist")),
        &["-u"],
        b"{\n\"a\xff\"",
    );
    assert_eq!((answer.code, said.as_str()), (65, "line 2: not UTF-8\n"));
    // An entry that makes no sense does not keep the others from being restored.
    let text = format!(
        "{{{},\n\"user.b\": 5,\n{}}}",
        entry("user.c", "../x", ""),
        entry("user.d", "dddd", "")
    );
    let (answer, said) = site.ours_with("ctl_mboxlist", &["-u"], &text);
    assert_eq!(
        (answer.code, said.as_str()),
        (
            65,
            "line 1: user.c: uniqueid is none; left out\nline 3: user.b: not an object; left out\n"
        )
    );
    let dumped = site.ours("ctl_mboxlist", &["-d"]).out;
    assert!(
        dumped.contains("user.d") && !dumped.contains("user.c"),
        "{dumped}"
    );
}

#[test]
fn dumps_of_older_versions_are_restored() {
    let site = Site::new();
    let text = "user.k\t0 default k\tlrs\tanyone\tp\t\nuser.l\n\nuser.m\t0 default\n";
    let (answer, said) = site.ours_with("ctl_mboxlist", &["-u", "-L"], text);
    assert_eq!(
        (answer.code, said.as_str()),
        (65, "line 2: no partition found\nline 3: no partition found\n")
    );
    let rows = site.rows();
    assert!(
        rows.contains("Nuser\u{1f}k\t%(T e P default A %(k lrs anyone p))\n"),
        "{rows}"
    );
    assert!(rows.contains("Nuser\u{1f}m\t%(T e P default)\n"), "{rows}");
}

#[test]
fn the_list_is_restored_where_conversations_are_on() {
    let site = Site::fixture("uuid-altbackends");
    let before = site.ours("ctl_mboxlist", &["-d"]).out;
    let (answer, said) = site.ours_with("ctl_mboxlist", &["-u"], &before);
    assert_eq!(answer.code, 0, "{said}");
    let after = site.ours("ctl_mboxlist", &["-d"]).out;
    // Rows tell when they were written.
    let lasting = |dump: &str| -> Vec<String> {
        let words = dump.split(", ").filter(|word| !word.contains("\"mtime\""));
        words.map(str::to_owned).collect()
    };
    assert_eq!(lasting(&after), lasting(&before));
}

#[test]
fn messages_are_found_by_their_number() {
    let site = Site::fixture("default-uuid");
    let shown = site.ours("mbexamine", &["-s", "5", "user/alice"]).out;
    let messages: Vec<&str> = shown.lines().filter(|line| line.contains("> UID:")).collect();
    assert_eq!(messages.len(), 1);
    assert!(
        messages[0].starts_with("000005> UID:00000007 "),
        "UIDs 5 and 6 are expunged: {messages:?}"
    );
}

#[test]
fn archived_messages_are_compared_where_they_are() {
    let site = Site::fixture("legacy-virtdomains-conversations");
    let shown = site.ours("mbexamine", &["-c", "user.alice"]).out;
    assert!(!shown.contains("UID:"), "{shown}");
    let archived = site.root().join("archive/L/user/alice/3.");
    fs::remove_file(archived).unwrap();
    let shown = site.ours("mbexamine", &["-c", "user.alice"]).out;
    assert!(shown.contains("  UID: 00000003\n"), "{shown}");
    assert_eq!(shown.matches("  UID: ").count(), 1);
}

#[test]
fn a_damaged_mailbox_does_not_hide_the_others() {
    let site = Site::fixture("default-uuid");
    fs::write(site.mailbox("user/bob").join("cyrus.index"), "garbage").unwrap();
    fs::remove_file(site.mailbox("user/carol").join("cyrus.index")).unwrap();
    site.own();
    for switch in ["-q", "-c", "-u1"] {
        let (answer, said) = site.ours_with("mbexamine", &[switch, "user/%"], "");
        assert_eq!(answer.code, 65);
        assert!(
            said.contains("user/bob: ") && said.contains("cyrus.index"),
            "{said}"
        );
        assert!(said.contains("user/carol: "), "{said}");
        assert!(answer.out.contains("Examining user/dave..."), "{}", answer.out);
    }
}

#[test]
fn directories_lead_back_to_mailboxes_in_both_layouts() {
    let site = Site::fixture("legacy-virtdomains-conversations");
    let ask = |path: PathBuf| site.ours("mbpath", &["-p", path.to_str().unwrap()]);
    let projects = site.mailbox("user.alice.Projects");
    for path in [
        projects.clone(),
        site.root().join("meta/L/user/alice/Projects"),
        site.root().join("archive/L/user/alice/Projects"),
    ] {
        assert_eq!(ask(path).out.trim_end(), projects.to_str().unwrap());
    }
    for path in ["spool", "spool/L", "spool/X/user/alice", "conf"] {
        assert_eq!(ask(site.root().join(path)).code, 65, "{path}");
    }
    let site = Site::fixture("default-uuid");
    let inbox = site.mailbox("user/alice");
    let found = site.ours("mbpath", &["-p", inbox.to_str().unwrap()]);
    assert_eq!(found.out.trim_end(), inbox.to_str().unwrap());
}

#[test]
fn conversations_are_dumped_restored_counted_and_audited() {
    let site = Site::fixture("legacy-virtdomains-conversations");
    let lines = |arguments: &[&str]| {
        let answer = site.ours("ctl_conversationsdb", arguments);
        assert_eq!(answer.code, 0, "{arguments:?}");
        answer.out
    };
    let folder = site.root().display().to_string();
    let audit = ["-A", "-v", "-T", &folder, "alice"];
    assert!(lines(&audit).ends_with("alice is OK\n"), "{}", lines(&audit));
    assert_eq!(lines(&["-F", "alice"]), "OK alice\n");
    let everybody = lines(&["-F", "-r"]);
    assert!(
        everybody.contains("OK alice\n") && everybody.contains("OK frank@other.test\n"),
        "{everybody}"
    );
    assert!(lines(&["-R", "-v", "alice"]).starts_with("user.alice\n"));
    assert!(lines(&audit).ends_with("alice is OK\n"), "{}", lines(&audit));
    assert_eq!(lines(&["-z", "alice"]), "");
    assert!(lines(&audit).ends_with("alice is OK\n"), "{}", lines(&audit));
    assert_eq!(lines(&["-b", "alice"]), "");
    assert!(lines(&audit).ends_with("alice is OK\n"), "{}", lines(&audit));
    assert_eq!(site.ours("ctl_conversationsdb", &["alice"]).code, 64);
    assert_eq!(site.ours("ctl_conversationsdb", &["-d", "nobody"]).code, 66);
}
