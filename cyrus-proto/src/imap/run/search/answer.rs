//! What a search tells of its results (RFC 3501, section 7.2.5; RFC 4731; RFC 5256; RFC 5267; RFC 9394).

use cyrus_store::{IndexRead, Uid, UidSet};

use super::Hit;
use crate::imap::command::{Numbering, SearchReturn, Tag};
use crate::imap::response::{EsearchLine, SearchedMailbox};

/// The results of a search, in the order asked for.
pub(super) struct Results<'h> {
    pub(super) hits: &'h [Hit],
    pub(super) numbering: Numbering,
    /// Whether the program names modification sequences: then the answer tells the highest one (RFC 7162, section 3.1.5).
    pub(super) modseq: Option<u64>,
}

impl Results<'_> {
    /// What the client calls the results.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.hits.iter().map(|hit| hit.number(self.numbering))
    }

    fn number(&self, hit: Option<&Hit>) -> Option<u32> {
        hit.map(|hit| hit.number(self.numbering))
    }

    /// `* ESEARCH ...` with what `returns` asks for.
    pub(super) fn put(
        &self,
        out: &mut Vec<u8>,
        tag: &Tag,
        mailbox: Option<SearchedMailbox<'_>>,
        returns: &SearchReturn,
        read: &IndexRead<'_>,
    ) {
        let (first, last) = (self.hits.first(), self.hits.last());
        let mut line = EsearchLine::begin(out, tag, mailbox, self.numbering == Numbering::Uid);
        if returns.count {
            line.number("COUNT", self.hits.len() as u64);
        }
        if let Some(number) = self.number(first).filter(|_| returns.min) {
            line.number("MIN", u64::from(number));
        }
        if let Some(number) = self.number(last).filter(|_| returns.max) {
            line.number("MAX", u64::from(number));
        }
        if returns.all && !self.hits.is_empty() {
            line.set("ALL", self.numbers());
        }
        if let Some(range) = returns.partial {
            let hits = self.hits.get(range.places(self.hits.len())).unwrap_or_default();
            let numbers: Vec<u32> = hits.iter().map(|hit| hit.number(self.numbering)).collect();
            line.partial(range, &numbers);
        }
        if returns.relevancy && !self.hits.is_empty() {
            line.relevancy(self.hits.iter().map(|hit| hit.relevancy));
        }
        if let Some(modseq) = self.modseq.and_then(|all| self.modseq_of(all, returns, read)) {
            line.number("MODSEQ", modseq);
        }
        line.end();
    }

    /// The highest modification sequence of the results told, where those are fewer than all: RFC 7162, section 3.1.5.
    fn modseq_of(&self, all: u64, returns: &SearchReturn, read: &IndexRead<'_>) -> Option<u64> {
        if self.hits.is_empty() {
            return None;
        }
        if returns.all
            || returns.count
            || returns.relevancy
            || !returns.min && !returns.max && returns.partial.is_none()
        {
            return Some(all);
        }
        let told = told(self.hits, returns);
        told.filter_map(|hit| read.get(Uid::new(hit.uid)?))
            .map(|message| message.modseq().0)
            .max()
    }
}

/// The results that MIN, MAX and PARTIAL tell of.
fn told<'h>(hits: &'h [Hit], returns: &SearchReturn) -> impl Iterator<Item = &'h Hit> {
    let first = hits.first().filter(|_| returns.min);
    let last = hits.last().filter(|_| returns.max);
    let partial = returns
        .partial
        .and_then(|range| hits.get(range.places(hits.len())));
    first.into_iter().chain(last).chain(partial.unwrap_or_default())
}

/// What `$` means after a search with these options (RFC 5182, section 2.4; RFC 9394, section 3.3).
pub(super) fn saved(hits: &[Hit], returns: &SearchReturn) -> UidSet {
    let some = returns.min || returns.max || returns.partial.is_some();
    let set = |hits: &mut dyn Iterator<Item = &Hit>| {
        let mut uids: Vec<Uid> = hits.filter_map(|hit| Uid::new(hit.uid)).collect();
        uids.sort_unstable();
        UidSet::from_iter(uids)
    };
    match some && !returns.all && !returns.count {
        true => set(&mut told(hits, returns)),
        false => set(&mut hits.iter()),
    }
}
