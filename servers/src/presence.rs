//! Who is logged in, for the proc directory: noted down by a thread of its own.
//!
//! Event loops only leave a note; the thread makes one change of each file of all the notes that have gathered. So a
//! login costs no file operation where others would wait for it, and a flood of short sessions hardly any.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use cyrus_proto::job::Peer;
use cyrus_proto::net::Presence;

use crate::environment::HostNames;
use crate::procdir::{ProcDirectory, ProcFile, SessionLine};
use crate::syslog::{Level, log};

/// The noting thread. Its files go when it is [ended](Self::end).
pub struct Register {
    notes: Sender<Note>,
    next: AtomicU64,
}

enum Note {
    Begin {
        session: u64,
        service: Arc<str>,
        peer: Peer,
        user: String,
    },
    Mailbox {
        session: u64,
        mailbox: String,
    },
    End {
        session: u64,
    },
    /// Remove every file, and say so.
    Stop(Sender<()>),
}

impl Register {
    /// Starts the thread, which keeps files in `directory`.
    ///
    /// # Errors
    /// There can be no further thread.
    pub fn start(directory: ProcDirectory, names: Arc<HostNames>) -> std::io::Result<Self> {
        let (notes, inbox) = channel();
        let book = Book {
            directory,
            names,
            sessions: HashMap::new(),
            failed: false,
        };
        thread::Builder::new()
            .name("proc-files".to_owned())
            .spawn(move || book.keep(&inbox))?;
        Ok(Self {
            notes,
            next: AtomicU64::new(0),
        })
    }

    /// Notes that a user has logged in; the file goes with the value.
    pub fn logged_in(&self, service: &str, peer: &Peer, user: &str) -> Box<dyn Presence> {
        let session = self.next.fetch_add(1, Ordering::Relaxed);
        let _ = self.notes.send(Note::Begin {
            session,
            service: Arc::from(service),
            peer: peer.clone(),
            user: user.to_owned(),
        });
        Box::new(Session {
            session,
            mailbox: String::new(),
            notes: self.notes.clone(),
        })
    }

    /// Removes every file; waits for that a moment.
    pub fn end(&self) {
        let (done, wait) = channel();
        if self.notes.send(Note::Stop(done)).is_ok() {
            let _ = wait.recv_timeout(Duration::from_secs(2));
        }
    }
}

struct Session {
    session: u64,
    mailbox: String,
    notes: Sender<Note>,
}

impl Presence for Session {
    fn mailbox(&mut self, name: Option<&str>) {
        let name = name.unwrap_or_default();
        if name != self.mailbox {
            name.clone_into(&mut self.mailbox);
            let _ = self.notes.send(Note::Mailbox {
                session: self.session,
                mailbox: name.to_owned(),
            });
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.notes.send(Note::End {
            session: self.session,
        });
    }
}

/// What the thread knows.
struct Book {
    directory: ProcDirectory,
    names: Arc<HostNames>,
    sessions: HashMap<u64, Kept>,
    failed: bool,
}

/// A session as it is by the latest note.
struct Kept {
    line: SessionLine,
    peer: Peer,
    file: Option<ProcFile>,
    changed: bool,
}

impl Book {
    fn keep(mut self, inbox: &Receiver<Note>) {
        while let Ok(note) = inbox.recv() {
            if !matches!(note, Note::Stop(_)) {
                thread::sleep(GATHER);
            }
            let mut changed = Vec::new();
            let mut stop = None;
            for note in std::iter::once(note).chain(inbox.try_iter()).take(AT_ONCE) {
                match note {
                    Note::Stop(done) => stop = Some(done),
                    note => changed.extend(self.take(note)),
                }
            }
            if let Some(done) = stop {
                self.sessions.clear();
                let _ = done.send(());
                return;
            }
            for session in changed {
                self.write(session);
            }
        }
    }

    /// Takes a note; the session, if its file has to be written for it.
    fn take(&mut self, note: Note) -> Option<u64> {
        match note {
            Note::Begin {
                session,
                service,
                peer,
                user,
            } => {
                let line = SessionLine {
                    service: service.as_ref().to_owned(),
                    user,
                    ..SessionLine::default()
                };
                self.sessions.insert(
                    session,
                    Kept {
                        line,
                        peer,
                        file: None,
                        changed: true,
                    },
                );
                Some(session)
            }
            Note::Mailbox { session, mailbox } => {
                let kept = self.sessions.get_mut(&session)?;
                kept.line.mailbox = mailbox;
                (!std::mem::replace(&mut kept.changed, true)).then_some(session)
            }
            Note::End { session } => {
                self.sessions.remove(&session);
                None
            }
            Note::Stop(_) => None,
        }
    }

    fn write(&mut self, session: u64) {
        let Entry::Occupied(mut kept) = self.sessions.entry(session) else {
            return;
        };
        let kept = kept.get_mut();
        kept.changed = false;
        if kept.line.client.is_empty() {
            kept.line.client = client(&kept.peer, &self.names);
        }
        let written = match &kept.file {
            Some(file) => file.write(&kept.line),
            None => self
                .directory
                .session(&kept.line)
                .map(|file| kept.file = Some(file)),
        };
        match written {
            Ok(()) => self.failed = false,
            // Said once: nobody is kept out for want of such a file.
            Err(error) if !self.failed => {
                self.failed = true;
                log(
                    Level::Warning,
                    &format!("sessions cannot be listed in the proc directory: {error}"),
                );
            }
            Err(_) => {}
        }
    }
}

/// `host [address]`, as far as the host is known without waiting long.
fn client(peer: &Peer, names: &HostNames) -> String {
    let Peer::Tcp { remote, .. } = peer else {
        return peer.log_name();
    };
    match names.of_soon(remote.ip().to_canonical()) {
        Some(name) => format!("{name} {}", peer.log_name()),
        None => peer.log_name(),
    }
}

/// How long notes gather: what logs out again sooner is not worth a file.
const GATHER: Duration = Duration::from_millis(50);

/// Notes that are taken at a time.
const AT_ONCE: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procdir;
    use std::time::Instant;

    fn lines(directory: &std::path::Path) -> Vec<String> {
        let mut lines: Vec<String> = procdir::sessions(directory)
            .unwrap()
            .into_iter()
            .map(|(_, line)| line)
            .collect();
        lines.sort();
        lines
    }

    fn eventually(directory: &std::path::Path, wanted: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while lines(directory) != wanted {
            assert!(Instant::now() < deadline, "{:?}", lines(directory));
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn files_say_who_is_where_and_go_with_the_sessions() {
        let dir = tempfile::tempdir().unwrap();
        let directory = ProcDirectory::at(dir.path().to_owned()).unwrap();
        let register = Register::start(directory, Arc::default()).unwrap();
        let mut bovik = register.logged_in("imap", &Peer::Unix, "bovik");
        let fred = register.logged_in("imaps", &Peer::Unix, "fred");
        eventually(
            dir.path(),
            &["imap\t[unix socket]\tbovik\t\t", "imaps\t[unix socket]\tfred\t\t"],
        );
        drop(fred);
        bovik.mailbox(Some("user.bovik"));
        eventually(dir.path(), &["imap\t[unix socket]\tbovik\tuser.bovik\t"]);
        bovik.mailbox(None);
        eventually(dir.path(), &["imap\t[unix socket]\tbovik\t\t"]);
        register.end();
        assert!(lines(dir.path()).is_empty());
        // Late notes find nobody.
        drop(bovik);
        register.end();
    }
}
