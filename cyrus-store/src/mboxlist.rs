//! The mailbox list: rows of `mailboxes.db` by name and by unique id, and who may do what with a mailbox.

mod acl;
mod create;
mod delete;
mod dump;
mod files;
mod hold;
mod inbox;
mod list;
mod lost;
mod relocate;
mod rename;
mod rows;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use cyrus_acl::{Acl, AuthState, Explanation, Identifier, Reason, Relation, Rights, effective, explain};

use crate::db::{Create, DbError, Pooled};
use crate::error::MailboxError;
use crate::format::mboxentry::{MailboxRow, MailboxType};
use crate::format::{Damage, Fault};
use crate::ident::{MailboxId, Partition};
use crate::name::MailboxName;
use crate::store::Store;
use crate::sys::Stat;
use crate::uid::{ModSeq, UidValidity};

pub use create::CreateOptions;
pub use list::Step;
pub use relocate::{Moved, Relocated};

pub(crate) use create::new_id;
pub(crate) use delete::{SPECIAL_USE_CONFLICT, whole_usage};
pub(crate) use rows::RowChange;

/// A row of the mailbox list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxEntry {
    /// Internal name.
    pub name: MailboxName,
    /// Unique id; absent only in rows for intermediate and remote names.
    pub id: Option<MailboxId>,
    /// Kind and flags.
    pub mbtype: MailboxType,
    /// Partition; absent where there is nothing on disk.
    pub partition: Option<Partition>,
    /// Server, of a mailbox that is not on this one.
    pub server: Option<String>,
    /// UIDVALIDITY.
    pub uidvalidity: UidValidity,
    /// Modification sequence at creation.
    pub created_modseq: ModSeq,
    /// Modification sequence of the row's last change.
    pub folder_modseq: ModSeq,
    /// When the row was written, Unix seconds.
    pub mtime: i64,
    /// Who may do what.
    pub acl: Acl,
}

impl MailboxEntry {
    /// The entry of a row by name.
    pub(crate) fn from_row(name: MailboxName, row: &MailboxRow, store: &Store) -> Self {
        let deleteright = store.options().deleteright;
        let acl = row.acl.iter().filter_map(|(identifier, rights)| {
            Some((
                Identifier::stored(identifier).ok()?,
                Rights::parse_stored_with(rights, deleteright),
            ))
        });
        Self {
            name,
            id: row.id.as_deref().and_then(MailboxId::new),
            mbtype: row.mbtype,
            partition: row.partition.as_deref().and_then(Partition::new),
            server: row.server.clone(),
            uidvalidity: UidValidity(row.uidvalidity),
            created_modseq: ModSeq(row.createdmodseq),
            folder_modseq: ModSeq(row.foldermodseq),
            mtime: row.mtime,
            acl: Acl::from_entries(acl),
        }
    }

    /// The unique id and the partition of a mailbox that can hold messages on this server.
    ///
    /// # Errors
    /// It cannot, and why.
    pub(crate) fn storage(&self) -> Result<(&MailboxId, &Partition), MailboxError> {
        if self.mbtype.intermediate {
            return Err(MailboxError::NotAMailbox);
        }
        if self.mbtype.remote {
            return Err(MailboxError::Remote {
                server: self.server.clone().unwrap_or_default(),
                mailbox: self.name.clone(),
            });
        }
        if !self.mbtype.is_usable() {
            return Err(MailboxError::NotFound);
        }
        self.id
            .as_ref()
            .zip(self.partition.as_ref())
            .ok_or(MailboxError::NotFound)
    }
}

impl Store {
    /// The row of a mailbox; `None` if there is none or only a tombstone.
    ///
    /// # Errors
    /// The mailbox list cannot be read, or the row is damaged.
    pub fn lookup(&self, name: &MailboxName) -> Result<Option<Arc<MailboxEntry>>, MailboxError> {
        let now = self.disk().try_stat(&self.mboxlist_path())?;
        if let Some(known) = self.row_cache().get(now.as_ref(), name) {
            return Ok(known);
        }
        let entry = match self.mboxlist(Create::No)? {
            Some(mut db) => {
                let key = row_key(name);
                match db.get(&key)? {
                    Some(value) => self.entry_of_row(name.clone(), &value)?.map(Arc::new),
                    None => None,
                }
            }
            None => None,
        };
        self.row_cache().insert(now, name, entry.clone());
        Ok(entry)
    }

    /// [`Store::lookup`] of a row that is in memory and still true; the mailbox list is not opened.
    pub(crate) fn remembered(&self, name: &MailboxName) -> Option<Arc<MailboxEntry>> {
        let now = self.disk().try_stat(&self.mboxlist_path()).ok()?;
        self.row_cache().get(now.as_ref(), name)?
    }

    /// The row of the mailbox with this unique id.
    ///
    /// # Errors
    /// As [`Store::lookup`].
    pub fn lookup_id(&self, id: &MailboxId) -> Result<Option<Arc<MailboxEntry>>, MailboxError> {
        let Some(mut db) = self.mboxlist(Create::No)? else {
            return Ok(None);
        };
        let Some(value) = db.get(&id_key(id))? else {
            return Ok(None);
        };
        drop(db);
        let row = MailboxRow::parse(&value).map_err(|fault| self.row_damaged(fault))?;
        let Some(name) = row
            .name
            .and_then(|name| MailboxName::from_dbname(name.as_bytes()).ok())
        else {
            return Ok(None);
        };
        // The row by id may be left over: only the row by name is to be believed.
        Ok(self.lookup(&name)?.filter(|entry| entry.id.as_ref() == Some(id)))
    }

    /// What a user may do with a mailbox. With a deleted one, nobody but administrators may do anything.
    pub fn rights(&self, entry: &MailboxEntry, auth: &AuthState) -> Rights {
        if !auth.is_admin() && entry.name.is_deleted(&self.options().deleted_prefix) {
            return Rights::NONE;
        }
        effective(
            &entry.acl,
            auth,
            self.relation(entry, auth),
            &self.options().acl_policy,
        )
    }

    /// Why [`Store::rights`] answers what it does.
    pub fn explain_rights(&self, entry: &MailboxEntry, auth: &AuthState) -> Explanation {
        if !auth.is_admin() && entry.name.is_deleted(&self.options().deleted_prefix) {
            return Explanation {
                userid: auth.userid().to_owned(),
                rights: Rights::NONE,
                reasons: vec![Reason::Deleted],
            };
        }
        explain(
            &entry.acl,
            auth,
            self.relation(entry, auth),
            &self.options().acl_policy,
        )
    }

    /// Whether a mailbox, which may be deleted, is the user's own.
    fn relation(&self, entry: &MailboxEntry, auth: &AuthState) -> Relation {
        match entry.name.owner_even_deleted(&self.options().deleted_prefix) {
            Some(owner) if owner == auth.userid() && !auth.is_system() => Relation::Owner,
            _ => Relation::Other,
        }
    }

    /// The row of a mailbox that the user may know of, with his rights there.
    ///
    /// # Errors
    /// [`MailboxError::NotFound`] also if he has no right at all.
    pub(crate) fn visible(
        &self,
        name: &MailboxName,
        auth: &AuthState,
    ) -> Result<(Arc<MailboxEntry>, Rights), MailboxError> {
        let entry = self.lookup(name)?.ok_or(MailboxError::NotFound)?;
        let rights = self.rights(&entry, auth);
        if rights.is_empty() {
            return Err(MailboxError::NotFound);
        }
        Ok((entry, rights))
    }

    /// The entry of a row's value; `None` for a tombstone.
    ///
    /// # Errors
    /// The row is damaged.
    pub(crate) fn entry_of_row(
        &self,
        name: MailboxName,
        value: &[u8],
    ) -> Result<Option<MailboxEntry>, MailboxError> {
        let row = MailboxRow::parse(value).map_err(|fault| self.row_damaged(fault))?;
        if row.mbtype.deleted {
            return Ok(None);
        }
        if !row.mbtype.intermediate
            && !row.mbtype.remote
            && row.id.as_deref().and_then(MailboxId::new).is_none()
        {
            return Err(self.row_damaged(Fault::new(0, Damage::Impossible("unique id of a mailbox"))));
        }
        Ok(Some(MailboxEntry::from_row(name, &row, self)))
    }

    /// The open mailbox list; `None` if there is no file yet and it is not to be made. One that was there does not go away.
    pub(crate) fn mboxlist(&self, create: Create) -> Result<Option<Pooled>, MailboxError> {
        match self
            .databases()
            .open(&self.mboxlist_path(), self.options().databases.mboxlist, create)
        {
            Ok(db) => {
                self.note_list();
                Ok(Some(db))
            }
            Err(DbError::Missing { .. }) if !self.has_seen_list() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The file of the mailbox list.
    pub fn mailbox_list_path(&self) -> PathBuf {
        self.mboxlist_path()
    }

    pub(crate) fn mboxlist_path(&self) -> PathBuf {
        let options = self.options();
        options.database_path(options.databases.mboxlist_path.as_ref(), "mailboxes.db")
    }

    fn row_damaged(&self, fault: Fault) -> MailboxError {
        MailboxError::damaged(&self.mboxlist_path(), fault)
    }
}

/// The key of a mailbox's row by name.
pub(crate) fn row_key(name: &MailboxName) -> Vec<u8> {
    [b"N", name.to_dbname().as_bytes()].concat()
}

/// The key of a mailbox's row by unique id.
pub(crate) fn id_key(id: &MailboxId) -> Vec<u8> {
    [b"I", id.as_str().as_bytes()].concat()
}

/// Rows that were read, good for as long as the file of the mailbox list is what it was then.
#[derive(Debug, Default)]
pub(crate) struct RowCache {
    rows: Mutex<Rows>,
    /// There was a list.
    list_seen: AtomicBool,
}

#[derive(Debug, Default)]
struct Rows {
    file: Option<Stat>,
    by_name: HashMap<MailboxName, Option<Arc<MailboxEntry>>>,
}

impl RowCache {
    fn get(&self, file: Option<&Stat>, name: &MailboxName) -> Option<Option<Arc<MailboxEntry>>> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let unchanged = rows
            .file
            .as_ref()
            .zip(file)
            .is_some_and(|(then, now)| same_content(then, now));
        unchanged.then(|| rows.by_name.get(name).cloned()).flatten()
    }

    fn insert(&self, file: Option<Stat>, name: &MailboxName, entry: Option<Arc<MailboxEntry>>) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let unchanged = rows
            .file
            .as_ref()
            .zip(file.as_ref())
            .is_some_and(|(then, now)| same_content(then, now));
        if !unchanged || rows.by_name.len() >= MAX_ROWS {
            rows.by_name.clear();
            rows.file = file;
        }
        rows.by_name.insert(name.clone(), entry);
    }
}

/// Databases grow at every commit and get a new inode at every checkpoint.
fn same_content(then: &Stat, now: &Stat) -> bool {
    then.identity() == now.identity() && then.size == now.size && then.modified == now.modified
}

/// Rows kept in memory; a row is a few hundred octets.
const MAX_ROWS: usize = 8192;
