//! Replies, in the words that Cyrus uses.

use std::borrow::Cow;

use crate::output::Output;

/// One reply: a code and one or more lines of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    /// Lines, separated by LF; the enhanced status code (RFC 2034) is part of the last one.
    text: Cow<'static, str>,
    /// Whether the session's id follows, for whoever searches the logs.
    with_session: bool,
}

impl Reply {
    /// A reply of one's own: `text` starts with the enhanced status code, lines are separated by LF.
    pub fn new(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            text: text.into(),
            with_session: false,
        }
    }

    const fn fixed(code: u16, text: &'static str) -> Self {
        Self {
            code,
            text: Cow::Borrowed(text),
            with_session: false,
        }
    }

    const fn traced(code: u16, text: &'static str) -> Self {
        Self {
            code,
            text: Cow::Borrowed(text),
            with_session: true,
        }
    }

    /// The message was stored (or taken care of) for this recipient.
    pub const fn delivered() -> Self {
        Self::traced(250, "2.1.5 Success")
    }

    /// The recipient has no mailbox here.
    pub const fn user_unknown() -> Self {
        Self::fixed(
            550,
            "Mailbox unknown.  Either there is no mailbox associated with this\n\
             name or you do not have authorization to see it.\n\
             5.1.1 User unknown",
        )
    }

    /// The sender may not post to the mailbox.
    pub const fn permission_denied() -> Self {
        Self::fixed(
            550,
            "You do not have permission to post a message to this mailbox.\n\
             Please contact the owner of this mailbox in order to submit\n\
             your message, or postmaster if you believe you\n\
             received this message in error.\n\
             5.7.1 Permission denied",
        )
    }

    /// The administrator has shut the recipient out of this service.
    pub const fn disabled() -> Self {
        Self::fixed(451, "4.2.1 Delivery to mailbox is disabled")
    }

    /// The recipient is over quota; the peer should try again later.
    pub const fn over_quota() -> Self {
        Self::traced(452, "4.2.2 Over quota")
    }

    /// The recipient is over quota, and the site wants the mail returned at once.
    pub const fn over_quota_for_good() -> Self {
        Self::traced(552, "5.2.2 Over quota")
    }

    /// Disk trouble; the peer should try again later.
    pub const fn io_error() -> Self {
        Self::fixed(451, "4.3.0 System I/O error")
    }

    /// The mailbox is damaged; the peer should try again later.
    pub const fn bad_mailbox() -> Self {
        Self::fixed(451, "4.2.0 Mailbox has an invalid format")
    }

    /// Nothing definite is known; the peer should try again later.
    pub const fn try_later() -> Self {
        Self::fixed(451, "4.3.0 Unexpected error, try again later")
    }

    /// The reply code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Whether the peer got what it asked for.
    pub fn is_success(&self) -> bool {
        (200..400).contains(&self.code)
    }

    /// Writes the reply; whatever the text holds, it stays one reply.
    pub(super) fn encode(&self, output: &mut Output, session_id: &str) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let last = lines.peek().is_none();
            output.text(&format!("{}{}", self.code, if last { ' ' } else { '-' }));
            output.text(&line.replace(char::is_control, " "));
            if last && self.with_session {
                output.text(&format!(" SESSIONID=<{session_id}>"));
            }
            output.text("\r\n");
        }
    }
}

pub(super) const OK: Reply = Reply::fixed(250, "2.0.0 ok");
pub(super) const SENDER_OK: Reply = Reply::fixed(250, "2.1.0 ok");
pub(super) const RECIPIENT_OK: Reply = Reply::fixed(250, "2.1.5 ok");
pub(super) const RESET: Reply = Reply::traced(250, "2.0.0 Ok");
pub(super) const VERIFY: Reply = Reply::fixed(252, "2.3.3 try RCPT to attempt delivery");
pub(super) const BYE: Reply = Reply::fixed(221, "2.0.0 bye");
pub(super) const GO_AHEAD: Reply = Reply::fixed(354, "go ahead");
pub(super) const AUTHENTICATED: Reply = Reply::fixed(235, "Authenticated!");
pub(super) const BEGIN_TLS: Reply = Reply::fixed(220, "Begin TLS negotiation now");
pub(super) const TIMED_OUT: Reply = Reply::fixed(421, "4.4.1 bye idle for too long");
pub(super) const SHUTTING_DOWN: Reply = Reply::fixed(421, "4.3.2 server is shutting down");
pub(super) const TOO_MANY_BAD: Reply = Reply::fixed(421, "4.7.0 Too many bad commands, bye");
pub(super) const SOFT_NO_AUTH: Reply = Reply::fixed(430, "Authentication required");
pub(super) const NO_AUTH: Reply = Reply::fixed(530, "Authentication required");
pub(super) const TLS_TWICE: Reply = Reply::fixed(454, "4.3.3 Already successfully executed STARTTLS");
pub(super) const SYNTAX: Reply = Reply::fixed(500, "5.5.2 Syntax error");
pub(super) const PARAMETERS: Reply = Reply::fixed(501, "5.5.4 Syntax error in parameters");
pub(super) const UNKNOWN_PARAMETERS: Reply = Reply::fixed(501, "5.5.4 Unrecognized parameters");
pub(super) const UNKNOWN_BODY: Reply = Reply::fixed(501, "5.5.4 Unrecognized BODY type");
pub(super) const SIZE_VALUE: Reply = Reply::fixed(501, "5.5.2 SIZE requires a value");
pub(super) const CANCELED: Reply = Reply::fixed(501, "5.5.4 client canceled authentication");
pub(super) const ALREADY_AUTHENTICATED: Reply = Reply::fixed(503, "5.5.0 already authenticated");
pub(super) const NESTED_MAIL: Reply = Reply::fixed(503, "5.5.1 Nested MAIL command");
pub(super) const NEED_MAIL: Reply = Reply::fixed(503, "5.5.1 Need MAIL command");
pub(super) const NO_RECIPIENTS: Reply = Reply::fixed(503, "5.5.1 No recipients");
pub(super) const TOO_MANY_RECIPIENTS: Reply = Reply::fixed(452, "4.5.3 Too many recipients");
pub(super) const UNKNOWN_MECHANISM: Reply = Reply::fixed(504, "Unrecognized authentication type.");
pub(super) const NUL_IN_MESSAGE: Reply = Reply::fixed(554, "5.6.0 Message contains NUL characters");
pub(super) const BAD_HEADER: Reply = Reply::fixed(554, "5.6.0 Message contains invalid header");
pub(super) const EIGHT_BIT: Reply =
    Reply::fixed(554, "5.6.0 Message contains non-ASCII characters in headers");

/// The announced size is more than is taken.
pub(super) fn size_too_large(limit: u64) -> Reply {
    // Without a limit of ours only what no counter holds is refused; the text names the number that Cyrus names.
    let limit = if limit == 0 { 2_147_483_647 } else { limit };
    Reply::new(
        552,
        format!("5.2.3 Message SIZE exceeds fixed maximum message size ({limit})"),
    )
}

/// The message is larger than is taken.
pub(super) fn message_too_large(size: u64, limit: u64) -> Reply {
    Reply::new(
        552,
        format!("5.2.3 Message size ({size}) exceeds fixed maximum message size ({limit})"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: &Reply) -> String {
        let mut output = Output::new();
        reply.encode(&mut output, "id");
        String::from_utf8(output.to_vec().unwrap()).unwrap()
    }

    #[test]
    fn only_the_last_line_has_no_hyphen() {
        assert_eq!(
            text(&Reply::user_unknown()),
            "550-Mailbox unknown.  Either there is no mailbox associated with this\r\n\
             550-name or you do not have authorization to see it.\r\n\
             550 5.1.1 User unknown\r\n"
        );
        assert_eq!(text(&Reply::delivered()), "250 2.1.5 Success SESSIONID=<id>\r\n");
    }

    #[test]
    fn a_text_with_line_ends_in_it_stays_one_reply() {
        assert_eq!(text(&Reply::new(550, "5.0.0 a\r\0b")), "550 5.0.0 a  b\r\n");
    }
}
