//! A second copy of the limits of quota roots: usage can be counted anew, but nothing else than a root's own file says how
//! much it may hold.
//!
//! The copy is written with each change of a limit, and by every checkpoint (`ctl_cyrusdb -c`), which also sees what other
//! programs have changed. It is read only when roots are repaired.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::QuotaRoot;
use crate::db::{Create, DbError, Engine};
use crate::error::MailboxError;
use crate::format::quota::Quota;
use crate::store::Store;

impl Store {
    /// The file of the copy.
    pub fn spare_limits_path(&self) -> PathBuf {
        self.options().config_dir.join("db/quotalimits.db")
    }

    /// Copies the limits of all quota roots. Roots that are gone stay in the copy: it is asked only for those that
    /// mailboxes still name.
    ///
    /// # Errors
    /// The roots cannot be read, or the copy not be written.
    pub fn copy_limits(&self) -> Result<(), MailboxError> {
        let mut roots = Vec::new();
        self.quota_roots("", &mut |root, quota| {
            roots.push((root, quota));
            ControlFlow::Continue(())
        })?;
        let known = self.spare_limits()?;
        let same = |root: &QuotaRoot, quota: &Quota| {
            known
                .get(root.as_str())
                .is_some_and(|known| known.limit == quota.limit)
        };
        roots.retain(|(root, quota)| !same(root, quota));
        if roots.is_empty() {
            return Ok(());
        }
        let path = self.spare_limits_path();
        let mut db = self.databases().open(&path, Engine::Twoskip, Create::Yes)?;
        let mut txn = db.begin()?;
        for (root, quota) in &roots {
            txn.put(root.as_str().as_bytes(), &limits_of(quota).to_bytes())?;
        }
        Ok(txn.commit()?)
    }

    /// Copies the limits of one root. That this fails is no reason not to set them: it is logged.
    pub(super) fn copy_limits_of(&self, root: &QuotaRoot, quota: &Quota) {
        let path = self.spare_limits_path();
        let done = self
            .databases()
            .open(&path, Engine::Twoskip, Create::Yes)
            .and_then(|mut db| db.put(root.as_str().as_bytes(), &limits_of(quota).to_bytes()));
        if let Err(error) = done {
            self.report("the limits of a quota root have no second copy", &error.into());
        }
    }

    /// The limits that were copied, by root. A copy that cannot be read is none.
    pub(crate) fn spare_limits(&self) -> Result<BTreeMap<String, Quota>, MailboxError> {
        let mut limits = BTreeMap::new();
        let path = self.spare_limits_path();
        let mut db = match self.databases().open(&path, Engine::Twoskip, Create::No) {
            Ok(db) => db,
            Err(DbError::Missing { .. } | DbError::Damaged { .. }) => return Ok(limits),
            Err(error) => return Err(error.into()),
        };
        let scanned = db.scan(b"", &mut |key, value| {
            if let (Ok(root), Ok(quota)) = (std::str::from_utf8(key), Quota::parse(value)) {
                limits.insert(root.to_owned(), quota);
            }
            ControlFlow::Continue(())
        });
        match scanned {
            Ok(()) | Err(DbError::Damaged { .. }) => Ok(limits),
            Err(error) => Err(error.into()),
        }
    }
}

/// The limits alone: usage changes with every message.
fn limits_of(quota: &Quota) -> Quota {
    Quota {
        limit: quota.limit,
        modseq: quota.modseq,
        ..Quota::default()
    }
}
