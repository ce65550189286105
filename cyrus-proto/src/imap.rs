//! IMAP4rev1 (RFC 3501) with the extensions that RFC 3501 servers of today are expected to have.

pub mod command;
pub mod date;
pub mod response;
pub mod sequence;
