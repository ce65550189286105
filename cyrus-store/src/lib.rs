//! The Cyrus mail store as a library.

mod commit;
pub mod db;
mod error;
mod flags;
pub mod format;
#[doc(hidden)]
pub mod fuzz;
mod hints;
mod hot;
mod ident;
pub mod lock;
pub mod log;
mod mailbox;
mod mboxlist;
pub mod message;
pub mod name;
pub mod namespace;
pub mod options;
pub mod paths;
mod quota;
pub mod search;
mod seen;
mod staging;
mod statuscache;
mod store;
pub mod sys;
mod uid;
pub mod utf7;

pub use error::{ErrorClass, MailboxError};
pub use flags::{FlagNames, Flags, Keyword, KeywordBits, SystemFlags};
pub use format::mboxentry::{MailboxKind, MailboxType};
pub use format::quota::{Quota, Resource};
pub use hints::{Hint, Watch};
pub use ident::{Guid, MailboxId, Partition};
pub use log::{Level, Log};
pub use mailbox::{
    Appended, CachedRecord, Change, Copied, CopyMode, Expunge, FlagChange, FlagMode, FlagsStored, IndexRead,
    Mailbox, Message, MessageFile, NewMessage,
};
pub use mboxlist::MailboxEntry;
pub use name::{MailboxName, NameError};
pub use namespace::{ClientName, Namespace, Pattern, Separator, VirtualDomains};
pub use options::StoreOptions;
pub use quota::QuotaPolicy;
pub use staging::{Staged, StagingFile};
pub use store::Store;
pub use uid::{ModSeq, Uid, UidMap, UidSet, UidValidity};
