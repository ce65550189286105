//! The modification sequences that all mailboxes of a user share while conversations are on.

use std::path::{Path, PathBuf};

use crate::error::MailboxError;
use crate::format::counters::Counters;
use crate::format::mboxentry::MailboxKind;
use crate::lock::{DataLock, Recheck};
use crate::mailbox::new_path;
use crate::store::Store;
use crate::sys::{File, Mode, Open};

/// Which of the counters a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CounterKind {
    /// Messages of a mailbox of this kind.
    Messages(MailboxKind),
    /// A mailbox of this kind that is made.
    Folder(MailboxKind),
    /// A mailbox of this kind that is deleted.
    Deleted(MailboxKind),
    /// The user's quota root.
    Quota,
}

impl CounterKind {
    /// Places of the values that are raised along with the highest.
    fn places(self) -> impl Iterator<Item = usize> {
        let (first, second) = match self {
            Self::Messages(kind) => (places_of(kind)[0], None),
            Self::Folder(kind) => (places_of(kind)[0], Some(places_of(kind)[1])),
            Self::Deleted(kind) => (places_of(kind)[2], None),
            Self::Quota => (QUOTA, None),
        };
        std::iter::once(first).chain(second)
    }
}

/// Where the modification sequences of messages, of mailboxes and of deleted mailboxes of a kind are.
fn places_of(kind: MailboxKind) -> [usize; 3] {
    match kind {
        MailboxKind::Email | MailboxKind::News => [1, 5, 13],
        MailboxKind::Calendar => [2, 6, 14],
        MailboxKind::AddressBook => [3, 7, 15],
        MailboxKind::Submission => [11, 12, 17],
        MailboxKind::Collection => [23, 25, 24],
        MailboxKind::PushSubscription => [27, 29, 28],
        MailboxKind::Sieve => [31, 33, 32],
    }
}

const HIGHEST: usize = 0;
const QUOTA: usize = 9;

/// How a user's counters are to be raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RaiseCounters {
    /// The quota root changes: it gets the next modification sequence.
    pub(crate) next_quota: bool,
    /// What has been given to messages.
    pub(crate) messages: Option<(CounterKind, u64)>,
}

/// New counters, written beside the old ones.
#[derive(Debug)]
pub(crate) struct StagedCounters {
    lock: DataLock,
    new: File,
    /// What the quota root has got, if it was to get something.
    pub(crate) quota: u64,
}

impl StagedCounters {
    /// What is to be synced before they are published.
    pub(crate) fn file(&self) -> &File {
        &self.new
    }

    /// Puts the new counters, synced, in the place of the old ones.
    pub(crate) fn publish(self, store: &Store) -> Result<(), MailboxError> {
        put_in_place(store, self.lock, self.new)
    }
}

impl Store {
    /// The highest modification sequence of a user; 0 while conversations are off.
    pub(crate) fn user_modseq(&self, owner: &str) -> Result<u64, MailboxError> {
        if !self.options().conversations {
            return Ok(0);
        }
        // Files are replaced as a whole: reading needs no lock.
        let path = self.user_file(owner, "counters")?;
        let Some(file) = self.disk().try_open(&path, Open::read())? else {
            return Ok(0);
        };
        Ok(read(&path, &file)?.values[HIGHEST])
    }

    /// The next modification sequence of a user, for a change of this kind to what had `last`. Without conversations,
    /// that is the one after `last`.
    pub(crate) fn next_user_modseq(
        &self,
        owner: &str,
        kind: CounterKind,
        last: u64,
    ) -> Result<u64, MailboxError> {
        if !self.options().conversations {
            return Ok(last.saturating_add(1));
        }
        let path = self.user_file(owner, "counters")?;
        self.change_counters(&path, |counters| next(counters, kind, last))
    }

    /// Lets the counters of a user not be below a modification sequence that was given.
    pub(crate) fn raise_user_modseq(
        &self,
        owner: &str,
        kind: CounterKind,
        modseq: u64,
    ) -> Result<(), MailboxError> {
        if !self.options().conversations {
            return Ok(());
        }
        let path = self.user_file(owner, "counters")?;
        self.change_counters(&path, |counters| raise(counters, kind, modseq))
    }

    /// Lets no counter in this file be below what mailboxes have been given.
    pub(crate) fn raise_all_counters(
        &self,
        path: &Path,
        modseq: u64,
        uidvalidity: u32,
    ) -> Result<(), MailboxError> {
        self.change_counters(path, |counters| {
            counters.uidvalidity = counters.uidvalidity.max(uidvalidity);
            for kind in [
                CounterKind::Messages(MailboxKind::Email),
                CounterKind::Folder(MailboxKind::Email),
                CounterKind::Quota,
            ] {
                raise(counters, kind, modseq);
            }
        })
    }

    /// A UIDVALIDITY and a modification sequence for a new mailbox of this kind, from the counters in this file.
    pub(crate) fn count_new_mailbox(
        &self,
        path: &Path,
        kind: MailboxKind,
        uidvalidity: u32,
    ) -> Result<(u32, u64), MailboxError> {
        self.change_counters(path, |counters| {
            counters.uidvalidity = counters.uidvalidity.saturating_add(1).max(uidvalidity);
            (counters.uidvalidity, next(counters, CounterKind::Folder(kind), 0))
        })
    }

    /// Writes raised counters of a user beside the old ones. No other lock may be waited for until they are published.
    pub(crate) fn stage_counters(
        &self,
        owner: &str,
        how: RaiseCounters,
    ) -> Result<StagedCounters, MailboxError> {
        let path = self.user_file(owner, "counters")?;
        let (lock, mut counters) = self.lock_counters(&path)?;
        let quota = match how.next_quota {
            true => next(&mut counters, CounterKind::Quota, 0),
            false => 0,
        };
        if let Some((kind, modseq)) = how.messages {
            raise(&mut counters, kind, modseq);
        }
        let new = self.write_counters(&path, counters)?;
        Ok(StagedCounters { lock, new, quota })
    }

    /// Changes counters, durably; what does not change is not written.
    fn change_counters<T>(
        &self,
        path: &Path,
        change: impl FnOnce(&mut Counters) -> T,
    ) -> Result<T, MailboxError> {
        let (lock, before) = self.lock_counters(path)?;
        let mut counters = before.clone();
        let result = change(&mut counters);
        if counters != before {
            let new = self.write_counters(path, counters)?;
            new.sync_data()?;
            put_in_place(self, lock, new)?;
        }
        Ok(result)
    }

    fn lock_counters(&self, path: &Path) -> Result<(DataLock, Counters), MailboxError> {
        let file = self.locks().data_file(path);
        let lock = file.lock(Mode::Exclusive, self.wait(), Open::create(), Recheck::Replaced)?;
        let counters = read(path, lock.file())?;
        Ok((lock, counters))
    }

    fn write_counters(&self, path: &Path, mut counters: Counters) -> Result<File, MailboxError> {
        counters.generation = counters.generation.wrapping_add(1);
        let new: PathBuf = new_path(path);
        let file = self.disk().open(&new, Open::replace())?;
        file.write_at(&counters.to_bytes(), 0)?;
        Ok(file)
    }
}

/// Gives new counters, synced, their name, durably: what is about to be written with them must not outlive them.
fn put_in_place(store: &Store, mut lock: DataLock, new: File) -> Result<(), MailboxError> {
    lock.replace(&**store.disk(), new)?;
    if let Some(directory) = lock.path().parent() {
        store.disk().sync_dir(directory)?;
    }
    Ok(())
}

fn read(path: &Path, file: &File) -> Result<Counters, MailboxError> {
    Counters::parse(&file.read_all()?).map_err(|fault| MailboxError::damaged(path, fault))
}

fn next(counters: &mut Counters, kind: CounterKind, last: u64) -> u64 {
    raise(counters, kind, last);
    let highest = counters.values[HIGHEST].saturating_add(1);
    counters.values[HIGHEST] = highest;
    kind.places().for_each(|place| counters.values[place] = highest);
    highest
}

fn raise(counters: &mut Counters, kind: CounterKind, modseq: u64) {
    for place in std::iter::once(HIGHEST).chain(kind.places()) {
        counters.values[place] = counters.values[place].max(modseq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_value_is_above_all_others_and_goes_to_its_own_places() {
        let mut counters = Counters::default();
        counters.values[HIGHEST] = 6;
        let mail = MailboxKind::Email;
        assert_eq!(next(&mut counters, CounterKind::Folder(mail), 0), 7);
        assert_eq!(next(&mut counters, CounterKind::Quota, 3), 8);
        raise(&mut counters, CounterKind::Messages(mail), 8);
        assert_eq!((counters.values[0], counters.values[1]), (8, 8));
        assert_eq!((counters.values[5], counters.values[9]), (7, 8));
        raise(&mut counters, CounterKind::Messages(mail), 3);
        assert_eq!(counters.values[1], 8);
    }
}
