//! What an embedder may watch: counters, troubles, and transcripts of sessions.

use std::time::Duration;

use crate::job::Peer;

/// Told of what happens on the connections; every method does nothing unless overridden.
///
/// Called from reactor and worker threads, in the middle of their work: be quick and do not block.
pub trait Observer: Send + Sync {
    /// A connection was accepted.
    fn accepted(&self, service: &str, peer: &Peer) {
        let _ = (service, peer);
    }

    /// A connection was turned away: too many are open.
    fn refused(&self, service: &str, peer: &Peer) {
        let _ = (service, peer);
    }

    /// A connection is gone.
    fn closed(&self, service: &str) {
        let _ = service;
    }

    /// Octets came from the network, as they are there (encrypted under TLS).
    fn received(&self, service: &str, octets: u64) {
        let _ = (service, octets);
    }

    /// Octets went to the network.
    fn sent(&self, service: &str, octets: u64) {
        let _ = (service, octets);
    }

    /// So many jobs wait for a worker now.
    fn waiting(&self, jobs: usize) {
        let _ = jobs;
    }

    /// One piece of a job ran for this long.
    fn job_ran(&self, service: &str, took: Duration) {
        let _ = (service, took);
    }

    /// A TLS handshake failed; clients do that all day.
    fn tls_failed(&self, service: &str, peer: &Peer, reason: &str) {
        let _ = (service, peer, reason);
    }

    /// Something an administrator should act on: no descriptors left, a bug that was survived.
    fn trouble(&self, text: &str) {
        let _ = text;
    }

    /// A user has logged in: where to write what is said from now on, if anywhere. `session` is the session's id.
    fn transcript(&self, service: &str, user: &str, session: &str) -> Option<Box<dyn Transcript>> {
        let _ = (service, user, session);
        None
    }

    /// A user has logged in: who is told where he is, until the value is dropped at the end of the connection.
    fn logged_in(&self, service: &str, peer: &Peer, user: &str) -> Option<Box<dyn Presence>> {
        let _ = (service, peer, user);
        None
    }
}

/// Follows one logged-in user.
pub trait Presence: Send {
    /// This mailbox is selected. Told again and again, after each command; be quick and do not block.
    fn mailbox(&mut self, name: Option<&str>);
}

/// Receives what is said on one connection after the login, in clear.
pub trait Transcript: Send {
    /// The client said this.
    fn received(&mut self, bytes: &[u8]);
    /// The server said this.
    fn sent(&mut self, bytes: &[u8]);
}

/// An observer that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
