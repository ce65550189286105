//! GETMETADATA and SETMETADATA (RFC 5464).

use cyrus_store::{
    Annotation, AnnotationScope, AnnotationUpdate, Audience, ErrorClass, MailboxError, MailboxName,
};

use super::annotation::matches;
use super::{Chain, Pieces, Request, completed};
use crate::imap::command::{GetMetadata, MetadataDepth, SetMetadata};
use crate::imap::response::{Code, Reply, put_metadata};
use crate::imap::selected::News;
use crate::job::Job;
use crate::output::Output;

/// An entry with its full name, and its value.
type Entry = (String, Option<Vec<u8>>);

/// Entries that a client asks for by their full names, `/shared/...` or `/private/...`.
pub(super) struct Wanted {
    entries: Vec<(Audience, String)>,
    depth: MetadataDepth,
}

impl Wanted {
    /// `None` if a name begins with neither.
    pub(super) fn new(entries: &[Vec<u8>], depth: MetadataDepth) -> Option<Self> {
        let entries = entries.iter().map(|entry| split_entry(entry));
        Some(Self {
            entries: entries.collect::<Option<_>>()?,
            depth,
        })
    }

    /// The entries of a scope, with full names.
    pub(super) fn find(
        &self,
        request: &Request,
        scope: AnnotationScope<'_>,
    ) -> Result<Vec<Entry>, MailboxError> {
        let is_wanted = |name: &str, audience| {
            let of_audience = self.entries.iter().filter(|(wanted, _)| *wanted == audience);
            let mut entries = of_audience.map(|(_, entry)| entry);
            entries.any(|entry| {
                let below = |suffix: &str| matches(format!("{entry}{suffix}").as_bytes(), name.as_bytes());
                below("")
                    || match self.depth {
                        MetadataDepth::Zero => false,
                        MetadataDepth::One => below("/%"),
                        MetadataDepth::Infinity => below("/*"),
                    }
            })
        };
        let store = &request.service.store;
        let mut found = store.find_annotations(scope, &is_wanted, &request.user.auth)?;
        // What is named without wildcards is told in any case.
        for (_, entry) in &self.entries {
            for audience in [Audience::Private, Audience::Shared] {
                let named = self
                    .entries
                    .iter()
                    .any(|wanted| *wanted == (audience, entry.clone()));
                let is_pattern = entry.contains(['*', '%']);
                let is_known = |found: &Annotation| found.audience == audience && found.entry == *entry;
                if named && !is_pattern && !found.iter().any(is_known) {
                    found.push(Annotation {
                        entry: entry.clone(),
                        audience,
                        value: None,
                    });
                }
            }
        }
        let full = found.into_iter().map(|found| {
            let prefix = match found.audience {
                Audience::Shared => "/shared",
                Audience::Private => "/private",
            };
            (format!("{prefix}{}", found.entry), found.value)
        });
        Ok(full.collect())
    }
}

/// `/shared/comment` as audience and entry; case does not count.
fn split_entry(full: &[u8]) -> Option<(Audience, String)> {
    let full = String::from_utf8_lossy(full).to_ascii_lowercase();
    let (audience, entry) = match full.strip_prefix("/shared") {
        Some(entry) => (Audience::Shared, entry),
        None => (Audience::Private, full.strip_prefix("/private")?),
    };
    (entry.is_empty() || entry.starts_with('/')).then(|| (audience, entry.to_owned()))
}

fn bad_entry() -> Reply {
    Reply::bad("entry must begin with /shared or /private")
}

/// The job of a GETMETADATA.
pub(super) fn get_job(request: Request, get: GetMetadata) -> Job {
    Job::new(Chain::new(Get {
        wanted: Wanted::new(&get.entries, get.depth),
        request: Some(request),
        get,
        left: None,
        longest: 0,
    }))
}

struct Get {
    request: Option<Request>,
    get: GetMetadata,
    wanted: Option<Wanted>,
    /// The mailboxes that are left to tell, once they have been looked up.
    left: Option<std::vec::IntoIter<(String, MailboxName)>>,
    /// Octets of the longest value that was too long to be told.
    longest: usize,
}

impl Get {
    /// Tells what is wanted of one scope.
    fn tell(
        &mut self,
        client: &[u8],
        scope: AnnotationScope<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), MailboxError> {
        let Some((request, wanted)) = self.request.as_ref().zip(self.wanted.as_ref()) else {
            return Ok(());
        };
        let mut found = wanted.find(request, scope)?;
        let limit = self
            .get
            .max_size
            .map_or(usize::MAX, |size| usize::try_from(size).unwrap_or(usize::MAX));
        found.retain(|(_, value)| {
            let length = value.as_ref().map_or(0, Vec::len);
            if length > limit {
                self.longest = self.longest.max(length);
            }
            length <= limit
        });
        if !found.is_empty() {
            put_metadata(out, client, &found);
        }
        Ok(())
    }

    fn reply(&self) -> Reply {
        match self.longest {
            0 => completed(),
            longest => completed().with(Code::Metadata(format!("LONGENTRIES {longest}"))),
        }
    }
}

impl Pieces for Get {
    fn piece(&mut self, output: &mut Output, budget: usize) -> Result<Option<Reply>, MailboxError> {
        let Some(request) = self.request.as_ref().filter(|_| self.wanted.is_some()) else {
            return Ok(Some(bad_entry()));
        };
        let mut out = Vec::new();
        let client = self.get.mailbox.clone();
        let mut left = match self.left.take() {
            Some(left) => left,
            None if client.is_empty() => {
                self.tell(b"", AnnotationScope::Server, &mut out)?;
                output.put_vec(out);
                return Ok(Some(self.reply()));
            }
            None => request.named_or_matching(&client)?.into_iter(),
        };
        let several = client.iter().any(|c| b"*%".contains(c));
        for (shown, name) in left.by_ref() {
            match self.tell(shown.as_bytes(), AnnotationScope::Mailbox(&name), &mut out) {
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
        Ok(Some(self.reply()))
    }

    fn request(&mut self) -> Option<Request> {
        self.request.take()
    }

    fn news(&self) -> News<'_> {
        News::ALL
    }
}

pub(super) fn set(request: &Request, set: &SetMetadata) -> Result<Reply, MailboxError> {
    let mut changes = Vec::with_capacity(set.values.len());
    for (full, value) in &set.values {
        let Some((audience, entry)) = split_entry(full) else {
            return Ok(bad_entry());
        };
        changes.push(AnnotationUpdate {
            entry,
            audience,
            value: value.clone(),
        });
    }
    let done = request.annotate(&set.mailbox, &changes);
    Ok(match done {
        Ok(()) => completed(),
        Err(MailboxError::AnnotationTooLong { limit }) => {
            Reply::no("Annotation too long").with(Code::Metadata(format!("MAXSIZE {limit}")))
        }
        Err(error @ MailboxError::TooManyAnnotations) => {
            request.refusal(&error).with(Code::Metadata("TOOMANY".to_owned()))
        }
        Err(error @ MailboxError::NoPrivateAnnotation) => request
            .refusal(&error)
            .with(Code::Metadata("NOPRIVATE".to_owned())),
        Err(error) => return Err(error),
    })
}

impl Request {
    /// The one mailbox of a name, or those that a pattern matches, as the client knows them and as they are.
    pub(super) fn named_or_matching(
        &self,
        client: &[u8],
    ) -> Result<Vec<(String, MailboxName)>, MailboxError> {
        if client.iter().any(|c| b"*%".contains(c)) {
            return self.matching(client);
        }
        let name = self.name(client)?;
        Ok(vec![(String::from_utf8_lossy(client).into_owned(), name)])
    }

    /// Changes annotations of the server, or of the mailboxes of this name or pattern.
    pub(super) fn annotate(&self, client: &[u8], changes: &[AnnotationUpdate]) -> Result<(), MailboxError> {
        let store = &self.service.store;
        let auth = &self.user.auth;
        if client.is_empty() {
            return store.set_annotations(AnnotationScope::Server, changes, auth);
        }
        let names = self.named_or_matching(client)?;
        if names.is_empty() {
            return Err(MailboxError::NotFound);
        }
        names
            .iter()
            .try_for_each(|(_, name)| store.set_annotations(AnnotationScope::Mailbox(name), changes, auth))
    }
}
