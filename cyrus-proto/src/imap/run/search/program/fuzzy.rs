//! Strings that need not be there as they stand (RFC 6203): their words count, in any form and order.
//!
//! Without an index what is like a string is what holds it. With one it is also what holds all of its words.

use cyrus_store::search::Pattern;
use cyrus_store::search::index::{Place, SearchIndex, stems};
use cyrus_store::{MailboxError, Message, Uid, UidSet};

use super::super::text::{Items, Where};

/// A string, and what the index says of its words.
pub(in super::super) struct Like {
    pub(super) place: Where,
    pub(super) pattern: Pattern,
    /// Their stems.
    pub(super) words: Vec<String>,
    known: Option<Known>,
}

/// What the index says.
struct Known {
    /// The messages that hold the words, and how well they fit: up to 1.
    found: Vec<(Uid, f32)>,
    /// Messages that the index does not know.
    unknown: UidSet,
}

impl Like {
    pub(super) fn new(place: Where, pattern: Pattern, text: &str) -> Self {
        Self {
            place,
            pattern,
            words: stems(text),
            known: None,
        }
    }

    /// Asks an index.
    pub(super) fn consult(&mut self, index: &SearchIndex) {
        let Some(place) = self.indexed_place() else {
            return;
        };
        self.known = index.like(place, &self.words).map(|mut found| {
            let best = found
                .iter()
                .map(|(_, score)| *score)
                .fold(f32::MIN_POSITIVE, f32::max);
            for (_, score) in &mut found {
                *score /= best;
            }
            Known {
                found,
                unknown: index.unknown(),
            }
        });
    }

    /// Where an index keeps the words; nowhere if they are too few, or of a field that it does not tell from others.
    pub(super) fn indexed_place(&self) -> Option<Place> {
        match self.place {
            Where::Header(_) => None,
            _ => Some(self.place.in_index()).filter(|_| !self.words.is_empty()),
        }
    }

    pub(super) fn holds(
        &self,
        message: &Message<'_>,
        items: &mut Items<'_, '_>,
    ) -> Result<bool, MailboxError> {
        let Some(known) = &self.known else {
            return items.contain(&self.place, &self.pattern);
        };
        if known.unknown.contains(message.uid()) {
            return Ok(
                items.contain(&self.place, &self.pattern)? || items.have_words(&self.place, &self.words)?
            );
        }
        Ok(known.score(message.uid()).is_some() || items.contain(&self.place, &self.pattern)?)
    }

    /// How well a message fits that was found, up to 1; `None` if the index says nothing.
    pub(super) fn score(&self, uid: Uid) -> Option<f32> {
        let known = self.known.as_ref()?;
        match known.unknown.contains(uid) {
            true => None,
            false => Some(known.score(uid).unwrap_or(AS_IT_STANDS)),
        }
    }
}

impl Known {
    fn score(&self, uid: Uid) -> Option<f32> {
        let place = self.found.binary_search_by_key(&uid, |(uid, _)| *uid).ok()?;
        self.found.get(place).map(|(_, score)| *score)
    }
}

/// How well a message fits that holds the string, but as a part of other words.
const AS_IT_STANDS: f32 = 0.5;
