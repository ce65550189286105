//! Mail protocol sessions without I/O, and the mio core that serves them.

pub mod drive;
pub mod frame;
pub mod job;
#[cfg(feature = "net")]
pub mod net;
pub mod output;
pub mod sasl;
