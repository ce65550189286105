//! A value of `ptclient/ptscache.db`: who an identifier is, and which groups hold him.
//!
//! It is a structure of the machine's own, as ptloader has it in memory: integers in native order, names in fixed
//! fields of 512 octets, and groups behind one another.

/// The most octets that an identifier has as a key, and a name in a value with the NUL at its end.
pub const MAX_NAME: usize = 512;
/// Groups of one user that are read or written at most.
pub const MAX_GROUPS: usize = 10_000;

/// What ptloader found out about an identifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The canonical identifier.
    pub userid: String,
    /// When it was found out, in seconds since 1970.
    pub mark: i64,
    /// The groups, as access control lists name them.
    pub groups: Vec<String>,
}

impl Membership {
    /// Reads a value; `None` if it is cut off or names what is no text.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mark = i64::from_ne_bytes(*value.get(MARK..)?.first_chunk()?);
        let count = i32::from_ne_bytes(*value.get(COUNT..)?.first_chunk()?);
        let count = usize::try_from(count).ok().filter(|count| *count <= MAX_GROUPS)?;
        let groups = (0..count).map(|at| name(value.get(GROUPS + at * IDENT..)?));
        Some(Self {
            userid: name(value)?,
            mark,
            groups: groups.collect::<Option<_>>()?,
        })
    }

    /// The value as ptloader writes it; `None` if a name is too long or holds a NUL, or if there are too many groups.
    pub fn to_value(&self) -> Option<Vec<u8>> {
        let count = i32::try_from(self.groups.len()).ok()?;
        if self.groups.len() > MAX_GROUPS {
            return None;
        }
        // One group more than there are, as ptloader reserves it.
        let mut value = vec![0; GROUPS + IDENT * (self.groups.len() + 1)];
        put_name(&mut value, 0, &self.userid)?;
        put(&mut value, MARK, &self.mark.to_ne_bytes())?;
        put(&mut value, COUNT, &count.to_ne_bytes())?;
        for (at, group) in self.groups.iter().enumerate() {
            put_name(&mut value, GROUPS + at * IDENT, group)?;
        }
        Some(value)
    }
}

fn name(ident: &[u8]) -> Option<String> {
    let field = ident.get(HASH..IDENT)?;
    let end = field.iter().position(|&byte| byte == 0)?;
    String::from_utf8(field.get(..end)?.to_vec()).ok()
}

fn put_name(value: &mut [u8], at: usize, name: &str) -> Option<()> {
    if name.len() >= MAX_NAME || name.contains('\0') {
        return None;
    }
    put(value, at, &hash(name.as_bytes()).to_ne_bytes())?;
    put(value, at + HASH, name.as_bytes())
}

fn put(value: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    value
        .get_mut(at..)?
        .get_mut(..bytes.len())?
        .copy_from_slice(bytes);
    Some(())
}

/// The number by which Cyrus compares names before it compares them.
fn hash(name: &[u8]) -> u32 {
    name.iter()
        .fold(5381, |hash: u32, &byte| hash.wrapping_mul(33) ^ u32::from(byte))
}

// Octets in a name: its hash, and the text.
const HASH: usize = 4;
const IDENT: usize = HASH + MAX_NAME;
// Octets in a value: the user's name, four of padding, and then these.
const MARK: usize = 520;
const COUNT: usize = 528;
const GROUPS: usize = 532;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What Cyrus 3.6.1's own function answers.
    #[test]
    fn s060_names_are_hashed_as_cyrus_does() {
        for (name, expected) in [
            ("", 5381),
            ("a", 177_604),
            ("ab", 5_860_902),
            ("fred", 2_087_598_832),
            ("group:staff", 2_521_946_086),
        ] {
            assert_eq!(hash(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn s060_a_value_that_is_cut_off_is_none() {
        let found = Membership {
            userid: "fred".into(),
            mark: 1_700_000_000,
            groups: vec!["group:staff".into(), "group:mail".into()],
        };
        let value = found.to_value().unwrap();
        assert_eq!(value.len(), 532 + 3 * 516);
        assert_eq!(Membership::parse(&value), Some(found));
        for length in [0, 4, 519, 528, 532, 533, 532 + 2 * 516 - 1] {
            assert_eq!(Membership::parse(&value[..length]), None, "{length}");
        }
        // One that does not reserve more than there is, is whole, too.
        assert!(Membership::parse(&value[..532 + 2 * 516]).is_some());
    }

    #[test]
    fn s060_names_that_do_not_fit_are_not_written() {
        let of = |name: String| Membership {
            userid: name,
            ..Membership::default()
        };
        assert!(of("x".repeat(511)).to_value().is_some());
        assert!(of("x".repeat(512)).to_value().is_none());
        assert!(of("a\0b".into()).to_value().is_none());
    }

    proptest! {
        #[test]
        fn s060_what_is_written_is_read(
            userid in "[^\0]{0,40}", mark: i64, groups in prop::collection::vec("[^\0]{0,40}", 0..6)
        ) {
            let found = Membership { userid, mark, groups };
            prop_assert_eq!(Membership::parse(&found.to_value().unwrap()), Some(found));
        }

        #[test]
        fn s060_any_octets_are_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = Membership::parse(&value);
        }
    }
}
