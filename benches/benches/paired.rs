//! `cargo bench`: a short paired run beside whichever of Debian's servers are installed.

use std::process::ExitCode;

fn main() -> ExitCode {
    // `cargo test --benches` only wants to know that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let short = [
        "--start",
        "installed",
        "--rounds",
        "2",
        "--seconds",
        "1",
        "--big",
        "5000",
    ];
    cyrus_benches::paired::main(short.map(str::to_owned))
}
