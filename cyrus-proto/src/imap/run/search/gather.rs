//! What threads are made of, from the cache.

use cyrus_store::message::field_values;
use cyrus_store::search::Collation;
use cyrus_store::{IndexRead, MailboxError, Uid};

use super::Hit;
use super::envelope::Envelope;
use super::sort::{is_about_one_message, sent};
use super::subject::BaseSubject;
use super::text::Items;
use super::thread::{Threads, message_ids};
use crate::imap::command::{Numbering, ThreadAlgorithm};

/// The threads of what was found, ready to print.
pub(super) fn threads(
    read: &IndexRead<'_>,
    hits: &[Hit],
    numbering: Numbering,
    algorithm: ThreadAlgorithm,
    collation: Collation,
) -> Result<Vec<u8>, MailboxError> {
    let mut threads = Threads::new();
    let range = hits.first().zip(hits.last());
    let range = range.and_then(|(first, last)| Uid::new(first.uid).zip(Uid::new(last.uid)));
    let mut next = hits.iter().peekable();
    if let Some((first, last)) = range {
        for message in read.range(first..=last) {
            let uid = message.uid().get();
            while next.next_if(|hit| hit.uid < uid).is_some() {}
            let Some(hit) = next.next_if(|hit| hit.uid == uid) else {
                continue;
            };
            let number = hit.number(numbering);
            let dates = (sent(&message), message.internal_date());
            if algorithm == ThreadAlgorithm::OrderedSubject {
                threads.add(number, dates, None, std::iter::empty());
                continue;
            }
            let mut items = Items::new(&message);
            let record = match items.cached() {
                Ok(record) => record,
                Err(error) if is_about_one_message(&error) => {
                    threads.add(number, dates, None, std::iter::empty());
                    continue;
                }
                Err(error) => return Err(error),
            };
            let envelope = Envelope::parse(record.envelope());
            let id = message_ids(envelope.message_id()).next();
            let mut references = field_values(record.headers(), b"references")
                .flat_map(message_ids)
                .peekable();
            match references.peek() {
                Some(_) => threads.add(number, dates, id, references),
                None => threads.add(number, dates, id, message_ids(envelope.in_reply_to()).take(1)),
            }
        }
    }
    let mut subject = |number: u32| subject(read, hits, numbering, number, collation);
    let mut out = Vec::new();
    threads.finish(algorithm, &mut subject, &mut out);
    Ok(out)
}

/// The base subject of the message with this number, in the form that is compared; none if it cannot be read.
fn subject(
    read: &IndexRead<'_>,
    hits: &[Hit],
    numbering: Numbering,
    number: u32,
    collation: Collation,
) -> BaseSubject {
    let hit = hits.binary_search_by_key(&number, |hit| hit.number(numbering));
    let hit = hit.ok().and_then(|place| hits.get(place));
    let message = hit.and_then(|hit| read.get(Uid::new(hit.uid)?));
    let text = message.and_then(|message| {
        let mut items = Items::new(&message);
        let record = items.cached().ok()?;
        Some(String::from_utf8_lossy(record.subject_text()?).into_owned())
    });
    let base = BaseSubject::of(&text.unwrap_or_default());
    BaseSubject {
        text: collation.form(&base.text),
        ..base
    }
}
