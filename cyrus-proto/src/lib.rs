//! Mail protocol sessions without I/O, and the mio core that serves them.

mod deflate;
pub mod drive;
mod eight_bit;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
pub mod imap;
pub mod job;
pub mod lmtp;
#[cfg(feature = "net")]
pub mod net;
pub mod output;
pub mod sasl;
pub mod surroundings;
