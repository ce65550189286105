//! What can still be read of an index.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::format::index::{IndexHeader, Layout, Record};
use crate::format::{Damage, Fault, be32};

/// The readable parts of an index file.
#[derive(Debug, Default)]
pub(super) struct Salvaged {
    /// The header, if it is whole.
    pub(super) header: Option<IndexHeader>,
    /// Why it is not.
    pub(super) fault: Option<Fault>,
    /// The whole records, by UID.
    pub(super) records: BTreeMap<u32, Record>,
    /// How many are damaged.
    pub(super) damaged: u32,
    /// Where in the file the first of them is.
    pub(super) first_damage: u64,
    /// UIDs that damaged records may have had.
    pub(super) holes: Vec<RangeInclusive<u32>>,
}

impl Salvaged {
    pub(super) fn of(file: &[u8]) -> Self {
        let mut salvaged = Self::default();
        let (layout, promised) = match IndexHeader::parse(file) {
            Ok(header) => {
                let promise = (header.layout, header.num_records);
                salvaged.header = Some(header);
                promise
            }
            Err(fault) => {
                let fault = match file.is_empty() {
                    true => Fault::new(0, Damage::Missing),
                    false => fault,
                };
                salvaged.fault = Some(fault);
                // The version is one word of the damaged header; records that do not fit it fail their checksums.
                let minor = be32(file, VERSION_AT).and_then(Layout::of_version);
                (minor.unwrap_or(Layout::NEWEST), u32::MAX)
            }
        };
        salvaged.read_records(file, layout, promised);
        salvaged
    }

    fn read_records(&mut self, file: &[u8], layout: &'static Layout, promised: u32) {
        let body = file.len().saturating_sub(layout.header_size);
        let present = u32::try_from(body / layout.record_size).unwrap_or(u32::MAX);
        let frame = IndexHeader {
            layout,
            num_records: present.min(promised),
            ..IndexHeader::new(0, 0, 0)
        };
        if promised != u32::MAX {
            self.damaged = promised.saturating_sub(present);
            self.first_damage = frame.offset_of(present);
        }
        let mut open_from = (self.damaged > 0 && present == 0).then_some(1);
        let Ok(records) = frame.records(file) else { return };
        let mut last = 0;
        let mut first = None;
        for (number, view) in (0..).zip(records.iter()) {
            match view.record() {
                Ok(record) if record.uid > 0 => {
                    if let Some(from) = open_from.take()
                        && from < record.uid
                    {
                        self.holes.push(from..=record.uid - 1);
                    }
                    last = last.max(record.uid);
                    let known = self.records.get(&record.uid);
                    if known.is_none_or(|known| known.modseq < record.modseq) {
                        self.records.insert(record.uid, record);
                    }
                }
                _ => {
                    self.damaged += 1;
                    first.get_or_insert(frame.offset_of(number));
                    open_from.get_or_insert(last.saturating_add(1));
                }
            }
        }
        self.first_damage = first.unwrap_or(self.first_damage);
        if self.damaged > 0 && promised != u32::MAX && present < promised {
            open_from.get_or_insert(last.saturating_add(1));
        }
        if let Some(from) = open_from {
            self.holes.push(from..=u32::MAX);
        }
    }

    /// Whether a UID may have been that of a damaged record.
    pub(super) fn may_have_had(&self, uid: u32) -> bool {
        self.holes.iter().any(|hole| hole.contains(&uid))
    }
}

/// Where the minor version is in every index.
const VERSION_AT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn index(uids: &[u32]) -> Vec<u8> {
        let mut header = IndexHeader::new(7, 7, 7);
        header.num_records = u32::try_from(uids.len()).unwrap();
        header.last_uid = 100;
        let mut file = header.to_bytes();
        for &uid in uids {
            let record = Record {
                uid,
                modseq: 3,
                ..Record::default()
            };
            file.extend(record.to_bytes(header.layout));
        }
        file
    }

    #[test]
    fn whole_records_survive_a_damaged_one_whose_uid_is_guessed_from_its_neighbours() {
        let mut file = index(&[1, 5, 9]);
        file[160 + 112 + 40] ^= 1;
        let salvaged = Salvaged::of(&file);
        assert!(salvaged.header.is_some());
        assert_eq!(salvaged.records.keys().copied().collect::<Vec<_>>(), [1, 9]);
        assert_eq!((salvaged.damaged, salvaged.holes.as_slice()), (1, &[2..=8][..]));
        assert!(salvaged.may_have_had(5) && !salvaged.may_have_had(9));
    }

    #[test]
    fn records_are_read_without_a_header_and_past_a_cut() {
        let mut file = index(&[1, 5, 9]);
        file[20] ^= 1;
        let salvaged = Salvaged::of(&file);
        assert!(salvaged.header.is_none() && salvaged.fault.is_some());
        assert_eq!(salvaged.records.len(), 3);
        let file = index(&[1, 5, 9]);
        let salvaged = Salvaged::of(&file[..file.len() - 1]);
        assert_eq!((salvaged.records.len(), salvaged.damaged), (2, 1));
        assert!(salvaged.may_have_had(9) && !salvaged.may_have_had(5));
        assert_eq!(Salvaged::of(b"").fault.unwrap().damage, Damage::Missing);
    }

    proptest::proptest! {
        #[test]
        fn noise_is_no_trouble(noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..900)) {
            Salvaged::of(&noise);
        }
    }
}
