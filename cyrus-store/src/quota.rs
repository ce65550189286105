//! Quota roots: finding the nearest, usage and limits, and charging usage in the order that a crash cannot hurt.

mod fix;
mod roots;
mod spare;

use std::collections::BTreeMap;

use crate::db::{Create, DbError, Engine};
use crate::error::MailboxError;
use crate::format::quota::{Quota, Usage};
use crate::lock::{DataLock, LockError, Recheck};
use crate::mailbox::new_path;
use crate::name::MailboxName;
use crate::store::Store;
use crate::sys::{DiskError, File, Mode, Open};

pub use fix::QuotaFault;
pub use roots::QuotaRoot;
pub(crate) use roots::owner_of_root;
use roots::raise_modseq;

/// How the room that a quota leaves is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuotaPolicy {
    /// What does not fit is refused.
    #[default]
    Store,
    /// One message more is accepted while usage is not above the limit.
    Delivery,
    /// Everything is accepted, and charged.
    Ignore,
}

impl Store {
    /// The value of a quota root, by its internal name.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn read_quota(&self, root: &str) -> Result<Option<Quota>, MailboxError> {
        if self.has_quota_files() {
            // Files are replaced as a whole: reading needs no lock.
            let path = self.options().quota_file(root);
            let Some(file) = self.disk().try_open(&path, Open::read())? else {
                return Ok(None);
            };
            let bytes = file.read_all()?;
            if bytes.is_empty() {
                return Ok(None);
            }
            return Quota::parse(&bytes)
                .map(Some)
                .map_err(|fault| MailboxError::damaged_quota(&path, fault));
        }
        let path = self.quota_db_path();
        let mut db = match self
            .databases()
            .open(&path, self.options().databases.quota, Create::No)
        {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(value) = db.get(root.as_bytes())? else {
            return Ok(None);
        };
        Quota::parse(&value)
            .map(Some)
            .map_err(|fault| MailboxError::damaged_quota(&path, fault))
    }

    /// The nearest quota root of a name: itself, an ancestor, or its whole domain; with its value.
    ///
    /// # Errors
    /// A value cannot be read.
    pub(crate) fn nearest_quota(&self, name: &MailboxName) -> Result<Option<(String, Quota)>, MailboxError> {
        let internal = name.as_str();
        let domain_end = name.domain().map_or(0, |domain| domain.len() + 1);
        let mut end = internal.len();
        loop {
            let root = internal.get(..end).unwrap_or_default();
            if let Some(quota) = self.read_quota(root)? {
                return Ok(Some((root.to_owned(), quota)));
            }
            if end <= domain_end {
                return Ok(None);
            }
            let shorter = internal.get(domain_end..end).and_then(|local| local.rfind('.'));
            end = match shorter {
                Some(dot) => domain_end + dot,
                None if domain_end > 0 => domain_end,
                None => return Ok(None),
            };
        }
    }

    /// Changes the usage of one root, durably.
    pub(crate) fn charge_quota(&self, root: &str, usage: Usage) -> Result<(), MailboxError> {
        self.charge_quota_at(root, usage, None)
    }

    /// The same, with the modification sequence that the root gets.
    pub(crate) fn charge_quota_at(
        &self,
        root: &str,
        usage: Usage,
        modseq: Option<u64>,
    ) -> Result<(), MailboxError> {
        let charged = self.try_charge(root, usage, modseq);
        // What is gone must not count on, only because a full disk had no room for a moment.
        match charged {
            Err(_) if usage.0.iter().all(|change| *change <= 0) => self.try_charge(root, usage, modseq),
            charged => charged,
        }
    }

    fn try_charge(&self, root: &str, usage: Usage, modseq: Option<u64>) -> Result<(), MailboxError> {
        let mut charges = QuotaCharges::default();
        if let (Some(owner), Some(modseq)) = (owner_of_root(root), modseq) {
            charges.set_modseq(&owner, modseq);
        }
        charges.open(self, root)?;
        charges.charge(root, usage);
        let charged = charges.write(self).and_then(|files| {
            self.disk().sync_many(&files.iter().collect::<Vec<_>>())?;
            charges.publish(self)
        });
        charged.inspect_err(|_| charges.take_back(self))
    }

    pub(crate) fn has_quota_files(&self) -> bool {
        self.options().databases.quota == Engine::QuotaLegacy
    }

    pub(crate) fn quota_db_path(&self) -> std::path::PathBuf {
        let options = self.options();
        options.database_path(options.databases.quota_path.as_ref(), "quotas.db")
    }
}

/// The quota roots of one commit: locked, charged in memory, and written: in place where that cannot tear, else beside
/// the old values and then put in their place.
///
/// A file that is replaced for every message costs an inode each time, and some file systems look long for one that was
/// not freed just now.
#[derive(Debug, Default)]
pub(crate) struct QuotaCharges {
    roots: BTreeMap<String, Charge>,
    /// What the roots of these users get as their modification sequence.
    modseqs: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Charge {
    quota: Quota,
    usage: Usage,
    /// Roots in a database are locked when they are published.
    file: Option<ChargedFile>,
    /// Whether the database has the usage.
    is_stored: bool,
}

#[derive(Debug)]
struct ChargedFile {
    lock: DataLock,
    /// What it holds.
    text: Vec<u8>,
    /// The file that is to take its place, when it is written.
    new: Option<File>,
    /// Whether the file holds something else since.
    is_changed: bool,
}

impl QuotaCharges {
    /// Locks and reads a root; one that does not exist is not charged. Several roots must be opened in ascending order.
    pub(crate) fn open(&mut self, store: &Store, root: &str) -> Result<(), MailboxError> {
        if self.roots.contains_key(root) {
            return Ok(());
        }
        if !store.has_quota_files() {
            if let Some(quota) = store.read_quota(root)? {
                self.roots.insert(
                    root.to_owned(),
                    Charge {
                        quota,
                        usage: Usage::default(),
                        file: None,
                        is_stored: false,
                    },
                );
            }
            return Ok(());
        }
        let path = store.options().quota_file(root);
        let file = store.locks().data_file(&path);
        let lock = match file.lock(Mode::Exclusive, store.wait(), Open::write(), Recheck::Replaced) {
            Ok(lock) => lock,
            Err(LockError::Disk(error)) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let bytes = lock.file().read_all()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let quota = Quota::parse(&bytes).map_err(|fault| MailboxError::damaged_quota(&path, fault))?;
        self.roots.insert(
            root.to_owned(),
            Charge {
                quota,
                usage: Usage::default(),
                file: Some(ChargedFile {
                    lock,
                    text: bytes,
                    new: None,
                    is_changed: false,
                }),
                is_stored: false,
            },
        );
        Ok(())
    }

    /// Whether `more` may be added to a root.
    ///
    /// # Errors
    /// [`MailboxError::OverQuota`] if not.
    pub(crate) fn check(&self, root: &str, more: Usage, policy: QuotaPolicy) -> Result<(), MailboxError> {
        let Some(charge) = self.roots.get(root) else {
            return Ok(());
        };
        check_room(root, &charge.quota, more, policy)
    }

    /// Adds to the usage of a root, in memory.
    pub(crate) fn charge(&mut self, root: &str, usage: Usage) {
        if let Some(charge) = self.roots.get_mut(root) {
            charge.quota.charge(usage);
            charge.usage = charge.usage.plus(usage);
        }
    }

    /// The users of whom a root is charged.
    pub(crate) fn charges_user(&self, owner: &str) -> bool {
        let mut charged = self.roots.iter().filter(|(_, charge)| !charge.usage.is_zero());
        charged.any(|(root, _)| owner_of_root(root).as_deref() == Some(owner))
    }

    /// Decides on the modification sequence of a user's roots.
    pub(crate) fn set_modseq(&mut self, owner: &str, modseq: u64) {
        self.modseqs.insert(owner.to_owned(), modseq);
    }

    /// Writes the new values, in place or beside the old ones, and returns the files to sync.
    pub(crate) fn write(&mut self, store: &Store) -> Result<Vec<File>, MailboxError> {
        let mut files = Vec::new();
        for (root, charge) in self
            .roots
            .iter_mut()
            .filter(|(_, charge)| !charge.usage.is_zero())
        {
            let Some(charged) = &mut charge.file else {
                continue;
            };
            raise_modseq(store, root, &mut charge.quota, &self.modseqs)?;
            let mut bytes = charge.quota.to_bytes();
            bytes.push(b'\n');
            // Lower usage must not be there before what it counts is gone: it waits beside the old one.
            if charge.usage.0.iter().all(|change| *change >= 0) && tears_nowhere(&charged.text, &bytes) {
                charged.is_changed = true;
                let file = charged.lock.file();
                file.write_at(&bytes, 0)?;
                files.push(file.clone());
                continue;
            }
            match charged.write_beside(store, &bytes) {
                Ok(file) => files.push(file),
                // On a full disk it must be possible to make room.
                Err(error)
                    if error.is_out_of_space()
                        && charge.usage.0.iter().all(|change| *change <= 0)
                        && bytes.len() <= SECTOR =>
                {
                    charged.overwrite(&bytes)?;
                    files.push(charged.lock.file().clone());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(files)
    }

    /// Takes back what was written or published, as far as that can be: what it counts did not come to be.
    pub(crate) fn take_back(&mut self, store: &Store) {
        let mut stored = BTreeMap::new();
        for (root, charge) in &mut self.roots {
            if let Some(charged) = &mut charge.file {
                if charged.new.take().is_some() {
                    // Whoever comes next writes over it.
                    let _ = store.disk().unlink_if_exists(&new_path(charged.lock.path()));
                }
                if std::mem::take(&mut charged.is_changed) {
                    let text = std::mem::take(&mut charged.text);
                    if let Err(error) = charged.overwrite(&text) {
                        store.report(
                            &format!("quota root {root} counts too much; run quota -f"),
                            &error.into(),
                        );
                    }
                }
            }
            if std::mem::take(&mut charge.is_stored) {
                stored.insert(root.clone(), charge.usage.negated());
            }
        }
        if let Err(error) = self.store_in_database(store, &stored) {
            store.report("quota roots count too much; run quota -f", &error);
        }
    }

    /// Puts the written and synced values in the place of the old ones.
    pub(crate) fn publish(&mut self, store: &Store) -> Result<(), MailboxError> {
        let mut in_database = BTreeMap::new();
        for (root, charge) in &mut self.roots {
            match &mut charge.file {
                Some(charged) => {
                    if let Some(new) = charged.new.take() {
                        charged.lock.replace(&**store.disk(), new)?;
                        charged.is_changed = true;
                    }
                }
                None if !charge.usage.is_zero() => {
                    in_database.insert(root.clone(), charge.usage);
                }
                None => {}
            }
        }
        self.store_in_database(store, &in_database)?;
        for root in in_database.keys() {
            if let Some(charge) = self.roots.get_mut(root) {
                charge.is_stored = true;
            }
        }
        Ok(())
    }

    /// Charges roots in the database.
    fn store_in_database(
        &self,
        store: &Store,
        charges: &BTreeMap<String, Usage>,
    ) -> Result<(), MailboxError> {
        if charges.is_empty() {
            return Ok(());
        }
        let path = store.quota_db_path();
        let mut db = store
            .databases()
            .open(&path, store.options().databases.quota, Create::No)?;
        let mut txn = db.begin()?;
        for (root, usage) in charges {
            let Some(value) = txn.get(root.as_bytes())? else {
                continue;
            };
            let mut quota =
                Quota::parse(&value).map_err(|fault| MailboxError::damaged_quota(&path, fault))?;
            quota.charge(*usage);
            raise_modseq(store, root, &mut quota, &self.modseqs)?;
            txn.put(root.as_bytes(), &quota.to_bytes())?;
        }
        Ok(txn.commit()?)
    }
}

impl ChargedFile {
    /// Writes a new value beside the old one.
    fn write_beside(&mut self, store: &Store, bytes: &[u8]) -> Result<File, DiskError> {
        let path = new_path(self.lock.path());
        let file = store.disk().open(&path, Open::replace())?;
        if let Err(error) = file.write_at(bytes, 0) {
            let _ = store.disk().unlink_if_exists(&path);
            return Err(error);
        }
        self.new = Some(file.clone());
        Ok(file)
    }

    /// Writes a value over the old one; both are so short that neither needs more room than the file has.
    fn overwrite(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.is_changed = true;
        let file = self.lock.file();
        file.write_at(bytes, 0)?;
        file.truncate(bytes.len() as u64)
    }
}

/// Whether a value may be written over another: both end in the same sector, which reaches the disk whole or not at
/// all, and differ in digits only, so that who reads without a lock in the middle of it finds numbers nevertheless.
fn tears_nowhere(old: &[u8], new: &[u8]) -> bool {
    let alike = |(old, new): (&u8, &u8)| old == new || (old.is_ascii_digit() && new.is_ascii_digit());
    new.len() <= SECTOR && old.len() == new.len() && old.iter().zip(new).all(alike)
}

/// Octets that every disk writes at once.
const SECTOR: usize = 512;

/// Whether `more` may be added to this usage.
///
/// # Errors
/// [`MailboxError::OverQuota`] if not.
pub(crate) fn check_room(
    root: &str,
    quota: &Quota,
    more: Usage,
    policy: QuotaPolicy,
) -> Result<(), MailboxError> {
    let lacking = match policy {
        QuotaPolicy::Store => quota.lacks_room_for(more),
        QuotaPolicy::Delivery => crate::format::quota::Resource::ALL.into_iter().find(|&resource| {
            more.0[resource as usize] > 0
                && quota
                    .limit_in_use_units(resource)
                    .is_some_and(|limit| quota.used(resource) > limit)
        }),
        QuotaPolicy::Ignore => None,
    };
    match lacking {
        None => Ok(()),
        Some(resource) => Err(MailboxError::OverQuota {
            root: root.to_owned(),
            resource,
            used: quota.used(resource),
            limit: quota.limit(resource).unwrap_or_default(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_over_another_only_if_digits_stay_where_they_are() {
        let old = b"%(S (199 5) M (3) AS (0) NF (1) MODSEQ 9)\n";
        assert!(tears_nowhere(old, b"%(S (204 5) M (4) AS (0) NF (1) MODSEQ 8)\n"));
        assert!(!tears_nowhere(
            old,
            b"%(S (204 5) M (4) AS (0) NF (1) MODSEQ 10)\n"
        ));
        assert!(!tears_nowhere(
            old,
            b"%(S (20 51) M (4) AS (0) NF (1) MODSEQ 8)\n"
        ));
        let long = vec![b'1'; SECTOR + 1];
        assert!(!tears_nowhere(&long, &long));
    }
}
