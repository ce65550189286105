//! How new each part of an index is, so that what changed is found without a look at every record.

use std::ops::Range;

use crate::format::index::{RecordView, Records};

/// The highest modification sequence in each block of records: eight octets for 32 KiB of index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Newest {
    blocks: Vec<u64>,
}

/// Records in a block.
const BLOCK: u32 = 256;

impl Newest {
    /// Takes note of a record.
    pub(super) fn note(&mut self, number: u32, modseq: u64) {
        let block = (number / BLOCK) as usize;
        if block >= self.blocks.len() {
            self.blocks.resize(block + 1, 0);
        }
        if let Some(newest) = self.blocks.get_mut(block) {
            *newest = modseq.max(*newest);
        }
    }

    /// Looks again at the blocks of records that were written; ranges ascend.
    pub(super) fn look_again(&mut self, records: Records<'_>, written: &[Range<u32>]) {
        let mut next = 0;
        for range in written {
            let first = (range.start / BLOCK).max(next);
            let end = range.end.min(records.len()).div_ceil(BLOCK);
            for block in first..end {
                if let Some(newest) = self.blocks.get_mut(block as usize) {
                    *newest = 0;
                }
                let start = block * BLOCK;
                for (number, record) in (start..).zip(records.from(start).take(BLOCK as usize)) {
                    self.note(number, record.modseq());
                }
            }
            next = next.max(end);
        }
    }

    /// The records that changed after `since`, with their numbers.
    pub(crate) fn since<'r>(
        &self,
        records: Records<'r>,
        since: u64,
    ) -> impl Iterator<Item = (u32, RecordView<'r>)> + use<'_, 'r> {
        let blocks = (0..).zip(&self.blocks);
        blocks
            .filter(move |&(_, &newest)| newest > since)
            .flat_map(move |(block, _): (u32, _)| {
                let start = block * BLOCK;
                (start..).zip(records.from(start).take(BLOCK as usize))
            })
            .filter(move |(_, record)| record.modseq() > since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::index::{IndexHeader, Record};
    use proptest::prelude::*;

    fn index(modseqs: &[u64]) -> (IndexHeader, Vec<u8>) {
        let mut header = IndexHeader::new(1, 1, 1);
        header.num_records = modseqs.len() as u32;
        let mut file = header.to_bytes();
        for (uid, &modseq) in (1..).zip(modseqs) {
            let record = Record {
                uid,
                modseq,
                ..Record::default()
            };
            file.extend_from_slice(&record.to_bytes(header.layout));
        }
        (header, file)
    }

    fn newest_of(records: Records<'_>) -> Newest {
        let mut newest = Newest::default();
        for (number, record) in (0..).zip(records.iter()) {
            newest.note(number, record.modseq());
        }
        newest
    }

    proptest! {
        #[test]
        fn what_changed_is_found_also_after_records_were_written(
            before in prop::collection::vec(1_u64..50, 0..1500),
            changes in prop::collection::vec((any::<prop::sample::Index>(), 1_u64..90), 0..20),
            added in prop::collection::vec(50_u64..90, 0..600),
            since in 0_u64..95,
        ) {
            let (header, file) = index(&before);
            let mut newest = newest_of(header.records(&file).unwrap());
            let mut after = before.clone();
            let mut written: Vec<Range<u32>> = Vec::new();
            for (at, modseq) in changes.iter().filter(|_| !before.is_empty()) {
                let at = at.index(before.len());
                after[at] = *modseq;
                written.push(at as u32..at as u32 + 1);
            }
            written.sort_by_key(|range| range.start);
            written.push(before.len() as u32..(before.len() + added.len()) as u32);
            after.extend(&added);
            let (header, file) = index(&after);
            let records = header.records(&file).unwrap();
            newest.look_again(records, &written);
            let found: Vec<u32> = newest.since(records, since).map(|(number, _)| number).collect();
            let expected: Vec<u32> = (0..).zip(&after).filter(|&(_, &m)| m > since).map(|(n, _)| n).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
