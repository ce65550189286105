//! What a client has switched on: extensions that change answers it did not ask for (RFC 5161).

use super::command::CommandBody;
use super::response::{Code, Reply};

/// A set of extensions that are switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enabled(u8);

impl Enabled {
    /// None.
    pub const NONE: Self = Self(0);
    /// Modification sequences are told with flags (RFC 7162, section 3.1).
    pub const CONDSTORE: Self = Self(1);

    /// VANISHED in the place of EXPUNGE, UIDs with flags, and what was missed at SELECT (RFC 7162, section 3.2).
    pub const QRESYNC: Self = Self(1 << 1);

    /// Messages have UIDs and no numbers (RFC 9586).
    pub const UIDONLY: Self = Self(1 << 2);

    /// IMAP4rev2 (RFC 9051): no `\\Recent`, LIST in the answer to SELECT, mailbox names in UTF-8.
    pub const IMAP4REV2: Self = Self(1 << 3);
    /// Mailbox names in UTF-8 (RFC 9755).
    pub const UTF8_ACCEPT: Self = Self(1 << 4);

    /// Extension, name, and what is switched on with it, in the order of ENABLED.
    const NAMES: [(Self, &'static str, Self); 5] = [
        (Self::CONDSTORE, "CONDSTORE", Self::CONDSTORE),
        (Self::QRESYNC, "QRESYNC", Self::CONDSTORE.with(Self::QRESYNC)),
        (Self::UIDONLY, "UIDONLY", Self::UIDONLY),
        (Self::IMAP4REV2, "IMAP4rev2", Self::IMAP4REV2),
        (Self::UTF8_ACCEPT, "UTF8=ACCEPT", Self::UTF8_ACCEPT),
    ];

    /// Whether all of `other` are switched on.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The extensions of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of `self` that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What ENABLE of this name switches on; nothing if the name is not known.
    pub fn named(name: &[u8]) -> Self {
        Self::NAMES
            .iter()
            .find(|(_, known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
            .map_or(Self::NONE, |&(.., with)| with)
    }

    /// The names of what is switched on.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter_map(move |(extension, name, _)| self.contains(extension).then_some(name))
    }

    /// Whether EXPUNGE is told as VANISHED.
    pub(crate) fn tells_vanished(self) -> bool {
        self.0 & (Self::QRESYNC.0 | Self::UIDONLY.0) != 0
    }

    /// Whether mailbox names are UTF-8, and not the modified UTF-7 of RFC 3501.
    pub(crate) fn utf8_names(self) -> bool {
        self.0 & (Self::IMAP4REV2.0 | Self::UTF8_ACCEPT.0) != 0
    }

    /// Whether there are recent messages, which RFC 9051 has no more.
    pub(crate) fn tells_recent(self) -> bool {
        !self.contains(Self::IMAP4REV2)
    }

    /// Why a command is refused: it uses what must be switched on before, or message numbers after they were switched off.
    pub(crate) fn refusal(self, body: &CommandBody) -> Option<Reply> {
        if self.contains(Self::UIDONLY) && body.uses_numbers() {
            return Some(Reply::bad("Message numbers cannot be used").with(Code::UidRequired));
        }
        match body {
            CommandBody::Select { parameters, .. }
                if parameters.qresync.is_some() && !self.contains(Self::QRESYNC) =>
            {
                Some(Reply::bad(format!(
                    "Invalid {} modifier QRESYNC",
                    body.verb().name()
                )))
            }
            // Strings are UTF-8 then, and nothing else (RFC 9755, section 3).
            CommandBody::Search { program, .. }
                if self.contains(Self::UTF8_ACCEPT) && program.charset.is_some() =>
            {
                Some(Reply::bad("CHARSET is not allowed once UTF8=ACCEPT is enabled"))
            }
            CommandBody::Fetch { modifiers, .. } if modifiers.vanished && !self.contains(Self::QRESYNC) => {
                Some(Reply::bad("Invalid UID Fetch modifier VANISHED"))
            }
            _ => None,
        }
    }

    /// What a command switches on by using it: CONDSTORE, by any of the CONDSTORE enabling commands (RFC 7162, section 3.1).
    /// With the words in which that is told.
    pub(crate) fn implied_by(body: &CommandBody) -> Option<(Self, &'static str)> {
        use super::command::{FetchItems, StatusItems};
        let what = match body {
            CommandBody::Select { parameters, .. } if parameters.condstore => "SELECT",
            CommandBody::Status { items, .. } if items.contains(StatusItems::HIGHESTMODSEQ) => "STATUS",
            CommandBody::Fetch { modifiers, .. } if modifiers.changed_since.is_some() => "CHANGEDSINCE",
            CommandBody::Fetch { wanted, .. } if wanted.items.contains(FetchItems::MODSEQ) => "MODSEQ fetch",
            CommandBody::Store {
                unchanged_since: Some(_),
                ..
            }
            | CommandBody::StoreAnnotations {
                unchanged_since: Some(_),
                ..
            } => "UNCHANGEDSINCE",
            CommandBody::Search { program, .. }
            | CommandBody::Sort { program, .. }
            | CommandBody::Thread { program, .. }
                if program.names_modseq() =>
            {
                "MODSEQ search"
            }
            CommandBody::MultiSearch(search) if search.program.names_modseq() => "MODSEQ search",
            _ => return None,
        };
        Some((Self::CONDSTORE, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_told_in_their_own() {
        let enabled = Enabled::named(b"CondStore").with(Enabled::named(b"X-NONE"));
        assert_eq!(enabled.names().collect::<Vec<_>>(), ["CONDSTORE"]);
        assert_eq!(enabled.without(Enabled::CONDSTORE), Enabled::NONE);
    }
}
