//! PREVIEW: the beginning of what a message says, as one line (RFC 8970).
//!
//! It is made of the first part that is plain text, or else of the first that is HTML, without what is quoted from
//! another message, without markup, and with one space for any run of white space.

use cyrus_store::message::{Charset, Encoding, Extent, Section, decode_content, field_values};
use cyrus_store::{CachedRecord, MessageFile};

/// The most characters in a preview (RFC 8970, section 3.2: 256 are allowed, 200 recommended).
const MAX_CHARS: usize = 200;

/// The most octets of a part that are looked at.
const MAX_CONTENT: usize = 64 * 1024;

/// The most parts that are looked at.
const MAX_PARTS: usize = 256;

/// The preview of a message; empty if there is no text in it.
pub(super) fn preview(file: &MessageFile, cached: &CachedRecord) -> String {
    let record = cached.record();
    let Ok(sections) = record.sections() else {
        return String::new();
    };
    let message: &[u8] = file;
    let mut found = String::new();
    let mut html = None;
    let mut left = MAX_PARTS;
    let mut last_header = None;
    sections.any(&mut |section| {
        left -= 1;
        // The one part of a message that is no multipart has the message's header.
        last_header = section.header.or(last_header);
        match kind(section, last_header, message) {
            Kind::Plain => found = of_plain(&text(section, message)),
            Kind::Html if html.is_none() => html = Some(*section),
            Kind::Html | Kind::Other => {}
        }
        !found.is_empty() || left == 0
    });
    if found.is_empty()
        && let Some(section) = html
    {
        found = of_html(&text(&section, message));
    }
    found
}

enum Kind {
    Plain,
    Html,
    Other,
}

fn kind(section: &Section<'_>, header: Option<Extent>, message: &[u8]) -> Kind {
    let (Some(header), Some(_)) = (header, section.content) else {
        return Kind::Other;
    };
    if section.encoding == Encoding::Unknown {
        return Kind::Other;
    }
    let header = header.of(message);
    let first = |name: &'static [u8]| {
        let value = field_values(header, name).next().unwrap_or_default();
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let value = value.get(..end).unwrap_or_default().trim_ascii();
        value.to_ascii_lowercase()
    };
    if first(b"content-disposition") == b"attachment" {
        return Kind::Other;
    }
    match first(b"content-type").as_slice() {
        b"" | b"text/plain" | b"text" => Kind::Plain,
        b"text/html" => Kind::Html,
        _ => Kind::Other,
    }
}

/// The beginning of a part's text.
fn text(section: &Section<'_>, message: &[u8]) -> String {
    let content = section.content.map_or(&[][..], |content| content.of(message));
    let content = content.get(..MAX_CONTENT).unwrap_or(content);
    let mut octets = Vec::with_capacity(content.len());
    decode_content(section.encoding, content, &mut |piece| {
        octets.extend_from_slice(piece)
    });
    let charset = section.charset.and_then(Charset::by_name);
    match charset {
        Some(charset) => charset.decode(&octets).into_owned(),
        None => String::from_utf8_lossy(&octets).into_owned(),
    }
}

/// A line of text as it grows: white space at its ends and in a row goes.
#[derive(Default)]
struct Line {
    text: String,
    chars: usize,
    space: bool,
}

impl Line {
    fn push(&mut self, c: char) {
        if c.is_whitespace() || c.is_control() || c == '\u{feff}' || c == '\u{200b}' {
            self.space = true;
            return;
        }
        if self.space && self.chars > 0 {
            self.text.push(' ');
            self.chars += 1;
        }
        self.space = false;
        if !self.is_full() {
            self.text.push(c);
            self.chars += 1;
        }
    }

    fn is_full(&self) -> bool {
        self.chars >= MAX_CHARS
    }

    fn finish(self) -> String {
        let mut text = self.text;
        text.truncate(text.trim_end().len());
        text
    }
}

/// The beginning of plain text: without quoted lines, as far as a signature.
fn of_plain(text: &str) -> String {
    let mut line = Line::default();
    for each in text.lines() {
        if each == "-- " {
            break;
        }
        if each.starts_with('>') {
            continue;
        }
        for c in each.chars().chain(Some(' ')) {
            line.push(c);
        }
        if line.is_full() {
            break;
        }
    }
    line.finish()
}

/// Elements whose content is not shown.
const HIDDEN: [&str; 6] = ["head", "style", "script", "title", "template", "blockquote"];

/// The beginning of HTML: its text without markup.
fn of_html(html: &str) -> String {
    let mut line = Line::default();
    let mut rest = html;
    while !rest.is_empty() && !line.is_full() {
        let plain = rest.find(['<', '&']).unwrap_or(rest.len());
        let (text, markup) = rest.split_at(plain);
        text.chars().for_each(|c| line.push(c));
        rest = match markup.as_bytes().first() {
            Some(b'<') => after_tag(markup, &mut line),
            Some(_) => after_reference(markup, &mut line),
            None => "",
        };
    }
    line.finish()
}

/// What follows the tag, comment or hidden element that `markup` begins with.
fn after_tag<'t>(markup: &'t str, line: &mut Line) -> &'t str {
    if let Some(comment) = markup.strip_prefix("<!--") {
        return comment.split_once("-->").map_or("", |(_, rest)| rest);
    }
    let Some((tag, rest)) = markup.split_once('>') else {
        return "";
    };
    let name: String = tag
        .chars()
        .skip(1)
        .take_while(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    // Inline elements may stand within a word; all others end it.
    if !matches!(
        name.as_str(),
        "a" | "b" | "i" | "u" | "em" | "strong" | "span" | "font" | "small" | "big" | "sub" | "sup" | "code"
    ) && !tag.starts_with("</")
        || tag.starts_with("</p")
        || tag.starts_with("</td")
        || tag.starts_with("</div")
    {
        line.push(' ');
    }
    if !HIDDEN.contains(&name.as_str()) || tag.ends_with('/') {
        return rest;
    }
    let end = format!("</{name}");
    let close = rest
        .as_bytes()
        .windows(end.len())
        .position(|window| window.eq_ignore_ascii_case(end.as_bytes()));
    match close.and_then(|at| rest.get(at..)) {
        Some(close) => close.split_once('>').map_or("", |(_, rest)| rest),
        None => "",
    }
}

/// What follows the character reference that `markup` begins with.
fn after_reference<'t>(markup: &'t str, line: &mut Line) -> &'t str {
    const LONGEST: usize = 10;
    let end = markup.bytes().take(LONGEST).position(|c| c == b';');
    let name = end.and_then(|end| markup.get(1..end)).unwrap_or_default();
    let c = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => {
            let code = match name.strip_prefix(['#']) {
                Some(digits) => match digits.strip_prefix(['x', 'X']) {
                    Some(digits) => u32::from_str_radix(digits, 16).ok(),
                    None => digits.parse().ok(),
                },
                None => None,
            };
            code.and_then(char::from_u32)
        }
    };
    match (c, end) {
        (Some(c), Some(end)) => {
            line.push(c);
            markup.get(end + 1..).unwrap_or_default()
        }
        _ => {
            line.push('&');
            markup.get(1..).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_text_is_shown_without_quotes_and_signature() {
        let text = "Hello\r\n> earlier words\r\n\r\n  there,\tyou \r\n-- \r\nme\r\n";
        assert_eq!(of_plain(text), "Hello there, you");
        assert_eq!(of_plain(&"ab ".repeat(1_000)).chars().count(), MAX_CHARS);
        assert_eq!(of_plain("> all quoted"), "");
    }

    #[test]
    fn html_is_shown_without_markup() {
        let html = "<html><head><title>T</title></head><body><style>p {x}</style><!-- no -->\
            <p>Caf&eacute; &amp; b<b>ol</b>d&#33;&#x263a;</p><p>second &lt;line&gt;<br>third &foo</p>";
        assert_eq!(
            of_html(html),
            "Caf&eacute; & bold!\u{263a} second <line> third &foo"
        );
        assert_eq!(of_html("<style>never closed"), "");
        assert_eq!(of_html("a<b"), "a");
    }

    proptest! {
        #[test]
        fn any_text_has_a_preview_of_one_short_line(text in "\\PC{0,400}", tags in "[<>&;!a-z/# -]{0,200}") {
            for preview in [of_plain(&text), of_html(&text), of_html(&tags)] {
                prop_assert!(preview.chars().count() <= MAX_CHARS);
                prop_assert_eq!(preview.trim(), &preview);
                prop_assert!(!preview.contains(['\r', '\n', '\t']));
            }
        }
    }
}
