//! What threads are made of, from the cache, gathered by several threads of the process.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use cyrus_store::message::field_values;
use cyrus_store::search::Comparison;
use cyrus_store::{IndexRead, MailboxError, Message};

use super::Hit;
use super::scan::in_parallel;
use super::sort::{is_about_one_message, messages, sent, subject_form};
use super::subject::BaseSubject;
use super::text::Items;
use super::thread::{Mail, MessageId, Threads, message_ids};
use crate::imap::command::{Numbering, ThreadAlgorithm};
use cyrus_store::message::Envelope;

/// The threads of what was found, ready to print.
pub(super) fn threads(
    read: &IndexRead<'_>,
    hits: &[Hit],
    numbering: Numbering,
    algorithm: ThreadAlgorithm,
    comparison: Comparison,
) -> Result<Vec<u8>, MailboxError> {
    let hasher = Threads::hasher();
    let found: Vec<(Hit, Message<'_>)> = messages(read, hits).collect();
    let gathered = in_parallel(&found, &|messages: &[(Hit, Message<'_>)]| {
        let mut facts = Facts::default();
        for (hit, message) in messages {
            facts.add(hit.number(numbering), message, algorithm, comparison, &hasher)?;
        }
        Ok::<_, MailboxError>(facts)
    });
    let gathered = gathered.into_iter().collect::<Result<Vec<Facts>, _>>()?;
    let ids = gathered.iter().map(|facts| facts.ids.len()).sum();
    let mut threads = Threads::with_room(found.len(), ids);
    for facts in &gathered {
        for fact in &facts.mails {
            threads.add(facts.mail(fact), facts.own_id(fact), facts.references(fact));
        }
    }
    let mut out = Vec::new();
    threads.finish(algorithm, &mut out);
    Ok(out)
}

/// What is known of some messages, texts end to end.
#[derive(Default)]
struct Facts {
    bytes: Vec<u8>,
    subjects: String,
    ids: Vec<Id>,
    mails: Vec<Fact>,
}

struct Id {
    hash: u64,
    text: Range<usize>,
}

/// One message; ranges are of [`Facts::ids`] and [`Facts::subjects`].
struct Fact {
    number: u32,
    date: i64,
    arrival: i64,
    /// Its own id, if it has one, comes first.
    ids: Range<usize>,
    has_id: bool,
    subject: Range<usize>,
    is_reply: bool,
}

impl Facts {
    fn add(
        &mut self,
        number: u32,
        message: &Message<'_>,
        algorithm: ThreadAlgorithm,
        comparison: Comparison,
        hasher: &RandomState,
    ) -> Result<(), MailboxError> {
        let mut fact = Fact {
            number,
            date: sent(message),
            arrival: message.internal_date(),
            ids: self.ids.len()..self.ids.len(),
            has_id: false,
            subject: self.subjects.len()..self.subjects.len(),
            is_reply: false,
        };
        let mut items = Items::new(message);
        match items.cached() {
            Ok(record) => {
                if algorithm != ThreadAlgorithm::OrderedSubject {
                    let envelope = Envelope::parse(record.envelope());
                    let own = message_ids(envelope.message_id()).next();
                    fact.has_id = own.is_some();
                    own.into_iter().for_each(|id| self.push_id(id, hasher));
                    let before = self.ids.len();
                    for id in field_values(record.headers(), b"references").flat_map(message_ids) {
                        self.push_id(id, hasher);
                    }
                    if self.ids.len() == before {
                        let id = message_ids(envelope.in_reply_to()).next();
                        id.into_iter().for_each(|id| self.push_id(id, hasher));
                    }
                    fact.ids.end = self.ids.len();
                }
                if algorithm != ThreadAlgorithm::Refs {
                    let text = String::from_utf8_lossy(record.subject_text().unwrap_or_default());
                    let base = BaseSubject::of(&text);
                    self.subjects.push_str(&subject_form(comparison, &base.text));
                    fact.is_reply = base.is_reply;
                    fact.subject.end = self.subjects.len();
                }
            }
            // A message that cannot be read any more is a thread of its own.
            Err(error) if is_about_one_message(&error) => {}
            Err(error) => return Err(error),
        }
        self.mails.push(fact);
        Ok(())
    }

    fn push_id(&mut self, id: &[u8], hasher: &RandomState) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(id);
        self.ids.push(Id {
            hash: hasher.hash_one(id),
            text: start..self.bytes.len(),
        });
    }

    fn id(&self, id: &Id) -> MessageId<'_> {
        MessageId {
            hash: id.hash,
            text: self.bytes.get(id.text.clone()).unwrap_or_default(),
        }
    }

    fn mail(&self, fact: &Fact) -> Mail<'_> {
        Mail {
            number: fact.number,
            date: fact.date,
            arrival: fact.arrival,
            subject: self.subjects.get(fact.subject.clone()).unwrap_or_default(),
            is_reply: fact.is_reply,
        }
    }

    fn own_id(&self, fact: &Fact) -> Option<MessageId<'_>> {
        let own = self.ids.get(fact.ids.start).filter(|_| fact.has_id);
        own.map(|id| self.id(id))
    }

    fn references(&self, fact: &Fact) -> impl Iterator<Item = MessageId<'_>> {
        let start = fact.ids.start + usize::from(fact.has_id);
        let ids = self.ids.get(start..fact.ids.end).unwrap_or_default();
        ids.iter().map(|id| self.id(id))
    }
}
