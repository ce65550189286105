//! A SEARCH program ready to run: strings folded, sets resolved, cheap tests first.

use std::cell::Cell;

use cyrus_acl::AuthState;
use cyrus_store::message::Charset;
use cyrus_store::search::{Comparison, Pattern};
use cyrus_store::{
    AnnotationScope, Audience, IndexRead, MailboxError, MailboxName, Message, Store, SystemFlags, UidSet,
};

use self::fuzzy::Like;
use super::super::annotation;
use super::text::{Items, Where};
use crate::imap::command::lex::is_atom_char;
use crate::imap::command::search::search_program;
use crate::imap::command::{
    Age, AnnotationKey, DateField, DateTest, Numbering, SearchKey, SearchProgram, TextField,
};
use crate::imap::response::{Code, Reply};
use crate::imap::selected::View;

mod fuzzy;
mod narrow;

pub(super) use self::narrow::EXACT;

/// A compiled program: all tests must hold.
#[derive(Default)]
pub(super) struct Program(Vec<Test>);

enum Test {
    Constant(bool),
    Flag(SystemFlags, bool),
    Recent(bool),
    New,
    Keyword {
        name: String,
        wanted: bool,
        /// Where the mailbox keeps it: see [`Program::bind`].
        slot: Option<usize>,
    },
    /// A date within some seconds, from the first one on to before the last one.
    Date(DateField, std::ops::Range<i64>),
    Size {
        larger: bool,
        than: u64,
    },
    Uids(UidSet),
    /// Modification sequence at least this one.
    ModSeq(u64),
    EmailId(String),
    ThreadId(Option<u64>),
    Text(Where, Box<Pattern>),
    /// FUZZY.
    Like(Box<Like>),
    Not(Box<Test>),
    Any(Vec<Test>),
    All(Vec<Test>),
}

/// What a test must look at, cheapest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cost {
    Index,
    Cache,
    File,
}

impl Cost {
    /// What looking at a message costs at most, in octets.
    pub(super) fn octets(self, message: &Message<'_>) -> u64 {
        match self {
            Self::Index => 0,
            Self::Cache => CACHE_RECORD,
            Self::File => CACHE_RECORD + u64::from(message.size()),
        }
    }
}

/// What a cache record counts for, in octets.
const CACHE_RECORD: u64 = 512;

/// Why a program cannot be run.
pub(super) enum Unsearchable {
    Charset,
    /// No filter of this name is kept.
    UndefinedFilter(String),
    /// What is kept under this name is no program, or refers to itself.
    BrokenFilter(String),
    Error(MailboxError),
}

impl Unsearchable {
    pub(super) fn reply(self) -> Result<Reply, MailboxError> {
        Ok(match self {
            Self::Charset => Reply::no("Unrecognized character set").with(Code::BadCharset(CHARSETS)),
            Self::UndefinedFilter(name) => {
                // A name that cannot stand in a response code cannot be kept either.
                let is_name = !name.is_empty() && name.bytes().all(|c| is_atom_char(c) && c != b'/');
                let reply = Reply::no("No such filter");
                match is_name {
                    true => reply.with(Code::UndefinedFilter(name)),
                    false => reply,
                }
            }
            Self::BrokenFilter(name) => Reply::no(format!("Filter {name} is no search program")),
            Self::Error(error) => return Err(error),
        })
    }
}

/// The charsets named in BADCHARSET; every other one that the message parser knows works as well.
const CHARSETS: &[&str] = &["US-ASCII", "UTF-8"];

/// How deep filters may refer to others.
const MAX_FILTER_DEPTH: usize = 8;

/// What the keys of a program refer to.
pub(super) struct Terms<'t> {
    /// The messages, as the client knows them.
    pub(super) view: &'t View,
    /// Which mailbox they are in.
    pub(super) mailbox: &'t MailboxName,
    /// The server's clock, and where filters are kept.
    pub(super) store: &'t Store,
    /// Whose filters.
    pub(super) auth: &'t AuthState,
    /// How texts are compared.
    pub(super) comparison: Comparison,
    /// The present, Unix seconds.
    pub(super) now: i64,
    /// `search_fuzzy_always`: every string is looked for as FUZZY does.
    pub(super) fuzzy: bool,
    /// How many keys may still come out of filters.
    pub(super) left: Cell<usize>,
}

impl Program {
    /// Compiles a program for what the client knows.
    pub(super) fn compile(source: &SearchProgram, terms: &Terms<'_>) -> Result<Self, Unsearchable> {
        Ok(Self(
            Compiler::new(terms, source, 0, terms.fuzzy)?.all(&source.keys)?,
        ))
    }

    /// Finds out where the mailbox keeps what the tests name; to be called whenever it is read anew.
    pub(super) fn bind(&mut self, read: &IndexRead<'_>) {
        self.0.iter_mut().for_each(|test| test.bind(read));
    }

    /// The most that a message can cost.
    pub(super) fn cost(&self) -> Cost {
        self.0.iter().map(Test::cost).max().unwrap_or(Cost::Index)
    }

    /// The UIDs beyond which nothing can match, if the program says so.
    pub(super) fn uids(&self) -> Option<UidSet> {
        let sets = self.0.iter().filter_map(|test| match test {
            Test::Uids(uids) => Some(uids),
            _ => None,
        });
        sets.cloned().reduce(|mut both, other| {
            let mut apart = both.clone();
            apart.remove_all(&other);
            both.remove_all(&apart);
            both
        })
    }

    /// Whether a message matches.
    pub(super) fn matches(
        &self,
        message: &Message<'_>,
        items: &mut Items<'_, '_>,
    ) -> Result<bool, MailboxError> {
        for test in &self.0 {
            if !test.holds(message, items)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

struct Compiler<'c> {
    charset: Charset,
    terms: &'c Terms<'c>,
    /// How many filters deep this is.
    depth: usize,
    /// Whether this is within a FUZZY key.
    fuzzy: Cell<bool>,
}

impl<'c> Compiler<'c> {
    fn new(
        terms: &'c Terms<'c>,
        source: &SearchProgram,
        depth: usize,
        fuzzy: bool,
    ) -> Result<Self, Unsearchable> {
        let name = source.charset.as_deref().unwrap_or(b"utf-8");
        let charset = Charset::by_name(name).ok_or(Unsearchable::Charset)?;
        Ok(Self {
            charset,
            terms,
            depth,
            fuzzy: Cell::new(fuzzy),
        })
    }

    fn all<'k>(&self, keys: impl IntoIterator<Item = &'k SearchKey>) -> Result<Vec<Test>, Unsearchable> {
        let mut tests = keys
            .into_iter()
            .map(|key| self.key(key))
            .collect::<Result<Vec<_>, _>>()?;
        tests.sort_by_key(Test::cost);
        Ok(tests)
    }

    fn key(&self, key: &SearchKey) -> Result<Test, Unsearchable> {
        let text = |place, text: &[u8]| {
            let text = self.charset.decode(text);
            let pattern = Pattern::with(&text, self.terms.comparison);
            match self.fuzzy.get() {
                true => Test::Like(Box::new(Like::new(place, pattern, &text))),
                false => Test::Text(place, Box::new(pattern)),
            }
        };
        let view = self.terms.view;
        let keyword = |keyword: &cyrus_store::Keyword, wanted| Test::Keyword {
            name: keyword.as_str().to_owned(),
            wanted,
            slot: None,
        };
        Ok(match key {
            SearchKey::All | SearchKey::SaveDateSupported => Test::Constant(true),
            SearchKey::Has(flag) => Test::Flag(*flag, true),
            SearchKey::Lacks(flag) => Test::Flag(*flag, false),
            SearchKey::New => Test::New,
            SearchKey::Old => Test::Recent(false),
            SearchKey::Recent => Test::Recent(true),
            SearchKey::Keyword(name) => keyword(name, true),
            SearchKey::Unkeyword(name) => keyword(name, false),
            SearchKey::Date(field, test, date) => {
                let start = |day| start_of_day(self.terms.store, day);
                let (today, tomorrow) = (start(date.days()), start(date.days() + 1));
                let range = match test {
                    DateTest::Before => i64::MIN..today,
                    DateTest::On => today..tomorrow,
                    DateTest::Since => today..i64::MAX,
                };
                Test::Date(*field, range)
            }
            SearchKey::Within(age, seconds) => {
                let then = self
                    .terms
                    .now
                    .saturating_sub(i64::try_from(*seconds).unwrap_or(i64::MAX));
                let range = match age {
                    Age::Older => i64::MIN..then.saturating_add(1),
                    Age::Younger => then..i64::MAX,
                };
                Test::Date(DateField::Internal, range)
            }
            SearchKey::Contains(field, string) => text(
                match field {
                    TextField::Bcc => Where::Bcc,
                    TextField::Body => Where::Body,
                    TextField::Cc => Where::Cc,
                    TextField::From => Where::From,
                    TextField::Subject => Where::Subject,
                    TextField::Text => Where::Text,
                    TextField::To => Where::To,
                },
                string,
            ),
            SearchKey::Header(name, string) => text(Where::Header(name.clone()), string),
            SearchKey::Larger(than) => Test::Size {
                larger: true,
                than: *than,
            },
            SearchKey::Smaller(than) => Test::Size {
                larger: false,
                than: *than,
            },
            SearchKey::Sequence(set) => Test::Uids(view.uid_set(set, Numbering::Sequence)),
            SearchKey::Uid(set) => Test::Uids(view.uid_set(set, Numbering::Uid)),
            SearchKey::ModSeq(_, since) => Test::ModSeq(*since),
            SearchKey::EmailId(id) => Test::EmailId(String::from_utf8_lossy(id).into_owned()),
            SearchKey::ThreadId(id) => Test::ThreadId(thread_id(id)),
            SearchKey::Filter(name) => self.filter(name)?,
            SearchKey::Annotation(key) => self.annotation(key)?,
            SearchKey::Fuzzy(key) => {
                let outer = self.fuzzy.replace(true);
                let test = self.key(key);
                self.fuzzy.set(outer);
                test?
            }
            SearchKey::Not(key) => Test::Not(Box::new(self.key(key)?)),
            SearchKey::Or(keys) => Test::Any(self.all([&keys.0, &keys.1])?),
            SearchKey::And(keys) => Test::All(self.all(keys)?),
        })
    }

    /// The messages with an annotation, as they are annotated now (RFC 5257, section 4.5).
    fn annotation(&self, key: &AnnotationKey) -> Result<Test, Unsearchable> {
        let terms = self.terms;
        let find = |wanted: &dyn Fn(&str, Audience, &[u8]) -> bool| {
            let mailbox = terms.store.open_mailbox(terms.mailbox, terms.auth);
            let found = mailbox.and_then(|mut mailbox| mailbox.annotated(wanted));
            found.map(Test::Uids).map_err(Unsearchable::Error)
        };
        let is_named = |name: &str| annotation::matches(&key.entry, name.as_bytes());
        if let Some(value) = key.value.as_deref().filter(|value| !value.is_empty()) {
            let finder = memchr::memmem::Finder::new(value);
            return find(&|name, audience, text| {
                key.audience.is_none_or(|wanted| wanted == audience)
                    && is_named(name)
                    && finder.find(text).is_some()
            });
        }
        let audiences = match key.audience {
            Some(audience) => vec![audience],
            None => vec![Audience::Shared, Audience::Private],
        };
        let lack = audiences.into_iter().map(|wanted| {
            let have = find(&|name, audience, _| audience == wanted && is_named(name))?;
            Ok(Test::Not(Box::new(have)))
        });
        Ok(Test::Any(lack.collect::<Result<_, Unsearchable>>()?))
    }

    /// The program that is kept under a name: the user's own, else everybody's (RFC 5466, section 3.1).
    fn filter(&self, name: &[u8]) -> Result<Test, Unsearchable> {
        let name = String::from_utf8_lossy(name).into_owned();
        let entry = format!("/filters/values/{}", name.to_ascii_lowercase());
        let kept = |audience| {
            let scope = AnnotationScope::Server;
            let found = self
                .terms
                .store
                .annotation(scope, &entry, audience, self.terms.auth);
            found.map_err(Unsearchable::Error)
        };
        let value = match kept(Audience::Private)? {
            Some(value) => Some(value),
            None => kept(Audience::Shared)?,
        };
        let Some(value) = value else {
            return Err(Unsearchable::UndefinedFilter(name));
        };
        match search_program(&value) {
            Ok((b"", program)) if self.depth < MAX_FILTER_DEPTH => {
                let Some(left) = self.terms.left.get().checked_sub(program.keys.len().max(1)) else {
                    return Err(Unsearchable::BrokenFilter(name));
                };
                self.terms.left.set(left);
                let inner = Compiler::new(self.terms, &program, self.depth + 1, self.fuzzy.get())?;
                Ok(Test::All(inner.all(&program.keys)?))
            }
            _ => Err(Unsearchable::BrokenFilter(name)),
        }
    }
}

/// The first second of a day by the server's clock.
fn start_of_day(store: &Store, day: i64) -> i64 {
    store.local_time(day.saturating_mul(DAY))
}

const DAY: i64 = 86_400;

/// The conversation of a THREADID, `T` and sixteen hexadecimal digits.
fn thread_id(id: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(id.strip_prefix(b"T")?).ok()?;
    let fits = digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let cid = fits.then(|| u64::from_str_radix(digits, 16).ok())??;
    (cid != 0).then_some(cid)
}

impl Test {
    fn cost(&self) -> Cost {
        match self {
            Self::Text(place, _) if place.is_cached() => Cost::Cache,
            Self::Like(like) if like.place.is_cached() => Cost::Cache,
            Self::Text(..) | Self::Like(_) => Cost::File,
            Self::Not(test) => test.cost(),
            Self::Any(tests) | Self::All(tests) => tests.iter().map(Self::cost).max().unwrap_or(Cost::Index),
            Self::Constant(_)
            | Self::Flag(..)
            | Self::Recent(_)
            | Self::New
            | Self::Keyword { .. }
            | Self::Date(..)
            | Self::Size { .. }
            | Self::ModSeq(_)
            | Self::EmailId(_)
            | Self::ThreadId(_)
            | Self::Uids(_) => Cost::Index,
        }
    }

    fn bind(&mut self, read: &IndexRead<'_>) {
        match self {
            Self::Keyword { name, slot, .. } => {
                let same = |known: &cyrus_store::Keyword| known.as_str().eq_ignore_ascii_case(name);
                *slot = read
                    .keywords()
                    .iter()
                    .position(|known| known.as_ref().is_some_and(same));
            }
            Self::Not(test) => test.bind(read),
            Self::Any(tests) | Self::All(tests) => tests.iter_mut().for_each(|test| test.bind(read)),
            _ => {}
        }
    }

    fn holds(&self, message: &Message<'_>, items: &mut Items<'_, '_>) -> Result<bool, MailboxError> {
        Ok(match self {
            Self::Constant(value) => *value,
            Self::Flag(flag, wanted) => message.flags().system.contains(*flag) == *wanted,
            Self::Recent(wanted) => message.is_recent() == *wanted,
            Self::New => message.is_recent() && !message.flags().system.contains(SystemFlags::SEEN),
            Self::Keyword { wanted, slot, .. } => {
                slot.is_some_and(|slot| message.flags().keywords.contains(slot)) == *wanted
            }
            Self::Date(field, range) => range.contains(&match field {
                DateField::Internal => message.internal_date(),
                DateField::Sent => message.sent_date(),
                DateField::Saved => message.save_date(),
            }),
            Self::Size { larger, than } => {
                let size = u64::from(message.size());
                if *larger { size > *than } else { size < *than }
            }
            Self::ModSeq(since) => message.modseq().0 >= *since,
            Self::EmailId(id) => message.guid().email_id() == *id,
            Self::ThreadId(id) => id.is_some_and(|id| message.thread_id() == id),
            Self::Uids(uids) => uids.contains(message.uid()),
            Self::Text(place, pattern) => items.contain(place, pattern)?,
            Self::Like(like) => like.holds(message, items)?,
            Self::Not(test) => !test.holds(message, items)?,
            Self::Any(tests) => {
                for test in tests {
                    if test.holds(message, items)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::All(tests) => {
                for test in tests {
                    if !test.holds(message, items)? {
                        return Ok(false);
                    }
                }
                true
            }
        })
    }
}
