//! The contract between a protocol session, the driver that moves its bytes, and the work that blocks.
//!
//! A session is a value: bytes in, steps out. A driver (the reactor of `net`, or a test, or an embedder with a
//! pair of pipes) repeats three things: feed what arrived, take steps until the session wants input, and write
//! what is in its [`Output`]. Whatever may block on disk, on a lock or on another server is a [`Job`]: an owned,
//! `Send` value that the driver runs wherever it likes, and hands back with [`Session::done`].
//!
//! ```text
//!            feed                     step                run                done
//!   bytes ----------> Session (parse) -----> Step::Run(Job) -----> Done -----------> Session (reply)
//!                        |                                |
//!                        +---- output() <-----------------+  replies, in order
//! ```

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::output::Output;

/// One protocol session: a state machine without sockets, files or clocks.
///
/// The driver promises: [`feed`](Self::feed) only after a step returned [`Step::NeedInput`]; no
/// [`step`](Self::step) between [`Step::Run`] and [`done`](Self::done); everything in
/// [`output`](Self::output) is sent before a step that changes the layers below or closes is carried out. `now` is the driver's clock; a session reads no other.
pub trait Session: Send {
    /// Called once, before anything else, when the connection is ready to carry the greeting.
    ///
    /// With implicit TLS the handshake is over by then and [`Session::secured`] was called before.
    fn begin(&mut self, link: &Link, now: Instant);

    /// Takes bytes that the peer sent; all of them, there is no partial acceptance.
    ///
    /// The driver feeds at most one read buffer at a time, so what a session holds is bounded by its framer's
    /// limits plus that.
    fn feed(&mut self, input: &[u8], now: Instant);

    /// Goes as far as possible with what was fed, and says what has to happen next.
    fn step(&mut self, now: Instant) -> Step;

    /// Takes the outcome of the job that the last [`Step::Run`] carried.
    ///
    /// What the job wrote is already at the end of [`output`](Self::output).
    fn done(&mut self, done: Done, now: Instant);

    /// Somebody called [`Link::wake`]: look again at whatever this session watches.
    ///
    /// A hint carries no data and may be lost, doubled, or late; the index on disk is the truth. Called also while a
    /// job runs, in which case the session makes a note of it. The driver steps the session afterwards.
    fn hint(&mut self, now: Instant) {
        let _ = now;
    }

    /// The moment named by [`deadline`](Self::deadline) has come. The driver steps the session afterwards.
    ///
    /// Called also while a job runs.
    fn tick(&mut self, now: Instant);

    /// When [`tick`](Self::tick) is wanted; asked after every call that might have changed it.
    fn deadline(&self) -> Option<Instant>;

    /// What is to be sent, in order.
    fn output(&mut self) -> &mut Output;

    /// The transport became, or already is, protected by TLS.
    ///
    /// After [`Step::StartTls`] the session must forget everything it was fed before: bytes that came in clear
    /// are not the peer's (RFC 3501, section 6.2.1; RFC 3207, section 4.2). The driver drops what it holds itself.
    fn secured(&mut self, tls: &TlsFacts) {
        let _ = tls;
    }

    /// The peer closed its side; nothing more will be fed. The driver steps the session on, and closes when that
    /// yields [`Step::NeedInput`].
    fn end_of_input(&mut self) {}

    /// The server is stopping: finish the command in hand, say goodbye, then return [`Step::Close`].
    fn shut_down(&mut self, now: Instant);

    /// The authenticated user, once there is one; telemetry starts when this first is `Some`.
    fn user(&self) -> Option<&str> {
        None
    }

    /// The id under which the log knows the session of [`user`](Self::user).
    fn session_id(&self) -> Option<&str> {
        None
    }

    /// The internal name of the selected mailbox. Asked while no job runs.
    fn mailbox(&self) -> Option<&str> {
        None
    }
}

/// What a session wants next.
pub enum Step {
    /// Wait for bytes (or for a hint, or for the deadline).
    NeedInput,
    /// Run this, then call [`Session::done`]; the session is parked until then.
    Run(Job),
    /// Send what is queued, then do a TLS handshake as a server, then call [`Session::secured`].
    StartTls,
    /// Send what is queued, then pass all later bytes through this layer, both ways.
    ///
    /// As with TLS, the session must forget what it was fed before: it was not protected.
    Secure(Box<dyn SecurityLayer>),
    /// Send what is queued, then compress what is sent, and decompress what comes (RFC 4978): these octets first, which came
    /// already. A security layer and TLS stay outside.
    Compress(Vec<u8>),
    /// Send what is queued, then end compression and the security layer, both ways; TLS stays (RFC 8437).
    ///
    /// What was fed stays the session's.
    Bare,
    /// Send what is queued, then close.
    Close,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeedInput => "NeedInput",
            Self::Run(_) => "Run",
            Self::StartTls => "StartTls",
            Self::Secure(_) => "Secure",
            Self::Compress(_) => "Compress",
            Self::Bare => "Bare",
            Self::Close => "Close",
        })
    }
}

/// Owned work that may block, in one piece or in several.
pub struct Job(Box<dyn Work>);

/// The body of a [`Job`].
pub trait Work: Send {
    /// Does a bounded piece of work and appends its replies to `output`.
    ///
    /// `budget` is the number of octets of output after which to return [`Progress::More`]; the driver calls again
    /// when they have been sent. Hold no lock across a `More`.
    fn run(&mut self, output: &mut Output, budget: usize) -> Progress;
}

/// How far a [`Work`] came.
pub enum Progress {
    /// Call again once the output so far is sent.
    More,
    /// Finished; this is for [`Session::done`].
    Done(Done),
}

impl Job {
    /// A job made of a type with its own state.
    pub fn new(work: impl Work + 'static) -> Self {
        Self(Box::new(work))
    }

    /// A job that runs once; `work`'s result is what [`Done::take`] yields.
    pub fn once<T: Send + 'static>(work: impl FnOnce(&mut Output) -> T + Send + 'static) -> Self {
        Self::new(Once(Some(work)))
    }

    /// Runs the next piece.
    pub fn run(&mut self, output: &mut Output, budget: usize) -> Progress {
        self.0.run(output, budget)
    }

    /// Runs every piece, ignoring the budget: for drivers without backpressure, such as tests.
    pub fn run_to_end(mut self, output: &mut Output) -> Done {
        loop {
            if let Progress::Done(done) = self.run(output, usize::MAX) {
                return done;
            }
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}

struct Once<F>(Option<F>);

impl<T: Send + 'static, F: FnOnce(&mut Output) -> T + Send> Work for Once<F> {
    fn run(&mut self, output: &mut Output, _budget: usize) -> Progress {
        match self.0.take() {
            Some(work) => Progress::Done(Done::new(work(output))),
            None => Progress::Done(Done::aborted()),
        }
    }
}

/// The outcome of a job, on its way back to the session that made the job.
pub struct Done(Option<Box<dyn Any + Send>>);

impl Done {
    /// Wraps the outcome of a job.
    pub fn new<T: Send + 'static>(outcome: T) -> Self {
        Self(Some(Box::new(outcome)))
    }

    /// The job did not run to its end (it panicked, or the server dropped it).
    pub fn aborted() -> Self {
        Self(None)
    }

    /// Whether there is no outcome because the job was aborted.
    pub fn is_aborted(&self) -> bool {
        self.0.is_none()
    }

    /// The outcome, if it is a `T`; a session asks for the one type all its jobs return.
    ///
    /// `None` means that the job was aborted (or is somebody else's): the session says so to the client.
    pub fn take<T: 'static>(self) -> Option<T> {
        self.0
            .and_then(|outcome| outcome.downcast::<T>().ok())
            .map(|outcome| *outcome)
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_aborted() {
            "Done(aborted)"
        } else {
            "Done"
        })
    }
}

/// What a session knows of its connection, and how others wake it.
///
/// A clone may be kept anywhere (in the store's subscriber table, say) and used from any thread, also after the
/// connection is gone.
#[derive(Clone)]
pub struct Link {
    wake: Arc<dyn Fn() + Send + Sync>,
    peer: Peer,
}

impl Link {
    /// A link whose `wake` is called for each hint.
    pub fn new(peer: Peer, wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { wake, peer }
    }

    /// A link for drivers that have nothing to wake.
    pub fn detached(peer: Peer) -> Self {
        Self::new(peer, Arc::new(|| {}))
    }

    /// Asks the driver to call [`Session::hint`] soon. Cheap, never blocks, any number of calls may become one.
    pub fn wake(&self) {
        (self.wake)();
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// The two ends of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// TCP, version 4 or 6.
    Tcp {
        /// The client.
        remote: std::net::SocketAddr,
        /// The address it connected to.
        local: std::net::SocketAddr,
    },
    /// A socket in the file system, or a pair of pipes.
    Unix,
}

impl Peer {
    /// The text that log lines and `Received` fields show: `[192.0.2.1]`, or `[unix socket]`.
    pub fn log_name(&self) -> String {
        match self {
            Self::Tcp { remote, .. } => format!("[{}]", remote.ip().to_canonical()),
            Self::Unix => "[unix socket]".to_owned(),
        }
    }
}

/// What a TLS handshake established.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// Strength in bits, SASL's external SSF.
    pub strength_bits: u32,
    /// `TLSv1.3` and the like.
    pub version: String,
    /// The cipher's name.
    pub cipher: String,
    /// The identity in a verified client certificate, for SASL EXTERNAL; `None` when no certificate came.
    pub client_identity: Option<String>,
    /// What ties a login to this connection, best first.
    pub channel_bindings: Vec<ChannelBinding>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

/// Data that only the two ends of one TLS connection have in common (RFC 5056).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelBinding {
    /// `tls-exporter` (RFC 9266), `tls-unique` or `tls-server-end-point` (RFC 5929).
    pub name: &'static str,
    /// The data.
    pub data: Vec<u8>,
}

/// A layer that SASL negotiated: integrity or encryption of everything after the login.
pub trait SecurityLayer: Send {
    /// Appends the protected form of `clear` to `wire`.
    fn encode(&mut self, clear: &[u8], wire: &mut Vec<u8>) -> Result<(), LayerError>;

    /// Appends what `wire` completes to `clear`; packets may arrive in pieces.
    fn decode(&mut self, wire: &[u8], clear: &mut Vec<u8>) -> Result<(), LayerError>;
}

/// The peer sent bytes that its own security layer refuses, or the layer broke: the connection must close.
#[derive(Debug, thiserror::Error)]
#[error("security layer: {0}")]
pub struct LayerError(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_once_job_hands_its_result_to_done() {
        let mut output = Output::new();
        let done = Job::once(|out: &mut Output| {
            out.put(b"* OK\r\n");
            7_u32
        })
        .run_to_end(&mut output);
        assert_eq!(done.take::<u32>(), Some(7));
        assert_eq!(output.to_vec().expect("memory only"), b"* OK\r\n");
    }

    #[test]
    fn an_outcome_of_another_type_is_refused() {
        assert_eq!(Done::new("text").take::<u32>(), None);
        assert!(Done::aborted().is_aborted());
    }

    #[test]
    fn work_in_pieces_runs_until_done() {
        struct Count(u32);
        impl Work for Count {
            fn run(&mut self, output: &mut Output, _budget: usize) -> Progress {
                output.put(b"x");
                self.0 -= 1;
                if self.0 == 0 {
                    Progress::Done(Done::new(()))
                } else {
                    Progress::More
                }
            }
        }
        let mut output = Output::new();
        let done = Job::new(Count(3)).run_to_end(&mut output);
        assert_eq!(done.take::<()>(), Some(()));
        assert_eq!(output.len(), 3);
    }
}
