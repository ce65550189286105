//! A transaction on a twoskip file.

use std::path::PathBuf;

use super::super::{DbError, Each, Txn};
use super::view::{Found, LISTS, View};
use super::{Header, Patches, Twoskip};
use crate::format::twoskip::{Kind, put_record};
use crate::lock::DataLock;

/// Changes that are not in the file yet.
pub(super) struct TwoskipTxn<'db> {
    db: &'db mut Twoskip,
    lock: DataLock,
    header: Header,
    path: PathBuf,
    /// What will be appended at `header.current_size`.
    tail: Vec<u8>,
    /// New pointers of records in the file and in `tail`.
    patches: Patches,
    records: u64,
}

impl<'db> TwoskipTxn<'db> {
    pub(super) fn new(db: &'db mut Twoskip, lock: DataLock, header: Header) -> Self {
        let path = db.file.path().to_owned();
        Self {
            db,
            lock,
            header,
            path,
            tail: Vec::new(),
            patches: Patches::new(),
            records: header.records,
        }
    }

    fn view(&self) -> View<'_> {
        let file = self.db.map.held(&self.lock);
        View::committed(&self.path, file, &self.header, &self.patches).with_tail(&self.tail)
    }

    fn append(&mut self, kind: Kind, pointers: &[u64], key: &[u8], value: &[u8]) -> u64 {
        put_record(
            &mut self.tail,
            self.header.current_size,
            kind,
            pointers,
            key,
            value,
        )
    }

    /// Makes the records before a key point to `links`, in the lists below `lists`.
    fn repoint(&mut self, before: &[u64; LISTS], links: &[u64; LISTS], lists: usize) -> Result<(), DbError> {
        for (list, (&offset, &link)) in before.iter().zip(links).enumerate().take(lists) {
            if !self.patches.contains_key(&offset) {
                let pointers = self.view().node(offset)?.pointers();
                self.patches.insert(offset, pointers);
            }
            if let Some(pointers) = self.patches.get_mut(&offset) {
                set_link(pointers, list, link, self.header.current_size);
            }
        }
        Ok(())
    }

    /// What the lists point to once the record of the key is gone, and in how many lists it was.
    fn without(view: &View<'_>, found: &Found<'_>) -> ([u64; LISTS], usize) {
        let mut links = found.after;
        let Some(hit) = &found.hit else { return (links, 0) };
        for (list, link) in links.iter_mut().enumerate().take(hit.level()) {
            *link = view.link(hit, list);
        }
        (links, hit.level())
    }

    /// Writes the changes into a file that is marked dirty; they do not count yet.
    fn write(&mut self) -> Result<(), DbError> {
        let start = self.header.current_size;
        self.append(Kind::Commit, &[start], b"", b"");
        let view = View::committed(
            &self.path,
            self.db.map.held(&self.lock),
            &self.header,
            &NO_PATCHES,
        );
        let mut heads = Vec::new();
        for (&offset, pointers) in &self.patches {
            let head = view
                .with_tail(&self.tail)
                .node(offset)?
                .record
                .head_with(pointers);
            heads.push((offset, head));
        }
        let mut in_place = Vec::new();
        for (offset, head) in heads {
            match offset.checked_sub(start).and_then(|at| usize::try_from(at).ok()) {
                Some(at) => {
                    if let Some(place) = self.tail.get_mut(at..at + head.len()) {
                        place.copy_from_slice(&head);
                    }
                }
                None => in_place.push((offset, head)),
            }
        }

        self.header.dirty = true;
        self.lock.write_at(&self.header.encode(), 0)?;
        self.lock.file().sync_data()?;

        self.lock.write_at(&self.tail, start)?;
        for (offset, head) in in_place {
            self.lock.write_at(&head, offset)?;
        }
        self.lock.file().sync_data()?;
        Ok(())
    }

    /// Makes what was written count.
    fn mark_clean(&mut self) -> Result<(), DbError> {
        self.header.dirty = false;
        self.header.records = self.records;
        self.header.current_size += self.tail.len() as u64;
        self.lock.write_at(&self.header.encode(), 0)?;
        self.lock.file().sync_data()?;
        Ok(())
    }
}

impl Txn for TwoskipTxn<'_> {
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
        let is_new = found.hit.is_none();
        let (mut links, old_level) = Self::without(&view, &found);
        let before = found.before;
        let level = usize::from(self.db.levels.draw());
        let mut pointers = vec![0];
        pointers.extend(links.iter().take(level));
        let offset = self.append(Kind::Live, &pointers, key, value);
        for link in links.iter_mut().take(level) {
            *link = offset;
        }
        self.repoint(&before, &links, level.max(old_level))?;
        self.records = self.records.saturating_add(u64::from(is_new));
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, DbError> {
        let view = self.view();
        let found = view.find(key)?;
        if found.hit.is_none() {
            return Ok(false);
        }
        let (mut links, level) = Self::without(&view, &found);
        let before = found.before;
        let next = view
            .live(links.first().copied().unwrap_or(0))?
            .map_or(0, |next| next.offset);
        let offset = self.append(Kind::Delete, &[next], b"", b"");
        if let Some(lowest) = links.first_mut() {
            *lowest = offset;
        }
        self.repoint(&before, &links, level)?;
        self.records = self.records.saturating_sub(1);
        Ok(true)
    }

    fn commit(mut self: Box<Self>) -> Result<(), DbError> {
        if self.tail.is_empty() {
            return Ok(());
        }
        self.write()?;
        self.mark_clean()?;
        let Self {
            db, mut lock, header, ..
        } = *self;
        let due = header.current_size > LEAST_TO_REPACK && header.current_size / 2 > header.repack_size;
        if due && db.rewrite(&mut lock, &header).is_err() {
            // The changes are committed; the file is only larger than it need be. The next commit tries
            // again, and a full disk or a damaged record shows itself to whoever needs that.
        }
        Ok(())
    }

    fn break_off(mut self: Box<Self>) -> Result<(), DbError> {
        self.write()
    }
}

/// Sets what a record points to in a list. Of the two pointers of the lowest list the one that was valid at
/// the last commit, which ended at `commit_end`, is kept.
pub(super) fn set_link(pointers: &mut [u64], list: usize, link: u64, commit_end: u64) {
    let index = match (list, &*pointers) {
        (0, [first, ..]) if *first >= commit_end => 0,
        (0, [_, second, ..]) if *second >= commit_end => 1,
        (0, [first, second, ..]) if second > first => 0,
        (list, _) => list + 1,
    };
    if let Some(pointer) = pointers.get_mut(index) {
        *pointer = link;
    }
}

static NO_PATCHES: Patches = Patches::new();

/// A file is written anew after a commit that leaves it larger than this and more than twice as large as it
/// was when last written anew.
const LEAST_TO_REPACK: u64 = 16_834;
