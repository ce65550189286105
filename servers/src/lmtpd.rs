//! `lmtpd`: mail delivery for a service of cyrus.conf.
//!
//! Switches are Cyrus's: `-a` lets everybody who reaches the socket deliver; on a unix socket that is so anyway. One
//! process serves all connections of its service, so `-U` and `-T` have nothing to say.

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
    syslog::open_plain("lmtpd");
    let line =
        getopt::parse(args, "aC:DHT:U:").map_err(|error| fail(exit::USAGE, &format!("lmtpd: {error}")))?;
    if line.has('H') {
        return Err(fail(exit::USAGE, "lmtpd: -H (the PROXY protocol) is not supported by this build"));
    }
    let link = link.ok_or_else(|| {
        fail(exit::USAGE, "lmtpd: master starts this program; `cyrusd` serves by itself")
    })?;
    let path = line.argument('C').unwrap_or(IMAPD_CONF);
    let config = Arc::new(daemon::prepare(path, link.service())?);
    let config_error = |error: crate::engine::StartError| fail(exit::CONFIG, &error.to_string());
    let engine = Engine::new(&config).map_err(config_error)?;
    let switches = ServiceSwitches {
        preauthorised: line.has('a') || link.is_unix(),
        ..ServiceSwitches::default()
    };
    let service = engine.lmtp(&config, switches).map_err(config_error)?;
    daemon::serve(link, &config, service)
}
