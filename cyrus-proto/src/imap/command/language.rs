//! LANGUAGE (RFC 5255, section 3).

use std::borrow::Cow;

use nom::Parser;
use nom::multi::many0;
use nom::sequence::preceded;

use super::CommandBody;
use super::lex::{Parsed, astring, refuse, sp};

/// The most language ranges in one command.
const MAX_RANGES: usize = 64;

/// `language-cmd = "LANGUAGE" *(SP lang-range-quoted)` after its name.
pub(super) fn language_cmd(input: &[u8]) -> Parsed<'_, CommandBody> {
    let (rest, ranges) = many0(preceded(sp, lang_range_quoted)).parse(input)?;
    match ranges.len() {
        0..=MAX_RANGES => Ok((rest, CommandBody::Language(ranges))),
        _ => refuse(input, "Too many language ranges in Language"),
    }
}

/// `lang-range-quoted = astring`
fn lang_range_quoted(input: &[u8]) -> Parsed<'_, Vec<u8>> {
    let (rest, range) = astring(input)?;
    Ok((rest, Cow::into_owned(range)))
}
