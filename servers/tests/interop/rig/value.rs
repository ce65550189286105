//! IMAP response data as nested values, and the parser that makes them.

use std::fmt;

use serde_json::Value as Json;

/// One value of an IMAP response: `NIL`, a string of any spelling (atom, quoted, literal), or a list.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Value {
    Nil,
    Text(Vec<u8>),
    List(Vec<Value>),
}

impl Value {
    /// The octets as Latin-1 text; empty for `NIL` and lists.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(bytes) => latin1(bytes),
            Self::Nil | Self::List(_) => String::new(),
        }
    }

    /// The number that the text spells.
    pub(crate) fn number(&self) -> Option<u64> {
        self.text().parse().ok()
    }

    /// The members of a list; none for anything else.
    pub(crate) fn list(&self) -> &[Value] {
        match self {
            Self::List(values) => values,
            Self::Nil | Self::Text(_) => &[],
        }
    }

    /// As JSON: `NIL` is null, octets above 7F are the Latin-1 characters of the same number.
    pub(crate) fn json(&self) -> Json {
        match self {
            Self::Nil => Json::Null,
            Self::Text(bytes) => Json::String(latin1(bytes)),
            Self::List(values) => values.iter().map(Self::json).collect(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.json())
    }
}

/// Octets as the Latin-1 characters of the same numbers.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// The values of one response, from after `* ` to before the CRLF, literals inline as `{n}` CRLF and n octets.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Value>, String> {
    let mut parser = Parser { bytes, at: 0 };
    let values = parser.values()?;
    if parser.at < bytes.len() {
        return Err(format!("octet {} of {}: stray `)`", parser.at, latin1(bytes)));
    }
    Ok(values)
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn values(&mut self) -> Result<Vec<Value>, String> {
        let mut values = Vec::new();
        loop {
            match self.peek() {
                None | Some(b')') => return Ok(values),
                Some(b' ') => self.at += 1,
                Some(b'(') => {
                    self.at += 1;
                    values.push(Value::List(self.values()?));
                    if self.peek() != Some(b')') {
                        return Err(format!("unclosed list in {}", latin1(self.bytes)));
                    }
                    self.at += 1;
                }
                Some(b'"') => values.push(Value::Text(self.quoted()?)),
                Some(b'{') => values.push(Value::Text(self.literal()?)),
                Some(_) => values.push(self.atom()),
            }
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'"' => return Ok(text),
                b'\\' => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                _ => text.push(byte),
            }
        }
        Err(format!("unclosed string in {}", latin1(self.bytes)))
    }

    fn literal(&mut self) -> Result<Vec<u8>, String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (length, header) =
            literal_at(rest).ok_or_else(|| format!("bad literal in {}", latin1(self.bytes)))?;
        let text = rest.get(header..header + length).ok_or("short literal")?;
        self.at += header + length;
        Ok(text.to_vec())
    }

    /// An atom; `BODY[HEADER.FIELDS (From)]<0>` is one too.
    fn atom(&mut self) -> Value {
        let begin = self.at;
        let mut brackets = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'[' => brackets += 1,
                b']' => brackets = brackets.saturating_sub(1),
                b' ' | b'(' | b')' | b'"' if brackets == 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        match self.bytes.get(begin..self.at).unwrap_or_default() {
            b"NIL" => Value::Nil,
            text => Value::Text(text.to_vec()),
        }
    }
}

/// For octets that begin with `{n}` CRLF: n, and the length of that mark.
fn literal_at(bytes: &[u8]) -> Option<(usize, usize)> {
    let close = bytes.iter().position(|&byte| byte == b'}')?;
    let digits = bytes.get(1..close)?;
    let length = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((length, close + 3))
}

/// The length of the literal that a line (with its CRLF) announces at its end.
pub(crate) fn announced_literal(line: &[u8]) -> Option<usize> {
    let text = line.strip_suffix(b"\r\n")?.strip_suffix(b"}")?;
    let open = text.iter().rposition(|&byte| byte == b'{')?;
    std::str::from_utf8(text.get(open + 1..)?).ok()?.parse().ok()
}

#[test]
fn responses_are_read_as_nested_values() {
    let values =
        parse(b"1 FETCH (UID 7 BODY[HEADER.FIELDS (To)] {3}\r\na)b FLAGS (\\Seen) X \"a\\\"b\" Y NIL)")
            .unwrap();
    assert_eq!(
        Value::List(values).json(),
        serde_json::json!([
            "1",
            "FETCH",
            [
                "UID",
                "7",
                "BODY[HEADER.FIELDS (To)]",
                "a)b",
                "FLAGS",
                ["\\Seen"],
                "X",
                "a\"b",
                "Y",
                null
            ]
        ])
    );
}
