//! SCRAM with channel binding, from end to end: whoever stands between client and server has another connection, and cannot
//! pass a login on.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use openssl::ssl::{SslRef, SslVersion};

use super::wire::{Wire, tls};
use super::{b64, serve_with, site};
use crate::rig::programs::Programs;
use crate::rig::server::Start;

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = PKey::hmac(key).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    signer.sign_oneshot_to_vec(text).unwrap()
}

/// alice's login by SCRAM-SHA-256-PLUS, bound to `data`; the tagged answer.
fn scram(wire: &mut Wire, kind: &str, data: &[u8]) -> String {
    let header = format!("p={kind},,");
    let first = "n=alice,r=fyko+d2lbbFgONRv9qkxdawL";
    let reply = wire.say(&format!(
        "a AUTHENTICATE SCRAM-SHA-256-PLUS {}",
        b64(format!("{header}{first}"))
    ));
    let Some(challenge) = reply.strip_prefix("+ ") else {
        return reply;
    };
    let challenge = String::from_utf8(STANDARD.decode(challenge.trim()).unwrap()).unwrap();
    let field = |name: &str| {
        let found = challenge.split(',').find_map(|part| part.strip_prefix(name));
        found.unwrap_or_else(|| panic!("{challenge}")).to_owned()
    };
    let mut salted = [0; 32];
    let salt = STANDARD.decode(field("s=")).unwrap();
    let rounds = field("i=").parse().unwrap();
    openssl::pkcs5::pbkdf2_hmac(b"pass", &salt, rounds, MessageDigest::sha256(), &mut salted).unwrap();
    let client_key = hmac(&salted, b"Client Key");
    let stored = openssl::hash::hash(MessageDigest::sha256(), &client_key).unwrap();
    let bound = b64([header.as_bytes(), data].concat());
    let last = format!("c={bound},r={}", field("r="));
    let signature = hmac(&stored, format!("{first},{challenge},{last}").as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    wire.send(&format!("{}\r\n", b64(format!("{last},p={}", b64(proof)))));
    let reply = wire.hear("a");
    if !reply.starts_with('+') {
        return reply;
    }
    wire.send("\r\n");
    wire.hear("a")
}

fn binding(ssl: &SslRef, kind: &str) -> Vec<u8> {
    match kind {
        "tls-exporter" => {
            let mut data = vec![0; 32];
            ssl.export_keying_material(&mut data, "EXPORTER-Channel-Binding", Some(b""))
                .unwrap();
            data
        }
        "tls-unique" => {
            let mut data = vec![0; 64];
            let count = ssl.finished(&mut data);
            data.truncate(count);
            data
        }
        _ => {
            let certificate = ssl.peer_certificate().unwrap();
            certificate.digest(MessageDigest::sha256()).unwrap().to_vec()
        }
    }
}

#[test]
fn a_login_is_bound_to_its_own_connection_in_every_way_that_there_is() {
    let Some(programs) = Programs::ours() else { return };
    let site = site(&[("sasl_mech_list", "PLAIN SCRAM-SHA-256")], &["alice"]);
    site.unset("sasl_mech_list");
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
    let connect = |version| {
        let mut tls = tls();
        tls.set_max_proto_version(Some(version)).unwrap();
        Wire::secure(server.imaps_port, "localhost", tls).unwrap()
    };
    for (version, kinds) in [
        (SslVersion::TLS1_3, &["tls-exporter", "tls-server-end-point"][..]),
        (
            SslVersion::TLS1_2,
            &["tls-exporter", "tls-unique", "tls-server-end-point"],
        ),
    ] {
        for kind in kinds {
            let mut wire = connect(version);
            assert!(
                wire.greeting.contains("AUTH=SCRAM-SHA-256-PLUS"),
                "{}",
                wire.greeting
            );
            let data = binding(wire.ssl(), kind);
            let reply = scram(&mut wire, kind, &data);
            assert!(reply.contains("a OK"), "{version:?} {kind}: {reply}");
            // The data of another connection is that of somebody in between; his certificate would be another one.
            let other = match *kind {
                "tls-server-end-point" => vec![7; 32],
                kind => binding(connect(version).ssl(), kind),
            };
            let reply = scram(&mut connect(version), kind, &other);
            assert!(reply.contains("a NO"), "{version:?} {kind}: {reply}");
        }
    }
    let mut newest = connect(SslVersion::TLS1_3);
    let unique = binding(newest.ssl(), "tls-unique");
    assert!(scram(&mut newest, "tls-unique", &unique).contains("a NO"));
    assert!(!Wire::connect(server.imap_port).greeting.contains("-PLUS"));
}
