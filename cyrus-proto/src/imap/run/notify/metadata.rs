//! Changed annotations (RFC 5465, sections 5.6 and 5.7).

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};

use cyrus_store::{AnnotationScope, MailboxError, MailboxId};

use crate::imap::command::EventSet;
use crate::imap::notify::{Metadata, Notify};
use crate::imap::response::put_metadata_names;
use crate::imap::run::Request;

/// Tells the names of changed annotations (RFC 5465, sections 5.6 and 5.7).
pub(super) fn look_at_metadata(
    request: &Request,
    notify: &mut Notify,
    out: &mut Vec<u8>,
) -> Result<(), MailboxError> {
    let now = metadata(request, notify)?;
    let before: HashSet<&(Option<MailboxId>, String, u64)> = notify.metadata.iter().collect();
    let after: HashSet<&(Option<MailboxId>, String, u64)> = now.iter().collect();
    let mut changed: BTreeMap<Option<&MailboxId>, Vec<&str>> = BTreeMap::new();
    for (id, entry, _) in before.symmetric_difference(&after).copied() {
        changed.entry(id.as_ref()).or_default().push(entry);
    }
    for (id, mut entries) in changed {
        entries.sort_unstable();
        entries.dedup();
        let observed = notify.mailboxes.iter().find(|observed| Some(&observed.id) == id);
        let name = match (id, observed) {
            (None, _) => String::new(),
            (Some(_), Some(observed)) => request.client_name(&observed.name),
            // It is gone with its annotations.
            (Some(_), None) => continue,
        };
        put_metadata_names(out, name.as_bytes(), &entries);
    }
    notify.metadata = now;
    Ok(())
}

/// The annotations that the groups ask for.
pub(super) fn metadata(request: &Request, notify: &Notify) -> Result<Metadata, MailboxError> {
    let store = &request.service.store;
    let mut all = Vec::new();
    let mut add = |id: Option<&MailboxId>, scope: AnnotationScope<'_>| -> Result<(), MailboxError> {
        for annotation in store.stored_annotations(scope, &request.user.auth)? {
            let mut digest = DefaultHasher::new();
            annotation.value.hash(&mut digest);
            all.push((id.cloned(), annotation.metadata_name(), digest.finish()));
        }
        Ok(())
    };
    if notify.wants(EventSet::SERVER_METADATA_CHANGE) {
        add(None, AnnotationScope::Server)?;
    }
    for observed in &notify.mailboxes {
        if observed.readable && observed.events.contains(EventSet::MAILBOX_METADATA_CHANGE) {
            add(Some(&observed.id), AnnotationScope::Mailbox(&observed.name))?;
        }
    }
    Ok(all)
}
