//! What a change of an index record changes in the database of conversations.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use super::facts::Facts;
use super::{Conversations, MailboxError};
use crate::flags::SystemFlags;
use crate::format::conversations::{
    Conversation, ConversationFolder, EmailQuota, GuidKey, GuidRow, QUOTA, Sender, ThreadItem,
};
use crate::format::index::Record;
use crate::ident::{Guid, MailboxId};
use crate::message::{EnvelopeAddress, decode_header};
use crate::name::MailboxName;

/// The mailbox that a change is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) id: &'a MailboxId,
    pub(crate) name: &'a MailboxName,
}

/// Which of the counted flags a record has: a bit for each.
pub(crate) type FlagWords<'a> = &'a dyn Fn(&Record, &str) -> bool;

/// How often a message (by its GUID) is there.
#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    records: u32,
    exists: u32,
    unseen: u32,
    here: u32,
    here_exists: u32,
    here_unseen: u32,
}

/// The copies of a message before and after a change.
#[derive(Clone, Debug, Default)]
struct Emails {
    folder: u32,
    before: Copies,
    after: Copies,
    /// Mailboxes in which a copy exists.
    exists_in: BTreeSet<u32>,
}

/// The difference of two counts of which only zero and not zero matter.
fn appeared(before: u32, after: u32) -> i64 {
    i64::from(after > 0) - i64::from(before > 0)
}

/// Adds to a count that never gets below zero.
fn add(count: &mut u32, delta: i64) {
    *count = match u32::try_from(delta) {
        // Octets of very large conversations wrap, as Cyrus has it.
        Ok(more) => count.wrapping_add(more),
        Err(_) => count.saturating_sub(u32::try_from(delta.unsigned_abs()).unwrap_or(u32::MAX)),
    };
}

/// Whether a message counts as existing.
pub(super) fn exists(flags: u32) -> bool {
    flags & (Record::EXPUNGED | SystemFlags::DELETED.bits()) == 0
}

fn is_unseen(flags: u32) -> bool {
    flags & (SystemFlags::SEEN.bits() | SystemFlags::DRAFT.bits()) == 0
}

impl Conversations {
    /// Takes over a change of a record that keeps its conversation: nothing becomes something when a message is added
    /// with its conversation known, something becomes nothing when it goes.
    ///
    /// `facts` may be missing for messages whose files are damaged: then sender and parts are left as they are.
    pub(crate) fn change(
        &mut self,
        place: &Place<'_>,
        old: Option<&Record>,
        new: Option<&Record>,
        facts: Option<&Facts<'_>>,
        flags: FlagWords<'_>,
    ) -> Result<(), MailboxError> {
        // Unlinked messages are as good as gone.
        let old = old.filter(|record| !record.is_unlinked());
        let new = new.filter(|record| !record.is_unlinked());
        if let (Some(before), Some(after)) = (old, new)
            && before.cid != after.cid
        {
            self.change(place, Some(before), None, facts, flags)?;
            return self.change(place, None, Some(after), facts, flags);
        }
        let Some(record) = new.or(old) else { return Ok(()) };
        let mut conversation = match record.cid {
            0 => None,
            cid => match self.conversation(cid)? {
                None if new.is_none() => None,
                found => Some(found.unwrap_or_else(Conversation::new)),
            },
        };
        if let Some(conversation) = &mut conversation
            && conversation.subject.is_none()
            && !record.system_flags().contains(SystemFlags::DRAFT)
        {
            conversation.subject = facts.map(Facts::subject);
        }
        self.change_in(place, conversation, old, new, facts, flags)
    }

    /// The same in a conversation that is at hand.
    pub(super) fn change_in(
        &mut self,
        place: &Place<'_>,
        conversation: Option<Conversation>,
        old: Option<&Record>,
        new: Option<&Record>,
        facts: Option<&Facts<'_>>,
        flags: FlagWords<'_>,
    ) -> Result<(), MailboxError> {
        let Some(record) = new.or(old) else { return Ok(()) };
        let folder = self.folder_name(place);
        let number = self.number(folder);
        let mut emails = Emails {
            folder: number,
            ..Emails::default()
        };
        emails.before = self.copies(record.guid, number, &mut emails.exists_in)?;
        let moved =
            |old: &Record, new: &Record| old.flags != new.flags || old.internaldate != new.internaldate;
        match (old, new) {
            (Some(old), Some(new)) if !moved(old, new) => {}
            (_, Some(new)) => self.set_guids(number, new, facts, true)?,
            (_, None) => self.set_guids(number, record, facts, false)?,
        }
        emails.after = self.copies(record.guid, number, &mut emails.exists_in)?;
        let delta_exists = appeared(emails.before.exists, emails.after.exists);
        let delta_size = delta_exists * i64::from(record.size);
        self.charge(delta_exists, delta_size)?;
        let Some(mut conversation) = conversation else {
            return Ok(());
        };
        conversation.counts.resize(self.counted.len(), 0);
        let counted = |record: Option<&Record>, flag: &str| {
            i64::from(record.is_some_and(|record| exists(record.flags) && flags(record, flag)))
        };
        for (count, flag) in conversation.counts.iter_mut().zip(&self.counted) {
            add(count, counted(new, flag) - counted(old, flag));
        }
        if let Some(facts) = facts {
            update_senders(&mut conversation, &facts.sender(), record.gmtime, delta_exists);
        }
        update_thread(
            &mut conversation,
            record.guid,
            record.internaldate.into(),
            delta_exists,
        );
        let modseq = old
            .map_or(0, |record| record.modseq)
            .max(new.map_or(0, |record| record.modseq));
        self.count(
            &mut conversation,
            &emails,
            delta_size,
            modseq,
            record.createdmodseq,
        )?;
        self.store_conversation(record.cid, &conversation);
        Ok(())
    }

    /// Takes a message without conversation into this one.
    pub(crate) fn move_to(
        &mut self,
        place: &Place<'_>,
        conversation: Conversation,
        old: &Record,
        new: &Record,
        facts: &Facts<'_>,
        flags: FlagWords<'_>,
    ) -> Result<(), MailboxError> {
        self.change_in(place, None, Some(old), None, Some(facts), flags)?;
        self.change_in(place, Some(conversation), None, Some(new), Some(facts), flags)
    }

    /// Counts the copies of a message.
    fn copies(
        &mut self,
        guid: Guid,
        folder: u32,
        exists_in: &mut BTreeSet<u32>,
    ) -> Result<Copies, MailboxError> {
        let trash = self.trash_number();
        let mut copies = Copies::default();
        for (key, row) in self.messages(guid)? {
            let here = key.folder == folder;
            copies.records += 1;
            copies.here += u32::from(here);
            if row.flags.is_some_and(|flags| !exists(flags)) {
                continue;
            }
            copies.exists += 1;
            copies.here_exists += u32::from(here);
            exists_in.insert(key.folder);
            if row.flags.is_none_or(is_unseen) {
                copies.unseen += u32::from(Some(key.folder) != trash);
                copies.here_unseen += u32::from(here);
            }
        }
        Ok(copies)
    }

    /// Where a message is, as long as it belongs to a conversation there.
    pub(super) fn messages(&mut self, guid: Guid) -> Result<Vec<(GuidKey, GuidRow)>, MailboxError> {
        let rows = self.rows(&GuidKey::prefix(guid))?;
        let parsed = rows.iter().filter_map(|(key, value)| {
            let key = GuidKey::parse(key).filter(|key| key.part.is_none())?;
            let row = GuidRow::parse(value).ok().filter(|row| row.cid != 0)?;
            Some((key, row))
        });
        Ok(parsed.collect())
    }

    /// Sets or removes the rows of a message and its parts.
    fn set_guids(
        &mut self,
        folder: u32,
        record: &Record,
        facts: Option<&Facts<'_>>,
        keep: bool,
    ) -> Result<(), MailboxError> {
        let row = GuidRow {
            cid: record.cid,
            flags: Some(record.flags),
            internaldate: record.internaldate.into(),
        };
        let value = row.to_bytes(self.by_name);
        let mut keys = vec![GuidKey {
            guid: record.guid,
            folder,
            uid: record.uid,
            part: None,
        }];
        if let Some(facts) = facts {
            let parts = facts.parts(&mut |part, sha1| {
                keys.push(GuidKey {
                    guid: Guid(sha1),
                    folder,
                    uid: record.uid,
                    part: Some(part.to_owned()),
                });
            });
            if let Err(damage) = parts {
                let what = format_args!(
                    "parts of a message in {} are not listed: {damage}",
                    self.path.display()
                );
                self.store.log().record(crate::log::Level::Warning, what);
            }
        }
        for key in keys {
            if keep {
                self.put(key.to_bytes(), value.clone());
            } else {
                self.remove(key.to_bytes());
            }
        }
        Ok(())
    }

    /// Counts messages and octets, each message once.
    fn charge(&mut self, emails: i64, octets: i64) -> Result<(), MailboxError> {
        if emails == 0 && octets == 0 {
            return Ok(());
        }
        let quota = self.quota()?;
        let quota = EmailQuota {
            emails: quota.emails.saturating_add_signed(emails),
            octets: quota.octets.saturating_add_signed(octets),
        };
        self.put(QUOTA.to_vec(), quota.to_bytes());
        Ok(())
    }

    /// Updates the counts of a conversation, and those of the mailboxes that have messages of it.
    fn count(
        &mut self,
        conversation: &mut Conversation,
        emails: &Emails,
        delta_size: i64,
        modseq: u64,
        createdmodseq: u64,
    ) -> Result<(), MailboxError> {
        let (before, after) = (emails.before, emails.after);
        let trash = self.trash_number();
        let is_trash = Some(emails.folder) == trash;
        let counts_copies = conversation.version < 1;
        let each = |before: u32, after: u32| {
            if counts_copies {
                i64::from(after) - i64::from(before)
            } else {
                appeared(before, after)
            }
        };
        let deltas = [
            each(before.records, after.records),
            each(before.exists, after.exists),
            each(before.unseen, after.unseen),
        ];
        let here = [
            each(before.here, after.here),
            each(before.here_exists, after.here_exists),
            each(before.here_unseen, after.here_unseen),
        ];
        let was_unseen = conversation.unseen;
        add(&mut conversation.num_records, deltas[0]);
        add(&mut conversation.exists, deltas[1]);
        add(&mut conversation.unseen, deltas[2]);
        add(&mut conversation.size, delta_size);
        conversation.modseq = conversation.modseq.max(modseq);
        if createdmodseq != 0
            && (conversation.createdmodseq == 0 || createdmodseq < conversation.createdmodseq)
        {
            conversation.createdmodseq = createdmodseq;
        }
        let folder = folder_of(conversation, emails.folder);
        let was = *folder;
        add(&mut folder.num_records, here[0]);
        add(&mut folder.exists, here[1]);
        add(&mut folder.unseen, here[2]);
        folder.modseq = folder.modseq.max(modseq);
        let now = *folder;

        let unseen = conversation.unseen;
        let change = Change {
            is_trash,
            here_exists: appeared(before.here_exists, after.here_exists),
            here_unseen: appeared(before.here_unseen, after.here_unseen),
            unseen: appeared(before.unseen, after.unseen),
            was_email_unseen: before.unseen > 0,
            is_email_unseen: after.unseen > 0,
            thread_exists: appeared(was.exists, now.exists),
            // Trash counts what is unseen in it, the others what is unseen elsewhere.
            was_thread_unseen: if is_trash { was.unseen > 0 } else { was_unseen > 0 },
            is_thread_unseen: if is_trash { now.unseen > 0 } else { unseen > 0 },
        };
        let folders = conversation.folders.clone();
        for folder in folders {
            let Some(name) = self.folder_of_number(folder.number) else {
                continue;
            };
            let mut status = self.status(&name)?;
            let known = status;
            if folder.number == emails.folder {
                change.count_here(&mut status, now.exists > 0);
            } else if !is_trash && Some(folder.number) != trash && folder.exists > 0 {
                if emails.exists_in.contains(&folder.number) {
                    add(&mut status.emailunseen, change.unseen);
                }
                add(&mut status.threadunseen, change.thread_unseen());
            }
            status.threadmodseq = status.threadmodseq.max(modseq);
            if status != known {
                self.store_status(&name, &status);
            }
        }
        Ok(())
    }
}

/// What happened to a message and its conversation, as far as mailboxes count it.
#[derive(Clone, Copy, Debug)]
struct Change {
    is_trash: bool,
    here_exists: i64,
    here_unseen: i64,
    unseen: i64,
    was_email_unseen: bool,
    is_email_unseen: bool,
    thread_exists: i64,
    was_thread_unseen: bool,
    is_thread_unseen: bool,
}

impl Change {
    fn thread_unseen(&self) -> i64 {
        i64::from(self.is_thread_unseen) - i64::from(self.was_thread_unseen)
    }

    /// Counts it in the mailbox where it happened, which has messages of the conversation now or not.
    fn count_here(&self, status: &mut super::FolderStatus, has_thread: bool) {
        add(&mut status.emailexists, self.here_exists);
        let unseen = match self.here_exists {
            _ if self.is_trash => self.here_unseen,
            1 => i64::from(self.is_email_unseen),
            -1 => -i64::from(self.was_email_unseen),
            _ => self.unseen,
        };
        add(&mut status.emailunseen, unseen);
        add(&mut status.threadexists, self.thread_exists);
        let thread_unseen = match self.thread_exists {
            1 => i64::from(self.is_thread_unseen),
            -1 => -i64::from(self.was_thread_unseen),
            _ if has_thread => self.thread_unseen(),
            _ => 0,
        };
        add(&mut status.threadunseen, thread_unseen);
    }
}

/// What a mailbox has of a conversation; mailboxes are in the order of their numbers.
fn folder_of(conversation: &mut Conversation, number: u32) -> &mut ConversationFolder {
    let folders = &mut conversation.folders;
    let at = match folders.binary_search_by_key(&number, |folder| folder.number) {
        Ok(at) => at,
        Err(at) => {
            let new = ConversationFolder {
                number,
                ..ConversationFolder::default()
            };
            folders.insert(at, new);
            at
        }
    };
    &mut folders[at]
}

/// Counts a message of a sender, and takes over how he writes himself.
pub(super) fn update_senders(
    conversation: &mut Conversation,
    address: &EnvelopeAddress<'_>,
    lastseen: u32,
    delta_exists: i64,
) {
    let (Some(mailbox), Some(domain)) = (address.mailbox, address.host) else {
        return;
    };
    let order = |sender: &Sender| {
        let domains = folded(&sender.domain).cmp(folded(domain));
        domains.then_with(|| folded(&sender.mailbox).cmp(folded(mailbox)))
    };
    let senders = &mut conversation.senders;
    let mut sender = match senders.iter().position(|sender| order(sender).is_eq()) {
        Some(at) => senders.remove(at),
        None => Sender::default(),
    };
    if delta_exists <= 0 && delta_exists.unsigned_abs() >= u64::from(sender.exists) {
        return;
    }
    add(&mut sender.exists, delta_exists);
    let is_new = sender.mailbox.is_empty() && sender.domain.is_empty();
    if sender.name.is_none() || better_name(sender.name.as_deref(), address.name) {
        sender.name = address.name.map(<[u8]>::to_vec);
    }
    // The one that comes first in the alphabet tends to have the capitals.
    if sender.route.is_none() || sender.route.as_deref() > address.route {
        sender.route = address.route.map(<[u8]>::to_vec);
    }
    if is_new || sender.mailbox.as_slice() > mailbox {
        sender.mailbox = mailbox.to_vec();
    }
    if is_new || sender.domain.as_slice() > domain {
        sender.domain = domain.to_vec();
    }
    sender.lastseen = sender.lastseen.max(lastseen);
    let before = |other: &Sender| match other.lastseen.cmp(&sender.lastseen) {
        Ordering::Less => false,
        Ordering::Equal => order(other).is_le(),
        Ordering::Greater => true,
    };
    let at = senders
        .iter()
        .position(|other| !before(other))
        .unwrap_or(senders.len());
    senders.insert(at, sender);
}

fn folded(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    text.iter().map(u8::to_ascii_lowercase)
}

/// Whether a name is better than the one that is known: one with letters that are not ASCII is likelier to be the name as
/// it is written, then the longer, then the one that comes first in the alphabet.
fn better_name(known: Option<&[u8]>, name: Option<&[u8]>) -> bool {
    let rank = |name: Option<&[u8]>| {
        let decoded = decode_header(name.unwrap_or_default());
        (!decoded.is_ascii(), decoded.len(), Reverse(decoded))
    };
    match rank(name).cmp(&rank(known)) {
        Ordering::Equal => name < known,
        order => order.is_gt(),
    }
}

/// Counts a message among those of a conversation, the oldest first.
pub(super) fn update_thread(
    conversation: &mut Conversation,
    guid: Guid,
    internaldate: u64,
    delta_exists: i64,
) {
    let thread = &mut conversation.thread;
    let at = thread.iter().position(|item| item.guid == guid);
    match at.and_then(|at| thread.get_mut(at)) {
        None if delta_exists <= 0 => return,
        None => thread.push(ThreadItem {
            guid,
            exists: u32::try_from(delta_exists).unwrap_or_default(),
            internaldate,
        }),
        Some(item) => {
            if i64::from(item.exists) + delta_exists <= 0 {
                thread.retain(|item| item.guid != guid);
                return;
            }
            add(&mut item.exists, delta_exists);
            // That of the copy which was changed last.
            item.internaldate = internaldate;
        }
    }
    thread.sort_by_key(|item| (item.internaldate, item.guid));
}
