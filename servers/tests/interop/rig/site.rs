//! A site: configuration, users' passwords and spool in a folder of its own, ready for either implementation's daemons.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::programs::{Programs, as_service_user, both, is_root, run};
use super::server::{Server, Start};

/// A private Cyrus site; removed with the value, unless `RIG_KEEP` is set.
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    /// A fresh site with Cyrus 3.6's defaults and these options; no mailbox yet.
    pub(crate) fn new(options: &[(&str, &str)], users: &[&str]) -> Self {
        let site = Self::empty();
        let root = site.root().display();
        let mut conf = format!(
            "configdirectory: {root}/conf\ndefaultpartition: default\npartition-default: {root}/spool\n\
             admins: admin\nallowplaintext: yes\nsievedir: {root}/sieve\n"
        );
        for (name, value) in options {
            // Real Cyrus takes no option twice.
            conf = conf
                .lines()
                .filter(|line| !line.starts_with(&format!("{name}:")))
                .fold(String::new(), |conf, line| conf + line + "\n");
            conf.push_str(&format!("{name}: {value}\n"));
        }
        site.finish(conf, users);
        site
    }

    /// A copy of a spool that real Cyrus wrote, from `tests/fixtures`.
    pub(crate) fn fixture(name: &str, users: &[&str]) -> Self {
        let site = Self::empty();
        let archive = fixtures().join(format!("{name}.tar.xz"));
        run(Command::new("tar")
            .arg("-xJf")
            .arg(archive)
            .arg("-C")
            .arg(site.root()));
        let conf = std::fs::read_to_string(site.conf()).expect("the fixture's imapd.conf");
        site.finish(conf.replace("@ROOT@", &site.root().display().to_string()), users);
        site
    }

    fn empty() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("cyrus-rig-")
            .disable_cleanup(std::env::var_os("RIG_KEEP").is_some())
            .tempdir()
            .expect("a folder for the site");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))
            .expect("the site's own folder");
        Self { folder }
    }

    /// Completes the configuration with what no fixture holds: passwords, and the names of sockets.
    fn finish(&self, mut conf: String, users: &[&str]) {
        let root = self.root();
        conf.push_str(&format!(
            "servername: localhost\nlmtpsocket: {0}/real.lmtp\nsasl_pwcheck_method: auxprop\n\
             sasl_auxprop_plugin: sasldb\nsasl_sasldb_path: {0}/sasldb2\nsasl_mech_list: PLAIN LOGIN\n",
            root.display()
        ));
        if !is_root() {
            let me = run(Command::new("id").arg("-un"));
            conf.push_str(&format!("cyrus_user: {}\n", me.trim()));
        }
        std::fs::write(self.conf(), conf).expect("imapd.conf");
        for folder in [
            "conf",
            "conf/db",
            "conf/socket",
            "conf/proc",
            "conf/lock",
            "spool",
            "sieve",
        ] {
            std::fs::create_dir_all(root.join(folder)).expect("a folder of the site");
        }
        for user in users.iter().chain(&["admin"]) {
            let (name, realm) = user.split_once('@').unwrap_or((user, "localhost"));
            self.password(name, realm);
        }
        if is_root() {
            run(Command::new("chown").args(["-R", "cyrus:mail"]).arg(root));
        }
    }

    /// Gives a user the password `pass`.
    pub(crate) fn password(&self, user: &str, realm: &str) {
        let mut child = Command::new("/usr/sbin/saslpasswd2")
            .args(["-c", "-p", "-u", realm, "-f"])
            .args([self.root().join("sasldb2").as_os_str(), user.as_ref()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("saslpasswd2 (package sasl2-bin)");
        child
            .stdin
            .take()
            .expect("it was piped")
            .write_all(b"pass")
            .expect("saslpasswd2 reads the password");
        assert!(
            child.wait().expect("saslpasswd2 ends").success(),
            "saslpasswd2 for {user}"
        );
    }

    /// Takes over the passwords of another site.
    pub(crate) fn take_passwords(&self, of: &Self) {
        let own = self.root().join("sasldb2");
        std::fs::copy(of.root().join("sasldb2"), &own).expect("copying the passwords");
        self.own(&own);
    }

    /// The folder that holds everything.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The path of imapd.conf.
    pub(crate) fn conf(&self) -> PathBuf {
        self.root().join("imapd.conf")
    }

    /// Adds options to imapd.conf; for daemons started later.
    pub(crate) fn configure(&self, lines: &str) {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(self.conf())
            .expect("imapd.conf");
        file.write_all(lines.as_bytes()).expect("writing imapd.conf");
    }

    /// Takes an option out of imapd.conf; for daemons started later.
    pub(crate) fn unset(&self, option: &str) {
        let conf = std::fs::read_to_string(self.conf()).expect("imapd.conf");
        let prefix = format!("{option}:");
        let kept: Vec<&str> = conf.lines().filter(|line| !line.starts_with(&prefix)).collect();
        std::fs::write(self.conf(), kept.join("\n") + "\n").expect("writing imapd.conf");
    }

    /// Makes a certificate for localhost and turns TLS on.
    pub(crate) fn enable_tls(&self) {
        let (cert, key) = (self.root().join("cert.pem"), self.root().join("key.pem"));
        run(Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "30",
            ])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-keyout",
            ])
            .arg(&key)
            .arg("-out")
            .arg(&cert));
        self.own(&key);
        self.own(&cert);
        self.configure(&format!(
            "tls_server_cert: {}\ntls_server_key: {}\n",
            cert.display(),
            key.display()
        ));
    }

    /// Gives a file to the user who runs the daemons.
    pub(crate) fn own(&self, path: &Path) {
        if is_root() {
            let ids = std::fs::metadata(self.root().join("conf")).expect("the site's conf folder");
            let (uid, gid) = (
                std::os::unix::fs::MetadataExt::uid(&ids),
                std::os::unix::fs::MetadataExt::gid(&ids),
            );
            chown(path, Some(uid), Some(gid)).expect("changing an owner");
        }
    }

    /// Starts `master` with imapd and lmtpd of one implementation, after recovery of the databases.
    pub(crate) fn start(&self, programs: &Programs) -> Server {
        Server::start(self, programs, Start::default())
    }

    /// The same beside other daemons at work on the site, whose databases are not to be recovered under them.
    pub(crate) fn start_beside(&self, programs: &Programs) -> Server {
        Server::start(
            self,
            programs,
            Start {
                recover: false,
                ..Start::default()
            },
        )
    }

    /// Runs a tool of an implementation on this site, as the user who owns the spool.
    pub(crate) fn tool(&self, programs: &Programs, program: &str, arguments: &[&str]) -> Output {
        let reachable = programs.reachable(&self.root().join("programs"));
        let mut command = as_service_user(reachable.path(program));
        command
            .arg("-C")
            .arg(self.conf())
            .args(arguments)
            .current_dir(self.root())
            .stdin(Stdio::null());
        command
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// The output of a tool that must succeed.
    pub(crate) fn tool_ok(&self, programs: &Programs, program: &str, arguments: &[&str]) -> String {
        let output = self.tool(programs, program, arguments);
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}\n{}",
            output.status,
            both(&output)
        );
        both(&output)
    }
}

/// Where the spools written by real Cyrus and their manifests lie.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}
