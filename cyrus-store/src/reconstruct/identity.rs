//! What a mailbox is as a whole: whether header file and index are its own, and what to believe where they and the mailbox
//! list disagree.

use super::Spool;
use super::finding::Finding;
use super::plan::{Pass, stored_acl};
use super::salvage::Salvaged;
use crate::error::MailboxError;
use crate::format::header::MailboxHeader;
use crate::format::{Damage, Fault, crc32};
use crate::mboxlist::MailboxEntry;
use crate::store::Store;

/// The header file as it was read.
#[derive(Debug)]
pub(super) struct HeaderFile {
    parsed: Result<MailboxHeader, Fault>,
    crc: Option<u32>,
}

impl HeaderFile {
    pub(super) fn of(bytes: Option<&[u8]>) -> Self {
        Self {
            parsed: match bytes {
                Some(bytes) => MailboxHeader::parse(bytes),
                None => Err(Fault::new(0, Damage::Missing)),
            },
            crc: bytes.map(crc32),
        }
    }

    /// Whether it is the file that the index was written with; `None` where there is no telling.
    fn is_of_index(&self, salvaged: &Salvaged) -> Option<bool> {
        let index = salvaged.header.as_ref()?;
        Some(self.crc? == index.header_file_crc)
    }
}

/// Whether an index is another mailbox's: nothing in it fits what is known of this one.
///
/// A wrong UIDVALIDITY alone is no proof, nor is a header file that was changed; then the files have to be other ones, too.
pub(super) fn is_foreign(
    store: &Store,
    entry: &MailboxEntry,
    salvaged: &Salvaged,
    header: &HeaderFile,
    spool: &Spool,
) -> Result<bool, MailboxError> {
    let Some(index) = &salvaged.header else {
        return Ok(false);
    };
    let is_own_header = header
        .parsed
        .as_ref()
        .is_ok_and(|header| entry.id.as_ref() == Some(&header.id));
    if index.uidvalidity == entry.uidvalidity.0 || is_own_header && header.is_of_index(salvaged) == Some(true)
    {
        return Ok(false);
    }
    let (mut same, mut different) = (0, 0);
    let listed = salvaged.records.values().filter(|record| !record.is_expunged());
    for record in listed.take(SAMPLE) {
        let is_there = match spool.messages.get(&record.uid) {
            Some((path, _)) => store.disk().stat(path)?.size == u64::from(record.size),
            None => false,
        };
        match is_there {
            true => same += 1,
            false => different += 1,
        }
    }
    Ok(different >= same)
}

impl Pass<'_> {
    /// Tells what is wrong with the index as a whole, and with the row that repeats its UIDVALIDITY.
    pub(super) fn index(&mut self, entry: &MailboxEntry) {
        let name = self.name.clone();
        let path = self.paths.index.clone();
        if let Some(fault) = self.plan.salvaged.fault.clone() {
            self.found(Finding::IndexHeader(name.clone(), path.clone(), fault));
        }
        if let Some(before) = &self.plan.salvaged.header {
            let (from, to) = (before.layout.minor, self.plan.header.layout.minor);
            if from != to {
                self.found(Finding::Version(name.clone(), from, to));
            }
        }
        let damaged = self.plan.salvaged.damaged;
        if damaged > 0 {
            let at = self.plan.salvaged.first_damage;
            self.found(Finding::IndexRecords(name.clone(), path, damaged, at));
        }
        let (row, index) = (entry.uidvalidity.0, self.plan.header.uidvalidity);
        if row != index {
            self.found(Finding::UidValidity(name, row, index));
        }
    }

    /// The header file: keywords and rights come from it, the name and the unique id from the mailbox list.
    ///
    /// One that is not as it was when the index was written, or is another mailbox's, is not believed about rights.
    pub(super) fn names(&mut self, file: HeaderFile) -> Result<(), MailboxError> {
        let name = self.name.clone();
        let intact = file.is_of_index(&self.plan.salvaged);
        let mut header = match file.parsed {
            Ok(header) => header,
            Err(fault) => {
                self.found(Finding::Header(name, self.paths.header.clone(), fault));
                return Ok(());
            }
        };
        let listed = self.plan.names.clone();
        if header.id != listed.id {
            let (wrong, right) = (header.id.to_string(), listed.id.to_string());
            self.found(Finding::HeaderDiffers(name.clone(), "uniqueid", wrong, right));
            if self
                .store
                .lookup_id(&header.id)?
                .is_some_and(|other| other.name != name)
            {
                let fault = Fault::new(0, Damage::Expected("the header file of this mailbox"));
                self.found(Finding::Header(name, self.paths.header.clone(), fault));
                return Ok(());
            }
            header.id = listed.id;
        } else if intact == Some(false) {
            let fault = Fault::new(
                0,
                Damage::Expected("the header file that the index was written with"),
            );
            self.found(Finding::HeaderChanged(
                name.clone(),
                self.paths.header.clone(),
                fault,
            ));
        }
        if header.name != listed.name {
            // The old form of the file has no name.
            if !header.name.is_empty() {
                let (wrong, right) = (header.name.clone(), listed.name.clone());
                self.found(Finding::HeaderDiffers(name.clone(), "name", wrong, right));
            }
            header.name = listed.name;
            header.mbtype = listed.mbtype;
        }
        if header.acl != listed.acl && !header.acl.is_empty() {
            let (in_header, in_list) = (text_of(&header.acl), text_of(&listed.acl));
            if self.how.prefer_list || intact == Some(false) {
                self.found(Finding::HeaderDiffers(name, "acl", in_header, in_list));
                header.acl = listed.acl;
            } else {
                self.found(Finding::Rights(name, in_list, in_header));
                self.plan.acl = Some(stored_acl(self.store, &header.acl));
            }
        } else if header.acl != listed.acl {
            header.acl = listed.acl;
        }
        if header.quota_root.is_none() {
            header.quota_root = listed.quota_root;
        }
        self.plan.names = header;
        Ok(())
    }
}

fn text_of(acl: &[(String, String)]) -> String {
    let pairs: Vec<String> = acl
        .iter()
        .map(|(who, rights)| format!("{who} {rights}"))
        .collect();
    pairs.join(" ")
}

/// Messages that are looked at to tell whose index it is.
const SAMPLE: usize = 20;
