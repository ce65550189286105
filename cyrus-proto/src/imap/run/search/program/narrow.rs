//! What an index of texts can do for a program: name the messages that are worth a look.

use cyrus_store::search::index::{SearchIndex, Wanted};
use cyrus_store::{Uid, UidSet};

use super::fuzzy::Like;
use super::{Program, Test};

impl Program {
    /// Whether an index may help: if it is about words, or about texts of enough messages.
    pub(in super::super) fn wants_index(&self, is_large: bool) -> bool {
        let least = if is_large { Need::Text } else { Need::Words };
        self.0.iter().any(|test| test.need() >= least)
    }

    /// Asks the index of the mailbox: which messages can match at all; `None` if it cannot tell.
    pub(in super::super) fn consult(&mut self, index: &SearchIndex) -> Option<UidSet> {
        self.0.iter_mut().for_each(|test| test.consult(index));
        let wanted: Vec<Wanted<'_>> = self.0.iter().filter_map(Test::wanted).collect();
        match wanted.is_empty() {
            true => None,
            false => index.narrow(&Wanted::All(wanted)),
        }
    }

    /// How relevant a message is that matches, from 1 to 100.
    pub(in super::super) fn relevancy(&self, uid: Uid) -> u8 {
        let score = mean(self.0.iter().filter_map(|test| test.score(uid)));
        // What holds exactly what was asked for is as relevant as can be.
        score.map_or(EXACT, |score| (1.0 + score.clamp(0.0, 1.0) * 99.0).round() as u8)
    }
}

/// What of an index a test is about.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Nothing,
    Text,
    Words,
}

impl Test {
    fn need(&self) -> Need {
        match self {
            Self::Like(_) => Need::Words,
            Self::Text(..) => Need::Text,
            Self::Not(test) => test.need(),
            Self::Any(tests) | Self::All(tests) => {
                tests.iter().map(Self::need).max().unwrap_or(Need::Nothing)
            }
            _ => Need::Nothing,
        }
    }

    fn consult(&mut self, index: &SearchIndex) {
        match self {
            Self::Like(like) => like.consult(index),
            Self::Not(test) => test.consult(index),
            Self::Any(tests) | Self::All(tests) => tests.iter_mut().for_each(|test| test.consult(index)),
            _ => {}
        }
    }

    /// What every message holds that passes the test.
    fn wanted(&self) -> Option<Wanted<'_>> {
        match self {
            Self::Text(place, pattern) => Some(Wanted::Holds(place.in_index(), pattern)),
            Self::Like(like) => Some(like_wanted(like)),
            Self::All(tests) => {
                let wanted: Vec<Wanted<'_>> = tests.iter().filter_map(Self::wanted).collect();
                (!wanted.is_empty()).then_some(Wanted::All(wanted))
            }
            Self::Any(tests) => {
                let wanted = tests.iter().map(Self::wanted).collect::<Option<Vec<_>>>()?;
                Some(Wanted::Any(wanted))
            }
            _ => None,
        }
    }

    /// How well a message fits that passes the test, where an index says so.
    fn score(&self, uid: Uid) -> Option<f32> {
        match self {
            Self::Like(like) => like.score(uid),
            Self::All(tests) => mean(tests.iter().filter_map(|test| test.score(uid))),
            Self::Any(tests) => tests.iter().filter_map(|test| test.score(uid)).reduce(f32::max),
            _ => None,
        }
    }
}

fn like_wanted(like: &Like) -> Wanted<'_> {
    let as_it_stands = Wanted::Holds(like.place.in_index(), &like.pattern);
    match like.indexed_place() {
        Some(place) => Wanted::Any(vec![Wanted::Like(place, &like.words), as_it_stands]),
        None => as_it_stands,
    }
}

fn mean(scores: impl Iterator<Item = f32>) -> Option<f32> {
    let (sum, count) = scores.fold((0.0, 0.0), |(sum, count), score| (sum + score, count + 1.0));
    (count > 0.0).then_some(sum / count)
}

/// How relevant a result is that holds what was asked for.
pub(in super::super) const EXACT: u8 = 100;
