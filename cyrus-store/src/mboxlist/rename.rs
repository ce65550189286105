//! Renaming mailboxes: whole trees, to other users, to other partitions, and whole users.

use std::sync::Arc;

use cyrus_acl::{Acl, AuthState, Identifier, Rights};

use super::MailboxEntry;
use super::create::CreateOptions;
use super::delete::{SPECIAL_USE_CONFLICT, UNSUPPORTED, whole_usage};
use super::files::EarlyCopies;
use super::rows::RowChange;
use crate::conversations::{Conversations, CounterKind, Place};
use crate::error::MailboxError;
use crate::format::quota::Usage;
use crate::ident::Partition;
use crate::mailbox::IndexWrite;
use crate::name::{MailboxName, NameError};
use crate::quota::{QuotaPolicy, check_room, owner_of_root};
use crate::store::{Store, now};
use crate::uid::ModSeq;

impl Store {
    /// Renames a mailbox and all below it, and returns the old and new name of each in the order in which it was done.
    ///
    /// With a partition, which is for administrators, the mailbox keeps its name and its files move. Renaming one's own
    /// INBOX moves its messages to a new mailbox and leaves it empty; mailboxes below it stay (RFC 3501, section 6.3.5).
    ///
    /// Each mailbox is renamed durably before the next one: after a crash the first ones may have their new names. A
    /// mailbox itself has one name or the other, with all its messages.
    ///
    /// # Errors
    /// [`MailboxError::PermissionDenied`] without `x` on the mailbox or `k` where it is to go; [`MailboxError::Exists`]
    /// if a mailbox has a name that is needed; [`MailboxError::OverQuota`]; [`MailboxError::Refused`] for what Cyrus
    /// does not do.
    pub fn rename(
        &self,
        from: &MailboxName,
        to: &MailboxName,
        partition: Option<Partition>,
        auth: &AuthState,
    ) -> Result<Vec<(MailboxName, MailboxName)>, MailboxError> {
        if let Some(partition) = &partition {
            if !auth.is_admin() {
                return Err(MailboxError::PermissionDenied);
            }
            if !self.options().partitions.contains_key(partition) {
                return Err(MailboxError::InvalidPartition);
            }
            if from != to {
                return Err(MailboxError::Refused(MOVE_AND_RENAME.to_owned()));
            }
        } else if from == to {
            self.visible(from, auth)?;
            return Err(
                if auth.is_admin() || from.owner().as_deref() == Some(auth.userid()) && from.is_user_inbox() {
                    MailboxError::Exists
                } else {
                    MailboxError::PermissionDenied
                },
            );
        }
        if from.is_user_inbox() && partition.is_none() {
            if from.owner().as_deref() == Some(auth.userid()) && !auth.is_system() {
                return self.rename_inbox(from, to, auth);
            }
            return self.rename_user(from, to, auth);
        }
        match partition {
            Some(partition) => self.move_tree(from, partition, auth),
            None => self.rename_tree(from, to, auth),
        }
    }

    fn rename_tree(
        &self,
        from: &MailboxName,
        to: &MailboxName,
        auth: &AuthState,
    ) -> Result<Vec<(MailboxName, MailboxName)>, MailboxError> {
        let _namespaces = self.lock_namespaces([from, to])?;
        let (entry, rights) = self.visible(from, auth)?;
        if !auth.is_admin() && !rights.contains(Rights::DELETE_MAILBOX) {
            return Err(if rights.contains(Rights::LOOKUP) {
                MailboxError::PermissionDenied
            } else {
                MailboxError::NotFound
            });
        }
        entry.storage()?;
        to.check_policy(&self.options().deleted_prefix)?;
        if from.is_ancestor_of(to) {
            return Err(MailboxError::Refused(
                "a mailbox cannot be moved below itself".to_owned(),
            ));
        }
        self.check_may_create(to, auth)?;
        // He may make one, not turn another mailbox into it.
        if to.is_user_inbox() && !auth.is_admin() {
            return Err(MailboxError::PermissionDenied);
        }
        if !auth.is_system() && !self.keeps_special_use(&entry, to)? {
            return Err(MailboxError::Refused(SPECIAL_USE_CONFLICT.to_owned()));
        }
        let mut mailboxes = vec![entry];
        mailboxes.extend(self.tree_below(from)?);
        mailboxes.retain(|mailbox| mailbox.mbtype.is_usable());
        let moves = self.targets(&mailboxes, from, to)?;
        self.check_room_for(&moves, auth)?;
        if to.owner().is_some() {
            for parent in self.missing_parents(to)? {
                self.create_one(&parent, &CreateOptions::default(), auth)?;
            }
        }
        let mut pairs = Vec::new();
        for (mailbox, target) in &moves {
            self.move_one(mailbox, target, None, None)?;
            pairs.push((mailbox.name.clone(), target.clone()));
        }
        Ok(pairs)
    }

    /// Moves a mailbox and all below it to another partition, while others work in them.
    ///
    /// Messages are copied while nothing is locked; what came since, and the index, while everybody waits.
    fn move_tree(
        &self,
        from: &MailboxName,
        partition: Partition,
        auth: &AuthState,
    ) -> Result<Vec<(MailboxName, MailboxName)>, MailboxError> {
        let (entry, _) = self.visible(from, auth)?;
        entry.storage()?;
        let mut mailboxes = vec![entry];
        mailboxes.extend(self.tree_below(from)?);
        mailboxes
            .retain(|mailbox| mailbox.mbtype.is_usable() && mailbox.partition.as_ref() != Some(&partition));
        if mailboxes.is_empty() {
            return Err(MailboxError::Exists);
        }
        let mut pairs = Vec::new();
        for mailbox in mailboxes {
            let name = mailbox.name.clone();
            if self.move_to_partition(&mailbox, &partition)? {
                pairs.push((name.clone(), name));
            }
        }
        Ok(pairs)
    }

    /// Moves one mailbox to another partition, and says whether it still was to be moved.
    fn move_to_partition(&self, known: &MailboxEntry, partition: &Partition) -> Result<bool, MailboxError> {
        let there = self.options().mailbox_paths(
            partition,
            known.storage()?.0,
            &known.name,
            known.mbtype.legacy_dirs,
        )?;
        let early = self.copy_messages_early(&self.paths_of(known)?, &there)?;
        let to = PartitionMove {
            partition: partition.clone(),
            early,
        };
        let _namespaces = self.lock_namespaces([&known.name])?;
        let entry = self
            .lookup(&known.name)?
            .filter(|entry| entry.id == known.id && entry.partition == known.partition);
        let moved = match &entry {
            Some(entry) => self.move_one(entry, &known.name, Some(&to), None).map(|_| true),
            None => Ok(false),
        };
        let is_there = matches!(moved, Ok(true))
            || self
                .lookup(&known.name)?
                .is_some_and(|entry| entry.id == known.id && entry.partition.as_ref() == Some(partition));
        if !is_there {
            self.remove_mailbox_files(&there);
        }
        moved
    }

    /// Gives a user another name, with all that is his: mailboxes, rights on them, quota roots, subscriptions and seen
    /// state.
    ///
    /// For administrators, where `allowusermoves` is on.
    fn rename_user(
        &self,
        from: &MailboxName,
        to: &MailboxName,
        auth: &AuthState,
    ) -> Result<Vec<(MailboxName, MailboxName)>, MailboxError> {
        let _namespaces = self.lock_namespaces([from, to])?;
        let (entry, _) = self.visible(from, auth)?;
        let same_domain = from.domain() == to.domain();
        if !auth.is_admin() || !to.is_user_inbox() || !self.options().allowusermoves || !same_domain {
            return Err(MailboxError::Refused(UNSUPPORTED.to_owned()));
        }
        to.check_policy(&self.options().deleted_prefix)?;
        self.check_may_create(to, auth)?;
        let identities = from.owner().zip(to.owner()).ok_or(NameError::Empty)?;
        let change = OwnerChange {
            from: identifier(&identities.0)?,
            to: identifier(&identities.1)?,
        };
        let mut mailboxes = vec![entry.clone()];
        mailboxes.extend(self.tree_below(from)?);
        mailboxes.retain(|mailbox| mailbox.mbtype.is_usable());
        let moves = self.targets(&mailboxes, from, to)?;
        let old_files = self.files_of_user(from, &entry);
        // The new roots have to be there before the first mailbox looks for its own.
        self.copy_quota_roots(from, to)?;
        // The INBOX last: as long as it is there, an interrupted renaming can be done again.
        for (mailbox, target) in moves.iter().skip(1).chain(moves.first()) {
            self.move_one(mailbox, target, None, Some(&change))?;
        }
        self.rename_user_files(&old_files, &self.files_of_user(to, &entry))?;
        self.remove_quota_roots(from)?;
        Ok(moves
            .into_iter()
            .map(|(mailbox, target)| (mailbox.name.clone(), target))
            .collect())
    }

    /// The new name of each mailbox of a tree, none of which is taken.
    fn targets(
        &self,
        mailboxes: &[Arc<MailboxEntry>],
        from: &MailboxName,
        to: &MailboxName,
    ) -> Result<Vec<(Arc<MailboxEntry>, MailboxName)>, MailboxError> {
        mailboxes
            .iter()
            .map(|mailbox| {
                let target = mailbox
                    .name
                    .moved(from, to)
                    .ok_or(too_long(MailboxName::MAX, MailboxName::MAX))?;
                let taken = from != to
                    && self
                        .lookup(&target)?
                        .is_some_and(|entry| !entry.mbtype.intermediate);
                if taken {
                    return Err(MailboxError::Exists);
                }
                if target.as_str().len() > MailboxName::MAX_CREATE && from != to {
                    return Err(too_long(target.as_str().len(), MailboxName::MAX_CREATE));
                }
                Ok((mailbox.clone(), target))
            })
            .collect()
    }

    /// Whether the quota roots at the new names have room for the mailboxes that come under them.
    fn check_room_for(
        &self,
        moves: &[(Arc<MailboxEntry>, MailboxName)],
        auth: &AuthState,
    ) -> Result<(), MailboxError> {
        if auth.is_system() {
            return Ok(());
        }
        let mut added: std::collections::BTreeMap<String, Usage> = std::collections::BTreeMap::new();
        for (mailbox, target) in moves {
            let Some((root, _)) = self.nearest_quota(target)? else {
                continue;
            };
            let write = self.hold(mailbox)?;
            if write.names().header.quota_root.as_deref() != Some(root.as_str()) {
                let sum = added.entry(root).or_default();
                *sum = sum.plus(whole_usage(&write));
            }
        }
        for (root, usage) in added {
            if let Some(quota) = self.read_quota(&root)? {
                check_room(&root, &quota, usage, QuotaPolicy::Store)?;
            }
        }
        Ok(())
    }

    /// Gives one mailbox another name, partition or owner, under the namespace locks, and returns its new entry.
    ///
    /// The order: what the new quota root counts more; a copy of the files, if they move; the rows, from which on it has
    /// the new name; header and index; what the old root counts less; the old files. A crash before the rows leaves the
    /// old mailbox and perhaps a copy that nothing refers to; one after them the new one, with a header that tells the
    /// old name (which nothing believes), or old files. A quota root may count the mailbox too much, never too little.
    pub(crate) fn move_one(
        &self,
        entry: &MailboxEntry,
        to: &MailboxName,
        partition: Option<&PartitionMove>,
        owner: Option<&OwnerChange>,
    ) -> Result<MailboxEntry, MailboxError> {
        let mut write = self.hold(entry)?;
        let old_root = write.names().header.quota_root.clone();
        let quota_modseq = match &old_root {
            Some(root) if to.is_deleted(&self.options().deleted_prefix) => {
                self.next_quota_modseq(&mut write, root)?
            }
            _ => None,
        };
        let modseq = write.next_modseq();
        let mut moved = MailboxEntry {
            name: to.clone(),
            folder_modseq: ModSeq(modseq),
            mtime: i64::from(now()),
            ..entry.clone()
        };
        if let Some(to) = partition {
            moved.partition = Some(to.partition.clone());
        }
        if let Some(change) = owner {
            change.apply(&mut moved.acl);
        }
        let usage = whole_usage(&write);
        // Before the rows: the files of a user who is renamed are found by his INBOX.
        let (old_usage, joining) = self.change_hands(&mut write, entry, &moved, owner.is_some())?;
        let new_root = if to.is_deleted(&self.options().deleted_prefix) {
            None
        } else {
            self.nearest_quota(to)?.map(|(root, _)| root)
        };
        let mut header = write.names().header.clone();
        header.mbtype = moved.mbtype.to_string();
        header.name = to.as_str().to_owned();
        header.acl = self.acl_pairs(&moved.acl);
        header.quota_root.clone_from(&new_root);
        write.set_names(header);
        if let Some(root) = &new_root
            && old_root != new_root
        {
            self.count_more(root, usage)?;
        }
        let (old_paths, new_paths) = (self.paths_of(entry)?, self.paths_of(&moved)?);
        let change = if entry.name == *to {
            RowChange::Update(&moved)
        } else {
            RowChange::Rename {
                from: &entry.name,
                to: &moved,
            }
        };
        let id = entry.id.clone().ok_or(MailboxError::NotFound)?;
        let stays = old_paths.index == new_paths.index && old_paths.data == new_paths.data;
        let done = if stays {
            write
                .make_room()
                .and_then(|()| self.commit_rows(&[change]))
                .and_then(|()| write.commit(to, &id))
        } else {
            let early = partition.map(|to| &to.early);
            self.copy_mailbox_files(&old_paths, &new_paths, early)
                .and_then(|()| self.place_archived(&write, &old_paths, &new_paths))
                .and_then(|()| self.place_index(&mut write, &new_paths))
                .and_then(|()| self.commit_rows(&[change]))
                .and_then(|()| self.finish_old(write, to, entry))
        };
        if let Err(error) = done {
            let is_moved = self
                .lookup(to)?
                .is_some_and(|found| found.id == entry.id && found.folder_modseq == moved.folder_modseq);
            if !is_moved {
                if !stays {
                    self.remove_mailbox_files(&new_paths);
                }
                if let Some(root) = &new_root
                    && old_root != new_root
                {
                    self.charge_quota(root, usage.negated())?;
                }
            }
            return Err(error);
        }
        if let Some(joining) = joining
            && let Err(error) = joining.commit()
        {
            self.report(
                &format!("conversations do not know mailbox {to}; run `ctl_conversationsdb -R`"),
                &error,
            );
        }
        if to.is_deleted(&self.options().deleted_prefix) {
            self.count_deleted(entry, modseq)?;
        }
        if let Some(root) = &old_root
            && old_root != new_root
        {
            self.charge_quota_at(root, old_usage, quota_modseq)?;
        }
        self.forget_status([entry.name.as_str(), to.as_str()]);
        if !stays {
            self.remove_if_unused(&old_paths);
        }
        Ok(moved)
    }
}

impl Store {
    /// What a user's quota root gets for a mailbox that is deleted, which gets something higher itself.
    fn next_quota_modseq(&self, write: &mut IndexWrite, root: &str) -> Result<Option<u64>, MailboxError> {
        let Some(owner) = write.conversing_owner().cloned() else {
            return Ok(None);
        };
        if owner_of_root(root).as_deref() != Some(&*owner) {
            return Ok(None);
        }
        let modseq = self.next_user_modseq(&owner, CounterKind::Quota, 0)?;
        write.raise_modseq(modseq);
        Ok(Some(modseq))
    }

    /// Prepares what a new name of a mailbox means to conversations: those of its owner are changed in memory, along with
    /// `write`; those of another who gets it are returned, to be committed after it. Also returns what the old quota root
    /// has to be charged if it is left.
    fn change_hands(
        &self,
        write: &mut IndexWrite,
        entry: &MailboxEntry,
        moved: &MailboxEntry,
        is_renamed_user: bool,
    ) -> Result<(Usage, Option<Conversations>), MailboxError> {
        let usage = whole_usage(write).negated();
        let (from, to) = (entry.name.owner(), moved.name.owner());
        if from == to || is_renamed_user {
            if let Some(conversations) = write.open_conversations()? {
                conversations.rename_folder(&entry.name, &moved.name)?;
            }
            write.raise_counters(false)?;
            return Ok((usage, None));
        }
        let usage = self.leave(write, entry)?;
        write.raise_counters(false)?;
        let Some(mut joining) = self.conversations(to.as_deref())? else {
            return Ok((usage, None));
        };
        let (id, _) = moved.storage()?;
        let place = Place {
            id,
            name: &moved.name,
        };
        write.join_conversations(&mut joining, &place)?;
        if let Some(owner) = &to {
            let kind = CounterKind::Messages(moved.mbtype.kind);
            self.raise_user_modseq(owner, kind, write.header.highestmodseq)?;
        }
        Ok((usage, Some(joining)))
    }
}

/// A partition that a mailbox is to move to, and what is there of it already.
#[derive(Debug)]
pub(crate) struct PartitionMove {
    partition: Partition,
    early: EarlyCopies,
}

/// A user's new userid, in the lists of his mailboxes.
#[derive(Debug)]
pub(crate) struct OwnerChange {
    from: Identifier,
    to: Identifier,
}

impl OwnerChange {
    /// Gives the rights of the old userid to the new one, whose entry comes last.
    fn apply(&self, acl: &mut Acl) {
        let rights = acl.rights_of(&self.from);
        acl.delete(&self.from);
        if !rights.is_empty() {
            acl.set(self.to.clone(), rights);
        }
    }
}

fn identifier(userid: &str) -> Result<Identifier, NameError> {
    Identifier::stored(userid).map_err(|_| NameError::BadUser(userid.to_owned()))
}

fn too_long(length: usize, limit: usize) -> MailboxError {
    NameError::TooLong { length, limit }.into()
}

const MOVE_AND_RENAME: &str = "Cross-server or cross-partition move w/rename not supported";

#[cfg(test)]
mod tests {
    use super::*;

    /// What Cyrus 3.6.1 made of the list when `user5` became `user88`.
    #[test]
    fn the_entry_of_a_renamed_user_moves_to_the_end() {
        let mut acl = Acl::parse("user5\tlrswipkxtecdan\tuser4\tlrs\tanyone\tp\t").unwrap();
        let id = |text| Identifier::stored(text).unwrap();
        OwnerChange {
            from: id("user5"),
            to: id("user88"),
        }
        .apply(&mut acl);
        assert_eq!(acl.to_text(), "user4\tlrs\tanyone\tp\tuser88\tlrswipkxtecdan\t");
    }
}
