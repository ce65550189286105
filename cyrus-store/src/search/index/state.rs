//! What an index says of itself: which mailbox it is of, up to where it is whole, what its texts look like.

use std::fmt;
use std::str::FromStr;

use crate::ident::MailboxId;
use crate::options::SearchOptions;
use crate::search::{Comparison, Whitespace};
use crate::uid::{ModSeq, Uid, UidSet, UidValidity};

/// What an index says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) id: MailboxId,
    pub(super) uidvalidity: UidValidity,
    /// Every message up to this UID is in the index, or in `left_out`.
    pub(super) through: u32,
    /// The modification sequence that the mailbox had reached.
    pub(super) modseq: ModSeq,
    pub(super) texts: Texts,
    /// Messages that could not be read, or not wholly.
    pub(super) left_out: UidSet,
}

/// What is indexed of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) whitespace: Whitespace,
    pub(super) keep_diacritics: bool,
    /// Whether all header fields are, or only addresses and subject.
    pub(super) headers: bool,
    /// Whether the words of HTML are.
    pub(super) html: bool,
}

impl Texts {
    pub(super) fn of(options: &SearchOptions) -> Self {
        Self {
            whitespace: options.whitespace,
            keep_diacritics: options.keep_diacritics,
            headers: options.headers,
            html: options.html,
        }
    }

    pub(super) fn comparison(self) -> Comparison {
        Comparison {
            whitespace: self.whitespace,
            keep_diacritics: self.keep_diacritics,
            ..Comparison::default()
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |value| if value { "yes" } else { "no" };
        let whitespace = match self.texts.whitespace {
            Whitespace::Skip => "skip",
            Whitespace::Merge => "merge",
            Whitespace::Keep => "keep",
        };
        writeln!(f, "version {VERSION}")?;
        writeln!(f, "mailbox {}", self.id.as_str())?;
        writeln!(f, "uidvalidity {}", self.uidvalidity.0)?;
        writeln!(f, "through {}", self.through)?;
        writeln!(f, "modseq {}", self.modseq.0)?;
        writeln!(f, "whitespace {whitespace}")?;
        writeln!(f, "diacritics {}", yes(self.texts.keep_diacritics))?;
        writeln!(f, "headers {}", yes(self.texts.headers))?;
        writeln!(f, "html {}", yes(self.texts.html))?;
        writeln!(f, "left-out {}", self.left_out)
    }
}

/// The index is of another version, or its description is not one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the index is of another version of this program")]
pub(super) struct Foreign;

impl FromStr for State {
    type Err = Foreign;

    fn from_str(text: &str) -> Result<Self, Foreign> {
        let mut lines = text.lines();
        let mut value = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.strip_prefix(' ')).ok_or(Foreign)
        };
        let number = |text: &str| text.parse::<u32>().map_err(|_| Foreign);
        let yes = |text: &str| match text {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(Foreign),
        };
        if number(value("version")?)? != VERSION {
            return Err(Foreign);
        }
        Ok(Self {
            id: MailboxId::new(value("mailbox")?).ok_or(Foreign)?,
            uidvalidity: UidValidity(number(value("uidvalidity")?)?),
            through: number(value("through")?)?,
            modseq: ModSeq(value("modseq")?.parse().map_err(|_| Foreign)?),
            texts: Texts {
                whitespace: match value("whitespace")? {
                    "skip" => Whitespace::Skip,
                    "merge" => Whitespace::Merge,
                    "keep" => Whitespace::Keep,
                    _ => return Err(Foreign),
                },
                keep_diacritics: yes(value("diacritics")?)?,
                headers: yes(value("headers")?)?,
                html: yes(value("html")?)?,
            },
            left_out: set(value("left-out")?)?,
        })
    }
}

fn set(text: &str) -> Result<UidSet, Foreign> {
    let mut ranges = Vec::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        let uid = |text: &str| text.parse().ok().and_then(Uid::new).ok_or(Foreign);
        let (first, last) = (uid(first)?, uid(last)?);
        if first > last {
            return Err(Foreign);
        }
        ranges.push(first..=last);
    }
    Ok(UidSet::from_ranges(ranges))
}

/// Of what is indexed and how: an index of another version is made anew.
const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_an_index_says_of_itself_can_be_read_back(
            numbers in any::<(u32, u32, u64)>(), whitespace in 0..3, yes in any::<[bool; 3]>(),
            left_out in prop::collection::btree_set(1_u32..2000, 0..20),
        ) {
            let state = State {
                id: MailboxId::new("8a3v2x").unwrap(),
                uidvalidity: UidValidity(numbers.0),
                through: numbers.1,
                modseq: ModSeq(numbers.2),
                texts: Texts {
                    whitespace: [Whitespace::Skip, Whitespace::Merge, Whitespace::Keep][whitespace as usize],
                    keep_diacritics: yes[0],
                    headers: yes[1],
                    html: yes[2],
                },
                left_out: left_out.into_iter().filter_map(Uid::new).collect(),
            };
            prop_assert_eq!(state.to_string().parse::<State>(), Ok(state.clone()));
            let other = state.to_string().replace("version 1", "version 2");
            prop_assert_eq!(other.parse::<State>(), Err(Foreign));
        }

        #[test]
        fn no_text_is_read_as_an_index_by_mistake(text in "\\PC{0,80}") {
            prop_assert_eq!(text.parse::<State>(), Err(Foreign));
        }
    }
}
