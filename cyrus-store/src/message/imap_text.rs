//! The IMAP texts in the cache: ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501, section 7.4.2), and the address lists.

use super::address::{Address, UNSPECIFIED_DOMAIN};
use super::encoded_word;
use super::params::Param;
use super::structure::{Addresses, Kind, Part, Tree};
use super::text::Span;

/// Strings of this many octets or more are written as literals.
const MAX_QUOTED: usize = 1024;

/// Appends `string` as Cyrus writes an `nstring`: NIL, quoted, or a literal if it is long or holds a byte that
/// cannot be quoted (NUL, CR, LF, `"`, `%`, `\`, anything above 7F).
pub fn write_nstring(string: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(string) = string else {
        out.extend_from_slice(b"NIL");
        return;
    };
    let quotable = |&byte: &u8| !matches!(byte, 0 | b'\r' | b'\n' | b'"' | b'%' | b'\\' | 0x80..);
    if string.len() < MAX_QUOTED && string.iter().all(quotable) {
        out.push(b'"');
        out.extend_from_slice(string);
        out.push(b'"');
    } else {
        out.push(b'{');
        write_number(string.len() as u64, out);
        out.extend_from_slice(b"}\r\n");
        out.extend_from_slice(string);
    }
}

/// Appends `number` in decimal.
pub(super) fn write_number(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// With or without the extension data of BODYSTRUCTURE.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Body,
    BodyStructure,
}

/// What is still to be written.
enum Step<'a> {
    Open(&'a Part),
    Close(&'a Part),
}

/// Appends the BODY or BODYSTRUCTURE of the whole message.
pub(super) fn write_body(tree: &Tree, form: Form, out: &mut Vec<u8>) {
    let mut writer = Writer { tree, form, out };
    let mut steps: Vec<Step<'_>> = tree.parts.first().map(Step::Open).into_iter().collect();
    let mut children = Vec::new();
    while let Some(step) = steps.pop() {
        match step {
            Step::Open(part) if part.kind == Kind::Multipart && part.children == 0 => writer.empty_text(),
            Step::Open(part) if part.kind == Kind::Multipart => {
                writer.out.push(b'(');
                steps.push(Step::Close(part));
                children.extend(tree.children(part));
                steps.extend(children.drain(..).rev().map(Step::Open));
            }
            Step::Open(part) => {
                writer.basic(part);
                if part.kind == Kind::Message
                    && let Some(enclosed) = tree.children(part).next()
                {
                    writer.out.push(b' ');
                    write_envelope(tree, enclosed, writer.out);
                    writer.out.push(b' ');
                    steps.push(Step::Close(part));
                    steps.push(Step::Open(enclosed));
                } else {
                    writer.end_leaf(part);
                }
            }
            Step::Close(part) if part.kind == Kind::Message => {
                writer.out.push(b' ');
                write_number(part.content_lines.into(), writer.out);
                writer.end_leaf(part);
            }
            Step::Close(part) => writer.end_multipart(part),
        }
    }
}

struct Writer<'a, 'o> {
    tree: &'a Tree,
    form: Form,
    out: &'o mut Vec<u8>,
}

impl Writer<'_, '_> {
    fn string(&mut self, span: Option<Span>) {
        write_nstring(span.map(|span| self.tree.text.get(span)), self.out);
    }

    fn spaced(&mut self, span: Option<Span>) {
        self.out.push(b' ');
        self.string(span);
    }

    /// What stands for a multipart without parts, which IMAP does not know.
    fn empty_text(&mut self) {
        self.out
            .extend_from_slice(b"(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") NIL NIL \"7BIT\" 0 0");
        if self.form == Form::BodyStructure {
            self.out.extend_from_slice(b" NIL NIL NIL NIL");
        }
        self.out.push(b')');
    }

    /// `body-fields` of a part that is no multipart, and the line count of text.
    fn basic(&mut self, part: &Part) {
        self.out.push(b'(');
        self.string(Some(part.content_type));
        self.spaced(Some(part.subtype));
        self.out.push(b' ');
        self.params(&part.params);
        self.spaced(part.id);
        self.spaced(part.description);
        self.out.push(b' ');
        let encoding = part
            .encoding
            .map_or(&b"7BIT"[..], |encoding| self.tree.text.get(encoding));
        write_nstring(Some(encoding), self.out);
        self.out.push(b' ');
        write_number(part.content_size.into(), self.out);
        if part.kind == Kind::Text {
            self.out.push(b' ');
            write_number(part.content_lines.into(), self.out);
        }
    }

    fn end_leaf(&mut self, part: &Part) {
        if self.form == Form::BodyStructure {
            self.spaced(part.md5);
            self.extension(part);
        }
        self.out.push(b')');
    }

    fn end_multipart(&mut self, part: &Part) {
        self.spaced(Some(part.subtype));
        if self.form == Form::BodyStructure {
            self.out.push(b' ');
            self.params(&part.params);
            self.extension(part);
        }
        self.out.push(b')');
    }

    /// Disposition, language and location.
    fn extension(&mut self, part: &Part) {
        self.out.push(b' ');
        match &part.disposition {
            Some((disposition, params)) => {
                self.out.push(b'(');
                self.string(Some(*disposition));
                self.out.push(b' ');
                self.params(params);
                self.out.push(b')');
            }
            None => self.string(None),
        }
        self.out.push(b' ');
        if part.languages.is_empty() {
            self.string(None);
        } else {
            for (index, &language) in part.languages.iter().enumerate() {
                self.out.push(if index == 0 { b'(' } else { b' ' });
                self.string(Some(language));
            }
            self.out.push(b')');
        }
        self.spaced(part.location);
    }

    fn params(&mut self, params: &[Param]) {
        if params.is_empty() {
            return self.string(None);
        }
        for (index, param) in params.iter().enumerate() {
            self.out.push(if index == 0 { b'(' } else { b' ' });
            self.string(Some(param.name));
            self.spaced(Some(param.value));
        }
        self.out.push(b')');
    }
}

/// Appends the ENVELOPE of the message whose header is that of `part`.
pub(super) fn write_envelope(tree: &Tree, part: &Part, out: &mut Vec<u8>) {
    let envelope = &part.envelope;
    let string = |span: Option<Span>, out: &mut Vec<u8>| {
        write_nstring(span.map(|span| tree.text.get(span)), out);
    };
    let or_from = |list: Addresses| {
        if tree.list(list).is_empty() {
            envelope.from
        } else {
            list
        }
    };
    out.push(b'(');
    string(envelope.date, out);
    out.push(b' ');
    string(envelope.subject, out);
    let sender = or_from(envelope.sender);
    let reply_to = or_from(envelope.reply_to);
    for list in [
        envelope.from,
        sender,
        reply_to,
        envelope.to,
        envelope.cc,
        envelope.bcc,
    ] {
        out.push(b' ');
        write_addresses(tree, list, out);
    }
    out.push(b' ');
    string(envelope.in_reply_to, out);
    out.push(b' ');
    string(envelope.message_id, out);
    out.push(b')');
}

fn write_addresses(tree: &Tree, list: Addresses, out: &mut Vec<u8>) {
    let list = tree.list(list);
    if list.is_empty() {
        return write_nstring(None, out);
    }
    out.push(b'(');
    for address in list {
        let get = |span: Span| tree.text.get(span);
        let (name, route, local, domain) = match *address {
            Address::GroupStart(name) => (None, None, Some(get(name)), None),
            Address::GroupEnd => (None, None, None, None),
            Address::Mailbox {
                name,
                route,
                local,
                domain,
            } => {
                let domain = domain.map_or(UNSPECIFIED_DOMAIN, get);
                (name.map(get), route.map(get), Some(get(local)), Some(domain))
            }
        };
        for (index, string) in [name, route, local, domain].into_iter().enumerate() {
            out.push(if index == 0 { b'(' } else { b' ' });
            write_nstring(string, out);
        }
        out.push(b')');
    }
    out.push(b')');
}

/// Appends an address list as it is cached for SEARCH: names decoded, addresses in lower case.
pub(super) fn write_search_addresses(tree: &Tree, list: Addresses, out: &mut Vec<u8>) {
    let mut comma = false;
    for address in tree.list(list) {
        let get = |span: Span| tree.text.get(span);
        if std::mem::take(&mut comma) && !matches!(address, Address::GroupEnd) {
            out.push(b',');
        }
        match *address {
            Address::GroupStart(name) => {
                out.extend_from_slice(&encoded_word::decode(get(name)));
                out.push(b':');
            }
            Address::GroupEnd => {
                out.push(b';');
                comma = true;
            }
            Address::Mailbox {
                name,
                route,
                local,
                domain,
            } => {
                if let Some(name) = name {
                    write_display_name(&encoded_word::decode(get(name)), out);
                    out.push(b' ');
                }
                out.push(b'<');
                if let Some(route) = route {
                    write_lower(get(route), out);
                    out.push(b':');
                }
                write_lower(get(local), out);
                out.push(b'@');
                write_lower(domain.map_or(UNSPECIFIED_DOMAIN, get), out);
                out.push(b'>');
                comma = true;
            }
        }
    }
}

fn write_display_name(name: &[u8], out: &mut Vec<u8>) {
    // White space as C has it, and the characters of an atom (RFC 5322, section 3.2.3).
    let atom = |&byte: &u8| {
        byte.is_ascii_alphanumeric() || super::is_space(byte) || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
    };
    if name.iter().all(atom) {
        out.extend_from_slice(name);
        return;
    }
    out.push(b'"');
    for &byte in name {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

fn write_lower(text: &[u8], out: &mut Vec<u8>) {
    out.extend(text.iter().map(u8::to_ascii_lowercase));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_unless_they_cannot_be() {
        let written = |string: &[u8]| {
            let mut out = Vec::new();
            write_nstring(Some(string), &mut out);
            out
        };
        assert_eq!(written(b""), b"\"\"");
        assert_eq!(written(b"a\tb"), b"\"a\tb\"");
        for string in [&b"50%"[..], b"a\\b", b"a\"b", b"\xE4", b"a\r"] {
            assert_eq!(
                written(string),
                [format!("{{{}}}\r\n", string.len()).as_bytes(), string].concat()
            );
        }
        assert_eq!(written(&[b'a'; 1023])[0], b'"');
        assert_eq!(written(&[b'a'; 1024])[0], b'{');
    }

    #[test]
    fn numbers_are_written_in_full() {
        let mut out = Vec::new();
        write_number(0, &mut out);
        write_number(u64::MAX, &mut out);
        assert_eq!(out, b"018446744073709551615");
    }
}
