//! GETMETADATA and FETCH ANNOTATION, reading only (RFC 5464, RFC 5257).

use cyrus_store::{Annotation, AnnotationScope, Audience, MailboxError, MailboxName, Uid};

use super::{Request, completed};
use crate::imap::command::{AnnotationQuery, Metadata};
use crate::imap::response::{FetchLine, Reply, put_metadata};

pub(super) fn get(request: &Request, query: &Metadata, out: &mut Vec<u8>) -> Result<Reply, MailboxError> {
    let store = &request.service.store;
    let name = match query.mailbox.is_empty() {
        true => None,
        false => Some(request.name(&query.mailbox)?),
    };
    let scope = match &name {
        None => AnnotationScope::Server,
        Some(name) => AnnotationScope::Mailbox(name),
    };
    let mut found = Vec::new();
    for wanted in &query.entries {
        let wanted = String::from_utf8_lossy(wanted).to_ascii_lowercase();
        let (audience, entry) = match (wanted.strip_prefix("/shared"), wanted.strip_prefix("/private")) {
            (Some(entry), _) if is_entry(entry) => (Audience::Shared, entry),
            (_, Some(entry)) if is_entry(entry) => (Audience::Private, entry),
            _ => return Ok(Reply::bad("entry must begin with /shared or /private")),
        };
        let value = store.annotation(scope, entry, audience, &request.user.auth)?;
        found.push((wanted, value));
    }
    found.sort();
    put_metadata(out, &query.mailbox, &found);
    Ok(completed())
}

/// Whether this may follow `/shared` or `/private`; both are entries themselves, without values.
fn is_entry(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

/// The annotations of one message that a FETCH asks for.
///
/// Takes locks of its own: not to be called while the mailbox is being read.
pub(super) fn of_message(
    request: &Request,
    name: &MailboxName,
    uid: Uid,
) -> Result<Vec<Annotation>, MailboxError> {
    let scope = AnnotationScope::Message(name, uid);
    request
        .service
        .store
        .list_annotations(scope, "/", &request.user.auth)
}

/// `ANNOTATION (...)` with those of `found` that `query` asks for, and NIL for entries that it names.
pub(super) fn put_annotations(line: &mut FetchLine<'_>, query: &AnnotationQuery, found: &[Annotation]) {
    let mut entries: Vec<&str> = found.iter().map(|found| found.entry.as_str()).collect();
    entries.retain(|entry| {
        let matches = |pattern: &Vec<u8>| matches(pattern, entry.as_bytes());
        query.entries.iter().any(matches)
    });
    let named = query
        .entries
        .iter()
        .filter(|entry| !entry.iter().any(|c| b"*%".contains(c)));
    entries.extend(named.filter_map(|entry| std::str::from_utf8(entry).ok()));
    entries.sort_unstable();
    entries.dedup();
    let value = |entry: &str, audience| {
        let found = found
            .iter()
            .find(|found| found.entry == entry && found.audience == audience);
        found.map(|found| found.value.clone())
    };
    let wanted = |name: &str| {
        let matching =
            |wanted: &Vec<u8>| matches(wanted, name.as_bytes()) || wanted.eq_ignore_ascii_case(b"value");
        query.attributes.iter().any(matching)
    };
    let shared = ("value.shared", Audience::Shared);
    let private = ("value.priv", Audience::Private);
    line.annotations(entries.into_iter().map(|entry| {
        // Those that are set come first, shared before private; the others follow, private before shared.
        let set = [shared, private]
            .map(|(name, audience)| (name, value(entry, audience)))
            .into_iter()
            .filter(|(_, value)| value.is_some());
        let unset = [private, shared]
            .map(|(name, audience)| (name, value(entry, audience)))
            .into_iter()
            .filter(|(_, value)| value.is_none());
        let values = set.chain(unset).filter(|(name, _)| wanted(name));
        (entry, values.collect::<Vec<_>>())
    }));
}

/// Whether a name matches a pattern with `*`, and `%` for one level.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // The part of the pattern that is tried next, for each place in the name so far: as wide as the pattern, not deeper.
    let mut states = vec![false; pattern.len() + 1];
    let skip_wildcards = |states: &mut Vec<bool>| {
        for at in 0..pattern.len() {
            if states[at] && matches!(pattern[at], b'*' | b'%') {
                states[at + 1] = true;
            }
        }
    };
    states[0] = true;
    skip_wildcards(&mut states);
    for &c in name {
        let mut next = vec![false; pattern.len() + 1];
        for at in 0..pattern.len() {
            if !states[at] {
                continue;
            }
            match pattern[at] {
                b'*' => next[at] = true,
                b'%' if c != b'/' => next[at] = true,
                wanted if wanted.eq_ignore_ascii_case(&c) => next[at + 1] = true,
                _ => {}
            }
        }
        states = next;
        skip_wildcards(&mut states);
    }
    states.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_list() {
        assert!(
            matches(b"*", b"/comment") && matches(b"/%", b"/comment") && matches(b"/COMMENT", b"/comment")
        );
        assert!(matches(b"/vendor/*", b"/vendor/cmu/x") && !matches(b"/vendor/%", b"/vendor/cmu/x"));
        assert!(matches(b"/*/x", b"/vendor/cmu/x") && !matches(b"/a", b"/ab") && !matches(b"", b"a"));
    }
}
