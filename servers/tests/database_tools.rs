//! The database tools beside those of real Cyrus, on the same files.
#![allow(clippy::unwrap_used)]

mod rig;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rig::real_cyrus;

const OURS: [(&str, &str); 3] = [
    ("cyr_dbtool", env!("CARGO_BIN_EXE_cyr_dbtool")),
    ("cvt_cyrusdb", env!("CARGO_BIN_EXE_cvt_cyrusdb")),
    ("ctl_cyrusdb", env!("CARGO_BIN_EXE_ctl_cyrusdb")),
];

/// Two directories with the same content; one is for Cyrus's tools, one for ours.
struct Pair {
    _dir: tempfile::TempDir,
    theirs: PathBuf,
    ours: PathBuf,
    bin: &'static str,
}

impl Pair {
    fn new(bin: &'static str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("dbtools")
            .tempdir_in("/tmp")
            .unwrap();
        let (theirs, ours) = (dir.path().join("a"), dir.path().join("b"));
        for side in [&theirs, &ours] {
            fs::create_dir_all(side.join("conf/db")).unwrap();
            let text = format!(
                "configdirectory: {0}/conf\npartition-default: {0}/spool\n",
                side.display()
            );
            fs::write(side.join("imapd.conf"), text).unwrap();
        }
        let pair = Self {
            _dir: dir,
            theirs,
            ours,
            bin,
        };
        pair.own();
        pair
    }

    /// Gives everything to the user that the tools become.
    fn own(&self) {
        let root = self.theirs.parent().unwrap();
        fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        if rig::is_root() {
            assert!(
                Command::new("chown")
                    .args(["-R", "cyrus:mail"])
                    .arg(root)
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }

    /// Runs a tool of one side; DIR stands for its directory. Returns exit code and output with DIR put back.
    fn run_on(&self, side: &Path, program: &Path, args: &[&str], input: &[u8]) -> (i32, String) {
        let dir = side.to_str().unwrap();
        let mut command = Command::new(program);
        command
            .arg("-C")
            .arg(side.join("imapd.conf"))
            .args(args.iter().map(|arg| arg.replace("DIR", dir)));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).replace(dir, "DIR");
        (output.status.code().unwrap_or(-1), text)
    }

    fn theirs(&self, tool: &str, args: &[&str], input: &[u8]) -> (i32, String) {
        self.run_on(&self.theirs, &Path::new(self.bin).join(tool), args, input)
    }

    fn ours(&self, tool: &str, args: &[&str], input: &[u8]) -> (i32, String) {
        let (_, program) = OURS.iter().find(|(name, _)| *name == tool).unwrap();
        self.run_on(&self.ours, Path::new(program), args, input)
    }

    /// Runs a tool on both sides: the outcomes must be equal.
    fn same(&self, tool: &str, args: &[&str], input: &[u8]) {
        let (theirs, ours) = (self.theirs(tool, args, input), self.ours(tool, args, input));
        assert_eq!(
            ours,
            theirs,
            "{tool} {args:?} {:?}",
            String::from_utf8_lossy(input)
        );
    }

    fn dbtool(&self, args: &[&str], input: &[u8]) {
        self.same("cyr_dbtool", args, input);
    }
}

#[test]
fn cyr_dbtool_does_what_that_of_cyrus_does() {
    let Some(bin) = real_cyrus("cyr_dbtool_does_what_that_of_cyrus_does") else {
        return;
    };
    for engine in ["twoskip", "skiplist", "flat", "quotalegacy"] {
        let pair = Pair::new(bin);
        let file = if engine == "quotalegacy" {
            "DIR/conf/quotas.db"
        } else {
            "DIR/x.db"
        };
        let on = |args: &[&str], input: &[u8]| {
            let args: Vec<&str> = [file, engine].into_iter().chain(args.iter().copied()).collect();
            pair.dbtool(&args, input);
        };
        if engine != "quotalegacy" {
            on(&["show"], b"");
            on(&["set", "k", "v"], b"");
        }
        pair.dbtool(&["-n", file, engine, "set", "user.fred", "1 2"], b"");
        on(&["set", "user.anna", "3 4"], b"");
        on(&["get", "user.fred"], b"");
        on(&["get", "user.nobody"], b"");
        on(&["get"], b"user.anna\nuser.nobody\nuser.fred\tignored\n");
        on(&["set"], b"user.b\t5 6\nuser.c\t\nuser.d\n\tempty\nuser.e\t7\n");
        on(&["show"], b"");
        on(&["show", "user.a"], b"");
        on(&["show", "user.b", "extra"], b"");
        on(&["delete", "user.fred"], b"");
        on(&["delete", "user.fred"], b"");
        on(&["delete"], b"user.c\nuser.nobody\n");
        on(&["consistent"], b"");
        on(&["consistency"], b"");
        on(&["frob"], b"");
        if engine != "skiplist" {
            on(&["repack"], b""); // Cyrus's own stops at an assertion for a skiplist file
        }
        if matches!(engine, "twoskip" | "flat") {
            on(&["damage"], b""); // Cyrus's own shows what a dead process wrote of the others
            on(&["show"], b"");
            on(&["consistent"], b"");
        }
        pair.dbtool(&["-T", file, engine, "show"], b"");
        pair.dbtool(&["-M", file, engine, "show"], b"");
        // Each reads what the other wrote.
        let (_, theirs) = pair.theirs("cyr_dbtool", &[file, engine, "show"], b"");
        let ours = pair.run_on(
            &pair.theirs,
            Path::new(env!("CARGO_BIN_EXE_cyr_dbtool")),
            &[file, engine, "show"],
            b"",
        );
        let crossed = pair.run_on(
            &pair.ours,
            &Path::new(bin).join("cyr_dbtool"),
            &[file, engine, "show"],
            b"",
        );
        assert_eq!((ours.1, crossed.1), (theirs.clone(), theirs), "{engine}");
    }
}

#[test]
fn cyr_dbtool_shows_the_structure_of_files_as_that_of_cyrus_does() {
    let Some(bin) = real_cyrus("cyr_dbtool_shows_the_structure_of_files_as_that_of_cyrus_does") else {
        return;
    };
    let entries: String = (0..900)
        .map(|at| format!("key.{at}\tvalue {}\n", at * at))
        .collect();
    let doomed: String = (0..300).map(|at| format!("key.{}\n", at * 3)).collect();
    for engine in ["twoskip", "skiplist", "flat", "quotalegacy"] {
        let pair = Pair::new(bin);
        // Levels are drawn by lot, so that both look at one file.
        let file = pair.theirs.join("x.db").display().to_string();
        let file = if engine == "quotalegacy" {
            "DIR/conf/quotas.db"
        } else {
            &file
        };
        pair.ours("cyr_dbtool", &["-n", file, engine, "set"], entries.as_bytes());
        pair.ours("cyr_dbtool", &[file, engine, "repack"], b"");
        pair.dbtool(&[file, engine, "dump"], b"");
        pair.ours("cyr_dbtool", &[file, engine, "delete"], doomed.as_bytes());
        pair.ours("cyr_dbtool", &[file, engine, "set", "key.0", "back again"], b"");
        pair.dbtool(&[file, engine, "dump"], b"");
        let (code, text) = pair.ours("cyr_dbtool", &[file, engine, "dump"], b"");
        assert_eq!(code, 0);
        if matches!(engine, "twoskip" | "skiplist") {
            assert!(text.contains(" kl=7 dl=11 lvl="), "{text}");
            assert_eq!(pair.ours("cyr_dbtool", &[file, engine, "damage"], b"").0, 70);
            assert_eq!(
                pair.ours("cyr_dbtool", &[file, engine, "get", "INVALID"], b""),
                (0, "\n".to_owned())
            );
            assert_eq!(pair.theirs("cyr_dbtool", &[file, engine, "consistent"], b"").0, 0);
        }
        if engine == "twoskip" {
            // Damage is shown where it is: in a value, and in what leads to it, of which real Cyrus dies at times.
            let mut octets = fs::read(file).unwrap();
            let at = octets.windows(5).rposition(|octets| octets == b"again").unwrap();
            octets[at] ^= 1;
            fs::write(file, &octets).unwrap();
            pair.dbtool(&[file, engine, "dump"], b"");
            octets[at - 40] ^= 1;
            fs::write(file, &octets).unwrap();
            let (code, text) = pair.ours("cyr_dbtool", &[file, engine, "dump"], b"");
            assert!(code >= 0 && text.starts_with("HEADER: v=1 "), "{code} {text}");
        }
    }
}

#[test]
fn cyr_dbtool_runs_batches_as_that_of_cyrus_does() {
    let Some(bin) = real_cyrus("cyr_dbtool_runs_batches_as_that_of_cyrus_does") else {
        return;
    };
    let pair = Pair::new(bin);
    for batch in [
        "SET a b\nSET c \"d e\"\nSET \"f g\" h\nSHOW\n",
        "SET x\nGET x\nSHOW nothing\nGET nothing\nDELETE nothing\n",
        "BEGIN\nSET t 1\nGET t\nSHOW\nABORT\nGET t\nBEGIN\nSET t 2\nDELETE a\nCOMMIT\nGET t\nSHOW\n",
        "GET t\nCOMMIT\nGET c\n",
        "BEGIN\nBEGIN\n",
        "set t 4\nGET t\n",
        "GET t\nFROB\nGET c\n",
        "SET x y z\nGET x\n",
        "\nGET c\r\n",
        "SET q \"x\\\"y\\\\z\"\nGET q\nSET w \"a\tb\"\nGET w\nSET n NIL\nGET n\n",
        "SET m \"50%\"\nGET m\nSET s \"a*b\"\nGET s\nSET p \"(\"\nGET p\nSET b \"a]b\"\nGET b\n",
        "SET (a) b\n",
        "SHOW a b\n",
        "GET",
    ] {
        pair.dbtool(&["-n", "DIR/x.db", "twoskip", "batch"], batch.as_bytes());
    }
}

#[test]
fn the_database_tools_refuse_what_cyrus_refuses() {
    let Some(bin) = real_cyrus("the_database_tools_refuse_what_cyrus_refuses") else {
        return;
    };
    let pair = Pair::new(bin);
    fs::write(pair.theirs.join("garbage"), "garbage").unwrap();
    fs::write(pair.ours.join("garbage"), "garbage").unwrap();
    pair.own();
    let codes = |tool: &str, args: &[&str]| {
        let (theirs, ours) = (pair.theirs(tool, args, b"").0, pair.ours(tool, args, b"").0);
        assert_eq!(ours, theirs, "{tool} {args:?}");
    };
    for args in [
        &[][..],
        &["DIR/x"],
        &["DIR/x", "twoskip"],
        &["x", "twoskip", "show"],
        &["DIR/x", "nosuch", "show"],
        &["DIR/x", "twoskip", "show"],
        &["DIR/garbage", "twoskip", "show"],
        &["DIR/garbage", "twoskip", "consistent"],
    ] {
        codes("cyr_dbtool", args);
    }
    for args in [
        &[][..],
        &["DIR/x", "twoskip", "DIR/y"],
        &["DIR/x", "twoskip", "DIR/y", "flat", "extra"],
        &["x", "twoskip", "y", "flat"],
        &["DIR/x", "nosuch", "DIR/y", "flat"],
    ] {
        codes("cvt_cyrusdb", args);
    }
    for args in [&[][..], &["-rc"], &["-x"], &["-Z"], &["-c", "-x", "-r"]] {
        codes("ctl_cyrusdb", args);
    }
}

#[test]
fn cvt_cyrusdb_makes_what_that_of_cyrus_reads() {
    let Some(bin) = real_cyrus("cvt_cyrusdb_makes_what_that_of_cyrus_reads") else {
        return;
    };
    let pair = Pair::new(bin);
    let entries: String = (0..500)
        .map(|n| format!("user.u{n:03}\t{n} {}\n", n * 7))
        .collect();
    pair.dbtool(&["-n", "DIR/twoskip.db", "twoskip", "set"], entries.as_bytes());
    for (from, to) in [
        ("twoskip", "flat"),
        ("flat", "skiplist"),
        ("skiplist", "twoskip"),
        ("twoskip", "flat"),
    ] {
        let (old, new) = (format!("DIR/{from}.db"), format!("DIR/{to}.db"));
        pair.same("cvt_cyrusdb", &[&old, from, &new, to], b"");
        pair.dbtool(&[&new, to, "show"], b"");
        let shown = pair.run_on(
            &pair.ours,
            &Path::new(bin).join("cyr_dbtool"),
            &[&new, to, "show"],
            b"",
        );
        assert_eq!(shown.1, entries, "{from} to {to}");
    }
    pair.same(
        "cvt_cyrusdb",
        &["DIR/flat.db", "flat", "DIR/conf/quotas.db", "quotalegacy"],
        b"",
    );
    pair.dbtool(&["DIR/conf/quotas.db", "quotalegacy", "show"], b"");
    let (code, text) = pair.ours("cvt_cyrusdb", &["DIR/none", "twoskip", "DIR/new.db", "flat"], b"");
    assert!(code != 0 && text.contains("DBERROR: Conversion failed"), "{text}");
    assert!(!pair.ours.join("new.db").exists());
}

/// The files under a directory, with the contents of those that have no time in them.
fn tree(side: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut left = vec![side.join("conf")];
    while let Some(path) = left.pop() {
        let name = path.strip_prefix(side).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            found.push((name, None));
        } else {
            let content = fs::read(&path).unwrap();
            found.push((name.clone(), (!name.ends_with("skipstamp")).then_some(content)));
        }
    }
    found.sort();
    found
}

#[test]
fn ctl_cyrusdb_recovers_and_archives_as_that_of_cyrus_does() {
    let Some(bin) = real_cyrus("ctl_cyrusdb_recovers_and_archives_as_that_of_cyrus_does") else {
        return;
    };
    let pair = Pair::new(bin);
    pair.same("ctl_cyrusdb", &["-r"], b"");
    assert_eq!(tree(&pair.ours), tree(&pair.theirs), "an empty server");
    for side in [&pair.theirs, &pair.ours] {
        fs::write(side.join("conf/db/skipcleanshutdown"), "").unwrap();
    }
    pair.own();
    pair.dbtool(&["-n", "DIR/conf/deliver.db", "flat", "set", "a", "b"], b"");
    pair.dbtool(
        &["-n", "DIR/conf/tls_sessions.db", "skiplist", "set", "a", "b"],
        b"",
    );
    pair.same("ctl_cyrusdb", &["-r", "-x"], b"");
    pair.dbtool(&["DIR/conf/tls_sessions.db", "twoskip", "show"], b"");
    let names = |side: &Path| tree(side).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(
        names(&pair.ours),
        names(&pair.theirs),
        "formats are converted, the mark of a clean end is used up"
    );
    for _ in 0..3 {
        pair.same("ctl_cyrusdb", &["-c"], b"");
        assert_eq!(names(&pair.ours), names(&pair.theirs));
    }
    for name in ["mailboxes.db", "annotations.db"] {
        let copy = pair.ours.join("conf/db.backup1").join(name);
        assert_eq!(
            fs::read(copy).unwrap(),
            fs::read(pair.ours.join("conf").join(name)).unwrap()
        );
    }
    // A list of mailboxes that is no database stops the start of the server.
    for side in [&pair.theirs, &pair.ours] {
        fs::write(side.join("conf/mailboxes.db"), "garbage\n").unwrap();
    }
    pair.own();
    pair.same("ctl_cyrusdb", &["-r"], b"");
}

#[test]
fn ctl_cyrusdb_undoes_what_a_dead_writer_left() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "configdirectory: {0}/conf\ncyrus_user: {1}\n",
        dir.path().display(),
        rig::own_user()
    );
    fs::write(dir.path().join("imapd.conf"), text).unwrap();
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command
            .arg("-C")
            .arg(dir.path().join("imapd.conf"))
            .args(args)
            .env_remove("CYRUS_USER");
        let output = command.stdin(Stdio::null()).output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let file = dir.path().join("conf/deliver.db");
    let path = file.to_str().unwrap();
    assert_eq!(
        run(
            env!("CARGO_BIN_EXE_cyr_dbtool"),
            &["-n", path, "twoskip", "set", "kept", "1"]
        )
        .0,
        0
    );
    // Half a record behind the end, and the mark that somebody was writing.
    let mut content = fs::read(&file).unwrap();
    content.extend_from_slice(b"+\x01\0\x04torn");
    fs::write(&file, content).unwrap();
    let before = fs::metadata(&file).unwrap().len();
    assert_eq!(run(env!("CARGO_BIN_EXE_ctl_cyrusdb"), &["-r"]).0, 0);
    assert!(fs::metadata(&file).unwrap().len() < before);
    assert_eq!(
        run(env!("CARGO_BIN_EXE_cyr_dbtool"), &[path, "twoskip", "consistent"]).1,
        "Yes, consistent\n"
    );
    assert_eq!(
        run(env!("CARGO_BIN_EXE_cyr_dbtool"), &[path, "twoskip", "show"]).1,
        "kept\t1\n"
    );
    let mut content = fs::read(&file).unwrap();
    let at = content.windows(4).position(|window| window == b"kept").unwrap();
    content[at] = b'K';
    fs::write(&file, content).unwrap();
    let (code, said) = run(env!("CARGO_BIN_EXE_cyr_dbtool"), &[path, "twoskip", "consistent"]);
    assert!(code == 1 && said.starts_with("No, not consistent\n"), "{said}");
}
