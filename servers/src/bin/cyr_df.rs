//! Reports how full partitions are.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cyrus_servers::tools::cyr_df::run(
        std::env::args_os().skip(1),
        &mut std::io::BufWriter::new(std::io::stdout().lock()),
    ))
}
