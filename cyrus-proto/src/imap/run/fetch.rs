//! FETCH (RFC 3501, section 6.4.5): a chain of short jobs, each of which reads the mailbox anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use cyrus_store::{
    Annotation, Audience, CachedRecord, IndexRead, MailboxError, Message, ModSeq, Store, Uid, UidMap, UidSet,
};

use super::body::{Body, put_body};
use super::limit::note_limit;
use super::preview::preview;
use super::threads::{self, Places};
use super::unreadable::Unreadable;
use super::{Chain, Pieces, Request, Stage, seconds};
use crate::imap::command::{
    AnnotationQuery, FetchAttributes, FetchItems, FetchModifiers, Numbering, PartialRange, SectionText,
};
use crate::imap::enabled::Enabled;
use crate::imap::response::{Code, FetchLine, Reply, put_vanished};
use crate::imap::selected::{News, Selected, View, keyword};
use crate::imap::sequence::SequenceSet;
use crate::job::Job;
use crate::output::Output;

/// The job of a FETCH.
pub(super) fn job(
    request: Request,
    numbering: Numbering,
    set: &SequenceSet,
    wanted: FetchAttributes,
    modifiers: &FetchModifiers,
) -> Job {
    let mut limit = None;
    let ranges = match &request.mailbox {
        Some(selected)
            if modifiers.partial.is_none()
                && selected.view.uids().len() > request.service.options.message_limit =>
        {
            let uids;
            (uids, limit) = request.limited(selected.view.uid_set(set, numbering));
            uids.ranges()
                .map(|range| (*range.start(), *range.end()))
                .collect()
        }
        Some(selected) => selected.view.resolve(set, numbering),
        None => Vec::new(),
    };
    let mut fetch = Fetch::new(request, numbering, ranges, wanted, modifiers);
    fetch.limit = limit;
    // `$` may name nothing (RFC 9051, section 6.4.4.1).
    fetch.found = set.is_saved();
    Job::new(Chain::new(fetch))
}

/// A FETCH under way.
pub(super) struct Fetch {
    request: Option<Request>,
    numbering: Numbering,
    wanted: FetchAttributes,
    /// Messages with a higher modification sequence alone are wanted.
    changed_since: ModSeq,
    /// The same, until the UIDs wanted are narrowed to those that changed.
    narrow: Option<ModSeq>,
    /// Which of the messages are wanted, until that is settled (RFC 9394).
    partial: Option<PartialRange>,
    /// Which UIDs are to be told that vanished since then.
    vanished: Option<UidSet>,
    /// The UIDs wanted, ascending.
    ranges: Vec<(Uid, Uid)>,
    /// The range at hand, and where in it to go on.
    at: usize,
    next: Option<Uid>,
    /// Messages that became seen here, whose flags the client was told.
    told: UidSet,
    /// What says that not all messages were worked on.
    limit: Option<Code>,
    /// Whether a part could not be decoded.
    unknown_cte: bool,
    found: bool,
    /// Whether a message was expunged before its turn came.
    gone: bool,
    unreadable: Unreadable,
    started: Instant,
}

impl Fetch {
    /// A FETCH of these UIDs.
    pub(super) fn new(
        request: Request,
        numbering: Numbering,
        ranges: Vec<(Uid, Uid)>,
        mut wanted: FetchAttributes,
        modifiers: &FetchModifiers,
    ) -> Self {
        let by_uid = numbering == Numbering::Uid && request.enabled.contains(Enabled::QRESYNC);
        if modifiers.changed_since.is_some() || by_uid {
            // RFC 7162, sections 3.1.4.1 and 3.2.4.
            wanted.items = wanted.items.with(FetchItems::MODSEQ);
        }
        let vanished = modifiers.vanished.then(|| {
            let ranges = ranges.iter().map(|&(start, end)| start..=end);
            UidSet::from_ranges(ranges)
        });
        Self {
            request: Some(request),
            numbering,
            wanted,
            changed_since: ModSeq(modifiers.changed_since.unwrap_or(0)),
            partial: modifiers.partial,
            narrow: modifiers.changed_since.map(ModSeq),
            vanished,
            ranges,
            at: 0,
            next: None,
            told: UidSet::new(),
            limit: None,
            unknown_cte: false,
            found: false,
            gone: false,
            unreadable: Unreadable::default(),
            started: Instant::now(),
        }
    }

    /// Takes note of numbers that messages had when the client last knew: up to the last message that has its number still,
    /// the client lacks no message, and need not be told of any that vanished (RFC 7162, section 3.2.5.2).
    pub(super) fn in_step_through(&mut self, numbers: &SequenceSet, uids: &SequenceSet) {
        let (Some(selected), Some(vanished)) = (
            self.request.as_ref().and_then(|request| request.mailbox.as_ref()),
            &mut self.vanished,
        ) else {
            return;
        };
        let map = selected.view.uids();
        let last = last_in_step(map, &numbers.resolve(u32::MAX), &uids.resolve(u32::MAX));
        if let Some(last) = last {
            vanished.remove_all(&UidSet::from(Uid::MIN..=last));
        }
    }
}

/// The UIDs at these places of a set.
fn some_of(uids: &UidSet, range: PartialRange) -> Vec<(Uid, Uid)> {
    let places = range.places(usize::try_from(uids.len()).unwrap_or(usize::MAX));
    let mut before = 0_usize;
    let mut wanted = Vec::new();
    for uids in uids.ranges() {
        let (first, last) = (uids.start().get(), uids.end().get());
        let length = (last - first) as usize + 1;
        let from = places.start.max(before) - before;
        let to = places.end.saturating_sub(before).min(length);
        if from < to {
            let uid = |place: usize| {
                u32::try_from(place)
                    .ok()
                    .and_then(|place| Uid::new(first + place))
            };
            wanted.extend(uid(from).zip(uid(to - 1)));
        }
        before += length;
    }
    wanted
}

/// The last UID that has the number which the sets, of the same size, say it had.
fn last_in_step(map: &UidMap, numbers: &[(u32, u32)], uids: &[(u32, u32)]) -> Option<Uid> {
    let (mut numbers, mut uids) = (numbers.iter().copied().rev(), uids.iter().copied().rev());
    let (mut number, mut uid) = (numbers.next()?, uids.next()?);
    loop {
        // As many pairs from the ends of both ranges as the shorter one has.
        let steps = (number.1 - number.0).min(uid.1 - uid.0);
        let (first_number, first_uid) = (number.1 - steps, uid.1 - steps);
        if let Some((first, last)) = Uid::new(first_uid).zip(Uid::new(uid.1))
            && let Some(found) = map.last_numbered(first..=last, first_number)
        {
            return Some(found);
        }
        number = match first_number > number.0 {
            true => (number.0, first_number - 1),
            false => numbers.next()?,
        };
        uid = match first_uid > uid.0 {
            true => (uid.0, first_uid - 1),
            false => uids.next()?,
        };
    }
}

impl Pieces for Fetch {
    fn piece(&mut self, output: &mut Output, budget: usize) -> Result<Option<Reply>, MailboxError> {
        let Some(request) = &mut self.request else {
            return Ok(Some(Reply::ok("Completed")));
        };
        if let Some(range) = self.partial.take() {
            // Before what changed is picked out of it (RFC 9394, section 3.4).
            let ranges = self.ranges.iter().map(|&(start, end)| start..=end);
            let mut uids = UidSet::from_ranges(ranges);
            uids.keep_all(&request.selected()?.view.uids().to_set());
            self.found |= !uids.is_empty();
            self.ranges = some_of(&uids, range);
            let count = self
                .ranges
                .iter()
                .map(|(start, end)| u64::from(end.get() - start.get()) + 1);
            let limit = request.service.options.message_limit;
            if count.sum::<u64>() > u64::from(limit) {
                let reply = Reply::no(format!("No more than {limit} messages at once"));
                return Ok(Some(reply.with(Code::MessageLimit(limit, None))));
            }
        }
        if let Some(since) = self.narrow.take() {
            // Only what changed need be looked at, be the mailbox as large as it may.
            let Selected { mailbox, view, .. } = request.selected()?;
            let ranges = self.ranges.iter().map(|&(start, end)| start..=end);
            let wanted = UidSet::from_ranges(ranges);
            let read = mailbox.read()?;
            let changed = read.changed_since(since).filter(|change| change.visible);
            let changed: UidSet = changed
                .map(|change| change.uid)
                .filter(|&uid| wanted.contains(uid) && view.uids().contains(uid))
                .collect();
            self.found |= !self.ranges.is_empty();
            self.ranges = changed
                .ranges()
                .map(|range| (*range.start(), *range.end()))
                .collect();
        }
        let service = Arc::clone(&request.service);
        let zone = &service.store;
        let enabled = request.enabled;
        let previews = self.wanted.items.intersects(PREVIEWS);
        let preview_entry = match &service.options.preview_annotation {
            Some(entry) if previews => Some(entry.as_str()),
            _ => None,
        };
        let base = self.wanted.items.contains(FetchItems::BASECID);
        let more = preview_entry
            .into_iter()
            .chain(base.then_some(threads::BASE_ENTRY));
        let (noted, annotations) = match with_entries(self.wanted.annotations.as_ref(), more) {
            Some(query) => annotations(request, &query, &self.ranges, self.at, self.next)?,
            None => (None, HashMap::new()),
        };
        let (looked_up, places) = Places::find(request, self.wanted.items, &self.ranges, self.at, self.next)?;
        let folder = match self.wanted.items.contains(FetchItems::FOLDER) {
            true => request.selected_name(),
            false => String::new(),
        };
        let selected = request.selected()?;
        let end = self.ranges.last().map(|&(_, end)| end);
        let mark = self.wanted.marks_seen()
            && !selected.view.read_only
            && selected.mailbox.rights().contains(cyrus_acl::Rights::SEEN);
        // What becomes seen must be written before it is told: so the extent of this piece is fixed first.
        let (limit, seen) = match mark {
            true => mark_seen(
                selected,
                &self.ranges,
                self.at,
                self.next,
                self.changed_since,
                budget,
            )?,
            false => (end, UidSet::new()),
        };
        let limit = noted.into_iter().chain(looked_up).chain(limit).min();
        self.told.extend_from(&seen);
        let Selected { mailbox, view, .. } = selected;
        let read = mailbox.read()?;
        if self.wanted.items.contains(FetchItems::FLAGS) {
            read.load_seen()?;
        }
        if let Some(among) = self.vanished.take() {
            // Before the FETCH responses (RFC 7162, section 3.2.6).
            let mut line = Vec::new();
            put_vanished(&mut line, true, &read.vanished_since(self.changed_since, &among));
            output.put_vec(line);
        }
        let mut piece = Piece {
            read: &read,
            wanted: &self.wanted,
            needs_cache: needs_cache(&self.wanted),
            seen: &seen,
            tells_recent: enabled.tells_recent(),
            uid_only: enabled.contains(Enabled::UIDONLY),
            with_seen: match enabled.contains(Enabled::CONDSTORE) {
                true if enabled.contains(Enabled::QRESYNC) => FLAGS_MODSEQ.with(FetchItems::UID),
                true => FLAGS_MODSEQ,
                false => FetchItems::FLAGS,
            },
            annotations: &annotations,
            places: &places,
            preview_entry,
            folder: &folder,
            unknown_cte: &mut self.unknown_cte,
            zone,
            text: Vec::with_capacity(budget.min(RUN) + 4 * 1024),
            output,
            written: 0,
        };
        let same = Arc::ptr_eq(read.uids(), view.uids());
        // What the client has not heard to be gone is still there for it, as long as it is on record.
        let with_expunged = !same && self.changed_since == ModSeq(0);
        while let Some(&(start, end)) = self.ranges.get(self.at) {
            let start = self.next.unwrap_or(start);
            let mut seqno = Numbers::new(view, same);
            let mut expected = match same {
                true => None,
                false => Some(Expected::new(view, start, end)),
            };
            for message in read.range_with_expunged(start..=end) {
                let uid = message.uid();
                if message.is_expunged() && !with_expunged {
                    continue;
                }
                if piece.written + piece.text.len() >= budget || limit.is_some_and(|limit| uid > limit) {
                    self.next = Some(uid);
                    piece.flush();
                    return Ok(None);
                }
                let Some(number) = seqno.of(uid) else { continue };
                if let Some(expected) = &mut expected {
                    self.gone |= expected.skipped_before(uid);
                }
                self.found = true;
                if message.modseq() <= self.changed_since {
                    continue;
                }
                match piece.message(&message, number) {
                    Ok(()) => {}
                    Err(MailboxError::MessageGone) => self.gone = true,
                    Err(error) => {
                        if let Err(error) = self.unreadable.note(&service, error) {
                            piece.flush();
                            return Err(error);
                        }
                    }
                }
            }
            if let Some(expected) = &mut expected {
                self.gone |= expected.left();
            }
            self.next = None;
            self.at += 1;
        }
        piece.flush();
        drop(read);
        let mut out = Vec::new();
        let reply = note_limit(self.reply(), self.limit.take(), &mut out);
        output.put_vec(out);
        Ok(Some(reply))
    }

    fn request(&mut self) -> Option<Request> {
        self.request.take()
    }

    fn stage(&self) -> Option<Stage> {
        let request = self.request.as_ref()?;
        let uids = request.mailbox.as_ref()?.view.uids();
        let before = |uid: Uid| Uid::new(uid.get() - 1).map_or(0, |uid| uids.count_through(uid));
        let count = |ranges: &[(Uid, Uid)]| -> u32 {
            let counts = ranges
                .iter()
                .map(|&(first, last)| uids.count_through(last).saturating_sub(before(first)));
            counts.fold(0, u32::saturating_add)
        };
        let done = count(self.ranges.get(..self.at).unwrap_or_default());
        let within = self.ranges.get(self.at).zip(self.next);
        let within = within.map_or(0, |(&(first, _), next)| {
            before(next).saturating_sub(before(first))
        });
        Some(Stage {
            tag: request.tag.clone(),
            done: done.saturating_add(within),
            goal: count(&self.ranges),
        })
    }

    fn news(&self) -> News<'_> {
        News {
            known: Some(&self.told),
            ..News::after(self.numbering)
        }
    }
}

impl Fetch {
    fn reply(&self) -> Reply {
        if let Some(reply) = self.unreadable.reply() {
            return reply;
        }
        let time = seconds(self.started);
        match self.numbering {
            _ if self.unknown_cte => Reply::no("Unknown content transfer encoding").with(Code::UnknownCte),
            Numbering::Sequence if self.gone => {
                Reply::no("Some of the messages no longer exist").with(Code::ExpungeIssued)
            }
            Numbering::Sequence if !self.found => Reply::no(format!("No matching messages ({time} sec)")),
            _ => Reply::ok(format!("Completed ({time} sec)")),
        }
    }
}

/// Sequence numbers of ascending UIDs: counted where the view is the mailbox, looked up where it is older.
struct Numbers<'v> {
    view: &'v View,
    counted: Option<u32>,
    same: bool,
}

impl<'v> Numbers<'v> {
    fn new(view: &'v View, same: bool) -> Self {
        Self {
            view,
            counted: None,
            same,
        }
    }

    fn of(&mut self, uid: Uid) -> Option<u32> {
        match self.counted {
            Some(last) if self.same => {
                self.counted = last.checked_add(1);
                self.counted
            }
            _ => {
                self.counted = self.view.uids().seqno(uid);
                self.counted
            }
        }
    }
}

/// The told messages of a range, to notice those that are gone.
struct Expected<'v> {
    uids: Box<dyn Iterator<Item = Uid> + 'v>,
}

impl<'v> Expected<'v> {
    fn new(view: &'v View, start: Uid, end: Uid) -> Self {
        let first = match start.get() {
            1 => 1,
            start => Uid::new(start - 1).map_or(0, |before| view.uids().count_through(before)) + 1,
        };
        let uids = (first..=view.uids().len())
            .map_while(move |seqno| view.uids().uid(seqno))
            .take_while(move |&uid| uid <= end);
        Self { uids: Box::new(uids) }
    }

    /// Whether told messages before `uid` were passed over; takes `uid` itself.
    fn skipped_before(&mut self, uid: Uid) -> bool {
        let mut skipped = false;
        for expected in self.uids.by_ref() {
            if expected >= uid {
                return skipped;
            }
            skipped = true;
        }
        skipped
    }

    fn left(&mut self) -> bool {
        self.uids.next().is_some()
    }
}

/// Marks as seen what the next piece will send: up to `budget` octets of messages, at least one.
///
/// The last UID of the piece, and the messages that were not seen before.
fn mark_seen(
    selected: &mut Selected,
    ranges: &[(Uid, Uid)],
    at: usize,
    next: Option<Uid>,
    changed_since: ModSeq,
    budget: usize,
) -> Result<(Option<Uid>, UidSet), MailboxError> {
    let mut unseen = Vec::new();
    let mut limit = None;
    {
        let read = selected.mailbox.read()?;
        read.load_seen()?;
        let mut octets = 0_usize;
        let mut next = next;
        'piece: for &(start, end) in ranges.get(at..).unwrap_or_default() {
            for message in read.range(next.take().unwrap_or(start)..=end) {
                if message.modseq() <= changed_since {
                    continue;
                }
                if octets >= budget {
                    break 'piece;
                }
                octets = octets.saturating_add(message.size() as usize);
                limit = Some(message.uid());
                if selected.view.uids().contains(message.uid())
                    && !message.flags().system.contains(cyrus_store::SystemFlags::SEEN)
                {
                    unseen.push(message.uid()..=message.uid());
                }
            }
        }
    }
    let unseen = UidSet::from_ranges(unseen);
    if !unseen.is_empty() {
        selected.mailbox.mark_seen(&unseen)?;
    }
    Ok((limit.or(ranges.last().map(|&(_, end)| end)), unseen))
}

/// What annotations are to be read: those asked for, and others that items are made of.
fn with_entries<'e>(
    asked: Option<&AnnotationQuery>,
    more: impl Iterator<Item = &'e str>,
) -> Option<AnnotationQuery> {
    let mut query = asked.cloned();
    for entry in more {
        let query = query.get_or_insert_with(|| AnnotationQuery {
            entries: Vec::new(),
            attributes: Vec::new(),
        });
        query.entries.push(entry.as_bytes().to_vec());
        query.attributes.push(b"value.shared".to_vec());
    }
    query
}

/// The annotations of messages.
type Annotations = HashMap<Uid, Vec<Annotation>>;

/// The annotations of the messages of the next piece, and the last UID of it.
fn annotations(
    request: &mut Request,
    query: &AnnotationQuery,
    ranges: &[(Uid, Uid)],
    at: usize,
    next: Option<Uid>,
) -> Result<(Option<Uid>, Annotations), MailboxError> {
    /// Messages in a piece.
    const MOST: usize = 256;
    let selected = request.selected()?;
    let name = selected.mailbox.name().clone();
    let uids: Vec<Uid> = {
        let read = selected.mailbox.read()?;
        let mut next = next;
        let mut uids = Vec::new();
        for &(start, end) in ranges.get(at..).unwrap_or_default() {
            let start = next.take().unwrap_or(start);
            let left = MOST - uids.len();
            uids.extend(read.range(start..=end).take(left).map(|message| message.uid()));
        }
        uids
    };
    let mut found = HashMap::with_capacity(uids.len());
    for &uid in &uids {
        found.insert(uid, super::annotation::of_message(request, &name, uid, query)?);
    }
    Ok((uids.last().copied(), found))
}

/// The replies of one piece.
struct Piece<'p, 'r> {
    read: &'p IndexRead<'r>,
    wanted: &'p FetchAttributes,
    needs_cache: bool,
    /// Messages that have just become seen, and the items that tell so (RFC 3501, section 6.4.5; RFC 7162, section 3.1).
    seen: &'p UidSet,
    with_seen: FetchItems,
    /// Whether messages have UIDs and no numbers.
    uid_only: bool,
    /// Whether there are recent messages.
    tells_recent: bool,
    annotations: &'p Annotations,
    places: &'p Places,
    /// The annotation that is the preview, where it is set.
    preview_entry: Option<&'p str>,
    /// The mailbox's name as the client knows it.
    folder: &'p str,
    unknown_cte: &'p mut bool,
    /// Whose clock dates follow.
    zone: &'p Store,
    /// Text not yet in the output.
    text: Vec<u8>,
    output: &'p mut Output,
    /// Octets in the output.
    written: usize,
}

/// Octets of text after which it goes to the output.
const RUN: usize = 64 * 1024;

impl Piece<'_, '_> {
    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.written += self.text.len();
            let room = self.text.len();
            self.output.put_vec(std::mem::replace(
                &mut self.text,
                Vec::with_capacity(room.min(RUN)),
            ));
        }
    }

    /// One FETCH response; nothing is written if the message cannot be read.
    fn message(&mut self, message: &Message<'_>, seqno: u32) -> Result<(), MailboxError> {
        let wanted = self.wanted;
        let items = match self.seen.contains(message.uid()) {
            true => wanted.items.with(self.with_seen),
            false => wanted.items,
        };
        // What can fail is done before the response begins.
        let cached = match self.needs_cache {
            true => Some(message.cache()?),
            false => None,
        };
        let body = Body::of(message, cached.as_ref(), wanted)?;
        if let Some(body) = &body {
            *self.unknown_cte |= body.has_unknown();
            let alone =
                items.is_empty() && wanted.annotations.is_none() && !self.seen.contains(message.uid());
            if alone && body.is_unknown() {
                return Ok(());
            }
        }
        if self.text.len() >= RUN {
            self.flush();
        }
        let read = self.read;
        let mut line = match self.uid_only {
            true => FetchLine::begin_uid(&mut self.text, message.uid().get()),
            false => FetchLine::begin(&mut self.text, seqno),
        };
        if items.contains(FetchItems::FLAGS) {
            let flags = message.flags();
            line.flags(
                self.tells_recent && message.is_recent(),
                flags.system,
                flags.keywords,
                |slot| keyword(read, slot),
            );
        }
        if items.contains(FetchItems::UID) {
            line.uid(message.uid().get());
        }
        if items.contains(FetchItems::DIGEST_SHA1) {
            line.word("DIGEST.SHA1", &message.guid().to_string());
        }
        if items.contains(FetchItems::INTERNALDATE) {
            let date = message.internal_date();
            line.internal_date(date, self.zone.utc_offset(date));
        }
        if items.contains(FetchItems::LASTUPDATED) {
            let date = i64::from(message.record()?.last_updated);
            line.last_updated(date, self.zone.utc_offset(date));
        }
        if items.contains(FetchItems::MODSEQ) {
            line.modseq(message.modseq().0);
        }
        if items.contains(FetchItems::SIZE) {
            line.size(u64::from(message.size()));
        }
        if let Some(query) = &wanted.annotations {
            let found = self.annotations.get(&message.uid());
            super::annotation::put_annotations(&mut line, query, found.map_or(&[], Vec::as_slice));
        }
        let file = body.as_ref().and_then(Body::file);
        if items.intersects(PREVIEWS) {
            let stored = self.preview_entry.and_then(|entry| {
                let found = self.annotations.get(&message.uid())?;
                let shared = |found: &&Annotation| found.audience == Audience::Shared && found.entry == entry;
                found.iter().find(shared).and_then(|found| found.value.clone())
            });
            let text = stored.or_else(|| Some(preview(file?, cached.as_ref()?).into_bytes()));
            line.preview(text.as_deref());
        }
        if let Some(file) = file {
            if items.contains(FetchItems::FILESIZE) {
                line.word("RFC822.FILESIZE", &file.len().to_string());
            }
            if items.contains(FetchItems::SHA1) {
                line.word("RFC822.SHA1", &file.guid().to_string());
            }
        }
        if items.intersects(LATER) {
            put_later_items(&mut line, message, items, self.zone);
        }
        if items.contains(FetchItems::CREATEDMODSEQ) {
            line.created_modseq(message.created_modseq().0);
        }
        threads::put_base(&mut line, self.annotations.get(&message.uid()), items);
        if items.contains(FetchItems::FOLDER) {
            line.folder(self.folder);
        }
        if items.contains(FetchItems::UIDVALIDITY) {
            line.word("UIDVALIDITY", &read.uidvalidity().0.to_string());
        }
        self.places.put(&mut line, message.uid(), items);
        if let Some(cached) = &cached
            && items.intersects(CACHED)
        {
            put_cached(&mut line, cached, items);
        }
        match body {
            None => line.end(),
            Some(body) => {
                let first = line.is_first();
                put_body(
                    &mut self.text,
                    self.output,
                    &mut self.written,
                    &body,
                    wanted,
                    first,
                );
                FetchLine::resume(&mut self.text).end();
            }
        }
        Ok(())
    }
}

/// Whether the cache record is of use: for cached items, parts, and header fields.
fn needs_cache(wanted: &FetchAttributes) -> bool {
    wanted.items.intersects(CACHED.with(PREVIEWS))
        || wanted.binaries.iter().any(|section| !section.part.is_empty())
        || !wanted.header_lines.is_empty()
        || wanted.sections.iter().any(|section| {
            let section = &section.section;
            !section.part.is_empty() || matches!(section.text, SectionText::HeaderFields(_))
        })
}

const FLAGS_MODSEQ: FetchItems = FetchItems::FLAGS.with(FetchItems::MODSEQ);

const CACHED: FetchItems = FetchItems::ENVELOPE
    .with(FetchItems::BODYSTRUCTURE)
    .with(FetchItems::BODY);

const PREVIEWS: FetchItems = FetchItems::PREVIEW.with(FetchItems::PREVIEW_LAZY);

const LATER: FetchItems = FetchItems::EMAILID
    .with(FetchItems::CID)
    .with(FetchItems::THREADID)
    .with(FetchItems::SAVEDATE);

fn put_cached(line: &mut FetchLine<'_>, cached: &CachedRecord, items: FetchItems) {
    let record = cached.record();
    if items.contains(FetchItems::ENVELOPE) {
        line.raw("ENVELOPE", record.envelope());
    }
    if items.contains(FetchItems::BODYSTRUCTURE) {
        line.raw("BODYSTRUCTURE", record.bodystructure());
    }
    if items.contains(FetchItems::BODY) {
        line.raw("BODY", record.body());
    }
}

fn put_later_items(line: &mut FetchLine<'_>, message: &Message<'_>, items: FetchItems, zone: &Store) {
    if items.contains(FetchItems::EMAILID) {
        line.email_id(&message.guid().email_id());
    }
    threads::put_cid(line, message, items);
    if items.contains(FetchItems::THREADID) {
        let thread = match message.thread_id() {
            0 => None,
            id => Some(format!("T{id:016x}")),
        };
        line.thread_id(thread.as_deref());
    }
    if items.contains(FetchItems::SAVEDATE) {
        let saved = Some(message.save_date()).filter(|&saved| saved > 0);
        line.save_date(saved, saved.map_or(0, |date| zone.utc_offset(date)));
    }
}
