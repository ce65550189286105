//! Quota roots as administrators see them: made, changed, listed, and moved with the mailboxes that they count.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use cyrus_acl::{AuthState, Rights};

use crate::conversations::CounterKind;
use crate::db::{Create, DbError, Engine, Pooled};
use crate::error::MailboxError;
use crate::format::quota::{Quota, Resource, Usage};
use crate::lock::Guard;
use crate::log::Level;
use crate::mailbox::IndexWrite;
use crate::mboxlist::{MailboxEntry, Step, whole_usage};
use crate::name::{MailboxName, NameError};
use crate::store::Store;
use crate::sys::Mode;

/// A quota root: the internal name of a mailbox, whether it exists or not, or `example.org!` for a whole domain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaRoot(Arc<str>);

impl QuotaRoot {
    /// The root of this internal name.
    ///
    /// # Errors
    /// As [`MailboxName::parse`].
    pub fn parse(internal: &str) -> Result<Self, NameError> {
        match internal.strip_suffix('!') {
            // Whatever could be below it says whether the domain can be one.
            Some(_) => MailboxName::parse(&format!("{internal}x"))?,
            None => MailboxName::parse(internal)?,
        };
        Ok(Self(internal.into()))
    }

    /// The root at a mailbox.
    pub fn at(name: &MailboxName) -> Self {
        Self(name.as_str().into())
    }

    /// The internal name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The mailbox at the root; `None` for a domain.
    pub fn mailbox(&self) -> Option<MailboxName> {
        MailboxName::parse(&self.0).ok()
    }

    /// Whether a mailbox is at the root or below it.
    pub fn covers(&self, name: &MailboxName) -> bool {
        is_at_or_below(name.as_str(), &self.0)
    }

    /// The beginning of the database form of all names that it covers.
    fn dbname_prefix(&self) -> String {
        match self.0.strip_suffix('!') {
            Some(domain) => format!("{domain}\u{1d}"),
            None => self.mailbox().map(|name| name.to_dbname()).unwrap_or_default(),
        }
    }
}

impl fmt::Display for QuotaRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for QuotaRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuotaRoot({:?})", &*self.0)
    }
}

impl Store {
    /// The quota root that counts a mailbox of this name: the nearest one at or above it.
    ///
    /// # Errors
    /// The quota roots cannot be read.
    pub fn quota_root(&self, name: &MailboxName) -> Result<Option<QuotaRoot>, MailboxError> {
        Ok(self.nearest_quota(name)?.map(|(root, _)| QuotaRoot(root.into())))
    }

    /// Usage and limits of a quota root; `None` if there is none of this name.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn quota(&self, root: &QuotaRoot) -> Result<Option<Quota>, MailboxError> {
        self.read_quota(root.as_str())
    }

    /// Whether the user may know usage and limits of a quota root: he may read a mailbox that it covers.
    ///
    /// # Errors
    /// The mailbox list cannot be read.
    pub fn quota_visible(&self, root: &QuotaRoot, auth: &AuthState) -> Result<bool, MailboxError> {
        let readable = |entry: &MailboxEntry| self.rights(entry, auth).contains(Rights::READ);
        if auth.is_admin() {
            return Ok(true);
        }
        if let Some(name) = root.mailbox()
            && let Some(entry) = self.lookup(&name)?
            && readable(&entry)
        {
            return Ok(true);
        }
        let mut found = false;
        self.walk_covered(root, &mut |entry| {
            found = readable(&entry);
            if found { Step::Stop } else { Step::Next }
        })?;
        Ok(found)
    }

    /// Calls `each` with every quota root whose internal name begins with `prefix`.
    ///
    /// # Errors
    /// The quota roots cannot be read. A damaged one is logged and left out.
    pub fn quota_roots(
        &self,
        prefix: &str,
        each: &mut dyn FnMut(QuotaRoot, Quota) -> ControlFlow<()>,
    ) -> Result<(), MailboxError> {
        for (key, value) in self.raw_quotas()?.range(prefix.to_owned()..) {
            if !key.starts_with(prefix) {
                break;
            }
            let (root, quota) = (QuotaRoot::parse(key).ok(), Quota::parse(value));
            let (Some(root), Ok(quota)) = (root, quota) else {
                let what = format_args!(
                    "quota root {} is damaged; run `reconstruct --everything`",
                    key.escape_debug()
                );
                self.log().record(Level::Error, what);
                continue;
            };
            if each(root, quota).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Sets the limits of a quota root: those given, and none on any other resource. A root that does not exist is made,
    /// and counts from then on what it covers, unless a nearer root does.
    ///
    /// # Errors
    /// [`MailboxError::PermissionDenied`] for all but administrators; [`MailboxError::NotFound`] if a new root would
    /// cover no mailbox: see [`Store::make_quota_root`].
    pub fn set_quota(
        &self,
        root: &QuotaRoot,
        limits: &[(Resource, Option<u64>)],
        auth: &AuthState,
    ) -> Result<(), MailboxError> {
        self.change_quota(root, limits, Covers::AMailbox, auth)
    }

    /// [`Store::set_quota`] for mailboxes that are yet to come.
    ///
    /// # Errors
    /// [`MailboxError::PermissionDenied`] for all but administrators.
    pub fn make_quota_root(
        &self,
        root: &QuotaRoot,
        limits: &[(Resource, Option<u64>)],
        auth: &AuthState,
    ) -> Result<(), MailboxError> {
        self.change_quota(root, limits, Covers::Anything, auth)
    }

    fn change_quota(
        &self,
        root: &QuotaRoot,
        limits: &[(Resource, Option<u64>)],
        covers: Covers,
        auth: &AuthState,
    ) -> Result<(), MailboxError> {
        if !auth.is_admin() {
            return Err(MailboxError::PermissionDenied);
        }
        if covers == Covers::AMailbox && self.read_quota(root.as_str())?.is_none() {
            let mut any = false;
            self.walk_covered(root, &mut |_| {
                any = true;
                Step::Stop
            })?;
            if !any {
                return Err(MailboxError::NotFound);
            }
        }
        let _change = self.locks().lock_file(
            &self.options().quota_change_lock_path(),
            Mode::Exclusive,
            self.wait(),
        )?;
        if !self.write_limits(root, limits)? {
            return Ok(());
        }
        let mut covered = Vec::new();
        self.walk_covered(root, &mut |entry| {
            covered.push(entry.name);
            Step::Next
        })?;
        let mut counted = Vec::new();
        for name in covered {
            match self.count_at(root, &name) {
                Ok(Some(before)) => counted.push((name, before)),
                Ok(None) => {}
                Err(error) => {
                    self.take_root_back(root, counted);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Removes a root that could not be made to count all that it covers.
    fn take_root_back(&self, root: &QuotaRoot, counted: Vec<(MailboxName, Option<String>)>) {
        let undone = counted
            .into_iter()
            .try_for_each(|(name, before)| self.count_under(before.as_deref(), &name).map(drop));
        let removed = undone.and_then(|()| {
            let Some(mut db) = self.quotas(Create::No)? else {
                return Ok(());
            };
            let mut txn = db.begin()?;
            txn.remove(root.as_str().as_bytes())?;
            Ok(txn.commit()?)
        });
        if let Err(error) = removed {
            self.report(
                &format!("quota root {root} is there by halves; run quota -f"),
                &error,
            );
        }
    }

    /// Writes limits, and says whether the root is a new one.
    fn write_limits(
        &self,
        root: &QuotaRoot,
        limits: &[(Resource, Option<u64>)],
    ) -> Result<bool, MailboxError> {
        let path = self.quotas_path();
        let mut db = self
            .databases()
            .open(&path, self.options().databases.quota, Create::Yes)?;
        let mut txn = db.begin()?;
        let key = root.as_str().as_bytes();
        let before = match txn.get(key)? {
            Some(value) => {
                Some(Quota::parse(&value).map_err(|fault| MailboxError::damaged_quota(&path, fault))?)
            }
            None => None,
        };
        let mut quota = before.clone().unwrap_or_default();
        quota.limit = [None; 4];
        for (resource, limit) in limits {
            if let Some(place) = quota.limit.get_mut(*resource as usize) {
                *place = *limit;
            }
        }
        if before.as_ref() != Some(&quota) {
            raise_modseq(self, root.as_str(), &mut quota, &BTreeMap::new())?;
            txn.put(key, &quota.to_bytes())?;
            txn.commit()?;
            drop(db);
            self.copy_limits_of(root, &quota);
        }
        Ok(before.is_none())
    }

    /// Makes a new root count a mailbox, unless a nearer one does. Returns which one did before, if that changes.
    fn count_at(&self, root: &QuotaRoot, name: &MailboxName) -> Result<Option<Option<String>>, MailboxError> {
        let _namespace = self.lock_namespace_of(name)?;
        let Some(entry) = self.lookup(name)?.filter(|entry| entry.mbtype.is_usable()) else {
            return Ok(None);
        };
        let write = match self.hold(&entry) {
            // Gone meanwhile.
            Err(MailboxError::Deleted) => return Ok(None),
            held => held?,
        };
        let counted = write.names().header.quota_root.clone();
        if counted
            .as_deref()
            .is_some_and(|counted| is_at_or_below(counted, root.as_str()))
        {
            return Ok(None);
        }
        self.move_usage(write, &entry, Some(root.as_str()))?;
        Ok(Some(counted))
    }

    /// Makes this root count a mailbox, or none.
    fn count_under(&self, root: Option<&str>, name: &MailboxName) -> Result<(), MailboxError> {
        let _namespace = self.lock_namespace_of(name)?;
        let Some(entry) = self.lookup(name)?.filter(|entry| entry.mbtype.is_usable()) else {
            return Ok(());
        };
        match self.hold(&entry) {
            Err(MailboxError::Deleted) => Ok(()),
            held => self.move_usage(held?, &entry, root),
        }
    }

    fn lock_namespace_of(&self, name: &MailboxName) -> Result<Option<Guard>, MailboxError> {
        let Some(owner) = name.owner() else {
            return Ok(None);
        };
        let path = self.options().namespace_lock_path(Some(&owner));
        Ok(Some(self.locks().lock_file(
            &path,
            Mode::Exclusive,
            self.wait(),
        )?))
    }

    /// Takes a locked mailbox from the root that counts it to another one.
    fn move_usage(
        &self,
        mut write: IndexWrite,
        entry: &MailboxEntry,
        root: Option<&str>,
    ) -> Result<(), MailboxError> {
        let usage = whole_usage(&write);
        let counted = write.names().header.quota_root.clone();
        let mut header = write.names().header.clone();
        header.quota_root = root.map(str::to_owned);
        write.set_names(header);
        write.make_room()?;
        if let Some(root) = root {
            self.count_more(root, usage)?;
        }
        let id = entry.id.clone().ok_or(MailboxError::NotFound)?;
        if let Err(error) = write.commit(&entry.name, &id) {
            if let Some(root) = root {
                self.charge_quota(root, usage.negated())?;
            }
            return Err(error);
        }
        match counted {
            Some(counted) => self.charge_quota(&counted, usage.negated()),
            None => Ok(()),
        }
    }

    /// Makes a root count more, so that it does even after a crash: before a mailbox comes under it.
    pub(crate) fn count_more(&self, root: &str, usage: Usage) -> Result<(), MailboxError> {
        self.charge_quota(root, usage)?;
        if self.has_quota_files()
            && let Some(directory) = self.options().quota_file(root).parent()
        {
            self.disk().sync_dir(directory)?;
        }
        Ok(())
    }

    /// The mailboxes that a root could count, those of nearer roots included.
    pub(super) fn walk_covered(
        &self,
        root: &QuotaRoot,
        each: &mut dyn FnMut(MailboxEntry) -> Step,
    ) -> Result<(), MailboxError> {
        let deleted_prefix = &self.options().deleted_prefix;
        self.walk_prefix(&root.dbname_prefix(), &mut |entry| {
            if entry.name.is_deleted(deleted_prefix) || !root.covers(&entry.name) {
                return Step::SkipChildren;
            }
            if entry.mbtype.is_usable() {
                each(entry)
            } else {
                Step::Next
            }
        })
    }

    /// Removes the quota roots of a user that is no more.
    pub(crate) fn remove_quota_roots(&self, inbox: &MailboxName) -> Result<(), MailboxError> {
        let roots = self.roots_of(inbox)?;
        if roots.is_empty() {
            return Ok(());
        }
        let Some(mut db) = self.quotas(Create::No)? else {
            return Ok(());
        };
        let mut txn = db.begin()?;
        for (root, _) in &roots {
            txn.remove(root.as_bytes())?;
        }
        Ok(txn.commit()?)
    }

    /// Gives a user under a new name the quota roots that he has under the old one, with nothing counted yet
    /// unless an interrupted renaming has begun to.
    pub(crate) fn copy_quota_roots(&self, from: &MailboxName, to: &MailboxName) -> Result<(), MailboxError> {
        let roots = self.roots_of(from)?;
        if roots.is_empty() {
            return Ok(());
        }
        let Some(mut db) = self.quotas(Create::No)? else {
            return Ok(());
        };
        let mut txn = db.begin()?;
        for (root, quota) in &roots {
            let rest = root.strip_prefix(from.as_str()).unwrap_or_default();
            let key = format!("{to}{rest}");
            if txn.get(key.as_bytes())?.is_none() {
                let copy = Quota {
                    used: [0; 4],
                    scan: None,
                    ..quota.clone()
                };
                txn.put(key.as_bytes(), &copy.to_bytes())?;
            }
        }
        Ok(txn.commit()?)
    }

    /// The quota roots at a mailbox and below it.
    fn roots_of(&self, top: &MailboxName) -> Result<Vec<(String, Quota)>, MailboxError> {
        let mut roots = Vec::new();
        self.quota_roots(top.as_str(), &mut |root, quota| {
            if is_at_or_below(root.as_str(), top.as_str()) {
                roots.push((root.as_str().to_owned(), quota));
            }
            ControlFlow::Continue(())
        })?;
        Ok(roots)
    }

    /// All quota roots as one database; `None` if there are none yet.
    pub(crate) fn quotas(&self, create: Create) -> Result<Option<Pooled>, MailboxError> {
        match self
            .databases()
            .open(&self.quotas_path(), self.options().databases.quota, create)
        {
            Ok(db) => Ok(Some(db)),
            Err(DbError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The path of that database; the files of the quotalegacy engine are found from its directory.
    fn quotas_path(&self) -> PathBuf {
        let options = self.options();
        match (&options.databases.quota, &options.databases.quota_path) {
            (Engine::QuotaLegacy, Some(directory)) => directory.join("quotas.db"),
            (Engine::QuotaLegacy, None) => options.config_dir.join("quotas.db"),
            _ => self.quota_db_path(),
        }
    }
}

/// The user whose quota root this is.
pub(crate) fn owner_of_root(root: &str) -> Option<String> {
    MailboxName::parse(root).ok()?.owner()
}

/// Notes a change of a user's quota root. Those of mailboxes without owner stay at zero in Cyrus, too.
///
/// With conversations, the modification sequence is one of the user's, if none was decided on.
pub(crate) fn raise_modseq(
    store: &Store,
    root: &str,
    quota: &mut Quota,
    decided: &BTreeMap<String, u64>,
) -> Result<(), MailboxError> {
    let Some(owner) = owner_of_root(root) else {
        return Ok(());
    };
    quota.modseq = match decided.get(&owner) {
        Some(&modseq) => modseq,
        None if store.has_conversations(&owner)? => {
            store.next_user_modseq(&owner, CounterKind::Quota, quota.modseq)?
        }
        None => quota.modseq.saturating_add(1),
    };
    Ok(())
}

/// Whether a new quota root must have something to count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Covers {
    AMailbox,
    Anything,
}

/// Whether the internal name of a mailbox or root is that of `root` or lies below it.
fn is_at_or_below(name: &str, root: &str) -> bool {
    match name.strip_prefix(root) {
        Some(rest) => rest.is_empty() || rest.starts_with('.') || root.ends_with('!'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s105_a_root_covers_its_own_tree_and_nothing_that_merely_begins_like_it() {
        let root = QuotaRoot::parse("user.bovik").unwrap();
        let covers = |name: &str| root.covers(&MailboxName::parse(name).unwrap());
        assert!(covers("user.bovik") && covers("user.bovik.list.imap"));
        assert!(!covers("user.bovik2") && !covers("user.fred") && !covers("a.org!user.bovik"));
        let domain = QuotaRoot::parse("a.org!").unwrap();
        assert!(domain.covers(&MailboxName::parse("a.org!user.fred").unwrap()));
        assert!(!domain.covers(&MailboxName::parse("a.orgs!user.fred").unwrap()));
        assert_eq!(
            (domain.mailbox(), domain.dbname_prefix().as_str()),
            (None, "a.org\u{1d}")
        );
    }

    #[test]
    fn a_root_cannot_be_a_path_out_of_the_quota_directory() {
        for bad in ["", "a/b", "!", "../x", "a..b"] {
            assert!(QuotaRoot::parse(bad).is_err(), "{bad}");
        }
    }
}
