//! OAUTHBEARER and XOAUTH2: tokens that we verify, and tokens that somebody else is asked about.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;

use super::wire::{Wire, tls};
use super::{b64, serve_with, site};
use crate::rig::programs::{Programs, both, has_client};
use crate::rig::server::{Server, Start};
use crate::rig::site::Site;

/// An issuer with one key.
struct Issuer(PKey<Private>);

impl Issuer {
    fn new(site: &Site) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        std::fs::write(site.root().join("issuer.pem"), key.public_key_to_pem().unwrap()).unwrap();
        Self(key)
    }

    /// A token for `user` that has these further claims.
    fn token(&self, user: &str, more: &str) -> String {
        let part = |text: &str| {
            use base64::Engine;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
        };
        let payload =
            format!("{{\"email\":\"{user}\",\"iss\":\"https://id.example\",\"aud\":\"mail\"{more}}}");
        let signed = format!(
            "{}.{}",
            part("{\"alg\":\"RS256\",\"typ\":\"JWT\"}"),
            part(&payload)
        );
        let mut signer = Signer::new(MessageDigest::sha256(), &self.0).unwrap();
        let signature = signer.sign_oneshot_to_vec(signed.as_bytes()).unwrap();
        use base64::Engine;
        format!(
            "{signed}.{}",
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature)
        )
    }

    fn good(&self, user: &str) -> String {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600;
        self.token(user, &format!(",\"exp\":{end},\"scope\":\"openid imap\""))
    }
}

fn start(site: &Site, programs: &Programs, users: &[&str]) -> Server {
    site.enable_tls();
    serve_with(
        site,
        programs,
        users,
        Start {
            tls: true,
            ..Start::default()
        },
    )
}

fn secure(server: &Server) -> Wire {
    Wire::secure(server.imaps_port, "localhost", tls()).expect("TLS")
}

fn oauthbearer(token: &str, user: &str) -> String {
    let user = if user.is_empty() {
        String::new()
    } else {
        format!("a={user}")
    };
    format!(
        "a AUTHENTICATE OAUTHBEARER {}",
        b64(format!("n,{user},\x01auth=Bearer {token}\x01\x01"))
    )
}

#[test]
fn tokens_with_a_good_signature_log_in_and_others_are_told_what_is_needed() {
    let Some(programs) = Programs::ours() else { return };
    let site = site(
        &[("allowplaintext", "yes"), ("oauth_username_claim", "email")],
        &["alice"],
    );
    let issuer = Issuer::new(&site);
    site.configure(&format!(
        "oauth_jwt_keys: {}\noauth_issuer: https://id.example\noauth_audience: mail\noauth_scope: imap\n\
         oauth_openid_configuration: https://id.example/.well-known/openid-configuration\n",
        site.root().join("issuer.pem").display()
    ));
    site.unset("sasl_mech_list");
    let server = start(&site, &programs, &["alice"]);
    let clear = Wire::connect(server.imap_port);
    assert!(!clear.greeting.contains("OAUTHBEARER"), "{}", clear.greeting);
    let mut wire = secure(&server);
    assert!(
        wire.greeting.contains("AUTH=OAUTHBEARER AUTH=XOAUTH2"),
        "{}",
        wire.greeting
    );
    let good = issuer.good("alice");
    let reply = wire.say(&oauthbearer(&good, ""));
    assert!(
        reply.contains("a OK") && reply.contains("Success (tls protection)"),
        "{reply}"
    );
    assert!(secure(&server).say(&oauthbearer(&good, "alice")).contains("a OK"));
    assert!(
        secure(&server)
            .say(&oauthbearer(&good, "admin"))
            .contains("a NO authorization failure")
    );
    let mut wire = secure(&server);
    assert!(wire.say("a AUTHENTICATE XOAUTH2").starts_with('+'));
    wire.send(&format!(
        "{}\r\n",
        b64(format!("user=alice\x01auth=Bearer {good}\x01\x01"))
    ));
    assert!(wire.hear("a").contains("a OK"));
    // An administrator's token opens everybody's mail.
    let admin = issuer.good("admin");
    assert!(
        secure(&server)
            .say(&oauthbearer(&admin, "alice"))
            .contains("a OK")
    );
    let late = issuer.token("alice", ",\"exp\":1000,\"scope\":\"imap\"");
    let narrow = issuer.good("alice");
    let forged = format!("{}x", narrow);
    for (token, status) in [
        (late.as_str(), "invalid_token"),
        (forged.as_str(), "invalid_token"),
        ("nonsense", "invalid_token"),
        (
            &issuer.token("alice", ",\"exp\":99999999999"),
            "insufficient_scope",
        ),
    ] {
        let mut wire = secure(&server);
        let reply = wire.say(&oauthbearer(token, ""));
        let json = decoded(reply.trim_start_matches("+ ").trim());
        assert!(
            json.contains(&format!("\"status\":\"{status}\"")),
            "{token}: {json}"
        );
        assert!(json.contains("\"scope\":\"imap\""), "{json}");
        assert!(
            json.contains("https://id.example/.well-known/openid-configuration"),
            "{json}"
        );
        wire.send("AQ==\r\n");
        assert_eq!(wire.hear("a"), "a NO authentication failure\n", "{token}");
    }
    let log = server.log();
    assert!(
        log.contains(
            "OAUTHBEARER (-notset-) [SASL(-13): authentication failure: the token is refused: it has expired]"
        ),
        "{log}"
    );
    assert!(log.contains("the token does not give the scope imap"), "{log}");
    assert!(!log.contains(&late), "{log}");
}

fn decoded(text: &str) -> String {
    use base64::Engine;
    let octets = base64::engine::general_purpose::STANDARD.decode(text);
    String::from_utf8(octets.unwrap_or_else(|error| panic!("{text}: {error}"))).unwrap()
}

#[test]
fn tokens_need_tls_and_curl_logs_in_by_one() {
    let Some(programs) = Programs::ours() else { return };
    if !has_client("curl") {
        return;
    }
    let site = site(
        &[("allowplaintext", "no"), ("oauth_username_claim", "email")],
        &["alice"],
    );
    let issuer = Issuer::new(&site);
    site.configure(&format!(
        "oauth_jwt_keys: {}\n",
        site.root().join("issuer.pem").display()
    ));
    site.configure(
        "sasl_mech_list: PLAIN OAUTHBEARER\n"
            .replace("sasl_mech_list", "oursimaps_sasl_mech_list")
            .as_str(),
    );
    site.enable_tls();
    let server = serve_with(
        &site,
        &programs,
        &[],
        Start {
            tls: true,
            ..Start::default()
        },
    );
    let mut admin = secure(&server);
    assert!(admin.say("a LOGIN admin pass").contains("a OK"));
    assert!(admin.say("b CREATE user/alice").contains("b OK"));
    let wire = Wire::connect(server.imap_port);
    assert!(!wire.greeting.contains("AUTH=OAUTHBEARER"), "{}", wire.greeting);
    let wire = secure(&server);
    assert!(
        wire.greeting.contains("AUTH=OAUTHBEARER SASL-IR"),
        "{}",
        wire.greeting
    );
    for (token, may) in [
        (issuer.good("alice"), true),
        (issuer.token("alice", ",\"exp\":1"), false),
    ] {
        let output = Command::new("curl")
            .args([
                "-sk",
                "--max-time",
                "20",
                "--oauth2-bearer",
                &token,
                "-u",
                "alice:",
            ])
            .arg(format!("imaps://localhost:{}/", server.imaps_port))
            .output()
            .expect("curl");
        assert_eq!(output.status.success(), may, "{}", both(&output));
        assert_eq!(both(&output).contains("INBOX"), may, "{}", both(&output));
    }
}

/// An introspection endpoint that knows one token, and is slow for another; what it was asked.
fn endpoint() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/introspect", listener.local_addr().unwrap());
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let notes = Arc::clone(&asked);
    std::thread::spawn(move || {
        for peer in listener.incoming() {
            let (Ok(mut peer), notes) = (peer, Arc::clone(&notes)) else {
                return;
            };
            std::thread::spawn(move || {
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while !String::from_utf8_lossy(&request).contains("access_token") {
                    match peer.read(&mut buffer) {
                        Ok(count @ 1..) => request.extend_from_slice(&buffer[..count]),
                        _ => return,
                    }
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                let body = match request.contains("token=opaque&") {
                    true => "{\"active\":true,\"sub\":\"alice\",\"scope\":\"imap\"}",
                    false => "{\"active\":false}",
                };
                if request.contains("token=slow&") {
                    std::thread::sleep(Duration::from_secs(30));
                }
                notes.lock().unwrap().push(request);
                let _ = peer.write_all(
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
                );
            });
        }
    });
    (url, asked)
}

#[test]
fn the_issuer_is_asked_about_tokens_that_say_nothing_themselves() {
    let Some(programs) = Programs::ours() else { return };
    let (url, asked) = endpoint();
    let site = site(
        &[
            ("oauth_introspection_url", &url),
            ("oauth_client_id", "mail"),
            ("oauth_client_secret", "secret"),
            ("oauth_timeout", "1s"),
        ],
        &["alice"],
    );
    site.unset("sasl_mech_list");
    let server = start(&site, &programs, &["alice"]);
    assert!(
        secure(&server)
            .say(&oauthbearer("opaque", "alice"))
            .contains("a OK")
    );
    let request = asked.lock().unwrap().pop().expect("a request");
    // mail:secret
    assert!(
        request.contains("Authorization: Basic bWFpbDpzZWNyZXQ="),
        "{request}"
    );
    let mut wire = secure(&server);
    assert!(wire.say(&oauthbearer("revoked", "")).starts_with('+'));
    wire.send("AQ==\r\n");
    assert!(wire.hear("a").contains("a NO authentication failure"));
    // One that does not answer is given up, and holds up nobody.
    let mut slow = secure(&server);
    slow.send(&format!("{}\r\n", oauthbearer("slow", "")));
    let begin = Instant::now();
    assert!(secure(&server).say("a LOGIN alice pass").contains("a OK"));
    let reply = slow.hear("a");
    assert!(reply.contains("a NO [UNAVAILABLE] generic failure"), "{reply}");
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    assert!(
        server.log().contains("127.0.0.1: no answer: no answer in time"),
        "{}",
        server.log()
    );
}
