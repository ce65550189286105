//! Going into the background such that the start returns 0 only when the server is up.
//!
//! The foreground process starts itself anew with a pipe as descriptor 3, and waits on it for one line: `0` when the
//! server is up, or the exit code and a message. Forking without a new program is not safe in Rust.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use rustix::process::setsid;

use super::{Fatal, Options};
use crate::sys;
use crate::syslog::{Level, log};

/// Which of the two processes this is.
pub(super) enum Side {
    /// The one that serves.
    Server(Startup),
    /// The one that was waiting; it ends with this code.
    Parent(u8),
}

/// The duty to tell the waiting parent how the start went.
pub(super) struct Startup {
    parent: Option<File>,
}

impl Startup {
    /// With `-d`, starts the server in the background and waits for it; otherwise this process is the server.
    pub(super) fn begin(options: &Options, args: &[OsString]) -> Result<Side, Fatal> {
        if std::env::var_os(BACKGROUND).is_some() {
            // Fails only for a process that already leads its session, which is what is wanted.
            let _ = setsid();
            return Ok(Side::Server(Self {
                parent: sys::inherited(sys::STATUS).map(File::from),
            }));
        }
        if !options.daemon {
            return Ok(Side::Server(Self { parent: None }));
        }
        let failed = |op: &str, error: std::io::Error| {
            Fatal::system(format!("cannot go into the background: {op}: {error}"))
        };
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| failed("pipe", error.into()))?;
        let program = std::env::current_exe().map_err(|error| failed("own program", error))?;
        let mut command = Command::new(program);
        command
            .args(args)
            .env(BACKGROUND, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let setup = sys::ChildSetup {
            status: Some(write.as_fd()),
            ..Default::default()
        };
        let mut child = sys::spawn(&mut command, setup).map_err(|error| failed("start", error))?;
        drop(write);
        let mut report = String::new();
        let _ = File::from(read).take(LONGEST_REPORT).read_to_string(&mut report);
        if report.trim() == "0" {
            return Ok(Side::Parent(0));
        }
        let (code, message) = report.split_once(' ').unwrap_or(("", ""));
        let code = code.parse::<u8>().ok().filter(|code| *code != 0);
        let status = child.wait().ok().and_then(|status| status.code());
        if !message.is_empty() {
            eprintln!("master: {}", message.trim_end());
        }
        let code = code.or_else(|| {
            status
                .and_then(|code| u8::try_from(code).ok())
                .filter(|code| *code != 0)
        });
        Ok(Side::Parent(code.unwrap_or(super::EX_OSERR)))
    }

    /// Tells the parent that the server is up.
    pub(super) fn ready(&mut self) {
        self.tell("0\n".to_owned());
    }

    /// Tells the parent why the server is not up.
    pub(super) fn failed(&mut self, fatal: &Fatal) {
        self.tell(format!("{} {}\n", fatal.code, fatal.message));
    }

    fn tell(&mut self, line: String) {
        if let Some(mut parent) = self.parent.take()
            && let Err(error) = parent.write_all(line.as_bytes())
        {
            log(
                Level::Notice,
                &format!("nobody waits for the start any more: {error}"),
            );
        }
        // The pipe had the number 3; no listener that is opened later may get it.
        crate::service::reserve_descriptors();
    }
}

/// Gives the standard files their place: nowhere, or into `-L`'s file, and untouched with `-D`.
pub(super) fn redirect_standard_files(options: &Options) -> Result<(), Fatal> {
    if options.debug {
        return Ok(());
    }
    let nowhere = OpenOptions::new().read(true).write(true).open("/dev/null");
    let nowhere = nowhere.map_err(|error| Fatal::system(format!("open /dev/null: {error}")))?;
    let output = match &options.log_file {
        Some(path) => OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|error| Fatal::config(format!("-L {}: {error}", path.display())))?,
        None => nowhere.try_clone().map_err(Fatal::system)?,
    };
    let placed = rustix::stdio::dup2_stdin(&nowhere)
        .and_then(|()| rustix::stdio::dup2_stdout(&output))
        .and_then(
            |()| match crate::syslog::verbose() && options.log_file.is_none() && !options.daemon {
                true => Ok(()),
                false => rustix::stdio::dup2_stderr(&output),
            },
        );
    placed.map_err(|error| Fatal::system(format!("redirect the standard files: {error}")))
}

/// Set in the environment of the process that serves in the background; not passed on to services.
pub(super) const BACKGROUND: &str = "CYRUS_MASTER_BACKGROUND";

const LONGEST_REPORT: u64 = 4096;
