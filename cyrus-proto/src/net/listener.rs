//! Listening sockets: made here with a deep backlog, or inherited.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::stream::{Stream, retry};

/// A non-blocking listening stream socket.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Connections that may wait to be accepted. The kernel cuts it to `net.core.somaxconn`.
    ///
    /// A thousand clients that connect at once overflow the usual 128, and each one dropped waits a second for its
    /// retransmission.
    pub const BACKLOG: i32 = 4096;

    /// Listens on a TCP address; port 0 lets the system choose (see [`Listener::local_addr`]).
    ///
    /// A version 6 wildcard takes version 6 connections only, so that both may be listened to.
    ///
    /// # Errors
    /// The address is in use, or not ours, or not allowed.
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let socket = stream_socket(family)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, Self::BACKLOG)?;
        Ok(Self(socket))
    }

    /// Listens on a socket in the file system, replacing one that is there.
    ///
    /// The mode is left to the umask; who may connect is decided by the folder.
    ///
    /// # Errors
    /// The path is too long for a socket, is something else than a socket, or its folder is not writable.
    pub fn unix(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::FileTypeExt;
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "exists and is no socket",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let socket = stream_socket(AddressFamily::UNIX)?;
        rustix::net::bind(&socket, &rustix::net::SocketAddrUnix::new(path)?)?;
        rustix::net::listen(&socket, Self::BACKLOG)?;
        Ok(Self(socket))
    }

    /// Takes a socket that listens already, handed over by a master process or a socket activator.
    ///
    /// # Errors
    /// It is no stream socket, or does not listen.
    pub fn inherited(socket: OwnedFd) -> io::Result<Self> {
        let wrong = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        if sockopt::socket_type(&socket)? != SocketType::STREAM {
            return wrong("the inherited descriptor is no stream socket");
        }
        if !sockopt::socket_acceptconn(&socket)? {
            return wrong("the inherited socket does not listen");
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        Ok(Self(socket))
    }

    /// The TCP address listened on; `None` for a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        rustix::net::getsockname(&self.0)
            .ok()
            .and_then(|address| SocketAddr::try_from(address).ok())
    }

    /// The next connection; `WouldBlock` when none waits.
    pub(super) fn accept(&self) -> io::Result<Stream> {
        let fd = retry(|| {
            Ok(rustix::net::accept_with(
                &self.0,
                SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            )?)
        })?;
        Stream::from_fd(fd)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_wildcards_share_a_port() {
        let four = Listener::tcp("0.0.0.0:0".parse().unwrap()).unwrap();
        let port = four.local_addr().unwrap().port();
        // A machine without version 6 cannot show it.
        match Listener::tcp(format!("[::]:{port}").parse().unwrap()) {
            Ok(_) => {}
            Err(error) => assert_eq!(
                error.raw_os_error(),
                Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
            ),
        }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_another_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lmtp");
        drop(Listener::unix(&path).unwrap());
        drop(Listener::unix(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(
            Listener::unix(&path).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
    }

    #[test]
    fn an_inherited_descriptor_must_listen() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Listener::inherited(one.into()).is_err());
        let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = Listener::inherited(listening.into()).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
