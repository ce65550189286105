//! Untagged data: what the mailbox and the server are like (RFC 3501, sections 7.2 to 7.4, and extensions).

use cyrus_store::UidSet;

use super::lex::{put_astring, put_mailbox, put_number, put_string};
use crate::imap::command::{StatusItems, Tag};

/// `* n EXISTS`
pub fn put_exists(out: &mut Vec<u8>, count: u32) {
    put_count(out, count, b" EXISTS\r\n");
}

/// `* n RECENT`
pub fn put_recent(out: &mut Vec<u8>, count: u32) {
    put_count(out, count, b" RECENT\r\n");
}

/// `* n EXPUNGE`
pub fn put_expunge(out: &mut Vec<u8>, seqno: u32) {
    put_count(out, seqno, b" EXPUNGE\r\n");
}

/// `* VANISHED set`, or `* VANISHED (EARLIER) set` (RFC 7162, section 3.2.10); several lines for very many ranges, and none for
/// no UID.
pub fn put_vanished(out: &mut Vec<u8>, earlier: bool, uids: &UidSet) {
    /// Ranges in a line.
    const MOST: usize = 4_096;
    let start: &[u8] = match earlier {
        true => b"* VANISHED (EARLIER) ",
        false => b"* VANISHED ",
    };
    for (i, range) in uids.ranges().enumerate() {
        match i % MOST {
            0 if i > 0 => out.extend_from_slice(&[b"\r\n", start].concat()),
            0 => out.extend_from_slice(start),
            _ => out.push(b','),
        }
        let (first, last) = (range.start().get(), range.end().get());
        put_number(out, u64::from(first));
        if last > first {
            out.push(b':');
            put_number(out, u64::from(last));
        }
    }
    if !uids.is_empty() {
        out.extend_from_slice(b"\r\n");
    }
}

fn put_count(out: &mut Vec<u8>, count: u32, name: &[u8]) {
    out.extend_from_slice(b"* ");
    put_number(out, u64::from(count));
    out.extend_from_slice(name);
}

/// `* CAPABILITY ...`
pub fn put_capability(out: &mut Vec<u8>, list: &str) {
    put_line(out, "CAPABILITY", list.as_bytes());
}

/// `* LANGUAGE (tag ...)` (RFC 5255, section 3.3).
pub fn put_language(out: &mut Vec<u8>, languages: &[&str]) {
    put_line(out, "LANGUAGE", format!("({})", languages.join(" ")).as_bytes());
}

/// `* FLAGS (...)`; `flags` is ready to print.
pub fn put_flags_line(out: &mut Vec<u8>, flags: &str) {
    put_line(out, "FLAGS", format!("({flags})").as_bytes());
}

fn put_line(out: &mut Vec<u8>, name: &str, rest: &[u8]) {
    out.extend_from_slice(b"* ");
    out.extend_from_slice(name.as_bytes());
    out.push(b' ');
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\r\n");
}

/// `* SEARCH n n ...`, with `(MODSEQ n)` at its end if that is asked for (RFC 7162, section 3.1.5).
pub fn put_search(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>, modseq: Option<u64>) {
    out.extend_from_slice(b"* SEARCH");
    for number in numbers {
        out.push(b' ');
        put_number(out, u64::from(number));
    }
    if let Some(modseq) = modseq {
        out.extend_from_slice(b" (MODSEQ ");
        put_number(out, modseq);
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}

/// `* ENABLED extension ...` (RFC 5161, section 3.2).
pub fn put_enabled(out: &mut Vec<u8>, names: impl IntoIterator<Item = &'static str>) {
    out.extend_from_slice(b"* ENABLED");
    for name in names {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// `* UIDBATCHES (TAG "tag") high:low,...` (RFC 10022).
pub fn put_uid_batches(out: &mut Vec<u8>, tag: &Tag, ranges: impl IntoIterator<Item = (u32, u32)>) {
    out.extend_from_slice(b"* UIDBATCHES (TAG ");
    put_string(out, tag.as_bytes());
    out.push(b')');
    for (i, (high, low)) in ranges.into_iter().enumerate() {
        out.push(if i == 0 { b' ' } else { b',' });
        put_number(out, u64::from(high));
        out.push(b':');
        put_number(out, u64::from(low));
    }
    out.extend_from_slice(b"\r\n");
}

/// `* LIST (attributes) "separator" name`, or LSUB, XLIST (RFC 3501, section 7.2.2).
pub fn put_list(out: &mut Vec<u8>, response: &str, attributes: &str, separator: Option<char>, name: &[u8]) {
    put_mailbox_list(out, response, attributes, separator, name);
    out.extend_from_slice(b"\r\n");
}

/// `* LIST ... (CHILDINFO ("option"))`: something below the name meets the selection option (RFC 5258, section 4).
pub fn put_list_with_children(
    out: &mut Vec<u8>,
    attributes: &str,
    separator: Option<char>,
    name: &[u8],
    option: &str,
) {
    put_mailbox_list(out, "LIST", attributes, separator, name);
    out.extend_from_slice(format!(" (CHILDINFO (\"{option}\"))\r\n").as_bytes());
}

/// `mailbox-list` (RFC 3501, section 9) after `*`.
fn put_mailbox_list(
    out: &mut Vec<u8>,
    response: &str,
    attributes: &str,
    separator: Option<char>,
    name: &[u8],
) {
    out.extend_from_slice(b"* ");
    out.extend_from_slice(response.as_bytes());
    out.extend_from_slice(b" (");
    out.extend_from_slice(attributes.as_bytes());
    out.extend_from_slice(b") ");
    match separator {
        Some(separator) => out.extend_from_slice(format!("\"{separator}\" ").as_bytes()),
        None => out.extend_from_slice(b"NIL "),
    }
    put_mailbox(out, name);
}

/// `* NAMESPACE personal other shared` (RFC 2342); each a list of prefixes with the separator.
pub fn put_namespace(out: &mut Vec<u8>, classes: [&[&str]; 3], separator: char) {
    out.extend_from_slice(b"* NAMESPACE");
    for class in classes {
        out.push(b' ');
        if class.is_empty() {
            out.extend_from_slice(b"NIL");
            continue;
        }
        out.push(b'(');
        for prefix in class {
            out.push(b'(');
            put_string(out, prefix.as_bytes());
            out.extend_from_slice(format!(" \"{separator}\")").as_bytes());
        }
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}

/// What STATUS can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // named as in the RFCs
pub struct StatusData {
    pub messages: u32,
    pub recent: u32,
    pub uidnext: u32,
    pub uidvalidity: u32,
    pub mailboxid: String,
    pub unseen: u32,
    pub size: u64,
    pub deleted: u32,
    pub highestmodseq: u64,
    pub deleted_storage: u64,
    pub appendlimit: u64,
    pub createdmodseq: u64,
    pub xconvexists: u32,
    pub xconvunseen: u32,
    pub xconvmodseq: u64,
}

/// `* STATUS mailbox (...)` with the items wanted.
pub fn put_status(out: &mut Vec<u8>, mailbox: &[u8], items: StatusItems, data: &StatusData) {
    out.extend_from_slice(b"* STATUS ");
    put_mailbox(out, mailbox);
    let mut open: &[u8] = b" (";
    for (item, name) in StatusItems::NAMES {
        if !items.contains(item) {
            continue;
        }
        out.extend_from_slice(open);
        open = b" ";
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
        let number = match item {
            StatusItems::MESSAGES => u64::from(data.messages),
            StatusItems::RECENT => u64::from(data.recent),
            StatusItems::UIDNEXT => u64::from(data.uidnext),
            StatusItems::UIDVALIDITY => u64::from(data.uidvalidity),
            StatusItems::UNSEEN => u64::from(data.unseen),
            StatusItems::SIZE => data.size,
            StatusItems::DELETED => u64::from(data.deleted),
            StatusItems::HIGHESTMODSEQ => data.highestmodseq,
            StatusItems::DELETED_STORAGE => data.deleted_storage,
            StatusItems::APPENDLIMIT => data.appendlimit,
            StatusItems::CREATEDMODSEQ => data.createdmodseq,
            StatusItems::XCONVEXISTS => u64::from(data.xconvexists),
            StatusItems::XCONVUNSEEN => u64::from(data.xconvunseen),
            StatusItems::XCONVMODSEQ => data.xconvmodseq,
            _ => {
                out.extend_from_slice(format!("({})", data.mailboxid).as_bytes());
                continue;
            }
        };
        put_number(out, number);
    }
    out.extend_from_slice(b")\r\n");
}

/// `* ACL mailbox identifier rights ...` (RFC 4314, section 3.6).
pub fn put_acl<'a>(out: &mut Vec<u8>, mailbox: &[u8], entries: impl IntoIterator<Item = (&'a str, &'a str)>) {
    out.extend_from_slice(b"* ACL ");
    put_mailbox(out, mailbox);
    for (identifier, rights) in entries {
        put_words(out, [identifier, rights]);
    }
    out.extend_from_slice(b"\r\n");
}

/// `* LISTRIGHTS mailbox identifier required optional ...` (RFC 4314, section 3.7).
pub fn put_list_rights<'a>(
    out: &mut Vec<u8>,
    mailbox: &[u8],
    identifier: &[u8],
    required: &str,
    optional: impl IntoIterator<Item = &'a str>,
) {
    out.extend_from_slice(b"* LISTRIGHTS ");
    put_mailbox(out, mailbox);
    out.push(b' ');
    put_astring(out, identifier);
    put_words(out, [required]);
    put_words(out, optional);
    out.extend_from_slice(b"\r\n");
}

/// `* MYRIGHTS mailbox rights` (RFC 4314, section 3.8).
pub fn put_my_rights(out: &mut Vec<u8>, mailbox: &[u8], rights: &str) {
    out.extend_from_slice(b"* MYRIGHTS ");
    put_mailbox(out, mailbox);
    put_words(out, [rights]);
    out.extend_from_slice(b"\r\n");
}

fn put_words<'a>(out: &mut Vec<u8>, words: impl IntoIterator<Item = &'a str>) {
    for word in words {
        out.push(b' ');
        put_astring(out, word.as_bytes());
    }
}

/// `* QUOTA root (resource usage limit ...)` (RFC 9208, section 4.2).
pub fn put_quota<'a>(
    out: &mut Vec<u8>,
    root: &[u8],
    resources: impl IntoIterator<Item = (&'a str, u64, u64)>,
) {
    out.extend_from_slice(b"* QUOTA ");
    put_astring(out, root);
    out.extend_from_slice(b" (");
    for (i, (resource, usage, limit)) in resources.into_iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(resource.as_bytes());
        out.push(b' ');
        put_number(out, usage);
        out.push(b' ');
        put_number(out, limit);
    }
    out.extend_from_slice(b")\r\n");
}

/// `* QUOTAROOT mailbox root ...` (RFC 9208, section 4.3).
pub fn put_quota_root(out: &mut Vec<u8>, mailbox: &[u8], root: Option<&[u8]>) {
    out.extend_from_slice(b"* QUOTAROOT ");
    put_mailbox(out, mailbox);
    if let Some(root) = root {
        out.push(b' ');
        put_astring(out, root);
    }
    out.extend_from_slice(b"\r\n");
}

/// `* ID ("name" "value" ...)`, or NIL (RFC 2971, section 3.2).
pub fn put_id(out: &mut Vec<u8>, fields: &[(String, String)]) {
    out.extend_from_slice(b"* ID ");
    for (i, (name, value)) in fields.iter().enumerate() {
        out.push(if i == 0 { b'(' } else { b' ' });
        put_string(out, name.as_bytes());
        out.push(b' ');
        put_string(out, value.as_bytes());
    }
    out.extend_from_slice(if fields.is_empty() { b"NIL\r\n" } else { b")\r\n" });
}

/// `* METADATA mailbox entry ...`: entries that changed (RFC 5464, section 4.4.2).
pub fn put_metadata_names(out: &mut Vec<u8>, mailbox: &[u8], entries: &[&str]) {
    out.extend_from_slice(b"* METADATA ");
    put_string(out, mailbox);
    for entry in entries {
        out.push(b' ');
        put_astring(out, entry.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// `* METADATA mailbox ("entry" value ...)` (RFC 5464, section 4.4.1).
///
/// A value with NUL goes as a literal8, which this response alone allows.
pub fn put_metadata(out: &mut Vec<u8>, mailbox: &[u8], entries: &[(String, Option<Vec<u8>>)]) {
    out.extend_from_slice(b"* METADATA ");
    put_mailbox(out, mailbox);
    out.extend_from_slice(b" (");
    for (i, (entry, value)) in entries.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        put_string(out, entry.as_bytes());
        out.push(b' ');
        match value {
            Some(value) if value.contains(&0) => {
                out.push(b'~');
                super::put_literal(out, value.len() as u64);
                out.extend_from_slice(value);
            }
            value => super::put_nstring(out, value.as_deref()),
        }
    }
    out.extend_from_slice(b")\r\n");
}

/// `* ANNOTATION mailbox "entry" ("attribute" "value" ...)` of the draft before RFC 5464.
pub fn put_annotation<'a>(
    out: &mut Vec<u8>,
    mailbox: &[u8],
    entry: &str,
    attributes: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>,
) {
    out.extend_from_slice(b"* ANNOTATION ");
    put_mailbox(out, mailbox);
    out.push(b' ');
    put_string(out, entry.as_bytes());
    out.extend_from_slice(b" (");
    for (i, (attribute, value)) in attributes.into_iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        put_string(out, attribute.as_bytes());
        out.push(b' ');
        super::put_nstring(out, value);
    }
    out.extend_from_slice(b")\r\n");
}
