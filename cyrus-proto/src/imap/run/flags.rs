//! STORE (RFC 3501, section 6.4.6).

use cyrus_store::{FlagChange, FlagMode, MailboxError};

use super::{Request, completed};
use crate::imap::command::{Numbering, StoreFlags, StoreMode};
use crate::imap::response::Reply;
use crate::imap::selected::News;
use crate::imap::sequence::SequenceSet;

pub(super) fn store(
    request: &mut Request,
    numbering: Numbering,
    set: &SequenceSet,
    store: StoreFlags,
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    let mut news = News::after(numbering);
    let selected = request.selected()?;
    if selected.view.read_only {
        return Err(MailboxError::PermissionDenied);
    }
    if store.silent {
        // What others did is told before, so that only what this command does is kept silent.
        let quiet = News {
            expunges: false,
            with_uid: false,
            known: None,
            changed: None,
        };
        request.refresh(&quiet, out)?;
    }
    let selected = request.selected()?;
    let uids = selected.view.uid_set(set, numbering);
    let change = FlagChange {
        mode: match store.mode {
            StoreMode::Set => FlagMode::Set,
            StoreMode::Add => FlagMode::Add,
            StoreMode::Remove => FlagMode::Remove,
        },
        flags: store.flags,
    };
    let stored = selected.mailbox.store_flags(&uids, &change, None)?;
    match store.silent {
        true => news.known = Some(&stored.changed),
        false => news.changed = Some(&stored.changed),
    }
    request.tell(&news, out);
    Ok(completed())
}
