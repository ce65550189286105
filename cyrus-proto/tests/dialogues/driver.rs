//! Runs `C:`/`S:` scripts against sessions in memory, over a real store in a temporary directory.
//!
//! A script is lines of:
//!
//! ```text
//! # a comment
//! @ conf allowplaintext: no        an option, before the first line of dialogue
//! @ mailbox user/fred              a mailbox that an administrator makes first
//! @ index                          squatter brings all indexes up to date; anywhere
//! C: a1 NOOP                       the client sends this and CRLF
//! S: a1 OK Completed               the server answers exactly this; <*> stands for anything
//! S: * OK [UIDVALIDITY <*v>] Ok    so does <*v>; later lines have that for <*v>
//! S: ...                           any untagged lines
//! C2: ... S2: ...                  a second connection; any number of them
//! ```
//!
//! All that a server says after a `C` line must be in the `S` lines that follow, in order; where it has said all, an `S` line
//! waits for what it says unasked. The scripts need nothing but a network client to be run at another server.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use cyrus_acl::AuthState;
use cyrus_proto::imap::command::Limit;
use cyrus_proto::imap::{EightBitHeaders, ImapOptions, ImapService, ImapSession};
use cyrus_proto::job::{Link, Peer, Session, Step};
use cyrus_proto::output::Output;
use cyrus_proto::sasl::PasswordCheck;
use cyrus_store::log::NoLog;
use cyrus_store::search::index::Indexing;
use cyrus_store::{Store, StoreOptions};

/// A service over a store of its own.
pub(crate) struct Server {
    pub(crate) service: Arc<ImapService>,
    _directory: tempfile::TempDir,
}

impl Server {
    /// A store in a fresh directory, with these lines of imapd.conf; users have the password `pass`.
    pub(crate) fn new(conf: &[(String, String)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut options = ImapOptions::new("localhost");
        options.allowplaintext = true;
        options.admins = vec!["admin".to_owned()];
        options.version = "test".to_owned();
        let mut store = StoreOptions::new(directory.path().join("conf"))
            .partition("default", directory.path().join("spool"));
        for (name, value) in conf {
            let on = matches!(value.as_str(), "yes" | "1" | "on" | "t");
            match name.as_str() {
                "allowplaintext" => options.allowplaintext = on,
                "allowanonymouslogin" => options.allowanonymouslogin = on,
                "allowstarttls" => options.starttls = on,
                "literalminus" => options.literalminus = on,
                "reject8bit" => options.eight_bit_headers = EightBitHeaders::Reject,
                "messagelimit" => options.message_limit = value.parse().expect("a number"),
                "savelimit" => options.save_limit = Some(value.parse().expect("a number")),
                "maxmessagesize" => options.maxmessagesize = value.parse().expect("a number"),
                "submitservers" => options.submitservers = value.split(' ').map(str::to_owned).collect(),
                "jmap_preview_annot" => options.preview_annotation = Some(value.clone()),
                "suppress_capabilities" => {
                    options.suppress_capabilities = value.split(' ').map(str::to_owned).collect();
                }
                "utf8_only" => options.utf8_only = on,
                "imap_max_updated_searches" => {
                    options.max_updated_searches = value.parse().expect("a number");
                }
                "maxword" | "maxquoted" | "imap_max_sequence_ranges" | "imap_max_search_keys" => {
                    let limit = match name.as_str() {
                        "maxword" => Limit::Word,
                        "maxquoted" => Limit::Quoted,
                        "imap_max_sequence_ranges" => Limit::SequenceRanges,
                        _ => Limit::SearchKeys,
                    };
                    options
                        .command_limits
                        .set(limit, value.parse().expect("a number"));
                }
                "altnamespace" => options.namespace.altnamespace = on,
                "unixhierarchysep" => {
                    options.namespace.separator = match on {
                        true => cyrus_store::Separator::Slash,
                        false => cyrus_store::Separator::Dot,
                    };
                    store.unixhierarchysep = on;
                }
                "expunge_mode" => {
                    store.expunge_mode = match value.as_str() {
                        "immediate" => cyrus_store::options::ExpungeMode::Immediate,
                        "semidelayed" => cyrus_store::options::ExpungeMode::SemiDelayed,
                        _ => cyrus_store::options::ExpungeMode::Delayed,
                    };
                }
                "search_engine" => store.search.engine = value != "none",
                "search_fuzzy_always" => options.search_fuzzy_always = on,
                "search_index_least" => options.search_index_least = value.parse().expect("a number"),
                "max_notify_mailboxes" => options.max_notify_mailboxes = value.parse().expect("a number"),
                "annotation_enable_legacy_commands" => options.annotation_legacy_commands = on,
                "specialusealways" => options.specialusealways = on,
                "specialuse_extra" => store.specialuse_extra = value.split(' ').map(str::to_owned).collect(),
                "specialuse_nochildren" => {
                    store.specialuse_nochildren = value.split(' ').map(str::to_owned).collect();
                }
                "annotation_allow_undefined" => store.annotations.allow_undefined = on,
                "allowallsubscribe" => store.allowallsubscribe = on,
                "partition-other" => store = store.partition("other", directory.path().join("other")),
                name => panic!("the driver does not know the option {name}"),
            }
        }
        let store = Store::open(store).expect("a store can be opened in an empty directory");
        let authenticator = Arc::new(PasswordCheck::new(|_user: &str, password: &[u8]| {
            password == b"pass"
        }));
        let service = Arc::new(ImapService {
            store,
            options,
            authenticator,
            log: Arc::new(NoLog),
        });
        Self {
            service,
            _directory: directory,
        }
    }

    /// The service as another process has it: a store of its own in the same directories, which shares nothing in memory.
    fn of_another_process(&self) -> Arc<ImapService> {
        let options = self.service.store.options().clone();
        Arc::new(ImapService {
            store: Store::open(options).expect("the store can be opened again"),
            options: self.service.options.clone(),
            authenticator: self.service.authenticator.clone(),
            log: Arc::new(NoLog),
        })
    }

    /// Brings the indexes of all mailboxes up to date, as another process does.
    fn index(&self) {
        let store = Store::open(self.service.store.options().clone()).expect("the store can be opened again");
        let admin = AuthState::system();
        let mut names = Vec::new();
        store
            .list("", &admin, &mut |entry, _| {
                names.push(entry.name);
                ControlFlow::Continue(())
            })
            .expect("mailboxes can be listed");
        let how = Indexing {
            anew: false,
            compact: false,
            wait: true,
        };
        for name in names {
            let Ok(mut mailbox) = store.open_mailbox(&name, &admin) else {
                continue;
            };
            store
                .index_mailbox(&mut mailbox, how)
                .expect("a mailbox can be indexed");
        }
    }

    /// Makes a mailbox, as an administrator.
    pub(crate) fn create(&self, client_name: &str) {
        let admin = AuthState::system();
        let namespace = &self.service.options.namespace;
        let name = namespace
            .to_internal(client_name, None, true)
            .expect("a mailbox name");
        self.service
            .store
            .create(&name, &admin)
            .expect("the mailbox can be made");
    }
}

/// A connection, with a clock of its own.
pub(crate) struct Client {
    pub(crate) session: ImapSession,
    now: Instant,
    /// Whether the server closed the connection.
    pub(crate) closed: bool,
    /// Whether the server asked for a TLS handshake.
    pub(crate) wants_tls: bool,
    /// Whether there is news for the session.
    woken: Arc<Bell>,
}

#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().expect("nobody panics while holding it") = true;
        self.changed.notify_all();
    }

    /// Waits until it rings; whether it did in time.
    fn heard(&self, patience: Duration) -> bool {
        let rung = self.rung.lock().expect("nobody panics while holding it");
        let (mut rung, _) = self
            .changed
            .wait_timeout_while(rung, patience, |rung| !*rung)
            .expect("nobody panics while holding it");
        std::mem::take(&mut *rung)
    }
}

impl Client {
    pub(crate) fn connect(server: &Server) -> Self {
        Self::connect_to(server.service.clone())
    }

    fn connect_to(service: Arc<ImapService>) -> Self {
        let now = Instant::now();
        let mut session = ImapSession::new(service);
        let woken = Arc::<Bell>::default();
        let bell = woken.clone();
        session.begin(&Link::new(Peer::Unix, Arc::new(move || bell.ring())), now);
        Self {
            session,
            now,
            closed: false,
            wants_tls: false,
            woken,
        }
    }

    /// Sends octets; what the server says to them.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> String {
        self.session.feed(bytes, self.now);
        self.run();
        self.output()
    }

    /// Sends a line; what the server says to it.
    pub(crate) fn line(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes())
    }

    /// The client's clock.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Lets the session go on as far as it can without waiting.
    pub(crate) fn run_now(&mut self) {
        while let Step::Run(job) = self.session.step(self.now) {
            self.work(job);
        }
    }

    /// Runs a job of the session.
    pub(crate) fn work(&mut self, job: cyrus_proto::job::Job) {
        let mut output = Output::new();
        let done = job.run_to_end(&mut output);
        self.session.output().append(output);
        self.session.done(done, self.now);
    }

    /// Lets the session go on as far as it can; replies held back for seconds come at once.
    pub(crate) fn run(&mut self) {
        loop {
            match self.session.step(self.now) {
                Step::NeedInput => match self.session.deadline() {
                    Some(deadline) if deadline <= self.now + Duration::from_secs(10) => {
                        self.now = self.now.max(deadline);
                        self.session.tick(self.now);
                    }
                    _ => return,
                },
                Step::Run(job) => self.work(job),
                Step::StartTls => {
                    self.wants_tls = true;
                    return;
                }
                Step::Secure(_) => panic!("no mechanism here has a layer"),
                // Compression is the connection's; a client in memory talks on.
                Step::Compress(early) => self.session.feed(&early, self.now),
                Step::Bare => {}
                Step::Close => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    /// The clock goes on.
    pub(crate) fn wait(&mut self, time: Duration) -> String {
        self.now += time;
        if self
            .session
            .deadline()
            .is_some_and(|deadline| deadline <= self.now)
        {
            self.session.tick(self.now);
        }
        self.run();
        self.output()
    }

    /// Another connection committed something.
    pub(crate) fn hint(&mut self) -> String {
        self.session.hint(self.now);
        self.run();
        self.output()
    }

    /// What the server says unasked, once it does; nothing if it does not for long.
    pub(crate) fn news(&mut self) -> String {
        let patience = Duration::from_secs(10);
        while self.woken.heard(patience) {
            let said = self.hint();
            if !said.is_empty() {
                return said;
            }
        }
        String::new()
    }

    /// What the server said and nobody took yet.
    pub(crate) fn output(&mut self) -> String {
        String::from_utf8_lossy(&self.octets()).into_owned()
    }

    /// The octets of that.
    pub(crate) fn octets(&mut self) -> Vec<u8> {
        let output = self.session.output();
        let octets = output.to_vec().expect("message files can be read");
        output.clear();
        octets
    }
}

/// The server that a script asks for.
fn server_of(script: &str, more: &[(&str, &str)]) -> Server {
    let setting = |line: &str, kind: &str| {
        let rest = line.strip_prefix("@ ")?.strip_prefix(kind)?.trim();
        Some(rest.to_owned())
    };
    let more = more
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let conf: Vec<(String, String)> = script
        .lines()
        .filter_map(|line| setting(line, "conf "))
        .filter_map(|line| {
            line.split_once(':')
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        })
        .chain(more)
        .collect();
    let server = Server::new(&conf);
    for mailbox in script.lines().filter_map(|line| setting(line, "mailbox ")) {
        server.create(&mailbox);
    }
    server
}

#[allow(dead_code, reason = "not every test that runs dialogues reads them as octets")]
/// What the server says in a script to each of its connections, whatever it should say.
pub(crate) fn transcripts(script: &str) -> Vec<Vec<u8>> {
    let server = server_of(script, &[]);
    let mut clients: BTreeMap<&str, (Client, Vec<u8>)> = BTreeMap::new();
    for line in script.lines().filter(|line| line.starts_with('C')) {
        let Some((who, text)) = line.split_once(':') else {
            continue;
        };
        let (client, said) = clients
            .entry(who)
            .or_insert_with(|| (Client::connect(&server), Vec::new()));
        said.extend(client.octets());
        if !client.closed {
            client
                .session
                .feed(text.strip_prefix(' ').unwrap_or(text).as_bytes(), client.now);
            client.session.feed(b"\r\n", client.now);
            client.run();
            said.extend(client.octets());
        }
    }
    clients.into_values().map(|(_, said)| said).collect()
}

/// Runs a script; panics with the line where the server says something else.
pub(crate) fn run(name: &str, script: &str) {
    run_in(name, script, Processes::One);
}

/// Whose memory the sessions of a script share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Processes {
    /// Each other's.
    One,
    /// Nobody's: each connection is in a process of its own.
    #[allow(
        dead_code,
        reason = "not every test that runs dialogues does so in many processes"
    )]
    Many,
    /// Each other's, and there is an index of all that they look into.
    #[allow(dead_code, reason = "not every test that runs dialogues is about searches")]
    Indexed,
}

/// [`run`], with the sessions in one process or in many.
pub(crate) fn run_in(name: &str, script: &str, processes: Processes) {
    let more: &[(&str, &str)] = match processes {
        Processes::One | Processes::Many => &[],
        Processes::Indexed => &[("search_engine", "xapian"), ("search_index_least", "0")],
    };
    let server = server_of(script, more);
    let mut clients: BTreeMap<String, (Client, String)> = BTreeMap::new();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for (number, line) in (1..).zip(script.lines()) {
        if line == "@ index" {
            server.index();
        }
        if line.is_empty() || line.starts_with(['#', '@']) {
            continue;
        }
        let (who, text) = line
            .split_once(':')
            .unwrap_or_else(|| panic!("{name}:{number}: not a script line"));
        let text = text.strip_prefix(' ').unwrap_or(text);
        let mut text = text.to_owned();
        for (name, value) in &names {
            text = text.replace(name, value);
        }
        let text = text.as_str();
        let (side, client) = who.split_at(1);
        let (client, said) = clients.entry(client.to_owned()).or_insert_with(|| {
            let mut client = match processes {
                Processes::One | Processes::Indexed => Client::connect(&server),
                Processes::Many => Client::connect_to(server.of_another_process()),
            };
            let greeting = client.output();
            assert!(greeting.starts_with("* OK [CAPABILITY "), "{greeting}");
            (client, String::new())
        });
        if side == "C" {
            assert!(
                said.is_empty(),
                "{name}:{number}: before this the server also said:\n{said}"
            );
            if processes == Processes::Indexed
                && ["SEARCH", "SORT", "THREAD"]
                    .iter()
                    .any(|verb| text.contains(verb))
            {
                server.index();
            }
            *said = client.line(text);
            continue;
        }
        if said.is_empty() {
            *said = client.news();
        }
        if text == "..." {
            while let Some((_, rest)) = said.split_once("\r\n").filter(|(line, _)| line.starts_with("* ")) {
                *said = rest.to_owned();
            }
            continue;
        }
        let (first, rest) = said.split_once("\r\n").unwrap_or((said.as_str(), ""));
        if let Some(start) = text.find("<*").filter(|&start| !text[start..].starts_with("<*>")) {
            // Names what stands here; what follows it is as it is written.
            let (before, from) = text.split_at(start);
            let (variable, after) = from.split_at(from.find('>').expect("a name ends") + 1);
            let value = first
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(after));
            let value =
                value.unwrap_or_else(|| panic!("{name}:{number}: the server said {first} for {text}"));
            names.insert(variable.to_owned(), value.to_owned());
            *said = rest.to_owned();
            continue;
        }
        assert!(
            matches(text, first),
            "{name}:{number}: the server said\n  {first}\nfor\n  {text}"
        );
        *said = rest.to_owned();
    }
    for (client, (_, said)) in &clients {
        assert!(
            said.is_empty(),
            "{name}: at the end the server also said to {client}:\n{said}"
        );
    }
}

/// Whether a line is as the pattern says; `<*>` stands for anything.
fn matches(pattern: &str, line: &str) -> bool {
    let mut pieces = pattern.split("<*>");
    let Some(mut rest) = pieces.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut open = false;
    for piece in pieces {
        open = piece.is_empty();
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    open || rest.is_empty()
}
