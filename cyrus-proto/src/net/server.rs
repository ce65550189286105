//! Reactors and workers together.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::observer::Observer;
use super::reactor::{Handle, Reactor};
use super::workers::Workers;

/// How many threads, and how patient.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// Event loops; each is a thread. One serves some thousand connections.
    pub reactors: usize,
    /// Threads that run jobs; with 0 they run in the event loops.
    pub workers: usize,
    /// Threads that there may be while jobs wait for locks or other servers and more jobs come.
    pub most_workers: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a peer may take nothing of what is to be sent to it.
    pub write_timeout: Duration,
}

impl Default for NetOptions {
    fn default() -> Self {
        Self {
            reactors: 1,
            workers: 4,
            most_workers: 64,
            handshake_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(300),
        }
    }
}

/// A server, ready to [`run`](Self::run).
///
/// ```no_run
/// # fn session(_: &cyrus_proto::job::Peer) -> Box<dyn cyrus_proto::job::Session> { unimplemented!() }
/// use std::sync::Arc;
/// use cyrus_proto::net::{Listener, NetOptions, Server, Service, Unobserved};
///
/// let server = Server::new(&NetOptions::default(), Arc::new(Unobserved))?;
/// let service = Arc::new(Service::new("imap", session));
/// server.handle().listen(Listener::tcp("127.0.0.1:14143".parse().unwrap())?, service);
/// server.run()?; // until some clone of the handle says stop()
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Server {
    reactors: Vec<Reactor>,
    workers: Option<Workers>,
    handle: Handle,
}

impl Server {
    /// Starts the workers and prepares the event loops.
    ///
    /// # Errors
    /// No threads or descriptors left.
    pub fn new(options: &NetOptions, observer: Arc<dyn Observer>) -> io::Result<Self> {
        let workers = match options.workers {
            0 => None,
            count => Some(Workers::start(count, options.most_workers, &observer)?),
        };
        let mut reactors = Vec::new();
        for _ in 0..options.reactors.max(1) {
            let submitter = workers.as_ref().map(Workers::submitter);
            reactors.push(Reactor::new(options, Arc::clone(&observer), submitter)?);
        }
        let handle = Handle::new(reactors.iter().map(Reactor::inbox).collect());
        Ok(Self {
            reactors,
            workers,
            handle,
        })
    }

    /// What controls the server, before and while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves, on this thread and one more for each further event loop, until stopped.
    ///
    /// Jobs that were accepted are run to their end, also those whose connections are cut off.
    ///
    /// # Errors
    /// A poll failed.
    pub fn run(self) -> io::Result<()> {
        let Self {
            mut reactors,
            workers,
            handle,
        } = self;
        let Some(first) = (!reactors.is_empty()).then(|| reactors.remove(0)) else {
            return Ok(());
        };
        let mut threads = Vec::new();
        for (number, reactor) in (1..).zip(reactors) {
            let handle = handle.clone();
            let thread = std::thread::Builder::new()
                .name(format!("reactor-{number}"))
                .spawn(move || reactor.run(handle))?;
            threads.push(thread);
        }
        let mut result = first.run(handle.clone());
        if result.is_err() {
            handle.stop(Duration::ZERO);
        }
        for thread in threads {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("an event loop panicked")));
            result = result.and(ended);
        }
        if let Some(workers) = workers {
            workers.finish();
        }
        result
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("reactors", &self.reactors.len())
            .finish_non_exhaustive()
    }
}
