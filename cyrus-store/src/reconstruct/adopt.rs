//! Mailboxes on the disk that the mailbox list does not know: found by their header files, and put back into the list.

use std::path::{Path, PathBuf};

use super::salvage::Salvaged;
use crate::error::MailboxError;
use crate::format::header::MailboxHeader;
use crate::format::mboxentry::MailboxType;
use crate::format::{Damage, Fault};
use crate::ident::Partition;
use crate::mboxlist::{MailboxEntry, RowChange};
use crate::name::MailboxName;
use crate::store::{Store, now};
use crate::sys::FileKind;
use crate::uid::{ModSeq, UidValidity};

/// A directory that a mailbox's header file was found in.
#[derive(Clone, Debug)]
pub struct Found {
    /// The partition.
    pub partition: Partition,
    /// The header file.
    pub path: PathBuf,
    /// The mailbox that it says it is, or why that cannot be told.
    pub name: Result<MailboxName, Fault>,
    legacy_dirs: bool,
    header: Option<MailboxHeader>,
}

/// What became of a found mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// The mailbox list has it.
    Known,
    /// It was, or would be, put into the list.
    Added,
    /// The name is another mailbox's in the list, with this unique id.
    NameTaken(String),
}

impl Store {
    /// Looks for mailboxes in every partition: wherever there is a header file.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn scavenge(&self, each: &mut dyn FnMut(Found)) -> Result<(), MailboxError> {
        for (partition, roots) in &self.options().partitions {
            for root in [Some(&roots.data), roots.meta.as_ref()].into_iter().flatten() {
                self.search(partition, root, each)?;
            }
        }
        Ok(())
    }

    /// The mailbox of one header file, or of the directory that has it.
    ///
    /// # Errors
    /// The path is in no partition.
    pub fn found_at(&self, path: &Path) -> Result<Found, MailboxError> {
        let directory = match path.file_name().is_some_and(|name| name == HEADER) {
            true => path.parent().unwrap_or(path),
            false => path,
        };
        for (partition, roots) in &self.options().partitions {
            for root in [Some(&roots.data), roots.meta.as_ref()].into_iter().flatten() {
                if directory.starts_with(root) {
                    return self.found(partition, root, directory);
                }
            }
        }
        Err(MailboxError::damaged(
            &directory.join(HEADER),
            Fault::new(0, Damage::Expected("a place in a configured partition")),
        ))
    }

    fn search(
        &self,
        partition: &Partition,
        root: &Path,
        each: &mut dyn FnMut(Found),
    ) -> Result<(), MailboxError> {
        let mut pending = vec![root.to_owned()];
        while let Some(directory) = pending.pop() {
            let entries = match self.disk().read_dir(&directory) {
                Err(error) if error.is_not_found() => continue,
                done => done?,
            };
            for entry in entries {
                if entry.kind == FileKind::Directory {
                    // `stage.` and `sync.` are no mailboxes; names of mailboxes do not end in a dot.
                    if !entry.name.as_encoded_bytes().ends_with(b".") {
                        pending.push(directory.join(&entry.name));
                    }
                } else if entry.name == HEADER {
                    each(self.found(partition, root, &directory)?);
                }
            }
        }
        Ok(())
    }

    fn found(&self, partition: &Partition, root: &Path, directory: &Path) -> Result<Found, MailboxError> {
        let path = directory.join(HEADER);
        let sub = directory.strip_prefix(root).unwrap_or(directory);
        let legacy_dirs = !sub.starts_with("uuid");
        let by_place = match legacy_dirs {
            true => self.options().name_of_legacy_dir(sub),
            false => None,
        };
        let header = MailboxHeader::parse(&self.disk().read(&path)?);
        let name = match &header {
            Ok(header) => MailboxName::parse(&header.name)
                .ok()
                .or(by_place)
                .ok_or(Fault::new(0, Damage::Expected("the name of a mailbox"))),
            Err(fault) => Err(fault.clone()),
        };
        Ok(Found {
            partition: partition.clone(),
            path,
            name,
            legacy_dirs,
            header: header.ok(),
        })
    }

    /// Puts a found mailbox into the mailbox list, unless the list has it or its name.
    ///
    /// With `fresh` its rights are not taken over, but made as for a new mailbox: those of its owner, if it has one.
    ///
    /// # Errors
    /// The list cannot be read or written; the header file does not tell the name.
    pub fn adopt(&self, found: &Found, fresh: bool, dry_run: bool) -> Result<Adopted, MailboxError> {
        let (name, header) = match (&found.name, &found.header) {
            (Ok(name), Some(header)) => (name, header),
            (Err(fault), _) => return Err(MailboxError::damaged(&found.path, fault.clone())),
            (Ok(_), None) => return Err(MailboxError::NotFound),
        };
        if let Some(known) = self.lookup(name)?
            && !known.mbtype.intermediate
        {
            return Ok(match &known.id {
                Some(id) if *id == header.id => Adopted::Known,
                id => Adopted::NameTaken(id.as_ref().map_or_else(String::new, ToString::to_string)),
            });
        }
        if dry_run {
            return Ok(Adopted::Added);
        }
        let namespaces = self.lock_namespaces([name])?;
        let entry = self.entry_of(found, name, header, fresh)?;
        self.commit_rows(&[match self.lookup(name)? {
            Some(_) => RowChange::Update(&entry),
            None => RowChange::Create(&entry),
        }])?;
        drop(namespaces);
        Ok(Adopted::Added)
    }

    fn entry_of(
        &self,
        found: &Found,
        name: &MailboxName,
        header: &MailboxHeader,
        fresh: bool,
    ) -> Result<MailboxEntry, MailboxError> {
        let paths = self
            .options()
            .mailbox_paths(&found.partition, &header.id, name, found.legacy_dirs)?;
        let index = match self.disk().read(&paths.index) {
            Ok(bytes) => Salvaged::of(&bytes).header,
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        let modseq = index.as_ref().map_or(1, |index| index.highestmodseq);
        let acl = match fresh {
            false => super::plan::stored_acl(self, &header.acl),
            true => self.first_acl(name, self.nearest_above(name)?.as_deref())?,
        };
        Ok(MailboxEntry {
            name: name.clone(),
            id: Some(header.id.clone()),
            mbtype: MailboxType {
                deleted: false,
                legacy_dirs: found.legacy_dirs,
                ..MailboxType::parse(&header.mbtype).unwrap_or(MailboxType::of(Default::default()))
            },
            partition: Some(found.partition.clone()),
            server: None,
            uidvalidity: UidValidity(index.as_ref().map_or_else(now, |index| index.uidvalidity)),
            created_modseq: ModSeq(index.as_ref().map_or(1, |index| index.createdmodseq)),
            folder_modseq: ModSeq(modseq),
            mtime: i64::from(now()),
            acl,
        })
    }
}

const HEADER: &str = "cyrus.header";
