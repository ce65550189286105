//! APPEND (RFC 3501, section 6.3.11; RFC 3502; RFC 4315).

use std::borrow::Cow;
use std::io::{self, Write};

use cyrus_store::{Level, MailboxError, NewMessage, StagingFile};

use super::{Outcome, Request, completed, try_create};
use crate::frame::Sink;
use crate::imap::command::{AppendContent, AppendMessage};
use crate::imap::intake::Intake;
use crate::imap::response::{Code, Reply, uid_set};
use crate::imap::selected::News;
use crate::job::Job;
use crate::output::Output;

/// A literal on its way to a staging file.
pub(in crate::imap) struct StagedMessage {
    file: StagingFile,
    intake: Intake,
}

impl Sink for StagedMessage {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let kept = self.intake.take(bytes);
        match self.intake.is_sound() {
            true => self.file.write_all(&kept),
            false => Ok(()),
        }
    }
}

/// Makes a place for a large message to `target`, if it could be appended there.
pub(in crate::imap) fn staging(request: Request, target: Vec<u8>, size: u64) -> Job {
    Job::once(move |_: &mut Output| {
        let sink = stage(&request, &target, size).map_err(|error| try_create(&request, &error));
        Outcome::Staging {
            sink,
            mailbox: request.mailbox,
        }
    })
}

fn stage(request: &Request, target: &[u8], size: u64) -> Result<StagedMessage, MailboxError> {
    let name = request.name(target)?;
    let store = &request.service.store;
    let mut mailbox = store.open_mailbox(&name, &request.user.auth)?;
    mailbox.check_append(size, 1)?;
    Ok(StagedMessage {
        file: store.stage(&name)?,
        intake: Intake::new(request.service.options.eight_bit_headers),
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
        Ok(reply) => reply,
        Err(error) => try_create(request, &error),
    };
    request.tell(&News::ALL, out);
    Ok(reply)
}

fn add(
    request: &Request,
    target: &[u8],
    messages: Vec<AppendMessage>,
    staged: Vec<io::Result<StagedMessage>>,
) -> Result<Reply, MailboxError> {
    let mut staged = staged.into_iter();
    let name = request.name(target)?;
    let mut mailbox = request.service.store.open_mailbox(&name, &request.user.auth)?;
    let mut new = Vec::with_capacity(messages.len());
    for message in messages {
        let mut add = match message.content {
            AppendContent::Memory(bytes) if bytes.is_empty() => {
                return Ok(Reply::no("Zero-length message literal"));
            }
            AppendContent::Memory(bytes) => {
                let mut intake = Intake::new(request.service.options.eight_bit_headers);
                let munged = match intake.take(&bytes) {
                    Cow::Borrowed(_) => None,
                    Cow::Owned(munged) => Some(munged),
                };
                if let Err(fault) = intake.finish() {
                    return Ok(Reply::no(fault.text()));
                }
                NewMessage::from_bytes(munged.unwrap_or(bytes))
            }
            // Staged literals come in the order of their messages.
            AppendContent::Staged(_) => match staged.next() {
                Some(Ok(message)) => match message.intake.finish() {
                    Ok(()) => NewMessage::from_staged(message.file.finish()?),
                    Err(fault) => return Ok(Reply::no(fault.text())),
                },
                Some(Err(error)) => return Ok(lost(request, &error)),
                None => return Ok(lost(request, &io::Error::other("staged literal is missing"))),
            },
        };
        if let Some(flags) = message.flags {
            add = add.flags(flags);
        }
        if let Some(unix) = message.internal_date {
            add = add.internal_date(unix);
        }
        new.push(add);
    }
    let appended = mailbox.append(new)?;
    let uids = uid_set(appended.uids.iter().map(|uid| uid.get()));
    Ok(completed().with(Code::AppendUid(appended.uidvalidity.0, uids)))
}

/// A literal could not be kept.
fn lost(request: &Request, error: &io::Error) -> Reply {
    let log = &request.service.log;
    log.record(Level::Error, format_args!("staging a message of APPEND: {error}"));
    Reply::no("System I/O error").with(Code::Unavailable)
}
