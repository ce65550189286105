//! `idled`: who idles on which mailbox, and telling them that it has changed.
//!
//! A message is one datagram: a C `long` that says what it is about, in the byte order of the machine, and the internal
//! name of a mailbox with a NUL behind it. Sessions of Cyrus's imapd say to [`daemon`] on what they idle; whoever changes
//! a mailbox says so ([`Idled`]), and it goes to those who idle on it. Our own sessions need no idled; they watch the files.

pub mod daemon;

use std::ffi::c_long;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cyrus_store::{Announcer, MailboxName};

/// The way to idled, if it runs.
pub struct Idled {
    socket: UnixDatagram,
    path: PathBuf,
    begin: Instant,
    /// Milliseconds after `begin` until which nobody is there to be told.
    away_until: AtomicU64,
}

impl Idled {
    /// For the socket of idled at `path` (`idlesocket`), which need not exist.
    ///
    /// # Errors
    /// No socket can be made.
    pub fn at(path: PathBuf) -> std::io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            path,
            begin: Instant::now(),
            away_until: AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Announcer for Idled {
    fn changed(&self, name: &MailboxName) {
        if self.now() < self.away_until.load(Ordering::Relaxed) {
            return;
        }
        let sent = self
            .socket
            .send_to(&encode(Subject::Notify, name.as_str()), &self.path);
        // A full queue is as good as a lost hint: those who are idle look from time to time.
        if sent.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock) {
            let away = u64::try_from(AWAY.as_millis()).unwrap_or(u64::MAX);
            self.away_until
                .store(self.now().saturating_add(away), Ordering::Relaxed);
        }
    }
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// The sender idles on the mailbox from now on.
    Init,
    /// The sender does so no more.
    Done,
    /// The mailbox has changed.
    Notify,
    /// Everybody who idles should look whether the server goes down.
    Alert,
}

impl Subject {
    const fn number(self) -> c_long {
        match self {
            Self::Init => 0,
            Self::Done => 1,
            Self::Notify => 2,
            Self::Alert => 4,
        }
    }
}

fn encode(subject: Subject, mailbox: &str) -> Vec<u8> {
    let mut bytes = subject.number().to_ne_bytes().to_vec();
    bytes.extend_from_slice(mailbox.as_bytes());
    bytes.push(0);
    bytes
}

/// Takes a message apart; `None` for one that means nothing here.
fn decode(message: &[u8]) -> Option<(Subject, &str)> {
    let (number, rest) = message.split_first_chunk()?;
    let number = c_long::from_ne_bytes(*number);
    let subject = [Subject::Init, Subject::Done, Subject::Notify, Subject::Alert]
        .into_iter()
        .find(|subject| subject.number() == number)?;
    let mailbox = rest.split(|byte| *byte == 0).next()?;
    Some((subject, std::str::from_utf8(mailbox).ok()?))
}

/// How long nobody is told after nobody was there.
const AWAY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_what_real_daemons_send() {
        // As seen from lmtpd 3.6.1 on a little-endian machine of 64 bits.
        if cfg!(all(target_endian = "little", target_pointer_width = "64")) {
            let notice = b"\x02\0\0\0\0\0\0\0user.user1\0";
            assert_eq!(encode(Subject::Notify, "user.user1"), notice);
            assert_eq!(decode(notice), Some((Subject::Notify, "user.user1")));
            assert_eq!(decode(b"\0\0\0\0\0\0\0\0user.a"), Some((Subject::Init, "user.a")));
            assert_eq!(decode(b"\x04\0\0\0\0\0\0\0.\0"), Some((Subject::Alert, ".")));
            assert_eq!(decode(b"\x09\0\0\0\0\0\0\0user.a\0"), None);
            assert_eq!(decode(b"\x02\0\0"), None);
        }
    }

    #[test]
    fn whoever_listens_is_told_and_nobody_is_no_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("idle");
        let name = MailboxName::parse("user.bovik").unwrap();
        Idled::at(path.clone()).unwrap().changed(&name);
        let listener = UnixDatagram::bind(&path).unwrap();
        let idled = Idled::at(path).unwrap();
        idled.changed(&name);
        let mut buffer = [0; 100];
        let count = listener.recv(&mut buffer).unwrap();
        assert_eq!(
            buffer.get(..count).unwrap(),
            encode(Subject::Notify, "user.bovik")
        );
        // Its queue fills up, and nobody waits for it.
        for _ in 0..10_000 {
            idled.changed(&name);
        }
    }
}
