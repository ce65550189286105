//! A master in a directory of its own.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Where Debian's Cyrus has its programs.
pub const REAL: &str = "/usr/lib/cyrus/bin";

/// The programs of real Cyrus, or `None` with the reason printed.
pub fn real_cyrus(test: &str) -> Option<&'static str> {
    if Path::new(REAL).join("master").is_file() {
        return Some(REAL);
    }
    println!("{test}: skipped, there is no Cyrus in {REAL}");
    None
}

/// The path of an example program of this crate; builds it when cargo has not (as with `cargo test --test`).
pub fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile = own.parent().unwrap().parent().unwrap();
    let path = profile.join("examples").join(name);
    if !path.is_file() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "--example", name, "--target-dir"])
            .arg(profile.parent().unwrap());
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(cargo.status().unwrap().success());
    }
    path
}

pub struct Rig {
    dir: tempfile::TempDir,
    base: u16,
    /// The user that services run as: the one of Debian's package if the test is run by root.
    user: String,
    output: String,
}

impl Rig {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("master")
            .tempdir_in("/tmp")
            .unwrap();
        let user = if is_root() { service_user() } else { String::new() };
        let rig = Self {
            dir,
            base: free_ports(),
            user,
            output: String::new(),
        };
        for directory in ["conf", "conf/socket", "conf/db", "conf/proc", "conf/log", "spool"] {
            fs::create_dir_all(rig.path(directory)).unwrap();
        }
        fs::write(rig.path("log"), "").unwrap();
        rig.imapd_conf("");
        rig.own_everything();
        rig
    }

    /// Gives the directory to the user that services run as.
    pub fn own_everything(&self) {
        fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if is_root() {
            let done = Command::new("chown")
                .args(["-R", &self.user])
                .arg(self.dir.path())
                .status()
                .unwrap();
            assert!(done.success());
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn address(&self, at: u16) -> (&'static str, u16) {
        ("127.0.0.1", self.base + at)
    }

    pub fn imapd_conf(&self, more: &str) {
        let dir = self.dir.path().display();
        let text = format!("configdirectory: {dir}/conf\npartition-default: {dir}/spool\n{more}");
        fs::write(self.path("imapd.conf"), text).unwrap();
    }

    /// Writes cyrus.conf; DIR and BASEn stand for the directory and the ports.
    pub fn cyrus_conf(&self, text: &str) {
        let mut text = text.replace("DIR", &self.dir.path().display().to_string());
        for at in 0..10 {
            text = text.replace(&format!("BASE{at}"), &(self.base + at).to_string());
        }
        fs::write(self.path("cyrus.conf"), text).unwrap();
    }

    pub fn script(&self, name: &str, text: &str) {
        let text = format!(
            "#!/bin/sh\n{}\n",
            text.replace("DIR", &self.dir.path().display().to_string())
        );
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        self.own_everything();
    }

    /// Runs master and returns its exit code; kills it when it does not come back.
    pub fn start(&mut self, switches: &[&str]) -> i32 {
        self.start_program(env!("CARGO_BIN_EXE_master"), switches)
    }

    /// Runs another master with the same configuration.
    pub fn start_program(&mut self, program: &str, switches: &[&str]) -> i32 {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "60", program]);
        command
            .arg("-C")
            .arg(self.path("imapd.conf"))
            .arg("-M")
            .arg(self.path("cyrus.conf"));
        command.arg("-p").arg(self.path("conf/master.pid")).args(switches);
        if !self.user.is_empty() {
            command.env("CYRUS_USER", &self.user);
        }
        let error = fs::File::create(self.path("stderr")).unwrap();
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(error)
            .status()
            .unwrap();
        self.output = fs::read_to_string(self.path("stderr")).unwrap();
        status.code().unwrap()
    }

    /// What the last start wrote to stderr.
    pub fn output(&self) -> &str {
        &self.output
    }

    /// What the scripts have written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    pub fn pid(&self) -> u32 {
        fs::read_to_string(self.path("conf/master.pid"))
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    /// The processes that know this directory: from their command line or working directory.
    pub fn processes(&self) -> Vec<u32> {
        let dir = self.dir.path().to_str().unwrap();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let cwd = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            if pid != std::process::id()
                && is_running(pid)
                && (String::from_utf8_lossy(&line).contains(dir) || cwd.starts_with(dir))
            {
                found.push(pid);
            }
        }
        found
    }

    /// Stops master and waits for its end.
    pub fn stop(&self) {
        let pid = self.pid();
        kill("TERM", pid);
        let deadline = Instant::now() + Duration::from_secs(30);
        while is_running(pid) {
            assert!(Instant::now() < deadline, "master does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for pid in self.processes() {
            kill("KILL", pid);
        }
    }
}

/// The first of ten ports that nobody uses, between 24000 and 24999.
///
/// Tests run side by side, in several checkouts too: each process begins elsewhere.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = (std::process::id() % 100) as u16;
    for _ in 0..200 {
        let block = (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 100;
        let base = 24_000 + block * 10;
        if (base..base + 10).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
    panic!("no ports are free between 24000 and 24999");
}

/// Whether a process runs; one that has ended and waits to be collected does not.
fn is_running(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

pub fn kill(signal: &str, pid: u32) {
    let _ = Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// Waits until something is so.
pub fn eventually(what: &str, check: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !check() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether Cyrus's own master can run: as root, or as the user it would become.
pub fn may_run_cyrus_master(test: &str) -> bool {
    let may = is_root() || own_user() == "cyrus";
    if !may {
        println!("{test}: skipped, Cyrus's master runs only for root and for the user cyrus");
    }
    may
}

/// The user that the test runs as.
pub fn own_user() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid())
        .unwrap()
        .unwrap()
        .name
}

fn service_user() -> String {
    let known = |name: &str| matches!(nix::unistd::User::from_name(name), Ok(Some(_)));
    if known("cyrus") {
        "cyrus".to_owned()
    } else {
        "nobody".to_owned()
    }
}
