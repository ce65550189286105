//! Runs a command under the locks of a user's mailboxes, or of all.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cyrus_servers::tools::cyr_withlock_run::run(
        std::env::args_os().skip(1),
    ))
}
