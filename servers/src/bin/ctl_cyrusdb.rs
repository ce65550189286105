//! Recovers the server's databases at its start, and keeps copies of those that matter.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::ctl_cyrusdb::run(args))
}
