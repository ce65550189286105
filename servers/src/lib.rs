//! What the daemons and tools share.

pub mod config;
pub mod cyrus_conf;
pub mod getopt;
pub mod limits;
pub mod master;
pub mod privilege;
pub mod procdir;
pub mod service;
mod sys;
pub mod syslog;
pub mod telemetry;
pub mod version;
