//! COPY, MOVE and EXPUNGE (RFC 3501, sections 6.4.3 and 6.4.7; RFC 4315; RFC 6851).

use cyrus_store::{Copied, CopyMode, Expunge, MailboxError};

use super::{Request, completed, no_match, try_create};
use crate::imap::command::Numbering;
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
        Ok(None) => return Ok(no_match(numbering).unwrap_or_else(completed)),
        Ok(Some(copied)) => completed().with(copy_uid(&copied)),
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
        Ok(None) => return Ok(no_match(numbering).unwrap_or_else(completed)),
        Ok(Some(moved)) => {
            // Untagged and before the EXPUNGEs (RFC 6851, section 4.3).
            completed().with(copy_uid(&moved)).put_untagged(out);
            completed()
        }
        Err(error) => try_create(request, &error),
    };
    request.tell(&News::ALL, out);
    Ok(reply)
}

/// Copies or moves; `None` when the set names no message.
fn transfer(
    request: &mut Request,
    numbering: Numbering,
    set: &SequenceSet,
    target: &[u8],
    mode: CopyMode,
) -> Result<Option<Copied>, MailboxError> {
    let target = request.name(target)?;
    let auth = request.user.auth.clone();
    let selected = request.selected()?;
    let uids = selected.view.uid_set(set, numbering);
    if uids.is_empty() {
        // The target must exist all the same: a client may be asking just that.
        selected.mailbox.store().open_mailbox(&target, &auth)?;
        return Ok(None);
    }
    let copied = selected.mailbox.copy(&uids, &target, mode)?;
    if mode == CopyMode::Move {
        selected.note_expunge(&copied.originals());
    }
    Ok(Some(copied))
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
    let expunged = match set {
        None => selected.mailbox.expunge(Expunge::AllDeleted)?,
        Some(set) => {
            let uids = selected.view.uid_set(set, Numbering::Uid);
            selected.mailbox.expunge(Expunge::Uids(&uids))?
        }
    };
    request.selected()?.note_expunge(&expunged);
    request.tell(&News::ALL, out);
    let told = request.selected()?.view.told();
    Ok(match expunged.is_empty() {
        true => completed(),
        false => completed().with(Code::HighestModSeq(told.0)),
    })
}
