//! The connecting side, over native-tls.

use std::path::{Path, PathBuf};

use native_tls::{
    Certificate, HandshakeError, Identity, MidHandshakeTlsStream, Protocol, TlsConnector, TlsStream,
};

use super::{Handshake, TlsError, TlsPipe, TlsRead, Wire};
use crate::job::TlsFacts;

/// How to connect to another server with TLS.
#[derive(Clone, Debug, Default)]
pub struct ConnectTlsOptions {
    /// PEM file of certification authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Folder of such files (named by the hashes of their names, as c_rehash does it).
    pub ca_folder: Option<PathBuf>,
    /// PEM files of our own certificate chain and its PKCS#8 key, if the server wants one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Take any certificate: only for peers that are trusted otherwise.
    pub accept_any_certificate: bool,
}

/// A pipe that will do a handshake with `server_name` as a client; drive it with [`TlsPipe::handshake`].
///
/// # Errors
/// A file cannot be used.
pub fn connect_tls(server_name: &str, options: &ConnectTlsOptions) -> Result<Box<dyn TlsPipe>, TlsError> {
    let connector = connector(options)?;
    match connector.connect(server_name, Wire::default()) {
        Ok(stream) => Ok(Box::new(Client {
            state: State::Open(stream),
        })),
        Err(HandshakeError::WouldBlock(half)) => Ok(Box::new(Client {
            state: State::Handshaking(half),
        })),
        Err(HandshakeError::Failure(error)) => Err(TlsError::Peer(error.to_string())),
    }
}

/// What makes connections with these options.
///
/// # Errors
/// A file cannot be used.
pub(crate) fn connector(options: &ConnectTlsOptions) -> Result<TlsConnector, TlsError> {
    let mut builder = TlsConnector::builder();
    builder.min_protocol_version(Some(Protocol::Tlsv12));
    for path in authorities(options)? {
        let what = || format!("CA certificate {}", path.display());
        let authorities =
            Certificate::stack_from_pem(&read(&path)?).map_err(|error| setting(what(), &error))?;
        for authority in authorities {
            builder.add_root_certificate(authority);
        }
    }
    if let Some((chain, key)) = &options.identity {
        let identity = Identity::from_pkcs8(&read(chain)?, &read(key)?)
            .map_err(|error| setting(format!("client certificate {}", chain.display()), &error))?;
        builder.identity(identity);
    }
    builder.danger_accept_invalid_certs(options.accept_any_certificate);
    builder.danger_accept_invalid_hostnames(options.accept_any_certificate);
    builder
        .build()
        .map_err(|error| setting("TLS client".to_owned(), &error))
}

/// The files of authorities to trust.
fn authorities(options: &ConnectTlsOptions) -> Result<Vec<PathBuf>, TlsError> {
    let mut files: Vec<PathBuf> = options.ca_file.iter().cloned().collect();
    if let Some(folder) = &options.ca_folder {
        let entries =
            std::fs::read_dir(folder).map_err(|error| setting(folder.display().to_string(), &error))?;
        files.extend(
            entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| is_hash(path)),
        );
    }
    Ok(files)
}

/// Whether a file is named by a hash: eight hexadecimal digits, a dot and a number.
fn is_hash(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let Some((hash, number)) = name.split_once('.') else {
        return false;
    };
    let all = |text: &str, is: fn(&u8) -> bool| !text.is_empty() && text.as_bytes().iter().all(is);
    hash.len() == 8 && all(hash, u8::is_ascii_hexdigit) && all(number, u8::is_ascii_digit)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| setting(path.display().to_string(), &error))
}

fn setting(what: String, error: &dyn std::fmt::Display) -> TlsError {
    TlsError::Setting {
        what,
        reason: error.to_string(),
    }
}

struct Client {
    state: State,
}

enum State {
    Handshaking(MidHandshakeTlsStream<Wire>),
    Open(TlsStream<Wire>),
    /// A handshake failed and took its stream with it.
    Failed(Wire),
}

impl TlsPipe for Client {
    fn feed(&mut self, bytes: &[u8]) {
        self.io().feed(bytes);
    }

    fn handshake(&mut self) -> Result<Handshake, TlsError> {
        match std::mem::replace(&mut self.state, State::Failed(Wire::default())) {
            State::Handshaking(half) => match half.handshake() {
                Ok(stream) => {
                    self.state = State::Open(stream);
                    Ok(Handshake::Done(facts()))
                }
                Err(HandshakeError::WouldBlock(half)) => {
                    self.state = State::Handshaking(half);
                    Ok(Handshake::Wants)
                }
                Err(HandshakeError::Failure(error)) => Err(TlsError::Peer(error.to_string())),
            },
            State::Open(stream) => {
                self.state = State::Open(stream);
                Ok(Handshake::Done(facts()))
            }
            State::Failed(wire) => {
                self.state = State::Failed(wire);
                Err(TlsError::Peer("the handshake failed before".to_owned()))
            }
        }
    }

    fn read(&mut self, clear: &mut [u8]) -> Result<TlsRead, TlsError> {
        let State::Open(stream) = &mut self.state else {
            return Ok(TlsRead::Wants);
        };
        match std::io::Read::read(stream, clear) {
            Ok(0) => Ok(TlsRead::Closed),
            Ok(count) => Ok(TlsRead::Bytes(count)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(TlsRead::Wants),
            Err(error) => Err(TlsError::Peer(error.to_string())),
        }
    }

    fn write(&mut self, clear: &[u8]) -> Result<(), TlsError> {
        let State::Open(stream) = &mut self.state else {
            return Err(TlsError::Peer("written to before the handshake".to_owned()));
        };
        std::io::Write::write_all(stream, clear).map_err(|error| TlsError::Peer(error.to_string()))
    }

    fn wire(&mut self) -> &mut Vec<u8> {
        &mut self.io().outgoing
    }

    fn close(&mut self) {
        if let State::Open(stream) = &mut self.state {
            // The alert is a courtesy; the socket is closed next.
            let _ = stream.shutdown();
        }
    }
}

impl Client {
    fn io(&mut self) -> &mut Wire {
        match &mut self.state {
            State::Handshaking(half) => half.get_mut(),
            State::Open(stream) => stream.get_mut(),
            State::Failed(wire) => wire,
        }
    }
}

/// native-tls tells neither version nor cipher. 128 bits is what every cipher of TLS 1.2 and up that it offers has at least.
fn facts() -> TlsFacts {
    TlsFacts {
        strength_bits: 128,
        ..TlsFacts::default()
    }
}
