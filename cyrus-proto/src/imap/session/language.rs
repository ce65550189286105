//! LANGUAGE (RFC 5255, section 3): all texts are English, which is what `i-default` asks for.

use super::ImapSession;
use crate::imap::command::{Tag, lex};
use crate::imap::response::{Reply, put_language};

/// What people are spoken to in.
const LANGUAGES: [&str; 2] = ["en", "i-default"];

impl ImapSession {
    /// Tells the languages, or takes the first that the client reads. No prefix of the namespace has a translation.
    pub(super) fn speak(&mut self, tag: &Tag, ranges: &[Vec<u8>]) {
        if let Some(range) = ranges.iter().find(|range| !is_range(range)) {
            let text = format!("Invalid language range in Language: {}", lex::printable(range));
            self.refuse_text(tag, text);
            return;
        }
        if ranges.is_empty() {
            self.write(|out| put_language(out, &LANGUAGES));
            self.reply(tag, &Reply::ok("Supported languages have been enumerated"));
            return;
        }
        match ranges.iter().find_map(|range| look_up(range)) {
            Some(language) => {
                self.write(|out| put_language(out, &[language]));
                self.reply(tag, &Reply::ok("Now speaking English"));
            }
            None => {
                let ranges: Vec<String> = ranges.iter().map(|range| lex::printable(range)).collect();
                self.reply(
                    tag,
                    &Reply::no(format!("Unsupported language {}", ranges.join(" "))),
                );
            }
        }
    }
}

/// `language-range = (1*8ALPHA *("-" 1*8alphanum)) / "*"` (RFC 4647, section 2.1).
fn is_range(range: &[u8]) -> bool {
    let fits =
        |subtag: &[u8]| (1..=8).contains(&subtag.len()) && subtag.iter().all(u8::is_ascii_alphanumeric);
    let mut subtags = range.split(|&c| c == b'-');
    let first = subtags.next().unwrap_or_default();
    range == b"*" || fits(first) && first.iter().all(u8::is_ascii_alphabetic) && subtags.all(fits)
}

/// The language that a range finds by losing subtags from its end (RFC 4647, section 3.4).
fn look_up(range: &[u8]) -> Option<&'static str> {
    if range == b"*" || range.eq_ignore_ascii_case(b"default") {
        return Some("i-default");
    }
    let mut range = range;
    loop {
        let known = |language: &&&str| language.as_bytes().eq_ignore_ascii_case(range);
        if let Some(language) = LANGUAGES.iter().find(known) {
            return Some(language);
        }
        let cut = range.iter().rposition(|&c| c == b'-')?;
        range = range.get(..cut)?;
        // A single letter or digit goes with what it introduces.
        if let [rest @ .., b'-', _] = range {
            range = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_find_a_language_by_their_beginning() {
        assert_eq!(look_up(b"EN-ca"), Some("en"));
        assert_eq!(look_up(b"en-a-bbb-x-yyy"), Some("en"));
        assert_eq!(look_up(b"I-Default"), Some("i-default"));
        assert_eq!(look_up(b"i"), None);
        assert_eq!(look_up(b"fr-CA"), None);
        assert!(is_range(b"*") && is_range(b"zh-Hant-TW") && is_range(b"x-a"));
        assert!(!is_range(b"") && !is_range(b"de--x") && !is_range(b"1x") && !is_range(b"abcdefghi"));
    }
}
