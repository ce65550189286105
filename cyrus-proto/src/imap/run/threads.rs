//! FETCH items of Cyrus's own about conversations: CID, BASECID, MAILBOXES and MAILBOXIDS.

use std::collections::HashMap;

use cyrus_store::{Annotation, Audience, MailboxError, Message, Uid};

use super::Request;
use crate::imap::command::FetchItems;
use crate::imap::response::FetchLine;

/// The annotation that keeps the conversation from which a message's one goes on, having become too long.
pub(super) const BASE_ENTRY: &str = "/vendor/cmu/cyrus-imapd/basethrid";

/// The items for which the conversations are looked at.
pub(super) const OF_MAILBOXES: FetchItems = FetchItems::MAILBOXES.with(FetchItems::MAILBOXIDS);

/// A mailbox as the client knows it, and its unique id.
type Place = (String, String);

/// In which mailboxes messages are.
#[derive(Default)]
pub(super) struct Places(HashMap<Uid, Vec<Place>>);

/// How many messages are looked up at once.
const MOST: usize = 256;

impl Places {
    /// Those of the next messages of some ranges, and the last UID of these; nothing where nothing asks for it.
    pub(super) fn find(
        request: &mut Request,
        items: FetchItems,
        ranges: &[(Uid, Uid)],
        at: usize,
        next: Option<Uid>,
    ) -> Result<(Option<Uid>, Self), MailboxError> {
        if !items.intersects(OF_MAILBOXES) {
            return Ok((None, Self::default()));
        }
        let selected = request.selected()?;
        let owner = selected.mailbox.name().owner();
        let (mut uids, mut guids) = (Vec::new(), Vec::new());
        {
            let read = selected.mailbox.read()?;
            let mut next = next;
            for &(start, end) in ranges.get(at..).unwrap_or_default() {
                let left = MOST - uids.len();
                for message in read.range(next.take().unwrap_or(start)..=end).take(left) {
                    uids.push(message.uid());
                    guids.push(message.guid());
                }
            }
        }
        let last = uids.last().copied();
        let Some(owner) = owner else {
            return Ok((last, Self::default()));
        };
        let store = &request.service.store;
        let found = store.mailboxes_of_messages(&owner, &guids, &request.user.auth)?;
        let places = found.into_iter().map(|entries| {
            let place = |entry: &std::sync::Arc<cyrus_store::MailboxEntry>| {
                let id = entry.id.as_ref().map_or_else(String::new, ToString::to_string);
                (request.client_name(&entry.name), id)
            };
            entries.iter().map(place).collect()
        });
        Ok((last, Self(uids.into_iter().zip(places).collect())))
    }

    /// What is known of a message, in the order of Cyrus.
    pub(super) fn put(&self, line: &mut FetchLine<'_>, uid: Uid, items: FetchItems) {
        let places = self.0.get(&uid).map_or(&[][..], Vec::as_slice);
        if items.contains(FetchItems::MAILBOXES) {
            line.mailboxes("MAILBOXES", places.iter().map(|(name, _)| name.as_str()));
        }
        if items.contains(FetchItems::MAILBOXIDS) {
            line.mailboxes("MAILBOXIDS", places.iter().map(|(_, id)| id.as_str()));
        }
    }
}

/// `CID`
pub(super) fn put_cid(line: &mut FetchLine<'_>, message: &Message<'_>, items: FetchItems) {
    if items.contains(FetchItems::CID) {
        line.conversation("CID", message.thread_id());
    }
}

/// `BASECID`, which is kept in an annotation.
pub(super) fn put_base(line: &mut FetchLine<'_>, annotations: Option<&Vec<Annotation>>, items: FetchItems) {
    if !items.contains(FetchItems::BASECID) {
        return;
    }
    let base = annotations.into_iter().flatten().find_map(|found| {
        let is_base = found.audience == Audience::Shared && found.entry == BASE_ENTRY;
        let value = found.value.as_deref().filter(|_| is_base)?;
        u64::from_str_radix(std::str::from_utf8(value).ok()?, 16).ok()
    });
    line.conversation("BASECID", base.unwrap_or(0));
}
