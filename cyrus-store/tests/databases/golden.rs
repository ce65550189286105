//! Files that real Cyrus wrote.

use std::path::PathBuf;

use cyrus_store::db::{QuotaFiles, Recovered};
use cyrus_store::sys::{Open, SimDisk};

use super::*;

/// A file of Cyrus, and what an independent reader found in it.
struct Golden {
    name: String,
    content: Vec<u8>,
    engine: Engine,
    entries: Entries,
}

fn golden_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn all() -> Vec<Golden> {
    let mut all = Vec::new();
    for file in std::fs::read_dir(golden_dir("databases")).unwrap() {
        let expected = file.unwrap().path();
        if expected
            .extension()
            .is_none_or(|extension| extension != "expected")
        {
            continue;
        }
        let path = expected.with_extension("");
        let text = std::fs::read_to_string(&expected).unwrap();
        let mut lines = text.lines();
        let engine = lines
            .next()
            .unwrap()
            .strip_prefix("engine ")
            .unwrap()
            .parse()
            .unwrap();
        let entries = lines
            .map(|line| line.split_once(' ').unwrap())
            .map(|(k, v)| (hex(k), hex(v)))
            .collect();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        all.push(Golden {
            name,
            content: std::fs::read(&path).unwrap(),
            engine,
            entries,
        });
    }
    assert!(all.len() > 50);
    all
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn opened(golden: &Golden, content: &[u8]) -> Result<(SimDisk, Box<dyn Db>), DbError> {
    let sim = SimDisk::new();
    let path = Path::new("/golden.db");
    sim.open(path, Open::create())
        .unwrap()
        .write_at(content, 0)
        .unwrap();
    // The other engine is configured, as after a change of imapd.conf.
    let configured = if golden.engine == Engine::Flat {
        Engine::Flat
    } else {
        Engine::Skiplist
    };
    let db = db::open(&context(sim.clone()), path, configured, Create::No)?;
    Ok((sim, db))
}

#[test]
fn every_file_of_cyrus_reads_as_its_last_commit() {
    for golden in all() {
        let (_, mut db) = opened(&golden, &golden.content).unwrap();
        assert_eq!(db.engine(), golden.engine, "{}", golden.name);
        assert_eq!(entries(db.as_mut()).unwrap(), golden.entries, "{}", golden.name);
        for (key, value) in &golden.entries {
            assert_eq!(db.get(key).unwrap().as_ref(), Some(value), "{}", golden.name);
        }
        let report = db.check().unwrap();
        assert!(
            report.clean && report.is_consistent(),
            "{}: {report:?}",
            golden.name
        );
        assert_eq!(report.records, golden.entries.len() as u64);
    }
}

#[test]
fn files_that_cyrus_closed_are_left_alone_by_reading() {
    for golden in all().iter().filter(|golden| !golden.name.starts_with("killed")) {
        let (sim, mut db) = opened(golden, &golden.content).unwrap();
        assert!(
            matches!(db.recover().unwrap(), Recovered::Clean { .. }),
            "{}",
            golden.name
        );
        if golden.engine != Engine::Skiplist {
            assert_eq!(
                sim.read(Path::new("/golden.db")).unwrap(),
                golden.content,
                "{}",
                golden.name
            );
        }
    }
}

#[test]
fn file_of_a_killed_writer_is_mended_by_the_first_reader() {
    for name in ["killed-mailboxes.db", "killed-conversations.db"] {
        let golden = all().into_iter().find(|golden| golden.name == name).unwrap();
        let (_, mut db) = opened(&golden, &golden.content).unwrap();
        assert_eq!(entries(db.as_mut()).unwrap(), golden.entries);
        db.put(b"new", b"value").unwrap();
        assert_eq!(entries(db.as_mut()).unwrap().len(), golden.entries.len() + 1);
    }
}

#[test]
fn twoskip_file_with_any_broken_pointers_is_rebuilt_from_its_transactions() {
    for golden in all()
        .iter()
        .filter(|golden| golden.engine == Engine::Twoskip && golden.content.len() > 336)
    {
        // The file header, the dummy's pointers, and those of the first record.
        for at in [50, 64 + 20, 336 + 9] {
            let mut content = golden.content.clone();
            content[at] ^= 1;
            let sim = SimDisk::new();
            let path = Path::new("/golden.db");
            sim.open(path, Open::create())
                .unwrap()
                .write_at(&content, 0)
                .unwrap();
            let context = context(sim);
            let found = db::recover(&context, path, Engine::Twoskip);
            // Without the header, a transaction that was written whole counts as committed.
            if at == 50 && golden.name == "killed-mailboxes.db" {
                assert!(
                    matches!(found, Ok(Recovered::Rebuilt { records: 88.. })),
                    "{found:?}"
                );
                continue;
            }
            let records = golden.entries.len() as u64;
            // What is no longer in any list needs no pointers.
            let found = found.unwrap_or_else(|error| panic!("{} at {at}: {error}", golden.name));
            let fine = [
                Recovered::Rebuilt { records },
                Recovered::Clean { records },
                Recovered::Mended { records },
            ];
            assert!(fine.contains(&found), "{} at {at}: {found:?}", golden.name);
            let mut db = db::open(&context, path, Engine::Twoskip, Create::No).unwrap();
            assert_eq!(entries(db.as_mut()).unwrap(), golden.entries, "{}", golden.name);
        }
    }
}

#[test]
fn damage_to_a_twoskip_file_is_an_error_or_makes_no_difference() {
    for golden in all()
        .iter()
        .filter(|golden| golden.engine == Engine::Twoskip && golden.content.len() < 2100)
    {
        for at in 0..golden.content.len() {
            let mut content = golden.content.clone();
            content[at] ^= 1 << (at % 8);
            let read = opened(golden, &content).and_then(|(_, mut db)| entries(db.as_mut()));
            // Without the magic the file is taken for something else, which is an error or an empty file.
            if at >= 20
                && let Ok(read) = read
            {
                assert_eq!(read, golden.entries, "{} with octet {at} changed", golden.name);
            }
        }
        for length in 20..golden.content.len() {
            let read = opened(golden, &golden.content[..length]).and_then(|(_, mut db)| entries(db.as_mut()));
            assert!(read.is_err(), "{} cut to {length}", golden.name);
        }
    }
}

#[test]
fn damage_anywhere_is_survived_and_what_is_mended_is_consistent() {
    for golden in all().iter().filter(|golden| golden.content.len() < 470) {
        for at in 0..golden.content.len() {
            for change in [0x01, 0xff] {
                let mut content = golden.content.clone();
                content[at] ^= change;
                db::exercise(golden.engine, &content);
            }
            db::exercise(golden.engine, &golden.content[..at]);
        }
    }
}

#[test]
fn quota_files_of_cyrus_are_found_and_read() {
    let mut context = context(RealDisk);
    context.full_dir_hash = true;
    let quota = QuotaFiles::new(&context, &golden_dir("quota"));
    let roots: Vec<String> = quota
        .roots(b"")
        .unwrap()
        .into_iter()
        .map(|root| String::from_utf8(root).unwrap())
        .collect();
    let expected = [
        "other.test!user.frank",
        "shared",
        "user.alice",
        "user.alice.Projects",
        "user.bob",
        "user.carol",
    ];
    assert_eq!(roots, expected);
    for root in roots {
        let value = quota.read(root.as_bytes()).unwrap().unwrap();
        assert!(
            value.starts_with(b"%(") && value.ends_with(b")"),
            "{root}: {value:?}"
        );
    }
}
