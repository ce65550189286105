//! What the daemons and tools share.

pub mod config;
pub mod cyrus_conf;
