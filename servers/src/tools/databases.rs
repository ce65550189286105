//! What the database tools share: the databases of a server, opening one, copying one into another.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyrus_store::db::{self, Create, Db, DbContext, DbError, Engine};
use cyrus_store::lock::LockTable;
use cyrus_store::sys::RealDisk;

use crate::config::{Config, Opt};

/// How databases are opened under a configuration.
pub(super) fn context(config: &Config) -> DbContext {
    DbContext {
        skipstamp: Some(config.configdirectory().join("db/skipstamp")),
        full_dir_hash: config.switch(Opt::Fulldirhash),
        ..DbContext::new(LockTable::new(Arc::new(RealDisk)))
    }
}

/// One database of the server as a whole (those of users are opened by the store).
pub(super) struct ServerDatabase {
    pub(super) path: PathBuf,
    /// The configured format; `None` for one that this server does not have, such as sql.
    pub(super) engine: Option<Engine>,
    /// Whether a checkpoint keeps a copy.
    pub(super) archived: bool,
}

/// The databases in the order in which they are recovered.
pub(super) fn of_server(config: &Config) -> Vec<ServerDatabase> {
    DATABASES
        .iter()
        .map(|(engine, path, name, archived)| ServerDatabase {
            path: config
                .file(*path)
                .unwrap_or_else(|| config.configdirectory().join(name)),
            engine: config.choice(*engine).parse().ok(),
            archived: *archived,
        })
        .collect()
}

/// Format, path, default path in the state directory, and whether a checkpoint archives it.
const DATABASES: &[(Opt, Opt, &str, bool)] = &[
    (Opt::MboxlistDb, Opt::MboxlistDbPath, "mailboxes.db", true),
    (Opt::AnnotationDb, Opt::AnnotationDbPath, "annotations.db", true),
    (Opt::BackupDb, Opt::BackupDbPath, "backups.db", true),
    (Opt::DuplicateDb, Opt::DuplicateDbPath, "deliver.db", false),
    (
        Opt::TlsSessionsDb,
        Opt::TlsSessionsDbPath,
        "tls_sessions.db",
        false,
    ),
    (
        Opt::PtscacheDb,
        Opt::PtscacheDbPath,
        "ptclient/ptscache.db",
        false,
    ),
    (
        Opt::StatuscacheDb,
        Opt::StatuscacheDbPath,
        "statuscache.db",
        false,
    ),
    (Opt::QuotaDb, Opt::QuotaDbPath, "quotas.db", false),
];

/// Copies every entry of `from` into `to` in one transaction.
pub(super) fn copy(from: &mut dyn Db, to: &mut dyn Db) -> Result<(), DbError> {
    // Collected first: the source is locked during a scan, and both may be one file.
    let mut entries = Vec::new();
    from.scan(b"", &mut |key, value| {
        entries.push((key.to_owned(), value.to_owned()));
        ControlFlow::Continue(())
    })?;
    let mut transaction = to.begin()?;
    for (key, value) in &entries {
        transaction.put(key, value)?;
    }
    transaction.commit()
}

/// Writes the database at `path` anew in another format, in the same place.
pub(super) fn convert_in_place(context: &DbContext, path: &Path, to: Engine) -> Result<(), DbError> {
    let mut old = db::open(context, path, to, Create::No)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".CONVERT");
    let beside = PathBuf::from(name);
    let disk = context.locks.disk();
    disk.unlink_if_exists(&beside)?;
    let mut new = db::open(context, &beside, to, Create::Yes)?;
    copy(old.as_mut(), new.as_mut())?;
    drop(new);
    disk.rename(&beside, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new("/")))?;
    Ok(())
}

/// What the tools print for a path that does not begin with a slash.
pub(super) const ABSOLUTE_PLEASE: &str = "
Relative paths are not taken: some database formats find further files from the path of one.

Please use absolute pathnames instead.
";

/// The formats, as usage texts list them.
pub(super) const BACKENDS: &str = "flat, skiplist, quotalegacy, twoskip";
