//! Where `sasl_mech_list` says nothing, every mechanism that libsasl2 has is offered, and Python's CRAM-MD5 and Cyrus's
//! imtest log in by it.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::rig::programs::{Programs, both, found_or_skip, has_client, run};
use crate::rig::server::{Server, Start};
use crate::rig::site::Site;

/// Cyrus's test client, of Debian's package cyrus-clients.
const IMTEST: &str = "/usr/lib/cyrus/bin/imtest";

const CRAM_MD5: &str = "
import imaplib, sys
imap = imaplib.IMAP4('127.0.0.1', int(sys.argv[1]))
print(imap.login_cram_md5('alice', 'pass'))
print(imap.noop())
imap.logout()
imap = imaplib.IMAP4('127.0.0.1', int(sys.argv[1]))
try:
    imap.login_cram_md5('alice', 'wrong')
    sys.exit('a wrong password was taken')
except imaplib.IMAP4.error:
    pass
";

const CAPABILITIES: &str = "
import imaplib, sys
print(*imaplib.IMAP4('127.0.0.1', int(sys.argv[1])).capabilities)
";

fn offered(server: &Server) -> Vec<String> {
    let words = run(Command::new("python3")
        .args(["-c", CAPABILITIES])
        .arg(server.imap_port.to_string()));
    let mut mechanisms: Vec<String> = words
        .split_whitespace()
        .filter(|word| word.starts_with("AUTH="))
        .map(str::to_owned)
        .collect();
    mechanisms.sort();
    mechanisms
}

fn start(site: &Site, programs: &Programs) -> Server {
    let server = Server::start(site, programs, Start::default());
    server.imap("admin").ok("CREATE user/alice");
    server
}

#[test]
fn every_installed_mechanism_is_offered_and_works() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let has_imtest = found_or_skip(Path::new(IMTEST).exists(), "cyrus-clients is not installed");
    if !has_client("python3") || !has_imtest {
        return;
    }
    let mut offers = Vec::new();
    for programs in [&real, &ours] {
        let site = Site::new(&[("failedloginpause", "0")], &["alice"]);
        site.unset("sasl_mech_list");
        let server = start(&site, programs);
        let mechanisms = offered(&server);
        run(Command::new("python3")
            .args(["-c", CRAM_MD5])
            .arg(server.imap_port.to_string()));
        for mechanism in &mechanisms {
            let mechanism = mechanism.trim_start_matches("AUTH=");
            let with_password = ["PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5"].contains(&mechanism)
                || mechanism.starts_with("SCRAM-");
            if !with_password {
                continue;
            }
            for (password, outcome) in [("pass", "Authenticated."), ("wrong", "Authentication failed.")] {
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
                    .args(["-p", &server.imap_port.to_string(), "localhost"])
                    .stdin(Stdio::null())
                    .output()
                    .expect("imtest");
                let said = both(&output);
                assert!(
                    said.contains(outcome),
                    "{} {mechanism} {password}: {said}",
                    programs.name
                );
            }
        }
        offers.push(mechanisms);
        server.stop();
    }
    assert_eq!(offers[0], offers[1]);
    assert!(offers[1].len() > 2, "{offers:?}");
}
