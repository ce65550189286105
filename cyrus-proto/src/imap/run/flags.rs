//! STORE (RFC 3501, section 6.4.6).

use cyrus_store::{FlagChange, FlagMode, FlagsStored, MailboxError, ModSeq};

use super::limit::note_limit;
use super::{Request, annotation, completed};
use crate::imap::command::{AnnotationChange, Numbering, StoreFlags, StoreMode};
use crate::imap::enabled::Enabled;
use crate::imap::response::{Code, Reply, uid_set};
use crate::imap::selected::{News, Selected};
use crate::imap::sequence::SequenceSet;

pub(super) fn store(
    request: &mut Request,
    numbering: Numbering,
    set: &SequenceSet,
    unchanged_since: Option<ModSeq>,
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
            silent: None,
            annotated: None,
        };
        request.refresh(&quiet, out)?;
    }
    let selected = request.selected()?;
    let uids = selected.view.uid_set(set, numbering);
    let (uids, limit) = request.limited(uids);
    let selected = request.selected()?;
    let change = FlagChange {
        mode: match store.mode {
            StoreMode::Set => FlagMode::Set,
            StoreMode::Add => FlagMode::Add,
            StoreMode::Remove => FlagMode::Remove,
        },
        flags: store.flags,
    };
    let stored = selected.mailbox.store_flags(&uids, &change, unchanged_since)?;
    let reply = stored_reply(selected, numbering, &stored);
    // What others did in between must be told.
    let silent = store.silent && stored.before <= selected.view.told();
    match silent {
        // New modification sequences must be told (RFC 7162, section 3.1.3).
        true if request.enabled.contains(Enabled::CONDSTORE) => news.silent = Some(&stored.changed),
        true => news.known = Some(&stored.changed),
        false => news.changed = Some(&stored.changed),
    }
    request.tell(&news, out);
    Ok(note_limit(reply, limit, out))
}

/// `STORE set ANNOTATION (...)` (RFC 5257, section 4.4).
pub(super) fn store_annotations(
    request: &mut Request,
    numbering: Numbering,
    set: &SequenceSet,
    unchanged_since: Option<ModSeq>,
    changes: &[AnnotationChange],
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    let updates = annotation::updates(changes)?;
    let selected = request.selected()?;
    if selected.view.read_only {
        return Err(MailboxError::PermissionDenied);
    }
    let uids = selected.view.uid_set(set, numbering);
    let (uids, limit) = request.limited(uids);
    let selected = request.selected()?;
    let stored = selected.mailbox.annotate(&uids, &updates, unchanged_since)?;
    let reply = stored_reply(selected, numbering, &stored);
    let mut news = News::after(numbering);
    news.changed = Some(&stored.changed);
    news.annotated = Some(&stored.changed);
    request.tell(&news, out);
    Ok(note_limit(reply, limit, out))
}

/// How a STORE ended, with the messages that it left alone.
fn stored_reply(selected: &Selected, numbering: Numbering, stored: &FlagsStored) -> Reply {
    if stored.modified.is_empty() {
        return completed();
    }
    let modified = stored.modified.iter();
    completed().with(Code::Modified(match numbering {
        Numbering::Uid => stored.modified.to_string(),
        Numbering::Sequence => uid_set(modified.filter_map(|uid| selected.view.uids().seqno(uid))),
    }))
}
