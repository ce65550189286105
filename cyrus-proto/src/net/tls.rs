//! TLS as a pipe: bytes from the wire in, clear bytes out, and the other way round.
//!
//! A [`TlsPipe`] does no I/O; the connection moves its bytes. `openssl` is behind it when serving, because it alone
//! offers TLS 1.3, client certificates and cipher settings there; `native-tls` when connecting out.

use std::io::{self, Read, Write};

#[cfg(feature = "oauth")]
pub(crate) use self::connect::connector;
pub use self::connect::{ConnectTlsOptions, connect_tls};
pub use self::serve::{ClientCertificates, Identity, TlsOptions, TlsServer, TlsVersion};
use crate::job::TlsFacts;

mod connect;
mod serve;

/// One side of a TLS connection, without its socket.
pub trait TlsPipe: Send {
    /// Takes bytes that came from the peer.
    fn feed(&mut self, wire: &[u8]);

    /// Takes the handshake as far as the bytes fed allow; look at [`wire`](Self::wire) afterwards, also on errors.
    ///
    /// # Errors
    /// The peer does not speak TLS, or nothing that we accept.
    fn handshake(&mut self) -> Result<Handshake, TlsError>;

    /// Reads decrypted bytes.
    ///
    /// # Errors
    /// The peer broke the protocol, or somebody changed the bytes on the way.
    fn read(&mut self, clear: &mut [u8]) -> Result<TlsRead, TlsError>;

    /// Encrypts all of `clear`; look at [`wire`](Self::wire) afterwards.
    ///
    /// # Errors
    /// The connection cannot be used any more.
    fn write(&mut self, clear: &[u8]) -> Result<(), TlsError>;

    /// The bytes to be sent to the peer; take them.
    fn wire(&mut self) -> &mut Vec<u8>;

    /// Writes the closing alert.
    fn close(&mut self);
}

/// How far a handshake came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// More bytes from the peer are needed.
    Wants,
    /// Established.
    Done(TlsFacts),
}

/// What [`TlsPipe::read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsRead {
    /// So many bytes.
    Bytes(usize),
    /// More bytes from the peer are needed.
    Wants,
    /// The peer said that nothing more comes.
    Closed,
}

/// TLS could not be set up, or broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file or setting of ours is unusable: the administrator's to mend.
    #[error("{what}: {reason}")]
    Setting {
        /// Which: an option, with its file if it names one.
        what: String,
        /// Why.
        reason: String,
    },
    /// The peer's handshake or a record of it was refused.
    #[error("{0}")]
    Peer(String),
}

/// The socket that a TLS library believes to talk to.
#[derive(Debug, Default)]
struct Wire {
    incoming: Vec<u8>,
    /// How much of `incoming` was read.
    at: usize,
    outgoing: Vec<u8>,
}

impl Wire {
    fn feed(&mut self, bytes: &[u8]) {
        self.incoming.extend_from_slice(bytes);
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.incoming.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            self.incoming = Vec::new();
            self.at = 0;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
