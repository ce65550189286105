//! SEARCH: the program of keys (RFC 3501, section 6.4.4).

use std::borrow::Cow;
use std::num::NonZeroU32;

use cyrus_store::{Audience, Keyword, SystemFlags};
use nom::Parser;
use nom::bytes::complete::{tag, take_while};

pub use self::returns::{PartialRange, SearchReturn};
pub(super) use self::returns::{partial_range, search_return_opts};
use super::lex::{Parsed, astring, expect, mismatch, mod_sequence_valzer, number64, printable, refuse, sp};
use super::write::put_string;
use crate::imap::date::{Date, date};
use crate::imap::sequence::{SeqNumber, SequenceSet, nz_number, sequence_set};

mod returns;

/// One SEARCH command's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchProgram {
    /// The `CHARSET` given, as the client wrote it.
    pub charset: Option<Vec<u8>>,
    /// The keys, all of which must hold.
    pub keys: Vec<SearchKey>,
}

/// `search-key` (RFC 3501, section 9). Strings are in the charset of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    /// `ALL`
    All,
    /// `ANSWERED`, `DELETED`, `DRAFT`, `FLAGGED`, `SEEN`
    Has(SystemFlags),
    /// `UNANSWERED`, ...
    Lacks(SystemFlags),
    /// `NEW`: recent and unseen.
    New,
    /// `OLD`
    Old,
    /// `RECENT`
    Recent,
    /// `KEYWORD flag`
    Keyword(Keyword),
    /// `UNKEYWORD flag`
    Unkeyword(Keyword),
    /// A comparison of a date: which one, how, with what.
    Date(DateField, DateTest, Date),
    /// A string somewhere: in an address field, the subject, the body, ...
    Contains(TextField, Vec<u8>),
    /// `HEADER name string`
    Header(Vec<u8>, Vec<u8>),
    /// `LARGER n`
    Larger(u64),
    /// `SMALLER n`
    Smaller(u64),
    /// Message sequence numbers.
    Sequence(SequenceSet),
    /// `UID set`
    Uid(SequenceSet),
    /// `MODSEQ n`: modification sequence at least `n`; the entry, if one is named, is ignored (RFC 7162, section 3.1.5).
    ModSeq(Option<ModSeqEntry>, u64),
    /// `OLDER seconds` or `YOUNGER seconds`, by internal date (RFC 5032).
    Within(Age, u64),
    /// `EMAILID id` (RFC 8474).
    EmailId(Vec<u8>),
    /// `THREADID id` (RFC 8474).
    ThreadId(Vec<u8>),
    /// `SAVEDATESUPPORTED` (RFC 8514).
    SaveDateSupported,
    /// `FILTER name`: the program that is kept under this name (RFC 5466).
    Filter(Vec<u8>),
    /// `ANNOTATION entry attribute value` (RFC 5257, section 4.5).
    Annotation(Box<AnnotationKey>),
    /// `FUZZY key` (RFC 6203).
    Fuzzy(Box<SearchKey>),
    /// `NOT key`
    Not(Box<SearchKey>),
    /// `OR key key`
    Or(Box<(SearchKey, SearchKey)>),
    /// `(key key ...)`
    And(Vec<SearchKey>),
}

/// What SEARCH ANNOTATION looks for (RFC 5257, section 4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationKey {
    /// The entry, with `*` and `%`.
    pub entry: Vec<u8>,
    /// Whose value: everybody's (`value.shared`) or the user's own (`value.priv`); either for `value`.
    pub audience: Option<Audience>,
    /// Octets within the value; none for messages that lack it.
    pub value: Option<Vec<u8>>,
}

impl AnnotationKey {
    const ATTRIBUTES: [(&'static str, Option<Audience>); 3] = [
        ("value", None),
        ("value.shared", Some(Audience::Shared)),
        ("value.priv", Some(Audience::Private)),
    ];
}

/// `search-modseq-ext`: one flag's modification sequence (RFC 7162, section 3.1.5). Messages have one for all of them, so that
/// it says no more than the message's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModSeqEntry {
    /// The entry name, `/flags/\\Seen`.
    pub name: Vec<u8>,
    /// `priv`, `shared` or `all`.
    pub kind: EntryKind,
}

/// `entry-type-req` (RFC 7162, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// `priv`
    Private,
    /// `shared`
    Shared,
    /// `all`
    All,
}

impl EntryKind {
    const NAMES: [(Self, &'static str); 3] = [
        (Self::Private, "priv"),
        (Self::Shared, "shared"),
        (Self::All, "all"),
    ];
}

impl SearchKey {
    /// Whether this is true of the key or of one within it.
    fn has(&self, is: &dyn Fn(&Self) -> bool) -> bool {
        is(self)
            || match self {
                Self::Not(key) | Self::Fuzzy(key) => key.has(is),
                Self::Or(keys) => keys.0.has(is) || keys.1.has(is),
                Self::And(keys) => keys.iter().any(|key| key.has(is)),
                _ => false,
            }
    }
}

/// Which side of an age in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// That old or older.
    Older,
    /// That old or younger.
    Younger,
}

/// Which date of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateField {
    /// The internal date.
    Internal,
    /// The `Date` header field.
    Sent,
    /// When the message came into the mailbox (RFC 8514).
    Saved,
}

/// How dates are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateTest {
    /// Earlier than the day.
    Before,
    /// Within the day.
    On,
    /// Within or later than the day.
    Since,
}

/// Where a string is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextField {
    /// `BCC`
    Bcc,
    /// `BODY`
    Body,
    /// `CC`
    Cc,
    /// `FROM`
    From,
    /// `SUBJECT`
    Subject,
    /// `TEXT`: header or body.
    Text,
    /// `TO`
    To,
}

impl SearchProgram {
    /// How deep keys may nest.
    pub const MAX_DEPTH: usize = 64;
    /// How many keys a program may have.
    pub const MAX_KEYS: usize = 4_096;

    /// Whether there is a MODSEQ key: then the answer tells the highest modification sequence (RFC 7162, section 3.1.5).
    pub fn names_modseq(&self) -> bool {
        self.keys
            .iter()
            .any(|key| key.has(&|key| matches!(key, SearchKey::ModSeq(..))))
    }

    /// Whether a key names messages by number.
    pub fn uses_numbers(&self) -> bool {
        self.keys
            .iter()
            .any(|key| key.has(&|key| matches!(key, SearchKey::Sequence(_))))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Some(charset) = &self.charset {
            out.extend_from_slice(b" CHARSET ");
            super::write::put_astring(out, charset);
        }
        self.write_keys(out);
    }

    /// As SORT and THREAD have it: the charset without a name before it.
    pub(super) fn write_criteria(&self, out: &mut Vec<u8>) {
        out.push(b' ');
        super::write::put_astring(out, self.charset.as_deref().unwrap_or(b"UTF-8"));
        self.write_keys(out);
    }

    fn write_keys(&self, out: &mut Vec<u8>) {
        for key in &self.keys {
            out.push(b' ');
            key.write(out);
        }
    }
}

const FLAGS: [(SystemFlags, &str); 5] = [
    (SystemFlags::ANSWERED, "ANSWERED"),
    (SystemFlags::DELETED, "DELETED"),
    (SystemFlags::DRAFT, "DRAFT"),
    (SystemFlags::FLAGGED, "FLAGGED"),
    (SystemFlags::SEEN, "SEEN"),
];

const DATES: [(&str, DateField, DateTest); 9] = [
    ("BEFORE", DateField::Internal, DateTest::Before),
    ("ON", DateField::Internal, DateTest::On),
    ("SINCE", DateField::Internal, DateTest::Since),
    ("SENTBEFORE", DateField::Sent, DateTest::Before),
    ("SENTON", DateField::Sent, DateTest::On),
    ("SENTSINCE", DateField::Sent, DateTest::Since),
    ("SAVEDBEFORE", DateField::Saved, DateTest::Before),
    ("SAVEDON", DateField::Saved, DateTest::On),
    ("SAVEDSINCE", DateField::Saved, DateTest::Since),
];

const TEXTS: [(&str, TextField); 7] = [
    ("BCC", TextField::Bcc),
    ("BODY", TextField::Body),
    ("CC", TextField::Cc),
    ("FROM", TextField::From),
    ("SUBJECT", TextField::Subject),
    ("TEXT", TextField::Text),
    ("TO", TextField::To),
];

impl SearchKey {
    fn write(&self, out: &mut Vec<u8>) {
        let mut text = |text: &str| out.extend_from_slice(text.as_bytes());
        match self {
            Self::All => text("ALL"),
            Self::New => text("NEW"),
            Self::Old => text("OLD"),
            Self::Recent => text("RECENT"),
            Self::Has(flag) | Self::Lacks(flag) => {
                if matches!(self, Self::Lacks(_)) {
                    text("UN");
                }
                let name = FLAGS.iter().find(|(known, _)| known == flag);
                text(name.map_or("ALL", |(_, name)| name));
            }
            Self::Keyword(keyword) => text(&format!("KEYWORD {}", keyword.as_str())),
            Self::Unkeyword(keyword) => text(&format!("UNKEYWORD {}", keyword.as_str())),
            Self::Date(field, test, date) => {
                let name = DATES.iter().find(|(_, f, t)| f == field && t == test);
                text(&format!("{} {date}", name.map_or("ON", |(name, ..)| name)));
            }
            Self::Contains(field, string) => {
                let name = TEXTS.iter().find(|(_, known)| known == field);
                text(name.map_or("TEXT", |(name, _)| name));
                out.push(b' ');
                put_string(out, string);
            }
            Self::Header(name, string) => {
                text("HEADER ");
                put_string(out, name);
                out.push(b' ');
                put_string(out, string);
            }
            Self::Larger(size) => text(&format!("LARGER {size}")),
            Self::Smaller(size) => text(&format!("SMALLER {size}")),
            Self::Sequence(set) => text(&set.to_string()),
            Self::Uid(set) => text(&format!("UID {set}")),
            Self::ModSeq(None, since) => text(&format!("MODSEQ {since}")),
            Self::ModSeq(Some(entry), since) => {
                text("MODSEQ ");
                put_string(out, &entry.name);
                let kind = EntryKind::NAMES.iter().find(|(kind, _)| *kind == entry.kind);
                let kind = kind.map_or("all", |(_, name)| name);
                out.extend_from_slice(format!(" {kind} {since}").as_bytes());
            }
            Self::Within(Age::Older, seconds) => text(&format!("OLDER {seconds}")),
            Self::Within(Age::Younger, seconds) => text(&format!("YOUNGER {seconds}")),
            Self::SaveDateSupported => text("SAVEDATESUPPORTED"),
            Self::Annotation(key) => {
                text("ANNOTATION ");
                put_string(out, &key.entry);
                let known = AnnotationKey::ATTRIBUTES
                    .iter()
                    .find(|(_, audience)| *audience == key.audience);
                out.extend_from_slice(format!(" {} ", known.map_or("value", |(name, _)| name)).as_bytes());
                match &key.value {
                    Some(value) => put_string(out, value),
                    None => out.extend_from_slice(b"NIL"),
                }
            }
            Self::EmailId(id) | Self::ThreadId(id) | Self::Filter(id) => {
                text(match self {
                    Self::EmailId(_) => "EMAILID ",
                    Self::ThreadId(_) => "THREADID ",
                    _ => "FILTER ",
                });
                super::write::put_astring(out, id);
            }
            Self::Fuzzy(key) => {
                text("FUZZY ");
                key.write(out);
            }
            Self::Not(key) => {
                text("NOT ");
                key.write(out);
            }
            Self::Or(keys) => {
                text("OR ");
                keys.0.write(out);
                out.push(b' ');
                keys.1.write(out);
            }
            Self::And(keys) => {
                for (i, key) in keys.iter().enumerate() {
                    out.push(if i == 0 { b'(' } else { b' ' });
                    key.write(out);
                }
                out.push(b')');
            }
        }
    }
}

/// `search-program = ["CHARSET" SP charset SP] search-key *(SP search-key)` (RFC 3501, section 9; RFC 4466).
pub(crate) fn search_program(input: &[u8]) -> Parsed<'_, SearchProgram> {
    let mut rest = input;
    let mut charset = None;
    let (after, word) = key_word(input)?;
    if word.eq_ignore_ascii_case(b"CHARSET") {
        let missing = || Cow::Borrowed("Missing charset");
        let (after, _) = expect(sp, missing).parse(after)?;
        let (after, name) = expect(astring, missing).parse(after)?;
        let missing = || Cow::Borrowed("Missing search criteria");
        (rest, ()) = expect(sp, missing).parse(after)?;
        charset = Some(name.into_owned());
    }
    let (rest, keys) = search_keys(rest)?;
    Ok((rest, SearchProgram { charset, keys }))
}

/// `search-key *(SP search-key)`
pub(crate) fn search_keys(input: &[u8]) -> Parsed<'_, Vec<SearchKey>> {
    let mut rest = input;
    let mut count = 0;
    let mut keys = Vec::new();
    loop {
        let (after, key) = search_key(rest, 0, &mut count)?;
        keys.push(key);
        match after.split_first() {
            Some((b' ', more)) => rest = more,
            _ => return Ok((after, keys)),
        }
    }
}

/// `search-key` (RFC 3501, section 9); refuses programs nested or long beyond the limits of [`SearchProgram`].
fn search_key<'i>(input: &'i [u8], depth: usize, count: &mut usize) -> Parsed<'i, SearchKey> {
    const INVALID: &str = "Invalid Search criteria";
    *count += 1;
    if depth > SearchProgram::MAX_DEPTH {
        return refuse(input, "Search program nested too deep");
    }
    if *count > SearchProgram::MAX_KEYS {
        return refuse(input, "Search program too long");
    }
    if let Some(inner) = input.strip_prefix(b"(") {
        return parenthesized(inner, depth, count);
    }
    if input
        .first()
        .is_some_and(|c| c.is_ascii_digit() || matches!(c, b'*' | b'$'))
    {
        let (rest, set) = expect(sequence_set, || INVALID.into()).parse(input)?;
        return match rest.first() {
            None | Some(b' ' | b')') => Ok((rest, SearchKey::Sequence(set))),
            Some(_) => refuse(rest, INVALID),
        };
    }
    let (rest, word) = key_word(input)?;
    let upper = word.to_ascii_uppercase();
    if let Some(key) = simple_key(&upper) {
        return Ok((rest, key));
    }
    let name = Argument(word);
    let find_date = DATES.iter().find(|(known, ..)| known.as_bytes() == upper);
    if let Some(&(_, field, test)) = find_date {
        let (rest, ()) = name.space(rest)?;
        let (rest, day) = expect(date, || "Invalid date in Search command".into()).parse(rest)?;
        return Ok((rest, SearchKey::Date(field, test, day)));
    }
    if let Some(&(_, field)) = TEXTS.iter().find(|(known, _)| known.as_bytes() == upper) {
        let (rest, string) = name.string(rest)?;
        return Ok((rest, SearchKey::Contains(field, string)));
    }
    match upper.as_slice() {
        b"HEADER" => {
            let (rest, field) = name.string(rest)?;
            let (rest, string) = name.string(rest)?;
            Ok((rest, SearchKey::Header(field, string)))
        }
        b"KEYWORD" => {
            let (rest, flag) = name.flag(rest)?;
            Ok((rest, SearchKey::Keyword(flag)))
        }
        b"UNKEYWORD" => {
            let (rest, flag) = name.flag(rest)?;
            Ok((rest, SearchKey::Unkeyword(flag)))
        }
        b"LARGER" | b"SMALLER" => {
            let (rest, ()) = name.space(rest)?;
            let (rest, size) = expect(number64, || "Invalid number in Search command".into()).parse(rest)?;
            let larger = upper.as_slice() == b"LARGER";
            Ok((
                rest,
                if larger {
                    SearchKey::Larger(size)
                } else {
                    SearchKey::Smaller(size)
                },
            ))
        }
        b"UID" => {
            let (rest, ()) = name.space(rest)?;
            let (rest, set) = expect(sequence_set, || INVALID.into()).parse(rest)?;
            Ok((rest, SearchKey::Uid(set)))
        }
        b"MODSEQ" => {
            let (rest, ()) = name.space(rest)?;
            search_modsequence(rest)
        }
        b"OLDER" | b"YOUNGER" => {
            let (rest, ()) = name.space(rest)?;
            let (rest, seconds) =
                expect(number64, || "Invalid interval in Search command".into()).parse(rest)?;
            let age = match upper.as_slice() {
                b"OLDER" => Age::Older,
                _ => Age::Younger,
            };
            Ok((rest, SearchKey::Within(age, seconds)))
        }
        b"CID" => {
            // Cyrus's own name and form of a THREADID.
            let (rest, id) = name.string(rest)?;
            let is_cid = id.len() == 16 && id.iter().all(u8::is_ascii_hexdigit);
            match is_cid || id.eq_ignore_ascii_case(b"NIL") {
                true => Ok((rest, SearchKey::ThreadId([b"T", id.as_slice()].concat()))),
                false => refuse(input, "Invalid number in Search command"),
            }
        }
        b"EMAILID" => name.string(rest).map(|(rest, id)| (rest, SearchKey::EmailId(id))),
        b"THREADID" => name
            .string(rest)
            .map(|(rest, id)| (rest, SearchKey::ThreadId(id))),
        b"FILTER" => name
            .string(rest)
            .map(|(rest, name)| (rest, SearchKey::Filter(name))),
        b"ANNOTATION" => {
            let (rest, key) = expect(search_annotation, || INVALID.into()).parse(rest)?;
            Ok((rest, SearchKey::Annotation(Box::new(key))))
        }
        b"FUZZY" => {
            let (rest, ()) = name.space(rest)?;
            let (rest, key) = search_key(rest, depth + 1, count)?;
            Ok((rest, SearchKey::Fuzzy(Box::new(key))))
        }
        b"UIDAFTER" | b"UIDBEFORE" => {
            let (rest, ()) = name.space(rest)?;
            let (rest, uid) = expect(nz_number, || INVALID.into()).parse(rest)?;
            let (first, last) = match upper.as_slice() {
                b"UIDAFTER" => (uid.checked_add(1), Some(NonZeroU32::MAX)),
                _ => (Some(NonZeroU32::MIN), NonZeroU32::new(uid.get() - 1)),
            };
            let range = first.zip(last);
            let set = range.and_then(|(first, last)| {
                SequenceSet::new(vec![(SeqNumber::Number(first), SeqNumber::Number(last))])
            });
            let none = SearchKey::Not(Box::new(SearchKey::All));
            Ok((rest, set.map_or(none, SearchKey::Uid)))
        }
        b"NOT" => {
            let (rest, ()) = name.space(rest)?;
            let (rest, key) = search_key(rest, depth + 1, count)?;
            Ok((rest, SearchKey::Not(Box::new(key))))
        }
        b"OR" => {
            let (rest, ()) = name.space(rest)?;
            let (rest, first) = search_key(rest, depth + 1, count)?;
            let (rest, ()) = name.space(rest)?;
            let (rest, second) = search_key(rest, depth + 1, count)?;
            Ok((rest, SearchKey::Or(Box::new((first, second)))))
        }
        _ => refuse(input, INVALID),
    }
}

/// `search-key =/ "ANNOTATION" SP entry-match SP att-search SP value` after its name (RFC 5257, section 5).
fn search_annotation(input: &[u8]) -> Parsed<'_, AnnotationKey> {
    let (rest, ((), entry, (), attribute, ())) = (sp, astring, sp, super::lex::word, sp).parse(input)?;
    let (rest, value) = super::metadata::value(rest)?;
    let known = AnnotationKey::ATTRIBUTES
        .iter()
        .find(|(name, _)| attribute.eq_ignore_ascii_case(name.as_bytes()));
    match known {
        Some(&(_, audience)) => Ok((
            rest,
            AnnotationKey {
                entry: entry.into_owned(),
                audience,
                value,
            },
        )),
        None => mismatch(input),
    }
}

/// `search-modsequence = "MODSEQ" [search-modseq-ext] SP mod-sequence-valzer` after its name (RFC 7162, section 7).
fn search_modsequence(input: &[u8]) -> Parsed<'_, SearchKey> {
    const INVALID: &str = "Invalid number in Search command";
    let (rest, entry) = match input.first() {
        Some(b'"' | b'{') => {
            let (rest, entry) =
                expect(search_modseq_ext, || "Invalid Search modseq entry".into()).parse(input)?;
            (rest, Some(entry))
        }
        _ => (input, None),
    };
    let (rest, since) = expect(mod_sequence_valzer, || INVALID.into()).parse(rest)?;
    Ok((rest, SearchKey::ModSeq(entry, since)))
}

/// `search-modseq-ext = SP entry-name SP entry-type-req` without its first space, with the one after it.
fn search_modseq_ext(input: &[u8]) -> Parsed<'_, ModSeqEntry> {
    let (rest, name) = super::lex::string(input)?;
    let (rest, ()) = sp(rest)?;
    let (rest, word) = key_word(rest)?;
    let (rest, ()) = sp(rest)?;
    let kind = EntryKind::NAMES
        .iter()
        .find(|(_, known)| word.eq_ignore_ascii_case(known.as_bytes()));
    match kind {
        Some(&(kind, _)) => Ok((
            rest,
            ModSeqEntry {
                name: name.into_owned(),
                kind,
            },
        )),
        None => mismatch(input),
    }
}

/// `"(" search-key *(SP search-key) ")"` after its first parenthesis (RFC 3501, section 9).
fn parenthesized<'i>(input: &'i [u8], depth: usize, count: &mut usize) -> Parsed<'i, SearchKey> {
    let mut keys = Vec::new();
    let mut rest = input;
    loop {
        let (after, key) = search_key(rest, depth + 1, count)?;
        keys.push(key);
        match after.split_first() {
            Some((b' ', more)) => rest = more,
            Some((b')', more)) => return Ok((more, SearchKey::And(keys))),
            _ => return refuse(after, "Missing required close paren in Search command"),
        }
    }
}

fn simple_key(upper: &[u8]) -> Option<SearchKey> {
    match upper {
        b"ALL" => Some(SearchKey::All),
        b"NEW" => Some(SearchKey::New),
        b"OLD" => Some(SearchKey::Old),
        b"RECENT" => Some(SearchKey::Recent),
        b"SAVEDATESUPPORTED" => Some(SearchKey::SaveDateSupported),
        _ => {
            let (name, has) = match upper.strip_prefix(b"UN") {
                Some(name) => (name, false),
                None => (upper, true),
            };
            let &(flag, _) = FLAGS.iter().find(|(_, known)| known.as_bytes() == name)?;
            Some(if has {
                SearchKey::Has(flag)
            } else {
                SearchKey::Lacks(flag)
            })
        }
    }
}

/// The arguments of the key of this name.
struct Argument<'i>(&'i [u8]);

impl Argument<'_> {
    fn missing(&self) -> Cow<'static, str> {
        let name = printable(&self.0.to_ascii_lowercase());
        Cow::Owned(format!("Missing required argument to Search {name}"))
    }

    fn space<'i>(&self, input: &'i [u8]) -> Parsed<'i, ()> {
        match sp(input) {
            Ok((rest, ())) if !rest.is_empty() => Ok((rest, ())),
            _ => refuse(input, self.missing()),
        }
    }

    fn string<'i>(&self, input: &'i [u8]) -> Parsed<'i, Vec<u8>> {
        let (rest, ()) = self.space(input)?;
        let (rest, text) = expect(astring, || self.missing()).parse(rest)?;
        Ok((rest, text.into_owned()))
    }

    /// `flag-keyword = atom` (RFC 3501, section 9).
    fn flag<'i>(&self, input: &'i [u8]) -> Parsed<'i, Keyword> {
        let (start, ()) = self.space(input)?;
        let (rest, name) = super::lex::word(start)?;
        match std::str::from_utf8(name).ok().and_then(Keyword::new) {
            Some(keyword) => Ok((rest, keyword)),
            None => refuse(
                start,
                format!("Invalid flag name {} in Search command", printable(name)),
            ),
        }
    }
}

fn key_word(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_while(|c: u8| c.is_ascii_alphabetic()).parse(input)
}

/// The keys of a program end where the command does, or at a parenthesis that nobody opened.
pub(super) fn end_of_keys(input: &[u8]) -> Parsed<'_, ()> {
    match input.first() {
        None => Ok((input, ())),
        Some(b')') => refuse(input, "Unexpected extra arguments to Search"),
        Some(_) => match tag::<_, _, super::lex::Flaw<'_>>(&b" "[..]).parse(input) {
            Ok(_) => mismatch(input),
            Err(_) => refuse(input, "Invalid Search criteria"),
        },
    }
}
