//! Every mailbox file that real Cyrus 3.6.1 left in the golden spools is read, all its checksums and counts are
//! computed anew and are equal, and what is written back is equal byte for byte.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use std::fs;
use std::path::Path;

use cyrus_store::format::cache::{self, CacheItem, CacheView};
use cyrus_store::format::header::MailboxHeader;
use cyrus_store::format::index::{FlagCrcs, IndexHeader};

const SPOOLS: [&str; 5] = [
    "default-uuid",
    "legacy-virtdomains-conversations",
    "uuid-altbackends",
    "killed-mid-write",
    "killed-mid-repack",
];

#[test]
fn every_header_reads_and_writes_back_byte_for_byte() {
    let mut count = 0;
    for name in SPOOLS {
        let spool = common::spool(name);
        for path in common::files_named(spool.path(), "cyrus.header") {
            let bytes = fs::read(&path).unwrap();
            let header =
                MailboxHeader::parse(&bytes).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
            assert_eq!(header.to_bytes(), bytes, "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 100, "{count} headers");
}

#[test]
fn every_index_has_the_checksums_and_counts_that_we_compute() {
    let mut records = 0;
    for name in SPOOLS {
        let spool = common::spool(name);
        for path in common::files_named(spool.path(), "cyrus.index") {
            records += check_index(&path);
        }
    }
    assert!(records > 2800, "{records} records");
}

fn check_index(path: &Path) -> u32 {
    let shown = path.display();
    let file = fs::read(path).unwrap();
    let header = IndexHeader::parse(&file).unwrap_or_else(|fault| panic!("{shown}: {fault}"));
    assert_eq!(header.to_bytes(), file[..160], "{shown}");
    let mailbox = fs::read(path.with_file_name("cyrus.header")).unwrap();
    let mailbox = MailboxHeader::parse(&mailbox).unwrap();
    let crcs = FlagCrcs::new(
        mailbox
            .keywords
            .iter()
            .map(|keyword| keyword.as_ref().map(|k| k.as_str())),
    );
    let mut counted = IndexHeader {
        exists: 0,
        ..header.clone()
    };
    (counted.answered, counted.flagged, counted.deleted, counted.unseen) = (0, 0, 0, 0);
    (counted.quota_mailbox_used, counted.sync_basic) = (0, 0);
    let annotations_elsewhere = counted.sync_annot;
    let mut last = 0;
    for view in header.records(&file).unwrap().iter() {
        let record = view.record().unwrap_or_else(|fault| panic!("{shown}: {fault}"));
        assert!(record.uid > last, "{shown}: UIDs ascend");
        last = record.uid;
        let mut bytes = vec![0; view.bytes().len()];
        record.write(header.layout, &mut bytes);
        assert_eq!(bytes, view.bytes(), "{shown}: UID {last}");
        counted.count_in(&record, &crcs);
    }
    counted.sync_annot = annotations_elsewhere;
    assert_eq!(counted, header, "{shown}");
    header.num_records
}

#[test]
fn every_cache_record_has_the_checksum_of_its_index_record() {
    let mut checked = 0;
    for name in ["default-uuid", "uuid-altbackends"] {
        let spool = common::spool(name);
        for path in common::files_named(spool.path(), "cyrus.index") {
            let index = fs::read(&path).unwrap();
            let header = IndexHeader::parse(&index).unwrap();
            let file = fs::read(path.with_file_name("cyrus.cache")).unwrap_or_default();
            if header.num_records > 0 {
                assert_eq!(
                    cache::generation(&file),
                    Some(header.generation),
                    "{}",
                    path.display()
                );
            }
            for view in header.records(&index).unwrap().iter() {
                let record = view.record().unwrap();
                if record.is_unlinked() {
                    continue;
                }
                let cached = CacheView::parse(&file, record.cache_offset).unwrap();
                assert_eq!(
                    cached.crc(),
                    record.cache_crc,
                    "{} UID {}",
                    path.display(),
                    record.uid
                );
                assert_eq!(cache::record_bytes(cached.items()), cached.bytes());
                assert_eq!(cached.item(CacheItem::Envelope).first(), Some(&b'('));
                checked += 1;
            }
        }
    }
    assert!(checked > 2000, "{checked} cache records");
}
