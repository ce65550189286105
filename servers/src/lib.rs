//! What the daemons and tools share.

pub mod config;
pub mod cyrus_conf;
pub mod daemon;
#[doc(hidden)]
pub mod fuzz;
pub mod getopt;
pub mod limits;
pub mod listen;
pub mod master;
pub mod privilege;
pub mod procdir;
pub mod service;
mod sys;
pub mod syslog;
pub mod telemetry;
pub mod tools;
pub mod version;
