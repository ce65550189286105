//! The commands: names, usage, and their arguments taken apart.

mod acl;
mod mailboxes;
mod metadata;
mod quota;
mod session;

pub(super) use acl::WORDS as RIGHTS;
pub(super) use metadata::{ATTRIBUTES, SERVER_ATTRIBUTES};
pub(super) use quota::RESOURCES;

use serde_json::Value as Json;

use super::client::{Failure, Part};
use super::shell::{Answer, Shell};

/// A command.
pub(super) struct Command {
    /// Its name, then others for it.
    pub(super) names: &'static [&'static str],
    /// What follows the name.
    pub(super) usage: &'static str,
    /// What it does.
    pub(super) summary: &'static str,
    /// Its options; those with a value end in `=`.
    pub(super) options: &'static [&'static str],
    /// How many arguments there are, at least and at most.
    pub(super) arguments: (usize, usize),
    /// What completes each argument; the last goes for all that follow.
    pub(super) completes: &'static [Completes],
    pub(super) run: fn(&mut Shell, &Given) -> Result<Answer, Failure>,
}

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completes {
    Mailbox,
    Rights,
    Resource,
    Attribute,
    ServerAttribute,
    Command,
    Nothing,
}

impl Command {
    /// What it is called in messages.
    pub(super) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    fn bad_usage(&self) -> Failure {
        Failure::Usage(format!("{} {}", self.name(), self.usage).trim_end().to_owned())
    }
}

/// The command of this name.
pub(super) fn find(name: &str) -> Option<&'static Command> {
    all().find(|command| command.names.contains(&name))
}

/// Every command, in the order of their names.
pub(super) fn all() -> impl Iterator<Item = &'static Command> {
    [
        session::COMMANDS,
        mailboxes::COMMANDS,
        acl::COMMANDS,
        quota::COMMANDS,
        metadata::COMMANDS,
    ]
    .into_iter()
    .flatten()
}

/// The arguments of a command, its options apart.
#[derive(Debug, Default)]
pub(super) struct Given {
    options: Vec<(&'static str, String)>,
    pub(super) arguments: Vec<String>,
}

impl Given {
    /// Takes the arguments apart. Options are `--name`, or as in Tcl `-name`, which may be cut short where that is clear.
    pub(super) fn of(command: &Command, words: &[String]) -> Result<Self, Failure> {
        let mut given = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, is_whole) = match (word.strip_prefix("--"), word.strip_prefix('-')) {
                (Some(""), _) => {
                    given.arguments.extend(words.cloned());
                    break;
                }
                (Some(name), _) => (name, true),
                // A negative right is an argument.
                (None, Some(name)) if !name.is_empty() && given.arguments.is_empty() => (name, false),
                _ => {
                    given.arguments.push(word.clone());
                    continue;
                }
            };
            let (name, attached) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let fits = |option: &&&str| {
                let known = option.trim_end_matches('=');
                known == name || !is_whole && known.starts_with(name)
            };
            let mut found = command.options.iter().filter(fits);
            let (Some(option), None) = (found.next(), found.next()) else {
                return Err(command.bad_usage());
            };
            let value = match (option.ends_with('='), attached) {
                (false, None) => String::new(),
                (true, Some(value)) => value,
                (true, None) => words.next().cloned().ok_or_else(|| command.bad_usage())?,
                (false, Some(_)) => return Err(command.bad_usage()),
            };
            given.options.push((option.trim_end_matches('='), value));
        }
        let (least, most) = command.arguments;
        match (least..=most).contains(&given.arguments.len()) {
            true => Ok(given),
            false => Err(command.bad_usage()),
        }
    }

    /// Whether an option was given.
    pub(super) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == option)
    }

    /// The value of an option.
    pub(super) fn option(&self, option: &str) -> Option<&str> {
        let mut found = self.options.iter().rev().filter(|(name, _)| *name == option);
        found.next().map(|(_, value)| value.as_str())
    }

    /// An argument; the number of arguments was checked.
    pub(super) fn argument(&self, at: usize) -> &str {
        self.arguments.get(at).map_or("", String::as_str)
    }

    /// An argument that need not be there.
    pub(super) fn optional(&self, at: usize) -> Option<&str> {
        self.arguments.get(at).map(String::as_str)
    }
}

/// A mailbox name as the server takes it: in modified UTF-7.
pub(super) fn encoded(name: &str) -> String {
    match name.is_ascii() {
        true => name.to_owned(),
        false => cyrus_store::utf7::encode(name),
    }
}

/// A mailbox of a LIST response.
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) flags: Vec<String>,
}

/// The mailboxes that a pattern matches.
pub(super) fn list(
    shell: &mut Shell,
    options: &str,
    reference: &str,
    pattern: &str,
    tail: &str,
) -> Result<Vec<Listed>, Failure> {
    let pattern = encoded(pattern);
    let reply = shell.command(&[
        Part::Raw(options),
        Part::Text(&encoded(reference)),
        Part::Raw(" "),
        Part::Text(&pattern),
        Part::Raw(tail),
    ])?;
    let rows = reply
        .data
        .iter()
        .filter(|(name, _)| name == "LIST" || name == "LSUB");
    let mut found: Vec<Listed> = rows
        .filter_map(|(_, values)| {
            let flags = values
                .first()?
                .list()
                .iter()
                .map(super::wire::Value::text)
                .collect();
            let name = values.get(2)?.text();
            Some(Listed { name, flags })
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The mailboxes that an argument means: all that match where it has wildcards, and else the one of that name.
pub(super) fn targets(shell: &mut Shell, argument: &str) -> Result<Vec<String>, Failure> {
    if !has_wildcards(argument) {
        return Ok(vec![encoded(argument)]);
    }
    let found = list(shell, "LIST ", "", argument, "")?;
    let is_mailbox = |listed: &Listed| {
        let is = |flag: &str| listed.flags.iter().any(|known| known.eq_ignore_ascii_case(flag));
        !is("\\NonExistent") && !is("\\Noselect")
    };
    Ok(found
        .into_iter()
        .filter(is_mailbox)
        .map(|listed| listed.name)
        .collect())
}

pub(super) fn has_wildcards(argument: &str) -> bool {
    argument.contains(['*', '%'])
}

/// Does the same to every mailbox that an argument means. With wildcards it says how each went, and goes on past those that
/// could not be done.
pub(super) fn each(
    shell: &mut Shell,
    argument: &str,
    doing: &str,
    work: &mut dyn FnMut(&mut Shell, &str) -> Result<(), Failure>,
) -> Result<Answer, Failure> {
    let names = targets(shell, argument)?;
    if !has_wildcards(argument) {
        names.iter().try_for_each(|name| work(shell, name))?;
        return Ok(Answer::done());
    }
    let mut answer = Answer::done();
    let mut rows = Vec::new();
    for (done, name) in (1..).zip(&names) {
        shell.progress(done, names.len(), name);
        let how = match work(shell, name) {
            Ok(()) => None,
            Err(Failure::Refused(why)) => Some(why),
            Err(failure) => return Err(failure),
        };
        answer
            .text
            .push_str(&format!("{doing} {name}...{}\n", how.as_deref().unwrap_or("OK.")));
        rows.push(serde_json::json!({"mailbox": name, "ok": how.is_none(), "error": how}));
        answer.failures.extend(how.map(|why| format!("{name}: {why}")));
    }
    answer.json = Json::Array(rows);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str, words: &[&str]) -> Result<Given, Failure> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Given::of(find(name).expect("a command"), &words)
    }

    #[test]
    fn options_are_whole_or_as_in_tcl_cut_short() {
        let of = |words: &[&str]| given("cm", words).ok();
        assert_eq!(
            of(&["--partition", "p", "a"]).unwrap().option("partition"),
            Some("p")
        );
        assert_eq!(
            of(&["--partition=p", "a"]).unwrap().option("partition"),
            Some("p")
        );
        assert_eq!(of(&["-p", "p", "a"]).unwrap().option("partition"), Some("p"));
        assert!(of(&["--part", "p", "a"]).is_none());
        assert!(of(&["--bogus", "a"]).is_none());
        assert!(of(&[]).is_none());
        assert!(of(&["a", "b", "c"]).is_none());
        assert_eq!(
            given("sam", &["a", "-fred", "-w"]).unwrap().arguments,
            ["a", "-fred", "-w"]
        );
    }

    #[test]
    fn every_name_means_one_command() {
        let mut names: Vec<&str> = all().flat_map(|command| command.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
