//! Making mailboxes: who may, with whose rights, on which partition, under which quota root.

use std::sync::Arc;
use std::time::Duration;

use cyrus_acl::{Acl, AuthState, Identifier, Rights};

use super::MailboxEntry;
use super::rows::RowChange;
use crate::conversations::Place;
use crate::error::MailboxError;
use crate::flags::{Keyword, KeywordBits};
use crate::format::crc32;
use crate::format::header::MailboxHeader;
use crate::format::index::{IndexHeader, options};
use crate::format::mboxentry::{MailboxKind, MailboxType};
use crate::format::quota::Usage;
use crate::ident::{MailboxId, Partition};
use crate::lock::Recheck;
use crate::name::{MailboxName, NameError};
use crate::paths::MailboxPaths;
use crate::quota::{QuotaPolicy, check_room};
use crate::store::{Store, now};
use crate::sys::{Mode, Open};
use crate::uid::{ModSeq, UidValidity};

/// What may be decided about a new mailbox.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// Where its files go: for administrators only. By default where the files of the mailbox above it are.
    pub partition: Option<Partition>,
    /// Its kind.
    pub kind: MailboxKind,
    /// Special uses (RFC 6154) such as `\Sent`, for a mailbox right below the user's own INBOX.
    pub special_use: Vec<String>,
}

impl Store {
    /// Makes an ordinary mailbox for mail: [`Store::create_with`] without wishes.
    ///
    /// # Errors
    /// As [`Store::create_with`].
    pub fn create(&self, name: &MailboxName, auth: &AuthState) -> Result<Arc<MailboxEntry>, MailboxError> {
        self.create_with(name, &CreateOptions::default(), auth)
    }

    /// Makes a mailbox, and those above it that are missing.
    ///
    /// It gets the rights and the partition of the nearest mailbox above it; an INBOX belongs to its user alone, and
    /// any other mailbox with nothing above it gets `defaultacl`. On return it is on stable storage. After a crash
    /// earlier than that, mailboxes above it may be there without it, and its quota root may count one mailbox too many.
    ///
    /// # Errors
    /// [`MailboxError::Exists`]; [`MailboxError::PermissionDenied`] without `k` on the mailbox above, or for a partition
    /// without being an administrator; [`MailboxError::OverQuota`].
    pub fn create_with(
        &self,
        name: &MailboxName,
        options: &CreateOptions,
        auth: &AuthState,
    ) -> Result<Arc<MailboxEntry>, MailboxError> {
        name.check_policy(&self.options().deleted_prefix)?;
        if options.partition.is_some() && !auth.is_admin() {
            return Err(MailboxError::PermissionDenied);
        }
        if let Some(partition) = &options.partition
            && !self.options().partitions.contains_key(partition)
        {
            return Err(MailboxError::InvalidPartition);
        }
        let namespaces = self.lock_namespaces([name])?;
        let missing = self.missing_parents(name)?;
        self.check_may_create(name, auth)?;
        let special_use = self.check_special_use(name, &options.special_use, auth)?;
        for parent in &missing {
            let bare = CreateOptions {
                special_use: Vec::new(),
                ..options.clone()
            };
            self.create_one(parent, &bare, auth)?;
        }
        self.create_one(name, options, auth)?;
        if !special_use.is_empty() {
            self.set_special_use(name, &special_use)?;
        }
        drop(namespaces);
        self.lookup(name)?.ok_or(MailboxError::NotFound)
    }

    /// The mailboxes above a name that do not exist, from the top.
    pub(crate) fn missing_parents(&self, name: &MailboxName) -> Result<Vec<MailboxName>, MailboxError> {
        let mut missing = Vec::new();
        let mut above = name.parent();
        while let Some(parent) = above {
            above = parent.parent();
            // `INBOX.x` of the alternate namespace lies in a folder that is the INBOX itself.
            if is_inner_inbox(&parent) {
                continue;
            }
            match self.lookup(&parent)? {
                Some(entry) if !entry.mbtype.intermediate => {}
                _ => missing.push(parent),
            }
        }
        missing.reverse();
        Ok(missing)
    }

    /// Whether the user may make a mailbox of this name, which is not there.
    pub fn may_create(&self, name: &MailboxName, auth: &AuthState) -> bool {
        name.check_policy(&self.options().deleted_prefix).is_ok() && self.check_may_create(name, auth).is_ok()
    }

    /// Whether the user may make a mailbox of this name, or give the name to another one.
    pub(crate) fn check_may_create(&self, name: &MailboxName, auth: &AuthState) -> Result<(), MailboxError> {
        let above = self.nearest_above(name)?;
        if let Some(entry) = self.lookup(name)?.filter(|entry| !entry.mbtype.intermediate) {
            let known = above
                .iter()
                .any(|above| self.rights(above, auth).intersects(Rights::CREATE));
            let visible = self.rights(&entry, auth).contains(Rights::LOOKUP);
            return Err(if known || visible {
                MailboxError::Exists
            } else {
                MailboxError::PermissionDenied
            });
        }
        // Whatever is in a user's tree hangs below his INBOX.
        if name.owner().is_some() && !name.is_user_inbox() && above.is_none() {
            return Err(MailboxError::PermissionDenied);
        }
        if let Some(above) = &above
            && self.forbids_children(above)?
        {
            return Err(MailboxError::PermissionDenied);
        }
        if auth.is_admin() || self.is_own_inbox(name, auth) {
            return Ok(());
        }
        match above {
            Some(above) if self.rights(&above, auth).contains(Rights::CREATE) => Ok(()),
            _ => Err(MailboxError::PermissionDenied),
        }
    }

    /// Whether a name is that of the user's own INBOX, which he may make himself if nobody has. With dots as separators,
    /// one whose userid has a dot has none.
    fn is_own_inbox(&self, name: &MailboxName, auth: &AuthState) -> bool {
        let dotted = !self.options().unixhierarchysep && auth.userid().contains('.');
        name.is_user_inbox() && !dotted && !auth.is_system() && name.owner().as_deref() == Some(auth.userid())
    }

    /// The nearest mailbox above a name.
    pub(crate) fn nearest_above(
        &self,
        name: &MailboxName,
    ) -> Result<Option<Arc<MailboxEntry>>, MailboxError> {
        let mut above = name.parent();
        while let Some(parent) = above {
            if let Some(entry) = self.lookup(&parent)?.filter(|entry| !entry.mbtype.intermediate) {
                return Ok(Some(entry));
            }
            above = parent.parent();
        }
        Ok(None)
    }

    /// Makes one mailbox, under the namespace lock: quota, files, then the rows by which it exists.
    pub(crate) fn create_one(
        &self,
        name: &MailboxName,
        options: &CreateOptions,
        auth: &AuthState,
    ) -> Result<(), MailboxError> {
        self.check_list()?;
        let above = self.nearest_above(name)?;
        let partition = match (&options.partition, &above) {
            (Some(partition), _) => partition.clone(),
            (None, Some(above)) if above.partition.is_some() => {
                above.partition.clone().ok_or(MailboxError::InvalidPartition)?
            }
            (None, _) => self.default_partition()?,
        };
        let id = new_id()?;
        let (uidvalidity, modseq) = self.new_numbers(name, &id, options.kind)?;
        let entry = MailboxEntry {
            name: name.clone(),
            id: Some(id.clone()),
            mbtype: MailboxType {
                legacy_dirs: self.options().mailbox_legacy_dirs,
                ..MailboxType::of(options.kind)
            },
            partition: Some(partition.clone()),
            server: None,
            uidvalidity,
            created_modseq: modseq,
            folder_modseq: modseq,
            mtime: i64::from(now()),
            acl: self.first_acl(name, above.as_deref())?,
        };
        let paths = self
            .options()
            .mailbox_paths(&partition, &id, name, entry.mbtype.legacy_dirs)?;
        let root = self.nearest_quota(name)?;
        if let Some((root, quota)) = &root
            && !auth.is_system()
        {
            check_room(root, quota, ONE_MAILBOX, QuotaPolicy::Store)?;
        }
        let root = root.map(|(root, _)| root);
        // Where a file that follows a name is locked, that may be by somebody who still has an earlier mailbox of this name
        // open and, as Cyrus does, wants the namespace next: waiting for him without end would be for ever.
        let wait = self.wait().no_longer_than(LONGEST_WAIT);
        let _mailbox = self.locks().lock_file(&paths.lock, Mode::Exclusive, wait)?;
        if let Some(root) = &root {
            self.count_more(root, ONE_MAILBOX)?;
        }
        let made = self
            .make_files(&entry, &paths, root.as_deref())
            .and_then(|()| self.commit_rows(&[RowChange::Create(&entry)]));
        if let Err(error) = made {
            self.remove_empty_mailbox(&paths);
            if let Some(root) = &root {
                self.charge_quota(root, ONE_MAILBOX.negated())?;
            }
            return Err(error);
        }
        self.count_new_folder(&entry)
    }

    /// Makes a new mailbox known to its owner's conversations.
    fn count_new_folder(&self, entry: &MailboxEntry) -> Result<(), MailboxError> {
        let Some(mut conversations) = self.conversations(entry.name.owner().as_deref())? else {
            return Ok(());
        };
        let (id, _) = entry.storage()?;
        let place = Place {
            id,
            name: &entry.name,
        };
        conversations.touch(&place, entry.folder_modseq.0)?;
        conversations.commit().map(drop)
    }

    /// The UIDVALIDITY and the first modification sequence of a new mailbox.
    fn new_numbers(
        &self,
        name: &MailboxName,
        id: &MailboxId,
        kind: MailboxKind,
    ) -> Result<(UidValidity, ModSeq), MailboxError> {
        let uidvalidity = self.new_uidvalidity(name)?;
        let owner = name.owner().filter(|_| self.options().conversations);
        let Some(owner) = owner else {
            return Ok((uidvalidity, ModSeq(FIRST_MODSEQ)));
        };
        let counters = if name.is_user_inbox() {
            // What is his will be where his INBOX's id says.
            let id = Some(id).filter(|_| !self.options().mailbox_legacy_dirs);
            self.options().user_file(&owner, id, "counters")
        } else if self.has_conversations(&owner)? {
            self.user_file(&owner, "counters")?
        } else {
            return Ok((uidvalidity, ModSeq(FIRST_MODSEQ)));
        };
        let (uidvalidity, modseq) = self.count_new_mailbox(&counters, kind, uidvalidity.0)?;
        Ok((UidValidity(uidvalidity), ModSeq(modseq)))
    }

    /// The directories of a new mailbox, its index without messages, and its header.
    fn make_files(
        &self,
        entry: &MailboxEntry,
        paths: &MailboxPaths,
        root: Option<&str>,
    ) -> Result<(), MailboxError> {
        let disk = self.disk();
        for file in [&paths.index, &paths.header, &paths.cache] {
            if let Some(directory) = file.parent() {
                disk.make_dirs(directory)?;
            }
        }
        disk.make_dirs(&paths.data)?;
        // A directory that follows a name may hold what is left of an earlier mailbox. Its messages are overwritten one
        // by one, should nobody come to save them; these two would be taken for those of the new mailbox.
        disk.unlink_if_exists(&paths.cache)?;
        disk.unlink_if_exists(&paths.annotations)?;
        let index = self.locks().data_file(&paths.index);
        let mut index = index.lock(Mode::Exclusive, self.wait(), Open::create(), Recheck::Replaced)?;
        index.truncate(0)?;
        let mut header = self.header_of_entry(entry, root.map(str::to_owned))?;
        header.keywords = self.first_keywords();
        let bytes = header.to_bytes();
        // Nobody reads it before the rows are there: it needs no other name meanwhile, and its sync makes the name durable.
        let file = disk.open(&paths.header, Open::replace())?;
        file.write_at(&bytes, 0)?;
        let mut counts = IndexHeader::new(entry.uidvalidity.0, entry.created_modseq.0, now());
        counts.header_file_crc = crc32(&bytes);
        counts.options |= self.options().new_mailbox_options & options::ALL;
        index.write_at(&counts.to_bytes(), 0)?;
        Ok(disk.sync_many(&[&file, index.file()])?)
    }

    /// The keywords of a new mailbox, each once.
    fn first_keywords(&self) -> Vec<Option<Keyword>> {
        let mut keywords: Vec<Option<Keyword>> = Vec::new();
        for keyword in &self.options().new_mailbox_keywords {
            if keywords.len() < KeywordBits::SLOTS && !keywords.contains(&Some(keyword.clone())) {
                keywords.push(Some(keyword.clone()));
            }
        }
        keywords
    }

    /// What the header file of a mailbox says that is described by this row.
    pub(crate) fn header_of_entry(
        &self,
        entry: &MailboxEntry,
        quota_root: Option<String>,
    ) -> Result<MailboxHeader, MailboxError> {
        Ok(MailboxHeader {
            mbtype: entry.mbtype.to_string(),
            name: entry.name.as_str().to_owned(),
            id: entry.id.clone().ok_or(MailboxError::NotFound)?,
            quota_root,
            acl: self.acl_pairs(&entry.acl),
            keywords: Vec::new(),
        })
    }

    pub(crate) fn acl_pairs(&self, acl: &Acl) -> Vec<(String, String)> {
        let deleteright = self.options().deleteright;
        acl.entries()
            .map(|(identifier, rights)| (identifier.to_string(), rights.to_text(deleteright)))
            .collect()
    }

    /// The list of a new mailbox.
    pub(crate) fn first_acl(
        &self,
        name: &MailboxName,
        above: Option<&MailboxEntry>,
    ) -> Result<Acl, MailboxError> {
        if name.is_user_inbox() {
            let owner = name.owner().unwrap_or_default();
            let owner = Identifier::stored(&owner).map_err(|_| NameError::BadUser(owner.clone()))?;
            return Ok(Acl::from_entries([(owner, Rights::ALL)]));
        }
        if let Some(above) = above {
            return Ok(above.acl.clone());
        }
        let options = self.options();
        let mut acl = Acl::new();
        let mut words = options.default_acl.split_whitespace();
        while let (Some(identifier), Some(letters)) = (words.next(), words.next()) {
            let identifier = Identifier::canonical(identifier, &*options.mechanism)
                .map_err(|_| MailboxError::InvalidIdentifier)?;
            acl.set(
                identifier,
                Rights::parse_stored_with(letters, options.deleteright),
            );
        }
        Ok(acl)
    }

    /// Where mailboxes go that have nothing above them.
    fn default_partition(&self) -> Result<Partition, MailboxError> {
        let options = self.options();
        if let Some(partition) = &options.default_partition {
            return Ok(partition.clone());
        }
        let mut spaces = Vec::with_capacity(options.partitions.len());
        for (name, paths) in &options.partitions {
            // One that is not there, or not mounted, is no place for a mailbox.
            if let Ok(Some(space)) = self.disk().space(&paths.data) {
                spaces.push((name, space));
            }
        }
        let mut chance = [0; 8];
        getrandom::fill(&mut chance)
            .map_err(|error| MailboxError::Refused(format!("the system has no random numbers: {error}")))?;
        let chosen = options
            .partition_choice
            .choose(&spaces, u64::from_ne_bytes(chance));
        // Where no disk tells its room, and none may be left out, the first.
        chosen
            .or_else(|| options.partitions.keys().next().cloned())
            .ok_or(MailboxError::InvalidPartition)
    }

    /// A UIDVALIDITY above the time, and above that of any mailbox that had the name before.
    fn new_uidvalidity(&self, name: &MailboxName) -> Result<UidValidity, MailboxError> {
        let before = self.row_of(name)?.map_or(0, |row| row.uidvalidity);
        Ok(UidValidity(now().saturating_add(1).max(before.saturating_add(1))))
    }
}

/// Whether this is the folder `INBOX` below an INBOX: its mailboxes are, but it is none.
fn is_inner_inbox(name: &MailboxName) -> bool {
    name.owner().is_some() && name.components().count() == 3 && name.components().next_back() == Some("INBOX")
}

/// A unique id: 24 random digits and small letters, as Debian's Cyrus gives them.
pub(crate) fn new_id() -> Result<MailboxId, MailboxError> {
    let mut id = String::with_capacity(ID_LENGTH);
    while id.len() < ID_LENGTH {
        let mut noise = [0; 2 * ID_LENGTH];
        getrandom::fill(&mut noise)
            .map_err(|error| MailboxError::Refused(format!("the system has no random numbers: {error}")))?;
        // The last few values of an octet would make some characters likelier than others.
        let fair = noise.into_iter().filter(|&octet| octet < 252);
        let digits = fair.filter_map(|octet| char::from_digit(u32::from(octet % 36), 36));
        id.extend(digits.take(ID_LENGTH - id.len()));
    }
    Ok(MailboxId::new(&id).expect("24 digits and letters are a unique id"))
}

/// The modification sequence of a new mailbox.
const FIRST_MODSEQ: u64 = 1;
const ID_LENGTH: usize = 24;
/// What a mailbox without messages adds to the usage of its quota root.
pub(crate) const ONE_MAILBOX: Usage = Usage([0, 0, 0, 1]);

/// How long a new mailbox waits for those who have an earlier one of its name open.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_ids_are_24_digits_and_letters_and_all_different() {
        let ids: std::collections::HashSet<_> = (0..100).map(|_| new_id().unwrap()).collect();
        assert_eq!(ids.len(), 100);
        let good = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        assert!(
            ids.iter()
                .all(|id| id.as_str().len() == 24 && id.as_str().bytes().all(good))
        );
    }
}
