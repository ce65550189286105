//! START: commands that run to their end, one after the other.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, waitpid};

use super::process::{self, Program};
use super::signals::Signals;
use super::{EX_OSERR, Fatal};
use crate::cyrus_conf::Command;
use crate::sys::ChildSetup;
use crate::syslog::{Level, log};

/// Runs them all; `false` when a signal asked to stop meanwhile.
pub(super) fn run(commands: &[Command], signals: &Signals) -> Result<bool, Fatal> {
    for command in commands {
        let program = Program::of(command);
        let path = program.path.display().to_string();
        let began = Instant::now();
        let pid = program.start(&[], ChildSetup::default()).map_err(|error| Fatal {
            code: if error.kind() == std::io::ErrorKind::NotFound {
                START_FAILED
            } else {
                EX_OSERR
            },
            message: format!(
                "can't run startup: can't exec {path} for entry '{}': {error}",
                program.name
            ),
        })?;
        let Some(status) = wait_for(pid, signals) else {
            return Ok(false);
        };
        let line = format!(
            "process type:START name:{} path:{path} age:{:.3}s pid:{pid} {}",
            program.name,
            began.elapsed().as_secs_f64(),
            process::ending(status)
        );
        if !status.success() {
            return Err(Fatal {
                code: START_FAILED,
                message: format!("can't run startup: {line}"),
            });
        }
        log(Level::Debug, &line);
    }
    Ok(true)
}

/// Waits for one child; stops it when a signal asks to stop, and then returns `None`.
fn wait_for(pid: u32, signals: &Signals) -> Option<std::process::ExitStatus> {
    use std::os::unix::process::ExitStatusExt;
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    let mut told = false;
    loop {
        match waitpid(Some(raw), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => {
                let status = std::process::ExitStatus::from_raw(status.as_raw());
                return (!signals.stop()).then_some(status);
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
        if signals.stop() && !told {
            process::signal(pid, Signal::TERM);
            told = true;
        }
        let descriptor = signals.descriptor();
        let mut set = [PollFd::new(&descriptor, PollFlags::IN)];
        let second = Timespec::try_from(Duration::from_secs(1)).ok();
        let _ = poll(&mut set, second.as_ref());
        signals.drain();
    }
}

const START_FAILED: u8 = 1;
