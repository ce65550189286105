//! The administrator's shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cyrus_servers::cyradm::run(std::env::args_os().skip(1)))
}
