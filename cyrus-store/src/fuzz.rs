//! What the fuzz targets call: each reads noise and checks that what could be read is written as it was.

/// Index header and records.
pub fn index(data: &[u8]) {
    crate::format::index::fuzz(data);
}

/// Mailbox header, after its magic.
pub fn mailbox_header(data: &[u8]) {
    crate::format::header::fuzz(data);
}

/// Cache records.
pub fn cache(data: &[u8]) {
    crate::format::cache::fuzz(data);
}

/// Nested lists.
pub fn dlist(data: &[u8]) {
    crate::format::dlist::fuzz(data);
}

/// Mailbox list rows.
pub fn mboxentry(data: &[u8]) {
    crate::format::mboxentry::fuzz(data);
}

/// Quota values.
pub fn quota(data: &[u8]) {
    crate::format::quota::fuzz(data);
}

/// Seen state.
pub fn seen(data: &[u8]) {
    crate::format::seen::fuzz(data);
}

/// Annotation keys and values.
pub fn annotation(data: &[u8]) {
    crate::format::annotation::fuzz(data);
}

/// Counters files.
pub fn counters(data: &[u8]) {
    crate::format::counters::fuzz(data);
}

/// What an index of texts says of itself.
#[cfg(feature = "search-index")]
pub fn search_index(data: &[u8]) {
    crate::search::index::fuzz(data);
}

/// Logs of changes.
pub fn sync_log(data: &[u8]) {
    crate::sync_log::fuzz(data);
}

/// Keys and values of conversations databases.
pub fn conversations(data: &[u8]) {
    crate::format::conversations::fuzz(data);
}
