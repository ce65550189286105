//! The texts of one message that SEARCH looks into, each decoded and folded once.

use cyrus_store::message::{
    Charset, Encoding, Extent, Fields, Sections, decode_content, decode_header, select_fields,
};
use cyrus_store::{CachedRecord, MailboxError, Message, MessageFile};
use memchr::memmem;

use super::fold::fold;

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

/// Parts deeper than this are not looked into.
const MAX_DEPTH: usize = 32;

/// The texts of a message, read as they are needed.
pub(super) struct Texts<'m, 'r> {
    message: &'m Message<'r>,
    cached: Option<CachedRecord>,
    file: Option<MessageFile>,
    header: Option<String>,
    body: Option<String>,
    octets: u64,
}

impl<'m, 'r> Texts<'m, 'r> {
    pub(super) fn new(message: &'m Message<'r>) -> Self {
        Self {
            message,
            cached: None,
            file: None,
            header: None,
            body: None,
            octets: 0,
        }
    }

    /// Octets of files looked at.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// Whether the folded `string` is there.
    pub(super) fn contain(&mut self, place: &Where, string: &str) -> Result<bool, MailboxError> {
        let found = |text: &str| memmem::find(text.as_bytes(), string.as_bytes()).is_some();
        match place {
            Where::Bcc | Where::Cc | Where::From | Where::To => {
                let record = self.cached()?.record();
                let list = match place {
                    Where::Bcc => record.bcc(),
                    Where::Cc => record.cc(),
                    Where::From => record.from(),
                    _ => record.to(),
                };
                Ok(found(&fold(&String::from_utf8_lossy(list))))
            }
            Where::Subject => {
                let record = self.cached()?.record();
                let subject = record.subject_text().unwrap_or_default();
                Ok(found(&fold(&String::from_utf8_lossy(subject))))
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
                Ok(field_values(&fields).any(|value| found(&fold(&value))))
            }
            Where::Body => self.body().map(found),
            Where::Text => Ok(found(self.header()?) || found(self.body()?)),
        }
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

    /// The whole header, decoded and folded.
    fn header(&mut self) -> Result<&str, MailboxError> {
        if self.header.is_none() {
            let size = self.message.header_size() as usize;
            let file = self.file()?;
            let header = file.get(..size.min(file.len())).unwrap_or_default();
            self.header = Some(fold(&String::from_utf8_lossy(&decode_header(header))));
        }
        Ok(self.header.as_deref().unwrap_or_default())
    }

    /// The text of all parts that have any, decoded and folded.
    fn body(&mut self) -> Result<&str, MailboxError> {
        if self.body.is_none() {
            self.cached()?;
            self.file()?;
            let mut text = String::new();
            if let (Some(cached), Some(file)) = (&self.cached, &self.file)
                && let Ok(sections) = cached.record().sections()
            {
                add_parts(&mut text, &sections, file, &mut Vec::new());
            }
            self.body = Some(text);
        }
        Ok(self.body.as_deref().unwrap_or_default())
    }
}

/// The values of header fields, unfolded and decoded.
fn field_values(fields: &[u8]) -> impl Iterator<Item = String> {
    let mut values: Vec<Vec<u8>> = Vec::new();
    for line in fields.split(|&c| c == b'\n') {
        match line {
            b"" | b"\r" => {}
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
    values
        .into_iter()
        .map(|value| String::from_utf8_lossy(&decode_header(&value)).into_owned())
}

/// Appends the folded text of the parts below `path`: bodies that are text, and headers of enclosed messages.
fn add_parts(text: &mut String, sections: &Sections<'_>, file: &MessageFile, path: &mut Vec<u32>) {
    if path.len() > MAX_DEPTH {
        return;
    }
    let octets = |extent: Option<Extent>| {
        let extent = extent?;
        let start = extent.offset as usize;
        file.get(start..start.checked_add(extent.size as usize)?)
    };
    if !path.is_empty()
        && let Some(enclosed) = sections.message(path)
        && let Some(header) = octets(enclosed.header)
    {
        text.push('\n');
        text.push_str(&fold(&String::from_utf8_lossy(&decode_header(header))));
    }
    for number in 1..=sections.children(path).unwrap_or(0) {
        path.push(number);
        let charset = sections.part(path).and_then(|part| {
            let charset = Charset::by_name(part.charset?)?;
            Some((part, charset))
        });
        if let Some((part, charset)) = charset
            && part.encoding != Encoding::Unknown
            && let Some(content) = octets(part.content)
        {
            let mut decoded = Vec::with_capacity(content.len());
            decode_content(part.encoding, content, &mut |bytes| {
                decoded.extend_from_slice(bytes)
            });
            text.push('\n');
            text.push_str(&fold(&charset.decode(&decoded)));
        }
        add_parts(text, sections, file, path);
        path.pop();
    }
}
