//! The `pts` mechanism: a daemon beside the server says who is in which group.
//!
//! Cyrus's `ptloader` looks users up in a directory and writes what it finds into `ptclient/ptscache.db`. Here that database
//! is read; the daemon is asked over its socket for what is not in it or has become old.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use cyrus_acl::{AuthError, Identifier, IdentifierError, Mechanism};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::db::{Create, DbContext, DbError, DbPool, DbWait, Engine};
use crate::format::ptscache::Membership;
use crate::lock::LockTable;
use crate::log::{Level, Log};
use crate::sys::RealDisk;

/// Where the daemon and its database are, and how long their word counts.
#[derive(Clone, Debug)]
pub struct PtsOptions {
    /// `ptloader_sock`; by default `ptclient/ptsock` in the configuration directory.
    pub socket: PathBuf,
    /// `ptscache_db_path`; by default `ptclient/ptscache.db` there.
    pub database: PathBuf,
    /// `ptscache_db`
    pub engine: Engine,
    /// `ptscache_timeout`: what is older is asked for again.
    pub lifetime: Duration,
    /// How long the daemon may take over one question.
    pub patience: Duration,
}

impl PtsOptions {
    /// The defaults of Cyrus under this configuration directory.
    pub fn new(config_dir: &std::path::Path) -> Self {
        Self {
            socket: config_dir.join("ptclient/ptsock"),
            database: config_dir.join("ptclient/ptscache.db"),
            engine: Engine::Twoskip,
            lifetime: Duration::from_secs(3 * 60 * 60),
            patience: Duration::from_secs(30),
        }
    }
}

/// The mechanism of sites with groups in a directory (`auth_mech: pts`).
///
/// What identifiers mean, and how they are spelled, the daemon decides. While it does not answer, those whom the database
/// knows well enough come in, and all others are refused: a list may deny something to a group that holds them.
pub struct Pts {
    options: PtsOptions,
    databases: DbPool,
    log: Arc<dyn Log>,
    /// When the daemon last failed to answer.
    failed: Mutex<Option<Instant>>,
}

/// Why it is not known who an identifier is.
#[derive(Debug)]
enum Unknown {
    /// The daemon says that there is nobody of that name.
    Refused(String),
    /// It cannot be found out.
    Broken(String),
}

impl Pts {
    /// The mechanism; nothing is opened or asked yet.
    pub fn new(options: PtsOptions, log: Arc<dyn Log>) -> Self {
        let mut context = DbContext::new(LockTable::new(Arc::new(RealDisk)));
        context.wait = DbWait::AtMost(options.patience);
        Self {
            options,
            databases: DbPool::new(context),
            log,
            failed: Mutex::default(),
        }
    }

    /// Who an identifier is. The log has what clients are not told: where the daemon is, and what it says.
    fn membership(&self, identifier: &str) -> Result<Membership, Unknown> {
        let found = self.known(identifier).map_err(Unknown::Broken);
        let found = found.and_then(|known| known.map_or_else(|| self.found_out(identifier), Ok));
        match &found {
            Ok(_) => {}
            Err(Unknown::Refused(said)) => {
                let what = format_args!("ptloader does not know {identifier}: {said}");
                self.log.record(Level::Notice, what);
            }
            Err(Unknown::Broken(reason)) => {
                let what = format_args!("cannot find out who {identifier} is: {reason}");
                self.log.record(Level::Error, what);
            }
        }
        found
    }

    /// Who an identifier is, by the daemon. One that has just failed is left alone for a moment, so that those who wait do
    /// not wait for each other.
    fn found_out(&self, identifier: &str) -> Result<Membership, Unknown> {
        let shown = self.options.socket.display();
        let now = Instant::now();
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_some_and(|at| now.saturating_duration_since(at) < PAUSE) {
            let reason = format!("ptloader at {shown} has just failed to answer");
            return Err(Unknown::Broken(reason));
        }
        let answer = self.ask(identifier);
        let failed = answer.is_err().then(Instant::now);
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        match answer {
            Ok(Answer::Done) => {}
            Ok(Answer::Refused(said)) => return Err(Unknown::Refused(said)),
            Err(reason) => return Err(Unknown::Broken(format!("ptloader at {shown}: {reason}"))),
        }
        let known = self.known(identifier).map_err(Unknown::Broken)?;
        known.ok_or_else(|| {
            let path = self.options.database.display();
            Unknown::Broken(format!(
                "{path}: ptloader has answered and written nothing there; do both use the same file?"
            ))
        })
    }

    fn known(&self, identifier: &str) -> Result<Option<Membership>, String> {
        let path = &self.options.database;
        let found = match self.databases.open(path, self.options.engine, Create::No) {
            Ok(mut db) => db.get(identifier.as_bytes()),
            Err(DbError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        let Some(value) = found.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let found = Membership::parse(&value).ok_or_else(|| {
            format!(
                "{}: the row of {identifier} is damaged; remove the file, it is a cache",
                path.display()
            )
        })?;
        Ok(self.is_recent(found.mark).then_some(found))
    }

    fn is_recent(&self, mark: i64) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let lifetime = i64::try_from(self.options.lifetime.as_secs()).unwrap_or(i64::MAX);
        now.saturating_sub(mark) < lifetime
    }

    /// One question: the length of the identifier as a native integer, and the identifier. The answer is a text that ends
    /// with the connection: `OK` once the database has the answer, or what went wrong.
    fn ask(&self, identifier: &str) -> Result<Answer, String> {
        let deadline = Deadline::after(self.options.patience);
        let mut stream = self.connect(&deadline)?;
        let mut question = identifier.len().to_ne_bytes().to_vec();
        question.extend_from_slice(identifier.as_bytes());
        deadline.limit(&stream)?;
        stream.write_all(&question).map_err(told)?;
        let mut answer = Vec::new();
        let mut piece = [0; 256];
        while answer.len() < LONGEST_ANSWER {
            deadline.limit(&stream)?;
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(told(error)),
            }
        }
        let end = answer.iter().position(|&byte| byte == 0).unwrap_or(answer.len());
        match answer.get(..end).unwrap_or_default() {
            [] => Err("it closed the connection without an answer".to_owned()),
            [b'O', b'K', ..] => Ok(Answer::Done),
            refused => Ok(Answer::Refused(String::from_utf8_lossy(refused).into_owned())),
        }
    }

    /// A connection, or the reason why there is none in time: a daemon that takes nobody in has a queue that is full.
    fn connect(&self, deadline: &Deadline) -> Result<UnixStream, String> {
        let address = SocketAddrUnix::new(&self.options.socket).map_err(|error| error.to_string())?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|error| error.to_string())?;
        loop {
            match connect(&socket, &address) {
                Ok(()) => break,
                // On a socket of the host this means that the queue is full; nothing tells when it no longer is.
                Err(rustix::io::Errno::AGAIN) => {
                    let left = deadline.left()?.min(Duration::from_millis(50));
                    std::thread::sleep(left);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::INPROGRESS) => {
                    let left = Timespec::try_from(deadline.left()?).map_err(|error| error.to_string())?;
                    let mut fds = [PollFd::new(&socket, PollFlags::OUT)];
                    let _ = poll(&mut fds, Some(&left)).map_err(|error| error.to_string())?;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        let stream = UnixStream::from(socket);
        stream.set_nonblocking(false).map_err(told)?;
        Ok(stream)
    }
}

/// The moment at which the daemon has taken too long.
struct Deadline {
    end: Instant,
    patience: Duration,
}

impl Deadline {
    fn after(patience: Duration) -> Self {
        let now = Instant::now();
        Self {
            end: now.checked_add(patience).unwrap_or(now),
            patience,
        }
    }

    fn left(&self) -> Result<Duration, String> {
        let left = self.end.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(format!("no answer in {} s", self.patience.as_secs())),
            false => Ok(left),
        }
    }

    /// Lets the next read or write take no longer than what is left.
    fn limit(&self, stream: &UnixStream) -> Result<(), String> {
        let left = Some(self.left()?);
        stream.set_read_timeout(left).map_err(told)?;
        stream.set_write_timeout(left).map_err(told)
    }
}

fn told(error: std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            "it does not answer in time".to_owned()
        }
        _ => error.to_string(),
    }
}

/// What the daemon says.
enum Answer {
    /// The database has it.
    Done,
    /// There is nothing to be had, for this reason.
    Refused(String),
}

/// How long a daemon that has failed is not asked again.
const PAUSE: Duration = Duration::from_secs(2);
/// Octets of an answer that are read.
const LONGEST_ANSWER: usize = 4096;

impl Mechanism for Pts {
    fn canonical(&self, text: &str) -> Result<String, IdentifierError> {
        if text.is_empty() {
            return Err(IdentifierError::Empty);
        }
        if text.len() > Identifier::MAX_USERID {
            return Err(IdentifierError::TooLong { length: text.len() });
        }
        if let Some(at) = text.bytes().position(|byte| !matches!(byte, b' '..=b'~')) {
            let byte = text.as_bytes().get(at).copied().unwrap_or_default();
            return Err(IdentifierError::BadByte { byte, at });
        }
        if [Identifier::ANYONE, Identifier::ANONYMOUS].contains(&text) {
            return Ok(text.to_owned());
        }
        let found = self.membership(text).map_err(|unknown| {
            IdentifierError::Refused(match unknown {
                Unknown::Refused(_) => "nobody is known by it".to_owned(),
                Unknown::Broken(_) => "it cannot be looked up at the moment".to_owned(),
            })
        })?;
        match Identifier::stored(&found.userid) {
            Ok(_) if found.userid.len() <= Identifier::MAX_USERID => Ok(found.userid),
            Ok(_) => Err(IdentifierError::TooLong {
                length: found.userid.len(),
            }),
            Err(error) => Err(error),
        }
    }

    fn groups(&self, userid: &str) -> Result<Vec<String>, AuthError> {
        if [Identifier::ANYONE, Identifier::ANONYMOUS].contains(&userid) {
            return Ok(Vec::new());
        }
        match self.membership(userid) {
            Ok(found) => Ok(found.groups),
            Err(Unknown::Refused(reason) | Unknown::Broken(reason)) => Err(AuthError::Groups {
                userid: userid.to_owned(),
                reason,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::MemoryLog;
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A site whose daemon, if it has one, knows `fred` as a member of `group:staff`, and counts the questions.
    struct Place {
        dir: tempfile::TempDir,
        options: PtsOptions,
        asked: Arc<AtomicUsize>,
        log: Arc<MemoryLog>,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("ptclient")).unwrap();
        let mut options = PtsOptions::new(dir.path());
        options.patience = Duration::from_millis(300);
        Place {
            dir,
            options,
            asked: Arc::default(),
            log: Arc::default(),
        }
    }

    fn now() -> i64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        i64::try_from(now.as_secs()).unwrap()
    }

    fn store(options: &PtsOptions, key: &str, mark: i64, groups: &[&str]) {
        let context = DbContext::new(LockTable::new(Arc::new(RealDisk)));
        let mut db = crate::db::open(&context, &options.database, Engine::Twoskip, Create::Yes).unwrap();
        let found = Membership {
            userid: key.to_ascii_lowercase(),
            mark,
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
        };
        db.put(key.as_bytes(), &found.to_value().unwrap()).unwrap();
    }

    impl Place {
        fn pts(&self) -> Pts {
            Pts::new(self.options.clone(), Arc::clone(&self.log) as Arc<dyn Log>)
        }

        /// Whether the log has this text.
        fn logged(&self, text: &str) -> bool {
            self.log.events().iter().any(|(_, event)| event.contains(text))
        }

        /// A daemon as Cyrus's: it answers one question a connection.
        fn serve(&self) {
            let listener = UnixListener::bind(&self.options.socket).unwrap();
            let (options, asked) = (self.options.clone(), Arc::clone(&self.asked));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    asked.fetch_add(1, Ordering::SeqCst);
                    let mut length = [0; size_of::<usize>()];
                    stream.read_exact(&mut length).unwrap();
                    let mut identifier = vec![0; usize::from_ne_bytes(length)];
                    stream.read_exact(&mut identifier).unwrap();
                    let identifier = String::from_utf8(identifier).unwrap();
                    let answer: &[u8] = match identifier.to_ascii_lowercase().as_str() {
                        "fred" => {
                            store(&options, &identifier, now(), &["group:staff"]);
                            b"OK\0"
                        }
                        "lost" => b"OK\0",
                        _ => b"identifier not found\0",
                    };
                    stream.write_all(answer).unwrap();
                }
            });
        }
    }

    #[test]
    fn s060_a_user_is_asked_for_once_and_then_known() {
        let place = place();
        place.serve();
        let pts = place.pts();
        let fred = pts.auth_state("Fred").unwrap();
        assert_eq!(fred.userid(), "fred");
        assert_eq!(fred.groups().collect::<Vec<_>>(), ["group:staff"]);
        // `Fred` as he was typed, and `fred` as he is.
        assert_eq!(place.asked.load(Ordering::SeqCst), 2);
        pts.auth_state("Fred").unwrap();
        assert_eq!(place.asked.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn s060_what_is_old_is_asked_for_again() {
        let place = place();
        store(&place.options, "fred", now() - 3 * 60 * 60 - 1, &["group:old"]);
        place.serve();
        let pts = place.pts();
        assert_eq!(pts.groups("fred").unwrap(), ["group:staff"]);
        assert_eq!(place.asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn s060_without_the_daemon_those_who_are_known_come_in_and_no_others() {
        let place = place();
        let pts = place.pts();
        assert!(pts.auth_state("fred").is_err());
        store(&place.options, "fred", now(), &["group:staff"]);
        assert_eq!(pts.groups("fred").unwrap(), ["group:staff"]);
        assert!(pts.auth_state("bob").is_err());
        for everybody in ["anyone", "anonymous"] {
            assert_eq!(pts.canonical(everybody).unwrap(), everybody);
        }
    }

    #[test]
    fn s060_an_identifier_that_the_daemon_refuses_is_none() {
        let place = place();
        place.serve();
        let pts = place.pts();
        assert_eq!(
            pts.canonical("bob").unwrap_err().to_string(),
            "nobody is known by it"
        );
        assert!(place.logged("does not know bob: identifier not found"));
        assert!(pts.canonical("lost").is_err());
        assert!(place.logged("written nothing there"));
        for nonsense in ["", "a\tb", "caf\u{e9}", &"x".repeat(81)] {
            assert!(pts.canonical(nonsense).is_err());
        }
        assert_eq!(place.asked.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn s060_a_daemon_that_never_answers_is_waited_for_no_longer_than_allowed() {
        let place = place();
        let _listener = UnixListener::bind(&place.options.socket).unwrap();
        let pts = place.pts();
        let refused = pts.auth_state("fred").unwrap_err().to_string();
        assert_eq!(refused, "it cannot be looked up at the moment");
        assert!(place.logged("in time") || place.logged("no answer in"));
        // Whoever comes next need not wait.
        assert!(pts.auth_state("bob").is_err());
        assert!(place.logged("has just failed"));
        drop(place.dir);
    }

    #[test]
    fn s060_a_damaged_row_is_named_and_lets_nobody_in() {
        let place = place();
        let context = DbContext::new(LockTable::new(Arc::new(RealDisk)));
        let database = &place.options.database;
        let mut db = crate::db::open(&context, database, Engine::Twoskip, Create::Yes).unwrap();
        db.put(b"fred", b"short").unwrap();
        let refused = place.pts().groups("fred").unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("ptscache.db: the row of fred is damaged"),
            "{refused}"
        );
    }
}
