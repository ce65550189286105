//! IMAP URLs (RFC 5092): what CATENATE takes messages from, and what URLAUTH authorizes.
//!
//! A URL is absolute (`imap://user@host/mailbox/;UID=1`) or relative to a server or to the selected mailbox
//! (`/mailbox/;UID=1`, `;UID=1`). Mailbox names are percent-encoded UTF-8 in a URL, and modified UTF-7 in what is read
//! from it.

use super::command::{Section, SectionText};
use super::date::Date;

/// A URL of a message or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImapUrl {
    /// Where the mailbox is; `None` in a relative URL.
    pub server: Option<UrlServer>,
    /// The mailbox, as an IMAP command names it; `None` for the selected one.
    pub mailbox: Option<Vec<u8>>,
    /// `;UIDVALIDITY=`
    pub uidvalidity: Option<u32>,
    /// `;UID=`
    pub uid: u32,
    /// `;SECTION=`
    pub section: Option<Section>,
    /// `;PARTIAL=`: first octet and, if it ends before the end, count.
    pub partial: Option<(u64, Option<u64>)>,
    /// `;EXPIRE=`, in seconds since 1970.
    pub expire: Option<i64>,
    /// `;URLAUTH=`
    pub auth: Option<UrlAuth>,
}

/// `iserver` (RFC 5092, section 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlServer {
    /// The user whose mailbox it is.
    pub user: Option<Vec<u8>>,
    /// The SASL mechanism, `*` for any.
    pub mechanism: Option<Vec<u8>>,
    /// The host, in the form of the URL.
    pub host: Vec<u8>,
    /// The port, if it is not IMAP's.
    pub port: Option<u16>,
}

/// `iurlauth-rump iua-verifier` (RFC 5092, section 11; RFC 4467).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlAuth {
    /// Who may look the URL up.
    pub access: UrlAccess,
    /// Octets of the URL that are authorized: those before the verifier.
    pub rump: usize,
    /// The verifier, if there is one.
    pub verifier: Option<UrlVerifier>,
}

/// `access` (RFC 5092, section 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UrlAccess {
    /// `submit+user`: a submission server on behalf of the user.
    Submit(Vec<u8>),
    /// `user+user`: the user.
    User(Vec<u8>),
    /// `authuser`: whoever is logged in, but not anonymously.
    AuthUser,
    /// `anonymous`: anybody.
    Anonymous,
}

/// `iua-verifier` (RFC 5092, section 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlVerifier {
    /// How the token was made.
    pub mechanism: Vec<u8>,
    /// Hexadecimal digits.
    pub token: Vec<u8>,
}

/// Why something is no URL of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than [`ImapUrl::MAX_LEN`].
    #[error("URL too long")]
    TooLong,
    /// An octet that must be percent-encoded, or a percent sign without two digits.
    #[error("Invalid character in URL")]
    Character,
    /// No `imap://`, or no host after it.
    #[error("Invalid server in URL")]
    Server,
    /// A mailbox name that is not UTF-8.
    #[error("Invalid mailbox name in URL")]
    Mailbox,
    /// A parameter that is unknown, comes twice or out of order, or has a value it cannot have.
    #[error("Invalid parameter in URL")]
    Parameter,
    /// No `;UID=`: the URL is of a mailbox or a server.
    #[error("Improperly specified URL")]
    NoMessage,
}

impl ImapUrl {
    /// The longest URL.
    pub const MAX_LEN: usize = 8_192;

    /// Reads a URL.
    ///
    /// # Errors
    /// It breaks the grammar of RFC 5092, section 11, or names no message.
    pub fn parse(url: &[u8]) -> Result<Self, UrlError> {
        if url.len() > Self::MAX_LEN {
            return Err(UrlError::TooLong);
        }
        let (server, path) = match strip_scheme(url) {
            Some(rest) => {
                let (server, path) = iserver(rest)?;
                (Some(server), path)
            }
            None if has_scheme(url) => return Err(UrlError::Server),
            None => (None, url),
        };
        let mut parameters = path.split(|&c| c == b';');
        let name = parameters.next().unwrap_or_default();
        let mut parsed = Self {
            server,
            mailbox: enc_mailbox(name)?,
            uidvalidity: None,
            uid: 0,
            section: None,
            partial: None,
            expire: None,
            auth: None,
        };
        let mut last = None;
        let mut at = url.len() - path.len() + name.len();
        for parameter in parameters {
            let start = at + 1;
            at = start + parameter.len();
            let parameter = match at < url.len() {
                true => parameter.strip_suffix(b"/").unwrap_or(parameter),
                false => parameter,
            };
            let kind = parsed.parameter(parameter, start)?;
            if last >= Some(kind) {
                return Err(UrlError::Parameter);
            }
            last = Some(kind);
        }
        match parsed.uid {
            0 => Err(UrlError::NoMessage),
            _ => Ok(parsed),
        }
    }

    /// Reads `NAME=value`, which starts at an offset of the URL; says which one it was.
    fn parameter(&mut self, parameter: &[u8], start: usize) -> Result<Kind, UrlError> {
        let equals = memchr::memchr(b'=', parameter).ok_or(UrlError::Parameter)?;
        let (name, value) = parameter.split_at(equals);
        let value = value.strip_prefix(b"=").unwrap_or(value);
        let kind = match name.to_ascii_uppercase().as_slice() {
            b"UIDVALIDITY" => {
                self.uidvalidity = Some(nz_number(value)?);
                Kind::UidValidity
            }
            b"UID" => {
                self.uid = nz_number(value)?;
                Kind::Uid
            }
            b"SECTION" => {
                self.section = Some(enc_section(value)?);
                Kind::Section
            }
            b"PARTIAL" => {
                self.partial = Some(partial_range(value)?);
                Kind::Partial
            }
            b"EXPIRE" => {
                self.expire = Some(date_time(value).ok_or(UrlError::Parameter)?);
                Kind::Expire
            }
            b"URLAUTH" => {
                self.auth = Some(urlauth(value, start + equals + 1)?);
                Kind::UrlAuth
            }
            _ => return Err(UrlError::Parameter),
        };
        Ok(kind)
    }

    /// Appends the URL; reading that gives the same again.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        if let Some(server) = &self.server {
            server.write(out);
        }
        if self.server.is_some() || self.mailbox.is_some() {
            out.push(b'/');
        }
        if let Some(mailbox) = &self.mailbox {
            let name = std::str::from_utf8(mailbox).unwrap_or_default();
            let name = cyrus_store::utf7::decode(name).unwrap_or_else(|_| name.to_owned());
            encode(out, name.as_bytes(), is_bchar);
            if let Some(uidvalidity) = self.uidvalidity {
                out.extend_from_slice(format!(";UIDVALIDITY={uidvalidity}").as_bytes());
            }
            out.push(b'/');
        } else if let Some(uidvalidity) = self.uidvalidity {
            out.extend_from_slice(format!(";UIDVALIDITY={uidvalidity}/").as_bytes());
        }
        out.extend_from_slice(format!(";UID={}", self.uid).as_bytes());
        if let Some(section) = &self.section {
            out.extend_from_slice(b"/;SECTION=");
            let mut text = Vec::new();
            section.write(&mut text);
            let inner = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]"));
            encode(out, inner.unwrap_or_default(), is_bchar);
        }
        match self.partial {
            None => {}
            Some((start, None)) => out.extend_from_slice(format!("/;PARTIAL={start}").as_bytes()),
            Some((start, Some(count))) => {
                out.extend_from_slice(format!("/;PARTIAL={start}.{count}").as_bytes());
            }
        }
        if let Some(expire) = self.expire {
            out.extend_from_slice(b";EXPIRE=");
            put_date_time(out, expire);
        }
        let Some(auth) = &self.auth else { return };
        out.extend_from_slice(b";URLAUTH=");
        let (name, user): (&[u8], &[u8]) = match &auth.access {
            UrlAccess::Submit(user) => (b"submit+", user),
            UrlAccess::User(user) => (b"user+", user),
            UrlAccess::AuthUser => (b"authuser", b""),
            UrlAccess::Anonymous => (b"anonymous", b""),
        };
        out.extend_from_slice(name);
        encode(out, user, is_achar);
        debug_assert!(start <= out.len());
        if let Some(verifier) = &auth.verifier {
            for part in [&verifier.mechanism, &verifier.token] {
                out.push(b':');
                out.extend_from_slice(part);
            }
        }
    }
}

/// The parameters in the order that they must have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    UidValidity,
    Uid,
    Section,
    Partial,
    Expire,
    UrlAuth,
}

fn strip_scheme(url: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"imap://";
    let (scheme, rest) = url.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(rest)
}

/// Whether a URL begins with a scheme of whatever name (RFC 3986, section 3.1): before a colon that no slash precedes.
fn has_scheme(url: &[u8]) -> bool {
    let end = url.iter().position(|c| matches!(c, b':' | b'/' | b';' | b'%'));
    end.is_some_and(|end| url.get(end) == Some(&b':'))
}

/// `iserver = [iuserinfo "@"] host [":" port]` and the path after it (RFC 5092, section 11).
fn iserver(rest: &[u8]) -> Result<(UrlServer, &[u8]), UrlError> {
    let end = memchr::memchr(b'/', rest).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (userinfo, hostport) = match memchr::memrchr(b'@', authority) {
        Some(at) => {
            let (userinfo, hostport) = authority.split_at(at);
            (Some(userinfo), hostport.get(1..).unwrap_or_default())
        }
        None => (None, authority),
    };
    let (user, mechanism) = iuserinfo(userinfo.unwrap_or_default())?;
    if userinfo.is_some() && user.is_none() && mechanism.is_none() {
        return Err(UrlError::Server);
    }
    // An address in brackets has colons of its own.
    let name_end = memchr::memrchr(b']', hostport).map_or(0, |bracket| bracket + 1);
    let colon = hostport
        .get(name_end..)
        .and_then(|rest| memchr::memchr(b':', rest));
    let (host, port) = match colon.map(|colon| colon + name_end) {
        None => (hostport, None),
        Some(colon) => {
            let (host, port) = hostport.split_at(colon);
            let port = port.get(1..).unwrap_or_default();
            let port = match port {
                b"" => None,
                digits => {
                    Some(number(digits).and_then(|port| u16::try_from(port).map_err(|_| UrlError::Server))?)
                }
            };
            (host, port)
        }
    };
    let is_host = |&c: &u8| c.is_ascii_alphanumeric() || b"-._~[]:%!$'()*+,=&".contains(&c);
    if host.is_empty() || !host.iter().all(is_host) {
        return Err(UrlError::Server);
    }
    let server = UrlServer {
        user,
        mechanism,
        host: host.to_vec(),
        port,
    };
    Ok((server, path))
}

/// User and mechanism.
type UserInfo = (Option<Vec<u8>>, Option<Vec<u8>>);

/// `iuserinfo = enc-user [iauth] / [enc-user] iauth`, `iauth = ";AUTH=" ("*" / enc-auth-type)` (RFC 5092, section 11).
fn iuserinfo(userinfo: &[u8]) -> Result<UserInfo, UrlError> {
    let (user, auth) = match memchr::memchr(b';', userinfo) {
        Some(at) => userinfo.split_at(at),
        None => (userinfo, &b""[..]),
    };
    let user = match user {
        b"" => None,
        user => Some(decode(user, is_achar)?),
    };
    const AUTH: &[u8] = b";AUTH=";
    let mechanism = match auth.split_at_checked(AUTH.len()) {
        None if auth.is_empty() => None,
        Some((name, mechanism)) if name.eq_ignore_ascii_case(AUTH) && !mechanism.is_empty() => {
            Some(decode(mechanism, is_achar)?)
        }
        _ => return Err(UrlError::Server),
    };
    Ok((user, mechanism))
}

impl UrlServer {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"imap://");
        if let Some(user) = &self.user {
            encode(out, user, is_achar);
        }
        if let Some(mechanism) = &self.mechanism {
            out.extend_from_slice(b";AUTH=");
            encode(out, mechanism, is_achar);
        }
        if self.user.is_some() || self.mechanism.is_some() {
            out.push(b'@');
        }
        out.extend_from_slice(&self.host);
        if let Some(port) = self.port {
            out.extend_from_slice(format!(":{port}").as_bytes());
        }
    }
}

/// `enc-mailbox = 1*bchar` (RFC 5092, section 11) between the slashes around it, as an IMAP command names it.
fn enc_mailbox(path: &[u8]) -> Result<Option<Vec<u8>>, UrlError> {
    let name = path.strip_prefix(b"/").unwrap_or(path);
    let name = name.strip_suffix(b"/").unwrap_or(name);
    if name.is_empty() {
        return Ok(None);
    }
    let name = String::from_utf8(decode(name, is_bchar)?).map_err(|_| UrlError::Mailbox)?;
    if name.contains('\0') {
        return Err(UrlError::Mailbox);
    }
    Ok(Some(cyrus_store::utf7::encode(&name).into_bytes()))
}

/// `enc-section = 1*bchar`: a `section-spec` (RFC 5092, section 11).
fn enc_section(value: &[u8]) -> Result<Section, UrlError> {
    let mut text = vec![b'['];
    text.extend_from_slice(&decode(value, is_bchar)?);
    text.push(b']');
    match super::command::section(&text) {
        Ok((b"", section)) if !section.part.is_empty() || section.text != SectionText::Whole => Ok(section),
        _ => Err(UrlError::Parameter),
    }
}

/// `partial-range = number64 ["." nz-number64]` (RFC 9051, section 9, which updates RFC 5092).
fn partial_range(value: &[u8]) -> Result<(u64, Option<u64>), UrlError> {
    match memchr::memchr(b'.', value) {
        None => Ok((number64(value)?, None)),
        Some(dot) => {
            let (start, count) = value.split_at(dot);
            let count = count.get(1..).unwrap_or_default();
            match number64(count)? {
                0 => Err(UrlError::Parameter),
                count => Ok((number64(start)?, Some(count))),
            }
        }
    }
}

/// `access [iua-verifier]` (RFC 5092, section 11), which starts at an offset of the URL.
fn urlauth(value: &[u8], start: usize) -> Result<UrlAuth, UrlError> {
    let end = memchr::memchr(b':', value).unwrap_or(value.len());
    let (access, verifier) = value.split_at(end);
    let user = |prefix: usize| {
        let user = decode(access.get(prefix..).unwrap_or_default(), is_achar)?;
        match user.is_empty() {
            true => Err(UrlError::Parameter),
            false => Ok(user),
        }
    };
    let lower = access.to_ascii_lowercase();
    let access = match lower.as_slice() {
        b"authuser" => UrlAccess::AuthUser,
        b"anonymous" => UrlAccess::Anonymous,
        other if other.starts_with(b"submit+") => UrlAccess::Submit(user(b"submit+".len())?),
        other if other.starts_with(b"user+") => UrlAccess::User(user(b"user+".len())?),
        _ => return Err(UrlError::Parameter),
    };
    let verifier = match verifier.strip_prefix(b":") {
        None => None,
        Some(verifier) => {
            let colon = memchr::memchr(b':', verifier).ok_or(UrlError::Parameter)?;
            let (mechanism, token) = verifier.split_at(colon);
            let token = token.get(1..).unwrap_or_default();
            let is_mechanism = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
            let sound = !mechanism.is_empty() && mechanism.iter().all(is_mechanism);
            if !sound || token.len() < UrlVerifier::MIN_TOKEN || !token.iter().all(u8::is_ascii_hexdigit) {
                return Err(UrlError::Parameter);
            }
            Some(UrlVerifier {
                mechanism: mechanism.to_vec(),
                token: token.to_vec(),
            })
        }
    };
    Ok(UrlAuth {
        access,
        rump: start + end,
        verifier,
    })
}

impl UrlVerifier {
    /// Digits of the shortest token (RFC 4467, section 3).
    pub const MIN_TOKEN: usize = 32;
}

/// `date-time` (RFC 3339, section 5.6), in seconds since 1970.
fn date_time(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let field = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        let all = digits.bytes().all(|c| c.is_ascii_digit());
        all.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let separators = [(4, "-"), (7, "-"), (13, ":"), (16, ":")];
    if separators
        .iter()
        .any(|&(at, separator)| text.get(at..=at) != Some(separator))
    {
        return None;
    }
    if !text.get(10..11)?.eq_ignore_ascii_case("T") {
        return None;
    }
    let small = |range| field(range).and_then(|value| u8::try_from(value).ok());
    let date = Date::new(field(0..4)?, small(5..7)?, small(8..10)?)?;
    let (hour, minute, second) = (field(11..13)?, field(14..16)?, field(17..19)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() == fraction.len() {
            return None;
        }
    }
    let offset = match rest.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let two = |range: std::ops::Range<usize>| rest.get(range)?.parse::<u8>().ok();
            let (hours, minutes) = (two(1..3)?, two(4..6)?);
            if hours > 23 || minutes > 59 || !rest.bytes().skip(1).all(|c| c.is_ascii_digit() || c == b':') {
                return None;
            }
            let offset = i64::from(hours) * 3_600 + i64::from(minutes) * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let time = i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
    Some(date.days() * 86_400 + time - offset)
}

fn put_date_time(out: &mut Vec<u8>, unix: i64) {
    let (days, time) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    let date = Date::from_days(days);
    let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
    let (year, month, day) = (date.year(), date.month(), date.day());
    let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
    out.extend_from_slice(text.as_bytes());
}

fn number(digits: &[u8]) -> Result<u32, UrlError> {
    match super::command::lex::number(digits) {
        Ok((b"", number)) => Ok(number),
        _ => Err(UrlError::Parameter),
    }
}

fn number64(digits: &[u8]) -> Result<u64, UrlError> {
    match super::command::lex::number64(digits) {
        Ok((b"", number)) => Ok(number),
        _ => Err(UrlError::Parameter),
    }
}

fn nz_number(digits: &[u8]) -> Result<u32, UrlError> {
    match number(digits)? {
        0 => Err(UrlError::Parameter),
        number => Ok(number),
    }
}

/// `achar` without percent-encoding (RFC 5092, section 11).
fn is_achar(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"-._~!$'()*+,&=".contains(&c)
}

/// `bchar` without percent-encoding (RFC 5092, section 11).
fn is_bchar(c: u8) -> bool {
    is_achar(c) || matches!(c, b':' | b'@' | b'/')
}

/// The octets that percent-encoded ones stand for; the others must be of those that may stand for themselves.
fn decode(text: &[u8], is_plain: fn(u8) -> bool) -> Result<Vec<u8>, UrlError> {
    let digit = |c: u8| {
        char::from(c)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return Ok(octets),
            [b'%', high, low, rest @ ..] => {
                let (high, low) = digit(*high).zip(digit(*low)).ok_or(UrlError::Character)?;
                octets.push(high << 4 | low);
                rest
            }
            [c, rest @ ..] if is_plain(*c) => {
                octets.push(*c);
                rest
            }
            _ => return Err(UrlError::Character),
        }
    }
}

fn encode(out: &mut Vec<u8>, octets: &[u8], is_plain: fn(u8) -> bool) {
    for &c in octets {
        match is_plain(c) {
            true => out.push(c),
            false => out.extend_from_slice(format!("%{c:02X}").as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(url: &str) -> Result<ImapUrl, UrlError> {
        ImapUrl::parse(url.as_bytes())
    }

    #[test]
    fn relative_urls_name_a_mailbox_or_the_selected_one() {
        for url in ["/INBOX/;UID=20", "INBOX/;UID=20", "/INBOX;UIDVALIDITY=7/;UID=20"] {
            let url = parse(url).expect(url);
            assert_eq!((url.mailbox.as_deref(), url.uid), (Some(&b"INBOX"[..]), 20));
            assert_eq!(url.server, None);
        }
        for url in [";UID=20", "/;UID=20", ";uid=20"] {
            assert_eq!(parse(url).expect(url).mailbox, None);
        }
        assert_eq!(
            parse("/a/b/;UID=1").unwrap().mailbox.as_deref(),
            Some(&b"a/b"[..])
        );
        assert_eq!(
            parse("/%C3%BC%26/;UID=1").unwrap().mailbox.as_deref(),
            Some(&b"&APw-&-"[..])
        );
    }

    #[test]
    fn sections_and_partials_are_those_of_fetch() {
        let url = parse("/a/;UID=1/;SECTION=1.2.HEADER.FIELDS%20(to%20from)/;PARTIAL=5.10").unwrap();
        let fields = vec![b"to".to_vec(), b"from".to_vec()];
        assert_eq!(
            url.section,
            Some(Section {
                part: vec![1, 2],
                text: SectionText::HeaderFields(fields)
            })
        );
        assert_eq!(url.partial, Some((5, Some(10))));
        assert_eq!(parse("/a/;UID=1/;PARTIAL=5").unwrap().partial, Some((5, None)));
    }

    #[test]
    fn an_authorized_url_says_who_may_use_it_and_which_octets_the_token_is_of() {
        let rump = "imap://joe@example.com/INBOX/;uid=20/;section=1.2;expire=2010-01-01T00:00:00Z;urlauth=submit+fred";
        let token = "91354a473744909de610943775f92038";
        let url = parse(&format!("{rump}:internal:{token}")).unwrap();
        let server = url.server.unwrap();
        assert_eq!((server.user.as_deref(), server.port), (Some(&b"joe"[..]), None));
        assert_eq!(server.host, b"example.com");
        assert_eq!(url.expire, Some(1_262_304_000));
        let auth = url.auth.unwrap();
        assert_eq!(auth.access, UrlAccess::Submit(b"fred".to_vec()));
        assert_eq!(auth.rump, rump.len());
        assert_eq!(auth.verifier.unwrap().token, token.as_bytes());
    }

    #[test]
    fn what_is_no_url_of_a_message_says_why() {
        for (url, error) in [
            ("", UrlError::NoMessage),
            ("x", UrlError::NoMessage),
            ("imap://localhost/INBOX", UrlError::NoMessage),
            ("imap:///INBOX/;UID=1", UrlError::Server),
            ("imap://@h/INBOX/;UID=1", UrlError::Server),
            ("http://localhost/INBOX/;UID=1", UrlError::Server),
            ("imap://h:x/INBOX/;UID=1", UrlError::Parameter),
            ("imap://h:99999/INBOX/;UID=1", UrlError::Server),
            ("/INBOX/;UID=0", UrlError::Parameter),
            ("/INBOX/;UID=4294967296", UrlError::Parameter),
            ("/INBOX/;UID=1;UID=2", UrlError::Parameter),
            ("/INBOX/;UID=1/;UIDVALIDITY=2", UrlError::Parameter),
            ("/INBOX/;FOO=1", UrlError::Parameter),
            ("/INBOX/;UID=1/;SECTION=", UrlError::Parameter),
            ("/INBOX/;UID=1/;SECTION=foo", UrlError::Parameter),
            ("/INBOX/;UID=1/;PARTIAL=1.0", UrlError::Parameter),
            ("/INBOX/;UID=1;EXPIRE=tomorrow", UrlError::Parameter),
            ("/INBOX/;UID=1;URLAUTH=foo", UrlError::Parameter),
            ("/INBOX/;UID=1;URLAUTH=anonymous:internal", UrlError::Parameter),
            (
                "/INBOX/;UID=1;URLAUTH=anonymous:internal:abc",
                UrlError::Parameter,
            ),
            ("/IN BOX/;UID=1", UrlError::Character),
            ("/INBOX%2/;UID=1", UrlError::Character),
            ("/%FF/;UID=1", UrlError::Mailbox),
            ("/%00/;UID=1", UrlError::Mailbox),
        ] {
            assert_eq!(parse(url), Err(error), "{url}");
        }
        let long = format!("/{}/;UID=1", "x".repeat(ImapUrl::MAX_LEN));
        assert_eq!(parse(&long), Err(UrlError::TooLong));
    }

    #[test]
    fn dates_have_a_zone() {
        assert_eq!(date_time(b"1970-01-01T01:00:00.5+01:00"), Some(0));
        assert_eq!(date_time(b"1970-01-01t00:00:00z"), Some(0));
        for bad in [
            "1970-01-01T00:00:00",
            "1970-02-30T00:00:00Z",
            "1970-01-01 00:00:00Z",
        ] {
            assert_eq!(date_time(bad.as_bytes()), None, "{bad}");
        }
    }

    fn some_text() -> impl Strategy<Value = Vec<u8>> {
        "[a-zA-Z0-9 %/;@:\u{e9}&+]{1,12}".prop_map(String::into_bytes)
    }

    fn some_url() -> impl Strategy<Value = ImapUrl> {
        let host = "[a-z0-9.-]{1,12}".prop_map(String::into_bytes);
        let server = (
            proptest::option::of(some_text()),
            proptest::option::of(some_text()),
            host,
            any::<Option<u16>>(),
        )
            .prop_map(|(user, mechanism, host, port)| UrlServer {
                user,
                mechanism,
                host,
                port,
            });
        let mailbox = "[a-z&/ \u{e9}\u{4e2d};]{1,12}"
            .prop_filter("slashes around it are none of it", |name| {
                !name.starts_with('/') && !name.ends_with('/')
            })
            .prop_map(|name| cyrus_store::utf7::encode(&name).into_bytes());
        let section = prop_oneof![
            Just(Section {
                part: vec![1, 22],
                text: SectionText::Mime
            }),
            Just(Section {
                part: vec![],
                text: SectionText::HeaderFieldsNot(vec![b"a".to_vec(), b"b;c".to_vec()])
            }),
        ];
        let access = prop_oneof![
            some_text().prop_map(UrlAccess::Submit),
            some_text().prop_map(UrlAccess::User),
            Just(UrlAccess::AuthUser),
            Just(UrlAccess::Anonymous),
        ];
        let verifier = proptest::option::of("[0-9a-f]{32,64}".prop_map(|token| UrlVerifier {
            mechanism: b"INTERNAL".to_vec(),
            token: token.into_bytes(),
        }));
        let auth = proptest::option::of((access, verifier));
        let option = proptest::option::of::<std::ops::RangeInclusive<u32>>;
        (
            proptest::option::of(server),
            proptest::option::of(mailbox),
            option(1..=u32::MAX),
            1..=u32::MAX,
            proptest::option::of(section),
            proptest::option::of((0..1_u64 << 63, proptest::option::of(1..1_u64 << 63))),
            proptest::option::of(0_i64..4_000_000_000),
            auth,
        )
            .prop_map(
                |(server, mailbox, uidvalidity, uid, section, partial, expire, auth)| ImapUrl {
                    server,
                    mailbox,
                    uidvalidity,
                    uid,
                    section,
                    partial,
                    expire,
                    auth: auth.map(|(access, verifier)| UrlAuth {
                        access,
                        rump: 0,
                        verifier,
                    }),
                },
            )
    }

    proptest! {
        #[test]
        fn a_written_url_reads_the_same(url in some_url()) {
            let mut text = Vec::new();
            url.write(&mut text);
            let mut again = ImapUrl::parse(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(&text)));
            if let Some(auth) = &mut again.auth {
                let verifier = auth.verifier.as_ref();
                let after = verifier.map_or(0, |v| v.mechanism.len() + v.token.len() + 2);
                prop_assert_eq!(auth.rump, text.len() - after);
                auth.rump = 0;
            }
            prop_assert_eq!(again, url);
        }

        #[test]
        fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ImapUrl::parse(&octets);
        }
    }
}
