//! LOGIN and AUTHENTICATE (RFC 3501, sections 6.2.2 and 6.2.3; RFC 4959).

use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cyrus_store::Level;

use super::{Held, ImapSession, Next, State, User, Work, capability};
use crate::imap::command::Tag;
use crate::imap::response::{Code, Reply, put_capability, put_continuation};
use crate::imap::run::{self, LoginTurn, Turned};
use crate::job::Step;
use crate::sasl::{Attempt, SaslError};

impl ImapSession {
    /// `LOGIN user password`
    pub(super) fn login(
        &mut self,
        tag: Tag,
        user: Vec<u8>,
        password: Vec<u8>,
        _now: Instant,
    ) -> Option<Step> {
        if self.current_user().is_some() {
            self.refuse_tagged(&tag, "Already logged in");
            return None;
        }
        let anonymous = user.eq_ignore_ascii_case(b"anonymous");
        if anonymous && !self.options().allowanonymouslogin {
            let peer = self.log_name();
            let log = &self.service.log;
            log.record(
                Level::Notice,
                format_args!("badlogin: {peer} anonymous login refused"),
            );
            self.reply(&tag, &Reply::no("Anonymous login is not permitted"));
            return None;
        }
        let plain = self.is_protected() || self.options().allowplaintext;
        if !anonymous && !plain || self.options().tls_required && !self.is_protected() {
            self.reply(&tag, &Reply::no("Login only available under a layer"));
            return None;
        }
        self.work = Some(Work::Login {
            tag,
            attempt: Attempt::with_password(&user),
            plain: true,
        });
        let service = self.service.clone();
        let facts = self.facts();
        Some(Step::Run(run::login(
            service,
            facts,
            self.peer(),
            user,
            password,
            anonymous,
        )))
    }

    /// `AUTHENTICATE mechanism [initial-response]`
    pub(super) fn authenticate(
        &mut self,
        tag: Tag,
        mechanism: String,
        initial: Option<&[u8]>,
        now: Instant,
    ) -> Option<Step> {
        if self.current_user().is_some() {
            self.refuse_tagged(&tag, "Already authenticated");
            return None;
        }
        if self.options().tls_required && !self.is_protected() {
            self.reply(&tag, &Reply::no("Authentication only available under a layer"));
            return None;
        }
        let mut attempt = Attempt::new(&mechanism);
        let initial = match initial.map(|initial| STANDARD.decode(initial)) {
            None => None,
            Some(Ok(initial)) => {
                attempt.hear(&initial);
                Some(initial)
            }
            Some(Err(_)) => {
                self.not_base64(&tag, &attempt, now);
                return None;
            }
        };
        self.work = Some(Work::Login {
            tag,
            attempt,
            plain: false,
        });
        let service = self.service.clone();
        let facts = self.facts();
        Some(Step::Run(run::authenticate(
            service,
            facts,
            self.peer(),
            mechanism,
            initial,
        )))
    }

    /// The client's response to a challenge.
    pub(super) fn authenticate_line(&mut self, line: &[u8], now: Instant) -> Option<Step> {
        let (tag, mut attempt, exchange) = match std::mem::replace(&mut self.state, State::NotAuthenticated) {
            State::Authenticating {
                tag,
                attempt,
                exchange,
            } => (tag, attempt, exchange),
            other => {
                self.state = other;
                return None;
            }
        };
        if line == b"*" {
            self.refuse_tagged(&tag, "Client canceled authentication");
            return None;
        }
        match STANDARD.decode(line) {
            Ok(response) => {
                attempt.hear(&response);
                self.work = Some(Work::Login {
                    tag,
                    attempt,
                    plain: false,
                });
                let service = self.service.clone();
                Some(Step::Run(run::authenticate_step(
                    service,
                    self.peer(),
                    exchange,
                    response,
                )))
            }
            Err(_) => {
                self.not_base64(&tag, &attempt, now);
                None
            }
        }
    }

    fn not_base64(&mut self, tag: &Tag, attempt: &Attempt, now: Instant) {
        let error = SaslError::BadProtocol("what the client sent is not base64".to_owned());
        self.hold(tag, Reply::no(error.text()), attempt, &error, now);
    }

    /// A turn of the exchange came back.
    pub(super) fn login_turn(
        &mut self,
        tag: Tag,
        attempt: Attempt,
        plain: bool,
        turned: Turned,
        now: Instant,
    ) {
        self.peer_name = Some(turned.peer.into());
        match turned.turn {
            LoginTurn::Challenge { data, exchange } => {
                let data = STANDARD.encode(data);
                self.write(|out| put_continuation(out, &data));
                self.state = State::Authenticating {
                    tag,
                    attempt,
                    exchange,
                };
            }
            LoginTurn::Failed { error } => {
                let reply = match plain {
                    true => Reply::no(format!("Login failed: {}", error.text())),
                    false => Reply::no(error.text()),
                };
                self.hold(&tag, reply, &attempt, &error, now);
            }
            LoginTurn::NoIdentity { reason } => {
                let error = SaslError::NotAuthorized(reason);
                self.hold(&tag, Reply::no(error.text()), &attempt, &error, now);
            }
            LoginTurn::Full { login, reason } => {
                let log = &self.service.log;
                log.record(Level::Warning, format_args!("{}: {reason}", login.user));
                self.reply(&tag, &Reply::no(reason));
            }
            LoginTurn::Done { login, user, notice } => {
                if let Some(notice) = notice {
                    self.write(|out| Reply::ok(notice).with(Code::Alert).put_untagged(out));
                }
                self.logged_in(&tag, plain, login, user, now);
            }
        }
    }

    /// Notes the failure and keeps the reply back for `failedloginpause`.
    fn hold(&mut self, tag: &Tag, reply: Reply, attempt: &Attempt, error: &SaslError, now: Instant) {
        let peer = self.log_name();
        let log = &self.service.log;
        log.record(
            Level::Notice,
            format_args!("badlogin: {peer} {attempt} [{error}]"),
        );
        let reply = match error.is_temporary() {
            true => reply.with(Code::Unavailable),
            false => reply,
        };
        let mut text = Vec::new();
        reply.put_tagged(&mut text, tag);
        self.held = Some(Held {
            until: now + self.options().failedloginpause,
            reply: text,
        });
    }

    fn logged_in(&mut self, tag: &Tag, plain: bool, login: crate::sasl::Login, user: User, now: Instant) {
        let secure = self.is_secure();
        let peer = self.log_name();
        let tls = if secure { "+TLS" } else { "" };
        let id = user.session_id.clone();
        let referral = user.referral.clone();
        let behalf = match login.authenticated_as == login.user {
            true => String::new(),
            false => format!(" (as {})", login.authenticated_as),
        };
        self.service.log.record(
            Level::Notice,
            format_args!(
                "login: {peer} {}{behalf} {}{tls} User logged in SESSIONID=<{id}>",
                user.name, login.mechanism
            ),
        );
        self.state = State::Authenticated { user: Arc::new(user) };
        self.framer.set_limits(self.service.options.limits);
        let mut text = Vec::new();
        if !secure
            && plain
            && let Some(alert) = &self.options().plaintextloginalert
        {
            Reply::ok(alert.clone()).with(Code::Alert).put_untagged(&mut text);
        }
        let done = match (plain, login.layer_strength, secure) {
            (true, ..) => "User logged in",
            (false, 1.., _) => "Success (privacy protection)",
            (false, 0, true) => "Success (tls protection)",
            (false, 0, false) => "Success (no protection)",
        };
        let reply = Reply::ok(format!("{done} SESSIONID=<{id}>"));
        // Capabilities would have to be told again under a security layer (RFC 3501, section 6.2.2).
        let told = login.layer.is_none().then(|| self.capabilities(capability::full));
        let reply = match (referral, told) {
            (Some(url), told) => {
                if let Some(list) = told {
                    put_capability(&mut text, &list);
                }
                reply.with(Code::Referral(url))
            }
            (None, Some(list)) => reply.with(Code::Capability(list)),
            (None, None) => reply,
        };
        reply.put_tagged(&mut text, tag);
        self.next = login.layer.map(Next::Secure);
        let pause = self.options().plaintextloginpause;
        if plain && !secure && !pause.is_zero() && self.next.is_none() {
            self.held = Some(Held {
                until: now + pause,
                reply: text,
            });
        } else {
            self.output.put(&text);
        }
    }
}
