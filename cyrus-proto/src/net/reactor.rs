//! The event loop: one thread, one poll, the connections that it owns, and an inbox.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use super::connection::{Connection, Context, Patience, Verdict};
use super::listener::Listener;
use super::observer::Observer;
use super::server::NetOptions;
use super::stream::Stream;
use super::timer::Timers;
use super::tls::TlsServer;
use super::workers::{Piece, Submitter};
use crate::job::{Link, Peer, Session};

/// Makes the session for a new connection.
pub type SessionMaker = Box<dyn Fn(&Peer) -> Box<dyn Session> + Send + Sync>;

/// What is served on a listener: how sessions are made, and the rules for their connections.
pub struct Service {
    /// For counters, transcripts and logs: `imap`, `lmtpunix`.
    pub name: Arc<str>,
    /// Makes the session for a new connection.
    pub session: SessionMaker,
    /// For [`Step::StartTls`](crate::job::Step::StartTls) and implicit TLS.
    pub tls: Option<TlsServer>,
    /// Whether connections start with a TLS handshake.
    pub implicit_tls: bool,
    /// Connections of this service at a time.
    pub max_connections: usize,
    /// What one connection too many is told, in clear, before it is closed.
    pub refusal: Vec<u8>,
    /// Whether to ask the observer for a transcript when a user has logged in.
    pub transcripts: bool,
    open: AtomicUsize,
}

impl Service {
    /// A service without TLS, transcripts or a limit.
    pub fn new(name: &str, session: impl Fn(&Peer) -> Box<dyn Session> + Send + Sync + 'static) -> Self {
        Self {
            name: name.into(),
            session: Box::new(session),
            tls: None,
            implicit_tls: false,
            max_connections: usize::MAX,
            refusal: Vec::new(),
            transcripts: false,
            open: AtomicUsize::new(0),
        }
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn admit(&self) -> bool {
        let admitted = self.open.fetch_add(1, Ordering::Relaxed) < self.max_connections;
        if !admitted {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        admitted
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

/// Names a listener that was added to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceId(usize);

/// Names a connection: its place, and which of the place's tenants it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    place: u32,
    tenant: u32,
}

impl Key {
    fn token(self) -> Token {
        Token(((self.tenant as usize & TENANT_MASK) << 32) | self.place as usize)
    }

    fn of(token: Token) -> Self {
        Self {
            place: (token.0 & 0xffff_ffff) as u32,
            tenant: (token.0 >> 32) as u32,
        }
    }
}

/// Tenants are numbered below this, so that their tokens keep clear of `LISTENER` and `INBOX`.
const TENANT_MASK: usize = 0x3fff_ffff;
const LISTENER: usize = 1 << 62;
const INBOX: Token = Token(usize::MAX);

/// Where other threads leave things for a reactor.
pub(super) struct Inbox {
    pending: Mutex<Pending>,
    waker: Waker,
}

#[derive(Default)]
struct Pending {
    messages: Vec<Message>,
    /// The poll has been woken and has not looked yet.
    woken: bool,
}

enum Message {
    Finished(Key, Piece),
    Hint(Key),
    Adopt(Stream, Arc<Service>),
    Listen(ServiceId, Listener, Arc<Service>),
    Unlisten(ServiceId),
    LookAround,
    Stop(Duration),
}

impl Inbox {
    pub(super) fn finished(&self, key: Key, piece: Piece) {
        self.post(Message::Finished(key, piece));
    }

    fn post(&self, message: Message) {
        let mut pending = self.lock();
        pending.messages.push(message);
        let wake = !std::mem::replace(&mut pending.woken, true);
        drop(pending);
        if wake {
            // It fails only if the reactor's poll is gone, and then nobody waits for the message.
            let _ = self.waker.wake();
        }
    }

    fn take(&self) -> Vec<Message> {
        let mut pending = self.lock();
        pending.woken = false;
        std::mem::take(&mut pending.messages)
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // It is never left half changed, whoever panicked.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Controls a server from any thread.
#[derive(Clone)]
pub struct Handle {
    inboxes: Arc<[Arc<Inbox>]>,
    next_service: Arc<AtomicUsize>,
    next_reactor: Arc<AtomicUsize>,
}

impl Handle {
    pub(super) fn new(inboxes: Vec<Arc<Inbox>>) -> Self {
        Self {
            inboxes: inboxes.into(),
            next_service: Arc::default(),
            next_reactor: Arc::default(),
        }
    }

    /// Starts accepting connections for `service`.
    pub fn listen(&self, listener: Listener, service: Arc<Service>) -> ServiceId {
        let id = ServiceId(self.next_service.fetch_add(1, Ordering::Relaxed) & TENANT_MASK);
        if let Some(first) = self.inboxes.first() {
            first.post(Message::Listen(id, listener, service));
        }
        id
    }

    /// Stops accepting there; connections that are open go on.
    pub fn unlisten(&self, id: ServiceId) {
        if let Some(first) = self.inboxes.first() {
            first.post(Message::Unlisten(id));
        }
    }

    /// Serves a connection that was accepted elsewhere.
    pub fn adopt(&self, stream: impl Into<Stream>, service: Arc<Service>) {
        let next = self.next_reactor.fetch_add(1, Ordering::Relaxed);
        if let Some(inbox) = self.inboxes.get(next % self.inboxes.len().max(1)) {
            inbox.post(Message::Adopt(stream.into(), service));
        }
    }

    /// Has every session look around, as a wake-up of its own would.
    pub fn look_around(&self) {
        for inbox in self.inboxes.iter() {
            inbox.post(Message::LookAround);
        }
    }

    /// Stops the server: no new connections; sessions finish the command in hand, say goodbye and close; what is
    /// still there after `grace` is cut off.
    pub fn stop(&self, grace: Duration) {
        for inbox in self.inboxes.iter() {
            inbox.post(Message::Stop(grace));
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("reactors", &self.inboxes.len())
            .finish()
    }
}

/// One event loop.
pub(super) struct Reactor {
    poll: Poll,
    inbox: Arc<Inbox>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    listeners: HashMap<usize, Accepting>,
    timers: Timers<Timer>,
    workers: Option<Submitter>,
    observer: Arc<dyn Observer>,
    patience: Patience,
    scratch: Vec<u8>,
    handle: Option<Handle>,
    stopping: Option<Instant>,
}

struct Slot {
    tenant: u32,
    connection: Option<Connection>,
    /// The connection is gone, but its job is not: the place is kept until it reports.
    job_pending: bool,
}

struct Accepting {
    listener: Listener,
    service: Arc<Service>,
    /// A timer will try again: what the poll tells until then is not listened to.
    paused: bool,
    /// When it was last told that descriptors ran out.
    told: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Connection(Key),
    /// Try again after descriptors ran out.
    Accept(usize),
}

impl Reactor {
    pub(super) fn new(
        options: &NetOptions,
        observer: Arc<dyn Observer>,
        workers: Option<Submitter>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), INBOX)?;
        let inbox = Arc::new(Inbox {
            pending: Mutex::default(),
            waker,
        });
        Ok(Self {
            poll,
            inbox,
            slots: Vec::new(),
            free: Vec::new(),
            listeners: HashMap::new(),
            timers: Timers::new(),
            workers,
            observer,
            patience: Patience {
                handshake: options.handshake_timeout,
                write: options.write_timeout,
                linger: LINGER,
            },
            scratch: vec![0; READ_SIZE],
            handle: None,
            stopping: None,
        })
    }

    pub(super) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Serves until stopped and every connection is gone.
    ///
    /// # Errors
    /// The poll failed, which no running system makes it do.
    pub(super) fn run(mut self, handle: Handle) -> io::Result<()> {
        self.handle = Some(handle);
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = Instant::now();
            if self.is_finished(now) {
                return Ok(());
            }
            let mut timeout = self.timers.until_next(now);
            if let Some(until) = self.stopping {
                let left = until.saturating_duration_since(now);
                timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
            }
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    INBOX => {}
                    Token(token) if token & LISTENER != 0 => self.accept_all(token & !LISTENER, now),
                    token => {
                        let (readable, writable) = (event.is_readable(), event.is_writable());
                        let half_closed = event.is_read_closed() || event.is_error();
                        self.with(Key::of(token), now, |connection, _| {
                            connection.ready(readable, writable, half_closed);
                            Verdict::Waits
                        });
                    }
                }
            }
            for message in self.inbox.take() {
                self.deal_with(message, now);
            }
            while let Some((at, timer)) = self.timers.pop_due(now) {
                match timer {
                    Timer::Accept(id) => {
                        if let Some(accepting) = self.listeners.get_mut(&id) {
                            accepting.paused = false;
                        }
                        self.accept_all(id, now);
                    }
                    Timer::Connection(key) => self.expire(key, at, now),
                }
            }
        }
    }

    fn is_finished(&mut self, now: Instant) -> bool {
        let Some(until) = self.stopping else { return false };
        until <= now
            || self
                .slots
                .iter()
                .all(|slot| slot.connection.is_none() && !slot.job_pending)
    }

    fn deal_with(&mut self, message: Message, now: Instant) {
        match message {
            Message::Finished(key, piece) => {
                if let Some(slot) = self
                    .slots
                    .get_mut(key.place as usize)
                    .filter(|slot| slot.tenant == key.tenant)
                {
                    slot.job_pending = false;
                    if slot.connection.is_none() {
                        self.vacate(key);
                        return;
                    }
                }
                self.with(key, now, |connection, context| {
                    connection.finished(piece, context);
                    Verdict::Waits
                });
            }
            Message::Hint(key) => self.with(key, now, |connection, _| {
                connection.hint(now);
                Verdict::Waits
            }),
            Message::Adopt(stream, service) => self.open(stream, service, now),
            Message::Listen(id, listener, service) => self.listen(id, listener, service, now),
            Message::Unlisten(id) => self.unlisten(id.0),
            Message::LookAround => {
                let keys: Vec<Key> = self.keys().collect();
                for key in keys {
                    self.with(key, now, |connection, _| {
                        connection.hint(now);
                        Verdict::Waits
                    });
                }
            }
            Message::Stop(grace) => self.stop(now + grace, now),
        }
    }

    fn listen(&mut self, id: ServiceId, listener: Listener, service: Arc<Service>, now: Instant) {
        if self.stopping.is_some() {
            return;
        }
        let fd = std::os::fd::AsRawFd::as_raw_fd(&listener);
        let token = Token(LISTENER | id.0);
        match self
            .poll
            .registry()
            .register(&mut SourceFd(&fd), token, Interest::READABLE)
        {
            Ok(()) => {
                let accepting = Accepting {
                    listener,
                    service,
                    paused: false,
                    told: None,
                };
                self.listeners.insert(id.0, accepting);
                self.accept_all(id.0, now);
            }
            Err(error) => self
                .observer
                .trouble(&format!("{}: cannot listen: {error}", service.name)),
        }
    }

    fn unlisten(&mut self, id: usize) {
        if let Some(accepting) = self.listeners.remove(&id) {
            let fd = std::os::fd::AsRawFd::as_raw_fd(&accepting.listener);
            // Closing the descriptor next takes it out of the poll in any case, unless another process shares it.
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
    }

    fn stop(&mut self, until: Instant, now: Instant) {
        self.stopping = Some(self.stopping.map_or(until, |before| before.min(until)));
        let ids: Vec<usize> = self.listeners.keys().copied().collect();
        for id in ids {
            self.unlisten(id);
        }
        let keys: Vec<Key> = self.keys().collect();
        for key in keys {
            self.with(key, now, |connection, _| connection.shut_down(now));
        }
    }

    fn keys(&self) -> impl Iterator<Item = Key> {
        (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.connection.is_some())
            .map(|(place, slot)| Key {
                place,
                tenant: slot.tenant,
            })
    }

    /// Accepts until nobody waits any more.
    fn accept_all(&mut self, id: usize, now: Instant) {
        loop {
            let Some(accepting) = self.listeners.get_mut(&id).filter(|accepting| !accepting.paused) else {
                return;
            };
            let service = Arc::clone(&accepting.service);
            match accepting.listener.accept() {
                Ok(stream) => self.welcome(stream, service, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_about_the_peer(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory. The poll will not tell again about those that wait.
                    accepting.paused = true;
                    if accepting.told.is_none_or(|told| now >= told + TELL_AGAIN) {
                        accepting.told = Some(now);
                        self.observer
                            .trouble(&format!("{}: cannot accept connections: {error}", service.name));
                    }
                    self.timers.add(now + ACCEPT_PAUSE, Timer::Accept(id));
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, stream: Stream, service: Arc<Service>, now: Instant) {
        if self
            .handle
            .as_ref()
            .is_some_and(|handle| handle.inboxes.len() > 1)
        {
            if let Some(handle) = &self.handle {
                handle.adopt(stream, service);
            }
            return;
        }
        self.open(stream, service, now);
    }

    fn open(&mut self, stream: Stream, service: Arc<Service>, now: Instant) {
        // A peer that is gone already has no address any more.
        let Ok(peer) = stream.peer() else { return };
        if stream.prepare().is_err() || self.stopping.is_some() {
            return;
        }
        // Descriptors are numbered from below: one this high says that hardly any are left for files.
        let number = std::os::fd::AsRawFd::as_raw_fd(&stream);
        let is_scarce = u64::try_from(number).is_ok_and(|number| number >= connection_descriptors());
        if is_scarce || !service.admit() {
            self.observer.refused(&service.name, &peer);
            // As much as the empty socket buffer takes, which is all of it.
            let _ = stream.write(&service.refusal);
            return;
        }
        self.observer.accepted(&service.name, &peer);
        let key = self.place();
        let hinted = Arc::new(AtomicBool::new(false));
        let link = self.link(peer, key, &hinted);
        let context = Context {
            now,
            key,
            scratch: &mut self.scratch,
            observer: &self.observer,
            workers: self.workers.as_ref(),
            inbox: &self.inbox,
            patience: self.patience,
        };
        let registered = {
            let fd = std::os::fd::AsRawFd::as_raw_fd(&stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut SourceFd(&fd), key.token(), interest)
        };
        let name = Arc::clone(&service.name);
        let connection =
            registered.and_then(|()| Connection::new(stream, link, hinted, Arc::clone(&service), &context));
        match connection {
            Ok(connection) => {
                if let Some(slot) = self.slots.get_mut(key.place as usize) {
                    slot.connection = Some(connection);
                }
                self.with(key, now, |_, _| Verdict::Waits);
            }
            Err(error) => {
                self.observer
                    .trouble(&format!("{name}: cannot serve a connection: {error}"));
                service.open.fetch_sub(1, Ordering::Relaxed);
                self.observer.closed(&name);
                self.vacate(key);
            }
        }
    }

    /// However often the link wakes, no more than one message waits in the inbox.
    fn link(&self, peer: Peer, key: Key, hinted: &Arc<AtomicBool>) -> Link {
        let (inbox, hinted) = (Arc::clone(&self.inbox), Arc::clone(hinted));
        let wake = move || {
            if !hinted.swap(true, Ordering::AcqRel) {
                inbox.post(Message::Hint(key));
            }
        };
        Link::new(peer, Arc::new(wake))
    }

    fn place(&mut self) -> Key {
        if let Some(place) = self.free.pop()
            && let Some(slot) = self.slots.get(place as usize)
        {
            return Key {
                place,
                tenant: slot.tenant,
            };
        }
        let place = u32::try_from(self.slots.len()).expect("descriptors, one a slot, are fewer than 2^32");
        self.slots.push(Slot {
            tenant: 0,
            connection: None,
            job_pending: false,
        });
        Key { place, tenant: 0 }
    }

    fn vacate(&mut self, key: Key) {
        if let Some(slot) = self
            .slots
            .get_mut(key.place as usize)
            .filter(|slot| slot.tenant == key.tenant)
        {
            slot.tenant = slot.tenant.wrapping_add(1) & TENANT_MASK as u32;
            slot.job_pending = false;
            self.free.push(key.place);
        }
    }

    fn expire(&mut self, key: Key, at: Instant, now: Instant) {
        self.with(key, now, |connection, _| {
            if connection.armed == Some(at) {
                connection.armed = None;
            }
            match connection.deadline() {
                Some(deadline) if deadline <= now => connection.expire(now),
                // It was moved later; it is armed anew below.
                Some(_) | None => Verdict::Waits,
            }
        });
    }

    /// Does something to a connection, lets it go on, and arms its timer; or closes it.
    fn with(
        &mut self,
        key: Key,
        now: Instant,
        act: impl FnOnce(&mut Connection, &mut Context<'_>) -> Verdict,
    ) {
        let Some(slot) = self
            .slots
            .get_mut(key.place as usize)
            .filter(|slot| slot.tenant == key.tenant)
        else {
            return;
        };
        let Some(connection) = &mut slot.connection else {
            return;
        };
        let mut context = Context {
            now,
            key,
            scratch: &mut self.scratch,
            observer: &self.observer,
            workers: self.workers.as_ref(),
            inbox: &self.inbox,
            patience: self.patience,
        };
        let result = catch_unwind(AssertUnwindSafe(|| match act(connection, &mut context) {
            Verdict::Gone => Verdict::Gone,
            Verdict::Waits => connection.advance(&mut context),
        }));
        let verdict = result.unwrap_or_else(|_| {
            let (service, peer) = (&connection.service.name, connection.peer().log_name());
            self.observer.trouble(&format!(
                "{service}: the connection of {peer} was dropped by a bug in this program"
            ));
            Verdict::Gone
        });
        match verdict {
            Verdict::Waits => {
                if let Some(deadline) = connection.deadline() {
                    // Never at once again: a session whose deadline stays in the past is asked once a second.
                    let deadline = if deadline <= now {
                        now + Duration::from_secs(1)
                    } else {
                        deadline
                    };
                    if connection.armed.is_none_or(|armed| armed > deadline) {
                        connection.armed = Some(deadline);
                        self.timers.add(deadline, Timer::Connection(key));
                    }
                }
            }
            Verdict::Gone => {
                slot.job_pending = connection.is_running();
                let fd = std::os::fd::AsRawFd::as_raw_fd(connection.stream());
                // Closing takes it out of the poll as well; this is for descriptors that somebody duplicated.
                let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
                connection.service.open.fetch_sub(1, Ordering::Relaxed);
                self.observer.closed(&connection.service.name);
                slot.connection = None;
                if !slot.job_pending {
                    self.vacate(key);
                }
            }
        }
    }
}

/// Errors of `accept` that concern the connection that was about to be accepted, not the listener.
fn is_about_the_peer(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let about = [
        Errno::CONNABORTED,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::PERM,
        Errno::NOTCONN,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| about.iter().any(|errno| errno.raw_os_error() == code))
}

/// Octets of one read.
const READ_SIZE: usize = 64 * 1024;

/// Events taken from the poll at a time.
const EVENTS: usize = 1024;

/// Descriptors up to which connections may have them; the rest is for the files of the sessions that are there.
fn connection_descriptors() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(u64::MAX, |limit| limit.saturating_sub((limit / 8).clamp(32, 512)))
}

/// How long a closed connection is read from when the peer is still sending.
const LINGER: Duration = Duration::from_secs(2);

/// How long to wait when the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long nothing more is said about connections that cannot be accepted.
const TELL_AGAIN: Duration = Duration::from_secs(60);
