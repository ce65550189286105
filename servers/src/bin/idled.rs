//! The daemon that tells idle sessions of Cyrus's imapd what has changed.

use std::process::ExitCode;

fn main() -> ExitCode {
    cyrus_servers::idled::daemon::main(std::env::args_os().skip(1))
}
