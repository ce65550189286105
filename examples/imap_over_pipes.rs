//! Serves one IMAP session over standard input and output: `imap_over_pipes CONFIGDIR SPOOL USER PASSWORD`
//!
//! No socket, no threads, no event loop: a session is a value that turns bytes into replies and jobs.

use std::error::Error;
use std::io;
use std::sync::Arc;

use cyrus_proto::drive::drive;
use cyrus_proto::imap::{ImapOptions, ImapService, ImapSession};
use cyrus_proto::job::{Link, Peer};
use cyrus_proto::sasl::PasswordCheck;
use cyrus_store::log::NoLog;
use cyrus_store::{Store, StoreOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [config, spool, user, password] = &args[..] else {
        return Err("usage: imap_over_pipes CONFIGDIR SPOOL USER PASSWORD".into());
    };
    let (user, password) = (user.clone(), password.clone());
    let mut options = ImapOptions::new("localhost");
    options.allowplaintext = true;
    let service = Arc::new(ImapService {
        store: Store::open(StoreOptions::new(config).partition("default", spool))?,
        options,
        authenticator: Arc::new(PasswordCheck::new(move |name, given| {
            name == user && given == password.as_bytes()
        })),
        log: Arc::new(NoLog),
    });
    let mut session = ImapSession::new(service);
    let link = Link::detached(Peer::Unix);
    drive(&mut session, io::stdin().lock(), io::stdout().lock(), &link)?;
    Ok(())
}
