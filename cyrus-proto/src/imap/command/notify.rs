//! NOTIFY (RFC 5465, section 8).

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::{tag, take_while1};
use nom::multi::separated_list1;

use super::CommandBody;
use super::fetch::{FetchAttributes, fetch_attributes};
use super::lex::{Parsed, astring, expect, is_atom_char, keyword, refuse, sp};
use super::write::put_astring;

/// `notify-set`: what the client wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifySet {
    /// `STATUS`: the state of each mailbox is told first.
    pub status: bool,
    /// Which events of which mailboxes.
    pub groups: Vec<EventGroup>,
}

/// `event-group = "(" filter-mailboxes SP events ")"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventGroup {
    /// The mailboxes.
    pub filter: MailboxFilter,
    /// Of these events.
    pub events: Events,
}

/// `filter-mailboxes` (RFC 5465, section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailboxFilter {
    /// The one that is selected, whichever that is.
    Selected,
    /// The same, and expunged messages are told when a command allows it.
    SelectedDelayed,
    /// Where mail can be delivered.
    Inboxes,
    /// The user's own.
    Personal,
    /// Those he is subscribed to.
    Subscribed,
    /// These and what is below them.
    Subtree(Vec<Vec<u8>>),
    /// These.
    Mailboxes(Vec<Vec<u8>>),
}

impl MailboxFilter {
    /// Whether it is one of the two that mean the selected mailbox.
    pub fn is_selected(&self) -> bool {
        matches!(self, Self::Selected | Self::SelectedDelayed)
    }
}

/// `events`; none for `NONE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// The events that there are.
    pub known: EventSet,
    /// What is fetched of new messages in the selected mailbox.
    pub fetch: Option<FetchAttributes>,
    /// Events of which nobody knows, for the refusal.
    pub unknown: Vec<Vec<u8>>,
}

/// A set of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventSet(u8);

impl EventSet {
    /// `MessageNew`
    pub const MESSAGE_NEW: Self = Self(1);
    /// `MessageExpunge`
    pub const MESSAGE_EXPUNGE: Self = Self(1 << 1);
    /// `FlagChange`
    pub const FLAG_CHANGE: Self = Self(1 << 2);
    /// `AnnotationChange`
    pub const ANNOTATION_CHANGE: Self = Self(1 << 3);
    /// `MailboxName`
    pub const MAILBOX_NAME: Self = Self(1 << 4);
    /// `SubscriptionChange`
    pub const SUBSCRIPTION_CHANGE: Self = Self(1 << 5);
    /// `MailboxMetadataChange`
    pub const MAILBOX_METADATA_CHANGE: Self = Self(1 << 6);
    /// `ServerMetadataChange`
    pub const SERVER_METADATA_CHANGE: Self = Self(1 << 7);

    /// `message-event`s.
    pub const OF_MESSAGES: Self =
        Self(Self::MESSAGE_NEW.0 | Self::MESSAGE_EXPUNGE.0 | Self::FLAG_CHANGE.0 | Self::ANNOTATION_CHANGE.0);

    /// Each event and its name.
    pub const NAMES: [(Self, &'static str); 8] = [
        (Self::MESSAGE_NEW, "MessageNew"),
        (Self::MESSAGE_EXPUNGE, "MessageExpunge"),
        (Self::FLAG_CHANGE, "FlagChange"),
        (Self::ANNOTATION_CHANGE, "AnnotationChange"),
        (Self::MAILBOX_NAME, "MailboxName"),
        (Self::SUBSCRIPTION_CHANGE, "SubscriptionChange"),
        (Self::MAILBOX_METADATA_CHANGE, "MailboxMetadataChange"),
        (Self::SERVER_METADATA_CHANGE, "ServerMetadataChange"),
    ];

    /// The events of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of `other` are in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in the set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl NotifySet {
    /// The most groups in one command.
    pub const MAX_GROUPS: usize = 64;
    /// The most names in one group.
    pub const MAX_NAMES: usize = 1_024;

    /// The events of no known kind.
    pub fn has_unknown_events(&self) -> bool {
        self.groups.iter().any(|group| !group.events.unknown.is_empty())
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b" SET");
        if self.status {
            out.extend_from_slice(b" STATUS");
        }
        for group in &self.groups {
            group.write(out);
        }
    }

    /// The rules that bind events to each other and to mailboxes (RFC 5465, sections 5 and 6.1).
    fn flaw(&self) -> Option<&'static str> {
        let selected = self.groups.iter().filter(|group| group.filter.is_selected());
        if selected.count() > 1 {
            return Some("Only one of SELECTED and SELECTED-DELAYED can be specified in Notify");
        }
        for EventGroup { filter, events } in &self.groups {
            let known = events.known;
            let pair = EventSet::MESSAGE_NEW.with(EventSet::MESSAGE_EXPUNGE);
            if known.intersects(EventSet::OF_MESSAGES) && !known.contains(pair) {
                return Some("MessageNew and MessageExpunge must be specified together in Notify");
            }
            if filter.is_selected() && known.and(EventSet::OF_MESSAGES) != known {
                return Some("Only message events can be specified for the selected mailbox in Notify");
            }
            if !filter.is_selected() && events.fetch.is_some() {
                return Some("Fetch attributes are for the selected mailbox only in Notify");
            }
        }
        None
    }
}

impl EventGroup {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b" (");
        let (name, mailboxes) = match &self.filter {
            MailboxFilter::Selected => ("selected", None),
            MailboxFilter::SelectedDelayed => ("selected-delayed", None),
            MailboxFilter::Inboxes => ("inboxes", None),
            MailboxFilter::Personal => ("personal", None),
            MailboxFilter::Subscribed => ("subscribed", None),
            MailboxFilter::Subtree(names) => ("subtree", Some(names)),
            MailboxFilter::Mailboxes(names) => ("mailboxes", Some(names)),
        };
        out.extend_from_slice(name.as_bytes());
        for (i, mailbox) in mailboxes.into_iter().flatten().enumerate() {
            out.extend_from_slice(if i == 0 { b" (" } else { b" " });
            put_astring(out, mailbox);
        }
        out.extend_from_slice(if mailboxes.is_some() { b") " } else { b" " });
        let mut open = b"(".as_slice();
        for (event, name) in EventSet::NAMES {
            if !self.events.known.contains(event) {
                continue;
            }
            out.extend_from_slice(open);
            open = b" ";
            out.extend_from_slice(name.as_bytes());
            if let Some(fetch) = self
                .events
                .fetch
                .as_ref()
                .filter(|_| event == EventSet::MESSAGE_NEW)
            {
                out.push(b' ');
                fetch.write(out);
            }
        }
        for name in &self.events.unknown {
            out.extend_from_slice(open);
            open = b" ";
            out.extend_from_slice(name);
        }
        out.extend_from_slice(if open == b"(" { b"NONE)" } else { b"))" });
    }
}

/// `notify = "NOTIFY" SP (notify-set / notify-none)` after its first space.
pub(super) fn notify(input: &[u8]) -> Parsed<'_, CommandBody> {
    if let Ok((rest, ())) = keyword("NONE")(input) {
        return Ok((rest, CommandBody::Notify(None)));
    }
    let invalid = || Cow::Borrowed("Notify needs SET or NONE");
    let (rest, ()) = expect(keyword("SET"), invalid).parse(input)?;
    let (rest, ()) = expect(sp, missing).parse(rest)?;
    let (rest, status) = match keyword("STATUS")(rest) {
        Ok((rest, ())) => (expect(sp, missing).parse(rest)?.0, true),
        Err(_) => (rest, false),
    };
    let (rest, groups) = expect(separated_list1(sp, event_group), missing).parse(rest)?;
    if groups.len() > NotifySet::MAX_GROUPS {
        return refuse(input, "Too many event groups in Notify");
    }
    let set = NotifySet { status, groups };
    match set.flaw() {
        Some(flaw) => refuse(input, flaw),
        None => Ok((rest, CommandBody::Notify(Some(Box::new(set))))),
    }
}

fn missing() -> Cow<'static, str> {
    Cow::Borrowed("Missing required argument to Notify")
}

/// `event-group = "(" filter-mailboxes SP events ")"`
fn event_group(input: &[u8]) -> Parsed<'_, EventGroup> {
    let (rest, _) = tag(&b"("[..]).parse(input)?;
    let (rest, filter) = filter_mailboxes(rest)?;
    let (rest, ()) = expect(sp, missing).parse(rest)?;
    let (rest, events) = events(rest)?;
    let unclosed = || Cow::Borrowed("Missing close parenthesis in Notify");
    let (rest, _) = expect(tag(&b")"[..]), unclosed).parse(rest)?;
    Ok((rest, EventGroup { filter, events }))
}

/// `filter-mailboxes = filter-mailboxes-selected / filter-mailboxes-other`
fn filter_mailboxes(input: &[u8]) -> Parsed<'_, MailboxFilter> {
    let (rest, name) = expect(take_while1(is_atom_char), missing).parse(input)?;
    match name.to_ascii_lowercase().as_slice() {
        b"selected" => Ok((rest, MailboxFilter::Selected)),
        b"selected-delayed" => Ok((rest, MailboxFilter::SelectedDelayed)),
        b"inboxes" => Ok((rest, MailboxFilter::Inboxes)),
        b"personal" => Ok((rest, MailboxFilter::Personal)),
        b"subscribed" => Ok((rest, MailboxFilter::Subscribed)),
        b"subtree" => {
            let (rest, names) = one_or_more_mailbox(rest)?;
            Ok((rest, MailboxFilter::Subtree(names)))
        }
        b"mailboxes" => {
            let (rest, names) = one_or_more_mailbox(rest)?;
            Ok((rest, MailboxFilter::Mailboxes(names)))
        }
        _ => refuse(input, "Invalid mailbox specifier in Notify"),
    }
}

/// `SP one-or-more-mailbox`, which is `mailbox / many-mailboxes`.
fn one_or_more_mailbox(input: &[u8]) -> Parsed<'_, Vec<Vec<u8>>> {
    let mailbox = |input| {
        let (rest, name) = astring(input)?;
        Ok((rest, Cow::into_owned(name)))
    };
    let (rest, ()) = expect(sp, missing).parse(input)?;
    let Some(inner) = rest.strip_prefix(b"(") else {
        let (rest, name) = expect(mailbox, missing).parse(rest)?;
        return Ok((rest, vec![name]));
    };
    let (rest, names) = expect(separated_list1(sp, mailbox), missing).parse(inner)?;
    let unclosed = || Cow::Borrowed("Missing close parenthesis in Notify");
    let (rest, _) = expect(tag(&b")"[..]), unclosed).parse(rest)?;
    match names.len() {
        0..=NotifySet::MAX_NAMES => Ok((rest, names)),
        _ => refuse(input, "Too many mailboxes in Notify"),
    }
}

/// `events = ("(" event *(SP event) ")") / "NONE"`; also without the parentheses, as the examples of RFC 5465 have it.
fn events(input: &[u8]) -> Parsed<'_, Events> {
    let mut events = Events::default();
    let inner = input.strip_prefix(b"(");
    let mut rest = inner.unwrap_or(input);
    if let Ok((rest, ())) = keyword("NONE")(rest) {
        // In parentheses it would be an event of that name; clients mean the same.
        let close = inner.and_then(|_| rest.strip_prefix(b")"));
        return Ok((close.unwrap_or(rest), events));
    }
    loop {
        (rest, ()) = event(rest, &mut events)?;
        match (rest.split_first(), inner) {
            (Some((b' ', after)), _) => rest = after,
            (Some((b')', after)), Some(_)) => return Ok((after, events)),
            (Some((b')', _)), None) => return Ok((rest, events)),
            _ => return refuse(rest, "Missing close parenthesis in Notify"),
        }
    }
}

/// `event = message-event / mailbox-event / user-event / event-ext`
fn event<'i>(input: &'i [u8], events: &mut Events) -> Parsed<'i, ()> {
    let (rest, name) = expect(take_while1(is_atom_char), missing).parse(input)?;
    let known = EventSet::NAMES
        .iter()
        .find(|(_, known)| name.eq_ignore_ascii_case(known.as_bytes()));
    let Some(&(event, _)) = known else {
        if events.unknown.len() < NotifySet::MAX_GROUPS {
            events.unknown.push(name.to_vec());
        }
        return Ok((rest, ()));
    };
    events.known = events.known.with(event);
    match rest.strip_prefix(b" ") {
        Some(list) if event == EventSet::MESSAGE_NEW && list.starts_with(b"(") => {
            let (rest, wanted) = fetch_attributes(list, "Notify")?;
            events.fetch = Some(wanted);
            Ok((rest, ()))
        }
        _ => Ok((rest, ())),
    }
}
