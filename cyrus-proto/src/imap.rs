//! IMAP4rev1 (RFC 3501) with the extensions that RFC 3501 servers of today are expected to have.

pub mod command;
pub mod date;
mod enabled;
mod intake;
pub mod metrics;
mod notify;
mod options;
pub mod response;
mod run;
mod selected;
pub mod sequence;
mod session;
pub mod url;

pub use enabled::Enabled;
pub use options::{ImapOptions, ServerInfo};
pub use session::{ImapService, ImapSession, User};

pub use crate::eight_bit::EightBitHeaders;
