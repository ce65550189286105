//! LIST's patterns: `*` is any text, `%` is any text within one level (RFC 3501, section 6.3.8).

use super::Separator;
use crate::name::NameError;

/// A compiled pattern, matched against the names that clients see.
///
/// Matching walks the name once and keeps all positions of the pattern at the same time, so its time is bounded by the
/// lengths of both and no pattern can make it slow.
#[derive(Clone, Debug)]
pub struct Pattern {
    tokens: Vec<Token>,
    separator: u8,
    literal: String,
    /// Sets of positions in `tokens`, one bit each.
    stars: Bits,
    percents: Bits,
    literals: Vec<(u8, Bits)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Percent,
    Star,
}

impl Pattern {
    /// The longest pattern, in bytes.
    pub const MAX: usize = 4096;

    /// Compiles LIST's two arguments; `reference` is just put before `pattern`, except that of two separators that meet
    /// one is left. [`Namespace::pattern`](super::Namespace::pattern) also obeys `ignorereference`.
    ///
    /// # Errors
    /// It is longer than [`Pattern::MAX`].
    pub fn new(reference: &str, pattern: &str, separator: Separator) -> Result<Self, NameError> {
        let namespace = super::Namespace {
            separator,
            ..super::Namespace::default()
        };
        namespace.pattern(reference, pattern)
    }

    /// Compiles one text.
    pub(super) fn compile(text: &str, separator: Separator) -> Result<Self, NameError> {
        if text.len() > Self::MAX {
            return Err(NameError::TooLong {
                length: text.len(),
                limit: Self::MAX,
            });
        }
        let mut tokens: Vec<Token> = Vec::with_capacity(text.len());
        for byte in text.bytes() {
            let token = match byte {
                b'*' => Token::Star,
                b'%' => Token::Percent,
                byte => Token::Byte(byte),
            };
            // Wildcards in a row are one: the widest of them. So no position leads to two others without input.
            match (tokens.last(), token) {
                (Some(Token::Star), Token::Star | Token::Percent)
                | (Some(Token::Percent), Token::Percent) => {}
                (Some(Token::Percent), Token::Star) => {
                    tokens.pop();
                    tokens.push(token);
                }
                _ => tokens.push(token),
            }
        }
        let size = tokens.len() + 1;
        let (mut stars, mut percents) = (Bits::new(size), Bits::new(size));
        let mut literals: Vec<(u8, Bits)> = Vec::new();
        for (at, &token) in tokens.iter().enumerate() {
            match token {
                Token::Star => stars.insert(at),
                Token::Percent => percents.insert(at),
                Token::Byte(byte) => {
                    let index = literals
                        .iter()
                        .position(|&(known, _)| known == byte)
                        .unwrap_or(literals.len());
                    if index == literals.len() {
                        literals.push((byte, Bits::new(size)));
                    }
                    if let Some((_, places)) = literals.get_mut(index) {
                        places.insert(at);
                    }
                }
            }
        }
        let literal = text.split(['*', '%']).next().unwrap_or_default().to_owned();
        let separator = u8::try_from(separator.as_char()).unwrap_or(b'/');
        Ok(Self {
            tokens,
            separator,
            literal,
            stars,
            percents,
            literals,
        })
    }

    /// Whether the whole of a client's name matches. Case counts, in `INBOX` too, as with Cyrus 3.6.
    pub fn matches(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(&self.literal) else {
            return false;
        };
        match self.tokens.get(self.literal.len()..) {
            None | Some([]) => rest.is_empty(),
            Some([Token::Star]) => true,
            Some(_) => self
                .positions(rest.as_bytes(), |_, _| {})
                .contains(self.tokens.len()),
        }
    }

    /// The levels above a name that match, topmost first: `LIST "" %` shows `user` for a mailbox `user/fred`.
    ///
    /// The name itself is not among them; see [`Pattern::matches`].
    pub fn matching_ancestors<'a>(&self, name: &'a str) -> Vec<&'a str> {
        let mut found = Vec::new();
        let end = self.tokens.len();
        // A matching level begins with the literal prefix, and then so does the name.
        let Some(rest) = name.strip_prefix(&self.literal) else {
            return found;
        };
        let offset = name.len() - rest.len();
        self.positions(rest.as_bytes(), |at, positions| {
            let level = rest.as_bytes().get(at) == Some(&self.separator);
            if level && positions.contains(end) && offset + at > 0 {
                found.extend(name.get(..offset + at));
            }
        });
        found
    }

    /// The text before the first wildcard: every name that matches begins with it.
    pub fn literal_prefix(&self) -> &str {
        &self.literal
    }

    /// How many levels the names have that match; `None` if any number.
    pub fn levels(&self) -> Option<usize> {
        if self.tokens.contains(&Token::Star) {
            return None;
        }
        let separator = Token::Byte(self.separator);
        Some(1 + self.tokens.iter().filter(|token| **token == separator).count())
    }

    /// Whether there is no wildcard.
    pub fn is_literal(&self) -> bool {
        self.literal.len() == self.tokens.len()
    }

    /// The positions that the pattern can be in after the literal prefix and `rest`. `each` sees them before each byte.
    fn positions(&self, rest: &[u8], mut each: impl FnMut(usize, &Bits)) -> Bits {
        let size = self.tokens.len() + 1;
        let mut now = Bits::new(size);
        now.insert(self.literal.len());
        let mut next = Bits::new(size);
        let none = Bits::new(size);
        self.skip_wildcards(&mut now);
        for (at, byte) in rest.iter().enumerate() {
            each(at, &now);
            let literal = self
                .literals
                .iter()
                .find(|(known, _)| known == byte)
                .map_or(&none, |(_, places)| places);
            let within_level = *byte != self.separator;
            next.assign(&now, literal, &self.stars, within_level.then_some(&self.percents));
            std::mem::swap(&mut now, &mut next);
            if now.is_empty() {
                break;
            }
            self.skip_wildcards(&mut now);
        }
        now
    }

    /// Adds the position after each wildcard, which may stand for nothing.
    fn skip_wildcards(&self, positions: &mut Bits) {
        positions.add_successors(&self.stars, &self.percents);
    }
}

/// A set of small numbers.
#[derive(Clone, Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(size: usize) -> Self {
        Self(vec![0; size.div_ceil(64)])
    }

    fn insert(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    fn contains(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// Becomes `(now & literal) + 1`, together with those of `now` that are in `stars` or `percents`.
    fn assign(&mut self, now: &Self, literal: &Self, stars: &Self, percents: Option<&Self>) {
        let mut carry = 0;
        for (index, word) in self.0.iter_mut().enumerate() {
            let at = |bits: &Self| bits.0.get(index).copied().unwrap_or(0);
            let (here, moved) = (at(now), at(now) & at(literal));
            *word = (moved << 1) | carry | (here & (at(stars) | percents.map_or(0, at)));
            carry = moved >> 63;
        }
    }

    /// Adds `n + 1` for each `n` of the set that is in `first` or `second`, which hold no two numbers in a row.
    fn add_successors(&mut self, first: &Self, second: &Self) {
        let mut carry = 0;
        for (index, word) in self.0.iter_mut().enumerate() {
            let at = |bits: &Self| bits.0.get(index).copied().unwrap_or(0);
            *word |= carry;
            let moved = *word & (at(first) | at(second));
            *word |= moved << 1;
            carry = moved >> 63;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slash(pattern: &str) -> Pattern {
        Pattern::new("", pattern, Separator::Slash).unwrap()
    }

    /// What the pattern means, spelled out without regard to time.
    fn plainly(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], _) => name.is_empty(),
            ([b'*', rest @ ..], _) => (0..=name.len()).any(|at| plainly(rest, &name[at..])),
            ([b'%', rest @ ..], _) => {
                let level = name.iter().position(|&byte| byte == b'/').unwrap_or(name.len());
                (0..=level).any(|at| plainly(rest, &name[at..]))
            }
            ([byte, rest @ ..], [first, after @ ..]) => byte == first && plainly(rest, after),
            _ => false,
        }
    }

    /// Patterns, and which of the mailboxes Cyrus 3.6.1 listed for an administrator.
    #[test]
    fn patterns_without_a_star_match_names_of_one_depth() {
        let levels = |text: &str| Pattern::new("", text, Separator::Slash).unwrap().levels();
        assert_eq!(
            (levels("%"), levels("a/%"), levels("a/b/c")),
            (Some(1), Some(2), Some(3))
        );
        assert_eq!((levels("*"), levels("a/%*")), (None, None));
    }

    #[test]
    fn patterns_match_what_cyrus_lists() {
        let all = [
            "INBOXsh",
            "cmu",
            "cmu/comp",
            "cmu/comp/www",
            "pt",
            "pt/a",
            "pt/a/b",
            "pt/ab",
            "pt/b",
        ];
        for (reference, pattern, listed) in [
            ("", "pt", "pt"),
            ("", "pt/", ""),
            ("", "pt/%", "pt/a pt/ab pt/b"),
            ("", "pt/*", "pt/a pt/a/b pt/ab pt/b"),
            ("", "pt%", "pt"),
            ("", "pt*", "pt pt/a pt/a/b pt/ab pt/b"),
            ("", "*/a", "pt/a"),
            ("", "pt/%/b", "pt/a/b"),
            ("", "pt/a%", "pt/a pt/ab"),
            ("pt", "%", "pt"),
            ("pt/", "%", "pt/a pt/ab pt/b"),
            ("pt/", "/a", "pt/a"),
            ("pt/a", "/b", "pt/a/b"),
            ("pt", "/a", "pt/a"),
            ("pt/", "pt/a", ""),
            ("cmu/", "/comp/www", "cmu/comp/www"),
            ("cmu/", "./comp", ""),
            ("cmu/", "comp/www", "cmu/comp/www"),
            ("", "/pt", ""),
            ("", "pt//a", ""),
            ("", "p%t", "pt"),
            ("", "p*a*b", "pt/a/b pt/ab"),
            ("", "PT", ""),
            ("", "inb*", ""),
            ("", "INB*", "INBOXsh"),
            ("", "pt/%%", "pt/a pt/ab pt/b"),
            ("", "pt/***b", "pt/a/b pt/ab pt/b"),
            ("pt/*", "a", "pt/a"),
            ("", "%/", ""),
            ("", "pt/%/", ""),
        ] {
            let compiled = Pattern::new(reference, pattern, Separator::Slash).unwrap();
            let matched: Vec<&str> = all.into_iter().filter(|name| compiled.matches(name)).collect();
            assert_eq!(matched.join(" "), listed, "LIST {reference:?} {pattern:?}");
        }
    }

    /// The example of the manual, and what Cyrus 3.6.1 made of its variants.
    #[test]
    fn s029_a_leading_separator_is_relative_to_the_reference() {
        for (reference, pattern, name) in [
            ("cmu.", ".comp.infosystems.www", "cmu.comp.infosystems.www"),
            ("cmu.", "comp.infosystems.www", "cmu.comp.infosystems.www"),
            ("cmu", ".comp", "cmu.comp"),
            ("cmu", "comp", "cmucomp"),
            ("INBOX", ".work", "INBOX.work"),
            ("", ".cmu", ".cmu"),
        ] {
            let pattern = Pattern::new(reference, pattern, Separator::Dot).unwrap();
            assert_eq!(pattern.literal_prefix(), name);
            assert!(pattern.is_literal() && pattern.matches(name));
        }
    }

    #[test]
    fn s010_the_separator_bounds_a_percent() {
        let dot = Pattern::new("", "cmu.%", Separator::Dot).unwrap();
        assert!(dot.matches("cmu.comp") && dot.matches("cmu.a/b") && !dot.matches("cmu.comp.www"));
        assert!(slash("cmu.%").matches("cmu.comp.www"));
        assert_eq!(dot.literal_prefix(), "cmu.");
    }

    #[test]
    fn levels_above_a_name_match_too() {
        assert_eq!(slash("%").matching_ancestors("user/fred/work"), ["user"]);
        assert_eq!(
            slash("*").matching_ancestors("user/fred/work"),
            ["user", "user/fred"]
        );
        assert_eq!(slash("%/%").matching_ancestors("user/fred/work"), ["user/fred"]);
        assert_eq!(slash("user").matching_ancestors("user/fred"), ["user"]);
        assert_eq!(
            slash("user/%").matching_ancestors("user/fred"),
            Vec::<&str>::new()
        );
        assert_eq!(slash("us%").matching_ancestors("user/fred"), ["user"]);
        assert_eq!(slash("x").matching_ancestors("user/fred"), Vec::<&str>::new());
        assert_eq!(
            slash("Other Users").matching_ancestors("Other Users/bovik/x"),
            ["Other Users"]
        );
    }

    #[test]
    fn a_pattern_of_many_wildcards_is_not_slow() {
        let pattern = slash(&"*a%".repeat(1300));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(490))));
        assert!(slash(&"*a".repeat(200)).matches(&"a".repeat(490)));
        assert!(Pattern::new("", &"x".repeat(4097), Separator::Slash).is_err());
    }

    proptest! {
        #[test]
        fn matching_means_what_the_rfc_says(pattern in "[ab/*%]{0,9}", name in "[ab/]{0,9}") {
            let compiled = Pattern::compile(&pattern, Separator::Slash).unwrap();
            prop_assert_eq!(compiled.matches(&name), plainly(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn the_ancestors_are_those_that_match(pattern in "[ab/*%]{0,9}", name in "[ab]{1,2}(/[ab]{1,2}){0,4}") {
            let compiled = Pattern::compile(&pattern, Separator::Slash).unwrap();
            let levels = name.match_indices('/').map(|(at, _)| &name[..at]);
            let matching: Vec<&str> = levels.filter(|level| compiled.matches(level)).collect();
            prop_assert_eq!(compiled.matching_ancestors(&name), matching);
        }

        #[test]
        fn long_patterns_cross_words(pattern in "[ab*]{60,140}", name in "[ab]{60,140}") {
            let compiled = Pattern::compile(&pattern, Separator::Slash).unwrap();
            prop_assert!(Pattern::compile(&name, Separator::Slash).unwrap().matches(&name));
            let filled = pattern.replace('*', &name);
            prop_assert!(compiled.matches(&filled));
        }
    }
}
