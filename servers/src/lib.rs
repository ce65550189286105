//! What the daemons and tools share.

pub mod bulletin;
pub mod config;
pub mod crowd;
pub mod cyradm;
pub mod cyrus_conf;
pub mod cyrusd;
pub mod daemon;
pub mod deliver;
pub mod denied;
pub mod engine;
pub mod environment;
#[doc(hidden)]
pub mod fuzz;
pub mod getopt;
pub mod idled;
pub mod limits;
pub mod listen;
pub mod logins;
pub mod master;
pub mod metrics;
pub mod places;
pub mod presence;
pub mod privilege;
pub mod procdir;
pub mod protocol;
pub mod renewal;
pub mod serve;
pub mod service;
pub mod settings;
pub mod surroundings;
mod sys;
pub mod syslog;
pub mod telemetry;
pub mod tools;
pub mod version;
