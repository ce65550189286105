//! Rights: `setaclmailbox`, `deleteaclmailbox`, `listaclmailbox`.

use serde_json::{Map, Value as Json, json};

use super::Completes::{Mailbox, Nothing, Rights};
use super::{Command, Given, each, encoded, has_wildcards, targets};
use crate::cyradm::client::{Failure, Part};
use crate::cyradm::shell::{Answer, Shell};
use crate::cyradm::wire::Value;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        names: &["deleteaclmailbox", "deleteacl", "dam"],
        usage: "mailbox id [id ...]",
        summary: "remove ACLs from mailbox",
        options: &[],
        arguments: (2, usize::MAX),
        completes: &[Mailbox, Nothing],
        run: delete,
    },
    Command {
        names: &["listaclmailbox", "listacl", "lam"],
        usage: "mailbox",
        summary: "list ACLs on mailbox",
        options: &[],
        arguments: (1, 1),
        completes: &[Mailbox],
        run: show,
    },
    Command {
        names: &["setaclmailbox", "setacl", "sam"],
        usage: "mailbox id rights [id rights ...]",
        summary: "set ACLs on mailbox",
        options: &[],
        arguments: (3, usize::MAX),
        completes: &[Mailbox, Nothing, Rights],
        run: set,
    },
];

/// Words for rights, as the original has them.
pub(in crate::cyradm) const WORDS: &[(&str, &str)] = &[
    ("none", ""),
    ("read", "lrs"),
    ("post", "lrsp"),
    ("append", "lrsip"),
    ("write", "lrswipkxte"),
    ("delete", "lrxte"),
    ("all", "lrswipkxtea"),
];

fn set(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let pairs: Vec<(&str, &str)> = given
        .arguments
        .get(1..)
        .unwrap_or_default()
        .chunks(2)
        .filter_map(|pair| match pair {
            [id, rights] => Some((id.as_str(), rights.as_str())),
            _ => None,
        })
        .collect();
    if given.arguments.len().is_multiple_of(2) {
        return Err(Failure::Usage(
            "setaclmailbox mailbox id rights [id rights ...]".to_owned(),
        ));
    }
    each(shell, given.argument(0), "Setting ACL on", &mut |shell, name| {
        for (id, rights) in &pairs {
            let word = WORDS.iter().find(|(word, _)| word == rights);
            let rights = word.map_or(*rights, |(_, letters)| letters);
            let parts = [
                Part::Raw("SETACL "),
                Part::Text(name),
                Part::Raw(" "),
                Part::Text(id),
                Part::Raw(" "),
                Part::Text(rights),
            ];
            shell.command(&parts).map_err(|failure| match failure {
                Failure::Refused(why) => Failure::Refused(format!("{id}: {rights}: {why}")),
                failure => failure,
            })?;
        }
        Ok(())
    })
}

fn delete(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let ids = given.arguments.get(1..).unwrap_or_default();
    each(shell, given.argument(0), "Deleting acl on", &mut |shell, name| {
        for id in ids {
            shell.command(&[
                Part::Raw("DELETEACL "),
                Part::Text(name),
                Part::Raw(" "),
                Part::Text(id),
            ])?;
        }
        Ok(())
    })
}

fn show(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let argument = given.argument(0);
    if !has_wildcards(argument) {
        let entries = acl(shell, &encoded(argument))?;
        return Ok(Answer {
            text: lines(&entries, ""),
            json: object(&entries),
            failures: Vec::new(),
        });
    }
    let mut answer = Answer::done();
    let mut rows = Map::new();
    let names = targets(shell, argument)?;
    for (done, name) in (1..).zip(&names) {
        shell.progress(done, names.len(), name);
        match acl(shell, name) {
            Ok(entries) => {
                answer
                    .text
                    .push_str(&format!("{name}:\n{}", lines(&entries, "  ")));
                rows.insert(name.clone(), object(&entries));
            }
            Err(Failure::Refused(why)) => answer.failures.push(format!("{name}: {why}")),
            Err(failure) => return Err(failure),
        }
    }
    answer.json = Json::Object(rows);
    Ok(answer)
}

fn acl(shell: &mut Shell, name: &str) -> Result<Vec<(String, String)>, Failure> {
    let reply = shell.command(&[Part::Raw("GETACL "), Part::Text(name)])?;
    let pairs = reply
        .named("ACL")
        .flat_map(|values| values.get(1..).unwrap_or_default().chunks(2));
    let pairs = pairs.map(|pair| {
        let text = |at: usize| pair.get(at).map(Value::text).unwrap_or_default();
        (text(0), text(1))
    });
    Ok(pairs.collect())
}

fn lines(entries: &[(String, String)], indent: &str) -> String {
    entries
        .iter()
        .map(|(id, rights)| format!("{indent}{id} {rights}\n"))
        .collect()
}

fn object(entries: &[(String, String)]) -> Json {
    let entries = entries.iter().map(|(id, rights)| (id.clone(), json!(rights)));
    Json::Object(entries.collect())
}
