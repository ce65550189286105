//! `cyr_df`: how full the partitions are.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use rustix::fs::statvfs;

use super::{BAD_USAGE, enter};
use crate::getopt;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:m") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("cyr_df: {bad}");
            return usage();
        }
    };
    let config = match enter(line.argument('C'), "cyr_df") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let _ = writeln!(
        out,
        "{:<12} {:>12} {:>12} {:>12} {:>3} Location",
        "Partition", "1k-blocks", "Used", "Available", "Use%"
    );
    for (name, data) in config.partitions() {
        let place = match line.has('m') {
            true => config.metapartition(name),
            false => Some(data),
        };
        if let Some(place) = place {
            show(name, place, out);
        }
    }
    let _ = out.flush();
    0
}

fn show(name: &str, place: &Path, out: &mut dyn Write) {
    let space = match statvfs(place) {
        Ok(space) => space,
        Err(error) => {
            eprintln!("cyr_df: {}: {error}", place.display());
            return;
        }
    };
    let kib = |blocks: u64| u128::from(blocks) * u128::from(space.f_frsize) / 1024;
    let (total, available) = (kib(space.f_blocks), kib(space.f_bavail));
    let used = kib(space.f_blocks.saturating_sub(space.f_bfree));
    let percent = (used * 100).checked_div(used + available).unwrap_or(0);
    let place = place.display();
    let _ = writeln!(
        out,
        "{name:<12} {total:>12} {used:>12} {available:>12} {percent:>3}% {place}"
    );
}

fn usage() -> u8 {
    eprintln!("usage: cyr_df [-C <alt_config>] [-m]");
    BAD_USAGE
}
