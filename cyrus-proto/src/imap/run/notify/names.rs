//! Which mailboxes there are, and what happened to their names (RFC 5465, sections 5.4, 5.5, 5.9 and 6).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use cyrus_acl::Rights;
use cyrus_store::{MailboxEntry, MailboxError, MailboxId, MailboxKind, MailboxName};

use super::observe;
use crate::imap::command::{EventSet, ListCommand, ListForm, ListReturns, ListSelection};
use crate::imap::notify::{Mailboxes, Notify, Observed};
use crate::imap::response::{Code, Reply, put_astring, put_list};
use crate::imap::run::{Request, list};
use crate::job::Link;

/// A mailbox that a group has.
pub(super) struct Found {
    pub(super) entry: Arc<MailboxEntry>,
    pub(super) readable: bool,
    pub(super) events: EventSet,
}

/// The mailboxes of all groups that the user may look up, by name.
pub(super) fn survey(request: &Request, notify: &Notify) -> Result<Vec<Found>, MailboxError> {
    let store = &request.service.store;
    let auth = &request.user.auth;
    let mut all: BTreeMap<MailboxName, Found> = BTreeMap::new();
    let mut add = |entry: Arc<MailboxEntry>, rights: Rights, events: EventSet| {
        let usable = entry.id.is_some() && !entry.mbtype.intermediate && entry.server.is_none();
        let listed = entry.mbtype.kind == MailboxKind::Email || request.user.is_admin();
        if !usable || !listed || !rights.contains(Rights::LOOKUP) {
            return;
        }
        let found = all.entry(entry.name.clone()).or_insert_with(|| Found {
            readable: rights.contains(Rights::READ),
            entry,
            events: EventSet::default(),
        });
        found.events = found.events.with(events);
    };
    let tree = |top: &MailboxName, events: EventSet, add: &mut dyn FnMut(_, _, _)| {
        store.list(&top.to_dbname(), auth, &mut |entry, rights| {
            if entry.name == *top || top.is_ancestor_of(&entry.name) {
                add(Arc::new(entry), rights, events);
            }
            ControlFlow::Continue(())
        })
    };
    for group in &notify.groups {
        match &group.mailboxes {
            Mailboxes::Personal => {
                if let Ok(inbox) = MailboxName::inbox_of(&request.user.name) {
                    tree(&inbox, group.events, &mut add)?;
                }
            }
            Mailboxes::Subtree(tops) => {
                for top in tops {
                    tree(top, group.events, &mut add)?;
                }
            }
            Mailboxes::Subscribed => {
                for name in &notify.subscriptions {
                    if let Some(entry) = store.lookup(name)? {
                        let rights = store.rights(&entry, auth);
                        add(entry, rights, group.events);
                    }
                }
            }
            Mailboxes::Named(names) => {
                for name in names {
                    if let Some(entry) = store.lookup(name)? {
                        let rights = store.rights(&entry, auth);
                        add(entry, rights, group.events);
                    }
                }
            }
        }
    }
    Ok(all.into_values().collect())
}

/// Tells of changed subscriptions of mailboxes that a group with SubscriptionChange has (RFC 5465, section 5.5).
pub(super) fn look_at_subscriptions(
    request: &Request,
    notify: &mut Notify,
    out: &mut Vec<u8>,
) -> Result<(), MailboxError> {
    let now = request.service.store.subscriptions(&request.user.auth)?;
    let before: HashSet<&MailboxName> = notify.subscriptions.iter().collect();
    let after: HashSet<&MailboxName> = now.iter().collect();
    let mut changed: Vec<&MailboxName> = before.symmetric_difference(&after).copied().collect();
    changed.sort();
    for name in changed {
        let wanted = notify.groups.iter().any(|group| {
            group.events.contains(EventSet::SUBSCRIPTION_CHANGE)
                && match &group.mailboxes {
                    Mailboxes::Personal => name.owner().is_some_and(|owner| owner == request.user.name),
                    Mailboxes::Subscribed => true,
                    Mailboxes::Subtree(tops) => {
                        tops.iter().any(|top| top == name || top.is_ancestor_of(name))
                    }
                    Mailboxes::Named(names) => names.contains(name),
                }
        });
        if wanted && !notify.own.contains(name) {
            put_listed(request, name, after.contains(name), None, out)?;
        }
    }
    notify.subscriptions = now;
    Ok(())
}

/// Compares the list with what the client knows of it (RFC 5465, sections 5.4 and 5.9).
pub(super) fn look_at_list(
    request: &Request,
    notify: &mut Notify,
    link: Option<&Link>,
    out: &mut Vec<u8>,
) -> Result<(), MailboxError> {
    let found = survey(request, notify)?;
    if found.len() > request.service.options.max_notify_mailboxes {
        Reply::ok("Too many mailboxes for notifications")
            .with(Code::NotificationOverflow)
            .put_untagged(out);
        *notify = Notify::none(notify.poll);
        return Ok(());
    }
    let mut before: HashMap<MailboxId, Observed> = std::mem::take(&mut notify.mailboxes)
        .into_iter()
        .map(|observed| (observed.id.clone(), observed))
        .collect();
    let mut lines = Lines::default();
    for found in &found {
        let Some(id) = &found.entry.id else { continue };
        let name = &found.entry.name;
        match before.get(id) {
            Some(known) if known.name == *name => {
                if known.readable != found.readable {
                    lines.access.insert(name.clone(), found.readable);
                }
            }
            Some(known) => lines
                .renamed
                .push((known.name.clone(), name.clone(), found.events)),
            None => lines.created.push((name.clone(), found.events)),
        }
    }
    let present: HashSet<&MailboxId> = found.iter().filter_map(|found| found.entry.id.as_ref()).collect();
    for (id, gone) in &before {
        if !present.contains(id) {
            lines.deleted.push((gone.name.clone(), gone.events));
        }
    }
    lines.put(request, &notify.own, out)?;
    notify.own.clear();
    let callback = notify.news.of_mailboxes(link);
    for found in found {
        let known = found.entry.id.as_ref().and_then(|id| before.remove(id));
        let observed = match known {
            Some(known) if known.readable == found.readable && known.events == found.events => Observed {
                name: found.entry.name.clone(),
                ..known
            },
            _ => observe(request, found, &callback)?,
        };
        notify.mailboxes.push(observed);
    }
    Ok(())
}

/// What happened to names.
#[derive(Default)]
struct Lines {
    created: Vec<(MailboxName, EventSet)>,
    deleted: Vec<(MailboxName, EventSet)>,
    renamed: Vec<(MailboxName, MailboxName, EventSet)>,
    /// Names that can be read now, or no longer.
    access: BTreeMap<MailboxName, bool>,
}

impl Lines {
    fn put(&mut self, request: &Request, own: &[MailboxName], out: &mut Vec<u8>) -> Result<(), MailboxError> {
        for (name, readable) in &self.access {
            match readable {
                true => put_listed(request, name, false, None, out)?,
                false => put_plain(request, "\\NoAccess", name, out),
            }
        }
        let wanted = |events: EventSet| events.contains(EventSet::MAILBOX_NAME);
        let mut told: HashSet<MailboxName> = HashSet::new();
        for (from, to, events) in &self.renamed {
            // Its children go with a mailbox, and nothing is said of them.
            let with_parent = self.renamed.iter().any(|(old, new, _)| {
                old.is_ancestor_of(from)
                    && new.is_ancestor_of(to)
                    && from.moved(old, new).as_ref() == Some(to)
            });
            told.insert(to.clone());
            told.insert(from.clone());
            if wanted(*events) && !with_parent && !own.contains(to) {
                put_listed(request, to, false, Some(from), out)?;
            }
        }
        self.deleted.sort_by(|(one, _), (other, _)| one.cmp(other));
        let created: HashSet<&MailboxName> = self.created.iter().map(|(name, _)| name).collect();
        let gone = self.deleted.iter().filter(|(name, _)| !created.contains(name));
        let deleted: HashSet<&MailboxName> = self.deleted.iter().map(|(name, _)| name).collect();
        // INBOX stays when it is renamed, and a name that is deleted and made anew in between is there as before.
        let made = self.created.iter().filter(|(name, _)| !deleted.contains(name));
        for (name, events) in gone.chain(made) {
            if !wanted(*events) || own.contains(name) || !told.insert(name.clone()) {
                continue;
            }
            put_listed(request, name, false, None, out)?;
            // Whether the parent has children may have changed with it.
            // Nobody's mailbox is above an INBOX.
            if let Some(parent) = name.parent().filter(|_| !name.is_user_inbox())
                && told.insert(parent.clone())
            {
                put_listed(request, &parent, false, None, out)?;
            }
        }
        Ok(())
    }
}

/// `* LIST (attribute) "/" name` of a mailbox of which there is nothing more to say.
pub(super) fn put_plain(request: &Request, attributes: &str, name: &MailboxName, out: &mut Vec<u8>) {
    let separator = request.service.options.namespace.separator.as_char();
    let name = request.client_name(name);
    put_list(out, "LIST", attributes, Some(separator), name.as_bytes());
}

/// `* LIST` with all attributes of a mailbox as they are now, and its old name if it was renamed.
fn put_listed(
    request: &Request,
    name: &MailboxName,
    subscribed: bool,
    old: Option<&MailboxName>,
    out: &mut Vec<u8>,
) -> Result<(), MailboxError> {
    let client = request.client_name(name);
    let command = ListCommand {
        patterns: vec![client.clone().into_bytes()],
        returns: ListReturns {
            subscribed: true,
            children: true,
            special_use: true,
            ..ListReturns::default()
        },
        form: ListForm::Extended,
        select: ListSelection::default(),
        reference: Vec::new(),
    };
    let mut lines = Vec::new();
    list::put_all(request, &command, &mut lines)?;
    let wild = client.contains(['*', '%']);
    if wild || lines.is_empty() {
        let attributes = match (wild, subscribed) {
            (true, true) => "\\Subscribed",
            (true, false) => "",
            (false, true) => "\\NonExistent \\Subscribed",
            (false, false) => "\\NonExistent",
        };
        lines.clear();
        put_plain(request, attributes, name, &mut lines);
    }
    if let Some(old) = old {
        lines.truncate(lines.len().saturating_sub(2));
        lines.extend_from_slice(b" (\"OLDNAME\" (");
        let old = request.client_name(old);
        put_astring(&mut lines, old.as_bytes());
        lines.extend_from_slice(b"))\r\n");
    }
    out.append(&mut lines);
    Ok(())
}
