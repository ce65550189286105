//! The two sets of programs that the tests set beside each other: Debian's Cyrus and this project's.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// One implementation's programs, all in one folder.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) name: &'static str,
    pub(crate) bin: PathBuf,
}

impl Programs {
    /// Debian's Cyrus; `None`, with the reason printed, where it is not installed.
    ///
    /// Panics instead when `CI` is set: there everything must be installed.
    pub(crate) fn real() -> Option<Self> {
        let real = Self {
            name: "real",
            bin: PathBuf::from("/usr/lib/cyrus/bin"),
        };
        let found = ["master", "imapd", "lmtpd"]
            .iter()
            .all(|program| real.bin.join(program).exists());
        found_or_skip(found, "Debian's cyrus-imapd is not installed").then_some(real)
    }

    /// What this workspace built; `None`, with the reason printed, while it has no daemons.
    pub(crate) fn ours() -> Option<Self> {
        let programs = [
            option_env!("CARGO_BIN_EXE_master"),
            option_env!("CARGO_BIN_EXE_imapd"),
            option_env!("CARGO_BIN_EXE_lmtpd"),
        ];
        let built = programs.iter().all(Option::is_some);
        if !found_or_skip(built, "this workspace builds no master, imapd and lmtpd") {
            return None;
        }
        let bin = programs[0].and_then(|path| Path::new(path).parent())?;
        Some(Self {
            name: "ours",
            bin: bin.to_owned(),
        })
    }

    /// The path of a program, if this implementation has it.
    pub(crate) fn find(&self, program: &str) -> Option<PathBuf> {
        let path = self.bin.join(program);
        path.exists().then_some(path)
    }

    /// The path of a program that this implementation must have.
    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.find(program)
            .unwrap_or_else(|| panic!("{} has no {program}", self.name))
    }

    /// The same programs where the service user can run them: `copies` if their own folder is closed to him.
    pub(crate) fn reachable(&self, copies: &Path) -> Self {
        if !is_root()
            || as_service_user("test")
                .args(["-x".as_ref(), self.path("imapd").as_os_str()])
                .status()
                .is_ok_and(|status| status.success())
        {
            return self.clone();
        }
        if !copies.exists() {
            std::fs::create_dir(copies).expect("a new folder for programs");
            for entry in std::fs::read_dir(&self.bin)
                .expect("the folder of programs")
                .flatten()
            {
                let path = entry.path();
                if path.is_file() && path.extension().is_none() {
                    std::fs::copy(&path, copies.join(entry.file_name())).expect("copying a program");
                }
            }
        }
        Self {
            name: self.name,
            bin: copies.to_owned(),
        }
    }
}

/// A command that will run as the user who owns the spool.
pub(crate) fn as_service_user(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid=cyrus", "--regid=mail", "--init-groups"]);
    }
    // A test that is killed takes its servers with it.
    command.arg("--pdeathsig=TERM").arg("--").arg(program);
    command
}

/// Whether the test itself runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The standard output of a command that must succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        both(&output)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard output and error of a finished command, as text.
pub(crate) fn both(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Whether a program is on the PATH; says so if not, and fails in CI.
pub(crate) fn has_client(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .any(|dir| dir.join(program).exists());
    found_or_skip(found, &format!("{program} is not installed"))
}

/// `found`, after saying why the test is skipped if it is false.
pub(crate) fn found_or_skip(found: bool, reason: &str) -> bool {
    if !found {
        assert!(
            std::env::var_os("CI").is_none(),
            "{reason}, and CI must have everything"
        );
        eprintln!("skipped: {reason}");
    }
    found
}
