//! The structured MIME fields: type, disposition, encoding, language, and their parameters (RFC 2045, 2183, 2231).
//!
//! The grammar is Cyrus's, which forgives much: a field that is broken before its parameters counts as absent, a
//! broken parameter is left out. White space and comments may stand between any two words, folded or not.

use std::collections::HashMap;

use memchr::memchr;

use super::encoded_word;
use super::headers::field_end;
use super::is_space;
use super::text::{Span, Text};

/// Parameters of one field past this number are left out; Cyrus knows no limit.
const MAX_PARAMS: usize = 20_000;

/// A parameter; its name is in upper case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Param {
    pub(super) name: Span,
    pub(super) value: Span,
}

/// A type with subtype and parameters, or a disposition with parameters.
#[derive(Debug)]
pub(super) struct Typed<N> {
    pub(super) name: N,
    pub(super) params: Vec<Param>,
}

/// Parses the value of Content-Type, which `text` begins with; type and subtype are in upper case.
pub(super) fn content_type(text: &[u8], out: &mut Text) -> Option<Typed<(Span, Span)>> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.skip_space()?;
    let value = cursor.rest();
    if value.len() > 2 && value.starts_with(b"=?") {
        // Old macOS mail encoded the whole field as one word of RFC 2047.
        let decoded = encoded_word::decode(value.get(..field_end(value)).unwrap_or(value));
        let mut parsed = plain_content_type(
            Cursor {
                text: &decoded,
                at: 0,
            },
            out,
        )?;
        for param in &mut parsed.params {
            let plain = out.get(param.name).last().is_some_and(|&last| last != b'*');
            if plain && !out.get(param.value).is_ascii() {
                let encoded = encoded_word::encode(out.get(param.value));
                param.value = out.append(&encoded);
            }
        }
        return Some(parsed);
    }
    plain_content_type(cursor, out)
}

fn plain_content_type(mut cursor: Cursor<'_>, out: &mut Text) -> Option<Typed<(Span, Span)>> {
    let kind = cursor.token(b'/').ok()?;
    cursor.skip_space()?;
    (cursor.take()? == b'/').then_some(())?;
    cursor.skip_space()?;
    let subtype = cursor.token(b';').ok()?;
    let more = cursor.at_parameters()?;
    let name = (out.append_upper(kind), out.append_upper(subtype));
    let params = if more { parameters(cursor, out) } else { Vec::new() };
    Some(Typed { name, params })
}

/// Parses the value of Content-Disposition, which `text` begins with.
pub(super) fn disposition(text: &[u8], out: &mut Text) -> Option<Typed<Span>> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.skip_space()?;
    let name = cursor.token(b';').ok()?;
    let more = cursor.at_parameters()?;
    let name = out.append_upper(name);
    let params = if more { parameters(cursor, out) } else { Vec::new() };
    Some(Typed { name, params })
}

/// Parses the value of Content-Transfer-Encoding, which `text` begins with, into upper case.
pub(super) fn encoding(text: &[u8], out: &mut Text) -> Option<Span> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.skip_space()?;
    let name = cursor.token(b'(').ok()?;
    cursor.skip_space().is_none().then(|| out.append_upper(name))
}

/// Parses the value of Content-Language, which `text` begins with: the tags before the first that is broken.
pub(super) fn languages(text: &[u8], out: &mut Text) -> Vec<Span> {
    let mut cursor = Cursor { text, at: 0 };
    let mut tags = Vec::new();
    while cursor.skip_space().is_some() {
        let start = cursor.at;
        while cursor
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'-')
        {
            cursor.at += 1;
        }
        if cursor
            .peek()
            .is_some_and(|byte| !is_space(byte) && byte != b',' && byte != b'(')
        {
            break;
        }
        let tag = cursor.since(start);
        let ended = cursor.skip_space().is_none();
        if !ended && cursor.take() != Some(b',') {
            break;
        }
        tags.push(out.append_upper(tag));
        if ended {
            break;
        }
    }
    tags
}

/// The parameters behind the first semicolon.
fn parameters(mut cursor: Cursor<'_>, out: &mut Text) -> Vec<Param> {
    let mut params = Vec::new();
    loop {
        match cursor.parameter(out) {
            Ok(Some(param)) if params.len() < MAX_PARAMS => params.push(param),
            Ok(_) => break,
            Err(Broken) => {
                let skip = cursor
                    .rest()
                    .iter()
                    .position(|byte| matches!(byte, b';' | b'\r' | b'\n'));
                cursor.at = skip.map_or(cursor.text.len(), |skip| cursor.at + skip);
                if cursor.peek() == Some(b';') {
                    cursor.at += 1;
                }
            }
        }
    }
    fold_continuations(&mut params, out);
    params
}

/// A parameter that is not one; the next may be.
struct Broken;

/// A cursor over a header, from some field value to the end of the whole header.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn since(&self, start: usize) -> &'a [u8] {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn at_fold(&self, lf: usize) -> bool {
        matches!(self.text.get(lf + 1), Some(b' ' | b'\t'))
    }

    /// Skips white space, folds and comments; `None` if the field ends there.
    fn skip_space(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            let byte = self.peek()?;
            match byte {
                b'\n' if !self.at_fold(self.at) => {
                    self.at = self.text.len();
                    return None;
                }
                b'\n' if depth > 0 => self.at += 1,
                b'\\' if depth > 0 => self.at += 1,
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                _ if depth > 0 || is_space(byte) => {}
                _ => return Some(()),
            }
            self.at += 1;
        }
    }

    /// A word up to white space, a comment or `stop`; `Err` with the cursor on the byte that may not be in it.
    fn token(&mut self, stop: u8) -> Result<&'a [u8], Broken> {
        let start = self.at;
        while let Some(byte) = self
            .peek()
            .filter(|&byte| !is_space(byte) && byte != stop && byte != b'(')
        {
            if !(b' '..0x80).contains(&byte) || is_tspecial(byte) {
                return Err(Broken);
            }
            self.at += 1;
        }
        Ok(self.since(start))
    }

    /// After a type or disposition: true at a semicolon (and past it), false at the end, `None` at anything else.
    fn at_parameters(&mut self) -> Option<bool> {
        match self.skip_space() {
            Some(()) => (self.take() == Some(b';')).then_some(true),
            None => Some(false),
        }
    }

    /// One `name = value` with the semicolon behind it; `None` at the end of the field.
    fn parameter(&mut self, out: &mut Text) -> Result<Option<Param>, Broken> {
        if self.skip_space().is_none() {
            return Ok(None);
        }
        let name = self.token(b'=')?;
        if self.skip_space().is_none() {
            return Ok(None);
        }
        if self.take() != Some(b'=') {
            return Err(Broken);
        }
        if self.skip_space().is_none() {
            return Ok(None);
        }
        let start = self.at;
        let quoted = self.peek() == Some(b'"');
        if quoted {
            if self.skip_quoted().is_none() {
                self.at = self.text.len();
                return Ok(None);
            }
        } else {
            self.skip_bare()?;
        }
        let value = self.since(start);
        if self.skip_space().is_some() && self.take() != Some(b';') {
            return Err(Broken);
        }
        let name = out.append_upper(name);
        let value = if quoted {
            unquote(value, out)
        } else {
            out.append(value)
        };
        Ok(Some(Param { name, value }))
    }

    /// Passes a quoted string; `None` if the field or header ends inside it.
    fn skip_quoted(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 1,
                _ => {}
            }
            if self.peek()? == b'\r' {
                (self.text.get(self.at + 1) == Some(&b'\n') && self.at_fold(self.at + 1)).then_some(())?;
                self.at += 2;
            }
            self.at += 1;
        }
    }

    /// Passes a value without quotes: all up to a semicolon, comment or the end of the field, blanks at the end not
    /// included. An empty value takes the byte behind it, as in Cyrus.
    fn skip_bare(&mut self) -> Result<(), Broken> {
        let mut last = self.at;
        while let Some(byte) = self.peek().filter(|byte| !matches!(byte, b';' | b'(')) {
            match byte {
                b'\r' => {
                    if self.text.get(self.at + 1) != Some(&b'\n') || !self.at_fold(self.at + 1) {
                        break;
                    }
                    self.at += 2;
                    continue;
                }
                b' ' | b'\t' => {}
                0..b' ' => return Err(Broken),
                _ => last = self.at,
            }
            self.at += 1;
        }
        self.at = (last + 1).min(self.text.len());
        Ok(())
    }
}

/// The inside of a quoted string, quoting and folding undone.
fn unquote(quoted: &[u8], out: &mut Text) -> Span {
    let start = out.len();
    let mut bytes = quoted.iter().skip(1);
    while let Some(&byte) = bytes.next() {
        let kept = match byte {
            b'"' => break,
            b'\\' => bytes.next(),
            b'\r' => bytes.nth(1),
            _ => Some(&byte),
        };
        if let Some(&byte) = kept {
            out.push(byte);
        }
    }
    out.span_from(start)
}

fn is_tspecial(byte: u8) -> bool {
    b"()<>@,;:\\\"/[]?=".contains(&byte)
}

/// Joins the sections `name*0`, `name*1*`, … (RFC 2231, section 3) into `name` or `name*`.
///
/// Sections are taken in the order of their numbers, up to 99; the joined parameter stands where section 0 stood.
fn fold_continuations(params: &mut Vec<Param>, out: &mut Text) {
    let section = |param: &Param, out: &Text| {
        let name = out.get(param.name);
        let star = memchr(b'*', name)?;
        let (base, suffix) = (name.get(..star)?.to_vec(), name.get(star + 1..)?);
        let (number, extended) = suffix
            .strip_suffix(b"*")
            .map_or((suffix, false), |number| (number, true));
        let number = match *number {
            [digit @ b'0'..=b'9'] => digit - b'0',
            [tens @ b'1'..=b'9', ones @ b'0'..=b'9'] => (tens - b'0') * 10 + ones - b'0',
            _ => return None,
        };
        Some((base, number, extended))
    };
    let sections: Vec<_> = params.iter().map(|param| section(param, out)).collect();
    if !sections.iter().flatten().any(|(_, number, _)| *number == 0) {
        return;
    }
    let mut later: HashMap<(&[u8], u8), Vec<usize>> = HashMap::new();
    for (index, (base, number, _)) in sections
        .iter()
        .enumerate()
        .rev()
        .filter_map(|(i, s)| Some((i, s.as_ref()?)))
    {
        if *number > 0 {
            later.entry((base, *number)).or_default().push(index);
        }
    }
    let mut taken = vec![false; params.len()];
    for first in 0..params.len() {
        let Some(Some((base, 0, first_extended))) = sections.get(first) else {
            continue;
        };
        let mut extended = *first_extended;
        let mut value = params
            .get(first)
            .map(|param| out.get(param.value).to_vec())
            .unwrap_or_default();
        for number in 1..100 {
            let Some(next) = later.get_mut(&(base.as_slice(), number)).and_then(Vec::pop) else {
                break;
            };
            let next_extended = matches!(sections.get(next), Some(Some((_, _, true))));
            if next_extended && !extended {
                let plain = std::mem::replace(&mut value, b"''".to_vec());
                percent_encode(&plain, &mut value);
                extended = true;
            }
            let part = params
                .get(next)
                .map(|param| out.get(param.value))
                .unwrap_or_default();
            if extended && !next_extended {
                percent_encode(part, &mut value);
            } else {
                value.extend_from_slice(part);
            }
            if let Some(taken) = taken.get_mut(next) {
                *taken = true;
            }
        }
        let mut name = base.clone();
        if extended {
            name.push(b'*');
        }
        if let Some(param) = params.get_mut(first) {
            *param = Param {
                name: out.append(&name),
                value: out.append(&value),
            };
        }
    }
    let mut taken = taken.into_iter();
    params.retain(|_| taken.next() != Some(true));
}

fn percent_encode(plain: &[u8], value: &mut Vec<u8>) {
    for &byte in plain {
        if !(b'!'..0x7F).contains(&byte) || b"*'%".contains(&byte) || is_tspecial(byte) {
            let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value & 0xF)];
            value.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
        } else {
            value.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> Option<String> {
        let mut text = Text::default();
        let parsed = content_type(value.as_bytes(), &mut text)?;
        let show = |span| String::from_utf8_lossy(text.get(span)).into_owned();
        let params = parsed
            .params
            .iter()
            .map(|param| format!(" {}={}", show(param.name), show(param.value)));
        Some(format!(
            "{}/{}{}",
            show(parsed.name.0),
            show(parsed.name.1),
            params.collect::<String>()
        ))
    }

    #[test]
    fn types_with_comments_folds_and_quotes() {
        let value = " text (a (b)) / plain;\r\n\tname=\"a\\\"b\r\n c\"; x = y z \r\nSubject: no";
        assert_eq!(shown(value).as_deref(), Some("TEXT/PLAIN NAME=a\"b c X=y z"));
        assert_eq!(shown("text/plain x"), None);
        assert_eq!(shown("text"), None);
        assert_eq!(shown("a/b; broken; c=d; e").as_deref(), Some("A/B C=d"));
    }

    #[test]
    fn continuations_are_joined_in_the_order_of_their_numbers() {
        assert_eq!(
            shown("a/b; n*1=y; n*0=x; n*2*=%41").as_deref(),
            Some("A/B N*=''xy%41")
        );
        assert_eq!(
            shown("a/b; n*0*=u'l'x; n*1=\"y z\"").as_deref(),
            Some("A/B N*=u'l'xy%20z")
        );
        assert_eq!(shown("a/b; n*0=x; n*2=y").as_deref(), Some("A/B N=x N*2=y"));
    }

    #[test]
    fn languages_end_at_the_first_that_is_broken() {
        let mut text = Text::default();
        let tags = languages(b" en, de-CH (c) , f1", &mut text);
        let tags: Vec<&[u8]> = tags.iter().map(|&tag| text.get(tag)).collect();
        assert_eq!(tags, [&b"EN"[..], b"DE-CH"]);
    }
}
