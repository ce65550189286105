//! The texts of a message: every string in which a search looks, as an index of messages has to know them.
//!
//! [`Pattern`](crate::search::Pattern) looks into the same texts, decoded by the same functions: whatever it finds in a message is in
//! one of these, whole.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::message::{
    CacheRecord, Charset, Encoding, Fields, decode_content, decode_header, field_values, select_fields,
};
use crate::search::{Comparison, Folder, WINDOW};

/// Where in a message a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Source {
    /// The addresses of From.
    From,
    /// Those of To.
    To,
    /// Those of Cc.
    Cc,
    /// Those of Bcc.
    Bcc,
    /// The Subject.
    Subject,
    /// The header of the message as a whole.
    Header,
    /// The value of one field of it.
    Field,
    /// The header of a part, or of an enclosed message.
    PartHeader,
    /// Content that is text, and not HTML.
    Plain,
    /// Content that is HTML.
    Html,
}

/// The message is too odd for its texts to be known one by one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooOdd;

/// A message as far as it was read.
#[derive(Clone, Copy)]
pub(super) struct Read<'m> {
    /// Its file.
    pub(super) message: &'m [u8],
    /// Octets of its header, as the index of the mailbox has them.
    pub(super) header_size: usize,
    /// Its cache record, and which version that is.
    pub(super) record: CacheRecord<'m>,
    pub(super) version: u16,
}

/// Calls `each` with all texts of a message.
///
/// Those of the header as a whole and of its fields are left out unless `headers`.
pub(super) fn each_text(
    read: Read<'_>,
    headers: bool,
    each: &mut dyn FnMut(Source, &str),
) -> Result<(), TooOdd> {
    let Read { message, record, .. } = read;
    let sections = record.sections().map_err(|_| TooOdd)?;
    for (source, text) in [
        (Source::From, record.from()),
        (Source::To, record.to()),
        (Source::Cc, record.cc()),
        (Source::Bcc, record.bcc()),
        (Source::Subject, record.subject_text().unwrap_or_default()),
    ] {
        each(source, &String::from_utf8_lossy(text));
    }
    if headers {
        each_field(read, each)?;
    }
    let mut top = true;
    let mut decoded = Vec::new();
    let mut is_html = false;
    sections.any(&mut |section| {
        let is_top = std::mem::take(&mut top);
        if let Some(header) = section.header {
            let header = header.of(message);
            is_html = says_html(header);
            let source = if is_top {
                Source::Header
            } else {
                Source::PartHeader
            };
            if headers || !is_top {
                each(source, &header_text(header));
            }
        }
        let charset = section.charset.and_then(Charset::by_name);
        if let (Some(charset), Some(content)) = (charset, section.content)
            && section.encoding != Encoding::Unknown
        {
            let content = content.of(message);
            let text = match section.encoding {
                Encoding::Identity => charset.decode(content),
                encoding => {
                    decoded.clear();
                    decode_content(encoding, content, &mut |piece| decoded.extend_from_slice(piece));
                    charset.decode(&decoded)
                }
            };
            each(if is_html { Source::Html } else { Source::Plain }, &text);
        }
        false
    });
    Ok(())
}

/// The values of all fields of the message's header, one by one, wherever a search reads them from.
fn each_field(read: Read<'_>, each: &mut dyn FnMut(Source, &str)) -> Result<(), TooOdd> {
    let Read { message, record, .. } = read;
    let header = message
        .get(..read.header_size.min(message.len()))
        .unwrap_or_default();
    let mut names = BTreeSet::new();
    for text in [header, record.headers()] {
        for line in text.split(|&byte| byte == b'\n') {
            if let Some(colon) = memchr::memchr(b':', line).filter(|_| !line.starts_with(b" ")) {
                names.insert(line.get(..colon).unwrap_or_default().to_ascii_lowercase());
            }
        }
        if names.len() > MAX_NAMES {
            return Err(TooOdd);
        }
    }
    for name in &names {
        let name = [name.as_slice()];
        let fields = record
            .header_fields(&name, read.version)
            .unwrap_or_else(|| select_fields(header, Fields::Only(&name)));
        for value in field_values(&fields, name[0]) {
            each(Source::Field, &header_text(value));
        }
    }
    Ok(())
}

fn header_text(header: &[u8]) -> String {
    let decoded = decode_header(header);
    String::from_utf8(decoded).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn says_html(header: &[u8]) -> bool {
    field_values(header, b"content-type").next().is_some_and(|value| {
        let value = value.trim_ascii_start();
        value
            .get(..HTML.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(HTML))
    })
}

/// A text brought into the form that is compared, piece by piece.
pub(super) fn each_piece(
    text: &str,
    comparison: Comparison,
    room: &mut Vec<u8>,
    each: &mut dyn FnMut(&[u8]),
) {
    let mut folder = Folder::new(comparison);
    let mut rest = text;
    while !rest.is_empty() {
        let piece = rest.get(..rest.floor_char_boundary(WINDOW)).unwrap_or(rest);
        room.clear();
        folder.fold(piece, room);
        each(room);
        rest = rest.get(piece.len()..).unwrap_or_default();
    }
}

/// A text without its tags, and without what stands in scripts and styles; for words, not for what is compared exactly.
pub(super) fn without_tags(html: &str) -> Cow<'_, str> {
    if !html.contains('<') {
        return Cow::Borrowed(html);
    }
    let mut plain = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let (before, tag) = rest.split_at(start);
        plain.push_str(before);
        plain.push(' ');
        let named = |name: &str| {
            tag.get(1..1 + name.len())
                .is_some_and(|found| found.eq_ignore_ascii_case(name))
        };
        let end = match () {
            () if named("!--") => tag.find("-->").map(|end| end + 3),
            () if named("script") => end_of(tag, "</script"),
            () if named("style") => end_of(tag, "</style"),
            () => tag.find('>').map(|end| end + 1),
        };
        rest = end.and_then(|end| tag.get(end..)).unwrap_or_default();
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Where the element that begins `text` ends, by its closing tag.
fn end_of(text: &str, closing: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let found = memchr::memchr_iter(b'<', bytes).find(|&at| {
        let tag = bytes.get(at..at + closing.len());
        tag.is_some_and(|tag| tag.eq_ignore_ascii_case(closing.as_bytes()))
    })?;
    text.get(found..)?.find('>').map(|end| found + end + 1)
}

/// How many different fields a header may have whose texts are told apart.
const MAX_NAMES: usize = 300;

const HTML: &[u8] = b"text/html";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{CACHE_VERSION, MessageParser};
    use crate::search::{Pattern, Scope, search_form};
    use proptest::prelude::*;

    fn texts(message: &[u8]) -> Vec<(Source, String)> {
        let parsed = MessageParser::parse(message).unwrap();
        let mut texts = Vec::new();
        let read = Read {
            message,
            header_size: parsed.header_size() as usize,
            record: parsed.record(),
            version: CACHE_VERSION,
        };
        each_text(read, true, &mut |source, text| {
            texts.push((source, text.to_owned()));
        })
        .unwrap();
        texts
    }

    #[test]
    fn tags_scripts_and_styles_are_no_words() {
        assert_eq!(
            without_tags(
                "<p>one<b class=x>two</b><style>a{}</STYLE >three<script>if (a<b)</script> four<!-- > -->"
            )
            .trim(),
            "one two  three  four"
        );
        assert_eq!(without_tags("a < b"), "a  ");
        assert_eq!(without_tags("plain"), "plain");
    }

    #[test]
    fn html_is_known_by_its_header_alone_or_in_a_part() {
        let alone = texts(b"Content-Type: text/html\r\n\r\n<p>x");
        assert!(alone.contains(&(Source::Html, "<p>x".to_owned())), "{alone:?}");
        let parts = texts(
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>y\r\n--b\r\n\r\nz\r\n--b--\r\n",
        );
        assert!(parts.contains(&(Source::Html, "<p>y".to_owned())), "{parts:?}");
        assert!(parts.contains(&(Source::Plain, "z".to_owned())), "{parts:?}");
    }

    proptest! {
        #[test]
        fn what_a_search_finds_is_in_one_of_the_texts(
            subject in "[a-zA-Z é ]{0,20}", encoded in "[a-z=_]{0,8}", body in "[a-zA-Zß é\r\n]{0,60}", needle in "[a-zA-Zé :]{1,4}",
            cut in 0_usize..80, long in 1_usize..6,
        ) {
            let message = format!(
                "From: Fred <fred@example.com>\r\nSubject: {subject} =?utf-8?q?{encoded}?= {subject}\r\nX-Other: {body}\r\n\
                 Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n\
                 --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in {subject}\r\n\r\ndeep {body}\r\n--b--\r\n"
            );
            let own: String = message.chars().skip(cut).take(long).collect();
            let parsed = MessageParser::parse(message.as_bytes()).unwrap();
            let sections = parsed.record().sections().unwrap();
            let texts = texts(message.as_bytes());
            for needle in [needle, own] {
                let form = search_form(&needle);
                for (scope, in_header) in [(Scope::Text, true), (Scope::Body, false)] {
                    let found = Pattern::new(&needle).in_message(message.as_bytes(), &sections, scope);
                    let told = texts.iter().any(|(source, text)| {
                        let own_header = !matches!(source, Source::PartHeader | Source::Plain | Source::Html);
                        (in_header || !own_header) && search_form(text).contains(&form)
                    });
                    prop_assert!(!found || told, "{needle:?} {scope:?}");
                }
            }
        }
    }
}
