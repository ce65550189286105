//! `mbpath`: where mailboxes and the files of their users are.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use cyrus_store::{MailboxEntry, MailboxId, MailboxName, Namespace, Store, utf7};
use serde_json::{Map, Value, json};

use super::{BAD_USAGE, DATA_ERROR, cyr_pwd, enter, fatal, open_store};
use crate::config::{Config, Opt};
use crate::getopt::{self, CommandLine};
use crate::settings;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
///
/// The exit code is that of the last mailbox, as with Cyrus.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:7ajlmqsupADMSU") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("mbpath: {bad}");
            return usage("");
        }
    };
    let selectors: Vec<char> = given(&line, "aADMmSU");
    if selectors.len() > 1 {
        return usage("\nERROR: Duplicate selectors given");
    }
    let modes = given(&line, "up");
    if modes.len() > 1 {
        return usage("\nERROR: Multiple modes given");
    }
    let config = match enter(line.argument('C'), "mbpath") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let tool = Tool {
        namespace: settings::namespace(&config),
        store,
        config,
        show: match selectors.first() {
            _ if line.has('j') => Show::Json,
            Some('a') => Show::All,
            Some('A') => Show::Archive,
            Some('M' | 'm') => Show::Meta,
            Some('S') => Show::Sieve,
            Some('U') => Show::User,
            _ => Show::Data,
        },
        mode: modes.first().copied(),
        only_local: line.has('l'),
        in_utf7: line.has('7'),
    };
    let mut code = 0;
    for argument in &line.arguments {
        let problem = tool.show(argument, out).err();
        code = if problem.is_some() { DATA_ERROR } else { 0 };
        let Some(problem) = problem else { continue };
        let _ = out.flush();
        if !line.has('q') {
            eprintln!("{problem}");
        }
        if line.has('s') {
            let why = if line.has('q') {
                ""
            } else {
                "Error in processing mailbox. Stopping\n"
            };
            return fatal(&why, code);
        }
    }
    let _ = out.flush();
    code
}

/// Those of `letters` that were given, as often as they were.
fn given(line: &CommandLine, letters: &str) -> Vec<char> {
    line.switches
        .iter()
        .map(|(letter, _)| *letter)
        .filter(|letter| letters.contains(*letter))
        .collect()
}

/// What is printed of each mailbox.
enum Show {
    Json,
    All,
    Archive,
    Data,
    Meta,
    Sieve,
    User,
}

struct Tool {
    config: Config,
    store: Store,
    namespace: Namespace,
    show: Show,
    mode: Option<char>,
    only_local: bool,
    in_utf7: bool,
}

impl Tool {
    fn show(&self, argument: &str, out: &mut dyn Write) -> Result<(), String> {
        let name = self.name(argument)?;
        let entry = match self.store.lookup(&name) {
            Ok(Some(entry)) => entry,
            Ok(None) if self.mode == Some('u') => {
                let shown = self.namespace.to_client(&name, None, true);
                return Err(format!("Invalid mailbox name: '{argument}' ('{shown}')\n"));
            }
            Ok(None) => return Err(invalid(argument)),
            Err(error) => return Err(error.to_string()),
        };
        if entry.mbtype.remote {
            if !self.only_local && !matches!(self.show, Show::Json) {
                let server = entry.server.as_deref().unwrap_or_default();
                let partition = entry
                    .partition
                    .as_ref()
                    .map_or("", |partition| partition.as_str());
                let _ = writeln!(out, "{server}!{partition}");
            }
            return Ok(());
        }
        let places = self.places(&entry)?;
        let shown = |path: &Path| path.display().to_string();
        let text = match self.show {
            Show::Json => {
                let json = self.json(
                    &entry,
                    &places,
                    self.mode.filter(|mode| *mode == 'u').map(|_| argument),
                );
                serde_json::to_string_pretty(&json).map_err(|error| error.to_string())?
            }
            Show::All => format!(
                "Archive: {}\nData: {}\nMeta: {}\nSieve: {}\nUser: {}",
                shown(&places.archive),
                shown(&places.data),
                shown(&places.meta),
                shown(&places.sieve),
                shown(&places.user)
            ),
            Show::Archive => shown(&places.archive),
            Show::Data => shown(&places.data),
            Show::Meta => shown(&places.meta),
            Show::Sieve => shown(&places.sieve),
            Show::User => shown(&places.user),
        };
        let _ = writeln!(out, "{text}");
        Ok(())
    }

    /// The mailbox that an argument means.
    fn name(&self, argument: &str) -> Result<MailboxName, String> {
        let bad = |_| invalid(argument);
        match self.mode {
            Some('u') => self.namespace.inbox(argument).map_err(bad),
            Some('p') => self.name_at(argument)?.ok_or_else(|| invalid(argument)),
            _ if !self.in_utf7 && !argument.is_ascii() => {
                let encoded = utf7::encode(argument);
                self.namespace.to_internal(&encoded, None, true).map_err(bad)
            }
            _ => self.namespace.to_internal(argument, None, true).map_err(bad),
        }
    }

    /// The mailbox whose directory this is: by the unique id at the end of the path, or by its place on a partition.
    fn name_at(&self, argument: &str) -> Result<Option<MailboxName>, String> {
        let path = std::path::absolute(argument)
            .and_then(|path| path.canonicalize().or(Ok(path)))
            .map_err(|error| format!("{argument}: {error}"))?;
        cyr_pwd::name_at(&self.store, &path).map_err(|error| error.to_string())
    }

    fn places(&self, entry: &MailboxEntry) -> Result<Places, String> {
        let name = &entry.name;
        let (Some(id), Some(partition)) = (&entry.id, &entry.partition) else {
            return Err(invalid(&self.namespace.to_client(name, None, true)));
        };
        let options = self.store.options();
        let paths = options
            .mailbox_paths(partition, id, name, entry.mbtype.legacy_dirs)
            .map_err(|error| error.to_string())?;
        let roots = options
            .partition_paths(partition)
            .map_err(|error| error.to_string())?;
        let sub = paths.data.strip_prefix(&roots.data).unwrap_or(Path::new(""));
        let meta = roots
            .meta
            .as_ref()
            .map_or_else(|| paths.data.clone(), |root| root.join(sub));
        let owner = name.owner_even_deleted(&options.deleted_prefix);
        let inbox = match owner.as_deref().map(MailboxName::inbox_of) {
            Some(Ok(inbox)) => self.store.lookup(&inbox).map_err(|error| error.to_string())?,
            _ => None,
        };
        let inbox_id = inbox
            .filter(|inbox| !inbox.mbtype.legacy_dirs)
            .and_then(|inbox| inbox.id.clone());
        let (user, sieve) = self.user_places(name, owner.as_deref(), inbox_id.as_ref());
        Ok(Places {
            archive: paths.archive,
            data: paths.data,
            meta,
            sieve,
            user,
            owner,
            inbox_id,
        })
    }

    /// The directories of the owner's files and of his Sieve scripts; for mailboxes without owner, those of all.
    fn user_places(
        &self,
        name: &MailboxName,
        owner: Option<&str>,
        inbox: Option<&MailboxId>,
    ) -> (PathBuf, PathBuf) {
        let options = self.store.options();
        let sievedir = PathBuf::from(self.config.string(Opt::Sievedir));
        let Some(owner) = owner else {
            // Where a user's files would be, less the user.
            let domain = name.domain().map(|domain| {
                let of_user = options.user_file(&format!("x@{domain}"), None, "x");
                let above = of_user.ancestors().nth(3).unwrap_or(Path::new("")).to_path_buf();
                above
                    .strip_prefix(&options.config_dir)
                    .unwrap_or(Path::new(""))
                    .to_path_buf()
            });
            let domain = domain.unwrap_or_default();
            return (
                without_end(options.config_dir.join(&domain)),
                sievedir.join(domain).join("global"),
            );
        };
        let file = options.user_file(owner, inbox, "x");
        let directory = file.parent().unwrap_or(Path::new("")).to_path_buf();
        let below = directory
            .strip_prefix(&options.config_dir)
            .unwrap_or(Path::new(""));
        // The same path without the component `user`; in the layout by name, one directory a user.
        let mut sieve = sievedir;
        let mut in_domain = false;
        for (at, part) in below.components().enumerate() {
            let user_part = if in_domain { 3 } else { 0 };
            if at == 0 && part.as_os_str() == "domain" {
                in_domain = true;
            } else if at == user_part {
                continue;
            }
            sieve.push(part);
        }
        if inbox.is_none() {
            sieve.push(owner.rsplit_once('@').map_or(owner, |(local, _)| local));
        }
        (directory, sieve)
    }

    fn json(&self, entry: &MailboxEntry, places: &Places, userid: Option<&str>) -> Value {
        let prefix = &self.store.options().deleted_prefix;
        let undeleted = entry.name.undeleted(prefix);
        let name = undeleted.as_ref().map_or(&entry.name, |(name, _)| name);
        let skipped = if name.owner().is_some() { 2 } else { 0 };
        let boxes: Vec<String> = name
            .components()
            .skip(skipped)
            .map(|component| component.replace('^', "."))
            .collect();
        let mut mbname = Map::new();
        mbname.insert("boxes".into(), json!(boxes));
        mbname.insert("intname".into(), json!(entry.name.as_str()));
        if let Some(domain) = name.domain() {
            mbname.insert("domain".into(), json!(domain));
        }
        if let Some((_, time)) = &undeleted {
            mbname.insert("isdeleted".into(), json!(time));
        }
        let mut all = Map::new();
        if let Some(owner) = &places.owner {
            let local = match name.domain() {
                Some(_) => owner.rsplit_once('@').map_or(owner.as_str(), |(local, _)| local),
                None => owner,
            };
            mbname.insert("localpart".into(), json!(local));
            mbname.insert("userid".into(), json!(userid.unwrap_or(owner)));
            let mut user = Map::new();
            for kind in ["conversations", "counters", "dav", "seen", "sub", "xapianactive"] {
                let file = self
                    .store
                    .options()
                    .user_file(owner, places.inbox_id.as_ref(), kind);
                user.insert(kind.into(), path_json(&file));
            }
            user.insert("sieve".into(), path_json(&places.sieve));
            all.insert("user".into(), Value::Object(user));
            // This server has no search index of that kind.
            all.insert("xapian".into(), json!({}));
        }
        all.insert("mbname".into(), Value::Object(mbname));
        all.insert("archive".into(), path_json(&places.archive));
        all.insert("data".into(), path_json(&places.data));
        all.insert("meta".into(), path_json(&places.meta));
        Value::Object(all)
    }
}

struct Places {
    archive: PathBuf,
    data: PathBuf,
    meta: PathBuf,
    sieve: PathBuf,
    user: PathBuf,
    owner: Option<String>,
    /// Of the owner's INBOX, where his files follow it.
    inbox_id: Option<MailboxId>,
}

fn path_json(path: &Path) -> Value {
    Value::String(path.display().to_string())
}

/// A path that ended in nothing, without the slash that this left.
fn without_end(path: PathBuf) -> PathBuf {
    path.components().collect()
}

fn invalid(argument: &str) -> String {
    format!("Invalid mailbox name: '{argument}'")
}

fn usage(more: &str) -> u8 {
    eprintln!("{TEXT}{more}");
    BAD_USAGE
}

const TEXT: &str = "\
usage: mbpath [-C <alt_config>] [-7] [-j] [-l] [-q] [-s] [-u|-p] [-a|-A|-D|-M|-S|-U] <mailbox name>...

  -D  the directory of the messages (without another selector)
  -A  the directory of archived messages
  -M  the directory of the metadata files; also -m
  -S  the directory of the user's Sieve scripts
  -U  the directory of the user's files (seen, sub and others)
  -a  all of these, named
  -j  all of these and the user's files, as a JSON object

  -u  the arguments are users, not mailboxes
  -p  the arguments are directories, not mailboxes
  -7  the names are in modified UTF-7 and not in UTF-8
  -l  nothing for mailboxes on other servers
  -q  no messages about names that mean no mailbox
  -s  stop at the first of them";
