//! The connection and the shell itself: `authenticate`, `server`, `version`, `help`, `chdir`, `exit`.

use serde_json::{Map, Value as Json, json};

use super::Completes::{self, Nothing};
use super::{Command, Given, all, find};
use crate::cyradm::client::{Failure, Part};
use crate::cyradm::shell::{Answer, Shell, no_connection};
use crate::cyradm::wire::Value;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        names: &["authenticate", "auth", "login"],
        usage: "[--minssf N] [--maxssf N] [--mechanisms list] [--service name] [--tlskey keyfile] [--notls] \
                [--cafile cacertfile] [--cadir cacertdir] [user]",
        summary: "authenticate to server",
        options: &[
            "minssf=",
            "maxssf=",
            "mechanisms=",
            "service=",
            "tlskey=",
            "notls",
            "cafile=",
            "cadir=",
        ],
        arguments: (0, 1),
        completes: &[Nothing],
        run: authenticate,
    },
    Command {
        names: &["chdir", "cd"],
        usage: "directory",
        summary: "change current directory",
        options: &[],
        arguments: (1, 1),
        completes: &[Nothing],
        run: change_directory,
    },
    Command {
        names: &["disconnect", "disc"],
        usage: "",
        summary: "disconnect from current server",
        options: &[],
        arguments: (0, 0),
        completes: &[],
        run: disconnect,
    },
    Command {
        names: &["exit", "quit"],
        usage: "[number]",
        summary: "exit cyradm",
        options: &[],
        arguments: (0, 1),
        completes: &[],
        run: exit,
    },
    Command {
        names: &["help", "?"],
        usage: "[command]",
        summary: "show commands",
        options: &[],
        arguments: (0, 1),
        completes: &[Completes::Command],
        run: help,
    },
    Command {
        names: &["server", "servername", "connect"],
        usage: "[--noauthenticate] [server]",
        summary: "show current server or connect to server",
        options: &["noauthenticate"],
        arguments: (0, 1),
        completes: &[Nothing],
        run: server,
    },
    Command {
        names: &["version", "ver"],
        usage: "",
        summary: "display version info of current server",
        options: &[],
        arguments: (0, 0),
        completes: &[],
        run: version,
    },
];

fn authenticate(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    if shell.client.is_none() {
        return Err(no_connection());
    }
    let number = |option: &str| match given.option(option).map(str::parse) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(Failure::Refused(format!("--{option} takes a number"))),
    };
    if let Some(minimum) = number("minssf")? {
        shell.login.minimum_layer = minimum;
    }
    if let Some(maximum) = number("maxssf")? {
        shell.login.maximum_layer = maximum;
    }
    if let Some(mechanisms) = given.option("mechanisms") {
        let words = mechanisms.split([' ', ',']).filter(|word| !word.is_empty());
        shell.login.mechanisms = words.map(str::to_uppercase).collect();
    }
    if let Some(service) = given.option("service") {
        service.clone_into(&mut shell.login.service);
    }
    if let Some(user) = given.optional(0) {
        let credentials = &mut shell.login.credentials;
        if credentials.authenticate_as.as_deref() != Some(user) {
            credentials.authenticate_as = Some(user.to_owned());
            credentials.password = None;
        }
    }
    shell.log_in()?;
    Ok(Answer::done())
}

fn change_directory(_: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let directory = given.argument(0);
    std::env::set_current_dir(directory)
        .map_err(|error| Failure::Refused(format!("{directory}: {error}")))?;
    Ok(Answer::done())
}

fn disconnect(shell: &mut Shell, _: &Given) -> Result<Answer, Failure> {
    if shell.client.is_none() {
        return Err(no_connection());
    }
    shell.disconnect();
    Ok(Answer::done())
}

fn exit(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let code = match given.optional(0) {
        None => shell.last,
        Some(text) => text
            .parse()
            .map_err(|_| Failure::Refused(format!("{text}: exit codes are 0 to 255")))?,
    };
    shell.ended = Some(code);
    Ok(Answer::done())
}

fn help(_: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let Some(name) = given.optional(0) else {
        let mut commands: Vec<&Command> = all().collect();
        commands.sort_by_key(|command| command.name());
        let names = |command: &Command| command.names.join(", ");
        let widest = commands
            .iter()
            .map(|command| names(command).len())
            .max()
            .unwrap_or(0);
        let lines = commands
            .iter()
            .map(|command| format!("{:<widest$}  {}\n", names(command), command.summary));
        let rows = commands.iter().map(
            |command| json!({"names": command.names, "usage": command.usage, "summary": command.summary}),
        );
        return Ok(Answer {
            text: lines.collect(),
            json: rows.collect(),
            failures: Vec::new(),
        });
    };
    let command = find(name).ok_or_else(|| Failure::Refused(format!("unknown command: {name}")))?;
    let whole = format!("{} {}", command.name(), command.usage);
    let first = match name == command.name() {
        true => whole.trim_end().to_owned(),
        false => format!("{name}, alias for {}", whole.trim_end()),
    };
    Ok(Answer {
        text: format!("{first}\n\t{}\n", command.summary),
        json: json!({"names": command.names, "usage": command.usage, "summary": command.summary}),
        failures: Vec::new(),
    })
}

fn server(shell: &mut Shell, given: &Given) -> Result<Answer, Failure> {
    let Some(server) = given.optional(0) else {
        let client = shell.client.as_ref().ok_or_else(no_connection)?;
        return Ok(Answer {
            text: format!("{}\n", client.host),
            json: json!({"server": client.host, "tls": client.is_encrypted()}),
            failures: Vec::new(),
        });
    };
    server.clone_into(&mut shell.target.host);
    shell.connect(!given.has("noauthenticate"))?;
    Ok(Answer::done())
}

fn version(shell: &mut Shell, _: &Given) -> Result<Answer, Failure> {
    let reply = shell.command(&[Part::Raw("ID NIL")])?;
    let mut answer = Answer::done();
    let mut all = Map::new();
    for list in reply.named("ID").filter_map(|values| values.first()) {
        for pair in list.list().chunks(2) {
            let text = |at: usize| pair.get(at).map(Value::text).unwrap_or_default();
            let (field, value) = (text(0), text(1));
            let mut label = field.as_str();
            for part in value.split("; ") {
                let colon = if label.is_empty() { ' ' } else { ':' };
                answer.text.push_str(&format!("{label:<11}{colon} {part}\n"));
                label = "";
            }
            all.insert(field, json!(value));
        }
    }
    answer.json = Json::Object(all);
    Ok(answer)
}
