//! Writing the mailbox list: the row by name, the row by unique id and the index of rights change together.

use std::ops::ControlFlow;

use cyrus_acl::{DeleteRight, Identifier, Rights};

use super::{MailboxEntry, id_key, row_key};
use crate::db::{Create, Txn};
use crate::error::MailboxError;
use crate::format::Fault;
use crate::format::mboxentry::{FormerName, MailboxRow, MailboxType};
use crate::ident::MailboxId;
use crate::name::MailboxName;
use crate::store::Store;

/// One change of the mailbox list.
#[derive(Debug)]
pub(crate) enum RowChange<'a> {
    /// A mailbox that is new under a name that no mailbox has.
    Create(&'a MailboxEntry),
    /// Something about a mailbox other than its name.
    Update(&'a MailboxEntry),
    /// A mailbox gets the name in its entry; a tombstone is left under the old one.
    Rename {
        from: &'a MailboxName,
        to: &'a MailboxEntry,
    },
    /// A mailbox goes away and only tombstones are left.
    Bury(&'a MailboxEntry),
    /// A row comes back from a copy of the list, whatever is there now.
    Restore {
        name: &'a MailboxName,
        row: &'a MailboxRow,
    },
    /// A name leaves the list without a trace.
    Forget(&'a MailboxName),
}

impl Store {
    /// Makes changes of the mailbox list, all of them or none, durably.
    ///
    /// # Errors
    /// [`MailboxError::Exists`] if a name to be given is taken by now.
    pub(crate) fn commit_rows(&self, changes: &[RowChange<'_>]) -> Result<(), MailboxError> {
        let options = self.options();
        let path = self.mboxlist_path();
        let mut db = self
            .databases()
            .open(&path, options.databases.mboxlist, Create::Yes)?;
        let txn = db.begin()?;
        let mut rows = Rows {
            store: self,
            txn,
            reverse_acls: options.reverseacls,
        };
        if rows.reverse_acls && rows.txn.get(REVERSE_ACLS_PRESENT)?.is_none() {
            rows.index_rights()?;
        }
        for change in changes {
            rows.apply(change)?;
        }
        Ok(rows.txn.commit()?)
    }
}

struct Rows<'db> {
    store: &'db Store,
    txn: Box<dyn Txn + 'db>,
    reverse_acls: bool,
}

impl Rows<'_> {
    fn apply(&mut self, change: &RowChange<'_>) -> Result<(), MailboxError> {
        match *change {
            RowChange::Create(entry) => {
                self.check_free(&entry.name)?;
                self.put(entry, Vec::new())
            }
            RowChange::Update(entry) => {
                let history = self.history(entry)?;
                self.put(entry, history)
            }
            RowChange::Rename { from, to } => {
                self.check_free(&to.name)?;
                let mut history = self.history(to)?;
                let tombstone = tombstone(
                    to,
                    MailboxType {
                        deleted: true,
                        ..to.mbtype
                    },
                );
                history.insert(
                    0,
                    FormerName {
                        name: from.to_dbname(),
                        mtime: tombstone.mtime,
                        uidvalidity: tombstone.uidvalidity,
                        createdmodseq: tombstone.createdmodseq,
                        foldermodseq: tombstone.foldermodseq,
                        mbtype: tombstone.mbtype,
                        partition: None,
                    },
                );
                self.drop_rights(from)?;
                self.txn.put(&row_key(from), &tombstone.name_value())?;
                self.put(to, history)
            }
            RowChange::Bury(entry) => {
                let history = self.history(entry)?;
                self.drop_rights(&entry.name)?;
                let mbtype = MailboxType {
                    deleted: true,
                    legacy_dirs: false,
                    ..entry.mbtype
                };
                let mut row = tombstone(entry, mbtype);
                self.txn.put(&row_key(&entry.name), &row.name_value())?;
                if let Some(id) = &entry.id {
                    row.history = history;
                    row.name = Some(entry.name.to_dbname());
                    self.txn.put(&id_key(id), &row.id_value())?;
                }
                Ok(())
            }
            RowChange::Restore { name, row } => self.restore(name, row),
            RowChange::Forget(name) => self.forget(name),
        }
    }

    /// Puts a row back so that names and unique ids still mean each other: the id that the name had is dropped, and a
    /// name that had the id becomes a former one.
    fn restore(&mut self, name: &MailboxName, row: &MailboxRow) -> Result<(), MailboxError> {
        let dbname = name.to_dbname();
        self.drop_rights(name)?;
        if let Some(old) = self.row(&row_key(name))?
            && old.id != row.id
        {
            self.drop_id(&old, &dbname)?;
        }
        self.txn.put(&row_key(name), &row.name_value())?;
        let Some(id) = row.id.as_deref().and_then(MailboxId::new) else {
            return Ok(());
        };
        let holder = self.row(&id_key(&id))?;
        let mut history = row.history.clone();
        if let Some(holder) = holder {
            let elsewhere = holder.name.as_deref().is_some_and(|holds| holds != dbname);
            if row.mbtype.deleted && elsewhere {
                return Ok(());
            }
            if history.is_empty() {
                history.clone_from(&holder.history);
                if let Some(former) = holder.name.clone().filter(|_| elsewhere) {
                    self.bury_former(&former, row, &mut history)?;
                }
            }
        }
        let by_id = MailboxRow {
            name: Some(dbname),
            history,
            ..row.clone()
        };
        self.txn.put(&id_key(&id), &by_id.id_value())?;
        if self.reverse_acls {
            let options = self.store.options();
            for key in rights_keys(name, row, options.deleteright, &options.deleted_prefix) {
                self.txn.put(&key, b"")?;
            }
        }
        Ok(())
    }

    /// Leaves a tombstone under the name that the mailbox of `row` had before, and a line in its history.
    fn bury_former(
        &mut self,
        former: &str,
        row: &MailboxRow,
        history: &mut Vec<FormerName>,
    ) -> Result<(), MailboxError> {
        let Ok(name) = MailboxName::from_dbname(former.as_bytes()) else {
            return Ok(());
        };
        let Some(old) = self.row(&row_key(&name))?.filter(|old| old.id == row.id) else {
            return Ok(());
        };
        history.insert(
            0,
            FormerName {
                name: former.to_owned(),
                mtime: old.mtime,
                uidvalidity: old.uidvalidity,
                createdmodseq: old.createdmodseq,
                foldermodseq: old.foldermodseq,
                mbtype: old.mbtype,
                partition: old.partition.clone(),
            },
        );
        if old.mbtype.deleted {
            return Ok(());
        }
        self.drop_rights(&name)?;
        let tombstone = MailboxRow {
            mbtype: MailboxType {
                deleted: true,
                ..old.mbtype
            },
            partition: None,
            server: None,
            acl: Vec::new(),
            ..old
        };
        Ok(self.txn.put(&row_key(&name), &tombstone.name_value())?)
    }

    fn forget(&mut self, name: &MailboxName) -> Result<(), MailboxError> {
        self.drop_rights(name)?;
        if let Some(row) = self.row(&row_key(name))? {
            self.drop_id(&row, &name.to_dbname())?;
            self.txn.remove(&row_key(name))?;
        }
        Ok(())
    }

    /// Removes the row by the unique id of `row` if it is that of the mailbox `dbname`.
    fn drop_id(&mut self, row: &MailboxRow, dbname: &str) -> Result<(), MailboxError> {
        let Some(id) = row.id.as_deref().and_then(MailboxId::new) else {
            return Ok(());
        };
        let holder = self.row(&id_key(&id))?;
        if holder.is_some_and(|holder| holder.name.as_deref() == Some(dbname)) {
            self.txn.remove(&id_key(&id))?;
        }
        Ok(())
    }

    /// Writes both rows of a mailbox, and what the index of rights says of it.
    fn put(&mut self, entry: &MailboxEntry, history: Vec<FormerName>) -> Result<(), MailboxError> {
        self.drop_rights(&entry.name)?;
        let deleteright = self.store.options().deleteright;
        let acl = entry.acl.entries();
        let mut row = MailboxRow {
            mbtype: entry.mbtype,
            id: entry.id.as_ref().map(|id| id.as_str().to_owned()),
            name: None,
            partition: entry
                .partition
                .as_ref()
                .map(|partition| partition.as_str().to_owned()),
            server: entry.server.clone(),
            uidvalidity: entry.uidvalidity.0,
            createdmodseq: entry.created_modseq.0,
            foldermodseq: entry.folder_modseq.0,
            mtime: entry.mtime,
            acl: acl
                .map(|(identifier, rights)| (identifier.to_string(), rights.to_text(deleteright)))
                .collect(),
            history: Vec::new(),
        };
        self.txn.put(&row_key(&entry.name), &row.name_value())?;
        if let Some(id) = &entry.id {
            row.name = Some(entry.name.to_dbname());
            row.history = history;
            self.txn.put(&id_key(id), &row.id_value())?;
        }
        if self.reverse_acls {
            let deleted_prefix = &self.store.options().deleted_prefix;
            for key in rights_keys(&entry.name, &row, deleteright, deleted_prefix) {
                self.txn.put(&key, b"")?;
            }
        }
        Ok(())
    }

    /// Only a tombstone or a name that is no mailbox may be written over.
    fn check_free(&self, name: &MailboxName) -> Result<(), MailboxError> {
        match self.row(&row_key(name))? {
            Some(row) if !row.mbtype.deleted && !row.mbtype.intermediate => Err(MailboxError::Exists),
            _ => Ok(()),
        }
    }

    /// The former names of a mailbox.
    fn history(&self, entry: &MailboxEntry) -> Result<Vec<FormerName>, MailboxError> {
        let row = match &entry.id {
            Some(id) => self.row(&id_key(id))?,
            None => None,
        };
        Ok(row.map(|row| row.history).unwrap_or_default())
    }

    fn row(&self, key: &[u8]) -> Result<Option<MailboxRow>, MailboxError> {
        let Some(value) = self.txn.get(key)? else {
            return Ok(None);
        };
        MailboxRow::parse(&value)
            .map(Some)
            .map_err(|fault| self.damaged(fault))
    }

    fn damaged(&self, fault: Fault) -> MailboxError {
        MailboxError::damaged(&self.store.mboxlist_path(), fault)
    }

    /// Removes from the index of rights what it says of the mailbox that has this name now.
    fn drop_rights(&mut self, name: &MailboxName) -> Result<(), MailboxError> {
        if !self.reverse_acls {
            return Ok(());
        }
        let Some(row) = self.row(&row_key(name))? else {
            return Ok(());
        };
        let options = self.store.options();
        for key in rights_keys(name, &row, options.deleteright, &options.deleted_prefix) {
            self.txn.remove(&key)?;
        }
        Ok(())
    }

    /// Makes the index of rights for all mailboxes, when it has just been switched on.
    fn index_rights(&mut self) -> Result<(), MailboxError> {
        let options = self.store.options();
        let mut keys = Vec::new();
        self.txn.scan(b"N", &mut |key, value| {
            let name = MailboxName::from_dbname(key.get(1..).unwrap_or_default());
            // A damaged row is for whoever opens that mailbox to report.
            if let (Ok(name), Ok(row)) = (name, MailboxRow::parse(value)) {
                keys.extend(rights_keys(
                    &name,
                    &row,
                    options.deleteright,
                    &options.deleted_prefix,
                ));
            }
            ControlFlow::Continue(())
        })?;
        for key in keys {
            self.txn.put(&key, b"")?;
        }
        Ok(self.txn.put(REVERSE_ACLS_PRESENT, b"")?)
    }
}

/// What is left of a mailbox under a name that it no longer has.
fn tombstone(entry: &MailboxEntry, mbtype: MailboxType) -> MailboxRow {
    MailboxRow {
        mbtype,
        id: entry.id.as_ref().map(|id: &MailboxId| id.as_str().to_owned()),
        uidvalidity: entry.uidvalidity.0,
        createdmodseq: entry.created_modseq.0,
        foldermodseq: entry.folder_modseq.0,
        mtime: entry.mtime,
        ..MailboxRow::default()
    }
}

/// The keys by which the index of rights finds a mailbox: one an identifier that may see or read it. The owner has none.
fn rights_keys(
    name: &MailboxName,
    row: &MailboxRow,
    deleteright: DeleteRight,
    deleted_prefix: &str,
) -> Vec<Vec<u8>> {
    if row.mbtype.deleted {
        return Vec::new();
    }
    let owner = name.owner_even_deleted(deleted_prefix);
    let kind: &[u8] = if owner.is_some() { b"AU\x1e" } else { b"AS\x1e" };
    let indexed = row.acl.iter().filter(|(identifier, rights)| {
        owner.as_deref() != Some(identifier)
            && Identifier::stored(identifier).is_ok()
            && Rights::parse_stored_with(rights, deleteright).intersects(Rights::LOOKUP | Rights::READ)
    });
    let dbname = name.to_dbname();
    indexed
        .map(|(identifier, _)| [kind, identifier.as_bytes(), b"\x1e", dbname.as_bytes()].concat())
        .collect()
}

/// Says that the index of rights is there and whole.
const REVERSE_ACLS_PRESENT: &[u8] = b"AS\x1e";
