//! `imapd`: IMAP for a service of cyrus.conf.
//!
//! Switches are Cyrus's. One process serves all connections of its service, so `-U` (connections before a process ends)
//! and `-T` (how long an idle process waits) have nothing to say; `-D` (a debugger) and `-N` (no tcpwrappers) neither.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use crate::daemon::{self, exit, fail};
use crate::engine::{Engine, ServiceSwitches, StartError};
use crate::getopt;
use crate::serve;
use crate::syslog;

/// Runs the daemon with the arguments `args` (without the program's name).
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => ExitCode::from(code),
    }
}

fn run(args: impl IntoIterator<Item = OsString>) -> Result<(), u8> {
    let line = getopt::parse(args, "C:DHNp:sT:U:").map_err(|error| {
        syslog::open_plain("imapd");
        fail(exit::USAGE, &format!("imapd: {error}"))
    })?;
    let daemon = daemon::begin(line.argument('C'), "imap")?;
    if line.has('H') {
        return Err(fail(
            exit::USAGE,
            "-H (the PROXY protocol) is not supported by this build",
        ));
    }
    let link = daemon
        .master
        .ok_or_else(|| fail(exit::USAGE, "master starts this program; cyrusd serves by itself"))?;
    let config = Arc::new(daemon.config);
    let config_error = |error: StartError| fail(exit::CONFIG, &error.to_string());
    let engine = Engine::new(&config).map_err(config_error)?;
    let external_strength = match line.argument('p').map(str::parse) {
        None => 0,
        Some(Ok(bits)) => bits,
        Some(Err(_)) => return Err(fail(exit::USAGE, "-p takes a number of bits")),
    };
    let switches = ServiceSwitches {
        implicit_tls: line.has('s'),
        external_strength,
        ..ServiceSwitches::default()
    };
    let service = engine.imap(&config, switches).map_err(config_error)?;
    serve::serve(link, &config, service)
}
