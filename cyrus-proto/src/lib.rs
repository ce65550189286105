//! Mail protocol sessions without I/O, and the mio core that serves them.

pub mod frame;
pub mod imap;
pub mod job;
pub mod output;
