//! The ENVELOPE of a cache record, taken apart as far as sorting and threading need it.

use cyrus_store::message::split_nstring;

/// An envelope's fields as they are in the cache.
pub(super) struct Envelope<'e> {
    fields: [&'e [u8]; FIELDS],
}

/// The first address of a list.
#[derive(Clone, Copy, Default)]
pub(super) struct Address<'e> {
    /// The display name, encoded words and all.
    pub(super) name: Option<&'e [u8]>,
    pub(super) mailbox: Option<&'e [u8]>,
    pub(super) host: Option<&'e [u8]>,
}

const FIELDS: usize = 10;
const FROM: usize = 2;
const TO: usize = 5;
const CC: usize = 6;
const IN_REPLY_TO: usize = 8;
const MESSAGE_ID: usize = 9;

impl<'e> Envelope<'e> {
    /// The envelope, or one without content if the text is none.
    pub(super) fn parse(text: &'e [u8]) -> Self {
        let mut fields = [&b"NIL"[..]; FIELDS];
        let mut rest = text.strip_prefix(b"(").unwrap_or_default();
        for slot in &mut fields {
            let Some(after) = skip_value(rest) else { break };
            *slot = rest.get(..rest.len() - after.len()).unwrap_or_default();
            rest = after.strip_prefix(b" ").unwrap_or(after);
        }
        Self { fields }
    }

    pub(super) fn from(&self) -> Address<'e> {
        self.first_address(FROM)
    }

    pub(super) fn to(&self) -> Address<'e> {
        self.first_address(TO)
    }

    pub(super) fn cc(&self) -> Address<'e> {
        self.first_address(CC)
    }

    pub(super) fn in_reply_to(&self) -> &'e [u8] {
        string(self.fields[IN_REPLY_TO]).unwrap_or_default()
    }

    pub(super) fn message_id(&self) -> &'e [u8] {
        string(self.fields[MESSAGE_ID]).unwrap_or_default()
    }

    fn first_address(&self, field: usize) -> Address<'e> {
        let list = self.fields.get(field).copied().unwrap_or_default();
        let Some(mut rest) = list.strip_prefix(b"((") else {
            return Address::default();
        };
        let mut parts = [None; 4];
        for part in &mut parts {
            let Some((value, after)) = split_nstring(rest) else {
                break;
            };
            *part = value;
            rest = after.strip_prefix(b" ").unwrap_or(after);
        }
        let [name, _route, mailbox, host] = parts;
        Address { name, mailbox, host }
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
