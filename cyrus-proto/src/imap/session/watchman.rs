//! What the administrator's settings forbid, or want noted, of every command.

use std::sync::Arc;
use std::time::Instant;

use cyrus_store::Level;

use super::{ImapSession, State};
use crate::imap::command::{Tag, Verb};

/// A command whose time is taken.
pub(super) struct Timed {
    name: Box<str>,
    begin: Instant,
}

impl ImapSession {
    /// Why the client has to leave, if everybody but administrators has, or this user.
    pub(super) fn sent_away(&self) -> Option<Arc<str>> {
        let user = self.current_user()?;
        if user.is_admin() {
            return None;
        }
        let surroundings = &self.options().surroundings;
        let log = &self.service.log;
        let Some(why) = surroundings.shutdown() else {
            let why = surroundings.shut_out(&user.name)?;
            let name = &user.name;
            log.record(
                Level::Notice,
                format_args!("{name} is shut out: {why}, closing connection"),
            );
            return Some(why);
        };
        log.record(
            Level::Debug,
            format_args!("Shutdown file: {why}, closing connection"),
        );
        Some(why)
    }

    /// Notes that a command begins, where `chatty` or `commandmintimer` want it.
    pub(super) fn command_begins(&mut self, tag: &Tag, name: &[u8], now: Instant) {
        let options = self.options();
        if !options.chatty && options.slow_command.is_none() {
            return;
        }
        let name = crate::imap::command::lex::printable(name).to_ascii_lowercase();
        if options.chatty {
            let mut letters = name.chars();
            let capital = letters.next().map(|letter| letter.to_ascii_uppercase());
            let name: String = capital.into_iter().chain(letters).collect();
            let log = &self.service.log;
            log.record(Level::Notice, format_args!("command: {tag} {name}"));
        }
        if self.options().slow_command.is_some() {
            self.timed = Some(Box::new(Timed {
                name: name.into(),
                begin: now,
            }));
        }
    }

    /// Notes a command that took long.
    pub(super) fn command_ends(&mut self, now: Instant) {
        if let Some(metered) = self.metered.take() {
            metered.end(now);
        }
        let (Some(timed), Some(least)) = (self.timed.take(), self.options().slow_command) else {
            return;
        };
        let took = now.saturating_duration_since(timed.begin);
        if took < least {
            return;
        }
        let user = self.current_user();
        let session = user.map_or("", |user| &user.session_id);
        let name = user.map_or("", |user| &user.name);
        let mailbox = match &self.state {
            State::Selected { mailbox, .. } => mailbox.mailbox.name().as_str(),
            _ => "",
        };
        let seconds = took.as_secs_f64();
        self.service.log.record(
            Level::Notice,
            format_args!(
                "cmdtimer: sessionid=<{session}> userid=<{name}> command=<{}> mailbox=<{mailbox}> \
                 cmdtime=<{seconds:.6}> nettime=<0.000000> total=<{seconds:.6}>",
                timed.name
            ),
        );
    }

    /// Whether `readonly` forbids a command.
    pub(super) fn is_forbidden(&self, verb: Verb) -> bool {
        self.options().readonly && changes(verb)
    }
}

/// Whether a command changes anything but the session.
fn changes(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::Append
            | Verb::Copy
            | Verb::Create
            | Verb::Delete
            | Verb::DeleteAcl
            | Verb::Expunge
            | Verb::Move
            | Verb::GenUrlAuth
            | Verb::Rename
            | Verb::Replace
            | Verb::ResetKey
            | Verb::SetAcl
            | Verb::SetAnnotation
            | Verb::SetMetadata
            | Verb::SetQuota
            | Verb::Store
            | Verb::Subscribe
            | Verb::Unsubscribe
    )
}
