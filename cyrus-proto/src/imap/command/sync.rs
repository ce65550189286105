//! Parameters and modifiers by which clients synchronise: SELECT, FETCH and STORE of RFC 7162, and ENABLE of RFC 5161.

use std::borrow::Cow;
use std::fmt;

use cyrus_store::UidMap;
use nom::Parser;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::combinator::opt;
use nom::multi::many1;
use nom::sequence::preceded;

use super::lex::{Parsed, expect, is_atom_char, mismatch, mod_sequence_valzer, printable, refuse, sp};
use super::search::partial_range;
use super::{Numbering, PartialRange};
use crate::imap::sequence::{SequenceSet, nz_number, sequence_set};

/// The parameters of SELECT and EXAMINE (RFC 4466, section 2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectParameters {
    /// `CONDSTORE` (RFC 7162, section 3.1.8).
    pub condstore: bool,
    /// `ANNOTATE`: changes of annotations are of interest (RFC 5257, section 4.7).
    pub annotate: bool,
    /// `QRESYNC (...)`, if that is switched on (RFC 7162, section 3.2.5).
    pub qresync: Option<Qresync>,
}

/// What a client knows of a mailbox that it selects again (RFC 7162, section 3.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qresync {
    /// The UIDVALIDITY it knows; with another one it knows nothing.
    pub uidvalidity: u32,
    /// Up to which modification sequence it knows everything.
    pub modseq: u64,
    /// The UIDs it knows, if it tells; without `*`.
    pub known: Option<SequenceSet>,
    /// Sequence numbers and the UIDs that they had, as two sets of the same size without `*`.
    pub matching: Option<(SequenceSet, SequenceSet)>,
}

/// The modifiers of FETCH (RFC 4466, section 2.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchModifiers {
    /// `CHANGEDSINCE n`: only messages with a higher modification sequence (RFC 7162, section 3.1.4.1).
    pub changed_since: Option<u64>,
    /// `VANISHED`: tell which UIDs are gone since then; never without `CHANGEDSINCE`, and for UID FETCH alone (RFC 7162,
    /// section 3.2.6).
    pub vanished: bool,
    /// `PARTIAL range`: only so many of the messages, counted from the first or from the last (RFC 9394, section 3.3).
    pub partial: Option<PartialRange>,
}

impl SelectParameters {
    fn write(&self, out: &mut Vec<u8>, list: &mut List) {
        if self.condstore {
            list.item(out, "CONDSTORE");
        }
        if let Some(known) = &self.qresync {
            list.item(out, &known.to_string());
        }
        if self.annotate {
            list.item(out, "ANNOTATE");
        }
    }

    /// Appends ` (CONDSTORE ...)`, or nothing.
    pub(super) fn write_list(&self, out: &mut Vec<u8>) {
        let mut list = List::default();
        self.write(out, &mut list);
        list.end(out);
    }
}

impl FetchModifiers {
    /// Appends ` (CHANGEDSINCE n ...)`, or nothing.
    pub(super) fn write_list(&self, out: &mut Vec<u8>) {
        let mut list = List::default();
        if let Some(since) = self.changed_since {
            list.item(out, &format!("CHANGEDSINCE {since}"));
        }
        if self.vanished {
            list.item(out, "VANISHED");
        }
        if let Some(range) = self.partial {
            list.item(out, &format!("PARTIAL {range}"));
        }
        list.end(out);
    }
}

impl fmt::Display for Qresync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QRESYNC ({} {}", self.uidvalidity, self.modseq)?;
        if let Some(known) = &self.known {
            write!(f, " {known}")?;
        }
        if let Some((numbers, uids)) = &self.matching {
            write!(f, " ({numbers} {uids})")?;
        }
        f.write_str(")")
    }
}

/// `UIDBATCHES`: how the messages are to be split into ranges of UIDs, from the newest on (RFC 10022).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UidBatches {
    /// Messages in a batch.
    pub size: u32,
    /// Which batches are wanted, counted from 1; all, if nothing is said.
    pub wanted: Option<(u32, u32)>,
}

impl UidBatches {
    /// The least size of a batch.
    pub const MIN_SIZE: u32 = 500;

    /// The batches, each as its highest and its lowest UID: side by side, and the last one down to 1.
    pub(crate) fn ranges(self, uids: &UidMap) -> impl Iterator<Item = (u32, u32)> + '_ {
        let size = self.size.max(1);
        let count = uids.len().div_ceil(size);
        let (first, last) = self.wanted.unwrap_or((1, count));
        (first.max(1)..=last.min(count)).filter_map(move |batch| {
            // The message after which the batch ends, and the one with which the next begins.
            let above = uids.len() - (batch - 1) * size;
            let below = above.checked_sub(size).and_then(|below| uids.uid(below));
            let high = uids.uid(above)?.get();
            Some((high, below.map_or(1, |uid| uid.get() + 1)))
        })
    }
}

impl fmt::Display for UidBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.size)?;
        match self.wanted {
            Some((first, last)) => write!(f, " {first}:{last}"),
            None => Ok(()),
        }
    }
}

/// A parenthesized list that is left out when it is empty.
#[derive(Default)]
struct List {
    open: bool,
}

impl List {
    fn item(&mut self, out: &mut Vec<u8>, text: &str) {
        out.extend_from_slice(if self.open { b" " } else { b" (" });
        self.open = true;
        out.extend_from_slice(text.as_bytes());
    }

    fn end(self, out: &mut Vec<u8>) {
        if self.open {
            out.push(b')');
        }
    }
}

/// The most names in one ENABLE.
const MAX_EXTENSIONS: usize = 256;

/// `enable = "ENABLE" 1*(SP capability)` after its name (RFC 5161, section 4).
pub(super) fn enable<'i>(
    input: &'i [u8],
    missing: impl Fn() -> Cow<'static, str>,
) -> Parsed<'i, Vec<Vec<u8>>> {
    let capability = take_while1(|c| is_atom_char(c) || c == b']');
    let (rest, names) = expect(many1(preceded(sp, capability)), missing).parse(input)?;
    if names.len() > MAX_EXTENSIONS {
        return refuse(input, "Too many capabilities in Enable");
    }
    Ok((rest, names.into_iter().map(<[u8]>::to_vec).collect()))
}

/// `uidbatches = "UIDBATCHES" SP nz-number [SP nz-number ":" nz-number]` after its first space (RFC 10022).
pub(super) fn uidbatches(input: &[u8]) -> Parsed<'_, UidBatches> {
    let (rest, size) = nz_number(input)?;
    let range = (sp, nz_number, tag(&b":"[..]), nz_number);
    let (rest, wanted) = opt(range).parse(rest)?;
    let wanted = wanted.map(|(_, first, _, last)| (first.get(), last.get()));
    Ok((
        rest,
        UidBatches {
            size: size.get(),
            wanted,
        },
    ))
}

/// `select-params = SP "(" select-param *(SP select-param) ")"` (RFC 4466, section 6), or nothing.
pub(super) fn select_params<'i>(input: &'i [u8], command: &str) -> Parsed<'i, SelectParameters> {
    let mut parameters = SelectParameters::default();
    if input.is_empty() {
        return Ok((input, parameters));
    }
    let Some(mut rest) = input.strip_prefix(b" (").filter(|rest| !rest.starts_with(b")")) else {
        return refuse(input, format!("Invalid modifier list in {command}"));
    };
    loop {
        let (after, name) = modifier_name(rest)?;
        let after = match name.to_ascii_uppercase().as_slice() {
            b"CONDSTORE" => {
                parameters.condstore = true;
                after
            }
            b"QRESYNC" => {
                let invalid = || Cow::Owned(format!("Invalid QRESYNC parameter list in {command}"));
                let (after, known) = expect(qresync, invalid).parse(after)?;
                parameters.qresync = Some(known);
                after
            }
            b"ANNOTATE" => {
                parameters.annotate = true;
                after
            }
            _ => {
                let name = printable(&name.to_ascii_uppercase());
                return refuse(rest, format!("Invalid {command} modifier {name}"));
            }
        };
        match after.split_first() {
            Some((b' ', more)) => rest = more,
            Some((b')', more)) => return Ok((more, parameters)),
            _ => return refuse(after, format!("Missing close parenthesis in {command}")),
        }
    }
}

/// `SP "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"` (RFC 7162, section 7,
/// `select-param-value`).
fn qresync(input: &[u8]) -> Parsed<'_, Qresync> {
    let (rest, _) = tag(&b" ("[..]).parse(input)?;
    let (rest, uidvalidity) = nz_number(rest)?;
    let (rest, modseq) = preceded(sp, mod_sequence_valzer).parse(rest)?;
    let (rest, known) = opt(preceded(sp, known_set)).parse(rest)?;
    let (rest, matching) = opt(preceded(sp, seq_match_data)).parse(rest)?;
    let (rest, _) = tag(&b")"[..]).parse(rest)?;
    Ok((
        rest,
        Qresync {
            uidvalidity: uidvalidity.get(),
            modseq,
            known,
            matching,
        },
    ))
}

/// `seq-match-data = "(" known-sequence-set SP known-uid-set ")"`: two sets of the same size (RFC 7162, section 7).
fn seq_match_data(input: &[u8]) -> Parsed<'_, (SequenceSet, SequenceSet)> {
    let (rest, _) = tag(&b"("[..]).parse(input)?;
    let (rest, numbers) = known_set(rest)?;
    let (rest, uids) = preceded(sp, known_set).parse(rest)?;
    let (rest, _) = tag(&b")"[..]).parse(rest)?;
    let size = |set: &SequenceSet| -> u64 {
        let ranges = set.resolve(u32::MAX).into_iter();
        ranges.map(|(first, last)| u64::from(last - first) + 1).sum()
    };
    if size(&numbers) != size(&uids) {
        return mismatch(input);
    }
    Ok((rest, (numbers, uids)))
}

/// `known-uids`, `known-sequence-set` and `known-uid-set`: sequence sets in which `*` is not allowed (RFC 7162, section 7).
fn known_set(input: &[u8]) -> Parsed<'_, SequenceSet> {
    let (rest, set) = sequence_set(input)?;
    if set.names_last() || set.is_saved() {
        return mismatch(input);
    }
    Ok((rest, set))
}

/// `fetch-modifiers = SP "(" fetch-modifier *(SP fetch-modifier) ")"` (RFC 4466, section 6), or nothing.
pub(super) fn fetch_modifiers(input: &[u8], numbering: Numbering) -> Parsed<'_, FetchModifiers> {
    let command = match numbering {
        Numbering::Sequence => "Fetch",
        Numbering::Uid => "UID Fetch",
    };
    let mut modifiers = FetchModifiers::default();
    if input.is_empty() {
        return Ok((input, modifiers));
    }
    let Some(mut rest) = input.strip_prefix(b" (") else {
        return refuse(
            input,
            format!("Missing required open parenthesis in {command} modifiers"),
        );
    };
    loop {
        let (after, name) = modifier_name(rest)?;
        let upper = name.to_ascii_uppercase();
        let after = match upper.as_slice() {
            b"CHANGEDSINCE" => {
                let (after, since) = mod_sequence(after, command, "CHANGEDSINCE")?;
                modifiers.changed_since = Some(since);
                after
            }
            b"PARTIAL" => {
                let invalid = || Cow::Owned(format!("Invalid argument to {command} PARTIAL"));
                let (after, range) = expect(preceded(sp, partial_range), invalid).parse(after)?;
                modifiers.partial = Some(range);
                after
            }
            b"VANISHED" if numbering == Numbering::Uid => {
                modifiers.vanished = true;
                after
            }
            name => {
                let name = printable(name);
                return refuse(rest, format!("Invalid {command} modifier {name}"));
            }
        };
        match after.split_first() {
            Some((b' ', more)) => rest = more,
            Some((b')', _)) if modifiers.vanished && modifiers.changed_since.is_none() => {
                return refuse(after, format!("Missing required argument to {command}"));
            }
            Some((b')', more)) => return Ok((more, modifiers)),
            _ => return refuse(after, format!("Missing close parenthesis in {command}")),
        }
    }
}

/// `store-modifiers = "(" store-modifier *(SP store-modifier) ")" SP` (RFC 4466, section 6), or nothing: what
/// UNCHANGEDSINCE says (RFC 7162, section 3.1.3).
pub(super) fn store_modifiers<'i>(input: &'i [u8], command: &str) -> Parsed<'i, Option<u64>> {
    let Some(mut rest) = input.strip_prefix(b"(") else {
        return Ok((input, None));
    };
    loop {
        let (after, name) = modifier_name(rest)?;
        let upper = name.to_ascii_uppercase();
        let (after, since) = match upper.as_slice() {
            b"UNCHANGEDSINCE" => mod_sequence(after, command, "UNCHANGEDSINCE")?,
            name => {
                let name = printable(name);
                return refuse(rest, format!("Invalid {command} modifier {name}"));
            }
        };
        match after.split_first() {
            Some((b' ', more)) => rest = more,
            Some((b')', more)) => {
                let (rest, ()) = sp(more)?;
                return Ok((rest, Some(since)));
            }
            _ => return refuse(after, format!("Missing close parenthesis in {command}")),
        }
    }
}

/// The name of a parameter or modifier; perhaps nothing.
fn modifier_name(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_while(is_atom_char).parse(input)
}

/// `SP mod-sequence-valzer` (RFC 7162, section 7), the argument of a modifier.
fn mod_sequence<'i>(input: &'i [u8], command: &str, modifier: &str) -> Parsed<'i, u64> {
    let invalid = || Cow::Owned(format!("Invalid argument to {command} {modifier}"));
    let (rest, (_, since)) = expect((tag(&b" "[..]), mod_sequence_valzer), invalid).parse(input)?;
    Ok((rest, since))
}
