//! A site of real Cyrus that is damaged and repaired, and what can be seen of it.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cyrus_acl::AuthState;
use cyrus_servers::config::Config;
use cyrus_servers::settings;
use cyrus_store::db::Create;
use cyrus_store::{MailboxError, MailboxName, QuotaRoot, Store};

/// A spool in a directory of its own.
pub(crate) struct Site {
    dir: tempfile::TempDir,
}

/// A message: keywords and system flags, internal date, GUID.
pub(crate) type Message = (String, i64, String);

/// All that users and administrators can see of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Unique id, partition, UIDVALIDITY and rights of every mailbox, by name.
    pub(crate) list: BTreeMap<String, String>,
    /// The messages of every mailbox that can be opened, by UID.
    pub(crate) mailboxes: BTreeMap<String, BTreeMap<u32, Message>>,
    /// Usage and limits.
    pub(crate) quotas: BTreeMap<String, String>,
    /// Subscriptions by user.
    pub(crate) subscriptions: BTreeMap<String, Vec<String>>,
    /// Rows of annotations, of what users have seen, and the like, by file and key.
    pub(crate) rows: BTreeMap<(String, Vec<u8>), Vec<u8>>,
}

/// What a run of a program gave.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Site {
    /// The spool of this name, with its largest mailboxes cut down.
    pub(crate) fn fixture(name: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("sweep").tempdir().unwrap();
        let archive = format!("{}/tests/fixtures/{name}.tar.xz", env!("CARGO_MANIFEST_DIR"));
        let mut tar = Command::new("tar");
        let done = tar
            .arg("-xJf")
            .arg(archive)
            .arg("-C")
            .arg(dir.path())
            .arg("--no-same-owner")
            .status();
        assert!(done.unwrap().success());
        let site = Self { dir };
        let conf = fs::read_to_string(site.conf()).unwrap();
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid())
            .unwrap()
            .unwrap();
        fs::write(
            site.conf(),
            format!(
                "{}cyrus_user: {}\nsyslog_prefix: sweep\n",
                conf.replace("@ROOT@", site.root().to_str().unwrap()),
                user.name
            ),
        )
        .unwrap();
        for file in site.files() {
            let number: Option<u32> = message_number(&file);
            if number.is_some_and(|number| number > LARGEST) {
                fs::remove_file(site.root().join(file)).unwrap();
            }
        }
        site
    }

    /// Another site with the same files; messages are shared, since nobody writes into them.
    pub(crate) fn copy(&self) -> Self {
        let dir = tempfile::Builder::new().prefix("sweep").tempdir().unwrap();
        for file in self.files() {
            let (from, to) = (self.root().join(&file), dir.path().join(&file));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            match message_number(&file) {
                Some(_) => fs::hard_link(from, to).unwrap(),
                None => drop(fs::copy(from, to).unwrap()),
            }
        }
        for empty in ["conf/db", "conf/lock", "archive", "meta", "spool"] {
            if self.root().join(empty).is_dir() {
                fs::create_dir_all(dir.path().join(empty)).unwrap();
            }
        }
        let site = Self { dir };
        let (old, new) = (self.root().to_str().unwrap(), site.root().to_str().unwrap());
        let conf = fs::read_to_string(site.conf()).unwrap();
        fs::write(site.conf(), conf.replace(old, new)).unwrap();
        site
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    fn conf(&self) -> PathBuf {
        self.root().join("imapd.conf")
    }

    pub(crate) fn config(&self) -> Config {
        Config::load(self.conf().to_str().unwrap(), "sweep").unwrap()
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(settings::store(&self.config()).unwrap()).unwrap()
    }

    /// Every file of the site, relative to it, sorted.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut left = vec![self.root().to_owned()];
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    left.push(entry.path());
                } else if kind.is_file() {
                    found.push(entry.path().strip_prefix(self.root()).unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// Runs `reconstruct`, which has to come to an end.
    pub(crate) fn reconstruct(&self, arguments: &[&str]) -> Run {
        self.run(env!("CARGO_BIN_EXE_reconstruct"), arguments)
    }

    /// Runs a program on the site.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Run {
        let output = Command::new("timeout")
            .args(["-s", "KILL", "120", program, "-C"])
            .arg(self.conf())
            .args(arguments)
            .env_remove("CYRUS_USER")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What there is to see, and every error that was met on the way.
    pub(crate) fn view(&self) -> (View, Vec<String>) {
        let store = self.store();
        let mut view = View::default();
        let mut errors = Vec::new();
        if let Err(error) = store.check_list() {
            errors.push(error.to_string());
        }
        let listed = store.list("", &AuthState::system(), &mut |entry, _| {
            let acl: Vec<String> = (entry.acl.entries())
                .map(|(who, rights)| format!("{who} {rights}"))
                .collect();
            view.list.insert(
                entry.name.to_string(),
                format!(
                    "{:?} {:?} {} {}",
                    entry.id,
                    entry.partition,
                    entry.uidvalidity.0,
                    acl.join(" ")
                ),
            );
            ControlFlow::Continue(())
        });
        note(listed, &mut errors);
        let names: Vec<MailboxName> = view
            .list
            .keys()
            .map(|name| MailboxName::parse(name).unwrap())
            .collect();
        for name in &names {
            match messages(&store, name, &mut errors) {
                Ok(messages) => drop(view.mailboxes.insert(name.to_string(), messages)),
                Err(error) => errors.push(error.to_string()),
            }
        }
        let quotas = store.quota_roots("", &mut |root: QuotaRoot, quota| {
            view.quotas
                .insert(root.to_string(), format!("{:?} {:?}", quota.used, quota.limit));
            ControlFlow::Continue(())
        });
        note(quotas, &mut errors);
        for name in names.iter().filter(|name| name.is_user_inbox()) {
            let Some(user) = name.owner() else { continue };
            match store.subscriptions(&AuthState::user(&user).unwrap()) {
                Ok(names) => {
                    let names = names.iter().map(ToString::to_string).collect();
                    view.subscriptions.insert(user, names);
                }
                Err(error) => errors.push(error.to_string()),
            }
        }
        self.rows(&store, &mut view, &mut errors);
        (view, errors)
    }

    fn rows(&self, store: &Store, view: &mut View, errors: &mut Vec<String>) {
        for file in self.files() {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            let is_wanted = name == "annotations.db"
                || name == "cyrus.annotations"
                || name == "seen.db"
                || name.ends_with(".seen");
            if !is_wanted || file.starts_with("conf/db.backup1") {
                continue;
            }
            let engine = match name.contains("seen") {
                true => store.options().databases.seen,
                false => store.options().databases.annotation,
            };
            let path = self.root().join(&file);
            let opened = store.databases().open(&path, engine, Create::No);
            let scanned = opened.and_then(|mut db| {
                db.scan(b"", &mut |key, value| {
                    let file = file.display().to_string();
                    view.rows.insert((file, key.to_vec()), value.to_vec());
                    ControlFlow::Continue(())
                })
            });
            note(scanned.map_err(MailboxError::from), errors);
        }
    }
}

fn note(done: Result<(), MailboxError>, errors: &mut Vec<String>) {
    if let Err(error) = done {
        errors.push(error.to_string());
    }
}

fn messages(
    store: &Store,
    name: &MailboxName,
    errors: &mut Vec<String>,
) -> Result<BTreeMap<u32, Message>, MailboxError> {
    let mut mailbox = store.open_mailbox(name, &AuthState::system())?;
    let read = mailbox.read()?;
    let names = read.keywords().to_vec();
    let mut messages = BTreeMap::new();
    for message in read.messages() {
        let flags = message.flags();
        let mut keywords: Vec<String> = (flags.keywords.slots())
            .filter_map(|slot| {
                names
                    .get(slot)?
                    .as_ref()
                    .map(|keyword| keyword.as_str().to_owned())
            })
            .collect();
        keywords.sort();
        let flags = format!("{} {}", flags.system, keywords.join(" "));
        if let Err(error) = message.cache() {
            errors.push(error.to_string());
        }
        if let Err(error) = message.file() {
            errors.push(error.to_string());
        }
        messages.insert(
            message.uid().get(),
            (flags, message.internal_date(), message.guid().to_string()),
        );
    }
    Ok(messages)
}

/// The UID of a message file.
pub(crate) fn message_number(file: &Path) -> Option<u32> {
    file.file_name()?.to_str()?.strip_suffix('.')?.parse().ok()
}

/// Messages of a mailbox that the sweep needs: more cost time.
const LARGEST: u32 = 40;
