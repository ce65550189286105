//! A mailbox as one client knows it, from nothing but what the server told it.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Facts;
use crate::rig::imap::Untagged;
use crate::rig::value::Value;

pub(super) type Flags = BTreeSet<String>;

/// What a client knows of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) uid: Option<u32>,
    /// Without `\Recent`, which sessions do not share.
    pub(super) flags: Option<Flags>,
    pub(super) modseq: Option<u64>,
}

/// What a command lets the server say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Allows {
    /// FETCH, STORE, SEARCH, SORT and THREAD by numbers: nothing that changes numbers (RFC 9051, section 7.5.1).
    NoExpunge,
    Anything,
}

/// The selected mailbox.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) mailbox: String,
    pub(super) uidvalidity: u64,
    pub(super) messages: Vec<Known>,
    pub(super) highestmodseq: u64,
    /// CONDSTORE or QRESYNC was switched on: flags come with modification sequences.
    pub(super) condstore: bool,
    /// Flags that the mailbox was said to have.
    defined: Flags,
}

impl View {
    /// A mailbox that is being selected.
    pub(super) fn new(mailbox: &str, condstore: bool) -> Self {
        Self {
            mailbox: mailbox.to_owned(),
            condstore,
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.messages.len()).expect("a small mailbox")
    }

    /// UIDs that the client knows.
    pub(super) fn uids(&self) -> Vec<u32> {
        self.messages.iter().filter_map(|known| known.uid).collect()
    }

    /// Takes in one response; what is wrong with it.
    pub(super) fn hear(&mut self, response: &Untagged, allows: Allows, facts: &Facts) -> Result<(), String> {
        let values = match response {
            Untagged::Status(line) => {
                self.status(line);
                return Ok(());
            }
            Untagged::Data(values) => values,
        };
        let words: Vec<String> = values.iter().map(Value::text).collect();
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["FLAGS", ..] => {
                self.defined = values.get(1).map(flags).unwrap_or_default();
                Ok(())
            }
            [number, "EXISTS"] => self.exists(number.parse().map_err(|_| "no number")?),
            [number, "EXPUNGE"] => self.expunged(number.parse().map_err(|_| "no number")?, allows, facts),
            [number, "FETCH", ..] => {
                let number = number.parse().map_err(|_| "no number")?;
                self.fetched(number, values.get(2).map(Value::list).unwrap_or_default(), facts)
            }
            ["VANISHED", uids] => self.vanished(uids, allows, facts),
            // Of messages that the client never saw in this session: they have no numbers.
            ["VANISHED", _, _] => Ok(()),
            ["SEARCH" | "SORT", numbers @ ..] => self.numbers(numbers),
            _ => Ok(()),
        }
    }

    fn status(&mut self, line: &str) {
        let code = |name: &str| {
            let rest = line.split_once(&format!("[{name} "))?.1;
            rest.split(']').next()?.parse::<u64>().ok()
        };
        if let Some(uidvalidity) = code("UIDVALIDITY") {
            self.uidvalidity = uidvalidity;
        }
        if let Some(modseq) = code("HIGHESTMODSEQ") {
            self.highestmodseq = modseq;
        }
    }

    fn exists(&mut self, count: usize) -> Result<(), String> {
        if count < self.messages.len() {
            return Err(format!("{count} EXISTS where there were {}", self.messages.len()));
        }
        self.messages.resize(count, Known::default());
        Ok(())
    }

    fn expunged(&mut self, number: usize, allows: Allows, facts: &Facts) -> Result<(), String> {
        if allows == Allows::NoExpunge {
            return Err(format!("{number} EXPUNGE during a command by numbers"));
        }
        if number == 0 || number > self.messages.len() {
            return Err(format!("{number} EXPUNGE of {}", self.messages.len()));
        }
        if let Some(uid) = self.messages.remove(number - 1).uid {
            facts.gone(&self.mailbox, self.uidvalidity, uid);
        }
        Ok(())
    }

    fn vanished(&mut self, uids: &str, allows: Allows, facts: &Facts) -> Result<(), String> {
        if allows == Allows::NoExpunge {
            return Err(format!("VANISHED {uids} during a command by numbers"));
        }
        for uid in super::numbers(uids) {
            // The message itself, or one whose UID is not known and can be this.
            let at = self
                .messages
                .iter()
                .position(|known| known.uid.is_some_and(|known| known >= uid));
            let (mut at, found) = match at {
                Some(at) if self.messages.get(at).is_some_and(|known| known.uid == Some(uid)) => (at, true),
                Some(at) => (at, false),
                None => (self.messages.len(), false),
            };
            if !found {
                at = at
                    .checked_sub(1)
                    .ok_or_else(|| format!("VANISHED {uid}, which is no message here"))?;
                if self.messages.get(at).is_none_or(|known| known.uid.is_some()) {
                    return Err(format!("VANISHED {uid}, which is no message here"));
                }
            }
            self.messages.remove(at);
            facts.gone(&self.mailbox, self.uidvalidity, uid);
        }
        Ok(())
    }

    fn fetched(&mut self, number: usize, items: &[Value], facts: &Facts) -> Result<(), String> {
        let count = self.messages.len();
        let at = number.checked_sub(1).filter(|at| *at < count);
        let at = at.ok_or_else(|| format!("{number} FETCH of {count}"))?;
        let items: BTreeMap<String, &Value> = items
            .chunks(2)
            .filter_map(|pair| Some((pair.first()?.text(), pair.get(1)?)))
            .collect();
        if let Some(uid) = items.get("UID").and_then(|uid| uid.number()) {
            self.has_uid(at, u32::try_from(uid).map_err(|_| "a large UID")?)?;
        }
        let known = self.messages.get_mut(at).ok_or("it was checked")?;
        let modseq = items
            .get("MODSEQ")
            .and_then(|modseq| modseq.list().first()?.number());
        if let (Some(new), Some(old)) = (modseq, known.modseq)
            && new < old
        {
            return Err(format!("message {number}: MODSEQ {new} after {old}"));
        }
        if let Some(new) = items.get("FLAGS") {
            let new = flags(new);
            let undefined = new
                .iter()
                .find(|flag| !flag.starts_with('\\') && !self.defined.contains(*flag));
            if let Some(flag) = undefined {
                return Err(format!(
                    "message {number} has {flag}, which no FLAGS told of: {:?}",
                    self.defined
                ));
            }
            if let (Some(uid), Some(modseq)) = (known.uid, modseq) {
                facts.has_flags(&self.mailbox, self.uidvalidity, (uid, modseq), &new)?;
            }
            if self.condstore && modseq.is_none() {
                return Err(format!("message {number}: FLAGS without MODSEQ"));
            }
            known.flags = Some(new);
        }
        known.modseq = modseq.or(known.modseq);
        let subject = items.iter().find(|(item, _)| item.starts_with("BODY[HEADER"));
        if let (Some(uid), Some((_, subject))) = (known.uid, subject) {
            facts.holds(&self.mailbox, self.uidvalidity, uid, subject.text().trim())?;
        }
        Ok(())
    }

    /// A message has this UID: it had none yet, or the same; and UIDs rise.
    fn has_uid(&mut self, at: usize, uid: u32) -> Result<(), String> {
        let known = self.messages.get_mut(at).ok_or("no such message")?;
        if known.uid.is_some_and(|old| old != uid) {
            return Err(format!("message {} has UID {uid} after {:?}", at + 1, known.uid));
        }
        known.uid = Some(uid);
        let before = self.messages.iter().take(at).rev().find_map(|known| known.uid);
        let after = self.messages.iter().skip(at + 1).find_map(|known| known.uid);
        match before.is_some_and(|before| before >= uid) || after.is_some_and(|after| after <= uid) {
            true => Err(format!(
                "UID {uid} of message {} is between {before:?} and {after:?}",
                at + 1
            )),
            false => Ok(()),
        }
    }

    /// Numbers of messages in a result.
    fn numbers(&self, numbers: &[&str]) -> Result<(), String> {
        // UIDs are told apart by who asked.
        let wrong = numbers.iter().find(|number| **number == "0");
        wrong.map_or(Ok(()), |_| Err("message number 0".to_owned()))
    }

    /// How this differs from what a new session sees.
    pub(super) fn difference(&self, truth: &Self) -> Option<String> {
        if self.messages.len() != truth.messages.len() {
            return Some(format!(
                "{} messages, really {}",
                self.messages.len(),
                truth.messages.len()
            ));
        }
        let mut pairs = (1..).zip(self.messages.iter().zip(&truth.messages));
        pairs.find_map(|(number, (known, truth))| {
            let uid = known.uid.is_none() || known.uid == truth.uid;
            let flags = known.flags.is_none() || known.flags == truth.flags;
            let modseq = !self.condstore || known.modseq.is_none() || known.modseq == truth.modseq;
            (!(uid && flags && modseq)).then(|| format!("message {number} is {known:?}, really {truth:?}"))
        })
    }
}

/// The flags of a list, without `\Recent`.
fn flags(list: &Value) -> Flags {
    let names = list.list().iter().map(Value::text);
    names.filter(|name| name != "\\Recent").collect()
}
