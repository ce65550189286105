//! A daemon's work: listeners, event loops, signals, and the end.
//!
//! `imapd` and `lmtpd` are started by a master, ours or Cyrus's, which leaves them a listening socket, and serve any
//! number of connections in one process. `cyrusd` opens the sockets itself.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use cyrus_proto::job::Peer;
use cyrus_proto::net::{
    Handle, Listener, NetOptions, Observer, Presence, Server, Service, ServiceId, Transcript,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::bulletin;
use crate::config::{Config, Opt};
use crate::daemon::{exit, fail};
use crate::metrics::{self, NetMetrics};
use crate::presence::Register;
use crate::procdir::{self, ProcDirectory};
use crate::renewal::Renewal;
use crate::service::MasterLink;
use crate::syslog::{Level, log};
use crate::telemetry::{Direction, Telemetry};

/// Serves `service` on the socket that master left, until master, or a signal, ends it.
///
/// # Errors
/// The exit code.
pub fn serve(link: MasterLink, config: &Arc<Config>, service: Service) -> Result<(), u8> {
    let socket = link
        .listener()
        .ok_or_else(|| fail(exit::SOFTWARE, "master left no listening socket"))?;
    let link = Arc::new(link);
    let observer = DaemonObserver::new(Some(Arc::clone(&link)), config, [&service])?;
    run(
        config,
        observer,
        vec![(listener(socket)?, Arc::new(service))],
        Some(link),
    )
}

/// Serves these listeners, until a signal ends it. Returns once every session has ended.
///
/// # Errors
/// The exit code.
pub fn serve_all(config: &Arc<Config>, services: Vec<(Listener, Arc<Service>)>) -> Result<(), u8> {
    let observer = DaemonObserver::new(None, config, services.iter().map(|(_, service)| &**service))?;
    run(config, observer, services, None)
}

fn listener(socket: OwnedFd) -> Result<Listener, u8> {
    Listener::inherited(socket)
        .map_err(|error| fail(exit::OSERR, &format!("the listening socket is unusable: {error}")))
}

fn run(
    config: &Arc<Config>,
    observer: Arc<DaemonObserver>,
    services: Vec<(Listener, Arc<Service>)>,
    link: Option<Arc<MasterLink>>,
) -> Result<(), u8> {
    let os = |what: &'static str| move |error: io::Error| fail(exit::OSERR, &format!("{what}: {error}"));
    let signals = Signals::new([SIGTERM, SIGQUIT, SIGINT, SIGHUP]).map_err(os("signals"))?;
    // Writing to a peer that has gone is an error of that connection, not the end of all others.
    signal_hook::flag::register(SIGPIPE, Arc::new(AtomicBool::new(false))).map_err(os("signals"))?;
    let server = Server::new(&net_options(), observer.clone()).map_err(os("event loop"))?;
    let handle = server.handle();
    if let Err(error) = bulletin::watch(
        &config.configdirectory(),
        config
            .file(Opt::UserdenyDbPath)
            .unwrap_or_else(|| config.configdirectory().join("user_deny.db")),
        handle.clone(),
    ) {
        log(
            Level::Warning,
            &format!("msg/shutdown is noticed late by idle sessions: {error}"),
        );
    }
    let certificates = Renewal::new(
        services
            .iter()
            .filter_map(|(_, service)| service.tls.clone())
            .collect(),
        config.duration(Opt::TlsSessionTimeout).unwrap_or(TICKETS),
    );
    if let Err(error) = certificates.watch() {
        log(
            Level::Warning,
            &format!("new certificates are noticed at the next start only: {error}"),
        );
    }
    let mut listening = Vec::new();
    for (listener, service) in services {
        listening.push((handle.listen(listener, Arc::clone(&service)), service));
    }
    log(
        Level::Debug,
        &format!(
            "{} serves, with settings of {}",
            config.service(),
            config.path().display()
        ),
    );
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || obey(signals, &handle, &listening, link.as_deref(), &certificates))
        .map_err(os("thread"))?;
    let ended = server.run().map_err(os("event loop"));
    if let Some(register) = &observer.register {
        register.end();
        // Those of processes that were killed: Cyrus's master knows only the files that are named after a process.
        procdir::remove_stale(&config.proc_directory(), procdir::is_alive);
    }
    ended
}

/// As many event loops as serve a core each, and workers enough that waiting for the disk is shared by many.
fn net_options() -> NetOptions {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    NetOptions {
        reactors: cores.div_ceil(4),
        workers: WORKERS,
        ..NetOptions::default()
    }
}

/// Jobs wait for fsync and locks most of their time, and waiting together is what makes syncs cheap.
const WORKERS: usize = 24;

/// How long session tickets are good where nothing says so.
const TICKETS: Duration = Duration::from_secs(24 * 60 * 60);

/// Waits for signals: SIGHUP ends the listening (master starts a successor with new settings) and the process once its
/// connections are gone, or has certificates read again where there is no master; the others end everything, after the
/// commands in hand.
fn obey(
    mut signals: Signals,
    handle: &Handle,
    listening: &[(ServiceId, Arc<Service>)],
    link: Option<&MasterLink>,
    certificates: &Renewal,
) {
    let draining = Arc::new(AtomicBool::new(false));
    for signal in signals.forever() {
        if signal != SIGHUP {
            handle.stop(GRACE);
            return;
        }
        let Some(link) = link else {
            certificates.renew();
            log(
                Level::Notice,
                "SIGHUP: settings other than certificates are read at the start only; restart to change them",
            );
            continue;
        };
        if draining.swap(true, Ordering::Relaxed) {
            continue;
        }
        for (id, _) in listening {
            handle.unlisten(*id);
        }
        let _ = link.busy();
        let (handle, services) = (
            handle.clone(),
            listening.iter().map(|(_, s)| Arc::clone(s)).collect(),
        );
        thread::spawn(move || stop_when_idle(&handle, services));
    }
}

fn stop_when_idle(handle: &Handle, services: Vec<Arc<Service>>) {
    while services.iter().any(|service| service.open_connections() > 0) {
        thread::sleep(Duration::from_millis(500));
    }
    handle.stop(Duration::ZERO);
}

/// How long sessions may go on with the command in hand.
const GRACE: Duration = Duration::from_secs(8);

/// Tells master of connections, and keeps transcripts for users of whom somebody wants them.
struct DaemonObserver {
    link: Option<Arc<MasterLink>>,
    config: Arc<Config>,
    register: Option<Register>,
    metrics: Arc<NetMetrics>,
}

impl DaemonObserver {
    fn new<'s>(
        link: Option<Arc<MasterLink>>,
        config: &Arc<Config>,
        services: impl IntoIterator<Item = &'s Service>,
    ) -> Result<Arc<Self>, u8> {
        let metrics = Arc::new(NetMetrics::new(services));
        if let Some(address) = config.text(Opt::MetricsListen) {
            let bound = metrics::listen(&address, Arc::clone(&metrics))
                .map_err(|error| fail(exit::CONFIG, &error.to_string()))?;
            if let Some(bound) = bound {
                log(Level::Debug, &format!("metrics are at http://{bound}/metrics"));
            }
        }
        let register =
            ProcDirectory::open(config).and_then(|directory| Register::start(directory, Arc::default()));
        let register = match register {
            Ok(register) => Some(register),
            Err(error) => {
                let path = config.proc_directory();
                log(
                    Level::Warning,
                    &format!("{}: sessions cannot be listed: {error}", path.display()),
                );
                None
            }
        };
        Ok(Arc::new(Self {
            link,
            config: Arc::clone(config),
            register,
            metrics,
        }))
    }
}

impl Observer for DaemonObserver {
    fn accepted(&self, service: &str, _peer: &Peer) {
        self.metrics.accepted(service);
        if let Some(link) = &self.link {
            // Only for master's statistics; a master that has gone ends this process by signal.
            let _ = link.connection();
        }
    }

    fn closed(&self, service: &str) {
        self.metrics.closed(service);
    }

    fn received(&self, service: &str, octets: u64) {
        self.metrics.received(service, octets);
    }

    fn sent(&self, service: &str, octets: u64) {
        self.metrics.sent(service, octets);
    }

    fn waiting(&self, jobs: usize) {
        self.metrics.waiting(jobs);
    }

    fn job_ran(&self, service: &str, took: Duration) {
        self.metrics.job_ran(service, took);
    }

    fn refused(&self, service: &str, _peer: &Peer) {
        self.metrics.refused(service);
        log(
            Level::Warning,
            &format!("{service}: too many connections, one was turned away"),
        );
    }

    fn tls_failed(&self, service: &str, peer: &Peer, reason: &str) {
        self.metrics.tls_failed(service);
        log(
            Level::Notice,
            &match peer {
                Peer::Tcp { remote, .. } => {
                    format!("{service}: TLS negotiation failed: {}: {reason}", remote.ip())
                }
                Peer::Unix => format!("{service}: TLS negotiation failed: {reason}"),
            },
        );
    }

    fn trouble(&self, text: &str) {
        log(Level::Error, text);
    }

    fn logged_in(&self, service: &str, peer: &Peer, user: &str) -> Option<Box<dyn Presence>> {
        self.metrics.logged_in(service);
        Some(self.register.as_ref()?.logged_in(service, peer, user))
    }

    fn transcript(&self, service: &str, user: &str, session: &str) -> Option<Box<dyn Transcript>> {
        match Telemetry::begin(&self.config, service, user, session) {
            Ok(telemetry) => telemetry.map(|log| Box::new(Recorder(log)) as Box<dyn Transcript>),
            Err(error) => {
                log(Level::Error, &format!("telemetry of {user}: {error}"));
                None
            }
        }
    }
}

struct Recorder(Telemetry);

impl Transcript for Recorder {
    fn received(&mut self, bytes: &[u8]) {
        let _ = self.0.record(Direction::FromClient, bytes);
    }

    fn sent(&mut self, bytes: &[u8]) {
        let _ = self.0.record(Direction::ToClient, bytes);
    }
}
