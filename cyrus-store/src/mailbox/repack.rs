//! Cleaning up when a mailbox is closed: files of expunged messages, and the records that are not needed any more.

use std::sync::Arc;

use super::read::header_of;
use super::{IndexWrite, Mailbox, annotations, new_path};
use crate::error::MailboxError;
use crate::format::cache::CacheView;
use crate::format::index::{IndexHeader, Record, options};
use crate::hot::Hot;
use crate::lock::Wait;
use crate::log::Level;
use crate::name::MailboxName;
use crate::store::Store;
use crate::sys::{File, Mode, Open};
use crate::uid::{Uid, UidSet};

impl Mailbox {
    /// Closes the mailbox. If files or records of expunged messages are to be removed, and nobody else has the mailbox
    /// open, that is done now; else whoever closes it last will.
    ///
    /// # Errors
    /// The clean-up failed; the mailbox is whole nevertheless.
    pub fn close(self) -> Result<(), MailboxError> {
        // One is this session's, one the store's.
        if Arc::strong_count(&self.hot) > 2 {
            return Ok(());
        }
        match self
            .store
            .clean_up(&self.hot, self.owner.as_deref(), &self.entry.name)
        {
            Err(MailboxError::Locked | MailboxError::Deleted | MailboxError::UnsupportedVersion { .. }) => {
                Ok(())
            }
            done => done,
        }
    }
}

impl Store {
    /// Removes what is marked for removal in a mailbox, if nobody uses it at this moment.
    fn clean_up(&self, hot: &Arc<Hot>, owner: Option<&str>, name: &MailboxName) -> Result<(), MailboxError> {
        let wanted = options::NEEDS_UNLINK | options::NEEDS_REPACK;
        {
            let locks = hot.lock(self, owner, Mode::Shared, Wait::Never)?;
            let mut mapping = hot.borrow_mapping();
            let header = header_of(hot, mapping.refresh(&locks.index)?);
            hot.return_mapping(mapping);
            if header?.options & wanted == 0 {
                return Ok(());
            }
        }
        let names = hot.lock_name(self, owner, Mode::Exclusive, Mode::Exclusive, Wait::Never)?;
        let locks = hot.lock_index(names, Mode::Exclusive, Wait::Never)?;
        let mut write = IndexWrite::begin(self, hot, locks)?;
        unlink(self, &mut write, hot)?;
        if write.header.options & options::NEEDS_REPACK != 0 {
            repack(self, write, hot)?;
            self.log()
                .record(Level::Info, format_args!("repacked mailbox {name}"));
            return Ok(());
        }
        write.header.options &= !options::NEEDS_UNLINK;
        write.write_records()?;
        write.write_header()?;
        write.index_file().sync_data()?;
        let _ = write.finish();
        Ok(())
    }
}

/// Removes the files and annotations of unlinked messages, and the files that archived ones had before.
fn unlink(store: &Store, write: &mut IndexWrite, hot: &Hot) -> Result<(), MailboxError> {
    let mut unlinked = UidSet::new();
    for number in 0..write.records() {
        let Some(view) = write.view(number) else { break };
        let is_left = Record::ARCHIVED | Record::NEEDS_CLEANUP;
        if view.flags() & Record::UNLINKED == 0 && view.flags() & is_left != is_left {
            continue;
        }
        let Some(mut record) = write.record(number)? else {
            break;
        };
        let path = |archived| hot.paths.message(record.uid, archived);
        if record.is_unlinked() {
            store.disk().unlink_if_exists(&path(record.is_archived()))?;
            unlinked.extend(Uid::new(record.uid));
        }
        if record.is_archived() && path(false) != path(true) {
            store.disk().unlink_if_exists(&path(false))?;
        }
        if record.flags & Record::NEEDS_CLEANUP != 0 {
            record.flags &= !Record::NEEDS_CLEANUP;
            write.replace(number, &record);
        }
    }
    // They are not counted any more since the messages were expunged.
    annotations::remove(store, hot, &unlinked)
}

/// A cache file being written anew, beside the old one.
#[derive(Debug)]
pub(crate) struct NewCache {
    file: File,
    at: u64,
    piece: Vec<u8>,
}

impl NewCache {
    /// Begins the file of a generation of the index.
    pub(crate) fn create(
        store: &Store,
        path: &std::path::Path,
        generation: u32,
    ) -> Result<Self, MailboxError> {
        let file = store.disk().open(&new_path(path), Open::replace())?;
        Ok(Self {
            file,
            at: 0,
            piece: generation.to_be_bytes().to_vec(),
        })
    }

    /// The new file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Adds a record and tells its offset.
    pub(crate) fn add(&mut self, record: &[u8]) -> Result<u64, MailboxError> {
        let offset = self.at + self.piece.len() as u64;
        self.piece.extend_from_slice(record);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(offset)
    }

    /// Writes what was added; to be synced by the caller.
    pub(crate) fn flush(&mut self) -> Result<(), MailboxError> {
        self.file.write_at(&self.piece, self.at)?;
        self.at += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }
}

/// Writes index and cache anew without the unlinked records, and puts them in place: the index first.
///
/// A crash between the two leaves a cache of the generation before, which is recognised by its number; messages are
/// then parsed until the next repack.
fn repack(store: &Store, mut write: IndexWrite, hot: &Hot) -> Result<(), MailboxError> {
    let paths = &hot.paths;
    let old = write.header.clone();
    let mut header = IndexHeader {
        generation: old.generation.wrapping_add(1),
        ..old.clone()
    };
    let shared_cache = paths.archive_cache == paths.cache;
    let mut main = NewCache::create(store, &paths.cache, header.generation)?;
    let mut archive = None;
    let mut records = Vec::new();
    (header.num_records, header.first_expunged) = (0, 0);
    for number in 0..write.records() {
        let Some(mut record) = write.record(number)? else {
            break;
        };
        if record.is_unlinked() {
            if record.modseq >= header.deletedmodseq {
                header.deletedmodseq = record.modseq;
                header.changes_epoch = record.last_updated;
            }
            continue;
        }
        if record.is_expunged() {
            let least = if header.first_expunged == 0 {
                u32::MAX
            } else {
                header.first_expunged
            };
            header.first_expunged = record.last_updated.min(least);
        }
        // Whatever it had left was removed before.
        record.flags &= !Record::NEEDS_CLEANUP;
        let archived = record.is_archived() && !shared_cache;
        let map = hot.cache_map(store, archived, old.generation)?;
        let cached = map
            .as_deref()
            .and_then(|map| CacheView::parse(map, record.cache_offset).ok());
        let cache = match &mut archive {
            _ if !archived => &mut main,
            Some(cache) => cache,
            None => archive.insert(NewCache::create(store, &paths.archive_cache, header.generation)?),
        };
        match cached.filter(|cached| cached.crc() == record.cache_crc) {
            Some(cached) => record.cache_offset = cache.add(cached.bytes())?,
            None => write_parsed(store, hot, &mut record, cache)?,
        }
        records.extend_from_slice(&record.to_bytes(header.layout));
        header.num_records += 1;
    }
    header.options &= !(options::NEEDS_UNLINK | options::NEEDS_REPACK);
    header.leaked_cache_records = 0;
    header.last_repack_time = write.now();
    let index = store.disk().open(&new_path(&paths.index), Open::replace())?;
    index.write_at(&header.to_bytes(), 0)?;
    index.write_at(&records, header.offset_of(0))?;
    main.flush()?;
    let mut files = vec![&index, &main.file];
    if let Some(archive) = &mut archive {
        archive.flush()?;
        files.push(&archive.file);
    }
    store.disk().sync_many(&files)?;
    write.replace_index(index.clone())?;
    store.disk().rename(&new_path(&paths.cache), &paths.cache)?;
    if archive.is_some() {
        store
            .disk()
            .rename(&new_path(&paths.archive_cache), &paths.archive_cache)?;
    }
    store
        .disk()
        .sync_dir(paths.index.parent().unwrap_or(&paths.data))?;
    store
        .disk()
        .sync_dir(paths.cache.parent().unwrap_or(&paths.data))?;
    Ok(())
}

/// Makes a cache record anew from the message; without its file there is none.
fn write_parsed(
    store: &Store,
    hot: &Hot,
    record: &mut Record,
    cache: &mut NewCache,
) -> Result<(), MailboxError> {
    let path = hot.paths.message(record.uid, record.is_archived());
    (record.cache_offset, record.cache_crc) = (0, 0);
    let bytes = match store.disk().read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if let Ok(parsed) = crate::message::MessageParser::parse(&bytes) {
        record.cache_offset = cache.add(parsed.cache_record())?;
        record.cache_crc = crate::format::crc32(parsed.cache_record());
        record.cache_version = crate::message::CACHE_VERSION;
    }
    Ok(())
}

/// Cache records are written in pieces of about this size.
const PIECE: usize = 1 << 20;
