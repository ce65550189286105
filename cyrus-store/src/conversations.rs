//! Conversations (`conversations: yes`): which messages of a user belong together, and what he counts of them.
//!
//! Each user has a database, and counters of modification sequences that all his mailboxes share. Whoever changes a
//! mailbox of his holds his namespace lock exclusively, which is what keeps the database still: changes are collected in
//! memory ([`Conversations`]), seen by whoever looks through it, and written by one transaction once the index of the
//! mailbox is on stable storage. Cyrus keeps this order, too. A crash in between leaves messages that the database does
//! not know, which `ctl_conversationsdb -R` counts.
//!
//! - `facts.rs`, `ids.rs`, `subject.rs`: what matters of a message;
//! - `threading.rs`: which conversation a new message joins;
//! - `update.rs`: what a change of a record changes in the counts;
//! - `counters.rs`: modification sequences of a user;
//! - `lookup.rs`: what clients are told of it;
//! - `maintain.rs`: what `ctl_conversationsdb` does.

mod counters;
mod facts;
mod ids;
mod lookup;
mod maintain;
mod subject;
mod threading;
mod update;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::db::{Create, Pooled};
use crate::error::MailboxError;
use crate::format::conversations::{
    COUNTED_FLAGS, Conversation, EmailQuota, FOLDER_IDS, FOLDER_NAMES, FolderStatus, MAX_COUNTED, NO_FOLDER,
    QUOTA, conversation_key, folder_key, folders_to_bytes, parse_folders,
};
use crate::format::quota::Usage;
use crate::name::MailboxName;
use crate::store::Store;

pub(crate) use counters::CounterKind;
pub(crate) use counters::{RaiseCounters, StagedCounters};
pub(crate) use facts::Facts;
pub use lookup::ConversationCounts;
pub use maintain::{ConversationDifference, Pruned, Splitting};
pub(crate) use threading::BASE_ENTRY;
pub(crate) use update::Place;

/// The new value of a row, or that it is removed.
type Change = Option<Vec<u8>>;
/// Rows that change.
type Rows = BTreeMap<Vec<u8>, Change>;

/// The conversations of one user, with changes that are not written yet.
pub(crate) struct Conversations {
    store: Store,
    owner: String,
    db: Pooled,
    path: PathBuf,
    changes: Rows,
    /// What the rows were before they were changed, the latest last, for whoever wants to take changes back.
    undo: Vec<(Vec<u8>, Option<Change>)>,
    /// The mailboxes by their number.
    folders: Vec<String>,
    by_name: bool,
    /// The flags that are counted in each conversation.
    counted: Vec<String>,
    /// What Trash is listed as, wherever in the list it is.
    trash: Option<String>,
    /// Conversations that became too long, and the new ones in which they go on.
    splits: Vec<(u64, u64)>,
    /// The highest modification sequence that the user's mailboxes have been given.
    pub(crate) modseq: u64,
}

/// A state to which changes can be taken back.
#[derive(Clone, Debug)]
pub(crate) struct Savepoint {
    undo: usize,
    folders: Vec<String>,
    splits: usize,
}

impl Store {
    /// The conversations of a user; nothing if they are off, or he has no INBOX that his files belong to.
    pub(crate) fn conversations(&self, owner: Option<&str>) -> Result<Option<Conversations>, MailboxError> {
        match owner {
            Some(owner) if self.has_conversations(owner)? => {
                let path = self.user_file(owner, "conversations")?;
                Conversations::open(self, owner, &path).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The conversations that tell the usage of a quota root, if it is at an INBOX and they are to.
    pub(crate) fn conversations_of_root(&self, root: &str) -> Result<Option<Conversations>, MailboxError> {
        let inbox = MailboxName::parse(root)
            .ok()
            .filter(|_| self.options().quota_use_conversations);
        match inbox.filter(MailboxName::is_user_inbox) {
            Some(inbox) => self.conversations(inbox.owner().as_deref()),
            None => Ok(None),
        }
    }

    /// Whether a user has conversations.
    pub(crate) fn has_conversations(&self, owner: &str) -> Result<bool, MailboxError> {
        if !self.options().conversations {
            return Ok(false);
        }
        let Ok(inbox) = MailboxName::inbox_of(owner) else {
            return Ok(false);
        };
        let inbox = self.lookup(&inbox)?;
        Ok(inbox.is_some_and(|inbox| inbox.id.is_some()))
    }
}

impl Conversations {
    /// Opens the database, which is made if it is not there.
    ///
    /// The caller holds the user's namespace lock exclusively until this is written or dropped.
    pub(crate) fn open(store: &Store, owner: &str, path: &Path) -> Result<Self, MailboxError> {
        let engine = store.options().databases.conversations;
        let mut db = store.databases().open(path, engine, Create::Yes)?;
        let damaged = |fault| MailboxError::damaged(path, fault);
        let mut by_name = false;
        let folders = match db.get(FOLDER_IDS)? {
            Some(value) => parse_folders(&value).map_err(damaged)?,
            None => match db.get(FOLDER_NAMES)? {
                Some(value) => {
                    by_name = true;
                    parse_folders(&value).map_err(damaged)?
                }
                None => Vec::new(),
            },
        };
        let modseq = store.user_modseq(owner)?;
        let mut this = Self {
            store: store.clone(),
            owner: owner.to_owned(),
            db,
            path: path.to_owned(),
            changes: Rows::new(),
            undo: Vec::new(),
            folders,
            by_name,
            counted: Vec::new(),
            trash: None,
            splits: Vec::new(),
            modseq,
        };
        this.load_counted_flags()?;
        this.find_trash()?;
        Ok(this)
    }

    fn load_counted_flags(&mut self) -> Result<(), MailboxError> {
        let stored = self.get(COUNTED_FLAGS)?.filter(|value| !value.is_empty());
        let flags = match stored {
            Some(value) => String::from_utf8_lossy(&value).into_owned(),
            None => {
                let flags = self.store.options().conversation_limits.counted_flags.clone();
                if !flags.is_empty() {
                    self.put(COUNTED_FLAGS.to_vec(), flags.clone().into_bytes());
                }
                flags
            }
        };
        let flags = flags.split(' ').filter(|flag| !flag.is_empty());
        self.counted = flags.take(MAX_COUNTED).map(str::to_owned).collect();
        Ok(())
    }

    fn find_trash(&mut self) -> Result<(), MailboxError> {
        let Ok(inbox) = MailboxName::inbox_of(&self.owner) else {
            return Ok(());
        };
        let Ok(trash) = MailboxName::parse(&format!("{}.Trash", inbox.as_str())) else {
            return Ok(());
        };
        self.trash = if self.by_name {
            Some(trash.as_str().to_owned())
        } else {
            let entry = self.store.lookup(&trash)?;
            entry.and_then(|entry| Some(entry.id.as_ref()?.as_str().to_owned()))
        };
        Ok(())
    }

    /// Writes the changes, durably.
    pub(crate) fn commit(mut self) -> Result<Vec<(u64, u64)>, MailboxError> {
        if !self.changes.is_empty() {
            let mut txn = self.db.begin()?;
            for (key, value) in std::mem::take(&mut self.changes) {
                match value {
                    Some(value) => txn.put(&key, &value)?,
                    None => {
                        txn.remove(&key)?;
                    }
                }
            }
            txn.commit()?;
        }
        Ok(std::mem::take(&mut self.splits))
    }

    /// Marks the state of now, so that what comes after it can be taken back.
    pub(crate) fn savepoint(&self) -> Savepoint {
        Savepoint {
            undo: self.undo.len(),
            folders: self.folders.clone(),
            splits: self.splits.len(),
        }
    }

    /// Takes back what was changed since then.
    pub(crate) fn roll_back(&mut self, to: &Savepoint) {
        while self.undo.len() > to.undo {
            match self.undo.pop() {
                Some((key, Some(value))) => {
                    self.changes.insert(key, value);
                }
                Some((key, None)) => {
                    self.changes.remove(&key);
                }
                None => break,
            }
        }
        self.folders.clone_from(&to.folders);
        self.splits.truncate(to.splits);
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, MailboxError> {
        match self.changes.get(key) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.db.get(key)?),
        }
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.set(key, Some(value));
    }

    fn remove(&mut self, key: Vec<u8>) {
        self.set(key, None);
    }

    fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let before = self.changes.insert(key.clone(), value);
        self.undo.push((key, before));
    }

    /// The rows whose keys begin with `prefix`.
    fn rows(&mut self, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, MailboxError> {
        let mut rows = BTreeMap::new();
        self.db.scan(prefix, &mut |key, value| {
            rows.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        })?;
        let changed = self.changes.range(prefix.to_vec()..);
        for (key, value) in changed.take_while(|(key, _)| key.starts_with(prefix)) {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows)
    }

    /// A value, parsed. One that cannot be read counts as none: it is logged and will be written anew, as Cyrus does.
    fn parsed<T>(
        &mut self,
        key: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<T, crate::format::Fault>,
    ) -> Result<Option<T>, MailboxError> {
        let Some(value) = self.get(key)? else {
            return Ok(None);
        };
        match parse(&value) {
            Ok(parsed) => Ok(Some(parsed)),
            Err(fault) => {
                let what = format_args!(
                    "{}: {}: {fault}; run `ctl_conversationsdb -R {}`",
                    self.path.display(),
                    String::from_utf8_lossy(key),
                    self.owner
                );
                self.store.log().record(crate::log::Level::Error, what);
                Ok(None)
            }
        }
    }

    /// A conversation.
    fn conversation(&mut self, cid: u64) -> Result<Option<Conversation>, MailboxError> {
        self.parsed(&conversation_key(cid), Conversation::parse)
    }

    /// Keeps a conversation, or removes it when nothing is left of it.
    fn store_conversation(&mut self, cid: u64, conversation: &Conversation) {
        let key = conversation_key(cid);
        if conversation.num_records > 0 {
            self.put(key, conversation.to_bytes());
        } else {
            self.remove(key);
        }
    }

    /// What a mailbox counts.
    fn status(&mut self, folder: &str) -> Result<FolderStatus, MailboxError> {
        let status = self.parsed(&folder_key(folder), FolderStatus::parse)?;
        Ok(status.unwrap_or_default())
    }

    fn store_status(&mut self, folder: &str, status: &FolderStatus) {
        let key = folder_key(folder);
        if status.threadmodseq > 0 {
            self.put(key, status.to_bytes());
        } else {
            self.remove(key);
        }
    }

    /// The messages of the user and their octets, each message counted once.
    pub(crate) fn quota(&mut self) -> Result<EmailQuota, MailboxError> {
        Ok(self.parsed(QUOTA, EmailQuota::parse)?.unwrap_or_default())
    }

    /// What a change costs a quota root of the user that counts each message once: octets and messages of conversations
    /// in place of those of mailboxes.
    pub(crate) fn usage_instead(&mut self, root: Option<&str>, usage: Usage) -> Result<Usage, MailboxError> {
        let before = self
            .db
            .get(QUOTA)?
            .and_then(|value| EmailQuota::parse(&value).ok());
        self.usage_since(before.unwrap_or_default(), root, usage)
    }

    /// The same since the messages took so much.
    pub(crate) fn usage_since(
        &mut self,
        before: EmailQuota,
        root: Option<&str>,
        usage: Usage,
    ) -> Result<Usage, MailboxError> {
        let inbox = MailboxName::inbox_of(&self.owner)?;
        if root != Some(inbox.as_str()) || !self.store.options().quota_use_conversations {
            return Ok(usage);
        }
        let after = self.quota()?;
        let difference = |new: u64, old: u64| {
            let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            signed(new).saturating_sub(signed(old))
        };
        let [_, _, annotations, mailboxes] = usage.0;
        Ok(Usage([
            difference(after.octets, before.octets),
            difference(after.emails, before.emails),
            annotations,
            mailboxes,
        ]))
    }

    /// What a mailbox is listed as.
    fn folder_name<'a>(&self, place: &Place<'a>) -> &'a str {
        if self.by_name {
            place.name.as_str()
        } else {
            place.id.as_str()
        }
    }

    /// The number of a mailbox, which is given one if it has none.
    fn number(&mut self, folder: &str) -> u32 {
        let known = self.folders.iter().position(|known| known == folder);
        let at = match known {
            Some(at) => at,
            None => {
                let free = self.folders.iter().position(|known| known == NO_FOLDER);
                let at = free.unwrap_or(self.folders.len());
                match self.folders.get_mut(at) {
                    Some(place) => folder.clone_into(place),
                    None => self.folders.push(folder.to_owned()),
                }
                self.store_folders();
                at
            }
        };
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// The number of Trash, if it has one.
    fn trash_number(&self) -> Option<u32> {
        let trash = self.trash.as_deref()?;
        let at = self.folders.iter().position(|known| known == trash)?;
        u32::try_from(at).ok()
    }

    fn folder_of_number(&self, number: u32) -> Option<String> {
        let at = usize::try_from(number).ok()?;
        self.folders
            .get(at)
            .filter(|folder| *folder != NO_FOLDER)
            .cloned()
    }

    fn store_folders(&mut self) {
        let key = if self.by_name { FOLDER_NAMES } else { FOLDER_IDS };
        let value = folders_to_bytes(&self.folders);
        self.put(key.to_vec(), value);
    }

    /// Notes that a mailbox has changed, in whatever way.
    pub(crate) fn touch(&mut self, place: &Place<'_>, modseq: u64) -> Result<(), MailboxError> {
        let folder = self.folder_name(place);
        let mut status = self.status(folder)?;
        if status.threadmodseq < modseq {
            status.threadmodseq = modseq;
            self.store_status(folder, &status);
        }
        self.modseq = self.modseq.max(modseq);
        Ok(())
    }

    /// Forgets the number of a mailbox that has no messages any more.
    pub(crate) fn drop_folder(&mut self, place: &Place<'_>) {
        let folder = self.folder_name(place);
        if let Some(slot) = self.folders.iter_mut().find(|known| *known == folder) {
            NO_FOLDER.clone_into(slot);
            self.store_folders();
        }
    }

    /// Follows a mailbox to its new name, where that matters.
    pub(crate) fn rename_folder(&mut self, from: &MailboxName, to: &MailboxName) -> Result<(), MailboxError> {
        if !self.by_name {
            return Ok(());
        }
        let status = self.status(from.as_str())?;
        self.store_status(to.as_str(), &status);
        self.store_status(from.as_str(), &FolderStatus::default());
        if let Some(slot) = self.folders.iter_mut().find(|known| *known == from.as_str()) {
            to.as_str().clone_into(slot);
            self.store_folders();
        }
        Ok(())
    }
}

impl std::fmt::Debug for Conversations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversations")
            .field("path", &self.path)
            .field("changes", &self.changes.len())
            .finish_non_exhaustive()
    }
}
