//! From the text of a complete command to its value.
//!
//! The words of refusals are those clients and administrators know from Cyrus.

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::{tag, take_while1};
use nom::combinator::opt;
use nom::multi::separated_list1;

use super::append::{FlagWords, LiteralPlace, Literals, flag, flag_list};
use super::compress::compress;
use super::fetch::fetch_attributes;
use super::language::language_cmd;
use super::lex::{
    Flaw, Parsed, astring, expect, is_atom_char, keyword, mismatch, nstring, refuse, sp, string, tag_rule,
    word,
};
use super::metadata::{entry_att_list, getannotation, getmetadata, setannotation, setmetadata};
use super::multisearch::{esearch, words};
use super::notify::notify;
use super::search::{end_of_keys, search_program, search_return_opts};
use super::sort::{search_criteria, sort_criteria, thread_alg};
use super::sync::{enable, fetch_modifiers, select_params, store_modifiers, uidbatches};
use super::urlauth::{genurlauth, resetkey, urlfetch};
use super::{
    Access, Command, CommandBody, FetchItems, ListForm, Numbering, StoreFlags, StoreMode, Tag, Verb,
};
use crate::imap::sequence::sequence_set;

/// Tag and name of a command, and what follows the name.
#[derive(Clone, Debug)]
pub struct Head<'i> {
    /// The tag.
    pub tag: Tag,
    /// The name; `None` when nobody knows it.
    pub verb: Option<Verb>,
    /// The rest, from the space after the name on.
    rest: &'i [u8],
    length: usize,
}

/// Why a command cannot be read: the peer broke the grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("octet {at}: {text}")]
pub struct Refusal {
    /// The tag to answer with; none if even that is broken.
    pub tag: Option<Tag>,
    /// Where in the command, in octets.
    pub at: usize,
    /// The text of the `BAD` reply.
    pub text: Cow<'static, str>,
}

/// Reads `tag SP name` (RFC 3501, section 9, `command`).
///
/// # Errors
/// A [`Refusal`] without a tag when there is none, with it when there is nothing after it.
pub fn head(text: &[u8]) -> Result<Head<'_>, Refusal> {
    let length = text.len();
    let refusal = |tag, rest: &[u8], text| Refusal {
        tag,
        at: length - rest.len(),
        text: Cow::Borrowed(text),
    };
    let Ok((rest, (tag, ()))) = (tag_rule, sp).parse(text) else {
        return Err(refusal(None, text, "Invalid tag"));
    };
    let (rest, name) = match take_while1(is_atom_char).parse(rest) as Parsed<'_, &[u8]> {
        Ok(found) => found,
        Err(_) => return Err(refusal(Some(tag), rest, "Null command")),
    };
    Ok(Head {
        tag,
        verb: Verb::parse(name),
        rest,
        length,
    })
}

/// Reads the arguments that belong to `head`.
///
/// `staged_at` says which staged literal, if any, has its place at an offset of the command (as
/// [`frame::Command::staged_at`](crate::frame::Command::staged_at) does).
///
/// # Errors
/// A [`Refusal`] with the place of the first offending octet and the reason.
pub fn arguments(
    head: &Head<'_>,
    staged_at: &dyn Fn(usize) -> Option<usize>,
) -> Result<CommandBody, Refusal> {
    let refusal = |at: &[u8], text| Refusal {
        tag: Some(head.tag.clone()),
        at: head.length - at.len(),
        text,
    };
    let Some(verb) = head.verb else {
        return Err(refusal(head.rest, Cow::Borrowed("Unrecognized command")));
    };
    let staged = |rest: usize| staged_at(head.length - rest);
    let arguments = Arguments {
        verb,
        staged: &staged,
    };
    match arguments.parse(head.rest) {
        Ok((&[], body)) => Ok(body),
        Ok((rest, _)) => Err(refusal(rest, arguments.extra())),
        Err(nom::Err::Error(Flaw { at, words }) | nom::Err::Failure(Flaw { at, words })) => {
            Err(refusal(at, words.unwrap_or_else(|| arguments.missing())))
        }
        Err(nom::Err::Incomplete(_)) => Err(refusal(&[], arguments.missing())),
    }
}

/// The mailbox of an APPEND or REPLACE whose next literal is a message or part of one: of `text` as far as the announcement
/// of that literal.
pub(crate) fn append_target(head: &Head<'_>) -> Option<Vec<u8>> {
    let (_, mailbox) = before_messages(head).ok()?;
    Some(mailbox)
}

/// What the literal is that `head` and its arguments end with; `None` if it is no message and no part of one.
pub(crate) fn literal_place(
    head: &Head<'_>,
    staged_at: &dyn Fn(usize) -> Option<usize>,
) -> Option<LiteralPlace> {
    let (rest, _) = before_messages(head).ok()?;
    let staged = |rest: usize| staged_at(head.length - rest);
    let literals = Literals::new(&staged);
    // It cannot be read to the end, for that is still to come.
    let _ = literals.append_messages(rest);
    literals.open.get()
}

/// The mailbox of an APPEND or REPLACE, and what follows it, which is not nothing.
fn before_messages<'i>(head: &Head<'i>) -> Parsed<'i, Vec<u8>> {
    let mut rest = head.rest;
    let mut verb = head.verb;
    if verb == Some(Verb::Uid) {
        let (after, (_, name)) = (sp, take_while1(is_atom_char)).parse(rest)?;
        verb = Verb::parse(name).filter(|&verb| verb == Verb::Replace);
        rest = after;
    }
    match verb {
        Some(Verb::Append) => {}
        Some(Verb::Replace) => (rest, _) = (sp, word).parse(rest)?,
        _ => return mismatch(rest),
    }
    let (rest, (_, mailbox)) = (sp, astring).parse(rest)?;
    match rest.is_empty() {
        true => mismatch(rest),
        false => Ok((rest, mailbox.into_owned())),
    }
}

/// Reads a whole command, without its final line end.
///
/// # Errors
/// See [`head`] and [`arguments`].
pub fn parse(text: &[u8], staged_at: &dyn Fn(usize) -> Option<usize>) -> Result<Command, Refusal> {
    let head = head(text)?;
    let body = arguments(&head, staged_at)?;
    Ok(Command { tag: head.tag, body })
}

/// The arguments of one command.
pub(super) struct Arguments<'s> {
    pub(super) verb: Verb,
    /// Which staged literal has its place so many octets before the end.
    pub(super) staged: &'s dyn Fn(usize) -> Option<usize>,
}

impl Arguments<'_> {
    pub(super) fn missing(&self) -> Cow<'static, str> {
        Cow::Owned(format!("Missing required argument to {}", self.verb.name()))
    }

    fn extra(&self) -> Cow<'static, str> {
        let name = match self.verb {
            Verb::Login => "LOGIN",
            verb => verb.name(),
        };
        Cow::Owned(format!("Unexpected extra arguments to {name}"))
    }

    pub(super) fn invalid_sequence(&self) -> Cow<'static, str> {
        Cow::Owned(format!("Invalid sequence in {}", self.verb.name()))
    }

    /// `SP argument`, where a mismatch means that the argument is missing.
    pub(super) fn argument<'i, T>(
        &self,
        input: &'i [u8],
        rule: impl FnMut(&'i [u8]) -> Parsed<'i, T>,
    ) -> Parsed<'i, T> {
        let (rest, ()) = expect(sp, || self.missing()).parse(input)?;
        expect(rule, || self.missing()).parse(rest)
    }

    /// `SP` and the rest of a command, whose own rule says what is wrong with it.
    pub(super) fn argument_after_sp<'i>(
        &self,
        input: &'i [u8],
        rule: impl Fn(&'i [u8]) -> Parsed<'i, CommandBody>,
    ) -> Parsed<'i, CommandBody> {
        let (rest, ()) = expect(sp, || self.missing()).parse(input)?;
        rule(rest)
    }

    /// `SP astring`
    pub(super) fn text<'i>(&self, input: &'i [u8]) -> Parsed<'i, Vec<u8>> {
        let (rest, text) = self.argument(input, astring)?;
        Ok((rest, text.into_owned()))
    }

    /// `[SP astring]`
    pub(super) fn optional_text<'i>(&self, input: &'i [u8]) -> Parsed<'i, Option<Vec<u8>>> {
        if input.is_empty() {
            return Ok((input, None));
        }
        let invalid = || Cow::Owned(format!("Invalid partition name in {}", self.verb.name()));
        let (rest, (_, text)) = expect((sp, astring), invalid).parse(input)?;
        Ok((rest, Some(text.into_owned())))
    }

    fn parse<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        use CommandBody as C;
        match self.verb {
            Verb::Capability => Ok((input, C::Capability)),
            Verb::Noop => Ok((input, C::Noop)),
            Verb::Logout => Ok((input, C::Logout)),
            Verb::StartTls => Ok((input, C::StartTls)),
            Verb::Namespace => Ok((input, C::Namespace)),
            Verb::Idle => Ok((input, C::Idle)),
            Verb::Unauthenticate => Ok((input, C::Unauthenticate)),
            Verb::Compress => self.argument_after_sp(input, compress),
            Verb::Notify => self.argument_after_sp(input, notify),
            Verb::Language => language_cmd(input),
            Verb::Check => Ok((input, C::Check)),
            Verb::Close => Ok((input, C::Close)),
            Verb::Unselect => Ok((input, C::Unselect)),
            Verb::Expunge => Ok((input, C::Expunge)),
            Verb::Id => self.id(input),
            Verb::UidBatches => {
                let (rest, batches) = self.argument(input, uidbatches)?;
                Ok((rest, C::UidBatches(batches)))
            }
            Verb::Enable => {
                let (rest, names) = enable(input, || self.missing())?;
                Ok((rest, C::Enable(names)))
            }
            Verb::Authenticate => self.authenticate(input),
            Verb::Login => self.login(input),
            Verb::Select => self.select(input, Access::ReadWrite),
            Verb::Examine => self.select(input, Access::ReadOnly),
            Verb::Create => self.create(input),
            Verb::Rename => self.rename(input),
            Verb::Delete => self.delete(input),
            Verb::Subscribe => self.subscribe(input),
            Verb::Unsubscribe => self.unsubscribe(input),
            Verb::GetAcl => self.getacl(input),
            Verb::MyRights => self.myrights(input),
            Verb::GetQuota => self.getquota(input),
            Verb::GetQuotaRoot => self.getquotaroot(input),
            Verb::List => self.list(input),
            Verb::Xlist => self.rlist(input, ListForm::Xlist),
            Verb::Rlist => self.rlist(input, ListForm::Rlist),
            Verb::Lsub | Verb::Rlsub => self.lsub(input),
            Verb::Status => self.status(input),
            Verb::Append => self.append(input),
            Verb::Replace => self.replace(input, Numbering::Sequence),
            Verb::GenUrlAuth => genurlauth(input).map(|(rest, urls)| (rest, C::GenUrlAuth(urls))),
            Verb::UrlFetch => urlfetch(input).map(|(rest, urls)| (rest, C::UrlFetch(urls))),
            Verb::ResetKey => {
                let (rest, (mailbox, mechanisms)) = resetkey(input)?;
                Ok((rest, C::ResetKey { mailbox, mechanisms }))
            }
            Verb::Search => self.search(input, Numbering::Sequence),
            Verb::Sort => self.sort(input, Numbering::Sequence),
            Verb::Thread => self.thread(input, Numbering::Sequence),
            Verb::Esearch => {
                let (rest, search) = esearch(input)?;
                let (rest, ()) = end_of_keys(rest)?;
                Ok((rest, C::MultiSearch(search)))
            }
            Verb::CancelUpdate => {
                let (rest, tags) = words(input)?;
                match tags.is_empty() {
                    true => mismatch(rest),
                    false => Ok((rest, C::CancelUpdate(tags))),
                }
            }
            Verb::Comparator => words(input).map(|(rest, names)| (rest, C::Comparator(names))),
            Verb::Fetch => self.fetch(input, Numbering::Sequence),
            Verb::Store => self.store(input, Numbering::Sequence),
            Verb::Copy | Verb::Move => self.copy(input, Numbering::Sequence, self.verb),
            Verb::Xmove => self.copy(input, Numbering::Sequence, Verb::Move),
            Verb::Xwarmup => self.xwarmup(input),
            Verb::Uid => self.uid(input),
            Verb::SetAcl => self.setacl(input),
            Verb::DeleteAcl => self.deleteacl(input),
            Verb::ListRights => self.listrights(input),
            Verb::SetQuota => self.setquota(input),
            Verb::GetMetadata => {
                let (rest, get) = self.argument(input, getmetadata)?;
                Ok((rest, C::GetMetadata(get)))
            }
            Verb::SetMetadata => {
                let (rest, set) = self.argument(input, setmetadata)?;
                Ok((rest, C::SetMetadata(set)))
            }
            Verb::GetAnnotation => {
                let (rest, get) = self.argument(input, getannotation)?;
                Ok((rest, C::GetAnnotation(get)))
            }
            Verb::SetAnnotation => {
                let (rest, set) = self.argument(input, setannotation)?;
                Ok((rest, C::SetAnnotation(set)))
            }
        }
    }

    /// `uid = "UID" SP (copy / fetch / search / store)` (RFC 3501, section 9); MOVE (RFC 6851), EXPUNGE (RFC 4315).
    fn uid<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, name) = self.argument(input, take_while1(is_atom_char))?;
        if rest.is_empty() {
            return mismatch(rest);
        }
        match Verb::parse(name) {
            Some(Verb::Search) => self.search(rest, Numbering::Uid),
            Some(Verb::Sort) => self.sort(rest, Numbering::Uid),
            Some(Verb::Thread) => self.thread(rest, Numbering::Uid),
            Some(Verb::Fetch) => self.fetch(rest, Numbering::Uid),
            Some(Verb::Store) => self.store(rest, Numbering::Uid),
            Some(Verb::Replace) => self.replace(rest, Numbering::Uid),
            Some(verb @ (Verb::Copy | Verb::Move)) => self.copy(rest, Numbering::Uid, verb),
            Some(Verb::Xmove) => self.copy(rest, Numbering::Uid, Verb::Move),
            Some(Verb::Expunge) => {
                let (rest, ()) = expect(sp, || self.missing()).parse(rest)?;
                let (rest, set) = expect(sequence_set, || self.invalid_sequence()).parse(rest)?;
                Ok((rest, CommandBody::UidExpunge(set)))
            }
            _ => refuse(rest, "Unrecognized UID subcommand"),
        }
    }

    /// `id = "ID" SP id_params_list` (RFC 2971, section 4).
    fn id<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        const INVALID: &str = "Invalid parameter list in Id";
        const PAIR: &str = "Invalid field-value pair in Id";
        // RFC 2971, section 3.3.
        const MAX_FIELDS: usize = 30;
        const MAX_NAME: usize = 30;
        const MAX_VALUE: usize = 1_024;
        let (rest, ()) = expect(sp, || self.missing()).parse(input)?;
        if let Ok((rest, ())) = keyword("NIL")(rest) {
            return Ok((rest, CommandBody::Id(Vec::new())));
        }
        let field = |input| {
            let (rest, name) = expect(string, || PAIR.into()).parse(input)?;
            let (rest, (_, value)) = expect((sp, nstring), || PAIR.into()).parse(rest)?;
            if name.len() > MAX_NAME {
                return refuse(input, "field longer than 30 octets in Id");
            }
            if value.as_ref().is_some_and(|value| value.len() > MAX_VALUE) {
                return refuse(input, "value longer than 1024 octets in Id");
            }
            Ok((rest, (name.into_owned(), value.map(Cow::into_owned))))
        };
        let (rest, _) = expect(tag(&b"("[..]), || INVALID.into()).parse(rest)?;
        if let Some(rest) = rest.strip_prefix(b")") {
            return Ok((rest, CommandBody::Id(Vec::new())));
        }
        let (rest, fields) = separated_list1(sp, field).parse(rest)?;
        if fields.len() > MAX_FIELDS {
            return refuse(input, "too many (30) field-value pairs in ID");
        }
        let (rest, _) = expect(tag(&b")"[..]), || PAIR.into()).parse(rest)?;
        Ok((rest, CommandBody::Id(fields)))
    }

    /// `authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp]` (RFC 3501, section 9; RFC 4959, section 3).
    fn authenticate<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, name) = self.argument(input, take_while1(is_atom_char))?;
        let (rest, initial) = opt((sp, take_while1(|c: u8| c.is_ascii_graphic()))).parse(rest)?;
        let initial = initial.map(|(_, initial)| {
            if initial == b"=" {
                Vec::new()
            } else {
                initial.to_vec()
            }
        });
        let mechanism = String::from_utf8_lossy(name).to_ascii_uppercase();
        Ok((rest, CommandBody::Authenticate { mechanism, initial }))
    }

    /// `login = "LOGIN" SP userid SP password` (RFC 3501, section 9).
    fn login<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, user) = self.text(input)?;
        let (rest, password) = self.text(rest)?;
        Ok((rest, CommandBody::Login { user, password }))
    }

    /// `select = "SELECT" SP mailbox [select-params]`, and `examine` (RFC 3501, section 9; RFC 4466, section 6).
    fn select<'i>(&self, input: &'i [u8], access: Access) -> Parsed<'i, CommandBody> {
        let (rest, mailbox) = self.text(input)?;
        let (rest, parameters) = select_params(rest, self.verb.name())?;
        Ok((
            rest,
            CommandBody::Select {
                mailbox,
                access,
                parameters,
            },
        ))
    }

    /// `search = "SEARCH" [search-return-opts] SP search-program` (RFC 3501, section 9; RFC 4466, section 6).
    fn search<'i>(&self, input: &'i [u8], numbering: Numbering) -> Parsed<'i, CommandBody> {
        let (rest, returns) = search_return_opts(input)?;
        let (rest, ()) = expect(sp, || self.missing()).parse(rest)?;
        let (rest, program) = search_program(rest)?;
        let (rest, ()) = end_of_keys(rest)?;
        Ok((
            rest,
            CommandBody::Search {
                numbering,
                returns,
                program,
            },
        ))
    }

    /// `sort = "SORT" [search-return-opts] SP sort-criteria SP search-criteria` (RFC 5256, section 5; RFC 5267, section 5).
    fn sort<'i>(&self, input: &'i [u8], numbering: Numbering) -> Parsed<'i, CommandBody> {
        let (rest, returns) = search_return_opts(input)?;
        let (rest, ()) = expect(sp, || self.missing()).parse(rest)?;
        let (rest, criteria) = sort_criteria(rest)?;
        let (rest, ()) = expect(sp, || "Missing charset".into()).parse(rest)?;
        let (rest, program) = search_criteria(rest)?;
        let (rest, ()) = end_of_keys(rest)?;
        Ok((
            rest,
            CommandBody::Sort {
                numbering,
                returns,
                criteria,
                program,
            },
        ))
    }

    /// `thread = "THREAD" SP thread-alg SP search-criteria` (RFC 5256, section 5).
    fn thread<'i>(&self, input: &'i [u8], numbering: Numbering) -> Parsed<'i, CommandBody> {
        let (rest, ()) = expect(sp, || self.missing()).parse(input)?;
        if rest.is_empty() {
            return mismatch(rest);
        }
        let (rest, algorithm) = thread_alg(rest)?;
        let (rest, ()) = expect(sp, || "Missing algorithm in Thread".into()).parse(rest)?;
        let (rest, program) = search_criteria(rest)?;
        let (rest, ()) = end_of_keys(rest)?;
        Ok((
            rest,
            CommandBody::Thread {
                numbering,
                algorithm,
                program,
            },
        ))
    }

    /// `SP sequence-set`
    fn sequence<'i>(&self, input: &'i [u8]) -> Parsed<'i, crate::imap::sequence::SequenceSet> {
        let (rest, ()) = expect(sp, || self.missing()).parse(input)?;
        if word(rest)?.1.is_empty() {
            return mismatch(rest);
        }
        let (after, set) = expect(sequence_set, || self.invalid_sequence()).parse(rest)?;
        match after.first() {
            Some(b' ') => Ok((after, set)),
            None => mismatch(after),
            Some(_) => refuse(after, self.invalid_sequence()),
        }
    }

    /// `fetch = "FETCH" SP sequence-set SP (...) [fetch-modifiers]` (RFC 3501, section 9; RFC 4466, section 6).
    fn fetch<'i>(&self, input: &'i [u8], numbering: Numbering) -> Parsed<'i, CommandBody> {
        let (rest, set) = self.sequence(input)?;
        let (rest, ()) = expect(sp, || self.missing()).parse(rest)?;
        let name = match numbering {
            Numbering::Sequence => "Fetch",
            Numbering::Uid => "UID Fetch",
        };
        let (rest, mut wanted) = fetch_attributes(rest, name)?;
        let (rest, modifiers) = fetch_modifiers(rest, numbering)?;
        if numbering == Numbering::Uid {
            wanted.items = wanted.items.with(FetchItems::UID);
        }
        Ok((
            rest,
            CommandBody::Fetch {
                numbering,
                set,
                wanted,
                modifiers,
            },
        ))
    }

    /// `store = "STORE" SP sequence-set [store-modifiers] SP store-att-flags` (RFC 3501, section 9; RFC 4466, section 6).
    fn store<'i>(&self, input: &'i [u8], numbering: Numbering) -> Parsed<'i, CommandBody> {
        let (rest, set) = self.sequence(input)?;
        let (rest, ()) = expect(sp, || self.missing()).parse(rest)?;
        let command = match numbering {
            Numbering::Sequence => "Store",
            Numbering::Uid => "UID Store",
        };
        let (rest, unchanged_since) = store_modifiers(rest, command)?;
        let (rest, name) = expect(word, || self.missing()).parse(rest)?;
        let attribute = |name: &[u8]| {
            let name = name.to_ascii_uppercase();
            let (mode, name) = match name.split_first() {
                Some((b'+', name)) => (StoreMode::Add, name),
                Some((b'-', name)) => (StoreMode::Remove, name),
                _ => (StoreMode::Set, name.as_slice()),
            };
            match name {
                b"FLAGS" => Some((mode, false)),
                b"FLAGS.SILENT" => Some((mode, true)),
                _ => None,
            }
        };
        if [&b"ANNOTATION"[..], b"ANNOTATION.SILENT"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
        {
            let (rest, ()) = expect(sp, || self.missing()).parse(rest)?;
            let (rest, changes) = entry_att_list(rest)?;
            let annotations = CommandBody::StoreAnnotations {
                numbering,
                set,
                unchanged_since,
                changes,
            };
            return Ok((rest, annotations));
        }
        let Some((mode, silent)) = attribute(name) else {
            return refuse(rest, "Invalid Store attribute");
        };
        let (rest, ()) = expect(sp, || self.missing()).parse(rest)?;
        let (rest, flags) = self.store_flags(rest)?;
        let store = StoreFlags { mode, silent, flags };
        Ok((
            rest,
            CommandBody::Store {
                numbering,
                set,
                unchanged_since,
                store,
            },
        ))
    }

    /// `flag-list / (flag *(SP flag))` (RFC 3501, section 9).
    fn store_flags<'i>(&self, input: &'i [u8]) -> Parsed<'i, cyrus_store::FlagNames> {
        if input.starts_with(b"(") {
            return flag_list(input, &FlagWords::STORE);
        }
        if input.is_empty() || input.starts_with(b"\"") {
            return mismatch(input);
        }
        let mut flags = cyrus_store::FlagNames::default();
        let mut rest = input;
        loop {
            (rest, ()) = flag(rest, &FlagWords::STORE, &mut flags)?;
            match rest.split_first() {
                Some((b' ', after)) => rest = after,
                _ => return Ok((rest, flags)),
            }
        }
    }

    /// `copy = "COPY" SP sequence-set SP mailbox` (RFC 3501, section 9), and MOVE (RFC 6851, section 7).
    fn copy<'i>(&self, input: &'i [u8], numbering: Numbering, verb: Verb) -> Parsed<'i, CommandBody> {
        let (rest, set) = self.sequence(input)?;
        let (rest, mailbox) = self.text(rest)?;
        let body = match verb {
            Verb::Move => CommandBody::Move {
                numbering,
                set,
                mailbox,
            },
            _ => CommandBody::Copy {
                numbering,
                set,
                mailbox,
            },
        };
        Ok((rest, body))
    }
}
