//! The child's side of the protocol between master and its services.
//!
//! Master leaves two descriptors to a service: 3, a pipe on which the service reports what it does, and 4, the listening
//! socket. `docs/SERVICE-PROTOCOL.md` has the details; both our master and Cyrus's speak it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::sync::Mutex;

use crate::sys;

/// Whether a process waits for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It takes the next connection; master leaves the socket alone.
    Ready,
    /// It takes none; master starts another process when one comes.
    Busy,
}

/// One report of a service to master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// What the process does from now on.
    pub(crate) status: Status,
    /// Whether it reports a connection.
    pub(crate) served: bool,
    /// The process.
    pub(crate) pid: u32,
}

impl Message {
    /// Reads one message; `None` for a number that is not in the protocol.
    pub(crate) fn decode(bytes: &[u8; MESSAGE_SIZE]) -> Option<Self> {
        let [a, b, c, d, pid @ ..] = *bytes;
        let (status, served) = match i32::from_ne_bytes([a, b, c, d]) {
            AVAILABLE => (Status::Ready, false),
            UNAVAILABLE => (Status::Busy, false),
            CONNECTION => (Status::Busy, true),
            CONNECTION_MULTI => (Status::Ready, true),
            _ => return None,
        };
        let pid = u32::try_from(i32::from_ne_bytes(pid)).ok()?;
        Some(Self { status, served, pid })
    }

    pub(crate) fn encode(self) -> [u8; MESSAGE_SIZE] {
        let number = match (self.status, self.served) {
            (Status::Ready, false) => AVAILABLE,
            (Status::Busy, false) => UNAVAILABLE,
            (Status::Busy, true) => CONNECTION,
            (Status::Ready, true) => CONNECTION_MULTI,
        };
        let mut bytes = [0; MESSAGE_SIZE];
        let (first, second) = bytes.split_at_mut(4);
        first.copy_from_slice(&number.to_ne_bytes());
        second.copy_from_slice(&self.pid.to_ne_bytes());
        bytes
    }
}

/// This process as a service of some master.
///
/// A process that serves many connections at a time stays ready from its start to its end: it reports each connection
/// with [`connection`](Self::connection), which keeps it ready, and [`busy`](Self::busy) once, when it stops taking
/// connections (after SIGHUP, so that master starts a successor while the old connections end).
#[derive(Debug)]
pub struct MasterLink {
    listener: Mutex<Option<OwnedFd>>,
    status: Mutex<File>,
    service: String,
    index: u32,
}

impl MasterLink {
    /// Takes over what master left to this process; `None` when it was not started by one.
    ///
    /// Call it first of all: before anything else opens a descriptor.
    pub fn take() -> Option<Self> {
        let service = std::env::var("CYRUS_SERVICE")
            .ok()
            .filter(|name| !name.is_empty())?;
        if std::env::var_os("CYRUS_ISDAEMON").is_some() {
            return None;
        }
        let index = std::env::var("CYRUS_ID")
            .ok()
            .and_then(|id| id.parse().ok())
            .unwrap_or(0);
        let status = sys::inherited(sys::STATUS)?;
        let listener = sys::inherited(sys::LISTENER)?;
        Some(Self {
            listener: Mutex::new(Some(listener)),
            status: Mutex::new(File::from(status)),
            service,
            index,
        })
    }

    /// The name of the service in cyrus.conf: the ident of its settings and log lines.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The place of the listening address among those of the service.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Whether the listening socket is a unix socket.
    pub fn is_unix(&self) -> bool {
        let listener = self
            .listener
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        listener.as_ref().is_some_and(|socket| {
            rustix::net::getsockname(socket)
                .is_ok_and(|address| address.address_family() == rustix::net::AddressFamily::UNIX)
        })
    }

    /// The listening socket; gives it once.
    pub fn listener(&self) -> Option<OwnedFd> {
        self.listener
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take()
    }

    /// Reports that this process waits for connections again after [`busy`](Self::busy).
    pub fn ready(&self) -> io::Result<()> {
        self.tell(Status::Ready, false)
    }

    /// Reports that this process takes no further connection.
    pub fn busy(&self) -> io::Result<()> {
        self.tell(Status::Busy, false)
    }

    /// Reports a connection, while this process goes on taking others.
    pub fn connection(&self) -> io::Result<()> {
        self.tell(Status::Ready, true)
    }

    fn tell(&self, status: Status, served: bool) -> io::Result<()> {
        let message = Message {
            status,
            served,
            pid: std::process::id(),
        };
        let mut pipe = self
            .status
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        pipe.write_all(&message.encode())
    }
}

/// The other end of a master that waits for this process, a program of DAEMON with `wait=y`.
///
/// There is none when master does not wait, which is also so when it restarts the daemon.
#[derive(Debug)]
pub struct WaitingMaster(File);

impl WaitingMaster {
    /// Takes over descriptor 3. Call it first of all: before anything else opens a descriptor.
    pub fn take() -> Option<Self> {
        std::env::var_os("CYRUS_ISDAEMON")?;
        let file = File::from(sys::inherited(sys::STATUS)?);
        let is_pipe = file
            .metadata()
            .is_ok_and(|metadata| metadata.file_type().is_fifo());
        is_pipe.then_some(Self(file))
    }

    /// Reports that this process is up; master goes on.
    pub fn ready(mut self) -> io::Result<()> {
        self.0.write_all(DAEMON_UP)
    }
}

/// What a waited-for daemon writes.
pub(crate) const DAEMON_UP: &[u8] = b"ok\r\n";

/// The size of a message: two C ints in the byte order of the machine.
pub(crate) const MESSAGE_SIZE: usize = 8;

const AVAILABLE: i32 = 1;
const UNAVAILABLE: i32 = 2;
const CONNECTION: i32 = 3;
const CONNECTION_MULTI: i32 = 4;

/// Keeps the numbers 3 and 4, which children use, from being given to a descriptor of this process's own.
pub(crate) fn reserve_descriptors() {
    let mut kept: Vec<OwnedFd> = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        if file.as_raw_fd() > sys::LISTENER {
            break;
        }
        kept.push(file.into());
    }
    std::mem::forget(kept); // open as long as the process lives
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_have_the_numbers_that_real_daemons_write() {
        // As seen from imapd 3.6.1, pid 17449, on a little-endian machine.
        if cfg!(target_endian = "little") {
            let message = Message {
                status: Status::Busy,
                served: true,
                pid: 17449,
            };
            assert_eq!(message.encode(), *b"\x03\0\0\0)D\0\0");
            assert_eq!(
                Message::decode(b"\x01\0\0\0)D\0\0").unwrap().status,
                Status::Ready
            );
            assert_eq!(Message::decode(b"\x02\0\0\0)D\0\0").unwrap().status, Status::Busy);
        }
        assert_eq!(Message::decode(&[0xff; 8]), None);
        assert_eq!(Message::decode(&[0; 8]), None);
    }

    proptest! {
        #[test]
        fn every_message_survives_the_pipe(ready: bool, served: bool, pid in 0..i32::MAX as u32) {
            let status = if ready { Status::Ready } else { Status::Busy };
            let message = Message { status, served, pid };
            prop_assert_eq!(Message::decode(&message.encode()), Some(message));
        }

        #[test]
        fn no_bytes_upset_the_reader(bytes: [u8; 8]) {
            let _ = Message::decode(&bytes);
        }
    }
}
