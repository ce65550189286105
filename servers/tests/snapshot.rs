//! `cyr_snapshot`: a copy that shares messages with the store, and gives back mailboxes and single messages.
#![allow(clippy::unwrap_used)]

#[path = "sweep/site.rs"]
#[allow(dead_code, reason = "the sweep uses all of it")]
mod site;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use cyrus_acl::AuthState;
use cyrus_store::{Expunge, MailboxName, NewMessage, Store};
use site::{Run, Site, message_number};

const FIXTURES: [&str; 3] = [
    "default-uuid",
    "legacy-virtdomains-conversations",
    "uuid-altbackends",
];

fn snapshot(site: &Site, arguments: &[&str]) -> Run {
    site.run(env!("CARGO_BIN_EXE_cyr_snapshot"), arguments)
}

fn sound(fixture: &str) -> Site {
    let site = Site::fixture(fixture);
    let run = site.reconstruct(&["--everything", "-q", "-G", "-O"]);
    assert_eq!(run.code, 0, "{fixture}: {}{}", run.out, run.err);
    site
}

/// The mailbox with the most messages.
fn fullest(site: &Site) -> MailboxName {
    let (view, _) = site.view();
    let most = view
        .mailboxes
        .iter()
        .max_by_key(|(_, messages)| messages.len())
        .unwrap();
    MailboxName::parse(most.0).unwrap()
}

fn shown(site: &Site, name: &MailboxName) -> String {
    cyrus_servers::settings::namespace(&site.config()).to_client(name, None, true)
}

fn expunge_all(store: &Store, name: &MailboxName) {
    let mut mailbox = store.open_mailbox(name, &AuthState::system()).unwrap();
    let uids = mailbox.read().unwrap().uids().to_set();
    mailbox.expunge(Expunge::Replaced(&uids)).unwrap();
    mailbox.close().unwrap();
}

#[test]
fn a_snapshot_is_the_store_as_it_was_and_shares_its_messages() {
    for (fixture, whole) in FIXTURES.into_iter().zip([&[][..], &["-w"], &[]]) {
        let site = sound(fixture);
        let (before, _) = site.view();
        let to = site.root().join("snapshot");
        let path = to.to_str().unwrap().to_owned();
        let run = snapshot(&site, &[&["create"], whole, &[&path]].concat());
        assert_eq!(run.code, 0, "{}", run.err);
        assert!(run.out.contains(" 0 of them copied"), "{}", run.out);
        // Whatever happens to the store now does not matter to the snapshot.
        let victim = fullest(&site);
        let live = site.store();
        live.open_mailbox(&victim, &AuthState::system())
            .unwrap()
            .append(NewMessage::from_bytes(b"Subject: later\r\n\r\n".to_vec()))
            .unwrap();
        expunge_all(&live, &victim);
        let copy = live.open_snapshot(&to).unwrap();
        for (name, wanted) in &before.mailboxes {
            let mut mailbox = copy
                .open_mailbox(&MailboxName::parse(name).unwrap(), &AuthState::system())
                .unwrap();
            let read = mailbox.read().unwrap();
            assert_eq!(read.exists() as usize, wanted.len(), "{fixture}: {name}");
            for message in read.messages() {
                let (_, date, guid) = &wanted[&message.uid().get()];
                assert_eq!(
                    (message.internal_date(), &message.guid().to_string()),
                    (*date, guid)
                );
                message.cache().unwrap();
                assert_eq!(message.file().unwrap().guid().to_string(), *guid);
            }
        }
        let files: Vec<PathBuf> = site.files();
        let messages = files
            .iter()
            .filter(|file| file.starts_with("snapshot") && message_number(file).is_some());
        let mut shared = 0;
        for file in messages {
            shared += u32::from(fs::metadata(site.root().join(file)).unwrap().nlink() > 1);
        }
        assert!(shared > 50, "{fixture}: {shared}");
        let listed = snapshot(&site, &["list", &path]);
        assert_eq!(
            listed.out.lines().count(),
            before.mailboxes.len(),
            "{}",
            listed.out
        );
        // A second one needs a place of its own.
        let again = snapshot(&site, &["create", &path]);
        assert!(
            again.code == 75 && again.err.contains("not empty"),
            "{}",
            again.err
        );
    }
}

#[test]
fn mailboxes_and_messages_come_back_from_a_snapshot_with_flags_and_dates() {
    for fixture in FIXTURES {
        let site = sound(fixture);
        let (before, _) = site.view();
        let victim = fullest(&site);
        let path = site.root().join("snapshot").to_str().unwrap().to_owned();
        assert_eq!(snapshot(&site, &["create", "-q", &path]).code, 0);
        let name = shown(&site, &victim);
        let wanted: Vec<_> = before.mailboxes[victim.as_str()].clone().into_values().collect();
        let (some, one) = {
            let uids: Vec<u32> = before.mailboxes[victim.as_str()].keys().copied().collect();
            (format!("{}:{}", uids[0], uids[2]), uids[0])
        };
        expunge_all(&site.store(), &victim);
        let run = snapshot(&site, &["restore", "-U", &some, &path, &name]);
        assert!(
            run.code == 0 && run.out.contains(" 3 messages restored"),
            "{}{}",
            run.out,
            run.err
        );
        let run = snapshot(&site, &["restore", &path, &name]);
        assert!(
            run.code == 0 && run.out.contains(" 3 were there"),
            "{}{}",
            run.out,
            run.err
        );
        let (after, errors) = site.view();
        assert_eq!(errors, [""; 0]);
        let found: Vec<_> = after.mailboxes[victim.as_str()].clone().into_values().collect();
        assert_eq!(found, wanted, "{fixture}");

        // A mailbox that is gone is made, with its rights.
        let lost = MailboxName::parse("user.alice.Restored").unwrap();
        let target = shown(&site, &lost);
        let run = snapshot(
            &site,
            &["restore", "-U", &one.to_string(), "-t", &target, &path, &name],
        );
        assert!(
            run.code == 0 && run.out.contains("which was made"),
            "{}{}",
            run.out,
            run.err
        );
        let store = site.store();
        let rights = |name: &MailboxName| store.lookup(name).unwrap().unwrap().acl.clone();
        assert_eq!(rights(&lost), rights(&victim));
        let (after, _) = site.view();
        assert_eq!(after.mailboxes[lost.as_str()].len(), 1);
        let run = site.run(env!("CARGO_BIN_EXE_cyr_verify"), &["-q", &target, &name]);
        assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    }
    let site = Site::fixture("default-uuid");
    let nothing = site.root().join("spool").to_str().unwrap().to_owned();
    let run = snapshot(&site, &["list", &nothing]);
    assert!(run.code == 75 && run.err.contains("no snapshot"), "{}", run.err);
}
