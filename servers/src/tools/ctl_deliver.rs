//! `ctl_deliver`: shows the deliveries that are remembered, so that no message comes twice.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use super::{TEMPORARY, USAGE, cyr_expire, enter, fatal, open_store, time};
use crate::getopt;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:drE:f:") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("ctl_deliver: {bad}");
            return usage();
        }
    };
    if let Some(days) = line.argument('E') {
        eprintln!("ctl_deliver -E is deprecated: using cyr_expire -E instead");
        let config = line.argument('C').map(|path| ["-C", path]);
        let args = config.iter().flatten().copied().chain(["-E", days]);
        return cyr_expire::run(args.map(OsString::from), &mut std::io::stderr());
    }
    if !line.has('d') {
        return usage();
    }
    let config = match enter(line.argument('C'), "ctl_deliver") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let file = line.argument('f').map(PathBuf::from);
    let store = match open_store(&config, |options| {
        if let Some(file) = file {
            options.databases.duplicate_path = Some(file);
        }
    }) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let _ = writeln!(out, "it is NOW: {}", time::now());
    let mut entries = 0_u64;
    let shown = store.each_delivery(&mut |key, mark| {
        let mut parts = key.split(|&byte| byte == 0).map(String::from_utf8_lossy);
        let (id, to) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let _ = writeln!(
            out,
            "id: {id:<40}\tto: {to:<20}\tat: {}\tuid: {}",
            mark.time, mark.uid
        );
        entries += 1;
    });
    if let Err(error) = shown {
        let _ = out.flush();
        return fatal(&error, TEMPORARY);
    }
    let _ = writeln!(out, "got {entries} entries");
    let _ = out.flush();
    0
}

fn usage() -> u8 {
    eprintln!("ctl_deliver [-C <altconfig>] -d [-f <dbfile>]");
    USAGE
}
