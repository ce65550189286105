//! Copies a database into another format.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::cvt_cyrusdb::run(
        args,
        &mut std::io::stdout().lock(),
    ))
}
