//! A server under measurement: where it listens, and what its processes cost.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::Error;

/// A running server.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) imap: u16,
    pub(super) lmtp: PathBuf,
    /// The file that holds the process id of its first process.
    pub(super) pid_file: PathBuf,
    /// What writes an index of the texts of all mailboxes, and where that is.
    pub(super) indexer: Option<Indexer>,
}

/// Writes an index for searches.
#[derive(Clone, Debug)]
pub(super) struct Indexer {
    /// A program and its arguments.
    pub(super) command: Vec<OsString>,
    /// The folder of the index, which may not be there.
    pub(super) folder: PathBuf,
}

impl Target {
    /// Reads `NAME,imap=PORT,lmtp=SOCKET,pid=FILE`.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default().to_owned();
        let mut target = Self {
            name,
            imap: 0,
            lmtp: PathBuf::new(),
            pid_file: PathBuf::new(),
            indexer: None,
        };
        for part in parts {
            match part.split_once('=') {
                Some(("imap", port)) => target.imap = port.parse()?,
                Some(("lmtp", socket)) => target.lmtp = socket.into(),
                Some(("pid", file)) => target.pid_file = file.into(),
                _ => return Err(format!("--target {text}: what is {part}?").into()),
            }
        }
        if target.imap == 0 {
            return Err(format!("--target {text}: imap=PORT is missing").into());
        }
        Ok(target)
    }

    /// The process ids of the first process and of everything that descends from it.
    pub(super) fn processes(&self) -> Vec<u32> {
        let first = std::fs::read_to_string(&self.pid_file)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let parents = parents();
        let mut found: Vec<u32> = first.into_iter().collect();
        let mut at = 0;
        while let Some(&parent) = found.get(at) {
            found.extend(
                parents
                    .iter()
                    .filter(|(_, of)| **of == parent)
                    .map(|(pid, _)| *pid),
            );
            at += 1;
        }
        found
    }

    /// Processor time used so far by all processes and by children they have reaped, in milliseconds.
    pub(super) fn cpu_ms(&self) -> f64 {
        let ticks: u64 = self.processes().into_iter().filter_map(ticks).sum();
        ticks as f64 * 1000.0 / rustix::param::clock_ticks_per_second() as f64
    }

    /// Proportional resident memory of all processes, in KiB, and their number.
    pub(super) fn pss_kib(&self) -> (u64, usize) {
        let sizes = self.processes().into_iter().filter_map(|pid| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            text.lines().find_map(|line| {
                line.strip_prefix("Pss:")?
                    .trim()
                    .strip_suffix(" kB")?
                    .parse::<u64>()
                    .ok()
            })
        });
        let sizes: Vec<u64> = sizes.collect();
        (sizes.iter().sum(), sizes.len())
    }
}

/// Every process with its parent.
fn parents() -> BTreeMap<u32, u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, stat_field(pid, 1)?.try_into().ok()?)))
        .collect()
}

/// User and system time of a process and of its reaped children, in clock ticks.
fn ticks(pid: u32) -> Option<u64> {
    (11..15).map(|field| stat_field(pid, field)).sum()
}

/// A numeric field of `/proc/PID/stat`, counted from the one after the program's name.
fn stat_field(pid: u32, field: usize) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(field)?
        .parse()
        .ok()
}
