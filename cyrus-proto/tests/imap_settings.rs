//! Settings of an IMAP service, as clients and the log meet them.
#![allow(clippy::unwrap_used)]

#[path = "dialogues/driver.rs"]
#[allow(dead_code)]
mod driver;

use std::fmt::Arguments;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cyrus_proto::imap::ImapService;
use cyrus_proto::job::{Peer, Session};
use cyrus_proto::surroundings::{Seat, Surroundings};
use cyrus_store::{Level, Log};
use driver::{Client, Server};

fn server(change: impl FnOnce(&mut ImapService)) -> Server {
    let mut server = Server::new(&[]);
    change(Arc::get_mut(&mut server.service).unwrap());
    server.create("user/user1");
    server
}

fn logged_in(server: &Server, user: &str) -> Client {
    let mut client = Client::connect(server);
    client.output();
    let said = client.line(&format!("a LOGIN {user} pass"));
    assert!(said.starts_with("a OK "), "{said}");
    client
}

fn append(client: &mut Client, flags: &str, message: &str) {
    let said = client.line(&format!(
        "x APPEND INBOX {flags}{{{}+}}\r\n{message}",
        message.len()
    ));
    assert!(said.contains("x OK [APPENDUID "), "{said}");
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl Log for Kept {
    fn record(&self, _: Level, what: Arguments<'_>) {
        self.0.lock().unwrap().push(what.to_string());
    }
}

/// Surroundings that say what a test wants.
#[derive(Debug, Default)]
struct Told {
    shutdown: Mutex<Option<Arc<str>>>,
    seats: Arc<()>,
}

impl Surroundings for Told {
    fn host_name(&self, _: IpAddr) -> Option<String> {
        Some("mail.example.com".to_owned())
    }

    fn message_of_the_day(&self) -> Option<String> {
        Some("Good morning".to_owned())
    }

    fn shutdown(&self) -> Option<Arc<str>> {
        self.shutdown.lock().unwrap().clone()
    }

    fn admit(&self, user: &str, _: &Peer) -> Result<Option<Seat>, String> {
        match Arc::strong_count(&self.seats) {
            1 => Ok(Some(Box::new(Arc::clone(&self.seats)))),
            taken => Err(format!("{user}: {} are here", taken - 1)),
        }
    }
}

#[test]
fn the_message_of_the_day_comes_before_the_reply_to_the_login() {
    let server = server(|service| service.options.surroundings = Arc::new(Told::default()));
    let mut client = Client::connect(&server);
    client.output();
    let said = client.line("a LOGIN user1 pass");
    assert!(
        said.starts_with("* OK [ALERT] Good morning\r\na OK [CAPABILITY "),
        "{said}"
    );
}

#[test]
fn a_place_is_taken_by_the_login_and_free_again_after_the_session() {
    let server = server(|service| service.options.surroundings = Arc::new(Told::default()));
    let mut first = Client::connect(&server);
    first.output();
    assert!(first.line("a LOGIN user1 pass").contains("a OK "));
    let mut second = Client::connect(&server);
    second.output();
    assert_eq!(second.line("a LOGIN user1 pass"), "a NO user1: 1 are here\r\n");
    first.line("b LOGOUT");
    drop(first);
    assert!(second.line("b LOGIN admin pass").contains("b OK "));
    assert!(second.line("c UNAUTHENTICATE").starts_with("c OK "));
    let said = second.line("d LOGIN user1 pass");
    assert!(said.contains("d OK "), "{said}");
}

#[test]
fn at_a_shutdown_users_leave_after_the_command_in_hand_and_administrators_stay() {
    let told = Arc::new(Told::default());
    let surroundings = Arc::clone(&told);
    #[derive(Debug)]
    struct Roomy(Arc<Told>);
    impl Surroundings for Roomy {
        fn shutdown(&self) -> Option<Arc<str>> {
            self.0.shutdown()
        }
    }
    let server = server(|service| service.options.surroundings = Arc::new(Roomy(surroundings)));
    let (mut user, mut idle) = (logged_in(&server, "user1"), logged_in(&server, "user1"));
    let mut admin = logged_in(&server, "admin");
    let mut stranger = Client::connect(&server);
    stranger.output();
    assert_eq!(idle.line("i IDLE"), "+ idling\r\n");
    *told.shutdown.lock().unwrap() = Some("Back at noon".into());
    assert_eq!(user.line("b NOOP"), "* BYE [ALERT] Back at noon\r\n");
    assert!(user.closed);
    assert_eq!(idle.hint(), "* BYE [ALERT] Back at noon\r\n");
    assert!(idle.closed);
    assert_eq!(admin.line("b NOOP"), "b OK Completed\r\n");
    assert_eq!(stranger.line("b NOOP"), "b OK Completed\r\n");
    let said = stranger.line("c LOGIN user1 pass");
    assert!(said.ends_with("* BYE [ALERT] Back at noon\r\n"), "{said}");
}

#[test]
fn autoexpunge_removes_what_is_deleted_whichever_way_the_mailbox_is_left() {
    let server = server(|service| service.options.autoexpunge = true);
    let count = |client: &mut Client| client.line("s STATUS INBOX (MESSAGES)");
    let mut watcher = logged_in(&server, "user1");
    let leave: [fn(&mut Client); 4] = [
        |client| drop(client.line("l UNSELECT")),
        |client| drop(client.line("l EXAMINE INBOX")),
        |client| drop(client.line("l LOGOUT")),
        |client| {
            client.session.end_of_input();
            client.run();
        },
    ];
    for leave in leave {
        let mut client = logged_in(&server, "user1");
        append(&mut client, "(\\Deleted) ", "Subject: x\r\n\r\n");
        client.line("b EXAMINE INBOX");
        client.line("c UNSELECT");
        assert!(count(&mut watcher).contains("(MESSAGES 1)"));
        client.line("d SELECT INBOX");
        leave(&mut client);
        assert!(count(&mut watcher).contains("(MESSAGES 0)"));
    }
}

#[test]
fn a_deleted_mailbox_is_unsubscribed_where_that_is_wanted() {
    for wanted in [false, true] {
        let server = server(|service| service.options.delete_unsubscribe = wanted);
        let mut client = logged_in(&server, "user1");
        for command in [
            "CREATE INBOX/a",
            "SUBSCRIBE INBOX/a",
            "DELETE INBOX/a",
            "CREATE INBOX/a",
        ] {
            assert!(client.line(&format!("b {command}")).starts_with("b OK "));
        }
        let listed = client.line("c LSUB \"\" *").contains("* LSUB");
        assert_eq!(listed, !wanted);
    }
}

#[test]
fn namespaces_that_are_disabled_are_not_listed_but_for_administrators() {
    let server = server(|service| {
        service.options.namespace.altnamespace = false;
        service.options.namespace.hide_shared = true;
        service.options.namespace.hide_other_users = true;
    });
    server.create("shared");
    server.create("user/user2");
    let mut admin = logged_in(&server, "admin");
    for mailbox in ["shared", "user/user2"] {
        admin.line(&format!("b SETACL {mailbox} anyone lrs"));
    }
    assert!(admin.line("c LIST \"\" *").contains(" user/user2\r\n* LIST"));
    let mut client = logged_in(&server, "user1");
    client.line("b SUBSCRIBE shared");
    client.line("b SUBSCRIBE user/user2");
    for command in ["LIST", "LSUB"] {
        let said = client.line(&format!("c {command} \"\" *"));
        assert!(!said.contains("shared") && !said.contains("user2"), "{said}");
    }
    assert_eq!(
        client.line("d NAMESPACE"),
        "* NAMESPACE ((\"INBOX/\" \"/\")) NIL NIL\r\nd OK Completed\r\n"
    );
    assert!(client.line("e SELECT shared").contains("e OK [READ-WRITE]"));
}

#[test]
fn a_read_only_service_changes_nothing() {
    let mut server = server(|_| {});
    let mut client = logged_in(&server, "user1");
    append(&mut client, "", "Subject: x\r\n\r\n");
    drop(client);
    Arc::get_mut(&mut server.service).unwrap().options.readonly = true;
    let mut client = logged_in(&server, "user1");
    let refusal = "b NO This connection is configured for read-only access\r\n";
    assert_eq!(client.line("b APPEND INBOX {3+}\r\nabc"), refusal);
    assert!(
        client
            .line("b SELECT INBOX")
            .ends_with("b OK [READ-ONLY] Completed\r\n")
    );
    for command in [
        "STORE 1 +FLAGS (\\Seen)",
        "UID STORE 1 +FLAGS (\\Seen)",
        "EXPUNGE",
        "COPY 1 INBOX",
        "CREATE INBOX/x",
        "DELETE INBOX/x",
        "RENAME INBOX/x INBOX/y",
        "SUBSCRIBE INBOX",
        "UNSUBSCRIBE INBOX",
        "SETACL INBOX user2 lrs",
        "MOVE 1 INBOX",
    ] {
        assert_eq!(client.line(&format!("b {command}")), refusal, "{command}");
    }
    assert!(client.line("b FETCH 1 (FLAGS BODY[])").contains("b OK"));
    assert_eq!(client.line("b CLOSE"), "b OK Completed\r\n");
}

#[test]
fn a_quota_warning_needs_little_room_and_comes_once_in_ten_minutes() {
    let server = server(|service| service.options.quotawarn_messages = 3);
    let mut admin = logged_in(&server, "admin");
    admin.line("b SETQUOTA user/user1 (MESSAGE 100)");
    let mut client = logged_in(&server, "user1");
    for _ in 0..97 {
        append(&mut client, "", "Subject: x\r\n\r\n");
    }
    assert!(!client.line("c SELECT INBOX").contains("ALERT"));
    append(&mut client, "", "Subject: x\r\n\r\n");
    let said = client.line("d SELECT INBOX");
    assert!(
        said.contains("* NO [ALERT] Mailbox is at 98% of MESSAGE quota\r\n"),
        "{said}"
    );
    assert!(!client.line("e SELECT INBOX").contains("ALERT"));
    let mut other = logged_in(&server, "user1");
    assert!(other.line("b SELECT INBOX").contains("ALERT"));
    // A quota that is smaller than that room is always warned of.
    admin.line("c SETQUOTA user/user1 (MESSAGE 2)");
    let mut other = logged_in(&server, "user1");
    assert!(
        other
            .line("b SELECT INBOX")
            .contains("Mailbox is over MESSAGE quota")
    );
}

#[test]
fn commands_are_noted_and_their_time_where_that_is_wanted() {
    let kept = Kept::default();
    let log = kept.clone();
    let server = server(|service| {
        service.options.chatty = true;
        service.options.slow_command = Some(Duration::ZERO);
        service.log = Arc::new(log);
    });
    let mut client = logged_in(&server, "user1");
    client.line("b SELECT INBOX");
    client.line("c UID FETCH 1:* FLAGS");
    let lines = kept.0.lock().unwrap().clone();
    for line in ["command: a Login", "command: b Select", "command: c Uid"] {
        assert!(lines.iter().any(|logged| logged == line), "{line}: {lines:?}");
    }
    let times: Vec<&String> = lines
        .iter()
        .filter(|line| line.starts_with("cmdtimer: "))
        .collect();
    assert_eq!(times.len(), 3, "{times:?}");
    assert!(
        times[1]
            .contains(" userid=<user1> command=<select> mailbox=<user.user1> cmdtime=<0.000000> nettime=<"),
        "{times:?}"
    );
}
