//! Certificates that change: read again when their files do and at SIGHUP, for the connections to come. Those that are up
//! notice nothing.
//!
//! The keys of session tickets are renewed with them, and whenever they are as old as `tls_session_timeout`, so that no
//! session can be resumed after that time.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cyrus_proto::net::TlsServer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::syslog::{Level, log};

/// What is renewed, and how it was when it was last.
pub struct Renewal {
    servers: Vec<TlsServer>,
    files: Vec<PathBuf>,
    last: Mutex<(Instant, Vec<Option<Stamp>>)>,
    /// How old the keys of tickets may get.
    lifetime: Duration,
}

/// Enough of a file to see that it is another one.
type Stamp = (u64, u64, i64, i64);

impl Renewal {
    /// Of these, whose session tickets are good for `lifetime`.
    pub fn new(servers: Vec<TlsServer>, lifetime: Duration) -> Arc<Self> {
        let files: BTreeSet<PathBuf> = servers.iter().flat_map(TlsServer::files).collect();
        let files: Vec<PathBuf> = files.into_iter().collect();
        let stamps = stamps(&files);
        Arc::new(Self {
            servers,
            files,
            last: Mutex::new((Instant::now(), stamps)),
            lifetime: lifetime.max(SHORTEST),
        })
    }

    /// Reads everything again. What cannot be read stays as it was, which is logged.
    pub fn renew(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (Instant::now(), stamps(&self.files));
        for server in &self.servers {
            if let Err(error) = server.renew() {
                log(
                    Level::Error,
                    &format!("{error}; the certificate that was read before stays in use"),
                );
                return;
            }
        }
        if !self.servers.is_empty() {
            log(Level::Notice, "TLS: certificates and keys were read again");
        }
    }

    /// Renews whenever a file changes or the keys of tickets are old, on a thread of its own.
    ///
    /// # Errors
    /// There can be no such thread.
    pub fn watch(self: &Arc<Self>) -> io::Result<()> {
        if self.servers.is_empty() {
            return Ok(());
        }
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let folders: BTreeSet<_> = self.files.iter().filter_map(|file| file.parent()).collect();
        for folder in folders {
            let what = WatchFlags::CLOSE_WRITE
                | WatchFlags::MOVED_TO
                | WatchFlags::CREATE
                | WatchFlags::ATTRIB
                | WatchFlags::ONLYDIR;
            // A folder that cannot be watched is looked at when something else happens.
            let _ = inotify::add_watch(&watch, folder, what);
        }
        let renewal = Arc::clone(self);
        thread::Builder::new()
            .name("certificates".to_owned())
            .spawn(move || renewal.keep(&watch))?;
        Ok(())
    }

    fn keep(&self, watch: &OwnedFd) {
        let mut buffer = [0; 4096];
        loop {
            let (since, known) = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let left = self.lifetime.saturating_sub(since.elapsed());
            let timeout = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: 0,
            };
            let mut fds = [PollFd::new(watch, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) if since.elapsed() >= self.lifetime => self.renew(),
                // The rest of a second.
                Ok(0) => thread::sleep(Duration::from_millis(100)),
                Ok(_) => {
                    // Whoever writes a certificate writes its key as well.
                    thread::sleep(SETTLE);
                    while rustix::io::read(watch, &mut buffer).is_ok_and(|size| size > 0) {}
                    if stamps(&self.files) != known {
                        self.renew();
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    log(
                        Level::Warning,
                        &format!("certificates are not watched any more: {error}"),
                    );
                    return;
                }
            }
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |file: &PathBuf| {
        let found = fs::metadata(file).ok()?;
        Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    files.iter().map(stamp).collect()
}

/// How long files are given to be all there.
const SETTLE: Duration = Duration::from_millis(300);

/// Keys are renewed no more often than this.
const SHORTEST: Duration = Duration::from_secs(60);
