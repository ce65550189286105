//! `squatter -R`: follows the log of changes, and brings the indexes of the mailboxes in it up to date.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cyrus_store::{MailboxEntry, MailboxName};
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};

use super::{ADD, GIVEN_UP, Squatter};
use crate::config::Opt;
use crate::service::WaitingMaster;
use crate::settings;
use crate::sys;
use crate::syslog::{Level, log};

/// Whether the daemon is started by hand, and not yet in the background.
pub(super) fn belongs_into_background() -> bool {
    std::env::var_os("CYRUS_ISDAEMON").is_none() && std::env::var_os(BACKGROUND).is_none()
}

/// Starts the process that does the work.
pub(super) fn go_into_background(args: &[OsString]) -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(args)
        .env(BACKGROUND, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    sys::spawn(&mut command, sys::ChildSetup::default()).map(drop)
}

/// Works until a signal comes, or `msg/shutdown`.
pub(super) fn run(squatter: &mut Squatter<'_>) -> u8 {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGQUIT] {
        if let Err(error) = signal_hook::flag::register(signal, stop.clone()) {
            squatter.fail(&format!("signals: {error}"));
            return GIVEN_UP;
        }
    }
    if let Some(ready) = WaitingMaster::take()
        && let Err(error) = ready.ready()
    {
        squatter.fail(&format!("cannot tell master: {error}"));
        return GIVEN_UP;
    }
    let channel = squatter.switches.channel.clone();
    let is_logged =
        squatter.config.switch(Opt::SyncLog) && settings::sync_channels(&squatter.config).contains(&channel);
    if !is_logged {
        squatter.notice(&format!(
            "nothing is written into the log of the channel '{channel}': set sync_log to yes, and add it to sync_log_channels"
        ));
    }
    let messages = squatter.config.configdirectory().join("msg");
    let shutdown = [messages.join("shutdown.squatter"), messages.join("shutdown")];
    let mut later = Later::default();
    let mut told = None;
    loop {
        if stop.load(Ordering::Relaxed) || shutdown.iter().any(|path| path.exists()) {
            log(Level::Notice, "graceful shutdown");
            return 0;
        }
        match squatter.store.take_sync_events(&channel) {
            Ok(Some(events)) => {
                let (grown, changed) = mailboxes(&events.events);
                let entries = squatter.sources.named(&squatter.store, &grown);
                work(squatter, entries, &mut later, &stop);
                for entry in squatter.sources.named(&squatter.store, &changed) {
                    later.wait(entry);
                }
                let due = later.due();
                work(squatter, due, &mut later, &stop);
                // What is cut short is done again.
                if !stop.load(Ordering::Relaxed)
                    && let Err(error) = squatter.store.finish_sync_events(events)
                {
                    squatter.fail(&format!("{error}"));
                    std::thread::sleep(LONG_PAUSE);
                }
            }
            Ok(None) => {
                let due = later.due();
                match due.is_empty() {
                    true => std::thread::sleep(PAUSE),
                    false => work(squatter, due, &mut later, &stop),
                }
            }
            Err(error) => {
                let text = error.to_string();
                if told.as_ref() != Some(&text) {
                    squatter.fail(&text);
                    told = Some(text);
                }
                std::thread::sleep(LONG_PAUSE);
            }
        }
    }
}

/// Brings the indexes of some mailboxes up to date; those that somebody else is at, later.
fn work(squatter: &mut Squatter<'_>, entries: Vec<MailboxEntry>, later: &mut Later, stop: &AtomicBool) {
    for entry in entries {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        match squatter.write(&entry, ADD) {
            true => later.remove(&entry.name),
            false => later.add(entry),
        }
        if let Some(pause) = squatter.switches.pause {
            std::thread::sleep(pause);
        }
    }
    squatter.store.forget_idle();
}

/// The mailboxes that got messages, and those that changed otherwise, each once, in the order of the events.
///
/// A renamed mailbox keeps its index; one that is gone loses it when all are looked at.
pub(super) fn mailboxes(events: &[Vec<String>]) -> (Vec<MailboxName>, Vec<MailboxName>) {
    let mut seen = HashSet::new();
    let mut about = |wanted: &str| {
        let names = events.iter().filter_map(|event| match event.as_slice() {
            [kind, name, ..] if kind == wanted => Some(name.as_str()),
            _ => None,
        });
        let fresh = names.filter(|name| seen.insert((*name).to_owned()));
        fresh.filter_map(|name| MailboxName::parse(name).ok()).collect()
    };
    (about("APPEND"), about("MAILBOX"))
}

/// Mailboxes of which something may have been expunged, or whose indexes could not be written, and when to look at them.
#[derive(Default)]
struct Later(BTreeMap<MailboxName, (Instant, u32, MailboxEntry)>);

impl Later {
    fn add(&mut self, entry: MailboxEntry) {
        let tries = self.0.get(&entry.name).map_or(0, |(_, tries, _)| *tries);
        if tries >= MAX_TRIES || self.0.len() >= MAX_WAITING {
            self.0.remove(&entry.name);
            let name = &entry.name;
            let what = format!("{name}: indexing failed too often; it is left to the next change");
            return log(Level::Error, &what);
        }
        let due = Instant::now() + RETRY * (tries + 1);
        self.0.insert(entry.name.clone(), (due, tries + 1, entry));
    }

    /// Notes a mailbox that changed, if it does not wait yet: whoever sets flags does so often.
    fn wait(&mut self, entry: MailboxEntry) {
        if self.0.len() < MAX_WAITING {
            let due = Instant::now() + CALM;
            self.0.entry(entry.name.clone()).or_insert((due, 0, entry));
        }
    }

    fn remove(&mut self, name: &MailboxName) {
        self.0.remove(name);
    }

    fn due(&self) -> Vec<MailboxEntry> {
        let now = Instant::now();
        let due = self.0.values().filter(|(due, ..)| *due <= now);
        due.map(|(.., entry)| entry.clone()).collect()
    }
}

/// Says that a process is the one in the background.
const BACKGROUND: &str = "CYRUS_SQUATTER_BACKGROUND";

/// How long to wait where nothing happens.
const PAUSE: Duration = Duration::from_millis(100);
const LONG_PAUSE: Duration = Duration::from_secs(5);

/// How long flags may change, and messages be expunged, before an index is looked at: they are not shown meanwhile.
const CALM: Duration = Duration::from_secs(5);

/// When to try again what failed, and how often.
const RETRY: Duration = Duration::from_secs(2);
const MAX_TRIES: u32 = 5;
const MAX_WAITING: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_named_once_however_often_it_changed() {
        let event = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let events = [
            event(&["MAILBOX", "user.b"]),
            event(&["APPEND", "user.a"]),
            event(&["MAILBOX", "user.a"]),
            event(&["QUOTA", "user.c"]),
            event(&["APPEND", "user.a"]),
            event(&["MAILBOX", "user.b"]),
            event(&["MAILBOX"]),
        ];
        let (grown, changed) = mailboxes(&events);
        let names = |names: &[MailboxName]| {
            names
                .iter()
                .map(|name| name.as_str().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (names(&grown), names(&changed)),
            (vec!["user.a".to_owned()], vec!["user.b".to_owned()])
        );
    }
}
