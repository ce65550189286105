//! Searches whose results are kept true while the mailbox changes (RFC 5267, section 4.3).

use std::collections::BTreeSet;
use std::sync::Arc;

use cyrus_store::search::Comparison;
use cyrus_store::{IndexRead, MailboxError, Message, ModSeq, Uid, UidSet};

use super::program::Program;
use super::sort::Keys;
use super::text::Items;
use super::{Hit, Order};
use crate::imap::command::{FetchAttributes, Numbering, SortCriterion, SortKey, Tag};
use crate::imap::response::{EsearchLine, Reply};
use crate::imap::run::{Request, completed};
use crate::imap::selected::{News, View};

/// The searches of one session that are kept true.
#[derive(Default)]
pub(crate) struct Contexts(Vec<Context>);

struct Context {
    tag: Tag,
    numbering: Numbering,
    program: Program,
    results: Results,
    /// What is fetched of new messages (RFC 5465, section 7), and those of which it is to be.
    fetch: Option<Arc<FetchAttributes>>,
    fresh: UidSet,
}

/// A search that has been made, and what it found.
pub(super) struct Found<'f> {
    pub(super) tag: Tag,
    pub(super) numbering: Numbering,
    pub(super) program: Program,
    pub(super) order: &'f Order,
    pub(super) hits: &'f [Hit],
    pub(super) comparison: Comparison,
    /// What is to be fetched of new results.
    pub(super) fetch: Option<Arc<FetchAttributes>>,
}

enum Results {
    /// Of SEARCH: a set.
    Set(UidSet),
    /// Of SORT: a list in the order asked for.
    Sorted {
        uids: Vec<u32>,
        criteria: Vec<SortCriterion>,
        comparison: Comparison,
    },
}

/// One change told to the client.
enum Change {
    Add(u32, Vec<u32>),
    Remove(u32, Vec<u32>),
}

impl Contexts {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something is to be fetched of new results.
    pub(crate) fn has_fresh(&self) -> bool {
        self.0.iter().any(|context| !context.fresh.is_empty())
    }

    /// The new results of which something is to be fetched, and what.
    pub(crate) fn take_fresh(&mut self) -> Option<(UidSet, FetchAttributes)> {
        let (mut uids, mut wanted) = (UidSet::new(), FetchAttributes::default());
        for context in self.0.iter_mut().filter(|context| !context.fresh.is_empty()) {
            uids.extend_from(&std::mem::take(&mut context.fresh));
            if let Some(fetch) = &context.fetch {
                wanted.merge(FetchAttributes::clone(fetch));
            }
        }
        (!uids.is_empty()).then_some((uids, wanted))
    }

    /// Whether a search with this tag is kept true.
    pub(super) fn has(&self, tag: &Tag) -> bool {
        self.0.iter().any(|context| context.tag == *tag)
    }

    /// Keeps a search true from now on; false if there are `most` already.
    pub(super) fn add(&mut self, most: usize, found: Found<'_>) -> bool {
        if self.0.len() >= most {
            return false;
        }
        let Found { hits, .. } = found;
        let results = match found.order {
            Order::Sorted(criteria) => Results::Sorted {
                uids: hits.iter().map(|hit| hit.uid).collect(),
                criteria: criteria.clone(),
                comparison: found.comparison,
            },
            Order::Mailbox | Order::Threads(_) => {
                Results::Set(hits.iter().filter_map(|hit| Uid::new(hit.uid)).collect())
            }
        };
        self.0.push(Context {
            tag: found.tag,
            numbering: found.numbering,
            program: found.program,
            results,
            fetch: found.fetch,
            fresh: UidSet::new(),
        });
        true
    }

    /// Tells what leaves the results because it is expunged; to be told before the expunges themselves, while the numbers are
    /// those the client knows.
    pub(crate) fn before_news(
        &mut self,
        read: &IndexRead<'_>,
        view: &View,
        news: &News<'_>,
        out: &mut Vec<u8>,
    ) {
        let same = Arc::ptr_eq(read.uids(), view.uids());
        if self.is_empty() || !news.expunges || !view.wants_counts() || same {
            return;
        }
        for context in &mut self.0 {
            let changes = context.results.drop_gone(read);
            context.tell(&changes, view, out);
        }
    }

    /// Tells what enters and leaves the results because messages are new or changed; to be told when the client knows them.
    /// Before, it knew all changes up to `told`, and messages up to `last`.
    pub(crate) fn after_news(
        &mut self,
        read: &IndexRead<'_>,
        view: &View,
        news: &News<'_>,
        (told, last): (ModSeq, Option<Uid>),
        out: &mut Vec<u8>,
    ) {
        if self.is_empty() || read.highest_modseq() <= told && news.changed.is_none() {
            return;
        }
        let changed = read.changed_since(told).filter(|change| change.visible);
        let mut changed: BTreeSet<Uid> = changed.map(|change| change.uid).collect();
        changed.extend(news.changed.into_iter().flat_map(UidSet::iter));
        for context in &mut self.0 {
            context.program.bind(read);
            let mut changes = Vec::new();
            let messages = changed.iter().filter_map(|&uid| read.get(uid));
            for message in messages.filter(|message| Some(message.uid()) <= view.uids().last()) {
                let mut items = Items::new(&message);
                // What cannot be read does not match, as in the search itself.
                let matches = context.program.matches(&message, &mut items).unwrap_or(false);
                // Only of new messages, not of those that a flag brings in (RFC 5465, section 7).
                if matches && context.fetch.is_some() && Some(message.uid()) > last {
                    context.fresh.insert(message.uid());
                }
                context.results.update(read, &message, matches, &mut changes);
            }
            context.tell(&changes, view, out);
        }
    }
}

impl Context {
    fn tell(&self, changes: &[Change], view: &View, out: &mut Vec<u8>) {
        if changes.is_empty() {
            return;
        }
        let number = |uid: &u32| match self.numbering {
            Numbering::Uid => Some(*uid),
            Numbering::Sequence => view.uids().seqno(Uid::new(*uid)?),
        };
        let mut line = EsearchLine::begin(out, &self.tag, None, self.numbering == Numbering::Uid);
        for change in changes {
            let (name, position, uids) = match change {
                Change::Add(position, uids) => ("ADDTO", *position, uids),
                Change::Remove(position, uids) => ("REMOVEFROM", *position, uids),
            };
            line.change(name, &[(position, uids.iter().filter_map(number).collect())]);
        }
        line.end();
    }
}

impl Results {
    /// Takes out what is no longer there.
    fn drop_gone(&mut self, read: &IndexRead<'_>) -> Vec<Change> {
        match self {
            Self::Set(uids) => {
                let mut gone = uids.clone();
                gone.remove_all(&UidSet::from_ranges(read.uids().ranges()));
                uids.remove_all(&gone);
                let gone: Vec<u32> = gone.iter().map(Uid::get).collect();
                match gone.is_empty() {
                    true => Vec::new(),
                    false => vec![Change::Remove(0, gone)],
                }
            }
            Self::Sorted { uids, .. } => {
                let is_gone = |uid: &u32| Uid::new(*uid).and_then(|uid| read.uids().seqno(uid)).is_none();
                let mut runs: Vec<(usize, Vec<u32>)> = Vec::new();
                for (place, uid) in uids.iter().enumerate().filter(|(_, uid)| is_gone(uid)) {
                    match runs.last_mut() {
                        Some((start, run)) if *start + run.len() == place => run.push(*uid),
                        _ => runs.push((place, vec![*uid])),
                    }
                }
                uids.retain(|uid| !is_gone(uid));
                // From the end, so that no removal moves another one.
                let runs = runs.into_iter().rev();
                runs.map(|(place, run)| Change::Remove(position(place), run))
                    .collect()
            }
        }
    }

    /// Takes a message in or out, or to another place.
    fn update(
        &mut self,
        read: &IndexRead<'_>,
        message: &Message<'_>,
        matches: bool,
        changes: &mut Vec<Change>,
    ) {
        match self {
            Self::Set(uids) => {
                let uid = message.uid();
                match (uids.contains(uid), matches) {
                    (false, true) => {
                        uids.insert(uid);
                        note(changes, true, uid.get());
                    }
                    (true, false) => {
                        uids.remove_all(&UidSet::from(uid..=uid));
                        note(changes, false, uid.get());
                    }
                    (true, true) | (false, false) => {}
                }
            }
            Self::Sorted {
                uids,
                criteria,
                comparison,
            } => {
                let uid = message.uid().get();
                let place = uids.iter().position(|known| *known == uid);
                let moves = criteria.iter().any(|criterion| criterion.key == SortKey::ModSeq);
                match (place, matches) {
                    (Some(_), true) if !moves => {}
                    (None, false) => {}
                    (place, _) => {
                        if let Some(place) = place {
                            uids.remove(place);
                        }
                        let target = matches.then(|| insertion(read, uids, message, criteria, *comparison));
                        if let Some(target) = target {
                            uids.insert(target.min(uids.len()), uid);
                        }
                        if place == target {
                            return;
                        }
                        changes.extend(place.map(|place| Change::Remove(position(place), vec![uid])));
                        changes.extend(target.map(|target| Change::Add(position(target), vec![uid])));
                    }
                }
            }
        }
    }
}

/// Adds a UID to the last change if that is of the same kind.
fn note(changes: &mut Vec<Change>, added: bool, uid: u32) {
    match (changes.last_mut(), added) {
        (Some(Change::Add(0, uids)), true) | (Some(Change::Remove(0, uids)), false) => uids.push(uid),
        (_, true) => changes.push(Change::Add(0, vec![uid])),
        (_, false) => changes.push(Change::Remove(0, vec![uid])),
    }
}

/// The context position, from 1, of a place in a list.
fn position(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX).saturating_add(1)
}

/// Where in a sorted list a message belongs.
fn insertion(
    read: &IndexRead<'_>,
    uids: &[u32],
    message: &Message<'_>,
    criteria: &[SortCriterion],
    comparison: Comparison,
) -> usize {
    let keys =
        |message: &Message<'_>| -> Result<Keys, MailboxError> { Keys::of(message, criteria, comparison) };
    let Ok(own) = keys(message) else {
        return uids.len();
    };
    let uid = message.uid().get();
    // Whether what is at a place comes before the message; unknown if it is gone.
    let before = |place: usize| -> Option<bool> {
        let other = uids.get(place).and_then(|&other| read.get(Uid::new(other)?))?;
        let ordering = keys(&other).ok()?.compare(&own, criteria);
        Some(ordering.then(other.uid().get().cmp(&uid)).is_lt())
    };
    let (mut low, mut high) = (0, uids.len());
    while low < high {
        let middle = low + (high - low) / 2;
        // The nearest one that is still there.
        let found = (middle..high).find_map(|place| before(place).map(|before| (place, before)));
        match found {
            Some((place, true)) => low = place + 1,
            Some((_, false)) | None => high = middle,
        }
    }
    low
}

/// CANCELUPDATE (RFC 5267, section 4.3.5).
pub(in crate::imap::run) fn cancel_update(
    request: &mut Request,
    tags: &[Vec<u8>],
) -> Result<Reply, MailboxError> {
    let contexts = &mut request.selected()?.contexts;
    let is_named = |context: &Context| tags.iter().any(|tag| tag == context.tag.as_bytes());
    let known = |tag: &Vec<u8>| contexts.0.iter().any(|context| context.tag.as_bytes() == tag);
    if !tags.iter().all(known) {
        return Ok(Reply::no("No search with this tag is updated"));
    }
    contexts.0.retain(|context| !is_named(context));
    Ok(completed())
}
