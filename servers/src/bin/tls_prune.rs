//! Forgets TLS sessions that can no longer be resumed.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cyrus_servers::tools::tls_prune::run(std::env::args_os().skip(1)))
}
