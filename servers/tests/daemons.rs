//! imapd and lmtpd under a master, ours and Cyrus's: many connections, reloads, deaths, stops, logins.
#![allow(clippy::unwrap_used)]

mod rig;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rig::{REAL, Rig, eventually, real_cyrus};

/// A connection that reads lines and waits no longer than half a minute.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: (&str, u16)) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self(BufReader::new(stream))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// An IMAP command, and all lines up to its tagged reply.
    fn imap(&mut self, command: &str) -> String {
        self.send(&format!("t {command}\r\n"));
        let mut answer = String::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "{command}: closed after {answer}");
            answer.push_str(&line);
            if line.starts_with("t ") {
                return answer;
            }
        }
    }

    /// An LMTP command and its reply.
    fn lmtp(&mut self, command: &str) -> String {
        self.send(&format!("{command}\r\n"));
        let mut answer = String::new();
        loop {
            let line = self.line();
            answer.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return answer;
            }
        }
    }

    fn logged_in(address: (&str, u16), user: &str) -> Self {
        let mut client = Self::connect(address);
        assert!(client.line().starts_with("* OK"));
        let answer = client.imap(&format!("LOGIN {user} secret"));
        assert!(answer.contains("t OK"), "{answer}");
        client
    }
}

const SETTINGS: &str = "\
admins: admin
servername: localhost
allowplaintext: yes
failedloginpause: 0
sasl_mech_list: PLAIN LOGIN
";

/// Settings with passwords in a sasldb; `None` where there is no program to make one.
fn with_sasldb(rig: &Rig, users: &[&str]) -> Option<()> {
    let path = rig.path("sasldb2");
    for user in users {
        let mut child = Command::new("saslpasswd2")
            .args(["-c", "-p", "-u", "localhost", "-f"])
            .arg(&path)
            .arg(user)
            .stdin(Stdio::piped())
            .spawn()
            .ok()?;
        child.stdin.take().unwrap().write_all(b"secret\n").unwrap();
        assert!(child.wait().unwrap().success());
    }
    rig.imapd_conf(&format!(
        "{SETTINGS}sasl_pwcheck_method: auxprop\nsasl_auxprop_plugin: sasldb\nsasl_sasldb_path: {}\n",
        path.display()
    ));
    rig.own_everything();
    Some(())
}

/// Starts `program` as master with our daemons as the services `more` says; the log goes to DIR/stderr.
fn start(rig: &mut Rig, program: &str, services: &str) {
    let services = services
        .replace("IMAPD", env!("CARGO_BIN_EXE_imapd"))
        .replace("LMTPD", env!("CARGO_BIN_EXE_lmtpd"))
        .replace("CONF", "-C DIR/imapd.conf");
    rig.cyrus_conf(&format!("SERVICES {{\n{services}\n}}\n"));
    rig.script(
        "verbose-master",
        &format!("CYRUS_VERBOSE=1 exec {program} \"$@\" -L DIR/log -d"),
    );
    let program = rig.path("verbose-master");
    let code = rig.start_program(program.to_str().unwrap(), &[]);
    assert_eq!(code, 0, "{}", rig.output());
}

/// Lines that an administrator would have to act on.
fn troubles(rig: &Rig) -> Vec<String> {
    let is_trouble = |line: &&str| {
        [" error: ", " critical: ", " alert: ", "panicked"]
            .iter()
            .any(|word| line.contains(word))
            // This is what the test did.
            && !line.contains("signaled to death by signal 9")
    };
    rig.log().lines().filter(is_trouble).map(str::to_owned).collect()
}

fn stop_and_leave_nothing(rig: &Rig) {
    rig.stop();
    eventually("every process has ended", || rig.processes().is_empty());
    assert_eq!(troubles(rig), Vec::<String>::new());
}

fn serve_under(master: &str) {
    let mut rig = Rig::new();
    if with_sasldb(&rig, &["admin", "bovik"]).is_none() {
        return println!("skipped: there is no saslpasswd2");
    }
    start(
        &mut rig,
        master,
        " imap cmd=\"IMAPD CONF -U 30 -T 60 -D -N\" listen=\"127.0.0.1:BASE0\" prefork=0 maxchild=100\n \
         spare cmd=\"IMAPD CONF\" listen=\"127.0.0.1:BASE1\" prefork=3 maxchild=5\n \
         lmtp cmd=\"LMTPD CONF -a\" listen=\"127.0.0.1:BASE2\" prefork=0",
    );
    let (imap, spare, lmtp) = (rig.address(0), rig.address(1), rig.address(2));
    let mut admin = Client::logged_in(imap, "admin");
    assert!(admin.imap("CREATE user/bovik").contains("t OK"));

    // Many at once, on a service without and one with processes in advance.
    let mut clients: Vec<Client> = (0..100)
        .map(|at| Client::connect(if at % 2 == 0 { imap } else { spare }))
        .collect();
    for client in &mut clients {
        assert!(client.line().starts_with("* OK"));
        client.send("t LOGIN bovik secret\r\n");
    }
    for client in &mut clients {
        assert!(client.line().starts_with("t OK"));
        assert!(client.imap("SELECT INBOX").contains("t OK"));
    }

    // One that is idle hears of what lmtpd, another process, delivers.
    let mut idle = clients.pop().unwrap();
    idle.send("t IDLE\r\n");
    assert!(idle.line().starts_with("+"));
    deliver(lmtp);
    assert_eq!(idle.line(), "* 1 EXISTS\r\n");

    // Master reads its settings again, and every connection goes on.
    rig::kill("HUP", rig.pid());
    thread::sleep(Duration::from_millis(500));
    for client in &mut clients {
        assert!(client.imap("NOOP").contains("t OK"));
    }
    for address in [imap, spare] {
        let mut late = Client::logged_in(address, "bovik");
        assert!(late.imap("STATUS INBOX (MESSAGES)").contains("MESSAGES 1"));
    }
    deliver(lmtp);

    // A process that dies takes its connections along, and is replaced.
    drop((clients, idle, admin));
    for pid in daemons(&rig, "imapd") {
        rig::kill("KILL", pid);
    }
    let mut next = Client::logged_in(imap, "bovik");
    assert!(next.imap("STATUS INBOX (MESSAGES)").contains("MESSAGES 2"));
    Client::logged_in(spare, "bovik");

    stop_and_leave_nothing(&rig);
    let mut rest = String::new();
    let _ = next.0.read_to_string(&mut rest);
    assert!(rest.starts_with("* BYE"), "{rest:?}");
    let sessions = fs::read_dir(rig.path("conf/proc")).unwrap().count();
    assert_eq!(sessions, 0, "files of sessions are left");
}

fn daemons(rig: &Rig, name: &str) -> Vec<u32> {
    let is = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            line.split(|byte| *byte == 0)
                .next()
                .is_some_and(|program| program.ends_with(name.as_bytes()))
        })
    };
    rig.processes().into_iter().filter(is).collect()
}

fn deliver(address: (&str, u16)) {
    let mut peer = Client::connect(address);
    assert!(peer.line().starts_with("220"));
    assert!(peer.lmtp("LHLO test").starts_with("250"));
    assert!(peer.lmtp("MAIL FROM:<a@example.com>").starts_with("250"));
    assert!(peer.lmtp("RCPT TO:<bovik>").starts_with("250"));
    assert!(peer.lmtp("DATA").starts_with("354"));
    assert!(peer.lmtp("Subject: hi\r\n\r\nhello\r\n.").starts_with("250"));
}

#[test]
fn our_daemons_serve_under_our_master() {
    serve_under(env!("CARGO_BIN_EXE_master"));
}

#[test]
fn our_daemons_serve_under_the_master_of_cyrus() {
    if let Some(real) = real_cyrus("our_daemons_serve_under_the_master_of_cyrus") {
        serve_under(&format!("{real}/master"));
    }
}

#[test]
fn who_is_logged_in_is_listed_by_both_cyr_infos() {
    let mut rig = Rig::new();
    if with_sasldb(&rig, &["admin", "bovik"]).is_none() {
        return println!("skipped: there is no saslpasswd2");
    }
    start(
        &mut rig,
        env!("CARGO_BIN_EXE_master"),
        " imap cmd=\"IMAPD CONF\" listen=\"127.0.0.1:BASE0\"",
    );
    let mut admin = Client::logged_in(rig.address(0), "admin");
    admin.imap("CREATE user/bovik");
    let mut bovik = Client::logged_in(rig.address(0), "bovik");
    bovik.imap("SELECT INBOX");
    let mut programs = vec![env!("CARGO_BIN_EXE_cyr_info").to_owned()];
    if real_cyrus("who_is_logged_in_is_listed_by_both_cyr_infos").is_some() {
        programs.push(format!("{REAL}/cyr_info"));
    }
    for program in programs {
        let list = || {
            let conf = rig.path("imapd.conf");
            let output = Command::new(&program).arg("-C").arg(conf).arg("proc").output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        eventually("both are listed", || {
            let list = list();
            let line = |user: &str| {
                list.lines()
                    .any(|line| line.contains("[127.0.0.1]") && line.contains(user))
            };
            line(" admin ") && line(" bovik user.bovik")
        });
    }
    stop_and_leave_nothing(&rig);
}

/// What a service with this strength of outer protection offers and answers.
fn with_strength(address: (&str, u16)) -> (Vec<String>, String) {
    let mut client = Client::connect(address);
    let greeting = client.line();
    let list = greeting.split(['[', ']']).nth(1).unwrap();
    let offers = |word: &&str| word.starts_with("AUTH=") || word.contains("LOGIN") || *word == "SASL-IR";
    let offered = list.split(' ').filter(offers).map(str::to_owned).collect();
    let answer = client.imap("LOGIN bovik secret");
    (offered, answer.chars().take(20).collect())
}

#[test]
fn protection_by_others_counts_as_in_cyrus() {
    let mut rig = Rig::new();
    if with_sasldb(&rig, &["bovik"]).is_none() {
        return println!("skipped: there is no saslpasswd2");
    }
    let strict = fs::read_to_string(rig.path("imapd.conf"))
        .unwrap()
        .replace("allowplaintext: yes", "allowplaintext: no");
    fs::write(rig.path("imapd.conf"), strict).unwrap();
    let mut services = String::new();
    let programs = ["IMAPD".to_owned(), format!("{REAL}/imapd")];
    let real = real_cyrus("protection_by_others_counts_as_in_cyrus").is_some();
    for (at, program) in programs.iter().enumerate().take(1 + usize::from(real)) {
        for (bits, place) in ["0", "1", "2", "128"].iter().zip(at * 4..) {
            services.push_str(&format!(
                " s{place} cmd=\"{program} CONF -p {bits}\" listen=\"127.0.0.1:BASE{place}\"\n"
            ));
        }
    }
    start(&mut rig, env!("CARGO_BIN_EXE_master"), &services);
    for place in 0..4 {
        let ours = with_strength(rig.address(place));
        let accepted = place >= 2;
        assert_eq!(ours.1.starts_with("t OK"), accepted, "{ours:?}");
        assert_eq!(ours.0.contains(&"AUTH=PLAIN".to_owned()), accepted, "{ours:?}");
        if real {
            assert_eq!(ours, with_strength(rig.address(place + 4)));
        }
    }
}

/// Answers like saslauthd: four counted strings come, one goes.
fn answer_as_saslauthd(mut peer: UnixStream) {
    let mut fields = Vec::new();
    for _ in 0..4 {
        let mut length = [0; 2];
        peer.read_exact(&mut length).unwrap();
        let mut field = vec![0; usize::from(u16::from_be_bytes(length))];
        peer.read_exact(&mut field).unwrap();
        fields.push(field);
    }
    let right = fields.get(1).is_some_and(|password| password == b"secret");
    let text: &[u8] = if right { b"\0\x02OK" } else { b"\0\x02NO" };
    peer.write_all(text).unwrap();
}

#[test]
fn a_saslauthd_that_is_away_is_a_passing_trouble_of_those_who_log_in() {
    let mut rig = Rig::new();
    rig.imapd_conf(&format!(
        "{SETTINGS}sasl_pwcheck_method: saslauthd\nsasl_saslauthd_path: {}\n",
        rig.path("sasl/mux").display()
    ));
    fs::create_dir(rig.path("sasl")).unwrap();
    rig.own_everything();
    start(
        &mut rig,
        env!("CARGO_BIN_EXE_master"),
        " imap cmd=\"IMAPD CONF\" listen=\"127.0.0.1:BASE0\"",
    );
    let mut client = Client::connect(rig.address(0));
    client.line();
    let answer = client.imap("LOGIN bovik secret");
    assert!(answer.starts_with("t NO [UNAVAILABLE] "), "{answer}");
    assert!(
        rig.log().contains("saslauthd does not answer at"),
        "the start told of it: {}",
        rig.log()
    );

    let listener = UnixListener::bind(rig.path("sasl/mux")).unwrap();
    let path = rig.path("sasl/mux");
    Command::new("chmod").arg("666").arg(&path).status().unwrap();
    let saslauthd = listener.try_clone().unwrap();
    let answering = thread::spawn(move || {
        for _ in 0..2 {
            answer_as_saslauthd(saslauthd.accept().unwrap().0);
        }
    });
    let wrong = client.imap("LOGIN bovik guess");
    assert!(
        wrong.starts_with("t NO Login failed: authentication failure"),
        "{wrong}{}",
        rig.log()
    );
    assert!(client.imap("LOGIN bovik secret").starts_with("t OK"));
    answering.join().unwrap();

    // It takes connections and says nothing: those who are in already do not wait for it.
    let mut waiting: Vec<Client> = (0..100).map(|_| Client::connect(rig.address(0))).collect();
    for client in &mut waiting {
        client.line();
        client.send("t LOGIN bovik secret\r\n");
    }
    let _stalled = listener.accept().unwrap();
    assert!(client.imap("NOOP").starts_with("t OK"));
    let mut third = Client::connect(rig.address(0));
    assert!(third.line().starts_with("* OK"));
    assert!(third.imap("CAPABILITY").contains("t OK"));
    // The INBOX that nobody made.
    assert!(client.imap("SELECT INBOX").starts_with("t NO"));
    assert!(
        rig.log()
            .contains("bovik has logged in and has no INBOX; `createmailbox user/bovik`")
    );
}

#[test]
fn users_are_told_what_the_administrator_says_and_as_many_come_in_as_may() {
    let mut rig = Rig::new();
    if with_sasldb(&rig, &["admin", "bovik", "fred"]).is_none() {
        return println!("skipped: there is no saslpasswd2");
    }
    let settings = fs::read_to_string(rig.path("imapd.conf")).unwrap();
    fs::write(
        rig.path("imapd.conf"),
        settings + "maxlogins_per_user: 2\nloginuseacl: yes\nimapidlepoll: 3600\n",
    )
    .unwrap();
    fs::create_dir_all(rig.path("conf/msg")).unwrap();
    fs::create_dir_all(rig.path("conf/log/bovik")).unwrap();
    rig.own_everything();
    // Two processes: what one has let in counts for the other.
    start(
        &mut rig,
        env!("CARGO_BIN_EXE_master"),
        " imap cmd=\"IMAPD CONF\" listen=\"127.0.0.1:BASE0\" prefork=1\n \
         other cmd=\"IMAPD CONF\" listen=\"127.0.0.1:BASE1\" prefork=1",
    );
    let (imap, other) = (rig.address(0), rig.address(1));
    let mut admin = Client::logged_in(imap, "admin");
    assert!(admin.imap("CREATE user/bovik").contains("t OK"));
    assert!(admin.imap("SETACL user/bovik fred a").contains("t OK"));

    fs::write(rig.path("conf/msg/motd"), "Mail is slow today\nmore\n").unwrap();
    let mut first = Client::connect(imap);
    first.line();
    let answer = first.imap("LOGIN bovik secret");
    assert!(
        answer.starts_with("* OK [ALERT] Mail is slow today\r\nt OK "),
        "{answer}"
    );
    fs::remove_file(rig.path("conf/msg/motd")).unwrap();
    let second = Client::logged_in(other, "bovik");
    eventually("both sessions are listed", || {
        fs::read_dir(rig.path("conf/proc"))
            .unwrap()
            .flatten()
            .filter(|entry| {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                // The log names clients as Cyrus does: the host, if it has a name, and the address.
                text.contains("[127.0.0.1]\tbovik\t")
            })
            .count()
            == 2
    });
    for service in [imap, other] {
        let mut third = Client::connect(service);
        third.line();
        let answer = third.imap("LOGIN bovik secret");
        assert_eq!(answer, "t NO Too many open connections (2 of 2 for bovik)\r\n");
    }
    drop(second);

    // Who administers an INBOX may act as its owner, and nobody else's.
    let plain = |words: &str| {
        let mut encoder = Command::new("base64")
            .arg("-w0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        encoder.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
        String::from_utf8(encoder.wait_with_output().unwrap().stdout).unwrap()
    };
    let acting = |as_user: &str, user: &str| {
        let mut client = Client::connect(other);
        client.line();
        client.imap(&format!(
            "AUTHENTICATE PLAIN {}",
            plain(&format!("{as_user}\0{user}\0secret"))
        ))
    };
    eventually("the session has left", || {
        acting("bovik", "fred").contains("t OK ")
    });
    assert!(acting("fred", "bovik").starts_with("t NO "));

    // A shutdown reaches those who idle, and administrators stay.
    first.send("i IDLE\r\n");
    assert_eq!(first.line(), "+ idling\r\n");
    fs::write(rig.path("conf/msg/shutdown"), "Back at noon\n").unwrap();
    assert_eq!(first.line(), "* BYE [ALERT] Back at noon\r\n");
    assert_eq!(first.line(), "");
    assert!(admin.imap("NOOP").contains("t OK"));
    fs::remove_file(rig.path("conf/msg/shutdown")).unwrap();

    let named: Vec<String> = fs::read_dir(rig.path("conf/log/bovik"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    for service in ["imap-", "other-"] {
        let number = named.iter().find_map(|name| name.strip_prefix(service));
        assert!(
            number.is_some_and(|number| number.parse::<u32>().is_ok()),
            "{named:?}"
        );
    }
    let log = rig.log();
    let host = log
        .lines()
        .filter_map(|line| line.split_once(" login: "))
        .all(|(_, login)| login.split(' ').take(2).any(|word| word == "[127.0.0.1]"));
    assert!(host, "{log}");
    stop_and_leave_nothing(&rig);
}
