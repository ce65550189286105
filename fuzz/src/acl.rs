//! Access control lists.

use cyrus_acl::{Acl, Identifier};

pub(crate) fn acl(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(acl) = Acl::parse(text) {
        assert_eq!(
            Acl::parse(&acl.to_text()).as_ref(),
            Ok(&acl),
            "what was written reads back"
        );
    }
}

pub(crate) fn identifier(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(identifier) = Identifier::stored(text) {
        assert_eq!(
            Identifier::stored(identifier.as_str()).ok(),
            Some(identifier),
            "what was written reads back"
        );
    }
}
