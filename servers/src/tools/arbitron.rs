//! `arbitron`: who reads and who subscribes to which mailboxes; with `-p` forgets what those have seen who do not come
//! back.

mod users;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;

use cyrus_store::{MailboxError, MailboxId, MailboxName, Namespace, Store};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{BAD_USAGE, TEMPORARY, enter, fatal, matching, open_store, time};
use crate::getopt::{self, CommandLine};
use crate::settings;

/// Runs with the arguments `args` (without the program's name): the report to `out`, what is going on to `err`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:oud:D:p:l") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("arbitron: {bad}");
            return usage();
        }
    };
    let Some(span) = Span::of(&line) else {
        return usage();
    };
    let prune = match line.argument('p').map(str::parse::<i64>) {
        None => None,
        Some(Ok(months)) if (0..=MOST_MONTHS).contains(&months) => Some(span.now - months * MONTH),
        Some(_) => return usage(),
    };
    let pattern = match line.arguments.as_slice() {
        [] => "*",
        [pattern] => pattern,
        _ => return usage(),
    };
    let config = match enter(line.argument('C'), "arbitron") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let mut report = Report {
        namespace: settings::namespace(&config),
        mailboxes: BTreeMap::new(),
        ids: BTreeMap::new(),
        store,
        span,
        prune,
    };
    let gathered = report.gather(pattern, err);
    if let Err(error) = gathered {
        return fatal(&error, TEMPORARY);
    }
    report.print(&line, out);
    let _ = out.flush();
    0
}

/// Between which times somebody counts as a reader, Unix seconds.
struct Span {
    start: i64,
    end: i64,
    now: i64,
}

impl Span {
    fn of(line: &CommandLine) -> Option<Self> {
        let now = time::now();
        let days = match line.argument('d') {
            None => DAYS,
            Some(text) => text.parse().ok().filter(|days| (0..=MOST_DAYS).contains(days))?,
        };
        let mut span = Self {
            start: now - days * DAY,
            end: now,
            now,
        };
        if let Some(dates) = line.argument('D') {
            if line.has('d') {
                return None;
            }
            let (start, end) = match dates.split_once(':') {
                Some((start, end)) => (start, Some(end)),
                None => (dates, None),
            };
            span.start = midnight(start)?;
            if let Some(end) = end {
                span.end = midnight(end)?;
            }
        }
        Some(span)
    }
}

/// The beginning of a day, written `mmddyyyy`.
fn midnight(text: &str) -> Option<i64> {
    if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i16>().ok();
    let (month, day, year) = (number(0..2)?, number(2..4)?, number(4..8)?);
    let date = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let zoned = date.to_zoned_datetime(TimeZone::system()).ok()?;
    Some(zoned.timestamp().as_second())
}

/// Who uses one mailbox.
#[derive(Default)]
struct Usage {
    owner: Option<String>,
    /// Readers, and when they were last there.
    readers: Vec<(String, i64)>,
    subscribers: Vec<String>,
}

struct Report {
    store: Store,
    namespace: Namespace,
    span: Span,
    /// Those who were not there since then are forgotten.
    prune: Option<i64>,
    mailboxes: BTreeMap<MailboxName, Usage>,
    ids: BTreeMap<String, MailboxName>,
}

impl Report {
    fn gather(&mut self, pattern: &str, err: &mut dyn Write) -> Result<(), MailboxError> {
        let _ = write!(err, "Loading Mailboxes...");
        let _ = err.flush();
        let prefix = self.store.options().deleted_prefix.clone();
        for entry in matching::mailboxes(&self.store, &self.namespace, pattern)? {
            if entry.name.is_deleted(&prefix) {
                continue;
            }
            let usage = Usage {
                owner: entry.name.owner(),
                ..Usage::default()
            };
            self.mailboxes.insert(entry.name.clone(), usage);
            if let Some(id) = &entry.id {
                self.ids.insert(id.to_string(), entry.name);
            }
        }
        let _ = write!(err, "Done\nLoading Users");
        let _ = err.flush();
        for userid in users::with_files(&self.store)? {
            if let Err(error) = self.user(&userid) {
                let _ = writeln!(err, "\narbitron: {userid}: {error}");
            }
        }
        let _ = writeln!(err, "Done");
        Ok(())
    }

    fn user(&mut self, userid: &str) -> Result<(), MailboxError> {
        let auth = self
            .store
            .auth(userid)
            .map_err(|error| MailboxError::Refused(error.to_string()))?;
        for (id, state) in self.store.seen_states(userid)? {
            let lastread = i64::from(state.lastread);
            if self.prune.is_some_and(|before| lastread < before) {
                self.store.forget_seen(userid, &id)?;
                continue;
            }
            self.reader(userid, &id, lastread);
        }
        for name in self.store.subscriptions(&auth)? {
            if let Some(usage) = self.mailboxes.get_mut(&name)
                && usage.owner.as_deref() != Some(userid)
            {
                usage.subscribers.push(userid.to_owned());
            }
        }
        Ok(())
    }

    fn reader(&mut self, userid: &str, id: &MailboxId, lastread: i64) {
        if lastread < self.span.start || lastread > self.span.end {
            return;
        }
        if let Some(name) = self.ids.get(id.as_str())
            && let Some(usage) = self.mailboxes.get_mut(name)
            && usage.owner.as_deref() != Some(userid)
        {
            usage.readers.push((userid.to_owned(), lastread));
        }
    }

    fn print(&self, line: &CommandLine, out: &mut dyn Write) {
        for (name, usage) in &self.mailboxes {
            // Mailboxes of users are nobody's business until somebody else reads them.
            if usage.owner.is_some() && usage.readers.is_empty() {
                continue;
            }
            let shown = self.namespace.to_client(name, None, true);
            if line.has('l') {
                self.print_table(&shown, usage, line, out);
                continue;
            }
            let readers: Vec<&str> = usage.readers.iter().map(|(user, _)| user.as_str()).collect();
            let _ = write!(out, "{shown} ");
            print_users(&readers, line.has('u'), out);
            if !line.has('o') {
                let subscribers: Vec<&str> = usage.subscribers.iter().map(String::as_str).collect();
                let _ = write!(out, " ");
                print_users(&subscribers, line.has('u'), out);
            }
            let _ = writeln!(out);
        }
    }

    fn print_table(&self, shown: &str, usage: &Usage, line: &CommandLine, out: &mut dyn Write) {
        let form = |seconds| time::format(seconds, "%m-%d-%Y %H:%M:%S");
        let (start, end) = (form(self.span.start), form(self.span.end));
        for (user, _) in &usage.readers {
            let _ = writeln!(out, "{shown},{user},r,{start},{end}");
        }
        if !line.has('o') {
            for user in &usage.subscribers {
                let _ = writeln!(out, "{shown},{user},s,{start},{end}");
            }
        }
    }
}

fn print_users(users: &[&str], named: bool, out: &mut dyn Write) {
    let _ = write!(out, "{}", users.len());
    if named && !users.is_empty() {
        let _ = write!(out, ":{}", users.join(","));
    }
}

fn usage() -> u8 {
    eprint!("{TEXT}");
    BAD_USAGE
}

const DAY: i64 = 86_400;
const MONTH: i64 = 31 * DAY;
/// The days that are looked back on by default.
const DAYS: i64 = 30;
const MOST_DAYS: i64 = 1_000_000;
const MOST_MONTHS: i64 = 32_768;

const TEXT: &str = "\
usage: arbitron [-o] [-u] [-l] [-C alt_config] [-d days | -D mmddyyy[:mmddyyyy]]
                [-p months] [mboxpattern]
";
