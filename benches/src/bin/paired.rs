//! Measures mail servers beside each other; `paired --help` says how.

use std::process::ExitCode;

fn main() -> ExitCode {
    cyrus_benches::paired::main(std::env::args().skip(1))
}
