//! PLAIN, LOGIN and password checks over a function of the embedder's own: no libsasl2 needed.

use std::sync::Arc;

use super::{Authenticator, ConnectionFacts, Exchange, Login, Policy, SaslError, Turn};

/// The function that verifies: user, password.
type Check = dyn Fn(&str, &[u8]) -> bool + Send + Sync;

/// An authenticator that asks a function.
///
/// ```
/// use cyrus_proto::sasl::{Authenticator, ConnectionFacts, PasswordCheck};
///
/// let check = PasswordCheck::new(|user, password| user == "fred" && password == b"secret");
/// let facts = ConnectionFacts { allow_plaintext: true, ..ConnectionFacts::default() };
/// assert_eq!(check.check_password(&facts, b"fred", b"secret").unwrap().user, "fred");
/// ```
#[derive(Clone)]
pub struct PasswordCheck {
    check: Arc<Check>,
    policy: Option<Arc<dyn Policy>>,
}

impl PasswordCheck {
    /// Verifies by calling `check(user, password)`.
    pub fn new(check: impl Fn(&str, &[u8]) -> bool + Send + Sync + 'static) -> Self {
        Self {
            check: Arc::new(check),
            policy: None,
        }
    }

    /// Applies these rules about names.
    #[must_use]
    pub fn with_policy(self, policy: Arc<dyn Policy>) -> Self {
        Self {
            policy: Some(policy),
            ..self
        }
    }

    fn login(
        &self,
        acting_as: &[u8],
        user: &[u8],
        password: &[u8],
        mechanism: &str,
    ) -> Result<Login, SaslError> {
        let user = self.canonical(user)?;
        if !(self.check)(&user, password) {
            return Err(SaslError::BadCredentials(format!(
                "the password of {user:?} was refused"
            )));
        }
        let acting_as = if acting_as.is_empty() {
            user.clone()
        } else {
            self.canonical(acting_as)?
        };
        let allowed = |policy: &Arc<dyn Policy>| policy.may_act_as(&user, &acting_as);
        if acting_as != user && !self.policy.as_ref().is_some_and(allowed) {
            return Err(SaslError::NotAuthorized(format!(
                "{user:?} may not act as {acting_as:?}"
            )));
        }
        Ok(Login {
            user: acting_as,
            authenticated_as: user,
            mechanism: mechanism.to_owned(),
            layer_strength: 0,
            layer: None,
            success_data: None,
        })
    }

    fn canonical(&self, user: &[u8]) -> Result<String, SaslError> {
        let refused =
            || SaslError::BadCredentials(format!("{:?} is no user name", String::from_utf8_lossy(user)));
        let user = std::str::from_utf8(user).map_err(|_| refused())?;
        if user.is_empty() || user.contains('\0') {
            return Err(refused());
        }
        match &self.policy {
            Some(policy) => policy.canonical_user(user, None).ok_or_else(refused),
            None => Ok(user.to_owned()),
        }
    }

    /// RFC 4616: `[authzid] NUL authcid NUL passwd`.
    fn plain(&self, message: &[u8]) -> Result<Turn, SaslError> {
        let mut parts = message.splitn(3, |&byte| byte == 0);
        let (Some(acting_as), Some(user), Some(password)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SaslError::BadProtocol(
                "a PLAIN message has three parts".to_owned(),
            ));
        };
        if password.contains(&0) {
            return Err(SaslError::BadProtocol("NUL in a PLAIN password".to_owned()));
        }
        self.login(acting_as, user, password, "PLAIN").map(Turn::Done)
    }
}

impl Authenticator for PasswordCheck {
    fn mechanisms(&self, facts: &ConnectionFacts) -> Arc<[String]> {
        if facts.plaintext_is_fine() {
            Arc::new(["PLAIN".to_owned(), "LOGIN".to_owned()])
        } else {
            Arc::new([])
        }
    }

    fn start(
        &self,
        facts: &ConnectionFacts,
        mechanism: &str,
        initial: Option<&[u8]>,
    ) -> Result<Turn, SaslError> {
        let challenge = |stage, data: &[u8]| {
            let exchange = Box::new(Stepping {
                check: self.clone(),
                stage,
            });
            Ok(Turn::Challenge {
                data: data.to_vec(),
                exchange,
            })
        };
        let known = ["PLAIN", "LOGIN"]
            .iter()
            .find(|known| known.eq_ignore_ascii_case(mechanism));
        if known.is_some() && !facts.plaintext_is_fine() {
            return Err(SaslError::TooWeak("plaintext needs TLS first".to_owned()));
        }
        match (known, initial) {
            (Some(&"PLAIN"), None) => challenge(Stage::Plain, b""),
            (Some(&"PLAIN"), Some(message)) => self.plain(message),
            (Some(_), None) => challenge(Stage::LoginUser, b"Username:"),
            (Some(_), Some(user)) => challenge(Stage::LoginPassword { user: user.to_vec() }, b"Password:"),
            (None, _) => Err(SaslError::NoMechanism(mechanism.to_owned())),
        }
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
        self.login(b"", user, password, "plaintext")
    }
}

struct Stepping {
    check: PasswordCheck,
    stage: Stage,
}

enum Stage {
    Plain,
    LoginUser,
    LoginPassword { user: Vec<u8> },
}

impl Exchange for Stepping {
    fn step(self: Box<Self>, response: &[u8]) -> Result<Turn, SaslError> {
        match self.stage {
            Stage::Plain => self.check.plain(response),
            Stage::LoginUser => {
                let stage = Stage::LoginPassword {
                    user: response.to_vec(),
                };
                let exchange = Box::new(Self {
                    check: self.check,
                    stage,
                });
                Ok(Turn::Challenge {
                    data: b"Password:".to_vec(),
                    exchange,
                })
            }
            Stage::LoginPassword { user } => self.check.login(b"", &user, response, "LOGIN").map(Turn::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Admin;

    impl Policy for Admin {
        fn canonical_user(&self, user: &str, _realm: Option<&str>) -> Option<String> {
            Some(user.to_ascii_lowercase())
        }

        fn may_act_as(&self, authenticated_as: &str, _user: &str) -> bool {
            authenticated_as == "cyrus"
        }
    }

    fn check() -> PasswordCheck {
        PasswordCheck::new(|_, password| password == b"pass").with_policy(Arc::new(Admin))
    }

    fn clear() -> ConnectionFacts {
        ConnectionFacts {
            allow_plaintext: true,
            ..ConnectionFacts::default()
        }
    }

    #[test]
    fn plain_lets_an_admin_act_for_another() {
        let turn = check()
            .start(&clear(), "plain", Some(b"Fred\0CYRUS\0pass"))
            .unwrap();
        let Turn::Done(login) = turn else {
            panic!("one turn is enough")
        };
        assert_eq!(
            (login.user.as_str(), login.authenticated_as.as_str()),
            ("fred", "cyrus")
        );
        let refused = check()
            .start(&clear(), "PLAIN", Some(b"cyrus\0fred\0pass"))
            .unwrap_err();
        assert!(matches!(refused, SaslError::NotAuthorized(_)));
    }

    #[test]
    fn login_asks_twice() {
        let Turn::Challenge { data, exchange } = check().start(&clear(), "LOGIN", None).unwrap() else {
            panic!()
        };
        assert_eq!(data, b"Username:");
        let Turn::Challenge { data, exchange } = exchange.step(b"fred").unwrap() else {
            panic!()
        };
        assert_eq!(data, b"Password:");
        assert!(matches!(exchange.step(b"pass").unwrap(), Turn::Done(login) if login.user == "fred"));
    }

    #[test]
    fn nothing_is_offered_or_taken_in_clear_unless_allowed() {
        let facts = ConnectionFacts::default();
        assert!(check().mechanisms(&facts).is_empty());
        assert!(matches!(
            check().check_password(&facts, b"a", b"pass"),
            Err(SaslError::TooWeak(_))
        ));
        let tls = ConnectionFacts {
            external_strength: 256,
            ..facts
        };
        assert_eq!(check().check_password(&tls, b"a", b"pass").unwrap().user, "a");
    }
}
