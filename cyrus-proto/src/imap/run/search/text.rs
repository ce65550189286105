//! What one message says, read as far as a search needs it: cache record, then message file.

use cyrus_store::message::{CacheRecord, Fields, field_values, select_fields};
use cyrus_store::search::index::{Place, has_words};
use cyrus_store::search::{Pattern, Scope};
use cyrus_store::{CachedRecord, MailboxError, Message, MessageFile};

/// Where a string is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Where {
    Bcc,
    Cc,
    From,
    To,
    Subject,
    /// The value of this field.
    Header(Vec<u8>),
    /// The decoded text of the body.
    Body,
    /// Header and body.
    Text,
}

impl Where {
    /// Where an index of texts has it.
    pub(super) fn in_index(&self) -> Place {
        match self {
            Self::Bcc => Place::Bcc,
            Self::Cc => Place::Cc,
            Self::From => Place::From,
            Self::To => Place::To,
            Self::Subject => Place::Subject,
            Self::Header(_) => Place::Header,
            Self::Body => Place::Body,
            Self::Text => Place::Text,
        }
    }

    /// Whether the cache answers.
    pub(super) fn is_cached(&self) -> bool {
        match self {
            Self::Bcc | Self::Cc | Self::From | Self::To | Self::Subject => true,
            Self::Header(_) | Self::Body | Self::Text => false,
        }
    }
}

/// The content of a message, read as it is needed.
pub(super) struct Items<'m, 'r> {
    message: &'m Message<'r>,
    cached: Cached<'r>,
    file: Option<MessageFile>,
}

enum Cached<'r> {
    No,
    Borrowed(CacheRecord<'r>),
    Parsed(CachedRecord),
}

impl<'m, 'r> Items<'m, 'r> {
    pub(super) fn new(message: &'m Message<'r>) -> Self {
        Self {
            message,
            cached: Cached::No,
            file: None,
        }
    }

    /// Whether the string is there.
    pub(super) fn contain(&mut self, place: &Where, pattern: &Pattern) -> Result<bool, MailboxError> {
        match place {
            Where::Bcc | Where::Cc | Where::From | Where::To | Where::Subject => {
                let record = self.cached()?;
                let text = match place {
                    Where::Bcc => record.bcc(),
                    Where::Cc => record.cc(),
                    Where::From => record.from(),
                    Where::To => record.to(),
                    _ => record.subject_text().unwrap_or_default(),
                };
                Ok(pattern.in_utf8(text))
            }
            Where::Header(name) => {
                let fields = self.header_fields(name)?;
                let mut values = field_values(&fields, name);
                Ok(values.any(|value| pattern.in_header(value)))
            }
            Where::Body => self.in_message(pattern, Scope::Body),
            Where::Text => self.in_message(pattern, Scope::Text),
        }
    }

    /// Whether all words of these stems are there, in any form.
    pub(super) fn have_words(&mut self, place: &Where, words: &[String]) -> Result<bool, MailboxError> {
        self.file()?;
        let Some(file) = self.file.clone() else {
            return Ok(false);
        };
        Ok(has_words(&file, &self.cached()?, place.in_index(), words))
    }

    /// The header fields of this name, as they stand in the message.
    pub(super) fn header_fields(&mut self, name: &[u8]) -> Result<Vec<u8>, MailboxError> {
        let names = [name];
        let version = match &self.cached {
            Cached::Parsed(cached) => cached.version(),
            _ => self.message.cache_version(),
        };
        if let Some(fields) = self.cached()?.header_fields(&names, version) {
            return Ok(fields);
        }
        let size = self.message.header_size() as usize;
        let file = self.file()?;
        let header = file.get(..size.min(file.len())).unwrap_or_default();
        Ok(select_fields(header, Fields::Only(&names)))
    }

    fn in_message(&mut self, pattern: &Pattern, scope: Scope) -> Result<bool, MailboxError> {
        self.file()?;
        let Some(file) = self.file.clone() else {
            return Ok(false);
        };
        let Ok(sections) = self.cached()?.sections() else {
            return Ok(false);
        };
        Ok(pattern.in_message(&file, &sections, scope))
    }

    /// The cache record.
    pub(super) fn cached(&mut self) -> Result<CacheRecord<'_>, MailboxError> {
        if let Cached::No = self.cached {
            self.cached = match self.message.cache_items()? {
                Some(record) => Cached::Borrowed(record),
                None => Cached::Parsed(self.message.cache()?),
            };
        }
        match &self.cached {
            Cached::Borrowed(record) => Ok(*record),
            Cached::Parsed(cached) => Ok(cached.record()),
            Cached::No => Err(MailboxError::MessageGone),
        }
    }

    fn file(&mut self) -> Result<&MessageFile, MailboxError> {
        if self.file.is_none() {
            self.file = Some(self.message.file()?);
        }
        self.file.as_ref().ok_or(MailboxError::MessageGone)
    }
}
