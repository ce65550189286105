//! Framers: input cut anywhere gives what it gives whole. Logins: nobody gets in but with his password.

use std::convert::Infallible;

use cyrus_proto::frame::{Event, Framer, Limits};
use cyrus_proto::imap::command::parse;
use cyrus_proto::imap::url::ImapUrl;
use cyrus_proto::sasl::{Authenticator, ConnectionFacts, PasswordCheck, Policy, Turn};

/// The first octet says in pieces of which size the rest comes.
pub(crate) fn framer(data: &[u8]) {
    let Some((&size, input)) = data.split_first() else {
        return;
    };
    assert_eq!(
        commands(input, usize::from(size).max(1)),
        commands(input, input.len().max(1))
    );
}

fn commands(input: &[u8], size: usize) -> Vec<String> {
    let limits = Limits {
        line: 200,
        command: 1000,
        literals: 5,
    };
    let mut framer: Framer<Infallible> = Framer::new(limits);
    let mut found = Vec::new();
    for piece in input.chunks(size) {
        framer.push(piece);
        loop {
            match framer.next() {
                Event::NeedInput => break,
                Event::Literal(announced) => {
                    assert!(framer.so_far().len() <= limits.command + limits.line);
                    match announced.size % 3 {
                        0 => framer.refuse(),
                        _ => framer.accept_in_memory(),
                    }
                }
                Event::Command(command) => {
                    assert!(command.text.len() <= limits.command + limits.line);
                    found.push(format!("{:?}", command.text));
                }
                Event::Refused(refused) => found.push(format!("{refused:?}")),
            }
        }
    }
    found
}

/// A whole command, literals in their places.
pub(crate) fn imap_command(data: &[u8]) {
    match parse(data, &|_| None) {
        Ok(command) => {
            let mut written = Vec::new();
            command.write(&mut written);
            assert_eq!(
                parse(&written, &|_| None).as_ref(),
                Ok(&command),
                "what was written reads back"
            );
        }
        // A refusal is put into a response line of its own.
        Err(refusal) => assert!(!refusal.text.contains(['\r', '\n']), "{refusal:?}"),
    }
}

/// Administrators act for others; names have one spelling.
struct Names;

impl Policy for Names {
    fn canonical_user(&self, user: &str, _realm: Option<&str>) -> Option<String> {
        (!user.starts_with('-')).then(|| user.to_ascii_lowercase())
    }

    fn may_act_as(&self, authenticated_as: &str, _user: &str) -> bool {
        authenticated_as == "admin"
    }
}

/// The first line names a mechanism; if there is something after a space, that is the initial response. Each further line
/// answers a challenge. (Base64 is another crate's.) The password of everybody is his own name backwards.
pub(crate) fn sasl(data: &[u8]) {
    let is_password = |user: &str, password: &[u8]| user.bytes().rev().eq(password.iter().copied());
    let check = PasswordCheck::new(is_password).with_policy(std::sync::Arc::new(Names));
    let facts = ConnectionFacts {
        allow_plaintext: true,
        ..ConnectionFacts::default()
    };
    let mut lines = data.split(|&byte| byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let (mechanism, initial) = match first.iter().position(|&byte| byte == b' ') {
        Some(space) => (&first[..space], Some(&first[space + 1..])),
        None => (first, None),
    };
    let mechanism = String::from_utf8_lossy(mechanism);
    let mut told: Vec<&[u8]> = initial.into_iter().collect();
    let mut turn = check.start(&facts, &mechanism, initial);
    let login = loop {
        match turn {
            Ok(Turn::Challenge { exchange, .. }) => {
                let Some(line) = lines.next() else { return };
                told.push(line);
                assert!(told.len() <= 2, "no mechanism here asks more than twice");
                turn = exchange.step(line);
            }
            Ok(Turn::Done(login)) => break login,
            Err(_) => return,
        }
    };
    let (acting_as, user, password) = match told.as_slice() {
        [message] => {
            let parts: Vec<&[u8]> = message.split(|&byte| byte == 0).collect();
            let [acting_as, user, password] = parts.as_slice() else {
                panic!("{} parts of a PLAIN message were accepted", parts.len());
            };
            (*acting_as, *user, *password)
        }
        [user, password] => (&b""[..], *user, *password),
        _ => panic!("nobody is let in who said nothing"),
    };
    let acting_as = if acting_as.is_empty() { user } else { acting_as };
    assert_eq!(login.authenticated_as.as_bytes(), user.to_ascii_lowercase());
    assert_eq!(login.user.as_bytes(), acting_as.to_ascii_lowercase());
    assert!(is_password(&login.authenticated_as, password));
    assert!(login.user == login.authenticated_as || login.authenticated_as == "admin");
    assert!(login.layer.is_none());
}

pub(crate) fn imap_url(data: &[u8]) {
    let Ok(url) = ImapUrl::parse(data) else {
        return;
    };
    let mut text = Vec::new();
    url.write(&mut text);
    let again = ImapUrl::parse(&text).map(|mut again| {
        // The same URL may be written at another length, which moves the place of its verifier.
        if let (Some(again), Some(url)) = (&mut again.auth, &url.auth) {
            again.rump = url.rump;
        }
        again
    });
    assert_eq!(again, Ok(url), "what was written reads back");
}
