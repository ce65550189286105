//! The delimiters of the multiparts that are open at one point of a message.
//!
//! A line may match several of them, because one boundary may be the beginning of another; the outermost that
//! matches wins. A trie answers for any number of boundaries in one walk over the line.

use std::collections::HashMap;

/// The open boundaries, outermost first.
#[derive(Default)]
pub(super) struct Boundaries {
    open: Vec<Vec<u8>>,
    trie: Option<Trie>,
}

/// Up to this many open boundaries are compared one after another; more build the trie.
const LINEAR: usize = 8;

/// A line after its two hyphens, beside one boundary that it begins with.
enum Match {
    Delimiter,
    Close,
    LongerWord,
}

impl Boundaries {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn push(&mut self, boundary: Vec<u8>) {
        let level = self.open.len();
        if let Some(trie) = &mut self.trie {
            trie.insert(&boundary, level);
        }
        self.open.push(boundary);
        if self.trie.is_none() && self.open.len() > LINEAR {
            let mut trie = Trie::default();
            for (level, boundary) in self.open.iter().enumerate() {
                trie.insert(boundary, level);
            }
            self.trie = Some(trie);
        }
    }

    /// Closes the boundary `level` and all inside it.
    pub(super) fn truncate(&mut self, level: usize) {
        while self.open.len() > level {
            let Some(boundary) = self.open.pop() else { break };
            if let Some(trie) = &mut self.trie {
                trie.remove(&boundary, self.open.len());
            }
        }
        if self.open.is_empty() {
            self.trie = None;
        }
    }

    /// Whether `line`, which begins with `--`, is a delimiter of an open multipart. A closing delimiter closes it.
    pub(super) fn ends_at(&mut self, line: &[u8]) -> bool {
        let Some(word) = line.strip_prefix(b"--") else {
            return false;
        };
        let found =
            match &self.trie {
                Some(trie) => trie.find(word),
                None => self.open.iter().enumerate().find_map(|(level, boundary)| {
                    match compare(word, boundary)? {
                        Match::LongerWord => None,
                        found => Some((level, found)),
                    }
                }),
            };
        match found {
            Some((level, Match::Close)) => {
                self.truncate(level);
                true
            }
            found => found.is_some(),
        }
    }
}

/// How `word` relates to `boundary`; `None` if it does not begin with it.
fn compare(word: &[u8], boundary: &[u8]) -> Option<Match> {
    let after = word.strip_prefix(boundary)?;
    Some(classify(after))
}

/// What follows a boundary on its line tells whether the line is its delimiter.
fn classify(after: &[u8]) -> Match {
    match after {
        [b'-', b'-', ..] => Match::Close,
        [next, _, ..] if !super::is_space(*next) && *next != 0 => Match::LongerWord,
        _ => Match::Delimiter,
    }
}

/// The open boundaries by their bytes; each node knows the levels whose boundary ends there.
#[derive(Default)]
struct Trie {
    edges: HashMap<(u32, u8), u32>,
    levels: HashMap<u32, Vec<usize>>,
    nodes: u32,
}

impl Trie {
    fn insert(&mut self, boundary: &[u8], level: usize) {
        let mut node = 0;
        for &byte in boundary {
            node = *self.edges.entry((node, byte)).or_insert_with(|| {
                self.nodes += 1;
                self.nodes
            });
        }
        self.levels.entry(node).or_default().push(level);
    }

    /// Forgets the innermost `level`; its nodes stay until all boundaries are closed.
    fn remove(&mut self, boundary: &[u8], level: usize) {
        let node = boundary
            .iter()
            .try_fold(0, |node, &byte| self.edges.get(&(node, byte)).copied());
        if let Some(levels) = node.and_then(|node| self.levels.get_mut(&node)) {
            levels.retain(|&other| other != level);
        }
    }

    fn find(&self, word: &[u8]) -> Option<(usize, Match)> {
        let mut node = 0;
        let mut best: Option<(usize, Match)> = None;
        for at in 0..=word.len() {
            let after = word.get(at..).unwrap_or_default();
            if let Some(&level) = self.levels.get(&node).and_then(|levels| levels.first())
                && best.as_ref().is_none_or(|(known, _)| level < *known)
            {
                match classify(after) {
                    Match::LongerWord => {}
                    found => best = Some((level, found)),
                }
            }
            match after.first().and_then(|&byte| self.edges.get(&(node, byte))) {
                Some(&next) => node = next,
                None => break,
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_longer_word_is_no_delimiter_but_white_space_after_it_is_fine() {
        let mut open = Boundaries::default();
        open.push(b"ab".to_vec());
        assert!(open.ends_at(b"--ab\r\n") && open.ends_at(b"--ab  \r\n") && open.ends_at(b"--ab"));
        assert!(!open.ends_at(b"--abc\r\n") && !open.ends_at(b"--a\r\n"));
        assert!(open.ends_at(b"--ab--\r\n"));
        assert!(open.is_empty());
    }

    proptest! {
        #[test]
        fn the_trie_answers_as_the_list_does(
            boundaries in prop::collection::vec("[ab-]{0,3}", LINEAR + 1..20),
            lines in prop::collection::vec("--[ab-]{0,5}[ \r\n]{0,2}", 1..20),
        ) {
            let mut trie = Boundaries::default();
            let mut list = Boundaries::default();
            for boundary in &boundaries {
                trie.push(boundary.as_bytes().to_vec());
                list.open.push(boundary.as_bytes().to_vec());
            }
            for line in &lines {
                prop_assert_eq!(trie.ends_at(line.as_bytes()), list.ends_at(line.as_bytes()));
                prop_assert_eq!(trie.len(), list.len());
            }
        }
    }
}
