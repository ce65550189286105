//! Makes the directories that imapd.conf names.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::mkimap::run(
        args,
        &mut std::io::stdout().lock(),
    ))
}
