//! `squatter`: writes the indexes of texts that make searches fast: all of them, those of some mailboxes, or, as a daemon,
//! those of mailboxes that have just changed.
//!
//! The switches are Cyrus's. What they say of its own engines is done in the sense that it has here, or refused with a
//! sentence: docs/SEARCH.md has the list.

mod rolling;
mod sources;
mod switches;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use cyrus_acl::AuthState;
use cyrus_store::search::index::{IndexError, Indexed, Indexing};
use cyrus_store::{MailboxEntry, MailboxError, Store};

use self::sources::Sources;
use self::switches::{Mode, Switches};
use super::{BAD_USAGE, SOFTWARE, TEMPORARY, enter, fatal, open_store};
use crate::config::Config;
use crate::daemon::exit;
use crate::settings;
use crate::syslog::{Level, log};

/// Runs with the arguments `args` (without the program's name); `out` is for what was asked for.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let switches = match Switches::parse(args.iter().cloned()) {
        Ok(switches) => switches,
        Err(problem) => {
            if !problem.is_empty() {
                eprintln!("squatter: {problem}");
            }
            eprint!("{}", switches::USAGE);
            return BAD_USAGE;
        }
    };
    if let Mode::Rolling { foreground: false } = switches.mode
        && rolling::belongs_into_background()
    {
        return match rolling::go_into_background(&args) {
            Ok(()) => 0,
            Err(error) => fatal(&format!("cannot go into the background: {error}"), exit::OSERR),
        };
    }
    let config = match enter(switches.config.as_deref(), "squatter") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let mut squatter = Squatter {
        sources: Sources::new(&config, &store),
        store,
        config,
        switches,
        auth: AuthState::system(),
        failed: false,
        out,
    };
    squatter.run()
}

struct Squatter<'o> {
    store: Store,
    config: Config,
    sources: Sources,
    switches: Switches,
    auth: AuthState,
    failed: bool,
    out: &'o mut dyn Write,
}

impl Squatter<'_> {
    fn run(&mut self) -> u8 {
        if !self.store.options().search.engine {
            self.notice("search_engine is none in imapd.conf: there are no indexes to write; set it to xapian or squat");
        }
        match self.switches.mode.clone() {
            Mode::Index => self.all("indexing mailboxes", Self::index),
            Mode::Compact => match self.tier() {
                Ok(()) => self.all("compacting indexes", Self::compact),
                Err(problem) => return fatal(&problem, BAD_USAGE),
            },
            Mode::List => self.all("", Self::list),
            Mode::Audit => self.all("", Self::audit),
            Mode::SyncLog(path) => self.sync_log(&path),
            Mode::Rolling { .. } => return rolling::run(self),
        }
        if self.failed { TEMPORARY } else { 0 }
    }

    /// Does something to the index of each mailbox that is meant.
    fn all(&mut self, what: &str, each: fn(&mut Self, &MailboxEntry)) {
        let entries = match self.sources.entries(&self.store, &self.switches) {
            Ok(entries) => entries,
            Err(error) => return self.fail(&format!("{error}")),
        };
        if !what.is_empty() {
            log(Level::Notice, what);
        }
        for entry in &entries {
            each(self, entry);
            self.store.forget_idle();
            if let Some(pause) = self.switches.pause {
                std::thread::sleep(pause);
            }
        }
        if self.switches.mode == Mode::Index && self.switches.is_everything() {
            self.remove_lost();
        }
        if !what.is_empty() {
            log(Level::Notice, &format!("done {what}"));
        }
    }

    /// Brings the index of a mailbox up to date, or makes it anew.
    fn index(&mut self, entry: &MailboxEntry) {
        let how = Indexing {
            anew: !self.switches.incremental,
            compact: false,
            wait: !self.switches.skip_locked,
        };
        if let Some(delta) = self.switches.skip_unmodified
            && self.is_unmodified(entry, delta)
        {
            return self.say(entry, "unchanged, skipped");
        }
        self.write(entry, how);
    }

    /// Makes the index of a mailbox as small and quick as it can be.
    fn compact(&mut self, entry: &MailboxEntry) {
        let how = Indexing {
            anew: self.switches.reindex,
            compact: true,
            wait: !self.switches.skip_locked,
        };
        let extent = self
            .store
            .open_mailbox(&entry.name, &self.auth)
            .and_then(|mut mailbox| self.store.index_extent(&mut mailbox));
        match extent {
            // Nothing to compact; with -U, nothing to upgrade.
            Ok(None) if !self.switches.reindex && !self.switches.only_upgrade => {}
            Ok(Some(_)) if self.switches.only_upgrade => {}
            Ok(_) => drop(self.write(entry, how)),
            Err(MailboxError::NotFound | MailboxError::Deleted) => {}
            Err(error) => self.fail(&format!("{}: {error}", entry.name)),
        }
    }

    fn write(&mut self, entry: &MailboxEntry, how: Indexing) -> bool {
        if !self.store.options().search.engine {
            return true;
        }
        let mailbox = self.store.open_mailbox(&entry.name, &self.auth);
        let done = mailbox
            .map_err(IndexError::from)
            .and_then(|mut mailbox| self.store.index_mailbox(&mut mailbox, how));
        match done {
            Ok(done) => {
                self.say(entry, &told(done));
                true
            }
            Err(IndexError::Busy { .. }) => {
                self.say(entry, "locked by another squatter, skipped");
                false
            }
            // Deleted since the list was read.
            Err(IndexError::Mailbox(MailboxError::NotFound | MailboxError::Deleted)) => true,
            Err(error) => {
                self.fail(&format!("failed to index {}: {error}", entry.name));
                false
            }
        }
    }

    /// Prints where the index of a mailbox is, if there is one.
    fn list(&mut self, entry: &MailboxEntry) {
        if let Ok(path) = self.store.index_path(entry)
            && path.join("meta.json").exists()
        {
            let _ = writeln!(self.out, "{}", path.display());
        }
    }

    /// Prints the messages that the index of a mailbox does not know.
    fn audit(&mut self, entry: &MailboxEntry) {
        let missing = self.missing(entry);
        match missing {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => {
                self.failed = true;
                let name = &entry.name;
                let _ = writeln!(self.out, "Unindexed message(s) in {name}: {}", missing.join(" "));
            }
            Err(MailboxError::NotFound | MailboxError::Deleted) => {}
            Err(error) => self.fail(&format!("{}: {error}", entry.name)),
        }
    }

    fn missing(&self, entry: &MailboxEntry) -> Result<Vec<String>, MailboxError> {
        let mut mailbox = self.store.open_mailbox(&entry.name, &self.auth)?;
        let unknown = mailbox.search_index()?.map(|index| index.unknown());
        let read = mailbox.read()?;
        let messages = read.messages().map(|message| message.uid());
        let missing = messages.filter(|uid| unknown.as_ref().is_none_or(|unknown| unknown.contains(*uid)));
        Ok(missing.map(|uid| uid.to_string()).collect())
    }

    fn is_unmodified(&self, entry: &MailboxEntry, delta: Duration) -> bool {
        let mailbox = self.store.open_mailbox(&entry.name, &self.auth);
        mailbox.is_ok_and(|mailbox| self.store.index_is_newer(&mailbox, delta))
    }

    /// Indexes of mailboxes that are no longer there.
    fn remove_lost(&mut self) {
        let rows = match self.store.rows() {
            Ok(rows) => rows,
            Err(error) => return self.fail(&format!("mailboxes.db: {error}")),
        };
        let ids = rows.iter().filter(|(_, row)| !row.mbtype.deleted);
        let ids: std::collections::HashSet<&str> = ids.filter_map(|(_, row)| row.id.as_deref()).collect();
        match self.store.remove_lost_indexes(&|id| ids.contains(id)) {
            Ok(0) | Err(IndexError::Busy { .. }) => {}
            Ok(count) => log(
                Level::Info,
                &format!("removed {count} indexes of mailboxes that are gone"),
            ),
            Err(error) => self.fail(&format!("{error}")),
        }
    }

    /// Brings the indexes of the mailboxes up to date that a log of changes names.
    fn sync_log(&mut self, path: &Path) {
        match self.store.read_sync_events(path) {
            Ok(events) => {
                let (grown, changed) = rolling::mailboxes(&events.events);
                for entry in self.sources.named(&self.store, &[grown, changed].concat()) {
                    self.write(&entry, ADD);
                }
            }
            Err(error) => self.fail(&format!("{error}")),
        }
    }

    /// There is one tier: indexes of messages old and new are in one place.
    fn tier(&self) -> Result<(), String> {
        let own = self.config.string(crate::config::Opt::Defaultsearchtier);
        let all = self
            .switches
            .source_tiers
            .iter()
            .chain(&self.switches.target_tier);
        match all.into_iter().find(|tier| **tier != own) {
            Some(other) => Err(format!(
                "there is no tier '{other}': all indexes are in defaultsearchtier, '{own}'; -t and -z must name it"
            )),
            None => Ok(()),
        }
    }

    fn say(&mut self, entry: &MailboxEntry, what: &str) {
        if self.switches.verbose > 0 {
            let name = settings::namespace(&self.config).to_client(&entry.name, None, true);
            let _ = writeln!(self.out, "Indexing mailbox {name}... {what}");
            let _ = self.out.flush();
        }
    }

    fn notice(&self, what: &str) {
        log(Level::Warning, what);
        eprintln!("squatter: {what}");
    }

    fn fail(&mut self, what: &str) {
        self.failed = true;
        log(Level::Error, what);
        eprintln!("squatter: {what}");
    }
}

/// Adding what is new, as those do who follow changes.
const ADD: Indexing = Indexing {
    anew: false,
    compact: false,
    wait: false,
};

fn told(done: Indexed) -> String {
    let mut text = format!("{} added, {} removed", done.added, done.removed);
    if done.left_out > 0 {
        text.push_str(&format!(", {} left out", done.left_out));
    }
    if done.anew {
        text.push_str(", made anew");
    }
    text
}

/// What the program answers when it gives up.
const GIVEN_UP: u8 = SOFTWARE;
