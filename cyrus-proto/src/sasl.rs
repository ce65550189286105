//! Logging in: SASL exchanges and plain passwords, as sessions see them.
//!
//! An [`Authenticator`] is made once and shared; [`CyrusSasl`] puts Cyrus SASL (libsasl2) behind it, with every
//! mechanism that is installed, and [`PasswordCheck`] a function of the embedder's own. All but
//! [`Authenticator::mechanisms`] may block (on a database, saslauthd, LDAP, Kerberos), so sessions call it in a job.
//!
//! ```text
//!   start(mechanism, initial response)
//!      |
//!      v         step(response)
//!   Turn::Challenge ----------> Turn::Challenge ... ----> Turn::Done(Login) | SaslError
//! ```

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use self::attempt::Attempt;
pub use self::backoff::{Backoff, BackoffLimits};
#[cfg(feature = "sasl")]
pub use self::client::{ClientError, ClientLogin, ClientSecurity, Credentials};
#[cfg(feature = "sasl")]
pub use self::cyrus::{CyrusSasl, CyrusSaslOptions, LogLevel, SaslLog};
pub use self::password::PasswordCheck;
use crate::job::{ChannelBinding, Peer, SecurityLayer, TlsFacts};

mod attempt;
mod backoff;
#[cfg(feature = "sasl")]
mod client;
#[cfg(feature = "sasl")]
mod cyrus;
#[cfg(feature = "sasl")]
mod ffi;
#[cfg(feature = "oauth")]
pub mod oauth;
mod password;

/// Verifies who a client is.
pub trait Authenticator: Send + Sync {
    /// The mechanisms to offer on this connection, best first. Quick: answered without blocking.
    fn mechanisms(&self, facts: &ConnectionFacts) -> Arc<[String]>;

    /// Begins an exchange. `initial` is the initial response: absent (`None`) and empty (`Some(b"")`) differ.
    ///
    /// # Errors
    /// See [`SaslError`]; a client may try again.
    fn start(
        &self,
        facts: &ConnectionFacts,
        mechanism: &str,
        initial: Option<&[u8]>,
    ) -> Result<Turn, SaslError>;

    /// Checks a user's password, for commands like IMAP's LOGIN.
    ///
    /// # Errors
    /// See [`SaslError`]; also when plaintext is not allowed here.
    fn check_password(
        &self,
        facts: &ConnectionFacts,
        user: &[u8],
        password: &[u8],
    ) -> Result<Login, SaslError>;
}

impl<A: Authenticator + ?Sized> Authenticator for Arc<A> {
    fn mechanisms(&self, facts: &ConnectionFacts) -> Arc<[String]> {
        (**self).mechanisms(facts)
    }

    fn start(
        &self,
        facts: &ConnectionFacts,
        mechanism: &str,
        initial: Option<&[u8]>,
    ) -> Result<Turn, SaslError> {
        (**self).start(facts, mechanism, initial)
    }

    fn check_password(
        &self,
        facts: &ConnectionFacts,
        user: &[u8],
        password: &[u8],
    ) -> Result<Login, SaslError> {
        (**self).check_password(facts, user, password)
    }
}

/// An exchange that waits for the client's response.
pub trait Exchange: Send {
    /// Goes on with the client's response.
    ///
    /// # Errors
    /// See [`SaslError`]; the exchange is over.
    fn step(self: Box<Self>, response: &[u8]) -> Result<Turn, SaslError>;
}

/// One turn of the server's in an exchange.
pub enum Turn {
    /// Send this (which may be empty), and step on with the response.
    Challenge {
        /// Not yet base64.
        data: Vec<u8>,
        /// The rest of the exchange.
        exchange: Box<dyn Exchange>,
    },
    /// The client is who it says.
    Done(Login),
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Challenge { data, .. } => f.debug_struct("Challenge").field("len", &data.len()).finish(),
            Self::Done(login) => f.debug_tuple("Done").field(login).finish(),
        }
    }
}

/// A successful login.
pub struct Login {
    /// Who the client acts as.
    pub user: String,
    /// Whose credentials they were; differs from `user` when an administrator acts for somebody.
    pub authenticated_as: String,
    /// The mechanism; `plaintext` for a password check.
    pub mechanism: String,
    /// Strength in bits of the negotiated layer; 0 for none.
    pub layer_strength: u32,
    /// Everything after the server's success reply goes through this: [`Step::Secure`](crate::job::Step::Secure).
    pub layer: Option<Box<dyn SecurityLayer>>,
    /// Data to send along with the success reply, if the protocol has a place for it.
    pub success_data: Option<Vec<u8>>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("authenticated_as", &self.authenticated_as)
            .field("mechanism", &self.mechanism)
            .field("layer_strength", &self.layer_strength)
            .finish_non_exhaustive()
    }
}

/// What SASL needs to know of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// The service's name as Kerberos and PAM know it: `imap`, `lmtp`.
    pub service: String,
    /// Our end, if TCP.
    pub local: Option<SocketAddr>,
    /// The client's end, if TCP.
    pub remote: Option<SocketAddr>,
    /// Strength in bits of protection that exists already; 0 for none, 1 for protection from changes only.
    pub external_strength: u32,
    /// Whom EXTERNAL would log in.
    pub external_identity: Option<String>,
    /// What may tie an exchange to the TLS connection, best first.
    pub channel_bindings: Vec<ChannelBinding>,
    /// Passwords may travel in clear.
    pub allow_plaintext: bool,
    /// Anonymous logins are allowed.
    pub allow_anonymous: bool,
    /// The protocol can carry data with its success reply (LMTP and IMAP cannot).
    pub success_data: bool,
}

impl ConnectionFacts {
    /// The facts of a fresh connection.
    pub fn new(service: &str, peer: &Peer) -> Self {
        let (local, remote) = match peer {
            Peer::Tcp { remote, local } => (Some(*local), Some(*remote)),
            Peer::Unix => (None, None),
        };
        Self {
            service: service.to_owned(),
            local,
            remote,
            ..Self::default()
        }
    }

    /// Adds what a TLS handshake established.
    pub fn secured(&mut self, tls: &TlsFacts) {
        self.external_strength = tls.strength_bits;
        self.external_identity.clone_from(&tls.client_identity);
        self.channel_bindings.clone_from(&tls.channel_bindings);
    }

    /// Whether a password may be asked for here.
    pub fn plaintext_is_fine(&self) -> bool {
        self.allow_plaintext || self.external_strength > 1
    }
}

/// The site's rules about user names.
pub trait Policy: Send + Sync {
    /// The one spelling of a user name that the rest of the program uses; `None` if it is no name here.
    ///
    /// `realm` is the realm that the mechanism told, if any.
    fn canonical_user(&self, user: &str, realm: Option<&str>) -> Option<String> {
        let _ = realm;
        Some(user.to_owned())
    }

    /// [`Policy::canonical_user`] of somebody who came to this address of ours, which may decide about his domain.
    fn canonical_user_at(&self, user: &str, realm: Option<&str>, local: IpAddr) -> Option<String> {
        let _ = local;
        self.canonical_user(user, realm)
    }

    /// Whether somebody with the credentials of `authenticated_as` may act as `user` (another one).
    fn may_act_as(&self, authenticated_as: &str, user: &str) -> bool {
        let _ = (authenticated_as, user);
        false
    }
}

/// Names as they are; nobody acts for another.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainPolicy;

impl Policy for PlainPolicy {}

/// Why a login failed. `Display` is for the log: the client gets [`SaslError::text`].
///
/// In the log each reads as libsasl2 writes it, `SASL(-13): authentication failure: …`, for that is what tools that follow
/// the log of Cyrus look for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SaslError {
    /// Wrong password or no such user; the client must not learn which.
    #[error("{}", logged(-13, "authentication failure", .0))]
    BadCredentials(String),
    /// The credentials are right, but do not allow this (acting as somebody else, a disabled account).
    #[error("{}", logged(-14, "authorization failure", .0))]
    NotAuthorized(String),
    /// The mechanism is too weak for this connection: plaintext without TLS, say.
    #[error("{}", logged(-15, "mechanism too weak for this user", .0))]
    TooWeak(String),
    /// There is no such mechanism, or it is not offered here.
    #[error("{}", logged(-4, "no mechanism available", .0))]
    NoMechanism(String),
    /// The client broke the rules of the mechanism.
    #[error("{}", logged(-5, "bad protocol / cancel", .0))]
    BadProtocol(String),
    /// There were too many failures: this attempt was not looked at.
    #[error("{}", logged(-13, "authentication failure", .0))]
    TooMany(String),
    /// Whatever verifies credentials could not be asked: try later.
    #[error("{}", logged(-1, "generic failure", .0))]
    Unavailable(String),
    /// The library or its settings are unusable.
    #[error("{}", logged(-1, "generic failure", .0))]
    Setup(String),
}

/// A reason as the log shows it: the library's own, or in its form.
fn logged(code: i32, what: &str, detail: &str) -> String {
    let detail: String = detail
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    match detail.starts_with("SASL(") {
        true => detail,
        false => format!("SASL({code}): {what}: {detail}"),
    }
}

impl SaslError {
    /// What a client may be told.
    pub fn text(&self) -> &'static str {
        match self {
            Self::BadCredentials(_) => "authentication failure",
            Self::NotAuthorized(_) => "authorization failure",
            Self::TooWeak(_) => "mechanism too weak for this user",
            Self::NoMechanism(_) => "no mechanism available",
            Self::BadProtocol(_) => "bad protocol / cancel",
            Self::TooMany(_) => "too many failed logins; try again later",
            Self::Unavailable(_) | Self::Setup(_) => "generic failure",
        }
    }

    /// Whether the same attempt may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::TooMany(_) | Self::Unavailable(_) | Self::Setup(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_shows_every_failure_in_the_form_of_the_library() {
        let own = SaslError::BadCredentials("SASL(-13): user not found: no secret in database".into());
        assert_eq!(
            own.to_string(),
            "SASL(-13): user not found: no secret in database"
        );
        assert_eq!(
            SaslError::BadCredentials("the token has\r\nexpired".into()).to_string(),
            "SASL(-13): authentication failure: the token has??expired"
        );
        assert_eq!(
            SaslError::NoMechanism("FROB".into()).to_string(),
            "SASL(-4): no mechanism available: FROB"
        );
    }
}
