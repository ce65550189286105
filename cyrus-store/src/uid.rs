//! Message numbers: UIDs, modification sequences, UIDVALIDITY, and compact sets and maps of UIDs.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

/// A message's unique identifier within its mailbox (RFC 9051, section 2.3.1.1); never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(NonZeroU32);

impl Uid {
    /// The least UID.
    pub const MIN: Self = Self(NonZeroU32::MIN);
    /// The greatest UID.
    pub const MAX: Self = Self(NonZeroU32::MAX);

    /// The UID with this number; `None` for zero.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The UID after this one; `None` past the last.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A modification sequence (RFC 7162).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModSeq(pub u64);

impl ModSeq {
    /// The value after this one (saturating: 2^64 changes do not happen).
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for ModSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A mailbox's UIDVALIDITY (RFC 9051, section 2.3.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UidValidity(pub u32);

impl fmt::Display for UidValidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of UIDs as sorted, disjoint, never adjacent ranges.
///
/// Prints as an IMAP sequence set, `1:4,6`; the empty set prints as nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UidSet {
    ranges: Vec<(u32, u32)>,
}

impl UidSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// The set of all UIDs in `ranges`, which may overlap and come in any order. A range whose ends are swapped
    /// counts as if they were not, as in IMAP.
    pub fn from_ranges(ranges: impl IntoIterator<Item = RangeInclusive<Uid>>) -> Self {
        let mut raw: Vec<(u32, u32)> = ranges
            .into_iter()
            .map(|range| {
                let (first, last) = (range.start().get(), range.end().get());
                (first.min(last), first.max(last))
            })
            .collect();
        raw.sort_unstable();
        let mut set = Self::new();
        for (first, last) in raw {
            set.append(first, last);
        }
        set
    }

    /// Adds one UID.
    pub fn insert(&mut self, uid: Uid) {
        let uid = uid.get();
        if self.ranges.last().is_none_or(|&(_, last)| uid > last) {
            return self.append(uid, uid);
        }
        let at = self.ranges.partition_point(|&(_, last)| last < uid);
        let Some(&(first, _)) = self.ranges.get(at) else {
            return self.append(uid, uid);
        };
        if uid >= first {
            return;
        }
        let joins_next = uid + 1 == first;
        let joins_previous = at
            .checked_sub(1)
            .and_then(|i| self.ranges.get(i))
            .is_some_and(|&(_, last)| last + 1 == uid);
        match (joins_previous, joins_next) {
            (true, true) => {
                let (_, last) = self.ranges.remove(at);
                self.ranges[at - 1].1 = last;
            }
            (true, false) => self.ranges[at - 1].1 = uid,
            (false, true) => self.ranges[at].0 = uid,
            (false, false) => self.ranges.insert(at, (uid, uid)),
        }
    }

    /// Adds every UID of `other`.
    pub fn extend_from(&mut self, other: &Self) {
        if self
            .ranges
            .last()
            .is_none_or(|&(_, last)| other.ranges.first().is_none_or(|&(first, _)| first > last))
        {
            for &(first, last) in &other.ranges {
                self.append(first, last);
            }
            return;
        }
        *self = Self::from_ranges(self.ranges().chain(other.ranges()));
    }

    /// Takes the least UIDs away until there are no more than `count`.
    pub fn keep_last(&mut self, count: u64) {
        let mut left = count;
        let mut from = self.ranges.len();
        for (at, range) in self.ranges.iter_mut().enumerate().rev() {
            if left == 0 {
                break;
            }
            let length = u64::from(range.1 - range.0) + 1;
            if length > left {
                range.0 = range.1 - u32::try_from(left - 1).unwrap_or(u32::MAX);
            }
            left -= length.min(left);
            from = at;
        }
        self.ranges.drain(..from);
    }

    /// Takes every UID away that is not in `other`.
    pub fn keep_all(&mut self, other: &Self) {
        let mut kept = Vec::new();
        let mut others = other.ranges.as_slice();
        for &(first, last) in &self.ranges {
            let from = others.partition_point(|&(_, end)| end < first);
            others = others.get(from..).unwrap_or_default();
            let meeting = others.iter().take_while(|&&(start, _)| start <= last);
            kept.extend(meeting.map(|&(start, end)| (start.max(first), end.min(last))));
        }
        self.ranges = kept;
    }

    /// Takes every UID of `other` away.
    pub fn remove_all(&mut self, other: &Self) {
        let mut left = Vec::with_capacity(self.ranges.len());
        for &(first, last) in &self.ranges {
            let mut from = Some(first);
            let start = other.ranges.partition_point(|&(_, gone_last)| gone_last < first);
            for &(gone_first, gone_last) in other
                .ranges
                .iter()
                .skip(start)
                .take_while(|&&(first, _)| first <= last)
            {
                if let Some(from) = from.filter(|&from| from < gone_first) {
                    left.push((from, gone_first - 1));
                }
                from = gone_last.checked_add(1).filter(|&next| next <= last);
            }
            left.extend(from.map(|from| (from, last)));
        }
        self.ranges = left;
    }

    /// Whether `uid` is in the set; logarithmic in the number of ranges.
    pub fn contains(&self, uid: Uid) -> bool {
        let uid = uid.get();
        let at = self.ranges.partition_point(|&(_, last)| last < uid);
        self.ranges.get(at).is_some_and(|&(first, _)| first <= uid)
    }

    /// How many UIDs are in the set.
    pub fn len(&self) -> u64 {
        self.ranges
            .iter()
            .map(|&(first, last)| u64::from(last - first) + 1)
            .sum()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The least member.
    pub fn first(&self) -> Option<Uid> {
        self.ranges.first().and_then(|&(first, _)| Uid::new(first))
    }

    /// The greatest member.
    pub fn last(&self) -> Option<Uid> {
        self.ranges.last().and_then(|&(_, last)| Uid::new(last))
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> impl DoubleEndedIterator<Item = RangeInclusive<Uid>> + ExactSizeIterator + '_ {
        self.ranges
            .iter()
            .map(|&(first, last)| uid_of(first)..=uid_of(last))
    }

    /// Every member, ascending. A range such as `1:4294967295` has four thousand million of them.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.ranges
            .iter()
            .flat_map(|&(first, last)| (first..=last).filter_map(Uid::new))
    }

    /// Adds a range that begins after the last begin.
    fn append(&mut self, first: u32, last: u32) {
        match self.ranges.last_mut() {
            Some(end) if first <= end.1.saturating_add(1) => end.1 = end.1.max(last),
            _ => self.ranges.push((first, last)),
        }
    }
}

fn uid_of(number: u32) -> Uid {
    Uid::new(number).expect("ranges are made of Uids only")
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        let mut set = Self::new();
        for uid in uids {
            set.insert(uid);
        }
        set
    }
}

impl Extend<Uid> for UidSet {
    fn extend<I: IntoIterator<Item = Uid>>(&mut self, uids: I) {
        uids.into_iter().for_each(|uid| self.insert(uid));
    }
}

impl From<RangeInclusive<Uid>> for UidSet {
    fn from(range: RangeInclusive<Uid>) -> Self {
        Self::from_ranges([range])
    }
}

impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, &(first, last)) in self.ranges.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}:{last}")?;
            }
        }
        Ok(())
    }
}

/// The visible UIDs of a mailbox at one moment: message sequence numbers to UIDs and back.
///
/// Kept as ranges with the count before each, so that a mailbox without gaps costs some bytes whatever its size;
/// both directions are logarithmic in the number of ranges. Shared between sessions behind an `Arc`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UidMap {
    /// First UID, last UID, number of UIDs in the ranges before.
    ranges: Vec<(u32, u32, u32)>,
    len: u32,
}

impl UidMap {
    /// The map of these UIDs, which must ascend; one out of order ends the map with `None`.
    pub fn from_ascending(uids: impl IntoIterator<Item = Uid>) -> Option<Self> {
        let mut map = Self::default();
        for uid in uids {
            if !map.push(uid) {
                return None;
            }
        }
        Some(map)
    }

    /// Adds the next UID; false, and no change, when it is not above the last.
    pub fn push(&mut self, uid: Uid) -> bool {
        let uid = uid.get();
        match self.ranges.last_mut() {
            Some((_, last, _)) if uid <= *last => return false,
            Some((_, last, _)) if *last + 1 == uid => *last = uid,
            _ => self.ranges.push((uid, uid, self.len)),
        }
        self.len += 1;
        true
    }

    /// Takes UIDs away; those after them move up.
    pub fn remove_all(&mut self, gone: &UidSet) {
        let mut left = self.to_set();
        left.remove_all(gone);
        let mut map = Self::default();
        for (first, last) in left.ranges {
            map.ranges.push((first, last, map.len));
            map.len += last - first + 1;
        }
        *self = map;
    }

    /// The number of messages.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no messages.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The UID of message `seqno` (from 1).
    pub fn uid(&self, seqno: u32) -> Option<Uid> {
        let index = seqno.checked_sub(1).filter(|&index| index < self.len)?;
        let at = self
            .ranges
            .partition_point(|&(_, _, before)| before <= index)
            .checked_sub(1)?;
        let &(first, _, before) = self.ranges.get(at)?;
        Uid::new(first.checked_add(index - before)?)
    }

    /// The sequence number of `uid`, if it is visible.
    pub fn seqno(&self, uid: Uid) -> Option<u32> {
        let uid = uid.get();
        let at = self.ranges.partition_point(|&(_, last, _)| last < uid);
        let &(first, _, before) = self.ranges.get(at)?;
        Some(before + uid.checked_sub(first)? + 1)
    }

    /// How many visible UIDs are at most `uid`: the sequence number of the last message not after it.
    pub fn count_through(&self, uid: Uid) -> u32 {
        let uid = uid.get();
        let at = self.ranges.partition_point(|&(_, last, _)| last < uid);
        match self.ranges.get(at) {
            Some(&(first, _, before)) if uid >= first => before + (uid - first) + 1,
            Some(&(_, _, before)) => before,
            None => self.len,
        }
    }

    /// The last UID of a range that has the number which a count from `seqno`, the number of the first, gives it.
    pub fn last_numbered(&self, range: RangeInclusive<Uid>, seqno: u32) -> Option<Uid> {
        let distance = range.start().get().checked_sub(seqno)?;
        // How far UIDs are ahead of numbers grows from one run of UIDs to the next.
        let ahead = |&(first, _, before): &(u32, u32, u32)| first - before - 1;
        let at = self.ranges.partition_point(|run| ahead(run) < distance);
        let run = self.ranges.get(at).filter(|run| ahead(run) == distance)?;
        let last = run.1.min(range.end().get());
        (last >= run.0.max(range.start().get())).then(|| uid_of(last))
    }

    /// The least UID.
    pub fn first(&self) -> Option<Uid> {
        self.uid(1)
    }

    /// The greatest UID.
    pub fn last(&self) -> Option<Uid> {
        self.ranges.last().and_then(|&(_, last, _)| Uid::new(last))
    }

    /// Whether `uid` is visible.
    pub fn contains(&self, uid: Uid) -> bool {
        self.seqno(uid).is_some()
    }

    /// All UIDs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.ranges
            .iter()
            .flat_map(|&(first, last, _)| (first..=last).filter_map(Uid::new))
    }

    /// The ranges of UIDs, ascending.
    pub fn ranges(&self) -> impl DoubleEndedIterator<Item = RangeInclusive<Uid>> + ExactSizeIterator + '_ {
        self.ranges
            .iter()
            .map(|&(first, last, _)| uid_of(first)..=uid_of(last))
    }

    /// The UIDs as a set.
    pub fn to_set(&self) -> UidSet {
        UidSet {
            ranges: self
                .ranges
                .iter()
                .map(|&(first, last, _)| (first, last))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(numbers: &[u32]) -> UidSet {
        numbers.iter().filter_map(|&n| Uid::new(n)).collect()
    }

    #[test]
    fn a_set_prints_as_an_imap_sequence_set() {
        assert_eq!(set(&[6, 4, 1, 3, 2]).to_string(), "1:4,6");
        assert_eq!(UidSet::new().to_string(), "");
    }

    #[test]
    fn the_last_uid_does_not_overflow() {
        let mut set = UidSet::from(Uid::MAX..=Uid::MAX);
        set.insert(Uid::MAX);
        set.insert(Uid::MIN);
        assert_eq!(set.to_string(), "1,4294967295");
        assert_eq!(UidSet::from(Uid::MIN..=Uid::MAX).len(), 4_294_967_295);
    }

    #[test]
    fn a_map_counts_through_gaps() {
        let map = UidMap::from_ascending([2, 3, 7].into_iter().filter_map(Uid::new)).unwrap();
        let count = |uid| map.count_through(Uid::new(uid).unwrap());
        assert_eq!(
            [count(1), count(2), count(3), count(4), count(7), count(9)],
            [0, 1, 2, 2, 3, 3]
        );
        assert_eq!((map.uid(0), map.uid(4), map.uid(3)), (None, None, Uid::new(7)));
    }

    proptest! {
        #[test]
        fn a_set_holds_what_was_inserted(numbers in prop::collection::vec(1u32..60, 0..60)) {
            let uids = set(&numbers);
            let model: BTreeSet<u32> = numbers.iter().copied().collect();
            prop_assert_eq!(uids.iter().map(Uid::get).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(uids.len(), model.len() as u64);
            for n in 1..62 {
                prop_assert_eq!(uids.contains(Uid::new(n).unwrap()), model.contains(&n));
            }
            prop_assert!(uids.ranges.windows(2).all(|w| w[0].1 + 1 < w[1].0));
        }

        #[test]
        fn the_union_of_two_sets_holds_both(a in prop::collection::vec(1u32..60, 0..20), b in prop::collection::vec(1u32..60, 0..20)) {
            let mut union = set(&a);
            union.extend_from(&set(&b));
            prop_assert_eq!(union, set(&[a, b].concat()));
        }

        #[test]
        fn what_is_taken_away_is_gone(a in prop::collection::vec(1u32..60, 0..40), b in prop::collection::vec(1u32..60, 0..40)) {
            let mut left = set(&a);
            left.remove_all(&set(&b));
            let model: Vec<u32> = a.into_iter().filter(|n| !b.contains(n)).collect();
            prop_assert_eq!(left, set(&model));
        }

        #[test]
        fn the_last_of_a_set_are_kept(a in prop::collection::btree_set(1u32..60, 0..40), count in 0_usize..50) {
            let mut kept = set(&a.iter().copied().collect::<Vec<_>>());
            kept.keep_last(count as u64);
            let model: Vec<u32> = a.iter().rev().take(count).copied().collect();
            prop_assert_eq!(kept, set(&model));
        }

        #[test]
        fn what_two_sets_share_is_kept(a in prop::collection::vec(1u32..60, 0..40), b in prop::collection::vec(1u32..60, 0..40)) {
            let mut kept = set(&a);
            kept.keep_all(&set(&b));
            let model: Vec<u32> = a.into_iter().filter(|n| b.contains(n)).collect();
            prop_assert_eq!(kept, set(&model));
        }

        #[test]
        fn a_map_turns_numbers_into_uids_and_back(numbers in prop::collection::btree_set(1u32..200, 0..80)) {
            let map = UidMap::from_ascending(numbers.iter().filter_map(|&n| Uid::new(n))).unwrap();
            for (i, &n) in numbers.iter().enumerate() {
                let uid = Uid::new(n).unwrap();
                prop_assert_eq!(map.uid(i as u32 + 1), Some(uid));
                prop_assert_eq!(map.seqno(uid), Some(i as u32 + 1));
            }
            prop_assert_eq!(map.len() as usize, numbers.len());
            for n in 1..202 {
                let uid = Uid::new(n).unwrap();
                prop_assert_eq!(map.contains(uid), numbers.contains(&n));
                prop_assert_eq!(map.count_through(uid) as usize, numbers.range(..=n).count());
            }
        }

        #[test]
        fn a_map_without_some_uids_is_the_map_of_the_others(
            all in prop::collection::btree_set(1u32..60, 0..50), gone in prop::collection::btree_set(1u32..60, 0..50),
        ) {
            let map = |numbers: &BTreeSet<u32>| UidMap::from_ascending(numbers.iter().filter_map(|&n| Uid::new(n))).unwrap();
            let mut left = map(&all);
            left.remove_all(&gone.iter().filter_map(|&n| Uid::new(n)).collect());
            prop_assert_eq!(left, map(&all.difference(&gone).copied().collect()));
        }

        #[test]
        fn the_last_uid_in_step_is_that_of_a_count(
            numbers in prop::collection::btree_set(1u32..60, 0..50), first in 1u32..60, more in 0u32..60, seqno in 1u32..60,
        ) {
            let map = UidMap::from_ascending(numbers.iter().filter_map(|&n| Uid::new(n))).unwrap();
            let counted = (0..=more).rev().map(|n| (Uid::new(first + n).unwrap(), seqno + n));
            let expected = counted.into_iter().find(|&(uid, seqno)| map.seqno(uid) == Some(seqno));
            let range = Uid::new(first).unwrap()..=Uid::new(first + more).unwrap();
            prop_assert_eq!(map.last_numbered(range, seqno), expected.map(|(uid, _)| uid));
        }
    }
}
