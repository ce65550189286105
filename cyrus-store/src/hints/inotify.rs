//! News of what other processes commit: the kernel says when somebody wrote to a watched `cyrus.index`.
//!
//! One inotify descriptor and one thread for a store, both made for the first watch. The thread sleeps in the kernel as
//! long as nothing happens. A commit writes an index several times, so what comes within [`GATHER`] is one piece of news.

use std::collections::{HashMap, HashSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::ident::MailboxId;

/// The index files that are watched. Dropping it ends its thread.
pub(super) struct IndexWatch {
    shared: Arc<Shared>,
    /// The thread ends when this end of its pipe is closed.
    _stop: OwnedFd,
}

struct Shared {
    inotify: OwnedFd,
    followed: Mutex<Followed>,
}

#[derive(Default)]
struct Followed {
    by_number: HashMap<i32, MailboxId>,
    by_id: HashMap<MailboxId, (i32, PathBuf)>,
}

impl IndexWatch {
    /// Mailboxes that are watched at a time; the kernel's limit for a user is mostly lower.
    const MOST: usize = 65_536;

    /// Starts the thread, which calls `changed` for each mailbox whose index somebody wrote to.
    pub(super) fn start(changed: impl Fn(&MailboxId) + Send + 'static) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        let shared = Arc::new(Shared {
            inotify,
            followed: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        thread::Builder::new()
            .name("index-watch".to_owned())
            .spawn(move || own.listen(&stopped, &changed))?;
        Ok(Self { shared, _stop: stop })
    }

    /// Watches the index of a mailbox, if it is not yet.
    pub(super) fn follow(&self, id: &MailboxId, index: &Path) -> io::Result<()> {
        let mut followed = self.shared.followed();
        match followed.by_id.get(id) {
            Some((_, path)) if path == index => return Ok(()),
            None if followed.by_id.len() >= Self::MOST => return Err(Errno::NOSPC.into()),
            _ => {}
        }
        let number = self.shared.add(index)?;
        self.shared.enter(&mut followed, id, number, index.to_owned());
        Ok(())
    }

    /// Watches a mailbox no more.
    pub(super) fn forget(&self, id: &MailboxId) {
        let mut followed = self.shared.followed();
        if let Some((number, _)) = followed.by_id.remove(id) {
            followed.by_number.remove(&number);
            let _ = inotify::remove_watch(&self.shared.inotify, number);
        }
    }
}

impl Shared {
    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, index: &Path) -> io::Result<i32> {
        // ATTRIB: the last name of the file went, because another one was renamed over it.
        let events =
            WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        Ok(inotify::add_watch(&self.inotify, index, events)?)
    }

    /// Notes that the index of `id` is watched under `number`, and lets go of what was watched before.
    fn enter(&self, followed: &mut Followed, id: &MailboxId, number: i32, index: PathBuf) {
        followed.by_number.insert(number, id.clone());
        if let Some((before, _)) = followed.by_id.insert(id.clone(), (number, index))
            && before != number
        {
            followed.by_number.remove(&before);
            let _ = inotify::remove_watch(&self.inotify, before);
        }
    }

    /// The file that was watched for `id` is perhaps no more the index of the mailbox: watches the one that is.
    fn renew(&self, followed: &mut Followed, id: &MailboxId) {
        let Some((number, index)) = followed.by_id.get(id).cloned() else {
            return;
        };
        match self.add(&index) {
            Ok(new) => self.enter(followed, id, new, index),
            // The mailbox is gone, or its place is: whoever watches will look, and see.
            Err(_) => {
                followed.by_id.remove(id);
                followed.by_number.remove(&number);
                let _ = inotify::remove_watch(&self.inotify, number);
            }
        }
    }

    fn listen(&self, stopped: &OwnedFd, changed: &dyn Fn(&MailboxId)) {
        loop {
            let mut waited = [
                PollFd::new(&self.inotify, PollFlags::IN),
                PollFd::new(stopped, PollFlags::empty()),
            ];
            match poll(&mut waited, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            if waited.iter().skip(1).any(|fd| !fd.revents().is_empty()) {
                return;
            }
            thread::sleep(GATHER);
            for id in self.gathered() {
                changed(&id);
            }
        }
    }

    /// The mailboxes of which there is news.
    fn gathered(&self) -> HashSet<MailboxId> {
        let mut ids = HashSet::new();
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut followed = self.followed();
        for _ in 0..AT_ONCE {
            let Ok(event) = reader.next() else { break };
            let (number, events) = (event.wd(), event.events());
            if events.contains(ReadFlags::QUEUE_OVERFLOW) {
                let all: Vec<MailboxId> = followed.by_id.keys().cloned().collect();
                for id in all {
                    self.renew(&mut followed, &id);
                    ids.insert(id);
                }
                continue;
            }
            let Some(id) = followed.by_number.get(&number).cloned() else {
                continue;
            };
            if events != ReadFlags::MODIFY {
                self.renew(&mut followed, &id);
            }
            ids.insert(id);
        }
        ids
    }
}

/// How long the writes of one commit are gathered: two fsyncs of a quick disk, and unnoticeable to people.
const GATHER: Duration = Duration::from_millis(5);

/// Octets read at a time.
const BUFFER: usize = 4096;

/// Events that are taken at a time, before anybody is told.
const AT_ONCE: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::sync::mpsc::{Receiver, channel};

    fn watched() -> (tempfile::TempDir, PathBuf, IndexWatch, Receiver<MailboxId>) {
        let dir = tempfile::tempdir().unwrap();
        let index = dir.path().join("cyrus.index");
        fs::write(&index, "old").unwrap();
        let (told, news) = channel();
        let watch = IndexWatch::start(move |id| {
            let _ = told.send(id.clone());
        })
        .unwrap();
        watch.follow(&id(), &index).unwrap();
        (dir, index, watch, news)
    }

    fn id() -> MailboxId {
        MailboxId::new("0123456789abcdef01234567").unwrap()
    }

    fn append(path: &Path) {
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"more").unwrap();
    }

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn a_write_is_news_and_so_is_one_to_the_file_that_replaces_it() {
        let (dir, index, _watch, news) = watched();
        append(&index);
        assert_eq!(news.recv_timeout(LONG).unwrap(), id());
        // Like the mapped index of this process, which keeps the old file alive.
        let _open = fs::File::open(&index).unwrap();
        let new = dir.path().join("cyrus.index.NEW");
        fs::write(&new, "new").unwrap();
        fs::rename(&new, &index).unwrap();
        assert_eq!(news.recv_timeout(LONG).unwrap(), id());
        while news.recv_timeout(Duration::from_millis(50)).is_ok() {}
        append(&index);
        assert_eq!(news.recv_timeout(LONG).unwrap(), id());
    }

    #[test]
    fn the_end_of_a_mailbox_is_news_and_ends_its_watch() {
        let (_dir, index, watch, news) = watched();
        fs::remove_file(&index).unwrap();
        assert_eq!(news.recv_timeout(LONG).unwrap(), id());
        let watching = || {
            let followed = watch.shared.followed();
            (followed.by_id.len(), followed.by_number.len())
        };
        while watching() != (0, 0) {
            thread::yield_now();
        }
        assert!(watch.follow(&id(), &index).is_err());
    }

    #[test]
    fn a_forgotten_mailbox_is_no_news_and_the_thread_goes_with_the_watch() {
        let (_dir, index, watch, news) = watched();
        watch.forget(&id());
        append(&index);
        assert!(news.recv_timeout(Duration::from_millis(50)).is_err());
        drop(watch);
        // The thread owns the sender.
        assert!(matches!(
            news.recv_timeout(LONG),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
        ));
    }
}
