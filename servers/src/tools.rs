//! The administrator's and user's programs: each a function from arguments to an exit code.

pub mod arbitron;
pub mod arbitronsort;
pub mod chk_cyrus;
pub mod ctl_conversationsdb;
pub mod ctl_cyrusdb;
pub mod ctl_deliver;
pub mod ctl_mboxlist;
pub mod cvt_cyrusdb;
pub mod cvt_xlist_specialuse;
pub mod cyr_acl;
pub mod cyr_buildinfo;
pub mod cyr_dbtool;
pub mod cyr_deny;
pub mod cyr_df;
pub mod cyr_expire;
pub mod cyr_info;
pub mod cyr_pwd;
pub mod cyr_snapshot;
pub mod cyr_userseen;
pub mod cyr_verify;
pub mod cyr_withlock_run;
mod databases;
pub mod ipurge;
mod matching;
pub mod mbexamine;
pub mod mbpath;
pub mod mbtool;
pub mod mkimap;
mod progress;
pub mod quota;
pub mod reconstruct;
pub mod relocate_by_id;

pub mod squatter;
mod time;
pub mod tls_prune;
pub mod unexpunge;

use cyrus_store::{Store, StoreOptions};

use crate::config::{Config, ConfigError};
use crate::{limits, privilege, settings, syslog};

/// Reads imapd.conf for a tool; says what is wrong with it and gives the exit code if it cannot be used.
fn load_config(path: Option<&str>, service: &str) -> Result<Config, u8> {
    Config::load(path.unwrap_or(crate::config::DEFAULT_PATH), service)
        .map_err(|error| fatal(&error, ConfigError::EXIT_CODE))
}

/// The same for a tool that works on the server's files: opens the log, becomes the Cyrus user, sets the mask.
fn enter(path: Option<&str>, service: &str) -> Result<Config, u8> {
    let config = load_config(path, service)?;
    syslog::open(&config);
    syslog::to_stderr(syslog::verbose());
    privilege::become_cyrus_user(&config).map_err(|error| fatal(&error, ConfigError::EXIT_CODE))?;
    limits::set_umask(&config);
    Ok(config)
}

/// The mail store of a configuration; `adapt` may change what the configuration says.
fn open_store(config: &Config, adapt: impl FnOnce(&mut StoreOptions)) -> Result<Store, u8> {
    let mut options = settings::store(config).map_err(|error| fatal(&error, ConfigError::EXIT_CODE))?;
    adapt(&mut options);
    Store::open(options).map_err(|error| fatal(&error, ConfigError::EXIT_CODE))
}

/// Reports what makes the tool give up, and returns the exit code.
fn fatal(error: &dyn std::fmt::Display, code: u8) -> u8 {
    eprintln!("fatal error: {error}");
    code
}

/// The exit code of Cyrus's tools for wrong switches: -1 as the system sees it.
const USAGE: u8 = 255;
/// The command line of other tools of Cyrus is wrong (`EX_USAGE`).
const BAD_USAGE: u8 = 64;
/// What is asked for cannot be had here (`EX_UNAVAILABLE`).
const UNAVAILABLE: u8 = 69;
/// The input, or a file of the spool, is not as it should be (`EX_DATAERR`).
const DATA_ERROR: u8 = 65;
/// A database or the system did not do what was asked (`EX_TEMPFAIL`).
const TEMPORARY: u8 = 75;
/// The program cannot go on (`EX_SOFTWARE`).
const SOFTWARE: u8 = 70;
/// `EX_OSERR`, which Cyrus's database tools have for relative paths.
const OS_ERROR: u8 = 71;
