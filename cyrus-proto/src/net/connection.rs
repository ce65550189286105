//! One connection: its socket, the layers on it, its session, and what it waits for.
//!
//! ```text
//!              handshake done              Run              budget used up
//!   Handshake ---------------> Open -------------> Running ----------------> Parked
//!       ^                      ^  |  ^               |                         |
//!       | StartTls             |  |  +---- Done -----+ <------- sent ----------+
//!       +------ Draining <-----+--+
//!                  | Close: everything sent
//!                  v
//!               Lingering (only if the peer is still sending) --> gone
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::observer::{Observer, Presence, Transcript};
use super::reactor::{Inbox, Key, Service};
use super::stream::Stream;
use super::tls::{Handshake, TlsPipe, TlsRead};
use super::workers::{Next, Piece, Submitter, Task};
use crate::deflate::{Compression, Flush};
use crate::job::{Job, Link, Peer, SecurityLayer, Session, Step};
use crate::output::Output;

/// A connection as its reactor owns it.
pub(super) struct Connection {
    stream: Stream,
    session: Box<dyn Session>,
    phase: Phase,
    link: Link,
    /// A hint waits in the inbox.
    hinted: Arc<AtomicBool>,
    pub(super) service: Arc<Service>,
    /// TLS, a security layer, a transcript: what most connections do without.
    extras: Option<Box<Extras>>,
    /// The socket may have bytes: no read has yet come back short.
    readable: bool,
    /// The socket may take bytes.
    writable: bool,
    /// The peer said that it sends nothing more (there may still be bytes to read before that).
    half_closed: bool,
    /// Nothing more will be fed.
    ended: bool,
    /// The observer knows who has logged in.
    announced: bool,
    presence: Option<Box<dyn Presence>>,
    /// Since when nothing could be sent, plus the patience for it.
    stalled_until: Option<Instant>,
    /// The timer entry that will come up first.
    pub(super) armed: Option<Instant>,
}

#[derive(Default)]
struct Extras {
    tls: Option<Box<dyn TlsPipe>>,
    /// The pipe may hold decrypted bytes that were not asked for yet.
    tls_pending: bool,
    layer: Option<Box<dyn SecurityLayer>>,
    compression: Option<Box<Compression>>,
    /// What came in clear behind the command that ended the layers.
    early: Vec<u8>,
    transcript: Option<Box<dyn Transcript>>,
    /// Protected bytes that the socket has not taken yet: `wire[wire_at..]`.
    wire: Vec<u8>,
    wire_at: usize,
}

enum Phase {
    Handshake { begin: bool, until: Instant },
    Open,
    Running,
    Parked(Job),
    Draining(After),
    Lingering { until: Instant },
}

/// What to do once everything is sent.
enum After {
    StartTls,
    Secure(Box<dyn SecurityLayer>),
    Compress(Vec<u8>),
    Bare,
    Close,
}

/// What a connection needs of its reactor.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) key: Key,
    /// For one read.
    pub(super) scratch: &'a mut [u8],
    pub(super) observer: &'a Arc<dyn Observer>,
    /// `None`: run jobs here.
    pub(super) workers: Option<&'a Submitter>,
    pub(super) inbox: &'a Arc<Inbox>,
    pub(super) patience: Patience,
}

/// How long peers may take over things that no session watches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) handshake: Duration,
    pub(super) write: Duration,
    pub(super) linger: Duration,
}

/// Whether a connection lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Waits,
    Gone,
}

impl Connection {
    pub(super) fn new(
        stream: Stream,
        link: Link,
        hinted: Arc<AtomicBool>,
        service: Arc<Service>,
        context: &Context<'_>,
    ) -> io::Result<Self> {
        let session = (service.session)(link.peer());
        let mut connection = Self {
            stream,
            session,
            phase: Phase::Open,
            link,
            hinted,
            service,
            extras: None,
            // A client that speaks first may have done so already; most do not, so the poll is left to say it.
            readable: false,
            writable: true,
            half_closed: false,
            ended: false,
            announced: false,
            presence: None,
            stalled_until: None,
            armed: None,
        };
        if connection.service.implicit_tls {
            connection.start_tls(context, true)?;
        } else {
            connection.session.begin(&connection.link, context.now);
        }
        Ok(connection)
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(super) fn peer(&self) -> &Peer {
        self.link.peer()
    }

    /// The poll reported this.
    pub(super) fn ready(&mut self, readable: bool, writable: bool, half_closed: bool) {
        self.readable |= readable || half_closed;
        self.writable |= writable;
        self.half_closed |= half_closed;
    }

    /// A worker finished a piece of this connection's job.
    pub(super) fn finished(&mut self, piece: Piece, context: &Context<'_>) {
        self.session.output().append(piece.output);
        match piece.next {
            Next::More(job) => self.phase = Phase::Parked(job),
            Next::Done(done) => {
                self.phase = Phase::Open;
                self.session.done(done, context.now);
                self.look_for_user(context);
            }
        }
    }

    pub(super) fn hint(&mut self, now: Instant) {
        // Before the session looks, so that whatever happens meanwhile hints again.
        self.hinted.store(false, Ordering::Release);
        if !matches!(self.phase, Phase::Handshake { .. } | Phase::Lingering { .. }) {
            self.session.hint(now);
        }
    }

    /// The server is stopping. A peer in the middle of a handshake is not worth waiting for.
    pub(super) fn shut_down(&mut self, now: Instant) -> Verdict {
        match self.phase {
            Phase::Handshake { .. } => return Verdict::Gone,
            Phase::Open | Phase::Running | Phase::Parked(_) | Phase::Draining(_) => {
                self.session.shut_down(now)
            }
            Phase::Lingering { .. } => {}
        }
        Verdict::Waits
    }

    /// When [`expire`](Self::expire) is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = match &self.phase {
            Phase::Handshake { until, .. } | Phase::Lingering { until } => return Some(*until),
            Phase::Open | Phase::Running | Phase::Parked(_) => self.session.deadline(),
            Phase::Draining(_) => None,
        };
        let compression = self
            .extras
            .as_ref()
            .and_then(|extras| extras.compression.as_ref());
        let rest = compression.and_then(|compression| compression.deflate.deadline());
        [own, self.stalled_until, rest].into_iter().flatten().min()
    }

    /// Some deadline may have come.
    pub(super) fn expire(&mut self, now: Instant) -> Verdict {
        let past = |at: &Instant| *at <= now;
        match &self.phase {
            Phase::Handshake { until, .. } | Phase::Lingering { until } if past(until) => {
                return Verdict::Gone;
            }
            Phase::Handshake { .. } | Phase::Lingering { .. } | Phase::Draining(_) => {}
            Phase::Open | Phase::Running | Phase::Parked(_) => {
                if self.session.deadline().as_ref().is_some_and(past) {
                    self.session.tick(now);
                }
            }
        }
        if let Some(extras) = &mut self.extras
            && let Some(compression) = &mut extras.compression
            && self.session.output().is_empty()
        {
            compression.deflate.rest(now);
        }
        // While a job runs the connection must stay, for the job's result.
        if self.stalled_until.as_ref().is_some_and(past) && !matches!(self.phase, Phase::Running) {
            return Verdict::Gone;
        }
        Verdict::Waits
    }

    /// Whether a job of this connection is with the workers.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Goes on until there is nothing to do but wait.
    pub(super) fn advance(&mut self, context: &mut Context<'_>) -> Verdict {
        match self.go(context) {
            Ok(verdict) => verdict,
            // The peer is gone or broke its layer; a job in flight still reports, and is forgotten then.
            Err(_) => Verdict::Gone,
        }
    }

    fn go(&mut self, context: &mut Context<'_>) -> io::Result<Verdict> {
        loop {
            match &mut self.phase {
                Phase::Handshake { .. } => {
                    if !self.shake_hands(context)? {
                        return Ok(Verdict::Waits);
                    }
                }
                Phase::Running => {
                    self.flush(context)?;
                    return Ok(Verdict::Waits);
                }
                Phase::Parked(_) => {
                    if !self.flush(context)? {
                        return Ok(Verdict::Waits);
                    }
                    if let Phase::Parked(job) = std::mem::replace(&mut self.phase, Phase::Open) {
                        self.start(job, context)?;
                    }
                }
                Phase::Draining(_) => {
                    if !self.flush(context)? {
                        return Ok(Verdict::Waits);
                    }
                    if let Phase::Draining(after) = std::mem::replace(&mut self.phase, Phase::Open)
                        && self.carry_out(after, context)? == Verdict::Gone
                    {
                        return Ok(Verdict::Gone);
                    }
                }
                Phase::Lingering { .. } => return self.linger(context),
                Phase::Open => {
                    // A client that does not read is not served until it does.
                    if self.session.output().is_full() && !self.flush(context)? {
                        return Ok(Verdict::Waits);
                    }
                    let step = self.session.step(context.now);
                    // A job has the session's mailbox with it.
                    if !matches!(step, Step::Run(_)) {
                        self.look_for_user(context);
                    }
                    match step {
                        // The session has had its say; whatever it has queued is still sent.
                        Step::NeedInput if self.ended => self.phase = Phase::Draining(After::Close),
                        Step::NeedInput => {
                            if !self.receive(context)? {
                                self.flush(context)?;
                                return Ok(Verdict::Waits);
                            }
                        }
                        Step::Run(job) => self.start(job, context)?,
                        Step::StartTls => self.phase = Phase::Draining(After::StartTls),
                        Step::Secure(layer) => self.phase = Phase::Draining(After::Secure(layer)),
                        Step::Compress(early) => self.phase = Phase::Draining(After::Compress(early)),
                        Step::Bare => self.phase = Phase::Draining(After::Bare),
                        Step::Close => self.phase = Phase::Draining(After::Close),
                    }
                }
            }
        }
    }

    fn start(&mut self, job: Job, context: &mut Context<'_>) -> io::Result<()> {
        let Some(workers) = context.workers else {
            let piece = super::workers::run(job, &self.service.name, context.observer.as_ref());
            self.finished(piece, context);
            return Ok(());
        };
        self.phase = Phase::Running;
        workers.submit(Task {
            job,
            key: context.key,
            inbox: Arc::clone(context.inbox),
            service: Arc::clone(&self.service.name),
        });
        // What is there already need not wait for the job, which may wait for a lock.
        self.flush(context)?;
        Ok(())
    }

    fn carry_out(&mut self, after: After, context: &mut Context<'_>) -> io::Result<Verdict> {
        match after {
            After::StartTls => self.start_tls(context, false)?,
            After::Secure(layer) => self.extras().layer = Some(layer),
            After::Compress(early) => {
                let mut compression = Box::<Compression>::default();
                compression.inflate.feed(&early);
                self.extras().compression = Some(compression);
            }
            After::Bare => self.end_layers(),
            After::Close => {
                if let Some(tls) = self.extras.as_mut().and_then(|extras| extras.tls.as_mut()) {
                    tls.close();
                    self.flush(context)?;
                }
                // Closing with unread input would make the kernel reset the connection, and the peer might lose
                // our last words. So: say that we are done, and drop what still comes for a moment.
                if !self.drop_input(context)? {
                    return Ok(Verdict::Gone);
                }
                self.stream.finish();
                self.phase = Phase::Lingering {
                    until: context.now + context.patience.linger,
                };
            }
        }
        Ok(Verdict::Waits)
    }

    /// Compression and the security layer are over, and so is the login they came with.
    fn end_layers(&mut self) {
        self.announced = false;
        self.presence = None;
        if let Some(extras) = &mut self.extras {
            extras.transcript = None;
            extras.layer = None;
            let compression = extras.compression.take();
            extras.early = compression.map_or_else(Vec::new, |compression| compression.inflate.into_rest());
        }
    }

    fn start_tls(&mut self, context: &Context<'_>, begin: bool) -> io::Result<()> {
        let Some(server) = &self.service.tls else {
            return Err(io::Error::other(
                "the session asked for TLS, which this service does not have",
            ));
        };
        let tls = server.accept().map_err(io::Error::other)?;
        let extras = self.extras();
        extras.tls = Some(tls);
        extras.tls_pending = false;
        self.phase = Phase::Handshake {
            begin,
            until: context.now + context.patience.handshake,
        };
        Ok(())
    }

    /// Whether the handshake is over; otherwise it waits for the peer.
    fn shake_hands(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let Phase::Handshake { begin, .. } = self.phase else {
            return Ok(true);
        };
        loop {
            let count = self.read(context)?;
            let Some(tls) = self.extras.as_mut().and_then(|extras| extras.tls.as_mut()) else {
                return Ok(true);
            };
            if let Some(count) = count {
                tls.feed(context.scratch.get(..count).unwrap_or_default());
            }
            let result = tls.handshake();
            let sent = self.flush(context);
            match result {
                Ok(Handshake::Done(facts)) => {
                    sent?;
                    // Bytes of the session may have come right behind the handshake.
                    self.extras().tls_pending = true;
                    self.session.secured(&facts);
                    if begin {
                        self.session.begin(&self.link, context.now);
                    }
                    self.phase = Phase::Open;
                    return Ok(true);
                }
                Ok(Handshake::Wants) => {
                    sent?;
                    match count {
                        None => return Ok(false),
                        Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Some(_) => {}
                    }
                }
                Err(error) => {
                    context
                        .observer
                        .tls_failed(&self.service.name, self.link.peer(), &error.to_string());
                    return Err(io::Error::other(error));
                }
            }
        }
    }

    /// Reads once and feeds the session; false when there is nothing to read now.
    fn receive(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        if let Some(extras) = &mut self.extras {
            if !extras.early.is_empty() {
                let early = std::mem::take(&mut extras.early);
                self.session.feed(&early, context.now);
                return Ok(true);
            }
            if extras
                .compression
                .as_ref()
                .is_some_and(|compression| compression.inflate.has_pending())
            {
                return self.decompress(context);
            }
            if extras.tls_pending {
                return self.decrypt(context);
            }
        }
        let Some(count) = self.read(context)? else {
            return Ok(false);
        };
        if count == 0 {
            self.input_ended();
            return Ok(true);
        }
        if self.extras.as_ref().is_some_and(|extras| extras.tls.is_some()) {
            let extras = self.extras();
            extras.tls_pending = true;
            if let Some(tls) = &mut extras.tls {
                tls.feed(context.scratch.get(..count).unwrap_or_default());
            }
            return self.decrypt(context);
        }
        self.feed(count, context)?;
        Ok(true)
    }

    /// Feeds the session what TLS has decrypted.
    fn decrypt(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let extras = self.extras();
        let Some(tls) = &mut extras.tls else {
            return Ok(true);
        };
        match tls.read(context.scratch).map_err(io::Error::other)? {
            TlsRead::Bytes(count) => self.feed(count, context)?,
            TlsRead::Wants => extras.tls_pending = false,
            TlsRead::Closed => {
                extras.tls_pending = false;
                self.input_ended();
            }
        }
        Ok(true)
    }

    /// Feeds the session a piece of what is compressed.
    fn decompress(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let extras = self.extras();
        let Some(compression) = &mut extras.compression else {
            return Ok(true);
        };
        let clear = compression
            .inflate
            .read(context.scratch.len())
            .map_err(io::Error::other)?;
        if let Some(transcript) = &mut extras.transcript {
            transcript.received(&clear);
        }
        if !clear.is_empty() {
            self.session.feed(&clear, context.now);
        }
        Ok(true)
    }

    /// Gives the session the first `count` bytes of the scratch buffer, through the layers that there are.
    fn feed(&mut self, count: usize, context: &mut Context<'_>) -> io::Result<()> {
        let bytes = context.scratch.get(..count).unwrap_or_default();
        let Some(extras) = &mut self.extras else {
            self.session.feed(bytes, context.now);
            return Ok(());
        };
        let mut decoded = Vec::new();
        let clear = match &mut extras.layer {
            None => bytes,
            Some(layer) => {
                layer.decode(bytes, &mut decoded).map_err(io::Error::other)?;
                &decoded
            }
        };
        if let Some(compression) = &mut extras.compression {
            compression.inflate.feed(clear);
            return Ok(());
        }
        if let Some(transcript) = &mut extras.transcript {
            transcript.received(clear);
        }
        if !clear.is_empty() {
            self.session.feed(clear, context.now);
        }
        Ok(())
    }

    fn input_ended(&mut self) {
        self.readable = false;
        self.ended = true;
        self.session.end_of_input();
    }

    /// One read into the scratch buffer: `None` when nothing is there, `Some(0)` at the end.
    fn read(&mut self, context: &mut Context<'_>) -> io::Result<Option<usize>> {
        if !self.readable {
            return Ok(None);
        }
        match self.stream.read(context.scratch) {
            Ok(count) => {
                // A short read emptied the socket: the poll reports whatever comes after it. Only the end of input
                // may have been reported already.
                self.readable = count == context.scratch.len() || self.half_closed;
                context.observer.received(&self.service.name, count as u64);
                Ok(Some(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends what can be sent; true when nothing is left.
    fn flush(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let mut moved = 0;
        let result = self.send(&mut moved, context.scratch.len(), context.now);
        if moved > 0 {
            context.observer.sent(&self.service.name, moved);
        }
        match result {
            Ok(()) => {
                self.stalled_until = None;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writable = false;
                if moved > 0 || self.stalled_until.is_none() {
                    self.stalled_until = Some(context.now + context.patience.write);
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn send(&mut self, moved: &mut u64, batch: usize, now: Instant) -> io::Result<()> {
        let output = self.session.output();
        let Some(extras) = &mut self.extras else {
            while !output.is_empty() {
                if !self.writable {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                *moved += self.stream.send(output)?;
            }
            return Ok(());
        };
        // Before a handshake is over, its own messages are all that may go out.
        let output = if matches!(self.phase, Phase::Handshake { .. }) {
            &mut Output::new()
        } else {
            output
        };
        loop {
            if let Some(tls) = &mut extras.tls {
                let wire = tls.wire();
                if extras.wire.is_empty() {
                    extras.wire = std::mem::take(wire);
                } else {
                    extras.wire.append(wire);
                }
            }
            while let Some(rest) = extras.wire.get(extras.wire_at..).filter(|rest| !rest.is_empty()) {
                if !self.writable {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                let count = self.stream.write(rest)?;
                extras.wire_at += count;
                *moved += count as u64;
            }
            extras.wire = Vec::new();
            extras.wire_at = 0;
            if output.is_empty() {
                return Ok(());
            }
            extras.protect(output, batch, now)?;
        }
    }

    /// Reads and drops; whether anything was there to drop (the peer may be sending more).
    fn drop_input(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        if self.half_closed || self.ended {
            return Ok(false);
        }
        self.readable = true;
        let mut dropped = false;
        while let Some(count) = self.read(context)? {
            if count == 0 {
                return Ok(false);
            }
            dropped = true;
        }
        Ok(dropped)
    }

    fn linger(&mut self, context: &mut Context<'_>) -> io::Result<Verdict> {
        while let Some(count) = self.read(context)? {
            if count == 0 {
                return Ok(Verdict::Gone);
            }
        }
        Ok(Verdict::Waits)
    }

    /// Tells the observer once somebody has logged in, and where he is.
    fn look_for_user(&mut self, context: &Context<'_>) {
        if !self.service.transcripts {
            return;
        }
        if !self.announced
            && let Some(user) = self.session.user()
        {
            self.announced = true;
            let (service, peer) = (&self.service.name, self.link.peer());
            let session = self.session.session_id().unwrap_or_default();
            self.presence = context.observer.logged_in(service, peer, user);
            if let Some(transcript) = context.observer.transcript(service, user, session) {
                self.extras().transcript = Some(transcript);
            }
        }
        if let Some(presence) = &mut self.presence {
            presence.mailbox(self.session.mailbox());
        }
    }

    fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }
}

impl Extras {
    /// Moves one batch from `output` through transcript, compression, layer and TLS towards the wire.
    fn protect(&mut self, output: &mut Output, batch: usize, now: Instant) -> io::Result<()> {
        let mut clear = Vec::with_capacity(usize::try_from(output.len()).unwrap_or(batch).min(batch));
        output.drain_into(&mut clear, batch)?;
        if let Some(transcript) = &mut self.transcript {
            transcript.sent(&clear);
        }
        if let Some(compression) = &mut self.compression {
            let flush = match output.is_empty() {
                true => Flush::Now,
                false => Flush::Later,
            };
            let mut packed = Vec::new();
            let deflate = &mut compression.deflate;
            deflate
                .encode(&clear, flush, now, &mut packed)
                .map_err(io::Error::other)?;
            if packed.is_empty() {
                return Ok(());
            }
            clear = packed;
        }
        if let Some(layer) = &mut self.layer {
            let mut encoded = Vec::new();
            layer.encode(&clear, &mut encoded).map_err(io::Error::other)?;
            clear = encoded;
        }
        match &mut self.tls {
            Some(tls) => tls.write(&clear).map_err(io::Error::other),
            None => {
                self.wire = clear;
                Ok(())
            }
        }
    }
}
