//! Mailboxes of real Cyrus lose files, or octets of them, and are rebuilt from the rest.
#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use common::{files_named, name, spool, store};
use cyrus_acl::AuthState;
use cyrus_store::paths::MailboxPaths;
use cyrus_store::{Adopted, Mismatches, OddFiles, Reconstruct, Reconstructed, Store};

/// What a client sees of a message: UID, flags by name, internal date, size, GUID, envelope.
type Seen = (u32, String, i64, u32, String, Vec<u8>);

fn look(store: &Store, internal: &str) -> Vec<Seen> {
    let mut mailbox = store.open_mailbox(&name(internal), &AuthState::system()).unwrap();
    let read = mailbox.read().unwrap();
    let names = read.keywords().to_vec();
    read.messages()
        .map(|message| {
            let flags = message.flags();
            let keywords = flags.keywords.slots().map(|slot| match names.get(slot) {
                Some(Some(keyword)) => keyword.as_str().to_owned(),
                _ => panic!("a keyword bit without a name"),
            });
            let keywords: Vec<String> = keywords.collect();
            (
                message.uid().get(),
                format!("{} {}", flags.system, keywords.join(" ")),
                message.internal_date(),
                message.size(),
                message.guid().to_string(),
                message.cache().unwrap().envelope().to_vec(),
            )
        })
        .collect()
}

fn paths(store: &Store, internal: &str) -> MailboxPaths {
    let entry = store.lookup(&name(internal)).unwrap().unwrap();
    let (id, partition) = (entry.id.as_ref().unwrap(), entry.partition.as_ref().unwrap());
    store
        .options()
        .mailbox_paths(partition, id, &entry.name, entry.mbtype.legacy_dirs)
        .unwrap()
}

fn mailboxes(store: &Store) -> Vec<String> {
    let mut names = Vec::new();
    store
        .list("", &AuthState::system(), &mut |entry, _| {
            names.push(entry.name.to_string());
            ControlFlow::Continue(())
        })
        .unwrap();
    names
}

fn rebuild(store: &Store, internal: &str, how: Reconstruct) -> (Reconstructed, Vec<String>) {
    let mut told = Vec::new();
    let done = store
        .reconstruct(&name(internal), &how, &mut |finding| {
            told.push(finding.to_string())
        })
        .unwrap();
    (done, told)
}

/// Rebuilds, and checks that a second time there is nothing left to do.
fn repair(store: &Store, internal: &str, how: Reconstruct) -> Vec<String> {
    let (_, told) = rebuild(store, internal, how);
    let (again, left) = rebuild(store, internal, how);
    assert!(!again.changed, "{left:?} after {told:?}");
    told
}

/// The mailbox of the spool with the most messages.
fn fullest(store: &Store) -> String {
    mailboxes(store)
        .into_iter()
        .max_by_key(|mailbox| look(store, mailbox).len())
        .unwrap()
}

#[test]
fn whole_mailboxes_are_left_alone() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let files = |store: &Store| -> BTreeMap<PathBuf, Vec<u8>> {
        mailboxes(store)
            .iter()
            .flat_map(|mailbox| {
                let paths = paths(store, mailbox);
                [paths.index, paths.header, paths.cache]
            })
            .map(|path| (path.clone(), fs::read(&path).unwrap_or_default()))
            .collect()
    };
    let before = files(&store);
    for mailbox in mailboxes(&store) {
        let how = Reconstruct {
            parse_all: true,
            ..Reconstruct::default()
        };
        let (done, told) = rebuild(&store, &mailbox, how);
        assert!(!done.changed, "{mailbox}: {told:?}");
        assert_eq!(told, [""; 0], "{mailbox}");
    }
    assert_eq!(files(&store), before);
}

#[test]
fn caches_come_back_as_they_were() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    for mailbox in mailboxes(&store) {
        let before = look(&store, &mailbox);
        let cache = paths(&store, &mailbox).cache;
        let Ok(bytes) = fs::read(&cache) else { continue };
        fs::remove_file(&cache).unwrap();
        repair(&store, &mailbox, Reconstruct::default());
        assert_eq!(look(&store, &mailbox), before, "{mailbox} without its cache");
        fs::write(&cache, &bytes[..bytes.len() / 2]).unwrap();
        repair(&store, &mailbox, Reconstruct::default());
        assert_eq!(look(&store, &mailbox), before, "{mailbox} with half its cache");
    }
}

#[test]
fn without_its_header_file_a_mailbox_loses_only_the_names_of_keywords() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    for mailbox in mailboxes(&store) {
        let before = look(&store, &mailbox);
        let header = paths(&store, &mailbox).header;
        fs::remove_file(&header).unwrap();
        let told = repair(&store, &mailbox, Reconstruct::default());
        assert!(told[0].contains("failed to read header file"), "{told:?}");
        let plain = |seen: &[Seen]| -> Vec<Seen> {
            seen.iter()
                .map(|seen| {
                    let system = seen.1.split(' ').filter(|flag| flag.starts_with('\\'));
                    let system: Vec<&str> = system.collect();
                    (
                        seen.0,
                        system.join(" "),
                        seen.2,
                        seen.3,
                        seen.4.clone(),
                        seen.5.clone(),
                    )
                })
                .collect()
        };
        assert_eq!(plain(&look(&store, &mailbox)), plain(&before), "{mailbox}");
    }
}

#[test]
fn without_its_index_a_mailbox_keeps_messages_uids_and_dates() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    for mailbox in mailboxes(&store) {
        let before = look(&store, &mailbox);
        let paths = paths(&store, &mailbox);
        let uidvalidity = store.lookup(&name(&mailbox)).unwrap().unwrap().uidvalidity;
        // Messages that wait for their removal come back, like with any reconstruction without an index.
        let files = fs::read_dir(&paths.data).unwrap().flatten();
        let files = files
            .filter(|file| file.file_name().to_str().unwrap().ends_with('.'))
            .count();
        fs::remove_file(&paths.index).unwrap();
        repair(&store, &mailbox, Reconstruct::default());
        let after = look(&store, &mailbox);
        assert_eq!(after.len(), files, "{mailbox}");
        let facts = |seen: &Seen| (seen.0, seen.2, seen.3, seen.4.clone(), seen.5.clone());
        let after: Vec<_> = after.iter().map(facts).collect();
        for seen in &before {
            assert!(after.contains(&facts(seen)), "{mailbox}: {seen:?}");
        }
        let entry = store.lookup(&name(&mailbox)).unwrap().unwrap();
        assert!(entry.uidvalidity > uidvalidity, "UIDs may have been used up");
    }
}

#[test]
fn one_damaged_record_costs_no_other_message_its_flags() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let mailbox = fullest(&store);
    let before = look(&store, &mailbox);
    let index = paths(&store, &mailbox).index;
    let mut bytes = fs::read(&index).unwrap();
    bytes[160 + 112 + 30] ^= 4;
    fs::write(&index, bytes).unwrap();
    let told = repair(&store, &mailbox, Reconstruct::default());
    assert!(
        told[0].contains("cyrus.index: 1 damaged index records, the first at byte 272"),
        "{told:?}"
    );
    let after = look(&store, &mailbox);
    let different = before.iter().filter(|seen| !after.contains(seen)).count();
    assert!(different <= 1, "{different} messages are different");
    let uids = |seen: &[Seen]| seen.iter().map(|seen| seen.0).collect::<Vec<_>>();
    assert!(
        uids(&before).iter().all(|uid| uids(&after).contains(uid)),
        "UIDs are kept"
    );
}

#[test]
fn a_damaged_index_header_costs_no_flags() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let mailbox = fullest(&store);
    let before = look(&store, &mailbox);
    let index = paths(&store, &mailbox).index;
    let mut bytes = fs::read(&index).unwrap();
    bytes[90] ^= 4;
    fs::write(&index, bytes).unwrap();
    repair(&store, &mailbox, Reconstruct::default());
    assert_eq!(look(&store, &mailbox), before);
}

#[test]
fn lost_found_restored_and_odd_files_are_told_in_cyruss_words() {
    let dir = spool("default-uuid");
    let store = store(dir.path());
    let mailbox = fullest(&store);
    let before = look(&store, &mailbox);
    let data = paths(&store, &mailbox).data;
    let uid = before[0].0;
    let file = data.join(format!("{uid}."));
    let saved = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();

    let dry = Reconstruct {
        dry_run: true,
        ..Reconstruct::default()
    };
    let (would, told) = rebuild(&store, &mailbox, dry);
    assert_eq!(told, [format!("{mailbox} uid {uid} not found")]);
    assert!(would.changed && would.lost == 1);
    assert_eq!(look(&store, &mailbox).len(), before.len(), "nothing was done");
    repair(&store, &mailbox, Reconstruct::default());
    assert_eq!(look(&store, &mailbox), before[1..]);

    // From a backup: with the flags and the date that the index still knows.
    fs::write(&file, &saved).unwrap();
    let told = repair(&store, &mailbox, Reconstruct::default());
    assert_eq!(told, [format!("{mailbox} uid {uid} rediscovered - appending")]);
    let after = look(&store, &mailbox);
    let back = after.last().unwrap();
    assert_eq!(
        (&back.1, back.2, &back.4),
        (&before[0].1, before[0].2, &before[0].4)
    );
    assert!(!file.exists() && data.join(format!("{}.", back.0)).exists());

    let next = back.0 + 7;
    fs::write(data.join(format!("{next}.")), &saved).unwrap();
    fs::write(data.join("notes.txt"), "mine").unwrap();
    let told = repair(&store, &mailbox, Reconstruct::default());
    assert!(told[0].starts_with(&format!("{mailbox} odd file ")), "{told:?}");
    assert_eq!(told[1], format!("{mailbox} uid {next} found - adding"));
    let remove = Reconstruct {
        odd_files: OddFiles::Remove,
        ..Reconstruct::default()
    };
    rebuild(&store, &mailbox, remove);
    assert!(!data.join("notes.txt").exists());
}

#[test]
fn messages_that_changed_on_disk_are_told_renumbered_or_removed_as_asked() {
    for mismatches in [Mismatches::Tell, Mismatches::Renumber, Mismatches::Remove] {
        let dir = spool("default-uuid");
        let store = store(dir.path());
        let mailbox = fullest(&store);
        let before = look(&store, &mailbox);
        let uid = before[0].0;
        let file = paths(&store, &mailbox).data.join(format!("{uid}."));
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, bytes).unwrap();
        let how = Reconstruct {
            mismatches,
            ..Reconstruct::default()
        };
        let (quick, _) = rebuild(&store, &mailbox, how);
        assert!(!quick.changed, "the size is the same");
        let how = Reconstruct {
            parse_all: true,
            ..how
        };
        let (_, told) = rebuild(&store, &mailbox, how);
        assert!(
            told[0].starts_with(&format!("{mailbox} uid {uid} guid mismatch\n")),
            "{told:?}"
        );
        let after = look(&store, &mailbox);
        match mismatches {
            Mismatches::Tell => assert_eq!(after, before),
            Mismatches::Remove => assert_eq!(after, before[1..]),
            Mismatches::Renumber => {
                assert_eq!(after[..before.len() - 1], before[1..]);
                assert_eq!(after.last().unwrap().1, before[0].1, "the flags are kept");
                assert!(after.last().unwrap().0 > before.last().unwrap().0);
            }
        }
    }
}

#[test]
fn a_mailbox_list_that_is_gone_comes_back_from_the_header_files() {
    let dir = spool("default-uuid");
    let rows = |store: &Store| -> BTreeMap<String, (String, u32, String)> {
        let mut rows = BTreeMap::new();
        store
            .list("", &AuthState::system(), &mut |entry, _| {
                let acl = entry.acl.entries().map(|(who, rights)| format!("{who} {rights}"));
                let acl: Vec<String> = acl.collect();
                let id = entry.id.as_ref().unwrap().to_string();
                rows.insert(entry.name.to_string(), (id, entry.uidvalidity.0, acl.join(" ")));
                ControlFlow::Continue(())
            })
            .unwrap();
        rows
    };
    let (before, messages) = {
        let store = store(dir.path());
        let messages: Vec<_> = mailboxes(&store)
            .iter()
            .map(|mailbox| look(&store, mailbox))
            .collect();
        (rows(&store), messages)
    };
    fs::remove_file(dir.path().join("conf/mailboxes.db")).unwrap();
    let store = store(dir.path());
    assert!(mailboxes(&store).is_empty());
    adopt_all(&store, Adopted::Added);
    assert_eq!(rows(&store), before);
    adopt_all(&store, Adopted::Known);
    for (mailbox, messages) in mailboxes(&store).iter().zip(messages) {
        assert_eq!(look(&store, mailbox), messages, "{mailbox}");
    }
}

fn adopt_all(store: &Store, expected: Adopted) {
    let mut all = Vec::new();
    store.scavenge(&mut |found| all.push(found)).unwrap();
    assert_eq!(all.len(), header_files(store));
    for found in all {
        assert_eq!(store.adopt(&found, false, true).unwrap(), expected, "{found:?}");
        assert_eq!(store.adopt(&found, false, false).unwrap(), expected, "{found:?}");
    }
}

fn header_files(store: &Store) -> usize {
    let roots = store.options().partitions.values();
    roots
        .map(|roots| files_named(Path::new(&roots.data), "cyrus.header").len())
        .sum()
}
