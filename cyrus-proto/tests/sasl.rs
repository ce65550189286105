//! libsasl2 through the wrapper, against a real sasldb; the client side of each mechanism is written out here.
#![cfg(all(feature = "sasl", feature = "net"))]
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cyrus_proto::job::ChannelBinding;
use cyrus_proto::sasl::{
    Authenticator, ConnectionFacts, CyrusSasl, CyrusSaslOptions, LogLevel, Login, Policy, SaslError, SaslLog,
    Turn,
};
use openssl::hash::MessageDigest;

/// A sasldb with fred and the admin cyrus, both of realm `localhost`, password `secret`.
struct Site {
    _folder: tempfile::TempDir,
    options: CyrusSaslOptions,
    log: Arc<Log>,
}

impl Site {
    /// `None`, after saying so, where the tools of Cyrus SASL are not installed.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sasldb2");
        for user in ["fred", "cyrus"] {
            let child = Command::new("saslpasswd2")
                .args(["-p", "-c", "-u", "localhost", "-f"])
                .arg(&file)
                .arg(user)
                .stdin(Stdio::piped())
                .spawn();
            let Ok(mut child) = child else {
                eprintln!("skipped: saslpasswd2 is not installed");
                return None;
            };
            child.stdin.take().unwrap().write_all(b"secret").unwrap();
            assert!(child.wait().unwrap().success());
        }
        let log = Arc::new(Log::default());
        let mut options = CyrusSaslOptions::new("localhost")
            .option("pwcheck_method", "auxprop")
            .option("auxprop_plugin", "sasldb")
            .option("sasldb_path", file.to_str().unwrap())
            .option(
                "mech_list",
                "PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-256 ANONYMOUS EXTERNAL",
            );
        options.policy = Arc::new(Admins);
        options.log = log.clone();
        Some(Self {
            _folder: folder,
            options,
            log,
        })
    }

    fn sasl(&self) -> CyrusSasl {
        CyrusSasl::new(self.options.clone()).unwrap()
    }
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl SaslLog for Log {
    fn message(&self, _level: LogLevel, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

/// Names are lower case and lose the default realm; cyrus may act for anybody.
struct Admins;

impl Policy for Admins {
    fn canonical_user(&self, user: &str, _realm: Option<&str>) -> Option<String> {
        let user = user.to_ascii_lowercase();
        let user = user.strip_suffix("@localhost").unwrap_or(&user);
        (!user.contains('*')).then(|| user.to_owned())
    }

    fn may_act_as(&self, authenticated_as: &str, _user: &str) -> bool {
        authenticated_as == "cyrus"
    }
}

fn clear() -> ConnectionFacts {
    ConnectionFacts {
        service: "imap".to_owned(),
        allow_plaintext: true,
        ..ConnectionFacts::default()
    }
}

fn done(turn: Turn) -> Login {
    match turn {
        Turn::Done(login) => login,
        Turn::Challenge { data, .. } => panic!("challenged with {:?}", String::from_utf8_lossy(&data)),
    }
}

fn challenge(turn: Turn) -> (String, Box<dyn cyrus_proto::sasl::Exchange>) {
    match turn {
        Turn::Challenge { data, exchange } => (String::from_utf8(data).unwrap(), exchange),
        Turn::Done(login) => panic!("done: {login:?}"),
    }
}

#[test]
fn a_password_is_right_or_wrong_and_an_unknown_user_looks_the_same() {
    let Some(site) = Site::new() else { return };
    let sasl = site.sasl();
    let login = sasl.check_password(&clear(), b"Fred", b"secret").unwrap();
    assert_eq!(
        (login.user.as_str(), login.authenticated_as.as_str()),
        ("fred", "fred")
    );
    assert_eq!(
        sasl.check_password(&clear(), b"fred@localhost", b"secret")
            .unwrap()
            .user,
        "fred"
    );
    let wrong = sasl.check_password(&clear(), b"fred", b"Secret").unwrap_err();
    let unknown = sasl.check_password(&clear(), b"nobody", b"secret").unwrap_err();
    assert!(matches!(wrong, SaslError::BadCredentials(_)) && matches!(unknown, SaslError::BadCredentials(_)));
    assert_eq!(wrong.text(), unknown.text());
    for odd in [&b"fr\0ed"[..], b"", b"a*b", b"\xff"] {
        sasl.check_password(&clear(), odd, b"secret").unwrap_err();
    }
    sasl.check_password(&clear(), b"fred", b"secret\0x").unwrap_err();
}

#[test]
fn plaintext_hides_until_there_is_tls() {
    let Some(site) = Site::new() else { return };
    let sasl = site.sasl();
    let mut facts = ConnectionFacts {
        allow_plaintext: false,
        ..clear()
    };
    let offered = sasl.mechanisms(&facts);
    assert!(
        !offered
            .iter()
            .any(|name| ["PLAIN", "LOGIN", "ANONYMOUS", "EXTERNAL"].contains(&name.as_str()))
    );
    assert!(offered.iter().any(|name| name == "SCRAM-SHA-256"), "{offered:?}");
    assert!(matches!(
        sasl.check_password(&facts, b"fred", b"secret"),
        Err(SaslError::TooWeak(_))
    ));
    let refused = sasl.start(&facts, "PLAIN", Some(b"\0fred\0secret")).unwrap_err();
    assert!(
        matches!(refused, SaslError::TooWeak(_) | SaslError::NoMechanism(_)),
        "{refused:?}"
    );
    facts.external_strength = 256;
    assert!(sasl.mechanisms(&facts).iter().any(|name| name == "PLAIN"));
    assert_eq!(
        done(sasl.start(&facts, "PLAIN", Some(b"\0fred\0secret")).unwrap()).user,
        "fred"
    );
}

#[test]
fn plain_and_login_go_one_or_more_turns() {
    let Some(site) = Site::new() else { return };
    let sasl = site.sasl();
    let (data, exchange) = challenge(sasl.start(&clear(), "PLAIN", None).unwrap());
    assert_eq!(data, "");
    assert_eq!(done(exchange.step(b"\0fred\0secret").unwrap()).mechanism, "PLAIN");
    let refused = sasl.start(&clear(), "PLAIN", Some(b"")).unwrap_err();
    assert!(matches!(refused, SaslError::BadProtocol(_)), "{refused:?}");
    let (data, exchange) = challenge(sasl.start(&clear(), "login", None).unwrap());
    assert_eq!(data, "Username:");
    let (data, exchange) = challenge(exchange.step(b"fred").unwrap());
    assert_eq!(data, "Password:");
    assert_eq!(done(exchange.step(b"secret").unwrap()).user, "fred");
    let unknown = sasl.start(&clear(), "FROBNICATE", None).unwrap_err();
    assert!(matches!(unknown, SaslError::NoMechanism(_)));
}

#[test]
fn an_admin_acts_for_others_and_others_do_not() {
    let Some(site) = Site::new() else { return };
    let sasl = site.sasl();
    let login = done(
        sasl.start(&clear(), "PLAIN", Some(b"fred\0cyrus\0secret"))
            .unwrap(),
    );
    assert_eq!(
        (login.user.as_str(), login.authenticated_as.as_str()),
        ("fred", "cyrus")
    );
    let refused = sasl
        .start(&clear(), "PLAIN", Some(b"cyrus\0fred\0secret"))
        .unwrap_err();
    assert!(matches!(refused, SaslError::NotAuthorized(_)), "{refused:?}");
}

#[test]
fn external_is_whoever_the_certificate_names() {
    let Some(site) = Site::new() else { return };
    let sasl = site.sasl();
    let mut facts = ConnectionFacts {
        external_strength: 256,
        ..clear()
    };
    assert!(sasl.start(&facts, "EXTERNAL", Some(b"")).is_err());
    facts.external_identity = Some("fred".to_owned());
    assert!(sasl.mechanisms(&facts).iter().any(|name| name == "EXTERNAL"));
    assert_eq!(
        done(sasl.start(&facts, "EXTERNAL", Some(b"")).unwrap()).user,
        "fred"
    );
}

#[test]
fn anonymous_needs_permission() {
    let Some(site) = Site::new() else { return };
    let sasl = site.sasl();
    assert!(
        sasl.start(&clear(), "ANONYMOUS", Some(b"guest@example.com"))
            .is_err()
    );
    let facts = ConnectionFacts {
        allow_anonymous: true,
        ..clear()
    };
    assert_eq!(
        done(
            sasl.start(&facts, "ANONYMOUS", Some(b"guest@example.com"))
                .unwrap()
        )
        .user,
        "anonymous"
    );
}

#[test]
fn cram_md5_answers_a_challenge() {
    let Some(site) = Site::new() else { return };
    let answer = |password: &[u8]| {
        let (data, exchange) = challenge(site.sasl().start(&clear(), "CRAM-MD5", None).unwrap());
        let proof = hex(&hmac(MessageDigest::md5(), password, data.as_bytes()));
        exchange.step(format!("fred {proof}").as_bytes())
    };
    assert_eq!(done(answer(b"secret").unwrap()).user, "fred");
    assert!(matches!(answer(b"wrong"), Err(SaslError::BadCredentials(_))));
}

/// The client's side of SCRAM-SHA-256: the server's last word and the rest of the exchange.
fn scram(
    sasl: &CyrusSasl,
    facts: &ConnectionFacts,
    mechanism: &str,
    header: &str,
    binding: &[u8],
) -> Result<(String, String, Turn), SaslError> {
    let first_bare = "n=fred,r=rOprNGfwEbeRWgbNEkqO";
    let initial = format!("{header}{first_bare}");
    let (server_first, exchange) = challenge(sasl.start(facts, mechanism, Some(initial.as_bytes()))?);
    let field = |name: &str| {
        server_first
            .split(',')
            .find_map(|part| part.strip_prefix(name))
            .unwrap()
            .to_owned()
    };
    let (nonce, salt) = (field("r="), STANDARD.decode(field("s=")).unwrap());
    let digest = MessageDigest::sha256();
    let mut salted = [0; 32];
    let rounds = field("i=").parse().unwrap();
    openssl::pkcs5::pbkdf2_hmac(b"secret", &salt, rounds, digest, &mut salted).unwrap();
    let client_key = hmac(digest, &salted, b"Client Key");
    let stored = openssl::hash::hash(digest, &client_key).unwrap();
    let bound = STANDARD.encode([header.as_bytes(), binding].concat());
    let last_bare = format!("c={bound},r={nonce}");
    let signed = format!("{first_bare},{server_first},{last_bare}");
    let signature = hmac(digest, &stored, signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    let last = format!("{last_bare},p={}", STANDARD.encode(proof));
    // No data goes with the success reply, so the server's proof is one more turn.
    let (server_last, exchange) = challenge(exchange.step(last.as_bytes())?);
    let server_key = hmac(digest, &salted, b"Server Key");
    let expected = format!(
        "v={}",
        STANDARD.encode(hmac(digest, &server_key, signed.as_bytes()))
    );
    Ok((server_last, expected, exchange.step(b"")?))
}

#[test]
fn scram_sha_256_proves_both_sides() {
    let Some(site) = Site::new() else { return };
    let (told, expected, turn) = scram(&site.sasl(), &clear(), "SCRAM-SHA-256", "n,,", b"").unwrap();
    assert_eq!(told, expected);
    let login = done(turn);
    assert_eq!(
        (login.user.as_str(), login.mechanism.as_str()),
        ("fred", "SCRAM-SHA-256")
    );
}

#[test]
fn scram_plus_is_bound_to_the_tls_connection() {
    let Some(site) = Site::new() else { return };
    let facts = ConnectionFacts {
        external_strength: 256,
        channel_bindings: vec![
            ChannelBinding {
                name: "tls-exporter",
                data: b"what only the two ends know".to_vec(),
            },
            ChannelBinding {
                name: "tls-server-end-point",
                data: b"whom the client talks to".to_vec(),
            },
        ],
        ..clear()
    };
    let try_with = |kind: &str, binding: &[u8]| {
        let header = format!("p={kind},,");
        scram(&site.sasl(), &facts, "SCRAM-SHA-256-PLUS", &header, binding).map(|(.., turn)| done(turn))
    };
    // The client chooses among those that there are.
    for (kind, data) in [
        ("tls-exporter", "what only the two ends know"),
        ("tls-server-end-point", "whom the client talks to"),
    ] {
        assert_eq!(try_with(kind, data.as_bytes()).unwrap().user, "fred", "{kind}");
        assert!(matches!(
            try_with(kind, b"somebody in between"),
            Err(SaslError::BadProtocol(_))
        ));
    }
    assert!(try_with("tls-unique", b"what only the two ends know").is_err());
}

#[test]
fn digest_md5_negotiates_an_integrity_layer() {
    let Some(mut site) = Site::new() else { return };
    site.options.maximum_layer = 1;
    let (data, exchange) = challenge(site.sasl().start(&clear(), "DIGEST-MD5", None).unwrap());
    let nonce = data.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(data.contains("auth-int"), "{data}");
    let md5 = |text: &[u8]| openssl::hash::hash(MessageDigest::md5(), text).unwrap().to_vec();
    let (cnonce, uri) = ("0a4f113b", "imap/localhost");
    let mut a1 = md5(b"fred:localhost:secret");
    a1.extend_from_slice(format!(":{nonce}:{cnonce}").as_bytes());
    let secret = md5(&a1);
    let a2 = format!("AUTHENTICATE:{uri}:{}", "0".repeat(32));
    let response = hex(&md5(format!(
        "{}:{nonce}:00000001:{cnonce}:auth-int:{}",
        hex(&secret),
        hex(&md5(a2.as_bytes()))
    )
    .as_bytes()));
    let answer = format!(
        "charset=utf-8,username=\"fred\",realm=\"localhost\",nonce=\"{nonce}\",nc=00000001,cnonce=\"{cnonce}\",\
         digest-uri=\"{uri}\",response={response},qop=auth-int"
    );
    let (proof, exchange) = challenge(exchange.step(answer.as_bytes()).unwrap());
    assert!(proof.starts_with("rspauth="));
    let mut login = done(exchange.step(b"").unwrap());
    assert_eq!((login.user.as_str(), login.layer_strength), ("fred", 1));
    let layer = login.layer.as_mut().unwrap();

    let key = |direction: &str| {
        let magic = format!("Digest session key to {direction} signing key magic constant");
        md5(&[&secret[..], magic.as_bytes()].concat())
    };
    let packet = |key: &[u8], number: u32, text: &[u8]| {
        let mac = hmac(
            MessageDigest::md5(),
            key,
            &[&number.to_be_bytes()[..], text].concat(),
        );
        let body = [text, &mac[..10], &[0, 1], &number.to_be_bytes()[..]].concat();
        [&(body.len() as u32).to_be_bytes()[..], &body].concat()
    };
    let mut wire = Vec::new();
    layer.encode(b"a OK\r\n", &mut wire).unwrap();
    assert_eq!(wire, packet(&key("server-to-client"), 0, b"a OK\r\n"));
    let sent = packet(&key("client-to-server"), 0, b"b NOOP\r\n");
    let mut clear_text = Vec::new();
    layer.decode(&sent[..7], &mut clear_text).unwrap();
    assert!(clear_text.is_empty());
    layer.decode(&sent[7..], &mut clear_text).unwrap();
    assert_eq!(clear_text, b"b NOOP\r\n");
    let mut tampered = packet(&key("client-to-server"), 1, b"c NOOP\r\n");
    tampered[5] ^= 1;
    layer.decode(&tampered, &mut clear_text).unwrap_err();
}

#[test]
fn threads_log_in_at_the_same_time() {
    let Some(site) = Site::new() else { return };
    let sasl = site.sasl();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..25 {
                    let password: &[u8] = if round % 3 == 0 { b"wrong" } else { b"secret" };
                    assert_eq!(
                        sasl.check_password(&clear(), b"fred", password).is_ok(),
                        round % 3 != 0
                    );
                }
            });
        }
    });
}

#[test]
fn services_in_one_process_have_options_of_their_own() {
    let Some(site) = Site::new() else { return };
    let mut other = site
        .options
        .clone()
        .option("sasldb_path", "/nonexistent/sasldb2")
        .option("mech_list", "LOGIN");
    other.server_name = "elsewhere".to_owned();
    let other = CyrusSasl::new(other).unwrap();
    assert!(site.sasl().check_password(&clear(), b"fred", b"secret").is_ok());
    assert!(other.check_password(&clear(), b"fred", b"secret").is_err());
    assert_eq!(other.mechanisms(&clear())[..], ["LOGIN".to_owned()]);
}

#[test]
fn an_unreachable_saslauthd_is_no_wrong_password() {
    let Some(site) = Site::new() else { return };
    let options = site
        .options
        .clone()
        .option("pwcheck_method", "saslauthd")
        .option("saslauthd_path", "/nonexistent/mux");
    let failed = CyrusSasl::new(options)
        .unwrap()
        .check_password(&clear(), b"fred", b"secret")
        .unwrap_err();
    assert!(matches!(failed, SaslError::Unavailable(_)), "{failed:?}");
    let log = site.log.0.lock().unwrap();
    assert!(log.iter().any(|line| line.contains("saslauthd")), "{log:?}");
}

fn hmac(digest: MessageDigest, key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = openssl::pkey::PKey::hmac(key).unwrap();
    let mut signer = openssl::sign::Signer::new(digest, &key).unwrap();
    signer.update(text).unwrap();
    signer.sign_to_vec().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
