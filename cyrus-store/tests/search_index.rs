//! Indexes of texts through the public API: they narrow a search without changing what it finds, whatever happens to them.

#![cfg(feature = "search-index")]
#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyrus_acl::AuthState;
use cyrus_store::log::MemoryLog;
use cyrus_store::message::{Fields, field_values, select_fields};
use cyrus_store::search::index::{IndexError, Indexed, Indexing, Place, Wanted, stems};
use cyrus_store::search::{Collation, Comparison, Pattern, Scope, Whitespace};
use cyrus_store::{
    Expunge, FlagChange, FlagMode, FlagNames, Mailbox, MailboxName, NewMessage, SearchOptions, Store,
    StoreOptions, SystemFlags, Uid, UidSet,
};
use proptest::prelude::*;

const ADD: Indexing = Indexing {
    anew: false,
    compact: false,
    wait: true,
};
const ANEW: Indexing = Indexing {
    anew: true,
    compact: false,
    wait: true,
};

fn options(dir: &Path) -> StoreOptions {
    let mut options = StoreOptions::new(dir.join("conf")).partition("default", dir.join("spool"));
    options.search.engine = true;
    options
}

struct Site {
    dir: tempfile::TempDir,
    store: Store,
    log: Arc<MemoryLog>,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::in_dir(dir, |_| {})
    }

    fn in_dir(dir: tempfile::TempDir, adapt: impl FnOnce(&mut SearchOptions)) -> Self {
        let log = Arc::new(MemoryLog::default());
        let mut options = options(dir.path());
        options.log = log.clone();
        adapt(&mut options.search);
        let store = Store::open(options).unwrap();
        if store.lookup(&inbox()).unwrap().is_none() {
            store.create(&inbox(), &AuthState::system()).unwrap();
        }
        Self { dir, store, log }
    }

    /// The same site with other settings, as another process would have it.
    fn again(self, adapt: impl FnOnce(&mut SearchOptions)) -> Self {
        Self::in_dir(self.dir, adapt)
    }

    fn mailbox(&self) -> Mailbox {
        self.store.open_mailbox(&inbox(), &AuthState::system()).unwrap()
    }

    fn append(&self, messages: &[String]) {
        let messages = messages
            .iter()
            .map(|text| NewMessage::from_bytes(text.clone().into_bytes()));
        self.mailbox().append(messages.collect::<Vec<_>>()).unwrap();
    }

    fn index(&self, how: Indexing) -> Indexed {
        self.store.index_mailbox(&mut self.mailbox(), how).unwrap()
    }

    fn index_dir(&self) -> PathBuf {
        self.store.index_path(self.mailbox().entry()).unwrap()
    }

    /// The UIDs that the index lets through; `None` if it cannot tell, or is of no use.
    fn narrowed(&self, place: Place, pattern: &Pattern) -> Option<Vec<u32>> {
        let index = self.mailbox().search_index().unwrap()?;
        let wanted = Wanted::All(vec![Wanted::Holds(place, pattern)]);
        let narrowed = index.narrow(&wanted)?;
        Some(
            self.uids()
                .into_iter()
                .filter(|uid| narrowed.contains(Uid::new(*uid).unwrap()))
                .collect(),
        )
    }

    fn uids(&self) -> Vec<u32> {
        let mut mailbox = self.mailbox();
        let read = mailbox.read().unwrap();
        read.messages().map(|message| message.uid().get()).collect()
    }

    /// The messages that hold a string, each of them looked at.
    fn holders(&self, scope: Scope, pattern: &Pattern) -> Vec<u32> {
        let mut mailbox = self.mailbox();
        let read = mailbox.read().unwrap();
        let holds = |message: &cyrus_store::Message<'_>| {
            let cached = message.cache().unwrap();
            let file = message.file().unwrap();
            pattern.in_message(&file, &cached.record().sections().unwrap(), scope)
        };
        let found = read.messages().filter(holds);
        found.map(|message| message.uid().get()).collect()
    }

    /// The messages that hold a string in a field of their header, each of them looked at.
    fn field_holders(&self, place: Place, pattern: &Pattern) -> Vec<u32> {
        let mut mailbox = self.mailbox();
        let read = mailbox.read().unwrap();
        let holds = |message: &cyrus_store::Message<'_>| {
            let cached = message.cache().unwrap();
            let record = cached.record();
            match place {
                Place::To => pattern.in_utf8(record.to()),
                Place::Subject => pattern.in_utf8(record.subject_text().unwrap_or_default()),
                _ => {
                    let file = message.file().unwrap();
                    let header = &file[..message.header_size() as usize];
                    let fields = cached
                        .header_fields(&["x-other"])
                        .unwrap_or_else(|| select_fields(header, Fields::Only(&["x-other"])));
                    field_values(&fields, b"x-other").any(|value| pattern.in_header(value))
                }
            }
        };
        let found = read.messages().filter(holds);
        found.map(|message| message.uid().get()).collect()
    }

    fn expunge(&self, uid: u32) {
        let uids = UidSet::from_iter(Uid::new(uid));
        let mut mailbox = self.mailbox();
        let deleted = FlagChange {
            mode: FlagMode::Add,
            flags: FlagNames {
                system: SystemFlags::DELETED,
                keywords: Vec::new(),
            },
        };
        mailbox.store_flags(&uids, &deleted, None).unwrap();
        mailbox.expunge(Expunge::Uids(&uids)).unwrap();
    }

    fn warnings(&self) -> usize {
        let events = self.log.events();
        events.iter().filter(|(_, text)| text.contains("index")).count()
    }
}

fn inbox() -> MailboxName {
    MailboxName::parse("user.bovik").unwrap()
}

fn mail(subject: &str, body: &str) -> String {
    format!("From: Fred Foobar <fred@example.com>\r\nSubject: {subject}\r\nX-Id: {subject}\r\n\r\n{body}\r\n")
}

fn three() -> [String; 3] {
    [
        mail("apples", "the quick brown fox"),
        mail("pears", "jumps over the lazy dog"),
        mail("quick plums", "nothing of note"),
    ]
}

#[test]
fn an_index_lets_through_what_holds_the_string_and_little_else() {
    let site = Site::new();
    site.append(&three());
    assert_eq!(site.narrowed(Place::Text, &Pattern::new("quick")), None);
    let done = site.index(ADD);
    assert_eq!((done.added, done.anew), (3, true));
    for (place, text, expected) in [
        (Place::Text, "QUICK", vec![1, 3]),
        (Place::Body, "quick", vec![1]),
        (Place::Header, "quick", vec![3]),
        (Place::Subject, "pears", vec![2]),
        (Place::From, "foobar <fred@", vec![1, 2, 3]),
        (Place::Body, "lazy  dog", vec![2]),
        (Place::Text, "uick bro", vec![1]),
        (Place::Text, "nowhere", vec![]),
    ] {
        assert_eq!(
            site.narrowed(place, &Pattern::new(text)),
            Some(expected),
            "{text}"
        );
    }
    // Too short to tell.
    assert_eq!(site.narrowed(Place::Text, &Pattern::new("qu")), None);
    assert_eq!(site.narrowed(Place::Text, &Pattern::new("")), None);
}

#[test]
fn what_the_index_does_not_know_is_let_through_and_what_is_expunged_goes() {
    let site = Site::new();
    site.append(&three());
    site.index(ADD);
    site.append(&[mail("new", "something else")]);
    assert_eq!(
        site.narrowed(Place::Text, &Pattern::new("nowhere")),
        Some(vec![4])
    );
    let done = site.index(ADD);
    assert_eq!((done.added, done.removed, done.anew), (1, 0, false));
    assert_eq!(site.narrowed(Place::Text, &Pattern::new("nowhere")), Some(vec![]));
    assert_eq!(site.index(ADD), Indexed::default());
    site.expunge(2);
    assert_eq!(
        site.narrowed(Place::Text, &Pattern::new("thing")),
        Some(vec![3, 4])
    );
    let done = site.index(ADD);
    assert_eq!((done.added, done.removed), (0, 1));
    assert_eq!(
        site.store.index_extent(&mut site.mailbox()).unwrap(),
        Some((4, 3))
    );
    assert_eq!(site.index(ANEW).added, 3);
}

#[test]
fn an_index_of_other_settings_or_of_a_mailbox_that_went_back_is_left_aside() {
    let site = Site::new();
    site.append(&three());
    site.index(ADD);
    let pattern = Pattern::with(
        "quick",
        Comparison {
            whitespace: Whitespace::Skip,
            ..Comparison::default()
        },
    );
    // Compared in a way that the index does not know.
    assert_eq!(site.narrowed(Place::Text, &pattern), None);
    let site = site.again(|search| search.whitespace = Whitespace::Skip);
    assert_eq!(site.narrowed(Place::Text, &pattern), None);
    assert!(site.index(ADD).anew);
    assert_eq!(site.narrowed(Place::Text, &pattern), Some(vec![1, 3]));
    // A message of another content behind a UID that the index knows: as after a restore.
    let saved = site.dir.path().join("saved");
    let spool = site.dir.path().join("spool");
    site.append(&[mail("four", "four")]);
    copy_tree(&spool, &saved);
    site.append(&[mail("five", "five")]);
    site.index(ADD);
    std::fs::remove_dir_all(&spool).unwrap();
    std::fs::rename(&saved, &spool).unwrap();
    let site = site.again(|search| search.whitespace = Whitespace::Skip);
    assert_eq!(site.narrowed(Place::Text, &pattern), None);
    assert!(site.index(ADD).anew);
    assert_eq!(
        site.store.index_extent(&mut site.mailbox()).unwrap(),
        Some((4, 4))
    );
}

#[test]
fn without_header_fields_only_addresses_subjects_and_bodies_are_narrowed() {
    let site = Site::new().again(|search| search.headers = false);
    site.append(&three());
    site.index(ADD);
    let pattern = Pattern::new("quick");
    assert_eq!(site.narrowed(Place::Text, &pattern), None);
    assert_eq!(site.narrowed(Place::Header, &pattern), None);
    assert_eq!(site.narrowed(Place::Body, &pattern), Some(vec![1]));
    assert_eq!(site.narrowed(Place::Subject, &pattern), Some(vec![3]));
}

#[test]
fn words_are_found_in_any_form_and_the_better_match_has_more() {
    let site = Site::new();
    site.append(&[
        mail("Meetings", "we were running to the meeting about meetings"),
        mail(
            "other",
            "a meeting, once, among a great many other words that say nothing of it at all",
        ),
        mail("none", "nothing"),
        "Subject: html\r\nContent-Type: text/html\r\n\r\n<p class=\"meeting\">caf\u{e9}</p>\r\n".to_owned(),
    ]);
    site.index(ADD);
    let index = site.mailbox().search_index().unwrap().unwrap();
    let like = |place, text: &str| {
        let found = index.like(place, &stems(text)).unwrap();
        found
            .iter()
            .map(|(uid, score)| (uid.get(), *score))
            .collect::<Vec<_>>()
    };
    let found = like(Place::Text, "MEETING");
    assert_eq!(found.iter().map(|(uid, _)| *uid).collect::<Vec<_>>(), [1, 2]);
    assert!(found[0].1 > found[1].1, "{found:?}");
    assert_eq!(like(Place::Subject, "meeting").len(), 1);
    assert_eq!(like(Place::Body, "meet run").len(), 1);
    assert!(like(Place::Body, "meet cafe").is_empty());
    assert!(like(Place::Body, "").is_empty());
}

#[test]
fn damage_is_told_once_and_never_believed() {
    let site = Site::new();
    let mut texts = three().to_vec();
    texts.extend((0..300).map(|number| mail(&format!("number {number}"), &format!("body{number} of it"))));
    site.append(&texts);
    site.index(ADD);
    let dir = site.index_dir();
    let pattern = Pattern::new("body77 of");
    assert_eq!(site.narrowed(Place::Body, &pattern), Some(vec![81]));
    let files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "lock"))
        .collect();
    assert!(files.len() > 5, "{files:?}");
    for path in &files {
        let whole = std::fs::read(path).unwrap();
        for kind in 0..4 {
            let mut bytes = whole.clone();
            match kind {
                0 => bytes.truncate(whole.len() / 2),
                1 => bytes.clear(),
                2 => bytes[whole.len() / 3] ^= 0x10,
                _ => bytes = vec![0xA5; whole.len()],
            }
            std::fs::write(path, &bytes).unwrap();
            // Another process, which has nothing open yet.
            let log = Arc::new(MemoryLog::default());
            let mut options = options(dir_of(&dir));
            options.log = log.clone();
            let store = Store::open(options).unwrap();
            for _ in 0..2 {
                let mut mailbox = store.open_mailbox(&inbox(), &AuthState::system()).unwrap();
                if let Some(index) = mailbox.search_index().unwrap()
                    && let Some(uids) = index.narrow(&Wanted::Holds(Place::Body, &pattern))
                {
                    assert!(uids.contains(Uid::new(81).unwrap()), "{} {kind}", path.display());
                }
            }
            let warnings = log.events().len();
            assert!(warnings <= 1, "{:?}", log.events());
        }
        std::fs::write(path, &whole).unwrap();
    }
    // And it is made anew.
    std::fs::write(dir.join("meta.json"), b"nonsense").unwrap();
    let site = site.again(|_| {});
    assert_eq!(site.narrowed(Place::Body, &pattern), None);
    assert_eq!(site.warnings(), 1);
    assert!(site.index(ADD).anew);
    assert_eq!(site.narrowed(Place::Body, &pattern), Some(vec![81]));
}

#[test]
fn an_index_that_is_being_written_is_not_written_twice() {
    let site = Site::new();
    site.append(&three());
    site.index(ADD);
    let lock = site.index_dir().join("squatter.lock");
    let other = Store::open(options(site.dir.path())).unwrap();
    let _guard = other
        .locks()
        .lock_file(
            &lock,
            cyrus_store::sys::Mode::Exclusive,
            cyrus_store::lock::Wait::Never,
        )
        .unwrap();
    site.append(&[mail("new", "new")]);
    let how = Indexing {
        wait: false,
        compact: false,
        anew: false,
    };
    let done = site.store.index_mailbox(&mut site.mailbox(), how);
    assert!(matches!(done, Err(IndexError::Busy { .. })), "{done:?}");
    // Searching goes on.
    assert_eq!(
        site.narrowed(Place::Subject, &Pattern::new("pears")),
        Some(vec![2, 4])
    );
}

#[test]
fn indexes_of_mailboxes_that_are_gone_are_removed() {
    let site = Site::new();
    site.append(&three());
    site.index(ADD);
    let dir = site.index_dir();
    assert_eq!(site.store.remove_lost_indexes(&|_| true).unwrap(), 0);
    assert!(dir.join("meta.json").exists());
    assert_eq!(site.store.remove_lost_indexes(&|_| false).unwrap(), 1);
    assert!(!dir.exists());
    assert_eq!(site.narrowed(Place::Subject, &Pattern::new("pears")), None);
}

#[test]
fn messages_that_cannot_be_read_are_let_through() {
    let site = Site::new();
    site.append(&three());
    let mailbox = site.mailbox();
    let id = mailbox.id().as_str().to_owned();
    let file = site
        .dir
        .path()
        .join(format!("spool/uuid/{}/{}/{id}/2.", &id[..1], &id[1..2]));
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, b"").unwrap();
    let done = site.index(ADD);
    assert_eq!((done.added, done.left_out), (2, 1));
    assert_eq!(
        site.narrowed(Place::Text, &Pattern::new("nowhere")),
        Some(vec![2])
    );
    std::fs::write(&file, whole).unwrap();
    assert_eq!(site.index(ADD).added, 1);
    assert_eq!(site.narrowed(Place::Text, &Pattern::new("nowhere")), Some(vec![]));
}

fn dir_of(index: &Path) -> &Path {
    // conf/search/text-index.1/uuid/8/a/8a3v2x
    index.ancestors().nth(7).unwrap()
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Mail with all that makes texts differ from octets.
fn odd_mail() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[a-c]{1,4}".prop_map(|word| word),
        "[äéßﬁ①İſ \t]{1,3}".prop_map(|word| word),
        "(=\\?utf-8\\?q\\?[a-c_]{1,4}=C3=A4\\?= ?){1,2}".prop_map(|word| word),
        "(山|会議|дом){1,2}".prop_map(|word| word),
        "=[A-F3][0-9]".prop_map(|word| word),
    ];
    let text = prop::collection::vec(word, 0..6).prop_map(|words| words.join(" "));
    let encoding = prop_oneof![
        Just("8bit"),
        Just("quoted-printable"),
        Just("7bit"),
        Just("x-other")
    ];
    let charset = prop_oneof![
        Just("utf-8"),
        Just("iso-8859-1"),
        Just("us-ascii"),
        Just("none-such")
    ];
    (text.clone(), text.clone(), text, encoding, charset, 0..4).prop_map(
        |(subject, header, body, encoding, charset, kind)| {
            let head = format!("Subject: {subject}\r\nTo: \"{header}\" <x@example.com>\r\nX-Other: {header}\r\n\t{subject}\r\n");
            let part = format!("Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n");
            match kind {
                0 => format!("{head}{part}"),
                1 => format!("{head}Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\n{part}--b\r\nContent-Type: image/png; name=\"{subject}\"\r\n\r\nabc\r\n--b--\r\n"),
                2 => format!("{head}Content-Type: message/rfc822\r\n\r\nSubject: in {header}\r\n{part}"),
                _ => format!("{head}\r\n{body}"),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_index_and_the_message_find_what_looking_at_all_finds(
        messages in prop::collection::vec(odd_mail(), 1..12), later in prop::collection::vec(odd_mail(), 0..3),
        needles in prop::collection::vec((".{0,3}|[a-c ]{1,6}|[äé①山会议дом ]{1,3}", 0_usize..12, 0_usize..200, 1_usize..9), 8),
        merge in 0..3,
    ) {
        let whitespace = [Whitespace::Skip, Whitespace::Merge, Whitespace::Keep][merge as usize];
        let site = Site::new().again(|search| {
            search.whitespace = whitespace;
            search.keep_diacritics = merge == 2;
        });
        site.append(&messages);
        site.index(ADD);
        site.append(&later);
        for (needle, which, start, length) in needles {
            // A string of one of the messages, too.
            let own = messages.get(which % messages.len()).map(|text| text.chars().skip(start).take(length).collect::<String>());
            for needle in [Some(needle), own].into_iter().flatten() {
                for collation in Collation::ALL {
                    let comparison = Comparison { collation, whitespace, keep_diacritics: merge == 2 };
                    let pattern = Pattern::with(&needle, comparison);
                    for (scope, place) in [(Scope::Text, Place::Text), (Scope::Body, Place::Body)] {
                        if let Some(narrowed) = site.narrowed(place, &pattern) {
                            for uid in site.holders(scope, &pattern) {
                                prop_assert!(narrowed.contains(&uid), "{needle:?} {scope:?} {comparison:?}: {uid}");
                            }
                        }
                    }
                    for place in [Place::To, Place::Subject, Place::Header] {
                        if let Some(narrowed) = site.narrowed(place, &pattern) {
                            for uid in site.field_holders(place, &pattern) {
                                prop_assert!(narrowed.contains(&uid), "{needle:?} {place:?} {comparison:?}: {uid}");
                            }
                        }
                    }
                }
            }
        }
    }
}
