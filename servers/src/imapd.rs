//! `imapd`: IMAP for a service of cyrus.conf.
//!
//! Switches are Cyrus's. One process serves all connections of its service, so `-U` (connections before a process ends)
//! and `-T` (how long an idle process waits) have nothing to say; `-D` (a debugger) and `-N` (no tcpwrappers) neither.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use crate::daemon::{self, IMAPD_CONF, exit, fail};
use crate::engine::{Engine, ServiceSwitches};
use crate::getopt;
use crate::service::MasterLink;
use crate::syslog;

/// Runs the daemon with the arguments `args` (without the program's name).
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // First of all: nothing may take the descriptors that master left.
    let link = MasterLink::take();
    match run(args, link) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => ExitCode::from(code),
    }
}

fn run(args: impl IntoIterator<Item = OsString>, link: Option<MasterLink>) -> Result<(), u8> {
    syslog::open_plain("imapd");
    let line = getopt::parse(args, "C:DHNp:sT:U:")
        .map_err(|error| fail(exit::USAGE, &format!("imapd: {error}")))?;
    if line.has('H') {
        return Err(fail(exit::USAGE, "imapd: -H (the PROXY protocol) is not supported by this build"));
    }
    let external_strength = match line.argument('p').map(str::parse) {
        None => 0,
        Some(Ok(bits)) => bits,
        Some(Err(_)) => return Err(fail(exit::USAGE, "imapd: -p takes a number of bits")),
    };
    let link = link.ok_or_else(|| {
        fail(exit::USAGE, "imapd: master starts this program; `cyrusd` serves by itself")
    })?;
    let path = line.argument('C').unwrap_or(IMAPD_CONF);
    let config = Arc::new(daemon::prepare(path, link.service())?);
    let config_error = |error: crate::engine::StartError| fail(exit::CONFIG, &error.to_string());
    let engine = Engine::new(&config).map_err(config_error)?;
    let switches = ServiceSwitches {
        implicit_tls: line.has('s'),
        external_strength,
        ..ServiceSwitches::default()
    };
    let service = engine.imap(&config, switches).map_err(config_error)?;
    daemon::serve(link, &config, service)
}
