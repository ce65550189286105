//! Every kind of file of a spool is deleted, cut, changed and exchanged, and `reconstruct --everything` brings back all that
//! can be: nothing else is lost, every message says which file is meant and what to do, and a second run finds nothing.
//!
//! `SWEEP=all` takes every file in turn instead of one of each kind, `SWEEP_SEED=number` other random numbers.
#![allow(clippy::unwrap_used)]

#[path = "sweep/damage.rs"]
mod damage;
#[path = "sweep/site.rs"]
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use damage::{Damage, Dice, Kind};
use site::{Site, View};

/// A sound site, what is to be seen of it, and which mailbox each of its directories is.
struct Sound {
    site: Site,
    view: View,
    mailboxes: BTreeMap<PathBuf, String>,
}

impl Sound {
    fn fixture(name: &str) -> Self {
        let site = Site::fixture(name);
        let run = site.reconstruct(&["--everything", "-q"]);
        assert_eq!(run.code, 0, "{name}: {}{}", run.out, run.err);
        let (view, errors) = site.view();
        assert_eq!(errors, [""; 0], "{name}");
        assert!(view.mailboxes.len() > 20 && view.quotas.len() > 1, "{name}");
        let store = site.store();
        let mut mailboxes = BTreeMap::new();
        for name in view.list.keys() {
            let entry = store
                .lookup(&cyrus_store::MailboxName::parse(name).unwrap())
                .unwrap()
                .unwrap();
            let (id, partition) = (entry.id.as_ref().unwrap(), entry.partition.as_ref().unwrap());
            let paths = store
                .options()
                .mailbox_paths(partition, id, &entry.name, entry.mbtype.legacy_dirs)
                .unwrap();
            for path in [&paths.data, &paths.archive, paths.index.parent().unwrap()] {
                let inside = path.strip_prefix(site.root()).unwrap().to_owned();
                mailboxes.insert(inside, name.clone());
            }
        }
        Self {
            site,
            view,
            mailboxes,
        }
    }

    /// The mailbox that a file is of.
    fn mailbox_of(&self, file: &Path) -> Option<&String> {
        self.mailboxes.get(file.parent()?)
    }

    /// Damages a copy, looks at it, repairs it, and compares.
    fn case(&self, damages: &[(Damage, PathBuf)], dice: &mut Dice) {
        let site = self.site.copy();
        let mut touched = BTreeSet::new();
        for (damage, file) in damages {
            if site.root().join(file).exists() {
                touched.extend(damage.happen(&site, file, dice));
            }
        }
        let what = format!("{damages:?}, {touched:?}");
        let (_, errors) = site.view();
        for error in &errors {
            assert_helpful(error, &what);
        }
        // What would be done is told without doing it; that takes as long, and is tried now and then.
        let dry = match dice.below(4) {
            0 => site.reconstruct(&["--everything", "-G", "-n", "-q"]).err,
            _ => String::new(),
        };
        let run = site.reconstruct(&["--everything", "-G", "-q"]);
        assert_eq!(run.code, 0, "{what}:\n{}{}", run.out, run.err);
        for line in dry.lines().chain(run.err.lines()) {
            assert_helpful(line, &what);
        }
        let (after, errors) = site.view();
        self.compare(&after, &touched, &what, &run.out);
        let message_lost = touched.iter().any(|file| Kind::of(file) == Kind::Message);
        assert!(
            message_lost || errors.is_empty(),
            "{what}: {errors:?}\n{}",
            run.out
        );
        let again = site.reconstruct(&["--everything", "-G", "-q"]);
        let report: Vec<&str> = again.out.lines().rev().take(4).collect();
        assert!(
            report[3] == "files beside mailboxes: 0 mended, 0 made anew, 0 with losses"
                && report[2].contains(" 0 rebuilt, 0 lost")
                && report[1].ends_with(" 0 rebuilt, 0 failed"),
            "{what}: a second run still found something:\n{}\nafter\n{}",
            again.out,
            run.out
        );
    }

    fn compare(&self, after: &View, touched: &BTreeSet<PathBuf>, what: &str, told: &str) {
        let kinds: BTreeSet<Kind> = touched.iter().map(|file| Kind::of(file)).collect();
        let of = |kind: Kind| -> BTreeSet<&String> {
            let files = touched.iter().filter(|file| Kind::of(file) == kind);
            files.filter_map(|file| self.mailbox_of(file)).collect()
        };
        let (indexes, headers, messages) = (of(Kind::Index), of(Kind::Header), of(Kind::Message));
        let before = &self.view;
        let list = |view: &View| -> BTreeMap<String, String> {
            // UIDVALIDITY changes where the index is lost.
            let kept = view.list.iter().filter(|(name, _)| !indexes.contains(name));
            kept.map(|(name, row)| (name.clone(), row.clone())).collect()
        };
        // The last name of a mailbox whose header file went along with the list is that of the last copy of the list.
        if !(kinds.contains(&Kind::MailboxList) && kinds.contains(&Kind::Header)) {
            assert_eq!(list(after), list(before), "{what}: the list\n{told}");
            assert_eq!(
                after.list.keys().collect::<Vec<_>>(),
                before.list.keys().collect::<Vec<_>>(),
                "{what}"
            );
        }
        for (name, wanted) in &before.mailboxes {
            let Some(found) = after.mailboxes.get(name) else {
                let both = kinds.contains(&Kind::MailboxList) && headers.contains(name);
                assert!(both, "{what}: {name} cannot be opened\n{told}");
                continue;
            };
            if messages.contains(name) {
                continue;
            }
            if indexes.contains(name) {
                // Flags may be lost, and what was expunged may come back, but no message.
                let guids = |messages: &BTreeMap<u32, site::Message>| -> BTreeSet<(i64, String)> {
                    messages
                        .values()
                        .map(|(_, date, guid)| (*date, guid.clone()))
                        .collect()
                };
                assert!(guids(found).is_superset(&guids(wanted)), "{what}: {name}\n{told}");
                continue;
            }
            let seen = |messages: &BTreeMap<u32, site::Message>| -> Vec<(u32, site::Message)> {
                let all = messages.iter().map(|(uid, (flags, date, guid))| {
                    let system = flags.split(' ').filter(|flag| flag.starts_with('\\'));
                    // The names of keywords are nowhere but in the header file.
                    let flags = match headers.contains(name) {
                        true => system.collect::<Vec<_>>().join(" "),
                        false => flags.clone(),
                    };
                    (*uid, (flags, *date, guid.clone()))
                });
                all.collect()
            };
            assert_eq!(seen(found), seen(wanted), "{what}: {name}\n{told}");
        }
        let whole = kinds
            .iter()
            .all(|kind| !matches!(kind, Kind::Index | Kind::Message | Kind::QuotaDb | Kind::Quota));
        if whole {
            assert_eq!(after.quotas, before.quotas, "{what}\n{told}");
        } else if !kinds.contains(&Kind::QuotaDb) {
            let roots = |view: &View| view.quotas.keys().cloned().collect::<Vec<_>>();
            assert_eq!(roots(after), roots(before), "{what}\n{told}");
        }
        if !kinds.contains(&Kind::Subscriptions) && !kinds.contains(&Kind::MailboxList) {
            assert_eq!(after.subscriptions, before.subscriptions, "{what}\n{told}");
        }
        for (key, value) in &before.rows {
            if !touched.contains(Path::new(&key.0)) {
                assert_eq!(after.rows.get(key), Some(value), "{what}: {key:?}\n{told}");
            }
        }
    }
}

/// A message about damage names a file and something to do.
fn assert_helpful(message: &str, what: &str) {
    let has_path = message.contains('/');
    let has_command = [
        "reconstruct",
        "quota",
        "ctl_cyrusdb",
        "ctl_conversationsdb",
        "ctl_mboxlist",
        "cyr_dbtool",
        "cyradm",
    ]
    .iter()
    .any(|command| message.contains(command));
    assert!(
        has_path && has_command,
        "{what}: no path or no command in: {message}"
    );
}

/// The cases of a sweep: all are run, whatever fails.
#[derive(Default)]
struct Cases {
    run: u32,
    failed: Vec<String>,
}

impl Cases {
    fn run(&mut self, sound: &Sound, damages: &[(Damage, PathBuf)], dice: &mut Dice) {
        self.run += 1;
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sound.case(damages, dice)));
        if done.is_err() {
            self.failed.push(format!("{damages:?}"));
        }
    }
}

fn seed() -> u64 {
    std::env::var("SWEEP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1)
}

/// All damages of one file a kind, or of every file; `turn` of `turns` shares the kinds among the fixtures.
fn sweep(fixture: &str, turn: usize, turns: usize) {
    let sound = Sound::fixture(fixture);
    let mut dice = Dice::new(seed());
    let mut by_kind: BTreeMap<Kind, Vec<PathBuf>> = BTreeMap::new();
    for file in sound.site.files() {
        by_kind.entry(Kind::of(&file)).or_default().push(file);
    }
    by_kind.remove(&Kind::Conf);
    let all = std::env::var_os("SWEEP").is_some_and(|how| how == "all");
    let mut cases = Cases::default();
    for (at, (kind, files)) in by_kind.iter().enumerate() {
        for (number, damage) in Damage::ALL.into_iter().enumerate() {
            if all {
                let step = if *kind == Kind::Message { 25 } else { 1 };
                for file in files.iter().step_by(step) {
                    cases.run(&sound, &[(damage, file.clone())], &mut dice);
                }
            } else if (at + number) % turns == turn {
                let file = files[dice.below(files.len())].clone();
                cases.run(&sound, &[(damage, file)], &mut dice);
            }
        }
    }
    let pairs = if all { 200 } else { 5 };
    let files: Vec<&PathBuf> = by_kind
        .iter()
        .filter(|(kind, _)| !matches!(kind, Kind::Other))
        .flat_map(|(_, files)| files.iter().take(12))
        .collect();
    for _ in 0..pairs {
        let pair: Vec<(Damage, PathBuf)> = (0..2)
            .map(|_| (Damage::ALL[dice.below(4)], files[dice.below(files.len())].clone()))
            .collect();
        cases.run(&sound, &pair, &mut dice);
    }
    println!("{fixture}: {} cases", cases.run);
    assert!(
        cases.failed.is_empty(),
        "{} of {} failed: {:#?}",
        cases.failed.len(),
        cases.run,
        cases.failed
    );
}

#[test]
fn default_uuid_comes_back() {
    sweep("default-uuid", 0, 3);
}

#[test]
fn legacy_virtdomains_conversations_comes_back() {
    sweep("legacy-virtdomains-conversations", 1, 3);
}

#[test]
fn uuid_altbackends_comes_back() {
    sweep("uuid-altbackends", 2, 3);
}

#[test]
fn all_derived_files_can_go_at_once() {
    for fixture in [
        "default-uuid",
        "legacy-virtdomains-conversations",
        "uuid-altbackends",
    ] {
        let sound = Sound::fixture(fixture);
        let site = sound.site.copy();
        let mut gone = 0;
        for file in site.files() {
            let kind = Kind::of(&file);
            let is_copy = file.starts_with("conf/db.backup1") || file.starts_with("conf/lock");
            if kind.is_derived() || is_copy {
                fs::remove_file(site.root().join(file)).unwrap();
                gone += 1;
            }
        }
        assert!(gone > 20, "{fixture}: {gone}");
        let run = site.reconstruct(&["--everything", "-q"]);
        assert_eq!(run.code, 0, "{}{}", run.out, run.err);
        let (after, errors) = site.view();
        assert_eq!(errors, [""; 0], "{}", run.out);
        assert_eq!(after.list, sound.view.list, "{fixture}: {}", run.out);
        assert_eq!(after.mailboxes, sound.view.mailboxes, "{fixture}: {}", run.out);
        assert_eq!(after.quotas, sound.view.quotas, "{fixture}: {}", run.out);
        assert_eq!(after.subscriptions, sound.view.subscriptions, "{fixture}");
        assert_eq!(after.rows, sound.view.rows, "{fixture}");
        assert!(
            run.out.contains(" 0 with losses\n") && run.out.ends_with(" 0 lost\n"),
            "{}",
            run.out
        );
    }
}
