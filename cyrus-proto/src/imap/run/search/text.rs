//! The texts of one message that SEARCH looks into.

use cyrus_store::message::{Fields, select_fields};
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
    /// Whether the cache answers.
    pub(super) fn is_cached(&self) -> bool {
        match self {
            Self::Bcc | Self::Cc | Self::From | Self::To | Self::Subject => true,
            Self::Header(_) | Self::Body | Self::Text => false,
        }
    }
}

/// The texts of a message, read as they are needed.
pub(super) struct Texts<'m, 'r> {
    message: &'m Message<'r>,
    cached: Option<CachedRecord>,
    file: Option<MessageFile>,
    octets: u64,
}

impl<'m, 'r> Texts<'m, 'r> {
    pub(super) fn new(message: &'m Message<'r>) -> Self {
        Self {
            message,
            cached: None,
            file: None,
            octets: 0,
        }
    }

    /// Octets of files looked at.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// Whether the string is there.
    pub(super) fn contain(&mut self, place: &Where, pattern: &Pattern) -> Result<bool, MailboxError> {
        match place {
            Where::Bcc | Where::Cc | Where::From | Where::To | Where::Subject => {
                let record = self.cached()?.record();
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
                let names = [name.as_slice()];
                let fields = match self.cached()?.header_fields(&names) {
                    Some(fields) => fields,
                    None => {
                        let size = self.message.header_size() as usize;
                        let file = self.file()?;
                        let header = file.get(..size.min(file.len())).unwrap_or_default();
                        select_fields(header, Fields::Only(&names))
                    }
                };
                Ok(field_values(&fields).any(|value| pattern.in_header(&value)))
            }
            Where::Body => self.in_message(pattern, Scope::Body),
            Where::Text => self.in_message(pattern, Scope::Text),
        }
    }

    fn in_message(&mut self, pattern: &Pattern, scope: Scope) -> Result<bool, MailboxError> {
        self.file()?;
        self.cached()?;
        let (Some(cached), Some(file)) = (&self.cached, &self.file) else {
            return Ok(false);
        };
        let Ok(sections) = cached.record().sections() else {
            return Ok(false);
        };
        Ok(pattern.in_message(file, &sections, scope))
    }

    fn cached(&mut self) -> Result<&CachedRecord, MailboxError> {
        if self.cached.is_none() {
            self.cached = Some(self.message.cache()?);
        }
        self.cached.as_ref().ok_or(MailboxError::MessageGone)
    }

    fn file(&mut self) -> Result<&MessageFile, MailboxError> {
        if self.file.is_none() {
            self.octets += u64::from(self.message.size());
            self.file = Some(self.message.file()?);
        }
        self.file.as_ref().ok_or(MailboxError::MessageGone)
    }
}

/// The values of header fields, with their folding.
fn field_values(fields: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut values: Vec<Vec<u8>> = Vec::new();
    for line in fields.split_inclusive(|&c| c == b'\n') {
        match line {
            b"\n" | b"\r\n" => {}
            [b' ' | b'\t', ..] => {
                if let Some(value) = values.last_mut() {
                    value.extend_from_slice(line);
                }
            }
            line => {
                let value = line
                    .iter()
                    .position(|&c| c == b':')
                    .map_or(line.len(), |at| at + 1);
                values.push(line.get(value..).unwrap_or_default().to_vec());
            }
        }
    }
    values.into_iter()
}
