//! Annotations that are kept nowhere as such: what they say is in the mailbox list, the index, the user's counters, the
//! file system, or files for all users.

use cyrus_acl::AuthState;

use super::Audience;
use super::definitions::Kept;
use crate::error::MailboxError;
use crate::format::counters::Counters;
use crate::format::index::{IndexHeader, options};
use crate::mailbox::new_path;
use crate::mboxlist::MailboxEntry;
use crate::store::Store;
use crate::sys::{Open, Space};

/// What a computed annotation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Computed {
    UniqueId,
    SyncCrcs,
    /// Octets of the messages.
    Size,
    Partition,
    /// When the index was last written.
    LastUpdate,
    FolderModSeq,
    HasAlarms,
    /// When POP3 last opened the mailbox.
    LastPop,
    /// Octets of annotations.
    AnnotationSize,
    /// KiB that are free on the default partition.
    FreeSpace,
    /// KiB free and in all, of all partitions together.
    FreeSpaceTotal,
    /// KiB free and in all, of the partition of which the largest part is free.
    FreeSpaceMost,
    UserCounters,
    UserModSeq,
}

impl Computed {
    /// Whose value it is.
    pub(super) fn audience(self) -> Audience {
        match self {
            Self::UserCounters | Self::UserModSeq => Audience::Private,
            _ => Audience::Shared,
        }
    }
}

/// What computed annotations of one scope are made of, each looked up once and not before it is needed.
pub(super) struct Facts<'s> {
    store: &'s Store,
    mailbox: Option<&'s MailboxEntry>,
    auth: &'s AuthState,
    index: Option<(IndexHeader, i64)>,
    spaces: Option<Vec<(bool, Space)>>,
}

impl<'s> Facts<'s> {
    pub(super) fn new(store: &'s Store, mailbox: Option<&'s MailboxEntry>, auth: &'s AuthState) -> Self {
        Self {
            store,
            mailbox,
            auth,
            index: None,
            spaces: None,
        }
    }

    /// The value of an annotation that is not set in the database.
    pub(super) fn value(&mut self, kept: Kept) -> Result<Option<Vec<u8>>, MailboxError> {
        let text = match kept {
            Kept::Stored | Kept::SpecialUse => None,
            Kept::Option(bit) => {
                let set = self.index()?.0.options & bit != 0;
                Some(if set { "true" } else { "false" }.to_owned())
            }
            Kept::Pop3ShowAfter => {
                let after = self.index()?.0.pop3_show_after;
                self.date(i64::from(after))
            }
            Kept::File(file) => return self.store.first_line(file),
            Kept::Computed(computed) => self.computed(computed)?,
        };
        Ok(text.map(String::into_bytes))
    }

    fn computed(&mut self, computed: Computed) -> Result<Option<String>, MailboxError> {
        let mailbox = self.mailbox;
        let entry = || mailbox.ok_or(MailboxError::NotFound);
        Ok(match computed {
            Computed::UniqueId => Some(entry()?.storage()?.0.to_string()),
            Computed::Partition => Some(entry()?.storage()?.1.as_str().to_owned()),
            Computed::FolderModSeq => Some(entry()?.folder_modseq.0.to_string()),
            Computed::SyncCrcs => {
                let header = &self.index()?.0;
                Some(format!("{} {}", header.sync_basic, header.sync_annot))
            }
            Computed::Size => Some(self.index()?.0.quota_mailbox_used.to_string()),
            Computed::AnnotationSize => Some(self.index()?.0.quota_annot_used.to_string()),
            Computed::LastUpdate => {
                let written = self.index()?.1;
                self.date(written)
            }
            Computed::LastPop => {
                let login = self.index()?.0.pop3_last_login;
                self.date(i64::from(login))
            }
            Computed::HasAlarms => {
                let set = self.index()?.0.options & options::HAS_ALARMS != 0;
                Some(if set { "true" } else { "false" }.to_owned())
            }
            Computed::FreeSpace => {
                let default = self.spaces()?.iter().find(|(default, _)| *default);
                default.map(|(_, space)| (space.available / KIB).to_string())
            }
            Computed::FreeSpaceTotal => {
                let sum = |of: fn(&Space) -> u64, spaces: &[(bool, Space)]| {
                    spaces.iter().map(|(_, space)| of(space) / KIB).sum::<u64>()
                };
                let spaces = self.spaces()?;
                (!spaces.is_empty()).then(|| {
                    let available = sum(|space| space.available, spaces);
                    format!("{available};{}", sum(|space| space.total, spaces))
                })
            }
            Computed::FreeSpaceMost => {
                let part =
                    |space: &Space| u128::from(space.available) * 1_000_000 / u128::from(space.total.max(1));
                let most = self.spaces()?.iter().max_by_key(|(_, space)| part(space));
                most.map(|(_, space)| format!("{};{}", space.available / KIB, space.total / KIB))
            }
            Computed::UserCounters | Computed::UserModSeq => {
                let counters = self.store.counters_of(self.auth)?;
                Some(match computed {
                    Computed::UserModSeq => counters.get(1).copied().unwrap_or_default().to_string(),
                    _ => {
                        let all: Vec<String> = counters.iter().map(u64::to_string).collect();
                        all.join(" ")
                    }
                })
            }
        })
    }

    /// The index header of the mailbox, and when the file was last written.
    fn index(&mut self) -> Result<&(IndexHeader, i64), MailboxError> {
        let index = match self.index.take() {
            Some(index) => index,
            None => {
                let name = &self.mailbox.ok_or(MailboxError::NotFound)?.name;
                let mut mailbox = self.store.open_mailbox(name, &AuthState::system())?;
                mailbox.index_header()?
            }
        };
        Ok(self.index.insert(index))
    }

    /// The room on each partition, and whether it is the default one.
    fn spaces(&mut self) -> Result<&[(bool, Space)], MailboxError> {
        let spaces = match self.spaces.take() {
            Some(spaces) => spaces,
            None => {
                let options = self.store.options();
                let mut spaces = Vec::with_capacity(options.partitions.len());
                for (name, paths) in &options.partitions {
                    if let Some(space) = self.store.disk().space(&paths.data)? {
                        spaces.push((options.default_partition.as_ref() == Some(name), space));
                    }
                }
                spaces
            }
        };
        Ok(self.spaces.insert(spaces))
    }

    /// A moment as clients write it, on the server's clock; nothing for never.
    fn date(&self, unix: i64) -> Option<String> {
        let offset = jiff::tz::Offset::from_seconds(self.store.utc_offset(unix)).ok()?;
        let moment = jiff::Timestamp::from_second(unix).ok().filter(|_| unix != 0)?;
        let east = offset.seconds() / 60;
        let zone = format!(
            "{}{:02}{:02}",
            if east < 0 { '-' } else { '+' },
            east.abs() / 60,
            east.abs() % 60
        );
        let local = jiff::fmt::strtime::format(DATE_AND_TIME, offset.to_datetime(moment)).ok()?;
        Some(format!("{local} {zone}"))
    }
}

/// Reads a date such as ` 1-Jan-2020 00:00:00 +0000`, as Unix seconds.
pub(super) fn parse_date(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.trim_start();
    let parsed = jiff::fmt::strtime::parse(format!("{DATE_AND_TIME} %z"), text).ok()?;
    Some(parsed.to_timestamp().ok()?.as_second())
}

impl Store {
    /// The first line of a file for all users, in the configuration directory; `None` if there is none.
    fn first_line(&self, file: &str) -> Result<Option<Vec<u8>>, MailboxError> {
        let path = self.options().config_dir.join("msg").join(file);
        let file = match self.disk().open(&path, Open::read()) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut line = vec![0; MAX_LINE];
        let length = file.read_at(&mut line, 0)?;
        line.truncate(length);
        let end = line.iter().position(|octet| matches!(octet, b'\r' | b'\n'));
        line.truncate(end.unwrap_or(length));
        Ok((!line.is_empty()).then_some(line))
    }

    /// Writes a file for all users, of one line, or removes it.
    pub(super) fn write_message_file(&self, file: &str, line: Option<&[u8]>) -> Result<(), MailboxError> {
        let path = self.options().config_dir.join("msg").join(file);
        let Some(line) = line else {
            return Ok(self.disk().unlink_if_exists(&path)?);
        };
        let new = new_path(&path);
        let out = self.disk().open_making_dirs(&new, Open::replace())?;
        out.write_at(&[line, b"\n"].concat(), 0)?;
        out.sync()?;
        Ok(self.disk().rename(&new, &path)?)
    }

    /// The counters of a user: version, then the values.
    fn counters_of(&self, auth: &AuthState) -> Result<Vec<u64>, MailboxError> {
        let path = self.user_file(auth.userid(), "counters")?;
        let file = match self.disk().read(&path) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let counters = Counters::parse(&file).map_err(|fault| MailboxError::damaged(&path, fault))?;
        let version = if file.is_empty() { 0 } else { Counters::VERSION };
        let mut numbers = vec![u64::from(version)];
        numbers.extend(counters.values.iter().take(SHOWN_COUNTERS));
        numbers.push(u64::from(counters.uidvalidity));
        Ok(numbers)
    }
}

/// How dates look, as far as the zone (RFC 3501, section 9, `date-time`).
const DATE_AND_TIME: &str = "%e-%b-%Y %H:%M:%S";
const KIB: u64 = 1024;
/// Octets of a line that are read.
const MAX_LINE: usize = 8 * 1024;
/// How many of the counters are shown: all but those of what was deleted, and the newer ones.
const SHOWN_COUNTERS: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_any_zone_and_refused_when_they_are_none() {
        assert_eq!(parse_date(b" 1-Jan-1970 00:00:01 +0000"), Some(1));
        assert_eq!(parse_date(b"01-Jan-1970 01:00:00 +0100"), Some(0));
        assert_eq!(parse_date(b"foo"), None);
        assert_eq!(parse_date(b"31-Feb-1970 01:00:00 +0100"), None);
    }
}
