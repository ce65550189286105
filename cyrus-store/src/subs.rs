//! Subscriptions: one small database a user, of names with the user's own INBOX written as `INBOX`.

use std::ops::ControlFlow;

use cyrus_acl::{AuthState, Rights};

use crate::db::{Create, DbError, Pooled, Txn};
use crate::error::MailboxError;
use crate::log::Level;
use crate::name::MailboxName;
use crate::store::Store;

impl Store {
    /// Subscribes the user to a mailbox. It must be one that he may see, unless `allowallsubscribe` is on.
    ///
    /// # Errors
    /// [`MailboxError::NotFound`] if it is not.
    pub fn subscribe(&self, name: &MailboxName, auth: &AuthState) -> Result<(), MailboxError> {
        if !self.options().allowallsubscribe {
            let entry = self.lookup(name)?.filter(|entry| !entry.mbtype.intermediate);
            let visible = entry.is_some_and(|entry| self.rights(&entry, auth).contains(Rights::LOOKUP));
            if !visible {
                return Err(MailboxError::NotFound);
            }
        }
        self.change_subscriptions(
            auth,
            Create::Yes,
            |txn, key| match txn.get(key)? {
                Some(_) => Ok(false),
                None => txn.put(key, b"").map(|()| true),
            },
            name,
        )
    }

    /// Takes a mailbox off the user's subscriptions, if it is among them.
    ///
    /// # Errors
    /// The subscriptions cannot be read or written.
    pub fn unsubscribe(&self, name: &MailboxName, auth: &AuthState) -> Result<(), MailboxError> {
        self.change_subscriptions(auth, Create::No, |txn, key| txn.remove(key), name)
    }

    /// The mailboxes that the user is subscribed to, whether they exist or not, sorted.
    ///
    /// # Errors
    /// The subscriptions cannot be read.
    pub fn subscriptions(&self, auth: &AuthState) -> Result<Vec<MailboxName>, MailboxError> {
        let Some(mut db) = self.subscription_db(auth.userid(), Create::No)? else {
            return Ok(Vec::new());
        };
        let mut keys = Vec::new();
        db.scan(b"", &mut |key, _| {
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })?;
        drop(db);
        let is_new = keys.iter().any(|key| key == VERSION_KEY);
        let mut names = Vec::with_capacity(keys.len());
        for key in keys.iter().filter(|key| *key != VERSION_KEY) {
            let name = if is_new {
                name_of(key, auth.userid())
            } else {
                old_name_of(key)
            };
            match name {
                Some(name) => names.push(name),
                None => self.log().record(
                    Level::Warning,
                    format_args!(
                        "{} is subscribed to {}, which is no name",
                        auth.userid(),
                        key.escape_ascii()
                    ),
                ),
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Changes the row of one name, in a transaction that also brings an old file to the present form. `change` says
    /// whether it did anything.
    fn change_subscriptions(
        &self,
        auth: &AuthState,
        create: Create,
        change: impl FnOnce(&mut dyn Txn, &[u8]) -> Result<bool, DbError>,
        name: &MailboxName,
    ) -> Result<(), MailboxError> {
        let userid = auth.userid();
        let Some(mut db) = self.subscription_db(userid, create)? else {
            return Ok(());
        };
        let mut txn = db.begin()?;
        let upgraded = upgrade(&mut *txn, userid)?;
        let changed = change(&mut *txn, &key_of(name, userid))?;
        if upgraded || changed {
            txn.commit()?;
        }
        Ok(())
    }

    fn subscription_db(&self, userid: &str, create: Create) -> Result<Option<Pooled>, MailboxError> {
        let path = self.user_file(userid, "sub")?;
        match self
            .databases()
            .open(&path, self.options().databases.subscription, create)
        {
            Ok(db) => Ok(Some(db)),
            Err(DbError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Brings a file of internal names to the present form; says whether it was not in it.
fn upgrade(txn: &mut dyn Txn, userid: &str) -> Result<bool, DbError> {
    if txn.get(VERSION_KEY)?.is_some() {
        return Ok(false);
    }
    let mut old = Vec::new();
    txn.scan(b"", &mut |key, _| {
        old.push(key.to_vec());
        ControlFlow::Continue(())
    })?;
    for key in old {
        // What is no name stays as it is.
        if let Some(name) = old_name_of(&key) {
            txn.remove(&key)?;
            txn.put(&key_of(&name, userid), b"")?;
        }
    }
    txn.put(VERSION_KEY, b"2")?;
    Ok(true)
}

/// The key of a name in the subscriptions of a user.
fn key_of(name: &MailboxName, userid: &str) -> Vec<u8> {
    let dbname = name.to_dbname();
    let own = MailboxName::inbox_of(userid).ok();
    if let Some(inbox) = own.filter(|inbox| inbox == name || inbox.is_ancestor_of(name)) {
        let rest = dbname.strip_prefix(&inbox.to_dbname()).unwrap_or_default();
        return [b"N", OWN_INBOX, rest.as_bytes()].concat();
    }
    [b"N", dbname.as_bytes()].concat()
}

/// The name of a key in the subscriptions of a user.
fn name_of(key: &[u8], userid: &str) -> Option<MailboxName> {
    let dbname = key.strip_prefix(b"N")?;
    match dbname.strip_prefix(OWN_INBOX) {
        Some(rest) if rest.is_empty() || rest.starts_with(b"\x1f") => {
            let inbox = MailboxName::inbox_of(userid).ok()?.to_dbname();
            MailboxName::from_dbname(&[inbox.as_bytes(), rest].concat()).ok()
        }
        _ => MailboxName::from_dbname(dbname).ok(),
    }
}

/// The name of a key in a file without version.
fn old_name_of(key: &[u8]) -> Option<MailboxName> {
    MailboxName::parse(std::str::from_utf8(key).ok()?).ok()
}

/// Whether a key of the subscriptions of a user can be read, in the present form of the file or the one before.
pub(crate) fn is_key(key: &[u8], userid: &str, is_new: bool) -> bool {
    match is_new {
        _ if key == VERSION_KEY => true,
        true => name_of(key, userid).is_some(),
        false => old_name_of(key).is_some(),
    }
}

/// The key of the row that says in which form the file is.
pub(crate) const VERSION_KEY: &[u8] = b"\x1fVER\x1f";
const OWN_INBOX: &[u8] = b"INBOX";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Keys that Cyrus 3.6.1 wrote.
    #[test]
    fn the_own_inbox_is_called_inbox_in_keys() {
        for (userid, name, key) in [
            ("user1", "user.user1", &b"NINBOX"[..]),
            ("user1", "user.user1.INBOX.z", b"NINBOX\x1fINBOX\x1fz"),
            ("cyrus", "user.user3", b"Nuser\x1fuser3"),
            ("cyrus", "sq", b"Nsq"),
            ("jo.smith", "user.jo^smith.a^b", b"NINBOX\x1fa.b"),
            ("user1", "user.user12", b"Nuser\x1fuser12"),
        ] {
            let name = MailboxName::parse(name).unwrap();
            assert_eq!(key_of(&name, userid), key);
            assert_eq!(name_of(key, userid), Some(name));
        }
    }

    proptest! {
        #[test]
        fn names_and_keys_convert_into_each_other(name in "(user\\.)?[a-c]{1,2}(\\.[a-cIN^]{1,3}){0,3}", userid in "[a-c]{1,2}") {
            let name = MailboxName::parse(&name).unwrap();
            prop_assert_eq!(name_of(&key_of(&name, &userid), &userid), Some(name));
        }
    }
}
