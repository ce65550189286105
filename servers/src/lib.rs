//! What the daemons and tools share.

pub mod config;
