//! Appending messages.

use std::sync::Arc;

use cyrus_acl::Rights;

use super::Mailbox;
use crate::annotate::AnnotationUpdate;
use crate::commit::{AppendRequest, Incoming, Target};
use crate::error::MailboxError;
use crate::flags::{FlagNames, SystemFlags};
use crate::format::quota::Usage;
use crate::quota::QuotaPolicy;
use crate::staging::{Staged, StagingFile};
use crate::store::now;
use crate::uid::{Uid, UidValidity};

/// A message to be appended, with its flags and date.
#[derive(Clone, Debug)]
pub struct NewMessage {
    content: Content,
    flags: FlagNames,
    internal_date: Option<i64>,
    annotations: Vec<AnnotationUpdate>,
}

#[derive(Clone, Debug)]
enum Content {
    Bytes(Arc<[u8]>),
    Staged(Staged),
}

impl NewMessage {
    /// A message that is in memory.
    pub fn from_bytes(message: impl Into<Arc<[u8]>>) -> Self {
        Self {
            content: Content::Bytes(message.into()),
            flags: FlagNames::default(),
            internal_date: None,
            annotations: Vec::new(),
        }
    }

    /// A message that was received piece by piece.
    pub fn from_staged(message: Staged) -> Self {
        Self {
            content: Content::Staged(message),
            flags: FlagNames::default(),
            internal_date: None,
            annotations: Vec::new(),
        }
    }

    /// With these flags; those that the user may not set are left out.
    #[must_use]
    pub fn flags(mut self, flags: FlagNames) -> Self {
        self.flags = flags;
        self
    }

    /// With this date, Unix seconds, instead of that of now.
    #[must_use]
    pub fn internal_date(mut self, seconds: i64) -> Self {
        self.internal_date = Some(seconds);
        self
    }

    /// With these annotations; that the user may not make one of them fails the append.
    #[must_use]
    pub fn annotations(mut self, annotations: Vec<AnnotationUpdate>) -> Self {
        self.annotations = annotations;
        self
    }
}

/// One message alone is a list of messages, too.
impl IntoIterator for NewMessage {
    type Item = Self;
    type IntoIter = std::iter::Once<Self>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self)
    }
}

/// Messages that were appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// UIDVALIDITY of the mailbox.
    pub uidvalidity: UidValidity,
    /// The UIDs that they got, in their order.
    pub uids: Vec<Uid>,
}

impl Mailbox {
    /// Checks that the user may append here, and that `size` octets more in `messages` messages would fit, before they
    /// are sent.
    ///
    /// # Errors
    /// He may not, or they would not.
    pub fn check_append(&mut self, size: u64, messages: u32) -> Result<(), MailboxError> {
        self.refresh_entry()?;
        self.require(Rights::INSERT)?;
        let limit = self.store.options().max_message_size;
        if limit > 0 && size > limit {
            return Err(MailboxError::TooLarge { size, limit });
        }
        let Some((root, quota)) = self.store.nearest_quota(&self.entry.name)? else {
            return Ok(());
        };
        let usage = Usage([i64::try_from(size).unwrap_or(i64::MAX), i64::from(messages), 0, 0]);
        crate::quota::check_room(&root, &quota, usage, QuotaPolicy::Store)
    }

    /// Begins to receive a message that is to be appended here.
    ///
    /// # Errors
    /// The mailbox has no place on disk.
    pub fn stage(&self) -> Result<StagingFile, MailboxError> {
        let (_, partition) = self.entry.storage()?;
        self.store.stage_on(partition)
    }

    /// Appends messages, all or none.
    ///
    /// On return the files, the index and the new UIDs are on stable storage; after a crash earlier than that the
    /// mailbox is as it was. Appends that wait for the same disk at the same time share its syncs.
    ///
    /// # Errors
    /// The user may not, the quota has no room, a message cannot be held by a mailbox, or the system failed.
    pub fn append(
        &mut self,
        messages: impl IntoIterator<Item = NewMessage>,
    ) -> Result<Appended, MailboxError> {
        self.refresh_entry()?;
        self.require(Rights::INSERT)?;
        let now = now();
        let mut incoming = Vec::new();
        for message in messages {
            let staged = match message.content {
                Content::Bytes(bytes) => self.store.staged(bytes)?,
                Content::Staged(staged) => staged,
            };
            let date = message
                .internal_date
                .map_or(now, |date| u32::try_from(date.max(0)).unwrap_or(u32::MAX));
            let mut one = Incoming::new(staged, self.permitted(message.flags), date);
            one.annotations = self.checked_annotations(&message.annotations)?;
            one.annotations.retain(|annotation| annotation.octets() > 0);
            incoming.push(one);
        }
        let request = AppendRequest {
            target: self.target(),
            messages: incoming,
            policy: QuotaPolicy::Store,
        };
        let outcome = self.store.append_all(vec![request]).pop();
        let appends = outcome.ok_or_else(|| MailboxError::internal("an append had no outcome"))??;
        Ok(Appended {
            uidvalidity: appends.uidvalidity,
            uids: appends.uids,
        })
    }

    /// The mailbox as the target of an append by its user.
    pub(super) fn target(&self) -> Target {
        Target {
            hot: self.hot.clone(),
            name: self.entry.name.clone(),
            id: self.id.clone(),
            owner: self.owner.clone(),
            seen_by: (!self.is_owner && !self.auth.is_system()).then(|| self.auth.userid().to_owned()),
        }
    }

    /// Those flags that the user may set.
    pub(super) fn permitted(&self, mut flags: FlagNames) -> FlagNames {
        if !self.rights.contains(Rights::SEEN) {
            flags.system = flags.system.without(SystemFlags::SEEN);
        }
        if !self.rights.contains(Rights::DELETE_MESSAGES) {
            flags.system = flags.system.without(SystemFlags::DELETED);
        }
        if !self.rights.contains(Rights::WRITE) {
            flags.system = flags.system.only(SystemFlags::SEEN | SystemFlags::DELETED);
            flags.keywords.clear();
        }
        flags
    }
}
