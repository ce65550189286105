//! A throw-away IMAP server for the tests of a mail client.
//!
//! It starts in milliseconds on a port of its own, holds the messages that it is given, and is gone, spool and all, when
//! the value is dropped.
//!
//! ```
//! # fn main() -> Result<(), throwaway::Failure> {
//! let server = throwaway::Server::start("fred", "secret")?;
//! server.add("INBOX", b"Subject: hello\r\n\r\nHi.\r\n")?;
//! let client = std::net::TcpStream::connect(server.address())?;
//! # drop(client);
//! # Ok(())
//! # }
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use cyrus_acl::AuthState;
use cyrus_proto::imap::{ImapOptions, ImapService, ImapSession};
use cyrus_proto::net::{self, Handle, Listener, NetOptions, Unobserved};
use cyrus_proto::sasl::PasswordCheck;
use cyrus_store::log::NoLog;
use cyrus_store::{MailboxName, Namespace, NewMessage, Store, StoreOptions};
use tempfile::TempDir;

/// What goes wrong when the server is set up.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A running server with one user.
pub struct Server {
    address: SocketAddr,
    store: Store,
    user: String,
    namespace: Namespace,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    _spool: TempDir,
}

impl Server {
    /// Starts a server on a free loopback port; the user has an empty INBOX.
    ///
    /// # Errors
    /// No temporary directory, no port, or the user's name cannot be one.
    pub fn start(user: &str, password: &str) -> Result<Self, Failure> {
        let spool = TempDir::new()?;
        let options = StoreOptions::new(spool.path().join("conf"));
        let store = Store::open(options.partition("default", spool.path().join("spool")))?;
        store.create(&MailboxName::inbox_of(user)?, &AuthState::system())?;

        let mut options = ImapOptions::new("localhost");
        options.allowplaintext = true;
        options.failedloginpause = Duration::ZERO;
        let namespace = options.namespace.clone();
        let (name, secret) = (user.to_owned(), password.to_owned());
        let check = move |user: &str, password: &[u8]| user == name && password == secret.as_bytes();
        let service = Arc::new(ImapService {
            store: store.clone(),
            options,
            authenticator: Arc::new(PasswordCheck::new(check)),
            log: Arc::new(NoLog),
        });

        let listener = Listener::tcp(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = listener.local_addr().ok_or("the listener has no address")?;
        let server = net::Server::new(&NetOptions::default(), Arc::new(Unobserved))?;
        let handle = server.handle();
        let sessions = net::Service::new("imap", move |_| Box::new(ImapSession::new(Arc::clone(&service))));
        handle.listen(listener, Arc::new(sessions));
        // It ends by `stop`; a poll that fails ends it too, and the client under test will notice.
        let thread = std::thread::spawn(move || drop(server.run()));
        Ok(Self {
            address,
            store,
            user: user.to_owned(),
            namespace,
            handle,
            thread: Some(thread),
            _spool: spool,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The store behind it, for whatever a test wants to arrange or check.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Puts a message into one of the user's mailboxes, which is made if it is missing. Line ends become CRLF.
    ///
    /// # Errors
    /// The name cannot be a mailbox's, or the message holds a NUL.
    pub fn add(&self, mailbox: &str, message: &[u8]) -> Result<(), Failure> {
        let auth = self.store.auth(&self.user)?;
        let name = self.namespace.to_internal(mailbox, Some(&self.user), false)?;
        if self.store.lookup(&name)?.is_none() {
            self.store.create(&name, &auth)?;
        }
        self.store
            .open_mailbox(&name, &auth)?
            .append(NewMessage::from_bytes(with_crlf(message)))?;
        Ok(())
    }

    /// Puts every `.eml` file of a folder into one of the user's mailboxes, in the order of their names, and returns how
    /// many there were.
    ///
    /// # Errors
    /// As [`Server::add`], or a file cannot be read.
    pub fn add_folder(&self, mailbox: &str, folder: &Path) -> Result<usize, Failure> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "eml") {
                files.push(path);
            }
        }
        files.sort();
        for file in &files {
            self.add(mailbox, &std::fs::read(file)?)?;
        }
        Ok(files.len())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.stop(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            // It panicked, or it did not: the server is gone either way.
            let _ = thread.join();
        }
    }
}

fn with_crlf(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 32);
    let mut previous = 0;
    for &byte in message {
        if byte == b'\n' && previous != b'\r' {
            out.push(b'\r');
        }
        out.push(byte);
        previous = byte;
    }
    out
}
