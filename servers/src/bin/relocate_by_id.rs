//! Moves mailboxes to directories by unique id.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cyrus_servers::tools::relocate_by_id::run(
        std::env::args_os().skip(1),
        &mut std::io::BufWriter::new(std::io::stdout().lock()),
    ))
}
