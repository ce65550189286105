//! The telemetry log: what one user's sessions say, for an administrator who made `log/<user>/` for them.
//!
//! Begins after the login, so that no password is in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{Config, Opt};
use crate::sys;

/// The log of one session.
#[derive(Debug)]
pub struct Telemetry {
    file: File,
    last: Option<Direction>,
}

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
    /// `session` names the file when `telemetry_bysessionid` is on, or else `number`, the session's number in the proc
    /// directory, does.
    pub fn begin(config: &Config, user: &str, number: u32, session: &str) -> io::Result<Option<Self>> {
        let Some(directory) = directory_of(&config.configdirectory(), user) else {
            return Ok(None);
        };
        if !directory.is_dir() {
            return Ok(None);
        }
        let name = match config.switch(Opt::TelemetryBysessionid) {
            true => session.replace('/', "."),
            false => format!("{}-{number}", config.service()),
        };
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(directory.join(name))?;
        let mut telemetry = Self { file, last: None };
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

    fn config(directory: &Path) -> Config {
        let path = directory.join("imapd.conf");
        std::fs::write(&path, format!("configdirectory: {}\n", directory.display())).unwrap();
        Config::load(&path, "imap").unwrap()
    }

    #[test]
    fn a_session_is_logged_only_where_the_user_has_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        assert!(Telemetry::begin(&config, "bovik", 7, "s").unwrap().is_none());
        std::fs::create_dir_all(dir.path().join("log/bovik")).unwrap();
        let mut log = Telemetry::begin(&config, "bovik", 7, "s").unwrap().unwrap();
        log.record(Direction::FromClient, b"a NOOP\r\n").unwrap();
        log.record(Direction::ToClient, b"* 1 EXISTS\r\n").unwrap();
        log.record(Direction::ToClient, b"a OK\r\n").unwrap();
        let text = std::fs::read_to_string(dir.path().join("log/bovik/imap-7")).unwrap();
        assert!(text.starts_with("---------- bovik "), "{text}");
        assert!(text.contains("<a NOOP\r\n>"), "{text}");
        assert!(text.ends_with(">* 1 EXISTS\r\na OK\r\n"), "{text}");
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_log_directory() {
        for user in ["", ".", "..", "../etc", "a/b"] {
            assert_eq!(directory_of(Path::new("/c"), user), None, "{user}");
        }
    }
}
