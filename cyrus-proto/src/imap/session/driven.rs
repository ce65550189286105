//! The session as its driver sees it: fed, stepped, woken, and told what became of its jobs (`job.rs`).

use std::time::Instant;

use cyrus_store::Level;

use super::{ImapSession, MAX_HELD_INPUT, State, Work, capability};
use crate::imap::options::ServerInfo;
use crate::imap::response::{Code, Reply, Status};
use crate::imap::run::Outcome;
use crate::job::{Done, Link, Session, Step, TlsFacts};
use crate::output::Output;

impl Session for ImapSession {
    fn begin(&mut self, link: &Link, now: Instant) {
        self.link = Some(link.clone());
        self.active = now;
        self.stranger_since = now;
        let capability = Code::Capability(self.capabilities(capability::greeting));
        let options = self.options();
        let text = match options.serverinfo {
            ServerInfo::On => format!(
                "{} Cyrus IMAP {} server ready",
                options.servername, options.version
            ),
            ServerInfo::Min | ServerInfo::Off => "server ready".to_owned(),
        };
        self.write(|out| Reply::ok(text).with(capability).put_untagged(out));
    }

    fn feed(&mut self, input: &[u8], now: Instant) {
        self.active = now;
        if matches!(self.state, State::Logout) {
            return;
        }
        self.framer.push(input);
        self.fed_ahead = match self.held {
            Some(_) => self.fed_ahead.saturating_add(input.len()),
            None => 0,
        };
        if self.fed_ahead > MAX_HELD_INPUT {
            self.held = None;
            self.bye(&Reply::bye("Too much input"));
        }
    }

    fn step(&mut self, now: Instant) -> Step {
        if self.work.is_some() {
            return Step::NeedInput;
        }
        if let Some(held) = &self.held {
            if now < held.until {
                return match self.peer_gone {
                    true => self.advance(now),
                    false => Step::NeedInput,
                };
            }
            let held = self.held.take().map(|held| held.reply).unwrap_or_default();
            self.output.put(&held);
        }
        self.advance(now)
    }

    fn done(&mut self, done: Done, now: Instant) {
        let Some(work) = self.work.take() else { return };
        // Looks that nobody asked for do not make a client any livelier.
        if !matches!(work, Work::Idle | Work::Notify { tag: None } | Work::Push) {
            self.active = now;
        }
        let Some(outcome) = done.take::<Outcome>() else {
            // The job broke, and the mailbox's state went with it: nothing sensible can follow.
            self.bye(&Reply::bye("Internal error").with(Code::Unavailable));
            return;
        };
        match (work, outcome) {
            (Work::Command { tag, verb }, Outcome::Command { reply, mailbox }) => {
                self.select(mailbox);
                if reply.status == Status::Bye {
                    return self.bye(&reply);
                }
                self.after_command(verb, &reply);
                self.reply(&tag, &reply);
                self.command_ends(now);
            }
            (Work::Idle, Outcome::Idle { mailbox: back, gone }) => {
                self.looked = true;
                if let State::Idle { mailbox, .. } = &mut self.state {
                    *mailbox = Some(back);
                }
                if let Some(reply) = gone {
                    self.bye(&reply);
                }
            }
            (Work::Notify { tag }, outcome @ Outcome::Notify { .. }) => self.notified(tag, outcome),
            (Work::Push, Outcome::Command { mailbox, .. }) => self.give_back(mailbox),
            (Work::Login { tag, attempt, plain }, Outcome::Login(turn)) => {
                self.login_turn(tag, attempt, plain, *turn, now);
                if !matches!(self.state, State::Authenticating { .. }) {
                    self.command_ends(now);
                }
            }
            (Work::Staging { tag }, Outcome::Staging { sink, mailbox }) => {
                self.select(mailbox);
                self.staging_ready(&tag, sink);
            }
            (Work::Leave, Outcome::Left) => {}
            _ => self.bye(&Reply::bye("Internal error").with(Code::Unavailable)),
        }
    }

    fn hint(&mut self, _now: Instant) {
        self.hinted = true;
    }

    fn tick(&mut self, now: Instant) {
        if self.work.is_some() {
            return;
        }
        if self.autologout().is_some_and(|deadline| deadline <= now) {
            let peer = self.log_name();
            self.service.log.record(
                Level::Warning,
                format_args!("{peer}: idle for too long, closing connection"),
            );
            self.bye(&Reply::bye("idle for too long"));
        } else if self.notify_poll().is_some_and(|poll| poll <= now) {
            self.hinted = true;
            self.look_everywhere();
        } else if let State::Idle { poll, .. } = &self.state
            && *poll <= now
        {
            self.hinted = true;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.work.is_some() {
            return None;
        }
        if let Some(held) = &self.held {
            return Some(held.until);
        }
        let poll = match &self.state {
            State::Idle {
                poll,
                mailbox: Some(_),
                ..
            } => Some(*poll),
            _ => None,
        };
        [self.autologout(), poll, self.notify_poll()]
            .into_iter()
            .flatten()
            .min()
    }

    fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    fn secured(&mut self, tls: &TlsFacts) {
        self.framer.clear();
        self.tls = Some(Box::new(tls.clone()));
    }

    fn end_of_input(&mut self) {
        self.peer_gone = true;
    }

    fn shut_down(&mut self, _now: Instant) {
        self.stopping = true;
    }

    fn user(&self) -> Option<&str> {
        self.current_user().map(|user| user.name.as_str())
    }

    fn session_id(&self) -> Option<&str> {
        self.current_user().map(|user| user.session_id.as_str())
    }

    fn mailbox(&self) -> Option<&str> {
        let selected = match &self.state {
            State::Selected { mailbox, .. } => mailbox,
            State::Idle {
                mailbox: Some(mailbox),
                ..
            } => mailbox,
            _ => return None,
        };
        Some(selected.mailbox.name().as_str())
    }
}
