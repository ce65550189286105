//! Telling Cyrus's `idled` of our commits, so that idle sessions of Cyrus's imapd hear of them at once.
//!
//! A message is one datagram: a C `long` that says what it is about, in the byte order of the machine, and the internal
//! name of a mailbox with a NUL behind it. Our own daemons need no idled; they watch the files.

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
        let sent = self.socket.send_to(&notice(name.as_str()), &self.path);
        // A full queue is as good as a lost hint: those who are idle look from time to time.
        if sent.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock) {
            let away = u64::try_from(AWAY.as_millis()).unwrap_or(u64::MAX);
            self.away_until
                .store(self.now().saturating_add(away), Ordering::Relaxed);
        }
    }
}

fn notice(mailbox: &str) -> Vec<u8> {
    let mut bytes = NOTIFY.to_ne_bytes().to_vec();
    bytes.extend_from_slice(mailbox.as_bytes());
    bytes.push(0);
    bytes
}

const NOTIFY: libc::c_long = 2;

/// How long nobody is told after nobody was there.
const AWAY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_what_real_daemons_send() {
        // As seen from lmtpd 3.6.1 on a little-endian machine of 64 bits.
        if cfg!(all(target_endian = "little", target_pointer_width = "64")) {
            assert_eq!(notice("user.user1"), b"\x02\0\0\0\0\0\0\0user.user1\0");
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
        assert_eq!(buffer.get(..count).unwrap(), notice("user.bovik"));
        // Its queue fills up, and nobody waits for it.
        for _ in 0..10_000 {
            idled.changed(&name);
        }
    }
}
