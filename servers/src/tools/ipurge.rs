//! `ipurge`: expunges messages by their age or size.

use std::ffi::OsString;
use std::io::Write;

use cyrus_acl::AuthState;
use cyrus_store::{Expunge, MailboxEntry, MailboxError, Message, Namespace, Store, SystemFlags, UidSet};

use super::{BAD_USAGE, TEMPORARY, enter, fatal, matching, open_store, time};
use crate::getopt::{self, CommandLine};
use crate::settings;
use crate::syslog::{Level, log};

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:hxd:b:k:m:fsMXionv") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("ipurge: {bad}");
            return usage();
        }
    };
    if line.has('h') {
        let _ = out.write_all(TEXT.as_bytes());
        let _ = out.flush();
        return 0;
    }
    let wanted = match Wanted::of(&line) {
        Ok(wanted) => wanted,
        Err(Unclear(what)) => {
            eprintln!("{what}");
            return usage();
        }
    };
    let config = match enter(line.argument('C'), "ipurge") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let all = ["*".to_owned()];
    let patterns = match line.arguments.as_slice() {
        [] => all.as_slice(),
        patterns => patterns,
    };
    let mut tool = Tool {
        namespace: settings::namespace(&config),
        store,
        wanted,
        recurse: !line.has('M'),
        force: line.has('f'),
        verbose: line.has('v'),
        dry_run: line.has('n'),
        sums: Sums::default(),
        out,
    };
    let code = tool.everything(patterns);
    let _ = tool.out.flush();
    code
}

/// Which messages are meant.
struct Wanted {
    days: Option<i64>,
    size: Option<u64>,
    exact: bool,
    inverted: bool,
    by_arrival: bool,
    only_deleted: bool,
    skip_flagged: bool,
    now: i64,
}

struct Unclear(&'static str);

impl Wanted {
    fn of(line: &CommandLine) -> Result<Self, Unclear> {
        let number = |letter| match line.argument(letter).map(str::parse::<u64>) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(Unclear("-d, -b, -k and -m take numbers")),
        };
        let mut size = number('b')?;
        for (letter, unit) in [('k', 1 << 10), ('m', 1 << 20)] {
            if let Some(count) = number(letter)? {
                size = Some(count.checked_mul(unit).ok_or(Unclear("the size is too large"))?);
            }
        }
        let days = number('d')?
            .map(i64::try_from)
            .transpose()
            .map_err(|_| Unclear("the age is too large"))?;
        if days.is_none() && size.is_none() {
            return Err(Unclear("One of these must be specified -d, -b -k, -m"));
        }
        Ok(Self {
            days,
            size,
            exact: line.has('x'),
            inverted: line.has('i'),
            by_arrival: line.has('X'),
            only_deleted: line.has('o'),
            skip_flagged: line.has('s'),
            now: time::now(),
        })
    }

    /// Whether a message is to go.
    fn takes(&self, message: &Message<'_>) -> bool {
        let flags = message.flags().system;
        if self.skip_flagged && flags.contains(SystemFlags::FLAGGED)
            || self.only_deleted && !flags.contains(SystemFlags::DELETED)
        {
            return false;
        }
        let date = match self.by_arrival {
            true => message.internal_date(),
            false => message.sent_date(),
        };
        // Exactly three days old is a day long; older than three days, or younger, is a moment's matter.
        let age = self.now - date;
        let by_age = match self.exact {
            true => self.fits(self.days, age / DAY),
            false => self.fits(self.days.map(|days| days.saturating_mul(DAY)), age),
        };
        by_age || self.fits(self.size, u64::from(message.size()))
    }

    /// Whether a number is the limit, or beyond it; or on the other side, if that is wanted.
    fn fits<N: Ord>(&self, limit: Option<N>, number: N) -> bool {
        let Some(limit) = limit else { return false };
        match (self.exact, self.inverted) {
            (true, false) => number == limit,
            (true, true) => number != limit,
            (false, false) => number > limit,
            (false, true) => number < limit,
        }
    }
}

#[derive(Default)]
struct Sums {
    total: u64,
    total_bytes: u64,
    deleted: u64,
    deleted_bytes: u64,
}

struct Tool<'o> {
    store: Store,
    namespace: Namespace,
    wanted: Wanted,
    recurse: bool,
    force: bool,
    verbose: bool,
    dry_run: bool,
    sums: Sums,
    out: &'o mut dyn Write,
}

impl Tool<'_> {
    fn everything(&mut self, patterns: &[String]) -> u8 {
        let mut code = 0;
        for pattern in patterns {
            let found = match self.matching(pattern) {
                Ok(found) => found,
                Err(error) => return fatal(&error, TEMPORARY),
            };
            for entry in &found {
                if let Err(error) = self.purge(entry) {
                    let text = format!("{}: {error}", entry.name);
                    log(Level::Error, &text);
                    eprintln!("ipurge: {text}");
                    code = TEMPORARY;
                }
                self.store.forget_idle();
            }
        }
        code
    }

    /// The mailboxes that a pattern means; with `-M` it is a name.
    fn matching(&self, pattern: &str) -> Result<Vec<MailboxEntry>, MailboxError> {
        match self.recurse || !pattern.contains(['*', '%']) {
            true => matching::mailboxes(&self.store, &self.namespace, pattern),
            false => Ok(Vec::new()),
        }
    }

    fn purge(&mut self, entry: &MailboxEntry) -> Result<(), MailboxError> {
        // Nobody's mail goes by mistake.
        let owner = entry
            .name
            .owner_even_deleted(&self.store.options().deleted_prefix);
        if !self.force && owner.is_some() {
            return Ok(());
        }
        if self.verbose {
            let _ = writeln!(self.out, "Working on {}...", entry.name);
        }
        self.sums = Sums::default();
        let mut mailbox = self.store.open_mailbox(&entry.name, &AuthState::system())?;
        let mut uids = UidSet::new();
        {
            let read = mailbox.read()?;
            for message in read.messages() {
                let size = u64::from(message.size());
                self.sums.total += 1;
                self.sums.total_bytes += size;
                if !self.wanted.takes(&message) {
                    continue;
                }
                self.sums.deleted += 1;
                self.sums.deleted_bytes += size;
                uids.insert(message.uid());
                if self.dry_run {
                    self.show(&message);
                }
            }
        }
        if !self.dry_run {
            mailbox.expunge(Expunge::Replaced(&uids))?;
        }
        mailbox.close()?;
        self.sum_up();
        Ok(())
    }

    fn show(&mut self, message: &Message<'_>) {
        let _ = writeln!(self.out, "UID: {}", message.uid());
        let _ = writeln!(self.out, "\tSize: {}", message.size());
        let _ = writeln!(self.out, "\tSent: {}", time::ctime(message.sent_date()));
        let _ = writeln!(self.out, "\tRecv: {}", time::ctime(message.internal_date()));
        let cache = match message.cache_items() {
            Ok(Some(cache)) => cache,
            _ => {
                let _ = writeln!(
                    self.out,
                    "\tERROR: cache record missing or corrupt, not printing cache details"
                );
                return;
            }
        };
        for (label, text) in [
            ("From", cache.from()),
            ("To  ", cache.to()),
            ("Cc  ", cache.cc()),
            ("Bcc ", cache.bcc()),
            ("Subj", cache.subject()),
        ] {
            let _ = writeln!(self.out, "\t{label}: {}", String::from_utf8_lossy(text));
        }
        let _ = writeln!(self.out);
    }

    fn sum_up(&mut self) {
        let sums = &self.sums;
        for (label, number) in [
            ("Total messages    ", sums.total),
            ("Total bytes       ", sums.total_bytes),
            ("Deleted messages  ", sums.deleted),
            ("Deleted bytes     ", sums.deleted_bytes),
            ("Remaining messages", sums.total - sums.deleted),
            ("Remaining bytes   ", sums.total_bytes - sums.deleted_bytes),
        ] {
            let _ = writeln!(self.out, "{label}\t\t {number}");
        }
    }
}

fn usage() -> u8 {
    eprint!("{TEXT}");
    BAD_USAGE
}

const DAY: i64 = 86_400;

const TEXT: &str = "\
usage: ipurge [-f] [-s] [-C <alt_config>] [-x] [-X] [-i] [-o] [-n] {-d days | -b bytes|-k Kbytes|-m Mbytes}
\t[mboxpattern1 ... [mboxpatternN]]
\tthere are no defaults and at least one of -d, -b, -k, -m
\tmust be specified
\tif no mboxpattern is given ipurge works on all mailboxes
\t -x specifies an exact match for days or size
\t -f force also to delete mail below user.* and INBOX.*
\t -s skip over messages that are flagged.
\t -X use delivery time instead of date header for date matches.
\t -i invert match logic: -x means not equal, date is for newer, size is for smaller.
\t -M don't recurse mailboxes.
\t -o only purge messages that are deleted.
\t -n only print messages that would be deleted (dry run).
\t -v enable verbose output/logging.
";
