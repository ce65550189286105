//! URLAUTH: URLs that others may look up (RFC 4467, RFC 5524).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cyrus_acl::{AuthState, Rights};
use cyrus_store::message::Encoding;
use cyrus_store::{CachedRecord, MailboxError, MailboxName, MessageFile, Uid};

use super::binary::decoded;
use super::body::{Value, find};
use super::part_structure::part_structure;
use super::{Chain, Pieces, Request, completed};
use crate::imap::command::{Section, SectionText, UrlFetch, UrlFetchData, UrlFetchItems, UrlRump};
use crate::imap::response::{Code, Reply, put_literal, put_literal8, put_string};
use crate::imap::selected::News;
use crate::imap::url::{ImapUrl, UrlAccess, UrlAuth};
use crate::job::Job;
use crate::output::{Output, SharedBytes};

/// The one mechanism there is.
const INTERNAL: &str = "INTERNAL";

/// GENURLAUTH.
pub(super) fn generate(
    request: &Request,
    urls: &[UrlRump],
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    let mut line = b"* GENURLAUTH".to_vec();
    for rump in urls {
        let shown = super::super::command::lex::printable(&rump.url);
        if !rump.mechanism.eq_ignore_ascii_case(INTERNAL.as_bytes()) {
            let mechanism = super::super::command::lex::printable(&rump.mechanism);
            return Ok(Reply::bad(format!(
                "Unknown auth mechanism to Genurlauth {mechanism}"
            )));
        }
        let refused = |why: &str| Ok(Reply::no(format!("Error authorizing {shown}: {why}")));
        let url = match ImapUrl::parse(&rump.url) {
            Ok(url) => url,
            Err(error) => return refused(&error.to_string()),
        };
        match &url.auth {
            None => return refused("it says not for whom"),
            Some(UrlAuth {
                verifier: Some(_), ..
            }) => return refused("it is authorized already"),
            Some(_) => {}
        }
        let Some(server) = &url.server else {
            return refused("it names no server");
        };
        if server.user.as_deref() != Some(request.user.name.as_bytes()) {
            return refused("it is not of a mailbox under your name");
        }
        if !server
            .host
            .eq_ignore_ascii_case(request.service.options.servername.as_bytes())
        {
            return refused("it is of another server");
        }
        let name = url.mailbox.as_deref().map(|mailbox| request.name(mailbox));
        let mailbox = match name {
            Some(name) => name.and_then(|name| request.service.store.open_mailbox(&name, &request.user.auth)),
            None => Err(MailboxError::NotFound),
        };
        let mailbox = match mailbox {
            Ok(mailbox) => mailbox,
            Err(error) if error.class() == cyrus_store::ErrorClass::Impossible => {
                return Ok(Reply::bad(format!("Poorly specified URL to Genurlauth {shown}")));
            }
            Err(error) => return Err(error),
        };
        let key = request
            .service
            .store
            .make_url_key(&request.user.name, mailbox.name())?;
        let mut authorized = rump.url.clone();
        authorized.extend_from_slice(format!(":internal:{}", key.token(&rump.url)).as_bytes());
        line.push(b' ');
        put_string(&mut line, &authorized);
    }
    out.extend_from_slice(&line);
    out.extend_from_slice(b"\r\n");
    Ok(completed())
}

/// RESETKEY.
pub(super) fn reset(
    request: &Request,
    mailbox: Option<&[u8]>,
    mechanisms: &[Vec<u8>],
) -> Result<Reply, MailboxError> {
    let unknown = |mechanism: &&Vec<u8>| !mechanism.eq_ignore_ascii_case(INTERNAL.as_bytes());
    if let Some(mechanism) = mechanisms.iter().find(unknown) {
        let mechanism = super::super::command::lex::printable(mechanism);
        return Ok(Reply::bad(format!(
            "Unknown auth mechanism to Resetkey {mechanism}"
        )));
    }
    let store = &request.service.store;
    let Some(mailbox) = mailbox else {
        store.remove_url_keys(&request.user.name, None)?;
        return Ok(Reply::ok("All keys removed"));
    };
    let name = request.name(mailbox);
    let found = name.and_then(|name| {
        store.open_mailbox(&name, &request.user.auth)?;
        Ok(name)
    });
    match found {
        Ok(name) => {
            store.remove_url_keys(&request.user.name, Some(&name))?;
            Ok(Reply::ok("key removed").with(Code::UrlMech(INTERNAL)))
        }
        Err(error) => {
            let reply = request.refusal(&error);
            Ok(Reply {
                text: format!("Error removing key: {}", reply.text),
                ..reply
            })
        }
    }
}

/// The job of a URLFETCH.
pub(super) fn fetch(request: Request, urls: Vec<UrlFetch>) -> Job {
    Job::new(Chain::new(Fetch {
        request: Some(request),
        urls: urls.into(),
        begun: false,
    }))
}

struct Fetch {
    request: Option<Request>,
    urls: VecDeque<UrlFetch>,
    begun: bool,
}

impl Pieces for Fetch {
    fn piece(&mut self, output: &mut Output, budget: usize) -> Result<Option<Reply>, MailboxError> {
        let Some(request) = &self.request else {
            return Ok(Some(completed()));
        };
        if !std::mem::replace(&mut self.begun, true) {
            output.put(b"* URLFETCH");
        }
        let mut written = 0;
        while written < budget {
            let Some(url) = self.urls.pop_front() else {
                output.put(b"\r\n");
                return Ok(Some(completed()));
            };
            let mut text = b" ".to_vec();
            put_string(&mut text, &url.url);
            // The line is begun, and must be ended: what cannot be had is NIL.
            let found = match Found::of(request, &url.url) {
                Ok(found) => found,
                Err(error) => {
                    // Logs what an administrator should know.
                    let _ = request.refusal(&error);
                    None
                }
            };
            written += text.len();
            match found {
                None => {
                    text.extend_from_slice(b" NIL");
                    output.put_vec(text);
                }
                Some(found) => written += found.put(text, url.items, output),
            }
        }
        Ok(None)
    }

    fn request(&mut self) -> Option<Request> {
        self.request.take()
    }

    fn news(&self) -> News<'_> {
        News::ALL
    }
}

/// What a URL names.
struct Found {
    file: Arc<MessageFile>,
    cached: CachedRecord,
    section: Section,
    header: usize,
    partial: Option<(u64, u64)>,
}

impl Found {
    /// What a URL names, if the user may look it up.
    fn of(request: &Request, text: &[u8]) -> Result<Option<Self>, MailboxError> {
        let Ok(url) = ImapUrl::parse(text) else {
            return Ok(None);
        };
        let Some((owner, name)) = authorized(request, &url, text)? else {
            return Ok(None);
        };
        let mut mailbox = request.service.store.open_mailbox(&name, &owner)?;
        if !mailbox.rights().contains(Rights::READ) {
            return Ok(None);
        }
        let read = mailbox.read()?;
        if url
            .uidvalidity
            .is_some_and(|uidvalidity| uidvalidity != read.uidvalidity().0)
        {
            return Ok(None);
        }
        let Some(message) = Uid::new(url.uid).and_then(|uid| read.get(uid)) else {
            return Ok(None);
        };
        let section = url.section.clone().unwrap_or(Section {
            part: Vec::new(),
            text: SectionText::Whole,
        });
        let (cached, file) = (message.cache()?, message.file()?);
        Ok(Some(Self {
            cached,
            file: Arc::new(file),
            section,
            header: message.header_size() as usize,
            partial: url
                .partial
                .map(|(start, count)| (start, count.unwrap_or(u64::MAX))),
        }))
    }

    /// Appends what is wanted after `text`; the octets of that.
    fn put(self, mut text: Vec<u8>, items: Option<UrlFetchItems>, output: &mut Output) -> usize {
        let items = items.unwrap_or_default();
        let value = find(&self.section, &self.file, Some(&self.cached), self.header);
        if matches!(value, Value::Nil) {
            text.extend_from_slice(b" NIL");
            return put_all(output, text);
        }
        let encoding = match (items.data, self.encoding()) {
            (Some(UrlFetchData::Binary), Encoding::Unknown) => {
                text.extend_from_slice(b" NIL");
                return put_all(output, text);
            }
            (Some(UrlFetchData::Binary), encoding) => encoding,
            _ => Encoding::Identity,
        };
        let octets = match (&value, encoding) {
            (Value::File(range), Encoding::Identity) => Octets::File(range.clone()),
            (Value::File(range), encoding) => {
                let content = self.file.get(range.clone()).unwrap_or_default();
                Octets::Text(decoded(encoding, content, None))
            }
            (Value::Text(text), _) => Octets::Text(text.clone()),
            (Value::Nil, _) => Octets::Text(Vec::new()),
        };
        if items.structure {
            let decoded_size = (encoding != Encoding::Identity).then(|| octets.len());
            text.extend_from_slice(b" (BODYPARTSTRUCTURE ");
            part_structure(&self.section, &self.cached, &self.file, decoded_size, &mut text);
            text.push(b')');
        }
        let octets = octets.cut(self.partial);
        match items.data {
            None if items.structure => return put_all(output, text),
            None => text.push(b' '),
            Some(UrlFetchData::Body) => text.extend_from_slice(b" (BODY "),
            Some(UrlFetchData::Binary) => text.extend_from_slice(b" (BINARY "),
        }
        let has_nul = match &octets {
            Octets::File(range) => {
                memchr::memchr(0, self.file.get(range.clone()).unwrap_or_default()).is_some()
            }
            Octets::Text(text) => memchr::memchr(0, text).is_some(),
        };
        match has_nul {
            true => put_literal8(&mut text, octets.len() as u64),
            false => put_literal(&mut text, octets.len() as u64),
        }
        let mut written = text.len() + octets.len();
        match octets {
            Octets::Text(octets) => {
                text.extend_from_slice(&octets);
                output.put_vec(text);
            }
            Octets::File(range) => {
                output.put_vec(text);
                let shared: Arc<dyn SharedBytes> = self.file;
                output.put_shared(&shared, range);
            }
        }
        if items.data.is_some() {
            output.put(b")");
            written += 1;
        }
        written
    }

    fn encoding(&self) -> Encoding {
        if self.section.part.is_empty() || self.section.text != SectionText::Whole {
            return Encoding::Identity;
        }
        let record = self.cached.record();
        let part = record
            .sections()
            .ok()
            .and_then(|sections| sections.part(&self.section.part));
        part.map_or(Encoding::Identity, |part| part.encoding)
    }
}

fn put_all(output: &mut Output, text: Vec<u8>) -> usize {
    let written = text.len();
    output.put_vec(text);
    written
}

/// Octets that URLFETCH gives.
enum Octets {
    File(std::ops::Range<usize>),
    Text(Vec<u8>),
}

impl Octets {
    fn len(&self) -> usize {
        match self {
            Self::File(range) => range.len(),
            Self::Text(text) => text.len(),
        }
    }

    fn cut(self, partial: Option<(u64, u64)>) -> Self {
        let value = match self {
            Self::File(range) => Value::File(range),
            Self::Text(text) => Value::Text(text),
        };
        match value.cut(partial) {
            Value::File(range) => Self::File(range),
            Value::Text(text) => Self::Text(text),
            Value::Nil => Self::Text(Vec::new()),
        }
    }
}

/// Whose mailbox a URL is of, and which, if the URL is authorized for the user of this session (RFC 4467, section 3).
fn authorized(
    request: &Request,
    url: &ImapUrl,
    text: &[u8],
) -> Result<Option<(AuthState, MailboxName)>, MailboxError> {
    let options = &request.service.options;
    let (Some(server), Some(auth), Some(mailbox)) = (&url.server, &url.auth, &url.mailbox) else {
        return Ok(None);
    };
    let (Some(owner), Some(verifier)) = (&server.user, &auth.verifier) else {
        return Ok(None);
    };
    if !server.host.eq_ignore_ascii_case(options.servername.as_bytes())
        || !verifier.mechanism.eq_ignore_ascii_case(INTERNAL.as_bytes())
        || url.expire.is_some_and(|expire| expire < now())
        || !may_look_up(request, &auth.access)
    {
        return Ok(None);
    }
    let Ok(owner) = std::str::from_utf8(owner) else {
        return Ok(None);
    };
    let is_admin = options.admins.iter().any(|admin| admin == owner);
    let name = std::str::from_utf8(mailbox)
        .ok()
        .and_then(|mailbox| options.namespace.to_internal(mailbox, Some(owner), is_admin).ok());
    let Some(name) = name else { return Ok(None) };
    let store = &request.service.store;
    let Some(key) = store.url_key(owner, &name)? else {
        return Ok(None);
    };
    let rump = text.get(..auth.rump).unwrap_or_default();
    if !key.verifies(rump, &verifier.token) {
        return Ok(None);
    }
    match store.auth(owner) {
        Ok(auth) => Ok(Some((auth.with_admin(is_admin), name))),
        Err(_) => Ok(None),
    }
}

fn may_look_up(request: &Request, access: &UrlAccess) -> bool {
    let user = &request.user;
    match access {
        UrlAccess::Anonymous => true,
        UrlAccess::AuthUser => !user.auth.is_anonymous(),
        UrlAccess::User(name) => name == user.name.as_bytes() && !user.auth.is_anonymous(),
        UrlAccess::Submit(_) => {
            let servers = &request.service.options.submitservers;
            servers
                .iter()
                .any(|server| *server == user.name || user.auth.groups().any(|group| group == server))
        }
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
