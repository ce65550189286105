//! Mixed load by several workers on one user's mailboxes, through one or more servers of the same site.
//!
//! Every operation's outcome goes into the [`Model`]. Each worker takes a server at random for each operation, so that two
//! implementations alternate on the same mailboxes at every grain.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::imap::{Imap, Reply};
use super::lmtp::Lmtp;
use super::model::{Certainty, Contents, Model, Token};
use super::server::Server;
use super::value::Value;

/// The mailboxes that all workers share, as alice names them.
pub(crate) const SHARED: [&str; 3] = ["INBOX", "Work", "Work/Deep"];
/// The mailbox of bob, who only receives.
pub(crate) const BOB: &str = "bob's INBOX";

/// Where a server is reached.
#[derive(Clone)]
pub(crate) struct Endpoint {
    imap_port: u16,
    lmtp_socket: PathBuf,
    never_breaks: bool,
}

impl Endpoint {
    pub(crate) fn of(server: &Server) -> Self {
        Self {
            imap_port: server.imap_port,
            lmtp_socket: server.lmtp_socket.clone(),
            never_breaks: false,
        }
    }

    /// The same, of a server whose connections must not break, whatever those of others do.
    pub(crate) fn never_breaks(self) -> Self {
        Self {
            never_breaks: true,
            ..self
        }
    }
}

/// What a broken connection means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breaks {
    /// A fault of the server.
    AreFaults,
    /// Somebody kills daemons on purpose: note what is uncertain, and connect again.
    AreExpected,
}

/// A run of mixed load.
pub(crate) struct Workload {
    pub(crate) model: Model,
    endpoints: Vec<Endpoint>,
    breaks: Breaks,
    stop: AtomicBool,
    next_token: AtomicU64,
    operations: AtomicU64,
    seed: u64,
}

impl Workload {
    pub(crate) fn new(endpoints: Vec<Endpoint>, breaks: Breaks) -> Self {
        let seed = std::env::var("RIG_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | u64::from(line!()));
        println!("RIG_SEED={seed}");
        Self {
            model: Model::default(),
            endpoints,
            breaks,
            stop: AtomicBool::new(false),
            next_token: AtomicU64::new(1),
            operations: AtomicU64::new(0),
            seed,
        }
    }

    /// The accounts and mailboxes that the workers use.
    pub(crate) fn prepare(server: &Server) {
        let mut admin = server.imap("admin");
        admin.ok("CREATE user/alice");
        admin.ok("CREATE user/bob");
        admin.ok("SETQUOTA user/alice (STORAGE 900000 MESSAGE 900000)");
        let mut alice = server.imap("alice");
        alice.ok("CREATE Work");
        alice.ok("CREATE Work/Deep");
    }

    /// Runs `workers` workers while `meanwhile` runs, and until it returns.
    pub(crate) fn run(&self, workers: u64, meanwhile: impl FnOnce()) {
        std::thread::scope(|scope| {
            for number in 0..workers {
                scope.spawn(move || Worker::new(self, number).work());
            }
            meanwhile();
            self.stop.store(true, Ordering::Relaxed);
        });
    }

    /// How many operations the workers have finished.
    pub(crate) fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Looks at every mailbox through one server, at rest, and holds it against the model.
    pub(crate) fn check_at_rest(&self, server: &Server) -> BTreeMap<String, Contents> {
        let mut looks = BTreeMap::new();
        let mut alice = server.imap("alice");
        for mailbox in SHARED {
            looks.insert(
                mailbox.to_owned(),
                look(&mut alice, mailbox, 1).expect("a look at a mailbox at rest"),
            );
        }
        let bob = look(&mut server.imap("bob"), "INBOX", 1).expect("a look at a mailbox at rest");
        looks.insert(BOB.to_owned(), bob);
        for (mailbox, contents) in &looks {
            self.model.check_at_rest(mailbox, contents);
        }
        looks
    }

    /// Panics if any promise was broken.
    pub(crate) fn assert_kept(&self) {
        let violations = self.model.violations();
        let shown: Vec<&str> = violations.iter().take(20).map(String::as_str).collect();
        assert!(
            violations.is_empty(),
            "RIG_SEED={}: {} faults:\n{}",
            self.seed,
            violations.len(),
            shown.join("\n")
        );
    }
}

/// Selects a mailbox and reads the messages from a UID on.
fn look(imap: &mut Imap, mailbox: &str, from: u64) -> io::Result<Contents> {
    let selected = good(imap.command(&format!("SELECT \"{mailbox}\""))?)?;
    let number = |code| {
        selected
            .code(code)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    let (uidvalidity, uidnext) = (number("UIDVALIDITY"), number("UIDNEXT"));
    let messages = read(imap, &format!("{from}:*"))?
        .into_iter()
        .filter(|(uid, _)| u64::from(*uid) >= from)
        .collect();
    Ok(Contents {
        uidvalidity,
        uidnext,
        messages,
    })
}

/// The tokens and flags of some messages of the selected mailbox.
fn read(imap: &mut Imap, uids: &str) -> io::Result<BTreeMap<u32, (Token, BTreeSet<String>)>> {
    let command = format!("UID FETCH {uids} (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
    let reply = good(imap.command(&command)?)?;
    let mut messages: BTreeMap<u32, (Token, BTreeSet<String>)> = BTreeMap::new();
    for message in reply.fetched() {
        // A FETCH that only tells of another session's flags has no subject.
        let Some((_, subject)) = message.items.iter().find(|(item, _)| item.starts_with("BODY[")) else {
            continue;
        };
        let text = subject.text();
        let token = text
            .trim()
            .strip_prefix("Subject: token ")
            .and_then(|token| token.parse().ok());
        let token =
            token.ok_or_else(|| io::Error::other(format!("UID {} has the subject {text:?}", message.uid)))?;
        // \Recent goes to whoever looks first.
        let flags = message.item("FLAGS").map(Value::list).unwrap_or_default();
        let flags = flags.iter().map(Value::text).filter(|flag| flag != "\\Recent");
        messages.insert(message.uid, (token, flags.collect()));
    }
    Ok(messages)
}

fn good(reply: Reply) -> io::Result<Reply> {
    if reply.is_ok() {
        Ok(reply)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, reply.status))
    }
}

/// The message that carries a token; some are large.
pub(crate) fn message(token: Token) -> Vec<u8> {
    let mut text = format!(
        "Message-ID: <token.{token}@rig.example>\r\nFrom: rig@rig.example\r\nSubject: token {token}\r\n\r\n"
    );
    let lines = if token.is_multiple_of(50) {
        3000
    } else {
        10 + token % 40
    };
    for line in 0..lines {
        text.push_str(&format!(
            "line {line} of message {token}, some words to fill it\r\n"
        ));
    }
    text.into_bytes()
}

struct Worker<'a> {
    load: &'a Workload,
    number: u64,
    random: u64,
    /// The server that the last operation went to.
    server: usize,
    imap: Vec<Option<Imap>>,
    lmtp: Vec<Option<Lmtp>>,
    privates: u32,
}

impl<'a> Worker<'a> {
    fn new(load: &'a Workload, number: u64) -> Self {
        let count = load.endpoints.len();
        let connections = || (0..count).map(|_| None).collect();
        Self {
            load,
            number,
            random: load.seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            server: 0,
            imap: connections(),
            lmtp: (0..count).map(|_| None).collect(),
            privates: 0,
        }
    }

    fn work(mut self) {
        while !self.load.stop.load(Ordering::Relaxed) {
            let outcome = match self.below(100) {
                0..30 => self.deliver(),
                30..45 => self.append(),
                45..65 => self.flag(),
                65..75 => self.copy("COPY"),
                75..80 => self.copy("MOVE"),
                80..90 => self.expunge(),
                90..93 => self.own_mailbox(),
                _ => self.look_around(),
            };
            self.load.operations.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = outcome {
                // A refusal is a fault always; a broken connection only if nobody breaks them.
                if error.kind() == io::ErrorKind::InvalidData || self.breaks() == Breaks::AreFaults {
                    let what = format!("worker {} at server {}: {error}", self.number, self.server);
                    self.load.model.violated(what);
                    return;
                }
                self.imap.iter_mut().for_each(|connection| *connection = None);
                self.lmtp.iter_mut().for_each(|connection| *connection = None);
            }
        }
    }

    /// A number below `limit`, from the run's seed (splitmix64).
    fn below(&mut self, limit: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((word ^ (word >> 31)) >> 33).unwrap_or(0) % limit.max(1)
    }

    /// What it means that the connection to the last server broke.
    fn breaks(&self) -> Breaks {
        let endpoint = self.load.endpoints.get(self.server);
        match endpoint.is_some_and(|endpoint| endpoint.never_breaks) {
            true => Breaks::AreFaults,
            false => self.load.breaks,
        }
    }

    fn some_mailbox(&mut self) -> &'static str {
        let at = self.below(SHARED.len());
        SHARED.get(at).copied().unwrap_or("INBOX")
    }

    fn fresh_token(&self) -> Token {
        self.load.next_token.fetch_add(1, Ordering::Relaxed)
    }

    /// A logged-in connection to a server taken at random.
    fn imap(&mut self) -> io::Result<&mut Imap> {
        let at = self.below(self.load.endpoints.len());
        self.server = at;
        if self.imap.get(at).is_none_or(Option::is_none) {
            let port = self
                .load
                .endpoints
                .get(at)
                .map_or(0, |endpoint| endpoint.imap_port);
            let fresh = self.patiently(|| Imap::login(port, "alice"))?;
            *self.imap.get_mut(at).expect("as many as endpoints") = Some(fresh);
        }
        Ok(self
            .imap
            .get_mut(at)
            .and_then(Option::as_mut)
            .expect("just connected"))
    }

    fn lmtp(&mut self) -> io::Result<&mut Lmtp> {
        let at = self.below(self.load.endpoints.len());
        self.server = at;
        if self.lmtp.get(at).is_none_or(Option::is_none) {
            let socket = self
                .load
                .endpoints
                .get(at)
                .map(|endpoint| endpoint.lmtp_socket.clone())
                .unwrap_or_default();
            let fresh = self.patiently(|| Lmtp::connect(&socket))?;
            *self.lmtp.get_mut(at).expect("as many as endpoints") = Some(fresh);
        }
        Ok(self
            .lmtp
            .get_mut(at)
            .and_then(Option::as_mut)
            .expect("just connected"))
    }

    /// Connects; where breaks are expected, again and again for 30 seconds.
    fn patiently<T>(&self, connect: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match connect() {
                Err(_) if self.breaks() == Breaks::AreExpected && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                outcome => return outcome,
            }
        }
    }

    fn deliver(&mut self) -> io::Result<()> {
        let token = self.fresh_token();
        let recipients: &[&str] = if self.below(3) == 0 {
            &["alice", "bob"]
        } else {
            &["alice"]
        };
        let model = &self.load.model;
        let mut replies = Vec::new();
        let outcome = self
            .lmtp()?
            .deliver_noting(recipients, &message(token), &mut replies);
        for (at, mailbox) in ["INBOX", BOB].iter().take(recipients.len()).enumerate() {
            match replies.get(at) {
                Some(reply) if reply.starts_with("250") => {
                    model.added(mailbox, token, Certainty::Acknowledged)
                }
                Some(reply) => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("LMTP: {reply}"),
                    ));
                }
                None => model.added(mailbox, token, Certainty::Possible),
            }
        }
        outcome
    }

    fn append(&mut self) -> io::Result<()> {
        let (token, mailbox) = (self.fresh_token(), self.some_mailbox());
        let model = &self.load.model;
        let reply = match self.imap()?.append(mailbox, "", &message(token)) {
            Ok(reply) => good(reply)?,
            Err(error) => {
                model.added(mailbox, token, Certainty::Possible);
                return Err(error);
            }
        };
        model.added(mailbox, token, Certainty::Acknowledged);
        let code = reply.code("APPENDUID").unwrap_or_default();
        let mut numbers = code.split(' ').filter_map(|number| number.parse::<u64>().ok());
        if let (Some(uidvalidity), Some(uid)) = (numbers.next(), numbers.next()) {
            model.seen(mailbox, uidvalidity, u32::try_from(uid).unwrap_or(0), token);
        }
        Ok(())
    }

    /// Selects a mailbox on one connection and picks some of its latest messages.
    fn pick(&mut self, mailbox: &str, most: usize) -> io::Result<(&mut Imap, Vec<u32>)> {
        let (skip, take) = (self.below(40), 1 + self.below(most));
        let model = &self.load.model;
        let imap = self.imap()?;
        let status = good(imap.command(&format!("STATUS \"{mailbox}\" (UIDNEXT)"))?)?;
        let uidnext = status
            .data("STATUS")
            .next()
            .and_then(|data| data.get(1)?.list().get(1)?.number())
            .unwrap_or(1);
        let contents = look(imap, mailbox, uidnext.saturating_sub(60).max(1))?;
        for (&uid, &(token, _)) in &contents.messages {
            model.seen(mailbox, contents.uidvalidity, uid, token);
        }
        Ok((
            imap,
            contents
                .messages
                .into_keys()
                .rev()
                .skip(skip)
                .take(take)
                .collect(),
        ))
    }

    fn flag(&mut self) -> io::Result<()> {
        let mailbox = self.some_mailbox();
        let keyword = format!("worker{}", self.number);
        let set = self.below(2) == 0;
        let model = &self.load.model;
        let (imap, uids) = self.pick(mailbox, 4)?;
        if uids.is_empty() {
            return Ok(());
        }
        let silent = if set { "" } else { ".SILENT" };
        let command = format!(
            "UID STORE {} {}FLAGS{silent} ({keyword})",
            list(&uids),
            if set { '+' } else { '-' }
        );
        let outcome = imap.command(&command);
        let certainty = if outcome.is_ok() {
            Certainty::Acknowledged
        } else {
            Certainty::Possible
        };
        for uid in uids {
            model.keyword(mailbox, uid, &keyword, set, certainty);
        }
        good(outcome?).map(drop)
    }

    fn copy(&mut self, verb: &str) -> io::Result<()> {
        let (from, to) = (self.some_mailbox(), self.some_mailbox());
        if from == to {
            return Ok(());
        }
        let model = &self.load.model;
        let (imap, uids) = self.pick(from, 5)?;
        if uids.is_empty() {
            return Ok(());
        }
        let reply = match imap.command(&format!("UID {verb} {} \"{to}\"", list(&uids))) {
            Ok(reply) => good(reply)?,
            Err(error) => {
                for uid in uids {
                    if let Some(token) = model.token(from, uid) {
                        model.added(to, token, Certainty::Possible);
                    }
                    if verb == "MOVE" {
                        model.removed(from, uid, Certainty::Possible);
                    }
                }
                return Err(error);
            }
        };
        let Some(code) = reply.code("COPYUID") else {
            return Ok(());
        };
        let words: Vec<&str> = code.split(' ').collect();
        let [uidvalidity, sources, copies] = words.as_slice() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("COPYUID {code}"),
            ));
        };
        for (source, copy) in numbers(sources).into_iter().zip(numbers(copies)) {
            let Some(token) = model.token(from, source) else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("COPYUID names UID {source}: {code}"),
                ));
            };
            model.added(to, token, Certainty::Acknowledged);
            model.seen(to, uidvalidity.parse().unwrap_or(0), copy, token);
            if verb == "MOVE" {
                model.removed(from, source, Certainty::Acknowledged);
            }
        }
        Ok(())
    }

    fn expunge(&mut self) -> io::Result<()> {
        let mailbox = self.some_mailbox();
        let model = &self.load.model;
        let (imap, uids) = self.pick(mailbox, 6)?;
        if uids.is_empty() {
            return Ok(());
        }
        let set = list(&uids);
        let marked = imap.command(&format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)"));
        let outcome = marked
            .and_then(good)
            .and_then(|_| imap.command(&format!("UID EXPUNGE {set}")));
        let certainty = if outcome.is_ok() {
            Certainty::Acknowledged
        } else {
            Certainty::Possible
        };
        for uid in uids {
            model.removed(mailbox, uid, certainty);
        }
        good(outcome?).map(drop)
    }

    /// A mailbox that only this worker uses: created, filled, renamed, read and deleted, each through any server.
    fn own_mailbox(&mut self) -> io::Result<()> {
        self.privates += 1;
        let name = format!(
            "Own{}-{}-{}",
            self.number,
            self.privates,
            self.load.next_token.load(Ordering::Relaxed)
        );
        let renamed = format!("{name}-renamed");
        good(self.imap()?.command(&format!("CREATE {name}"))?)?;
        let tokens: BTreeSet<Token> = (0..3).map(|_| self.fresh_token()).collect();
        for &token in &tokens {
            good(self.imap()?.append(&name, "", &message(token))?)?;
        }
        good(self.imap()?.command(&format!("RENAME {name} {renamed}"))?)?;
        let imap = self.imap()?;
        let contents = look(imap, &renamed, 1)?;
        // Where nothing is delayed, real Cyrus closes the connections on which a mailbox is selected that another deletes.
        good(imap.command("UNSELECT")?)?;
        let there: BTreeSet<Token> = contents.messages.values().map(|(token, _)| *token).collect();
        if there != tokens || contents.messages.len() != tokens.len() {
            let what = format!("{renamed} holds {:?} instead of {tokens:?}", contents.messages);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        good(self.imap()?.command(&format!("DELETE {renamed}"))?).map(drop)
    }

    /// What any client does between changes.
    fn look_around(&mut self) -> io::Result<()> {
        let mailbox = self.some_mailbox();
        self.pick(mailbox, 1)?;
        good(self.imap()?.command("LIST \"\" *")?)?;
        good(self.imap()?.command("NOOP")?).map(drop)
    }
}

/// `3,9,12` for UIDs in descending order, ascending.
fn list(uids: &[u32]) -> String {
    let numbers: Vec<String> = uids.iter().rev().map(u32::to_string).collect();
    numbers.join(",")
}

/// The numbers of a set such as `2:4,9`.
fn numbers(set: &str) -> Vec<u32> {
    let parts = set.split(',').filter_map(|part| {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        Some(first.parse::<u32>().ok()?..=last.parse().ok()?)
    });
    parts.flatten().collect()
}
