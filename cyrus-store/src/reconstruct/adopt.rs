//! Mailboxes on the disk that the mailbox list does not know: found by their files, and put back into the list.

use std::path::{Path, PathBuf};

use cyrus_acl::Acl;

use super::plan::uid_of;
use super::salvage::Salvaged;
use crate::db::{self, Create};
use crate::error::MailboxError;
use crate::format::header::MailboxHeader;
use crate::format::index::IndexHeader;
use crate::format::mboxentry::{MailboxRow, MailboxType};
use crate::format::{Damage, Fault, crc32};
use crate::ident::{MailboxId, Partition};
use crate::mboxlist::{MailboxEntry, RowChange, new_id};
use crate::name::MailboxName;
use crate::name::layout::uuid_dir;
use crate::options::PartitionPaths;
use crate::store::{Store, now};
use crate::sys::FileKind;
use crate::uid::{ModSeq, UidValidity};

/// A directory in which a mailbox was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The partition.
    pub partition: Partition,
    /// The header file, whether it is there or not.
    pub path: PathBuf,
    /// The mailbox that it is, or why that cannot be told.
    pub name: Result<MailboxName, Fault>,
    /// There are messages, but neither header file nor index. In the layout by name that may also be what is left of a
    /// mailbox that was deleted or renamed.
    pub only_messages: bool,
    legacy_dirs: bool,
    /// The unique id that the mailbox has or is to get.
    id: Option<MailboxId>,
    header: Option<MailboxHeader>,
    /// The row that a copy of the list has for it, where the header file is gone.
    copy: Option<MailboxEntry>,
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

/// The files of a directory that tell what it is.
#[derive(Default)]
struct Marks {
    header: bool,
    index: bool,
    message: bool,
}

impl Store {
    /// Looks for mailboxes in every partition: wherever there is a header file, an index or a message.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn scavenge(&self, each: &mut dyn FnMut(Found)) -> Result<(), MailboxError> {
        for (partition, roots) in &self.options().partitions {
            let places = [Some(&roots.data), roots.meta.as_ref(), roots.archive.as_ref()];
            let mut seen = Vec::new();
            for root in places.into_iter().flatten() {
                if !seen.contains(&root) {
                    self.search(partition, roots, root, each)?;
                    seen.push(root);
                }
            }
        }
        Ok(())
    }

    /// The mailbox of one header file, or of the directory that has it.
    ///
    /// # Errors
    /// The path is in no partition, or there is no header file.
    pub fn found_at(&self, path: &Path) -> Result<Found, MailboxError> {
        let directory = match path.file_name().is_some_and(|name| name == HEADER) {
            true => path.parent().unwrap_or(path),
            false => path,
        };
        for (partition, roots) in &self.options().partitions {
            for root in [Some(&roots.data), roots.meta.as_ref()].into_iter().flatten() {
                if directory.starts_with(root) {
                    self.disk().stat(&directory.join(HEADER))?;
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
        roots: &PartitionPaths,
        root: &Path,
        each: &mut dyn FnMut(Found),
    ) -> Result<(), MailboxError> {
        let mut pending = vec![root.to_owned()];
        while let Some(directory) = pending.pop() {
            let entries = match self.disk().read_dir(&directory) {
                Err(error) if error.is_not_found() => continue,
                done => done?,
            };
            let mut marks = Marks::default();
            for entry in entries {
                let bytes = entry.name.as_encoded_bytes();
                if entry.kind == FileKind::Directory {
                    // `stage.` and `sync.` are no mailboxes; names of mailboxes do not end in a dot.
                    if !bytes.ends_with(b".") {
                        pending.push(directory.join(&entry.name));
                    }
                    continue;
                }
                marks.header |= entry.name == HEADER;
                marks.index |= entry.name == INDEX;
                marks.message |= entry.name.to_str().and_then(uid_of).is_some();
            }
            let sub = directory.strip_prefix(root).unwrap_or(Path::new(""));
            let is_mail = marks.index || marks.message;
            let is_place = marks.header || is_mail && !self.told_elsewhere(roots, root, sub, &marks)?;
            if directory == root || !is_place {
                continue;
            }
            let mut found = self.found(partition, root, &directory)?;
            found.only_messages = !marks.header && !marks.index;
            each(found);
        }
        Ok(())
    }

    /// Whether the mailbox of this directory is told of by a better file under another root of the partition.
    fn told_elsewhere(
        &self,
        roots: &PartitionPaths,
        root: &Path,
        sub: &Path,
        marks: &Marks,
    ) -> Result<bool, MailboxError> {
        for other in [Some(&roots.data), roots.meta.as_ref()].into_iter().flatten() {
            let is_there = |name: &str| self.disk().try_stat(&other.join(sub).join(name));
            if other != root && (is_there(HEADER)?.is_some() || !marks.index && is_there(INDEX)?.is_some()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn found(&self, partition: &Partition, root: &Path, directory: &Path) -> Result<Found, MailboxError> {
        let path = directory.join(HEADER);
        let sub = directory.strip_prefix(root).unwrap_or(directory);
        let legacy_dirs = !sub.starts_with("uuid");
        let mut found = Found {
            partition: partition.clone(),
            path,
            name: Err(Fault::new(0, Damage::Missing)),
            only_messages: false,
            legacy_dirs,
            id: None,
            header: None,
            copy: None,
        };
        let bytes = match self.disk().read(&found.path) {
            Err(error) if error.is_not_found() => None,
            done => Some(done?),
        };
        let header = match &bytes {
            Some(bytes) => MailboxHeader::parse(bytes),
            None => Err(Fault::new(0, Damage::Missing)),
        };
        if legacy_dirs {
            self.identify_legacy(&mut found, header, sub);
        } else {
            let intact = bytes.map(|bytes| crc32(&bytes));
            self.identify(&mut found, header, (root, directory), intact)?;
        }
        Ok(found)
    }

    /// In the layout by name, the place tells the name.
    fn identify_legacy(&self, found: &mut Found, header: Result<MailboxHeader, Fault>, sub: &Path) {
        let by_place = self.options().name_of_legacy_dir(sub);
        match header {
            Ok(header) => {
                // Cyrus leaves the old name in the header file of a mailbox that is renamed in this layout.
                found.name = by_place
                    .or_else(|| MailboxName::parse(&header.name).ok())
                    .ok_or(Fault::new(0, Damage::Expected("the name of a mailbox")));
                found.id = Some(header.id.clone());
                found.header = Some(header);
            }
            Err(fault) => found.name = by_place.ok_or(fault),
        }
    }

    /// In the layout by unique id, the place tells the id, and the header file the name.
    fn identify(
        &self,
        found: &mut Found,
        header: Result<MailboxHeader, Fault>,
        (root, directory): (&Path, &Path),
        crc: Option<u32>,
    ) -> Result<(), MailboxError> {
        let id = directory
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(MailboxId::new);
        let Some(id) = id else {
            found.name = Err(Fault::new(
                0,
                Damage::Impossible("unique id as the name of a directory"),
            ));
            return Ok(());
        };
        let mut header = header;
        if let Ok(other) = &mut header
            && other.id != id
        {
            // Another mailbox's, if there is a place for it; else its id is what is wrong.
            let place = uuid_dir(other.id.as_str()).map(|sub| root.join(sub));
            if place.is_some_and(|place| matches!(self.disk().try_stat(&place), Ok(Some(_)))) {
                return self.identify_stray(found, other.clone());
            }
            other.id = id.clone();
        }
        if let Some(listed) = self.lookup_id(&id)? {
            found.name = Ok(listed.name.clone());
            found.id = Some(id);
            found.header = header.ok();
            return Ok(());
        }
        let trusted = crc.is_some() && crc == self.header_crc_of_index(directory);
        let copy = match header.is_ok() && trusted {
            true => None,
            false => self.copied_row(&id)?,
        };
        let name_of_header = header
            .as_ref()
            .ok()
            .and_then(|h| MailboxName::parse(&h.name).ok());
        found.name = match (&copy, name_of_header) {
            (Some(copy), _) => Ok(copy.name.clone()),
            (None, Some(name)) => Ok(name),
            // Nothing says what it was called: it gets a name that only administrators see.
            (None, None) => MailboxName::parse(&format!("{LOST}.{}", id.as_str().replace('.', "_")))
                .map_err(|_| Fault::new(0, Damage::Expected("the name of a mailbox"))),
        };
        found.id = Some(id);
        found.copy = copy;
        found.header = header.ok();
        Ok(())
    }

    fn identify_stray(&self, found: &mut Found, header: MailboxHeader) -> Result<(), MailboxError> {
        found.name = match self.lookup_id(&header.id)? {
            Some(listed) => Ok(listed.name.clone()),
            None => MailboxName::parse(&header.name)
                .map_err(|_| Fault::new(0, Damage::Expected("the name of a mailbox"))),
        };
        found.id = Some(header.id.clone());
        found.header = Some(header);
        Ok(())
    }

    /// What the index beside it says the checksum of the header file is.
    fn header_crc_of_index(&self, directory: &Path) -> Option<u32> {
        let bytes = self.disk().read(&directory.join(INDEX)).ok()?;
        IndexHeader::parse(&bytes).ok().map(|index| index.header_file_crc)
    }

    /// The row that the last copies of the mailbox list, which `ctl_cyrusdb -c` makes, have for this unique id.
    fn copied_row(&self, id: &MailboxId) -> Result<Option<MailboxEntry>, MailboxError> {
        let list = self.mailbox_list_path();
        let Some(file) = list.file_name() else {
            return Ok(None);
        };
        for copies in ["db.backup1", "db.backup2"] {
            let path = self.options().config_dir.join(copies).join(file);
            if self.disk().try_stat(&path)?.is_none() {
                continue;
            }
            let context = self.databases().context();
            let key = [b"I", id.as_str().as_bytes()].concat();
            // A copy that cannot be read is no help, and no reason to stop.
            let opened = db::open(context, &path, self.options().databases.mboxlist, Create::No);
            let Ok(Some(value)) = opened.and_then(|mut db| db.get(&key)) else {
                continue;
            };
            let Ok(row) = MailboxRow::parse(&value) else {
                continue;
            };
            let name = row
                .name
                .as_ref()
                .map(|name| MailboxName::from_dbname(name.as_bytes()));
            if let Some(Ok(name)) = name
                && !row.mbtype.deleted
            {
                return Ok(Some(MailboxEntry::from_row(name, &row, self)));
            }
        }
        Ok(None)
    }

    /// Puts a found mailbox into the mailbox list, unless the list has it or its name.
    ///
    /// With `fresh` its rights are not taken over, but made as for a new mailbox: those of its owner, if it has one.
    ///
    /// # Errors
    /// The list cannot be read or written; nothing tells the name.
    pub fn adopt(&self, found: &Found, fresh: bool, dry_run: bool) -> Result<Adopted, MailboxError> {
        let name = match &found.name {
            Ok(name) => name,
            Err(fault) => return Err(MailboxError::damaged(&found.path, fault.clone())),
        };
        if let Some(known) = self.lookup(name)?
            && !known.mbtype.intermediate
        {
            return Ok(match (&known.id, &found.id) {
                (Some(known), Some(found)) if known != found => Adopted::NameTaken(known.to_string()),
                (None, Some(_)) => Adopted::NameTaken(String::new()),
                _ => Adopted::Known,
            });
        }
        if let Some(id) = &found.id
            && let Some(known) = self.lookup_id(id)?
            && self.is_place_of(&known, found)
        {
            return Ok(Adopted::Known);
        }
        if dry_run {
            return Ok(Adopted::Added);
        }
        let namespaces = self.lock_namespaces([name])?;
        let entry = self.entry_of(found, name, fresh)?;
        self.commit_rows(&[match self.lookup(name)? {
            Some(_) => RowChange::Update(&entry),
            None => RowChange::Create(&entry),
        }])?;
        drop(namespaces);
        Ok(Adopted::Added)
    }

    /// Whether a found mailbox may be what is left of one that was deleted or renamed, and is not to be put into the list
    /// unless somebody asks for it.
    pub fn is_leftover(&self, found: &Found) -> bool {
        found.only_messages && found.legacy_dirs
    }

    /// Whether a mailbox of the list has its files where this one was found.
    fn is_place_of(&self, entry: &MailboxEntry, found: &Found) -> bool {
        self.paths_of(entry)
            .is_ok_and(|paths| paths.header.parent() == found.path.parent())
    }

    fn entry_of(&self, found: &Found, name: &MailboxName, fresh: bool) -> Result<MailboxEntry, MailboxError> {
        let id = match &found.id {
            Some(id) => id.clone(),
            None => new_id()?,
        };
        let paths = self
            .options()
            .mailbox_paths(&found.partition, &id, name, found.legacy_dirs)?;
        let index = match self.disk().read(&paths.index) {
            Ok(bytes) => Salvaged::of(&bytes).header,
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        let modseq = index.as_ref().map_or(1, |index| index.highestmodseq);
        let above = || self.nearest_above(name);
        let acl = match (&found.copy, &found.header) {
            _ if fresh => self.first_acl(name, above()?.as_deref())?,
            (Some(copy), _) => copy.acl.clone(),
            (None, Some(header)) => super::plan::stored_acl(self, &header.acl),
            (None, None) if name.components().next() == Some(LOST) => Acl::new(),
            (None, None) => self.first_acl(name, above()?.as_deref())?,
        };
        let mbtype = found
            .header
            .as_ref()
            .and_then(|header| MailboxType::parse(&header.mbtype));
        Ok(MailboxEntry {
            name: name.clone(),
            id: Some(id),
            mbtype: MailboxType {
                deleted: false,
                legacy_dirs: found.legacy_dirs,
                ..mbtype.unwrap_or(MailboxType::of(Default::default()))
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
const INDEX: &str = "cyrus.index";
/// Above mailboxes of which nothing tells the name.
const LOST: &str = "LOST";
