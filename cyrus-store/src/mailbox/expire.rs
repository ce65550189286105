//! What becomes of old messages: expired by their date, removed for good some time after they were expunged, or brought
//! back before that.

use super::read::header_of;
use super::{IndexWrite, Mailbox, NewMessage};
use crate::error::MailboxError;
use crate::flags::{FlagNames, KeywordBits, SystemFlags};
use crate::format::cache::CacheView;
use crate::format::index::{Record, options};
use crate::sys::Mode;
use crate::uid::{Uid, UidSet};

/// What is to be expired in a mailbox. Times are Unix seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiry {
    /// Messages whose Date: is before this are expunged.
    pub sent_before: Option<u32>,
    /// Messages that were expunged before this are removed for good.
    pub expunged_before: Option<u32>,
    /// Keywords that no message has any more are taken out of the mailbox's table.
    pub unused_keywords: bool,
}

/// What was expired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Records looked at: visible messages, and expunged ones that are not removed yet.
    pub seen: u32,
    /// Messages that were expunged.
    pub expired: u32,
    /// Messages that were removed for good.
    pub removed: u32,
    /// Slots and names of the keywords that were taken out.
    pub keywords: Vec<(usize, String)>,
}

/// A message that was expunged and is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpungedMessage {
    /// UID.
    pub uid: Uid,
    /// Octets.
    pub size: u32,
    /// Midnight of the day in the Date: field, Unix seconds.
    pub sent_date: u32,
    /// When it was received, Unix seconds.
    pub internal_date: u32,
    /// When it was expunged, Unix seconds.
    pub expunged: u32,
    /// The cache record, if it is intact.
    pub cache: Option<Vec<u8>>,
}

impl Mailbox {
    /// Expires old messages and removes those that were expunged long ago; the files go when the mailbox is closed.
    ///
    /// # Errors
    /// The user is not the system itself, or that failed.
    pub fn expire(&mut self, how: &Expiry) -> Result<Expired, MailboxError> {
        self.refresh_entry()?;
        self.require_system()?;
        let mut done = Expired::default();
        if let Some(before) = how.sent_before {
            let whole = UidSet::from(Uid::MIN..=Uid::MAX);
            let expired =
                self.expunge_where(&whole, SystemFlags::default(), |record| record.gmtime < before)?;
            done.expired = u32::try_from(expired.len()).unwrap_or(u32::MAX);
        }
        let locks = self.lock(Mode::Exclusive)?;
        let mut write = IndexWrite::begin(&self.store, &self.hot, locks)?;
        let mut known = KeywordBits::default();
        if how.unused_keywords {
            known = used_slots(&write);
            done.keywords = drop_unused_keywords(&mut write, known);
        }
        let mut first_expunged = 0;
        for number in 0..write.records() {
            let Some(view) = write.view(number) else { break };
            if view.flags() & Record::UNLINKED != 0 {
                continue;
            }
            done.seen += 1;
            if !view.is_expunged() {
                continue;
            }
            let Some(mut record) = write.record(number)? else {
                break;
            };
            let due = how
                .expunged_before
                .is_some_and(|before| record.last_updated <= before);
            let old = record.clone();
            if due {
                done.removed += 1;
                record.flags |= Record::UNLINKED | Record::NEEDS_CLEANUP;
            } else if first_expunged == 0 || record.last_updated < first_expunged {
                first_expunged = record.last_updated;
            }
            if how.unused_keywords {
                record.keywords = record.keywords.without(record.keywords.without(known));
            }
            if record != old {
                write.replace_counted(number, old, record);
            }
        }
        if done.removed > 0 {
            write.header.options |= options::NEEDS_UNLINK | options::NEEDS_REPACK;
        }
        write.header.first_expunged = first_expunged;
        write.commit(&self.entry.name, &self.id)?;
        Ok(done)
    }

    /// The messages that were expunged and could be brought back.
    ///
    /// # Errors
    /// The user is not the system itself, or that failed.
    pub fn expunged(&mut self) -> Result<Vec<ExpungedMessage>, MailboxError> {
        self.refresh_entry()?;
        self.require_system()?;
        let locks = self.lock(Mode::Shared)?;
        let mut mapping = self.hot.borrow_mapping();
        let found = self.expunged_in(mapping.refresh(&locks.index)?);
        self.hot.return_mapping(mapping);
        found
    }

    fn expunged_in(&self, file: &[u8]) -> Result<Vec<ExpungedMessage>, MailboxError> {
        let header = header_of(&self.hot, file)?;
        let records = header
            .records(file)
            .map_err(|fault| MailboxError::damaged(&self.hot.paths.index, fault))?;
        let mut found = Vec::new();
        for (number, view) in (0..).zip(records.iter()) {
            if !view.is_expunged() || view.flags() & Record::UNLINKED != 0 {
                continue;
            }
            let record = view
                .record()
                .map_err(|fault| self.hot.damaged_record(&header, number, fault))?;
            let Some(uid) = Uid::new(record.uid) else { continue };
            let map = self
                .hot
                .cache_map(&self.store, record.is_archived(), header.generation)?;
            let cached = map
                .as_deref()
                .and_then(|map| CacheView::parse(map, record.cache_offset).ok())
                .filter(|cached| cached.crc() == record.cache_crc);
            found.push(ExpungedMessage {
                uid,
                size: record.size,
                sent_date: record.sentdate,
                internal_date: record.internaldate,
                expunged: record.last_updated,
                cache: cached.map(|cached| cached.bytes().to_vec()),
            });
        }
        Ok(found)
    }

    /// Brings expunged messages back, under new UIDs; tells the old and the new ones. `change` may change the flags that
    /// they get.
    ///
    /// A crash in between leaves a message both visible and to be brought back.
    ///
    /// # Errors
    /// The user is not the system itself, a file is gone, the quota has no room, or the system failed.
    pub fn unexpunge(
        &mut self,
        uids: &UidSet,
        change: &dyn Fn(&mut FlagNames),
    ) -> Result<Vec<(Uid, Uid)>, MailboxError> {
        self.refresh_entry()?;
        self.require_system()?;
        let mut restored = Vec::new();
        loop {
            let some = self.restore_some(uids, change)?;
            if some.is_empty() {
                return Ok(restored);
            }
            restored.extend(some);
        }
    }

    /// Brings back as many messages as may be in memory at once; those that are back are not found again.
    fn restore_some(
        &mut self,
        uids: &UidSet,
        change: &dyn Fn(&mut FlagNames),
    ) -> Result<Vec<(Uid, Uid)>, MailboxError> {
        let mut wanted = Vec::new();
        let mut messages = Vec::new();
        let mut octets = 0;
        {
            let locks = self.lock(Mode::Exclusive)?;
            let write = IndexWrite::begin(&self.store, &self.hot, locks)?;
            for number in 0..write.records() {
                let Some(record) = write.record(number)? else {
                    break;
                };
                let Some(uid) = Uid::new(record.uid).filter(|&uid| uids.contains(uid)) else {
                    continue;
                };
                if !record.is_expunged() || record.is_unlinked() {
                    continue;
                }
                let mut flags = FlagNames {
                    system: record.system_flags(),
                    keywords: Vec::new(),
                };
                let names = &write.names().header.keywords;
                let slots = record.keywords.slots();
                flags
                    .keywords
                    .extend(slots.filter_map(|slot| names.get(slot).cloned().flatten()));
                change(&mut flags);
                let path = self.hot.paths.message(record.uid, record.is_archived());
                let bytes = self.store.disk().read(&path)?;
                octets += bytes.len();
                wanted.push(uid);
                messages.push(
                    NewMessage::from_bytes(bytes)
                        .flags(flags)
                        .internal_date(record.internaldate.into()),
                );
                if octets >= AT_ONCE {
                    break;
                }
            }
        }
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let appended = self.append(messages)?;
        self.unlink_expunged(&wanted.iter().copied().collect())?;
        Ok(wanted.into_iter().zip(appended.uids).collect())
    }

    /// Has the files of expunged messages removed when the mailbox is closed.
    fn unlink_expunged(&mut self, uids: &UidSet) -> Result<(), MailboxError> {
        let locks = self.lock(Mode::Exclusive)?;
        let mut write = IndexWrite::begin(&self.store, &self.hot, locks)?;
        for number in 0..write.records() {
            let Some(mut record) = write.record(number)? else {
                break;
            };
            let wanted = Uid::new(record.uid).is_some_and(|uid| uids.contains(uid));
            if wanted && record.is_expunged() && !record.is_unlinked() {
                let old = record.clone();
                record.flags |= Record::UNLINKED | Record::NEEDS_CLEANUP;
                (record.modseq, record.last_updated) = (write.next_modseq(), write.now());
                write.replace_counted(number, old, record);
            }
        }
        write.header.options |= options::NEEDS_UNLINK;
        write.commit(&self.entry.name, &self.id)
    }

    pub(super) fn require_system(&self) -> Result<(), MailboxError> {
        match self.auth.is_system() {
            true => Ok(()),
            false => Err(MailboxError::PermissionDenied),
        }
    }
}

/// The keywords that visible messages have.
fn used_slots(write: &IndexWrite) -> KeywordBits {
    let mut used = KeywordBits::default();
    for number in 0..write.records() {
        let Some(view) = write.view(number) else { break };
        if !view.is_expunged() {
            used = used.with(view.keywords());
        }
    }
    used
}

/// Takes keywords out of the table that no visible message has.
fn drop_unused_keywords(write: &mut IndexWrite, used: KeywordBits) -> Vec<(usize, String)> {
    let mut header = write.names().header.clone();
    let mut dropped = Vec::new();
    for (slot, name) in header.keywords.iter_mut().enumerate() {
        if !used.contains(slot)
            && let Some(keyword) = name.take()
        {
            dropped.push((slot, keyword.as_str().to_owned()));
        }
    }
    if !dropped.is_empty() {
        while header.keywords.last() == Some(&None) {
            header.keywords.pop();
        }
        write.set_names(header);
    }
    dropped
}

/// Octets of messages that are brought back together.
const AT_ONCE: usize = 32 << 20;
