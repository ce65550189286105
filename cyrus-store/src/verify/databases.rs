//! What lies beside mailboxes: databases, files of users, quota roots.

use std::ops::ControlFlow;
use std::path::Path;

use super::{Cure, Each, Verify, Wrong};
use crate::db::{self, Create, DbError, Engine};
use crate::error::{ErrorClass, MailboxError};
use crate::format::counters::Counters;
use crate::format::quota::Quota;
use crate::quota::{QuotaFault, QuotaRoot};
use crate::reconstruct::Adopted;
use crate::repair::{IsRow, is_annotation, is_list_row, is_seen_row};
use crate::store::Store;
use crate::subs;

impl Store {
    /// Checks the databases of the server: the mailbox list, annotations, quota roots, marks of deliveries and cached counts.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn verify_databases(&self, each: &mut dyn FnMut(Wrong)) -> Result<(), MailboxError> {
        let options = self.options();
        let databases = &options.databases;
        let any = |_: &[u8], _: &[u8]| Ok(());
        let list = self.mailbox_list_path();
        if self.disk().try_stat(&list)?.is_none() {
            (each)(wrong(&list, None, "there is no mailbox list".to_owned()));
        }
        self.verify_file(&list, databases.mboxlist, &is_list_row, each)?;
        self.verify_file(
            &self.annotations_path(),
            databases.annotation,
            &is_annotation,
            each,
        )?;
        let marks = options.database_path(databases.duplicate_path.as_ref(), "deliver.db");
        self.verify_file(&marks, databases.duplicate, &any, each)?;
        let counts = options.database_path(databases.statuscache_path.as_ref(), "statuscache.db");
        self.verify_file(&counts, databases.statuscache, &any, each)?;
        if databases.quota != Engine::QuotaLegacy {
            self.verify_file(&self.quota_db_path(), databases.quota, &any, each)?;
        }
        let mut unlisted = Vec::new();
        self.scavenge(&mut |found| {
            if found.name.is_ok() && !self.is_leftover(&found) {
                unlisted.push(found);
            }
        })?;
        for found in unlisted {
            match self.adopt(&found, false, true) {
                Ok(Adopted::Added) => {
                    let what = "a mailbox that the mailbox list does not have".to_owned();
                    (each)(wrong(&found.path, None, what));
                }
                Ok(Adopted::NameTaken(id)) => {
                    let what = format!("a mailbox that has the name of another, of the unique id {id}");
                    (each)(wrong(&found.path, None, what));
                }
                Ok(Adopted::Known) => {}
                // The list is damaged, and that has been told.
                Err(error) if error.class() == ErrorClass::Damaged => break,
                Err(error) => return Err(error),
            }
        }
        for (name, row) in self.rows().unwrap_or_default() {
            let id = row.id.as_deref().and_then(crate::ident::MailboxId::new);
            let Some(id) = id.filter(|_| row.mbtype.is_usable()) else {
                continue;
            };
            if self.lookup_id(&id)?.is_none_or(|entry| entry.name != name) {
                let what = format!("the unique id {id} does not lead to {name}");
                (each)(wrong(&list, None, what));
            }
        }
        Ok(())
    }

    /// Checks the files of a user who has an INBOX, and if asked for, counts his conversations.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn verify_user(
        &self,
        userid: &str,
        how: &Verify,
        each: &mut dyn FnMut(Wrong),
    ) -> Result<(), MailboxError> {
        let databases = &self.options().databases;
        let any = |_: &[u8], _: &[u8]| Ok(());
        let path = self.user_file(userid, "sub")?;
        let is_new = self.is_new_form(&path, databases.subscription);
        let is_subscription = |key: &[u8], _: &[u8]| match subs::is_key(key, userid, is_new) {
            true => Ok(()),
            false => Err("not the name of a mailbox".to_owned()),
        };
        self.verify_file(&path, databases.subscription, &is_subscription, each)?;
        self.verify_file(
            &self.user_file(userid, "seen")?,
            databases.seen,
            &is_seen_row,
            each,
        )?;
        self.verify_file(&self.user_file(userid, "mboxkey")?, databases.mboxkey, &any, each)?;
        if !self.has_conversations(userid)? {
            return Ok(());
        }
        let counters = self.user_file(userid, "counters")?;
        if self.disk().try_stat(&counters)?.is_some()
            && let Err(fault) = Counters::parse(&self.disk().read(&counters)?)
        {
            (each)(wrong(&counters, Some(fault.at), fault.damage.to_string()));
        }
        let path = self.user_file(userid, "conversations")?;
        let whole = self.verify_file(&path, databases.conversations, &any, each)?;
        if whole && how.conversations {
            let folder = std::env::temp_dir();
            for difference in self.audit_conversations(userid, Some(&folder), &mut |_| {})? {
                let key = crate::repair::shown(&difference.key);
                (each)(Wrong {
                    cure: Cure::Conversations(userid.to_owned()),
                    ..wrong(&path, None, format!("row {key} is not what the mailboxes say"))
                });
            }
        }
        Ok(())
    }

    /// Checks the usage of all quota roots.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn verify_quotas(&self, each: &mut dyn FnMut(Wrong)) -> Result<(), MailboxError> {
        // Without the mailbox list there is nothing to count; that is told elsewhere.
        if self.check_list().is_err() {
            return Ok(());
        }
        for (name, value) in self.raw_quotas()? {
            let path = match self.has_quota_files() {
                true => self.options().quota_file(&name),
                false => self.quota_db_path(),
            };
            if let Err(fault) = Quota::parse(&value) {
                let what = format!("quota root {name}: {}", fault.damage);
                (each)(wrong(&path, Some(fault.at), what));
                continue;
            }
            let Ok(root) = QuotaRoot::parse(&name) else {
                (each)(wrong(
                    &path,
                    None,
                    format!("quota root {name:?} is no name of a mailbox"),
                ));
                continue;
            };
            let faults = match self.fix_quota_root(&root, true) {
                Ok(faults) => faults,
                // A mailbox that cannot be read is told of where it is checked.
                Err(error) if error.class() != ErrorClass::System => continue,
                Err(error) => return Err(error),
            };
            for fault in faults {
                let mailbox = match &fault {
                    QuotaFault::Root { mailbox, .. } => Some(mailbox.clone()),
                    QuotaFault::Usage { .. } => None,
                };
                (each)(Wrong {
                    mailbox,
                    cure: Cure::Quota,
                    ..wrong(&path, None, fault.to_string())
                });
            }
        }
        Ok(())
    }

    /// Checks a database and its rows, if it is there; says whether it can be read.
    fn verify_file(
        &self,
        path: &Path,
        engine: Engine,
        is_row: IsRow<'_>,
        each: Each<'_>,
    ) -> Result<bool, MailboxError> {
        if self.disk().try_stat(path)?.is_none() {
            return Ok(false);
        }
        let report = match db::check(self.databases().context(), path, engine) {
            Err(DbError::Missing { .. }) => return Ok(false),
            done => done?,
        };
        for problem in &report.problems {
            (each)(wrong(path, Some(problem.at), problem.what.to_string()));
        }
        if !report.is_consistent() {
            return Ok(false);
        }
        let mut bad = Vec::new();
        let mut db = self.databases().open(path, engine, Create::No)?;
        db.scan(b"", &mut |key, value| {
            if let Err(why) = is_row(key, value) {
                bad.push(format!("row {}: {why}", crate::repair::shown(key)));
            }
            ControlFlow::Continue(())
        })?;
        drop(db);
        for what in bad {
            (each)(wrong(path, None, what));
        }
        Ok(true)
    }
}

fn wrong(path: &Path, at: Option<u64>, what: String) -> Wrong {
    Wrong {
        mailbox: None,
        path: path.to_owned(),
        at,
        what,
        cure: Cure::Everything,
    }
}
