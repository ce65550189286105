//! APPEND: messages that a client adds to a mailbox (RFC 3501, section 6.3.11; several at once: RFC 3502).

use std::borrow::Cow;

use cyrus_store::{FlagNames, Keyword, SystemFlags};
use nom::Parser;
use nom::bytes::complete::take;

use super::lex::{Parsed, expect, literal_header, mismatch, refuse, sp, word};
use crate::imap::date::date_time;

/// One message of an APPEND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendMessage {
    /// The flags given, if a list was.
    pub flags: Option<FlagNames>,
    /// The internal date given, in seconds since 1970.
    pub internal_date: Option<i64>,
    /// The message.
    pub content: AppendContent,
}

/// Where the octets of a message are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendContent {
    /// Here.
    Memory(Vec<u8>),
    /// In the sink of this index among the command's staged literals.
    Staged(usize),
}

impl AppendMessage {
    /// The most messages in one APPEND.
    pub const MAX_MESSAGES: usize = 1_024;
}

/// `append-message *(append-message)`: what follows the mailbox, from its space on (RFC 3502, section 6.3.11).
///
/// `staged_at` tells which staged literal has its place so many octets before the end of the command.
pub(super) fn append_messages<'i>(
    input: &'i [u8],
    staged_at: &dyn Fn(usize) -> Option<usize>,
) -> Parsed<'i, Vec<AppendMessage>> {
    let mut messages = Vec::new();
    let mut rest = input;
    loop {
        let (after, message) = append_message(rest, staged_at)?;
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

/// `append-message = SP [flag-list SP] [date-time SP] literal` (RFC 3501, section 9, `append`).
fn append_message<'i>(
    input: &'i [u8],
    staged_at: &dyn Fn(usize) -> Option<usize>,
) -> Parsed<'i, AppendMessage> {
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
    let (rest, size) = expect(literal_header, missing).parse(rest)?;
    let (rest, content) = match staged_at(rest.len()) {
        Some(index) => (rest, AppendContent::Staged(index)),
        None => {
            let Ok(size) = usize::try_from(size) else {
                return mismatch(input);
            };
            let (rest, bytes) = expect(take(size), missing).parse(rest)?;
            (rest, AppendContent::Memory(bytes.to_vec()))
        }
    };
    Ok((
        rest,
        AppendMessage {
            flags,
            internal_date,
            content,
        },
    ))
}

fn missing() -> Cow<'static, str> {
    Cow::Borrowed("Missing required argument to Append command")
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
    const MAX_FLAGS: usize = 1_024;
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
