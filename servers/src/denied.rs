//! Whom `cyr_deny` shuts out, as sessions ask: at every command, and without waiting for the disk.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

use cyrus_store::Store;

use crate::syslog::{Level, log};

/// The list of denied users, as one service has it.
pub struct Denied {
    store: Store,
    service: String,
    seen: Mutex<Seen>,
}

/// What was read of the list.
#[derive(Default)]
struct Seen {
    file: Option<Stamp>,
    users: HashMap<String, Arc<str>>,
}

/// What tells one state of the file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Denied {
    /// For the service of this name in cyrus.conf.
    pub fn new(store: Store, service: &str) -> Self {
        Self {
            store,
            service: service.to_owned(),
            seen: Mutex::default(),
        }
    }

    /// Why a user may not be here. The list is read again when its file has changed.
    pub fn why(&self, user: &str) -> Option<Arc<str>> {
        let file = std::fs::metadata(self.store.userdeny_path())
            .ok()
            .map(|metadata| Stamp::of(&metadata));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.file != file {
            match self.read() {
                Ok(users) => *seen = Seen { file, users },
                Err(error) => log(
                    Level::Error,
                    &format!("{error}: users are let in who may have been denied since"),
                ),
            }
        }
        seen.users.get(user).cloned()
    }

    fn read(&self) -> Result<HashMap<String, Arc<str>>, cyrus_store::MailboxError> {
        let denials = self.store.denials()?.into_iter();
        Ok(denials
            .filter(|(_, denial)| denial.covers(&self.service))
            .map(|(user, denial)| (user, Arc::from(printable(&denial.message))))
            .collect())
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// A message as a client may be shown it: what would look like a response code is none.
fn printable(message: &str) -> String {
    let clean = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    message
        .trim_start_matches('[')
        .chars()
        .take(LONGEST)
        .map(clean)
        .collect()
}

/// Characters of a message.
const LONGEST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use cyrus_store::{Denial, StoreOptions};

    #[test]
    fn a_change_of_the_list_is_seen_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions::new(dir.path()).partition("default", dir.path())).unwrap();
        let denied = Denied::new(store.clone(), "imaps");
        assert_eq!(denied.why("fred"), None);
        let denial = Denial {
            services: "imap*".to_owned(),
            message: "[go] away\u{e4}".to_owned(),
        };
        store.deny_user("fred", &denial).unwrap();
        assert_eq!(denied.why("fred").as_deref(), Some("go] away?"));
        assert_eq!(denied.why("bovik"), None);
        assert!(store.allow_user("fred").unwrap());
        assert_eq!(denied.why("fred"), None);
    }
}
