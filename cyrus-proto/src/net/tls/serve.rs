//! The serving side, over openssl.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::ssl::{ErrorCode, Ssl, SslContext, SslRef, SslStream, SslVersion};
use openssl::x509::X509Ref;

use super::{Handshake, TlsError, TlsPipe, TlsRead, Wire};
use crate::job::{ChannelBinding, TlsFacts};

mod context;

/// How a server speaks TLS.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// PEM file with the server's certificate, and the rest of its chain after it.
    pub certificate: PathBuf,
    /// PEM file with the private key; may be the same file.
    pub key: PathBuf,
    /// Further certificates for the same names with keys of other kinds: clients get the best that they can use.
    pub others: Vec<Identity>,
    /// Certificates for clients that ask for one of the names in them (SNI); all others get `certificate`.
    pub by_name: Vec<Identity>,
    /// PEM file with more of the chain, if it is not in `certificate`.
    pub chain: Option<PathBuf>,
    /// PEM file with the authorities that may sign client certificates.
    pub client_ca_file: Option<PathBuf>,
    /// Folder (hashed by c_rehash) of authorities that may sign client certificates.
    pub client_ca_folder: Option<PathBuf>,
    /// PEM file with the certificates that those authorities have revoked.
    pub client_crl: Option<PathBuf>,
    /// PEM file with the parameters of Diffie-Hellman key exchange; `None` leaves the library's.
    pub dh_parameters: Option<PathBuf>,
    /// Whether clients are asked for a certificate.
    pub client_certificates: ClientCertificates,
    /// The oldest version spoken.
    pub oldest: TlsVersion,
    /// The newest version spoken.
    pub newest: TlsVersion,
    /// Versions between the two that are not spoken.
    pub left_out: Vec<TlsVersion>,
    /// OpenSSL's cipher list for TLS 1.2 and before; `None` leaves the library's.
    pub ciphers: Option<String>,
    /// OpenSSL's cipher suites for TLS 1.3; `None` leaves the library's.
    pub cipher_suites: Option<String>,
    /// Colon-separated groups for the key exchange; `None` leaves the library's.
    pub groups: Option<String>,
    /// Take the server's preference among ciphers rather than the client's.
    pub prefer_server_ciphers: bool,
    /// Let clients resume sessions.
    pub resumption: bool,
    /// Name of the sessions' context: one service cannot resume the session of another.
    pub service: String,
}

impl TlsOptions {
    /// TLS 1.2 and 1.3 with this certificate and key, no client certificates.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            others: Vec::new(),
            by_name: Vec::new(),
            chain: None,
            client_ca_file: None,
            client_ca_folder: None,
            client_crl: None,
            dh_parameters: None,
            client_certificates: ClientCertificates::Ignore,
            oldest: TlsVersion::Tls1_2,
            newest: TlsVersion::Tls1_3,
            left_out: Vec::new(),
            ciphers: None,
            cipher_suites: None,
            groups: None,
            prefer_server_ciphers: false,
            resumption: true,
            service: "cyrus".to_owned(),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let identities = self.others.iter().chain(&self.by_name);
        let mut files: Vec<PathBuf> = identities
            .flat_map(|identity| [&identity.certificate, &identity.key])
            .chain([&self.certificate, &self.key])
            .chain(&self.chain)
            .chain(&self.client_ca_file)
            .chain(&self.client_crl)
            .chain(&self.dh_parameters)
            .cloned()
            .collect();
        files.sort();
        files.dedup();
        files
    }
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// PEM file with the certificate, and the rest of its chain after it.
    pub certificate: PathBuf,
    /// PEM file with the private key; may be the same file.
    pub key: PathBuf,
}

/// What to do about client certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Do not ask.
    #[default]
    Ignore,
    /// Ask; a client may have none, but not a bad one.
    Optional,
    /// No handshake without a good one.
    Require,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.0, for clients that know nothing better (RFC 8996 deprecates it).
    Tls1_0,
    /// TLS 1.1, likewise.
    Tls1_1,
    /// TLS 1.2.
    Tls1_2,
    /// TLS 1.3.
    Tls1_3,
}

/// A server's certificates and settings, read and checked once and shared by its connections. Cheap to clone; all clones
/// are renewed together.
#[derive(Clone)]
pub struct TlsServer(Arc<Current>);

struct Current {
    options: TlsOptions,
    context: RwLock<SslContext>,
}

impl TlsServer {
    /// Reads the files and checks that keys and certificates belong together.
    ///
    /// # Errors
    /// [`TlsError::Setting`], naming the option and the file.
    pub fn new(options: &TlsOptions) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(Current {
            context: RwLock::new(context::build(options)?),
            options: options.clone(),
        })))
    }

    /// Reads the files again, for the handshakes to come; connections that are up keep what they have. Sessions from before
    /// cannot be resumed any more, because the keys of their tickets are new, too.
    ///
    /// # Errors
    /// As in [`new`](Self::new); what was there before stays in use.
    pub fn renew(&self) -> Result<(), TlsError> {
        let fresh = context::build(&self.0.options)?;
        *self.0.context.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Every file that was read.
    pub fn files(&self) -> Vec<PathBuf> {
        self.0.options.files()
    }

    /// A pipe that waits for a client's handshake.
    ///
    /// # Errors
    /// The library is out of memory.
    pub fn accept(&self) -> Result<Box<dyn TlsPipe>, TlsError> {
        let context = self
            .0
            .context
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let ssl = Ssl::new(&context).map_err(context::at("TLS"))?;
        let stream = SslStream::new(ssl, Wire::default()).map_err(context::at("TLS"))?;
        Ok(Box::new(Accepted { stream }))
    }
}

impl std::fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsServer")
    }
}

struct Accepted {
    stream: SslStream<Wire>,
}

impl TlsPipe for Accepted {
    fn feed(&mut self, bytes: &[u8]) {
        self.stream.get_mut().feed(bytes);
    }

    fn handshake(&mut self) -> Result<Handshake, TlsError> {
        match self.stream.accept() {
            Ok(()) => Ok(Handshake::Done(self.facts())),
            Err(error) if error.code() == ErrorCode::WANT_READ => Ok(Handshake::Wants),
            Err(error) => Err(TlsError::Peer(error.to_string())),
        }
    }

    fn read(&mut self, clear: &mut [u8]) -> Result<TlsRead, TlsError> {
        match self.stream.ssl_read(clear) {
            Ok(count) => Ok(TlsRead::Bytes(count)),
            Err(error) => match error.code() {
                ErrorCode::WANT_READ => Ok(TlsRead::Wants),
                ErrorCode::ZERO_RETURN => Ok(TlsRead::Closed),
                _ => Err(TlsError::Peer(error.to_string())),
            },
        }
    }

    fn write(&mut self, clear: &[u8]) -> Result<(), TlsError> {
        let mut rest = clear;
        while !rest.is_empty() {
            let written = self
                .stream
                .ssl_write(rest)
                .map_err(|error| TlsError::Peer(error.to_string()))?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    fn wire(&mut self) -> &mut Vec<u8> {
        &mut self.stream.get_mut().outgoing
    }

    fn close(&mut self) {
        // The alert is a courtesy; the socket is closed next.
        let _ = self.stream.shutdown();
    }
}

impl Accepted {
    fn facts(&self) -> TlsFacts {
        let ssl = self.stream.ssl();
        let cipher = ssl.current_cipher();
        TlsFacts {
            strength_bits: cipher.map_or(0, |cipher| u32::try_from(cipher.bits().secret).unwrap_or(0)),
            version: ssl.version_str().to_owned(),
            cipher: cipher.map_or_else(String::new, |cipher| cipher.name().to_owned()),
            client_identity: client_identity(ssl),
            channel_bindings: channel_bindings(ssl),
            resumed: ssl.session_reused(),
        }
    }
}

/// The common name in the client's certificate. OpenSSL says "verified" also when none came, so both are asked.
fn client_identity(ssl: &SslRef) -> Option<String> {
    let certificate = ssl.peer_certificate()?;
    if ssl.verify_result() != openssl::x509::X509VerifyResult::OK {
        return None;
    }
    let name = certificate
        .subject_name()
        .entries_by_nid(Nid::COMMONNAME)
        .next()?
        .data()
        .to_string()
        .ok()?;
    let unusable = ['\0', char::REPLACEMENT_CHARACTER];
    (!name.is_empty() && !name.contains(unusable)).then_some(name)
}

/// What only the two ends of this connection know, best first: RFC 9266's where it is safe, RFC 5929's otherwise.
fn channel_bindings(ssl: &SslRef) -> Vec<ChannelBinding> {
    let is_newest = ssl.version2() == Some(SslVersion::TLS1_3);
    let mut bindings = Vec::new();
    // Without extended master secrets (RFC 7627) two connections can be made to have the same.
    if is_newest || ssl.extms_support() == Some(true) {
        let mut data = vec![0; 32];
        let exported = ssl.export_keying_material(&mut data, "EXPORTER-Channel-Binding", Some(b""));
        if exported.is_ok() {
            bindings.push(ChannelBinding {
                name: "tls-exporter",
                data,
            });
        }
        // TLS 1.3 has none.
        if !is_newest {
            let mut data = vec![0; 64];
            // The first Finished message: the client's, or the server's when a session is resumed.
            let count = match ssl.session_reused() {
                true => ssl.finished(&mut data),
                false => ssl.peer_finished(&mut data),
            };
            data.truncate(count);
            bindings.push(ChannelBinding {
                name: "tls-unique",
                data,
            });
        }
    }
    bindings.extend(ssl.certificate().and_then(|certificate| {
        Some(ChannelBinding {
            name: "tls-server-end-point",
            data: end_point(certificate)?,
        })
    }));
    bindings
}

/// RFC 5929, section 4.1: the certificate, by the hash function of its signature, or by SHA-256 for one that was weak.
fn end_point(certificate: &X509Ref) -> Option<Vec<u8>> {
    let algorithm = certificate.signature_algorithm().object().nid();
    let digest = match algorithm.signature_algorithms()?.digest {
        Nid::MD5 | Nid::SHA1 => MessageDigest::sha256(),
        // Ed25519 has none of its own.
        Nid::UNDEF => return None,
        digest => MessageDigest::from_nid(digest)?,
    };
    Some(certificate.digest(digest).ok()?.to_vec())
}
