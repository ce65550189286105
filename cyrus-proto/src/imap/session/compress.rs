//! COMPRESS (RFC 4978).

use super::{ImapSession, Next};
use crate::imap::command::{Tag, lex};
use crate::imap::response::{Code, Reply};

impl ImapSession {
    /// Everything after the reply is compressed, both ways. TLS never compresses here, so nothing else can have done it.
    pub(super) fn compress(&mut self, tag: &Tag, algorithm: &[u8]) {
        if self.compressed {
            let reply = Reply::bad("DEFLATE active via COMPRESS").with(Code::CompressionActive);
            self.reply(tag, &reply);
        } else if !algorithm.eq_ignore_ascii_case(b"DEFLATE") {
            let name = lex::printable(algorithm);
            self.reply(tag, &Reply::no(format!("Unknown COMPRESS algorithm: {name}")));
        } else {
            self.reply(tag, &Reply::ok("DEFLATE active"));
            self.compressed = true;
            self.next = Some(Next::Compress);
        }
    }
}
