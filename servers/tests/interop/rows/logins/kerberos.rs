//! Kerberos 5: GSSAPI with each of its security layers, from a KDC that the test starts, and DIGEST-MD5's layers beside it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::verifiers::IMTEST;
use super::wire::Wire;
use super::{implementations, is_there, serve_with, site};
use crate::rig::programs::{Programs, both, found_or_skip, has_client, run};
use crate::rig::server::{Server, Start, free_port};
use crate::rig::site::Site;

/// A KDC of the realm RIG.EXAMPLE with alice and fred in it, and the key of imap/localhost in a keytab.
struct Kdc {
    folder: PathBuf,
    child: Child,
}

impl Kdc {
    fn start(site: &Site) -> Option<Self> {
        let has = has_client("krb5kdc") && has_client("kadmin.local") && has_client("kinit");
        let plugin = Path::new("/usr/lib").read_dir().into_iter().flatten().flatten();
        let mut plugins = plugin.map(|folder| folder.path().join("sasl2/libgssapiv2.so"));
        if !has || !found_or_skip(plugins.any(|path| path.exists()), "libsasl2 has no GSSAPI") {
            return None;
        }
        let folder = site.root().join("kdc");
        std::fs::create_dir(&folder).expect("a folder for the KDC");
        let (port, at) = (free_port(), folder.display());
        let conf = format!(
            "[libdefaults]\n default_realm = RIG.EXAMPLE\n dns_lookup_kdc = false\n dns_lookup_realm = false\n \
             dns_canonicalize_hostname = false\n rdns = false\n udp_preference_limit = 1\n\
             [realms]\n RIG.EXAMPLE = {{\n kdc = 127.0.0.1:{port}\n }}\n[domain_realm]\n localhost = RIG.EXAMPLE\n"
        );
        std::fs::write(folder.join("krb5.conf"), conf).expect("krb5.conf");
        let conf = format!(
            "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n\
             [realms]\n RIG.EXAMPLE = {{\n database_name = {at}/principal\n key_stash_file = {at}/stash\n }}\n\
             [logging]\n kdc = FILE:{at}/kdc.log\n"
        );
        std::fs::write(folder.join("kdc.conf"), conf).expect("kdc.conf");
        let command = |program: &str| {
            let mut command = Command::new(program);
            command
                .envs(environment(&folder))
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
            command
        };
        run(command("kdb5_util").args(["create", "-s", "-P", "master"]));
        let kadmin = |query: &str| run(command("kadmin.local").args(["-q", query]));
        kadmin("addprinc -pw pass alice");
        kadmin("addprinc -pw pass fred");
        kadmin("addprinc -randkey imap/localhost");
        kadmin("addprinc -randkey imap/elsewhere");
        kadmin(&format!("ktadd -k {at}/keytab imap/localhost"));
        kadmin(&format!("ktadd -k {at}/other.keytab imap/elsewhere"));
        let child = command("setpriv")
            .args(["--pdeathsig=TERM", "krb5kdc", "-n"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("krb5kdc");
        run(Command::new("chmod").args(["-R", "a+rX"]).arg(&folder));
        let kdc = Self {
            folder: folder.clone(),
            child,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the KDC does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        for user in ["alice", "fred"] {
            let mut kinit = command("kinit")
                .arg("-c")
                .arg(kdc.tickets(user))
                .arg(user)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .expect("kinit");
            let mut stdin = kinit.stdin.take().expect("it was piped");
            stdin.write_all(b"pass\n").expect("kinit reads the password");
            assert!(kinit.wait().expect("kinit ends").success(), "kinit {user}");
        }
        Some(kdc)
    }

    /// A user's ticket cache.
    fn tickets(&self, user: &str) -> PathBuf {
        self.folder.join(format!("tickets.{user}"))
    }

    fn keytab(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// A program with a user's tickets at hand.
    fn command(&self, program: &str, user: &str) -> Command {
        let mut command = Command::new(program);
        command
            .envs(environment(&self.folder))
            .env("KRB5CCNAME", self.tickets(user));
        command
    }

    /// A server that knows the realm.
    fn serve(&self, site: &Site, programs: &Programs, users: &[&str]) -> Server {
        serve_with(
            site,
            programs,
            users,
            Start {
                environment: environment(&self.folder).to_vec(),
                ..Start::default()
            },
        )
    }
}

fn environment(folder: &Path) -> [(&'static str, String); 3] {
    let file = |name: &str| folder.join(name).display().to_string();
    [
        ("KRB5_CONFIG", file("krb5.conf")),
        ("KRB5_KDC_PROFILE", file("kdc.conf")),
        // The replay cache would be one for all servers of this machine.
        ("KRB5RCACHETYPE", "none".to_owned()),
    ]
}

impl Drop for Kdc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that logs in by GSSAPI with a layer (1 none, 2 integrity, 4 privacy), and uses the connection for everything that
/// could break it.
const CLIENT: &str = include_str!("gssapi.py");

fn python(kdc: &Kdc, user: &str, server: &Server, what: &[&str]) -> (bool, String) {
    let output = kdc
        // Debian's own, which python3-gssapi is for.
        .command("/usr/bin/python3", user)
        .args(["-c", CLIENT, &server.imap_port.to_string()])
        .args(what)
        .output()
        .expect("python3");
    (output.status.success(), both(&output))
}

fn has_python() -> bool {
    let found = Command::new("/usr/bin/python3")
        .args(["-c", "import gssapi"])
        .stderr(Stdio::null())
        .status();
    found_or_skip(
        found.is_ok_and(|status| status.success()),
        "python3-gssapi is not installed",
    )
}

#[test]
fn gssapi_logs_in_with_every_layer_and_the_connection_carries_everything() {
    if !has_python() {
        return;
    }
    for programs in implementations() {
        let name = programs.name;
        // Without an idled, Cyrus looks for news by itself only now and then.
        let site = site(
            &[
                ("sasl_mech_list", "PLAIN GSSAPI GSS-SPNEGO"),
                ("imapidlepoll", "1s"),
            ],
            &["alice"],
        );
        let Some(kdc) = Kdc::start(&site) else { return };
        site.configure(&format!("sasl_keytab: {}\n", kdc.keytab("keytab")));
        let server = kdc.serve(&site, &programs, &["alice", "fred"]);
        for layer in ["1", "2", "4"] {
            let (is_good, said) = python(&kdc, "alice", &server, &[layer, "alice"]);
            assert!(
                is_good && said.contains("all done"),
                "{name} layer {layer}: {said}"
            );
        }
        // Whoever has tickets is nobody else for it.
        let (is_good, said) = python(&kdc, "fred", &server, &["4", "alice"]);
        assert!(!is_good && said.contains("NO "), "{name}: {said}");
        let mut wire = Wire::connect(server.imap_port);
        assert!(wire.greeting.contains("AUTH=GSSAPI"), "{name}: {}", wire.greeting);
        assert!(wire.say("a AUTHENTICATE GSSAPI").starts_with('+'), "{name}");
        wire.send("bm90IGEgdGlja2V0\r\n");
        let reply = wire.hear("a");
        assert!(reply.contains("a NO"), "{name}: {reply}");
        let (is_good, said) = python(&kdc, "alice", &server, &["tamper", "alice"]);
        assert!(is_good, "{name}: {said}");
        for mechanism in ["GSSAPI", "GSS-SPNEGO"] {
            if !is_there(IMTEST) {
                break;
            }
            let output = kdc
                .command(IMTEST, "alice")
                .args(["-m", mechanism, "-p", &server.imap_port.to_string(), "localhost"])
                .stdin(Stdio::null())
                .output()
                .expect("imtest");
            let said = both(&output);
            assert!(said.contains("Authenticated."), "{name} {mechanism}: {said}");
            assert!(
                said.contains("Security strength factor: "),
                "{name} {mechanism}: {said}"
            );
        }
        if name == "ours" {
            let log = server.log();
            assert!(log.contains("oursimap: logins by "), "{log}");
            assert!(!log.contains("keytab"), "{log}");
            assert!(log.contains(" alice GSSAPI User logged in"), "{log}");
        }
    }
}

#[test]
fn s087_the_servers_own_key_is_looked_for_at_the_start() {
    let Some(programs) = Programs::ours() else { return };
    let site = site(&[("sasl_mech_list", "PLAIN GSSAPI")], &["alice"]);
    let Some(kdc) = Kdc::start(&site) else { return };
    site.configure(&format!("sasl_keytab: {}\n", kdc.keytab("other.keytab")));
    let server = kdc.serve(&site, &programs, &[]);
    // master starts the daemon for its first client.
    let mut wire = Wire::connect(server.imap_port);
    assert!(wire.say("a LOGIN alice pass").contains("a OK"));
    let log = server.log();
    assert!(
        log.contains(
            "has no key of imap/localhost (it has: imap/elsewhere@RIG.EXAMPLE); nobody can log in by GSSAPI."
        ),
        "{log}"
    );
}

#[test]
fn digest_md5_protects_a_connection() {
    if !found_or_skip(is_there(IMTEST), "cyrus-clients is not installed") {
        return;
    }
    for programs in implementations() {
        let name = programs.name;
        let site = site(&[("sasl_mech_list", "PLAIN DIGEST-MD5")], &["alice"]);
        let server = serve_with(&site, &programs, &["alice"], Start::default());
        for (most, strength) in [("1", "1"), ("256", "128")] {
            let mut child = Command::new(IMTEST)
                .args([
                    "-m",
                    "DIGEST-MD5",
                    "-u",
                    "alice",
                    "-a",
                    "alice",
                    "-w",
                    "pass",
                    "-r",
                    "localhost",
                ])
                .args(["-l", most, "-p", &server.imap_port.to_string(), "localhost"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("imtest");
            let message = format!("Subject: large\r\n\r\n{}", "0123456789abcdef\r\n".repeat(8_000));
            let commands = format!(
                "a SELECT INBOX\r\nb APPEND INBOX {{{}+}}\r\n{message}\r\nc FETCH * (RFC822.SIZE BODY.PEEK[])\r\nd LOGOUT\r\n",
                message.len()
            );
            let mut stdin = child.stdin.take().expect("it was piped");
            let writer = std::thread::spawn(move || {
                // imtest may be gone before it has read all, which shows in what it said.
                let _ = stdin.write_all(commands.as_bytes());
                stdin
            });
            let mut said = String::new();
            let mut stdout = child.stdout.take().expect("it was piped");
            stdout.read_to_string(&mut said).expect("text");
            drop(writer.join());
            let _ = child.wait();
            let said = said.replace('\r', "");
            let short: String = said
                .lines()
                .filter(|line| !line.starts_with("0123"))
                .collect::<Vec<_>>()
                .join("\n");
            assert!(
                said.contains(&format!("Security strength factor: {strength}\n")),
                "{name} {most}: {short}"
            );
            assert!(
                said.contains("b OK") && said.contains("c OK") && said.contains("d OK"),
                "{name}: {short}"
            );
            assert!(
                said.contains(&format!("RFC822.SIZE {}", message.len())),
                "{name}: {short}"
            );
            assert_eq!(
                said.matches("0123456789abcdef\n").count(),
                8_000,
                "{name}: {short}"
            );
        }
    }
}
