//! Says why a user has the rights that he has on a mailbox.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cyrus_servers::tools::cyr_acl::run(
        std::env::args_os().skip(1),
        &mut std::io::BufWriter::new(std::io::stdout().lock()),
    ))
}
