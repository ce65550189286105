//! Mail protocol sessions without I/O, and the mio core that serves them.

pub mod drive;
pub mod frame;
pub mod imap;
#[doc(hidden)]
pub mod fuzz;
pub mod job;
pub mod lmtp;
#[cfg(feature = "net")]
pub mod net;
pub mod output;
pub mod sasl;
