//! Checks a store that is in use, and changes nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::cyr_verify::run(
        args,
        &mut std::io::stdout().lock(),
    ))
}
