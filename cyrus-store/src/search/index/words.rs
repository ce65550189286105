//! Words, as FUZZY (RFC 6203) compares them: without case, diacritics and endings.

use std::collections::HashSet;

use rust_stemmers::{Algorithm, Stemmer};

use super::Place;
use super::texts::{self, Read, Source};
use crate::message::CacheRecord;
use crate::search::search_form;

/// The stems of the words of a text, in their order.
pub fn stems(text: &str) -> Vec<String> {
    let mut stems = Vec::new();
    each_stem(text, &mut |stem| stems.push(stem.to_owned()));
    stems
}

/// Whether the texts of a message hold all words of these stems; `record` is its cache record.
pub fn has_words(message: &[u8], record: &CacheRecord<'_>, place: Place, words: &[String]) -> bool {
    let mut missing: HashSet<&str> = words.iter().map(String::as_str).collect();
    let read = Read {
        message,
        header_size: 0,
        record: *record,
        version: 0,
    };
    let read = texts::each_text(read, true, &mut |source, text| {
        let counts = match place {
            Place::Text => source != Source::Field,
            Place::Body => matches!(source, Source::Plain | Source::Html),
            Place::Header => source == Source::Header,
            Place::From => source == Source::From,
            Place::To => source == Source::To,
            Place::Cc => source == Source::Cc,
            Place::Bcc => source == Source::Bcc,
            Place::Subject => source == Source::Subject,
        };
        if !counts || missing.is_empty() {
            return;
        }
        let plain = match source {
            Source::Html => texts::without_tags(text),
            _ => text.into(),
        };
        each_stem(&plain, &mut |stem| {
            missing.remove(stem);
        });
    });
    read.is_ok() && missing.is_empty()
}

/// Calls `each` with the stem of each word of `text`.
///
/// Writing without spaces between words gives pairs of characters, as is usual for it.
pub(super) fn each_stem(text: &str, each: &mut dyn FnMut(&str)) {
    let stemmer = Stemmer::create(Algorithm::English);
    let form = search_form(text).to_lowercase();
    for word in form.split(|char: char| !char.is_alphanumeric()) {
        if word.is_empty() || word.len() > MAX_WORD {
            continue;
        }
        if !word.chars().any(is_unspaced) {
            each(&stemmer.stem(word));
            continue;
        }
        let mut rest = word;
        while let Some(first) = rest.chars().next() {
            let unspaced = is_unspaced(first);
            let end = rest
                .find(|char| is_unspaced(char) != unspaced)
                .unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            rest = after;
            match unspaced {
                false => each(&stemmer.stem(run)),
                true => each_pair(run, each),
            }
        }
    }
}

fn each_pair(run: &str, each: &mut dyn FnMut(&str)) {
    let starts: Vec<usize> = run.char_indices().map(|(at, _)| at).chain([run.len()]).collect();
    match starts.as_slice() {
        [_, _] => each(run),
        starts => {
            let pairs = starts
                .windows(3)
                .filter_map(|bounds| run.get(bounds[0]..bounds[2]));
            pairs.for_each(each);
        }
    }
}

/// Whether the character is of a script that is written without spaces between words.
fn is_unspaced(char: char) -> bool {
    matches!(u32::from(char),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF
        | 0xF900..=0xFAFF | 0x2_0000..=0x2_FA1F)
}

/// What is longer, in octets, is no word.
const MAX_WORD: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_marks_and_endings_do_not_tell_words_apart() {
        assert_eq!(stems("Running runs, RAN!"), ["run", "run", "ran"]);
        assert_eq!(stems("Café-Meetings"), stems("cafe meeting"));
        assert_eq!(stems(" ... "), Vec::<String>::new());
    }

    #[test]
    fn writing_without_spaces_gives_pairs() {
        assert_eq!(stems("会議室x"), ["会議", "議室", "x"]);
        assert_eq!(stems("山"), ["山"]);
    }
}
