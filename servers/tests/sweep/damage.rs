//! What happens to files of a site, and what may be lost by it.

use std::fs;
use std::path::{Path, PathBuf};

use super::site::{Site, message_number};

/// Numbers that look random and are the same each time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}

/// One thing that happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    Deleted,
    Truncated,
    Flipped,
    Swapped,
}

impl Damage {
    pub(crate) const ALL: [Self; 4] = [Self::Deleted, Self::Truncated, Self::Flipped, Self::Swapped];

    /// Does it, and says which files are not what they were.
    pub(crate) fn happen(self, site: &Site, file: &Path, dice: &mut Dice) -> Vec<PathBuf> {
        let path = site.root().join(file);
        let bytes = fs::read(&path).unwrap();
        match self {
            Self::Deleted => fs::remove_file(&path).unwrap(),
            Self::Truncated => put(&path, &bytes[..dice.below(bytes.len())]),
            Self::Flipped => {
                let mut bytes = bytes;
                for _ in 0..1 + dice.below(4) {
                    let at = dice.below(bytes.len());
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << dice.below(8);
                    }
                }
                put(&path, &bytes);
            }
            Self::Swapped => {
                let kind = Kind::of(file);
                let others: Vec<PathBuf> = site
                    .files()
                    .into_iter()
                    .filter(|other| other != file && Kind::of(other) == kind)
                    .collect();
                if others.is_empty() {
                    return Vec::new();
                }
                let other = others[dice.below(others.len())].clone();
                let theirs = fs::read(site.root().join(&other)).unwrap();
                put(&path, &theirs);
                put(&site.root().join(&other), &bytes);
                return vec![file.to_owned(), other];
            }
        }
        vec![file.to_owned()]
    }
}

/// Writes a new file: the old one may have other names.
fn put(path: &Path, bytes: &[u8]) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(modified)
        .unwrap();
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Message,
    Index,
    Header,
    Cache,
    MessageAnnotations,
    MailboxList,
    Annotations,
    Quota,
    QuotaDb,
    Subscriptions,
    Seen,
    Conversations,
    Counters,
    /// Marks of deliveries, cached counts.
    Marks,
    /// Copies of databases, lock files, Sieve scripts: nothing of the view comes from them.
    Other,
    /// What the sweep leaves alone.
    Conf,
}

impl Kind {
    pub(crate) fn of(file: &Path) -> Self {
        let name = file.file_name().unwrap().to_str().unwrap();
        let in_conf = file.starts_with("conf");
        match name {
            "imapd.conf" => Self::Conf,
            _ if file.starts_with("conf/db.backup1") || file.starts_with("conf/lock") => Self::Other,
            _ if file.components().any(|part| part.as_os_str() == "quota") => Self::Quota,
            "cyrus.index" => Self::Index,
            "cyrus.header" => Self::Header,
            "cyrus.cache" => Self::Cache,
            "cyrus.annotations" => Self::MessageAnnotations,
            "mailboxes.db" => Self::MailboxList,
            "annotations.db" => Self::Annotations,
            "quotas.db" => Self::QuotaDb,
            "deliver.db" | "statuscache.db" => Self::Marks,
            "shared.counters" => Self::Other,
            name if in_conf && (name == "sub.db" || name.ends_with(".sub")) => Self::Subscriptions,
            name if in_conf && (name == "seen.db" || name.ends_with(".seen")) => Self::Seen,
            name if in_conf && (name == "counters.db" || name.ends_with(".counters")) => Self::Counters,
            name if in_conf && name.contains("conversations") => Self::Conversations,
            _ if message_number(file).is_some() => Self::Message,
            _ => Self::Other,
        }
    }

    /// Whether everything in it can be made anew.
    pub(crate) fn is_derived(self) -> bool {
        matches!(
            self,
            Self::Cache
                | Self::MailboxList
                | Self::Quota
                | Self::Conversations
                | Self::Counters
                | Self::Marks
        )
    }
}
