//! APPEND (RFC 3501, section 6.3.11; RFC 3502; RFC 4315).

use std::io::{self, Write};

use cyrus_acl::Rights;
use cyrus_store::{Level, Mailbox, MailboxError, MailboxName, StagingFile};

use super::catenate::Maker;
use super::{Outcome, Request, annotation, completed, explain, try_create};
use crate::frame::Sink;
use crate::imap::command::AppendMessage;
use crate::imap::intake::Intake;
use crate::imap::response::{Code, Reply, uid_set};
use crate::imap::selected::News;
use crate::job::Job;
use crate::output::Output;

/// A literal on its way to a staging file.
pub(in crate::imap) struct StagedMessage {
    pub(super) file: StagingFile,
    /// What checks a whole message; `None` for octets that are yet to become one.
    pub(super) intake: Option<Intake>,
}

impl Sink for StagedMessage {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(intake) = &mut self.intake else {
            return self.file.write_all(bytes);
        };
        let kept = intake.take(bytes);
        match intake.is_sound() {
            true => self.file.write_all(&kept),
            false => Ok(()),
        }
    }
}

/// Why a message was not added: in the words for the client, or as the store has it.
pub(super) enum Refused {
    Reply(Reply),
    Error(MailboxError),
}

impl From<MailboxError> for Refused {
    fn from(error: MailboxError) -> Self {
        Self::Error(error)
    }
}

impl From<Reply> for Refused {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl Refused {
    pub(super) fn reply(self, request: &Request) -> Reply {
        match self {
            Self::Reply(reply) => reply,
            Self::Error(error) => try_create(request, &error),
        }
    }
}

/// Makes a place for a large literal to `target`, if it could be appended there: for a whole message, or for what becomes
/// one later.
pub(in crate::imap) fn staging(request: Request, target: Vec<u8>, size: u64, whole: bool) -> Job {
    Job::once(move |_: &mut Output| {
        let sink = stage(&request, &target, size, whole).map_err(|error| try_create(&request, &error));
        Outcome::Staging {
            sink,
            mailbox: request.mailbox,
        }
    })
}

fn stage(request: &Request, target: &[u8], size: u64, whole: bool) -> Result<StagedMessage, MailboxError> {
    let name = request.name(target)?;
    let store = &request.service.store;
    let mut mailbox = store.open_mailbox(&name, &request.user.auth)?;
    mailbox.check_append(size, 1)?;
    Ok(StagedMessage {
        file: store.stage(&name)?,
        intake: whole.then(|| Intake::new(request.service.options.eight_bit_headers)),
    })
}

pub(super) fn append(
    request: &mut Request,
    target: &[u8],
    messages: Vec<AppendMessage>,
    staged: Vec<io::Result<StagedMessage>>,
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    let reply = match add(request, target, messages, staged) {
        Ok(added) => match added.code {
            Some(code) => completed().with(code),
            None => completed(),
        },
        Err(refused) => refused.reply(request),
    };
    request.tell(&News::ALL, out);
    Ok(reply)
}

/// Messages that were added.
pub(super) struct Added {
    pub(super) mailbox: Mailbox,
    pub(super) uids: Vec<cyrus_store::Uid>,
    /// APPENDUID, for those who may see the mailbox (RFC 9051, section 6.3.12).
    pub(super) code: Option<Code>,
}

/// Adds messages to `target`, all or none.
pub(super) fn add(
    request: &Request,
    target: &[u8],
    messages: Vec<AppendMessage>,
    staged: Vec<io::Result<StagedMessage>>,
) -> Result<Added, Refused> {
    let name = request.name(target)?;
    let mut mailbox = match request.service.store.open_mailbox(&name, &request.user.auth) {
        Err(error @ MailboxError::NotFound) => {
            return Err(explain::missing_inbox(request, &name).map_or(error.into(), Refused::Reply));
        }
        mailbox => mailbox?,
    };
    let new = make(request, &name, messages, staged)?;
    let appended = mailbox.append(new)?;
    let uids = uid_set(appended.uids.iter().map(|uid| uid.get()));
    let visible = mailbox.rights().contains(Rights::READ);
    Ok(Added {
        mailbox,
        uids: appended.uids,
        code: visible.then_some(Code::AppendUid(appended.uidvalidity.0, uids)),
    })
}

/// Makes messages of what the client sent.
fn make(
    request: &Request,
    target: &MailboxName,
    messages: Vec<AppendMessage>,
    staged: Vec<io::Result<StagedMessage>>,
) -> Result<Vec<cyrus_store::NewMessage>, Refused> {
    let mut maker = Maker::new(request, target, staged);
    let mut new = Vec::with_capacity(messages.len());
    for message in messages {
        let mut add = maker.message(message.content)?;
        if let Some(flags) = message.flags {
            add = add.flags(flags);
        }
        if let Some(unix) = message.internal_date {
            add = add.internal_date(unix);
        }
        if !message.annotations.is_empty() {
            add = add.annotations(annotation::updates(&message.annotations)?);
        }
        new.push(add);
    }
    Ok(new)
}

/// A literal could not be kept.
pub(super) fn lost(request: &Request, error: &io::Error) -> Reply {
    let log = &request.service.log;
    log.record(Level::Error, format_args!("staging a message of APPEND: {error}"));
    Reply::no("System I/O error").with(Code::Unavailable)
}
