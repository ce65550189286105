//! The Cyrus mail store as a library.

pub mod name;
pub mod utf7;

pub use name::{MailboxName, NameError};
