//! What becomes of a literal: memory, a staging file, or a refusal, decided before any of it is read.

use super::{ImapSession, LOGIN_COMMAND, State, Work};
use crate::frame::Announced;
use crate::imap::command::{self, LiteralPlace, Tag, Verb};
use crate::imap::response::{Code, Reply, put_continuation};
use crate::imap::run::{self, Request, StagedMessage};
use crate::job::Step;

/// Messages up to this size stay in memory.
const MAX_IN_MEMORY: u64 = 64 * 1024;

/// What LITERAL- allows without synchronisation (RFC 7888, section 5).
const LITERAL_MINUS: u64 = 4_096;

impl ImapSession {
    /// A literal was announced: accept it, stage it, or refuse its command.
    pub(super) fn literal(&mut self, announced: Announced) -> Option<Step> {
        let so_far = self.framer.so_far();
        let so_far_len = so_far.len() as u64;
        let head = match command::head(so_far) {
            Ok(head) => head,
            Err(refusal) => {
                self.framer.refuse();
                self.refuse(&refusal);
                return None;
            }
        };
        let tag = head.tag.clone();
        let name = head.verb.map_or("command", Verb::name).to_ascii_uppercase();
        let target = match self.state {
            State::Authenticated { .. } | State::Selected { .. } => command::append_target(&head),
            _ => None,
        };
        let takes_binary = matches!(
            head.verb,
            Some(Verb::SetMetadata | Verb::SetAnnotation | Verb::Store)
        );
        if announced.binary && target.is_none() && !takes_binary {
            self.framer.refuse();
            self.refuse_tagged(&tag, "Binary literals are not allowed");
            return None;
        }
        let minus = announced.minus || self.options().literalminus && !announced.synchronising;
        if minus && announced.size > LITERAL_MINUS {
            self.framer.refuse();
            self.refuse_tagged(&tag, "Non-synchronizing literal too large");
            return None;
        }
        let small = announced.size <= MAX_IN_MEMORY && announced.fits_in_memory;
        // Where no message can be, the literal is an argument like any other.
        let place = match &target {
            Some(_) if !small => command::literal_place(&head, &|at| self.framer.staged_at(at)),
            Some(_) => Some(LiteralPlace::Message),
            None => None,
        };
        let (Some(mailbox), Some(place)) = (target, place) else {
            let early = self.current_user().is_none();
            let whole = announced.size.saturating_add(so_far_len);
            let too_large =
                announced.size > self.options().maxliteral || early && whole > LOGIN_COMMAND as u64;
            if too_large || !announced.fits_in_memory {
                self.refuse_literal(
                    &tag,
                    announced,
                    format!("Literal size exceeds fixed limit in {name}"),
                );
                return None;
            }
            self.accept(announced);
            return None;
        };
        if announced.size > self.options().append_limit() {
            self.refuse_literal(&tag, announced, "Message size exceeds fixed limit".to_owned());
            return None;
        }
        if small {
            self.accept(announced);
            return None;
        }
        let whole = place == LiteralPlace::Message && !announced.binary;
        self.stage(tag, mailbox, announced.size, whole)
    }

    fn accept(&mut self, announced: Announced) {
        self.framer.accept_in_memory();
        if announced.synchronising {
            self.write(|out| put_continuation(out, "go ahead"));
        }
    }

    /// A client that waits is told; one that sends on at once cannot be stopped but by closing (RFC 7888, section 4).
    fn refuse_literal(&mut self, tag: &Tag, announced: Announced, text: String) {
        self.framer.refuse();
        if announced.synchronising {
            self.reply(tag, &Reply::no(text).with(Code::TooBig));
        } else {
            self.bye(&Reply::bye("Literal size exceeds fixed limit").with(Code::TooBig));
        }
    }

    fn stage(&mut self, tag: Tag, target: Vec<u8>, size: u64, whole: bool) -> Option<Step> {
        let (user, mailbox) = match std::mem::replace(&mut self.state, State::Logout) {
            State::Selected { user, mailbox } => (user, Some(mailbox)),
            State::Authenticated { user } => (user, None),
            other => {
                self.state = other;
                return None;
            }
        };
        self.state = State::Authenticated { user: user.clone() };
        self.work = Some(Work::Staging { tag: tag.clone() });
        let request = Request {
            service: self.service.clone(),
            user,
            mailbox,
            enabled: self.enabled,
            tag,
            collation: self.collation,
        };
        Some(Step::Run(run::staging(request, target, size, whole)))
    }

    /// The staging file is there, or the APPEND cannot succeed.
    pub(super) fn staging_ready(&mut self, tag: &Tag, sink: Result<StagedMessage, Reply>) {
        let synchronising = match self.framer.next() {
            crate::frame::Event::Literal(announced) => announced.synchronising,
            _ => false,
        };
        match sink {
            Ok(sink) => {
                self.framer.accept_into(sink);
                if synchronising {
                    self.write(|out| put_continuation(out, "go ahead"));
                }
            }
            Err(reply) => {
                self.framer.refuse();
                self.reply(tag, &reply);
            }
        }
    }
}
