//! Writes the indexes that make searches fast.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::squatter::run(
        args,
        &mut std::io::stdout().lock(),
    ))
}
