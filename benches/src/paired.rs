//! The paired run: the same work on several mail servers, in turn, on this machine.
//!
//! Every measurement is made on each server in every round, in an order that rotates (A B C, B C A, C A B), after a round
//! that is thrown away, so that whatever else the machine does hits all of them alike. The client speaks over plain sockets
//! and looks at as little of the answers as it can, because it shares the processors with the servers; what the servers
//! answered is compared apart from the measurements.

mod answers;
mod arguments;
mod cases;
mod mail;
mod meter;
mod report;
mod start;
mod syncs;
mod target;
mod wire;

use std::process::ExitCode;

use self::arguments::Arguments;
use self::report::Report;

/// Runs the driver with command-line arguments (without the program's name).
pub fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    match Arguments::parse(arguments).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("paired: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    raise_descriptor_limit();
    let started = start::all(arguments)?;
    let mut targets = arguments.targets.clone();
    targets.extend(started.iter().map(|server| server.target.clone()));
    if targets.is_empty() {
        return Err("no server to measure: none is installed, and no --target was given".into());
    }
    let mut report = Report::new(&targets);
    for case in &arguments.cases {
        cases::run(case, &targets, arguments, &mut report)?;
    }
    println!("{}", report.table());
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json())
            .map_err(|error| format!("writing {}: {error}", path.display()))?;
    }
    let faults = report.faults();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(format!("the servers disagree:\n{}", faults.join("\n")).into())
    }
}

/// A thousand idle connections need more descriptors than a shell usually allows.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without the right to raise it, only the case of idle connections fails, and says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// What went wrong, with its place.
type Error = Box<dyn std::error::Error>;
