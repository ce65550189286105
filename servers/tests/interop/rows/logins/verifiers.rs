//! Who verifies passwords: saslauthd with PAM and the shadow file behind it, sasldb, and one that is slow.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::wire::Wire;
use super::{b64, implementations, is_there, serve, serve_with, site};
use crate::rig::programs::{Programs, both, found_or_skip, run};
use crate::rig::server::{Start, free_port};
use crate::rig::site::Site;

/// Cyrus's test client, of Debian's package cyrus-clients.
pub(super) const IMTEST: &str = "/usr/lib/cyrus/bin/imtest";

/// Whether imtest logs alice in by a mechanism with this password; what it said.
pub(super) fn imtest(port: u16, mechanism: &str, password: &str, more: &[&str]) -> (bool, String) {
    let output = Command::new(IMTEST)
        .args([
            "-m",
            mechanism,
            "-u",
            "alice",
            "-a",
            "alice",
            "-w",
            password,
            "-r",
            "localhost",
        ])
        .args(more)
        .args(["-p", &port.to_string(), "localhost"])
        .stdin(Stdio::null())
        .output()
        .expect("imtest");
    let said = both(&output);
    (said.contains("Authenticated."), said)
}

/// A saslauthd of our own, in a file-system namespace of its own, where the system's users are others.
struct Saslauthd {
    child: Child,
}

impl Saslauthd {
    /// One user, `paula` with the password `pass word`, who is only in a passwd and shadow file that nobody else sees. `None`, with
    /// the reason printed, where there can be no such namespace.
    fn start(folder: &Path, mechanism: &str) -> Option<Self> {
        let can = Command::new("unshare").args(["-m", "true"]).status();
        let can = is_there("/usr/sbin/saslauthd") && can.is_ok_and(|status| status.success());
        if !found_or_skip(can, "there is no saslauthd, or no namespace for it") {
            return None;
        }
        let hash = run(Command::new("openssl").args(["passwd", "-6", "pass word"]));
        let add = |name: &str, line: String| {
            let own = folder.join(name);
            let text = std::fs::read_to_string(format!("/etc/{name}")).expect("a file of users");
            std::fs::write(&own, text + &line).expect("our file of users");
            own
        };
        let passwd = add("passwd", "paula:x:54321:54321::/nonexistent:/bin/sh\n".to_owned());
        let shadow = add("shadow", format!("paula:{}:19000:0:99999:7:::\n", hash.trim()));
        let run_folder = folder.join("saslauthd");
        std::fs::create_dir(&run_folder).expect("a folder for the socket");
        let script = format!(
            "mount --bind {} /etc/passwd && mount --bind {} /etc/shadow && exec /usr/sbin/saslauthd -d -n 2 -a {mechanism} -m {}",
            passwd.display(),
            shadow.display(),
            run_folder.display()
        );
        let child = Command::new("setpriv")
            .args(["--pdeathsig=TERM", "unshare", "-m", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // At its end it sends SIGTERM to its whole group.
            .process_group(0)
            .stderr(std::fs::File::create(folder.join("saslauthd.log")).expect("its log"))
            .spawn()
            .expect("saslauthd");
        let daemon = Self { child };
        let deadline = Instant::now() + Duration::from_secs(10);
        while UnixStream::connect(run_folder.join("mux")).is_err() {
            assert!(Instant::now() < deadline, "saslauthd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(daemon)
    }
}

impl Drop for Saslauthd {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

#[test]
fn s083_saslauthd_verifies_with_pam_and_with_the_shadow_file() {
    for mechanism in ["pam", "shadow"] {
        for programs in implementations() {
            let name = programs.name;
            let site = site(&[("sasl_pwcheck_method", "saslauthd")], &[]);
            let Some(_daemon) = Saslauthd::start(site.root(), mechanism) else {
                return;
            };
            let socket = site.root().join("saslauthd/mux");
            site.configure(&format!("sasl_saslauthd_path: {}\n", socket.display()));
            let server = serve(&site, &programs, &[]);
            for (user, password, may) in [
                ("paula", "pass word", true),
                ("paula", "pass", false),
                ("nobody-such", "pass word", false),
            ] {
                let at = format!("{name} {mechanism} {user} {password}");
                let mut wire = Wire::connect(server.imap_port);
                let reply = wire.say(&format!("a LOGIN {user} \"{password}\""));
                assert_eq!(reply.contains("a OK"), may, "{at}: {reply}");
                if may {
                    let mut wire = Wire::connect(server.imap_port);
                    let message = b64(format!("\0{user}\0{password}"));
                    let reply = wire.say(&format!("a AUTHENTICATE PLAIN {message}"));
                    assert!(reply.contains("a OK"), "{at}: {reply}");
                }
            }
        }
    }
}

/// What stands in for saslauthd and takes every password that is `pass`: user, password, service and realm of each request.
struct Stub {
    asked: Arc<Mutex<Vec<[String; 4]>>>,
    socket: PathBuf,
}

impl Stub {
    /// Answers after `delay`.
    fn start(site: &Site, delay: Duration) -> Self {
        let socket = site.root().join("mux");
        let listener = UnixListener::bind(&socket).expect("a socket");
        std::fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .expect("the socket's mode");
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let notes = Arc::clone(&asked);
        std::thread::spawn(move || {
            for peer in listener.incoming() {
                let (Ok(peer), notes) = (peer, Arc::clone(&notes)) else {
                    return;
                };
                std::thread::spawn(move || answer(peer, &notes, delay));
            }
        });
        Self { asked, socket }
    }

    fn configure(&self, site: &Site) {
        site.configure(&format!("sasl_saslauthd_path: {}\n", self.socket.display()));
    }

    fn asked(&self) -> Vec<[String; 4]> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut peer: UnixStream, notes: &Mutex<Vec<[String; 4]>>, delay: Duration) {
    let mut field = || {
        let mut length = [0; 2];
        peer.read_exact(&mut length).ok()?;
        let mut text = vec![0; u16::from_be_bytes(length).into()];
        peer.read_exact(&mut text).ok()?;
        String::from_utf8(text).ok()
    };
    let (Some(user), Some(password), Some(service), Some(realm)) = (field(), field(), field(), field())
    else {
        return;
    };
    let verdict: &[u8] = if password == "pass" {
        b"\0\x02OK"
    } else {
        b"\0\x02NO"
    };
    notes.lock().unwrap().push([user, password, service, realm]);
    std::thread::sleep(delay);
    let _ = peer.write_all(verdict);
}

#[test]
fn s080_every_way_in_asks_the_one_verifier() {
    for programs in implementations() {
        let name = programs.name;
        let own = format!("{name}lmtptcp_admins");
        let site = site(
            &[("sasl_pwcheck_method", "saslauthd"), (own.as_str(), "alice")],
            &[],
        );
        let stub = Stub::start(&site, Duration::ZERO);
        stub.configure(&site);
        let lmtp = free_port();
        let server = serve_with(
            &site,
            &programs,
            &[],
            Start {
                lmtp: Some(lmtp),
                ..Start::default()
            },
        );
        let plain = b64("\0alice\0pass");
        for command in [
            "LOGIN alice pass".to_owned(),
            format!("AUTHENTICATE PLAIN {plain}"),
        ] {
            let reply = Wire::connect(server.imap_port).say(&format!("a {command}"));
            assert!(reply.contains("a OK"), "{name} {command}: {reply}");
        }
        let mut wire = Wire::connect(lmtp);
        wire.say("LHLO there");
        let reply = wire.say(&format!("AUTH PLAIN {plain}"));
        assert!(reply.starts_with("235"), "{name}: {reply}");
        let asked: Vec<String> = stub
            .asked()
            .iter()
            .map(|[user, password, service, _]| format!("{user} {password} {service}"))
            .collect();
        assert_eq!(
            asked,
            ["alice pass imap", "alice pass imap", "alice pass lmtp"],
            "{name}"
        );
    }
}

#[test]
fn s084_a_good_password_leaves_a_secret_for_the_next_login() {
    if !found_or_skip(is_there(IMTEST), "cyrus-clients is not installed") {
        return;
    }
    for programs in implementations() {
        let name = programs.name;
        let site = site(
            &[
                ("sasl_pwcheck_method", "saslauthd"),
                ("sasl_auto_transition", "yes"),
                ("sasl_mech_list", "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256"),
            ],
            &[],
        );
        let stub = Stub::start(&site, Duration::ZERO);
        stub.configure(&site);
        let server = serve(&site, &programs, &[]);
        for mechanism in ["CRAM-MD5", "SCRAM-SHA-256"] {
            let (is_in, said) = imtest(server.imap_port, mechanism, "pass", &[]);
            assert!(!is_in, "{name} {mechanism} before: {said}");
        }
        let reply = Wire::connect(server.imap_port).say("a LOGIN alice pass");
        assert!(reply.contains("a OK"), "{name}: {reply}");
        for (mechanism, password, may) in [
            ("CRAM-MD5", "pass", true),
            ("SCRAM-SHA-256", "pass", true),
            ("SCRAM-SHA-256", "wrong", false),
        ] {
            let (is_in, said) = imtest(server.imap_port, mechanism, password, &[]);
            assert_eq!(is_in, may, "{name} {mechanism} {password}: {said}");
        }
        // Only the password itself was shown to saslauthd.
        assert_eq!(stub.asked().len(), 1, "{name}");
    }
}

#[test]
fn s091_shared_secrets_come_from_sasldb_and_are_offered_only_where_there_are_some() {
    if !found_or_skip(is_there(IMTEST), "cyrus-clients is not installed") {
        return;
    }
    let list = "PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256";
    for programs in implementations() {
        let name = programs.name;
        let site = site(&[("sasl_mech_list", list)], &["alice"]);
        let server = serve(&site, &programs, &[]);
        for mechanism in ["CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"] {
            for (password, may) in [("pass", true), ("wrong", false)] {
                let (is_in, said) = imtest(server.imap_port, mechanism, password, &[]);
                assert_eq!(is_in, may, "{name} {mechanism} {password}: {said}");
            }
        }
    }
    let Some(programs) = Programs::ours() else { return };
    let site = site(
        &[
            ("sasl_mech_list", list),
            ("sasl_pwcheck_method", "saslauthd"),
            ("sasl_sasldb_path", ""),
        ],
        &[],
    );
    site.configure("sasl_sasldb_path: /nonexistent/sasldb2\n");
    let stub = Stub::start(&site, Duration::ZERO);
    stub.configure(&site);
    let server = serve(&site, &programs, &[]);
    let mut wire = Wire::connect(server.imap_port);
    assert!(
        wire.greeting.contains("AUTH=PLAIN AUTH=LOGIN SASL-IR"),
        "{}",
        wire.greeting
    );
    assert!(wire.say("a AUTHENTICATE CRAM-MD5").contains("a NO"));
    let log = server.log();
    assert!(
        log.contains("CRAM-MD5 cannot be used: users' secrets would be in /nonexistent/sasldb2"),
        "{log}"
    );
}

#[test]
fn a_slow_verifier_stalls_nobody_else() {
    let Some(programs) = Programs::ours() else { return };
    let site = site(&[("sasl_pwcheck_method", "saslauthd auxprop")], &["alice"]);
    let stub = Stub::start(&site, Duration::from_secs(6));
    stub.configure(&site);
    let server = serve(&site, &programs, &[]);
    let mut inside = Wire::connect(server.imap_port);
    assert!(inside.say("a LOGIN alice pass").contains("a OK"));
    // More than may be verified at a time, and more than there are workers.
    let mut waiting: Vec<Wire> = (0..60).map(|_| Wire::connect(server.imap_port)).collect();
    for wire in &mut waiting {
        wire.send("w LOGIN alice pass\r\n");
    }
    std::thread::sleep(Duration::from_millis(500));
    let begin = Instant::now();
    for command in [
        "b CREATE x",
        "c SELECT x",
        "d APPEND x {5+}\r\nA: b\n",
        "e LIST \"\" *",
        "f LOGOUT",
    ] {
        inside.say(command);
    }
    let mut fresh = Wire::connect(server.imap_port);
    assert!(fresh.say("g CAPABILITY").contains("g OK"));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    // Those past the limit are told to come again, the others get in in the end.
    let replies: Vec<String> = waiting.iter_mut().map(|wire| wire.hear("w")).collect();
    let count = |text: &str| replies.iter().filter(|reply| reply.contains(text)).count();
    assert_eq!(count("w OK"), 40, "{replies:?}");
    assert_eq!(
        count("w NO [UNAVAILABLE] Login failed: generic failure"),
        20,
        "{replies:?}"
    );
}
