//! Starting programs and finding the processes that they leave behind.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{self, ExitStatus};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::daemonize::BACKGROUND;
use crate::cyrus_conf::Command;
use crate::sys::{self, ChildSetup};

/// A program to run: what it is called and where it is.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) path: PathBuf,
    arguments: Vec<String>,
}

impl Program {
    /// Finds the program of an entry.
    ///
    /// A name without a slash in front is looked for beside master itself and in the directories that a Cyrus build
    /// puts its programs into, relative to that one.
    pub(super) fn of(command: &Command) -> Self {
        let (word, arguments) = command
            .argv
            .split_first()
            .map_or(("", &[][..]), |(word, rest)| (word.as_str(), rest));
        Self {
            name: command.name.clone(),
            path: find(Path::new(word)),
            arguments: arguments.to_vec(),
        }
    }

    /// Whether there is such a file.
    pub(super) fn exists(&self) -> bool {
        self.path.is_file()
    }

    /// Starts it with `variables` in the environment; returns the process id.
    pub(super) fn start(&self, variables: &[(&str, &str)], setup: ChildSetup<'_>) -> std::io::Result<u32> {
        let mut command = process::Command::new(&self.path);
        command.args(&self.arguments).env_remove(BACKGROUND);
        for (name, value) in variables {
            command.env(name, value);
        }
        // Reaped by the supervisor, which waits for any child: the handle is not needed.
        Ok(sys::spawn(&mut command, setup)?.id())
    }
}

fn find(word: &Path) -> PathBuf {
    if word.is_absolute() {
        return word.to_owned();
    }
    let own = std::env::current_exe().ok();
    let Some(beside) = own.as_deref().and_then(Path::parent) else {
        return word.to_owned();
    };
    let around = ["../sbin", "../bin", "../libexec"].map(|directory| beside.join(directory).join(word));
    let first = beside.join(word);
    std::iter::once(&first)
        .chain(&around)
        .find(|path| path.is_file())
        .cloned()
        .unwrap_or(first)
}

/// How a process ended, in the words of the log.
pub(super) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "exited normally".to_owned(),
        (Some(code), _) => format!("exited, status {code}"),
        (None, Some(signal)) => {
            let core = if status.core_dumped() {
                " (core dumped)"
            } else {
                ""
            };
            format!("signaled to death by signal {signal}{core}")
        }
        (None, None) => "ended".to_owned(),
    }
}

/// Sends `signal`; a process that is gone already needs none. `false` when the process belongs to somebody else.
pub(super) fn signal(pid: u32, signal: Signal) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return true;
    };
    !matches!(kill_process(pid, signal), Err(Errno::PERM))
}

/// The processes whose parent this one is, including those that lost theirs and were left to this one.
pub(super) fn children() -> Vec<u32> {
    let own = process::id();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = pid_of(&entry.file_name())?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            (parent_of(&stat)? == own).then_some(pid)
        })
        .collect()
}

fn pid_of(name: &OsStr) -> Option<u32> {
    name.to_str()?.parse().ok()
}

/// The fourth field of a stat file; the second is the program's name in parentheses, with anything in it.
fn parent_of(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_whatever_the_program_is_called() {
        assert_eq!(parent_of("12 (imapd) S 7 12 12 0"), Some(7));
        assert_eq!(parent_of("12 (a) S 9 (b)) S 7 12 12 0"), Some(7));
        assert_eq!(parent_of("garbage"), None);
    }

    #[test]
    fn a_child_is_among_the_children() {
        let mut child = process::Command::new("sleep").arg("5").spawn().unwrap();
        assert!(children().contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn an_absolute_program_is_taken_as_it_stands_and_arguments_are_kept() {
        let command = Command {
            name: "a".into(),
            argv: vec!["/bin/true".into(), "-x".into()],
        };
        let program = Program::of(&command);
        assert_eq!(program.path, Path::new("/bin/true"));
        assert_eq!(program.arguments, ["-x"]);
        assert!(program.exists());
        assert!(
            !Program::of(&Command {
                name: "a".into(),
                argv: vec!["no-such-program".into()]
            })
            .exists()
        );
    }
}
