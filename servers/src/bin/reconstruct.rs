//! Rebuilds mailboxes, and the mailbox list, from what is left of them.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::reconstruct::run(
        args,
        &mut std::io::stdout().lock(),
    ))
}
