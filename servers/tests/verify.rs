//! `cyr_verify`: sound stores are found sound, damage is told with the command that puts it right, and nothing is changed.
#![allow(clippy::unwrap_used)]

#[path = "sweep/damage.rs"]
#[allow(dead_code, reason = "the sweep uses all of it")]
mod damage;
#[path = "sweep/site.rs"]
#[allow(dead_code, reason = "the sweep uses all of it")]
mod site;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use damage::{Damage, Dice, Kind};
use site::{Run, Site};

const FIXTURES: [&str; 3] = [
    "default-uuid",
    "legacy-virtdomains-conversations",
    "uuid-altbackends",
];

fn verify(site: &Site, arguments: &[&str]) -> Run {
    site.run(env!("CARGO_BIN_EXE_cyr_verify"), arguments)
}

/// A site in which there is nothing left to find.
fn sound(fixture: &str) -> Site {
    let site = Site::fixture(fixture);
    let run = site.reconstruct(&["--everything", "-q", "-G", "-O"]);
    assert_eq!(run.code, 0, "{fixture}: {}{}", run.out, run.err);
    site
}

fn contents(site: &Site) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = site
        .files()
        .into_iter()
        .filter(|file| !file.starts_with("conf/lock"));
    files
        .map(|file| (file.clone(), fs::read(site.root().join(file)).unwrap()))
        .collect()
}

#[test]
fn a_sound_store_is_found_sound_and_left_as_it_is() {
    for fixture in FIXTURES {
        let site = sound(fixture);
        let before = contents(&site);
        let run = verify(&site, &["-q"]);
        assert_eq!(
            (run.code, run.out.as_str(), run.err.as_str()),
            (0, "", ""),
            "{fixture}"
        );
        let run = verify(&site, &["-J", "-q", "-r", "1000"]);
        assert_eq!(run.code, 0);
        let summary: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        assert!(summary["messages"].as_u64().unwrap() > 60, "{summary}");
        assert_eq!(summary["problems"], 0);
        let after = contents(&site);
        let changed: Vec<&PathBuf> = before
            .keys()
            .filter(|file| after.get(*file) != before.get(*file))
            .collect();
        assert!(
            changed.is_empty() && after.len() == before.len(),
            "{fixture}: {changed:?}"
        );
    }
}

#[test]
fn damage_is_told_with_its_place_and_the_command_that_mends_it() {
    let mut dice = Dice::new(7);
    for fixture in FIXTURES {
        let sound = sound(fixture);
        let mut by_kind: BTreeMap<Kind, Vec<PathBuf>> = BTreeMap::new();
        for file in sound.files() {
            by_kind.entry(Kind::of(&file)).or_default().push(file);
        }
        for kind in [
            Kind::Message,
            Kind::Index,
            Kind::Header,
            Kind::Cache,
            Kind::MailboxList,
            Kind::Quota,
            Kind::Annotations,
        ] {
            let Some(files) = by_kind.get(&kind) else { continue };
            let site = sound.copy();
            let file = files[dice.below(files.len())].clone();
            let size = fs::metadata(site.root().join(&file)).unwrap().len();
            // What expunged messages leave is nobody's loss.
            if kind == Kind::Message || size == 0 {
                continue;
            }
            Damage::Truncated.happen(&site, &file, &mut dice);
            let run = verify(&site, &["-J", "-q"]);
            assert_eq!(run.code, 65, "{fixture}: {file:?}: {}{}", run.out, run.err);
            let path = site.root().join(&file).display().to_string();
            let told = run
                .out
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            let all: Vec<serde_json::Value> = told.collect();
            let about = |told: &&serde_json::Value| told["path"] == path.as_str();
            let told: Vec<&serde_json::Value> = match kind {
                // A list that was cut between two transactions is whole; the mailboxes tell that it was longer.
                Kind::MailboxList => all.iter().filter(|told| !told["path"].is_null()).collect(),
                _ => all.iter().filter(about).collect(),
            };
            assert!(!told.is_empty(), "{file:?}: {}{}", run.out, run.err);
            for told in told {
                let command = told["command"].as_str().unwrap();
                assert!(
                    command.starts_with("reconstruct ") || command == "quota -f",
                    "{command} for {told}"
                );
            }
            let run = site.reconstruct(&["--everything", "-q"]);
            assert_eq!(run.code, 0, "{}", run.err);
            let run = verify(&site, &["-q"]);
            assert_eq!(run.code, 0, "{fixture}: {file:?}: {}{}", run.out, run.err);
        }
    }
}

#[test]
fn one_mailbox_is_looked_at_when_one_is_named() {
    let site = sound("default-uuid");
    let victim = site
        .files()
        .into_iter()
        .find(|file| Kind::of(file) == Kind::Cache)
        .unwrap();
    let index = victim.with_file_name("cyrus.index");
    assert!(site.root().join(&index).exists());
    let whole = verify(&site, &["user/alice"]);
    assert_eq!(whole.code, 0, "{}", whole.out);
    assert!(whole.out.contains(" 0 problems\n"), "{}", whole.out);
    assert_eq!(verify(&site, &["-r", "fast"]).code, 64);
    let nobody = verify(&site, &["user/nobody"]);
    assert!(nobody.err.contains("no such mailbox"), "{}", nobody.err);
}
