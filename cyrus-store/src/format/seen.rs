//! A row of a user's seen database: what he has read in a mailbox that is not his own.

use std::fmt;

use super::{Damage, Fault, decimal};
use crate::uid::{Uid, UidSet};

/// One user's state in one mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenState {
    /// When he last read there, Unix seconds.
    pub lastread: u32,
    /// The highest UID he was told of: later ones are `\Recent` for him.
    pub lastuid: u32,
    /// The mailbox's time of last append then, Unix seconds.
    pub lastchange: u32,
    /// What he has seen.
    pub seen: UidSet,
}

impl SeenState {
    /// Reads the value of a row.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn parse(value: &[u8]) -> Result<Self, Fault> {
        let mut words = value.trim_ascii_end().splitn(5, |&byte| byte == b' ');
        let mut number = || {
            words
                .next()
                .and_then(decimal)
                .and_then(|number| u32::try_from(number).ok())
        };
        let expected = || Fault::new(0, Damage::Expected("version, times and uid of seen state"));
        match number() {
            Some(1) => {}
            Some(version) => return Err(Fault::new(0, Damage::Version(version))),
            None => return Err(expected()),
        }
        let lastread = number().ok_or_else(expected)?;
        let lastuid = number().ok_or_else(expected)?;
        let lastchange = number().ok_or_else(expected)?;
        let uids = words.next().unwrap_or_default();
        let at = value.len().saturating_sub(uids.len());
        Ok(Self {
            lastread,
            lastuid,
            lastchange,
            seen: parse_set(uids).map_err(|f| f.shifted(at as u64))?,
        })
    }
}

impl fmt::Display for SeenState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "1 {} {} {} {}",
            self.lastread, self.lastuid, self.lastchange, self.seen
        )
    }
}

/// An IMAP set of UIDs without `*`.
fn parse_set(text: &[u8]) -> Result<UidSet, Fault> {
    if text.is_empty() {
        return Ok(UidSet::new());
    }
    let uid = |word: &[u8]| {
        decimal(word)
            .and_then(|number| u32::try_from(number).ok())
            .and_then(Uid::new)
    };
    let mut ranges = Vec::new();
    for range in text.split(|&byte| byte == b',') {
        let (first, last) = match range.iter().position(|&byte| byte == b':') {
            Some(colon) => (uid(&range[..colon]), uid(&range[colon + 1..])),
            None => (uid(range), uid(range)),
        };
        let ends = first
            .zip(last)
            .ok_or(Fault::new(0, Damage::Expected("a set of UIDs")))?;
        ranges.push(ends.0..=ends.1);
    }
    Ok(UidSet::from_ranges(ranges))
}

/// Reads noise; for the fuzz target of the same name.
pub(crate) fn fuzz(data: &[u8]) {
    if let Ok(state) = SeenState::parse(data) {
        assert_eq!(
            SeenState::parse(state.to_string().as_bytes()).as_ref(),
            Ok(&state),
            "what was written reads back"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_row_is_spelt_as_cyrus_spells_it() {
        let text = "1 1800000000 22 1800000005 1:4,10,20:22";
        let state = SeenState::parse(text.as_bytes()).unwrap();
        assert_eq!((state.lastuid, state.seen.len()), (22, 8));
        assert_eq!(state.to_string(), text);
        assert_eq!(SeenState::parse(b"1 1 2 3 ").unwrap().to_string(), "1 1 2 3 ");
    }

    #[test]
    fn other_versions_and_noise_are_refused() {
        assert_eq!(
            SeenState::parse(b"2 1 2 3 ").unwrap_err().damage,
            Damage::Version(2)
        );
        assert!(SeenState::parse(b"1 1 2").is_err());
        assert!(SeenState::parse(b"1 1 2 3 1:*").is_err());
    }

    proptest! {
        #[test]
        fn rows_round_trip(numbers in any::<[u32; 3]>(), uids in prop::collection::vec(1..100_u32, 0..20)) {
            let [lastread, lastuid, lastchange] = numbers;
            let seen = uids.into_iter().filter_map(Uid::new).collect();
            let state = SeenState { lastread, lastuid, lastchange, seen };
            prop_assert_eq!(SeenState::parse(state.to_string().as_bytes()), Ok(state));
        }

        #[test]
        fn noise_is_no_trouble(noise in "1 [0-9 :,]{0,30}") {
            fuzz(noise.as_bytes());
        }
    }
}
