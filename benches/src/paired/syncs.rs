//! How often a server makes the disk write, per operation: counted with strace, so that servers are compared at equal
//! durability.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::target::Target;

const CALLS: &str = "fsync,fdatasync,sync_file_range,syncfs,sync,msync";

/// Runs an operation `count` times while all processes of the server are traced; synchronizing calls per operation, with
/// their names.
pub(super) fn per_operation(
    target: &Target,
    count: u32,
    mut operation: impl FnMut() -> io::Result<()>,
) -> io::Result<(f64, String)> {
    // Once before, so that the processes that will do it are there to be traced.
    operation()?;
    let summary = std::env::temp_dir().join(format!("paired-{}.strace", std::process::id()));
    let mut command = Command::new("strace");
    command
        .args([
            "-f",
            "-c",
            "-U",
            "calls,name",
            "-e",
            &format!("trace={CALLS}"),
            "-o",
        ])
        .arg(&summary);
    for pid in target.processes() {
        command.arg("-p").arg(pid.to_string());
    }
    let mut tracer = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::sleep(Duration::from_millis(700));
    let mut outcome = Ok(());
    for _ in 0..count {
        outcome = operation();
        if outcome.is_err() {
            break;
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    kill_process(Pid::from_child(&tracer), Signal::INT)?;
    tracer.wait()?;
    let counted = read(&summary);
    let _ = std::fs::remove_file(&summary);
    outcome.and(Ok(()))?;
    let counted = counted?;
    let total: u64 = counted.iter().map(|(_, calls)| calls).sum();
    let names: Vec<String> = counted
        .iter()
        .map(|(name, calls)| format!("{name} {:.1}", *calls as f64 / f64::from(count)))
        .collect();
    Ok((total as f64 / f64::from(count), names.join(", ")))
}

/// The lines `calls name` of strace's summary, without its total.
fn read(summary: &Path) -> io::Result<Vec<(String, u64)>> {
    let text = std::fs::read_to_string(summary)?;
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let calls = words.next()?.parse().ok()?;
        let name = words.next().filter(|name| *name != "total")?;
        Some((name.to_owned(), calls))
    });
    Ok(lines.collect())
}
