//! LMTP (RFC 2033): how mail comes in.
//!
//! [`LmtpSession`] speaks the protocol and shapes the message (trace fields, line ends, the rules about NUL and 8-bit
//! headers) while it streams into a sink; who the recipients are and where the message goes is decided by a
//! [`Deliverer`], in jobs. Extensions: PIPELINING, 8BITMIME, SIZE, ENHANCEDSTATUSCODES, IGNOREQUOTA, STARTTLS, AUTH.

pub use self::deliverer::{Deliverer, Envelope};
pub use self::mailboxes::{DeliveryOptions, Destination, StoreDeliverer};
pub use self::options::{Environment, LmtpOptions, SystemEnvironment};
pub use self::response::Reply;
pub use self::session::{LmtpService, LmtpSession};
pub use crate::eight_bit::EightBitHeaders;

mod command;
mod deliverer;
mod intake;
mod mailboxes;
mod options;
mod response;
mod session;
mod trace;
