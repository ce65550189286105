//! The steps of a batch, as types that only the step before can make.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::barrier::Sync;
use super::follow::follow;
use super::undo::Failed;
use super::{AppendRequest, Appends, Incoming, Outcome, Slot, Target, Waiting};
use crate::archiving::Candidate;
use crate::conversations::{Conversations, Facts, Place, RaiseCounters, StagedCounters};
use crate::error::MailboxError;
use crate::flags::SystemFlags;
use crate::format::index::{Record, options};
use crate::format::mboxentry::MailboxType;
use crate::format::quota::{Resource, Usage};
use crate::format::{Damage, Fault};
use crate::hot::{Hot, NameLocks};
use crate::lock::{Guard, Wait};
use crate::mailbox::{Annotation, CachedRecord, IndexWrite, write_annotations};
use crate::message::CacheRecord;
use crate::metrics::STORE;
use crate::quota::QuotaCharges;
use crate::staging::{Staged, create_over, link_over};
use crate::store::Store;
use crate::sync_log::News;
use crate::sys::{DiskError, File, Mode};
use crate::uid::{Uid, UidSet, UidValidity};

/// Locks that whoever appends has already: a thread must not ask for one twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// Exclusive namespace locks, by owner.
    pub(crate) namespaces: Vec<(Arc<str>, Arc<Guard>)>,
    /// A mailbox, and its shared lock.
    pub(crate) mailbox: Option<(Arc<Hot>, NameLocks)>,
}

/// Where a message comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// From outside.
    Staged(Staged),
    /// From another mailbox, whose shared lock the caller holds.
    Message {
        /// The original's file.
        path: PathBuf,
        /// The original's record.
        record: Record,
        /// The original's cache record.
        cache: CachedRecord,
    },
}

/// A mailbox of the batch, locked, with the messages that are to be put into it.
struct Locked {
    write: IndexWrite,
    target: Target,
    requests: Waiting,
}

/// The message files are in place.
pub(super) struct Linked {
    pub(super) write: IndexWrite,
    pub(super) target: Target,
    pub(super) appends: Vec<Accepted>,
    sync: Sync,
}

/// The cache records are written, and their places known.
struct Cached(Linked);

/// The index records are written behind the last that counts.
struct Recorded(Linked);

/// All that was written is on stable storage, and usage is raised.
struct Charged(Linked);

/// The index header is written: the messages exist, once it is synced.
struct Committed(Linked);

/// A request that has a place.
pub(super) struct Accepted {
    pub(super) slot: Arc<Slot>,
    pub(super) records: Vec<Record>,
    /// The message files, the one that could not be put in place among them.
    pub(super) placed: Vec<PathBuf>,
    /// What its quota root was charged.
    pub(super) usage: Usage,
    caches: Vec<Cache>,
    seen: UidSet,
    /// Rows of the annotations database.
    annotations: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A cache record to be written.
enum Cache {
    Staged(Staged),
    Copied(CachedRecord),
}

/// Message files that are open at once.
const MAX_OPEN: usize = 256;

/// Commits the requests of a batch, grouped by mailbox, mailboxes in the order of their names.
///
/// `held` is what the caller has locked.
pub(super) fn commit(store: &Store, groups: Vec<Waiting>, held: Held, wait: Wait) {
    let locked = lock(store, groups, held, wait);
    let mut charges = match open_quotas(store, &locked) {
        Ok(charges) => charges,
        Err(error) => {
            return fail(
                locked
                    .into_iter()
                    .flat_map(|locked| locked.requests)
                    .map(|(_, slot)| slot),
                error,
            );
        }
    };
    let mut recorded = Vec::new();
    let mut talks = Talks::new();
    for mailbox in locked {
        let talk = match talk_of(store, &mut talks, &mailbox) {
            Ok(talk) => talk,
            Err(error) => {
                fail(mailbox.requests.into_iter().map(|(_, slot)| slot), error);
                continue;
            }
        };
        let before = talk.as_ref().map(|talk| talk.savepoint());
        let mut talk = talk;
        let linked = mailbox.link(store, &mut charges, talk.as_deref_mut());
        if linked.appends.is_empty() {
            continue;
        }
        match linked.write_cache(store).and_then(Cached::write_records) {
            Ok(written) => recorded.push(written),
            Err(failed) => {
                if let (Some(talk), Some(before)) = (talk, before) {
                    talk.roll_back(&before);
                }
                failed.uncharge(&mut charges);
                failed.undo(store);
            }
        }
    }
    if recorded.is_empty() {
        return;
    }
    let done = first_barrier(store, recorded, &mut charges)
        .and_then(commit_all)
        .and_then(|committed| second_barrier(store, committed));
    match done {
        Ok(committed) => {
            drop(charges);
            commit_talks(store, talks);
            announce(store, committed);
        }
        Err(failed) => {
            charges.take_back(store);
            failed.undo(store);
        }
    }
}

/// The conversations of the users whose mailboxes are in a batch.
type Talks = BTreeMap<Arc<str>, Conversations>;

/// The conversations of a mailbox's owner, if there are such.
fn talk_of<'a>(
    store: &Store,
    talks: &'a mut Talks,
    mailbox: &Locked,
) -> Result<Option<&'a mut Conversations>, MailboxError> {
    let Some(owner) = mailbox.write.conversing_owner() else {
        return Ok(None);
    };
    if !talks.contains_key(owner)
        && let Some(talk) = store.conversations(Some(owner))?
    {
        talks.insert(owner.clone(), talk);
    }
    Ok(talks.get_mut(owner))
}

/// Writes the conversations of the batch. The messages are there already: what fails is for an administrator to mend.
fn commit_talks(store: &Store, talks: Talks) {
    for (owner, talk) in talks {
        let committed = talk
            .commit()
            .and_then(|splits| store.note_splits(&owner, &splits));
        if let Err(error) = committed {
            let what = format!("conversations of {owner} are behind; run `ctl_conversationsdb -R {owner}`");
            store.report(&what, &error);
        }
    }
}

/// Locks the mailboxes of the batch: the first as patiently as `wait` says, the others only if nobody holds them.
fn lock(store: &Store, groups: Vec<Waiting>, mut held: Held, wait: Wait) -> Vec<Locked> {
    let may_go_elsewhere = held.mailbox.is_none() && held.namespaces.is_empty();
    let mut locked: Vec<Locked> = Vec::new();
    for requests in groups {
        let Some(target) = requests.first().map(|(request, _)| request.target.clone()) else {
            continue;
        };
        let wait = if locked.is_empty() { wait } else { Wait::Never };
        let write = lock_one(store, &target, &mut held, wait)
            .map_err(|error| store.deleted_or_damaged(error, &target.id, &target.hot));
        match write {
            Ok(write) => locked.push(Locked {
                write,
                target,
                requests,
            }),
            Err(MailboxError::Locked) if wait == Wait::Never => {
                for (request, slot) in requests {
                    slot.fill(Outcome::Contended(request));
                }
            }
            Err(MailboxError::Deleted) if may_go_elsewhere => follow(store, requests),
            Err(error) => fail(requests.into_iter().map(|(_, slot)| slot), error),
        }
    }
    locked
}

fn lock_one(store: &Store, target: &Target, held: &mut Held, wait: Wait) -> Result<IndexWrite, MailboxError> {
    let hot = &target.hot;
    let namespace = match &target.owner {
        None => None,
        Some(owner) => match held.namespaces.iter().find(|(known, _)| known == owner) {
            Some((_, guard)) => Some(guard.clone()),
            None => {
                let path = store.options().namespace_lock_path(Some(owner));
                let guard = Arc::new(store.locks().lock_file(&path, Mode::Exclusive, wait)?);
                held.namespaces.push((owner.clone(), guard.clone()));
                Some(guard)
            }
        },
    };
    let names = match &held.mailbox {
        Some((mailbox, locks)) if mailbox.paths.lock == hot.paths.lock => locks.clone(),
        _ => hot.lock_mailbox(store, target.owner.clone(), namespace, Mode::Shared, wait)?,
    };
    let locks = hot.lock_index(names, Mode::Exclusive, wait)?;
    IndexWrite::begin(store, hot, locks)
}

/// Locks the quota roots of the mailboxes, in ascending order.
fn open_quotas(store: &Store, locked: &[Locked]) -> Result<QuotaCharges, MailboxError> {
    let roots: BTreeSet<&str> = locked
        .iter()
        .filter_map(|mailbox| mailbox.write.names().header.quota_root.as_deref())
        .collect();
    let mut charges = QuotaCharges::default();
    for root in roots {
        charges.open(store, root)?;
    }
    Ok(charges)
}

impl Locked {
    /// Puts the message files of every request that fits into the quota in place.
    fn link(self, store: &Store, charges: &mut QuotaCharges, mut talk: Option<&mut Conversations>) -> Linked {
        let Self {
            mut write,
            target,
            requests,
        } = self;
        let mut appends = Vec::new();
        let mut sync = Sync::default();
        let root = write.names().header.quota_root.clone();
        if let Some(talk) = &talk {
            write.raise_modseq(talk.modseq);
        }
        for (request, slot) in requests {
            let before = write.header.clone();
            let savepoint = talk.as_ref().map(|talk| talk.savepoint());
            let mut accepted = Accepted {
                slot,
                records: Vec::new(),
                placed: Vec::new(),
                usage: Usage::default(),
                caches: Vec::new(),
                seen: UidSet::new(),
                annotations: Vec::new(),
            };
            match accepted.link(
                store,
                &mut write,
                &target,
                request,
                root.as_deref(),
                charges,
                &mut sync,
                talk.as_deref_mut(),
            ) {
                Ok(()) => appends.push(accepted),
                Err(error) => {
                    write.header = before;
                    if let (Some(talk), Some(savepoint)) = (&mut talk, &savepoint) {
                        talk.roll_back(savepoint);
                    }
                    accepted.unlink(store);
                    accepted.slot.fill(Outcome::Done(Err(error)));
                }
            }
        }
        Linked {
            write,
            target,
            appends,
            sync,
        }
    }
}

/// Whether a mailbox may hold so many messages more.
fn check_count(store: &Store, write: &IndexWrite, target: &Target, more: i64) -> Result<(), MailboxError> {
    let most = &store.options().max_messages;
    if most.is_empty() {
        return Ok(());
    }
    let kind = MailboxType::parse(&write.names().header.mbtype)
        .unwrap_or_default()
        .kind;
    let exists = i64::from(write.header.exists);
    match most.get(&kind) {
        Some(&most) if exists.saturating_add(more) > i64::from(most) => Err(MailboxError::OverQuota {
            root: target.name.as_str().to_owned(),
            resource: Resource::Message,
            used: u64::from(write.header.exists),
            limit: u64::from(most),
        }),
        _ => Ok(()),
    }
}

impl Accepted {
    /// Puts the message files of a request in place, if the quota has room for them.
    #[allow(
        clippy::too_many_arguments,
        reason = "all that a batch has in hand at this step"
    )]
    fn link(
        &mut self,
        store: &Store,
        write: &mut IndexWrite,
        target: &Target,
        request: AppendRequest,
        root: Option<&str>,
        charges: &mut QuotaCharges,
        sync: &mut Sync,
        mut talk: Option<&mut Conversations>,
    ) -> Result<(), MailboxError> {
        let sizes = request
            .messages
            .iter()
            .map(|message| i64::from(message.source.size()));
        let annotations = request.messages.iter().flat_map(|message| &message.annotations);
        let octets = annotations.map(|annotation| i64::from(annotation.octets()));
        let count = i64::try_from(request.messages.len()).unwrap_or(i64::MAX);
        let usage = Usage([sizes.sum(), count, octets.sum(), 0]);
        if let Some(root) = root {
            charges.check(root, usage, request.policy)?;
        }
        check_count(store, write, target, count)?;
        let before = talk.as_mut().map(|talk| talk.quota()).transpose()?;
        let mut split_octets = 0;
        for message in request.messages {
            split_octets += self.link_message(store, write, target, message, sync, talk.as_deref_mut())?;
        }
        let place = Place {
            id: &target.id,
            name: &target.name,
        };
        let mut usage = usage;
        usage.0[2] += split_octets;
        if let (Some(talk), Some(before)) = (talk, before) {
            talk.touch(&place, write.header.highestmodseq)?;
            usage = talk.usage_since(before, root, usage)?;
        }
        if let Some(root) = root {
            charges.charge(root, usage);
            self.usage = usage;
        }
        Ok(())
    }

    /// Takes the message files away again: without records they are no messages, but nobody would remove them.
    pub(super) fn unlink(&self, store: &Store) {
        for path in &self.placed {
            let _ = store.disk().unlink_if_exists(path);
        }
    }

    /// Gives one message its UID, puts its file in place, and makes its record. Returns the octets of an annotation that
    /// it gets because its conversation was split.
    fn link_message(
        &mut self,
        store: &Store,
        write: &mut IndexWrite,
        target: &Target,
        mut message: Incoming,
        sync: &mut Sync,
        talk: Option<&mut Conversations>,
    ) -> Result<i64, MailboxError> {
        let keywords = write.keyword_bits(&message.flags)?;
        let number = write.header.last_uid.checked_add(1).filter(|&uid| uid < u32::MAX);
        let uid = number
            .and_then(Uid::new)
            .ok_or_else(|| MailboxError::Refused("Mailbox is out of UIDs".to_owned()))?;
        let paths = &target.hot.paths;
        let now = write.now();
        let candidate = Candidate {
            size: message.source.size(),
            internal_date: message.internal_date,
            flags: message.flags.system,
        };
        let archived = store.options().archiving.wants_new(candidate, now);
        let path = paths.message(uid.get(), archived);
        self.placed.push(path.clone());
        let disk = &**store.disk();
        let file = match &message.source {
            Source::Staged(staged) => Some(staged.place(disk, &paths.stage, &path)?),
            Source::Message { path: original, .. } => match link_over(disk, original, &path) {
                Ok(()) => {
                    let directory = if archived { &paths.archive } else { &paths.data };
                    sync.dirs.insert(directory.clone());
                    None
                }
                Err(error) if error.is_not_found() => {
                    return Err(match disk.try_stat(original)? {
                        None => MailboxError::damaged(original, Fault::new(0, Damage::Missing)),
                        Some(_) => error.into(),
                    });
                }
                Err(_) => Some(copy_file(store, original, &path)?),
            },
        };
        if let Some(file) = file {
            file.set_modified(UNIX_EPOCH + Duration::from_secs(u64::from(message.internal_date)))?;
            sync.add(file);
            if sync.files.len() >= MAX_OPEN {
                // Descriptors are not to run out: what is there so far can be synced now as well as later.
                sync.files_now(store)?;
            }
        }
        let modseq = write.next_modseq();
        let mut record = message.source.record();
        record.uid = uid.get();
        record.internaldate = message.internal_date;
        if let Source::Staged(staged) = &message.source {
            let facts = staged.facts();
            record.gmtime = facts.gm_date.unwrap_or(message.internal_date);
            record.sentdate = facts
                .sent_date
                .unwrap_or_else(|| midnight(store, message.internal_date));
        }
        record.last_updated = now;
        record.savedate = now;
        if talk.is_none() {
            record.cid = 0;
        }
        record.flags = if record.cid == 0 {
            0
        } else {
            record.flags & Record::SPLITCONVERSATION
        };
        if archived {
            record.flags |= Record::ARCHIVED;
        }
        record.keywords = keywords;
        let mut flags = message.flags.system;
        if target.seen_by.is_some() && write.header.options & options::SHAREDSEEN == 0 {
            if flags.contains(SystemFlags::SEEN) {
                self.seen.insert(uid);
            }
            flags = flags.without(SystemFlags::SEEN);
        }
        record.set_system_flags(flags);
        record.modseq = modseq;
        record.createdmodseq = message
            .created_modseq
            .map_or(modseq, |created| created.min(modseq));
        let mut split_octets = 0;
        if let Some(talk) = talk {
            let place = Place {
                id: &target.id,
                name: &target.name,
            };
            let added = match &message.source {
                Source::Staged(staged) => CacheRecord::parse(staged.cache_record()).ok(),
                Source::Message { cache, .. } => Some(cache.record()),
            };
            let facts =
                Facts::new(added.ok_or_else(|| MailboxError::internal("a message has no cache record"))?);
            let added = talk.add(&place, &mut record, &facts, &|record, flag| {
                write.has_flag(record, flag)
            });
            if let Some(base) = added?.split_from {
                let annotation = Annotation::of_conversation(base);
                split_octets = i64::from(annotation.octets());
                message.annotations.push(annotation);
            }
        }
        write.header.last_uid = uid.get();
        write.header.last_appenddate = now;
        write.header.num_records = write.header.num_records.saturating_add(1);
        for annotation in &message.annotations {
            let header = &mut write.header;
            header.quota_annot_used = header.quota_annot_used.saturating_add(annotation.octets());
            header.sync_annot ^= annotation.sync(uid.get());
            self.annotations
                .push(annotation.row(uid.get(), target.owner.as_deref(), modseq));
        }
        self.caches.push(match message.source {
            Source::Staged(staged) => Cache::Staged(staged),
            Source::Message { cache, .. } => Cache::Copied(cache),
        });
        self.records.push(record);
        Ok(split_octets)
    }
}

/// Midnight of the day, server time.
pub(crate) fn midnight(store: &Store, time: u32) -> u32 {
    let time = i64::from(time);
    // The offset at a local time close by: it changes at most twice a year, and not at noon.
    let local = time + store.local_offset(time);
    let day = local.div_euclid(86_400) * 86_400;
    u32::try_from(day - store.local_offset(day)).unwrap_or_default()
}

/// Copies a message to where a hard link cannot be made.
fn copy_file(store: &Store, from: &std::path::Path, to: &std::path::Path) -> Result<File, DiskError> {
    let bytes = store.disk().read(from)?;
    let file = create_over(&**store.disk(), to)?;
    file.write_at(&bytes, 0)?;
    Ok(file)
}

impl Source {
    /// Octets of the message.
    pub(crate) fn size(&self) -> u32 {
        match self {
            Self::Staged(staged) => staged.size(),
            Self::Message { record, .. } => record.size,
        }
    }

    /// The fields of a record that do not depend on the mailbox.
    fn record(&self) -> Record {
        match self {
            Self::Staged(staged) => {
                let facts = staged.facts();
                Record {
                    size: facts.size,
                    header_size: facts.header_size,
                    guid: facts.guid,
                    cache_version: facts.cache_version,
                    ..Record::default()
                }
            }
            Self::Message { record, .. } => record.clone(),
        }
    }
}

impl Cache {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Staged(staged) => staged.cache_record(),
            Self::Copied(record) => record.bytes(),
        }
    }
}

impl Linked {
    /// Appends the cache records of all messages by one write a cache, and notes where they are.
    fn write_cache(mut self, store: &Store) -> Result<Cached, Box<Failed>> {
        let written = [false, true]
            .into_iter()
            .try_for_each(|archived| self.write_one_cache(store, archived));
        match written {
            Ok(()) => Ok(Cached(self)),
            Err(error) => Err(Failed::of(error, vec![self])),
        }
    }

    /// Writes to the cache of archived messages, or to that of the others.
    fn write_one_cache(&mut self, store: &Store, archived: bool) -> Result<(), MailboxError> {
        let mut offset = 0;
        let mut pieces = Vec::new();
        for accepted in &mut self.appends {
            for (record, cache) in accepted.records.iter_mut().zip(&accepted.caches) {
                if record.is_archived() == archived {
                    record.cache_offset = offset;
                    record.cache_crc = crate::format::crc32(cache.bytes());
                    offset += cache.bytes().len() as u64;
                    pieces.push(cache.bytes());
                }
            }
        }
        if pieces.is_empty() {
            return Ok(());
        }
        let place = self
            .target
            .hot
            .append_cache(store, archived, self.write.header.generation, pieces)?;
        let records = self.appends.iter_mut().flat_map(|accepted| &mut accepted.records);
        for record in records.filter(|record| record.is_archived() == archived) {
            match &place {
                Some((_, offset)) => record.cache_offset += offset,
                // The cache is of another generation until the next repack: the message is parsed when needed.
                None => (record.cache_offset, record.cache_crc) = (0, 0),
            }
        }
        self.sync.files.extend(place.map(|(file, _)| file));
        Ok(())
    }
}

impl Cached {
    /// Writes the index records of all messages by one write, and the new header file if keywords are new.
    fn write_records(self) -> Result<Recorded, Box<Failed>> {
        let Self(mut work) = self;
        let layout = work.write.header.layout;
        let mut bytes = Vec::new();
        for record in work.appends.iter().flat_map(|accepted| &accepted.records) {
            let record_bytes = record.to_bytes(layout);
            bytes.extend_from_slice(&record_bytes);
            work.write.count_in(record);
        }
        work.write.add_records(bytes);
        let written = work.write.write_records().and_then(|()| work.write.write_names());
        match written {
            Ok(names) => {
                work.sync.files.push(work.write.index_file().clone());
                work.sync.files.extend(names);
                Ok(Recorded(work))
            }
            Err(error) => Err(Failed::of(error, vec![work])),
        }
    }
}

/// Syncs all that the batch has written so far, then raises usage.
fn first_barrier(
    store: &Store,
    recorded: Vec<Recorded>,
    charges: &mut QuotaCharges,
) -> Result<Vec<Charged>, Box<Failed>> {
    let mut work: Vec<Linked> = recorded.into_iter().map(|Recorded(work)| work).collect();
    match sync_and_charge(store, &mut work, charges) {
        Ok(()) => Ok(work.into_iter().map(Charged).collect()),
        Err(error) => Err(Failed::of(error, work)),
    }
}

fn sync_and_charge(
    store: &Store,
    work: &mut [Linked],
    charges: &mut QuotaCharges,
) -> Result<(), MailboxError> {
    let mut sync = Sync::default();
    for mailbox in &mut *work {
        sync.merge(&mut mailbox.sync);
    }
    let counters = stage_counters(store, work, charges)?;
    sync.files.extend(charges.write(store)?);
    sync.files
        .extend(counters.iter().map(|counters| counters.file().clone()));
    sync.all_now(store)?;
    for counters in counters {
        counters.publish(store)?;
    }
    charges.publish(store)?;
    for mailbox in work {
        let rows: Vec<_> = mailbox
            .appends
            .iter_mut()
            .flat_map(|accepted| accepted.annotations.drain(..))
            .collect();
        if !rows.is_empty() {
            write_annotations(store, &mailbox.target.hot, &rows)?;
        }
        mailbox.write.publish_names()?;
    }
    Ok(())
}

/// Writes what the users' counters are to be beside what they are; the quota roots that are charged get the next
/// modification sequence.
fn stage_counters(
    store: &Store,
    work: &[Linked],
    charges: &mut QuotaCharges,
) -> Result<Vec<StagedCounters>, MailboxError> {
    let mut users: BTreeMap<&Arc<str>, RaiseCounters> = BTreeMap::new();
    for mailbox in work {
        let Some(owner) = mailbox.write.conversing_owner() else {
            continue;
        };
        let highest = mailbox.write.header.highestmodseq;
        let how = users.entry(owner).or_default();
        let known = how.messages.map_or(0, |(_, modseq)| modseq);
        how.messages = Some((mailbox.write.counter_kind(), highest.max(known)));
    }
    let mut all = Vec::new();
    for (owner, how) in users {
        let next_quota = charges.charges_user(owner);
        let staged = store.stage_counters(owner, RaiseCounters { next_quota, ..how })?;
        if next_quota {
            charges.set_modseq(owner, staged.quota);
        }
        all.push(staged);
    }
    Ok(all)
}

/// Writes the index headers.
fn commit_all(charged: Vec<Charged>) -> Result<Vec<Committed>, Box<Failed>> {
    let mut work: Vec<Linked> = charged.into_iter().map(|Charged(work)| work).collect();
    let written = work
        .iter_mut()
        .try_for_each(|mailbox| mailbox.write.write_header());
    match written {
        Ok(()) => Ok(work.into_iter().map(Committed).collect()),
        Err(error) => Err(Failed::of(error, work)),
    }
}

/// Syncs the index headers: from here on the messages cannot be lost.
fn second_barrier(store: &Store, committed: Vec<Committed>) -> Result<Vec<Committed>, Box<Failed>> {
    let files: Vec<&File> = committed
        .iter()
        .map(|Committed(work)| work.write.index_file())
        .collect();
    match store.disk().sync_many(&files) {
        Ok(()) => Ok(committed),
        Err(error) => {
            let work = committed.into_iter().map(|Committed(work)| work).collect();
            Err(Failed::of(error.into(), work))
        }
    }
}

/// Releases the mailboxes, then tells everybody: caches of counts, seen databases, watchers, and who waited.
fn announce(store: &Store, committed: Vec<Committed>) {
    let mut finished = Vec::with_capacity(committed.len());
    for Committed(work) in committed {
        let Linked {
            write,
            target,
            appends,
            ..
        } = work;
        let uidvalidity = UidValidity(write.header.uidvalidity);
        finished.push((target, uidvalidity, appends, write.finish()));
    }
    store.forget_status(finished.iter().map(|(target, ..)| target.name.as_str()));
    for (target, uidvalidity, appends, publication) in finished {
        for accepted in appends {
            STORE.appended.add(accepted.records.len() as u64);
            let sizes = accepted.records.iter().map(|record| u64::from(record.size));
            STORE.appended_octets.add(sizes.sum());
            if let Some(user) = target.seen_by.as_deref().filter(|_| !accepted.seen.is_empty())
                && let Err(error) =
                    store.change_seen(user, &target.id, |state| state.seen.extend_from(&accepted.seen))
            {
                store.report("appended messages are not marked as seen", &error);
            }
            let uids = accepted
                .records
                .iter()
                .filter_map(|record| Uid::new(record.uid))
                .collect();
            accepted
                .slot
                .fill(Outcome::Done(Ok(Appends { uidvalidity, uids })));
        }
        store.publish(&target.name, &target.id, publication.modseq, News::Appended);
    }
}

/// Tells several requests of one failure.
pub(super) fn fail(slots: impl IntoIterator<Item = Arc<Slot>>, error: MailboxError) {
    let mut error = Some(error);
    for slot in slots {
        let own = match &error {
            Some(known) => known.duplicate(),
            None => return,
        };
        let told = error.replace(own);
        if let Some(told) = told {
            slot.fill(Outcome::Done(Err(told)));
        }
    }
}
