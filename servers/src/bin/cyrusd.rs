//! All services of a cyrus.conf in one process; with `--demo`, a mail server to try out.

use std::process::ExitCode;

fn main() -> ExitCode {
    cyrus_servers::cyrusd::main(std::env::args_os().skip(1))
}
