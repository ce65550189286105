//! The state machine of one LMTP connection.
//!
//! ```text
//!            MAIL            RCPT (job)          DATA            lone dot         job done
//!   Ready ---------> Ready -------------> Ready ------> Message ----------> Busy ----------> Ready
//!     |  \                  + recipients
//!     |   \--AUTH (job)--> Answer --client's answer (job)--> ... --> Ready, authenticated
//!     QUIT, ten bad commands, timeout, shutdown --> Closing
//! ```

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::command::{self, Command, Mail, Rcpt};
use super::deliverer::{Deliverer, Envelope};
use super::intake::Intake;
use super::options::LmtpOptions;
use super::response::{self, Reply};
use super::trace::{self, Origin};
use crate::frame::{DataEvent, LineEvent, LineFramer};
use crate::job::{Done, Job, Link, Peer, SecurityLayer, Session, Step, TlsFacts};
use crate::output::Output;
use crate::sasl::{Attempt, Authenticator, ConnectionFacts, Exchange, Login, SaslError, Turn};

/// One LMTP connection.
pub struct LmtpSession<D: Deliverer> {
    shared: Arc<Shared<D>>,
    framer: LineFramer,
    output: Output,
    peer: Peer,
    facts: ConnectionFacts,
    state: State<D>,
    /// A line that was read ahead: it follows the RCPT commands that went into one job.
    ahead: Option<Vec<u8>>,
    /// What the peer called itself.
    lhlo: String,
    /// The name of the peer's address, once looked up.
    host_name: HostName,
    tls: Option<TlsFacts>,
    /// Who may deliver here: whoever authenticated, or `postman` where nobody must.
    user: Option<String>,
    /// The peer authenticated, on this connection.
    authenticated: bool,
    /// Whom the peer says to be, since it last began to authenticate.
    attempt: Attempt,
    transaction: Option<Transaction<D::Recipient>>,
    /// The next transaction's name.
    session_id: String,
    /// Negotiated by AUTH, and not yet handed to the driver.
    layer: Option<Box<dyn SecurityLayer>>,
    bad_commands: u32,
    failed_logins: u32,
    began: Option<Instant>,
    last_heard: Option<Instant>,
    shutting_down: bool,
}

struct Shared<D> {
    deliverer: D,
    authenticator: Option<Arc<dyn Authenticator>>,
    options: LmtpOptions,
}

/// What connections of one service have in common; makes their sessions.
pub struct LmtpService<D: Deliverer>(Arc<Shared<D>>);

enum State<D: Deliverer> {
    Ready,
    /// The client's answer to a challenge is awaited.
    Answer(Pending),
    /// A message streams in.
    Message(Box<Intake<D::Stage>>),
    /// A job runs.
    Busy,
    /// Everything was said.
    Closing,
}

enum Pending {
    Exchange(Box<dyn Exchange>),
    /// EXTERNAL where the peer needs no authentication.
    Postman,
}

struct Transaction<R> {
    envelope: Envelope,
    recipients: Vec<R>,
}

#[derive(Clone)]
enum HostName {
    Unknown,
    Asked(Option<String>),
}

/// What the jobs of this session return.
enum Outcome<R> {
    Resolved {
        results: Vec<Result<R, Reply>>,
        host_name: HostName,
    },
    Delivered(Vec<Reply>),
    Auth {
        turn: Result<Turn, SaslError>,
        host_name: HostName,
    },
}

impl<D: Deliverer> LmtpService<D> {
    /// A service that delivers through `deliverer`; without an authenticator nobody can authenticate.
    pub fn new(deliverer: D, authenticator: Option<Arc<dyn Authenticator>>, options: LmtpOptions) -> Self {
        Self(Arc::new(Shared {
            deliverer,
            authenticator,
            options,
        }))
    }

    /// The session of a new connection.
    pub fn session(&self) -> LmtpSession<D> {
        LmtpSession::new(Arc::clone(&self.0))
    }
}

impl<D: Deliverer> Clone for LmtpService<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D: Deliverer> LmtpSession<D> {
    /// Octets of a command line, or of a client's answer in AUTH (RFC 4954 wants 12,288).
    pub const MAX_LINE: usize = 16 * 1024;

    /// Recipients of one message (RFC 5321 wants 100 at least).
    pub const MAX_RECIPIENTS: usize = 10_000;

    /// RCPT commands looked up in one job.
    const MAX_BATCH: usize = 200;

    /// Commands in a row that make no sense; the session ends at the last of them.
    const MAX_BAD_COMMANDS: u32 = 10;

    /// Failed logins; the session ends at the last of them.
    const MAX_FAILED_LOGINS: u32 = 10;

    fn new(shared: Arc<Shared<D>>) -> Self {
        let session_id = shared.options.environment.session_id();
        Self {
            framer: LineFramer::new(Self::MAX_LINE),
            output: Output::new(),
            peer: Peer::Unix,
            facts: ConnectionFacts::default(),
            state: State::Ready,
            ahead: None,
            lhlo: String::new(),
            host_name: HostName::Unknown,
            tls: None,
            user: shared.options.preauthorised.then(|| POSTMAN.to_owned()),
            authenticated: false,
            attempt: Attempt::default(),
            transaction: None,
            session_id,
            layer: None,
            bad_commands: 0,
            failed_logins: 0,
            began: None,
            last_heard: None,
            shutting_down: false,
            shared,
        }
    }

    fn options(&self) -> &LmtpOptions {
        &self.shared.options
    }

    /// Goes on by one command, one answer, or as much of a message as is there; `None` when there may be more to do.
    fn proceed(&mut self) -> Option<Step> {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Ready if self.shutting_down => self.say_and_close(&response::SHUTTING_DOWN),
            State::Ready => match self.next_line() {
                LineEvent::NeedInput => return Some(Step::NeedInput),
                LineEvent::TooLong(_) => self.say(&response::SYNTAX),
                LineEvent::Line(line) => return self.command(&line),
            },
            State::Answer(pending) => match self.next_line() {
                LineEvent::NeedInput => {
                    self.state = State::Answer(pending);
                    return Some(Step::NeedInput);
                }
                LineEvent::TooLong(_) => self.say(&response::SYNTAX),
                LineEvent::Line(line) => return self.answer(pending, &line),
            },
            State::Message(mut intake) => {
                let options = &self.shared.options;
                match self.framer.next_data(&mut |piece| intake.take(piece, options)) {
                    DataEvent::NeedInput => {
                        self.state = State::Message(intake);
                        return Some(Step::NeedInput);
                    }
                    DataEvent::End => return self.deliver(*intake),
                }
            }
            // The driver does not step while a job runs; if one did, it would have to wait.
            State::Busy => {
                self.state = State::Busy;
                return Some(Step::NeedInput);
            }
            State::Closing => {
                self.state = State::Closing;
                return Some(Step::Close);
            }
        }
        None
    }

    fn next_line(&mut self) -> LineEvent {
        match self.ahead.take() {
            Some(line) => LineEvent::Line(line),
            None => self.framer.next(),
        }
    }

    /// Carries out one command; `None` when it is done with.
    fn command(&mut self, line: &[u8]) -> Option<Step> {
        let tolerated = match self.options().strict_addresses {
            true => Cow::Borrowed(line),
            false => command::tolerated(line),
        };
        let line = &*tolerated;
        // As in Cyrus, whoever may not deliver hears so before the details of the command are looked at.
        if command::is_mail(line)
            && let Some(reply) = self.mail_refusal()
        {
            self.say(&reply);
            return None;
        }
        if command::is_rcpt(line) {
            return self.recipients(line);
        }
        let command = match command::parse(line, self.options().max_message_size) {
            Ok(command) => command,
            Err(reply) => {
                self.say(&reply);
                return None;
            }
        };
        match command {
            Command::Lhlo(host) => self.hello(host),
            Command::Mail(mail) => self.mail(mail),
            // Taken care of above.
            Command::Rcpt(_) => self.say(&response::SYNTAX),
            Command::Data => self.data(),
            Command::Rset => {
                self.reset();
                self.session_id = self.options().environment.session_id();
                self.say(&response::RESET);
            }
            Command::Noop => self.say(&response::OK),
            Command::Vrfy => self.say(&response::VERIFY),
            Command::Quit => self.say_and_close(&response::BYE),
            Command::StartTls => return self.start_tls(),
            Command::Auth { mechanism, initial } => return self.auth(&mechanism, initial),
        }
        None
    }

    fn hello(&mut self, host: String) {
        // RFC 5321, section 4.1.4: it also resets.
        self.reset();
        self.lhlo = host;
        let options = self.options();
        let mut lines = vec![
            options.server_name.clone(),
            "8BITMIME".to_owned(),
            "ENHANCEDSTATUSCODES".to_owned(),
            "PIPELINING".to_owned(),
            match options.max_message_size {
                0 => "SIZE".to_owned(),
                limit => format!("SIZE {limit}"),
            },
        ];
        if options.starttls && !options.preauthorised && self.tls.is_none() {
            lines.push("STARTTLS".to_owned());
        }
        let mechanisms = self.mechanisms();
        if !mechanisms.is_empty() {
            lines.push(format!("AUTH {}", mechanisms.join(" ")));
        }
        lines.push("IGNOREQUOTA".to_owned());
        for line in lines {
            self.output.text("250-");
            self.output.line(&line);
        }
        let session_id = &self.session_id;
        self.output.line(&format!("250 Ok SESSIONID=<{session_id}>"));
        self.bad_commands = 0;
    }

    fn mechanisms(&self) -> Vec<String> {
        match &self.shared.authenticator {
            _ if self.authenticated => Vec::new(),
            _ if self.options().preauthorised => vec![EXTERNAL.to_owned()],
            Some(authenticator) => authenticator.mechanisms(&self.facts).to_vec(),
            None => Vec::new(),
        }
    }

    fn mail_refusal(&self) -> Option<Reply> {
        if self.user.is_none() {
            let soft = self.options().soft_noauth;
            return Some(if soft {
                response::SOFT_NO_AUTH
            } else {
                response::NO_AUTH
            });
        }
        self.transaction.is_some().then_some(response::NESTED_MAIL)
    }

    fn mail(&mut self, mail: Mail) {
        let envelope = Envelope {
            return_path: mail.return_path,
            user: self.user.clone().unwrap_or_default(),
            submitter: mail.submitter,
            announced_size: mail.size,
            session_id: self.session_id.clone(),
        };
        self.transaction = Some(Transaction {
            envelope,
            recipients: Vec::new(),
        });
        self.say(&response::SENDER_OK);
    }

    /// Looks up the recipients of this RCPT command and of those that came right behind it.
    fn recipients(&mut self, first: &[u8]) -> Option<Step> {
        let Some(transaction) = &self.transaction else {
            self.say(&response::NEED_MAIL);
            return None;
        };
        let room = Self::MAX_RECIPIENTS.saturating_sub(transaction.recipients.len());
        let envelope = transaction.envelope.clone();
        let mut batch = vec![self.recipient(first)];
        while batch.len() < Self::MAX_BATCH.min(room.max(1)) {
            match self.framer.next() {
                LineEvent::Line(line) if command::is_rcpt(&line) => batch.push(self.recipient(&line)),
                LineEvent::Line(line) => {
                    self.ahead = Some(line);
                    break;
                }
                LineEvent::TooLong(_) => {
                    // It stands for itself: a line that no command is.
                    self.ahead = Some(Vec::new());
                    break;
                }
                LineEvent::NeedInput => break,
            }
        }
        if room == 0 {
            batch = vec![Err(response::TOO_MANY_RECIPIENTS)];
        }
        let shared = Arc::clone(&self.shared);
        let (peer, host_name) = (self.peer.clone(), self.host_name.clone());
        self.state = State::Busy;
        Some(Step::Run(Job::once(move |_: &mut Output| {
            let host_name = host_name.ask(&peer, &shared.options);
            let results = batch
                .into_iter()
                .map(|rcpt| {
                    let Rcpt {
                        address,
                        ignore_quota,
                    } = rcpt?;
                    shared.deliverer.resolve(&envelope, &address, ignore_quota)
                })
                .collect();
            Outcome::Resolved { results, host_name }
        })))
    }

    fn recipient(&self, line: &[u8]) -> Result<Rcpt, Reply> {
        match command::parse(line, 0)? {
            Command::Rcpt(rcpt) => Ok(rcpt),
            _ => Err(response::SYNTAX),
        }
    }

    fn data(&mut self) {
        let Some(transaction) = &self.transaction else {
            return self.say(&response::NO_RECIPIENTS);
        };
        if transaction.recipients.is_empty() {
            return self.say(&response::NO_RECIPIENTS);
        }
        let staged = self
            .shared
            .deliverer
            .stage(&transaction.envelope, &transaction.recipients);
        let stage = match staged {
            Ok(stage) => stage,
            Err(reply) => return self.say(&reply),
        };
        let host_name = match &self.host_name {
            HostName::Asked(name) => name.as_deref(),
            HostName::Unknown => None,
        };
        let origin = Origin {
            lhlo: &self.lhlo,
            peer: &self.peer,
            host_name,
            tls: self.tls.as_ref(),
        };
        let fields = trace::fields(&transaction.envelope, &origin, self.options());
        let intake = Intake::new(stage, self.options(), &fields);
        self.state = State::Message(Box::new(intake));
        self.say(&response::GO_AHEAD);
    }

    /// The message is complete.
    fn deliver(&mut self, intake: Intake<D::Stage>) -> Option<Step> {
        let Transaction { envelope, recipients } = self.transaction.take()?;
        let message = match intake.finish(self.options()) {
            Ok(message) => message,
            Err(reply) => {
                // RFC 2033: one reply for each recipient, whatever happens.
                for _ in &recipients {
                    reply.encode(&mut self.output, &envelope.session_id);
                }
                return None;
            }
        };
        let shared = Arc::clone(&self.shared);
        self.state = State::Busy;
        Some(Step::Run(Job::once(move |_: &mut Output| {
            let expected = recipients.len();
            let mut replies = shared.deliverer.deliver(&envelope, message, recipients);
            replies.resize(expected, Reply::try_later());
            Outcome::<D::Recipient>::Delivered(replies)
        })))
    }

    fn start_tls(&mut self) -> Option<Step> {
        if self.tls.is_some() {
            self.say(&response::TLS_TWICE);
        } else if !self.options().starttls || self.options().preauthorised {
            self.say(&response::SYNTAX);
        } else {
            self.say(&response::BEGIN_TLS);
            self.forget_input();
            return Some(Step::StartTls);
        }
        None
    }

    fn auth(&mut self, mechanism: &str, initial: Option<Vec<u8>>) -> Option<Step> {
        if self.authenticated {
            self.say(&response::ALREADY_AUTHENTICATED);
            return None;
        }
        let offered = self.mechanisms();
        if !offered.iter().any(|known| known.eq_ignore_ascii_case(mechanism)) {
            self.say(&response::UNKNOWN_MECHANISM);
            return None;
        }
        self.attempt = Attempt::new(mechanism);
        // RFC 4954, section 4: "=" is an initial response that is there and empty.
        let initial = match initial.as_deref().map(decode) {
            None => None,
            Some(Ok(initial)) => Some(initial),
            Some(Err(reply)) => {
                self.login_failed(&reply, &not_base64());
                return None;
            }
        };
        if let Some(initial) = &initial {
            self.attempt.hear(initial);
        }
        if self.options().preauthorised {
            match initial {
                None => self.challenge(b"", Pending::Postman),
                Some(identity) => self.postman(&identity),
            }
            return None;
        }
        let Some(authenticator) = self.shared.authenticator.clone() else {
            self.say(&response::UNKNOWN_MECHANISM);
            return None;
        };
        let (facts, mechanism) = (self.facts.clone(), mechanism.to_owned());
        Some(self.run_auth(move || authenticator.start(&facts, &mechanism, initial.as_deref())))
    }

    fn answer(&mut self, pending: Pending, line: &[u8]) -> Option<Step> {
        if line == b"*" {
            let canceled = SaslError::BadProtocol("the client canceled".to_owned());
            self.login_failed(&response::CANCELED, &canceled);
            return None;
        }
        let response = match decode(line) {
            Ok(response) => response,
            Err(reply) => {
                self.login_failed(&reply, &not_base64());
                return None;
            }
        };
        self.attempt.hear(&response);
        match pending {
            Pending::Exchange(exchange) => Some(self.run_auth(move || exchange.step(&response))),
            Pending::Postman => {
                self.postman(&response);
                None
            }
        }
    }

    fn run_auth(&mut self, work: impl FnOnce() -> Result<Turn, SaslError> + Send + 'static) -> Step {
        self.state = State::Busy;
        let shared = Arc::clone(&self.shared);
        let (peer, host_name) = (self.peer.clone(), self.host_name.clone());
        Step::Run(Job::once(move |_: &mut Output| Outcome::<D::Recipient>::Auth {
            turn: work(),
            host_name: host_name.ask(&peer, &shared.options),
        }))
    }

    fn challenge(&mut self, data: &[u8], pending: Pending) {
        self.output.line(&format!("334 {}", STANDARD.encode(data)));
        self.state = State::Answer(pending);
    }

    /// EXTERNAL, where the way in says who the peer is.
    fn postman(&mut self, identity: &[u8]) {
        if identity.is_empty() || identity == POSTMAN.as_bytes() {
            self.authenticated = true;
            self.say(&response::AUTHENTICATED);
        } else {
            let error = SaslError::NotAuthorized("there is only the postman here".to_owned());
            self.login_failed(&Reply::new(501, "5.5.4 authorization failure"), &error);
        }
    }

    fn auth_turned(&mut self, turn: Result<Turn, SaslError>) {
        match turn {
            Ok(Turn::Challenge { data, exchange }) => self.challenge(&data, Pending::Exchange(exchange)),
            Ok(Turn::Done(login)) => self.logged_in(login),
            Err(error @ SaslError::NoMechanism(_)) => {
                self.login_failed(&response::UNKNOWN_MECHANISM, &error);
            }
            // RFC 4954, section 6
            Err(error) if error.is_temporary() => {
                self.login_failed(&Reply::new(454, format!("4.7.0 {}", error.text())), &error);
            }
            Err(error) => self.login_failed(&Reply::new(501, format!("5.5.4 {}", error.text())), &error),
        }
    }

    fn logged_in(&mut self, login: Login) {
        if !self.shared.deliverer.may_submit(&login.user) {
            let error = SaslError::NotAuthorized(format!("{} is not among admins", login.user));
            return self.login_failed(&Reply::new(501, "5.5.4 authorization failure"), &error);
        }
        let tls = if self.tls.is_some() { "+TLS" } else { "" };
        self.note(&format!(
            "login: {} {} {}{tls} User logged in",
            self.log_name(),
            login.user,
            login.mechanism
        ));
        self.user = Some(login.user);
        self.authenticated = true;
        self.failed_logins = 0;
        self.say(&response::AUTHENTICATED);
        if let Some(layer) = login.layer {
            self.forget_input();
            self.layer = Some(layer);
        }
    }

    fn login_failed(&mut self, reply: &Reply, error: &SaslError) {
        self.note(&format!(
            "badlogin: {} {} [{error}]",
            self.log_name(),
            self.attempt
        ));
        reply.encode(&mut self.output, &self.session_id);
        self.failed_logins += 1;
        if self.failed_logins >= Self::MAX_FAILED_LOGINS {
            self.say_and_close(&response::TOO_MANY_BAD);
        }
    }

    fn note(&self, line: &str) {
        self.options().environment.note(line);
    }

    /// The peer as the log names it: `host [address]`, as far as the host is known.
    fn log_name(&self) -> String {
        match &self.host_name {
            HostName::Asked(Some(name)) => format!("{name} {}", self.peer.log_name()),
            HostName::Asked(None) | HostName::Unknown => self.peer.log_name(),
        }
    }

    /// Sends a reply to a command, and counts those that made no sense.
    fn say(&mut self, reply: &Reply) {
        reply.encode(&mut self.output, &self.session_id);
        if !matches!(reply.code(), 500..=502) {
            self.bad_commands = 0;
            return;
        }
        self.bad_commands += 1;
        if self.bad_commands >= Self::MAX_BAD_COMMANDS {
            self.say_and_close(&response::TOO_MANY_BAD);
        }
    }

    fn say_and_close(&mut self, reply: &Reply) {
        reply.encode(&mut self.output, &self.session_id);
        self.state = State::Closing;
    }

    fn reset(&mut self) {
        self.transaction = None;
    }

    fn forget_input(&mut self) {
        self.framer.clear();
        self.ahead = None;
    }
}

impl<D: Deliverer> Session for LmtpSession<D> {
    fn begin(&mut self, link: &Link, now: Instant) {
        self.last_heard = Some(now);
        self.began = Some(now);
        self.peer = link.peer().clone();
        let mut facts = ConnectionFacts::new("lmtp", &self.peer);
        facts.allow_plaintext = self.options().allow_plaintext;
        if let Some(tls) = &self.tls {
            facts.secured(tls);
        }
        self.facts = facts;
        let options = self.options();
        let version = match &options.version {
            Some(version) => format!(" Cyrus LMTP {version}"),
            None => String::new(),
        };
        let greeting = format!("220 {}{version} server ready", options.server_name);
        self.output.line(&greeting);
    }

    fn feed(&mut self, input: &[u8], now: Instant) {
        self.last_heard = Some(now);
        self.framer.push(input);
    }

    fn step(&mut self, _now: Instant) -> Step {
        if let Some(layer) = self.layer.take() {
            return Step::Secure(layer);
        }
        loop {
            if let Some(step) = self.proceed() {
                return step;
            }
        }
    }

    fn done(&mut self, done: Done, now: Instant) {
        self.last_heard = Some(now);
        self.state = State::Ready;
        match done.take::<Outcome<D::Recipient>>() {
            Some(Outcome::Resolved { results, host_name }) => self.resolved(results, host_name),
            Some(Outcome::Delivered(replies)) => {
                for reply in replies {
                    reply.encode(&mut self.output, &self.session_id);
                }
            }
            Some(Outcome::Auth { turn, host_name }) => {
                self.host_name = host_name;
                self.auth_turned(turn);
            }
            None => self.say_and_close(&Reply::try_later()),
        }
    }

    fn tick(&mut self, now: Instant) {
        let idle = self.deadline().is_some_and(|deadline| deadline <= now);
        if idle && !matches!(self.state, State::Busy | State::Closing) {
            self.say_and_close(&response::TIMED_OUT);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if matches!(self.state, State::Busy | State::Closing) {
            return None;
        }
        let after = |since: Option<Instant>, allowance| since?.checked_add(allowance);
        let silence = after(self.last_heard, self.options().timeout);
        let strangers = match self.user {
            None => after(self.began, self.options().login_timeout),
            Some(_) => None,
        };
        [silence, strangers].into_iter().flatten().min()
    }

    fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    fn secured(&mut self, tls: &TlsFacts) {
        self.forget_input();
        self.reset();
        self.lhlo.clear();
        // Whatever was said in clear does not count (RFC 3207, section 4.2).
        self.user = self.options().preauthorised.then(|| POSTMAN.to_owned());
        self.authenticated = false;
        self.facts.secured(tls);
        self.tls = Some(tls.clone());
    }

    fn shut_down(&mut self, _now: Instant) {
        self.shutting_down = true;
        if matches!(self.state, State::Answer(_)) {
            self.state = State::Ready;
        }
    }

    fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

impl<D: Deliverer> LmtpSession<D> {
    /// The recipients of one batch, in the order of the commands.
    fn resolved(&mut self, results: Vec<Result<D::Recipient, Reply>>, host_name: HostName) {
        self.host_name = host_name;
        for result in results {
            if matches!(self.state, State::Closing) {
                break;
            }
            match result {
                Ok(recipient) => {
                    if let Some(transaction) = &mut self.transaction {
                        transaction.recipients.push(recipient);
                    }
                    self.say(&response::RECIPIENT_OK);
                }
                Err(reply) => self.say(&reply),
            }
        }
    }
}

impl HostName {
    /// The name, looked up if that was not done yet. May block.
    fn ask(self, peer: &Peer, options: &LmtpOptions) -> Self {
        match (self, peer) {
            (Self::Unknown, Peer::Tcp { remote, .. }) => {
                Self::Asked(options.environment.host_name(remote.ip().to_canonical()))
            }
            (known, _) => known,
        }
    }
}

fn not_base64() -> SaslError {
    SaslError::BadProtocol("what the client sent is not base64".to_owned())
}

/// Base64 of AUTH; `=` stands for nothing.
fn decode(text: &[u8]) -> Result<Vec<u8>, Reply> {
    if text == b"=" {
        return Ok(Vec::new());
    }
    STANDARD
        .decode(text)
        .map_err(|_| Reply::new(501, "5.5.4 invalid base64 data"))
}

/// Who delivers where nobody must authenticate.
const POSTMAN: &str = "postman";

const EXTERNAL: &str = "EXTERNAL";
