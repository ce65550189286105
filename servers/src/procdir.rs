//! The proc directory: one small file for each session, which `cyr_info proc` lists.
//!
//! A file is one line: service, client, user, mailbox and command, with tabs between them. What follows it is ignored by
//! every reader; here it is the process that owns the file, since one process has many sessions. A file's name must be a
//! number for today's tools to read it: the process's id followed by a session number. No process has such an id. Cyrus
//! takes the name for one, and sends SIGTERM to whoever has a mailbox open that it deletes at once: under the id itself that
//! would end every session of the process.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::config::Config;

/// The directory, as seen by one process.
#[derive(Clone, Debug)]
pub struct ProcDirectory {
    path: Arc<Path>,
    numbers: Numbers,
}

/// The numbers that name sessions of this process: its id for one of them, and the id with more digits for others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers(Arc<Mutex<Given>>);

/// Those that were given back, and how many were ever given out.
#[derive(Debug, Default)]
struct Given {
    free: Vec<u32>,
    given: usize,
}

/// What a session's file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionLine {
    /// The service's name in cyrus.conf.
    pub service: String,
    /// The client: `host [address]`.
    pub client: String,
    /// The user, once logged in.
    pub user: String,
    /// The selected mailbox.
    pub mailbox: String,
    /// The command in hand.
    pub command: String,
}

/// The file of one session; goes with the value.
#[derive(Debug)]
pub struct ProcFile {
    directory: ProcDirectory,
    number: u32,
}

impl ProcDirectory {
    /// The directory that the configuration names (`proc_path`); makes it if it is missing.
    pub fn open(config: &Config) -> io::Result<Self> {
        Self::at(config.proc_directory())
    }

    /// The directory at `path`; makes it if it is missing.
    pub fn at(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        Ok(Self {
            path: Arc::from(path),
            numbers: Numbers::default(),
        })
    }

    /// Makes the file of a new session.
    pub fn session(&self, line: &SessionLine) -> io::Result<ProcFile> {
        let number = self
            .numbers
            .take()
            .ok_or_else(|| io::Error::other("no number is free for a session's file"))?;
        let file = ProcFile {
            directory: self.clone(),
            number,
        };
        file.write(line)?;
        Ok(file)
    }
}

impl Numbers {
    fn lock(&self) -> MutexGuard<'_, Given> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A number that no session has now.
    pub(crate) fn take(&self) -> Option<u32> {
        let mut given = self.lock();
        if let Some(number) = given.free.pop() {
            return Some(number);
        }
        let number = number_of(std::process::id(), given.given)?;
        given.given += 1;
        Some(number)
    }

    /// Gives a number back.
    pub(crate) fn give(&self, number: u32) {
        self.lock().free.push(number);
    }
}

/// A file name of a process: its id with a session number from 1 on, as many as fit a tool's 32-bit number. It is above
/// every id that a process can have.
fn number_of(pid: u32, at: usize) -> Option<u32> {
    let width = (1..=9).rev().find(|width| {
        let scale = 10u64.pow(*width);
        u64::from(pid) * scale + scale - 1 <= LARGEST_NAME
    });
    let scale = 10u32.pow(width?);
    let session = u32::try_from(at).ok()?.checked_add(1)?;
    pid.checked_mul(scale)?
        .checked_add(session)
        .filter(|_| session < scale)
}

impl ProcFile {
    /// The session's number: the name of its file.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Changes what the file says. Readers see the old or the new line, never a part.
    pub fn write(&self, line: &SessionLine) -> io::Result<()> {
        let path = self.path();
        let new = path.with_extension("new");
        let fields = [
            &line.service,
            &line.client,
            &line.user,
            &line.mailbox,
            &line.command,
        ];
        let mut text = fields.map(|field| clean(field)).join("\t");
        text.push_str(&format!("\n{OWNER} {}\n", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, &path)
    }

    fn path(&self) -> PathBuf {
        self.directory.path.join(self.number.to_string())
    }
}

impl Drop for ProcFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
        self.directory.numbers.give(self.number);
    }
}

/// Removes the files of sessions whose process is gone; for the start of a daemon.
pub fn remove_stale(directory: &Path, is_alive: impl Fn(u32) -> bool) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if owner_of(&entry.path()).is_some_and(|owner| !is_alive(owner)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a process runs.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    // EPERM: it lives and belongs to somebody else.
    !matches!(test_kill_process(pid), Err(Errno::SRCH))
}

/// The process that owns a file of the directory; `None` for what is no session's file.
pub(crate) fn owner_of(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    let number = name.strip_suffix(".new").unwrap_or(name);
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let written = fs::read(path).ok()?;
    let owner = String::from_utf8_lossy(&written)
        .lines()
        .nth(1)
        .and_then(|line| line.strip_prefix(OWNER)?.trim().parse().ok());
    owner.or_else(|| number.parse().ok())
}

/// The sessions: the number of each file and its line, in the order of the directory.
pub fn sessions(directory: &Path) -> io::Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let Ok(number) = name.parse::<u32>() else { continue };
        if number.to_string() != name {
            continue;
        }
        let Ok(bytes) = fs::read(entry.path()) else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes);
        if let Some(line) = text.lines().next().filter(|line| line.contains('\t')) {
            found.push((number, line.to_owned()));
        }
    }
    Ok(found)
}

/// The sessions of other processes that are alive.
pub(crate) fn sessions_of_others(directory: &Path) -> Vec<SessionLine> {
    let own = std::process::id();
    let mut found = Vec::new();
    for (number, line) in sessions(directory).unwrap_or_default() {
        let owner = owner_of(&directory.join(number.to_string()));
        if owner.is_none_or(|owner| owner == own || !is_alive(owner)) {
            continue;
        }
        let mut fields = line.split('\t').map(str::to_owned);
        let mut next = || fields.next().unwrap_or_default();
        found.push(SessionLine {
            service: next(),
            client: next(),
            user: next(),
            mailbox: next(),
            command: next(),
        });
    }
    found
}

/// A field without the characters that would end it.
fn clean(field: &str) -> String {
    field
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

const OWNER: &str = "owner";
const LARGEST_NAME: u64 = i32::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Linux has no higher one.
    const LARGEST_PID: u32 = 1 << 22;

    fn line(user: &str) -> SessionLine {
        SessionLine {
            service: "imap".into(),
            client: "localhost [127.0.0.1]".into(),
            user: user.into(),
            ..Default::default()
        }
    }

    #[test]
    fn each_session_has_a_file_of_its_own_that_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let proc = ProcDirectory::at(dir.path().join("proc")).unwrap();
        let (first, second) = (
            proc.session(&line("a")).unwrap(),
            proc.session(&line("b")).unwrap(),
        );
        assert_ne!(second.number(), first.number());
        let text = fs::read_to_string(second.path()).unwrap();
        assert!(text.starts_with("imap\tlocalhost [127.0.0.1]\tb\t\t\n"), "{text}");
        assert_eq!(owner_of(&second.path()), Some(std::process::id()));
        second
            .write(&SessionLine {
                mailbox: "user.b\nroot".into(),
                ..line("b")
            })
            .unwrap();
        assert!(
            fs::read_to_string(second.path())
                .unwrap()
                .contains("\tuser.b?root\t")
        );
        assert_eq!(sessions(&dir.path().join("proc")).unwrap().len(), 2);
        drop((first, second));
        assert_eq!(fs::read_dir(dir.path().join("proc")).unwrap().count(), 0);
    }

    #[test]
    fn names_are_numbers_that_todays_tools_can_hold_and_no_process_has() {
        for pid in [1, 2, 41, 17_449, 32_768, 99_999, 4_194_304] {
            let names: Vec<u32> = (0..10_000).map_while(|at| number_of(pid, at)).collect();
            assert!(names.len() >= 99, "{pid}: {}", names.len());
            assert!(names.iter().all(|name| u64::from(*name) <= LARGEST_NAME));
            assert!(
                names.iter().all(|name| *name > LARGEST_PID),
                "{pid}: {}",
                names[0]
            );
            assert!(
                names
                    .iter()
                    .all(|name| name.to_string().starts_with(&pid.to_string()))
            );
            assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        }
    }

    #[test]
    fn files_of_dead_processes_are_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("11", "imap\ta\n"),
            ("1200001", "imap\ta\nowner 12\n"),
            ("notes", "x"),
            ("13", "imap\tb\n"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        remove_stale(dir.path(), |pid| pid == 13);
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["13", "notes"]);
    }
}
