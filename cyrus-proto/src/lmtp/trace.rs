//! The fields that a delivery adds at the top of a message (RFC 5321, section 4.4), laid out as Cyrus does.

use super::deliverer::Envelope;
use super::options::LmtpOptions;
use crate::job::{Peer, TlsFacts};

/// Where a message came from.
pub(super) struct Origin<'a> {
    /// What the peer called itself in LHLO; may be empty.
    pub(super) lhlo: &'a str,
    pub(super) peer: &'a Peer,
    /// The name of the peer's address.
    pub(super) host_name: Option<&'a str>,
    pub(super) tls: Option<&'a TlsFacts>,
}

/// `Return-Path`, `Received`, `X-Cyrus-Session-Id`, and `X-Sieve` where scripts are run.
pub(super) fn fields(envelope: &Envelope, origin: &Origin<'_>, options: &LmtpOptions) -> String {
    let server = &options.server_name;
    let path = &envelope.return_path;
    // An address without a domain is one of ours.
    let domain = if path.is_empty() || path.contains('@') {
        String::new()
    } else {
        format!("@{server}")
    };
    let peer = match origin.host_name {
        Some(name) => format!("{name} {}", origin.peer.log_name()),
        None => origin.peer.log_name(),
    };
    let submitter = match &envelope.submitter {
        Some(user) => format!("\r\n\t (authenticated user={user} bits=0)"),
        None => String::new(),
    };
    let version = match &options.version {
        Some(version) => format!(" (Cyrus {version})"),
        None => String::new(),
    };
    // RFC 3848: S for TLS, A for authentication, without which nobody gets here.
    let with = match origin.tls {
        Some(tls) => format!(
            "LMTPSA\r\n\t (version={} cipher={} bits={bits}/{bits} verify=YES)",
            tls.version,
            tls.cipher,
            bits = tls.strength_bits
        ),
        None => "LMTPA".to_owned(),
    };
    let mut text = format!(
        "Return-Path: <{path}{domain}>\r\n\
         Received: from {} ({peer}){submitter}\r\n\t by {server}{version} with {with};\r\n\t {}\r\n\
         X-Cyrus-Session-Id: {}\r\n",
        origin.lhlo,
        options.environment.date(),
        envelope.session_id
    );
    if let Some(sieve) = &options.sieve {
        text.push_str(&format!("X-Sieve: {sieve}\r\n"));
    }
    text
}
