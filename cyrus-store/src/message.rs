//! A message file to the facts that a mailbox keeps about it: envelope, structure, sections, the cache record.
//!
//! The result is byte for byte what Cyrus 3.6.1 with its default options writes, on any input, valid or not. Known
//! differences, each told where it is decided: messages, parts, parameters and addresses past generous limits
//! (`structure`, `params`, `address`), damaged text in some rare character sets (`charset`), bytes above 7F inside a
//! Date field (`date`).
//! Parsing takes time and memory in proportion to the message.

mod address;
mod boundary;
mod charset;
mod date;
mod decode;
mod encoded_word;
mod envelope;
mod headers;
mod imap_text;
mod params;
mod record;
mod section;
mod structure;
mod subset;
mod text;

use sha1::{Digest, Sha1};

pub use self::charset::Charset;
pub(crate) use self::charset::ascii_runs;
pub use self::decode::{Encoding, decode as decode_content};
pub use self::envelope::{Envelope, EnvelopeAddress};
pub use self::headers::is_cached_header;
pub use self::imap_text::write_nstring;
pub use self::record::{CacheDamage, CacheRecord, split_nstring};
pub use self::section::{Extent, Section, Sections};
pub use self::subset::{Fields, field_values, select_fields};

use self::imap_text::Form;
use self::structure::Tree;

/// The cache version that [`ParsedMessage::cache_record`] writes.
pub const CACHE_VERSION: u16 = 11;

/// The message is too large for the 32-bit sizes of the index and the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message of {size} octets is larger than a mailbox can hold")]
pub struct TooLarge {
    /// Size of the message in octets.
    pub size: usize,
}

/// Turns message files into [`ParsedMessage`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessageParser;

impl MessageParser {
    /// Parses a whole message as it is in its file, with CR LF line ends.
    ///
    /// Anything is a message, even no octet at all.
    ///
    /// # Errors
    /// [`TooLarge`] for 4 GiB or more.
    pub fn parse(message: &[u8]) -> Result<ParsedMessage, TooLarge> {
        let size = message.len();
        u32::try_from(size).map_err(|_| TooLarge { size })?;
        let tree = structure::parse(message);
        let top = tree.parts.first();
        let span = |field: Option<text::Span>| field.map(|span| tree.text.get(span).to_vec());
        let date = top
            .and_then(|part| part.envelope.date)
            .and_then(|span| date::parse(tree.text.get(span)));
        let mut items = Vec::with_capacity(1024);
        let mut record = Vec::with_capacity(2048);
        let mut push = |write: &dyn Fn(&Tree, &mut Vec<u8>)| {
            items.clear();
            write(&tree, &mut items);
            record::push_item(&items, &mut record);
        };
        if let Some(top) = top {
            let envelope = &top.envelope;
            push(&|tree, out| imap_text::write_envelope(tree, top, out));
            push(&|tree, out| imap_text::write_body(tree, Form::BodyStructure, out));
            push(&|tree, out| imap_text::write_body(tree, Form::Body, out));
            push(&section::write);
            push(&|tree, out| out.extend_from_slice(&tree.cached_headers));
            for list in [envelope.from, envelope.to, envelope.cc, envelope.bcc] {
                push(&|tree, out| imap_text::write_search_addresses(tree, list, out));
            }
            push(&|tree, out| {
                let subject = envelope
                    .subject
                    .map(|span| encoded_word::decode(tree.text.get(span)));
                write_nstring(subject.as_deref(), out);
            });
        }
        Ok(ParsedMessage {
            size: headers::clamp(size),
            header_size: top.map_or(0, |part| part.header_size),
            guid: Sha1::digest(message).into(),
            date,
            message_id: span(top.and_then(|part| part.envelope.message_id)),
            in_reply_to: span(top.and_then(|part| part.envelope.in_reply_to)),
            references: span(top.and_then(|part| part.envelope.references)),
            subject: span(top.and_then(|part| part.envelope.subject)),
            record,
        })
    }
}

/// What a mailbox keeps of one message.
#[derive(Clone, Debug)]
pub struct ParsedMessage {
    size: u32,
    header_size: u32,
    guid: [u8; 20],
    date: Option<date::DateTime>,
    message_id: Option<Vec<u8>>,
    in_reply_to: Option<Vec<u8>>,
    references: Option<Vec<u8>>,
    subject: Option<Vec<u8>>,
    record: Vec<u8>,
}

impl ParsedMessage {
    /// Size of the message in octets.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Size of the header through its blank line, as the index keeps it.
    pub fn header_size(&self) -> u32 {
        self.header_size
    }

    /// SHA-1 of the whole message.
    pub fn guid(&self) -> &[u8; 20] {
        &self.guid
    }

    /// The cache record: ten items with lengths and padding, ready for `cyrus.cache`.
    pub fn cache_record(&self) -> &[u8] {
        &self.record
    }

    /// The cache record, without a copy.
    pub fn into_cache_record(self) -> Vec<u8> {
        self.record
    }

    /// A view of the items of the cache record.
    pub fn record(&self) -> CacheRecord<'_> {
        CacheRecord::parse(&self.record).expect("parse() wrote all ten items, each with its length")
    }

    /// The ENVELOPE text.
    pub fn envelope(&self) -> &[u8] {
        self.record().envelope()
    }

    /// The BODYSTRUCTURE text.
    pub fn bodystructure(&self) -> &[u8] {
        self.record().bodystructure()
    }

    /// The BODY text.
    pub fn body(&self) -> &[u8] {
        self.record().body()
    }

    /// The day of the Date field, as the index keeps it: seconds since 1970 of its midnight in server local time.
    ///
    /// `offset` tells how many seconds east of UTC the server's clock is at a given local midnight, which it gets in
    /// seconds since 1970 as if it were UTC. `None` without a readable date, or before 1970: then the index keeps
    /// midnight of the internal date.
    pub fn sent_date(&self, offset: impl FnOnce(i64) -> i64) -> Option<i64> {
        let midnight = self.date?.midnight;
        Some(midnight - offset(midnight)).filter(|&time| time >= 0)
    }

    /// The Date field in seconds since 1970, UTC; `None` if it is missing or unreadable.
    pub fn gm_date(&self) -> Option<i64> {
        self.date?.instant
    }

    /// The unfolded Message-ID field, with its brackets if it has them.
    pub fn message_id(&self) -> Option<&[u8]> {
        self.message_id.as_deref()
    }

    /// The unfolded In-Reply-To field.
    pub fn in_reply_to(&self) -> Option<&[u8]> {
        self.in_reply_to.as_deref()
    }

    /// The unfolded References field.
    pub fn references(&self) -> Option<&[u8]> {
        self.references.as_deref()
    }

    /// The unfolded Subject field, not decoded.
    pub fn subject(&self) -> Option<&[u8]> {
        self.subject.as_deref()
    }
}

/// Decodes the encoded words in the unfolded field value `value`, as the cache does for subjects and names.
pub fn decode_header(value: &[u8]) -> Vec<u8> {
    encoded_word::decode(value)
}

/// White space as C knows it in the default locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
