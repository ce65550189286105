//! A mailbox that somebody has opened.

mod annotations;
mod append;
mod archive;
mod changes;
mod copy;
mod dates;
mod expire;
mod expunge;
mod flags;
mod message;
mod read;
mod recent;
mod repack;
mod status;
mod write;

use std::fmt;
use std::sync::Arc;

use cyrus_acl::{AuthState, Rights};

use crate::error::MailboxError;
use crate::format::index::options;
use crate::hot::{Hot, MailboxLocks};
use crate::ident::MailboxId;
use crate::mboxlist::MailboxEntry;
use crate::name::MailboxName;
use crate::store::Store;
use crate::sys::Mode;
use crate::uid::{UidSet, UidValidity};

pub use append::{Appended, NewMessage};
pub use archive::{Archive, Archived};
pub use changes::Change;
pub use copy::{Copied, CopyMode};
pub use dates::Redated;
pub use expire::{Expired, Expiry, ExpungedMessage};
pub use expunge::Expunge;
pub use flags::{FlagChange, FlagMode, FlagsStored};
pub use message::{CachedRecord, Message, MessageFile};
pub use read::IndexRead;
pub use status::MailboxStatus;

pub(crate) use annotations::{Annotation, remove as remove_annotations, write as write_annotations};
pub(crate) use copy::flag_names;
pub(crate) use repack::NewCache;
pub(crate) use write::{IndexWrite, Publication, new_path};

use read::header_of;

/// An open mailbox, with the rights of who opened it.
///
/// It holds no lock between calls: [`Mailbox::read`] and every change take Cyrus's locks in Cyrus's order, and look again
/// whether the mailbox is still there and what the user may do. A value is small, so that a server can have many
/// sessions idle.
///
/// A thread that holds an [`IndexRead`] must not change a mailbox of the same owner meanwhile: it would wait for itself.
pub struct Mailbox {
    store: Store,
    auth: AuthState,
    entry: Arc<MailboxEntry>,
    id: MailboxId,
    owner: Option<Arc<str>>,
    rights: Rights,
    is_owner: bool,
    hot: Arc<Hot>,
    /// The UIDs that this session was the first to be told of.
    recent: UidSet,
}

impl Store {
    /// Opens a mailbox.
    ///
    /// # Errors
    /// [`MailboxError::NotFound`] if it does not exist or the user has no right there at all.
    pub fn open_mailbox(&self, name: &MailboxName, auth: &AuthState) -> Result<Mailbox, MailboxError> {
        let (entry, rights) = self.visible(name, auth)?;
        let (id, partition) = entry.storage()?;
        let id = id.clone();
        let paths = self
            .options()
            .mailbox_paths(partition, &id, name, entry.mbtype.legacy_dirs)?;
        let owner = name.owner();
        let hot = self.hot(paths);
        self.modernize(&entry, &hot)?;
        Ok(Mailbox {
            store: self.clone(),
            auth: auth.clone(),
            is_owner: owner.as_deref() == Some(auth.userid()) && !auth.is_system(),
            owner: owner.map(Arc::from),
            rights,
            hot,
            id,
            entry,
            recent: UidSet::new(),
        })
    }
}

impl Mailbox {
    /// Internal name, as opened.
    pub fn name(&self) -> &MailboxName {
        &self.entry.name
    }

    /// Unique id.
    pub fn id(&self) -> &MailboxId {
        &self.id
    }

    /// What the user may do, as of the last call.
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// UIDVALIDITY.
    pub fn uidvalidity(&self) -> UidValidity {
        self.entry.uidvalidity
    }

    /// The row of the mailbox list, as of the last call.
    pub fn entry(&self) -> &MailboxEntry {
        &self.entry
    }

    /// Whether the mailbox is the user's own.
    pub fn is_owner(&self) -> bool {
        self.is_owner
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn index_path(&self) -> &std::path::Path {
        &self.hot.paths.index
    }

    /// Who opened it.
    pub fn auth(&self) -> &AuthState {
        &self.auth
    }

    /// Checks a right, naming no mailbox that the user may not know of.
    fn require(&self, right: Rights) -> Result<(), MailboxError> {
        if self.rights.contains(right) {
            Ok(())
        } else if self.rights.contains(Rights::LOOKUP) {
            Err(MailboxError::PermissionDenied)
        } else {
            Err(MailboxError::NotFound)
        }
    }

    /// Looks the mailbox up again: its rights or its place may have changed, or it may be gone.
    fn refresh_entry(&mut self) -> Result<(), MailboxError> {
        let entry = self
            .store
            .lookup(&self.entry.name)?
            .filter(|entry| entry.id.as_ref() == Some(&self.id));
        let Some(entry) = entry else {
            return self.find_renamed();
        };
        if !Arc::ptr_eq(&entry, &self.entry) {
            self.adopt(entry)?;
        }
        Ok(())
    }

    /// Follows the mailbox to its new name.
    fn find_renamed(&mut self) -> Result<(), MailboxError> {
        let entry = self.store.lookup_id(&self.id)?.ok_or(MailboxError::Deleted)?;
        if entry.name.is_deleted(&self.store.options().deleted_prefix) {
            return Err(MailboxError::Deleted);
        }
        self.adopt(entry)
    }

    fn adopt(&mut self, entry: Arc<MailboxEntry>) -> Result<(), MailboxError> {
        let (id, partition) = entry.storage().map_err(|_| MailboxError::Deleted)?;
        let paths =
            self.store
                .options()
                .mailbox_paths(partition, id, &entry.name, entry.mbtype.legacy_dirs)?;
        if paths.index != self.hot.paths.index {
            self.store.watch_moved(&self.id, &paths.index);
            self.hot = self.store.hot(paths);
        }
        let owner = entry.name.owner();
        self.is_owner = owner.as_deref() == Some(self.auth.userid()) && !self.auth.is_system();
        self.owner = owner.map(Arc::from);
        self.rights = self.store.rights(&entry, &self.auth);
        self.entry = entry;
        Ok(())
    }

    /// Takes the locks of an operation on messages. A mailbox that moves to another partition meanwhile is followed there.
    fn lock(&mut self, mode: Mode) -> Result<MailboxLocks, MailboxError> {
        for _ in 0..MOVES_FOLLOWED {
            let locked = self
                .hot
                .lock(&self.store, self.owner.as_deref(), mode, self.store.wait())
                .map_err(|error| self.store.deleted_or_damaged(error, &self.id, &self.hot))
                .and_then(|locks| self.check_not_left(locks));
            if !matches!(locked, Err(MailboxError::Deleted)) {
                return locked;
            }
            self.store.forget(&self.hot);
            let left = self.hot.clone();
            self.refresh_entry()?;
            if Arc::ptr_eq(&left, &self.hot) || left.paths.index == self.hot.paths.index {
                return Err(MailboxError::Deleted);
            }
        }
        Err(MailboxError::Locked)
    }

    /// Refuses files that the mailbox has left for others; what is damaged is for those to tell who read it.
    fn check_not_left(&self, locks: MailboxLocks) -> Result<MailboxLocks, MailboxError> {
        let mut mapping = self.hot.borrow_mapping();
        let header = mapping
            .refresh(&locks.index)
            .map(|file| header_of(&self.hot, file));
        self.hot.return_mapping(mapping);
        match header {
            Ok(Err(MailboxError::Deleted)) => Err(MailboxError::Deleted),
            _ => Ok(locks),
        }
    }

    /// Whether this user's `\Seen` flags are those of the index: he owns the mailbox, all share them, or he is nobody.
    fn seen_is_in_index(&self, index_options: u32) -> bool {
        self.is_owner || self.auth.is_system() || index_options & options::SHAREDSEEN != 0
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("name", &self.entry.name)
            .field("rights", &self.rights)
            .finish_non_exhaustive()
    }
}

/// How often a mailbox may move to another partition before somebody who wants it gives up.
const MOVES_FOLLOWED: u32 = 10;
