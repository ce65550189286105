//! Random operations give what a map in memory gives.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use cyrus_store::db::Engine;
use cyrus_store::sys::SimDisk;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    Commit,
    Abort,
    Checkpoint,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0u16..60).prop_map(|n| format!("user.{n}").into_bytes()),
        2 => prop::collection::vec(any::<u8>(), 1..12),
        1 => prop::collection::vec(prop::sample::select(&b"\t\n\r\x00\xff.ab"[..]), 1..4),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (key(), prop::collection::vec(any::<u8>(), 0..90)).prop_map(|(key, value)| Step::Put(key, value)),
        6 => key().prop_map(Step::Remove),
        4 => Just(Step::Commit),
        1 => Just(Step::Abort),
        1 => Just(Step::Checkpoint),
    ]
}

fn run(engine: Engine, steps: &[Step]) {
    let sim = SimDisk::new();
    let path = std::path::Path::new("/test.db");
    let mut db = db::open(&context(sim.clone()), path, engine, Create::Yes).unwrap();
    let mut committed = BTreeMap::new();
    let mut steps = steps.iter().peekable();
    while steps.peek().is_some() {
        let mut now = committed.clone();
        let mut checkpoint = false;
        let mut txn = db.begin().unwrap();
        loop {
            match steps.next() {
                Some(Step::Put(key, value)) => {
                    txn.put(key, value).unwrap();
                    now.insert(key.clone(), value.clone());
                    assert_eq!(txn.get(key).unwrap().as_ref(), Some(value));
                }
                Some(Step::Remove(key)) => {
                    assert_eq!(txn.remove(key).unwrap(), now.remove(key).is_some());
                    assert_eq!(txn.get(key).unwrap(), None);
                }
                Some(Step::Abort) => {
                    drop(txn);
                    break;
                }
                step => {
                    let mut seen = Vec::new();
                    txn.scan(b"", &mut |key, value| {
                        seen.push((key.to_vec(), value.to_vec()));
                        ControlFlow::Continue(())
                    })
                    .unwrap();
                    assert_eq!(seen, in_order(engine, &now));
                    txn.commit().unwrap();
                    committed = now;
                    checkpoint = matches!(step, Some(Step::Checkpoint));
                    break;
                }
            }
        }
        if checkpoint {
            db.checkpoint().unwrap();
        }
        let expected = in_order(engine, &committed);
        assert_eq!(entries(db.as_mut()).unwrap(), expected);
        let report = db.check().unwrap();
        assert!(report.clean && report.is_consistent(), "{report:?}");
        assert_eq!(report.records, committed.len() as u64);
        for (key, value) in &committed {
            assert_eq!(db.get(key).unwrap().as_ref(), Some(value));
        }
        assert_eq!(db.get(b"no such key").unwrap(), None);
        let prefixed = |(key, _): &(Vec<u8>, Vec<u8>)| key.starts_with(b"user.1");
        let mut seen = Vec::new();
        db.scan(b"user.1", &mut |key, value| {
            seen.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(
            seen,
            expected
                .iter()
                .filter(|entry| prefixed(entry))
                .cloned()
                .collect::<Entries>()
        );
        let mut first = None;
        db.scan_from(b"user.25", &mut |key, _| {
            first = Some(key.to_vec());
            ControlFlow::Break(())
        })
        .unwrap();
        let from = expected
            .iter()
            .find(|(key, _)| compare(engine, key, b"user.25").is_ge());
        assert_eq!(first.as_ref(), from.map(|(key, _)| key));
    }
    // Somebody else, who has never seen the file before, reads the same.
    let mut other = db::open(&context(sim), path, engine, Create::No).unwrap();
    assert_eq!(entries(other.as_mut()).unwrap(), in_order(engine, &committed));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn twoskip_is_a_map(steps in prop::collection::vec(step(), 0..160)) {
        run(Engine::Twoskip, &steps);
    }

    #[test]
    fn skiplist_is_a_map(steps in prop::collection::vec(step(), 0..160)) {
        run(Engine::Skiplist, &steps);
    }

    #[test]
    fn flat_is_a_map(steps in prop::collection::vec(step(), 0..160)) {
        run(Engine::Flat, &steps);
    }
}

#[test]
fn database_that_is_not_to_be_made_is_missing() {
    for engine in FILES {
        let context = context(SimDisk::new());
        let error = db::open(&context, std::path::Path::new("/none"), engine, Create::No)
            .err()
            .unwrap();
        assert!(matches!(error, DbError::Missing { .. }), "{error}");
    }
}

#[test]
fn many_replacements_make_the_file_new_and_small() {
    for engine in FILES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut db = open_real(&path, engine);
        for n in 0..400u32 {
            db.put(format!("key{}", n % 10).as_bytes(), &[b'v'; 400]).unwrap();
        }
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size < 40_000, "{engine}: {size}");
        assert_eq!(entries(db.as_mut()).unwrap().len(), 10);
        assert!(!path.with_extension("NEW").exists());
    }
}

#[test]
fn skiplist_older_than_the_skipstamp_is_recovered_when_it_is_opened() {
    let sim = SimDisk::new();
    let path = std::path::Path::new("/conf/test.db");
    sim.make_dirs(std::path::Path::new("/conf")).unwrap();
    let mut context = context(sim.clone());
    let mut db = db::open(&context, path, Engine::Skiplist, Create::Yes).unwrap();
    db.put(b"key", b"value").unwrap();
    let recovered_at = |sim: &SimDisk| sim.read(path).unwrap()[44..48].to_vec();
    let set = |time: u32| {
        let file = sim.open(path, cyrus_store::sys::Open::write()).unwrap();
        file.write_at(&time.to_be_bytes(), 44).unwrap();
    };
    set(7);
    context.skipstamp = Some("/conf/db/skipstamp".into());
    let open = |context: &DbContext| db::open(context, path, Engine::Skiplist, Create::No).unwrap();

    // No stamp: nothing is known, every file is recovered.
    assert_eq!(open(&context).get(b"key").unwrap().unwrap(), b"value");
    assert_ne!(recovered_at(&sim), 7u32.to_be_bytes());

    db::stamp_recovery(&context).unwrap();
    assert_eq!(
        sim.read(std::path::Path::new("/conf/db/skipstamp"))
            .unwrap()
            .len(),
        4
    );
    set(7);
    open(&context);
    assert_ne!(recovered_at(&sim), 7u32.to_be_bytes(), "older than the stamp");

    set(u32::MAX);
    open(&context);
    assert_eq!(recovered_at(&sim), u32::MAX.to_be_bytes(), "newer than the stamp");
}

#[test]
fn archived_file_is_the_database_between_transactions() {
    for engine in FILES {
        let sim = SimDisk::new();
        let (path, copy) = (
            std::path::Path::new("/test.db"),
            std::path::Path::new("/backup/test.db"),
        );
        let context = context(sim.clone());
        db::open(&context, path, engine, Create::Yes)
            .unwrap()
            .put(b"key", b"value")
            .unwrap();
        db::archive(&context, path, engine, copy).unwrap();
        assert_eq!(sim.read(path).unwrap(), sim.read(copy).unwrap());
        let mut copied = db::open(&context, copy, engine, Create::No).unwrap();
        assert_eq!(copied.get(b"key").unwrap().unwrap(), b"value");
    }
}

#[test]
fn file_of_another_engine_is_opened_by_its_own() {
    for (made, configured) in [
        (Engine::Twoskip, Engine::Skiplist),
        (Engine::Skiplist, Engine::Twoskip),
    ] {
        let context = context(SimDisk::new());
        let path = std::path::Path::new("/test.db");
        db::open(&context, path, made, Create::Yes)
            .unwrap()
            .put(b"key", b"value")
            .unwrap();
        let mut db = db::open(&context, path, configured, Create::Yes).unwrap();
        assert_eq!(
            (db.engine(), db.get(b"key").unwrap().unwrap()),
            (made, b"value".to_vec())
        );
    }
}

#[test]
fn pooled_database_notices_what_others_do_to_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let pool = db::DbPool::new(context(RealDisk));
    let open = |create| pool.open(&path, Engine::Twoskip, create);
    open(Create::Yes).unwrap().put(b"key", b"one").unwrap();
    let mut other = open_real(&path, Engine::Twoskip);
    other.put(b"key", b"two").unwrap();
    assert_eq!(open(Create::No).unwrap().get(b"key").unwrap().unwrap(), b"two");
    other.checkpoint().unwrap();
    assert_eq!(open(Create::No).unwrap().get(b"key").unwrap().unwrap(), b"two");
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(open(Create::No), Err(DbError::Missing { .. })));
    assert_eq!(open(Create::Yes).unwrap().get(b"key").unwrap(), None);
}
