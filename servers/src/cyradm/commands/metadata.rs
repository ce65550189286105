//! Annotations of mailboxes and of the server: `info`, `mboxconfig`, `setinfo`, `getmetadata`, `setmetadata`.

use serde_json::{Map, Value as Json, json};

use super::Completes::{Attribute, Mailbox, Nothing, ServerAttribute};
use super::{Command, Given, each, encoded, targets};
use crate::cyradm::client::{Failure, Part};
use crate::cyradm::shell::{Answer, Shell};
use crate::cyradm::wire::Value;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        names: &["getmetadata", "getmd"],
        usage: "[mailbox [annotation ...]]",
        summary: "display mailbox/server metadata",
        options: &[],
        arguments: (0, usize::MAX),
        completes: &[Mailbox, Attribute],
        run: get,
    },
    Command {
        names: &["info"],
        usage: "[mailbox]",
        summary: "display mailbox/server annotations",
        options: &[],
        arguments: (0, 1),
        completes: &[Mailbox],
        run: get,
    },
    Command {
        names: &["mboxconfig", "mboxcfg"],
        usage: "[--private] mailbox attribute value",
        summary: "configure mailbox",
        options: &["private"],
        arguments: (3, 3),
        completes: &[Mailbox, Attribute, Nothing],
        run: configure,
    },
    Command {
        names: &["setinfo"],
        usage: "[motd|comment|admin|shutdown|expire|squat] value",
        summary: "set server metadata",
        options: &[],
        arguments: (2, 2),
        completes: &[ServerAttribute, Nothing],
        run: set_info,
    },
    Command {
        names: &["setmetadata", "setmd"],
        usage: "[--private] mailbox annotation value",
        summary: "set metadata to mailbox",
        options: &["private"],
        arguments: (3, 3),
        completes: &[Mailbox, Attribute, Nothing],
        run: set,
    },
];

/// Short names of annotations of mailboxes.
pub(in crate::cyradm) const ATTRIBUTES: &[&str] = &[
    "comment",
    "expire",
    "news2mail",
    "pop3showafter",
    "sharedseen",
    "sieve",
    "specialuse",
    "squat",
];
/// Short names of annotations of the server.
pub(in crate::cyradm) const SERVER_ATTRIBUTES: &[&str] =
    &["motd", "comment", "admin", "shutdown", "expire", "squat"];

/// The entry that a word of `setmetadata` means.
fn entry(word: &str, private: bool) -> Result<String, Failure> {
    let entry = match word {
        "comment" | "specialuse" => format!("/private/{word}"),
        word if word.starts_with('/') => word.to_owned(),
        word if ATTRIBUTES.contains(&word) => format!("/shared{VENDOR}{word}"),
        word => return Err(unknown(word, ATTRIBUTES)),
    };
    Ok(match entry.strip_prefix("/shared/") {
        Some(rest) if private => format!("/private/{rest}"),
        _ => entry,
    })
}

fn unknown(word: &str, known: &[&str]) -> Failure {
    Failure::Refused(format!(
        "{word}: no such attribute; there are {}, and entries that begin with /shared/ or /private/",
        known.join(", ")
    ))
}

fn configure(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let whose = if given.has("private") {
        "/private"
    } else {
        "/shared"
    };
    let entry = match given.argument(1) {
        "comment" => format!("{whose}/comment"),
        word if word.starts_with('/') => format!("{whose}{word}"),
        word if ATTRIBUTES.contains(&word) && word != "specialuse" => format!("{whose}{VENDOR}{word}"),
        word => return Err(unknown(word, ATTRIBUTES)),
    };
    store(shell, given.argument(0), &entry, given.argument(2))
}

fn set(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let entry = entry(given.argument(1), given.has("private"))?;
    store(shell, given.argument(0), &entry, given.argument(2))
}

fn set_info(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let entry = match given.argument(0) {
        word @ ("motd" | "comment" | "admin") => format!("/shared/{word}"),
        word @ ("shutdown" | "expire" | "squat") => format!("/shared{VENDOR}{word}"),
        word if word.starts_with('/') => format!("/shared{word}"),
        word => return Err(unknown(word, SERVER_ATTRIBUTES)),
    };
    put(shell, "", &entry, given.argument(1))?;
    Ok(Answer::done())
}

fn store(shell: &mut Shell, mailbox: &str, entry: &str, value: &str) -> Result<Answer, Failure> {
    each(shell, mailbox, "Setting metadata on", &mut |shell, name| {
        put(shell, name, entry, value)
    })
}

fn put(shell: &mut Shell, mailbox: &str, entry: &str, value: &str) -> Result<(), Failure> {
    let value = match value {
        "none" => Part::Raw("NIL"),
        value => Part::Text(value),
    };
    shell
        .command(&[
            Part::Raw("SETMETADATA "),
            Part::Text(mailbox),
            Part::Raw(" ("),
            Part::Text(entry),
            Part::Raw(" "),
            value,
            Part::Raw(")"),
        ])
        .map(drop)
}

fn get(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let mut wanted = Vec::new();
    for word in given.arguments.get(1..).unwrap_or_default() {
        wanted.push(entry(word, false)?);
    }
    if wanted.is_empty() {
        wanted.extend(["/private/*", "/shared/*"].map(str::to_owned));
    }
    let names = match given.optional(0) {
        None | Some("") => vec![String::new()],
        Some(argument) if super::has_wildcards(argument) => targets(shell, argument)?,
        Some(argument) => vec![encoded(argument)],
    };
    let mut answer = Answer::done();
    let mut all = Map::new();
    for (done, name) in (1..).zip(&names) {
        shell.progress(done, names.len(), name);
        let mut found = Vec::new();
        for entry in &wanted {
            found.extend(fetch(shell, name, entry)?);
        }
        found.sort();
        answer.text.push_str(&lines(name, &found));
        let entries = found.into_iter().map(|(entry, value)| (entry, json!(value)));
        all.insert(name.clone(), Json::Object(entries.collect()));
    }
    answer.json = match (names.len(), all.remove("")) {
        (1, Some(server)) => server,
        _ => Json::Object(all),
    };
    Ok(answer)
}

fn fetch(shell: &mut Shell, mailbox: &str, entry: &str) -> Result<Vec<(String, Option<String>)>, Failure> {
    let reply = shell.command(&[
        Part::Raw("GETMETADATA "),
        Part::Text(mailbox),
        Part::Raw(" ("),
        Part::Text(entry),
        Part::Raw(")"),
    ])?;
    let pairs = reply
        .named("METADATA")
        .filter_map(|values| values.get(1))
        .flat_map(|list| list.list().chunks(2));
    let pairs = pairs.filter_map(|pair| Some((pair.first()?.text(), pair.get(1).and_then(Value::as_text))));
    Ok(pairs.collect())
}

/// The private ones, then the shared ones, by the last part of their names.
fn lines(mailbox: &str, found: &[(String, Option<String>)]) -> String {
    let mut text = match mailbox {
        "" => "{Server Wide}\n".to_owned(),
        mailbox => format!("{{{mailbox}}}:\n"),
    };
    for whose in ["private", "shared"] {
        let prefix = format!("/{whose}/");
        let mut head = Some(format!("  {whose}:\n"));
        for (entry, value) in found.iter().filter(|(entry, _)| entry.starts_with(&prefix)) {
            text.extend(head.take());
            let label = entry.rsplit('/').next().unwrap_or_default();
            text.push_str(&format!("    {label}: {}\n", value.as_deref().unwrap_or("NIL")));
        }
    }
    text
}

const VENDOR: &str = "/vendor/cmu/cyrus-imapd/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_stand_for_entries() {
        let of = |word, private| entry(word, private).unwrap();
        assert_eq!(of("comment", false), "/private/comment");
        assert_eq!(of("expire", false), "/shared/vendor/cmu/cyrus-imapd/expire");
        assert_eq!(of("expire", true), "/private/vendor/cmu/cyrus-imapd/expire");
        assert_eq!(of("/shared/comment", false), "/shared/comment");
        assert!(entry("bogus", false).is_err());
    }
}
