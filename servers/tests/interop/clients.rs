//! Programs that people use: cyradm, mbsync, offlineimap, Python's imaplib, Perl's Mail::IMAPTalk and Mail::IMAPClient, curl,
//! mutt, neomutt, imtest, Roundcube in a browser, and postfix's smtp-source, against either implementation.

mod curl;
mod cyradm;
mod imaplib;
mod mbsync;
mod mutt;
mod offlineimap;
mod our_cyradm;
mod perl;
mod roundcube;
mod sasl;
mod smtp_source;
mod terminal;

use crate::rig::programs::{Programs, has_client};
use crate::rig::server::{Server, Start};
use crate::rig::site::Site;

/// A server with TLS and alice's mailboxes, for a client that must be installed; `None` if the test is to be skipped.
fn served(client: &str, programs: Option<Programs>) -> Option<(Site, Server)> {
    served_with(&[], client, programs)
}

/// The same with these options.
fn served_with(options: &[(&str, &str)], client: &str, programs: Option<Programs>) -> Option<(Site, Server)> {
    let programs = programs?;
    if !has_client(client) {
        return None;
    }
    let site = Site::new(options, &["alice"]);
    site.enable_tls();
    let server = Server::start(
        &site,
        &programs,
        Start {
            tls: true,
            ..Start::default()
        },
    );
    server.imap("admin").ok("CREATE user/alice");
    Some((site, server))
}

/// Message `number` of `kind`, with a marker in its body.
fn mail(number: u32, kind: &str) -> Vec<u8> {
    format!(
        "Message-ID: <{kind}.{number}@rig.example>\r\nDate: Tue, 14 Mar 2023 09:26:53 -0500\r\nFrom: Ann <ann@rig.example>\r\n\
         To: alice@rig.example\r\nSubject: {kind} number {number}\r\n\r\nThe body of {kind} {number}.\r\n.dot\r\n"
    )
    .into_bytes()
}
