//! NOTIFY (RFC 5465): what is told first, and looks at what may have changed since.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cyrus_store::{Hint, MailboxError, MailboxId, MailboxName, UidSet};

use self::metadata::{look_at_metadata, metadata};
use self::names::{Found, look_at_list, look_at_subscriptions, put_plain, survey};
use super::{Outcome, Request, completed, fetch};
use crate::imap::command::{EventSet, FetchAttributes, FetchModifiers, MailboxFilter, NotifySet, Numbering};
use crate::imap::enabled::Enabled;
use crate::imap::notify::{Counts, Group, Mailboxes, Notify, Observed, SelectedEvents, first_items};
use crate::imap::response::{Code, Reply, Status, put_status};
use crate::imap::selected::{News, Wanted};
use crate::imap::sequence::{SeqNumber, SequenceSet};
use crate::job::{Job, Link};
use crate::output::Output;

mod metadata;
mod names;

/// The job of a NOTIFY.
pub(in crate::imap) fn set(
    request: Request,
    set: Option<Box<NotifySet>>,
    link: Option<Link>,
    now: Instant,
) -> Job {
    Job::once(move |output: &mut Output| {
        let mut request = request;
        let mut out = Vec::new();
        let (reply, notify) = match begin(&mut request, set.as_deref(), link.as_ref(), now, &mut out) {
            Ok(notify) => (completed(), Some(Box::new(notify))),
            Err(Refused::With(reply)) => (reply, None),
            Err(Refused::By(error)) => (request.refusal(&error), None),
        };
        output.put_vec(out);
        Outcome::Notify {
            reply: Some(reply),
            mailbox: request.mailbox,
            notify,
        }
    })
}

/// A look at all of which there may be news; `idle` during IDLE, when the client has no use for sequence numbers.
pub(in crate::imap) fn look(request: Request, notify: Box<Notify>, link: Option<Link>, idle: bool) -> Job {
    Job::once(move |output: &mut Output| {
        let (mut request, mut notify) = (request, notify);
        let mut out = Vec::new();
        let mut reply = None;
        if let Err(error) = look_at_selected(&mut request, &notify, link.as_ref(), idle, &mut out) {
            let refusal = request.refusal(&error);
            // Between commands, the next one tells.
            reply = idle.then_some(Reply {
                status: Status::Bye,
                ..refusal
            });
        }
        if let Err(error) = look_at_others(&mut request, &mut notify, link.as_ref(), &mut out) {
            // Logs what an administrator should know; the next look tries again.
            let _ = request.refusal(&error);
            notify.news.list().store(true, Ordering::Release);
        }
        output.put_vec(out);
        Outcome::Notify {
            reply,
            mailbox: request.mailbox,
            notify: Some(notify),
        }
    })
}

/// Fetches what the client asked for of messages that it was told of: in NOTIFY, and in searches that are kept true, which
/// is sent together where it is about the same messages (RFC 5465, section 5.2).
pub(in crate::imap) fn push(request: Request, wanted: Option<&FetchAttributes>) -> Job {
    let mut request = request;
    let (mut uids, mut wanted) = (UidSet::new(), wanted.cloned().unwrap_or_default());
    if let Some(selected) = &mut request.mailbox {
        uids = selected.view.take_fresh();
        if let Some((found, more)) = selected.contexts.take_fresh() {
            let mut others = uids.clone();
            others.remove_all(&found);
            // What is found by no search waits for the next turn.
            selected.view.keep_fresh(&others);
            if others.len() == uids.len() {
                wanted = FetchAttributes::default();
            }
            wanted.merge(more);
            uids = found;
        }
    }
    let seqnos = request.mailbox.iter().flat_map(|selected| {
        let known = selected.view.uids();
        uids.iter().filter_map(|uid| known.seqno(uid))
    });
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for seqno in seqnos {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(seqno) => *last = seqno,
            _ => ranges.push((seqno, seqno)),
        }
    }
    let number = |number: u32| std::num::NonZeroU32::new(number).map(SeqNumber::Number);
    let ranges = ranges
        .into_iter()
        .filter_map(|(first, last)| number(first).zip(number(last)));
    match SequenceSet::new(ranges.collect()) {
        Some(set) => fetch::job(
            request,
            Numbering::Sequence,
            &set,
            wanted,
            &FetchModifiers::default(),
        ),
        None => Job::once(move |_: &mut Output| request.finish(completed())),
    }
}

enum Refused {
    With(Reply),
    By(MailboxError),
}

impl From<MailboxError> for Refused {
    fn from(error: MailboxError) -> Self {
        Self::By(error)
    }
}

fn begin(
    request: &mut Request,
    set: Option<&NotifySet>,
    link: Option<&Link>,
    now: Instant,
    out: &mut Vec<u8>,
) -> Result<Notify, Refused> {
    let mut notify = Notify::none(now);
    let Some(set) = set else {
        if let Some(selected) = &mut request.mailbox {
            selected.view.want(notify.selected.wanted());
        }
        return Ok(notify);
    };
    if set.has_unknown_events() {
        let reply = Reply::no("Unsupported event in Notify").with(Code::BadEvent);
        return Err(Refused::With(reply));
    }
    for group in &set.groups {
        let filter = match &group.filter {
            MailboxFilter::Selected | MailboxFilter::SelectedDelayed => {
                notify.selected = SelectedEvents {
                    events: group.events.known,
                    immediate: group.filter == MailboxFilter::Selected,
                    fetch: group.events.fetch.clone().map(Arc::new),
                };
                continue;
            }
            MailboxFilter::Inboxes | MailboxFilter::Personal => Mailboxes::Personal,
            MailboxFilter::Subscribed => Mailboxes::Subscribed,
            MailboxFilter::Subtree(names) => Mailboxes::Subtree(resolve(request, names)),
            MailboxFilter::Mailboxes(names) => Mailboxes::Named(resolve(request, names)),
        };
        if !group.events.known.is_empty() {
            notify.groups.push(Group {
                mailboxes: filter,
                events: group.events.known,
            });
        }
    }
    watch(request, &mut notify, link)?;
    if notify.wants_subscriptions() {
        notify.subscriptions = request.service.store.subscriptions(&request.user.auth)?;
    }
    let found = survey(request, &notify)?;
    if found.len() > request.service.options.max_notify_mailboxes {
        let reply = Reply::no("Too many mailboxes in Notify").with(Code::NotificationOverflow);
        return Err(Refused::With(reply));
    }
    // What has gathered is told as NOOP would, whatever the client wants from now on.
    if let Some(selected) = &mut request.mailbox {
        selected.view.want(Wanted::ALL);
    }
    request.refresh(&News::ALL, out)?;
    if let Some(selected) = &mut request.mailbox {
        let _ = (selected.view.take_fresh(), selected.view.take_annotated());
        selected.view.want(notify.selected.wanted());
    }
    let callback = notify.news.of_mailboxes(link);
    let current = request
        .mailbox
        .as_ref()
        .map(|selected| selected.mailbox.id().clone());
    for found in found {
        if !found.readable {
            put_plain(request, "\\NoAccess", &found.entry.name, out);
        }
        let observed = observe(request, found, &callback)?;
        if set.status && observed.watch.is_some() && Some(&observed.id) != current.as_ref() {
            let name = request.client_name(&observed.name);
            let items = first_items(observed.events);
            put_status(out, name.as_bytes(), items, &observed.told.data());
        }
        notify.mailboxes.push(observed);
    }
    if notify.wants_metadata() {
        notify.metadata = metadata(request, &notify)?;
    }
    notify.was_selected = current;
    Ok(notify)
}

/// The mailboxes that the client names; a name that cannot be one names none.
fn resolve(request: &Request, names: &[Vec<u8>]) -> Vec<MailboxName> {
    names.iter().filter_map(|name| request.name(name).ok()).collect()
}

/// Asks for hints about what is not a mailbox; before anything is read, so that nothing is missed.
fn watch(request: &Request, notify: &mut Notify, link: Option<&Link>) -> Result<(), MailboxError> {
    use crate::imap::notify::News;
    let store = &request.service.store;
    let news = notify.news.clone();
    if !notify.groups.is_empty() {
        notify.watches.push(store.watch_list(news.of(News::list, link)));
    }
    if notify.wants_subscriptions() {
        let callback = news.of(News::subscriptions, link);
        let watch = store.watch_subscriptions(&request.user.auth, callback)?;
        notify.watches.push(watch);
    }
    if notify.wants_metadata() {
        let callback = news.of(News::metadata, link);
        notify.watches.extend(store.watch_annotations(callback));
    }
    Ok(())
}

/// Begins to observe a mailbox: asks for hints, then counts.
fn observe(
    request: &Request,
    found: Found,
    callback: &Arc<dyn Fn(Hint) + Send + Sync>,
) -> Result<Observed, MailboxError> {
    let Found {
        entry,
        readable,
        events,
    } = found;
    let store = &request.service.store;
    let of_messages = readable && events.intersects(EventSet::OF_MESSAGES);
    let watch = match of_messages {
        true => store.watch_mailbox(&entry, callback.clone())?,
        false => None,
    };
    let mut told = Counts::default();
    if watch.is_some() {
        told = match store.status(&entry.name, &request.user.auth) {
            Ok(status) => Counts::from(&status),
            Err(error) => {
                // A damaged mailbox is no reason to be silent about the others.
                let _ = request.refusal(&error);
                told
            }
        };
    }
    Ok(Observed {
        name: entry.name.clone(),
        id: entry.id.clone().ok_or(MailboxError::NotFound)?,
        events,
        readable,
        told,
        watch,
    })
}

fn look_at_selected(
    request: &mut Request,
    notify: &Notify,
    link: Option<&Link>,
    idle: bool,
    out: &mut Vec<u8>,
) -> Result<(), MailboxError> {
    let wanted = notify.selected.wanted();
    let Some(selected) = &mut request.mailbox else {
        return Ok(());
    };
    selected.view.want(wanted);
    if notify.selected.events.is_empty() {
        return Ok(());
    }
    if let Some(link) = link {
        let link = link.clone();
        selected.watch(move || link.wake());
    }
    let news = News {
        expunges: idle || notify.selected.immediate,
        ..News::ALL
    };
    request.refresh(&news, out)
}

fn look_at_others(
    request: &mut Request,
    notify: &mut Notify,
    link: Option<&Link>,
    out: &mut Vec<u8>,
) -> Result<(), MailboxError> {
    let current = request
        .mailbox
        .as_ref()
        .map(|selected| selected.mailbox.id().clone());
    // What the client did and saw while it had the mailbox selected is no news.
    let left = notify
        .was_selected
        .clone()
        .filter(|left| Some(left) != current.as_ref());
    notify.was_selected.clone_from(&current);
    let mut changed = notify.news.take_mailboxes();
    let subscribed = notify.news.subscriptions().swap(false, Ordering::AcqRel);
    let listed = notify.news.list().swap(false, Ordering::AcqRel);
    if subscribed && notify.wants_subscriptions() {
        look_at_subscriptions(request, notify, out)?;
    }
    if (listed || subscribed) && !notify.groups.is_empty() {
        look_at_list(request, notify, link, out)?;
    }
    changed.extend(left.clone());
    look_at_messages(request, notify, &changed, [current, left], out)?;
    let annotated = notify.news.metadata().swap(false, Ordering::AcqRel);
    if (annotated || listed) && notify.wants_metadata() {
        look_at_metadata(request, notify, out)?;
    }
    Ok(())
}

/// Tells of new and expunged messages and changed flags in mailboxes that are not selected.
fn look_at_messages(
    request: &Request,
    notify: &mut Notify,
    changed: &HashSet<MailboxId>,
    [current, left]: [Option<MailboxId>; 2],
    out: &mut Vec<u8>,
) -> Result<(), MailboxError> {
    let condstore = request.enabled.contains(Enabled::CONDSTORE);
    let added = std::mem::take(&mut notify.added);
    for observed in &mut notify.mailboxes {
        let id = &observed.id;
        if observed.watch.is_none() || !changed.contains(id) || Some(id) == current.as_ref() {
            continue;
        }
        let now = match request.service.store.status(&observed.name, &request.user.auth) {
            Ok(status) => Counts::from(&status),
            // Gone, or no longer to be read: the list tells.
            Err(error) => {
                let _ = request.refusal(&error);
                continue;
            }
        };
        for added in added.iter().filter(|added| added.name == observed.name) {
            observed.told.take_own(added, &now);
        }
        let items = observed.told.changed(&now, observed.events, condstore);
        observed.told = now;
        if Some(id) != left.as_ref() && !items.is_empty() {
            let name = request.client_name(&observed.name);
            put_status(out, name.as_bytes(), items, &now.data());
        }
    }
    Ok(())
}
