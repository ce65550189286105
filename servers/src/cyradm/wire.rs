//! What an IMAP server says, taken apart: responses as values.

use std::io;

/// The most octets of one response, and how deep its lists may be.
pub(super) const MOST: usize = 64 << 20;
const DEEPEST: usize = 64;

/// A part of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// NIL.
    Nil,
    /// An atom, a number or a string.
    Text(Vec<u8>),
    /// A list in parentheses.
    List(Vec<Value>),
}

impl Value {
    /// The text; nothing for NIL and lists.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }

    /// The text, if it is one.
    pub(super) fn as_text(&self) -> Option<String> {
        matches!(self, Self::Text(_)).then(|| self.text())
    }

    /// The elements of a list.
    pub(super) fn list(&self) -> &[Value] {
        match self {
            Self::List(values) => values,
            _ => &[],
        }
    }
}

/// How a command, or the greeting, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It was done.
    Ok,
    /// It was refused.
    No,
    /// It was not understood.
    Bad,
    /// The server closes the connection.
    Bye,
    /// The greeting of a connection that is logged in.
    PreAuth,
}

impl Status {
    fn of(word: &[u8]) -> Option<Self> {
        let known = [
            (&b"OK"[..], Self::Ok),
            (b"NO", Self::No),
            (b"BAD", Self::Bad),
            (b"BYE", Self::Bye),
            (b"PREAUTH", Self::PreAuth),
        ];
        known
            .into_iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name))
            .map(|(_, status)| status)
    }
}

/// One response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// `+ text`
    Continue(Vec<u8>),
    /// `* OK [CODE] text`, or the end of the command with that tag.
    Status {
        tag: String,
        status: Status,
        /// What is in brackets.
        code: String,
        text: String,
    },
    /// `* NAME values`, `* 3 NAME values`
    Data { name: String, values: Vec<Value> },
}

/// Takes a whole response apart, literals in place, without the line end.
pub(super) fn response(line: &[u8]) -> io::Result<Response> {
    let (tag, rest) = word(line);
    if tag == b"+" {
        return Ok(Response::Continue(rest.to_vec()));
    }
    let (name, rest) = word(rest);
    if let Some(status) = Status::of(name) {
        let (code, text) = match rest.strip_prefix(b"[").and_then(|rest| split(rest, b']')) {
            Some((code, text)) => (code, text.strip_prefix(b" ").unwrap_or(text)),
            None => (&b""[..], rest),
        };
        return Ok(Response::Status {
            tag: lossy(tag),
            status,
            code: lossy(code),
            text: lossy(text),
        });
    }
    // A number before the name is part of FETCH and EXISTS, of which nothing here is wanted but the name.
    let (name, rest) = match name.iter().all(u8::is_ascii_digit) && !name.is_empty() {
        true => word(rest),
        false => (name, rest),
    };
    let mut parser = Parser { rest };
    Ok(Response::Data {
        name: lossy(name).to_ascii_uppercase(),
        values: parser.values(0)?,
    })
}

/// How many octets of a literal follow a line that ends in `{n}` or `{n+}`.
pub(super) fn literal_after(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}")?;
    let start = inner.iter().rposition(|&byte| byte == b'{')?;
    let digits = inner.get(start + 1..)?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn word(line: &[u8]) -> (&[u8], &[u8]) {
    split(line, b' ').unwrap_or((line, b""))
}

fn split(line: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let end = line.iter().position(|&byte| byte == at)?;
    Some((line.get(..end)?, line.get(end + 1..)?))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Parser<'a> {
    rest: &'a [u8],
}

impl Parser<'_> {
    /// Values up to the end, or to the parenthesis that closes the list.
    fn values(&mut self, depth: usize) -> io::Result<Vec<Value>> {
        if depth > DEEPEST {
            return Err(malformed("lists too deep"));
        }
        let mut values = Vec::new();
        loop {
            match self.rest.first() {
                None if depth == 0 => return Ok(values),
                None => return Err(malformed("a list without end")),
                Some(b' ') => self.skip(1),
                Some(b')') if depth > 0 => {
                    self.skip(1);
                    return Ok(values);
                }
                Some(b'(') => {
                    self.skip(1);
                    values.push(Value::List(self.values(depth + 1)?));
                }
                Some(b'"') => values.push(Value::Text(self.quoted()?)),
                Some(b'{' | b'~') if self.at_literal() => values.push(Value::Text(self.literal()?)),
                Some(_) => values.push(self.atom()),
            }
        }
    }

    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    fn quoted(&mut self) -> io::Result<Vec<u8>> {
        self.skip(1);
        let mut text = Vec::new();
        let mut bytes = self.rest.iter().enumerate();
        while let Some((at, &byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.skip(at + 1);
                    return Ok(text);
                }
                b'\\' => text.extend(bytes.next().map(|(_, &byte)| byte)),
                byte => text.push(byte),
            }
        }
        Err(malformed("a string without end"))
    }

    fn at_literal(&self) -> bool {
        let line = split(self.rest, b'\r').map_or(self.rest, |(line, _)| line);
        let line = line.strip_prefix(b"~").unwrap_or(line);
        line.starts_with(b"{") && literal_after(line).is_some()
    }

    fn literal(&mut self) -> io::Result<Vec<u8>> {
        let cut = || malformed("a literal without end");
        let (line, rest) = split(self.rest, b'\n').ok_or_else(cut)?;
        let length = literal_after(line.strip_suffix(b"\r").unwrap_or(line)).ok_or_else(cut)?;
        let (text, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        self.rest = rest;
        Ok(text.to_vec())
    }

    fn atom(&mut self) -> Value {
        let is_end = |&byte: &u8| matches!(byte, b' ' | b'(' | b')');
        // At least one octet, or nothing would be done at a parenthesis that closes nothing.
        let end = self
            .rest
            .iter()
            .position(is_end)
            .unwrap_or(self.rest.len())
            .max(1);
        let text = self.rest.get(..end).unwrap_or_default().to_vec();
        self.skip(end);
        match text.eq_ignore_ascii_case(b"NIL") {
            true => Value::Nil,
            false => Value::Text(text),
        }
    }
}

pub(super) fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the server's answer makes no sense: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }

    #[test]
    fn data_are_values() {
        let parsed = response(b"* LIST (\\HasChildren \\Marked) \"/\" {8}\r\nuser/a b").unwrap();
        let Response::Data { name, values } = parsed else {
            panic!("{parsed:?}")
        };
        assert_eq!(name, "LIST");
        let flags = Value::List(vec![text("\\HasChildren"), text("\\Marked")]);
        assert_eq!(values, [flags, text("/"), text("user/a b")]);
        let parsed = response(b"* METADATA \"\" (/shared/x NIL /y \"a\\\"b\")").unwrap();
        let Response::Data { values, .. } = parsed else {
            panic!()
        };
        assert_eq!(values[1].list()[3], text("a\"b"));
        assert_eq!(values[1].list()[1], Value::Nil);
    }

    #[test]
    fn statuses_have_codes() {
        assert_eq!(
            response(b"a1 NO [NOPERM] Permission denied").unwrap(),
            Response::Status {
                tag: "a1".into(),
                status: Status::No,
                code: "NOPERM".into(),
                text: "Permission denied".into()
            }
        );
        assert_eq!(
            response(b"+ go on").unwrap(),
            Response::Continue(b"go on".to_vec())
        );
    }

    #[test]
    fn literals_are_announced_at_the_end_of_a_line() {
        assert_eq!(literal_after(b"* LIST () \"/\" {12}"), Some(12));
        assert_eq!(literal_after(b"x {12+}"), Some(12));
        assert_eq!(literal_after(b"x {}"), None);
        assert_eq!(literal_after(b"x {99999999999999999999999}"), None);
    }

    proptest! {
        #[test]
        fn noise_is_taken_apart_or_refused(noise in "[*a1 (){}\"\\\\\r\n~+\\[\\]]{0,40}") {
            let _ = response(noise.as_bytes());
        }
    }
}
