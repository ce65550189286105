//! GETMETADATA and SETMETADATA (RFC 5464), GETANNOTATION and SETANNOTATION (its draft, as Cyrus has it), and how annotations
//! of messages are written in STORE and APPEND (RFC 5257).

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::tag;
use nom::combinator::opt;
use nom::multi::separated_list1;

use super::fetch::one_or_list;
use super::lex::{Parsed, astring, expect, keyword, literal, mismatch, nstring, number, refuse, sp};
use super::write::{put_astring, put_astring_list, put_string};

/// `GETMETADATA [options] mailbox entries` (RFC 5464, section 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetMetadata {
    /// `MAXSIZE`: longer values are left out.
    pub max_size: Option<u32>,
    /// `DEPTH`
    pub depth: MetadataDepth,
    /// Empty for the server's own; Cyrus takes patterns.
    pub mailbox: Vec<u8>,
    /// Full names, `/shared/...` or `/private/...`.
    pub entries: Vec<Vec<u8>>,
}

/// What below an entry is asked for as well (RFC 5464, section 4.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetadataDepth {
    /// Nothing.
    #[default]
    Zero,
    /// What is right below it.
    One,
    /// All that is below it.
    Infinity,
}

/// `SETMETADATA mailbox entry-values` (RFC 5464, section 4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetMetadata {
    /// Empty for the server's own; Cyrus takes patterns.
    pub mailbox: Vec<u8>,
    /// Entries in full and their new values, no value to remove one.
    pub values: Vec<MetadataChange>,
}

/// An entry or attribute and its new value, none to remove it.
pub type MetadataChange = (Vec<u8>, Option<Vec<u8>>);

/// `GETANNOTATION mailbox entries attributes`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetAnnotation {
    /// Empty for the server's own; otherwise a pattern.
    pub mailbox: Vec<u8>,
    /// Patterns of entries, without `/shared` and `/private`.
    pub entries: Vec<Vec<u8>>,
    /// Patterns of attributes: `value.priv`, `value`, `*`, ...
    pub attributes: Vec<Vec<u8>>,
}

/// `SETANNOTATION mailbox changes`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAnnotation {
    /// Empty for the server's own; otherwise a pattern.
    pub mailbox: Vec<u8>,
    /// What becomes of which entry.
    pub changes: Vec<AnnotationChange>,
}

/// `entry SP att-value` (RFC 5257, section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationChange {
    /// The entry, without `/shared` and `/private`.
    pub entry: Vec<u8>,
    /// Attributes, `value.priv` or `value.shared`, and their values.
    pub attributes: Vec<MetadataChange>,
}

/// The most entries, or attributes of one entry, in one command.
pub(super) const MAX_ENTRIES: usize = 1_024;

/// `getmetadata` after its first space (RFC 5464, section 5).
///
/// Cyrus takes the options after the mailbox as well, as early readers of the RFC wrote them.
pub(super) fn getmetadata(input: &[u8]) -> Parsed<'_, GetMetadata> {
    let missing = || Cow::Borrowed("Missing arguments to Getmetadata");
    let (rest, before) = match input.starts_with(b"(") {
        true => {
            let (rest, options) = getmetadata_options(input)?;
            let (rest, ()) = expect(sp, missing).parse(rest)?;
            (rest, Some(options))
        }
        false => (input, None),
    };
    let (rest, mailbox) = expect(astring, missing).parse(rest)?;
    let (rest, ()) = expect(sp, missing).parse(rest)?;
    let (rest, after) = match getmetadata_options(rest) {
        Ok((after, options)) if before.is_none() && after.starts_with(b" ") => {
            (after.get(1..).unwrap_or_default(), Some(options))
        }
        _ => (rest, None),
    };
    let (max_size, depth) = before.or(after).unwrap_or_default();
    let (rest, entries) = entries(rest)?;
    if !rest.is_empty() {
        return refuse(rest, missing());
    }
    let get = GetMetadata {
        max_size,
        depth,
        mailbox: mailbox.into_owned(),
        entries,
    };
    Ok((rest, get))
}

/// `getmetadata-options = "(" getmetadata-option *(SP getmetadata-option) ")"` (RFC 5464, section 5).
fn getmetadata_options(input: &[u8]) -> Parsed<'_, (Option<u32>, MetadataDepth)> {
    let missing = || Cow::Borrowed("Missing arguments to Getmetadata");
    if input.starts_with(b"()") {
        return refuse(input, "Missing metadata entry");
    }
    let (rest, _) = tag(&b"("[..]).parse(input)?;
    let mut options = (None, MetadataDepth::default());
    let one = |input| {
        if let Ok((rest, ((), ()))) = (keyword("MAXSIZE"), sp).parse(input) {
            let (rest, size) = expect(number, missing).parse(rest)?;
            options.0 = Some(size);
            return Ok((rest, ()));
        }
        let (rest, _) = (keyword("DEPTH"), sp).parse(input)?;
        let depths = [
            ("0", MetadataDepth::Zero),
            ("1", MetadataDepth::One),
            ("infinity", MetadataDepth::Infinity),
        ];
        for (word, depth) in depths {
            if let Ok((rest, ())) = keyword(word)(rest) {
                options.1 = depth;
                return Ok((rest, ()));
            }
        }
        refuse(rest, missing())
    };
    let (rest, _) = expect(separated_list1(sp, one), missing).parse(rest)?;
    let (rest, _) = expect(tag(&b")"[..]), missing).parse(rest)?;
    Ok((rest, options))
}

/// `entries = entry / "(" entry *(SP entry) ")"` (RFC 5464, section 5).
fn entries(input: &[u8]) -> Parsed<'_, Vec<Vec<u8>>> {
    if input.starts_with(b"()") {
        return refuse(input, "Missing metadata entry");
    }
    if !input.starts_with(b"(") {
        let missing = || Cow::Borrowed("Missing arguments to Getmetadata");
        return expect(one_or_list, missing).parse(input);
    }
    let unclosed = || Cow::Borrowed("Missing close paren in metadata entry list ");
    let (rest, list) = expect(one_or_list, unclosed).parse(input)?;
    limited(input, rest, list)
}

/// `setmetadata` after its first space (RFC 5464, section 5).
pub(super) fn setmetadata(input: &[u8]) -> Parsed<'_, SetMetadata> {
    let entry = || Cow::Borrowed("Missing metadata entry");
    let list = || Cow::Borrowed("Missing metadata entry list");
    let (rest, mailbox) = astring(input)?;
    let (rest, _) = expect((sp, tag(&b"("[..])), list).parse(rest)?;
    let missing = || Cow::Borrowed("Missing metadata value");
    let entry_value = |input| {
        let (rest, (name, ())) = (astring, sp).parse(input)?;
        let (rest, value) = expect(value, missing).parse(rest)?;
        Ok((rest, (name.into_owned(), value)))
    };
    let (rest, values) = expect(separated_list1(sp, entry_value), entry).parse(rest)?;
    let (rest, _) = expect(tag(&b")"[..]), entry).parse(rest)?;
    let (rest, values) = limited(input, rest, values)?;
    let mailbox = mailbox.into_owned();
    Ok((rest, SetMetadata { mailbox, values }))
}

/// `GETANNOTATION` after its first space.
pub(super) fn getannotation(input: &[u8]) -> Parsed<'_, GetAnnotation> {
    let (rest, mailbox) = astring(input)?;
    let entry = || Cow::Borrowed("Missing annotation entry");
    let attribute = || Cow::Borrowed("Missing annotation attribute");
    let (rest, (_, entries)) = expect((sp, one_or_list), entry).parse(rest)?;
    let (rest, (_, attributes)) = expect((sp, one_or_list), attribute).parse(rest)?;
    let (rest, entries) = limited(input, rest, entries)?;
    let (rest, attributes) = limited(input, rest, attributes)?;
    let get = GetAnnotation {
        mailbox: mailbox.into_owned(),
        entries,
        attributes,
    };
    Ok((rest, get))
}

/// `SETANNOTATION` after its first space.
pub(super) fn setannotation(input: &[u8]) -> Parsed<'_, SetAnnotation> {
    let (rest, mailbox) = astring(input)?;
    let entry = || Cow::Borrowed("Missing annotation entry");
    let (rest, ()) = expect(sp, entry).parse(rest)?;
    let (rest, changes) = match rest.starts_with(b"(") {
        true => entry_att_list(rest)?,
        false => {
            let (rest, change) = expect(entry_att, entry).parse(rest)?;
            (rest, vec![change])
        }
    };
    let mailbox = mailbox.into_owned();
    Ok((rest, SetAnnotation { mailbox, changes }))
}

/// `"(" entry-att *(SP entry-att) ")"` (RFC 5257, section 5): what follows `ANNOTATION` in STORE and APPEND.
pub(super) fn entry_att_list(input: &[u8]) -> Parsed<'_, Vec<AnnotationChange>> {
    let paren = || Cow::Borrowed("Missing paren for annotation entry");
    let entry = || Cow::Borrowed("Missing annotation entry");
    let (rest, _) = expect(tag(&b"("[..]), paren).parse(input)?;
    let (rest, changes) = expect(separated_list1(sp, entry_att), entry).parse(rest)?;
    let (rest, _) = expect(tag(&b")"[..]), paren).parse(rest)?;
    limited(input, rest, changes)
}

/// `entry-att = entry SP "(" att-value *(SP att-value) ")"` (RFC 5257, section 5).
fn entry_att(input: &[u8]) -> Parsed<'_, AnnotationChange> {
    let attribute = || Cow::Borrowed("Missing annotation attribute");
    let (rest, entry) = astring(input)?;
    let (rest, _) = expect((sp, tag(&b"("[..])), attribute).parse(rest)?;
    let att_value = |input| {
        let (rest, (name, (), value)) = (astring, sp, value).parse(input)?;
        Ok((rest, (name.into_owned(), value)))
    };
    let (rest, attributes) = expect(separated_list1(sp, att_value), attribute).parse(rest)?;
    let (rest, _) = expect(tag(&b")"[..]), attribute).parse(rest)?;
    let (rest, attributes) = limited(input, rest, attributes)?;
    let entry = entry.into_owned();
    Ok((rest, AnnotationChange { entry, attributes }))
}

/// `value = nstring / literal8` (RFC 5464, section 5).
fn value(input: &[u8]) -> Parsed<'_, Option<Vec<u8>>> {
    let (rest, binary) = opt(tag(&b"~"[..])).parse(input)?;
    if binary.is_some() {
        let (rest, octets) = literal(rest)?;
        return Ok((rest, Some(octets.to_vec())));
    }
    let (rest, text) = nstring(rest)?;
    Ok((rest, text.map(Cow::into_owned)))
}

fn limited<'i, T>(input: &'i [u8], rest: &'i [u8], list: Vec<T>) -> Parsed<'i, Vec<T>> {
    match list.len() {
        0 => mismatch(input),
        length if length > MAX_ENTRIES => refuse(input, "Too many annotation entries"),
        _ => Ok((rest, list)),
    }
}

impl GetMetadata {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let depth = match self.depth {
            MetadataDepth::Zero => "0",
            MetadataDepth::One => "1",
            MetadataDepth::Infinity => "infinity",
        };
        out.extend_from_slice(format!(" (DEPTH {depth}").as_bytes());
        if let Some(size) = self.max_size {
            out.extend_from_slice(format!(" MAXSIZE {size}").as_bytes());
        }
        out.extend_from_slice(b") ");
        put_astring(out, &self.mailbox);
        out.push(b' ');
        put_astring_list(out, &self.entries);
    }
}

impl SetMetadata {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b' ');
        put_astring(out, &self.mailbox);
        out.push(b' ');
        put_changes(out, &self.values);
    }
}

impl GetAnnotation {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b' ');
        put_astring(out, &self.mailbox);
        out.push(b' ');
        put_astring_list(out, &self.entries);
        out.push(b' ');
        put_astring_list(out, &self.attributes);
    }
}

impl SetAnnotation {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b' ');
        put_astring(out, &self.mailbox);
        out.push(b' ');
        put_entry_atts(out, &self.changes);
    }
}

/// `(entry (attribute value ...) ...)`
pub(super) fn put_entry_atts(out: &mut Vec<u8>, changes: &[AnnotationChange]) {
    for (i, change) in changes.iter().enumerate() {
        out.push(if i == 0 { b'(' } else { b' ' });
        put_astring(out, &change.entry);
        out.push(b' ');
        put_changes(out, &change.attributes);
    }
    out.push(b')');
}

fn put_changes(out: &mut Vec<u8>, values: &[MetadataChange]) {
    for (i, (name, value)) in values.iter().enumerate() {
        out.push(if i == 0 { b'(' } else { b' ' });
        put_astring(out, name);
        out.push(b' ');
        match value {
            Some(value) if value.contains(&0) => {
                out.extend_from_slice(format!("~{{{}+}}\r\n", value.len()).as_bytes());
                out.extend_from_slice(value);
            }
            Some(value) => put_string(out, value),
            None => out.extend_from_slice(b"NIL"),
        }
    }
    out.push(b')');
}
