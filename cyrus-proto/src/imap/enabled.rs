//! What a client has switched on: extensions that change answers it did not ask for (RFC 5161).

use super::command::CommandBody;

/// A set of extensions that are switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enabled(u8);

impl Enabled {
    /// None.
    pub const NONE: Self = Self(0);
    /// Modification sequences are told with flags (RFC 7162, section 3.1).
    pub const CONDSTORE: Self = Self(1);

    /// Mailbox names are UTF-8 (RFC 9755, section 3).
    pub const UTF8: Self = Self(1 << 7);

    /// Extension, name, and what is switched on with it, in the order of ENABLED.
    const NAMES: &'static [(Self, &'static str, Self)] = &[
        (Self::CONDSTORE, "CONDSTORE", Self::CONDSTORE),
        (Self::UTF8, "UTF8=ACCEPT", Self::UTF8),
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

    /// Whether mailbox names are UTF-8, rather than modified UTF-7.
    pub(crate) const fn utf8_names(self) -> bool {
        self.contains(Self::UTF8)
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
            .iter()
            .filter_map(move |&(extension, name, _)| self.contains(extension).then_some(name))
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
