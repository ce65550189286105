//! A transaction on a skiplist file.

use std::path::PathBuf;

use super::super::{DbError, Each, Txn};
use super::view::{Patches, View};
use super::{Header, Skiplist, too_large};
use crate::format::skiplist::{Kind, LISTS, put_commit, put_delete, put_record, size_of_record};
use crate::lock::DataLock;

/// Changes that are not in the file yet.
pub(super) struct SkiplistTxn<'db> {
    db: &'db mut Skiplist,
    lock: DataLock,
    header: Header,
    path: PathBuf,
    /// The file's size when the transaction began.
    start: usize,
    /// What will be appended there.
    tail: Vec<u8>,
    /// New pointers of records in the file and in `tail`.
    patches: Patches,
    header_changed: bool,
}

impl<'db> SkiplistTxn<'db> {
    pub(super) fn new(db: &'db mut Skiplist, lock: DataLock, header: Header) -> Self {
        let path = db.file.path().to_owned();
        let start = db.map.held(&lock).len();
        let (tail, patches) = (Vec::new(), Patches::new());
        Self {
            db,
            lock,
            header,
            path,
            start,
            tail,
            patches,
            header_changed: false,
        }
    }

    fn view(&self) -> View<'_> {
        let base = self.db.map.held(&self.lock);
        View::new(&self.path, base, &self.tail, &self.header, &self.patches)
    }

    /// Makes the records before a key point to `links`, in the lists below `lists`.
    fn repoint(&mut self, before: &[u32; LISTS], links: &[u32; LISTS], lists: usize) -> Result<(), DbError> {
        for (list, (&offset, &link)) in before.iter().zip(links).enumerate().take(lists) {
            if !self.patches.contains_key(&offset) {
                let pointers = self.view().node(offset)?.pointers();
                self.patches.insert(offset, pointers);
            }
            if let Some(pointer) = self
                .patches
                .get_mut(&offset)
                .and_then(|pointers| pointers.get_mut(list))
            {
                *pointer = link;
            }
        }
        Ok(())
    }

    /// The offset of what is appended next, if `size` octets still fit into a file of this format.
    fn room(&self, size: u64) -> Result<u32, DbError> {
        let end = (self.start + self.tail.len()) as u64;
        let last = end.saturating_add(size).saturating_add(ROOM_FOR_COMMIT);
        u32::try_from(last).map_err(|_| too_large(&self.path))?;
        Ok(end as u32)
    }

    /// Writes the changes; they do not count yet.
    fn write(&mut self) -> Result<(), DbError> {
        // Pointers in the appended part are filled in before it is written, the others afterwards.
        let mut in_place = Vec::new();
        for (&offset, pointers) in &self.patches {
            let record = self.view().node(offset)?.record;
            let at = offset as usize + record.pointer_at(0);
            let bytes: Vec<u8> = pointers
                .iter()
                .flat_map(|pointer| pointer.to_be_bytes())
                .collect();
            in_place.push((at, bytes));
        }
        in_place.retain(|(at, bytes)| match at.checked_sub(self.start) {
            None => true,
            Some(at) => {
                if let Some(place) = self.tail.get_mut(at..at + bytes.len()) {
                    place.copy_from_slice(bytes);
                }
                false
            }
        });

        self.lock.write_at(&self.tail, self.start as u64)?;
        self.lock.file().sync_data()?;

        if self.header_changed {
            self.lock.write_at(&self.header.encode(), 0)?;
        }
        for (at, bytes) in in_place {
            self.lock.write_at(&bytes, at as u64)?;
        }
        self.lock.file().sync_data()?;
        Ok(())
    }

    /// Makes what was written count.
    fn write_commit(&mut self) -> Result<(), DbError> {
        let mut commit = Vec::new();
        put_commit(&mut commit);
        self.lock
            .write_at(&commit, (self.start + self.tail.len()) as u64)?;
        self.lock.file().sync_data()?;
        Ok(())
    }
}

impl Txn for SkiplistTxn<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        self.view().get(key)
    }

    fn scan(&self, prefix: &[u8], each: Each<'_>) -> Result<(), DbError> {
        self.view().scan(prefix, each)
    }

    fn scan_from(&self, start: &[u8], each: Each<'_>) -> Result<(), DbError> {
        self.view().scan_from(start, each)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), DbError> {
        if key.is_empty() {
            return Err(DbError::Unsuitable {
                path: self.path.clone(),
                what: "a key cannot be empty",
            });
        }
        let view = self.view();
        let found = view.find(key)?;
        let (before, mut links) = (found.before, found.after);
        let old = found.hit.map(|hit| (hit.offset, hit.pointers()));
        let level = match &old {
            Some((_, pointers)) => pointers.len(),
            None => self.db.levels.draw().min(self.header.max_level as usize),
        };
        let end = self.room(size_of_record(key, value, level) + 8)?;
        let pointers = match &old {
            Some((_, pointers)) => pointers.clone(),
            None => links.iter().copied().take(level).collect(),
        };
        let offset = match old {
            Some((old, _)) => {
                put_delete(&mut self.tail, old);
                end + 8
            }
            None => end,
        };
        put_record(&mut self.tail, Kind::Add, key, value, &pointers);
        if level > self.header.level as usize {
            self.header.level = level as u32;
            self.header_changed = true;
        }
        links.iter_mut().take(level).for_each(|link| *link = offset);
        self.repoint(&before, &links, level)
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, DbError> {
        let view = self.view();
        let found = view.find(key)?;
        let Some(hit) = found.hit else { return Ok(false) };
        let (before, mut links) = (found.before, found.after);
        let (offset, level) = (hit.offset, hit.record.level());
        for (list, link) in links.iter_mut().enumerate().take(level) {
            *link = hit.pointer(list);
        }
        self.room(8)?;
        put_delete(&mut self.tail, offset);
        self.repoint(&before, &links, level)?;
        Ok(true)
    }

    fn commit(mut self: Box<Self>) -> Result<(), DbError> {
        if self.tail.is_empty() {
            return Ok(());
        }
        self.write()?;
        self.write_commit()?;
        let Self {
            db,
            mut lock,
            header,
            start,
            tail,
            ..
        } = *self;
        let end = (start + tail.len()) as u64;
        let due = end > 2 * u64::from(header.log_start) + LEAST_TO_REPACK;
        if due && db.rebuild(&mut lock).is_err() {
            // The changes are committed; the file is only larger than it need be. The next commit tries
            // again, and a full disk shows itself to whoever needs the space.
        }
        Ok(())
    }

    fn break_off(mut self: Box<Self>) -> Result<(), DbError> {
        self.write()
    }
}

/// A file is written anew after a commit when its log is longer than the rest and this.
const LEAST_TO_REPACK: u64 = 16_834;
const ROOM_FOR_COMMIT: u64 = 4;
