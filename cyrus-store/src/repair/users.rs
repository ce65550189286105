//! The files of a user: subscriptions, what he has seen, keys of URLs, conversations and counters.

use std::path::Path;

use super::databases::{Worth, shown};
use super::{Outcome, Repair, Tell};
use crate::conversations::Splitting;
use crate::db::{Create, Engine};
use crate::error::MailboxError;
use crate::format::counters::Counters;
use crate::format::seen::SeenState;
use crate::ident::MailboxId;
use crate::mboxlist::Step;
use crate::name::MailboxName;
use crate::store::Store;
use crate::subs;

impl Store {
    /// Mends the files of a user who has an INBOX: subscriptions, what he has seen, keys of URLs, counters, and the file of
    /// his conversations, of which [`Store::repair_conversations`] looks at the content. Rows that nobody could read are
    /// dropped.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn repair_user(
        &self,
        userid: &str,
        dry_run: bool,
        tell: &mut dyn FnMut(&Repair),
    ) -> Result<(), MailboxError> {
        let databases = &self.options().databases;
        self.repair_subscriptions(userid, dry_run, tell)?;
        let seen = self.user_file(userid, "seen")?;
        self.repair_file(&seen, databases.seen, Worth::Unique, dry_run, tell)?;
        self.drop_rows(&seen, databases.seen, Worth::Unique, dry_run, tell, &is_seen_row)?;
        let keys = self.user_file(userid, "mboxkey")?;
        self.repair_file(&keys, databases.mboxkey, Worth::Unique, dry_run, tell)?;
        if self.has_conversations(userid)? {
            let conversations = self.user_file(userid, "conversations")?;
            self.repair_file(
                &conversations,
                databases.conversations,
                Worth::Derived,
                dry_run,
                tell,
            )?;
            self.repair_counters(userid, dry_run, tell)?;
        }
        self.forget_idle();
        Ok(())
    }

    /// Drops what is no subscription, and keeps the rest.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn repair_subscriptions(
        &self,
        userid: &str,
        dry_run: bool,
        tell: &mut dyn FnMut(&Repair),
    ) -> Result<(), MailboxError> {
        let path = self.user_file(userid, "sub")?;
        let engine = self.options().databases.subscription;
        self.repair_file(&path, engine, Worth::Unique, dry_run, tell)?;
        if self.disk().try_stat(&path)?.is_none() {
            return Ok(());
        }
        self.restore_version(&path, engine, dry_run, tell)?;
        let is_new = self.is_new_form(&path, engine);
        let is_row = |key: &[u8], _: &[u8]| match subs::is_key(key, userid, is_new) {
            true => Ok(()),
            false => Err("not the name of a mailbox".to_owned()),
        };
        self.drop_rows(&path, engine, Worth::Unique, dry_run, tell, &is_row)
    }

    /// Whether a file of subscriptions says that it is in the present form. One that cannot be read counts as such.
    pub(crate) fn is_new_form(&self, path: &Path, engine: Engine) -> bool {
        let version = self.databases().open(path, engine, Create::No);
        version
            .and_then(|mut db| db.get(subs::VERSION_KEY))
            .is_ok_and(|version| version.is_some())
    }

    /// Puts the mark of the present form back, where what is there can only be that.
    fn restore_version(
        &self,
        path: &Path,
        engine: Engine,
        dry_run: bool,
        tell: Tell<'_>,
    ) -> Result<(), MailboxError> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let scanned = self
            .databases()
            .open(path, engine, Create::No)
            .and_then(|mut db| {
                db.scan(b"", &mut |key, _| {
                    keys.push(key.to_vec());
                    std::ops::ControlFlow::Continue(())
                })
            });
        if scanned.is_err() && dry_run {
            return Ok(());
        }
        scanned?;
        let marked = keys.iter().any(|key| key == subs::VERSION_KEY);
        let new_form = keys.iter().all(|key| key.starts_with(b"N"))
            || keys
                .iter()
                .any(|key| key.starts_with(b"N") && key.contains(&0x1f));
        if marked || keys.is_empty() || !new_form {
            return Ok(());
        }
        tell(&Repair {
            path: path.to_owned(),
            what: "without the mark of its version; put back".to_owned(),
            outcome: Outcome::Kept,
        });
        if !dry_run {
            let mut db = self.databases().open(path, engine, Create::No)?;
            db.put(subs::VERSION_KEY, b"2")?;
        }
        Ok(())
    }

    /// Counters that cannot be read, or are below what mailboxes have, are raised to that.
    fn repair_counters(&self, userid: &str, dry_run: bool, tell: Tell<'_>) -> Result<(), MailboxError> {
        let path = self.user_file(userid, "counters")?;
        let inbox = MailboxName::inbox_of(userid)?;
        let mut entries = Vec::new();
        self.walk_tree(&inbox, &mut |entry| {
            entries.push(entry);
            Step::Next
        })?;
        let (mut highest, mut uidvalidity) = (0, 0);
        for entry in entries.iter().filter(|entry| entry.mbtype.is_usable()) {
            highest = highest.max(entry.folder_modseq.0);
            uidvalidity = uidvalidity.max(entry.uidvalidity.0);
            let Ok(bytes) = self.disk().read(&self.paths_of(entry)?.index) else {
                continue;
            };
            if let Ok(index) = crate::format::index::IndexHeader::parse(&bytes) {
                highest = highest.max(index.highestmodseq);
                uidvalidity = uidvalidity.max(index.uidvalidity);
            }
        }
        let known = match self.disk().try_stat(&path)? {
            Some(_) => Counters::parse(&self.disk().read(&path)?),
            None => Ok(Counters::default()),
        };
        let what = match &known {
            Ok(counters) if counters.values[0] >= highest => return Ok(()),
            Ok(counters) => format!(
                "the highest modification sequence is {highest}, not {}",
                counters.values[0]
            ),
            Err(fault) => format!("{fault}; counted anew"),
        };
        tell(&Repair {
            path: path.clone(),
            what,
            outcome: Outcome::Rebuilt,
        });
        if dry_run {
            return Ok(());
        }
        if known.is_err() {
            crate::db::put_aside(self.databases().context(), &path)?;
            self.disk().unlink(&path)?;
        }
        self.raise_all_counters(&path, highest, uidvalidity)
    }

    /// Counts the conversations of a user anew if they are not what his mailboxes say, or gone.
    ///
    /// # Errors
    /// A mailbox or the database cannot be read or written.
    pub fn repair_conversations(
        &self,
        userid: &str,
        dry_run: bool,
        tell: &mut dyn FnMut(&Repair),
    ) -> Result<(), MailboxError> {
        if !self.has_conversations(userid)? {
            return Ok(());
        }
        let path = self.user_file(userid, "conversations")?;
        let there = self.disk().try_stat(&path)?.is_some();
        if there {
            let differences = match self.audit_conversations(userid, None, &mut |_| {}) {
                Err(MailboxError::Db(_)) if dry_run => return Ok(()),
                done => done?,
            };
            let Some(first) = differences.first() else {
                return Ok(());
            };
            tell(&Repair {
                path: path.clone(),
                what: format!(
                    "{} rows are not what the mailboxes say, the first is {}; counted anew",
                    differences.len(),
                    shown(&first.key)
                ),
                outcome: Outcome::Rebuilt,
            });
        } else {
            tell(&Repair {
                path: path.clone(),
                what: "missing; made anew from the mailboxes".to_owned(),
                outcome: Outcome::Rebuilt,
            });
        }
        if dry_run {
            return Ok(());
        }
        if !there {
            self.build_conversations(userid, Splitting::Allowed)?;
        }
        self.recount_conversations(userid, &mut |_| {})
    }
}

/// Whether a row of a user's seen database can be read.
pub(crate) fn is_seen_row(key: &[u8], value: &[u8]) -> Result<(), String> {
    let id = std::str::from_utf8(key).ok().and_then(MailboxId::new);
    id.ok_or_else(|| "not the unique id of a mailbox".to_owned())?;
    SeenState::parse(value)
        .map(drop)
        .map_err(|fault| fault.to_string())
}
