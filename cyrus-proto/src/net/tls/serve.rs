//! The serving side, over openssl.

use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslMode, SslOptions,
    SslSessionCacheMode, SslStream, SslVerifyMode, SslVersion,
};

use openssl::x509::store::X509Lookup;
use openssl::x509::verify::X509VerifyFlags;

use super::{Handshake, TlsError, TlsPipe, TlsRead, Wire};
use crate::job::TlsFacts;

/// How a server speaks TLS.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// PEM file with the server's certificate, and the rest of its chain after it.
    pub certificate: PathBuf,
    /// PEM file with the private key; may be the same file.
    pub key: PathBuf,
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
            chain: None,
            client_ca_file: None,
            client_ca_folder: None,
            client_crl: None,
            dh_parameters: None,
            client_certificates: ClientCertificates::Ignore,
            oldest: TlsVersion::Tls1_2,
            newest: TlsVersion::Tls1_3,
            ciphers: None,
            cipher_suites: None,
            groups: None,
            prefer_server_ciphers: false,
            resumption: true,
            service: "cyrus".to_owned(),
        }
    }
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

impl TlsVersion {
    fn openssl(self) -> SslVersion {
        match self {
            Self::Tls1_0 => SslVersion::TLS1,
            Self::Tls1_1 => SslVersion::TLS1_1,
            Self::Tls1_2 => SslVersion::TLS1_2,
            Self::Tls1_3 => SslVersion::TLS1_3,
        }
    }
}

/// A server's certificates and settings, read and checked once and shared by its connections.
#[derive(Clone)]
pub struct TlsServer(SslContext);

impl TlsServer {
    /// Reads the files and checks that key and certificate belong together.
    ///
    /// # Errors
    /// [`TlsError::Setting`], naming the option and the file.
    pub fn new(options: &TlsOptions) -> Result<Self, TlsError> {
        let mut builder = SslContext::builder(SslMethod::tls_server()).map_err(at("TLS"))?;
        let b = &mut builder;
        b.set_min_proto_version(Some(options.oldest.openssl()))
            .map_err(at("oldest TLS version"))?;
        b.set_max_proto_version(Some(options.newest.openssl()))
            .map_err(at("newest TLS version"))?;
        b.set_certificate_chain_file(&options.certificate)
            .map_err(file("certificate", &options.certificate))?;
        let read = b.set_private_key_file(&options.key, SslFiletype::PEM);
        read.map_err(|error| match is_mismatch(&error) {
            true => TlsError::Setting {
                what: format!("private key {}", options.key.display()),
                reason: format!(
                    "it does not belong to the certificate {}; check tls_server_key and tls_server_cert",
                    options.certificate.display()
                ),
            },
            false => file("private key", &options.key)(error),
        })?;
        b.check_private_key().map_err(file("private key", &options.key))?;
        if let Some(path) = &options.chain {
            add_chain(b, path)?;
        }
        if let Some(list) = &options.ciphers {
            b.set_cipher_list(list)
                .map_err(at(&format!("ciphers {list:?}")))?;
        }
        if let Some(list) = &options.cipher_suites {
            b.set_ciphersuites(list)
                .map_err(at(&format!("TLS 1.3 cipher suites {list:?}")))?;
        }
        if let Some(list) = &options.groups {
            b.set_groups_list(list)
                .map_err(at(&format!("key exchange groups {list:?}")))?;
        }
        if let Some(path) = &options.dh_parameters {
            let what = "Diffie-Hellman parameters";
            let parameters = openssl::dh::Dh::params_from_pem(&read_pem(what, path)?);
            b.set_tmp_dh(&*parameters.map_err(file(what, path))?)
                .map_err(file(what, path))?;
        }
        client_certificates(b, options)?;
        let mut flags =
            SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION | SslOptions::SINGLE_ECDH_USE;
        if options.prefer_server_ciphers {
            flags |= SslOptions::CIPHER_SERVER_PREFERENCE;
        }
        if !options.resumption {
            flags |= SslOptions::NO_TICKET;
        }
        b.set_options(flags);
        // Sessions live in tickets that clients keep; a cache here would only grow.
        b.set_session_cache_mode(SslSessionCacheMode::OFF);
        b.set_session_id_context(
            options
                .service
                .as_bytes()
                .get(..MAX_CONTEXT)
                .unwrap_or(options.service.as_bytes()),
        )
        .map_err(at("session context"))?;
        b.set_mode(
            SslMode::ENABLE_PARTIAL_WRITE | SslMode::ACCEPT_MOVING_WRITE_BUFFER | SslMode::RELEASE_BUFFERS,
        );
        Ok(Self(builder.build()))
    }

    /// A pipe that waits for a client's handshake.
    ///
    /// # Errors
    /// The library is out of memory.
    pub fn accept(&self) -> Result<Box<dyn TlsPipe>, TlsError> {
        let ssl = Ssl::new(&self.0).map_err(at("TLS"))?;
        let stream = SslStream::new(ssl, Wire::default()).map_err(at("TLS"))?;
        Ok(Box::new(Accepted { stream }))
    }
}

impl std::fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsServer")
    }
}

fn read_pem(what: &str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Setting {
        what: format!("{what} {}", path.display()),
        reason: error.to_string(),
    })
}

fn add_chain(builder: &mut SslContextBuilder, path: &Path) -> Result<(), TlsError> {
    let pem = read_pem("certificate chain", path)?;
    let chain = openssl::x509::X509::stack_from_pem(&pem).map_err(file("certificate chain", path))?;
    for certificate in chain {
        builder
            .add_extra_chain_cert(certificate)
            .map_err(file("certificate chain", path))?;
    }
    Ok(())
}

fn client_certificates(builder: &mut SslContextBuilder, options: &TlsOptions) -> Result<(), TlsError> {
    let mode = match options.client_certificates {
        ClientCertificates::Ignore => SslVerifyMode::NONE,
        ClientCertificates::Optional => SslVerifyMode::PEER,
        ClientCertificates::Require => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
    };
    builder.set_verify(mode);
    if options.client_ca_file.is_none() && options.client_ca_folder.is_none() {
        return Ok(());
    }
    builder
        .load_verify_locations(
            options.client_ca_file.as_deref(),
            options.client_ca_folder.as_deref(),
        )
        .map_err(|error| TlsError::Setting {
            what: format!(
                "client certificate authorities {:?} {:?}",
                options.client_ca_file, options.client_ca_folder
            ),
            reason: error.to_string(),
        })?;
    if let Some(path) = &options.client_ca_file {
        let names = openssl::x509::X509Name::load_client_ca_file(path).map_err(file("client CA", path))?;
        builder.set_client_ca_list(names);
    }
    if let Some(path) = &options.client_crl {
        let what = "certificate revocation list";
        let store = builder.cert_store_mut();
        store
            .add_lookup(X509Lookup::file())
            .and_then(|lookup| lookup.load_crl_file(path, SslFiletype::PEM))
            .map_err(file(what, path))?;
        store
            .set_flags(X509VerifyFlags::CRL_CHECK)
            .map_err(file(what, path))?;
    }
    Ok(())
}

/// Whether a key was refused since the certificate has another.
fn is_mismatch(error: &ErrorStack) -> bool {
    let mut reasons = error.errors().iter().filter_map(openssl::error::Error::reason);
    reasons.any(|reason| reason.ends_with("mismatch"))
}

fn at(what: &str) -> impl Fn(ErrorStack) -> TlsError {
    move |error| TlsError::Setting {
        what: what.to_owned(),
        reason: error.to_string(),
    }
}

fn file(what: &str, path: &Path) -> impl Fn(ErrorStack) -> TlsError {
    move |error| TlsError::Setting {
        what: format!("{what} {}", path.display()),
        reason: error.to_string(),
    }
}

/// Octets of a session context that OpenSSL takes.
const MAX_CONTEXT: usize = 32;

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
            client_identity: self.client_identity(),
            channel_binding: self.channel_binding(),
            resumed: ssl.session_reused(),
        }
    }

    /// The common name in the client's certificate. OpenSSL says "verified" also when none came, so both are asked.
    fn client_identity(&self) -> Option<String> {
        let ssl = self.stream.ssl();
        let certificate = ssl.peer_certificate()?;
        if ssl.verify_result() != openssl::x509::X509VerifyResult::OK {
            return None;
        }
        let name = certificate
            .subject_name()
            .entries_by_nid(Nid::COMMONNAME)
            .last()?
            .data()
            .to_string()
            .ok()?;
        let unusable = ['\0', char::REPLACEMENT_CHARACTER];
        (!name.is_empty() && !name.contains(unusable)).then_some(name)
    }

    /// RFC 9266; only TLS 1.3 (and 1.2 with extended master secrets, which cannot be asked for here) may export it.
    fn channel_binding(&self) -> Option<Vec<u8>> {
        let ssl = self.stream.ssl();
        if ssl.version2() != Some(SslVersion::TLS1_3) {
            return None;
        }
        let mut binding = vec![0; 32];
        ssl.export_keying_material(&mut binding, "EXPORTER-Channel-Binding", Some(b""))
            .ok()?;
        Some(binding)
    }
}
