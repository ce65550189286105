//! Some logins at a time: a verifier that hangs must not hold every worker, and with them those who are in already.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cyrus_proto::sasl::{Authenticator, ConnectionFacts, Exchange, Login, SaslError, Turn};

/// Verifies through another authenticator, no more than some logins at once; further ones shall try again later.
pub(super) struct Limited<A> {
    verifier: A,
    places: Arc<Places>,
}

struct Places {
    taken: AtomicUsize,
    most: usize,
}

/// A login that is being verified.
struct Place(Arc<Places>);

impl<A> Limited<A> {
    /// At most `most` logins at once.
    pub(super) fn new(verifier: A, most: usize) -> Self {
        Self {
            verifier,
            places: Arc::new(Places {
                taken: AtomicUsize::new(0),
                most,
            }),
        }
    }
}

impl Places {
    fn take(self: &Arc<Self>) -> Result<Place, SaslError> {
        let before = self.taken.fetch_add(1, Ordering::AcqRel);
        let place = Place(Arc::clone(self));
        match before < self.most {
            true => Ok(place),
            false => Err(SaslError::Unavailable(format!(
                "{before} logins wait for an answer; is saslauthd or the user database stuck?"
            ))),
        }
    }

    /// Goes on with an exchange under the same limit.
    fn guard(self: &Arc<Self>, turn: Turn) -> Turn {
        match turn {
            Turn::Challenge { data, exchange } => Turn::Challenge {
                data,
                exchange: Box::new(LimitedExchange {
                    exchange,
                    places: Arc::clone(self),
                }),
            },
            done @ Turn::Done(_) => done,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<A: Authenticator> Authenticator for Limited<A> {
    fn mechanisms(&self, facts: &ConnectionFacts) -> Arc<[String]> {
        self.verifier.mechanisms(facts)
    }

    fn start(
        &self,
        facts: &ConnectionFacts,
        mechanism: &str,
        initial: Option<&[u8]>,
    ) -> Result<Turn, SaslError> {
        let _place = self.places.take()?;
        let turn = self.verifier.start(facts, mechanism, initial)?;
        Ok(self.places.guard(turn))
    }

    fn check_password(
        &self,
        facts: &ConnectionFacts,
        user: &[u8],
        password: &[u8],
    ) -> Result<Login, SaslError> {
        let _place = self.places.take()?;
        self.verifier.check_password(facts, user, password)
    }
}

struct LimitedExchange {
    exchange: Box<dyn Exchange>,
    places: Arc<Places>,
}

impl Exchange for LimitedExchange {
    fn step(self: Box<Self>, response: &[u8]) -> Result<Turn, SaslError> {
        let Self { exchange, places } = *self;
        let _place = places.take()?;
        Ok(places.guard(exchange.step(response)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks whether another login could be verified meanwhile.
    struct Nested(Arc<Places>, usize);

    impl Authenticator for Nested {
        fn mechanisms(&self, _: &ConnectionFacts) -> Arc<[String]> {
            Arc::new([])
        }

        fn start(&self, _: &ConnectionFacts, _: &str, _: Option<&[u8]>) -> Result<Turn, SaslError> {
            Err(SaslError::BadProtocol(String::new()))
        }

        fn check_password(&self, _: &ConnectionFacts, _: &[u8], _: &[u8]) -> Result<Login, SaslError> {
            let more: Vec<_> = (0..self.1).map(|_| self.0.take()).collect();
            match more.into_iter().find_map(Result::err) {
                Some(error) => Err(error),
                None => Err(SaslError::BadCredentials(String::new())),
            }
        }
    }

    #[test]
    fn logins_past_the_limit_shall_come_again_and_every_end_makes_room() {
        let try_with = |others: usize| {
            let places = Arc::new(Places {
                taken: AtomicUsize::new(0),
                most: 3,
            });
            let limited = Limited {
                verifier: Nested(Arc::clone(&places), others),
                places: Arc::clone(&places),
            };
            let result = limited.check_password(&ConnectionFacts::default(), b"u", b"p");
            assert_eq!(places.taken.load(Ordering::Acquire), 0);
            result.unwrap_err()
        };
        assert!(matches!(try_with(2), SaslError::BadCredentials(_)));
        assert!(matches!(try_with(3), SaslError::Unavailable(_)));
    }
}
