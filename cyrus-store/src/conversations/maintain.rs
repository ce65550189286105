//! What `ctl_conversationsdb` does with the database of a user.

/// What an audit found.
#[derive(Clone, Debug, Default)]
pub struct AuditReport {}
/// Mailboxes.
#[derive(Clone, Debug, Default)]
pub struct Folders {}
