//! What a site decides, and what a session asks of the system.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::eight_bit::EightBitHeaders;

/// How a site receives mail.
#[derive(Clone)]
pub struct LmtpOptions {
    /// The name of this server.
    pub server_name: String,
    /// The software's version, for greeting and trace fields; `None` keeps it to ourselves.
    pub version: Option<String>,
    /// Octets of the largest message taken, trace fields included; 0 for any.
    pub max_message_size: u64,
    /// What to do with octets above 127 in headers.
    pub eight_bit_headers: EightBitHeaders,
    /// The peer need not authenticate: unix sockets, and `lmtpd -a`.
    pub preauthorised: bool,
    /// `lmtp_strict_rfc2821`: 8-bit octets in the local part of an address are a mistake; otherwise they become `X`.
    pub strict_addresses: bool,
    /// Tell unauthenticated peers to try again (430) rather than to give up (530).
    pub soft_noauth: bool,
    /// STARTTLS is offered.
    pub starttls: bool,
    /// Passwords may be sent in clear.
    pub allow_plaintext: bool,
    /// How long a peer may be silent.
    pub timeout: Duration,
    /// How long a peer may take to authenticate, where it must, whatever it says meanwhile.
    pub login_timeout: Duration,
    /// Value of an `X-Sieve` field added to each message, where Sieve scripts are run.
    pub sieve: Option<String>,
    /// Clock, names and identifiers.
    pub environment: Arc<dyn Environment>,
}

impl LmtpOptions {
    /// The defaults, for a server of this name: authentication required, five minutes, any size.
    pub fn new(server_name: &str) -> Self {
        Self {
            server_name: server_name.to_owned(),
            version: None,
            max_message_size: 0,
            eight_bit_headers: EightBitHeaders::Munge,
            preauthorised: false,
            strict_addresses: true,
            soft_noauth: true,
            starttls: false,
            allow_plaintext: false,
            timeout: Duration::from_secs(300),
            login_timeout: Duration::from_secs(10 * 60),
            sieve: None,
            environment: Arc::new(SystemEnvironment::new(server_name)),
        }
    }
}

/// Clock, names and identifiers: what a session needs and does not look up itself.
pub trait Environment: Send + Sync {
    /// The time as RFC 5322 writes it: `Tue, 24 Nov 2026 18:36:21 +0000`.
    fn date(&self) -> String;

    /// A name for a transaction that no other transaction has.
    fn session_id(&self) -> String;

    /// An identifier for a message that has none, with its angle brackets.
    fn message_id(&self) -> String;

    /// The name of a peer's address, if it has one. May block; called in a job.
    fn host_name(&self, address: IpAddr) -> Option<String> {
        let _ = address;
        None
    }

    /// Takes a line for the log: who logged in or failed to.
    fn note(&self, line: &str) {
        let _ = line;
    }
}

/// The system's clock in UTC, and identifiers in the form that Cyrus gives them. Looks up no host names.
#[derive(Debug)]
pub struct SystemEnvironment {
    server_name: String,
    counter: AtomicU64,
    random: RandomState,
}

impl SystemEnvironment {
    /// Identifiers will carry this name.
    pub fn new(server_name: &str) -> Self {
        Self {
            server_name: server_name.to_owned(),
            counter: AtomicU64::new(0),
            random: RandomState::new(),
        }
    }

    fn next(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }
}

impl Environment for SystemEnvironment {
    fn date(&self) -> String {
        rfc5322_utc(seconds())
    }

    fn session_id(&self) -> String {
        let (time, pid, number) = (seconds(), std::process::id(), self.next());
        format!(
            "{}-{time}-{pid}-{number}-{}",
            self.server_name,
            self.random.hash_one((time, number))
        )
    }

    fn message_id(&self) -> String {
        format!(
            "<cmu-lmtpd-{}-{}-{}@{}>",
            std::process::id(),
            seconds(),
            self.next(),
            self.server_name
        )
    }
}

fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// `Tue, 24 Nov 2026 18:36:21 +0000`
fn rfc5322_utc(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years counted from 1 March of year 0, so that the leap day is the last: 400 years have 146,097 days.
    let from_march = days + 719_468;
    let (era, day_of_era) = (from_march / 146_097, from_march % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    let name = |names: &[&'static str], at: u64| names.get(at as usize).copied().unwrap_or_default();
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} +0000",
        name(&DAYS, days % 7),
        name(&MONTHS, month),
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_the_calendar() {
        assert_eq!(rfc5322_utc(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(rfc5322_utc(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert_eq!(rfc5322_utc(1_795_545_381), "Tue, 24 Nov 2026 18:36:21 +0000");
        assert_eq!(rfc5322_utc(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 +0000");
        assert_eq!(rfc5322_utc(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 +0000");
    }

    #[test]
    fn identifiers_differ() {
        let environment = SystemEnvironment::new("mail.example.com");
        assert_ne!(environment.session_id(), environment.session_id());
        assert!(environment.message_id().ends_with("@mail.example.com>"));
    }
}
