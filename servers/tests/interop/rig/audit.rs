//! Debian's own checking tools, run over a site that no daemon is using: they must find nothing wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyrus_store::db::{self, Create, DbContext, Engine};
use cyrus_store::format::conversations::{Conversation, FolderStatus, GuidRow};
use cyrus_store::lock::LockTable;
use cyrus_store::sys::RealDisk;
use serde_json::Value as Json;

use super::programs::{Programs, both};
use super::site::Site;

/// What the tools of real Cyrus complain about; nothing, on a sound site.
///
/// `reconstruct -n -G` (parses every message file again), `quota -f -n`, `ctl_mboxlist -v`, `mbexamine` with `-q` and `-c`,
/// `cyr_dbtool consistency` for every twoskip and skiplist file of the configuration directory, and, where conversations are
/// on, `ctl_conversationsdb -R` for every user, which must change nothing.
pub(crate) fn complaints(site: &Site, real: &Programs) -> Vec<String> {
    let mut found = Vec::new();
    let names = mailboxes(site, real);
    let mut known: BTreeSet<String> = BTreeSet::new();
    let conf = std::fs::read_to_string(site.conf()).expect("imapd.conf");
    let external = |name: &str| match conf.contains("unixhierarchysep: no") {
        true => name.to_owned(),
        false => name.replace('.', "/").replace('^', "."),
    };
    known.extend(names.iter().map(|name| external(name)));

    let reconstruct = site.tool_ok(real, "reconstruct", &["-n", "-G"]);
    found.extend(lines_beside(&reconstruct, "reconstruct", |line| {
        known.contains(line)
    }));

    let usage = site.tool_ok(real, "quota", &[]);
    let mended = site.tool(real, "quota", &["-f", "-n"]);
    if String::from_utf8_lossy(&mended.stdout) != usage
        || !mended.stderr.is_empty()
        || !mended.status.success()
    {
        found.push(format!("quota -f -n: {}\n(quota says {usage})", both(&mended)));
    }

    // Real 3.6.1 looks for legacy directories only, so it misses every mailbox that is named by its id; and it looks for
    // those of tombstones, which name no partition.
    let verified = site.tool_ok(real, "ctl_mboxlist", &["-v"]);
    found.extend(lines_beside(&verified, "ctl_mboxlist", |line| {
        line.contains("has a DB entry but no directory on partition")
            && (line.contains("'(null)'") || site.root().join("spool/uuid").exists())
    }));

    if conf.contains("conversations: yes") {
        found.extend(conversations(site, real, &names));
    }

    let names: Vec<String> = names.iter().map(|name| external(name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let quota = site.tool_ok(real, "mbexamine", &[&["-q"], names.as_slice()].concat());
    found.extend(lines_beside(&quota, "mbexamine -q", |line| {
        line.contains("CORRECT") || !line.contains("quota usage")
    }));
    let compared = site.tool_ok(real, "mbexamine", &[&["-c"], names.as_slice()].concat());
    if compared.contains("UID:") {
        found.push(format!("mbexamine -c: {compared}"));
    }

    for (path, engine) in databases(&site.root().join("conf")) {
        let path = path.display().to_string();
        let output = site.tool(real, "cyr_dbtool", &[&path, engine, "consistency"]);
        if !output.status.success() || !both(&output).trim().is_empty() {
            found.push(format!(
                "cyr_dbtool {path} {engine} consistency: {} {}",
                output.status,
                both(&output)
            ));
        }
    }
    found
}

/// What real Cyrus counts otherwise than the conversations databases say, which it has counted anew: its own audit (`-A`)
/// finds nothing in any database, however wrong.
fn conversations(site: &Site, real: &Programs, names: &[String]) -> Vec<String> {
    let before = conversation_rows(site);
    for name in names {
        let (domain, local) = match name.split_once('!') {
            Some((domain, local)) => (Some(domain), local),
            None => (None, name.as_str()),
        };
        let Some(user) = local.strip_prefix("user.").filter(|user| !user.contains('.')) else {
            continue;
        };
        let user = user.replace('^', ".");
        let user = domain.map_or(user.clone(), |domain| format!("{user}@{domain}"));
        site.tool_ok(real, "ctl_conversationsdb", &["-R", &user]);
    }
    let after = conversation_rows(site);
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let different = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    different
        .take(20)
        .map(|key| {
            let [live, counted] = [&before, &after].map(|rows| rows.get(key).cloned().unwrap_or_default());
            format!(
                "conversations of {}: {}: {live}, but {counted} when counted",
                key.0, key.1
            )
        })
        .collect()
}

/// The rows of all conversations databases of a site, as far as they do not depend on the order in which messages came.
fn conversation_rows(site: &Site) -> BTreeMap<(String, String), String> {
    let context = DbContext::new(LockTable::new(Arc::new(RealDisk)));
    let mut rows = BTreeMap::new();
    for (path, _) in databases(&site.root().join("conf")) {
        let text = path.display().to_string();
        if !text.ends_with("conversations.db") && !text.ends_with(".conversations") {
            continue;
        }
        let mut db = db::open(&context, &path, Engine::Skiplist, Create::No).expect("a database of the site");
        let scanned = db.scan(b"", &mut |key, value| {
            // Message ids are not counted; what was expired comes back.
            if !key.starts_with(b"<") {
                let value = comparable(key, value);
                rows.insert((text.clone(), String::from_utf8_lossy(key).into_owned()), value);
            }
            ControlFlow::Continue(())
        });
        scanned.expect("a database of the site");
    }
    rows
}

/// A row without what only the order of changes decides: dates and names among the copies of a message, when a mailbox last
/// changed, and how many of its messages have unseen copies elsewhere, which real Cyrus itself counts otherwise anew.
fn comparable(key: &[u8], value: &[u8]) -> String {
    match key.first() {
        Some(b'B') => {
            let mut row = Conversation::parse(value).expect("a conversation");
            row.thread.iter_mut().for_each(|item| item.internaldate = 0);
            row.thread.sort_by_key(|item| item.guid);
            for sender in &mut row.senders {
                (sender.name, sender.lastseen) = (None, 0);
                sender.mailbox.make_ascii_lowercase();
                sender.domain.make_ascii_lowercase();
            }
            row.senders
                .sort_by(|a, b| (&a.domain, &a.mailbox).cmp(&(&b.domain, &b.mailbox)));
            String::from_utf8_lossy(&row.to_bytes()).into_owned()
        }
        Some(b'F') => {
            let row = FolderStatus::parse(value).expect("counts of a mailbox");
            let row = FolderStatus {
                threadmodseq: 1,
                emailunseen: 0,
                ..row
            };
            String::from_utf8_lossy(&row.to_bytes()).into_owned()
        }
        // Live, real Cyrus has the flag of archived messages in two places.
        Some(b'G') => format!("{:?}", GuidRow::parse(value).expect("a message or part")),
        _ => String::from_utf8_lossy(value).into_owned(),
    }
}

/// Panics if the tools of real Cyrus complain about anything.
pub(crate) fn assert_sound(site: &Site, real: &Programs) {
    let found = complaints(site, real);
    assert!(
        found.is_empty(),
        "real Cyrus's tools complain about {}:\n{}",
        site.root().display(),
        found.join("\n")
    );
}

/// Panics if real Cyrus counts the conversations otherwise than they say.
pub(crate) fn assert_conversations_sound(site: &Site, real: &Programs) {
    let found = conversations(site, real, &mailboxes(site, real));
    assert!(
        found.is_empty(),
        "{}:\n{}",
        site.root().display(),
        found.join("\n")
    );
}

/// The internal names of all mailboxes that have a directory.
fn mailboxes(site: &Site, real: &Programs) -> Vec<String> {
    let dump = site.tool_ok(real, "ctl_mboxlist", &["-d"]);
    let dump: Json =
        serde_json::from_str(&dump).unwrap_or_else(|error| panic!("ctl_mboxlist -d: {error}: {dump}"));
    let entries = dump.as_object().into_iter().flatten();
    let stored = entries.filter(|(_, entry)| {
        // `d` is a tombstone, `i` an intermediate name without a mailbox.
        let kind = entry.get("mbtype").and_then(Json::as_str).unwrap_or_default();
        !kind.contains(['d', 'i'])
    });
    stored.map(|(name, _)| name.clone()).collect()
}

fn lines_beside(output: &str, tool: &str, expected: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = output.lines().filter(|line| !line.is_empty() && !expected(line));
    lines.map(|line| format!("{tool}: {line}")).collect()
}

/// Every database file under a folder whose first octets name an engine that can be checked.
fn databases(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the site").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(databases(&path));
        } else if path.is_file() {
            let mut start = [0_u8; 20];
            let read = std::fs::File::open(&path)
                .and_then(|mut file| file.read(&mut start))
                .unwrap_or(0);
            match start.get(..read) {
                Some(bytes) if bytes.starts_with(b"\xa1\x02\x8b\x0dtwoskip file") => {
                    found.push((path, "twoskip"))
                }
                Some(bytes) if bytes.starts_with(b"\xa1\x02\x8b\x0dskiplist file") => {
                    found.push((path, "skiplist"))
                }
                _ => {}
            }
        }
    }
    found
}
