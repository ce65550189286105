//! Settings and files made into what OpenSSL serves with.

use std::path::Path;

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::ssl::{
    NameType, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslMode, SslOptions,
    SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use openssl::x509::store::X509Lookup;
use openssl::x509::verify::X509VerifyFlags;

use super::{ClientCertificates, Identity, TlsOptions, TlsVersion};
use crate::net::tls::TlsError;

/// Reads every file and checks it.
///
/// # Errors
/// Which file or setting is wrong, and why.
pub(super) fn build(options: &TlsOptions) -> Result<SslContext, TlsError> {
    let own = Identity {
        certificate: options.certificate.clone(),
        key: options.key.clone(),
    };
    let mut builder = common(options)?;
    for identity in [&own].into_iter().chain(&options.others) {
        identify(&mut builder, identity)?;
    }
    if let Some(path) = &options.chain {
        add_chain(&mut builder, path)?;
    }
    let mut named = Vec::new();
    for identity in &options.by_name {
        let mut builder = common(options)?;
        identify(&mut builder, identity)?;
        named.push((Names::of(&identity.certificate)?, builder.build()));
    }
    if !named.is_empty() {
        builder.set_servername_callback(move |ssl, _| {
            let wanted = ssl.servername(NameType::HOST_NAME).map(str::to_owned);
            let found = named
                .iter()
                .find(|(names, _)| wanted.as_ref().is_some_and(|wanted| names.has(wanted)));
            if let Some((_, context)) = found {
                // It fails when memory is short, and then the usual certificate is as good as none.
                let _ = ssl.set_ssl_context(context);
            }
            Ok(())
        });
    }
    Ok(builder.build())
}

/// Everything but certificates.
fn common(options: &TlsOptions) -> Result<SslContextBuilder, TlsError> {
    let mut builder = SslContext::builder(SslMethod::tls_server()).map_err(at("TLS"))?;
    let b = &mut builder;
    b.set_min_proto_version(Some(version(options.oldest)))
        .map_err(at("oldest TLS version"))?;
    b.set_max_proto_version(Some(version(options.newest)))
        .map_err(at("newest TLS version"))?;
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
    let mut flags = SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION | SslOptions::SINGLE_ECDH_USE;
    if options.prefer_server_ciphers {
        flags |= SslOptions::CIPHER_SERVER_PREFERENCE;
    }
    if !options.resumption {
        flags |= SslOptions::NO_TICKET;
        // TLS 1.3 would still hand out tickets, which name sessions that nobody keeps.
        b.set_num_tickets(0).map_err(at("session tickets"))?;
    }
    for left_out in &options.left_out {
        flags |= match left_out {
            TlsVersion::Tls1_0 => SslOptions::NO_TLSV1,
            TlsVersion::Tls1_1 => SslOptions::NO_TLSV1_1,
            TlsVersion::Tls1_2 => SslOptions::NO_TLSV1_2,
            TlsVersion::Tls1_3 => SslOptions::NO_TLSV1_3,
        };
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
    Ok(builder)
}

/// Adds a certificate and its key.
fn identify(b: &mut SslContextBuilder, identity: &Identity) -> Result<(), TlsError> {
    let Identity { certificate, key } = identity;
    b.set_certificate_chain_file(certificate)
        .map_err(file("certificate", certificate))?;
    let read = b.set_private_key_file(key, SslFiletype::PEM);
    read.map_err(|error| match is_mismatch(&error) {
        true => TlsError::Setting {
            what: format!("private key {}", key.display()),
            reason: format!(
                "it does not belong to the certificate {}; check tls_server_key and tls_server_cert",
                certificate.display()
            ),
        },
        false => file("private key", key)(error),
    })?;
    b.check_private_key().map_err(file("private key", key))
}

fn version(version: TlsVersion) -> SslVersion {
    match version {
        TlsVersion::Tls1_0 => SslVersion::TLS1,
        TlsVersion::Tls1_1 => SslVersion::TLS1_1,
        TlsVersion::Tls1_2 => SslVersion::TLS1_2,
        TlsVersion::Tls1_3 => SslVersion::TLS1_3,
    }
}

/// The host names that a certificate is for.
struct Names(Vec<String>);

impl Names {
    fn of(path: &Path) -> Result<Self, TlsError> {
        let what = "certificate";
        let certificate = X509::from_pem(&read_pem(what, path)?).map_err(file(what, path))?;
        let mut names: Vec<String> = certificate
            .subject_alt_names()
            .iter()
            .flatten()
            .filter_map(|name| name.dnsname().map(str::to_ascii_lowercase))
            .collect();
        if names.is_empty() {
            let common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
            names.extend(
                common
                    .filter_map(|name| name.data().to_string().ok())
                    .map(|name| name.to_ascii_lowercase()),
            );
        }
        match names.is_empty() {
            false => Ok(Self(names)),
            true => Err(TlsError::Setting {
                what: format!("{what} {}", path.display()),
                reason: "it names no host, so no client can ask for it".to_owned(),
            }),
        }
    }

    /// Whether it is for `host`; `*` stands for one label, the first (RFC 6125, section 6.4.3).
    fn has(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.0.iter().any(|name| match name.strip_prefix("*.") {
            None => *name == host,
            Some(domain) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == domain),
        })
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
    let chain = X509::stack_from_pem(&pem).map_err(file("certificate chain", path))?;
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

pub(super) fn at(what: &str) -> impl Fn(ErrorStack) -> TlsError {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_its_names_and_a_star_is_one_label() {
        let names = Names(vec!["mail.example.org".to_owned(), "*.example.com".to_owned()]);
        for (host, is_in) in [
            ("mail.example.org", true),
            ("MAIL.example.org.", true),
            ("imap.example.org", false),
            ("a.example.com", true),
            ("a.b.example.com", false),
            ("example.com", false),
            (".example.com", false),
            ("", false),
        ] {
            assert_eq!(names.has(host), is_in, "{host}");
        }
    }
}
