//! What commands work in: the connection, and where their answers go.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::process::Command as Program;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::client::{Client, Failure, Login, Part, Reply, Target};
use super::commands::{self, Given};
use super::words::{Line, Redirection};

/// What a command says, for people and for programs.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Lines for people.
    pub(super) text: String,
    /// The same for programs.
    pub(super) json: Json,
    /// What did not work, where the rest did.
    pub(super) failures: Vec<String>,
}

impl Answer {
    /// Nothing to say but that it was done.
    pub(super) fn done() -> Self {
        Self::default()
    }
}

/// How answers look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// As the original prints them.
    #[default]
    Text,
    /// A JSON object a command, one a line.
    Json,
}

/// The connection and its surroundings.
pub(super) struct Shell {
    pub(super) client: Option<Client>,
    pub(super) target: Target,
    pub(super) login: Login,
    pub(super) form: Form,
    /// Columns of the terminal, or what is taken for it.
    pub(super) width: usize,
    /// The exit code that `exit` asked for.
    pub(super) ended: Option<u8>,
    /// How the last command ended.
    pub(super) last: u8,
    /// Somebody reads what is printed while work goes on.
    pub(super) shows_progress: bool,
    /// Asks for a password.
    pub(super) ask_password: fn(&str) -> io::Result<String>,
}

impl Shell {
    pub(super) fn new(
        target: Target,
        login: Login,
        form: Form,
        ask_password: fn(&str) -> io::Result<String>,
    ) -> Self {
        let width = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
        Self {
            client: None,
            target,
            login,
            form,
            width: if width == 0 { WIDTH } else { width },
            ended: None,
            last: 0,
            shows_progress: io::stderr().is_terminal(),
            ask_password,
        }
    }

    /// The server, as the prompt shows it.
    pub(super) fn prompt(&self) -> String {
        match &self.client {
            Some(client) => format!("{}> ", client.host),
            None => "cyradm> ".to_owned(),
        }
    }

    /// Connects, and logs in if that is wanted.
    pub(super) fn connect(&mut self, log_in: bool) -> Result<(), Failure> {
        self.disconnect();
        let mut client = Client::connect(&self.target)?;
        if self.shows_progress {
            client.waiting = Some(Box::new(show_waiting));
        }
        self.client = Some(client);
        match log_in {
            true => self.log_in(),
            false => Ok(()),
        }
    }

    /// Logs in; asks for the password if there is none yet and one may be needed.
    pub(super) fn log_in(&mut self) -> Result<(), Failure> {
        let Some(client) = &mut self.client else {
            return Err(no_connection());
        };
        let needs_none =
            |name: &String| matches!(name.as_str(), "GSSAPI" | "GSS-SPNEGO" | "EXTERNAL" | "ANONYMOUS");
        let mechanisms = &self.login.mechanisms;
        let password_needed = mechanisms.is_empty() || !mechanisms.iter().all(needs_none);
        if self.login.credentials.password.is_none() && password_needed {
            let password = (self.ask_password)("Password: ")?;
            self.login.credentials.password = Some(password);
        }
        client.login(&self.login)?;
        Ok(())
    }

    pub(super) fn disconnect(&mut self) {
        if let Some(client) = self.client.take() {
            client.logout();
        }
    }

    /// Runs an IMAP command.
    pub(super) fn command(&mut self, parts: &[Part<'_>]) -> Result<Reply, Failure> {
        let client = self.client.as_mut().ok_or_else(no_connection)?;
        let reply = client.command(parts);
        if matches!(reply, Err(Failure::Connection(_))) {
            self.client = None;
        }
        let reply = reply?;
        for notice in &reply.notices {
            eprintln!("{notice}");
        }
        Ok(reply)
    }

    /// Whether the server has a capability.
    pub(super) fn has(&self, capability: &str) -> bool {
        self.client.as_ref().is_some_and(|client| client.has(capability))
    }

    /// Tells somebody who waits how far a work of many parts is.
    pub(super) fn progress(&self, done: usize, all: usize, what: &str) {
        if self.shows_progress && all > 1 {
            eprint!("\r\x1b[K[{done}/{all}] {what}");
            if done == all {
                eprint!("\r\x1b[K");
            }
        }
    }

    /// Runs one command of a script, or typed, and prints its answer.
    pub(super) fn run(&mut self, line: &Line) {
        let Some((name, arguments)) = line.words.split_first() else {
            return;
        };
        let Some(command) = commands::find(name) else {
            self.last = self.run_program(name, arguments, &line.redirections);
            return;
        };
        let given = Given::of(command, arguments);
        let answer = given.and_then(|given| (command.run)(self, &given));
        let (code, shown, complaints) = match (answer, self.form) {
            (Ok(answer), Form::Text) => {
                let complaints: String = answer
                    .failures
                    .iter()
                    .map(|failure| format!("{}: {failure}\n", command.name()))
                    .collect();
                (u8::from(!answer.failures.is_empty()), answer.text, complaints)
            }
            (Ok(answer), Form::Json) => {
                let mut object = Map::new();
                object.insert("command".to_owned(), json!(command.name()));
                object.insert("ok".to_owned(), json!(answer.failures.is_empty()));
                if !answer.json.is_null() {
                    object.insert("result".to_owned(), answer.json);
                }
                if !answer.failures.is_empty() {
                    object.insert("errors".to_owned(), json!(answer.failures));
                }
                let code = u8::from(!answer.failures.is_empty());
                (code, format!("{}\n", Json::Object(object)), String::new())
            }
            (Err(Failure::Usage(usage)), Form::Text) => (1, String::new(), format!("usage: {usage}\n")),
            (Err(failure), Form::Text) => (1, String::new(), format!("{}: {failure}\n", command.name())),
            (Err(failure), Form::Json) => {
                let what = match failure {
                    Failure::Usage(usage) => format!("usage: {usage}"),
                    failure => failure.to_string(),
                };
                let object = json!({"command": command.name(), "ok": false, "errors": [what]});
                (1, format!("{object}\n"), String::new())
            }
        };
        self.last = code;
        if self.shows_progress {
            clear_line();
        }
        if let Err(error) = emit(&shown, &complaints, &line.redirections) {
            eprintln!("{}: {error}", command.name());
            self.last = 1;
        }
    }

    /// What is no command of this program may be one of the system.
    fn run_program(&self, name: &str, arguments: &[String], redirections: &[Redirection]) -> u8 {
        if self.form == Form::Json {
            println!(
                "{}",
                json!({"command": name, "ok": false, "errors": ["unknown command"]})
            );
            return 1;
        }
        match Program::new(name).args(arguments).output() {
            Ok(output) => {
                let (shown, complaints) = (
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr),
                );
                if let Err(error) = emit(&shown, &complaints, redirections) {
                    eprintln!("{name}: {error}");
                    return 1;
                }
                u8::try_from(output.status.code().unwrap_or(1)).unwrap_or(1)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                eprintln!("{name}: No such file or directory (nor a command of cyradm: see help)");
                1
            }
            Err(error) => {
                eprintln!("{name}: {error}");
                1
            }
        }
    }
}

/// What a command says that needs a server and has none.
pub(super) fn no_connection() -> Failure {
    Failure::Refused("no connection to server".to_owned())
}

/// Prints what a command shows and what it complains of, or writes it to files.
fn emit(shown: &str, complaints: &str, redirections: &[Redirection]) -> io::Result<()> {
    let mut out: Box<dyn Write> = Box::new(io::stdout());
    let mut err: Box<dyn Write> = Box::new(io::stderr());
    for redirection in redirections {
        let target: Box<dyn Write> = match redirection.target.as_str() {
            "&1" => Box::new(io::stdout()),
            "&2" => Box::new(io::stderr()),
            path => Box::new(
                OpenOptions::new()
                    .create(true)
                    .write(true)
                    .append(redirection.append)
                    .truncate(!redirection.append)
                    .open(path)
                    .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?,
            ),
        };
        match redirection.errors {
            true => err = target,
            false => out = target,
        }
    }
    let shown = quiet(out.write_all(shown.as_bytes()).and_then(|()| out.flush()));
    shown.and(quiet(
        err.write_all(complaints.as_bytes()).and_then(|()| err.flush()),
    ))
}

/// A reader that has seen enough is no failure.
fn quiet(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// A long wait is shown, so that nobody takes it for an end.
fn show_waiting(waited: Duration) {
    if waited >= Duration::from_secs(2) {
        eprint!("\r\x1b[K... {} s", waited.as_secs());
    }
}

fn clear_line() {
    eprint!("\r\x1b[K");
}

const WIDTH: usize = 80;
