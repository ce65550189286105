//! The mailbox list as a whole, for tools that copy it, bring it back from a copy, or compare it with the spool.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::RowChange;
use crate::db::Create;
use crate::error::MailboxError;
use crate::format::mboxentry::MailboxRow;
use crate::log::Level;
use crate::name::MailboxName;
use crate::store::Store;

impl Store {
    /// Every row by name as it stands, tombstones and intermediate names included, in the order of the list.
    ///
    /// # Errors
    /// The mailbox list cannot be read. A damaged row is logged and left out.
    pub fn rows(&self) -> Result<Vec<(MailboxName, MailboxRow)>, MailboxError> {
        let mut rows = Vec::new();
        let Some(mut db) = self.mboxlist(Create::No)? else {
            return Ok(rows);
        };
        db.scan(b"N", &mut |key, value| {
            let dbname = key.get(1..).unwrap_or_default();
            let shown = dbname.escape_ascii();
            match (MailboxName::from_dbname(dbname), MailboxRow::parse(value)) {
                (Ok(name), Ok(row)) => rows.push((name, row)),
                (Err(error), _) => {
                    let what = format_args!("row {shown} of the mailbox list: {error}");
                    self.log().record(Level::Error, what);
                }
                (_, Err(fault)) => {
                    self.report(
                        &format!("mailbox {shown}"),
                        &MailboxError::damaged(&self.mboxlist_path(), fault),
                    );
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    /// Puts rows back as [`Store::rows`] gave them, over what is there; other rows stay.
    ///
    /// Each owner's rows change at once, under the lock of his namespace, and are durable before the next owner's. The
    /// rows by unique id follow: an id that a name had before is dropped, and a name that had a mailbox's id before
    /// becomes a former name of that mailbox. No file of the spool is touched.
    ///
    /// # Errors
    /// The list cannot be written; rows of owners that came before are changed then.
    pub fn restore_rows(&self, rows: &[(MailboxName, MailboxRow)]) -> Result<(), MailboxError> {
        self.change_by_owner(
            rows.iter()
                .map(|(name, row)| (name, RowChange::Restore { name, row })),
        )
    }

    /// Takes names out of the list without a trace, and leaves the files of the mailboxes alone.
    ///
    /// # Errors
    /// As [`Store::restore_rows`].
    pub fn forget_rows<'a>(
        &self,
        names: impl IntoIterator<Item = &'a MailboxName>,
    ) -> Result<(), MailboxError> {
        self.change_by_owner(names.into_iter().map(|name| (name, RowChange::Forget(name))))
    }

    fn change_by_owner<'a>(
        &self,
        changes: impl Iterator<Item = (&'a MailboxName, RowChange<'a>)>,
    ) -> Result<(), MailboxError> {
        let mut owners: BTreeMap<Option<String>, Vec<(&MailboxName, RowChange<'_>)>> = BTreeMap::new();
        for (name, change) in changes {
            owners
                .entry(self.owner_of(name))
                .or_default()
                .push((name, change));
        }
        for changes in owners.into_values() {
            let first = changes.first().map(|(name, _)| *name);
            let _locks = self.lock_namespaces(first)?;
            let changes: Vec<_> = changes.into_iter().map(|(_, change)| change).collect();
            self.commit_rows(&changes)?;
        }
        Ok(())
    }
}
