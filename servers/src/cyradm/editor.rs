//! Commands typed by a person: line editing, completion, and passwords that are not shown.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::rc::Rc;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::commands::{self, Completes};
use super::shell::Shell;
use super::{run_line, words};

/// Reads and runs commands until the end.
pub(super) fn converse(shell: Shell) -> u8 {
    let shell = Rc::new(RefCell::new(shell));
    let config = Config::builder().completion_type(CompletionType::List).build();
    let mut editor: Editor<Completion, DefaultHistory> = match Editor::with_config(config) {
        Ok(editor) => editor,
        Err(error) => {
            eprintln!("cyradm: {error}");
            return 1;
        }
    };
    editor.set_helper(Some(Completion(Rc::clone(&shell))));
    loop {
        let prompt = shell.borrow().prompt();
        match editor.readline(&prompt) {
            Ok(line) => {
                if !line.trim().is_empty() {
                    let _ = editor.add_history_entry(line.as_str());
                }
                let mut shell = shell.borrow_mut();
                run_line(&mut shell, &line, true);
                if let Some(code) = shell.ended {
                    shell.disconnect();
                    return code;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => {
                println!();
                let mut shell = shell.borrow_mut();
                shell.disconnect();
                return shell.last;
            }
            Err(error) => {
                eprintln!("cyradm: {error}");
                return 1;
            }
        }
    }
}

/// Completes commands, their options, and what the server has.
struct Completion(Rc<RefCell<Shell>>);

impl Helper for Completion {}
impl Highlighter for Completion {}
impl Validator for Completion {}

impl Hinter for Completion {
    type Hint = String;
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = line.get(..at).unwrap_or(line);
        let start = before.rfind([' ', ';', '"']).map_or(0, |space| space + 1);
        let word = before.get(start..).unwrap_or_default();
        let earlier = words::commands(before.get(..start).unwrap_or_default().trim_end_matches('"'));
        let earlier = earlier
            .ok()
            .and_then(|mut lines| lines.pop())
            .unwrap_or_default()
            .words;
        // Behind a semicolon, a command begins.
        let begins = before
            .get(..start)
            .is_none_or(|text| text.trim_end().is_empty() || text.trim_end().ends_with(';'));
        let found = match begins {
            true => of_commands(word),
            false => self.of_arguments(&earlier, word),
        };
        let pairs = found.into_iter().map(|candidate| Pair {
            display: candidate.clone(),
            replacement: candidate,
        });
        Ok((start, pairs.collect()))
    }
}

fn of_commands(word: &str) -> Vec<String> {
    let mut names: Vec<String> = commands::all()
        .flat_map(|command| command.names)
        .filter(|name| name.starts_with(word))
        .map(|name| format!("{name} "))
        .collect();
    names.sort();
    names
}

impl Completion {
    fn of_arguments(&self, earlier: &[String], word: &str) -> Vec<String> {
        let Some((name, arguments)) = earlier.split_first() else {
            return Vec::new();
        };
        let Some(command) = commands::find(name) else {
            return Vec::new();
        };
        if word.starts_with('-') {
            let options = command
                .options
                .iter()
                .map(|option| format!("--{}", option.trim_end_matches('=')));
            return options
                .filter(|option| option.starts_with(word))
                .map(|option| format!("{option} "))
                .collect();
        }
        let mut place = 0;
        let mut skip = false;
        for argument in arguments {
            let takes_value = |option: &&str| {
                option.ends_with('=') && argument.trim_start_matches('-') == option.trim_end_matches('=')
            };
            match (skip, argument.starts_with('-')) {
                (true, _) => skip = false,
                (false, true) => skip = command.options.iter().any(takes_value),
                (false, false) => place += 1,
            }
        }
        if skip {
            return Vec::new();
        }
        let completes = command.completes.get(place).or(command.completes.last());
        let fixed = |candidates: &mut dyn Iterator<Item = &str>| -> Vec<String> {
            candidates
                .filter(|candidate| candidate.starts_with(word))
                .map(|candidate| format!("{candidate} "))
                .collect()
        };
        match completes {
            Some(Completes::Mailbox) => self.mailboxes(word),
            Some(Completes::Rights) => fixed(&mut commands::RIGHTS.iter().map(|(word, _)| *word)),
            Some(Completes::Resource) => fixed(&mut commands::RESOURCES.iter().copied()),
            Some(Completes::Attribute) => fixed(&mut commands::ATTRIBUTES.iter().copied()),
            Some(Completes::ServerAttribute) => fixed(&mut commands::SERVER_ATTRIBUTES.iter().copied()),
            Some(Completes::Command) => of_commands(word),
            Some(Completes::Nothing) | None => Vec::new(),
        }
    }

    /// The mailboxes that begin like this, one level of them.
    fn mailboxes(&self, word: &str) -> Vec<String> {
        let Ok(mut shell) = self.0.try_borrow_mut() else {
            return Vec::new();
        };
        let quiet = std::mem::replace(&mut shell.shows_progress, false);
        let found = commands::list(&mut shell, "LIST ", "", &format!("{word}%"), "");
        shell.shows_progress = quiet;
        let names = found
            .unwrap_or_default()
            .into_iter()
            .map(|listed| words::quoted(&listed.name));
        names.take(MOST_CANDIDATES).collect()
    }
}

/// Asks for a password on the terminal, whatever the standard input is.
pub(super) fn ask_password(prompt: &str) -> io::Result<String> {
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                "no terminal to ask for a password: --password-file or CYRADM_PASSWORD gives it",
            )
        })?;
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let answer = read_answer(&terminal, prompt);
    tcsetattr(&terminal, OptionalActions::Flush, &shown)?;
    answer
}

fn read_answer(mut terminal: &File, prompt: &str) -> io::Result<String> {
    terminal.write_all(prompt.as_bytes())?;
    let mut line = String::new();
    BufReader::new(terminal).read_line(&mut line)?;
    terminal.write_all(b"\n")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

const MOST_CANDIDATES: usize = 1000;
