//! The IMAP session: a state machine that takes bytes and gives replies and jobs (RFC 3501, section 3).

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use cyrus_acl::AuthState;
use cyrus_store::search::Collation;
use cyrus_store::{Log, MailboxId, QuotaRoot, Store};

use self::capability::Situation;
use super::command::lex::Tokens;
use super::command::{self, CommandBody, Needs, Refusal, Tag, Verb};
use super::enabled::Enabled;
use super::metrics::Metered;
use super::notify::Notify;
use super::options::ImapOptions;
use super::response::{Code, Reply, put_capability};
use super::run::{self, Request, StagedMessage};
use super::selected::Selected;
use crate::frame::{Command as Frame, Event, Framer, Limits, Reason, Refused};
use crate::job::{Link, Peer, SecurityLayer, Step, TlsFacts};
use crate::output::Output;
use crate::sasl::{Attempt, Authenticator, ConnectionFacts, Exchange};
use crate::surroundings::Seat;

pub(crate) mod capability;
mod comparator;
mod compress;
mod driven;
mod enable;
mod id;
mod idle;
mod language;
mod literal;
mod login;
mod notify;
mod unauthenticate;
mod watchman;

/// What all sessions of an IMAP service share.
pub struct ImapService {
    /// The mailboxes.
    pub store: Store,
    /// The settings.
    pub options: ImapOptions,
    /// Who verifies logins.
    pub authenticator: Arc<dyn Authenticator>,
    /// Where logins and trouble are noted.
    pub log: Arc<dyn Log>,
}

/// Who is logged in.
#[derive(Debug)]
pub struct User {
    /// The userid, canonical.
    pub name: String,
    /// The userid with its groups and powers.
    pub auth: AuthState,
    /// The session's id, for the log.
    pub(crate) session_id: String,
    /// Where the user's INBOX is, if another server has it (RFC 2221).
    pub(crate) referral: Option<String>,
    /// The INBOX that the user had when he logged in. Without it he is no more, and his session ends.
    pub(crate) inbox: Option<MailboxId>,
    /// What holds a place for the user.
    pub(crate) seat: Option<Mutex<Seat>>,
    /// The quota root that the user was last warned of, and when.
    pub(crate) warned: Mutex<Option<(QuotaRoot, Instant)>>,
}

impl User {
    /// Whether the user administers the server.
    pub fn is_admin(&self) -> bool {
        self.auth.is_admin()
    }
}

/// One IMAP connection.
///
/// ```text
///   begin: greeting
///     |
///     v
///   NotAuthenticated --AUTHENTICATE--> Authenticating (client's responses, one a line)
///     |  ^                               |        |
///     |  '------- NO, BAD ---------------'        |
///     | LOGIN                                     | OK
///     v                                           v
///   Authenticated <-------------------------------'
///     |      ^   \------IDLE------> Idle (without mailbox) --DONE--> back
///  SELECT  CLOSE, UNSELECT, failed SELECT
///     v      |
///   Selected ----IDLE----> Idle (hints make refresh jobs) --DONE--> back
///
///   any --LOGOUT, BYE--> Logout: Step::Close
/// ```
///
/// A command that needs the disk becomes a job, which takes the selected mailbox along and brings it back; while it runs,
/// `work` says what it was, and nothing else is looked at.
pub struct ImapSession {
    service: Arc<ImapService>,
    framer: Framer<StagedMessage>,
    output: Output,
    link: Option<Link>,
    /// How the log names the client, once somebody has looked its name up.
    peer_name: Option<Box<str>>,
    tls: Option<Box<TlsFacts>>,
    state: State,
    /// The extensions that the client has switched on.
    enabled: Enabled,
    /// The collation that COMPARATOR chose (RFC 5255).
    collation: Collation,
    work: Option<Work>,
    /// What to do once the session is stepped again.
    next: Option<Next>,
    /// A reply that waits for its time: a refused login.
    held: Option<Held>,
    /// A command whose time is taken.
    timed: Option<Box<watchman::Timed>>,
    metered: Option<Metered>,
    /// Malformed commands in a row.
    bad_commands: u32,
    /// When the client last said something.
    active: Instant,
    /// Since when nobody is logged in.
    stranger_since: Instant,
    hinted: bool,
    /// COMPRESS was obeyed.
    compressed: bool,
    /// NOTIFY was used.
    notify: Option<Box<Notify>>,
    /// The last thing done was a look that nobody asked for: the client's turn.
    looked: bool,
    stopping: bool,
    peer_gone: bool,
    /// Octets fed while a reply is held back.
    fed_ahead: usize,
    /// A mailbox that was selected when the session ended, and has something to tidy up.
    left: Option<Box<Selected>>,
}

enum State {
    NotAuthenticated,
    Authenticating {
        tag: Tag,
        /// Whom the client says to be.
        attempt: Attempt,
        exchange: Box<dyn Exchange>,
    },
    Authenticated {
        user: Arc<User>,
    },
    Selected {
        user: Arc<User>,
        mailbox: Box<Selected>,
    },
    Idle {
        user: Arc<User>,
        mailbox: Option<Box<Selected>>,
        tag: Tag,
        /// When to look at the mailbox without being told to.
        poll: Instant,
    },
    Logout,
}

/// The job in flight.
enum Work {
    /// A command, to be answered with this tag.
    Command { tag: Tag, verb: Verb },
    /// A turn of LOGIN or AUTHENTICATE.
    Login { tag: Tag, attempt: Attempt, plain: bool },
    /// A place for a literal that is too large for memory.
    Staging { tag: Tag },
    /// A look at the mailbox during IDLE.
    Idle,
    /// NOTIFY, to be answered with this tag, or a look for it.
    Notify { tag: Option<Tag> },
    /// A FETCH that NOTIFY asked for.
    Push,
    /// The last thing: tidying up a mailbox that is left.
    Leave,
}

enum Next {
    StartTls,
    Secure(Box<dyn SecurityLayer>),
    Compress,
    Bare,
}

struct Held {
    until: Instant,
    reply: Vec<u8>,
}

/// Octets that a client may send ahead while its reply is held back.
const MAX_HELD_INPUT: usize = 64 * 1024;

/// Octets of a command, literals and all, before the login: the largest Kerberos tickets in use, in base64.
const LOGIN_COMMAND: usize = 64 * 1024;

impl ImapSession {
    /// A session of `service` that has not begun.
    pub fn new(service: Arc<ImapService>) -> Self {
        Self {
            framer: Framer::new(strangers_limits(service.options.limits)),
            service,
            output: Output::new(),
            link: None,
            peer_name: None,
            tls: None,
            state: State::NotAuthenticated,
            enabled: Enabled::NONE,
            collation: Collation::default(),
            work: None,
            next: None,
            held: None,
            timed: None,
            metered: None,
            bad_commands: 0,
            active: Instant::now(),
            stranger_since: Instant::now(),
            hinted: false,
            compressed: false,
            notify: None,
            looked: false,
            stopping: false,
            peer_gone: false,
            fed_ahead: 0,
            left: None,
        }
    }

    fn options(&self) -> &ImapOptions {
        &self.service.options
    }

    fn current_user(&self) -> Option<&Arc<User>> {
        match &self.state {
            State::Authenticated { user } | State::Selected { user, .. } | State::Idle { user, .. } => {
                Some(user)
            }
            State::NotAuthenticated | State::Authenticating { .. } | State::Logout => None,
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut text = Vec::new();
        write(&mut text);
        self.output.put(&text);
    }

    fn reply(&mut self, tag: &Tag, reply: &Reply) {
        self.write(|out| reply.put_tagged(out, tag));
    }

    fn bye(&mut self, reply: &Reply) {
        self.write(|out| reply.put_untagged(out));
        self.leave();
    }

    /// The session is over.
    fn leave(&mut self) {
        let mailbox = match std::mem::replace(&mut self.state, State::Logout) {
            State::Selected { mailbox, .. } => Some(mailbox),
            State::Idle { mailbox, .. } => mailbox,
            State::NotAuthenticated
            | State::Authenticating { .. }
            | State::Authenticated { .. }
            | State::Logout => None,
        };
        self.left = self.left.take().or(mailbox.filter(|mailbox| mailbox.is_untidy()));
    }

    /// Nothing more can be done with what was fed.
    fn starve(&mut self) -> Option<Step> {
        self.looked = false;
        if !self.peer_gone {
            return Some(Step::NeedInput);
        }
        self.leave();
        None
    }

    /// Whether TLS protects the connection.
    fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether anything protects the connection: passwords may be sent.
    fn is_protected(&self) -> bool {
        self.is_secure() || self.options().external_strength > 1
    }

    fn facts(&self) -> ConnectionFacts {
        let options = self.options();
        let mut facts = match &self.link {
            Some(link) => ConnectionFacts::new("imap", link.peer()),
            None => ConnectionFacts::new("imap", &crate::job::Peer::Unix),
        };
        if let Some(tls) = &self.tls {
            facts.secured(tls);
        }
        facts.external_strength = facts.external_strength.max(options.external_strength);
        facts.allow_plaintext = options.allowplaintext;
        facts.allow_anonymous = options.allowanonymouslogin;
        facts
    }

    fn capabilities(&self, list: impl Fn(&ImapOptions, Situation<'_>) -> String) -> String {
        let mechanisms = self.service.authenticator.mechanisms(&self.facts());
        let situation = Situation {
            logged_in: self.current_user().is_some(),
            admin: self.current_user().is_some_and(|user| user.is_admin()),
            compressed: self.compressed,
            conversations: self.service.store.options().conversations,
            secure: self.is_secure(),
            protected: self.is_protected(),
            mechanisms: &mechanisms,
        };
        list(self.options(), situation)
    }

    fn log_name(&self) -> String {
        match (&self.peer_name, &self.link) {
            (Some(name), _) => name.to_string(),
            (None, Some(link)) => link.peer().log_name(),
            (None, None) => String::new(),
        }
    }

    fn peer(&self) -> Peer {
        self.link.as_ref().map_or(Peer::Unix, |link| link.peer().clone())
    }

    /// What is wrong with a command that the grammar allows: it breaks a limit of the administrator's, asks of conversations
    /// where there are none, or has strings that are not UTF-8 where they must be (RFC 6855, section 3).
    fn flaw(&self, tokens: &Tokens, body: Option<&CommandBody>) -> Option<Reply> {
        if self.enabled.utf8_names() && !tokens.is_utf8 {
            return Some(Reply::bad("Quoted strings must be UTF-8"));
        }
        let limits = &self.options().command_limits;
        if let Err(broken) = limits.check_tokens(tokens) {
            return Some(Reply::bad(broken.text()).with(Code::TooBig));
        }
        let body = body?;
        if !self.service.store.options().conversations
            && let Some(text) = body.names_conversations()
        {
            return Some(Reply::bad(text));
        }
        let broken = limits.check_body(body).err()?;
        Some(Reply::bad(broken.text()).with(Code::Limit))
    }

    /// One malformed command; some in a row end a session without a login: a program that speaks something else.
    fn refuse(&mut self, refusal: &Refusal) {
        let reply = Reply::bad(refusal.text.clone());
        self.refuse_with(refusal.tag.as_ref(), &reply);
    }

    fn refuse_with(&mut self, tag: Option<&Tag>, reply: &Reply) {
        self.write(|out| match tag {
            Some(tag) => reply.put_tagged(out, tag),
            None => reply.put_untagged(out),
        });
        self.bad_commands = self.bad_commands.saturating_add(1);
        if self.bad_commands >= self.options().max_bad_commands && self.current_user().is_none() {
            self.bye(&Reply::bye("Too many bad commands"));
        }
    }

    fn refuse_tagged(&mut self, tag: &Tag, text: &'static str) {
        self.refuse_text(tag, text);
    }

    fn refuse_text(&mut self, tag: &Tag, text: impl Into<Cow<'static, str>>) {
        self.refuse(&Refusal {
            tag: Some(tag.clone()),
            at: 0,
            text: text.into(),
        });
    }

    /// A command that broke a limit of the framer.
    fn refuse_size(&mut self, refused: &Refused) {
        let tag = command::head(&refused.start).ok().map(|head| head.tag);
        let reply = match refused.reason {
            Reason::LiteralSize => Reply::bad("Literal size not a number"),
            Reason::LineTooLong | Reason::CommandTooLong | Reason::TooManyLiterals => {
                Reply::bad(refused.reason.text()).with(Code::TooBig)
            }
        };
        self.refuse_with(tag.as_ref(), &reply);
    }

    /// A complete command: answered here, or made a job.
    fn command(&mut self, frame: Frame<StagedMessage>, now: Instant) -> Option<Step> {
        let head = match command::head(&frame.text) {
            Ok(head) => head,
            Err(refusal) => {
                self.refuse(&refusal);
                return None;
            }
        };
        let name = head.verb.map_or("", Verb::name);
        self.metered = Some(Metered::begin(head.verb, now));
        self.command_begins(&head.tag, name.as_bytes(), now);
        let needs = head.verb.map_or(Needs::Authenticated, Verb::needs);
        if needs >= Needs::Authenticated && self.current_user().is_none() {
            self.refuse_tagged(&head.tag, "Please login first");
            return None;
        }
        if needs == Needs::Selected && !matches!(self.state, State::Selected { .. }) {
            self.refuse_tagged(&head.tag, "Please select a mailbox first");
            return None;
        }
        if head.verb == Some(Verb::StartTls) && !self.options().starttls
            || head.verb == Some(Verb::Idle) && self.options().idle_poll.is_zero()
        {
            self.refuse_tagged(&head.tag, "Unrecognized command");
            return None;
        }
        let tokens = Tokens::of(&frame.text, &|at| frame.staged_at(at).is_some());
        let body = command::arguments(&head, &|at| frame.staged_at(at));
        let tag = head.tag;
        if let Some(reply) = self.flaw(&tokens, body.as_ref().ok()) {
            self.refuse_with(Some(&tag), &reply);
            return None;
        }
        let body = match body {
            Ok(body) => body,
            Err(refusal) => {
                self.refuse(&refusal);
                return None;
            }
        };
        self.bad_commands = 0;
        let staged = frame.staged.into_iter().map(|staged| staged.sink).collect();
        self.execute(tag, body, staged, now)
    }

    fn execute(
        &mut self,
        tag: Tag,
        body: CommandBody,
        staged: Vec<io::Result<StagedMessage>>,
        now: Instant,
    ) -> Option<Step> {
        let completed = Reply::ok("Completed");
        let only_utf8 = self.options().utf8_only && !self.enabled.contains(Enabled::UTF8_ACCEPT);
        if only_utf8 && body.verb().needs_utf8() {
            // RFC 6855, section 6.
            let text = "ENABLE UTF8=ACCEPT first: this server speaks UTF-8 only";
            self.reply(&tag, &Reply::no(text).with(Code::Cannot));
            return None;
        }
        if let Some(reply) = self.enabled.refusal(&body) {
            self.reply(&tag, &reply);
            return None;
        }
        if self.is_forbidden(body.verb()) {
            let text = "This connection is configured for read-only access";
            self.reply(&tag, &Reply::no(text));
            return None;
        }
        self.imply(&body);
        match body {
            CommandBody::UidBatches(batches) => {
                self.uid_batches(&tag, &batches);
                None
            }
            CommandBody::Enable(names) => {
                self.enable(&tag, &names);
                None
            }
            CommandBody::Capability => {
                let list = self.capabilities(capability::full);
                self.write(|out| put_capability(out, &list));
                self.reply(&tag, &completed);
                None
            }
            CommandBody::Noop if self.is_quiet() => {
                self.reply(&tag, &completed);
                None
            }
            CommandBody::Logout => {
                self.write(|out| {
                    Reply::bye("LOGOUT received").put_untagged(out);
                    completed.put_tagged(out, &tag);
                });
                self.leave();
                None
            }
            CommandBody::Id(fields) => {
                self.id(&tag, &fields);
                None
            }
            CommandBody::StartTls => {
                self.start_tls(&tag);
                None
            }
            CommandBody::Login { user, password } => self.login(tag, user, password, now),
            CommandBody::Authenticate { mechanism, initial } => {
                self.authenticate(tag, mechanism, initial.as_deref(), now)
            }
            CommandBody::Idle => self.idle(tag, now),
            CommandBody::Compress { algorithm } => {
                self.compress(&tag, &algorithm);
                None
            }
            CommandBody::Unauthenticate => {
                self.unauthenticate(&tag);
                None
            }
            CommandBody::Notify(set) => self.set_notify(tag, set, now),
            CommandBody::Language(ranges) => {
                self.speak(&tag, &ranges);
                None
            }
            CommandBody::Comparator(wanted) => {
                self.comparator(&tag, &wanted);
                None
            }
            CommandBody::Unselect if !self.is_untidy() => {
                self.deselect();
                self.look_soon();
                self.reply(&tag, &completed);
                None
            }
            body => self.run(tag, body, staged),
        }
    }

    /// Makes a job of a command.
    fn run(&mut self, tag: Tag, body: CommandBody, staged: Vec<io::Result<StagedMessage>>) -> Option<Step> {
        let verb = body.verb();
        self.note_own(&body);
        let (user, mailbox) = match std::mem::replace(&mut self.state, State::Logout) {
            State::Selected { user, mailbox } => (user, Some(mailbox)),
            State::Authenticated { user } => (user, None),
            other => {
                self.state = other;
                return None;
            }
        };
        self.state = State::Authenticated { user: user.clone() };
        self.work = Some(Work::Command {
            tag: tag.clone(),
            verb,
        });
        // A command tells of the selected mailbox; with NOTIFY there is more to look at.
        self.hinted &= self.notify.is_some();
        let request = Request {
            service: self.service.clone(),
            user,
            mailbox,
            enabled: self.enabled,
            tag,
            collation: self.collation,
        };
        Some(Step::Run(run::job(request, body, staged)))
    }

    /// Whether there is nothing to tell, as far as can be said without a job.
    fn is_quiet(&self) -> bool {
        match &self.state {
            State::Selected { mailbox, .. } => self.notify.is_none() && mailbox.is_quiet(),
            _ => true,
        }
    }

    /// Whether the selected mailbox needs a job when it is left.
    fn is_untidy(&self) -> bool {
        matches!(&self.state, State::Selected { mailbox, .. } if mailbox.is_untidy())
    }

    fn deselect(&mut self) {
        if let State::Selected { user, .. } = &self.state {
            self.state = State::Authenticated { user: user.clone() };
        }
    }

    fn select(&mut self, mailbox: Option<Box<Selected>>) {
        if let (State::Authenticated { user }, Some(mailbox)) = (&self.state, mailbox) {
            let user = user.clone();
            self.state = State::Selected { user, mailbox };
        }
    }

    /// RFC 3501, section 6.2.1.
    fn start_tls(&mut self, tag: &Tag) {
        if self.current_user().is_some() {
            self.refuse_tagged(tag, "Can't Starttls after authentication");
        } else if self.is_secure() {
            self.reply(tag, &Reply::no("TLS already active"));
        } else {
            self.reply(tag, &Reply::ok("Begin TLS negotiation now"));
            self.next = Some(Next::StartTls);
        }
    }

    /// Takes what was fed, one command or line at a time, until a job is due or input is wanted.
    fn advance(&mut self, now: Instant) -> Step {
        loop {
            if let Some(next) = self.next.take() {
                return match next {
                    Next::StartTls => Step::StartTls,
                    Next::Secure(layer) => {
                        // What was sent in clear after the login is not the client's.
                        self.framer.clear();
                        Step::Secure(layer)
                    }
                    Next::Compress => Step::Compress(self.framer.take_pending()),
                    Next::Bare => Step::Bare,
                };
            }
            if let Some(mailbox) = self.left.take() {
                self.work = Some(Work::Leave);
                return Step::Run(run::leave(mailbox));
            }
            if let Some(why) = self.sent_away() {
                self.bye(&Reply::bye(why.to_string()).with(Code::Alert));
                continue;
            }
            if let Some(step) = self.unasked(now) {
                return step;
            }
            let step = match &self.state {
                State::Logout => return Step::Close,
                State::Authenticating { .. } => match self.framer.next_line() {
                    None => self.starve(),
                    Some(Ok(line)) => self.authenticate_line(&line, now),
                    Some(Err(_)) => self.authenticate_line(b"*", now),
                },
                State::Idle { .. } => {
                    if self.hinted
                        && !self.is_clients_turn()
                        && let Some(step) = self.look_while_idle(now)
                    {
                        return step;
                    }
                    match self.framer.next_line() {
                        None if self.stopping => {
                            self.bye(&Reply::bye("Server is shutting down"));
                            None
                        }
                        None => self.starve(),
                        Some(line) => self.idle_line(&line.unwrap_or_default()),
                    }
                }
                State::NotAuthenticated | State::Authenticated { .. } | State::Selected { .. } => {
                    if self.stopping {
                        self.bye(&Reply::bye("Server is shutting down"));
                        continue;
                    }
                    match self.framer.next() {
                        Event::NeedInput => self.starve(),
                        Event::Literal(announced) => self.literal(announced),
                        Event::Command(frame) => self.command(frame, now),
                        Event::Refused(refused) => {
                            self.refuse_size(&refused);
                            None
                        }
                    }
                }
            };
            if let Some(step) = step {
                return step;
            }
            if self.held.is_some() {
                return Step::NeedInput;
            }
        }
    }

    /// When the client must have said something; or have logged in, whatever it says.
    fn autologout(&self) -> Option<Instant> {
        let allowance = match &self.state {
            State::NotAuthenticated | State::Authenticating { .. } => {
                return self.stranger_since.checked_add(ImapOptions::LOGIN_TIMEOUT);
            }
            State::Authenticated { .. } | State::Selected { .. } => self.options().autologout(),
            State::Idle { .. } => self.options().idle_autologout(),
            State::Logout => return None,
        };
        self.active.checked_add(allowance)
    }
}

/// What of a command is kept of somebody who has not logged in.
fn strangers_limits(limits: Limits) -> Limits {
    Limits {
        line: limits.line.min(LOGIN_COMMAND),
        command: limits.command.min(LOGIN_COMMAND),
        ..limits
    }
}
