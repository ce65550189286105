//! Quotas: `setquota`, `listquota`, `listquotaroot`.

use serde_json::{Map, Value as Json, json};

use super::Completes::{Mailbox, Resource};
use super::{Command, Given, each, encoded};
use crate::cyradm::client::{Failure, Part};
use crate::cyradm::shell::{Answer, Shell};
use crate::cyradm::wire::Value;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        names: &["listquota", "lq"],
        usage: "root",
        summary: "list quotas on specified root",
        options: &[],
        arguments: (1, 1),
        completes: &[Mailbox],
        run: show,
    },
    Command {
        names: &["listquotaroot", "lqr", "lqm"],
        usage: "mailbox",
        summary: "show quota roots and quotas for mailbox",
        options: &[],
        arguments: (1, 1),
        completes: &[Mailbox],
        run: roots,
    },
    Command {
        names: &["setquota", "sq"],
        usage: "mailbox resource value [resource value ...], or mailbox value",
        summary: "set quota on mailbox or resource",
        options: &[],
        arguments: (2, usize::MAX),
        completes: &[Mailbox, Resource],
        run: set,
    },
];

/// The resources of Cyrus.
pub(in crate::cyradm) const RESOURCES: &[&str] =
    &["STORAGE", "MESSAGE", "X-ANNOTATION-STORAGE", "X-NUM-FOLDERS"];

/// Usage and limit of one resource.
struct Quota {
    resource: String,
    used: u64,
    limit: u64,
}

impl Quota {
    fn text(&self) -> String {
        let (used, limit) = (self.used, self.limit);
        let percent = (u128::from(used) * 100).checked_div(limit.into()).unwrap_or(0);
        format!("{} {used}/{limit} ({percent}%)", self.resource)
    }
}

fn set(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let words = given.arguments.get(1..).unwrap_or_default();
    let (text, list) = match words {
        [none] if none == "none" => ("remove quota\n".to_owned(), String::new()),
        [storage] => (
            format!("quota:{storage}\n"),
            format!("STORAGE {}", number("STORAGE", storage)?),
        ),
        pairs => {
            let mut list = Vec::new();
            for pair in pairs.chunks(2) {
                let [resource, value] = pair else {
                    return Err(Failure::Usage(
                        "setquota mailbox resource value [resource value ...]".to_owned(),
                    ));
                };
                // A resource without limit is left out: the list that is set is the whole of it.
                if value != "none" {
                    list.push(format!("{resource} {}", number(resource, value)?));
                }
            }
            (String::new(), list.join(" "))
        }
    };
    let list = format!(" ({list})");
    let mut answer = each(
        shell,
        given.argument(0),
        "Setting quota on",
        &mut |shell, name| {
            shell
                .command(&[Part::Raw("SETQUOTA "), Part::Text(name), Part::Raw(&list)])
                .map(drop)
        },
    )?;
    if answer.text.is_empty() {
        answer.text = text;
    }
    Ok(answer)
}

fn number(resource: &str, text: &str) -> Result<u64, Failure> {
    let is_atom = resource
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match text.parse() {
        Ok(number) if is_atom => Ok(number),
        _ => Err(Failure::Refused(format!("{resource}: {text}: not a number"))),
    }
}

fn show(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let root = encoded(given.argument(0));
    let reply = shell.command(&[Part::Raw("GETQUOTA "), Part::Text(&root)])?;
    let quotas: Vec<Quota> = reply.named("QUOTA").flat_map(quotas).collect();
    let shown: Vec<String> = quotas.iter().map(Quota::text).collect();
    Ok(Answer {
        text: format!("{}{}\n", if shown.is_empty() { "" } else { " " }, shown.join(" ")),
        json: object(&quotas),
        failures: Vec::new(),
    })
}

fn roots(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let name = encoded(given.argument(0));
    let reply = shell.command(&[Part::Raw("GETQUOTAROOT "), Part::Text(&name)])?;
    let mut answer = Answer::done();
    let mut all = Map::new();
    for values in reply.named("QUOTA") {
        let root = values.first().map(Value::text).unwrap_or_default();
        let quotas: Vec<Quota> = quotas(values).collect();
        let shown: Vec<String> = quotas.iter().map(Quota::text).collect();
        answer.text.push_str(&format!("{root} {}\n", shown.join(" ")));
        all.insert(root, object(&quotas));
    }
    answer.json = Json::Object(all);
    Ok(answer)
}

/// The resources of a QUOTA response; those that a server names twice, once by the names of RFC 9208, count once.
fn quotas(values: &[Value]) -> impl Iterator<Item = Quota> {
    let list = values.get(1).map(Value::list).unwrap_or_default();
    list.chunks(3).filter_map(|part| {
        let number = |at: usize| part.get(at)?.text().parse().ok();
        Some(Quota {
            resource: part.first()?.text(),
            used: number(1)?,
            limit: number(2)?,
        })
    })
}

fn object(quotas: &[Quota]) -> Json {
    let rows = quotas.iter().map(|quota| {
        let row = json!({"used": quota.used, "limit": quota.limit});
        (quota.resource.clone(), row)
    });
    Json::Object(rows.collect())
}
