//! What mailboxes must hold after any mixture of acknowledged, refused and interrupted operations.
//!
//! Every message carries a number of its own, its token. The model counts, for each mailbox, what was acknowledged to have
//! come and gone, and what may have (because the connection broke before an answer); and it remembers which token each UID
//! was ever seen to hold, which must never change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// A message's own number.
pub(crate) type Token = u64;

/// Whether the server's answer came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certainty {
    Acknowledged,
    Possible,
}

/// What one look at a mailbox showed: each UID's token and flags.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Contents {
    pub(crate) uidvalidity: u64,
    pub(crate) uidnext: u64,
    pub(crate) messages: BTreeMap<u32, (Token, BTreeSet<String>)>,
}

impl Contents {
    /// The first thing in which another look differs.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        if (self.uidvalidity, self.uidnext) != (other.uidvalidity, other.uidnext) {
            return Some(format!(
                "UIDVALIDITY and UIDNEXT: {} {}, {} {}",
                self.uidvalidity, self.uidnext, other.uidvalidity, other.uidnext
            ));
        }
        let uids: BTreeSet<u32> = self
            .messages
            .keys()
            .chain(other.messages.keys())
            .copied()
            .collect();
        let differing = uids
            .into_iter()
            .find(|uid| self.messages.get(uid) != other.messages.get(uid))?;
        let (one, two) = (self.messages.get(&differing), other.messages.get(&differing));
        Some(format!("UID {differing}: {one:?}, {two:?}"))
    }
}

#[derive(Default)]
struct Mailbox {
    uidvalidity: Option<u64>,
    added: BTreeMap<Token, u32>,
    possibly_added: BTreeMap<Token, u32>,
    gone: BTreeSet<u32>,
    possibly_gone: BTreeSet<u32>,
    tokens: BTreeMap<u32, Token>,
    /// Whether a worker's own keyword is set on a message; `None` after an interrupted change.
    keywords: BTreeMap<(u32, String), Option<bool>>,
}

/// The model of all mailboxes of a run, shared by its workers.
#[derive(Default)]
pub(crate) struct Model {
    mailboxes: Mutex<BTreeMap<String, Mailbox>>,
    violations: Mutex<Vec<String>>,
}

impl Model {
    /// A broken promise of the server.
    pub(crate) fn violated(&self, what: String) {
        self.violations
            .lock()
            .expect("no worker panics while it holds the lock")
            .push(what);
    }

    /// All broken promises so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations
            .lock()
            .expect("no worker panics while it holds the lock")
            .clone()
    }

    /// A message came into a mailbox.
    pub(crate) fn added(&self, mailbox: &str, token: Token, certainty: Certainty) {
        self.with(mailbox, |state| {
            let counts = match certainty {
                Certainty::Acknowledged => &mut state.added,
                Certainty::Possible => &mut state.possibly_added,
            };
            *counts.entry(token).or_default() += 1;
        });
    }

    /// A message was expunged or moved away.
    pub(crate) fn removed(&self, mailbox: &str, uid: u32, certainty: Certainty) {
        self.with(mailbox, |state| match certainty {
            Certainty::Acknowledged => state.gone.insert(uid),
            Certainty::Possible => state.possibly_gone.insert(uid),
        });
    }

    /// A worker's keyword was set or cleared.
    pub(crate) fn keyword(&self, mailbox: &str, uid: u32, keyword: &str, set: bool, certainty: Certainty) {
        let value = (certainty == Certainty::Acknowledged).then_some(set);
        self.with(mailbox, |state| {
            state.keywords.insert((uid, keyword.to_owned()), value)
        });
    }

    /// A UID was seen to hold a token.
    pub(crate) fn seen(&self, mailbox: &str, uidvalidity: u64, uid: u32, token: Token) {
        let clash = self.with(mailbox, |state| {
            if *state.uidvalidity.get_or_insert(uidvalidity) != uidvalidity {
                return Some(format!("{mailbox}: UIDVALIDITY changed to {uidvalidity}"));
            }
            let known = *state.tokens.entry(uid).or_insert(token);
            (known != token)
                .then(|| format!("{mailbox}: UID {uid} held message {known} and now holds {token}"))
        });
        if let Some(clash) = clash {
            self.violated(clash);
        }
    }

    /// The token that a UID was seen to hold.
    pub(crate) fn token(&self, mailbox: &str, uid: u32) -> Option<Token> {
        self.with(mailbox, |state| state.tokens.get(&uid).copied())
    }

    /// How many messages were acknowledged to have come into all mailboxes together.
    pub(crate) fn total_added(&self) -> u32 {
        let mailboxes = self
            .mailboxes
            .lock()
            .expect("no worker panics while it holds the lock");
        mailboxes.values().flat_map(|state| state.added.values()).sum()
    }

    /// Holds the last look at a mailbox against everything known about it.
    pub(crate) fn check_at_rest(&self, mailbox: &str, contents: &Contents) {
        for (&uid, (token, _)) in &contents.messages {
            self.seen(mailbox, contents.uidvalidity, uid, *token);
            if u64::from(uid) >= contents.uidnext {
                self.violated(format!(
                    "{mailbox}: UID {uid} is not below UIDNEXT {}",
                    contents.uidnext
                ));
            }
        }
        let found = self.with(mailbox, |state| state.faults(mailbox, contents));
        for fault in found {
            self.violated(fault);
        }
    }

    fn with<T>(&self, mailbox: &str, action: impl FnOnce(&mut Mailbox) -> T) -> T {
        let mut mailboxes = self
            .mailboxes
            .lock()
            .expect("no worker panics while it holds the lock");
        action(mailboxes.entry(mailbox.to_owned()).or_default())
    }
}

impl Mailbox {
    fn faults(&self, mailbox: &str, contents: &Contents) -> Vec<String> {
        let mut faults = Vec::new();
        for uid in self.gone.iter().filter(|uid| contents.messages.contains_key(uid)) {
            faults.push(format!("{mailbox}: UID {uid} is back after it was expunged"));
        }
        for (uid, token) in &self.tokens {
            let may_be_gone = self.gone.contains(uid) || self.possibly_gone.contains(uid);
            if !may_be_gone && !contents.messages.contains_key(uid) {
                faults.push(format!("{mailbox}: UID {uid}, message {token}, is lost"));
            }
        }
        let mut count: BTreeMap<Token, u32> = BTreeMap::new();
        for (token, _) in contents.messages.values() {
            *count.entry(*token).or_default() += 1;
        }
        let count_of = |uids: &BTreeSet<u32>, token: &Token| {
            let held = uids.iter().filter(|uid| self.tokens.get(uid) == Some(token));
            u32::try_from(held.count()).unwrap_or(u32::MAX)
        };
        let tokens: BTreeSet<Token> = count.keys().chain(self.added.keys()).copied().collect();
        for token in tokens {
            let there = count.get(&token).copied().unwrap_or(0);
            let added = self.added.get(&token).copied().unwrap_or(0);
            let possible = self.possibly_added.get(&token).copied().unwrap_or(0);
            let gone = count_of(&self.gone, &token);
            let only_possibly: BTreeSet<u32> = self.possibly_gone.difference(&self.gone).copied().collect();
            let least = added
                .saturating_sub(gone)
                .saturating_sub(count_of(&only_possibly, &token));
            let most = (added + possible).saturating_sub(gone);
            if there < least || there > most {
                faults.push(format!(
                    "{mailbox}: message {token} is there {there} times, not {least} to {most} \
                     (came {added}, possibly {possible} more; gone {gone})"
                ));
            }
        }
        for ((uid, keyword), set) in &self.keywords {
            if let (Some((_, flags)), Some(set)) = (contents.messages.get(uid), set)
                && flags.contains(keyword) != *set
            {
                faults.push(format!(
                    "{mailbox}: UID {uid}: keyword {keyword} should be {set}: {flags:?}"
                ));
            }
        }
        faults
    }
}

#[test]
fn lost_doubled_and_returning_messages_are_noticed() {
    let model = Model::default();
    for token in [1, 2, 3] {
        model.added("INBOX", token, Certainty::Acknowledged);
    }
    model.added("INBOX", 4, Certainty::Possible);
    model.seen("INBOX", 9, 3, 3);
    model.removed("INBOX", 3, Certainty::Acknowledged);
    let look = |pairs: &[(u32, Token)]| Contents {
        uidvalidity: 9,
        uidnext: 100,
        messages: pairs
            .iter()
            .map(|&(uid, token)| (uid, (token, BTreeSet::new())))
            .collect(),
    };
    let faults =
        |pairs: &[(u32, Token)]| model.with("INBOX", |state| state.faults("INBOX", &look(pairs)).len());
    assert_eq!(faults(&[(1, 1), (2, 2)]), 0);
    assert_eq!(
        faults(&[(1, 1), (2, 2), (4, 4)]),
        0,
        "an interrupted delivery may have succeeded"
    );
    assert_eq!(faults(&[(1, 1)]), 1, "message 2 is lost");
    assert_eq!(faults(&[(1, 1), (2, 2), (5, 2)]), 1, "message 2 is doubled");
    assert_eq!(
        faults(&[(1, 1), (2, 2), (3, 3)]),
        2,
        "UID 3 is back, and message 3 with it"
    );
    assert_eq!(faults(&[(1, 1), (2, 2), (6, 77)]), 1, "nobody sent message 77");
    model.seen("INBOX", 9, 3, 5);
    assert_eq!(model.violations().len(), 1, "UID 3 was reused");
}
