//! Messages that come in any form and go out in any form: BINARY, CATENATE, URLAUTH, REPLACE, PREVIEW; what a script of lines
//! cannot say, for octets or tokens in it.

#[allow(dead_code)] // shared with the tests that run scripts
#[path = "dialogues/driver.rs"]
mod driver;

use cyrus_proto::job::Session;
use driver::{Client, Server};

fn server(conf: &[(&str, &str)]) -> Server {
    let conf: Vec<(String, String)> = conf
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let server = Server::new(&conf);
    server.create("user/user1");
    server.create("user/user2");
    server
}

fn login(server: &Server, user: &str) -> Client {
    let mut client = Client::connect(server);
    client.output();
    assert!(client.line(&format!("a LOGIN {user} pass")).starts_with("a OK "));
    client
}

fn append(client: &mut Client, mailbox: &str, message: &[u8]) -> String {
    let mut command = format!("b APPEND {mailbox} {{{}+}}\r\n", message.len()).into_bytes();
    command.extend_from_slice(message);
    command.extend_from_slice(b"\r\n");
    client.send(&command)
}

const MULTIPART: &[u8] = b"From: A <a@example.org>\r\nSubject: x\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9 =\r\nand so on\r\n--b\r\n\
    Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8gAHdvcmxkDQo=\r\n--b\r\n\
    Content-Type: text/plain\r\nContent-Transfer-Encoding: x-foo\r\n\r\nhello\r\n--b\r\nContent-Type: message/rfc822\r\n\
    \r\nSubject: inner\r\nTo: c@example.org\r\n\r\ninner text\r\n--b--\r\n";

#[test]
fn binary_gives_parts_decoded_as_cyrus_does() {
    let server = server(&[]);
    let mut client = login(&server, "user1");
    append(&mut client, "INBOX", b"Subject: hello\r\n\r\nabc def");
    append(&mut client, "INBOX", MULTIPART);
    client.line("c SELECT INBOX");
    let mut ask = |items: &str| {
        let said = client.line(&format!("d FETCH 2 ({items})"));
        said.split(" OK Completed").next().unwrap_or_default().to_owned()
    };
    let cases = [
        (
            "BINARY.PEEK[1] BINARY.SIZE[1]",
            "BINARY[1] {15}\r\ncaf\u{e9} and so on BINARY.SIZE[1] 15",
        ),
        (
            "BINARY.PEEK[2] BINARY.SIZE[2]",
            "BINARY[2] ~{14}\r\nhello \0world\r\n BINARY.SIZE[2] 14",
        ),
        ("BINARY.PEEK[2]<2.5>", "BINARY[2]<2> ~{5}\r\nllo \0"),
        ("BINARY.PEEK[1]<100.10>", "BINARY[1]<100> \"\""),
        (
            "BINARY.PEEK[4] BINARY.SIZE[4]",
            "BINARY[4] {47}\r\nSubject: inner\r\nTo: c@example.org\r\n\r\ninner text BINARY.SIZE[4] 47",
        ),
        (
            "BINARY.PEEK[4.1] BINARY.SIZE[4.1]",
            "BINARY[4.1] {10}\r\ninner text BINARY.SIZE[4.1] 10",
        ),
        ("BINARY.PEEK[5] BINARY.SIZE[5]", "BINARY[5] NIL BINARY.SIZE[5] 0"),
    ];
    for (items, values) in cases {
        assert_eq!(ask(items), format!("* 2 FETCH ({values})\r\nd"), "{items}");
    }
    let whole = ask("BINARY.PEEK[] BINARY.SIZE[]");
    let size = MULTIPART.len();
    assert!(
        whole.starts_with(&format!("* 2 FETCH (BINARY[] {{{size}}}\r\nFrom: A")),
        "{whole}"
    );
    assert!(
        whole.ends_with(&format!(" BINARY.SIZE[] {size})\r\nd")),
        "{whole}"
    );
    // What cannot be decoded is left out, and said (RFC 3516, section 4.3).
    let said = client.line("e FETCH 1:2 (BINARY.PEEK[3])");
    assert_eq!(
        said,
        "* 1 FETCH (BINARY[3] NIL)\r\ne NO [UNKNOWN-CTE] Unknown content transfer encoding\r\n"
    );
    let said = client.line("e UID FETCH 2 (BINARY.SIZE[3])");
    assert_eq!(
        said,
        "* 2 FETCH (UID 2)\r\ne NO [UNKNOWN-CTE] Unknown content transfer encoding\r\n"
    );
    let said = client.line("f FETCH 1 (BINARY[1])");
    assert!(
        said.starts_with("* 1 FETCH (FLAGS (\\Recent \\Seen) BINARY[1] {7}\r\nabc def)"),
        "{said}"
    );
}

#[test]
fn binary_messages_are_kept_in_base64_and_come_back_as_they_were() {
    let server = server(&[]);
    let mut client = login(&server, "user1");
    let mut body = b"\0\x01\n\r".repeat(30_000);
    for size in [body.len(), 100] {
        body.truncate(size);
        let mut message = b"Subject: b\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\
            Content-Transfer-Encoding: binary\r\n\r\n"
            .to_vec();
        message.extend_from_slice(&body);
        let mut command = format!("b APPEND INBOX (\\Seen) ~{{{}+}}\r\n", message.len()).into_bytes();
        command.extend_from_slice(&message);
        command.extend_from_slice(b"\r\n");
        let said = client.send(&command);
        assert!(said.contains("b OK [APPENDUID "), "{said}");
        let mut command = format!("b APPEND INBOX CATENATE (TEXT ~{{{}+}}\r\n", message.len()).into_bytes();
        command.extend_from_slice(&message);
        command.extend_from_slice(b" TEXT {1+}\r\n!)\r\n");
        let said = client.send(&command);
        assert!(said.contains("b OK [APPENDUID "), "{said}");
        client.line("c SELECT INBOX");
        client
            .session
            .feed(b"d FETCH 1:2 (BINARY.PEEK[1])\r\n", client.now());
        client.run();
        let output = client.session.output();
        let octets = output.to_vec().expect("files can be read");
        output.clear();
        let mut expected = format!("* 1 FETCH (BINARY[1] ~{{{size}}}\r\n").into_bytes();
        expected.extend_from_slice(&body);
        expected.extend_from_slice(format!(")\r\n* 2 FETCH (BINARY[1] ~{{{}}}\r\n", size + 1).as_bytes());
        expected.extend_from_slice(&body);
        expected.extend_from_slice(b"!)\r\nd OK ");
        assert!(octets.starts_with(&expected));
        let said = client.line("e FETCH 1 BODY.PEEK[HEADER]");
        assert!(said.contains("Content-Transfer-Encoding: base64\r\n"), "{said}");
        client.line("f STORE 1:* +FLAGS.SILENT (\\Deleted)");
        client.line("g EXPUNGE");
        client.line("h UNSELECT");
    }
    let said = client.send(b"h APPEND INBOX ~{13+}\r\nA: b\r\n\r\na\0b\r\n\r\n");
    assert_eq!(said, "h NO [UNKNOWN-CTE] Message contains NUL characters\r\n");
    let said = client.send(b"i LOGIN ~{3+}\r\nabc x\r\n");
    assert_eq!(said, "i BAD Binary literals are not allowed\r\n");
}

#[test]
fn large_parts_of_a_message_are_staged_and_put_together() {
    let server = server(&[("maxmessagesize", "400000")]);
    let mut client = login(&server, "user1");
    let line = "another line of text\r\n";
    let part = line.repeat(150_000 / line.len());
    let half = part.len();
    let command = format!("b APPEND INBOX CATENATE (TEXT {{10+}}\r\nA: b\r\n\r\n\r\n TEXT {{{half}}}");
    assert_eq!(client.line(&command), "+ go ahead\r\n");
    client.send(part.as_bytes());
    assert_eq!(client.line(&format!(" TEXT {{{half}}}")), "+ go ahead\r\n");
    client.send(part.as_bytes());
    let said = client.line(") (\\Flagged) {9+}\r\nC: d\r\n\r\nx");
    assert!(
        said.starts_with("b OK [APPENDUID ") && said.contains(" 1:2] "),
        "{said}"
    );
    client.line("c SELECT INBOX");
    let size = 10 + 2 * half;
    let said = client.line("d FETCH 1 (RFC822.SIZE BODY.PEEK[])");
    let expected =
        format!("* 1 FETCH (RFC822.SIZE {size} BODY[] {{{size}}}\r\nA: b\r\n\r\n\r\n{part}{part})\r\n");
    assert!(said.starts_with(&expected));
    // Each part is small enough, the whole is not (RFC 4469, section 4).
    let said =
        client.line("e APPEND INBOX CATENATE (URL \"/INBOX/;UID=1\" URL \"/INBOX/;UID=1/;SECTION=TEXT\")");
    assert_eq!(said, "e NO [TOOBIG] Message size exceeds fixed limit\r\n");
    let said = client.line(&format!("f APPEND INBOX CATENATE (FOO {{{half}}}"));
    assert_eq!(
        said,
        "f NO [TOOBIG] Literal size exceeds fixed limit in APPEND\r\n"
    );
    assert!(client.line("g NOOP").ends_with("g OK Completed\r\n"));
}

#[test]
fn urls_are_authorized_for_some_and_looked_up_by_them() {
    let server = server(&[]);
    let mut owner = login(&server, "user1");
    append(&mut owner, "INBOX", MULTIPART);
    let token = |client: &mut Client, rump: &str| {
        let said = client.line(&format!("b GENURLAUTH \"{rump}\" INTERNAL"));
        let url = said
            .strip_prefix("* GENURLAUTH \"")
            .and_then(|rest| rest.split_once("\"\r\nb OK "))
            .unwrap_or_else(|| panic!("{said}"))
            .0;
        assert!(url.starts_with(&format!("{rump}:internal:00")), "{said}");
        url.to_owned()
    };
    let base = "imap://user1@localhost/INBOX/;UID=1";
    let anybody = token(&mut owner, &format!("{base}/;SECTION=1;URLAUTH=anonymous"));
    let user2 = token(&mut owner, &format!("{base}/;SECTION=2;URLAUTH=user+user2"));
    let users = token(
        &mut owner,
        &format!("{base}/;SECTION=1/;PARTIAL=3.5;URLAUTH=authuser"),
    );
    let submit = token(&mut owner, &format!("{base};URLAUTH=submit+user1"));
    let gone = token(
        &mut owner,
        &format!("{base};EXPIRE=2020-01-01T00:00:00Z;URLAUTH=anonymous"),
    );
    let mut other = login(&server, "user2");
    let said = other.line(&format!("c URLFETCH \"{anybody}\" \"{users}\""));
    assert_eq!(
        said,
        format!(
            "* URLFETCH \"{anybody}\" {{22}}\r\ncaf=C3=A9 =\r\nand so on \"{users}\" {{5}}\r\n=C3=A\r\nc OK Completed\r\n"
        )
    );
    let said = other.line(&format!("c URLFETCH (\"{user2}\" BINARY BODYPARTSTRUCTURE)"));
    assert_eq!(
        said,
        format!(
            "* URLFETCH \"{user2}\" (BODYPARTSTRUCTURE (\"APPLICATION\" \"OCTET-STREAM\" NIL NIL NIL \"BINARY\" 14 \
             NIL NIL NIL NIL)) (BINARY ~{{14}}\r\nhello \0world\r\n)\r\nc OK Completed\r\n"
        )
    );
    let said = other.line(&format!("c URLFETCH (\"{anybody}\" BODY BODYPARTSTRUCTURE)"));
    assert_eq!(
        said,
        format!(
            "* URLFETCH \"{anybody}\" (BODYPARTSTRUCTURE (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"utf-8\") NIL NIL \
             \"QUOTED-PRINTABLE\" 22 1 NIL NIL NIL NIL)) (BODY {{22}}\r\ncaf=C3=A9 =\r\nand so on)\r\nc OK Completed\r\n"
        )
    );
    // Not theirs, expired, damaged, for a submission server, and no URL at all.
    let damaged = format!("{}0", &anybody[..anybody.len() - 1]);
    for (mine, url) in [
        (true, user2.as_str()),
        (false, gone.as_str()),
        (false, submit.as_str()),
        (false, "x"),
        (false, base),
    ] {
        let client = if mine { &mut owner } else { &mut other };
        let said = client.line(&format!("d URLFETCH \"{url}\""));
        assert_eq!(said, format!("* URLFETCH \"{url}\" NIL\r\nd OK Completed\r\n"));
    }
    if damaged != anybody {
        let said = other.line(&format!("d URLFETCH \"{damaged}\""));
        assert_eq!(
            said,
            format!("* URLFETCH \"{damaged}\" NIL\r\nd OK Completed\r\n")
        );
    }
    // Another key makes all of them void.
    assert_eq!(
        owner.line("e RESETKEY INBOX"),
        "e OK [URLMECH INTERNAL] key removed\r\n"
    );
    let said = other.line(&format!("f URLFETCH \"{anybody}\""));
    assert_eq!(
        said,
        format!("* URLFETCH \"{anybody}\" NIL\r\nf OK Completed\r\n")
    );
    let again = token(&mut owner, &format!("{base}/;SECTION=1;URLAUTH=anonymous"));
    assert_ne!(again, anybody);
    assert_eq!(owner.line("g RESETKEY"), "g OK All keys removed\r\n");
    let said = other.line(&format!("h URLFETCH \"{again}\""));
    assert_eq!(said, format!("* URLFETCH \"{again}\" NIL\r\nh OK Completed\r\n"));
}

#[test]
fn submission_servers_look_up_what_is_authorized_for_submission() {
    let server = server(&[("submitservers", "user2")]);
    let mut owner = login(&server, "user1");
    append(&mut owner, "INBOX", b"A: b\r\n\r\nx");
    let said =
        owner.line("b GENURLAUTH \"imap://user1@LOCALHOST/INBOX/;UID=1;URLAUTH=submit+user1\" INTERNAL");
    let url = said.split('"').nth(1).expect("a URL").to_owned();
    let mut submit = login(&server, "user2");
    assert_eq!(
        submit.line(&format!("c URLFETCH \"{url}\"")),
        format!("* URLFETCH \"{url}\" {{9}}\r\nA: b\r\n\r\nx\r\nc OK Completed\r\n")
    );
    assert!(owner.line(&format!("c URLFETCH \"{url}\"")).contains(" NIL\r\n"));
}

#[test]
fn a_message_of_utf8_keeps_its_header() {
    let server = server(&[]);
    let mut client = login(&server, "user1");
    let message = "Subject: caf\u{e9}\r\n\r\nx";
    let size = message.len();
    let said = client.line(&format!("b APPEND INBOX UTF8 (~{{{size}+}}\r\n{message})"));
    assert!(said.starts_with("b OK [APPENDUID "), "{said}");
    let said = client.line(&format!(
        "b APPEND INBOX CATENATE (UTF8 (~{{{size}+}}\r\n{message}) TEXT {{1+}}\r\ny)"
    ));
    assert!(said.starts_with("b OK [APPENDUID "), "{said}");
    client.line("c SELECT INBOX");
    let said = client.line("d FETCH 2 BODY[]");
    assert!(
        said.contains(&format!("{{{}}}\r\n{message}y)", size + 1)),
        "{said}"
    );
}
