//! What a client asked to be told of without asking (RFC 5465), and what it knows of each of the mailboxes.

use std::collections::HashSet;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use cyrus_store::{Hint, MailboxId, MailboxName, MailboxStatus, ModSeq, UidValidity, Watch};

use super::command::{EventSet, FetchAttributes, StatusItems};
use super::response::StatusData;
use super::selected::Wanted;
use crate::job::Link;

/// The state of NOTIFY in a session. NOTIFY NONE leaves one without groups, which is not the same as none: then the client
/// wants to hear of nothing at all.
pub(crate) struct Notify {
    /// Events of the selected mailbox.
    pub(crate) selected: SelectedEvents,
    /// Events of others.
    pub(crate) groups: Vec<Group>,
    /// The mailboxes of the groups, by name.
    pub(crate) mailboxes: Vec<Observed>,
    /// What the user is subscribed to, if a group needs it.
    pub(crate) subscriptions: Vec<MailboxName>,
    /// The annotations of the server and of the mailboxes, if a group needs them.
    pub(crate) metadata: Metadata,
    /// What may have changed since the last look.
    pub(crate) news: Arc<News>,
    /// Subscriptions to hints about the list, the user's subscriptions, and annotations.
    pub(crate) watches: Vec<Watch>,
    /// Names to which this client itself did something since the last look at the list.
    pub(crate) own: Vec<MailboxName>,
    /// Where the command at hand adds messages, and what it did add there and elsewhere since the last look.
    pub(crate) target: Option<MailboxName>,
    pub(crate) added: Vec<Added>,
    /// The mailbox that was selected at the last look.
    pub(crate) was_selected: Option<MailboxId>,
    /// When to look without being told to.
    pub(crate) poll: Instant,
}

/// Messages that the client itself added to a mailbox.
pub(crate) struct Added {
    pub(crate) name: MailboxName,
    pub(crate) uidvalidity: u32,
    /// The lowest and the highest UID, and how many they are.
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) count: u32,
}

/// Annotations as they were told: of which mailbox (none is the server), entry, and a digest of the value.
pub(crate) type Metadata = Vec<(Option<MailboxId>, String, u64)>;

/// What the client wants of the selected mailbox.
#[derive(Clone, Debug, Default)]
pub(crate) struct SelectedEvents {
    /// The events.
    pub(crate) events: EventSet,
    /// Whether expunged messages are told between commands, too.
    pub(crate) immediate: bool,
    /// What is fetched of new messages.
    pub(crate) fetch: Option<Arc<FetchAttributes>>,
}

impl SelectedEvents {
    /// What of it the view of the mailbox has to know.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            counts: self.events.contains(EventSet::MESSAGE_NEW),
            flags: self
                .events
                .intersects(EventSet::FLAG_CHANGE.with(EventSet::ANNOTATION_CHANGE)),
            annotations: self.events.contains(EventSet::ANNOTATION_CHANGE),
            uids: true,
            fetch: self.fetch.is_some(),
        }
    }
}

/// An event group whose names are resolved.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) mailboxes: Mailboxes,
    pub(crate) events: EventSet,
}

/// `filter-mailboxes-other`
#[derive(Clone, Debug)]
pub(crate) enum Mailboxes {
    /// The user's own; `inboxes` is the same, for mail can be addressed to each of them.
    Personal,
    Subscribed,
    Subtree(Vec<MailboxName>),
    Named(Vec<MailboxName>),
}

/// A mailbox of the groups.
pub(crate) struct Observed {
    pub(crate) name: MailboxName,
    pub(crate) id: MailboxId,
    /// The events of all groups that it is in.
    pub(crate) events: EventSet,
    /// Whether the user may read it.
    pub(crate) readable: bool,
    /// What the client knows of its messages.
    pub(crate) told: Counts,
    /// The subscription to hints, if a group wants to know of messages.
    pub(crate) watch: Option<Watch>,
}

/// What a STATUS notification is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) messages: u32,
    pub(crate) uidnext: u32,
    pub(crate) uidvalidity: UidValidity,
    pub(crate) unseen: u32,
    pub(crate) modseq: ModSeq,
}

impl From<&MailboxStatus> for Counts {
    fn from(status: &MailboxStatus) -> Self {
        Self {
            messages: status.messages,
            uidnext: status.uidnext,
            uidvalidity: status.uidvalidity,
            unseen: status.unseen,
            modseq: status.highestmodseq,
        }
    }
}

impl Counts {
    /// Takes note of messages that the client added itself: of these it need not be told (RFC 5465, section 5). Where others
    /// did something meanwhile, they are told with that.
    pub(crate) fn take_own(&mut self, added: &Added, now: &Self) {
        let alone = self.uidvalidity.0 == added.uidvalidity
            && self.uidnext <= added.first
            && now.uidnext == added.last.saturating_add(1)
            && now.messages == self.messages.saturating_add(added.count);
        if alone {
            *self = *now;
        }
    }

    /// The numbers as STATUS tells them.
    pub(crate) fn data(&self) -> StatusData {
        StatusData {
            messages: self.messages,
            uidnext: self.uidnext,
            uidvalidity: self.uidvalidity.0,
            unseen: self.unseen,
            highestmodseq: self.modseq.0,
            ..StatusData::default()
        }
    }

    /// The items to tell a client that knows `self` and wants `events`, now that the mailbox is as `now` (RFC 5465,
    /// sections 5.1 to 5.3); `condstore` if the client has switched that on.
    pub(crate) fn changed(&self, now: &Self, events: EventSet, condstore: bool) -> StatusItems {
        const COUNTS: StatusItems = StatusItems::MESSAGES.with(StatusItems::UIDNEXT);
        let mut items = StatusItems::default();
        let renewed = self.uidvalidity != now.uidvalidity;
        if renewed {
            items = items.with(StatusItems::UIDVALIDITY);
        }
        let counts = (self.messages, self.uidnext) != (now.messages, now.uidnext) || renewed;
        if counts && events.contains(EventSet::MESSAGE_NEW) {
            items = items.with(COUNTS);
            if condstore {
                items = items.with(StatusItems::HIGHESTMODSEQ);
            }
        }
        if events.intersects(EventSet::FLAG_CHANGE.with(EventSet::ANNOTATION_CHANGE)) {
            if condstore && self.modseq != now.modseq {
                items = items
                    .with(StatusItems::HIGHESTMODSEQ)
                    .with(StatusItems::UIDVALIDITY);
            }
            if self.unseen != now.unseen && events.contains(EventSet::FLAG_CHANGE) {
                items = items.with(StatusItems::UNSEEN);
            }
        }
        items
    }
}

/// The items of the first STATUS response (RFC 5465, section 3.1).
pub(crate) fn first_items(events: EventSet) -> StatusItems {
    let mut items = StatusItems::default();
    if events.contains(EventSet::MESSAGE_NEW) {
        items = items
            .with(StatusItems::MESSAGES)
            .with(StatusItems::UIDNEXT)
            .with(StatusItems::UIDVALIDITY);
    }
    if events.intersects(EventSet::FLAG_CHANGE.with(EventSet::ANNOTATION_CHANGE)) {
        items = items
            .with(StatusItems::UIDVALIDITY)
            .with(StatusItems::HIGHESTMODSEQ);
    }
    items
}

impl Notify {
    /// NOTIFY NONE.
    pub(crate) fn none(now: Instant) -> Self {
        Self {
            selected: SelectedEvents::default(),
            groups: Vec::new(),
            mailboxes: Vec::new(),
            subscriptions: Vec::new(),
            metadata: Vec::new(),
            news: Arc::default(),
            watches: Vec::new(),
            own: Vec::new(),
            target: None,
            added: Vec::new(),
            was_selected: None,
            poll: now,
        }
    }

    /// Whether anything that happens elsewhere can be told.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.groups.is_empty() || !self.selected.events.is_empty()
    }

    /// Whether any group wants to hear of one of these events.
    pub(crate) fn wants(&self, events: EventSet) -> bool {
        self.groups.iter().any(|group| group.events.intersects(events))
    }

    /// Whether the user's subscriptions matter.
    pub(crate) fn wants_subscriptions(&self) -> bool {
        let by_subscription = |group: &Group| matches!(group.mailboxes, Mailboxes::Subscribed);
        self.wants(EventSet::SUBSCRIPTION_CHANGE) || self.groups.iter().any(by_subscription)
    }

    /// Whether annotations matter.
    pub(crate) fn wants_metadata(&self) -> bool {
        self.wants(EventSet::MAILBOX_METADATA_CHANGE.with(EventSet::SERVER_METADATA_CHANGE))
    }

    /// The client added these messages.
    pub(crate) fn note_added(&mut self, uidvalidity: u32, uids: &[(u32, u32)]) {
        let Some(name) = self.target.take() else { return };
        let (first, last) = (uids.first(), uids.last());
        if let (Some(&(first, _)), Some(&(_, last))) = (first, last)
            && self.added.len() < Self::MAX_OWN
        {
            let count = uids.iter().map(|&(first, last)| last - first + 1).sum();
            self.added.push(Added {
                name,
                uidvalidity,
                first,
                last,
                count,
            });
        }
    }

    /// The client itself does something to this name, of which it need not be told.
    pub(crate) fn note_own(&mut self, name: MailboxName) {
        if self.own.len() < Self::MAX_OWN && !self.own.contains(&name) {
            self.own.push(name);
        }
    }

    /// The most names remembered between two looks; what is not is told, which is no harm.
    const MAX_OWN: usize = 64;
}

/// What may have changed; filled by hints, emptied by looks.
#[derive(Default)]
pub(crate) struct News {
    mailboxes: Mutex<HashSet<MailboxId>>,
    list: AtomicBool,
    subscriptions: AtomicBool,
    metadata: AtomicBool,
}

impl News {
    /// Takes the hints about a mailbox, and wakes the session.
    pub(crate) fn of_mailboxes(self: &Arc<Self>, link: Option<&Link>) -> Arc<dyn Fn(Hint) + Send + Sync> {
        let (news, link) = (self.clone(), link.cloned());
        Arc::new(move |hint| {
            news.add(hint.id);
            if let Some(link) = &link {
                link.wake();
            }
        })
    }

    /// Takes hints about something that there is once, and wakes the session.
    pub(crate) fn of(
        self: &Arc<Self>,
        which: fn(&Self) -> &AtomicBool,
        link: Option<&Link>,
    ) -> Arc<dyn Fn() + Send + Sync> {
        let (news, link) = (self.clone(), link.cloned());
        Arc::new(move || {
            which(&news).store(true, Ordering::Release);
            if let Some(link) = &link {
                link.wake();
            }
        })
    }

    /// The mailbox list.
    pub(crate) fn list(&self) -> &AtomicBool {
        &self.list
    }

    /// The user's subscriptions.
    pub(crate) fn subscriptions(&self) -> &AtomicBool {
        &self.subscriptions
    }

    /// Annotations.
    pub(crate) fn metadata(&self) -> &AtomicBool {
        &self.metadata
    }

    /// Something happened in a mailbox.
    pub(crate) fn add(&self, id: MailboxId) {
        self.mailboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id);
    }

    /// The mailboxes in which something happened.
    pub(crate) fn take_mailboxes(&self) -> HashSet<MailboxId> {
        mem::take(&mut *self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(messages: u32, uidnext: u32, unseen: u32, modseq: u64) -> Counts {
        Counts {
            messages,
            uidnext,
            uidvalidity: UidValidity(7),
            unseen,
            modseq: ModSeq(modseq),
        }
    }

    const MESSAGES: EventSet = EventSet::MESSAGE_NEW.with(EventSet::MESSAGE_EXPUNGE);

    #[test]
    fn what_the_client_adds_itself_is_no_news_unless_others_do_something_too() {
        let added = Added {
            name: MailboxName::parse("user.a").unwrap(),
            uidvalidity: 7,
            first: 3,
            last: 4,
            count: 2,
        };
        let mut told = counts(2, 3, 1, 9);
        let now = counts(4, 5, 3, 11);
        told.take_own(&added, &now);
        assert_eq!(told, now);
        for now in [counts(5, 6, 3, 12), counts(3, 5, 3, 12)] {
            let mut told = counts(2, 3, 1, 9);
            told.take_own(&added, &now);
            assert_eq!(told, counts(2, 3, 1, 9));
        }
    }

    #[test]
    fn a_status_tells_what_the_events_ask_for() {
        let (old, new) = (counts(2, 3, 1, 9), counts(3, 4, 2, 10));
        let both = StatusItems::MESSAGES.with(StatusItems::UIDNEXT);
        assert_eq!(old.changed(&old, MESSAGES, true), StatusItems::default());
        assert_eq!(old.changed(&new, MESSAGES, false), both);
        assert_eq!(
            old.changed(&new, MESSAGES, true),
            both.with(StatusItems::HIGHESTMODSEQ)
        );
        let flags = MESSAGES.with(EventSet::FLAG_CHANGE);
        let seen = counts(2, 3, 0, 10);
        assert_eq!(old.changed(&seen, MESSAGES, true), StatusItems::default());
        assert_eq!(old.changed(&seen, flags, false), StatusItems::UNSEEN);
        let answered = counts(2, 3, 1, 10);
        assert_eq!(old.changed(&answered, flags, false), StatusItems::default());
        assert_eq!(
            old.changed(&answered, flags, true),
            StatusItems::HIGHESTMODSEQ.with(StatusItems::UIDVALIDITY)
        );
        let renewed = Counts {
            uidvalidity: UidValidity(8),
            ..old
        };
        assert_eq!(
            old.changed(&renewed, MESSAGES, false),
            both.with(StatusItems::UIDVALIDITY)
        );
    }
}
