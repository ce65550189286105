//! Settings in effect, defaults, unknown settings, running sessions.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::cyr_info::run(
        args,
        &mut std::io::stdout().lock(),
    ))
}
