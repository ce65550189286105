//! The parts of a FETCH response that RFC 3501 does not have: BINARY, PREVIEW, digests, and Cyrus's own.

use super::fetch::FetchLine;
use super::lex::{put_astring, put_literal, put_literal8, put_mailbox, put_nstring, put_number};
use crate::imap::command::{BinarySection, BinaryWanted};

impl FetchLine<'_> {
    /// `BINARY[part]<origin> value`: a literal8 if there is a NUL in it (RFC 3516, section 4.2).
    pub fn binary(&mut self, section: &BinarySection, value: Option<&[u8]>) {
        self.binary_name(section);
        let out = self.out();
        out.push(b' ');
        match value {
            None => out.extend_from_slice(b"NIL"),
            Some(b"") => out.extend_from_slice(b"\"\""),
            Some(value) => {
                match memchr::memchr(0, value) {
                    Some(_) => put_literal8(out, value.len() as u64),
                    None => put_literal(out, value.len() as u64),
                }
                out.extend_from_slice(value);
            }
        }
    }

    /// `BINARY[part]<origin> {size}` CRLF; the octets, with no NUL among them, follow from the caller.
    pub fn binary_literal(&mut self, section: &BinarySection, size: u64) {
        self.binary_name(section);
        let out = self.out();
        out.push(b' ');
        put_literal(out, size);
    }

    /// `BINARY.SIZE[part] n`
    pub fn binary_size(&mut self, section: &BinarySection, size: u64) {
        let out = self.item(b"BINARY.SIZE");
        section.write_part(out);
        out.push(b' ');
        put_number(out, size);
    }

    fn binary_name(&mut self, section: &BinarySection) {
        let out = self.item(b"BINARY");
        section.write_part(out);
        if let BinaryWanted::Octets {
            partial: Some((origin, _)),
            ..
        } = section.wanted
        {
            out.push(b'<');
            put_number(out, origin);
            out.push(b'>');
        }
    }

    /// `PREVIEW text`, NIL for one that is not known (RFC 8970).
    pub fn preview(&mut self, text: Option<&[u8]>) {
        let out = self.item(b"PREVIEW ");
        put_nstring(out, text);
    }

    /// An item whose value is a number or a word.
    pub fn word(&mut self, name: &str, value: &str) {
        let out = self.item(name.as_bytes());
        out.push(b' ');
        out.extend_from_slice(value.as_bytes());
    }

    /// `LASTUPDATED "date"`
    pub fn last_updated(&mut self, unix: i64, zone_seconds: i32) {
        crate::imap::date::put_date_time(self.item(b"LASTUPDATED "), unix, zone_seconds);
    }

    /// `CREATEDMODSEQ (n)`
    pub fn created_modseq(&mut self, modseq: u64) {
        let out = self.item(b"CREATEDMODSEQ (");
        put_number(out, modseq);
        out.push(b')');
    }

    /// `FOLDER name`
    pub fn folder(&mut self, name: &str) {
        put_astring(self.item(b"FOLDER "), name.as_bytes());
    }

    /// `CID id` or `BASECID id`: a conversation of Cyrus's, NIL for none.
    pub fn conversation(&mut self, item: &str, id: u64) {
        match id {
            0 => self.word(item, "NIL"),
            id => self.word(item, &format!("{id:016x}")),
        }
    }

    /// `MAILBOXES (name ...)` or `MAILBOXIDS (id ...)`.
    pub fn mailboxes<'a>(&mut self, item: &str, names: impl IntoIterator<Item = &'a str>) {
        let out = self.item(item.as_bytes());
        out.extend_from_slice(b" (");
        for (i, name) in names.into_iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            put_mailbox(out, name.as_bytes());
        }
        out.push(b')');
    }
}
