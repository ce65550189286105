//! Sequence sets: which messages a command is about (RFC 3501, section 9, `sequence-set`).

use std::fmt;
use std::num::NonZeroU32;

use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::combinator::{map, opt};
use nom::{Parser, multi::separated_list1};

use super::command::lex::{Parsed, mismatch, number, refuse};

/// One end of a range: a number, or `*`, the largest in use.
///
/// `*` orders after every number, as RFC 3501 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeqNumber {
    /// A message sequence number or UID.
    Number(NonZeroU32),
    /// `*`.
    Last,
}

impl SeqNumber {
    fn resolve(self, last: u32) -> u32 {
        match self {
            Self::Number(number) => number.get(),
            Self::Last => last,
        }
    }
}

impl fmt::Display for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Last => f.write_str("*"),
        }
    }
}

/// A set of message numbers as the client wrote it; what `*` means depends on the mailbox.
///
/// Without any range it is `$`, the result of the last search that was saved (RFC 5182): the mailbox's view knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceSet(Vec<(SeqNumber, SeqNumber)>);

impl SequenceSet {
    /// The most ranges a set may have.
    pub const MAX_RANGES: usize = 32_768;

    /// A set of the ranges given, if there is at least one and not too many.
    pub fn new(ranges: Vec<(SeqNumber, SeqNumber)>) -> Option<Self> {
        (1..=Self::MAX_RANGES)
            .contains(&ranges.len())
            .then_some(Self(ranges))
    }

    /// Whether `*` is in it.
    pub fn names_last(&self) -> bool {
        self.0
            .iter()
            .any(|&(a, b)| a == SeqNumber::Last || b == SeqNumber::Last)
    }

    /// How many ranges it has, as the client wrote it.
    pub fn ranges(&self) -> usize {
        self.0.len()
    }

    /// `$`: the result of the last search that was saved.
    pub fn saved() -> Self {
        Self(Vec::new())
    }

    /// Whether this is `$`.
    pub fn is_saved(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges as inclusive pairs, sorted and merged, with `*` standing for `last`.
    ///
    /// With `last` 0 (an empty mailbox) `*` names nothing.
    pub fn resolve(&self, last: u32) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = self
            .0
            .iter()
            .map(|&(a, b)| {
                let (a, b) = (a.resolve(last), b.resolve(last));
                (a.min(b), a.max(b))
            })
            .filter(|&(a, _)| a > 0 || last > 0)
            .map(|(a, b)| (a.max(1), b))
            .filter(|(a, b)| a <= b)
            .collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (start, end) in ranges {
            match merged.last_mut() {
                Some((_, top)) if start <= top.saturating_add(1) => *top = end.max(*top),
                _ => merged.push((start, end)),
            }
        }
        merged
    }
}

impl fmt::Display for SequenceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_saved() {
            return f.write_str("$");
        }
        for (i, (start, end)) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            start.fmt(f)?;
            if start != end {
                write!(f, ":{end}")?;
            }
        }
        Ok(())
    }
}

/// `sequence-set = (seq-number / seq-range) *("," sequence-set) / seq-last-command` (RFC 3501, section 9; RFC 5182).
///
/// Refuses sets of more than [`SequenceSet::MAX_RANGES`] ranges.
pub(crate) fn sequence_set(input: &[u8]) -> Parsed<'_, SequenceSet> {
    if let Some(rest) = input.strip_prefix(b"$") {
        return Ok((rest, SequenceSet::saved()));
    }
    let (rest, ranges) = separated_list1(tag(&b","[..]), seq_range).parse(input)?;
    match SequenceSet::new(ranges) {
        Some(set) => Ok((rest, set)),
        None => refuse(input, "Too many ranges in sequence set"),
    }
}

/// `seq-range = seq-number ":" seq-number`, or a single `seq-number` (RFC 3501, section 9).
fn seq_range(input: &[u8]) -> Parsed<'_, (SeqNumber, SeqNumber)> {
    let (rest, start) = seq_number(input)?;
    let (rest, end) = opt((tag(&b":"[..]), seq_number)).parse(rest)?;
    Ok((rest, (start, end.map_or(start, |(_, end)| end))))
}

/// `seq-number = nz-number / "*"` (RFC 3501, section 9).
fn seq_number(input: &[u8]) -> Parsed<'_, SeqNumber> {
    alt((
        map(tag(&b"*"[..]), |_| SeqNumber::Last),
        map(nz_number, SeqNumber::Number),
    ))
    .parse(input)
}

/// `nz-number = digit-nz *DIGIT` (RFC 3501, section 9).
pub(crate) fn nz_number(input: &[u8]) -> Parsed<'_, NonZeroU32> {
    let (rest, value) = number(input)?;
    match NonZeroU32::new(value) {
        Some(value) => Ok((rest, value)),
        None => mismatch(input),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> SequenceSet {
        let (rest, set) = sequence_set(text.as_bytes()).unwrap();
        assert!(rest.is_empty());
        set
    }

    #[test]
    fn ranges_are_sorted_merged_and_reversed_ones_turned_round() {
        assert_eq!(set("5,1:3,4,9:7,*").resolve(20), [(1, 5), (7, 9), (20, 20)]);
        assert_eq!(set("30:*").resolve(20), [(20, 30)]);
        assert_eq!(set("*:3").resolve(2), [(2, 3)]);
    }

    #[test]
    fn star_names_nothing_in_an_empty_mailbox() {
        assert_eq!(set("*").resolve(0), []);
        assert_eq!(set("3:*").resolve(0), []);
    }

    #[test]
    fn zero_and_junk_are_no_sequence_sets() {
        for text in ["0", "a", "", ",1", "0:3"] {
            assert!(sequence_set(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(sequence_set(b"1,2,").unwrap().0, b",");
    }

    #[test]
    fn more_ranges_than_the_limit_are_refused() {
        let text = vec!["1"; SequenceSet::MAX_RANGES + 1].join(",");
        assert!(matches!(sequence_set(text.as_bytes()), Err(nom::Err::Failure(_))));
    }
}
