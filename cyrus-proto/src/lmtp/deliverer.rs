//! What a session asks of the store.

use super::response::Reply;
use crate::frame::Sink;

/// Finds recipients' mailboxes and puts messages into them.
///
/// [`resolve`](Self::resolve) and [`deliver`](Self::deliver) may block: sessions call them in jobs. The other two are
/// called between the client's bytes and must be quick.
pub trait Deliverer: Send + Sync + 'static {
    /// A recipient that was found.
    type Recipient: Send + 'static;

    /// Takes the octets of one message as they arrive. Dropping it drops the message.
    ///
    /// Small messages are best kept in memory until `deliver`, large ones written to a staging file. The header comes in
    /// pieces of a few octets, the body in large ones.
    type Stage: Sink + 'static;

    /// Whether this user, who has authenticated, may deliver mail.
    fn may_submit(&self, user: &str) -> bool;

    /// Finds a recipient: does the mailbox exist, may the sender post to it, is there room?
    ///
    /// `address` is what stood in `RCPT TO:<...>` without a source route: `fred`, `fred+folder@example.com`,
    /// `+shared.folder`, or nothing.
    ///
    /// # Errors
    /// The reply to the RCPT command.
    fn resolve(
        &self,
        envelope: &Envelope,
        address: &str,
        ignore_quota: bool,
    ) -> Result<Self::Recipient, Reply>;

    /// Prepares for a message to these recipients.
    ///
    /// # Errors
    /// The reply to the DATA command.
    fn stage(&self, envelope: &Envelope, recipients: &[Self::Recipient]) -> Result<Self::Stage, Reply>;

    /// Delivers a complete message; the replies are in the order of the recipients, one for each.
    ///
    /// A success means that the message is on stable storage.
    fn deliver(
        &self,
        envelope: &Envelope,
        message: Self::Stage,
        recipients: Vec<Self::Recipient>,
    ) -> Vec<Reply>;
}

/// What is known of a message besides the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// From the MAIL command, without the brackets; empty for `<>`.
    pub return_path: String,
    /// Who authenticated, or `postman` on connections that need not.
    pub user: String,
    /// Who submitted the message first, if the peer said so (`MAIL ... AUTH=`): whose rights count for posting.
    pub submitter: Option<String>,
    /// The size that the peer announced; 0 if it did not.
    pub announced_size: u64,
    /// The transaction's name in replies and logs.
    pub session_id: String,
}
