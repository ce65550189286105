//! RETURN: which answers a search is to give (RFC 4731; RFC 5182; RFC 5267; RFC 6203; RFC 9394).

use std::fmt;
use std::num::NonZeroU32;

use nom::Parser;
use nom::bytes::complete::{tag, take_while1};
use nom::combinator::opt;

use crate::imap::command::fetch::{FetchAttributes, fetch_attributes};
use crate::imap::command::lex::{Parsed, expect, is_atom_char, mismatch, printable, refuse, sp, take_one};
use crate::imap::sequence::nz_number;

/// The options of one RETURN list; none at all means ALL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchReturn {
    /// `MIN`: the first result.
    pub min: bool,
    /// `MAX`: the last result.
    pub max: bool,
    /// `COUNT`: how many results there are.
    pub count: bool,
    /// `ALL`, or nothing at all: every result.
    pub all: bool,
    /// `SAVE`: the results are what `$` means from now on (RFC 5182).
    pub save: bool,
    /// `CONTEXT`: the search is likely to be repeated (RFC 5267).
    pub context: bool,
    /// `UPDATE`: the client wants to hear of changes to the results (RFC 5267).
    pub update: bool,
    /// `UPDATE (...)`: what is fetched of new messages among the results (RFC 5465, section 7).
    pub fetch: Option<Box<FetchAttributes>>,
    /// `RELEVANCY`: how well each result matches (RFC 6203).
    pub relevancy: bool,
    /// `PARTIAL range`: some of the results (RFC 5267; RFC 9394).
    pub partial: Option<PartialRange>,
}

impl SearchReturn {
    /// Whether anything is to be told at once: SAVE, UPDATE and CONTEXT alone ask for no answer.
    pub fn tells(&self) -> bool {
        self.min || self.max || self.count || self.all || self.relevancy || self.partial.is_some()
    }

    pub(in crate::imap::command) fn write(&self, out: &mut Vec<u8>) {
        let names = [
            (self.min, "MIN"),
            (self.max, "MAX"),
            (self.count, "COUNT"),
            (self.all, "ALL"),
            (self.save, "SAVE"),
            (self.context, "CONTEXT"),
            (self.update, "UPDATE"),
            (self.relevancy, "RELEVANCY"),
        ];
        let names = names.iter().filter(|(wanted, _)| *wanted).map(|(_, name)| *name);
        let mut words: Vec<String> = names.map(str::to_owned).collect();
        if let Some(wanted) = &self.fetch {
            let mut list = Vec::new();
            wanted.write(&mut list);
            let list = String::from_utf8_lossy(&list).into_owned();
            words.retain(|word| word != "UPDATE");
            words.push(format!("UPDATE {list}"));
        }
        words.extend(self.partial.map(|range| format!("PARTIAL {range}")));
        out.extend_from_slice(format!(" RETURN ({})", words.join(" ")).as_bytes());
    }
}

/// `partial-range`: some results by their place, counted from the first one or, with minus signs, from the last (RFC 9394).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialRange {
    /// Whether places are counted from the end.
    pub from_end: bool,
    /// One end of the range.
    pub start: NonZeroU32,
    /// The other one.
    pub end: NonZeroU32,
}

impl PartialRange {
    /// The places meant among `count` results, from 0; empty where there are none.
    pub fn places(self, count: usize) -> std::ops::Range<usize> {
        let place = |number: NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
        let (first, last) = (place(self.start.min(self.end)), place(self.start.max(self.end)));
        match self.from_end {
            false => (first - 1).min(count)..last.min(count),
            true => count.saturating_sub(last)..count.saturating_sub(first - 1),
        }
    }
}

/// As the client wrote it: the answer repeats it so.
impl fmt::Display for PartialRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.from_end { "-" } else { "" };
        write!(f, "{sign}{}:{sign}{}", self.start, self.end)
    }
}

/// `partial-range = partial-range-first / partial-range-last` (RFC 9394, section 4).
pub(crate) fn partial_range(input: &[u8]) -> Parsed<'_, PartialRange> {
    let minus = |input| opt(take_one(|c| c == b'-')).parse(input);
    let (rest, start_sign) = minus(input)?;
    let (rest, start) = nz_number(rest)?;
    let (rest, _) = tag(&b":"[..]).parse(rest)?;
    let (rest, end_sign) = minus(rest)?;
    let (rest, end) = nz_number(rest)?;
    if start_sign.is_some() != end_sign.is_some() {
        return mismatch(input);
    }
    let from_end = start_sign.is_some();
    Ok((rest, PartialRange { from_end, start, end }))
}

/// `[SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")"]` (RFC 4466, section 2.6.1): nothing but the input if
/// it does not begin with ` RETURN`.
pub(in crate::imap::command) fn search_return_opts(input: &[u8]) -> Parsed<'_, Option<SearchReturn>> {
    let begins = input
        .strip_prefix(b" ")
        .and_then(|rest| rest.split_at_checked(6))
        .filter(|(word, rest)| {
            word.eq_ignore_ascii_case(b"RETURN") && !rest.first().is_some_and(u8::is_ascii_alphanumeric)
        });
    let Some((_, rest)) = begins else {
        return Ok((input, None));
    };
    let missing = || "Missing return options in Search".into();
    let (mut rest, _) = expect((sp, tag(&b"("[..])), missing).parse(rest)?;
    let mut options = SearchReturn::default();
    let mut some = false;
    loop {
        if let Some(after) = rest.strip_prefix(b")") {
            options.all |= !some;
            return Ok((after, Some(options)));
        }
        let (after, name) = match take_while1(is_atom_char).parse(rest) as Parsed<'_, &[u8]> {
            Ok(found) => found,
            Err(_) => return refuse(rest, "Missing close parenthesis in Search"),
        };
        rest = search_return_opt(rest, after, name, &mut options)?.0;
        some = true;
        match rest.split_first() {
            Some((b' ', after)) => rest = after,
            Some((b')', _)) => {}
            _ => return refuse(rest, "Missing close parenthesis in Search"),
        }
    }
}

/// `search-return-opt` after its name.
fn search_return_opt<'i>(
    start: &'i [u8],
    rest: &'i [u8],
    name: &[u8],
    options: &mut SearchReturn,
) -> Parsed<'i, ()> {
    match name.to_ascii_uppercase().as_slice() {
        b"MIN" => options.min = true,
        b"MAX" => options.max = true,
        b"COUNT" => options.count = true,
        b"ALL" => options.all = true,
        b"SAVE" => options.save = true,
        b"CONTEXT" => options.context = true,
        b"UPDATE" => {
            options.update = true;
            return modifier_update(rest, options);
        }
        b"RELEVANCY" => options.relevancy = true,
        b"PARTIAL" => {
            let invalid = || "Invalid range in Search return option partial".into();
            let (rest, (_, range)) = expect((sp, partial_range), invalid).parse(rest)?;
            if options.partial.replace(range).is_some() || options.all {
                return refuse(start, "Only one of partial and all can be returned by Search");
            }
            return Ok((rest, ()));
        }
        lower => {
            let name = printable(&lower.to_ascii_lowercase());
            return refuse(start, format!("Invalid Search return option {name}"));
        }
    }
    if options.all && options.partial.is_some() {
        // RFC 5267, section 4.4.
        return refuse(start, "Only one of partial and all can be returned by Search");
    }
    Ok((rest, ()))
}

/// `modifier-update = "UPDATE" [SP "(" fetch-att *(SP fetch-att) ")"]` after its name (RFC 5465, section 8), where the grammar
/// has no space and the examples have one.
fn modifier_update<'i>(rest: &'i [u8], options: &mut SearchReturn) -> Parsed<'i, ()> {
    let list = rest.strip_prefix(b" ").unwrap_or(rest);
    if !list.starts_with(b"(") {
        return Ok((rest, ()));
    }
    let (rest, wanted) = fetch_attributes(list, "Search")?;
    options.fetch = Some(Box::new(wanted));
    Ok((rest, ()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> PartialRange {
        partial_range(text.as_bytes()).unwrap().1
    }

    #[test]
    fn places_are_counted_from_either_end_and_stop_at_the_last_result() {
        assert_eq!(range("1:3").places(10), 0..3);
        assert_eq!(range("3:1").places(2), 0..2);
        assert_eq!(range("5:9").places(4), 4..4);
        assert_eq!(range("-1:-3").places(10), 7..10);
        assert_eq!(range("-3:-1").places(2), 0..2);
        assert_eq!(range("-5:-9").places(4), 0..0);
        assert!(partial_range(b"1:-3").is_err() && partial_range(b"0:3").is_err());
        assert_eq!(range("-1:-100").to_string(), "-1:-100");
    }

    #[test]
    fn an_empty_list_asks_for_all() {
        let (rest, options) = search_return_opts(b" RETURN () ALL").unwrap();
        assert_eq!(rest, b" ALL");
        assert!(options.is_some_and(|options| options.all));
        assert_eq!(
            search_return_opts(b" RETURNED").unwrap(),
            (&b" RETURNED"[..], None)
        );
        assert!(search_return_opts(b" RETURN (ALL PARTIAL 1:2)").is_err());
    }
}
