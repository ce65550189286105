//! Messages that a client adds to a mailbox: APPEND (RFC 3501, section 6.3.11; several at once: RFC 3502; made of parts:
//! RFC 4469; of any octets: RFC 3516; with UTF-8 in the header: RFC 6855) and REPLACE (RFC 8508).

use std::borrow::Cow;
use std::cell::Cell;

use cyrus_store::{FlagNames, Keyword, SystemFlags};
use nom::Parser;
use nom::bytes::complete::{tag, take, take_while};

use super::lex::{Parsed, astring, expect, keyword, literal_header, mismatch, refuse, sp, word};
use super::metadata::{AnnotationChange, entry_att_list, put_entry_atts};
use super::write::{put_flags, put_string};
use crate::imap::date::{date_time, put_date_time};

/// One message of an APPEND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendMessage {
    /// The flags given, if a list was.
    pub flags: Option<FlagNames>,
    /// The internal date given, in seconds since 1970.
    pub internal_date: Option<i64>,
    /// `ANNOTATION (...)` (RFC 5257, section 4.6).
    pub annotations: Vec<AnnotationChange>,
    /// The message.
    pub content: AppendContent,
}

/// What a message is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendContent {
    /// One literal.
    Literal(Literal),
    /// `CATENATE (...)`: parts one after the other (RFC 4469).
    Catenate(Vec<CatenatePart>),
}

/// `cat-part` (RFC 4469, section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatenatePart {
    /// `URL url`: what the URL names.
    Url(Vec<u8>),
    /// `TEXT literal`: what the client sends.
    Text(Literal),
}

/// A literal, wherever its octets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// How it was announced.
    pub form: LiteralForm,
    /// Its octets.
    pub octets: Octets,
}

/// How a literal was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiteralForm {
    /// `{n}`
    Plain,
    /// `~{n}`: any octets (RFC 3516).
    Binary,
    /// `UTF8 (~{n})`: a message with UTF-8 in its header (RFC 6855).
    Utf8,
}

/// Where the octets of a literal are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Octets {
    /// Here.
    Memory(Vec<u8>),
    /// In the sink of this index among the command's staged literals.
    Staged(usize),
}

impl AppendMessage {
    /// The most messages in one APPEND.
    pub const MAX_MESSAGES: usize = 1_024;
    /// The most parts of a message in one CATENATE.
    pub const MAX_PARTS: usize = 1_024;
}

/// What the literal at the end of an unfinished APPEND or REPLACE is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LiteralPlace {
    /// A whole message.
    Message,
    /// A part of one.
    Part,
}

/// Reads literals of messages: knows which are staged, and notices one that is still to come.
pub(super) struct Literals<'s> {
    /// Which staged literal has its place so many octets before the end of the command.
    pub(super) staged_at: &'s dyn Fn(usize) -> Option<usize>,
    /// The literal that ends the text before its first octet.
    pub(super) open: Cell<Option<LiteralPlace>>,
}

impl<'s> Literals<'s> {
    pub(super) fn new(staged_at: &'s dyn Fn(usize) -> Option<usize>) -> Self {
        Self {
            staged_at,
            open: Cell::new(None),
        }
    }

    /// `literal / literal8` (RFC 3501, section 9; RFC 3516, section 7).
    fn literal<'i>(&self, input: &'i [u8], place: LiteralPlace) -> Parsed<'i, Literal> {
        let (plain, form) = match input.strip_prefix(b"~") {
            Some(rest) => (rest, LiteralForm::Binary),
            None => (input, LiteralForm::Plain),
        };
        let (rest, size) = literal_header(plain)?;
        if let Some(index) = (self.staged_at)(rest.len()) {
            let octets = Octets::Staged(index);
            return Ok((rest, Literal { form, octets }));
        }
        if rest.is_empty() && size > 0 {
            self.open.set(Some(place));
        }
        let Ok(size) = usize::try_from(size) else {
            return mismatch(input);
        };
        let (rest, bytes) = take(size).parse(rest)?;
        let octets = Octets::Memory(bytes.to_vec());
        Ok((rest, Literal { form, octets }))
    }

    /// `"UTF8" SP "(" literal8 ")"` after its first word (RFC 6855, section 4, `utf8-literal`).
    fn utf8_literal<'i>(&self, input: &'i [u8], place: LiteralPlace) -> Parsed<'i, Literal> {
        let (rest, _) = tag(&b" ("[..]).parse(input)?;
        if !rest.starts_with(b"~") {
            return mismatch(rest);
        }
        let (rest, literal) = self.literal(rest, place)?;
        let (rest, _) = tag(&b")"[..]).parse(rest)?;
        let form = LiteralForm::Utf8;
        Ok((rest, Literal { form, ..literal }))
    }

    /// `append-message *(append-message)`: what follows the mailbox, from its space on (RFC 3502, section 6.3.11).
    pub(super) fn append_messages<'i>(&self, input: &'i [u8]) -> Parsed<'i, Vec<AppendMessage>> {
        let mut messages = Vec::new();
        let mut rest = input;
        loop {
            let (after, message) = self.append_message(rest)?;
            messages.push(message);
            if messages.len() > AppendMessage::MAX_MESSAGES {
                return refuse(rest, "Too many messages in Append command");
            }
            if after.is_empty() {
                return Ok((after, messages));
            }
            rest = after;
        }
    }

    /// `append-message = append-opts SP append-data` (RFC 4466, section 2.6): flags, date and annotations, then the message.
    pub(super) fn append_message<'i>(&self, input: &'i [u8]) -> Parsed<'i, AppendMessage> {
        let (mut rest, ()) = expect(sp, missing).parse(input)?;
        let mut flags = None;
        if rest.first() == Some(&b'(') {
            let (after, list) = flag_list(rest, &FlagWords::APPEND)?;
            (rest, ()) = expect(sp, missing).parse(after)?;
            flags = Some(list);
        }
        let mut internal_date = None;
        if rest.first() == Some(&b'"') {
            let words = || Cow::Borrowed("Invalid date-time in Append command");
            let (after, unix) = expect(date_time, words).parse(rest)?;
            (rest, ()) = expect(sp, missing).parse(after)?;
            internal_date = Some(unix);
        }
        let mut annotations = Vec::new();
        if let Ok((after, ((), ()))) = (keyword("ANNOTATION"), sp).parse(rest) {
            let (after, list) = entry_att_list(after)?;
            (rest, ()) = expect(sp, missing).parse(after)?;
            annotations = list;
        }
        let (rest, content) = self.append_data(rest)?;
        let message = AppendMessage {
            flags,
            internal_date,
            annotations,
            content,
        };
        Ok((rest, message))
    }

    /// `append-data = literal / literal8 / "CATENATE" SP "(" cat-part *(SP cat-part) ")" / utf8-literal` (RFC 4466,
    /// section 2.6; RFC 4469, section 5; RFC 6855, section 4).
    fn append_data<'i>(&self, input: &'i [u8]) -> Parsed<'i, AppendContent> {
        if let Ok((rest, ())) = keyword("CATENATE")(input) {
            let (rest, _) = expect(tag(&b" ("[..]), missing).parse(rest)?;
            return self.catenate(rest);
        }
        let (rest, literal) = match keyword("UTF8")(input) {
            Ok((rest, ())) => {
                expect(|rest| self.utf8_literal(rest, LiteralPlace::Message), missing).parse(rest)?
            }
            Err(_) => expect(|input| self.literal(input, LiteralPlace::Message), missing).parse(input)?,
        };
        Ok((rest, AppendContent::Literal(literal)))
    }

    /// `cat-part *(SP cat-part) ")"` (RFC 4469, section 5).
    fn catenate<'i>(&self, input: &'i [u8]) -> Parsed<'i, AppendContent> {
        let mut parts = Vec::new();
        let mut rest = input;
        loop {
            let (after, part) = self.cat_part(rest)?;
            parts.push(part);
            match after.split_first() {
                Some((b')', after)) => return Ok((after, AppendContent::Catenate(parts))),
                Some((b' ', _)) if parts.len() >= AppendMessage::MAX_PARTS => {
                    return refuse(after, "Too many message parts in Append command");
                }
                Some((b' ', after)) => rest = after,
                _ => {
                    return refuse(after, "Missing space or ) after catenate list in Append command");
                }
            }
        }
    }

    /// `cat-part = text-literal / url`, where `text-literal = "TEXT" SP (literal / literal8)` and `url = "URL" SP astring`
    /// (RFC 4469, section 5); also `utf8-literal` (RFC 6855, section 4).
    fn cat_part<'i>(&self, input: &'i [u8]) -> Parsed<'i, CatenatePart> {
        const NO_DATA: &str = "Missing message part data in Append command";
        let (rest, word) = take_while(|c: u8| c.is_ascii_alphanumeric()).parse(input)?;
        if word.is_empty() {
            return refuse(input, NO_DATA);
        }
        if word.eq_ignore_ascii_case(b"UTF8") {
            let rule = |rest| self.utf8_literal(rest, LiteralPlace::Part);
            let (rest, literal) = expect(rule, missing).parse(rest)?;
            return Ok((rest, CatenatePart::Text(literal)));
        }
        let (is_text, is_url) = (
            word.eq_ignore_ascii_case(b"TEXT"),
            word.eq_ignore_ascii_case(b"URL"),
        );
        if !is_text && !is_url {
            return refuse(input, "Invalid message part type in Append command");
        }
        let (rest, ()) = expect(sp, || NO_DATA.into()).parse(rest)?;
        if is_text {
            let rule = |rest| self.literal(rest, LiteralPlace::Part);
            let (rest, literal) = expect(rule, missing).parse(rest)?;
            return Ok((rest, CatenatePart::Text(literal)));
        }
        let (rest, url) = expect(astring, || "Missing URL in Append command".into()).parse(rest)?;
        Ok((rest, CatenatePart::Url(url.into_owned())))
    }
}

fn missing() -> Cow<'static, str> {
    Cow::Borrowed("Missing required argument to Append command")
}

impl AppendMessage {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b' ');
        if let Some(flags) = &self.flags {
            put_flags(out, flags);
            out.push(b' ');
        }
        if let Some(unix) = self.internal_date {
            put_date_time(out, unix, 0);
            out.push(b' ');
        }
        if !self.annotations.is_empty() {
            out.extend_from_slice(b"ANNOTATION ");
            put_entry_atts(out, &self.annotations);
            out.push(b' ');
        }
        let parts = match &self.content {
            AppendContent::Literal(literal) => return literal.write(out),
            AppendContent::Catenate(parts) => parts,
        };
        out.extend_from_slice(b"CATENATE ");
        for (i, part) in parts.iter().enumerate() {
            out.push(if i == 0 { b'(' } else { b' ' });
            match part {
                CatenatePart::Url(url) => {
                    out.extend_from_slice(b"URL ");
                    put_string(out, url);
                }
                CatenatePart::Text(literal) => {
                    if literal.form != LiteralForm::Utf8 {
                        out.extend_from_slice(b"TEXT ");
                    }
                    literal.write(out);
                }
            }
        }
        out.push(b')');
    }
}

impl Literal {
    fn write(&self, out: &mut Vec<u8>) {
        let bytes: &[u8] = match &self.octets {
            Octets::Memory(bytes) => bytes,
            Octets::Staged(_) => b"",
        };
        let (before, after) = match self.form {
            LiteralForm::Plain => ("", ""),
            LiteralForm::Binary => ("~", ""),
            LiteralForm::Utf8 => ("UTF8 (~", ")"),
        };
        out.extend_from_slice(format!("{before}{{{}+}}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(after.as_bytes());
    }
}

/// What the parts of a bad flag list are called towards the client.
pub(super) struct FlagWords {
    system: fn(&str) -> String,
    keyword: fn(&str) -> String,
    close: &'static str,
}

impl FlagWords {
    pub(super) const APPEND: Self = Self {
        system: |_| "Invalid flag in Append command".to_owned(),
        keyword: |_| "Invalid flag in Append command".to_owned(),
        close: "Invalid flag in Append command",
    };
    pub(super) const STORE: Self = Self {
        system: |_| "Invalid system flag in Store command".to_owned(),
        keyword: |name| format!("Invalid flag name {name} in Store command"),
        close: "Missing close parenthesis in Store",
    };
    /// The most flags in a list.
    pub(super) const MAX_FLAGS: usize = 1_024;
}

/// `flag-list = "(" [flag *(SP flag)] ")"` (RFC 3501, section 9).
pub(super) fn flag_list<'i>(input: &'i [u8], words: &FlagWords) -> Parsed<'i, FlagNames> {
    let mut flags = FlagNames::default();
    let Some(mut rest) = input.strip_prefix(b"(") else {
        return mismatch(input);
    };
    if let Some(rest) = rest.strip_prefix(b")") {
        return Ok((rest, flags));
    }
    for _ in 0..FlagWords::MAX_FLAGS {
        (rest, ()) = flag(rest, words, &mut flags)?;
        match rest.split_first() {
            Some((b' ', after)) => rest = after,
            Some((b')', after)) => return Ok((after, flags)),
            _ => return refuse(rest, words.close),
        }
    }
    refuse(rest, "Too many flags")
}

/// `flag` (RFC 3501, section 9): a system flag that a client may set, or a keyword.
pub(super) fn flag<'i>(input: &'i [u8], words: &FlagWords, flags: &mut FlagNames) -> Parsed<'i, ()> {
    let (rest, name) = word(input)?;
    let shown = super::lex::printable(name);
    if name.first() == Some(&b'\\') {
        match std::str::from_utf8(name).ok().and_then(SystemFlags::parse) {
            Some(flag) => flags.system |= flag,
            None => return refuse(input, (words.system)(&shown)),
        }
        return Ok((rest, ()));
    }
    match std::str::from_utf8(name).ok().and_then(Keyword::new) {
        Some(keyword) if flags.keywords.contains(&keyword) => {}
        Some(keyword) => flags.keywords.push(keyword),
        None => return refuse(input, (words.keyword)(&shown)),
    }
    Ok((rest, ()))
}
