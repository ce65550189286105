//! A connected, non-blocking stream socket.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use rustix::net::AddressFamily;

use crate::job::Peer;
use crate::output::{Chunk, Output};

/// A connected stream socket, TCP or unix.
#[derive(Debug)]
pub enum Stream {
    /// TCP, version 4 or 6.
    Tcp(TcpStream),
    /// A unix stream socket.
    Unix(UnixStream),
}

impl Stream {
    /// Takes a connected stream socket of either kind, such as one that inetd or a master process handed over.
    ///
    /// # Errors
    /// The descriptor is no connected stream socket.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        match rustix::net::sockopt::socket_domain(&fd)? {
            AddressFamily::UNIX => Ok(Self::Unix(UnixStream::from(fd))),
            AddressFamily::INET | AddressFamily::INET6 => Ok(Self::Tcp(TcpStream::from(fd))),
            other => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "the socket's address family {} is neither internet nor unix",
                    other.as_raw()
                ),
            )),
        }
    }

    /// The two ends; a TCP peer that is gone already is an error.
    pub(super) fn peer(&self) -> io::Result<Peer> {
        match self {
            Self::Tcp(tcp) => Ok(Peer::Tcp {
                remote: tcp.peer_addr()?,
                local: tcp.local_addr()?,
            }),
            Self::Unix(_) => Ok(Peer::Unix),
        }
    }

    /// Non-blocking, and without Nagle's delay: replies are gathered by the output queue, not by the kernel.
    pub(super) fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => {
                tcp.set_nonblocking(true)?;
                // Fails on a connection that was reset meanwhile; the next read says so.
                let _ = tcp.set_nodelay(true);
                let _ = rustix::net::sockopt::set_socket_keepalive(tcp, true);
                Ok(())
            }
            Self::Unix(unix) => unix.set_nonblocking(true),
        }
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        retry(|| match self {
            Self::Tcp(tcp) => { tcp }.read(buffer),
            Self::Unix(unix) => { unix }.read(buffer),
        })
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        retry(|| match self {
            Self::Tcp(tcp) => { tcp }.write(bytes),
            Self::Unix(unix) => { unix }.write(bytes),
        })
    }

    /// Sends from the front of `output` in one system call and consumes what was sent.
    ///
    /// Runs in memory go together in one gathering write; a file slice goes by `sendfile`.
    pub(super) fn send(&self, output: &mut Output) -> io::Result<u64> {
        let sent = match output.front() {
            None => return Ok(0),
            Some(Chunk::File { file, offset, len }) => {
                let mut from = *offset;
                let count = usize::try_from(*len).unwrap_or(usize::MAX).min(MAX_SENDFILE);
                let sent = retry(|| Ok(rustix::fs::sendfile(self, file, Some(&mut from), count)?))?;
                if sent == 0 {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("a file being sent ends at byte {offset}, {len} short"),
                    ));
                }
                sent
            }
            Some(_) => {
                let mut slices = [IoSlice::new(&[]); GATHER];
                let mut count = 0;
                for (slice, bytes) in slices.iter_mut().zip(output.chunks().map_while(Chunk::memory)) {
                    *slice = IoSlice::new(bytes);
                    count += 1;
                }
                let slices = slices.get(..count).unwrap_or_default();
                retry(|| match self {
                    Self::Tcp(tcp) => { tcp }.write_vectored(slices),
                    Self::Unix(unix) => { unix }.write_vectored(slices),
                })?
            }
        };
        output.consume(sent as u64);
        Ok(sent as u64)
    }

    /// Tells the peer that nothing more comes.
    pub(super) fn finish(&self) {
        // It may be gone already, which is as good.
        let _ = match self {
            Self::Tcp(tcp) => tcp.shutdown(Shutdown::Write),
            Self::Unix(unix) => unix.shutdown(Shutdown::Write),
        };
    }
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp)
    }
}

impl From<UnixStream> for Stream {
    fn from(unix: UnixStream) -> Self {
        Self::Unix(unix)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Repeats a call that a signal interrupted.
pub(super) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Runs gathered in one write.
const GATHER: usize = 16;

/// Octets asked of one `sendfile`; Linux moves at most 2 GiB at a time.
const MAX_SENDFILE: usize = 1 << 30;
