//! `ctl_cyrusdb`: recovers the server's databases at its start, and keeps copies of those that matter.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use cyrus_store::db::{self, Create, DbContext, DbError, Engine, Recovered};
use cyrus_store::{MailboxError, Store};

use super::databases::{ServerDatabase, context, convert_in_place, of_server};
use super::{TEMPORARY, USAGE, enter, fatal};
use crate::config::Config;
use crate::getopt;
use crate::settings;
use crate::syslog::{Level, log};

/// Runs with the arguments `args` (without the program's name).
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let line = match getopt::parse(args, "C:rxc") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("ctl_cyrusdb: {bad}");
            return usage();
        }
    };
    let (recovers, checkpoints) = (line.has('r'), line.has('c'));
    if recovers == checkpoints {
        return usage();
    }
    let config = match enter(line.argument('C'), "ctl_cyrusdb") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let context = context(&config);
    if recovers {
        recover(&config, &context, line.has('x'))
    } else {
        checkpoint(&config, &context)
    }
}

/// After a crash: everything that a dead writer left unfinished is undone, in every format.
///
/// `only_recover` (`-x`) leaves out what needs the list of mailboxes to be readable.
fn recover(config: &Config, context: &DbContext, only_recover: bool) -> u8 {
    stamp(config, context);
    log(Level::Notice, "recovering cyrus databases");
    for database in of_server(config) {
        let Some(engine) = database.engine else { continue };
        if engine != Engine::QuotaLegacy && database.path.exists() {
            mend(context, &database.path, engine);
        }
    }
    // Where the mailbox list was lost, an empty one in its place would make a new server of this one.
    if !only_recover && let Err(error) = check_list(config) {
        log(Level::Critical, &error.to_string());
        return fatal(&error, TEMPORARY);
    }
    if !only_recover && let Err(error) = open_lists(config, context) {
        log(Level::Critical, &format!("can't read mailboxes file: {error}"));
        return fatal(&format_args!("can't read mailboxes file: {error}"), TEMPORARY);
    }
    log(Level::Notice, "done recovering cyrus databases");
    0
}

/// Without the mark of a clean shutdown, skiplist files are recovered when they are next opened, by any process.
fn stamp(config: &Config, context: &DbContext) {
    let clean = config.configdirectory().join("db/skipcleanshutdown");
    match fs::remove_file(&clean) {
        Ok(()) => log(
            Level::Notice,
            "skiplist: clean shutdown detected, starting normally",
        ),
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                log(
                    Level::Error,
                    &format!("can't remove {}: {error}", clean.display()),
                );
            }
            log(
                Level::Notice,
                "skiplist: clean shutdown file missing, updating recovery stamp",
            );
            if let Err(error) = db::stamp_recovery(context) {
                log(Level::Error, &format!("can't write the recovery stamp: {error}"));
            }
        }
    }
}

fn mend(context: &DbContext, path: &Path, engine: Engine) {
    let shown = path.display();
    match db::check(context, path, engine) {
        Ok(report) if report.is_consistent() && report.clean => {}
        // Building it anew would leave an empty database in the place of a foreign file.
        Ok(report) if report.records == 0 && !report.is_consistent() => {
            let what = report
                .problems
                .first()
                .map_or("no record in it can be read", |problem| &problem.what);
            log(
                Level::Error,
                &format!(
                    "can't recover {shown}: {what}; restore it from a backup, or run `reconstruct --everything`"
                ),
            );
            return;
        }
        Ok(_) | Err(_) => {}
    }
    match db::recover(context, path, engine) {
        Ok(Recovered::Clean { .. }) => {}
        Ok(Recovered::Mended { records }) => {
            log(
                Level::Notice,
                &format!("recovered {shown}: an unfinished change was undone, {records} records"),
            );
        }
        Ok(Recovered::Rebuilt { records }) => {
            log(
                Level::Warning,
                &format!("recovered {shown}: rebuilt from its transactions, {records} records"),
            );
        }
        Err(error) => {
            log(Level::Error, &format!("can't recover {shown}: {error}"));
            return;
        }
    }
    match db::open(context, path, engine, Create::No) {
        Ok(database) if database.engine() != engine => {
            let found = database.engine();
            drop(database);
            log(
                Level::Notice,
                &format!("converting {shown} from {found} to {engine}"),
            );
            if let Err(error) = convert_in_place(context, path, engine) {
                log(Level::Error, &format!("conversion failed {shown}: {error}"));
            }
        }
        Ok(_) => {}
        Err(error) => log(Level::Error, &format!("can't open {shown}: {error}")),
    }
}

fn check_list(config: &Config) -> Result<(), MailboxError> {
    match settings::store(config) {
        Ok(options) => Store::open(options)?.check_list(),
        // It is for the services to say what is wrong with their settings.
        Err(_) => Ok(()),
    }
}

/// Opens the lists that a server cannot be without, making those that are missing.
fn open_lists(config: &Config, context: &DbContext) -> Result<(), DbError> {
    for ServerDatabase { path, engine, .. } in of_server(config).into_iter().take(LISTS) {
        if let Some(engine) = engine {
            // The first look-up reads what opening leaves unread.
            db::open(context, &path, engine, Create::Yes)?.get(b"$")?;
        }
    }
    Ok(())
}

/// Copies the databases that cannot be made anew: the last copies to `db.backup1`, those before to `db.backup2`.
fn checkpoint(config: &Config, context: &DbContext) -> u8 {
    log(Level::Notice, "checkpointing cyrus databases");
    let base = config.configdirectory();
    let (latest, before) = (base.join("db.backup1"), base.join("db.backup2"));
    if let Err(error) = rotate(&latest, &before) {
        log(
            Level::Error,
            &format!(
                "can't make room in {} for copies of databases: {error}",
                base.display()
            ),
        );
        return fatal(&format_args!("{}: {error}", latest.display()), TEMPORARY);
    }
    let mut failed = false;
    for database in of_server(config).into_iter().filter(|database| database.archived) {
        let Some(engine) = database.engine else { continue };
        let path = database.path.display();
        let Some(name) = database.path.file_name() else {
            continue;
        };
        match db::archive(context, &database.path, engine, &latest.join(name)) {
            Ok(()) => log(Level::Debug, &format!("archiving database file: {path}")),
            Err(DbError::Missing { .. }) => log(
                Level::Debug,
                &format!("not archiving database file: {path}: missing"),
            ),
            Err(error) => {
                log(Level::Error, &format!("can't archive {path}: {error}"));
                failed = true;
            }
        }
    }
    // Nothing else tells the limits of a quota root whose file is lost.
    if let Err(error) = copy_limits(config) {
        log(
            Level::Error,
            &format!("can't copy the limits of quota roots: {error}"),
        );
        failed = true;
    }
    log(Level::Notice, "done checkpointing cyrus databases");
    u8::from(failed)
}

fn copy_limits(config: &Config) -> Result<(), MailboxError> {
    match settings::store(config) {
        Ok(options) => Store::open(options)?.copy_limits(),
        // It is for the services to say what is wrong with their settings.
        Err(_) => Ok(()),
    }
}

fn rotate(latest: &Path, before: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_dir_all(before))?;
    absent_is_fine(fs::rename(latest, before))?;
    fs::create_dir(latest)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn usage() -> u8 {
    eprintln!("usage: ctl_cyrusdb [-C imapd.conf] -c\n       ctl_cyrusdb [-C imapd.conf] -r [-x]");
    USAGE
}

/// mailboxes.db and annotations.db, the first of the list.
const LISTS: usize = 2;
