//! What stands for indexes of texts where the feature `search-index` is off: there are none.

use std::convert::Infallible;

use super::Pattern;
use crate::error::MailboxError;
use crate::mailbox::Mailbox;
use crate::message::CacheRecord;
use crate::uid::{Uid, UidSet};

/// In which texts of a message a string is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Any header field and all text.
    Text,
    /// All but the message's own header.
    Body,
    /// Some field of the message's own header.
    Header,
    /// The addresses of From.
    From,
    /// Those of To.
    To,
    /// Those of Cc.
    Cc,
    /// Those of Bcc.
    Bcc,
    /// The subject.
    Subject,
}

/// What messages are to hold.
#[derive(Clone, Debug)]
pub enum Wanted<'p> {
    /// This string.
    Holds(Place, &'p Pattern),
    /// These words, or some like them.
    Like(Place, &'p [String]),
    /// All of these.
    All(Vec<Wanted<'p>>),
    /// One of these.
    Any(Vec<Wanted<'p>>),
}

/// There is no value of this type.
#[derive(Clone, Debug)]
pub struct SearchIndex(Infallible);

#[derive(Default)]
pub(crate) struct Indexes;

impl Indexes {
    pub(crate) fn close(&self) {}
}

impl Mailbox {
    /// The index of the mailbox: `None`.
    ///
    /// # Errors
    /// There are none.
    pub fn search_index(&mut self) -> Result<Option<SearchIndex>, MailboxError> {
        Ok(None)
    }
}

impl SearchIndex {
    /// The messages that the index does not know.
    pub fn unknown(&self) -> UidSet {
        match self.0 {}
    }

    /// The messages beyond which none can hold what is wanted.
    pub fn narrow(&self, _wanted: &Wanted<'_>) -> Option<UidSet> {
        match self.0 {}
    }

    /// The messages with these words.
    pub fn like(&self, _place: Place, _words: &[String]) -> Option<Vec<(Uid, f32)>> {
        match self.0 {}
    }
}

/// Whether a message holds words: nothing compares them.
pub fn has_words(_message: &[u8], _record: &CacheRecord<'_>, _place: Place, _words: &[String]) -> bool {
    false
}

/// The stems of the words of a text: none, for nothing compares them.
pub fn stems(_text: &str) -> Vec<String> {
    Vec::new()
}
