//! OAUTHBEARER (RFC 7628) and XOAUTH2: logins by a token that somebody else issued.
//!
//! libsasl2 has neither, so they are put beside its mechanisms: [`OAuth`] offers both, and asks a [`TokenVerifier`] whose
//! token it was given. [`Jwt`] verifies tokens itself against the issuer's keys; [`Introspection`] asks the
//! issuer about each (RFC 7662). Whoever hears a token can use it, so both need TLS always (RFC 7628, section 4).
//!
//! ```text
//!   client's message ----> token, user wanted ----> TokenVerifier ----> whose ----> Policy: may act as the one wanted
//!                                                      | refused
//!                                                      v
//!                                  challenge: why, as JSON ----> any answer ----> failure
//! ```

use std::sync::Arc;

pub use self::claims::ClaimRules;
pub use self::introspect::{Introspection, IntrospectionOptions};
pub use self::jwt::Jwt;
use self::message::Bearer;
use super::{Authenticator, ConnectionFacts, Exchange, Login, Policy, SaslError, Turn};

mod claims;
mod http;
mod introspect;
mod jwk;
mod jwt;
mod message;

/// Tells whose token it is.
pub trait TokenVerifier: Send + Sync {
    /// The name of the token's owner, as the issuer spells it. May block for as long as a login may take.
    ///
    /// # Errors
    /// Why the token is not good here.
    fn owner(&self, token: &str) -> Result<String, TokenError>;
}

/// Why a token is refused. `Display` is for the log; it never shows the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Forged, expired, revoked, or meant for somebody else.
    #[error("the token is refused: {0}")]
    Invalid(String),
    /// Good, but not for this.
    #[error("the token does not give the scope {0}")]
    Scope(String),
    /// Whoever knows could not be asked.
    #[error("tokens cannot be verified: {0}")]
    Unavailable(String),
}

/// What clients are told when their token is refused, so that they can get a better one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// The scopes that a token must have, separated by spaces.
    pub scope: Option<String>,
    /// Where the issuer describes itself (OpenID Connect Discovery).
    pub openid_configuration: Option<String>,
}

/// Adds OAUTHBEARER and XOAUTH2 to the mechanisms of another authenticator.
pub struct OAuth<A> {
    others: A,
    shared: Arc<Shared>,
}

struct Shared {
    verifier: Box<dyn TokenVerifier>,
    policy: Arc<dyn Policy>,
    advice: Advice,
    /// Which of the two are offered.
    offered: Vec<Mechanism>,
}

/// One of the two mechanisms: the same in other words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mechanism {
    OAuthBearer,
    XOAuth2,
}

impl Mechanism {
    const ALL: [Self; 2] = [Self::OAuthBearer, Self::XOAuth2];

    const fn name(self) -> &'static str {
        match self {
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
        }
    }
}

/// The names of the mechanisms that [`OAuth`] has.
pub const MECHANISMS: [&str; 2] = [Mechanism::ALL[0].name(), Mechanism::ALL[1].name()];

impl<A> OAuth<A> {
    /// Offers those of [`MECHANISMS`] that are in `offered`, beside what `others` offers.
    pub fn new(
        others: A,
        verifier: impl TokenVerifier + 'static,
        policy: Arc<dyn Policy>,
        advice: Advice,
        offered: impl Fn(&str) -> bool,
    ) -> Self {
        let offered = Mechanism::ALL
            .into_iter()
            .filter(|mechanism| offered(mechanism.name()));
        Self {
            others,
            shared: Arc::new(Shared {
                verifier: Box::new(verifier),
                policy,
                advice,
                offered: offered.collect(),
            }),
        }
    }
}

impl<A: Authenticator> Authenticator for OAuth<A> {
    fn mechanisms(&self, facts: &ConnectionFacts) -> Arc<[String]> {
        let others = self.others.mechanisms(facts);
        if !is_private(facts) || self.shared.offered.is_empty() {
            return others;
        }
        let own = self.shared.offered.iter().map(|own| own.name().to_owned());
        others.iter().cloned().chain(own).collect()
    }

    fn start(
        &self,
        facts: &ConnectionFacts,
        mechanism: &str,
        initial: Option<&[u8]>,
    ) -> Result<Turn, SaslError> {
        let mut offered = self.shared.offered.iter();
        let Some(&own) = offered.find(|own| own.name().eq_ignore_ascii_case(mechanism)) else {
            return self.others.start(facts, mechanism, initial);
        };
        if !is_private(facts) {
            return Err(SaslError::TooWeak(format!("{} needs TLS first", own.name())));
        }
        match initial {
            Some(message) => self.shared.begin(own, message),
            None => Ok(Turn::Challenge {
                data: Vec::new(),
                exchange: Box::new(Waiting {
                    mechanism: own,
                    shared: Arc::clone(&self.shared),
                }),
            }),
        }
    }

    fn check_password(
        &self,
        facts: &ConnectionFacts,
        user: &[u8],
        password: &[u8],
    ) -> Result<Login, SaslError> {
        self.others.check_password(facts, user, password)
    }
}

/// Whether nobody else hears what is said.
fn is_private(facts: &ConnectionFacts) -> bool {
    facts.external_strength > 1
}

/// The client has not said anything yet.
struct Waiting {
    mechanism: Mechanism,
    shared: Arc<Shared>,
}

impl Exchange for Waiting {
    fn step(self: Box<Self>, response: &[u8]) -> Result<Turn, SaslError> {
        self.shared.begin(self.mechanism, response)
    }
}

/// The client was told why its token is refused; whatever it says now, the exchange has failed.
struct Refused(SaslError);

impl Exchange for Refused {
    fn step(self: Box<Self>, _response: &[u8]) -> Result<Turn, SaslError> {
        Err(self.0)
    }
}

impl Shared {
    fn begin(&self, mechanism: Mechanism, message: &[u8]) -> Result<Turn, SaslError> {
        let bearer = match mechanism {
            Mechanism::OAuthBearer => Bearer::of_oauthbearer(message),
            Mechanism::XOAuth2 => Bearer::of_xoauth2(message),
        };
        let bearer =
            bearer.map_err(|what| SaslError::BadProtocol(format!("{}: {what}", mechanism.name())))?;
        let owner = match bearer.token.as_str() {
            // RFC 7628, section 4.3: how a client asks where to get a token.
            "" => Err(TokenError::Invalid("there is none".to_owned())),
            token => self.verifier.owner(token),
        };
        let owner = match owner {
            Ok(owner) => owner,
            Err(TokenError::Unavailable(why)) => {
                return Err(SaslError::Unavailable(format!(
                    "tokens cannot be verified: {why}"
                )));
            }
            Err(error) => {
                return Ok(Turn::Challenge {
                    data: self.advice.told(mechanism, &error),
                    exchange: Box::new(Refused(SaslError::BadCredentials(error.to_string()))),
                });
            }
        };
        let unacceptable = |name: &str| {
            SaslError::NotAuthorized(format!("{name:?} is not acceptable as a user's name here"))
        };
        let known = |name: &str| {
            self.policy
                .canonical_user(name, None)
                .ok_or_else(|| unacceptable(name))
        };
        let owner = known(&owner)?;
        let user = match &bearer.user {
            None => owner.clone(),
            Some(wanted) => known(wanted)?,
        };
        if user != owner && !self.policy.may_act_as(&owner, &user) {
            return Err(SaslError::NotAuthorized(format!(
                "the token is {owner:?}'s, who may not act as {user:?}"
            )));
        }
        Ok(Turn::Done(Login {
            user,
            authenticated_as: owner,
            mechanism: mechanism.name().to_owned(),
            layer_strength: 0,
            layer: None,
            success_data: None,
        }))
    }
}

impl Advice {
    /// The server's error result (RFC 7628, section 3.2.2), or what XOAUTH2 has for it.
    fn told(&self, mechanism: Mechanism, error: &TokenError) -> Vec<u8> {
        let mut told = serde_json::Map::new();
        let mut put = |name: &str, value: &str| {
            told.insert(name.to_owned(), value.into());
        };
        match (mechanism, error) {
            (Mechanism::XOAuth2, _) => {
                put("status", "401");
                put("schemes", "bearer");
            }
            (Mechanism::OAuthBearer, TokenError::Scope(_)) => put("status", "insufficient_scope"),
            (Mechanism::OAuthBearer, _) => put("status", "invalid_token"),
        }
        if let Some(scope) = &self.scope {
            put("scope", scope);
        }
        if let Some(url) = &self.openid_configuration {
            put("openid-configuration", url);
        }
        serde_json::Value::Object(told).to_string().into_bytes()
    }
}

/// Reads any bytes as each of the things that come from elsewhere.
pub(crate) fn fuzz(data: &[u8]) {
    let _ = Bearer::of_oauthbearer(data);
    let _ = Bearer::of_xoauth2(data);
    let keys = jwk::parse(data).unwrap_or_default();
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = jwt::claims(text, &keys);
        let _ = http::Endpoint::parse(text);
    }
    let _ = http::body(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::PasswordCheck;

    /// Knows one token, and is out of order for another.
    struct One;

    impl TokenVerifier for One {
        fn owner(&self, token: &str) -> Result<String, TokenError> {
            match token {
                "good" => Ok("Fred@example.org".to_owned()),
                "admins" => Ok("cyrus".to_owned()),
                "narrow" => Err(TokenError::Scope("imap".to_owned())),
                "down" => Err(TokenError::Unavailable("no answer".to_owned())),
                _ => Err(TokenError::Invalid("expired".to_owned())),
            }
        }
    }

    struct Rules;

    impl Policy for Rules {
        fn canonical_user(&self, user: &str, _realm: Option<&str>) -> Option<String> {
            let user = user.to_lowercase();
            let user = user.strip_suffix("@example.org").unwrap_or(&user);
            (!user.contains('*')).then(|| user.to_owned())
        }

        fn may_act_as(&self, authenticated_as: &str, _user: &str) -> bool {
            authenticated_as == "cyrus"
        }
    }

    fn sasl() -> OAuth<PasswordCheck> {
        let advice = Advice {
            scope: Some("imap".to_owned()),
            openid_configuration: Some("https://id.example.org/.well-known/openid-configuration".to_owned()),
        };
        let others = PasswordCheck::new(|_, password| password == b"secret");
        OAuth::new(others, One, Arc::new(Rules), advice, |_| true)
    }

    fn secure() -> ConnectionFacts {
        ConnectionFacts {
            external_strength: 256,
            ..ConnectionFacts::default()
        }
    }

    fn bearer(user: &str, token: &str) -> Vec<u8> {
        format!("n,{user},\x01host=x\x01auth=Bearer {token}\x01\x01").into_bytes()
    }

    fn login(message: &[u8]) -> Result<Login, SaslError> {
        match sasl().start(&secure(), "oauthbearer", Some(message))? {
            Turn::Done(login) => Ok(login),
            Turn::Challenge { exchange, .. } => match exchange.step(b"\x01")? {
                Turn::Done(login) => panic!("{login:?} after a refusal"),
                Turn::Challenge { .. } => panic!("challenged twice"),
            },
        }
    }

    #[test]
    fn a_token_logs_its_owner_in_and_nobody_else() {
        let fred = login(&bearer("", "good")).unwrap();
        assert_eq!(
            (fred.user.as_str(), fred.mechanism.as_str()),
            ("fred", "OAUTHBEARER")
        );
        assert_eq!(login(&bearer("a=fred@example.org", "good")).unwrap().user, "fred");
        let other = login(&bearer("a=bovik", "good")).unwrap_err();
        assert!(matches!(other, SaslError::NotAuthorized(_)), "{other:?}");
        let bad = login(&bearer("a=b*d", "good")).unwrap_err();
        assert!(matches!(bad, SaslError::NotAuthorized(_)), "{bad:?}");
        let proxied = login(&bearer("a=bovik", "admins")).unwrap();
        assert_eq!(
            (proxied.user.as_str(), proxied.authenticated_as.as_str()),
            ("bovik", "cyrus")
        );
    }

    #[test]
    fn a_refused_token_is_answered_with_what_the_client_needs_to_get_another() {
        for (mechanism, message, told) in [
            (
                "OAUTHBEARER",
                bearer("", "old"),
                "{\"openid-configuration\":\"https://id.example.org/.well-known/openid-configuration\",\
                 \"scope\":\"imap\",\"status\":\"invalid_token\"}",
            ),
            (
                "OAUTHBEARER",
                bearer("", "narrow"),
                "{\"openid-configuration\":\"https://id.example.org/.well-known/openid-configuration\",\
                 \"scope\":\"imap\",\"status\":\"insufficient_scope\"}",
            ),
            (
                "XOAUTH2",
                b"user=fred\x01auth=Bearer old\x01\x01".to_vec(),
                "{\"openid-configuration\":\"https://id.example.org/.well-known/openid-configuration\",\
                 \"schemes\":\"bearer\",\"scope\":\"imap\",\"status\":\"401\"}",
            ),
        ] {
            let Ok(Turn::Challenge { data, exchange }) = sasl().start(&secure(), mechanism, Some(&message))
            else {
                panic!("{mechanism}");
            };
            assert_eq!(String::from_utf8(data).unwrap(), told);
            let error = exchange.step(b"").unwrap_err();
            assert!(matches!(error, SaslError::BadCredentials(_)));
            assert!(!error.to_string().contains("old"), "{error}");
        }
        assert!(matches!(
            login(&bearer("", "down")),
            Err(SaslError::Unavailable(_))
        ));
        assert!(matches!(
            login(&bearer("", "")),
            Err(SaslError::BadCredentials(_))
        ));
        assert!(matches!(login(b"\x01\x01"), Err(SaslError::BadProtocol(_))));
    }

    #[test]
    fn tokens_need_tls_and_other_mechanisms_stay() {
        let sasl = sasl();
        assert_eq!(
            sasl.mechanisms(&secure()).as_ref(),
            ["PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"]
        );
        let clear = ConnectionFacts {
            allow_plaintext: true,
            ..ConnectionFacts::default()
        };
        assert_eq!(sasl.mechanisms(&clear).as_ref(), ["PLAIN", "LOGIN"]);
        let refused = sasl.start(&clear, "XOAUTH2", Some(b"user=fred\x01auth=Bearer good\x01\x01"));
        assert!(matches!(refused, Err(SaslError::TooWeak(_))));
        let plain = sasl.start(&secure(), "PLAIN", Some(b"\0fred\0secret"));
        assert!(matches!(plain, Ok(Turn::Done(_))));
        assert!(sasl.check_password(&secure(), b"fred", b"secret").is_ok());
        let Ok(Turn::Challenge { data, exchange }) = sasl.start(&secure(), "OAUTHBEARER", None) else {
            panic!("no challenge");
        };
        assert!(data.is_empty());
        assert!(matches!(exchange.step(&bearer("", "good")), Ok(Turn::Done(_))));
    }
}
