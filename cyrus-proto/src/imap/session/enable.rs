//! ENABLE, and the commands that switch extensions on by their use (RFC 5161; RFC 7162, section 3.1).

use super::{ImapSession, State};
use crate::imap::command::{CommandBody, Tag, UidBatches};
use crate::imap::enabled::Enabled;
use crate::imap::response::{Code, Reply, put_enabled, put_uid_batches};

impl ImapSession {
    /// RFC 5161: what is not known is passed over; what is told are the extensions that this command switched on.
    pub(super) fn enable(&mut self, tag: &Tag, names: &[Vec<u8>]) {
        let wanted = names
            .iter()
            .fold(Enabled::NONE, |all, name| all.with(Enabled::named(name)));
        let new = wanted.without(self.enabled);
        self.write(|out| put_enabled(out, new.names()));
        self.switch_on(new, "ENABLE");
        self.reply(tag, &Reply::ok("Completed"));
    }

    /// UIDBATCHES: from what the client was told already, so that no job is needed.
    pub(super) fn uid_batches(&mut self, tag: &Tag, batches: &UidBatches) {
        let State::Selected { mailbox, .. } = &self.state else {
            return;
        };
        if batches.size < UidBatches::MIN_SIZE {
            let text = format!("Batches have at least {} messages", UidBatches::MIN_SIZE);
            return self.reply(tag, &Reply::no(text).with(Code::TooFew));
        }
        if batches.wanted.is_some_and(|(first, last)| first > last) {
            let reply = Reply::bad("Invalid range of batches in Uidbatches");
            return self.reply(tag, &reply.with(Code::ClientBug));
        }
        let uids = mailbox.view.uids().clone();
        self.write(|out| put_uid_batches(out, tag, batches.ranges(&uids)));
        self.reply(tag, &Reply::ok("Completed"));
    }

    /// Switches on what the use of a command does.
    pub(super) fn imply(&mut self, body: &CommandBody) {
        if let Some((extension, by)) = Enabled::implied_by(body) {
            self.switch_on(extension, by);
        }
    }

    /// From when modification sequences are told, the client must know from which on it hears of all (RFC 7162,
    /// section 3.1.2.1).
    fn switch_on(&mut self, extensions: Enabled, by: &str) {
        let new = extensions.without(self.enabled);
        self.enabled = self.enabled.with(extensions);
        if let State::Selected { mailbox, .. } = &self.state
            && new.contains(Enabled::CONDSTORE)
        {
            let told = mailbox.view.told().0;
            let reply = Reply::ok(format!("CONDSTORE enabled by {by}")).with(match told {
                0 => Code::NoModSeq,
                told => Code::HighestModSeq(told),
            });
            self.write(|out| reply.put_untagged(out));
        }
    }
}
