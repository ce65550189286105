//! Messages that cannot be read: the command goes on with the others and ends in `NO`.

use cyrus_store::{ErrorClass, Level, MailboxError};

use super::ImapService;
use crate::imap::response::{Code, Reply};

/// What was met of them during a command.
#[derive(Default)]
pub(super) struct Unreadable {
    count: u32,
}

/// Messages that are told of one by one in the log.
const LOGGED: u32 = 10;

impl Unreadable {
    /// Logs damage to one message; any other error is given back.
    pub(super) fn note(&mut self, service: &ImapService, error: MailboxError) -> Result<(), MailboxError> {
        if error.class() != ErrorClass::Damaged {
            return Err(error);
        }
        self.count = self.count.saturating_add(1);
        if self.count <= LOGGED {
            service.log.record(Level::Error, format_args!("{error}"));
        }
        if self.count == LOGGED {
            service.log.record(
                Level::Error,
                format_args!("further damaged messages are not told of one by one"),
            );
        }
        Ok(())
    }

    /// The reply to the command, if there are any.
    pub(super) fn reply(&self) -> Option<Reply> {
        let text = match self.count {
            0 => return None,
            1 => "1 message is damaged on the server and left out".to_owned(),
            count => format!("{count} messages are damaged on the server and left out"),
        };
        Some(Reply::no(text).with(Code::Unavailable))
    }
}
