//! What can go wrong with a mailbox, and whose fault it is.

use std::path::{Path, PathBuf};

use cyrus_acl::IdentifierError;

use crate::db::DbError;
use crate::format::quota::Resource;
use crate::format::{Damage, Fault};
use crate::ident::Partition;
use crate::lock::LockError;
use crate::name::{MailboxName, NameError};
use crate::sys::DiskError;

/// An operation on mailboxes that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailboxError {
    /// There is no such mailbox, or the user may not know of it.
    #[error("Mailbox does not exist")]
    NotFound,
    /// The name is taken.
    #[error("Mailbox already exists")]
    Exists,
    /// The user lacks the right.
    #[error("Permission denied")]
    PermissionDenied,
    /// No mailbox can have this name.
    #[error("Invalid mailbox name: {0}")]
    BadName(#[from] NameError),
    /// The quota has no room.
    #[error("Over quota: {} of {root} is at {used}, its limit is {limit}", resource.imap_name())]
    OverQuota {
        /// The quota root, internal name.
        root: String,
        /// What is used up.
        resource: Resource,
        /// Usage, in octets or in pieces.
        used: u64,
        /// Limit, in KiB or in pieces.
        limit: u64,
    },
    /// There is no quota root for this name.
    #[error("Quota root does not exist")]
    NoQuotaRoot,
    /// The configuration names no such partition.
    #[error("Unknown/invalid partition")]
    InvalidPartition,
    /// A partition of a mailbox is not configured.
    #[error("partition {0} is not configured: add partition-{0} to imapd.conf")]
    UnknownPartition(Partition),
    /// Not an identifier of the site's authorization mechanism.
    #[error("Invalid identifier")]
    InvalidIdentifier,
    /// Not a string of rights.
    #[error("Invalid rights: {0}")]
    InvalidRights(String),
    /// The mailbox has no slot left for a new keyword.
    #[error("Too many user flags in mailbox")]
    TooManyKeywords,
    /// A message contains a NUL octet.
    #[error("Message contains NUL characters")]
    MessageContainsNul,
    /// A message contains a line feed without carriage return.
    #[error("Message contains bare newlines")]
    ContainsBareNewline,
    /// A message has lines that no mail system can carry, or no readable header.
    #[error("Message contains invalid header")]
    InvalidHeader,
    /// A message is larger than the configuration allows.
    #[error("Message too large: {size} octets of {limit}")]
    TooLarge {
        /// Octets of the message.
        size: u64,
        /// `maxmessagesize`, in octets.
        limit: u64,
    },
    /// The name has mailboxes below it but is none itself.
    #[error("Mailbox does not support selection")]
    NotAMailbox,
    /// Children of the mailbox forbid it.
    #[error("Mailbox has inferior mailboxes")]
    HasInferiors,
    /// The mailbox lives on another server.
    #[error("Mailbox is on server {server}")]
    Remote {
        /// The server.
        server: String,
        /// The mailbox, internal name.
        mailbox: MailboxName,
    },
    /// Somebody else holds the mailbox and waiting took too long.
    #[error("Mailbox is locked")]
    Locked,
    /// The mailbox went away while it was open.
    #[error("Mailbox has been deleted")]
    Deleted,
    /// A message went away, file and all, before the session was told.
    #[error("Message no longer exists")]
    MessageGone,
    /// A file of the mailbox holds damage.
    #[error("{}: {}; run `reconstruct` on the mailbox", path.display(), Fault { at: *at, damage: damage.clone() })]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        at: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// The file or row of a quota root holds damage.
    #[error("{}: {}; run `reconstruct --everything`", path.display(), Fault { at: *at, damage: damage.clone() })]
    DamagedQuota {
        /// The file.
        path: PathBuf,
        /// Where in it, or in the value of the row.
        at: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// There are mailboxes, but no list of them.
    #[error(
        "{} lists no mailbox, but there is one in {}: the list was lost, and nothing is made beside what it listed; put it \
         back (`ctl_cyrusdb -c` keeps copies in {}, and `ctl_mboxlist -u` reads dumps) and run `ctl_cyrusdb -r`, or \
         make it anew with `reconstruct -m`; for a new server, empty the partitions first",
        list.display(), found.display(), backup.display()
    )]
    ListLost {
        /// The mailbox list.
        list: PathBuf,
        /// The directory of a mailbox.
        found: PathBuf,
        /// Where copies of the list are kept.
        backup: PathBuf,
    },
    /// A file is of a version that is not read, or not written.
    #[error("{}: index version {version} cannot be {verb}; run `reconstruct -V max` on the mailbox", path.display())]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// `read` or `written`.
        verb: &'static str,
    },
    /// The user's server-side settings forbid it.
    #[error("{0}")]
    Refused(String),
    /// The value of an annotation is longer than values may be.
    #[error("Annotation value too long: at most {limit} octets")]
    AnnotationTooLong {
        /// The most octets.
        limit: usize,
    },
    /// A mailbox or the server has as many annotations as it can have.
    #[error("Too many annotations")]
    TooManyAnnotations,
    /// An annotation has no private values, only everybody's.
    #[error("Permission denied")]
    NoPrivateAnnotation,
    /// An operation that was made for several callers at once failed.
    #[error("{0}")]
    Shared(String),
    /// A database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The system failed.
    #[error(transparent)]
    Io(#[from] DiskError),
}

/// Whose fault an error is: callers act on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The caller asked for something impossible: say no, log nothing.
    Impossible,
    /// The disk holds damage: log it with the repair it names, and say no for this mailbox alone.
    Damaged,
    /// The system failed: log it; the same request may work later.
    System,
}

impl MailboxError {
    /// Whose fault it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Damaged { .. }
            | Self::DamagedQuota { .. }
            | Self::UnsupportedVersion { .. }
            | Self::ListLost { .. } => ErrorClass::Damaged,
            Self::Db(DbError::Damaged { .. }) => ErrorClass::Damaged,
            Self::Db(_) | Self::Io(_) | Self::Shared(_) | Self::UnknownPartition(_) => ErrorClass::System,
            _ => ErrorClass::Impossible,
        }
    }

    /// Damage found in a file.
    pub(crate) fn damaged(path: &Path, fault: Fault) -> Self {
        match fault.damage {
            Damage::Version(version) => Self::UnsupportedVersion {
                path: path.to_owned(),
                version,
                verb: "read",
            },
            damage => Self::Damaged {
                path: path.to_owned(),
                at: fault.at,
                damage,
            },
        }
    }

    /// Damage found in a quota root.
    pub(crate) fn damaged_quota(path: &Path, fault: Fault) -> Self {
        Self::DamagedQuota {
            path: path.to_owned(),
            at: fault.at,
            damage: fault.damage,
        }
    }

    /// A failure that no file is to blame for.
    pub(crate) fn internal(what: &'static str) -> Self {
        Self::Shared(format!("internal error: {what}"))
    }

    /// The same error for one more caller of the operation that failed.
    pub(crate) fn duplicate(&self) -> Self {
        match self {
            Self::Io(error) => {
                let source = match error.source.raw_os_error() {
                    Some(number) => std::io::Error::from_raw_os_error(number),
                    None => std::io::Error::new(error.source.kind(), error.source.to_string()),
                };
                Self::Io(DiskError::new(error.op, &error.path, source))
            }
            Self::Locked => Self::Locked,
            Self::Deleted => Self::Deleted,
            Self::NotFound => Self::NotFound,
            Self::Damaged { path, at, damage } => Self::Damaged {
                path: path.clone(),
                at: *at,
                damage: damage.clone(),
            },
            Self::DamagedQuota { path, at, damage } => Self::DamagedQuota {
                path: path.clone(),
                at: *at,
                damage: damage.clone(),
            },
            Self::UnsupportedVersion { path, version, verb } => Self::UnsupportedVersion {
                path: path.clone(),
                version: *version,
                verb,
            },
            other => Self::Shared(other.to_string()),
        }
    }

    /// A missing file of a mailbox that was there: it has been deleted meanwhile.
    pub(crate) fn gone_if_missing(error: LockError) -> Self {
        match error {
            LockError::Disk(error) if error.is_not_found() => Self::Deleted,
            other => other.into(),
        }
    }
}

impl From<IdentifierError> for MailboxError {
    fn from(_: IdentifierError) -> Self {
        Self::InvalidIdentifier
    }
}

impl From<LockError> for MailboxError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Busy { .. } => Self::Locked,
            LockError::Disk(error) => Self::Io(error),
            other => Self::Db(DbError::Lock(other)),
        }
    }
}
