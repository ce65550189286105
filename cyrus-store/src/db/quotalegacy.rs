//! Quota roots as a tree of small files, one a root.
//!
//! `<config>/quota/<h>/<root>`, or for roots of a domain `<config>/domain/<h>/<dom>/quota/<h>/<root>`. A file
//! holds the value and an LF; an empty file is no root. Readers take no lock, since a file is only ever
//! replaced as a whole; writers lock the file that has the name.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Create, Db, DbContext, DbError, Each, Engine, Line, Problem, Recovered, Report, Txn};
use crate::lock::DataLock;
use crate::name::layout::Hashing;
use crate::sys::{File, FileKind, Mode, Open};

/// The quota files of a store, for whoever wants to sync them together with other files; as a [`Db`] they are
/// opened by [`open`](super::open) with [`Engine::QuotaLegacy`].
#[derive(Clone, Debug)]
pub struct QuotaFiles {
    context: DbContext,
    config: PathBuf,
}

impl QuotaFiles {
    /// The quota files under a configuration directory.
    pub fn new(context: &DbContext, config_directory: &Path) -> Self {
        Self {
            context: context.clone(),
            config: config_directory.to_owned(),
        }
    }

    /// The file of a quota root (internal name, with `domain!` before it if it has a domain).
    ///
    /// # Errors
    /// [`DbError::Unsuitable`] for a name that cannot be a file name.
    pub fn path(&self, root: &[u8]) -> Result<PathBuf, DbError> {
        let (domain, name) = match root.iter().position(|byte| *byte == b'!') {
            Some(at) => (root.get(..at), root.get(at + 1..).unwrap_or_default()),
            None => (None, root),
        };
        let fits =
            |part: &[u8]| !part.iter().any(|byte| matches!(byte, 0 | b'/')) && part != b"." && part != b"..";
        if root.is_empty() || !fits(name) || !domain.is_none_or(|domain| !domain.is_empty() && fits(domain)) {
            let what = "a quota root that cannot be the name of a file";
            return Err(DbError::Unsuitable {
                path: self.config.clone(),
                what,
            });
        }
        let mut path = self.config.clone();
        if let Some(domain) = domain {
            path.extend([
                OsStr::new("domain"),
                self.letter(domain).as_ref(),
                OsStr::from_bytes(domain),
            ]);
        }
        path.push("quota");
        if name.is_empty() {
            path.push("root");
        } else {
            let mut components = name.split(|byte| *byte == b'.');
            let first = components.next().unwrap_or_default();
            let hashed: Vec<u8> = components
                .next()
                .unwrap_or(first)
                .iter()
                .map(|byte| if *byte == b'^' { b'.' } else { *byte })
                .collect();
            path.extend([self.letter(&hashed).as_ref(), OsStr::from_bytes(name)]);
        }
        Ok(path)
    }

    /// The directory that a name is spread to. Here there is one whatever `hashimapspool` says.
    fn letter(&self, name: &[u8]) -> String {
        let hashing = Hashing {
            hashimapspool: true,
            fulldirhash: self.context.full_dir_hash,
        };
        hashing.letter(&String::from_utf8_lossy(name)).to_string()
    }

    /// The value of a root, without locking.
    pub fn read(&self, root: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        let path = self.path(root)?;
        match self.context.locks.disk().try_open(&path, Open::read())? {
            Some(file) => value_of(&path, file.read_all()?),
            None => Ok(None),
        }
    }

    /// Locks a root for changing it. Nothing if there is no file and none is to be made.
    ///
    /// Roots are locked in the order of their names.
    pub fn lock(&self, root: &[u8], create: Create) -> Result<Option<QuotaLock>, DbError> {
        let path = self.path(root)?;
        let how = Open {
            create,
            ..Open::create()
        };
        match super::lock_data(
            &self.context,
            &self.context.locks.data_file(&path),
            Mode::Exclusive,
            how,
        ) {
            Ok(lock) => Ok(Some(QuotaLock {
                context: self.context.clone(),
                lock,
            })),
            Err(DbError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The roots whose names start with `prefix`, sorted.
    pub fn roots(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, DbError> {
        let mut roots = Vec::new();
        self.roots_in(&self.config, b"", &mut roots)?;
        for hash in self.names(&self.config.join("domain"), FileKind::Directory)? {
            let directory = self.config.join("domain").join(OsStr::from_bytes(&hash));
            for domain in self.names(&directory, FileKind::Directory)? {
                let in_domain = [&domain[..], b"!"].concat();
                self.roots_in(
                    &directory.join(OsStr::from_bytes(&domain)),
                    &in_domain,
                    &mut roots,
                )?;
            }
        }
        roots.retain(|root| root.starts_with(prefix));
        roots.sort_unstable();
        Ok(roots)
    }

    fn roots_in(&self, directory: &Path, domain: &[u8], roots: &mut Vec<Vec<u8>>) -> Result<(), DbError> {
        let quota = directory.join("quota");
        if !domain.is_empty() && self.context.locks.disk().try_stat(&quota.join("root"))?.is_some() {
            roots.push(domain.to_vec());
        }
        for hash in self.names(&quota, FileKind::Directory)? {
            let names = self.names(&quota.join(OsStr::from_bytes(&hash)), FileKind::File)?;
            // A file that is being written or was left by a writer that died is no root of its own.
            let whole = names.into_iter().filter(|name| !name.ends_with(b".NEW"));
            roots.extend(whole.map(|name| [domain, &name].concat()));
        }
        Ok(())
    }

    fn names(&self, directory: &Path, kind: FileKind) -> Result<Vec<Vec<u8>>, DbError> {
        match self.context.locks.disk().read_dir(directory) {
            Ok(entries) => Ok(entries
                .into_iter()
                .filter(|entry| entry.kind == kind)
                .map(|entry| entry.name.as_bytes().to_vec())
                .collect()),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The lock on one quota root.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct QuotaLock {
    context: DbContext,
    lock: DataLock,
}

impl QuotaLock {
    /// The value now.
    pub fn value(&self) -> Result<Option<Vec<u8>>, DbError> {
        value_of(self.lock.path(), self.lock.file().read_all()?)
    }

    /// Writes a new value beside the old one. It becomes the value by [`StagedQuota::install`].
    pub fn stage(self, value: &[u8]) -> Result<StagedQuota, DbError> {
        if value.contains(&b'\n') {
            let path = self.lock.path().to_owned();
            return Err(DbError::Unsuitable {
                path,
                what: "a quota value cannot contain a line end",
            });
        }
        let mut name = self.lock.path().as_os_str().to_owned();
        name.push(".NEW");
        let file = self.context.locks.disk().open(name.as_ref(), Open::replace())?;
        file.write_at(&[value, b"\n"].concat(), 0)?;
        Ok(StagedQuota { lock: self, file })
    }

    /// Removes the root. Durable once the directory is synced.
    pub fn remove(self) -> Result<(), DbError> {
        Ok(self.context.locks.disk().unlink(self.lock.path())?)
    }

    /// Gives the lock back; an empty file, made to be locked, goes with it.
    pub fn abandon(self) -> Result<(), DbError> {
        if self.lock.file().size()? == 0 {
            self.remove()
        } else {
            Ok(())
        }
    }

    /// The directory of the file, to be synced after a change.
    pub fn directory(&self) -> &Path {
        self.lock.path().parent().unwrap_or(Path::new("/"))
    }
}

/// A new value of a quota root that is not the value yet.
#[derive(Debug)]
#[must_use = "the value is lost if it is not installed"]
pub struct StagedQuota {
    lock: QuotaLock,
    file: File,
}

impl StagedQuota {
    /// The file to be synced before [`install`](Self::install).
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes the new value the value. Durable once [`QuotaLock::directory`] is synced. Dropping what this
    /// returns releases the lock.
    pub fn install(self) -> Result<QuotaLock, DbError> {
        let Self { mut lock, file } = self;
        let disk = lock.context.locks.disk().clone();
        lock.lock.replace(&*disk, file)?;
        Ok(lock)
    }
}

/// All quota files as one database.
pub(super) struct QuotaLegacy {
    files: QuotaFiles,
    path: PathBuf,
}

impl QuotaLegacy {
    /// `path` names no file; the directory it is in is the configuration directory.
    pub(super) fn open(context: &DbContext, path: &Path) -> Self {
        let config = path.parent().unwrap_or(Path::new("/"));
        Self {
            files: QuotaFiles::new(context, config),
            path: path.to_owned(),
        }
    }
}

impl Db for QuotaLegacy {
    fn path(&self) -> &Path {
        &self.path
    }

    fn engine(&self) -> Engine {
        Engine::QuotaLegacy
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        self.files.read(key)
    }

    fn scan(&mut self, prefix: &[u8], each: Each<'_>) -> Result<(), DbError> {
        scan(&self.files, self.files.roots(prefix)?, &BTreeMap::new(), each)
    }

    fn scan_from(&mut self, start: &[u8], each: Each<'_>) -> Result<(), DbError> {
        let mut roots = self.files.roots(b"")?;
        roots.retain(|root| root.as_slice() >= start);
        scan(&self.files, roots, &BTreeMap::new(), each)
    }

    fn begin(&mut self) -> Result<Box<dyn Txn + '_>, DbError> {
        Ok(Box::new(QuotaTxn {
            files: &self.files,
            held: RefCell::default(),
        }))
    }

    fn check(&mut self) -> Result<Report, DbError> {
        let engine = Engine::QuotaLegacy;
        let mut report = Report {
            engine,
            records: 0,
            size: 0,
            clean: true,
            problems: Vec::new(),
        };
        for root in self.files.roots(b"")? {
            match self.files.read(&root) {
                Ok(Some(value)) => {
                    report.records += 1;
                    report.size += value.len() as u64 + 1;
                }
                Ok(None) => {}
                Err(DbError::Damaged { at, what, .. }) => {
                    let what = format!("{}: {what}", String::from_utf8_lossy(&root)).into();
                    report.problems.push(Problem { at, what });
                }
                Err(other) => return Err(other),
            }
        }
        Ok(report)
    }

    /// Nothing is ever left half done; a file of the wrong form has to be looked at by somebody.
    fn recover(&mut self) -> Result<Recovered, DbError> {
        let mut records = 0;
        for root in self.files.roots(b"")? {
            records += u64::from(self.files.read(&root)?.is_some());
        }
        Ok(Recovered::Clean { records })
    }

    /// The files are their own dump.
    fn dump(&mut self, _: Line<'_>) -> Result<(), DbError> {
        Ok(())
    }

    /// There is never anything superfluous.
    fn checkpoint(&mut self) -> Result<(), DbError> {
        Ok(())
    }
}

/// Changes of several roots.
///
/// Each is replaced in one step, all are durable when `commit` returns, but a crash in between can leave some
/// of them changed. A root that was read stays locked until the end.
struct QuotaTxn<'db> {
    files: &'db QuotaFiles,
    held: RefCell<BTreeMap<Vec<u8>, Held>>,
}

struct Held {
    /// Absent if there is no file.
    lock: Option<QuotaLock>,
    value: Option<Vec<u8>>,
    changed: bool,
}

impl QuotaTxn<'_> {
    fn with<T>(&self, root: &[u8], create: Create, then: impl FnOnce(&mut Held) -> T) -> Result<T, DbError> {
        let mut held = self.held.borrow_mut();
        let entry = match held.entry(root.to_vec()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Held {
                lock: None,
                value: None,
                changed: false,
            }),
        };
        if entry.lock.is_none()
            && let Some(lock) = self.files.lock(root, create)?
        {
            entry.value = lock.value()?;
            entry.lock = Some(lock);
        }
        Ok(then(entry))
    }

    fn changes(&self) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let held = self.held.borrow();
        let changed = held.iter().filter(|(_, held)| held.changed);
        changed
            .map(|(root, held)| (root.clone(), held.value.clone()))
            .collect()
    }
}

impl Txn for QuotaTxn<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        self.with(key, Create::No, |held| held.value.clone())
    }

    fn scan(&self, prefix: &[u8], each: Each<'_>) -> Result<(), DbError> {
        self.scan_from(prefix, &mut |key, value| {
            if key.starts_with(prefix) {
                each(key, value)
            } else {
                ControlFlow::Break(())
            }
        })
    }

    fn scan_from(&self, start: &[u8], each: Each<'_>) -> Result<(), DbError> {
        let changes = self.changes();
        let mut roots = self.files.roots(b"")?;
        roots.extend(changes.keys().cloned());
        roots.sort_unstable();
        roots.dedup();
        roots.retain(|root| root.as_slice() >= start);
        scan(self.files, roots, &changes, each)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), DbError> {
        self.with(key, Create::Yes, |held| {
            held.value = Some(value.to_vec());
            held.changed = true;
        })
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, DbError> {
        self.with(key, Create::No, |held| {
            let removed = held.value.take().is_some();
            held.changed |= removed;
            removed
        })
    }

    fn commit(self: Box<Self>) -> Result<(), DbError> {
        let disk = self.files.context.locks.disk().clone();
        let mut staged = Vec::new();
        let mut removed = Vec::new();
        for held in std::mem::take(&mut *self.held.borrow_mut()).into_values() {
            match (held.lock, held.value, held.changed) {
                (Some(lock), Some(value), true) => staged.push(lock.stage(&value)?),
                (Some(lock), None, true) => removed.push(lock),
                (Some(lock), _, false) => lock.abandon()?,
                (None, ..) => {}
            }
        }
        disk.sync_many(&staged.iter().map(StagedQuota::file).collect::<Vec<_>>())?;
        let mut directories = Vec::new();
        for quota in staged {
            directories.push(quota.install()?.directory().to_owned());
        }
        for lock in removed {
            directories.push(lock.directory().to_owned());
            lock.remove()?;
        }
        directories.sort_unstable();
        directories.dedup();
        directories
            .iter()
            .try_for_each(|directory| disk.sync_dir(directory))?;
        Ok(())
    }

    /// Files are replaced at once, and none has been.
    fn break_off(self: Box<Self>) -> Result<(), DbError> {
        Ok(())
    }
}

impl Drop for QuotaTxn<'_> {
    fn drop(&mut self) {
        for held in std::mem::take(self.held.get_mut()).into_values() {
            // An empty file that stays behind counts as no root.
            let _ = held.lock.map(QuotaLock::abandon);
        }
    }
}

fn scan(
    files: &QuotaFiles,
    roots: Vec<Vec<u8>>,
    changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    each: Each<'_>,
) -> Result<(), DbError> {
    for root in roots {
        let value = match changes.get(&root) {
            Some(value) => value.clone(),
            None => files.read(&root)?,
        };
        if let Some(value) = value
            && each(&root, &value).is_break()
        {
            break;
        }
    }
    Ok(())
}

/// The value in the content of a file: all but the LF at the end; the two lines of the old form become one.
fn value_of(path: &Path, mut content: Vec<u8>) -> Result<Option<Vec<u8>>, DbError> {
    match content.pop() {
        None => Ok(None),
        Some(b'\n') => {
            if !content.starts_with(b"%") {
                content
                    .iter_mut()
                    .filter(|byte| **byte == b'\n')
                    .for_each(|byte| *byte = b' ');
            }
            Ok(Some(content))
        }
        Some(_) => Err(DbError::Damaged {
            path: path.to_owned(),
            at: content.len() as u64,
            what: "the last line has no end".into(),
            repair: "run `reconstruct --everything`, or write the file anew: used octets and limit in one line",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::LockTable;
    use crate::sys::{Disk, SimDisk};
    use std::sync::Arc;

    fn files(full_dir_hash: bool) -> (SimDisk, QuotaFiles) {
        let sim = SimDisk::new();
        let mut context = DbContext::new(LockTable::new(Arc::new(sim.clone())));
        context.full_dir_hash = full_dir_hash;
        (sim, QuotaFiles::new(&context, Path::new("/conf")))
    }

    #[test]
    fn roots_have_the_paths_that_cyrus_gives_them() {
        for (full, root, path) in [
            (false, "user.alice", "quota/a/user.alice"),
            (false, "user.alice.Projects", "quota/a/user.alice.Projects"),
            (false, "shared", "quota/s/shared"),
            (false, "user.jo^smith", "quota/j/user.jo^smith"),
            (false, "user.1st", "quota/q/user.1st"),
            (
                false,
                "other.test!user.bob",
                "domain/o/other.test/quota/b/user.bob",
            ),
            (false, "other.test!", "domain/o/other.test/quota/root"),
            (true, "user.alice.Projects", "quota/L/user.alice.Projects"),
            (true, "shared", "quota/T/shared"),
            (true, "user.jo^smith", "quota/A/user.jo^smith"),
            (
                true,
                "other.test!user.frank",
                "domain/M/other.test/quota/N/user.frank",
            ),
        ] {
            let expected = Path::new("/conf").join(path);
            assert_eq!(files(full).1.path(root.as_bytes()).unwrap(), expected, "{root}");
        }
    }

    #[test]
    fn root_that_would_leave_the_directory_is_refused() {
        for root in ["", "../x", "user/x", "!x", "..!user.x", "a/b!user.x", "x\0y"] {
            assert!(
                matches!(
                    files(false).1.path(root.as_bytes()),
                    Err(DbError::Unsuitable { .. })
                ),
                "{root}"
            );
        }
    }

    #[test]
    fn old_form_of_two_lines_is_read() {
        let (sim, quota) = files(false);
        sim.make_dirs(Path::new("/conf/quota/x")).unwrap();
        let write = |content: &[u8]| {
            sim.open(Path::new("/conf/quota/x/user.x"), Open::replace())
                .unwrap()
                .write_at(content, 0)
                .unwrap();
        };
        write(b"1234\n500\n");
        assert_eq!(quota.read(b"user.x").unwrap().unwrap(), b"1234 500");
        write(b"1234");
        assert!(matches!(
            quota.read(b"user.x"),
            Err(DbError::Damaged { at: 3, .. })
        ));
        write(b"");
        assert_eq!(quota.read(b"user.x").unwrap(), None);
    }

    #[test]
    fn aborted_transaction_leaves_no_file() {
        let (sim, quota) = files(false);
        let mut db = QuotaLegacy::open(&quota.context, Path::new("/conf/quotas.db"));
        let mut txn = db.begin().unwrap();
        txn.put(b"user.x", b"%(S (1 2))").unwrap();
        assert_eq!(txn.get(b"user.x").unwrap().unwrap(), b"%(S (1 2))");
        drop(txn);
        assert_eq!(sim.try_stat(Path::new("/conf/quota/x/user.x")).unwrap(), None);
        assert_eq!(quota.roots(b"").unwrap(), Vec::<Vec<u8>>::new());
    }
}
