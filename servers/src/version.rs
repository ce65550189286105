//! What the programs call themselves.

/// The release of Cyrus IMAP whose formats, options and switches these programs have.
pub const CYRUS_RELEASE: &str = "3.6.1";

/// The name and version that `-V` and greetings show, in the form that scripts for Cyrus parse.
pub fn cyrus_version() -> String {
    format!("{CYRUS_RELEASE}-rs-{}", env!("CARGO_PKG_VERSION"))
}
