//! The one-line text of nested lists in which Cyrus keeps mailbox rows, headers, quota and status values.
//!
//! `%(T e N user.alice A %(alice lrs) U ($MDNSent NIL))`: atoms, quoted strings, literals, `NIL`, lists `(..)` and
//! maps `%(key value ..)`. The reader takes all of it, with `{n}` and `{n+}` literals and backslash escapes in quotes;
//! the writer spells it as Cyrus does.

use std::borrow::Cow;

use super::{Damage, Fault, decimal};

/// A value of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dlist<'a> {
    /// `NIL`
    Nil,
    /// An atom, quoted string or literal; which of them is a matter of spelling only.
    Atom(Cow<'a, [u8]>),
    /// `(a b c)`
    List(Vec<Dlist<'a>>),
    /// `%(key value key value)`, in the order of the text.
    Map(Vec<Pair<'a>>),
}

/// A key of a map, and its value.
pub type Pair<'a> = (Cow<'a, [u8]>, Dlist<'a>);

impl<'a> Dlist<'a> {
    /// Reads the one value that is all of `text`; one line end after it is allowed.
    ///
    /// # Errors
    /// The place of the first byte that does not fit the grammar, or of nesting deeper than [`MAX_DEPTH`].
    pub fn parse(text: &'a [u8]) -> Result<Self, Fault> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.skip_line_end();
        if reader.at < text.len() {
            return Err(reader.expected("the end of the value"));
        }
        Ok(value)
    }

    /// An atom of these bytes.
    pub fn atom(bytes: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self::Atom(Cow::Borrowed(bytes.as_ref()))
    }

    /// An atom of this number, in decimal.
    pub fn number(number: u64) -> Self {
        Self::Atom(Cow::Owned(number.to_string().into_bytes()))
    }

    /// The value of `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        pairs
            .iter()
            .find(|(name, _)| name.as_ref() == key.as_bytes())
            .map(|(_, value)| value)
    }

    /// The bytes of an atom.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Atom(bytes) => Some(bytes),
            Self::Nil | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The text of an atom, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The number that an atom spells in decimal.
    pub fn as_number(&self) -> Option<u64> {
        decimal(self.as_bytes()?)
    }

    /// The items of a list; also of `NIL`, which has none.
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            Self::Nil => Some(&[]),
            Self::Atom(_) | Self::Map(_) => None,
        }
    }

    /// The pairs of a map; also of `NIL`, which has none.
    pub fn as_map(&self) -> Option<&[Pair<'a>]> {
        match self {
            Self::Map(pairs) => Some(pairs),
            Self::Nil => Some(&[]),
            Self::Atom(_) | Self::List(_) => None,
        }
    }

    /// Appends the text of the value.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nil => out.extend_from_slice(b"NIL"),
            Self::Atom(bytes) => write_atom(out, bytes),
            Self::List(items) => {
                out.push(b'(');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b' ');
                    }
                    item.write(out);
                }
                out.push(b')');
            }
            Self::Map(pairs) => {
                out.extend_from_slice(b"%(");
                for (i, (key, value)) in pairs.iter().enumerate() {
                    if i > 0 {
                        out.push(b' ');
                    }
                    write_atom(out, key);
                    out.push(b' ');
                    value.write(out);
                }
                out.push(b')');
            }
        }
    }

    /// The text of the value.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        self.write(&mut out);
        out
    }
}

/// Appends an atom, spelt bare, quoted or as a literal, whichever is the first that can hold it.
pub fn write_atom(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_bare(bytes) {
        out.extend_from_slice(bytes);
    } else if is_quotable(bytes) {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
    } else {
        out.extend_from_slice(format!("{{{}+}}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
    }
}

/// Lists and maps nested deeper than this are refused.
pub const MAX_DEPTH: usize = 32;

fn is_bare(bytes: &[u8]) -> bool {
    (1..MAX_SHORT).contains(&bytes.len())
        && !bytes.eq_ignore_ascii_case(b"NIL")
        && bytes
            .iter()
            .all(|&byte| matches!(byte, 0x1f..=0x7e) && !b" {()\"%*\\".contains(&byte))
}

fn is_quotable(bytes: &[u8]) -> bool {
    bytes.len() < MAX_SHORT
        && bytes
            .iter()
            .all(|&byte| byte < 0x80 && !matches!(byte, 0 | b'\r' | b'\n' | b'"' | b'%' | b'\\'))
}

/// Atoms and quoted strings are shorter than this.
const MAX_SHORT: usize = 1024;

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Dlist<'a>, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::new(self.at, Damage::Impossible("depth of nested lists")));
        }
        match self.peek() {
            Some(b'(') => {
                self.at += 1;
                self.list(depth)
            }
            Some(b'%') => {
                self.at += 1;
                self.want(b'(', "`(` after `%`")?;
                self.map(depth)
            }
            _ => {
                let bare = !matches!(self.peek(), Some(b'"' | b'{'));
                let bytes = self.string()?;
                if bare && bytes.eq_ignore_ascii_case(b"NIL") {
                    return Ok(Dlist::Nil);
                }
                Ok(Dlist::Atom(bytes))
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Dlist<'a>, Fault> {
        let mut items = Vec::new();
        loop {
            self.skip_spaces();
            if self.peek() == Some(b')') {
                self.at += 1;
                return Ok(Dlist::List(items));
            }
            items.push(self.value(depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Dlist<'a>, Fault> {
        let mut pairs = Vec::new();
        loop {
            self.skip_spaces();
            if self.peek() == Some(b')') {
                self.at += 1;
                return Ok(Dlist::Map(pairs));
            }
            let key = self.string()?;
            self.want(b' ', "a space after a key")?;
            self.skip_spaces();
            pairs.push((key, self.value(depth + 1)?));
        }
    }

    fn string(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal(),
            _ => self.bare(),
        }
    }

    fn bare(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest
            .iter()
            .position(|&byte| matches!(byte, b' ' | b'(' | b')' | b'"' | b'\r' | b'\n' | 0));
        let bytes = &rest[..end.unwrap_or(rest.len())];
        if bytes.is_empty() {
            return Err(self.expected("a value"));
        }
        self.at += bytes.len();
        Ok(Cow::Borrowed(bytes))
    }

    fn quoted(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        self.at += 1;
        let rest = self.text.get(self.at..).unwrap_or_default();
        let plain = rest
            .iter()
            .position(|&byte| matches!(byte, b'"' | b'\\'))
            .unwrap_or(rest.len());
        if rest.get(plain) == Some(&b'"') {
            self.at += plain + 1;
            return Ok(Cow::Borrowed(&rest[..plain]));
        }
        let mut bytes = Vec::new();
        loop {
            let byte = self.next().ok_or_else(|| self.expected("the closing quote"))?;
            match byte {
                b'"' => return Ok(Cow::Owned(bytes)),
                b'\\' => bytes.push(self.next().ok_or_else(|| self.expected("the closing quote"))?),
                other => bytes.push(other),
            }
        }
    }

    fn literal(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        let start = self.at;
        self.at += 1;
        let digits_start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        let length = decimal(&self.text[digits_start..self.at])
            .and_then(|length| usize::try_from(length).ok())
            .ok_or(Fault::new(start, Damage::Impossible("length of a literal")))?;
        if self.peek() == Some(b'+') {
            self.at += 1;
        }
        self.want(b'}', "`}` after the length of a literal")?;
        if self.peek() == Some(b'\r') {
            self.at += 1;
        }
        self.want(b'\n', "a line end after the length of a literal")?;
        let bytes = self
            .at
            .checked_add(length)
            .and_then(|end| self.text.get(self.at..end))
            .ok_or(Fault::new(start, Damage::Truncated))?;
        self.at += length;
        Ok(Cow::Borrowed(bytes))
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn want(&mut self, byte: u8, what: &'static str) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return Err(self.expected(what));
        }
        self.at += 1;
        Ok(())
    }

    fn skip_spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    fn skip_line_end(&mut self) {
        if self.peek() == Some(b'\r') {
            self.at += 1;
        }
        if self.peek() == Some(b'\n') {
            self.at += 1;
        }
    }

    fn expected(&self, what: &'static str) -> Fault {
        let damage = if self.at >= self.text.len() {
            Damage::Truncated
        } else {
            Damage::Expected(what)
        };
        Fault::new(self.at, damage)
    }
}

/// Reads noise; for the fuzz target of the same name.
pub(crate) fn fuzz(data: &[u8]) {
    if let Ok(value) = Dlist::parse(data) {
        let text = value.to_bytes();
        assert_eq!(
            Dlist::parse(&text).as_ref(),
            Ok(&value),
            "what was written reads back"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mailbox_header_is_read() {
        let value =
            Dlist::parse(b"%(T e N user.alice.Projects A %(alice lrs -dave lrs) U ($MDNSent NIL \"a b\"))\n")
                .unwrap();
        assert_eq!(
            value.get("N").and_then(Dlist::as_str),
            Some("user.alice.Projects")
        );
        let acl = value.get("A").and_then(Dlist::as_map).unwrap();
        assert_eq!(acl[1], (Cow::Borrowed(&b"-dave"[..]), Dlist::atom("lrs")));
        assert_eq!(value.get("U").unwrap().as_list().unwrap()[1], Dlist::Nil);
    }

    #[test]
    fn atoms_are_spelt_as_cyrus_spells_them() {
        let spelt = |bytes: &[u8]| Dlist::Atom(bytes.into()).to_bytes();
        assert_eq!(spelt(b"user\x1falice"), b"user\x1falice");
        assert_eq!(spelt(b"dom\x1duser"), b"\"dom\x1duser\"");
        assert_eq!(spelt(b""), b"\"\"");
        assert_eq!(spelt(b"NIL"), b"\"NIL\"");
        assert_eq!(spelt(b"&ANw-n&AO8-code &- more"), b"\"&ANw-n&AO8-code &- more\"");
        assert_eq!(spelt(b"gr\xc3\xbcn"), b"{5+}\r\ngr\xc3\xbcn");
        assert_eq!(spelt(b"50%"), b"{3+}\r\n50%");
        assert_eq!(spelt(b"[]~$^&#-+"), b"[]~$^&#-+");
    }

    #[test]
    fn escapes_and_both_literals_are_read() {
        assert_eq!(Dlist::parse(b"\"a\\\"b\\\\\"").unwrap(), Dlist::atom("a\"b\\"));
        assert_eq!(
            Dlist::parse(b"({3}\r\na)b {1+}\r\n()").unwrap(),
            Dlist::List(vec![Dlist::atom("a)b"), Dlist::atom("(")])
        );
    }

    #[test]
    fn errors_name_the_place() {
        for (text, at) in [
            (&b"%(A"[..], 3),
            (b"(a b", 4),
            (b"{9}\r\nabc", 0),
            (b"a b", 1),
            (b"%a", 1),
            (b"\"abc", 4),
        ] {
            assert_eq!(Dlist::parse(text).unwrap_err().at, at, "{text:?}");
        }
        let deep = vec![b'('; 1000];
        assert_eq!(
            Dlist::parse(&deep).unwrap_err().damage,
            Damage::Impossible("depth of nested lists")
        );
    }

    fn any_dlist() -> impl Strategy<Value = Dlist<'static>> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..12);
        let leaf = prop_oneof![
            Just(Dlist::Nil),
            bytes().prop_map(|bytes| Dlist::Atom(bytes.into())),
            any::<u64>().prop_map(Dlist::number),
            "[ -~]{0,9}".prop_map(|text| Dlist::Atom(text.into_bytes().into())),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Dlist::List),
                prop::collection::vec((bytes(), inner), 0..6).prop_map(|pairs| Dlist::Map(
                    pairs
                        .into_iter()
                        .map(|(key, value)| (key.into(), value))
                        .collect()
                )),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any_dlist()) {
            let text = value.to_bytes();
            prop_assert_eq!(Dlist::parse(&text), Ok(value));
        }

        #[test]
        fn noise_is_no_trouble(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz(&noise);
        }
    }
}
