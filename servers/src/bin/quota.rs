//! Reports quotas, and corrects their usage.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::quota::run(
        args,
        &mut std::io::BufWriter::new(std::io::stdout().lock()),
    ))
}
