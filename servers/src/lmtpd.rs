//! `lmtpd`: mail delivery for a service of cyrus.conf.
//!
//! Switches are Cyrus's: `-a` lets everybody who reaches the socket deliver; on a unix socket that is so anyway. One
//! process serves all connections of its service, so `-U` and `-T` have nothing to say.

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
    let line = getopt::parse(args, "aC:DHT:U:").map_err(|error| {
        syslog::open_plain("lmtpd");
        fail(exit::USAGE, &format!("lmtpd: {error}"))
    })?;
    let daemon = daemon::begin(line.argument('C'), "lmtp")?;
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
    let switches = ServiceSwitches {
        preauthorised: line.has('a') || link.is_unix(),
        ..ServiceSwitches::default()
    };
    let service = engine.lmtp(&config, switches).map_err(config_error)?;
    let served = serve::serve(link, &config, service);
    engine.store().flush_deliveries();
    served
}
