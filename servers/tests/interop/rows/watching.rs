//! S205 to S210: transcripts and the list of sessions; and the metrics.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::rig::programs::Programs;
use crate::rig::server::Server;
use crate::rig::site::Site;

/// A site of each implementation with a user and his INBOX.
fn each(row: impl Fn(&Site, &Server, &Programs)) {
    for programs in [Programs::ours(), Programs::real()].into_iter().flatten() {
        println!("with {}", programs.name);
        let site = Site::new(&[], &["bovik"]);
        let server = site.start(&programs);
        server.imap("admin").ok("CREATE user/bovik");
        row(&site, &server, &programs);
        server.stop();
    }
}

/// The content of each file of a folder of the site, by name, once it is as wanted.
fn files(
    site: &Site,
    folder: &str,
    wanted: impl Fn(&BTreeMap<String, String>) -> bool,
) -> BTreeMap<String, String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(site.root().join(folder))
            .into_iter()
            .flatten()
            .flatten()
        {
            if let Ok(text) = std::fs::read(entry.path()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                found.insert(name, String::from_utf8_lossy(&text).into_owned());
            }
        }
        if wanted(&found) || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn transcripts(site: &Site) -> PathBuf {
    let folder = site.root().join("conf/log/bovik");
    std::fs::create_dir_all(&folder).expect("a folder for transcripts");
    site.own(&folder);
    folder
}

#[test]
fn s205_a_folder_of_a_users_name_gets_transcripts_of_his_sessions() {
    each(|site, server, programs| {
        transcripts(site);
        let mut bovik = server.imap("bovik");
        bovik.ok("STATUS INBOX (MESSAGES)");
        bovik.ok("LOGOUT");
        let found = files(site, "conf/log/bovik", |found| {
            found.values().any(|text| text.contains("STATUS INBOX"))
        });
        assert_eq!(found.len(), 1, "{}: {found:?}", programs.name);
        let text = found.values().next().expect("one file");
        let first = text.lines().find(|line| !line.is_empty()).unwrap_or_default();
        assert!(
            first.starts_with("---------- bovik "),
            "{}: {first}",
            programs.name
        );
        assert!(!text.contains("LOGIN bovik pass"), "no password: {text}");
        assert!(text.contains("* STATUS INBOX (MESSAGES 0)"), "{text}");
    });
}

#[test]
fn s206_without_that_folder_nothing_is_written() {
    each(|site, server, _| {
        server.imap("bovik").ok("NOOP");
        server.imap("bovik").ok("LOGOUT");
        assert_eq!(files(site, "conf/log", |_| true).len(), 0);
    });
}

#[test]
fn s207_each_session_has_a_file_that_says_who_is_where() {
    each(|site, server, programs| {
        let mut bovik = server.imap("bovik");
        bovik.ok("SELECT INBOX");
        let is_selected =
            |found: &BTreeMap<String, String>| found.values().any(|text| text.contains("bovik\tuser.bovik"));
        let found = files(site, "conf/proc", is_selected);
        let line = found
            .values()
            .find(|text| text.contains("bovik"))
            .expect("a file of the session");
        let fields: Vec<&str> = line.trim_end().split('\t').collect();
        let [service, host, user, mailbox, ..] = fields.as_slice() else {
            panic!("{}: {line:?}", programs.name)
        };
        assert_eq!(*service, format!("{}imap", programs.name));
        assert!(host.contains("127.0.0.1"), "{host}");
        assert_eq!((*user, *mailbox), ("bovik", "user.bovik"));
        // It goes with the session.
        bovik.ok("LOGOUT");
        let found = files(site, "conf/proc", |found| !is_selected(found));
        assert!(!is_selected(&found), "{found:?}");
    });
}

#[test]
fn s208_what_follows_the_first_line_is_ignored() {
    each(|site, server, programs| {
        let _bovik = server.imap("bovik");
        let found = files(site, "conf/proc", |found| {
            found.values().any(|text| text.contains("bovik"))
        });
        let name = found
            .iter()
            .find(|(_, text)| text.contains("bovik"))
            .map(|(name, _)| name)
            .expect("a file of the session");
        let path = site.root().join("conf/proc").join(name);
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(path)
            .expect("the file");
        file.write_all(b"and more\tthat\tnobody\tasked\tfor\n")
            .expect("writing");
        let told = site.tool_ok(programs, "cyr_info", &["proc"]);
        let lines: Vec<&str> = told.lines().filter(|line| line.contains("bovik")).collect();
        assert_eq!(lines.len(), 1, "{told}");
        assert!(!told.contains("nobody"), "{told}");
    });
}

#[test]
fn s209_what_a_reboot_left_is_removed_at_the_start() {
    // Real Cyrus's master leaves it, as long as no child of its own has that number.
    if let Some(programs) = Programs::ours() {
        let site = Site::new(&[], &["bovik"]);
        // No process has this number.
        let stale = site.root().join("conf/proc/4194303");
        std::fs::write(&stale, "imap\thost [10.0.0.1]\tbovik\tuser.bovik\tIdle\n").expect("a stale file");
        site.own(&stale);
        let server = site.start(&programs);
        let found = files(&site, "conf/proc", |found| !found.contains_key("4194303"));
        assert!(!found.contains_key("4194303"), "{}: {found:?}", programs.name);
        server.stop();
    }
}

#[test]
fn s210_each_connection_has_a_file_of_its_own() {
    each(|site, server, programs| {
        let sessions: Vec<_> = (0..3).map(|_| server.imap("bovik")).collect();
        let count = |found: &BTreeMap<String, String>| {
            found.values().filter(|text| text.contains("\tbovik\t")).count()
        };
        let found = files(site, "conf/proc", |found| count(found) == 3);
        assert_eq!(count(&found), 3, "{}: {found:?}", programs.name);
        let told = site.tool_ok(programs, "cyr_info", &["proc"]);
        assert_eq!(
            told.lines().filter(|line| line.contains("bovik")).count(),
            3,
            "{told}"
        );
        drop(sessions);
    });
}

/// The values of a scrape, by name and labels.
fn scrape(port: u16) -> BTreeMap<String, f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the metrics listen");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let mut values = BTreeMap::new();
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        let before = values.insert(name.to_owned(), value.parse().expect("a number"));
        assert!(before.is_none(), "twice: {name}");
    }
    values
}

#[test]
fn metrics_count_what_sessions_and_deliveries_do_from_the_start() {
    let Some(ours) = Programs::ours() else { return };
    let site = Site::new(&[], &["bovik"]);
    let free = |_| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("its address").port()
    };
    let [imap, lmtp] = [0, 1].map(free);
    site.configure(&format!(
        "oursimap_metrics_listen: 127.0.0.1:{imap}\nourslmtp_metrics_listen: 127.0.0.1:{lmtp}\n"
    ));
    let server = site.start(&ours);
    server.imap("admin").ok("CREATE user/bovik");
    let before = scrape(imap);
    let of = |values: &BTreeMap<String, f64>, name: &str| {
        *values.get(name).unwrap_or_else(|| panic!("{name} is not there"))
    };
    // All are there before anything has happened.
    assert_eq!(of(&before, "cyrus_imap_commands_total{command=\"fetch\"}"), 0.0);
    assert_eq!(
        of(&before, "cyrus_imap_command_seconds_count{command=\"search\"}"),
        0.0
    );
    assert_eq!(of(&before, "cyrus_expunged_messages_total"), 0.0);
    let mut bovik = server.imap("bovik");
    let said = server
        .lmtp()
        .deliver(&["bovik"], b"Subject: x\r\n\r\nHello.\r\n")
        .expect("a delivery");
    assert!(said[0].starts_with("250"), "{said:?}");
    bovik.ok("SELECT INBOX");
    for _ in 0..5 {
        bovik.ok("FETCH 1 (ENVELOPE BODY[])");
    }
    bovik.ok("STORE 1 +FLAGS (\\Deleted)");
    bovik.ok("EXPUNGE");
    let after = scrape(imap);
    let grown = |name: &str| of(&after, name) - of(&before, name);
    assert_eq!(grown("cyrus_imap_commands_total{command=\"fetch\"}"), 5.0);
    assert_eq!(grown("cyrus_imap_command_seconds_count{command=\"fetch\"}"), 5.0);
    assert_eq!(
        grown("cyrus_imap_command_seconds_bucket{command=\"fetch\",le=\"+Inf\"}"),
        5.0
    );
    assert!(grown("cyrus_imap_command_seconds_sum{command=\"fetch\"}") > 0.0);
    assert_eq!(grown("cyrus_expunged_messages_total"), 1.0);
    assert_eq!(grown("cyrus_logins_total{service=\"oursimap\"}"), 1.0);
    assert_eq!(of(&after, "cyrus_sessions{service=\"oursimap\"}"), 1.0);
    for name in [
        "cyrus_received_octets_total{service=\"oursimap\"}",
        "cyrus_sent_octets_total{service=\"oursimap\"}",
        "cyrus_cache_hits_total",
        "cyrus_lock_wait_seconds_count",
        "cyrus_sync_seconds_count",
        "cyrus_job_seconds_count{service=\"oursimap\"}",
    ] {
        assert!(grown(name) > 0.0, "{name}");
    }
    let delivery = scrape(lmtp);
    assert_eq!(of(&delivery, "cyrus_delivered_messages_total"), 1.0);
    assert_eq!(
        of(&delivery, "cyrus_connections_total{service=\"ourslmtp\"}"),
        1.0
    );
    server.stop();
}
