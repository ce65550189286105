//! The keys of URLAUTH (RFC 4467): one a user and mailbox, in his `mboxkey` database.

use std::ops::ControlFlow;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::db::{Create, DbError};
use crate::error::MailboxError;
use crate::format::mboxkey;
use crate::name::MailboxName;
use crate::store::Store;

/// The key with which a user authorizes URLs of one mailbox.
#[derive(Clone)]
pub struct UrlKey(mboxkey::Key);

impl std::fmt::Debug for UrlKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UrlKey(..)") // it is a secret
    }
}

impl UrlKey {
    /// The token that authorizes a URL, of which `rump` is what comes before the mechanism: hexadecimal digits.
    pub fn token(&self, rump: &[u8]) -> String {
        let digest = self.mac(rump).finalize().into_bytes();
        let mut token = format!("{HMAC_SHA1:02x}");
        for octet in digest {
            token.push_str(&format!("{octet:02x}"));
        }
        token
    }

    /// Whether `token` authorizes the URL that begins with `rump`; takes the same time whatever is wrong with it.
    pub fn verifies(&self, rump: &[u8], token: &[u8]) -> bool {
        let digit = |c: u8| {
            char::from(c)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let mut octets = Vec::with_capacity(token.len() / 2);
        let (pairs, rest) = token.as_chunks::<2>();
        for &[high, low] in pairs {
            let Some((high, low)) = digit(high).zip(digit(low)) else {
                return false;
            };
            octets.push(high << 4 | low);
        }
        match octets.split_first() {
            Some((&HMAC_SHA1, digest)) if rest.is_empty() => self.mac(rump).verify_slice(digest).is_ok(),
            _ => false,
        }
    }

    fn mac(&self, rump: &[u8]) -> Hmac<Sha1> {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.0.0).expect("HMAC takes keys of any length");
        mac.update(rump);
        mac
    }
}

/// The first octet of a token: how the others were made.
const HMAC_SHA1: u8 = 0;

impl Store {
    /// The user's key for a mailbox, if he has one.
    ///
    /// # Errors
    /// His database cannot be read, or the row is damaged.
    pub fn url_key(&self, userid: &str, mailbox: &MailboxName) -> Result<Option<UrlKey>, MailboxError> {
        let path = self.user_file(userid, "mboxkey")?;
        let engine = self.options().databases.mboxkey;
        let mut db = match self.databases().open(&path, engine, Create::No) {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(value) = db.get(mailbox.as_str().as_bytes())? else {
            return Ok(None);
        };
        let key = mboxkey::Key::parse(&value).map_err(|fault| MailboxError::damaged(&path, fault))?;
        Ok(Some(UrlKey(key)))
    }

    /// The user's key for a mailbox; a new one if he has none.
    ///
    /// # Errors
    /// His database cannot be written, or the row is damaged.
    pub fn make_url_key(&self, userid: &str, mailbox: &MailboxName) -> Result<UrlKey, MailboxError> {
        if let Some(key) = self.url_key(userid, mailbox)? {
            return Ok(key);
        }
        let path = self.user_file(userid, "mboxkey")?;
        let engine = self.options().databases.mboxkey;
        let mut db = self.databases().open(&path, engine, Create::Yes)?;
        let mut txn = db.begin()?;
        let row = mailbox.as_str().as_bytes();
        if let Some(value) = txn.get(row)? {
            let key = mboxkey::Key::parse(&value).map_err(|fault| MailboxError::damaged(&path, fault))?;
            return Ok(UrlKey(key));
        }
        let mut key = mboxkey::Key([0; mboxkey::KEY_LENGTH]);
        getrandom::fill(&mut key.0)
            .map_err(|error| MailboxError::Refused(format!("the system has no random numbers: {error}")))?;
        txn.put(row, &key.to_bytes())?;
        txn.commit()?;
        Ok(UrlKey(key))
    }

    /// Takes the user's key for a mailbox away, or for all of them: no URL authorized so far is any longer.
    ///
    /// # Errors
    /// His database cannot be written.
    pub fn remove_url_keys(&self, userid: &str, mailbox: Option<&MailboxName>) -> Result<(), MailboxError> {
        let path = self.user_file(userid, "mboxkey")?;
        let engine = self.options().databases.mboxkey;
        let mut db = match self.databases().open(&path, engine, Create::No) {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut rows = Vec::new();
        match mailbox {
            Some(mailbox) => rows.push(mailbox.as_str().as_bytes().to_vec()),
            None => db.scan(b"", &mut |row, _| {
                rows.push(row.to_vec());
                ControlFlow::Continue(())
            })?,
        }
        let mut txn = db.begin()?;
        let mut changed = false;
        for row in rows {
            if txn.get(&row)?.is_some() {
                txn.remove(&row)?;
                changed = true;
            }
        }
        if changed {
            txn.commit()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_one_that_cyrus_makes() {
        let value = [
            0, 1, 0x59, 0xf3, 0x09, 0xc5, 0x6d, 0xc7, 0xef, 0x73, 0x95, 0xff, 0x13, 0xa7, 0x65, 0x69, 0xe8,
            0x16,
        ];
        let key = UrlKey(mboxkey::Key::parse(&value).unwrap());
        let rump = b"imap://user1@localhost/INBOX/;UID=1;URLAUTH=anonymous";
        let token = "00ac7b49fd3b34e951d44b4f1c4e4b9f587501f2ff";
        assert_eq!(key.token(rump), token);
        assert!(key.verifies(rump, token.as_bytes()));
        assert!(key.verifies(rump, token.to_ascii_uppercase().as_bytes()));
        for bad in [
            "",
            "00",
            "00ac7b49fd3b34e951d44b4f1c4e4b9f587501f2fe",
            "01ac7b49fd3b34e951d44b4f1c4e4b9f587501f2ff",
            "00ac7b49fd3b34e951d44b4f1c4e4b9f587501f2ff0",
            "xyz",
        ] {
            assert!(!key.verifies(rump, bad.as_bytes()), "{bad}");
        }
        assert!(!key.verifies(
            b"imap://user1@localhost/INBOX/;UID=2;URLAUTH=anonymous",
            token.as_bytes()
        ));
    }
}
