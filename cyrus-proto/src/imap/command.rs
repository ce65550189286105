//! IMAP commands: what a client can ask, as values (RFC 3501, section 6, and the extensions that we speak).
//!
//! [`head`] reads tag and name, so that a session can refuse a command its state does not allow before it looks at the
//! arguments; [`arguments`] reads those. [`parse`] does both. The grammar is `nom` over complete commands, one function a rule.

use std::fmt;

use cyrus_store::FlagNames;

use super::sequence::SequenceSet;

pub(crate) use self::append::LiteralPlace;
pub use self::append::{AppendContent, AppendMessage, CatenatePart, Literal, LiteralForm, Octets};
pub use self::binary::{BinarySection, BinaryWanted};
pub(crate) use self::fetch::section;
pub use self::fetch::{AnnotationQuery, BodySection, FetchAttributes, FetchItems, Section, SectionText};
pub use self::limits::{CommandLimits, Limit, TooMany};
pub use self::list::{ListCommand, ListForm, ListReturns, ListSelection, StatusItems};
pub use self::metadata::{
    AnnotationChange, GetAnnotation, GetMetadata, MetadataChange, MetadataDepth, SetAnnotation, SetMetadata,
};
pub use self::multisearch::{MultiSearch, SearchSource};
pub use self::notify::{EventGroup, EventSet, Events, MailboxFilter, NotifySet};
pub use self::parse::{Head, Refusal, arguments, head, parse};
pub(crate) use self::parse::{append_target, literal_place};
pub use self::search::{
    Age, AnnotationKey, DateField, DateTest, EntryKind, ModSeqEntry, PartialRange, SearchKey, SearchProgram,
    SearchReturn, TextField,
};
pub use self::sort::{SortCriterion, SortKey, ThreadAlgorithm};
pub use self::sync::{FetchModifiers, Qresync, SelectParameters, UidBatches};
pub use self::urlauth::{UrlFetch, UrlFetchData, UrlFetchItems, UrlRump};
pub use self::verb::{Needs, Verb};

mod append;
mod binary;
mod compress;
mod create;
mod fetch;
mod language;
pub(crate) mod lex;
mod limits;
mod list;
mod metadata;
mod multisearch;
mod notify;
mod parse;
mod parse_mailboxes;
mod parse_rights;
pub(crate) mod search;
mod sort;
mod sync;
mod urlauth;
mod verb;
pub(crate) mod write;

/// A command's tag (RFC 3501, section 2.2.1).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tag(Box<[u8]>);

impl Tag {
    /// The longest tag.
    pub const MAX_LEN: usize = 1_000;

    /// The tag of these octets, if it is one.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let fits = (1..=Self::MAX_LEN).contains(&bytes.len());
        (fits && bytes.iter().all(|&c| lex::is_tag_char(c))).then(|| Self(bytes.into()))
    }

    /// The tag's octets, all of them printable ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

/// A complete command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What the answer will be marked with.
    pub tag: Tag,
    /// The command.
    pub body: CommandBody,
}

/// How messages are named: by sequence number, or by UID (`UID FETCH` and its like).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// Message sequence numbers.
    Sequence,
    /// Unique identifiers.
    Uid,
}

impl Numbering {
    fn prefix(self) -> &'static str {
        match self {
            Self::Sequence => "",
            Self::Uid => "UID ",
        }
    }
}

/// How a mailbox is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `SELECT`
    ReadWrite,
    /// `EXAMINE`
    ReadOnly,
}

/// A command and its arguments. Mailbox names, references and patterns are as the client wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are named as in RFC 3501
pub enum CommandBody {
    Capability,
    Noop,
    Logout,
    /// RFC 5161: names of capabilities, as sent.
    Enable(Vec<Vec<u8>>),
    /// RFC 2971; no fields for `NIL`.
    Id(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    StartTls,
    /// `initial` is base64 as sent, empty for `=` (RFC 4959).
    Authenticate {
        mechanism: String,
        initial: Option<Vec<u8>>,
    },
    Login {
        user: Vec<u8>,
        password: Vec<u8>,
    },
    /// `SELECT` or `EXAMINE`.
    Select {
        mailbox: Vec<u8>,
        access: Access,
        parameters: SelectParameters,
    },
    /// With the partition that administrators may name, and special uses (RFC 6154).
    Create {
        mailbox: Vec<u8>,
        partition: Option<Vec<u8>>,
        special_use: Option<Vec<Vec<u8>>>,
    },
    Delete {
        mailbox: Vec<u8>,
    },
    /// With the partition that administrators may name.
    Rename {
        from: Vec<u8>,
        to: Vec<u8>,
        partition: Option<Vec<u8>>,
    },
    Subscribe {
        mailbox: Vec<u8>,
    },
    Unsubscribe {
        mailbox: Vec<u8>,
    },
    List(ListCommand),
    Lsub {
        reference: Vec<u8>,
        pattern: Vec<u8>,
    },
    /// RFC 2193.
    Rlsub {
        reference: Vec<u8>,
        pattern: Vec<u8>,
    },
    /// RFC 2342.
    Namespace,
    Status {
        mailbox: Vec<u8>,
        items: StatusItems,
    },
    Append {
        mailbox: Vec<u8>,
        messages: Vec<AppendMessage>,
    },
    /// RFC 8508; `message` is a number by `numbering`, `None` for `*`.
    Replace {
        numbering: Numbering,
        message: Option<std::num::NonZeroU32>,
        mailbox: Vec<u8>,
        replacement: Box<AppendMessage>,
    },
    /// RFC 4467.
    GenUrlAuth(Vec<UrlRump>),
    /// RFC 4467; without a mailbox, the keys of all.
    ResetKey {
        mailbox: Option<Vec<u8>>,
        mechanisms: Vec<Vec<u8>>,
    },
    /// RFC 4467 and RFC 5524.
    UrlFetch(Vec<UrlFetch>),
    /// RFC 2177.
    Idle,
    /// RFC 4978.
    Compress {
        algorithm: Vec<u8>,
    },
    /// RFC 8437.
    Unauthenticate,
    /// RFC 5465; none for `NONE`.
    Notify(Option<Box<NotifySet>>),
    /// RFC 5255: language ranges, best first; none to ask for the list.
    Language(Vec<Vec<u8>>),
    Check,
    Close,
    /// RFC 3691.
    Unselect,
    Expunge,
    /// RFC 4315.
    UidExpunge(SequenceSet),
    /// RFC 10022.
    UidBatches(UidBatches),
    Search {
        numbering: Numbering,
        returns: Option<SearchReturn>,
        program: SearchProgram,
    },
    /// RFC 5256.
    Sort {
        numbering: Numbering,
        returns: Option<SearchReturn>,
        criteria: Vec<SortCriterion>,
        program: SearchProgram,
    },
    /// RFC 5256.
    Thread {
        numbering: Numbering,
        algorithm: ThreadAlgorithm,
        program: SearchProgram,
    },
    /// RFC 7377.
    MultiSearch(MultiSearch),
    /// RFC 5267: the tags of searches.
    CancelUpdate(Vec<Vec<u8>>),
    /// RFC 5255: the collations wanted, in order of preference; none to ask which one is active.
    Comparator(Vec<Vec<u8>>),
    Fetch {
        numbering: Numbering,
        set: SequenceSet,
        wanted: FetchAttributes,
        modifiers: FetchModifiers,
    },
    Store {
        numbering: Numbering,
        set: SequenceSet,
        /// Only messages with a modification sequence up to this one (RFC 7162).
        unchanged_since: Option<u64>,
        store: StoreFlags,
    },
    /// `STORE set ANNOTATION (...)` (RFC 5257).
    StoreAnnotations {
        numbering: Numbering,
        set: SequenceSet,
        /// Only messages with a modification sequence up to this one (RFC 7162).
        unchanged_since: Option<u64>,
        changes: Vec<AnnotationChange>,
    },
    Copy {
        numbering: Numbering,
        set: SequenceSet,
        mailbox: Vec<u8>,
    },
    /// A wish of Cyrus's clients: that a mailbox be in memory soon.
    Xwarmup {
        mailbox: Vec<u8>,
    },
    /// RFC 6851.
    Move {
        numbering: Numbering,
        set: SequenceSet,
        mailbox: Vec<u8>,
    },
    /// RFC 4314; `rights` may start with `+` or `-`.
    SetAcl {
        mailbox: Vec<u8>,
        identifier: Vec<u8>,
        rights: Vec<u8>,
    },
    DeleteAcl {
        mailbox: Vec<u8>,
        identifier: Vec<u8>,
    },
    GetAcl {
        mailbox: Vec<u8>,
    },
    ListRights {
        mailbox: Vec<u8>,
        identifier: Vec<u8>,
    },
    MyRights {
        mailbox: Vec<u8>,
    },
    /// RFC 9208.
    GetQuota {
        root: Vec<u8>,
    },
    GetQuotaRoot {
        mailbox: Vec<u8>,
    },
    /// A limit of -1 takes the limit away.
    SetQuota {
        root: Vec<u8>,
        limits: Vec<(Vec<u8>, i64)>,
    },
    /// RFC 5464.
    GetMetadata(GetMetadata),
    SetMetadata(SetMetadata),
    /// The draft that became RFC 5464, as Cyrus has it.
    GetAnnotation(GetAnnotation),
    SetAnnotation(SetAnnotation),
}

/// What STORE does to flags (RFC 3501, section 6.4.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFlags {
    /// `FLAGS`, `+FLAGS` or `-FLAGS`.
    pub mode: StoreMode,
    /// `.SILENT`
    pub silent: bool,
    /// The flags.
    pub flags: FlagNames,
}

/// The three ways of STORE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMode {
    /// Replaces the flags.
    Set,
    /// Adds to them.
    Add,
    /// Takes from them.
    Remove,
}

impl StoreFlags {
    fn item_name(&self) -> &'static str {
        match (self.mode, self.silent) {
            (StoreMode::Set, false) => "FLAGS",
            (StoreMode::Set, true) => "FLAGS.SILENT",
            (StoreMode::Add, false) => "+FLAGS",
            (StoreMode::Add, true) => "+FLAGS.SILENT",
            (StoreMode::Remove, false) => "-FLAGS",
            (StoreMode::Remove, true) => "-FLAGS.SILENT",
        }
    }
}

impl CommandBody {
    /// The command's name, `UID` apart.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Capability => Verb::Capability,
            Self::Noop => Verb::Noop,
            Self::Enable(_) => Verb::Enable,
            Self::Logout => Verb::Logout,
            Self::Id(_) => Verb::Id,
            Self::StartTls => Verb::StartTls,
            Self::Authenticate { .. } => Verb::Authenticate,
            Self::Login { .. } => Verb::Login,
            Self::Select {
                access: Access::ReadWrite,
                ..
            } => Verb::Select,
            Self::Select {
                access: Access::ReadOnly,
                ..
            } => Verb::Examine,
            Self::Create { .. } => Verb::Create,
            Self::Delete { .. } => Verb::Delete,
            Self::Rename { .. } => Verb::Rename,
            Self::Subscribe { .. } => Verb::Subscribe,
            Self::Unsubscribe { .. } => Verb::Unsubscribe,
            Self::List(list) => match list.form {
                ListForm::Plain | ListForm::Extended => Verb::List,
                ListForm::Xlist => Verb::Xlist,
                ListForm::Rlist => Verb::Rlist,
            },
            Self::Lsub { .. } => Verb::Lsub,
            Self::Rlsub { .. } => Verb::Rlsub,
            Self::Namespace => Verb::Namespace,
            Self::Status { .. } => Verb::Status,
            Self::Append { .. } => Verb::Append,
            Self::Replace { .. } => Verb::Replace,
            Self::GenUrlAuth(_) => Verb::GenUrlAuth,
            Self::ResetKey { .. } => Verb::ResetKey,
            Self::UrlFetch(_) => Verb::UrlFetch,
            Self::Idle => Verb::Idle,
            Self::Compress { .. } => Verb::Compress,
            Self::Unauthenticate => Verb::Unauthenticate,
            Self::Notify(_) => Verb::Notify,
            Self::Language(_) => Verb::Language,
            Self::Check => Verb::Check,
            Self::Close => Verb::Close,
            Self::Unselect => Verb::Unselect,
            Self::Expunge | Self::UidExpunge(_) => Verb::Expunge,
            Self::UidBatches(_) => Verb::UidBatches,
            Self::Search { .. } => Verb::Search,
            Self::Sort { .. } => Verb::Sort,
            Self::Thread { .. } => Verb::Thread,
            Self::MultiSearch(_) => Verb::Esearch,
            Self::CancelUpdate(_) => Verb::CancelUpdate,
            Self::Comparator(_) => Verb::Comparator,
            Self::Fetch { .. } => Verb::Fetch,
            Self::Store { .. } | Self::StoreAnnotations { .. } => Verb::Store,
            Self::Copy { .. } => Verb::Copy,
            Self::Move { .. } => Verb::Move,
            Self::Xwarmup { .. } => Verb::Xwarmup,
            Self::SetAcl { .. } => Verb::SetAcl,
            Self::DeleteAcl { .. } => Verb::DeleteAcl,
            Self::GetAcl { .. } => Verb::GetAcl,
            Self::ListRights { .. } => Verb::ListRights,
            Self::MyRights { .. } => Verb::MyRights,
            Self::GetQuota { .. } => Verb::GetQuota,
            Self::GetQuotaRoot { .. } => Verb::GetQuotaRoot,
            Self::SetQuota { .. } => Verb::SetQuota,
            Self::GetMetadata(_) => Verb::GetMetadata,
            Self::SetMetadata(_) => Verb::SetMetadata,
            Self::GetAnnotation(_) => Verb::GetAnnotation,
            Self::SetAnnotation(_) => Verb::SetAnnotation,
        }
    }

    /// Whether the command names messages by number: for itself, in a key of a search, or in what it knows of a mailbox.
    pub(crate) fn uses_numbers(&self) -> bool {
        match self {
            Self::Select { parameters, .. } => {
                let known = parameters.qresync.as_ref();
                known.is_some_and(|known| known.matching.is_some())
            }
            Self::Search {
                numbering, program, ..
            }
            | Self::Sort {
                numbering, program, ..
            }
            | Self::Thread {
                numbering, program, ..
            } => *numbering == Numbering::Sequence || program.uses_numbers(),
            Self::MultiSearch(search) => search.program.uses_numbers(),
            other => other.numbering() == Some(Numbering::Sequence),
        }
    }

    /// What the command asks of conversations, as Cyrus refuses it where there are none.
    pub(crate) fn names_conversations(&self) -> Option<String> {
        match self {
            Self::Fetch { wanted, .. } => {
                let asked = FetchItems::NAMES.iter().find(|(item, _)| {
                    wanted.items.contains(*item) && FetchItems::OF_CONVERSATIONS.contains(*item)
                });
                asked.map(|(_, name)| format!("Invalid Fetch attribute {name}"))
            }
            Self::Status { items, .. } => items.names_conversations(),
            Self::List(list) => list.returns.status?.names_conversations(),
            _ => None,
        }
    }

    /// How the command names messages, if it does.
    pub fn numbering(&self) -> Option<Numbering> {
        match self {
            Self::UidExpunge(_) => Some(Numbering::Uid),
            Self::Search { numbering, .. }
            | Self::Sort { numbering, .. }
            | Self::Thread { numbering, .. }
            | Self::Fetch { numbering, .. }
            | Self::Store { numbering, .. }
            | Self::StoreAnnotations { numbering, .. }
            | Self::Replace { numbering, .. }
            | Self::Copy { numbering, .. }
            | Self::Move { numbering, .. } => Some(*numbering),
            _ => None,
        }
    }
}
