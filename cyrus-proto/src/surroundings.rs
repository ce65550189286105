//! What sessions ask of the server around them.

use std::any::Any;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use crate::job::Peer;

/// The server around the sessions; every method has an answer that fits a server of one's own.
pub trait Surroundings: Debug + Send + Sync {
    /// The name of an address, for the log. May block: asked in jobs.
    fn host_name(&self, address: IpAddr) -> Option<String> {
        let _ = address;
        None
    }

    /// One line that everybody is shown who logs in. May block: asked in jobs.
    fn message_of_the_day(&self) -> Option<String> {
        None
    }

    /// Why everybody but administrators must leave. Asked at each command: be quick and do not block.
    fn shutdown(&self) -> Option<Arc<str>> {
        None
    }

    /// Why this user, who is logged in and no administrator, must leave. Asked at each command: be quick and do not block.
    fn shut_out(&self, user: &str) -> Option<Arc<str>> {
        let _ = user;
        None
    }

    /// Lets a user in who has proved who he is; what comes back is dropped when he leaves. May block: asked in jobs.
    ///
    /// # Errors
    /// Why there is no room, as the client shall hear it.
    fn admit(&self, user: &str, peer: &Peer) -> Result<Option<Seat>, String> {
        let _ = (user, peer);
        Ok(None)
    }
}

/// A place that a logged-in session holds until it is dropped.
pub type Seat = Box<dyn Any + Send>;

/// No surroundings at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Surroundings for Alone {}

/// How the log names a peer: `host [address]`, or the address alone where it has no name. May block.
pub(crate) fn log_name(surroundings: &dyn Surroundings, peer: &Peer) -> String {
    let address = peer.log_name();
    let name = match peer {
        Peer::Tcp { remote, .. } => surroundings.host_name(remote.ip().to_canonical()),
        Peer::Unix => None,
    };
    match name {
        Some(name) => format!("{name} {address}"),
        None => address,
    }
}
