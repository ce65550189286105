//! What can be used to log in, and what is wrong with the settings: said at the start and not when the first user is turned
//! away.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{keytab, oauth};
use crate::config::{Config, Opt};
use crate::settings;

/// The login settings of a service.
pub(super) struct Setup {
    service: String,
    /// `imap/mail.example.org`, as Kerberos calls it.
    principal: String,
    /// The library's options, by their names without `sasl_`.
    options: HashMap<String, String>,
    plaintext: bool,
    anonymous: bool,
    certificates: Result<(), &'static str>,
    tokens: bool,
    /// Settings that say too little, or nothing any more.
    remarks: Vec<String>,
}

impl Setup {
    /// The settings of `config`, for a service that Kerberos knows as `protocol`.
    pub(super) fn new(config: &Config, protocol: &str, options: HashMap<String, String>) -> Self {
        let mut remarks = Vec::new();
        if config.text(Opt::Srvtab).is_some_and(|path| !path.is_empty()) {
            remarks.push(
                "srvtab is for Kerberos 4, which is no more; sasl_keytab names the keytab of its successor, GSSAPI"
                    .to_owned(),
            );
        }
        if config.is_set(Opt::OauthJwtKeys) && !config.is_set(Opt::OauthAudience) {
            remarks.push(
                "oauth_audience is not set: every token with a good signature logs its owner in, whatever service it was \
                 issued for"
                    .to_owned(),
            );
        }
        Self {
            service: config.service().to_owned(),
            principal: format!("{protocol}/{}", settings::servername(config)),
            options,
            plaintext: config.switch(Opt::Allowplaintext),
            anonymous: config.switch(Opt::Allowanonymouslogin),
            certificates: certificates(config),
            tokens: oauth::is_wanted(config),
            remarks,
        }
    }

    /// Mechanisms of the library that would be offered and could never succeed: there is no place with the secrets that they
    /// need.
    pub(super) fn hidden(&self) -> Vec<String> {
        // Whoever logs in with a password will have a secret from then on.
        let will_be_filled = self
            .options
            .get("auto_transition")
            .is_some_and(|value| !matches!(value.as_str(), "0" | "no" | "off" | "false"));
        match will_be_filled || self.secrets().is_ok() {
            true => Vec::new(),
            false => SECRET.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// What can be used, in one line.
    pub(super) fn summary(&self, offered: &[String]) -> String {
        let with_tls = |name: &&String| !self.plaintext && is_password(name) || is_token(name);
        let (after_tls, always): (Vec<&String>, Vec<&String>) = offered
            .iter()
            .filter(|name| self.anonymous || !name.eq_ignore_ascii_case("ANONYMOUS"))
            .partition(with_tls);
        let list = |names: &[&String]| match names {
            [] => "nothing".to_owned(),
            names => names
                .iter()
                .map(|name| name.as_str())
                .collect::<Vec<_>>()
                .join(" "),
        };
        let methods = words(&self.options, "pwcheck_method", "auxprop").join(" ");
        format!(
            "{}: logins by {}{}; passwords are verified by {methods}",
            self.service,
            list(&always),
            match after_tls.as_slice() {
                [] => String::new(),
                names if self.plaintext => format!(", and under TLS by {}", list(names)),
                names => format!(", and under TLS by LOGIN and {}", list(names)),
            }
        )
    }

    /// Why logins will fail, one line for each reason. `offered` are the mechanisms of a client that may use any.
    pub(super) fn doubts(&self, offered: &[String]) -> Vec<String> {
        let mut doubts = self.remarks.clone();
        self.mechanisms(offered, &mut doubts);
        for method in words(&self.options, "pwcheck_method", "auxprop") {
            match method {
                "saslauthd" => doubts.extend(self.saslauthd()),
                "auxprop" => doubts.extend(self.sasldb()),
                "authdaemond" | "alwaystrue" | "auxprop-hashed" => {}
                other => doubts.push(format!(
                    "sasl_pwcheck_method: libsasl2 knows no '{other}'; auxprop and saslauthd are usual"
                )),
            }
        }
        let wants_kerberos = words(&self.options, "mech_list", "")
            .iter()
            .any(|name| KERBEROS.iter().any(|known| known.eq_ignore_ascii_case(name)));
        if wants_kerberos || self.options.contains_key("keytab") {
            doubts.extend(self.keytab());
        }
        doubts
    }

    fn mechanisms(&self, offered: &[String], doubts: &mut Vec<String>) {
        let usable = match offered {
            [] => "none".to_owned(),
            offered => offered.join(" "),
        };
        let wanted = words(&self.options, "mech_list", "");
        for name in &wanted {
            if let Err(why) = self.is_usable(name, offered) {
                doubts.push(format!(
                    "sasl_mech_list: {name} cannot be used: {why} (usable: {usable})"
                ));
            }
        }
        if wanted.is_empty()
            && !self.hidden().is_empty()
            && let Err(why) = self.secrets()
            && words(&self.options, "pwcheck_method", "auxprop").contains(&"auxprop")
        {
            doubts.push(format!("CRAM-MD5, DIGEST-MD5 and SCRAM are not offered: {why}"));
        }
        if offered.is_empty() {
            doubts.push("no mechanism at all can be used; only LOGIN is left".to_owned());
        }
    }

    /// Whether a mechanism that was asked for can be used, or why not.
    fn is_usable(&self, name: &str, offered: &[String]) -> Result<(), String> {
        let name = name.to_ascii_uppercase();
        match name.as_str() {
            // Offered only to those who show a certificate.
            "EXTERNAL" => return self.certificates.map_err(str::to_owned),
            "ANONYMOUS" if !self.anonymous => return Err("allowanonymouslogin is off".to_owned()),
            "OAUTHBEARER" | "XOAUTH2" if !self.tokens => {
                return Err("neither oauth_jwt_keys nor oauth_introspection_url is set".to_owned());
            }
            "KERBEROS_V4" => return Err("Kerberos 4 is no more; GSSAPI is its successor".to_owned()),
            _ => {}
        }
        // Offered only where a connection has something to be bound to.
        let base = name.strip_suffix("-PLUS").unwrap_or(&name);
        if offered.iter().any(|known| known.eq_ignore_ascii_case(base)) {
            return Ok(());
        }
        if SECRET.contains(&base) {
            self.secrets()?;
        }
        let package = match base {
            "GSSAPI" | "GSS-SPNEGO" | "GS2-KRB5" | "GS2-IAKERB" => "libsasl2-modules-gssapi-mit",
            _ => "libsasl2-modules",
        };
        Err(format!(
            "its plugin for libsasl2 is not installed or is not set up; Debian has it in {package}"
        ))
    }

    /// Whether there is a place with users' secrets, or why not.
    fn secrets(&self) -> Result<(), String> {
        // Unset, the library asks every plugin it has; another one may have what sasldb has not.
        let plugins = words(&self.options, "auxprop_plugin", "sasldb");
        if plugins != ["sasldb"] {
            return Ok(());
        }
        let path = self.options.get("sasldb_path").map_or(SASLDB, String::as_str);
        match File::open(path) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("users' secrets would be in {path}: {error}")),
        }
    }

    fn saslauthd(&self) -> Option<String> {
        let socket = self
            .options
            .get("saslauthd_path")
            .map_or(SASLAUTHD, String::as_str);
        if Path::new(socket).is_dir() {
            return Some(format!(
                "sasl_saslauthd_path: {socket} is a directory; the name of the socket belongs to it: {socket}/mux"
            ));
        }
        let error = UnixStream::connect(socket).err()?;
        Some(format!(
            "sasl_pwcheck_method: saslauthd does not answer at {socket}: {error}; start it, or set sasl_saslauthd_path"
        ))
    }

    fn sasldb(&self) -> Option<String> {
        // Unset, the library asks every plugin it has, and there may be better ones.
        if !words(&self.options, "auxprop_plugin", "").contains(&"sasldb") {
            return None;
        }
        let path = self.options.get("sasldb_path").map_or(SASLDB, String::as_str);
        let error = File::open(path).err()?;
        Some(format!(
            "sasl_sasldb_path: {path}: {error}; saslpasswd2 -c -f {path} USER makes it, and the Cyrus user must be able to \
             read it"
        ))
    }

    fn keytab(&self) -> Option<String> {
        let from_environment = std::env::var("KRB5_KTNAME").ok();
        let (option, path) = match (self.options.get("keytab"), &from_environment) {
            (Some(path), _) if path.starts_with("FILE:") => {
                return Some(format!(
                    "sasl_keytab: {path}: libsasl2 wants the plain path, without FILE:"
                ));
            }
            (Some(path), _) => ("sasl_keytab", path.as_str()),
            (None, Some(path)) => ("KRB5_KTNAME", path.strip_prefix("FILE:").unwrap_or(path)),
            (None, None) => ("sasl_keytab", KEYTAB),
        };
        let doubt = keytab::doubt(Path::new(path), &self.principal)?;
        Some(format!(
            "{option}: {doubt}; nobody can log in by GSSAPI. In kadmin: ktadd -k {path} {}",
            self.principal
        ))
    }
}

/// Whether clients can show certificates that are believed, or why not.
fn certificates(config: &Config) -> Result<(), &'static str> {
    let is_set = |option| config.text(option).is_some_and(|path| path != "disabled");
    if !is_set(Opt::TlsServerCert) {
        Err("TLS is needed for it, and tls_server_cert is not set")
    } else if config.choice(Opt::TlsClientCerts) == "off" {
        Err("tls_client_certs is off")
    } else if !is_set(Opt::TlsClientCaFile) && !is_set(Opt::TlsClientCaDir) {
        Err("no authority is believed: neither tls_client_ca_file nor tls_client_ca_dir is set")
    } else {
        Ok(())
    }
}

fn words<'o>(options: &'o HashMap<String, String>, name: &str, default: &'o str) -> Vec<&'o str> {
    let text = options.get(name).map_or(default, String::as_str);
    text.split_whitespace().collect()
}

/// Whether a mechanism sends the password as it is.
fn is_password(mechanism: &str) -> bool {
    is_any(mechanism, &["PLAIN", "LOGIN"])
}

/// Whether a mechanism sends a token, which never goes in clear.
fn is_token(mechanism: &str) -> bool {
    is_any(mechanism, &["OAUTHBEARER", "XOAUTH2"])
}

fn is_any(mechanism: &str, names: &[&str]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(mechanism))
}

/// Mechanisms for which the server must know a secret of each user.
const SECRET: &[&str] = &[
    "CRAM-MD5",
    "DIGEST-MD5",
    "NTLM",
    "SCRAM-SHA-1",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-224",
    "SCRAM-SHA-224-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-384",
    "SCRAM-SHA-384-PLUS",
    "SCRAM-SHA-512",
    "SCRAM-SHA-512-PLUS",
];

/// Mechanisms of Kerberos.
const KERBEROS: &[&str] = &["GSSAPI", "GSS-SPNEGO"];

const SASLAUTHD: &str = "/var/run/saslauthd/mux";
const SASLDB: &str = "/etc/sasldb2";
const KEYTAB: &str = "/etc/krb5.keytab";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// The set-up of a configuration with these lines, whose `sasl_` options count.
    fn setup(lines: &str) -> Setup {
        let text = format!("configdirectory: /var/imap\nservername: mail.example.org\n{lines}");
        let config = Config::parse(Path::new("imapd.conf"), text.as_bytes(), "imap").unwrap();
        let options = config.sasl_options();
        let options = options
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Setup::new(&config, "imap", options)
    }

    fn doubts(lines: &str, offered: &[&str]) -> Vec<String> {
        let offered: Vec<String> = offered.iter().map(|name| (*name).to_owned()).collect();
        setup(lines).doubts(&offered)
    }

    const TRUE: &str = "sasl_pwcheck_method: alwaystrue\n";

    #[test]
    fn each_mechanism_that_cannot_be_used_is_named_with_the_reason_and_those_that_can() {
        let list = "sasl_mech_list: PLAIN gs2-krb5 ANONYMOUS OAUTHBEARER KERBEROS_V4 EXTERNAL SCRAM-SHA-256\n\
                    sasl_sasldb_path: /nonexistent/sasldb2\n";
        let told = doubts(&format!("{TRUE}{list}"), &["PLAIN"]);
        let reasons = [
            "gs2-krb5 cannot be used: its plugin for libsasl2 is not installed or is not set up; Debian has it in \
             libsasl2-modules-gssapi-mit (usable: PLAIN)",
            "ANONYMOUS cannot be used: allowanonymouslogin is off",
            "OAUTHBEARER cannot be used: neither oauth_jwt_keys nor",
            "KERBEROS_V4 cannot be used: Kerberos 4 is no more; GSSAPI is its successor",
            "EXTERNAL cannot be used: TLS is needed for it",
            "SCRAM-SHA-256 cannot be used: users' secrets would be in /nonexistent/sasldb2: No such file",
        ];
        assert_eq!(told.len(), reasons.len(), "{told:#?}");
        for (told, reason) in told.iter().zip(reasons) {
            assert!(told.contains(reason), "{told}");
        }
        let tls = "tls_server_cert: /c\nsasl_mech_list: EXTERNAL\n";
        assert!(doubts(&format!("{TRUE}{tls}"), &["PLAIN"])[0].contains("no authority is believed"));
        let tls = format!("{TRUE}{tls}tls_client_ca_file: /ca\n");
        assert_eq!(doubts(&tls, &["PLAIN"]), [""; 0]);
    }

    #[test]
    fn the_summary_says_what_needs_tls() {
        let offered = ["PLAIN", "SCRAM-SHA-256", "OAUTHBEARER", "ANONYMOUS"].map(str::to_owned);
        assert_eq!(
            setup(TRUE).summary(&offered),
            "imap: logins by SCRAM-SHA-256, and under TLS by LOGIN and PLAIN OAUTHBEARER; passwords are verified by \
             alwaystrue"
        );
        assert_eq!(
            setup("allowplaintext: yes\nallowanonymouslogin: yes\n").summary(&offered),
            "imap: logins by PLAIN SCRAM-SHA-256 ANONYMOUS, and under TLS by OAUTHBEARER; passwords are verified by auxprop"
        );
    }

    #[test]
    fn s091_shared_secret_mechanisms_are_hidden_where_no_secrets_are_kept() {
        let nowhere = "sasl_sasldb_path: /nonexistent/sasldb2\n";
        assert!(setup(nowhere).hidden().contains(&"CRAM-MD5".to_owned()));
        let told = doubts(nowhere, &["PLAIN"]);
        assert!(
            told.iter()
                .any(|line| line.starts_with("CRAM-MD5, DIGEST-MD5 and SCRAM are not offered: ")),
            "{told:?}"
        );
        let filling = format!("{nowhere}sasl_auto_transition: yes\n");
        assert!(setup(&filling).hidden().is_empty());
        assert!(setup("sasl_auxprop_plugin: sql\n").hidden().is_empty());
        let file = tempfile::NamedTempFile::new().unwrap();
        let there = format!("sasl_sasldb_path: {}\n", file.path().display());
        assert!(setup(&there).hidden().is_empty());
    }

    #[test]
    fn s087_a_keytab_without_the_servers_key_is_told_with_the_command_that_adds_it() {
        let lines = format!("{TRUE}sasl_keytab: /nonexistent/keytab\n");
        let told = doubts(&lines, &["GSSAPI"]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("sasl_keytab: /nonexistent/keytab: No such file"),
            "{told:?}"
        );
        assert!(
            told[0].ends_with("ktadd -k /nonexistent/keytab imap/mail.example.org"),
            "{told:?}"
        );
        let prefixed = format!("{TRUE}sasl_keytab: FILE:/etc/keytab\n");
        assert!(doubts(&prefixed, &["GSSAPI"])[0].contains("without FILE:"));
    }

    #[test]
    fn s086_settings_of_kerberos_4_name_its_successor() {
        let told = doubts(&format!("{TRUE}srvtab: /etc/srvtab\n"), &["PLAIN"]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("sasl_keytab names the keytab of its successor, GSSAPI"));
    }

    #[test]
    fn tokens_that_are_good_for_any_service_are_a_doubt() {
        let keys = format!("{TRUE}oauth_jwt_keys: /keys\n");
        assert!(doubts(&keys, &["OAUTHBEARER"])[0].starts_with("oauth_audience is not set"));
        assert_eq!(
            doubts(&format!("{keys}oauth_audience: mail\n"), &["OAUTHBEARER"]),
            [""; 0]
        );
    }

    #[test]
    fn a_saslauthd_that_does_not_answer_is_told_with_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &Path| {
            format!(
                "sasl_pwcheck_method: saslauthd\nsasl_saslauthd_path: {}\n",
                path.display()
            )
        };
        assert!(doubts(&at(dir.path()), &["PLAIN"])[0].contains("is a directory"));
        let set = at(&dir.path().join("mux"));
        let told = doubts(&set, &["PLAIN"]);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("/mux: No such file"), "{told:?}");
        let _listener = UnixListener::bind(dir.path().join("mux")).unwrap();
        assert_eq!(doubts(&set, &["PLAIN"]), [""; 0]);
    }

    #[test]
    fn a_missing_sasldb_is_told_with_the_command_that_makes_it() {
        let set = "sasl_auxprop_plugin: sasldb\nsasl_sasldb_path: /nonexistent/sasldb2\n";
        let told = doubts(set, &["PLAIN"]);
        assert!(
            told.iter()
                .any(|line| line.contains("saslpasswd2 -c -f /nonexistent/sasldb2")),
            "{told:?}"
        );
    }

    #[test]
    fn an_unknown_method_is_told() {
        let told = doubts("sasl_pwcheck_method: sasldb\n", &["PLAIN"]);
        assert!(told[0].contains("knows no 'sasldb'"), "{told:?}");
    }
}
