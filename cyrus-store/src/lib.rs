//! The Cyrus mail store as a library: mailboxes, mailbox list, quota, seen state and delivery, in the files of Cyrus
//! IMAP 3.6 and under its locks, so that both can work on one spool at the same moment.
//!
//! [`Store`] is where everything begins. A [`Mailbox`] is opened by name for somebody, and every method checks his
//! rights. Everything is synchronous and may wait for the disk or for a lock.
//!
//! ```no_run
//! use cyrus_acl::AuthState;
//! use cyrus_store::{MailboxError, MailboxName, NewMessage, Store, StoreOptions};
//!
//! fn main() -> Result<(), MailboxError> {
//!     let store = Store::open(StoreOptions::new("conf").partition("default", "spool"))?;
//!     let inbox = MailboxName::parse("user.bovik")?;
//!     let bovik = AuthState::user("bovik")?;
//!     let mut mailbox = store.open_mailbox(&inbox, &bovik)?;
//!     mailbox.append(NewMessage::from_bytes(*b"Subject: hello\r\n\r\nHi.\r\n"))?;
//!     for message in mailbox.read()?.messages() {
//!         println!("{} {} {}", message.uid(), message.size(), message.flags());
//!     }
//!     Ok(())
//! }
//! ```
//!
//! What the files look like, and what a crash may leave in them, is in `docs/FORMATS.md`.

mod annotate;
mod archiving;
mod autocreate;
mod commit;
mod conversations;
pub mod db;
mod deliver;
mod deny;
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
pub mod metrics;
pub mod name;
pub mod namespace;
pub mod options;
mod partitions;
pub mod paths;
pub mod pts;
mod quota;
mod reconstruct;
mod repair;
pub mod search;
mod seen;
mod snapshot;
mod staging;
mod statuscache;
mod store;
mod subs;
mod sync_log;
pub mod sys;
mod uid;
mod urlkeys;
mod user;
pub mod utf7;
mod verify;

pub use annotate::{
    Annotation, AnnotationScope, AnnotationUpdate, Audience, DefinedScope, Definition, Definitions, ValueType,
};
pub use archiving::Archiving;
pub use autocreate::{Autocreate, Occasion};
pub use conversations::{ConversationCounts, ConversationDifference, Pruned, Splitting};
pub use deliver::{DeliverOptions, Delivered, Recipient};
pub use deny::Denial;
pub use error::{ErrorClass, MailboxError};
pub use flags::{FlagNames, Flags, Keyword, KeywordBits, SystemFlags};
pub use format::mboxentry::{MailboxKind, MailboxType};
pub use format::quota::{Quota, Resource};
pub use hints::{Announcer, Hint, Watch};
pub use ident::{Guid, MailboxId, Partition};
pub use log::{Level, Log};
pub use mailbox::{
    Appended, Archive, Archived, CachedRecord, Change, Copied, CopyMode, Expired, Expiry, Expunge,
    ExpungedMessage, FlagChange, FlagMode, FlagsStored, IndexRead, Mailbox, MailboxStatus, Message,
    MessageFile, NewMessage, Redated,
};
pub use mboxlist::{CreateOptions, MailboxEntry, Moved, Relocated, Step};
pub use name::{MailboxName, NameError};
pub use namespace::{ClientName, Namespace, Pattern, Separator, VirtualDomains};
pub use options::{SearchOptions, StoreOptions};
pub use partitions::{ChoiceMode, PartitionChoice};
pub use quota::{QuotaFault, QuotaPolicy, QuotaRoot};
pub use reconstruct::{Adopted, Finding, Found, Mismatches, OddFiles, Reconstruct, Reconstructed};
pub use repair::{Outcome, Repair, SameId};
pub use snapshot::{Restored, Snapshot};
pub use staging::{Staged, StagedBytes, StagingFile};
pub use store::Store;
pub use sync_log::SyncEvents;
pub use uid::{ModSeq, Uid, UidMap, UidSet, UidValidity};
pub use urlkeys::UrlKey;
pub use verify::{Cure, Verified, Verify, Wrong};
