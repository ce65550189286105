//! Octets above 127 in message headers: what is done about them, wherever messages come in.

use std::borrow::Cow;

/// What to do with octets above 127 in headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EightBitHeaders {
    /// Write `X` in their place.
    #[default]
    Munge,
    /// Refuse the message.
    Reject,
    /// Leave them.
    Keep,
}

impl EightBitHeaders {
    /// Part of a header as it is to be kept; `None` if its message is to be refused.
    pub(crate) fn apply(self, part: &[u8]) -> Option<Cow<'_, [u8]>> {
        if part.is_ascii() {
            return Some(Cow::Borrowed(part));
        }
        match self {
            Self::Keep => Some(Cow::Borrowed(part)),
            Self::Reject => None,
            Self::Munge => Some(
                part.iter()
                    .map(|&octet| if octet.is_ascii() { octet } else { b'X' })
                    .collect(),
            ),
        }
    }
}
