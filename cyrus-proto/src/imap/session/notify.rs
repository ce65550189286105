//! NOTIFY (RFC 5465): when to look, and what a client is told without asking.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cyrus_store::{MailboxName, utf7};

use super::{ImapSession, State, Work};
use crate::imap::command::{CommandBody, NotifySet, Tag, Verb};
use crate::imap::response::{Code, Reply};
use crate::imap::run::{self, Outcome, Request};
use crate::imap::selected::Selected;
use crate::imap::sequence::sequence_set;
use crate::job::Step;

impl ImapSession {
    /// `NOTIFY SET ...`, `NOTIFY NONE`
    pub(super) fn set_notify(&mut self, tag: Tag, set: Option<Box<NotifySet>>, now: Instant) -> Option<Step> {
        let request = self.request(tag.clone())?;
        let poll = now + self.options().idle_poll;
        let link = self.link.clone();
        self.work = Some(Work::Notify { tag: Some(tag) });
        Some(Step::Run(run::notify(request, set, link, poll)))
    }

    /// What is to be told without a command: what was asked for of new messages first, then whatever else there is news of.
    pub(super) fn unasked(&mut self, now: Instant) -> Option<Step> {
        let selected = match &self.state {
            State::Selected { mailbox, .. } => Some(mailbox),
            State::Idle { mailbox, .. } => mailbox.as_ref(),
            State::Authenticated { .. } => None,
            State::NotAuthenticated | State::Authenticating { .. } | State::Logout => return None,
        };
        if selected.is_some_and(|selected| selected.view.has_fresh() || selected.contexts.has_fresh()) {
            let notify = self.notify.as_ref();
            let fetch = notify.and_then(|notify| notify.selected.fetch.clone());
            let request = self.request(nobodys())?;
            self.work = Some(Work::Push);
            return Some(Step::Run(run::push(request, fetch.as_deref())));
        }
        let waiting = self.notify.as_ref()?.is_waiting();
        let between = !matches!(self.state, State::Idle { .. });
        if self.hinted && waiting && between && !self.is_clients_turn() {
            return self.look(now);
        }
        None
    }

    /// Whether the client may say something before the next look: else a mailbox in which something always happens would
    /// have the session for itself.
    pub(super) fn is_clients_turn(&mut self) -> bool {
        let turn = std::mem::take(&mut self.looked);
        if turn && let Some(link) = &self.link {
            link.wake();
        }
        turn
    }

    /// A look at everything of which there may be news.
    pub(super) fn look(&mut self, now: Instant) -> Option<Step> {
        let idle = matches!(self.state, State::Idle { .. });
        let next = now + self.options().idle_poll;
        let link = self.link.clone();
        let mut notify = self.notify.take()?;
        self.hinted = false;
        if let State::Idle { poll, .. } = &mut self.state {
            *poll = next;
        }
        notify.poll = next;
        let Some(request) = self.request(nobodys()) else {
            self.notify = Some(notify);
            return None;
        };
        self.work = Some(Work::Notify { tag: None });
        Some(Step::Run(run::look(request, notify, link, idle)))
    }

    /// What a job needs; it has the selected mailbox until [`give_back`](Self::give_back).
    fn request(&mut self, tag: Tag) -> Option<Request> {
        let (user, mailbox) = match std::mem::replace(&mut self.state, State::Logout) {
            State::Selected { user, mailbox } => {
                self.state = State::Authenticated { user: user.clone() };
                (user, Some(mailbox))
            }
            State::Idle {
                user,
                mailbox,
                tag,
                poll,
            } => {
                self.state = State::Idle {
                    user: user.clone(),
                    mailbox: None,
                    tag,
                    poll,
                };
                (user, mailbox)
            }
            State::Authenticated { user } => {
                self.state = State::Authenticated { user: user.clone() };
                (user, None)
            }
            other @ (State::NotAuthenticated | State::Authenticating { .. } | State::Logout) => {
                self.state = other;
                return None;
            }
        };
        Some(Request {
            service: self.service.clone(),
            user,
            mailbox,
            enabled: self.enabled,
            tag,
            collation: self.collation,
        })
    }

    /// The mailbox comes back from a job.
    pub(super) fn give_back(&mut self, back: Option<Box<Selected>>) {
        match &mut self.state {
            State::Idle { mailbox, .. } => *mailbox = back,
            _ => self.select(back),
        }
    }

    /// The outcome of NOTIFY, or of a look.
    pub(super) fn notified(&mut self, tag: Option<Tag>, outcome: Outcome) {
        let Outcome::Notify {
            reply,
            mailbox,
            notify,
        } = outcome
        else {
            return;
        };
        self.give_back(mailbox);
        if notify.is_some() {
            self.notify = notify;
        }
        match (tag, reply) {
            (Some(tag), Some(reply)) => {
                self.reply(&tag, &reply);
                // From now on the mailbox is watched.
                self.hinted = true;
            }
            (None, Some(bye)) => self.bye(&bye),
            (Some(_), None) => {}
            (None, None) => self.looked = true,
        }
    }

    /// A command is done: another mailbox may be selected now, and what the client appended itself is nothing new to it.
    pub(super) fn after_command(&mut self, verb: Verb, reply: &Reply) {
        let Some(notify) = &mut self.notify else { return };
        match &reply.code {
            Some(Code::AppendUid(validity, uids) | Code::CopyUid(validity, _, uids)) => {
                if let Ok((_, uids)) = sequence_set(uids.as_bytes()) {
                    notify.note_added(*validity, &uids.resolve(0));
                }
            }
            _ => notify.target = None,
        }
        if let State::Selected { mailbox, .. } = &mut self.state {
            mailbox.view.want(notify.selected.wanted());
            let own = match &reply.code {
                Some(Code::AppendUid(validity, uids) | Code::CopyUid(validity, _, uids))
                    if *validity == mailbox.mailbox.uidvalidity().0 =>
                {
                    sequence_set(uids.as_bytes()).ok()
                }
                _ => None,
            };
            if let Some((_, own)) = own {
                mailbox.view.forget_fresh(&own.resolve(0));
            }
        }
        if matches!(verb, Verb::Select | Verb::Examine | Verb::Close | Verb::Unselect) {
            self.look_soon();
        }
    }

    /// Looks once the command at hand is answered.
    pub(super) fn look_soon(&mut self) {
        self.hinted |= self.notify.is_some();
    }

    /// What a command does to names is no news to its client.
    pub(super) fn note_own(&mut self, body: &CommandBody) {
        if let (CommandBody::Append { mailbox, .. } | CommandBody::Copy { mailbox, .. }, true) =
            (body, self.notify.is_some())
        {
            let target = self.internal_name(mailbox);
            if let Some(notify) = &mut self.notify {
                notify.target = target;
            }
            return;
        }
        let names: [Option<&[u8]>; 2] = match body {
            CommandBody::Create { mailbox, .. }
            | CommandBody::Delete { mailbox }
            | CommandBody::Subscribe { mailbox }
            | CommandBody::Unsubscribe { mailbox } => [Some(mailbox), None],
            CommandBody::Rename { from, to, .. } => [Some(from), Some(to)],
            _ => return,
        };
        if self.notify.is_none() {
            return;
        }
        for name in names.into_iter().flatten() {
            if let Some(name) = self.internal_name(name)
                && let Some(notify) = &mut self.notify
            {
                notify.note_own(name);
            }
        }
    }

    fn internal_name(&self, client: &[u8]) -> Option<MailboxName> {
        let user = self.current_user()?;
        let namespace = &self.options().namespace;
        let text = std::str::from_utf8(client).ok()?;
        let text = match self.enabled.utf8_names() {
            true => Cow::Owned(utf7::encode(text)),
            false => Cow::Borrowed(text),
        };
        namespace
            .to_internal(&text, Some(&user.name), user.is_admin())
            .ok()
    }

    /// When to look without having been told to.
    pub(super) fn notify_poll(&self) -> Option<Instant> {
        let notify = self.notify.as_ref().filter(|notify| notify.is_waiting())?;
        (!self.options().idle_poll.is_zero()).then_some(notify.poll)
    }

    /// Hints may be lost: looks at the list, and, where the system tells nothing of other processes, at every mailbox.
    pub(super) fn look_everywhere(&mut self) {
        let Some(notify) = &self.notify else { return };
        let news = &notify.news;
        news.list().store(true, Ordering::Release);
        news.subscriptions().store(true, Ordering::Release);
        news.metadata().store(true, Ordering::Release);
        if !self.service.store.sees_other_processes() {
            for observed in &notify.mailboxes {
                news.add(observed.id.clone());
            }
        }
    }
}

/// The tag of what no command asked for; no reply carries it.
fn nobodys() -> Tag {
    Tag::new(b"NOTIFY").expect("letters make a tag")
}
