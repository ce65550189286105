//! Messages made of what a client sends and names: CATENATE (RFC 4469), binary literals (RFC 3516), UTF-8 headers (RFC 6855).

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Deref;
use std::sync::Arc;

use cyrus_acl::Rights;
use cyrus_store::{MailboxError, MailboxName, MessageFile, NewMessage, StagedBytes, StagingFile, Uid};

use super::Request;
use super::append::{Refused, StagedMessage, lost};
use super::binary_parts::without_binary_parts;
use super::body::{Value, find};
use crate::eight_bit::EightBitHeaders;
use crate::imap::command::{AppendContent, CatenatePart, Literal, LiteralForm, Octets, Section, SectionText};
use crate::imap::intake::{Fault, Intake};
use crate::imap::response::{Code, Reply};
use crate::imap::url::ImapUrl;

/// Makes the messages of one APPEND, in their order.
pub(super) struct Maker<'r> {
    request: &'r Request,
    target: &'r MailboxName,
    /// Staged literals come in the order of their messages.
    staged: std::vec::IntoIter<io::Result<StagedMessage>>,
}

/// What a client sent.
enum Bytes {
    Memory(Vec<u8>),
    Staged(StagedBytes),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Staged(bytes) => bytes,
        }
    }
}

/// What must be known of the literals of a message.
#[derive(Clone, Copy, Default)]
struct Forms {
    binary: bool,
    utf8: bool,
}

impl Forms {
    fn note(&mut self, form: LiteralForm) {
        self.binary |= form == LiteralForm::Binary;
        self.utf8 |= form == LiteralForm::Utf8;
    }
}

impl<'r> Maker<'r> {
    pub(super) fn new(
        request: &'r Request,
        target: &'r MailboxName,
        staged: Vec<io::Result<StagedMessage>>,
    ) -> Self {
        Self {
            request,
            target,
            staged: staged.into_iter(),
        }
    }

    /// The next message.
    pub(super) fn message(&mut self, content: AppendContent) -> Result<NewMessage, Refused> {
        let literal = match content {
            AppendContent::Catenate(parts) => return self.catenate(parts),
            AppendContent::Literal(literal) => literal,
        };
        let mut forms = Forms::default();
        forms.note(literal.form);
        match (literal.form, literal.octets) {
            (LiteralForm::Plain, Octets::Memory(bytes)) => self.in_memory(bytes),
            (LiteralForm::Plain, Octets::Staged(_)) => self.in_file(),
            (_, octets) => {
                let bytes = self.bytes(octets)?;
                self.whole(&bytes, forms)
            }
        }
    }

    fn in_memory(&self, bytes: Vec<u8>) -> Result<NewMessage, Refused> {
        if bytes.is_empty() {
            return Err(Reply::no("Zero-length message literal").into());
        }
        let mut intake = Intake::new(self.request.service.options.eight_bit_headers);
        let munged = match intake.take(&bytes) {
            Cow::Borrowed(_) => None,
            Cow::Owned(munged) => Some(munged),
        };
        match intake.finish() {
            Ok(()) => Ok(NewMessage::from_bytes(munged.unwrap_or(bytes))),
            Err(fault) => Err(Reply::no(fault.text()).into()),
        }
    }

    fn in_file(&mut self) -> Result<NewMessage, Refused> {
        let StagedMessage { file, intake } = self.next_staged()?;
        match intake.map_or(Ok(()), Intake::finish) {
            Ok(()) => Ok(NewMessage::from_staged(file.finish()?)),
            Err(fault) => Err(Reply::no(fault.text()).into()),
        }
    }

    fn next_staged(&mut self) -> Result<StagedMessage, Refused> {
        match self.staged.next() {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(lost(self.request, &error).into()),
            None => Err(lost(self.request, &io::Error::other("staged literal is missing")).into()),
        }
    }

    fn bytes(&mut self, octets: Octets) -> Result<Bytes, Refused> {
        Ok(match octets {
            Octets::Memory(bytes) => Bytes::Memory(bytes),
            Octets::Staged(_) => Bytes::Staged(self.next_staged()?.file.into_bytes()?),
        })
    }

    /// A message of parts.
    fn catenate(&mut self, parts: Vec<CatenatePart>) -> Result<NewMessage, Refused> {
        let mut forms = Forms::default();
        for part in &parts {
            if let CatenatePart::Text(Literal { form, .. }) = part {
                forms.note(*form);
            }
        }
        // Encoding parts takes the whole message; else its octets need not be gathered before they are checked.
        let mut gathered = Gathered::new(
            self,
            match forms.binary {
                true => None,
                false => Some(self.intake(forms)),
            },
        )?;
        for part in parts {
            match part {
                CatenatePart::Text(literal) => gathered.put(&self.bytes(literal.octets)?)?,
                CatenatePart::Url(url) => {
                    let part = self.part_of_url(&url)?;
                    gathered.put(part.octets())?;
                }
            }
        }
        if gathered.length == 0 {
            return Err(Reply::no("Zero-length message literal").into());
        }
        match forms.binary {
            true => {
                let bytes = gathered.file.into_bytes()?;
                self.whole(&bytes, forms)
            }
            false => gathered.finish(forms),
        }
    }

    fn intake(&self, forms: Forms) -> Intake {
        Intake::new(match forms.utf8 {
            true => EightBitHeaders::Keep,
            false => self.request.service.options.eight_bit_headers,
        })
    }

    /// A message that is complete, but is to be checked, and made such that a mailbox can hold it.
    fn whole(&self, bytes: &[u8], forms: Forms) -> Result<NewMessage, Refused> {
        if bytes.is_empty() {
            return Err(Reply::no("Zero-length message literal").into());
        }
        let mut gathered = Gathered::new(self, Some(self.intake(forms)))?;
        match forms.binary {
            true => without_binary_parts(bytes, &mut |octets| gathered.put(octets))?,
            false => gathered.put(bytes)?,
        }
        gathered.finish(forms)
    }

    /// What a URL of CATENATE names.
    fn part_of_url(&self, url: &[u8]) -> Result<PartOfUrl, Refused> {
        let bad = |text: &str| Refused::Reply(Reply::no(text).with(Code::BadUrl(shown(url))));
        let parsed = ImapUrl::parse(url).map_err(|error| bad(&error.to_string()))?;
        if parsed.server.is_some() {
            return Err(bad("Only relative URLs are supported"));
        }
        let name = match (&parsed.mailbox, &self.request.mailbox) {
            (Some(mailbox), _) => self.request.name(mailbox),
            (None, Some(selected)) => Ok(selected.mailbox.name().clone()),
            (None, None) => return Err(bad("No mailbox is selected")),
        };
        let found = name.and_then(|name| look_up(self.request, &parsed, &name));
        match found {
            Ok(Ok(part)) => Ok(part),
            Ok(Err(text)) => Err(bad(text)),
            Err(error) => {
                // Logs what an administrator should know.
                let reply = self.request.refusal(&error);
                Err(bad(&reply.text))
            }
        }
    }
}

/// A part of a message in a mailbox.
pub(super) struct PartOfUrl {
    file: Arc<MessageFile>,
    value: Value,
}

impl PartOfUrl {
    pub(super) fn octets(&self) -> &[u8] {
        match &self.value {
            Value::Nil => b"",
            Value::File(range) => self.file.get(range.clone()).unwrap_or_default(),
            Value::Text(text) => text,
        }
    }
}

/// What a URL names in a mailbox, or why it names nothing.
fn look_up(
    request: &Request,
    url: &ImapUrl,
    name: &MailboxName,
) -> Result<Result<PartOfUrl, &'static str>, MailboxError> {
    let mut mailbox = request.service.store.open_mailbox(name, &request.user.auth)?;
    if !mailbox.rights().contains(Rights::READ) {
        return Err(MailboxError::PermissionDenied);
    }
    let read = mailbox.read()?;
    if url
        .uidvalidity
        .is_some_and(|uidvalidity| uidvalidity != read.uidvalidity().0)
    {
        return Ok(Err("Uidvalidity of mailbox has changed"));
    }
    let message = Uid::new(url.uid).and_then(|uid| read.get(uid));
    let Some(message) = message else {
        return Ok(Err("No such message in mailbox"));
    };
    let section = url.section.clone().unwrap_or(Section {
        part: Vec::new(),
        text: SectionText::Whole,
    });
    let cached = match section.part.is_empty() {
        true => None,
        false => Some(message.cache()?),
    };
    let file = Arc::new(message.file()?);
    let value = find(&section, &file, cached.as_ref(), message.header_size() as usize);
    if matches!(value, Value::Nil) {
        return Ok(Err("No such part in message"));
    }
    let partial = url
        .partial
        .map(|(start, count)| (start, count.unwrap_or(u64::MAX)));
    let value = value.cut(partial);
    Ok(Ok(PartOfUrl { file, value }))
}

/// A URL as the code BADURL has it: quoted, and without what would break the line (RFC 4469, section 5).
fn shown(url: &[u8]) -> String {
    const MAX_SHOWN: usize = 1_024;
    let mut text = "\"".to_owned();
    for &c in url.iter().take(MAX_SHOWN) {
        match c {
            b'"' | b'\\' | b']' => text.push_str(&format!("%{c:02X}")),
            c if c.is_ascii_graphic() => text.push(char::from(c)),
            c => text.push_str(&format!("%{c:02X}")),
        }
    }
    text.push('"');
    text
}

/// A message as it grows.
struct Gathered {
    file: StagingFile,
    /// `None` while its octets are only kept.
    intake: Option<Intake>,
    length: u64,
    limit: u64,
}

impl Gathered {
    fn new(maker: &Maker<'_>, intake: Option<Intake>) -> Result<Self, Refused> {
        let service = &maker.request.service;
        Ok(Self {
            file: service.store.stage(maker.target)?,
            intake,
            length: 0,
            limit: service.options.append_limit(),
        })
    }

    fn put(&mut self, octets: &[u8]) -> Result<(), Refused> {
        /// Octets that are checked and written at a time.
        const PIECE: usize = 256 * 1024;
        self.length = self.length.saturating_add(octets.len() as u64);
        if self.length > self.limit {
            return Err(Reply::no("Message size exceeds fixed limit")
                .with(Code::TooBig)
                .into());
        }
        for piece in octets.chunks(PIECE) {
            let kept = match &mut self.intake {
                Some(intake) => intake.take(piece),
                None => Cow::Borrowed(piece),
            };
            self.file
                .write_all(&kept)
                .map_err(|error| MailboxError::Refused(format!("the message cannot be staged: {error}")))?;
        }
        Ok(())
    }

    fn finish(self, forms: Forms) -> Result<NewMessage, Refused> {
        match self.intake.map_or(Ok(()), Intake::finish) {
            Ok(()) => Ok(NewMessage::from_staged(self.file.finish()?)),
            Err(fault @ Fault::Nul) if forms.binary => {
                Err(Reply::no(fault.text()).with(Code::UnknownCte).into())
            }
            Err(fault) => Err(Reply::no(fault.text()).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_url_cannot_break_the_code_it_stands_in() {
        assert_eq!(shown(b"/a/;UID=1"), "\"/a/;UID=1\"");
        assert_eq!(shown(b"a] \"\r\n\xe9"), "\"a%5D%20%22%0D%0A%E9\"");
    }
}
