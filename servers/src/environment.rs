//! What sessions ask of the system: the local time, and the names of their peers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cyrus_proto::lmtp::{Environment, SystemEnvironment};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::syslog::{Level, log};

/// The clock in the local zone, identifiers in Cyrus's form, and host names.
pub struct ServerEnvironment {
    identifiers: SystemEnvironment,
    zone: TimeZone,
    names: Arc<HostNames>,
}

impl ServerEnvironment {
    /// For a server of this name.
    pub fn new(server_name: &str, names: Arc<HostNames>) -> Self {
        Self {
            identifiers: SystemEnvironment::new(server_name),
            zone: TimeZone::system(),
            names,
        }
    }
}

impl Environment for ServerEnvironment {
    fn date(&self) -> String {
        rfc5322(Timestamp::now(), &self.zone)
    }

    fn session_id(&self) -> String {
        self.identifiers.session_id()
    }

    fn message_id(&self) -> String {
        self.identifiers.message_id()
    }

    fn host_name(&self, address: IpAddr) -> Option<String> {
        self.names.of(address)
    }

    fn note(&self, line: &str) {
        log(Level::Notice, line);
    }
}

/// `Tue, 24 Nov 2026 20:15:40 +0100`
fn rfc5322(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned_datetime(zone.clone())
        .strftime("%a, %d %b %Y %H:%M:%S %z")
        .to_string()
}

/// The names of addresses, kept for a while.
///
/// Asking blocks, for seconds when a name server does not answer: ask on a worker.
pub struct HostNames {
    ask: fn(IpAddr) -> Option<String>,
    known: Mutex<HashMap<IpAddr, Known>>,
    slow_until: Mutex<Option<Instant>>,
}

struct Known {
    name: Option<String>,
    until: Instant,
}

impl Default for HostNames {
    fn default() -> Self {
        Self::asking(resolve)
    }
}

impl HostNames {
    /// How many addresses are remembered.
    const MOST: usize = 4096;
    /// How long a name is believed.
    const NAMED: Duration = Duration::from_secs(10 * 60);
    /// How long an address is believed to have none.
    const NAMELESS: Duration = Duration::from_secs(60);

    /// An answer that takes longer than this is slow.
    const SLOW: Duration = Duration::from_millis(200);

    /// Names from somewhere else than the system.
    pub(crate) fn asking(ask: fn(IpAddr) -> Option<String>) -> Self {
        Self {
            ask,
            known: Mutex::default(),
            slow_until: Mutex::default(),
        }
    }

    /// Like [`of`](Self::of), for those who have many to ask for: when names come slowly, only known ones for a while.
    pub fn of_soon(&self, address: IpAddr) -> Option<String> {
        let begin = Instant::now();
        let mut slow_until = self.slow_until.lock().unwrap_or_else(PoisonError::into_inner);
        if slow_until.is_some_and(|until| begin < until) {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            return known.get(&address)?.name.clone();
        }
        let name = self.of(address);
        if begin.elapsed() > Self::SLOW {
            *slow_until = Some(Instant::now() + Self::NAMELESS);
        }
        name
    }

    /// The name of `address`, if it has one. May block.
    pub fn of(&self, address: IpAddr) -> Option<String> {
        let now = Instant::now();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&address).filter(|found| found.until > now) {
            return found.name.clone();
        }
        drop(known);
        let name = (self.ask)(address);
        let believed = if name.is_some() {
            Self::NAMED
        } else {
            Self::NAMELESS
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::MOST {
            known.retain(|_, found| found.until > now);
        }
        // Still full: a flood of new addresses, which a cache cannot help.
        if known.len() >= Self::MOST {
            known.clear();
        }
        let until = now + believed;
        known.insert(
            address,
            Known {
                name: name.clone(),
                until,
            },
        );
        name
    }
}

/// Asks the system. What comes back may come from anybody's name server, so only what looks like a name is taken.
fn resolve(address: IpAddr) -> Option<String> {
    let name = dns_lookup::lookup_addr(&address).ok()?;
    is_name(&name).then_some(name)
}

fn is_name(text: &str) -> bool {
    let characters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    // Without a name, the system gives the address itself.
    !text.is_empty() && text.len() <= 255 && text.chars().all(characters) && text.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn dates_are_local_and_carry_their_offset() {
        let time = Timestamp::from_second(1_795_547_740).unwrap();
        let east = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(rfc5322(time, &east), "Tue, 24 Nov 2026 20:15:40 +0100");
        assert_eq!(rfc5322(time, &TimeZone::UTC), "Tue, 24 Nov 2026 19:15:40 +0000");
        let early = Timestamp::from_second(0).unwrap();
        let west = TimeZone::fixed(jiff::tz::offset(-11));
        assert_eq!(rfc5322(early, &west), "Wed, 31 Dec 1969 13:00:00 -1100");
    }

    static ASKED: AtomicUsize = AtomicUsize::new(0);

    fn counted(address: IpAddr) -> Option<String> {
        ASKED.fetch_add(1, Ordering::Relaxed);
        (address == IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))).then(|| "mail.example.com".to_owned())
    }

    #[test]
    fn names_are_asked_for_once_and_their_number_is_bounded() {
        let names = HostNames::asking(counted);
        let (named, nameless) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        for _ in 0..3 {
            assert_eq!(names.of(named.into()).as_deref(), Some("mail.example.com"));
            assert_eq!(names.of(nameless.into()), None);
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 2);
        for number in 0..10_000_u32 {
            names.of(Ipv4Addr::from(number).into());
        }
        assert!(names.known.lock().unwrap().len() <= HostNames::MOST);
    }

    #[test]
    fn what_a_name_server_says_cannot_break_a_header_field() {
        assert!(is_name("mail-1.example.com"));
        for text in ["", "a\r\nb", "a b", "192.0.2.1", "::1", "a(b)"] {
            assert!(!is_name(text), "{text}");
        }
        assert!(!is_name(&"a".repeat(256)));
    }
}
