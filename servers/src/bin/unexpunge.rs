//! Lists expunged messages, and brings them back.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::unexpunge::run(
        args,
        &mut std::io::stdout().lock(),
    ))
}
