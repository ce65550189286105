//! Shows and changes single entries of a database.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::cyr_dbtool::run(
        args,
        &mut std::io::stdin().lock(),
        &mut std::io::stdout().lock(),
    ))
}
