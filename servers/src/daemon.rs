//! How every daemon begins: settings, log, user, limits.

use crate::config::{Config, ConfigError, DEFAULT_PATH};
use crate::service::MasterLink;
use crate::syslog::{self, Level, log};
use crate::{limits, privilege, procdir};

/// A daemon that is ready to serve.
#[derive(Debug)]
pub struct Daemon {
    /// The settings of its service.
    pub config: Config,
    /// The master that started it, if one did.
    pub master: Option<MasterLink>,
}

/// Begins a daemon: call it first of all.
///
/// The service is the one that master names, or `service` for a daemon that is started by hand; such a daemon writes its
/// log to stderr as well. On return the log is open, the process belongs to the Cyrus user (if it was root's), new files
/// are private, open files are limited only by the system, files of dead sessions are gone, and what is doubtful in the
/// settings has been logged.
///
/// # Errors
/// The exit code; the reason has been logged and written to stderr.
pub fn begin(imapd_conf: Option<&str>, service: &str) -> Result<Daemon, u8> {
    let master = MasterLink::take();
    let service = master.as_ref().map_or(service, MasterLink::service).to_owned();
    let config = match Config::load(imapd_conf.unwrap_or(DEFAULT_PATH), &service) {
        Ok(config) => config,
        Err(error) => {
            syslog::open_plain(&format!("cyrus/{service}"));
            return Err(give_up(&error));
        }
    };
    syslog::open(&config);
    syslog::to_stderr(master.is_none() || syslog::verbose());
    privilege::become_cyrus_user(&config).map_err(|error| give_up(&error))?;
    limits::set_umask(&config);
    limits::raise_open_files();
    procdir::remove_stale(&config.proc_directory(), procdir::is_alive);
    for report in config.reports() {
        log(Level::Warning, &report.to_string());
    }
    Ok(Daemon { config, master })
}

fn give_up(error: &dyn std::fmt::Display) -> u8 {
    fail(ConfigError::EXIT_CODE, &error.to_string())
}

/// Says why the program ends, in the log and on stderr, and returns `code`.
pub fn fail(code: u8, why: &str) -> u8 {
    log(Level::Critical, why);
    eprintln!("fatal error: {why}");
    code
}

/// Exit codes of sysexits.h, as Cyrus's programs use them.
pub mod exit {
    /// Wrong switches or arguments.
    pub const USAGE: u8 = 64;
    /// Something is not as it should be, and not for the user to mend.
    pub const SOFTWARE: u8 = 70;
    /// The operating system refused.
    pub const OSERR: u8 = 71;
    /// Try again later.
    pub const TEMPFAIL: u8 = 75;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;
}
