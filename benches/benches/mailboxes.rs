//! Mailboxes on a real disk: opening, appending, reading the index, and FETCH through an IMAP session.

use std::sync::Arc;

use cyrus_acl::AuthState;
use cyrus_proto::drive::drive;
use cyrus_proto::imap::{ImapOptions, ImapService, ImapSession};
use cyrus_proto::job::{Link, Peer};
use cyrus_proto::sasl::PasswordCheck;
use cyrus_store::log::NoLog;
use cyrus_store::{FlagChange, FlagMode, FlagNames};
use cyrus_store::{MailboxError, MailboxName, NewMessage, Store, StoreOptions, SystemFlags, Uid, UidSet};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tempfile::TempDir;

const MESSAGES: u32 = 10_000;

fn main() {
    divan::main();
}

/// A store with an INBOX of so many messages, as its owner sees it.
struct Site {
    store: Store,
    inbox: MailboxName,
    owner: AuthState,
    _folder: TempDir,
}

impl Site {
    fn with(count: u32) -> Result<Self, MailboxError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = StoreOptions::new(folder.path().join("conf"));
        let store = Store::open(options.partition("default", folder.path().join("spool")))?;
        let inbox = MailboxName::parse("user.bovik")?;
        store.create(&inbox, &AuthState::system())?;
        let owner = AuthState::user("bovik").expect("a userid");
        let mut mailbox = store.open_mailbox(&inbox, &owner)?;
        let messages: Vec<_> = (0..count)
            .map(|number| NewMessage::from_bytes(message(number)))
            .collect();
        if !messages.is_empty() {
            mailbox.append(messages)?;
        }
        Ok(Self {
            store,
            inbox,
            owner,
            _folder: folder,
        })
    }
}

/// A message of some 4 KiB that no other is equal to.
fn message(number: u32) -> Vec<u8> {
    let mut text = format!(
        "From: Harry Bovik <bovik@example.com>\r\nTo: Fred Foobar <fred@example.com>\r\nSubject: number {number}\r\n\
         Date: Tue, 24 Nov 2026 18:36:21 +0000\r\nMessage-ID: <{number}@bench.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n"
    );
    for line in 0..60 {
        text.push_str(&format!(
            "line {line} of message {number}: all work and no play makes Jack a dull boy\r\n"
        ));
    }
    text.into_bytes()
}

#[divan::bench]
fn open_and_read_the_index(bencher: Bencher<'_, '_>) {
    let site = Site::with(MESSAGES).expect("a fresh store");
    bencher.bench_local(|| -> Result<_, MailboxError> {
        let mut mailbox = site.store.open_mailbox(&site.inbox, &site.owner)?;
        let read = mailbox.read()?;
        Ok((read.exists(), read.first_unseen()?))
    });
}

#[divan::bench]
fn append_durably(bencher: Bencher<'_, '_>) {
    let site = Site::with(0).expect("a fresh store");
    let mut mailbox = site
        .store
        .open_mailbox(&site.inbox, &site.owner)
        .expect("the mailbox just made");
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        mailbox.append(NewMessage::from_bytes(message(number)))
    });
}

#[divan::bench]
fn append_twenty_durably(bencher: Bencher<'_, '_>) {
    let site = Site::with(0).expect("a fresh store");
    let mut mailbox = site
        .store
        .open_mailbox(&site.inbox, &site.owner)
        .expect("the mailbox just made");
    let mut number = 0;
    bencher.counter(ItemsCount::new(20_usize)).bench_local(|| {
        number += 20;
        let batch: Vec<_> = (number..number + 20)
            .map(|n| NewMessage::from_bytes(message(n)))
            .collect();
        mailbox.append(batch)
    });
}

#[divan::bench]
fn flag_all(bencher: Bencher<'_, '_>) {
    let site = Site::with(MESSAGES).expect("a fresh store");
    let mut mailbox = site
        .store
        .open_mailbox(&site.inbox, &site.owner)
        .expect("the mailbox just made");
    let mut on = false;
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        on = !on;
        let change = FlagChange {
            mode: if on { FlagMode::Add } else { FlagMode::Remove },
            flags: FlagNames::from(SystemFlags::FLAGGED),
        };
        mailbox.store_flags(&UidSet::from(Uid::MIN..=Uid::MAX), &change, None)
    });
}

/// One IMAP session that logs in, selects, and runs `command`; octets of its replies.
fn session(site: &Site, command: &str) -> usize {
    let mut options = ImapOptions::new("localhost");
    options.allowplaintext = true;
    let service = Arc::new(ImapService {
        store: site.store.clone(),
        options,
        authenticator: Arc::new(PasswordCheck::new(|_, _| true)),
        log: Arc::new(NoLog),
    });
    let script = format!("a LOGIN bovik x\r\nb SELECT INBOX\r\nc {command}\r\nd LOGOUT\r\n");
    let mut replies = Vec::new();
    let link = Link::detached(Peer::Unix);
    let outcome = drive(
        &mut ImapSession::new(service),
        script.as_bytes(),
        &mut replies,
        &link,
    );
    assert!(outcome.is_ok() && replies.windows(6).any(|window| window == b"\r\nc OK"));
    replies.len()
}

#[divan::bench(args = [
    "FETCH 1:* FLAGS",
    "FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)",
    "FETCH 1:* BODY.PEEK[]",
    "UID SEARCH SUBJECT \"number 77\"",
])]
fn imap(bencher: Bencher<'_, '_>, command: &str) {
    let site = Site::with(MESSAGES).expect("a fresh store");
    bencher
        .counter(ItemsCount::new(MESSAGES))
        .bench_local(|| black_box(session(&site, command)));
}

#[divan::bench]
fn select_and_logout(bencher: Bencher<'_, '_>) {
    let site = Site::with(MESSAGES).expect("a fresh store");
    bencher.bench_local(|| black_box(session(&site, "NOOP")));
}
