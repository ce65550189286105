//! The map of identities that sites with Kerberos keep in `krb.equiv`.

/// Identities that are treated as others: the lines of `/etc/krb.equiv`, in their order.
///
/// A line has two fields with blanks between them. What has only one, and what begins with `#`, says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Equivalents(Vec<(String, String)>);

impl Equivalents {
    /// Lines that count at most; those after them do not.
    pub const MAX_LINES: usize = 100_000;

    /// The map that this text is.
    pub fn parse(text: &str) -> Self {
        let pair = |line: &str| {
            let mut fields = line.split_ascii_whitespace();
            let (from, to) = (fields.next()?, fields.next()?);
            (!from.starts_with('#')).then(|| (from.to_owned(), to.to_owned()))
        };
        Self(text.lines().filter_map(pair).take(Self::MAX_LINES).collect())
    }

    /// Whether no identity is treated as another.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What an identity is treated as, by the first line that has it; `spell` gives the spelling in which identities are compared.
    pub fn of(&self, identity: &str, spell: impl Fn(&str) -> Option<String>) -> Option<String> {
        let of_it =
            |(from, _): &&(String, String)| from == identity || spell(from).as_deref() == Some(identity);
        self.0.iter().find(of_it).and_then(|(_, to)| spell(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn as_it_is(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn s065_a_line_has_two_fields_with_a_blank_or_more_between() {
        let map = Equivalents::parse("a@X b\n  c@X \t d  more\nlonely\n\n# e@X f\ng@X\th\r\na@X z\n");
        for (from, to) in [("a@X", "b"), ("c@X", "d"), ("g@X", "h")] {
            assert_eq!(map.of(from, as_it_is).as_deref(), Some(to), "{from}");
        }
        for none in ["lonely", "e@X", "#", "b", ""] {
            assert_eq!(map.of(none, as_it_is), None, "{none}");
        }
        assert!(Equivalents::parse("").is_empty());
    }

    proptest! {
        #[test]
        fn s065_any_text_is_a_map(text in any::<String>(), asked in any::<String>()) {
            let _ = Equivalents::parse(&text).of(&asked, as_it_is);
        }
    }
}
