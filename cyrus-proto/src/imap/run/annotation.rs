//! GETANNOTATION and SETANNOTATION (the draft before RFC 5464), and annotations of messages (RFC 5257).

use cyrus_store::{
    Annotation, AnnotationScope, AnnotationUpdate, Audience, ErrorClass, MailboxError, MailboxName, Uid,
};

use super::{Chain, Pieces, Request, completed};
use crate::imap::command::{AnnotationChange, AnnotationQuery, GetAnnotation, SetAnnotation};
use crate::imap::response::{FetchLine, Reply, put_annotation};
use crate::imap::selected::News;
use crate::job::Job;
use crate::output::Output;

/// An attribute of an annotation and its value.
type Attribute = (&'static str, Option<Vec<u8>>);

/// The attributes of an annotation that are asked for by patterns; `value` means both `value.priv` and `value.shared`.
fn attributes(found: &Annotation, wanted: &[Vec<u8>]) -> Vec<Attribute> {
    let length = found.value.as_ref().map_or(0, Vec::len).to_string();
    let all = match found.audience {
        Audience::Shared => [("value", "value.shared"), ("size", "size.shared")],
        Audience::Private => [("value", "value.priv"), ("size", "size.priv")],
    };
    let is_wanted = |(both, name): &(&'static str, &'static str)| {
        wanted
            .iter()
            .any(|wanted| matches(wanted, name.as_bytes()) || wanted.eq_ignore_ascii_case(both.as_bytes()))
    };
    let values = [found.value.clone(), Some(length.into_bytes())];
    let all = all.into_iter().zip(values).filter(|(names, _)| is_wanted(names));
    all.map(|((_, name), value)| (name, value)).collect()
}

/// The annotations of a scope of which entries match one of the patterns, and NIL for entries that are named.
fn find(
    request: &Request,
    scope: AnnotationScope<'_>,
    patterns: &[Vec<u8>],
) -> Result<Vec<Annotation>, MailboxError> {
    let wanted = |entry: &str, _: Audience| {
        let matches = |pattern: &Vec<u8>| matches(pattern, entry.as_bytes());
        patterns.iter().any(matches)
    };
    let store = &request.service.store;
    let mut found = store.find_annotations(scope, &wanted, &request.user.auth)?;
    let named = patterns
        .iter()
        .filter(|pattern| !pattern.iter().any(|c| b"*%".contains(c)));
    for entry in named.filter_map(|entry| std::str::from_utf8(entry).ok()) {
        for audience in [Audience::Private, Audience::Shared] {
            let is_known =
                |found: &Annotation| found.audience == audience && found.entry.eq_ignore_ascii_case(entry);
            if !found.iter().any(is_known) {
                found.push(Annotation {
                    entry: entry.to_owned(),
                    audience,
                    value: None,
                });
            }
        }
    }
    Ok(found)
}

/// The job of a GETANNOTATION.
pub(super) fn get_job(request: Request, get: GetAnnotation) -> Job {
    Job::new(Chain::new(Get {
        request: Some(request),
        get,
        left: None,
    }))
}

struct Get {
    request: Option<Request>,
    get: GetAnnotation,
    /// The mailboxes that are left to tell, once they have been looked up.
    left: Option<std::vec::IntoIter<(String, MailboxName)>>,
}

impl Get {
    fn tell(
        &self,
        request: &Request,
        client: &[u8],
        scope: AnnotationScope<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), MailboxError> {
        let found = find(request, scope, &self.get.entries)?;
        // Neighbours of one entry share a line.
        for group in found.chunk_by(|a, b| a.entry == b.entry) {
            let wanted = |found| attributes(found, &self.get.attributes);
            let told: Vec<Attribute> = group.iter().flat_map(wanted).collect();
            if let Some(first) = group.first()
                && !told.is_empty()
            {
                let told = told.iter().map(|(name, value)| (*name, value.as_deref()));
                put_annotation(out, client, &first.entry, told);
            }
        }
        Ok(())
    }
}

impl Pieces for Get {
    fn piece(&mut self, output: &mut Output, budget: usize) -> Result<Option<Reply>, MailboxError> {
        let Some(request) = &self.request else {
            return Ok(Some(completed()));
        };
        if !request.service.options.annotation_legacy_commands {
            return Err(MailboxError::PermissionDenied);
        }
        let mut out = Vec::new();
        let mut left = match self.left.take() {
            Some(left) => left,
            None if self.get.mailbox.is_empty() => {
                self.tell(request, b"", AnnotationScope::Server, &mut out)?;
                output.put_vec(out);
                return Ok(Some(completed()));
            }
            None => request.named_or_matching(&self.get.mailbox)?.into_iter(),
        };
        let several = self.get.mailbox.iter().any(|c| b"*%".contains(c));
        for (shown, name) in left.by_ref() {
            let scope = AnnotationScope::Mailbox(&name);
            match self.tell(request, shown.as_bytes(), scope, &mut out) {
                // One among many that may be listed and not read.
                Err(error) if several && error.class() == ErrorClass::Impossible => {}
                told => told?,
            }
            if out.len() >= budget {
                output.put_vec(out);
                self.left = Some(left);
                return Ok(None);
            }
        }
        output.put_vec(out);
        Ok(Some(completed()))
    }

    fn request(&mut self) -> Option<Request> {
        self.request.take()
    }

    fn news(&self) -> News<'_> {
        News::ALL
    }
}

pub(super) fn set(request: &Request, set: &SetAnnotation) -> Result<Reply, MailboxError> {
    if !request.service.options.annotation_legacy_commands {
        return Err(MailboxError::PermissionDenied);
    }
    request.annotate(&set.mailbox, &updates(&set.changes)?)?;
    Ok(completed())
}

/// Changes as the store takes them.
///
/// # Errors
/// An attribute cannot be set: only values can. Content types of old drafts are passed over.
pub(super) fn updates(changes: &[AnnotationChange]) -> Result<Vec<AnnotationUpdate>, MailboxError> {
    let mut updates = Vec::new();
    for change in changes {
        let entry = String::from_utf8_lossy(&change.entry).to_ascii_lowercase();
        for (attribute, value) in &change.attributes {
            let attribute = attribute.to_ascii_lowercase();
            let audience = match attribute.as_slice() {
                b"value.shared" => Audience::Shared,
                b"value.priv" => Audience::Private,
                other if other.starts_with(b"content-type") => continue,
                _ => return Err(MailboxError::PermissionDenied),
            };
            updates.push(AnnotationUpdate {
                entry: entry.clone(),
                audience,
                value: value.clone(),
            });
        }
    }
    Ok(updates)
}

/// The annotations of one message that a FETCH asks for.
///
/// Takes locks of its own: not to be called while the mailbox is being read.
pub(super) fn of_message(
    request: &Request,
    name: &MailboxName,
    uid: Uid,
    query: &AnnotationQuery,
) -> Result<Vec<Annotation>, MailboxError> {
    find(request, AnnotationScope::Message(name, uid), &query.entries)
}

/// `ANNOTATION (...)` with the attributes of `found` that are asked for, all of an entry together.
pub(super) fn put_annotations(line: &mut FetchLine<'_>, query: &AnnotationQuery, found: &[Annotation]) {
    let mut entries: Vec<(&str, Vec<Attribute>)> = Vec::new();
    for found in found {
        let told = attributes(found, &query.attributes);
        if told.is_empty() {
            continue;
        }
        match entries.iter_mut().find(|(entry, _)| *entry == found.entry) {
            Some((_, attributes)) => attributes.extend(told),
            None => entries.push((&found.entry, told)),
        }
    }
    line.annotations(entries);
}

/// Whether a name matches a pattern with `*`, and `%` for one level.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
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
