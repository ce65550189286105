//! REPLACE: a message in place of another (RFC 8508).

use std::io;
use std::num::NonZeroU32;

use cyrus_acl::Rights;
use cyrus_store::{Expunge, MailboxError, Uid, UidSet};

use super::append::{StagedMessage, add};
use super::{Request, completed};
use crate::imap::command::{AppendMessage, Numbering};
use crate::imap::response::{Code, Reply};
use crate::imap::selected::News;

pub(super) fn replace(
    request: &mut Request,
    (numbering, message): (Numbering, Option<NonZeroU32>),
    target: &[u8],
    replacement: AppendMessage,
    staged: Vec<io::Result<StagedMessage>>,
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    let selected = request.selected()?;
    if selected.view.read_only {
        return Err(MailboxError::PermissionDenied);
    }
    let uids = selected.view.uids();
    let uid = match (message, numbering) {
        (None, _) => uids.last(),
        (Some(number), Numbering::Sequence) => uids.uid(number.get()),
        (Some(number), Numbering::Uid) => Uid::new(number.get()).filter(|&uid| uids.contains(uid)),
    };
    let Some(uid) = uid else {
        return Ok(Reply::no("No matching messages"));
    };
    // Nothing is added unless the other can go (RFC 8508, section 3.4).
    let needed = Rights::DELETE_MESSAGES | Rights::EXPUNGE;
    if !selected.mailbox.rights().contains(needed) {
        return Err(MailboxError::PermissionDenied);
    }
    if selected.mailbox.read()?.get(uid).is_none() {
        request.tell(&News::after(numbering), out);
        return Ok(Reply::no("The message no longer exists").with(Code::ExpungeIssued));
    }
    let mut added = match add(request, target, vec![replacement], staged) {
        Ok(added) => added,
        Err(refused) => {
            let reply = refused.reply(request);
            request.tell(&News::after(numbering), out);
            return Ok(reply);
        }
    };
    let old = UidSet::from(uid..=uid);
    let selected = request.selected()?;
    let reply = match selected.mailbox.expunge(Expunge::Replaced(&old)) {
        Ok(expunged) => {
            selected.note_expunge(&expunged);
            // Before the EXPUNGE, so that a client knows the new message first (RFC 8508, section 4.3).
            if let Some(code) = added.code {
                Reply::ok("Replacement message ready")
                    .with(code)
                    .put_untagged(out);
            }
            completed()
        }
        Err(error) => {
            let new = UidSet::from_ranges(added.uids.iter().map(|&uid| uid..=uid));
            // Whether or not the replacement can be taken back, it is not what failed.
            let _ = added.mailbox.expunge(Expunge::Replaced(&new));
            request.refusal(&error)
        }
    };
    request.tell(&News::ALL, out);
    Ok(reply)
}
