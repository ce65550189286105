//! The mio core: sockets, TLS, timers and worker threads around sans-I/O sessions.
//!
//! ```text
//!   listener --accept--> reactor 0 --round robin--> reactor N
//!                                                     | owns
//!                                                     v
//!                                  connection: socket, TLS, SASL layer, session
//!                                     |  Step::Run(job)             ^ inbox + waker
//!                                     v                             |
//!                                  workers (threads that may block) -
//! ```
//!
//! A connection belongs to one reactor thread for its whole life; nothing of it is shared or locked. Each has at
//! most one job in flight, so the workers' queue never holds more entries than there are connections, and the number of
//! connections is limited. With `workers: 0` jobs run inside the reactor: for tests, examples and tiny servers.

pub use self::listener::Listener;
pub use self::observer::{Observer, Presence, Transcript, Unobserved};
pub use self::reactor::{Handle, Service, ServiceId, SessionMaker};
pub use self::server::{NetOptions, Server};
pub use self::stream::Stream;
pub use self::tls::{
    ClientCertificates, ConnectTlsOptions, Handshake, Identity, TlsError, TlsOptions, TlsPipe, TlsRead,
    TlsServer, TlsVersion, connect_tls,
};

mod connection;
mod listener;
mod observer;
mod reactor;
mod server;
mod stream;
mod timer;
pub(crate) mod tls;
mod workers;
