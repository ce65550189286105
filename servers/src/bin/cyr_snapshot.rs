//! Copies of the store as of one moment, and mailboxes and messages out of them.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::cyr_snapshot::run(
        args,
        &mut std::io::stdout().lock(),
    ))
}
