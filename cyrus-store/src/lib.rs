//! The Cyrus mail store as a library.

pub mod db;
mod flags;
pub mod format;
#[doc(hidden)]
pub mod fuzz;
mod ident;
pub mod lock;
pub mod log;
pub mod message;
pub mod name;
pub mod namespace;
pub mod sys;
mod uid;
pub mod utf7;

pub use flags::{FlagNames, Flags, Keyword, KeywordBits, SystemFlags};
pub use format::mboxentry::{MailboxKind, MailboxType};
pub use format::quota::{Quota, Resource};
pub use ident::{Guid, MailboxId, Partition};
pub use log::{Level, Log};
pub use name::{MailboxName, NameError};
pub use namespace::{ClientName, Namespace, Pattern, Separator, VirtualDomains};
pub use uid::{ModSeq, Uid, UidMap, UidSet, UidValidity};
