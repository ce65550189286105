//! The loop: connections, messages, deaths, events, signals.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitOptions, wait};

use super::events::Events;
use super::files::{PidFile, ReadyFile};
use super::process::{self, Program, children};
use super::service::{Slot, delay};
use super::signals::Signals;
use super::{Fatal, Options, janitor, start};
use crate::config::{Config, Opt};
use crate::cyrus_conf::{Command, CyrusConf, Service};
use crate::listen::bind_all;
use crate::privilege;
use crate::service::{DAEMON_UP, Status};
use crate::sys::ChildSetup;
use crate::syslog::{Level, log};

/// Everything that master looks after.
pub(super) struct Supervisor {
    options: Options,
    config: Config,
    conf: CyrusConf,
    proc_directory: PathBuf,
    signals: Signals,
    slots: Vec<Slot>,
    /// The number of the newest slot.
    numbers: u64,
    daemons: Vec<Daemon>,
    events: Events,
    children: HashMap<u32, Child>,
    ready_file: ReadyFile,
    _pid_file: PidFile,
}

struct Child {
    role: Role,
    name: String,
    path: String,
    began: Instant,
}

enum Role {
    Service { slot: u64, status: Status, served: bool },
    Daemon { name: String },
    Event,
}

struct Daemon {
    program: Program,
    wait: bool,
    pid: Option<u32>,
    removed: bool,
    short_lives: u32,
    retry_at: Option<Instant>,
}

impl Supervisor {
    pub(super) fn new(
        options: Options,
        config: Config,
        conf: CyrusConf,
        pid_file: PidFile,
        ready_file: ReadyFile,
    ) -> Result<Self, Fatal> {
        let signals =
            Signals::install().map_err(|error| Fatal::system(format!("signal handlers: {error}")))?;
        // What children leave behind, such as a daemon that went into the background, becomes this process's child.
        if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
            log(
                Level::Info,
                &format!("processes that leave their parent cannot be followed: {error}"),
            );
        }
        Ok(Self {
            proc_directory: config.proc_directory(),
            daemons: conf.daemons.iter().map(Daemon::new).collect(),
            events: Events::new(&conf.events, Instant::now()),
            options,
            config,
            conf,
            signals,
            slots: Vec::new(),
            numbers: 0,
            children: HashMap::new(),
            ready_file,
            _pid_file: pid_file,
        })
    }

    /// START, listeners, the Cyrus user, the daemons that are waited for. `false` when told to stop meanwhile.
    pub(super) fn bring_up(&mut self) -> Result<bool, Fatal> {
        janitor::sweep(&self.proc_directory);
        self.leave_out_missing()?;
        if !start::run(&self.conf.start, &self.signals)? {
            return Ok(false);
        }
        for entry in self.conf.services.clone() {
            self.add_service(&entry)?;
        }
        privilege::become_cyrus_user(&self.config).map_err(Fatal::config)?;
        if self.options.daemon
            && let Err(error) = std::env::set_current_dir(self.config.configdirectory())
        {
            let directory = self.config.configdirectory();
            return Err(Fatal::config(format!(
                "can't enter configdirectory {}: {error}",
                directory.display()
            )));
        }
        for at in 0..self.daemons.len() {
            if self.daemons.get(at).is_some_and(|daemon| daemon.wait) && !self.start_waited(at)? {
                return Ok(false);
            }
        }
        if self.signals.stop() {
            return Ok(false);
        }
        self.ready_file.appear();
        log(Level::Debug, "ready for work");
        Ok(true)
    }

    /// Leaves out services and daemons whose program is missing. Without any service left, or without a daemon that the
    /// others wait for, there is nothing to start.
    fn leave_out_missing(&mut self) -> Result<(), Fatal> {
        let missing = |kind: &str, command: &Command| {
            let program = Program::of(command);
            (!program.exists()).then(|| {
                let (name, path) = (&program.name, program.path.display());
                format!("cannot find executable for {kind} '{name}': {path}")
            })
        };
        let leave_out = |kind: &str, command: &Command| match missing(kind, command) {
            None => true,
            Some(problem) => {
                log(
                    Level::Error,
                    &format!("{problem}; left out until the next SIGHUP"),
                );
                false
            }
        };
        for daemon in self.conf.daemons.iter().filter(|daemon| daemon.wait) {
            if let Some(problem) = missing("daemon", &daemon.command) {
                return Err(Fatal::config(problem));
            }
        }
        if let [first, ..] = &self.conf.services[..]
            && let Some(problem) = missing("service", &first.command)
            && !self
                .conf
                .services
                .iter()
                .any(|entry| Program::of(&entry.command).exists())
        {
            return Err(Fatal::config(problem));
        }
        self.conf
            .services
            .retain(|entry| leave_out("service", &entry.command));
        self.conf
            .daemons
            .retain(|entry| leave_out("daemon", &entry.command));
        let daemons = &self.conf.daemons;
        self.daemons.retain(|daemon| {
            daemons
                .iter()
                .any(|entry| entry.command.name == daemon.program.name)
        });
        Ok(())
    }

    /// Binds the addresses of a service. A service without any is left out, with an error in the log, unless
    /// `master_bind_errors_fatal` is on.
    fn add_service(&mut self, entry: &Service) -> Result<(), Fatal> {
        let name = &entry.command.name;
        let (listeners, failures) = bind_all(&entry.listen, entry.proto, self.options.backlog);
        for failure in &failures {
            log(
                Level::Error,
                &format!("unable to bind to {name} socket: {failure}"),
            );
        }
        if !failures.is_empty() && self.config.switch(Opt::MasterBindErrorsFatal) {
            return Err(Fatal {
                code: EX_UNAVAILABLE,
                message: format!("unable to bind to {name} socket"),
            });
        }
        for (index, listener) in listeners.into_iter().enumerate() {
            self.numbers += 1;
            match Slot::new(entry.clone(), listener, index, self.numbers) {
                Ok(slot) => self.slots.push(slot),
                Err(error) => return Err(Fatal::system(format!("status pipe of service {name}: {error}"))),
            }
        }
        Ok(())
    }

    /// Starts a daemon and waits until it says that it is up. `false` when told to stop meanwhile.
    fn start_waited(&mut self, at: usize) -> Result<bool, Fatal> {
        let Some(daemon) = self.daemons.get_mut(at) else {
            return Ok(true);
        };
        let name = daemon.program.name.clone();
        let fatal = |why: String| Fatal::config(format!("unable to spawn waitdaemon {name}/daemon: {why}"));
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| fatal(error.to_string()))?;
        let setup = ChildSetup {
            status: Some(write.as_fd()),
            own_group: true,
            ..Default::default()
        };
        let variables = [
            ("CYRUS_ISDAEMON", "1"),
            ("CYRUS_SERVICE", name.as_str()),
            ("CYRUS_ID", "0"),
        ];
        let pid = daemon
            .program
            .start(&variables, setup)
            .map_err(|error| fatal(error.to_string()))?;
        daemon.pid = Some(pid);
        let path = daemon.program.path.display().to_string();
        let role = Role::Daemon { name: name.clone() };
        self.children.insert(
            pid,
            Child {
                role,
                name: name.clone(),
                path,
                began: Instant::now(),
            },
        );
        drop(write);
        let mut read = File::from(read);
        let mut said = Vec::new();
        loop {
            let signals = self.signals.descriptor();
            let pipe = read.as_fd();
            let mut set = [
                PollFd::new(&pipe, PollFlags::IN),
                PollFd::new(&signals, PollFlags::IN),
            ];
            let _ = poll(&mut set, None);
            let readable = set.first().is_some_and(|fd| !fd.revents().is_empty());
            self.signals.drain();
            if self.signals.stop() {
                return Ok(false);
            }
            if !readable {
                continue;
            }
            let mut buffer = [0; 16];
            match read.read(&mut buffer) {
                Ok(count) if count > 0 => said.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                _ => return Err(fatal("it did not write \"ok\\r\\n\" to fd 3".to_owned())),
            }
            if said == DAEMON_UP {
                return Ok(true);
            }
            if !DAEMON_UP.starts_with(&said) {
                return Err(fatal("it did not write \"ok\\r\\n\" to fd 3".to_owned()));
            }
        }
    }

    /// Supervises until a signal asks to stop, then stops everything.
    pub(super) fn run(&mut self) {
        while !self.signals.stop() {
            self.reap();
            if self.signals.take_reload() {
                self.reload();
            }
            let now = Instant::now();
            self.keep_daemons(now);
            self.keep_idle_processes(now);
            for program in self.events.due(now) {
                self.run_event(&program);
            }
            let connected = self.wait(now);
            self.signals.drain();
            self.take_messages();
            let now = Instant::now();
            for at in connected {
                let wanted = self.slots.get(at).is_some_and(|slot| slot.wants_connections(now));
                if wanted && !self.signals.stop() {
                    self.start_process(at, now);
                }
            }
        }
        log(Level::Info, "attempting clean shutdown on signal");
        self.stop();
    }

    /// Waits for something to happen; returns the slots whose sockets have a connection.
    ///
    /// `now` is the time for which the work before was done: what became due since then ends the wait at once.
    fn wait(&mut self, now: Instant) -> Vec<usize> {
        let daemons = self
            .daemons
            .iter()
            .filter(|daemon| daemon.pid.is_none() && !daemon.removed);
        let retries = daemons
            .filter_map(|daemon| daemon.retry_at)
            .map(|at| at.saturating_duration_since(now));
        let slots = self.slots.iter().filter_map(|slot| slot.look_again_at(now));
        let slots = slots.map(|at| at.saturating_duration_since(now));
        let timeout = retries.chain(slots).chain(self.events.wait(now)).min();
        // Rounded up, so that the loop does not spin through the last millisecond.
        let spent = now.elapsed();
        let timeout = timeout.map(|timeout| timeout.saturating_sub(spent) + Duration::from_millis(1));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());

        let signals = self.signals.descriptor();
        let status: Vec<_> = self.slots.iter().map(Slot::status_descriptor).collect();
        let watched: Vec<(usize, _)> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.wants_connections(now))
            .filter_map(|(at, slot)| Some((at, slot.socket.as_ref()?.as_fd())))
            .collect();
        let mut set: Vec<PollFd<'_>> = watched
            .iter()
            .map(|(_, socket)| PollFd::new(socket, PollFlags::IN))
            .collect();
        set.extend(status.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        set.push(PollFd::new(&signals, PollFlags::IN));
        match poll(&mut set, timeout.as_ref()) {
            Ok(_) => {
                let connected = watched
                    .iter()
                    .zip(&set)
                    .filter(|(_, fd)| fd.revents().contains(PollFlags::IN));
                connected.map(|((at, _), _)| *at).collect()
            }
            Err(_) => Vec::new(),
        }
    }

    fn take_messages(&mut self) {
        for slot in &mut self.slots {
            for message in slot.messages() {
                let Some(child) = self.children.get_mut(&message.pid) else {
                    continue;
                };
                let Role::Service {
                    slot: of,
                    status,
                    served,
                } = &mut child.role
                else {
                    continue;
                };
                if *of != slot.number {
                    continue;
                }
                *served |= message.served;
                match (*status, message.status) {
                    (Status::Ready, Status::Busy) => slot.ready = slot.ready.saturating_sub(1),
                    (Status::Busy, Status::Ready) => slot.ready += 1,
                    (Status::Ready, Status::Ready) | (Status::Busy, Status::Busy) => {}
                }
                *status = message.status;
            }
        }
    }

    fn keep_idle_processes(&mut self, now: Instant) {
        for at in 0..self.slots.len() {
            while self
                .slots
                .get(at)
                .is_some_and(|slot| slot.wants_idle() && slot.may_start(now))
            {
                if !self.start_process(at, now) {
                    break;
                }
            }
        }
    }

    /// Starts one process of a service; `false` when the system refuses.
    fn start_process(&mut self, at: usize, now: Instant) -> bool {
        let Some(slot) = self.slots.get_mut(at) else {
            return false;
        };
        let Some(socket) = &slot.socket else { return false };
        let index = slot.index.to_string();
        let variables = [("CYRUS_SERVICE", slot.name()), ("CYRUS_ID", index.as_str())];
        let setup = ChildSetup {
            status: Some(slot.status_for_child()),
            listener: Some(socket.as_fd()),
            maxfds: slot.entry.maxfds,
            own_group: false,
        };
        let path = slot.program.path.display().to_string();
        match slot.program.start(&variables, setup) {
            Ok(pid) => {
                let role = Role::Service {
                    slot: slot.number,
                    status: Status::Ready,
                    served: false,
                };
                let child = Child {
                    role,
                    name: slot.name().to_owned(),
                    path,
                    began: now,
                };
                self.children.insert(pid, child);
                slot.started(now);
                true
            }
            Err(error) => {
                log(
                    Level::Error,
                    &format!("can't start {path} for service {}: {error}", slot.label),
                );
                // The system's fault, not the program's: tried again later.
                slot.started(now);
                slot.ended(Status::Ready, false, false, Duration::ZERO, now);
                false
            }
        }
    }

    fn keep_daemons(&mut self, now: Instant) {
        for daemon in &mut self.daemons {
            if daemon.pid.is_some() || daemon.removed || daemon.retry_at.is_some_and(|at| at > now) {
                continue;
            }
            let name = daemon.program.name.clone();
            let variables = [
                ("CYRUS_ISDAEMON", "1"),
                ("CYRUS_SERVICE", name.as_str()),
                ("CYRUS_ID", "0"),
            ];
            let setup = ChildSetup {
                own_group: daemon.wait,
                ..Default::default()
            };
            let path = daemon.program.path.display().to_string();
            match daemon.program.start(&variables, setup) {
                Ok(pid) => {
                    daemon.pid = Some(pid);
                    let role = Role::Daemon { name: name.clone() };
                    self.children.insert(
                        pid,
                        Child {
                            role,
                            name,
                            path,
                            began: now,
                        },
                    );
                }
                Err(error) => {
                    log(
                        Level::Error,
                        &format!("can't start {path} for daemon {name}: {error}"),
                    );
                    daemon.ended(Duration::ZERO, now);
                }
            }
        }
    }

    fn run_event(&mut self, program: &Program) {
        let name = &program.name;
        let running = |child: &Child| matches!(child.role, Role::Event) && child.name == *name;
        if self.children.values().any(running) {
            log(
                Level::Notice,
                &format!("event {name} is still running; this run is left out"),
            );
            return;
        }
        let path = program.path.display().to_string();
        match program.start(&[], ChildSetup::default()) {
            Ok(pid) => {
                let child = Child {
                    role: Role::Event,
                    name: name.clone(),
                    path,
                    began: Instant::now(),
                };
                self.children.insert(pid, child);
            }
            Err(error) => log(
                Level::Error,
                &format!("can't exec {path} on schedule for event {name}: {error}"),
            ),
        }
    }

    /// Accounts for every process that has ended.
    fn reap(&mut self) {
        // What a process reported before its end counts before its end does.
        self.take_messages();
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let status = ExitStatus::from_raw(status.as_raw());
                    self.ended(pid.as_raw_nonzero().get().unsigned_abs(), status);
                }
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn ended(&mut self, pid: u32, status: ExitStatus) {
        janitor::after(&self.proc_directory, pid);
        let Some(child) = self.children.remove(&pid) else {
            log(
                Level::Debug,
                &format!(
                    "a process that was left behind, pid:{pid}, {}",
                    process::ending(status)
                ),
            );
            return;
        };
        let (now, age) = (Instant::now(), child.began.elapsed());
        let kind = match child.role {
            Role::Service { .. } => "SERVICE",
            Role::Daemon { .. } => "DAEMON",
            Role::Event => "EVENT",
        };
        let line = format!(
            "process type:{kind} name:{} path:{} age:{:.3}s pid:{pid} {}",
            child.name,
            child.path,
            age.as_secs_f64(),
            process::ending(status)
        );
        let expected = status.success() || self.signals.stop();
        log(if expected { Level::Debug } else { Level::Error }, &line);
        match child.role {
            Role::Service {
                slot: number,
                status: state,
                served,
            } => {
                if let Some(slot) = self.slots.iter_mut().find(|slot| slot.number == number) {
                    let remark = slot.ended(state, !status.success(), served, age, now);
                    if let Some(remark) = remark.filter(|_| !self.signals.stop()) {
                        log(Level::Error, &remark);
                    }
                }
                self.slots.retain(|slot| slot.socket.is_some() || slot.active > 0);
            }
            Role::Daemon { name } => {
                if let Some(daemon) = self.daemons.iter_mut().find(|daemon| daemon.program.name == name) {
                    daemon.ended(age, now);
                }
                self.daemons
                    .retain(|daemon| !daemon.removed || daemon.pid.is_some());
            }
            Role::Event => {}
        }
    }

    /// SIGHUP: takes the new cyrus.conf, and passes the signal on.
    ///
    /// A file that cannot be used changes nothing. A service whose socket stays keeps it, connections in its queue too.
    fn reload(&mut self) {
        log(Level::Notice, "got SIGHUP");
        match CyrusConf::load(&self.options.cyrus_conf) {
            Ok(conf) => self.reconfigure(conf),
            Err(error) => log(
                Level::Error,
                &format!("{error}; going on with the old configuration"),
            ),
        }
        for (pid, child) in &self.children {
            // An event runs to its end: the next one sees the new configuration.
            if !matches!(child.role, Role::Event) {
                process::signal(*pid, Signal::HUP);
            }
        }
    }

    fn reconfigure(&mut self, conf: CyrusConf) {
        for report in &conf.reports {
            log(Level::Warning, report);
        }
        let mut added = Vec::new();
        for slot in &mut self.slots {
            let same = conf.services.iter().find(|entry| {
                entry.command.name == slot.entry.command.name
                    && entry.listen == slot.entry.listen
                    && entry.proto == slot.entry.proto
            });
            match same {
                Some(entry) => {
                    slot.program = Program::of(&entry.command);
                    slot.entry = entry.clone();
                    slot.forgive();
                }
                None => slot.socket = None,
            }
        }
        for entry in &conf.services {
            let live = |slot: &Slot| slot.socket.is_some() && slot.entry.command.name == entry.command.name;
            if !self.slots.iter().any(live) {
                added.push(entry.clone());
            }
        }
        self.slots.retain(|slot| slot.socket.is_some() || slot.active > 0);
        for entry in &added {
            if !Program::of(&entry.command).exists() {
                log(
                    Level::Error,
                    &format!("cannot find executable for service '{}'", entry.command.name),
                );
            } else if let Err(fatal) = self.add_service(entry) {
                log(Level::Error, &fatal.message);
            }
        }
        for daemon in &mut self.daemons {
            let entry = conf
                .daemons
                .iter()
                .find(|entry| entry.command.name == daemon.program.name);
            daemon.removed = entry.is_none();
            daemon.retry_at = None;
            if let Some(entry) = entry {
                daemon.program = Program::of(&entry.command);
            } else if let Some(pid) = daemon.pid {
                process::signal(pid, Signal::TERM);
            }
        }
        for entry in &conf.daemons {
            if !Program::of(&entry.command).exists() {
                log(
                    Level::Error,
                    &format!("cannot find executable for daemon '{}'", entry.command.name),
                );
                continue;
            }
            if !self
                .daemons
                .iter()
                .any(|daemon| daemon.program.name == entry.command.name)
            {
                self.daemons.push(Daemon::new(entry));
            }
        }
        self.daemons
            .retain(|daemon| !daemon.removed || daemon.pid.is_some());
        let mut events = Events::new(&conf.events, Instant::now());
        events.carry_over(&self.events);
        self.events = events;
        self.conf = conf;
        log(
            Level::Notice,
            &format!("services reconfigured: {} listeners are up", self.slots.len()),
        );
    }

    /// Ends every process: TERM, after some seconds QUIT, at last KILL. The daemons that were waited for come last, in
    /// reverse order.
    pub(super) fn stop(&mut self) {
        self.ready_file.vanish();
        self.slots.iter_mut().for_each(|slot| slot.socket = None);
        let waited: Vec<u32> = self
            .daemons
            .iter()
            .filter(|daemon| daemon.wait)
            .filter_map(|daemon| daemon.pid)
            .collect();
        self.end(&|pid| !waited.contains(&pid));
        for pid in waited.iter().rev() {
            self.end(&|other| other == *pid);
        }
        self.end(&|_| true);
        log(Level::Notice, "All children have exited, closing down");
    }

    /// Ends the child processes that `chosen` names, those left behind by others included.
    fn end(&mut self, chosen: &dyn Fn(u32) -> bool) {
        let began = Instant::now();
        let mut told: HashMap<u32, Signal> = HashMap::new();
        // What a START command left running as root cannot be ended by the Cyrus user.
        let mut foreign: HashSet<u32> = HashSet::new();
        loop {
            self.reap();
            // Those that were started here, and those that /proc shows to have been left to this process.
            let all: HashSet<u32> = self.children.keys().copied().chain(children()).collect();
            let wanted = |pid: &u32| chosen(*pid) && !foreign.contains(pid);
            let left: Vec<u32> = all.into_iter().filter(wanted).collect();
            if left.is_empty() {
                return;
            }
            let signal = match began.elapsed() {
                age if age < PATIENCE_TERM => Signal::TERM,
                age if age < PATIENCE_QUIT => Signal::QUIT,
                _ => Signal::KILL,
            };
            for pid in left {
                if told.insert(pid, signal) != Some(signal) {
                    if signal == Signal::KILL {
                        log(
                            Level::Warning,
                            &format!("pid {pid} did not end in time; killing it"),
                        );
                    }
                    if !process::signal(pid, signal) {
                        log(
                            Level::Warning,
                            &format!("pid {pid} belongs to another user and is left running"),
                        );
                        foreign.insert(pid);
                    }
                }
            }
            let descriptor = self.signals.descriptor();
            let mut set = [PollFd::new(&descriptor, PollFlags::IN)];
            let pause = Timespec::try_from(Duration::from_millis(500)).ok();
            let _ = poll(&mut set, pause.as_ref());
            self.signals.drain();
        }
    }
}

impl Daemon {
    fn new(entry: &crate::cyrus_conf::Daemon) -> Self {
        Self {
            program: Program::of(&entry.command),
            wait: entry.wait,
            pid: None,
            removed: false,
            short_lives: 0,
            retry_at: None,
        }
    }

    fn ended(&mut self, age: Duration, now: Instant) {
        self.pid = None;
        if age >= Duration::from_secs(1) {
            self.short_lives = 0;
            self.retry_at = None;
        } else {
            self.short_lives = self.short_lives.saturating_add(1);
            self.retry_at = Some(now + delay(self.short_lives));
        }
    }
}

const PATIENCE_TERM: Duration = Duration::from_secs(6);
const PATIENCE_QUIT: Duration = Duration::from_secs(10);
const EX_UNAVAILABLE: u8 = 69;
