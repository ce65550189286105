//! Flat databases: sorted text files, replaced as a whole by each transaction.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;

use super::staged::Staged;
use super::{Create, Db, DbContext, DbError, Each, Engine, Line, Problem, Recovered, Report, Txn};
use crate::format::flat::{compare, escape, line, lower_bound, unescape};
use crate::lock::{DataFile, DataLock, Mapping};
use crate::sys::{Mode, Open};

/// A flat file.
pub(super) struct Flat {
    context: DbContext,
    file: DataFile,
    map: Mapping,
    how: Open,
}

impl Flat {
    /// A handle for a file that may be missing or damaged.
    pub(super) fn new(context: &DbContext, path: &Path, create: Create) -> Self {
        let how = Open {
            create,
            ..Open::create()
        };
        let file = context.locks.data_file(path);
        Self {
            context: context.clone(),
            file,
            map: Mapping::default(),
            how,
        }
    }

    pub(super) fn open(context: &DbContext, path: &Path, create: Create) -> Result<Self, DbError> {
        let db = Self::new(context, path, create);
        drop(db.lock(Mode::Shared)?);
        Ok(db)
    }

    fn lock(&self, mode: Mode) -> Result<DataLock, DbError> {
        super::lock_data(&self.context, &self.file, mode, self.how)
    }

    fn install(&self, lines: &Lines, mut lock: DataLock) -> Result<(), DbError> {
        let disk = self.context.locks.disk();
        self.stage(lines)?.install(&**disk, &mut lock)?;
        Ok(())
    }

    fn stage(&self, lines: &Lines) -> Result<Staged, DbError> {
        let mut content = Vec::new();
        for (key, value) in lines {
            content.extend_from_slice(&key.0);
            content.push(b'\t');
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        let disk = self.context.locks.disk();
        Staged::write(&**disk, self.file.path(), 0o666, |new| new.write_at(&content, 0))
    }
}

impl Db for Flat {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn engine(&self) -> Engine {
        Engine::Flat
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        let lock = self.lock(Mode::Shared)?;
        let bytes = self.map.refresh(&lock)?;
        let key = escaped(key);
        let at = find(self.file.path(), bytes, &key)?;
        let found = line(bytes, at).map_err(|damage| damaged(self.file.path(), at, damage.to_string()))?;
        Ok(found
            .filter(|line| line.key == key)
            .map(|line| unescape(line.value)))
    }

    fn scan(&mut self, prefix: &[u8], each: Each<'_>) -> Result<(), DbError> {
        self.scan_from(prefix, &mut |key, value| {
            if key.starts_with(prefix) {
                each(key, value)
            } else {
                ControlFlow::Break(())
            }
        })
    }

    fn scan_from(&mut self, start: &[u8], each: Each<'_>) -> Result<(), DbError> {
        let lock = self.lock(Mode::Shared)?;
        let bytes = self.map.refresh(&lock)?;
        let path = self.file.path();
        let at = find(path, bytes, &escaped(start))?;
        lines_from(path, bytes, at, &mut |key, value| {
            each(&unescape(key), &unescape(value))
        })
    }

    fn begin(&mut self) -> Result<Box<dyn Txn + '_>, DbError> {
        let lock = self.lock(Mode::Exclusive)?;
        let mut lines = Lines::new();
        lines_from(
            self.file.path(),
            self.map.refresh(&lock)?,
            0,
            &mut |key, value| {
                lines.insert(Key(key.to_vec()), value.to_vec());
                ControlFlow::Continue(())
            },
        )?;
        Ok(Box::new(FlatTxn {
            db: self,
            lock,
            lines,
            changed: false,
        }))
    }

    fn check(&mut self) -> Result<Report, DbError> {
        let lock = self.lock(Mode::Shared)?;
        let bytes = self.map.refresh(&lock)?;
        let size = bytes.len() as u64;
        let mut report = Report {
            engine: Engine::Flat,
            records: 0,
            size,
            clean: true,
            problems: Vec::new(),
        };
        let done = lines_from(self.file.path(), bytes, 0, &mut |_, _| {
            report.records += 1;
            ControlFlow::Continue(())
        });
        match done {
            Ok(()) => {}
            Err(DbError::Damaged { at, what, .. }) => report.problems.push(Problem { at, what }),
            Err(other) => return Err(other),
        }
        Ok(report)
    }

    /// Sorts the lines if they are not; a line that is none is beyond repair.
    fn recover(&mut self) -> Result<Recovered, DbError> {
        let report = self.check()?;
        if report.is_consistent() {
            return Ok(Recovered::Clean {
                records: report.records,
            });
        }
        let lock = self.lock(Mode::Exclusive)?;
        let bytes = self.map.refresh(&lock)?;
        let mut lines = Lines::new();
        let mut at = 0;
        while let Some(found) =
            line(bytes, at).map_err(|damage| damaged(self.file.path(), at, damage.to_string()))?
        {
            if lines
                .insert(Key(found.key.to_vec()), found.value.to_vec())
                .is_some()
            {
                return Err(damaged(self.file.path(), at, "a key that is there twice"));
            }
            at = found.next;
        }
        self.install(&lines, lock)?;
        Ok(Recovered::Mended {
            records: lines.len() as u64,
        })
    }

    /// A flat file is its own dump.
    fn dump(&mut self, _: Line<'_>) -> Result<(), DbError> {
        drop(self.lock(Mode::Shared)?);
        Ok(())
    }

    /// There is never anything superfluous in a flat file.
    fn checkpoint(&mut self) -> Result<(), DbError> {
        Ok(())
    }
}

/// Escaped keys and values.
type Lines = BTreeMap<Key, Vec<u8>>;

/// An escaped key, in the order of the file.
#[derive(PartialEq, Eq)]
struct Key(Vec<u8>);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        // Octets of the same rank are told apart, so that the order agrees with equality.
        compare(&self.0, &other.0).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct FlatTxn<'db> {
    db: &'db Flat,
    lock: DataLock,
    lines: Lines,
    changed: bool,
}

impl Txn for FlatTxn<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        Ok(self.lines.get(&Key(escaped(key))).map(|value| unescape(value)))
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
        let start = Key(escaped(start));
        for (key, value) in self.lines.range((Bound::Included(&start), Bound::Unbounded)) {
            if each(&unescape(&key.0), &unescape(value)).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), DbError> {
        if key.is_empty() {
            let path = self.db.file.path().to_owned();
            return Err(DbError::Unsuitable {
                path,
                what: "a key cannot be empty",
            });
        }
        self.lines.insert(Key(escaped(key)), escaped(value));
        self.changed = true;
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, DbError> {
        let removed = self.lines.remove(&Key(escaped(key))).is_some();
        self.changed |= removed;
        Ok(removed)
    }

    fn commit(self: Box<Self>) -> Result<(), DbError> {
        let Self {
            db,
            lock,
            lines,
            changed,
        } = *self;
        if changed { db.install(&lines, lock) } else { Ok(()) }
    }

    /// What is left is the new file, without the name.
    fn break_off(self: Box<Self>) -> Result<(), DbError> {
        self.db.stage(&self.lines).map(drop)
    }
}

fn escaped(plain: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(plain.len());
    escape(plain, &mut bytes);
    bytes
}

fn find(path: &Path, bytes: &[u8], key: &[u8]) -> Result<usize, DbError> {
    lower_bound(bytes, key).map_err(|(at, damage)| damaged(path, at, damage.to_string()))
}

/// Calls `each` with the escaped key and value of each line from `at` on; they must be in order.
fn lines_from(path: &Path, bytes: &[u8], mut at: usize, each: Each<'_>) -> Result<(), DbError> {
    let mut last: Option<&[u8]> = None;
    while let Some(found) = line(bytes, at).map_err(|damage| damaged(path, at, damage.to_string()))? {
        if last.is_some_and(|last| compare(last, found.key) != Ordering::Less) {
            return Err(damaged(path, at, "lines are not in order"));
        }
        if each(found.key, found.value).is_break() {
            break;
        }
        last = Some(found.key);
        at = found.next;
    }
    Ok(())
}

fn damaged(path: &Path, at: usize, what: impl Into<Cow<'static, str>>) -> DbError {
    DbError::Damaged {
        path: path.to_owned(),
        at: at as u64,
        what: what.into(),
        repair: "run `reconstruct --everything`, which keeps the lines that can be read, or mend the line by hand",
    }
}
