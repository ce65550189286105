//! Quota roots that mailboxes name and nobody has, or that cannot be read. Their usage is counted anew by
//! [`Store::fix_quota_root`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::databases::shown;
use super::{Outcome, Repair};
use crate::db::{Create, QuotaFiles};
use crate::error::MailboxError;
use crate::format::header::MailboxHeader;
use crate::format::quota::Quota;
use crate::quota::QuotaRoot;
use crate::reconstruct::read_if_there;
use crate::store::Store;

impl Store {
    /// Makes the quota roots that mailboxes name and that are gone, and those that cannot be read, with the limits of
    /// their second copy.
    ///
    /// # Errors
    /// The mailbox list or a root cannot be read or written.
    pub fn repair_quota_roots(
        &self,
        dry_run: bool,
        tell: &mut dyn FnMut(&Repair),
    ) -> Result<(), MailboxError> {
        let there = self.raw_quotas()?;
        let spare = self.spare_limits()?;
        let mut wanted = self.named_roots()?;
        // Where all roots are gone, so are those that count no mailbox.
        if there.is_empty() && !wanted.is_empty() {
            wanted.extend(spare.keys().cloned());
        }
        for (root, value) in &there {
            if let Err(fault) = Quota::parse(value) {
                let what = format!("{fault} in `{}`", shown(value));
                self.make_root(
                    root,
                    &what,
                    spare.get(root).cloned().or_else(|| Quota::salvage(value)),
                    dry_run,
                    tell,
                )?;
            }
        }
        for root in wanted.iter().filter(|root| !there.contains_key(*root)) {
            self.make_root(
                root,
                "missing, but mailboxes name it",
                spare.get(root).cloned(),
                dry_run,
                tell,
            )?;
        }
        Ok(())
    }

    /// Every quota root that has a value, whether it can be read or not. An empty file is none: Cyrus makes such files when
    /// it locks roots that do not exist.
    pub(crate) fn raw_quotas(&self) -> Result<BTreeMap<String, Vec<u8>>, MailboxError> {
        let mut raw = BTreeMap::new();
        if self.has_quota_files() {
            let options = self.options();
            let base = options
                .databases
                .quota_path
                .as_ref()
                .unwrap_or(&options.config_dir);
            for root in QuotaFiles::new(self.databases().context(), base).roots(b"")? {
                let root = String::from_utf8_lossy(&root).into_owned();
                if let Some(value) = read_if_there(self, &options.quota_file(&root))?
                    && !value.is_empty()
                {
                    raw.insert(root, value);
                }
            }
        } else if let Some(mut db) = self.quotas(Create::No)? {
            db.scan(b"", &mut |key, value| {
                raw.insert(String::from_utf8_lossy(key).into_owned(), value.to_vec());
                ControlFlow::Continue(())
            })?;
        }
        Ok(raw)
    }

    /// The quota roots that the header files of mailboxes name.
    fn named_roots(&self) -> Result<BTreeSet<String>, MailboxError> {
        let mut named = BTreeSet::new();
        for (name, row) in self.rows()? {
            if !row.mbtype.is_usable() {
                continue;
            }
            let Some(entry) = self.lookup(&name)? else {
                continue;
            };
            let Ok(paths) = self.paths_of(&entry) else {
                continue;
            };
            let bytes = match self.disk().read(&paths.header) {
                Err(error) if error.is_not_found() => continue,
                done => done?,
            };
            if let Ok(header) = MailboxHeader::parse(&bytes)
                && let Some(root) = header.quota_root
                // A root elsewhere is a mistake of this one header.
                && QuotaRoot::parse(&root).is_ok_and(|root| root.covers(&name))
            {
                named.insert(root);
            }
        }
        Ok(named)
    }

    fn make_root(
        &self,
        root: &str,
        what: &str,
        limits: Option<Quota>,
        dry_run: bool,
        tell: &mut dyn FnMut(&Repair),
    ) -> Result<(), MailboxError> {
        let path = match self.has_quota_files() {
            true => self.options().quota_file(root),
            false => self.quota_db_path(),
        };
        let (done, outcome) = match &limits {
            Some(_) => ("made anew with the limits that were last known", Outcome::Rebuilt),
            None => (
                "made anew without limits, which nothing tells any more; set them again with `setquota` of cyradm",
                Outcome::Lost,
            ),
        };
        tell(&Repair {
            path: path.clone(),
            what: format!("quota root {root}: {what}; {done}"),
            outcome,
        });
        if dry_run {
            return Ok(());
        }
        let quota = Quota {
            limit: limits.map(|quota| quota.limit).unwrap_or_default(),
            ..Quota::default()
        };
        if self.has_quota_files() {
            // What was in it has been told.
            self.disk().unlink_if_exists(&path)?;
        }
        if let Some(mut db) = self.quotas(Create::Yes)? {
            db.put(root.as_bytes(), &quota.to_bytes())?;
        }
        Ok(())
    }
}
