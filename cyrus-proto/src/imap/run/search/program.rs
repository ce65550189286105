//! A SEARCH program ready to run: strings folded, sets resolved, cheap tests first.

use cyrus_store::message::Charset;
use cyrus_store::search::Pattern;
use cyrus_store::{IndexRead, MailboxError, Message, Store, SystemFlags, UidSet};

use super::text::{Texts, Where};
use crate::imap::command::{DateField, DateTest, Numbering, SearchKey, SearchProgram, TextField};
use crate::imap::selected::View;

/// A compiled program: all tests must hold.
pub(super) struct Program(Vec<Test>);

enum Test {
    Constant(bool),
    Flag(SystemFlags, bool),
    Recent(bool),
    New,
    Keyword(String, bool),
    Date {
        sent: bool,
        test: DateTest,
        /// Days since 1970.
        day: i64,
        /// Whose clock says which day it was.
        zone: Store,
    },
    Size {
        larger: bool,
        than: u64,
    },
    Uids(UidSet),
    /// Modification sequence at least this one.
    ModSeq(u64),
    Text(Where, Box<Pattern>),
    Not(Box<Test>),
    Any(Vec<Test>),
    All(Vec<Test>),
}

/// What a test must look at, cheapest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    Index,
    Cache,
    File,
}

const DAY: i64 = 86_400;

impl Program {
    /// Compiles a program for what the client knows; `None` if its charset is not known.
    pub(super) fn compile(source: &SearchProgram, view: &View, zone: &Store) -> Option<Self> {
        let charset = match &source.charset {
            Some(name) => Charset::by_name(name)?,
            None => Charset::by_name(b"utf-8")?,
        };
        let compiler = Compiler { charset, view, zone };
        let mut tests: Vec<Test> = source.keys.iter().map(|key| compiler.key(key)).collect();
        tests.sort_by_key(Test::cost);
        Some(Self(tests))
    }

    /// Whether a message matches; what was read of bodies is added to `octets`.
    pub(super) fn matches(
        &self,
        read: &IndexRead<'_>,
        message: &Message<'_>,
        seqno: u32,
        octets: &mut u64,
    ) -> Result<bool, MailboxError> {
        let _ = seqno;
        let mut texts = Texts::new(message);
        let mut matched = true;
        for test in &self.0 {
            if !test.holds(read, message, &mut texts)? {
                matched = false;
                break;
            }
        }
        *octets += texts.octets();
        Ok(matched)
    }
}

struct Compiler<'c> {
    charset: Charset,
    view: &'c View,
    zone: &'c Store,
}

impl Compiler<'_> {
    fn key(&self, key: &SearchKey) -> Test {
        let text = |place, text: &[u8]| Test::Text(place, Box::new(Pattern::new(&self.charset.decode(text))));
        match key {
            SearchKey::All => Test::Constant(true),
            SearchKey::Has(flag) => Test::Flag(*flag, true),
            SearchKey::Lacks(flag) => Test::Flag(*flag, false),
            SearchKey::New => Test::New,
            SearchKey::Old => Test::Recent(false),
            SearchKey::Recent => Test::Recent(true),
            SearchKey::Keyword(keyword) => Test::Keyword(keyword.as_str().to_owned(), true),
            SearchKey::Unkeyword(keyword) => Test::Keyword(keyword.as_str().to_owned(), false),
            SearchKey::Date(field, test, date) => Test::Date {
                sent: *field == DateField::Sent,
                test: *test,
                day: date.days(),
                zone: self.zone.clone(),
            },
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
            SearchKey::Sequence(set) => Test::Uids(self.view.uid_set(set, Numbering::Sequence)),
            SearchKey::Uid(set) => Test::Uids(self.view.uid_set(set, Numbering::Uid)),
            SearchKey::ModSeq(_, since) => Test::ModSeq(*since),
            SearchKey::Not(key) => Test::Not(Box::new(self.key(key))),
            SearchKey::Or(keys) => self.group(Test::Any, [&keys.0, &keys.1]),
            SearchKey::And(keys) => self.group(Test::All, keys),
        }
    }

    fn group<'k>(&self, make: fn(Vec<Test>) -> Test, keys: impl IntoIterator<Item = &'k SearchKey>) -> Test {
        let mut tests: Vec<Test> = keys.into_iter().map(|key| self.key(key)).collect();
        tests.sort_by_key(Test::cost);
        make(tests)
    }
}

impl Test {
    fn cost(&self) -> Cost {
        match self {
            Self::Text(place, _) if place.is_cached() => Cost::Cache,
            Self::Text(..) => Cost::File,
            Self::Not(test) => test.cost(),
            Self::Any(tests) | Self::All(tests) => tests.iter().map(Self::cost).max().unwrap_or(Cost::Index),
            Self::Constant(_)
            | Self::Flag(..)
            | Self::Recent(_)
            | Self::New
            | Self::Keyword(..)
            | Self::Date { .. }
            | Self::Size { .. }
            | Self::ModSeq(_)
            | Self::Uids(_) => Cost::Index,
        }
    }

    fn holds(
        &self,
        read: &IndexRead<'_>,
        message: &Message<'_>,
        texts: &mut Texts<'_, '_>,
    ) -> Result<bool, MailboxError> {
        Ok(match self {
            Self::Constant(value) => *value,
            Self::Flag(flag, wanted) => message.flags().system.contains(*flag) == *wanted,
            Self::Recent(wanted) => message.is_recent() == *wanted,
            Self::New => message.is_recent() && !message.flags().system.contains(SystemFlags::SEEN),
            Self::Keyword(name, wanted) => {
                let slot = read.keywords().iter().position(|keyword| {
                    keyword
                        .as_ref()
                        .is_some_and(|keyword| keyword.as_str().eq_ignore_ascii_case(name))
                });
                slot.is_some_and(|slot| message.flags().keywords.contains(slot)) == *wanted
            }
            Self::Date {
                sent,
                test,
                day,
                zone,
            } => {
                let unix = if *sent {
                    message.sent_date()
                } else {
                    message.internal_date()
                };
                let of_message = unix
                    .saturating_add(i64::from(zone.utc_offset(unix)))
                    .div_euclid(DAY);
                match test {
                    DateTest::Before => of_message < *day,
                    DateTest::On => of_message == *day,
                    DateTest::Since => of_message >= *day,
                }
            }
            Self::Size { larger, than } => {
                let size = u64::from(message.size());
                if *larger { size > *than } else { size < *than }
            }
            Self::ModSeq(since) => message.modseq().0 >= *since,
            Self::Uids(uids) => uids.contains(message.uid()),
            Self::Text(place, pattern) => texts.contain(place, pattern)?,
            Self::Not(test) => !test.holds(read, message, texts)?,
            Self::Any(tests) => {
                for test in tests {
                    if test.holds(read, message, texts)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::All(tests) => {
                for test in tests {
                    if !test.holds(read, message, texts)? {
                        return Ok(false);
                    }
                }
                true
            }
        })
    }
}
