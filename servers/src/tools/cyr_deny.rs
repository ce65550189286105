//! `cyr_deny`: shuts users out of services, and lets them in again.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cyrus_store::Denial;
use rustix::process::{Pid, Signal, kill_process};

use super::{BAD_USAGE, TEMPORARY, enter, fatal, open_store};
use crate::getopt;
use crate::procdir;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:alm:s:") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("cyr_deny: {bad}");
            return usage();
        }
    };
    let user = match (line.has('a'), line.has('l'), line.arguments.as_slice()) {
        (false, true, []) => None,
        (_, false, [user]) => Some(user.as_str()),
        _ => return usage(),
    };
    let told = line.has('s') || line.has('m');
    if told && (line.has('a') || line.has('l')) {
        return usage();
    }
    let config = match enter(line.argument('C'), "cyr_deny") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let Some(user) = user else {
        return match store.denials() {
            Ok(denials) => list(&denials, out),
            Err(error) => failed("list entries", &error),
        };
    };
    if line.has('a') {
        return match store.allow_user(user) {
            Ok(_) => 0,
            Err(error) => failed(&format!("allow access for {user}"), &error),
        };
    }
    let denial = Denial {
        services: line.argument('s').unwrap_or(Denial::ALL_SERVICES).to_owned(),
        message: line.argument('m').unwrap_or(Denial::MESSAGE).to_owned(),
    };
    if let Err(error) = store.deny_user(user, &denial) {
        return failed(&format!("deny access for {user}"), &error);
    }
    match end_sessions(&config.proc_directory(), user, &denial) {
        true => 0,
        false => fatal(&"cannot kill some processes even with SIGKILL", TEMPORARY),
    }
}

fn list(denials: &[(String, Denial)], out: &mut dyn Write) -> u8 {
    let head = ["Username", "Service(s)", "Message"];
    let rows = denials
        .iter()
        .map(|(user, denial)| [user.as_str(), &denial.services, &denial.message]);
    for [user, services, message] in std::iter::once(head).chain(rows) {
        let _ = writeln!(out, "{user:<30} {services:<20} {message}");
    }
    0
}

/// Ends the processes that serve the user and nobody else, as those of Cyrus do. Sessions of a process with many see the
/// list themselves. Says whether all have gone.
fn end_sessions(directory: &Path, user: &str, denial: &Denial) -> bool {
    for signal in [Signal::TERM, Signal::KILL] {
        let processes = processes_of(directory, user, denial);
        for process in &processes {
            // It may have ended by itself meanwhile.
            let _ = kill_process(*process, signal);
        }
        if all_gone(&processes) {
            return true;
        }
    }
    false
}

fn processes_of(directory: &Path, user: &str, denial: &Denial) -> Vec<Pid> {
    let own = std::process::id();
    let sessions = procdir::sessions(directory).unwrap_or_default().into_iter();
    sessions
        .filter(|(_, line)| {
            let mut fields = line.split('\t');
            let service = fields.next().unwrap_or_default();
            denial.covers(service) && fields.nth(1) == Some(user)
        })
        // A file that is not named after its process belongs to one of many sessions.
        .filter(|(number, _)| {
            *number != own && procdir::owner_of(&directory.join(number.to_string())) == Some(*number)
        })
        .filter_map(|(number, _)| Pid::from_raw(i32::try_from(number).ok()?))
        .collect()
}

fn all_gone(processes: &[Pid]) -> bool {
    let until = Instant::now() + PATIENCE;
    loop {
        let is_alive = |pid: &Pid| procdir::is_alive(pid.as_raw_nonzero().get().unsigned_abs());
        if !processes.iter().any(is_alive) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> u8 {
    eprintln!("cyr_deny: failed to {what}: {error}");
    TEMPORARY
}

fn usage() -> u8 {
    eprint!("{TEXT}");
    BAD_USAGE
}

/// How long processes may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

const TEXT: &str = "\
Usage: cyr_deny [-C <altconfig>] [ -s services ] [ -m message ] user
       cyr_deny [-C <altconfig>] -a user
       cyr_deny [-C <altconfig>] -l
";
