//! The MIME structure of a message (RFC 2045, 2046): one pass over it, without recursion.
//!
//! Sizes, line counts and the treatment of damage are Cyrus's. Four limits bound the work; within them the result
//! is byte for byte Cyrus's, and no message that a person wrote comes near them:
//! - [`MAX_BOUNDARIES`] open multiparts, the limit that Cyrus itself has (`boundary_limit`);
//! - [`MAX_NESTED_MESSAGES`] messages inside one another, and [`MAX_REHASH`] times the message's size of hashing for
//!   them (each is hashed as a whole); a deeper message/rfc822 is a leaf with an empty message in it. Cyrus has no
//!   limit and at some depth dies of it;
//! - [`MAX_PARTS`] parts; what follows belongs to the last multipart's epilogue.

use memchr::{memchr, memmem};
use sha1::{Digest, Sha1};

use super::address::{self, Address};
use super::boundary::Boundaries;
use super::charset::Charset;
use super::decode::{Encoding, decode};
use super::headers::{self, clamp, count_lines, field_end, until_nul};
use super::params::{self, Param};
use super::text::{Span, Text};

/// Multiparts open at once.
pub(super) const MAX_BOUNDARIES: usize = 1000;
/// Messages inside one another.
pub(super) const MAX_NESTED_MESSAGES: usize = 1000;
/// Octets hashed for enclosed messages: this many times the size of the message, and [`FREE_REHASH`] in any case.
pub(super) const MAX_REHASH: usize = 16;
/// See [`MAX_REHASH`].
pub(super) const FREE_REHASH: usize = 64 << 20;
/// Parts in one message.
pub(super) const MAX_PARTS: usize = 100_000;

/// What a part is, as far as it matters for its structure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Text,
    Multipart,
    Message,
    /// MESSAGE/… other than RFC822.
    OtherMessage,
    Other,
}

/// A message or body part: where it is and what its header says.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) header_offset: u32,
    pub(super) header_size: u32,
    header_lines: u32,
    pub(super) content_offset: u32,
    pub(super) content_size: u32,
    pub(super) content_lines: u32,
    /// The delimiter line that ended the part, with the line break before it.
    boundary_size: u32,
    boundary_lines: u32,
    /// SHA-1 and size of the decoded content; zero if there is none or it cannot be decoded.
    pub(super) content_sha1: [u8; 20],
    pub(super) decoded_size: u32,

    pub(super) kind: Kind,
    pub(super) content_type: Span,
    pub(super) subtype: Span,
    pub(super) params: Vec<Param>,
    pub(super) encoding: Option<Span>,
    pub(super) id: Option<Span>,
    pub(super) description: Option<Span>,
    pub(super) md5: Option<Span>,
    pub(super) disposition: Option<(Span, Vec<Param>)>,
    pub(super) languages: Vec<Span>,
    pub(super) location: Option<Span>,
    pub(super) envelope: Envelope,

    pub(super) first_child: Option<usize>,
    pub(super) next_sibling: Option<usize>,
    last_child: Option<usize>,
    pub(super) children: u32,
}

/// The header fields of an ENVELOPE; address lists are ranges of [`Tree::addresses`].
#[derive(Debug, Default)]
pub(super) struct Envelope {
    pub(super) date: Option<Span>,
    pub(super) subject: Option<Span>,
    pub(super) in_reply_to: Option<Span>,
    pub(super) message_id: Option<Span>,
    pub(super) references: Option<Span>,
    pub(super) from: Addresses,
    pub(super) sender: Addresses,
    pub(super) reply_to: Addresses,
    pub(super) to: Addresses,
    pub(super) cc: Addresses,
    pub(super) bcc: Addresses,
}

/// A list of addresses: where it begins and ends in [`Tree::addresses`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Addresses {
    start: usize,
    end: usize,
}

/// The parts of a message; the first is the message itself.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) parts: Vec<Part>,
    pub(super) text: Text,
    pub(super) addresses: Vec<Address>,
    /// The fields of the top header that the cache keeps, each with CRLF.
    pub(super) cached_headers: Vec<u8>,
}

impl Tree {
    pub(super) fn list(&self, list: Addresses) -> &[Address] {
        self.addresses.get(list.start..list.end).unwrap_or_default()
    }

    pub(super) fn children(&self, part: &Part) -> impl Iterator<Item = &Part> {
        let at = |index: Option<usize>| index.and_then(|index| self.parts.get(index));
        std::iter::successors(at(part.first_child), move |part| at(part.next_sibling))
    }

    /// The encoding of the content, and its character set if it is text.
    ///
    /// The set's name is as the message writes it; the first known one counts, or else US-ASCII.
    pub(super) fn charset(&self, part: &Part) -> (Encoding, Option<&[u8]>) {
        let encoding = match part.kind {
            Kind::Message | Kind::OtherMessage => Encoding::Identity,
            _ => part.encoding.map_or(Encoding::Identity, |name| {
                Encoding::from_name(self.text.get(name))
            }),
        };
        let charset = match part.kind {
            Kind::Text => part
                .params
                .iter()
                .filter(|param| self.text.get(param.name) == b"CHARSET")
                .map(|param| self.text.get(param.value))
                .find(|name| Charset::by_name(name).is_some())
                .or(Some(US_ASCII)),
            Kind::OtherMessage => Some(US_ASCII),
            Kind::Message | Kind::Multipart | Kind::Other => None,
        };
        (encoding, charset)
    }
}

const US_ASCII: &[u8] = b"us-ascii";

/// Parses `message`, whose size fits 32 bits.
pub(super) fn parse(message: &[u8]) -> Tree {
    let tree = Tree {
        parts: Vec::with_capacity(4),
        text: Text::with_capacity(1024),
        addresses: Vec::new(),
        cached_headers: Vec::with_capacity(1024),
    };
    let mut parser = Parser {
        message,
        offset: 0,
        boundaries: Boundaries::default(),
        open: Vec::new(),
        nested: 0,
        rehash_left: message
            .len()
            .saturating_mul(MAX_REHASH)
            .saturating_add(FREE_REHASH),
        tree,
    };
    parser.run();
    parser.tree
}

struct Parser<'a> {
    message: &'a [u8],
    offset: usize,
    boundaries: Boundaries,
    open: Vec<Open>,
    /// Enclosed messages among `open`.
    nested: usize,
    rehash_left: usize,
    tree: Tree,
}

/// A container whose children are being parsed.
enum Open {
    Message {
        part: usize,
    },
    Multipart {
        part: usize,
        depth: usize,
        default: DefaultType,
        preamble: Region,
    },
}

/// The type of a part that has no Content-Type.
#[derive(Clone, Copy)]
enum DefaultType {
    TextPlain,
    MessageRfc822,
}

/// Content that was passed over.
#[derive(Clone, Copy, Default)]
struct Region {
    size: u32,
    lines: u32,
    boundary_size: u32,
    boundary_lines: u32,
}

impl Parser<'_> {
    fn run(&mut self) {
        let mut completed = self.begin(DefaultType::TextPlain);
        loop {
            completed = match (completed, self.open.pop()) {
                (None, None) => return,
                (None, Some(Open::Message { part })) => {
                    self.open.push(Open::Message { part });
                    self.begin(DefaultType::TextPlain)
                }
                (Some(_), None) => return,
                (Some(child), Some(Open::Message { part })) => Some(self.finish_message(part, child)),
                (
                    child,
                    Some(Open::Multipart {
                        part,
                        depth,
                        default,
                        preamble,
                    }),
                ) => {
                    if let Some(child) = child {
                        self.end_child(child);
                    }
                    if self.boundaries.len() == depth && depth < MAX_BOUNDARIES && self.has_room() {
                        self.open.push(Open::Multipart {
                            part,
                            depth,
                            default,
                            preamble,
                        });
                        self.begin(default)
                    } else {
                        Some(self.finish_multipart(part, depth, preamble))
                    }
                }
            };
        }
    }

    fn part(&mut self, index: usize) -> &mut Part {
        self.tree
            .parts
            .get_mut(index)
            .expect("parts are never removed, and indices come from begin()")
    }

    /// Parses the header of the next part, and its content unless it is a container: then that is left open and the
    /// result is `None`, else the finished part.
    fn begin(&mut self, default: DefaultType) -> Option<usize> {
        let (index, delimited) = self.header(default);
        let kind = self.part(index).kind;
        match kind {
            Kind::Multipart if !delimited => match self.boundary_of(index) {
                Some(boundary) => {
                    self.boundaries.push(boundary);
                    let depth = self.boundaries.len();
                    let subtype = self.part(index).subtype;
                    let digest = self.tree.text.get(subtype) == b"DIGEST";
                    let default = if digest {
                        DefaultType::MessageRfc822
                    } else {
                        DefaultType::TextPlain
                    };
                    let preamble = self.pass_content();
                    self.open.push(Open::Multipart {
                        part: index,
                        depth,
                        default,
                        preamble,
                    });
                    return None;
                }
                None => self.content(index),
            },
            Kind::Multipart => {}
            Kind::Message if !delimited && self.may_enter() => {
                self.nested += 1;
                self.open.push(Open::Message { part: index });
                return None;
            }
            Kind::Message => {
                if !delimited {
                    self.content(index);
                }
                let child = self.add(Part::default());
                self.set_type(child, DefaultType::TextPlain);
                self.adopt(index, child);
                // An enclosed message is no child in the sense of a multipart.
                self.part(index).children = 0;
            }
            _ if delimited => {}
            _ => self.content(index),
        }
        Some(index)
    }

    fn add(&mut self, part: Part) -> usize {
        self.tree.parts.push(part);
        self.tree.parts.len() - 1
    }

    fn has_room(&mut self) -> bool {
        let room = self.tree.parts.len() < MAX_PARTS;
        if !room {
            self.boundaries.truncate(0);
        }
        room
    }

    /// Makes `child` the last child of the innermost open container.
    fn adopt(&mut self, parent: usize, child: usize) {
        match self.part(parent).last_child.replace(child) {
            Some(last) => self.part(last).next_sibling = Some(child),
            None => self.part(parent).first_child = Some(child),
        }
        self.part(parent).children += 1;
    }

    /// Whether the message enclosed at the cursor may be parsed within the limits.
    fn may_enter(&mut self) -> bool {
        let rest = self.message.len().saturating_sub(self.offset);
        let enough = self.nested < MAX_NESTED_MESSAGES && self.rehash_left >= rest && self.has_room();
        if enough {
            self.rehash_left -= rest;
        }
        enough
    }

    /// The boundary that the multipart `index` declares.
    fn boundary_of(&self, index: usize) -> Option<Vec<u8>> {
        let text = &self.tree.text;
        self.tree
            .parts
            .get(index)?
            .params
            .iter()
            .find_map(|param| match text.get(param.name) {
                b"BOUNDARY" => Some(text.get(param.value).to_vec()),
                b"BOUNDARY*" => {
                    let value = text.get(param.value);
                    Some(extended_value(value).unwrap_or_else(|| value.to_vec()))
                }
                _ => None,
            })
    }

    /// Parses a header into a new part; true if a delimiter line ended it.
    fn header(&mut self, default: DefaultType) -> (usize, bool) {
        let header = headers::scan(self.message, self.offset, &mut self.boundaries);
        let (boundary_size, boundary_lines) = header.delimiter.unwrap_or_default();
        let index = self.add(Part {
            header_offset: clamp(self.offset),
            header_size: header.size,
            header_lines: header.lines,
            content_offset: clamp(header.content_offset),
            boundary_size,
            boundary_lines,
            ..Part::default()
        });
        self.offset = header.content_offset;
        match self.open.last() {
            Some(Open::Multipart { part, .. }) => self.adopt(*part, index),
            Some(Open::Message { part }) => {
                let part = *part;
                self.adopt(part, index);
                self.part(part).children = 0;
            }
            None => {}
        }
        for line in headers::lines(header.text) {
            if index == 0
                && let Some(field) = headers::cached_field(line)
            {
                self.tree.cached_headers.extend_from_slice(field);
                self.tree.cached_headers.extend_from_slice(b"\r\n");
            }
            if let Some((name, value)) = headers::split_name(line) {
                self.field(index, name, value);
            }
        }
        if self.part(index).content_type == Span::default() {
            self.set_type(index, default);
        }
        (index, header.delimiter.is_some())
    }

    fn set_type(&mut self, index: usize, default: DefaultType) {
        let value: &[u8] = match default {
            DefaultType::TextPlain => b"TEXT/PLAIN; CHARSET=us-ascii",
            DefaultType::MessageRfc822 => b"MESSAGE/RFC822",
        };
        self.content_type(index, value);
    }

    fn content_type(&mut self, index: usize, value: &[u8]) {
        let parsed = params::content_type(value, &mut self.tree.text);
        let part = self.tree.parts.get_mut(index).expect("indices come from begin()");
        (part.content_type, part.subtype) = (Span::default(), Span::default());
        part.params = Vec::new();
        if let Some(parsed) = parsed {
            (part.content_type, part.subtype) = parsed.name;
            part.params = parsed.params;
            let text = &self.tree.text;
            part.kind = match (text.get(part.content_type), text.get(part.subtype)) {
                (b"TEXT", _) => Kind::Text,
                (b"MULTIPART", _) => Kind::Multipart,
                (b"MESSAGE", b"RFC822") => Kind::Message,
                (b"MESSAGE", _) => Kind::OtherMessage,
                _ => Kind::Other,
            };
        }
    }

    /// Takes up one header field; a later one of the same name replaces it. `value` runs to the header's end.
    fn field(&mut self, index: usize, name: &[u8], value: &[u8]) {
        let Some(field) = Field::named(name) else { return };
        if field == Field::ContentType {
            return self.content_type(index, value);
        }
        let Tree {
            parts,
            text,
            addresses,
            ..
        } = &mut self.tree;
        let part = parts.get_mut(index).expect("indices come from begin()");
        let mut list = || {
            let start = addresses.len();
            address::parse(value.get(..field_end(value)).unwrap_or_default(), text, addresses);
            Addresses {
                start,
                end: addresses.len(),
            }
        };
        let envelope = &mut part.envelope;
        match field {
            Field::Bcc => envelope.bcc = list(),
            Field::Cc => envelope.cc = list(),
            Field::From => envelope.from = list(),
            Field::ReplyTo => envelope.reply_to = list(),
            Field::Sender => envelope.sender = list(),
            Field::To => envelope.to = list(),
            Field::Date => envelope.date = Some(unfolded(value, text)),
            Field::InReplyTo => envelope.in_reply_to = Some(unfolded(value, text)),
            Field::MessageId => envelope.message_id = Some(unfolded(value, text)),
            Field::References => envelope.references = Some(unfolded(value, text)),
            Field::Subject => envelope.subject = Some(unfolded(value, text)),
            Field::Description => part.description = Some(unfolded(value, text)),
            Field::Id => part.id = Some(unfolded(value, text)),
            Field::Location => part.location = Some(unfolded(value, text)),
            Field::Md5 => part.md5 = Some(unfolded(value, text)),
            Field::Disposition => {
                part.disposition =
                    params::disposition(value, text).map(|parsed| (parsed.name, parsed.params));
            }
            Field::Encoding => part.encoding = params::encoding(value, text),
            Field::Language => part.languages = params::languages(value, text),
            Field::ContentType => {}
        }
    }

    /// Passes over content up to the next delimiter of an open multipart.
    fn pass_content(&mut self) -> Region {
        let rest = self.message.get(self.offset..).unwrap_or_default();
        let mut region = Region::default();
        let mut end = rest.len();
        let mut after = rest.len();
        if !self.boundaries.is_empty() {
            let mut from = 0;
            let finder = memmem::Finder::new(b"\n--");
            while let Some(line) = delimiter_candidate(rest, from, &finder) {
                let text = rest.get(line..).unwrap_or_default();
                let len = memchr(b'\n', text).map_or(text.len(), |lf| lf + 1);
                let text = text.get(..len).unwrap_or_default();
                if self.boundaries.ends_at(text) {
                    (end, after) = (line, line + len);
                    (region.boundary_size, region.boundary_lines) = (clamp(len), 1);
                    break;
                }
                from = line + len;
            }
        }
        let content = rest.get(..end).unwrap_or_default();
        (region.size, region.lines) = (clamp(content.len()), count_lines(content));
        if region.boundary_lines > 0 {
            if region.lines > 0 {
                region.lines -= 1;
                region.boundary_lines += 1;
            }
            if region.size > 1 {
                region.size -= 2;
                region.boundary_size += 2;
            }
        }
        self.offset += after;
        region
    }

    /// Parses the content of the leaf `index`.
    fn content(&mut self, index: usize) {
        let start = self.offset;
        let region = self.pass_content();
        let (encoding, _) = self
            .tree
            .parts
            .get(index)
            .map_or((Encoding::Identity, None), |part| self.tree.charset(part));
        let content = self
            .message
            .get(start..)
            .and_then(|rest| rest.get(..region.size as usize))
            .unwrap_or_default();
        let (sha1, decoded_size) = digest(encoding, content);
        let part = self.part(index);
        part.content_size = region.size;
        part.content_lines = region.lines;
        part.boundary_size = region.boundary_size;
        part.boundary_lines = region.boundary_lines;
        part.content_sha1 = sha1;
        part.decoded_size = decoded_size;
    }

    /// Ends all multiparts if the message ended inside the part `child`.
    fn end_child(&mut self, child: usize) {
        if self.offset >= self.message.len() && self.part(child).boundary_size == 0 {
            self.boundaries.truncate(0);
        }
    }

    fn finish_message(&mut self, part: usize, child: usize) -> usize {
        self.nested -= 1;
        let child = self.part(child);
        let size = child.header_size.wrapping_add(child.content_size);
        let lines = child.header_lines.wrapping_add(child.content_lines);
        let boundary = (child.boundary_size, child.boundary_lines);
        let start = self.part(part).content_offset as usize;
        let content = self
            .message
            .get(start..)
            .and_then(|rest| rest.get(..size as usize))
            .unwrap_or_default();
        let (sha1, decoded_size) = digest(Encoding::Identity, content);
        let part_ref = self.part(part);
        part_ref.content_size = size;
        part_ref.content_lines = lines;
        (part_ref.boundary_size, part_ref.boundary_lines) = boundary;
        part_ref.content_sha1 = sha1;
        part_ref.decoded_size = decoded_size;
        part
    }

    fn finish_multipart(&mut self, index: usize, depth: usize, mut preamble: Region) -> usize {
        let mut epilogue = Region::default();
        let mut boundary = (0, 0);
        let last = self.part(index).last_child;
        if self.boundaries.len() + 1 == depth || self.tree.parts.len() >= MAX_PARTS {
            epilogue = self.pass_content();
        } else if let Some(last) = last {
            // The delimiter of an outer multipart ended the last child; it is ours to hand on.
            let last = self.part(last);
            boundary = (
                std::mem::take(&mut last.boundary_size),
                std::mem::take(&mut last.boundary_lines),
            );
        } else {
            boundary = (
                std::mem::take(&mut preamble.boundary_size),
                std::mem::take(&mut preamble.boundary_lines),
            );
        }
        let mut size = preamble.size.wrapping_add(preamble.boundary_size);
        let mut lines = preamble.lines.wrapping_add(preamble.boundary_lines);
        for child in self
            .tree
            .parts
            .get(index)
            .into_iter()
            .flat_map(|part| self.tree.children(part))
        {
            for (of_size, of_lines) in [
                (child.header_size, child.header_lines),
                (child.content_size, child.content_lines),
                (child.boundary_size, child.boundary_lines),
            ] {
                size = size.wrapping_add(of_size);
                lines = lines.wrapping_add(of_lines);
            }
        }
        let part = self.part(index);
        part.content_size = size.wrapping_add(epilogue.size);
        part.content_lines = lines.wrapping_add(epilogue.lines);
        part.boundary_size = boundary.0 + epilogue.boundary_size;
        part.boundary_lines = boundary.1 + epilogue.boundary_lines;
        index
    }
}

/// The next line at or after `from` that begins with two hyphens; `from` is the beginning of a line.
fn delimiter_candidate(text: &[u8], from: usize, finder: &memmem::Finder<'_>) -> Option<usize> {
    let rest = text.get(from..)?;
    if rest.starts_with(b"--") {
        return Some(from);
    }
    finder.find(rest).map(|lf| from + lf + 1)
}

/// The field value that `text` begins with, without blanks at its beginning and with folds undone.
fn unfolded(text: &[u8], out: &mut Text) -> Span {
    let blanks = text
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    let value = text.get(blanks..).unwrap_or_default();
    let value = value.get(..field_end(value)).unwrap_or_default();
    let start = out.len();
    let mut rest = value;
    while let Some(lf) = memchr(b'\n', rest) {
        let (line, after) = rest.split_at(lf);
        out.append(line);
        if out.len() > start && out.last() == Some(b'\r') {
            out.truncate(out.len() - 1);
        }
        rest = after.get(1..).unwrap_or_default();
    }
    out.append(rest);
    out.span_from(start)
}

/// SHA-1 and size of the decoded content; zero if it cannot be decoded.
fn digest(encoding: Encoding, content: &[u8]) -> ([u8; 20], u32) {
    if encoding == Encoding::Unknown {
        return ([0; 20], 0);
    }
    let mut sha1 = Sha1::new();
    let mut size = 0;
    let mut held = Vec::new();
    decode(encoding, content, &mut |piece| {
        size += piece.len();
        if piece.len() >= HASH_PIECE {
            sha1.update(&held);
            held.clear();
            sha1.update(piece);
        } else {
            held.extend_from_slice(piece);
            if held.len() >= HASH_PIECE {
                sha1.update(&held);
                held.clear();
            }
        }
    });
    sha1.update(&held);
    (sha1.finalize().into(), clamp(size))
}

/// Decoded content is hashed in pieces of at least this size.
const HASH_PIECE: usize = 4096;

/// An extended parameter value, `charset'language'percent-encoded` (RFC 2231, section 4), as UTF-8.
fn extended_value(value: &[u8]) -> Option<Vec<u8>> {
    let mut fields = value.splitn(3, |&byte| byte == b'\'');
    let (charset, _language, mut rest) = (fields.next()?, fields.next()?, fields.next()?);
    let charset = Charset::by_name(charset)?;
    let mut octets = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            octets.push(
                u8::from_str_radix(digits, 16)
                    .ok()
                    .filter(|_| !digits.starts_with('+'))?,
            );
            rest = rest.get(2..)?;
        } else {
            octets.push(byte);
        }
    }
    Some(until_nul(charset.decode(&octets).as_bytes()).to_vec())
}

/// The header fields that the structure and the envelope are made from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Bcc,
    Cc,
    Description,
    Disposition,
    Id,
    Language,
    Location,
    Md5,
    Encoding,
    ContentType,
    Date,
    From,
    InReplyTo,
    MessageId,
    ReplyTo,
    References,
    Subject,
    Sender,
    To,
}

impl Field {
    fn named(name: &[u8]) -> Option<Self> {
        let (known, field): (&[u8], Self) = match (name.len(), name.first()?.to_ascii_lowercase()) {
            (2, b'c') => (b"cc", Self::Cc),
            (2, b't') => (b"to", Self::To),
            (3, b'b') => (b"bcc", Self::Bcc),
            (4, b'd') => (b"date", Self::Date),
            (4, b'f') => (b"from", Self::From),
            (6, b's') => (b"sender", Self::Sender),
            (7, b's') => (b"subject", Self::Subject),
            (8, b'r') => (b"reply-to", Self::ReplyTo),
            (10, b'm') => (b"message-id", Self::MessageId),
            (10, b'c') => (b"content-id", Self::Id),
            (10, b'r') => (b"references", Self::References),
            (11, b'i') => (b"in-reply-to", Self::InReplyTo),
            (11, b'c') => (b"content-md5", Self::Md5),
            (12, b'c') => (b"content-type", Self::ContentType),
            (16, b'c') => match name.get(8..10)? {
                b"la" | b"LA" | b"La" | b"lA" => (b"content-language", Self::Language),
                _ => (b"content-location", Self::Location),
            },
            (19, b'c') => match name.get(9).map(u8::to_ascii_lowercase)? {
                b'e' => (b"content-description", Self::Description),
                _ => (b"content-disposition", Self::Disposition),
            },
            (25, b'c') => (b"content-transfer-encoding", Self::Encoding),
            _ => return None,
        };
        name.eq_ignore_ascii_case(known).then_some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Vec<u8> {
        let mut message = b"Content-Type: message/rfc822\r\n\r\n".repeat(depth);
        message.extend_from_slice(b"\r\nend");
        message
    }

    #[test]
    fn messages_inside_messages_stop_at_the_limit() {
        assert_eq!(parse(&nested(200)).parts.len(), 201);
        assert_eq!(parse(&nested(1500)).parts.len(), MAX_NESTED_MESSAGES + 2);
    }

    #[test]
    fn multiparts_inside_multiparts_stop_at_the_limit() {
        let mut message = Vec::new();
        for level in 0..3000 {
            message.extend(
                format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n").bytes(),
            );
        }
        let tree = parse(&message);
        assert_eq!(tree.parts.len(), MAX_BOUNDARIES);
    }

    #[test]
    fn a_flood_of_parts_ends_in_the_epilogue() {
        let mut message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
        message.extend(b"--b\r\n".repeat(MAX_PARTS + 10));
        let tree = parse(&message);
        assert_eq!(tree.parts.len(), MAX_PARTS);
    }
}
