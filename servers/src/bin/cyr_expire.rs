//! Expires messages, deliveries and deleted mailboxes.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::cyr_expire::run(
        args,
        &mut std::io::stderr().lock(),
    ))
}
