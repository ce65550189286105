//! Databases of the server and of users: mended, or taken apart for what can still be read.

use std::ops::ControlFlow;
use std::path::Path;

use super::{Outcome, Repair, Tell};
use crate::db::{self, Create, DbError, Engine, Recovered, Salvage};
use crate::error::MailboxError;
use crate::format::annotation::{AnnotationValue, split_key};
use crate::format::mboxentry::MailboxRow;
use crate::name::MailboxName;
use crate::store::Store;

/// Says why a row, its key and its value, is none.
pub(crate) type IsRow<'r> = &'r dyn Fn(&[u8], &[u8]) -> Result<(), String>;

/// What a database is to those who lose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// It is made anew from other files.
    Derived,
    /// Nothing else has what is in it.
    Unique,
}

impl Store {
    /// Mends the databases of the server: the mailbox list, annotations, quota roots, marks of deliveries and cached counts.
    /// Rows that nobody could read are dropped.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn repair_databases(&self, dry_run: bool, tell: &mut dyn FnMut(&Repair)) -> Result<(), MailboxError> {
        let options = self.options();
        let databases = &options.databases;
        let path = |configured, default| options.database_path(configured, default);
        self.repair_list(dry_run, tell)?;
        let annotations = self.annotations_path();
        self.repair_file(&annotations, databases.annotation, Worth::Unique, dry_run, tell)?;
        self.drop_rows(
            &annotations,
            databases.annotation,
            Worth::Unique,
            dry_run,
            tell,
            &is_annotation,
        )?;
        if databases.quota != Engine::QuotaLegacy {
            self.repair_file(
                &self.quota_db_path(),
                databases.quota,
                Worth::Unique,
                dry_run,
                tell,
            )?;
        }
        let marks = path(databases.duplicate_path.as_ref(), "deliver.db");
        self.repair_file(&marks, databases.duplicate, Worth::Unique, dry_run, tell)?;
        let counts = path(databases.statuscache_path.as_ref(), "statuscache.db");
        self.repair_file(&counts, databases.statuscache, Worth::Derived, dry_run, tell)
    }

    /// Mends the mailbox list, and drops rows that nobody could read.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn repair_list(&self, dry_run: bool, tell: &mut dyn FnMut(&Repair)) -> Result<(), MailboxError> {
        let (path, engine) = (self.mboxlist_path(), self.options().databases.mboxlist);
        self.repair_file(&path, engine, Worth::Derived, dry_run, tell)?;
        self.drop_rows(&path, engine, Worth::Derived, dry_run, tell, &is_list_row)
    }

    /// Mends one database of the server that the store does not know, if it is there.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn repair_database(
        &self,
        path: &Path,
        engine: Engine,
        dry_run: bool,
        tell: &mut dyn FnMut(&Repair),
    ) -> Result<(), MailboxError> {
        self.repair_file(path, engine, Worth::Unique, dry_run, tell)
    }

    pub(crate) fn repair_file(
        &self,
        path: &Path,
        engine: Engine,
        worth: Worth,
        dry_run: bool,
        tell: Tell<'_>,
    ) -> Result<(), MailboxError> {
        if self.disk().try_stat(path)?.is_none() {
            return Ok(());
        }
        self.databases().close_idle();
        let context = self.databases().context();
        let report = match db::check(context, path, engine) {
            Ok(report) => report,
            Err(DbError::Damaged { .. }) => return self.salvage(path, engine, worth, dry_run, tell),
            Err(error) => return Err(error.into()),
        };
        match report.is_consistent() && report.clean {
            true => Ok(()),
            false => self.salvage(path, engine, worth, dry_run, tell),
        }
    }

    fn salvage(
        &self,
        path: &Path,
        engine: Engine,
        worth: Worth,
        dry_run: bool,
        tell: Tell<'_>,
    ) -> Result<(), MailboxError> {
        let context = self.databases().context();
        let mut repair = |what: String, outcome| {
            tell(&Repair {
                path: path.to_owned(),
                what,
                outcome,
            });
        };
        if dry_run {
            let report = db::check(context, path, engine);
            let what = match report.as_ref().map(|report| report.problems.first()) {
                Ok(Some(problem)) => format!("{} at octet {}", problem.what, problem.at),
                Ok(None) => "the last transaction has no end".to_owned(),
                Err(error) => error.to_string(),
            };
            repair(format!("{what}; would be recovered or salvaged"), Outcome::Kept);
            return Ok(());
        }
        match db::salvage(context, path, engine)? {
            Salvage::Recovered(Recovered::Clean { .. }) => {}
            Salvage::Recovered(Recovered::Mended { records } | Recovered::Rebuilt { records }) => {
                repair(format!("recovered, with {records} records"), Outcome::Kept);
            }
            Salvage::Salvaged {
                records,
                damaged,
                aside,
            } => {
                let what = format!(
                    "damaged in {damaged} places; {records} records salvaged, the damaged file is kept as {}",
                    aside.display()
                );
                let outcome = match worth {
                    Worth::Derived => Outcome::Rebuilt,
                    Worth::Unique => Outcome::Lost,
                };
                repair(what, outcome);
            }
        }
        Ok(())
    }

    /// Drops the rows of a database that are none; `is_row` says why one is not.
    pub(super) fn drop_rows(
        &self,
        path: &Path,
        engine: Engine,
        worth: Worth,
        dry_run: bool,
        tell: Tell<'_>,
        is_row: IsRow<'_>,
    ) -> Result<(), MailboxError> {
        let mut db = match self.databases().open(path, engine, Create::No) {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(()),
            // In a dry run it is still damaged, and that has been told.
            Err(DbError::Damaged { .. }) if dry_run => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut bad = Vec::new();
        let scanned = db.scan(b"", &mut |key, value| {
            if let Err(why) = is_row(key, value) {
                bad.push((key.to_vec(), why));
            }
            ControlFlow::Continue(())
        });
        match scanned {
            Err(DbError::Damaged { .. }) if dry_run => return Ok(()),
            done => done?,
        }
        if bad.is_empty() {
            return Ok(());
        }
        if !dry_run {
            let mut txn = db.begin()?;
            for (key, _) in &bad {
                txn.remove(key)?;
            }
            txn.commit()?;
        }
        for (key, why) in bad {
            tell(&Repair {
                path: path.to_owned(),
                what: format!("row {}: {why}; dropped", shown(&key)),
                outcome: match worth {
                    Worth::Derived => Outcome::Rebuilt,
                    Worth::Unique => Outcome::Lost,
                },
            });
        }
        Ok(())
    }
}

/// A key as it can be printed, not too long.
pub(crate) fn shown(key: &[u8]) -> String {
    match key.get(..LONGEST_SHOWN) {
        Some(start) => format!("{}...", start.escape_ascii()),
        None => key.escape_ascii().to_string(),
    }
}

/// Whether a row of the mailbox list can be read.
pub(crate) fn is_list_row(key: &[u8], value: &[u8]) -> Result<(), String> {
    let row = || MailboxRow::parse(value).map_err(|fault| fault.to_string());
    match key.split_first() {
        Some((b'N', name)) => {
            MailboxName::from_dbname(name).map_err(|error| error.to_string())?;
            let row = row()?;
            let needs_id = !row.mbtype.deleted && !row.mbtype.intermediate && !row.mbtype.remote;
            let id = row.id.as_deref().and_then(crate::ident::MailboxId::new);
            match needs_id && id.is_none() {
                true => Err("a mailbox without unique id".to_owned()),
                false => Ok(()),
            }
        }
        Some((b'I', _)) => row().map(drop),
        _ => Ok(()),
    }
}

/// Whether a row of annotations can be read.
pub(crate) fn is_annotation(key: &[u8], value: &[u8]) -> Result<(), String> {
    split_key(key).ok_or_else(|| "not the key of an annotation".to_owned())?;
    AnnotationValue::parse(value)
        .map(drop)
        .map_err(|fault| fault.to_string())
}

const LONGEST_SHOWN: usize = 120;
