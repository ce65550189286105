//! What the administrator tells everybody: `msg/motd` at the login, and `msg/shutdown`, which sends users away.

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cyrus_proto::net::Handle;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// The messages of one service.
#[derive(Debug)]
pub struct Bulletin {
    directory: PathBuf,
    /// `shutdown.<service>`, which is for this service alone, and `shutdown`.
    shutdown: [PathBuf; 2],
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    shutdown: Option<Arc<str>>,
}

impl Bulletin {
    /// For a service; the messages lie in `msg` of the configuration directory.
    pub fn new(configdirectory: &Path, service: &str) -> Self {
        let directory = configdirectory.join("msg");
        Self {
            shutdown: [
                directory.join(format!("shutdown.{service}")),
                directory.join("shutdown"),
            ],
            directory,
            seen: Mutex::new(None),
        }
    }

    /// The message of the day.
    pub fn motd(&self) -> Option<String> {
        first_line(&self.directory.join("motd")).filter(|line| !line.is_empty())
    }

    /// Why users must leave. Looks at the files once a second at most.
    pub fn shutdown(&self) -> Option<Arc<str>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(seen) = seen.as_ref()
            && now.saturating_duration_since(seen.at) < FRESH
        {
            return seen.shutdown.clone();
        }
        let shutdown = self.shutdown.iter().find_map(|path| first_line(path));
        let shutdown = shutdown.map(|line| match line.is_empty() {
            true => Arc::from("Server is shutting down"),
            false => Arc::from(line),
        });
        *seen = Some(Seen {
            at: now,
            shutdown: shutdown.clone(),
        });
        shutdown
    }
}

/// Has every session look around when a message of a site is put up or the list of denied users changes, so that those who
/// idle hear of it at once.
///
/// Without a directory `msg` there is nothing to watch there; sessions then look at their next command.
///
/// # Errors
/// There can be no such watch.
pub fn watch(configdirectory: &Path, denied: PathBuf, handle: Handle) -> io::Result<()> {
    let directory = configdirectory.join("msg");
    let watch = inotify::init(CreateFlags::CLOEXEC)?;
    let changes = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE;
    let messages = match directory.is_dir() {
        true => Some(inotify::add_watch(&watch, &directory, changes)?),
        false => None,
    };
    if let Some(directory) = denied.parent() {
        inotify::add_watch(&watch, directory, WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE)?;
    }
    thread::Builder::new()
        .name("bulletin".to_owned())
        .spawn(move || {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(&watch, &mut buffer);
            while let Ok(event) = events.next() {
                let is_list = event.file_name().is_some_and(|name| {
                    denied
                        .file_name()
                        .is_some_and(|list| list.as_bytes() == name.to_bytes())
                });
                // Other databases lie beside the list.
                if Some(event.wd()) != messages && !is_list {
                    continue;
                }
                // What was read a moment ago is believed until it is no longer fresh.
                thread::sleep(FRESH + Duration::from_millis(50));
                handle.look_around();
            }
        })?;
    Ok(())
}

/// The first line of a file as a client may be shown it; `None` if there is no such file.
fn first_line(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(LONGEST_LINE)
        .read_to_end(&mut bytes)
        .ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().unwrap_or_default();
    // What would look like a response code is none.
    let line = line.strip_prefix('[').unwrap_or(line);
    let clean = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    Some(line.trim_end().chars().map(clean).collect())
}

/// How long what was read is believed.
const FRESH: Duration = Duration::from_secs(1);

const LONGEST_LINE: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_shown_without_what_clients_could_mistake() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("msg")).unwrap();
        let bulletin = Bulletin::new(dir.path(), "imap");
        assert_eq!((bulletin.motd(), bulletin.shutdown()), (None, None));
        for (text, line) in [
            ("Welcome all\nsecond line\n", Some("Welcome all")),
            ("no newline", Some("no newline")),
            ("[TRYCREATE] x\u{7}\r\n", Some("TRYCREATE] x?")),
            ("", None),
            ("\n", None),
        ] {
            std::fs::write(dir.path().join("msg/motd"), text).unwrap();
            assert_eq!(bulletin.motd().as_deref(), line, "{text:?}");
        }
    }

    #[test]
    fn a_shutdown_is_for_all_services_or_for_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("msg")).unwrap();
        let said = |service| Bulletin::new(dir.path(), service).shutdown();
        std::fs::write(dir.path().join("msg/shutdown.imap"), "imap only\n").unwrap();
        assert_eq!(said("imap").as_deref(), Some("imap only"));
        assert_eq!(said("imaps"), None);
        std::fs::write(dir.path().join("msg/shutdown"), "").unwrap();
        assert_eq!(said("imaps").as_deref(), Some("Server is shutting down"));
    }
}
