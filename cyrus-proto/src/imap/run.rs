//! Jobs: the only code that knows IMAP and the store.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cyrus_store::search::{Collation, Comparison};
use cyrus_store::{ErrorClass, IndexRead, Level, MailboxError, MailboxName, ModSeq, utf7};

use super::command::{CommandBody, Numbering, SearchReturn, SelectParameters, Tag};
use super::enabled::Enabled;
use super::notify::Notify;
use super::response::{Code, FetchLine, Reply, Status};
use super::selected::{News, Selected, View};
use super::sequence::SequenceSet;
use super::session::{ImapService, User};
use crate::job::{Done, Job, Link, Progress, Work};
use crate::output::Output;

mod acl;
mod annotation;
mod append;
mod binary;
mod binary_parts;
mod body;
mod catenate;
mod copy;
mod explain;
mod fetch;
mod flags;
mod limit;
mod list;
mod login;
mod mailboxes;
mod metadata;
mod notify;
mod part_structure;
mod preview;
mod quota;
mod referral;
mod replace;
pub(super) mod search;
mod select;
mod threads;
mod unreadable;
mod urlauth;

use self::search::Asked;

pub(super) use self::append::{StagedMessage, staging};
pub(super) use self::login::{LoginTurn, Turned, authenticate, authenticate_step, login};
pub(super) use self::notify::{look, push, set as notify};

/// What a job needs of its session; the mailbox comes back with the outcome.
pub(super) struct Request {
    pub(super) service: Arc<ImapService>,
    pub(super) user: Arc<User>,
    pub(super) mailbox: Option<Box<Selected>>,
    /// The extensions that the client has switched on.
    pub(super) enabled: Enabled,
    /// The command's tag.
    pub(super) tag: Tag,
    /// The collation that COMPARATOR chose.
    pub(super) collation: Collation,
}

/// What a job brings back.
pub(super) enum Outcome {
    /// The tagged reply, and the mailbox that is selected now.
    Command {
        reply: Reply,
        mailbox: Option<Box<Selected>>,
    },
    /// A turn of a login.
    Login(Box<Turned>),
    /// A place for a literal, or why there is none.
    Staging {
        sink: Result<StagedMessage, Reply>,
        mailbox: Option<Box<Selected>>,
    },
    /// A look at the mailbox during IDLE; `gone` if it cannot go on.
    Idle {
        mailbox: Box<Selected>,
        gone: Option<Reply>,
    },
    /// NOTIFY is answered, or a look for it is done; `reply` is of the command, or the end of the session.
    Notify {
        reply: Option<Reply>,
        mailbox: Option<Box<Selected>>,
        notify: Option<Box<Notify>>,
    },
    /// The mailbox that was left is tidied up.
    Left,
}

/// The job of a command.
pub(super) fn job(request: Request, body: CommandBody, staged: Vec<io::Result<StagedMessage>>) -> Job {
    match body {
        CommandBody::Fetch {
            numbering,
            set,
            wanted,
            modifiers,
        } => fetch::job(request, numbering, &set, wanted, &modifiers),
        CommandBody::Search {
            numbering,
            returns,
            program,
        } => {
            // IMAP4rev2 has ESEARCH as its only answer (RFC 9051, section 7.3.3).
            let esearch = request.enabled.contains(Enabled::IMAP4REV2);
            let all = SearchReturn {
                all: true,
                ..SearchReturn::default()
            };
            let returns = returns.or_else(|| esearch.then_some(all));
            search::job(request, Asked::search(numbering, returns, program))
        }
        CommandBody::Sort {
            numbering,
            returns,
            criteria,
            program,
        } => search::job(request, Asked::sort(numbering, returns, criteria, program)),
        CommandBody::Thread {
            numbering,
            algorithm,
            program,
        } => search::job(request, Asked::thread(numbering, algorithm, program)),
        CommandBody::MultiSearch(search) => search::multi::job(request, search),
        CommandBody::UrlFetch(urls) => urlauth::fetch(request, urls),
        CommandBody::Select {
            mailbox,
            access,
            parameters:
                SelectParameters {
                    qresync: Some(known),
                    annotate,
                    ..
                },
        } => select::resync_job(request, mailbox, access, annotate, known),
        CommandBody::List(command) => list::job(request, command),
        CommandBody::Lsub { reference, pattern } | CommandBody::Rlsub { reference, pattern } => {
            list::lsub_job(request, reference, pattern)
        }
        CommandBody::GetMetadata(get) => metadata::get_job(request, get),
        CommandBody::GetAnnotation(get) => annotation::get_job(request, get),
        body => Job::once(move |output: &mut Output| {
            let mut request = request;
            let mut out = Vec::new();
            let tells_itself = tells_itself(&body);
            let reply = match run(&mut request, body, staged, &mut out) {
                Ok(reply) => reply,
                Err(error) => request.refusal(&error),
            };
            if !tells_itself {
                request.tell(&News::ALL, &mut out);
            }
            output.put_vec(out);
            request.finish(reply)
        }),
    }
}

/// Whether a command itself tells what is new in the selected mailbox, as far as it may, or changes which it is.
fn tells_itself(body: &CommandBody) -> bool {
    use CommandBody as C;
    matches!(
        body,
        C::Noop
            | C::Check
            | C::Select { .. }
            | C::Close
            | C::Unselect
            | C::Expunge
            | C::UidExpunge(_)
            | C::Store { .. }
            | C::StoreAnnotations { .. }
            | C::CancelUpdate(_)
            | C::Copy { .. }
            | C::Move { .. }
            | C::Append { .. }
            | C::Replace { .. }
            // Its new name is told first.
            | C::Rename { .. }
    )
}

fn run(
    request: &mut Request,
    body: CommandBody,
    staged: Vec<io::Result<StagedMessage>>,
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    use CommandBody as C;
    if let (C::Expunge | C::UidExpunge(_) | C::Move { .. }, Some(selected)) = (&body, &mut request.mailbox) {
        selected.view.want_counts();
    }
    // Those that work on the selected mailbox hear of it when they look at that.
    let is_about_messages = matches!(
        body,
        C::Store { .. }
            | C::Copy { .. }
            | C::Move { .. }
            | C::Expunge
            | C::UidExpunge(_)
            | C::Close
            | C::Unselect
    );
    if !is_about_messages && request.is_deleted_user()? {
        let text = format!("user {} has been deleted", request.user.name);
        return Ok(Reply::bye(text));
    }
    match body {
        C::Noop | C::Check => {
            match request.refresh(&News::ALL, out) {
                // Whoever may not read the mailbox any more has no news of it, and NOOP cannot fail.
                Ok(()) | Err(MailboxError::NotFound | MailboxError::PermissionDenied) => Ok(completed()),
                Err(error) => Err(error),
            }
        }
        C::Select {
            mailbox,
            access,
            parameters,
        } => select::select(request, &mailbox, access, parameters.annotate, out),
        C::Close => select::close(request),
        C::Unselect => select::unselect(request),
        C::Expunge => copy::expunge(request, None, out),
        C::UidExpunge(set) => copy::expunge(request, Some(&set), out),
        C::Store {
            numbering,
            set,
            unchanged_since,
            store,
        } => flags::store(request, numbering, &set, unchanged_since.map(ModSeq), store, out),
        C::CancelUpdate(tags) => search::context::cancel_update(request, &tags),
        C::StoreAnnotations {
            numbering,
            set,
            unchanged_since,
            changes,
        } => {
            let since = unchanged_since.map(ModSeq);
            flags::store_annotations(request, numbering, &set, since, &changes, out)
        }
        C::Copy {
            numbering,
            set,
            mailbox,
        } => copy::copy(request, numbering, &set, &mailbox, out),
        C::Move {
            numbering,
            set,
            mailbox,
        } => copy::move_messages(request, numbering, &set, &mailbox, out),
        C::Append { mailbox, messages } => match request.too_many_to_save(messages.len() as u64) {
            Some(refused) => Ok(refused),
            None => append::append(request, &mailbox, messages, staged, out),
        },
        C::Replace {
            numbering,
            message,
            mailbox,
            replacement,
        } => replace::replace(request, (numbering, message), &mailbox, *replacement, staged, out),
        C::Xwarmup { mailbox } => Ok(mailboxes::warm_up(request, &mailbox)),
        C::GenUrlAuth(urls) => urlauth::generate(request, &urls, out),
        C::ResetKey { mailbox, mechanisms } => urlauth::reset(request, mailbox.as_deref(), &mechanisms),
        C::Create {
            mailbox,
            partition,
            special_use,
        } => {
            let special_use = special_use.unwrap_or_default();
            mailboxes::create(request, &mailbox, partition.as_deref(), &special_use)
        }
        C::Delete { mailbox } => mailboxes::delete(request, &mailbox),
        C::Rename { from, to, partition } => {
            mailboxes::rename(request, &from, &to, partition.as_deref(), out)
        }
        C::Subscribe { mailbox } => mailboxes::subscribe(request, &mailbox),
        C::Unsubscribe { mailbox } => mailboxes::unsubscribe(request, &mailbox),
        C::Namespace => mailboxes::namespace(request, out),
        C::Status { mailbox, items } => mailboxes::status(request, &mailbox, items, out),
        C::SetAcl {
            mailbox,
            identifier,
            rights,
        } => acl::set(request, &mailbox, &identifier, &rights),
        C::DeleteAcl { mailbox, identifier } => acl::delete(request, &mailbox, &identifier),
        C::GetAcl { mailbox } => acl::get(request, &mailbox, out),
        C::ListRights { mailbox, identifier } => acl::list_rights(request, &mailbox, &identifier, out),
        C::MyRights { mailbox } => acl::my_rights(request, &mailbox, out),
        C::GetQuota { root } => quota::get(request, &root, out),
        C::GetQuotaRoot { mailbox } => quota::root_of(request, &mailbox, out),
        C::SetQuota { root, limits } => quota::set(request, &root, &limits, out),
        C::SetMetadata(set) => metadata::set(request, &set),
        C::SetAnnotation(set) => annotation::set(request, &set),
        // These make no job, or one of their own.
        C::Capability
        | C::Logout
        | C::Id(_)
        | C::StartTls
        | C::Authenticate { .. }
        | C::Login { .. }
        | C::Enable(_)
        | C::UidBatches(_)
        | C::Idle
        | C::List(_)
        | C::Lsub { .. }
        | C::Rlsub { .. }
        | C::GetMetadata(_)
        | C::GetAnnotation(_)
        | C::Compress { .. }
        | C::Unauthenticate
        | C::Language(_)
        | C::Notify(_)
        | C::Comparator(_)
        | C::Fetch { .. }
        | C::UrlFetch(_)
        | C::Search { .. }
        | C::Sort { .. }
        | C::Thread { .. }
        | C::MultiSearch(_) => Ok(completed()),
    }
}

/// A look at the mailbox during IDLE; from the first one on the session is woken by commits.
pub(super) fn idle(request: Request, link: Option<Link>) -> Job {
    Job::once(move |output: &mut Output| {
        let Request {
            service,
            user,
            mailbox,
            enabled,
            tag,
            collation,
        } = request;
        let Some(mut mailbox) = mailbox else {
            return Outcome::Command {
                reply: completed(),
                mailbox: None,
            };
        };
        if let Some(link) = link {
            mailbox.watch(move || link.wake());
        }
        let mut request = Request {
            service,
            user,
            mailbox: Some(mailbox),
            enabled,
            tag,
            collation,
        };
        let mut out = Vec::new();
        let refreshed = request.refresh(&News::ALL, &mut out);
        output.put_vec(out);
        let gone = refreshed.err().map(|error| Reply {
            status: Status::Bye,
            ..request.refusal(&error)
        });
        match request.mailbox {
            Some(mailbox) => Outcome::Idle { mailbox, gone },
            None => Outcome::Command {
                reply: completed(),
                mailbox: None,
            },
        }
    })
}

/// Tidies up a mailbox after the session.
pub(super) fn leave(mailbox: Box<Selected>) -> Job {
    Job::once(move |_: &mut Output| {
        // The client is gone; the next session that closes the mailbox tries again.
        let _ = mailbox.close();
        Outcome::Left
    })
}

impl Request {
    /// Whether the user is no more, or another one of his name: his INBOX is not the one that he had.
    fn is_deleted_user(&self) -> Result<bool, MailboxError> {
        let Some(id) = &self.user.inbox else {
            return Ok(false);
        };
        let inbox = self.service.options.namespace.inbox(&self.user.name);
        let found = self
            .service
            .store
            .lookup(&inbox.map_err(MailboxError::BadName)?)?;
        Ok(found.is_none_or(|entry| entry.id.as_ref() != Some(id)))
    }

    /// The mailbox that the client means by a name.
    fn name(&self, client: &[u8]) -> Result<MailboxName, MailboxError> {
        let text = std::str::from_utf8(client).map_err(|_| MailboxError::NotFound)?;
        let text = self.stored_form(text);
        self.service
            .options
            .namespace
            .to_internal(&text, Some(&self.user.name), self.user.is_admin())
            .map_err(|_| MailboxError::NotFound)
    }

    /// The mailbox that the client wants to create.
    fn new_name(&self, client: &[u8]) -> Result<MailboxName, MailboxError> {
        let text = String::from_utf8_lossy(client);
        let text = self.stored_form(&text);
        let deleted = &self.service.store.options().deleted_prefix;
        // Like Cyrus, take no offence at separators at the beginning or in a row.
        let separator = self.service.options.namespace.separator.as_char();
        let parts: Vec<&str> = text.split(separator).filter(|part| !part.is_empty()).collect();
        let text = parts.join(&separator.to_string());
        self.service
            .options
            .namespace
            .to_internal_new(&text, Some(&self.user.name), self.user.is_admin(), deleted)
            .map_err(MailboxError::BadName)
    }

    /// The name under which the client knows a mailbox.
    fn client_name(&self, name: &MailboxName) -> String {
        self.shown_form(&self.stored_client_name(name)).into_owned()
    }

    /// [`Request::client_name`] in modified UTF-7.
    fn stored_client_name(&self, name: &MailboxName) -> String {
        self.service
            .options
            .namespace
            .to_client(name, Some(&self.user.name), self.user.is_admin())
    }

    /// A name of [`Request::stored_client_name`] as the client wants to see it.
    fn shown_form<'t>(&self, name: &'t str) -> Cow<'t, str> {
        match self.enabled.utf8_names() {
            true => utf7::decode(name).map_or(Cow::Borrowed(name), Cow::Owned),
            false => Cow::Borrowed(name),
        }
    }

    /// A mailbox name, reference or pattern of the client's as names are stored: in modified UTF-7.
    pub(super) fn stored_form<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.enabled.utf8_names() {
            true => Cow::Owned(utf7::encode(text)),
            false => Cow::Borrowed(text),
        }
    }

    /// The selected mailbox's name as the client knows it.
    fn selected_name(&self) -> String {
        let selected = self.mailbox.as_ref();
        selected.map_or_else(String::new, |selected| self.client_name(selected.mailbox.name()))
    }

    /// Tells the client what changed in the selected mailbox, if one is selected.
    ///
    /// One that somebody deleted has no messages any more, and stays selected like that until the client leaves it: so does
    /// Cyrus. One that was renamed is followed to its new name (RFC 2180, section 3.4).
    fn refresh(&mut self, news: &News<'_>, out: &mut Vec<u8>) -> Result<(), MailboxError> {
        match (self.look(news, out), &mut self.mailbox) {
            (Err(MailboxError::Deleted), Some(selected)) if news.expunges => {
                selected.view.empty(self.enabled, out);
                Ok(())
            }
            (Ok(()), _) => self.tell_annotations(out),
            (done, _) => done,
        }
    }

    /// Tells which annotations changed of messages whose annotations the client watches: by name alone (RFC 5257, section
    /// 4.4).
    fn tell_annotations(&mut self, out: &mut Vec<u8>) -> Result<(), MailboxError> {
        let uid_only = self.enabled.contains(Enabled::UIDONLY);
        let Some(selected) = self.mailbox.as_deref_mut() else {
            return Ok(());
        };
        let Some((since, uids)) = selected
            .view
            .take_annotated()
            .filter(|(_, uids)| !uids.is_empty())
        else {
            return Ok(());
        };
        for (uid, entries) in selected.mailbox.annotations_changed(since, &uids)? {
            let Some(seqno) = selected.view.uids().seqno(uid) else {
                continue;
            };
            let mut line = match uid_only {
                true => FetchLine::begin_uid(out, uid.get()),
                false => FetchLine::begin(out, seqno),
            };
            line.uid(uid.get());
            line.annotation_names(entries.iter().map(String::as_str));
            line.end();
        }
        Ok(())
    }

    fn look(&mut self, news: &News<'_>, out: &mut Vec<u8>) -> Result<(), MailboxError> {
        let Some(selected) = &mut self.mailbox else {
            return Ok(());
        };
        let enabled = self.enabled;
        let Selected {
            mailbox,
            view,
            contexts,
            ..
        } = selected.as_mut();
        let mut tell = |read: &IndexRead<'_>, view: &mut View| {
            let before = (view.told(), view.uids().last());
            contexts.before_news(read, view, news, out);
            view.refresh(read, news, enabled, out)?;
            contexts.after_news(read, view, news, before, out);
            Ok(())
        };
        {
            let read = mailbox.read()?;
            if view.read_only || read.uids().last() <= view.uids().last() {
                return tell(&read, view);
            }
        }
        mailbox.claim_recent()?;
        let read = mailbox.read()?;
        tell(&read, view)
    }

    /// [`Request::refresh`] after a command that has done its work, whose reply stays what it is: a selected mailbox that is
    /// gone or damaged is the next command's news.
    fn tell(&mut self, news: &News<'_>, out: &mut Vec<u8>) {
        if let Err(error) = self.refresh(news, out) {
            // Logs what an administrator should know.
            let _ = self.refusal(&error);
        }
    }

    /// How texts are compared.
    fn comparison(&self) -> Comparison {
        Comparison {
            collation: self.collation,
            ..self.service.options.comparison
        }
    }

    fn selected(&mut self) -> Result<&mut Selected, MailboxError> {
        self.mailbox.as_deref_mut().ok_or(MailboxError::NotFound)
    }

    fn finish(self, reply: Reply) -> Outcome {
        Outcome::Command {
            reply,
            mailbox: self.mailbox,
        }
    }

    /// What the client is told of an error; what is not its own doing is logged.
    fn refusal(&self, error: &MailboxError) -> Reply {
        if let MailboxError::Remote { server, mailbox } = error {
            let url = referral::url(&self.user.name, server, &self.client_name(mailbox));
            return Reply::no("Remote mailbox.").with(Code::Referral(url));
        }
        refusal(&self.service, error)
    }
}

fn refusal(service: &ImapService, error: &MailboxError) -> Reply {
    match error.class() {
        ErrorClass::Impossible => {}
        ErrorClass::Damaged | ErrorClass::System => {
            service.log.record(Level::Error, format_args!("{error}"));
        }
    }
    match error {
        MailboxError::OverQuota { .. } => Reply::no("Over quota").with(Code::OverQuota),
        MailboxError::HasInferiors => {
            Reply::no("Mailbox has inferior hierarchical names").with(Code::HasChildren)
        }
        MailboxError::InvalidRights(rights) => Reply::bad(format!("The {rights} right is not supported")),
        // RFC 5257, section 4.1.
        MailboxError::AnnotationTooLong { .. } => {
            Reply::no("Annotation too long").with(Code::Annotate("TOOBIG"))
        }
        error @ MailboxError::TooManyAnnotations => {
            Reply::no(error.to_string()).with(Code::Annotate("TOOMANY"))
        }
        MailboxError::TooLarge { .. } => Reply::no("Message size exceeds fixed limit").with(Code::TooBig),
        MailboxError::Damaged { .. }
        | MailboxError::DamagedQuota { .. }
        | MailboxError::UnsupportedVersion { .. } => {
            Reply::no("Mailbox has an invalid format").with(Code::Unavailable)
        }
        error if error.class() != ErrorClass::Impossible => {
            Reply::no("System I/O error").with(Code::Unavailable)
        }
        MailboxError::BadName(error) => explain::bad_name(error),
        MailboxError::NotAMailbox | MailboxError::Deleted => Reply::no("Mailbox does not exist"),
        error => Reply::no(error.to_string()),
    }
}

/// Like [`Request::refusal`], for commands that a CREATE of `target` would help, if the user may.
fn try_create(request: &Request, target: &[u8], error: &MailboxError) -> Reply {
    let refusal = request.refusal(error);
    if !matches!(error, MailboxError::NotFound) {
        return refusal;
    }
    let store = &request.service.store;
    let name = request.name(target);
    match name.is_ok_and(|name| store.may_create(&name, &request.user.auth)) {
        true => refusal.with(Code::TryCreate),
        false => refusal,
    }
}

fn completed() -> Reply {
    Reply::ok("Completed")
}

/// `0.003`: how long something took, in seconds.
fn seconds(since: Instant) -> String {
    format!("{:.3}", since.elapsed().as_secs_f64())
}

/// Work in pieces that ends in a reply.
trait Pieces: Send + 'static {
    /// Does a piece; the reply when all is done.
    fn piece(&mut self, output: &mut Output, budget: usize) -> Result<Option<Reply>, MailboxError>;

    /// The request, to give its mailbox back; asked once.
    fn request(&mut self) -> Option<Request>;

    /// How messages were named, which decides whether EXPUNGE may follow.
    fn news(&self) -> News<'_>;

    /// How far it is, for a client that waits long.
    fn stage(&self) -> Option<Stage> {
        None
    }
}

/// How far a command is (RFC 9585).
struct Stage {
    tag: Tag,
    done: u32,
    goal: u32,
}

impl Stage {
    fn put(&self, output: &mut Output) {
        let Some(last) = self.goal.checked_sub(1) else {
            return;
        };
        let mut out = Vec::new();
        // What is done is less than all, or the command would be over.
        let code = Code::InProgress(self.tag.to_string(), self.done.min(last), self.goal);
        Reply::ok("Still on it").with(code).put_untagged(&mut out);
        output.put_vec(out);
    }
}

/// Work in pieces that says now and then how far it is (RFC 9585).
struct Chain<P> {
    work: P,
    /// When the client last heard of it.
    told: Instant,
}

/// How often a long command says that it is still at work: RFC 9585 has 10 to 15 seconds.
const PROGRESS: Duration = Duration::from_secs(10);

impl<P> Chain<P> {
    fn new(work: P) -> Self {
        Self {
            work,
            told: Instant::now(),
        }
    }
}

impl<P: Pieces> Work for Chain<P> {
    fn run(&mut self, output: &mut Output, budget: usize) -> Progress {
        let reply = match self.work.piece(output, budget) {
            Ok(None) => {
                if self.told.elapsed() >= PROGRESS {
                    self.told = Instant::now();
                    if let Some(stage) = self.work.stage() {
                        stage.put(output);
                    }
                }
                return Progress::More;
            }
            Ok(Some(reply)) => Ok(reply),
            Err(error) => Err(error),
        };
        let Some(mut request) = self.work.request() else {
            return Progress::Done(Done::aborted());
        };
        let reply = reply.unwrap_or_else(|error| request.refusal(&error));
        let mut out = Vec::new();
        request.tell(&self.work.news(), &mut out);
        output.put_vec(out);
        Progress::Done(Done::new(request.finish(reply)))
    }
}

/// The refusal of numbers that no message has; UIDs may be nobody's, and so may `$` (RFC 9051, section 6.4.4.1).
fn no_match(numbering: Numbering, set: &SequenceSet) -> Option<Reply> {
    let may_be_empty = numbering == Numbering::Uid || set.is_saved();
    (!may_be_empty).then(|| Reply::no("No matching messages"))
}
