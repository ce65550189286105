//! Messages on their way into mailboxes: collected, checked, parsed once, and put in place as a file.

use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::MailboxError;
use crate::ident::{Guid, Partition};
use crate::message::{CACHE_VERSION, MessageParser};
use crate::name::MailboxName;
use crate::store::Store;
use crate::sys::{Disk, DiskError, DiskFile, File, Map, Open};

/// A message being received: write its octets, then [`StagingFile::finish`].
///
/// A short message is collected in memory, a longer one in a file of the partition's staging directory, which goes away
/// with this value.
#[derive(Debug)]
pub struct StagingFile {
    store: Store,
    dir: PathBuf,
    memory: Vec<u8>,
    spill: Option<Spill>,
}

#[derive(Debug)]
struct Spill {
    file: File,
    length: u64,
    name: StageName,
}

/// The name of a file in a staging directory, removed with this value.
#[derive(Debug)]
struct StageName {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Drop for StageName {
    fn drop(&mut self) {
        // What stays behind is harmless: nobody but this process uses the name.
        let _ = self.disk.unlink_if_exists(&self.path);
    }
}

/// A whole message, checked and parsed, ready to be put into any number of mailboxes. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Staged(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    content: Content,
    facts: Facts,
    /// Files of this content that are in place already, by the staging directory of their partition.
    placed: Mutex<Vec<Placed>>,
    single_instance: bool,
}

/// A file of a message that is in place; open only for as long as somebody has to sync it.
#[derive(Clone, Debug)]
struct Placed {
    stage: PathBuf,
    path: PathBuf,
    file: Weak<dyn DiskFile>,
}

#[derive(Debug)]
enum Content {
    Memory(Arc<[u8]>),
    File { map: Map, file: File, name: StageName },
}

/// What the index and the cache keep of a message.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) size: u32,
    pub(crate) header_size: u32,
    pub(crate) guid: Guid,
    /// Midnight of the day in the Date: field, server time.
    pub(crate) sent_date: Option<u32>,
    /// The Date: field.
    pub(crate) gm_date: Option<u32>,
    pub(crate) cache: Vec<u8>,
    pub(crate) cache_version: u16,
}

impl Store {
    /// Begins to receive a message for a mailbox.
    ///
    /// # Errors
    /// The mailbox is not there.
    pub fn stage(&self, name: &MailboxName) -> Result<StagingFile, MailboxError> {
        let entry = self.lookup(name)?.ok_or(MailboxError::NotFound)?;
        let (_, partition) = entry.storage()?;
        self.stage_on(&partition.clone())
    }

    /// Begins to receive a message for mailboxes that are mostly on this partition.
    ///
    /// # Errors
    /// There is no such partition.
    pub fn stage_on(&self, partition: &Partition) -> Result<StagingFile, MailboxError> {
        let dir = self.options().partition_paths(partition)?.data.join("stage.");
        Ok(StagingFile {
            store: self.clone(),
            dir,
            memory: Vec::new(),
            spill: None,
        })
    }

    /// A whole message that is in memory, checked and parsed.
    ///
    /// # Errors
    /// No mailbox may hold it.
    pub fn staged(&self, message: impl Into<Arc<[u8]>>) -> Result<Staged, MailboxError> {
        let message = message.into();
        let facts = self.facts(&message)?;
        Ok(self.staged_content(Content::Memory(message), facts))
    }

    fn staged_content(&self, content: Content, facts: Facts) -> Staged {
        let single_instance = self.options().singleinstancestore;
        Staged(Arc::new(Inner {
            content,
            facts,
            placed: Mutex::default(),
            single_instance,
        }))
    }

    /// Checks and parses a message.
    fn facts(&self, message: &[u8]) -> Result<Facts, MailboxError> {
        let (size, limit) = (message.len() as u64, self.options().max_message_size);
        if limit > 0 && size > limit {
            return Err(MailboxError::TooLarge { size, limit });
        }
        check_octets(message)?;
        self.describe(message)
    }

    /// Parses a message, whatever is in it.
    ///
    /// # Errors
    /// It is larger than the index can tell.
    pub(crate) fn describe(&self, message: &[u8]) -> Result<Facts, MailboxError> {
        let size = message.len() as u64;
        let too_large = |_| MailboxError::TooLarge {
            size,
            limit: u64::from(u32::MAX),
        };
        let parsed = MessageParser::parse(message).map_err(too_large)?;
        let time = |time: Option<i64>| time.and_then(|time| u32::try_from(time).ok());
        Ok(Facts {
            size: parsed.size(),
            header_size: parsed.header_size(),
            guid: Guid(*parsed.guid()),
            sent_date: time(parsed.sent_date(|local| self.local_offset(local))),
            gm_date: time(parsed.gm_date()),
            cache: parsed.into_cache_record(),
            cache_version: CACHE_VERSION,
        })
    }
}

/// Refuses a NUL, and a line feed without carriage return.
fn check_octets(message: &[u8]) -> Result<(), MailboxError> {
    if memchr::memchr(0, message).is_some() {
        return Err(MailboxError::MessageContainsNul);
    }
    let bare = |at: usize| at.checked_sub(1).and_then(|before| message.get(before)) != Some(&b'\r');
    if memchr::memchr_iter(b'\n', message).any(bare) {
        return Err(MailboxError::ContainsBareNewline);
    }
    Ok(())
}

impl StagingFile {
    /// Octets received so far.
    pub fn len(&self) -> u64 {
        self.spill.as_ref().map_or(0, |spill| spill.length) + self.memory.len() as u64
    }

    /// Whether nothing was received yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message, now that it is whole: checked and parsed.
    ///
    /// # Errors
    /// No mailbox may hold it, or the file could not be written.
    pub fn finish(mut self) -> Result<Staged, MailboxError> {
        if self.spill.is_none() {
            return self.store.staged(std::mem::take(&mut self.memory));
        }
        self.flush_memory()?;
        let Some(Spill { file, length, name }) = self.spill.take() else {
            return self.store.staged(Vec::new());
        };
        let map = file.map(usize::try_from(length).unwrap_or(usize::MAX), 0)?;
        let facts = self.store.facts(&map)?;
        Ok(self
            .store
            .staged_content(Content::File { map, file, name }, facts))
    }

    /// What was received, neither checked nor parsed: material for a message rather than one.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn into_bytes(mut self) -> Result<StagedBytes, MailboxError> {
        if self.spill.is_none() {
            return Ok(StagedBytes(Raw::Memory(std::mem::take(&mut self.memory))));
        }
        self.flush_memory()?;
        let Some(Spill { file, length, name }) = self.spill.take() else {
            return Ok(StagedBytes(Raw::Memory(Vec::new())));
        };
        let map = file.map(usize::try_from(length).unwrap_or(usize::MAX), 0)?;
        Ok(StagedBytes(Raw::File { map, _name: name }))
    }

    /// Moves what is in memory to the file.
    fn flush_memory(&mut self) -> Result<(), DiskError> {
        if self.spill.is_none() {
            let disk = self.store.disk().clone();
            let path = self.dir.join(self.store.stage_name());
            let file = disk.open_making_dirs(&path, Open::create_new().mode(0o600))?;
            self.spill = Some(Spill {
                file,
                length: 0,
                name: StageName { disk, path },
            });
        }
        if let Some(spill) = &mut self.spill {
            spill.file.write_at(&self.memory, spill.length)?;
            spill.length += self.memory.len() as u64;
        }
        self.memory.clear();
        Ok(())
    }
}

impl io::Write for StagingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.memory.extend_from_slice(bytes);
        let limit = if self.spill.is_some() { CHUNK } else { IN_MEMORY };
        if self.memory.len() > limit {
            self.flush_memory().map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Octets that were received piece by piece; see [`StagingFile::into_bytes`].
#[derive(Debug)]
pub struct StagedBytes(Raw);

#[derive(Debug)]
enum Raw {
    Memory(Vec<u8>),
    File { map: Map, _name: StageName },
}

impl Deref for StagedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Raw::Memory(bytes) => bytes,
            Raw::File { map, .. } => map,
        }
    }
}

impl Staged {
    /// The octets of the message.
    pub fn bytes(&self) -> &[u8] {
        match &self.0.content {
            Content::Memory(bytes) => bytes,
            Content::File { map, .. } => map,
        }
    }

    /// Octets of the message.
    pub fn size(&self) -> u32 {
        self.0.facts.size
    }

    /// SHA-1 of the message.
    pub fn guid(&self) -> Guid {
        self.0.facts.guid
    }

    /// The cache record.
    pub fn cache_record(&self) -> &[u8] {
        &self.0.facts.cache
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// Puts the message in place as `target`, on the partition with this staging directory: as a hard link to where it is
    /// already, or as a new file. Returns the file: a sync of it makes the new name durable, too.
    ///
    /// A file that is already there is no message: it was left by a crash before its record was written.
    pub(crate) fn place(&self, disk: &dyn Disk, stage: &Path, target: &Path) -> Result<File, MailboxError> {
        if self.0.single_instance {
            if let Content::File { name, file, .. } = &self.0.content
                && name.path.parent() == Some(stage)
                && link_over(disk, &name.path, target).is_ok()
            {
                return Ok(file.clone());
            }
            let sources: Vec<Placed> = self
                .placed()
                .iter()
                .filter(|placed| placed.stage == stage)
                .cloned()
                .collect();
            for source in sources {
                if link_over(disk, &source.path, target).is_ok() {
                    return match source.file.upgrade() {
                        Some(file) => Ok(file),
                        None => Ok(disk.open(target, Open::write())?),
                    };
                }
            }
        }
        let file = create_over(disk, target)?;
        file.write_at(self.bytes(), 0)?;
        self.placed().push(Placed {
            stage: stage.to_owned(),
            path: target.to_owned(),
            file: Arc::downgrade(&file),
        });
        Ok(file)
    }

    fn placed(&self) -> MutexGuard<'_, Vec<Placed>> {
        self.0.placed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Links a message file to a name that is taken at most by what a crash left.
pub(crate) fn link_over(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), DiskError> {
    match disk.link(from, to) {
        Err(error) if error.is_already_exists() => {
            disk.unlink(to)?;
            disk.link(from, to)
        }
        // Where all messages are archived, there may be no directory for others.
        Err(error) if error.is_not_found() && disk.try_stat(from)?.is_some() => {
            let directory = to.parent().ok_or(error)?;
            disk.make_dirs(directory)?;
            disk.link(from, to)
        }
        done => done,
    }
}

/// Makes a message file of a name that is taken at most by what a crash left. That may be a link to another message,
/// so it is removed, never written over.
pub(crate) fn create_over(disk: &dyn Disk, path: &Path) -> Result<File, DiskError> {
    match disk.open(path, Open::create_new()) {
        Err(error) if error.is_already_exists() => {
            disk.unlink(path)?;
            disk.open(path, Open::create_new())
        }
        Err(error) if error.is_not_found() => disk.open_making_dirs(path, Open::create_new()),
        done => done,
    }
}

/// A message up to this size stays in memory.
const IN_MEMORY: usize = 256 * 1024;
/// A longer one is written in pieces of this size.
const CHUNK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s181_nul_and_bare_newlines_are_refused() {
        assert!(check_octets(b"a\r\n\r\nb\r\n").is_ok());
        assert!(check_octets(b"").is_ok());
        assert!(matches!(
            check_octets(b"a\0b"),
            Err(MailboxError::MessageContainsNul)
        ));
        for bare in [&b"\n"[..], b"a\nb", b"a\r\n\n"] {
            assert!(matches!(
                check_octets(bare),
                Err(MailboxError::ContainsBareNewline)
            ));
        }
    }
}
