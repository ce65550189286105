//! One site and server an implementation for the rows of a file: started by the first test that wants it, stopped by the last.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

use crate::rig::programs::Programs;
use crate::rig::server::Server;
use crate::rig::site::Site;

/// What rows of one file have in common.
pub(super) struct Group {
    /// Options of imapd.conf; `@ROOT@` is the site's folder.
    pub(super) options: &'static [(&'static str, &'static str)],
    pub(super) users: &'static [&'static str],
    pub(super) running: Mutex<[Weak<Shared>; 2]>,
    /// Rows take turns: where two processes of real Cyrus wait for each other, one of them gets a System I/O error, and
    /// its tools walk over mailboxes of other rows.
    pub(super) turn: Mutex<()>,
}

/// A site that a server is at work on.
pub(super) struct Shared {
    pub(super) site: Site,
    pub(super) programs: Programs,
    server: Option<Server>,
    /// The thread that started the server: its end would be the server's.
    starter: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Shared {
    pub(super) fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs until this is dropped")
    }

    /// Whether the programs are this project's.
    pub(super) fn is_ours(&self) -> bool {
        self.programs.name == "ours"
    }

    fn start(group: &Group, programs: Programs) -> Self {
        let site = Site::new(&[], group.users);
        let root = site.root().display().to_string();
        for (name, value) in group.options {
            site.unset(name);
            if !value.is_empty() {
                site.configure(&format!("{name}: {}\n", value.replace("@ROOT@", &root)));
            }
        }
        let (send, receive) = channel();
        let (end, ended): (Sender<()>, Receiver<()>) = channel();
        let thread = std::thread::spawn(move || {
            let server = site.start(&programs);
            let _ = send.send((site, programs, server));
            // Until whoever holds the other end lets go of it.
            let _ = ended.recv();
        });
        let (site, programs, server) = receive.recv().expect("the server starts");
        Self {
            site,
            programs,
            server: Some(server),
            starter: Some((end, thread)),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.server.take());
        if let Some((end, thread)) = self.starter.take() {
            drop(end);
            let _ = thread.join();
        }
    }
}

impl Group {
    /// Runs a row with each implementation that is there.
    pub(super) fn each(&self, row: impl Fn(&Shared)) {
        for (at, programs) in [Programs::ours(), Programs::real()].into_iter().enumerate() {
            if let Some(programs) = programs {
                println!("with {}", programs.name);
                let shared = self.shared(at, programs);
                let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
                row(&shared);
            }
        }
    }

    fn shared(&self, at: usize, programs: Programs) -> Arc<Shared> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = running.get_mut(at).expect("there are two implementations");
        if let Some(shared) = slot.upgrade() {
            return shared;
        }
        let shared = Arc::new(Shared::start(self, programs));
        *slot = Arc::downgrade(&shared);
        shared
    }
}
