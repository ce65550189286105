//! Keys of `statuscache.db`: Cyrus believes its rows without a look at the index, so who changes a mailbox
//! must remove them.

/// The key of the row about a mailbox itself.
pub fn mailbox_key(internal_name: &str) -> Vec<u8> {
    [internal_name.as_bytes(), b"%"].concat()
}

/// The key of the row about a user's unseen and recent messages there.
pub fn user_key(internal_name: &str, userid: &str) -> Vec<u8> {
    [internal_name.as_bytes(), b"%%", userid.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_row_is_told_from_the_mailbox_row_by_a_second_percent_sign() {
        assert_eq!(mailbox_key("user.alice"), b"user.alice%");
        assert_eq!(user_key("user.alice", "bob"), b"user.alice%%bob");
    }
}
