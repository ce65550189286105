//! The status cache: rows that Cyrus believes without a look at the index, so every change removes them.

use crate::db::{Create, DbError};
use crate::error::MailboxError;
use crate::format::statuscache::mailbox_key;
use crate::store::Store;

impl Store {
    /// Removes what the status cache says of these mailboxes (internal names), if there is one.
    ///
    /// Removing the row of the mailbox is enough: the rows of its users are good only beside it.
    pub(crate) fn forget_status<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        if !self.options().statuscache {
            return;
        }
        if let Err(error) = self.remove_status(names) {
            self.report("the status cache may hold old counts", &error);
        }
    }

    fn remove_status<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<(), MailboxError> {
        let options = self.options();
        let path = options.database_path(options.databases.statuscache_path.as_ref(), "statuscache.db");
        let mut db = match self
            .databases()
            .open(&path, options.databases.statuscache, Create::No)
        {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut present = Vec::new();
        for name in names {
            let key = mailbox_key(name);
            if db.get(&key)?.is_some() {
                present.push(key);
            }
        }
        if present.is_empty() {
            return Ok(());
        }
        let mut txn = db.begin()?;
        for key in &present {
            txn.remove(key)?;
        }
        Ok(txn.commit()?)
    }
}
