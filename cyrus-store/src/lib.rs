//! The Cyrus mail store as a library.

pub mod message;
pub mod name;
pub mod namespace;
pub mod search;
pub mod utf7;

pub use name::{MailboxName, NameError};
pub use namespace::{ClientName, Namespace, Pattern, Separator, VirtualDomains};
