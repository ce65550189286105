//! The names of commands, and the state each needs.

/// What a command needs of the session's state (RFC 3501, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// Any state will do; the command itself may say more.
    Nothing,
    /// A login.
    Authenticated,
    /// A selected mailbox.
    Selected,
}

/// The name of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are those of the RFCs
pub enum Verb {
    Append,
    Authenticate,
    CancelUpdate,
    Capability,
    Check,
    Close,
    Comparator,
    Compress,
    Copy,
    Create,
    Delete,
    DeleteAcl,
    Enable,
    Esearch,
    Examine,
    Expunge,
    Fetch,
    GenUrlAuth,
    GetAcl,
    GetAnnotation,
    GetMetadata,
    GetQuota,
    GetQuotaRoot,
    Id,
    Idle,
    Language,
    List,
    ListRights,
    Login,
    Logout,
    Lsub,
    Move,
    MyRights,
    Namespace,
    Noop,
    Notify,
    Rename,
    Replace,
    ResetKey,
    Rlist,
    Rlsub,
    Search,
    Select,
    SetAcl,
    SetAnnotation,
    SetMetadata,
    SetQuota,
    Sort,
    StartTls,
    Status,
    Store,
    Subscribe,
    Thread,
    Uid,
    UidBatches,
    Unauthenticate,
    Unselect,
    Unsubscribe,
    UrlFetch,
    Xlist,
    Xmove,
    Xwarmup,
}

impl Verb {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().map(|(verb, ..)| *verb)
    }

    const ALL: &'static [(Self, &'static str, Needs)] = &[
        (Self::Append, "Append", Needs::Authenticated),
        (Self::Authenticate, "Authenticate", Needs::Nothing),
        (Self::CancelUpdate, "Cancelupdate", Needs::Selected),
        (Self::Capability, "Capability", Needs::Nothing),
        (Self::Check, "Check", Needs::Selected),
        (Self::Close, "Close", Needs::Selected),
        (Self::Comparator, "Comparator", Needs::Authenticated),
        (Self::Compress, "Compress", Needs::Authenticated),
        (Self::Copy, "Copy", Needs::Selected),
        (Self::Create, "Create", Needs::Authenticated),
        (Self::Delete, "Delete", Needs::Authenticated),
        (Self::DeleteAcl, "Deleteacl", Needs::Authenticated),
        (Self::Enable, "Enable", Needs::Authenticated),
        (Self::Esearch, "Esearch", Needs::Authenticated),
        (Self::Examine, "Examine", Needs::Authenticated),
        (Self::Expunge, "Expunge", Needs::Selected),
        (Self::Fetch, "Fetch", Needs::Selected),
        (Self::GenUrlAuth, "Genurlauth", Needs::Authenticated),
        (Self::GetAcl, "Getacl", Needs::Authenticated),
        (Self::GetAnnotation, "Getannotation", Needs::Authenticated),
        (Self::GetMetadata, "Getmetadata", Needs::Authenticated),
        (Self::GetQuota, "Getquota", Needs::Authenticated),
        (Self::GetQuotaRoot, "Getquotaroot", Needs::Authenticated),
        (Self::Id, "Id", Needs::Nothing),
        (Self::Idle, "Idle", Needs::Authenticated),
        (Self::Language, "Language", Needs::Nothing),
        (Self::List, "List", Needs::Authenticated),
        (Self::ListRights, "Listrights", Needs::Authenticated),
        (Self::Login, "Login", Needs::Nothing),
        (Self::Logout, "Logout", Needs::Nothing),
        (Self::Lsub, "Lsub", Needs::Authenticated),
        (Self::Move, "Move", Needs::Selected),
        (Self::MyRights, "Myrights", Needs::Authenticated),
        (Self::Namespace, "Namespace", Needs::Authenticated),
        (Self::Noop, "Noop", Needs::Nothing),
        (Self::Notify, "Notify", Needs::Authenticated),
        (Self::Rename, "Rename", Needs::Authenticated),
        (Self::Replace, "Replace", Needs::Selected),
        (Self::ResetKey, "Resetkey", Needs::Authenticated),
        (Self::Rlist, "Rlist", Needs::Authenticated),
        (Self::Rlsub, "Rlsub", Needs::Authenticated),
        (Self::Search, "Search", Needs::Selected),
        (Self::Select, "Select", Needs::Authenticated),
        (Self::SetAcl, "Setacl", Needs::Authenticated),
        (Self::SetAnnotation, "Setannotation", Needs::Authenticated),
        (Self::SetMetadata, "Setmetadata", Needs::Authenticated),
        (Self::SetQuota, "Setquota", Needs::Authenticated),
        (Self::Sort, "Sort", Needs::Selected),
        (Self::StartTls, "Starttls", Needs::Nothing),
        (Self::Status, "Status", Needs::Authenticated),
        (Self::Store, "Store", Needs::Selected),
        (Self::Subscribe, "Subscribe", Needs::Authenticated),
        (Self::Thread, "Thread", Needs::Selected),
        (Self::Uid, "Uid", Needs::Selected),
        (Self::UidBatches, "Uidbatches", Needs::Selected),
        (Self::Unauthenticate, "Unauthenticate", Needs::Authenticated),
        (Self::Unselect, "Unselect", Needs::Selected),
        (Self::Unsubscribe, "Unsubscribe", Needs::Authenticated),
        (Self::UrlFetch, "Urlfetch", Needs::Authenticated),
        (Self::Xlist, "Xlist", Needs::Authenticated),
        (Self::Xmove, "Xmove", Needs::Selected),
        (Self::Xwarmup, "Xwarmup", Needs::Authenticated),
    ];

    /// The command of this name, in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let known = Self::ALL
            .iter()
            .find(|(_, known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        known.map(|&(verb, ..)| verb)
    }

    /// The name as error replies spell it: `Getquotaroot`.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// The state that the command needs.
    pub fn needs(self) -> Needs {
        self.entry().2
    }

    /// Whether the command deals with text that may be UTF-8: names of mailboxes, header fields (RFC 6855, section 6).
    pub fn needs_utf8(self) -> bool {
        !matches!(
            self,
            Self::Authenticate
                | Self::Capability
                | Self::Comparator
                | Self::Compress
                | Self::Enable
                | Self::Id
                | Self::Idle
                | Self::Language
                | Self::Login
                | Self::Logout
                | Self::Noop
                | Self::StartTls
                | Self::Unauthenticate
        )
    }

    fn entry(self) -> &'static (Self, &'static str, Needs) {
        Self::ALL
            .iter()
            .find(|(verb, ..)| *verb == self)
            .expect("the table has every variant; a test says so")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_in_the_table_in_order() {
        for (i, (verb, name, needs)) in Verb::ALL.iter().enumerate() {
            assert_eq!(*verb as usize, i);
            assert_eq!(Verb::parse(name.to_ascii_uppercase().as_bytes()), Some(*verb));
            assert_eq!((verb.name(), verb.needs()), (*name, *needs));
        }
    }
}
