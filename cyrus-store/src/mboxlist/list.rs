//! Walking the mailbox list in order, whole subtrees skipped with one search each.

use std::ops::ControlFlow;

use cyrus_acl::{AuthState, Rights};

use super::MailboxEntry;
use crate::db::Create;
use crate::error::MailboxError;
use crate::log::Level;
use crate::name::MailboxName;
use crate::store::Store;

/// Where to go on after a mailbox of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// With the next one.
    Next,
    /// With the next one that does not lie below this one.
    SkipChildren,
    /// With the next one that lies neither below this one nor beside it, below the same mailbox.
    SkipSiblings,
    /// Nowhere.
    Stop,
}

impl Store {
    /// Calls `each` with every mailbox that the user may see, in the order of the list: a mailbox comes before those
    /// below it. `prefix` is the beginning of a name in its database form ([`MailboxName::to_dbname`]); an empty one is
    /// the whole list.
    ///
    /// Names of deleted mailboxes are for administrators alone. The list is not locked while `each` runs: what is
    /// created or deleted meanwhile may be told or not.
    ///
    /// # Errors
    /// The mailbox list cannot be read. A damaged row is logged and left out.
    pub fn list(
        &self,
        prefix: &str,
        auth: &AuthState,
        each: &mut dyn FnMut(MailboxEntry, Rights) -> ControlFlow<()>,
    ) -> Result<(), MailboxError> {
        self.walk(prefix, auth, &mut |entry, rights| match each(entry, rights) {
            ControlFlow::Continue(()) => Step::Next,
            ControlFlow::Break(()) => Step::Stop,
        })
    }

    /// As [`Store::list`], for a caller who knows that nothing below some mailboxes matters to him.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn walk(
        &self,
        prefix: &str,
        auth: &AuthState,
        each: &mut dyn FnMut(MailboxEntry, Rights) -> Step,
    ) -> Result<(), MailboxError> {
        let deleted_prefix = &self.options().deleted_prefix;
        self.walk_rows(prefix, &mut |entry| {
            if !auth.is_admin() && entry.name.components().next() == Some(deleted_prefix.as_str()) {
                return Skip::Tree;
            }
            if entry.mbtype.intermediate || entry.mbtype.reserved || entry.mbtype.moving {
                return Skip::Nothing;
            }
            let rights = self.rights(&entry, auth);
            if !rights.contains(Rights::LOOKUP) {
                return Skip::Nothing;
            }
            each(entry, rights).into()
        })
    }

    /// Calls `each` with the mailbox of this name and those below it, whoever may see them; tombstones are left out.
    pub(crate) fn walk_tree(
        &self,
        top: &MailboxName,
        each: &mut dyn FnMut(MailboxEntry) -> Step,
    ) -> Result<(), MailboxError> {
        self.walk_rows(&top.to_dbname(), &mut |entry| {
            // `user.fred2` begins like `user.fred`, too.
            if entry.name != *top && !top.is_ancestor_of(&entry.name) {
                return Skip::Children;
            }
            each(entry).into()
        })
    }

    /// Calls `each` with every mailbox whose name in its database form begins with `prefix`, whoever may see it;
    /// tombstones are left out.
    pub(crate) fn walk_prefix(
        &self,
        prefix: &str,
        each: &mut dyn FnMut(MailboxEntry) -> Step,
    ) -> Result<(), MailboxError> {
        self.walk_rows(prefix, &mut |entry| each(entry).into())
    }

    fn walk_rows(
        &self,
        prefix: &str,
        each: &mut dyn FnMut(MailboxEntry) -> Skip,
    ) -> Result<(), MailboxError> {
        let prefix = [b"N", prefix.as_bytes()].concat();
        let mut start = prefix.clone();
        let Some(mut db) = self.mboxlist(Create::No)? else {
            return Ok(());
        };
        loop {
            // A batch at a time, so that no writer waits for the reader of the answer.
            let mut batch: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
            db.scan_from(&start, &mut |key, value| {
                if !key.starts_with(&prefix) || batch.len() >= BATCH {
                    return ControlFlow::Break(());
                }
                batch.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            })?;
            let Some((last, _)) = batch.last() else {
                return Ok(());
            };
            let is_end = batch.len() < BATCH;
            let mut next = last.clone();
            next.push(0);
            let mut skipped_to: Option<Vec<u8>> = None;
            for (key, value) in &batch {
                if skipped_to.as_ref().is_some_and(|start| key < start) {
                    continue;
                }
                let Some(entry) = self.listed(key, value) else {
                    continue;
                };
                match each(entry) {
                    Skip::Nothing => {}
                    Skip::Children => skipped_to = Some(after_tree(key)),
                    Skip::Siblings => skipped_to = Some(after_tree(above(key))),
                    Skip::Tree => skipped_to = Some(after_tree(top_component(key))),
                    Skip::All => return Ok(()),
                }
            }
            start = skipped_to.filter(|start| *start > next).unwrap_or(next);
            if is_end {
                return Ok(());
            }
        }
    }

    /// The entry of a row; nothing for tombstones, and for damaged rows, which are logged.
    fn listed(&self, key: &[u8], value: &[u8]) -> Option<MailboxEntry> {
        let dbname = key.get(1..).unwrap_or_default();
        match MailboxName::from_dbname(dbname) {
            Ok(name) => match self.entry_of_row(name, value) {
                Ok(entry) => entry,
                Err(error) => {
                    self.report(&format!("mailbox {}", dbname.escape_ascii()), &error);
                    None
                }
            },
            Err(error) => {
                let what = format_args!("row {} of the mailbox list: {error}", dbname.escape_ascii());
                self.log().record(Level::Error, what);
                None
            }
        }
    }
}

/// What to leave out after a row.
enum Skip {
    Nothing,
    Children,
    /// What is below the same mailbox.
    Siblings,
    /// All below the first component.
    Tree,
    All,
}

impl From<Step> for Skip {
    fn from(step: Step) -> Self {
        match step {
            Step::Next => Self::Nothing,
            Step::SkipChildren => Self::Children,
            Step::SkipSiblings => Self::Siblings,
            Step::Stop => Self::All,
        }
    }
}

/// The first key that is neither this nor below it.
fn after_tree(key: &[u8]) -> Vec<u8> {
    let mut after = key.to_vec();
    after.push(AFTER_CHILDREN);
    after
}

/// The key of the name above a key; the key itself if there is none.
fn above(key: &[u8]) -> &[u8] {
    let end = key.iter().rposition(|&byte| byte == CHILD);
    end.and_then(|end| key.get(..end)).unwrap_or(key)
}

/// A key up to the end of its first component, which comes after the domain.
fn top_component(key: &[u8]) -> &[u8] {
    let end = key.iter().position(|&byte| byte == CHILD).unwrap_or(key.len());
    key.get(..end).unwrap_or(key)
}

/// Between components of a key; below every octet that a component may hold.
const CHILD: u8 = 0x1f;
/// The octet after [`CHILD`].
const AFTER_CHILDREN: u8 = 0x20;
/// Rows that are read at once.
const BATCH: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_below_a_row_end_before_names_that_merely_begin_like_it() {
        let after = after_tree(b"Nuser\x1ffred");
        let sorted: [&[u8]; 3] = [
            b"Nuser\x1ffred",
            b"Nuser\x1ffred\x1fz\x1fz",
            b"Nuser\x1ffred\x1f\x7e",
        ];
        assert!(sorted.iter().all(|key| *key < after.as_slice()));
        let others: [&[u8]; 2] = [b"Nuser\x1ffred b", b"Nuser\x1ffred2"];
        assert!(others.iter().all(|key| *key >= after.as_slice()));
    }

    #[test]
    fn what_lies_beside_a_row_is_below_the_same_name() {
        assert_eq!(above(b"Nuser\x1ffred\x1fz"), b"Nuser\x1ffred");
        assert_eq!(above(b"Nshared"), b"Nshared");
    }

    #[test]
    fn the_first_component_keeps_its_domain() {
        assert_eq!(
            top_component(b"Na.org\x1dDELETED\x1fuser\x1fx"),
            b"Na.org\x1dDELETED"
        );
        assert_eq!(top_component(b"Nshared"), b"Nshared");
    }
}
