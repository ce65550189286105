//! Tells the mailbox that the current directory belongs to.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cyrus_servers::tools::cyr_pwd::run(
        std::env::args_os().skip(1),
        &mut std::io::BufWriter::new(std::io::stdout().lock()),
    ))
}
