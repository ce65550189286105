//! Checking a store that is in use: nothing is changed, nobody is kept waiting for longer than it takes to copy an index, and
//! what other processes do meanwhile is not taken for damage.

mod databases;
mod mailbox;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::name::MailboxName;

/// How thoroughly, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Verify {
    /// Read every message: compare it with its GUID, and its cache record with what it says.
    pub content: bool,
    /// Count the conversations of users. Their mailboxes cannot be changed meanwhile.
    pub conversations: bool,
    /// The most octets of messages that are read in a second.
    pub rate: Option<u64>,
}

impl Default for Verify {
    fn default() -> Self {
        Self {
            content: true,
            conversations: true,
            rate: None,
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The mailbox, if it is about one.
    pub mailbox: Option<MailboxName>,
    /// The file.
    pub path: PathBuf,
    /// Where in it, if that can be told.
    pub at: Option<u64>,
    /// What.
    pub what: String,
    /// What puts it right.
    pub cure: Cure,
}

/// What puts something right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    /// `reconstruct` of the mailbox.
    Reconstruct,
    /// `reconstruct -G` of the mailbox, which reads its messages; damaged ones have to come from a backup.
    ReconstructAll,
    /// `quota -f`
    Quota,
    /// `ctl_conversationsdb -R` of a user.
    Conversations(String),
    /// `reconstruct --everything`
    Everything,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Messages.
    pub messages: u64,
    /// Octets of messages that were read.
    pub octets: u64,
}

/// What is called with everything that is wrong.
type Each<'e> = &'e mut dyn FnMut(Wrong);

/// Keeps reading below a rate by sleeping.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Option<u64>,
    begun: Instant,
    octets: u64,
}

impl Pace {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self {
            rate: rate.filter(|rate| *rate > 0),
            begun: Instant::now(),
            octets: 0,
        }
    }

    /// So much was read: waits until that is no more than the rate allows.
    pub(crate) fn read(&mut self, octets: u64) {
        self.octets = self.octets.saturating_add(octets);
        let Some(rate) = self.rate else { return };
        let due = Duration::from_secs_f64(self.octets as f64 / rate as f64);
        let early = due.saturating_sub(self.begun.elapsed());
        if early > SHORTEST {
            std::thread::sleep(early);
        }
    }
}

/// Sleeping for less costs more than it spares others.
const SHORTEST: Duration = Duration::from_millis(2);
