//! `ctl_mboxlist`: dumps, restores and verifies the list of mailboxes.

mod dump;
mod legacy;
mod undump;
mod verify;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;

use super::{TEMPORARY, UNAVAILABLE, enter, fatal, open_store};
use crate::getopt;
use crate::syslog::{Level, log};

/// Runs with the arguments `args` (without the program's name), reading what is to be restored from `input`.
pub fn run(args: impl IntoIterator<Item = OsString>, input: &mut dyn Read, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:awmdurcxf:p:viyL") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("ctl_mboxlist: {bad}");
            return usage();
        }
    };
    let operations: Vec<char> = line
        .switches
        .iter()
        .map(|(letter, _)| *letter)
        .filter(|letter| "dumv".contains(*letter))
        .collect();
    let [operation] = operations.as_slice() else {
        return usage();
    };
    let fits = match operation {
        'd' => "Cdxypf",
        'u' => "CufL",
        'm' => "Cmawif",
        _ => "Cvf",
    };
    if line.switches.iter().any(|(letter, _)| !fits.contains(*letter)) {
        return usage();
    }
    let config = match enter(line.argument('C'), "ctl_mboxlist") {
        Ok(config) => config,
        Err(code) => return code,
    };
    if *operation == 'm' {
        return fatal(
            &"couldn't get mupdate server name: this server is not part of a murder",
            UNAVAILABLE,
        );
    }
    let file = line.argument('f').map(PathBuf::from);
    let store = open_store(&config, |options| {
        if let Some(file) = file {
            options.databases.mboxlist_path = Some(file);
        }
    });
    let store = match store {
        Ok(store) => store,
        Err(code) => return code,
    };
    let done = match operation {
        'd' => dump::run(&store, &line, out),
        'u' if line.has('L') => legacy::run(&store, input),
        'u' => undump::run(&store, input),
        _ => verify::run(&store, out),
    };
    let _ = out.flush();
    done.unwrap_or_else(|error| {
        log(Level::Error, &error.to_string());
        fatal(&error, TEMPORARY)
    })
}

fn usage() -> u8 {
    eprintln!("{TEXT}");
    WRONG_SWITCHES
}

const TEXT: &str = "\
DUMP:
  ctl_mboxlist [-C <alt_config>] -d [-x] [-y] [-p partition] [-f filename]
UNDUMP:
  ctl_mboxlist [-C <alt_config>] -u [-f filename] [-L]    [< mboxlist.dump]
MUPDATE populate:
  ctl_mboxlist [-C <alt_config>] -m [-a] [-w] [-i] [-f filename]
VERIFY:
  ctl_mboxlist [-C <alt_config>] -v [-f filename]";
const WRONG_SWITCHES: u8 = 1;
