//! A disk that is full, or of which its owner may not have more: whatever needed room is refused as a whole, and everything
//! goes on once there is room again.
#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use cyrus_acl::AuthState;
use cyrus_store::options::{ExpungeMode, PartitionPaths};
use cyrus_store::sys::{
    Access, Create, DirEntry, Disk, DiskError, DiskFile, DiskResult, File, Map, Mode, Open, RealDisk, Space,
    Stat,
};
use cyrus_store::{
    Archive, Archiving, CopyMode, DeliverOptions, ErrorClass, Expiry, Expunge, FlagChange, FlagMode,
    FlagNames, Guid, Keyword, Mailbox, MailboxError, MailboxName, NewMessage, Partition, QuotaRoot,
    Recipient, Resource, Store, StoreOptions, SystemFlags, Uid, UidSet,
};

/// When an operation that needs room is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Full {
    /// From a number of operations on, whatever takes up more of the disk.
    From,
    /// One operation that changes the disk in whatever way, and none after it.
    Once,
}

/// The disk of the machine, which is full at times.
#[derive(Clone)]
struct Filling(Arc<Inner>);

struct Inner {
    kind: io::ErrorKind,
    on: AtomicBool,
    once: AtomicBool,
    left: AtomicUsize,
    refused: AtomicUsize,
}

impl fmt::Debug for Filling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filling")
    }
}

impl Filling {
    fn new(kind: io::ErrorKind) -> Self {
        Self(Arc::new(Inner {
            kind,
            on: AtomicBool::new(false),
            once: AtomicBool::new(false),
            left: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        }))
    }

    /// Lets so many operations pass before one is refused.
    fn fill(&self, full: Full, after: usize) {
        self.0.left.store(after, Ordering::SeqCst);
        self.0.once.store(full == Full::Once, Ordering::SeqCst);
        self.0.refused.store(0, Ordering::SeqCst);
        self.0.on.store(true, Ordering::SeqCst);
    }

    /// Makes room, and tells how often there was none.
    fn empty(&self) -> usize {
        self.0.on.store(false, Ordering::SeqCst);
        self.0.refused.load(Ordering::SeqCst)
    }

    /// Counts an operation; `grows` says whether it takes up more of the disk.
    fn ask(&self, op: &'static str, path: &Path, grows: bool) -> DiskResult<()> {
        let inner = &self.0;
        if !inner.on.load(Ordering::SeqCst) {
            return Ok(());
        }
        let once = inner.once.load(Ordering::SeqCst);
        if !once && !grows {
            return Ok(());
        }
        // Staging files, locks and the list of what was delivered are counted like everything else.
        let left = inner.left.load(Ordering::SeqCst);
        if left > 0 {
            inner.left.store(left - 1, Ordering::SeqCst);
            return Ok(());
        }
        if once && inner.refused.load(Ordering::SeqCst) > 0 {
            return Ok(());
        }
        inner.refused.fetch_add(1, Ordering::SeqCst);
        Err(DiskError::new(op, path, inner.kind))
    }
}

impl Disk for Filling {
    fn open(&self, path: &Path, how: Open) -> DiskResult<File> {
        if how.create != Create::No && how.access == Access::ReadWrite {
            let is_new = RealDisk.try_stat(path)?.is_none();
            if is_new || how.truncate {
                self.ask("open", path, is_new)?;
            }
        }
        Ok(Arc::new(FillingFile {
            disk: self.clone(),
            file: RealDisk.open(path, how)?,
        }))
    }

    fn stat(&self, path: &Path) -> DiskResult<Stat> {
        RealDisk.stat(path)
    }

    fn link(&self, from: &Path, to: &Path) -> DiskResult<()> {
        self.ask("link", to, true)?;
        RealDisk.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()> {
        self.ask("rename", to, false)?;
        RealDisk.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> DiskResult<()> {
        RealDisk.unlink(path)
    }

    fn make_dirs(&self, path: &Path) -> DiskResult<()> {
        if RealDisk.try_stat(path)?.is_none() {
            self.ask("mkdir", path, true)?;
        }
        RealDisk.make_dirs(path)
    }

    fn remove_dir(&self, path: &Path) -> DiskResult<()> {
        RealDisk.remove_dir(path)
    }

    fn read_dir(&self, path: &Path) -> DiskResult<Vec<DirEntry>> {
        RealDisk.read_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> DiskResult<()> {
        self.ask("fsync", path, false)
    }

    fn sync_many(&self, files: &[&File]) -> DiskResult<()> {
        // Nothing here has to survive a crash.
        files
            .iter()
            .try_for_each(|file| self.ask("fsync", file.path(), false))
    }

    fn space(&self, path: &Path) -> DiskResult<Option<Space>> {
        RealDisk.space(path)
    }
}

#[derive(Debug)]
struct FillingFile {
    disk: Filling,
    file: File,
}

impl DiskFile for FillingFile {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn stat(&self) -> DiskResult<Stat> {
        self.file.stat()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> DiskResult<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> DiskResult<()> {
        const BLOCK: u64 = 4096;
        let blocks = |octets: u64| octets.div_ceil(BLOCK);
        let (size, end) = (self.file.size()?, offset + bytes.len() as u64);
        match self.disk.ask("write", self.path(), blocks(end) > blocks(size)) {
            Ok(()) => self.file.write_at(bytes, offset),
            Err(error) => {
                // As on a real disk, some of it may be there.
                let some = bytes.get(..bytes.len() / 2).unwrap_or_default();
                if end > size {
                    self.file.write_at(some, offset)?;
                }
                Err(error)
            }
        }
    }

    fn truncate(&self, length: u64) -> DiskResult<()> {
        self.disk.ask("ftruncate", self.path(), false)?;
        self.file.truncate(length)
    }

    fn sync(&self) -> DiskResult<()> {
        self.disk.ask("fsync", self.path(), false)
    }

    fn sync_data(&self) -> DiskResult<()> {
        self.disk.ask("fdatasync", self.path(), false)
    }

    fn set_modified(&self, time: SystemTime) -> DiskResult<()> {
        self.file.set_modified(time)
    }

    fn try_lock(&self, mode: Mode) -> DiskResult<bool> {
        self.file.try_lock(mode)
    }

    fn unlock(&self) -> DiskResult<()> {
        self.file.unlock()
    }

    fn map(&self, length: usize, reserve: usize) -> DiskResult<Map> {
        self.file.map(length, reserve)
    }
}

/// A store on such a disk: two users with quota roots, and messages.
struct Site {
    dir: tempfile::TempDir,
    disk: Filling,
    options: StoreOptions,
}

const USERS: [&str; 2] = ["user.a", "user.b"];

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap()
}

fn system() -> AuthState {
    AuthState::system()
}

fn message(number: usize) -> Vec<u8> {
    let mut text = format!("From: a@b\r\nSubject: {number}\r\nMessage-ID: <{number}@x>\r\n\r\n").into_bytes();
    text.extend(std::iter::repeat_n(*b"x\r\n", 300 + 7 * number).flatten());
    text
}

fn messages(count: usize) -> Vec<NewMessage> {
    (1..=count).map(|n| NewMessage::from_bytes(message(n))).collect()
}

impl Site {
    fn new(kind: io::ErrorKind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let disk = Filling::new(kind);
        let mut options = StoreOptions::new(root.join("conf")).partition("default", root.join("spool"));
        let other = PartitionPaths {
            data: root.join("other"),
            meta: None,
            archive: Some(root.join("archive")),
        };
        options.partitions.insert(Partition::new("other").unwrap(), other);
        options.disk = Arc::new(disk.clone());
        options.expunge_mode = ExpungeMode::Delayed;
        options.archiving = Archiving {
            max_size: 3_000,
            ..Archiving::default()
        };
        let site = Self { dir, disk, options };
        let store = site.store();
        for user in USERS {
            store.create(&name(user), &system()).unwrap();
            store.create(&name(&format!("{user}.sub")), &system()).unwrap();
            let root = QuotaRoot::at(&name(user));
            store
                .set_quota(&root, &[(Resource::Storage, Some(100_000))], &system())
                .unwrap();
            site.open(&store, user).append(messages(9)).unwrap();
        }
        site
    }

    fn store(&self) -> Store {
        Store::open(self.options.clone()).unwrap()
    }

    fn open(&self, store: &Store, mailbox: &str) -> Mailbox {
        store.open_mailbox(&name(mailbox), &system()).unwrap()
    }

    /// All that can be seen: every mailbox with its messages and flags, and every quota root.
    fn look(&self) -> Vec<String> {
        let store = self.store();
        let mut seen = Vec::new();
        let mut names = Vec::new();
        store
            .list("", &system(), &mut |entry, _| {
                let where_ = entry.partition.as_ref().map(ToString::to_string);
                names.push((entry.name.to_string(), where_.unwrap_or_default()));
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        for (mailbox, partition) in names {
            let mut opened = self.open(&store, &mailbox);
            let read = opened.read().unwrap();
            let mut line = format!("{mailbox} on {partition}:");
            for message in read.messages() {
                let file = message.file().unwrap();
                assert_eq!(Guid::of(&file), message.guid());
                assert!(message.cache().unwrap().envelope().starts_with(b"("));
                let keywords: Vec<String> = message
                    .flags()
                    .keywords
                    .slots()
                    .filter_map(|slot| read.keywords().get(slot)?.as_ref().map(ToString::to_string))
                    .collect();
                line.push_str(&format!(
                    " {}={}{:?}{keywords:?}",
                    message.uid(),
                    message.size(),
                    message.flags().system
                ));
            }
            line.push_str(&format!(
                " next {} of {} octets",
                read.uidnext(),
                read.header().quota_mailbox_used
            ));
            seen.push(line);
        }
        store
            .quota_roots("", &mut |root, quota| {
                seen.push(format!("{root}: {:?} of {:?}", quota.used, quota.limit));
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        seen
    }

    /// What is wrong: usage that is not what is counted anew, and message files that no record names.
    fn faults(&self) -> Vec<String> {
        let store = self.store();
        let mut faults = Vec::new();
        let mut roots = Vec::new();
        store
            .quota_roots("", &mut |root, _| {
                roots.push(root);
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        for root in roots {
            let found = store.fix_quota_root(&root, true).unwrap();
            faults.extend(found.iter().map(|fault| format!("{fault:?}")));
        }
        faults.extend(self.strays(&store));
        faults
    }

    /// Message files without a record, and files left half-written.
    fn strays(&self, store: &Store) -> Vec<String> {
        let mut known = std::collections::BTreeSet::new();
        store
            .list("", &system(), &mut |entry, _| {
                let id = entry.id.clone().unwrap();
                let partition = entry.partition.clone().unwrap();
                let paths = self
                    .options
                    .mailbox_paths(&partition, &id, &entry.name, false)
                    .unwrap();
                let mut mailbox = store.open_mailbox(&entry.name, &system()).unwrap();
                let read = mailbox.read().unwrap();
                for message in read.range_with_expunged(Uid::MIN..=Uid::MAX) {
                    let record = message.record().unwrap();
                    // What archiving has left goes when the mailbox is closed.
                    known.insert(paths.message(record.uid, record.is_archived()));
                    known.insert(paths.message(record.uid, false));
                }
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        let mut strays = Vec::new();
        for top in ["spool", "other", "archive"] {
            let mut left = vec![self.dir.path().join(top)];
            while let Some(dir) = left.pop() {
                for entry in std::fs::read_dir(dir).into_iter().flatten() {
                    let entry = entry.unwrap();
                    let file_name = entry.file_name().to_string_lossy().into_owned();
                    if entry.file_type().unwrap().is_dir() {
                        left.push(entry.path());
                    } else if (file_name.ends_with('.') || file_name.starts_with("cyrus.archive."))
                        && !known.contains(&entry.path())
                    {
                        strays.push(entry.path().display().to_string());
                    }
                }
            }
        }
        strays
    }
}

type Change = fn(&Site, &Store) -> Result<(), MailboxError>;

fn first(count: u32) -> UidSet {
    UidSet::from(Uid::MIN..=Uid::new(count).unwrap())
}

fn flag(text: &str) -> FlagChange {
    FlagChange {
        mode: FlagMode::Add,
        flags: FlagNames {
            system: SystemFlags::FLAGGED | SystemFlags::DELETED,
            keywords: vec![Keyword::new(text).unwrap()],
        },
    }
}

/// What is tried on the full disk. Each leaves all as it was, or all as it is to be.
const CHANGES: [(&str, Change); 12] = [
    ("append", |site, store| {
        site.open(store, "user.a").append(messages(3)).map(drop)
    }),
    ("append of a large message", |site, store| {
        let mut mailbox = site.open(store, "user.a");
        let mut stage = mailbox.stage()?;
        let large = [message(1), b"0123456\r\n".repeat(60_000)].concat();
        io::Write::write_all(&mut stage, &large).map_err(|error| {
            let inner = error
                .into_inner()
                .and_then(|inner| inner.downcast::<DiskError>().ok());
            MailboxError::from(*inner.expect("an error of the disk"))
        })?;
        mailbox.append(NewMessage::from_staged(stage.finish()?)).map(drop)
    }),
    ("deliver", |_, store| {
        let recipients = [Recipient::new([name("user.b")])];
        let staged = store.staged(message(77))?;
        let results = store.deliver(&staged, DeliverOptions::default(), &recipients);
        results.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
    }),
    ("copy", |site, store| {
        let mut mailbox = site.open(store, "user.a");
        mailbox
            .copy(&first(4), &name("user.b.sub"), CopyMode::Copy)
            .map(drop)
    }),
    ("flags", |site, store| {
        let mut mailbox = site.open(store, "user.a");
        mailbox.store_flags(&first(5), &flag("new"), None).map(drop)
    }),
    ("expunge", |site, store| {
        let mut mailbox = site.open(store, "user.a");
        mailbox.expunge(Expunge::Replaced(&first(5))).map(drop)
    }),
    ("create", |_, store| {
        store.create(&name("user.a.sub.new"), &system()).map(drop)
    }),
    ("rename", |_, store| {
        let (from, to) = (name("user.a.sub"), name("user.b.other"));
        store.rename(&from, &to, None, &system()).map(drop)
    }),
    ("delete", |_, store| store.delete(&name("user.a.sub"), &system())),
    ("move to another partition", |_, store| {
        let other = Partition::new("other").unwrap();
        store
            .rename(&name("user.b.sub"), &name("user.b.sub"), Some(other), &system())
            .map(drop)
    }),
    ("set a limit", |_, store| {
        let root = QuotaRoot::at(&name("user.b.sub"));
        store.set_quota(&root, &[(Resource::Message, Some(5))], &system())
    }),
    ("expire", |site, store| {
        let mut mailbox = site.open(store, "user.b");
        let how = Expiry {
            sent_before: Some(u32::MAX),
            ..Expiry::default()
        };
        mailbox.expire(&how).map(drop)
    }),
];

/// Tries a change with the disk full from each of its operations on.
fn refused_as_a_whole(what: &str, change: Change, full: Full, kind: io::ErrorKind) {
    let mut refusals = 0;
    for after in 0..200 {
        let site = Site::new(kind);
        let before = site.look();
        let store = site.store();
        site.disk.fill(full, after);
        let result = change(&site, &store);
        let refused = site.disk.empty();
        let context = format!("{what}, {full:?} after {after}");
        let seen = site.look();
        if let Err(error) = &result {
            assert_eq!(error.class(), ErrorClass::System, "{context}: {error}");
            assert!(refused > 0, "{context}: {error}");
            assert!(
                seen == before,
                "{context}: {error}\nbefore: {before:#?}\nafter: {seen:#?}"
            );
            refusals += 1;
        }
        let faults = site.faults();
        assert_eq!(faults, [""; 0], "{context}: {result:?}");
        // Everything goes on.
        if result.is_err() {
            change(&site, &store).unwrap_or_else(|error| panic!("{context}: again: {error}"));
            assert_eq!(site.faults(), [""; 0], "{context}: again");
        }
        if refused == 0 {
            assert!(refusals > 0, "{what} needs no room");
            return;
        }
    }
    panic!("{what} has no end");
}

#[test]
fn whatever_finds_no_room_is_refused_as_a_whole() {
    for (what, change) in CHANGES {
        // Nothing new, and lower usage: a full disk is no reason.
        if what == "expunge" || what == "expire" {
            continue;
        }
        refused_as_a_whole(what, change, Full::From, io::ErrorKind::StorageFull);
    }
}

#[test]
fn a_limit_of_the_owner_is_like_a_full_disk() {
    for (what, change) in CHANGES.into_iter().take(3) {
        refused_as_a_whole(what, change, Full::From, io::ErrorKind::QuotaExceeded);
    }
}

#[test]
fn a_single_failure_of_the_disk_leaves_nothing_by_halves() {
    for (what, change) in CHANGES.into_iter().take(6) {
        refused_as_a_whole(what, change, Full::Once, io::ErrorKind::StorageFull);
    }
}

#[test]
fn on_a_full_disk_messages_can_be_read_flagged_and_expunged() {
    let site = Site::new(io::ErrorKind::StorageFull);
    let store = site.store();
    let mut mailbox = site.open(&store, "user.a");
    mailbox.store_flags(&first(2), &flag("known"), None).unwrap();
    site.disk.fill(Full::From, 0);
    let read = mailbox.read().unwrap();
    assert!(read.messages().all(|message| message.file().is_ok()));
    drop(read);
    mailbox.store_flags(&first(6), &flag("known"), None).unwrap();
    assert_eq!(mailbox.expunge(Expunge::AllDeleted).unwrap().len(), 6);
    assert!(mailbox.append(messages(1)).is_err());
    site.disk.empty();
    assert_eq!(site.faults(), [""; 0]);
}

#[test]
fn archiving_without_room_moves_nothing_or_whole_messages() {
    for after in 0..60 {
        let site = Site::new(io::ErrorKind::StorageFull);
        let store = site.store();
        let other = Partition::new("other").unwrap();
        let mailbox = name("user.b");
        store.rename(&mailbox, &mailbox, Some(other), &system()).unwrap();
        let before = site.look();
        site.disk.fill(Full::From, after);
        let all = Archive {
            received_before: u32::MAX,
        };
        let moved = site.open(&store, "user.b").archive(&all);
        let refused = site.disk.empty();
        assert_eq!(site.look(), before, "after {after}");
        assert_eq!(site.faults(), [""; 0], "after {after}: {moved:?}");
        let again = site.open(&store, "user.b").archive(&all).unwrap();
        assert_eq!(again.moved + moved.map_or(0, |moved| moved.moved), 9);
        if refused == 0 {
            return;
        }
    }
    panic!("archiving has no end");
}
