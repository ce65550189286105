//! Indexes of texts beside real Cyrus: `squatter` writes them of what either side delivered, and no search has another answer
//! because of them; both sides' `squatter`s understand the sync logs that the other's daemons write.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::rig::imap::Imap;
use crate::rig::programs::{Programs, as_service_user};
use crate::rig::server::{Server, Start};
use crate::rig::site::Site;

const OPTIONS: &[(&str, &str)] = &[
    ("sync_log", "yes"),
    ("sync_log_channels", "squatter"),
    ("unixhierarchysep", "yes"),
];

const INDEXED: &str = "search_engine: squat\n";

const SEARCHES: &[&str] = &[
    "SEARCH TEXT \"fox number 7\"",
    "SEARCH TEXT fo",
    "SEARCH BODY \"ox number 11\"",
    "SEARCH BODY brucke",
    "SEARCH SUBJECT \"t 9\"",
    "SEARCH FROM sender3@",
    "SEARCH HEADER X-Number 88",
    "SEARCH NOT TEXT number",
    "SEARCH OR TEXT \"number 50\" BODY nowhere",
    "SEARCH TEXT nowhere",
    "UID SEARCH TEXT \"number 1\" UNDELETED",
];

fn message(number: u32) -> String {
    format!(
        "From: Sender <sender{}@rig.example>\r\nSubject: subject {number}\r\nX-Number: {number}\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         The quick brown f=\r\nox number {number} crosses the Br=C3=BCcke.\r\nLast line.\r\n",
        number % 10
    )
}

fn fill(server: &Server, numbers: std::ops::Range<u32>) {
    let mut alice = server.imap("alice");
    for number in numbers {
        alice
            .append("INBOX", "", message(number).as_bytes())
            .expect("APPEND");
    }
    alice.ok("LOGOUT");
}

/// What each search finds. Cyrus says nothing where nothing is found.
fn answers(imap: &mut Imap) -> Vec<String> {
    imap.ok("SELECT INBOX");
    let answer = |search: &&str| {
        let reply = imap.ok(search);
        let found: Vec<String> = reply
            .data("SEARCH")
            .flatten()
            .map(|number| format!("{number:?}"))
            .collect();
        format!("{search}: {}", found.join(" "))
    };
    SEARCHES.iter().map(answer).collect()
}

fn site(programs: &Programs) -> (Site, Server) {
    let site = Site::new(OPTIONS, &["alice"]);
    let server = site.start(programs);
    server.imap("admin").ok("CREATE user/alice");
    (site, server)
}

#[test]
fn searches_with_an_index_answer_what_real_cyrus_answers() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let (site, server) = site(&real);
    fill(&server, 0..120);
    let expected = answers(&mut server.imap("alice"));
    server.stop();
    // Real Cyrus's searches find nothing where an engine is named and its index is missing.
    site.configure(INDEXED);
    assert_eq!(site.tool_ok(&ours, "squatter", &["-l"]), "");
    let missing = site.tool(&ours, "squatter", &["-A", "user/alice"]);
    assert_eq!(missing.status.code(), Some(75));
    let said = site.tool_ok(&ours, "squatter", &["-v", "-r", "user/alice"]);
    assert!(
        said.contains("Indexing mailbox user/alice... 120 added, 0 removed, made anew"),
        "{said}"
    );
    let path = site.tool_ok(&ours, "squatter", &["-l", "-u", "alice"]);
    assert!(Path::new(path.trim()).join("meta.json").exists(), "{path}");
    assert_eq!(site.tool_ok(&ours, "squatter", &["-A"]), "");
    // Made again by whoever opens the index.
    let opened = Path::new(path.trim()).join(".tantivy-meta.lock");
    std::fs::remove_file(&opened).expect("a squatter opened the index");
    let server = site.start(&ours);
    let mut alice = server.imap("alice");
    assert_eq!(answers(&mut alice), expected);
    assert!(opened.exists(), "imapd opened the index");
    // What came and went since is found, and not found, at once.
    fill(&server, 120..123);
    alice.ok("STORE 51 +FLAGS (\\Deleted)");
    alice.ok("EXPUNGE");
    let after = answers(&mut alice);
    alice.ok("LOGOUT");
    server.stop();
    site.unset("search_engine");
    let server = site.start(&real);
    assert_eq!(answers(&mut server.imap("alice")), after);
    assert_ne!(after, expected);
    server.stop();
    site.configure(INDEXED);
    let said = site.tool_ok(&ours, "squatter", &["-v", "-i"]);
    assert!(said.contains("user/alice... 3 added, 1 removed\n"), "{said}");
    let said = site.tool_ok(&ours, "squatter", &["-v", "-i", "-s", "0"]);
    assert!(said.contains("unchanged, skipped"), "{said}");
    let server = site.start(&ours);
    assert_eq!(answers(&mut server.imap("alice")), after);
    let mut admin = server.imap("admin");
    admin.ok("SETACL user/alice admin x");
    admin.ok("DELETE user/alice");
    server.stop();
    site.tool_ok(&ours, "cyr_expire", &["-D", "0s"]);
    site.tool_ok(&ours, "squatter", &["-i"]);
    assert!(!Path::new(path.trim()).exists(), "{path}");
}

/// A rolling squatter; killed with the value.
struct Rolling(Child);

impl Rolling {
    fn start(site: &Site, programs: &Programs) -> Self {
        let reachable = programs.reachable(&site.root().join("programs"));
        let child = as_service_user(reachable.path("squatter"))
            .arg("-C")
            .arg(site.conf())
            .args(["-R", "-d"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("squatter can be started"))
    }
}

impl Drop for Rolling {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_rolling_squatter_follows_what_either_side_delivers() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let (site, server) = site(&real);
    site.configure(INDEXED);
    let rolling = Rolling::start(&site, &ours);
    let extent = || {
        let output = site.tool(&ours, "squatter", &["-A", "user/alice"]);
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let is_whole = || extent() == (true, String::new());
    server
        .lmtp()
        .deliver(&["alice"], message(1).as_bytes())
        .expect("LMTP");
    until("real lmtpd's delivery", Duration::from_secs(30), is_whole);
    fill(&server, 2..4);
    until("real imapd's APPEND", Duration::from_secs(30), is_whole);
    server.stop();
    drop(rolling);
    // And as a daemon of master.
    let start = Start {
        squatter: true,
        ..Start::default()
    };
    let server = Server::start(&site, &ours, start);
    server
        .lmtp()
        .deliver(&["alice"], message(4).as_bytes())
        .expect("LMTP");
    fill(&server, 5..7);
    until(
        "our lmtpd's delivery and our imapd's APPEND",
        Duration::from_secs(30),
        is_whole,
    );
    server.stop();
    // Real Cyrus's squatter follows our daemons.
    let server = site.start(&ours);
    server
        .lmtp()
        .deliver(&["alice"], message(7).as_bytes())
        .expect("LMTP");
    let log = site.root().join("conf/sync/squatter/log");
    let path = site.tool_ok(&real, "mbpath", &["user/alice"]);
    let squat = Path::new(path.trim()).join("cyrus.squat");
    assert!(!squat.exists());
    site.tool_ok(&real, "squatter", &["-f", &log.to_string_lossy()]);
    assert!(squat.exists());
    server.stop();
}

/// The mailboxes that a `squatter -v` told of, and how it ended.
fn told(site: &Site, programs: &Programs, switches: &[&str]) -> (Option<i32>, Vec<String>) {
    let output = site.tool(programs, "squatter", &[&["-v"], switches].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text.split("Indexing mailbox ").skip(1);
    let names = names
        .filter_map(|rest| rest.split_once("..."))
        .map(|(name, _)| name.to_owned());
    (output.status.code(), names.collect())
}

#[test]
fn the_switches_of_squatter_mean_the_mailboxes_that_real_squatter_means() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let (site, server) = site(&real);
    let mut admin = server.imap("admin");
    for name in [
        "user/alice/Box",
        "user/alice/Box/deep",
        "user/alice/Off",
        "user/alicia",
        "user/bob",
        "shared",
    ] {
        admin.ok(&format!("CREATE {name}"));
    }
    for (name, value) in [
        ("user/alice/Box", "true"),
        ("user/bob", "TRUE"),
        ("user/alice/Off", "false"),
    ] {
        admin.ok(&format!(
            "SETMETADATA {name} (/shared/vendor/cmu/cyrus-imapd/squat \"{value}\")"
        ));
    }
    admin.ok("SETACL shared admin lrswipkxtecda");
    admin.ok("DELETE shared");
    admin.ok("CREATE shared");
    admin.ok("LOGOUT");
    server.stop();
    site.configure(INDEXED);
    for switches in [
        &[][..],
        &["user/alice"],
        &["user/bob", "user/alice", "user/nobody"],
        &["-r", "user/alice"],
        &["--recursive", "--incremental", "user/alice/Box", "user/bob"],
        &["-r", "user/ali"],
        &["-u", "alice"],
        &["-i", "-u", "bob", "alicia", "nobody"],
        &["-N", "user.alice.Box"],
        &["--name=user.b", "-i"],
        &["-N", "zzz"],
        &["-a"],
        &["-a", "-r", "user/alice"],
        &["-S", "0.01", "-p", "-Z", "-P", "user/alice"],
        &["-h"],
        &["--no-such-switch"],
    ] {
        let expected = told(&site, &real, switches);
        assert_eq!(told(&site, &ours, switches), expected, "{switches:?}");
    }
    let refused = site.tool(&ours, "squatter", &["-t", "other", "-z", "other"]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && why.contains("there is no tier 'other'"),
        "{why}"
    );
    site.configure("search_index_skip_users: bob alicia\n");
    assert_eq!(told(&site, &ours, &["-N", "user.alicia"]).1, ["shared"; 0]);
}
