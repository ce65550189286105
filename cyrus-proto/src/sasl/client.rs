//! The other side of a login: a client that proves who it is, through libsasl2, with every mechanism that is installed.

use std::ffi::CString;
use std::fmt;

use super::ffi::Failure;
use super::ffi::client::{ClientConnection, Question};
use crate::job::{LayerError, SecurityLayer};

/// Who a client claims to be.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Whose credentials they are; mechanisms such as GSSAPI know that by themselves.
    pub authenticate_as: Option<String>,
    /// Whom to act as; the same user if empty.
    pub act_as: Option<String>,
    /// The password, for mechanisms that have one.
    pub password: Option<String>,
    /// The realm.
    pub realm: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("authenticate_as", &self.authenticate_as)
            .field("act_as", &self.act_as)
            .finish_non_exhaustive()
    }
}

/// What a client asks of the security layer of a mechanism, in bits; 0 is none, 1 is integrity alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientSecurity {
    /// The weakest that will do.
    pub minimum: u32,
    /// The strongest that is used.
    pub maximum: u32,
    /// What protects the connection already, TLS for example.
    pub external: u32,
}

/// Why a client cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ClientError(String);

impl From<Failure> for ClientError {
    fn from(failure: Failure) -> Self {
        let detail = failure.detail.trim();
        // "SASL(-4): no mechanism available: ..."
        Self(detail.strip_prefix("SASL").map_or_else(
            || detail.to_owned(),
            |_| {
                detail
                    .split_once(": ")
                    .map_or(detail, |(_, rest)| rest)
                    .to_owned()
            },
        ))
    }
}

/// A login in progress.
///
/// ```text
///   begin(mechanisms) -> the mechanism, an initial response --challenge--> respond ... -> is_done, and the server agrees
/// ```
pub struct ClientLogin {
    connection: ClientConnection,
    credentials: Credentials,
    mechanism: String,
    initial: Option<Vec<u8>>,
    done: bool,
}

impl ClientLogin {
    /// Begins with the best of `mechanisms` that is installed and fits.
    ///
    /// # Errors
    /// There is none, or the credentials lack something that it needs.
    pub fn begin(
        service: &str,
        server: &str,
        mechanisms: &[String],
        credentials: Credentials,
        security: ClientSecurity,
    ) -> Result<Self, ClientError> {
        let text = |text: &str| CString::new(text).map_err(|_| ClientError("NUL in a name".to_owned()));
        let mut connection = ClientConnection::new(&text(service)?, &text(server)?)?;
        connection.set_security(security.minimum, security.maximum, security.external)?;
        let list = text(&mechanisms.join(" "))?;
        let (outcome, mechanism) = connection.start(&list, &mut |question| answer(&credentials, question))?;
        Ok(Self {
            connection,
            credentials,
            mechanism,
            initial: outcome.response,
            done: outcome.done,
        })
    }

    /// The mechanism that was chosen.
    pub fn mechanism(&self) -> &str {
        &self.mechanism
    }

    /// What to send first, where the mechanism begins with the client.
    pub fn initial_response(&self) -> Option<&[u8]> {
        self.initial.as_deref()
    }

    /// Whether the client has said all and is satisfied with the server.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// What to answer to a challenge.
    ///
    /// # Errors
    /// The challenge is wrong: the server is not who it should be, for example.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, ClientError> {
        let credentials = &self.credentials;
        let outcome = self
            .connection
            .step(challenge, &mut |question| answer(credentials, question))?;
        self.done = outcome.done;
        Ok(outcome.response.unwrap_or_default())
    }

    /// The security layer that was negotiated, after the server has agreed; with its strength in bits.
    pub fn into_layer(mut self) -> Option<(u32, Box<dyn SecurityLayer>)> {
        match self.connection.layer_strength() {
            0 => None,
            strength => Some((
                strength,
                Box::new(Layer {
                    connection: self.connection,
                }),
            )),
        }
    }
}

impl fmt::Debug for ClientLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLogin")
            .field("mechanism", &self.mechanism)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

fn answer(credentials: &Credentials, question: Question) -> Option<CString> {
    let text = match question {
        Question::User => credentials.act_as.as_deref(),
        Question::AuthenticateAs => credentials.authenticate_as.as_deref(),
        Question::Password => credentials.password.as_deref(),
        Question::Realm => credentials.realm.as_deref(),
    };
    CString::new(text?).ok()
}

struct Layer {
    connection: ClientConnection,
}

impl SecurityLayer for Layer {
    fn encode(&mut self, clear: &[u8], wire: &mut Vec<u8>) -> Result<(), LayerError> {
        let most = match self.connection.max_encode() {
            0 => PIECE,
            most => most.min(PIECE),
        };
        clear
            .chunks(most)
            .try_for_each(|part| self.connection.encode(part, wire).map_err(broken))
    }

    fn decode(&mut self, wire: &[u8], clear: &mut Vec<u8>) -> Result<(), LayerError> {
        wire.chunks(PIECE)
            .try_for_each(|part| self.connection.decode(part, clear).map_err(broken))
    }
}

fn broken(failure: Failure) -> LayerError {
    LayerError(failure.detail)
}

/// Octets that the library is given at a time.
const PIECE: usize = 32 * 1024;
