//! The daemon `idled`: keeps who idles where, and passes on what has changed.
//!
//! Started by hand or from START it goes into the background once its socket is there; `-d`, or being a DAEMON of
//! cyrus.conf, keeps it in the foreground. While `msg/shutdown` exists, everybody who idles is told to look at it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Subject, decode, encode};
use crate::config::{Config, Opt};
use crate::daemon::{self, exit, fail};
use crate::service::{WaitingMaster, reserve_descriptors};
use crate::syslog::{self, Level, log};
use crate::{getopt, sys};

/// Runs the daemon with the arguments `args` (without the program's name).
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run(args.into_iter().collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => ExitCode::from(code),
    }
}

fn run(args: Vec<OsString>) -> Result<(), u8> {
    let is_daemon = std::env::var_os("CYRUS_ISDAEMON").is_some();
    let ready = WaitingMaster::take();
    let inherited = std::env::var_os(BACKGROUND)
        .and_then(|_| sys::inherited(sys::LISTENER))
        .map(UnixDatagram::from);
    reserve_descriptors();
    let line = getopt::parse(args.iter().cloned(), "C:d").map_err(|error| {
        syslog::open_plain("idled");
        fail(
            exit::USAGE,
            &format!("idled: {error}\nusage: idled [-C imapd.conf] [-d]"),
        )
    })?;
    let config = daemon::begin(line.argument('C'), "idled")?.config;
    let path = config
        .file(Opt::Idlesocket)
        .ok_or_else(|| fail(exit::CONFIG, "idlesocket is not set"))?;
    let in_background = inherited.is_some();
    let socket = match inherited {
        Some(socket) => socket,
        None => bind(&path)
            .map_err(|error| fail(exit::OSERR, &format!("idlesocket {}: {error}", path.display())))?,
    };
    if !in_background && !is_daemon && !line.has('d') {
        return go_into_background(&args, &socket)
            .map_err(|error| fail(exit::OSERR, &format!("cannot go into the background: {error}")));
    }
    end_on_signals(path).map_err(|error| fail(exit::OSERR, &format!("signals: {error}")))?;
    if let Some(ready) = ready {
        ready
            .ready()
            .map_err(|error| fail(exit::OSERR, &format!("cannot tell master: {error}")))?;
    }
    let mut daemon = Idling::new(socket, &config);
    loop {
        daemon
            .turn()
            .map_err(|error| fail(exit::OSERR, &format!("the socket of idled: {error}")))?;
    }
}

/// A socket at `path` that everybody may write to, in place of an older one.
fn bind(path: &Path) -> io::Result<UnixDatagram> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mask = rustix::process::umask(Mode::empty());
    let bound = UnixDatagram::bind(path);
    rustix::process::umask(mask);
    let socket = bound?;
    fs::set_permissions(path, Permissions::from_mode(0o777))?;
    Ok(socket)
}

/// Starts the process that serves `socket`, which keeps what comes meanwhile.
fn go_into_background(args: &[OsString], socket: &UnixDatagram) -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(args)
        .env(BACKGROUND, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let socket: OwnedFd = socket.as_fd().try_clone_to_owned()?;
    let setup = sys::ChildSetup {
        listener: Some(socket.as_fd()),
        ..Default::default()
    };
    sys::spawn(&mut command, setup).map(drop)
}

/// Removes the socket at the end.
fn end_on_signals(path: PathBuf) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if signals.forever().next().is_some() {
                let _ = fs::remove_file(&path);
                std::process::exit(0);
            }
        })?;
    Ok(())
}

/// Who idles where.
struct Idling {
    socket: UnixDatagram,
    /// By mailbox: the addresses of sessions, and until when each is believed in.
    sessions: HashMap<String, Vec<(PathBuf, Instant)>>,
    count: usize,
    /// A session ends by itself after this long.
    longest: Duration,
    shutdown: PathBuf,
    swept: Instant,
    buffer: Vec<u8>,
}

impl Idling {
    fn new(socket: UnixDatagram, config: &Config) -> Self {
        let longest = config
            .duration(Opt::Imapidletimeout)
            .or_else(|| config.duration(Opt::Timeout))
            .unwrap_or_default();
        Self {
            socket,
            sessions: HashMap::new(),
            count: 0,
            longest: longest.max(LEAST_TIMEOUT),
            shutdown: config.configdirectory().join("msg/shutdown"),
            swept: Instant::now(),
            buffer: vec![0; LONGEST_MESSAGE],
        }
    }

    /// Takes one message, or looks around after a second in which none came.
    fn turn(&mut self) -> io::Result<()> {
        self.socket
            .set_read_timeout((self.count > 0).then_some(LOOK_AROUND))?;
        match self.socket.recv_from(&mut self.buffer) {
            Ok((size, from)) => self.take(size, &from),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
        if self.count > 0 && self.swept.elapsed() >= LOOK_AROUND {
            self.look_around();
        }
        Ok(())
    }

    fn take(&mut self, size: usize, from: &SocketAddr) {
        let message = self.buffer.get(..size).unwrap_or_default();
        let Some((subject, mailbox)) = decode(message) else {
            log(Level::Debug, "a message that means nothing to idled");
            return;
        };
        let mailbox = mailbox.to_owned();
        match (subject, from.as_pathname()) {
            (Subject::Init, Some(from)) => self.add(mailbox, from.to_owned()),
            (Subject::Done, Some(from)) => self.keep_of(&mailbox, |session| session != from),
            (Subject::Notify, _) => self.tell(&mailbox),
            // Nobody to answer, or ours to say.
            (Subject::Init | Subject::Done, None) | (Subject::Alert, _) => {}
        }
    }

    fn add(&mut self, mailbox: String, session: PathBuf) {
        self.keep_of(&mailbox, |other| other != session);
        if self.count >= MOST_SESSIONS {
            log(
                Level::Warning,
                "too many idle sessions: one more is not told of changes",
            );
            return;
        }
        let until = Instant::now() + self.longest;
        self.sessions.entry(mailbox).or_default().push((session, until));
        self.count += 1;
    }

    /// Forgets the sessions on `mailbox` that `keep` does not want.
    fn keep_of(&mut self, mailbox: &str, mut keep: impl FnMut(&Path) -> bool) {
        let Some(sessions) = self.sessions.get_mut(mailbox) else {
            return;
        };
        let before = sessions.len();
        sessions.retain(|(session, _)| keep(session));
        self.count -= before - sessions.len();
        if sessions.is_empty() {
            self.sessions.remove(mailbox);
        }
    }

    /// Tells those who idle on `mailbox` that it has changed; forgets whoever is not there.
    fn tell(&mut self, mailbox: &str) {
        let message = encode(Subject::Notify, mailbox);
        let Ok(socket) = self.socket.try_clone() else {
            return;
        };
        self.keep_of(mailbox, |session| reach(&socket, &message, session));
    }

    /// Forgets who must have ended long ago, and passes on that the server goes down.
    fn look_around(&mut self) {
        let now = Instant::now();
        self.swept = now;
        let goes_down = self.shutdown.exists();
        let message = encode(Subject::Alert, ".");
        for sessions in self.sessions.values_mut() {
            sessions.retain(|(session, until)| {
                if goes_down {
                    reach(&self.socket, &message, session);
                }
                now < *until && !goes_down
            });
        }
        self.sessions.retain(|_, sessions| !sessions.is_empty());
        self.count = self.sessions.values().map(Vec::len).sum();
    }
}

/// Sends without waiting; whether `session` is still there.
fn reach(socket: &UnixDatagram, message: &[u8], session: &Path) -> bool {
    let Ok(address) = rustix::net::SocketAddrUnix::new(session) else {
        return false;
    };
    match rustix::net::sendto(socket, message, rustix::net::SendFlags::DONTWAIT, &address) {
        // A full queue: it has something to look at already.
        Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => true,
        Err(error) => {
            log(
                Level::Debug,
                &format!("{}: {error}; forgotten", session.display()),
            );
            false
        }
    }
}

/// Set in the environment of the process that serves in the background.
const BACKGROUND: &str = "CYRUS_IDLED_BACKGROUND";

/// Octets of the longest message: the number, and the longest name of a mailbox.
const LONGEST_MESSAGE: usize = 2048;

/// How often to look for `msg/shutdown` while somebody idles.
const LOOK_AROUND: Duration = Duration::from_secs(1);

/// Sessions stay at least this long, as `timeout` has it.
const LEAST_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Sessions that are kept.
const MOST_SESSIONS: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn idling(dir: &Path) -> Idling {
        let conf = dir.join("imapd.conf");
        fs::write(&conf, format!("configdirectory: {}\n", dir.display())).unwrap();
        fs::create_dir_all(dir.join("msg")).unwrap();
        Idling::new(
            bind(&dir.join("idle")).unwrap(),
            &Config::load(&conf, "idled").unwrap(),
        )
    }

    /// A session, and what it gets.
    struct Session(UnixDatagram);

    impl Session {
        fn at(dir: &Path, name: &str) -> Self {
            let socket = UnixDatagram::bind(dir.join(name)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.connect(dir.join("idle")).unwrap();
            Self(socket)
        }

        fn say(&self, subject: Subject, mailbox: &str, idling: &mut Idling) {
            let to = idling.socket.local_addr().unwrap();
            let message = encode(subject, mailbox);
            self.0.send_to(&message, to.as_pathname().unwrap()).unwrap();
            idling.turn().unwrap();
        }

        /// What came; connected, it hears only of idled.
        fn heard(&self) -> Option<Vec<u8>> {
            let mut buffer = [0; 100];
            let size = self.0.recv(&mut buffer).ok()?;
            Some(buffer[..size].to_vec())
        }
    }

    #[test]
    fn who_idles_on_a_mailbox_hears_of_it_until_he_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let mut idling = idling(dir.path());
        let (one, two) = (Session::at(dir.path(), "1"), Session::at(dir.path(), "2"));
        one.say(Subject::Init, "user.a", &mut idling);
        one.say(Subject::Init, "user.a", &mut idling);
        two.say(Subject::Init, "user.b", &mut idling);
        assert_eq!(idling.count, 2);
        two.say(Subject::Notify, "user.a", &mut idling);
        assert_eq!(one.heard(), Some(encode(Subject::Notify, "user.a")));
        assert_eq!((one.heard(), two.heard()), (None, None));
        one.say(Subject::Done, "user.a", &mut idling);
        two.say(Subject::Notify, "user.a", &mut idling);
        assert_eq!(one.heard(), None);
        assert_eq!((idling.count, idling.sessions.len()), (1, 1));
    }

    #[test]
    fn whoever_is_gone_is_forgotten_and_a_full_queue_is_not_gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut idling = idling(dir.path());
        let (one, two) = (Session::at(dir.path(), "1"), Session::at(dir.path(), "2"));
        one.say(Subject::Init, "user.a", &mut idling);
        for _ in 0..2000 {
            idling.tell("user.a");
        }
        assert_eq!(idling.count, 1);
        drop(one);
        two.say(Subject::Notify, "user.a", &mut idling);
        assert_eq!(idling.count, 0);
    }

    #[test]
    fn everybody_hears_that_the_server_goes_down() {
        let dir = tempfile::tempdir().unwrap();
        let mut idling = idling(dir.path());
        let one = Session::at(dir.path(), "1");
        one.say(Subject::Init, "user.a", &mut idling);
        idling.look_around();
        assert_eq!(one.heard(), None);
        fs::write(dir.path().join("msg/shutdown"), "down\n").unwrap();
        idling.look_around();
        assert_eq!(one.heard(), Some(encode(Subject::Alert, ".")));
        assert_eq!(idling.count, 0);
    }

    #[test]
    fn sessions_that_must_have_ended_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut idling = idling(dir.path());
        idling.longest = Duration::ZERO;
        let one = Session::at(dir.path(), "1");
        one.say(Subject::Init, "user.a", &mut idling);
        idling.look_around();
        assert_eq!((idling.count, idling.sessions.len()), (0, 0));
    }

    #[test]
    fn noise_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut idling = idling(dir.path());
        let one = Session::at(dir.path(), "1");
        for noise in [&b""[..], b"\0", &[255; 12], &[0; 2048]] {
            one.0.send_to(noise, dir.path().join("idle")).unwrap();
            idling.turn().unwrap();
        }
        assert!(idling.count <= 1);
    }
}
