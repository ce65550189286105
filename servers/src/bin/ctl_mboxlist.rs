//! Dumps, restores and verifies the list of mailboxes.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::ctl_mboxlist::run(
        args,
        &mut std::io::stdin().lock(),
        &mut std::io::BufWriter::new(std::io::stdout().lock()),
    ))
}
