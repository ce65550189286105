//! The store's parsers that take text or whole files.

use cyrus_store::db::{Engine, exercise};
use cyrus_store::message::{CacheRecord, Charset, MessageParser, decode_header};
use cyrus_store::{MailboxName, Pattern, Separator};

pub(crate) fn twoskip(data: &[u8]) {
    exercise(Engine::Twoskip, data);
}

pub(crate) fn skiplist(data: &[u8]) {
    exercise(Engine::Skiplist, data);
}

pub(crate) fn flat(data: &[u8]) {
    exercise(Engine::Flat, data);
}

pub(crate) fn utf7(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(decoded) = cyrus_store::utf7::decode(text) {
        let encoded = cyrus_store::utf7::encode(&decoded);
        assert_eq!(
            cyrus_store::utf7::decode(&encoded).ok(),
            Some(decoded),
            "what was written reads back"
        );
    }
}

pub(crate) fn mailbox_name(data: &[u8]) {
    if let Ok(name) = MailboxName::from_dbname(data) {
        assert_eq!(
            MailboxName::from_dbname(name.to_dbname().as_bytes()),
            Ok(name),
            "what was written reads back"
        );
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(name) = MailboxName::parse(text) {
        assert_eq!(
            MailboxName::parse(name.as_str()),
            Ok(name.clone()),
            "what was written reads back"
        );
        assert_eq!(MailboxName::from_dbname(name.to_dbname().as_bytes()), Ok(name));
    }
}

/// Before the first line end is a pattern, after it a name.
pub(crate) fn list_pattern(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (pattern, name) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(compiled) = Pattern::new("", pattern, Separator::Slash) {
        let matched = compiled.matches(name);
        if !pattern.contains(['*', '%']) {
            assert_eq!(matched && !name.is_empty(), pattern == name && !name.is_empty());
        }
        compiled.matching_ancestors(name);
    }
}

pub(crate) fn message(data: &[u8]) {
    let Ok(message) = MessageParser::parse(data) else {
        return;
    };
    assert_eq!(usize::try_from(message.size()), Ok(data.len()));
    let record = CacheRecord::parse(message.cache_record()).expect("a record just made is whole");
    assert_eq!(record.envelope(), message.envelope());
    let sections = record.sections().expect("sections just made are whole");
    let mut parts = 0;
    sections.any(&mut |_| {
        parts += 1;
        false
    });
    assert!(parts <= 2 * data.len() + 4);
    record.header_fields(&["subject", "x-spam"], 11);
}

pub(crate) fn header_decode(data: &[u8]) {
    decode_header(data);
    let (name, text) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len()));
    if let Some(charset) = Charset::by_name(name) {
        charset.decode(text);
    }
}
