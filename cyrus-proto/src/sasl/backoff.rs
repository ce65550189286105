//! Patience with those who guess passwords: whoever has failed often is not verified for a while.
//!
//! Failures count for the client's address and for the user whose name was tried. Past a limit an attempt is refused without
//! asking the verifier, for one second after the failure that was too much, and twice as long after each further one, up to
//! the longest wait. Attempts that are refused do not count, so whoever waits gets in. Two things keep honest users in: an address
//! that a user has come in from is not held responsible for what others do in his name, and a good login takes back
//! one failure of its address, so that a webmail server with many users is not taken for an attacker.
//!
//! The tables are bounded: what was not touched for a while is forgotten, and under a flood of addresses the oldest first.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Attempt, Authenticator, ConnectionFacts, Exchange, Login, SaslError, Turn};

/// How many failures are borne, and how long the waiting may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffLimits {
    /// Failures of one address that are borne; 0 for any number. Addresses of version 6 count by their first 64 bits.
    pub per_host: u32,
    /// Failures in the name of one user that are borne; 0 for any number.
    pub per_user: u32,
    /// The longest time that attempts are refused.
    pub longest: Duration,
    /// How long a failure is remembered at least, when no other follows.
    pub memory: Duration,
}

impl Default for BackoffLimits {
    fn default() -> Self {
        Self {
            per_host: 50,
            per_user: 20,
            longest: Duration::from_secs(5 * 60),
            memory: Duration::from_secs(10 * 60),
        }
    }
}

/// Verifies through another authenticator, unless there were too many failures.
pub struct Backoff<A> {
    verifier: A,
    ledger: Arc<Mutex<Ledger>>,
}

impl<A> Backoff<A> {
    /// Puts these limits before `verifier`.
    pub fn new(verifier: A, limits: BackoffLimits) -> Self {
        Self {
            verifier,
            ledger: Arc::new(Mutex::new(Ledger::new(limits, Instant::now()))),
        }
    }
}

impl<A: Authenticator> Authenticator for Backoff<A> {
    fn mechanisms(&self, facts: &ConnectionFacts) -> Arc<[String]> {
        self.verifier.mechanisms(facts)
    }

    fn start(
        &self,
        facts: &ConnectionFacts,
        mechanism: &str,
        initial: Option<&[u8]>,
    ) -> Result<Turn, SaslError> {
        let mut attempt = Attempt::new(mechanism);
        if let Some(initial) = initial {
            attempt.hear(initial);
        }
        let watched = Watched {
            host: Host::of(facts),
            attempt,
            ledger: Arc::clone(&self.ledger),
        };
        watched.turn(|| self.verifier.start(facts, mechanism, initial))
    }

    fn check_password(
        &self,
        facts: &ConnectionFacts,
        user: &[u8],
        password: &[u8],
    ) -> Result<Login, SaslError> {
        let watched = Watched {
            host: Host::of(facts),
            attempt: Attempt::with_password(user),
            ledger: Arc::clone(&self.ledger),
        };
        watched.refuse()?;
        let checked = self.verifier.check_password(facts, user, password);
        watched.note(checked.as_ref());
        checked
    }
}

/// An exchange whose end is noted.
struct Watched {
    host: Option<Host>,
    attempt: Attempt,
    ledger: Arc<Mutex<Ledger>>,
}

struct WatchedExchange {
    watched: Watched,
    exchange: Box<dyn Exchange>,
}

impl Exchange for WatchedExchange {
    fn step(self: Box<Self>, response: &[u8]) -> Result<Turn, SaslError> {
        let Self {
            mut watched,
            exchange,
        } = *self;
        watched.attempt.hear(response);
        watched.turn(|| exchange.step(response))
    }
}

impl Watched {
    fn turn(self, go: impl FnOnce() -> Result<Turn, SaslError>) -> Result<Turn, SaslError> {
        self.refuse()?;
        match go() {
            Ok(Turn::Challenge { data, exchange }) => Ok(Turn::Challenge {
                data,
                exchange: Box::new(WatchedExchange {
                    watched: self,
                    exchange,
                }),
            }),
            Ok(Turn::Done(login)) => {
                self.note(Ok(&login));
                Ok(Turn::Done(login))
            }
            Err(error) => {
                self.note(Err(&error));
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self) -> Result<(), SaslError> {
        let wait = self.lock().wait(self.host, self.attempt.user(), Instant::now());
        match wait {
            None => Ok(()),
            Some((whose, left)) => Err(SaslError::TooMany(format!(
                "too many failures {}; not verified for {} s",
                match whose {
                    Whose::Host => "of this address",
                    Whose::User => "in the name of this user",
                },
                left.as_secs().saturating_add(1)
            ))),
        }
    }

    fn note(&self, end: Result<&Login, &SaslError>) {
        let now = Instant::now();
        match end {
            Ok(login) => self.lock().succeeded(self.host, &login.authenticated_as, now),
            Err(SaslError::BadCredentials(_)) => {
                self.lock().failed(self.host, self.attempt.user(), now);
            }
            // Nobody's guess was wrong: whoever may not do something has proved who he is.
            Err(_) => {}
        }
    }
}

/// Where a client comes from: an address, or what stands for all of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Host(IpAddr);

impl Host {
    fn of(facts: &ConnectionFacts) -> Option<Self> {
        Some(Self(match facts.remote?.ip().to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(network))
            }
            address @ IpAddr::V4(_) => address,
        }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Host,
    User,
}

/// Who failed, how often and when.
#[derive(Debug)]
struct Ledger {
    limits: BackoffLimits,
    hosts: Table<Host, Failures>,
    users: Table<String, Failures>,
    /// Users and where they have come in from.
    known: Table<(String, Host), ()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    last: Option<Instant>,
}

impl Ledger {
    fn new(limits: BackoffLimits, now: Instant) -> Self {
        Self {
            hosts: Table::new(limits.memory, now),
            users: Table::new(limits.memory, now),
            known: Table::new(ACQUAINTANCE, now),
            limits,
        }
    }

    /// How long attempts from `host` in the name of `user` are still refused.
    fn wait(&mut self, host: Option<Host>, user: &str, now: Instant) -> Option<(Whose, Duration)> {
        let BackoffLimits {
            per_host,
            per_user,
            longest,
            ..
        } = self.limits;
        let left = |failures: Option<&mut Failures>, most: u32| {
            let failures = failures?;
            let over = failures.count.checked_sub(most.max(1))?;
            let wait = Duration::from_secs(1 << over.min(20)).min(longest);
            let end = failures.last?.checked_add(wait)?;
            (most > 0).then(|| end.checked_duration_since(now)).flatten()
        };
        let of_host = host.and_then(|host| left(self.hosts.find(&host, now), per_host));
        if let Some(wait) = of_host {
            return Some((Whose::Host, wait));
        }
        if user.is_empty() {
            return None;
        }
        let key = user.to_lowercase();
        let wait = left(self.users.find(&key, now), per_user)?;
        let is_known = host.is_some_and(|host| self.known.find(&(key, host), now).is_some());
        (!is_known).then_some((Whose::User, wait))
    }

    fn failed(&mut self, host: Option<Host>, user: &str, now: Instant) {
        let note = |failures: &mut Failures| {
            failures.count = failures.count.saturating_add(1);
            failures.last = Some(now);
        };
        if let Some(host) = host {
            note(self.hosts.entry(host, now));
        }
        if !user.is_empty() {
            note(self.users.entry(user.to_lowercase(), now));
        }
    }

    fn succeeded(&mut self, host: Option<Host>, user: &str, now: Instant) {
        let Some(host) = host else { return };
        if let Some(failures) = self.hosts.find(&host, now) {
            failures.count = failures.count.saturating_sub(1);
        }
        self.known.entry((user.to_lowercase(), host), now);
    }
}

/// A map of what was touched lately: two generations, of which the older is dropped when the younger is full or old.
#[derive(Debug)]
struct Table<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    since: Instant,
    lifetime: Duration,
}

impl<K: Hash + Eq, V: Default> Table<K, V> {
    fn new(lifetime: Duration, now: Instant) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            since: now,
            lifetime,
        }
    }

    fn age(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if self.young.len() < MOST && age < self.lifetime {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        if age >= self.lifetime.saturating_mul(2) {
            self.old = HashMap::new();
        }
        self.since = now;
    }

    fn find(&mut self, key: &K, now: Instant) -> Option<&mut V> {
        self.age(now);
        match self.young.contains_key(key) {
            true => self.young.get_mut(key),
            false => self.old.get_mut(key),
        }
    }

    fn entry(&mut self, key: K, now: Instant) -> &mut V {
        self.age(now);
        let old = self.old.remove(&key);
        self.young.entry(key).or_insert_with(|| old.unwrap_or_default())
    }
}

/// Entries of one generation of a table.
const MOST: usize = 20_000;

/// How long a user's address is known after he came in from there.
const ACQUAINTANCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::PasswordCheck;

    const LIMITS: BackoffLimits = BackoffLimits {
        per_host: 3,
        per_user: 2,
        longest: Duration::from_secs(60),
        memory: Duration::from_secs(600),
    };

    fn host(last: u8) -> Option<Host> {
        Some(Host(IpAddr::from([192, 0, 2, last])))
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn the_wait_doubles_with_each_failure_past_the_limit_and_ends_by_itself() {
        let start = Instant::now();
        let mut ledger = Ledger::new(LIMITS, start);
        let mut waits = Vec::new();
        for _ in 0..10 {
            ledger.failed(host(1), "", start);
            let wait = ledger.wait(host(1), "", start);
            waits.push(wait.map_or(0, |(_, wait)| wait.as_secs()));
        }
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(ledger.wait(host(2), "", start), None);
        assert!(ledger.wait(host(1), "", after(start, 59)).is_some());
        assert_eq!(ledger.wait(host(1), "", after(start, 61)), None);
    }

    #[test]
    fn a_user_under_attack_still_gets_in_from_where_he_came_before() {
        let start = Instant::now();
        let mut ledger = Ledger::new(LIMITS, start);
        ledger.succeeded(host(9), "fred", start);
        for attacker in 1..=5 {
            ledger.failed(host(attacker), "Fred", start);
        }
        let (whose, _) = ledger.wait(host(6), "fred", start).unwrap();
        assert_eq!(whose, Whose::User);
        assert_eq!(ledger.wait(host(9), "fred", start), None);
        assert_eq!(ledger.wait(host(6), "bovik", start), None);
    }

    #[test]
    fn good_logins_take_back_failures_of_their_address() {
        let start = Instant::now();
        let mut ledger = Ledger::new(LIMITS, start);
        for number in 0..20 {
            ledger.failed(host(1), &format!("user{number}"), start);
            ledger.succeeded(host(1), "somebody", start);
        }
        assert_eq!(ledger.wait(host(1), "", start), None);
    }

    #[test]
    fn tables_stay_bounded_under_a_flood_and_forget_with_time() {
        let start = Instant::now();
        let mut ledger = Ledger::new(LIMITS, start);
        for number in 0..100_000_u32 {
            ledger.failed(
                Some(Host(IpAddr::from(number.to_be_bytes()))),
                &number.to_string(),
                start,
            );
        }
        for (young, old) in [
            (ledger.hosts.young.len(), ledger.hosts.old.len()),
            (ledger.users.young.len(), ledger.users.old.len()),
        ] {
            assert!(young <= MOST && old <= MOST, "{young} {old}");
        }
        for _ in 0..30 {
            ledger.failed(host(1), "fred", start);
        }
        assert!(ledger.wait(host(1), "fred", after(start, 30)).is_some());
        assert_eq!(ledger.wait(host(1), "fred", after(start, 3600)), None);
        ledger.failed(host(1), "fred", after(start, 3600));
        assert_eq!(ledger.wait(host(1), "fred", after(start, 3600)), None);
    }

    #[test]
    fn an_address_of_version_6_counts_by_its_network() {
        let facts = |address: &str| ConnectionFacts {
            remote: Some(address.parse().unwrap()),
            ..ConnectionFacts::default()
        };
        assert_eq!(
            Host::of(&facts("[2001:db8:1:2::a]:1")),
            Host::of(&facts("[2001:db8:1:2:ffff::b]:2"))
        );
        assert_ne!(
            Host::of(&facts("[2001:db8:1:2::a]:1")),
            Host::of(&facts("[2001:db8:1:3::a]:1"))
        );
        assert_eq!(
            Host::of(&facts("[::ffff:192.0.2.1]:1")),
            Host::of(&facts("192.0.2.1:9"))
        );
    }

    #[test]
    fn who_failed_too_often_is_refused_even_with_the_right_password_until_the_wait_is_over() {
        let check = PasswordCheck::new(|user, password| user == "fred" && password == b"secret");
        let limits = BackoffLimits {
            longest: Duration::ZERO,
            ..LIMITS
        };
        let facts = |last: u8| ConnectionFacts {
            remote: Some((IpAddr::from([192, 0, 2, last]), 4).into()),
            allow_plaintext: true,
            ..ConnectionFacts::default()
        };
        let strict = Backoff::new(check.clone(), LIMITS);
        for last in 1..=2 {
            let failed = strict.start(&facts(last), "PLAIN", Some(b"\0fred\0wrong"));
            assert!(matches!(failed, Err(SaslError::BadCredentials(_))));
        }
        let refused = strict.start(&facts(3), "PLAIN", Some(b"\0fred\0secret"));
        assert!(matches!(refused, Err(SaslError::TooMany(_))), "{refused:?}");
        let refused = strict.check_password(&facts(3), b"FRED", b"secret");
        assert!(
            matches!(&refused, Err(error) if error.is_temporary()),
            "{refused:?}"
        );
        // Whoever sends the name in the second turn is no better off.
        let Ok(Turn::Challenge { exchange, .. }) = strict.start(&facts(3), "LOGIN", None) else {
            panic!("no challenge");
        };
        assert!(matches!(exchange.step(b"fred"), Err(SaslError::TooMany(_))));
        let lenient = Backoff::new(check, limits);
        for _ in 0..9 {
            let _ = lenient.check_password(&facts(1), b"fred", b"wrong");
        }
        assert!(lenient.check_password(&facts(1), b"fred", b"secret").is_ok());
    }
}
