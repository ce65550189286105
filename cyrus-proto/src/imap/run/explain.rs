//! What is wrong, in words for the user: nothing of it depends on whether anybody else's mailbox exists.

use cyrus_acl::Identifier;
use cyrus_store::{MailboxError, MailboxName, NameError, Separator};

use super::Request;
use crate::imap::response::Reply;

/// The answer about a name that no mailbox can have.
pub(super) fn bad_name(error: &NameError) -> Reply {
    let why = match error {
        NameError::Empty => "it is empty".to_owned(),
        NameError::EmptyComponent { .. } => "a part of it is empty".to_owned(),
        NameError::BadByte { byte, .. } => match byte {
            b' '..=b'~' => format!("'{}' is not allowed in it", char::from(*byte)),
            _ => format!("octet {byte:02X} is not allowed in it"),
        },
        NameError::BadUtf7 { .. } => "it is malformed modified UTF-7, in which & by itself is &-".to_owned(),
        NameError::TooLong { length, limit } => {
            format!("it is {length} octets long, of at most {limit}")
        }
        NameError::Reserved(_) => "it is reserved".to_owned(),
        NameError::NamespaceRoot(_) => "mailboxes are below it, and it is none".to_owned(),
        other => other.to_string(),
    };
    Reply::no(format!("Invalid mailbox name: {why}"))
}

/// The answer to a command with an identifier, which was refused for this reason.
pub(super) fn refused_identifier(request: &Request, text: &str, error: &MailboxError) -> Reply {
    let store = &request.service.store;
    match (error, Identifier::canonical(text, &*store.options().mechanism)) {
        (MailboxError::InvalidIdentifier, Err(why)) => Reply::no(format!("Invalid identifier: {why}")),
        _ => request.refusal(error),
    }
}

/// The answer to a user who asks for the INBOX that nobody has made for him yet.
pub(super) fn missing_inbox(request: &Request, name: &MailboxName) -> Option<Reply> {
    let user = &request.user.name;
    let namespace = &request.service.options.namespace;
    let is_own = namespace.inbox(user).is_ok_and(|inbox| inbox == *name);
    if !is_own || request.user.is_admin() || request.user.auth.is_anonymous() {
        return None;
    }
    let dotted = namespace.separator == Separator::Dot && user.contains('.');
    Some(Reply::no(match dotted {
        true => {
            format!("Mailbox does not exist: {user} can have no INBOX here, because of the dot in the userid")
        }
        false => format!("Mailbox does not exist: {user} has no INBOX yet; CREATE INBOX makes it"),
    }))
}
