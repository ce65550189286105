//! The databases through the public interface: as maps, beside real Cyrus, after crashes and damage.
#![allow(clippy::unwrap_used)]

mod crash;
mod cyrus;
mod golden;
mod maps;
mod together;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use cyrus_store::db::{self, Create, Db, DbContext, DbError, Engine};
use cyrus_store::lock::LockTable;
use cyrus_store::sys::{Disk, RealDisk};

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// The engines that keep a database in one file.
const FILES: [Engine; 3] = [Engine::Twoskip, Engine::Skiplist, Engine::Flat];

fn context(disk: impl Disk + 'static) -> DbContext {
    DbContext::new(LockTable::new(Arc::new(disk)))
}

fn open_real(path: &Path, engine: Engine) -> Box<dyn Db> {
    db::open(&context(RealDisk), path, engine, Create::Yes).unwrap()
}

fn entries(db: &mut dyn Db) -> Result<Entries, DbError> {
    let mut all = Vec::new();
    db.scan(b"", &mut |key, value| {
        all.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

fn in_order(engine: Engine, map: &BTreeMap<Vec<u8>, Vec<u8>>) -> Entries {
    let mut all: Entries = map
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    all.sort_by(|(one, _), (two, _)| compare(engine, one, two));
    all
}

/// The order of keys in an engine, told independently of the code under test.
fn compare(engine: Engine, one: &[u8], two: &[u8]) -> Ordering {
    match engine {
        Engine::Twoskip | Engine::QuotaLegacy => one.cmp(two),
        Engine::Skiplist => {
            let signed = |key: &[u8]| key.iter().map(|byte| *byte as i8).collect::<Vec<_>>();
            signed(one).cmp(&signed(two))
        }
        Engine::Flat => {
            let ranks = |key: &[u8]| {
                let mut ranks = Vec::new();
                for byte in key {
                    match byte {
                        0 | 9 | 10 | 13 => ranks.extend([0xff, byte | 0x80]),
                        0xff => ranks.extend([0xff, 0xff]),
                        b'.' => ranks.push(2),
                        1..=8 => ranks.push(byte + 2),
                        other => ranks.push(*other),
                    }
                }
                ranks
            };
            ranks(one).cmp(&ranks(two))
        }
    }
}
