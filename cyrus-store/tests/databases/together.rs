//! Threads of this process and processes of Cyrus on one file at the same moment.

use std::ops::ControlFlow;
use std::process::Stdio;
use std::thread;

use cyrus_store::db::DbPool;

use super::cyrus::DbTool;
use super::*;

fn count_up(pool: &DbPool, path: &Path, engine: Engine) {
    let mut db = pool.open(path, engine, Create::Yes).unwrap();
    let mut txn = db.begin().unwrap();
    let count: u64 = txn
        .get(b"count")
        .unwrap()
        .map_or(0, |value| String::from_utf8(value).unwrap().parse().unwrap());
    txn.put(b"count", (count + 1).to_string().as_bytes()).unwrap();
    txn.put(
        format!("key.{}", count % 50).as_bytes(),
        &vec![b'v'; (count % 300) as usize],
    )
    .unwrap();
    txn.commit().unwrap();
}

fn together(engine: Engine) {
    let Some(tool) = DbTool::new(engine) else { return };
    let path = tool.path();
    let pool = DbPool::new(context(RealDisk));
    count_up(&pool, &path, engine);
    let mut batch = tool.command(&["batch"]);
    let processes: Vec<_> = (0..2)
        .map(|process| {
            let mut child = batch.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            let mut input = child.stdin.take().unwrap();
            let writer = thread::spawn(move || {
                use std::io::Write as _;
                for n in 0..150 {
                    writeln!(input, "SET process.{process}.{} {n}", n % 20).unwrap();
                }
            });
            (child, writer)
        })
        .collect();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..60).for_each(|_| count_up(&pool, &path, engine)));
        }
        scope.spawn(|| {
            for _ in 0..200 {
                let mut last: Option<Vec<u8>> = None;
                let mut db = pool.open(&path, engine, Create::No).unwrap();
                db.scan(b"", &mut |key, _| {
                    assert!(
                        last.as_deref()
                            .is_none_or(|last| compare(engine, last, key).is_lt())
                    );
                    last = Some(key.to_vec());
                    ControlFlow::Continue(())
                })
                .unwrap();
            }
        });
    });
    for (mut child, writer) in processes {
        writer.join().unwrap();
        assert!(child.wait().unwrap().success());
    }
    let mut db = pool.open(&path, engine, Create::No).unwrap();
    assert_eq!(db.get(b"count").unwrap().unwrap(), b"241");
    for process in 0..2 {
        for n in 130..150 {
            let key = format!("process.{process}.{}", n % 20);
            assert_eq!(
                db.get(key.as_bytes()).unwrap().unwrap(),
                n.to_string().as_bytes(),
                "{key}"
            );
        }
    }
    let report = db.check().unwrap();
    assert!(report.clean && report.is_consistent(), "{report:?}");
    assert!(tool.run(&["consistent"]).starts_with("Yes, consistent"));
}

#[test]
fn twoskip_is_written_by_threads_and_cyrus_at_once() {
    together(Engine::Twoskip);
}

#[test]
fn skiplist_is_written_by_threads_and_cyrus_at_once() {
    together(Engine::Skiplist);
}

#[test]
fn flat_is_written_by_threads_and_cyrus_at_once() {
    together(Engine::Flat);
}

#[test]
fn transaction_that_cyrus_leaves_unfinished_is_undone() {
    for engine in [Engine::Twoskip, Engine::Skiplist] {
        let Some(tool) = DbTool::new(engine) else { return };
        let mut db = open_real(&tool.path(), engine);
        let mut expected = Vec::new();
        for n in 10..40 {
            let key = format!("key.{n}").into_bytes();
            db.put(&key, b"value").unwrap();
            expected.push((key, b"value".to_vec()));
        }
        // It starts a transaction, writes to the file and dies.
        let _ = tool
            .command(&["damage"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(entries(db.as_mut()).unwrap(), expected, "{engine}");
        db.put(b"key.99", b"value").unwrap();
        assert!(tool.run(&["consistent"]).starts_with("Yes, consistent"));
    }
}
