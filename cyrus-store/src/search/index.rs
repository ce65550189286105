//! An index of the texts of a mailbox's messages, so that a search need not look at every one; why and how is told in
//! `docs/SEARCH.md`.
//!
//! [`Mailbox::search_index`] gives it to those who search, [`Store::index_mailbox`] brings it up to date. It is never part of
//! the truth: it may be missing, old, or of another version, and then is left aside. Where it narrows a search, the message
//! decides; what it does not know yet is always looked at.

mod build;
mod checked;
mod directory;
mod engine;
mod grams;
mod keep;
mod state;
mod texts;
mod words;

use std::path::PathBuf;
use std::sync::Arc;

use super::{Collation, Pattern};
use crate::error::MailboxError;
use crate::mailbox::Mailbox;
use crate::store::Store;
use crate::uid::{Uid, UidSet};

pub use build::{Indexed, Indexing};
pub(crate) use keep::Indexes;

use engine::Opened;
use grams::{Gram, Half};
use state::Texts;

pub use words::{has_words, stems};

/// Why there is no use in an index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Somebody else is writing it.
    #[error("{}: another process is at work on this index", path.display())]
    Busy {
        /// The directory of the index.
        path: PathBuf,
    },
    /// It is of another version of the program, or of other settings.
    #[error("{}: the index is of another version or of other settings; `squatter` makes it anew", path.display())]
    Foreign {
        /// The directory of the index.
        path: PathBuf,
    },
    /// It is damaged, or the disk does not give or take it.
    #[error("{}: {reason}; `squatter` makes the index anew", path.display())]
    Damaged {
        /// The directory of the index.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There are to be no indexes.
    #[error("search_engine is none: there are no indexes")]
    Off,
    /// The mailbox could not be read.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
}

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

/// The index of a mailbox, as it was when it was asked for.
#[derive(Clone)]
pub struct SearchIndex {
    store: Store,
    path: PathBuf,
    opened: Arc<Opened>,
}

impl Mailbox {
    /// The index of the mailbox; `None` if there is none of any use.
    ///
    /// # Errors
    /// The mailbox cannot be read.
    pub fn search_index(&mut self) -> Result<Option<SearchIndex>, MailboxError> {
        let store = self.store().clone();
        if !store.options().search.engine {
            return Ok(None);
        }
        let path = store.index_path(self.entry())?;
        let Some(opened) = store.indexes().open(&store, &path) else {
            return Ok(None);
        };
        let own = self.id().clone();
        let read = self.read()?;
        let state = &opened.state;
        // A mailbox that came back from a backup is behind its index.
        let fits = state.id == own
            && state.uidvalidity == read.uidvalidity()
            && state.through < read.uidnext()
            && state.modseq <= read.highest_modseq()
            && state.texts == Texts::of(&store.options().search);
        drop(read);
        Ok(fits.then_some(SearchIndex { store, path, opened }))
    }
}

impl SearchIndex {
    /// The messages that the index does not know: those that came after it was written, and some that could not be read.
    pub fn unknown(&self) -> UidSet {
        let state = &self.opened.state;
        let mut unknown = state.left_out.clone();
        if let Some(next) =
            Uid::new(state.through.saturating_add(1)).filter(|next| next.get() > state.through)
        {
            unknown.extend_from(&UidSet::from(next..=Uid::MAX));
        }
        unknown
    }

    /// The messages beyond which none can hold what is wanted, those unknown among them; `None` if the index cannot tell.
    pub fn narrow(&self, wanted: &Wanted<'_>) -> Option<UidSet> {
        let found = self.guarded(|| self.candidates(wanted))?;
        found.map(|found| {
            let mut uids: UidSet = found.into_iter().filter_map(Uid::new).collect();
            uids.extend_from(&self.unknown());
            uids
        })
    }

    /// The messages with these words, ascending, and how well they fit: the higher, the better.
    pub fn like(&self, place: Place, words: &[String]) -> Option<Vec<(Uid, f32)>> {
        self.guarded(|| self.opened.like(place, words))
    }

    /// The result of `look`; `None`, and a line in the log, if the index is not as it should be.
    fn guarded<T>(&self, look: impl FnOnce() -> Result<T, engine::Fault>) -> Option<T> {
        match engine::guarded(look) {
            Ok(found) => Some(found),
            Err(fault) => {
                let error = fault.at(&self.path);
                self.store.indexes().refuse(&self.store, &self.path, &error);
                None
            }
        }
    }

    /// The UIDs of candidates, ascending.
    fn candidates(&self, wanted: &Wanted<'_>) -> Result<Option<Vec<u32>>, engine::Fault> {
        match wanted {
            Wanted::Holds(place, pattern) => self.holders(*place, pattern),
            Wanted::Like(place, words) => {
                let found = self.opened.like(*place, words)?;
                Ok(Some(found.into_iter().map(|(uid, _)| uid.get()).collect()))
            }
            Wanted::All(all) => {
                let mut left: Option<Vec<u32>> = None;
                for one in all {
                    if let Some(found) = self.candidates(one)? {
                        left = Some(match left {
                            None => found,
                            Some(left) => both(&left, &found),
                        });
                    }
                }
                Ok(left)
            }
            Wanted::Any(any) => {
                let mut found = Vec::new();
                for one in any {
                    match self.candidates(one)? {
                        Some(more) => found.extend(more),
                        None => return Ok(None),
                    }
                }
                found.sort_unstable();
                found.dedup();
                Ok(Some(found))
            }
        }
    }

    fn holders(&self, place: Place, pattern: &Pattern) -> Result<Option<Vec<u32>>, engine::Fault> {
        let texts = self.opened.state.texts;
        let Some(form) = form_of(pattern, texts.comparison()) else {
            return Ok(None);
        };
        let of = |half| grams::of(half, &form);
        let halves: Vec<Vec<Gram>> = match place {
            Place::Text | Place::Header if !texts.headers => return Ok(None),
            Place::Text => [Half::Header, Half::Body].into_iter().filter_map(of).collect(),
            Place::Body => of(Half::Body).into_iter().collect(),
            Place::Header | Place::From | Place::To | Place::Cc | Place::Bcc | Place::Subject => {
                of(Half::Header).into_iter().collect()
            }
        };
        if halves.is_empty() {
            return Ok(None);
        }
        let mut found = Vec::new();
        for grams in &halves {
            found.extend(self.opened.with_all(grams)?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(Some(found))
    }
}

/// What is in the form of any text that holds the pattern, where texts are compared as the index does.
fn form_of(pattern: &Pattern, indexed: super::Comparison) -> Option<Vec<u8>> {
    let own = pattern.comparison;
    match own.collation {
        Collation::UnicodeCasemap if own == indexed => Some(pattern.form.clone()),
        Collation::UnicodeCasemap => None,
        // What is equal octet by octet, or but for the case of ASCII letters, is equal in search form.
        Collation::AsciiCasemap | Collation::Octet => {
            let text = std::str::from_utf8(&pattern.form).ok()?;
            Some(indexed.form(text).into_bytes())
        }
    }
}

/// For the fuzz target: what can be read is written as it was.
pub(crate) fn fuzz(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(state) = text.parse::<state::State>()
    {
        assert_eq!(
            state.to_string().parse().as_ref(),
            Ok(&state),
            "what was written reads back"
        );
    }
    let _ = stems(&String::from_utf8_lossy(data));
}

/// What two ascending lists have in common.
fn both(one: &[u32], other: &[u32]) -> Vec<u32> {
    let mut rest = other.iter().copied().peekable();
    let in_other = |uid: &u32| {
        while rest.next_if(|next| next < uid).is_some() {}
        rest.next_if_eq(uid).is_some()
    };
    let mut in_other = in_other;
    one.iter().copied().filter(|uid| in_other(uid)).collect()
}
