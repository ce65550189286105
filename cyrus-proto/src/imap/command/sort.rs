//! SORT and THREAD (RFC 5256; RFC 5957; RFC 6203; Cyrus's own criteria).

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::{tag, take_while1};

use super::lex::{Parsed, astring, expect, is_atom_char, printable, refuse, sp};
use super::search::{SearchProgram, search_keys};

/// What messages are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // named as in the RFCs
pub enum SortKey {
    Arrival,
    Cc,
    Date,
    /// RFC 5957: the display name of the first From address.
    DisplayFrom,
    /// RFC 5957.
    DisplayTo,
    From,
    /// `SORT=MODSEQ`
    ModSeq,
    /// RFC 6203.
    Relevancy,
    Size,
    Subject,
    To,
    /// `SORT=UID`
    Uid,
}

/// `sort-criterion` (RFC 5256, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortCriterion {
    /// What to compare.
    pub key: SortKey,
    /// `REVERSE`: descending.
    pub reverse: bool,
}

impl SortCriterion {
    /// How many criteria a SORT may have.
    pub const MAX: usize = 32;
}

const KEYS: [(SortKey, &str); 12] = [
    (SortKey::Arrival, "ARRIVAL"),
    (SortKey::Cc, "CC"),
    (SortKey::Date, "DATE"),
    (SortKey::DisplayFrom, "DISPLAYFROM"),
    (SortKey::DisplayTo, "DISPLAYTO"),
    (SortKey::From, "FROM"),
    (SortKey::ModSeq, "MODSEQ"),
    (SortKey::Relevancy, "RELEVANCY"),
    (SortKey::Size, "SIZE"),
    (SortKey::Subject, "SUBJECT"),
    (SortKey::To, "TO"),
    (SortKey::Uid, "UID"),
];

/// `thread-alg` (RFC 5256, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadAlgorithm {
    /// By subject alone.
    OrderedSubject,
    /// By References, then by subject.
    References,
    /// By References alone, threads in the order of their newest messages.
    Refs,
}

impl ThreadAlgorithm {
    const NAMES: [(Self, &'static str); 3] = [
        (Self::OrderedSubject, "ORDEREDSUBJECT"),
        (Self::References, "REFERENCES"),
        (Self::Refs, "REFS"),
    ];

    pub(super) fn name(self) -> &'static str {
        let known = Self::NAMES.iter().find(|(algorithm, _)| *algorithm == self);
        known.map_or("REFERENCES", |(_, name)| name)
    }
}

/// `sort-criteria = "(" sort-criterion *(SP sort-criterion) ")"` (RFC 5256, section 5).
pub(super) fn sort_criteria(input: &[u8]) -> Parsed<'_, Vec<SortCriterion>> {
    let missing = || "Missing Sort criteria".into();
    let (mut rest, _) = expect(tag(&b"("[..]), missing).parse(input)?;
    let mut criteria = Vec::new();
    loop {
        let (after, criterion) = sort_criterion(rest)?;
        criteria.push(criterion);
        if criteria.len() > SortCriterion::MAX {
            return refuse(rest, "Too many Sort criteria");
        }
        match after.split_first() {
            Some((b' ', more)) => rest = more,
            Some((b')', more)) => return Ok((more, criteria)),
            _ => return refuse(after, "Missing close parenthesis in Sort"),
        }
    }
}

/// `sort-criterion = ["REVERSE" SP] sort-key` (RFC 5256, section 5).
fn sort_criterion(input: &[u8]) -> Parsed<'_, SortCriterion> {
    let word = |input, words: &'static str| -> Parsed<'_, &[u8]> {
        expect(take_while1(is_atom_char), || words.into()).parse(input)
    };
    let (mut rest, mut name) = word(input, "Missing Sort criteria")?;
    let reverse = name.eq_ignore_ascii_case(b"REVERSE");
    if reverse {
        const MISSING: &str = "Missing Sort criterion to reverse";
        let (after, ()) = expect(sp, || MISSING.into()).parse(rest)?;
        (rest, name) = word(after, MISSING)?;
    }
    let known = KEYS
        .iter()
        .find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name));
    match known {
        Some(&(key, _)) => Ok((rest, SortCriterion { key, reverse })),
        None => {
            let name = printable(&name.to_ascii_lowercase());
            refuse(input, format!("Invalid Sort criterion {name}"))
        }
    }
}

/// `thread-alg` (RFC 5256, section 5).
pub(super) fn thread_alg(input: &[u8]) -> Parsed<'_, ThreadAlgorithm> {
    let missing = || "Missing algorithm in Thread".into();
    let (rest, name) = expect(take_while1(is_atom_char), missing).parse(input)?;
    if rest.is_empty() {
        return refuse(rest, "Missing algorithm in Thread");
    }
    let known = ThreadAlgorithm::NAMES
        .iter()
        .find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name));
    match known {
        Some(&(algorithm, _)) => Ok((rest, algorithm)),
        None => refuse(input, format!("Invalid Thread algorithm {}", printable(name))),
    }
}

/// `search-criteria = charset 1*(SP search-key)` after its first space (RFC 5256, section 5).
pub(super) fn search_criteria(input: &[u8]) -> Parsed<'_, SearchProgram> {
    let missing = || Cow::Borrowed("Missing charset");
    let (rest, charset) = expect(astring, missing).parse(input)?;
    let (rest, ()) = expect(sp, missing).parse(rest)?;
    let (rest, keys) = search_keys(rest)?;
    let charset = Some(charset.into_owned());
    Ok((rest, SearchProgram { charset, keys }))
}

/// Appends ` (criterion ...)`.
pub(super) fn write_criteria(out: &mut Vec<u8>, criteria: &[SortCriterion]) {
    for (i, criterion) in criteria.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b" (" } else { b" " });
        if criterion.reverse {
            out.extend_from_slice(b"REVERSE ");
        }
        let name = KEYS.iter().find(|(key, _)| *key == criterion.key);
        out.extend_from_slice(name.map_or("ARRIVAL", |(_, name)| name).as_bytes());
    }
    out.push(b')');
}
