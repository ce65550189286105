//! Mailboxes: created, deleted, renamed, listed, subscribed to, reconstructed, moved to other servers.

use serde_json::json;

use super::Completes::{Mailbox, Nothing};
use super::{Command, Given, Listed, each, encoded, has_wildcards, list, targets};
use crate::cyradm::client::{Failure, Part};
use crate::cyradm::shell::{Answer, Shell};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        names: &["createmailbox", "create", "cm"],
        usage: "[--partition partition] [--specialuse specialuse] mailbox [partition]",
        summary: "create mailbox",
        options: &["partition=", "specialuse="],
        arguments: (1, 2),
        completes: &[Mailbox, Nothing],
        run: create,
    },
    Command {
        names: &["deletemailbox", "delete", "dm"],
        usage: "[--recursive] mailbox",
        summary: "delete mailbox",
        options: &["recursive"],
        arguments: (1, 1),
        completes: &[Mailbox],
        run: delete,
    },
    Command {
        names: &["listmailbox", "lm"],
        usage: "[--subscribed] [--specialuse] [--lines] [pattern [base]]",
        summary: "list mailboxes",
        options: &["subscribed", "specialuse", "lines"],
        arguments: (0, 2),
        completes: &[Mailbox],
        run: show,
    },
    Command {
        names: &["reconstruct"],
        usage: "[--recursive] mailbox",
        summary: "reconstruct mailbox (if supported)",
        options: &["recursive"],
        arguments: (1, 1),
        completes: &[Mailbox],
        run: reconstruct,
    },
    Command {
        names: &["renamemailbox", "rename", "renm"],
        usage: "[--partition name] oldname newname [partition]",
        summary: "rename (and optionally relocate) mailbox",
        options: &["partition="],
        arguments: (2, 3),
        completes: &[Mailbox, Mailbox, Nothing],
        run: rename,
    },
    Command {
        names: &["subscribe", "sub"],
        usage: "mailbox [mailbox ...]",
        summary: "subscribe to a mailbox",
        options: &[],
        arguments: (1, usize::MAX),
        completes: &[Mailbox],
        run: subscribe,
    },
    Command {
        names: &["unsubscribe", "unsub"],
        usage: "mailbox [mailbox ...]",
        summary: "unsubscribe from a mailbox",
        options: &[],
        arguments: (1, usize::MAX),
        completes: &[Mailbox],
        run: unsubscribe,
    },
    Command {
        names: &["xfermailbox", "xfer"],
        usage: "[--partition partition] mailbox server [partition]",
        summary: "transfer (relocate) a mailbox to a different server",
        options: &["partition="],
        arguments: (2, 3),
        completes: &[Mailbox, Nothing],
        run: transfer,
    },
];

/// The partition, by option or behind the other arguments; both make no sense.
fn partition(given: &Given, at: usize) -> Result<Option<&str>, Failure> {
    match (given.option("partition"), given.optional(at)) {
        (Some(_), Some(_)) => Err(Failure::Refused("two partitions are named".to_owned())),
        (one, other) => Ok(one.or(other)),
    }
}

fn create(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let partition = partition(given, 1)?;
    let name = encoded(given.argument(0));
    let mut parts = vec![Part::Raw("CREATE "), Part::Text(&name)];
    let uses = given.option("specialuse").map(|uses| {
        let uses = uses.split_whitespace().map(|one| match one.starts_with('\\') {
            true => one.to_owned(),
            false => format!("\\{one}"),
        });
        uses.collect::<Vec<_>>().join(" ")
    });
    let options = match (partition, &uses) {
        (None, None) => String::new(),
        (Some(partition), None) => format!(" {partition}"),
        (None, Some(uses)) => format!(" (USE ({uses}))"),
        (Some(partition), Some(uses)) => format!(" (PARTITION {partition} USE ({uses}))"),
    };
    parts.push(Part::Raw(&options));
    shell.command(&parts)?;
    Ok(Answer::done())
}

fn delete(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let argument = given.argument(0);
    let mut one =
        |shell: &mut Shell, name: &str| shell.command(&[Part::Raw("DELETE "), Part::Text(name)]).map(drop);
    if !given.has("recursive") || has_wildcards(argument) {
        return each(shell, argument, "Deleting mailbox", &mut one);
    }
    // The deepest first: a mailbox with others below it stays.
    let separator = separator(shell)?;
    let mut names = targets(shell, &format!("{argument}{separator}*"))?;
    names.reverse();
    names.push(encoded(argument));
    for (done, name) in (1..).zip(&names) {
        shell.progress(done, names.len(), name);
        one(shell, name).map_err(|failure| match failure {
            Failure::Refused(why) => Failure::Refused(format!("{name}: {why}")),
            failure => failure,
        })?;
    }
    Ok(Answer {
        json: json!({ "deleted": names }),
        ..Answer::default()
    })
}

fn separator(shell: &mut Shell) -> Result<String, Failure> {
    let reply = shell.command(&[Part::Raw("LIST \"\" \"\"")])?;
    let mut rows = reply.named("LIST");
    let separator = rows.next().and_then(|row| row.get(1)?.as_text());
    separator.ok_or_else(|| Failure::Refused("the server has no hierarchy".to_owned()))
}

fn show(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let (pattern, base) = (given.optional(0).unwrap_or("*"), given.optional(1).unwrap_or(""));
    let extended = shell.has("LIST-EXTENDED");
    let (command, tail) = match (given.has("subscribed"), given.has("specialuse")) {
        (true, _) if extended => ("LIST (SUBSCRIBED) ", " RETURN (CHILDREN)"),
        (true, _) => ("LSUB ", ""),
        (false, true) => (
            "LIST (SPECIAL-USE) ",
            if extended {
                " RETURN (CHILDREN SPECIAL-USE)"
            } else {
                ""
            },
        ),
        (false, false) => ("LIST ", if extended { " RETURN (CHILDREN)" } else { "" }),
    };
    let found = list(shell, command, base, pattern, tail)?;
    let rows: Vec<_> = found
        .iter()
        .map(|listed| json!({"name": listed.name, "flags": listed.flags}))
        .collect();
    let shown: Vec<String> = found.iter().map(line).collect();
    let text = match given.has("lines") {
        true => shown.iter().map(|line| format!("{line}\n")).collect(),
        false => columns(&shown, shell.width),
    };
    Ok(Answer {
        text,
        json: json!(rows),
        failures: Vec::new(),
    })
}

fn line(listed: &Listed) -> String {
    match listed.flags.is_empty() {
        true => listed.name.clone(),
        false => format!("{} ({})", listed.name, listed.flags.join(" ")),
    }
}

/// As many columns as fit, filled from the top.
fn columns(lines: &[String], width: usize) -> String {
    let length = |line: &String| line.chars().count();
    let widest = lines.iter().map(length).max().unwrap_or(0) + 2;
    let count = (width / widest).max(1);
    let rows = lines.len().div_ceil(count);
    let mut text = String::new();
    for row in 0..rows {
        for line in lines.iter().skip(row).step_by(rows) {
            text.push_str(line);
            text.extend(std::iter::repeat_n(' ', widest.saturating_sub(length(line))));
        }
        text.push('\n');
    }
    text
}

fn reconstruct(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let recursive = given.has("recursive");
    each(
        shell,
        given.argument(0),
        "Reconstructing mailbox",
        &mut |shell, name| {
            let tail = if recursive { " RECURSIVE" } else { "" };
            shell
                .command(&[Part::Raw("RECONSTRUCT "), Part::Text(name), Part::Raw(tail)])
                .map(drop)
        },
    )
}

fn rename(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let partition = partition(given, 2)?.map(|partition| format!(" {partition}"));
    let (from, to) = (encoded(given.argument(0)), encoded(given.argument(1)));
    shell.command(&[
        Part::Raw("RENAME "),
        Part::Text(&from),
        Part::Raw(" "),
        Part::Text(&to),
        Part::Raw(partition.as_deref().unwrap_or_default()),
    ])?;
    Ok(Answer::done())
}

fn subscribe(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    subscriptions(shell, given, "SUBSCRIBE ")
}

fn unsubscribe(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    subscriptions(shell, given, "UNSUBSCRIBE ")
}

fn subscriptions(shell: &mut Shell, given: &Given, verb: &str) -> Result<Answer, Failure> {
    let mut answer = Answer::done();
    for argument in &given.arguments {
        let name = encoded(argument);
        match shell.command(&[Part::Raw(verb), Part::Text(&name)]) {
            Ok(_) => {}
            Err(Failure::Refused(why)) if given.arguments.len() > 1 => {
                answer.failures.push(format!("{argument}: {why}"));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(answer)
}

fn transfer(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let partition = partition(given, 2)?.map(|partition| format!(" {partition}"));
    let server = given.argument(1).to_owned();
    each(
        shell,
        given.argument(0),
        "Transferring mailbox",
        &mut |shell, name| {
            shell
                .command(&[
                    Part::Raw("XFER "),
                    Part::Text(name),
                    Part::Raw(" "),
                    Part::Text(&server),
                    Part::Raw(partition.as_deref().unwrap_or_default()),
                ])
                .map(drop)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_filled_from_the_top() {
        let lines: Vec<String> = ["a", "bb", "c", "d", "e"].map(str::to_owned).to_vec();
        assert_eq!(columns(&lines, 9), "a   d   \nbb  e   \nc   \n");
        assert_eq!(columns(&lines, 1), "a   \nbb  \nc   \nd   \ne   \n");
        assert_eq!(columns(&[], 80), "");
    }
}
