//! `reconstruct`: rebuilds mailboxes from what is left of them, with `-f`, `-p`, `-P` and `-m` the mailbox list, too, and with
//! `--everything` whatever can be derived.

mod everything;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use cyrus_acl::AuthState;
use cyrus_store::{
    Adopted, Found, MailboxError, MailboxId, MailboxName, Mismatches, Namespace, OddFiles, Pattern,
    Reconstruct, SameId, Store,
};

use super::progress::Progress;
use super::{BAD_USAGE, TEMPORARY, enter, fatal, open_store};
use crate::getopt::{self, CommandLine};
use crate::settings;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
///
/// The exit code tells whether everything could be rebuilt.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let args = args.into_iter().map(|arg| match arg == "--everything" {
        true => "-A".into(),
        false => arg,
    });
    let line = match getopt::parse(args, "C:p:xrfsqnGIRUoOMmV:uPA") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("reconstruct: {bad}");
            return usage();
        }
    };
    let how = match how(&line) {
        Ok(how) => how,
        Err(problem) => {
            eprintln!("reconstruct: {problem}");
            return usage();
        }
    };
    let config = match enter(line.argument('C'), "reconstruct") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let mut tool = Tool {
        namespace: settings::namespace(&config),
        store,
        how,
        quiet: line.has('q'),
        failed: false,
        messages: Messages::default(),
        owners: BTreeSet::new(),
        out,
    };
    let done = match () {
        () if line.has('A') => tool.everything(&config, &line),
        () if line.has('P') => tool.adopt_paths(&line),
        () if line.has('m') => tool.rebuild_list(&line),
        () => tool.rebuild_mailboxes(&line),
    };
    if let Err(error) = done {
        return fatal(&error, TEMPORARY);
    }
    let _ = tool.out.flush();
    if tool.failed { TEMPORARY } else { 0 }
}

fn how(line: &CommandLine) -> Result<Reconstruct, String> {
    let version =
        match line.argument('V') {
            None => None,
            Some("max") => Some(NEWEST),
            Some(number) => Some(number.parse().map_err(|_| {
                format!("-V: `{number}` is no version of cyrus.index; say a number or `max`")
            })?),
        };
    Ok(Reconstruct {
        dry_run: line.has('n'),
        trust_sizes: line.has('s'),
        parse_all: line.has('G'),
        odd_files: match () {
            () if line.has('O') => OddFiles::Remove,
            () if line.has('o') => OddFiles::Ignore,
            () => OddFiles::Tell,
        },
        mismatches: match () {
            () if line.has('R') => Mismatches::Renumber,
            () if line.has('U') => Mismatches::Remove,
            () => Mismatches::Tell,
        },
        prefer_list: line.has('M'),
        count_later: true,
        version,
    })
}

struct Tool<'o> {
    store: Store,
    namespace: Namespace,
    how: Reconstruct,
    quiet: bool,
    failed: bool,
    messages: Messages,
    /// Users of whom mailboxes were rebuilt.
    owners: BTreeSet<String>,
    out: &'o mut dyn Write,
}

/// What became of mailboxes and their messages.
#[derive(Default)]
struct Messages {
    mailboxes: u32,
    rebuilt: u32,
    failed: u32,
    kept: u64,
    added: u64,
    lost: u64,
}

/// What an argument means.
enum Wanted {
    /// Mailboxes whose names a client would write so.
    Pattern(Pattern),
    /// A mailbox, and with `true` those below it.
    Tree(MailboxName, bool),
}

impl Tool<'_> {
    /// Rebuilds the mailboxes that the arguments name; without arguments all.
    fn rebuild_mailboxes(&mut self, line: &CommandLine) -> Result<(), MailboxError> {
        let wanted = self.wanted(line);
        if line.has('f') || line.has('p') {
            let partition = line.argument('p').map(str::to_owned);
            self.discover(line.has('x'), line.has('p'), &mut |found, name| {
                let here = partition
                    .as_deref()
                    .is_none_or(|partition| found.partition.as_str() == partition);
                here && wanted.iter().any(|(_, wanted)| below(wanted, name))
            })?;
        }
        let mut names = Vec::new();
        let (store, namespace) = (&self.store, &self.namespace);
        let mut found = vec![line.arguments.is_empty(); wanted.len().max(1)];
        store.list("", &AuthState::system(), &mut |entry, _| {
            if entry.mbtype.remote {
                return ControlFlow::Continue(());
            }
            let shown = namespace.to_client(&entry.name, None, true);
            let matching = wanted.iter().position(|(_, wanted)| match wanted {
                Wanted::Pattern(pattern) => pattern.matches(&shown),
                Wanted::Tree(top, deep) => entry.name == *top || *deep && top.is_ancestor_of(&entry.name),
            });
            if let Some(at) = matching
                && let Some(found) = found.get_mut(at)
            {
                *found = true;
            }
            if line.arguments.is_empty() || matching.is_some() {
                names.push(entry.name);
            }
            ControlFlow::Continue(())
        })?;
        for ((argument, _), found) in wanted.iter().zip(&found) {
            if !found {
                // Like Cyrus: no failure, but it is not left unsaid.
                eprintln!("{argument}: no such mailbox");
            }
        }
        self.part_ids(&names, line.has('I'))?;
        let mut progress = Progress::of("mailboxes", names.len() as u64, self.quiet);
        for name in names {
            self.rebuild(&name);
            progress.step();
        }
        for owner in std::mem::take(&mut self.owners) {
            if let Err(error) = self.store.count_conversations(&owner) {
                self.failed = true;
                eprintln!("conversations of {owner}: {error}; then run `ctl_conversationsdb -b {owner}`");
            }
        }
        Ok(())
    }

    /// Mailboxes that share a unique id are told of; with `-I`, all but one get another.
    fn part_ids(&mut self, names: &[MailboxName], replace: bool) -> Result<(), MailboxError> {
        let mut ids: HashMap<MailboxId, MailboxName> = HashMap::new();
        let mut clashes = false;
        for name in names {
            let Some(entry) = self.store.lookup(name)? else {
                continue;
            };
            let Some(id) = &entry.id else { continue };
            clashes |= ids.insert(id.clone(), name.clone()).is_some();
        }
        if !clashes {
            return Ok(());
        }
        let same_id = match replace {
            true => SameId::Replace,
            false => SameId::Tell,
        };
        let out = &mut *self.out;
        self.store
            .repair_rows(same_id, false, self.how.dry_run, &mut |repair| {
                let _ = writeln!(out, "{repair}");
            })
    }

    fn wanted(&self, line: &CommandLine) -> Vec<(String, Wanted)> {
        let mut wanted = Vec::new();
        for argument in &line.arguments {
            if line.has('u') {
                match self.namespace.inbox(argument) {
                    Ok(inbox) => wanted.push((argument.clone(), Wanted::Tree(inbox, true))),
                    Err(error) => eprintln!("{argument}: {error}"),
                }
                continue;
            }
            if argument.contains(['*', '%']) {
                match self.namespace.pattern("", argument) {
                    Ok(pattern) => wanted.push((argument.clone(), Wanted::Pattern(pattern))),
                    Err(error) => eprintln!("{argument}: {error}"),
                }
                continue;
            }
            match self.namespace.to_internal(argument, None, true) {
                Ok(name) => wanted.push((argument.clone(), Wanted::Tree(name, line.has('r')))),
                Err(error) => eprintln!("{argument}: {error}"),
            }
        }
        wanted
    }

    /// Rebuilds one mailbox and says so.
    fn rebuild(&mut self, name: &MailboxName) {
        let out = &mut *self.out;
        let done = self.store.reconstruct(name, &self.how, &mut |finding| {
            let _ = writeln!(out, "{finding}");
        });
        let all = &mut self.messages;
        all.mailboxes += 1;
        match done {
            Ok(done) => {
                all.rebuilt += u32::from(done.changed);
                all.kept += u64::from(done.messages.saturating_sub(done.added));
                all.added += u64::from(done.added);
                all.lost += u64::from(done.lost);
                if done.changed && !self.how.dry_run {
                    self.owners.extend(name.owner());
                }
                if !self.quiet {
                    let _ = writeln!(out, "{}", self.namespace.to_client(name, None, true));
                }
            }
            // Deleted while the others were rebuilt.
            Err(MailboxError::NotFound) => all.mailboxes -= 1,
            Err(error) => {
                self.failed = true;
                all.failed += 1;
                eprintln!("{name}: {error}");
            }
        }
        // A server of many mailboxes is not to hold the files of all of them open.
        self.store.forget_idle();
    }

    /// Puts mailboxes that are on the disk but not in the list into it.
    ///
    /// Directories with nothing but messages are taken for mailboxes only with `leftovers`.
    fn discover(
        &mut self,
        fresh: bool,
        leftovers: bool,
        wanted: &mut dyn FnMut(&Found, &MailboxName) -> bool,
    ) -> Result<Tally, MailboxError> {
        let mut all = BTreeMap::new();
        let mut unreadable = Vec::new();
        self.store.scavenge(&mut |found| match &found.name {
            // A mailbox comes before those below it.
            Ok(name) => {
                let name = name.clone();
                all.entry(name).or_insert_with(Vec::new).push(found);
            }
            Err(fault) => unreadable.push((found.path.clone(), fault.clone())),
        })?;
        let mut tally = Tally::default();
        for (path, fault) in unreadable {
            tally.lost += 1;
            eprintln!("{}: {fault}; its mailbox cannot be told", path.display());
        }
        for (name, places) in &all {
            for found in places.iter().filter(|found| wanted(found, name)) {
                if self.store.is_leftover(found) && !leftovers {
                    self.tell_of_leftover(found, name)?;
                } else {
                    self.adopt(found, name, fresh, &mut tally)?;
                }
            }
        }
        self.failed |= tally.lost > 0;
        Ok(tally)
    }

    /// Tells of messages that are in no mailbox.
    fn tell_of_leftover(&mut self, found: &Found, name: &MailboxName) -> Result<(), MailboxError> {
        if self.store.lookup(name)?.is_none() && !self.quiet {
            let directory = found.path.parent().unwrap_or(&found.path);
            let shown = self.namespace.to_client(name, None, true);
            let _ = writeln!(
                self.out,
                "{}: messages of no mailbox; `reconstruct -p {} {shown}` makes one of them",
                directory.display(),
                found.partition
            );
        }
        Ok(())
    }

    fn adopt(
        &mut self,
        found: &Found,
        name: &MailboxName,
        fresh: bool,
        tally: &mut Tally,
    ) -> Result<(), MailboxError> {
        match self.store.adopt(found, fresh, self.how.dry_run)? {
            Adopted::Known => tally.kept += 1,
            Adopted::Added => {
                tally.added += 1;
                let shown = self.namespace.to_client(name, None, true);
                let _ = writeln!(self.out, "discovered {shown}");
            }
            Adopted::NameTaken(id) => {
                tally.lost += 1;
                let path = found.path.display();
                eprintln!(
                    "{path}: the mailbox list has another mailbox {name}, with the unique id {id}; rename that, and try again"
                );
            }
        }
        Ok(())
    }

    /// `-m`: the mailbox list as a whole, from what is left of it and from the header files of all partitions.
    fn rebuild_list(&mut self, line: &CommandLine) -> Result<(), MailboxError> {
        let mut salvaged = false;
        let out = &mut *self.out;
        let dry_run = self.how.dry_run;
        self.store.repair_list(dry_run, &mut |repair| {
            salvaged = true;
            let _ = writeln!(out, "{repair}");
        })?;
        if !self.list_is_readable()? {
            return Ok(());
        }
        let same_id = match line.has('I') {
            true => SameId::Replace,
            false => SameId::Tell,
        };
        let out = &mut *self.out;
        self.store
            .repair_rows(same_id, salvaged, dry_run, &mut |repair| {
                let _ = writeln!(out, "{repair}");
            })?;
        let tally = self.discover(line.has('x'), false, &mut |_, _| true)?;
        let _ = writeln!(
            self.out,
            "mailbox list: {} kept, {} rebuilt, {} lost",
            tally.kept, tally.added, tally.lost
        );
        Ok(())
    }

    /// Whether the mailbox list can be read. One that cannot, although what could be salvaged was, is put aside.
    fn list_is_readable(&mut self) -> Result<bool, MailboxError> {
        let Err(error) = self.store.rows() else {
            return Ok(true);
        };
        let path = self.store.mailbox_list_path();
        eprintln!("{error}");
        if self.how.dry_run {
            eprintln!(
                "{}: would be salvaged or made anew, which cannot be tried without changing it; run reconstruct without -n",
                path.display()
            );
            return Ok(false);
        }
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let aside = path.with_extension(format!("db.damaged.{seconds}"));
        std::fs::rename(&path, &aside).map_err(|error| MailboxError::Refused(error.to_string()))?;
        self.store.forget_idle();
        eprintln!("{}: put aside as {}", path.display(), aside.display());
        Ok(true)
    }

    /// `-P`: mailboxes given by their header files.
    fn adopt_paths(&mut self, line: &CommandLine) -> Result<(), MailboxError> {
        for argument in &line.arguments {
            let adopted = self
                .store
                .found_at(Path::new(argument))
                .and_then(|found| Ok((self.store.adopt(&found, line.has('x'), self.how.dry_run)?, found)));
            match adopted {
                Ok((Adopted::Known, _)) => {}
                Ok((Adopted::Added, found)) => {
                    let name = found
                        .name
                        .map_or_else(|fault| fault.to_string(), |name| name.to_string());
                    let _ = writeln!(self.out, "created mbentry for {name} ({argument})");
                }
                Ok((Adopted::NameTaken(id), _)) => {
                    self.failed = true;
                    eprintln!("{argument}: its name is that of the mailbox with the unique id {id}");
                }
                Err(error) => {
                    self.failed = true;
                    eprintln!("Invalid/missing cyrus.header at '{argument}': {error}");
                }
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Tally {
    kept: u32,
    added: u32,
    lost: u32,
}

/// Whether a name is wanted, or below one that is.
fn below(wanted: &Wanted, name: &MailboxName) -> bool {
    match wanted {
        Wanted::Pattern(pattern) => pattern.matches(name.as_str()),
        Wanted::Tree(top, _) => name == top || top.is_ancestor_of(name),
    }
}

fn usage() -> u8 {
    eprint!("{USAGE}");
    BAD_USAGE
}

const NEWEST: u32 = 17;

const USAGE: &str = "Usage: reconstruct [OPTIONS] [mailbox...]
A tool to reconstruct mailboxes.

-C <config-file>   use <config-file> instead of config from imapd.conf
-p <partition>     search this partition for the mailboxes, and add them to the mailbox list
-x                 do not import the rights of mailboxes that are added
-r                 recursively reconstruct
-f                 examine the filesystem for mailboxes that the list lacks
-m                 rebuild the mailbox list from what is left of it and from all partitions
--everything, -A   rebuild whatever can be derived: databases, mailbox list, mailboxes, quotas, conversations
-s                 don't stat underlying files
-q                 run quietly
-n                 do not make changes
-G                 force re-parsing (checks GUID correctness)
-I                 give a new unique id to mailboxes that have that of another
-R                 give messages that changed on disk a new UID
-U                 remove messages that changed on disk
-o                 ignore odd files in mailbox directories
-O                 delete odd files
-M                 prefer mailboxes.db over cyrus.header
-V <version>       change the cyrus.index minor version (a number, or max)
-u                 give usernames instead of mailbox names
-P                 give paths to cyrus.header files instead (repairs mailboxes.db only)
";
