//! `master`: starts what cyrus.conf names, listens for the services, keeps them alive, and stops them all.
//!
//! Life: read imapd.conf and cyrus.conf, lock the pid file, run START as the starting user, bind every listener, become
//! the Cyrus user, start the daemons that are waited for, say that it is ready, then supervise until SIGTERM.
//! `docs/SERVICE-PROTOCOL.md` describes what passes between master and a service.

mod daemonize;
mod events;
mod files;
mod janitor;
mod process;
mod service;
mod signals;
mod start;
mod supervisor;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::{Config, ConfigError, DEFAULT_PATH, Opt};
use crate::cyrus_conf::{self, CyrusConf};
use crate::getopt;
use crate::syslog::{self, Level, log};
use crate::{limits, version};

use self::daemonize::Startup;
use self::supervisor::Supervisor;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Options {
    imapd_conf: PathBuf,
    cyrus_conf: PathBuf,
    pid_file: Option<PathBuf>,
    ready_file: Option<PathBuf>,
    log_file: Option<PathBuf>,
    backlog: i32,
    daemon: bool,
    debug: bool,
}

/// Why master gives up, with the exit code that Cyrus's master has for it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Fatal {
    code: u8,
    message: String,
}

impl Fatal {
    fn config(problem: impl ToString) -> Self {
        Self {
            code: ConfigError::EXIT_CODE,
            message: problem.to_string(),
        }
    }

    fn system(problem: impl ToString) -> Self {
        Self {
            code: EX_OSERR,
            message: problem.to_string(),
        }
    }
}

/// Runs master with the arguments `args` (without the program's name); returns the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    crate::service::reserve_descriptors();
    syslog::open_plain("master");
    let args: Vec<OsString> = args.into_iter().collect();
    let options = match options(&args) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("cyrus-imapd {}", version::cyrus_version());
            return 0;
        }
        Err(message) => {
            eprintln!("master: {message}\n{USAGE}");
            return EX_USAGE;
        }
    };
    let startup = match Startup::begin(&options, &args) {
        Ok(daemonize::Side::Server(startup)) => startup,
        Ok(daemonize::Side::Parent(code)) => return code,
        Err(fatal) => return give_up(&fatal),
    };
    match serve(&options, startup) {
        Ok(()) => 0,
        Err(fatal) => give_up(&fatal),
    }
}

fn serve(options: &Options, mut startup: Startup) -> Result<(), Fatal> {
    let outcome = begin(options);
    let mut supervisor = match outcome {
        Ok(supervisor) => supervisor,
        Err(fatal) => {
            startup.failed(&fatal);
            return Err(fatal);
        }
    };
    let ready = supervisor.bring_up();
    match ready {
        Ok(true) => {
            startup.ready();
            supervisor.run();
            Ok(())
        }
        Ok(false) => {
            // Told to stop before it was up.
            supervisor.stop();
            startup.failed(&Fatal::system("stopped by a signal before it was ready"));
            Ok(())
        }
        Err(fatal) => {
            supervisor.stop();
            startup.failed(&fatal);
            Err(fatal)
        }
    }
}

/// Everything up to the point from which there are children to stop.
fn begin(options: &Options) -> Result<Supervisor, Fatal> {
    let config = Config::load(&options.imapd_conf, "master").map_err(Fatal::config)?;
    syslog::open(&config);
    if options.debug || syslog::verbose() {
        syslog::to_stderr(true);
    }
    limits::raise_open_files();
    daemonize::redirect_standard_files(options)?;
    let conf_path = config.configdirectory();
    let pid_file = options
        .pid_file
        .clone()
        .or_else(|| config.file(Opt::MasterPidFile));
    let pid_file = files::PidFile::lock(&pid_file.unwrap_or_else(|| conf_path.join("master.pid")))?;
    let ready_file = options
        .ready_file
        .clone()
        .or_else(|| config.file(Opt::MasterReadyFile));
    let ready_file = files::ReadyFile::absent(ready_file.unwrap_or_else(|| conf_path.join("master.ready")));
    for report in config.reports() {
        log(Level::Warning, &report.to_string());
    }
    let conf = CyrusConf::load(&options.cyrus_conf).map_err(Fatal::config)?;
    for report in &conf.reports {
        log(Level::Warning, report);
    }
    log(Level::Debug, "process started");
    Supervisor::new(options.clone(), config, conf, pid_file, ready_file)
}

fn give_up(fatal: &Fatal) -> u8 {
    log(Level::Critical, &fatal.message);
    eprintln!("master: {fatal}");
    log(Level::Notice, "exiting");
    fatal.code
}

/// The options, or `None` for `-V`.
fn options(args: &[OsString]) -> Result<Option<Options>, String> {
    let line = getopt::parse(args.iter().cloned(), "C:M:L:l:p:r:j:dDV").map_err(|bad| bad.to_string())?;
    if line.has('V') {
        return Ok(None);
    }
    if let Some(extra) = line.arguments.first() {
        return Err(format!("unexpected argument '{extra}'"));
    }
    if line.has('d') && line.has('D') {
        return Err("unable to be both debug (-D) and daemon (-d)".to_owned());
    }
    let number = |letter: char, low: i32| match line.argument(letter) {
        None => Ok(None),
        Some(text) => match text.parse::<i32>() {
            Ok(number) if number >= low => Ok(Some(number)),
            _ => Err(format!("-{letter}: '{text}' is not a number from {low} up")),
        },
    };
    number('j', 1)?; // the table of children is a map here: there is nothing to sweep more often
    // Master changes its directory, so that names are made absolute now.
    let absolute = |path: &str| std::path::absolute(path).map_err(|error| format!("{path}: {error}"));
    let path = |letter| line.argument(letter).map(absolute).transpose();
    Ok(Some(Options {
        imapd_conf: path('C')?.unwrap_or_else(|| PathBuf::from(DEFAULT_PATH)),
        cyrus_conf: path('M')?.unwrap_or_else(|| PathBuf::from(cyrus_conf::DEFAULT_PATH)),
        pid_file: path('p')?,
        ready_file: path('r')?,
        log_file: path('L')?,
        backlog: number('l', 1)?.unwrap_or(DEFAULT_BACKLOG),
        daemon: line.has('d'),
        debug: line.has('D'),
    }))
}

const USAGE: &str = "\
usage: master [-C imapd.conf] [-M cyrus.conf] [-p pidfile] [-r readyfile] [-l backlog] [-j sweeps] [-L logfile] [-d | -D]
       master -V";
const EX_USAGE: u8 = 64;
const EX_OSERR: u8 = 71;
const DEFAULT_BACKLOG: i32 = 1024; // 32, Cyrus's default, drops connections when a thousand arrive at once

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Option<Options>, String> {
        options(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_switches_are_those_of_cyrus() {
        let options = parsed(&[
            "-C", "/c", "-M/m", "-p", "/p", "-r", "/r", "-l", "512", "-j", "4", "-d", "-L", "/l",
        ]);
        let options = options.unwrap().unwrap();
        assert_eq!(options.imapd_conf, PathBuf::from("/c"));
        assert_eq!(options.cyrus_conf, PathBuf::from("/m"));
        assert_eq!(options.pid_file, Some(PathBuf::from("/p")));
        assert_eq!(options.ready_file, Some(PathBuf::from("/r")));
        assert_eq!(
            (options.backlog, options.daemon, options.debug),
            (512, true, false)
        );
        assert_eq!(parsed(&["-V"]), Ok(None));
        for bad in [
            &["-d", "-D"][..],
            &["-l", "many"],
            &["-j", "0"],
            &["-Z"],
            &["extra"],
            &["-C"],
        ] {
            assert!(parsed(bad).is_err(), "{bad:?}");
        }
    }
}
