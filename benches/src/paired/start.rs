//! Servers that the driver starts itself: real Cyrus, this project's, Dovecot; each with its own configuration and spool.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

use super::Error;
use super::arguments::Arguments;
use super::target::{Indexer, Target};
use super::wire::Imap;

/// How many users every server has: user1, user2, ...
pub(super) const USERS: usize = 50;

/// A server that ends with this value.
pub(super) struct Started {
    pub(super) target: Target,
    first: Child,
    folder: PathBuf,
    keep: bool,
}

/// Starts whatever the arguments ask for.
pub(super) fn all(arguments: &Arguments) -> Result<Vec<Started>, Error> {
    let mut started = Vec::new();
    for (kind, programs) in &arguments.start {
        match kind.as_str() {
            "cyrus" => started.push(cyrus(arguments, "cyrus", real_cyrus(programs))?),
            "ours" => started.push(cyrus(arguments, "ours", our_programs(programs))?),
            "dovecot" => started.push(dovecot(arguments)?),
            "installed" => {
                if real_cyrus(&None).join("master").exists() {
                    started.push(cyrus(arguments, "cyrus", real_cyrus(&None))?);
                }
                if Path::new("/usr/lib/dovecot/imap").exists() && Path::new("/usr/lib/dovecot/lmtp").exists()
                {
                    started.push(dovecot(arguments)?);
                }
                if our_programs(&None).join("master").exists() {
                    started.push(cyrus(arguments, "ours", our_programs(&None))?);
                }
            }
            _ => return Err(format!("--start {kind}: there is cyrus, dovecot, ours and installed").into()),
        }
    }
    Ok(started)
}

fn real_cyrus(programs: &Option<PathBuf>) -> PathBuf {
    programs.clone().unwrap_or_else(|| "/usr/lib/cyrus/bin".into())
}

/// Where release builds of this workspace are.
fn our_programs(programs: &Option<PathBuf>) -> PathBuf {
    let built = || {
        let this = std::env::current_exe().ok()?;
        let release = this
            .ancestors()
            .find(|folder| folder.file_name().is_some_and(|name| name == "release"))?;
        Some(release.to_owned())
    };
    programs
        .clone()
        .or_else(built)
        .unwrap_or_else(|| "target/release".into())
}

/// Starts Cyrus's `master` of a set of programs with Cyrus's defaults, and makes the users' mailboxes.
fn cyrus(arguments: &Arguments, name: &str, programs: PathBuf) -> Result<Started, Error> {
    let programs = fs::canonicalize(&programs).map_err(|error| format!("{}: {error}", programs.display()))?;
    let (folder, keep) = folder(arguments, name)?;
    let root = folder.display();
    let port = free_port()?;
    for part in [
        "conf/db",
        "conf/socket",
        "conf/proc",
        "conf/lock",
        "spool",
        "sieve",
    ] {
        fs::create_dir_all(folder.join(part))?;
    }
    let mut conf = format!(
        "configdirectory: {root}/conf\ndefaultpartition: default\npartition-default: {root}/spool\nsievedir: {root}/sieve\n\
         servername: localhost\nadmins: admin\nallowplaintext: yes\nlmtpsocket: {root}/lmtp.sock\n\
         sasl_pwcheck_method: auxprop\nsasl_auxprop_plugin: sasldb\nsasl_sasldb_path: {root}/sasldb2\n\
         sasl_mech_list: PLAIN LOGIN\n"
    );
    let indexer = (name == "ours").then(|| {
        // Without an index, which comes later, nothing is different; real Cyrus's searches would find nothing.
        conf.push_str("search_engine: squat\n");
        let mut command: Vec<OsString> = Vec::new();
        if is_root() {
            command
                .extend(["setpriv", "--reuid=cyrus", "--regid=mail", "--init-groups", "--"].map(Into::into));
        }
        command.extend([
            programs.join("squatter").into(),
            "-C".into(),
            folder.join("imapd.conf").into(),
        ]);
        Indexer {
            command,
            folder: folder.join("conf/search"),
        }
    });
    if !is_root() {
        conf.push_str(&format!(
            "cyrus_user: {}\n",
            output(Command::new("id").arg("-un"))?.trim()
        ));
    }
    fs::write(folder.join("imapd.conf"), conf)?;
    let program = |program: &str| format!("{} -C {root}/imapd.conf", programs.join(program).display());
    fs::write(
        folder.join("cyrus.conf"),
        format!(
            "START {{\n  recover cmd=\"{} -r\"\n}}\nSERVICES {{\n  imap cmd=\"{}\" listen=\"127.0.0.1:{port}\"\n  \
             lmtp cmd=\"{}\" listen=\"{root}/lmtp.sock\"\n}}\nEVENTS {{\n}}\n",
            program("ctl_cyrusdb"),
            program("imapd"),
            program("lmtpd"),
        ),
    )?;
    for user in (1..=USERS)
        .map(|number| format!("user{number}"))
        .chain(["admin".to_owned()])
    {
        let mut child = Command::new("/usr/sbin/saslpasswd2")
            .args(["-c", "-p", "-u", "localhost", "-f"])
            .args([folder.join("sasldb2").as_os_str(), user.as_ref()])
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| format!("saslpasswd2: {error}"))?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(b"pass")?;
        }
        child.wait()?;
    }
    if is_root() {
        output(Command::new("chown").args(["-R", "cyrus:mail"]).arg(&folder))?;
    }
    let mut command = guarded(is_root(), programs.join("master"));
    command
        .arg("-C")
        .arg(folder.join("imapd.conf"))
        .arg("-M")
        .arg(folder.join("cyrus.conf"));
    command
        .arg("-p")
        .arg(folder.join("master.pid"))
        .args(["-l", "512"]);
    let target = Target {
        name: name.to_owned(),
        imap: port,
        lmtp: folder.join("lmtp.sock"),
        pid_file: folder.join("master.pid"),
        indexer,
    };
    let started = launch(command, target, folder.clone(), keep)?;
    let mut admin = Imap::login(&started.target, "admin")?;
    for number in 1..=USERS {
        // A folder of an earlier run has them already.
        let _ = admin.command(format!("CREATE user/user{number}").as_bytes());
    }
    Ok(started)
}

/// Starts Dovecot with sdbox mailboxes and its own defaults for durability.
fn dovecot(arguments: &Arguments) -> Result<Started, Error> {
    if !is_root() {
        return Err("Dovecot can be started by root only".into());
    }
    let (folder, keep) = folder(arguments, "dovecot")?;
    let root = folder.display();
    let port = free_port()?;
    for part in ["run", "state", "mail"] {
        fs::create_dir_all(folder.join(part))?;
    }
    output(Command::new("chown").args(["mail:mail"]).arg(folder.join("mail")))?;
    let conf = format!(
        "base_dir = {root}/run\nstate_dir = {root}/state\nlog_path = {root}/dovecot.log\nprotocols = imap lmtp\n\
         listen = 127.0.0.1\nssl = no\ndisable_plaintext_auth = no\nauth_mechanisms = plain login\n\
         passdb {{\n  driver = static\n  args = password=pass\n}}\n\
         userdb {{\n  driver = static\n  args = uid=mail gid=mail home={root}/mail/%u allow_all_users=yes\n}}\n\
         first_valid_uid = 1\nmail_location = sdbox:~/sdbox\nnamespace inbox {{\n  inbox = yes\n  separator = /\n}}\n\
         mail_plugins = quota\nplugin {{\n  quota = count:User quota\n  quota_vsizes = yes\n  quota_rule = *:storage=20G\n}}\n\
         protocol imap {{\n  mail_plugins = quota imap_quota\n  mail_max_userip_connections = 5000\n}}\n\
         protocol lmtp {{\n  mail_plugins = quota\n  postmaster_address = postmaster@localhost\n}}\n\
         default_process_limit = 2000\ndefault_client_limit = 20000\nservice imap {{\n  process_limit = 2000\n}}\n\
         service imap-login {{\n  inet_listener imap {{\n    port = {port}\n  }}\n  inet_listener imaps {{\n    port = 0\n  }}\n}}\n\
         service lmtp {{\n  unix_listener {root}/lmtp.sock {{\n    mode = 0666\n  }}\n}}\n"
    );
    fs::write(folder.join("dovecot.conf"), conf)?;
    let mut command = guarded(false, "dovecot".into());
    command.arg("-F").arg("-c").arg(folder.join("dovecot.conf"));
    let target = Target {
        name: "dovecot".to_owned(),
        imap: port,
        lmtp: folder.join("lmtp.sock"),
        pid_file: folder.join("run/master.pid"),
        indexer: None,
    };
    launch(command, target, folder, keep)
}

/// A command that ends when the driver does; as the service user if asked.
fn guarded(as_cyrus: bool, program: PathBuf) -> Command {
    let mut command = Command::new("setpriv");
    if as_cyrus {
        command.args(["--reuid=cyrus", "--regid=mail", "--init-groups"]);
    }
    command.args(["--pdeathsig=TERM", "--"]).arg(program);
    command
}

/// Starts a first process in the foreground and waits until the server listens.
fn launch(mut command: Command, target: Target, folder: PathBuf, keep: bool) -> Result<Started, Error> {
    let log = fs::File::create(folder.join("stderr.log"))?;
    command
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    let first = command
        .spawn()
        .map_err(|error| format!("starting {}: {error}", target.name))?;
    let mut started = Started {
        target,
        first,
        folder,
        keep,
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", started.target.imap)).is_err() || !started.target.lmtp.exists() {
        if let Some(status) = started.first.try_wait()? {
            let log = fs::read_to_string(started.folder.join("stderr.log")).unwrap_or_default();
            return Err(format!("{} ended at once: {status}\n{log}", started.target.name).into());
        }
        if Instant::now() > deadline {
            return Err(format!("{} does not listen after 30 seconds", started.target.name).into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(started)
}

impl Drop for Started {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.first);
        // Whatever fails here, the folder is still to be removed.
        let _ = kill_process(group, Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.first.try_wait().is_ok_and(|status| status.is_none())
            || test_kill_process_group(group).is_ok()
        {
            if Instant::now() > deadline {
                let _ = kill_process_group(group, Signal::KILL);
                let _ = self.first.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if !self.keep {
            let _ = fs::remove_dir_all(&self.folder);
            // The folder above goes with the last server in it.
            let _ = self.folder.parent().map(fs::remove_dir);
        }
    }
}

/// The folder of a server, and whether it is to be kept.
fn folder(arguments: &Arguments, name: &str) -> io::Result<(PathBuf, bool)> {
    let keep = arguments.dir.is_some();
    let base = arguments
        .dir
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("paired-{}", std::process::id())));
    let folder = base.join(name);
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&base, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok((fs::canonicalize(folder)?, keep))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn output(command: &mut Command) -> Result<String, Error> {
    let output = command.output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// A port outside the range that outgoing connections draw theirs from.
fn free_port() -> Result<u16, Error> {
    let start = 12_000 + std::process::id() % 4000;
    let mut ports = (start..start + 4000).filter_map(|port| u16::try_from(port).ok());
    let free = ports.find(|&port| {
        // Two servers of one run must not be given the same port before they listen.
        !TAKEN.lock().is_ok_and(|taken| taken.contains(&port))
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
    });
    let port = free.ok_or("no free port")?;
    if let Ok(mut taken) = TAKEN.lock() {
        taken.push(port);
    }
    Ok(port)
}

static TAKEN: std::sync::Mutex<Vec<u16>> = std::sync::Mutex::new(Vec::new());
