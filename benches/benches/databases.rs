//! Databases on a real disk: reading and committing single keys, and a whole scan.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use cyrus_store::db::{Create, Db, DbContext, DbError, Engine, open};
use cyrus_store::lock::LockTable;
use cyrus_store::sys::RealDisk;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

const KEYS: usize = 10_000;
const ENGINES: [Engine; 3] = [Engine::Twoskip, Engine::Skiplist, Engine::Flat];

fn main() {
    divan::main();
}

/// A database of mailbox rows in a fresh folder.
fn filled(folder: &Path, engine: Engine) -> Result<Box<dyn Db>, DbError> {
    let context = DbContext::new(LockTable::new(Arc::new(RealDisk)));
    let mut db = open(&context, &folder.join("bench.db"), engine, Create::Yes)?;
    let mut txn = db.begin()?;
    for number in 0..KEYS {
        txn.put(&key(number), b"%(A %(alice lrswipkxtecdan) I 5mf1uwm3yq6xlwvh4lxthx4m P default V 1795533651 F 2 M 1795533651)")?;
    }
    txn.commit()?;
    Ok(db)
}

fn key(number: usize) -> Vec<u8> {
    format!("Nuser\x1falice\x1fMailbox {:05}", number * 7919 % KEYS).into_bytes()
}

#[divan::bench(args = ENGINES)]
fn get(bencher: Bencher<'_, '_>, engine: Engine) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut db = filled(folder.path(), engine).expect("a fresh database");
    let mut turn = 0;
    bencher.bench_local(|| {
        turn += 1;
        db.get(black_box(&key(turn)))
    });
}

#[divan::bench(args = [Engine::Twoskip, Engine::Skiplist])]
fn put_durably(bencher: Bencher<'_, '_>, engine: Engine) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut db = filled(folder.path(), engine).expect("a fresh database");
    let mut turn = 0;
    bencher.bench_local(|| {
        turn += 1;
        db.put(black_box(&key(turn)), b"%(A %(alice lrs) I x P default)")
    });
}

#[divan::bench(args = ENGINES)]
fn scan(bencher: Bencher<'_, '_>, engine: Engine) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut db = filled(folder.path(), engine).expect("a fresh database");
    bencher.counter(ItemsCount::new(KEYS)).bench_local(|| {
        let mut octets = 0;
        let outcome = db.scan(b"Nuser\x1falice", &mut |key, value| {
            octets += key.len() + value.len();
            ControlFlow::Continue(())
        });
        (outcome, octets)
    });
}
