//! What clients are told of conversations: in which mailboxes a message is, and what a mailbox counts of them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use cyrus_acl::{AuthState, Rights};

use super::update::exists;
use crate::db::{Create, DbError, Pooled};
use crate::error::MailboxError;
use crate::format::conversations::{
    FOLDER_IDS, FOLDER_NAMES, FolderStatus, GuidKey, GuidRow, folder_key, parse_folders,
};
use crate::ident::{Guid, MailboxId};
use crate::mboxlist::MailboxEntry;
use crate::name::MailboxName;
use crate::store::Store;
use crate::uid::ModSeq;

/// What a mailbox counts of the conversations in it (STATUS XCONVEXISTS and its like).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConversationCounts {
    /// Conversations with messages there.
    pub exists: u32,
    /// Those among them with messages that are not seen, there or elsewhere.
    pub unseen: u32,
    /// The highest modification sequence of the mailbox, or of one of these conversations.
    pub modseq: ModSeq,
}

/// A database of conversations that is only read.
struct Reader {
    db: Pooled,
    by_name: bool,
    folders: Vec<String>,
}

impl Store {
    /// The counts of a mailbox; none where its owner has no conversations.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn conversation_counts(
        &self,
        name: &MailboxName,
    ) -> Result<Option<ConversationCounts>, MailboxError> {
        let Some(owner) = name.owner() else {
            return Ok(None);
        };
        let Some(mut reader) = self.read_conversations(&owner)? else {
            return Ok(None);
        };
        let Some(entry) = self.lookup(name)? else {
            return Ok(None);
        };
        let folder = match (&entry.id, reader.by_name) {
            (Some(id), false) => id.as_str(),
            _ => name.as_str(),
        };
        let status = match reader.db.get(&folder_key(folder))? {
            None => FolderStatus::default(),
            Some(value) => FolderStatus::parse(&value).unwrap_or_default(),
        };
        Ok(Some(ConversationCounts {
            exists: status.threadexists,
            unseen: status.threadunseen,
            modseq: ModSeq(status.threadmodseq),
        }))
    }

    /// The mailboxes of a user in which each of these messages is, as far as `auth` may see them, in the order in which
    /// the user's conversations list them; nothing where he has none.
    ///
    /// # Errors
    /// The database, or the list of mailboxes, cannot be read.
    pub fn mailboxes_of_messages(
        &self,
        owner: &str,
        guids: &[Guid],
        auth: &AuthState,
    ) -> Result<Vec<Vec<Arc<MailboxEntry>>>, MailboxError> {
        let Some(mut reader) = self.read_conversations(owner)? else {
            return Ok(vec![Vec::new(); guids.len()]);
        };
        let mut known: BTreeMap<u32, Option<Arc<MailboxEntry>>> = BTreeMap::new();
        let mut found = Vec::with_capacity(guids.len());
        for &guid in guids {
            let mut folders = Vec::new();
            reader.db.scan(&GuidKey::prefix(guid), &mut |key, value| {
                let row = GuidRow::parse(value).ok();
                let kept = row.is_some_and(|row| row.flags.is_none_or(exists));
                if let Some(key) = GuidKey::parse(key).filter(|key| key.part.is_none() && kept)
                    && !folders.contains(&key.folder)
                {
                    folders.push(key.folder);
                }
                ControlFlow::Continue(())
            })?;
            let mut mailboxes = Vec::new();
            for folder in folders {
                let entry = match known.get(&folder) {
                    Some(entry) => entry.clone(),
                    None => {
                        let entry = reader.mailbox(self, folder)?;
                        let visible = entry.filter(|entry| self.rights(entry, auth).contains(Rights::LOOKUP));
                        known.insert(folder, visible.clone());
                        visible
                    }
                };
                mailboxes.extend(entry);
            }
            found.push(mailboxes);
        }
        Ok(found)
    }

    fn read_conversations(&self, owner: &str) -> Result<Option<Reader>, MailboxError> {
        if !self.has_conversations(owner)? {
            return Ok(None);
        }
        let path = self.user_file(owner, "conversations")?;
        let engine = self.options().databases.conversations;
        let mut db = match self.databases().open(&path, engine, Create::No) {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (folders, by_name) = match db.get(FOLDER_IDS)? {
            Some(folders) => (Some(folders), false),
            None => (db.get(FOLDER_NAMES)?, true),
        };
        let folders = match folders {
            Some(folders) => parse_folders(&folders).map_err(|fault| MailboxError::damaged(&path, fault))?,
            None => Vec::new(),
        };
        Ok(Some(Reader { db, by_name, folders }))
    }
}

impl Reader {
    fn mailbox(&self, store: &Store, number: u32) -> Result<Option<Arc<MailboxEntry>>, MailboxError> {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(folder) = self.folders.get(at) else {
            return Ok(None);
        };
        match self.by_name {
            true => match MailboxName::parse(folder) {
                Ok(name) => store.lookup(&name),
                Err(_) => Ok(None),
            },
            false => match MailboxId::new(folder) {
                Some(id) => store.lookup_id(&id),
                None => Ok(None),
            },
        }
    }
}
