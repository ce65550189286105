//! Shows, restores, counts, builds and checks the conversations of users.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    ExitCode::from(cyrus_servers::tools::ctl_conversationsdb::run(
        args,
        &mut std::io::stdin().lock(),
        &mut std::io::BufWriter::new(std::io::stdout().lock()),
    ))
}
