//! The examples do what they say.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use throwaway::Server;

/// One command, and the reply with everything before it.
fn command(stream: &mut BufReader<TcpStream>, line: &str) -> String {
    write!(stream.get_mut(), "x {line}\r\n").expect("the server takes the command");
    let mut reply = String::new();
    loop {
        let from = reply.len();
        let count = stream.read_line(&mut reply).expect("the server answers");
        assert_ne!(count, 0, "closed after {reply}");
        if reply[from..].starts_with("x ") {
            return reply;
        }
    }
}

#[test]
fn a_throwaway_server_serves_the_messages_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("1.eml"), "Subject: one\n\nOne.\n").unwrap();
    std::fs::write(folder.path().join("2.eml"), "Subject: two\r\n\r\nTwo.\r\n").unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no message").unwrap();
    let server = Server::start("fred", "secret").unwrap();
    assert_eq!(server.add_folder("INBOX", folder.path()).unwrap(), 2);
    server.add("Archive", b"Subject: three\r\n\r\n").unwrap();

    let mut client = BufReader::new(TcpStream::connect(server.address()).unwrap());
    let mut greeting = String::new();
    client.read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("* OK "), "{greeting}");
    assert!(command(&mut client, "LOGIN fred wrong").contains("x NO "));
    assert!(command(&mut client, "LOGIN fred secret").contains("x OK "));
    assert!(command(&mut client, "LIST \"\" *").contains("Archive"));
    assert!(command(&mut client, "SELECT INBOX").contains("* 2 EXISTS"));
    let fetched = command(&mut client, "FETCH 1:2 (UID RFC822.SIZE BODY.PEEK[TEXT])");
    assert!(
        fetched.contains("One.\r\n") && fetched.contains("Two.\r\n"),
        "{fetched}"
    );
}

#[test]
fn a_file_is_delivered_once_and_a_spool_printed() {
    let root = tempfile::tempdir().unwrap();
    let (conf, spool) = (root.path().join("conf"), root.path().join("spool"));
    let options = cyrus_store::StoreOptions::new(&conf).partition("default", &spool);
    let store = cyrus_store::Store::open(options).unwrap();
    for user in ["fred", "bovik"] {
        let inbox = cyrus_store::MailboxName::inbox_of(user).unwrap();
        store.create(&inbox, &cyrus_acl::AuthState::system()).unwrap();
    }
    drop(store);
    let file = root.path().join("message");
    std::fs::write(&file, "Message-ID: <1@x>\r\nSubject: hello\r\n\r\nHi.\r\n").unwrap();
    let deliver = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deliver_file"));
        let output = command
            .args([&conf, &spool, &file])
            .args(["fred", "bovik"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(deliver(), "fred: user.fred uid 1\nbovik: user.bovik uid 1\n");
    assert_eq!(
        deliver(),
        "fred: user.fred has it already\nbovik: user.bovik has it already\n"
    );

    let mut command = Command::new(env!("CARGO_BIN_EXE_print_spool"));
    let partition = format!("default={}", spool.display());
    let output = command.arg(&conf).arg(partition).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("user.fred: 1 messages, uidnext 2"), "{printed}");
    assert!(printed.contains("\"hello\""), "{printed}");
}

#[test]
fn a_session_is_served_over_pipes() {
    let root = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_imap_over_pipes"));
    command
        .args([root.path().join("conf"), root.path().join("spool")])
        .args(["fred", "secret"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"a LOGIN fred secret\r\nb LOGOUT\r\n").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("\r\na OK ") && said.contains("\r\nb OK "), "{said}");
}

#[test]
fn s066_a_site_writes_its_own_mechanism_in_under_sixty_lines() {
    let source = include_str!("site_roles.rs");
    let lines = source.lines().filter(|line| !line.is_empty());
    assert!(lines.count() < 60);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roles");
    std::fs::write(&file, "sales: fred bob\nboard: carol\n").unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_site_roles"));
        let output = command.arg(&file).args(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    let (said, _) = run(&["Fred", "role:sales", "lrs"]);
    assert_eq!(
        said,
        "fred has lrs\n  role:sales grants lrs: fred is in this group\n"
    );
    let (said, _) = run(&["fred", "role:board", "lrs"]);
    assert_eq!(said, "fred has no rights\n  role:board is someone else\n");
    let (_, refused) = run(&["fred", "role:nosuch", "lrs"]);
    assert!(refused.contains("there is no role"), "{refused}");
}
