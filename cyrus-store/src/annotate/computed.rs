//! Annotations that are kept nowhere as such: what they say is in the mailbox list, the index, the user's
//! counters or files for all users.

use cyrus_acl::AuthState;

use super::{Annotation, Audience};
use crate::error::MailboxError;
use crate::format::counters::Counters;
use crate::format::index::options;
use crate::mboxlist::MailboxEntry;
use crate::store::Store;
use crate::sys::Open;

impl Store {
    /// The computed annotations of a mailbox whose entries begin with `prefix`.
    pub(super) fn computed_of_mailbox(
        &self,
        mailbox: &MailboxEntry,
        prefix: &str,
    ) -> Result<Vec<Annotation>, MailboxError> {
        let mut found = Vec::new();
        let (id, partition) = mailbox.storage()?;
        for (entry, value) in [(UNIQUE_ID, id.as_str()), (PARTITION, partition.as_str())] {
            if entry.starts_with(prefix) {
                found.push(computed(entry, Audience::Shared, value));
            }
        }
        if OPTION_ENTRIES.iter().any(|(entry, _)| entry.starts_with(prefix)) {
            let mut mailbox = self.open_mailbox(&mailbox.name, &AuthState::system())?;
            let bits = mailbox.read()?.header().options;
            for (entry, bit) in OPTION_ENTRIES {
                if entry.starts_with(prefix) {
                    let value = if bits & bit == 0 { "false" } else { "true" };
                    found.push(computed(entry, Audience::Shared, value));
                }
            }
        }
        Ok(found)
    }

    /// The computed annotations of the server, for this user, whose entries begin with `prefix`.
    pub(super) fn computed_of_server(
        &self,
        prefix: &str,
        auth: &AuthState,
    ) -> Result<Vec<Annotation>, MailboxError> {
        let mut found = Vec::new();
        for (entry, file) in MESSAGE_FILES {
            if entry.starts_with(prefix)
                && let Some(line) = self.first_line(file)?
            {
                found.push(Annotation {
                    entry: entry.to_owned(),
                    audience: Audience::Shared,
                    value: line,
                });
            }
        }
        if [USER_COUNTERS, USER_MODSEQ]
            .iter()
            .any(|entry| entry.starts_with(prefix))
        {
            let counters = self.counters_of(auth)?.into_iter();
            found.extend(counters.filter(|counter| counter.entry.starts_with(prefix)));
        }
        Ok(found)
    }

    /// The first line of a file for all users, in the configuration directory; `None` if there is none.
    fn first_line(&self, file: &str) -> Result<Option<Vec<u8>>, MailboxError> {
        let path = self.options().config_dir.join("msg").join(file);
        let file = match self.disk().open(&path, Open::read()) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut line = vec![0; MAX_LINE];
        let length = file.read_at(&mut line, 0)?;
        line.truncate(length);
        let end = line.iter().position(|octet| matches!(octet, b'\r' | b'\n'));
        line.truncate(end.unwrap_or(length));
        Ok((!line.is_empty()).then_some(line))
    }

    fn counters_of(&self, auth: &AuthState) -> Result<[Annotation; 2], MailboxError> {
        let path = self.user_file(auth.userid(), "counters")?;
        let file = match self.disk().read(&path) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let counters = Counters::parse(&file).map_err(|fault| MailboxError::damaged(&path, fault))?;
        let version = if file.is_empty() { 0 } else { Counters::VERSION };
        let mut numbers = vec![u64::from(version)];
        numbers.extend(counters.values.iter().take(SHOWN_COUNTERS));
        numbers.push(u64::from(counters.uidvalidity));
        let all: Vec<String> = numbers.iter().map(u64::to_string).collect();
        let highest = counters.values.first().copied().unwrap_or_default();
        Ok([
            computed(USER_COUNTERS, Audience::Private, &all.join(" ")),
            computed(USER_MODSEQ, Audience::Private, &highest.to_string()),
        ])
    }
}

fn computed(entry: &str, audience: Audience, value: &str) -> Annotation {
    Annotation {
        entry: entry.to_owned(),
        audience,
        value: value.as_bytes().to_vec(),
    }
}

/// Entries that are bits of the index header, and can be set.
pub(super) const OPTION_ENTRIES: [(&str, u32); 3] = [
    ("/vendor/cmu/cyrus-imapd/duplicatedeliver", options::DUPDELIVER),
    ("/vendor/cmu/cyrus-imapd/pop3newuidl", options::POP3_NEW_UIDL),
    ("/vendor/cmu/cyrus-imapd/sharedseen", options::SHAREDSEEN),
];
const UNIQUE_ID: &str = "/vendor/cmu/cyrus-imapd/uniqueid";
const PARTITION: &str = "/vendor/cmu/cyrus-imapd/partition";
const USER_COUNTERS: &str = "/vendor/cmu/cyrus-imapd/usercounters";
const USER_MODSEQ: &str = "/vendor/cmu/cyrus-imapd/usermodseq";
/// Entries that are the first lines of files below `msg` in the configuration directory.
const MESSAGE_FILES: [(&str, &str); 2] = [
    ("/motd", "motd"),
    ("/vendor/cmu/cyrus-imapd/shutdown", "shutdown"),
];
/// Octets of a line that are read.
const MAX_LINE: usize = 8 * 1024;
/// How many of the counters are shown: all but those of what was deleted, and the newer ones.
const SHOWN_COUNTERS: usize = 11;
