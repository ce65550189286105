//! A mail server to try out: configuration, user and certificate in a directory of its own, loopback ports.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cyrus_acl::AuthState;
use cyrus_store::{MailboxError, MailboxName};

use crate::cyrus_conf::{CyrusConf, Listen};
use crate::engine::Engine;

/// The directory of a demonstration.
pub struct Demo {
    root: PathBuf,
}

/// Why there is no demonstration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// A file or directory could not be made.
    #[error("{op} {}: {source}", path.display())]
    Io {
        /// What was tried.
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program of the system's is missing or failed.
    #[error("{program}: {what}; it comes with Debian's package {package}")]
    Program {
        /// The program.
        program: &'static str,
        /// What went wrong.
        what: String,
        /// Where it comes from.
        package: &'static str,
    },
    /// The mailbox could not be made.
    #[error("the mailbox of {USER}: {0}")]
    Mailbox(#[from] MailboxError),
}

const USER: &str = "demo";
const PASSWORD: &str = "demo";
const IMAP: u16 = 1143;
const IMAPS: u16 = 1993;
const LMTP: u16 = 1024;

impl Demo {
    /// Makes what is missing in `directory`; a second call changes nothing.
    ///
    /// # Errors
    /// See [`DemoError`].
    pub fn make(directory: &Path) -> Result<Self, DemoError> {
        make_dir(directory)?;
        let root = directory
            .canonicalize()
            .map_err(|source| io_error("find", directory, source))?;
        let demo = Self { root };
        for name in ["conf", "conf/db", "conf/proc", "conf/socket", "conf/log", "spool"] {
            make_dir(&demo.path(name))?;
        }
        demo.write("imapd.conf", &demo.imapd_settings())?;
        demo.write("cyrus.conf", &demo.services())?;
        demo.make_certificate()?;
        demo.make_user()?;
        Ok(demo)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The path of its imapd.conf.
    pub fn imapd_conf(&self) -> String {
        self.text("imapd.conf")
    }

    /// The path of its cyrus.conf.
    pub fn cyrus_conf(&self) -> String {
        self.text("cyrus.conf")
    }

    /// Makes the demonstration user's INBOX, once.
    ///
    /// # Errors
    /// The store refuses.
    pub fn make_mailbox(&self, engine: &Engine) -> Result<(), DemoError> {
        let inbox = MailboxName::parse(&format!("user.{USER}")).map_err(MailboxError::from)?;
        if engine.store().lookup(&inbox)?.is_none() {
            engine.store().create(&inbox, &AuthState::system())?;
        }
        Ok(())
    }

    /// What to type to read and deliver mail.
    ///
    /// The addresses are those of its cyrus.conf, which may have been changed since it was made.
    pub fn how_to_use(&self, services: &CyrusConf) -> String {
        let root = self.root.display();
        let address =
            |service: &str| address_of(services, service).unwrap_or_else(|| "(not served)".to_owned());
        let (imap, imaps, lmtp) = (address("imap"), address("imaps"), address("lmtp"));
        // Nothing is installed yet: the program lies beside this one.
        let deliver = std::env::current_exe().map_or_else(
            |_| PathBuf::from("deliver"),
            |program| program.with_file_name("deliver"),
        );
        let deliver = deliver.display();
        format!(
            "\n\
             A mail server is running in {root}; stop it with Ctrl-C.\n\
             \n\
             user {USER}, password {PASSWORD}; IMAP {imap}, IMAPS {imaps}, LMTP {lmtp}\n\
             \n\
             deliver:  printf 'Subject: hello\\r\\n\\r\\nHi.\\r\\n' | {deliver} -C {root}/imapd.conf {USER}\n\
             \x20         smtp-source -L -c -t {USER} {lmtp}\n\
             list:     curl -k --user {USER}:{PASSWORD} imaps://{imaps}/\n\
             read:     curl -k --user {USER}:{PASSWORD} 'imaps://{imaps}/INBOX;UID=1'\n\
             \x20         mutt -f imaps://{USER}@{imaps}/\n"
        )
    }

    fn write(&self, name: &str, text: &str) -> Result<(), DemoError> {
        let path = self.path(name);
        if path.exists() {
            return Ok(());
        }
        fs::write(&path, text).map_err(|source| io_error("write", &path, source))
    }

    fn imapd_settings(&self) -> String {
        let root = self.root.display();
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid())
            .ok()
            .flatten()
            .map_or_else(|| "cyrus".to_owned(), |user| user.name);
        format!(
            "cyrus_user: {user}\n\
             configdirectory: {root}/conf\n\
             defaultpartition: default\n\
             partition-default: {root}/spool\n\
             lmtpsocket: {root}/conf/socket/lmtp\n\
             servername: localhost\n\
             admins: cyrus\n\
             allowplaintext: yes\n\
             sasl_pwcheck_method: auxprop\n\
             sasl_auxprop_plugin: sasldb\n\
             sasl_sasldb_path: {root}/sasldb2\n\
             sasl_mech_list: PLAIN LOGIN\n\
             tls_server_cert: {root}/cert.pem\n\
             tls_server_key: {root}/key.pem\n"
        )
    }

    fn services(&self) -> String {
        let root = self.root.display();
        format!(
            "SERVICES {{\n  \
             imap      cmd=\"imapd\"     listen=\"127.0.0.1:{IMAP}\"\n  \
             imaps     cmd=\"imapd -s\"  listen=\"127.0.0.1:{IMAPS}\"\n  \
             lmtp      cmd=\"lmtpd -a\"  listen=\"127.0.0.1:{LMTP}\"\n  \
             lmtpunix  cmd=\"lmtpd\"     listen=\"{root}/conf/socket/lmtp\"\n\
             }}\n"
        )
    }

    fn make_certificate(&self) -> Result<(), DemoError> {
        let (certificate, key) = (self.text("cert.pem"), self.text("key.pem"));
        if self.path("cert.pem").exists() {
            return Ok(());
        }
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"]);
        command.args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ]);
        command.args(["-keyout", &key, "-out", &certificate]);
        run("openssl", "openssl", &mut command, "")
    }

    fn make_user(&self) -> Result<(), DemoError> {
        let sasldb = self.path("sasldb2");
        if sasldb.exists() {
            return Ok(());
        }
        for user in [USER, "cyrus"] {
            let mut command = Command::new("/usr/sbin/saslpasswd2");
            command
                .args(["-p", "-c", "-u", "localhost", "-f"])
                .arg(&sasldb)
                .arg(user);
            run("saslpasswd2", "sasl2-bin", &mut command, PASSWORD)?;
        }
        Ok(())
    }
}

/// Where a service listens, as clients write it.
fn address_of(services: &CyrusConf, name: &str) -> Option<String> {
    let service = services
        .services
        .iter()
        .find(|service| service.command.name == name)?;
    match &service.listen {
        Listen::Unix(path) => Some(path.display().to_string()),
        Listen::Port { host, port } => Some(match host.as_deref() {
            None => format!("localhost:{port}"),
            Some(host) if host.contains(':') => format!("[{host}]:{port}"),
            Some(host) => format!("{host}:{port}"),
        }),
    }
}

/// Runs a program of the system's with `input`.
fn run(
    program: &'static str,
    package: &'static str,
    command: &mut Command,
    input: &str,
) -> Result<(), DemoError> {
    let failed = |what: String| DemoError::Program {
        program,
        what,
        package,
    };
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read says so by its exit code.
        let _ = io::Write::write_all(&mut stdin, input.as_bytes());
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

fn make_dir(path: &Path) -> Result<(), DemoError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| io_error("make", path, source))
}

fn io_error(op: &'static str, path: &Path, source: io::Error) -> DemoError {
    DemoError::Io {
        op,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_are_the_addresses_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let demo = Demo {
            root: dir.path().to_owned(),
        };
        demo.write("cyrus.conf", &demo.services()).unwrap();
        let printed = |demo: &Demo| demo.how_to_use(&CyrusConf::load(demo.cyrus_conf()).unwrap());
        assert!(printed(&demo).contains("IMAPS 127.0.0.1:1993, LMTP 127.0.0.1:1024\n"));
        let changed = demo.services().replace("127.0.0.1:1993", "[::1]:2993");
        let changed = changed.replace(":1024", ":2024").replace("imap  ", "other  ");
        fs::write(demo.cyrus_conf(), changed).unwrap();
        let text = printed(&demo);
        assert!(
            text.contains("IMAP (not served), IMAPS [::1]:2993, LMTP 127.0.0.1:2024\n"),
            "{text}"
        );
        assert!(
            text.contains("imaps://demo@[::1]:2993/") && !text.contains("1993"),
            "{text}"
        );
    }
}
