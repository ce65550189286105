//! Dialogues: what clients say and what we answer, over a real store.

#[path = "dialogues/driver.rs"]
mod driver;

macro_rules! dialogues {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                driver::run(stringify!($name), include_str!(concat!("dialogues/", stringify!($name), ".txt")));
            }
        )*
    };
}

dialogues!(
    acl,
    admin,
    annotatemore,
    annotations,
    catenate,
    condstore,
    contexts,
    esearch,
    expunge,
    expunged,
    fetch,
    fetch_cyrus,
    fuzzy,
    fuzzy_always,
    gone,
    letter,
    limit,
    listing,
    login,
    mailboxes,
    metadata,
    multisearch,
    namespace_netnews,
    notify,
    preview,
    qresync,
    quota,
    replace,
    rev2,
    search,
    select,
    session,
    sessions,
    sort,
    special_use,
    store,
    uidonly,
    urlauth,
    utf8,
    utf8_only
);

/// What sessions see of each other's changes is the same when they are in different processes.
#[test]
fn sessions_in_processes_of_their_own_see_the_same() {
    for (name, script) in [
        ("condstore", include_str!("dialogues/condstore.txt")),
        ("expunge", include_str!("dialogues/expunge.txt")),
        ("expunged", include_str!("dialogues/expunged.txt")),
        ("gone", include_str!("dialogues/gone.txt")),
        ("qresync", include_str!("dialogues/qresync.txt")),
        ("rev2", include_str!("dialogues/rev2.txt")),
        ("sessions", include_str!("dialogues/sessions.txt")),
        ("store", include_str!("dialogues/store.txt")),
    ] {
        driver::run_in(name, script, driver::Processes::Many);
    }
}

/// An index changes how quickly a search has its answer, and nothing else.
#[test]
fn searches_with_an_index_find_the_same() {
    for (name, script) in [
        ("contexts", include_str!("dialogues/contexts.txt")),
        ("esearch", include_str!("dialogues/esearch.txt")),
        ("multisearch", include_str!("dialogues/multisearch.txt")),
        ("search", include_str!("dialogues/search.txt")),
        ("sort", include_str!("dialogues/sort.txt")),
        ("uidonly", include_str!("dialogues/uidonly.txt")),
        ("utf8", include_str!("dialogues/utf8.txt")),
    ] {
        // How relevant a part of a word is, is known only with an index.
        let script = script.replace("FUZZY SUBJECT T", "SUBJECT T");
        driver::run_in(name, &script, driver::Processes::Indexed);
    }
}

use std::time::Duration;

use cyrus_proto::job::{Session, Step, TlsFacts};
use cyrus_store::MailboxName;
use cyrus_store::format::mboxentry::{MailboxKind, MailboxRow, MailboxType};
use driver::{Client, Server};

fn server(conf: &[(&str, &str)]) -> Server {
    let conf: Vec<(String, String)> = conf
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let server = Server::new(&conf);
    server.create("user/user1");
    server
}

fn logged_in(server: &Server) -> Client {
    let mut client = Client::connect(server);
    client.output();
    assert!(client.line("a LOGIN user1 pass").starts_with("a OK "));
    client
}

#[test]
fn fifty_malformed_commands_in_a_row_end_a_session_without_a_login() {
    let server = server(&[]);
    let mut client = Client::connect(&server);
    client.output();
    for _ in 0..49 {
        assert_eq!(client.line("x FOO"), "x BAD Please login first\r\n");
    }
    assert_eq!(client.line("x NOOP"), "x OK Completed\r\n");
    for _ in 0..49 {
        client.line("POST / HTTP/1.1");
    }
    assert!(!client.closed);
    let last = client.line("(");
    assert_eq!(last, "* BAD Invalid tag\r\n* BYE Too many bad commands\r\n");
    assert!(client.closed);
}

#[test]
fn who_has_logged_in_may_be_wrong_as_often_as_he_likes() {
    let server = server(&[]);
    let mut client = logged_in(&server);
    for _ in 0..1000 {
        assert_eq!(client.line("x FETCH"), "x BAD Please select a mailbox first\r\n");
    }
    assert_eq!(client.line("x NOOP"), "x OK Completed\r\n");
}

#[test]
fn what_was_sent_before_starttls_is_not_obeyed_after_it() {
    let server = server(&[("allowstarttls", "yes"), ("allowplaintext", "no")]);
    let mut client = Client::connect(&server);
    assert!(client.output().contains("STARTTLS LOGINDISABLED"));
    assert_eq!(
        client.line("a LOGIN user1 pass"),
        "a NO Login only available under a layer\r\n"
    );
    let said = client.send(b"b STARTTLS\r\nc LOGIN user1 pass\r\n");
    assert_eq!(said, "b OK Begin TLS negotiation now\r\n");
    assert!(client.wants_tls);
    client.session.secured(&TlsFacts {
        strength_bits: 256,
        ..TlsFacts::default()
    });
    client.run();
    assert_eq!(client.output(), "");
    assert!(client.line("d CAPABILITY").contains("AUTH=PLAIN"));
    assert_eq!(client.line("e STARTTLS"), "e NO TLS already active\r\n");
    assert!(client.line("f LOGIN user1 pass").starts_with("f OK [CAPABILITY "));
    assert_eq!(
        client.line("g STARTTLS"),
        "g BAD Can't Starttls after authentication\r\n"
    );
}

#[test]
fn an_idle_client_is_logged_out_after_the_timeout_and_no_sooner() {
    let server = server(&[]);
    let mut client = logged_in(&server);
    assert_eq!(client.wait(Duration::from_secs(31 * 60)), "");
    assert_eq!(client.line("b NOOP"), "b OK Completed\r\n");
    assert_eq!(client.wait(Duration::from_secs(31 * 60)), "");
    assert_eq!(
        client.wait(Duration::from_secs(61)),
        "* BYE idle for too long\r\n"
    );
    assert!(client.closed);
    let mut stranger = Client::connect(&server);
    stranger.output();
    assert_eq!(
        stranger.wait(Duration::from_secs(601)),
        "* BYE idle for too long\r\n"
    );
}

#[test]
fn a_stranger_who_keeps_talking_is_sent_away_all_the_same() {
    let server = server(&[]);
    let mut stranger = Client::connect(&server);
    stranger.output();
    for number in 0..9 {
        assert_eq!(stranger.wait(Duration::from_secs(60)), "");
        let reply = stranger.line(&format!("a{number} NOOP"));
        assert_eq!(reply, format!("a{number} OK Completed\r\n"));
    }
    // One octet a minute of a command that never ends, or of an answer to a challenge.
    assert_eq!(stranger.line("b AUTHENTICATE PLAIN"), "+ \r\n");
    assert_eq!(stranger.send(b"A"), "");
    assert_eq!(
        stranger.wait(Duration::from_secs(61)),
        "* BYE idle for too long\r\n"
    );
    assert!(stranger.closed);
    // Whoever logs in has all the time that there is.
    let mut client = Client::connect(&server);
    client.output();
    assert_eq!(client.wait(Duration::from_secs(500)), "");
    let reply = client.line("a LOGIN user1 pass");
    assert!(reply.starts_with("a OK"), "{reply}");
    assert_eq!(client.wait(Duration::from_secs(1000)), "");
    assert_eq!(client.line("b NOOP"), "b OK Completed\r\n");
}

#[test]
fn a_stranger_sends_sixty_four_kilobytes_of_a_command_and_users_as_much_as_there_may_be() {
    let server = server(&[]);
    let mut client = Client::connect(&server);
    client.output();
    let part = "x".repeat(25_000);
    assert_eq!(client.line("a LOGIN {25000}"), "+ go ahead\r\n");
    assert_eq!(client.line(&format!("{part} {{25000}}")), "+ go ahead\r\n");
    let refused = client.line(&format!("{part} {}", "y".repeat(20_000)));
    assert_eq!(refused, "a BAD [TOOBIG] command too long\r\n");
    assert!(client.line("b LOGIN user1 pass").starts_with("b OK"));
    client.line("d SELECT INBOX");
    assert_eq!(client.line("e SEARCH SUBJECT {60000}"), "+ go ahead\r\n");
    let long = "z".repeat(60_000);
    assert_eq!(client.line(&format!("{long} BODY {{60000}}")), "+ go ahead\r\n");
    let found = client.line(&long);
    assert!(found.contains("e OK") || found.contains("e NO"), "{found}");
}

#[test]
fn a_client_has_its_turn_however_much_happens() {
    let server = server(&[]);
    let mut client = logged_in(&server);
    client.line("a SELECT INBOX");
    client.line("b NOTIFY SET (selected (MessageNew MessageExpunge))");
    client.session.feed(b"c NOOP\r\nd NOOP\r\n", client.now());
    // As if each look brought the next hint.
    for _ in 0..20 {
        client.session.hint(client.now());
        if let Step::Run(job) = client.session.step(client.now()) {
            client.work(job);
        }
    }
    assert_eq!(client.output(), "c OK Completed\r\nd OK Completed\r\n");
}

#[test]
fn looks_during_idle_do_not_keep_a_client_alive() {
    let server = server(&[]);
    let mut client = logged_in(&server);
    client.line("a SELECT INBOX");
    client.line("b IDLE");
    for _ in 0..31 {
        assert_eq!(client.wait(Duration::from_secs(60)), "");
    }
    assert_eq!(
        client.wait(Duration::from_secs(61)),
        "* BYE idle for too long\r\n"
    );
    assert!(client.closed);
}

#[test]
fn changed_annotations_are_told_by_name() {
    use cyrus_acl::AuthState;
    use cyrus_store::{AnnotationScope, Audience, MailboxName};
    let server = server(&[]);
    let mut client = logged_in(&server);
    assert_eq!(
        client.line("a NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange))"),
        "a OK Completed\r\n"
    );
    let store = &server.service.store;
    let inbox = MailboxName::parse("user.user1").unwrap();
    let user = AuthState::user("user1").unwrap();
    let set = |scope, entry, audience, value: Option<&[u8]>, auth: &AuthState| {
        store.set_annotation(scope, entry, audience, value, auth).unwrap();
    };
    let of_inbox = AnnotationScope::Mailbox(&inbox);
    set(of_inbox, "/comment", Audience::Private, Some(b"mine"), &user);
    assert_eq!(client.news(), "* METADATA \"INBOX\" /private/comment\r\n");
    set(of_inbox, "/comment", Audience::Shared, Some(b"ours"), &user);
    assert_eq!(client.news(), "* METADATA \"INBOX\" /shared/comment\r\n");
    // What is removed is told, too.
    set(of_inbox, "/comment", Audience::Private, None, &user);
    assert_eq!(client.news(), "* METADATA \"INBOX\" /private/comment\r\n");
    let admin = AuthState::system();
    set(
        AnnotationScope::Server,
        "/motd",
        Audience::Shared,
        Some(b"hello"),
        &admin,
    );
    assert_eq!(client.news(), "* METADATA \"\" /shared/motd\r\n");
}

#[test]
fn too_many_mailboxes_end_notifications() {
    let server = server(&[("max_notify_mailboxes", "2")]);
    let mut client = logged_in(&server);
    server.create("user/user1/a");
    assert_eq!(
        client.line("a NOTIFY SET (personal (MailboxName))"),
        "a OK Completed\r\n"
    );
    server.create("user/user1/b");
    assert_eq!(
        client.news(),
        "* OK [NOTIFICATIONOVERFLOW] Too many mailboxes for notifications\r\n"
    );
    assert_eq!(
        client.line("b NOTIFY SET (personal (MailboxName))"),
        "b NO [NOTIFICATIONOVERFLOW] Too many mailboxes in Notify\r\n"
    );
    assert_eq!(
        client.line("c NOTIFY SET (mailboxes (a b) (MailboxName))"),
        "c OK Completed\r\n"
    );
}

#[test]
fn an_idling_client_is_told_at_a_hint_and_at_the_poll() {
    let server = server(&[]);
    let mut idler = logged_in(&server);
    let mut other = logged_in(&server);
    idler.line("b SELECT INBOX");
    assert_eq!(idler.line("c IDLE"), "+ idling\r\n");
    other.send(b"b APPEND INBOX {8+}\r\nA: b\r\n\r\n\r\n");
    assert_eq!(idler.hint(), "* 1 EXISTS\r\n* 1 RECENT\r\n");
    assert_eq!(idler.hint(), "");
    other.send(b"c APPEND INBOX {8+}\r\nA: b\r\n\r\n\r\n");
    assert_eq!(
        idler.wait(Duration::from_secs(61)),
        "* 2 EXISTS\r\n* 2 RECENT\r\n"
    );
    assert_eq!(idler.line("DONE"), "c OK Completed\r\n");
}

#[test]
fn the_answer_to_a_bad_login_is_held_back() {
    let server = server(&[]);
    let mut client = Client::connect(&server);
    client.output();
    let before = client.session.deadline();
    client.session.feed(b"a LOGIN user1 wrong\r\n", client.now());
    client.run_now();
    assert_eq!(client.output(), "");
    assert!(client.session.deadline() < before);
    let flood = vec![b'x'; 70_000];
    let said = client.send(&flood);
    assert_eq!(said, "* BYE Too much input\r\n");
    assert!(client.closed);
}

#[test]
fn a_large_message_goes_to_a_staging_file_and_back() {
    let server = server(&[]);
    let mut client = logged_in(&server);
    let mut message = b"Subject: large\r\n\r\n".to_vec();
    while message.len() < 300_000 {
        message.extend_from_slice(b"another line of text\r\n");
    }
    let size = message.len();
    assert_eq!(
        client.line(&format!("b APPEND INBOX (\\Seen) {{{size}}}")),
        "+ go ahead\r\n"
    );
    let mut rest = message.clone();
    rest.extend_from_slice(b"\r\n");
    for piece in rest.chunks(16_384) {
        client.session.feed(piece, client.now());
        client.run();
    }
    assert!(client.output().starts_with("b OK [APPENDUID "));
    client.line("c SELECT INBOX");
    let said = client.line("d FETCH 1 (FLAGS BODY[])");
    let start = format!("* 1 FETCH (FLAGS (\\Recent \\Seen) BODY[] {{{size}}}\r\n");
    assert!(said.starts_with(&start));
    assert_eq!(&said.as_bytes()[start.len()..start.len() + size], &message);
    assert!(said.ends_with(")\r\nd OK Completed (0.000 sec)\r\n") || said.contains(")\r\nd OK Completed ("));
    let refused = client.line("e APPEND nosuch {300000}");
    assert_eq!(refused, "e NO [TRYCREATE] Mailbox does not exist\r\n");
    assert_eq!(client.line("f NOOP"), "f OK Completed\r\n");
}

#[test]
fn eight_bit_headers_are_munged_and_bad_messages_refused_however_large_they_are() {
    let server = server(&[]);
    let mut client = logged_in(&server);
    for size in [0, 300_000] {
        let mut append = |header: &str, end: &str| {
            let message = format!("{header}\r\n\r\n{}{end}", "caf\u{e9}".repeat(size / 5));
            let before = client.line(&format!("b APPEND INBOX {{{}+}}", message.len()));
            assert_eq!(before, "");
            client.send(message.as_bytes());
            let said = client.line("");
            client.line("c SELECT INBOX");
            let fetched = client.line("d FETCH * BODY[]");
            client.line("d UNSELECT");
            (said, fetched)
        };
        let (said, fetched) = append("Subject: caf\u{e9}", "end");
        assert!(said.starts_with("b OK [APPENDUID "), "{said}");
        assert!(fetched.contains("Subject: cafXX\r\n\r\n") && fetched.contains("end"));
        assert_eq!(size > 0, fetched.contains("caf\u{e9}"));
        for (header, end, refusal) in [
            ("A: b", "\0", "b NO Message contains NUL characters\r\n"),
            ("A: b", "\n", "b NO Message contains bare newlines\r\n"),
            ("nope", "", "b NO Message contains invalid header\r\n"),
            ("nope\n", "\0", "b NO Message contains NUL characters\r\n"),
        ] {
            assert_eq!(append(header, end).0, refusal);
        }
    }
    let empty = client.line("e APPEND INBOX {0+}\r\n");
    assert_eq!(empty, "e NO Zero-length message literal\r\n");
    let nowhere = client.line("f APPEND nosuch {0+}\r\n");
    assert_eq!(nowhere, "f NO [TRYCREATE] Mailbox does not exist\r\n");
    let several = client.line("g APPEND INBOX {6+}\r\nA: b\r\n {5+}\r\nA: b\0 {0+}\r\n");
    assert_eq!(several, "g NO Message contains NUL characters\r\n");
    assert!(client.line("h SELECT INBOX").contains("* 2 EXISTS\r\n"));
}

#[test]
fn eight_bit_headers_are_refused_where_the_site_says_so() {
    let server = server(&[("reject8bit", "yes")]);
    let mut client = logged_in(&server);
    let said = client.line("b APPEND INBOX {17+}\r\nA: b\u{e9}\r\n\r\nhello12");
    assert_eq!(said, "b NO Message contains non-ASCII characters in headers\r\n");
    let said = client.line("c APPEND INBOX {17+}\r\nA: b\r\n\r\nhello1\u{e9}!");
    assert!(said.starts_with("c OK [APPENDUID "), "{said}");
}

#[test]
fn literals_and_lines_past_their_limits_are_refused() {
    let server = server(&[("maxmessagesize", "100000")]);
    let mut client = Client::connect(&server);
    client.output();
    assert_eq!(
        client.line("a LOGIN user1 {200000}"),
        "a NO [TOOBIG] Literal size exceeds fixed limit in LOGIN\r\n"
    );
    assert_eq!(
        client.line("a LOGIN {99999999999999999999}"),
        "a BAD Literal size not a number\r\n"
    );
    let long = format!("a LOGIN user1 {}", "x".repeat(70_000));
    assert_eq!(client.line(&long), "a BAD [TOOBIG] line too long\r\n");
    assert!(client.line("a LOGIN user1 pass").starts_with("a OK "));
    assert_eq!(
        client.line("b APPEND INBOX {100001}"),
        "b NO [TOOBIG] Message size exceeds fixed limit\r\n"
    );
    assert_eq!(
        client.line("c SEARCH SUBJECT {200000}"),
        "c NO [TOOBIG] Literal size exceeds fixed limit in SEARCH\r\n"
    );
    assert_eq!(
        client.line("d SELECT {200000+}"),
        "* BYE [TOOBIG] Literal size exceeds fixed limit\r\n"
    );
    assert!(client.closed);
}

#[test]
fn commands_may_be_sent_ahead() {
    let server = server(&[]);
    let mut client = Client::connect(&server);
    client.output();
    let said = client.send(b"a LOGIN user1 pass\r\nb SELECT INBOX\r\nc NOOP\r\nd LOGOUT\r\ne NOOP\r\n");
    let tags: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with('*'))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(tags, ["a", "b", "c", "d"]);
    assert!(client.closed);
}

#[test]
fn a_stopping_server_says_goodbye_after_the_command_in_hand() {
    let server = server(&[]);
    let mut client = logged_in(&server);
    client.session.shut_down(client.now());
    client.run();
    assert_eq!(client.output(), "* BYE Server is shutting down\r\n");
    assert!(client.closed);
}

#[test]
fn an_administrator_sees_deleted_mailboxes_and_users_do_not() {
    let server = server(&[]);
    let mut client = logged_in(&server);
    client.line("b CREATE gone");
    client.line("c DELETE gone");
    assert_eq!(client.line("d LIST \"\" *").lines().count(), 2);
    let mut admin = Client::connect(&server);
    admin.output();
    admin.line("a LOGIN admin pass");
    assert!(
        admin
            .line("b LIST \"\" DELETED/*")
            .contains("DELETED/user/user1/gone/")
    );
}

#[test]
fn an_idle_session_is_small() {
    assert!(std::mem::size_of::<cyrus_proto::imap::ImapSession>() <= 1_024);
}

#[test]
fn many_small_messages_in_one_append_go_to_files_when_memory_is_used_up() {
    let server = server(&[]);
    let mut client = logged_in(&server);
    let message = format!("Subject: one of many\r\n\r\n{}\r\n", "x".repeat(2000));
    let mut command = "b APPEND INBOX".to_owned();
    for _ in 0..700 {
        command.push_str(&format!(" {{{}+}}\r\n{message}", message.len()));
    }
    let reply = client.line(&command);
    assert!(reply.starts_with("b OK [APPENDUID "), "{reply}");
    let status = client.line("c STATUS INBOX (MESSAGES)");
    assert!(
        status.starts_with("* STATUS INBOX (MESSAGES 700)\r\n"),
        "{status}"
    );
}

/// A row of the mailbox list that says that another server has the mailbox.
fn put_on_another_server(server: &Server, name: &str) {
    let name = MailboxName::parse(name).expect("a mailbox name");
    let row = MailboxRow {
        mbtype: MailboxType {
            remote: true,
            ..MailboxType::of(MailboxKind::Email)
        },
        server: Some("other.example".to_owned()),
        partition: Some("default".to_owned()),
        acl: vec![("anyone".to_owned(), "lrs".to_owned())],
        ..MailboxRow::default()
    };
    server
        .service
        .store
        .restore_rows(&[(name, row)])
        .expect("the list can be written");
}

#[test]
fn a_mailbox_of_another_server_is_answered_with_a_referral() {
    let server = server(&[]);
    put_on_another_server(&server, "shared.far");
    let mut client = logged_in(&server);
    let referral =
        "NO [REFERRAL imap://user1;AUTH=*@other.example/Shared%20Folders/shared/far] Remote mailbox.\r\n";
    for (tag, command) in [
        ("b", "SELECT \"Shared Folders/shared/far\""),
        ("c", "STATUS \"Shared Folders/shared/far\" (MESSAGES)"),
        ("d", "GETMETADATA \"Shared Folders/shared/far\" /shared/comment"),
    ] {
        assert_eq!(
            client.line(&format!("{tag} {command}")),
            format!("{tag} {referral}")
        );
    }
    assert!(
        client
            .line("e RLIST \"\" \"Shared*\"")
            .contains("\"Shared Folders/shared/far\"")
    );
}

#[test]
fn whose_inbox_is_on_another_server_is_told_so_at_login() {
    let server = server(&[]);
    put_on_another_server(&server, "user.user2");
    let mut client = Client::connect(&server);
    client.output();
    let said = client.line("a LOGIN user2 pass");
    assert!(said.starts_with("* CAPABILITY IMAP4rev1 "), "{said}");
    assert!(
        said.contains("\r\na OK [REFERRAL imap://user2;AUTH=*@other.example/] User logged in"),
        "{said}"
    );
}
