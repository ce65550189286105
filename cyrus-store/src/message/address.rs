//! Address lists (RFC 5322, section 3.4), read as leniently as Cyrus reads them.
//!
//! Any text gives a list: comments are dropped (the last one after a bare address becomes its name), quoted strings
//! are unquoted, a missing domain becomes [`UNSPECIFIED_DOMAIN`].

use super::is_space;
use super::text::{Span, Text};

/// The domain of an address that has none.
pub(super) const UNSPECIFIED_DOMAIN: &[u8] = b"unspecified-domain";

/// More addresses than this in one message are left out.
///
/// Cyrus knows no limit; without one, a header of commas costs memory of forty times its size.
pub(super) const MAX_ADDRESSES: usize = 200_000;

/// One element of an address list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Address {
    Mailbox {
        name: Option<Span>,
        route: Option<Span>,
        local: Span,
        domain: Option<Span>,
    },
    GroupStart(Span),
    GroupEnd,
}

/// Appends the addresses of the field value `value` to `list`, their strings to `text`.
pub(super) fn parse(value: &[u8], text: &mut Text, list: &mut Vec<Address>) {
    let mut scan = Scan { rest: value, text };
    let mut in_group = false;
    let mut add = |address| {
        if list.len() < MAX_ADDRESSES {
            list.push(address);
        }
    };
    loop {
        let (phrase, mut stop) = scan.phrase(if in_group { b",@<;" } else { b",@<:" });
        match stop {
            Some(b'@') => {
                let (domain, comment, after) = scan.domain(true);
                stop = after;
                add(Address::Mailbox {
                    name: comment,
                    route: None,
                    local: phrase,
                    domain,
                });
            }
            Some(b'<') => {
                let (address, after) = scan.angle(phrase.non_empty());
                add(address);
                if after.is_none() {
                    break;
                }
                continue;
            }
            Some(b':') => {
                add(Address::GroupStart(phrase));
                in_group = true;
                continue;
            }
            _ if phrase.non_empty().is_some() => {
                add(Address::Mailbox {
                    name: None,
                    route: None,
                    local: phrase,
                    domain: None,
                });
            }
            _ => {}
        }
        match stop {
            Some(b';') => {
                add(Address::GroupEnd);
                in_group = false;
            }
            None => break,
            _ => {}
        }
    }
    if in_group {
        add(Address::GroupEnd);
    }
}

/// A cursor over a field value; `None` stands for its end.
struct Scan<'a, 't> {
    rest: &'a [u8],
    text: &'t mut Text,
}

impl Scan<'_, '_> {
    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    /// Skips white space and comments, which may nest.
    fn skip_space(&mut self) {
        let mut depth = 0_usize;
        while let Some((&byte, rest)) = self.rest.split_first() {
            match byte {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => {
                    self.rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
                _ if depth > 0 || is_space(byte) => {}
                _ => return,
            }
            self.rest = rest;
        }
    }

    /// Words up to one of `stops`, which is returned; runs of white space and comments become one space.
    fn phrase(&mut self, stops: &[u8]) -> (Span, Option<u8>) {
        self.skip_space();
        let start = self.text.len();
        loop {
            match self.rest.first() {
                Some(b'"') => {
                    self.next();
                    if !self.quoted() {
                        // Without a closing quote the rest of the field is lost.
                        self.text.truncate(start);
                        self.rest = b"";
                        return (self.text.span_from(start), None);
                    }
                }
                Some(&byte) if byte == b'(' || is_space(byte) => {
                    self.skip_space();
                    self.text.push(b' ');
                }
                Some(byte) if !stops.contains(byte) => {
                    self.text.push(*byte);
                    self.next();
                }
                _ => {
                    let stop = self.next();
                    if self.text.len() > start && self.text.last() == Some(b' ') {
                        self.text.truncate(self.text.len() - 1);
                    }
                    return (self.text.span_from(start), stop);
                }
            }
        }
    }

    /// The inside of a quoted string and its closing quote; false if there is none.
    ///
    /// Folds are undone, other control characters but TAB are dropped or, for CR and LF, made a space.
    fn quoted(&mut self) -> bool {
        while let Some(mut byte) = self.next() {
            if byte == b'\\' && self.rest.starts_with(b"\r\n") {
                byte = b'\r';
                self.next();
            }
            if byte == b'\r' && self.rest.first() == Some(&b'\n') {
                self.next();
                if matches!(self.rest.first(), Some(b' ' | b'\t')) {
                    continue;
                }
                return false;
            }
            match byte {
                b'"' => return true,
                b'\r' | b'\n' => self.text.push(b' '),
                b'\t' => self.text.push(byte),
                _ if byte.is_ascii_control() => {}
                b'\\' => match self.next() {
                    Some(escaped) => self.text.push(escaped),
                    None => return false,
                },
                _ => self.text.push(byte),
            }
        }
        false
    }

    /// What stands after `<`, up to and with its `>`; also tells the byte that it stopped at.
    fn angle(&mut self, name: Option<Span>) -> (Address, Option<u8>) {
        let no_domain = |route, local| Address::Mailbox {
            name,
            route,
            local,
            domain: None,
        };
        let before = self.rest;
        let (mut local, stop) = self.phrase(b"@>");
        if stop != Some(b'@') {
            return (no_domain(None, local), stop);
        }
        let mut route = None;
        if local.non_empty().is_none() {
            // A source route: `<@a,@b:local@domain>`.
            let skipped = before.len() - self.rest.len();
            self.rest = before.get(skipped.saturating_sub(1)..).unwrap_or_default();
            let (domains, stop) = self.route();
            route = domains.non_empty();
            if stop != Some(b':') {
                return (no_domain(route, Span::default()), self.skip_to_bracket(stop));
            }
            let (phrase, stop) = self.phrase(b"@>");
            if stop != Some(b'@') {
                return (no_domain(route, phrase), stop);
            }
            local = phrase;
        }
        let (domain, _, stop) = self.domain(false);
        (
            Address::Mailbox {
                name,
                route,
                local,
                domain,
            },
            self.skip_to_bracket(stop),
        )
    }

    fn skip_to_bracket(&mut self, mut stop: Option<u8>) -> Option<u8> {
        while !matches!(stop, None | Some(b'>')) {
            stop = self.next();
        }
        stop
    }

    /// A domain, the comment right behind it (if `comments`), and the byte after both.
    fn domain(&mut self, comments: bool) -> (Option<Span>, Option<Span>, Option<u8>) {
        self.skip_space();
        // The domain grows in a buffer of its own, for comments between its parts land in the text.
        let mut domain = std::mem::take(&mut self.text.scratch);
        domain.clear();
        let mut comment = None;
        let stop = loop {
            match self.next() {
                Some(byte) if is_domain_byte(byte) || byte == b'@' => domain.push(byte),
                Some(b'.') => {
                    if domain.last().is_some_and(|&last| last != b'.') {
                        domain.push(b'.');
                    }
                }
                Some(b'(') => {
                    comment = comments.then(|| self.comment());
                    if comment.is_none() {
                        self.skip_open_comment();
                    }
                    continue;
                }
                Some(byte) if is_space(byte) => continue,
                stop => break stop,
            }
            comment = None;
        };
        if domain.last() == Some(&b'.') {
            domain.pop();
        }
        let span = self.text.append(&domain).non_empty();
        self.text.scratch = domain;
        (span, comment.and_then(Span::non_empty), stop)
    }

    /// The text of a comment whose `(` was just read; quoting is undone, inner comments stay.
    fn comment(&mut self) -> Span {
        let start = self.text.len();
        let mut depth = 1;
        while let Some(byte) = self.next() {
            let mut byte = Some(byte);
            match byte {
                Some(b'(') => depth += 1,
                Some(b')') => depth -= 1,
                Some(b'\\') => byte = self.next(),
                _ => {}
            }
            match byte {
                Some(byte) if depth > 0 => self.text.push(byte),
                _ => break,
            }
        }
        self.text.span_from(start)
    }

    fn skip_open_comment(&mut self) {
        let mut depth = 1;
        while depth > 0 {
            match self.next() {
                Some(b'(') => depth += 1,
                Some(b')') => depth -= 1,
                Some(b'\\') => drop(self.next()),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// A source route and the byte after it.
    fn route(&mut self) -> (Span, Option<u8>) {
        self.skip_space();
        let start = self.text.len();
        loop {
            match self.rest.first() {
                Some(&byte) if (is_domain_byte(byte) && byte != b':') || b",@".contains(&byte) => {
                    self.text.push(byte);
                }
                Some(b'.') => {
                    if self.text.len() > start && self.text.last() != Some(b'.') {
                        self.text.push(b'.');
                    }
                }
                Some(&byte) if byte == b'(' || is_space(byte) => {
                    self.skip_space();
                    continue;
                }
                _ => {
                    while self.text.len() > start && matches!(self.text.last(), Some(b'.' | b',' | b'@')) {
                        self.text.truncate(self.text.len() - 1);
                    }
                    let stop = self.next();
                    return (self.text.span_from(start), stop);
                }
            }
            self.next();
        }
    }
}

fn is_domain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'[' | b']' | b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> Vec<String> {
        let mut text = Text::default();
        let mut list = Vec::new();
        parse(value.as_bytes(), &mut text, &mut list);
        let show = |span: Span| String::from_utf8_lossy(text.get(span)).into_owned();
        list.iter()
            .map(|address| match *address {
                Address::GroupStart(name) => format!("{}:", show(name)),
                Address::GroupEnd => ";".to_owned(),
                Address::Mailbox {
                    name,
                    route,
                    local,
                    domain,
                } => {
                    let [name, route, domain] =
                        [name, route, domain].map(|span| span.map_or("-".to_owned(), show));
                    format!("{name}|{route}|{}|{domain}", show(local))
                }
            })
            .collect()
    }

    #[test]
    fn names_comments_and_quotes() {
        assert_eq!(parsed(" \"A \\\"B\\\" C\" <a.b@c.d>"), ["A \"B\" C|-|a.b|c.d"]);
        assert_eq!(parsed("a@b (A (inner) B)"), ["A (inner) B|-|a|b"]);
        assert_eq!(parsed("a (x) b <c@d>, e@f"), ["a b|-|c|d", "-|-|e|f"]);
    }

    #[test]
    fn groups_and_routes() {
        assert_eq!(
            parsed("list: a@b, c@d; , e"),
            ["list:", "-|-|a|b", "-|-|c|d", ";", "-|-|e|-"]
        );
        assert_eq!(parsed("<@x.org,@y.org:a@b>"), ["-|@x.org,@y.org|a|b"]);
        assert_eq!(parsed("open: a@b"), ["open:", "-|-|a|b", ";"]);
    }

    #[test]
    fn an_unbalanced_quote_swallows_the_rest() {
        assert_eq!(parsed("a@b, \"c <d@e>, f@g"), ["-|-|a|b"]);
    }
}
