//! Snapshots: copies of a store, or of some mailboxes, as of one moment, that cost little room and time because message files,
//! which nobody writes into, are shared with the store by hard links.
//!
//! A snapshot is a store itself: `conf` and, for each partition, `partition/NAME`. It can be opened, read, and copied back.
//! [`Store::restore_messages`] takes mailboxes and messages out of it.
//!
//! The mailboxes of one user are as of one moment, for which he waits if he changes anything; with `whole`, all are.

mod restore;

use std::collections::BTreeMap;
use std::path::Path;

use crate::db::{self, DbError, Engine};
use crate::error::MailboxError;
use crate::format::mboxentry::MailboxRow;
use crate::lock::{DataLock, Guard, Recheck};
use crate::mboxlist::MailboxEntry;
use crate::name::MailboxName;
use crate::options::{PartitionPaths, StoreOptions};
use crate::paths::MailboxPaths;
use crate::reconstruct::{read_if_there, spool_of};
use crate::store::{Store, now};
use crate::sys::{File, Mode, Open};

pub use self::restore::Restored;

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Mailboxes.
    pub mailboxes: u64,
    /// Messages.
    pub messages: u64,
    /// Messages that were copied, since they are on another file system.
    pub copied: u64,
}

/// The mailboxes of one owner, with their rows.
type Group = Vec<(MailboxName, MailboxRow)>;

/// A mailbox that is kept still.
struct Held {
    _mailbox: Guard,
    index: Option<DataLock>,
}

impl Store {
    /// Makes a snapshot in a new or empty directory, of the mailboxes that are `wanted`; `each` hears of every one.
    ///
    /// With `whole`, everything is as of one moment: nobody can change a mailbox until all are copied.
    ///
    /// # Errors
    /// The directory is not empty; a file cannot be read or written. What was made by then is no snapshot.
    pub fn snapshot(
        &self,
        to: &Path,
        whole: bool,
        wanted: &dyn Fn(&MailboxName) -> bool,
        each: &mut dyn FnMut(&MailboxName),
    ) -> Result<Snapshot, MailboxError> {
        let disk = self.disk();
        disk.make_dirs(to)?;
        if !disk.read_dir(to)?.is_empty() {
            return Err(MailboxError::Refused(format!(
                "{}: not empty; a snapshot needs a directory of its own",
                to.display()
            )));
        }
        let copy = Self::open(self.snapshot_options(to))?;
        disk.make_dirs(&copy.options().config_dir)?;
        let mut groups: BTreeMap<Option<String>, Group> = BTreeMap::new();
        for (name, row) in self.rows()? {
            if wanted(&name) && !row.mbtype.deleted && !row.mbtype.remote {
                groups.entry(self.owner_of(&name)).or_default().push((name, row));
            }
        }
        let mut done = Snapshot::default();
        let mut rows = Vec::new();
        let mut users = Vec::new();
        if whole {
            // In the order in which all take these locks: owners, then mailboxes by name.
            for owner in groups.keys() {
                users.push(self.hold_user(owner.as_deref())?);
            }
        }
        let mut shared = Vec::new();
        for (owner, group) in &groups {
            let user = match whole {
                true => None,
                false => Some(self.hold_user(owner.as_deref())?),
            };
            for (name, row) in group {
                let copied = self.copy_mailbox(&copy, name, row, &mut done)?;
                let Some((row, held)) = copied else { continue };
                rows.push((name.clone(), row));
                // A lock on the user does not keep those still who write into mailboxes without owner.
                if whole && owner.is_none() {
                    shared.extend(held);
                }
                each(name);
                self.forget_idle();
            }
            if let Some(userid) = owner {
                self.copy_user(&copy, userid)?;
            }
            drop(user);
        }
        drop((shared, users));
        self.copy_databases(&copy)?;
        copy.restore_rows(&rows)?;
        let text = format!("cyrus snapshot 1\ntime {}\nmailboxes {}\n", now(), done.mailboxes);
        let mark = disk.open(&to.join(MARK), Open::replace())?;
        mark.write_at(text.as_bytes(), 0)?;
        mark.sync()?;
        disk.sync_dir(to)?;
        Ok(done)
    }

    /// Opens a snapshot of this store.
    ///
    /// # Errors
    /// The directory holds none, or one that was not finished.
    pub fn open_snapshot(&self, from: &Path) -> Result<Self, MailboxError> {
        let mark = from.join(MARK);
        if self.disk().try_stat(&mark)?.is_none() {
            return Err(MailboxError::Refused(format!(
                "{}: missing, so this is no snapshot, or one that was not finished",
                mark.display()
            )));
        }
        Self::open(self.snapshot_options(from))
    }

    fn snapshot_options(&self, directory: &Path) -> StoreOptions {
        let mut options = self.options().clone();
        options.config_dir = directory.join("conf");
        options.lock_path = None;
        options.announcer = None;
        options.statuscache = false;
        options.recover_old_databases = false;
        let databases = &mut options.databases;
        for path in [
            &mut databases.mboxlist_path,
            &mut databases.annotation_path,
            &mut databases.duplicate_path,
            &mut databases.statuscache_path,
            &mut databases.quota_path,
        ] {
            *path = None;
        }
        for (name, paths) in &mut options.partitions {
            let base = directory.join("partition").join(name.as_str());
            *paths = PartitionPaths {
                data: base.join("data"),
                meta: paths.meta.as_ref().map(|_| base.join("meta")),
                archive: paths.archive.as_ref().map(|_| base.join("archive")),
            };
        }
        options
    }

    fn hold_user(&self, owner: Option<&str>) -> Result<Guard, MailboxError> {
        let path = self.options().namespace_lock_path(owner);
        Ok(self.locks().lock_file(&path, Mode::Shared, self.wait())?)
    }

    /// Copies one mailbox, and gives its row as it is now, and what keeps it still. `None` if it is gone.
    fn copy_mailbox(
        &self,
        copy: &Store,
        name: &MailboxName,
        row: &MailboxRow,
        done: &mut Snapshot,
    ) -> Result<Option<(MailboxRow, Option<Held>)>, MailboxError> {
        if row.mbtype.intermediate {
            return Ok(Some((row.clone(), None)));
        }
        let Some(row) = self.row_of(name)?.filter(|row| row.mbtype.is_usable()) else {
            return Ok(None);
        };
        let entry = MailboxEntry::from_row(name.clone(), &row, self);
        let (from, to) = (self.paths_of(&entry)?, copy.paths_of(&entry)?);
        let held = Held {
            _mailbox: self.locks().lock_file(&from.lock, Mode::Shared, self.wait())?,
            index: match self.disk().try_stat(&from.index)? {
                None => None,
                Some(_) => Some(self.locks().data_file(&from.index).lock(
                    Mode::Shared,
                    self.wait(),
                    Open::write(),
                    Recheck::Replaced,
                )?),
            },
        };
        self.copy_files(&held, &from, &to)?;
        done.mailboxes += 1;
        for (uid, (path, archived)) in spool_of(self, &from)?.messages {
            done.messages += 1;
            done.copied += u64::from(!self.share_or_copy(&path, &to.message(uid, archived))?);
        }
        for directory in [&to.data, &to.archive] {
            if self.disk().try_stat(directory)?.is_some() {
                self.disk().sync_dir(directory)?;
            }
        }
        Ok(Some((row, Some(held))))
    }

    /// Copies the files of a mailbox that are written into, and links the others.
    fn copy_files(&self, held: &Held, from: &MailboxPaths, to: &MailboxPaths) -> Result<(), MailboxError> {
        let disk = self.disk();
        for path in [&to.index, &to.header, &to.cache, &to.archive_cache] {
            if let Some(directory) = path.parent() {
                disk.make_dirs(directory)?;
            }
        }
        disk.make_dirs(&to.data)?;
        let mut written: Vec<File> = Vec::new();
        let mut write = |path: &Path, bytes: &[u8]| -> Result<(), MailboxError> {
            let file = disk.open(path, Open::replace())?;
            file.write_at(bytes, 0)?;
            written.push(file);
            Ok(())
        };
        if let Some(index) = &held.index {
            write(&to.index, &index.file().read_all()?)?;
        }
        if let Some(header) = read_if_there(self, &from.header)? {
            write(&to.header, &header)?;
        }
        disk.sync_many(&written.iter().collect::<Vec<_>>())?;
        // Cache files only grow until another takes their place: what comes later is named by no record of this index.
        for (from, to) in [(&from.cache, &to.cache), (&from.archive_cache, &to.archive_cache)] {
            if disk.try_stat(from)?.is_some() && disk.try_stat(to)?.is_none() {
                self.share_or_copy(from, to)?;
            }
        }
        let engine = self.options().databases.annotation;
        self.copy_database(&from.annotations, engine, &to.annotations)
    }

    /// Gives a file another name in a snapshot; says whether that was possible without a copy.
    fn share_or_copy(&self, from: &Path, to: &Path) -> Result<bool, MailboxError> {
        let disk = self.disk();
        if let Some(directory) = to.parent() {
            disk.make_dirs(directory)?;
        }
        match disk.link(from, to) {
            Ok(()) => Ok(true),
            Err(error) if error.is_cross_device() => {
                let copy = disk.open(to, Open::replace())?;
                copy.write_at(&disk.read(from)?, 0)?;
                copy.sync()?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn copy_database(&self, from: &Path, engine: Engine, to: &Path) -> Result<(), MailboxError> {
        match db::archive(self.databases().context(), from, engine, to) {
            Ok(()) | Err(DbError::Missing { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn copy_user(&self, copy: &Store, userid: &str) -> Result<(), MailboxError> {
        let databases = &self.options().databases;
        let engines = [
            ("sub", databases.subscription),
            ("seen", databases.seen),
            ("mboxkey", databases.mboxkey),
            ("conversations", databases.conversations),
        ];
        let place = |kind: &str| -> Result<_, MailboxError> {
            let from = self.user_file(userid, kind)?;
            let inside = from.strip_prefix(&self.options().config_dir).map(Path::to_owned);
            Ok((
                from.clone(),
                copy.options().config_dir.join(inside.unwrap_or(from)),
            ))
        };
        for (kind, engine) in engines {
            let (from, to) = place(kind)?;
            self.copy_database(&from, engine, &to)?;
        }
        let (from, to) = place("counters")?;
        if let Some(bytes) = read_if_there(self, &from)? {
            let file = self.disk().open_making_dirs(&to, Open::replace())?;
            file.write_at(&bytes, 0)?;
            file.sync()?;
        }
        Ok(())
    }

    fn copy_databases(&self, copy: &Store) -> Result<(), MailboxError> {
        let engine = self.options().databases.annotation;
        self.copy_database(&self.annotations_path(), engine, &copy.annotations_path())?;
        let roots = self.raw_quotas()?;
        if roots.is_empty() {
            return Ok(());
        }
        if let Some(mut db) = copy.quotas(crate::db::Create::Yes)? {
            let mut txn = db.begin()?;
            for (root, value) in roots {
                txn.put(root.as_bytes(), value.strip_suffix(b"\n").unwrap_or(&value))?;
            }
            txn.commit()?;
        }
        Ok(())
    }
}

/// The file that says that a snapshot is whole.
const MARK: &str = "SNAPSHOT";
