//! UNAUTHENTICATE (RFC 8437): one connection for one user after another, for administrators only, as in Cyrus.

use cyrus_store::Level;
use cyrus_store::search::Collation;

use super::{ImapSession, Next, State, capability, strangers_limits};
use crate::imap::command::Tag;
use crate::imap::enabled::Enabled;
use crate::imap::response::{Code, Reply};

impl ImapSession {
    /// Forgets all that came with the login; only where the capability is told (RFC 8437, section 3). What protects or compresses the connection ends behind the reply; TLS stays,
    /// and so does what the client sent ahead.
    pub(super) fn unauthenticate(&mut self, tag: &Tag) {
        let hidden = |name: &String| name.eq_ignore_ascii_case("UNAUTHENTICATE");
        let allowed = !self.options().suppress_capabilities.iter().any(hidden);
        let Some(user) = self.current_user().filter(|user| user.is_admin() && allowed) else {
            self.refuse_tagged(tag, "Unrecognized command");
            return;
        };
        let (name, peer) = (user.name.clone(), self.log_name());
        let log = &self.service.log;
        log.record(
            Level::Notice,
            format_args!("unauthenticate: {peer} {name} User logged out"),
        );
        self.leave();
        self.state = State::NotAuthenticated;
        self.stranger_since = self.active;
        self.framer
            .set_limits(strangers_limits(self.service.options.limits));
        self.enabled = Enabled::NONE;
        self.compressed = false;
        self.notify = None;
        self.collation = Collation::default();
        let list = self.capabilities(capability::greeting);
        self.reply(tag, &Reply::ok("Completed").with(Code::Capability(list)));
        self.next = Some(Next::Bare);
    }
}
