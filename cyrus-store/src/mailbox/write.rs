//! Changing a mailbox under the exclusive index lock: records in place, keywords, and the header that counts them.

mod conversing;

use std::ops::Range;
use std::ops::RangeInclusive;
use std::sync::Arc;

use conversing::UserChange;

use super::read::header_of;
use crate::error::MailboxError;
use crate::flags::{FlagNames, Keyword, KeywordBits};
use crate::format::crc32;
use crate::format::header::MailboxHeader;
use crate::format::index::{IndexHeader, Record, RecordView};
use crate::format::quota::Usage;
use crate::hot::{Hot, MailboxLocks, Names};
use crate::ident::MailboxId;
use crate::lock::Mapping;
use crate::name::MailboxName;
use crate::store::{Store, now};
use crate::sync_log::News;
use crate::sys::{File, Open};
use crate::uid::{ModSeq, Uid, UidSet};

/// A mailbox being changed: the new header, and the new bytes of records, not yet written.
#[derive(Debug)]
pub(crate) struct IndexWrite {
    store: Store,
    hot: Arc<Hot>,
    mapping: Mapping,
    locks: MailboxLocks,
    before: IndexHeader,
    /// The header as it will be.
    pub(crate) header: IndexHeader,
    names: Arc<Names>,
    names_changed: bool,
    /// Whether the new header file is there, beside the old one.
    names_written: bool,
    /// Whether the file may have the new header.
    header_written: bool,
    runs: Vec<Run>,
    /// The numbers of the records that were written.
    written: Vec<Range<u32>>,
    now: u32,
    /// What the change means to the conversations of the mailbox's owner.
    user: Option<UserChange>,
}

/// Neighbouring records that are written at once.
#[derive(Debug)]
struct Run {
    offset: u64,
    bytes: Vec<u8>,
}

/// A walk over records during which they may be changed; see [`IndexWrite::visible_in`].
#[derive(Debug)]
pub(super) struct VisibleIn<R> {
    ranges: R,
    /// The end of the range in hand, and the record to go on with.
    end: Uid,
    number: u32,
}

impl<R: Iterator<Item = RangeInclusive<Uid>>> VisibleIn<R> {
    /// The next message: number of its record, UID, and record, checked.
    pub(super) fn next(&mut self, write: &IndexWrite) -> Result<Option<(u32, Uid, Record)>, MailboxError> {
        loop {
            let Some(view) = write
                .view(self.number)
                .filter(|view| view.uid() <= self.end.get())
            else {
                let Some(range) = self.ranges.next() else {
                    return Ok(None);
                };
                self.end = *range.end();
                self.number = write.find(range.start().get());
                continue;
            };
            let number = self.number;
            self.number += 1;
            if view.is_expunged() {
                continue;
            }
            if let Some(record) = write.record(number)?
                && let Some(uid) = Uid::new(record.uid)
            {
                return Ok(Some((number, uid, record)));
            }
        }
    }
}

/// What watchers and caches have to be told of a commit.
#[derive(Debug)]
#[must_use = "a change that is not published is not seen by idle sessions"]
pub(crate) struct Publication {
    pub(crate) modseq: ModSeq,
}

impl IndexWrite {
    /// Begins a change of the locked mailbox.
    pub(crate) fn begin(store: &Store, hot: &Arc<Hot>, locks: MailboxLocks) -> Result<Self, MailboxError> {
        let mut mapping = hot.borrow_mapping();
        let file = mapping.refresh(&locks.index)?;
        let header = header_of(hot, file)?;
        if !header.layout.is_writable() {
            let (path, version) = (hot.paths.index.clone(), header.layout.minor);
            return Err(MailboxError::UnsupportedVersion {
                path,
                version,
                verb: "written",
            });
        }
        header
            .records(file)
            .map_err(|fault| MailboxError::damaged(&hot.paths.index, fault))?;
        let names = hot.names(store, &header)?;
        let user = UserChange::begin(store, &locks, &header, &names)?;
        Ok(Self {
            user,
            store: store.clone(),
            hot: hot.clone(),
            mapping,
            locks,
            before: header.clone(),
            header,
            names,
            names_changed: false,
            names_written: false,
            header_written: false,
            runs: Vec::new(),
            written: Vec::new(),
            now: now(),
        })
    }

    /// The moment of the change, Unix seconds.
    pub(crate) fn now(&self) -> u32 {
        self.now
    }

    /// The keyword table, with the keywords added so far.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// How many records there were when the change began.
    pub(crate) fn records(&self) -> u32 {
        self.before.num_records
    }

    /// The number of the first record whose UID is not below `uid`.
    pub(crate) fn find(&self, uid: u32) -> u32 {
        self.before
            .records(self.file())
            .map_or(0, |records| records.find(uid))
    }

    /// A record as it was when the change began.
    pub(crate) fn view(&self, number: u32) -> Option<RecordView<'_>> {
        self.before.records(self.file()).ok()?.get(number)
    }

    /// A record as it was when the change began, checked.
    pub(crate) fn record(&self, number: u32) -> Result<Option<Record>, MailboxError> {
        let Some(view) = self.view(number) else {
            return Ok(None);
        };
        view.record()
            .map(Some)
            .map_err(|fault| self.hot.damaged_record(&self.before, number, fault))
    }

    /// A walk over the visible messages of a set, as they were when the change began.
    pub(super) fn visible_in<'s>(
        &self,
        uids: &'s UidSet,
    ) -> VisibleIn<impl Iterator<Item = RangeInclusive<Uid>> + 's> {
        VisibleIn {
            ranges: uids.ranges(),
            end: Uid::MIN,
            number: u32::MAX,
        }
    }

    /// The next modification sequence of the mailbox.
    pub(crate) fn next_modseq(&mut self) -> u64 {
        let highest = self.header.highestmodseq;
        let highest = self
            .user
            .as_ref()
            .map_or(highest, |user| highest.max(user.modseq()));
        self.header.highestmodseq = highest.saturating_add(1);
        self.header.highestmodseq
    }

    /// Replaces a record, which gets a modification sequence of its own, and counts the difference. Records are
    /// replaced in ascending order.
    pub(crate) fn change(&mut self, number: u32, old: &Record, mut new: Record) {
        new.modseq = self.next_modseq();
        new.last_updated = self.now;
        self.header.count_change(old, &new, &self.names.crcs);
        self.replace(number, &new);
        if let Some(user) = &mut self.user {
            user.note(old.clone(), new);
        }
    }

    /// Replaces a record of an expunged message: no counts and no modification sequence of the mailbox, but the owner's
    /// conversations lose a message that is unlinked.
    pub(crate) fn replace_counted(&mut self, number: u32, old: Record, new: Record) {
        self.replace(number, &new);
        if let Some(user) = &mut self.user {
            user.note(old, new);
        }
    }

    /// Replaces a record silently: no counts, no modification sequence.
    pub(crate) fn replace(&mut self, number: u32, new: &Record) {
        match self.written.last_mut() {
            Some(range) if range.end == number => range.end += 1,
            _ => self.written.push(number..number + 1),
        }
        let offset = self.before.offset_of(number);
        let size = self.before.layout.record_size;
        let file = self.mapping.held(&self.locks.index);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let Some(old) = start.checked_add(size).and_then(|end| file.get(start..end)) else {
            return;
        };
        let run = match self.runs.last_mut() {
            Some(run) if offset.saturating_sub(run.end()) <= MAX_GAP * size as u64 => {
                // What lies between is written as it was: one write is quicker than two.
                let from = usize::try_from(run.end()).unwrap_or(usize::MAX);
                run.bytes
                    .extend_from_slice(file.get(from..start).unwrap_or_default());
                run
            }
            _ => {
                self.runs.push(Run {
                    offset,
                    bytes: Vec::with_capacity(size),
                });
                let Some(run) = self.runs.last_mut() else { return };
                run
            }
        };
        let at = run.bytes.len();
        run.bytes.extend_from_slice(old);
        if let Some(bytes) = run.bytes.get_mut(at..) {
            new.write(self.header.layout, bytes);
        }
    }

    /// Counts a new record.
    pub(crate) fn count_in(&mut self, record: &Record) {
        self.header.count_in(record, &self.names.crcs);
    }

    /// Puts the bytes of new records behind the old ones.
    pub(crate) fn add_records(&mut self, bytes: Vec<u8>) {
        self.written.push(self.before.num_records..u32::MAX);
        self.runs.push(Run {
            offset: self.before.file_size(),
            bytes,
        });
    }

    /// The bits of these flags in the mailbox's table, to which unknown keywords are added.
    pub(crate) fn keyword_bits(&mut self, flags: &FlagNames) -> Result<KeywordBits, MailboxError> {
        let mut bits = KeywordBits::default();
        for keyword in &flags.keywords {
            bits.insert(self.slot(keyword)?);
        }
        Ok(bits)
    }

    /// The bits of those keywords that the mailbox knows.
    pub(crate) fn known_keyword_bits(&self, flags: &FlagNames) -> KeywordBits {
        let mut bits = KeywordBits::default();
        flags
            .keywords
            .iter()
            .filter_map(|keyword| self.names.header.slot_of(keyword))
            .for_each(|slot| bits.insert(slot));
        bits
    }

    /// Replaces the content of the header file, for changes of name, rights or quota root.
    pub(crate) fn set_names(&mut self, header: MailboxHeader) {
        self.names = Arc::new(Names::new(header));
        (self.names_changed, self.names_written) = (true, false);
    }

    fn slot(&mut self, keyword: &Keyword) -> Result<usize, MailboxError> {
        if let Some(slot) = self.names.header.slot_of(keyword) {
            return Ok(slot);
        }
        let mut header = self.names.header.clone();
        let free = header
            .keywords
            .iter()
            .position(Option::is_none)
            .unwrap_or(header.keywords.len());
        if free >= self.store.options().max_keywords.min(KeywordBits::SLOTS) {
            return Err(MailboxError::TooManyKeywords);
        }
        match header.keywords.get_mut(free) {
            Some(slot) => *slot = Some(keyword.clone()),
            None => header.keywords.push(Some(keyword.clone())),
        }
        self.names = Arc::new(Names::new(header));
        (self.names_changed, self.names_written) = (true, false);
        Ok(free)
    }

    /// What the change so far adds to the usage of the quota root.
    pub(crate) fn usage(&self) -> Usage {
        let difference = |new: u64, old: u64| {
            i64::try_from(new)
                .unwrap_or(i64::MAX)
                .saturating_sub(i64::try_from(old).unwrap_or(i64::MAX))
        };
        Usage([
            difference(self.header.quota_mailbox_used, self.before.quota_mailbox_used),
            difference(self.header.exists.into(), self.before.exists.into()),
            difference(
                self.header.quota_annot_used.into(),
                self.before.quota_annot_used.into(),
            ),
            0,
        ])
    }

    /// Whether anything is to be written.
    pub(crate) fn is_changed(&self) -> bool {
        !self.runs.is_empty() || self.names_changed || self.header != self.before
    }

    /// Writes the new header file beside the old one, if it changes. Durable after a sync of the file.
    pub(crate) fn write_names(&mut self) -> Result<Option<File>, MailboxError> {
        if !self.names_changed || self.names_written {
            return Ok(None);
        }
        let bytes = self.names.header.to_bytes();
        let path = new_path(&self.hot.paths.header);
        let file = self.store.disk().open(&path, Open::replace())?;
        if let Err(error) = file.write_at(&bytes, 0) {
            let _ = self.store.disk().unlink_if_exists(&path);
            return Err(error.into());
        }
        self.header.header_file_crc = crc32(&bytes);
        self.names_written = true;
        Ok(Some(file))
    }

    /// Does all that needs room on the disk ahead of [`IndexWrite::commit`], so that what comes in between is not done in vain.
    pub(crate) fn make_room(&mut self) -> Result<(), MailboxError> {
        match self.write_names()? {
            Some(file) => Ok(file.sync()?),
            None => Ok(()),
        }
    }

    /// Puts the new and synced header file in the place of the old one.
    pub(crate) fn publish_names(&mut self) -> Result<(), MailboxError> {
        if self.names_changed {
            let path = &self.hot.paths.header;
            self.store.disk().rename(&new_path(path), path)?;
            (self.names_changed, self.names_written) = (false, false);
        }
        Ok(())
    }

    /// Writes the records; they do not count before the header does.
    pub(crate) fn write_records(&mut self) -> Result<(), MailboxError> {
        for run in std::mem::take(&mut self.runs) {
            self.locks.index.write_at(&run.bytes, run.offset)?;
        }
        Ok(())
    }

    /// Writes the index header: the moment from which the change counts, once it is synced.
    pub(crate) fn write_header(&mut self) -> Result<(), MailboxError> {
        self.header_written = true;
        self.locks.index.write_at(&self.header.to_bytes(), 0)?;
        Ok(())
    }

    /// Writes the index header as it was when the change began, if it may have been written since.
    pub(crate) fn restore_header(&mut self) -> Result<(), MailboxError> {
        if !self.header_written {
            return Ok(());
        }
        let mut before = self.before.clone();
        if !self.names_changed {
            // The header file may be a new one, which does no harm.
            before.header_file_crc = self.header.header_file_crc;
        }
        self.locks.index.write_at(&before.to_bytes(), 0)?;
        self.index_file().sync_data()?;
        self.header_written = false;
        Ok(())
    }

    /// Puts a whole new index, written and synced, in the place of the old one.
    pub(crate) fn replace_index(&mut self, new: File) -> Result<(), MailboxError> {
        self.locks.index.replace(&**self.store.disk(), new)?;
        Ok(())
    }

    /// The index file, to be synced.
    pub(crate) fn index_file(&self) -> &File {
        self.locks.index.file()
    }

    /// Ends the change: what this process knows of the mailbox is brought up to date, and the locks are released.
    pub(crate) fn finish(mut self) -> Publication {
        let modseq = ModSeq(self.header.highestmodseq);
        if let Ok(file) = self.mapping.refresh(&self.locks.index)
            && let Ok(records) = self.header.records(file)
        {
            // As read back: what the file's version does not hold is zero.
            if let Ok(header) = IndexHeader::parse(file) {
                self.hot.wrote(&self.before, &header, records, &self.written);
            }
        }
        Publication { modseq }
    }

    /// Commits a change of records in place: quota, header file, records, header, one sync of the index.
    ///
    /// The records of one change are not replaced all at once: after a crash some may be new and some old. Each has a
    /// CRC, so that a torn one is noticed.
    pub(crate) fn commit(mut self, name: &MailboxName, id: &MailboxId) -> Result<(), MailboxError> {
        if !self.is_changed() {
            return Ok(());
        }
        let usage = self.settle(name, id)?;
        let root = self.names.header.quota_root.clone().filter(|_| !usage.is_zero());
        let quota_modseq = self.raise_counters(root.is_some())?;
        // Usage is raised first and lowered last: a crash in between leaves it too high, never too low.
        let raised = Usage(usage.0.map(|more| more.max(0)));
        let lowered = Usage(usage.0.map(|more| more.min(0)));
        let store = self.store.clone();
        if let Some(root) = &root
            && !raised.is_zero()
        {
            store.charge_quota_at(root, raised, quota_modseq)?;
        }
        let before = self.runs_before();
        if let Err(error) = self.put_in_place() {
            self.take_back(&before, name);
            if let Some(root) = &root
                && !raised.is_zero()
                && let Err(error) = store.charge_quota_at(root, raised.negated(), quota_modseq)
            {
                store.report(
                    &format!("quota root {root} counts too much; run quota -f"),
                    &error,
                );
            }
            return Err(error);
        }
        self.commit_conversations();
        if let Some(root) = root
            && !lowered.is_zero()
            && let Err(error) = store.charge_quota_at(&root, lowered, quota_modseq)
        {
            store.report(
                &format!("quota root {root} was not charged for {name}; run quota -f"),
                &error,
            );
        }
        let publication = self.finish();
        store.announce(name, id, publication);
        Ok(())
    }

    /// Writes the header file, the records and the header, durably.
    fn put_in_place(&mut self) -> Result<(), MailboxError> {
        if let Some(file) = self.write_names()? {
            file.sync()?;
        }
        self.publish_names()?;
        self.write_records()?;
        self.write_header()?;
        Ok(self.index_file().sync_data()?)
    }

    /// What the file has where records are to be written.
    fn runs_before(&self) -> Vec<Run> {
        let file = self.file();
        let old = |run: &Run| {
            let start = usize::try_from(run.offset).ok()?;
            let bytes = file.get(start..start.checked_add(run.bytes.len())?)?;
            Some(Run {
                offset: run.offset,
                bytes: bytes.to_vec(),
            })
        };
        self.runs.iter().filter_map(old).collect()
    }

    /// Puts back what was written over by a change that failed.
    fn take_back(&mut self, before: &[Run], name: &MailboxName) {
        let restored = before
            .iter()
            .try_for_each(|run| self.locks.index.write_at(&run.bytes, run.offset))
            .map_err(MailboxError::from)
            .and_then(|()| self.restore_header());
        if let Err(error) = restored {
            let what = format!("{name}: a change that failed could not be taken back; run reconstruct");
            self.store.report(&what, &error);
        }
    }

    fn file(&self) -> &[u8] {
        self.mapping.held(&self.locks.index)
    }
}

impl Run {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

impl Drop for IndexWrite {
    fn drop(&mut self) {
        if self.names_written {
            // The change did not come to its end.
            let path = new_path(&self.hot.paths.header);
            let _ = self.store.disk().unlink_if_exists(&path);
        }
        self.hot.return_mapping(std::mem::take(&mut self.mapping));
    }
}

impl Store {
    /// Tells everybody of a committed change: the status cache, which would be believed otherwise, and the watchers.
    pub(crate) fn announce(&self, name: &MailboxName, id: &MailboxId, publication: Publication) {
        self.forget_status([name.as_str()]);
        self.publish(name, id, publication.modseq, News::Changed);
    }
}

/// The name under which a new version of a file is written.
pub(crate) fn new_path(path: &std::path::Path) -> std::path::PathBuf {
    let mut new = path.as_os_str().to_owned();
    new.push(".NEW");
    new.into()
}

/// Unchanged records between two changed ones that are written along.
const MAX_GAP: u64 = 8;
