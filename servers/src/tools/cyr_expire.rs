//! `cyr_expire`: the upkeep that a site runs daily: messages past their time, deliveries that need not be remembered any
//! longer, messages expunged and mailboxes deleted long ago.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::{SystemTime, UNIX_EPOCH};

use cyrus_acl::AuthState;
use cyrus_store::format::duplicate;
use cyrus_store::{
    AnnotationScope, Archive, Audience, Expiry, MailboxEntry, MailboxError, MailboxName, Store,
};

use super::{BAD_USAGE, TEMPORARY, enter, fatal, open_store};
use crate::config::{Config, Opt};
use crate::getopt::{self, CommandLine};
use crate::settings;

/// Runs with the arguments `args` (without the program's name); what `-v` tells goes to `err`.
pub fn run(args: impl IntoIterator<Item = OsString>, err: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:A:D:E:X:p:u:acthvx") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("cyr_expire: {bad}");
            return usage();
        }
    };
    if line.has('h') {
        usage();
        return 0;
    }
    let mut wanted = match Wanted::of(&line) {
        Ok(wanted) => wanted,
        Err(problem) => {
            eprintln!("{problem}");
            return usage();
        }
    };
    let config = match enter(line.argument('C'), "cyr_expire") {
        Ok(config) => config,
        Err(code) => return code,
    };
    if config.switch(Opt::Conversations) && !line.has('c') {
        wanted.message_ids = config
            .seconds(Opt::ConversationsExpireAfter)
            .map(|seconds| seconds as f64);
        wanted.keep_existing = config.switch(Opt::ConversationsKeepExisting);
    }
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let auth = AuthState::system();
    let selected = Selection::of(&store, &config, &line)
        .and_then(|selection| Ok((selection.mailboxes(&store)?, selection)));
    let (mailboxes, selection) = match selected {
        Ok(selected) => selected,
        Err(error) => return fatal(&error, TEMPORARY),
    };
    let mut run = Run {
        mailboxes,
        selection,
        store,
        auth,
        wanted,
        kept: HashMap::new(),
        failed: false,
        err,
    };
    run.everything();
    if run.failed { TEMPORARY } else { 0 }
}

/// What the switches ask for; durations in seconds.
struct Wanted {
    archived: Option<f64>,
    deleted: Option<f64>,
    deliveries: Option<f64>,
    expunged: Option<f64>,
    unused_keywords: bool,
    /// Message ids that are older are forgotten by conversations.
    message_ids: Option<f64>,
    /// Those of conversations that still have messages are not.
    keep_existing: bool,
    annotations: bool,
    messages: bool,
    verbose: bool,
}

impl Wanted {
    fn of(line: &CommandLine) -> Result<Self, String> {
        let duration = |letter| match line.argument(letter) {
            None => Ok(None),
            Some(text) => seconds(text)
                .map(Some)
                .ok_or_else(|| format!("-{letter}: `{text}` is no duration; say 3, 12h, 30m or 10s")),
        };
        let wanted = Self {
            archived: duration('A')?,
            deleted: duration('D')?,
            deliveries: duration('E')?,
            expunged: duration('X')?,
            unused_keywords: line.has('t'),
            message_ids: None,
            keep_existing: true,
            annotations: !line.has('a'),
            messages: !line.has('x'),
            verbose: line.has('v'),
        };
        let nothing = wanted.deleted.is_none()
            && wanted.deliveries.is_none()
            && wanted.expunged.is_none()
            && wanted.archived.is_none()
            && !wanted.unused_keywords;
        match nothing {
            true => Err("Missing arguments.".to_owned()),
            false => Ok(wanted),
        }
    }
}

/// `3`, `1.5d`, `12h`, `30m`, `10s`: days without a letter.
fn seconds(text: &str) -> Option<f64> {
    let (number, unit) = match text.char_indices().last()? {
        (at, 'd') => (text.get(..at)?, DAY),
        (at, 'h') => (text.get(..at)?, 3_600.0),
        (at, 'm') => (text.get(..at)?, 60.0),
        (at, 's') => (text.get(..at)?, 1.0),
        _ => (text, DAY),
    };
    let number: f64 = number.parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number * unit)
}

/// The mailboxes that `-p` or `-u` select; all without.
struct Selection {
    prefix: Option<String>,
    owner: Option<Option<String>>,
    deleted_prefix: String,
}

impl Selection {
    fn of(store: &Store, config: &Config, line: &CommandLine) -> Result<Self, MailboxError> {
        let namespace = settings::namespace(config);
        let owner = match line.argument('u') {
            Some(user) => Some(namespace.inbox(user).map_err(MailboxError::BadName)?.owner()),
            None => None,
        };
        Ok(Self {
            prefix: line
                .argument('p')
                .map(|prefix| prefix.trim_end_matches('/').replace('/', ".")),
            owner,
            deleted_prefix: store.options().deleted_prefix.clone(),
        })
    }

    fn has(&self, name: &MailboxName) -> bool {
        let by_prefix = self
            .prefix
            .as_deref()
            .is_none_or(|prefix| name.as_str().starts_with(prefix));
        let owner = || name.owner_even_deleted(&self.deleted_prefix);
        by_prefix && self.owner.as_ref().is_none_or(|wanted| owner() == *wanted)
    }

    /// Those among all mailboxes; of a user, those that he has come before those that were deleted.
    fn mailboxes(&self, store: &Store) -> Result<Vec<MailboxEntry>, MailboxError> {
        let mut found = Vec::new();
        store.list("", &AuthState::system(), &mut |entry, _| {
            if self.has(&entry.name) && !entry.mbtype.remote {
                found.push(entry);
            }
            ControlFlow::Continue(())
        })?;
        if self.owner.is_some() {
            found.sort_by_key(|entry| entry.name.is_deleted(&self.deleted_prefix));
        }
        Ok(found)
    }
}

struct Run<'e> {
    store: Store,
    auth: AuthState,
    mailboxes: Vec<MailboxEntry>,
    selection: Selection,
    wanted: Wanted,
    /// How long deliveries to a mailbox are remembered, in seconds, by unique id; 0 for ever.
    kept: HashMap<String, f64>,
    failed: bool,
    err: &'e mut dyn Write,
}

impl Run<'_> {
    fn everything(&mut self) {
        if let Some(seconds) = self.wanted.archived {
            match self.store.options().archiving.enabled {
                true => self.archive(seconds),
                false => self.say(format_args!("Nothing is archived: archive_enabled is off")),
            }
        }
        if let Some(seconds) = self.wanted.expunged.filter(|_| self.wanted.messages) {
            self.say(format_args!(
                "Expunging deleted messages in mailboxes older than {:.2} days",
                seconds / DAY
            ));
        }
        if self.wanted.messages || self.wanted.deliveries.is_some() {
            self.messages();
        }
        if let Some(seconds) = self.wanted.message_ids {
            self.message_ids(seconds);
        }
        if let Some(seconds) = self.wanted.deleted {
            self.deleted(seconds);
        }
        // As with the annotations: 0 is for ever.
        if let Some(seconds) = self.wanted.deliveries.filter(|&seconds| seconds > 0.0) {
            self.deliveries(seconds);
        }
    }

    /// Moves messages to the archive partitions.
    fn archive(&mut self, seconds: f64) {
        let mut inherited = HashMap::new();
        for entry in std::mem::take(&mut self.mailboxes) {
            let own = match self.wanted.annotations {
                true => self.duration_of(ARCHIVE, &entry.name, &mut inherited),
                false => None,
            };
            let archive = Archive {
                received_before: Self::cutoff(own.unwrap_or(seconds)),
            };
            let moved = self
                .store
                .open_mailbox(&entry.name, &self.auth)
                .and_then(|mut mailbox| {
                    let moved = mailbox.archive(&archive)?;
                    mailbox.close()?;
                    Ok(moved)
                });
            match moved {
                Ok(moved) if moved.moved > 0 => self.say(format_args!(
                    "archived {} out of {} messages in {}",
                    moved.moved, moved.seen, entry.name
                )),
                Ok(_) | Err(MailboxError::NotFound | MailboxError::Deleted) => {}
                Err(error) => self.fail(format_args!("failure archiving {}: {error}", entry.name)),
            }
            self.store.forget_idle();
            self.mailboxes.push(entry);
        }
    }

    /// Forgets old message ids of the users whose INBOX is looked at.
    fn message_ids(&mut self, seconds: f64) {
        self.say(format_args!(
            "Removing conversation entries older than {:.2} days",
            seconds / DAY
        ));
        let before = u64::from(Self::cutoff(seconds));
        let inboxes = self.mailboxes.iter().filter(|entry| entry.name.is_user_inbox());
        let users: Vec<String> = inboxes.filter_map(|entry| entry.name.owner()).collect();
        let (mut removed, mut seen, databases) = (0, 0, users.len());
        for userid in users {
            match self
                .store
                .prune_conversations(&userid, before, self.wanted.keep_existing)
            {
                Ok(pruned) => {
                    removed += pruned.removed;
                    seen += pruned.seen;
                }
                Err(error) => self.fail(format_args!("conversations of {userid}: {error}")),
            }
        }
        self.say(format_args!(
            "Expired {removed} entries of {seen} entries seen in {databases} conversation databases"
        ));
    }

    fn say(&mut self, text: std::fmt::Arguments<'_>) {
        if self.wanted.verbose {
            let _ = writeln!(self.err, "{text}\n");
        }
    }

    fn fail(&mut self, what: std::fmt::Arguments<'_>) {
        self.failed = true;
        let _ = writeln!(self.err, "{what}");
    }

    fn cutoff(seconds: f64) -> u32 {
        // Cyrus's times are of 32 bits, and durations are never negative.
        (now() - seconds).clamp(0.0, f64::from(u32::MAX)) as u32
    }

    fn messages(&mut self) {
        let (mut seen, mut expired, mut removed, mut keywords) = (0_u64, 0_u64, 0_u64, 0_u64);
        let mut inherited: HashMap<MailboxName, Option<f64>> = HashMap::new();
        if self.wanted.messages {
            self.tombstones();
        }
        for entry in std::mem::take(&mut self.mailboxes) {
            let lifetime = match self.wanted.annotations {
                true => self.duration_of(EXPIRE, &entry.name, &mut inherited),
                false => None,
            };
            if let (Some(lifetime), Some(id)) = (lifetime, &entry.id) {
                self.kept.insert(id.to_string(), lifetime);
            }
            if self.wanted.messages {
                match self.one(&entry, lifetime.filter(|&lifetime| lifetime > 0.0)) {
                    Ok(done) => {
                        seen += u64::from(done.seen);
                        expired += u64::from(done.expired);
                        removed += u64::from(done.removed);
                        keywords += done.keywords.len() as u64;
                    }
                    // Deleted since the list was read.
                    Err(MailboxError::NotFound | MailboxError::Deleted) => {}
                    Err(error) => self.fail(format_args!("failure expiring {}: {error}", entry.name)),
                }
                self.store.forget_idle();
            }
            self.mailboxes.push(entry);
        }
        if self.wanted.messages {
            let count = self.mailboxes.len();
            self.say(format_args!(
                "\nExpired {expired} and expunged {removed} out of {seen} messages from {count} mailboxes"
            ));
            if self.wanted.unused_keywords {
                self.say(format_args!("Expunged {keywords} user flags"));
            }
        }
    }

    fn one(
        &mut self,
        entry: &MailboxEntry,
        lifetime: Option<f64>,
    ) -> Result<cyrus_store::Expired, MailboxError> {
        let name = &entry.name;
        if let Some(seconds) = lifetime {
            self.say(format_args!(
                "expiring messages in {name} older than {:.2} days",
                seconds / DAY
            ));
        }
        let mut mailbox = self.store.open_mailbox(name, &self.auth)?;
        let done = mailbox.expire(&Expiry {
            sent_before: lifetime.map(Self::cutoff),
            expunged_before: self.wanted.expunged.map(Self::cutoff),
            unused_keywords: self.wanted.unused_keywords,
        })?;
        for (slot, keyword) in &done.keywords {
            self.say(format_args!("Expunging userflag {slot} ({keyword}) from {name}"));
        }
        self.say(format_args!("cleaning up expunged messages in {name}"));
        mailbox.close()?;
        Ok(done)
    }

    /// A duration that an annotation of a mailbox says, or that of the nearest mailbox above it, in seconds.
    fn duration_of(
        &mut self,
        entry: &'static str,
        name: &MailboxName,
        known: &mut HashMap<MailboxName, Option<f64>>,
    ) -> Option<f64> {
        if let Some(duration) = known.get(name) {
            return *duration;
        }
        let scope = AnnotationScope::Mailbox(name);
        let value = match self.store.annotation(scope, entry, Audience::Shared, &self.auth) {
            Ok(value) => value,
            Err(MailboxError::NotFound | MailboxError::NotAMailbox) => None,
            Err(error) => {
                // Without knowing better nothing is done.
                self.fail(format_args!("{name}: {error}"));
                return None;
            }
        };
        let own = value.and_then(|value| seconds(std::str::from_utf8(&value).ok()?));
        let duration = own.or_else(|| {
            name.parent()
                .and_then(|parent| self.duration_of(entry, &parent, known))
        });
        known.insert(name.clone(), duration);
        duration
    }

    /// Mailboxes that were deleted longer ago than this.
    fn deleted(&mut self, seconds: f64) {
        self.say(format_args!(
            "Removing deleted mailboxes older than {:.2} days",
            seconds / DAY
        ));
        let before = u64::from(Self::cutoff(seconds));
        let prefix = self.store.options().deleted_prefix.clone();
        let mut removed = 0;
        let mut gone: Vec<MailboxName> = self.mailboxes.iter().map(|entry| entry.name.clone()).collect();
        gone.retain(|name| name.deleted_at(&prefix).is_some_and(|time| time <= before));
        if self.wanted.annotations {
            let mut inherited = HashMap::new();
            gone.retain(|name| {
                let own = self.duration_of(DELETE, name, &mut inherited);
                let own = own.map(Self::cutoff);
                own.is_none_or(|before| name.deleted_at(&prefix).is_some_and(|time| time <= before.into()))
            });
        }
        for name in &gone {
            self.say(format_args!("Cleaning up {name}"));
        }
        for name in &gone {
            self.say(format_args!("Removing: {name}"));
            // Whoever wants to hear of it looks for the name that it had before.
            let deleted = self.store.delete(name, &self.auth);
            match deleted.and_then(|()| self.store.forget_rows([name])) {
                Ok(()) => removed += 1,
                Err(MailboxError::NotFound) => {}
                Err(error) => self.fail(format_args!("{name}: {error}")),
            }
        }
        self.say(format_args!("Removed {removed} deleted mailboxes"));
    }

    /// Traces of mailboxes that have been gone for a week, as long as which others may want to hear of it.
    fn tombstones(&mut self) {
        let before = u64::from(Self::cutoff(TOMBSTONES_LAST));
        let rows = match self.store.rows() {
            Ok(rows) => rows,
            Err(error) => return self.fail(format_args!("{error}")),
        };
        let stale: Vec<MailboxName> = rows
            .into_iter()
            .filter(|(_, row)| {
                row.mbtype.deleted && u64::try_from(row.mtime).is_ok_and(|mtime| mtime < before)
            })
            .filter(|(name, _)| self.selection.has(name))
            .map(|(name, _)| name)
            .collect();
        for name in &stale {
            self.say(format_args!("Removing stale tombstone for {name}"));
        }
        if let Err(error) = self.store.forget_rows(&stale) {
            self.fail(format_args!("{error}"));
        }
    }

    fn deliveries(&mut self, seconds: f64) {
        let now = now();
        let stale = |key: &[u8], mark: duplicate::Mark| {
            let own = duplicate::recipient(key)
                .and_then(|recipient| std::str::from_utf8(recipient).ok())
                .and_then(|recipient| self.kept.get(recipient));
            match own {
                Some(&0.0) => false,
                own => mark.time as f64 <= now - own.copied().unwrap_or(seconds),
            }
        };
        if let Err(error) = self.store.forget_deliveries(&stale) {
            self.fail(format_args!("deliver.db: {error}"));
        }
    }
}

/// The time, in Unix seconds.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs() as f64)
}

fn usage() -> u8 {
    eprint!("{USAGE}");
    BAD_USAGE
}

const DAY: f64 = 86_400.0;
/// How long there is a trace of a deleted mailbox, in seconds.
const TOMBSTONES_LAST: f64 = 7.0 * DAY;
const EXPIRE: &str = "/vendor/cmu/cyrus-imapd/expire";
const DELETE: &str = "/vendor/cmu/cyrus-imapd/delete";
const ARCHIVE: &str = "/vendor/cmu/cyrus-imapd/archive";

const USAGE: &str = "Usage: cyr_expire [OPTIONS] {mailbox|users}
Expire messages and duplicate delivery database entries.

-a                       skip annotation lookup
-c                       do not expire conversations
-h                       print this help and exit
-p <mailbox-prefix>      specify prefix for mailboxes
-t                       remove user flags which are not used
-u <user-id>             specify user id for mailbox lookup
-v                       enable verbose output
-x                       do not expunge messages
-C <config-file>         use <config-file> instead of config from imapd.conf
-A <archive-duration>    
-D <delete-duration>     
-E <expire-duration>     
-X <expunge-duration>    
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_days_or_have_a_unit() {
        for (text, expected) in [
            ("3", Some(3.0 * DAY)),
            ("0", Some(0.0)),
            ("1.5d", Some(1.5 * DAY)),
            ("12h", Some(43_200.0)),
            ("30m", Some(1_800.0)),
            ("10s", Some(10.0)),
            ("-1", None),
            ("x", None),
            ("", None),
            ("inf", None),
            ("d", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
