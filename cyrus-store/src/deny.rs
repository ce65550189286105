//! Who is shut out of which services: `user_deny.db`, one row a user.

use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::db::{Create, DbError, Pooled};
use crate::error::MailboxError;
use crate::store::Store;

/// Why and from what one user is shut out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Patterns of the names that services have in cyrus.conf, separated by commas: `*`, `imap*,pop3`.
    pub services: String,
    /// What the user is told.
    pub message: String,
}

impl Denial {
    /// The services that a denial is about by default: all.
    pub const ALL_SERVICES: &str = "*";
    /// What a user is told by default.
    pub const MESSAGE: &str = "Access to this service has been blocked";

    /// Whether it is about this service.
    pub fn covers(&self, service: &str) -> bool {
        self.services
            .split(',')
            .map(str::trim)
            .any(|pattern| matches(pattern.as_bytes(), service.as_bytes()))
    }

    /// The value of a row, `version TAB services TAB message`. What is left out of it counts as the default: nobody gets
    /// in because of a damaged row.
    fn parse(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(value);
        let mut fields = text.splitn(3, '\t').skip(1);
        Self {
            services: fields.next().unwrap_or(Self::ALL_SERVICES).to_owned(),
            message: fields.next().unwrap_or(Self::MESSAGE).to_owned(),
        }
    }

    fn to_value(&self) -> Vec<u8> {
        // A tab would end the first field, and a line end the row.
        let clean = |text: &str| text.replace(['\t', '\r', '\n', '\0'], " ");
        format!("{VERSION}\t{}\t{}", clean(&self.services), clean(&self.message)).into_bytes()
    }
}

impl Store {
    /// Why a user may not use a service (`imap`, `pop3`, ...), if the administrator has shut him out of it.
    ///
    /// # Errors
    /// `user_deny.db` cannot be read. The caller should let nobody in then.
    pub fn user_denied(&self, userid: &str, service: &str) -> Result<Option<String>, MailboxError> {
        let Some(mut db) = self.userdeny(Create::No)? else {
            return Ok(None);
        };
        let value = db.get(userid.as_bytes())?;
        let denial = value.map(|value| Denial::parse(&value));
        Ok(denial
            .filter(|denial| denial.covers(service))
            .map(|denial| denial.message))
    }

    /// Everybody who is shut out of something, in the order of the database.
    ///
    /// # Errors
    /// `user_deny.db` cannot be read.
    pub fn denials(&self) -> Result<Vec<(String, Denial)>, MailboxError> {
        let mut rows = Vec::new();
        if let Some(mut db) = self.userdeny(Create::No)? {
            db.scan(b"", &mut |key, value| {
                rows.push((String::from_utf8_lossy(key).into_owned(), Denial::parse(value)));
                ControlFlow::Continue(())
            })?;
        }
        Ok(rows)
    }

    /// Shuts a user out, in place of what was denied to him before. Sessions that he has are for others to end.
    ///
    /// # Errors
    /// `user_deny.db` cannot be written.
    pub fn deny_user(&self, userid: &str, denial: &Denial) -> Result<(), MailboxError> {
        if let Some(mut db) = self.userdeny(Create::Yes)? {
            let mut txn = db.begin()?;
            txn.put(userid.as_bytes(), &denial.to_value())?;
            txn.commit()?;
        }
        Ok(())
    }

    /// Lets a user in again; says whether he was shut out of anything.
    ///
    /// # Errors
    /// `user_deny.db` cannot be written.
    pub fn allow_user(&self, userid: &str) -> Result<bool, MailboxError> {
        let Some(mut db) = self.userdeny(Create::No)? else {
            return Ok(false);
        };
        let mut txn = db.begin()?;
        let was_denied = txn.remove(userid.as_bytes())?;
        if was_denied {
            txn.commit()?;
        }
        Ok(was_denied)
    }

    /// The file of the database.
    pub fn userdeny_path(&self) -> PathBuf {
        let options = self.options();
        options.database_path(options.databases.userdeny_path.as_ref(), "user_deny.db")
    }

    fn userdeny(&self, create: Create) -> Result<Option<Pooled>, MailboxError> {
        let engine = self.options().databases.userdeny;
        match self.databases().open(&self.userdeny_path(), engine, create) {
            Ok(db) => Ok(Some(db)),
            Err(DbError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a name fits a pattern of `*`, `?`, sets such as `[a-c]` and `[^x]`, and characters taken literally behind `\`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last `*` does not fit: it takes one octet more.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), name.get(n)) {
            (Some(b'*'), _) => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            (None, None) => return true,
            (Some(_), Some(&octet)) => one(pattern.get(p..).unwrap_or_default(), octet),
            _ => None,
        };
        match (step, star) {
            (Some(length), _) => {
                p += length;
                n += 1;
            }
            (None, Some((after, taken))) if taken < name.len() => {
                star = Some((after, taken + 1));
                (p, n) = (after, taken + 1);
            }
            _ => return false,
        }
    }
}

/// How much of the pattern an octet takes, if it fits its beginning, which is no `*`.
fn one(pattern: &[u8], octet: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == octet).then_some(2),
        [b'[', set @ ..] => {
            let (inverted, set, before) = match set {
                [b'^', set @ ..] => (true, set, 2),
                set => (false, set, 1),
            };
            // A bracket that comes first is one of the set.
            let end = set.iter().skip(1).position(|&c| c == b']')? + 1;
            let set = set.get(..end)?;
            let mut found = false;
            let mut rest = set;
            while let Some((&first, after)) = rest.split_first() {
                match after {
                    [b'-', last, more @ ..] => {
                        found |= (first..=*last).contains(&octet);
                        rest = more;
                    }
                    _ => {
                        found |= first == octet;
                        rest = after;
                    }
                }
            }
            (found != inverted).then_some(before + end + 1)
        }
        [literal, ..] => (*literal == octet).then_some(1),
        [] => None,
    }
}

const VERSION: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(value: &[u8], service: &str) -> Option<String> {
        let denial = Denial::parse(value);
        denial.covers(service).then_some(denial.message)
    }

    #[test]
    fn a_denial_names_services_or_all() {
        assert_eq!(
            message(b"2\timap,pop3\tgo away", "pop3").as_deref(),
            Some("go away")
        );
        assert_eq!(message(b"2\timap,pop3\tgo away", "lmtp"), None);
        assert_eq!(message(b"2\timap*\tgo away", "imaps").as_deref(), Some("go away"));
        assert_eq!(message(b"2\t*\tgo\taway", "nntp").as_deref(), Some("go\taway"));
        assert_eq!(message(b"", "imap").as_deref(), Some(Denial::MESSAGE));
    }

    #[test]
    fn patterns_are_those_of_news_systems() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("imap*", "imap", true),
            ("imap?", "imaps", true),
            ("imap?", "imap", false),
            ("*map*s", "imapsxs", true),
            ("[hi]map", "imap", true),
            ("[^h]map", "hmap", false),
            ("[a-i]map", "imap", true),
            ("[]x]map", "]map", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[imap", "imap", false),
            ("", "imap", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                fits,
                "{pattern} {name}"
            );
        }
    }

    proptest! {
        #[test]
        fn rows_round_trip(services in "[a-z*,]{1,10}", message in "[ -~\t]{0,20}") {
            let denial = Denial { services, message: message.replace('\t', " ") };
            prop_assert_eq!(Denial::parse(&denial.to_value()), denial);
        }

        #[test]
        fn any_pattern_ends(pattern in "[a*?\\[\\]^\\\\-]{0,12}", name in "a{0,20}") {
            matches(pattern.as_bytes(), name.as_bytes());
        }
    }
}
