//! A running server: one `master` and its children on a site, on ports of its own.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

use super::imap::Imap;
use super::lmtp::Lmtp;
use super::programs::{Programs, as_service_user};
use super::site::Site;

/// What a start differs in from the usual.
#[derive(Clone)]
pub(crate) struct Start {
    /// Recover the databases first; not when other daemons are at work on the site.
    pub(crate) recover: bool,
    /// Run a rolling `squatter`.
    pub(crate) squatter: bool,
    /// Listen for implicit TLS as well.
    pub(crate) tls: bool,
    /// Listen for LMTP at a port as well, where who delivers must authenticate.
    pub(crate) lmtp_port: bool,
    /// The ports for IMAP and IMAPS; free ones otherwise.
    pub(crate) ports: Option<(u16, u16)>,
    /// A port for LMTP that must be authenticated.
    pub(crate) lmtp: Option<u16>,
    /// Let our daemons write their log to the server's own, [`Server::log`].
    pub(crate) verbose: bool,
    /// What the daemons find in their environment besides what the test has.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            recover: true,
            squatter: false,
            tls: false,
            lmtp_port: false,
            ports: None,
            lmtp: None,
            verbose: false,
            environment: Vec::new(),
        }
    }
}

/// `master` and its children; stopped, and looked after for strays, when dropped.
pub(crate) struct Server {
    master: Child,
    name: &'static str,
    pub(crate) imap_port: u16,
    pub(crate) imaps_port: u16,
    pub(crate) lmtp_port: u16,
    pub(crate) lmtp_socket: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Starts a server and waits until it listens.
    pub(crate) fn start(site: &Site, programs: &Programs, start: Start) -> Self {
        let root = site.root().display();
        let conf = site.conf();
        let conf = conf.display();
        let name = programs.name;
        let programs = programs.reachable(&site.root().join("programs"));
        let program = |program: &str| format!("{} -C {conf}", programs.path(program).display());
        let (imap_port, imaps_port) = start.ports.unwrap_or_else(|| (free_port(), free_port()));
        let lmtp_port = free_port();
        let lmtp_socket = site.root().join(format!("{name}.lmtp"));
        // Services of one name share a lock around accept in the configuration directory: two masters need two names.
        let mut cyrus_conf = String::from("START {\n");
        if start.recover {
            cyrus_conf.push_str(&format!("  recover cmd=\"{} -r\"\n", program("ctl_cyrusdb")));
        }
        cyrus_conf.push_str("}\nSERVICES {\n");
        cyrus_conf.push_str(&format!(
            "  {name}imap cmd=\"{}\" listen=\"127.0.0.1:{imap_port}\"\n",
            program("imapd")
        ));
        if start.tls {
            cyrus_conf.push_str(&format!(
                "  {name}imaps cmd=\"{} -s\" listen=\"127.0.0.1:{imaps_port}\"\n",
                program("imapd")
            ));
        }
        let lmtpd = program("lmtpd");
        if start.lmtp_port {
            cyrus_conf.push_str(&format!(
                "  {name}lmtpport cmd=\"{lmtpd}\" listen=\"127.0.0.1:{lmtp_port}\"\n"
            ));
        }
        if let Some(port) = start.lmtp {
            cyrus_conf.push_str(&format!(
                "  {name}lmtptcp cmd=\"{lmtpd}\" listen=\"127.0.0.1:{port}\"\n"
            ));
        }
        cyrus_conf.push_str(&format!(
            "  {name}lmtp cmd=\"{lmtpd}\" listen=\"{}\"\n}}\nEVENTS {{\n}}\n",
            lmtp_socket.display()
        ));
        if start.squatter {
            cyrus_conf.push_str(&format!(
                "DAEMON {{\n  squatter cmd=\"{} -R\"\n}}\n",
                program("squatter")
            ));
        }
        let cyrus_conf_path = site.root().join(format!("{name}.cyrus.conf"));
        std::fs::write(&cyrus_conf_path, cyrus_conf).expect("cyrus.conf");
        let log_path = site.root().join(format!("{name}.log"));
        let log = std::fs::File::create(&log_path).expect("the master's log");
        let mut command = as_service_user(programs.path("master"));
        command.arg("-C").arg(site.conf()).arg("-M").arg(cyrus_conf_path);
        command
            .args(["-p", &format!("{root}/{name}.pid"), "-l", "512"])
            .current_dir(site.root());
        command.envs(start.environment);
        if start.verbose {
            command.env("CYRUS_VERBOSE", "1");
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second descriptor"))
            .stderr(log);
        // Of its own process group: Cyrus's master passes SIGTERM on to its whole group.
        let master = command.process_group(0).spawn().expect("starting master");
        let mut server = Self {
            master,
            name,
            imap_port,
            imaps_port,
            lmtp_port,
            lmtp_socket,
            log: log_path,
        };
        server.wait_ready();
        server
    }

    fn wait_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if TcpStream::connect(("127.0.0.1", self.imap_port)).is_ok() && self.lmtp_socket.exists() {
                return;
            }
            if let Ok(Some(status)) = self.master.try_wait() {
                panic!("{} master ended at once: {status}", self.name);
            }
            assert!(
                Instant::now() < deadline,
                "{} master does not listen after a minute",
                self.name
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A connection logged in as `user`; panics if that fails.
    pub(crate) fn imap(&self, user: &str) -> Imap {
        Imap::login(self.imap_port, user)
            .unwrap_or_else(|error| panic!("{} imapd, {user}: {error}", self.name))
    }

    /// A connection to lmtpd after LHLO; panics if that fails.
    pub(crate) fn lmtp(&self) -> Lmtp {
        Lmtp::connect(&self.lmtp_socket).unwrap_or_else(|error| panic!("{} lmtpd: {error}", self.name))
    }

    /// What master and its children have written.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The process ids of `master`'s children.
    pub(crate) fn children(&self) -> Vec<i32> {
        let master = self.master.id();
        let list =
            std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        list.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }

    /// Kills one child of `master` at once, as a crash would.
    pub(crate) fn kill_child(&self, pid: i32) {
        if let Some(pid) = Pid::from_raw(pid) {
            // It may have ended by itself meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Kills `master` and every child at once.
    pub(crate) fn kill_all(&mut self) {
        let _ = kill_process_group(self.group(), Signal::KILL);
        let _ = self.master.wait();
        self.wait_group_gone(Duration::from_secs(5))
            .expect("killed processes are gone");
    }

    /// Stops the server with SIGTERM to `master`; panics if a process is left after 20 seconds.
    pub(crate) fn stop(mut self) {
        self.terminate()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    fn terminate(&mut self) -> io::Result<()> {
        if self.master.try_wait()?.is_none() {
            kill_process(self.group(), Signal::TERM)?;
        }
        let gone = self.wait_group_gone(Duration::from_secs(20));
        if gone.is_err() {
            let _ = kill_process_group(self.group(), Signal::KILL);
            let _ = self.master.wait();
        }
        gone
    }

    fn wait_group_gone(&mut self, limit: Duration) -> io::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let _ = self.master.try_wait()?;
            if test_kill_process_group(self.group()).is_err() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(io::Error::other(
                    "processes of the server are left after SIGTERM to master",
                ));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.master)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.terminate() {
            eprintln!("{}: {error}", self.name);
        }
    }
}

/// A port that nothing listens on, outside the range that outgoing connections draw theirs from.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(step < 5000, "no free port");
        let port = u16::try_from(18_000 + (std::process::id() * 61 + step) % 14_000).expect("below 32,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
