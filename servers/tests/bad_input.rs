//! Hostile clients and damaged files against a running server: quick answers, bounded memory, nobody else disturbed.
#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// `cyrusd --demo` in a directory and on ports of its own.
struct Server {
    dir: tempfile::TempDir,
    child: Child,
    base: u16,
}

const IMAP: u16 = 0;
const IMAPS: u16 = 1;
const LMTP: u16 = 2;

impl Server {
    fn start() -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_cyrusd")))
    }

    /// Starts it by a command that takes its arguments.
    fn start_by(mut command: Command) -> Self {
        let dir = tempfile::Builder::new().prefix("bad").tempdir_in("/tmp").unwrap();
        let base = free_ports();
        let root = dir.path().display();
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid())
            .unwrap()
            .unwrap()
            .name;
        let imapd_conf = format!(
            "cyrus_user: {user}\nconfigdirectory: {root}/conf\npartition-default: {root}/spool\n\
             lmtpsocket: {root}/conf/socket/lmtp\nservername: localhost\nadmins: cyrus\nallowplaintext: yes\n\
             sasl_pwcheck_method: auxprop\nsasl_auxprop_plugin: sasldb\nsasl_sasldb_path: {root}/sasldb2\n\
             sasl_mech_list: PLAIN LOGIN\ntls_server_cert: {root}/cert.pem\ntls_server_key: {root}/key.pem\n"
        );
        let [imap, imaps, lmtp] = [IMAP, IMAPS, LMTP].map(|at| format!("127.0.0.1:{}", base + at));
        let cyrus_conf = format!(
            "SERVICES {{\n imap cmd=\"imapd\" listen=\"{imap}\"\n imaps cmd=\"imapd -s\" listen=\"{imaps}\"\n \
             lmtp cmd=\"lmtpd -a\" listen=\"{lmtp}\"\n}}\n"
        );
        fs::write(dir.path().join("imapd.conf"), imapd_conf).unwrap();
        fs::write(dir.path().join("cyrus.conf"), cyrus_conf).unwrap();
        let child = command
            .arg("--demo")
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self { dir, child, base };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", base)).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "cyrusd ended: {}", server.log());
            assert!(Instant::now() < deadline, "cyrusd is not up: {}", server.log());
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn connect(&self, at: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.base + at)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        Client {
            lines: BufReader::new(stream),
        }
    }

    /// A session before login.
    fn imap(&self) -> Client {
        let mut client = self.connect(IMAP);
        assert!(client.line().starts_with("* OK "));
        client
    }

    /// A session after LOGIN and SELECT.
    fn selected(&self) -> Client {
        let mut client = self.imap();
        client.ok("login demo demo");
        client.ok("select INBOX");
        client
    }

    fn lmtp(&self) -> Client {
        let mut client = self.connect(LMTP);
        client.reply();
        client.send(b"LHLO x\r\n");
        assert!(client.reply().starts_with("250 "));
        client
    }

    fn deliver(&self) -> String {
        let mut client = self.lmtp();
        client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<demo>\r\n");
        assert!(client.reply().starts_with("250 "));
        let reply = client.reply();
        if !reply.starts_with("250 ") {
            return reply;
        }
        client.send(b"DATA\r\n");
        assert!(client.reply().starts_with("354 "));
        client.send(b"Subject: x\r\n\r\nhello\r\n.\r\n");
        client.reply()
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("log")).unwrap()).into_owned()
    }

    fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Nobody paniced, and no line asks the administrator to act.
    fn assert_calm(&self) {
        let log = self.log();
        for bad in ["panicked", ": error: ", ": critical: "] {
            assert!(!log.contains(bad), "{bad} in {log}");
        }
    }

    /// The directory of the demonstration user's INBOX.
    fn inbox(&self) -> PathBuf {
        let mut left = vec![self.dir.path().join("spool")];
        while let Some(dir) = left.pop() {
            if dir.join("cyrus.index").exists() {
                return dir;
            }
            let entries = fs::read_dir(dir).unwrap().flatten();
            left.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
        }
        panic!("no mailbox in the spool");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_ports() -> u16 {
    let start = (std::process::id() % 90) as u16 * 10;
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    for _ in 0..100 {
        let block = NEXT.fetch_add(10, std::sync::atomic::Ordering::Relaxed);
        let base = 30_000 + (start + block) % 1000;
        if (base..base + 3).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
    panic!("no ports are free between 30000 and 30999");
}

struct Client {
    lines: BufReader<TcpStream>,
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.lines.get_mut().write_all(bytes).unwrap();
    }

    /// A line, empty at the end of the connection.
    fn line(&mut self) -> String {
        self.next().unwrap_or_default()
    }

    fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.lines.read_until(b'\n', &mut line) {
            Ok(_) => {}
            // The server closed while we were still sending.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("no answer: {error}"),
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        (!line.is_empty()).then_some(text)
    }

    /// What comes up to the tagged reply (or a continuation request), the last line being that.
    fn answer(&mut self, tag: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.next() {
            let last = line.starts_with(&format!("{tag} ")) || line.starts_with("+ ");
            lines.push(line);
            if last {
                break;
            }
        }
        lines
    }

    fn command(&mut self, command: &str) -> Vec<String> {
        self.send(format!("t {command}\r\n").as_bytes());
        self.answer("t")
    }

    fn ok(&mut self, command: &str) -> Vec<String> {
        let lines = self.command(command);
        assert!(lines.last().unwrap().starts_with("t OK"), "{command}: {lines:?}");
        lines
    }

    /// The last line of an LMTP reply.
    fn reply(&mut self) -> String {
        loop {
            let line = self.line();
            if line.is_empty() || line.as_bytes().get(3) == Some(&b' ') {
                return line;
            }
        }
    }
}

#[test]
fn malformed_imap_commands_are_refused_one_by_one_with_the_reason() {
    let server = Server::start();
    let mut other = server.selected();
    let deep = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(10_000), close.repeat(10_000))
    };
    let before_login = [
        ("", "* BAD "),
        ("t", "* BAD "),
        ("+ NOOP", "* BAD "),
        ("t FOO", "t BAD "),
        ("t LOGIN", "t BAD Missing required argument"),
        ("t LOGIN {99999999999999999999}", "t BAD Literal size"),
        ("t LOGIN {4294967295}", "t NO [TOOBIG] "),
        ("t LOGIN {4294967295+}", "* BYE [TOOBIG] "),
        ("t SELECT INBOX", "t BAD Please login first"),
        ("t NOOP x", "t BAD Unexpected extra arguments"),
    ];
    for (command, expected) in before_login {
        let mut client = server.imap();
        client.send(format!("{command}\r\n").as_bytes());
        let answer = client.line();
        assert!(answer.starts_with(expected), "{command}: {answer}");
    }
    let selected: Vec<(String, &str)> = vec![
        (
            format!("SEARCH {}", deep("(", "ALL", ")")),
            "t BAD Search program nested too deep",
        ),
        (
            format!("SEARCH {}", deep("NOT ", "ALL", "")),
            "t BAD Search program nested too deep",
        ),
        (
            format!("SEARCH {}ALL", "BODY aaa ".repeat(7000)),
            "t BAD Search program too long",
        ),
        (format!("FETCH 1 {}", deep("(", "FLAGS", ")")), "t BAD "),
        (
            format!("FETCH 1 ({}UID)", "BODY[] ".repeat(8000)),
            "t BAD Too many body sections",
        ),
        (
            format!("FETCH 1 BODY[{}1]", "1.".repeat(20_000)),
            "t BAD Body section too deep",
        ),
        (
            format!("STORE 1 FLAGS ({}a)", "k ".repeat(20_000)),
            "t BAD Too many flags",
        ),
        (
            format!("LIST \"\" {}", "%*a".repeat(20_000)),
            "t NO Invalid mailbox name",
        ),
        (
            format!("SELECT {}", "a".repeat(65_600)),
            "t BAD [TOOBIG] line too long",
        ),
        (
            format!("SEARCH{}", " SUBJECT {1+}\r\na".repeat(3000)),
            "t BAD [TOOBIG] too many literals",
        ),
        ("FETCH 1,,2 FLAGS".to_owned(), "t BAD Invalid sequence in Fetch"),
        (
            "UID FETCH 1:4294967296 FLAGS".to_owned(),
            "t BAD Invalid sequence in Uid",
        ),
        (
            "FETCH 1 (FLAGS".to_owned(),
            "t BAD Missing close parenthesis in Fetch",
        ),
        ("STORE 1 FLAGS (\\Foo)".to_owned(), "t BAD Invalid system flag"),
        ("CREATE &AGEAYg-".to_owned(), "t NO Invalid mailbox name"),
        ("CREATE \u{e9}".to_owned(), "t NO Invalid mailbox name"),
        ("SELECT \"a\0b\"".to_owned(), "t BAD "),
        ("NO\rOP".to_owned(), "t BAD Unrecognized command"),
        ("APPEND INBOX {4294967296}".to_owned(), "t NO [TOOBIG] "),
        (
            "APPEND INBOX {5+}\r\na\0b\r\n".to_owned(),
            "t NO Message contains NUL characters",
        ),
    ];
    for (command, expected) in selected {
        let mut client = server.selected();
        let shown: String = command.chars().take(60).collect();
        let answer = client.command(&command);
        assert!(
            answer.last().unwrap().starts_with(expected),
            "{shown}: {answer:?}"
        );
        client.ok("noop");
        other.ok("noop");
    }
    // Sets that name more messages than there are cost no more than those that are there.
    let mut client = server.selected();
    client.ok("UID FETCH 1:4294967295 FLAGS");
    client.ok(&format!("UID SEARCH UID {}1", "1:4294967295,".repeat(4000)));
    server.assert_calm();
}

#[test]
fn fifty_bad_commands_in_a_row_end_a_session_of_a_stranger() {
    let server = Server::start();
    let mut client = server.imap();
    for round in 0..2 {
        for _ in 0..49 {
            assert!(client.command("foo").last().unwrap().starts_with("t BAD "));
        }
        if round == 0 {
            client.ok("noop");
        }
    }
    assert!(client.command("foo").last().unwrap().starts_with("t BAD "));
    assert!(client.line().starts_with("* BYE "));
    assert_eq!(client.line(), "");
    // Who has logged in may go on: his scripts end with their own mistakes.
    let mut client = server.selected();
    for _ in 0..60 {
        assert!(client.command("foo").last().unwrap().starts_with("t BAD "));
    }
    client.ok("noop");
    let mut client = server.lmtp();
    for _ in 0..10 {
        client.send(b"FOO\r\n");
        assert!(client.reply().starts_with("500 "));
    }
    client.send(b"FOO\r\n");
    assert!(client.reply().starts_with("421 "));
    assert_eq!(client.line(), "");
    server.assert_calm();
}

#[test]
fn floods_and_silence_cost_no_memory_and_disturb_nobody() {
    let server = Server::start();
    let mut other = server.selected();
    let before = server.resident_kib();
    let mut alive = |what: &str| {
        other.ok("noop");
        let grown = server.resident_kib().saturating_sub(before);
        assert!(grown < 64 * 1024, "{what}: {grown} KiB more");
    };

    let mut client = server.imap();
    let mut sender = client.lines.get_ref().try_clone().unwrap();
    let flood = thread::spawn(move || sender.write_all(&b"t NOOP\r\n".repeat(100_000)).unwrap());
    for _ in 0..100_000 {
        assert!(client.line().starts_with("t OK"));
    }
    flood.join().unwrap();
    alive("100,000 NOOPs");

    let mut client = server.imap();
    client.send(&vec![b'x'; 20_000_000]);
    client.send(b"\r\nt NOOP\r\n");
    assert!(client.line().starts_with("* BAD [TOOBIG] line too long"));
    assert!(client.line().starts_with("t OK"));
    alive("a line of 20 MB");

    // Commands whose answers nobody reads: the server stops reading, the client cannot go on.
    let mut deaf = server.selected();
    let stream = deaf.lines.get_mut();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut sent = 0;
    while sent < 100_000_000 && stream.write_all(&b"t NOOP\r\n".repeat(1000)).is_ok() {
        sent += 8000;
    }
    assert!(sent < 100_000_000, "an endless number of unread answers");
    alive("unread answers");

    // Literals that are announced and never sent, a command without its end, a handshake of garbage.
    let mut silent: Vec<Client> = (0..50)
        .map(|number| {
            let mut client = server.selected();
            client.send(match number % 2 {
                0 => b"t APPEND INBOX {100000}\r\n",
                _ => b"t FETCH 1 (BODY[",
            });
            client
        })
        .collect();
    alive("silent clients");
    let mut half = silent.pop().unwrap();
    half.lines.get_mut().shutdown(Shutdown::Write).unwrap();
    assert_eq!(half.line(), "");
    for garbage in [
        &b"GET / HTTP/1.0\r\n\r\n"[..],
        &[0x16, 3, 1, 0xff, 0xff, 0, 0, 0],
        &[0; 4096],
    ] {
        let mut client = server.connect(IMAPS);
        let _ = client.lines.get_mut().write_all(garbage);
        let mut answer = Vec::new();
        let _ = client.lines.read_to_end(&mut answer);
        assert!(answer.len() < 64, "an alert at most: {answer:?}");
    }
    alive("garbage instead of TLS");
    assert!(
        server.log().contains("TLS negotiation failed: 127.0.0.1: "),
        "{}",
        server.log()
    );
    server.assert_calm();
}

#[test]
fn more_connections_than_descriptors_are_turned_away_and_nobody_is_disturbed() {
    let mut command = Command::new("prlimit");
    command.args(["--nofile=128:128", env!("CARGO_BIN_EXE_cyrusd")]);
    let server = Server::start_by(command);
    let mut other = server.selected();
    let mut flood: Vec<Client> = (0..300).map(|_| server.connect(IMAP)).collect();
    assert!(flood.first_mut().unwrap().line().starts_with("* OK"));
    assert!(
        flood
            .last_mut()
            .unwrap()
            .line()
            .starts_with("* BYE Too many connections")
    );
    // The files of the sessions that are there can still be opened.
    other.ok("append INBOX {12+}\r\nSubject: x\r\n");
    other.ok("fetch 1 BODY[]");
    drop(flood);
    let mut next = server.connect(IMAP);
    while next.line().starts_with("* BYE") {
        next = server.connect(IMAP);
    }
    next.ok("noop");
    server.assert_calm();
}

#[test]
fn commands_sent_before_the_tls_handshake_are_not_executed_in_it() {
    let server = Server::start();
    let mut client = server.imap();
    client.send(b"t STARTTLS\r\nu LOGIN demo demo\r\n");
    assert!(client.line().starts_with("t OK"));
    let mut tls = native_tls::TlsConnector::builder()
        .danger_accept_invalid_certs(true)
        .build()
        .unwrap()
        .connect("localhost", client.lines.into_inner())
        .unwrap();
    tls.write_all(b"v SELECT INBOX\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(&mut tls).read_line(&mut line).unwrap();
    assert!(line.starts_with("v BAD Please login first"), "{line}");
    server.assert_calm();
}

#[test]
fn malformed_lmtp_is_refused_line_by_line() {
    let server = Server::start();
    let long = "a".repeat(100_000);
    let dialogue = [
        ("MAIL", "500 "),
        ("MAIL FROM:<a", "501 "),
        ("MAIL FROM:<a@b> FOO=1", "501 "),
        ("MAIL FROM:<a@b> SIZE=99999999999999999999999", "552 "),
        ("RCPT TO:<demo>", "503 "),
        ("MAIL FROM:<a\0@b>", "501 "),
        ("NOOP", "250 "),
        ("MAIL FROM:<a@b>", "250 "),
        ("RCPT TO:<../../x>", "550 "),
        (&format!("RCPT TO:<{long}>"), "500 "),
        ("DATA", "503 "),
    ];
    let mut client = server.lmtp();
    for (line, expected) in dialogue {
        client.send(format!("{line}\r\n").as_bytes());
        let reply = client.reply();
        assert!(reply.starts_with(expected), "{line:.60}: {reply}");
    }
    let before = server.resident_kib();
    let nested: String = (0..10_000)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=\"b{n}\"\r\n\r\n--b{n}\r\n"))
        .collect();
    let messages: [(Vec<u8>, &str); 4] = [
        (b"x".repeat(20_000_000), "554 "),
        (b"Subject: a\0b\r\n\r\n".to_vec(), "554 "),
        (nested.into_bytes(), "250 "),
        (b"A: b\r\n".repeat(100_000), "250 "),
    ];
    for (message, expected) in messages {
        let mut client = server.lmtp();
        client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<demo>\r\nDATA\r\n");
        while !client.reply().starts_with("354 ") {}
        client.send(&message);
        client.send(b"\r\n.\r\n");
        let reply = client.reply();
        assert!(reply.starts_with(expected), "{} octets: {reply}", message.len());
    }
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
    server.assert_calm();
}

#[test]
fn client_that_does_not_read_holds_no_lock_and_no_memory() {
    let server = Server::start();
    let mut writer = server.selected();
    let message = format!("Subject: big\r\n\r\n{}", ("y".repeat(78) + "\r\n").repeat(25_000));
    for _ in 0..10 {
        writer.ok(&format!("append INBOX {{{}+}}\r\n{message}", message.len()));
    }
    let before = server.resident_kib();
    let mut slow: Vec<Client> = (0..10).map(|_| server.selected()).collect();
    for client in &mut slow {
        client.send(b"t FETCH 1:* BODY[]\r\n");
    }
    let mut other = server.selected();
    other.ok("append INBOX {12+}\r\nSubject: x\r\n");
    other.ok("store 1:2 +flags (\\Deleted)");
    other.ok("expunge");
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more for 200 MB of unread answers");
    server.assert_calm();
}

#[test]
fn damaged_messages_are_left_out_and_the_rest_is_read() {
    let server = Server::start();
    for _ in 0..4 {
        assert!(server.deliver().starts_with("250 "));
    }
    let inbox = server.inbox();
    fs::write(inbox.join("2."), "foreign").unwrap();
    fs::remove_file(inbox.join("3.")).unwrap();
    let mut client = server.selected();
    for command in ["fetch 1:* BODY.PEEK[]", "uid fetch 1:* BODY.PEEK[]"] {
        let lines = client.command(command);
        assert_eq!(
            lines.iter().filter(|line| line.contains("BODY[]")).count(),
            2,
            "{lines:?}"
        );
        let reply = lines.last().unwrap();
        assert!(
            reply.starts_with("t NO [UNAVAILABLE] 2 messages are damaged"),
            "{reply}"
        );
        assert!(!reply.contains("spool"), "no path for clients: {reply}");
    }
    let lines = client.command("search body hello");
    assert_eq!(lines[0], "* SEARCH 1 4");
    assert!(lines[1].starts_with("t NO [UNAVAILABLE] "), "{lines:?}");
    client.ok("store 1:* +flags (\\Seen)");
    assert!(server.deliver().starts_with("250 "));
    let log = server.log();
    for (file, what) in [
        ("2.", "the file ends too early at byte 7"),
        ("3.", "the file is missing"),
    ] {
        let expected = format!(
            "{}: {what}; run `reconstruct` on the mailbox",
            inbox.join(file).display()
        );
        assert!(log.contains(&expected), "{expected} in {log}");
    }
    assert!(!log.contains("panicked"));
}

#[test]
fn mail_waits_while_the_spool_is_not_there() {
    let server = Server::start();
    assert!(server.deliver().starts_with("250 "));
    let mut client = server.selected();
    client.ok("create INBOX/other");
    client.ok("unselect");
    let inbox = server.inbox_with_messages();
    let away = inbox.with_extension("away");
    fs::rename(&inbox, &away).unwrap();
    let reply = server.deliver();
    assert!(reply.starts_with('4'), "not for good: {reply}");
    let reply = client.command("select INBOX");
    assert!(
        reply.last().unwrap().starts_with("t NO [UNAVAILABLE] "),
        "{reply:?}"
    );
    client.ok("select INBOX/other");
    let expected = format!(
        "{}: the file is missing; run",
        inbox.join("cyrus.index").display()
    );
    assert!(server.log().contains(&expected), "{}", server.log());
    fs::rename(&away, &inbox).unwrap();
    assert!(server.deliver().starts_with("250 "));
    assert_eq!(
        client.ok("status INBOX (messages)")[0],
        "* STATUS INBOX (MESSAGES 2)"
    );
}

#[test]
fn damaged_quota_root_stops_deliveries_and_not_reading() {
    let server = Server::start();
    assert!(server.deliver().starts_with("250 "));
    let mut admin = server.imap();
    admin.ok("login cyrus demo");
    admin.ok("setquota user/demo (STORAGE 1000)");
    let quota = find(server.dir.path(), "user.demo");
    fs::write(&quota, "garbage\n").unwrap();
    server.selected().ok("fetch 1 BODY[]");
    let reply = server.deliver();
    assert!(reply.starts_with('4'), "{reply}");
    let log = server.log();
    assert!(
        log.contains(&quota.display().to_string()) && log.contains("run `reconstruct --everything`"),
        "{log}"
    );
}

#[test]
fn places_that_are_not_there_are_told_of_before_anybody_is_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().display();
    let path = |name: &str| dir.path().join(name);
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())
        .unwrap()
        .unwrap()
        .name;
    let common = format!("cyrus_user: {user}\nservername: localhost\nsasl_pwcheck_method: auxprop\n");
    let port = free_ports();
    let services = format!("SERVICES {{\n imap cmd=\"imapd\" listen=\"127.0.0.1:{port}\"\n}}\n");
    fs::write(path("cyrus.conf"), services).unwrap();
    fs::write(path("file"), "").unwrap();

    for missing in ["gone/conf", "file"] {
        let text = format!("{common}configdirectory: {root}/{missing}\npartition-default: {root}\n");
        fs::write(path("imapd.conf"), text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_cyrusd"))
            .arg("-C")
            .arg(path("imapd.conf"))
            .arg("-M")
            .arg(path("cyrus.conf"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78));
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = format!("imapd.conf: configdirectory: {root}/{missing}: ");
        assert!(said.contains(&expected) && said.contains("mkimap"), "{said}");
    }
    assert!(!path("gone").exists());

    let text = format!(
        "{common}configdirectory: {root}/conf\npartition-default: {root}/gone/spool\npartition-two: {root}/file\n\
         sasl_auxprop_plugin: sasldb\nsasl_sasldb_path: {root}/gone/sasldb2\n"
    );
    fs::create_dir(path("conf")).unwrap();
    fs::write(path("imapd.conf"), text).unwrap();
    let config = cyrus_servers::config::Config::load(path("imapd.conf").to_str().unwrap(), "imap").unwrap();
    let complaints = cyrus_servers::places::complaints(&config);
    let [default, two, sasldb] = &complaints[..] else {
        panic!("{complaints:?}")
    };
    assert!(default.starts_with(&format!("partition-default: {root}/gone/spool: No such file")));
    assert!(two.starts_with(&format!("partition-two: {root}/file: it is not a directory")));
    assert!(sasldb.starts_with(&format!("sasl_sasldb_path: {root}/gone/sasldb2: No such file")));
    assert!(sasldb.contains("saslpasswd2"));
}

#[test]
fn a_server_that_lost_its_mailbox_list_does_not_start_as_a_new_one() {
    let mut server = Server::start();
    assert!(server.deliver().starts_with("250 "));
    let list = find(server.dir.path(), "mailboxes.db");
    let _ = server.child.kill();
    let _ = server.child.wait();
    let away = list.with_extension("away");
    fs::rename(&list, &away).unwrap();
    let inbox = server.inbox_with_messages().display().to_string();
    let conf = server.dir.path().join("imapd.conf");
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.arg("-C").arg(&conf).args(arguments);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let services = server.dir.path().join("cyrus.conf");
    for (program, arguments) in [
        (env!("CARGO_BIN_EXE_ctl_cyrusdb"), &["-r"][..]),
        (env!("CARGO_BIN_EXE_cyrusd"), &["-M", services.to_str().unwrap()]),
    ] {
        let (code, said) = run(program, arguments);
        assert_ne!(code, Some(0));
        assert!(
            said.contains(&list.display().to_string()) && said.contains(&inbox),
            "{said}"
        );
        assert!(
            said.contains("ctl_mboxlist -u") && said.contains("reconstruct"),
            "{said}"
        );
        assert!(!list.exists());
    }
    fs::rename(&away, &list).unwrap();
    let (code, said) = run(env!("CARGO_BIN_EXE_ctl_cyrusdb"), &["-r"]);
    assert_eq!(code, Some(0), "{said}");
}

impl Server {
    /// The directory that holds a message file.
    fn inbox_with_messages(&self) -> PathBuf {
        find(&self.dir.path().join("spool"), "1.")
            .parent()
            .unwrap()
            .to_owned()
    }
}

fn find(root: &Path, name: &str) -> PathBuf {
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            if entry.path().is_dir() {
                left.push(entry.path());
            } else if entry.file_name() == name {
                return entry.path();
            }
        }
    }
    panic!("no {name} below {}", root.display());
}
