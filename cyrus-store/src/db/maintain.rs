//! What the administrator's tools do with whole databases, also with those too damaged to be opened.

use std::path::Path;

use super::{Create, Db, DbContext, DbError, Engine, Line, Recovered, Report, engine_of, open};
use super::{flat, quotalegacy, skiplist, twoskip};
use crate::lock::Recheck;
use crate::sys::{Mode, Open};

/// Reads a whole database and tells what is wrong with it, changing nothing. Works where [`open`] fails.
///
/// `configured` is the engine of a file whose first octets do not tell.
pub fn check(context: &DbContext, path: &Path, configured: Engine) -> Result<Report, DbError> {
    unopened(context, path, configured)?.check()
}

/// Mends a database as far as can be done without guessing. Works where [`open`] fails.
///
/// `configured` is the engine of a file whose first octets do not tell.
pub fn recover(context: &DbContext, path: &Path, configured: Engine) -> Result<Recovered, DbError> {
    unopened(context, path, configured)?.recover()
}

/// Shows how a database is built ([`Db::dump`]). Works where [`open`] fails.
///
/// `configured` is the engine of a file whose first octets do not tell.
pub fn dump(context: &DbContext, path: &Path, configured: Engine, line: Line<'_>) -> Result<(), DbError> {
    unopened(context, path, configured)?.dump(line)
}

/// Writes a database anew without what deletions and replacements left in it.
///
/// `configured` is the engine of a file whose first octets do not tell.
pub fn checkpoint(context: &DbContext, path: &Path, configured: Engine) -> Result<(), DbError> {
    unopened(context, path, configured)?.checkpoint()
}

/// Copies a database file as of one moment between transactions. On return the copy is durable, but for the
/// name of its directory if that is new.
///
/// For [`Engine::QuotaLegacy`], which is no single file, nothing is done.
pub fn archive(context: &DbContext, path: &Path, configured: Engine, to: &Path) -> Result<(), DbError> {
    if configured == Engine::QuotaLegacy {
        return Ok(());
    }
    // Opening undoes what a dead writer may have left.
    drop(open(context, path, configured, Create::No)?);
    let file = context.locks.data_file(path);
    let lock = file.lock(
        Mode::Shared,
        context.wait.starting_now(),
        Open::write(),
        Recheck::Replaced,
    )?;
    let content = lock.file().read_all()?;
    drop(lock);
    let disk = context.locks.disk();
    let copy = disk.open_making_dirs(to, Open::replace().mode(0o600))?;
    copy.write_at(&content, 0)?;
    copy.sync()?;
    Ok(())
}

/// Says that the system as a whole was recovered now: skiplist files are recovered when they are next opened,
/// by Cyrus and here. Does nothing without a path for the stamp.
pub fn stamp_recovery(context: &DbContext) -> Result<(), DbError> {
    let Some(path) = &context.skipstamp else {
        return Ok(());
    };
    let disk = context.locks.disk();
    let stamp = disk.open_making_dirs(path, Open::replace().mode(0o644))?;
    stamp.write_at(&skiplist::now().to_be_bytes(), 0)?;
    stamp.sync()?;
    Ok(())
}

/// A handle for a file that may be missing or damaged.
fn unopened(context: &DbContext, path: &Path, configured: Engine) -> Result<Box<dyn Db>, DbError> {
    Ok(match engine_of(context, path, configured)? {
        Engine::Twoskip => Box::new(twoskip::Twoskip::new(context, path, Create::No)),
        Engine::Skiplist => Box::new(skiplist::Skiplist::new(context, path, Create::No)),
        Engine::Flat => Box::new(flat::Flat::new(context, path, Create::No)),
        Engine::QuotaLegacy => Box::new(quotalegacy::QuotaLegacy::open(context, path)),
    })
}
