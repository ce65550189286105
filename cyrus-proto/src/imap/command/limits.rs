//! Limits of what one command may hold. The parser has each of them as a constant, which bounds its memory and its recursion;
//! an administrator may set lower ones, and these are checked once a command is understood.

use super::{
    AnnotationChange, AppendContent, AppendMessage, CommandBody, FetchAttributes, MailboxFilter, SearchKey,
    SearchProgram, SectionText,
};
use crate::imap::sequence::SequenceSet;

/// Something of which a command may have only so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Octets of an atom or another word without quotes.
    Word,
    /// Octets of a quoted string.
    Quoted,
    /// Ranges of a set of messages.
    SequenceRanges,
    /// Keys of a search.
    SearchKeys,
    /// How deep the keys of a search nest.
    SearchDepth,
    /// Criteria of a SORT.
    SortCriteria,
    /// `BODY[...]`, `BINARY[...]` and the like in a FETCH.
    FetchSections,
    /// Names in one `HEADER.FIELDS`.
    HeaderFields,
    /// Numbers of a part: how deep it is.
    PartDepth,
    /// Patterns of a LIST.
    ListPatterns,
    /// Mailboxes that an ESEARCH or a NOTIFY names.
    Mailboxes,
    /// Entries of GETMETADATA, SETMETADATA, GETANNOTATION, SETANNOTATION, and of ANNOTATION in STORE, FETCH and APPEND.
    AnnotationEntries,
    /// Messages of an APPEND.
    AppendMessages,
    /// Parts of a message in CATENATE.
    AppendParts,
    /// Flags of a list.
    Flags,
    /// URLs of GENURLAUTH and URLFETCH.
    Urls,
    /// Names in ENABLE, LANGUAGE, COMPARATOR and CANCELUPDATE.
    Names,
}

impl Limit {
    /// Every limit, what it is called in replies, and the parser's own value.
    pub const ALL: [(Self, &'static str, usize); 17] = [
        (Self::Word, "octets in a word", 128 * 1024),
        (Self::Quoted, "octets in a quoted string", 128 * 1024),
        (
            Self::SequenceRanges,
            "ranges in a sequence set",
            SequenceSet::MAX_RANGES,
        ),
        (Self::SearchKeys, "search keys", SearchProgram::MAX_KEYS),
        (
            Self::SearchDepth,
            "levels of search keys",
            SearchProgram::MAX_DEPTH,
        ),
        (Self::SortCriteria, "sort criteria", super::SortCriterion::MAX),
        (
            Self::FetchSections,
            "sections to fetch",
            FetchAttributes::MAX_SECTIONS,
        ),
        (
            Self::HeaderFields,
            "header field names",
            FetchAttributes::MAX_FIELDS,
        ),
        (
            Self::PartDepth,
            "levels of body parts",
            FetchAttributes::MAX_PART_DEPTH,
        ),
        (Self::ListPatterns, "patterns", super::list::MAX_PATTERNS),
        (Self::Mailboxes, "mailbox names", super::NotifySet::MAX_NAMES),
        (
            Self::AnnotationEntries,
            "annotation entries",
            super::metadata::MAX_ENTRIES,
        ),
        (Self::AppendMessages, "messages", AppendMessage::MAX_MESSAGES),
        (Self::AppendParts, "message parts", AppendMessage::MAX_PARTS),
        (Self::Flags, "flags", super::append::FlagWords::MAX_FLAGS),
        (Self::Urls, "URLs", super::UrlFetch::MAX_URLS),
        (Self::Names, "names", super::multisearch::MAX_WORDS),
    ];
}

/// The limits that an administrator has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLimits([usize; Limit::ALL.len()]);

impl Default for CommandLimits {
    fn default() -> Self {
        Self(Limit::ALL.map(|(.., own)| own))
    }
}

/// A limit that a command breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// Which.
    pub limit: Limit,
    /// What it allows.
    pub most: usize,
}

impl TooMany {
    /// The words for the client.
    pub(crate) fn text(self) -> String {
        let name = Limit::ALL
            .get(self.limit as usize)
            .map_or("", |(_, name, _)| name);
        format!("No more than {} {name} are allowed", self.most)
    }
}

impl CommandLimits {
    /// What a limit allows.
    pub fn get(&self, limit: Limit) -> usize {
        self.0.get(limit as usize).copied().unwrap_or_default()
    }

    /// Sets a limit; at least 1, and at most what the parser itself takes.
    pub fn set(&mut self, limit: Limit, most: usize) {
        if let (Some(value), Some((.., own))) =
            (self.0.get_mut(limit as usize), Limit::ALL.get(limit as usize))
        {
            *value = most.clamp(1, *own);
        }
    }

    fn check(&self, limit: Limit, count: usize) -> Result<(), TooMany> {
        let most = self.get(limit);
        match count > most {
            true => Err(TooMany { limit, most }),
            false => Ok(()),
        }
    }

    /// Whether the words and quoted strings of a command's text are short enough.
    ///
    /// # Errors
    /// The limit that is broken.
    pub(crate) fn check_tokens(&self, tokens: &super::lex::Tokens) -> Result<(), TooMany> {
        self.check(Limit::Word, tokens.longest_word)?;
        self.check(Limit::Quoted, tokens.longest_quoted)
    }

    /// Whether a command keeps to the limits.
    ///
    /// # Errors
    /// The first limit that is broken.
    pub(crate) fn check_body(&self, body: &CommandBody) -> Result<(), TooMany> {
        use CommandBody as C;
        match body {
            C::Enable(names) | C::Language(names) | C::Comparator(names) | C::CancelUpdate(names) => {
                self.check(Limit::Names, names.len())
            }
            C::Select { parameters, .. } => {
                let known = parameters.qresync.as_ref();
                let sets = known.map(|known| (known.known.as_ref(), known.matching.as_ref()));
                let (known, matching) = sets.unwrap_or_default();
                let matching = matching.map(|(numbers, uids)| [numbers, uids]);
                known
                    .into_iter()
                    .chain(matching.into_iter().flatten())
                    .try_for_each(|set| self.check_set(set))
            }
            C::List(list) => self.check(Limit::ListPatterns, list.patterns.len()),
            C::Append { messages, .. } => {
                self.check(Limit::AppendMessages, messages.len())?;
                messages
                    .iter()
                    .try_for_each(|message| self.check_message(message))
            }
            C::Replace { replacement, .. } => self.check_message(replacement),
            C::GenUrlAuth(urls) => self.check(Limit::Urls, urls.len()),
            C::UrlFetch(urls) => self.check(Limit::Urls, urls.len()),
            C::Notify(Some(set)) => set.groups.iter().try_for_each(|group| {
                let names = match &group.filter {
                    MailboxFilter::Subtree(names) | MailboxFilter::Mailboxes(names) => names.len(),
                    _ => 0,
                };
                self.check(Limit::Mailboxes, names)?;
                let fetch = group.events.fetch.as_ref();
                fetch.map_or(Ok(()), |wanted| self.check_wanted(wanted))
            }),
            C::UidExpunge(set) | C::Copy { set, .. } | C::Move { set, .. } => self.check_set(set),
            C::Search { program, .. } | C::Thread { program, .. } => self.check_program(program),
            C::Sort {
                criteria, program, ..
            } => {
                self.check(Limit::SortCriteria, criteria.len())?;
                self.check_program(program)
            }
            C::MultiSearch(search) => {
                let names = search.sources.iter().map(|source| source.names().len().max(1));
                self.check(Limit::Mailboxes, names.sum())?;
                self.check_program(&search.program)
            }
            C::Fetch { set, wanted, .. } => {
                self.check_set(set)?;
                self.check_wanted(wanted)
            }
            C::Store { set, store, .. } => {
                self.check_set(set)?;
                self.check(Limit::Flags, store.flags.keywords.len())
            }
            C::StoreAnnotations { set, changes, .. } => {
                self.check_set(set)?;
                self.check_changes(changes)
            }
            C::GetMetadata(get) => self.check(Limit::AnnotationEntries, get.entries.len()),
            C::SetMetadata(set) => self.check(Limit::AnnotationEntries, set.values.len()),
            C::GetAnnotation(get) => self.check(Limit::AnnotationEntries, get.entries.len()),
            C::SetAnnotation(set) => self.check_changes(&set.changes),
            // What these hold is bounded by the length of their words, or by an RFC.
            C::Capability
            | C::Noop
            | C::Logout
            | C::Id(_)
            | C::StartTls
            | C::Authenticate { .. }
            | C::Login { .. }
            | C::Create { .. }
            | C::Delete { .. }
            | C::Xwarmup { .. }
            | C::Rename { .. }
            | C::Subscribe { .. }
            | C::Unsubscribe { .. }
            | C::Lsub { .. }
            | C::Rlsub { .. }
            | C::Namespace
            | C::Status { .. }
            | C::ResetKey { .. }
            | C::Idle
            | C::Compress { .. }
            | C::Unauthenticate
            | C::Notify(None)
            | C::Check
            | C::Close
            | C::Unselect
            | C::Expunge
            | C::UidBatches(_)
            | C::SetAcl { .. }
            | C::DeleteAcl { .. }
            | C::GetAcl { .. }
            | C::ListRights { .. }
            | C::MyRights { .. }
            | C::GetQuota { .. }
            | C::GetQuotaRoot { .. }
            | C::SetQuota { .. } => Ok(()),
        }
    }

    fn check_set(&self, set: &SequenceSet) -> Result<(), TooMany> {
        self.check(Limit::SequenceRanges, set.ranges())
    }

    fn check_changes(&self, changes: &[AnnotationChange]) -> Result<(), TooMany> {
        self.check(Limit::AnnotationEntries, changes.len())?;
        changes
            .iter()
            .try_for_each(|change| self.check(Limit::AnnotationEntries, change.attributes.len()))
    }

    fn check_message(&self, message: &AppendMessage) -> Result<(), TooMany> {
        let flags = message.flags.as_ref().map_or(0, |flags| flags.keywords.len());
        self.check(Limit::Flags, flags)?;
        self.check_changes(&message.annotations)?;
        match &message.content {
            AppendContent::Literal(_) => Ok(()),
            AppendContent::Catenate(parts) => self.check(Limit::AppendParts, parts.len()),
        }
    }

    fn check_wanted(&self, wanted: &FetchAttributes) -> Result<(), TooMany> {
        let sections = wanted.sections.len() + wanted.binaries.len() + wanted.header_lines.len();
        self.check(Limit::FetchSections, sections)?;
        let parts = wanted.sections.iter().map(|section| &section.section.part);
        let binaries = wanted.binaries.iter().map(|section| &section.part);
        parts
            .chain(binaries)
            .try_for_each(|part| self.check(Limit::PartDepth, part.len()))?;
        let texts = wanted.sections.iter().map(|section| &section.section.text);
        texts
            .chain(&wanted.header_lines)
            .try_for_each(|text| match text {
                SectionText::HeaderFields(fields) | SectionText::HeaderFieldsNot(fields) => {
                    self.check(Limit::HeaderFields, fields.len())
                }
                _ => Ok(()),
            })?;
        let entries = wanted.annotations.as_ref().map_or(0, |query| query.entries.len());
        self.check(Limit::AnnotationEntries, entries)
    }

    fn check_program(&self, program: &SearchProgram) -> Result<(), TooMany> {
        let mut count = 0;
        program
            .keys
            .iter()
            .try_for_each(|key| self.check_key(key, 0, &mut count))
    }

    fn check_key(&self, key: &SearchKey, depth: usize, count: &mut usize) -> Result<(), TooMany> {
        *count += 1;
        self.check(Limit::SearchKeys, *count)?;
        self.check(Limit::SearchDepth, depth)?;
        match key {
            SearchKey::Sequence(set) | SearchKey::Uid(set) => self.check_set(set),
            SearchKey::Not(key) | SearchKey::Fuzzy(key) => self.check_key(key, depth + 1, count),
            SearchKey::Or(keys) => {
                self.check_key(&keys.0, depth + 1, count)?;
                self.check_key(&keys.1, depth + 1, count)
            }
            SearchKey::And(keys) => keys
                .iter()
                .try_for_each(|key| self.check_key(key, depth + 1, count)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::parse;

    fn broken(limit: Limit, most: usize, text: &str) -> Option<TooMany> {
        let mut limits = CommandLimits::default();
        limits.set(limit, most);
        let command = parse(text.as_bytes(), &|_| None).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
        limits.check_body(&command.body).err()
    }

    #[test]
    fn the_table_is_in_the_order_of_the_limits() {
        for (place, (limit, ..)) in Limit::ALL.iter().enumerate() {
            assert_eq!(*limit as usize, place);
        }
    }

    #[test]
    fn a_limit_allows_as_much_as_it_says_and_not_more() {
        for (limit, most, fits, too_many) in [
            (Limit::SequenceRanges, 2, "a FETCH 1,3 UID", "a FETCH 1,3,5 UID"),
            (
                Limit::SequenceRanges,
                1,
                "a SEARCH OR UID 1 ALL",
                "a SEARCH OR UID 1,3 ALL",
            ),
            (
                Limit::SequenceRanges,
                1,
                "a SELECT INBOX (QRESYNC (1 1 1:9))",
                "a SELECT INBOX (QRESYNC (1 1 1:9 (1,3 1,3)))",
            ),
            (
                Limit::SearchKeys,
                3,
                "a SEARCH SEEN NOT ALL",
                "a SEARCH SEEN OR ALL OR ALL ALL",
            ),
            (
                Limit::SearchDepth,
                1,
                "a SEARCH (ALL SEEN)",
                "a SEARCH ((ALL SEEN))",
            ),
            (
                Limit::SortCriteria,
                1,
                "a SORT (DATE) UTF-8 ALL",
                "a SORT (DATE SUBJECT) UTF-8 ALL",
            ),
            (
                Limit::FetchSections,
                1,
                "a FETCH 1 (BODY[1])",
                "a FETCH 1 (BODY[1] BINARY[2])",
            ),
            (
                Limit::HeaderFields,
                1,
                "a FETCH 1 BODY[HEADER.FIELDS (a)]",
                "a FETCH 1 BODY[HEADER.FIELDS (a b)]",
            ),
            (
                Limit::PartDepth,
                2,
                "a FETCH 1 BODY[1.2]",
                "a FETCH 1 BODY[1.2.3]",
            ),
            (Limit::ListPatterns, 1, "a LIST \"\" (a)", "a LIST \"\" (a b)"),
            (
                Limit::Mailboxes,
                1,
                "a ESEARCH IN (mailboxes a) ALL",
                "a ESEARCH IN (mailboxes (a b)) ALL",
            ),
            (
                Limit::AnnotationEntries,
                1,
                "a GETMETADATA INBOX /shared/comment",
                "a GETMETADATA INBOX (/shared/comment /private/comment)",
            ),
            (
                Limit::AppendMessages,
                1,
                "a APPEND INBOX {1}\r\nx",
                "a APPEND INBOX {1}\r\nx {1}\r\nx",
            ),
            (
                Limit::AppendParts,
                1,
                "a APPEND INBOX CATENATE (URL x)",
                "a APPEND INBOX CATENATE (URL x URL x)",
            ),
            (Limit::Flags, 1, "a STORE 1 FLAGS (a)", "a STORE 1 FLAGS (a b)"),
            (Limit::Urls, 1, "a URLFETCH x", "a URLFETCH x x"),
            (Limit::Names, 1, "a ENABLE x", "a ENABLE x y"),
        ] {
            assert_eq!(broken(limit, most, fits), None, "{fits}");
            assert_eq!(
                broken(limit, most, too_many),
                Some(TooMany { limit, most }),
                "{too_many}"
            );
        }
    }

    #[test]
    fn a_limit_is_never_above_the_parsers_own() {
        let mut limits = CommandLimits::default();
        limits.set(Limit::SearchDepth, usize::MAX);
        assert_eq!(limits.get(Limit::SearchDepth), SearchProgram::MAX_DEPTH);
        limits.set(Limit::SearchDepth, 0);
        assert_eq!(limits.get(Limit::SearchDepth), 1);
    }
}
