//! Which mailboxes a `squatter` is about.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use cyrus_acl::AuthState;
use cyrus_store::{AnnotationScope, Audience, MailboxEntry, MailboxError, MailboxName, Namespace, Store};

use super::switches::Switches;
use crate::config::{Config, Opt};
use crate::settings;

/// What the configuration says of mailboxes to index.
pub(super) struct Sources {
    namespace: Namespace,
    deleted_prefix: String,
    skipped_users: Vec<String>,
    skipped_domains: Vec<String>,
}

impl Sources {
    pub(super) fn new(config: &Config, store: &Store) -> Self {
        Self {
            namespace: settings::namespace(config),
            deleted_prefix: store.options().deleted_prefix.clone(),
            skipped_users: config.words(Opt::SearchIndexSkipUsers),
            skipped_domains: config.words(Opt::SearchIndexSkipDomains),
        }
    }

    /// The mailboxes that a command line means, in the order of their names. Those that do not exist are passed over, as
    /// Cyrus does.
    pub(super) fn entries(
        &self,
        store: &Store,
        switches: &Switches,
    ) -> Result<Vec<MailboxEntry>, MailboxError> {
        let mut found = BTreeMap::new();
        let mut add = |entry: MailboxEntry| {
            if self.is_wanted(&entry) {
                found.insert(entry.name.clone(), entry);
            }
        };
        if switches.sources.is_empty() {
            store.list("", &AuthState::system(), &mut |entry, _| {
                add(entry);
                ControlFlow::Continue(())
            })?;
        }
        for source in &switches.sources {
            let name = match switches.users {
                true => self.namespace.inbox(source),
                false => self.namespace.to_internal(source, None, true),
            };
            // What is no name is the name of no mailbox.
            let Ok(name) = name else { continue };
            if !switches.users && !switches.recursive {
                if let Some(entry) = store.lookup(&name)? {
                    add(entry.as_ref().clone());
                }
                continue;
            }
            store.list(&name.to_dbname(), &AuthState::system(), &mut |entry, _| {
                if entry.name == name || name.is_ancestor_of(&entry.name) {
                    add(entry);
                }
                ControlFlow::Continue(())
            })?;
        }
        let mut entries: Vec<MailboxEntry> = found.into_values().collect();
        if let Some(from) = &switches.from_name {
            // As with Cyrus: what comes before such names is passed over.
            entries.retain(|entry| {
                entry
                    .name
                    .as_str()
                    .as_bytes()
                    .iter()
                    .take(from.len())
                    .ge(from.as_bytes())
            });
        }
        if switches.by_annotation {
            let mut known = HashMap::new();
            entries.retain(|entry| is_annotated(store, &entry.name, &mut known));
        }
        Ok(entries)
    }

    /// The mailboxes of these names, as far as they exist.
    pub(super) fn named(&self, store: &Store, names: &[MailboxName]) -> Vec<MailboxEntry> {
        let found = names.iter().filter_map(|name| store.lookup(name).ok().flatten());
        found
            .map(|entry| entry.as_ref().clone())
            .filter(|entry| self.is_wanted(entry))
            .collect()
    }

    fn is_wanted(&self, entry: &MailboxEntry) -> bool {
        let kind = &entry.mbtype;
        if kind.intermediate || kind.remote || kind.deleted || entry.id.is_none() {
            return false;
        }
        if entry.name.is_deleted(&self.deleted_prefix) {
            return false;
        }
        let Some(owner) = entry.name.owner() else {
            return true;
        };
        let domain = owner.split_once('@').map(|(_, domain)| domain);
        !self.skipped_users.contains(&owner)
            && !domain.is_some_and(|domain| self.skipped_domains.iter().any(|skipped| skipped == domain))
    }
}

/// Whether the annotation of a mailbox, or of the nearest one above it that has it, asks for an index.
fn is_annotated(store: &Store, name: &MailboxName, known: &mut HashMap<MailboxName, bool>) -> bool {
    if let Some(known) = known.get(name) {
        return *known;
    }
    let scope = AnnotationScope::Mailbox(name);
    let value = store.annotation(scope, SQUAT, Audience::Shared, &AuthState::system());
    let answer = match value.ok().flatten() {
        Some(value) => value.eq_ignore_ascii_case(b"true"),
        None => name
            .parent()
            .is_some_and(|parent| is_annotated(store, &parent, known)),
    };
    known.insert(name.clone(), answer);
    answer
}

const SQUAT: &str = "/vendor/cmu/cyrus-imapd/squat";
