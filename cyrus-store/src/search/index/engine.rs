//! What is asked of tantivy: an open index, the messages with some runs of octets, those with some words.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tantivy::columnar::Column;
use tantivy::query::{BooleanQuery, EnableScoring, Occur, Query, TermQuery};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{
    DocId, DocSet, Index, IndexReader, ReloadPolicy, Searcher, SegmentReader, TERMINATED, TantivyError, Term,
};

use super::directory::IndexDirectory;
use super::grams::Gram;
use super::state::State;
use super::{IndexError, Place};
use crate::lock::LockTable;
use crate::uid::Uid;

/// What is wrong with an index.
#[derive(Debug)]
pub(super) enum Fault {
    Busy,
    Foreign,
    Damaged(String),
}

impl Fault {
    pub(super) fn at(self, path: &Path) -> IndexError {
        let path = path.to_owned();
        match self {
            Self::Busy => IndexError::Busy { path },
            Self::Foreign => IndexError::Foreign { path },
            Self::Damaged(reason) => IndexError::Damaged { path, reason },
        }
    }
}

impl From<TantivyError> for Fault {
    fn from(error: TantivyError) -> Self {
        match error {
            TantivyError::LockFailure(..) => Self::Busy,
            TantivyError::IncompatibleIndex(_) | TantivyError::SchemaError(_) => Self::Foreign,
            error => Self::Damaged(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Runs what uses tantivy, which gives up with a panic on some kinds of nonsense.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Fault::Damaged(text.unwrap_or_default()))
    })
}

/// The fields of a message in an index.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    pub(super) uid: Field,
    /// The first octets of its SHA-1.
    pub(super) guid: Field,
    pub(super) grams: Field,
    pub(super) from: Field,
    pub(super) to: Field,
    pub(super) cc: Field,
    pub(super) bcc: Field,
    pub(super) subject: Field,
    /// Words of header fields.
    pub(super) header: Field,
    pub(super) body: Field,
}

impl Fields {
    /// The fields, and the schema that they make.
    pub(super) fn schema() -> (Self, Schema) {
        let mut schema = Schema::builder();
        let words = TextFieldIndexing::default()
            .set_tokenizer("whitespace")
            .set_index_option(IndexRecordOption::WithFreqs);
        let words = TextOptions::default().set_indexing_options(words);
        let fields = Self {
            uid: schema.add_u64_field("uid", INDEXED | FAST),
            guid: schema.add_u64_field("guid", FAST),
            grams: schema.add_u64_field("grams", INDEXED),
            from: schema.add_text_field("from", words.clone()),
            to: schema.add_text_field("to", words.clone()),
            cc: schema.add_text_field("cc", words.clone()),
            bcc: schema.add_text_field("bcc", words.clone()),
            subject: schema.add_text_field("subject", words.clone()),
            header: schema.add_text_field("header", words.clone()),
            body: schema.add_text_field("body", words),
        };
        (fields, schema.build())
    }

    fn of(self, place: Place) -> Vec<Field> {
        match place {
            Place::Text => vec![
                self.subject,
                self.body,
                self.from,
                self.to,
                self.cc,
                self.bcc,
                self.header,
            ],
            Place::Body => vec![self.body],
            Place::Header => vec![self.header],
            Place::From => vec![self.from],
            Place::To => vec![self.to],
            Place::Cc => vec![self.cc],
            Place::Bcc => vec![self.bcc],
            Place::Subject => vec![self.subject],
        }
    }
}

/// The index in a directory, or a new one there.
pub(super) fn open_or_create(path: &Path, locks: &LockTable) -> Result<Index, Fault> {
    let (_, schema) = Fields::schema();
    let directory = IndexDirectory::new(path, locks);
    let index = Index::open_or_create(directory, schema.clone())?;
    match index.schema() == schema {
        true => Ok(index),
        false => Err(Fault::Foreign),
    }
}

/// An index that is open for reading, as it was at that moment.
pub(super) struct Opened {
    pub(super) state: State,
    _reader: IndexReader,
    searcher: Searcher,
    fields: Fields,
    /// For each segment, the UIDs and the hashes of its messages.
    columns: Vec<(Column<u64>, Column<u64>)>,
}

impl Opened {
    /// Opens the index in a directory.
    pub(super) fn open(path: &Path, locks: &LockTable) -> Result<Self, Fault> {
        let (fields, schema) = Fields::schema();
        let index = Index::open(IndexDirectory::new(path, locks))?;
        if index.schema() != schema {
            return Err(Fault::Foreign);
        }
        for _ in 0..ATTEMPTS {
            let before = state_of(&index)?;
            let reader: IndexReader = index
                .reader_builder()
                .reload_policy(ReloadPolicy::Manual)
                .try_into()?;
            let searcher = reader.searcher();
            // Else somebody has just written it.
            if state_of(&index)? != before {
                continue;
            }
            let columns = searcher.segment_readers().iter().map(|segment| {
                let columns = segment.fast_fields();
                Ok::<_, Fault>((columns.u64("uid")?, columns.u64("guid")?))
            });
            return Ok(Self {
                state: before,
                columns: columns.collect::<Result<_, _>>()?,
                _reader: reader,
                searcher,
                fields,
            });
        }
        Err(Fault::Busy)
    }

    /// The messages that have all of these runs, or nearly all: UIDs in no order.
    pub(super) fn with_all(&self, grams: &[Gram]) -> Result<Vec<u32>, Fault> {
        let mut found = Vec::new();
        for (segment, (uids, _)) in self.searcher.segment_readers().iter().zip(&self.columns) {
            for document in self.documents_with_all(segment, grams)? {
                found.extend(uids.first(document).and_then(|uid| u32::try_from(uid).ok()));
            }
        }
        Ok(found)
    }

    fn documents_with_all(&self, segment: &SegmentReader, grams: &[Gram]) -> Result<Vec<DocId>, Fault> {
        let index = segment.inverted_index(self.fields.grams)?;
        let mut terms = Vec::with_capacity(grams.len());
        for &gram in grams {
            match index.get_term_info(&Term::from_field_u64(self.fields.grams, gram))? {
                Some(term) => terms.push(term),
                None => return Ok(Vec::new()),
            }
        }
        terms.sort_by_key(|term| term.doc_freq);
        let mut found: Vec<DocId> = Vec::new();
        for (number, term) in terms.iter().take(MAX_RUNS).enumerate() {
            let mut postings = index.read_postings_from_terminfo(term, IndexRecordOption::Basic)?;
            if number == 0 {
                while postings.doc() != TERMINATED {
                    if segment
                        .alive_bitset()
                        .is_none_or(|alive| alive.is_alive(postings.doc()))
                    {
                        found.push(postings.doc());
                    }
                    postings.advance();
                }
                continue;
            }
            // The messages themselves are as quickly looked at as a long list is.
            if found.len() <= FEW {
                break;
            }
            found.retain(|&document| {
                let at = match postings.doc() < document {
                    true => postings.seek(document),
                    false => postings.doc(),
                };
                at == document
            });
        }
        Ok(found)
    }

    /// The messages with these words, ascending, and how well they fit.
    pub(super) fn like(&self, place: Place, words: &[String]) -> Result<Vec<(Uid, f32)>, Fault> {
        if words.is_empty() {
            return Ok(Vec::new());
        }
        let one = |word: &String| -> (Occur, Box<dyn Query>) {
            let somewhere = self.fields.of(place).into_iter().map(|field| {
                let term = Term::from_field_text(field, word);
                let query: Box<dyn Query> = Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs));
                (Occur::Should, query)
            });
            (Occur::Must, Box::new(BooleanQuery::new(somewhere.collect())))
        };
        let query = BooleanQuery::new(words.iter().take(MAX_WORDS).map(one).collect());
        let weight = query.weight(EnableScoring::enabled_from_searcher(&self.searcher))?;
        let mut found = Vec::new();
        for (segment, (uids, _)) in self.searcher.segment_readers().iter().zip(&self.columns) {
            weight.for_each(segment, &mut |document, score| {
                let is_there = segment
                    .alive_bitset()
                    .is_none_or(|alive| alive.is_alive(document));
                let uid = uids
                    .first(document)
                    .and_then(|uid| Uid::new(u32::try_from(uid).ok()?));
                found.extend(uid.filter(|_| is_there).map(|uid| (uid, score)));
            })?;
        }
        found.sort_unstable_by_key(|(uid, _)| *uid);
        Ok(found)
    }

    /// All messages in the index: UIDs and beginnings of hashes, in no order.
    pub(super) fn messages(&self) -> Vec<(u32, u64)> {
        let mut all = Vec::new();
        for (segment, (uids, guids)) in self.searcher.segment_readers().iter().zip(&self.columns) {
            for document in segment.doc_ids_alive() {
                let uid = uids.first(document).and_then(|uid| u32::try_from(uid).ok());
                all.extend(uid.zip(guids.first(document)));
            }
        }
        all
    }
}

/// What the index says of itself.
fn state_of(index: &Index) -> Result<State, Fault> {
    let payload = index.load_metas()?.payload;
    payload.unwrap_or_default().parse().map_err(|_| Fault::Foreign)
}

/// How often an index is opened that is written at the same time.
const ATTEMPTS: usize = 4;

/// How many candidates are not worth another list.
const FEW: usize = 16;

/// How many lists are compared, the shortest first.
const MAX_RUNS: usize = 24;

/// How many words of a string are looked for.
const MAX_WORDS: usize = 32;
