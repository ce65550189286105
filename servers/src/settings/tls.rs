//! The `tls_` options.

use std::path::{Path, PathBuf};

use cyrus_proto::net::{ClientCertificates, ConnectTlsOptions, Identity, TlsOptions, TlsVersion};

use super::{SettingError, bad};
use crate::config::{Config, Opt};

/// How TLS is served; `None` without a certificate.
///
/// # Errors
/// The settings contradict each other.
pub fn tls(config: &Config) -> Result<Option<TlsOptions>, SettingError> {
    let Some((first, others)) = identities(config)? else {
        return Ok(None);
    };
    let mut options = TlsOptions::new(first.certificate, first.key);
    options.others = others;
    options.by_name = by_name(config);
    options.chain = config.file(Opt::TlsServerCaFile);
    options.client_ca_file = config.file(Opt::TlsClientCaFile);
    options.client_ca_folder = config.file(Opt::TlsClientCaDir);
    options.client_crl = config.file(Opt::TlsCrlFile);
    options.dh_parameters = config.file(Opt::TlsServerDhparam);
    let authorities = options.client_ca_file.is_some() || options.client_ca_folder.is_some();
    options.client_certificates = match config.choice(Opt::TlsClientCerts) {
        "require" => ClientCertificates::Require,
        // Without an authority, every certificate would be a bad one.
        "optional" if authorities => ClientCertificates::Optional,
        _ => ClientCertificates::Ignore,
    };
    let versions = versions(config)?;
    let (Some(&oldest), Some(&newest)) = (versions.iter().min(), versions.iter().max()) else {
        return Err(bad(config, Opt::TlsVersions, "no usable version is named"));
    };
    (options.oldest, options.newest) = (oldest, newest);
    options.left_out = VERSIONS
        .iter()
        .map(|(_, version)| *version)
        .filter(|version| oldest < *version && *version < newest && !versions.contains(version))
        .collect();
    if config.is_set(Opt::TlsEccurve) {
        options.groups = config.text(Opt::TlsEccurve).map(Into::into);
    }
    options.ciphers = config.text(Opt::TlsCiphers).map(Into::into);
    options.prefer_server_ciphers = config.switch(Opt::TlsPreferServerCiphers);
    options.resumption = config
        .seconds(Opt::TlsSessionTimeout)
        .is_none_or(|seconds| seconds > 0);
    options.service = config.service().to_owned();
    Ok(Some(options))
}

/// How connections to other servers are made.
pub fn outgoing_tls(config: &Config) -> ConnectTlsOptions {
    let file = |option| config.file(option).filter(|path| is_enabled(path));
    let certificate = file(Opt::TlsClientCert);
    ConnectTlsOptions {
        ca_file: file(Opt::TlsServerCaFile),
        ca_folder: file(Opt::TlsServerCaDir),
        identity: certificate.map(|certificate| {
            let key = file(Opt::TlsClientKey).unwrap_or_else(|| certificate.clone());
            (certificate, key)
        }),
        accept_any_certificate: false,
    }
}

/// The certificates of `tls_server_cert`, which may be several with a comma between, and their keys.
fn identities(config: &Config) -> Result<Option<(Identity, Vec<Identity>)>, SettingError> {
    let files = |option| {
        let files = config.file(option).map(|files| split(&files)).unwrap_or_default();
        files
            .into_iter()
            .filter(|path| is_enabled(path))
            .collect::<Vec<_>>()
    };
    let certificates = files(Opt::TlsServerCert);
    let keys = match files(Opt::TlsServerKey) {
        keys if keys.is_empty() => certificates.clone(),
        keys => keys,
    };
    if keys.len() != certificates.len() && !certificates.is_empty() {
        let what = format!(
            "{} keys for {} certificates of tls_server_cert; each certificate has one",
            keys.len(),
            certificates.len()
        );
        return Err(bad(config, Opt::TlsServerKey, what));
    }
    let mut identities = certificates
        .into_iter()
        .zip(keys)
        .map(|(certificate, key)| Identity { certificate, key });
    Ok(identities.next().map(|first| (first, identities.collect())))
}

/// The files of `tls_sni_certs`: each holds certificate, chain and key, or names the key's file behind a colon.
fn by_name(config: &Config) -> Vec<Identity> {
    let identity = |word: String| match word.split_once(':') {
        Some((certificate, key)) => Identity {
            certificate: certificate.into(),
            key: key.into(),
        },
        None => Identity {
            certificate: PathBuf::from(&word),
            key: word.into(),
        },
    };
    config.words(Opt::TlsSniCerts).into_iter().map(identity).collect()
}

fn split(files: &Path) -> Vec<PathBuf> {
    match files.to_str() {
        Some(files) => files
            .split(',')
            .filter(|file| !file.is_empty())
            .map(PathBuf::from)
            .collect(),
        None => vec![files.to_owned()],
    }
}

fn versions(config: &Config) -> Result<Vec<TlsVersion>, SettingError> {
    let mut versions = Vec::new();
    for word in config.words(Opt::TlsVersions) {
        match VERSIONS.iter().find(|(name, _)| *name == word) {
            Some((_, version)) => versions.push(*version),
            // Nothing speaks them any more.
            None if word == "ssl2" || word == "ssl3" => {}
            None => {
                let what = format!("unknown version '{word}'; there are tls1_0, tls1_1, tls1_2 and tls1_3");
                return Err(bad(config, Opt::TlsVersions, what));
            }
        }
    }
    Ok(versions)
}

const VERSIONS: &[(&str, TlsVersion)] = &[
    ("tls1_0", TlsVersion::Tls1_0),
    ("tls1_1", TlsVersion::Tls1_1),
    ("tls1_2", TlsVersion::Tls1_2),
    ("tls1_3", TlsVersion::Tls1_3),
];

/// `disabled` in place of a file switches TLS off.
fn is_enabled(path: &Path) -> bool {
    path.as_os_str() != "disabled"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(lines: &str) -> Config {
        let text = format!("configdirectory: /var/imap\n{lines}");
        Config::parse(Path::new("imapd.conf"), text.as_bytes(), "imap").unwrap()
    }

    fn identity(certificate: &str, key: &str) -> Identity {
        Identity {
            certificate: certificate.into(),
            key: key.into(),
        }
    }

    #[test]
    fn two_certificates_have_two_keys_or_hold_them_themselves() {
        let options = tls(&config(
            "tls_server_cert: /rsa,/ec\ntls_server_key: /rsa.key,/ec.key\n",
        ));
        let options = options.unwrap().unwrap();
        assert_eq!(
            (options.certificate, options.key),
            ("/rsa".into(), "/rsa.key".into())
        );
        assert_eq!(options.others, [identity("/ec", "/ec.key")]);
        let options = tls(&config("tls_server_cert: /rsa,/ec\n")).unwrap().unwrap();
        assert_eq!(options.others, [identity("/ec", "/ec")]);
        let error = tls(&config("tls_server_cert: /rsa,/ec\ntls_server_key: /key\n"));
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("1 keys for 2 certificates")
        );
        assert!(tls(&config("tls_server_cert: disabled\n")).unwrap().is_none());
        assert!(tls(&config("")).unwrap().is_none());
    }

    #[test]
    fn certificates_for_names_bring_their_keys() {
        let options = tls(&config(
            "tls_server_cert: /c\ntls_sni_certs: /a.pem /b.pem:/b.key\n",
        ));
        assert_eq!(
            options.unwrap().unwrap().by_name,
            [identity("/a.pem", "/a.pem"), identity("/b.pem", "/b.key")]
        );
    }

    #[test]
    fn versions_may_have_holes() {
        let options = tls(&config("tls_server_cert: /c\ntls_versions: tls1_0 ssl3 tls1_2\n"));
        let options = options.unwrap().unwrap();
        assert_eq!(
            (options.oldest, options.newest),
            (TlsVersion::Tls1_0, TlsVersion::Tls1_2)
        );
        assert_eq!(options.left_out, [TlsVersion::Tls1_1]);
        assert!(tls(&config("tls_server_cert: /c\ntls_versions: ssl3\n")).is_err());
        assert!(tls(&config("tls_server_cert: /c\ntls_versions: tls2\n")).is_err());
    }

    #[test]
    fn outgoing_connections_show_our_certificate_and_trust_the_named_authorities() {
        let options = outgoing_tls(&config("tls_client_cert: /c\ntls_server_ca_dir: /ca\n"));
        assert_eq!(options.identity, Some(("/c".into(), "/c".into())));
        assert_eq!(options.ca_folder, Some("/ca".into()));
        assert!(
            outgoing_tls(&config("tls_client_cert: disabled\n"))
                .identity
                .is_none()
        );
    }
}
