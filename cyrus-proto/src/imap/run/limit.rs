//! MESSAGELIMIT and SAVELIMIT (RFC 9738): on how many messages one command works.

use cyrus_store::{MailboxError, SystemFlags, UidSet};

use super::Request;
use crate::imap::response::{Code, Reply};

impl Request {
    /// The messages on which a command works: those of the set, or, where they are too many, the newest of them. With the code
    /// that says so.
    pub(super) fn limited(&self, mut uids: UidSet) -> (UidSet, Option<Code>) {
        let limit = self.service.options.message_limit;
        if uids.len() <= u64::from(limit) {
            return (uids, None);
        }
        uids.keep_last(u64::from(limit));
        let lowest = uids.first().map(cyrus_store::Uid::get);
        (uids, Some(Code::MessageLimit(limit, lowest)))
    }

    /// [`Request::limited`] for an expunge, where only messages with `\Deleted` count.
    pub(super) fn limited_deleted(&mut self, uids: UidSet) -> Result<(UidSet, Option<Code>), MailboxError> {
        if uids.len() <= u64::from(self.service.options.message_limit) {
            return Ok((uids, None));
        }
        let read = self.selected()?.mailbox.read()?;
        let messages = uids.ranges().flat_map(|range| read.range(range));
        let deleted = messages.filter(|message| message.flags().system.contains(SystemFlags::DELETED));
        let deleted: UidSet = deleted.map(|message| message.uid()).collect();
        drop(read);
        Ok(self.limited(deleted))
    }

    /// The refusal to put so many messages into a mailbox with one command.
    pub(super) fn too_many_to_save(&self, count: u64) -> Option<Reply> {
        let options = &self.service.options;
        let limit = options.save_limit.unwrap_or(options.message_limit);
        (count > u64::from(limit)).then(|| {
            let reply = Reply::no(format!("No more than {limit} messages at once"));
            reply.with(Code::MessageLimit(limit, None))
        })
    }
}

/// Adds the code of [`Request::limited`] to a reply; where that has one of its own, it goes ahead.
pub(super) fn note_limit(reply: Reply, code: Option<Code>, out: &mut Vec<u8>) -> Reply {
    match (code, &reply.code) {
        (None, _) => reply,
        (Some(code), None) => reply.with(code),
        (Some(code), Some(_)) => {
            let text = "Not all messages were processed";
            Reply::no(text).with(code).put_untagged(out);
            reply
        }
    }
}
