//! Hostile input: whatever a client sends to whichever command, it gets an answer, and the session goes on.

#[allow(dead_code)] // shared with the tests that run scripts
#[path = "dialogues/driver.rs"]
mod driver;

use cyrus_proto::imap::command::{AppendMessage, UrlFetch};
use cyrus_proto::job::Session;
use driver::{Client, Server};

/// Every command with arguments, up to where a client's own come.
const COMMANDS: &[&str] = &[
    "APPEND",
    "APPEND INBOX",
    "APPEND INBOX CATENATE",
    "APPEND INBOX CATENATE (URL",
    "AUTHENTICATE PLAIN",
    "COMPRESS",
    "COPY",
    "COPY 1",
    "CREATE",
    "DELETE",
    "DELETEACL INBOX",
    "ENABLE",
    "EXAMINE",
    "FETCH",
    "FETCH 1",
    "FETCH 1 (BODY[",
    "FETCH 1 (BODY[HEADER.FIELDS",
    "FETCH 1 (BINARY[",
    "FETCH 1 (ANNOTATION",
    "FETCH 1 (PREVIEW",
    "FETCH 1 FLAGS",
    "GENURLAUTH",
    "GETACL",
    "GETANNOTATION",
    "GETMETADATA",
    "GETMETADATA \"\"",
    "GETQUOTA",
    "GETQUOTAROOT",
    "ID",
    "LANGUAGE",
    "LIST",
    "LIST \"\"",
    "LIST (",
    "LIST \"\" * RETURN",
    "LISTRIGHTS INBOX",
    "LOGIN",
    "LSUB \"\"",
    "MOVE 1",
    "MYRIGHTS",
    "RENAME INBOX",
    "REPLACE",
    "REPLACE 1 INBOX",
    "RESETKEY",
    "SEARCH",
    "SEARCH OR",
    "SEARCH NOT",
    "SEARCH CHARSET",
    "SEARCH HEADER",
    "SELECT INBOX",
    "SETACL INBOX",
    "SETANNOTATION INBOX",
    "SETMETADATA INBOX",
    "SETQUOTA INBOX",
    "SETQUOTA INBOX (",
    "STATUS INBOX",
    "STORE",
    "STORE 1",
    "STORE 1 FLAGS",
    "STORE 1 ANNOTATION",
    "SUBSCRIBE",
    "UID",
    "UID COPY",
    "UID EXPUNGE",
    "UID FETCH",
    "UID MOVE 1",
    "UID REPLACE 1 INBOX",
    "UID SEARCH",
    "UID STORE",
    "UNSUBSCRIBE",
    "URLFETCH",
    "URLFETCH (",
    "XFOO",
    "XLIST \"\"",
];

fn payloads() -> Vec<String> {
    let deep = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(10_000), close.repeat(10_000))
    };
    vec![
        String::new(),
        " ".to_owned(),
        deep("(", "x", ")"),
        format!("({}", deep("(", "x", ")")),
        "(".repeat(60_000),
        deep("[", "1", "]"),
        "1:4294967295".to_owned(),
        "1:4294967296".to_owned(),
        "0:*".to_owned(),
        format!("{}*", "1:*,".repeat(15_000)),
        "NOT ".repeat(15_000),
        "OR ".repeat(20_000),
        format!("{}ALL", "KEYWORD x ".repeat(6_000)),
        "&AGEAYg- &".to_owned(),
        "&".repeat(1_000),
        "\"&AOk\"".to_owned(),
        "\"a\0b\"".to_owned(),
        "a\0b".to_owned(),
        "\u{e9}\u{80}\u{feff}".to_owned(),
        "\"never closed".to_owned(),
        "\\".repeat(5_000),
        "*%".repeat(20_000),
        "x".repeat(60_000),
        "x ".repeat(30_000),
        "\"x\" ".repeat(15_000),
        "{5+}\r\na\0b\r\n".to_owned(),
        format!("({}x", "{1+}\r\n(".repeat(500)),
        "18446744073709551616".to_owned(),
        "-1".to_owned(),
        "/;UID=1;UID=1;UID=1".to_owned(),
        format!("\"/{}\"", "%".repeat(8_000)),
        format!("{}x", "/".repeat(8_000)),
    ]
}

fn client(server: &Server) -> Client {
    let mut client = Client::connect(server);
    client.output();
    assert!(client.line("a LOGIN user1 pass").starts_with("a OK "));
    assert!(
        client
            .line("b APPEND INBOX {8+}\r\nA: b\r\n\r\n")
            .contains("b OK ")
    );
    assert!(client.line("c SELECT INBOX").contains("c OK "));
    client
}

#[test]
fn every_command_answers_whatever_its_arguments_and_the_session_goes_on() {
    let server = Server::new(&[]);
    server.create("user/user1");
    let payloads = payloads();
    for command in COMMANDS {
        let mut client = client(&server);
        for payload in &payloads {
            for separator in [" ", ""] {
                let text = format!("t {command}{separator}{payload}");
                let said = client.send(format!("{text}\r\n").as_bytes());
                let shown: String = text.chars().take(90).collect();
                if said.starts_with("+ ") {
                    // A literal, or an exchange of AUTHENTICATE: given up.
                    client.line("*");
                } else if said.is_empty() {
                    client.line("");
                } else {
                    let last = said.lines().next_back().unwrap_or_default();
                    assert!(
                        last.starts_with("t ") || last.starts_with("* BAD "),
                        "{shown}: {last}"
                    );
                    assert!(said.len() < 200_000, "{shown}: {} octets", said.len());
                }
                let said = client.line("u NOOP");
                if client.closed {
                    client = self::client(&server);
                    continue;
                }
                let alive = said
                    .lines()
                    .any(|line| line.starts_with("u OK ") || line.contains("u NOOP"));
                let selected = client.line("v CHECK");
                if !alive || !selected.contains("v OK ") {
                    // The command went on with what should be the next one, or left the mailbox.
                    client.line("");
                    client = self::client(&server);
                }
            }
        }
    }
}

#[test]
fn a_literal_that_never_comes_costs_nothing_and_others_go_on() {
    let server = Server::new(&[]);
    server.create("user/user1");
    let mut silent: Vec<Client> = (0..20).map(|_| client(&server)).collect();
    for (number, client) in silent.iter_mut().enumerate() {
        let said = match number % 4 {
            0 => client.line("d APPEND INBOX {4000000000}"),
            1 => client.line("d APPEND INBOX CATENATE (TEXT {4000000000}"),
            2 => client.line("d REPLACE 1 INBOX ~{4000000000}"),
            _ => client.line("d SEARCH SUBJECT {1000}"),
        };
        assert_eq!(said, "+ go ahead\r\n");
    }
    let mut other = client(&server);
    assert!(other.line("d FETCH 1:* (FLAGS)").contains("d OK "));
    for client in &mut silent {
        client.session.end_of_input();
        client.run();
        assert!(client.closed);
    }
    assert!(other.line("e NOOP").ends_with("e OK Completed\r\n"));
}

#[test]
fn lists_of_parts_and_urls_are_limited_and_so_is_what_comes_of_them() {
    let server =
        Server::new(&[("maxmessagesize", "100000".to_owned())].map(|(name, value)| (name.to_owned(), value)));
    server.create("user/user1");
    let mut client = client(&server);
    let message = format!("A: b\r\n\r\n{}", "x".repeat(50_000));
    let size = message.len();
    let said = client.send(format!("d APPEND INBOX {{{size}+}}\r\n{message}\r\n").as_bytes());
    assert!(said.contains("d OK "), "{said}");
    // Many times the same message would be large: it is refused when it has become too large.
    let parts = vec!["URL /INBOX/;UID=2"; AppendMessage::MAX_PARTS].join(" ");
    let said = client.line(&format!("e APPEND INBOX CATENATE ({parts})"));
    assert_eq!(said, "e NO [TOOBIG] Message size exceeds fixed limit\r\n");
    let parts = vec!["URL x"; AppendMessage::MAX_PARTS + 1].join(" ");
    let said = client.line(&format!("f APPEND INBOX CATENATE ({parts})"));
    assert_eq!(said, "f BAD Too many message parts in Append command\r\n");
    let urls = vec!["\"x\""; UrlFetch::MAX_URLS].join(" ");
    let said = client.line(&format!("g URLFETCH {urls}"));
    assert!(said.ends_with(" NIL\r\ng OK Completed\r\n"), "{said}");
    let said = client.line(&format!("h URLFETCH {urls} \"x\""));
    assert_eq!(said, "h BAD Too many URLs in Urlfetch\r\n");
    // As many literals as a command may have, and one more.
    let parts = " TEXT {1+}\r\nx".repeat(1_024);
    let said = client.send(format!("i APPEND INBOX CATENATE ({})\r\n", parts.trim_start()).as_bytes());
    assert!(said.starts_with("i NO "), "{said}");
    let parts = " TEXT {1+}\r\nx".repeat(1_025);
    let said = client.send(format!("j APPEND INBOX CATENATE ({})\r\n", parts.trim_start()).as_bytes());
    assert_eq!(said, "j BAD [TOOBIG] too many literals\r\n");
    assert!(client.line("k NOOP").ends_with("k OK Completed\r\n"));
}

#[test]
fn literal_minus_takes_4096_octets_unasked_and_not_one_more() {
    let server = Server::new(&[("literalminus".to_owned(), "yes".to_owned())]);
    server.create("user/user1");
    let mut client = client(&server);
    assert!(client.line("d CAPABILITY").contains(" LITERAL- "));
    for (size, fits) in [(4_096, true), (4_097, false)] {
        let message = format!("A: b\r\n\r\n{}", "x".repeat(size - 8));
        let said = client.send(format!("e APPEND INBOX {{{size}+}}\r\n{message}\r\n").as_bytes());
        match fits {
            true => assert!(said.contains("e OK [APPENDUID "), "{said}"),
            false => assert_eq!(said, "e BAD Non-synchronizing literal too large\r\n"),
        }
        // Waited for, it may be as large as ever.
        assert_eq!(
            client.line(&format!("f APPEND INBOX {{{size}}}")),
            "+ go ahead\r\n"
        );
        let said = client.send(format!("{message}\r\n").as_bytes());
        assert!(said.contains("f OK [APPENDUID "), "{said}");
        let text = "x".repeat(size);
        let said = client.send(format!("g SEARCH SUBJECT {{{size}+}}\r\n{text}\r\n").as_bytes());
        assert!(
            said.starts_with(if fits { "* SEARCH" } else { "g BAD " }),
            "{said}"
        );
    }
    assert!(client.line("h NOOP").ends_with("h OK Completed\r\n"));
}
