//! Framers: input cut anywhere gives what it gives whole.

use std::convert::Infallible;

use cyrus_proto::frame::{Event, Framer, Limits};
use cyrus_proto::imap::command::parse;
use cyrus_proto::imap::url::ImapUrl;

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
