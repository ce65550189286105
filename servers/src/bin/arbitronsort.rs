//! Ranks the mailboxes in the output of arbitron.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cyrus_servers::tools::arbitronsort::run(
        &mut std::io::stdin().lock(),
        &mut std::io::BufWriter::new(std::io::stdout().lock()),
    ))
}
