//! COPY, MOVE and EXPUNGE (RFC 3501, sections 6.4.3 and 6.4.7; RFC 4315; RFC 6851).

use std::sync::Arc;

use cyrus_acl::Rights;
use cyrus_store::{Copied, CopyMode, Expunge, MailboxError};

use super::limit::note_limit;
use super::{Request, completed, no_match, try_create};
use crate::imap::command::Numbering;
use crate::imap::enabled::Enabled;
use crate::imap::response::{Code, Reply};
use crate::imap::selected::News;
use crate::imap::sequence::SequenceSet;

pub(super) fn copy(
    request: &mut Request,
    numbering: Numbering,
    set: &SequenceSet,
    target: &[u8],
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    let reply = match transfer(request, numbering, set, target, CopyMode::Copy) {
        Ok(Transfer::Nothing) => return Ok(no_match(numbering, set).unwrap_or_else(completed)),
        Ok(Transfer::Gone) => gone(),
        Ok(Transfer::Refused(refused)) => refused,
        Ok(Transfer::Done(copied)) => match copied.code {
            Some(code) => completed().with(code),
            None => completed(),
        },
        Err(error) => try_create(request, &error),
    };
    request.tell(&News::ALL, out);
    Ok(reply)
}

pub(super) fn move_messages(
    request: &mut Request,
    numbering: Numbering,
    set: &SequenceSet,
    target: &[u8],
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    if request.selected()?.view.read_only {
        return Err(MailboxError::PermissionDenied);
    }
    let reply = match transfer(request, numbering, set, target, CopyMode::Move) {
        Ok(Transfer::Nothing) => return Ok(no_match(numbering, set).unwrap_or_else(completed)),
        Ok(Transfer::Gone) => gone(),
        Ok(Transfer::Refused(refused)) => refused,
        Ok(Transfer::Done(moved)) if moved.is_empty => completed(),
        Ok(Transfer::Done(Done { code, limit, .. })) => {
            // Untagged and before the EXPUNGEs (RFC 6851, section 4.3).
            if let Some(code) = code {
                completed().with(code).put_untagged(out);
            }
            request.tell(&News::ALL, out);
            // As after EXPUNGE (RFC 6851, section 4.4; RFC 7162, section 3.2.7).
            let reply = match request.enabled.contains(Enabled::CONDSTORE) {
                true => completed().with(Code::HighestModSeq(request.selected()?.view.told().0)),
                false => completed(),
            };
            return Ok(note_limit(reply, limit, out));
        }
        Err(error) => try_create(request, &error),
    };
    request.tell(&News::ALL, out);
    Ok(reply)
}

/// What became of a copy.
enum Transfer {
    /// The set names no message.
    Nothing,
    /// It names messages by number that are expunged: all are copied, or none (RFC 2180, section 4.4).
    Gone,
    /// They are too many.
    Refused(Reply),
    /// They are where they should be.
    Done(Done),
}

/// What was copied or moved.
struct Done {
    /// Whether nothing was.
    is_empty: bool,
    /// COPYUID, for those who may see where the messages went (RFC 9051, section 6.4.7).
    code: Option<Code>,
    /// What says that these are only as many as one command takes.
    limit: Option<Code>,
}

fn gone() -> Reply {
    Reply::no("Some of the messages no longer exist").with(Code::ExpungeIssued)
}

/// Copies or moves.
fn transfer(
    request: &mut Request,
    numbering: Numbering,
    set: &SequenceSet,
    target: &[u8],
    mode: CopyMode,
) -> Result<Transfer, MailboxError> {
    let target = request.name(target)?;
    let auth = request.user.auth.clone();
    let selected = request.selected()?;
    let uids = selected.view.uid_set(set, numbering);
    if uids.is_empty() {
        // The target must exist all the same: a client may be asking just that.
        selected.mailbox.store().open_mailbox(&target, &auth)?;
        return Ok(Transfer::Nothing);
    }
    if numbering == Numbering::Sequence {
        let read = selected.mailbox.read()?;
        if !Arc::ptr_eq(read.uids(), selected.view.uids()) {
            let mut missing = uids.clone();
            missing.remove_all(&read.uids().to_set());
            if !missing.is_empty() {
                return Ok(Transfer::Gone);
            }
        }
    }
    let (uids, limit) = match mode {
        CopyMode::Copy => match request.too_many_to_save(uids.len()) {
            Some(refused) => return Ok(Transfer::Refused(refused)),
            None => (uids, None),
        },
        CopyMode::Move => request.limited(uids),
    };
    let selected = request.selected()?;
    let copied = selected.mailbox.copy(&uids, &target, mode)?;
    if mode == CopyMode::Move {
        selected.note_expunge(&copied.originals());
    }
    let is_empty = copied.pairs.is_empty();
    let store = &request.service.store;
    let entry = store.lookup(&target)?;
    let visible = entry.is_some_and(|entry| store.rights(&entry, &auth).contains(Rights::READ));
    Ok(Transfer::Done(Done {
        is_empty,
        code: (visible && !is_empty).then(|| copy_uid(&copied)),
        limit,
    }))
}

fn copy_uid(copied: &Copied) -> Code {
    Code::CopyUid(
        copied.uidvalidity.0,
        crate::imap::response::uid_set(copied.pairs.iter().map(|(from, _)| from.get())),
        crate::imap::response::uid_set(copied.pairs.iter().map(|(_, to)| to.get())),
    )
}

/// EXPUNGE of all that is marked `\Deleted`, or of those among some UIDs.
pub(super) fn expunge(
    request: &mut Request,
    set: Option<&SequenceSet>,
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    let selected = request.selected()?;
    if selected.view.read_only {
        return Err(MailboxError::PermissionDenied);
    }
    let mut limit = None;
    let expunged = match set {
        None => selected.mailbox.expunge(Expunge::AllDeleted)?,
        Some(set) => {
            let uids = selected.view.uid_set(set, Numbering::Uid);
            let uids = {
                let limited = request.limited_deleted(uids)?;
                limit = limited.1;
                limited.0
            };
            request.selected()?.mailbox.expunge(Expunge::Uids(&uids))?
        }
    };
    request.selected()?.note_expunge(&expunged);
    request.tell(&News::ALL, out);
    let told = request.selected()?.view.told();
    let reply = match expunged.is_empty() {
        true => completed(),
        false => completed().with(Code::HighestModSeq(told.0)),
    };
    Ok(note_limit(reply, limit, out))
}
