//! One FETCH response: the hot path of the encoder, which allocates nothing of its own.

use cyrus_store::{KeywordBits, SystemFlags};

use super::lex::{put_literal, put_number, put_string};
use crate::imap::command::BodySection;
use crate::imap::date::put_date_time;

/// Writes one `* n FETCH (...)` line into a buffer.
///
/// Items separate themselves; [`FetchLine::end`] closes the line. A body that goes elsewhere (as a file slice) is announced
/// with [`FetchLine::literal`], and the caller appends its octets before the next item.
pub struct FetchLine<'b> {
    out: &'b mut Vec<u8>,
    first: bool,
}

impl<'b> FetchLine<'b> {
    /// Starts the response for message `seqno`.
    pub fn begin(out: &'b mut Vec<u8>, seqno: u32) -> Self {
        out.extend_from_slice(b"* ");
        put_number(out, u64::from(seqno));
        out.extend_from_slice(b" FETCH (");
        Self { out, first: true }
    }

    /// Starts the response for the message with `uid`, where there are no numbers (RFC 9586).
    pub fn begin_uid(out: &'b mut Vec<u8>, uid: u32) -> Self {
        out.extend_from_slice(b"* ");
        put_number(out, u64::from(uid));
        out.extend_from_slice(b" UIDFETCH (");
        Self { out, first: true }
    }

    /// Goes on with a response that was begun in another buffer.
    pub fn resume(out: &'b mut Vec<u8>) -> Self {
        Self { out, first: false }
    }

    /// [`FetchLine::resume`] before the first item.
    pub fn resume_first(out: &'b mut Vec<u8>) -> Self {
        Self { out, first: true }
    }

    /// Whether no item is written yet.
    pub fn is_first(&self) -> bool {
        self.first
    }

    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    pub(super) fn item(&mut self, name: &[u8]) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b' ');
        }
        self.first = false;
        self.out.extend_from_slice(name);
        self.out
    }

    /// `FLAGS (\Recent \Seen $Junk)`; `keywords` is the mailbox's table.
    pub fn flags<'k>(
        &mut self,
        recent: bool,
        system: SystemFlags,
        bits: KeywordBits,
        keyword: impl Fn(usize) -> Option<&'k str>,
    ) {
        let out = self.item(b"FLAGS (");
        put_flags(out, recent, system, bits, keyword);
        out.push(b')');
    }

    /// `UID n`
    pub fn uid(&mut self, uid: u32) {
        put_number(self.item(b"UID "), u64::from(uid));
    }

    /// `INTERNALDATE "..."`
    pub fn internal_date(&mut self, unix: i64, zone_seconds: i32) {
        put_date_time(self.item(b"INTERNALDATE "), unix, zone_seconds);
    }

    /// `MODSEQ (n)` (RFC 7162)
    pub fn modseq(&mut self, modseq: u64) {
        let out = self.item(b"MODSEQ (");
        put_number(out, modseq);
        out.push(b')');
    }

    /// `RFC822.SIZE n`
    pub fn size(&mut self, size: u64) {
        put_number(self.item(b"RFC822.SIZE "), size);
    }

    /// `EMAILID (id)` (RFC 8474)
    pub fn email_id(&mut self, id: &str) {
        let out = self.item(b"EMAILID (");
        out.extend_from_slice(id.as_bytes());
        out.push(b')');
    }

    /// `THREADID (id)`, or NIL (RFC 8474)
    pub fn thread_id(&mut self, id: Option<&str>) {
        match id {
            Some(id) => {
                let out = self.item(b"THREADID (");
                out.extend_from_slice(id.as_bytes());
                out.push(b')');
            }
            None => {
                self.item(b"THREADID NIL");
            }
        }
    }

    /// `SAVEDATE "..."`, or NIL (RFC 8514)
    pub fn save_date(&mut self, unix: Option<i64>, zone_seconds: i32) {
        let out = self.item(b"SAVEDATE ");
        match unix {
            Some(unix) => put_date_time(out, unix, zone_seconds),
            None => out.extend_from_slice(b"NIL"),
        }
    }

    /// An item whose value is in its IMAP form already, as cached envelopes and body structures are.
    pub fn raw(&mut self, name: &str, value: &[u8]) {
        let out = self.item(name.as_bytes());
        out.push(b' ');
        out.extend_from_slice(value);
    }

    /// An item whose value is a string, or NIL; always a literal unless it is empty.
    pub fn text(&mut self, name: &str, value: Option<&[u8]>) {
        self.item(name.as_bytes());
        self.value(value);
    }

    /// `BODY[section]<origin> value`
    pub fn section(&mut self, section: &BodySection, value: Option<&[u8]>) {
        self.section_name(section);
        self.value(value);
    }

    /// `name {size}` CRLF; the octets follow from the caller.
    pub fn literal(&mut self, name: &str, size: u64) {
        let out = self.item(name.as_bytes());
        out.push(b' ');
        put_literal(out, size);
    }

    /// `BODY[section]<origin> {size}` CRLF; the octets follow from the caller.
    pub fn section_literal(&mut self, section: &BodySection, size: u64) {
        self.section_name(section);
        self.out.push(b' ');
        put_literal(self.out, size);
    }

    fn section_name(&mut self, section: &BodySection) {
        let out = self.item(b"BODY");
        section.section.write(out);
        if let Some((origin, _)) = section.partial {
            out.push(b'<');
            put_number(out, origin);
            out.push(b'>');
        }
    }

    fn value(&mut self, value: Option<&[u8]>) {
        self.out.push(b' ');
        match value {
            None => self.out.extend_from_slice(b"NIL"),
            Some(b"") => self.out.extend_from_slice(b"\"\""),
            Some(value) => {
                put_literal(self.out, value.len() as u64);
                self.out.extend_from_slice(value);
            }
        }
    }

    /// `ANNOTATION (entry (value.priv "..." value.shared NIL) ...)` (RFC 5257).
    pub fn annotations<'a, V>(&mut self, entries: impl IntoIterator<Item = (&'a str, V)>)
    where
        V: IntoIterator<Item = (&'a str, Option<Vec<u8>>)>,
    {
        let out = self.item(b"ANNOTATION (");
        for (i, (entry, values)) in entries.into_iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            super::put_astring(out, entry.as_bytes());
            out.extend_from_slice(b" (");
            for (i, (name, value)) in values.into_iter().enumerate() {
                if i > 0 {
                    out.push(b' ');
                }
                out.extend_from_slice(name.as_bytes());
                out.push(b' ');
                match value {
                    Some(value) => put_string(out, &value),
                    None => out.extend_from_slice(b"NIL"),
                }
            }
            out.push(b')');
        }
        out.push(b')');
    }

    /// `ANNOTATION (entry ...)`: that they changed (RFC 5257, section 4.4).
    pub fn annotation_names<'a>(&mut self, entries: impl IntoIterator<Item = &'a str>) {
        let out = self.item(b"ANNOTATION (");
        for (i, entry) in entries.into_iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            super::put_astring(out, entry.as_bytes());
        }
        out.push(b')');
    }

    /// Closes the response.
    pub fn end(self) {
        self.out.extend_from_slice(b")\r\n");
    }
}

/// Appends flags without parentheses, `\Recent` first, keywords last in the order of their slots.
pub(super) fn put_flags<'k>(
    out: &mut Vec<u8>,
    recent: bool,
    system: SystemFlags,
    bits: KeywordBits,
    keyword: impl Fn(usize) -> Option<&'k str>,
) {
    let start = out.len();
    let space = |out: &mut Vec<u8>| {
        if out.len() > start {
            out.push(b' ');
        }
    };
    if recent {
        out.extend_from_slice(b"\\Recent");
    }
    if !system.is_empty() {
        for (flag, name) in SystemFlags::NAMES {
            if system.contains(flag) {
                space(out);
                out.extend_from_slice(name.as_bytes());
            }
        }
    }
    if !bits.is_empty() {
        for name in bits.slots().filter_map(keyword) {
            space(out);
            out.extend_from_slice(name.as_bytes());
        }
    }
}
