//! A search on its way through a mailbox: which messages are looked at, in what pieces, by how many threads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use cyrus_store::{IndexRead, MailboxError, Message, Uid, UidSet};

use super::Hit;
use super::program::{Cost, EXACT, Program};
use super::text::Items;
use crate::imap::run::unreadable::Unreadable;
use crate::imap::selected::View;
use crate::imap::session::ImapService;

/// Octets after which the locks are let go.
const PIECE: u64 = 32 * 1024 * 1024;

/// Octets, and messages, that several threads look at before their results are put together.
const BATCH: u64 = 8 * 1024 * 1024;
const BATCH_MESSAGES: usize = 16_384;

/// Fewer messages than this are not worth another thread.
const FEW: usize = 1_024;

/// Messages that a thread takes at a time.
const STRIDE: usize = 32;

/// How many threads one search uses at most.
const MAX_THREADS: usize = 4;

/// A search on its way through a mailbox.
pub(super) struct Scan {
    pub(super) program: Program,
    /// What is still to be looked at, as ranges of UIDs.
    left: VecDeque<(Uid, Uid)>,
    pub(super) hits: Vec<Hit>,
    /// The highest modification sequence of what was found.
    pub(super) modseq: u64,
    pub(super) unreadable: Unreadable,
}

impl Scan {
    /// `narrowed` is what an index says of the program.
    pub(super) fn new(program: Program, view: &View, narrowed: Option<UidSet>) -> Self {
        let all = view.uids().last().map(|last| (Uid::MIN, last));
        let left = match candidates(&program, narrowed, all) {
            Some(uids) => uids
                .ranges()
                .map(|range| (*range.start(), *range.end()))
                .collect(),
            None => all.into_iter().collect(),
        };
        Self {
            program,
            left,
            hits: Vec::new(),
            modseq: 0,
            unreadable: Unreadable::default(),
        }
    }

    /// Looks at messages until enough of them were read to let go of the locks; whether all are done.
    pub(super) fn go_on(
        &mut self,
        read: &IndexRead<'_>,
        view: &View,
        service: &ImapService,
    ) -> Result<bool, MailboxError> {
        self.program.bind(read);
        let is_cheap = self.program.cost() == Cost::Index;
        let same = Arc::ptr_eq(read.uids(), view.uids());
        // Nothing is visible that the client was not told of, so numbers run on if nothing is missing.
        let numbered = |first: Uid, last: Uid| {
            let before = Uid::new(first.get() - 1).map_or(0, |uid| view.uids().count_through(uid));
            let numbered = (before + 1..).zip(read.range(first..=last));
            numbered.filter_map(move |(number, message)| match same {
                true => Some((number, message)),
                false => Some((view.uids().seqno(message.uid())?, message)),
            })
        };
        if is_cheap {
            while let Some((first, last)) = self.left.pop_front() {
                for (seqno, message) in numbered(first, last) {
                    let found = self.program.matches(&message, &mut Items::new(&message));
                    self.take(seqno, &message, found, service)?;
                }
            }
            return Ok(true);
        }
        let mut octets = 0;
        loop {
            let mut batch = Vec::new();
            let mut expected = 0;
            // Candidates of an index are ranges of one or a few messages: a batch is made of many.
            while expected < BATCH
                && batch.len() < BATCH_MESSAGES
                && let Some((first, last)) = self.left.pop_front()
            {
                for (seqno, message) in numbered(first, last) {
                    if expected >= BATCH || batch.len() >= BATCH_MESSAGES {
                        self.left.push_front((message.uid(), last));
                        break;
                    }
                    expected += self.program.cost().octets(&message);
                    batch.push((seqno, message));
                }
            }
            if batch.is_empty() {
                return Ok(true);
            }
            octets += expected;
            for (place, found) in look(&self.program, &batch) {
                if let Some((seqno, message)) = batch.get(place) {
                    self.take(*seqno, message, found.map(|()| true), service)?;
                }
            }
            if octets >= PIECE && !self.left.is_empty() {
                return Ok(false);
            }
        }
    }

    /// Finds out how relevant each result is.
    pub(super) fn rate(&mut self) {
        for hit in &mut self.hits {
            hit.relevancy = Uid::new(hit.uid).map_or(EXACT, |uid| self.program.relevancy(uid));
        }
    }

    fn take(
        &mut self,
        seqno: u32,
        message: &Message<'_>,
        found: Result<bool, MailboxError>,
        service: &ImapService,
    ) -> Result<(), MailboxError> {
        match found {
            Ok(true) => {
                self.modseq = self.modseq.max(message.modseq().0);
                self.hits.push(Hit {
                    relevancy: EXACT,
                    seqno,
                    uid: message.uid().get(),
                });
            }
            Ok(false) | Err(MailboxError::MessageGone) => {}
            Err(error) => self.unreadable.note(service, error)?,
        }
        Ok(())
    }

    /// Keeps the newest results where there are more than one command tells of (RFC 9738): the lowest UID kept, then.
    pub(super) fn limit(&mut self, most: u32) -> Option<u32> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let before = self.hits.len().checked_sub(most).filter(|&before| before > 0)?;
        self.hits.drain(..before);
        self.hits.first().map(|hit| hit.uid)
    }

    /// How many messages are looked at.
    pub(super) fn done(&self, view: &View) -> u32 {
        let first = self.left.front().and_then(|(first, _)| Uid::new(first.get() - 1));
        first.map_or(0, |before| view.uids().count_through(before))
    }
}

/// The UIDs that a program can match at all, where something quicker than looking says so.
///
/// This is the one place where candidates are narrowed: by the UIDs and sequence numbers that the program itself names, and by
/// an index of texts.
fn candidates(program: &Program, narrowed: Option<UidSet>, all: Option<(Uid, Uid)>) -> Option<UidSet> {
    let within = |mut uids: UidSet| {
        if let Some((first, last)) = all {
            uids.keep_all(&UidSet::from(first..=last));
        }
        uids
    };
    let sets = [program.uids(), narrowed.map(within)];
    sets.into_iter().flatten().reduce(|mut both, other| {
        both.keep_all(&other);
        both
    })
}

/// What was found in a batch, by place: matches, and messages that cannot be read.
fn look(program: &Program, batch: &[(u32, Message<'_>)]) -> Vec<(usize, Result<(), MailboxError>)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let start = next.fetch_add(STRIDE, Ordering::Relaxed);
            let Some(rest) = batch.get(start..).filter(|rest| !rest.is_empty()) else {
                return found;
            };
            for (place, (_, message)) in (start..).zip(rest.iter().take(STRIDE)) {
                match program.matches(message, &mut Items::new(message)) {
                    Ok(true) => found.push((place, Ok(()))),
                    Ok(false) | Err(MailboxError::MessageGone) => {}
                    Err(error) => found.push((place, Err(error))),
                }
            }
        }
    };
    if batch.len() < FEW || threads() == 1 {
        return work();
    }
    let mut found = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads()).map(|_| scope.spawn(work)).collect();
        let mut found = work();
        for other in others {
            match other.join() {
                Ok(more) => found.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        found
    });
    found.sort_unstable_by_key(|(place, _)| *place);
    found
}

/// What `work` makes of messages, piece by piece, in their order.
pub(super) fn in_parallel<M: Sync, T: Send>(messages: &[M], work: &(dyn Fn(&[M]) -> T + Sync)) -> Vec<T> {
    if messages.len() < FEW || threads() == 1 {
        return vec![work(messages)];
    }
    let piece = messages.len().div_ceil(threads()).max(1);
    std::thread::scope(|scope| {
        let pieces: Vec<_> = messages
            .chunks(piece)
            .map(|piece| scope.spawn(move || work(piece)))
            .collect();
        let finished = pieces.into_iter().map(|piece| match piece.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        finished.collect()
    })
}

/// How many threads a search uses.
fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| {
        let cores = std::thread::available_parallelism();
        cores.map_or(1, |cores| cores.get().min(MAX_THREADS))
    })
}
