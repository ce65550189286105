//! The parts of a message that FETCH sends: which octets, and how they get into the output without a copy.

use std::ops::Range;
use std::sync::Arc;

use cyrus_store::message::{Fields, select_fields};
use cyrus_store::{CachedRecord, MailboxError, Message, MessageFile};

use super::binary::Binary;
use crate::imap::command::{
    BinarySection, BinaryWanted, BodySection, FetchAttributes, FetchItems, Section, SectionText,
};
use crate::imap::response::FetchLine;
use crate::output::{Output, SharedBytes};

impl SharedBytes for MessageFile {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// A message's file and what of it is wanted.
pub(super) struct Body {
    file: Option<Arc<MessageFile>>,
    /// The end of the header.
    header: usize,
    /// The value of each section, in the order asked for.
    sections: Vec<Value>,
    header_lines: Vec<Value>,
    binaries: Vec<Binary>,
}

/// The value of a section.
pub(super) enum Value {
    Nil,
    /// Octets of the file.
    File(Range<usize>),
    /// Selected header fields.
    Text(Vec<u8>),
}

const WHOLE_ITEMS: FetchItems = FetchItems::RFC822
    .with(FetchItems::RFC822_PEEK)
    .with(FetchItems::RFC822_HEADER)
    .with(FetchItems::RFC822_TEXT)
    .with(FetchItems::RFC822_TEXT_PEEK);

/// Items for which the file is looked at.
const FILE_ITEMS: FetchItems = WHOLE_ITEMS
    .with(FetchItems::FILESIZE)
    .with(FetchItems::SHA1)
    .with(FetchItems::PREVIEW)
    .with(FetchItems::PREVIEW_LAZY);

impl Body {
    /// Finds everything wanted of a message; `None` if that is nothing.
    pub(super) fn of(
        message: &Message<'_>,
        cached: Option<&CachedRecord>,
        wanted: &FetchAttributes,
    ) -> Result<Option<Self>, MailboxError> {
        let no_part =
            wanted.sections.is_empty() && wanted.binaries.is_empty() && wanted.header_lines.is_empty();
        if no_part && !wanted.items.intersects(FILE_ITEMS) {
            return Ok(None);
        }
        let mut body = Self {
            file: None,
            header: message.header_size() as usize,
            sections: Vec::with_capacity(wanted.sections.len()),
            header_lines: Vec::new(),
            binaries: Vec::new(),
        };
        if wanted.items.intersects(FILE_ITEMS) {
            body.open(message)?;
        }
        for section in &wanted.sections {
            let value = match body.cached_fields(&section.section, cached) {
                Some(text) => Value::Text(text),
                None => {
                    let file = body.open(message)?;
                    find(&section.section, &file, cached, body.header)
                }
            };
            body.sections.push(value.cut(section.partial));
        }
        for text in &wanted.header_lines {
            let section = Section {
                part: Vec::new(),
                text: text.clone(),
            };
            let value = match body.cached_fields(&section, cached) {
                Some(text) => Value::Text(text),
                None => find(&section, &*body.open(message)?, cached, body.header),
            };
            body.header_lines.push(value);
        }
        for section in &wanted.binaries {
            // The size alone is in the cache.
            let file = match section.wanted {
                BinaryWanted::Size if !section.part.is_empty() => None,
                _ => Some(body.open(message)?),
            };
            body.binaries
                .push(Binary::of(section, message.size(), file.as_deref(), cached));
        }
        Ok(Some(body))
    }

    /// Whether nothing of a message can be sent, for all that is wanted are parts whose encoding is unknown.
    pub(super) fn is_unknown(&self) -> bool {
        self.sections.is_empty()
            && self.header_lines.is_empty()
            && self.binaries.iter().all(Binary::is_unknown)
    }

    /// Whether some part is wanted whose encoding is unknown.
    pub(super) fn has_unknown(&self) -> bool {
        self.binaries.iter().any(Binary::is_unknown)
    }

    /// The file, if it was looked at.
    pub(super) fn file(&self) -> Option<&MessageFile> {
        self.file.as_deref()
    }

    fn open(&mut self, message: &Message<'_>) -> Result<Arc<MessageFile>, MailboxError> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let file = Arc::new(message.file()?);
        self.file = Some(file.clone());
        Ok(file)
    }

    /// `BODY[HEADER.FIELDS (...)]` of the whole message, when the cache has all of the fields.
    fn cached_fields(&self, section: &Section, cached: Option<&CachedRecord>) -> Option<Vec<u8>> {
        match &section.text {
            SectionText::HeaderFields(fields) if section.part.is_empty() => cached?.header_fields(fields),
            _ => None,
        }
    }
}

impl Value {
    /// `<start.count>` of the value.
    pub(super) fn cut(self, partial: Option<(u64, u64)>) -> Self {
        let Some((start, count)) = partial else {
            return self;
        };
        let octets = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let (start, count) = (octets(start), octets(count));
        match self {
            Self::Nil => Self::Nil,
            Self::File(range) => {
                let from = range.start.saturating_add(start).min(range.end);
                Self::File(from..from.saturating_add(count).min(range.end))
            }
            Self::Text(text) => {
                let from = start.min(text.len());
                let to = from.saturating_add(count).min(text.len());
                Self::Text(text.get(from..to).unwrap_or_default().to_vec())
            }
        }
    }
}

/// The octets of a section.
pub(super) fn find(
    section: &Section,
    file: &MessageFile,
    cached: Option<&CachedRecord>,
    header: usize,
) -> Value {
    if section.part.is_empty() {
        let header = header.min(file.len());
        return match &section.text {
            SectionText::Whole => Value::File(0..file.len()),
            SectionText::Header => Value::File(0..header),
            SectionText::Text => Value::File(header..file.len()),
            SectionText::Mime => Value::Nil,
            SectionText::HeaderFields(fields) => fields_of(file, 0..header, Fields::Only(fields)),
            SectionText::HeaderFieldsNot(fields) => fields_of(file, 0..header, Fields::Not(fields)),
        };
    }
    let record = cached.map(CachedRecord::record);
    let Some(sections) = record.and_then(|record| record.sections().ok()) else {
        return Value::Nil;
    };
    let path = &section.part;
    let range = |extent: Option<cyrus_store::message::Extent>| {
        let extent = extent?;
        let start = (extent.offset as usize).min(file.len());
        Some(start..start.saturating_add(extent.size as usize).min(file.len()))
    };
    let part = |path| sections.part(path);
    let found = match &section.text {
        SectionText::Whole => range(part(path).and_then(|part| part.content)),
        SectionText::Mime => range(part(path).and_then(|part| part.header)),
        SectionText::Header | SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_) => {
            range(sections.message(path).and_then(|message| message.header))
        }
        SectionText::Text => range(sections.message(path).and_then(|message| message.content)),
    };
    match (found, &section.text) {
        (None, _) => Value::Nil,
        (Some(range), SectionText::HeaderFields(fields)) => fields_of(file, range, Fields::Only(fields)),
        (Some(range), SectionText::HeaderFieldsNot(fields)) => fields_of(file, range, Fields::Not(fields)),
        (Some(range), _) => Value::File(range),
    }
}

fn fields_of(file: &MessageFile, header: Range<usize>, fields: Fields<'_, Vec<u8>>) -> Value {
    Value::Text(select_fields(file.get(header).unwrap_or_default(), fields))
}

/// Appends the items of a body: short ones to `text`, long ones straight to `output`, after what `text` has so far.
pub(super) fn put_body(
    text: &mut Vec<u8>,
    output: &mut Output,
    written: &mut usize,
    body: &Body,
    wanted: &FetchAttributes,
    first: bool,
) {
    let mut sink = Sink {
        text,
        output,
        written,
        body,
        first,
    };
    let size = body.file.as_ref().map_or(0, |file| file.len());
    let header = body.header.min(size);
    for value in &body.header_lines {
        let text = match value {
            Value::Text(text) => text.as_slice(),
            Value::Nil | Value::File(_) => b"",
        };
        sink.line().text("RFC822.HEADER", Some(text));
    }
    for (items, name, range) in [
        (FetchItems::RFC822_HEADER, "RFC822.HEADER", 0..header),
        (
            FetchItems::RFC822_TEXT.with(FetchItems::RFC822_TEXT_PEEK),
            "RFC822.TEXT",
            header..size,
        ),
        (
            FetchItems::RFC822.with(FetchItems::RFC822_PEEK),
            "RFC822",
            0..size,
        ),
    ] {
        if wanted.items.intersects(items) {
            sink.file(
                range,
                |line, size| line.literal(name, size),
                |line, value| line.text(name, value),
            );
        }
    }
    for (section, value) in wanted.sections.iter().zip(&body.sections) {
        sink.section(section, value);
    }
    // Sizes come last, as Cyrus has it.
    for size in [false, true] {
        for (section, value) in wanted.binaries.iter().zip(&body.binaries) {
            if size == (section.wanted == BinaryWanted::Size) {
                sink.binary(section, value);
            }
        }
    }
}

struct Sink<'s> {
    text: &'s mut Vec<u8>,
    output: &'s mut Output,
    written: &'s mut usize,
    body: &'s Body,
    first: bool,
}

impl Sink<'_> {
    fn line(&mut self) -> FetchLine<'_> {
        match std::mem::take(&mut self.first) {
            true => FetchLine::resume_first(self.text),
            false => FetchLine::resume(self.text),
        }
    }

    fn section(&mut self, section: &BodySection, value: &Value) {
        match value {
            Value::Nil => self.line().section(section, None),
            Value::Text(text) => self.line().section(section, Some(text)),
            Value::File(range) => self.file(
                range.clone(),
                |line, size| line.section_literal(section, size),
                |line, value| line.section(section, value),
            ),
        }
    }

    fn binary(&mut self, section: &BinarySection, value: &Binary) {
        match value {
            Binary::Unknown => {}
            Binary::Nil => self.line().binary(section, None),
            Binary::Size(size) => self.line().binary_size(section, *size),
            Binary::Decoded(octets) => self.line().binary(section, Some(octets)),
            Binary::File(range) => {
                let octets = self.body.file.as_deref().and_then(|file| file.get(range.clone()));
                match octets {
                    Some(octets) if memchr::memchr(0, octets).is_none() => self.file(
                        range.clone(),
                        |line, size| line.binary_literal(section, size),
                        |line, value| line.binary(section, value),
                    ),
                    octets => self.line().binary(section, octets),
                }
            }
        }
    }

    /// Octets of the file: `announce`d and sent as a slice when they are many, `put` as they are when few.
    fn file(
        &mut self,
        range: Range<usize>,
        announce: impl Fn(&mut FetchLine<'_>, u64),
        put: impl Fn(&mut FetchLine<'_>, Option<&[u8]>),
    ) {
        let Some(file) = self.body.file.clone() else {
            return put(&mut self.line(), None);
        };
        if range.len() <= Output::COPY_BELOW {
            return put(&mut self.line(), file.get(range));
        }
        announce(&mut self.line(), range.len() as u64);
        *self.written += self.text.len() + range.len();
        self.output.put_vec(std::mem::take(self.text));
        let shared: Arc<dyn SharedBytes> = file;
        self.output.put_shared(&shared, range);
    }
}
