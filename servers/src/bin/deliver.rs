//! Delivers a message from standard input.

use std::process::ExitCode;

fn main() -> ExitCode {
    cyrus_servers::deliver::main(std::env::args_os().skip(1))
}
