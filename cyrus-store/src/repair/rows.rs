//! Rows of the mailbox list that contradict each other: two names with one unique id, and ids that lead nowhere.

use std::collections::BTreeMap;

use super::{Outcome, Repair, Tell};
use crate::error::MailboxError;
use crate::format::crc32;
use crate::format::header::MailboxHeader;
use crate::format::index::IndexHeader;
use crate::ident::MailboxId;
use crate::mboxlist::{MailboxEntry, RowChange, new_id};
use crate::name::MailboxName;
use crate::store::Store;

/// What happens to a mailbox with the unique id of another that has a directory of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameId {
    /// It is told of.
    #[default]
    Tell,
    /// It gets a new one.
    Replace,
}

impl Store {
    /// Makes the rows of the mailbox list agree with each other.
    ///
    /// Of several names that lead to one directory, the one in its header file stays. Mailboxes that were copied with
    /// their header files, and so have the unique id of others, are told of or get a new id. Of a list that was `salvaged`
    /// rows may be missing, and others may have come back: an intact header file knows the name better.
    ///
    /// # Errors
    /// The list cannot be read or written.
    pub fn repair_rows(
        &self,
        same_id: SameId,
        salvaged: bool,
        dry_run: bool,
        tell: &mut dyn FnMut(&Repair),
    ) -> Result<(), MailboxError> {
        let mut by_id: BTreeMap<MailboxId, Vec<MailboxEntry>> = BTreeMap::new();
        for (name, row) in self.rows()? {
            if !row.mbtype.is_usable() {
                continue;
            }
            if let Some(entry) = self.lookup(&name)?
                && let Some(id) = &entry.id
            {
                by_id.entry(id.clone()).or_default().push((*entry).clone());
            }
        }
        for (id, entries) in by_id {
            match entries.as_slice() {
                [only]
                    if salvaged
                        && !only.mbtype.legacy_dirs
                        && self.rename_by_header(only, dry_run, tell)? => {}
                [only] => {
                    let led_to = self.lookup_id(&id)?;
                    if led_to.is_none_or(|led_to| led_to.name != only.name) {
                        self.tell_of_list(
                            format!("the unique id {id} does not lead to {}, put right", only.name),
                            Outcome::Rebuilt,
                            tell,
                        );
                        if !dry_run {
                            let _namespaces = self.lock_namespaces([&only.name])?;
                            self.commit_rows(&[RowChange::Update(only)])?;
                        }
                    }
                }
                several => self.part(&id, several, same_id, dry_run, tell)?,
            }
        }
        Ok(())
    }

    /// Gives a mailbox the name in its header file, if that is intact and the name is free. Says whether it did.
    fn rename_by_header(
        &self,
        entry: &MailboxEntry,
        dry_run: bool,
        tell: Tell<'_>,
    ) -> Result<bool, MailboxError> {
        let paths = self.paths_of(entry)?;
        let (Ok(header), Ok(index)) = (self.disk().read(&paths.header), self.disk().read(&paths.index))
        else {
            return Ok(false);
        };
        let intact = IndexHeader::parse(&index).is_ok_and(|index| index.header_file_crc == crc32(&header));
        let name = MailboxHeader::parse(&header)
            .ok()
            .filter(|header| intact && entry.id.as_ref() == Some(&header.id))
            .and_then(|header| MailboxName::parse(&header.name).ok());
        let Some(name) = name.filter(|name| *name != entry.name) else {
            return Ok(false);
        };
        if self
            .lookup(&name)?
            .is_some_and(|other| !other.mbtype.intermediate)
        {
            return Ok(false);
        }
        let what = format!(
            "{} is called {name} in {}; renamed",
            entry.name,
            paths.header.display()
        );
        self.tell_of_list(what, Outcome::Rebuilt, tell);
        if !dry_run {
            let renamed = MailboxEntry {
                name: name.clone(),
                ..entry.clone()
            };
            let _namespaces = self.lock_namespaces([&entry.name, &name])?;
            self.commit_rows(&[RowChange::Forget(&entry.name), RowChange::Create(&renamed)])?;
        }
        Ok(true)
    }

    fn tell_of_list(&self, what: String, outcome: Outcome, tell: Tell<'_>) {
        tell(&Repair {
            path: self.mailbox_list_path(),
            what,
            outcome,
        });
    }

    /// Several names have one unique id.
    fn part(
        &self,
        id: &MailboxId,
        entries: &[MailboxEntry],
        same_id: SameId,
        dry_run: bool,
        tell: Tell<'_>,
    ) -> Result<(), MailboxError> {
        let Some(keeper) = self.rightful(entries)? else {
            return Ok(());
        };
        let kept_paths = self.paths_of(keeper)?;
        for entry in entries.iter().filter(|entry| entry.name != keeper.name) {
            let paths = self.paths_of(entry)?;
            if paths.data == kept_paths.data {
                let what = format!(
                    "{} has the files of {}; the name is dropped",
                    entry.name, keeper.name
                );
                self.tell_of_list(what, Outcome::Rebuilt, tell);
                if !dry_run {
                    let _namespaces = self.lock_namespaces([&entry.name, &keeper.name])?;
                    self.commit_rows(&[RowChange::Forget(&entry.name), RowChange::Update(keeper)])?;
                }
                continue;
            }
            match same_id {
                SameId::Tell => {
                    let what = format!(
                        "{} has the unique id {id} of {}; `reconstruct -I {}` gives it one of its own",
                        entry.name, keeper.name, entry.name
                    );
                    self.tell_of_list(what, Outcome::Kept, tell);
                }
                SameId::Replace => {
                    let what = format!(
                        "{} has the unique id {id} of {}; it gets a new one",
                        entry.name, keeper.name
                    );
                    self.tell_of_list(what, Outcome::Rebuilt, tell);
                    if !dry_run {
                        self.give_new_id(entry, keeper)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The mailbox whose header file has its name; else the one that the row by id names; else the youngest row.
    fn rightful<'e>(&self, entries: &'e [MailboxEntry]) -> Result<Option<&'e MailboxEntry>, MailboxError> {
        for entry in entries {
            let path = self.paths_of(entry)?.header;
            let header = match self.disk().read(&path) {
                Err(error) if error.is_not_found() => continue,
                done => MailboxHeader::parse(&done?),
            };
            if header
                .is_ok_and(|header| MailboxName::parse(&header.name).is_ok_and(|name| name == entry.name))
            {
                return Ok(Some(entry));
            }
        }
        if let Some(id) = entries.first().and_then(|entry| entry.id.as_ref())
            && let Some(listed) = self.lookup_id(id)?
            && let Some(entry) = entries.iter().find(|entry| entry.name == listed.name)
        {
            return Ok(Some(entry));
        }
        Ok(entries.iter().max_by_key(|entry| entry.mtime))
    }

    /// Gives a mailbox with a directory of its own a unique id of its own.
    fn give_new_id(&self, entry: &MailboxEntry, keeper: &MailboxEntry) -> Result<(), MailboxError> {
        let mut changed = entry.clone();
        changed.id = Some(new_id()?);
        let _namespaces = self.lock_namespaces([&entry.name, &keeper.name])?;
        self.commit_rows(&[RowChange::Update(&changed), RowChange::Update(keeper)])?;
        // The header file follows when the mailbox is reconstructed: the list is right about the id.
        Ok(())
    }
}
