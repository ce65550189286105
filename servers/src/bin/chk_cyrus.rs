//! Lists files of mailboxes that are missing.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cyrus_servers::tools::chk_cyrus::run(
        std::env::args_os().skip(1),
        &mut std::io::BufWriter::new(std::io::stdout().lock()),
        &mut std::io::stderr().lock(),
    ))
}
