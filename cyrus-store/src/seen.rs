//! What users have seen in mailboxes that are not their own: rows of their seen databases.

use std::ops::ControlFlow;

use crate::db::{Create, DbError};
use crate::error::MailboxError;
use crate::format::seen::SeenState;
use crate::ident::MailboxId;
use crate::log::Level;
use crate::name::MailboxName;
use crate::store::Store;

impl Store {
    /// A user's state in a mailbox; the state of one who was never there if he has none, or a damaged one.
    pub(crate) fn seen_state(&self, userid: &str, mailbox: &MailboxId) -> Result<SeenState, MailboxError> {
        let path = self.user_file(userid, "seen")?;
        let mut db = match self
            .databases()
            .open(&path, self.options().databases.seen, Create::No)
        {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(SeenState::default()),
            Err(error) => return Err(error.into()),
        };
        let value = db.get(mailbox.as_str().as_bytes())?;
        Ok(value
            .map(|value| self.parsed(userid, mailbox, &value))
            .unwrap_or_default())
    }

    /// Changes a user's state in a mailbox, in a transaction of its own.
    pub(crate) fn change_seen(
        &self,
        userid: &str,
        mailbox: &MailboxId,
        change: impl FnOnce(&mut SeenState),
    ) -> Result<(), MailboxError> {
        let path = self.user_file(userid, "seen")?;
        let mut db = self
            .databases()
            .open(&path, self.options().databases.seen, Create::Yes)?;
        let mut txn = db.begin()?;
        let key = mailbox.as_str().as_bytes();
        let before = txn.get(key)?;
        let mut state = before
            .as_ref()
            .map(|value| self.parsed(userid, mailbox, value))
            .unwrap_or_default();
        change(&mut state);
        let after = state.to_string().into_bytes();
        if before.as_ref() != Some(&after) {
            txn.put(key, &after)?;
            txn.commit()?;
        }
        Ok(())
    }

    /// What a user has seen in each mailbox that is not his own; rows of mailboxes that are gone among them.
    ///
    /// # Errors
    /// His seen database cannot be read. A damaged row is logged and left out.
    pub fn seen_states(&self, userid: &str) -> Result<Vec<(MailboxId, SeenState)>, MailboxError> {
        let path = self.user_file(userid, "seen")?;
        let engine = self.options().databases.seen;
        let mut db = match self.databases().open(&path, engine, Create::No) {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut rows = Vec::new();
        db.scan(b"", &mut |key, value| {
            if let Some(id) = std::str::from_utf8(key).ok().and_then(MailboxId::new) {
                rows.push((id, value.to_vec()));
            }
            ControlFlow::Continue(())
        })?;
        drop(db);
        let rows = rows.into_iter().map(|(id, value)| {
            let state = self.parsed(userid, &id, &value);
            (id, state)
        });
        Ok(rows.collect())
    }

    /// Forgets what a user has seen in a mailbox; says whether there was anything.
    ///
    /// # Errors
    /// His seen database cannot be written.
    pub fn forget_seen(&self, userid: &str, mailbox: &MailboxId) -> Result<bool, MailboxError> {
        let path = self.user_file(userid, "seen")?;
        let engine = self.options().databases.seen;
        let mut db = match self.databases().open(&path, engine, Create::No) {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut txn = db.begin()?;
        let there = txn.remove(mailbox.as_str().as_bytes())?;
        if there {
            txn.commit()?;
        }
        Ok(there)
    }

    /// The path of a user's file of this kind.
    pub(crate) fn user_file(&self, userid: &str, kind: &str) -> Result<std::path::PathBuf, MailboxError> {
        let inbox = match MailboxName::inbox_of(userid) {
            Ok(inbox) => self.lookup(&inbox)?,
            Err(_) => None,
        };
        let by_id = inbox
            .as_ref()
            .filter(|entry| !entry.mbtype.legacy_dirs)
            .and_then(|entry| entry.id.as_ref());
        Ok(self.options().user_file(userid, by_id, kind))
    }

    fn parsed(&self, userid: &str, mailbox: &MailboxId, value: &[u8]) -> SeenState {
        SeenState::parse(value).unwrap_or_else(|fault| {
            let what = format_args!(
                "seen state of {userid} in mailbox {mailbox} is unreadable ({fault}) and begins anew"
            );
            self.log().record(Level::Error, what);
            SeenState::default()
        })
    }
}
