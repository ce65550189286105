//! Hostile input at the daemon itself, over sockets: each gets an answer quickly and in bounded memory, the session goes on (or
//! ends with a BYE where nothing else is possible), and everybody else is served meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::rig::programs::Programs;
use crate::rig::server::Server;
use crate::rig::site::Site;

/// How long an answer may take on a busy machine; they take milliseconds.
const QUICKLY: Duration = Duration::from_secs(20);

/// A connection that sends octets as they are.
struct Raw(TcpStream);

impl Raw {
    fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.imap_port)).expect("a connection");
        stream.set_read_timeout(Some(QUICKLY)).expect("a time limit");
        stream.set_write_timeout(Some(QUICKLY)).expect("a time limit");
        let mut raw = Self(stream);
        raw.until("\r\n");
        raw
    }

    fn logged_in(server: &Server) -> Self {
        let mut raw = Self::connect(server);
        raw.say(b"l LOGIN alice pass\r\n", "l OK");
        raw.say(b"s SELECT INBOX\r\n", "s OK");
        raw
    }

    /// Reads until a text has come, or the end; what came.
    fn until(&mut self, text: &str) -> String {
        let mut begun = Instant::now();
        let mut said = Vec::new();
        let mut buffer = [0_u8; 64 * 1024];
        let mut looked = 0;
        loop {
            let new = said.get(looked..).unwrap_or_default();
            if new.windows(text.len()).any(|part| part == text.as_bytes()) {
                break;
            }
            looked = said.len().saturating_sub(text.len());
            let shown = || String::from_utf8_lossy(said.get(..said.len().min(200)).unwrap_or_default());
            assert!(begun.elapsed() < QUICKLY, "no {text:?} in {}", shown());
            match self.0.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    // A flood takes its time; it is the next octets that must come.
                    begun = Instant::now();
                    said.extend_from_slice(buffer.get(..count).unwrap_or_default());
                }
                Err(error) => panic!("no {text:?}: {error}; {}", shown()),
            }
        }
        String::from_utf8_lossy(&said).into_owned()
    }

    fn say(&mut self, octets: &[u8], answer: &str) -> String {
        self.0.write_all(octets).expect("what is sent is taken");
        let said = self.until(answer);
        assert!(said.contains(answer), "{answer:?}: {said:.300}");
        said
    }

    fn goes_on(&mut self) {
        self.say(b"z NOOP\r\n", "z OK Completed\r\n");
    }
}

fn server() -> Option<(Site, Server)> {
    let ours = Programs::ours()?;
    let site = Site::new(&[], &["alice"]);
    let server = site.start(&ours);
    server.imap("admin").ok("CREATE user/alice");
    let mut alice = server.imap("alice");
    for _ in 0..3 {
        let message = b"Subject: hello\r\n\r\nHello.\r\n";
        assert!(alice.append("INBOX", "", message).expect("APPEND").is_ok());
    }
    Some((site, server))
}

/// The most memory that any process of the server holds, in KiB.
fn memory(server: &Server) -> u64 {
    let of = |pid: i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    server.children().into_iter().filter_map(of).max().unwrap_or(0)
}

#[test]
fn hostile_input_is_answered_quickly_and_the_session_goes_on() {
    let Some((_site, server)) = server() else { return };
    let deep = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(10_000), close.repeat(10_000))
    };
    let line = |command: &str, argument: &str| format!("a {command} {argument}\r\n").into_bytes();
    // What is sent, and what the answer begins with: quick, tagged, and not a disconnection.
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "10,000 parentheses in SEARCH",
            line("SEARCH", &deep("(", "ALL", ")")),
            "a BAD ",
        ),
        (
            "10,000 parentheses in FETCH",
            line("FETCH 1", &deep("(", "UID", ")")),
            "a BAD ",
        ),
        (
            "10,000 parentheses in LIST",
            line("LIST \"\"", &deep("(", "x", ")")),
            "a BAD ",
        ),
        (
            "10,000 parentheses in STORE",
            line("STORE 1 FLAGS", &deep("(", "x", ")")),
            "a BAD ",
        ),
        (
            "10,000 NOTs",
            line("SEARCH", &format!("{}ALL", "NOT ".repeat(10_000))),
            "a BAD ",
        ),
        ("10,000 ORs", line("SEARCH", &"OR ".repeat(10_000)), "a BAD "),
        (
            "every UID that there can be",
            line("UID FETCH", "1:4294967295 UID"),
            "a OK ",
        ),
        (
            "every number that there can be",
            line("FETCH", "1:4294967295 UID"),
            "a OK ",
        ),
        (
            "every number backwards",
            line("STORE", "4294967295:1 +FLAGS.SILENT (x)"),
            "a OK ",
        ),
        ("a number too large", line("FETCH", "1:4294967296 UID"), "a BAD "),
        (
            "one range 30,000 times",
            line("FETCH", &format!("{}1 UID", "1:*,".repeat(15_000))),
            "a OK ",
        ),
        (
            "a program of 64 KiB",
            line("SEARCH", &format!("{}ALL", "SUBJECT x ".repeat(6_500))),
            "a BAD ",
        ),
        (
            "a program as large as it may be",
            line("SEARCH", &format!("{}ALL", "SUBJECT x ".repeat(4_000))),
            "a OK ",
        ),
        (
            "a line of 200 KiB",
            line("SEARCH", &"x".repeat(200_000)),
            "a BAD ",
        ),
        ("broken UTF-7", line("CREATE", "\"x&AOk\""), "a NO "),
        (
            "more broken UTF-7",
            line("CREATE", &format!("\"{}\"", "&".repeat(1_000))),
            "a NO ",
        ),
        ("a NUL in a word", line("SELECT", "a\0b"), "a "),
        ("a NUL in quotes", line("CREATE", "\"a\0b\""), "a BAD "),
        ("a NUL in a literal", b"a CREATE {3+}\r\na\0b\r\n".to_vec(), "a "),
        (
            "octets that are no text",
            b"a CREATE \"\xff\xfe\x80\"\r\n".to_vec(),
            "a ",
        ),
        (
            "a string that never ends",
            line("LOGIN", "\"never closed"),
            "a BAD ",
        ),
        (
            "a thousand wildcards",
            line("LIST \"\"", &format!("\"{}x\"", "*%".repeat(1_000))),
            "a OK ",
        ),
        ("no command at all", b"\r\n".to_vec(), "* BAD "),
        ("a tag alone", b"a\r\n".to_vec(), "BAD "),
    ];
    // Malformed commands in a row end a session: each case has its own.
    for (what, octets, answer) in cases {
        let mut raw = Raw::logged_in(&server);
        let begun = Instant::now();
        let said = raw.say(&octets, answer);
        assert!(said.len() < 100_000, "{what}: {} octets", said.len());
        assert!(begun.elapsed() < QUICKLY, "{what}: {:?}", begun.elapsed());
        raw.goes_on();
    }
    assert!(memory(&server) < 300_000, "{} KiB", memory(&server));
}

#[test]
fn literals_that_are_announced_and_never_sent_cost_nothing() {
    let Some((_site, server)) = server() else { return };
    let before = memory(&server);
    let announced: Vec<Raw> = (0..40)
        .map(|number| {
            let mut raw = Raw::logged_in(&server);
            let command: &[u8] = match number % 4 {
                0 => b"a APPEND INBOX {4000000000}\r\n",
                1 => b"a APPEND INBOX CATENATE (TEXT {4000000000}\r\n",
                2 => b"a APPEND INBOX ~{4000000000}\r\n",
                _ => b"a SEARCH SUBJECT {100000}\r\n",
            };
            raw.say(command, "+ ");
            raw
        })
        .collect();
    let mut refused = Raw::logged_in(&server);
    refused.say(b"a SEARCH SUBJECT {4000000000}\r\n", "a NO [TOOBIG] ");
    refused.goes_on();
    // One that is sent without waiting cannot be stopped but by closing.
    let mut refused = Raw::logged_in(&server);
    refused.say(b"a SEARCH SUBJECT {4000000000+}\r\n", "* BYE [TOOBIG] ");
    Raw::logged_in(&server).goes_on();
    let more = memory(&server).saturating_sub(before);
    assert!(more < 50_000, "{more} KiB for {} connections", announced.len());
}

#[test]
fn floods_are_answered_in_order_in_bounded_memory_while_others_are_served() {
    let Some((_site, server)) = server() else { return };
    let mut flood = Raw::logged_in(&server);
    let mut sender = flood.0.try_clone().expect("a second handle");
    // 10,000 commands without reading an answer: what cannot be answered yet is not taken either.
    let sent = std::thread::spawn(move || {
        let mut text = Vec::new();
        for number in 0..10_000 {
            text.extend_from_slice(format!("f{number} FETCH 1:* (FLAGS ENVELOPE)\r\n").as_bytes());
        }
        text.extend_from_slice(b"last NOOP\r\n");
        sender.write_all(&text)
    });
    for _ in 0..20 {
        Raw::logged_in(&server).goes_on();
    }
    assert!(memory(&server) < 300_000, "{} KiB", memory(&server));
    let said = flood.until("last OK ");
    sent.join().expect("a thread").expect("all is taken in the end");
    let replies: Vec<&str> = said.lines().filter(|line| line.starts_with('f')).collect();
    assert_eq!(replies.len(), 10_000);
    for (number, reply) in replies.iter().enumerate() {
        assert!(reply.starts_with(&format!("f{number} OK ")), "{reply}");
    }
}

#[test]
fn before_the_login_a_client_is_given_little_and_ends_after_fifty_malformed_commands() {
    let Some((_site, server)) = server() else { return };
    let mut raw = Raw::connect(&server);
    raw.say(b"a LOGIN {200000}\r\n", "a NO [TOOBIG] ");
    raw.say(b"a APPEND INBOX {200000}\r\n", "a NO [TOOBIG] ");
    raw.say(b"a CAPABILITY\r\n", "a OK ");
    let mut raw = Raw::connect(&server);
    let said = raw.say(&b"x\r\n".repeat(60), "* BYE Too many bad commands");
    assert_eq!(said.matches("BAD").count(), 50);
    let mut raw = Raw::connect(&server);
    raw.say(b"a AUTHENTICATE PLAIN\r\n", "+ ");
    raw.say(&[b"A".repeat(100_000), b"\r\n".to_vec()].concat(), "a ");
    raw.say(b"b CAPABILITY\r\n", "b OK ");
}

#[test]
fn limits_can_be_lowered_and_say_which_they_are() {
    let Some(ours) = Programs::ours() else { return };
    let limits = [
        ("maxword", "100"),
        ("maxquoted", "50"),
        ("maxargssize", "10K"),
        ("maxliteral", "1K"),
        ("imap_max_sequence_ranges", "3"),
        ("imap_max_search_keys", "5"),
        ("imap_max_search_depth", "2"),
        ("imap_max_names", "2"),
        ("imap_max_bad_commands", "50"),
    ];
    let site = Site::new(&limits, &["alice"]);
    let server = site.start(&ours);
    server.imap("admin").ok("CREATE user/alice");
    let mut raw = Raw::logged_in(&server);
    for (command, answer) in [
        (
            format!("a CREATE {}", "x".repeat(101)),
            "a BAD [TOOBIG] No more than 100 octets in a word",
        ),
        (
            format!("a CREATE \"{}\"", "x".repeat(51)),
            "a BAD [TOOBIG] No more than 50 octets in a quoted string",
        ),
        (
            format!("a SEARCH {}", "SEEN ".repeat(3_000)),
            "a BAD [TOOBIG] command too long",
        ),
        (
            "a SEARCH SUBJECT {2000}".to_owned(),
            "a NO [TOOBIG] Literal size exceeds fixed limit",
        ),
        (
            "a UID FETCH 1,3,5,7 UID".to_owned(),
            "a BAD [LIMIT] No more than 3 ranges in a sequence set",
        ),
        (
            "a SEARCH SEEN SEEN SEEN SEEN SEEN SEEN".to_owned(),
            "a BAD [LIMIT] No more than 5 search keys",
        ),
        (
            "a SEARCH (((SEEN)))".to_owned(),
            "a BAD [LIMIT] No more than 2 levels of search keys",
        ),
        ("a ENABLE A B C".to_owned(), "a BAD [LIMIT] No more than 2 names"),
    ] {
        raw.say(format!("{command}\r\n").as_bytes(), answer);
        raw.goes_on();
    }
}
