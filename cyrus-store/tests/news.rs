//! How watchers hear of changes, those of other processes included.
#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

#[path = "common/fresh.rs"]
mod fresh;

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cyrus_store::{Announcer, Expunge, Hint, Mailbox, MailboxName, NewMessage, Store, Watch};
use fresh::{name, store_with, user};

const MESSAGE: &[u8] = b"Subject: news\r\n\r\nx\r\n";

fn watch(mailbox: &Mailbox) -> (Watch, Receiver<Hint>) {
    let (tell, news) = channel();
    let watch = mailbox.watch(Arc::new(move |hint| {
        let _ = tell.send(hint);
    }));
    (watch, news)
}

fn next(news: &Receiver<Hint>) -> Hint {
    news.recv_timeout(Duration::from_secs(10)).unwrap()
}

#[test]
fn a_commit_of_this_process_is_told_at_once_with_its_modseq() {
    let (_dir, store) = store_with(&["user.bovik"]);
    let mut mailbox = store.open_mailbox(&name("user.bovik"), &user("bovik")).unwrap();
    let (_watch, news) = watch(&mailbox);
    mailbox.append(NewMessage::from_bytes(MESSAGE)).unwrap();
    // The kernel's word, which has no modseq, may come before ours.
    let told: Vec<_> = news.try_iter().collect();
    assert!(told.iter().all(|hint| hint.id == *mailbox.id()));
    let modseq = mailbox.read().unwrap().highest_modseq();
    assert!(told.iter().any(|hint| hint.modseq == Some(modseq)));
}

#[test]
#[cfg(target_os = "linux")]
fn commits_of_others_are_noticed_also_after_the_index_was_replaced() {
    let (_dir, store) = store_with(&["user.bovik"]);
    // Like the store of another process: it tells this one nothing.
    let other = Store::open(store.options().clone()).unwrap();
    let mine = store.open_mailbox(&name("user.bovik"), &user("bovik")).unwrap();
    let mut theirs = other.open_mailbox(&name("user.bovik"), &user("bovik")).unwrap();
    let (watched, news) = watch(&mine);
    theirs.append(NewMessage::from_bytes(MESSAGE)).unwrap();
    assert_eq!(next(&news).modseq, None);
    theirs
        .append([NewMessage::from_bytes(MESSAGE), NewMessage::from_bytes(MESSAGE)])
        .unwrap();
    next(&news);
    drop(watched);
    while news.try_recv().is_ok() {}
    theirs.append(NewMessage::from_bytes(MESSAGE)).unwrap();
    assert!(news.recv_timeout(Duration::from_millis(100)).is_err());
    assert!(theirs.expunge(Expunge::AllDeleted).unwrap().is_empty());
}

#[derive(Default)]
struct Names(Mutex<Vec<String>>);

impl Announcer for Names {
    fn changed(&self, name: &MailboxName) {
        self.0.lock().unwrap().push(name.as_str().to_owned());
    }
}

#[test]
fn an_announcer_hears_the_names_of_changed_mailboxes() {
    let names = Arc::new(Names::default());
    let own = Arc::clone(&names);
    let (_dir, store) = fresh::new_store(|options| options.announcer = Some(own));
    store.create(&name("user.bovik"), &fresh::admin()).unwrap();
    let mut mailbox = store.open_mailbox(&name("user.bovik"), &user("bovik")).unwrap();
    names.0.lock().unwrap().clear();
    mailbox.append(NewMessage::from_bytes(MESSAGE)).unwrap();
    assert_eq!(*names.0.lock().unwrap(), ["user.bovik"]);
}
