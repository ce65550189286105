//! Logins: mechanisms, verifiers, who may act for whom, TLS, and what failures leave behind.

#![allow(clippy::unwrap_used)]

mod certificates;
mod failures;
mod kerberos;
mod names;
mod passwords;
mod scram;
mod tokens;
mod verifiers;
mod wire;

use std::path::Path;

use crate::rig::programs::Programs;
use crate::rig::server::{Server, Start};
use crate::rig::site::Site;

/// Each implementation that is here, real Cyrus first.
fn implementations() -> impl Iterator<Item = Programs> {
    [Programs::real(), Programs::ours()].into_iter().flatten()
}

/// A site with these options in place of the usual ones.
fn site(options: &[(&str, &str)], users: &[&str]) -> Site {
    let kept: Vec<_> = options
        .iter()
        .filter(|(name, _)| !USUAL.contains(name))
        .copied()
        .chain(
            [("failedloginpause", "0")]
                .into_iter()
                .filter(|(name, _)| !options.iter().any(|(set, _)| set == name)),
        )
        .collect();
    let site = Site::new(&kept, users);
    for (name, value) in options.iter().filter(|(name, _)| USUAL.contains(name)) {
        site.unset(name);
        if !value.is_empty() {
            site.configure(&format!("{name}: {value}\n"));
        }
    }
    site
}

/// What every site sets.
const USUAL: &[&str] = &[
    "allowplaintext",
    "admins",
    "sasl_mech_list",
    "sasl_pwcheck_method",
    "sasl_auxprop_plugin",
    "sasl_sasldb_path",
];

/// A server with TLS, its log at hand, and an INBOX for each of `users`.
fn serve(site: &Site, programs: &Programs, users: &[&str]) -> Server {
    serve_with(site, programs, users, Start::default())
}

fn serve_with(site: &Site, programs: &Programs, users: &[&str], start: Start) -> Server {
    let server = Server::start(
        site,
        programs,
        Start {
            verbose: programs.name == "ours",
            ..start
        },
    );
    if !users.is_empty() {
        let mut admin = wire::Wire::connect(server.imap_port);
        let reply = admin.say("a LOGIN admin pass");
        assert!(reply.contains("a OK"), "{reply}");
        for user in users {
            let reply = admin.say(&format!("c CREATE user/{user}"));
            assert!(reply.contains("c OK"), "{user}: {reply}");
        }
    }
    server
}

/// Base64 of a text.
fn b64(text: impl AsRef<[u8]>) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Whether everybody can reach a file, for programs that run as somebody else.
fn is_there(path: &str) -> bool {
    Path::new(path).exists()
}
