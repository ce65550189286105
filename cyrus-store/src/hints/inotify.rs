//! News of what other processes commit: the kernel says when somebody wrote to a watched file, mostly a `cyrus.index`.
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

use super::Subject;

/// The files that are watched. Dropping it ends its thread.
pub(super) struct FileWatch {
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
    /// What a watch of the kernel's is for; several, where files that are not there yet would be in one directory.
    by_number: HashMap<i32, Vec<Subject>>,
    by_subject: HashMap<Subject, (i32, PathBuf)>,
}

impl FileWatch {
    /// Files that are watched at a time; the kernel's limit for a user is mostly lower.
    const MOST: usize = 65_536;

    /// Starts the thread, which calls `changed` for each subject whose file somebody wrote to.
    pub(super) fn start(changed: impl Fn(&Subject) + Send + 'static) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        let shared = Arc::new(Shared {
            inotify,
            followed: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        thread::Builder::new()
            .name("file-watch".to_owned())
            .spawn(move || own.listen(&stopped, &changed))?;
        Ok(Self { shared, _stop: stop })
    }

    /// Watches the file of a subject, if it is not yet.
    pub(super) fn follow(&self, subject: &Subject, file: &Path) -> io::Result<()> {
        let mut followed = self.shared.followed();
        match followed.by_subject.get(subject) {
            Some((_, path)) if path == file => return Ok(()),
            None if followed.by_subject.len() >= Self::MOST => return Err(Errno::NOSPC.into()),
            _ => {}
        }
        let (number, _) = self.shared.add(subject, file)?;
        self.shared.enter(&mut followed, subject, number, file.to_owned());
        Ok(())
    }

    /// Watches a file no more.
    pub(super) fn forget(&self, subject: &Subject) {
        let mut followed = self.shared.followed();
        if let Some((number, _)) = followed.by_subject.remove(subject) {
            self.shared.leave(&mut followed, subject, number);
        }
    }
}

impl Shared {
    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches the file, or what is in it, if it is a directory; if it is not there, and can come, the directory in which
    /// the way to it ends. Says whether it is there.
    fn add(&self, subject: &Subject, file: &Path) -> io::Result<(i32, bool)> {
        // ATTRIB: the last name of the file went, because another one was renamed over it.
        let of_file =
            WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        let events = of_file | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        match inotify::add_watch(&self.inotify, file, events) {
            Err(Errno::NOENT) if !matches!(subject, Subject::Mailbox(_)) => {}
            result => return Ok((result?, true)),
        }
        let events = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        for directory in file.ancestors().skip(1) {
            match inotify::add_watch(&self.inotify, directory, events) {
                Err(Errno::NOENT) => {}
                result => return Ok((result?, false)),
            }
        }
        Err(Errno::NOENT.into())
    }

    /// Notes that the file of a subject is watched under `number`, and lets go of what was watched before.
    fn enter(&self, followed: &mut Followed, subject: &Subject, number: i32, file: PathBuf) {
        let before = followed.by_subject.insert(subject.clone(), (number, file));
        if let Some((before, _)) = before {
            if before == number {
                return;
            }
            self.leave(followed, subject, before);
        }
        followed
            .by_number
            .entry(number)
            .or_default()
            .push(subject.clone());
    }

    /// A subject is not watched under `number` any more.
    fn leave(&self, followed: &mut Followed, subject: &Subject, number: i32) {
        if let Some(subjects) = followed.by_number.get_mut(&number) {
            subjects.retain(|other| other != subject);
            if subjects.is_empty() {
                followed.by_number.remove(&number);
                let _ = inotify::remove_watch(&self.inotify, number);
            }
        }
    }

    /// The file that was watched for a subject is perhaps no more the one, or came just now: watches the one that is. Says
    /// whether there is news.
    fn renew(&self, followed: &mut Followed, subject: &Subject) -> bool {
        let Some((number, file)) = followed.by_subject.get(subject).cloned() else {
            return false;
        };
        match self.add(subject, &file) {
            Ok((new, is_there)) => {
                self.enter(followed, subject, new, file);
                // Otherwise something else came into the directory in which a file is expected.
                new != number || is_there
            }
            // The mailbox is gone, or its place is: whoever watches will look, and see.
            Err(_) => {
                followed.by_subject.remove(subject);
                self.leave(followed, subject, number);
                true
            }
        }
    }

    fn listen(&self, stopped: &OwnedFd, changed: &dyn Fn(&Subject)) {
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
            for subject in self.gathered() {
                changed(&subject);
            }
        }
    }

    /// The subjects of which there is news.
    fn gathered(&self) -> HashSet<Subject> {
        let mut news = HashSet::new();
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut followed = self.followed();
        for _ in 0..AT_ONCE {
            let Ok(event) = reader.next() else { break };
            let (number, events) = (event.wd(), event.events());
            if events.contains(ReadFlags::QUEUE_OVERFLOW) {
                let all: Vec<Subject> = followed.by_subject.keys().cloned().collect();
                for subject in all {
                    self.renew(&mut followed, &subject);
                    news.insert(subject);
                }
                continue;
            }
            let Some(subjects) = followed.by_number.get(&number) else {
                continue;
            };
            if events == ReadFlags::MODIFY {
                news.extend(subjects.iter().cloned());
                continue;
            }
            for subject in subjects.clone() {
                if self.renew(&mut followed, &subject) {
                    news.insert(subject);
                }
            }
        }
        news
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
    use crate::ident::MailboxId;
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::sync::mpsc::{Receiver, channel};

    fn watched() -> (tempfile::TempDir, PathBuf, FileWatch, Receiver<Subject>) {
        let dir = tempfile::tempdir().unwrap();
        let index = dir.path().join("cyrus.index");
        fs::write(&index, "old").unwrap();
        let (told, news) = channel();
        let watch = FileWatch::start(move |subject| {
            let _ = told.send(subject.clone());
        })
        .unwrap();
        watch.follow(&subject(), &index).unwrap();
        (dir, index, watch, news)
    }

    fn subject() -> Subject {
        Subject::Mailbox(MailboxId::new("0123456789abcdef01234567").unwrap())
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
        assert_eq!(news.recv_timeout(LONG).unwrap(), subject());
        // Like the mapped index of this process, which keeps the old file alive.
        let _open = fs::File::open(&index).unwrap();
        let new = dir.path().join("cyrus.index.NEW");
        fs::write(&new, "new").unwrap();
        fs::rename(&new, &index).unwrap();
        assert_eq!(news.recv_timeout(LONG).unwrap(), subject());
        while news.recv_timeout(Duration::from_millis(50)).is_ok() {}
        append(&index);
        assert_eq!(news.recv_timeout(LONG).unwrap(), subject());
    }

    #[test]
    fn the_end_of_a_mailbox_is_news_and_ends_its_watch() {
        let (_dir, index, watch, news) = watched();
        fs::remove_file(&index).unwrap();
        assert_eq!(news.recv_timeout(LONG).unwrap(), subject());
        let watching = || {
            let followed = watch.shared.followed();
            (followed.by_subject.len(), followed.by_number.len())
        };
        while watching() != (0, 0) {
            thread::yield_now();
        }
        assert!(watch.follow(&subject(), &index).is_err());
    }

    #[test]
    fn a_forgotten_mailbox_is_no_news_and_the_thread_goes_with_the_watch() {
        let (_dir, index, watch, news) = watched();
        watch.forget(&subject());
        append(&index);
        assert!(news.recv_timeout(Duration::from_millis(50)).is_err());
        drop(watch);
        // The thread owns the sender.
        assert!(matches!(
            news.recv_timeout(LONG),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
        ));
    }

    #[test]
    fn a_file_that_is_not_there_yet_is_news_when_it_comes() {
        let (dir, _index, watch, news) = watched();
        let file = dir.path().join("user/b/bovik.sub");
        let bovik = Subject::Subscriptions("bovik".into());
        watch.follow(&bovik, &file).unwrap();
        fs::write(dir.path().join("other"), "").unwrap();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        assert_eq!(news.recv_timeout(LONG).unwrap(), bovik);
        // Perhaps the directory came first.
        while news.recv_timeout(Duration::from_millis(50)).is_ok() {}
        fs::write(file.with_extension("NEW"), "one").unwrap();
        fs::rename(file.with_extension("NEW"), &file).unwrap();
        assert_eq!(news.recv_timeout(LONG).unwrap(), bovik);
        while news.recv_timeout(Duration::from_millis(50)).is_ok() {}
        append(&file);
        assert_eq!(news.recv_timeout(LONG).unwrap(), bovik);
    }
}
