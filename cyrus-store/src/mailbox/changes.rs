//! What changed in a mailbox since a client last looked (RFC 7162).

use std::sync::Arc;

use cyrus_acl::Rights;

use super::read::header_of;
use super::{IndexRead, Mailbox};
use crate::lock::Wait;
use crate::sys::Mode;
use crate::uid::{ModSeq, Uid, UidSet};

/// One message that changed since some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The message.
    pub uid: Uid,
    /// Whether it is still there.
    pub visible: bool,
    /// Its modification sequence.
    pub modseq: ModSeq,
}

impl Mailbox {
    /// The highest modification sequence, if it can be told at once: nobody holds a lock that would have to be waited for, and
    /// the mailbox is the one that it was. For those who may not block.
    pub fn modseq_at_once(&self) -> Option<ModSeq> {
        let entry = self.store.remembered(&self.entry.name)?;
        if !Arc::ptr_eq(&entry, &self.entry) || !self.rights.contains(Rights::READ) {
            return None;
        }
        let locks = self
            .hot
            .lock(&self.store, self.owner.as_deref(), Mode::Shared, Wait::Never)
            .ok()?;
        let mut mapping = self.hot.borrow_mapping();
        let header = mapping
            .refresh(&locks.index)
            .ok()
            .map(|file| header_of(&self.hot, file));
        self.hot.return_mapping(mapping);
        Some(ModSeq(header?.ok()?.highestmodseq))
    }
}

impl IndexRead<'_> {
    /// Every message that changed after `since`, expunged ones included: of an index of any size, only the blocks of records
    /// in which something changed are read.
    pub fn changed_since(&self, since: ModSeq) -> impl Iterator<Item = Change> + '_ {
        self.newest
            .since(self.records(), since.0)
            .filter_map(|(_, view)| {
                Some(Change {
                    uid: Uid::new(view.uid())?,
                    visible: !view.is_expunged(),
                    modseq: ModSeq(view.modseq()),
                })
            })
    }

    /// Those of `among` that were expunged after `since`. How far back that is known depends on when the mailbox was last
    /// repacked; for an earlier `since` it is all that are not there, UIDs never given apart.
    pub fn vanished_since(&self, since: ModSeq, among: &UidSet) -> UidSet {
        if since.0 >= self.header.deletedmodseq {
            let gone = self.changed_since(since).filter(|change| !change.visible);
            return gone
                .map(|change| change.uid)
                .filter(|&uid| among.contains(uid))
                .collect();
        }
        let mut gone = among.clone();
        match Uid::new(self.header.last_uid) {
            Some(last) => gone.keep_all(&UidSet::from(Uid::MIN..=last)),
            None => return UidSet::new(),
        }
        gone.remove_all(&self.uids().to_set());
        gone
    }
}
