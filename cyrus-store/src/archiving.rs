//! Which messages belong on the archive partition: the options `archive_*` of imapd.conf.

use crate::flags::SystemFlags;
use crate::format::index::Record;

/// The policy of a site; times are Unix seconds, durations seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archiving {
    /// `archive_enabled`: new messages that belong there go to the archive partition at once.
    pub enabled: bool,
    /// `archive_after`: messages that were received longer ago than this belong there.
    pub after: u32,
    /// `archive_maxsize`, in octets: larger messages belong there from the beginning.
    pub max_size: u64,
    /// `archive_keepflagged`: messages with `\Flagged` do not belong there, unless they are larger than that.
    pub keep_flagged: bool,
}

impl Default for Archiving {
    fn default() -> Self {
        Self {
            enabled: false,
            after: 7 * 86_400,
            max_size: 1024 * 1024,
            keep_flagged: false,
        }
    }
}

/// What decides whether a message belongs on the archive partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) size: u32,
    pub(crate) internal_date: u32,
    pub(crate) flags: SystemFlags,
}

impl From<&Record> for Candidate {
    fn from(record: &Record) -> Self {
        Self {
            size: record.size,
            internal_date: record.internaldate,
            flags: record.system_flags(),
        }
    }
}

impl Archiving {
    /// Whether a message belongs on the archive partition, if those do that were received before `before`.
    pub(crate) fn wants(&self, message: Candidate, before: u32) -> bool {
        if u64::from(message.size) > self.max_size {
            return true;
        }
        let kept = self.keep_flagged && message.flags.contains(SystemFlags::FLAGGED);
        !kept && message.internal_date < before
    }

    /// Whether a new message goes there at once.
    pub(crate) fn wants_new(&self, message: Candidate, now: u32) -> bool {
        self.enabled && self.wants(message, now.saturating_sub(self.after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: u32 = 1_000;
    const NOW: u32 = OLD + 30 * 86_400;

    fn candidate(size: u32, internal_date: u32, flags: SystemFlags) -> Candidate {
        Candidate {
            size,
            internal_date,
            flags,
        }
    }

    #[test]
    fn old_messages_and_large_ones_belong_into_the_archive() {
        let policy = Archiving {
            enabled: true,
            ..Archiving::default()
        };
        let none = SystemFlags::default();
        assert!(policy.wants_new(candidate(10, OLD, none), NOW));
        assert!(!policy.wants_new(candidate(10, NOW, none), NOW));
        assert!(policy.wants_new(candidate(1024 * 1024 + 1, NOW, none), NOW));
        assert!(!policy.wants_new(candidate(1024 * 1024, NOW, none), NOW));
        assert!(!Archiving::default().wants_new(candidate(10, OLD, none), NOW));
    }

    #[test]
    fn flagged_messages_stay_where_that_is_wanted_unless_they_are_large() {
        let policy = Archiving {
            enabled: true,
            keep_flagged: true,
            ..Archiving::default()
        };
        assert!(!policy.wants_new(candidate(10, OLD, SystemFlags::FLAGGED), NOW));
        assert!(policy.wants_new(candidate(u32::MAX, NOW, SystemFlags::FLAGGED), NOW));
    }
}
