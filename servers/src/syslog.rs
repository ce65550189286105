//! Log lines, by libc's `openlog` and `syslog`, and to stderr where somebody is watching.
//!
//! The ident is `<syslog_prefix>/<service>`, `cyrus/imap` by default, the facility local6 unless `syslog_facility` says
//! otherwise. An error line means that an administrator should act.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, RwLock};

use crate::config::{Config, Opt};
use crate::sys;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The server cannot do its work.
    Critical,
    /// Something failed that an administrator should look into.
    Error,
    /// Something is wrong, and the server copes.
    Warning,
    /// Logins, and what else is worth keeping.
    Notice,
    /// The course of work.
    Info,
    /// For debugging.
    Debug,
}

impl Level {
    fn number(self) -> c_int {
        match self {
            Self::Critical => libc::LOG_CRIT,
            Self::Error => libc::LOG_ERR,
            Self::Warning => libc::LOG_WARNING,
            Self::Notice => libc::LOG_NOTICE,
            Self::Info => libc::LOG_INFO,
            Self::Debug => libc::LOG_DEBUG,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// Opens the log under the plain name of a program, for what happens before imapd.conf is read.
pub fn open_plain(program: &str) {
    sys::open_log(program, libc::LOG_LOCAL6, false);
    name_is(program);
}

/// Opens the log as imapd.conf says, for the service that the configuration was read for.
pub fn open(config: &Config) {
    let prefix = config.text(Opt::SyslogPrefix);
    let ident = format!("{}/{}", prefix.as_deref().unwrap_or("cyrus"), config.service());
    let wanted = config.string(Opt::SyslogFacility);
    let number = facility(&wanted);
    let debug = config.switch(Opt::Debug) || verbose();
    DEBUG.store(debug, Ordering::Relaxed);
    sys::open_log(&ident, number.unwrap_or(libc::LOG_LOCAL6), debug);
    name_is(&ident);
    if number.is_none() && !wanted.is_empty() {
        log(
            Level::Warning,
            &format!("syslog_facility: '{wanted}' is no facility; using local6"),
        );
    }
}

/// Lets every line go to stderr as well, or not.
pub fn to_stderr(on: bool) {
    STDERR.store(on, Ordering::Relaxed);
}

/// Writes one line. Control characters, which could forge further lines, become `?`.
pub fn log(level: Level, text: &str) {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    sys::write_log(level.number(), &clean);
    if STDERR.load(Ordering::Relaxed) && (level < Level::Debug || DEBUG.load(Ordering::Relaxed)) {
        let name = NAME
            .get()
            .and_then(|name| name.read().ok().map(|name| name.clone()))
            .unwrap_or_default();
        eprintln!("{name}[{}]: {}: {clean}", std::process::id(), level.name());
    }
}

/// Takes the messages of the store and of sessions, which have no logger of their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreLog;

impl cyrus_store::Log for StoreLog {
    fn record(&self, level: cyrus_store::Level, what: std::fmt::Arguments<'_>) {
        if level == cyrus_store::Level::Debug && !DEBUG.load(Ordering::Relaxed) {
            return;
        }
        let level = match level {
            cyrus_store::Level::Debug => Level::Debug,
            cyrus_store::Level::Info => Level::Info,
            cyrus_store::Level::Notice => Level::Notice,
            cyrus_store::Level::Warning => Level::Warning,
            cyrus_store::Level::Error => Level::Error,
            cyrus_store::Level::Critical => Level::Critical,
        };
        log(level, &what.to_string());
    }
}

/// Whether the environment asks for more lines, on stderr too (`CYRUS_VERBOSE`).
pub fn verbose() -> bool {
    std::env::var("CYRUS_VERBOSE").is_ok_and(|level| !level.is_empty() && level != "0")
}

/// The number of a facility, with or without `LOG_` in front, in any case.
fn facility(name: &str) -> Option<c_int> {
    let name = name.to_ascii_lowercase();
    Some(match name.strip_prefix("log_").unwrap_or(&name) {
        "auth" => libc::LOG_AUTH,
        "authpriv" => libc::LOG_AUTHPRIV,
        "cron" => libc::LOG_CRON,
        "daemon" => libc::LOG_DAEMON,
        "ftp" => libc::LOG_FTP,
        "kern" => libc::LOG_KERN,
        "lpr" => libc::LOG_LPR,
        "mail" => libc::LOG_MAIL,
        "news" => libc::LOG_NEWS,
        "syslog" => libc::LOG_SYSLOG,
        "user" => libc::LOG_USER,
        "uucp" => libc::LOG_UUCP,
        "local0" => libc::LOG_LOCAL0,
        "local1" => libc::LOG_LOCAL1,
        "local2" => libc::LOG_LOCAL2,
        "local3" => libc::LOG_LOCAL3,
        "local4" => libc::LOG_LOCAL4,
        "local5" => libc::LOG_LOCAL5,
        "local6" => libc::LOG_LOCAL6,
        "local7" => libc::LOG_LOCAL7,
        _ => return None,
    })
}

fn name_is(name: &str) {
    let slot = NAME.get_or_init(|| RwLock::new(String::new()));
    if let Ok(mut slot) = slot.write() {
        name.clone_into(&mut slot);
    }
}

static STDERR: AtomicBool = AtomicBool::new(false);
static DEBUG: AtomicBool = AtomicBool::new(false);
static NAME: OnceLock<RwLock<String>> = OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_are_known_by_every_spelling() {
        assert_eq!(facility("LOCAL3"), Some(libc::LOG_LOCAL3));
        assert_eq!(facility("LOG_MAIL"), Some(libc::LOG_MAIL));
        assert_eq!(facility("daemon"), Some(libc::LOG_DAEMON));
        assert_eq!(facility("local8"), None);
        assert_eq!(facility(""), None);
    }
}
