//! A mailbox of a million messages: what costs should depend on the answer, not on the mailbox.
//!
//! The index is made up: there are no message files behind it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyrus_acl::AuthState;
use cyrus_proto::imap::{ImapOptions, ImapService, ImapSession};
use cyrus_proto::job::{Link, Peer, Session, Step};
use cyrus_proto::output::Output;
use cyrus_proto::sasl::PasswordCheck;
use cyrus_store::format::index::{IndexHeader, Record};
use cyrus_store::log::NoLog;
use cyrus_store::{MailboxError, MailboxName, Store, StoreOptions};
use divan::{Bencher, black_box};
use tempfile::TempDir;

const MESSAGES: u32 = 1_000_000;

fn main() {
    divan::main();
}

/// A service with an INBOX of [`MESSAGES`].
struct Site {
    service: Arc<ImapService>,
    uidvalidity: u32,
    _folder: TempDir,
}

fn find_index(folder: &Path) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find_index(&path) {
                return Some(found);
            }
        } else if path.file_name().is_some_and(|name| name == "cyrus.index") {
            return Some(path);
        }
    }
    None
}

impl Site {
    fn new() -> Result<Self, MailboxError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = StoreOptions::new(folder.path().join("conf"));
        let store = Store::open(options.partition("default", folder.path().join("spool")))?;
        store.create(&MailboxName::parse("user.bovik")?, &AuthState::system())?;
        let index = find_index(&folder.path().join("spool")).expect("the mailbox has an index");
        let file = fs::read(&index).expect("the index can be read");
        let mut header = IndexHeader::parse(&file).expect("a good index");
        let mut records = Vec::new();
        for uid in 1..=MESSAGES {
            let record = Record {
                uid,
                size: 1_000,
                internaldate: 1_795_555_315,
                modseq: u64::from(uid) + 1,
                ..Record::default()
            };
            records.extend_from_slice(&record.to_bytes(header.layout));
        }
        header.num_records = MESSAGES;
        header.exists = MESSAGES;
        header.unseen = MESSAGES;
        header.last_uid = MESSAGES;
        header.recentuid = MESSAGES;
        header.highestmodseq = u64::from(MESSAGES) + 1;
        header.quota_mailbox_used = u64::from(MESSAGES) * 1_000;
        let uidvalidity = header.uidvalidity;
        fs::write(&index, [header.to_bytes(), records].concat()).expect("the index can be written");
        let mut options = ImapOptions::new("localhost");
        options.allowplaintext = true;
        let service = Arc::new(ImapService {
            store,
            options,
            authenticator: Arc::new(PasswordCheck::new(|_, _| true)),
            log: Arc::new(NoLog),
        });
        Ok(Self {
            service,
            uidvalidity,
            _folder: folder,
        })
    }
}

/// A session in memory.
struct Client(ImapSession);

impl Client {
    fn new(site: &Site) -> Self {
        let mut session = ImapSession::new(site.service.clone());
        session.begin(&Link::detached(Peer::Unix), std::time::Instant::now());
        let mut client = Self(session);
        client.say("a LOGIN bovik x");
        client
    }

    /// Sends a command; octets of the answer.
    fn say(&mut self, line: &str) -> u64 {
        let now = std::time::Instant::now();
        self.0.feed(format!("{line}\r\n").as_bytes(), now);
        while let Step::Run(job) = self.0.step(now) {
            let mut output = Output::new();
            let done = job.run_to_end(&mut output);
            self.0.output().append(output);
            self.0.done(done, now);
        }
        let octets = self.0.output().len();
        self.0.output().clear();
        octets
    }
}

/// One command after SELECT, in a warm process.
#[divan::bench(args = [
    "NOOP",
    "UID FETCH 500000 FLAGS",
    "UID FETCH 1:* FLAGS (CHANGEDSINCE 999991)",
    "STATUS INBOX (MESSAGES UNSEEN SIZE HIGHESTMODSEQ)",
])]
fn after_select(bencher: Bencher<'_, '_>, command: &str) {
    let site = Site::new().expect("a fresh store");
    let mut client = Client::new(&site);
    client.say("b SELECT INBOX");
    let command = format!("c {command}");
    bencher.bench_local(|| black_box(client.say(&command)));
}

#[divan::bench]
fn select(bencher: Bencher<'_, '_>) {
    let site = Site::new().expect("a fresh store");
    let mut client = Client::new(&site);
    bencher.bench_local(|| black_box(client.say("b SELECT INBOX")));
}

/// SELECT (QRESYNC): ten messages changed.
#[divan::bench]
fn select_resync(bencher: Bencher<'_, '_>) {
    let site = Site::new().expect("a fresh store");
    let mut client = Client::new(&site);
    client.say("b ENABLE QRESYNC");
    let command = format!("c SELECT INBOX (QRESYNC ({} 999991))", site.uidvalidity);
    bencher.bench_local(|| black_box(client.say(&command)));
}

/// A change of one message, and that another session hears of it.
#[divan::bench]
fn store_and_hear(bencher: Bencher<'_, '_>) {
    let site = Site::new().expect("a fresh store");
    let mut client = Client::new(&site);
    client.say("b SELECT INBOX");
    let mut other = Client::new(&site);
    other.say("b SELECT INBOX");
    let mut on = false;
    bencher.bench_local(|| {
        on = !on;
        let sign = if on { '+' } else { '-' };
        let stored = client.say(&format!("c UID STORE 300000 {sign}FLAGS (\\Flagged)"));
        black_box((stored, other.say("d NOOP")))
    });
}

/// One message is expunged, and another session hears of it.
#[divan::bench]
fn expunge_and_hear(bencher: Bencher<'_, '_>) {
    let site = Site::new().expect("a fresh store");
    let mut client = Client::new(&site);
    client.say("b SELECT INBOX");
    let mut other = Client::new(&site);
    other.say("b SELECT INBOX");
    let mut uid = 1;
    bencher.bench_local(|| {
        uid += 7;
        client.say(&format!("c UID STORE {uid} +FLAGS.SILENT (\\Deleted)"));
        let expunged = client.say(&format!("c UID EXPUNGE {uid}"));
        black_box((expunged, other.say("d NOOP")))
    });
}
