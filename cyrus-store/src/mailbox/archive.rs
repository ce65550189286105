//! Moving messages to the archive partition, while others work in the mailbox.
//!
//! A message file never changes, so the copy is made before anything is locked. Under the index lock it gets its name, and
//! the record the flag by which everybody looks for it there. The first file stays until nobody has the mailbox open: who
//! looked before may still be about to open it.

use std::path::PathBuf;

use super::read::header_of;
use super::{CachedRecord, IndexWrite, Mailbox};
use crate::archiving::Candidate;
use crate::error::MailboxError;
use crate::format::index::{Record, options};
use crate::sys::{File, Mode};

/// What is to be moved to the archive partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Messages that were received before this, Unix seconds; larger ones whenever they were received.
    pub received_before: u32,
}

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// Messages that were looked at.
    pub seen: u32,
    /// Messages that are in the archive since.
    pub moved: u32,
}

/// A message of which the archive has a copy that is not known as one yet.
struct Copy {
    uid: u32,
    path: PathBuf,
}

impl Mailbox {
    /// Moves messages to the archive partition; those that are there stay there. The files that they had go when the mailbox
    /// is closed.
    ///
    /// A crash leaves each message in one place or the other, and perhaps a copy that nothing refers to.
    ///
    /// # Errors
    /// The user is not the system itself, or that failed; what was moved until then is in the archive.
    pub fn archive(&mut self, how: &Archive) -> Result<Archived, MailboxError> {
        self.refresh_entry()?;
        self.require_system()?;
        let mut done = Archived::default();
        let mut next = Some(1);
        while let Some(first) = next {
            let (wanted, rest) = self.wanted_from(first, how, &mut done.seen)?;
            next = rest;
            if wanted.is_empty() {
                continue;
            }
            let copies = self.copy_to_archive(&wanted)?;
            done.moved += self.take_copies(copies)?;
        }
        Ok(done)
    }

    /// The UIDs of some messages to move, from this one on, and the UID to go on with.
    fn wanted_from(
        &mut self,
        first: u32,
        how: &Archive,
        seen: &mut u32,
    ) -> Result<(Vec<u32>, Option<u32>), MailboxError> {
        let policy = self.store.options().archiving;
        let locks = self.lock(Mode::Shared)?;
        let mut mapping = self.hot.borrow_mapping();
        let file = mapping.refresh(&locks.index)?;
        let header = header_of(&self.hot, file)?;
        let records = header
            .records(file)
            .map_err(|fault| MailboxError::damaged(&self.hot.paths.index, fault))?;
        let mut wanted = Vec::new();
        let mut octets = 0;
        let mut next = None;
        let start = records.find(first);
        for (number, view) in (start..).zip(records.from(start)) {
            // What is expunged goes before long.
            if view.flags() & (Record::EXPUNGED | Record::UNLINKED) != 0 {
                continue;
            }
            if octets >= AT_ONCE || wanted.len() >= MAX_AT_ONCE {
                next = Some(view.uid());
                break;
            }
            *seen += 1;
            if view.flags() & Record::ARCHIVED != 0 {
                continue;
            }
            let record = view
                .record()
                .map_err(|fault| self.hot.damaged_record(&header, number, fault))?;
            if policy.wants(Candidate::from(&record), how.received_before) {
                octets += u64::from(record.size);
                wanted.push(record.uid);
            }
        }
        self.hot.return_mapping(mapping);
        Ok((wanted, next))
    }

    /// Copies messages to the archive partition, durably, under names that nobody looks for. Those that are gone meanwhile
    /// are passed over.
    fn copy_to_archive(&self, wanted: &[u32]) -> Result<Vec<Copy>, MailboxError> {
        let mut copies = Vec::with_capacity(wanted.len());
        let copied = self.copy_each(wanted, &mut copies);
        match copied {
            Ok(()) => Ok(copies),
            Err(error) => {
                self.remove_copies(copies);
                Err(error)
            }
        }
    }

    fn copy_each(&self, wanted: &[u32], copies: &mut Vec<Copy>) -> Result<(), MailboxError> {
        let paths = &self.hot.paths;
        if paths.archive == paths.data {
            // Where there is no archive partition, a message is in its place already.
            copies.extend(wanted.iter().map(|&uid| Copy {
                uid,
                path: paths.message(uid, false),
            }));
            return Ok(());
        }
        let disk = self.store.disk();
        disk.make_dirs(&paths.archive)?;
        let mut files: Vec<File> = Vec::new();
        for &uid in wanted {
            let path = paths
                .archive
                .join(format!("cyrus.archive.{}", self.store.stage_name()));
            copies.push(Copy {
                uid,
                path: path.clone(),
            });
            match self.store.link_or_copy(&paths.message(uid, false), &path) {
                Ok(file) => files.extend(file),
                Err(error) if error.is_not_found() => {
                    copies.pop();
                }
                Err(error) => return Err(error.into()),
            }
        }
        disk.sync_many(&files.iter().collect::<Vec<_>>())?;
        Ok(())
    }

    /// Gives the copies their names, and notes in the index that they are the messages now. Returns how many.
    fn take_copies(&mut self, copies: Vec<Copy>) -> Result<u32, MailboxError> {
        let place = self.hot.paths.archive.clone();
        let begun = self
            .lock(Mode::Exclusive)
            .and_then(|locks| IndexWrite::begin(&self.store, &self.hot, locks));
        let begun = begun.and_then(|write| match self.hot.paths.archive == place {
            true => Ok(write),
            // It moved to another partition in the middle of it.
            false => Err(MailboxError::Locked),
        });
        let write = match begun {
            Ok(write) => write,
            Err(error) => {
                self.remove_copies(copies);
                return Err(error);
            }
        };
        let mut moved = Vec::new();
        let mut taken = Vec::new();
        let mut unused = Vec::new();
        for copy in copies {
            let number = write.find(copy.uid);
            match write.record(number) {
                Ok(Some(record))
                    if record.uid == copy.uid && !record.is_unlinked() && !record.is_archived() =>
                {
                    moved.push((number, record));
                    taken.push(copy);
                }
                // Removed, or archived by somebody else; or damaged, which is for others to tell.
                _ => unused.push(copy),
            }
        }
        self.remove_copies(unused);
        if moved.is_empty() {
            return Ok(0);
        }
        let count = u32::try_from(moved.len()).unwrap_or(u32::MAX);
        let recorded = self.record_moved(write, moved, &mut taken);
        match recorded {
            Ok(()) => Ok(count),
            Err(error) => {
                self.remove_copies(taken);
                Err(error)
            }
        }
    }

    /// Gives copies the names of messages, and commits their new records. After an error, `taken` says where they are.
    fn record_moved(
        &self,
        mut write: IndexWrite,
        mut moved: Vec<(u32, Record)>,
        taken: &mut [Copy],
    ) -> Result<(), MailboxError> {
        let (disk, paths) = (self.store.disk(), &self.hot.paths);
        self.move_cached(&write, &mut moved)?;
        for copy in taken {
            let name = paths.message(copy.uid, true);
            if copy.path != name {
                disk.rename(&copy.path, &name)?;
                copy.path = name;
            }
        }
        disk.sync_dir(&paths.archive)?;
        for (number, record) in &mut moved {
            record.flags |= Record::ARCHIVED | Record::NEEDS_CLEANUP;
            write.replace(*number, record);
        }
        write.header.options |= options::NEEDS_UNLINK;
        write.commit(&self.entry.name, &self.id)
    }

    /// Puts the cache records of messages into the cache of the archive, and notes in their index records where.
    fn move_cached(&self, write: &IndexWrite, moved: &mut [(u32, Record)]) -> Result<(), MailboxError> {
        if self.hot.paths.caches_are_one() {
            return Ok(());
        }
        let generation = write.header.generation;
        let cached: Vec<Option<CachedRecord>> = moved
            .iter()
            .map(|(_, record)| CachedRecord::find(&self.store, &self.hot, generation, record))
            .collect();
        let bytes = cached.iter().flatten().map(CachedRecord::bytes);
        let place = self.hot.append_cache(&self.store, true, generation, bytes)?;
        if let Some((file, _)) = &place {
            file.sync_data()?;
        }
        let mut end = place.map(|(_, offset)| offset);
        for ((_, record), cached) in moved.iter_mut().zip(&cached) {
            (record.cache_offset, record.cache_crc) = (0, 0);
            // Without a cache record, or with a cache of another generation, the message is parsed when it is needed.
            if let (Some(cached), Some(offset)) = (cached, &mut end) {
                record.cache_offset = *offset;
                record.cache_crc = crate::format::crc32(cached.bytes());
                record.cache_version = cached.version();
                *offset += cached.bytes().len() as u64;
            }
        }
        Ok(())
    }

    /// Removes copies that nothing refers to.
    fn remove_copies(&self, copies: Vec<Copy>) {
        for copy in copies {
            if copy.path != self.hot.paths.message(copy.uid, false)
                && let Err(error) = self.store.disk().unlink_if_exists(&copy.path)
            {
                self.store.report("a copy of a message is left", &error.into());
            }
        }
    }
}

/// Octets of messages that are moved together.
const AT_ONCE: u64 = 64 << 20;
/// Messages that are moved together.
const MAX_AT_ONCE: usize = 200;
