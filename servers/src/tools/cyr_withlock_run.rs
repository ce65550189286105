//! `cyr_withlock_run`: runs a command while nobody, neither this server nor Cyrus, can change a user's mailboxes, or
//! anybody's: for snapshots and backups.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::process::Command;
use std::time::{Duration, Instant};

use cyrus_acl::AuthState;
use cyrus_store::lock::{Guard, Wait};
use cyrus_store::sys::Mode;
use cyrus_store::{MailboxError, Namespace, Store};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{BAD_USAGE, TEMPORARY, enter, fatal, open_store};
use crate::config::Config;
use crate::settings;

/// Runs with the arguments `args` (without the program's name). The exit code is that of the command.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let Some(asked) = Asked::of(args) else {
        return usage();
    };
    let config = match enter(asked.config.as_deref(), "cyr_withlock_run") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let wait = asked.patience.map_or(Wait::Forever, |patience| {
        Instant::now()
            .checked_add(patience)
            .map_or(Wait::Forever, Wait::Until)
    });
    let held = match lock(&store, &config, asked.user.as_deref(), wait) {
        Ok(held) => held,
        Err(error) => return fatal(&error, TEMPORARY),
    };
    let Some((program, rest)) = asked.command.split_first() else {
        return usage();
    };
    let done = Command::new(program).args(rest).status();
    drop(held);
    match done {
        Ok(status) => {
            let code = status.code().unwrap_or(i32::from(TEMPORARY));
            u8::try_from(code).unwrap_or(TEMPORARY)
        }
        Err(error) => fatal(&format_args!("{}: {error}", program.to_string_lossy()), NOT_RUN),
    }
}

struct Asked {
    config: Option<String>,
    user: Option<String>,
    /// How long to wait for the locks.
    patience: Option<Duration>,
    command: Vec<OsString>,
}

impl Asked {
    /// The switches end where the command begins: its own are not ours.
    fn of(args: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut asked = Self {
            config: None,
            user: None,
            patience: None,
            command: Vec::new(),
        };
        let mut args = args.into_iter().peekable();
        while let Some(arg) = args.next_if(|arg| arg.as_encoded_bytes().starts_with(b"-")) {
            match arg.to_str()? {
                "--" => break,
                "-C" => asked.config = Some(args.next()?.into_string().ok()?),
                "-u" => asked.user = Some(args.next()?.into_string().ok()?),
                "-t" => asked.patience = Some(Duration::from_secs(args.next()?.to_str()?.parse().ok()?)),
                _ => return None,
            }
        }
        asked.command.extend(args);
        (!asked.command.is_empty()).then_some(asked)
    }
}

/// The locks that keep everybody from changing a user's mailboxes; or all mailboxes, and the list of them.
fn lock(store: &Store, config: &Config, user: Option<&str>, wait: Wait) -> Result<Vec<Guard>, MailboxError> {
    let namespace: Namespace = settings::namespace(config);
    let owners: BTreeSet<Option<String>> = match user {
        Some(user) => {
            let inbox = namespace.inbox(user).map_err(MailboxError::BadName)?;
            if store.lookup(&inbox)?.is_none() {
                eprintln!("cyr_withlock_run: {user} has no INBOX here");
            }
            BTreeSet::from([inbox.owner()])
        }
        None => everybody(store)?,
    };
    raise_limit(owners.len());
    // In the order in which Cyrus locks several: nobody's mailboxes first.
    let mut held = Vec::new();
    for owner in &owners {
        let path = store.options().namespace_lock_path(owner.as_deref());
        held.push(store.locks().lock_file(&path, Mode::Exclusive, wait)?);
    }
    if user.is_none() {
        // Whoever comes between has no mailbox yet, and cannot get one: the list can be read, and not written.
        let list = store.mailbox_list_path();
        if list.exists() {
            held.push(store.locks().lock_file(&list, Mode::Shared, wait)?);
        }
    }
    Ok(held)
}

fn everybody(store: &Store) -> Result<BTreeSet<Option<String>>, MailboxError> {
    let prefix = store.options().deleted_prefix.clone();
    let mut owners = BTreeSet::from([None]);
    store.list("", &AuthState::system(), &mut |entry, _| {
        owners.insert(entry.name.owner_even_deleted(&prefix));
        ControlFlow::Continue(())
    })?;
    Ok(owners)
}

/// A lock is an open file.
fn raise_limit(files: usize) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(files).unwrap_or(u64::MAX).saturating_add(SPARE);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: limit.maximum.map_or(Some(wanted), |most| Some(most.min(wanted))),
            maximum: limit.maximum,
        };
        // Where that is refused, opening the files says what is wrong.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

fn usage() -> u8 {
    eprint!("{TEXT}");
    BAD_USAGE
}

/// Files that the program needs beside the locks.
const SPARE: u64 = 64;
/// What shells say of commands that cannot be run.
const NOT_RUN: u8 = 127;

const TEXT: &str = "\
usage: cyr_withlock_run [-C <alt_config>] [-t seconds] [-u userid] command [argument...]

  -u  lock this user's mailboxes alone
  -t  give up after this time, if others hold the locks

Messages can be read meanwhile with tools, and sessions wait.
";
