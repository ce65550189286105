//! The telemetry log: what one user's sessions say, for an administrator who made `log/<user>/` for them.
//!
//! Begins after the login, so that no password is in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{Config, Opt};
use crate::procdir::Numbers;
use crate::sys;

/// The log of one session.
#[derive(Debug)]
pub struct Telemetry {
    file: File,
    last: Option<Direction>,
    /// Held until the end.
    _number: Option<Number>,
}

/// The number of a session, which it gives back at its end.
#[derive(Debug)]
struct Number(u32);

impl Number {
    fn take() -> Option<Self> {
        NUMBERS.take().map(Self)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        NUMBERS.give(self.0);
    }
}

/// Sessions that are logged at a time have files of their own, and one that comes later goes on in the file of one that
/// has ended, as if it were of the same process of Cyrus's.
static NUMBERS: LazyLock<Numbers> = LazyLock::new(Numbers::default);

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client.
    FromClient,
    /// The server.
    ToClient,
}

impl Telemetry {
    /// Begins the log of a session of `user`, if the administrator made a directory for it.
    ///
    /// The file is called `<service>-<process>`; with `telemetry_bysessionid`, `<service>-<session>`.
    pub fn begin(config: &Config, service: &str, user: &str, session: &str) -> io::Result<Option<Self>> {
        let Some(directory) = directory_of(&config.configdirectory(), user) else {
            return Ok(None);
        };
        if !directory.is_dir() {
            return Ok(None);
        }
        let number = match config.switch(Opt::TelemetryBysessionid) {
            true => None,
            false => Number::take(),
        };
        let name = match &number {
            Some(number) => format!("{service}-{}", number.0),
            None => format!("{service}-{}", session.replace('/', ".")),
        };
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(directory.join(name))?;
        let mut telemetry = Self {
            file,
            last: None,
            _number: number,
        };
        let now = sys::ctime(SystemTime::now());
        write!(telemetry.file, "---------- {user} {now}\n\n")?;
        Ok(Some(telemetry))
    }

    /// Writes what went over the wire; a change of the speaker and the time stand in front.
    pub fn record(&mut self, direction: Direction, bytes: &[u8]) -> io::Result<()> {
        let mark = match direction {
            Direction::FromClient => '<',
            Direction::ToClient => '>',
        };
        if self.last != Some(direction) {
            let seconds = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs();
            write!(self.file, "{mark}{seconds}{mark}")?;
            self.last = Some(direction);
        }
        self.file.write_all(bytes)
    }
}

/// The directory of a user's logs; `None` for a name that would lead elsewhere.
fn directory_of(configdirectory: &Path, user: &str) -> Option<PathBuf> {
    let plain = !user.is_empty() && user != "." && user != ".." && !user.contains(['/', '\0']);
    plain.then(|| configdirectory.join("log").join(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(directory: &Path, more: &str) -> Config {
        let path = directory.join("imapd.conf");
        std::fs::write(&path, format!("configdirectory: {}\n{more}", directory.display())).unwrap();
        Config::load(&path, "imap").unwrap()
    }

    #[test]
    fn a_session_is_logged_only_where_the_user_has_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let site = config(dir.path(), "");
        assert!(Telemetry::begin(&site, "imap", "bovik", "s").unwrap().is_none());
        std::fs::create_dir_all(dir.path().join("log/bovik")).unwrap();
        let mut log = Telemetry::begin(&site, "imap", "bovik", "s").unwrap().unwrap();
        let other = Telemetry::begin(&site, "imaps", "bovik", "s").unwrap();
        log.record(Direction::FromClient, b"a NOOP\r\n").unwrap();
        log.record(Direction::ToClient, b"* 1 EXISTS\r\n").unwrap();
        log.record(Direction::ToClient, b"a OK\r\n").unwrap();
        drop((log, other));
        let number = |name: String| name.strip_prefix("imap-")?.parse::<u32>().ok();
        let named: Vec<u32> = std::fs::read_dir(dir.path().join("log/bovik"))
            .unwrap()
            .filter_map(|entry| number(entry.unwrap().file_name().into_string().unwrap()))
            .collect();
        assert_eq!(named.len(), 1);
        let file = dir.path().join(format!("log/bovik/imap-{}", named[0]));
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.starts_with("---------- bovik "), "{text}");
        assert!(text.contains("<a NOOP\r\n>"), "{text}");
        assert!(text.ends_with(">* 1 EXISTS\r\na OK\r\n"), "{text}");
        let by_id = config(dir.path(), "telemetry_bysessionid: yes\n");
        drop(Telemetry::begin(&by_id, "imap", "bovik", "host-1-2").unwrap());
        assert!(dir.path().join("log/bovik/imap-host-1-2").is_file());
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_log_directory() {
        for user in ["", ".", "..", "../etc", "a/b"] {
            assert_eq!(directory_of(Path::new("/c"), user), None, "{user}");
        }
    }
}
