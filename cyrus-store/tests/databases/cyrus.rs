//! Beside real Cyrus: `cyr_dbtool` and this crate take turns on one file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use cyrus_store::db::Engine;

use super::*;

const DBTOOL: &str = "/usr/lib/cyrus/bin/cyr_dbtool";

pub(crate) struct DbTool {
    dir: tempfile::TempDir,
    engine: Engine,
}

impl DbTool {
    /// Nothing, with the reason printed, where Cyrus is not installed.
    pub(crate) fn new(engine: Engine) -> Option<Self> {
        if !Path::new(DBTOOL).exists() {
            println!("skipped: no {DBTOOL}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("conf");
        std::fs::create_dir_all(conf.join("db")).unwrap();
        // As on every server that was started. Without a stamp Cyrus recovers each skiplist that it opens, and
        // two of its processes that do so at once lose each other's changes.
        let text = format!(
            "configdirectory: {conf}\ndefaultpartition: default\npartition-default: {conf}/spool\ncyrus_user: root\n",
            conf = conf.display()
        );
        std::fs::write(dir.path().join("imapd.conf"), text).unwrap();
        let tool = Self { dir, engine };
        tool.stamp(9);
        Some(tool)
    }

    /// Sets the time at which the system was last recovered as a whole.
    pub(crate) fn stamp(&self, time: u32) {
        std::fs::write(self.dir.path().join("conf/db/skipstamp"), time.to_be_bytes()).unwrap();
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("conf/test.db")
    }

    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(DBTOOL);
        command
            .arg("-C")
            .arg(self.dir.path().join("imapd.conf"))
            .arg("-n");
        command.arg(self.path()).arg(self.engine.name()).args(arguments);
        command
    }

    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// All that Cyrus finds in the database.
    pub(crate) fn entries(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let text = self.run(&["show"]);
        let lines = text.lines().map(|line| line.split_once('\t').unwrap());
        lines
            .map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect()
    }

    fn check(&self, map: &BTreeMap<Vec<u8>, Vec<u8>>) {
        let text = self.run(&["consistent"]);
        assert!(text.starts_with("Yes, consistent"), "{text}");
        assert_eq!(&self.entries(), map);
    }
}

/// A small reproducible source of choices.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn take_turns(engine: Engine) {
    let Some(tool) = DbTool::new(engine) else { return };
    let mut dice = Dice(engine as u64 + 7);
    let mut map: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut db = open_real(&tool.path(), engine);
    for round in 0..14 {
        let mut txn = db.begin().unwrap();
        for _ in 0..40 {
            let key = format!("key.{}", dice.roll(90)).into_bytes();
            if dice.roll(3) == 0 {
                assert_eq!(txn.remove(&key).unwrap(), map.remove(&key).is_some());
            } else {
                let value = "v".repeat(1 + dice.roll(120) as usize).into_bytes();
                txn.put(&key, &value).unwrap();
                map.insert(key, value);
            }
        }
        txn.commit().unwrap();
        tool.check(&map);
        for _ in 0..6 {
            let key = format!("key.{}", dice.roll(90));
            if map.contains_key(key.as_bytes()) && dice.roll(2) == 0 {
                tool.run(&["delete", &key]);
                map.remove(key.as_bytes());
            } else {
                let value = format!("set in round {round}");
                tool.run(&["set", &key, &value]);
                map.insert(key.into_bytes(), value.into_bytes());
            }
        }
        // cyr_dbtool 3.6.1 fails an assertion of its own when told to repack a skiplist.
        if round % 5 == 4 && engine != Engine::Skiplist {
            tool.run(&["repack"]);
        }
        if round % 5 == 2 {
            db.checkpoint().unwrap();
        }
        assert_eq!(entries(db.as_mut()).unwrap(), in_order(engine, &map));
        let report = db.check().unwrap();
        assert!(report.clean && report.is_consistent(), "{report:?}");
    }
    tool.check(&map);
}

#[test]
fn twoskip_takes_turns_with_cyrus() {
    take_turns(Engine::Twoskip);
}

#[test]
fn flat_takes_turns_with_cyrus() {
    take_turns(Engine::Flat);
}

#[test]
fn quotalegacy_takes_turns_with_cyrus() {
    take_turns(Engine::QuotaLegacy);
}

#[test]
fn skiplist_takes_turns_with_cyrus() {
    take_turns(Engine::Skiplist);
}
