//! What sessions are told of the server around them.

use std::net::IpAddr;
use std::sync::Arc;

use cyrus_proto::job::Peer;
use cyrus_proto::surroundings::{Seat, Surroundings};
use cyrus_store::Store;

use crate::bulletin::Bulletin;
use crate::config::{Config, Opt};
use crate::crowd::{Crowd, Limits};
use crate::denied::Denied;
use crate::environment::HostNames;

/// The surroundings of one service.
pub struct ServiceSurroundings {
    names: Arc<HostNames>,
    bulletin: Bulletin,
    denied: Denied,
    crowd: Arc<Crowd>,
    limits: Option<Limits>,
}

impl ServiceSurroundings {
    /// For the service that `config` was read for; `names` and `crowd` are those of the process.
    pub fn new(config: &Config, store: &Store, names: Arc<HostNames>, crowd: Arc<Crowd>) -> Self {
        let most = |option| usize::try_from(config.int(option)).unwrap_or_default();
        let (per_user, per_host) = (most(Opt::MaxloginsPerUser), most(Opt::MaxloginsPerHost));
        let limits = (per_user > 0 || per_host > 0).then(|| Limits {
            per_user,
            per_host,
            sessions: config.proc_directory(),
        });
        Self {
            names,
            bulletin: Bulletin::new(&config.configdirectory(), config.service()),
            denied: Denied::new(store.clone(), config.service()),
            crowd,
            limits,
        }
    }
}

impl std::fmt::Debug for ServiceSurroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceSurroundings")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Surroundings for ServiceSurroundings {
    fn host_name(&self, address: IpAddr) -> Option<String> {
        self.names.of_soon(address)
    }

    fn message_of_the_day(&self) -> Option<String> {
        self.bulletin.motd()
    }

    fn shutdown(&self) -> Option<Arc<str>> {
        self.bulletin.shutdown()
    }

    fn shut_out(&self, user: &str) -> Option<Arc<str>> {
        self.denied.why(user)
    }

    fn admit(&self, user: &str, peer: &Peer) -> Result<Option<Seat>, String> {
        let Some(limits) = &self.limits else {
            return Ok(None);
        };
        let host = peer.log_name();
        let name = match peer {
            Peer::Tcp { remote, .. } => self.host_name(remote.ip().to_canonical()),
            Peer::Unix => None,
        };
        let client = name.map_or_else(|| host.clone(), |name| format!("{name} {host}"));
        self.crowd.admit(limits, user, &host, &client).map(Some)
    }
}
