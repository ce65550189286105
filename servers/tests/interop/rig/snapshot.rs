//! Everything a user can read over IMAP, as JSON in the form of the fixtures' manifests; and the comparison of a server
//! with such a manifest.
//!
//! Reading changes nothing: mailboxes are examined and bodies peeked at. `\Recent` and RECENT depend on who looked before,
//! so they are left out. Every item is asked for, also where the server does not announce the capability that brings it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};
use sha1::{Digest, Sha1};

use super::imap::{Imap, Reply, quote};
use super::value::Value;

/// What is asked of every message.
const MESSAGE_ITEMS: [&str; 10] = [
    "FLAGS",
    "UID",
    "INTERNALDATE",
    "RFC822.SIZE",
    "MODSEQ",
    "ENVELOPE",
    "BODYSTRUCTURE",
    "EMAILID",
    "SAVEDATE",
    "body_sha1",
];
const STATUS_ITEMS: [&str; 6] = [
    "MESSAGES",
    "UIDNEXT",
    "UIDVALIDITY",
    "UNSEEN",
    "SIZE",
    "HIGHESTMODSEQ",
];

/// One user's view of a server.
pub(crate) struct View {
    imap: Imap,
    selected: Option<String>,
}

/// The outcome of a comparison.
#[derive(Default)]
pub(crate) struct Comparison {
    /// How many single values were equal.
    pub(crate) equal: usize,
    /// What was not.
    pub(crate) differences: Vec<String>,
}

impl Comparison {
    fn check(&mut self, place: &str, wanted: &Json, got: &Json) {
        if wanted == got {
            self.equal += 1;
        } else {
            let (wanted, got) = (shortened(wanted), shortened(got));
            self.differences
                .push(format!("{place}:\n    wanted {wanted}\n    got    {got}"));
        }
    }

    /// Panics, with the first differences, if there are any.
    pub(crate) fn assert_equal(&self, what: &str) {
        if self.differences.is_empty() {
            return;
        }
        let shown: Vec<&str> = self.differences.iter().take(20).map(String::as_str).collect();
        panic!(
            "{what}: {} differences, {} values equal\n{}",
            self.differences.len(),
            self.equal,
            shown.join("\n")
        );
    }
}

impl View {
    /// Logs in on a port.
    pub(crate) fn new(imap: Imap) -> Self {
        Self { imap, selected: None }
    }

    /// Everything this user can read, as a manifest's `users.<login>`.
    pub(crate) fn take(&mut self) -> Json {
        let mut user = Map::new();
        for item in ["namespace", "list", "list_specialuse", "lsub"] {
            user.insert(item.to_owned(), self.user_item(item));
        }
        let listed = self.user_item("list");
        let mut mailboxes = Map::new();
        for entry in listed.as_array().into_iter().flatten() {
            if let Some(name) = entry.get(2).and_then(Json::as_str) {
                mailboxes.insert(name.to_owned(), self.mailbox(name));
            }
        }
        user.insert("mailboxes".to_owned(), Json::Object(mailboxes));
        Json::Object(user)
    }

    fn mailbox(&mut self, name: &str) -> Json {
        let mut mailbox = Map::new();
        for item in ["status", "myrights", "acl", "quotaroot", "quota", "flags"] {
            mailbox.insert(item.to_owned(), self.mailbox_item(name, item));
        }
        if self.examine(name).is_ok_and(|reply| reply.is_ok()) {
            let messages = self.fetch("1:*", &MESSAGE_ITEMS);
            mailbox.insert("fetch".to_owned(), messages.into_values().collect());
        }
        Json::Object(mailbox)
    }

    /// Compares what this user reads with a manifest's `users.<login>`.
    pub(crate) fn compare(&mut self, user: &str, wanted: &Json, comparison: &mut Comparison) {
        for (item, value) in wanted.as_object().into_iter().flatten() {
            if item == "mailboxes" {
                for (name, mailbox) in value.as_object().into_iter().flatten() {
                    self.compare_mailbox(user, name, mailbox, comparison);
                }
            } else if item == "server_metadata" {
                self.compare_metadata(&format!("{user}: {item}"), "", value, comparison);
            } else {
                let got = self.user_item(item);
                comparison.check(&format!("{user}: {item}"), value, &got);
            }
        }
    }

    fn compare_mailbox(&mut self, user: &str, name: &str, wanted: &Json, comparison: &mut Comparison) {
        for (item, value) in wanted.as_object().into_iter().flatten() {
            let place = format!("{user}: {name}: {item}");
            match item.as_str() {
                "fetch" => self.compare_messages(&place, name, value, comparison),
                "status" if value.is_object() => {
                    let got = self.mailbox_item(name, item);
                    for (key, wanted) in value
                        .as_object()
                        .into_iter()
                        .flatten()
                        .filter(|(key, _)| *key != "RECENT")
                    {
                        comparison.check(&format!("{place} {key}"), wanted, got.get(key).unwrap_or(&got));
                    }
                }
                "metadata" => self.compare_metadata(&place, name, value, comparison),
                _ => {
                    let got = self.mailbox_item(name, item);
                    comparison.check(&place, value, &got);
                }
            }
        }
    }

    fn compare_messages(&mut self, place: &str, name: &str, wanted: &Json, comparison: &mut Comparison) {
        let opened = self.examine(name).map(|reply| reply.status);
        if !opened.as_ref().is_ok_and(|status| status.starts_with("OK")) {
            let got = format!("{opened:?}");
            comparison.check(place, &json!("an open mailbox"), &json!(got));
            return;
        }
        // Messages of which the same items are wanted are fetched together.
        let mut groups: BTreeMap<Vec<&str>, Vec<&Json>> = BTreeMap::new();
        for message in wanted.as_array().into_iter().flatten() {
            let items = message.as_object().into_iter().flatten();
            groups
                .entry(items.map(|(item, _)| item.as_str()).collect())
                .or_default()
                .push(message);
        }
        let mut found = BTreeSet::new();
        for (items, messages) in groups {
            let uids: Vec<&str> = messages
                .iter()
                .filter_map(|message| message.get("UID")?.as_str())
                .collect();
            let got = self.fetch(&uids.join(","), &items);
            for message in messages {
                let uid: u32 = message
                    .get("UID")
                    .and_then(Json::as_str)
                    .and_then(|uid| uid.parse().ok())
                    .unwrap_or(0);
                found.insert(uid);
                for item in &items {
                    let wanted = message.get(*item).map(without_recent).unwrap_or_default();
                    let got = got
                        .get(&uid)
                        .and_then(|message| message.get(*item))
                        .unwrap_or(&Json::Null);
                    comparison.check(&format!("{place}: uid {uid} {item}"), &wanted, got);
                }
            }
        }
        let there: BTreeSet<u32> = self.fetch("1:*", &["UID"]).into_keys().collect();
        comparison.check(&format!("{place}: the UIDs"), &json!(found), &json!(there));
    }

    fn user_item(&mut self, item: &str) -> Json {
        match item {
            "namespace" => whole(&self.imap.ok("NAMESPACE"), "NAMESPACE"),
            "list" => bare(&self.imap.ok("LIST \"\" *"), "LIST"),
            "list_specialuse" => bare(&self.imap.ok("LIST (SPECIAL-USE) \"\" *"), "LIST"),
            "lsub" => bare(&self.imap.ok("LSUB \"\" *"), "LSUB"),
            _ => panic!("a manifest has no item {item}"),
        }
    }

    fn mailbox_item(&mut self, name: &str, item: &str) -> Json {
        let mailbox = quote(name);
        if item == "flags" {
            let reply = match self.examine(name) {
                Ok(reply) => reply,
                Err(error) => return json!(error.to_string()),
            };
            return refused(&reply).unwrap_or_else(|| {
                reply
                    .data("FLAGS")
                    .next()
                    .and_then(|flags| Some(flags.first()?.json()))
                    .into()
            });
        }
        let command = match item {
            "status" => {
                format!("STATUS {mailbox} ({})", STATUS_ITEMS.join(" "))
            }
            "myrights" => format!("MYRIGHTS {mailbox}"),
            "acl" => format!("GETACL {mailbox}"),
            "quotaroot" | "quota" => format!("GETQUOTAROOT {mailbox}"),
            _ => panic!("a manifest has no item {item} of a mailbox"),
        };
        let reply = self
            .imap
            .command(&command)
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        if let Some(refusal) = refused(&reply) {
            return refusal;
        }
        match item {
            "status" => reply.data("STATUS").next().map(|data| pairs(data.get(1))).into(),
            "myrights" => reply
                .data("MYRIGHTS")
                .next()
                .and_then(|data| Some(data.get(1)?.json()))
                .into(),
            "acl" => reply
                .data("ACL")
                .flat_map(|data| data.get(1..).unwrap_or_default().chunks(2).map(array))
                .collect(),
            "quotaroot" => reply
                .data("QUOTAROOT")
                .flat_map(|data| data.get(1..).unwrap_or_default())
                .map(Value::json)
                .collect(),
            _ => {
                let roots = reply
                    .data("QUOTA")
                    .filter_map(|data| Some((data.first()?.text(), data.get(1)?.json())));
                let mut first = serde_json::Map::new();
                for (root, resources) in roots {
                    // A second response says the same by the names of RFC 9208, which Cyrus does not use.
                    first.entry(root).or_insert(resources);
                }
                Json::Object(first)
            }
        }
    }

    fn compare_metadata(&mut self, place: &str, mailbox: &str, wanted: &Json, comparison: &mut Comparison) {
        let got = self.metadata(mailbox, wanted);
        match (entries(wanted), &got) {
            (Json::Object(wanted), Json::Object(got)) => {
                for (entry, wanted) in &wanted {
                    let got = got.get(entry).unwrap_or(&Json::Null);
                    comparison.check(&format!("{place} {entry}"), wanted, got);
                }
            }
            (wanted, got) => comparison.check(place, &wanted, got),
        }
    }

    /// The values of just the entries that a manifest names.
    fn metadata(&mut self, mailbox: &str, wanted: &Json) -> Json {
        let names: Vec<String> = entries(wanted)
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect();
        let command = format!("GETMETADATA {} ({})", quote(mailbox), names.join(" "));
        let reply = self
            .imap
            .command(&command)
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        refused(&reply).unwrap_or_else(|| entries(&bare(&reply, "METADATA")))
    }

    fn examine(&mut self, name: &str) -> std::io::Result<Reply> {
        self.selected = None;
        let reply = self.imap.command(&format!("EXAMINE {}", quote(name)))?;
        self.selected = Some(name.to_owned());
        Ok(reply)
    }

    /// The wanted items of some messages of the examined mailbox, by UID.
    fn fetch(&mut self, uids: &str, items: &[&str]) -> BTreeMap<u32, Json> {
        let words: Vec<&str> = items
            .iter()
            .map(|item| match *item {
                "body_sha1" => "BODY.PEEK[]",
                "ANNOTATION" => "ANNOTATION (/* (value.shared value.priv))",
                item => item,
            })
            .collect();
        let command = format!("UID FETCH {uids} ({})", words.join(" "));
        let reply = self
            .imap
            .command(&command)
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(reply.is_ok(), "{:?}: {}", self.selected, reply.status);
        let messages = reply.fetched().map(|message| {
            let items = message
                .items
                .iter()
                .map(|(item, value)| match (item.as_str(), value) {
                    ("BODY[]", Value::Text(body)) => {
                        ("body_sha1".to_owned(), json!(hex(&Sha1::digest(body))))
                    }
                    ("ANNOTATION", list) => (item.clone(), set_annotations(list)),
                    _ => (item.clone(), without_recent(&value.json())),
                });
            (message.uid, Json::Object(items.collect()))
        });
        messages.collect()
    }
}

/// The tagged response of a refused command.
fn refused(reply: &Reply) -> Option<Json> {
    (!reply.is_ok()).then(|| json!(reply.status))
}

/// The untagged responses of a kind, with the word itself.
fn whole(reply: &Reply, kind: &str) -> Json {
    let rows = reply.data(kind).map(|data| {
        let row = [json!(kind)].into_iter().chain(data.iter().map(Value::json));
        row.collect::<Json>()
    });
    rows.collect()
}

/// The untagged responses of a kind, without the word itself.
fn bare(reply: &Reply, kind: &str) -> Json {
    reply.data(kind).map(array).collect()
}

fn array(values: &[Value]) -> Json {
    values.iter().map(Value::json).collect()
}

/// `(a 1 b 2)` as an object.
fn pairs(list: Option<&Value>) -> Json {
    let pairs = list.map(Value::list).unwrap_or_default().chunks(2);
    Json::Object(
        pairs
            .filter_map(|pair| Some((pair.first()?.text(), pair.get(1)?.json())))
            .collect(),
    )
}

/// The annotations of a message that somebody set, as `[[entry, [attribute, value, ...]], ...]`.
fn set_annotations(list: &Value) -> Json {
    let entries = list.list().chunks(2).filter_map(|pair| {
        let (entry, attributes) = (pair.first()?.text(), pair.get(1)?.list());
        let set: Vec<Json> = (attributes.chunks(2))
            .filter(|pair| pair.get(1) != Some(&Value::Nil))
            .flat_map(|pair| pair.iter().map(Value::json))
            .collect();
        (!set.is_empty() && !entry.starts_with("/vendor/")).then(|| json!([entry, set]))
    });
    entries.collect()
}

/// METADATA answers as one object of entries and values; a refusal as it is.
fn entries(responses: &Json) -> Json {
    if responses.is_string() {
        return responses.clone();
    }
    let lists = responses
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|response| response.get(1)?.as_array());
    let pairs = lists.flat_map(|list| list.chunks(2));
    Json::Object(
        pairs
            .filter_map(|pair| Some((pair.first()?.as_str()?.to_owned(), pair.get(1)?.clone())))
            .collect(),
    )
}

fn shortened(value: &Json) -> String {
    let text = value.to_string();
    let end = text.char_indices().nth(400).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default().to_owned()
}

/// A list of flags without `\Recent`; anything else as it is.
fn without_recent(value: &Json) -> Json {
    match value {
        Json::Array(values) => values
            .iter()
            .filter(|value| **value != "\\Recent")
            .cloned()
            .collect(),
        _ => value.clone(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
