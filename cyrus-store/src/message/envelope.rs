//! The ENVELOPE of a cache record, taken apart again.

use super::record::split_nstring;

/// An envelope's fields as they are in the cache (RFC 3501, section 7.4.2).
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'e> {
    fields: [&'e [u8]; FIELDS],
}

/// An address in the parts that IMAP has, none of them decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeAddress<'e> {
    /// The display name, encoded words and all.
    pub name: Option<&'e [u8]>,
    /// The source route.
    pub route: Option<&'e [u8]>,
    /// What is before the `@`.
    pub mailbox: Option<&'e [u8]>,
    /// What is behind it.
    pub host: Option<&'e [u8]>,
}

const FIELDS: usize = 10;
const DATE: usize = 0;
const FROM: usize = 2;
const TO: usize = 5;
const CC: usize = 6;
const IN_REPLY_TO: usize = 8;
const MESSAGE_ID: usize = 9;

impl<'e> Envelope<'e> {
    /// The envelope, or one without content if the text is none.
    pub fn parse(text: &'e [u8]) -> Self {
        let mut fields = [&b"NIL"[..]; FIELDS];
        let mut rest = text.strip_prefix(b"(").unwrap_or_default();
        for slot in &mut fields {
            let Some(after) = skip_value(rest) else { break };
            *slot = rest.get(..rest.len() - after.len()).unwrap_or_default();
            rest = after.strip_prefix(b" ").unwrap_or(after);
        }
        Self { fields }
    }

    /// The text of Date:.
    pub fn date(&self) -> &'e [u8] {
        string(self.fields[DATE]).unwrap_or_default()
    }

    /// The first address of From:.
    pub fn from(&self) -> EnvelopeAddress<'e> {
        self.first_address(FROM)
    }

    /// The first address of To:.
    pub fn to(&self) -> EnvelopeAddress<'e> {
        self.first_address(TO)
    }

    /// The first address of Cc:.
    pub fn cc(&self) -> EnvelopeAddress<'e> {
        self.first_address(CC)
    }

    /// In-Reply-To:.
    pub fn in_reply_to(&self) -> &'e [u8] {
        string(self.fields[IN_REPLY_TO]).unwrap_or_default()
    }

    /// Message-ID:.
    pub fn message_id(&self) -> &'e [u8] {
        string(self.fields[MESSAGE_ID]).unwrap_or_default()
    }

    fn first_address(&self, field: usize) -> EnvelopeAddress<'e> {
        let list = self.fields.get(field).copied().unwrap_or_default();
        let Some(mut rest) = list.strip_prefix(b"((") else {
            return EnvelopeAddress::default();
        };
        let mut parts = [None; 4];
        for part in &mut parts {
            let Some((value, after)) = split_nstring(rest) else {
                break;
            };
            *part = value;
            rest = after.strip_prefix(b" ").unwrap_or(after);
        }
        let [name, route, mailbox, host] = parts;
        EnvelopeAddress {
            name,
            route,
            mailbox,
            host,
        }
    }
}

fn string(field: &[u8]) -> Option<&[u8]> {
    split_nstring(field)?.0
}

/// What follows the value that `text` begins with: a string, NIL, or a list of such.
fn skip_value(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    let mut depth = 0_usize;
    loop {
        match rest.first()? {
            b'(' => {
                depth += 1;
                rest = rest.get(1..)?;
            }
            b')' => {
                depth = depth.checked_sub(1)?;
                rest = rest.get(1..)?;
            }
            b' ' => rest = rest.get(1..)?,
            _ => rest = split_nstring(rest)?.1,
        }
        if depth == 0 {
            return Some(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_past_lists_and_literals() {
        let text = b"(\"date\" {3}\r\na\"b ((\"Amy \" NIL \"amy\" \"x\")(NIL NIL \"bob\" \"y\")) NIL NIL NIL NIL NIL \"<a@x>\" \"<b@x>\")";
        let envelope = Envelope::parse(text);
        assert_eq!(envelope.from().name, Some(&b"Amy "[..]));
        assert_eq!(envelope.from().mailbox, Some(&b"amy"[..]));
        assert_eq!(envelope.from().host, Some(&b"x"[..]));
        assert_eq!(envelope.to().mailbox, None);
        assert_eq!(
            (envelope.in_reply_to(), envelope.message_id()),
            (&b"<a@x>"[..], &b"<b@x>"[..])
        );
    }

    #[test]
    fn noise_is_an_empty_envelope() {
        for text in [&b""[..], b"(", b"((((", b"(\"a\" (\"b\"", b"()))", b"(\"a"] {
            assert_eq!(Envelope::parse(text).message_id(), b"");
        }
    }
}
