//! The mailboxes that the patterns of a command line mean.

use std::ops::ControlFlow;

use cyrus_acl::AuthState;
use cyrus_store::{MailboxEntry, MailboxError, Namespace, Pattern, Store};

/// Every mailbox, in Cyrus's order: those of users, those of nobody, the deleted ones.
pub(super) fn all(store: &Store) -> Result<Vec<MailboxEntry>, MailboxError> {
    collect(store, &|_| true)
}

/// The mailboxes whose names, as administrators write them, match a pattern with `*` and `%`, in the same order.
pub(super) fn mailboxes(
    store: &Store,
    namespace: &Namespace,
    pattern: &str,
) -> Result<Vec<MailboxEntry>, MailboxError> {
    let pattern = Pattern::new("", pattern, namespace.separator).map_err(MailboxError::BadName)?;
    collect(store, &|entry| {
        pattern.matches(&namespace.to_client(&entry.name, None, true))
    })
}

fn collect(
    store: &Store,
    is_wanted: &dyn Fn(&MailboxEntry) -> bool,
) -> Result<Vec<MailboxEntry>, MailboxError> {
    let mut found = Vec::new();
    let prefix = &store.options().deleted_prefix;
    store.list("", &AuthState::system(), &mut |entry, _| {
        if is_wanted(&entry) {
            let class = match (entry.name.is_deleted(prefix), entry.name.owner()) {
                (true, _) => Class::Deleted,
                (false, Some(_)) => Class::Users,
                (false, None) => Class::Shared,
            };
            found.push((class, entry));
        }
        ControlFlow::Continue(())
    })?;
    found.sort_by_key(|(class, _)| *class);
    Ok(found.into_iter().map(|(_, entry)| entry).collect())
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Users,
    Shared,
    Deleted,
}
