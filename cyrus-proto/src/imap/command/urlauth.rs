//! GENURLAUTH, RESETKEY and URLFETCH (RFC 4467, RFC 5524).

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::{tag, take_while1};

use super::lex::{Parsed, astring, expect, is_atom_char, printable, refuse, sp};
use super::write::{put_astring, put_string};

/// A URL that GENURLAUTH is to authorize, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlRump {
    /// The URL as far as its access identifier.
    pub url: Vec<u8>,
    /// The name of the authorization mechanism, as the client wrote it.
    pub mechanism: Vec<u8>,
}

/// A URL that URLFETCH is to look up, and what of it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlFetch {
    /// The URL.
    pub url: Vec<u8>,
    /// What is wanted, of the extended form; `None` for the simple one, which wants the octets as they are.
    pub items: Option<UrlFetchItems>,
}

/// `url-fetch-param` (RFC 5524, section 5): what the extended form asks for, perhaps nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UrlFetchItems {
    /// `BODYPARTSTRUCTURE`
    pub structure: bool,
    /// `BODY` or `BINARY`
    pub data: Option<UrlFetchData>,
}

/// In which form URLFETCH gives octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlFetchData {
    /// `BODY`: as they are.
    Body,
    /// `BINARY`: without their content transfer encoding.
    Binary,
}

impl UrlFetch {
    /// The most URLs in one GENURLAUTH or URLFETCH.
    pub const MAX_URLS: usize = 256;
}

/// `1*(SP url-rump SP mechanism)` (RFC 4467, section 9, `genurlauth`).
pub(super) fn genurlauth(input: &[u8]) -> Parsed<'_, Vec<UrlRump>> {
    let missing = || Cow::Borrowed("Missing required argument to Genurlauth");
    let mut urls = Vec::new();
    let mut rest = input;
    loop {
        let (after, (_, url, _)) = expect((sp, astring, sp), missing).parse(rest)?;
        let (after, mechanism) = expect(take_while1(is_atom_char), missing).parse(after)?;
        if urls.len() >= UrlFetch::MAX_URLS {
            return refuse(rest, "Too many URLs in Genurlauth");
        }
        urls.push(UrlRump {
            url: url.into_owned(),
            mechanism: mechanism.to_vec(),
        });
        if after.first() != Some(&b' ') {
            return Ok((after, urls));
        }
        rest = after;
    }
}

/// `1*(SP (url-full / url-fetch))` (RFC 4467, section 9, and RFC 5524, section 5, `urlfetch`).
pub(super) fn urlfetch(input: &[u8]) -> Parsed<'_, Vec<UrlFetch>> {
    let missing = || Cow::Borrowed("Missing required argument to Urlfetch");
    let mut urls = Vec::new();
    let mut rest = input;
    loop {
        let (after, ()) = expect(sp, missing).parse(rest)?;
        let (after, fetch) = match after.strip_prefix(b"(") {
            Some(inner) => url_fetch(inner)?,
            None => {
                let (after, url) = expect(astring, missing).parse(after)?;
                let url = url.into_owned();
                (after, UrlFetch { url, items: None })
            }
        };
        if urls.len() >= UrlFetch::MAX_URLS {
            return refuse(rest, "Too many URLs in Urlfetch");
        }
        urls.push(fetch);
        if after.first() != Some(&b' ') {
            return Ok((after, urls));
        }
        rest = after;
    }
}

/// `"(" url-full *(SP url-fetch-param) ")"` after its parenthesis (RFC 5524, section 5, `url-fetch`).
fn url_fetch(input: &[u8]) -> Parsed<'_, UrlFetch> {
    const INVALID: &str = "Invalid extended URLFETCH parameters";
    let (mut rest, url) = expect(astring, || INVALID.into()).parse(input)?;
    let mut items = UrlFetchItems::default();
    loop {
        if let Ok((after, _)) = tag::<_, _, super::lex::Flaw<'_>>(&b")"[..]).parse(rest) {
            let fetch = UrlFetch {
                url: url.into_owned(),
                items: Some(items),
            };
            return Ok((after, fetch));
        }
        let (after, (_, name)) =
            expect((sp, take_while1(is_atom_char)), || Cow::Borrowed(INVALID)).parse(rest)?;
        let data = match name.to_ascii_uppercase().as_slice() {
            b"BODYPARTSTRUCTURE" => {
                items.structure = true;
                rest = after;
                continue;
            }
            b"BODY" => UrlFetchData::Body,
            b"BINARY" => UrlFetchData::Binary,
            _ => return refuse(rest, format!("{INVALID} {}", printable(name))),
        };
        if items.data.is_some_and(|other| other != data) {
            return refuse(rest, INVALID); // one excludes the other (RFC 5524, section 3.1)
        }
        items.data = Some(data);
        rest = after;
    }
}

/// Mailbox and mechanisms.
type ResetKey = (Option<Vec<u8>>, Vec<Vec<u8>>);

/// `reset-key = "RESETKEY" [SP mailbox *(SP mechanism)]` (RFC 4467, section 9): what follows the name.
pub(super) fn resetkey(input: &[u8]) -> Parsed<'_, ResetKey> {
    const MAX_MECHANISMS: usize = 16;
    if input.is_empty() {
        return Ok((input, (None, Vec::new())));
    }
    let missing = || Cow::Borrowed("Missing required argument to Resetkey");
    let (mut rest, (_, mailbox)) = expect((sp, astring), missing).parse(input)?;
    let mut mechanisms = Vec::new();
    while rest.first() == Some(&b' ') {
        let (after, (_, mechanism)) = expect((sp, take_while1(is_atom_char)), missing).parse(rest)?;
        if mechanisms.len() >= MAX_MECHANISMS {
            return refuse(rest, "Too many mechanisms in Resetkey");
        }
        mechanisms.push(mechanism.to_vec());
        rest = after;
    }
    Ok((rest, (Some(mailbox.into_owned()), mechanisms)))
}

/// Appends the arguments of GENURLAUTH.
pub(super) fn write_genurlauth(urls: &[UrlRump], out: &mut Vec<u8>) {
    for rump in urls {
        out.push(b' ');
        put_string(out, &rump.url);
        out.push(b' ');
        out.extend_from_slice(&rump.mechanism);
    }
}

/// Appends the arguments of URLFETCH.
pub(super) fn write_urlfetch(urls: &[UrlFetch], out: &mut Vec<u8>) {
    for fetch in urls {
        out.push(b' ');
        let Some(items) = fetch.items else {
            put_string(out, &fetch.url);
            continue;
        };
        out.push(b'(');
        put_string(out, &fetch.url);
        if items.structure {
            out.extend_from_slice(b" BODYPARTSTRUCTURE");
        }
        match items.data {
            Some(UrlFetchData::Body) => out.extend_from_slice(b" BODY"),
            Some(UrlFetchData::Binary) => out.extend_from_slice(b" BINARY"),
            None => {}
        }
        out.push(b')');
    }
}

/// Appends the arguments of RESETKEY.
pub(super) fn write_resetkey(mailbox: Option<&[u8]>, mechanisms: &[Vec<u8>], out: &mut Vec<u8>) {
    if let Some(mailbox) = mailbox {
        out.push(b' ');
        put_astring(out, mailbox);
    }
    for mechanism in mechanisms {
        out.push(b' ');
        out.extend_from_slice(mechanism);
    }
}
