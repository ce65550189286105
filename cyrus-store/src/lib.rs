//! The Cyrus mail store as a library.

mod format;

pub mod db;
pub mod lock;
pub mod name;
pub mod namespace;
pub mod sys;
pub mod utf7;

pub use name::{MailboxName, NameError};
pub use namespace::{ClientName, Namespace, Pattern, Separator, VirtualDomains};
