//! What all clients know together: what was once seen must never be otherwise.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use super::view::Flags;

type Incarnation = (String, u64);

#[derive(Default)]
pub(super) struct Facts(Mutex<HashMap<Incarnation, Mailbox>>);

#[derive(Default)]
struct Mailbox {
    /// The subject of each UID.
    subjects: HashMap<u32, String>,
    /// The flags of a message at a modification sequence.
    flags: HashMap<(u32, u64), Flags>,
    gone: HashSet<u32>,
}

impl Facts {
    fn with<T>(&self, mailbox: &str, uidvalidity: u64, act: impl FnOnce(&mut Mailbox) -> T) -> T {
        let mut mailboxes = self.0.lock().expect("no client panics while it holds the lock");
        act(mailboxes.entry((mailbox.to_owned(), uidvalidity)).or_default())
    }

    /// A UID has this subject, and has it for ever.
    pub(super) fn holds(
        &self,
        mailbox: &str,
        uidvalidity: u64,
        uid: u32,
        subject: &str,
    ) -> Result<(), String> {
        self.with(mailbox, uidvalidity, |known| {
            let before = known.subjects.entry(uid).or_insert_with(|| subject.to_owned());
            match before == subject {
                true => Ok(()),
                false => Err(format!("UID {uid} is {subject:?}, and was {before:?}")),
            }
        })
    }

    /// A message has these flags at this modification sequence, whoever looks.
    pub(super) fn has_flags(
        &self,
        mailbox: &str,
        uidvalidity: u64,
        (uid, modseq): (u32, u64),
        flags: &Flags,
    ) -> Result<(), String> {
        self.with(mailbox, uidvalidity, |known| {
            let before = known.flags.entry((uid, modseq)).or_insert_with(|| flags.clone());
            match before == flags {
                true => Ok(()),
                false => Err(format!(
                    "UID {uid} at MODSEQ {modseq} has {flags:?}, and had {before:?}"
                )),
            }
        })
    }

    /// Somebody was told that a message is gone.
    pub(super) fn gone(&self, mailbox: &str, uidvalidity: u64, uid: u32) {
        self.with(mailbox, uidvalidity, |known| known.gone.insert(uid));
    }

    /// The messages that are known to be gone.
    pub(super) fn all_gone(&self, mailbox: &str, uidvalidity: u64) -> HashSet<u32> {
        self.with(mailbox, uidvalidity, |known| known.gone.clone())
    }
}
