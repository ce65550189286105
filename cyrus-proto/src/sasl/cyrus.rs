//! Cyrus SASL (libsasl2) as an [`Authenticator`].
//!
//! Every exchange and every password check gets a connection object of its own: the library does not let one be used
//! again after a success, and making one costs little beside asking a database.

use std::collections::HashMap;
use std::ffi::{CString, c_int, c_uint};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use sasl2_sys::sasl::*;

use super::ffi::{self, Answers, Callbacks, Connection, Failure, Hooks, Outcome, Setting};
use super::{Authenticator, ConnectionFacts, Exchange, Login, PlainPolicy, Policy, SaslError, Turn};
use crate::job::{ChannelBinding, LayerError, SecurityLayer};

/// How libsasl2 is to be used.
#[derive(Clone)]
pub struct CyrusSaslOptions {
    /// The library's application name: it reads no file of that name, because options come from here.
    pub application: String,
    /// The name of this server; also the realm of users without one when `realm` is not given.
    pub server_name: String,
    /// The realm of users who give none.
    pub realm: Option<String>,
    /// The library's options by name, without the `sasl_` of imapd.conf: `pwcheck_method`, `sasldb_path`, ...
    pub options: HashMap<String, String>,
    /// The weakest layer accepted, in bits; protection by TLS counts.
    pub minimum_layer: u32,
    /// The strongest layer offered, in bits; 0 for none.
    pub maximum_layer: u32,
    /// Mechanisms that are not offered although the library has them.
    pub hidden: Vec<String>,
    /// Names and who may act for whom.
    pub policy: Arc<dyn Policy>,
    /// Where the library's messages go.
    pub log: Arc<dyn SaslLog>,
}

impl CyrusSaslOptions {
    /// Options for a server of this name: no library options, layers up to 256 bits, the plainest policy.
    pub fn new(server_name: &str) -> Self {
        Self {
            application: "Cyrus".to_owned(),
            server_name: server_name.to_owned(),
            realm: None,
            options: HashMap::new(),
            minimum_layer: 0,
            maximum_layer: 256,
            hidden: Vec::new(),
            policy: Arc::new(PlainPolicy),
            log: Arc::new(Silent),
        }
    }

    /// Sets one of the library's options.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// Takes the library's messages.
pub trait SaslLog: Send + Sync {
    /// One message. Messages that may show passwords are not passed on.
    fn message(&self, level: LogLevel, text: &str);
}

/// How serious the library finds a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Unusual errors.
    Error,
    /// All failed authentications.
    Failure,
    /// Warnings.
    Warning,
    /// More than warnings.
    Note,
    /// Debugging, and traces of internals.
    Debug,
}

struct Silent;

impl SaslLog for Silent {
    fn message(&self, _level: LogLevel, _text: &str) {}
}

/// The authenticator over libsasl2. Cheap to clone.
#[derive(Clone)]
pub struct CyrusSasl(Arc<Inner>);

struct Inner {
    callbacks: Arc<Callbacks>,
    server_name: CString,
    realm: Option<CString>,
    minimum_layer: u32,
    maximum_layer: u32,
    hidden: Vec<String>,
    /// What was offered before, by what the offer depends on. A handful of entries.
    offers: Mutex<HashMap<Offer, Arc<[String]>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Offer {
    service: String,
    strength: u32,
    external: bool,
    binding: bool,
    plaintext: bool,
    anonymous: bool,
}

/// What the library asks the embedder.
struct Site {
    policy: Arc<dyn Policy>,
    log: Arc<dyn SaslLog>,
}

impl Answers for Site {
    fn canonical_user(&self, user: &str, realm: Option<&str>, local: Option<IpAddr>) -> Option<String> {
        match local {
            Some(local) => self.policy.canonical_user_at(user, realm, local),
            None => self.policy.canonical_user(user, realm),
        }
    }

    fn may_act_as(&self, authenticated_as: &str, user: &str) -> bool {
        self.policy.may_act_as(authenticated_as, user)
    }

    fn log(&self, level: c_int, text: &str) {
        self.log.message(level_of(level), text);
    }
}

impl CyrusSasl {
    /// Initialises the library if this process has not done so, and keeps the options.
    ///
    /// The library loads its plugins once, with the options of whoever comes first; the rest is looked up per connection,
    /// so services may differ in their options.
    ///
    /// # Errors
    /// [`SaslError::Setup`].
    pub fn new(options: CyrusSaslOptions) -> Result<Self, SaslError> {
        let text = |what: &str, text: String| {
            CString::new(text).map_err(|_| SaslError::Setup(format!("NUL in the value of {what}")))
        };
        let mut values = HashMap::new();
        for (name, value) in options.options {
            let value = text(&name, value)?;
            values.insert(name.to_ascii_lowercase(), value);
        }
        let answers = Box::new(Site {
            policy: options.policy,
            log: options.log,
        });
        let hooks = Arc::new(Hooks {
            options: values,
            answers,
        });
        let callbacks = Arc::new(Callbacks::new(&hooks));
        let application = text("application", options.application)?;
        ffi::init(&application, &callbacks).map_err(|failure| SaslError::Setup(failure.detail))?;
        Ok(Self(Arc::new(Inner {
            callbacks,
            server_name: text("server_name", options.server_name)?,
            realm: options.realm.map(|realm| text("realm", realm)).transpose()?,
            minimum_layer: options.minimum_layer,
            maximum_layer: options.maximum_layer,
            hidden: options.hidden,
            offers: Mutex::default(),
        })))
    }

    fn connection(&self, facts: &ConnectionFacts) -> Result<Connection, SaslError> {
        let own = |text: &str| CString::new(text).map_err(|_| SaslError::Setup("NUL in a name".to_owned()));
        let address = |address: Option<SocketAddr>| {
            // The library wants "ip;port", and version 4 addresses as such.
            address
                .map(|at| own(&format!("{};{}", at.ip().to_canonical(), at.port())))
                .transpose()
        };
        let (service, local, remote) = (
            own(&facts.service)?,
            address(facts.local)?,
            address(facts.remote)?,
        );
        let setting = Setting {
            service: &service,
            server_name: &self.0.server_name,
            realm: self.0.realm.as_deref(),
            local: local.as_deref(),
            remote: remote.as_deref(),
            success_data: facts.success_data,
        };
        let set_up = |failure: Failure| SaslError::Setup(failure.detail);
        let mut connection = Connection::new(&setting, &self.0.callbacks).map_err(set_up)?;
        let mut flags = 0;
        if !facts.allow_plaintext {
            flags |= SASL_SEC_NOPLAINTEXT;
        }
        if !facts.allow_anonymous {
            flags |= SASL_SEC_NOANONYMOUS;
        }
        connection
            .set_security(flags, self.0.minimum_layer, self.0.maximum_layer)
            .map_err(set_up)?;
        if facts.external_strength > 0 {
            connection
                .set_external_strength(facts.external_strength)
                .map_err(set_up)?;
        }
        if let Some(user) = &facts.external_identity {
            connection.set_external_identity(&own(user)?).map_err(set_up)?;
        }
        if let Some(best) = facts.channel_bindings.first() {
            bind(&mut connection, best).map_err(set_up)?;
        }
        Ok(connection)
    }

    fn offer(&self, facts: &ConnectionFacts) -> Result<Arc<[String]>, SaslError> {
        let listed = self.connection(facts)?.mechanisms();
        let names = match listed {
            Ok(names) => names,
            Err(failure) if failure.code == SASL_NOMECH => String::new(),
            Err(failure) => return Err(SaslError::Setup(failure.detail)),
        };
        let hidden = |name: &str| {
            self.0
                .hidden
                .iter()
                .any(|hidden| hidden.eq_ignore_ascii_case(name))
        };
        Ok(names
            .split_ascii_whitespace()
            .filter(|name| !hidden(name))
            .map(str::to_owned)
            .collect())
    }
}

impl Authenticator for CyrusSasl {
    fn mechanisms(&self, facts: &ConnectionFacts) -> Arc<[String]> {
        let key = Offer {
            service: facts.service.clone(),
            strength: facts.external_strength,
            external: facts.external_identity.is_some(),
            binding: !facts.channel_bindings.is_empty(),
            plaintext: facts.allow_plaintext,
            anonymous: facts.allow_anonymous,
        };
        let mut offers = self.0.offers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(offer) = offers.get(&key) {
            return Arc::clone(offer);
        }
        // Without a list nothing is offered; `start` tells why.
        let offer = self.offer(facts).unwrap_or_else(|_| Arc::new([]));
        offers.insert(key, Arc::clone(&offer));
        offer
    }

    fn start(
        &self,
        facts: &ConnectionFacts,
        mechanism: &str,
        initial: Option<&[u8]>,
    ) -> Result<Turn, SaslError> {
        let name =
            CString::new(mechanism).map_err(|_| SaslError::NoMechanism("NUL in its name".to_owned()))?;
        if self
            .0
            .hidden
            .iter()
            .any(|hidden| hidden.eq_ignore_ascii_case(mechanism))
        {
            return Err(SaslError::NoMechanism(format!("{mechanism} is not offered here")));
        }
        let mut connection = self.connection(facts)?;
        let mut bindings = match mechanism.to_ascii_uppercase().ends_with("-PLUS") {
            true => facts.channel_bindings.clone(),
            false => Vec::new(),
        };
        if let Some(initial) = initial {
            choose_binding(&mut connection, &mut bindings, initial);
        }
        let outcome = connection.start(&name, initial);
        turn(connection, bindings, outcome)
    }

    fn check_password(
        &self,
        facts: &ConnectionFacts,
        user: &[u8],
        password: &[u8],
    ) -> Result<Login, SaslError> {
        if !facts.plaintext_is_fine() {
            return Err(SaslError::TooWeak("plaintext needs TLS first".to_owned()));
        }
        let mut connection = self.connection(facts)?;
        connection.check_password(user, password).map_err(error)?;
        let user = connection
            .user()
            .ok_or_else(|| SaslError::Setup("the library names no user".to_owned()))?;
        Ok(Login {
            authenticated_as: user.clone(),
            user,
            mechanism: "plaintext".to_owned(),
            layer_strength: 0,
            layer: None,
            success_data: None,
        })
    }
}

/// An exchange that goes on, and the channel bindings of which the client has not yet chosen one.
struct Stepping {
    connection: Connection,
    bindings: Vec<ChannelBinding>,
}

impl Exchange for Stepping {
    fn step(self: Box<Self>, response: &[u8]) -> Result<Turn, SaslError> {
        let Self {
            mut connection,
            mut bindings,
        } = *self;
        choose_binding(&mut connection, &mut bindings, response);
        let outcome = connection.step(response);
        turn(connection, bindings, outcome)
    }
}

/// The library takes one channel binding; the client's first message names the one that it means (RFC 5801, section 4).
fn choose_binding(connection: &mut Connection, bindings: &mut Vec<ChannelBinding>, message: &[u8]) {
    if message.is_empty() {
        return;
    }
    let header = message.split(|&byte| byte == b',').next().unwrap_or_default();
    let wanted = header.strip_prefix(b"p=").unwrap_or_default();
    let chosen = std::mem::take(bindings)
        .into_iter()
        .find(|binding| binding.name.as_bytes() == wanted);
    if let Some(chosen) = chosen {
        // Where it cannot be set, the one set before differs, and the exchange fails for it.
        let _ = bind(connection, &chosen);
    }
}

fn bind(connection: &mut Connection, binding: &ChannelBinding) -> Result<(), Failure> {
    let name = CString::new(binding.name).map_err(|_| Failure {
        code: SASL_BADPARAM,
        detail: "NUL in the name of a channel binding".to_owned(),
    })?;
    connection.set_channel_binding(&name, &binding.data)
}

fn turn(
    mut connection: Connection,
    bindings: Vec<ChannelBinding>,
    outcome: Result<Outcome, Failure>,
) -> Result<Turn, SaslError> {
    let success_data = match outcome.map_err(error)? {
        Outcome::Continue(data) => {
            return Ok(Turn::Challenge {
                data,
                exchange: Box::new(Stepping { connection, bindings }),
            });
        }
        Outcome::Done(data) => data,
    };
    let user = connection
        .user()
        .ok_or_else(|| SaslError::Setup("the library names no user".to_owned()))?;
    let authenticated_as = connection.authenticated_as().unwrap_or_else(|| user.clone());
    let mechanism = connection.mechanism().unwrap_or_default();
    let layer_strength = connection.layer_strength();
    let layer: Option<Box<dyn SecurityLayer>> = if layer_strength > 0 {
        let most = connection.max_encode();
        Some(Box::new(Layer {
            connection,
            most: if most == 0 { MOST } else { most },
        }))
    } else {
        None
    };
    Ok(Turn::Done(Login {
        user,
        authenticated_as,
        mechanism,
        layer_strength,
        layer,
        success_data,
    }))
}

struct Layer {
    connection: Connection,
    /// Octets encoded at a time.
    most: usize,
}

/// Octets encoded at a time when the library names no limit.
const MOST: usize = 16 * 1024;

impl SecurityLayer for Layer {
    fn encode(&mut self, clear: &[u8], wire: &mut Vec<u8>) -> Result<(), LayerError> {
        clear
            .chunks(self.most)
            .try_for_each(|part| self.connection.encode(part, wire).map_err(broken))
    }

    fn decode(&mut self, wire: &[u8], clear: &mut Vec<u8>) -> Result<(), LayerError> {
        wire.chunks(MOST)
            .try_for_each(|part| self.connection.decode(part, clear).map_err(broken))
    }
}

fn broken(failure: Failure) -> LayerError {
    LayerError(failure.detail)
}

/// Whose fault a code of the library is.
fn error(Failure { code, detail }: Failure) -> SaslError {
    match code {
        SASL_BADAUTH | SASL_NOUSER | SASL_BADMAC | SASL_NOVERIFY | SASL_NOUSERPASS => {
            SaslError::BadCredentials(detail)
        }
        SASL_NOAUTHZ | SASL_EXPIRED | SASL_DISABLED | SASL_PWLOCK => SaslError::NotAuthorized(detail),
        SASL_TOOWEAK | SASL_ENCRYPT | SASL_TRANS => SaslError::TooWeak(detail),
        SASL_NOMECH => SaslError::NoMechanism(detail),
        SASL_BADPROT | SASL_BADPARAM | SASL_BUFOVER | SASL_BADVERS | SASL_BADBINDING | SASL_NOTDONE => {
            SaslError::BadProtocol(detail)
        }
        _ => SaslError::Unavailable(detail),
    }
}

fn level_of(level: c_int) -> LogLevel {
    match level {
        SASL_LOG_ERR => LogLevel::Error,
        SASL_LOG_FAIL => LogLevel::Failure,
        SASL_LOG_WARN => LogLevel::Warning,
        SASL_LOG_NOTE => LogLevel::Note,
        _ => LogLevel::Debug,
    }
}

const _: () = assert!(
    size_of::<c_uint>() == size_of::<u32>(),
    "strengths are passed on as they are"
);
