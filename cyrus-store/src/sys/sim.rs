//! A disk in memory that records what is done to it and shows what a crash would leave.
//!
//! The model is a journalling file system with ordered metadata, read pessimistically:
//! - a write is certain only after a sync of its file; until then each may be there, missing, or there in
//!   some sectors only, in any combination, and a lengthened file may hold zeros;
//! - names and lengths change in the order they were asked for, and a crash keeps a prefix of those
//!   changes: at least up to the last one that a sync of the file or its directory has made certain.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

mod crash;

use self::crash::{Crash, Fate, Op};
use super::{Create, DirEntry, Disk, DiskError, DiskFile, DiskResult, File, FileKind, Map, Mode, Open, Stat};

/// A disk in memory; clones share it.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

/// What one crash could have left.
#[derive(Debug)]
pub struct CrashState {
    /// The disk as found after the crash; everything on it is durable.
    pub disk: SimDisk,
    /// How many of the recorded operations had been asked for; compare with [`SimDisk::operations`].
    pub after: usize,
    /// What was kept and what was lost, for the message of a failing test.
    pub story: String,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk with a root directory.
    pub fn new() -> Self {
        let mut content = Content::default();
        content.names.insert(PathBuf::from("/"), ROOT);
        content.nodes.insert(ROOT, Node::Directory);
        Self::of(content)
    }

    fn of(content: Content) -> Self {
        let next = content.nodes.keys().next_back().map_or(ROOT, |last| *last) + 1;
        Self(Arc::new(Mutex::new(State {
            base: content.clone(),
            now: content,
            log: Vec::new(),
            next,
        })))
    }

    /// Declares all that is on the disk now durable and forgets how it came there.
    pub fn settle(&self) {
        let mut state = self.state();
        state.base = state.now.clone();
        state.log.clear();
    }

    /// How many operations were recorded since the disk was made or settled.
    pub fn operations(&self) -> usize {
        self.state().log.len()
    }

    /// How many of the recorded operations are syncs.
    pub fn syncs(&self) -> usize {
        self.state().log.iter().filter(|op| op.is_sync()).count()
    }

    /// The recorded operations, one line each.
    pub fn journal(&self) -> Vec<String> {
        self.state().log.iter().map(|op| op.to_string()).collect()
    }

    /// States a crash could leave, for every prefix of the recorded operations; no more than `limit`, spread
    /// evenly if there are more.
    pub fn crash_states(&self, limit: usize) -> impl Iterator<Item = CrashState> + use<> {
        let (base, log) = {
            let state = self.state();
            (state.base.clone(), state.log.clone())
        };
        let mut crashes: Vec<Crash> = (0..=log.len())
            .flat_map(|after| Crash::all_after(&log, after))
            .collect();
        let total = crashes.len();
        if total > limit {
            let mut index = 0;
            crashes.retain(|_| {
                index += 1;
                (index * limit) / total != ((index - 1) * limit) / total
            });
        }
        crashes.into_iter().map(move |crash| CrashState {
            story: crash.to_string(),
            after: crash.after,
            disk: SimDisk::of(crash.leave(&base, &log)),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("SimDisk")
            .field("names", &state.now.names)
            .field("operations", &state.log.len())
            .finish()
    }
}

#[derive(Debug)]
struct State {
    base: Content,
    now: Content,
    log: Vec<Op>,
    next: u64,
}

impl State {
    fn apply(&mut self, op: Op) {
        self.now.apply(&op, Fate::Kept);
        self.log.push(op);
    }

    fn parent_exists(&self, path: &Path) -> bool {
        path.parent()
            .and_then(|parent| self.now.node(parent))
            .is_some_and(|node| matches!(node, Node::Directory))
    }
}

#[derive(Clone, Debug, Default)]
struct Content {
    names: BTreeMap<PathBuf, u64>,
    nodes: BTreeMap<u64, Node>,
}

#[derive(Clone, Debug)]
enum Node {
    Directory,
    File { bytes: Vec<u8>, modified: SystemTime },
}

impl Content {
    fn node(&self, path: &Path) -> Option<&Node> {
        self.nodes.get(self.names.get(path)?)
    }

    fn bytes(&mut self, inode: u64) -> Option<&mut Vec<u8>> {
        match self.nodes.get_mut(&inode)? {
            Node::File { bytes, .. } => Some(bytes),
            Node::Directory => None,
        }
    }

    fn apply(&mut self, op: &Op, fate: Fate) {
        match op {
            Op::Create { path, inode } => {
                self.names.insert(path.clone(), *inode);
                let node = Node::File {
                    bytes: Vec::new(),
                    modified: SystemTime::UNIX_EPOCH,
                };
                self.nodes.entry(*inode).or_insert(node);
            }
            Op::MakeDir { path, inode } => {
                self.names.insert(path.clone(), *inode);
                self.nodes.insert(*inode, Node::Directory);
            }
            Op::Link { to, inode, .. } => {
                self.names.insert(to.clone(), *inode);
            }
            Op::Rename { from, to, .. } => self.rename(from, to),
            Op::Unlink { path, .. } => {
                self.names.remove(path);
            }
            Op::Truncate { inode, length } => {
                if let Some(bytes) = self.bytes(*inode) {
                    bytes.resize(*length, 0);
                }
            }
            Op::Write { inode, offset, bytes } => {
                // A write may be all that is left of a file whose making is still uncertain.
                let node = Node::File {
                    bytes: Vec::new(),
                    modified: SystemTime::UNIX_EPOCH,
                };
                self.nodes.entry(*inode).or_insert(node);
                if let Some(file) = self.bytes(*inode) {
                    write(file, *offset, bytes, fate);
                }
            }
            Op::SetModified { inode, time } => {
                if let Some(Node::File { modified, .. }) = self.nodes.get_mut(inode) {
                    *modified = *time;
                }
            }
            Op::Sync { .. } | Op::SyncData { .. } | Op::SyncDir { .. } | Op::SyncAll => {}
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let moved: Vec<(PathBuf, u64)> = self
            .names
            .iter()
            .filter(|(name, _)| name.starts_with(from))
            .map(|(name, inode)| (name.clone(), *inode))
            .collect();
        for (name, inode) in moved {
            self.names.remove(&name);
            let rest = name.strip_prefix(from).unwrap_or(Path::new(""));
            let target = if rest.as_os_str().is_empty() {
                to.to_owned()
            } else {
                to.join(rest)
            };
            self.names.insert(target, inode);
        }
    }
}

/// Writes what `fate` leaves of `bytes`.
fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8], fate: Fate) {
    let end = offset + bytes.len();
    if fate == Fate::Dropped {
        return;
    }
    if file.len() < end {
        file.resize(end, 0);
    }
    if fate == Fate::Zeros {
        return;
    }
    let middle = (offset + end) / 2;
    for (at, byte) in (offset..end).zip(bytes) {
        let sector_start = at - at % SECTOR;
        let kept = match fate {
            Fate::Kept => true,
            Fate::FirstHalf => sector_start < middle,
            Fate::LastHalf => sector_start >= middle,
            Fate::EverySecond => (at / SECTOR).is_multiple_of(2),
            Fate::Dropped | Fate::Zeros => false,
        };
        if kept && let Some(place) = file.get_mut(at) {
            *place = *byte;
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> DiskResult<File> {
        let failed = |kind: io::ErrorKind| DiskError::new("open", path, kind);
        let mut state = self.state();
        let inode = match (state.now.names.get(path).copied(), how.create) {
            (Some(_), Create::New) => return Err(failed(io::ErrorKind::AlreadyExists)),
            (Some(inode), _) => {
                if matches!(state.now.nodes.get(&inode), Some(Node::Directory)) {
                    return Err(failed(io::ErrorKind::IsADirectory));
                }
                if how.truncate {
                    state.apply(Op::Truncate { inode, length: 0 });
                }
                inode
            }
            (None, Create::No) => return Err(failed(io::ErrorKind::NotFound)),
            (None, _) => {
                if !state.parent_exists(path) {
                    return Err(failed(io::ErrorKind::NotFound));
                }
                let inode = state.next;
                state.next += 1;
                state.apply(Op::Create {
                    path: path.to_owned(),
                    inode,
                });
                inode
            }
        };
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            inode,
            path: path.to_owned(),
        }))
    }

    fn stat(&self, path: &Path) -> DiskResult<Stat> {
        let state = self.state();
        let inode = state.now.names.get(path).copied();
        inode
            .and_then(|inode| stat_of(&state.now, inode))
            .ok_or_else(|| DiskError::new("stat", path, io::ErrorKind::NotFound))
    }

    fn link(&self, from: &Path, to: &Path) -> DiskResult<()> {
        let failed = |kind: io::ErrorKind| DiskError::new("link", to, kind);
        let mut state = self.state();
        let inode = state
            .now
            .names
            .get(from)
            .copied()
            .ok_or_else(|| failed(io::ErrorKind::NotFound))?;
        if state.now.names.contains_key(to) {
            return Err(failed(io::ErrorKind::AlreadyExists));
        }
        if !state.parent_exists(to) {
            return Err(failed(io::ErrorKind::NotFound));
        }
        state.apply(Op::Link {
            to: to.to_owned(),
            inode,
        });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()> {
        let failed = |kind: io::ErrorKind| DiskError::new("rename", to, kind);
        let mut state = self.state();
        let inode = state
            .now
            .names
            .get(from)
            .copied()
            .ok_or_else(|| failed(io::ErrorKind::NotFound))?;
        if !state.parent_exists(to) {
            return Err(failed(io::ErrorKind::NotFound));
        }
        state.apply(Op::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
            inode,
        });
        Ok(())
    }

    fn unlink(&self, path: &Path) -> DiskResult<()> {
        let mut state = self.state();
        let inode = state.now.names.get(path).copied();
        let inode = inode.ok_or_else(|| DiskError::new("unlink", path, io::ErrorKind::NotFound))?;
        if matches!(state.now.nodes.get(&inode), Some(Node::Directory)) {
            return Err(DiskError::new("unlink", path, io::ErrorKind::IsADirectory));
        }
        state.apply(Op::Unlink {
            path: path.to_owned(),
            inode,
        });
        Ok(())
    }

    fn make_dirs(&self, path: &Path) -> DiskResult<()> {
        let mut state = self.state();
        let mut missing = Vec::new();
        for dir in path.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
            match state.now.node(dir) {
                Some(Node::Directory) => break,
                Some(Node::File { .. }) => {
                    return Err(DiskError::new("mkdir", dir, io::ErrorKind::NotADirectory));
                }
                None => missing.push(dir.to_owned()),
            }
        }
        for path in missing.into_iter().rev() {
            let inode = state.next;
            state.next += 1;
            state.apply(Op::MakeDir { path, inode });
        }
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> DiskResult<()> {
        let mut state = self.state();
        let inode = state.now.names.get(path).copied();
        let inode = inode.ok_or_else(|| DiskError::new("rmdir", path, io::ErrorKind::NotFound))?;
        if state.now.names.keys().any(|name| name.parent() == Some(path)) {
            return Err(DiskError::new("rmdir", path, io::ErrorKind::DirectoryNotEmpty));
        }
        state.apply(Op::Unlink {
            path: path.to_owned(),
            inode,
        });
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> DiskResult<Vec<DirEntry>> {
        let state = self.state();
        if !matches!(state.now.node(path), Some(Node::Directory)) {
            return Err(DiskError::new("readdir", path, io::ErrorKind::NotFound));
        }
        let inside = state
            .now
            .names
            .iter()
            .filter(|(name, _)| name.parent() == Some(path));
        Ok(inside
            .filter_map(|(name, inode)| {
                let kind = stat_of(&state.now, *inode)?.kind;
                Some(DirEntry {
                    name: name.file_name()?.to_owned(),
                    kind,
                })
            })
            .collect())
    }

    fn sync_dir(&self, path: &Path) -> DiskResult<()> {
        self.state().apply(Op::SyncDir {
            path: path.to_owned(),
        });
        Ok(())
    }

    fn sync_many(&self, files: &[&File]) -> DiskResult<()> {
        match files {
            [] => Ok(()),
            [one] => one.sync(),
            [one, two] => one.sync().and_then(|()| two.sync()),
            _ => {
                self.state().apply(Op::SyncAll);
                Ok(())
            }
        }
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: u64,
    path: PathBuf,
}

impl DiskFile for SimFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn stat(&self) -> DiskResult<Stat> {
        stat_of(&self.disk.state().now, self.inode)
            .ok_or_else(|| DiskError::new("fstat", &self.path, io::ErrorKind::NotFound))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> DiskResult<usize> {
        let mut state = self.disk.state();
        let bytes = state.now.bytes(self.inode).map_or(&[][..], |bytes| bytes);
        let start = usize::try_from(offset).map_or(bytes.len(), |offset| offset.min(bytes.len()));
        let available = bytes.get(start..).unwrap_or_default();
        let count = available.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), available.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> DiskResult<()> {
        let offset = usize::try_from(offset)
            .map_err(|_| DiskError::new("write", &self.path, io::ErrorKind::FileTooLarge))?;
        self.disk.state().apply(Op::Write {
            inode: self.inode,
            offset,
            bytes: bytes.to_vec(),
        });
        Ok(())
    }

    fn truncate(&self, length: u64) -> DiskResult<()> {
        let length = usize::try_from(length)
            .map_err(|_| DiskError::new("ftruncate", &self.path, io::ErrorKind::FileTooLarge))?;
        self.disk.state().apply(Op::Truncate {
            inode: self.inode,
            length,
        });
        Ok(())
    }

    fn sync(&self) -> DiskResult<()> {
        self.disk.state().apply(Op::Sync { inode: self.inode });
        Ok(())
    }

    fn sync_data(&self) -> DiskResult<()> {
        self.disk.state().apply(Op::SyncData { inode: self.inode });
        Ok(())
    }

    fn set_modified(&self, time: SystemTime) -> DiskResult<()> {
        self.disk.state().apply(Op::SetModified {
            inode: self.inode,
            time,
        });
        Ok(())
    }

    /// Threads are kept apart by the lock table; there are no other processes on a simulated disk.
    fn try_lock(&self, _mode: Mode) -> DiskResult<bool> {
        Ok(true)
    }

    fn unlock(&self) -> DiskResult<()> {
        Ok(())
    }

    fn map(&self, length: usize, _reserve: usize) -> DiskResult<Map> {
        let mut state = self.disk.state();
        let bytes = state.now.bytes(self.inode).map_or(&[][..], |bytes| bytes);
        let mapped = bytes.get(..length);
        mapped
            .map(Map::of_bytes)
            .ok_or_else(|| DiskError::new("mmap", &self.path, io::ErrorKind::UnexpectedEof))
    }
}

fn stat_of(content: &Content, inode: u64) -> Option<Stat> {
    let (size, modified, kind) = match content.nodes.get(&inode)? {
        Node::Directory => (0, SystemTime::UNIX_EPOCH, FileKind::Directory),
        Node::File { bytes, modified } => (bytes.len() as u64, *modified, FileKind::File),
    };
    let links = content.names.values().filter(|named| **named == inode).count() as u64;
    let modified = modified.max(SystemTime::UNIX_EPOCH + Duration::ZERO);
    Some(Stat {
        device: 1,
        inode,
        size,
        links,
        modified,
        kind,
    })
}

const ROOT: u64 = 1;
const SECTOR: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(sim: &SimDisk, path: &str) -> std::collections::BTreeSet<Option<Vec<u8>>> {
        sim.crash_states(10_000)
            .map(|crash| crash.disk.read(Path::new(path)).ok())
            .collect()
    }

    #[test]
    fn unsynced_write_may_be_kept_dropped_or_torn() {
        let sim = SimDisk::new();
        let file = sim.open(Path::new("/f"), Open::create()).unwrap();
        file.write_at(&[b'o'; 1024], 0).unwrap();
        file.sync().unwrap();
        sim.settle();
        file.write_at(&[b'n'; 1024], 0).unwrap();
        let seen = contents(&sim, "/f");
        let torn: Vec<u8> = [[b'n'; 512], [b'o'; 512]].concat();
        for expected in [vec![b'o'; 1024], vec![b'n'; 1024], torn] {
            assert!(seen.contains(&Some(expected)));
        }
        file.sync_data().unwrap();
        let last = sim.operations();
        let after: Vec<_> = sim
            .crash_states(10_000)
            .filter(|crash| crash.after == last)
            .collect();
        assert!(!after.is_empty());
        assert!(
            after
                .iter()
                .all(|crash| crash.disk.read(Path::new("/f")).unwrap() == [b'n'; 1024])
        );
    }

    #[test]
    fn rename_is_certain_only_after_a_sync_of_the_directory() {
        let sim = SimDisk::new();
        for (name, content) in [("/f", b"old"), ("/f.NEW", b"new")] {
            let file = sim.open(Path::new(name), Open::create()).unwrap();
            file.write_at(content, 0).unwrap();
            file.sync().unwrap();
        }
        sim.settle();
        sim.rename(Path::new("/f.NEW"), Path::new("/f")).unwrap();
        assert_eq!(contents(&sim, "/f").len(), 2);
        sim.sync_dir(Path::new("/")).unwrap();
        let last = sim.operations();
        let after: Vec<_> = sim
            .crash_states(10_000)
            .filter(|crash| crash.after == last)
            .collect();
        assert!(
            after
                .iter()
                .all(|crash| crash.disk.read(Path::new("/f")).unwrap() == b"new")
        );
    }

    #[test]
    fn rename_of_an_unsynced_file_can_leave_an_empty_one() {
        let sim = SimDisk::new();
        let file = sim.open(Path::new("/f.NEW"), Open::create()).unwrap();
        file.write_at(b"new", 0).unwrap();
        sim.rename(Path::new("/f.NEW"), Path::new("/f")).unwrap();
        assert!(contents(&sim, "/f").contains(&Some(Vec::new())));
    }

    #[test]
    fn fsync_of_a_new_file_makes_its_name_certain() {
        let sim = SimDisk::new();
        let file = sim.open(Path::new("/f"), Open::create()).unwrap();
        file.write_at(b"x", 0).unwrap();
        file.sync().unwrap();
        let last = sim.operations();
        let mut after = sim.crash_states(10_000).filter(|crash| crash.after == last);
        assert!(after.all(|crash| crash.disk.read(Path::new("/f")).unwrap() == b"x"));
    }

    #[test]
    fn one_barrier_settles_several_files() {
        let sim = SimDisk::new();
        let files: Vec<File> = ["/a", "/b", "/c"]
            .iter()
            .map(|name| sim.open(Path::new(name), Open::create()).unwrap())
            .collect();
        files.iter().for_each(|file| file.write_at(b"x", 0).unwrap());
        sim.sync_many(&files.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(sim.syncs(), 1);
        let last = sim.operations();
        let mut after = sim.crash_states(10_000).filter(|crash| crash.after == last);
        assert!(after.all(|crash| crash.disk.read(Path::new("/c")).unwrap() == b"x"));
    }
}
