//! Reading a mailbox: its counts, keywords, UIDs and messages, still while the locks are held.

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use cyrus_acl::Rights;

use super::{Mailbox, Message};
use crate::error::MailboxError;
use crate::flags::{Keyword, SystemFlags};
use crate::format::index::{IndexHeader, Records, options};
use crate::format::seen::SeenState;
use crate::hot::{Hot, MailboxLocks, Names, Newest};
use crate::lock::Mapping;
use crate::sys::{Map, Mode};
use crate::uid::{ModSeq, Uid, UidMap, UidValidity};

/// A mailbox at one moment, which lasts as long as this value: the namespace and index locks are held, shared.
///
/// Every record was checked before; what it says of a message is what was written.
#[derive(Debug)]
pub struct IndexRead<'m> {
    pub(super) mailbox: &'m Mailbox,
    pub(super) header: IndexHeader,
    names: Arc<Names>,
    uids: Arc<UidMap>,
    pub(super) newest: Arc<Newest>,
    mapping: Mapping,
    locks: MailboxLocks,
    seen: OnceLock<SeenState>,
    caches: [OnceLock<Option<Map>>; 2],
}

impl Mailbox {
    /// Reads the mailbox as it is now.
    ///
    /// Takes the shared namespace, mailbox and index locks and keeps them while the value lives.
    ///
    /// # Errors
    /// The user may not read, the mailbox is gone, or a file of it is damaged.
    pub fn read(&mut self) -> Result<IndexRead<'_>, MailboxError> {
        self.refresh_entry()?;
        self.require(Rights::READ)?;
        self.read_unchecked()
    }

    /// Reads the mailbox whatever the rights: for counts that other rights give access to.
    pub(crate) fn read_unchecked(&mut self) -> Result<IndexRead<'_>, MailboxError> {
        let locks = self.lock(Mode::Shared)?;
        IndexRead::new(self, locks)
    }

    /// The highest modification sequence as of now; cheaper than [`Mailbox::read`], for polling.
    ///
    /// # Errors
    /// As [`Mailbox::read`].
    pub fn peek_modseq(&mut self) -> Result<ModSeq, MailboxError> {
        self.refresh_entry()?;
        self.require(Rights::READ)?;
        let locks = self.lock(Mode::Shared)?;
        let mut mapping = self.hot.borrow_mapping();
        let header = header_of(&self.hot, mapping.refresh(&locks.index)?);
        self.hot.return_mapping(mapping);
        Ok(ModSeq(header?.highestmodseq))
    }
}

/// The header of a mapped index.
pub(super) fn header_of(hot: &Hot, file: &[u8]) -> Result<IndexHeader, MailboxError> {
    let header = IndexHeader::parse(file).map_err(|fault| MailboxError::damaged(&hot.paths.index, fault))?;
    if header.options & options::DELETED != 0 {
        return Err(MailboxError::Deleted);
    }
    Ok(header)
}

impl<'m> IndexRead<'m> {
    pub(super) fn new(mailbox: &'m Mailbox, locks: MailboxLocks) -> Result<Self, MailboxError> {
        let hot = &mailbox.hot;
        let mut mapping = hot.borrow_mapping();
        let file = mapping.refresh(&locks.index)?;
        let header = header_of(hot, file)?;
        let names = hot.names(&mailbox.store, &header)?;
        let records = header
            .records(file)
            .map_err(|fault| MailboxError::damaged(&hot.paths.index, fault))?;
        let (uids, newest) = hot.uids(&header, records)?;
        Ok(Self {
            mailbox,
            header,
            names,
            uids,
            newest,
            mapping,
            locks,
            seen: OnceLock::new(),
            caches: [OnceLock::new(), OnceLock::new()],
        })
    }

    /// The index header: counts, the next UID, modification sequences, options.
    pub fn header(&self) -> &IndexHeader {
        &self.header
    }

    /// How many messages there are.
    pub fn exists(&self) -> u32 {
        self.uids.len()
    }

    /// UIDVALIDITY.
    pub fn uidvalidity(&self) -> UidValidity {
        UidValidity(self.header.uidvalidity)
    }

    /// The UID that the next message will get, at least.
    pub fn uidnext(&self) -> u32 {
        self.header.last_uid.saturating_add(1)
    }

    /// The highest modification sequence.
    pub fn highest_modseq(&self) -> ModSeq {
        ModSeq(self.header.highestmodseq)
    }

    /// Keywords by slot; a freed slot is `None`. The bits of [`Flags`](crate::Flags) refer to it.
    pub fn keywords(&self) -> &[Option<Keyword>] {
        &self.names.header.keywords
    }

    /// The UIDs of all messages, by sequence number; shared with everybody who reads the same state.
    pub fn uids(&self) -> &Arc<UidMap> {
        &self.uids
    }

    /// Octets of all messages.
    pub fn size(&self) -> u64 {
        self.header.quota_mailbox_used
    }

    /// Octets of the messages with `\\Deleted`; nothing is scanned if there are none.
    pub fn deleted_size(&self) -> u64 {
        if self.header.deleted == 0 && self.header.layout.minor >= 14 {
            return 0;
        }
        let deleted = SystemFlags::DELETED.bits();
        let records = self.records();
        let marked = records
            .iter()
            .filter(|record| !record.is_expunged() && record.flags() & deleted != 0);
        marked.map(|record| u64::from(record.size())).sum()
    }

    /// Internal name of the quota root, as the mailbox has it on record.
    pub fn quota_root(&self) -> Option<&str> {
        self.names.header.quota_root.as_deref()
    }

    /// The sequence number of the first message that this user has not seen.
    ///
    /// # Errors
    /// His seen state cannot be read.
    pub fn first_unseen(&self) -> Result<Option<u32>, MailboxError> {
        if self.seen_in_index() {
            if self.header.unseen == 0 && self.header.layout.minor >= 14 {
                return Ok(None);
            }
            let seen = SystemFlags::SEEN.bits();
            let first = self
                .records()
                .iter()
                .filter(|r| !r.is_expunged())
                .position(|r| r.flags() & seen == 0);
            return Ok(first.and_then(|at| u32::try_from(at + 1).ok()));
        }
        let seen = &self.seen()?.seen;
        let first = self.uids.iter().position(|uid| !seen.contains(uid));
        Ok(first.and_then(|at| u32::try_from(at + 1).ok()))
    }

    /// How many messages this user has not seen.
    ///
    /// # Errors
    /// His seen state cannot be read.
    pub fn unseen(&self) -> Result<u32, MailboxError> {
        if self.seen_in_index() {
            if self.header.layout.minor >= 14 {
                return Ok(self.header.unseen);
            }
            let seen = SystemFlags::SEEN.bits();
            return Ok(self
                .records()
                .iter()
                .filter(|r| !r.is_expunged() && r.flags() & seen == 0)
                .count() as u32);
        }
        let seen = &self.seen()?.seen;
        let both: u32 = seen
            .ranges()
            .map(|range| {
                let before = range.start().get() - 1;
                let upto = self.uids.count_through(*range.end());
                upto - Uid::new(before).map_or(0, |uid| self.uids.count_through(uid))
            })
            .sum();
        Ok(self.uids.len() - both)
    }

    /// All messages, in the order of their UIDs.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.range(Uid::MIN..=Uid::MAX)
    }

    /// The messages with UIDs in this range.
    pub fn range(&self, range: RangeInclusive<Uid>) -> impl Iterator<Item = Message<'_>> {
        self.range_with_expunged(range)
            .filter(|message| !message.is_expunged())
    }

    /// The messages with UIDs in this range, with those that are expunged but still on record: a client that has not been told
    /// yet may ask for them (RFC 2180, section 4.1.1).
    pub fn range_with_expunged(&self, range: RangeInclusive<Uid>) -> impl Iterator<Item = Message<'_>> {
        let records = self.records();
        let first = records.find(range.start().get());
        let last = range.end().get();
        (first..)
            .zip(records.from(first))
            .take_while(move |(_, view)| view.uid() <= last)
            .filter_map(|(number, view)| Some(Message::new(self, number, Uid::new(view.uid())?, view)))
    }

    /// The message with this UID, if it is visible.
    pub fn get(&self, uid: Uid) -> Option<Message<'_>> {
        self.range(uid..=uid).next()
    }

    pub(super) fn records(&self) -> Records<'_> {
        let file = self.mapping.held(&self.locks.index);
        self.header
            .records(file)
            .expect("the size was checked when the index was mapped under this lock")
    }

    pub(super) fn seen_in_index(&self) -> bool {
        self.mailbox.seen_is_in_index(self.header.options) && self.header.layout.is_writable()
    }

    /// This user's state, where it is not in the index.
    pub(super) fn seen(&self) -> Result<&SeenState, MailboxError> {
        if let Some(seen) = self.seen.get() {
            return Ok(seen);
        }
        let state = self
            .mailbox
            .store
            .seen_state(self.mailbox.auth.userid(), &self.mailbox.id)?;
        Ok(self.seen.get_or_init(|| state))
    }

    /// Loads what the infallible accessors of messages need.
    ///
    /// # Errors
    /// The user's seen state cannot be read.
    pub fn load_seen(&self) -> Result<(), MailboxError> {
        if !self.seen_in_index() {
            self.seen()?;
        }
        Ok(())
    }

    /// Whether this user has seen a message, by its flag word; a seen state that cannot be read says no.
    pub(super) fn is_seen(&self, uid: Uid, flags: u32) -> bool {
        if self.seen_in_index() {
            return flags & SystemFlags::SEEN.bits() != 0;
        }
        match self.seen() {
            Ok(state) => state.seen.contains(uid),
            Err(_) => false,
        }
    }

    /// The cache file that holds a message's record.
    pub(super) fn cache(&self, archived: bool) -> Result<Option<&Map>, MailboxError> {
        let Some(slot) = self.caches.get(usize::from(archived)) else {
            return Ok(None);
        };
        if let Some(map) = slot.get() {
            return Ok(map.as_ref());
        }
        let map = self
            .mailbox
            .hot
            .cache_map(&self.mailbox.store, archived, self.header.generation)?;
        Ok(slot.get_or_init(|| map).as_ref())
    }

    /// Whether there is a cache file, be it of another generation.
    pub(super) fn cache_is_there(&self, archived: bool) -> Result<bool, MailboxError> {
        let paths = &self.mailbox.hot.paths;
        let path = if archived {
            &paths.archive_cache
        } else {
            &paths.cache
        };
        Ok(self.mailbox.store.disk().try_stat(path)?.is_some())
    }
}

impl Drop for IndexRead<'_> {
    fn drop(&mut self) {
        self.mailbox.hot.return_mapping(std::mem::take(&mut self.mapping));
    }
}
