//! The selected mailbox as this client knows it, and how it learns of changes (RFC 3501, sections 5.5 and 7.4.1; RFC 2180).

use std::sync::Arc;

use cyrus_acl::Rights;
use cyrus_store::options::ExpungeMode;
use cyrus_store::{
    Expunge, IndexRead, Mailbox, MailboxError, ModSeq, SystemFlags, Uid, UidMap, UidSet, Watch,
};

use super::command::Numbering;
use super::enabled::Enabled;
use super::response::{
    Code, FetchLine, Reply, put_exists, put_expunge, put_flags_line, put_recent, put_vanished,
};
use super::run::search::context::Contexts;
use super::sequence::SequenceSet;

/// A selected mailbox. Small: the UIDs are shared with every session that knows the same state.
pub(crate) struct Selected {
    /// The mailbox, which holds neither locks nor files between commands.
    pub(crate) mailbox: Mailbox,
    /// What the client was told.
    pub(crate) view: View,
    /// Searches whose results are kept true (RFC 5267).
    pub(crate) contexts: Contexts,
    /// During IDLE: the subscription to hints.
    watch: Option<Watch>,
    /// Whether messages were expunged here whose files go when the mailbox is closed.
    untidy: bool,
    /// Whether what is marked `\Deleted` goes when the mailbox is left (`autoexpunge`).
    pub(crate) expunges_at_end: bool,
}

/// What the client was told of its mailbox.
pub(crate) struct View {
    /// EXAMINE, or rights for reading only.
    pub(crate) read_only: bool,
    /// The user's rights when the mailbox was selected.
    rights: Rights,
    /// The messages by sequence number, some of them perhaps expunged already.
    uids: Arc<UidMap>,
    /// All changes up to this one are told.
    told: ModSeq,
    /// Whether messages are gone that the client has not been told of.
    owes: bool,
    /// How many slots of the keyword table are told.
    keywords: usize,
    /// What `$` means: the result of the last search that was to be saved (RFC 5182).
    pub(crate) saved: UidSet,
    /// What the client wants to be told unasked.
    wanted: Wanted,
    /// Told messages of which something is to be fetched unasked.
    fresh: UidSet,
    /// Whether SELECT asked for changes of annotations (RFC 5257, section 4.2).
    pub(crate) tells_annotations: bool,
    /// Told messages whose annotations may have changed after a state.
    annotated: Option<(ModSeq, UidSet)>,
}

/// What of a selected mailbox a client wants to be told without asking: all of it, unless NOTIFY says otherwise (RFC 5465).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// New and expunged messages.
    pub(crate) counts: bool,
    /// Changed flags.
    pub(crate) flags: bool,
    /// Changed annotations.
    pub(crate) annotations: bool,
    /// The UID with each message.
    pub(crate) uids: bool,
    /// Something of each new message.
    pub(crate) fetch: bool,
}

impl Wanted {
    /// Without NOTIFY.
    pub(crate) const ALL: Self = Self {
        counts: true,
        flags: true,
        annotations: false,
        uids: false,
        fetch: false,
    };
}

/// How changes are told after a command.
pub(crate) struct News<'s> {
    /// Whether EXPUNGE may be sent: not after FETCH, STORE and SEARCH by sequence number (RFC 3501, section 7.4.1).
    pub(crate) expunges: bool,
    /// Whether FETCH responses name the UID: after UID commands (RFC 3501, section 6.4.8).
    pub(crate) with_uid: bool,
    /// Messages whose flags the client knows, because it set them silently or has just been told.
    pub(crate) known: Option<&'s UidSet>,
    /// Messages whose flags are told although their modification sequence may be the same: seen state that a user keeps for
    /// himself has none.
    pub(crate) changed: Option<&'s UidSet>,
    /// Messages whose flags the client knows, but not their modification sequences.
    pub(crate) silent: Option<&'s UidSet>,
    /// Messages whose annotations the client itself has just changed.
    pub(crate) annotated: Option<&'s UidSet>,
}

impl News<'_> {
    /// After a command that names no messages.
    pub(crate) const ALL: News<'static> = News {
        expunges: true,
        with_uid: false,
        known: None,
        changed: None,
        silent: None,
        annotated: None,
    };

    /// After a command that names messages so.
    pub(crate) fn after(numbering: Numbering) -> Self {
        News {
            expunges: numbering == Numbering::Uid,
            with_uid: numbering == Numbering::Uid,
            known: None,
            changed: None,
            silent: None,
            annotated: None,
        }
    }
}

impl Selected {
    pub(crate) fn new(mailbox: Mailbox, view: View) -> Self {
        Self {
            mailbox,
            view,
            contexts: Contexts::default(),
            watch: None,
            untidy: false,
            expunges_at_end: false,
        }
    }

    /// Messages were expunged: with immediate and semi-delayed expunge there is something to do when the mailbox is left.
    pub(crate) fn note_expunge(&mut self, uids: &UidSet) {
        let mode = self.mailbox.store().options().expunge_mode;
        self.untidy |= !uids.is_empty() && mode != ExpungeMode::Delayed;
    }

    /// Whether leaving the mailbox is work.
    pub(crate) fn is_untidy(&self) -> bool {
        self.untidy || self.expunges_at_end
    }

    /// Whether there is nothing to tell, as far as can be said at once.
    pub(crate) fn is_quiet(&self) -> bool {
        let view = &self.view;
        let all = view.wanted == Wanted::ALL && view.fresh.is_empty();
        all && !view.owes && self.mailbox.modseq_at_once() == Some(self.view.told)
    }

    /// Leaves the mailbox, and tidies up if there is anything to.
    pub(crate) fn close(mut self) -> Result<(), MailboxError> {
        if self.expunges_at_end {
            let expunged = self.mailbox.expunge(Expunge::AllDeleted)?;
            self.note_expunge(&expunged);
        }
        match self.untidy {
            true => self.mailbox.close(),
            false => Ok(()),
        }
    }

    /// Asks to be woken by commits, those of other processes included.
    pub(crate) fn watch(&mut self, wake: impl Fn() + Send + Sync + 'static) {
        if self.watch.is_none() {
            self.watch = Some(self.mailbox.watch(Arc::new(move |_hint| wake())));
        }
    }

    pub(crate) fn stop_watching(&mut self) {
        self.watch = None;
    }
}

impl View {
    /// What SELECT has just told of `read`.
    pub(crate) fn new(read: &IndexRead<'_>, read_only: bool, rights: Rights) -> Self {
        Self {
            read_only,
            rights,
            uids: read.uids().clone(),
            told: read.highest_modseq(),
            owes: false,
            keywords: read.keywords().len(),
            wanted: Wanted::ALL,
            fresh: UidSet::new(),
            tells_annotations: false,
            annotated: None,
            saved: UidSet::new(),
        }
    }

    /// From now on the client wants to be told this.
    pub(crate) fn want(&mut self, wanted: Wanted) {
        self.wanted = wanted;
    }

    /// Whether the client is told of new and expunged messages.
    pub(crate) fn wants_counts(&self) -> bool {
        self.wanted.counts
    }

    /// The command at hand expunges, so that it has to tell.
    pub(crate) fn want_counts(&mut self) {
        self.wanted.counts = true;
    }

    /// Told messages of which something is to be fetched; these UIDs the client made itself.
    pub(crate) fn forget_fresh(&mut self, own: &[(u32, u32)]) {
        let others = self.fresh.iter().filter(|uid| {
            let uid = uid.get();
            !own.iter().any(|&(first, last)| (first..=last).contains(&uid))
        });
        self.fresh = UidSet::from_ranges(others.map(|uid| uid..=uid));
    }

    /// Whether something is to be fetched unasked.
    pub(crate) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    pub(crate) fn take_fresh(&mut self) -> UidSet {
        std::mem::take(&mut self.fresh)
    }

    /// These are to be fetched later.
    pub(crate) fn keep_fresh(&mut self, uids: &UidSet) {
        self.fresh.extend_from(uids);
    }

    /// The messages whose annotations may have changed, and after which state.
    pub(crate) fn take_annotated(&mut self) -> Option<(ModSeq, UidSet)> {
        self.annotated.take()
    }

    /// The messages by sequence number.
    pub(crate) fn uids(&self) -> &Arc<UidMap> {
        &self.uids
    }

    /// The state up to which everything is told.
    pub(crate) fn told(&self) -> ModSeq {
        self.told
    }

    /// The UID ranges that a set names in this view: each is of told messages only at its ends.
    pub(crate) fn resolve(&self, set: &SequenceSet, numbering: Numbering) -> Vec<(Uid, Uid)> {
        let uid = |number| Uid::new(number);
        if set.is_saved() {
            return self
                .saved
                .ranges()
                .map(|range| (*range.start(), *range.end()))
                .collect();
        }
        match numbering {
            Numbering::Sequence => {
                let last = self.uids.len();
                set.resolve(last)
                    .into_iter()
                    .filter_map(|(a, b)| self.uids.uid(a).zip(self.uids.uid(b.min(last))))
                    .collect()
            }
            Numbering::Uid => {
                let last = self.uids.last().map_or(0, Uid::get);
                set.resolve(last)
                    .into_iter()
                    .filter_map(|(a, b)| uid(a).zip(uid(b)))
                    .collect()
            }
        }
    }

    /// The told messages that a set names.
    pub(crate) fn uid_set(&self, set: &SequenceSet, numbering: Numbering) -> UidSet {
        let wanted = self.resolve(set, numbering);
        let mut ranges = Vec::new();
        for range in self.uids.ranges() {
            // Both lists ascend; each wanted range is cut to the told ones it meets.
            let from = wanted.partition_point(|&(_, end)| end < *range.start());
            for &(start, end) in wanted.get(from..).unwrap_or_default() {
                if start > *range.end() {
                    break;
                }
                ranges.push(start.max(*range.start())..=end.min(*range.end()));
            }
        }
        UidSet::from_ranges(ranges)
    }

    /// Tells the client what `read` has that it does not know, and takes that over.
    pub(crate) fn refresh(
        &mut self,
        read: &IndexRead<'_>,
        news: &News<'_>,
        enabled: Enabled,
        out: &mut Vec<u8>,
    ) -> Result<(), MailboxError> {
        read.load_seen()?;
        // To those who do not want to hear of new and expunged messages, the mailbox stays as it was.
        let frozen = self.uids.clone();
        let now = if self.wanted.counts { read.uids() } else { &frozen };
        let old_last = self.uids.last();
        if !Arc::ptr_eq(now, &self.uids) {
            let before = self.uids.len();
            let gone = self.gone(now);
            self.owes = !news.expunges && !gone.is_empty();
            if news.expunges {
                self.tell_gone(&gone, enabled, out);
                self.uids = now.clone();
            } else if gone.is_empty() {
                self.uids = now.clone();
            } else {
                // Expunged messages keep their numbers for now; what is new comes after them.
                let mut uids = UidMap::clone(&self.uids);
                let new = old_last.map_or(0, |last| now.count_through(last)) + 1;
                for uid in (new..=now.len()).filter_map(|seqno| now.uid(seqno)) {
                    uids.push(uid);
                }
                self.uids = Arc::new(uids);
            }
            let kept = match news.expunges {
                true => before.saturating_sub(u32::try_from(gone.len()).unwrap_or(u32::MAX)),
                false => before,
            };
            if self.uids.len() > kept {
                put_exists(out, self.uids.len());
                if enabled.tells_recent() {
                    put_recent(out, read.recent()?);
                }
                if self.wanted.fetch {
                    let new = now.iter().filter(|&uid| Some(uid) > old_last);
                    self.fresh
                        .extend_from(&UidSet::from_ranges(new.map(|uid| uid..=uid)));
                }
            }
        }
        self.tell_keywords(read, out);
        let told = self.told;
        let since = read.changed_since(told).filter(|change| change.visible);
        let mut changed = UidSet::from_ranges(since.map(|change| change.uid..=change.uid));
        if !self.wanted.flags {
            changed = UidSet::new();
        } else if self.wanted.annotations || self.tells_annotations {
            let own = |uid| news.annotated.is_some_and(|own| own.contains(uid));
            let known = changed.iter().filter(|&uid| Some(uid) <= old_last && !own(uid));
            let known = UidSet::from_ranges(known.map(|uid| uid..=uid));
            let (_, noted) = self.annotated.get_or_insert_with(|| (told, UidSet::new()));
            noted.extend_from(&known);
        }
        if let Some(more) = news.changed {
            changed.extend_from(more);
        }
        for uid in changed.iter() {
            let known = news.known.is_some_and(|known| known.contains(uid));
            if Some(uid) > old_last || known {
                continue;
            }
            let Some((message, seqno)) = read.get(uid).zip(self.uids.seqno(uid)) else {
                continue;
            };
            let flags = message.flags();
            let mut line = match enabled.contains(Enabled::UIDONLY) {
                true => FetchLine::begin_uid(out, uid.get()),
                false => FetchLine::begin(out, seqno),
            };
            if !news.silent.is_some_and(|silent| silent.contains(uid)) {
                line.flags(
                    enabled.tells_recent() && message.is_recent(),
                    flags.system,
                    flags.keywords,
                    |slot| keyword(read, slot),
                );
            }
            // Always with QRESYNC (RFC 7162, section 3.2.4), and in IMAP4rev2 where nobody asked (RFC 9051, appendix E).
            let asked = news.changed.is_some_and(|changed| changed.contains(uid));
            let named = enabled.contains(Enabled::QRESYNC) || enabled.contains(Enabled::IMAP4REV2) && !asked;
            if news.with_uid || self.wanted.uids || named {
                line.uid(uid.get());
            }
            if enabled.contains(Enabled::CONDSTORE) {
                line.modseq(message.modseq().0);
            }
            line.end();
        }
        if self.wanted.flags {
            self.told = read.highest_modseq();
        }
        Ok(())
    }

    /// Tells the client that every message is gone, with the mailbox.
    pub(crate) fn empty(&mut self, enabled: Enabled, out: &mut Vec<u8>) {
        self.tell_gone(&self.uids.to_set(), enabled, out);
        self.uids = Arc::default();
    }

    /// Told messages that `now` has no more.
    fn gone(&self, now: &UidMap) -> UidSet {
        let still = self.uids.last().map_or(0, |last| now.count_through(last));
        if still == self.uids.len() {
            return UidSet::new();
        }
        let mut gone = self.uids.to_set();
        gone.remove_all(&now.to_set());
        gone
    }

    /// Tells which messages are gone, by number, or by UID where the client wants that.
    fn tell_gone(&self, gone: &UidSet, enabled: Enabled, out: &mut Vec<u8>) {
        if enabled.tells_vanished() {
            return put_vanished(out, false, gone);
        }
        let seqnos = gone.iter().filter_map(|uid| self.uids.seqno(uid));
        for (told, seqno) in (0..).zip(seqnos) {
            put_expunge(out, seqno.saturating_sub(told));
        }
    }

    fn tell_keywords(&mut self, read: &IndexRead<'_>, out: &mut Vec<u8>) {
        let count = read.keywords().len();
        if count > self.keywords {
            put_flags_line(out, &flag_list(read, SystemFlags::ALL));
            let flags = self.permanent_flags(read);
            Reply::ok("Ok")
                .with(Code::PermanentFlags(flags))
                .put_untagged(out);
        }
        self.keywords = count;
    }

    /// The flags that this user can change for good here, ready to print.
    pub(crate) fn permanent_flags(&self, read: &IndexRead<'_>) -> String {
        if self.read_only {
            return String::new();
        }
        let rights = self.rights;
        let mut system = SystemFlags::NONE;
        if rights.contains(Rights::WRITE) {
            system = SystemFlags::ANSWERED | SystemFlags::FLAGGED | SystemFlags::DRAFT;
        }
        if rights.contains(Rights::DELETE_MESSAGES) {
            system |= SystemFlags::DELETED;
        }
        if rights.contains(Rights::SEEN) {
            system |= SystemFlags::SEEN;
        }
        if !rights.contains(Rights::WRITE) {
            return system.to_string();
        }
        let flags = flag_list(read, system);
        // Without room for another keyword, none can be made (RFC 9051, section 7.1).
        match read.keywords().iter().flatten().count() < MAX_KEYWORDS {
            true => format!("{flags} \\*"),
            false => flags,
        }
    }
}

/// The keywords for which `cyrus.index` has bits.
const MAX_KEYWORDS: usize = 128;

/// System flags and all keywords of the mailbox, ready to print.
pub(crate) fn flag_list(read: &IndexRead<'_>, system: SystemFlags) -> String {
    let mut text = system.to_string();
    for keyword in read.keywords().iter().flatten() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(keyword.as_str());
    }
    text
}

/// The name of the keyword in a slot.
pub(crate) fn keyword<'r>(read: &'r IndexRead<'_>, slot: usize) -> Option<&'r str> {
    read.keywords()
        .get(slot)?
        .as_ref()
        .map(cyrus_store::Keyword::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selected_mailbox_fits_the_memory_of_an_idle_session() {
        let session = size_of::<crate::imap::ImapSession>();
        assert!(
            session + size_of::<Selected>() <= 2_048,
            "{session} + {}",
            size_of::<Selected>()
        );
    }
}
