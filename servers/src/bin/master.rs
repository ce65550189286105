//! Starts and looks after the daemons that cyrus.conf names.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cyrus_servers::master::run(std::env::args_os().skip(1)))
}
