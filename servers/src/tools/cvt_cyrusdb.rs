//! `cvt_cyrusdb`: copies a database into another format.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use cyrus_store::db::{self, Create, DbContext, DbError, Engine};

use super::databases::{ABSOLUTE_PLEASE, BACKENDS, context, copy};
use super::{OS_ERROR, USAGE, enter, fatal};
use crate::config::ConfigError;
use crate::getopt;
use crate::syslog::{Level, log};

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("cvt_cyrusdb: {bad}");
            return usage(out);
        }
    };
    let [old, old_engine, new, new_engine] = line.arguments.as_slice() else {
        return usage(out);
    };
    if !old.starts_with('/') || !new.starts_with('/') {
        let _ = writeln!(out, "{ABSOLUTE_PLEASE}");
        return OS_ERROR;
    }
    let config = match enter(line.argument('C'), "cvt_cyrusdb") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let _ = writeln!(
        out,
        "Converting from {old} ({old_engine}) to {new} ({new_engine})"
    );
    let engines = old_engine
        .parse::<Engine>()
        .and_then(|old| Ok((old, new_engine.parse::<Engine>()?)));
    let (old_engine, new_engine) = match engines {
        Ok(engines) => engines,
        Err(unknown) => return fatal(&unknown, ConfigError::EXIT_CODE),
    };
    match convert(
        &context(&config),
        Path::new(old),
        old_engine,
        Path::new(new),
        new_engine,
    ) {
        Ok(()) => 0,
        Err(error) => {
            log(
                Level::Error,
                &format!("conversion of {old} to {new} failed: {error}"),
            );
            let _ = writeln!(out, "\nDBERROR: Conversion failed: {error}");
            FAILED
        }
    }
}

fn convert(
    context: &DbContext,
    old: &Path,
    old_engine: Engine,
    new: &Path,
    new_engine: Engine,
) -> Result<(), DbError> {
    let mut old = db::open(context, old, old_engine, Create::No)?;
    let mut new = db::open(context, new, new_engine, Create::Yes)?;
    copy(old.as_mut(), new.as_mut())
}

fn usage(out: &mut dyn Write) -> u8 {
    let _ = writeln!(
        out,
        "usage: cvt_cyrusdb [-C imapd.conf] <old db> <its format> <new db> <its format>\nFormats: {BACKENDS}"
    );
    USAGE
}

const FAILED: u8 = 1;
