//! Nobody logs in to a service that the administrator has shut him out of.

use std::sync::Arc;

use cyrus_proto::sasl::{Authenticator, ConnectionFacts, Exchange, Login, SaslError, Turn};

use crate::denied::Denied;
use crate::syslog::{Level, log};

/// Verifies through another authenticator, and refuses those who are denied; administrators never are.
pub(super) struct Barred<A> {
    verifier: A,
    list: Arc<List>,
}

struct List {
    denied: Denied,
    admins: Vec<String>,
    service: String,
}

impl<A> Barred<A> {
    /// For a service of this name in cyrus.conf.
    pub(super) fn new(verifier: A, denied: Denied, admins: Vec<String>, service: &str) -> Self {
        Self {
            verifier,
            list: Arc::new(List {
                denied,
                admins,
                service: service.to_owned(),
            }),
        }
    }
}

impl List {
    fn check(&self, login: Login) -> Result<Login, SaslError> {
        let user = &login.user;
        if self.admins.contains(user) || self.denied.why(user).is_none() {
            return Ok(login);
        }
        let what = format!("user '{user}' is denied access to service '{}'", self.service);
        log(Level::Notice, &what);
        Err(SaslError::NotAuthorized(what))
    }

    fn guard(self: &Arc<Self>, turn: Turn) -> Result<Turn, SaslError> {
        Ok(match turn {
            Turn::Done(login) => Turn::Done(self.check(login)?),
            Turn::Challenge { data, exchange } => Turn::Challenge {
                data,
                exchange: Box::new(BarredExchange {
                    exchange,
                    list: Arc::clone(self),
                }),
            },
        })
    }
}

impl<A: Authenticator> Authenticator for Barred<A> {
    fn mechanisms(&self, facts: &ConnectionFacts) -> Arc<[String]> {
        self.verifier.mechanisms(facts)
    }

    fn start(
        &self,
        facts: &ConnectionFacts,
        mechanism: &str,
        initial: Option<&[u8]>,
    ) -> Result<Turn, SaslError> {
        self.list.guard(self.verifier.start(facts, mechanism, initial)?)
    }

    fn check_password(
        &self,
        facts: &ConnectionFacts,
        user: &[u8],
        password: &[u8],
    ) -> Result<Login, SaslError> {
        self.list
            .check(self.verifier.check_password(facts, user, password)?)
    }
}

struct BarredExchange {
    exchange: Box<dyn Exchange>,
    list: Arc<List>,
}

impl Exchange for BarredExchange {
    fn step(self: Box<Self>, response: &[u8]) -> Result<Turn, SaslError> {
        let Self { exchange, list } = *self;
        list.guard(exchange.step(response)?)
    }
}
