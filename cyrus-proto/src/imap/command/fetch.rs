//! FETCH: what of a message is wanted (RFC 3501, sections 6.4.5 and 9, `fetch-att`).

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::{tag, take_while};
use nom::combinator::opt;
use nom::multi::separated_list1;

use super::binary::{BinarySection, binary_section, header_lines, preview_mods};
use super::lex::{
    Parsed, astring, expect, mismatch, number, number64, nz_number64, printable, refuse, sp, take_one,
};
use super::write::put_astring;

/// The items that FETCH names by one word, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchItems(u32);

impl FetchItems {
    /// `FLAGS`
    pub const FLAGS: Self = Self(1);
    /// `UID`
    pub const UID: Self = Self(1 << 1);
    /// `INTERNALDATE`
    pub const INTERNALDATE: Self = Self(1 << 2);
    /// `MODSEQ` (RFC 7162)
    pub const MODSEQ: Self = Self(1 << 3);
    /// `RFC822.SIZE`
    pub const SIZE: Self = Self(1 << 4);
    /// `EMAILID` (RFC 8474)
    pub const EMAILID: Self = Self(1 << 5);
    /// `THREADID` (RFC 8474)
    pub const THREADID: Self = Self(1 << 6);
    /// `SAVEDATE` (RFC 8514)
    pub const SAVEDATE: Self = Self(1 << 7);
    /// `ENVELOPE`
    pub const ENVELOPE: Self = Self(1 << 8);
    /// `BODYSTRUCTURE`
    pub const BODYSTRUCTURE: Self = Self(1 << 9);
    /// `BODY` without a section
    pub const BODY: Self = Self(1 << 10);
    /// `RFC822.HEADER`
    pub const RFC822_HEADER: Self = Self(1 << 11);
    /// `RFC822.TEXT`
    pub const RFC822_TEXT: Self = Self(1 << 12);
    /// `RFC822`
    pub const RFC822: Self = Self(1 << 13);

    /// `DIGEST.SHA1`: the SHA-1 that the index has.
    pub const DIGEST_SHA1: Self = Self(1 << 14);
    /// `LASTUPDATED`: when the record was last written.
    pub const LASTUPDATED: Self = Self(1 << 15);
    /// `RFC822.FILESIZE`: the size of the file.
    pub const FILESIZE: Self = Self(1 << 16);
    /// `RFC822.SHA1`: the SHA-1 of the file as it is.
    pub const SHA1: Self = Self(1 << 17);
    /// `CREATEDMODSEQ`: the modification sequence with which the message came.
    pub const CREATEDMODSEQ: Self = Self(1 << 18);
    /// `FOLDER`: the mailbox's name.
    pub const FOLDER: Self = Self(1 << 19);
    /// `UIDVALIDITY`: the mailbox's.
    pub const UIDVALIDITY: Self = Self(1 << 20);
    /// `PREVIEW` (RFC 8970)
    pub const PREVIEW: Self = Self(1 << 21);
    /// `PREVIEW (LAZY)` (RFC 8970)
    pub const PREVIEW_LAZY: Self = Self(1 << 22);
    /// `RFC822.TEXT.PEEK`: as `RFC822.TEXT`, but `\Seen` stays as it is.
    pub const RFC822_TEXT_PEEK: Self = Self(1 << 23);
    /// `RFC822.PEEK`: as `RFC822`, but `\Seen` stays as it is.
    pub const RFC822_PEEK: Self = Self(1 << 24);

    /// `CID`: the conversation, as Cyrus numbers it.
    pub const CID: Self = Self(1 << 25);
    /// `BASECID`: the conversation that this one goes on from.
    pub const BASECID: Self = Self(1 << 26);
    /// `MAILBOXES`: the names of the mailboxes that hold a copy.
    pub const MAILBOXES: Self = Self(1 << 27);
    /// `MAILBOXIDS`: the unique ids of these.
    pub const MAILBOXIDS: Self = Self(1 << 28);
    /// What conversations tell.
    pub(crate) const OF_CONVERSATIONS: Self = Self::CID
        .with(Self::BASECID)
        .with(Self::MAILBOXES)
        .with(Self::MAILBOXIDS);

    /// Each item and its name as a client writes it.
    pub(crate) const NAMES: [(Self, &'static str); 29] = [
        (Self::FLAGS, "FLAGS"),
        (Self::UID, "UID"),
        (Self::INTERNALDATE, "INTERNALDATE"),
        (Self::MODSEQ, "MODSEQ"),
        (Self::SIZE, "RFC822.SIZE"),
        (Self::EMAILID, "EMAILID"),
        (Self::THREADID, "THREADID"),
        (Self::SAVEDATE, "SAVEDATE"),
        (Self::ENVELOPE, "ENVELOPE"),
        (Self::BODYSTRUCTURE, "BODYSTRUCTURE"),
        (Self::BODY, "BODY"),
        (Self::RFC822_HEADER, "RFC822.HEADER"),
        (Self::RFC822_TEXT, "RFC822.TEXT"),
        (Self::RFC822, "RFC822"),
        (Self::DIGEST_SHA1, "DIGEST.SHA1"),
        (Self::LASTUPDATED, "LASTUPDATED"),
        (Self::FILESIZE, "RFC822.FILESIZE"),
        (Self::SHA1, "RFC822.SHA1"),
        (Self::CREATEDMODSEQ, "CREATEDMODSEQ"),
        (Self::FOLDER, "FOLDER"),
        (Self::UIDVALIDITY, "UIDVALIDITY"),
        (Self::PREVIEW, "PREVIEW"),
        (Self::PREVIEW_LAZY, "PREVIEW (LAZY)"),
        (Self::RFC822_TEXT_PEEK, "RFC822.TEXT.PEEK"),
        (Self::RFC822_PEEK, "RFC822.PEEK"),
        (Self::CID, "CID"),
        (Self::BASECID, "BASECID"),
        (Self::MAILBOXES, "MAILBOXES"),
        (Self::MAILBOXIDS, "MAILBOXIDS"),
    ];

    /// The items of both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in the set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn parse(name: &[u8]) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| name.eq_ignore_ascii_case(known.as_bytes()))
            .map(|&(item, _)| item)
    }
}

/// Everything that one FETCH asks for. The order in the reply is ours, so a set and a list say it all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchAttributes {
    /// The items named by one word.
    pub items: FetchItems,
    /// The `BODY[...]` items, in the order asked for.
    pub sections: Vec<BodySection>,
    /// `ANNOTATION` (RFC 5257), read only.
    pub annotations: Option<AnnotationQuery>,
    /// The `BINARY[...]` items (RFC 3516), in the order asked for.
    pub binaries: Vec<BinarySection>,
    /// The `RFC822.HEADER.LINES` items, in the order asked for: `HeaderFields` or `HeaderFieldsNot`.
    pub header_lines: Vec<SectionText>,
}

/// `BODY[section]<partial>` or `BODY.PEEK[section]<partial>` (RFC 3501, section 6.4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodySection {
    /// Which octets.
    pub section: Section,
    /// Whether `\Seen` stays as it is.
    pub peek: bool,
    /// First octet and count.
    pub partial: Option<(u64, u64)>,
}

/// `section-spec` (RFC 3501, section 9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The part's number, `[1, 2]` for `1.2`; empty for the message itself.
    pub part: Vec<u32>,
    /// What of the part.
    pub text: SectionText,
}

/// `section-text` (RFC 3501, section 9), or the whole part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionText {
    /// All of it.
    Whole,
    /// `HEADER`
    Header,
    /// `HEADER.FIELDS (...)`, names as the client wrote them.
    HeaderFields(Vec<Vec<u8>>),
    /// `HEADER.FIELDS.NOT (...)`
    HeaderFieldsNot(Vec<Vec<u8>>),
    /// `TEXT`
    Text,
    /// `MIME`: the header of the part itself; never without a part number.
    Mime,
}

/// `ANNOTATION (entries (attributes))` (RFC 5257, section 4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationQuery {
    /// Entry patterns, with `*` and `%`.
    pub entries: Vec<Vec<u8>>,
    /// Attribute patterns: `value.priv`, `value`, `*`, ...
    pub attributes: Vec<Vec<u8>>,
}

impl FetchAttributes {
    /// The most `BODY[...]` items in one command.
    pub const MAX_SECTIONS: usize = 256;
    /// The most field names in one `HEADER.FIELDS`.
    pub const MAX_FIELDS: usize = 1_024;
    /// The deepest part number.
    pub const MAX_PART_DEPTH: usize = 64;

    /// Whether fetching this sets `\Seen` (RFC 3501, section 6.4.5).
    pub fn marks_seen(&self) -> bool {
        self.items
            .intersects(FetchItems::RFC822.with(FetchItems::RFC822_TEXT))
            || self.sections.iter().any(|section| !section.peek)
            || self.binaries.iter().any(BinarySection::marks_seen)
    }

    /// Asks for what `other` asks for, too.
    pub(crate) fn merge(&mut self, other: Self) {
        fn add<T: PartialEq>(all: &mut Vec<T>, more: Vec<T>) {
            for one in more {
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        }
        self.items = self.items.with(other.items);
        add(&mut self.sections, other.sections);
        add(&mut self.binaries, other.binaries);
        add(&mut self.header_lines, other.header_lines);
        self.annotations = self.annotations.take().or(other.annotations);
    }

    pub(in crate::imap::command) fn write(&self, out: &mut Vec<u8>) {
        let mut space = b"(".as_slice();
        let mut next = |out: &mut Vec<u8>| {
            out.extend_from_slice(space);
            space = b" ";
        };
        for (item, name) in FetchItems::NAMES {
            if self.items.contains(item) {
                next(out);
                out.extend_from_slice(name.as_bytes());
            }
        }
        for lines in &self.header_lines {
            next(out);
            let (name, fields): (&[u8], &[Vec<u8>]) = match lines {
                SectionText::HeaderFieldsNot(fields) => (b"RFC822.HEADER.LINES.NOT ", fields),
                SectionText::HeaderFields(fields) => (b"RFC822.HEADER.LINES ", fields),
                SectionText::Whole | SectionText::Header | SectionText::Text | SectionText::Mime => continue,
            };
            out.extend_from_slice(name);
            put_list(out, fields);
        }
        for section in &self.binaries {
            next(out);
            section.write(out);
        }
        for section in &self.sections {
            next(out);
            out.extend_from_slice(if section.peek { b"BODY.PEEK" } else { b"BODY" });
            section.section.write(out);
            if let Some((start, count)) = section.partial {
                out.extend_from_slice(format!("<{start}.{count}>").as_bytes());
            }
        }
        if let Some(query) = &self.annotations {
            next(out);
            out.extend_from_slice(b"ANNOTATION (");
            put_list(out, &query.entries);
            out.extend_from_slice(b" ");
            put_list(out, &query.attributes);
            out.extend_from_slice(b")");
        }
        out.extend_from_slice(b")");
    }
}

impl Section {
    /// Appends `[1.2.HEADER.FIELDS (Subject)]`: the form of command and reply alike.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        let mut dot = "";
        for number in &self.part {
            out.extend_from_slice(format!("{dot}{number}").as_bytes());
            dot = ".";
        }
        let (name, fields) = match &self.text {
            SectionText::Whole => ("", None),
            SectionText::Header => ("HEADER", None),
            SectionText::HeaderFields(fields) => ("HEADER.FIELDS", Some(fields)),
            SectionText::HeaderFieldsNot(fields) => ("HEADER.FIELDS.NOT", Some(fields)),
            SectionText::Text => ("TEXT", None),
            SectionText::Mime => ("MIME", None),
        };
        if !name.is_empty() {
            out.extend_from_slice(dot.as_bytes());
            out.extend_from_slice(name.as_bytes());
        }
        if let Some(fields) = fields {
            out.push(b' ');
            put_list(out, fields);
        }
        out.push(b']');
    }
}

fn put_list(out: &mut Vec<u8>, list: &[Vec<u8>]) {
    out.push(b'(');
    for (i, item) in list.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        put_astring(out, item);
    }
    out.push(b')');
}

/// `fetch = ... ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")` (RFC 3501, section 9).
pub(super) fn fetch_attributes<'i>(input: &'i [u8], name: &str) -> Parsed<'i, FetchAttributes> {
    let mut wanted = FetchAttributes::default();
    let (rest, word) = att_word(input)?;
    let fast = FetchItems::FLAGS
        .with(FetchItems::INTERNALDATE)
        .with(FetchItems::SIZE);
    let all = fast.with(FetchItems::ENVELOPE);
    for (macro_name, items) in [("ALL", all), ("FAST", fast), ("FULL", all.with(FetchItems::BODY))] {
        if word.eq_ignore_ascii_case(macro_name.as_bytes()) {
            wanted.items = items;
            return Ok((rest, wanted));
        }
    }
    let Some(mut rest) = input.strip_prefix(b"(") else {
        let (rest, ()) = fetch_att(input, name, &mut wanted)?;
        return Ok((rest, wanted));
    };
    loop {
        (rest, ()) = fetch_att(rest, name, &mut wanted)?;
        match rest.split_first() {
            Some((b' ', after)) => rest = after,
            Some((b')', after)) => return Ok((after, wanted)),
            _ => return refuse(rest, format!("Missing close parenthesis in {name}")),
        }
    }
}

/// `fetch-att` (RFC 3501, section 9); with MODSEQ, EMAILID, THREADID, SAVEDATE and ANNOTATION of later RFCs.
fn fetch_att<'i>(input: &'i [u8], name: &str, wanted: &mut FetchAttributes) -> Parsed<'i, ()> {
    let (rest, word) = att_word(input)?;
    let sectioned = rest.first() == Some(&b'[');
    if sectioned && (word.eq_ignore_ascii_case(b"BODY") || word.eq_ignore_ascii_case(b"BODY.PEEK")) {
        let (rest, section) = body_section(rest, word.len() > 4)?;
        if wanted.sections.len() >= FetchAttributes::MAX_SECTIONS {
            return refuse(input, format!("Too many body sections in {name}"));
        }
        wanted.sections.push(section);
        return Ok((rest, ()));
    }
    if let Some(binary) = binary_section(word, rest).filter(|_| sectioned) {
        let (rest, section) = binary?;
        if wanted.binaries.len() >= FetchAttributes::MAX_SECTIONS {
            return refuse(input, format!("Too many binary sections in {name}"));
        }
        wanted.binaries.push(section);
        return Ok((rest, ()));
    }
    if let Some(lines) = header_lines(word, rest) {
        let (rest, lines) = lines?;
        if wanted.header_lines.len() >= FetchAttributes::MAX_SECTIONS {
            return refuse(input, format!("Too many header lines in {name}"));
        }
        wanted.header_lines.push(lines);
        return Ok((rest, ()));
    }
    if word.eq_ignore_ascii_case(b"PREVIEW") && !sectioned {
        let (rest, item) = preview_mods(rest, name)?;
        wanted.items = wanted.items.with(item);
        return Ok((rest, ()));
    }
    if word.eq_ignore_ascii_case(b"ANNOTATION") {
        let (rest, query) = annotation_query(rest)?;
        wanted.annotations = Some(query);
        return Ok((rest, ()));
    }
    match FetchItems::parse(word) {
        Some(item) if !sectioned => {
            wanted.items = wanted.items.with(item);
            Ok((rest, ()))
        }
        _ => {
            let word = printable(&word.to_ascii_uppercase());
            refuse(input, format!("Invalid {name} attribute {word}"))
        }
    }
}

fn att_word(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_while(|c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-' | b'*')).parse(input)
}

/// `section ["<" number "." nz-number ">"]` (RFC 3501, section 9).
fn body_section(input: &[u8], peek: bool) -> Parsed<'_, BodySection> {
    let (rest, section) = section(input)?;
    let (rest, partial) = match rest.first() {
        Some(b'<') => {
            let (rest, partial) = expect(partial, || Cow::Borrowed("Invalid body partial")).parse(rest)?;
            (rest, Some(partial))
        }
        _ => (rest, None),
    };
    match rest.first() {
        None | Some(b' ' | b')') => Ok((
            rest,
            BodySection {
                section,
                peek,
                partial,
            },
        )),
        Some(_) => refuse(rest, "Junk after body section"),
    }
}

/// `partial = "<" number64 "." nz-number64 ">"` (RFC 9051, section 9).
pub(super) fn partial(input: &[u8]) -> Parsed<'_, (u64, u64)> {
    let (rest, (_, start, _, count, _)) = (
        tag(&b"<"[..]),
        number64,
        tag(&b"."[..]),
        nz_number64,
        tag(&b">"[..]),
    )
        .parse(input)?;
    Ok((rest, (start, count.get())))
}

/// `section = "[" [section-spec] "]"` (RFC 3501, section 9).
pub(crate) fn section(input: &[u8]) -> Parsed<'_, Section> {
    const INVALID: &str = "Invalid body section";
    let (mut rest, _) = tag(&b"["[..]).parse(input)?;
    let mut part = Vec::new();
    while rest.first().is_some_and(u8::is_ascii_digit) {
        let (after, number) = expect(number, || INVALID.into()).parse(rest)?;
        if part.len() >= FetchAttributes::MAX_PART_DEPTH {
            return refuse(rest, "Body section too deep");
        }
        part.push(number);
        rest = match after.split_first() {
            Some((b'.', more)) if !more.is_empty() && more.first() != Some(&b']') => more,
            Some((b']', _)) => {
                let text = SectionText::Whole;
                return Ok((after.get(1..).unwrap_or_default(), Section { part, text }));
            }
            _ => return refuse(after, INVALID),
        };
    }
    let (rest, word) = att_word(rest)?;
    let (rest, text) = match word.to_ascii_uppercase().as_slice() {
        b"" => (rest, SectionText::Whole),
        b"HEADER" => (rest, SectionText::Header),
        b"TEXT" => (rest, SectionText::Text),
        b"MIME" if !part.is_empty() => (rest, SectionText::Mime),
        b"HEADER.FIELDS" if rest.starts_with(b" ") => {
            let (rest, fields) = header_list(rest, "BODY[HEADER.FIELDS")?;
            (rest, SectionText::HeaderFields(fields))
        }
        b"HEADER.FIELDS.NOT" if rest.starts_with(b" ") => {
            let (rest, fields) = header_list(rest, "BODY[HEADER.FIELDS.NOT")?;
            (rest, SectionText::HeaderFieldsNot(fields))
        }
        _ => return refuse(rest, INVALID),
    };
    if text == SectionText::Whole && !part.is_empty() {
        return refuse(rest, INVALID); // "1." followed by nothing
    }
    match rest.split_first() {
        Some((b']', rest)) => Ok((rest, Section { part, text })),
        _ => refuse(rest, INVALID),
    }
}

/// `header-list = "(" header-fld-name *(SP header-fld-name) ")"` (RFC 3501, section 9).
pub(super) fn header_list<'i>(input: &'i [u8], item: &'static str) -> Parsed<'i, Vec<Vec<u8>>> {
    let words = || Cow::Owned(format!("Invalid field-name in Fetch {item}"));
    let (rest, _) = expect((sp, tag(&b"("[..])), words).parse(input)?;
    let (rest, fields) = expect(separated_list1(sp, header_fld_name), words).parse(rest)?;
    let (rest, _) = expect(tag(&b")"[..]), words).parse(rest)?;
    if fields.len() > FetchAttributes::MAX_FIELDS {
        return refuse(input, "Too many field names in Fetch");
    }
    Ok((rest, fields))
}

/// `header-fld-name = astring` (RFC 3501, section 9), restricted to what a field name can be (RFC 5322, section 3.6.8).
fn header_fld_name(input: &[u8]) -> Parsed<'_, Vec<u8>> {
    let (rest, name) = astring(input)?;
    if !name.is_empty() && name.iter().all(|&c| c.is_ascii_graphic() && c != b':') {
        Ok((rest, name.into_owned()))
    } else {
        mismatch(input)
    }
}

/// `SP "(" entries SP attribs ")"` (RFC 5257, section 5).
fn annotation_query(input: &[u8]) -> Parsed<'_, AnnotationQuery> {
    let words = || Cow::Borrowed("invalid Annotation");
    let (rest, _) = expect((sp, tag(&b"("[..])), words).parse(input)?;
    let (rest, entries) = expect(one_or_list, words).parse(rest)?;
    let (rest, _) = expect(sp, words).parse(rest)?;
    let (rest, attributes) = expect(one_or_list, words).parse(rest)?;
    let (rest, _) = expect(take_one(|c| c == b')'), words).parse(rest)?;
    Ok((rest, AnnotationQuery { entries, attributes }))
}

/// One astring, or a list of them in parentheses.
pub(super) fn one_or_list(input: &[u8]) -> Parsed<'_, Vec<Vec<u8>>> {
    let (rest, open) = opt(tag(&b"("[..])).parse(input)?;
    if open.is_none() {
        let (rest, one) = astring(rest)?;
        return Ok((rest, vec![one.into_owned()]));
    }
    let (rest, list) = separated_list1(sp, astring).parse(rest)?;
    let (rest, _) = tag(&b")"[..]).parse(rest)?;
    Ok((rest, list.into_iter().map(Cow::into_owned).collect()))
}
