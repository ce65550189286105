//! What this build can do, for scripts and test rigs that choose by it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::cyr_buildinfo::run(
        args,
        &mut std::io::stdout().lock(),
    ))
}
