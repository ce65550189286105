//! SORT: what is compared (RFC 5256, section 3; RFC 5957).

use cyrus_store::message::decode_header;
use cyrus_store::search::Comparison;
use cyrus_store::{IndexRead, MailboxError, Message, Uid};

use super::Hit;
use super::program::EXACT;
use super::scan::in_parallel;
use super::subject::BaseSubject;
use super::text::Items;
use crate::imap::command::{SortCriterion, SortKey};
use cyrus_store::message::{Envelope, EnvelopeAddress};

/// Puts what was found in the order of `criteria`; messages that compare equal stay in that of the mailbox.
pub(super) fn sort(
    read: &IndexRead<'_>,
    hits: &mut Vec<Hit>,
    criteria: &[SortCriterion],
    comparison: Comparison,
) -> Result<(), MailboxError> {
    // Without an index every match is as good as any other.
    let is_equal = |criterion: &SortCriterion| {
        criterion.key == SortKey::Relevancy && hits.iter().all(|hit| hit.relevancy == EXACT)
    };
    let criteria: Vec<SortCriterion> = criteria
        .iter()
        .filter(|criterion| !is_equal(criterion))
        .copied()
        .collect();
    if criteria.is_empty() {
        return Ok(());
    }
    let found: Vec<(Hit, Message<'_>)> = messages(read, hits).collect();
    let mut columns: Vec<(Column, bool)> = criteria
        .iter()
        .map(|criterion| (Column::new(criterion.key), criterion.reverse))
        .collect();
    if columns
        .iter()
        .all(|(column, _)| matches!(column, Column::Numbers(_)))
    {
        add_all(&mut columns, &criteria, &found, comparison)?;
    } else {
        let pieces = in_parallel(&found, &|messages: &[(Hit, Message<'_>)]| {
            let mut columns: Vec<(Column, bool)> = criteria
                .iter()
                .map(|criterion| (Column::new(criterion.key), criterion.reverse))
                .collect();
            add_all(&mut columns, &criteria, messages, comparison)?;
            Ok::<_, MailboxError>(columns)
        });
        for piece in pieces {
            for ((column, _), (more, _)) in columns.iter_mut().zip(piece?) {
                column.append(more);
            }
        }
    }
    let kept: Vec<Hit> = found.iter().map(|(hit, _)| *hit).collect();
    *hits = ordered(&kept, &columns);
    Ok(())
}

/// The messages that were found, as far as they are still there; hits in the order of the mailbox.
pub(super) fn messages<'r>(
    read: &'r IndexRead<'_>,
    hits: &[Hit],
) -> impl Iterator<Item = (Hit, Message<'r>)> {
    let range = hits.first().zip(hits.last());
    let range = range.and_then(|(first, last)| Uid::new(first.uid).zip(Uid::new(last.uid)));
    let all = range.map(|(first, last)| read.range(first..=last));
    let mut next = hits.iter().copied().peekable();
    all.into_iter().flatten().filter_map(move |message| {
        let uid = message.uid().get();
        while next.next_if(|hit| hit.uid < uid).is_some() {}
        let hit = next.next_if(|hit| hit.uid == uid)?;
        Some((hit, message))
    })
}

/// Adds what is compared of some messages to the columns.
fn add_all(
    columns: &mut [(Column, bool)],
    criteria: &[SortCriterion],
    messages: &[(Hit, Message<'_>)],
    comparison: Comparison,
) -> Result<(), MailboxError> {
    for (hit, message) in messages {
        let mut items = Items::new(message);
        for ((column, _), criterion) in columns.iter_mut().zip(criteria) {
            if let (Column::Numbers(numbers), SortKey::Relevancy) = (&mut *column, criterion.key) {
                // The most relevant come first (RFC 6203, section 5).
                numbers.push(u64::from(EXACT - hit.relevancy.min(EXACT)));
                continue;
            }
            match column.add(criterion.key, message, &mut items, comparison) {
                Ok(()) => {}
                // A message that cannot be read any more sorts as one without content.
                Err(error) if is_about_one_message(&error) => column.add_nothing(),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Whether an error is no reason to give up on the others.
pub(super) fn is_about_one_message(error: &MailboxError) -> bool {
    matches!(error, MailboxError::MessageGone) || error.class() == cyrus_store::ErrorClass::Damaged
}

/// What a message is sorted by, one value a criterion.
pub(super) struct Keys(Vec<Key>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(u64),
    Text(String),
}

impl Keys {
    pub(super) fn of(
        message: &Message<'_>,
        criteria: &[SortCriterion],
        comparison: Comparison,
    ) -> Result<Self, MailboxError> {
        let mut items = Items::new(message);
        let key = |criterion: &SortCriterion| {
            Ok(match Column::new(criterion.key) {
                Column::Numbers(_) => Key::Number(number(criterion.key, message)),
                Column::Texts(_) => Key::Text(comparison.form(&text(criterion.key, &mut items)?)),
            })
        };
        Ok(Self(
            criteria.iter().map(key).collect::<Result<_, MailboxError>>()?,
        ))
    }

    /// The order of two messages, as far as the criteria tell them apart.
    pub(super) fn compare(&self, other: &Self, criteria: &[SortCriterion]) -> std::cmp::Ordering {
        let differing = self.0.iter().zip(&other.0).zip(criteria);
        let differing = differing.map(|((one, other), criterion)| match criterion.reverse {
            true => other.cmp(one),
            false => one.cmp(other),
        });
        differing.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    }
}

fn ordered(hits: &[Hit], columns: &[(Column, bool)]) -> Vec<Hit> {
    let count = u32::try_from(hits.len()).unwrap_or(u32::MAX);
    let pick = |place: u32| hits.get(place as usize).copied();
    if let [(Column::Numbers(numbers), reverse)] = columns {
        let key = |number: u64| if *reverse { !number } else { number };
        let mut order: Vec<(u64, u32)> = numbers.iter().map(|&number| key(number)).zip(0..count).collect();
        order.sort_unstable();
        return order.into_iter().filter_map(|(_, place)| pick(place)).collect();
    }
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_by(|&a, &b| {
        let differing = columns.iter().map(|(column, reverse)| {
            let ordering = column.compare(a as usize, b as usize);
            if *reverse { ordering.reverse() } else { ordering }
        });
        differing.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    order.into_iter().filter_map(pick).collect()
}

/// What one criterion compares, by place in the list of hits.
enum Column {
    Numbers(Vec<u64>),
    Texts(Texts),
}

/// Texts end to end.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    fn get(&self, place: usize) -> &[u8] {
        let end = self.ends.get(place).copied().unwrap_or_default();
        let start = place
            .checked_sub(1)
            .and_then(|before| self.ends.get(before))
            .copied();
        self.bytes.get(start.unwrap_or_default()..end).unwrap_or_default()
    }
}

impl Column {
    fn new(key: SortKey) -> Self {
        match key {
            SortKey::Relevancy
            | SortKey::Arrival
            | SortKey::Date
            | SortKey::ModSeq
            | SortKey::Size
            | SortKey::Uid => Self::Numbers(Vec::new()),
            SortKey::Cc
            | SortKey::DisplayFrom
            | SortKey::DisplayTo
            | SortKey::From
            | SortKey::Subject
            | SortKey::To => Self::Texts(Texts::default()),
        }
    }

    fn add(
        &mut self,
        key: SortKey,
        message: &Message<'_>,
        items: &mut Items<'_, '_>,
        comparison: Comparison,
    ) -> Result<(), MailboxError> {
        match self {
            Self::Numbers(numbers) => numbers.push(number(key, message)),
            Self::Texts(texts) => texts.push(&comparison.form(&text(key, items)?)),
        }
        Ok(())
    }

    fn append(&mut self, more: Self) {
        match (self, more) {
            (Self::Numbers(numbers), Self::Numbers(more)) => numbers.extend(more),
            (Self::Texts(texts), Self::Texts(more)) => {
                let start = texts.bytes.len();
                texts.bytes.extend(more.bytes);
                texts.ends.extend(more.ends.iter().map(|end| start + end));
            }
            _ => {}
        }
    }

    fn add_nothing(&mut self) {
        match self {
            Self::Numbers(numbers) => numbers.push(0),
            Self::Texts(texts) => texts.push(""),
        }
    }

    fn compare(&self, a: usize, b: usize) -> std::cmp::Ordering {
        match self {
            Self::Numbers(numbers) => numbers.get(a).cmp(&numbers.get(b)),
            Self::Texts(texts) => texts.get(a).cmp(texts.get(b)),
        }
    }
}

/// The number that a criterion compares, ascending.
fn number(key: SortKey, message: &Message<'_>) -> u64 {
    let unsigned = |date: i64| u64::try_from(date).unwrap_or_default();
    match key {
        SortKey::Arrival => unsigned(message.internal_date()),
        SortKey::Date => unsigned(sent(message)),
        SortKey::ModSeq => message.modseq().0,
        SortKey::Size => u64::from(message.size()),
        SortKey::Uid => u64::from(message.uid().get()),
        _ => 0,
    }
}

/// When a message was sent; when it was received, if it does not say (RFC 5256, section 2.2).
pub(super) fn sent(message: &Message<'_>) -> i64 {
    match message.gm_date() {
        0 => message.internal_date(),
        date => date,
    }
}

/// The text that a criterion compares.
fn text(key: SortKey, items: &mut Items<'_, '_>) -> Result<String, MailboxError> {
    let record = items.cached()?;
    if key == SortKey::Subject {
        return Ok(BaseSubject::of(&String::from_utf8_lossy(
            record.subject_text().unwrap_or_default(),
        ))
        .text);
    }
    let envelope = Envelope::parse(record.envelope());
    Ok(match key {
        SortKey::Cc => mailbox(envelope.cc()),
        SortKey::From => mailbox(envelope.from()),
        SortKey::To => mailbox(envelope.to()),
        SortKey::DisplayFrom => display(envelope.from()),
        _ => display(envelope.to()),
    })
}

fn mailbox(address: EnvelopeAddress<'_>) -> String {
    String::from_utf8_lossy(address.mailbox.unwrap_or_default()).into_owned()
}

/// The display name, or the address where there is none (RFC 5957, section 3).
fn display(address: EnvelopeAddress<'_>) -> String {
    let name = address.name.filter(|name| !name.is_empty());
    let shown = match (name, address.mailbox, address.host) {
        (Some(name), ..) => decode_header(name),
        (None, Some(mailbox), Some(host)) if !host.is_empty() => [mailbox, b"@", host].concat(),
        (None, mailbox, _) => mailbox.unwrap_or_default().to_vec(),
    };
    String::from_utf8_lossy(&shown).into_owned()
}
