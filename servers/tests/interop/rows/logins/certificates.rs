//! TLS: certificates of clients and of the server, versions, names, and new certificates under old connections.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use openssl::ssl::{SslConnectorBuilder, SslVersion};

use super::wire::{Wire, tls, tls_as};
use super::{implementations, is_there, serve_with, site};
use crate::rig::programs::{Programs, run};
use crate::rig::server::{Server, Start};
use crate::rig::site::Site;

/// A certification authority in a folder.
struct Authority {
    folder: PathBuf,
}

impl Authority {
    fn new(site: &Site) -> Self {
        let folder = site.root().join("ca");
        std::fs::create_dir(&folder).expect("a folder for certificates");
        let authority = Self { folder };
        authority.openssl(
            &[
                "req",
                "-x509",
                "-nodes",
                "-days",
                "30",
                "-subj",
                "/CN=the authority",
            ],
            "ca",
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
        );
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn openssl(&self, first: &[&str], name: &str, key: &[&str]) {
        run(Command::new("openssl")
            .args(first)
            .args(key)
            .arg("-keyout")
            .arg(self.path(&format!("{name}.key")))
            .arg("-out")
            .arg(self.path(&format!("{name}.pem"))));
    }

    /// A certificate signed by the authority, for this subject and with these alternative names; its files.
    fn issue(&self, name: &str, subject: &str, names: &str) -> (PathBuf, PathBuf) {
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
        self.issue_with(name, subject, names, &key)
    }

    fn issue_with(&self, name: &str, subject: &str, names: &str, key: &[&str]) -> (PathBuf, PathBuf) {
        let (ca, ca_key) = (self.path("ca.pem"), self.path("ca.key"));
        let extension = match names {
            "" => "basicConstraints=CA:FALSE".to_owned(),
            names => format!("subjectAltName={names}"),
        };
        let first = [
            "req",
            "-x509",
            "-nodes",
            "-days",
            "30",
            "-CA",
            ca.to_str().expect("text"),
            "-CAkey",
            ca_key.to_str().expect("text"),
            "-subj",
            subject,
            "-addext",
            &extension,
        ];
        self.openssl(&first, name, key);
        (
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        )
    }
}

/// A site whose server believes the certificates of an authority.
fn believing(options: &[(&str, &str)], users: &[&str]) -> (Site, Authority) {
    let mut all = vec![("sasl_mech_list", "PLAIN LOGIN EXTERNAL")];
    all.extend_from_slice(options);
    let site = site(&all, users);
    let authority = Authority::new(&site);
    site.enable_tls();
    site.configure(&format!(
        "tls_client_ca_file: {}\n",
        authority.path("ca.pem").display()
    ));
    readable(&site);
    (site, authority)
}

/// Lets the daemons read what root has written.
fn readable(site: &Site) {
    run(Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(site.root().join("ca")));
}

fn start(site: &Site, programs: &Programs) -> Server {
    readable(site);
    serve_with(
        site,
        programs,
        &[],
        Start {
            tls: true,
            ..Start::default()
        },
    )
}

fn implicit(server: &Server, tls: SslConnectorBuilder) -> Result<Wire, String> {
    Wire::secure(server.imaps_port, "localhost", tls)
}

#[test]
fn a_client_certificate_logs_in_whom_its_common_name_says() {
    for programs in implementations() {
        let name = programs.name;
        let (site, authority) = believing(&[], &["alice"]);
        let alice = authority.issue("alice", "/O=Example/CN=alice", "email:bob@example.org");
        let admin = authority.issue("admin", "/CN=admin", "");
        let nameless = authority.issue(
            "nameless",
            "/O=Example/emailAddress=alice@example.org",
            "email:alice",
        );
        let two = authority.issue("two", "/CN=alice/CN=bob", "");
        let server = start(&site, &programs);
        let mut plain = implicit(&server, tls()).expect("no certificate is needed");
        assert!(
            !plain.greeting.contains("AUTH=EXTERNAL"),
            "{name}: {}",
            plain.greeting
        );
        assert!(plain.say("a AUTHENTICATE EXTERNAL =").contains("a NO"), "{name}");
        let whom = |files: &(PathBuf, PathBuf), wanted: &str| {
            let mut wire = implicit(&server, tls_as(&files.0, &files.1)).expect("a good certificate");
            let reply = wire.say(&format!("a AUTHENTICATE EXTERNAL {wanted}"));
            if !reply.contains("a OK") {
                return None;
            }
            let reply = wire.say("b GETACL INBOX");
            Some(reply.contains("ACL INBOX alice"))
        };
        let mut setup = Wire::connect(server.imap_port);
        setup.say("a LOGIN admin pass");
        setup.say("b CREATE user/alice");
        assert_eq!(whom(&alice, "="), Some(true), "{name}");
        // alice, in base64
        assert_eq!(whom(&alice, "YWxpY2U="), Some(true), "{name}");
        // admin
        assert_eq!(whom(&alice, "YWRtaW4="), None, "{name}");
        assert_eq!(whom(&admin, "YWxpY2U="), Some(true), "{name}");
        assert_eq!(whom(&nameless, "="), None, "{name}");
        assert_eq!(whom(&two, "="), Some(true), "{name}");
        // It goes by STARTTLS as well.
        let wire = Wire::connect(server.imap_port);
        let mut wire = wire.start_tls("t STARTTLS", tls_as(&alice.0, &alice.1));
        assert!(wire.say("c CAPABILITY").contains("AUTH=EXTERNAL"), "{name}");
        assert!(wire.say("a AUTHENTICATE EXTERNAL =").contains("a OK"), "{name}");
    }
}

#[test]
fn client_certificates_are_ignored_taken_or_demanded() {
    for programs in implementations() {
        let name = programs.name;
        for (setting, without, foreign) in [
            ("off", true, true),
            ("optional", true, false),
            ("require", false, false),
        ] {
            let (site, authority) = believing(&[("tls_client_certs", setting)], &["alice"]);
            let alice = authority.issue("alice", "/CN=alice", "");
            let stranger = site.root().join("ca/stranger");
            let (cert, key) = (stranger.with_extension("pem"), stranger.with_extension("key"));
            run(Command::new("openssl")
                .args(["req", "-x509", "-nodes", "-days", "3", "-subj", "/CN=alice"])
                .args([
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                    "-keyout",
                ])
                .arg(&key)
                .arg("-out")
                .arg(&cert));
            let server = start(&site, &programs);
            let at = format!("{name} {setting}");
            assert_eq!(implicit(&server, tls()).is_ok(), without, "{at}");
            assert_eq!(implicit(&server, tls_as(&cert, &key)).is_ok(), foreign, "{at}");
            let wire = implicit(&server, tls_as(&alice.0, &alice.1));
            let mut wire = wire.unwrap_or_else(|error| panic!("{at}: {error}"));
            let reply = wire.say("a AUTHENTICATE EXTERNAL =");
            assert_eq!(reply.contains("a OK"), setting != "off", "{at}: {reply}");
        }
    }
}

#[test]
fn versions_ciphers_and_both_kinds_of_keys() {
    for programs in implementations() {
        let name = programs.name;
        let (site, authority) = believing(
            &[
                ("tls_versions", "tls1_2"),
                ("tls_ciphers", "ECDHE+AESGCM"),
                ("tls_prefer_server_ciphers", "yes"),
            ],
            &["alice"],
        );
        let rsa = authority.issue_with("rsa", "/CN=localhost", "DNS:localhost", &["-newkey", "rsa:2048"]);
        let ec = authority.issue("ec", "/CN=localhost", "DNS:localhost");
        for option in ["tls_server_cert", "tls_server_key"] {
            site.unset(option);
        }
        site.configure(&format!(
            "tls_server_cert: {},{}\ntls_server_key: {},{}\n",
            rsa.0.display(),
            ec.0.display(),
            rsa.1.display(),
            ec.1.display()
        ));
        let server = start(&site, &programs);
        let with = |list: &str| {
            let mut tls = tls();
            tls.set_cipher_list(list).unwrap();
            tls.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
            implicit(&server, tls).map(|wire| {
                let ssl = wire.ssl();
                let cipher = ssl.current_cipher().expect("a cipher").name().to_owned();
                format!("{} {cipher}", ssl.version_str())
            })
        };
        assert_eq!(
            with("ECDHE-RSA-AES256-GCM-SHA384").as_deref(),
            Ok("TLSv1.2 ECDHE-RSA-AES256-GCM-SHA384"),
            "{name}"
        );
        assert_eq!(
            with("ECDHE-ECDSA-AES256-GCM-SHA384").as_deref(),
            Ok("TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384"),
            "{name}"
        );
        assert!(with("ECDHE-RSA-AES256-SHA384").is_err(), "{name}");
        let mut newest = tls();
        newest.set_min_proto_version(Some(SslVersion::TLS1_3)).unwrap();
        assert!(implicit(&server, newest).is_err(), "{name}");
    }
}

/// The common name of the server's certificate.
fn common_name(wire: &Wire) -> String {
    let certificate = wire.ssl().peer_certificate().expect("a certificate");
    let mut names = certificate
        .subject_name()
        .entries_by_nid(openssl::nid::Nid::COMMONNAME);
    names.next().expect("a name").data().to_string().expect("text")
}

#[test]
fn each_name_has_its_certificate_with_its_chain() {
    let Some(programs) = Programs::ours() else { return };
    let (site, authority) = believing(&[], &["alice"]);
    let one = authority.issue("one", "/CN=first", "DNS:mail.example.org,DNS:imap.example.org");
    let many = authority.issue("many", "/CN=second", "DNS:*.example.com");
    let ca = std::fs::read(authority.path("ca.pem")).unwrap();
    // The second in one file, with its chain and its key.
    let parts = [
        std::fs::read(&many.0).unwrap(),
        ca,
        std::fs::read(&many.1).unwrap(),
    ];
    let whole = authority.path("whole.pem");
    std::fs::write(&whole, parts.concat()).unwrap();
    site.configure(&format!(
        "tls_sni_certs: {}:{} {}\n",
        one.0.display(),
        one.1.display(),
        whole.display()
    ));
    let server = start(&site, &programs);
    for (host, expected) in [
        ("imap.example.org", "first"),
        ("IMAP.Example.ORG", "first"),
        ("any.example.com", "second"),
        ("a.b.example.com", "localhost"),
        ("other.example", "localhost"),
    ] {
        let wire = Wire::secure(server.imaps_port, host, tls()).unwrap();
        assert_eq!(common_name(&wire), expected, "{host}");
        if expected == "second" {
            assert_eq!(wire.ssl().peer_cert_chain().map(|chain| chain.len()), Some(2));
        }
    }
}

/// Waits until new connections get a certificate of this name.
fn wait_for(server: &Server, name: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = common_name(&implicit(server, tls()).expect("a connection"));
        if found == name {
            return;
        }
        assert!(Instant::now() < deadline, "still {found}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_new_certificate_is_used_at_once_and_ends_no_session() {
    let Some(programs) = Programs::ours() else { return };
    let (site, authority) = believing(&[], &["alice"]);
    let server = start(&site, &programs);
    let mut old = implicit(&server, tls()).unwrap();
    assert!(old.say("a LOGIN alice pass").contains("a OK"));
    let replace = |with: &(PathBuf, PathBuf)| {
        for (from, to) in [(&with.1, "key.pem"), (&with.0, "cert.pem")] {
            let (fresh, place) = (site.root().join("fresh"), site.root().join(to));
            std::fs::copy(from, &fresh).unwrap();
            site.own(&fresh);
            std::fs::rename(&fresh, &place).unwrap();
        }
    };
    let renewed = authority.issue("renewed", "/CN=renewed", "DNS:localhost");
    replace(&renewed);
    wait_for(&server, "renewed");
    assert_eq!(common_name(&old), "localhost");
    assert!(old.say("b NOOP").contains("b OK"));
    // What is unusable changes nothing, and is told.
    std::fs::write(site.root().join("cert.pem"), "no certificate").unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !server
        .log()
        .contains("the certificate that was read before stays in use")
    {
        assert!(Instant::now() < deadline, "{}", server.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(common_name(&implicit(&server, tls()).unwrap()), "renewed");
    assert!(old.say("c NOOP").contains("c OK"));
    // At SIGHUP a new process takes over, with whatever there is then; the old one stays with its sessions.
    replace(&authority.issue("last", "/CN=last", "DNS:localhost"));
    for pid in server.children() {
        let pid = rustix::process::Pid::from_raw(pid).expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("SIGHUP");
    }
    wait_for(&server, "last");
    assert!(old.say("d SELECT INBOX").contains("d "));
    assert_eq!(common_name(&old), "localhost");
}

/// What openssl says of a handshake for which it has, or keeps, a session.
fn s_client(server: &Server, version: &str, session: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            version,
            "-connect",
            &format!("127.0.0.1:{}", server.imaps_port),
        ])
        .args(session)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let mut stdin = child.stdin.take().expect("it was piped");
    // The answer has brought the session along.
    std::io::Write::write_all(&mut stdin, b"a LOGOUT\r\n").expect("openssl reads");
    let output = child.wait_with_output().expect("openssl ends");
    drop(stdin);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn sessions_are_resumed_unless_that_is_switched_off() {
    let Some(programs) = Programs::ours() else { return };
    for (timeout, may) in [("24h", true), ("0", false)] {
        let (site, _authority) = believing(&[("tls_session_timeout", timeout)], &[]);
        let server = start(&site, &programs);
        for version in ["-tls1_2", "-tls1_3"] {
            let file = site.root().join(format!("session{version}"));
            let file = file.to_str().expect("text");
            let first = s_client(&server, version, &["-sess_out", file]);
            assert!(first.contains("New, TLSv1"), "{version}: {first}");
            if !is_there(file) {
                assert!(!may, "{version}");
                continue;
            }
            let again = s_client(&server, version, &["-sess_in", file]);
            assert_eq!(
                again.contains("Reused, TLSv1"),
                may,
                "{version} {timeout}: {again}"
            );
        }
    }
}

#[test]
fn revoked_certificates_are_refused() {
    let Some(programs) = Programs::ours() else { return };
    let (site, authority) = believing(&[], &["alice"]);
    let alice = authority.issue("alice", "/CN=alice", "");
    let bob = authority.issue("bob", "/CN=bob", "");
    let list = authority.path("crl.pem");
    revoke(&authority, &bob.0, &list);
    site.configure(&format!("tls_crl_file: {}\n", list.display()));
    let server = start(&site, &programs);
    assert!(implicit(&server, tls_as(&alice.0, &alice.1)).is_ok());
    assert!(implicit(&server, tls_as(&bob.0, &bob.1)).is_err());
}

fn revoke(authority: &Authority, certificate: &Path, list: &Path) {
    let folder = authority.folder.display();
    let conf = authority.path("ca.conf");
    let text = format!(
        "[ca]\ndefault_ca = own\n[own]\ndatabase = {folder}/index.txt\ncrlnumber = {folder}/number\n\
         default_md = sha256\ndefault_crl_days = 30\n"
    );
    std::fs::write(&conf, text).unwrap();
    std::fs::write(authority.path("index.txt"), "").unwrap();
    std::fs::write(authority.path("number"), "01\n").unwrap();
    let ca = |arguments: &[&std::ffi::OsStr]| {
        run(Command::new("openssl")
            .arg("ca")
            .arg("-config")
            .arg(&conf)
            .arg("-cert")
            .arg(authority.path("ca.pem"))
            .arg("-keyfile")
            .arg(authority.path("ca.key"))
            .args(arguments))
    };
    ca(&["-revoke".as_ref(), certificate.as_os_str()]);
    ca(&["-gencrl".as_ref(), "-out".as_ref(), list.as_os_str()]);
}
