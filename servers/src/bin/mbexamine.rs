//! Shows what the files of a mailbox say, and compares them.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::mbexamine::run(
        args,
        &mut std::io::BufWriter::new(std::io::stdout().lock()),
    ))
}
