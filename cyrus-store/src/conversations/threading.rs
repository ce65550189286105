//! Which conversation a new message joins.

use super::facts::{Facts, Found};
use super::maintain::Splitting;
use super::update::{FlagWords, Place};
use super::{Conversations, MailboxError};
use crate::MailboxKind;
use crate::flags::SystemFlags;
use crate::format::annotation::key;
use crate::format::conversations::{Conversation, MessageIdRow};
use crate::format::index::Record;
use crate::ident::Guid;
use crate::mboxlist::CreateOptions;
use crate::name::MailboxName;
use crate::store::{Store, now};

/// What became of a message that was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Added {
    /// The conversation that it would belong to, had it not become too long.
    pub(crate) split_from: Option<u64>,
}

impl Conversations {
    /// Adds a new message: gives its record a conversation, if it has none, and counts it.
    ///
    /// A message joins the conversation of a copy of it; else, of those that the message ids it names belong to, one with
    /// the same subject; else it begins a new one. In a conversation that is full it goes on in another, which its
    /// successors will join, too.
    ///
    /// # Errors
    /// There are too many copies already; nothing was changed then.
    pub(crate) fn add(
        &mut self,
        place: &Place<'_>,
        record: &mut Record,
        facts: &Facts<'_>,
        flags: FlagWords<'_>,
    ) -> Result<Added, MailboxError> {
        self.check_copies(place, record)?;
        let (conversation, added) = self.assign(record, facts, Splitting::Allowed)?;
        self.change_in(place, Some(conversation), None, Some(record), Some(facts), flags)?;
        Ok(added)
    }

    /// Gives a record a conversation, if it has none, which is returned as it is before the message is counted.
    pub(crate) fn assign(
        &mut self,
        record: &mut Record,
        facts: &Facts<'_>,
        splitting: Splitting,
    ) -> Result<(Conversation, Added), MailboxError> {
        let subject = facts.subject();
        let (ids, joined) = self.known_ids(facts, &subject)?;
        let mut is_kept = record.cid != 0;
        if !is_kept {
            let copies = self.messages(record.guid)?;
            if let Some((_, row)) = copies.first() {
                record.cid = row.cid;
                is_kept = true;
            }
        }
        if record.cid == 0 {
            record.cid = joined.unwrap_or_else(|| new_cid(record.guid));
        }
        let base = record.cid;
        let mut conversation = self.conversation(base)?.unwrap_or_else(Conversation::new);
        let mut added = Added::default();
        let may_split = !is_kept && splitting == Splitting::Allowed;
        if may_split && self.is_full(&conversation) && new_cid(record.guid) != base {
            (record.cid, conversation) = self.continued(base, record.guid)?;
            record.flags |= Record::SPLITCONVERSATION;
            added.split_from = Some(base);
        }
        if conversation.subject.is_none() && !record.system_flags().contains(SystemFlags::DRAFT) {
            conversation.subject = Some(subject);
        }
        for (id, mut row) in ids {
            if !row.cids.contains(&base) {
                row.cids.push(base);
                row.time = u64::from(now());
                self.put(id, row.to_bytes());
            }
        }
        Ok((conversation, added))
    }

    /// Refuses a message of which there are too many copies.
    fn check_copies(&mut self, place: &Place<'_>, record: &Record) -> Result<(), MailboxError> {
        let limits = &self.store.options().conversation_limits;
        let [records, exists, in_folder] = [
            limits.max_guid_records,
            limits.max_guid_exists,
            limits.max_guid_in_folder,
        ];
        let folder = self.folder_name(place);
        let number = self.folders.iter().position(|known| known == folder);
        let number = number.and_then(|number| u32::try_from(number).ok());
        let is_there = |flags: u32| flags & (Record::EXPUNGED | SystemFlags::DELETED.bits()) == 0;
        let one = usize::from(is_there(record.flags));
        let mut found = [1, one, one];
        for (key, row) in self.messages(record.guid)? {
            found[0] += 1;
            if row.flags.is_none_or(is_there) {
                found[1] += 1;
                found[2] += usize::from(Some(key.folder) == number);
            }
        }
        if found
            .iter()
            .zip([records, exists, in_folder])
            .any(|(found, limit)| *found > limit)
        {
            return Err(MailboxError::Refused(TOO_MANY_COPIES.to_owned()));
        }
        Ok(())
    }

    /// The message ids of a message with their rows, and the newest conversation among those of them that it may join.
    #[allow(
        clippy::type_complexity,
        reason = "two results of one loop, taken apart at once"
    )]
    fn known_ids(
        &mut self,
        facts: &Facts<'_>,
        subject: &[u8],
    ) -> Result<(Vec<(Vec<u8>, MessageIdRow)>, Option<u64>), MailboxError> {
        let mut ids = Vec::new();
        let mut joined = None;
        for (id, found) in facts.message_ids() {
            let row = self.parsed(&id, MessageIdRow::parse)?.unwrap_or_default();
            for &cid in &row.cids {
                let known = self
                    .conversation(cid)?
                    .and_then(|conversation| conversation.subject);
                let same = known.is_none_or(|known| known == subject);
                if same || found == Found::InOurOwnField {
                    joined = joined.max(Some(cid));
                }
            }
            ids.push((id, row));
        }
        Ok((ids, joined))
    }

    fn is_full(&self, conversation: &Conversation) -> bool {
        let limit = self.store.options().conversation_limits.max_thread;
        conversation.exists >= limit
    }

    /// The conversation in which a full one goes on.
    fn continued(&mut self, base: u64, guid: Guid) -> Result<(u64, Conversation), MailboxError> {
        let known = self.splits.iter().rev().find(|(from, _)| *from == base);
        let known = match known {
            Some(&(_, to)) => Some(to),
            None => self.store.continuation(&self.owner, base)?,
        };
        if let Some(cid) = known {
            let conversation = self.conversation(cid)?.unwrap_or_else(Conversation::new);
            if !self.is_full(&conversation) {
                return Ok((cid, conversation));
            }
        }
        let cid = new_cid(guid);
        self.splits.push((base, cid));
        let conversation = self.conversation(cid)?.unwrap_or_else(Conversation::new);
        Ok((cid, conversation))
    }
}

/// The conversation that a message begins.
fn new_cid(guid: Guid) -> u64 {
    let first = guid.0.first_chunk::<8>().copied().unwrap_or_default();
    match u64::from_be_bytes(first) ^ CID_MASK {
        0 => 1,
        cid => cid,
    }
}

impl Store {
    /// In which conversation a full one of this user goes on.
    fn continuation(&self, owner: &str, base: u64) -> Result<Option<u64>, MailboxError> {
        let name = split_mailbox(owner)?;
        let Some(id) = self.lookup(&name)?.and_then(|entry| entry.id.clone()) else {
            return Ok(None);
        };
        let value = self.stored_annotation(&key(id.as_str(), &split_entry(base), ""))?;
        let text = value.and_then(|value| String::from_utf8(value).ok());
        Ok(text.and_then(|text| u64::from_str_radix(&text, 16).ok()))
    }

    /// Notes in which conversations full ones go on: annotations of a mailbox that holds nothing else.
    ///
    /// The caller holds the user's namespace lock and no other.
    pub(crate) fn note_splits(&self, owner: &str, splits: &[(u64, u64)]) -> Result<(), MailboxError> {
        if splits.is_empty() {
            return Ok(());
        }
        let name = split_mailbox(owner)?;
        if self.lookup(&name)?.is_none() {
            let options = CreateOptions {
                kind: MailboxKind::Collection,
                ..CreateOptions::default()
            };
            self.create_one(&name, &options, &cyrus_acl::AuthState::system())?;
        }
        for (base, cid) in splits {
            let entry = self.lookup(&name)?.ok_or(MailboxError::NotFound)?;
            let value = format!("{cid:016x}");
            self.annotate_mailbox(&entry, &[(&split_entry(*base), "", Some(value.as_bytes()))])?;
        }
        Ok(())
    }
}

fn split_mailbox(owner: &str) -> Result<MailboxName, MailboxError> {
    let inbox = MailboxName::inbox_of(owner)?;
    Ok(MailboxName::parse(&format!(
        "{}.{SPLIT_MAILBOX}",
        inbox.as_str()
    ))?)
}

fn split_entry(base: u64) -> String {
    format!("{ENTRIES}newcid/{base:016x}")
}

/// The entry of a message's annotation that names the conversation it would belong to.
pub(crate) const BASE_ENTRY: &str = "/vendor/cmu/cyrus-imapd/basethrid";
const ENTRIES: &str = "/vendor/cmu/cyrus-imapd/";
const SPLIT_MAILBOX: &str = "#splitconversations";
/// What distinguishes the number of a conversation from the GUID of its first message.
const CID_MASK: u64 = 0x91f3_d9e1_0b69_0b12;
/// What Cyrus says then.
const TOO_MANY_COPIES: &str = "Too many identical emails";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_gives_a_conversation_its_number() {
        let mut guid = Guid::default();
        guid.0[..8].copy_from_slice(&0xe00c_6cb0_5103_91c5_u64.to_be_bytes());
        assert_eq!(new_cid(guid), 0x71ff_b551_5a6a_9ad7);
        guid.0[..8].copy_from_slice(&CID_MASK.to_be_bytes());
        assert_eq!(new_cid(guid), 1);
    }
}
