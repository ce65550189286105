//! ESEARCH: one search in many mailboxes (RFC 7377), and what it shares with NOTIFY: filters of mailboxes (RFC 5465).

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::{tag, take_while1};

use super::lex::{Parsed, astring, expect, is_atom_char, mismatch, refuse, sp};
use super::search::{SearchProgram, SearchReturn, search_program, search_return_opts};
use super::write::put_astring;

/// `ESEARCH [IN (...)] [RETURN (...)] program`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiSearch {
    /// Where to search; nothing for the selected mailbox.
    pub sources: Vec<SearchSource>,
    /// What to tell.
    pub returns: Option<SearchReturn>,
    /// What to look for.
    pub program: SearchProgram,
}

/// `filter-mailboxes` (RFC 5465, section 8): a set of mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchSource {
    /// `selected`
    Selected,
    /// `inboxes`: where mail is delivered.
    Inboxes,
    /// `personal`: the user's own.
    Personal,
    /// `subscribed`
    Subscribed,
    /// `subtree`: these and all below.
    Subtree(Vec<Vec<u8>>),
    /// `subtree-one`: these and their children (RFC 7377).
    SubtreeOne(Vec<Vec<u8>>),
    /// `mailboxes`: just these.
    Mailboxes(Vec<Vec<u8>>),
}

impl MultiSearch {
    /// How many mailboxes a command may name.
    pub const MAX_NAMES: usize = 1_000;

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (i, source) in self.sources.iter().enumerate() {
            out.extend_from_slice(if i == 0 { b" IN (" } else { b" " });
            source.write(out);
        }
        if !self.sources.is_empty() {
            out.push(b')');
        }
        if let Some(returns) = &self.returns {
            returns.write(out);
        }
        self.program.write(out);
    }
}

impl SearchSource {
    fn write(&self, out: &mut Vec<u8>) {
        let (name, mailboxes) = match self {
            Self::Selected => ("selected", None),
            Self::Inboxes => ("inboxes", None),
            Self::Personal => ("personal", None),
            Self::Subscribed => ("subscribed", None),
            Self::Subtree(mailboxes) => ("subtree", Some(mailboxes)),
            Self::SubtreeOne(mailboxes) => ("subtree-one", Some(mailboxes)),
            Self::Mailboxes(mailboxes) => ("mailboxes", Some(mailboxes)),
        };
        out.extend_from_slice(name.as_bytes());
        for (i, mailbox) in mailboxes.iter().copied().flatten().enumerate() {
            out.extend_from_slice(if i == 0 { b" (" } else { b" " });
            put_astring(out, mailbox);
        }
        if mailboxes.is_some() {
            out.push(b')');
        }
    }
}

/// `esearch = "ESEARCH" [SP esearch-source-opts] [SP search-return-opts] SP search-program` after its name (RFC 7377,
/// section 4).
pub(super) fn esearch(input: &[u8]) -> Parsed<'_, MultiSearch> {
    let missing = || Cow::Borrowed("Missing required argument to Esearch");
    let (rest, sources) = esearch_source_opts(input)?;
    let (rest, returns) = search_return_opts(rest)?;
    let (rest, ()) = expect(sp, missing).parse(rest)?;
    let (rest, program) = search_program(rest)?;
    let search = MultiSearch {
        sources,
        returns,
        program,
    };
    Ok((rest, search))
}

/// `[SP "IN" SP "(" source-mbox [SP "(" scope-options ")"] ")"]` (RFC 7377, section 4); no scope options are registered.
fn esearch_source_opts(input: &[u8]) -> Parsed<'_, Vec<SearchSource>> {
    const INVALID: &str = "Invalid source mailboxes in Esearch";
    let Some(mut rest) = strip_prefix_any_case(input, b" IN (") else {
        return Ok((input, Vec::new()));
    };
    let mut sources = Vec::new();
    let mut names = 0;
    loop {
        let (after, source) = expect(filter_mailboxes, || INVALID.into()).parse(rest)?;
        names += source.names().len();
        if names > MultiSearch::MAX_NAMES || sources.len() > MultiSearch::MAX_NAMES {
            return refuse(rest, "Too many source mailboxes in Esearch");
        }
        sources.push(source);
        match after {
            [b')', after @ ..] => return Ok((after, sources)),
            [b' ', b'(', ..] => return refuse(after, "Invalid scope option in Esearch"),
            [b' ', after @ ..] => rest = after,
            _ => return refuse(after, INVALID),
        }
    }
}

impl SearchSource {
    pub(super) fn names(&self) -> &[Vec<u8>] {
        match self {
            Self::Subtree(names) | Self::SubtreeOne(names) | Self::Mailboxes(names) => names,
            Self::Selected | Self::Inboxes | Self::Personal | Self::Subscribed => &[],
        }
    }
}

fn strip_prefix_any_case<'i>(input: &'i [u8], prefix: &[u8]) -> Option<&'i [u8]> {
    let (start, rest) = input.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// `filter-mailboxes` (RFC 5465, section 8), as RFC 7377, section 4, has it: without `selected-delayed`.
pub(crate) fn filter_mailboxes(input: &[u8]) -> Parsed<'_, SearchSource> {
    let (rest, name) = take_while1(is_atom_char).parse(input)?;
    Ok(match name.to_ascii_lowercase().as_slice() {
        b"selected" => (rest, SearchSource::Selected),
        b"inboxes" => (rest, SearchSource::Inboxes),
        b"personal" => (rest, SearchSource::Personal),
        b"subscribed" => (rest, SearchSource::Subscribed),
        name @ (b"subtree" | b"subtree-one" | b"mailboxes") => {
            let (rest, ()) = sp(rest)?;
            let (rest, mailboxes) = one_or_more_mailbox(rest)?;
            let source = match name {
                b"subtree" => SearchSource::Subtree(mailboxes),
                b"subtree-one" => SearchSource::SubtreeOne(mailboxes),
                _ => SearchSource::Mailboxes(mailboxes),
            };
            (rest, source)
        }
        _ => return mismatch(input),
    })
}

/// `one-or-more-mailbox = mailbox / many-mailboxes` (RFC 5465, section 8).
fn one_or_more_mailbox(input: &[u8]) -> Parsed<'_, Vec<Vec<u8>>> {
    let Some(mut rest) = input.strip_prefix(b"(") else {
        let (rest, name) = astring(input)?;
        return Ok((rest, vec![name.into_owned()]));
    };
    let mut names = Vec::new();
    loop {
        let (after, name) = astring(rest)?;
        names.push(name.into_owned());
        match after.split_first() {
            Some((b' ', more)) => rest = more,
            Some((b')', more)) => return Ok((more, names)),
            _ => return mismatch(after),
        }
    }
}

/// The most names in one command.
pub(super) const MAX_WORDS: usize = 1_000;

/// `1*(SP quoted)`: the tags of CANCELUPDATE (RFC 5267, section 5); the names of COMPARATOR (RFC 5255, section 5), which may be
/// atoms.
pub(super) fn words(input: &[u8]) -> Parsed<'_, Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let (after, word) = nom::sequence::preceded(tag(&b" "[..]), astring).parse(rest)?;
        words.push(word.into_owned());
        if words.len() > MAX_WORDS {
            return refuse(rest, "Too many arguments");
        }
        rest = after;
    }
    Ok((rest, words))
}
