//! The lexical rules that all IMAP commands share (RFC 3501, section 9), as `nom` parsers over a complete command.

use std::borrow::Cow;
use std::num::NonZeroU64;

use nom::bytes::complete::{tag, take, take_while, take_while1};
use nom::combinator::{map, opt};
use nom::error::{ErrorKind, ParseError};
use nom::{IResult, Parser};

use super::Tag;

/// What a parser of this grammar returns.
pub(crate) type Parsed<'i, T> = IResult<&'i [u8], T, Flaw<'i>>;

/// Where a parser stopped, and, when that is certain, the words for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw<'i> {
    /// The input from the offending octet on.
    pub(crate) at: &'i [u8],
    /// The text of the `BAD` reply.
    pub(crate) words: Option<Cow<'static, str>>,
}

impl<'i> ParseError<&'i [u8]> for Flaw<'i> {
    fn from_error_kind(at: &'i [u8], _kind: ErrorKind) -> Self {
        Self { at, words: None }
    }

    fn append(_at: &'i [u8], _kind: ErrorKind, other: Self) -> Self {
        other
    }
}

/// The rule does not match here; another may.
pub(crate) fn mismatch<T>(at: &[u8]) -> Parsed<'_, T> {
    Err(nom::Err::Error(Flaw { at, words: None }))
}

/// The command is malformed at `at`, whatever else is tried.
pub(crate) fn refuse<'i, T>(at: &'i [u8], words: impl Into<Cow<'static, str>>) -> Parsed<'i, T> {
    Err(nom::Err::Failure(Flaw {
        at,
        words: Some(words.into()),
    }))
}

/// `parser`, whose mismatch means that the command is malformed.
pub(crate) fn expect<'i, T>(
    mut parser: impl Parser<&'i [u8], Output = T, Error = Flaw<'i>>,
    words: impl Fn() -> Cow<'static, str>,
) -> impl FnMut(&'i [u8]) -> Parsed<'i, T> {
    move |input| match parser.parse(input) {
        Err(nom::Err::Error(flaw)) => refuse(flaw.at, words()),
        other => other,
    }
}

/// `SP`: exactly one space.
pub(crate) fn sp(input: &[u8]) -> Parsed<'_, ()> {
    map(tag(&b" "[..]), |_| ()).parse(input)
}

/// `tag = 1*<any ASTRING-CHAR except "+">` (RFC 3501, section 9).
pub(crate) fn tag_rule(input: &[u8]) -> Parsed<'_, Tag> {
    let (rest, bytes) = take_while1(is_tag_char).parse(input)?;
    match Tag::new(bytes) {
        Some(tag) => Ok((rest, tag)),
        None => mismatch(input),
    }
}

/// Whether `c` may stand in a tag.
pub(crate) fn is_tag_char(c: u8) -> bool {
    is_atom_char(c) && c != b'+' || c == b']'
}

/// `ATOM-CHAR` (RFC 3501, section 9): printable ASCII but specials.
pub(crate) fn is_atom_char(c: u8) -> bool {
    c.is_ascii_graphic() && !matches!(c, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// `ASTRING-CHAR`, as every server reads it: whatever cannot end or start another token.
///
/// RFC 3501 leaves out wildcards, backslash, brace and octets past 7F as well; clients send them in mailbox names all the
/// same, and get the answer about the mailbox that they expect.
fn is_lenient_astring_char(c: u8) -> bool {
    c > b' ' && c != 0x7f && !matches!(c, b'(' | b')' | b'"')
}

/// `astring = 1*ASTRING-CHAR / string` (RFC 3501, section 9).
pub(crate) fn astring(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    match input.first() {
        Some(b'"' | b'{') => string(input),
        _ => map(take_while1(is_lenient_astring_char), Cow::Borrowed).parse(input),
    }
}

/// `string = quoted / literal` (RFC 3501, section 9).
pub(crate) fn string(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    match input.first() {
        Some(b'"') => quoted(input),
        Some(b'{') => map(literal, Cow::Borrowed).parse(input),
        _ => mismatch(input),
    }
}

/// `nstring = string / nil` (RFC 3501, section 9).
pub(crate) fn nstring(input: &[u8]) -> Parsed<'_, Option<Cow<'_, [u8]>>> {
    match string(input) {
        Ok((rest, text)) => Ok((rest, Some(text))),
        Err(_) => map(keyword("NIL"), |()| None).parse(input),
    }
}

/// `quoted = DQUOTE *QUOTED-CHAR DQUOTE` (RFC 3501, section 9); octets past 7F are let through, CR, LF and NUL not.
pub(crate) fn quoted(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    let (body, _) = tag(&b"\""[..]).parse(input)?;
    let plain = body
        .iter()
        .position(|&c| matches!(c, b'"' | b'\\' | b'\r' | b'\n' | 0));
    let Some(plain) = plain else {
        return mismatch(&body[body.len()..]);
    };
    let (text, rest) = body.split_at(plain);
    if let Some(rest) = rest.strip_prefix(b"\"") {
        return Ok((rest, Cow::Borrowed(text)));
    }
    let mut owned = text.to_vec();
    let mut rest = rest;
    loop {
        match rest {
            [b'"', after @ ..] => return Ok((after, Cow::Owned(owned))),
            [b'\\', escaped @ (b'"' | b'\\'), after @ ..] => {
                owned.push(*escaped);
                rest = after;
            }
            [b'\\' | b'\r' | b'\n' | 0, ..] | [] => return mismatch(rest),
            [c, after @ ..] => {
                owned.push(*c);
                rest = after;
            }
        }
    }
}

/// `literal = "{" number ["+"] "}" CRLF *CHAR8` (RFC 3501, section 9; `+` and `-`: RFC 7888), with its octets.
pub(crate) fn literal(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, size) = literal_header(input)?;
    match usize::try_from(size) {
        Ok(size) => take(size).parse(rest),
        Err(_) => mismatch(input),
    }
}

/// `"{" number ["+" / "-"] "}" CRLF`: the announcement of a literal.
pub(crate) fn literal_header(input: &[u8]) -> Parsed<'_, u64> {
    let (rest, _) = tag(&b"{"[..]).parse(input)?;
    let (rest, size) = number64(rest)?;
    let (rest, _) = opt(take_one(|c| c == b'+' || c == b'-')).parse(rest)?;
    let (rest, _) = tag(&b"}"[..]).parse(rest)?;
    let (rest, _) = opt(tag(&b"\r"[..])).parse(rest)?;
    let (rest, _) = tag(&b"\n"[..]).parse(rest)?;
    Ok((rest, size))
}

/// One octet for which `wanted` holds.
pub(crate) fn take_one<'i>(wanted: impl Fn(u8) -> bool) -> impl FnMut(&'i [u8]) -> Parsed<'i, u8> {
    move |input| match input.split_first() {
        Some((&c, rest)) if wanted(c) => Ok((rest, c)),
        _ => mismatch(input),
    }
}

/// `number = 1*DIGIT`, unsigned 32-bit (RFC 3501, section 9).
pub(crate) fn number(input: &[u8]) -> Parsed<'_, u32> {
    let (rest, value) = number64(input)?;
    match u32::try_from(value) {
        Ok(value) => Ok((rest, value)),
        Err(_) => mismatch(input),
    }
}

/// `number64 = 1*DIGIT`, unsigned 63-bit (RFC 9051, section 9).
pub(crate) fn number64(input: &[u8]) -> Parsed<'_, u64> {
    let (rest, value) = mod_sequence_valzer(input)?;
    match value <= i64::MAX.unsigned_abs() {
        true => Ok((rest, value)),
        false => mismatch(input),
    }
}

/// `mod-sequence-valzer = "0" / mod-sequence-value` (RFC 7162, section 7): that has 63 bits, too, but RFC 4551 had 64, and
/// clients say "whatever it is" with the largest number of these.
pub(crate) fn mod_sequence_valzer(input: &[u8]) -> Parsed<'_, u64> {
    let (rest, digits) = take_while1(|c: u8| c.is_ascii_digit()).parse(input)?;
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    match value {
        Some(value) => Ok((rest, value)),
        None => mismatch(input),
    }
}

/// `nz-number64 = digit-nz *DIGIT`, not zero and unsigned 63-bit (RFC 9051, section 9).
pub(crate) fn nz_number64(input: &[u8]) -> Parsed<'_, NonZeroU64> {
    let (rest, value) = number64(input)?;
    match NonZeroU64::new(value) {
        Some(value) => Ok((rest, value)),
        None => mismatch(input),
    }
}

/// The word `word`, in any case, not followed by more of an atom.
pub(crate) fn keyword<'i>(word: &'static str) -> impl FnMut(&'i [u8]) -> Parsed<'i, ()> {
    move |input| match input.split_at_checked(word.len()) {
        Some((start, rest))
            if start.eq_ignore_ascii_case(word.as_bytes())
                && !rest
                    .first()
                    .is_some_and(|&c| is_atom_char(c) && c != b'[' && c != b'<') =>
        {
            Ok((rest, ()))
        }
        _ => mismatch(input),
    }
}

/// The longest run of octets that can be a word: up to a space, parenthesis or line end; perhaps nothing.
pub(crate) fn word(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_while(|c| !matches!(c, b' ' | b'(' | b')' | b'\r' | b'\n')).parse(input)
}

/// What the words and quoted strings of a command are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) longest_word: usize,
    pub(crate) longest_quoted: usize,
    /// Whether the quoted strings are UTF-8.
    pub(crate) is_utf8: bool,
}

impl Tokens {
    /// Of a complete command; `is_staged` says at which offsets the octets of a literal are left out.
    pub(crate) fn of(text: &[u8], is_staged: &dyn Fn(usize) -> bool) -> Self {
        let mut tokens = Self {
            longest_word: 0,
            longest_quoted: 0,
            is_utf8: true,
        };
        let mut rest = text;
        while let Some((&first, after)) = rest.split_first() {
            rest = match first {
                b' ' | b'(' | b')' | b'\r' | b'\n' => after,
                b'"' => tokens.quoted(after),
                b'{' if literal_header(rest).is_ok() => {
                    let (after, size) = literal_header(rest).unwrap_or((after, 0));
                    let size = match is_staged(text.len() - after.len()) {
                        true => 0,
                        false => usize::try_from(size).unwrap_or(usize::MAX),
                    };
                    after.get(size..).unwrap_or_default()
                }
                _ => {
                    let is_end = |c: &u8| matches!(c, b' ' | b'(' | b')' | b'"' | b'{' | b'\r' | b'\n');
                    let length = after.iter().position(is_end).unwrap_or(after.len());
                    tokens.longest_word = tokens.longest_word.max(length + 1);
                    after.get(length..).unwrap_or_default()
                }
            };
        }
        tokens
    }

    /// A quoted string after its first quote; what follows it.
    fn quoted<'i>(&mut self, text: &'i [u8]) -> &'i [u8] {
        let mut end = 0;
        loop {
            match text.get(end) {
                Some(b'\\') => end += 2,
                Some(b'"' | b'\r' | b'\n') | None => break,
                Some(_) => end += 1,
            }
        }
        let (inner, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
        self.longest_quoted = self.longest_quoted.max(inner.len());
        self.is_utf8 &= std::str::from_utf8(inner).is_ok();
        rest.strip_prefix(b"\"").unwrap_or(rest)
    }
}

/// Octets as text for an error reply: printable ASCII as it is, the rest as `?`, and not too long.
pub(crate) fn printable(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(80)
        .map(|&c| {
            if c.is_ascii_graphic() || c == b' ' {
                char::from(c)
            } else {
                '?'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn astrings_are_atoms_quoted_strings_or_literals() {
        assert_eq!(
            astring(b"INBOX x").unwrap(),
            (&b" x"[..], Cow::Borrowed(&b"INBOX"[..]))
        );
        assert_eq!(astring(b"\"a \\\"b\" x").unwrap().1.as_ref(), b"a \"b");
        assert_eq!(
            astring(b"{3+}\r\na b x").unwrap(),
            (&b" x"[..], Cow::Borrowed(&b"a b"[..]))
        );
        assert!(astring(b"(x)").is_err() && astring(b"").is_err() && astring(b"\"a").is_err());
        assert!(astring(b"{9}\r\nabc").is_err() && astring(b"\"a\\b\"").is_err());
    }

    #[test]
    fn numbers_past_their_width_do_not_match() {
        assert!(number(b"4294967295").is_ok() && number(b"4294967296").is_err());
        assert!(number64(b"9223372036854775807").is_ok() && number64(b"9223372036854775808").is_err());
        assert!(mod_sequence_valzer(b"18446744073709551615").is_ok());
        assert!(mod_sequence_valzer(b"18446744073709551616").is_err());
        assert!(nz_number64(b"0").is_err() && nz_number64(b"4294967296").is_ok());
    }

    #[test]
    fn words_and_quoted_strings_are_measured_and_literals_passed_over() {
        let tokens = |text: &[u8]| Tokens::of(text, &|_| false);
        let found = tokens(b"a SELECT \"x\\\"yz\" (abcdefgh)");
        assert_eq!((found.longest_word, found.longest_quoted), (8, 5));
        assert!(found.is_utf8 && !tokens(b"a SELECT \"\xff\"").is_utf8);
        let literal = tokens(b"a LOGIN {12}\r\n\"\xffabcdefghij xy");
        assert_eq!(
            (literal.longest_word, literal.longest_quoted, literal.is_utf8),
            (5, 0, true)
        );
        let staged = Tokens::of(b"a APPEND x {900}\r\n \"abc\"", &|at| at == 18);
        assert_eq!(staged.longest_quoted, 3);
        assert_eq!(tokens(b"a \"never closed\\").longest_quoted, 13);
    }

    #[test]
    fn nil_is_a_word_of_its_own() {
        assert_eq!(nstring(b"NIL)").unwrap().1, None);
        assert!(nstring(b"NILS").is_err());
    }
}
