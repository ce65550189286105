//! The administrator's and user's programs: each a function from arguments to an exit code.

pub mod cyr_buildinfo;
pub mod cyr_info;
pub mod mkimap;

use crate::config::{Config, ConfigError};

/// Reads imapd.conf for a tool; says what is wrong with it and gives the exit code if it cannot be used.
fn load_config(path: Option<&str>, service: &str) -> Result<Config, u8> {
    Config::load(path.unwrap_or(crate::config::DEFAULT_PATH), service).map_err(|error| fatal(&error))
}

/// Reports a configuration that cannot be used.
fn fatal(error: &dyn std::fmt::Display) -> u8 {
    eprintln!("fatal error: {error}");
    ConfigError::EXIT_CODE
}

/// The exit code of Cyrus's tools for wrong switches: -1 as the system sees it.
const USAGE: u8 = 255;
