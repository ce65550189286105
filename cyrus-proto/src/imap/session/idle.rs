//! IDLE (RFC 2177).

use std::time::Instant;

use super::{ImapSession, State, Work};
use crate::imap::command::{CommandBody, Tag};
use crate::imap::response::{Reply, put_continuation};
use crate::imap::run::{self, Request};
use crate::job::Step;

impl ImapSession {
    /// RFC 2177: from now on only DONE is expected.
    pub(super) fn idle(&mut self, tag: Tag, now: Instant) -> Option<Step> {
        self.write(|out| put_continuation(out, "idling"));
        let poll = now + self.options().idle_poll;
        let (user, mailbox) = match std::mem::replace(&mut self.state, State::Logout) {
            State::Selected { user, mailbox } => (user, Some(mailbox)),
            State::Authenticated { user } => (user, None),
            other => {
                self.state = other;
                return None;
            }
        };
        self.state = State::Idle {
            user,
            mailbox,
            tag,
            poll,
        };
        self.look_while_idle(now)
    }

    /// A refresh job for an idling session.
    pub(super) fn look_while_idle(&mut self, now: Instant) -> Option<Step> {
        if self.notify.is_some() {
            return self.look(now);
        }
        let next_poll = now + self.options().idle_poll;
        let service = self.service.clone();
        let link = self.link.clone();
        let (enabled, collation) = (self.enabled, self.collation);
        let State::Idle {
            user,
            mailbox,
            poll,
            tag,
        } = &mut self.state
        else {
            return None;
        };
        *poll = next_poll;
        self.hinted = false;
        let mailbox = mailbox.take()?;
        let request = Request {
            service,
            user: user.clone(),
            mailbox: Some(mailbox),
            enabled,
            tag: tag.clone(),
            collation,
        };
        self.work = Some(Work::Idle);
        Some(Step::Run(run::idle(request, link)))
    }

    /// A line during IDLE: the end of it, with a last look at the mailbox.
    pub(super) fn idle_line(&mut self, line: &[u8]) -> Option<Step> {
        let (user, mailbox, tag) = match std::mem::replace(&mut self.state, State::Logout) {
            State::Idle {
                user, mailbox, tag, ..
            } => (user, mailbox, tag),
            other => {
                self.state = other;
                return None;
            }
        };
        let selected = mailbox.is_some();
        self.state = match mailbox {
            Some(mut mailbox) => {
                if self.notify.is_none() {
                    mailbox.stop_watching();
                }
                State::Selected { user, mailbox }
            }
            None => State::Authenticated { user },
        };
        if !line.eq_ignore_ascii_case(b"DONE") {
            self.refuse_tagged(&tag, "Invalid Idle continuation");
            return None;
        }
        if selected {
            return self.run(tag, CommandBody::Noop, Vec::new());
        }
        self.reply(&tag, &Reply::ok("Completed"));
        None
    }
}
