//! How strings are compared in SEARCH: without regard to case, accents and the amount of white space, as in Cyrus.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The form of a text in which a plain substring search finds what people mean.
///
/// Compatibility decomposition, lower case, no combining marks; a run of white space is one space.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    if text.is_ascii() {
        for c in text.bytes() {
            push(&mut folded, char::from(c.to_ascii_lowercase()));
        }
        return folded;
    }
    for c in text.nfkd().filter(|&c| !is_combining_mark(c)) {
        for c in c.to_lowercase() {
            match c {
                // Final sigma has no capital of its own.
                'ς' => folded.push('σ'),
                'ß' => folded.push_str("ss"),
                c => push(&mut folded, c),
            }
        }
    }
    folded
}

fn push(folded: &mut String, c: char) {
    if !c.is_whitespace() {
        folded.push(c);
    } else if !folded.ends_with(' ') {
        folded.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_and_white_space_do_not_count() {
        assert_eq!(fold("HeLLo\r\n\t World"), "hello world");
        assert_eq!(fold("Crème BRÛLÉE"), "creme brulee");
        assert_eq!(fold("STRASSE"), fold("straße"));
        assert_eq!(fold("ΣΊΣΥΦΟΣ"), fold("σίσυφος"));
        assert_eq!(fold("ﬁne"), "fine");
    }
}
