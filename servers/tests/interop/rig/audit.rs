//! Debian's own checking tools, run over a site that no daemon is using: they must find nothing wrong.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::programs::{Programs, both};
use super::site::Site;

/// What the tools of real Cyrus complain about; nothing, on a sound site.
///
/// `reconstruct -n -G` (parses every message file again), `quota -f -n`, `ctl_mboxlist -v`, `mbexamine` with `-q` and `-c`,
/// `cyr_dbtool consistency` for every twoskip and skiplist file of the configuration directory, and, where conversations are
/// on, `ctl_conversationsdb -A` for every user.
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
        found.extend(names.iter().filter_map(|name| conversations(site, real, name)));
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

/// What the audit of a user's conversations finds wrong, if the mailbox is an INBOX.
fn conversations(site: &Site, real: &Programs, name: &str) -> Option<String> {
    let (domain, local) = match name.split_once('!') {
        Some((domain, local)) => (Some(domain), local),
        None => (None, name),
    };
    let user = local.strip_prefix("user.").filter(|user| !user.contains('.'))?;
    let user = user.replace('^', ".");
    let user = domain.map_or(user.clone(), |domain| format!("{user}@{domain}"));
    let folder = site.root().join("audit");
    if !folder.exists() {
        std::fs::create_dir(&folder).expect("a new folder of the site");
        site.own(&folder);
    }
    let folder = folder.display().to_string();
    let output = site.tool(real, "ctl_conversationsdb", &["-A", "-v", "-T", &folder, &user]);
    let said = both(&output);
    let is_ok = output.status.success() && said.contains(&format!("{user} is OK"));
    (!is_ok).then(|| format!("ctl_conversationsdb -A {user}: {said}"))
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

/// Panics if the audit of any user's conversations finds something wrong.
pub(crate) fn assert_conversations_sound(site: &Site, real: &Programs) {
    let names = mailboxes(site, real);
    let found: Vec<String> = names
        .iter()
        .filter_map(|name| conversations(site, real, name))
        .collect();
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
