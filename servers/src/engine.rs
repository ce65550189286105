//! The engine of one process: a store, logins, TLS, and services made of them.

use std::sync::Arc;

use cyrus_proto::imap::{ImapService, ImapSession};
use cyrus_proto::lmtp::{LmtpService, StoreDeliverer};
use cyrus_proto::net::{Service, TlsServer};
use cyrus_proto::sasl::Authenticator;
use cyrus_store::Store;

use crate::config::{Config, Opt};
use crate::crowd::Crowd;
use crate::environment::{HostNames, ServerEnvironment};
use crate::idled::Idled;
use crate::surroundings::ServiceSurroundings;
use crate::syslog::StoreLog;
use crate::{logins, places, settings};

/// What the services of one process share.
pub struct Engine {
    store: Store,
    names: Arc<HostNames>,
    crowd: Arc<Crowd>,
}

/// Why a service cannot start: a setting or a file that the message names.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

/// Turns any error into the reason for not starting.
fn reason(error: impl std::fmt::Display) -> StartError {
    StartError(error.to_string())
}

/// What a service's command line decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceSwitches {
    /// Connections start with TLS (`imapd -s`).
    pub implicit_tls: bool,
    /// Peers need not authenticate (`lmtpd -a`, and unix sockets).
    pub preauthorised: bool,
    /// Strength in bits of protection that exists outside of this process (`-p`).
    pub external_strength: u32,
}

impl Engine {
    /// Opens the store that `config` describes.
    ///
    /// # Errors
    /// A setting that cannot be carried out.
    pub fn new(config: &Config) -> Result<Self, StartError> {
        config.require_partitions().map_err(reason)?;
        places::check(config).map_err(reason)?;
        let mut options = settings::store(config).map_err(reason)?;
        if let Some(path) = config.file(Opt::Idlesocket) {
            options.announcer = Some(Arc::new(Idled::at(path).map_err(reason)?));
        }
        let store = Store::open(options).map_err(reason)?;
        store.check_list().map_err(reason)?;
        Ok(Self {
            store,
            names: Arc::default(),
            crowd: Arc::default(),
        })
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// An IMAP service with the settings of `config`, which was read for it.
    ///
    /// # Errors
    /// A setting that cannot be carried out, a certificate that cannot be read, a login library that cannot be set up.
    pub fn imap(&self, config: &Config, switches: ServiceSwitches) -> Result<Service, StartError> {
        let tls = tls(config, switches)?;
        let mut options = settings::imap(config, tls.is_some() && !switches.implicit_tls);
        options.external_strength = switches.external_strength;
        options.surroundings = Arc::new(self.surroundings(config));
        let shared = Arc::new(ImapService {
            store: self.store.clone(),
            options,
            authenticator: Arc::new(self.authenticator(config, "imap")?),
            log: Arc::new(StoreLog),
        });
        let mut service = Service::new(config.service(), move |_| {
            Box::new(ImapSession::new(Arc::clone(&shared)))
        });
        service.tls = tls;
        service.implicit_tls = switches.implicit_tls;
        service.refusal = b"* BYE Too many connections; try again later\r\n".to_vec();
        service.transcripts = true;
        Ok(service)
    }

    /// An LMTP service with the settings of `config`, which was read for it.
    ///
    /// # Errors
    /// As [`Engine::imap`].
    pub fn lmtp(&self, config: &Config, switches: ServiceSwitches) -> Result<Service, StartError> {
        let tls = tls(config, switches)?;
        let mut options = settings::lmtp(config, tls.is_some() && !switches.implicit_tls);
        options.preauthorised = switches.preauthorised;
        options.environment = Arc::new(ServerEnvironment::new(
            &options.server_name,
            Arc::clone(&self.names),
        ));
        let authenticator: Option<Arc<dyn Authenticator>> = match switches.preauthorised {
            true => None,
            false => Some(Arc::new(self.authenticator(config, "lmtp")?)),
        };
        let mut delivery = settings::delivery(config);
        delivery.surroundings = Some(Arc::new(self.surroundings(config)));
        let deliverer = StoreDeliverer::new(self.store.clone(), delivery);
        let shared = LmtpService::new(deliverer, authenticator, options);
        let mut service = Service::new(config.service(), move |_| Box::new(shared.session()));
        service.tls = tls;
        service.implicit_tls = switches.implicit_tls;
        service.refusal = b"421 4.3.2 too many connections; try again later\r\n".to_vec();
        Ok(service)
    }

    fn surroundings(&self, config: &Config) -> ServiceSurroundings {
        ServiceSurroundings::new(
            config,
            &self.store,
            Arc::clone(&self.names),
            Arc::clone(&self.crowd),
        )
    }

    fn authenticator(
        &self,
        config: &Config,
        protocol: &str,
    ) -> Result<impl Authenticator + use<>, StartError> {
        logins::authenticator(config, &self.store, protocol).map_err(reason)
    }
}

fn tls(config: &Config, switches: ServiceSwitches) -> Result<Option<TlsServer>, StartError> {
    let options = settings::tls(config).map_err(reason)?;
    if options.is_none() && switches.implicit_tls {
        return Err(StartError(format!(
            "{}: {} needs TLS, and {} names no certificate",
            config.path().display(),
            config.service(),
            Opt::TlsServerCert.name()
        )));
    }
    options
        .map(|options| TlsServer::new(&options).map_err(reason))
        .transpose()
}
