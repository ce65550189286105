//! What a reconstruction finds, in the words that administrators know from Cyrus.

use std::fmt;
use std::path::PathBuf;

use crate::format::Fault;
use crate::name::MailboxName;

/// Something that is not as it should be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Finding {
    /// The index header cannot be read: flags and dates are known only from records that can.
    IndexHeader(MailboxName, PathBuf, Fault),
    /// Records of the index are damaged: how many, and where the first of them is.
    IndexRecords(MailboxName, PathBuf, u32, u64),
    /// The header file cannot be read: the names of keywords are lost, the rest comes from the mailbox list.
    Header(MailboxName, PathBuf, Fault),
    /// The header file is not the one that the index was written with: it is not believed about rights.
    HeaderChanged(MailboxName, PathBuf, Fault),
    /// The annotations of messages cannot be read; what can be is kept.
    Annotations(MailboxName, PathBuf, String),
    /// A header file that says something else than the mailbox list.
    HeaderDiffers(MailboxName, &'static str, String, String),
    /// The row of the mailbox list has other rights than the header file.
    Rights(MailboxName, String, String),
    /// The row of the mailbox list has another UIDVALIDITY than the index.
    UidValidity(MailboxName, u32, u32),
    /// A message without a file.
    NotFound(MailboxName, u32),
    /// A file without a record.
    Added(MailboxName, u32),
    /// A file of a UID that was used up.
    Rediscovered(MailboxName, u32),
    /// A file that is not the message which the index describes.
    Mismatch(MailboxName, u32),
    /// The same, made a new message as asked for.
    Renumbered(MailboxName, u32, u32),
    /// The same, removed as asked for.
    Removed(MailboxName, u32),
    /// A cache record that was missing or wrong.
    Cache(MailboxName, u32),
    /// The index has another version than is asked for.
    Version(MailboxName, u32, u32),
    /// A file that is none of a mailbox.
    Odd(MailboxName, PathBuf),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IndexHeader(name, path, fault) => {
                write!(
                    f,
                    "{name}: failed to read index header: {}: {fault}",
                    path.display()
                )
            }
            Self::IndexRecords(name, path, count, at) => write!(
                f,
                "{name}: {}: {count} damaged index records, the first at byte {at}",
                path.display()
            ),
            Self::Header(name, path, fault) => {
                write!(
                    f,
                    "{name}: failed to read header file: {}: {fault}",
                    path.display()
                )
            }
            Self::HeaderChanged(name, path, fault) => {
                write!(f, "{name}: header file has changed: {}: {fault}", path.display())
            }
            Self::Annotations(name, path, what) => {
                write!(f, "{name}: annotations of messages: {}: {what}", path.display())
            }
            Self::HeaderDiffers(name, what, wrong, right) => {
                write!(
                    f,
                    "Wrong {what} in header file, fixing {name} ({wrong} -> {right})"
                )
            }
            Self::Rights(name, wrong, right) => write!(f, "Wrong acl in mbentry {name} ({wrong} {right})"),
            Self::UidValidity(name, wrong, right) => {
                write!(
                    f,
                    "Wrong uidvalidity in mbentry, fixing {name} ({wrong} -> {right})"
                )
            }
            Self::NotFound(name, uid) => write!(f, "{name} uid {uid} not found"),
            Self::Added(name, uid) => write!(f, "{name} uid {uid} found - adding"),
            Self::Rediscovered(name, uid) => write!(f, "{name} uid {uid} rediscovered - appending"),
            Self::Mismatch(name, uid) => write!(
                f,
                "{name} uid {uid} guid mismatch\nrun reconstruct with -R to fix or -U to remove"
            ),
            Self::Renumbered(name, uid, new) => {
                write!(
                    f,
                    "{name} uid {uid} guid mismatch\n{name} uid {uid} becomes {new} as requested with -R"
                )
            }
            Self::Removed(name, uid) => {
                write!(
                    f,
                    "{name} uid {uid} guid mismatch\n{name} uid {uid} unlinking as requested with -U"
                )
            }
            Self::Cache(name, uid) => write!(f, "{name} rewrote cache for {uid}"),
            Self::Version(name, from, to) => write!(f, "Converted {name} version {from} to {to}"),
            Self::Odd(name, path) => write!(f, "{name} odd file {}", path.display()),
        }
    }
}
