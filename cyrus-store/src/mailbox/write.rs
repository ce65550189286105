//! Changing a mailbox under the exclusive index lock: records in place, keywords, and the header that counts them.

use std::sync::Arc;

use super::CachedRecord;
use super::read::header_of;
use crate::conversations::{Conversations, CounterKind, Facts, Place, RaiseCounters};
use crate::error::MailboxError;
use crate::flags::{FlagNames, Keyword, KeywordBits, SystemFlags};
use crate::format::crc32;
use crate::format::header::MailboxHeader;
use crate::format::index::{IndexHeader, Record, RecordView};
use crate::format::mboxentry::{MailboxKind, MailboxType};
use crate::format::quota::Usage;
use crate::hot::{Hot, MailboxLocks, Names};
use crate::ident::MailboxId;
use crate::lock::Mapping;
use crate::name::MailboxName;
use crate::store::{Store, now};
use crate::sys::{File, Open};
use crate::uid::ModSeq;

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
    runs: Vec<Run>,
    now: u32,
    /// What the change means to the conversations of the mailbox's owner.
    user: Option<UserChange>,
}

/// A user whose conversations and counters follow the change.
#[derive(Debug)]
struct UserChange {
    owner: Arc<str>,
    kind: MailboxKind,
    /// All that his mailboxes have been given.
    modseq: u64,
    /// What the counters are known to be raised to.
    raised: u64,
    state: Option<Conversations>,
    /// Records before and after the change, not counted yet.
    pending: Vec<(Option<Record>, Option<Record>)>,
}

/// Neighbouring records that are written at once.
#[derive(Debug)]
struct Run {
    offset: u64,
    bytes: Vec<u8>,
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
        let user = match &locks.owner {
            Some(owner) if store.has_conversations(owner)? && header.layout.has_conversations() => {
                Some(UserChange {
                    owner: owner.clone(),
                    kind: MailboxType::parse(&names.header.mbtype).unwrap_or_default().kind,
                    modseq: store.user_modseq(owner)?,
                    raised: 0,
                    state: None,
                    pending: Vec::new(),
                })
            }
            _ => None,
        };
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
            runs: Vec::new(),
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

    /// The next modification sequence of the mailbox.
    pub(crate) fn next_modseq(&mut self) -> u64 {
        let highest = self.header.highestmodseq;
        let highest = self
            .user
            .as_ref()
            .map_or(highest, |user| highest.max(user.modseq));
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
            user.pending.push((Some(old.clone()), Some(new)));
        }
    }

    /// Replaces a record silently: no counts, no modification sequence.
    pub(crate) fn replace(&mut self, number: u32, new: &Record) {
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
        self.names_changed = true;
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
        self.names_changed = true;
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
        if !self.names_changed {
            return Ok(None);
        }
        let bytes = self.names.header.to_bytes();
        let file = self
            .store
            .disk()
            .open(&new_path(&self.hot.paths.header), Open::replace())?;
        file.write_at(&bytes, 0)?;
        self.header.header_file_crc = crc32(&bytes);
        Ok(Some(file))
    }

    /// Puts the new and synced header file in the place of the old one.
    pub(crate) fn publish_names(&mut self) -> Result<(), MailboxError> {
        if self.names_changed {
            let path = &self.hot.paths.header;
            self.store.disk().rename(&new_path(path), path)?;
            self.names_changed = false;
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
        self.locks.index.write_at(&self.header.to_bytes(), 0)?;
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
                self.hot.wrote(&self.before, &header, records);
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
        if let Some(file) = self.write_names()? {
            file.sync()?;
        }
        self.publish_names()?;
        let root = self.names.header.quota_root.clone();
        let usage = self.settle(name, id)?;
        let charged = root.filter(|_| !usage.is_zero());
        let quota_modseq = self.raise_counters(charged.is_some())?;
        self.write_records()?;
        self.write_header()?;
        self.index_file().sync_data()?;
        self.commit_conversations();
        // Usage only shrinks here. It is lowered last: a crash in between leaves it too high, never too low.
        let store = self.store.clone();
        if let Some(root) = charged
            && let Err(error) = store.charge_quota_at(&root, usage, quota_modseq)
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

    fn file(&self) -> &[u8] {
        self.mapping.held(&self.locks.index)
    }
}

/// Conversations.
impl IndexWrite {
    /// The user whose conversations follow this change.
    pub(crate) fn conversing_owner(&self) -> Option<&Arc<str>> {
        self.user.as_ref().map(|user| &user.owner)
    }

    /// Which of the user's counters count what this mailbox is given.
    pub(crate) fn counter_kind(&self) -> CounterKind {
        CounterKind::Messages(self.user.as_ref().map_or(MailboxKind::Email, |user| user.kind))
    }

    /// Lets modification sequences begin above this one.
    pub(crate) fn raise_modseq(&mut self, modseq: u64) {
        if let Some(user) = &mut self.user {
            user.modseq = user.modseq.max(modseq);
        }
    }

    /// Opens the conversations of the user now, because his files are about to go elsewhere.
    pub(crate) fn open_conversations(&mut self) -> Result<Option<&mut Conversations>, MailboxError> {
        let Some(user) = &mut self.user else {
            return Ok(None);
        };
        if user.state.is_none() {
            user.state = self.store.conversations(Some(&user.owner))?;
        }
        Ok(user.state.as_mut())
    }

    /// Whether a record has a flag, by its name.
    pub(crate) fn has_flag(&self, record: &Record, flag: &str) -> bool {
        if flag.starts_with('\\') {
            let known = SystemFlags::NAMES
                .iter()
                .find(|(_, name)| name.eq_ignore_ascii_case(flag));
            return known.is_some_and(|(known, _)| record.system_flags().contains(*known));
        }
        let keywords = self.names.header.keywords.iter();
        let slot = keywords.enumerate().find(|(_, known)| {
            known
                .as_ref()
                .is_some_and(|known| known.as_str().eq_ignore_ascii_case(flag))
        });
        slot.is_some_and(|(slot, _)| record.keywords.contains(slot))
    }

    /// What the cache says of a message; nothing if neither cache nor file can be read.
    pub(crate) fn cached(&self, record: &Record) -> Option<CachedRecord> {
        CachedRecord::find(&self.store, &self.hot, self.before.generation, record)
    }

    /// Takes all messages out of the user's conversations, because the mailbox goes away.
    pub(crate) fn leave_conversations(&mut self, place: &Place<'_>) -> Result<(), MailboxError> {
        self.open_conversations()?;
        let Some(mut user) = self.user.take() else {
            return Ok(());
        };
        let left = match &mut user.state {
            Some(state) => self.each_record(&mut |record, facts| {
                state.change(place, Some(record), None, facts, &|record, flag| {
                    self.has_flag(record, flag)
                })
            }),
            None => Ok(()),
        };
        if let Some(state) = &mut user.state {
            state.drop_folder(place);
        }
        self.user = Some(user);
        left
    }

    /// Puts all messages into the conversations of a user whose mailbox this becomes.
    pub(crate) fn join_conversations(
        &self,
        conversations: &mut Conversations,
        place: &Place<'_>,
    ) -> Result<(), MailboxError> {
        self.each_record(&mut |record, facts| {
            conversations.change(place, None, Some(record), facts, &|record, flag| {
                self.has_flag(record, flag)
            })
        })?;
        conversations.touch(place, self.header.highestmodseq)
    }

    /// Calls `each` with every record that has a conversation.
    pub(crate) fn each_record(
        &self,
        each: &mut dyn FnMut(&Record, Option<&Facts<'_>>) -> Result<(), MailboxError>,
    ) -> Result<(), MailboxError> {
        for number in 0..self.records() {
            let Some(record) = self.record(number)? else { break };
            if record.is_unlinked() || record.cid == 0 {
                continue;
            }
            let cached = self.cached(&record);
            let facts = cached.as_ref().map(|cached| Facts::new(cached.record()));
            each(&record, facts.as_ref())?;
        }
        Ok(())
    }

    /// Counts the changed records in the conversations of the user, in memory, and returns what the quota root has to be
    /// charged.
    pub(crate) fn settle(&mut self, name: &MailboxName, id: &MailboxId) -> Result<Usage, MailboxError> {
        let usage = self.usage();
        self.open_conversations()?;
        let Some(mut user) = self.user.take() else {
            return Ok(usage);
        };
        let pending = std::mem::take(&mut user.pending);
        let settled = match &mut user.state {
            Some(state) => self.settle_in(state, &Place { id, name }, &pending, usage),
            None => Ok(usage),
        };
        self.user = Some(user);
        settled
    }

    fn settle_in(
        &self,
        state: &mut Conversations,
        place: &Place<'_>,
        pending: &[(Option<Record>, Option<Record>)],
        usage: Usage,
    ) -> Result<Usage, MailboxError> {
        for (old, new) in pending {
            let Some(record) = new.as_ref().or(old.as_ref()) else {
                continue;
            };
            let cached = self.cached(record);
            let facts = cached.as_ref().map(|cached| Facts::new(cached.record()));
            state.change(
                place,
                old.as_ref(),
                new.as_ref(),
                facts.as_ref(),
                &|record, flag| self.has_flag(record, flag),
            )?;
        }
        if self.header.highestmodseq > self.before.highestmodseq {
            state.touch(place, self.header.highestmodseq)?;
        }
        state.usage_instead(self.names.header.quota_root.as_deref(), usage)
    }

    /// Raises the counters of the user, durably, to what the mailbox has given; if its quota root is to be charged, that
    /// gets the modification sequence that is returned.
    pub(crate) fn raise_counters(&mut self, next_quota: bool) -> Result<Option<u64>, MailboxError> {
        let kind = self.counter_kind();
        let highest = self.header.highestmodseq;
        let Some(user) = &mut self.user else {
            return Ok(None);
        };
        let is_new = highest > self.before.highestmodseq && highest > user.raised;
        if !is_new && !next_quota {
            return Ok(None);
        }
        let how = RaiseCounters {
            next_quota,
            messages: is_new.then_some((kind, highest)),
        };
        let staged = self.store.stage_counters(&user.owner, how)?;
        staged.file().sync_data()?;
        let quota = staged.quota;
        staged.publish(&self.store)?;
        user.raised = highest;
        Ok(next_quota.then_some(quota))
    }

    /// Writes the conversations of the user, once the index is on stable storage.
    pub(crate) fn commit_conversations(&mut self) {
        let Some(user) = &mut self.user else { return };
        if let Some(state) = user.state.take()
            && let Err(error) = state.commit()
        {
            let what = format!(
                "conversations of {0} are behind; run `ctl_conversationsdb -R {0}`",
                user.owner
            );
            self.store.report(&what, &error);
        }
    }
}

impl Run {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

impl Drop for IndexWrite {
    fn drop(&mut self) {
        self.hot.return_mapping(std::mem::take(&mut self.mapping));
    }
}

impl Store {
    /// Tells everybody of a committed change: the status cache, which would be believed otherwise, and the watchers.
    pub(crate) fn announce(&self, name: &MailboxName, id: &MailboxId, publication: Publication) {
        self.forget_status([name.as_str()]);
        self.publish(name, id, publication.modseq);
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
