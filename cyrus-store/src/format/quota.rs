//! The value of a quota root: usage and limit of four resources.

use super::dlist::Dlist;
use super::{Damage, Fault, decimal};

/// What a quota can limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Octets of messages; limits are in KiB. IMAP: STORAGE.
    Storage,
    /// Messages. IMAP: MESSAGE.
    Message,
    /// Octets of annotation values; limits are in KiB. IMAP: X-ANNOTATION-STORAGE.
    AnnotationStorage,
    /// Mailboxes. IMAP: X-NUM-FOLDERS.
    NumFolders,
}

impl Resource {
    /// All of them, in the order of the file.
    pub const ALL: [Self; 4] = [
        Self::Storage,
        Self::Message,
        Self::AnnotationStorage,
        Self::NumFolders,
    ];

    /// The name that Cyrus gives it in IMAP.
    pub const fn imap_name(self) -> &'static str {
        match self {
            Self::Storage => "STORAGE",
            Self::Message => "MESSAGE",
            Self::AnnotationStorage => "X-ANNOTATION-STORAGE",
            Self::NumFolders => "X-NUM-FOLDERS",
        }
    }

    /// The name that RFC 9208 gives it.
    pub const fn registered_name(self) -> &'static str {
        match self {
            Self::Storage => "STORAGE",
            Self::Message => "MESSAGE",
            Self::AnnotationStorage => "ANNOTATION-STORAGE",
            Self::NumFolders => "MAILBOX",
        }
    }

    /// The resource of this IMAP name, Cyrus's or that of RFC 9208, in any case.
    pub fn from_imap_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| {
            let is_called = |known: &str| known.eq_ignore_ascii_case(name);
            is_called(resource.imap_name()) || is_called(resource.registered_name())
        })
    }

    /// How many units of usage one unit of a limit is.
    pub const fn unit(self) -> u64 {
        match self {
            Self::Storage | Self::AnnotationStorage => 1024,
            Self::Message | Self::NumFolders => 1,
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Storage => "S",
            Self::Message => "M",
            Self::AnnotationStorage => "AS",
            Self::NumFolders => "NF",
        }
    }
}

/// Usage and limits of one quota root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Usage by resource, in octets, messages, octets and mailboxes.
    pub used: [u64; 4],
    /// Limits by resource, in KiB, messages, KiB and mailboxes; `None` is no limit.
    pub limit: [Option<u64>; 4],
    /// Modification sequence of the last change of a limit.
    pub modseq: u64,
    /// The text of what a running `quota -f` keeps here; carried along untouched.
    pub scan: Option<Vec<u8>>,
}

impl Quota {
    /// Usage of a resource.
    pub const fn used(&self, resource: Resource) -> u64 {
        self.used[resource as usize]
    }

    /// Limit of a resource.
    pub const fn limit(&self, resource: Resource) -> Option<u64> {
        self.limit[resource as usize]
    }

    /// The limit in units of usage.
    pub fn limit_in_use_units(&self, resource: Resource) -> Option<u64> {
        self.limit(resource)
            .map(|limit| limit.saturating_mul(resource.unit()))
    }

    /// Changes the usage; it never goes below zero.
    pub fn charge(&mut self, delta: Usage) {
        for (used, change) in self.used.iter_mut().zip(delta.0) {
            *used = used.saturating_add_signed(change);
        }
    }

    /// The first resource that has no room for `more`, which is checked only where it is more than nothing.
    pub fn lacks_room_for(&self, more: Usage) -> Option<Resource> {
        Resource::ALL.into_iter().find(|&resource| {
            let wanted = more.0[resource as usize];
            let limit = self.limit_in_use_units(resource);
            wanted > 0 && limit.is_some_and(|limit| self.used(resource).saturating_add_signed(wanted) > limit)
        })
    }

    /// Reads a value, in the present form or either old one.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn parse(value: &[u8]) -> Result<Self, Fault> {
        let value = value.strip_suffix(b"\n").unwrap_or(value);
        if value.first() == Some(&b'%') {
            Self::parse_dlist(value)
        } else {
            Self::parse_words(value)
        }
    }

    fn parse_dlist(value: &[u8]) -> Result<Self, Fault> {
        let map = Dlist::parse(value)?;
        let mut quota = Self::default();
        for resource in Resource::ALL {
            let Some(item) = map.get(resource.key()) else {
                continue;
            };
            let expected = || Fault::new(0, Damage::Expected("usage and limit in a quota value"));
            let item = item.as_list().ok_or_else(expected)?;
            quota.used[resource as usize] = item.first().and_then(signed_floor).ok_or_else(expected)?;
            if let Some(limit) = item.get(1) {
                quota.limit[resource as usize] = Some(limit.as_number().ok_or_else(expected)?);
            }
        }
        quota.modseq = map.get("MODSEQ").and_then(Dlist::as_number).unwrap_or_default();
        quota.scan = map.get("SCAN").map(Dlist::to_bytes);
        Ok(quota)
    }

    /// `used limit M used limit ...`, separated by spaces or line ends; a limit of -1 is none.
    fn parse_words(value: &[u8]) -> Result<Self, Fault> {
        let mut quota = Self::default();
        let mut resource = Resource::Storage;
        let mut words = value
            .split(|byte| byte.is_ascii_whitespace())
            .filter(|word| !word.is_empty())
            .peekable();
        if words.peek().is_none() {
            return Err(Fault::new(0, Damage::Truncated));
        }
        let impossible = || Fault::new(0, Damage::Expected("usage and limit in an old quota value"));
        while let Some(word) = words.next() {
            let used = match Resource::ALL
                .into_iter()
                .find(|resource| resource.key().as_bytes() == word)
            {
                Some(named) => {
                    resource = named;
                    words.next().ok_or_else(impossible)?
                }
                None => word,
            };
            quota.used[resource as usize] = decimal(used).ok_or_else(impossible)?;
            let limit = words.next().ok_or_else(impossible)?;
            quota.limit[resource as usize] = match limit {
                b"-1" => None,
                limit => Some(decimal(limit).ok_or_else(impossible)?),
            };
        }
        Ok(quota)
    }

    /// The limits that can still be made out in a damaged value; nothing if there is none.
    pub(crate) fn salvage(value: &[u8]) -> Option<Self> {
        let mut quota = Self::default();
        for resource in Resource::ALL {
            let opening = format!("{} (", resource.key());
            let mut windows = value.windows(opening.len()).enumerate();
            let is_key = |at: usize| {
                at.checked_sub(1)
                    .and_then(|at| value.get(at))
                    .is_none_or(|before| *before != b'A')
            };
            let at =
                windows.find_map(|(at, window)| (window == opening.as_bytes() && is_key(at)).then_some(at));
            let rest = at.and_then(|at| value.get(at + opening.len()..));
            let inside = rest.and_then(|rest| rest.split(|byte| *byte == b')').next());
            let mut numbers = inside
                .unwrap_or_default()
                .split(|byte| *byte == b' ')
                .map(decimal);
            if let (Some(Some(_)), Some(Some(limit)), None) = (numbers.next(), numbers.next(), numbers.next())
            {
                quota.limit[resource as usize] = Some(limit);
            }
        }
        (quota != Self::default()).then_some(quota)
    }

    /// The bytes of the value, without a line end.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = b"%(".to_vec();
        for resource in Resource::ALL {
            let limit = self
                .limit(resource)
                .map(|limit| format!(" {limit}"))
                .unwrap_or_default();
            out.extend_from_slice(format!("{} ({}{limit}) ", resource.key(), self.used(resource)).as_bytes());
        }
        if let Some(scan) = &self.scan {
            out.extend_from_slice(b"SCAN ");
            out.extend_from_slice(scan);
            out.push(b' ');
        }
        out.extend_from_slice(format!("MODSEQ {})", self.modseq).as_bytes());
        out
    }
}

/// A usage written by old releases may be negative: that is nothing.
fn signed_floor(item: &Dlist<'_>) -> Option<u64> {
    let text = item.as_bytes()?;
    match text.strip_prefix(b"-") {
        Some(digits) => decimal(digits).map(|_| 0),
        None => decimal(text),
    }
}

/// A change of usage, by resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage(pub [i64; 4]);

impl Usage {
    /// Whether nothing changes.
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 4]
    }

    /// The change that takes this one back.
    pub fn negated(self) -> Self {
        Self(self.0.map(i64::saturating_neg))
    }

    /// Both changes together.
    pub fn plus(self, other: Self) -> Self {
        let [a, b, c, d] = self.0;
        let [e, f, g, h] = other.0;
        Self([
            a.saturating_add(e),
            b.saturating_add(f),
            c.saturating_add(g),
            d.saturating_add(h),
        ])
    }
}

/// Reads noise; for the fuzz target of the same name.
pub(crate) fn fuzz(data: &[u8]) {
    if let Ok(quota) = Quota::parse(data) {
        assert_eq!(
            Quota::parse(&quota.to_bytes()).as_ref(),
            Ok(&quota),
            "what was written reads back"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_is_spelt_as_cyrus_spells_it() {
        let text = b"%(S (547 1000) M (1) AS (0) NF (2 50) MODSEQ 7)";
        let quota = Quota::parse(text).unwrap();
        assert_eq!(quota.used, [547, 1, 0, 2]);
        assert_eq!(quota.limit, [Some(1000), None, None, Some(50)]);
        assert_eq!(quota.to_bytes(), text);
    }

    #[test]
    fn a_running_scan_is_left_alone() {
        let text = b"%(S (5) M (1) AS (0) NF (2) SCAN (1 (2 3) %(a b)) MODSEQ 7)";
        assert_eq!(Quota::parse(text).unwrap().to_bytes(), text);
    }

    #[test]
    fn old_values_are_read() {
        assert_eq!(
            Quota::parse(b"1234\n50\n").unwrap().limit,
            [Some(50), None, None, None]
        );
        let quota = Quota::parse(b"1234 -1 M 3 9 NF 2 -1").unwrap();
        assert_eq!(
            (quota.used, quota.limit),
            ([1234, 3, 0, 2], [None, Some(9), None, None])
        );
        assert!(Quota::parse(b"").is_err());
        assert!(Quota::parse(b"12 x").is_err());
    }

    #[test]
    fn room_is_checked_only_for_what_grows() {
        let quota = Quota {
            used: [2000, 5, 0, 1],
            limit: [Some(1), Some(5), None, None],
            ..Quota::default()
        };
        assert_eq!(quota.lacks_room_for(Usage([1, 0, 0, 0])), Some(Resource::Storage));
        assert_eq!(
            quota.lacks_room_for(Usage([-1, 1, 0, 0])),
            Some(Resource::Message)
        );
        assert_eq!(quota.lacks_room_for(Usage([-5, 0, 9, 9])), None);
    }

    #[test]
    fn usage_never_goes_below_zero() {
        let mut quota = Quota {
            used: [10, 1, 0, 0],
            ..Quota::default()
        };
        quota.charge(Usage([-20, -1, 0, 0]));
        assert_eq!(quota.used, [0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn values_round_trip(used in any::<[u64; 4]>(), limit in any::<[Option<u64>; 4]>(), modseq in any::<u64>()) {
            let quota = Quota { used, limit, modseq, scan: None };
            prop_assert_eq!(Quota::parse(&quota.to_bytes()), Ok(quota));
        }

        #[test]
        fn noise_is_no_trouble(noise in "[%()SMANF 0-9\n-]{0,40}") {
            fuzz(noise.as_bytes());
        }
    }
}
