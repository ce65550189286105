//! Damaged, foreign and missing files: an error that names file, place and tool, for that mailbox alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

#[path = "common/fresh.rs"]
mod fresh;

use std::fmt::Arguments;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use cyrus_acl::AuthState;
use cyrus_store::db::{self, Create, DbContext, Engine, Recovered};
use cyrus_store::lock::LockTable;
use cyrus_store::paths::MailboxPaths;
use cyrus_store::sys::RealDisk;
use cyrus_store::{ErrorClass, Level, Log, MailboxError, NewMessage, Store, Uid};
use fresh::{append, create, exists, name, new_store, user};

const GARBAGE: &[u8] = b"garbage\n";

fn context() -> DbContext {
    DbContext::new(LockTable::new(Arc::new(RealDisk)))
}

#[test]
fn recovery_never_replaces_a_foreign_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mailboxes.db");
    let other_version = {
        let mut db = db::open(&context(), &path, Engine::Twoskip, Create::Yes).unwrap();
        db.put(b"key", b"value").unwrap();
        drop(db);
        let mut file = fs::read(&path).unwrap();
        file[23] = 9;
        let crc = crc32fast::hash(&file[..60]);
        file[60..64].copy_from_slice(&crc.to_be_bytes());
        file
    };
    let noise: Vec<u8> = (0..5000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let foreign = [
        GARBAGE.to_vec(),
        GARBAGE.repeat(1000),
        vec![0; 4096],
        noise,
        other_version,
    ];
    for content in foreign {
        for engine in [Engine::Twoskip, Engine::Skiplist, Engine::Flat] {
            fs::write(&path, &content).unwrap();
            let error = db::recover(&context(), &path, engine).unwrap_err().to_string();
            assert!(
                error.contains("mailboxes.db") && error.contains("octet"),
                "{error}"
            );
            assert_eq!(fs::read(&path).unwrap(), content, "{engine}: {error}");
            let error = db::open(&context(), &path, engine, Create::Yes)
                .and_then(|mut db| db.get(b"key"))
                .unwrap_err()
                .to_string();
            assert!(
                !error.contains("ctl_cyrusdb -r"),
                "{engine}: nothing to recover there: {error}"
            );
            assert_eq!(fs::read(&path).unwrap(), content, "{engine}: {error}");
        }
    }
}

#[test]
fn recovery_without_a_valid_header_needs_an_intact_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some.db");
    let mut db = db::open(&context(), &path, Engine::Twoskip, Create::Yes).unwrap();
    db.put(b"key", b"value").unwrap();
    drop(db);
    let whole = fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn[50] ^= 1;
    fs::write(&path, &torn).unwrap();
    let found = db::recover(&context(), &path, Engine::Twoskip).unwrap();
    assert_eq!(found, Recovered::Rebuilt { records: 1 });

    // The same with noise where the transaction was: nothing tells that this ever was a database.
    for end in [64, 336, whole.len()] {
        let mut content = torn.clone();
        content.truncate(end);
        if let Some(rest) = content.get_mut(64..) {
            rest.fill(b'x');
        }
        fs::write(&path, &content).unwrap();
        db::recover(&context(), &path, Engine::Twoskip).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

/// Keeps what was logged.
#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

impl Log for Kept {
    fn record(&self, level: Level, what: Arguments<'_>) {
        self.0.lock().unwrap().push(format!("{level:?}: {what}"));
    }
}

/// A store with two mailboxes of three messages each.
struct Rig {
    _dir: tempfile::TempDir,
    store: Store,
    log: Arc<Kept>,
}

impl Rig {
    fn new() -> Self {
        let log = Arc::new(Kept::default());
        let kept = Arc::clone(&log);
        let (dir, store) = new_store(|options| options.log = kept);
        for mailbox in ["user.fred", "user.fred.other"] {
            create(&store, mailbox, &AuthState::system()).unwrap();
            append(&store, mailbox, 3);
        }
        Self {
            _dir: dir,
            store,
            log,
        }
    }

    fn paths(&self) -> MailboxPaths {
        let entry = self.store.lookup(&name("user.fred")).unwrap().unwrap();
        let (id, partition) = (entry.id.as_ref().unwrap(), entry.partition.as_ref().unwrap());
        self.store
            .options()
            .mailbox_paths(partition, id, &entry.name, entry.mbtype.legacy_dirs)
            .unwrap()
    }

    /// Reads every message of the damaged mailbox.
    fn read(&self) -> Result<(), MailboxError> {
        let mut mailbox = self.store.open_mailbox(&name("user.fred"), &user("fred"))?;
        let read = mailbox.read()?;
        for message in read.range(Uid::MIN..=Uid::MAX) {
            message.cache()?;
            message.file()?;
        }
        Ok(())
    }

    fn append(&self) -> Result<(), MailboxError> {
        let mut mailbox = self.store.open_mailbox(&name("user.fred"), &user("fred"))?;
        let message = NewMessage::from_bytes(b"Subject: x\r\n\r\nhello\r\n".to_vec());
        mailbox.append(vec![message]).map(drop)
    }

    /// The error says what is wrong with which file and which tool to run; the other mailbox goes on.
    fn check(&self, error: &MailboxError, file: &Path, tool: &str) {
        assert_eq!(error.class(), ErrorClass::Damaged, "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&file.display().to_string()) && text.contains(tool),
            "{text}"
        );
        append(&self.store, "user.fred.other", 1);
        assert!(exists(&self.store, "user.fred.other") > 3);
    }
}

/// Ways to damage a file: a name, and what is left of it.
fn damages(content: &[u8]) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let half = content.get(..content.len() / 2).unwrap();
    vec![
        ("missing", None),
        ("empty", Some(Vec::new())),
        ("cut", Some(half.to_vec())),
        ("foreign", Some(GARBAGE.repeat(100))),
    ]
}

fn damage(path: &Path, content: Option<&[u8]>) {
    // A new file: what is open or mapped of the old one stays as it is.
    fs::remove_file(path).unwrap();
    if let Some(content) = content {
        fs::write(path, content).unwrap();
    }
}

#[test]
fn damaged_index_or_header_is_told_of_and_other_mailboxes_go_on() {
    let file: [fn(MailboxPaths) -> PathBuf; 2] = [|paths| paths.index, |paths| paths.header];
    for file in file {
        let content = fs::read(file(Rig::new().paths())).unwrap();
        for (what, left) in damages(&content) {
            let rig = Rig::new();
            let path = file(rig.paths());
            damage(&path, left.as_deref());
            for error in [rig.read().unwrap_err(), rig.append().unwrap_err()] {
                println!("{what}: {error}");
                rig.check(&error, &path, "reconstruct");
            }
            assert_eq!(fs::read(&path).ok(), left, "{what}: left as it was");
        }
    }
}

#[test]
fn mailbox_whose_directory_is_missing_is_damaged_and_not_deleted() {
    let rig = Rig::new();
    let paths = rig.paths();
    fs::remove_dir_all(&paths.data).unwrap();
    for error in [rig.read().unwrap_err(), rig.append().unwrap_err()] {
        assert!(error.to_string().contains("the file is missing; run"), "{error}");
        rig.check(&error, &paths.index, "reconstruct");
    }
    assert!(!paths.data.exists());
}

#[test]
fn damaged_message_is_told_of_with_the_place() {
    let message = fs::read(Rig::new().paths().message(2, false)).unwrap();
    for (what, left) in damages(&message) {
        let rig = Rig::new();
        let path = rig.paths().message(2, false);
        damage(&path, left.as_deref());
        let error = rig.read().unwrap_err();
        rig.check(&error, &path, "reconstruct");
        let place = match what {
            "missing" => "the file is missing".to_owned(),
            "foreign" => format!("expected the end of the message at byte {}", message.len()),
            _ => format!("the file ends too early at byte {}", left.unwrap().len()),
        };
        assert!(error.to_string().contains(&place), "{what}: {error}");
    }
}

#[test]
fn damaged_cache_is_told_of_once_and_messages_are_parsed() {
    let cache = fs::read(Rig::new().paths().cache).unwrap();
    for (what, left) in damages(&cache) {
        let rig = Rig::new();
        let path = rig.paths().cache;
        damage(&path, left.as_deref());
        rig.read().unwrap();
        rig.read().unwrap();
        let log = rig.log.0.lock().unwrap().clone();
        let [warning] = &log[..] else {
            panic!("{what}: {log:?}")
        };
        assert!(warning.starts_with("Warning: "), "{warning}");
        assert!(
            warning.contains(&path.display().to_string()) && warning.contains("reconstruct"),
            "{warning}"
        );
        assert_eq!(
            warning.contains("the file is missing"),
            what == "missing",
            "{warning}"
        );
    }
}
