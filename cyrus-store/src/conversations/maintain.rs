//! What `ctl_conversationsdb` does with the database of a user: showing, restoring, counting anew, building and checking it.
//!
//! Each call holds the user's namespace lock exclusively until it is done, so that nothing of his changes meanwhile.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Conversations, Place};
use crate::db::{self, Create};
use crate::error::MailboxError;
use crate::format::conversations::{
    COUNTED_FLAGS, Conversation, EmailQuota, FOLDER_IDS, FOLDER_NAMES, FolderStatus, GuidRow, MAX_COUNTED,
    MessageIdRow, NO_FOLDER, cid_of_key, conversation_key, parse_folders,
};
use crate::format::index::Record;
use crate::lock::Guard;
use crate::mailbox::IndexWrite;
use crate::mboxlist::MailboxEntry;
use crate::name::MailboxName;
use crate::store::Store;
use crate::sys::Mode;

/// A row of a conversations database that is not what counting its messages gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationDifference {
    /// The key.
    pub key: Vec<u8>,
    /// The value in the database.
    pub live: Option<Vec<u8>>,
    /// The value when counted.
    pub counted: Option<Vec<u8>>,
}

/// How many message ids were looked at, and forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Looked at.
    pub seen: u64,
    /// Forgotten.
    pub removed: u64,
}

/// Whether conversations that become too long are split while they are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splitting {
    /// They are, as when messages arrive.
    Allowed,
    /// They are not.
    Forbidden,
}

/// What is called with the name of each mailbox that is about to be read.
type EachMailbox<'a> = &'a mut dyn FnMut(&MailboxName);

impl Store {
    /// The users who have an INBOX, in the order of their names.
    ///
    /// # Errors
    /// The mailbox list cannot be read.
    pub fn users(&self) -> Result<Vec<String>, MailboxError> {
        let rows = self.rows()?.into_iter();
        let inboxes = rows.filter(|(name, row)| name.is_user_inbox() && row.mbtype.is_usable());
        Ok(inboxes.filter_map(|(name, _)| name.owner()).collect())
    }

    /// Calls `each` with every row of a user's conversations database; returns false if he has none.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn dump_conversations(
        &self,
        userid: &str,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<bool, MailboxError> {
        let _namespace = self.lock_user(userid)?;
        let Some(path) = self.conversations_path(userid)? else {
            return Ok(false);
        };
        if self.disk().try_stat(&path)?.is_none() {
            return Ok(false);
        }
        let engine = self.options().databases.conversations;
        let mut db = self.databases().open(&path, engine, Create::No)?;
        db.scan(b"", &mut |key, value| {
            each(key, value);
            ControlFlow::Continue(())
        })?;
        Ok(true)
    }

    /// Replaces all rows of a user's conversations database; returns false if he cannot have one.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn restore_conversations(
        &self,
        userid: &str,
        rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<bool, MailboxError> {
        let _namespace = self.lock_user(userid)?;
        let Some(path) = self.conversations_path(userid)? else {
            return Ok(false);
        };
        let engine = self.options().databases.conversations;
        let mut db = self.databases().open(&path, engine, Create::Yes)?;
        let mut old = Vec::new();
        db.scan(b"", &mut |key, _| {
            old.push(key.to_vec());
            ControlFlow::Continue(())
        })?;
        let mut txn = db.begin()?;
        for key in old {
            txn.remove(&key)?;
        }
        for (key, value) in rows {
            txn.put(&key, &value)?;
        }
        txn.commit()?;
        Ok(true)
    }

    /// Counts all messages of a user anew in the conversations that they belong to. A database of an older version becomes
    /// one of today's.
    ///
    /// # Errors
    /// A mailbox or the database cannot be read or written. What was counted by then may have been written: do it again.
    pub fn recount_conversations(&self, userid: &str, each: EachMailbox<'_>) -> Result<(), MailboxError> {
        let _namespace = self.lock_user(userid)?;
        let Some(mut conversations) = self.conversations(Some(userid))? else {
            return Ok(());
        };
        self.count_all(&mut conversations, userid, each)?;
        conversations.commit().map(drop)
    }

    /// Takes all messages of a user out of their conversations, in the indexes, too. Message ids stay known.
    ///
    /// # Errors
    /// A mailbox or the database cannot be read or written.
    pub fn clear_conversations(&self, userid: &str) -> Result<(), MailboxError> {
        let _namespace = self.lock_user(userid)?;
        for entry in self.mailboxes_of(userid)? {
            let mut write = self.hold(&entry)?;
            for number in 0..write.records() {
                let Some(old) = write.record(number)? else { break };
                if old.cid != 0 && !old.is_unlinked() {
                    let mut new = old.clone();
                    new.cid = 0;
                    new.flags &= !Record::SPLITCONVERSATION;
                    write.change(number, &old, new);
                }
            }
            let (id, _) = entry.storage()?;
            write.commit(&entry.name, id)?;
        }
        Ok(())
    }

    /// Gives a conversation to every message of a user that has none, as if it arrived now.
    ///
    /// # Errors
    /// A mailbox or the database cannot be read or written.
    pub fn build_conversations(&self, userid: &str, splitting: Splitting) -> Result<(), MailboxError> {
        let _namespace = self.lock_user(userid)?;
        for entry in self.mailboxes_of(userid)? {
            let mut write = self.hold(&entry)?;
            let (id, _) = entry.storage()?;
            let place = Place {
                id,
                name: &entry.name,
            };
            write.build_conversations(&place, splitting)?;
            write.commit(&entry.name, id)?;
        }
        Ok(())
    }

    /// Counts all messages of a user in a copy of his database, which is made beside it or in `folder`, and returns what
    /// differs. Rows of message ids are not compared: nothing tells what they have to be.
    ///
    /// # Errors
    /// A mailbox or the database cannot be read, or the copy not be written.
    pub fn audit_conversations(
        &self,
        userid: &str,
        folder: Option<&Path>,
        each: EachMailbox<'_>,
    ) -> Result<Vec<ConversationDifference>, MailboxError> {
        let _namespace = self.lock_user(userid)?;
        let Some(live) = self.conversations_path(userid)? else {
            return Ok(Vec::new());
        };
        if self.disk().try_stat(&live)?.is_none() {
            return Ok(Vec::new());
        }
        let name = format!("{userid}.conversations.audit.{}", std::process::id());
        let folder = folder.or(live.parent()).unwrap_or(Path::new("."));
        let copy = folder.join(name);
        let audited = self.audit_copy(userid, &live, &copy, each);
        self.databases().close_idle();
        self.disk().unlink_if_exists(&copy)?;
        audited
    }

    fn audit_copy(
        &self,
        userid: &str,
        live: &Path,
        copy: &Path,
        each: EachMailbox<'_>,
    ) -> Result<Vec<ConversationDifference>, MailboxError> {
        let engine = self.options().databases.conversations;
        db::archive(self.databases().context(), live, engine, copy)?;
        let mut counted = Conversations::open(self, userid, copy)?;
        self.count_all(&mut counted, userid, each)?;
        let mut db = self.databases().open(live, engine, Create::No)?;
        let mut differences = BTreeMap::new();
        let mut rows = counted.rows(b"")?;
        db.scan(b"", &mut |key, value| {
            let counted = rows.remove(key);
            if let Some(difference) = difference(key, value, counted) {
                differences.insert(key.to_vec(), difference);
            }
            ControlFlow::Continue(())
        })?;
        for (key, value) in rows {
            let difference = ConversationDifference {
                key: key.clone(),
                live: None,
                counted: Some(value),
            };
            if !key.starts_with(b"<") {
                differences.insert(key, difference);
            }
        }
        Ok(differences.into_values().collect())
    }

    /// Forgets the message ids of a user that were last seen in a new conversation before this time, Unix seconds; with
    /// `keep_existing`, only those whose conversations have no messages any more.
    ///
    /// # Errors
    /// The database cannot be read or written.
    pub fn prune_conversations(
        &self,
        userid: &str,
        before: u64,
        keep_existing: bool,
    ) -> Result<Pruned, MailboxError> {
        let _namespace = self.lock_user(userid)?;
        let mut pruned = Pruned::default();
        let Some(path) = self.conversations_path(userid)? else {
            return Ok(pruned);
        };
        if self.disk().try_stat(&path)?.is_none() {
            return Ok(pruned);
        }
        let mut conversations = Conversations::open(self, userid, &path)?;
        for (key, value) in conversations.rows(b"<")? {
            pruned.seen += 1;
            let Ok(row) = MessageIdRow::parse(&value) else {
                continue;
            };
            let mut is_kept = row.time >= before;
            for cid in row.cids.iter().filter(|_| keep_existing) {
                is_kept = is_kept || conversations.get(&conversation_key(*cid))?.is_some();
            }
            if !is_kept {
                pruned.removed += 1;
                conversations.remove(key);
            }
        }
        conversations.commit()?;
        Ok(pruned)
    }

    /// Whether every mailbox has one number in a user's conversations database.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn conversation_folders_are_unique(&self, userid: &str) -> Result<bool, MailboxError> {
        let mut folders = Ok(Vec::new());
        self.dump_conversations(userid, &mut |key, value| {
            if key == FOLDER_IDS || key == FOLDER_NAMES {
                folders = parse_folders(value);
            }
        })?;
        let path = self.conversations_path(userid)?.unwrap_or_default();
        let mut folders = folders.map_err(|fault| MailboxError::damaged(&path, fault))?;
        folders.retain(|folder| folder != NO_FOLDER);
        let all = folders.len();
        folders.sort_unstable();
        folders.dedup();
        Ok(folders.len() == all)
    }

    fn lock_user(&self, userid: &str) -> Result<Guard, MailboxError> {
        let path = self.options().namespace_lock_path(Some(userid));
        Ok(self.locks().lock_file(&path, Mode::Exclusive, self.wait())?)
    }

    /// The database of a user, whether it exists or not; none if he has no INBOX.
    fn conversations_path(&self, userid: &str) -> Result<Option<PathBuf>, MailboxError> {
        match self.has_conversations(userid)? {
            true => self.user_file(userid, "conversations").map(Some),
            false => Ok(None),
        }
    }

    fn mailboxes_of(&self, userid: &str) -> Result<Vec<Arc<MailboxEntry>>, MailboxError> {
        let inbox = MailboxName::inbox_of(userid)?;
        let mut mailboxes: Vec<_> = self.lookup(&inbox)?.into_iter().collect();
        mailboxes.extend(self.tree_below(&inbox)?);
        mailboxes.retain(|entry| entry.mbtype.is_usable());
        Ok(mailboxes)
    }

    fn count_all(
        &self,
        conversations: &mut Conversations,
        userid: &str,
        each: EachMailbox<'_>,
    ) -> Result<(), MailboxError> {
        conversations.zero()?;
        for entry in self.mailboxes_of(userid)? {
            each(&entry.name);
            let write = self.hold(&entry)?;
            let (id, _) = entry.storage()?;
            let place = Place {
                id,
                name: &entry.name,
            };
            write.count_in_conversations(conversations, &place)?;
        }
        conversations.remove_empty()
    }
}

impl IndexWrite {
    fn count_in_conversations(
        &self,
        conversations: &mut Conversations,
        place: &Place<'_>,
    ) -> Result<(), MailboxError> {
        self.each_record(&mut |record, facts| {
            conversations.change(place, None, Some(record), facts, &|record, flag| {
                self.has_flag(record, flag)
            })
        })
    }
}

impl Conversations {
    /// Forgets all counts, and keeps what cannot be counted: message ids, subjects, modification sequences.
    fn zero(&mut self) -> Result<(), MailboxError> {
        let wipe = std::mem::take(&mut self.by_name);
        if wipe {
            self.folders.clear();
        }
        for (key, value) in self.rows(b"")? {
            match key.first() {
                _ if wipe => self.remove(key),
                Some(b'B') => match Conversation::parse(&value) {
                    Ok(old) => {
                        let zeroed = Conversation {
                            modseq: old.modseq,
                            createdmodseq: old.createdmodseq,
                            subject: old.subject,
                            ..Conversation::new()
                        };
                        self.put(key, zeroed.to_bytes());
                    }
                    Err(_) => self.remove(key),
                },
                Some(b'F') => match FolderStatus::parse(&value) {
                    Ok(old) => {
                        let zeroed = FolderStatus {
                            threadmodseq: old.threadmodseq,
                            ..FolderStatus::default()
                        };
                        self.put(key, zeroed.to_bytes());
                    }
                    Err(_) => self.remove(key),
                },
                Some(b'G' | b'Q') => self.remove(key),
                _ => {}
            }
        }
        let flags = self.store.options().conversation_limits.counted_flags.clone();
        if !flags.is_empty() {
            self.put(COUNTED_FLAGS.to_vec(), flags.clone().into_bytes());
        }
        let flags = flags.split(' ').filter(|flag| !flag.is_empty());
        self.counted = flags.take(MAX_COUNTED).map(str::to_owned).collect();
        self.find_trash()
    }

    /// Removes the conversations that have no message.
    fn remove_empty(&mut self) -> Result<(), MailboxError> {
        for (key, value) in self.rows(b"B")? {
            let is_empty = Conversation::parse(&value).is_ok_and(|row| row.num_records == 0);
            if is_empty && cid_of_key(&key).is_some() {
                self.remove(key);
            }
        }
        Ok(())
    }
}

/// What is wrong with a row, if it is not what was counted. What depends on messages that are gone is taken from it:
/// modification sequences, when a sender was last seen, and under which of its dates a message is known.
fn difference(key: &[u8], live: &[u8], counted: Option<Vec<u8>>) -> Option<ConversationDifference> {
    let same = match (key.first(), &counted) {
        (Some(b'<' | b'$'), _) => true,
        // A message without conversation is listed or not.
        (Some(b'G'), None) => GuidRow::parse(live).is_ok_and(|row| row.cid == 0),
        // Cyrus has the flag of archived messages also among those of clients, as long as it does not count anew.
        (Some(b'G'), Some(counted)) => match (GuidRow::parse(live), GuidRow::parse(counted)) {
            (Ok(live), Ok(counted)) => live == counted,
            _ => false,
        },
        (Some(b'Q'), None) => EmailQuota::parse(live).is_ok_and(|quota| quota == EmailQuota::default()),
        (Some(b'F'), None) => FolderStatus::parse(live).is_ok_and(|row| row.threadexists == 0),
        (Some(b'F'), Some(counted)) => match (FolderStatus::parse(live), FolderStatus::parse(counted)) {
            (Ok(live), Ok(mut counted)) => {
                counted.threadmodseq = counted.threadmodseq.max(live.threadmodseq);
                // Copies that are unseen elsewhere are counted one by one as they come.
                counted.emailunseen = live.emailunseen;
                live == counted
            }
            _ => false,
        },
        (Some(b'B'), Some(counted)) => match (Conversation::parse(live), Conversation::parse(counted)) {
            (Ok(live), Ok(counted)) => same_conversation(&live, counted),
            _ => false,
        },
        (_, counted) => counted.as_deref() == Some(live),
    };
    (!same).then(|| ConversationDifference {
        key: key.to_vec(),
        live: Some(live.to_vec()),
        counted,
    })
}

fn same_conversation(live: &Conversation, mut counted: Conversation) -> bool {
    counted.version = live.version;
    counted.modseq = counted.modseq.max(live.modseq);
    for folder in &mut counted.folders {
        let known = live.folders.iter().find(|known| known.number == folder.number);
        folder.modseq = folder.modseq.max(known.map_or(0, |known| known.modseq));
    }
    let mut live = live.clone();
    for conversation in [&mut live, &mut counted] {
        conversation
            .thread
            .iter_mut()
            .for_each(|item| item.internaldate = 0);
        conversation.thread.sort_by_key(|item| item.guid);
        for sender in &mut conversation.senders {
            (sender.name, sender.route, sender.lastseen) = (None, None, 0);
            sender.mailbox.make_ascii_lowercase();
            sender.domain.make_ascii_lowercase();
        }
        conversation
            .senders
            .sort_by(|a, b| (&a.domain, &a.mailbox).cmp(&(&b.domain, &b.mailbox)));
    }
    live == counted
}
