//! After a crash at any moment a database is as before or as after the transaction.

use std::collections::BTreeMap;
use std::path::Path;

use cyrus_store::db::Engine;
use cyrus_store::sys::SimDisk;

use super::*;

type Change = (&'static str, Option<String>);

fn apply(map: &mut BTreeMap<Vec<u8>, Vec<u8>>, changes: &[Change]) {
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(key.as_bytes().to_vec(), value.clone().into_bytes()),
            None => map.remove(key.as_bytes()),
        };
    }
}

/// A disk on which transactions were made, and what the database held after each.
struct History {
    sim: SimDisk,
    /// After how many operations each state was promised to be durable, and the state.
    states: Vec<(usize, Entries)>,
}

impl History {
    /// What a database may hold after a crash at this moment: the last state that was promised, or the next.
    fn allowed(&self, after: usize) -> impl Iterator<Item = &Entries> + Clone {
        let promised = self.states.iter().rposition(|(at, _)| *at <= after).unwrap();
        self.states
            .iter()
            .skip(promised)
            .take(2)
            .map(|(_, entries)| entries)
    }
}

const PATH: &str = "/conf/test.db";

/// Runs `transactions` on a file that has some keys already.
fn history(engine: Engine, transactions: &[Vec<Change>]) -> History {
    let path = Path::new(PATH);
    let sim = SimDisk::new();
    sim.make_dirs(Path::new("/conf")).unwrap();
    let mut db = db::open(&context(sim.clone()), path, engine, Create::Yes).unwrap();
    let mut map = BTreeMap::new();
    let start: Vec<Change> = ["a", "b", "c", "d", "e", "f", "g"]
        .map(|key| (key, Some(format!("first {key}"))))
        .to_vec();
    apply(&mut map, &start);
    let mut txn = db.begin().unwrap();
    for (key, value) in &start {
        txn.put(key.as_bytes(), value.as_ref().unwrap().as_bytes())
            .unwrap();
    }
    txn.commit().unwrap();
    sim.settle();

    // The states in order, and after how many operations each was promised to be durable.
    let mut states = vec![(0, in_order(engine, &map))];
    for changes in transactions {
        let mut txn = db.begin().unwrap();
        for (key, value) in changes {
            match value {
                Some(value) => txn.put(key.as_bytes(), value.as_bytes()).unwrap(),
                None => assert!(txn.remove(key.as_bytes()).unwrap()),
            }
        }
        txn.commit().unwrap();
        apply(&mut map, changes);
        states.push((sim.operations(), in_order(engine, &map)));
    }
    drop(db);
    History { sim, states }
}

/// Looks at every state that a crash during some transactions could leave.
fn crash_everywhere(engine: Engine, transactions: &[Vec<Change>], limit: usize) {
    let path = Path::new(PATH);
    let history = history(engine, transactions);
    let sim = &history.sim;
    let mut seen = 0;
    for crash in sim.crash_states(limit) {
        seen += 1;
        let allowed = history.allowed(crash.after);
        let found = db::open(&context(crash.disk.clone()), path, engine, Create::No)
            .and_then(|mut db| entries(db.as_mut()));
        let found = found.unwrap_or_else(|error| panic!("{engine}: {error}; {}", crash.story));
        assert!(
            allowed.clone().any(|entries| *entries == found),
            "{engine}: {found:?} is neither old nor new; {}\n{}",
            crash.story,
            sim.journal().join("\n")
        );
        let mut db = db::open(&context(crash.disk), path, engine, Create::No).unwrap();
        let report = db.check().unwrap();
        assert!(
            report.clean && report.is_consistent(),
            "{engine}: {report:?}; {}",
            crash.story
        );
        db.put(b"after", b"the crash").unwrap();
        assert_eq!(entries(db.as_mut()).unwrap().len(), found.len() + 1);
    }
    assert!(seen > 3, "{engine}: only {seen} crashes");
}

fn some_transactions() -> Vec<Vec<Change>> {
    let text = |text: &str| Some(text.to_owned());
    vec![
        vec![("b", text("second b")), ("bb", text("new"))],
        vec![
            ("a", None),
            ("g", None),
            (
                "d",
                text("a much longer value, across a sector or two ").map(|s| s.repeat(30)),
            ),
        ],
        vec![("c", None), ("c", text("back again")), ("h", text(""))],
    ]
}

#[test]
fn crash_during_a_transaction_leaves_the_old_or_the_new() {
    for engine in FILES {
        crash_everywhere(engine, &some_transactions(), 6_000);
    }
}

#[test]
fn crash_during_a_change_of_a_quota_root_leaves_the_old_or_the_new() {
    for (key, value) in [
        ("a", Some("%(S (1 2))".to_owned())),
        ("user.new", Some("x".to_owned())),
        ("c", None),
    ] {
        crash_everywhere(Engine::QuotaLegacy, &[vec![(key, value)]], 20_000);
    }
}

#[test]
fn crash_during_a_rewrite_loses_nothing() {
    let big = |n: usize| Some("x".repeat(n));
    for engine in FILES {
        let transactions = vec![
            vec![("a", big(9000)), ("b", big(9000))],
            vec![("a", big(8000)), ("b", big(100)), ("c", big(9000))],
            vec![("a", big(7000)), ("c", big(9000)), ("b", None)],
        ];
        crash_everywhere(engine, &transactions, 2_500);
    }
}

#[test]
fn crash_while_a_database_is_made_leaves_none_or_an_empty_one() {
    for engine in FILES {
        let path = Path::new("/conf/test.db");
        let sim = SimDisk::new();
        sim.make_dirs(Path::new("/conf")).unwrap();
        sim.settle();
        db::open(&context(sim.clone()), path, engine, Create::Yes).unwrap();
        for crash in sim.crash_states(10_000) {
            let mut db = db::open(&context(crash.disk), path, engine, Create::Yes).unwrap();
            assert_eq!(entries(db.as_mut()).unwrap(), [], "{}", crash.story);
            db.put(b"key", b"value").unwrap();
        }
    }
}

#[test]
fn crash_during_random_transactions_leaves_the_old_or_the_new() {
    const KEYS: [&str; 12] = ["a", "b", "bb", "c", "cc", "d", "e", "f", "g", "h", "i", "j"];
    for engine in FILES {
        for seed in 0..5 {
            let mut dice = super::cyrus::Dice(seed * 31 + engine as u64);
            let mut live: std::collections::BTreeSet<&str> = KEYS
                .into_iter()
                .filter(|key| *key <= "g" && key.len() == 1)
                .collect();
            let transactions: Vec<Vec<Change>> = (0..4)
                .map(|_| {
                    let changes = 1 + dice.roll(5);
                    let change = |_| {
                        let key = KEYS[dice.roll(KEYS.len() as u64) as usize];
                        if live.remove(key) && dice.roll(2) == 0 {
                            return (key, None);
                        }
                        live.insert(key);
                        (key, Some("v".repeat(dice.roll(700) as usize)))
                    };
                    (0..changes).map(change).collect()
                })
                .collect();
            crash_everywhere(engine, &transactions, 700);
        }
    }
}

#[test]
fn cyrus_finds_the_old_or_the_new_after_a_crash_here() {
    for engine in [Engine::Twoskip, Engine::Skiplist] {
        let Some(tool) = super::cyrus::DbTool::new(engine) else {
            return;
        };
        // The server is started again after the crash.
        tool.stamp(u32::MAX);
        let history = history(engine, &some_transactions());
        // Cyrus cannot read a skiplist into which a power failure left sectors of zeros, whoever wrote it.
        // What a process that was killed leaves it can.
        let (limit, killed_only) = if engine == Engine::Skiplist {
            (usize::MAX, true)
        } else {
            (80, false)
        };
        let crashes = history.sim.crash_states(limit);
        for crash in crashes.filter(|crash| !killed_only || crash.story.ends_with("unsynced writes Kept")) {
            std::fs::write(tool.path(), crash.disk.read(Path::new(PATH)).unwrap()).unwrap();
            let found = tool.entries();
            let mut allowed = history
                .allowed(crash.after)
                .map(|entries| entries.iter().cloned().collect());
            assert!(
                allowed.any(|entries: BTreeMap<_, _>| entries == found),
                "{engine}: {found:?}; {}",
                crash.story
            );
            assert!(
                tool.run(&["consistent"]).starts_with("Yes, consistent"),
                "{engine}: {}",
                crash.story
            );
        }
    }
}
